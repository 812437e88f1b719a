//! Running real commands: own process group, fixed environment, time limit, bounded output, a switch to end them.
//!
//! One thread waits for the exit without reaping (so the process id cannot be reused while we may still signal it) and
//! writes one byte into a wake-up pipe; everything else happens in one poll loop. There is no unsafe code here, hence
//! no parent-death signal: a reading command whose agent dies ends by SIGPIPE at its next write.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{Captured, CommandSpec, End, Finished, RunError, Runner};

/// Where programs are looked for.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Between TERM and KILL.
const TERM_GRACE: Duration = Duration::from_secs(5);
/// How long pipes may stay open after the command itself has exited (a process it left in the background holds them).
const PIPE_DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// How long a killed command may take to disappear (it may hang in the kernel) before we go on without it.
const KILL_WAIT_LIMIT: Duration = Duration::from_secs(10);
/// How often the output file of a mutating command is looked at.
const FILE_LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// An output file is emptied when it has grown beyond this, bytes: a flooding scriptlet must not fill the disk.
const FILE_MAX_BYTES: u64 = 8 * 1024 * 1024;
/// Variables of the agent's own environment that commands inherit.
const PASSED_THROUGH: [&str; 8] =
    ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "TMPDIR"];

/// Runs real commands.
#[derive(Debug, Clone, Default)]
pub struct SystemRunner {
    running: KillSwitch,
}

/// Ends whatever the runner it came from is running now.
#[derive(Debug, Clone, Default)]
pub struct KillSwitch {
    current: Arc<Mutex<Option<Current>>>,
}

#[derive(Debug)]
struct Current {
    group: Pid,
    wake: Arc<OwnedFd>,
    killed: bool,
}

impl KillSwitch {
    /// Ends the running command's process group (TERM, five seconds, KILL). `false` when nothing runs.
    pub fn kill(&self) -> bool {
        let mut current = self.lock();
        let Some(current) = current.as_mut() else { return false };
        current.killed = true;
        // The loop that owns the command sends the signals; a full pipe means it is being woken already.
        let _ = rustix::io::write(&*current.wake, b"k");
        true
    }

    fn lock(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn was_used(&self) -> bool {
        self.lock().as_ref().is_some_and(|c| c.killed)
    }

    /// Signals the group while the leader is certainly not reaped yet.
    fn signal(&self, signal: Signal) {
        if let Some(current) = self.lock().as_ref() {
            // The group may be gone already, which is what we want.
            let _ = kill_process_group(current.group, signal);
        }
    }
}

impl SystemRunner {
    /// A runner.
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle for another thread that ends the running command.
    pub fn kill_switch(&self) -> KillSwitch {
        self.running.clone()
    }
}

/// The environment of every command, in one place.
fn environment(spec: &CommandSpec) -> Vec<(String, String)> {
    let utf8 = ["/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8"].iter().any(|p| Path::new(p).exists());
    let locale = if utf8 { "C.UTF-8" } else { "C" };
    let mut env: Vec<(String, String)> = [
        ("PATH", PATH),
        ("HOME", "/root"),
        ("LC_ALL", locale),
        ("LANGUAGE", ""),
        ("TERM", "dumb"),
        ("COLUMNS", "500"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBIAN_PRIORITY", "critical"),
        ("APT_LISTCHANGES_FRONTEND", "none"),
        ("APT_LISTBUGS_FRONTEND", "none"),
        ("UCF_FORCE_CONFFOLD", "1"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into();
    env.extend(PASSED_THROUGH.iter().filter_map(|k| Some(((*k).to_owned(), std::env::var(k).ok()?))));
    env.extend(spec.env.iter().cloned());
    env
}

/// An output file that has no name any more: it lives as long as the command or we hold it.
fn output_file() -> std::io::Result<File> {
    // /run is memory: a full disk must not take the command's output away.
    let places: [PathBuf; 3] = ["/run/drydock-agent".into(), "/run".into(), std::env::temp_dir()];
    let mut last = std::io::Error::other("no place for an output file");
    for place in places {
        match create_unnamed(&place) {
            Ok(file) => return Ok(file),
            Err(e) => last = e,
        }
    }
    Err(last)
}

fn create_unnamed(place: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    static COUNTER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = place.join(format!(".drydock-output-{}-{number}", std::process::id()));
    // Append mode, so that emptying the file below does not leave a hole before the writer's next line.
    let file = std::fs::OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// One stream of the running command.
enum Stream {
    Pipe(OwnedFd, Captured),
    File { file: File, read_to: u64, captured: Captured },
    Done(Captured),
}

impl Stream {
    fn take(self) -> Captured {
        match self {
            Stream::Pipe(_, c) | Stream::File { captured: c, .. } | Stream::Done(c) => c,
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Stream::Pipe(..))
    }

    /// Reads what is there; a pipe at its end becomes `Done`.
    fn drain(&mut self) -> std::io::Result<()> {
        let mut buffer = [0u8; 64 * 1024];
        match self {
            Stream::Done(_) => Ok(()),
            // One read a turn: a flood must not keep the loop from looking at the clock.
            Stream::Pipe(fd, captured) => match rustix::io::read(&*fd, &mut buffer) {
                Ok(0) => {
                    *self = Stream::Done(std::mem::take(captured));
                    Ok(())
                }
                Ok(n) => {
                    captured.push(&buffer[..n]);
                    Ok(())
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(()),
                Err(e) => Err(e.into()),
            },
            Stream::File { file, read_to, captured } => {
                let end = file.metadata()?.len();
                file.seek(SeekFrom::Start(*read_to))?;
                while *read_to < end {
                    let n = file.read(&mut buffer)?;
                    if n == 0 {
                        break;
                    }
                    captured.push(&buffer[..n]);
                    *read_to += n as u64;
                }
                if *read_to > FILE_MAX_BYTES {
                    // Bytes written between the read and this line are lost; they are counted as far as we see them.
                    captured.lost(file.metadata()?.len().saturating_sub(*read_to));
                    file.set_len(0)?;
                    *read_to = 0;
                }
                Ok(())
            }
        }
    }
}

/// A started command.
struct Running {
    child: Child,
    stdout: Stream,
    stderr: Stream,
    stdin: Option<(OwnedFd, Vec<u8>, usize)>,
    wake: OwnedFd,
}

fn plumbing(spec: &CommandSpec, what: &'static str) -> impl Fn(std::io::Error) -> RunError {
    let program = spec.program.clone();
    move |source| RunError::Plumbing { program: program.clone(), what, source }
}

fn nonblocking(fd: OwnedFd) -> std::io::Result<OwnedFd> {
    let flags = fcntl_getfl(&fd)?;
    fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(fd)
}

fn start(spec: &CommandSpec, switch: &KillSwitch) -> Result<Running, RunError> {
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).env_clear().envs(environment(spec)).process_group(0);
    command.current_dir(spec.work_dir.as_deref().unwrap_or(Path::new("/")));
    command.stdin(if spec.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    let pipes = plumbing(spec, "pipes");
    let files = plumbing(spec, "output file");
    let (out_to, out_own) = outlet(spec.mutates).map_err(&files)?;
    let (err_to, err_own) = if spec.merge_stderr {
        (out_to.try_clone().map_err(&pipes)?, None)
    } else {
        let (to, own) = outlet(spec.mutates).map_err(&files)?;
        (to, Some(own))
    };
    command.stdout(out_to).stderr(err_to);
    let (wake, wake_write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| pipes(e.into()))?;
    let wake = nonblocking(wake).map_err(&pipes)?;
    let wake_write = Arc::new(nonblocking(wake_write).map_err(&pipes)?);
    let child = command.spawn();
    // The command object holds our copies of the write ends; they must go or the pipes never end.
    drop(command);
    let mut child = child.map_err(|source| match source.kind() {
        ErrorKind::NotFound => RunError::NotFound { program: spec.program.clone(), path: PATH },
        _ => RunError::Spawn { program: spec.program.clone(), source },
    })?;
    let stdin = match (child.stdin.take(), &spec.stdin) {
        (Some(pipe), Some(bytes)) => Some((nonblocking(pipe.into()).map_err(&pipes)?, bytes.clone(), 0)),
        _ => None,
    };
    let group = Pid::from_child(&child);
    *switch.lock() = Some(Current { group, wake: Arc::clone(&wake_write), killed: false });
    std::thread::spawn(move || {
        // NOWAIT leaves the zombie for `Child::wait`, so the id stays ours until then.
        let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(group), exited).is_err_and(|e| e == rustix::io::Errno::INTR) {}
        let _ = rustix::io::write(&*wake_write, b"x");
    });
    let stream = |own: Outlet, captured| match own {
        Outlet::Pipe(fd) => Stream::Pipe(fd, captured),
        Outlet::File(file) => Stream::File { file, read_to: 0, captured },
    };
    let stderr = err_own.map_or_else(|| Stream::Done(Captured::stderr()), |own| stream(own, Captured::stderr()));
    Ok(Running { child, stdout: stream(out_own, Captured::stdout()), stderr, stdin, wake })
}

/// Our end of a stream.
enum Outlet {
    Pipe(OwnedFd),
    File(File),
}

fn outlet(to_file: bool) -> std::io::Result<(OwnedFd, Outlet)> {
    if to_file {
        let file = output_file()?;
        return Ok((file.try_clone()?.into(), Outlet::File(file)));
    }
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((write, Outlet::Pipe(nonblocking(read)?)))
}

impl Running {
    /// Waits until something happens, at most `limit`, and reads what there is.
    fn turn(&mut self, limit: Duration) -> std::io::Result<()> {
        {
            let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
            for stream in [&self.stdout, &self.stderr] {
                if let Stream::Pipe(fd, _) = stream {
                    fds.push(PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN));
                }
            }
            if let Some((fd, ..)) = &self.stdin {
                fds.push(PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::OUT));
            }
            let timeout =
                Timespec { tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX), tv_nsec: limit.subsec_nanos().into() };
            match poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let mut bytes = [0u8; 16];
        while matches!(rustix::io::read(&self.wake, &mut bytes), Ok(n) if n > 0) {}
        self.feed_stdin();
        self.stdout.drain()?;
        self.stderr.drain()
    }

    fn feed_stdin(&mut self) {
        let Some((fd, bytes, done)) = &mut self.stdin else { return };
        match rustix::io::write(&*fd, &bytes[*done..]) {
            Ok(n) => *done += n,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
            // The command does not want to read it: that is its choice.
            Err(_) => *done = bytes.len(),
        }
        if *done == bytes.len() {
            self.stdin = None;
        }
    }

    fn exited(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        !matches!(waitid(WaitId::Pid(Pid::from_child(&self.child)), look), Ok(None))
    }
}

/// Why we are ending a command, and how far we are.
enum Ending {
    No,
    Term(End, Instant),
    Kill(End, Instant),
}

impl SystemRunner {
    /// Runs until the command itself has exited; `None` when it cannot even be killed.
    fn watch(&self, spec: &CommandSpec, running: &mut Running, began: Instant) -> std::io::Result<Option<Option<End>>> {
        let mut ending = Ending::No;
        loop {
            if running.exited() {
                let why = match ending {
                    Ending::No => None,
                    Ending::Term(why, _) | Ending::Kill(why, _) => Some(why),
                };
                return Ok(Some(why));
            }
            let now = Instant::now();
            let until = match &ending {
                Ending::No => began + spec.time_limit,
                Ending::Term(_, since) => *since + TERM_GRACE,
                Ending::Kill(_, since) => *since + KILL_WAIT_LIMIT,
            };
            let killed = matches!(ending, Ending::No) && self.running.was_used();
            if killed || now >= until {
                ending = match ending {
                    Ending::No => {
                        self.running.signal(Signal::TERM);
                        Ending::Term(if killed { End::Killed } else { End::TimedOut }, now)
                    }
                    Ending::Term(why, _) => {
                        self.running.signal(Signal::KILL);
                        Ending::Kill(why, now)
                    }
                    Ending::Kill(..) => return Ok(None),
                };
                continue;
            }
            let limit = if spec.mutates { FILE_LOOK_INTERVAL.min(until - now) } else { until - now };
            running.turn(limit)?;
        }
    }

    /// Reads what is left after the exit: pipes may be held open by a process in the background.
    fn drain(&self, running: &mut Running) -> std::io::Result<()> {
        for signal in [None, Some(Signal::KILL)] {
            if let Some(signal) = signal {
                self.running.signal(signal);
            }
            let until = Instant::now() + PIPE_DRAIN_LIMIT;
            while running.stdout.is_open() || running.stderr.is_open() {
                let now = Instant::now();
                if now >= until {
                    break;
                }
                running.stdin = None;
                running.turn(until - now)?;
            }
            if !running.stdout.is_open() && !running.stderr.is_open() {
                break;
            }
        }
        running.stdout.drain()?;
        running.stderr.drain()
    }
}

impl Runner for SystemRunner {
    fn run(&self, spec: &CommandSpec) -> Result<Finished, RunError> {
        let began = Instant::now();
        tracing::debug!(program = %spec.program, args = ?spec.args, "running {}", spec.label);
        let mut running = start(spec, &self.running)?;
        let drained = self.watch(spec, &mut running, began).and_then(|w| self.drain(&mut running).map(|()| w));
        if drained.is_err() {
            self.running.signal(Signal::KILL);
        }
        // From here on the id may be reused: nobody may signal it any more.
        *self.running.lock() = None;
        let status = match drained {
            Ok(None) => None, // cannot be killed: waiting would hang us
            _ => Some(running.child.wait().map_err(plumbing(spec, "wait"))?),
        };
        let why = drained.map_err(plumbing(spec, "pipes"))?.unwrap_or(Some(End::TimedOut));
        let end = why.unwrap_or_else(|| status.map_or(End::TimedOut, natural_end));
        let exit_code = match end {
            End::Exited(code) => Some(code),
            _ => None,
        };
        let finished =
            Finished { exit_code, end, stdout: running.stdout.take(), stderr: running.stderr.take(), wall: began.elapsed() };
        tracing::debug!(end = ?finished.end, wall_ms = finished.wall.as_millis() as u64, "{} ended", spec.label);
        Ok(finished)
    }
}

fn natural_end(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Signaled(signal),
        (None, None) => End::Signaled(0),
    }
}

//! The agent's side of [`crate::supervise`]: a `Runner` whose changing commands outlive the agent, and taking up
//! again, after a restart, what survived.
//!
//! On systemd hosts a command is a transient service: its own control group, process 1's clean environment, none of
//! the agent's limits. Elsewhere it is a process in a session of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use drydock_domain::ids::TaskId;
use drydock_domain::work::Directive;
use drydock_pkgmgr::run::{Captured, CommandSpec, End, Finished, RunError, Runner, SystemRunner};

use crate::link::session::lock;
use crate::platform;
use crate::supervise::{Ended, Outcome, Spec};
use crate::task::control::Control;

/// How often a result is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long systemd may take to begin a command on a busy host.
const START_LIMIT: Duration = Duration::from_secs(90);
/// What a supervisor may need beyond the command's own limit: TERM, KILL, writing.
const GRACE: Duration = Duration::from_secs(60);
/// Variables of the agent's environment that commands get; process 1 does not pass them on.
const PASSED_THROUGH: [&str; 8] =
    ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "TMPDIR"];

/// What became of a command that was handed over.
#[derive(Debug)]
pub enum Fate {
    /// It ran to an end that is known.
    Ended(Finished),
    /// It was never begun and never will be.
    NeverBegan,
    /// It began, and nobody knows how it ended: power loss, reboot, a killed supervisor.
    Vanished(String),
}

/// Runs commands of one task.
pub struct DetachedRunner {
    program: PathBuf,
    system: SystemRunner,
    control: Control,
    task: TaskId,
    place: Mutex<Place>,
    armed: AtomicBool,
    vanished: AtomicBool,
}

#[derive(Debug)]
struct Place {
    dir: PathBuf,
    next: u32,
}

impl DetachedRunner {
    /// For the commands of `task`; their directories are made below `dir`. `program` is the agent itself.
    pub fn new(program: PathBuf, control: Control, task: TaskId, dir: PathBuf) -> Self {
        DetachedRunner {
            program,
            system: SystemRunner::new(),
            control,
            task,
            place: Mutex::new(Place { dir, next: 0 }),
            armed: AtomicBool::new(false),
            vanished: AtomicBool::new(false),
        }
    }

    /// Where the following commands get their directories.
    pub fn enter(&self, dir: PathBuf) {
        *lock(&self.place) = Place { dir, next: 0 };
        self.vanished.store(false, Ordering::Relaxed);
    }

    /// May KILL end the commands from now on? Not while mending or reading the truth.
    pub fn arm(&self, armed: bool) {
        self.armed.store(armed, Ordering::Relaxed);
        self.control.arm(self.task, armed.then(|| self.system.kill_switch()));
    }

    /// Did a command vanish since [`DetachedRunner::enter`]?
    pub fn vanished(&self) -> bool {
        self.vanished.load(Ordering::Relaxed)
    }

    fn killed(&self) -> bool {
        self.armed.load(Ordering::Relaxed) && self.control.wish(self.task) == Directive::Kill
    }

    /// Runs `command` in `dir`, or takes it up where an earlier agent left it.
    pub fn run_in(&self, dir: &Path, command: &CommandSpec) -> Result<Fate, RunError> {
        let plumbing = |what| {
            let program = command.program.clone();
            move |source| RunError::Plumbing { program, what, source }
        };
        if dir.join("spec.json").exists() {
            match self.wait(dir).map_err(plumbing("supervision"))? {
                Fate::NeverBegan => fs::remove_dir_all(dir).map_err(plumbing("directory"))?,
                known => return Ok(known),
            }
        }
        if self.killed() {
            return Ok(Fate::Ended(finished(End::Killed, Duration::ZERO, Captured::from_bytes(b""), Captured::from_bytes(b""))));
        }
        if find_program(&command.program).is_none() {
            return Err(RunError::NotFound { program: command.program.clone(), path: "/usr/local/sbin … /bin" });
        }
        let mut spec = Spec::of(command, platform::boot_id());
        let inherited = PASSED_THROUGH.iter().filter_map(|k| Some(((*k).to_owned(), std::env::var(k).ok()?)));
        spec.env = inherited.chain(spec.env).collect();
        let text = serde_json::to_vec(&spec).map_err(|e| plumbing("specification")(io::Error::other(e)))?;
        platform::private_dir(dir).map_err(plumbing("directory"))?;
        platform::write_durably(&dir.join("spec.json"), &text, 0o600).map_err(plumbing("specification"))?;
        begin(&self.program, dir).map_err(|source| RunError::Spawn { program: command.program.clone(), source })?;
        self.wait(dir).map_err(plumbing("supervision"))
    }

    /// Waits for every command an earlier agent left in `dir`; the fate of the last one that began.
    pub fn settle(&self, dir: &Path) -> io::Result<Option<Fate>> {
        let mut last = None;
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut places: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.join("spec.json").exists()).collect();
        places.sort();
        for place in places {
            match self.wait(&place)? {
                Fate::NeverBegan => {}
                fate => last = Some(fate),
            }
        }
        Ok(last)
    }

    fn wait(&self, dir: &Path) -> io::Result<Fate> {
        let spec: Spec = serde_json::from_slice(&fs::read(dir.join("spec.json"))?).map_err(io::Error::other)?;
        let began = Instant::now();
        loop {
            if let Some(fate) = ended(dir)? {
                return Ok(fate);
            }
            if spec.boot != platform::boot_id() {
                return Ok(if dir.join("started").exists() {
                    Fate::Vanished("the host went down while it ran".to_owned())
                } else {
                    Fate::NeverBegan
                });
            }
            if self.killed() && !dir.join("kill").exists() {
                platform::write_durably(&dir.join("kill"), b"", 0o600)?;
            }
            if dir.join("started").exists() {
                if platform::try_lock(&dir.join("lock"))?.is_some() {
                    // The result may have come between the two looks.
                    return match ended(dir)? {
                        Some(fate) => Ok(fate),
                        None => self.wait_for_orphan(dir, &spec, began),
                    };
                }
            } else if began.elapsed() > START_LIMIT && abandon(dir)? {
                return Ok(Fate::NeverBegan);
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// The supervisor was killed. The command goes on (its output is a file): ending it would tear a transaction, so
    /// it is waited for, within its own time limit.
    fn wait_for_orphan(&self, dir: &Path, spec: &Spec, began: Instant) -> io::Result<Fate> {
        let line = fs::read_to_string(dir.join("leader")).unwrap_or_default();
        let pid = line.split_ascii_whitespace().next().and_then(|p| p.parse::<i32>().ok());
        let start = platform::stat_fields(&line).and_then(|f| f.1);
        if let (Some(pid), Some(start)) = (pid, start) {
            let mut asked = None;
            while !platform::process_is_over(pid, start) {
                if self.killed() || began.elapsed() > spec.time_limit + GRACE {
                    let since = asked.get_or_insert_with(Instant::now);
                    platform::end_group(pid, since.elapsed() > Duration::from_secs(5));
                }
                std::thread::sleep(LOOK_INTERVAL);
            }
            if asked.is_some() && self.killed() {
                return Ok(Fate::Ended(finished(
                    End::Killed,
                    began.elapsed(),
                    Captured::from_bytes(b""),
                    Captured::from_bytes(b""),
                )));
            }
        }
        Ok(Fate::Vanished("its supervisor was killed; how it ended is not known".to_owned()))
    }
}

impl Runner for DetachedRunner {
    fn run(&self, command: &CommandSpec) -> Result<Finished, RunError> {
        if !command.mutates {
            if self.killed() {
                return Ok(finished(End::Killed, Duration::ZERO, Captured::from_bytes(b""), Captured::from_bytes(b"")));
            }
            return self.system.run(command);
        }
        let dir = {
            let mut place = lock(&self.place);
            place.next += 1;
            place.dir.join(format!("command-{}", place.next))
        };
        let lost = |why: String| RunError::Plumbing {
            program: command.program.clone(),
            what: "supervision",
            source: io::Error::other(why),
        };
        match self.run_in(&dir, command)? {
            Fate::Ended(finished) => Ok(finished),
            Fate::NeverBegan => Err(lost("it did not begin in time".to_owned())),
            Fate::Vanished(why) => {
                self.vanished.store(true, Ordering::Relaxed);
                Err(lost(why))
            }
        }
    }
}

fn finished(end: End, wall: Duration, stdout: Captured, stderr: Captured) -> Finished {
    let exit_code = if let End::Exited(code) = end { Some(code) } else { None };
    Finished { exit_code, end, stdout, stderr, wall }
}

fn ended(dir: &Path) -> io::Result<Option<Fate>> {
    let Some((outcome, stdout, stderr)) = Outcome::read(dir)? else { return Ok(None) };
    let end = match outcome.ended {
        Ended::Exited { code } => End::Exited(code),
        Ended::Signaled { signal } => End::Signaled(signal),
        Ended::TimedOut => End::TimedOut,
        Ended::Killed => End::Killed,
        Ended::NotRun { why } => return Err(io::Error::other(why)),
    };
    Ok(Some(Fate::Ended(finished(end, outcome.wall, stdout, stderr))))
}

/// Takes the supervisor's place so that it can never begin; false when it just did.
fn abandon(dir: &Path) -> io::Result<bool> {
    let Some(_lock) = platform::try_lock(&dir.join("lock"))? else { return Ok(false) };
    if dir.join("started").exists() {
        return Ok(false);
    }
    platform::write_durably(&dir.join("abandoned"), b"", 0o600)?;
    Ok(true)
}

fn find_program(program: &str) -> Option<PathBuf> {
    let places = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    if program.starts_with('/') {
        return Path::new(program).exists().then(|| PathBuf::from(program));
    }
    places.iter().map(|p| Path::new(p).join(program)).find(|p| p.exists())
}

/// The agent's own program, also after an upgrade replaced the file that runs.
pub fn own_program() -> PathBuf {
    let path = std::env::current_exe().unwrap_or_default();
    let text = path.to_string_lossy();
    let path = text.strip_suffix(" (deleted)").map_or(path.clone(), PathBuf::from);
    if path.exists() { path } else { PathBuf::from(format!("/proc/{}/exe", platform::own_pid())) }
}

/// Starts the supervisor of `dir` apart from us.
fn begin(program: &Path, dir: &Path) -> io::Result<()> {
    if platform::has_systemd() {
        match begin_by_systemd(program, dir) {
            Ok(()) => return Ok(()),
            // In our own unit everything is read-only and ends with the agent: no place for a transaction.
            Err(e) if std::env::var_os("INVOCATION_ID").is_some() => return Err(e),
            Err(e) => tracing::warn!("{e}; the command runs in a session of its own instead"),
        }
    }
    let status = Command::new(program)
        .args(["supervise", "--detach"])
        .arg(dir)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("the supervisor could not be started ({status})"))) }
}

fn begin_by_systemd(program: &Path, dir: &Path) -> io::Result<()> {
    let unit = format!("drydock-task-{}.service", uuid::Uuid::now_v7().as_simple());
    let out = Command::new("systemd-run")
        .arg(format!("--unit={unit}"))
        .args(["--collect", "--quiet", "--no-block", "--no-ask-password", "--description=Drydock patch task"])
        // What a script leaves in the background on purpose stays; a kill sweeps by itself.
        .args(["-p", "KillMode=process", "-p", "SendSIGKILL=no", "-p", "OOMScoreAdjust=-500"])
        .arg("--")
        .arg(program)
        .arg("supervise")
        .arg(dir)
        .stdin(Stdio::null())
        .output()?;
    if out.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("systemd-run: {}", String::from_utf8_lossy(&out.stderr).trim())))
}

//! Keeps one systemd-nspawn running for a host, and starts it again when the host reboots.
//!
//! One thread per host owns the process. Absent: mounts and files of the host (`host.rs`).

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::registry;

/// How systemd-nspawn says that the host asked for a reboot.
const REBOOT_EXIT_CODE: i32 = 133;
/// From a killed init to the end of systemd-nspawn, which takes its mounts down.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The running part of a host.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Times systemd-nspawn was started.
    boots: u32,
    /// The running systemd-nspawn.
    nspawn: Option<u32>,
    /// No further start, whatever the exit code.
    stopping: bool,
    /// Set when the thread has nothing more to do: how the last run ended.
    ended: Option<String>,
}

/// What to boot.
pub(super) struct Machine {
    /// Unique on this machine.
    pub id: String,
    pub hostname: String,
    /// The overlay.
    pub root: PathBuf,
    /// Gets the console's output and the pid file.
    pub dir: PathBuf,
}

impl Supervisor {
    /// Starts the machine. `boots` counts on from an earlier life of the same host.
    pub fn start(machine: Machine, boots: u32) -> Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::new(State { boots, ..State::default() }), changed: Condvar::new() });
        let child = spawn(&machine, &shared)?;
        let for_thread = Arc::clone(&shared);
        let name = format!("lab-{}", machine.hostname);
        let thread = std::thread::Builder::new().name(name).spawn(move || keep(&machine, child, &for_thread))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Times the host was started, the first boot included.
    pub fn boots(&self) -> u32 {
        self.shared.lock().boots
    }

    /// Process id, on this machine, of the host's PID 1.
    pub fn init(&self) -> Option<u32> {
        registry::init_of(self.shared.lock().nspawn?)
    }

    /// How the last run ended, once the host is off.
    pub fn ended(&self) -> Option<String> {
        self.shared.lock().ended.clone()
    }

    /// Ends the host at once, as a power cut does, and waits until its processes are gone.
    pub fn kill(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.signal();
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(state, KILL_LIMIT, |state| state.ended.is_none());
        let stuck = waited.unwrap_or_else(PoisonError::into_inner).1.timed_out();
        if stuck && let Some(nspawn) = self.shared.lock().nspawn {
            send_kill(nspawn);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Counters and options stay whole whatever a panicking thread did.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills PID 1 of the host; without one yet, systemd-nspawn itself.
    fn signal(&self) {
        if let Some(nspawn) = self.lock().nspawn {
            send_kill(registry::init_of(nspawn).unwrap_or(nspawn));
        }
    }
}

fn send_kill(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Waits for the machine to end, again and again while it asks for a reboot.
fn keep(machine: &Machine, mut child: Child, shared: &Arc<Shared>) {
    let ended = loop {
        let status = child.wait();
        let mut state = shared.lock();
        state.nspawn = None;
        let rebooting = status.as_ref().is_ok_and(|status| status.code() == Some(REBOOT_EXIT_CODE));
        if !rebooting || state.stopping {
            break status.map_or_else(|error| error.to_string(), |status| status.to_string());
        }
        drop(state);
        match spawn(machine, shared) {
            Ok(next) => child = next,
            Err(error) => break format!("{error:#}"),
        }
        // A kill may have come between the two runs; it found nothing to signal.
        if shared.lock().stopping {
            shared.signal();
        }
    };
    shared.lock().ended = Some(ended);
    shared.changed.notify_all();
}

fn spawn(machine: &Machine, shared: &Arc<Shared>) -> Result<Child> {
    let console = machine.dir.join("console.log");
    let console =
        File::options().create(true).append(true).open(&console).with_context(|| format!("cannot open {}", console.display()))?;
    let mut command = Command::new("systemd-nspawn");
    command.arg("--directory").arg(&machine.root);
    command.arg(format!("--machine={}", machine.id)).arg(format!("--hostname={}", machine.hostname));
    command.args(["--boot", "--quiet", "--register=no", "--keep-unit", "--console=read-only"]);
    command.args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"]);
    // Newer systemd refuses the old control-group hierarchy; the unified one works here even when
    // this machine mounts it without controllers.
    command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
    command.env("SYSTEMD_NSPAWN_LOCK", "0");
    command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console).process_group(0);
    // Held across the start, so that a kill sees either no process or its number.
    let mut state = shared.lock();
    let child = command.spawn().context("cannot start systemd-nspawn")?;
    state.nspawn = Some(child.id());
    state.boots += 1;
    drop(state);
    write_pid(&machine.dir, child.id())?;
    Ok(child)
}

fn write_pid(dir: &Path, pid: u32) -> Result<()> {
    let path = dir.join(registry::NSPAWN_PID_FILE);
    fs::write(&path, pid.to_string()).with_context(|| format!("cannot write {}", path.display()))
}

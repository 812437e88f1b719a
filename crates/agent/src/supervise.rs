//! `drydock-agent supervise DIR`: runs one command of a task in a process of its own, so that a package transaction
//! outlives the agent. Everything it is told and tells is in DIR:
//!
//! | file | written by | meaning |
//! |---|---|---|
//! | `spec.json` | agent | what to run |
//! | `abandoned` | agent | never begin |
//! | `kill` | agent | end the command now |
//! | `lock` | supervisor | held (flock) while it lives |
//! | `started` | supervisor | it begins; never begun twice |
//! | `leader` | the command's shell | `/proc/PID/stat` of the command |
//! | `stdout`, `stderr` | supervisor | what it printed, cut |
//! | `result.json` | supervisor | how it ended: last |
//!
//! Absent: what the command means; the ledger.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use drydock_pkgmgr::run::{Captured, CommandSpec, End, Finished, Gap, Runner, SystemRunner};
use serde::{Deserialize, Serialize};

use crate::platform;

/// Form of `spec.json`; another one comes from another version of the agent and is refused.
pub const SPEC_VERSION: u32 = 1;
/// How often the `kill` file is looked for.
const KILL_LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Kept of each stream: first and last part each, bytes.
const PART_MAX_BYTES: usize = 512 * 1024;
/// Writes the shell's own /proc line, then becomes the command: the agent can find the command when we are killed.
const LEADER_SCRIPT: &str = r#"read -r line <"/proc/$$/stat" && printf '%s\n' "$line" >"$0"; exec "$@""#;

/// `spec.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// [`SPEC_VERSION`].
    pub version: u32,
    /// Name in PATH or absolute path.
    pub program: String,
    /// Arguments.
    pub args: Vec<String>,
    /// Variables added to the fixed environment.
    pub env: Vec<(String, String)>,
    /// Time limit.
    pub time_limit: Duration,
    /// One stream for both.
    pub merge_stderr: bool,
    /// Standard input.
    pub stdin: Option<Vec<u8>>,
    /// Working directory.
    pub work_dir: Option<PathBuf>,
    /// For people.
    pub label: String,
    /// The boot in which it was to run.
    pub boot: String,
}

impl Spec {
    /// The written form of a command.
    pub fn of(command: &CommandSpec, boot: String) -> Self {
        Spec {
            version: SPEC_VERSION,
            program: command.program.clone(),
            args: command.args.clone(),
            env: command.env.clone(),
            time_limit: command.time_limit,
            merge_stderr: command.merge_stderr,
            stdin: command.stdin.clone(),
            work_dir: command.work_dir.clone(),
            label: command.label.clone(),
            boot,
        }
    }

    fn command(&self, dir: &Path) -> CommandSpec {
        let leader = dir.join("leader").to_string_lossy().into_owned();
        let mut command = CommandSpec::new("/bin/sh", self.label.clone(), self.time_limit)
            .args(["-c".to_owned(), LEADER_SCRIPT.to_owned(), leader, self.program.clone()])
            .args(self.args.clone());
        command.env.clone_from(&self.env);
        command.stdin.clone_from(&self.stdin);
        command.work_dir.clone_from(&self.work_dir);
        command.mutates = true;
        command.merge_stderr = self.merge_stderr;
        command
    }
}

/// How the command ended, in `result.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "how")]
pub enum Ended {
    /// By itself.
    Exited {
        /// Exit code.
        code: i32,
    },
    /// By a foreign signal.
    Signaled {
        /// Number.
        signal: i32,
    },
    /// At its time limit.
    TimedOut,
    /// On request.
    Killed,
    /// It could not be run.
    NotRun {
        /// Why.
        why: String,
    },
}

/// `result.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// How long it took.
    pub wall: Duration,
    /// Background processes that were ended with it.
    pub swept: usize,
    /// What the kept standard output lacks.
    #[serde(default)]
    pub stdout_gap: Gap,
    /// What the kept standard error lacks.
    #[serde(default)]
    pub stderr_gap: Gap,
}

impl Outcome {
    fn of(ended: Ended, wall: Duration, swept: usize) -> Self {
        Outcome { ended, wall, swept, stdout_gap: Gap::default(), stderr_gap: Gap::default() }
    }

    /// Reads a result and the streams beside it.
    pub fn read(dir: &Path) -> std::io::Result<Option<(Outcome, Captured, Captured)>> {
        let text = match fs::read(dir.join("result.json")) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let outcome: Outcome = serde_json::from_slice(&text).map_err(std::io::Error::other)?;
        // A stream that could not be written (full disk) is missing; how the command ended is still true.
        let stream = |name, gap| Captured::from_cut(&fs::read(dir.join(name)).unwrap_or_default(), gap);
        let (stdout, stderr) = (stream("stdout", outcome.stdout_gap), stream("stderr", outcome.stderr_gap));
        Ok(Some((outcome, stdout, stderr)))
    }
}

/// Runs the command of `dir`. With `detach`: leaves the caller's session and hands over to a second process, so that
/// the caller has no child and ends as it likes.
pub fn main(dir: &Path, detach: bool) -> anyhow::Result<()> {
    if detach {
        platform::leave_session().context("cannot leave the session")?;
        let program = std::env::current_exe().context("cannot find myself")?;
        let null = || std::process::Stdio::null();
        std::process::Command::new(program)
            .arg("supervise")
            .arg(dir)
            .env_clear()
            .current_dir("/")
            .stdin(null())
            .stdout(null())
            .stderr(null())
            .spawn()
            .context("cannot start the supervisor")?;
        return Ok(());
    }
    // Before any thread, so that none of them takes the signals.
    platform::block_end_signals()?;
    let Some(_lock) = platform::try_lock(&dir.join("lock")).with_context(|| format!("cannot lock {}", dir.display()))? else {
        bail!("{} is being supervised already", dir.display());
    };
    for never in ["abandoned", "started", "result.json"] {
        if dir.join(never).exists() {
            bail!("{} holds {never}: this command is not begun again", dir.display());
        }
    }
    let text = fs::read(dir.join("spec.json")).with_context(|| format!("cannot read {}/spec.json", dir.display()))?;
    let spec: Spec = serde_json::from_slice(&text).context("spec.json cannot be read")?;
    platform::write_durably(&dir.join("started"), platform::own_pid().to_string().as_bytes(), 0o600)?;
    let (mut outcome, stdout, stderr) = supervise(dir, &spec);
    for (name, stream, gap) in [("stdout", &stdout, &mut outcome.stdout_gap), ("stderr", &stderr, &mut outcome.stderr_gap)] {
        let (kept, missing) = stream.cut(PART_MAX_BYTES);
        *gap = missing;
        // Best effort, see `Outcome::read`.
        let _ = platform::write_durably(&dir.join(name), &kept, 0o600);
    }
    write_result(dir, &outcome)
}

/// A full disk may be freed by the time the next try is made; the agent waits for this file as long as we live.
fn write_result(dir: &Path, outcome: &Outcome) -> anyhow::Result<()> {
    const TRIES_MAX: u32 = 600;
    let text = serde_json::to_vec(outcome)?;
    let mut last = Ok(());
    for _ in 0..TRIES_MAX {
        last = platform::write_durably(&dir.join("result.json"), &text, 0o600);
        if last.is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    last.context("cannot write result.json")
}

fn supervise(dir: &Path, spec: &Spec) -> (Outcome, Captured, Captured) {
    let none = || (Captured::from_bytes(b""), Captured::from_bytes(b""));
    let not_run = |ended| {
        let (out, err) = none();
        (Outcome::of(ended, Duration::ZERO, 0), out, err)
    };
    if spec.version != SPEC_VERSION {
        return not_run(Ended::NotRun {
            why: format!("spec.json has version {}, this agent reads {SPEC_VERSION}", spec.version),
        });
    }
    if dir.join("kill").exists() {
        return not_run(Ended::Killed);
    }
    if let Err(e) = platform::adopt_orphans() {
        tracing::debug!("background processes cannot be adopted: {e}");
    }
    let runner = SystemRunner::new();
    let killed = watch_for_kill(dir, &runner);
    match runner.run(&spec.command(dir)) {
        Ok(finished) => {
            let ended = ended(&finished, killed.load(Ordering::Relaxed));
            let swept = if matches!(ended, Ended::TimedOut | Ended::Killed) { platform::kill_descendants() } else { 0 };
            (Outcome::of(ended, finished.wall, swept), finished.stdout, finished.stderr)
        }
        Err(e) => not_run(Ended::NotRun { why: crate::link::channel::chain(&e) }),
    }
}

fn ended(finished: &Finished, killed: bool) -> Ended {
    match finished.end {
        End::Exited(code) => Ended::Exited { code },
        // The switch may have been used in the moment before the command existed for it.
        End::Signaled(_) if killed => Ended::Killed,
        End::Signaled(signal) => Ended::Signaled { signal },
        End::TimedOut => Ended::TimedOut,
        End::Killed => Ended::Killed,
    }
}

/// The `kill` file and TERM both end the command; we stay to write the result.
fn watch_for_kill(dir: &Path, runner: &SystemRunner) -> Arc<AtomicBool> {
    let killed = Arc::new(AtomicBool::new(false));
    let (file, by_file, by_signal) = (dir.join("kill"), Arc::clone(&killed), Arc::clone(&killed));
    let switch = runner.kill_switch();
    std::thread::spawn(move || {
        loop {
            if by_file.load(Ordering::Relaxed) || file.exists() {
                by_file.store(true, Ordering::Relaxed);
                // Until it hits: the command may not have begun yet.
                if switch.kill() {
                    return;
                }
            }
            std::thread::sleep(KILL_LOOK_INTERVAL);
        }
    });
    std::thread::spawn(move || {
        platform::wait_for_end_signal();
        by_signal.store(true, Ordering::Relaxed);
    });
    killed
}

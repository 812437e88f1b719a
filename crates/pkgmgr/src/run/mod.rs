//! The one door to processes: what to run, how it ended, what it printed.
//!
//! [`SystemRunner`] runs real commands; `testing::ScriptedRunner` plays a chain of expected ones. The environment
//! every command gets (clean, non-interactive, no translation) is fixed in `system.rs` and nowhere else.

mod capture;
mod system;

use std::path::PathBuf;
use std::time::Duration;

use drydock_domain::patch::report::Output;

pub use capture::{Captured, Gap};
pub use system::{KillSwitch, SystemRunner};

/// One command to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSpec {
    /// Name looked up in the fixed `PATH`, or an absolute path.
    pub program: String,
    /// Arguments, one word each; no shell is involved.
    pub args: Vec<String>,
    /// Variables added to the fixed environment.
    pub env: Vec<(String, String)>,
    /// After this the process group is ended: TERM, five seconds, KILL.
    pub time_limit: Duration,
    /// It changes the package database: its output goes to a file instead of a pipe, so that it goes on (and is not
    /// ended by SIGPIPE in the middle of a transaction) when the agent dies.
    pub mutates: bool,
    /// Standard error goes where standard output goes, in the order it comes; [`Finished::stderr`] stays empty.
    pub merge_stderr: bool,
    /// Bytes for standard input; `None` = /dev/null.
    pub stdin: Option<Vec<u8>>,
    /// Working directory; `None` = `/`.
    pub work_dir: Option<PathBuf>,
    /// For people: `apt-get install`.
    pub label: String,
}

impl CommandSpec {
    /// A reading command without arguments.
    pub fn new(program: impl Into<String>, label: impl Into<String>, time_limit: Duration) -> Self {
        CommandSpec {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            time_limit,
            mutates: false,
            merge_stderr: false,
            stdin: None,
            work_dir: None,
            label: label.into(),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds one environment variable.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Gives standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Marks a command that changes the package database; both streams are kept as one.
    #[must_use]
    pub fn mutating(mut self) -> Self {
        self.mutates = true;
        self.merge_stderr = true;
        self
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal, which we did not send.
    Signaled(i32),
    /// We ended it at its time limit.
    TimedOut,
    /// We ended it because somebody used the [`KillSwitch`].
    Killed,
}

/// A command that ran.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The exit code, when it ended by itself.
    pub exit_code: Option<i32>,
    /// How it ended.
    pub end: End,
    /// Standard output: up to 16 MiB, so that parsers see all of it.
    pub stdout: Captured,
    /// Standard error: first and last 32 KiB.
    pub stderr: Captured,
    /// How long it took.
    pub wall: Duration,
}

impl Finished {
    /// Did it exit with 0?
    pub fn success(&self) -> bool {
        self.end == End::Exited(0)
    }

    /// How it ended, for people: `exit code 100`, `ended by signal 9`.
    pub fn describe_end(&self) -> String {
        match self.end {
            End::Exited(code) => format!("exit code {code}"),
            End::Signaled(signal) => format!("ended by signal {signal}"),
            End::TimedOut => "ended at its time limit".to_owned(),
            End::Killed => "ended on request".to_owned(),
        }
    }

    /// Both streams for a report: output, then errors (in true order where `merge_stderr` was set).
    pub fn output(&self) -> Output {
        if self.stderr.is_empty() {
            return self.stdout.to_output();
        }
        if self.stdout.is_empty() {
            return self.stderr.to_output();
        }
        self.stdout.followed_by(&self.stderr).to_output()
    }
}

/// A command that could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No such program.
    #[error("{program} is not installed on this host (looked in {path}); install it or check the host's PATH")]
    NotFound {
        /// What was looked for.
        program: String,
        /// Where.
        path: &'static str,
    },
    /// The system refused to start it.
    #[error("{program} could not be started; check its permissions and the host's process limits")]
    Spawn {
        /// Which program.
        program: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Pipes, files or waiting failed around it.
    #[error("{program} was started, but its {what} failed")]
    Plumbing {
        /// Which program.
        program: String,
        /// `output file`, `pipes`, `wait`.
        what: &'static str,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Only from a fake: the command was not expected.
    #[error("unexpected command: {0}")]
    Unexpected(String),
}

/// Runs commands, one at a time.
pub trait Runner: Send + Sync {
    /// Runs `command` to its end.
    fn run(&self, command: &CommandSpec) -> Result<Finished, RunError>;

    /// Waits before the next try (a lock held by another package manager); a fake does not really wait.
    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

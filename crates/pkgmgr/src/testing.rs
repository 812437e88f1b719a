//! A fake [`Runner`] for tests of this crate and of the agent: plays a chain of expected commands and fails on any
//! other, and on commands that were expected and did not come. [`Recorder`] writes such a chain from real commands.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::run::{Captured, CommandSpec, End, Finished, RunError, Runner};

/// One expected command and its reply.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Step {
    command: String,
    #[serde(with = "EndForm")]
    end: End,
    stdout: String,
    stderr: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "End")]
enum EndForm {
    Exited(i32),
    Signaled(i32),
    TimedOut,
    Killed,
}

/// Words of commands that differ from run to run: directories of stored transactions.
const VARYING: &str = "drydock-transaction-";

fn line_of(command: &CommandSpec) -> String {
    let words = std::iter::once(&command.program).chain(&command.args);
    words.map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// Runs commands through another runner and keeps what they printed, for fixtures.
pub struct Recorder<R> {
    inner: R,
    steps: Mutex<Vec<Step>>,
}

impl<R: Runner> Recorder<R> {
    /// Records what `inner` runs.
    pub fn new(inner: R) -> Self {
        Recorder { inner, steps: Mutex::new(Vec::new()) }
    }

    /// The chain so far, as [`ScriptedRunner::from_json`] reads it.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&*lock(&self.steps))
    }
}

impl<R: Runner> Runner for Recorder<R> {
    fn run(&self, command: &CommandSpec) -> Result<Finished, RunError> {
        let finished = self.inner.run(command)?;
        let vary = |word: &str| if word.contains(VARYING) { "*".to_owned() } else { word.to_owned() };
        let line = line_of(command).split(' ').map(vary).collect::<Vec<_>>().join(" ");
        let (stdout, stderr) = (finished.stdout.text(), finished.stderr.text());
        lock(&self.steps).push(Step { command: line, end: finished.end, stdout, stderr });
        Ok(finished)
    }
}

/// Plays a chain of expected commands.
#[derive(Debug, Default)]
pub struct ScriptedRunner {
    steps: Mutex<VecDeque<Step>>,
    seen: Mutex<Vec<CommandSpec>>,
    paused: Mutex<Duration>,
}

impl ScriptedRunner {
    /// An empty chain.
    pub fn new() -> Self {
        Self::default()
    }

    /// A recorded chain.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        let runner = Self::new();
        *lock(&runner.steps) = serde_json::from_str(text)?;
        Ok(runner)
    }

    /// Expects `command` next and replies with exit code 0 and `stdout`.
    ///
    /// `command` is the program and its arguments joined by spaces; `*` stands for any characters.
    #[must_use]
    pub fn expect(self, command: &str, stdout: &str) -> Self {
        self.expect_end(command, End::Exited(0), stdout, "")
    }

    /// Expects `command` next and replies with this end and output.
    #[must_use]
    pub fn expect_end(self, command: &str, end: End, stdout: &str, stderr: &str) -> Self {
        let step = Step { command: command.to_owned(), end, stdout: stdout.to_owned(), stderr: stderr.to_owned() };
        lock(&self.steps).push_back(step);
        self
    }

    /// The commands that came, in order.
    pub fn seen(&self) -> Vec<CommandSpec> {
        lock(&self.seen).clone()
    }

    /// How long the code under test would have waited in total.
    pub fn paused(&self) -> Duration {
        *lock(&self.paused)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Runner for ScriptedRunner {
    fn run(&self, command: &CommandSpec) -> Result<Finished, RunError> {
        let line = line_of(command);
        lock(&self.seen).push(command.clone());
        let Some(step) = lock(&self.steps).pop_front() else {
            return Err(RunError::Unexpected(format!("{line:?} after the end of the chain")));
        };
        if !glob(step.command.as_bytes(), line.as_bytes()) {
            return Err(RunError::Unexpected(format!("{line:?}, expected {:?}", step.command)));
        }
        let (stdout, stderr) = if command.merge_stderr {
            (format!("{}{}", step.stdout, step.stderr), String::new())
        } else {
            (step.stdout, step.stderr)
        };
        let exit_code = match step.end {
            End::Exited(code) => Some(code),
            _ => None,
        };
        Ok(Finished {
            exit_code,
            end: step.end,
            stdout: Captured::from_bytes(stdout.as_bytes()),
            stderr: Captured::from_bytes(stderr.as_bytes()),
            wall: Duration::from_millis(1),
        })
    }

    fn pause(&self, duration: Duration) {
        *lock(&self.paused) += duration;
    }
}

impl Drop for ScriptedRunner {
    fn drop(&mut self) {
        let left = lock(&self.steps);
        if !std::thread::panicking() {
            assert!(
                left.is_empty(),
                "expected commands that never came: {:?}",
                left.iter().map(|s| &s.command).collect::<Vec<_>>()
            );
        }
    }
}

/// `*` matches any characters.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|n| glob(rest, &text[n..])),
        Some((c, rest)) => text.split_first().is_some_and(|(t, more)| t == c && glob(rest, more)),
    }
}

//! A fake [`Runner`] for tests of this crate and of the agent: plays a chain of expected commands and fails on any
//! other, and on commands that were expected and did not come.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use crate::run::{Captured, CommandSpec, End, Finished, RunError, Runner};

/// One expected command and its reply.
#[derive(Debug, Clone)]
struct Step {
    command: String,
    end: End,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
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
        let step = Step { command: command.to_owned(), end, stdout: stdout.into(), stderr: stderr.into() };
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
        let line = std::iter::once(&command.program).chain(&command.args).map(String::as_str).collect::<Vec<_>>().join(" ");
        lock(&self.seen).push(command.clone());
        let Some(step) = lock(&self.steps).pop_front() else {
            return Err(RunError::Unexpected(format!("{line:?} after the end of the chain")));
        };
        if !glob(step.command.as_bytes(), line.as_bytes()) {
            return Err(RunError::Unexpected(format!("{line:?}, expected {:?}", step.command)));
        }
        let (stdout, stderr) = if command.merge_stderr {
            ([step.stdout, step.stderr].concat(), Vec::new())
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
            stdout: Captured::from_bytes(&stdout),
            stderr: Captured::from_bytes(&stderr),
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
            assert!(left.is_empty(), "expected commands that never came: {:?}", left.iter().map(|s| &s.command).collect::<Vec<_>>());
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

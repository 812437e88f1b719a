//! Naming a process so that a reused pid is not mistaken for it: pid and start time.

use std::fmt;
use std::fs;
use std::str::FromStr;

use anyhow::{Context as _, Error, Result};

/// Field of `/proc/PID/stat` after the command's closing parenthesis: start time in clock ticks.
const START_TIME_FIELD: usize = 19;

/// One process of this machine, from its start to its end. Written as `PID START`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessMark {
    pid: u32,
    started: u64,
}

impl ProcessMark {
    /// The process with this pid now.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(pid: u32) -> Result<Self> {
        let started = start_time(pid).with_context(|| format!("there is no process {pid}"))?;
        Ok(Self { pid, started })
    }

    /// This process.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn this() -> Result<Self> {
        Self::of(std::process::id())
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }
}

impl fmt::Display for ProcessMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.started)
    }
}

impl FromStr for ProcessMark {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (pid, started) = text.trim().split_once(' ').context("a process mark is PID START")?;
        Ok(Self { pid: pid.parse()?, started: started.parse()? })
    }
}

/// `None` when there is no such process; one that only waits to be collected counts as ended.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command may hold blanks and parentheses; fields are counted from its end.
    let (_, fields) = stat.rsplit_once(") ")?;
    if fields.starts_with('Z') {
        return None;
    }
    fields.split(' ').nth(START_TIME_FIELD)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process is alive under its own start time only, so a reused pid is another process.
    #[test]
    fn reused_pid_is_another_process() {
        let me = ProcessMark::this().unwrap();
        assert!(me.is_alive());
        assert_eq!(me.to_string().parse::<ProcessMark>().unwrap(), me);
        assert!(!ProcessMark { started: me.started + 1, ..me }.is_alive());
        assert!("broken".parse::<ProcessMark>().is_err());
    }
}

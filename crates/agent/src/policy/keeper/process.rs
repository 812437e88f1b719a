//! Which process keeps: written by the keeper, read by whoever has to see that it runs, or that it ends.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ledger::{seal, unseal};
use crate::paths::Paths;
use crate::platform;
use crate::policy::site::Files;

/// A keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Start in ticks since the kernel's boot: with the id it names one process for ever.
    pub start: u64,
    /// Version of the agent's program.
    pub version: String,
}

impl Process {
    /// This one.
    pub fn own() -> Self {
        let pid = platform::own_pid();
        let start = platform::process_start_ticks(pid).unwrap_or(0);
        Process { pid, start, version: env!("CARGO_PKG_VERSION").to_owned() }
    }

    /// Says so.
    pub fn write(&self, files: &Files) -> std::io::Result<()> {
        let sealed = seal(self).map_err(std::io::Error::other)?;
        platform::write_durably(&files.process(), &sealed, 0o600)
    }

    /// The newest one, alive or not.
    pub fn read(files: &Files) -> Option<Self> {
        unseal(&std::fs::read(files.process()).ok()?).ok()
    }
}

/// The keeper's log: it is another process than the daemon, so it has its own file.
pub fn log_file(paths: &Paths) -> PathBuf {
    paths.log.with_file_name("policies.log")
}

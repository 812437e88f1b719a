//! What the server is told of the sources: the newest report, kept until it was delivered.

use std::path::{Path, PathBuf};

use drydock_domain::source::host::HostSourcesReport;
use serde::{Deserialize, Serialize};

use crate::ledger::{seal, unseal};
use crate::platform::write_durably;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KeptReport {
    report: HostSourcesReport,
    delivered: bool,
}

/// The file with the newest report.
#[derive(Debug, Clone)]
pub struct Outbox {
    path: PathBuf,
}

impl Outbox {
    /// In the file `path`.
    pub fn new(path: &Path) -> Self {
        Outbox { path: path.to_owned() }
    }

    fn read(&self) -> Option<KeptReport> {
        unseal(&std::fs::read(&self.path).ok()?).ok()
    }

    fn write(&self, kept: &KeptReport) -> Result<(), String> {
        let sealed = seal(kept)?;
        write_durably(&self.path, &sealed, 0o600).map_err(|e| format!("cannot write {}: {e}", self.path.display()))
    }

    /// The newest report.
    pub fn newest(&self) -> Option<HostSourcesReport> {
        self.read().map(|k| k.report)
    }

    /// Keeps a report; true when it is news.
    pub fn put(&self, report: HostSourcesReport) -> Result<bool, String> {
        if self.newest().as_ref() == Some(&report) {
            return Ok(false);
        }
        self.write(&KeptReport { report, delivered: false })?;
        Ok(true)
    }

    /// The report the server does not have yet.
    pub fn due(&self) -> Option<HostSourcesReport> {
        self.read().filter(|k| !k.delivered).map(|k| k.report)
    }

    /// The server has `report`. A newer one stays due.
    pub fn delivered(&self, report: &HostSourcesReport) {
        if let Some(kept) = self.read().filter(|k| k.report == *report)
            && let Err(e) = self.write(&KeptReport { delivered: true, ..kept })
        {
            // Costs one repeated report.
            tracing::warn!("{e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drydock_domain::source::host::HostSourcesState;

    #[test]
    fn a_report_is_due_until_it_was_delivered_and_again_when_it_changes() {
        let dir = tempfile::tempdir().expect("a directory");
        let outbox = Outbox::new(&dir.path().join("report"));
        let report = |generation| HostSourcesReport {
            generation,
            state: HostSourcesState::Applied,
            taken_over: Vec::new(),
            findings: Vec::new(),
        };
        assert!(outbox.due().is_none());
        assert!(outbox.put(report(1)).expect("kept"));
        assert!(!outbox.put(report(1)).expect("known"));
        outbox.delivered(&report(1));
        assert!(outbox.due().is_none() && outbox.newest() == Some(report(1)));
        assert!(outbox.put(report(2)).expect("kept"));
        outbox.delivered(&report(1));
        assert_eq!(outbox.due(), Some(report(2)), "the answer was for the older one");
    }
}

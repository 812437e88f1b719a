//! Logs: the journal when systemd holds our standard error, else standard error; and always a file of bounded size.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, filter::Targets};

/// The log file is renamed to `.1` when it reaches this, bytes: two files, 10 MiB, months of normal life.
const FILE_MAX_BYTES: u64 = 5 * 1024 * 1024;

/// A log file that never grows beyond its bound.
#[derive(Debug, Clone)]
struct RotatingFile(Arc<Mutex<Rotating>>);

#[derive(Debug)]
struct Rotating {
    path: PathBuf,
    file: Option<File>,
    written: u64,
    max: u64,
}

impl Rotating {
    fn open(path: &Path, max: u64) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = fs::OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
        let written = file.metadata()?.len();
        Ok(Rotating { path: path.to_owned(), file: Some(file), written, max })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.written + bytes.len() as u64 > self.max {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            self.file = None;
            fs::rename(&self.path, old)?;
            *self = Rotating::open(&self.path, self.max)?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
        }
        self.written += bytes.len() as u64;
        Ok(())
    }
}

impl Write for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A log that cannot be written (full disk) must not stop the work.
        let _ = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for RotatingFile {
    type Writer = RotatingFile;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

/// Starts logging for the daemon. `level` is a word of agent.toml; libraries are kept at `warn`.
pub fn start(level: &str, file: &Path) {
    let ours: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    let filter = || {
        Targets::new()
            .with_default(LevelFilter::WARN)
            .with_target("drydock", ours)
            .with_target("drydock_agent", ours)
            .with_target("drydock_pkgmgr", ours)
    };
    let rotating = Rotating::open(file, FILE_MAX_BYTES).map(|r| RotatingFile(Arc::new(Mutex::new(r))));
    let complaint = rotating.as_ref().err().map(|e| format!("no log file {}: {e}", file.display()));
    let file_layer = rotating
        .ok()
        .map(|w| tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).with_writer(w).with_filter(filter()));
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    let stderr = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .with_writer(io::stderr)
            .with_filter(filter())
    });
    let journal = journal.map(|j| j.with_filter(filter()));
    // A second start (tests) keeps the first.
    let _ = tracing_subscriber::registry().with(file_layer).with(journal).with(stderr).try_init();
    if let Some(text) = complaint {
        tracing::warn!("{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_never_takes_more_than_twice_its_bound() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("sub/agent.log");
        let mut log = Rotating::open(&path, 1000).expect("opened");
        for i in 0..500 {
            log.write(format!("line {i:04}\n").as_bytes()).expect("written");
        }
        let sizes: Vec<u64> = fs::read_dir(dir.path().join("sub"))
            .expect("listed")
            .map(|e| e.expect("entry").metadata().expect("metadata").len())
            .collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().all(|s| *s <= 1000), "{sizes:?}");
        assert!(fs::read_to_string(&path).expect("read").ends_with("line 0499\n"));
    }
}

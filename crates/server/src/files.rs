//! Files of the data directory: written whole or not at all, keys readable by their owner only, one daemon at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Mode of files that hold a secret.
pub const SECRET_MODE: u32 = 0o600;
/// Mode of files that anybody may read.
pub const PUBLIC_MODE: u32 = 0o644;

/// Names inside the data directory.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// The directory at `path`; nothing is touched.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        DataDir(path.into())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Certificate of the CA.
    pub fn ca_cert(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// Private key of the CA.
    pub fn ca_key(&self) -> PathBuf {
        self.0.join("ca.key")
    }

    /// Certificate of this server, leaf only.
    pub fn server_cert(&self) -> PathBuf {
        self.0.join("server.pem")
    }

    /// Private key of this server.
    pub fn server_key(&self) -> PathBuf {
        self.0.join("server.key")
    }

    /// The key that signs work orders.
    pub fn work_key(&self) -> PathBuf {
        self.0.join("work.key")
    }

    /// The key under which secrets of policies are kept.
    pub fn secret_key(&self) -> PathBuf {
        self.0.join("secrets.key")
    }

    /// The keys that sign repositories.
    pub fn repository_keys(&self) -> PathBuf {
        self.0.join("repository-keys")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.0.join("drydock.sqlite")
    }

    /// What the server last knew of the whole fleet: a cache, which it makes again when it is not there.
    pub fn fleet_picture(&self) -> PathBuf {
        self.0.join("fleet-picture")
    }

    fn lock_file(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Makes the directory (mode 0700) when it is absent.
    pub fn create(&self) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    /// Takes the directory for this process until the guard is dropped or the process ends, however it ends.
    pub fn lock(&self) -> Result<DataDirLock, LockError> {
        let path = self.lock_file();
        let open = OpenOptions::new().create(true).truncate(false).write(true).mode(SECRET_MODE).open(&path);
        let file = open.map_err(|source| LockError::Open { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(DataDirLock { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(LockError::Taken { dir: self.0.clone() }),
            Err(std::fs::TryLockError::Error(source)) => Err(LockError::Open { path, source }),
        }
    }
}

/// Held while a process works on a data directory.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

/// The data directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another drydockd works on {dir}; stop it first (systemctl stop drydockd)")]
    Taken {
        /// The data directory.
        dir: PathBuf,
    },
    /// The lock file is not usable.
    #[error("cannot lock {path}; check the owner and mode of the data directory")]
    Open {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Writes `bytes` under a temporary name, syncs, renames and syncs the directory: after a power cut the file is the
/// old one or the new one.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".new");
    let temporary = dir.join(temporary);
    // A leftover of a killed process may have another mode: begin anew.
    match std::fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&temporary, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_written_whole_and_private_even_over_a_leftover() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("k");
        std::fs::write(dir.path().join(".k.new"), "half").expect("written");
        write_atomic(&path, b"one", SECRET_MODE).expect("written");
        write_atomic(&path, b"two", SECRET_MODE).expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), b"two");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).expect("read").count(), 1);
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = DataDir::new(tempfile::tempdir().expect("a directory").keep());
        let first = dir.lock().expect("free");
        assert!(matches!(dir.lock(), Err(LockError::Taken { .. })));
        drop(first);
        dir.lock().expect("free again");
        std::fs::remove_dir_all(dir.path()).expect("removed");
    }
}

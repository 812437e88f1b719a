//! Backup and restore: one tar file with the database (copied while the server works), the keys, the configuration,
//! and a manifest with a checksum of each. Absent on purpose: encryption (the file holds the CA's key: keep it where
//! keys are kept) and PostgreSQL (its own tools copy it).

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use drydock_control::Control;
use jiff::Timestamp;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::files::{DataDir, LockError, PUBLIC_MODE, SECRET_MODE, write_atomic};

/// Form of the manifest. A higher one is refused.
const FORMAT: u32 = 1;
/// Name of the manifest in the archive; the first entry.
const MANIFEST: &str = "manifest.json";
/// Name of the configuration in the archive.
const CONFIG: &str = "drydockd.toml";
/// Manifest and configuration, bytes.
const SMALL_FILE_MAX_BYTES: u64 = 1024 * 1024;
/// Piece in which files are copied, bytes.
const COPY_BYTES: usize = 128 * 1024;

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// Version of the server that wrote it.
    pub server_version: String,
    /// When.
    pub created_at: Timestamp,
    /// Name and SHA-256 (lower-case hex) of each file.
    pub files: Vec<(String, String)>,
}

/// A backup that could not be written or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file.
    #[error("cannot {doing} {path}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The database could not be copied.
    #[error("cannot copy the database")]
    Database(#[source] drydock_control::Error),
    /// Not a backup, cut short, or changed since.
    #[error("{path} is not a usable backup: {message}")]
    Damaged {
        /// The backup.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Something is there already.
    #[error("{path} exists; move it away first")]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// A server runs there.
    #[error(transparent)]
    Lock(#[from] LockError),
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File { doing, path, source }
}

/// The files of a data directory that a backup holds, by their name in the archive.
fn members(dir: &DataDir) -> [(PathBuf, u32); 6] {
    [
        (dir.ca_cert(), PUBLIC_MODE),
        (dir.ca_key(), SECRET_MODE),
        (dir.server_cert(), PUBLIC_MODE),
        (dir.server_key(), SECRET_MODE),
        (dir.work_key(), SECRET_MODE),
        (dir.database(), SECRET_MODE),
    ]
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Writes a backup to `target` (mode 0600), whole or not at all. The server may run meanwhile.
pub async fn write(
    control: &Control,
    dir: &DataDir,
    config: Option<&Path>,
    target: &Path,
    now: Timestamp,
) -> Result<Manifest, BackupError> {
    if target.exists() {
        return Err(BackupError::Exists { path: target.to_owned() });
    }
    // Beside the database: it is as large, and the space is known to be there or the error names it.
    let scratch = dir.path().join(format!(".backup-{}", std::process::id()));
    std::fs::DirBuilder::new().create(&scratch).map_err(failed("create", &scratch))?;
    let _remove = RemoveDir(scratch.clone());
    let copy = scratch.join(name_of(&dir.database()));
    control.backup_to(&copy).await.map_err(BackupError::Database)?;
    let mut files: Vec<(String, PathBuf)> = members(dir).into_iter().map(|(path, _)| (name_of(&path), path)).collect();
    for (name, path) in &mut files {
        if *name == name_of(&copy) {
            path.clone_from(&copy);
        }
    }
    if let Some(config) = config {
        files.push((CONFIG.to_owned(), config.to_owned()));
    }
    let mut sums = Vec::new();
    for (name, path) in &files {
        let mut file = File::open(path).map_err(failed("read", path))?;
        sums.push((name.clone(), sum_while_copying(&mut file, &mut io::sink()).map_err(failed("read", path))?));
    }
    let manifest = Manifest { format: FORMAT, server_version: crate::VERSION.to_owned(), created_at: now, files: sums };
    archive(&manifest, &files, target)?;
    Ok(manifest)
}

struct RemoveDir(PathBuf);

impl Drop for RemoveDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn archive(manifest: &Manifest, files: &[(String, PathBuf)], target: &Path) -> Result<(), BackupError> {
    use std::os::unix::fs::OpenOptionsExt;
    let partial = target.with_extension("partial");
    let open = File::options().write(true).create(true).truncate(true).mode(SECRET_MODE).open(&partial);
    let file = open.map_err(failed("create", &partial))?;
    let written = (|| {
        let mut tar = tar::Builder::new(io::BufWriter::new(file));
        let mut json = serde_json::to_vec_pretty(manifest).map_err(io::Error::other)?;
        json.push(b'\n');
        let mut header = tar::Header::new_gnu();
        header.set_size(json.len() as u64);
        header.set_mode(SECRET_MODE);
        tar.append_data(&mut header, MANIFEST, json.as_slice())?;
        for (name, path) in files {
            tar.append_path_with_name(path, name)?;
        }
        let file = tar.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        std::fs::rename(&partial, target)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    written.map_err(failed("write", target))
}

/// Restores `backup` into `dir`, which has to be empty of a server's files. The configuration is written to `config`
/// when there is none. Everything is checked before anything gets its real name.
pub fn restore(backup: &Path, dir: &DataDir, config: &Path) -> Result<Manifest, BackupError> {
    dir.create().map_err(failed("create", dir.path()))?;
    let _lock = dir.lock()?;
    let members = members(dir);
    if let Some((path, _)) = members.iter().find(|(path, _)| path.exists()) {
        return Err(BackupError::Exists { path: path.clone() });
    }
    let scratch = dir.path().join(".restore");
    let _ = std::fs::remove_dir_all(&scratch);
    std::fs::DirBuilder::new().create(&scratch).map_err(failed("create", &scratch))?;
    let _remove = RemoveDir(scratch.clone());
    let manifest = unpack(backup, &scratch)?;
    let damaged = |message: String| BackupError::Damaged { path: backup.to_owned(), message };
    let has = |name: &str| manifest.files.iter().any(|(n, _)| n == name);
    if let Some((path, _)) = members.iter().find(|(path, _)| !has(&name_of(path))) {
        return Err(damaged(format!("{} is missing in it", name_of(path))));
    }
    for (path, mode) in members {
        use std::os::unix::fs::PermissionsExt;
        let from = scratch.join(name_of(&path));
        let moved = std::fs::set_permissions(&from, std::fs::Permissions::from_mode(mode))
            .and_then(|()| File::open(&from)?.sync_all())
            .and_then(|()| std::fs::rename(&from, &path));
        moved.map_err(failed("write", &path))?;
    }
    if has(CONFIG) && !config.exists() {
        let text = std::fs::read(scratch.join(CONFIG)).map_err(failed("read", config))?;
        if let Some(parent) = config.parent() {
            std::fs::create_dir_all(parent).map_err(failed("create", parent))?;
        }
        write_atomic(config, &text, PUBLIC_MODE).map_err(failed("write", config))?;
    }
    File::open(dir.path()).and_then(|d| d.sync_all()).map_err(failed("sync", dir.path()))?;
    Ok(manifest)
}

/// Unpacks what the manifest names into `scratch`, checking each checksum.
fn unpack(backup: &Path, scratch: &Path) -> Result<Manifest, BackupError> {
    let damaged = |message: String| BackupError::Damaged { path: backup.to_owned(), message };
    let unreadable = |e: io::Error| damaged(e.to_string());
    let file = File::open(backup).map_err(failed("read", backup))?;
    let mut tar = tar::Archive::new(io::BufReader::new(file));
    let mut entries = tar.entries().map_err(unreadable)?;
    let mut first = entries.next().ok_or_else(|| damaged("it is empty".to_owned()))?.map_err(unreadable)?;
    if first.path_bytes().as_ref() != MANIFEST.as_bytes() {
        return Err(damaged(format!("its first entry is not {MANIFEST}")));
    }
    let mut json = Vec::new();
    first.by_ref().take(SMALL_FILE_MAX_BYTES).read_to_end(&mut json).map_err(unreadable)?;
    let manifest: Manifest = serde_json::from_slice(&json).map_err(|e| damaged(format!("{MANIFEST}: {e}")))?;
    if manifest.format > FORMAT {
        return Err(damaged(format!("its form {} is newer than this server ({FORMAT})", manifest.format)));
    }
    let mut wanted = manifest.files.clone();
    for entry in entries {
        let mut entry = entry.map_err(unreadable)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let at = wanted.iter().position(|(n, _)| *n == name && !n.contains('/'));
        let at = at.ok_or_else(|| damaged(format!("{name:?} is not in its manifest")))?;
        let (_, sum) = wanted.swap_remove(at);
        let path = scratch.join(&name);
        let mut out = File::create_new(&path).map_err(failed("create", &path))?;
        if sum_while_copying(&mut entry, &mut out).map_err(unreadable)? != sum {
            return Err(damaged(format!("the checksum of {name} is wrong")));
        }
    }
    match wanted.first() {
        None => Ok(manifest),
        Some((name, _)) => Err(damaged(format!("{name} is missing; the file was cut short"))),
    }
}

fn sum_while_copying(from: &mut impl Read, to: &mut impl Write) -> io::Result<String> {
    let mut sum = Context::new(&SHA256);
    let mut piece = vec![0; COPY_BYTES];
    loop {
        let n = from.read(&mut piece)?;
        if n == 0 {
            return Ok(crate::pki::hex(sum.finish().as_ref()));
        }
        sum.update(&piece[..n]);
        to.write_all(&piece[..n])?;
    }
}

//! Backup and restore: one tar file with the database (copied while the server works), the keys, the configuration,
//! and a manifest with a checksum of each; and as much of the content of software sources as is asked for ([`Portion`]).
//! Absent on purpose: encryption (the file holds the CA's key: keep it where
//! keys are kept) and PostgreSQL (its own tools copy it).

mod content;

pub use content::{ContentSum, Portion, package_files};

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use drydock_control::Control;
use jiff::Timestamp;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::files::{DataDir, LockError, PUBLIC_MODE, SECRET_MODE, write_atomic};

/// Form of the manifest. A higher one is refused.
const FORMAT: u32 = 2;
/// Name of the manifest in the archive; the first entry.
const MANIFEST: &str = "manifest.json";
/// Name of the configuration in the archive.
const CONFIG: &str = "drydockd.toml";
/// The index of the repository keys.
const KEYS_INDEX: &str = "keys.json";
/// How often the repository keys are read again when they changed meanwhile, count.
const KEYS_TRIES: usize = 5;
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
    /// The content of software sources follows these files.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub content: bool,
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

/// The files of a data directory that every backup holds, by their name in the archive. The repository keys come
/// besides: how many there are changes.
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

/// Copies the repository keys to `to` as they are at one moment. A server that never had content has none.
fn copy_keys(dir: &Path, to: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let index = dir.join(KEYS_INDEX);
    if !index.exists() {
        return Ok(Vec::new());
    }
    for _ in 0..KEYS_TRIES {
        let before = std::fs::read(&index).map_err(failed("read", &index))?;
        let _ = std::fs::remove_dir_all(to);
        std::fs::DirBuilder::new().create(to).map_err(failed("create", to))?;
        let mut copied = vec![to.join(KEYS_INDEX)];
        write_atomic(&to.join(KEYS_INDEX), &before, SECRET_MODE).map_err(failed("write", to))?;
        for entry in std::fs::read_dir(dir).map_err(failed("read", dir))? {
            let from = entry.map_err(failed("read", dir))?.path();
            let name = name_of(&from);
            if name == KEYS_INDEX || name.ends_with(".partial") {
                continue;
            }
            let bytes = std::fs::read(&from).map_err(failed("read", &from))?;
            write_atomic(&to.join(&name), &bytes, SECRET_MODE).map_err(failed("write", to))?;
            copied.push(to.join(name));
        }
        if std::fs::read(&index).map_err(failed("read", &index))? == before {
            return Ok(copied);
        }
    }
    Err(failed("copy", dir)(io::Error::other("the keys are being changed; try again in a moment")))
}

/// Writes a backup to `target` (mode 0600), whole or not at all. The server may run meanwhile. `content`: the content
/// directory and how much of it. It is copied after the database: whatever the rows name is there then.
pub async fn write(
    control: &Control,
    dir: &DataDir,
    config: Option<&Path>,
    content: Option<(&Path, Portion)>,
    target: &Path,
    now: Timestamp,
) -> Result<Written, BackupError> {
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
    let keys = dir.repository_keys();
    for path in copy_keys(&keys, &scratch.join(name_of(&keys)))? {
        files.push((format!("{}/{}", name_of(&keys), name_of(&path)), path));
    }
    // A server of an older version has none yet.
    if dir.secret_key().exists() {
        files.push((name_of(&dir.secret_key()), dir.secret_key()));
    }
    if let Some(config) = config {
        files.push((CONFIG.to_owned(), config.to_owned()));
    }
    let mut sums = Vec::new();
    for (name, path) in &files {
        let mut file = File::open(path).map_err(failed("read", path))?;
        sums.push((name.clone(), sum_while_copying(&mut file, &mut io::sink()).map_err(failed("read", path))?));
    }
    let server_version = crate::VERSION.to_owned();
    let manifest = Manifest { format: FORMAT, server_version, created_at: now, files: sums, content: content.is_some() };
    let content = archive(&manifest, &files, content, target)?;
    Ok(Written { manifest, content })
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its manifest.
    pub manifest: Manifest,
    /// The content in it; `None` when it was not asked for.
    pub content: Option<ContentSum>,
}

struct RemoveDir(PathBuf);

impl Drop for RemoveDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn append_small(tar: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(SECRET_MODE);
    tar.append_data(&mut header, name, bytes)
}

fn archive(
    manifest: &Manifest,
    files: &[(String, PathBuf)],
    content: Option<(&Path, Portion)>,
    target: &Path,
) -> Result<Option<ContentSum>, BackupError> {
    use std::os::unix::fs::OpenOptionsExt;
    let partial = target.with_extension("partial");
    let open = File::options().write(true).create(true).truncate(true).mode(SECRET_MODE).open(&partial);
    let file = open.map_err(failed("create", &partial))?;
    let written = (|| {
        let mut tar = tar::Builder::new(io::BufWriter::new(file));
        let mut json = serde_json::to_vec_pretty(manifest).map_err(io::Error::other)?;
        json.push(b'\n');
        append_small(&mut tar, MANIFEST, &json)?;
        for (name, path) in files {
            tar.append_path_with_name(path, name)?;
        }
        let sum = content.map(|(dir, portion)| content::append(&mut tar, dir, portion)).transpose()?;
        let file = tar.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        std::fs::rename(&partial, target)?;
        Ok(sum)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    written.map_err(failed("write", target))
}

/// Restores `backup` into `dir`, which has to be empty of a server's files, and content (when there is some in it) into
/// `content_dir`, which has to be empty. The configuration is written to `config` when there is none. Everything is checked before anything gets its real name.
pub fn restore(backup: &Path, dir: &DataDir, content_dir: &Path, config: &Path) -> Result<Written, BackupError> {
    dir.create().map_err(failed("create", dir.path()))?;
    let _lock = dir.lock()?;
    let members = members(dir);
    let (keys, secret_key) = (dir.repository_keys(), dir.secret_key());
    if let Some(path) = members.iter().map(|(path, _)| path).chain([&keys, &secret_key]).find(|path| path.exists()) {
        return Err(BackupError::Exists { path: path.clone() });
    }
    let scratch = dir.path().join(".restore");
    let _ = std::fs::remove_dir_all(&scratch);
    std::fs::DirBuilder::new().create(&scratch).map_err(failed("create", &scratch))?;
    let _remove = RemoveDir(scratch.clone());
    let Written { manifest, content } = unpack(backup, &scratch, content_dir)?;
    let damaged = |message: String| BackupError::Damaged { path: backup.to_owned(), message };
    let has = |name: &str| manifest.files.iter().any(|(n, _)| n == name);
    if let Some((path, _)) = members.iter().find(|(path, _)| !has(&name_of(path))) {
        return Err(damaged(format!("{} is missing in it", name_of(path))));
    }
    let kept_keys = scratch.join(name_of(&keys));
    if kept_keys.exists() {
        std::fs::rename(&kept_keys, &keys).map_err(failed("write", &keys))?;
    }
    let optional = has(&name_of(&secret_key)).then_some((secret_key, SECRET_MODE));
    for (path, mode) in members.into_iter().chain(optional) {
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
    Ok(Written { manifest, content })
}

/// Is it a name of ours in an archive: a file, or a file of one of our directories?
fn is_plain(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    parts.len() <= 2 && parts.iter().all(|part| !part.is_empty() && !part.starts_with('.'))
}

/// Unpacks what the manifest names into `scratch`, checking each checksum, and the content where it belongs.
fn unpack(backup: &Path, scratch: &Path, content_dir: &Path) -> Result<Written, BackupError> {
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
    let mut returning = manifest.content.then(|| content::Returning::begin(content_dir)).transpose()?;
    for entry in entries {
        let mut entry = entry.map_err(unreadable)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if let Some(returning) = &mut returning
            && (name == content::TRAILER || name.starts_with(content::PREFIX))
        {
            let taken = match name.strip_prefix(content::PREFIX) {
                Some(name) => returning.take(name, &mut entry),
                None => returning.close(&mut entry),
            };
            taken.map_err(damaged)?;
            continue;
        }
        let at = wanted.iter().position(|(n, _)| *n == name && is_plain(n));
        let at = at.ok_or_else(|| damaged(format!("{name:?} is not in its manifest")))?;
        let (_, sum) = wanted.swap_remove(at);
        let path = scratch.join(&name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed("create", parent))?;
        }
        let mut out = private(&path).map_err(failed("create", &path))?;
        if sum_while_copying(&mut entry, &mut out).map_err(unreadable)? != sum {
            return Err(damaged(format!("the checksum of {name} is wrong")));
        }
    }
    if let Some((name, _)) = wanted.first() {
        return Err(damaged(format!("{name} is missing; the file was cut short")));
    }
    let content = returning.map(content::Returning::finish).transpose()?;
    Ok(Written { manifest, content })
}

/// A new file that nobody else reads while it may hold a key.
fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().write(true).create_new(true).mode(SECRET_MODE).open(path)
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

//! Files of the content directory, each under a name derived from its content: `objects/` (tree nodes and snapshot
//! documents), `blobs/` (package files and verbatim documents), `blobs-by/` (other digests of blobs), `meta/`
//! (published metadata).
//!
//! Everything is written to `staging/` first and renamed when whole; objects are renamed only by [`ObjectStore::sync`],
//! after their bytes reached the disk, so that neither a kill nor a power cut leaves half an object under its name.
//! Every read is bounded and checked. Absent: reference counts; [`crate::gc`] marks what is still in use.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use crate::digest::{Alg, Digest, Sha256};
use crate::error::{ContentError, ContentResult};

/// First bytes of an object file; the last one is the version of the form.
const MAGIC: &[u8; 8] = b"DDOBJEC\x01";
/// Most sections of an object: entries and the parts of a tree.
pub const SECTIONS_MAX: usize = 9;
/// Longest section as stored and as raw, bytes: a leaf closes at 4 MiB and may end with one fragment of 64 MiB.
pub const SECTION_MAX_BYTES: u64 = 96 << 20;
/// magic, kind, count of sections.
const PREAMBLE_BYTES: usize = 10;
/// stored length, raw length, checksum of the stored bytes.
const SECTION_HEADER_BYTES: usize = 8 + 8 + 32;
/// Checksum of everything before it, cut.
const HEADER_SUM_BYTES: usize = 8;
/// zstd level of the entries: level 3 is what the library takes by default; nodes are small.
const ZSTD_LEVEL: i32 = 3;
/// A file that is found to be there already is touched when its last touch is older than this, so that the collector
/// sees that somebody counts on it again. Far below every sensible grace period.
const TOUCH_AFTER: Duration = Duration::from_secs(15 * 60);
/// Leftovers of staging are removed when older than this.
const STAGING_KEPT: Duration = Duration::from_secs(24 * 3600);

pub(crate) const OBJECTS: &str = "objects";
pub(crate) const BLOBS: &str = "blobs";
pub(crate) const BLOBS_BY: &str = "blobs-by";
pub(crate) const META: &str = "meta";
const STAGING: &str = "staging";

/// What an object is; part of its file and of the bytes its name is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Leaf of a tree: entries and the members of their parts.
    Leaf,
    /// Inner node of a tree.
    Node,
    /// Snapshot document.
    Snapshot,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Leaf => b'L',
            Kind::Node => b'N',
            Kind::Snapshot => b'S',
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Kind::Leaf, Kind::Node, Kind::Snapshot].into_iter().find(|k| k.byte() == byte)
    }

    /// For people.
    pub fn what(self) -> &'static str {
        match self {
            Kind::Leaf => "tree leaf",
            Kind::Node => "tree node",
            Kind::Snapshot => "snapshot document",
        }
    }
}

/// A section besides the first: bytes kept as they are, and how long they are when unpacked.
pub struct Section {
    /// As stored.
    pub stored: Vec<u8>,
    /// Unpacked length, bytes.
    pub raw_len: u64,
}

/// The name of an object: the checksum of its logical bytes.
pub fn object_id(kind: Kind, logical: &[u8]) -> Sha256 {
    use sha2::Digest as _;
    match kind {
        // A snapshot's root is the checksum of its canonical JSON and nothing else.
        Kind::Snapshot => Sha256::of(logical),
        _ => {
            let mut state = sha2::Sha256::new();
            state.update([kind.byte(), 1]);
            state.update(logical);
            Sha256(state.finalize().into())
        }
    }
}

struct Inner {
    dir: PathBuf,
    /// Objects written to staging and not yet renamed.
    pending: Mutex<HashMap<Sha256, tempfile::TempPath>>,
    /// Held shared while something is found present or put in place, exclusive while the collector removes.
    gate: RwLock<()>,
    /// Everything that was renamed is on the disk. Held during a flush.
    flushed: Mutex<bool>,
}

/// The files of the content directory. Cheap to clone.
#[derive(Clone)]
pub struct ObjectStore(Arc<Inner>);

impl ObjectStore {
    /// Opens `dir`, makes what is missing and removes old leftovers of staging.
    pub fn open(dir: &Path) -> ContentResult<Self> {
        for name in [OBJECTS, BLOBS, BLOBS_BY, META, STAGING] {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(ContentError::io("make", &path))?;
        }
        for alg in [Alg::Sha1, Alg::Sha384, Alg::Sha512] {
            let path = dir.join(BLOBS_BY).join(alg.as_str());
            fs::create_dir_all(&path).map_err(ContentError::io("make", &path))?;
        }
        let store = ObjectStore(Arc::new(Inner {
            dir: dir.to_owned(),
            pending: Mutex::new(HashMap::new()),
            gate: RwLock::new(()),
            flushed: Mutex::new(false),
        }));
        store.clear_staging()?;
        Ok(store)
    }

    /// Removes leftovers of staging that are older than a day.
    pub(crate) fn clear_staging(&self) -> ContentResult<()> {
        let dir = self.staging_dir();
        // Whole objects of a sync that failed before it made them durable: the next one counts on them.
        let pending: HashSet<PathBuf> = self.pending().values().map(|path| path.to_path_buf()).collect();
        for entry in fs::read_dir(&dir).map_err(ContentError::io("list", &dir))? {
            let entry = entry.map_err(ContentError::io("list", &dir))?;
            let path = entry.path();
            let old = entry.metadata().and_then(|m| m.modified()).is_ok_and(|at| age(at) > STAGING_KEPT);
            if old && path.is_file() && !pending.contains(&path) {
                remove_if_there(&path)?;
            }
        }
        Ok(())
    }

    /// The content directory.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Where partial files lie.
    pub fn staging_dir(&self) -> PathBuf {
        self.0.dir.join(STAGING)
    }

    /// A new file in staging, removed when dropped.
    pub fn staging_file(&self, prefix: &str) -> ContentResult<NamedTempFile> {
        let dir = self.staging_dir();
        tempfile::Builder::new().prefix(prefix).tempfile_in(&dir).map_err(ContentError::io("make a file in", &dir))
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<Sha256, tempfile::TempPath>> {
        // A thread that panicked between two map operations left the map whole.
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn using(&self) -> RwLockReadGuard<'_, ()> {
        self.0.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps everybody from finding files present while the collector removes a batch.
    pub(crate) fn removing(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- objects

    /// Where an object lies.
    pub fn object_path(&self, id: &Sha256) -> PathBuf {
        fanned(&self.0.dir.join(OBJECTS), id)
    }

    /// Is the object there (written or about to be renamed)? A yes protects it from the collector for its grace period.
    pub fn has_object(&self, id: &Sha256) -> bool {
        let _using = self.using();
        self.pending().contains_key(id) || touch(&self.object_path(id))
    }

    /// Writes an object and returns its name; nothing is written when it is there. `logical` becomes the first section
    /// (zstd) and gives the name; the others are kept as they are. Visible to everybody at once, durable after
    /// [`Self::sync`].
    pub fn put_object(&self, kind: Kind, logical: &[u8], others: &[Section]) -> ContentResult<Sha256> {
        let id = object_id(kind, logical);
        if !self.has_object(&id) {
            self.write_object(id, kind, logical, others)?;
        }
        Ok(id)
    }

    /// [`Self::put_object`] when the name is known and known to be missing.
    pub(crate) fn write_object(&self, id: Sha256, kind: Kind, logical: &[u8], others: &[Section]) -> ContentResult<()> {
        let too_large = logical.len() as u64 > SECTION_MAX_BYTES
            || others.len() >= SECTIONS_MAX
            || others.iter().any(|s| s.stored.len() as u64 > SECTION_MAX_BYTES || s.raw_len > SECTION_MAX_BYTES);
        if too_large {
            return Err(ContentError::TooLarge {
                what: format!("a section of {} {id}", kind.what()),
                limit: format!("{SECTION_MAX_BYTES} bytes"),
            });
        }
        let packed = zstd::bulk::compress(logical, ZSTD_LEVEL).map_err(ContentError::io("compress", &self.object_path(&id)))?;
        let mut header = Vec::with_capacity(PREAMBLE_BYTES + SECTION_HEADER_BYTES * (others.len() + 1) + HEADER_SUM_BYTES);
        header.extend_from_slice(MAGIC);
        header.push(kind.byte());
        header.push(u8::try_from(others.len() + 1).unwrap_or(u8::MAX));
        let sections = || {
            std::iter::once((&packed, logical.len() as u64))
                .chain(others.iter().map(|section| (&section.stored, section.raw_len)))
        };
        for (stored, raw_len) in sections() {
            header.extend_from_slice(&(stored.len() as u64).to_le_bytes());
            header.extend_from_slice(&raw_len.to_le_bytes());
            header.extend_from_slice(&Sha256::of(stored).0);
        }
        let sum = Sha256::of(&header);
        header.extend_from_slice(&sum.0[..HEADER_SUM_BYTES]);
        let mut file = self.staging_file("object-")?;
        let write = |file: &mut NamedTempFile| {
            file.write_all(&header)?;
            sections().try_for_each(|(stored, _)| file.write_all(stored))
        };
        write(&mut file).map_err(ContentError::io("write", file.path()))?;
        // Of two that wrote the same object the first stays: a flush may already count on it.
        self.pending().entry(id).or_insert(file.into_temp_path());
        Ok(())
    }

    /// Opens an object and checks its header.
    pub fn open_object(&self, kind: Kind, id: &Sha256) -> ContentResult<Object> {
        let (file, path) = self.open_object_file(kind, id)?;
        Object::read_header(file, path, kind, *id)
    }

    fn open_object_file(&self, kind: Kind, id: &Sha256) -> ContentResult<(File, PathBuf)> {
        let path = self.object_path(id);
        // Renaming out of staging may happen between two looks; the third decides.
        for look in 0..3 {
            let path = if look == 1 { self.pending().get(id).map(|p| p.to_path_buf()) } else { Some(path.clone()) };
            let Some(path) = path else { continue };
            match File::open(&path) {
                Ok(file) => return Ok((file, path)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(ContentError::io("open", &path)(e)),
            }
        }
        Err(ContentError::Missing { what: kind.what(), id: id.to_string() })
    }

    /// The file of an object as it is, for example to copy it elsewhere, and what it is.
    pub fn object_file(&self, id: &Sha256) -> ContentResult<(File, Kind)> {
        let (file, path) = self.open_object_file(Kind::Node, id)?;
        let kind = kind_of(&file).map_err(ContentError::io("read", &path))?;
        let kind = kind.ok_or_else(|| ContentError::damaged("object", id, "the file does not begin as an object does"))?;
        Ok((file, kind))
    }

    /// Takes in the file of an object from elsewhere after checking all of it, and says what it is. As after
    /// [`Self::put_object`], it is durable after [`Self::sync`].
    pub fn adopt_object(&self, staged: NamedTempFile, id: &Sha256) -> ContentResult<Kind> {
        let kind = kind_of(staged.as_file()).map_err(ContentError::io("read", staged.path()))?;
        let kind = kind.ok_or_else(|| ContentError::damaged("object", id, "the file does not begin as an object does"))?;
        let file = staged.reopen().map_err(ContentError::io("open", staged.path()))?;
        let object = Object::read_header(file, staged.path().to_owned(), kind, *id)?;
        object.logical()?;
        if kind == Kind::Leaf {
            crate::tree::check_leaf(&object, id)?;
        } else if object.others() > 0 {
            return Err(ContentError::damaged(kind.what(), id, "it has sections that belong to leaves"));
        }
        if !self.has_object(id) {
            self.pending().entry(*id).or_insert(staged.into_temp_path());
        }
        Ok(kind)
    }

    /// The logical bytes of an object, checked against its name.
    pub fn get_object(&self, kind: Kind, id: &Sha256) -> ContentResult<Vec<u8>> {
        self.open_object(kind, id)?.logical()
    }

    /// Makes every object put so far durable under its name: one flush of the file system, the renames, and a flush of
    /// those. To be called before a root is handed out; the savers of snapshots do.
    pub fn sync(&self) -> ContentResult<()> {
        let mut flushed = self.flushed();
        let staged: Vec<Sha256> = self.pending().keys().copied().collect();
        if staged.is_empty() && *flushed {
            return Ok(());
        }
        *flushed = false;
        if !staged.is_empty() {
            self.flush()?;
        }
        for id in staged {
            let to = self.object_path(&id);
            make_parent(&to)?;
            let _using = self.using();
            let mut pending = self.pending();
            let Some(path) = pending.remove(&id) else { continue };
            if let Err(e) = path.persist(&to) {
                let failed = ContentError::io("rename a file to", &to)(e.error);
                pending.insert(id, e.path);
                return Err(failed);
            }
        }
        self.flush()?;
        *flushed = true;
        Ok(())
    }

    fn flushed(&self) -> MutexGuard<'_, bool> {
        self.0.flushed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self) -> ContentResult<()> {
        let dir = &self.0.dir;
        let handle = File::open(dir).map_err(ContentError::io("open", dir))?;
        rustix::fs::syncfs(&handle).map_err(|e| ContentError::io("flush", dir)(e.into()))
    }

    // ---- blobs and metadata files

    /// Takes a whole, verified file out of staging as the blob `id` (the caller hashed it while writing) and notes the
    /// other digests it is known by.
    pub fn put_blob_from(&self, staged: &Path, id: Sha256, aliases: &[Digest]) -> ContentResult<()> {
        self.take(staged, &self.blob_file(&id))?;
        for alias in aliases.iter().filter(|a| a.alg() != Alg::Sha256) {
            self.put_alias(alias, &id)?;
        }
        Ok(())
    }

    fn put_alias(&self, alias: &Digest, id: &Sha256) -> ContentResult<()> {
        let to = self.alias_path(alias);
        if fs::read_to_string(&to).is_ok_and(|text| text.trim().parse() == Ok(*id)) {
            return Ok(());
        }
        let mut file = self.staging_file("alias-")?;
        writeln!(file, "{id}").map_err(ContentError::io("write", file.path()))?;
        self.take(file.path(), &to)
    }

    fn take(&self, staged: &Path, to: &Path) -> ContentResult<()> {
        File::open(staged).and_then(|f| f.sync_all()).map_err(ContentError::io("flush", staged))?;
        make_parent(to)?;
        {
            let _using = self.using();
            fs::rename(staged, to).map_err(ContentError::io("rename a file to", to))?;
        }
        *self.flushed() = false;
        Ok(())
    }

    /// Where the blob of this SHA-256 lies or would lie.
    pub fn blob_file(&self, id: &Sha256) -> PathBuf {
        fanned(&self.0.dir.join(BLOBS), id)
    }

    fn alias_path(&self, digest: &Digest) -> PathBuf {
        self.0.dir.join(BLOBS_BY).join(digest.alg().as_str()).join(digest.hex())
    }

    /// The SHA-256 of the blob known by this digest; for a SHA-256 that itself.
    pub fn blob_id(&self, digest: &Digest) -> Option<Sha256> {
        match digest.alg() {
            Alg::Sha256 => digest.sha256(),
            _ => {
                let path = self.alias_path(digest);
                // One line of 64 digits; anything longer is not ours.
                let ours = fs::metadata(&path).is_ok_and(|m| m.len() <= 65);
                if ours { fs::read_to_string(&path).ok()?.trim().parse().ok() } else { None }
            }
        }
    }

    /// The blob, if it is here. A yes protects it from the collector for its grace period.
    pub fn blob_path(&self, digest: &Digest) -> Option<PathBuf> {
        let _using = self.using();
        let path = self.blob_file(&self.blob_id(digest)?);
        touch(&path).then_some(path)
    }

    /// Where a published metadata file lies or would lie.
    pub fn meta_path(&self, id: &Sha256) -> PathBuf {
        self.0.dir.join(META).join(id.to_string())
    }

    /// Is the metadata file there? A yes protects it from the collector for its grace period.
    pub fn has_meta(&self, id: &Sha256) -> bool {
        let _using = self.using();
        touch(&self.meta_path(id))
    }

    /// Takes a whole file out of staging as metadata file `id`.
    pub fn put_meta_from(&self, staged: &Path, id: Sha256) -> ContentResult<()> {
        self.take(staged, &self.meta_path(&id))
    }
}

/// An object whose header was read and found right.
pub struct Object {
    file: File,
    path: PathBuf,
    kind: Kind,
    id: Sha256,
    sections: Vec<SectionHeader>,
}

struct SectionHeader {
    offset: u64,
    stored_len: u64,
    raw_len: u64,
    sum: [u8; 32],
}

impl Object {
    fn read_header(file: File, path: PathBuf, kind: Kind, id: Sha256) -> ContentResult<Self> {
        let damaged = |problem: &str| ContentError::damaged(kind.what(), id, problem);
        let read = |buf: &mut [u8], at: u64| match file.read_exact_at(buf, at) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(damaged("the file is cut short")),
            other => other.map_err(ContentError::io("read", &path)),
        };
        let mut preamble = [0u8; PREAMBLE_BYTES];
        read(&mut preamble, 0)?;
        if preamble[..8] != *MAGIC {
            return Err(damaged("the file does not begin as an object does"));
        }
        if Kind::from_byte(preamble[8]) != Some(kind) {
            return Err(damaged("the file is another kind of object"));
        }
        let count = usize::from(preamble[9]);
        if count == 0 || count > SECTIONS_MAX {
            return Err(damaged("the count of sections is impossible"));
        }
        let mut header = vec![0u8; PREAMBLE_BYTES + count * SECTION_HEADER_BYTES + HEADER_SUM_BYTES];
        read(&mut header, 0)?;
        let (covered, sum) = header.split_at(header.len() - HEADER_SUM_BYTES);
        if Sha256::of(covered).0[..HEADER_SUM_BYTES] != *sum {
            return Err(damaged("the checksum of its header is wrong"));
        }
        let mut sections = Vec::with_capacity(count);
        let mut offset = header.len() as u64;
        for bytes in covered[PREAMBLE_BYTES..].chunks_exact(SECTION_HEADER_BYTES) {
            let section =
                SectionHeader { offset, stored_len: le64(&bytes[..8]), raw_len: le64(&bytes[8..16]), sum: sum32(&bytes[16..]) };
            if section.stored_len > SECTION_MAX_BYTES || section.raw_len > SECTION_MAX_BYTES {
                return Err(damaged("a section is longer than any section may be"));
            }
            offset += section.stored_len;
            sections.push(section);
        }
        let len = file.metadata().map_err(ContentError::io("look at", &path))?.len();
        if len != offset {
            return Err(damaged(if len < offset { "the file is cut short" } else { "the file has bytes after its end" }));
        }
        Ok(Object { file, path, kind, id, sections })
    }

    fn damaged(&self, problem: &str) -> ContentError {
        ContentError::damaged(self.kind.what(), self.id, problem)
    }

    /// Sections besides the first.
    pub fn others(&self) -> usize {
        self.sections.len() - 1
    }

    /// Unpacked length of section `n`, bytes; the first is 0.
    pub fn raw_len(&self, n: usize) -> ContentResult<u64> {
        self.section(n).map(|s| s.raw_len)
    }

    fn section(&self, n: usize) -> ContentResult<&SectionHeader> {
        self.sections.get(n).ok_or_else(|| self.damaged("a section is missing"))
    }

    /// Section `n` as stored, checked.
    pub fn stored(&self, n: usize) -> ContentResult<Vec<u8>> {
        let section = self.section(n)?;
        let mut bytes = vec![0u8; usize::try_from(section.stored_len).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, section.offset).map_err(ContentError::io("read", &self.path))?;
        if Sha256::of(&bytes).0 != section.sum {
            return Err(self.damaged("the checksum of a section is wrong"));
        }
        Ok(bytes)
    }

    /// The first section unpacked and checked against the object's name.
    pub fn logical(&self) -> ContentResult<Vec<u8>> {
        let stored = self.stored(0)?;
        let raw_len = usize::try_from(self.raw_len(0)?).unwrap_or(usize::MAX);
        let logical =
            zstd::bulk::decompress(&stored, raw_len).map_err(|e| self.damaged(&format!("it cannot be unpacked: {e}")))?;
        if object_id(self.kind, &logical) != self.id {
            return Err(self.damaged("its content does not have the checksum it is named by"));
        }
        Ok(logical)
    }
}

/// What the file of an object says it is.
fn kind_of(file: &File) -> io::Result<Option<Kind>> {
    let mut preamble = [0u8; PREAMBLE_BYTES];
    match file.read_exact_at(&mut preamble, 0) {
        Ok(()) if preamble[..8] == *MAGIC => Ok(Kind::from_byte(preamble[8])),
        Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => Err(e),
        _ => Ok(None),
    }
}

fn le64(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, b| (n << 8) | u64::from(*b))
}

fn sum32(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(&bytes[..32]);
    out
}

fn fanned(dir: &Path, id: &Sha256) -> PathBuf {
    let hex = id.to_string();
    dir.join(&hex[..2]).join(&hex[2..])
}

/// The 256 directories of `objects/` and `blobs/` come when first needed.
fn make_parent(path: &Path) -> ContentResult<()> {
    match path.parent() {
        Some(dir) if !dir.exists() => fs::create_dir_all(dir).map_err(ContentError::io("make", dir)),
        _ => Ok(()),
    }
}

/// Time since `at`; nothing when the clock went back.
pub(crate) fn age(at: SystemTime) -> Duration {
    SystemTime::now().duration_since(at).unwrap_or_default()
}

/// Is the file there? Makes its modification time recent when it is not.
fn touch(path: &Path) -> bool {
    let Ok(meta) = fs::metadata(path) else { return false };
    if meta.modified().is_ok_and(|at| age(at) > TOUCH_AFTER) {
        // A file that cannot be touched (read-only disk) is there all the same.
        let _ = File::options().append(true).open(path).and_then(|f| f.set_modified(SystemTime::now()));
    }
    true
}

/// Removes a file; one that is gone already is fine.
pub(crate) fn remove_if_there(path: &Path) -> ContentResult<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(ContentError::io("remove", path)(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, ObjectStore) {
        let dir = tempfile::tempdir().expect("dir");
        let store = ObjectStore::open(dir.path()).expect("open");
        (dir, store)
    }

    fn section(bytes: &[u8]) -> Section {
        Section { stored: bytes.to_vec(), raw_len: 1000 }
    }

    #[test]
    fn an_object_is_visible_at_once_and_under_its_name_after_sync() {
        let (dir, store) = store();
        let id = store.put_object(Kind::Leaf, b"entries", &[section(b"one"), section(b"two")]).expect("put");
        assert!(store.has_object(&id) && !store.object_path(&id).exists());
        assert_eq!(store.get_object(Kind::Leaf, &id).expect("get"), b"entries");
        store.sync().expect("sync");
        assert!(store.object_path(&id).exists());
        assert!(fs::read_dir(store.staging_dir()).expect("staging").next().is_none());

        let again = ObjectStore::open(dir.path()).expect("open again");
        let object = again.open_object(Kind::Leaf, &id).expect("object");
        assert_eq!((object.others(), object.raw_len(2).expect("raw")), (2, 1000));
        assert_eq!(object.stored(2).expect("section"), b"two");
        assert!(object.stored(3).is_err());
        let err = again.get_object(Kind::Snapshot, &Sha256::of(b"nothing")).expect_err("missing");
        assert!(matches!(err, ContentError::Missing { what: "snapshot document", .. }), "{err}");
    }

    #[test]
    fn objects_not_synced_leave_nothing_visible() {
        let (dir, store) = store();
        let id = store.put_object(Kind::Node, b"entries", &[]).expect("put");
        drop(store);
        assert!(!ObjectStore::open(dir.path()).expect("open").has_object(&id));
    }

    #[test]
    fn every_flipped_or_missing_byte_is_noticed_and_named() {
        let (_dir, store) = store();
        let id = store.put_object(Kind::Leaf, b"entries", &[section(b"member")]).expect("put");
        store.sync().expect("sync");
        let path = store.object_path(&id);
        let good = fs::read(&path).expect("read");
        let read = || -> ContentResult<()> {
            let object = store.open_object(Kind::Leaf, &id)?;
            object.logical()?;
            object.stored(1)?;
            Ok(())
        };
        read().expect("good");
        let mut bads: Vec<Vec<u8>> = (0..good.len()).map(|n| good[..n].to_vec()).collect();
        bads.push([&good[..], b"x"].concat());
        bads.extend((0..good.len()).map(|n| {
            let mut bad = good.clone();
            bad[n] ^= 0x10;
            bad
        }));
        for bad in bads {
            fs::write(&path, &bad).expect("write");
            let err = read().expect_err("damage is noticed");
            assert!(err.to_string().contains(&id.to_string()), "{err}");
            assert!(matches!(err, ContentError::Damaged { .. }), "{err}");
        }
    }

    #[test]
    fn a_header_that_claims_too_much_is_refused() {
        let (_dir, store) = store();
        let id = Sha256::of(b"claims");
        let mut file = MAGIC.to_vec();
        file.extend_from_slice(b"L\x01");
        file.extend_from_slice(&(SECTION_MAX_BYTES + 1).to_le_bytes());
        file.extend_from_slice(&[0; 40]);
        let sum = Sha256::of(&file);
        file.extend_from_slice(&sum.0[..HEADER_SUM_BYTES]);
        make_parent(&store.object_path(&id)).expect("directory");
        fs::write(store.object_path(&id), &file).expect("write");
        let err = store.get_object(Kind::Leaf, &id).expect_err("too long");
        assert!(err.to_string().contains("longer than any section"), "{err}");
    }

    #[test]
    fn blobs_are_found_by_every_digest() {
        let (_dir, store) = store();
        let mut staged = store.staging_file("test-").expect("staged");
        staged.write_all(b"abc").expect("write");
        let id = Sha256::of(b"abc");
        let sha1 = Digest::new(Alg::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d").expect("sha1");
        assert_eq!(store.blob_path(&id.digest()), None);
        store.put_blob_from(staged.path(), id, std::slice::from_ref(&sha1)).expect("put");
        let path = store.blob_path(&sha1).expect("by sha1");
        assert_eq!(Some(&path), store.blob_path(&id.digest()).as_ref());
        assert_eq!(fs::read(path).expect("read"), b"abc");
        assert!(!staged.path().exists());

        let mut staged = store.staging_file("test-").expect("staged");
        staged.write_all(b"meta").expect("write");
        let id = Sha256::of(b"meta");
        store.put_meta_from(staged.path(), id).expect("put");
        assert_eq!(fs::read(store.meta_path(&id)).expect("read"), b"meta");
    }

    #[test]
    fn old_leftovers_of_staging_go_at_open() {
        let (dir, store) = store();
        let old = store.staging_dir().join("old");
        let young = store.staging_dir().join("young");
        fs::write(&old, b"").expect("write");
        fs::write(&young, b"").expect("write");
        let then = SystemTime::now() - STAGING_KEPT - Duration::from_secs(60);
        let age = |path: &Path| File::options().write(true).open(path).and_then(|f| f.set_modified(then)).expect("age it");
        age(&old);
        // An object of this process stays, however long it waits for its flush.
        let id = store.put_object(Kind::Node, b"waits", &[]).expect("put");
        age(&store.pending()[&id]);
        store.clear_staging().expect("clear");
        assert!(!old.exists());
        store.sync().expect("sync");
        assert_eq!(store.get_object(Kind::Node, &id).expect("get"), b"waits");
        fs::write(&old, b"").expect("write");
        age(&old);
        drop(store);
        ObjectStore::open(dir.path()).expect("open");
        assert!(!old.exists() && young.exists());
    }
}

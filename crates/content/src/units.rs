//! Where the upstream of a source has each unit, for every unit the source ever listed: on-demand downloads need it, and
//! a digest is served for a source only when it is in here.
//!
//! `units/<source>/<number>.seg`: immutable segments, records of fixed length sorted by digest, locations behind them.
//! A sync adds one segment with what is new; a look-up asks the newest first, by binary search with positioned reads.
//! More than [`SEGMENTS_MAX`] are merged into one. Another process may add segments (an import while the server runs):
//! the directory's time tells.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use drydock_domain::ids::SourceId;

use crate::digest::{Alg, Digest};
use crate::error::{ContentError, ContentResult};
use crate::objects::ObjectStore;
use crate::path::PATH_MAX_BYTES;

/// Segments of one source before they are merged.
pub const SEGMENTS_MAX: usize = 8;
/// Units of one source.
pub const UNITS_MAX: usize = 4_000_000;
/// Sources whose segments are kept open.
const OPEN_MAX: usize = 128;
/// Times of directories are no finer than some milliseconds: one that was listed sooner after its last change is listed
/// again.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// Numbers tried for a new segment, count: others may take some at the same time.
const NUMBERS_TRIED: u64 = 100;
const MAGIC: &[u8; 8] = b"DDUNITS\x01";
/// Magic and number of records.
const HEADER_BYTES: u64 = 16;
/// Algorithm, first 32 bytes of the digest (all of SHA-256, enough of the longer ones).
const KEY_BYTES: usize = 33;
/// Key, size, place and length of the location, its fingerprint.
const RECORD_BYTES: usize = KEY_BYTES + 8 + 8 + 4 + 8;

type Key = [u8; KEY_BYTES];

/// Where a unit is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitLocation {
    /// Digest its metadata names.
    pub digest: Digest,
    /// Path below the upstream's base, checked by who parsed it; empty for uploads (there is only the blob).
    pub location: String,
    /// Size, bytes.
    pub size: u64,
}

/// The index of all sources.
pub struct UnitIndex {
    objects: ObjectStore,
    /// Open segments. Also the lock of this process's writers.
    open: Mutex<HashMap<SourceId, Listed>>,
}

/// The segments of a source as they were listed.
struct Listed {
    /// Newest first.
    segments: Arc<Vec<Segment>>,
    /// When the directory had last changed; absent while that is too short ago to tell another change from it.
    at: Option<SystemTime>,
}

struct Segment {
    number: u64,
    path: PathBuf,
    file: File,
    count: u64,
}

#[derive(Clone, Copy)]
struct Record {
    key: Key,
    size: u64,
    at: u64,
    len: u32,
    print: u64,
}

impl UnitIndex {
    pub(crate) fn open(objects: &ObjectStore) -> ContentResult<UnitIndex> {
        let dir = objects.dir().join("units");
        fs::create_dir_all(&dir).map_err(ContentError::io("make", &dir))?;
        Ok(UnitIndex { objects: objects.clone(), open: Mutex::default() })
    }

    fn dir(&self, source: SourceId) -> PathBuf {
        self.objects.dir().join("units").join(source.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SourceId, Listed>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds units; those that are there with the same location and size cost nothing. On disk when it returns.
    ///
    /// # Errors
    /// When files cannot be read or written, or the source has more than [`UNITS_MAX`] units.
    pub fn add(&self, source: SourceId, units: impl IntoIterator<Item = UnitLocation>) -> ContentResult<()> {
        let mut new = Table::default();
        for unit in units {
            new.push(&unit)?;
        }
        new.sort();
        let mut open = self.lock();
        let segments = self.segments(&mut open, source)?;
        let mut moved = Vec::new();
        for segment in segments.iter() {
            segment.drop_known(&mut new, &mut moved)?;
        }
        new.records.append(&mut moved);
        new.sort();
        if new.records.is_empty() {
            return Ok(());
        }
        let dir = self.dir(source);
        fs::create_dir_all(&dir).map_err(ContentError::io("make", &dir))?;
        let number = segments.first().map_or(1, |s| s.number + 1);
        self.write(&dir, number, &new)?;
        open.remove(&source);
        if segments.len() + 1 > SEGMENTS_MAX {
            self.merge(&mut open, source)?;
        }
        Ok(())
    }

    /// Where the source has this unit.
    ///
    /// # Errors
    /// When files cannot be read.
    pub fn lookup(&self, source: SourceId, digest: &Digest) -> ContentResult<Option<UnitLocation>> {
        let segments = self.segments(&mut self.lock(), source)?;
        let key = key(digest)?;
        for segment in segments.iter() {
            if let Some(record) = segment.find(&key)? {
                let location = segment.location(&record)?;
                return Ok(Some(UnitLocation { digest: digest.clone(), location, size: record.size }));
            }
        }
        Ok(None)
    }

    /// Forgets a source that was deleted.
    ///
    /// # Errors
    /// When files cannot be removed.
    pub fn remove_source(&self, source: SourceId) -> ContentResult<()> {
        let mut open = self.lock();
        open.remove(&source);
        let dir = self.dir(source);
        match fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(ContentError::io("remove", &dir)(e)),
            _ => Ok(()),
        }
    }

    fn segments(&self, open: &mut HashMap<SourceId, Listed>, source: SourceId) -> ContentResult<Arc<Vec<Segment>>> {
        let dir = self.dir(source);
        // Read before the listing: a change in between makes it outdated, never overlooked.
        let changed = match fs::metadata(&dir).and_then(|meta| meta.modified()) {
            Ok(changed) => changed,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Arc::default()),
            Err(e) => return Err(ContentError::io("read", &dir)(e)),
        };
        if let Some(listed) = open.get(&source).filter(|listed| listed.at == Some(changed)) {
            return Ok(Arc::clone(&listed.segments));
        }
        let settled = SystemTime::now().duration_since(changed).is_ok_and(|age| age >= SETTLED_AFTER);
        let mut segments = Vec::new();
        let entries = fs::read_dir(&dir).map_err(ContentError::io("list", &dir))?;
        for entry in entries {
            let path = entry.map_err(ContentError::io("list", &dir))?.path();
            let number = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".seg")?.parse().ok());
            if let Some(number) = number {
                match Segment::open(path, number) {
                    // Merged into another one meanwhile.
                    Err(ContentError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                    opened => segments.push(opened?),
                }
            }
        }
        segments.sort_by_key(|s| std::cmp::Reverse(s.number));
        if open.len() >= OPEN_MAX {
            open.clear();
        }
        let segments = Arc::new(segments);
        open.insert(source, Listed { segments: Arc::clone(&segments), at: settled.then_some(changed) });
        Ok(segments)
    }

    /// All segments become one. Killed in between, both are there, which only costs space.
    fn merge(&self, open: &mut HashMap<SourceId, Listed>, source: SourceId) -> ContentResult<()> {
        let segments = self.segments(open, source)?;
        let mut all = Table::default();
        // Oldest first: of equal digests the last one stays.
        for segment in segments.iter().rev() {
            for record in segment.records()? {
                all.push_raw(record, &segment.location(&record)?)?;
            }
        }
        all.sort();
        let number = segments.first().map_or(1, |s| s.number + 1);
        self.write(&self.dir(source), number, &all)?;
        open.remove(&source);
        for segment in segments.iter() {
            crate::objects::remove_if_there(&segment.path)?;
        }
        Ok(())
    }

    fn write(&self, dir: &Path, number: u64, table: &Table) -> ContentResult<()> {
        let file = self.objects.staging_file("units-")?;
        let failed = || ContentError::io("write", file.path());
        let mut out = BufWriter::new(file.as_file());
        table.write(&mut out).and_then(|()| out.flush()).map_err(failed())?;
        drop(out);
        file.as_file().sync_all().map_err(failed())?;
        let mut file = file;
        let mut numbers = number..number.saturating_add(NUMBERS_TRIED);
        loop {
            let path = dir.join(format!("{:010}.seg", numbers.next().unwrap_or(number)));
            match file.persist_noclobber(&path) {
                Ok(_) => break,
                Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists && !numbers.is_empty() => file = e.file,
                Err(e) => return Err(ContentError::io("rename a file to", &path)(e.error)),
            }
        }
        File::open(dir).and_then(|d| d.sync_all()).map_err(ContentError::io("flush", dir))
    }
}

/// Records in memory with their locations.
#[derive(Default)]
struct Table {
    records: Vec<Record>,
    text: Vec<u8>,
}

impl Table {
    fn push(&mut self, unit: &UnitLocation) -> ContentResult<()> {
        let record = Record { key: key(&unit.digest)?, size: unit.size, at: 0, len: 0, print: print(&unit.location) };
        self.push_raw(record, &unit.location)
    }

    fn push_raw(&mut self, record: Record, location: &str) -> ContentResult<()> {
        let too_large = |what: &str, limit: String| ContentError::TooLarge { what: what.to_owned(), limit };
        if self.records.len() >= UNITS_MAX {
            return Err(too_large("the index of a source's units", format!("{UNITS_MAX} units")));
        }
        if location.len() > PATH_MAX_BYTES {
            return Err(too_large("the location of a unit", format!("{PATH_MAX_BYTES} bytes")));
        }
        self.records.push(Record { at: self.text.len() as u64, len: location.len() as u32, ..record });
        self.text.extend_from_slice(location.as_bytes());
        Ok(())
    }

    /// By key; of equal keys the last one pushed stays.
    fn sort(&mut self) {
        self.records.sort_by_key(|r| r.key);
        self.records.dedup_by(|later, kept| {
            let same = later.key == kept.key;
            if same {
                *kept = *later;
            }
            same
        });
    }

    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        out.write_all(MAGIC)?;
        out.write_all(&(self.records.len() as u64).to_le_bytes())?;
        let text_at = HEADER_BYTES + (self.records.len() * RECORD_BYTES) as u64;
        for record in &self.records {
            out.write_all(&record.key)?;
            out.write_all(&record.size.to_le_bytes())?;
            out.write_all(&(text_at + record.at).to_le_bytes())?;
            out.write_all(&record.len.to_le_bytes())?;
            out.write_all(&record.print.to_le_bytes())?;
        }
        out.write_all(&self.text)
    }
}

impl Segment {
    fn open(path: PathBuf, number: u64) -> ContentResult<Segment> {
        let file = File::open(&path).map_err(ContentError::io("open", &path))?;
        let mut header = [0; HEADER_BYTES as usize];
        let length = file.metadata().map_err(ContentError::io("read", &path))?.len();
        let damaged = || ContentError::damaged("index of units", path.display(), "it is no index of units");
        file.read_exact_at(&mut header, 0).map_err(|_| damaged())?;
        let (magic, count) = header.split_at(MAGIC.len());
        let count = u64_at(count, 0);
        if magic != MAGIC || count > UNITS_MAX as u64 || HEADER_BYTES + count * RECORD_BYTES as u64 > length {
            return Err(damaged());
        }
        Ok(Segment { number, path, file, count })
    }

    fn record(&self, index: u64) -> ContentResult<Record> {
        let mut bytes = [0; RECORD_BYTES];
        self.file
            .read_exact_at(&mut bytes, HEADER_BYTES + index * RECORD_BYTES as u64)
            .map_err(ContentError::io("read", &self.path))?;
        Ok(Record::of(&bytes))
    }

    fn find(&self, key: &Key) -> ContentResult<Option<Record>> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let record = self.record(middle)?;
            match record.key.cmp(key) {
                std::cmp::Ordering::Equal => return Ok(Some(record)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    fn location(&self, record: &Record) -> ContentResult<String> {
        let damaged = || ContentError::damaged("index of units", self.path.display(), "a location in it is broken");
        if record.len as usize > PATH_MAX_BYTES {
            return Err(damaged());
        }
        let mut bytes = vec![0; record.len as usize];
        self.file.read_exact_at(&mut bytes, record.at).map_err(ContentError::io("read", &self.path))?;
        String::from_utf8(bytes).map_err(|_| damaged())
    }

    /// All records: 61 bytes a unit.
    fn records(&self) -> ContentResult<Vec<Record>> {
        let mut bytes = vec![0; self.count as usize * RECORD_BYTES];
        self.file.read_exact_at(&mut bytes, HEADER_BYTES).map_err(ContentError::io("read", &self.path))?;
        Ok(bytes.chunks_exact(RECORD_BYTES).map(Record::of).collect())
    }

    /// Takes out of `new` what this segment has; what it has otherwise goes to `moved`: an older segment that has it the
    /// same way is not asked any more.
    fn drop_known(&self, new: &mut Table, moved: &mut Vec<Record>) -> ContentResult<()> {
        if new.records.is_empty() {
            return Ok(());
        }
        let known = self.records()?;
        new.records.retain(|record| {
            let Ok(at) = known.binary_search_by_key(&record.key, |k| k.key) else { return true };
            let k = known[at];
            if (k.size, k.len, k.print) != (record.size, record.len, record.print) {
                moved.push(*record);
            }
            false
        });
        Ok(())
    }
}

/// Where the location's length stands in a record.
const LEN_AT: usize = KEY_BYTES + 16;

impl Record {
    fn of(bytes: &[u8]) -> Record {
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(&bytes[..KEY_BYTES]);
        Record {
            key,
            size: u64_at(bytes, KEY_BYTES),
            at: u64_at(bytes, KEY_BYTES + 8),
            len: u32::from_le_bytes([bytes[LEN_AT], bytes[LEN_AT + 1], bytes[LEN_AT + 2], bytes[LEN_AT + 3]]),
            print: u64_at(bytes, KEY_BYTES + 20),
        }
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

fn key(digest: &Digest) -> ContentResult<Key> {
    let mut key = [0; KEY_BYTES];
    key[0] = match digest.alg() {
        Alg::Sha1 => 1,
        Alg::Sha256 => 2,
        Alg::Sha384 => 3,
        Alg::Sha512 => 4,
    };
    for (byte, pair) in key[1..].iter_mut().zip(digest.hex().as_bytes().chunks_exact(2)) {
        let text = std::str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(text, 16).map_err(|_| ContentError::damaged("digest", digest, "it is not hexadecimal"))?;
    }
    Ok(key)
}

/// FNV-1a. Tells a changed location from an equal one; a forged equality would only harm the upstream that forged it.
fn print(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    fn unit(n: u32, location: &str) -> UnitLocation {
        UnitLocation {
            digest: Sha256::of(&n.to_le_bytes()).digest(),
            location: format!("{location}/{n}.rpm"),
            size: u64::from(n),
        }
    }

    fn source(n: u128) -> SourceId {
        format!("{n:032x}").parse().unwrap()
    }

    fn segments(index: &UnitIndex, source: SourceId) -> usize {
        fs::read_dir(index.dir(source)).map_or(0, Iterator::count)
    }

    #[test]
    fn units_are_found_again_and_the_newest_location_wins() {
        let dir = tempfile::tempdir().unwrap();
        let objects = ObjectStore::open(dir.path()).unwrap();
        let index = UnitIndex::open(&objects).unwrap();
        let (a, b) = (source(1), source(2));
        index.add(a, (0..1000).map(|n| unit(n, "old"))).unwrap();
        index.add(a, (0..1000).map(|n| unit(n, "old"))).unwrap();
        assert_eq!(segments(&index, a), 1, "nothing new, nothing written");
        index.add(a, [unit(7, "new")]).unwrap();
        let again = UnitIndex::open(&objects).unwrap();
        for index in [&index, &again] {
            assert_eq!(index.lookup(a, &unit(7, "").digest).unwrap().unwrap(), unit(7, "new"));
            assert_eq!(index.lookup(a, &unit(999, "").digest).unwrap().unwrap(), unit(999, "old"));
            assert_eq!(index.lookup(a, &unit(1000, "").digest).unwrap(), None);
            assert_eq!(index.lookup(b, &unit(7, "").digest).unwrap(), None, "another source's units are not its");
        }
        // Back to where it was before.
        index.add(a, [unit(7, "old")]).unwrap();
        assert_eq!(index.lookup(a, &unit(7, "").digest).unwrap().unwrap(), unit(7, "old"));
        assert_eq!(segments(&index, a), 3);
        index.add(a, [unit(7, "old"), unit(8, "old")]).unwrap();
        assert_eq!(segments(&index, a), 3, "nothing new, nothing written");
        index.remove_source(a).unwrap();
        assert_eq!(index.lookup(a, &unit(7, "").digest).unwrap(), None);
        index.remove_source(a).unwrap();
    }

    #[test]
    fn what_another_process_adds_is_found_and_nothing_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let objects = ObjectStore::open(dir.path()).unwrap();
        let (one, two) = (UnitIndex::open(&objects).unwrap(), UnitIndex::open(&objects).unwrap());
        let one_source = source(7);
        for n in 0..30 {
            let (writer, reader) = if n % 2 == 0 { (&one, &two) } else { (&two, &one) };
            writer.add(one_source, [unit(n, "")]).unwrap();
            for found in 0..=n {
                let digest = unit(found, "").digest;
                assert!(reader.lookup(one_source, &digest).unwrap().is_some(), "{found} after {n}");
            }
        }
    }

    #[test]
    fn many_segments_become_one() {
        let dir = tempfile::tempdir().unwrap();
        let objects = ObjectStore::open(dir.path()).unwrap();
        let index = UnitIndex::open(&objects).unwrap();
        let a = source(1);
        for round in 0..20u32 {
            index.add(a, (round * 10..round * 10 + 15).map(|n| unit(n, &format!("r{round}")))).unwrap();
            assert!(segments(&index, a) <= SEGMENTS_MAX);
        }
        for n in 0..205u32 {
            let round = (n / 10).min(19);
            assert_eq!(index.lookup(a, &unit(n, "").digest).unwrap().unwrap(), unit(n, &format!("r{round}")));
        }
    }

    #[test]
    fn a_damaged_segment_is_named_and_bounds_hold() {
        let dir = tempfile::tempdir().unwrap();
        let objects = ObjectStore::open(dir.path()).unwrap();
        let index = UnitIndex::open(&objects).unwrap();
        let a = source(1);
        index.add(a, [unit(1, "x")]).unwrap();
        let long = UnitLocation { location: "x".repeat(PATH_MAX_BYTES + 1), ..unit(2, "") };
        assert!(matches!(index.add(a, [long]), Err(ContentError::TooLarge { .. })));
        let path = index.dir(a).join("0000000001.seg");
        let bytes = fs::read(&path).unwrap();
        for broken in [b"DDUNITS\x01\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), bytes[..20].to_vec(), b"x".to_vec()] {
            fs::write(&path, broken).unwrap();
            let fresh = UnitIndex::open(&objects).unwrap();
            let error = fresh.lookup(a, &unit(1, "").digest).unwrap_err();
            assert!(matches!(error, ContentError::Damaged { .. }), "{error}");
        }
    }
}

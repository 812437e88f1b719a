//! One Packages file → one tree. The file is decompressed on a thread of its own, split and checked here; stanzas wait
//! in a spool while only keys are sorted in memory, because archives are in the order of source packages.
//!
//! As apt does, the first of two stanzas for one (name, version, architecture) counts; another file under the same name
//! and version is worth a finding. Absent: where the file comes from and whether it is the right one (see [`super::sync`]).

use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use drydock_domain::source::filter::Selection;
use drydock_domain::source::unit::Format;

use super::packages::{Package, Piece, Refused, Stanzas};
use crate::decompress;
use crate::derive;
use crate::digest::Sha256;
use crate::error::ContentError;
use crate::objects::ObjectStore;
use crate::snapshot::{self, UnitRecord};
use crate::spool::{Slot, Spool, SpoolReader};
use crate::sync::{Findings, ProgressSink, SyncError};
use crate::tree::{TreeBuilder, TreeRef};

/// Largest Packages file, decompressed, bytes: Debian unstable has 60 MB.
pub const INDEX_RAW_MAX_BYTES: u64 = 1024 * 1024 * 1024;
/// Packages of one index, count: Debian unstable has 70,000. At 300 bytes a key, 120 MB.
pub const INDEX_PACKAGES_MAX: usize = 400_000;
/// Read ahead at once, bytes; below the size from which every buffer would be a mapping of its own.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks read ahead, count.
const CHUNKS_AHEAD: usize = 32;
/// Stanzas between two looks at whether somebody still waits, count.
const CHECK_EVERY: usize = 1000;

/// An index file that was fetched and verified.
pub(crate) struct IndexFile<'a> {
    /// Its path in the upstream, for findings.
    pub name: &'a str,
    /// Where it lies.
    pub path: &'a Path,
    /// How long it may become, bytes.
    pub max_raw: u64,
    /// Only packages of this architecture and `all`: a flat repository has one index for all of them.
    pub only: Option<&'a str>,
}

/// Where a package file is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// Its checksum.
    pub sha256: Sha256,
    /// Its path in the upstream.
    pub path: Box<str>,
    /// Bytes.
    pub size: u64,
}

/// An index as a tree.
#[derive(Debug)]
pub(crate) struct Built {
    /// Its packages.
    pub tree: TreeRef,
    /// Sum of their files, bytes.
    pub package_bytes: u64,
    /// Their files.
    pub locations: Vec<Location>,
}

/// A package whose record and stanza wait in the spool.
struct Line {
    key: Box<[u8]>,
    slot: Slot,
    record_bytes: usize,
    /// Place in the index: the first one counts.
    number: usize,
    location: Location,
}

/// The record of a package in its index's tree.
pub(crate) fn record(package: &Package) -> UnitRecord {
    UnitRecord {
        name: package.name.clone(),
        arch: package.arch.clone(),
        version: package.version.clone(),
        source: package.source.clone(),
        digest: package.sha256.digest().to_string(),
        size: package.size,
        location: package.location.clone(),
        ..UnitRecord::default()
    }
}

/// Reads an index file and keeps what is chosen of it.
///
/// # Errors
/// When the file cannot be read to its end, holds more than there may be, or the tree cannot be written.
pub(crate) fn build(
    store: &ObjectStore,
    file: &IndexFile<'_>,
    selection: &Selection,
    findings: &mut Findings,
    progress: &ProgressSink,
) -> Result<Built, SyncError> {
    let mut reading = Reading { file, spool: new_spool(store)?, lines: Vec::new(), refused: 0 };
    reading.read(findings, progress)?;
    let Reading { spool, mut lines, .. } = reading;
    let spool = spool.finish().map_err(ContentError::io("write", &store.staging_dir()))?;
    lines.sort_unstable_by(|a, b| a.key.cmp(&b.key).then(a.number.cmp(&b.number)));
    let lines = first_of_each(lines, file.name, findings);
    let lines = picked(&spool, lines, selection)?;
    write_tree(store, &spool, lines, progress)
}

fn new_spool(store: &ObjectStore) -> Result<Spool, SyncError> {
    let dir = store.staging_dir();
    Ok(Spool::new(&dir).map_err(ContentError::io("create a file in", &dir))?)
}

struct Reading<'a> {
    file: &'a IndexFile<'a>,
    spool: Spool,
    lines: Vec<Line>,
    refused: usize,
}

impl Reading<'_> {
    fn read(&mut self, findings: &mut Findings, progress: &ProgressSink) -> Result<(), SyncError> {
        let name = self.file.name;
        let broken = |error: io::Error| SyncError::metadata(name, error.to_string());
        let reader = decompress::reader(self.file.path, self.file.max_raw).map_err(broken)?;
        let mut stanzas = Stanzas::new(ReadAhead::new(reader).map_err(broken)?);
        let mut number = 0;
        while let Some(piece) = stanzas.next().map_err(broken)? {
            number += 1;
            if number % CHECK_EVERY == 0 {
                progress.check()?;
                progress.report("packages", number as u64, None);
            }
            let refused = match piece {
                Piece::Stanza(stanza) => match Package::parse(stanza) {
                    Ok(package) => {
                        self.take(&package, number)?;
                        continue;
                    }
                    Err(Refused { what, why }) => format!("package {what} is left out: {why}"),
                },
                Piece::TooLarge(beginning) => {
                    let line = beginning.split(|byte| *byte == b'\n').next().unwrap_or_default();
                    format!("a stanza larger than 1 MiB is left out; it begins with {}", line.escape_ascii())
                }
            };
            self.refused += 1;
            findings.note(name, refused);
        }
        if stanzas.carriage_returns() {
            findings.note(name, "its lines end with carriage returns; they are dropped");
        }
        if self.lines.is_empty() && self.refused > 0 {
            let problem = format!("none of its {} stanzas is a package", self.refused);
            return Err(SyncError::metadata(name, problem));
        }
        Ok(())
    }

    fn take(&mut self, package: &Package, number: usize) -> Result<(), SyncError> {
        if self.file.only.is_some_and(|only| package.arch != only && package.arch != "all") {
            return Ok(());
        }
        if self.lines.len() >= INDEX_PACKAGES_MAX {
            let problem = format!("it has more than {INDEX_PACKAGES_MAX} packages; choose fewer with filters");
            return Err(SyncError::metadata(self.file.name, problem));
        }
        let record = record(package);
        let mut fragment = snapshot::write_record(&record);
        let record_bytes = fragment.len();
        fragment.extend_from_slice(&package.stanza);
        let slot = self.spool.append(&fragment).map_err(|error| SyncError::Content(spool_error(error)))?;
        let location = Location { sha256: package.sha256, path: package.location.as_str().into(), size: package.size };
        let key = snapshot::deb_key(&record, &package.sha256.to_string()).into_boxed_slice();
        self.lines.push(Line { key, slot, record_bytes, number, location });
        Ok(())
    }
}

fn spool_error(error: io::Error) -> ContentError {
    ContentError::io("write", Path::new("a temporary file of the content directory"))(error)
}

/// Everything in front of the checksum: name, architecture and version.
pub(crate) fn identity(key: &[u8]) -> &[u8] {
    &key[..memchr::memrchr(0, key).unwrap_or(key.len())]
}

/// Of lines in order, the first in the index of each (name, architecture, version).
fn first_of_each(mut lines: Vec<Line>, name: &str, findings: &mut Findings) -> Vec<Line> {
    lines.dedup_by(|second, first| second.key == first.key);
    let mut kept: Vec<Line> = Vec::with_capacity(lines.len());
    for line in lines {
        let Some(last) = kept.last_mut().filter(|last| identity(&last.key) == identity(&line.key)) else {
            kept.push(line);
            continue;
        };
        let shown = String::from_utf8_lossy(identity(&line.key)).replace('\0', " ");
        findings.note(name, format!("{shown} is listed twice with different files; the first counts, as for apt"));
        if line.number < last.number {
            *last = line;
        }
    }
    kept
}

/// The lines that the selection takes.
fn picked(spool: &SpoolReader, lines: Vec<Line>, selection: &Selection) -> Result<Vec<Line>, SyncError> {
    if selection.is_everything() {
        return Ok(lines);
    }
    let mut buffer = Vec::new();
    let mut records: Vec<UnitRecord> = Vec::with_capacity(lines.len());
    for line in &lines {
        let fragment = spool.read(line.slot, &mut buffer).map_err(spool_error)?;
        records.push(snapshot::read_record(&fragment[..line.record_bytes.min(fragment.len())])?);
    }
    let keep = derive::pick(selection, Format::Deb, &records, &[], &[])?;
    Ok(lines.into_iter().zip(keep).filter_map(|(line, keep)| keep.then_some(line)).collect())
}

fn write_tree(store: &ObjectStore, spool: &SpoolReader, lines: Vec<Line>, progress: &ProgressSink) -> Result<Built, SyncError> {
    let mut builder = TreeBuilder::new(store, 1);
    let mut buffer = Vec::new();
    let mut locations = Vec::with_capacity(lines.len());
    let mut package_bytes = 0;
    let total = lines.len() as u64;
    for (done, line) in lines.into_iter().enumerate() {
        if done % CHECK_EVERY == 0 {
            progress.check()?;
            progress.report("index", done as u64, Some(total));
        }
        let fragment = spool.read(line.slot, &mut buffer).map_err(spool_error)?;
        let (record, stanza) = fragment.split_at(line.record_bytes.min(fragment.len()));
        builder.push_parts(&line.key, record, &[stanza])?;
        package_bytes += line.location.size;
        locations.push(line.location);
    }
    Ok(Built { tree: builder.finish()?, package_bytes, locations })
}

/// A reader whose source is read ahead by a thread, which ends when nobody reads any more.
struct ReadAhead {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
}

impl ReadAhead {
    fn new(mut source: impl Read + Send + 'static) -> io::Result<Self> {
        let (send, chunks) = sync_channel(CHUNKS_AHEAD);
        thread::Builder::new().name("read-ahead".to_owned()).spawn(move || {
            loop {
                let mut chunk = Vec::with_capacity(CHUNK_BYTES);
                let read = source.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk);
                let ended = !matches!(read, Ok(n) if n > 0);
                if send.send(read.map(|_| chunk)).is_err() || ended {
                    return;
                }
            }
        })?;
        Ok(Self { chunks, chunk: Vec::new(), at: 0 })
    }
}

impl Read for ReadAhead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            // A closed channel without an end or an error means that the thread is gone.
            self.chunk = self.chunks.recv().map_err(|_| io::Error::other("reading ahead ended without an answer"))??;
            self.at = 0;
        }
        let n = into.len().min(self.chunk.len() - self.at);
        into[..n].copy_from_slice(&self.chunk[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

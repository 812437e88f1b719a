//! Downloaded metadata files, read one element at a time into spools: memory holds keys and places, the bytes wait on
//! disk until the trees are built in order.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;

use super::fragments::{Fragments, ScanError, Shape};
use super::lists::ListEntry;
use super::modules::{Document, Documents, MAX_DOCUMENTS};
use super::notes::Notes;
use super::primary::{self, Checked, PRIMARY, Primary, PrimaryError};
use super::updateinfo::{Advisory, MAX_ADVISORIES, UPDATEINFO, merge};
use super::xml::{XmlError, cut};
use crate::decompress;
use crate::digest::Digest;
use crate::error::ContentError;
use crate::path::safe_relative;
use crate::snapshot::{UnitRecord, advisory_key, module_key, read_record, rpm_key, rpm_version, write_record};
use crate::spool::{Slot, Spool, SpoolReader};
use crate::sync::{ProgressSink, SyncError};
use crate::tree::RECORD_MAX_BYTES;

/// Packages of a repository, count.
pub const MAX_PACKAGES: usize = 1_000_000;
/// Uncompressed `primary.xml`, bytes. The largest published ones have some 300 MiB.
const PRIMARY_MAX_RAW_BYTES: u64 = 4 << 30;
/// Uncompressed `filelists.xml` or `other.xml`, bytes. The largest published ones have some GiB.
const LIST_MAX_RAW_BYTES: u64 = 16 << 30;
/// Uncompressed `updateinfo.xml`, bytes.
const UPDATEINFO_MAX_RAW_BYTES: u64 = 2 << 30;
/// Uncompressed `modules.yaml`, bytes.
const MODULES_MAX_RAW_BYTES: u64 = 512 << 20;
/// Elements between looks at cancellation and progress.
const STRIDE: u64 = 1000;

/// A package that was read.
pub(crate) struct PackageRow {
    pub key: Vec<u8>,
    pub pkgid: Pkgid,
    /// In the spool of [`Packages`].
    pub primary: Slot,
    /// In the spool of [`Packages`].
    pub record: Slot,
    /// Of the package file, bytes.
    pub size: u64,
}

/// The first bytes of a package's checksum: what lists are matched by.
pub(crate) type Pkgid = [u8; 32];

/// All packages of `primary.xml`.
pub(crate) struct Packages {
    pub rows: Vec<PackageRow>,
    pub spool: SpoolReader,
    pub notes: Notes,
}

/// All entries of `filelists.xml` or `other.xml`, sorted by checksum; the first of two with one checksum stays.
pub(crate) struct List {
    pub entries: Vec<(Pkgid, Slot)>,
    pub spool: SpoolReader,
    pub notes: Notes,
}

/// Advisories or module documents, sorted by key. Their records wait in the spool, too: an upstream may name millions of
/// packages in them.
pub(crate) struct Documented {
    pub rows: Vec<(Vec<u8>, DocumentRow)>,
    pub spool: SpoolReader,
    pub notes: Notes,
}

/// Where the parts of a document lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DocumentRow {
    pub record: Slot,
    pub text: Slot,
    /// Of an advisory.
    updated: Option<i64>,
}

/// What all readers need.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// Where spools lie.
    pub staging: &'a Path,
    pub progress: &'a ProgressSink,
}

impl Reading<'_> {
    fn spool(&self) -> Result<Spool, SyncError> {
        Ok(Spool::new(self.staging).map_err(ContentError::io("create a file in", self.staging))?)
    }

    fn append(&self, spool: &mut Spool, bytes: &[u8]) -> Result<Slot, SyncError> {
        Ok(spool.append(bytes).map_err(ContentError::io("write to a file in", self.staging))?)
    }

    fn read<'b>(&self, spool: &SpoolReader, slot: Slot, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], SyncError> {
        Ok(spool.read(slot, buffer).map_err(ContentError::io("read a file in", self.staging))?)
    }

    fn finish(&self, spool: Spool) -> Result<SpoolReader, SyncError> {
        Ok(spool.finish().map_err(ContentError::io("write to a file in", self.staging))?)
    }

    fn step(&self, stage: &'static str, done: u64, total: Option<u64>) -> Result<(), SyncError> {
        if done.is_multiple_of(STRIDE) {
            self.progress.check()?;
            self.progress.report(stage, done, total);
        }
        Ok(())
    }
}

/// A downloaded file.
#[derive(Clone, Copy)]
pub(crate) struct MetaFile<'a> {
    /// For messages: its path in the upstream.
    pub name: &'a str,
    /// Where it lies.
    pub path: &'a Path,
    /// Its uncompressed size, as announced.
    pub open_size: Option<u64>,
}

impl MetaFile<'_> {
    fn open(&self, max_raw: u64) -> Result<decompress::Reader, SyncError> {
        decompress::reader(self.path, max_raw).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => broken(self.name, error),
            _ => ContentError::io("open", self.path)(error).into(),
        })
    }

    /// Package managers do not look at the announced size; a wrong one says that the upstream is odd.
    fn note_size(&self, raw: u64, notes: &mut Notes) {
        if let Some(announced) = self.open_size.filter(|announced| *announced != raw) {
            notes.single(self.name, format!("it has {raw} bytes uncompressed where repomd.xml announces {announced}"));
        }
    }
}

/// What decides which packages of `primary.xml` are taken and where hosts get them.
pub(crate) struct PackageRules<'a> {
    /// None = all.
    pub architectures: &'a [String],
    /// Hosts take packages from below this URL instead of from us.
    pub upstream_base: Option<&'a str>,
    /// URLs of the upstream: a package placed below one of them (`xml:base`) is a package of the upstream.
    pub own_urls: &'a [String],
}

impl PackageRules<'_> {
    /// Where the package's file is, below the upstream.
    fn location(&self, package: &Primary<'_>, href: &str) -> Result<String, String> {
        let Some(base) = package.base.as_deref() else { return Ok(href.to_owned()) };
        let below = |url: &String| {
            let rest = base.strip_prefix(url.trim_end_matches('/'))?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}/{href}", rest.trim_matches('/')))
        };
        match self.own_urls.iter().find_map(below) {
            Some(path) => safe_relative(path.trim_start_matches('/')).map_err(|error| error.to_string()),
            None if self.upstream_base.is_some() => Ok(href.to_owned()),
            None => Err(format!(
                "it lies elsewhere (xml:base {}); make a source of that URL, or set the policy to metadata-only",
                cut(base)
            )),
        }
    }
}

fn broken(file: &str, problem: impl std::fmt::Display) -> SyncError {
    SyncError::metadata(file, problem.to_string())
}

/// Errors inside a fragment, placed in the document.
fn at(file: &str, offset: u64, error: &XmlError) -> SyncError {
    broken(file, XmlError::new(offset + error.offset, error.problem.clone()))
}

fn scan(file: &str, error: &ScanError) -> SyncError {
    broken(file, error)
}

fn pkgid(hex: &str) -> Pkgid {
    let mut id = [0; 32];
    for (byte, pair) in id.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16).unwrap_or(0) as u8;
        *byte = digit(pair[0]) << 4 | digit(pair[1]);
    }
    id
}

/// Reads `primary.xml`.
pub(crate) fn packages(meta: MetaFile<'_>, rules: &PackageRules<'_>, reading: Reading<'_>) -> Result<Packages, SyncError> {
    let (file, input) = (meta.name, meta.open(PRIMARY_MAX_RAW_BYTES)?);
    let mut document = Fragments::open(input, PRIMARY).map_err(|error| scan(file, &error))?;
    let declarations = document.declarations().to_owned();
    let announced: Option<u64> = document.root_attribute("packages").and_then(|n| n.trim().parse().ok());
    let mut reader = PrimaryReader {
        file,
        rules,
        reading,
        declarations,
        rows: Vec::new(),
        seen: HashSet::new(),
        spool: reading.spool()?,
        notes: Notes::default(),
    };
    let mut count: u64 = 0;
    while let Some(fragment) = document.next().map_err(|error| scan(file, &error))? {
        reading.step("reading packages", count, announced)?;
        count += 1;
        reader.take(fragment.text, fragment.offset)?;
    }
    let raw = document.position();
    let PrimaryReader { mut rows, spool, mut notes, .. } = reader;
    meta.note_size(raw, &mut notes);
    if let Some(announced) = announced.filter(|announced| *announced != count) {
        notes.single(file, format!("it announces {announced} packages and holds {count}"));
    }
    rows.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    note_equal_names(file, &rows, &mut notes);
    Ok(Packages { rows, spool: reading.finish(spool)?, notes })
}

struct PrimaryReader<'a> {
    file: &'a str,
    rules: &'a PackageRules<'a>,
    reading: Reading<'a>,
    declarations: String,
    rows: Vec<PackageRow>,
    seen: HashSet<Pkgid>,
    spool: Spool,
    notes: Notes,
}

impl PrimaryReader<'_> {
    fn take(&mut self, text: &str, offset: u64) -> Result<(), SyncError> {
        let package = Primary::parse(text).map_err(|error| at(self.file, offset, &error))?;
        if !primary::wanted_arch(package.arch.trim(), self.rules.architectures) {
            return Ok(());
        }
        let checked = match package.checked() {
            Ok(checked) => checked,
            Err(PrimaryError::Unusable { name, problem }) => {
                self.notes.add("packages that cannot be used", &name, format!("left out: {problem}"));
                return Ok(());
            }
            Err(PrimaryError::Xml(error)) => return Err(at(self.file, offset, &error)),
            Err(PrimaryError::Checksum { name, source }) => {
                let what = format!("{}: package {name}: {source}", self.file);
                let advice = "ask the upstream for metadata with SHA-256 checksums (createrepo_c makes them)".to_owned();
                return Err(SyncError::Unsupported { what, advice });
            }
        };
        let path = match self.rules.location(&package, &checked.href) {
            Ok(path) => path,
            Err(problem) => {
                let name = package.canonical_file_name();
                self.notes.add("packages that cannot be used", &name, format!("left out: {problem}"));
                return Ok(());
            }
        };
        self.note_oddities(&package, &checked);
        let id = pkgid(checked.digest.hex());
        if !self.seen.insert(id) {
            let message = "listed again with the same checksum; the first entry is kept";
            self.notes.add("packages that are listed twice", &package.canonical_file_name(), message);
            return Ok(());
        }
        if self.rows.len() >= MAX_PACKAGES {
            return Err(broken(self.file, format!("more than {MAX_PACKAGES} packages")));
        }
        let record = self.record(&package, &checked, path);
        let location = match self.rules.upstream_base {
            Some(base) => primary::upstream_location(package.base.as_deref().unwrap_or(base), &package.href),
            None => primary::served_location(&checked.digest, &checked.href),
        };
        let fragment = package.rewritten(text, &location, &self.declarations);
        let primary = self.reading.append(&mut self.spool, fragment.as_bytes())?;
        let slot = self.reading.append(&mut self.spool, &write_record(&record))?;
        let key = rpm_key(&record, checked.digest.hex());
        self.rows.push(PackageRow { key, pkgid: id, primary, record: slot, size: checked.size });
        Ok(())
    }

    fn note_oddities(&mut self, package: &Primary<'_>, checked: &Checked) {
        if !package.is_named_as_usual(&checked.href) {
            let message = format!("its file is called {}", cut(primary::file_name(&checked.href)));
            self.notes.add("packages whose file has another name", &package.canonical_file_name(), message);
        }
        if primary::is_weak(&checked.digest) {
            let message = "known by SHA-1 only, which proves little";
            self.notes.add("packages known by SHA-1 only", &package.canonical_file_name(), message);
        }
    }

    fn record(&self, package: &Primary<'_>, checked: &Checked, location: String) -> UnitRecord {
        UnitRecord {
            name: package.name.trim().to_owned(),
            arch: package.arch.trim().to_owned(),
            version: rpm_version(&checked.epoch.to_string(), package.version.trim(), package.release.trim()),
            source: primary::source_name(&package.source_rpm).to_owned(),
            digest: checked.digest.to_string(),
            size: checked.size,
            location,
            build_time: package.build_time,
        }
    }
}

/// The parts of a package's key: name, architecture, `epoch:version-release`, checksum.
pub(crate) fn key_parts(key: &[u8]) -> [&str; 4] {
    let mut parts = std::str::from_utf8(key).unwrap_or_default().splitn(4, '\0');
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

fn note_equal_names(file: &str, rows: &[PackageRow], notes: &mut Notes) {
    for pair in rows.windows(2) {
        let [[name, arch, version, _], [other, other_arch, other_version, _]] = [0, 1].map(|n| key_parts(&pair[n].key));
        if (name, arch, version) == (other, other_arch, other_version) {
            let message = format!("{file} lists it with different checksums; all are kept, package managers choose one");
            notes.add("packages that are listed with several checksums", &format!("{name}-{version}.{arch}"), message);
        }
    }
}

/// Reads `filelists.xml` or `other.xml`.
pub(crate) fn list(meta: MetaFile<'_>, shape: Shape, reading: Reading<'_>) -> Result<List, SyncError> {
    let (file, input) = (meta.name, meta.open(LIST_MAX_RAW_BYTES)?);
    let mut document = Fragments::open(input, shape).map_err(|error| scan(file, &error))?;
    let declarations = document.declarations().to_owned();
    let mut spool = reading.spool()?;
    let (mut entries, mut notes): (Vec<(Pkgid, Slot)>, _) = (Vec::new(), Notes::default());
    let (mut count, mut nameless): (u64, u64) = (0, 0);
    while let Some(fragment) = document.next().map_err(|error| scan(file, &error))? {
        reading.step("reading file lists", count, None)?;
        count += 1;
        let entry = ListEntry::parse(fragment.text).map_err(|error| at(file, fragment.offset, &error))?;
        if entry.pkgid.is_empty() {
            nameless += 1;
            continue;
        }
        if entries.len() >= MAX_PACKAGES {
            return Err(broken(file, format!("more than {MAX_PACKAGES} packages")));
        }
        let slot = reading.append(&mut spool, entry.stored(fragment.text, &declarations).as_bytes())?;
        entries.push((pkgid(&entry.pkgid), slot));
    }
    meta.note_size(document.position(), &mut notes);
    // Stable: the first of equal ones stays.
    entries.sort_by_key(|(id, _)| *id);
    let before = entries.len();
    entries.dedup_by_key(|(id, _)| *id);
    if before > entries.len() {
        notes.single(file, format!("{} packages are listed twice; the first entry is kept", before - entries.len()));
    }
    if nameless > 0 {
        notes.single(file, format!("{nameless} entries without a checksum are left out"));
    }
    Ok(List { entries, spool: reading.finish(spool)?, notes })
}

/// Reads `updateinfo.xml`.
pub(crate) fn advisories(meta: MetaFile<'_>, reading: Reading<'_>) -> Result<Documented, SyncError> {
    let (file, input) = (meta.name, meta.open(UPDATEINFO_MAX_RAW_BYTES)?);
    let mut document = Fragments::open(input, UPDATEINFO).map_err(|error| scan(file, &error))?;
    let declarations = document.declarations().to_owned();
    let mut kept = KeptDocuments::new(reading)?;
    // Those with one id wait here: what was appended to a spool cannot be read before its end.
    let mut repeated: Vec<(Advisory, String)> = Vec::new();
    let mut repeated_bytes = 0;
    let mut count: u64 = 0;
    while let Some(fragment) = document.next().map_err(|error| scan(file, &error))? {
        reading.step("reading advisories", count, None)?;
        count += 1;
        let advisory = Advisory::parse(fragment.text).map_err(|error| at(file, fragment.offset, &error))?;
        let record = write_record(&advisory.record);
        let too_large = (record.len() > RECORD_MAX_BYTES).then(|| "names too many packages".to_owned());
        if let Some(problem) = advisory.problem().or(too_large) {
            kept.notes.add("advisories that cannot be used", file, format!("an advisory {problem}; it is left out"));
            continue;
        }
        let stored = advisory.stored(fragment.text, &declarations);
        let key = advisory_key(&advisory.record.id);
        if kept.rows.contains_key(&key) {
            repeated_bytes += stored.len() + record.len();
            if repeated_bytes > REPEATED_MAX_BYTES {
                return Err(broken(file, format!("more than {REPEATED_MAX_BYTES} bytes of advisories with repeated ids")));
            }
            repeated.push((advisory, stored));
            continue;
        }
        if kept.rows.len() >= MAX_ADVISORIES {
            return Err(broken(file, format!("more than {MAX_ADVISORIES} advisories")));
        }
        kept.append(key, &record, &stored, advisory.updated)?;
    }
    meta.note_size(document.position(), &mut kept.notes);
    if repeated.is_empty() {
        return kept.finish();
    }
    merge_repeated(kept.finish()?, repeated, reading)
}

/// Advisories with repeated ids that are held in memory, bytes.
const REPEATED_MAX_BYTES: usize = 32 * 1024 * 1024;

/// Documents of one file on their way.
struct KeptDocuments<'a> {
    reading: Reading<'a>,
    rows: BTreeMap<Vec<u8>, DocumentRow>,
    spool: Spool,
    notes: Notes,
}

impl<'a> KeptDocuments<'a> {
    fn new(reading: Reading<'a>) -> Result<Self, SyncError> {
        Ok(Self { reading, rows: BTreeMap::new(), spool: reading.spool()?, notes: Notes::default() })
    }

    /// True when there was one of this key; it is replaced.
    fn append(&mut self, key: Vec<u8>, record: &[u8], text: &str, updated: Option<i64>) -> Result<bool, SyncError> {
        let record = self.reading.append(&mut self.spool, record)?;
        let text = self.reading.append(&mut self.spool, text.as_bytes())?;
        Ok(self.rows.insert(key, DocumentRow { record, text, updated }).is_some())
    }

    fn finish(self) -> Result<Documented, SyncError> {
        Ok(Documented { rows: self.rows.into_iter().collect(), spool: self.reading.finish(self.spool)?, notes: self.notes })
    }
}

fn merge_repeated(first: Documented, repeated: Vec<(Advisory, String)>, reading: Reading<'_>) -> Result<Documented, SyncError> {
    let Documented { rows, spool, notes } = first;
    let mut all = KeptDocuments { notes, ..KeptDocuments::new(reading)? };
    let mut waiting: BTreeMap<Vec<u8>, Vec<(Advisory, String)>> = BTreeMap::new();
    for (advisory, text) in repeated {
        waiting.entry(advisory_key(&advisory.record.id)).or_default().push((advisory, text));
    }
    let mut buffers: [Vec<u8>; 2] = Default::default();
    for (key, row) in rows {
        let [record, text] = &mut buffers;
        let record = reading.read(&spool, row.record, record)?;
        let text = String::from_utf8_lossy(reading.read(&spool, row.text, text)?);
        let Some(others) = waiting.remove(&key) else {
            all.append(key, record, &text, row.updated)?;
            continue;
        };
        let mut merged = (Advisory::stored_before(read_record(record)?, row.updated), text.into_owned());
        for other in others {
            if other.1 != merged.1 {
                let message = "is there several times with different content: the newest is kept, with the packages of all";
                all.notes.add("advisories with repeated ids", &other.0.record.id, message);
                merged = merge(merged, other);
            }
        }
        all.append(key, &write_record(&merged.0.record), &merged.1, merged.0.updated)?;
    }
    all.finish()
}

/// Reads `modules.yaml`.
pub(crate) fn modules(meta: MetaFile<'_>, reading: Reading<'_>) -> Result<Documented, SyncError> {
    let file = meta.name;
    let mut documents = Documents::new(meta.open(MODULES_MAX_RAW_BYTES)?);
    let mut kept = KeptDocuments::new(reading)?;
    let mut count: u64 = 0;
    while let Some((line, text)) = documents.next().map_err(|problem| broken(file, problem))? {
        reading.progress.check()?;
        count += 1;
        if count > MAX_DOCUMENTS as u64 {
            return Err(broken(file, format!("more than {MAX_DOCUMENTS} documents")));
        }
        // Package managers leave out a document they do not understand and use the others.
        let document = match Document::parse(text) {
            Ok(document) => document,
            Err(problem) => {
                let message = format!("the document at line {line} is left out: {problem}");
                kept.notes.add("module documents that cannot be used", file, message);
                continue;
            }
        };
        let record = write_record(&document.record);
        let name = cut(&format!("{} {}", document.record.kind, document.record.name));
        if record.len() > RECORD_MAX_BYTES {
            kept.notes.add(
                "module documents that cannot be used",
                file,
                format!("{name} lists too many packages; it is left out"),
            );
        } else if kept.append(module_key(&document.record), &record, &document.text, None)? {
            kept.notes.add("module documents that are there twice", file, format!("{name} is there twice; the last one is kept"));
        }
    }
    kept.finish()
}

/// A digest out of a record.
pub(crate) fn record_digest(record: &UnitRecord) -> Result<Digest, ContentError> {
    record.digest.parse().map_err(|_| ContentError::damaged("record", &record.digest, "its digest cannot be read"))
}

//! Sources filled by uploads: a package file is checked, its metadata made, and a new snapshot is the old one with it.
//!
//! Absent: checking package signatures; hosts do (`gpgcheck`), with the keys of the source.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;

use drydock_domain::source::unit::Format;
use tempfile::NamedTempFile;

use super::header::{Header, HeaderError, LEAD_BYTES, read_lead};
use super::header_xml::PackageFacts;
use super::notes::Notes;
use super::primary::{Primary, PrimaryError, wanted_arch};
use crate::content::Content;
use crate::digest::{Digest, Hasher, Sha256, Verifier};
use crate::error::{ContentError, ContentResult};
use crate::snapshot::{self, RPM_PARTS, SnapshotDoc, UnitRecord, nevra, rpm_key, unit_record, write_record};
use crate::sync::{LocalFile, LocalRequest, ProgressSink, SYNC_STATE_VERSION, SyncError, SyncOutcome, SyncState};
use crate::tree::{self, Entry, TreeBuilder, TreeRef};
use crate::units::UnitLocation;

/// Tags of the signature header: length of header and payload, checksums of the header.
const SIGNATURE_SIZE: u32 = 1000;
const SIGNATURE_LONG_SIZE: u32 = 270;
const HEADER_SHA1: u32 = 269;
const HEADER_SHA256: u32 = 273;
/// Tags of the header: checksums of the compressed payload.
const PAYLOAD_SHA256: u32 = 5092;
const PAYLOAD_SHA512: u32 = 5121;

/// A package file that was checked.
struct Package {
    record: UnitRecord,
    entry: Entry,
    /// A copy in staging: what was checked is what is kept.
    staged: NamedTempFile,
    sha256: Sha256,
}

/// Takes files in and units out. The result is a snapshot like any other; nothing of it is visible before it returns.
///
/// # Errors
/// When a file is no whole rpm package, does not belong here, or the content directory fails.
pub fn add(content: &Content, request: &LocalRequest, progress: &ProgressSink) -> Result<SyncOutcome, SyncError> {
    let store = content.objects();
    let before = match &request.previous {
        Some(root) => snapshot::load(store, root)?,
        None => SnapshotDoc::empty(Format::Rpm),
    };
    let tree = match before.packages.get("") {
        Some(tree) => tree.clone(),
        None => TreeBuilder::new(store, RPM_PARTS).finish()?,
    };
    let mut notes = Notes::default();
    let mut present = Present::read(content, &tree)?;
    let mut changes: BTreeMap<Vec<u8>, Option<Entry>> = BTreeMap::new();
    let mut bytes = before.stats.package_bytes;
    for digest in &request.remove {
        let (key, record) = present.remove(digest).ok_or_else(|| unknown(digest))?;
        bytes = bytes.saturating_sub(record.size);
        changes.insert(key, None);
    }
    let mut units = Vec::new();
    for (done, file) in (0_u64..).zip(&request.files) {
        progress.check()?;
        progress.report("checking packages", done, Some(request.files.len() as u64));
        let package = read(content, file, &mut notes)?;
        admit(request, file, &package.record, &present)?;
        let Package { record, entry, staged, sha256 } = package;
        store.put_blob_from(staged.path(), sha256, &[])?;
        units.push(UnitLocation { digest: sha256.digest(), location: String::new(), size: record.size });
        if present.insert(&entry.key, &record) {
            bytes += record.size;
            changes.insert(entry.key.clone(), Some(entry));
        } else {
            notes.add("packages that were there already", &record.name, "the same file is there already");
        }
    }
    let mut doc = before.clone();
    let tree = tree::edit(store, &tree, changes)?;
    (doc.stats.packages, doc.stats.package_bytes) = (tree.count, bytes);
    doc.packages.insert(String::new(), tree);
    content.units().add(request.source, units)?;
    let root = snapshot::save(store, &doc)?;
    let state = SyncState { version: SYNC_STATE_VERSION, root: Some(root), validators: None, facts: BTreeMap::new() };
    let changed = request.previous != Some(root);
    Ok(SyncOutcome { root, changed, stats: doc.stats, state, findings: notes.into_findings().into_vec() })
}

fn unknown(digest: &Digest) -> SyncError {
    let problem = "the source's newest snapshot has no such package".to_owned();
    ContentError::Refused { what: format!("removing {digest}"), problem }.into()
}

/// What the newest snapshot has.
struct Present {
    by_digest: HashMap<String, (Vec<u8>, UnitRecord)>,
    names: HashSet<String>,
}

impl Present {
    fn read(content: &Content, tree: &TreeRef) -> ContentResult<Self> {
        let mut present = Present { by_digest: HashMap::new(), names: HashSet::new() };
        for head in tree::iter(content.objects(), tree, None) {
            let head = head?;
            let record = unit_record(&head)?;
            present.insert(&head.key, &record);
        }
        Ok(present)
    }

    /// False when this very file is there already.
    fn insert(&mut self, key: &[u8], record: &UnitRecord) -> bool {
        self.names.insert(nevra(&record.name, &record.version, &record.arch));
        self.by_digest.insert(record.digest.clone(), (key.to_vec(), record.clone())).is_none()
    }

    fn remove(&mut self, digest: &Digest) -> Option<(Vec<u8>, UnitRecord)> {
        let (key, record) = self.by_digest.remove(&digest.to_string())?;
        self.names.remove(&nevra(&record.name, &record.version, &record.arch));
        Some((key, record))
    }
}

/// Whether the source may have this package.
fn admit(request: &LocalRequest, file: &LocalFile, record: &UnitRecord, present: &Present) -> Result<(), SyncError> {
    let refused = |problem| Err(SyncError::Upload { file: file.file_name.clone(), problem });
    if !wanted_arch(&record.arch, &request.spec.architectures) {
        let architectures = request.spec.architectures.join(", ");
        return refused(format!("its architecture is {}; the source takes {architectures} (and noarch)", record.arch));
    }
    let name = nevra(&record.name, &record.version, &record.arch);
    if present.names.contains(&name) && !present.by_digest.contains_key(&record.digest) {
        return refused(format!("{name} is there already with other content; upload it with a higher release"));
    }
    Ok(())
}

/// Copies a file to staging and reads the copy.
fn read(content: &Content, file: &LocalFile, notes: &mut Notes) -> Result<Package, SyncError> {
    let store = content.objects();
    let refused = |problem: String| SyncError::Upload { file: file.file_name.clone(), problem };
    let mut input = File::open(&file.path).map_err(ContentError::io("open", &file.path))?;
    let staged = store.staging_file("upload-")?;
    let mut copy = Hasher::new(staged.as_file());
    io::copy(&mut input, &mut copy).map_err(ContentError::io("copy a file to", staged.path()))?;
    let (_, sha256, size) = copy.finish();
    let headers = headers(staged.path()).map_err(|error| match error {
        HeaderError::Read(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            ContentError::io("read", staged.path())(error).into()
        }
        HeaderError::Read(_) => refused("the file ends inside a header".to_owned()),
        HeaderError::Format(problem) => refused(problem.to_owned()),
    })?;
    let [signature, header] = &headers;
    let start = LEAD_BYTES + (signature.raw.len() as u64).next_multiple_of(8);
    let end = start + header.raw.len() as u64;
    verify(staged.path(), signature, header, (end, size), notes, &file.file_name)?.map_err(refused)?;
    let facts = PackageFacts { signature, header, header_range: (start, end), sha256, size };
    let parts = facts.fragments();
    check(&parts).map_err(refused)?;
    let record = facts.record();
    let key = rpm_key(&record, &sha256.to_string());
    let entry = Entry { key, record: write_record(&record), parts: parts.map(String::into_bytes).into() };
    Ok(Package { record, entry, staged, sha256 })
}

fn headers(path: &Path) -> Result<[Header; 2], HeaderError> {
    let mut input = BufReader::new(File::open(path)?);
    read_lead(&mut input)?;
    Ok([Header::read(&mut input, true)?, Header::read(&mut input, false)?])
}

/// What was made is judged as an upstream's would be.
fn check(parts: &[String; 3]) -> Result<(), String> {
    for part in parts {
        super::xml::check(part).map_err(|error| format!("its header cannot be written as XML: {error}"))?;
    }
    let primary = parts.first().map_or("", |part| part.trim_end());
    let read = Primary::parse(primary).map_err(|error| error.to_string())?;
    read.checked().map(|_| ()).map_err(|error| match error {
        PrimaryError::Unusable { problem, .. } => problem,
        other => other.to_string(),
    })
}

/// Compares every checksum the package carries. A signature covers the header only; what ties the payload to it is the
/// payload's checksum inside the header.
fn verify(
    path: &Path,
    signature: &Header,
    header: &Header,
    (payload_at, size): (u64, u64),
    notes: &mut Notes,
    file_name: &str,
) -> Result<Result<(), String>, SyncError> {
    let mut checked = false;
    for (tag, alg) in [(HEADER_SHA256, crate::digest::Alg::Sha256), (HEADER_SHA1, crate::digest::Alg::Sha1)] {
        let digits = signature.string(tag);
        if digits.is_empty() {
            continue;
        }
        let Ok(digest) = Digest::new(alg, &digits) else { return Ok(Err(format!("its {alg} of the header is malformed"))) };
        let mut verifier = Verifier::new(&[digest], None);
        verifier.update(&header.raw);
        if let Err(mismatch) = verifier.finish() {
            return Ok(Err(format!("its header is damaged: {mismatch}")));
        }
        checked = true;
    }
    let body = size.saturating_sub(payload_at) + header.raw.len() as u64;
    let announced = signature.number(SIGNATURE_LONG_SIZE).or_else(|| signature.number(SIGNATURE_SIZE));
    if let Some(announced) = announced.filter(|announced| *announced != body) {
        return Ok(Err(format!("it is cut short or has bytes behind its end: {body} bytes where it announces {announced}")));
    }
    let mut digests = Vec::new();
    for (tag, alg) in [(PAYLOAD_SHA256, crate::digest::Alg::Sha256), (PAYLOAD_SHA512, crate::digest::Alg::Sha512)] {
        let digits = header.string(tag);
        if digits.is_empty() {
            continue;
        }
        match Digest::new(alg, &digits) {
            Ok(digest) => digests.push(digest),
            Err(_) => return Ok(Err(format!("its {alg} of the payload is malformed"))),
        }
    }
    if digests.is_empty() || !checked {
        let message = "it carries no checksum of its payload or header (rpm before 4.14 made none): only its length was checked";
        notes.add("packages without checksums", file_name, message);
    }
    if digests.is_empty() {
        return Ok(Ok(()));
    }
    let mut verifier = Verifier::new(&digests, None);
    copy_from(path, payload_at, &mut verifier).map_err(ContentError::io("read", path))?;
    Ok(verifier.finish().map(|_| ()).map_err(|mismatch| format!("its payload is damaged: {mismatch}")))
}

fn copy_from(path: &Path, from: u64, to: &mut impl Write) -> io::Result<()> {
    let mut input = File::open(path)?;
    io::Seek::seek(&mut input, io::SeekFrom::Start(from))?;
    io::copy(&mut input, to)?;
    Ok(())
}

//! Local apt sources: uploaded `.deb` files become stanzas, and a snapshot is the one before with them added and others
//! taken away. All files of a request, or none.
//!
//! Laid out as Debian does it: one component, packages of architecture `all` in the index of every architecture.
//! Absent: deciding who may upload, signing (see [`super::head`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;

use drydock_domain::source::spec::{Origin, SourceSpec};
use drydock_domain::source::unit::Format;

use super::file;
use super::index;
use super::packages::{PACKAGE_MAX_BYTES, Package};
use crate::content::Content;
use crate::digest::{Digest, Hasher};
use crate::error::ContentError;
use crate::objects::ObjectStore;
use crate::snapshot::{self, DebInfo, SnapshotDoc};
use crate::sync::{Findings, LocalFile, LocalRequest, ProgressSink, SYNC_STATE_VERSION, SyncError, SyncOutcome, SyncState};
use crate::tree::{self, Entry, TreeBuilder, TreeRef};
use crate::units::UnitLocation;

/// The one component of a local source.
pub const LOCAL_COMPONENT: &str = "main";
/// What a Release of ours says made it.
const ORIGIN: &str = "Drydock";

/// Changes of one index, by key; `None` takes the entry out.
type Changes = BTreeMap<Vec<u8>, Option<Entry>>;

/// Adds and removes packages of a local source.
///
/// # Errors
/// When a file is no package, or one of the same name, version and architecture with other bytes is there already.
pub fn add(content: &Content, request: &LocalRequest, progress: &ProgressSink) -> Result<SyncOutcome, SyncError> {
    let mut findings = Findings::new();
    let store = content.objects();
    let before = match &request.previous {
        Some(root) => snapshot::load(store, root)?,
        None => SnapshotDoc::empty(Format::Deb),
    };
    let mut packages = Vec::with_capacity(request.files.len());
    for (done, file) in request.files.iter().enumerate() {
        progress.check()?;
        progress.report("upload", done as u64, Some(request.files.len() as u64));
        packages.push((file, take_in(store, file)?));
    }
    let mut doc = SnapshotDoc { deb: Some(info(&request.spec, &before)?), ..before.clone() };
    for arch in wanted_architectures(&request.spec, &before, &packages) {
        let index = format!("{LOCAL_COMPONENT}/{arch}");
        let had = before.packages.get(&index).or_else(|| any_index(&before));
        let only_all = !before.packages.contains_key(&index);
        let tree = edited(store, had, only_all, &arch, &packages, &request.remove, &mut findings)?;
        doc.packages.insert(index, tree);
    }
    if let Some(info) = &mut doc.deb {
        info.architectures = doc.packages.keys().filter_map(|index| Some(index.rsplit_once('/')?.1.to_owned())).collect();
    }
    measure(store, &mut doc)?;
    let units = packages.iter().map(|(_, package)| UnitLocation {
        digest: package.sha256.digest(),
        location: String::new(),
        size: package.size,
    });
    content.units().add(request.source, units)?;
    let root = snapshot::save(store, &doc)?;
    let state = SyncState { version: SYNC_STATE_VERSION, root: Some(root), validators: None, facts: BTreeMap::new() };
    Ok(SyncOutcome { root, changed: request.previous != Some(root), stats: doc.stats, state, findings: findings.into_vec() })
}

fn upload_error(file: &LocalFile, problem: impl Into<String>) -> SyncError {
    SyncError::Upload { file: file.file_name.clone(), problem: problem.into() }
}

/// Copies the file into the store and reads the copy: what is checked is what is served.
fn take_in(store: &ObjectStore, file: &LocalFile) -> Result<Package, SyncError> {
    let staged = store.staging_file("upload")?;
    let mut from = File::open(&file.path).map_err(ContentError::io("read", &file.path))?;
    let mut into = Hasher::new(staged.as_file());
    io::copy(&mut from, &mut into).map_err(ContentError::io("write", staged.path()))?;
    let (_, sha256, size) = into.finish();
    if size > PACKAGE_MAX_BYTES {
        return Err(upload_error(file, format!("it has {size} bytes; at most {PACKAGE_MAX_BYTES} are taken")));
    }
    let control = file::control_file(staged.path()).map_err(|error| upload_error(file, error.to_string()))?;
    let mut package = file::package(&control, size, &sha256).map_err(|error| upload_error(file, error.to_string()))?;
    store.put_blob_from(staged.path(), sha256, &[])?;
    // Its place is this server's own.
    package.location.clear();
    Ok(package)
}

fn info(spec: &SourceSpec, before: &SnapshotDoc) -> Result<DebInfo, SyncError> {
    let Origin::Local { suite } = &spec.origin else {
        let problem = "is not local; packages are uploaded to local sources only".to_owned();
        return Err(SyncError::Spec { field: "origin", problem });
    };
    if !super::release::is_path_word(suite) {
        return Err(SyncError::Spec { field: "suite", problem: format!("{suite:?} cannot be part of a path") });
    }
    let own = DebInfo {
        dist: suite.clone(),
        origin: ORIGIN.to_owned(),
        label: spec.name.clone(),
        suite: suite.clone(),
        codename: suite.clone(),
        components: vec![LOCAL_COMPONENT.to_owned()],
        ..DebInfo::default()
    };
    Ok(before.deb.clone().filter(|had| had.suite == own.suite).unwrap_or(own))
}

/// Every architecture there is an index for, and those of the source and of new packages.
fn wanted_architectures(spec: &SourceSpec, before: &SnapshotDoc, packages: &[(&LocalFile, Package)]) -> BTreeSet<String> {
    let listed = spec.architectures.iter().map(String::as_str);
    let there = before.packages.keys().filter_map(|index| Some(index.rsplit_once('/')?.1));
    let new = packages.iter().map(|(_, package)| package.arch.as_str());
    let mut wanted: BTreeSet<String> = listed.chain(there).chain(new).filter(|arch| *arch != "all").map(str::to_owned).collect();
    if wanted.is_empty() {
        wanted.insert("amd64".to_owned());
    }
    wanted
}

/// An index to take the packages of architecture `all` from: every index has them.
fn any_index(doc: &SnapshotDoc) -> Option<&TreeRef> {
    doc.packages.values().next()
}

/// An index with the changes of a request. `only_all`: `had` is another architecture's index.
fn edited(
    store: &ObjectStore,
    had: Option<&TreeRef>,
    only_all: bool,
    arch: &str,
    packages: &[(&LocalFile, Package)],
    remove: &[Digest],
    findings: &mut Findings,
) -> Result<TreeRef, SyncError> {
    let tree = match had {
        Some(tree) if !only_all => tree.clone(),
        Some(tree) => only(store, tree, "all")?,
        None => TreeBuilder::new(store, snapshot::DEB_PARTS).finish()?,
    };
    let mut changes = removals(store, &tree, remove)?;
    for (file, package) in packages.iter().filter(|(_, package)| package.arch == arch || package.arch == "all") {
        let record = index::record(package);
        let key = snapshot::deb_key(&record, &package.sha256.to_string());
        let shown = format!("{} {} {}", package.name, package.version, package.arch);
        if let Some(other) = same_identity(store, &tree, &changes, &key)? {
            if other == key {
                findings.note(&shown, "it is there already");
                continue;
            }
            let problem =
                format!("{shown} is there already with other content; a version never changes: raise the version, then upload");
            return Err(upload_error(file, problem));
        }
        let entry = Entry { key: key.clone(), record: snapshot::write_record(&record), parts: vec![package.stanza.clone()] };
        changes.insert(key, Some(entry));
    }
    Ok(tree::edit(store, &tree, changes.into_iter().collect())?)
}

/// The entries of one architecture.
fn only(store: &ObjectStore, tree: &TreeRef, arch: &str) -> Result<TreeRef, SyncError> {
    let mut builder = TreeBuilder::new(store, snapshot::DEB_PARTS);
    for entry in tree::iter_full(store, tree, None) {
        let entry = entry?;
        if entry.key.split(|byte| *byte == 0).nth(1) == Some(arch.as_bytes()) {
            builder.push(&entry)?;
        }
    }
    Ok(builder.finish()?)
}

fn removals(store: &ObjectStore, tree: &TreeRef, remove: &[Digest]) -> Result<Changes, SyncError> {
    let mut changes = Changes::new();
    if remove.is_empty() {
        return Ok(changes);
    }
    let remove: BTreeSet<String> = remove.iter().map(Digest::to_string).collect();
    for head in tree::iter(store, tree, None) {
        let head = head?;
        if remove.contains(&snapshot::unit_record(&head)?.digest) {
            changes.insert(head.key, None);
        }
    }
    Ok(changes)
}

/// The key of another package of the same name, architecture and version that is there, or will be.
fn same_identity(store: &ObjectStore, tree: &TreeRef, changes: &Changes, key: &[u8]) -> Result<Option<Vec<u8>>, SyncError> {
    let prefix = &key[..index::identity(key).len() + 1];
    let new = changes.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
    if let Some((key, _)) = new.into_iter().find(|(_, entry)| entry.is_some()) {
        return Ok(Some(key.clone()));
    }
    for head in tree::iter(store, tree, Some(prefix)) {
        let head = head?;
        if !head.key.starts_with(prefix) {
            break;
        }
        if !changes.contains_key(&head.key) {
            return Ok(Some(head.key));
        }
    }
    Ok(None)
}

fn measure(store: &ObjectStore, doc: &mut SnapshotDoc) -> Result<(), SyncError> {
    let (mut packages, mut bytes) = (0, 0_u64);
    for tree in doc.packages.values() {
        packages += tree.count;
        for head in tree::iter(store, tree, None) {
            bytes = bytes.saturating_add(snapshot::unit_record(&head?)?.size);
        }
    }
    (doc.stats.packages, doc.stats.package_bytes) = (packages, bytes);
    Ok(())
}

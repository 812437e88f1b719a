//! The blocking half of a sync: fetched files become trees and a snapshot document.

use drydock_domain::ids::SourceId;
use drydock_domain::source::filter::Selection;
use drydock_domain::source::spec::DownloadPolicy;
use drydock_domain::source::unit::{Format, SnapshotStats};

use super::assemble::{NamedList, document_tree, nevras, package_tree, records, unit};
use super::lists::{FILELISTS, OTHER};
use super::notes::Notes;

use super::read::{
    Documented, List, MetaFile, PackageRow, PackageRules, Packages, Reading, advisories, list, modules, packages, record_digest,
};
use super::sync::Fresh;
use crate::content::{Content, WantedUnit};
use crate::derive;
use crate::error::{ContentError, ContentResult};
use crate::snapshot::{AdvisoryRecord, Extra, ModuleRecord, SnapshotDoc};
use crate::sync::{ProgressSink, SyncError};
use crate::tree::TreeRef;
use crate::units::UnitLocation;

/// What a snapshot is built of.
pub(crate) struct Inputs {
    pub content: Content,
    pub source: SourceId,
    /// None = all.
    pub architectures: Vec<String>,
    pub selection: Selection,
    pub policy: DownloadPolicy,
    /// Where hosts get packages when not from us.
    pub upstream_base: Option<String>,
    /// URLs of the upstream.
    pub own_urls: Vec<String>,
    /// primary, filelists, other, updateinfo, modules.
    pub files: [Option<Fresh>; 5],
    /// Trees of packages, advisories and modules that are those of `previous`.
    pub keep: [bool; 3],
    pub previous: Option<SnapshotDoc>,
    pub extras: Vec<Extra>,
}

/// A document not yet saved.
pub(crate) struct Built {
    pub doc: SnapshotDoc,
    /// With policy immediate: the files that must be here first.
    pub wanted: Vec<WantedUnit>,
    pub notes: Notes,
}

/// Everything that was read.
struct Parsed {
    packages: Option<Packages>,
    filelists: Option<List>,
    other: Option<List>,
    advisories: Option<Documented>,
    modules: Option<Documented>,
}

/// Reads the files and builds the trees.
///
/// # Errors
/// When a file cannot be used or the content directory fails.
pub(crate) fn build(inputs: Inputs, progress: &ProgressSink) -> Result<Built, SyncError> {
    let mut notes = Notes::default();
    let mut parsed = parse(&inputs, progress)?;
    parsed.take_notes(&mut notes);
    let kept = inputs.previous.clone().unwrap_or_else(|| SnapshotDoc::empty(Format::Rpm));
    let mut doc = SnapshotDoc::empty(Format::Rpm);
    doc.extras.clone_from(&inputs.extras);
    let mut wanted = Vec::new();
    let everything = inputs.selection.is_everything() && inputs.architectures.is_empty();
    let mut names = None;
    if inputs.keep[0] {
        doc.packages = kept.packages;
        doc.stats = SnapshotStats { advisories: 0, modules: 0, ..kept.stats };
    } else if let Some(packages) = &parsed.packages {
        let rows = chosen(&inputs, packages, &parsed)?;
        let lists = [(1, &parsed.filelists), (2, &parsed.other)].map(|(n, list)| {
            let file = inputs.files[n].as_ref().map_or("", |file: &Fresh| file.name.as_str());
            NamedList { file, list: list.as_ref() }
        });
        let store = inputs.content.objects();
        let tree = package_tree(store, packages, &rows, lists, &mut notes, progress)?;
        doc.stats.packages = tree.count;
        doc.stats.package_bytes = rows.iter().map(|row| row.size).sum();
        doc.packages.insert(String::new(), tree);
        wanted = announce_units(&inputs, packages, &rows)?;
        names = (!everything).then(|| nevras(&rows));
        if rows.is_empty() && !packages.rows.is_empty() {
            notes.single("selection", "no package of the upstream is taken; look at the source's architectures and selection");
        }
    }
    doc.advisories = match &parsed.advisories {
        _ if inputs.keep[1] => kept.advisories,
        None => None,
        Some(advisories) => {
            let keep = names.as_ref().map(|names| |record: &AdvisoryRecord| derive::advisory_kept(record, names));
            document_tree(inputs.content.objects(), advisories, keep)?
        }
    };
    doc.modules = match &parsed.modules {
        _ if inputs.keep[2] => kept.modules,
        None => None,
        Some(modules) => {
            let keep = names.as_ref().map(|names| |record: &ModuleRecord| derive::module_kept(record, names));
            document_tree(inputs.content.objects(), modules, keep)?
        }
    };
    let count = |tree: &Option<TreeRef>| tree.as_ref().map_or(0, |tree| tree.count);
    (doc.stats.advisories, doc.stats.modules) = (count(&doc.advisories), count(&doc.modules));
    Ok(Built { doc, wanted, notes })
}

impl Parsed {
    fn take_notes(&mut self, notes: &mut Notes) {
        let packages = self.packages.as_mut().map(|part| &mut part.notes);
        let lists = [&mut self.filelists, &mut self.other].map(|list| list.as_mut().map(|list| &mut list.notes));
        let advisories = self.advisories.as_mut().map(|part| &mut part.notes);
        let modules = self.modules.as_mut().map(|part| &mut part.notes);
        for part in [packages, advisories, modules].into_iter().chain(lists).flatten() {
            notes.extend(std::mem::take(part));
        }
    }
}

/// Reads the large files on threads of their own: decompression and checks are the time of a first sync.
fn parse(inputs: &Inputs, progress: &ProgressSink) -> Result<Parsed, SyncError> {
    let staging = inputs.content.objects().staging_dir();
    let reading = Reading { staging: &staging, progress };
    let rules = PackageRules {
        architectures: &inputs.architectures,
        upstream_base: inputs.upstream_base.as_deref(),
        own_urls: &inputs.own_urls,
    };
    let file = |n: usize| {
        let fresh: Option<&Fresh> = inputs.files[n].as_ref();
        fresh.map(|fresh| MetaFile { name: &fresh.name, path: &fresh.path, open_size: fresh.open_size })
    };
    let worker = |_| SyncError::Worker("reading metadata".to_owned());
    std::thread::scope(|scope| {
        let filelists = file(1).map(|file| scope.spawn(move || list(file, FILELISTS, reading)));
        let other = file(2).map(|file| scope.spawn(move || list(file, OTHER, reading)));
        let packages = file(0).map(|file| packages(file, &rules, reading)).transpose();
        let advisories = file(3).map(|file| advisories(file, reading)).transpose();
        let modules = file(4).map(|file| modules(file, reading)).transpose();
        let [filelists, other] =
            [filelists, other].map(|thread| thread.map(|t| t.join().map_err(worker).and_then(|list| list)).transpose());
        Ok(Parsed { packages: packages?, filelists: filelists?, other: other?, advisories: advisories?, modules: modules? })
    })
}

/// The packages that the source's selection takes.
fn chosen<'a>(inputs: &Inputs, packages: &'a Packages, parsed: &Parsed) -> Result<Vec<&'a PackageRow>, SyncError> {
    if inputs.selection.is_everything() {
        return Ok(packages.rows.iter().collect());
    }
    let mut buffer = Vec::new();
    let store = inputs.content.objects();
    let units = packages.rows.iter().map(|row| unit(store, packages, row, &mut buffer)).collect::<ContentResult<Vec<_>>>()?;
    let advisories = parsed.advisories.as_ref().map(|part| records(store, part)).transpose()?.unwrap_or_default();
    let modules = parsed.modules.as_ref().map(|part| records(store, part)).transpose()?.unwrap_or_default();
    let taken = derive::pick(&inputs.selection, Format::Rpm, &units, &advisories, &modules)?;
    Ok(packages.rows.iter().zip(taken).filter(|(_, taken)| *taken).map(|(row, _)| row).collect())
}

/// Tells the unit index where the files are; with policy immediate, also what is to be fetched.
fn announce_units(inputs: &Inputs, packages: &Packages, rows: &[&PackageRow]) -> Result<Vec<WantedUnit>, SyncError> {
    if matches!(inputs.policy, DownloadPolicy::MetadataOnly) {
        return Ok(Vec::new());
    }
    let store = inputs.content.objects();
    let mut buffer = Vec::new();
    let mut wanted = Vec::new();
    let mut failure: Option<ContentError> = None;
    let mut rows = rows.iter();
    let units = std::iter::from_fn(|| {
        let row = rows.next()?;
        let read = unit(store, packages, row, &mut buffer).and_then(|record| Ok((record_digest(&record)?, record)));
        match read {
            Ok((digest, record)) => {
                let unit = UnitLocation { digest, location: record.location, size: record.size };
                if matches!(inputs.policy, DownloadPolicy::Immediate) {
                    let UnitLocation { digest, location, size } = unit.clone();
                    wanted.push(WantedUnit { location, size, digest });
                }
                Some(unit)
            }
            Err(error) => {
                failure = Some(error);
                None
            }
        }
    });
    inputs.content.units().add(inputs.source, units)?;
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(wanted),
    }
}

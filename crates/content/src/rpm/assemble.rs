//! Trees out of what was read, in the order of their keys.

use std::collections::HashSet;

use serde::de::DeserializeOwned;

use super::lists::empty_entry;
use super::notes::Notes;
use super::read::{DocumentRow, Documented, List, PackageRow, Packages, key_parts};
use crate::error::{ContentError, ContentResult};
use crate::objects::ObjectStore;
use crate::snapshot::{ADVISORY_PARTS, RPM_PARTS, UnitRecord, nevra, read_record};
use crate::spool::{Slot, SpoolReader};
use crate::sync::{ProgressSink, SyncError};
use crate::tree::{TreeBuilder, TreeRef};

/// Entries between looks at cancellation and progress.
const STRIDE: u64 = 1000;

/// A list and what to call it; absent lists give every package an empty entry.
pub(crate) struct NamedList<'a> {
    pub file: &'a str,
    pub list: Option<&'a List>,
}

impl NamedList<'_> {
    fn find(&self, row: &PackageRow) -> Option<(&SpoolReader, Slot)> {
        let list = self.list?;
        let place = list.entries.binary_search_by(|(id, _)| id.cmp(&row.pkgid)).ok()?;
        list.entries.get(place).map(|(_, slot)| (&list.spool, *slot))
    }
}

fn read<'a>(store: &ObjectStore, spool: &SpoolReader, slot: Slot, buffer: &'a mut Vec<u8>) -> ContentResult<&'a [u8]> {
    spool.read(slot, buffer).map_err(ContentError::io("read a file in", &store.staging_dir()))
}

/// Reads a package's record back.
pub(crate) fn unit(
    store: &ObjectStore,
    packages: &Packages,
    row: &PackageRow,
    buffer: &mut Vec<u8>,
) -> ContentResult<UnitRecord> {
    read_record(read(store, &packages.spool, row.record, buffer)?)
}

/// The tree of the packages in `rows`, which are sorted.
pub(crate) fn package_tree(
    store: &ObjectStore,
    packages: &Packages,
    rows: &[&PackageRow],
    lists: [NamedList<'_>; 2],
    notes: &mut Notes,
    progress: &ProgressSink,
) -> Result<TreeRef, SyncError> {
    let mut builder = TreeBuilder::new(store, RPM_PARTS);
    let mut buffers: [Vec<u8>; 4] = Default::default();
    let mut missing = [0_u64; 2];
    let total = rows.len() as u64;
    for (done, row) in (0_u64..).zip(rows) {
        if done.is_multiple_of(STRIDE) {
            progress.check()?;
            progress.report("storing packages", done, Some(total));
        }
        let [record, primary, first, second] = &mut buffers;
        let record = read(store, &packages.spool, row.record, record)?;
        let primary = read(store, &packages.spool, row.primary, primary)?;
        let mut parts: [&[u8]; 2] = [&[]; 2];
        for (number, buffer) in [first, second].into_iter().enumerate() {
            parts[number] = match lists[number].find(row) {
                Some((spool, slot)) => read(store, spool, slot, buffer)?,
                None => {
                    missing[number] += 1;
                    *buffer = invented(&row.key).into_bytes();
                    buffer
                }
            };
        }
        builder.push_parts(&row.key, record, &[primary, parts[0], parts[1]])?;
    }
    for (list, missing) in lists.iter().zip(missing).filter(|(list, missing)| list.list.is_some() && *missing > 0) {
        notes.single(list.file, format!("it lacks {missing} of {total} packages; they get an empty entry"));
    }
    Ok(builder.finish()?)
}

fn invented(key: &[u8]) -> String {
    let [name, arch, version, pkgid] = key_parts(key);
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (version, release) = rest.rsplit_once('-').unwrap_or((rest, ""));
    empty_entry(pkgid, name, arch, epoch, version, release)
}

/// Names of the packages in `rows`, as advisories and modules write them.
pub(crate) fn nevras(rows: &[&PackageRow]) -> HashSet<String> {
    let name = |row: &&PackageRow| {
        let [name, arch, version, _] = key_parts(&row.key);
        nevra(name, version, arch)
    };
    rows.iter().map(name).collect()
}

/// The records of documents.
pub(crate) fn records<R: DeserializeOwned>(store: &ObjectStore, documents: &Documented) -> ContentResult<Vec<R>> {
    let mut buffer = Vec::new();
    let record = |(_, row): &(Vec<u8>, DocumentRow)| read_record(read(store, &documents.spool, row.record, &mut buffer)?);
    documents.rows.iter().map(record).collect()
}

/// The tree of those documents that `keep` wants (without it: of all); `None` when there are none.
pub(crate) fn document_tree<R: DeserializeOwned>(
    store: &ObjectStore,
    documents: &Documented,
    keep: Option<impl Fn(&R) -> bool>,
) -> ContentResult<Option<TreeRef>> {
    // Both kinds of documents have one part.
    let mut builder = TreeBuilder::new(store, ADVISORY_PARTS);
    let mut buffers: [Vec<u8>; 2] = Default::default();
    for (key, row) in &documents.rows {
        let [record, text] = &mut buffers;
        let record = read(store, &documents.spool, row.record, record)?;
        if let Some(keep) = &keep
            && !keep(&read_record(record)?)
        {
            continue;
        }
        let text = read(store, &documents.spool, row.text, text)?;
        builder.push_parts(key, record, &[text])?;
    }
    let tree = builder.finish()?;
    Ok((tree.count > 0).then_some(tree))
}

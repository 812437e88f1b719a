//! Package files of versions that come back: looked for in every snapshot of the sources that the host may see, so that it
//! gets them from this server although no repository offers them any more.

use std::collections::BTreeSet;

use drydock_content::digest::{Alg, Digest};
use drydock_content::find::{self, WantedVersion};
use drydock_content::serve::Served;
use drydock_domain::ids::InstanceId;
use drydock_domain::patch::undo::{UNDO_FILE_MAX_BYTES, UNDO_URL_PREFIX, UndoFile, UndoOrder};
use drydock_domain::source::name::LATEST;
use drydock_domain::source::unit::Format;
use drydock_store::records::PageQuery;
use drydock_store::{attachments, environments, instances, snapshots, sources};

use super::host_sources::targets;
use super::snapshots::root_of;
use crate::Control;
use crate::content_part::blocking;
use crate::content_views::ContentPeer;
use crate::error::Result;

/// Snapshots of one source that are looked into, newest first, count.
const SNAPSHOTS_MAX: u32 = 200;

impl Control {
    /// Files of the versions that come back, as far as this server has them or can fetch them. What is missing here must be
    /// offered by the host's repositories: the host says so before it changes anything.
    pub(super) async fn undo_files(&self, instance: InstanceId, order: &UndoOrder) -> Result<Vec<UndoFile>> {
        let mut missing: BTreeSet<WantedVersion> = order
            .arriving()
            .into_iter()
            .map(|(name, arch, version)| WantedVersion { name: name.into(), arch: arch.into(), version: version.into() })
            .collect();
        let mut files = Vec::new();
        let Ok(part) = self.content_part() else { return Ok(files) };
        // One connection at a time: who is asked below takes one, too.
        let Some(record) = instances::find(&mut *self.read().await?, instance).await? else { return Ok(files) };
        let place = match record.place() {
            Some(id) => environments::find(&mut *self.read().await?, id).await?.map(|e| e.spec.name),
            None => Some(LATEST.to_owned()),
        };
        let Some(place) = place else { return Ok(files) };
        let targets = targets(record.id, record.group, record.place());
        let attached = attachments::of_targets(&mut *self.read().await?, &targets).await?;
        let mut seen = BTreeSet::new();
        for attachment in attached.into_iter().filter(|a| seen.insert(a.source)) {
            if missing.is_empty() {
                break;
            }
            let Some(source) = sources::find(&mut *self.read().await?, attachment.source).await? else { continue };
            let name = source.spec.name.clone();
            let peer = ContentPeer::Agent { instance, spki_sha256: record.spki_sha256.clone() };
            // What it may not read it cannot be sent to.
            let Ok(view) = self.authorize_content(&peer, &place, &name).await else { continue };
            let page = PageQuery { cursor: None, limit: Some(SNAPSHOTS_MAX) };
            for snapshot in snapshots::list(&mut *self.read().await?, source.id, &page).await?.items {
                if missing.is_empty() {
                    break;
                }
                let (content, root) = (part.content().clone(), root_of(&snapshot)?);
                let (wanted, view, base) =
                    (missing.iter().cloned().collect::<Vec<_>>(), view.view.clone(), format!("{UNDO_URL_PREFIX}{place}/{name}/"));
                let format = source.spec.format;
                let found = blocking("look for packages of an undo", move || {
                    let units = find::versions(content.objects(), &root, &wanted).unwrap_or_default();
                    let file = |unit| {
                        let file = file_of(&unit, format, &base)?;
                        let path = file.url_path.strip_prefix(&base)?;
                        let is_here = matches!(content.resolve(&view, path), Ok(Served::File { .. } | Served::Upstream { .. }));
                        is_here.then_some(file)
                    };
                    units.into_iter().filter_map(file).collect::<Vec<UndoFile>>()
                });
                for file in found.await? {
                    let (name, arch, version) = (file.name.clone(), file.arch.clone(), file.version.clone());
                    if missing.remove(&WantedVersion { name, arch, version }) {
                        files.push(file);
                    }
                }
            }
        }
        files.sort();
        Ok(files)
    }
}

/// How the file of a unit is asked for; `None`: it is too large, or is not known by its SHA-256.
fn file_of(unit: &drydock_content::snapshot::UnitRecord, format: Format, base: &str) -> Option<UndoFile> {
    let digest: Digest = unit.digest.parse().ok()?;
    if digest.alg() != Alg::Sha256 || unit.size > UNDO_FILE_MAX_BYTES {
        return None;
    }
    // The name is for people and tools: an epoch has no place in it.
    let plain = unit.version.split_once(':').map_or(unit.version.as_str(), |(_, rest)| rest);
    let (directory, file_name) = match format {
        Format::Rpm => ("packages", format!("{}-{plain}.{}.rpm", unit.name, unit.arch)),
        Format::Deb => ("pool", format!("{}_{plain}_{}.deb", unit.name, unit.arch)),
    };
    Some(UndoFile {
        name: unit.name.clone(),
        arch: unit.arch.clone(),
        version: unit.version.clone(),
        url_path: format!("{base}{directory}/{digest}/{file_name}"),
        file_name,
        sha256: digest.hex().to_owned(),
        size: unit.size,
        local: String::new(),
    })
}

//! Notes since when versions are known: what hosts' lists of updates and new snapshots name. Both say themselves when they
//! came, so that it does not matter how long this takes. Plans are noted with the reports that bring them.

use drydock_content::snapshot::{self, SnapshotRoot, UnitQuery};
use drydock_content::{Content, ContentError, diff};
use drydock_domain::ids::SnapshotId;
use drydock_domain::inventory::UpdateSet;
use drydock_domain::patch::soak::{FORGET_AFTER_DAYS, SIGHTED_MAX, SoakVersion, is_sightable};
use drydock_domain::source::unit::{Unit, UnitChange};
use drydock_store::source_records::SnapshotRecord;
use drydock_store::{commit, seen, snapshots};
use jiff::{SignedDuration, Timestamp};

use crate::Control;
use crate::content_part::blocking;
use crate::error::Result;
use crate::ops::root_of;

/// Lists of updates read at once, count: some hundred versions each.
const LISTS_AT_ONCE: usize = 10;
/// Lists of updates read in one turn, in so many parts, count.
const PARTS_MAX: usize = 20;
/// Versions noted in one transaction, count: agents' reports wait meanwhile, some ten milliseconds.
const VERSIONS_AT_ONCE: usize = 2_000;
/// A list of updates that hosts go on reporting is noted so often, hours: its versions are not forgotten.
const AGAIN_EVERY_HOURS: i64 = 24;
/// Known versions, count: some 200 bytes each. Beyond it, what was not offered for the longest time is forgotten.
const KNOWN_MAX: usize = 500_000;

/// Notes what came since the last turn.
pub(super) async fn turn(control: &Control) -> Result<()> {
    for _ in 0..PARTS_MAX {
        if !note_updates(control).await? {
            break;
        }
    }
    note_snapshot(control).await
}

/// Notes some lists of updates; `false`: there are none.
async fn note_updates(control: &Control) -> Result<bool> {
    let now = control.now();
    let before = now.saturating_sub(SignedDuration::from_hours(AGAIN_EVERY_HOURS)).unwrap_or(now);
    let waiting = seen::updates_to_note(&mut *control.read().await?, before, LISTS_AT_ONCE).await?;
    if waiting.is_empty() {
        return Ok(false);
    }
    let (mut tx, mut noted) = (control.begin().await?, 0);
    for list in &waiting {
        // What cannot be read was stored by another version; it names nothing.
        let updates = serde_json::from_slice::<UpdateSet>(&list.body).unwrap_or_default().updates;
        let named = updates.into_iter().map(|u| (SoakVersion { name: u.name, arch: u.arch, version: u.to }, u.from.is_empty()));
        let named: Vec<(SoakVersion, bool)> = named.filter(|(v, _)| is_sightable(v)).take(SIGHTED_MAX).collect();
        for chunk in named.chunks(VERSIONS_AT_ONCE) {
            if noted + chunk.len() > VERSIONS_AT_ONCE {
                // Noted twice is noted once, so that a kill in between costs nothing.
                commit(tx).await?;
                (tx, noted) = (control.begin().await?, 0);
            }
            seen::note(&mut tx, chunk, list.created_at, now.max(list.created_at)).await?;
            noted += chunk.len();
        }
    }
    let fingerprints: Vec<String> = waiting.into_iter().map(|list| list.fingerprint).collect();
    seen::updates_noted(&mut tx, &fingerprints, now).await?;
    commit(tx).await?;
    Ok(true)
}

/// Notes the versions that one snapshot brought.
async fn note_snapshot(control: &Control) -> Result<()> {
    let Ok(part) = control.content_part() else { return Ok(()) };
    let mut c = control.read().await?;
    let Some(id) = seen::snapshot_to_note(&mut c).await? else { return Ok(()) };
    let Some(record) = snapshots::find(&mut c, id).await? else { return Ok(()) };
    let older = match record.number.checked_sub(1) {
        Some(number) => snapshots::by_number(&mut c, record.source, number).await?,
        None => None,
    };
    drop(c);
    let root = root_of(&record)?;
    let from = older.as_ref().map(root_of).transpose()?;
    let content = part.content().clone();
    let _not_while_collecting = part.collecting.read().await;
    let read = blocking("read which versions a snapshot brought", move || brought(&content, from.as_ref(), &root)).await?;
    match read {
        Ok(versions) => note_brought(control, &record, versions).await?,
        Err(error) => {
            // Hosts that are offered its packages report them.
            tracing::warn!(snapshot = %id, %error, "the versions of a snapshot cannot be read; they soak from when hosts report them");
        }
    }
    noted(control, id).await
}

async fn note_brought(control: &Control, record: &SnapshotRecord, versions: Vec<(SoakVersion, bool)>) -> Result<()> {
    let at: Timestamp = record.created_at;
    for chunk in versions.chunks(VERSIONS_AT_ONCE) {
        let mut tx = control.begin().await?;
        seen::note(&mut tx, chunk, at, at).await?;
        commit(tx).await?;
    }
    Ok(())
}

async fn noted(control: &Control, id: SnapshotId) -> Result<()> {
    let mut tx = control.begin().await?;
    seen::snapshot_noted(&mut tx, id).await?;
    Ok(commit(tx).await?)
}

/// What a snapshot has that the one before it had not; without one before, everything.
fn brought(
    content: &Content,
    from: Option<&SnapshotRoot>,
    to: &SnapshotRoot,
) -> std::result::Result<Vec<(SoakVersion, bool)>, ContentError> {
    if let Some(from) = from {
        let found = diff::diff(content.objects(), from, to, diff::CHANGES_MAX)?;
        if !found.truncated {
            let added = found.changes.into_iter().filter_map(|change| match change {
                UnitChange::Added { unit } => Some(unit),
                UnitChange::Removed { .. } | UnitChange::Changed { .. } => None,
            });
            return Ok(added.filter_map(version).collect());
        }
    }
    let mut out = Vec::new();
    let mut cursor = None;
    while out.len() < KNOWN_MAX {
        let query = UnitQuery { cursor: cursor.take(), limit: diff::PAGE_MAX_UNITS, ..UnitQuery::default() };
        let page = snapshot::units(content, to, &query)?;
        out.extend(page.units.into_iter().filter_map(version));
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    Ok(out)
}

fn version(unit: Unit) -> Option<(SoakVersion, bool)> {
    let version = SoakVersion { name: unit.name, arch: unit.arch, version: unit.version };
    is_sightable(&version).then_some((version, false))
}

/// Forgets what nothing offers any more.
pub(super) async fn forget(control: &Control) -> Result<()> {
    let now = control.now();
    let before = now.saturating_sub(SignedDuration::from_hours(FORGET_AFTER_DAYS * 24)).unwrap_or(now);
    let mut tx = control.begin().await?;
    let gone = seen::forget(&mut tx, before, KNOWN_MAX).await?;
    commit(tx).await?;
    if gone > 0 {
        tracing::info!(gone, "versions that nothing offers any more are forgotten; offered again, they soak anew");
    }
    Ok(())
}

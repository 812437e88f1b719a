//! Snapshots: listed, named, looked into, compared.

use drydock_content::ContentError;
use drydock_content::snapshot::{self, SnapshotRoot};
use drydock_domain::limits::{PAGE_DEFAULT, PAGE_MAX};
use drydock_domain::validate::Problems;
use drydock_store::compartments::Kind;
use drydock_store::records::{PageQuery, Paged};
use drydock_store::source_records::{SnapshotRecord, SourceRecord};
use drydock_store::{Connection, pointers, snapshots};

use super::describe::{Names, environment_named, short, source_named};
use super::selector::Selector;
use crate::Control;
use crate::content_part::blocking;
use crate::content_views::{DiffCounts, DiffView, SnapshotView, UnitPage, UnitQuery};
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Longest part of a name to look for, bytes.
const NAME_PART_MAX_BYTES: usize = 255;
/// Longest cursor of a list of units, bytes: a key of a snapshot's tree in hexadecimal.
const CURSOR_MAX_BYTES: usize = 4096;

impl Control {
    /// Snapshots of a source, newest first.
    pub async fn list_snapshots(&self, ctx: &OpCtx, source: &str, page: &PageQuery) -> Result<Paged<SnapshotView>> {
        self.known(ctx, "snapshot.list", Kind::Source, source).await?;
        let sight = self.sight(ctx).await?;
        let mut c = self.read().await?;
        let source = source_named(&mut c, source).await?;
        let on = pointers::of_source(&mut c, source.id).await?;
        let names = Names::read(&mut c).await?.seen_by(sight);
        Ok(snapshots::list(&mut c, source.id, page).await?.map(|s| names.snapshot(s, &on)))
    }

    /// One snapshot with its findings.
    pub async fn get_snapshot(&self, ctx: &OpCtx, source: &str, selector: &str) -> Result<SnapshotView> {
        self.known(ctx, "snapshot.show", Kind::Source, source).await?;
        self.check_selector(ctx, selector).await?;
        let sight = self.sight(ctx).await?;
        let mut c = self.read().await?;
        let source = source_named(&mut c, source).await?;
        let snapshot = select(&mut c, &source, selector).await?;
        let on = pointers::of_source(&mut c, source.id).await?;
        let findings = snapshots::findings(&mut c, snapshot.id).await?;
        let names = Names::read(&mut c).await?.seen_by(sight);
        Ok(SnapshotView { findings, ..names.snapshot(snapshot, &on) })
    }

    /// Units of a snapshot.
    pub async fn snapshot_units(&self, ctx: &OpCtx, source: &str, selector: &str, query: &UnitQuery) -> Result<UnitPage> {
        self.known(ctx, "snapshot.units", Kind::Source, source).await?;
        self.check_selector(ctx, selector).await?;
        let mut problems = Problems::default();
        problems.text("q", &query.name_contains, NAME_PART_MAX_BYTES);
        if let Some(index) = &query.index {
            problems.text("index", index, NAME_PART_MAX_BYTES);
        }
        problems.finish()?;
        if query.cursor.as_ref().is_some_and(|cursor| cursor.len() > CURSOR_MAX_BYTES) {
            return Err(Error::invalid("cursor", "is not one this server gave out; start the list again without it"));
        }
        let part = self.content_part()?;
        let mut c = self.read().await?;
        let source = source_named(&mut c, source).await?;
        let record = select(&mut c, &source, selector).await?;
        drop(c);
        let (content, root) = (part.content().clone(), root_of(&record)?);
        let wanted = snapshot::UnitQuery {
            name_contains: query.name_contains.clone(),
            index: query.index.clone(),
            cursor: query.cursor.clone(),
            limit: page_limit(query.limit),
            ..snapshot::UnitQuery::default()
        };
        let found = blocking("read the units of a snapshot", move || snapshot::units(&content, &root, &wanted)).await?;
        let found = match found {
            Err(ContentError::Refused { problem, .. }) => return Err(Error::invalid("cursor", problem)),
            other => other.map_err(unreadable)?,
        };
        Ok(UnitPage { snapshot: short(&record), units: found.units, next_cursor: found.next_cursor })
    }

    /// What differs between two snapshots of a source: how much, and the first `limit` changes.
    pub async fn snapshot_diff(&self, ctx: &OpCtx, source: &str, from: &str, to: &str, limit: Option<u32>) -> Result<DiffView> {
        self.known(ctx, "snapshot.diff", Kind::Source, source).await?;
        self.check_selector(ctx, from).await?;
        self.check_selector(ctx, to).await?;
        let mut c = self.read().await?;
        let source = source_named(&mut c, source).await?;
        let from = select(&mut c, &source, from).await?;
        let to = select(&mut c, &source, to).await?;
        drop(c);
        let found = self.diff(root_of(&from)?, root_of(&to)?, page_limit(limit)).await?;
        let (counts, truncated) = (counts(&found), found.truncated);
        Ok(DiffView { source: source.spec.name, from: short(&from), to: short(&to), counts, changes: found.changes, truncated })
    }

    /// An environment that a selector names is there only for those who may see it.
    async fn check_selector(&self, ctx: &OpCtx, selector: &str) -> Result<()> {
        match Selector::parse(selector)? {
            Selector::Environment(name) => self.known(ctx, "environment.show", Kind::Environment, &name).await,
            _ => Ok(()),
        }
    }

    /// The difference of two snapshots, cut to `limit` changes.
    pub(super) async fn diff(&self, from: SnapshotRoot, to: SnapshotRoot, limit: usize) -> Result<snapshot::SnapshotDiff> {
        let content = self.content_part()?.content().clone();
        let found = blocking("compare two snapshots", move || snapshot::diff(content.objects(), &from, &to, limit)).await?;
        found.map_err(unreadable)
    }
}

/// The snapshot of a source that a selector names.
pub(super) async fn select(c: &mut Connection, source: &SourceRecord, selector: &str) -> Result<SnapshotRecord> {
    let name = &source.spec.name;
    let none = |what: String| Error::NotFound(format!("snapshot {what} of software source {name}"));
    match Selector::parse(selector)? {
        Selector::Latest => {
            let newest = snapshots::newest(c, source.id).await?;
            newest.ok_or_else(|| Error::NotFound(format!("snapshot of software source {name} yet; sync it first")))
        }
        Selector::Number(number) => {
            let found = match u32::try_from(number) {
                Ok(number) => snapshots::by_number(c, source.id, number).await?,
                Err(_) => None,
            };
            found.ok_or_else(|| none(number.to_string()))
        }
        Selector::Id(id) => {
            let found = snapshots::find(c, id).await?.filter(|s| s.source == source.id);
            found.ok_or_else(|| none(id.to_string()))
        }
        Selector::AsOf(at) => snapshots::as_of(c, source.id, at).await?.ok_or_else(|| none(format!("as old as {at}"))),
        Selector::Environment(environment) => {
            let environment = environment_named(c, &environment).await?;
            let pointer = pointers::find(c, Some(environment.id), source.id).await?;
            let missing = || Error::NotFound(format!("promotion of software source {name} to {}", environment.spec.name));
            let snapshot = pointer.ok_or_else(missing)?.snapshot;
            snapshots::find(c, snapshot).await?.ok_or_else(|| none(snapshot.to_string()))
        }
    }
}

/// The root of a stored snapshot.
pub(crate) fn root_of(record: &SnapshotRecord) -> Result<SnapshotRoot> {
    parse_root(&record.root)
}

/// A stored root.
pub(crate) fn parse_root(root: &str) -> Result<SnapshotRoot> {
    root.parse().map_err(|e| Error::Internal { doing: "read a snapshot's root", source: Box::new(e) })
}

pub(super) fn counts(diff: &snapshot::SnapshotDiff) -> DiffCounts {
    DiffCounts { added: diff.added, removed: diff.removed, changed: diff.changed, advisories: diff.advisories }
}

fn page_limit(limit: Option<u32>) -> usize {
    usize::try_from(limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)).unwrap_or(usize::MAX)
}

fn unreadable(e: ContentError) -> Error {
    Error::Internal { doing: "read a snapshot", source: Box::new(e) }
}

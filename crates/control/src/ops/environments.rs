//! Lifecycle environments: made, listed, deleted when nobody is in them. Promotions are in [`super::promotion`].

use std::collections::BTreeMap;

use drydock_domain::access::{Permission, Scope};
use drydock_domain::ids::{EnvironmentId, SnapshotId, SourceId};
use drydock_domain::source::environment::EnvironmentSpec;
use drydock_domain::source::resolve::AttachedTo;
use drydock_store::compartments::Kind;
use drydock_store::records::{PageQuery, Paged};
use drydock_store::source_records::{EnvironmentRecord, PointerRecord};
use drydock_store::{Connection, attachments, commit, environments, pointers, profiles, snapshots};

use super::describe::{Names, Sight, environment_named, no_environment, refs, short};
use crate::Control;
use crate::content_views::{EnvironmentView, PointerMoveView, PointerView, SnapshotRef};
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Lifecycle environments of one server, count: each has a pointer for each source.
const ENVIRONMENTS_MAX: usize = 64;

impl Control {
    /// Makes a lifecycle environment. It points nowhere until something is promoted into it.
    pub async fn create_environment(&self, ctx: &OpCtx, mut spec: EnvironmentSpec) -> Result<EnvironmentView> {
        let asked = spec.compartment.take();
        let resource = format!("environment {}", spec.name);
        let (act, compartment) = self.act_in(ctx, "environment.create", asked.as_deref(), resource).await?;
        let made = async {
            spec.validate()?;
            let there = environments::list(&mut *self.read().await?).await?;
            if there.len() >= ENVIRONMENTS_MAX {
                return Err(Error::conflict(format!("there are {ENVIRONMENTS_MAX} lifecycle environments already; delete some")));
            }
            if there.iter().any(|e| e.spec.name == spec.name) {
                return Err(Error::conflict(format!("a lifecycle environment {} exists already", spec.name)));
            }
            if let Some(other) = there.iter().find(|e| e.spec.rank == spec.rank) {
                let sees = self.sight(ctx).await?.environments.holds_in(&other.compartment);
                let other = if sees { &other.spec.name } else { "another environment" };
                return Err(Error::invalid("rank", format!("{} is the rank of {other}; two never have the same", spec.rank)));
            }
            let record = EnvironmentRecord {
                id: EnvironmentId(self.mint(ctx.now)),
                spec,
                compartment,
                created_by: ctx.who.name(),
                created_at: ctx.now,
                version: 1,
            };
            let mut tx = self.begin().await?;
            match environments::insert(&mut tx, &record).await {
                Err(e) if e.is_duplicate() => return Err(Error::conflict("the name or rank was taken meanwhile; try again")),
                other => other?,
            }
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            self.environment_view(ctx, record).await
        }
        .await;
        act.settle(made).await
    }

    /// Lifecycle environments, lowest rank first.
    pub async fn list_environments(&self, ctx: &OpCtx) -> Result<Vec<EnvironmentView>> {
        let scope = self.scope(ctx, "environment.list", Permission::SourceRead).await?;
        let sight = self.sight(ctx).await?;
        let mut c = self.read().await?;
        let mut records = environments::list(&mut c).await?;
        // A handful: the ladder of ranks is read as a whole everywhere.
        records.retain(|own| scope.holds_in(&own.compartment));
        views(&mut c, records, &sight).await
    }

    /// One lifecycle environment.
    pub async fn get_environment(&self, ctx: &OpCtx, name: &str) -> Result<EnvironmentView> {
        self.known(ctx, "environment.show", Kind::Environment, name).await?;
        let record = environment_named(&mut *self.read().await?, name).await?;
        self.environment_view(ctx, record).await
    }

    /// Deletes a lifecycle environment that no instance and no group is in and no enrolment profile names.
    pub async fn delete_environment(&self, ctx: &OpCtx, name: &str) -> Result<()> {
        let act = self.act_on(ctx, "environment.delete", self.about(Kind::Environment, name).await?).await?;
        let deleted = async {
            let mut c = self.read().await?;
            let record = environment_named(&mut c, name).await?;
            if let Some(profile) = profile_into(&mut c, name).await? {
                let message = format!("the enrolment profile {profile} puts hosts into {name}; revoke it first");
                return Err(Error::conflict(message));
            }
            drop(c);
            let full = || Error::conflict(format!("instances or groups are in {name}; move them to another environment first"));
            let mut tx = self.begin().await?;
            match environments::delete(&mut tx, record.id).await {
                Ok(true) => {}
                Ok(false) => return Err(full()),
                Err(e) if e.is_referenced() => return Err(full()),
                Err(e) => return Err(e.into()),
            }
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            self.sources_moved();
            Ok(())
        }
        .await;
        act.settle(deleted).await
    }

    /// Moves of an environment's pointers, newest first.
    pub async fn environment_history(&self, ctx: &OpCtx, name: &str, page: &PageQuery) -> Result<Paged<PointerMoveView>> {
        self.known(ctx, "environment.history", Kind::Environment, name).await?;
        let sight = self.sight(ctx).await?;
        let mut c = self.read().await?;
        let record = environment_named(&mut c, name).await?;
        let page = pointers::history(&mut c, Some(record.id), None, page, &sight.sources).await?;
        let ids: Vec<SnapshotId> = page.items.iter().flat_map(|m| m.from.iter().map(|f| f.0).chain([m.to.0])).collect();
        let known = refs(&mut c, &ids).await?;
        let names = Names::read(&mut c).await?;
        Ok(page.map(|m| PointerMoveView {
            source: names.source(m.source),
            from: m.from.and_then(|(id, _)| known.get(&id).cloned()),
            to: known.get(&m.to.0).cloned(),
            at: m.at,
            who: m.who,
        }))
    }

    async fn environment_view(&self, ctx: &OpCtx, record: EnvironmentRecord) -> Result<EnvironmentView> {
        let name = record.spec.name.clone();
        let sight = self.sight(ctx).await?;
        let made = views(&mut *self.read().await?, vec![record], &sight).await?;
        made.into_iter().next().ok_or_else(|| no_environment(&name))
    }
}

/// Sources that the caller may not know of are left out.
async fn views(c: &mut Connection, records: Vec<EnvironmentRecord>, sight: &Sight) -> Result<Vec<EnvironmentView>> {
    let names = Names::read(c).await?;
    let seen = |id: SourceId| names.outline(id).is_none_or(|own| sight.sources.holds_in(&own.compartment));
    let mut by_environment: BTreeMap<EnvironmentId, Vec<PointerRecord>> = BTreeMap::new();
    for pointer in pointers::all(c).await? {
        if let Some(environment) = pointer.environment.filter(|_| seen(pointer.source)) {
            by_environment.entry(environment).or_default().push(pointer);
        }
    }
    let mut sources: Vec<SourceId> = by_environment.values().flatten().map(|p| p.source).collect();
    sources.sort_unstable();
    sources.dedup();
    let newest = snapshots::newest_of(c, &sources).await?;
    let ids: Vec<SnapshotId> = by_environment.values().flatten().map(|p| p.snapshot).collect();
    let known = refs(c, &ids).await?;
    let instances = environments::instance_counts(c, &sight.instances).await?;
    let targets: Vec<AttachedTo> = records.iter().map(|r| AttachedTo::Environment(r.id)).collect();
    let attached = attachments::of_targets(c, &targets).await?;
    let view = |record: EnvironmentRecord| {
        let pointer = |p: PointerRecord| {
            Some(PointerView {
                source: names.source(p.source),
                behind: newest.get(&p.source).is_some_and(|n| n.id != p.snapshot),
                snapshot: known.get(&p.snapshot)?.clone(),
                moved_at: p.moved_at,
                moved_by: p.moved_by,
            })
        };
        let mut pointers: Vec<PointerView> =
            by_environment.remove(&record.id).unwrap_or_default().into_iter().filter_map(pointer).collect();
        pointers.sort_by(|a, b| a.source.cmp(&b.source));
        let here = attached.iter().filter(|a| a.target == AttachedTo::Environment(record.id) && seen(a.source));
        let mut attached: Vec<String> = here.map(|a| names.source(a.source)).collect();
        attached.sort_unstable();
        EnvironmentView {
            id: record.id,
            compartment: record.compartment,
            created_at: record.created_at,
            pointers,
            attached,
            instances: instances.get(&record.id).copied().unwrap_or_default(),
            version: record.version,
            spec: record.spec,
        }
    };
    Ok(records.into_iter().map(view).collect())
}

/// The first live enrolment profile that puts hosts into this environment.
async fn profile_into(c: &mut Connection, name: &str) -> Result<Option<String>> {
    let mut page = PageQuery { cursor: None, limit: Some(drydock_domain::limits::PAGE_MAX) };
    loop {
        let found = profiles::list(c, &page, &Scope::Everywhere).await?;
        let here = found.items.into_iter().find(|p| !p.revoked && p.spec.environment.as_deref() == Some(name));
        match (here, found.next_cursor) {
            (Some(profile), _) => return Ok(Some(profile.spec.display_name)),
            (None, None) => return Ok(None),
            (None, next) => page.cursor = next,
        }
    }
}

/// A snapshot that a pointer is on, named shortly.
pub(super) async fn pointed_at(c: &mut Connection, pointer: &PointerRecord) -> Result<Option<SnapshotRef>> {
    Ok(snapshots::find(c, pointer.snapshot).await?.as_ref().map(short))
}

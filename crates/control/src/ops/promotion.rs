//! Promotion: which snapshot of each source an environment is to point at, what that means for its hosts, and the move.
//!
//! Bulk metadata is published before anything moves and can be made twice; the moves of one promotion are one
//! transaction. A pointer that somebody else moved meanwhile makes the whole promotion look again.

use std::collections::{BTreeMap, HashMap};

use drydock_content::ProgressSink;
use drydock_content::snapshot::{self, SnapshotDoc, SnapshotRoot};
use drydock_domain::access::{Permission, Scope};
use drydock_domain::ids::{EnvironmentId, InstanceId, SnapshotId, SourceId};
use drydock_domain::inventory::{PackageSet, SectionKind};
use drydock_domain::source::environment::{Candidate, Promotion, Rung, may_enter, next_below, rollback_target};
use drydock_domain::source::unit::Format;
use drydock_store::compartments::Kind;
use drydock_store::pointers::Move;
use drydock_store::source_records::{EnvironmentRecord, PointerRecord, SnapshotRecord, SourceRecord};
use drydock_store::{Connection, Tx, attachments, commit, environments, inventory, pointers, snapshots, sources};
use jiff::{SignedDuration, Timestamp};

use super::RACE_RETRIES;
use super::act::Act;
use super::describe::{environment_named, short, source_named};
use super::environments::pointed_at;
use super::preview::{Offers, Sums};
use super::snapshots::{counts, parse_root, root_of, select};
use crate::Control;
use crate::content_part::{ContentPart, blocking};
use crate::content_views::{MoveView, PromotionView};
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Earlier snapshots of a pointer whose metadata stays servable by hash besides the present one, count: a client that
/// holds an older head finds every file it names.
pub(crate) const PUBLICATIONS_KEPT: usize = 3;
/// Changes, hosts and upgrades shown of one source, count.
const SHOWN_MAX: usize = 100;
/// Changes of one source looked at for a preview, count: a whole point release of a distribution.
const PREVIEW_CHANGES_MAX: usize = 50_000;
/// Hosts of one source looked at for a preview, count.
const PREVIEW_HOSTS_MAX: u32 = 10_000;
/// Different package sets looked at for a preview, count: some 100 KB each.
const PREVIEW_SETS_MAX: usize = 1000;

/// One source's part of a promotion, decided.
struct Step {
    source: SourceRecord,
    from: Option<PointerRecord>,
    to: SnapshotRecord,
}

impl Control {
    /// Points an environment at other snapshots: those of the environment below, named ones, those of a moment, or the
    /// ones it had before. A dry run says what would change, and for which hosts.
    pub async fn promote(&self, ctx: &OpCtx, environment: &str, promotion: Promotion) -> Result<PromotionView> {
        let (operation, permission) = match (promotion.dry_run, promotion.rollback) {
            (true, _) => ("environment.preview", Permission::SourceRead),
            (false, false) => ("environment.promote", Permission::EnvironmentManage),
            (false, true) => ("environment.rollback", Permission::EnvironmentManage),
        };
        let about = self.about(Kind::Environment, environment).await?;
        let act = self.act_as(ctx, operation, permission, about).await?;
        for name in &promotion.sources {
            self.known(ctx, "source.show", Kind::Source, name).await?;
        }
        let promoted = self.promote_as(ctx, environment, &promotion, &act).await;
        act.settle(promoted).await
    }

    async fn promote_as(&self, ctx: &OpCtx, name: &str, promotion: &Promotion, act: &Act<'_>) -> Result<PromotionView> {
        let part = self.content_part()?;
        promotion.validate(ctx.now)?;
        let readable = self.readable_sources(ctx).await?;
        let hosts = self.host_scope(ctx).await?;
        for _ in 0..RACE_RETRIES {
            let mut c = self.read().await?;
            let environment = environment_named(&mut c, name).await?;
            let (steps, unchanged) = decide(&mut c, &environment, promotion, &readable).await?;
            drop(c);
            let mut view =
                PromotionView { environment: name.to_owned(), dry_run: promotion.dry_run, moves: Vec::new(), unchanged };
            if promotion.dry_run {
                for step in &steps {
                    view.moves.push(self.preview(&environment, step, &hosts).await?);
                }
                return Ok(view);
            }
            if !self.carry_out(ctx, part, &environment, &steps, act).await? {
                continue;
            }
            for step in &steps {
                view.moves.push(self.summary(&environment, step, &hosts).await?);
            }
            return Ok(view);
        }
        Err(Error::conflict(format!("the pointers of {name} are moved by others at the same time; try again")))
    }

    /// Publishes, then moves every pointer in one transaction. `false`: one of them was moved meanwhile.
    async fn carry_out(
        &self,
        ctx: &OpCtx,
        part: &ContentPart,
        environment: &EnvironmentRecord,
        steps: &[Step],
        act: &Act<'_>,
    ) -> Result<bool> {
        let _not_while_collecting = part.collecting.read().await;
        let mut ready = Vec::new();
        for step in steps {
            let root = root_of(&step.to)?;
            let published = part.publish(root, &ProgressSink::none()).await;
            let publication = published.map_err(|e| Error::Internal { doing: "publish a snapshot", source: Box::new(e) })?;
            let at = head_time(step.from.as_ref(), ctx.now);
            ready.push((step, at, head_json(part, &publication, at).await?));
        }
        let mut tx = self.begin().await?;
        for (step, at, head) in &ready {
            if !self.move_pointer(&mut tx, environment, step, head, *at, &ctx.who.name()).await? {
                return Ok(false);
            }
        }
        let sources = steps.iter().map(|s| s.source.spec.name.as_str()).collect::<Vec<_>>().join(", ");
        act.allowed_on(&mut tx, &format!("environment {} ({sources})", environment.spec.name)).await?;
        commit(tx).await?;
        self.sources_moved();
        Ok(true)
    }

    async fn move_pointer(
        &self,
        tx: &mut Tx,
        environment: &EnvironmentRecord,
        step: &Step,
        head: &str,
        at: Timestamp,
        who: &str,
    ) -> Result<bool> {
        let step = Move {
            id: self.mint(at),
            environment: Some(environment.id),
            source: step.source.id,
            from: step.from.as_ref(),
            to: step.to.id,
            to_number: step.to.number,
            head,
            at,
            who,
        };
        match pointers::move_to(tx, &step).await {
            // The snapshot was retired between the decision and now; look again.
            Err(e) if e.is_referenced() || e.is_duplicate() => Ok(false),
            other => Ok(other?),
        }
    }

    /// What was done, without a look at the hosts' packages.
    async fn summary(&self, environment: &EnvironmentRecord, step: &Step, hosts: &Scope) -> Result<MoveView> {
        let found = self.difference(step, SHOWN_MAX).await?;
        let mut c = self.read().await?;
        let seen = attachments::hosts_seeing(&mut c, environment.id, step.source.id, 1, hosts).await?;
        Ok(MoveView {
            source: step.source.spec.name.clone(),
            from: from_ref(&mut c, step).await?,
            to: short(&step.to),
            counts: counts(&found),
            changes: found.changes,
            hosts: seen.total,
            hosts_affected: 0,
            affected: Vec::new(),
            upgrades: Vec::new(),
            truncated: found.truncated,
        })
    }

    /// What would change, and which hosts would be offered newer versions.
    async fn preview(&self, environment: &EnvironmentRecord, step: &Step, hosts: &Scope) -> Result<MoveView> {
        let mut found = self.difference(step, PREVIEW_CHANGES_MAX).await?;
        let mut c = self.read().await?;
        let seen = attachments::hosts_seeing(&mut c, environment.id, step.source.id, PREVIEW_HOSTS_MAX, hosts).await?;
        let looked_at = u64::try_from(seen.first.len()).unwrap_or(u64::MAX);
        let offers = Offers::new(step.source.spec.format, &found.changes);
        let (sums, all_sets) = self.sum_up(&mut c, offers, &seen.first).await?;
        let (hosts_affected, affected, upgrades) = sums.finish(SHOWN_MAX);
        let truncated = found.truncated || looked_at < seen.total || !all_sets;
        let counts = counts(&found);
        found.changes.truncate(SHOWN_MAX);
        Ok(MoveView {
            source: step.source.spec.name.clone(),
            from: from_ref(&mut c, step).await?,
            to: short(&step.to),
            counts,
            changes: found.changes,
            hosts: seen.total,
            hosts_affected,
            affected,
            upgrades,
            truncated,
        })
    }

    /// Holds the offers against the packages of these hosts; equal package sets are read once. `false`: there were
    /// too many different ones.
    async fn sum_up(&self, c: &mut Connection, offers: Offers, hosts: &[(InstanceId, String)]) -> Result<(Sums, bool)> {
        let mut sums = Sums::default();
        if offers.is_empty() {
            return Ok((sums, true));
        }
        let offers = std::sync::Arc::new(offers);
        let mut known = HashMap::new();
        let mut complete = true;
        for (id, name) in hosts {
            let pointers = inventory::pointers(c, *id).await?;
            let Some(pointer) = pointers.into_iter().find(|p| p.kind == SectionKind::Packages) else { continue };
            if !known.contains_key(&pointer.fingerprint) {
                if known.len() >= PREVIEW_SETS_MAX {
                    complete = false;
                    continue;
                }
                let Some(body) = inventory::body(c, SectionKind::Packages, &pointer.fingerprint).await? else { continue };
                let offers = std::sync::Arc::clone(&offers);
                let found = blocking("compare a host's packages", move || {
                    serde_json::from_slice::<PackageSet>(&body).map(|set| offers.for_set(&set))
                });
                let found = found.await?;
                let found =
                    found.map_err(|e| Error::Internal { doing: "read a stored inventory section", source: Box::new(e) })?;
                known.insert(pointer.fingerprint.clone(), found);
            }
            if let Some(found) = known.get(&pointer.fingerprint) {
                sums.add(*id, name, found);
            }
        }
        Ok((sums, complete))
    }

    async fn difference(&self, step: &Step, limit: usize) -> Result<snapshot::SnapshotDiff> {
        let from = match &step.from {
            Some(pointer) => parse_root(&pointer.root)?,
            None => self.empty(step.source.spec.format).await?,
        };
        self.diff(from, root_of(&step.to)?, limit).await
    }

    /// The snapshot without anything, to compare a first promotion with.
    async fn empty(&self, format: Format) -> Result<SnapshotRoot> {
        let content = self.content_part()?.content().clone();
        let saved = blocking("compare two snapshots", move || snapshot::save(content.objects(), &SnapshotDoc::empty(format)));
        saved.await?.map_err(|e| Error::Internal { doing: "compare two snapshots", source: Box::new(e) })
    }
}

async fn from_ref(c: &mut Connection, step: &Step) -> Result<Option<crate::content_views::SnapshotRef>> {
    match &step.from {
        Some(pointer) => pointed_at(c, pointer).await,
        None => Ok(None),
    }
}

/// Which pointer moves where, and which sources are there already (by name).
async fn decide(
    c: &mut Connection,
    environment: &EnvironmentRecord,
    promotion: &Promotion,
    readable: &Scope,
) -> Result<(Vec<Step>, Vec<String>)> {
    let below = below(c, environment).await?;
    let wanted = wanted_sources(c, environment, below.as_ref(), promotion, readable).await?;
    let (mut steps, mut unchanged) = (Vec::new(), Vec::new());
    for source in wanted {
        let from = pointers::find(c, Some(environment.id), source.id).await?;
        let to = target(c, environment, below.as_ref(), &source, promotion).await?;
        if from.as_ref().is_some_and(|p| p.snapshot == to.id) {
            unchanged.push(source.spec.name);
        } else {
            steps.push(Step { source, from, to });
        }
    }
    Ok((steps, unchanged))
}

/// The environment of the next lower rank.
async fn below(c: &mut Connection, environment: &EnvironmentRecord) -> Result<Option<EnvironmentRecord>> {
    let all = environments::list(c).await?;
    let next = next_below(rung(environment), all.iter().map(rung)).map(|below| below.name.to_owned());
    Ok(next.and_then(|name| all.into_iter().find(|e| e.spec.name == name)))
}

fn rung(environment: &EnvironmentRecord) -> Rung<'_> {
    Rung { name: &environment.spec.name, rank: environment.spec.rank }
}

/// The sources of a promotion by name: those named, or every one that the caller may read and that the environment below has (for the lowest, and
/// for a rollback: that this one has).
async fn wanted_sources(
    c: &mut Connection,
    environment: &EnvironmentRecord,
    below: Option<&EnvironmentRecord>,
    promotion: &Promotion,
    readable: &Scope,
) -> Result<Vec<SourceRecord>> {
    let mut wanted = BTreeMap::new();
    for name in &promotion.sources {
        wanted.insert(name.clone(), source_named(c, name).await?);
    }
    if wanted.is_empty() {
        let of = below.filter(|_| !promotion.rollback).unwrap_or(environment);
        let ids: Vec<_> = pointers::of_view(c, Some(of.id)).await?.into_iter().map(|p| p.source).collect();
        let all = sources::find_all(c, &ids).await?.into_iter();
        for source in all.filter(|own| readable.holds_in(&own.compartment)) {
            wanted.insert(source.spec.name.clone(), source);
        }
        if wanted.is_empty() {
            let message = format!("nothing was ever promoted to {}; name the sources to promote", of.spec.name);
            return Err(Error::conflict(message));
        }
    }
    Ok(wanted.into_values().collect())
}

/// Where the pointer of one source is to go.
async fn target(
    c: &mut Connection,
    environment: &EnvironmentRecord,
    below: Option<&EnvironmentRecord>,
    source: &SourceRecord,
    promotion: &Promotion,
) -> Result<SnapshotRecord> {
    if promotion.rollback {
        return before(c, environment, source).await;
    }
    let chosen = if let Some(id) = promotion.snapshot {
        select(c, source, &id.to_string()).await?
    } else if let Some(at) = promotion.as_of {
        select(c, source, &format!("as-of:{at}")).await?
    } else {
        match below.filter(|_| !promotion.skip_rank) {
            Some(below) => select(c, source, &below.spec.name).await?,
            None => select(c, source, "latest").await?,
        }
    };
    let seen = match below {
        Some(below) => Some((below.spec.name.as_str(), pointers::seen(c, Some(below.id), source.id).await?)),
        None => None,
    };
    let candidate = Candidate { source_name: &source.spec.name, snapshot: chosen.id, number: chosen.number };
    may_enter(candidate, &environment.spec.name, seen.as_ref().map(|(name, seen)| (*name, seen)), promotion.skip_rank)
        .map_err(|refused| Error::conflict(refused.to_string()))?;
    Ok(chosen)
}

/// The snapshot the environment had before the present one.
async fn before(c: &mut Connection, environment: &EnvironmentRecord, source: &SourceRecord) -> Result<SnapshotRecord> {
    let (name, here) = (&source.spec.name, &environment.spec.name);
    let Some(target) = rollback_leads_to(c, environment.id, source.id).await? else {
        let message = format!("{here} never had another snapshot of {name}; there is nothing to go back to");
        return Err(Error::conflict(message));
    };
    let found = snapshots::find(c, target).await?;
    found.ok_or_else(|| Error::conflict(format!("the snapshot of {name} that {here} had before is gone; promote another one")))
}

/// Where a rollback of an environment leads, as its history says.
pub(crate) async fn rollback_leads_to(
    c: &mut Connection,
    environment: EnvironmentId,
    source: SourceId,
) -> Result<Option<SnapshotId>> {
    let moves = pointers::moves(c, Some(environment), source).await?;
    let moves: Vec<(Option<SnapshotId>, SnapshotId)> = moves.iter().map(|m| (m.from.map(|f| f.0), m.to.0)).collect();
    Ok(rollback_target(&moves))
}

/// The time of a new head: whole seconds, later than the head before. apt compares seconds and refuses an older one,
/// also when the server's clock went back.
pub(crate) fn head_time(from: Option<&PointerRecord>, now: Timestamp) -> Timestamp {
    let second = |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at);
    let next = from.map(|p| second(p.moved_at).saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX));
    next.map_or_else(|| second(now), |next| next.max(second(now)))
}

/// A signed head as it is stored.
pub(crate) async fn head_json(part: &ContentPart, publication: &drydock_content::Publication, at: Timestamp) -> Result<String> {
    let head = part.head(publication, at).await?;
    serde_json::to_string(&head).map_err(|e| Error::Internal { doing: "write the head of a repository", source: Box::new(e) })
}

/// Snapshots whose metadata a view serves: the present one and those of the pointer's last moves, as far as they exist.
pub(crate) async fn served(c: &mut Connection, pointer: &PointerRecord) -> Result<Vec<SnapshotRecord>> {
    let moves = pointers::moves(c, pointer.environment, pointer.source).await?;
    let mut ids = vec![pointer.snapshot];
    for step in moves.iter().rev().take(PUBLICATIONS_KEPT) {
        ids.push(step.to.0);
        ids.extend(step.from.map(|(id, _)| id));
    }
    ids.sort_unstable();
    ids.dedup();
    let mut found: Vec<SnapshotRecord> = snapshots::find_all(c, &ids).await?.into_values().collect();
    // The present one first: most requests are for its files.
    found.sort_by_key(|s| s.id != pointer.snapshot);
    Ok(found)
}

/// Their roots, each once.
pub(crate) async fn served_roots(c: &mut Connection, pointer: &PointerRecord) -> Result<Vec<String>> {
    let mut roots: Vec<String> = Vec::new();
    for snapshot in served(c, pointer).await? {
        if !roots.contains(&snapshot.root) {
            roots.push(snapshot.root);
        }
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn heads_never_have_the_same_second_twice_and_never_go_back() {
        let at = |ms| Timestamp::from_millisecond(ms).expect("in range");
        let pointer = |ms| PointerRecord {
            environment: None,
            source: drydock_domain::ids::SourceId(Uuid::from_u128(1)),
            snapshot: SnapshotId(Uuid::from_u128(1)),
            number: 1,
            root: String::new(),
            moved_at: at(ms),
            moved_by: String::new(),
            version: 1,
        };
        assert_eq!(head_time(None, at(5_700)), at(5_000));
        assert_eq!(head_time(Some(&pointer(5_000)), at(5_900)), at(6_000));
        assert_eq!(head_time(Some(&pointer(9_000)), at(5_900)), at(10_000), "the clock went back");
        assert_eq!(head_time(Some(&pointer(5_000)), at(60_100)), at(60_000));
    }
}

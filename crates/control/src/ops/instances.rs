//! Managed instances as people see and change them.

use std::collections::{BTreeMap, HashSet};

use drydock_domain::access::scope::is_below;
use drydock_domain::access::{Permission, Scope};
use drydock_domain::advisory::report::UpdatesFrom;
use drydock_domain::ids::InstanceId;
use drydock_domain::instance::{InstanceState, check_labels};
use drydock_domain::inventory::{Health, PackageSet, SectionKind, UpdateSet};
use drydock_domain::limits::{DESCRIPTION_MAX_BYTES, LABELS_MAX};
use drydock_domain::validate::Problems;
use drydock_store::compartments::{self, Kind, Lying};
use drydock_store::records::{HistoryRecord, InstanceQuery, InstanceRecord, PageQuery, Paged, SectionRecord, TaskRecord};
use drydock_store::{Tx, commit, groups, history, instances, inventory, patch_tasks};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::RACE_RETRIES;
use super::act::{About, Act};
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::views::{InstanceEdit, InstanceView, PackagesView, UpdatesView};

/// Longest zone, bytes.
const ZONE_MAX_BYTES: usize = 63;

/// Longest part of a name to look for, bytes: longer than any name.
pub(super) const NAME_PART_MAX_BYTES: usize = 255;

/// A change of state by a person.
struct Transition {
    operation: &'static str,
    from: InstanceState,
    to: InstanceState,
    /// History entry it leaves.
    kind: &'static str,
    reason: String,
}

impl Control {
    /// Instances by name.
    pub async fn list_instances(&self, ctx: &OpCtx, query: &InstanceQuery) -> Result<Paged<InstanceView>> {
        let scope = self.scope(ctx, "instance.list", Permission::InstanceRead).await?;
        let mut problems = Problems::default();
        problems.count("label", query.labels.len(), LABELS_MAX);
        problems.text("q", &query.name_contains, NAME_PART_MAX_BYTES);
        problems.finish()?;
        let scope = self.narrowed(scope, query.compartment.as_deref()).await?;
        let page = instances::list(&mut *self.read().await?, query, &scope).await?;
        let places = self.places().await?;
        Ok(page.map(|record| self.view(record, &places, ctx.now)))
    }

    /// One instance, by id or name.
    pub async fn get_instance(&self, ctx: &OpCtx, id_or_name: &str) -> Result<InstanceView> {
        let record = self.seen_instance(ctx, "instance.show", id_or_name).await?;
        self.viewed(record, ctx.now).await
    }

    /// Replaces labels or zone. `if_match`: the etag the caller read, or `*`.
    pub async fn edit_instance(
        &self,
        ctx: &OpCtx,
        id_or_name: &str,
        edit: InstanceEdit,
        if_match: Option<&str>,
    ) -> Result<InstanceView> {
        let (act, found) = self.instance(ctx, "instance.edit", id_or_name).await?;
        let edited = async {
            let mut problems = Problems::default();
            if let Some(labels) = &edit.labels {
                check_labels("labels", labels, &mut problems);
            }
            if let Some(zone) = &edit.zone {
                problems.text("zone", zone, ZONE_MAX_BYTES);
            }
            problems.finish()?;
            for _ in 0..RACE_RETRIES {
                let record = self.still_there(&found, id_or_name).await?;
                let wanted = if_match.filter(|tag| *tag != "*");
                if wanted.is_some_and(|tag| tag != record.version.to_string()) {
                    return Err(stale(&record));
                }
                let labels = edit.labels.as_ref().unwrap_or(&record.labels);
                let zone = edit.zone.as_deref().unwrap_or(&record.zone);
                let mut tx = self.begin().await?;
                if instances::edit(&mut tx, record.id, instances::Edit { labels, zone }, record.version).await? {
                    act.allowed(&mut tx).await?;
                    commit(tx).await?;
                    self.policy_host_changed(record.id);
                    return self.viewed(self.resolve(&record.id.to_string()).await?, ctx.now).await;
                }
            }
            Err(busy(id_or_name))
        }
        .await;
        act.settle(edited).await
    }

    /// Lets a pending instance in.
    pub async fn accept_instance(&self, ctx: &OpCtx, id_or_name: &str) -> Result<InstanceView> {
        let transition = Transition {
            operation: "instance.accept",
            from: InstanceState::Pending,
            to: InstanceState::Active,
            kind: "accepted",
            reason: String::new(),
        };
        let view = self.transition(ctx, id_or_name, transition).await?;
        self.host_changed(view.record.id).await;
        Ok(view)
    }

    /// Refuses a pending instance; the reason is told on the host.
    pub async fn reject_instance(&self, ctx: &OpCtx, id_or_name: &str, reason: &str) -> Result<InstanceView> {
        let transition = Transition {
            operation: "instance.reject",
            from: InstanceState::Pending,
            to: InstanceState::Rejected,
            kind: "rejected",
            reason: reason.to_owned(),
        };
        self.transition(ctx, id_or_name, transition).await
    }

    /// Takes an active instance's right to speak to the server, at once.
    pub async fn revoke_instance(&self, ctx: &OpCtx, id_or_name: &str) -> Result<InstanceView> {
        let transition = Transition {
            operation: "instance.revoke",
            from: InstanceState::Active,
            to: InstanceState::Revoked,
            kind: "revoked",
            reason: String::new(),
        };
        let view = self.transition(ctx, id_or_name, transition).await?;
        self.left(view.record.id);
        Ok(view)
    }

    /// Deletes an instance with its inventory and history; its patch tasks stay with their jobs.
    pub async fn delete_instance(&self, ctx: &OpCtx, id_or_name: &str) -> Result<()> {
        let (act, record) = self.instance(ctx, "instance.delete", id_or_name).await?;
        let deleted = async {
            let mut tx = self.begin().await?;
            instances::delete(&mut tx, record.id).await?;
            act.allowed_on(&mut tx, &format!("instance {} ({})", record.id, record.name)).await?;
            commit(tx).await?;
            Ok(record.id)
        }
        .await;
        let id = act.settle(deleted).await?;
        self.left(id);
        Ok(())
    }

    /// Installed packages whose name holds `name_contains`.
    pub async fn instance_packages(&self, ctx: &OpCtx, id_or_name: &str, name_contains: &str) -> Result<PackagesView> {
        let record = self.seen_instance(ctx, "instance.packages", id_or_name).await?;
        let section = inventory::section(&mut *self.read().await?, record.id, SectionKind::Packages).await?;
        let section = section.ok_or_else(|| Error::NotFound(format!("inventory of {} yet", record.name)))?;
        let set: PackageSet = body(&section)?;
        let wanted = set.as_slice().iter().filter(|p| p.name.contains(name_contains));
        Ok(PackagesView { packages: wanted.cloned().collect(), fingerprint: section.fingerprint, changed_at: section.changed_at })
    }

    /// Available updates, and what the host says of its health.
    pub async fn instance_updates(&self, ctx: &OpCtx, id_or_name: &str) -> Result<UpdatesView> {
        let record = self.seen_instance(ctx, "instance.updates", id_or_name).await?;
        let mut c = self.read().await?;
        let updates = inventory::section(&mut c, record.id, SectionKind::Updates).await?;
        let updates = updates.ok_or_else(|| Error::NotFound(format!("inventory of {} yet", record.name)))?;
        let health = inventory::section(&mut c, record.id, SectionKind::Health).await?;
        let set: UpdateSet = body(&updates)?;
        let (list, answered_by, snapshots) = match self.server_updates(record.id).await {
            Some(answer) => (answer.updates, UpdatesFrom::Server, answer.snapshots),
            None => (set.updates, UpdatesFrom::Host, BTreeMap::new()),
        };
        Ok(UpdatesView {
            changed_at: updates.changed_at,
            updates: list,
            answered_by,
            snapshots,
            findings: set.findings,
            health: health.as_ref().map(body::<Health>).transpose()?.unwrap_or_default(),
            managers: record.os.map(|os| os.managers).unwrap_or_default(),
        })
    }

    /// What happened to an instance, newest first.
    pub async fn instance_history(&self, ctx: &OpCtx, id_or_name: &str, page: &PageQuery) -> Result<Paged<HistoryRecord>> {
        let record = self.seen_instance(ctx, "instance.history", id_or_name).await?;
        Ok(history::list(&mut *self.read().await?, record.id, page).await?)
    }

    /// Patch tasks of an instance, newest first; of those of jobs elsewhere only what may be seen there.
    pub async fn instance_tasks(&self, ctx: &OpCtx, id_or_name: &str, page: &PageQuery) -> Result<Paged<TaskRecord>> {
        let scope = self.scope_of(&ctx.who, "instance.tasks", Some(Permission::PatchRead), ctx.now).await?;
        let record = match scope.is_nowhere() {
            true => self.seen_instance(ctx, "instance.tasks", id_or_name).await?,
            false => self.seen_instance(ctx, "instance.show", id_or_name).await?,
        };
        Ok(patch_tasks::of_instance(&mut *self.read().await?, record.id, page, &scope).await?)
    }

    /// Puts an instance into another compartment, where other statements hold. One in a group stays where its group reaches.
    pub async fn move_instance(&self, ctx: &OpCtx, id_or_name: &str, compartment: &str) -> Result<InstanceView> {
        let (act, found) = self.instance(ctx, "instance.move", id_or_name).await?;
        let moved = async {
            let to = self.destination(ctx, "instance.move", compartment).await?;
            for _ in 0..RACE_RETRIES {
                let record = self.still_there(&found, id_or_name).await?;
                let mut tx = self.begin().await?;
                if !instances::set_compartment(&mut tx, record.id, &to, record.version).await? {
                    continue;
                }
                // Read behind the lock on the row: whoever puts it into a group comes before or after all of this.
                let group = match record.group {
                    None => None,
                    Some(id) => groups::find(&mut tx, id).await?.filter(|group| !is_below(&to, &group.compartment)),
                };
                if let Some(group) = group {
                    return Err(Error::conflict(format!(
                        "instance {} is in the group {}, which reaches hosts in {} and below; take it out first \
                         (drydock group remove {} {})",
                        record.name, group.name, group.compartment, group.name, record.name
                    )));
                }
                let message = format!("moved from {} to {to} by {}", record.compartment, ctx.who.name());
                self.note(&mut tx, record.id, "moved", message, ctx.now).await?;
                act.allowed_on(&mut tx, &format!("instance {}, from {} to {to}", record.name, record.compartment)).await?;
                commit(tx).await?;
                return Ok(record.id);
            }
            Err(busy(id_or_name))
        }
        .await;
        let id = act.settle(moved).await?;
        // Calendars, policies and exceptions that reach it are others now.
        self.calendar_part().forget();
        self.policy_host_changed(id);
        self.host_changed(id).await;
        self.viewed(self.resolve(&id.to_string()).await?, ctx.now).await
    }

    async fn transition(&self, ctx: &OpCtx, id_or_name: &str, t: Transition) -> Result<InstanceView> {
        let (act, found) = self.instance(ctx, t.operation, id_or_name).await?;
        let moved = async {
            let mut problems = Problems::default();
            problems.text("reason", &t.reason, DESCRIPTION_MAX_BYTES);
            problems.finish()?;
            for _ in 0..RACE_RETRIES {
                let record = self.still_there(&found, id_or_name).await?;
                if record.state != t.from {
                    let (is, must) = (record.state.as_str(), t.from.as_str());
                    return Err(Error::conflict(format!(
                        "instance {} is {is}; only a {must} one can be {}",
                        record.name, t.kind
                    )));
                }
                let mut tx = self.begin().await?;
                if instances::set_state(&mut tx, record.id, t.to, &t.reason, record.version).await? {
                    let message = if t.reason.is_empty() {
                        format!("{} by {}", t.kind, ctx.who.name())
                    } else {
                        format!("{} by {}: {}", t.kind, ctx.who.name(), t.reason)
                    };
                    self.note(&mut tx, record.id, t.kind, message, ctx.now).await?;
                    act.allowed(&mut tx).await?;
                    commit(tx).await?;
                    return self.viewed(self.resolve(&record.id.to_string()).await?, ctx.now).await;
                }
            }
            Err(busy(id_or_name))
        }
        .await;
        act.settle(moved).await
    }

    /// An instance that the caller may do an operation on, by id or name.
    pub(super) async fn instance<'a>(
        &'a self,
        ctx: &'a OpCtx,
        operation: &'static str,
        id_or_name: &str,
    ) -> Result<(Act<'a>, InstanceRecord)> {
        let (about, found) = self.looked_up(id_or_name).await?;
        let act = self.act_on(ctx, operation, about).await?;
        Ok((act, found.ok_or_else(|| no_instance(id_or_name))?))
    }

    /// An instance that the caller may read something of, by id or name.
    pub(super) async fn seen_instance(&self, ctx: &OpCtx, operation: &'static str, id_or_name: &str) -> Result<InstanceRecord> {
        let (about, found) = self.looked_up(id_or_name).await?;
        self.may_see(ctx, operation, about).await?;
        found.ok_or_else(|| no_instance(id_or_name))
    }

    /// An instance by id or name, before anything is decided: nothing of it may be told yet.
    pub(super) async fn looked_up(&self, id_or_name: &str) -> Result<(About, Option<InstanceRecord>)> {
        match self.resolve(id_or_name).await {
            Ok(record) => Ok((about_instance(&record).asked(id_or_name), Some(record))),
            Err(Error::NotFound(_)) => Ok((About::missing(Kind::Instance, id_or_name), None)),
            Err(other) => Err(other),
        }
    }

    /// An instance as it is now. What was decided where it lay before does not hold when it was moved meanwhile.
    pub(super) async fn still_there(&self, found: &InstanceRecord, asked: &str) -> Result<InstanceRecord> {
        let now = self.resolve(&found.id.to_string()).await.map_err(|_| no_instance(asked))?;
        if now.compartment == found.compartment { Ok(now) } else { Err(busy(asked)) }
    }

    /// Refuses what a request names and its caller may not see, as what is not there is refused.
    pub(super) async fn known(&self, ctx: &OpCtx, operation: &'static str, kind: Kind, name: &str) -> Result<()> {
        self.act_on(ctx, operation, self.about(kind, name).await?).await.map(drop)
    }

    /// The compartment somebody wants to move something to: whoever may not do that there and may not know of it is told that
    /// it is not there.
    pub(super) async fn destination(&self, ctx: &OpCtx, operation: &'static str, compartment: &str) -> Result<String> {
        let path = self.compartment_path(compartment).await?;
        let about = About::within(&path, format!("compartment {path}"));
        match self.act_on(ctx, operation, about).await {
            Ok(_) => Ok(path),
            Err(Error::Forbidden(why)) if self.host_scope(ctx).await?.holds_in(&path) => Err(Error::Forbidden(why)),
            Err(Error::Forbidden(_)) => Err(no_compartment(compartment)),
            Err(other) => Err(other),
        }
    }

    /// What is left of a scope in the compartment that a list asks for, and below. One of which the caller may see nothing is
    /// not there.
    pub(super) async fn narrowed(&self, scope: Scope, compartment: Option<&str>) -> Result<Scope> {
        let Some(written) = compartment else { return Ok(scope) };
        let path = self.compartment_path(written).await?;
        let left = scope.below(&path, self.access().await?.paths());
        if left.is_nowhere() { Err(no_compartment(written)) } else { Ok(left) }
    }

    /// Where the caller may know which hosts there are; maybe nowhere.
    pub(super) async fn host_scope(&self, ctx: &OpCtx) -> Result<Scope> {
        self.scope_of(&ctx.who, "instance.list", Some(Permission::InstanceRead), ctx.now).await
    }

    /// Where the caller may do an operation that is about hosts, and know that they are there. Whoever may nowhere is refused.
    pub(super) async fn scope_of_hosts(&self, ctx: &OpCtx, operation: &'static str, permission: Permission) -> Result<Scope> {
        let scope = self.scope(ctx, operation, permission).await?;
        Ok(scope.and(self.host_scope(ctx).await?))
    }

    /// The hosts in a scope; `None`: all of them.
    pub(super) async fn host_mask(&self, scope: &Scope) -> Result<Option<HashSet<InstanceId>>> {
        match scope {
            Scope::Everywhere => Ok(None),
            some => Ok(Some(compartments::instances_within(&mut *self.read().await?, some).await?.into_iter().collect())),
        }
    }

    /// Adds a history entry without packages.
    pub(crate) async fn note(&self, tx: &mut Tx, id: InstanceId, kind: &str, message: String, now: Timestamp) -> Result<()> {
        let entry = HistoryRecord { at: now, kind: kind.to_owned(), message, changes: Vec::new(), changes_total: 0, task: None };
        Ok(history::insert(tx, self.mint(now), id, &entry).await?)
    }

    /// An instance by id or name. Names of hosts may look like ids; ids win.
    pub(crate) async fn resolve(&self, id_or_name: &str) -> Result<InstanceRecord> {
        let mut c = self.read().await?;
        if let Ok(id) = id_or_name.parse::<InstanceId>()
            && let Some(record) = instances::find(&mut c, id).await?
        {
            return Ok(record);
        }
        let found = instances::find_by_name(&mut c, id_or_name).await?;
        found.ok_or_else(|| no_instance(id_or_name))
    }
}

/// An instance as decisions see it.
pub(super) fn about_instance(record: &InstanceRecord) -> About {
    let (id, name, compartment) = (record.id.to_string(), record.name.clone(), record.compartment.clone());
    About::one(Kind::Instance, &Lying { id, name, compartment }).labelled(&record.labels)
}

fn no_instance(asked: &str) -> Error {
    Error::NotFound(format!("instance {}", super::act::cut(asked, 255)))
}

fn no_compartment(written: &str) -> Error {
    Error::NotFound(format!("compartment {}", super::act::cut(written, 255)))
}

fn body<T: DeserializeOwned>(section: &SectionRecord) -> Result<T> {
    serde_json::from_slice(&section.body)
        .map_err(|e| Error::Internal { doing: "read a stored inventory section", source: Box::new(e) })
}

fn stale(record: &InstanceRecord) -> Error {
    let message = format!("instance {} was changed meanwhile; read it again, then edit", record.name);
    Error::Conflict { message, stale: true }
}

fn busy(id_or_name: &str) -> Error {
    Error::conflict(format!("instance {id_or_name} is changed by others at the same time; try again"))
}

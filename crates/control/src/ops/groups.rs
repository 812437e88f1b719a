//! Managed instance groups: made, edited, filled with hosts of one kind, deleted when empty. What is attached to them is in
//! [`super::attachments`].

use drydock_domain::access::scope::is_below;
use drydock_domain::access::{Permission, Scope};
use drydock_domain::group::{GroupSpec, OsFamily};
use drydock_domain::ids::{EnvironmentId, GroupId, InstanceId};
use drydock_domain::instance::InstanceState;
use drydock_domain::source::resolve::AttachedTo;
use drydock_domain::validate::Problems;
use drydock_store::compartments::Kind;
use drydock_store::records::{InstanceRecord, PageQuery, Paged};
use drydock_store::source_records::{GroupMemberRecord, GroupRecord};
use drydock_store::{Connection, Tx, attachments, commit, groups, instances};

use super::RACE_RETRIES;
use super::act::Act;
use super::describe::{Names, environment_named, group_named, no_group};
use crate::Control;
use crate::content_views::{GroupEdit, GroupMemberView, GroupView};
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Groups of one server, count: lists of them are not paged.
const GROUPS_MAX: usize = 1000;
/// Members added and removed at once, count: they are locked together.
pub(super) const MEMBERS_AT_ONCE_MAX: usize = 1000;
/// Documents made at once when members change, count; of more hosts the reconciler makes them within seconds.
const DOCUMENTS_AT_ONCE_MAX: usize = 16;

impl Control {
    /// Makes a group. It is empty; its first member says what the others have to be.
    pub async fn create_group(&self, ctx: &OpCtx, spec: GroupSpec) -> Result<GroupView> {
        let resource = format!("group {}", spec.name);
        let asked = spec.compartment.as_deref();
        let (act, compartment) = self.act_in(ctx, "group.create", asked, resource).await?;
        let made = async {
            spec.validate()?;
            if let Some(name) = &spec.environment {
                self.known(ctx, "environment.show", Kind::Environment, name).await?;
            }
            let mut c = self.read().await?;
            let there = groups::list(&mut c).await?;
            if there.len() >= GROUPS_MAX {
                return Err(Error::conflict(format!("there are {GROUPS_MAX} groups already; delete some")));
            }
            let taken = || Error::conflict(format!("a group {} exists already", spec.name));
            if there.iter().any(|g| g.name == spec.name) {
                return Err(taken());
            }
            let environment = place(&mut c, spec.environment.as_deref()).await?;
            drop(c);
            let record = GroupRecord {
                id: GroupId(self.mint(ctx.now)),
                name: spec.name.clone(),
                description: spec.description.clone(),
                environment,
                compartment,
                family: None,
                created_by: ctx.who.name(),
                created_at: ctx.now,
                version: 1,
            };
            let mut tx = self.begin().await?;
            match groups::insert(&mut tx, &record).await {
                Err(e) if e.is_duplicate() => return Err(taken()),
                Err(e) if e.is_referenced() => return Err(environment_gone()),
                other => other?,
            }
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            self.group_view(ctx, record).await
        }
        .await;
        act.settle(made).await
    }

    /// Groups by name.
    pub async fn list_groups(&self, ctx: &OpCtx) -> Result<Vec<GroupView>> {
        let scope = self.scope(ctx, "group.list", Permission::InstanceRead).await?;
        let hosts = self.host_scope(ctx).await?;
        let mut c = self.read().await?;
        let records = groups::within(&mut c, &scope).await?;
        views(&mut c, records, &hosts).await
    }

    /// One group.
    pub async fn get_group(&self, ctx: &OpCtx, name: &str) -> Result<GroupView> {
        self.may_see(ctx, "group.show", self.about(Kind::Group, name).await?).await?;
        let record = group_named(&mut *self.read().await?, name).await?;
        self.group_view(ctx, record).await
    }

    /// Members of a group by name.
    pub async fn group_members(&self, ctx: &OpCtx, name: &str, page: &PageQuery) -> Result<Paged<GroupMemberView>> {
        self.may_see(ctx, "group.members", self.about(Kind::Group, name).await?).await?;
        let hosts = self.host_scope(ctx).await?;
        let mut c = self.read().await?;
        let group = group_named(&mut c, name).await?;
        let members = groups::members(&mut c, group.id, page, &hosts).await?;
        Ok(members.map(|member| member_view(member, group.family.as_ref())))
    }

    /// Edits description and environment; what is absent stays.
    pub async fn edit_group(&self, ctx: &OpCtx, name: &str, edit: &GroupEdit) -> Result<GroupView> {
        let act = self.act_on(ctx, "group.edit", self.about(Kind::Group, name).await?).await?;
        let edited = self.try_edit_group(ctx, name, edit, &act).await;
        let view = act.settle(edited).await?;
        self.sources_moved();
        Ok(view)
    }

    async fn try_edit_group(&self, ctx: &OpCtx, name: &str, edit: &GroupEdit, act: &Act<'_>) -> Result<GroupView> {
        if let Some(wanted) = edit.environment.as_deref().filter(|wanted| !wanted.is_empty()) {
            self.known(ctx, "environment.show", Kind::Environment, wanted).await?;
        }
        for _ in 0..RACE_RETRIES {
            let mut c = self.read().await?;
            let group = group_named(&mut c, name).await?;
            let environment = match edit.environment.as_deref() {
                None => group.environment,
                Some("") => None,
                Some(wanted) => place(&mut c, Some(wanted)).await?,
            };
            drop(c);
            let description = edit.description.clone().unwrap_or_else(|| group.description.clone());
            let mut problems = Problems::default();
            problems.text("description", &description, drydock_domain::limits::DESCRIPTION_MAX_BYTES);
            problems.finish()?;
            let mut tx = self.begin().await?;
            match groups::edit(&mut tx, group.id, &description, environment, group.version).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(e) if e.is_referenced() => return Err(environment_gone()),
                Err(e) => return Err(e.into()),
            }
            match edit.environment.as_deref() {
                None => act.allowed(&mut tx).await?,
                Some("") => act.allowed_on(&mut tx, &format!("group {name}, environment none")).await?,
                Some(wanted) => act.allowed_on(&mut tx, &format!("group {name}, environment {wanted}")).await?,
            }
            commit(tx).await?;
            return self.group_view(ctx, GroupRecord { description, environment, ..group }).await;
        }
        Err(busy(name))
    }

    /// Deletes an empty group with what is attached to it.
    pub async fn delete_group(&self, ctx: &OpCtx, name: &str) -> Result<()> {
        let act = self.act_on(ctx, "group.delete", self.about(Kind::Group, name).await?).await?;
        let deleted = async {
            let group = group_named(&mut *self.read().await?, name).await?;
            let full = || {
                Error::conflict(format!("instances are in the group {name}; take them out first (drydock group remove {name} …)"))
            };
            let mut tx = self.begin().await?;
            match groups::delete(&mut tx, group.id).await {
                Ok(true) => {}
                Ok(false) if groups::find(&mut tx, group.id).await?.is_none() => return Err(no_group(name)),
                Ok(false) => return Err(full()),
                Err(e) if e.is_referenced() => return Err(full()),
                Err(e) => return Err(e.into()),
            }
            act.allowed(&mut tx).await?;
            Ok(commit(tx).await?)
        }
        .await;
        act.settle(deleted).await
    }

    /// Puts instances (by id or name) into a group. Refused when one is in another group, has no inventory yet, or is of
    /// another kind than the members.
    pub async fn add_members(&self, ctx: &OpCtx, name: &str, members: &[String]) -> Result<GroupView> {
        self.change_members(ctx, name, members, &[]).await
    }

    /// Takes instances (by id or name) out of a group.
    pub async fn remove_members(&self, ctx: &OpCtx, name: &str, members: &[String]) -> Result<GroupView> {
        self.change_members(ctx, name, &[], members).await
    }

    /// Takes instances out of a group and puts others in, all or nothing.
    pub async fn change_members(&self, ctx: &OpCtx, name: &str, add: &[String], remove: &[String]) -> Result<GroupView> {
        let about = self.about(Kind::Group, name).await?;
        let act = self.act_as(ctx, "group.members", Permission::InstanceManage, about).await?;
        let changed = self.try_members(ctx, name, add, remove, &act).await;
        let changed = act.settle(changed).await?;
        if changed.len() <= DOCUMENTS_AT_ONCE_MAX {
            for instance in changed {
                self.host_changed(instance).await;
            }
        } else {
            self.sources_moved();
        }
        let record = group_named(&mut *self.read().await?, name).await?;
        self.group_view(ctx, record).await
    }

    async fn try_members(
        &self,
        ctx: &OpCtx,
        name: &str,
        add: &[String],
        remove: &[String],
        act: &Act<'_>,
    ) -> Result<Vec<InstanceId>> {
        let count = add.len() + remove.len();
        if count == 0 || count > MEMBERS_AT_ONCE_MAX {
            return Err(Error::invalid("add", format!("names {count} instances; 1 to {MEMBERS_AT_ONCE_MAX} at once")));
        }
        for _ in 0..RACE_RETRIES {
            let found = group_named(&mut *self.read().await?, name).await?;
            let leaving = self.resolve_all(ctx, remove).await?;
            let joining = self.resolve_all(ctx, add).await?;
            let mut tx = self.begin().await?;
            let Some(group) = groups::hold(&mut tx, found.id).await? else { return Err(no_group(name)) };
            for host in &leaving {
                if !groups::leave(&mut tx, group.id, host.id).await? {
                    return Err(Error::conflict(format!("instance {} is not in the group {name}", host.name)));
                }
            }
            if !join(&mut tx, &group, &joining).await? {
                continue;
            }
            let mut what = format!("group {name}");
            for (verb, hosts) in [("remove", &leaving), ("add", &joining)] {
                if !hosts.is_empty() {
                    let names: Vec<&str> = hosts.iter().map(|h| h.name.as_str()).collect();
                    what = format!("{what}, {verb} {}", names.join(", "));
                }
            }
            act.allowed_on(&mut tx, &what).await?;
            commit(tx).await?;
            return Ok(leaving.iter().chain(&joining).map(|h| h.id).collect());
        }
        Err(busy(name))
    }

    /// Hosts that somebody puts into a group or takes out of it: it has to be theirs to edit.
    async fn resolve_all(&self, ctx: &OpCtx, hosts: &[String]) -> Result<Vec<InstanceRecord>> {
        let mut found: Vec<InstanceRecord> = Vec::with_capacity(hosts.len());
        for host in hosts {
            let (_, record) = self.instance(ctx, "instance.edit", host).await?;
            if !found.iter().any(|f| f.id == record.id) {
                found.push(record);
            }
        }
        Ok(found)
    }

    /// Puts a group into another compartment. Refused while it has members that do not lie there or below.
    pub async fn move_group(&self, ctx: &OpCtx, name: &str, compartment: &str) -> Result<GroupView> {
        let act = self.act_on(ctx, "group.move", self.about(Kind::Group, name).await?).await?;
        let moved = async {
            let to = self.destination(ctx, "group.move", compartment).await?;
            let found = group_named(&mut *self.read().await?, name).await?;
            let mut tx = self.begin().await?;
            let Some(group) = groups::hold(&mut tx, found.id).await? else { return Err(no_group(name)) };
            if group.compartment != found.compartment {
                return Err(busy(name));
            }
            if let Some(member) = groups::member_outside(&mut tx, group.id, &to).await? {
                return Err(Error::conflict(format!(
                    "members of the group {name} do not lie in {to} or below, {member} for one: move them first \
                     (drydock instance move), or take them out"
                )));
            }
            groups::set_compartment(&mut tx, group.id, &to).await?;
            act.allowed_on(&mut tx, &format!("group {name}, from {} to {to}", group.compartment)).await?;
            commit(tx).await?;
            self.group_view(ctx, GroupRecord { compartment: to, ..group }).await
        }
        .await;
        act.settle(moved).await
    }

    pub(super) async fn group_view(&self, ctx: &OpCtx, record: GroupRecord) -> Result<GroupView> {
        let name = record.name.clone();
        let hosts = self.host_scope(ctx).await?;
        let made = views(&mut *self.read().await?, vec![record], &hosts).await?;
        made.into_iter().next().ok_or_else(|| no_group(&name))
    }
}

/// Puts hosts into a group that the transaction holds. `false`: one of them was changed meanwhile; try again.
async fn join(tx: &mut Tx, group: &GroupRecord, joining: &[InstanceRecord]) -> Result<bool> {
    let one = PageQuery { cursor: None, limit: Some(1) };
    let first = groups::members(tx, group.id, &one, &Scope::Everywhere).await?.items.pop();
    // An empty group forgets what it was.
    let mut family = group.family.clone().filter(|_| first.is_some());
    let mut there = first.map(|m| m.name);
    for host in joining {
        if host.group == Some(group.id) {
            let now = instances::find(tx, host.id).await?.and_then(|i| i.group);
            if now == Some(group.id) {
                continue;
            }
            return Ok(false);
        }
        let own = admissible(tx, group, host).await?;
        match (&family, &there) {
            (Some(family), Some(there)) => {
                if let Some(difference) = own.difference(family) {
                    return Err(Error::conflict(format!(
                        "instance {} does not fit into the group {} beside {there} ({family}): {difference}; \
                         a group has one operating system, major version and architecture, make another one",
                        host.name, group.name
                    )));
                }
            }
            _ => (family, there) = (Some(own), Some(host.name.clone())),
        }
        if !groups::join(tx, group.id, host.id, InstanceState::Active, &host.compartment).await? {
            return Ok(false);
        }
    }
    if family != group.family {
        groups::set_family(tx, group.id, family.as_ref()).await?;
    }
    Ok(true)
}

/// May this host be in any group beside the one it is in? What it is.
async fn admissible(tx: &mut Tx, group: &GroupRecord, host: &InstanceRecord) -> Result<OsFamily> {
    let name = &host.name;
    if let Some(other) = host.group {
        let other = groups::find(tx, other).await?.map_or_else(|| other.to_string(), |g| g.name);
        return Err(Error::conflict(format!(
            "instance {name} is in the group {other} already, and an instance is in one at most; \
             take it out first (drydock group remove {other} {name})"
        )));
    }
    if !is_below(&host.compartment, &group.compartment) {
        return Err(Error::conflict(format!(
            "instance {name} lies in {}, and the group {} takes hosts in {} and below",
            host.compartment, group.name, group.compartment
        )));
    }
    if host.state != InstanceState::Active {
        let state = host.state.as_str();
        return Err(Error::conflict(format!("instance {name} is {state}; only ACTIVE ones can be put into a group")));
    }
    let own = host.os.as_ref().filter(|_| host.inventory.is_some()).and_then(OsFamily::of);
    own.ok_or_else(|| {
        Error::conflict(format!(
            "instance {name} has not sent an inventory yet, so it is not known whether it fits into the group {}; its agent \
             sends one within minutes of its start (see drydock instance show {name}), try again then",
            group.name
        ))
    })
}

fn member_view(member: GroupMemberRecord, family: Option<&OsFamily>) -> GroupMemberView {
    let own = member.os.as_ref().and_then(OsFamily::of);
    let differs = own.as_ref().zip(family).and_then(|(own, family)| own.difference(family));
    let os = member.os.map(|os| os.long_name).unwrap_or_default();
    GroupMemberView { id: member.id, name: member.name, state: member.state, os, differs }
}

/// The environment of this name.
async fn place(c: &mut Connection, name: Option<&str>) -> Result<Option<EnvironmentId>> {
    let Some(name) = name else { return Ok(None) };
    Ok(Some(environment_named(c, name).await?.id))
}

/// Groups as people see them; of their members those in `hosts` are counted.
async fn views(c: &mut Connection, records: Vec<GroupRecord>, hosts: &Scope) -> Result<Vec<GroupView>> {
    let names = Names::read(c).await?;
    let counts = groups::member_counts(c, hosts).await?;
    let targets: Vec<AttachedTo> = records.iter().map(|r| AttachedTo::Group(r.id)).collect();
    let attached = attachments::of_targets(c, &targets).await?;
    let view = |record: GroupRecord| {
        let here = attached.iter().filter(|a| a.target == AttachedTo::Group(record.id));
        let mut attached: Vec<String> = here.map(|a| names.source(a.source)).collect();
        attached.sort_unstable();
        let environment = record.environment.and_then(|id| names.environment(id)).map(|e| e.spec.name.clone());
        let instances = counts.get(&record.id).copied().unwrap_or_default();
        GroupView {
            id: record.id,
            spec: GroupSpec {
                name: record.name,
                description: record.description,
                environment,
                compartment: Some(record.compartment),
            },
            family: record.family.filter(|_| instances > 0),
            attached,
            instances,
            created_by: record.created_by,
            created_at: record.created_at,
        }
    };
    Ok(records.into_iter().map(view).collect())
}

fn environment_gone() -> Error {
    Error::conflict("the lifecycle environment was deleted meanwhile")
}

fn busy(name: &str) -> Error {
    Error::conflict(format!("the group {name} or its members are changed by others at the same time; try again"))
}

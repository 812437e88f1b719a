//! What is attached to what: instances, groups and environments get sources, and lose them.

use std::collections::BTreeSet;

use drydock_domain::ids::{InstanceId, SourceId};
use drydock_domain::source::resolve::AttachedTo;
use drydock_store::compartments::Kind;
use drydock_store::records::InstanceRecord;
use drydock_store::source_records::AttachmentRecord;
use drydock_store::{Tx, attachments, commit, environments, groups, instances};

use super::RACE_RETRIES;
use super::act::cut;
use super::describe::{Names, environment_named, group_named, no_environment, no_source};
use super::host_sources::targets;
use crate::Control;
use crate::content_views::{AttachTarget, InstanceSourcesView, SourcesChange};
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Sources attached to one target, count: a host's package manager reads all of them.
const ATTACHED_MAX: usize = 200;

impl Control {
    /// Attaches a source. One that is attached already stays attached.
    pub async fn attach_source(&self, ctx: &OpCtx, target: &AttachTarget, source: &str) -> Result<()> {
        self.change_attachments(ctx, target, &[source.to_owned()], &[]).await
    }

    /// Detaches a source.
    pub async fn detach_source(&self, ctx: &OpCtx, target: &AttachTarget, source: &str) -> Result<()> {
        self.change_attachments(ctx, target, &[], &[source.to_owned()]).await
    }

    /// Attaches and detaches sources, all or nothing.
    pub async fn change_attachments(
        &self,
        ctx: &OpCtx,
        target: &AttachTarget,
        attach: &[String],
        detach: &[String],
    ) -> Result<()> {
        let (act, found, resource) = match target {
            AttachTarget::Instance(name) => {
                let (act, record) = self.instance(ctx, "instance.sources", name).await?;
                (act, Some(record), format!("instance {name}"))
            }
            AttachTarget::Group(name) => {
                let act = self.act_on(ctx, "group.sources", self.about(Kind::Group, name).await?).await?;
                (act, None, format!("group {name}"))
            }
            AttachTarget::Environment(name) => {
                let act = self.act_on(ctx, "environment.sources", self.about(Kind::Environment, name).await?).await?;
                (act, None, format!("environment {name}"))
            }
        };
        let changed = async {
            self.check_sources(ctx, attach, detach).await?;
            let mut c = self.read().await?;
            let names = Names::read(&mut c).await?;
            let (targets, instance) = match target {
                AttachTarget::Instance(name) => {
                    drop(c);
                    let record = found.ok_or_else(|| Error::NotFound(format!("instance {}", cut(name, 255))))?;
                    (targets(record.id, record.group, record.place()), Some(record))
                }
                AttachTarget::Group(name) => {
                    let group = group_named(&mut c, name).await?;
                    drop(c);
                    let place = group.environment.map(AttachedTo::Environment);
                    ([AttachedTo::Group(group.id)].into_iter().chain(place).collect(), None)
                }
                AttachTarget::Environment(name) => {
                    let environment = environment_named(&mut c, name).await?;
                    drop(c);
                    (vec![AttachedTo::Environment(environment.id)], None)
                }
            };
            let mut tx = self.begin().await?;
            change(&mut tx, ctx, &names, &targets, attach, detach).await?;
            act.allowed_on(&mut tx, &described(&resource, attach, detach)).await?;
            commit(tx).await?;
            Ok(instance.map(|i| i.id))
        }
        .await;
        match act.settle(changed).await? {
            Some(instance) => self.host_changed(instance).await,
            None => self.sources_moved(),
        }
        Ok(())
    }

    /// What an instance sees and should see of its sources.
    pub async fn instance_sources(&self, ctx: &OpCtx, id_or_name: &str) -> Result<InstanceSourcesView> {
        let record = self.seen_instance(ctx, "instance.sources-show", id_or_name).await?;
        self.instance_sources_view(record).await
    }

    /// Changes what is attached to an instance, its mode and its environment, all or nothing.
    pub async fn change_instance_sources(
        &self,
        ctx: &OpCtx,
        id_or_name: &str,
        wanted: &SourcesChange,
    ) -> Result<InstanceSourcesView> {
        let resource = format!("instance {id_or_name}");
        let (act, found) = self.instance(ctx, "instance.sources", id_or_name).await?;
        let changed = self.try_change(ctx, &found, wanted, &resource, &act).await;
        let record = act.settle(changed).await?;
        self.host_changed(record.id).await;
        let record = self.resolve(&record.id.to_string()).await?;
        self.instance_sources_view(record).await
    }

    /// Refuses sources that the caller may not see as if they were not there.
    async fn check_sources(&self, ctx: &OpCtx, attach: &[String], detach: &[String]) -> Result<()> {
        for name in attach.iter().chain(detach) {
            self.known(ctx, "source.show", Kind::Source, name).await?;
        }
        Ok(())
    }

    async fn try_change(
        &self,
        ctx: &OpCtx,
        found: &InstanceRecord,
        wanted: &SourcesChange,
        resource: &str,
        act: &super::act::Act<'_>,
    ) -> Result<InstanceRecord> {
        self.check_sources(ctx, &wanted.attach, &wanted.detach).await?;
        if let Some(name) = wanted.environment.as_deref().filter(|name| !name.is_empty()) {
            self.known(ctx, "environment.show", Kind::Environment, name).await?;
        }
        for _ in 0..RACE_RETRIES {
            let record = self.still_there(found, &found.name).await?;
            let names = Names::read(&mut *self.read().await?).await?;
            let environment = match wanted.environment.as_deref() {
                None => record.environment,
                Some("") => None,
                Some(name) => Some(names.environment_of(name).ok_or_else(|| no_environment(name))?.id),
            };
            let mode = wanted.mode.unwrap_or(record.sources_mode);
            let mut tx = self.begin().await?;
            if (mode, environment) != (record.sources_mode, record.environment) {
                match instances::set_sources(&mut tx, record.id, mode, environment, record.version).await {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(e) if e.is_referenced() => continue,
                    Err(e) => return Err(e.into()),
                }
            }
            let targets = targets(record.id, record.group, environment.or(record.group_environment));
            change(&mut tx, ctx, &names, &targets, &wanted.attach, &wanted.detach).await?;
            let mut what = described(resource, &wanted.attach, &wanted.detach);
            if let Some(mode) = wanted.mode {
                what = format!("{what}, mode {}", mode.as_str());
            }
            if let Some(name) = &wanted.environment {
                what = format!("{what}, environment {}", if name.is_empty() { "none" } else { name });
            }
            act.allowed_on(&mut tx, &what).await?;
            commit(tx).await?;
            return Ok(record);
        }
        Err(Error::conflict(format!("{resource} is changed by others at the same time; try again")))
    }

    /// What decides about one host changed: its document is made anew at once. Should that fail, the reconciler does it.
    pub(crate) async fn host_changed(&self, instance: InstanceId) {
        self.fleet_host_changed(instance);
        if !self.has_content() {
            return;
        }
        if let Err(error) = self.refresh_host_sources(instance).await {
            tracing::warn!(%instance, %error, "the sources document of a host is not made yet; the reconciler will");
            self.sources_moved();
        }
    }

    /// What decides about many hosts, or what is served, changed.
    pub(crate) fn sources_moved(&self) {
        if let Ok(part) = self.content_part() {
            part.changed();
        }
        self.fleet_moved();
        self.wake();
    }
}

/// Attaches and detaches in the caller's transaction. `targets`: to what, and then through what else sources come there.
async fn change(
    tx: &mut Tx,
    ctx: &OpCtx,
    names: &Names,
    targets: &[AttachedTo],
    attach: &[String],
    detach: &[String],
) -> Result<()> {
    let Some(to) = targets.first().copied() else { return Ok(()) };
    let gone = match to {
        AttachedTo::Instance(_) => None,
        AttachedTo::Group(id) => groups::find(tx, id).await?.is_none().then_some("group"),
        AttachedTo::Environment(id) => environments::find(tx, id).await?.is_none().then_some("lifecycle environment"),
    };
    if let Some(what) = gone {
        return Err(Error::NotFound(format!("{what}; it was deleted meanwhile")));
    }
    let outline = |name: &String| names.outline_of(name).ok_or_else(|| no_source(name));
    let there = attachments::of_targets(tx, targets).await?;
    let mut own: BTreeSet<SourceId> = there.iter().filter(|a| a.target == to).map(|a| a.source).collect();
    let inherited: BTreeSet<SourceId> = there.iter().filter(|a| a.target != to).map(|a| a.source).collect();
    for name in detach {
        let source = outline(name)?;
        if !attachments::detach(tx, to, source.id).await? && !attach.contains(name) {
            return Err(Error::conflict(format!("software source {name} is not attached there")));
        }
        own.remove(&source.id);
    }
    for name in attach {
        let source = outline(name)?;
        let attachment = AttachmentRecord { target: to, source: source.id, attached_at: ctx.now, attached_by: ctx.who.name() };
        match attachments::attach(tx, &attachment).await {
            Err(e) if e.is_referenced() => return Err(no_source(name)),
            other => other?,
        };
        own.insert(source.id);
    }
    if own.len() > ATTACHED_MAX {
        return Err(Error::invalid("attach", format!("would attach {} sources; at most {ATTACHED_MAX} are allowed", own.len())));
    }
    // What belongs to a parent is there with its parent: of the target's own, the inherited ones count as there.
    for id in &own {
        let Some(source) = names.outline(*id) else { continue };
        let Some(parent) = &source.parent else { continue };
        let present = names.outline_of(parent).is_some_and(|p| own.contains(&p.id) || inherited.contains(&p.id));
        if !present {
            let (name, verb) = (&source.name, if detach.contains(parent) { "detach it, too" } else { "attach that one first" });
            return Err(Error::conflict(format!("software source {name} belongs to {parent}: {verb}")));
        }
    }
    Ok(())
}

fn described(resource: &str, attach: &[String], detach: &[String]) -> String {
    let mut text = resource.to_owned();
    for (verb, names) in [("attach", attach), ("detach", detach)] {
        if !names.is_empty() {
            text = format!("{text}, {verb} {}", names.join(", "));
        }
    }
    text
}

//! Patch deployments as people make, watch, edit, pause and delete them. Runs are in [`super::deployment_runs`].

use drydock_domain::access::Permission;
use drydock_domain::ids::DeploymentId;
use drydock_domain::patch::deployment::{DeploymentState, ExecutionOutcome, PatchDeploymentSpec};
use drydock_domain::schedule::Calendar;
use drydock_store::compartments::Kind;
use drydock_store::deployments::{DeploymentRecord, ExecutionRecord};
use drydock_store::records::{PageQuery, Paged};
use drydock_store::{Connection, Tx, commit, deployments};
use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;

use super::RACE_RETRIES;
use super::act::{Act, cut};
use super::reach::owner_key;
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::views::DeploymentView;

/// Patch deployments of one server, count: each is looked at when it is due, and edited by people.
const DEPLOYMENTS_MAX: u64 = 1000;
/// Coming runs a view shows, count.
const UPCOMING_SHOWN: usize = 5;
/// Moments looked at for the next one that nobody has decided yet, count: more than that many are not skipped ahead.
const DECIDED_AHEAD_MAX: usize = 100;

impl Control {
    /// Makes a patch deployment. Its schedule counts from now.
    /// Its runs start in the caller's name.
    pub async fn create_deployment(&self, ctx: &OpCtx, mut spec: PatchDeploymentSpec) -> Result<DeploymentView> {
        let asked = spec.compartment.take();
        let resource = format!("patch-deployment {}", spec.name);
        let (act, compartment) = self.act_in(ctx, "patch-deployment.create", asked.as_deref(), resource).await?;
        let made = self.try_create_deployment(ctx, spec, compartment, &act).await;
        act.settle(made).await
    }

    async fn try_create_deployment(
        &self,
        ctx: &OpCtx,
        spec: PatchDeploymentSpec,
        compartment: String,
        act: &Act<'_>,
    ) -> Result<DeploymentView> {
        let calendar = spec.validate(zones())?;
        let next = spec.first_due(&calendar, ctx.now)?;
        self.check_reach(ctx, "patch-deployment.create", &compartment, &spec).await?;
        if deployments::count(&mut *self.read().await?).await? >= DEPLOYMENTS_MAX {
            return Err(Error::conflict(format!("there are {DEPLOYMENTS_MAX} patch deployments already; delete some")));
        }
        let record = DeploymentRecord {
            id: DeploymentId(self.mint(ctx.now)),
            spec,
            state: DeploymentState::Active,
            paused_by: String::new(),
            created_by: ctx.who.name(),
            created_at: ctx.now,
            updated_at: ctx.now,
            next_at: Some(next),
            last_at: None,
            last_job: None,
            compartment,
            owner: owner_key(&ctx.who)?,
            version: 1,
        };
        let mut tx = self.begin().await?;
        match deployments::insert(&mut tx, &record).await {
            Err(e) if e.is_duplicate() => {
                return Err(Error::conflict(format!("a patch deployment {} exists already", record.spec.name)));
            }
            other => other?,
        }
        act.allowed(&mut tx).await?;
        commit(tx).await?;
        Ok(view(record, ctx.now))
    }

    /// Does everything exist that a deployment names, and may whoever makes or edits it patch anything there?
    async fn check_reach(
        &self,
        ctx: &OpCtx,
        operation: &'static str,
        compartment: &str,
        spec: &PatchDeploymentSpec,
    ) -> Result<()> {
        self.check_filter(ctx, "instanceFilter", &spec.instance_filter).await?;
        let name = ctx.who.name();
        if let Some(why) = self.owner_lacks(&ctx.who, &name, compartment, ctx.now).await? {
            return Err(Error::Forbidden(why));
        }
        if let Some(rollout) = &spec.rollout {
            let reach = self.reach(&ctx.who, operation, compartment, ctx.now).await?;
            self.check_rollout(rollout, &reach, ctx).await?;
        }
        Ok(())
    }

    /// May whoever moves a deployment to a compartment do there what it does?
    pub(super) async fn check_deployment_move(&self, ctx: &OpCtx, name: &str, to: &str) -> Result<()> {
        let record = named(&mut *self.read().await?, name).await?;
        self.check_reach(ctx, "patch-deployment.edit", to, &record.spec).await
    }

    /// From now on a deployment runs in the caller's name: as after an edit, nobody makes another one's deployment do what he
    /// may not do himself.
    pub(super) async fn take_over_deployment(&self, tx: &mut Tx, ctx: &OpCtx, name: &str) -> Result<()> {
        let mut record = named(tx, name).await?;
        record.owner = owner_key(&ctx.who)?;
        record.updated_at = ctx.now;
        if deployments::update(tx, &record).await? { Ok(()) } else { Err(busy(name)) }
    }

    /// Patch deployments by name.
    pub async fn list_deployments(&self, ctx: &OpCtx, page: &PageQuery) -> Result<Paged<DeploymentView>> {
        let scope = self.scope(ctx, "patch-deployment.list", Permission::PatchRead).await?;
        let mut c = self.read().await?;
        let found = deployments::list(&mut c, page, &scope).await?;
        let ids: Vec<DeploymentId> = found.items.iter().map(|d| d.id).collect();
        let failed = deployments::newest_failed(&mut c, &ids).await?;
        Ok(found.map(|record| with_failure(view(record, ctx.now), &failed)))
    }

    /// One patch deployment.
    pub async fn get_deployment(&self, ctx: &OpCtx, name: &str) -> Result<DeploymentView> {
        self.may_see(ctx, "patch-deployment.show", self.about(Kind::Deployment, name).await?).await?;
        let mut c = self.read().await?;
        let record = named(&mut c, name).await?;
        let failed = deployments::newest_failed(&mut c, &[record.id]).await?;
        Ok(with_failure(view(record, ctx.now), &failed))
    }

    /// What became of its runs, newest first.
    pub async fn list_executions(&self, ctx: &OpCtx, name: &str, page: &PageQuery) -> Result<Paged<ExecutionRecord>> {
        self.may_see(ctx, "patch-deployment.executions", self.about(Kind::Deployment, name).await?).await?;
        let mut c = self.read().await?;
        let deployment = named(&mut c, name).await?;
        Ok(deployments::executions(&mut c, deployment.id, page).await?)
    }

    /// Replaces the specification; the name never changes. A schedule that changes counts from now; runs that were skipped
    /// ahead stay skipped. From now on its runs start in the name of whoever edits it: nobody makes another one's deployment
    /// do what he may not do himself.
    pub async fn edit_deployment(
        &self,
        ctx: &OpCtx,
        name: &str,
        mut spec: PatchDeploymentSpec,
        if_match: Option<&str>,
    ) -> Result<DeploymentView> {
        let about = self.about(Kind::Deployment, name).await?;
        let compartment = about.compartment.clone();
        let act = self.act_on(ctx, "patch-deployment.edit", about).await?;
        let edited = async {
            if spec.name != name {
                return Err(Error::invalid("name", "never changes; delete the deployment and make another one"));
            }
            self.stays(spec.compartment.take().as_deref(), &compartment).await?;
            let calendar = spec.validate(zones())?;
            self.check_reach(ctx, "patch-deployment.edit", &compartment, &spec).await?;
            let change = Change::Replace(Box::new(spec), calendar, owner_key(&ctx.who)?);
            self.change_deployment(ctx, name, &act, if_match, &change).await
        }
        .await;
        act.settle(edited).await
    }

    /// Leaves out every run that becomes due until somebody resumes; one that waits is left out, too. Jobs go on.
    pub async fn pause_deployment(&self, ctx: &OpCtx, name: &str) -> Result<DeploymentView> {
        let act = self.act_on(ctx, "patch-deployment.pause", self.about(Kind::Deployment, name).await?).await?;
        let who = cut(&ctx.who.name(), super::deployment_runs::WHO_MAX_BYTES).to_owned();
        let paused = self.change_deployment(ctx, name, &act, None, &Change::Pause(who)).await;
        act.settle(paused).await
    }

    /// Lets it run by itself again, from the next run on.
    pub async fn resume_deployment(&self, ctx: &OpCtx, name: &str) -> Result<DeploymentView> {
        let act = self.act_on(ctx, "patch-deployment.resume", self.about(Kind::Deployment, name).await?).await?;
        let resumed = self.change_deployment(ctx, name, &act, None, &Change::Resume).await;
        act.settle(resumed).await
    }

    /// Deletes a deployment with the list of its executions. Its jobs stay, and go on.
    pub async fn delete_deployment(&self, ctx: &OpCtx, name: &str) -> Result<()> {
        let act = self.act_on(ctx, "patch-deployment.delete", self.about(Kind::Deployment, name).await?).await?;
        let deleted = async {
            for _ in 0..RACE_RETRIES {
                let record = named(&mut *self.read().await?, name).await?;
                let mut tx = self.begin().await?;
                if deployments::delete(&mut tx, record.id, record.version).await? {
                    act.allowed(&mut tx).await?;
                    return Ok(commit(tx).await?);
                }
            }
            Err(busy(name))
        }
        .await;
        act.settle(deleted).await
    }

    /// Changes a deployment behind its row; a change that changes nothing is not stored.
    async fn change_deployment(
        &self,
        ctx: &OpCtx,
        name: &str,
        act: &Act<'_>,
        if_match: Option<&str>,
        change: &Change,
    ) -> Result<DeploymentView> {
        for _ in 0..RACE_RETRIES {
            let before = named(&mut *self.read().await?, name).await?;
            if let Some(tag) = if_match
                && tag != "*"
                && tag != before.version.to_string()
            {
                let message = format!("patch deployment {name} was changed meanwhile; read it again");
                return Err(Error::Conflict { message, stale: true });
            }
            let mut tx = self.begin().await?;
            let mut after = change.apply(&mut tx, before.clone(), ctx.now).await?;
            if after == before {
                return Ok(view(before, ctx.now));
            }
            after.updated_at = ctx.now;
            if deployments::update(&mut tx, &after).await? {
                act.allowed(&mut tx).await?;
                commit(tx).await?;
                after.version += 1;
                return Ok(view(after, ctx.now));
            }
        }
        Err(busy(name))
    }
}

/// What a person changes.
enum Change {
    /// Another specification, what its schedule means, and in whose name its runs start.
    Replace(Box<PatchDeploymentSpec>, Calendar, String),
    /// Nothing runs by itself; who says so.
    Pause(String),
    /// It runs by itself again.
    Resume,
}

impl Change {
    async fn apply(&self, tx: &mut Tx, mut record: DeploymentRecord, now: Timestamp) -> Result<DeploymentRecord> {
        match self {
            Change::Replace(spec, calendar, owner) => {
                if !record.spec.same_schedule(spec) {
                    spec.first_due(calendar, now)?;
                    record.next_at = next_undecided(tx, record.id, calendar, now).await?;
                }
                record.spec = (**spec).clone();
                record.owner.clone_from(owner);
            }
            Change::Pause(_) if record.state == DeploymentState::Paused => {}
            Change::Pause(who) => {
                if let Some(waits) = deployments::queued(tx, record.id).await? {
                    let reason = format!("the deployment is paused by {who}");
                    let skipped = ExecutionRecord { outcome: ExecutionOutcome::Skipped, reason, at: now, ..waits };
                    deployments::end_wait(tx, &skipped).await?;
                }
                record.state = DeploymentState::Paused;
                record.paused_by.clone_from(who);
            }
            Change::Resume => {
                record.state = DeploymentState::Active;
                record.paused_by = String::new();
            }
        }
        Ok(record)
    }
}

/// The time zones of this machine; where it has none, those built in. The machine's come first: governments change their
/// clocks more often than servers are upgraded.
pub(super) fn zones() -> &'static TimeZoneDatabase {
    jiff::tz::db()
}

/// The deployment of this name.
pub(super) async fn named(c: &mut Connection, name: &str) -> Result<DeploymentRecord> {
    let found = deployments::find_by_name(c, name).await?;
    found.ok_or_else(|| Error::NotFound(format!("patch deployment {}", cut(name, 255))))
}

/// The first moment after `after` that nobody has decided yet.
pub(super) async fn next_undecided(
    c: &mut Connection,
    deployment: DeploymentId,
    calendar: &Calendar,
    after: Timestamp,
) -> Result<Option<Timestamp>> {
    for at in calendar.occurrences(after).take(DECIDED_AHEAD_MAX) {
        if deployments::decided(c, deployment, at).await?.is_none() {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// With the coming runs.
pub(super) fn view(record: DeploymentRecord, now: Timestamp) -> DeploymentView {
    // What was stored is valid; a zone that left the machine's database since shows no coming runs and is logged when due.
    let calendar = record.spec.calendar(zones()).ok();
    let upcoming = match (record.next_at, calendar) {
        (Some(next), Some(calendar)) => {
            std::iter::once(next).chain(calendar.occurrences(next.max(now)).take(UPCOMING_SHOWN - 1)).collect()
        }
        (next, _) => next.into_iter().collect(),
    };
    DeploymentView { record, upcoming, failed: None }
}

/// With the reason why the newest run failed, if it did.
fn with_failure(view: DeploymentView, failed: &[ExecutionRecord]) -> DeploymentView {
    let own = failed.iter().find(|execution| execution.deployment == view.record.id);
    DeploymentView { failed: own.map(|execution| execution.reason.clone()), ..view }
}

pub(super) fn busy(name: &str) -> Error {
    Error::conflict(format!("patch deployment {name} is changed by others at the same time; try again"))
}

//! Runs of patch deployments: by the schedule, by a person now, left out ahead, and begun after waiting.
//!
//! One transaction behind the deployment's row holds all of a run: its execution, its job, the next moment. A server that
//! is killed in between leaves all of it or nothing, and of two servers one finds the row changed.

use drydock_domain::access::Permission;
use drydock_domain::ids::{ExecutionId, JobId};
use drydock_domain::patch::deployment::{DeploymentState, ExecutionOutcome, RunFacts, Verdict};
use drydock_domain::patch::job::JobOrigin;
use drydock_store::compartments::Kind;
use drydock_store::deployments::{DeploymentRecord, ExecutionRecord};
use drydock_store::idempotency::KeyUse;
use drydock_store::{Tx, approvals, commit, deployments, idempotency, patch_jobs};
use jiff::{SignedDuration, Timestamp};

use super::act::{Act, cut};
use super::deployments::{busy, named, next_undecided, view, zones};
use super::patch_jobs::{check_key, concerned};
use super::reach::Made;
use super::{RACE_RETRIES, digest};
use crate::Control;
use crate::context::{OpCtx, Principal};
use crate::error::{Error, Result};
use crate::views::DeploymentView;

/// Longest name of a person in an execution, bytes.
pub(super) const WHO_MAX_BYTES: usize = 255;

impl Control {
    /// Starts a run now, whatever the schedule says, also of a paused deployment; the schedule goes on. The same
    /// idempotency key returns the execution it made.
    pub async fn run_deployment(&self, ctx: &OpCtx, name: &str, key: Option<&str>) -> Result<ExecutionRecord> {
        let act = self.act_on(ctx, "patch-deployment.run", self.about(Kind::Deployment, name).await?).await?;
        let run = self.try_run(ctx, name, key, &act).await;
        let execution = act.settle(run).await?;
        self.wake();
        Ok(execution)
    }

    async fn try_run(&self, ctx: &OpCtx, name: &str, key: Option<&str>, act: &Act<'_>) -> Result<ExecutionRecord> {
        let request = digest(&format!("run patch deployment {name}"));
        if let Some(key) = key {
            check_key(key)?;
        }
        for _ in 0..RACE_RETRIES {
            if let Some(key) = key
                && let Some(resource) = self.used_before(ctx, key, &request).await?
            {
                return self.execution_again(&resource).await;
            }
            let before = named(&mut *self.read().await?, name).await?;
            self.check_filter(ctx, "instanceFilter", &before.spec.instance_filter).await?;
            if let Some(why) = self.may_not_run(&before, ctx.now).await? {
                return Err(Error::conflict(format!("patch deployment {name} does not run: {why}")));
            }
            let waits = self.run_waits(&before, ctx.now).await?;
            let mut tx = self.begin().await?;
            let mut run = Run { waits, ..Run::new(self, ctx.who.name(), None, ctx.now) };
            if let Some(key) = key {
                let used = KeyUse { request_sha256: request.clone(), resource: run.execution.to_string() };
                if !idempotency::take(&mut tx, &ctx.who.key(), key, &used, ctx.now).await? {
                    continue;
                }
            }
            let facts = run_facts(&mut tx, &before, 0).await?;
            let verdict = before.spec.judge_overlap(&facts);
            if verdict.outcome == ExecutionOutcome::Skipped {
                return Err(Error::conflict(format!(
                    "patch deployment {name} does not run beside itself: {}; wait for the end, cancel that job, or edit the \
                     deployment's overlap",
                    verdict.reason
                )));
            }
            let Some(execution) = run.carry_out(&mut tx, before, verdict).await? else { continue };
            let what = run.resource(name, &execution);
            act.allowed_on(&mut tx, &what).await?;
            commit(tx).await?;
            return Ok(execution);
        }
        Err(busy(name))
    }

    /// Why a run may not start in the name of whoever made the deployment; `None`: it may.
    async fn may_not_run(&self, record: &DeploymentRecord, now: Timestamp) -> Result<Option<String>> {
        match self.account_by_key(&record.owner).await? {
            Ok(who) => {
                let name = if record.owner.is_empty() { record.created_by.clone() } else { who.name() };
                self.owner_lacks(&who, &name, &record.compartment, now).await
            }
            Err(why) => Ok(Some(format!("whoever made or last edited it may do nothing any more: {why}"))),
        }
    }

    /// Is a rule of approval about a run that begins now?
    async fn run_waits(&self, record: &DeploymentRecord, now: Timestamp) -> Result<bool> {
        if record.spec.dry_run || approvals::rules(&mut *self.read().await?).await?.is_empty() {
            return Ok(false);
        }
        let Ok(who) = self.account_by_key(&record.owner).await? else { return Ok(false) };
        let operation = "patch-deployment.run";
        let reach = self.reach(&who, operation, &record.compartment, now).await?;
        let reached = self.reached(&reach, &record.spec.instance_filter, now).await?;
        let hosts = concerned(&reached.targets);
        Ok(self.approval_demanded(&who, operation, &record.compartment, hosts).await?.is_some())
    }

    async fn execution_again(&self, resource: &str) -> Result<ExecutionRecord> {
        let id: ExecutionId =
            resource.parse().map_err(|e| Error::Internal { doing: "read an idempotency key", source: Box::new(e) })?;
        let found = deployments::find_execution(&mut *self.read().await?, id).await?;
        found.ok_or_else(|| Error::NotFound(format!("execution {id}: its deployment was deleted since")))
    }

    /// Leaves out the next run, or the one that is due at `wanted`: asking for the same one twice leaves out one.
    pub async fn skip_next_run(&self, ctx: &OpCtx, name: &str, wanted: Option<Timestamp>) -> Result<DeploymentView> {
        let act = self.act_on(ctx, "patch-deployment.skip-next", self.about(Kind::Deployment, name).await?).await?;
        let skipped = self.try_skip(ctx, name, wanted, &act).await;
        act.settle(skipped).await
    }

    async fn try_skip(&self, ctx: &OpCtx, name: &str, wanted: Option<Timestamp>, act: &Act<'_>) -> Result<DeploymentView> {
        for _ in 0..RACE_RETRIES {
            let mut c = self.read().await?;
            let mut record = named(&mut c, name).await?;
            if let Some(wanted) = wanted
                && let Some(done) = deployments::decided(&mut c, record.id, wanted).await?
            {
                if done.outcome == ExecutionOutcome::Skipped {
                    return Ok(view(record, ctx.now));
                }
                return Err(Error::conflict(format!("the run of {wanted} is {} already", done.outcome.as_str())));
            }
            drop(c);
            let Some(next) = record.next_at else {
                return Err(Error::conflict(format!("patch deployment {name} has no run that is due any more")));
            };
            if wanted.is_some_and(|wanted| wanted != next) {
                return Err(Error::conflict(format!("the next run of patch deployment {name} is the one of {next}")));
            }
            let calendar = record.spec.calendar(zones())?;
            let mut tx = self.begin().await?;
            record.next_at = next_undecided(&mut tx, record.id, &calendar, next).await?;
            record.updated_at = ctx.now;
            if !deployments::update(&mut tx, &record).await? {
                continue;
            }
            let who = cut(&ctx.who.name(), WHO_MAX_BYTES).to_owned();
            let skipped = ExecutionRecord {
                id: ExecutionId(self.mint(ctx.now)),
                deployment: record.id,
                due_at: Some(next),
                at: ctx.now,
                outcome: ExecutionOutcome::Skipped,
                reason: format!("skipped by {who}"),
                who,
                job: None,
            };
            deployments::insert_execution(&mut tx, &skipped).await?;
            act.allowed_on(&mut tx, &format!("patch-deployment {name}, run of {next}")).await?;
            commit(tx).await?;
            record.version += 1;
            return Ok(view(record, ctx.now));
        }
        Err(busy(name))
    }

    /// Decides about the run that is due. `false`: none is, or another server decides at this moment.
    pub(crate) async fn due_run(&self, mut record: DeploymentRecord) -> Result<bool> {
        let ctx = self.ctx(Principal::Server, "reconciler");
        let Some(due) = record.next_at.filter(|at| *at <= ctx.now) else { return Ok(false) };
        let resource = format!("patch-deployment {}", record.spec.name);
        let act = self.act(&ctx, "patch-deployment.run", resource, Permission::PatchManage).await?;
        let calendar = record.spec.calendar(zones())?;
        let name = record.spec.name.clone();
        let may_not = self.may_not_run(&record, ctx.now).await?;
        let waits = self.run_waits(&record, ctx.now).await?;
        let mut tx = self.begin().await?;
        record.next_at = next_undecided(&mut tx, record.id, &calendar, due).await?;
        if deployments::decided(&mut tx, record.id, due).await?.is_some() {
            // Nothing is left to decide; the next moment must not wait behind this one for ever.
            let moved = deployments::update(&mut tx, &record).await?;
            commit(tx).await?;
            return Ok(moved);
        }
        let mut facts = run_facts(&mut tx, &record, ctx.now.duration_since(due).as_secs()).await?;
        facts.later_due = record.next_at.filter(|later| *later <= ctx.now);
        let verdict = or_failed(record.spec.judge(&facts), may_not);
        let mut run = Run { waits, ..Run::new(self, ctx.who.name(), Some(due), ctx.now) };
        let Some(execution) = run.carry_out(&mut tx, record, verdict).await? else { return Ok(false) };
        if matches!(execution.outcome, ExecutionOutcome::Missed | ExecutionOutcome::Failed) {
            tracing::warn!(deployment = name, due = %due, reason = execution.reason, outcome = execution.outcome.as_str(), "a run does not start");
        }
        act.allowed_on(&mut tx, &run.resource(&name, &execution)).await?;
        commit(tx).await?;
        self.wake();
        Ok(true)
    }

    /// Starts the run that waits, once no job of the deployment is open. `false`: there is none to start.
    pub(crate) async fn waiting_run(&self, record: DeploymentRecord) -> Result<bool> {
        let ctx = self.ctx(Principal::Server, "reconciler");
        let resource = format!("patch-deployment {}", record.spec.name);
        let act = self.act(&ctx, "patch-deployment.run", resource, Permission::PatchManage).await?;
        let name = record.spec.name.clone();
        // Most turns end here, without a transaction that others would wait for.
        if deployments::open_job(&mut *self.read().await?, record.id).await?.is_some() {
            return Ok(false);
        }
        let may_not = self.may_not_run(&record, ctx.now).await?;
        let needs_yes = self.run_waits(&record, ctx.now).await?;
        let mut tx = self.begin().await?;
        if deployments::open_job(&mut tx, record.id).await?.is_some() {
            return Ok(false);
        }
        let Some(waits) = deployments::queued(&mut tx, record.id).await? else { return Ok(false) };
        let mut run = Run { waits: needs_yes, ..Run::new(self, waits.who.clone(), waits.due_at, ctx.now) };
        let Some(execution) = run.begin_waiting(&mut tx, record, waits, may_not).await? else { return Ok(false) };
        act.allowed_on(&mut tx, &run.resource(&name, &execution)).await?;
        commit(tx).await?;
        self.wake();
        Ok(true)
    }
}

/// A run that would start fails where whoever made the deployment may no longer do what it does.
fn or_failed(verdict: Verdict, may_not: Option<String>) -> Verdict {
    match may_not {
        Some(reason) if matches!(verdict.outcome, ExecutionOutcome::Started | ExecutionOutcome::Queued) => {
            Verdict { outcome: ExecutionOutcome::Failed, reason }
        }
        _ => verdict,
    }
}

/// What decides about a run, read behind no lock: whoever changed it since has changed the deployment's row, too.
async fn run_facts(tx: &mut Tx, record: &DeploymentRecord, late_secs: i64) -> Result<RunFacts> {
    Ok(RunFacts {
        paused_by: (record.state == DeploymentState::Paused).then(|| record.paused_by.clone()),
        late_secs,
        later_due: None,
        open_job: deployments::open_job(tx, record.id).await?,
        queued: deployments::queued(tx, record.id).await?.is_some(),
    })
}

/// One run on its way into the store.
struct Run<'a> {
    control: &'a Control,
    execution: ExecutionId,
    job: JobId,
    who: String,
    due_at: Option<Timestamp>,
    now: Timestamp,
    /// A rule of approval is about it: its job waits for a person.
    waits: bool,
}

impl<'a> Run<'a> {
    fn new(control: &'a Control, who: String, due_at: Option<Timestamp>, now: Timestamp) -> Self {
        let who = cut(&who, WHO_MAX_BYTES).to_owned();
        // As it is stored: who asks again with the same key gets the same answer.
        let now = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
        let (execution, job) = (ExecutionId(control.mint(now)), JobId(control.mint(now)));
        Run { control, execution, job, who, due_at, now, waits: false }
    }

    /// Stores the deployment as it is after the run, the execution and, when it is started, the job. `None`: somebody
    /// changed the deployment meanwhile.
    async fn carry_out(
        &mut self,
        tx: &mut Tx,
        mut record: DeploymentRecord,
        verdict: Verdict,
    ) -> Result<Option<ExecutionRecord>> {
        let started = verdict.outcome == ExecutionOutcome::Started;
        let execution = ExecutionRecord {
            id: self.execution,
            deployment: record.id,
            due_at: self.due_at,
            at: self.now,
            outcome: verdict.outcome,
            reason: verdict.reason,
            who: self.who.clone(),
            job: started.then_some(self.job),
        };
        if started {
            (record.last_at, record.last_job) = (Some(self.now), Some(self.job));
        }
        // Takes the row: of two servers with the same picture one goes on from here.
        if !deployments::update(tx, &record).await? {
            return Ok(None);
        }
        if !deployments::insert_execution(tx, &execution).await? {
            return Ok(None);
        }
        if started {
            self.store_job(tx, &record).await?;
        }
        Ok(Some(execution))
    }

    /// The same for a run that has its execution already.
    async fn begin_waiting(
        &mut self,
        tx: &mut Tx,
        mut record: DeploymentRecord,
        waits: ExecutionRecord,
        may_not: Option<String>,
    ) -> Result<Option<ExecutionRecord>> {
        if may_not.is_none() {
            (record.last_at, record.last_job) = (Some(self.now), Some(self.job));
        }
        if !deployments::update(tx, &record).await? {
            return Ok(None);
        }
        if let Some(reason) = may_not {
            let failed = ExecutionRecord { outcome: ExecutionOutcome::Failed, reason, at: self.now, ..waits };
            return Ok(deployments::end_wait(tx, &failed).await?.then_some(failed));
        }
        let waited = self.now.duration_since(waits.at).max(SignedDuration::ZERO).as_secs();
        let reason = format!("{}; it waited {waited} seconds", waits.reason);
        let outcome = ExecutionOutcome::Started;
        let begun = ExecutionRecord { outcome, reason, at: self.now, job: Some(self.job), ..waits };
        if !deployments::end_wait(tx, &begun).await? {
            return Ok(None);
        }
        self.store_job(tx, &record).await?;
        Ok(Some(begun))
    }

    async fn store_job(&self, tx: &mut Tx, record: &DeploymentRecord) -> Result<()> {
        let origin = JobOrigin::Deployment { id: record.id, name: record.spec.name.clone() };
        let (owner, compartment) = (record.owner.clone(), record.compartment.clone());
        let made = Made { by: self.who.clone(), owner, compartment };
        let mut spec = record.spec.job();
        if self.waits {
            spec.rollout.get_or_insert_default().require_approval = true;
        }
        let job = self.control.new_job(self.job, spec, origin, made, self.now);
        Ok(patch_jobs::insert(tx, &job).await?)
    }

    /// What the audit names.
    fn resource(&self, name: &str, execution: &ExecutionRecord) -> String {
        let what = match execution.job {
            Some(job) => format!("patch-job {job}"),
            None => execution.outcome.as_str().to_owned(),
        };
        match execution.due_at {
            Some(due) => format!("patch-deployment {name}, run of {due}, {what}"),
            None => format!("patch-deployment {name}, {what}"),
        }
    }
}

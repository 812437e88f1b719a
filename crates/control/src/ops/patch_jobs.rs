//! Patch jobs as people start, watch and cancel them. The reconcilers move them.

use drydock_domain::access::Permission;
use drydock_domain::access::approval::Concerned;
use drydock_domain::ids::{JobId, TaskId};
use drydock_domain::limits::JOB_TARGETS_MAX;
use drydock_domain::patch::filter::InstanceFilter;
use drydock_domain::patch::job::{JobOrigin, JobState, StateCounts, percent_complete};
use drydock_domain::patch::spec::PatchJobSpec;
use drydock_domain::rollout::Rollout;
use drydock_domain::validate::Invalid;
use drydock_store::compartments::{self, Kind};
use drydock_store::idempotency::KeyUse;
use drydock_store::instances::Target;
use drydock_store::records::{JobQuery, JobRecord, Paged, TaskQuery, TaskRecord};
use drydock_store::{commit, idempotency, patch_jobs, patch_tasks};
use jiff::Timestamp;

use super::act::{About, Act, cut};
use super::reach::{Made, Reach, Reached};
use super::{RACE_RETRIES, digest};
use crate::Control;
use crate::context::{OpCtx, Principal};
use crate::error::{Error, Result};
use crate::views::{JobView, TaskDetail};

/// Longest idempotency key, bytes.
const KEY_MAX_BYTES: usize = 128;

impl Control {
    /// Starts a patch job. The same idempotency key with the same spec returns the job it made; hosts are looked up
    /// and let go by the reconcilers.
    ///
    /// It reaches hosts in its compartment and below, and of those only the ones that the caller may patch.
    pub async fn create_patch_job(&self, ctx: &OpCtx, mut spec: PatchJobSpec, idempotency_key: Option<&str>) -> Result<JobView> {
        let json = serde_json::to_string(&spec).map_err(|e| Error::Internal { doing: "write a job", source: Box::new(e) })?;
        let asked = spec.compartment.take();
        let resource = format!("patch-job {}", spec.display_name);
        let (act, compartment) = self.act_in(ctx, "patch-job.create", asked.as_deref(), resource).await?;
        let made = Made::by(&ctx.who, compartment)?;
        let made = self.make_job(ctx, spec, made, idempotency_key.map(|key| (key, digest(&json))), &act).await;
        act.settle(made).await
    }

    async fn make_job(
        &self,
        ctx: &OpCtx,
        mut spec: PatchJobSpec,
        made: Made,
        key: Option<(&str, String)>,
        act: &Act<'_>,
    ) -> Result<JobView> {
        if let Some((key, request)) = &key {
            check_key(key)?;
            if let Some(view) = self.made_before(ctx, key, request).await? {
                return Ok(view);
            }
        }
        spec.validate()?;
        let reach = self.reach(&ctx.who, "patch-job.create", &made.compartment, ctx.now).await?;
        let reached = self.check_targets(&spec.instance_filter, &reach, ctx).await?;
        if let Some(rollout) = &spec.rollout {
            self.check_rollout(rollout, &reach, ctx).await?;
            self.check_selectors(rollout, &reached.targets, ctx.now).await?;
        }
        self.demand_approval(&ctx.who, "patch-job.create", &made.compartment, &reached.targets, &mut spec).await?;
        let record = self.new_job(JobId(self.mint(ctx.now)), spec, JobOrigin::Asked, made, ctx.now);
        let mut tx = self.begin().await?;
        if let Some((key, request)) = key {
            let used = KeyUse { request_sha256: request.clone(), resource: record.id.to_string() };
            if !idempotency::take(&mut tx, &ctx.who.key(), key, &used, ctx.now).await? {
                // The same request came twice at once and the other was faster.
                drop(tx);
                let before = self.made_before(ctx, key, &request).await?;
                return before.ok_or_else(|| Error::conflict("the idempotency key is in use; try again"));
            }
        }
        patch_jobs::insert(&mut tx, &record).await?;
        act.allowed_on(&mut tx, &format!("patch-job {}", record.id)).await?;
        commit(tx).await?;
        self.wake();
        Ok(JobView { not_patchable: Some(reached.seen_only), ..view(record, StateCounts::new()) })
    }

    /// A job that a rule of approval is about waits until another person says yes. Dry runs change nothing.
    pub(super) async fn demand_approval(
        &self,
        who: &Principal,
        operation: &str,
        compartment: &str,
        targets: &[Target],
        spec: &mut PatchJobSpec,
    ) -> Result<()> {
        if spec.dry_run {
            return Ok(());
        }
        let hosts = concerned(targets);
        if let Some(rule) = self.approval_demanded(who, operation, compartment, hosts).await? {
            tracing::info!(rule, operation, "a patch job waits for another person's approval");
            spec.rollout.get_or_insert_default().require_approval = true;
        }
        Ok(())
    }

    /// A job as it begins.
    pub(super) fn new_job(&self, id: JobId, spec: PatchJobSpec, origin: JobOrigin, made: Made, now: Timestamp) -> JobRecord {
        JobRecord {
            id,
            deadline: spec.deadline(now),
            spec,
            state: JobState::Started,
            created_by: made.by,
            created_at: now,
            finished_at: None,
            cancel_requested: false,
            kill_requested: false,
            error_message: String::new(),
            origin,
            control: Default::default(),
            plans: Vec::new(),
            compartment: made.compartment,
            owner: made.owner,
            version: 1,
        }
    }

    /// The job this key made; refuses a key that made something else.
    pub(super) async fn made_before(&self, ctx: &OpCtx, key: &str, request: &str) -> Result<Option<JobView>> {
        let Some(made) = self.used_before(ctx, key, request).await? else { return Ok(None) };
        let id = made.parse().map_err(|e| Error::Internal { doing: "read an idempotency key", source: Box::new(e) })?;
        self.job_view(id).await.map(Some)
    }

    /// What this key made; refuses a key that made something else.
    pub(super) async fn used_before(&self, ctx: &OpCtx, key: &str, request: &str) -> Result<Option<String>> {
        let used = idempotency::find(&mut *self.read().await?, &ctx.who.key(), key).await?;
        match used {
            Some(used) if used.request_sha256 != request => {
                Err(Error::conflict("the idempotency key was used for another request within the last day; use a new one"))
            }
            used => Ok(used.map(|used| used.resource)),
        }
    }

    async fn check_targets(&self, filter: &InstanceFilter, reach: &Reach, ctx: &OpCtx) -> Result<Reached> {
        self.check_filter(ctx, "instanceFilter", filter).await?;
        let reached = self.reached(reach, filter, ctx.now).await?;
        self.check_named("instanceFilter", filter, reach, &reached.targets).await?;
        match reached.targets.len() {
            0 if reached.seen_only > 0 => {
                let message = format!("matches {} active instances, none of which you may patch", reached.seen_only);
                Err(Error::invalid("instanceFilter", message))
            }
            0 => Err(Error::invalid("instanceFilter", "matches no active instance; see `drydock instance list`")),
            n if n > JOB_TARGETS_MAX => {
                Err(Error::invalid("instanceFilter", format!("matches {n} instances; at most {JOB_TARGETS_MAX} fit in one job")))
            }
            _ => Ok(reached),
        }
    }

    /// A wave whose `select` chooses none of the job's hosts is a mistake: its gate and its bake time would prove nothing.
    async fn check_selectors(&self, rollout: &Rollout, targets: &[Target], now: Timestamp) -> Result<()> {
        let traits = self.traits_of(rollout, targets, now).await?;
        for (i, wave) in rollout.waves.iter().enumerate().filter(|(_, w)| w.select.is_some()) {
            if !traits.selected.values().any(|bits| bits >> i & 1 == 1) {
                let message = format!("chooses none of the job's {} hosts; wave {} would be empty", targets.len(), wave.name);
                return Err(Error::invalid(&format!("rollout.waves[{i}].select"), message));
            }
        }
        Ok(())
    }

    /// Does everything exist that a filter, which came in as `field`, names for certain?
    ///
    /// A group that the caller may not see is as unknown as one that is not there.
    pub(super) async fn check_filter(&self, ctx: &OpCtx, field: &str, filter: &InstanceFilter) -> Result<()> {
        if let Some(text) = &filter.query {
            self.read_query(&format!("{field}.query"), text)?;
        }
        if filter.groups.is_empty() {
            return Ok(());
        }
        let seen = self.scope_of(&ctx.who, "group.list", None, ctx.now).await?;
        let mut c = self.read().await?;
        for name in &filter.groups {
            let lying = compartments::find(&mut c, Kind::Group, name).await?;
            if !lying.is_some_and(|group| seen.holds_in(&group.compartment)) {
                let message = format!("there is no group {}; see `drydock group list`", cut(name, 255));
                return Err(Error::invalid(&format!("{field}.groups"), message));
            }
        }
        Ok(())
    }

    /// Patch jobs, newest first.
    pub async fn list_patch_jobs(&self, ctx: &OpCtx, query: &JobQuery) -> Result<Paged<JobView>> {
        let scope = self.scope(ctx, "patch-job.list", Permission::PatchRead).await?;
        let mut c = self.read().await?;
        let page = patch_jobs::list(&mut c, query, &scope).await?;
        let ids: Vec<JobId> = page.items.iter().map(|j| j.id).collect();
        let mut counts = patch_tasks::counts(&mut c, &ids).await?;
        Ok(page.map(|job| {
            let counts = counts.remove(&job.id).unwrap_or_default();
            view(job, counts)
        }))
    }

    /// One patch job.
    pub async fn get_patch_job(&self, ctx: &OpCtx, id: JobId) -> Result<JobView> {
        self.may_see(ctx, "patch-job.show", self.about_job(id).await?).await?;
        self.job_view(id).await
    }

    /// Asks a patch job to stop: hosts that have not begun are out at once, the others finish their step; with `kill`
    /// the running command is ended.
    pub async fn cancel_patch_job(&self, ctx: &OpCtx, id: JobId, kill: bool) -> Result<JobView> {
        self.cancel_as(ctx, id, if kill { "patch-job.kill" } else { "patch-job.cancel" }, kill).await
    }

    pub(super) async fn cancel_as(&self, ctx: &OpCtx, id: JobId, operation: &'static str, kill: bool) -> Result<JobView> {
        let act = self.act_on(ctx, operation, self.about_job(id).await?).await?;
        let asked = self.ask_to_stop(id, kill, &act).await;
        let view = act.settle(asked).await?;
        for task in patch_tasks::open(&mut *self.read().await?, id).await? {
            if task.task.state.is_running() {
                self.hub().hint(task.task.instance);
            }
        }
        self.job_changed(id);
        self.wake();
        Ok(view)
    }

    async fn ask_to_stop(&self, id: JobId, kill: bool, act: &Act<'_>) -> Result<JobView> {
        for _ in 0..RACE_RETRIES {
            let mut job = patch_jobs::find(&mut *self.read().await?, id).await?.ok_or_else(|| no_job(id))?;
            if job.state.is_final() {
                return Err(Error::conflict(format!("patch job {id} is {} and cannot be cancelled", job.state.as_str())));
            }
            if job.cancel_requested && (job.kill_requested || !kill) {
                return self.job_view(id).await;
            }
            job.cancel_requested = true;
            job.kill_requested |= kill;
            let mut tx = self.begin().await?;
            if patch_jobs::update(&mut tx, &job).await? {
                act.allowed(&mut tx).await?;
                commit(tx).await?;
                return self.job_view(id).await;
            }
        }
        Err(Error::Unavailable { message: "the patch job changes too often at once", source: None })
    }

    /// Tasks of a job, by instance name.
    pub async fn list_tasks(&self, ctx: &OpCtx, job: JobId, query: &TaskQuery) -> Result<Paged<TaskRecord>> {
        self.may_see(ctx, "patch-task.list", self.about_job(job).await?).await?;
        Ok(patch_tasks::list(&mut *self.read().await?, job, query).await?)
    }

    /// One task with the host's whole report.
    pub async fn get_task(&self, ctx: &OpCtx, job: JobId, task: TaskId) -> Result<TaskDetail> {
        self.may_see(ctx, "patch-task.show", self.about_job(job).await?).await?;
        let mut c = self.read().await?;
        let found = patch_tasks::find(&mut c, task).await?.filter(|t| t.job == job);
        let record = found.ok_or_else(|| Error::NotFound(format!("patch task {task} in patch job {job}")))?;
        Ok(TaskDetail { report: patch_tasks::report(&mut c, task).await?, task: record })
    }

    /// Where a job lies; its tasks lie where it does.
    pub(super) async fn about_job(&self, id: JobId) -> Result<About> {
        Ok(self.about(Kind::PatchJob, &id.to_string()).await?.called(format!("patch-job {id}")))
    }

    /// A job with its tasks counted and its rollout as it stands.
    pub(super) async fn job_view(&self, id: JobId) -> Result<JobView> {
        let mut c = self.read().await?;
        let job = patch_jobs::find(&mut c, id).await?.ok_or_else(|| no_job(id))?;
        let counts = patch_tasks::counts(&mut c, &[id]).await?.remove(&id).unwrap_or_default();
        drop(c);
        let rollout = self.rollout_view(&job, self.now()).await?;
        Ok(JobView { rollout, ..view(job, counts) })
    }
}

/// Hosts as rules of approval look at them.
pub(super) fn concerned(targets: &[Target]) -> impl Iterator<Item = Concerned<'_>> + Clone {
    targets.iter().map(|target| Concerned { compartment: &target.compartment, labels: &target.labels })
}

pub(super) fn view(record: JobRecord, counts: StateCounts) -> JobView {
    // Before the lookup there is nothing that could be complete.
    let percent_complete = if counts.is_empty() && !record.state.is_final() { 0.0 } else { percent_complete(&counts) };
    JobView { record, counts, percent_complete, rollout: None, not_patchable: None }
}

pub(super) fn no_job(id: JobId) -> Error {
    Error::NotFound(format!("patch job {id}"))
}

pub(super) fn check_key(key: &str) -> std::result::Result<(), Invalid> {
    if key.is_empty() || key.len() > KEY_MAX_BYTES || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Invalid::one("Idempotency-Key", format!("needs 1 to {KEY_MAX_BYTES} visible ASCII characters")));
    }
    Ok(())
}

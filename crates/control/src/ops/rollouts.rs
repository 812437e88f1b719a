//! What people do to a patch job under way: pause, resume, halt, abort, approve; and how its rollout stands. The
//! reconcilers act on it.

use drydock_domain::audit::Record;
use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::instance::InstanceState;
use drydock_domain::patch::job::JobOrigin;
use drydock_domain::patch::task::TaskState;
use drydock_domain::rollout::{
    Approval, Ended, GateAnswers, Halt, HaltCause, HostState, LayoutFacts, LayoutHost, Paused, Rollout, RolloutPlan, lay_out,
};
use drydock_domain::validate::Problems;
use drydock_store::instances::{self, Target};
use drydock_store::records::JobRecord;
use drydock_store::{Tx, commit, deployments, patch_jobs, patch_tasks};
use jiff::Timestamp;

use super::RACE_RETRIES;
use super::act::{Act, cut};
use super::patch_jobs::no_job;
use super::reach::Reach;
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::reconcile::picture::Picture;
use crate::views::{JobView, RolloutView, ZoneView};

/// Longest reason, bytes.
const REASON_MAX_BYTES: usize = 1024;

/// Where a task is moved when a new plan is made.
type Moves = Vec<(drydock_domain::ids::TaskId, u16)>;

impl Control {
    /// Lets no further host go until somebody resumes the job; hosts at work go on.
    pub async fn pause_patch_job(&self, ctx: &OpCtx, id: JobId) -> Result<JobView> {
        let paused = Paused { by: ctx.who.name(), since: ctx.now };
        let set = |job: &mut JobRecord| {
            let is_new = job.control.paused.is_none();
            job.control.paused.get_or_insert(paused.clone());
            Ok(is_new)
        };
        self.steer(ctx, id, "patch-job.pause", set).await
    }

    /// Halts the job as a failed wave would: nothing more begins until somebody resumes or aborts it.
    pub async fn halt_patch_job(&self, ctx: &OpCtx, id: JobId, reason: &str) -> Result<JobView> {
        check_reason(reason)?;
        let cause = HaltCause::Asked { by: ctx.who.name(), reason: reason.trim().to_owned() };
        let set = |job: &mut JobRecord| {
            let is_new = job.control.halted.is_none();
            job.control.halted.get_or_insert(Halt { at: ctx.now, wave: None, cause: cause.clone() });
            Ok(is_new)
        };
        self.steer(ctx, id, "patch-job.halt", set).await
    }

    /// Ends a pause or a halt: failures up to now count no more. With `rollout`, hosts that have not begun are laid out anew.
    pub async fn resume_patch_job(&self, ctx: &OpCtx, id: JobId, rollout: Option<Rollout>) -> Result<JobView> {
        let act = self.act_on(ctx, "patch-job.resume", self.about_job(id).await?).await?;
        let resumed = self.try_resume(ctx, id, rollout, &act).await;
        act.settle(resumed).await
    }

    async fn try_resume(&self, ctx: &OpCtx, id: JobId, rollout: Option<Rollout>, act: &Act<'_>) -> Result<JobView> {
        if let Some(rollout) = &rollout {
            rollout.validate("rollout")?;
            let compartment = self.open_job(id).await?.compartment;
            let reach = self.reach(&ctx.who, "patch-job.resume", &compartment, ctx.now).await?;
            self.check_rollout(rollout, &reach, ctx).await?;
        }
        for _ in 0..RACE_RETRIES {
            let mut job = self.open_job(id).await?;
            let stood = job.control.paused.is_some() || job.control.halted.is_some();
            if !stood && rollout.is_none() {
                return Err(Error::conflict(format!("patch job {id} is neither paused nor halted; there is nothing to resume")));
            }
            let moves = match &rollout {
                Some(rollout) => {
                    // What waits for another person's yes goes on waiting for it.
                    let waits = job.plans.last().map(|p| &p.rollout).or(job.spec.rollout.as_ref());
                    let require_approval = rollout.require_approval || waits.is_some_and(|r| r.require_approval);
                    self.lay_out_anew(&mut job, &Rollout { require_approval, ..rollout.clone() }, ctx).await?
                }
                None => Vec::new(),
            };
            if job.control.halted.take().is_some() {
                let decayed: Vec<TaskId> = Picture::read(self, &job, ctx.now).await?.decayed().collect();
                job.control.forgiven_until = Some(ctx.now);
                job.control.forgiven_decayed.extend(decayed);
            }
            job.control.paused = None;
            let mut tx = self.begin().await?;
            if patch_jobs::update(&mut tx, &job).await? {
                patch_tasks::set_waves(&mut tx, &moves).await?;
                act.allowed(&mut tx).await?;
                commit(tx).await?;
                return self.steered(id).await;
            }
        }
        Err(too_often())
    }

    /// Ends the job: hosts that have not begun are out at once, the others finish their step.
    pub async fn abort_patch_job(&self, ctx: &OpCtx, id: JobId) -> Result<JobView> {
        self.cancel_as(ctx, id, "patch-job.abort", false).await
    }

    /// Says yes: to the start of a job, or, with `wave`, to what follows that wave.
    pub async fn approve_patch_job(&self, ctx: &OpCtx, id: JobId, wave: Option<&str>) -> Result<JobView> {
        let about = self.about_job(id).await?.called(approved_resource(id, wave));
        let act = self.act_on(ctx, "patch-job.approve", about).await?;
        let approved = self.try_approve(ctx, id, wave, &act).await;
        act.settle(approved).await
    }

    async fn try_approve(&self, ctx: &OpCtx, id: JobId, wave: Option<&str>, act: &Act<'_>) -> Result<JobView> {
        for _ in 0..RACE_RETRIES {
            let mut job = self.open_job(id).await?;
            let yes = Approval { by: ctx.who.name(), at: ctx.now };
            match wave {
                Some(wave) => approve_wave(&mut job, wave, yes)?,
                None => {
                    self.check_approver(&job, ctx).await?;
                    job.control.approved.get_or_insert(yes);
                }
            }
            let mut tx = self.begin().await?;
            if patch_jobs::update(&mut tx, &job).await? {
                act.allowed(&mut tx).await?;
                commit(tx).await?;
                return self.steered(id).await;
            }
        }
        Err(too_often())
    }

    /// The start of a job is approved by another person than the one who asked for it.
    async fn check_approver(&self, job: &JobRecord, ctx: &OpCtx) -> Result<()> {
        let (id, by) = (job.id, ctx.who.name());
        let rollout = job.plans.last().map(|p| &p.rollout).or(job.spec.rollout.as_ref());
        if !rollout.is_some_and(|r| r.require_approval) {
            let hint = "for what follows a wave, name the wave (--wave)";
            return Err(Error::conflict(format!("patch job {id} needs no approval to start; {hint}")));
        }
        let deployment = match &job.origin {
            JobOrigin::Deployment { id, .. } => deployments::find(&mut *self.read().await?, *id).await?,
            _ => None,
        };
        let own_key = ctx.who.key();
        // Names may repeat: they decide where no key is kept of who asked, which is before there were any, and for a run that
        // a person asks for.
        let mut by_name = deployment.is_some() || job.owner.is_empty();
        let mut is_own = false;
        for owner in [Some(&job.owner), deployment.as_ref().map(|d| &d.owner)].into_iter().flatten() {
            match self.holder_of(owner).await? {
                Some(holder) if holder == own_key => is_own = true,
                Some(holder) => {
                    if let Some(why) = self.no_other_person(&ctx.who, &holder).await? {
                        return Err(Error::Forbidden(format!("{why}; another person must approve patch job {id}")));
                    }
                }
                None => by_name = true,
            }
        }
        let asked = [Some(job.created_by.as_str()), deployment.as_ref().map(|d| d.created_by.as_str())];
        if is_own || (by_name && asked.contains(&Some(by.as_str()))) {
            return Err(Error::Forbidden(format!("patch job {id} is {by}'s own; another person must approve it")));
        }
        Ok(())
    }

    /// Every plan the job had, oldest first.
    pub async fn patch_job_plans(&self, ctx: &OpCtx, id: JobId) -> Result<Vec<RolloutPlan>> {
        self.may_see(ctx, "patch-job.plans", self.about_job(id).await?).await?;
        let job = patch_jobs::find(&mut *self.read().await?, id).await?.ok_or_else(|| no_job(id))?;
        Ok(job.plans)
    }

    /// How the rollout of a job stands now; `None`: its hosts are not looked up yet.
    pub(super) async fn rollout_view(&self, job: &JobRecord, now: Timestamp) -> Result<Option<RolloutView>> {
        if job.plans.is_empty() {
            return Ok(None);
        }
        let picture = Picture::read(self, job, now).await?;
        let hosts = picture.hosts(self, |one| one.task.state);
        let facts = picture.facts(&job.control, &hosts);
        let decision = drydock_domain::rollout::decide(&facts);
        let forgiven = |at: Timestamp| job.control.forgiven_until.is_some_and(|until| at <= until);
        let zones = picture.plan.zones.iter().enumerate().map(|(i, zone)| {
            let own = |wanted: &dyn Fn(HostState) -> bool| {
                u32::try_from(hosts.iter().filter(|h| h.zone == i && wanted(h.state)).count()).unwrap_or(u32::MAX)
            };
            let is_failed = |s| matches!(s, HostState::Ended { how: Ended::Failed | Ended::Decayed, at } if !forgiven(at));
            let others = picture.others.get(i).copied().unwrap_or_default();
            let (running, failed) = (own(&|s| s == HostState::Running), own(&is_failed));
            ZoneView { zone: zone.clone(), running, failed, others }
        });
        let undone_by = patch_jobs::undone_by(&mut *self.read().await?, job.id).await?;
        let is_automatic = |j: &&JobRecord| matches!(j.origin, JobOrigin::Undo { halted_at: Some(_), .. });
        Ok(Some(RolloutView {
            zones: zones.collect(),
            waves: decision.waves,
            plan: picture.plan.clone(),
            control: job.control.clone(),
            undo_job: undone_by.iter().rfind(is_automatic).map(|j| j.id),
            undone_by: undone_by.into_iter().map(|j| j.id).collect(),
        }))
    }

    /// The plan that follows from another rollout; hosts that have begun stay where they are.
    async fn lay_out_anew(&self, job: &mut JobRecord, rollout: &Rollout, ctx: &OpCtx) -> Result<Moves> {
        let picture = Picture::read(self, job, ctx.now).await?;
        let Some(parent) = job.plans.last().cloned() else {
            let message = format!("patch job {} has no plan yet; try again in a moment", job.id);
            return Err(Error::conflict(message));
        };
        let all: std::collections::HashMap<InstanceId, Target> =
            instances::targets(&mut *self.read().await?, InstanceState::Active).await?.into_iter().map(|t| (t.id, t)).collect();
        let open = picture.open.iter().map(|o| (&o.task.id, o.task.instance, &o.task.zone, o.task.wave, o.task.state));
        let ended = picture.ended.iter().map(|e| (&e.task, e.instance, &e.zone, e.wave, e.state));
        let rows: Vec<_> = open.chain(ended).collect();
        let targets: Vec<Target> = rows.iter().filter_map(|row| all.get(&row.1).cloned()).collect();
        let traits = self.traits_of(rollout, &targets, ctx.now).await?;
        let hosts: Vec<LayoutHost<'_>> = rows
            .iter()
            .map(|(task, instance, zone, wave, state)| LayoutHost {
                task: **task,
                instance: *instance,
                zone,
                kind: traits.kinds.get(instance).cloned().unwrap_or_default(),
                selected: traits.selected.get(instance).copied().unwrap_or_default(),
                begun_in: (*state != TaskState::Pending).then_some(*wave),
            })
            .collect();
        let why = format!("{} resumed the job with another rollout", ctx.who.name());
        let facts = LayoutFacts { rollout, drawn_seed: parent.seed, parent: Some(&parent), why: &why, now: ctx.now };
        let (plan, waves) = lay_out(&facts, &hosts);
        let moves = hosts.iter().zip(&waves).zip(&rows).filter(|((_, to), row)| **to != row.3).map(|((h, to), _)| (h.task, *to));
        let moves = moves.collect();
        keep_gates(job, &parent, &plan);
        job.plans.push(plan);
        Ok(moves)
    }

    /// Does everything exist that the waves name, zones included?
    pub(super) async fn check_rollout(&self, rollout: &Rollout, reach: &Reach, ctx: &OpCtx) -> Result<()> {
        let mut known: Option<Vec<String>> = None;
        for (i, wave) in rollout.waves.iter().enumerate() {
            let Some(select) = &wave.select else { continue };
            let at = format!("rollout.waves[{i}].select");
            self.check_filter(ctx, &at, select).await?;
            if select.zones.is_empty() {
                continue;
            }
            if known.is_none() {
                let all = instances::targets(&mut *self.read().await?, InstanceState::Active).await?;
                known = Some(reach.sort(all).targets.into_iter().map(|t| t.zone).collect());
            }
            let known = known.as_deref().unwrap_or_default();
            let mut problems = Problems::default();
            for zone in select.zones.iter().filter(|zone| !known.contains(zone)) {
                problems.add(format!("{at}.zones"), format!("no active instance is in zone {}", cut(zone, 255)));
            }
            problems.finish()?;
        }
        Ok(())
    }

    /// Stores what a person did to a job; `set` says whether it changed anything.
    async fn steer(
        &self,
        ctx: &OpCtx,
        id: JobId,
        operation: &'static str,
        set: impl Fn(&mut JobRecord) -> Result<bool>,
    ) -> Result<JobView> {
        let act = self.act_on(ctx, operation, self.about_job(id).await?).await?;
        let done = async {
            for _ in 0..RACE_RETRIES {
                let mut job = self.open_job(id).await?;
                if !set(&mut job)? {
                    return self.job_view(id).await;
                }
                let mut tx = self.begin().await?;
                if patch_jobs::update(&mut tx, &job).await? {
                    act.allowed(&mut tx).await?;
                    commit(tx).await?;
                    return self.steered(id).await;
                }
            }
            Err(too_often())
        };
        let done = done.await;
        act.settle(done).await
    }

    async fn steered(&self, id: JobId) -> Result<JobView> {
        self.job_changed(id);
        self.wake();
        self.job_view(id).await
    }

    async fn open_job(&self, id: JobId) -> Result<JobRecord> {
        let job = patch_jobs::find(&mut *self.read().await?, id).await?.ok_or_else(|| no_job(id))?;
        if job.state.is_final() {
            return Err(Error::conflict(format!("patch job {id} has ended ({})", job.state.as_str())));
        }
        if job.cancel_requested {
            return Err(Error::conflict(format!("patch job {id} is being cancelled")));
        }
        Ok(job)
    }

    /// Leaves a halt in the audit: nobody asked for it.
    pub(crate) async fn note_halt(&self, tx: &mut Tx, job: &JobRecord, now: Timestamp) -> Result<()> {
        let why = job.control.halted.as_ref().map(|h| h.cause.describe()).unwrap_or_default();
        tracing::warn!(job.id = %job.id, why, "a patch job has halted");
        self.note_audit(tx, "patch-job.halt", &format!("patch-job {}: {why}", job.id), now).await
    }

    /// Leaves in the audit what the server did by itself.
    pub(crate) async fn note_audit(&self, tx: &mut Tx, operation: &str, resource: &str, now: Timestamp) -> Result<()> {
        let record = Record { resource: resource.to_owned().into(), ..self.audit_draft(operation, now) };
        self.audit_in(tx, record).await
    }
}

fn approved_resource(id: JobId, wave: Option<&str>) -> String {
    match wave {
        Some(wave) => format!("patch-job {id}, wave {}", cut(wave, 64)),
        None => format!("patch-job {id}"),
    }
}

fn approve_wave(job: &mut JobRecord, wave: &str, yes: Approval) -> Result<()> {
    let id = job.id;
    let plan =
        job.plans.last().ok_or_else(|| Error::conflict(format!("patch job {id} has no plan yet; try again in a moment")))?;
    let found = plan.waves.iter().enumerate().find(|(_, w)| w.name == wave);
    let (i, planned) = found.ok_or_else(|| Error::NotFound(format!("wave {} of patch job {id}", cut(wave, 64))))?;
    if !planned.gate.as_ref().is_some_and(|g| g.approval) {
        return Err(Error::conflict(format!("what follows wave {wave} of patch job {id} needs no approval")));
    }
    let i = u16::try_from(i).unwrap_or(u16::MAX);
    job.control.gates.entry(i).or_default().approved.get_or_insert(yes);
    Ok(())
}

/// What gates said stays with the waves of the same names.
fn keep_gates(job: &mut JobRecord, before: &RolloutPlan, after: &RolloutPlan) {
    let old = std::mem::take(&mut job.control.gates);
    for (wave, said) in old {
        let name = before.waves.get(usize::from(wave)).map(|w| &w.name);
        let place = after.waves.iter().position(|w| Some(&w.name) == name).and_then(|i| u16::try_from(i).ok());
        if let Some(place) = place {
            job.control.gates.entry(place).or_insert_with(|| GateAnswers::clone(&said));
        }
    }
}

fn check_reason(reason: &str) -> Result<()> {
    let mut problems = Problems::default();
    problems.text("reason", reason, REASON_MAX_BYTES);
    Ok(problems.finish()?)
}

fn too_often() -> Error {
    Error::Unavailable { message: "the patch job changes too often at once", source: None }
}

//! Work of agents: orders pulled, tasks reported, orders refused. Everything may arrive twice, late or out of order.

use std::collections::BTreeSet;

use drydock_domain::access::scope::is_below;
use drydock_domain::audit::{Outcome, Record};
use drydock_domain::ids::{InstanceId, TaskId};
use drydock_domain::inventory::PackageChange;
use drydock_domain::limits::TASK_REPORT_MAX_BYTES;
use drydock_domain::patch::job::JobOrigin;
use drydock_domain::patch::report::{PackageOutcome, TaskReport};
use drydock_domain::patch::soak;
use drydock_domain::patch::spec::PatchConfig;
use drydock_domain::patch::task::{TaskEvent, TaskState, step};
use drydock_domain::patch::undo::BARRED_MAX;
use drydock_domain::rollout::RolloutPlan;
use drydock_domain::work::{Directive, FROZEN_MAX, FrozenVersion, Interval, OrderWindows, PatchOrder, WorkOrder};
use drydock_store::records::{HistoryRecord, JobRecord, TaskRecord};
use drydock_store::{Tx, calendars, commit, frozen, history, instances, patch_jobs, patch_tasks, seen, undo};
use jiff::{SignedDuration, Timestamp};

use super::RACE_RETRIES;
use super::act::{cut, own_instance};
use super::choice::{Chosen, left_out_note, note_of};
use super::inventory::HISTORY_CHANGES_MAX;
use crate::Control;
use crate::access_part::ROOT;
use crate::context::{OpCtx, Principal};
use crate::error::{Error, Result};
use crate::reconcile::release;
use crate::views::{HeldAnswer, Pulled, Reported, SignedOrder};

/// An order is to be started within this time after it was signed, seconds. Agents pull when they are ready, so only
/// the way of the answer and the difference of two clocks must fit in.
const ORDER_START_WITHIN_SECS: i64 = 3600;
/// Tasks one agent may hold, count: it works at one, and remembers final ones until they are stored.
const HELD_MAX: usize = 256;
/// Longest message kept in a task's row, bytes; the report has all of it.
const MESSAGE_MAX_BYTES: usize = 1024;

impl Control {
    /// What an agent is to do: orders it does not hold, and an answer for each task it holds.
    pub async fn pull_work(&self, ctx: &OpCtx, held: &[TaskId]) -> Result<Pulled> {
        let instance = own_instance(ctx)?;
        if held.len() > HELD_MAX {
            return Err(Error::invalid("held", format!("has {} entries; at most {HELD_MAX} are allowed", held.len())));
        }
        let mut pulled = Pulled::default();
        let at_work = patch_tasks::at_work(&mut *self.read().await?, instance).await?;
        for task in at_work {
            let job = self.job_of(&task).await?;
            if held.contains(&task.id) {
                // It has the order, whatever became of our answer.
                if task.state == TaskState::Notified {
                    self.advance(ctx, &task, TaskEvent::Ack, String::new()).await?;
                }
            } else if task.report_seq > 0 {
                // A pull that was under way when the report came says nothing.
                if task.updated_at < ctx.now {
                    let message = "the agent lost its ledger; what the host is like now is in its inventory".to_owned();
                    self.advance(ctx, &task, TaskEvent::Report(TaskState::Failed), message).await?;
                }
            } else if job.cancel_requested {
                let message = "cancelled before the host began".to_owned();
                self.advance(ctx, &task, TaskEvent::Report(TaskState::Canceled), message).await?;
            } else if !self.lies_in(instance, &job.compartment).await? {
                // It was moved after the task was let go, before the order went out.
                let message = format!("the instance left the job's compartment {} before it began", job.compartment);
                self.advance(ctx, &task, TaskEvent::AgentMissing, message).await?;
            } else if let Some(why) = self.may_no_more(&job, instance, ctx.now).await? {
                self.advance(ctx, &task, TaskEvent::AgentMissing, why).await?;
            } else if job.deadline.is_none_or(|deadline| ctx.now < deadline) {
                pulled.orders.extend(self.hand_out(ctx, &job, &task).await?);
            }
        }
        let known = patch_tasks::of_instance_by_id(&mut *self.read().await?, instance, held).await?;
        for id in held {
            let answer = match known.iter().find(|t| t.id == *id) {
                Some(task) => HeldAnswer::Directive(directive(&self.job_of(task).await?, task.state, ctx.now)),
                None => HeldAnswer::Forget,
            };
            pulled.directives.push((*id, answer));
        }
        Ok(pulled)
    }

    /// Does an instance lie in a compartment or below it?
    async fn lies_in(&self, instance: InstanceId, compartment: &str) -> Result<bool> {
        if compartment == ROOT {
            return Ok(true);
        }
        let found = instances::find(&mut *self.read().await?, instance).await?;
        Ok(found.is_some_and(|own| is_below(&own.compartment, compartment)))
    }

    /// Takes an agent's report of a task. A report that is not newer than the stored one changes nothing.
    pub async fn report_task(&self, ctx: &OpCtx, report: &[u8]) -> Result<Reported> {
        let instance = own_instance(ctx)?;
        let report = read_report(report)?;
        for _ in 0..RACE_RETRIES {
            let found = patch_tasks::find(&mut *self.read().await?, report.task).await?;
            let task = found.filter(|t| t.instance == instance);
            let task = task.ok_or_else(|| Error::NotFound(format!("patch task {} of this instance", report.task)))?;
            let job = self.job_of(&task).await?;
            if report.seq <= task.report_seq {
                return Ok(Reported { directive: directive(&job, task.state, ctx.now), stored: true });
            }
            if task.state == TaskState::Pending {
                // A server restored from a backup has not let this task go yet. It will, and the agent tells again.
                return Ok(Reported { directive: directive(&job, task.state, ctx.now), stored: false });
            }
            let after = after_report(&task, &report, ctx.now);
            let mut tx = self.begin().await?;
            if !patch_tasks::put_report(&mut tx, &after, &report).await? {
                continue;
            }
            if after.state.is_final() && !task.state.is_final() {
                self.finish_entry(&mut tx, &after, Some(&report), ctx.now).await?;
                if after.state.is_success() {
                    calendars::release_of_task(&mut tx, after.id).await?;
                }
                self.keep_versions(&mut tx, &job, &after, &report).await?;
                let named = soak::sighted(&report, job.spec.patch_config.soak_days > 0);
                seen::note(&mut tx, &named, ctx.now, ctx.now).await?;
                if let JobOrigin::Undo { job: undone, .. } = &job.origin
                    && after.state.is_success()
                    && !job.spec.dry_run
                {
                    self.settle_undo(&mut tx, *undone, &after, ctx.now).await?;
                }
            }
            commit(tx).await?;
            self.job_changed(task.job);
            if after.state.is_final() {
                self.wake();
            }
            return Ok(Reported { directive: directive(&job, after.state, ctx.now), stored: true });
        }
        Err(Error::Unavailable { message: "the patch task changes too often at once", source: None })
    }

    /// An agent will not act on an order: the task fails with its reason, unless the agent is at work on it.
    pub async fn refuse_order(&self, ctx: &OpCtx, task: Option<TaskId>, reason: &str) -> Result<()> {
        let instance = own_instance(ctx)?;
        let reason: String = cut(reason, MESSAGE_MAX_BYTES).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        tracing::warn!(instance.id = %instance, reason, "an agent refused an order");
        let found = match task {
            Some(id) => patch_tasks::find(&mut *self.read().await?, id).await?.filter(|t| t.instance == instance),
            None => None,
        };
        let message = format!("the agent refused the order: {reason}");
        match found {
            Some(task) if task.report_seq == 0 && task.state.is_running() => {
                self.advance(ctx, &task, TaskEvent::Report(TaskState::Failed), message).await.map(drop)
            }
            _ => {
                let mut tx = self.begin().await?;
                self.note(&mut tx, instance, "order-refused", message, ctx.now).await?;
                Ok(commit(tx).await?)
            }
        }
    }

    /// Moves a task by an event. `false`: somebody changed it meanwhile, or its state refuses the event; the next look
    /// decides anew.
    async fn advance(&self, ctx: &OpCtx, task: &TaskRecord, event: TaskEvent, message: String) -> Result<bool> {
        let Ok(state) = step(task.state, event) else { return Ok(false) };
        if state == task.state {
            return Ok(true);
        }
        let after = moved(task, state, message, ctx.now);
        let mut tx = self.begin().await?;
        if !patch_tasks::update(&mut tx, &after).await? {
            return Ok(false);
        }
        if state.is_final() {
            self.finish_entry(&mut tx, &after, None, ctx.now).await?;
        }
        if event == TaskEvent::Ack {
            let sent = format!("order {}", task.order_number.unwrap_or_default());
            self.audit_task(&mut tx, task, sent, self.audit_of(ctx, "patch-task.send")).await?;
        }
        commit(tx).await?;
        self.job_changed(task.job);
        if state.is_final() {
            self.wake();
        }
        Ok(true)
    }

    /// The order of a task that the agent does not hold; `None`: there is nothing to do on this host, or somebody changed
    /// the task meanwhile.
    async fn hand_out(&self, ctx: &OpCtx, job: &JobRecord, task: &TaskRecord) -> Result<Option<SignedOrder>> {
        let chosen = match &job.origin {
            JobOrigin::Undo { job: undone, .. } => match self.undo_order(*undone, task).await? {
                Ok(undo) => {
                    let config = PatchConfig { undo: Some(undo), ..job.spec.patch_config.clone() };
                    Chosen::Settings { config: Box::new(config), left_out: 0 }
                }
                Err(why) => {
                    let message = cut(&format!("cannot be taken back exactly: {why}"), MESSAGE_MAX_BYTES).to_owned();
                    self.advance(ctx, task, TaskEvent::Report(TaskState::Failed), message).await?;
                    return Ok(None);
                }
            },
            _ => self.choose_for(task.instance, &job.spec.patch_config, ctx.now).await?,
        };
        let note = match &chosen {
            Chosen::Settings { left_out, .. } => left_out_note(*left_out),
            Chosen::Nothing(_) => String::new(),
        };
        if !self.advance(ctx, task, TaskEvent::Ack, note).await? {
            return Ok(None);
        }
        match chosen {
            Chosen::Settings { config, .. } => self.sign_order(ctx, job, task, *config).await,
            Chosen::Nothing(why) => {
                if let Some(task) = patch_tasks::find(&mut *self.read().await?, task.id).await? {
                    self.advance(ctx, &task, TaskEvent::Report(TaskState::Succeeded), why).await?;
                }
                Ok(None)
            }
        }
    }

    async fn sign_order(
        &self,
        ctx: &OpCtx,
        job: &JobRecord,
        task: &TaskRecord,
        mut config: PatchConfig,
    ) -> Result<Option<SignedOrder>> {
        let Some(number) = task.order_number else {
            tracing::error!(task.id = %task.id, "a task was let go without an order number");
            return Ok(None);
        };
        if config.undo.is_none() {
            config.barred = undo::bars_of(&mut *self.read().await?, task.instance).await?;
            config.barred.truncate(BARRED_MAX);
        } else {
            // What was there before came back to a host that had it.
            (config.soak_days, config.soak_except_security) = (0, false);
        }
        let soak = self.order_soak(task.instance, &config, ctx.now).await?;
        let rollout = job.plans.last().map(|p| &p.rollout).or(job.spec.rollout.as_ref());
        let has_windows = !job.spec.dry_run && rollout.is_none_or(|r| r.ignore_windows.is_none());
        let windows = if has_windows { self.order_windows(task.instance, ctx.now).await? } else { None };
        let reboot_slot = !job.spec.dry_run && !self.slot_groups_of(task.instance, ctx.now).await?.is_empty();
        let latest = ctx.now.saturating_add(SignedDuration::from_secs(ORDER_START_WITHIN_SECS)).unwrap_or(Timestamp::MAX);
        let patch = PatchOrder {
            task: task.id,
            job: job.id,
            deadline: job.deadline,
            dry_run: job.spec.dry_run,
            config,
            windows: windows.map(|w| over_if_empty(w, ctx.now)),
            reboot_slot,
            frozen: self.frozen_for(job, task).await?,
            soak,
        };
        let order = WorkOrder {
            version: patch.work_version(),
            instance: task.instance,
            number,
            issued_at: ctx.now,
            start_before: job.deadline.map_or(latest, |deadline| deadline.min(latest)),
            task: patch,
        };
        let order = serde_json::to_vec(&order).map_err(|e| Error::Internal { doing: "write an order", source: Box::new(e) })?;
        let signature = self.key().sign(&order);
        Ok(Some(SignedOrder { order, signature }))
    }

    /// What hosts of the same operating system planned in an earlier wave of the job.
    async fn frozen_for(&self, job: &JobRecord, task: &TaskRecord) -> Result<Vec<FrozenVersion>> {
        if task.wave == 0 || !keeps_versions(job) {
            return Ok(Vec::new());
        }
        let mut c = self.read().await?;
        let os = instances::find(&mut c, task.instance).await?.and_then(|i| i.os);
        let Some(os) = os.as_ref().map(release) else { return Ok(Vec::new()) };
        match frozen::first_wave(&mut c, job.id, &os).await?.filter(|first| *first < task.wave) {
            Some(first) => {
                let mut versions = frozen::of_wave(&mut c, job.id, &os, first).await?;
                versions.truncate(FROZEN_MAX);
                Ok(versions)
            }
            None => Ok(Vec::new()),
        }
    }

    /// Remembers what a host of the first wave planned.
    async fn keep_versions(&self, tx: &mut Tx, job: &JobRecord, task: &TaskRecord, report: &TaskReport) -> Result<()> {
        if !keeps_versions(job) || !task.state.is_success() {
            return Ok(());
        }
        let os = instances::find(tx, task.instance).await?.and_then(|i| i.os);
        let Some(os) = os.as_ref().map(release) else { return Ok(()) };
        if frozen::first_wave(tx, job.id, &os).await?.is_some_and(|first| first != task.wave) {
            return Ok(());
        }
        let planned: BTreeSet<FrozenVersion> =
            report.plans.iter().flat_map(|p| &p.actions).filter_map(FrozenVersion::of).collect();
        let planned: Vec<FrozenVersion> = planned.into_iter().collect();
        Ok(frozen::add(tx, job.id, &os, task.wave, &planned).await?)
    }

    async fn job_of(&self, task: &TaskRecord) -> Result<JobRecord> {
        let job = patch_jobs::find(&mut *self.read().await?, task.job).await?;
        job.ok_or_else(|| Error::NotFound(format!("patch job {}", task.job)))
    }

    /// Leaves the end of a task in its instance's history (if the instance is still there).
    pub(crate) async fn finish_entry(
        &self,
        tx: &mut Tx,
        task: &TaskRecord,
        report: Option<&TaskReport>,
        now: Timestamp,
    ) -> Result<()> {
        let own = match report {
            Some(_) => self.audit_of(&self.ctx(Principal::Instance(task.instance), ""), "patch-task.result"),
            None => self.audit_draft("patch-task.result", now),
        };
        let error = if task.state.is_success() { String::new() } else { task.message.clone() };
        let outcome = if task.state.is_success() { Outcome::Allowed } else { Outcome::Failed };
        let own = Record { at: now, error: error.into(), outcome: outcome.as_str().into(), ..own };
        self.audit_task(tx, task, task.state.as_str().to_owned(), own).await?;
        if instances::find(tx, task.instance).await?.is_none() {
            return Ok(());
        }
        let entry = history_entry(task, report, now);
        Ok(history::insert(tx, self.mint(now), task.instance, &entry).await?)
    }

    /// Leaves in the audit what became of an instance's part of a job.
    async fn audit_task(&self, tx: &mut Tx, task: &TaskRecord, what: String, draft: Record<'static>) -> Result<()> {
        let host = instances::find(tx, task.instance).await?;
        let compartment = host.map_or_else(|| ROOT.to_owned(), |own| own.compartment);
        let resource = format!("patch-task {} of patch-job {} on {}: {what}", task.id, task.job, task.instance_name);
        self.audit_in(tx, Record { compartment: compartment.into(), resource: resource.into(), ..draft }).await
    }
}

/// The row after a move.
pub(crate) fn moved(task: &TaskRecord, state: TaskState, message: String, now: Timestamp) -> TaskRecord {
    TaskRecord {
        state,
        message,
        waiting_on: None,
        // A clock that steps back must not make a change look older than the one before it.
        updated_at: now.max(task.updated_at),
        finished_at: state.is_final().then_some(now),
        ..task.clone()
    }
}

/// A host that never opens again is told an opening that is over: it was open a moment ago, when it was let go.
fn over_if_empty(mut windows: OrderWindows, now: Timestamp) -> OrderWindows {
    if windows.intervals.is_empty() {
        let ago = |secs| now.saturating_sub(SignedDuration::from_secs(secs)).unwrap_or(Timestamp::MIN);
        windows.intervals.push(Interval { from: ago(2), to: ago(1) });
    }
    windows
}

/// Later waves of this job are held to the versions of the first one.
fn keeps_versions(job: &JobRecord) -> bool {
    let has_waves = |p: &RolloutPlan| p.waves.len() > 1 && !p.rollout.newest_content;
    !matches!(job.origin, JobOrigin::Undo { .. }) && job.plans.last().is_some_and(has_waves)
}

/// What an agent at work on a task of this job is told.
fn directive(job: &JobRecord, state: TaskState, now: Timestamp) -> Directive {
    if job.cancel_requested && job.kill_requested {
        Directive::Kill
    } else if job.cancel_requested || state.is_final() || job.deadline.is_some_and(|deadline| deadline <= now) {
        Directive::Stop
    } else {
        Directive::Continue
    }
}

/// Reads a report: hostile input.
fn read_report(bytes: &[u8]) -> Result<TaskReport> {
    if bytes.len() > TASK_REPORT_MAX_BYTES {
        let message = format!("is {} bytes long; at most {TASK_REPORT_MAX_BYTES} are allowed", bytes.len());
        return Err(Error::invalid("report", message));
    }
    let report: TaskReport =
        serde_json::from_slice(bytes).map_err(|e| Error::invalid("report", format!("cannot be read: {e}")))?;
    if report.seq == 0 || i64::try_from(report.seq).is_err() {
        return Err(Error::invalid("seq", "starts at 1 and fits in 63 bits"));
    }
    report.validate()?;
    Ok(report)
}

/// The row after a report. A final state stays: the operator was told. The report is kept all the same.
fn after_report(task: &TaskRecord, report: &TaskReport, now: Timestamp) -> TaskRecord {
    let message = format!("{}{}", note_of(&task.message), cut(&report.message, MESSAGE_MAX_BYTES));
    let row = match step(task.state, TaskEvent::Report(report.state)) {
        Ok(state) => moved(task, state, message, now),
        Err(_) => TaskRecord { updated_at: now.max(task.updated_at), ..task.clone() },
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    // A later plan of the same manager names the same held packages again: the last one of each counts.
    let last = |i: usize| report.plans[i + 1..].iter().all(|later| later.manager != report.plans[i].manager);
    let skipped = report.plans.iter().enumerate().filter(|(i, _)| last(*i)).map(|(_, plan)| plan.skipped.len()).sum();
    TaskRecord {
        report_seq: report.seq,
        planned: count(report.plans.iter().map(|plan| plan.actions.len()).sum()),
        applied: count(report.packages.iter().filter(|p| p.outcome == PackageOutcome::Applied).count()),
        skipped: count(skipped),
        reboots: report.reboots,
        ..row
    }
}

fn history_entry(task: &TaskRecord, report: Option<&TaskReport>, now: Timestamp) -> HistoryRecord {
    let name = if task.job_display_name.is_empty() { task.job.to_string() } else { task.job_display_name.clone() };
    let kind = if task.dry_run { "dry run of patch job" } else { "patch job" };
    let mut message = format!("{kind} {name}: {}", task.state.as_str());
    if !task.message.is_empty() {
        message = format!("{message} ({})", task.message);
    }
    let packages = report.map(|r| r.packages.as_slice()).unwrap_or_default();
    let changed = || packages.iter().filter(|p| p.outcome != PackageOutcome::NotApplied && p.found != p.planned.from);
    let changes = changed().take(HISTORY_CHANGES_MAX).map(|p| PackageChange {
        name: p.planned.name.clone(),
        arch: p.planned.arch.clone(),
        from: p.planned.from.clone(),
        to: p.found.clone(),
    });
    HistoryRecord {
        at: now,
        kind: "patch-task".to_owned(),
        message,
        changes: changes.collect(),
        changes_total: u32::try_from(changed().count()).unwrap_or(u32::MAX),
        task: Some(task.id),
    }
}

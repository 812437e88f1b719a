//! Taking a patch job back: what each host would get back and what refuses that, jobs that do it, the order of each host,
//! and the versions that are barred there after it. The inverse itself is `domain::patch::undo`.

use std::collections::BTreeSet;

use drydock_domain::access::Permission;
use drydock_domain::ids::{InstanceId, JobId};
use drydock_domain::instance::InstanceState;
use drydock_domain::inventory::{Package, PackageSet, SectionKind};
use drydock_domain::limits::JOB_TARGETS_MAX;
use drydock_domain::patch::filter::InstanceFilter;
use drydock_domain::patch::job::{JobOrigin, StateCounts};
use drydock_domain::patch::report::{PackageOutcome, TaskReport};
use drydock_domain::patch::spec::{PatchConfig, PatchJobSpec};
use drydock_domain::patch::undo::{UndoOrder, UndoRefusal, found_after, inverse};
use drydock_domain::rollout::Rollout;
use drydock_store::idempotency::KeyUse;
use drydock_store::records::{JobRecord, PageQuery, Paged, TaskQuery, TaskRecord};
use drydock_store::undo::{self, BarQuery, BarRecord};
use drydock_store::{Tx, commit, idempotency, instances, inventory, patch_jobs, patch_tasks};
use jiff::Timestamp;

use super::act::{About, Act, cut};
use super::digest;
use super::patch_jobs::{check_key, no_job, view};
use super::reach::{Made, first};
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::views::{JobView, UndoAsk, UndoHost};

/// Refusals told in one error, count.
const REFUSALS_TOLD_MAX: usize = 20;
/// Tasks read at once.
const PAGE_ROWS: u32 = 1000;
/// Longest name of an undo job, bytes.
const NAME_MAX_BYTES: usize = 200;

impl Control {
    /// What taking a job back means to each of its hosts that it changed (or to those that are named): what would move,
    /// or why that cannot be done exactly.
    pub async fn preview_undo(&self, ctx: &OpCtx, job: JobId, hosts: &[String]) -> Result<Vec<UndoHost>> {
        self.may_see(ctx, "patch-job.undo-preview", self.about_job(job).await?).await?;
        self.undo_hosts(job, hosts).await
    }

    /// Starts a job that takes another one back. Nothing begins where a host refuses, unless those are to be left out. The
    /// same idempotency key returns the job it made.
    pub async fn undo_patch_job(&self, ctx: &OpCtx, job: JobId, ask: UndoAsk, key: Option<&str>) -> Result<JobView> {
        let act = self.act_on(ctx, "patch-job.undo", self.about_job(job).await?).await?;
        let made = self.try_undo(ctx, job, ask, key, &act).await;
        act.settle(made).await
    }

    async fn try_undo(&self, ctx: &OpCtx, job: JobId, ask: UndoAsk, key: Option<&str>, act: &Act<'_>) -> Result<JobView> {
        let request = digest(&format!("undo patch job {job}: {ask:?}"));
        if let Some(key) = key {
            check_key(key)?;
            if let Some(view) = self.made_before(ctx, key, &request).await? {
                return Ok(view);
            }
        }
        let undone = patch_jobs::find(&mut *self.read().await?, job).await?.ok_or_else(|| no_job(job))?;
        let mut hosts = self.undo_hosts(job, &ask.instances).await?;
        let not_patchable = self.keep_reached(ctx, &undone, &ask.instances, &mut hosts).await?;
        let refused: Vec<&UndoHost> = hosts.iter().filter(|h| !h.refused.is_empty()).collect();
        if !refused.is_empty() && !ask.skip_refused {
            return Err(refusal(job, &refused));
        }
        let ready: Vec<InstanceId> = hosts.iter().filter(|h| h.refused.is_empty()).map(|h| h.instance).collect();
        if ready.is_empty() {
            let message = format!("patch job {job} changed nothing on any host that could be taken back");
            return Err(Error::conflict(message));
        }
        let origin = JobOrigin::Undo { job, wave: None, halted_at: None };
        let made = Made::by(&ctx.who, undone.compartment.clone())?;
        let mut record = self.undo_job(&undone, &ready, ask.dry_run, origin, made, ctx.now);
        let mut targets = instances::targets(&mut *self.read().await?, InstanceState::Active).await?;
        targets.retain(|target| ready.contains(&target.id));
        self.demand_approval(&ctx.who, "patch-job.undo", &undone.compartment, &targets, &mut record.spec).await?;
        let mut tx = self.begin().await?;
        if let Some(key) = key {
            let used = KeyUse { request_sha256: request.clone(), resource: record.id.to_string() };
            if !idempotency::take(&mut tx, &ctx.who.key(), key, &used, ctx.now).await? {
                drop(tx);
                let before = self.made_before(ctx, key, &request).await?;
                return before.ok_or_else(|| Error::conflict("the idempotency key is in use; try again"));
            }
        }
        patch_jobs::insert(&mut tx, &record).await?;
        act.allowed_on(&mut tx, &format!("patch-job {job}, by patch-job {}", record.id)).await?;
        commit(tx).await?;
        self.wake();
        Ok(JobView { not_patchable: Some(not_patchable), ..view(record, StateCounts::new()) })
    }

    /// Leaves out the hosts that the caller may not patch (any more), and says how many of them he may see; one that he
    /// names is refused.
    async fn keep_reached(&self, ctx: &OpCtx, undone: &JobRecord, named: &[String], hosts: &mut Vec<UndoHost>) -> Result<u64> {
        let reach = self.reach(&ctx.who, "patch-job.undo", &undone.compartment, ctx.now).await?;
        let of_job: BTreeSet<InstanceId> = hosts.iter().map(|host| host.instance).collect();
        let mut all = instances::targets(&mut *self.read().await?, InstanceState::Active).await?;
        let there: BTreeSet<InstanceId> = all.iter().map(|target| target.id).collect();
        all.retain(|target| of_job.contains(&target.id));
        let reached = reach.sort(all);
        let mine: BTreeSet<InstanceId> = reached.targets.iter().map(|target| target.id).collect();
        // What is not active refuses its undo itself.
        let is_left_out = |host: &UndoHost| there.contains(&host.instance) && !mine.contains(&host.instance);
        if let Some(host) = hosts.iter().find(|host| !named.is_empty() && is_left_out(host)) {
            let job = undone.id;
            return Err(Error::NotFound(format!("host {} in patch job {job} that you may patch", host.instance_name)));
        }
        hosts.retain(|host| !is_left_out(host));
        Ok(reached.seen_only)
    }

    /// A job that takes `undone` back on these hosts, within the same disruption budget.
    fn undo_job(
        &self,
        undone: &JobRecord,
        hosts: &[InstanceId],
        dry_run: bool,
        origin: JobOrigin,
        made: Made,
        now: Timestamp,
    ) -> JobRecord {
        let name = if undone.spec.display_name.is_empty() { undone.id.to_string() } else { undone.spec.display_name.clone() };
        let before = undone.plans.last().map(|p| &p.rollout).or(undone.spec.rollout.as_ref());
        let rollout = before.map(|r| Rollout {
            mode: r.mode,
            disruption_budget: r.disruption_budget,
            ignore_windows: r.ignore_windows.clone(),
            ..Rollout::default()
        });
        let spec = PatchJobSpec {
            display_name: cut(&format!("undo of {name}"), NAME_MAX_BYTES).to_owned(),
            description: format!("takes back what patch job {} did", undone.id),
            instance_filter: InstanceFilter {
                instances: hosts.iter().map(ToString::to_string).collect(),
                ..InstanceFilter::default()
            },
            dry_run,
            duration_secs: undone.spec.duration_secs,
            patch_config: PatchConfig { reboot_config: undone.spec.patch_config.reboot_config, ..PatchConfig::default() },
            concurrency: undone.spec.concurrency,
            rollout,
            compartment: None,
        };
        self.new_job(JobId(self.mint(now)), spec, origin, made, now)
    }

    /// The hosts of a job that it changed, or those named.
    async fn undo_hosts(&self, job: JobId, named: &[String]) -> Result<Vec<UndoHost>> {
        if named.len() > JOB_TARGETS_MAX {
            return Err(Error::invalid("instances", format!("has {} entries; at most {JOB_TARGETS_MAX} fit", named.len())));
        }
        let record = patch_jobs::find(&mut *self.read().await?, job).await?.ok_or_else(|| no_job(job))?;
        if record.spec.dry_run {
            return Err(Error::conflict(format!("patch job {job} was a dry run: it changed nothing")));
        }
        let wanted: BTreeSet<&str> = named.iter().map(String::as_str).collect();
        let mut met: BTreeSet<String> = BTreeSet::new();
        let mut out = Vec::new();
        for task in self.tasks_of(job).await? {
            let id = task.instance.to_string();
            let is_named = [task.instance_name.as_str(), id.as_str()].into_iter().find(|name| wanted.contains(name));
            if !wanted.is_empty() && is_named.is_none() {
                continue;
            }
            met.extend(is_named.map(str::to_owned));
            match self.undo_of(&task).await? {
                Ok(order) => out.push(host(&task, Some(order), Vec::new())),
                // A host that nothing was changed on is no part of an undo, unless somebody thinks that it is.
                Err(Kept::Nothing(_)) if wanted.is_empty() => {}
                Err(Kept::Nothing(refused) | Kept::Refused(refused)) => out.push(host(&task, None, refused)),
            }
        }
        if let Some(missing) = wanted.iter().find(|name| !met.contains(**name)) {
            return Err(Error::NotFound(format!("host {} in patch job {job}", cut(missing, 255))));
        }
        Ok(out)
    }

    pub(super) async fn tasks_of(&self, job: JobId) -> Result<Vec<TaskRecord>> {
        let mut out = Vec::new();
        let mut cursor = None;
        loop {
            let page = PageQuery { cursor: cursor.take(), limit: Some(PAGE_ROWS) };
            let query = TaskQuery { page, ..TaskQuery::default() };
            let rows = patch_tasks::list(&mut *self.read().await?, job, &query).await?;
            out.extend(rows.items);
            match rows.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(out),
            }
        }
    }

    /// The inverse of one task, as the host is now.
    async fn undo_of(&self, task: &TaskRecord) -> Result<std::result::Result<UndoOrder, Kept>> {
        let refuse =
            |reason: String| Ok(Err(Kept::Refused(vec![UndoRefusal { name: String::new(), arch: String::new(), reason }])));
        let nothing = |reason: &str| {
            let refusal = UndoRefusal { name: String::new(), arch: String::new(), reason: reason.to_owned() };
            Ok(Err(Kept::Nothing(vec![refusal])))
        };
        if task.state.is_running() {
            return refuse(format!("the task is {}; wait for its end, or cancel it", task.state.as_str()));
        }
        let mut c = self.read().await?;
        let Some(report) = patch_tasks::report(&mut c, task.id).await? else {
            return nothing("the host reported nothing: there is nothing to undo");
        };
        if !changed_something(&report) {
            return nothing("the task changed no package: there is nothing to undo");
        }
        let Some(instance) = instances::find(&mut c, task.instance).await? else {
            return refuse("the instance was deleted".to_owned());
        };
        if instance.state != InstanceState::Active {
            return refuse(format!("the instance is {}", instance.state.as_str()));
        }
        let Some((reported_at, mut installed)) = installed(&mut c, task.instance).await? else {
            return refuse("the host has sent no inventory".to_owned());
        };
        if task.finished_at.is_some_and(|finished| reported_at < finished) {
            // The inventory is from before the end of the task; the report is newer. The host compares again before it begins.
            installed = found_after(&report, &installed);
        }
        Ok(inverse(&report, &installed).map_err(Kept::Refused))
    }

    /// What the order of a task of an undo job says; made once and kept. `Err`: why the host refuses.
    pub(super) async fn undo_order(&self, undone: JobId, task: &TaskRecord) -> Result<std::result::Result<UndoOrder, String>> {
        if let Some(order) = undo::order(&mut *self.read().await?, task.id).await? {
            return Ok(Ok(order));
        }
        let original = patch_tasks::of_job_and_instance(&mut *self.read().await?, undone, task.instance).await?;
        let Some(original) = original else { return Ok(Err(format!("patch job {undone} did not reach this host"))) };
        let mut order = match self.undo_of(&original).await? {
            Ok(order) => order,
            Err(Kept::Nothing(refused) | Kept::Refused(refused)) => {
                let told: Vec<String> = refused.iter().map(ToString::to_string).collect();
                return Ok(Err(told.join("; ")));
            }
        };
        order.files = self.undo_files(task.instance, &order).await?;
        let mut tx = self.begin().await?;
        undo::put_order(&mut tx, task.id, &order).await?;
        commit(tx).await?;
        // Another server may have been faster: what is stored counts.
        Ok(undo::order(&mut *self.read().await?, task.id).await?.ok_or_else(|| "its order was not stored".to_owned()))
    }

    /// After an undo succeeded: what it took away is barred on that host, what it gave back is barred no more.
    pub(super) async fn settle_undo(&self, tx: &mut Tx, undone: JobId, task: &TaskRecord, now: Timestamp) -> Result<()> {
        let Some(order) = undo::order(tx, task.id).await? else { return Ok(()) };
        if instances::find(tx, task.instance).await?.is_none() {
            return Ok(());
        }
        for (name, arch, version) in order.arriving() {
            undo::lift_one(tx, task.instance, name, arch, version).await?;
        }
        let reason = format!("patch job {} took back what patch job {undone} did", task.job);
        for bar in order.barred(&reason) {
            let record = BarRecord {
                id: self.mint(now),
                instance: task.instance,
                instance_name: task.instance_name.clone(),
                bar,
                job: task.job,
                created_at: now,
            };
            undo::bar(tx, &record).await?;
        }
        Ok(())
    }

    /// The undo of a wave that failed: one job for each halt. `false`: somebody was faster.
    pub(crate) async fn undo_wave(&self, job: &JobRecord, wave: u16, halted_at: Timestamp, now: Timestamp) -> Result<bool> {
        let tasks = self.tasks_of(job.id).await?;
        let mut ready = Vec::new();
        for task in tasks.into_iter().filter(|t| t.wave == wave) {
            match self.undo_of(&task).await? {
                Ok(_) => ready.push(task.instance),
                Err(Kept::Refused(why)) => {
                    let why: Vec<String> = why.iter().map(ToString::to_string).collect();
                    tracing::warn!(job.id = %job.id, host = task.instance_name, why = why.join("; "), "a host of a failed wave is not undone");
                }
                Err(Kept::Nothing(_)) => {}
            }
        }
        if ready.is_empty() {
            return Ok(false);
        }
        let name = job.plans.last().and_then(|p| p.waves.get(usize::from(wave))).map(|w| w.name.clone());
        let origin = JobOrigin::Undo { job: job.id, wave: Some(name.unwrap_or_default()), halted_at: Some(halted_at) };
        let by = "server".to_owned();
        let made = Made { owner: by.clone(), by, compartment: job.compartment.clone() };
        let record = self.undo_job(job, &ready, false, origin, made, now);
        let mut tx = self.begin().await?;
        match patch_jobs::insert(&mut tx, &record).await {
            Err(e) if e.is_duplicate() => return Ok(false),
            other => other?,
        }
        self.note_audit(&mut tx, "patch-job.undo", &format!("patch-job {}, by patch-job {}", job.id, record.id), now).await?;
        commit(tx).await?;
        self.job_changed(job.id);
        self.wake();
        Ok(true)
    }

    /// Versions that are barred, newest first.
    pub async fn list_bars(&self, ctx: &OpCtx, query: &BarQuery) -> Result<Paged<BarRecord>> {
        let scope = self.scope_of_hosts(ctx, "barred-version.list", Permission::PatchRead).await?;
        Ok(undo::bars(&mut *self.read().await?, query, &scope).await?)
    }

    /// Lets versions come back: those of a host, of a job, or of a package. Says how many were barred.
    pub async fn lift_bars(&self, ctx: &OpCtx, query: &BarQuery) -> Result<u64> {
        let named = [
            query.instance.map(|i| format!("instance {i}")),
            query.job.map(|j| format!("patch-job {j}")),
            query.name.as_ref().map(|n| format!("package {}", cut(n, 255))),
        ];
        let resource = named.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let scope = self.scope(ctx, "barred-version.lift", Permission::PatchManage).await?;
        let about = match query.instance {
            // A host that he may see and where he may not do this refuses it; of others nothing is lifted.
            Some(instance) => self.looked_up(&instance.to_string()).await?.0.called(&resource),
            None => About::within(first(&scope), &resource),
        };
        let each = query.instance.is_none() && self.looks_at_hosts(&ctx.who, "DRYDOCK_BARRED_VERSION_LIFT").await?;
        let act = self.act_on(ctx, "barred-version.lift", about).await?;
        let lifted = async {
            if resource.is_empty() {
                return Err(Error::invalid("instance", "is needed, or job or name: lifting every bar at once is never meant"));
            }
            if each {
                let why = "is needed: a statement about you looks at single hosts, so lift the bars of one after the other";
                return Err(Error::invalid("instance", why));
            }
            let mut tx = self.begin().await?;
            let lifted = undo::lift(&mut tx, query, &scope).await?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            Ok(lifted)
        }
        .await;
        act.settle(lifted).await
    }
}

/// Why there is no inverse.
enum Kept {
    /// There is nothing to take back.
    Nothing(Vec<UndoRefusal>),
    /// It cannot be taken back exactly.
    Refused(Vec<UndoRefusal>),
}

fn host(task: &TaskRecord, order: Option<UndoOrder>, refused: Vec<UndoRefusal>) -> UndoHost {
    let actions = order.map(|o| o.actions).unwrap_or_default();
    UndoHost { task: task.id, instance: task.instance, instance_name: task.instance_name.clone(), actions, refused }
}

/// Did the host change by this task?
fn changed_something(report: &TaskReport) -> bool {
    report.packages.iter().any(|p| p.outcome != PackageOutcome::NotApplied)
        || report.modules.iter().any(|m| m.found != m.planned.before)
}

/// What the server knows to be installed, and when it was last told that it is so.
async fn installed(c: &mut drydock_store::Connection, instance: InstanceId) -> Result<Option<(Timestamp, Vec<Package>)>> {
    let Some(section) = inventory::section(c, instance, SectionKind::Packages).await? else { return Ok(None) };
    let set: PackageSet = serde_json::from_slice(&section.body)
        .map_err(|e| Error::Internal { doing: "read the packages of a host", source: Box::new(e) })?;
    Ok(Some((section.reported_at, set.as_slice().to_vec())))
}

fn refusal(job: JobId, refused: &[&UndoHost]) -> Error {
    let told = refused.iter().flat_map(|h| h.refused.iter().map(move |r| format!("{}: {r}", h.instance_name)));
    let told: Vec<String> = told.take(REFUSALS_TOLD_MAX).collect();
    Error::conflict(format!(
        "patch job {job} cannot be taken back exactly on {} of its hosts, so nothing was begun (skipRefused, --skip-refused \
         leaves them out): {}",
        refused.len(),
        told.join("; ")
    ))
}

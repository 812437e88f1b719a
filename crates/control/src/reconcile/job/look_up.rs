//! A job begins: its hosts are looked up, laid out in waves and zones, and stored with the first plan.

use std::collections::{BTreeSet, HashMap};

use drydock_domain::ids::{InstanceId, TaskId};
use drydock_domain::instance::InstanceState;
use drydock_domain::inventory::OsFacts;
use drydock_domain::patch::job::{JobOrigin, JobState};
use drydock_domain::patch::task::TaskState;
use drydock_domain::rollout::{LayoutFacts, LayoutHost, Rollout, RolloutPlan, lay_out};
use drydock_store::instances::{self, Target};
use drydock_store::records::{JobRecord, TaskRecord};
use drydock_store::{commit, patch_jobs, patch_tasks};
use jiff::Timestamp;

use crate::Control;
use crate::error::{ErrorKind, Result};

/// The label that says what a host is for: covering waves have each role once.
const ROLE_LABEL: &str = "role";

/// Makes the tasks of a new job. `false`: somebody changed the job meanwhile.
pub(super) async fn look_up(control: &Control, job: &JobRecord, now: Timestamp) -> Result<bool> {
    let mut job = job.clone();
    if job.state == JobState::Started {
        job.state = JobState::InstanceLookup;
        let mut tx = control.begin().await?;
        if !patch_jobs::update(&mut tx, &job).await? {
            return Ok(false);
        }
        commit(tx).await?;
        job.version += 1;
        control.job_changed(job.id);
    }
    let laid_out = async {
        let targets = targets(control, &job, now).await?;
        let rollout = job.spec.rollout.clone().unwrap_or_default();
        let tasks: Vec<TaskRecord> = targets.iter().map(|target| pending(control, &job, target, now)).collect();
        let (plan, waves) = plan(control, &rollout, &targets, &tasks, now).await?;
        let tasks = tasks.into_iter().zip(waves).map(|(task, wave)| TaskRecord { wave, ..task }).collect();
        Ok::<(RolloutPlan, Vec<TaskRecord>), crate::Error>((plan, tasks))
    };
    let (plan, tasks) = match laid_out.await {
        // Stored by a server that knew more than this one: nobody may be patched by what is not understood. Or whoever
        // started it may do nothing any more.
        Err(refused) if matches!(refused.kind(), ErrorKind::Invalid | ErrorKind::Forbidden) => {
            job.error_message = refused.to_string();
            super::end(control, job, JobState::CompletedWithErrors, now).await?;
            return Ok(false);
        }
        other => other?,
    };
    job.state = JobState::Patching;
    job.plans = vec![plan];
    if tasks.is_empty() {
        job.error_message =
            "no active instance that whoever started it may patch matched the filter any more when the job began".to_owned();
    }
    let mut tx = control.begin().await?;
    if !patch_jobs::update(&mut tx, &job).await? {
        return Ok(false);
    }
    patch_tasks::insert_pending(&mut tx, &tasks).await?;
    commit(tx).await?;
    control.job_changed(job.id);
    Ok(true)
}

fn pending(control: &Control, job: &JobRecord, target: &Target, now: Timestamp) -> TaskRecord {
    TaskRecord {
        id: TaskId(control.mint(now)),
        job: job.id,
        job_display_name: String::new(),
        dry_run: job.spec.dry_run,
        instance: target.id,
        instance_name: target.name.clone(),
        wave: 0,
        zone: target.zone.clone(),
        state: TaskState::Pending,
        waiting_on: None,
        message: String::new(),
        order_number: None,
        report_seq: 0,
        planned: 0,
        applied: 0,
        skipped: 0,
        reboots: 0,
        created_at: now,
        updated_at: now,
        finished_at: None,
        version: 1,
    }
}

/// The hosts of a job that begins: those its filter chooses now, or those its first run named, as far as whoever started it
/// may patch them.
async fn targets(control: &Control, job: &JobRecord, now: Timestamp) -> Result<Vec<Target>> {
    let reach = control.reach_of(job, now).await?;
    let reached = match &job.origin {
        JobOrigin::Rerun { job, all_hosts } => reach.sort(control.rerun_targets(*job, *all_hosts).await?),
        JobOrigin::Asked | JobOrigin::Deployment { .. } | JobOrigin::Undo { .. } => {
            control.reached(&reach, &job.spec.instance_filter, now).await?
        }
    };
    Ok(reached.targets)
}

/// The first plan of a job.
async fn plan(
    control: &Control,
    rollout: &Rollout,
    targets: &[Target],
    tasks: &[TaskRecord],
    now: Timestamp,
) -> Result<(RolloutPlan, Vec<u16>)> {
    let traits = control.traits_of(rollout, targets, now).await?;
    let hosts = targets.iter().zip(tasks).map(|(target, task)| LayoutHost {
        task: task.id,
        instance: target.id,
        zone: &target.zone,
        kind: traits.kinds.get(&target.id).cloned().unwrap_or_default(),
        selected: traits.selected.get(&target.id).copied().unwrap_or_default(),
        begun_in: None,
    });
    let hosts: Vec<LayoutHost<'_>> = hosts.collect();
    // Any number does: a UUID of version 7 ends in random bits.
    let drawn_seed = control.mint(now).as_u64_pair().1;
    Ok(lay_out(&LayoutFacts { rollout, drawn_seed, parent: None, why: "the job began", now }, &hosts))
}

/// What a layout needs to know of hosts besides their rows.
#[derive(Debug, Default)]
pub(crate) struct Traits {
    /// Bit i: wave i's `select` chooses it.
    pub(crate) selected: HashMap<InstanceId, u64>,
    /// Operating system, version and role; only where a wave covers kinds.
    pub(crate) kinds: HashMap<InstanceId, String>,
}

impl Control {
    /// Which waves choose which hosts, and what kind of host each is.
    pub(crate) async fn traits_of(&self, rollout: &Rollout, targets: &[Target], now: Timestamp) -> Result<Traits> {
        let mut traits = Traits::default();
        let own: BTreeSet<InstanceId> = targets.iter().map(|t| t.id).collect();
        for (i, wave) in rollout.waves.iter().enumerate() {
            let Some(select) = &wave.select else { continue };
            for target in self.targets_of(select, now).await?.iter().filter(|t| own.contains(&t.id)) {
                *traits.selected.entry(target.id).or_default() |= 1u64 << i;
            }
        }
        if rollout.waves.iter().any(|w| w.cover_kinds) {
            let all = instances::operating_systems(&mut *self.read().await?, InstanceState::Active).await?;
            for target in targets {
                let role = target.labels.get(ROLE_LABEL).map(String::as_str).unwrap_or_default();
                traits.kinds.insert(target.id, format!("{}/{role}", all.get(&target.id).map(release).unwrap_or_default()));
            }
        }
        Ok(traits)
    }
}

/// The operating system and version of a host, as one word.
pub(crate) fn release(os: &OsFacts) -> String {
    format!("{} {}", os.short_name, os.version)
}

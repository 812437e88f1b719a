//! Documents as a server would send them.

use std::collections::BTreeMap;

use drydock_api::rest::{Instance, InventorySummary, Page, PatchJob, PatchTask, PatchTaskDetail, WhoAmI};
use drydock_domain::access::Role;
use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::instance::{InstanceState, Labels, Reachability};
use drydock_domain::inventory::{Finding, ManagerKind, OsFacts, UpdateKind};
use drydock_domain::patch::filter::InstanceFilter;
use drydock_domain::patch::job::{JobState, percent_complete};
use drydock_domain::patch::report::*;
use drydock_domain::patch::spec::PatchJobSpec;
use drydock_domain::patch::task::TaskState;
use drydock_domain::rollout::health::HealthResult;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::fake::now;

/// `seconds` before now.
pub fn before(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

pub fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(0x0198_c0de_0000_7000_8000_0000_0000_0000 + n)
}

/// The job of these tests.
pub const JOB: &str = "0198c0de-0000-7000-8000-000000000001";

pub fn page<T>(items: Vec<T>) -> Page<T> {
    Page { items, next_cursor: None }
}

pub fn instance(n: u128, name: &str) -> Instance {
    Instance {
        id: InstanceId(uuid(n)),
        name: name.into(),
        state: InstanceState::Active,
        pending_reason: None,
        duplicate_of: None,
        reachability: Reachability::Online,
        last_seen: Some(before(4)),
        created_at: before(86_400 * 9),
        labels: Labels::from([("env".into(), "prod".into()), ("role".into(), "web".into())]),
        zone: "dc1".into(),
        compartment: "/".into(),
        group: Some("web".into()),
        environment: Some("prod-env".into()),
        machine_id: "0123456789abcdef0123456789abcdef".into(),
        os: Some(OsFacts {
            hostname: name.into(),
            long_name: "Debian GNU/Linux 12 (bookworm)".into(),
            architecture: "x86_64".into(),
            kernel_release: "6.1.0-30-amd64".into(),
            booted_at: Some(before(86_400 * 30)),
            agent_version: "0.1.0".into(),
            managers: vec![ManagerKind::Apt],
            ..OsFacts::default()
        }),
        inventory: Some(InventorySummary {
            packages: 612,
            updates: 12,
            security_updates: 3,
            held_updates: 1,
            reboot_required: true,
            findings: 1,
            changed_at: Some(before(7200)),
        }),
        certificate_expires_at: Some(now() + SignedDuration::from_hours(100)),
        etag: "e7".into(),
    }
}

pub fn task(n: u128, host: &str, state: TaskState) -> PatchTask {
    PatchTask {
        wave: 0,
        zone: String::new(),
        id: TaskId(uuid(100 + n)),
        job: JobId(uuid(1)),
        job_display_name: "Thursday night".into(),
        dry_run: false,
        instance: InstanceId(uuid(200 + n)),
        instance_name: host.into(),
        state,
        waiting_on: None,
        message: String::new(),
        planned: 0,
        applied: 0,
        skipped: 0,
        reboots: 0,
        updated_at: before(10),
        finished_at: state.is_final().then(|| before(10)),
    }
}

/// A job whose counts are those of its tasks.
pub fn job(state: JobState, tasks: &[PatchTask]) -> PatchJob {
    let mut counts = BTreeMap::new();
    for task in tasks {
        *counts.entry(task.state).or_insert(0) += 1;
    }
    PatchJob {
        undo_of: None,
        rollout: None,
        id: JobId(uuid(1)),
        spec: PatchJobSpec {
            display_name: "Thursday night".into(),
            instance_filter: InstanceFilter { all: true, ..InstanceFilter::default() },
            ..PatchJobSpec::default()
        },
        state,
        compartment: "/".into(),
        not_patchable: None,
        created_by: "alice".into(),
        created_at: before(192),
        finished_at: state.is_final().then(|| before(5)),
        deadline: None,
        cancel_requested: false,
        percent_complete: percent_complete(&counts),
        instance_details_summary: counts,
        error_message: String::new(),
        patch_deployment: None,
        rerun_of: None,
        etag: format!("{state:?}-{}", tasks.len()),
    }
}

fn planned(action: ActionKind, name: &str, from: Option<&str>, to: Option<&str>) -> PlannedAction {
    PlannedAction {
        action,
        name: name.into(),
        arch: "amd64".into(),
        from: from.map(Into::into),
        to: to.map(Into::into),
        repository: if to.is_some() { "Debian-Security:12/stable-security".into() } else { String::new() },
        kind: if name == "openssl" { UpdateKind::Security } else { UpdateKind::Unknown },
        advisories: vec![],
    }
}

fn plan(actions: Vec<PlannedAction>, skipped: SkippedUpdate, findings: Vec<Finding>) -> Plan {
    Plan {
        manager: ManagerKind::Apt,
        actions,
        skipped: vec![skipped],
        patches: vec![],
        requested: vec![],
        modules: vec![],
        findings,
        before: None,
        undo: None,
    }
}

/// What host `web-1` reports at the end of a job that went wrong for one package.
pub fn detail(task: PatchTask) -> PatchTaskDetail {
    let actions = vec![
        planned(ActionKind::Upgrade, "nano", Some("7.2-1"), Some("7.2-2")),
        planned(ActionKind::Upgrade, "openssl", Some("3.0.14-1"), Some("3.0.15-1")),
        planned(ActionKind::Remove, "obsolete", Some("1.0"), None),
        planned(ActionKind::Install, "linux-image-31", None, Some("6.1.31")),
    ];
    let result = |i: usize, outcome, found: Option<&str>, detail: &str| PackageResult {
        planned: actions[i].clone(),
        outcome,
        found: found.map(Into::into),
        detail: detail.into(),
    };
    let packages = vec![
        result(0, PackageOutcome::NotApplied, Some("7.2-1"), "nano: post-installation script returned 1\u{1b}[2J"),
        result(1, PackageOutcome::Applied, Some("3.0.15-1"), ""),
        result(2, PackageOutcome::Different, Some("1.1"), "half-configured"),
    ];
    let skipped = SkippedUpdate {
        name: "linux-headers".into(),
        arch: "amd64".into(),
        version: "6.1.31".into(),
        reason: "excluded by linux-h*".into(),
    };
    let findings = vec![Finding { subject: "https://repo.example.com".into(), message: "404 Not Found".into() }];
    let step = |step, outcome, exit_code, message: &str, head: &str| StepReport {
        step,
        started_at: before(100),
        ended_at: Some(before(97)),
        outcome,
        exit_code,
        message: message.into(),
        output: Output { head: head.into(), ..Output::default() },
    };
    let mut apply =
        step(StepKind::Apply, StepOutcome::Failed, Some(100), "apt-get ended with 100", "Unpacking nano\r\nE: broken\n");
    apply.output.tail = "last line".into();
    apply.output.dropped_bytes = 70_000;
    let report = TaskReport {
        task: task.id,
        seq: 9,
        at: before(10),
        state: task.state,
        message: task.message.clone(),
        steps: vec![
            step(StepKind::PreStep, StepOutcome::Succeeded, Some(0), "", "drained\tok\u{7}\n"),
            step(StepKind::Plan, StepOutcome::Succeeded, None, "planned 4 updates, skipped 1", ""),
            apply,
        ],
        plans: vec![plan(actions, skipped.clone(), findings), plan(vec![], skipped, vec![])],
        packages,
        modules: vec![],
        health: vec![
            HealthResult::new("unit nginx.service", false, "is failed\u{1b}[2J", before(10)),
            HealthResult::new("tcp 127.0.0.1:22", true, "a connection was opened", before(10)),
        ],
        differs: vec![
            PlanDifference {
                name: "curl".into(),
                arch: "amd64".into(),
                frozen: Some("7.88.1-10".into()),
                planned: "7.88.1-11".into(),
            },
            PlanDifference { name: "linux-image-31".into(), arch: "amd64".into(), frozen: None, planned: "6.1.31".into() },
        ],
        reboots: 1,
        reboot_reasons: vec!["kernel 6.1.31 is installed, 6.1.30 runs".into()],
    };
    PatchTaskDetail { task, report: Some(report) }
}

/// Who a token with this role belongs to.
pub fn whoami(name: &str, role: Role) -> WhoAmI {
    WhoAmI {
        name: name.into(),
        kind: "token".into(),
        role: Some(role),
        groups: vec![],
        second_factor: false,
        narrowed: false,
        server_version: "0.1.0".into(),
    }
}

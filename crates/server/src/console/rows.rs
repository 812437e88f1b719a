//! Rows and fragments of pages, made from what operations return: pure functions of (record, now). The fragments are
//! templates of their own, because the live stream sends the same markup that the page was made of.

use askama::Template;
use askama::filters::HtmlSafe;
use drydock_control::records::{HistoryRecord, TaskRecord};
use drydock_control::{InstanceView, JobView};
use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::instance::InstanceState;
use drydock_domain::inventory::{Finding, Health, OsFacts, Update};
use drydock_domain::patch::task::TaskState;
use jiff::Timestamp;

use super::charts::{Part, Slice, slices};
use super::view::{self, Badge, Progress, When};

/// A bar of a job's hosts.
#[derive(Debug, Template)]
#[template(path = "progress_bar.html")]
pub struct Bar {
    words: String,
    slices: Vec<Slice>,
}

impl HtmlSafe for Bar {}

impl Bar {
    fn new(p: &Progress) -> Self {
        let parts: [Part; 5] = [
            ("ok", "succeeded", p.succeeded, ""),
            ("bad", "failed", p.failed, ""),
            ("warn", "not reached", p.unreached, ""),
            ("idle", "cancelled", p.canceled, ""),
            ("run", "at work", p.running, ""),
        ];
        let slices = slices(&parts, p.total);
        let words: Vec<String> = slices.iter().map(|s| format!("{} {}", s.value, s.label)).collect();
        let words = if words.is_empty() { "no host has begun".to_owned() } else { words.join(", ") };
        Bar { words, slices }
    }
}

/// A patch job in a list.
pub struct JobRow {
    /// Its id.
    pub id: JobId,
    /// Its name.
    pub title: String,
    /// Its state.
    pub badge: Badge,
    /// Plan only.
    pub dry_run: bool,
    /// Hosts by outcome.
    pub bar: Bar,
    /// `3 of 20 hosts done, 1 failed`.
    pub done_words: String,
    /// Which hosts.
    pub targets: String,
    /// When it was started.
    pub created: When,
    /// By whom.
    pub created_by: String,
    /// When it ended.
    pub finished: Option<When>,
    /// How long.
    pub took: String,
}

/// How far a job is, in words.
fn done_words(p: &Progress) -> String {
    if p.total == 0 {
        return "no hosts yet".to_owned();
    }
    let mut words = format!("{} of {} done", p.done(), view::plural(u64::from(p.total), "host", "hosts"));
    for (n, what) in [(p.failed, "failed"), (p.unreached, "not reached"), (p.canceled, "cancelled")] {
        if n > 0 {
            words.push_str(&format!(", {n} {what}"));
        }
    }
    words
}

impl JobRow {
    /// The row of `job`.
    pub fn new(job: &JobView, now: Timestamp) -> Self {
        let r = &job.record;
        let p = view::progress(&job.counts);
        JobRow {
            id: r.id,
            title: view::job_title(&r.spec),
            badge: view::job_badge(r.state),
            dry_run: r.spec.dry_run,
            bar: Bar::new(&p),
            done_words: done_words(&p),
            targets: view::filter_words(&r.spec),
            created: view::when(r.created_at, now),
            created_by: r.created_by.clone(),
            finished: view::when_opt(r.finished_at, now),
            took: view::took(r.created_at, r.finished_at, now),
        }
    }
}

/// The state of one job, as its page and the live stream show it.
#[derive(Template)]
#[template(path = "job_summary.html")]
pub struct JobSummary {
    id: JobId,
    badge: Badge,
    dry_run: bool,
    is_final: bool,
    cancel_requested: bool,
    kill_requested: bool,
    done_words: String,
    took: String,
    deadline: Option<When>,
    bar: Bar,
    counts: Vec<(Badge, u32)>,
    error: String,
}

impl HtmlSafe for JobSummary {}

impl JobSummary {
    /// The state of `job`.
    pub fn new(job: &JobView, now: Timestamp) -> Self {
        let r = &job.record;
        let p = view::progress(&job.counts);
        JobSummary {
            id: r.id,
            badge: view::job_badge(r.state),
            dry_run: r.spec.dry_run,
            is_final: r.state.is_final(),
            cancel_requested: r.cancel_requested,
            kill_requested: r.kill_requested,
            done_words: done_words(&p),
            took: view::took(r.created_at, r.finished_at, now),
            deadline: view::when_opt(r.deadline, now),
            bar: Bar::new(&p),
            counts: view::state_counts(&job.counts),
            error: r.error_message.clone(),
        }
    }
}

/// One host's row in a job.
#[derive(Template)]
#[template(path = "task_row.html")]
pub struct TaskRow {
    /// Its id.
    pub id: TaskId,
    /// The job.
    pub job: JobId,
    /// The job's name.
    pub job_title: String,
    /// The host.
    pub instance: InstanceId,
    /// The host's name.
    pub name: String,
    /// Its state.
    pub badge: Badge,
    /// Why it is held.
    pub waiting: Option<String>,
    /// What is going on.
    pub message: String,
    /// Packages planned.
    pub planned: u32,
    /// Packages applied.
    pub applied: u32,
    /// Updates not taken.
    pub skipped: u32,
    /// Reboots done.
    pub reboots: u32,
    /// Last change.
    pub updated: When,
    /// Plan only.
    pub dry_run: bool,
    version: i64,
}

impl HtmlSafe for TaskRow {}

impl TaskRow {
    /// The row of `task`.
    pub fn new(task: &TaskRecord, now: Timestamp) -> Self {
        let held = task.state == TaskState::Pending;
        TaskRow {
            id: task.id,
            job: task.job,
            job_title: if task.job_display_name.is_empty() { "Updates".to_owned() } else { task.job_display_name.clone() },
            instance: task.instance,
            name: task.instance_name.clone(),
            badge: view::task_badge(task.state),
            waiting: task.waiting_on.as_ref().filter(|_| held).map(|w| view::waiting(w, now)),
            message: task.message.clone(),
            planned: task.planned,
            applied: task.applied,
            skipped: task.skipped,
            reboots: task.reboots,
            updated: view::when(task.updated_at, now),
            dry_run: task.dry_run,
            version: task.version,
        }
    }

    /// Why it is held, or what is going on.
    pub fn line(&self) -> &str {
        self.waiting.as_deref().unwrap_or(&self.message)
    }
}

/// `1.0 → 1.1`, or what there is of it.
pub fn versions(from: Option<&str>, to: Option<&str>) -> String {
    match (from.filter(|v| !v.is_empty()), to.filter(|v| !v.is_empty())) {
        (Some(from), Some(to)) => format!("{from} → {to}"),
        (None, Some(to)) => format!("new: {to}"),
        (Some(from), None) => format!("{from} → removed"),
        (None, None) => "–".to_owned(),
    }
}

/// One tab of an instance's pages.
pub struct Tab {
    /// Where.
    pub href: String,
    /// Its name, with a count where there is one.
    pub label: String,
    /// Shown now.
    pub current: bool,
}

/// An instance, in lists and at the head of its pages.
pub struct InstanceRow {
    /// Its id.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// ONLINE or OFFLINE when active, else its state.
    pub badge: Badge,
    /// Operating system, in the vendor's words.
    pub os: String,
    /// An inventory has arrived.
    pub known: bool,
    /// Security updates.
    pub security: u32,
    /// Updates that are not held.
    pub updates: u32,
    /// Held updates.
    pub held: u32,
    /// It asks for a reboot.
    pub reboot: bool,
    /// Broken repositories.
    pub findings: u32,
    packages: u32,
    /// Zone; may be empty.
    pub zone: String,
    /// Its compartment; absent: the tenancy.
    pub compartment: Option<String>,
    /// Labels.
    pub labels: Vec<String>,
    /// When its agent last spoke.
    pub last_seen: Option<When>,
    /// A patch job can reach it.
    pub can_patch: bool,
    /// It waits for a person.
    pub pending: bool,
    /// Its certificate is accepted.
    pub can_revoke: bool,
    /// Labels and zone may be edited.
    pub editable: bool,
    /// Why it waits.
    pub pending_reason: &'static str,
    /// … because it looks like a clone.
    pub clone: bool,
    /// The instance that was there first.
    pub duplicate_of: Option<InstanceId>,
    /// As the host gave it.
    pub machine_id: String,
    /// When it asked to enrol.
    pub asked: When,
}

impl InstanceRow {
    /// The row of `instance`.
    pub fn new(instance: &InstanceView, now: Timestamp) -> Self {
        let r = &instance.record;
        let inventory = r.inventory.unwrap_or_default();
        let active = r.state == InstanceState::Active;
        let (pending_reason, clone) = view::pending_reason(r.pending_reason);
        InstanceRow {
            id: r.id,
            name: r.name.clone(),
            badge: if active { view::reachability_badge(instance.reachability) } else { view::instance_badge(r.state) },
            os: r.os.as_ref().map(os_words).unwrap_or_default(),
            known: r.inventory.is_some(),
            security: inventory.security_updates,
            updates: inventory.updates,
            held: inventory.held_updates,
            reboot: inventory.reboot_required,
            findings: inventory.findings,
            packages: inventory.packages,
            zone: r.zone.clone(),
            compartment: Some(r.compartment.clone()).filter(|path| path != "/"),
            labels: view::labels(&r.labels),
            last_seen: view::when_opt(instance.last_seen, now),
            can_patch: active,
            pending: r.state == InstanceState::Pending,
            can_revoke: active,
            editable: matches!(r.state, InstanceState::Active | InstanceState::Pending),
            pending_reason,
            clone,
            duplicate_of: r.duplicate_of,
            machine_id: r.machine_id.clone(),
            asked: view::when(r.created_at, now),
        }
    }

    /// `2 broken repositories`.
    pub fn findings_words(&self) -> String {
        view::plural(u64::from(self.findings), "broken repository", "broken repositories")
    }

    /// `3 security updates`.
    pub fn security_words(&self) -> String {
        view::plural(u64::from(self.security), "security update", "security updates")
    }

    /// The pages of this instance.
    pub fn tabs(&self, current: &str) -> Vec<Tab> {
        let tab =
            |path: &str, label: String| Tab { href: format!("/instances/{}{path}", self.id), label, current: path == current };
        let counted = |label: &str, n: u32| if self.known { format!("{label} ({n})") } else { label.to_owned() };
        vec![
            tab("", "Summary".into()),
            tab("/updates", counted("Updates", self.updates + self.held)),
            tab("/packages", counted("Packages", self.packages)),
            tab("/changes", "Changes".into()),
            tab("/modules", "Modules".into()),
            tab("/policies", "Policies".into()),
            tab("/history", "History".into()),
            tab("/tasks", "Patch tasks".into()),
        ]
    }
}

/// `Debian GNU/Linux 12 (bookworm)`, or the best there is.
fn os_words(os: &OsFacts) -> String {
    if !os.long_name.is_empty() {
        return os.long_name.clone();
    }
    format!("{} {}", os.short_name, os.version).trim().to_owned()
}

/// What of an instance needs a person.
#[derive(Debug, Default)]
pub struct HealthBlock {
    /// Why it asks for a reboot.
    pub reboot: Vec<drydock_domain::inventory::RebootReason>,
    /// Broken repositories.
    pub findings: Vec<Finding>,
    /// Services that run replaced files.
    pub stale: Vec<String>,
    /// Failed units.
    pub failed: Vec<String>,
}

impl HealthBlock {
    /// From the inventory.
    pub fn new(health: &Health, findings: &[Finding]) -> Self {
        HealthBlock {
            reboot: health.reboot_reasons.clone(),
            findings: findings.to_vec(),
            stale: health.stale_services.clone(),
            failed: health.failed_units.clone(),
        }
    }

    /// Is there anything to show?
    pub fn anything(&self) -> bool {
        !(self.reboot.is_empty() && self.findings.is_empty() && self.stale.is_empty() && self.failed.is_empty())
    }
}

/// One available update.
pub struct UpdateRow {
    /// Package.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Installed → offered.
    pub versions: String,
    /// Security, bugfix …
    pub badge: Badge,
    /// The vendor's word.
    pub severity: String,
    /// Advisory ids.
    pub advisories: String,
    /// Where from.
    pub repository: String,
    /// Why it is held; empty = free.
    pub held: String,
}

impl UpdateRow {
    /// The row of `update`.
    pub fn new(u: &Update) -> Self {
        UpdateRow {
            name: u.name.clone(),
            arch: u.arch.clone(),
            versions: versions(Some(&u.from), Some(&u.to)),
            badge: view::update_badge(u.kind),
            severity: u.severity.clone(),
            advisories: u.advisories.join(", "),
            repository: u.repository.clone(),
            held: u.held.clone(),
        }
    }
}

/// One package change.
pub struct ChangeRow {
    /// Package.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// From what to what.
    pub words: String,
}

/// One thing that happened to an instance.
pub struct HistoryRow {
    /// When.
    pub at: When,
    /// `packages-changed`, `rebooted` …
    pub kind: String,
    /// For people.
    pub message: String,
    /// The patch task, when it was one.
    pub task: Option<TaskId>,
    /// Package changes.
    pub changes: Vec<ChangeRow>,
    /// How many there were.
    pub changes_words: String,
}

impl HistoryRow {
    /// The row of `entry`.
    pub fn new(entry: &HistoryRecord, now: Timestamp) -> Self {
        let total = view::plural(u64::from(entry.changes_total), "package change", "package changes");
        let shown = entry.changes.len();
        let cut = usize::try_from(entry.changes_total).is_ok_and(|n| n > shown);
        let change = |c: &drydock_domain::inventory::PackageChange| ChangeRow {
            name: c.name.clone(),
            arch: c.arch.clone(),
            words: view::change(c),
        };
        HistoryRow {
            at: view::when(entry.at, now),
            kind: entry.kind.clone(),
            message: entry.message.clone(),
            task: entry.task,
            changes: entry.changes.iter().map(change).collect(),
            changes_words: if cut { format!("{total}, the first {shown} shown") } else { total },
        }
    }
}

/// Links to the other pages of a list.
#[derive(Debug, Default)]
pub struct Pager {
    /// Back to the first page; absent on it.
    pub first: Option<String>,
    /// On to the next page; absent on the last.
    pub next: Option<String>,
}

impl Pager {
    /// For a list at `path` (with a query or without), shown from `cursor`, going on at `next`.
    pub fn new(path: &str, cursor: Option<&str>, next: Option<&str>) -> Self {
        let glue = if path.contains('?') { '&' } else { '?' };
        let encoded = |c: &str| super::auth::form_encode(c);
        Pager { first: cursor.map(|_| path.to_owned()), next: next.map(|c| format!("{path}{glue}cursor={}", encoded(c))) }
    }
}

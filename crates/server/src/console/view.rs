//! What pages show, as plain values: words, badges, relative times, counts. Pure functions of (facts, now), tested
//! here; absent on purpose: HTML, requests, the store.

use askama::Template;
use askama::filters::HtmlSafe;
use drydock_domain::access::Permission;
use drydock_domain::instance::{InstanceState, Labels, PendingReason, Reachability};
use drydock_domain::inventory::{PackageChange, UpdateKind};
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::patch::job::{JobState, StateCounts};
use drydock_domain::patch::report::{ActionKind, Output, PackageOutcome, StepKind, StepOutcome};
use drydock_domain::patch::spec::{Concurrency, PatchConfig, PatchJobSpec, RebootConfig};
use drydock_domain::patch::task::TaskState;
use jiff::Timestamp;

/// Seconds in a minute, hour and day, for relative times.
const MINUTE_SECS: i64 = 60;
const HOUR_SECS: i64 = 60 * MINUTE_SECS;
const DAY_SECS: i64 = 24 * HOUR_SECS;

/// A word with a tone; the tone is a CSS class, the word always stands beside it, so colour is never the only sign.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(source = r#"<span class="badge {{ tone }}">{{ label }}</span>"#, ext = "html")]
pub struct Badge {
    /// `ok`, `run`, `warn`, `bad`, `idle`.
    pub tone: &'static str,
    /// The word as every other face shows it.
    pub label: &'static str,
}

impl HtmlSafe for Badge {}

const fn badge(tone: &'static str, label: &'static str) -> Badge {
    Badge { tone, label }
}

/// A moment as pages show it.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(source = r#"<time datetime="{{ iso }}" title="{{ full }}">{{ relative }}</time>"#, ext = "html")]
pub struct When {
    /// RFC 3339, for `<time datetime>`.
    pub iso: String,
    /// `3 min ago`.
    pub relative: String,
    /// `2026-11-22 17:03:12 UTC`, shown as a tooltip and in full tables.
    pub full: String,
}

impl HtmlSafe for When {}

/// The moment `at` seen from `now`.
pub fn when(at: Timestamp, now: Timestamp) -> When {
    When { iso: at.to_string(), relative: relative(at, now), full: at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string() }
}

/// As [`when`], for a moment that may be absent.
pub fn when_opt(at: Option<Timestamp>, now: Timestamp) -> Option<When> {
    at.map(|at| when(at, now))
}

/// `just now`, `12 s ago`, `3 min ago`, `5 h ago`, `9 d ago`; for the future `in 3 min`.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let secs = now.as_second() - at.as_second();
    let size = secs.abs();
    if size < 5 {
        return "just now".to_owned();
    }
    let text = if size < MINUTE_SECS {
        format!("{size} s")
    } else if size < HOUR_SECS {
        format!("{} min", size / MINUTE_SECS)
    } else if size < 2 * DAY_SECS {
        format!("{} h", size / HOUR_SECS)
    } else {
        format!("{} d", size / DAY_SECS)
    };
    if secs >= 0 { format!("{text} ago") } else { format!("in {text}") }
}

/// `45 s`, `2 min 5 s`, `1 h 30 min`, `2 d 3 h`: two units at most.
pub fn duration(secs: u64) -> String {
    let (days, hours, minutes, seconds) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60, secs % 60);
    let pair = |a: u64, a_unit: &str, b: u64, b_unit: &str| match b {
        0 => format!("{a} {a_unit}"),
        b => format!("{a} {a_unit} {b} {b_unit}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, m) => pair(m, "min", seconds, "s"),
        (0, h, m) => pair(h, "h", m, "min"),
        (d, h, _) => pair(d, "d", h, "h"),
    }
}

/// How long a step took, or has been running.
pub fn took(start: Timestamp, end: Option<Timestamp>, now: Timestamp) -> String {
    let secs = end.unwrap_or(now).as_second() - start.as_second();
    duration(u64::try_from(secs).unwrap_or(0))
}

/// How long versions must have been known; empty when there is no soak.
pub fn soak_words(config: &PatchConfig) -> String {
    let days = plural(u64::from(config.soak_days), "day", "days");
    match (config.soak_days, config.soak_except_security) {
        (0, _) => String::new(),
        (_, false) => days,
        (_, true) => format!("{days}, security updates at once"),
    }
}

/// `1 host`, `3 hosts`.
pub fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// A task's state.
pub fn task_badge(state: TaskState) -> Badge {
    let tone = match state {
        TaskState::Succeeded => "ok",
        TaskState::SucceededRebootRequired | TaskState::NoAgentDetected | TaskState::Inactive => "warn",
        TaskState::Failed | TaskState::TimedOut => "bad",
        TaskState::Pending | TaskState::Canceled => "idle",
        TaskState::Notified
        | TaskState::Acked
        | TaskState::Started
        | TaskState::RunningPrePatchStep
        | TaskState::DownloadingPatches
        | TaskState::ApplyingPatches
        | TaskState::Rebooting
        | TaskState::RunningPostPatchStep => "run",
    };
    badge(tone, state.as_str())
}

/// A job's state.
pub fn job_badge(state: JobState) -> Badge {
    let tone = match state {
        JobState::Started | JobState::InstanceLookup | JobState::Patching => "run",
        JobState::Succeeded => "ok",
        JobState::CompletedWithInactiveVms => "warn",
        JobState::CompletedWithErrors | JobState::TimedOut => "bad",
        JobState::Canceled => "idle",
    };
    badge(tone, state.as_str())
}

/// Where an instance stands.
pub fn instance_badge(state: InstanceState) -> Badge {
    let tone = match state {
        InstanceState::Active => "ok",
        InstanceState::Pending => "warn",
        InstanceState::Rejected | InstanceState::Revoked => "bad",
    };
    badge(tone, state.as_str())
}

/// Is the agent there?
pub fn reachability_badge(reachability: Reachability) -> Badge {
    match reachability {
        Reachability::Online => badge("ok", "ONLINE"),
        Reachability::Offline => badge("warn", "OFFLINE"),
        Reachability::NeverSeen => badge("idle", "NEVER SEEN"),
    }
}

/// Why an update is offered.
pub fn update_badge(kind: UpdateKind) -> Badge {
    match kind {
        UpdateKind::Security => badge("bad", "security"),
        UpdateKind::Bugfix => badge("run", "bugfix"),
        UpdateKind::Enhancement => badge("idle", "enhancement"),
        UpdateKind::Unknown => badge("idle", "unknown"),
    }
}

/// What became of a planned package.
pub fn outcome_badge(outcome: PackageOutcome) -> Badge {
    match outcome {
        PackageOutcome::Applied => badge("ok", "APPLIED"),
        PackageOutcome::NotApplied => badge("bad", "NOT APPLIED"),
        PackageOutcome::Different => badge("bad", "DIFFERENT"),
        PackageOutcome::Unplanned => badge("warn", "UNPLANNED"),
    }
}

/// How a step ended.
pub fn step_badge(outcome: StepOutcome) -> Badge {
    match outcome {
        StepOutcome::Running => badge("run", "RUNNING"),
        StepOutcome::Succeeded => badge("ok", "SUCCEEDED"),
        StepOutcome::Failed => badge("bad", "FAILED"),
        StepOutcome::TimedOut => badge("bad", "TIMED OUT"),
        StepOutcome::Killed => badge("bad", "KILLED"),
        StepOutcome::Interrupted => badge("warn", "INTERRUPTED"),
    }
}

/// What a health check found.
pub fn health_badge(healthy: bool) -> Badge {
    if healthy { badge("ok", "HEALTHY") } else { badge("bad", "UNHEALTHY") }
}

/// A step's name for people.
pub fn step_name(step: StepKind) -> &'static str {
    match step {
        StepKind::PreStep => "Pre-step",
        StepKind::Repair => "Repair",
        StepKind::Refresh => "Refresh repositories",
        StepKind::Plan => "Plan",
        StepKind::Download => "Download",
        StepKind::Apply => "Apply",
        StepKind::Reboot => "Reboot",
        StepKind::Verify => "Verify",
        StepKind::PostStep => "Post-step",
        StepKind::Health => "Health checks",
    }
}

/// What happens to a package, as a verb.
pub fn action_name(action: ActionKind) -> &'static str {
    match action {
        ActionKind::Upgrade => "upgrade",
        ActionKind::Install => "install",
        ActionKind::Remove => "remove",
        ActionKind::Downgrade => "downgrade",
        ActionKind::Reinstall => "reinstall",
    }
}

/// Why a task is held, in a sentence; the reason's own name comes first, as every face shows it.
pub fn waiting(on: &WaitingOn, now: Timestamp) -> String {
    match on {
        WaitingOn::Budget { in_use, limit, zone: None } => {
            format!("BUDGET: {in_use} of {} at work", plural(u64::from(*limit), "host", "hosts"))
        }
        WaitingOn::Unreachable { since: Some(at) } => format!("UNREACHABLE: last heard of {}", relative(*at, now)),
        WaitingOn::Unreachable { since: None } => "UNREACHABLE: never heard of".to_owned(),
        other => format!("{}: {}", other.name(), other.describe()),
    }
}

/// Why an instance waits for a person; the second value is `true` when this is a warning.
pub fn pending_reason(reason: Option<PendingReason>) -> (&'static str, bool) {
    match reason {
        Some(PendingReason::DuplicateMachineId) => {
            ("Possible clone: another instance has the same machine-id with another key", true)
        }
        Some(PendingReason::ProfileAsks) | None => ("Its enrolment profile asks for a person", false),
    }
}

/// `env=prod`, `role=web`, in key order.
pub fn labels(labels: &Labels) -> Vec<String> {
    labels.iter().map(|(k, v)| format!("{k}={v}")).collect()
}

/// `1.0 → 1.1`, `new 1.1`, `1.0 removed`.
pub fn change(change: &PackageChange) -> String {
    match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("{from} → {to}"),
        (None, Some(to)) => format!("new {to}"),
        (Some(from), None) => format!("{from} removed"),
        (None, None) => String::new(),
    }
}

/// Head, a line that counts what was dropped, tail; empty when nothing was printed.
pub fn output(out: &Output) -> String {
    if out.dropped_bytes == 0 {
        return format!("{}{}", out.head, out.tail);
    }
    format!("{}\n[… {} bytes not kept …]\n{}", out.head, out.dropped_bytes, out.tail)
}

/// Tasks of a job by how people think of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// All tasks.
    pub total: u32,
    /// SUCCEEDED and SUCCEEDED_REBOOT_REQUIRED.
    pub succeeded: u32,
    /// FAILED and TIMED_OUT.
    pub failed: u32,
    /// NO_AGENT_DETECTED and INACTIVE.
    pub unreached: u32,
    /// CANCELED.
    pub canceled: u32,
    /// Agent at work.
    pub running: u32,
    /// PENDING.
    pub pending: u32,
}

impl Progress {
    /// Tasks that are final.
    pub fn done(&self) -> u32 {
        self.succeeded + self.failed + self.unreached + self.canceled
    }
}

/// Sums a job's tasks.
pub fn progress(counts: &StateCounts) -> Progress {
    let mut p = Progress::default();
    for (state, n) in counts {
        p.total += n;
        match state {
            TaskState::Succeeded | TaskState::SucceededRebootRequired => p.succeeded += n,
            TaskState::Failed | TaskState::TimedOut => p.failed += n,
            TaskState::NoAgentDetected | TaskState::Inactive => p.unreached += n,
            TaskState::Canceled => p.canceled += n,
            TaskState::Pending => p.pending += n,
            _ => p.running += n,
        }
    }
    p
}

/// The states of a job that have tasks, each with its badge and count, in the machine's order.
pub fn state_counts(counts: &StateCounts) -> Vec<(Badge, u32)> {
    counts.iter().filter(|(_, n)| **n > 0).map(|(s, n)| (task_badge(*s), *n)).collect()
}

/// A job's name: what the operator called it, or what it does.
pub fn job_title(spec: &PatchJobSpec) -> String {
    if !spec.display_name.is_empty() {
        return spec.display_name.clone();
    }
    if is_security_only(spec) { "Security updates".to_owned() } else { "Updates".to_owned() }
}

/// Every package manager is told to take security updates only.
pub fn is_security_only(spec: &PatchJobSpec) -> bool {
    let c = &spec.patch_config;
    c.apt.security && c.yum.security && c.zypper.categories.iter().any(|k| k == "security")
}

/// Which hosts a job reaches, in words.
pub fn filter_words(spec: &PatchJobSpec) -> String {
    /// Entries named before the rest is counted.
    const SHOWN: usize = 5;
    let f = &spec.instance_filter;
    if f.all {
        return "all active instances".to_owned();
    }
    let list = |items: &[String]| {
        let more = items.len().saturating_sub(SHOWN);
        let head = items.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        if more == 0 { head } else { format!("{head} and {more} more") }
    };
    let mut parts = Vec::new();
    if !f.instances.is_empty() {
        parts.push(list(&f.instances));
    }
    if !f.group_labels.is_empty() {
        let groups: Vec<String> = f.group_labels.iter().map(|g| labels(&g.labels).join(" and ")).collect();
        parts.push(format!("labelled {}", groups.join(" or ")));
    }
    if !f.zones.is_empty() {
        parts.push(format!("in zone {}", list(&f.zones)));
    }
    if !f.instance_name_prefixes.is_empty() {
        parts.push(format!("named {}", list(&f.instance_name_prefixes.iter().map(|p| format!("{p}…")).collect::<Vec<_>>())));
    }
    if !f.groups.is_empty() {
        parts.push(format!("in group {}", list(&f.groups)));
    }
    if let Some(query) = &f.query {
        parts.push(format!("where {query}"));
    }
    parts.join("; ")
}

/// When hosts reboot, in words.
pub fn reboot_words(reboot: RebootConfig) -> &'static str {
    match reboot {
        RebootConfig::Default => "when the host asks for it",
        RebootConfig::Always => "always, once after patching",
        RebootConfig::Never => "never",
    }
}

/// How many hosts at once, in words.
pub fn concurrency_words(concurrency: Option<Concurrency>) -> String {
    match concurrency {
        None => "all hosts".to_owned(),
        Some(Concurrency::Fixed(n)) => plural(u64::from(n), "host", "hosts"),
        Some(Concurrency::Percent(p)) => format!("{p} % of the hosts"),
    }
}

/// Which buttons a role sees. Hiding is a courtesy: `control` refuses anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct May {
    /// Accept, reject, revoke, label instances.
    pub manage_instances: bool,
    /// Start and cancel patch jobs.
    pub patch: bool,
    /// Create and revoke enrolment profiles.
    pub manage_enrolment: bool,
    /// Access tokens.
    pub manage_access: bool,
    /// Audit records.
    pub read_audit: bool,
    /// Synchronise software sources.
    pub manage_sources: bool,
    /// Make environments, promote and roll back.
    pub manage_environments: bool,
    /// Accept vulnerabilities for a while.
    pub manage_advisories: bool,
    /// Steer rollouts of OS policies, let hosts check now.
    pub manage_policies: bool,
}

/// What may be done somewhere with these permissions.
pub fn may(held: &[Permission]) -> May {
    May {
        manage_instances: held.contains(&Permission::InstanceManage),
        patch: held.contains(&Permission::PatchManage),
        manage_enrolment: held.contains(&Permission::EnrolmentManage),
        manage_access: held.contains(&Permission::AccessManage),
        read_audit: held.contains(&Permission::AuditRead),
        manage_sources: held.contains(&Permission::SourceManage),
        manage_environments: held.contains(&Permission::EnvironmentManage),
        manage_advisories: held.contains(&Permission::AdvisoryManage),
        manage_policies: held.contains(&Permission::PolicyManage),
    }
}

#[cfg(test)]
mod tests {
    use drydock_domain::access::{Role, allows};

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + secs).expect("in range")
    }

    #[test]
    fn relative_times_read_as_people_say_them() {
        let cases = [
            (0, "just now"),
            (-4, "just now"),
            (-12, "12 s ago"),
            (-59, "59 s ago"),
            (-60, "1 min ago"),
            (-3599, "59 min ago"),
            (-3600, "1 h ago"),
            (-47 * 3600, "47 h ago"),
            (-48 * 3600, "2 d ago"),
            (90, "in 1 min"),
            (7200, "in 2 h"),
        ];
        for (offset, want) in cases {
            assert_eq!(relative(at(offset), at(0)), want, "{offset}");
        }
    }

    #[test]
    fn durations_have_two_units_at_most() {
        let cases = [
            (0, "0 s"),
            (45, "45 s"),
            (60, "1 min"),
            (125, "2 min 5 s"),
            (3600, "1 h"),
            (5400, "1 h 30 min"),
            (97_200, "1 d 3 h"),
        ];
        for (secs, want) in cases {
            assert_eq!(duration(secs), want);
        }
        // A step whose end lies before its start (the host's clock stepped) takes no time rather than an age.
        assert_eq!(took(at(10), Some(at(0)), at(20)), "0 s");
    }

    #[test]
    fn every_task_state_is_counted_once() {
        let counts: StateCounts = TaskState::ALL.into_iter().map(|s| (s, 1)).collect();
        let p = progress(&counts);
        assert_eq!(p.total, 16);
        assert_eq!(p.done() + p.running + p.pending, 16);
        assert_eq!((p.succeeded, p.failed, p.unreached, p.canceled, p.pending), (2, 2, 2, 1, 1));
        let final_states = TaskState::ALL.into_iter().filter(|s| s.is_final()).count();
        assert_eq!(usize::try_from(p.done()), Ok(final_states));
    }

    #[test]
    fn a_running_state_looks_running_and_a_failure_looks_bad() {
        for state in TaskState::ALL {
            assert_eq!(task_badge(state).tone == "run", state.is_running(), "{state:?}");
            assert_eq!(task_badge(state).label, state.as_str());
        }
        for state in JobState::ALL {
            assert_eq!(job_badge(state).tone == "run", !state.is_final(), "{state:?}");
        }
        assert_eq!(task_badge(TaskState::Failed).tone, "bad");
    }

    #[test]
    fn a_hold_names_its_reason() {
        assert_eq!(waiting(&WaitingOn::Budget { in_use: 1, limit: 1, zone: None }, at(0)), "BUDGET: 1 of 1 host at work");
        assert_eq!(waiting(&WaitingOn::Unreachable { since: Some(at(-120)) }, at(0)), "UNREACHABLE: last heard of 2 min ago");
        assert_eq!(waiting(&WaitingOn::Unreachable { since: None }, at(0)), "UNREACHABLE: never heard of");
    }

    #[test]
    fn dropped_output_is_counted_between_head_and_tail() {
        let whole = Output { head: "a\n".into(), tail: String::new(), dropped_bytes: 0 };
        assert_eq!(output(&whole), "a\n");
        let cut = Output { head: "a".into(), tail: "z".into(), dropped_bytes: 7 };
        assert_eq!(output(&cut), "a\n[… 7 bytes not kept …]\nz");
    }

    #[test]
    fn a_filter_reads_as_a_sentence() {
        let words = |json: &str| filter_words(&serde_json::from_str(json).expect("a spec"));
        assert_eq!(words(r#"{"instanceFilter":{"all":true}}"#), "all active instances");
        assert_eq!(words(r#"{"instanceFilter":{"instances":["a","b","c","d","e","f"]}}"#), "a, b, c, d, e and 1 more");
        assert_eq!(
            words(
                r#"{"instanceFilter":{"groupLabels":[{"labels":{"env":"prod","role":"web"}},{"labels":{"env":"dev"}}],"zones":["z1"],"instanceNamePrefixes":["web-"],"groups":["web"]}}"#
            ),
            "labelled env=prod and role=web or env=dev; in zone z1; named web-…; in group web"
        );
    }

    #[test]
    fn a_viewer_may_press_nothing() {
        let held = |role| Permission::ALL.into_iter().filter(|p| allows(role, *p)).collect::<Vec<_>>();
        let v = may(&held(Role::Viewer));
        assert!(!(v.manage_instances || v.patch || v.manage_enrolment || v.manage_access || v.read_audit));
        let o = may(&held(Role::Operator));
        assert!(o.manage_instances && o.patch && !o.manage_enrolment && !o.manage_access && !o.read_audit);
    }
}

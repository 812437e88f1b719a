//! Assignments of OS policies: how far their rollouts are, how their hosts stand, what was changed when; ending and going on
//! with a rollout, checks on demand. Absent: writing assignments, which the command and the API do (`drydock policy apply`).

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use drydock_control::CheckAsk;
use drydock_control::records::PageQuery;
use drydock_domain::patch::spec::Concurrency;
use drydock_domain::policy::standing::{
    ComplianceCounts, HostPhase, PolicyAssignment, PolicyHost, PolicyRevision, PolicyRevisionDiff, RolloutState,
};
use drydock_domain::policy::{AssignmentFilter, ComplianceState, OsPolicyAssignment};
use jiff::Timestamp;
use serde::Deserialize;

use super::{CursorQuery, list_url};
use crate::console::auth::{Chrome, Signed, SignedForm, form_encode};
use crate::console::charts::{Part, Slice, slices};
use crate::console::error::{Fail, Html};
use crate::console::rows::Pager;
use crate::console::view::{self, Badge, When};

/// Revisions on the page of an assignment, rows; the command lists all.
const REVISIONS_SHOWN: u32 = 20;

/// The badge of a state.
pub(super) fn state_badge(state: ComplianceState) -> Badge {
    let tone = match state {
        ComplianceState::Compliant => "ok",
        ComplianceState::NonCompliant => "bad",
        ComplianceState::Unknown => "warn",
    };
    Badge { tone, label: state.as_str() }
}

fn rollout_badge(state: RolloutState) -> Badge {
    let tone = match state {
        RolloutState::InProgress => "run",
        RolloutState::Halted => "bad",
        RolloutState::Cancelling | RolloutState::Cancelled => "idle",
        RolloutState::Succeeded => "ok",
    };
    Badge { tone, label: state.as_str() }
}

/// Hosts by state, as a bar with words.
pub(super) struct CountsBar {
    pub words: String,
    pub slices: Vec<Slice>,
}

impl CountsBar {
    pub fn new(counts: &ComplianceCounts) -> Self {
        let parts: [Part; 3] = [
            ("ok", "compliant", counts.compliant, ""),
            ("bad", "not compliant", counts.non_compliant, ""),
            ("warn", "unknown", counts.unknown, ""),
        ];
        let slices = slices(&parts, counts.total());
        let words: Vec<String> = slices.iter().map(|s| format!("{} {}", s.value, s.label)).collect();
        let words = if words.is_empty() { "no host has reported".to_owned() } else { words.join(", ") };
        CountsBar { words, slices }
    }
}

struct Row {
    name: String,
    description: String,
    rollout: Badge,
    deleted: bool,
    revision: u64,
    progress: String,
    bar: CountsBar,
    policies: String,
    changed: When,
}

impl Row {
    fn new(own: &PolicyAssignment, now: Timestamp) -> Self {
        let progress = &own.rollout;
        let hosts = progress.pending.saturating_add(progress.changing).saturating_add(progress.done);
        Row {
            name: own.name.clone(),
            description: own.description.clone(),
            rollout: rollout_badge(progress.state),
            deleted: own.deleted,
            revision: own.revision,
            progress: format!("{} of {}", progress.done, view::plural(u64::from(hosts), "host", "hosts")),
            bar: CountsBar::new(&own.compliance),
            policies: own.policies.join(", "),
            changed: view::when(own.updated_at, now),
        }
    }
}

#[derive(Template)]
#[template(path = "policies.html")]
struct ListPage {
    c: Chrome,
    rows: Vec<Row>,
    pager: Pager,
}

/// `GET /policies`
pub async fn list(who: Signed, Query(cursor): Query<CursorQuery>) -> Result<Html<impl Template>, Fail> {
    let found = who.control().list_policies(&who.ctx, &cursor.page()).await.map_err(|e| who.fail(e))?;
    Ok(Html(ListPage {
        c: who.chrome("OS policies", "/policies"),
        rows: found.items.iter().map(|own| Row::new(own, who.ctx.now)).collect(),
        pager: Pager::new("/policies", cursor.cursor.as_deref(), found.next_cursor.as_deref()),
    }))
}

/// What hosts of an assignment may be narrowed to, as typed.
#[derive(Debug, Default, Deserialize)]
pub struct HostFilter {
    #[serde(default)]
    phase: String,
    #[serde(default)]
    cursor: Option<String>,
}

impl HostFilter {
    fn phases(&self) -> Vec<(&'static str, bool)> {
        [HostPhase::Pending, HostPhase::Changing, HostPhase::Done].map(|p| (p.as_str(), p.as_str() == self.phase)).to_vec()
    }
}

struct HostRow {
    id: String,
    name: String,
    zone: String,
    revision: String,
    phase: Badge,
    state: Badge,
    why: String,
    has_since: Option<When>,
}

fn host_row(own: &PolicyHost, now: Timestamp) -> HostRow {
    let tone = match own.phase {
        HostPhase::Pending => "idle",
        HostPhase::Changing => "run",
        HostPhase::Done => "ok",
    };
    HostRow {
        id: own.instance.to_string(),
        name: own.instance_name.clone(),
        zone: own.zone.clone(),
        revision: own.revision.map(|n| n.to_string()).unwrap_or_default(),
        phase: Badge { tone, label: own.phase.as_str() },
        state: state_badge(own.state),
        why: own.waiting_on.as_ref().map_or_else(|| own.why(), |on| view::waiting(on, now)),
        has_since: view::when_opt(own.has_since, now),
    }
}

struct RevisionRow {
    number: u64,
    rollout: Badge,
    baseline: bool,
    deleted: bool,
    by: String,
    at: When,
    reason: String,
    hosts: u32,
}

fn revision_row(own: &PolicyRevision, now: Timestamp) -> RevisionRow {
    RevisionRow {
        number: own.number,
        rollout: rollout_badge(own.rollout_state),
        baseline: own.baseline,
        deleted: own.deleted,
        by: own.created_by.clone(),
        at: view::when(own.created_at, now),
        reason: own.reason.clone(),
        hosts: own.hosts,
    }
}

#[derive(Template)]
#[template(path = "policy.html")]
struct ShowPage {
    c: Chrome,
    a: Row,
    /// The rollout can be ended.
    active: bool,
    halted: bool,
    halted_because: String,
    holds: String,
    facts: Vec<(&'static str, String)>,
    f: HostFilter,
    hosts: Vec<HostRow>,
    revisions: Vec<RevisionRow>,
    document: String,
    pager: Pager,
}

fn amount(amount: Concurrency) -> String {
    match amount {
        Concurrency::Fixed(n) => view::plural(u64::from(n), "host", "hosts"),
        Concurrency::Percent(p) => format!("{p} % of the hosts"),
    }
}

/// A filter in words.
fn filter_words(own: &AssignmentFilter) -> String {
    if own.all {
        return "all active instances".to_owned();
    }
    let sets = |sets: &[drydock_domain::policy::LabelSet]| {
        let sets: Vec<String> = sets.iter().map(|set| view::labels(&set.labels).join(" and ")).collect();
        sets.join(" or ")
    };
    let systems: Vec<String> =
        own.inventories.iter().map(|i| format!("{} {}", i.os_short_name, i.os_version).trim_end().to_owned()).collect();
    let parts = [
        ("labelled", sets(&own.inclusion_labels)),
        ("not labelled", sets(&own.exclusion_labels)),
        ("with", systems.join(" or ")),
        ("in group", own.groups.join(" or ")),
        ("looking through", own.environments.join(" or ")),
    ];
    let parts: Vec<String> = parts.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| format!("{k} {v}")).collect();
    parts.join("; ")
}

fn facts(own: &PolicyAssignment, document: Option<&OsPolicyAssignment>, now: Timestamp) -> Vec<(&'static str, String)> {
    let baseline = match own.baseline {
        Some(n) if n == own.revision => "this one: new hosts get it".to_owned(),
        Some(n) => format!("revision {n}: new hosts get it"),
        None => "none was rolled out to the end yet".to_owned(),
    };
    let mut facts = vec![("Policies", own.policies.join(", ")), ("Baseline", baseline)];
    if let Some(document) = document {
        let rollout = &document.rollout;
        let halt = rollout.halt_on_non_compliant.map(|n| format!("{} not compliant", amount(n))).unwrap_or_default();
        let checks = rollout.health_checks.as_ref().map(|health| {
            let checks: Vec<String> = health.labelled().map(|(label, _)| label).collect();
            format!("{}; within {} s", checks.join(", "), health.within_secs)
        });
        let variables: Vec<&str> = document.variables.keys().map(String::as_str).collect();
        facts.extend([
            ("Hosts", filter_words(&document.instance_filter)),
            ("At once in each zone", amount(rollout.disruption_budget)),
            ("A host keeps its place", rollout.min_wait_duration.clone()),
            ("Halts at", halt),
            ("Health checks", checks.unwrap_or_default()),
            ("Variables", variables.join(", ")),
        ]);
    }
    facts.push(("Made", format!("{} by {}", view::relative(own.created_at, now), own.created_by)));
    facts.retain(|(_, v)| !v.is_empty());
    facts
}

/// `GET /policies/{name}`
pub async fn show(who: Signed, Path(name): Path<String>, Query(f): Query<HostFilter>) -> Result<Html<impl Template>, Fail> {
    let (control, now) = (who.control(), who.ctx.now);
    let found = control.get_policy(&who.ctx, &name).await.map_err(|e| who.fail(e))?;
    let page = CursorQuery { cursor: f.cursor.clone() }.page();
    let hosts = control.policy_instances(&who.ctx, &name, HostPhase::parse(&f.phase), &page).await.map_err(|e| who.fail(e))?;
    let latest = PageQuery { limit: Some(REVISIONS_SHOWN), ..PageQuery::default() };
    let revisions = control.policy_revisions(&who.ctx, &name, &latest).await.map_err(|e| who.fail(e))?;
    let document = found.document.as_ref();
    let holds: Vec<String> = found.rollout.waiting_on.iter().map(|(why, n)| format!("{why} {n}")).collect();
    Ok(Html(ShowPage {
        c: who.chrome(format!("Assignment {name}"), "/policies"),
        a: Row::new(&found, now),
        active: found.rollout.state.is_active() && found.rollout.state != RolloutState::Cancelling,
        halted: found.rollout.state == RolloutState::Halted,
        halted_because: found.rollout.halted_because.clone().unwrap_or_default(),
        holds: holds.join(", "),
        facts: facts(&found, document, now),
        hosts: hosts.items.iter().map(|own| host_row(own, now)).collect(),
        revisions: revisions.items.iter().map(|own| revision_row(own, now)).collect(),
        document: document.and_then(|d| serde_json::to_string_pretty(d).ok()).unwrap_or_default(),
        pager: Pager::new(
            &list_url(&path_of(&name), &[("phase", f.phase.as_str())]),
            f.cursor.as_deref(),
            hosts.next_cursor.as_deref(),
        ),
        f,
    }))
}

/// One line of a diff, with its tone.
pub(super) struct DiffLine {
    pub tone: &'static str,
    pub text: String,
}

/// A unified diff line by line.
pub(super) fn diff_lines(text: &str) -> Vec<DiffLine> {
    let tone = |line: &str| match line.as_bytes().first() {
        Some(b'+') => "add",
        Some(b'-') => "del",
        Some(b'@') => "at",
        _ => "same",
    };
    text.lines().map(|line| DiffLine { tone: tone(line), text: line.to_owned() }).collect()
}

#[derive(Template)]
#[template(path = "policy_revision.html")]
struct RevisionPage {
    c: Chrome,
    name: String,
    r: RevisionRow,
    from: u64,
    lines: Vec<DiffLine>,
    document: String,
}

/// `GET /policies/{name}/revisions/{number}`
pub async fn revision(who: Signed, Path((name, number)): Path<(String, u64)>) -> Result<Html<impl Template>, Fail> {
    let control = who.control();
    let found = control.policy_revision(&who.ctx, &name, number).await.map_err(|e| who.fail(e))?;
    let diff: PolicyRevisionDiff = control.policy_diff(&who.ctx, &name, number, None).await.map_err(|e| who.fail(e))?;
    Ok(Html(RevisionPage {
        c: who.chrome(format!("Revision {number} of {name}"), "/policies"),
        r: revision_row(&found, who.ctx.now),
        from: diff.from,
        lines: diff_lines(&diff.text),
        document: found.document.as_ref().and_then(|d| serde_json::to_string_pretty(d).ok()).unwrap_or_default(),
        name,
    }))
}

fn path_of(name: &str) -> String {
    format!("/policies/{}", form_encode(name))
}

/// `POST /policies/{name}/cancel`
pub async fn cancel(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().cancel_policy(&who.ctx, &name).await {
        Ok(_) => {
            Ok(who
                .done(&path_of(&name), "The rollout ends: hosts that have the revision keep it, the others keep what they had."))
        }
        Err(e) => who.refused(&path_of(&name), e),
    }
}

/// `POST /policies/{name}/resume`
pub async fn resume(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().resume_policy(&who.ctx, &name).await {
        Ok(_) => Ok(who.done(&path_of(&name), "The rollout goes on.")),
        Err(e) => who.refused(&path_of(&name), e),
    }
}

/// `POST /policies/{name}/check`
pub async fn check(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    let ask = CheckAsk { assignment: Some(name.clone()), ..CheckAsk::default() };
    match who.control().check_policies(&who.ctx, &ask).await {
        Ok(hosts) => {
            let asked = view::plural(hosts.len() as u64, "host checks", "hosts check");
            Ok(who.done(&path_of(&name), format!("{asked} all their policies now.")))
        }
        Err(e) => who.refused(&path_of(&name), e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_diff_have_their_tones() {
        let lines = diff_lines("@@ -1 +1 @@\n-old\n+new\n same\n");
        let tones: Vec<&str> = lines.iter().map(|l| l.tone).collect();
        assert_eq!(tones, ["at", "del", "add", "same"]);
        assert_eq!(lines[2].text, "+new");
    }

    #[test]
    fn filters_read_as_people_say_them() {
        let filter: AssignmentFilter = serde_json::from_value(serde_json::json!({
            "inclusionLabels": [{"labels": {"env": "prod", "role": "web"}}, {"labels": {"role": "db"}}],
            "exclusionLabels": [{"labels": {"frozen": "yes"}}],
            "inventories": [{"osShortName": "debian", "osVersion": "12*"}, {"osShortName": "ol"}],
            "groups": ["web"],
        }))
        .expect("a filter");
        assert_eq!(
            filter_words(&filter),
            "labelled env=prod and role=web or role=db; not labelled frozen=yes; with debian 12* or ol; in group web"
        );
    }
}

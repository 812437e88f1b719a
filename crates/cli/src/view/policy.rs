//! Assignments of OS policies: rollouts, hosts, revisions, previews.

use std::fmt::Write as _;

use comfy_table::Table;
use drydock_api::rest::{
    AppliedAssignment, ApplyOutcome, HostPhase, PolicyAssignment, PolicyHost, PolicyPreview, PolicyRevision, PreviewHost,
    PreviewSource, RolloutProgress, RolloutState,
};
use drydock_domain::patch::spec::Concurrency;
use drydock_domain::policy::{AssignmentFilter, ComplianceState, PolicyRollout};
use jiff::Timestamp;

use super::compliance::{counts, resource};
use super::{facts, some};
use crate::progress::waiting;
use crate::text::{ago, ago_or, clean, cut, labels, or_dash, paint, plural, state_cell, table, tone};
use crate::world::Screen;

/// The list of assignments.
pub fn assignments(items: &[PolicyAssignment], now: Timestamp) -> Table {
    let mut rows = table(&["NAME", "REVISION", "ROLLOUT", "HOSTS", "COMPLIANCE", "POLICIES", "CHANGED"]);
    for own in items {
        let progress = &own.rollout;
        let hosts = progress.pending + progress.changing + progress.done;
        rows.add_row([
            clean(&own.name).into(),
            if own.deleted { format!("{} (delete)", own.revision) } else { own.revision.to_string() }.into(),
            state_cell(progress.state.as_str()),
            if progress.done == hosts { hosts.to_string() } else { format!("{} of {hosts}", progress.done) }.into(),
            counts(&own.compliance).into(),
            clean(&own.policies.join(" ")).into(),
            ago(own.updated_at, now).into(),
        ]);
    }
    rows
}

/// One assignment, without its hosts.
pub fn assignment(own: &PolicyAssignment, now: Timestamp, colour: bool) -> String {
    let progress = &own.rollout;
    let state = progress.state.as_str();
    let document = own.document.as_ref();
    let revision = match own.baseline {
        Some(baseline) if baseline == own.revision => format!("{}, which is the baseline", own.revision),
        Some(baseline) => format!("{}; the baseline is {baseline}", own.revision),
        None => format!("{}; none was rolled out to the end yet", own.revision),
    };
    let variables = document.map(|d| d.variables.keys().cloned().collect::<Vec<_>>().join(", ")).unwrap_or_default();
    format!("Assignment {}\n", clean(&own.name))
        + &facts(&[
            ("description", some(&own.description)),
            ("policies", some(&own.policies.join(", "))),
            ("hosts", document.map(|d| filter(&d.instance_filter))),
            ("variables", some(&variables)),
            ("revision", Some(revision)),
            ("deleted", own.deleted.then(|| "it is taken away from its hosts, then it is gone".to_owned())),
            ("rollout", Some(format!("{}, {}", paint(state, tone(state), colour), progress_words(progress)))),
            ("halted", progress.halted_because.as_deref().map(clean)),
            ("speed", document.map(|d| speed(&d.rollout))),
            ("compliance", Some(counts(&own.compliance))),
            ("changed", Some(ago(own.updated_at, now))),
            ("made", Some(format!("{} by {}", ago(own.created_at, now), clean(&own.created_by)))),
        ])
}

/// `8 done, 2 changing, 40 held (BUDGET 40)`.
fn progress_words(progress: &RolloutProgress) -> String {
    let holds: Vec<String> = progress.waiting_on.iter().map(|(why, n)| format!("{} {n}", clean(why))).collect();
    let holds = if holds.is_empty() { String::new() } else { format!(" ({})", holds.join(", ")) };
    format!("{} done, {} changing, {} pending{holds}", progress.done, progress.changing, progress.pending)
}

fn amount(amount: Concurrency) -> String {
    match amount {
        Concurrency::Fixed(n) => n.to_string(),
        Concurrency::Percent(p) => format!("{p}%"),
    }
}

fn speed(rollout: &PolicyRollout) -> String {
    let halt = rollout.halt_on_non_compliant.map(|n| format!(", halts at {} not compliant", amount(n))).unwrap_or_default();
    let health = rollout.health_checks.as_ref().map(|health| {
        let checks: Vec<String> = health.labelled().map(|(label, _)| label).collect();
        format!("; checked within {} s: {}", health.within_secs, clean(&checks.join(", ")))
    });
    let (budget, wait) = (amount(rollout.disruption_budget), clean(&rollout.min_wait_duration));
    format!("{budget} at once in each zone, {wait} wait{halt}{}", health.unwrap_or_default())
}

/// A filter in words.
pub fn filter(own: &AssignmentFilter) -> String {
    if own.all {
        return "all".to_owned();
    }
    let sets = |sets: &[drydock_domain::policy::LabelSet]| {
        let sets: Vec<String> = sets.iter().map(|set| labels(&set.labels)).collect();
        sets.join(" or ")
    };
    let systems = own.inventories.iter().map(|i| format!("{} {}", i.os_short_name, i.os_version).trim_end().to_owned());
    let parts = [
        ("labels", sets(&own.inclusion_labels)),
        ("without labels", sets(&own.exclusion_labels)),
        ("system", systems.collect::<Vec<_>>().join(" or ")),
        ("group", own.groups.join(" or ")),
        ("environment", own.environments.join(" or ")),
    ];
    let parts: Vec<String> = parts.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| format!("{k} {}", clean(v))).collect();
    parts.join("; ")
}

/// Hosts of an assignment.
pub fn hosts(items: &[PolicyHost], now: Timestamp) -> Table {
    let mut rows = table(&["HOST", "ZONE", "REVISION", "PHASE", "STATE", "HOLD OR REASON", "HAS IT"]);
    for own in items {
        rows.add_row([
            clean(&own.instance_name).into(),
            or_dash(&own.zone).into(),
            own.revision.map_or_else(|| "-".to_owned(), |n| n.to_string()).into(),
            own.phase.as_str().into(),
            state_cell(own.state.as_str()),
            or_dash(&hold(own, now)).into(),
            ago_or(own.has_since, now, "-").into(),
        ]);
    }
    rows
}

fn hold(own: &PolicyHost, now: Timestamp) -> String {
    own.waiting_on.as_ref().map_or_else(|| clean(&own.why()), |on| waiting(on, now))
}

/// Revisions of an assignment.
pub fn revisions(items: &[PolicyRevision], now: Timestamp) -> Table {
    let mut rows = table(&["REVISION", "ROLLOUT", "HOSTS", "MADE", "BY", "REASON", ""]);
    for own in items {
        let mut marks = Vec::new();
        marks.extend(own.baseline.then_some("baseline"));
        marks.extend(own.deleted.then_some("takes it away"));
        rows.add_row([
            own.number.to_string().into(),
            state_cell(own.rollout_state.as_str()),
            own.hosts.to_string().into(),
            ago(own.created_at, now).into(),
            clean(&own.created_by).into(),
            or_dash(&own.reason).into(),
            marks.join(", ").into(),
        ]);
    }
    rows
}

/// What became of an assignment that was applied.
pub fn applied(name: &str, own: &AppliedAssignment) -> String {
    let hosts = plural(own.hosts as usize, "host");
    let done = match (own.outcome, own.dry_run) {
        (ApplyOutcome::Created, false) => "is made",
        (ApplyOutcome::Created, true) => "would be made",
        (ApplyOutcome::NewRevision, false) => "has a new revision",
        (ApplyOutcome::NewRevision, true) => "would get a new revision",
        (ApplyOutcome::Settings, false) => "has other settings; nothing is rolled out",
        (ApplyOutcome::Settings, true) => "would get other settings; nothing would be rolled out",
        (ApplyOutcome::Unchanged, _) => "is unchanged",
    };
    let rollout = own.assignment.as_ref().filter(|_| !own.dry_run).map(|a| {
        let state = a.rollout.state.as_str();
        format!(", revision {}, rollout {state}", a.revision)
    });
    let mut text = format!("Assignment {} {done}: {hosts}{}.\n", clean(name), rollout.unwrap_or_default());
    for conflict in &own.overridden {
        let _ = writeln!(text, "  left out by priority: {}", clean(&conflict.describe()));
    }
    text
}

/// The live view of a rollout: never higher or wider than the screen.
pub fn frame(own: &PolicyAssignment, hosts: &[PolicyHost], now: Timestamp, screen: Screen, colour: bool) -> Vec<String> {
    let mut lines = vec![cut(&headline(own), screen.width)];
    lines.extend(own.rollout.halted_because.iter().map(|why| cut(&format!("  HALTED: {}", clean(why)), screen.width)));
    let room = screen.height.saturating_sub(2 + lines.len()).max(1);
    let width = hosts.iter().map(|h| h.instance_name.chars().count()).max().unwrap_or(0).min(40);
    for host in hosts.iter().take(room) {
        let name = cut(&clean(&host.instance_name), width);
        let phase = if host.phase == HostPhase::Done { host.state.as_str() } else { host.phase.as_str() };
        let rest = screen.width.saturating_sub(width + 19);
        let why = cut(&hold(host, now), rest);
        let phase = format!("{}{}", paint(phase, tone(phase), colour), " ".repeat(13usize.saturating_sub(phase.len())));
        lines.push(format!("  {name:width$}  {phase}  {why}").trim_end().to_owned());
    }
    lines
}

/// Where a rollout is, in one line.
pub fn headline(own: &PolicyAssignment) -> String {
    let what = if own.deleted { "deletion".to_owned() } else { format!("revision {}", own.revision) };
    format!("{}  {}  {what} of {}", own.rollout.state.as_str(), progress_words(&own.rollout), clean(&own.name))
}

/// How a rollout ended.
pub fn ended(own: &PolicyAssignment) -> String {
    let name = clean(&own.name);
    match own.rollout.state {
        RolloutState::Succeeded if own.rollout.done == 0 => {
            format!("Assignment {name}, revision {}: it is for no host now.", own.revision)
        }
        RolloutState::Succeeded => {
            format!("Assignment {name}, revision {}: every host has it; {}.", own.revision, counts(&own.compliance))
        }
        RolloutState::Halted => format!(
            "Assignment {name}, revision {}: halted, {}; drydock policy resume {name} goes on, drydock policy cancel {name} ends it.",
            own.revision,
            clean(own.rollout.halted_because.as_deref().unwrap_or("too many hosts are not compliant"))
        ),
        state => format!("Assignment {name}, revision {}: {}, {}.", own.revision, state.as_str(), progress_words(&own.rollout)),
    }
}

/// What a preview found, host by host.
pub fn preview(found: &PolicyPreview, hosts: &[PreviewHost], changes: bool, now: Timestamp, colour: bool) -> String {
    let expires = ago(found.expires_at, now);
    let mut text = format!(
        "Preview {}: {} would change of {}; {} answered, {} by inventory, {} silent (kept: {expires})\n",
        found.id,
        found.would_change,
        plural(found.hosts as usize, "host"),
        found.answered,
        found.from_inventory,
        found.waiting
    );
    for host in hosts.iter().filter(|h| !changes || h.would_change > 0) {
        let source = match host.source {
            PreviewSource::Waiting => "has not answered",
            PreviewSource::Inventory => "from inventory: packages only",
            PreviewSource::Host => "",
        };
        let change = match (host.source, host.would_change) {
            (PreviewSource::Waiting, _) => String::new(),
            (_, 0) => "nothing would change".to_owned(),
            (_, n) => format!("{} would change", plural(n as usize, "resource")),
        };
        let told: Vec<&str> = [change.as_str(), source].into_iter().filter(|t| !t.is_empty()).collect();
        let _ = writeln!(text, "\n{}: {}", clean(&host.instance_name), told.join("; "));
        if !host.problem.is_empty() {
            let _ = writeln!(text, "  {}", clean(&host.problem));
        }
        for policy in &host.policies {
            let wanted = |r: &&drydock_domain::policy::ResourceResult| !changes || r.state != ComplianceState::Compliant;
            for own in policy.resources.iter().filter(wanted) {
                text += &resource(own, false, colour);
            }
            if policy.resources.is_empty() && policy.state != ComplianceState::Compliant {
                let _ = writeln!(text, "  {}  {} ({})", clean(&policy.policy), policy.state.as_str(), clean(&policy.reason));
            }
        }
    }
    text
}

//! Instances and their inventory.

use comfy_table::Table;
use drydock_api::rest::{HistoryEntry, Instance, UpdateList};
use drydock_domain::instance::{InstanceState, PendingReason, Reachability};
use drydock_domain::inventory::{Finding, Package, PackageChange, Update, UpdateKind};
use jiff::Timestamp;

use super::{facts, some};
use crate::text::{ago, ago_or, clean, labels, or_dash, paint, plural, state_cell, table, tone};

/// Changes shown of one history entry; the JSON has them all.
const CHANGES_SHOWN: usize = 3;

fn reachability(instance: &Instance) -> &'static str {
    match instance.reachability {
        Reachability::Online => "ONLINE",
        Reachability::Offline => "OFFLINE",
        Reachability::NeverSeen => "NEVER_SEEN",
    }
}

/// `12 (3 security)`.
fn updates_of(instance: &Instance) -> String {
    match &instance.inventory {
        None => "-".to_owned(),
        Some(sum) if sum.security_updates > 0 => format!("{} ({} security)", sum.updates, sum.security_updates),
        Some(sum) => sum.updates.to_string(),
    }
}

/// The list. The states of an instance and of its connection share a column: only ACTIVE ones have a connection.
pub fn instances(items: &[Instance], now: Timestamp) -> Table {
    let mut header = vec!["NAME", "STATE", "SEEN", "OS", "UPDATES", "REBOOT", "ZONE", "LABELS"];
    // Where there are no compartments nobody needs the column.
    let is_split = items.iter().any(|instance| instance.compartment != "/");
    if is_split {
        header.push("COMPARTMENT");
    }
    let mut rows = table(&header);
    for instance in items {
        let state = if instance.state == InstanceState::Active { reachability(instance) } else { instance.state.as_str() };
        let reboot = instance.inventory.as_ref().is_some_and(|sum| sum.reboot_required);
        let mut cells = vec![
            clean(&instance.name).into(),
            state_cell(state),
            ago_or(instance.last_seen, now, "never").into(),
            instance.os.as_ref().map_or_else(|| "-".to_owned(), |os| or_dash(&os.long_name)).into(),
            updates_of(instance).into(),
            if reboot { "needed" } else { "-" }.into(),
            or_dash(&instance.zone).into(),
            labels(&instance.labels).into(),
        ];
        if is_split {
            cells.push(clean(&instance.compartment).into());
        }
        rows.add_row(cells);
    }
    rows
}

fn pending(instance: &Instance) -> Option<String> {
    Some(match instance.pending_reason? {
        PendingReason::ProfileAsks => {
            format!("its enrolment profile asks for a person: drydock instance accept {}", clean(&instance.name))
        }
        PendingReason::DuplicateMachineId => format!(
            "its machine-id is that of instance {}: a clone, or that host installed anew",
            instance.duplicate_of.map_or_else(|| "(unknown)".to_owned(), |id| id.to_string())
        ),
    })
}

/// One instance.
pub fn instance(instance: &Instance, now: Timestamp, colour: bool) -> String {
    let state = instance.state.as_str();
    let reach = reachability(instance);
    let mut text = format!("Instance {}\n", clean(&instance.name));
    text += &facts(&[
        ("id", Some(instance.id.to_string())),
        ("state", Some(paint(state, tone(state), colour))),
        ("waits", pending(instance)),
        ("agent", Some(format!("{}, seen {}", paint(reach, tone(reach), colour), ago_or(instance.last_seen, now, "never")))),
        ("labels", Some(labels(&instance.labels))),
        ("zone", some(&instance.zone)),
        ("compartment", some(&instance.compartment)),
        ("group", instance.group.as_deref().and_then(some)),
        ("environment", instance.environment.as_deref().and_then(some)),
        ("machine-id", some(&instance.machine_id)),
        ("certificate", instance.certificate_expires_at.map(|end| format!("ends {}", ago(end, now)))),
        ("enrolled", Some(ago(instance.created_at, now))),
    ]);
    if let Some(os) = &instance.os {
        let managers: Vec<&str> = os.managers.iter().map(|m| m.as_str()).collect();
        text += &facts(&[
            ("system", some(&os.long_name)),
            ("architecture", some(&os.architecture)),
            ("kernel", some(&os.kernel_release)),
            ("booted", os.booted_at.map(|at| ago(at, now))),
            ("managers", some(&managers.join(", "))),
            ("agent is", some(&os.agent_version)),
        ]);
    }
    let Some(sum) = &instance.inventory else {
        return text + "  inventory    not yet\n";
    };
    let mut updates = updates_of(instance);
    if sum.held_updates > 0 {
        updates += &format!(", and {} held", sum.held_updates);
    }
    text += &facts(&[
        ("packages", Some(format!("{}, changed {}", sum.packages, ago_or(sum.changed_at, now, "never")))),
        ("updates", Some(updates)),
        ("reboot", Some(if sum.reboot_required { "needed" } else { "not needed" }.to_owned())),
        (
            "repositories",
            (sum.findings > 0).then(|| {
                format!("{}: drydock instance updates {}", plural(sum.findings as usize, "finding"), clean(&instance.name))
            }),
        ),
    ]);
    text
}

/// Installed packages.
pub fn packages(items: &[Package]) -> Table {
    let mut rows = table(&["NAME", "ARCH", "VERSION", "SOURCE"]);
    for package in items {
        rows.add_row([clean(&package.name), or_dash(&package.arch), clean(&package.version), or_dash(&package.source)]);
    }
    rows
}

/// The word for a kind; `-` where nobody says.
pub fn kind(kind: UpdateKind) -> &'static str {
    match kind {
        UpdateKind::Security => "security",
        UpdateKind::Bugfix => "bugfix",
        UpdateKind::Enhancement => "enhancement",
        UpdateKind::Unknown => "-",
    }
}

/// Available updates.
pub fn updates(items: &[Update]) -> Table {
    let mut rows = table(&["NAME", "ARCH", "FROM", "TO", "KIND", "SEVERITY", "REPOSITORY", "ADVISORIES", "HELD"]);
    for update in items {
        rows.add_row([
            clean(&update.name),
            or_dash(&update.arch),
            or_dash(&update.from),
            clean(&update.to),
            kind(update.kind).to_owned(),
            or_dash(&update.severity),
            or_dash(&update.repository),
            or_dash(&update.advisories.join(",")),
            or_dash(&update.held),
        ]);
    }
    rows
}

/// A block of broken repositories; empty when there are none.
pub fn findings(items: &[Finding], indent: &str) -> String {
    let lines = items.iter().map(|f| format!("{indent}  {}: {}\n", clean(&f.subject), clean(&f.message)));
    if items.is_empty() { String::new() } else { format!("{indent}repositories\n{}", lines.collect::<String>()) }
}

fn words(title: &str, items: &[String]) -> String {
    let lines = items.iter().map(|item| format!("  {}\n", clean(item)));
    if items.is_empty() { String::new() } else { format!("{title}\n{}", lines.collect::<String>()) }
}

/// What stands beside the updates: broken repositories, why the host wants a reboot, services to restart.
pub fn health(list: &UpdateList) -> String {
    let health = &list.health;
    let reasons: Vec<String> = health.reboot_reasons.iter().map(|r| format!("{}: {}", r.source, r.detail)).collect();
    let text = findings(&list.findings, "")
        + &words("reboot needed", &reasons)
        + &words("services that still run replaced files", &health.stale_services)
        + &words("failed units", &health.failed_units);
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// `openssl 3.0.1 → 3.0.2`, `+nano 2.1`, `-nano 2.1`.
fn change(change: &PackageChange) -> String {
    let name = clean(&change.name);
    match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("{name} {} → {}", clean(from), clean(to)),
        (None, Some(to)) => format!("+{name} {}", clean(to)),
        (Some(from), None) => format!("-{name} {}", clean(from)),
        (None, None) => name,
    }
}

/// What happened.
pub fn history(items: &[HistoryEntry], now: Timestamp) -> Table {
    let mut rows = table(&["WHEN", "WHAT", "DETAILS"]);
    for entry in items {
        let mut parts: Vec<String> = Vec::new();
        if !entry.message.is_empty() {
            parts.push(clean(&entry.message));
        }
        let total = entry.changes.len().max(entry.changes_total as usize);
        let mut shown: Vec<String> = entry.changes.iter().take(CHANGES_SHOWN).map(change).collect();
        if total > shown.len() {
            shown.push(format!("and {} more", total - shown.len()));
        }
        if total > 0 {
            parts.push(shown.join(", "));
        }
        rows.add_row([ago(entry.at, now), clean(&entry.kind), or_dash(&parts.join("; "))]);
    }
    rows
}

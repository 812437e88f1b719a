//! Software sources, snapshots and their packages.

use comfy_table::Table;
use drydock_api::rest::{InstanceSources, Snapshot, SnapshotDetail, Source};
use drydock_domain::source::host::{HostSourcesState, SourcesMode};
use drydock_domain::source::spec::{DownloadPolicy, Origin};
use drydock_domain::source::unit::{Unit, UnitChange};
use jiff::Timestamp;

use super::{facts, some};
use crate::text::{ago, ago_or, clean, or_dash, plural, span, state_cell, table};

/// Findings shown of one snapshot or job; the JSON has them all.
pub const FINDINGS_SHOWN: usize = 20;

/// `1.4 GB`: sizes as disks are sold, one decimal.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

fn kind(source: &Source) -> &'static str {
    match &source.spec.origin {
        Origin::Upstream(_) => "mirror",
        Origin::Sources { .. } => "selection",
        Origin::Local { .. } => "local",
    }
}

/// The list.
pub fn sources(items: &[Source], now: Timestamp) -> Table {
    let mut rows = table(&["NAME", "FORMAT", "KIND", "SNAPSHOT", "PACKAGES", "SIZE", "LAST JOB", "WHEN"]);
    for source in items {
        let current = source.current.as_ref();
        let job = source.last_job.as_ref();
        rows.add_row([
            clean(&source.spec.name).into(),
            source.spec.format.as_str().into(),
            kind(source).into(),
            current.map_or_else(|| "-".to_owned(), |s| s.number.to_string()).into(),
            current.map_or_else(|| "-".to_owned(), |s| s.stats.packages.to_string()).into(),
            current.map_or_else(|| "-".to_owned(), |s| size(s.stats.package_bytes)).into(),
            job.map_or_else(|| "-".into(), |j| state_cell(j.state.as_str())),
            ago_or(job.map(|j| j.finished_at.unwrap_or(j.created_at)), now, "-").into(),
        ]);
    }
    rows
}

fn origin(source: &Source) -> String {
    match &source.spec.origin {
        Origin::Upstream(upstream) => {
            let mut text: Vec<String> = upstream.urls.iter().map(|u| clean(u)).collect();
            text.extend([&upstream.mirrorlist, &upstream.metalink].into_iter().flatten().map(|u| clean(u)));
            text.extend(upstream.suite.as_deref().map(clean));
            text.extend(upstream.components.iter().map(|c| clean(c)));
            text.join(" ")
        }
        Origin::Sources { from } => format!("from {}", from.iter().map(|s| clean(s)).collect::<Vec<_>>().join(", ")),
        Origin::Local { .. } => "uploads (drydock source upload)".to_owned(),
    }
}

fn policy(source: &Source) -> &'static str {
    match source.spec.policy {
        DownloadPolicy::Immediate => "with the sync",
        DownloadPolicy::OnDemand => "when a host asks first",
        DownloadPolicy::MetadataOnly => "never here; hosts fetch them from the upstream",
    }
}

/// One source.
pub fn source(source: &Source, now: Timestamp) -> String {
    let spec = &source.spec;
    let chosen = match (spec.selection.rules.len(), spec.selection.newest) {
        (0, None) => None,
        (rules, None) => Some(plural(rules, "rule")),
        (0, Some(newest)) => Some(format!("newest {newest} of each")),
        (rules, Some(newest)) => Some(format!("{}, newest {newest} of each", plural(rules, "rule"))),
    };
    let mut text = format!("Software source {} ({}, {})\n", clean(&spec.name), spec.format.as_str(), kind(source));
    text += &facts(&[
        ("description", some(&spec.description)),
        ("origin", Some(origin(source))),
        ("parent", spec.parent.as_deref().map(clean)),
        ("selection", chosen),
        ("packages", Some(policy(source).to_owned())),
        ("syncs", Some(spec.sync_interval_secs.map_or_else(|| "when asked".to_owned(), |s| format!("every {}", span(s as i64))))),
        ("last synced", source.last_synced_at.map(|at| ago(at, now))),
        ("failures", (source.failures > 0).then(|| format!("{} in a row", source.failures))),
        ("attached to", (source.attachments > 0).then(|| source.attachments.to_string())),
        ("used by", some(&source.used_by.join(", "))),
        ("keys", (!spec.keys.is_empty()).then(|| spec.keys.len().to_string())),
        ("snapshot", Some(source.current.as_ref().map_or_else(|| "none yet".to_owned(), |s| line(s, now)))),
    ]);
    if let Some(job) = &source.last_job {
        text += &facts(&[(
            "last job",
            Some(format!(
                "{} {} {}",
                job.state.as_str(),
                ago(job.finished_at.unwrap_or(job.created_at), now),
                clean(&job.message)
            )),
        )]);
    }
    text
}

fn line(snapshot: &Snapshot, now: Timestamp) -> String {
    format!("{}, {}, {}", snapshot.number, plural(snapshot.stats.packages as usize, "package"), ago(snapshot.created_at, now))
}

/// Snapshots of a source.
pub fn snapshots(items: &[Snapshot], now: Timestamp) -> Table {
    let mut rows = table(&["NUMBER", "MADE", "BY", "PACKAGES", "SIZE", "ADVISORIES", "FINDINGS", "ENVIRONMENTS"]);
    for snapshot in items {
        let environments = snapshot.environments.join(", ");
        rows.add_row([
            snapshot.number.to_string(),
            ago(snapshot.created_at, now),
            snapshot.origin.as_str().to_owned(),
            snapshot.stats.packages.to_string(),
            size(snapshot.stats.package_bytes),
            snapshot.stats.advisories.to_string(),
            snapshot.findings_total.to_string(),
            or_dash(&environments),
        ]);
    }
    rows
}

/// One snapshot.
pub fn snapshot(detail: &SnapshotDetail, now: Timestamp) -> String {
    let snapshot = &detail.snapshot;
    let mut text = format!("Snapshot {} of {}\n", snapshot.number, clean(&snapshot.source));
    text += &facts(&[
        ("id", Some(snapshot.id.to_string())),
        ("content", Some(clean(&snapshot.root))),
        ("made", Some(format!("{} by a {}", ago(snapshot.created_at, now), snapshot.origin.as_str()))),
        ("packages", Some(format!("{}, {}", snapshot.stats.packages, size(snapshot.stats.package_bytes)))),
        ("advisories", (snapshot.stats.advisories > 0).then(|| snapshot.stats.advisories.to_string())),
        ("modules", (snapshot.stats.modules > 0).then(|| snapshot.stats.modules.to_string())),
        ("environments", some(&snapshot.environments.join(", "))),
    ]);
    text + &findings(&detail.findings)
}

/// Findings as lines.
pub fn findings(all: &[drydock_domain::inventory::Finding]) -> String {
    let mut text = String::new();
    if !all.is_empty() {
        text += &format!("\n{}:\n", plural(all.len(), "finding"));
    }
    for finding in all.iter().take(FINDINGS_SHOWN) {
        text += &format!("  {}: {}\n", clean(&finding.subject), clean(&finding.message));
    }
    if all.len() > FINDINGS_SHOWN {
        text += &format!("  … {} more: -o json shows all\n", all.len() - FINDINGS_SHOWN);
    }
    text
}

/// Packages.
pub fn units(items: &[Unit]) -> Table {
    let has_index = items.iter().any(|u| !u.index.is_empty());
    let mut head = vec!["NAME", "ARCH", "VERSION", "SIZE"];
    head.extend(has_index.then_some("INDEX"));
    let mut rows = table(&head);
    for unit in items {
        let mut row = vec![clean(&unit.name), clean(&unit.arch), clean(&unit.version), size(unit.size)];
        row.extend(has_index.then(|| or_dash(&unit.index)));
        rows.add_row(row);
    }
    rows
}

/// Differences.
pub fn changes(items: &[UnitChange]) -> Table {
    let mut rows = table(&["", "NAME", "ARCH", "VERSION"]);
    for change in items {
        let (sign, unit) = match change {
            UnitChange::Added { unit } => ("+", unit),
            UnitChange::Removed { unit } => ("-", unit),
            UnitChange::Changed { unit } => ("~", unit),
        };
        rows.add_row([sign.to_owned(), clean(&unit.name), clean(&unit.arch), clean(&unit.version)]);
    }
    rows
}

/// Where an instance gets its packages from.
pub fn of_instance(name: &str, found: &InstanceSources, now: Timestamp) -> String {
    let mode = match found.mode {
        SourcesMode::Additive => "additive: the host's own repositories stay",
        SourcesMode::Exclusive => "exclusive: the host's own repositories are set aside",
    };
    let said = found.report.as_ref().map(|report| {
        let state = match report.state {
            HostSourcesState::Applied => "APPLIED",
            HostSourcesState::Failed => "FAILED",
        };
        let at = ago_or(found.reported_at, now, "once");
        format!("{state} generation {} {at}", report.generation)
    });
    let mut text = format!("Sources of {}\n", clean(name));
    text += &facts(&[
        ("mode", Some(mode.to_owned())),
        ("environment", Some(found.environment.as_deref().map_or_else(|| "none: newest snapshots".to_owned(), clean))),
        ("generation", Some(format!("{}{}", found.generation, if found.applied { "" } else { ", not applied yet" }))),
        ("host says", said.or_else(|| Some("nothing yet".to_owned()))),
    ]);
    for source in &found.sources {
        let seen = match (&source.problem, &source.snapshot) {
            (Some(problem), _) => format!("not visible: {}", clean(problem)),
            (None, Some(snapshot)) => format!("snapshot {}", snapshot.number),
            (None, None) => "no snapshot yet".to_owned(),
        };
        text += &format!("  {:<24} {seen} (by {})\n", clean(&source.name), clean(&source.attached_to.join(", ")));
    }
    if let Some(report) = &found.report {
        if !report.taken_over.is_empty() {
            text += &format!("\nset aside: {}\n", clean(&report.taken_over.join(", ")));
        }
        text += &findings(&report.findings);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_450_000), "1.4 MB");
        assert_eq!(size(u64::MAX), "18446744.1 TB");
    }
}

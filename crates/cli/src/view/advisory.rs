//! Advisories, vulnerabilities, and the feeds they come from.

use std::collections::BTreeMap;

use comfy_table::Table;
use drydock_domain::advisory::exception::ExceptionMark;
use drydock_domain::advisory::open::{
    AffectedInstance, AffectedPackage, FleetSecurity, InstanceVulnerability, VulnerabilityDetail, VulnerabilitySummary,
};
use drydock_domain::advisory::report::{
    AdvisedInstance, AdvisedPackage, AdvisoryDetail, AdvisorySummary, Feed, FeedFinding, FixPlace, ImportReport, InstanceAdvisory,
};
use drydock_domain::advisory::{Cvss, Epss, Kev, Severity};
use jiff::Timestamp;

use super::{facts, some};
use crate::text::{ago, ago_or, clean, clean_lines, cut, or_dash, plural, table};

/// Title in a list, characters; `show` has all of it.
const TITLE_WIDTH: usize = 60;
/// CVEs named in a row, count; `show` names all.
const CVES_SHOWN: usize = 3;
/// Packages named in a row, count; the JSON has all.
const PACKAGES_SHOWN: usize = 3;

/// The list of feeds.
pub fn feeds(items: &[Feed], now: Timestamp) -> Table {
    let mut rows = table(&["NAME", "KIND", "ADVISORIES", "CVES", "STATEMENTS", "FINDINGS", "IMPORTED"]);
    for feed in items {
        rows.add_row([
            clean(&feed.name),
            clean(&feed.kind),
            feed.advisories.to_string(),
            feed.vulnerabilities.to_string(),
            feed.statements.to_string(),
            feed.findings_total.to_string(),
            ago(feed.imported_at, now),
        ]);
    }
    rows
}

/// One feed.
pub fn feed(feed: &Feed, now: Timestamp) -> String {
    let mut text = format!("Feed {}\n", clean(&feed.name));
    text += &facts(&[
        ("kind", some(&feed.kind)),
        ("advisories", Some(feed.advisories.to_string())),
        ("cves", Some(feed.vulnerabilities.to_string())),
        ("statements", Some(feed.statements.to_string())),
        ("imported", Some(format!("{} by {}", ago(feed.imported_at, now), clean(&feed.imported_by)))),
        ("holds", Some(if feed.complete { "all the feed says" } else { "what its parts said so far" }.to_owned())),
        ("left out", (feed.findings_total > 0).then(|| feed.findings_total.to_string())),
    ]);
    text
}

/// What was wrong with an import.
pub fn findings(items: &[FeedFinding]) -> Table {
    let mut rows = table(&["ENTRIES", "PROBLEM", "FIRST"]);
    for finding in items {
        rows.add_row([finding.count.to_string(), clean(&finding.problem), or_dash(&finding.entry)]);
    }
    rows
}

/// What an import did.
pub fn imported(report: &ImportReport) -> String {
    let feed = &report.feed;
    let name = clean(&feed.name);
    if report.unchanged {
        return format!("{name}: the same file was imported before; nothing changed\n");
    }
    let mut text = format!("{name}: {} {} read\n", report.documents, if report.documents == 1 { "entry" } else { "entries" });
    text += &facts(&[
        ("advisories", Some(format!("{} new, {} changed, {} withdrawn", report.added, report.changed, report.withdrawn))),
        (
            "holds now",
            Some(format!("{} advisories, {} CVEs, {} statements", feed.advisories, feed.vulnerabilities, feed.statements)),
        ),
        ("left out", (report.left_out > 0).then(|| report.left_out.to_string())),
    ]);
    text
}

fn severity(severity: Severity) -> String {
    match severity {
        Severity::Unknown => "-".to_owned(),
        known => known.as_str().to_ascii_lowercase(),
    }
}

/// `12 (8 now)`.
fn hosts(all: u32, installable: u32) -> String {
    match (all, installable) {
        (0, _) => "-".to_owned(),
        (all, now) if all == now => format!("{all} (all now)"),
        (all, now) => format!("{all} ({now} now)"),
    }
}

fn first(items: &[String], shown: usize) -> String {
    let mut text: String = items.iter().take(shown).map(|i| clean(i)).collect::<Vec<_>>().join(" ");
    if items.len() > shown {
        text = format!("{text} +{}", items.len() - shown);
    }
    or_dash(&text)
}

/// The list of advisories.
pub fn advisories(items: &[AdvisorySummary], now: Timestamp) -> Table {
    let mut rows = table(&["ADVISORY", "KIND", "SEVERITY", "ISSUED", "HOSTS", "CVES", "TITLE"]);
    for a in items {
        let title = cut(&clean(&a.title), TITLE_WIDTH);
        rows.add_row([
            clean(&a.id),
            a.kind.as_str().to_ascii_lowercase(),
            severity(a.severity),
            ago_or(a.issued, now, "-"),
            if a.withdrawn { "withdrawn".to_owned() } else { hosts(a.applicable, a.installable) },
            first(&a.cves, CVES_SHOWN),
            title,
        ]);
    }
    rows
}

fn suggestions(found: &AdvisoryDetail) -> Option<String> {
    let a = &found.advisory;
    let all = [(a.reboot_suggested, "reboot"), (a.relogin_suggested, "log in again"), (a.restart_suggested, "restart")];
    let words: Vec<&str> = all.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// One advisory, without its hosts.
pub fn advisory(found: &AdvisoryDetail, now: Timestamp) -> String {
    let a = &found.advisory;
    let mut text = format!("Advisory {}\n", clean(&a.id));
    let cves = a.cves.iter().map(|c| clean(c)).collect::<Vec<_>>().join(" ");
    text += &facts(&[
        ("title", some(&a.title)),
        ("kind", Some(a.kind.as_str().to_ascii_lowercase())),
        ("severity", Some(severity(a.severity))),
        ("issued", a.issued.map(|at| ago(at, now))),
        ("changed", a.updated.map(|at| ago(at, now))),
        ("withdrawn", a.withdrawn.then(|| "yes: it counts for nothing any more".to_owned())),
        ("cves", some(&cves)),
        ("afterwards", suggestions(found)),
        ("said by", some(&found.origins.join(", "))),
        ("hosts", Some(hosts(found.applicable, found.installable))),
    ]);
    text += &places(&found.places);
    if !a.description.is_empty() {
        text.push('\n');
        for line in clean_lines(&a.description) {
            text += &format!("  {line}\n");
        }
    }
    text
}

fn places(items: &[FixPlace]) -> String {
    let mut text = String::new();
    for place in items {
        let what = match (place.package.as_str(), place.version.as_str()) {
            ("", _) => String::new(),
            (package, version) => format!("{} {}: ", clean(package), clean(version)),
        };
        let environments = place.environments.iter().map(|e| clean(e)).collect::<Vec<_>>().join(", ");
        let (source, snapshot) = (clean(&place.source), place.snapshot);
        text += &format!("  {:<12} {what}snapshot {snapshot} of {source}, seen in {}\n", "to be had", or_dash(&environments));
    }
    text
}

fn advised_packages(items: &[AdvisedPackage]) -> String {
    let shown: Vec<String> = items.iter().map(|p| format!("{} {} → {}", p.name, p.installed, p.fixed)).collect();
    first(&shown, PACKAGES_SHOWN)
}

/// Hosts that need an advisory.
pub fn advised(items: &[AdvisedInstance]) -> Table {
    let mut rows = table(&["HOST", "INSTALLABLE", "PACKAGES"]);
    for host in items {
        rows.add_row([
            clean(&host.name),
            if host.installable { "now" } else { "not yet" }.to_owned(),
            advised_packages(&host.packages),
        ]);
    }
    rows
}

/// Advisories that a host needs.
pub fn instance_advisories(items: &[InstanceAdvisory]) -> Table {
    let mut rows = table(&["ADVISORY", "KIND", "SEVERITY", "INSTALLABLE", "PACKAGES", "CVES"]);
    for a in items {
        rows.add_row([
            clean(&a.id),
            a.kind.as_str().to_ascii_lowercase(),
            severity(a.severity),
            if a.installable { "now" } else { "not yet" }.to_owned(),
            advised_packages(&a.packages),
            first(&a.cves, CVES_SHOWN),
        ]);
    }
    rows
}

fn score(cvss: Option<&Cvss>) -> String {
    cvss.map_or_else(|| "-".to_owned(), |c| format!("{}.{}", c.tenths / 10, c.tenths % 10))
}

/// `94%`, `0.4%`.
fn epss(epss: Option<Epss>) -> String {
    let Some(epss) = epss else { return "-".to_owned() };
    match epss.millionths {
        m if m >= 10_000 => format!("{}%", m / 10_000),
        m => format!("0.{}%", m / 1000),
    }
}

fn exploited(kev: Option<&Kev>) -> String {
    match kev {
        None => "-".to_owned(),
        Some(kev) if kev.ransomware => "ransomware".to_owned(),
        Some(_) => "yes".to_owned(),
    }
}

/// `12 (8 now), 2 accepted`.
fn open_hosts(v: &VulnerabilitySummary) -> String {
    match v.excepted {
        0 => hosts(v.hosts, v.installable),
        n => format!("{}, {n} accepted", hosts(v.hosts, v.installable)),
    }
}

/// The day, or that it has passed.
fn due(due: Option<Timestamp>, now: Timestamp) -> String {
    match due {
        None => "-".to_owned(),
        Some(at) if at <= now => format!("{} (passed)", day(at)),
        Some(at) => day(at),
    }
}

/// `2026-12-01`, UTC.
pub(super) fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// `overdue since …`, `accepted until …`, or the day it is due.
fn clock(at: Option<Timestamp>, overdue: bool, exception: Option<&ExceptionMark>) -> String {
    match (exception, at) {
        (Some(mark), _) => format!("accepted until {}", day(mark.until)),
        (None, Some(at)) if overdue => format!("overdue since {}", day(at)),
        (None, Some(at)) => day(at),
        (None, None) => "-".to_owned(),
    }
}

/// The list of open vulnerabilities.
pub fn vulnerabilities(items: &[VulnerabilitySummary], now: Timestamp) -> Table {
    let mut rows = table(&["CVE", "SEVERITY", "CVSS", "EXPLOITED", "EPSS", "HOSTS", "OVERDUE", "SINCE", "DUE"]);
    for v in items {
        rows.add_row([
            clean(&v.id),
            severity(v.severity),
            score(v.cvss.as_ref()),
            exploited(v.kev.as_ref()),
            epss(v.epss),
            open_hosts(v),
            if v.overdue > 0 { v.overdue.to_string() } else { "-".to_owned() },
            ago_or(v.since, now, "-"),
            due(v.due, now),
        ]);
    }
    rows
}

/// One vulnerability, without its hosts.
pub fn vulnerability(found: &VulnerabilityDetail, now: Timestamp) -> String {
    let s = &found.summary;
    let mut text = format!("Vulnerability {}\n", clean(&s.id));
    text += &facts(&[
        ("severity", Some(severity(s.severity))),
        ("cvss", s.cvss.as_ref().map(|c| format!("{} {}", score(Some(c)), clean(&c.vector)))),
        (
            "exploited",
            s.kev.as_ref().map(|k| format!("known since {}{}", k.added, if k.ransomware { ", by ransomware" } else { "" })),
        ),
        ("epss", s.epss.map(|e| epss(Some(e)))),
        ("published", s.published.map(|at| ago(at, now))),
        ("advisories", some(&found.advisories.join(" "))),
        ("hosts", Some(open_hosts(s))),
        ("open since", s.since.map(|at| ago(at, now))),
        ("due", s.due.map(|at| due(Some(at), now))),
        ("overdue", (s.overdue > 0).then(|| format!("on {}", plural(s.overdue as usize, "host")))),
    ]);
    text += &places(&found.places);
    if !found.statements.is_empty() {
        let mut by: BTreeMap<String, usize> = BTreeMap::new();
        for statement in &found.statements {
            *by.entry(format!("{:?}", statement.status)).or_default() += 1;
        }
        let stated: Vec<String> = by.into_iter().map(|(status, n)| format!("{n} {status}")).collect();
        text += &facts(&[("stated", Some(format!("{} (-o json shows them)", stated.join(", "))))]);
    }
    if !found.vulnerability.summary.is_empty() {
        text.push('\n');
        for line in clean_lines(&found.vulnerability.summary) {
            text += &format!("  {line}\n");
        }
    }
    text
}

fn affected_packages(items: &[AffectedPackage]) -> String {
    let shown: Vec<String> = items
        .iter()
        .map(|p| match &p.fixed {
            Some(fixed) => format!("{} {} → {fixed}", p.name, p.installed),
            None => format!("{} {}", p.name, p.installed),
        })
        .collect();
    first(&shown, PACKAGES_SHOWN)
}

/// Hosts on which a vulnerability is open.
pub fn affected(items: &[AffectedInstance], now: Timestamp) -> Table {
    let mut rows = table(&["HOST", "STATE", "SINCE", "DUE", "PACKAGES"]);
    for host in items {
        rows.add_row([
            clean(&host.name),
            host.state.as_str().to_owned(),
            ago_or(host.since, now, "-"),
            clock(host.due, host.overdue, host.exception.as_ref()),
            affected_packages(&host.packages),
        ]);
    }
    rows
}

/// Vulnerabilities that are open on a host.
pub fn instance_vulnerabilities(items: &[InstanceVulnerability], now: Timestamp) -> Table {
    let mut rows = table(&["CVE", "SEVERITY", "CVSS", "EXPLOITED", "EPSS", "STATE", "SINCE", "DUE", "PACKAGES"]);
    for v in items {
        rows.add_row([
            clean(&v.id),
            severity(v.severity),
            score(v.cvss.as_ref()),
            exploited(v.kev.as_ref()),
            epss(v.epss),
            v.state.as_str().to_owned(),
            ago_or(v.since, now, "-"),
            clock(v.due, v.overdue, v.exception.as_ref()),
            affected_packages(&v.packages),
        ]);
    }
    rows
}

/// The fleet in numbers.
pub fn fleet(numbers: &FleetSecurity) -> String {
    let by = |counts: &BTreeMap<Severity, u32>| {
        let all: u32 = counts.values().sum();
        let parts: Vec<String> = counts
            .iter()
            .rev()
            .filter(|(_, n)| **n > 0)
            .map(|(s, n)| format!("{n} {}", s.as_str().to_ascii_lowercase()))
            .collect();
        if parts.is_empty() { all.to_string() } else { format!("{all} ({})", parts.join(", ")) }
    };
    let hosts = plural(numbers.hosts as usize, "host");
    facts(&[
        ("fleet", Some(format!("{hosts}, {} see this server's sources", numbers.served))),
        ("updates", Some(format!("{} with security updates", plural(numbers.with_security_updates as usize, "host")))),
        ("advisories", Some(format!("{} needed", by(&numbers.advisories)))),
        ("installable", Some(by(&numbers.installable_advisories))),
        ("open CVEs", Some(by(&numbers.vulnerabilities))),
        ("overdue", Some(by(&numbers.overdue))),
        ("exploited", Some(numbers.exploited.to_string())),
        ("accepted", (numbers.excepted > 0).then(|| format!("{} on every host they are open on", numbers.excepted))),
    ])
}

//! Advisories: the list with its filter, and one with the hosts that need it.

use askama::Template;
use axum::extract::{Path, Query};
use drydock_control::AdvisoryQuery;
use drydock_domain::advisory::report::{AdvisedInstance, AdvisoryDetail, AdvisorySummary, FixPlace};
use drydock_domain::advisory::{AdvisoryKind, Severity};
use jiff::Timestamp;
use serde::Deserialize;

use super::{CursorQuery, list_url};
use crate::console::auth::{Chrome, Signed};
use crate::console::error::{Fail, Html};
use crate::console::rows::Pager;
use crate::console::view::{self, Badge, When};

/// Fixed packages shown of one advisory, rows; the CLI and the API have all of them.
const FIXES_SHOWN: usize = 200;
/// Kinds in the filter.
const KINDS: [AdvisoryKind; 4] = [AdvisoryKind::Security, AdvisoryKind::Bugfix, AdvisoryKind::Enhancement, AdvisoryKind::Other];

/// How bad, with the tone that goes with it.
pub fn severity_badge(severity: Severity) -> Badge {
    let tone = match severity {
        Severity::Critical | Severity::Important => "bad",
        Severity::Moderate => "warn",
        Severity::Low => "run",
        Severity::Negligible | Severity::Unknown => "idle",
    };
    Badge { tone, label: severity.as_str() }
}

/// Severities in a filter, the worst first.
pub fn severities(chosen: &str) -> Vec<(&'static str, bool)> {
    Severity::ALL.iter().rev().filter(|s| **s != Severity::Unknown).map(|s| (s.as_str(), s.as_str() == chosen)).collect()
}

/// The severity that a filter names; an unknown word asks for nothing.
pub fn read_severity(text: &str) -> Option<Severity> {
    Severity::ALL.into_iter().find(|s| *s != Severity::Unknown && s.as_str() == text)
}

fn kind_badge(kind: AdvisoryKind) -> Badge {
    let tone = match kind {
        AdvisoryKind::Security => "bad",
        AdvisoryKind::Bugfix => "run",
        AdvisoryKind::Enhancement | AdvisoryKind::Other => "idle",
    };
    Badge { tone, label: kind.as_str() }
}

/// The list's filter, as typed.
#[derive(Debug, Default, Deserialize)]
pub struct Filter {
    #[serde(default)]
    q: String,
    #[serde(default)]
    package: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    applicable: String,
    #[serde(default)]
    cursor: Option<String>,
}

impl Filter {
    fn severities(&self) -> Vec<(&'static str, bool)> {
        severities(&self.severity)
    }

    fn kinds(&self) -> Vec<(&'static str, bool)> {
        KINDS.map(|k| (k.as_str(), k.as_str() == self.kind)).to_vec()
    }

    fn pairs(&self) -> [(&'static str, &str); 5] {
        [
            ("q", self.q.as_str()),
            ("package", &self.package),
            ("kind", &self.kind),
            ("severity", &self.severity),
            ("applicable", &self.applicable),
        ]
    }

    fn active(&self) -> bool {
        self.pairs().iter().any(|(_, v)| !v.is_empty())
    }

    fn query(&self) -> AdvisoryQuery {
        let text = |t: &str| Some(t.trim().to_owned()).filter(|t| !t.is_empty());
        AdvisoryQuery {
            kinds: KINDS.into_iter().filter(|k| k.as_str() == self.kind).collect(),
            severity: read_severity(&self.severity),
            text: text(&self.q),
            package: text(&self.package),
            applicable: !self.applicable.is_empty(),
            ..AdvisoryQuery::default()
        }
    }
}

struct Row {
    id: String,
    title: String,
    kind: Badge,
    severity: Badge,
    withdrawn: bool,
    cves: usize,
    origins: String,
    changed: Option<When>,
    applicable: u32,
    installable: u32,
}

impl Row {
    fn new(a: AdvisorySummary, now: Timestamp) -> Self {
        Row {
            kind: kind_badge(a.kind),
            severity: severity_badge(a.severity),
            withdrawn: a.withdrawn,
            cves: a.cves.len(),
            origins: a.origins.join(", "),
            changed: view::when_opt(a.updated.or(a.issued), now),
            applicable: a.applicable,
            installable: a.installable,
            id: a.id,
            title: a.title,
        }
    }
}

#[derive(Template)]
#[template(path = "advisories.html")]
struct ListPage {
    c: Chrome,
    f: Filter,
    rows: Vec<Row>,
    pager: Pager,
}

/// `GET /advisories`
pub async fn list(who: Signed, Query(f): Query<Filter>) -> Result<Html<impl Template>, Fail> {
    let page = CursorQuery { cursor: f.cursor.clone() }.page();
    let found = who.control().list_advisories(&who.ctx, &f.query(), &page).await.map_err(|e| who.fail(e))?;
    Ok(Html(ListPage {
        c: who.chrome("Advisories", "/advisories"),
        pager: Pager::new(&list_url("/advisories", &f.pairs()), f.cursor.as_deref(), found.next_cursor.as_deref()),
        rows: found.items.into_iter().map(|a| Row::new(a, who.ctx.now)).collect(),
        f,
    }))
}

/// A package that an advisory brings.
struct FixRow {
    name: String,
    arch: String,
    version: String,
    product: String,
    module: String,
}

/// A host that needs it.
struct HostRow {
    id: String,
    name: String,
    installable: bool,
    packages: Vec<String>,
}

fn host_row(host: AdvisedInstance) -> HostRow {
    let package = |p: drydock_domain::advisory::report::AdvisedPackage| format!("{} {} → {}", p.name, p.installed, p.fixed);
    HostRow {
        id: host.id.to_string(),
        name: host.name,
        installable: host.installable,
        packages: host.packages.into_iter().map(package).collect(),
    }
}

#[derive(Template)]
#[template(path = "advisory.html")]
struct ShowPage {
    c: Chrome,
    id: String,
    title: String,
    kind: Badge,
    severity: Badge,
    withdrawn: bool,
    facts: Vec<(&'static str, String)>,
    description: String,
    cves: Vec<String>,
    fixes: Vec<FixRow>,
    more_fixes: usize,
    places: Vec<FixPlace>,
    hosts: Vec<HostRow>,
    applicable: u32,
    pager: Pager,
}

fn facts(d: &AdvisoryDetail) -> Vec<(&'static str, String)> {
    let a = &d.advisory;
    let day = |at: Option<Timestamp>| at.map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default();
    let after: Vec<&str> = [
        (a.reboot_suggested, "reboot"),
        (a.relogin_suggested, "log in again"),
        (a.restart_suggested, "restart the package manager or service"),
    ]
    .into_iter()
    .filter(|(is, _)| *is)
    .map(|(_, words)| words)
    .collect();
    [
        ("Hosts that need it", format!("{}, {} can install it now", d.applicable, d.installable)),
        ("Issued", day(a.issued)),
        ("Changed", day(a.updated)),
        ("Vendor's severity", a.vendor_severity.clone()),
        ("After it", after.join(", ")),
        ("Known from", d.origins.join(", ")),
    ]
    .into_iter()
    .filter(|(_, v)| !v.is_empty())
    .collect()
}

/// `GET /advisories/{id}`
pub async fn show(who: Signed, Path(id): Path<String>, Query(cursor): Query<CursorQuery>) -> Result<Html<impl Template>, Fail> {
    let control = who.control();
    let found = control.get_advisory(&who.ctx, &id).await.map_err(|e| who.fail(e))?;
    let hosts = control.advisory_instances(&who.ctx, &id, &cursor.page()).await.map_err(|e| who.fail(e))?;
    let facts = facts(&found);
    let a = found.advisory;
    let fix = |f: &drydock_domain::advisory::Fix| FixRow {
        name: f.name.clone(),
        arch: f.arch.clone(),
        version: f.version.clone(),
        product: format!("{} {}", f.product.os, f.product.release).trim().to_owned(),
        module: f.module.as_ref().map(|m| format!("{}:{}", m.name, m.stream)).unwrap_or_default(),
    };
    Ok(Html(ShowPage {
        c: who.chrome(a.id.clone(), "/advisories"),
        pager: Pager::new(&path_of(&id), cursor.cursor.as_deref(), hosts.next_cursor.as_deref()),
        kind: kind_badge(a.kind),
        severity: severity_badge(a.severity),
        withdrawn: a.withdrawn,
        facts,
        fixes: a.fixes.iter().take(FIXES_SHOWN).map(fix).collect(),
        more_fixes: a.fixes.len().saturating_sub(FIXES_SHOWN),
        places: found.places,
        hosts: hosts.items.into_iter().map(host_row).collect(),
        applicable: found.applicable,
        id: a.id,
        title: a.title,
        description: a.description,
        cves: a.cves,
    }))
}

fn path_of(id: &str) -> String {
    format!("/advisories/{}", crate::console::auth::form_encode(id))
}

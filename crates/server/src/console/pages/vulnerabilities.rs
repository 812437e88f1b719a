//! Vulnerabilities: what is open, how urgent, and one with its hosts; accepting it for a while ([`super::exceptions`] shows
//! and changes what is accepted).

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use drydock_control::VulnerabilityQuery;
use drydock_domain::advisory::exception::{ExceptionSpec, ScopeSpec};
use drydock_domain::advisory::open::{AffectedInstance, AffectedPackage, VulnerabilityDetail, VulnerabilitySummary};
use drydock_domain::advisory::report::FixPlace;
use drydock_domain::advisory::{Cvss, Epss};
use drydock_domain::applicability::OpenState;
use drydock_domain::validate::Invalid;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::advisories::{read_severity, severities, severity_badge};
use super::{CursorQuery, list_url};
use crate::console::auth::{Chrome, Signed, SignedForm, form_encode};
use crate::console::error::{Fail, Html};
use crate::console::fields::Fields;
use crate::console::rows::Pager;
use crate::console::view::{self, Badge, When};

/// Vendors' statements shown of one vulnerability, rows.
const STATEMENTS_SHOWN: usize = 50;

/// The list's filter, as typed.
#[derive(Debug, Default, Deserialize)]
pub struct Filter {
    #[serde(default)]
    q: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    exploited: String,
    #[serde(default)]
    installable: String,
    #[serde(default)]
    overdue: String,
    #[serde(default)]
    excepted: String,
    #[serde(default)]
    cursor: Option<String>,
}

impl Filter {
    fn severities(&self) -> Vec<(&'static str, bool)> {
        severities(&self.severity)
    }

    /// Check boxes: name, words, ticked.
    fn ticks(&self) -> [(&'static str, &'static str, bool); 4] {
        [
            ("overdue", "overdue", !self.overdue.is_empty()),
            ("exploited", "known to be exploited", !self.exploited.is_empty()),
            ("installable", "can be closed now", !self.installable.is_empty()),
            ("excepted", "also accepted ones", !self.excepted.is_empty()),
        ]
    }

    fn pairs(&self) -> [(&'static str, &str); 6] {
        [
            ("q", self.q.as_str()),
            ("severity", &self.severity),
            ("exploited", &self.exploited),
            ("installable", &self.installable),
            ("overdue", &self.overdue),
            ("excepted", &self.excepted),
        ]
    }

    fn active(&self) -> bool {
        self.pairs().iter().any(|(_, v)| !v.is_empty())
    }

    fn query(&self) -> VulnerabilityQuery {
        VulnerabilityQuery {
            severity: read_severity(&self.severity),
            text: Some(self.q.trim().to_owned()).filter(|t| !t.is_empty()),
            exploited: !self.exploited.is_empty(),
            installable: !self.installable.is_empty(),
            overdue: !self.overdue.is_empty(),
            excepted: !self.excepted.is_empty(),
        }
    }
}

fn score(cvss: Option<&Cvss>) -> String {
    cvss.map(|c| format!("{}.{}", c.tenths / 10, c.tenths % 10)).unwrap_or_default()
}

/// `12.3 %`.
fn likely(epss: Option<Epss>) -> String {
    epss.map(|e| format!("{}.{} %", e.millionths / 10_000, e.millionths / 1000 % 10)).unwrap_or_default()
}

struct Row {
    id: String,
    severity: Badge,
    cvss: String,
    epss: String,
    exploited: bool,
    hosts: u32,
    installable: u32,
    overdue: u32,
    excepted: u32,
    since: Option<When>,
    due: Option<When>,
}

impl Row {
    fn new(v: &VulnerabilitySummary, now: Timestamp) -> Self {
        Row {
            id: v.id.clone(),
            severity: severity_badge(v.severity),
            cvss: score(v.cvss.as_ref()),
            epss: likely(v.epss),
            exploited: v.kev.is_some(),
            hosts: v.hosts,
            installable: v.installable,
            overdue: v.overdue,
            excepted: v.excepted,
            since: view::when_opt(v.since, now),
            due: view::when_opt(v.due, now),
        }
    }
}

#[derive(Template)]
#[template(path = "vulnerabilities.html")]
struct ListPage {
    c: Chrome,
    f: Filter,
    rows: Vec<Row>,
    pager: Pager,
}

/// `GET /vulnerabilities`
pub async fn list(who: Signed, Query(f): Query<Filter>) -> Result<Html<impl Template>, Fail> {
    let page = CursorQuery { cursor: f.cursor.clone() }.page();
    let found = who.control().list_vulnerabilities(&who.ctx, &f.query(), &page).await.map_err(|e| who.fail(e))?;
    Ok(Html(ListPage {
        c: who.chrome("Vulnerabilities", "/vulnerabilities"),
        pager: Pager::new(&list_url("/vulnerabilities", &f.pairs()), f.cursor.as_deref(), found.next_cursor.as_deref()),
        rows: found.items.iter().map(|v| Row::new(v, who.ctx.now)).collect(),
        f,
    }))
}

/// A host it is open on.
struct HostRow {
    id: String,
    name: String,
    state: Badge,
    since: Option<When>,
    due: Option<When>,
    overdue: bool,
    /// The exception; who accepted it, until when and why.
    accepted: Option<(String, String)>,
    packages: Vec<String>,
}

fn open_badge(state: OpenState) -> Badge {
    let tone = match state {
        OpenState::Installable | OpenState::AwaitsReboot => "warn",
        OpenState::Applicable | OpenState::NoFix | OpenState::WontFix => "bad",
        OpenState::UnderInvestigation => "idle",
    };
    Badge { tone, label: state.as_str() }
}

fn package(p: &AffectedPackage) -> String {
    match &p.fixed {
        Some(fixed) => format!("{} {}, fixed in {fixed}", p.name, p.installed),
        None => format!("{} {}", p.name, p.installed),
    }
}

fn host_row(host: &AffectedInstance, now: Timestamp) -> HostRow {
    let accepted = |e: &drydock_domain::advisory::exception::ExceptionMark| {
        (e.id.to_string(), format!("accepted by {} until {}: {}", e.owner, e.until.strftime("%Y-%m-%d"), e.reason))
    };
    HostRow {
        id: host.id.to_string(),
        name: host.name.clone(),
        state: open_badge(host.state),
        since: view::when_opt(host.since, now),
        due: view::when_opt(host.due, now),
        overdue: host.overdue,
        accepted: host.exception.as_ref().map(accepted),
        packages: host.packages.iter().map(package).collect(),
    }
}

/// What a vendor says.
struct StatementRow {
    product: String,
    package: String,
    status: String,
    words: String,
}

#[derive(Template)]
#[template(path = "vulnerability.html")]
struct ShowPage {
    c: Chrome,
    v: Row,
    facts: Vec<(&'static str, String)>,
    description: String,
    advisories: Vec<String>,
    places: Vec<FixPlace>,
    statements: Vec<StatementRow>,
    more_statements: usize,
    hosts: Vec<HostRow>,
    pager: Pager,
    /// A month from now, as the form suggests it.
    until: String,
}

fn facts(d: &VulnerabilityDetail) -> Vec<(&'static str, String)> {
    let s = &d.summary;
    let day = |at: Option<Timestamp>| at.map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default();
    let kev = s.kev.as_ref().map(|k| {
        let due = k.due.map(|due| format!(", to be closed by {due}")).unwrap_or_default();
        format!("since {}{due}{}", k.added, if k.ransomware { ", used by ransomware" } else { "" })
    });
    [
        ("Score", s.cvss.as_ref().map(|c| format!("{} {}", score(Some(c)), c.vector)).unwrap_or_default()),
        ("Likely to be exploited", likely(s.epss)),
        ("Known to be exploited", kev.unwrap_or_default()),
        ("Published", day(s.published)),
        ("Hosts", format!("{}, {} can close it now, {} overdue, {} accepted", s.hosts, s.installable, s.overdue, s.excepted)),
        ("First seen open", day(s.since)),
        ("To be closed by", day(s.due)),
    ]
    .into_iter()
    .filter(|(_, v)| !v.trim().is_empty())
    .collect()
}

/// `GET /vulnerabilities/{id}`
pub async fn show(who: Signed, Path(id): Path<String>, Query(cursor): Query<CursorQuery>) -> Result<Html<impl Template>, Fail> {
    let control = who.control();
    let d = control.get_vulnerability(&who.ctx, &id).await.map_err(|e| who.fail(e))?;
    let hosts = control.vulnerability_instances(&who.ctx, &id, true, &cursor.page()).await.map_err(|e| who.fail(e))?;
    let statement = |s: &drydock_domain::advisory::Statement| StatementRow {
        product: format!("{} {}", s.product.os, s.product.release).trim().to_owned(),
        package: s.name.clone(),
        status: format!("{:?}", s.status),
        words: if s.version.is_empty() { s.justification.clone() } else { format!("{} {}", s.version, s.justification) },
    };
    let month = who.ctx.now.to_zoned(TimeZone::UTC).date().saturating_add(jiff::Span::new().days(30));
    Ok(Html(ShowPage {
        c: who.chrome(id.clone(), "/vulnerabilities"),
        v: Row::new(&d.summary, who.ctx.now),
        facts: facts(&d),
        statements: d.statements.iter().take(STATEMENTS_SHOWN).map(statement).collect(),
        more_statements: d.statements.len().saturating_sub(STATEMENTS_SHOWN),
        hosts: hosts.items.iter().map(|h| host_row(h, who.ctx.now)).collect(),
        pager: Pager::new(&path_of(&id), cursor.cursor.as_deref(), hosts.next_cursor.as_deref()),
        until: month.to_string(),
        description: d.vulnerability.summary,
        advisories: d.advisories,
        places: d.places,
    }))
}

fn path_of(id: &str) -> String {
    format!("/vulnerabilities/{}", form_encode(id))
}

/// The beginning of a day, as a form's field of that kind says it.
pub(super) fn read_day(text: &str) -> Option<Timestamp> {
    text.parse::<Date>().ok().and_then(|day| day.to_zoned(TimeZone::UTC).ok()).map(|day| day.timestamp())
}

/// The exception that a form asks for.
fn read_exception(cve: String, f: &Fields) -> Result<ExceptionSpec, Invalid> {
    let name = f.text("name");
    let scope = match f.get("scope") {
        "instance" => ScopeSpec::Instance(name),
        "group" => ScopeSpec::Group(name),
        "label" => match name.split_once('=') {
            Some((key, value)) => ScopeSpec::Label { key: key.trim().to_owned(), value: value.trim().to_owned() },
            None => return Err(Invalid::one("scope.label", "write a label as key=value")),
        },
        _ => ScopeSpec::All {},
    };
    let until = read_day(&f.text("until")).ok_or_else(|| Invalid::one("until", "is no day; write 2027-03-01"))?;
    let compartment = Some(f.text("compartment")).filter(|path| !path.is_empty());
    Ok(ExceptionSpec { cve, scope, owner: f.text("owner"), reason: f.text("reason"), until, compartment })
}

/// `POST /vulnerabilities/{id}/except`
pub async fn except(Path(id): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    let spec = match read_exception(id.clone(), &f) {
        Ok(spec) => spec,
        Err(invalid) => return who.refused(&path_of(&id), drydock_control::Error::Invalid(invalid)),
    };
    match who.control().create_exception(&who.ctx, spec).await {
        Ok(made) => {
            let until = made.until.strftime("%Y-%m-%d");
            Ok(who.done(&path_of(&id), format!("{id} is accepted until {until}, now on {} of its hosts.", made.hosts)))
        }
        Err(e) => who.refused_name(&path_of(&id), e),
    }
}

//! Exceptions, and the days that vulnerabilities have to be closed in.

use comfy_table::Table;
use drydock_domain::advisory::exception::{Exception, ScopeSpec};
use drydock_domain::advisory::sla::Sla;

use super::advisory::day;
use super::facts;
use crate::text::{clean, cut, table};

/// Reason in a list, characters; the JSON has all of it.
const REASON_WIDTH: usize = 60;

fn scope(scope: &ScopeSpec) -> String {
    match scope {
        ScopeSpec::All {} => "all hosts".to_owned(),
        ScopeSpec::Instance(name) => format!("instance {}", clean(name)),
        ScopeSpec::Group(name) => format!("group {}", clean(name)),
        ScopeSpec::Label { key, value } => format!("label {}={}", clean(key), clean(value)),
    }
}

fn until(e: &Exception) -> String {
    if e.expired { format!("{} (ended)", day(e.until)) } else { day(e.until) }
}

/// The list of exceptions.
pub fn exceptions(items: &[Exception]) -> Table {
    let mut rows = table(&["ID", "CVE", "ON", "HOSTS", "UNTIL", "OWNER", "REASON"]);
    for e in items {
        rows.add_row([
            e.id.to_string(),
            clean(&e.cve),
            scope(&e.scope),
            e.hosts.to_string(),
            until(e),
            clean(&e.owner),
            cut(&clean(&e.reason), REASON_WIDTH),
        ]);
    }
    rows
}

/// What was made.
pub fn exception(e: &Exception) -> String {
    let mut text = format!("{} is accepted on {} until {}.\n", clean(&e.cve), scope(&e.scope), day(e.until));
    text += &facts(&[
        ("exception", Some(e.id.to_string())),
        ("compartment", (e.compartment != "/").then(|| clean(&e.compartment))),
        ("owner", Some(clean(&e.owner))),
        ("reason", Some(clean(&e.reason))),
        ("hosts", Some(format!("{} on which it is open now", e.hosts))),
    ]);
    text
}

/// Days by severity.
pub fn sla(sla: &Sla) -> String {
    let days = |days: Option<u32>| Some(days.map_or_else(|| "no clock".to_owned(), |n| format!("{n} days")));
    let text = facts(&[
        ("critical", days(sla.critical)),
        ("important", days(sla.important)),
        ("moderate", days(sla.moderate)),
        ("low", days(sla.low)),
        ("known exploited", sla.kev_dates.then(|| "by the catalogue's date where that is sooner".to_owned())),
    ]);
    format!("Vulnerabilities have to be closed, after they were first seen on a host, within\n{text}")
}

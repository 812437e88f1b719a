//! The JSON of Debian's security tracker: source package → CVE → release → what is known. Each becomes a statement by
//! source; descriptions become vulnerabilities.
//!
//! Absent: Debian's own bug numbers, scopes, versions per repository.

use std::io::BufRead;

use drydock_domain::advisory::{NameKind, Product, Severity, Statement, Status, Vulnerability};
use drydock_domain::version::Scheme;
use serde::Deserialize;

use super::collect::{Bad, Out};
use super::json::Json;
use super::lenient::{Object, Pairs, Text, shape_problem};
use super::product::codename;
use super::{Hints, Stop, text};

/// Largest entry of one CVE in one package, bytes.
const ENTRY_MAX_BYTES: usize = 1024 * 1024;
/// Releases of an entry, count.
const RELEASES_MAX: usize = 64;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry<'a> {
    #[serde(borrow)]
    description: Text<'a>,
    #[serde(borrow)]
    releases: Pairs<'a, Object<Release<'a>>, RELEASES_MAX>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Release<'a> {
    #[serde(borrow)]
    status: Text<'a>,
    #[serde(borrow)]
    fixed_version: Text<'a>,
    #[serde(borrow)]
    urgency: Text<'a>,
    #[serde(borrow)]
    nodsa: Text<'a>,
    #[serde(borrow)]
    nodsa_reason: Text<'a>,
}

/// Reads the document.
pub(super) fn read<R: BufRead>(json: &mut Json<R>, hints: &Hints, out: &mut Out<'_>) -> Result<(), Stop> {
    json.open(b'{')?;
    let mut first = true;
    while json.more(b'}', &mut first)? {
        let package = json.key()?;
        let Some(package) = text::name(&package) else {
            out.entry();
            out.finding(&package, &Bad::Name.problem());
            json.skip()?;
            continue;
        };
        if json.peek()? != Some(b'{') {
            out.entry();
            out.finding(&package, "a package is no object of CVEs");
            json.skip()?;
            continue;
        }
        json.open(b'{')?;
        let mut first = true;
        while json.more(b'}', &mut first)? {
            out.entry();
            let id = json.key()?;
            let place = format!("{package} {id}");
            let cut = json.value(ENTRY_MAX_BYTES)?;
            if out.usable(cut, &place, ENTRY_MAX_BYTES) {
                entry(&package, &id, json.taken(), hints, out)?;
            }
        }
    }
    Ok(())
}

fn entry(package: &str, id: &str, bytes: &[u8], hints: &Hints, out: &mut Out<'_>) -> Result<(), Stop> {
    let place = format!("{package} {id}");
    let entry: Entry<'_> = match serde_json::from_slice(bytes) {
        Ok(entry) => entry,
        Err(error) => {
            out.finding(&place, &shape_problem(&error));
            return Ok(());
        }
    };
    // Debian gives what has no CVE a name of its own until it has one.
    let own = || text::id(id).filter(|id| id.starts_with("TEMP-"));
    let Some(id) = text::cve(id).or_else(own) else {
        out.finding(&place, "it is no CVE");
        return Ok(());
    };
    out.vulnerability(Vulnerability {
        id: id.clone(),
        summary: text::description(entry.description.as_str()),
        ..Vulnerability::default()
    })?;
    out.findings(&place, "it has more releases than are read", entry.releases.dropped);
    for (name, release) in &entry.releases.items {
        let Some(product) = codename(&hints.releases, name.as_str()) else {
            // `sid` is a moving target that has no number.
            if name.as_str() != "sid" {
                out.finding(&place, "the name of a release is not known; give its number as a hint");
            }
            continue;
        };
        match statement(&id, package, product, release) {
            Ok(statement) => out.statement(statement)?,
            Err(problem) => out.finding(&place, &problem),
        }
    }
    Ok(())
}

fn statement(id: &str, package: &str, product: Product, release: &Release<'_>) -> Result<Statement, String> {
    let urgency = release.urgency.as_str();
    let (status, version) = match (release.status.as_str(), release.fixed_version.as_str()) {
        // Debian's way to say that no version of the release ever had it.
        ("resolved", "0") => (Status::NotAffected, String::new()),
        ("resolved", "") => return Err("it is resolved without a version".to_owned()),
        ("resolved", version) => {
            let version = text::version(Scheme::Deb, version).map_err(|e| Bad::Version(e.why.to_owned()).problem())?;
            (Status::Fixed, version)
        }
        ("open", _) if urgency == "end-of-life" || release.nodsa_reason.as_str() == "ignored" => (Status::WontFix, String::new()),
        ("open", _) => (Status::Affected, String::new()),
        ("undetermined", _) => (Status::UnderInvestigation, String::new()),
        _ => return Err("its status is none of resolved, open and undetermined".to_owned()),
    };
    let reason = if release.nodsa.is_empty() && urgency == "end-of-life" { urgency } else { release.nodsa.as_str() };
    Ok(Statement {
        vulnerability: id.to_owned(),
        product,
        name: package.to_owned(),
        by: NameKind::Source,
        module: None,
        scheme: Scheme::Deb,
        status,
        version,
        severity: Severity::of_word(urgency),
        justification: text::justification(reason),
    })
}

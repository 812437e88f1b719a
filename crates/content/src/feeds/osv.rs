//! OSV documents (ossf.github.io/osv-schema) of the distributions whose packages we know: AlmaLinux, Rocky Linux, Red Hat,
//! SUSE and openSUSE, Oracle Linux, Debian, Ubuntu with Pro. A document about a CVE becomes a vulnerability and statements,
//! any other one an advisory.
//!
//! Absent: ranges by commit or semantic version, `introduced` other than the beginning, lists of versions without a range,
//! other ecosystems (Alpine, languages; counted as findings), Ubuntu's FIPS and real-time variants.

use drydock_domain::advisory::{Advisory, AdvisoryKind, NameKind, Severity, Statement, Status, Vulnerability};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::collect::{Out, STATEMENTS_MAX, reference};
use super::lenient::{List, Object, Pairs, Text, shape_problem};
use super::osv_fix::{Found, fixes};
use super::{SinkError, cvss, text};

/// Packages of a document, count. SUSE's kernel updates name about two thousand.
const AFFECTED_MAX: usize = 20_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Document<'a> {
    #[serde(borrow)]
    pub id: Text<'a>,
    #[serde(borrow)]
    pub summary: Text<'a>,
    #[serde(borrow)]
    details: Text<'a>,
    #[serde(borrow)]
    published: Text<'a>,
    #[serde(borrow)]
    modified: Text<'a>,
    #[serde(borrow)]
    withdrawn: Text<'a>,
    #[serde(borrow)]
    aliases: List<Text<'a>, 5_000>,
    #[serde(borrow)]
    related: List<Text<'a>, 5_000>,
    #[serde(borrow)]
    upstream: List<Text<'a>, 5_000>,
    #[serde(borrow)]
    severity: List<Score<'a>, 32>,
    #[serde(borrow)]
    pub affected: List<Affected<'a>, AFFECTED_MAX>,
    #[serde(borrow)]
    references: List<Link<'a>, 500>,
    #[serde(borrow)]
    database_specific: Object<Specific<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Score<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    score: Text<'a>,
    #[serde(borrow)]
    source: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Link<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    url: Text<'a>,
}

/// What databases add: only what several of them agree on is known here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Specific<'a> {
    #[serde(borrow)]
    severity: Text<'a>,
    /// Debian's.
    #[serde(borrow)]
    pub urgency: Text<'a>,
    /// Ubuntu's.
    #[serde(borrow)]
    pub ubuntu_priority: Text<'a>,
    /// SUSE's: names and versions of what was built.
    #[serde(borrow)]
    pub binaries: List<Pairs<'a, Text<'a>, 5_000>, 64>,
    /// AlmaLinux's.
    #[serde(borrow)]
    pub module: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Affected<'a> {
    #[serde(borrow)]
    pub package: Object<Package<'a>>,
    #[serde(borrow)]
    pub ranges: List<Range<'a>, 16>,
    pub versions: List<IgnoredAny, 1>,
    #[serde(borrow)]
    pub ecosystem_specific: Object<Specific<'a>>,
    #[serde(borrow)]
    pub database_specific: Object<Specific<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Package<'a> {
    #[serde(borrow)]
    pub ecosystem: Text<'a>,
    #[serde(borrow)]
    pub name: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Range<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    #[serde(borrow)]
    pub events: List<Event<'a>, 16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event<'a> {
    #[serde(borrow)]
    pub introduced: Text<'a>,
    #[serde(borrow)]
    pub fixed: Text<'a>,
    #[serde(borrow)]
    pub last_affected: Text<'a>,
}

/// Reads one document.
pub(super) fn document(bytes: &[u8], out: &mut Out<'_>) -> Result<(), SinkError> {
    let document: Document<'_> = match serde_json::from_slice(bytes) {
        Ok(document) => document,
        Err(error) => {
            let place = out.place();
            out.finding(&place, &shape_problem(&error));
            return Ok(());
        }
    };
    let Some(id) = text::id(document.id.as_str()) else {
        let place = out.place();
        out.finding(&place, "it has no usable id");
        return Ok(());
    };
    out.findings(&id, &format!("it names more than {AFFECTED_MAX} packages"), document.affected.dropped);
    let found = fixes(&document, &id, out);
    match cve_of(&id) {
        Some(cve) => vulnerability(&document, &id, cve, found, out),
        None => advisory(&document, id, found, out),
    }
}

/// The CVE that a document with this id is about: `CVE-…`, `UBUNTU-CVE-…`, `DEBIAN-CVE-…`.
fn cve_of(id: &str) -> Option<String> {
    text::cve(bare(id))
}

/// Without the database's own prefix.
fn bare(id: &str) -> &str {
    ["UBUNTU-", "DEBIAN-", "SUSE-"].into_iter().find_map(|prefix| id.strip_prefix(prefix)).unwrap_or(id)
}

impl Document<'_> {
    fn cves(&self) -> Vec<String> {
        let named = self.aliases.iter().chain(self.related.iter()).chain(self.upstream.iter());
        text::cves(named.map(|id| bare(id.as_str())))
    }

    fn scores(&self) -> Vec<drydock_domain::advisory::Cvss> {
        let vectors = self.severity.iter().filter(|s| s.kind.as_str().starts_with("CVSS"));
        vectors.filter_map(|s| cvss::of_vector(s.score.as_str(), s.source.as_str())).collect()
    }

    /// The vendor's word: in a field of the database, as a score that is a word (Ubuntu), or in the title.
    fn vendor_word(&self) -> String {
        let scores = self.severity.iter().filter(|s| !s.kind.as_str().starts_with("CVSS")).map(|s| s.score.as_str());
        let specific = self.affected.iter().flat_map(|a| [&a.ecosystem_specific, &a.database_specific]);
        let words = [self.database_specific.severity.as_str()]
            .into_iter()
            .chain(scores)
            .chain(specific.flat_map(|s| [s.severity.as_str(), s.ubuntu_priority.as_str()]));
        let known = words.filter(|word| Severity::of_word(word) != Severity::Unknown);
        let worst = known.max_by_key(|word| Severity::of_word(word));
        worst.or_else(|| word_of_title(self.summary.as_str())).map(text::vendor_word).unwrap_or_default()
    }
}

/// `Important: x security update`, `[ALSA-2024:1] Moderate: x`, `x security update (Important)`.
fn word_of_title(title: &str) -> Option<&str> {
    let words = ["Critical", "Important", "Moderate", "Low"];
    let given = |word: &&str| {
        title.split_whitespace().any(|part| part.strip_suffix(':') == Some(word))
            || title.trim_end().ends_with(&format!("({word})"))
    };
    words.into_iter().find(given)
}

/// `security` and so on, from how vendors number.
fn kind_of(id: &str, has_cves: bool) -> AdvisoryKind {
    let family = id.split([':', '-']).next().unwrap_or_default();
    let suse = ["SUSE-", "openSUSE-"].into_iter().find_map(|prefix| id.strip_prefix(prefix)).and_then(|rest| rest.get(..2));
    match (family, suse) {
        ("DSA" | "DLA" | "DTSA" | "ELA" | "USN" | "LSN", _) | (_, Some("SU")) => AdvisoryKind::Security,
        (_, Some("RU")) => AdvisoryKind::Bugfix,
        (_, Some("FU")) => AdvisoryKind::Enhancement,
        _ if family.len() == 4 && family.ends_with("SA") => AdvisoryKind::Security,
        _ if family.len() == 4 && family.ends_with("BA") => AdvisoryKind::Bugfix,
        _ if family.len() == 4 && family.ends_with("EA") => AdvisoryKind::Enhancement,
        _ if has_cves => AdvisoryKind::Security,
        _ => AdvisoryKind::Other,
    }
}

fn advisory(document: &Document<'_>, id: String, found: Found, out: &mut Out<'_>) -> Result<(), SinkError> {
    if found.fixes.is_empty() {
        // Everything that was left out of it was reported; without a fix it would touch nobody.
        let problem =
            if document.affected.items.is_empty() { "it names no package" } else { "nothing in it is for a system known here" };
        out.finding(&id, problem);
        return Ok(());
    }
    let cves = document.cves();
    let scores = document.scores();
    let vendor_severity = document.vendor_word();
    let severity = match Severity::of_word(&vendor_severity) {
        Severity::Unknown => {
            let best = scores.iter().max_by_key(|score| (score.version, score.tenths));
            best.map_or(Severity::Unknown, |score| Severity::of_score(score.tenths))
        }
        known => known,
    };
    if let ([cve], false) = (cves.as_slice(), scores.is_empty()) {
        // A score of the advisory is the score of its one CVE.
        out.vulnerability(Vulnerability { id: cve.clone(), cvss: scores, ..Vulnerability::default() })?;
    }
    let references = document.references.iter().filter_map(|link| reference(link.kind.as_str(), "", link.url.as_str()));
    out.advisory(Advisory {
        kind: kind_of(&id, !cves.is_empty()),
        severity,
        vendor_severity,
        title: title_of(document.summary.as_str(), &id),
        description: text::description(document.details.as_str()),
        issued: text::time(document.published.as_str()),
        updated: text::time(document.modified.as_str()),
        withdrawn: !document.withdrawn.is_empty(),
        cves,
        references: references.collect(),
        fixes: found.fixes,
        id,
        ..Advisory::default()
    })
}

/// Without the id that some databases put in front of it.
fn title_of(summary: &str, id: &str) -> String {
    let summary = summary.trim();
    let bare = summary.strip_prefix('[').and_then(|rest| rest.strip_prefix(id)).and_then(|rest| rest.strip_prefix(']'));
    let bare = bare.or_else(|| summary.strip_prefix(id).and_then(|rest| rest.strip_prefix(':')));
    text::title(bare.unwrap_or(summary))
}

fn vulnerability(document: &Document<'_>, id: &str, cve: String, found: Found, out: &mut Out<'_>) -> Result<(), SinkError> {
    let withdrawn = !document.withdrawn.is_empty();
    let summary = if document.details.is_empty() { &document.summary } else { &document.details };
    out.vulnerability(Vulnerability {
        id: cve.clone(),
        summary: text::description(summary.as_str()),
        published: text::time(document.published.as_str()),
        modified: text::time(document.modified.as_str()),
        severity: Severity::of_word(&document.vendor_word()),
        cvss: document.scores(),
        ..Vulnerability::default()
    })?;
    let mut statements: Vec<Statement> = Vec::new();
    for fix in found.fixes {
        let (status, justification) =
            if withdrawn { (Status::NotAffected, "withdrawn".to_owned()) } else { (Status::Fixed, String::new()) };
        statements.push(Statement {
            vulnerability: cve.clone(),
            product: fix.product,
            name: fix.name,
            by: fix.by,
            module: fix.module,
            scheme: fix.scheme,
            status,
            version: if withdrawn { String::new() } else { fix.version },
            severity: Severity::Unknown,
            justification,
        });
    }
    for open in found.open {
        statements.push(Statement {
            vulnerability: cve.clone(),
            status: if withdrawn { Status::NotAffected } else { open.status },
            justification: if withdrawn { "withdrawn".to_owned() } else { open.justification },
            product: open.product,
            name: open.name,
            by: open.by,
            module: None,
            scheme: open.scheme,
            version: String::new(),
            severity: open.severity,
        });
    }
    for statement in resolve(statements, id, out) {
        out.statement(statement)?;
    }
    Ok(())
}

/// One statement per package: a fix (in whichever repository) goes before "open", and of several fixes the highest stands.
pub(super) fn resolve(mut statements: Vec<Statement>, id: &str, out: &mut Out<'_>) -> Vec<Statement> {
    let key = |s: &Statement| (s.product.clone(), s.name.clone(), s.by, s.module.clone());
    let rank = |s: &Statement| match s.status {
        Status::Fixed => 0,
        Status::Affected => 1,
        Status::WontFix => 2,
        Status::UnderInvestigation => 3,
        Status::NotAffected => 4,
    };
    statements.sort_by(|a, b| {
        let versions = || match drydock_domain::version::compare(a.scheme, &a.version, &b.version) {
            Ok(order) => order.reverse(),
            Err(_) => a.version.is_empty().cmp(&b.version.is_empty()),
        };
        (key(a), rank(a)).cmp(&(key(b), rank(b))).then_with(versions)
    });
    statements.dedup_by(|later, kept| key(later) == key(kept));
    if statements.len() > STATEMENTS_MAX {
        out.findings(id, &format!("it makes more than {STATEMENTS_MAX} statements"), (statements.len() - STATEMENTS_MAX) as u64);
        statements.truncate(STATEMENTS_MAX);
    }
    statements
}

/// What [`super::osv_fix`] says of a package without a fix.
#[derive(Debug)]
pub(super) struct Open {
    pub product: drydock_domain::advisory::Product,
    pub name: String,
    pub by: NameKind,
    pub scheme: drydock_domain::version::Scheme,
    pub status: Status,
    pub severity: Severity,
    pub justification: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_titles_and_numbers() {
        for (title, want) in [
            ("Important: nss security update", Some("Important")),
            ("[ALSA-2022:1] Moderate: x", Some("Moderate")),
            ("ALSA-2022:5468: php:8.0 security update (Important)", Some("Important")),
            ("Lowering the bar", None),
            ("", None),
        ] {
            assert_eq!(word_of_title(title), want, "{title}");
        }
        for (id, want) in [
            ("RHSA-2026:1", AdvisoryKind::Security),
            ("ALBA-2026:1", AdvisoryKind::Bugfix),
            ("ELEA-2026-1", AdvisoryKind::Enhancement),
            ("SUSE-RU-2026:1-1", AdvisoryKind::Bugfix),
            ("openSUSE-SU-2026:1-1", AdvisoryKind::Security),
            ("DSA-1-1", AdvisoryKind::Security),
            ("X-1", AdvisoryKind::Other),
        ] {
            assert_eq!(kind_of(id, false), want, "{id}");
        }
        assert_eq!(title_of("[A-1] b", "A-1"), "b");
        assert_eq!(title_of("A-1: b", "A-1"), "b");
        assert_eq!(cve_of("UBUNTU-CVE-2026-1234").as_deref(), Some("CVE-2026-1234"));
        assert_eq!(cve_of("ALSA-2026:1"), None);
    }
}

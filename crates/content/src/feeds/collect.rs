//! Where readers put what they read: items go to the sink and are counted, what is left out becomes findings of which a
//! bounded number is kept.

use std::collections::HashMap;

use drydock_domain::advisory::{Advisory, FIXES_MAX, Fix, REFERENCES_MAX, Reference, Statement, Vulnerability};

use super::json::Cut;
use super::text;
use super::{FINDINGS_MAX, FeedItem, FeedKind, FeedReport, Finding, SinkError};

/// Longest text of a finding, characters.
const FINDING_MAX_CHARS: usize = 300;
/// Statements of one document, count: a CVE of everything in every edition. More are left out with a finding.
pub(super) const STATEMENTS_MAX: usize = 200_000;

/// See the module.
pub(super) struct Out<'a> {
    pub report: FeedReport,
    sink: &'a mut dyn FnMut(FeedItem) -> Result<(), SinkError>,
    /// Problem → place in the findings.
    known: HashMap<String, usize>,
}

impl<'a> Out<'a> {
    /// The kind is corrected by the caller when it is found out later.
    pub(super) fn new(kind: Option<FeedKind>, sink: &'a mut dyn FnMut(FeedItem) -> Result<(), SinkError>) -> Self {
        let report = FeedReport {
            kind: kind.unwrap_or(FeedKind::Osv),
            stamp: String::new(),
            bytes: 0,
            documents: 0,
            advisories: 0,
            vulnerabilities: 0,
            statements: 0,
            left_out: 0,
            findings: Vec::new(),
        };
        Self { report, sink, known: HashMap::new() }
    }

    /// An entry was met.
    pub(super) fn entry(&mut self) {
        self.report.documents += 1;
    }

    /// The name of an entry that has none, or none yet.
    pub(super) fn place(&self) -> String {
        format!("entry {}", self.report.documents)
    }

    /// Something of `entry` is left out. Problems are counted by their words: those should not hold what differs in every
    /// entry.
    pub(super) fn finding(&mut self, entry: &str, problem: &str) {
        self.findings(entry, problem, 1);
    }

    /// The same, several times.
    pub(super) fn findings(&mut self, entry: &str, problem: &str, count: u64) {
        if count == 0 {
            return;
        }
        self.report.left_out += count;
        let shown = |text: &str| -> String {
            text.chars().take(FINDING_MAX_CHARS).map(|c| if c.is_control() { '?' } else { c }).collect()
        };
        let problem = shown(problem);
        let findings = &mut self.report.findings;
        if let Some(finding) = self.known.get(&problem).and_then(|at| findings.get_mut(*at)) {
            finding.count += count;
        } else if findings.len() < FINDINGS_MAX {
            self.known.insert(problem.clone(), findings.len());
            findings.push(Finding { entry: shown(entry), problem, count });
        }
    }

    /// Was the value kept? Reports it otherwise.
    pub(super) fn usable(&mut self, cut: Cut, entry: &str, max: usize) -> bool {
        match cut {
            Cut::Taken => true,
            Cut::TooLarge => {
                self.finding(entry, &format!("it is larger than {max} bytes"));
                false
            }
            Cut::TooDeep => {
                self.finding(entry, "it is nested too deeply");
                false
            }
        }
    }

    /// Puts the lists of the advisory in order and gives it out.
    pub(super) fn advisory(&mut self, mut advisory: Advisory) -> Result<(), SinkError> {
        tidy(&mut advisory);
        if advisory.fixes.len() > FIXES_MAX {
            let more = advisory.fixes.len() - FIXES_MAX;
            self.findings(&advisory.id, &format!("it has more than {FIXES_MAX} fixes"), more as u64);
            advisory.fixes.truncate(FIXES_MAX);
        }
        self.report.advisories += 1;
        (self.sink)(FeedItem::Advisory(Box::new(advisory)))
    }

    /// Gives a vulnerability out.
    pub(super) fn vulnerability(&mut self, mut vulnerability: Vulnerability) -> Result<(), SinkError> {
        vulnerability.cvss.sort_unstable();
        vulnerability.cvss.dedup();
        self.report.vulnerabilities += 1;
        (self.sink)(FeedItem::Vulnerability(Box::new(vulnerability)))
    }

    /// Gives a statement out.
    pub(super) fn statement(&mut self, statement: Statement) -> Result<(), SinkError> {
        self.report.statements += 1;
        (self.sink)(FeedItem::Statement(Box::new(statement)))
    }
}

/// Lists sorted, each item once.
pub(super) fn tidy(advisory: &mut Advisory) {
    advisory.fixes.sort_unstable();
    advisory.fixes.dedup();
    advisory.references.dedup();
    advisory.references.truncate(REFERENCES_MAX);
}

/// A package of a feed whose name and version were looked at.
#[derive(Debug)]
pub(super) enum Bad {
    Name,
    Version(String),
}

impl Bad {
    /// Without what differs in every entry.
    pub(super) fn problem(&self) -> String {
        match self {
            Bad::Name => "a package has no usable name".to_owned(),
            Bad::Version(why) => format!("a version is none: {why}"),
        }
    }
}

/// Checks name and version of a fix and brings them into our form.
pub(super) fn checked(mut fix: Fix) -> Result<Fix, Bad> {
    fix.name = text::name(&fix.name).ok_or(Bad::Name)?;
    fix.version = text::version(fix.scheme, &fix.version).map_err(|error| Bad::Version(error.why.to_owned()))?;
    Ok(fix)
}

/// A reference with what is usable of it; `None` when nothing is.
pub(super) fn reference(kind: &str, id: &str, url: &str) -> Option<Reference> {
    let reference = Reference {
        kind: text::short(&kind.to_ascii_lowercase()).unwrap_or_default(),
        id: text::id(id).unwrap_or_default(),
        url: text::url(url),
    };
    (!reference.id.is_empty() || !reference.url.is_empty()).then_some(reference)
}

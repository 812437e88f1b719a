//! CSAF 2.0 as Red Hat and SUSE publish it. An advisory becomes an [`Advisory`] with the packages of all its
//! `fixed`/`recommended`/`first_fixed` lists; a VEX document becomes statements; both give vulnerabilities with scores.
//!
//! Absent: products that are no rpm packages, `known_affected` of advisories (VEX says it), acknowledgements, revision
//! history, ranges of versions.

use std::collections::{BTreeSet, HashMap};

use drydock_domain::advisory::{
    Advisory, AdvisoryKind, Cvss, CvssVersion, Fix, NameKind, Product, Severity, Statement, Status, Vulnerability,
};
use drydock_domain::version::Scheme;
use serde::Deserialize;

use super::collect::{Out, checked, reference};
use super::csaf_products::{Component, Meaning, PRODUCTS_MAX, Products, Tree};
use super::lenient::{List, Object, Text, shape_problem};
use super::osv::resolve;
use super::{SinkError, cvss, text};

/// Vulnerabilities of one document, count.
const VULNERABILITIES_MAX: usize = 5_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document<'a> {
    #[serde(borrow)]
    document: Object<Head<'a>>,
    #[serde(borrow)]
    product_tree: Object<Tree<'a>>,
    #[serde(borrow)]
    vulnerabilities: List<Vuln<'a>, VULNERABILITIES_MAX>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Head<'a> {
    #[serde(borrow)]
    category: Text<'a>,
    #[serde(borrow)]
    csaf_version: Text<'a>,
    #[serde(borrow)]
    title: Text<'a>,
    #[serde(borrow)]
    aggregate_severity: Object<Worded<'a>>,
    #[serde(borrow)]
    publisher: Object<Publisher<'a>>,
    #[serde(borrow)]
    tracking: Object<Tracking<'a>>,
    #[serde(borrow)]
    notes: List<Note<'a>, 200>,
    #[serde(borrow)]
    references: List<Link<'a>, 500>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Worded<'a> {
    #[serde(borrow)]
    text: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Publisher<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tracking<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    initial_release_date: Text<'a>,
    #[serde(borrow)]
    current_release_date: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Note<'a> {
    #[serde(borrow)]
    category: Text<'a>,
    #[serde(borrow)]
    text: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Link<'a> {
    #[serde(borrow)]
    category: Text<'a>,
    #[serde(borrow)]
    url: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Vuln<'a> {
    #[serde(borrow)]
    cve: Text<'a>,
    #[serde(borrow)]
    title: Text<'a>,
    #[serde(borrow)]
    notes: List<Note<'a>, 100>,
    #[serde(borrow)]
    release_date: Text<'a>,
    #[serde(borrow)]
    product_status: Object<Statuses<'a>>,
    #[serde(borrow)]
    threats: List<Threat<'a>, 10_000>,
    #[serde(borrow)]
    remediations: List<Remediation<'a>, 10_000>,
    #[serde(borrow)]
    flags: List<Flag<'a>, 10_000>,
    #[serde(borrow)]
    scores: List<Score<'a>, 100>,
}

/// Ids of products.
type Ids<'a> = List<Text<'a>, PRODUCTS_MAX>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Statuses<'a> {
    #[serde(borrow)]
    fixed: Ids<'a>,
    #[serde(borrow)]
    first_fixed: Ids<'a>,
    #[serde(borrow)]
    recommended: Ids<'a>,
    #[serde(borrow)]
    known_affected: Ids<'a>,
    #[serde(borrow)]
    known_not_affected: Ids<'a>,
    #[serde(borrow)]
    under_investigation: Ids<'a>,
}

impl<'a> Statuses<'a> {
    fn all_fixed(&self) -> impl Iterator<Item = &Text<'a>> {
        self.fixed.iter().chain(self.recommended.iter()).chain(self.first_fixed.iter())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Threat<'a> {
    #[serde(borrow)]
    category: Text<'a>,
    #[serde(borrow)]
    details: Text<'a>,
    #[serde(borrow)]
    product_ids: Ids<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Remediation<'a> {
    #[serde(borrow)]
    category: Text<'a>,
    #[serde(borrow)]
    details: Text<'a>,
    #[serde(borrow)]
    product_ids: Ids<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Flag<'a> {
    #[serde(borrow)]
    label: Text<'a>,
    #[serde(borrow)]
    product_ids: Ids<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Score<'a> {
    #[serde(borrow)]
    cvss_v2: Object<CvssText<'a>>,
    #[serde(borrow)]
    cvss_v3: Object<CvssText<'a>>,
    #[serde(borrow)]
    cvss_v4: Object<CvssText<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CvssText<'a> {
    #[serde(borrow)]
    vector_string: Text<'a>,
    #[serde(borrow)]
    base_score: Text<'a>,
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
    let Some(id) = text::id(document.document.tracking.id.as_str()) else {
        let place = out.place();
        out.finding(&place, "it has no usable id");
        return Ok(());
    };
    if !document.document.csaf_version.as_str().starts_with("2.") {
        out.finding(&id, "it is not of CSAF 2");
        return Ok(());
    }
    let products = Products::new(&document.product_tree);
    out.findings(&id, "its product tree has more entries than are read", products.dropped);
    out.findings(&id, &format!("it has more than {VULNERABILITIES_MAX} vulnerabilities"), document.vulnerabilities.dropped);
    let mut reader = Reader { document: &document, id: &id, products, meanings: HashMap::new() };
    for vuln in document.vulnerabilities.iter() {
        reader.vulnerability(vuln, out)?;
    }
    let vex = document.document.category.as_str() == "csaf_vex" || text::cve(&id).is_some();
    if vex { reader.statements(out) } else { reader.advisory(out) }
}

struct Reader<'d> {
    document: &'d Document<'d>,
    id: &'d str,
    products: Products<'d>,
    meanings: HashMap<&'d str, Meaning>,
}

impl<'d> Reader<'d> {
    fn by(&self) -> &'static str {
        match self.document.document.publisher.name.as_str() {
            name if name.starts_with("Red Hat") => "redhat",
            name if name.starts_with("SUSE") => "suse",
            _ => "",
        }
    }

    /// The vulnerability itself: words, severity, scores.
    fn vulnerability(&self, vuln: &Vuln<'_>, out: &mut Out<'_>) -> Result<(), SinkError> {
        let Some(id) = text::cve(vuln.cve.as_str()) else {
            // Faults without a CVE are legal, and nothing here could be said of them.
            out.finding(self.id, "a vulnerability has no CVE");
            return Ok(());
        };
        let impact = vuln.threats.iter().filter(|t| t.category.as_str() == "impact");
        let severity = impact.map(|t| Severity::of_word(t.details.as_str())).max().unwrap_or_default();
        let note = |category: &str| vuln.notes.iter().find(|n| n.category.as_str() == category).map(|n| n.text.as_str());
        let summary = note("description").or_else(|| note("summary")).unwrap_or(vuln.title.as_str());
        out.vulnerability(Vulnerability {
            id,
            summary: text::description(summary),
            published: text::time(vuln.release_date.as_str()),
            modified: text::time(self.document.document.tracking.current_release_date.as_str()),
            severity,
            cvss: vuln.scores.iter().flat_map(|score| self.scores(score)).collect(),
            ..Vulnerability::default()
        })
    }

    fn scores(&self, score: &Score<'_>) -> Vec<Cvss> {
        let editions = [(&score.cvss_v2, CvssVersion::V2), (&score.cvss_v3, CvssVersion::V3), (&score.cvss_v4, CvssVersion::V4)];
        let read = |(given, version): (&Object<CvssText<'_>>, CvssVersion)| {
            cvss::of_vector(given.vector_string.as_str(), self.by()).or_else(|| {
                let tenths = given.base_score.as_str().parse().ok().and_then(cvss::tenths)?;
                Some(Cvss { version, tenths, vector: String::new(), by: self.by().to_owned() })
            })
        };
        editions.into_iter().filter_map(read).collect()
    }

    fn meaning(&mut self, id: &'d Text<'d>, out: &mut Out<'_>) -> Option<(Component, Vec<Product>)> {
        let products = &self.products;
        let first = !self.meanings.contains_key(id.as_str());
        let meaning = self.meanings.entry(id.as_str()).or_insert_with(|| products.meaning(id.as_str()));
        let problem = match meaning {
            Meaning::Package(component, products) => return Some((component.clone(), products.clone())),
            Meaning::NoPackage => "a product is no rpm package",
            Meaning::OtherPlatform => "a product is of a platform that is not known here",
            Meaning::Unknown => "a product is not in the product tree",
        };
        if first {
            out.finding(self.id, problem);
        }
        None
    }

    /// What the lists of fixed packages bring. Sources stand for binaries only in products that name no binary.
    fn fixes(&mut self, vuln: &'d Vuln<'d>, out: &mut Out<'_>) -> BTreeSet<Fix> {
        let (mut binaries, mut sources) = (BTreeSet::new(), BTreeSet::new());
        for id in vuln.product_status.all_fixed() {
            let Some((component, products)) = self.meaning(id, out) else { continue };
            if component.version.is_empty() {
                out.finding(self.id, "a fixed package has no version");
                continue;
            }
            let source = matches!(component.arch.as_str(), "src" | "nosrc");
            let fix = Fix {
                product: Product::any(),
                name: component.name,
                by: if source { NameKind::Source } else { NameKind::Binary },
                arch: if source { String::new() } else { text::short(&component.arch).unwrap_or_default() },
                version: component.version,
                scheme: Scheme::Rpm,
                module: component.module,
            };
            match checked(fix) {
                Ok(fix) => {
                    let list = if source { &mut sources } else { &mut binaries };
                    list.extend(products.into_iter().map(|product| Fix { product, ..fix.clone() }));
                }
                Err(bad) => out.finding(self.id, &bad.problem()),
            }
        }
        let named: BTreeSet<Product> = binaries.iter().map(|fix: &Fix| fix.product.clone()).collect();
        binaries.extend(sources.into_iter().filter(|fix| !named.contains(&fix.product)));
        binaries
    }

    fn advisory(&mut self, out: &mut Out<'_>) -> Result<(), SinkError> {
        let document = self.document;
        let head = &document.document;
        let mut fixes = BTreeSet::new();
        for vuln in document.vulnerabilities.iter() {
            fixes.append(&mut self.fixes(vuln, out));
        }
        if fixes.is_empty() {
            out.finding(self.id, "nothing in it is for a system known here");
            return Ok(());
        }
        let cves = text::cves(document.vulnerabilities.iter().map(|v| v.cve.as_str()));
        let word = head.aggregate_severity.text.as_str();
        let impact =
            || document.vulnerabilities.iter().flat_map(|v| v.threats.iter()).filter(|t| t.category.as_str() == "impact");
        let severity = match Severity::of_word(word) {
            Severity::Unknown => impact().map(|t| Severity::of_word(t.details.as_str())).max().unwrap_or_default(),
            known => known,
        };
        let note = |category: &str| head.notes.iter().find(|n| n.category.as_str() == category).map(|n| n.text.as_str());
        let description = note("general").or_else(|| note("description")).or_else(|| note("summary")).unwrap_or_default();
        let references = head.references.iter().filter_map(|link| reference(link.category.as_str(), "", link.url.as_str()));
        out.advisory(Advisory {
            id: self.id.to_owned(),
            kind: kind_of(self.id, !cves.is_empty()),
            severity,
            vendor_severity: text::vendor_word(word),
            title: text::title(head.title.as_str()),
            description: text::description(description),
            issued: text::time(head.tracking.initial_release_date.as_str()),
            updated: text::time(head.tracking.current_release_date.as_str()),
            cves,
            references: references.collect(),
            fixes: fixes.into_iter().collect(),
            ..Advisory::default()
        })
    }

    /// The statements of a VEX document.
    fn statements(&mut self, out: &mut Out<'_>) -> Result<(), SinkError> {
        let document = self.document;
        for vuln in document.vulnerabilities.iter() {
            let Some(cve) = text::cve(vuln.cve.as_str()) else { continue };
            let words = Words::new(vuln);
            let mut statements = Vec::new();
            for fix in self.fixes(vuln, out) {
                statements.push(Statement {
                    vulnerability: cve.clone(),
                    product: fix.product,
                    name: fix.name,
                    by: fix.by,
                    module: fix.module,
                    scheme: fix.scheme,
                    status: Status::Fixed,
                    version: fix.version,
                    severity: Severity::Unknown,
                    justification: String::new(),
                });
            }
            let status = &vuln.product_status;
            for (ids, status) in [
                (&status.known_affected, Status::Affected),
                (&status.known_not_affected, Status::NotAffected),
                (&status.under_investigation, Status::UnderInvestigation),
            ] {
                for id in ids.iter() {
                    let Some((component, products)) = self.meaning(id, out) else { continue };
                    let open = words.open(id.as_str(), status);
                    statements.extend(products.into_iter().map(|product| said(&cve, product, &component, &open)));
                }
            }
            for statement in resolve(statements, self.id, out) {
                out.statement(statement)?;
            }
        }
        Ok(())
    }
}

/// A status with its reason and severity.
type Said = (Status, String, Severity);

fn said(cve: &str, product: Product, component: &Component, (status, justification, severity): &Said) -> Statement {
    // Without an architecture it is a name of SUSE, which means what is installed.
    let source = matches!(component.arch.as_str(), "src" | "nosrc");
    Statement {
        vulnerability: cve.to_owned(),
        product,
        name: component.name.clone(),
        by: if source { NameKind::Source } else { NameKind::Binary },
        module: component.module.clone(),
        scheme: Scheme::Rpm,
        status: *status,
        version: String::new(),
        severity: *severity,
        justification: justification.clone(),
    }
}

/// What is said of single products besides their status.
struct Words<'v> {
    impact: HashMap<&'v str, Severity>,
    reasons: HashMap<&'v str, &'v str>,
    /// What is done about it: `true` = nothing will be.
    remedies: HashMap<&'v str, (bool, &'v str)>,
}

impl<'v> Words<'v> {
    fn new(vuln: &'v Vuln<'v>) -> Self {
        let mut words = Words { impact: HashMap::new(), reasons: HashMap::new(), remedies: HashMap::new() };
        for threat in vuln.threats.iter().filter(|t| t.category.as_str() == "impact") {
            let severity = Severity::of_word(threat.details.as_str());
            words.impact.extend(threat.product_ids.iter().map(|id| (id.as_str(), severity)));
        }
        for flag in vuln.flags.iter() {
            words.reasons.extend(flag.product_ids.iter().map(|id| (id.as_str(), flag.label.as_str())));
        }
        for remedy in vuln.remediations.iter() {
            let details = remedy.details.as_str();
            let never = match remedy.category.as_str() {
                "no_fix_planned" => true,
                "none_available" => {
                    let details = details.trim().to_ascii_lowercase();
                    details.starts_with("will not fix") || details.starts_with("out of support")
                }
                _ => continue,
            };
            words.remedies.extend(remedy.product_ids.iter().map(|id| (id.as_str(), (never, details))));
        }
        words
    }

    fn open(&self, id: &str, status: Status) -> Said {
        let severity = self.impact.get(id).copied().unwrap_or_default();
        match (status, self.remedies.get(id)) {
            (Status::Affected, Some((true, details))) => (Status::WontFix, text::justification(details), severity),
            (Status::Affected, Some((false, details))) => (Status::Affected, text::justification(details), severity),
            _ => (status, self.reasons.get(id).map(|label| text::justification(label)).unwrap_or_default(), severity),
        }
    }
}

fn kind_of(id: &str, has_cves: bool) -> AdvisoryKind {
    if id.starts_with("RHBA") {
        AdvisoryKind::Bugfix
    } else if id.starts_with("RHEA") {
        AdvisoryKind::Enhancement
    } else if has_cves {
        AdvisoryKind::Security
    } else {
        AdvisoryKind::Other
    }
}

//! What answers the questions of a filter that a host's row does not: which packages are installed, which updates,
//! advisories and vulnerabilities are open. One trait, so that a better source takes the place of another without a change
//! elsewhere.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use drydock_domain::inventory::SectionKind;
use drydock_domain::query::{Glob, QUERY_TERMS_MAX, SectionTerm, scheme_of};
use drydock_domain::version::Scheme;
use drydock_store::candidates::Candidate;
use drydock_store::inventory;

use super::sections::Section;
use crate::Control;
use crate::error::{Error, Result};

/// Section bodies parsed in one go beside the threads that serve connections, count (2 to 4 MB, some 20 ms).
const BODIES_AT_ONCE: usize = 32;

/// Yes or no to each term of one filter, in the terms' order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answers(u128);

// A bit for every term there may be.
const _: () = assert!(QUERY_TERMS_MAX <= 128);

impl Answers {
    pub(super) fn get(self, term: usize) -> bool {
        self.0 >> term & 1 == 1
    }

    fn set(&mut self, term: usize, yes: bool) {
        self.0 |= u128::from(yes) << term;
    }

    /// Replaces the answer.
    fn put(&mut self, term: usize, yes: bool) {
        self.0 &= !(1 << term);
        self.set(term, yes);
    }

    fn add(&mut self, other: Answers) {
        self.0 |= other.0;
    }
}

/// Answers terms about the inventory of hosts.
pub(super) trait Facts: Sync {
    /// The answers for each host, in the hosts' order.
    fn ask(&self, terms: &[&SectionTerm], hosts: &[&Candidate]) -> impl Future<Output = Result<Vec<Answers>>> + Send;
}

/// Answers from the sections that hosts have sent. Hosts with equal sections are looked at once.
struct StoredSections<'a>(&'a Control);

/// What this server decides itself: open vulnerabilities, advisories, and the updates of hosts that see its sources. The
/// rest, and what hosts say of their advisories, is in their sections.
struct OwnVerdict<'a>(StoredSections<'a>);

impl Control {
    pub(super) fn facts(&self) -> impl Facts {
        OwnVerdict(StoredSections(self))
    }
}

impl Facts for OwnVerdict<'_> {
    async fn ask(&self, terms: &[&SectionTerm], hosts: &[&Candidate]) -> Result<Vec<Answers>> {
        let mut answers = self.0.ask(terms, hosts).await?;
        if terms.iter().all(|term| matches!(term, SectionTerm::Package(_))) {
            return Ok(answers);
        }
        let model = self.0.0.fleet_model().await?;
        for (n, term) in terms.iter().enumerate() {
            match term {
                SectionTerm::Package(_) => {}
                SectionTerm::Update(name) => {
                    for (host, answer) in hosts.iter().zip(&mut answers).filter(|(host, _)| model.sees_sources(host.id)) {
                        let report = model.engine.host(host.id).unwrap_or_default();
                        let mut free = report.updates.iter().filter(|u| u.held.is_empty());
                        answer.put(n, free.any(|u| name.matches(&u.name)));
                    }
                }
                SectionTerm::Advisory(id) => {
                    let named = ids(id, || model.engine.advisory_totals().into_iter().map(|t| t.id).collect());
                    let open = named.iter().flat_map(|id| model.engine.hosts_of_advisory(id));
                    let open: HashSet<_> = open.map(|(host, _)| host).collect();
                    hosts.iter().zip(&mut answers).for_each(|(host, answer)| answer.set(n, open.contains(&host.id)));
                }
                SectionTerm::Cve(id) => {
                    let named = ids(id, || model.engine.vulnerability_totals().into_iter().map(|t| t.id).collect());
                    let open = named.iter().flat_map(|id| model.engine.hosts_of_vulnerability(id));
                    let open: HashSet<_> = open.map(|(host, _)| host).collect();
                    hosts.iter().zip(&mut answers).for_each(|(host, answer)| answer.set(n, open.contains(&host.id)));
                }
            }
        }
        Ok(answers)
    }
}

/// The ids that a filter names: one, or all known ones that match.
fn ids(wanted: &Glob, known: impl FnOnce() -> Vec<String>) -> Vec<String> {
    match wanted.exact() {
        Some(one) => vec![one.to_owned()],
        None => known().into_iter().filter(|id| wanted.matches(id)).collect(),
    }
}

/// Hosts for whom a term has the same answer.
type Class<'a> = (&'a str, Option<Scheme>);

impl Facts for StoredSections<'_> {
    async fn ask(&self, terms: &[&SectionTerm], hosts: &[&Candidate]) -> Result<Vec<Answers>> {
        let mut answers = vec![Answers::default(); hosts.len()];
        for kind in [SectionKind::Packages, SectionKind::Updates] {
            let here: Vec<(usize, SectionTerm)> =
                terms.iter().enumerate().filter(|(_, t)| t.section() == Some(kind)).map(|(n, t)| (n, (*t).clone())).collect();
            if here.is_empty() {
                continue;
            }
            let here: Arc<[(usize, SectionTerm)]> = here.into();
            let mut classes: HashMap<Class<'_>, Vec<usize>> = HashMap::new();
            for (n, host) in hosts.iter().enumerate() {
                if let Some(class) = class(kind, host) {
                    classes.entry(class).or_default().push(n);
                }
            }
            for (class, answer) in self.of_classes(kind, here, classes.keys().copied().collect()).await? {
                for n in classes.get(&class).into_iter().flatten() {
                    answers[*n].add(answer);
                }
            }
        }
        Ok(answers)
    }
}

impl StoredSections<'_> {
    /// The answers of each class. One whose body is gone has none: its host has sent another meanwhile.
    async fn of_classes<'h>(
        &self,
        kind: SectionKind,
        terms: Arc<[(usize, SectionTerm)]>,
        classes: Vec<Class<'h>>,
    ) -> Result<Vec<(Class<'h>, Answers)>> {
        let mut done = Vec::with_capacity(classes.len());
        let mut unread = Vec::new();
        for class in classes {
            match self.0.sections().get(kind, class.0) {
                Some(section) => done.push((class, answer(&section, &terms, class.1))),
                None => unread.push(class),
            }
        }
        for part in unread.chunks(BODIES_AT_ONCE) {
            let mut bodies = Vec::with_capacity(part.len());
            let mut c = self.0.read().await?;
            for (fingerprint, _) in part {
                bodies.push(inventory::body(&mut c, kind, fingerprint).await?);
            }
            drop(c);
            let parse = move || {
                let read = |body: Option<Vec<u8>>| body.map(|b| Section::read(kind, &b).map(Arc::new)).transpose();
                bodies.into_iter().map(read).collect::<std::result::Result<Vec<_>, _>>()
            };
            let parsed = tokio::task::spawn_blocking(parse).await.map_err(broken)?.map_err(broken)?;
            for (class, section) in part.iter().zip(parsed) {
                let Some(section) = section else { continue };
                done.push((*class, answer(&section, &terms, class.1)));
                self.0.sections().put(kind, class.0, section);
            }
        }
        Ok(done)
    }
}

fn broken(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Internal { doing: "read a stored inventory section", source: e.into() }
}

fn answer(section: &Section, terms: &[(usize, SectionTerm)], scheme: Option<Scheme>) -> Answers {
    let mut answers = Answers::default();
    for (n, term) in terms {
        answers.set(*n, section.holds(term, scheme));
    }
    answers
}

/// Who shares this host's answers; `None`: it has not sent the section.
fn class(kind: SectionKind, host: &Candidate) -> Option<Class<'_>> {
    match kind {
        // Versions are compared by the rules of the host.
        SectionKind::Packages => host.packages_fingerprint.as_deref().map(|f| (f, scheme(host))),
        SectionKind::Updates => host.updates_fingerprint.as_deref().map(|f| (f, None)),
        _ => None,
    }
}

fn scheme(host: &Candidate) -> Option<Scheme> {
    host.os.as_ref().and_then(scheme_of)
}

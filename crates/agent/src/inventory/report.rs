//! What to send of the inventory, decided purely: fingerprints first, a delta where the server is known to hold the
//! base, the full body when it asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use drydock_api::agent::v1::section_report::Body;
use drydock_api::agent::v1::{Delta, ReportInventoryRequest, SectionReport};
use drydock_domain::inventory::{PackageSet, SectionKind, combined_fingerprint, diff};

use super::Section;

/// A delta is sent when it is at most this share of the full body (1/N).
const DELTA_SHARE: usize = 2;

/// What the server is known to hold of this host, for one connection.
#[derive(Debug, Default)]
pub struct Known {
    held: BTreeMap<SectionKind, Section>,
}

impl Known {
    /// Reports for the sections that changed since the server was last told; empty = nothing to send.
    pub fn changes(&self, now: &BTreeMap<SectionKind, Section>) -> Vec<SectionReport> {
        let news = now.iter().filter(|(kind, section)| self.held.get(kind) != Some(section));
        news.map(|(kind, section)| self.report(*kind, section)).collect()
    }

    /// Is nothing known of the server yet? Then all sections are offered by one fingerprint: after a reconnect nearly
    /// every host is as it was.
    pub fn is_new(&self) -> bool {
        self.held.is_empty()
    }

    /// One report for everything as it was: 34 bytes.
    pub fn unchanged(now: &BTreeMap<SectionKind, Section>) -> ReportInventoryRequest {
        let sections: Vec<_> = now.iter().map(|(kind, section)| (*kind, section.fingerprint.as_str())).collect();
        ReportInventoryRequest { sections: Vec::new(), combined: combined_fingerprint(&sections).to_vec() }
    }

    /// Full bodies of the `wanted` kinds.
    pub fn full(now: &BTreeMap<SectionKind, Section>, wanted: &[String]) -> Vec<SectionReport> {
        let kinds = wanted.iter().filter_map(|w| SectionKind::parse(w));
        kinds.filter_map(|k| Some(frame(k, now.get(&k)?, Some(Body::Full(now.get(&k)?.body.to_vec()))))).collect()
    }

    /// The server has these now.
    pub fn told(&mut self, sections: &BTreeMap<SectionKind, Section>) {
        self.held.clone_from(sections);
    }

    /// First only the fingerprint: many hosts share a body. With a known base, at once what changed.
    fn report(&self, kind: SectionKind, section: &Section) -> SectionReport {
        let body = match (kind, self.held.get(&kind)) {
            (_, None) => None,
            (SectionKind::Packages, Some(base)) => delta(base, section),
            (_, Some(_)) => Some(Body::Full(section.body.to_vec())),
        };
        frame(kind, section, body)
    }
}

fn frame(kind: SectionKind, section: &Section, body: Option<Body>) -> SectionReport {
    SectionReport { kind: kind.as_str().to_owned(), fingerprint: section.fingerprint.clone(), body }
}

fn delta(base: &Section, section: &Section) -> Option<Body> {
    let parse = |body: &Arc<[u8]>| serde_json::from_slice::<PackageSet>(body).ok();
    let delta = serde_json::to_vec(&diff(&parse(&base.body)?, &parse(&section.body)?)).ok()?;
    if delta.len() > section.body.len() / DELTA_SHARE {
        return Some(Body::Full(section.body.to_vec()));
    }
    Some(Body::Delta(Delta { base_fingerprint: base.fingerprint.clone(), package_delta: delta }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use drydock_domain::inventory::{Package, PackageDelta};

    fn packages(n: usize, version: &str) -> Section {
        let list = (0..n).map(|i| Package {
            name: format!("p{i:04}"),
            arch: "amd64".into(),
            version: if i == 0 { version.into() } else { "1".into() },
            ..Package::default()
        });
        Section::new(serde_json::to_vec(&PackageSet::new(list.collect())).expect("json"))
    }

    fn board(section: &Section) -> BTreeMap<SectionKind, Section> {
        [(SectionKind::Packages, section.clone()), (SectionKind::Os, Section::new(b"{}".to_vec()))].into()
    }

    #[test]
    fn fingerprints_then_nothing_then_a_delta() {
        let (old, new) = (packages(100, "1"), packages(100, "2"));
        let mut known = Known::default();
        let first = known.changes(&board(&old));
        assert_eq!(first.len(), 2);
        assert!(first.iter().all(|r| r.body.is_none()));
        let full = Known::full(&board(&old), &["packages".into(), "nonsense".into()]);
        assert!(matches!(&full[..], [r] if matches!(&r.body, Some(Body::Full(b)) if **b == *old.body)));
        known.told(&board(&old));
        assert!(known.changes(&board(&old)).is_empty());
        let changed = known.changes(&board(&new));
        let [SectionReport { body: Some(Body::Delta(d)), fingerprint, .. }] = &changed[..] else { panic!("{changed:?}") };
        assert_eq!((fingerprint, &d.base_fingerprint), (&new.fingerprint, &old.fingerprint));
        let delta: PackageDelta = serde_json::from_slice(&d.package_delta).expect("a delta");
        let base: PackageSet = serde_json::from_slice(&old.body).expect("a set");
        let applied = serde_json::to_vec(&delta.apply(&base).expect("fits")).expect("json");
        assert_eq!(applied, &*new.body);
    }

    #[test]
    fn an_unchanged_host_says_so_in_few_bytes() {
        let now = board(&packages(600, "1"));
        let report = Known::unchanged(&now);
        assert_eq!((report.combined.len(), report.sections.len()), (32, 0));
        assert_ne!(report.combined, Known::unchanged(&board(&packages(600, "2"))).combined);
        let mut known = Known::default();
        assert!(known.is_new());
        known.told(&now);
        assert!(!known.is_new());
    }

    #[test]
    fn a_delta_as_large_as_the_whole_is_sent_whole() {
        let mut known = Known::default();
        known.told(&board(&packages(2, "1")));
        let changed = known.changes(&board(&packages(2, "2")));
        assert!(matches!(&changed[..], [SectionReport { body: Some(Body::Full(_)), .. }]), "{changed:?}");
    }
}

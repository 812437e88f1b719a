//! Section bodies as filters read them: names and versions without the rest, kept by fingerprint within a bound. A body
//! never changes under its fingerprint, so nothing here goes stale.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use drydock_domain::inventory::SectionKind;
use drydock_domain::query::{Glob, SectionTerm};
use drydock_domain::version::Scheme;
use serde::Deserialize;

/// Parsed sections kept, bytes (600 packages take some 25 KB): some 2,500 distinct package sets.
const CACHE_MAX_BYTES: usize = 64 * 1024 * 1024;

/// One parsed section.
#[derive(Debug)]
pub(crate) enum Section {
    /// Names and versions of what is installed.
    Packages(Pairs),
    /// Names of packages with a free update; ids of advisories, also of held updates.
    Updates { names: Pairs, advisories: Pairs },
}

/// Sorted pairs of texts in one piece of memory.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    text: String,
    /// Where the first begins, the second begins and ends.
    at: Vec<[u32; 3]>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Updates<'a> {
    #[serde(borrow, default)]
    updates: Vec<Update<'a>>,
}

#[derive(Deserialize)]
struct Update<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    held: Cow<'a, str>,
    #[serde(borrow, default)]
    advisories: Vec<Cow<'a, str>>,
}

impl Section {
    /// Reads a stored body.
    pub(super) fn read(kind: SectionKind, body: &[u8]) -> Result<Section, serde_json::Error> {
        if kind == SectionKind::Packages {
            let packages: Vec<Named<'_>> = serde_json::from_slice(body)?;
            return Ok(Section::Packages(Pairs::new(packages.iter().map(|p| (&*p.name, &*p.version)).collect())));
        }
        let Updates { updates } = serde_json::from_slice(body)?;
        let free = updates.iter().filter(|u| u.held.is_empty());
        Ok(Section::Updates {
            names: Pairs::new(free.map(|u| (&*u.name, "")).collect()),
            advisories: Pairs::new(updates.iter().flat_map(|u| &u.advisories).map(|a| (&**a, "")).collect()),
        })
    }

    /// Is it so?
    pub(super) fn holds(&self, term: &SectionTerm, scheme: Option<Scheme>) -> bool {
        match (self, term) {
            (Section::Packages(all), SectionTerm::Package(term)) => {
                all.named(&term.name).any(|version| term.version_matches(version, scheme))
            }
            (Section::Updates { names, .. }, SectionTerm::Update(name)) => names.named(name).next().is_some(),
            (Section::Updates { advisories, .. }, SectionTerm::Advisory(id)) => advisories.named(id).next().is_some(),
            _ => false,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Section::Packages(all) => all.bytes(),
            Section::Updates { names, advisories } => names.bytes() + advisories.bytes(),
        }
    }
}

impl Pairs {
    fn new(mut pairs: Vec<(&str, &str)>) -> Pairs {
        pairs.sort_unstable();
        pairs.dedup();
        let mut made = Pairs::default();
        // Bodies are bounded far below 4 GiB.
        let end = |text: &String| u32::try_from(text.len()).unwrap_or(u32::MAX);
        for (first, second) in pairs {
            let begin = end(&made.text);
            made.text.push_str(first);
            let middle = end(&made.text);
            made.text.push_str(second);
            made.at.push([begin, middle, end(&made.text)]);
        }
        made.text.shrink_to_fit();
        made.at.shrink_to_fit();
        made
    }

    fn part(&self, from: u32, to: u32) -> &str {
        let at = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        self.text.get(at(from)..at(to)).unwrap_or_default()
    }

    /// The second texts of those whose first one matches.
    fn named<'a>(&'a self, name: &'a Glob) -> impl Iterator<Item = &'a str> {
        let first = |at: &[u32; 3]| self.part(at[0], at[1]);
        let range = match name.exact() {
            Some(exact) => {
                let from = self.at.partition_point(|at| first(at) < exact);
                let many = self.at[from..].partition_point(|at| first(at) == exact);
                from..from + many
            }
            None => 0..self.at.len(),
        };
        let all = self.at.get(range).unwrap_or_default();
        all.iter().filter(move |at| name.matches(first(at))).map(|at| self.part(at[1], at[2]))
    }

    fn bytes(&self) -> usize {
        self.text.capacity() + self.at.capacity() * size_of::<[u32; 3]>()
    }
}

/// Parsed sections by kind and fingerprint; the one that was read first goes first.
#[derive(Debug, Default)]
pub(crate) struct SectionCache {
    by_key: HashMap<(SectionKind, String), Arc<Section>>,
    order: VecDeque<(SectionKind, String)>,
    bytes: usize,
}

impl SectionCache {
    pub(super) fn get(&self, kind: SectionKind, fingerprint: &str) -> Option<Arc<Section>> {
        self.by_key.get(&(kind, fingerprint.to_owned())).cloned()
    }

    pub(super) fn put(&mut self, kind: SectionKind, fingerprint: &str, section: Arc<Section>) {
        self.put_within(CACHE_MAX_BYTES, kind, fingerprint, section);
    }

    fn put_within(&mut self, max: usize, kind: SectionKind, fingerprint: &str, section: Arc<Section>) {
        let key = (kind, fingerprint.to_owned());
        let bytes = section.bytes();
        if bytes > max || self.by_key.contains_key(&key) {
            return;
        }
        while self.bytes + bytes > max
            && let Some(old) = self.order.pop_front()
        {
            self.bytes -= self.by_key.remove(&old).map_or(0, |gone| gone.bytes());
        }
        self.bytes += bytes;
        self.order.push_back(key.clone());
        self.by_key.insert(key, section);
    }
}

#[cfg(test)]
mod tests {
    use drydock_domain::query::{Expr, Query, Term};

    use super::*;

    fn term(text: &str) -> SectionTerm {
        match Query::parse(text).expect("a filter").expr() {
            Expr::Term(Term::Section(term)) => term.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn packages(names: &[&str]) -> Section {
        let all: Vec<_> = names
            .iter()
            .map(|n| {
                let (name, version) = n.split_once('=').unwrap_or((n, "1-1"));
                serde_json::json!({"name": name, "arch": "x", "version": version})
            })
            .collect();
        Section::read(SectionKind::Packages, serde_json::to_string(&all).expect("JSON").as_bytes()).expect("read")
    }

    #[test]
    fn sections_answer_what_they_hold() {
        let set = packages(&["bash", "kernel=5-1", "kernel=6-1", "kernel-core=6-1", "zürich"]);
        let holds = |text: &str| set.holds(&term(text), Some(Scheme::Rpm));
        assert!(holds("package bash") && holds("package zürich") && holds("package kernel* > 5"));
        assert!(holds("package kernel < 6") && holds("package kernel >= 6") && !holds("package kernel > 6"));
        assert!(!holds("package kern") && !holds("package zzz") && !holds("package a") && !holds("update bash"));
        let body = br#"{"updates":[{"name":"a","advisories":["X-1"]},{"name":"b","held":"lock","advisories":["X-2","X-1"]}]}"#;
        let set = Section::read(SectionKind::Updates, body).expect("read");
        let holds = |text: &str| set.holds(&term(text), None);
        assert!(holds("update a") && !holds("update b"), "what is held is no free update");
        assert!(holds("advisory X-2") && holds("advisory X-*") && !holds("advisory X"));
        assert!(Section::read(SectionKind::Updates, b"[").is_err());
    }

    #[test]
    fn the_cache_stays_within_its_bound() {
        let mut cache = SectionCache::default();
        let one = Arc::new(packages(&["a", "b", "c"]));
        let max = one.bytes() * 3;
        for n in 0..10 {
            cache.put_within(max, SectionKind::Packages, &n.to_string(), one.clone());
            cache.put_within(max, SectionKind::Packages, &n.to_string(), one.clone());
        }
        assert!(cache.bytes == max && cache.by_key.len() == 3 && cache.order.len() == 3);
        assert!(cache.get(SectionKind::Packages, "9").is_some() && cache.get(SectionKind::Packages, "0").is_none());
        assert!(cache.get(SectionKind::Updates, "9").is_none());
        cache.put_within(1, SectionKind::Packages, "large", one);
        assert_eq!(cache.by_key.len(), 3, "what never fits pushes nothing out");
    }
}

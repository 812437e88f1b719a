//! The words of every advisory that a feed or a snapshot in use has: what lists show and filters look at. Descriptions and
//! references stay where they are stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drydock_domain::advisory::{Advisory, AdvisoryKind, Severity};
use drydock_domain::ids::FeedId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Who says something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Voice {
    /// An imported feed.
    Feed(FeedId),
    /// A snapshot, by its root.
    Root(String),
}

/// What one voice says of one advisory, without its text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Words {
    pub(crate) kind: AdvisoryKind,
    pub(crate) severity: Severity,
    pub(crate) title: String,
    pub(crate) issued: Option<Timestamp>,
    pub(crate) updated: Option<Timestamp>,
    pub(crate) withdrawn: bool,
    pub(crate) cves: Vec<String>,
    /// Names of the packages it mends, sorted.
    pub(crate) packages: Vec<String>,
}

impl Words {
    fn of(advisory: &Advisory) -> Words {
        let packages: BTreeSet<&str> = advisory.fixes.iter().map(|f| f.name.as_str()).collect();
        Words {
            kind: advisory.kind,
            severity: advisory.severity,
            title: advisory.title.clone(),
            issued: advisory.issued,
            updated: advisory.updated,
            withdrawn: advisory.withdrawn,
            cves: advisory.cves.clone(),
            packages: packages.into_iter().map(str::to_owned).collect(),
        }
    }
}

/// An advisory by the words of all voices.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    voices: BTreeMap<Voice, Arc<Words>>,
}

impl Entry {
    /// The words to show: those changed last, of voices that did not take it back if there is one.
    pub(crate) fn words(&self) -> Option<&Words> {
        self.voices.values().max_by_key(|w| (!w.withdrawn, w.updated)).map(Arc::as_ref)
    }

    /// Who says it.
    pub(crate) fn voices(&self) -> impl Iterator<Item = &Voice> {
        self.voices.keys()
    }

    /// CVEs of all voices.
    pub(crate) fn cves(&self) -> BTreeSet<&str> {
        self.voices.values().flat_map(|w| w.cves.iter().map(String::as_str)).collect()
    }

    /// Does any voice say that it mends this package?
    pub(crate) fn mends(&self, package: &str) -> bool {
        self.voices.values().any(|w| w.packages.binary_search_by(|p| p.as_str().cmp(package)).is_ok())
    }
}

/// An entry as it is kept: the id, and who says which words.
pub(crate) type SavedEntry = (String, Vec<(Vec<Voice>, Words)>);

/// All of them by id.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    entries: BTreeMap<String, Entry>,
}

impl Catalogue {
    /// Notes what a voice says, in place of what it said before.
    pub(crate) fn put(&mut self, voice: &Voice, advisory: &Advisory) {
        let words = Words::of(advisory);
        let entry = self.entries.entry(advisory.id.clone()).or_default();
        // Two snapshots of one source say the same of almost everything.
        let shared = entry.voices.values().find(|w| ***w == words).cloned();
        entry.voices.insert(voice.clone(), shared.unwrap_or_else(|| Arc::new(words)));
    }

    /// A voice says what another says, as far as that says anything.
    pub(crate) fn copy(&mut self, from: &Voice, to: &Voice) {
        for entry in self.entries.values_mut() {
            if let Some(words) = entry.voices.get(from).cloned() {
                entry.voices.insert(to.clone(), words);
            }
        }
    }

    /// As it is kept; equal words once.
    pub(crate) fn save(&self) -> Vec<SavedEntry> {
        let entry = |(id, entry): (&String, &Entry)| {
            let mut said: Vec<(Vec<Voice>, Words)> = Vec::new();
            for (voice, words) in &entry.voices {
                match said.iter_mut().find(|(_, known)| known == words.as_ref()) {
                    Some((voices, _)) => voices.push(voice.clone()),
                    None => said.push((vec![voice.clone()], Words::clone(words))),
                }
            }
            (id.clone(), said)
        };
        self.entries.iter().map(entry).collect()
    }

    /// As it was kept.
    pub(crate) fn restore(saved: Vec<SavedEntry>) -> Self {
        let entry = |(id, said): SavedEntry| {
            let shared = said.into_iter().map(|(voices, words)| (voices, Arc::new(words)));
            let voices = shared.flat_map(|(voices, words)| voices.into_iter().map(move |v| (v, Arc::clone(&words)))).collect();
            (id, Entry { voices })
        };
        Catalogue { entries: saved.into_iter().map(entry).collect() }
    }

    /// A voice says nothing of it any more.
    pub(crate) fn remove(&mut self, voice: &Voice, id: &str) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.voices.remove(voice);
            if entry.voices.is_empty() {
                self.entries.remove(id);
            }
        }
    }

    /// A voice is gone.
    pub(crate) fn forget(&mut self, voice: &Voice) {
        self.entries.retain(|_, entry| {
            entry.voices.remove(voice);
            !entry.voices.is_empty()
        });
    }

    /// One of them.
    pub(crate) fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// All of them by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(id, entry)| (id.as_str(), entry))
    }

    /// How many.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drydock_domain::advisory::{Fix, NameKind};
    use drydock_domain::version::Scheme;

    fn advisory(title: &str, updated: &str, package: &str) -> Advisory {
        let fix = Fix {
            product: Default::default(),
            name: package.into(),
            by: NameKind::Binary,
            arch: String::new(),
            version: "1-1".into(),
            scheme: Scheme::Rpm,
            module: None,
        };
        Advisory {
            id: "A-1".into(),
            title: title.into(),
            updated: Some(updated.parse().expect("a time")),
            cves: vec![format!("CVE-{title}")],
            fixes: vec![fix],
            ..Advisory::default()
        }
    }

    #[test]
    fn the_voice_that_changed_it_last_gives_the_words() {
        let mut catalogue = Catalogue::default();
        let (one, two) = (Voice::Root("1".into()), Voice::Root("2".into()));
        catalogue.put(&one, &advisory("old", "2026-01-01T00:00:00Z", "a"));
        catalogue.put(&two, &advisory("new", "2026-02-01T00:00:00Z", "b"));
        let entry = catalogue.get("A-1").expect("there");
        assert_eq!(entry.words().expect("said").title, "new");
        assert_eq!(entry.cves().into_iter().collect::<Vec<_>>(), ["CVE-new", "CVE-old"]);
        assert!(entry.mends("a") && entry.mends("b") && !entry.mends("c"));
        catalogue.put(&two, &Advisory { withdrawn: true, ..advisory("new", "2026-02-01T00:00:00Z", "b") });
        assert_eq!(catalogue.get("A-1").expect("there").words().expect("said").title, "old", "the other was taken back");
        catalogue.forget(&one);
        assert!(catalogue.get("A-1").expect("there").words().expect("said").withdrawn);
        catalogue.remove(&two, "A-1");
        assert_eq!(catalogue.len(), 0);
    }
}

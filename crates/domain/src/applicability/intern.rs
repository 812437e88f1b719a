//! Texts, names and versions as integers. Versions of one name are ranked, so that the hot path compares two `u32`s.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::version::{Scheme, SortKey, sort_key};

/// Hashes integers that we minted ourselves: a multiplication and a fold.
#[derive(Default, Clone, Copy)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A map whose keys are integers that we minted.
pub(super) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;
/// The same for sets.
pub(super) type IdSet<K> = std::collections::HashSet<K, BuildHasherDefault<IdHasher>>;

/// A position in a table, as it is stored. A fleet has far less than four thousand million of anything; the last one is [`NONE`].
pub(super) fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(NONE)
}

/// "There is none" where an id stands.
pub(super) const NONE: u32 = u32::MAX;

/// An interned text; [`EMPTY`] is the empty one.
pub(super) type Text = u32;
/// The empty text.
pub(super) const EMPTY: Text = 0;

/// Texts, each once.
#[derive(Debug)]
pub(super) struct Texts {
    all: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, Text>,
}

impl Default for Texts {
    fn default() -> Self {
        let mut texts = Texts { all: Vec::new(), ids: HashMap::new() };
        texts.id("");
        texts
    }
}

impl Texts {
    pub fn id(&mut self, text: &str) -> Text {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let (id, text) = (small(self.all.len()), Arc::<str>::from(text));
        self.all.push(text.clone());
        self.ids.insert(text, id);
        id
    }

    pub fn find(&self, text: &str) -> Option<Text> {
        self.ids.get(text).copied()
    }

    pub fn get(&self, id: Text) -> &str {
        self.all.get(id as usize).map_or("", |t| t)
    }

    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|t| &**t)
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }
}

/// A package name under one scheme, dense.
pub(super) type Name = u32;
/// A version of one name, dense.
pub(super) type Version = u32;

/// Names and their versions.
#[derive(Debug, Default)]
pub(super) struct Versions {
    names: Vec<(Text, Scheme)>,
    name_ids: IdMap<(u32, u32), Name>,
    /// Per version: its name and text.
    versions: Vec<(Name, Text)>,
    version_ids: IdMap<(u32, u32), Version>,
    /// Per version: absent when the text is no version.
    keys: Vec<Option<SortKey>>,
    /// Per version: place among the versions of its name, from 1; equal versions share one. 0 = no version, or not ranked yet.
    ranks: Vec<u32>,
    by_name: Vec<Vec<Version>>,
    unranked: Vec<Name>,
    bad: usize,
}

impl Versions {
    pub fn name(&mut self, text: Text, scheme: Scheme) -> Name {
        let next = small(self.names.len());
        let id = *self.name_ids.entry((text, scheme as u32)).or_insert(next);
        if id == next {
            self.names.push((text, scheme));
            self.by_name.push(Vec::new());
        }
        id
    }

    pub fn find_name(&self, text: Text, scheme: Scheme) -> Option<Name> {
        self.name_ids.get(&(text, scheme as u32)).copied()
    }

    pub fn name_text(&self, name: Name) -> Text {
        self.names.get(name as usize).map_or(EMPTY, |n| n.0)
    }

    pub fn scheme(&self, name: Name) -> Scheme {
        self.names.get(name as usize).map_or(Scheme::Rpm, |n| n.1)
    }

    /// `texts` must hold `text`. Ranks are made by [`Versions::rank_all`].
    pub fn version(&mut self, texts: &mut Texts, name: Name, text: &str) -> Version {
        let text = match self.scheme(name) {
            // rpm writes epoch 0 or leaves it out: one version.
            Scheme::Rpm => text.strip_prefix("0:").unwrap_or(text),
            Scheme::Deb => text,
        };
        let id = texts.id(text);
        let next = small(self.versions.len());
        let version = *self.version_ids.entry((name, id)).or_insert(next);
        if version == next {
            let key = sort_key(self.scheme(name), text).ok();
            self.bad += usize::from(key.is_none());
            self.versions.push((name, id));
            self.keys.push(key);
            self.ranks.push(0);
            if let Some(list) = self.by_name.get_mut(name as usize) {
                list.push(version);
            }
            self.unranked.push(name);
        }
        version
    }

    pub fn text(&self, version: Version) -> Text {
        self.versions.get(version as usize).map_or(EMPTY, |v| v.1)
    }

    /// The version's name and text, in the order of minting.
    pub fn all(&self) -> &[(Name, Text)] {
        &self.versions
    }

    pub fn names(&self) -> &[(Text, Scheme)] {
        &self.names
    }

    /// Of versions of one name: `rank(a) < rank(b)` when a is older. 0: cannot be compared.
    pub fn rank(&self, version: Version) -> u32 {
        self.ranks.get(version as usize).copied().unwrap_or(0)
    }

    /// Is `a` older than `b`? No when either cannot be read.
    pub fn older(&self, a: Version, b: Version) -> bool {
        let (a, b) = (self.rank(a), self.rank(b));
        a != 0 && b != 0 && a < b
    }

    /// Is `a` as new as `b`? No when either cannot be read.
    pub fn at_least(&self, a: Version, b: Version) -> bool {
        let (a, b) = (self.rank(a), self.rank(b));
        a != 0 && b != 0 && a >= b
    }

    /// How many texts are no versions.
    pub fn bad(&self) -> usize {
        self.bad
    }

    /// Ranks what came since the last time. The order of older versions does not change, so results stay true.
    pub fn rank_all(&mut self) {
        self.unranked.sort_unstable();
        self.unranked.dedup();
        for name in std::mem::take(&mut self.unranked) {
            let Some(list) = self.by_name.get_mut(name as usize) else { continue };
            let keys = &self.keys;
            list.sort_by(|a, b| keys[*a as usize].cmp(&keys[*b as usize]));
            let mut rank = 0;
            let mut before: Option<&SortKey> = None;
            for version in list.iter() {
                let key = keys[*version as usize].as_ref();
                if key.is_some() && key != before {
                    rank += 1;
                }
                self.ranks[*version as usize] = if key.is_some() { rank } else { 0 };
                before = key;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::compare;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranks_are_the_order(versions in proptest::collection::vec("([01]:)?[0-9a]{1,2}[.~^0-9a]{0,3}(-[0-9])?", 2..20), split in 0_usize..20) {
            let (mut texts, mut all) = (Texts::default(), Versions::default());
            let text = texts.id("a");
            let name = all.name(text, Scheme::Rpm);
            let mut ids = Vec::new();
            for (i, version) in versions.iter().enumerate() {
                ids.push(all.version(&mut texts, name, version));
                if i == split {
                    all.rank_all();
                }
            }
            all.rank_all();
            for (a, x) in versions.iter().zip(&ids) {
                for (b, y) in versions.iter().zip(&ids) {
                    if let Ok(order) = compare(Scheme::Rpm, a, b) {
                        prop_assert_eq!(all.rank(*x).cmp(&all.rank(*y)), order, "{} {}", a, b);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_version_is_never_older_or_newer() {
        let (mut texts, mut all) = (Texts::default(), Versions::default());
        let text = texts.id("a");
        let name = all.name(text, Scheme::Deb);
        let (bad, good) = (all.version(&mut texts, name, "1 2"), all.version(&mut texts, name, "1"));
        all.rank_all();
        assert!(!all.older(bad, good) && !all.older(good, bad));
        assert_eq!(all.bad(), 1);
    }
}

//! Permissions, verbs, resource types and families: what a verb over a type stands for. The rows are in `table`; which
//! operation needs which permission is in `operations`.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use super::fold;
use super::table::{ROWS, Row};
use crate::query::{nearest, shown};

/// Permissions there can be, count: the bits of a [`RightSet`]. A test holds the table to it.
pub const RIGHTS_MAX: usize = WORDS * 64;
/// Words of a [`RightSet`].
const WORDS: usize = 8;

/// One permission of the statement language, for example `OSMH_PROFILE_READ`. (The coarse [`Permission`] that operations
/// ask for today is another type; `operations` says which of these each one stands for.)
///
/// [`Permission`]: super::Permission
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Right(u16);

impl Right {
    /// Reads a name, in any case.
    pub fn find(name: &str) -> Option<Right> {
        TABLE.by_name.get(&name.to_ascii_uppercase()).copied()
    }

    /// Reads a name, in any case; the refusal says which one is probably meant.
    pub fn named(name: &str) -> Result<Right, UnknownRight> {
        Right::find(name).ok_or_else(|| UnknownRight { name: shown(name), meant: nearest(name, Right::names()) })
    }

    /// The name, in capitals.
    pub fn name(self) -> &'static str {
        TABLE.rights.get(usize::from(self.0)).map_or("", |(name, _)| name.as_str())
    }

    /// The name in the form in which texts are compared.
    pub(super) fn folded(self) -> &'static str {
        TABLE.folded.get(usize::from(self.0)).map_or("", String::as_str)
    }

    /// The type it belongs to.
    pub fn of_type(self) -> &'static str {
        TABLE.rights.get(usize::from(self.0)).map_or("", |(_, row)| row.name)
    }

    /// The permission to see that things of its type are there.
    pub fn inspect(self) -> Option<Right> {
        let row = TABLE.rights.get(usize::from(self.0)).map(|(_, row)| row)?;
        Right::find(&format!("{}_INSPECT", row.stem))
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Right> {
        (0..TABLE.rights.len()).filter_map(|n| u16::try_from(n).ok().map(Right))
    }

    /// The names to choose from, for refusals.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        TABLE.rights.iter().map(|(name, _)| name.as_str())
    }
}

/// A permission that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no permission {name}{}", .meant.map_or_else(String::new, |m| format!("; did you mean {m}?")))]
pub struct UnknownRight {
    name: String,
    meant: Option<&'static str>,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Permissions, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RightSet([u64; WORDS]);

impl RightSet {
    /// Is it in?
    pub fn has(&self, right: Right) -> bool {
        let n = usize::from(right.0);
        self.0.get(n / 64).is_some_and(|word| word >> (n % 64) & 1 == 1)
    }

    /// Are all of `other` in?
    pub fn contains(&self, other: &RightSet) -> bool {
        self.0.iter().zip(other.0).all(|(own, other)| other & !own == 0)
    }

    /// Is none in?
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// What is in, in the order of the table.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::all().filter(move |r| self.has(*r))
    }

    fn add(&mut self, right: Right) {
        let n = usize::from(right.0);
        if let Some(word) = self.0.get_mut(n / 64) {
            *word |= 1 << (n % 64);
        }
    }

    fn take(&mut self, other: RightSet) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own |= other;
        }
    }
}

impl FromIterator<Right> for RightSet {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        let mut set = RightSet::default();
        rights.into_iter().for_each(|r| set.add(r));
        set
    }
}

/// What may be done with things of a type; each verb includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// See that they are there.
    Inspect,
    /// See what is in them.
    Read,
    /// Work with those that are there.
    Use,
    /// Make, move and delete them.
    Manage,
}

impl Verb {
    /// All of them, from the least.
    pub const ALL: [Verb; 4] = [Verb::Inspect, Verb::Read, Verb::Use, Verb::Manage];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Inspect => "inspect",
            Verb::Read => "read",
            Verb::Use => "use",
            Verb::Manage => "manage",
        }
    }

    /// Reads a word, in any case.
    pub fn find(word: &str) -> Option<Verb> {
        Verb::ALL.into_iter().find(|v| v.as_str().eq_ignore_ascii_case(word))
    }
}

/// Types that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// Oracle's OS Management.
    Osms,
    /// Oracle's OS Management Hub.
    Osmh,
    /// Everything of ours.
    Drydock,
    /// Oracle's compute instances. Guards nothing here; statements for agents name it.
    Instance,
    /// Oracle's management agents. Guards nothing here; statements for hosts outside a cloud name it.
    ManagementAgent,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 5] = [Family::Osms, Family::Osmh, Family::Drydock, Family::Instance, Family::ManagementAgent];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Family::Osms => "osms-family",
            Family::Osmh => "osmh-family",
            Family::Drydock => "drydock-family",
            Family::Instance => "instance-family",
            Family::ManagementAgent => "management-agent-family",
        }
    }
}

/// What a verb is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Everything.
    AllResources,
    /// All types of a family.
    Family(Family),
    /// One type: its place in the table.
    Type(ResourceType),
}

/// A resource type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceType(u16);

impl ResourceType {
    /// All of them.
    pub fn all() -> impl Iterator<Item = ResourceType> {
        (0..ROWS.len()).filter_map(|n| u16::try_from(n).ok().map(ResourceType))
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }

    /// The family it belongs to; `None`: to none.
    pub fn family(self) -> Option<Family> {
        self.row().and_then(|row| row.family)
    }

    fn row(self) -> Option<&'static Row> {
        ROWS.get(usize::from(self.0))
    }
}

impl Target {
    /// Reads a name, in any case; types with and without their last `s`, as the vendor's pages spell them.
    pub fn find(name: &str) -> Option<Target> {
        let name = fold(name);
        if name == "all-resources" {
            return Some(Target::AllResources);
        }
        if let Some(family) = Family::ALL.into_iter().find(|f| f.as_str() == name) {
            return Some(Target::Family(family));
        }
        let same = |own: &str| own == name || own.strip_suffix('s') == Some(&name);
        ResourceType::all().find(|t| same(t.name())).map(Target::Type)
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Target::AllResources => "all-resources",
            Target::Family(family) => family.as_str(),
            Target::Type(own) => own.name(),
        }
    }

    /// What a verb over it stands for. Permissions that only `{…}` gives are never in.
    pub fn rights(self, verb: Verb) -> RightSet {
        let mut set = RightSet::default();
        for own in ResourceType::all() {
            let in_it = match self {
                Target::AllResources => true,
                Target::Family(family) => own.family() == Some(family),
                Target::Type(wanted) => own == wanted,
            };
            if in_it && let Some(rights) = TABLE.by_verb.get(usize::from(own.0)) {
                set.take(rights[verb as usize]);
            }
        }
        set
    }

    /// The names to choose from, for refusals.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        ROWS.iter().map(|row| row.name).chain(Family::ALL.map(Family::as_str)).chain(["all-resources"])
    }
}

/// The rows, made ready for looking up.
struct Table {
    rights: Vec<(String, &'static Row)>,
    /// The names in lower case.
    folded: Vec<String>,
    by_name: HashMap<String, Right>,
    /// For each row what each verb stands for, with what the verbs before it stand for.
    by_verb: Vec<[RightSet; 4]>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table { rights: Vec::new(), folded: Vec::new(), by_name: HashMap::new(), by_verb: Vec::new() };
    for row in ROWS {
        let mut so_far = RightSet::default();
        let by_verb = [row.inspect, row.read, row.r#use, row.manage].map(|suffixes| {
            so_far.take(table.add(row, suffixes));
            so_far
        });
        table.add(row, row.by_name_only);
        table.by_verb.push(by_verb);
    }
    table
});

impl Table {
    fn add(&mut self, row: &'static Row, suffixes: &[&str]) -> RightSet {
        let mut set = RightSet::default();
        for suffix in suffixes {
            // The number fits: a test holds the table to RIGHTS_MAX.
            let right = Right(u16::try_from(self.rights.len()).unwrap_or(u16::MAX));
            let name = format!("{}_{suffix}", row.stem);
            self.by_name.insert(name.clone(), right);
            self.folded.push(fold(&name));
            self.rights.push((name, row));
            set.add(right);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_together() {
        assert!(TABLE.rights.len() <= RIGHTS_MAX, "{}", TABLE.rights.len());
        assert_eq!(TABLE.by_name.len(), TABLE.rights.len(), "a permission belongs to one type");
        let mut names: Vec<&str> = Target::names().collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "no type is there twice");
        for right in Right::all() {
            assert_eq!(Right::find(right.name()), Some(right));
            assert_eq!(Right::named(&right.name().to_lowercase()), Ok(right));
            assert!(right.name().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{right}");
        }
        for own in ResourceType::all() {
            let target = Target::Type(own);
            assert_eq!(Target::find(own.name()), Some(target), "{}", own.name());
            assert_eq!(Target::find(&own.name().to_uppercase()), Some(target));
            assert!(!target.rights(Verb::Inspect).is_empty(), "{}", own.name());
            for pair in Verb::ALL.windows(2) {
                assert!(target.rights(pair[1]).contains(&target.rights(pair[0])), "{}", own.name());
            }
        }
    }

    #[test]
    fn what_only_braces_give_is_in_no_verb() {
        let access = Right::find("OSMH_MANAGED_INSTANCE_ACCESS").expect("known");
        assert!(!Target::AllResources.rights(Verb::Manage).has(access));
        assert_eq!(access.of_type(), "osmh-managed-instances");
    }

    #[test]
    fn types_are_spelt_singular_and_plural() {
        for (one, many) in [
            ("osmh-managed-instance-group", "osmh-managed-instance-groups"),
            ("osmh-management-station", "osmh-management-stations"),
            ("osms-errata", "OSMS-Errata"),
        ] {
            assert!(Target::find(one).is_some(), "{one}");
            assert_eq!(Target::find(one), Target::find(many));
        }
        assert_eq!(Target::find("osmh-profil"), None);
        let bad = Right::named("DRYDOCK_INSTANCE_UPDAT").expect_err("unknown").to_string();
        assert!(bad.contains("did you mean DRYDOCK_INSTANCE_UPDATE?"), "{bad}");
    }
}

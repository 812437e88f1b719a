//! Which units of its upstream a source takes: include and exclude rules, then the newest N.
//!
//! A unit is taken when there is no include rule or one of them matches, and no exclude rule matches. Conditions inside
//! one rule are ANDed; patterns are those of patch excludes (exact name, `glob*`, `/regex/`). Dependencies are not
//! followed: a filter says exactly what it says (peers that follow them halfway surprise people twice).

use std::cmp::Ordering;
use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::unit::Format;
use crate::patch::pattern::{Matcher, Pattern};
use crate::validate::Problems;
use crate::version::{self, Scheme};

/// Rules of one selection, count.
pub const RULES_MAX: usize = 200;
/// Entries of a list inside a rule, count.
pub const RULE_ENTRIES_MAX: usize = 1000;
/// One entry of such a list, bytes.
pub const RULE_ENTRY_MAX_BYTES: usize = 256;

/// Take or leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum FilterAction {
    /// Units that match are taken (and, as soon as there is one such rule, no others).
    Include,
    /// Units that match are left out, also when an include rule matches.
    Exclude,
}

/// One rule. At least one condition is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilterRule {
    /// Take or leave.
    pub action: FilterAction,
    /// Package name: exact, `glob*` or `/regex/`.
    #[serde(default)]
    pub name: Option<String>,
    /// Source package name: exact, `glob*` or `/regex/`.
    #[serde(default)]
    pub source: Option<String>,
    /// Architectures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arch: Vec<String>,
    /// Version range, all parts must hold: `>= 1.2`, `< 2:0`, `= 3.0-1.el9`. Compared as the format's tools do; a
    /// version without release matches every release (rpm).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub version: Vec<String>,
    /// Units of advisories that match (rpm sources with updateinfo).
    #[serde(default)]
    pub advisory: Option<AdvisoryMatch>,
    /// Units of this module, `name` or `name:stream` (rpm sources with modules).
    #[serde(default)]
    pub module: Option<String>,
}

/// Which advisories. Conditions are ANDed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AdvisoryMatch {
    /// Ids, exact.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Types: `security`, `bugfix`, `enhancement`, `newpackage`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Issued at or after.
    pub issued_after: Option<Timestamp>,
    /// Issued before.
    pub issued_before: Option<Timestamp>,
}

/// The whole selection of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Selection {
    /// Rules; the order does not matter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<FilterRule>,
    /// After the rules: only the newest N versions of each (name, arch, module stream).
    pub newest: Option<u32>,
}

/// Types of advisories that can be asked for.
const ADVISORY_TYPES: [&str; 4] = ["security", "bugfix", "enhancement", "newpackage"];

impl Selection {
    /// Takes everything.
    pub fn is_everything(&self) -> bool {
        self.rules.is_empty() && self.newest.is_none()
    }

    /// Notes what is wrong with the selection of a source of this format, below `field`.
    pub fn validate(&self, field: &str, format: Format, problems: &mut Problems) {
        problems.count(&format!("{field}.rules"), self.rules.len(), RULES_MAX);
        if self.newest == Some(0) {
            problems.add(format!("{field}.newest"), "is 0, which would leave nothing; use 1 or more, or leave it out");
        }
        for (n, rule) in self.rules.iter().enumerate().take(RULES_MAX) {
            rule.validate(&format!("{field}.rules[{n}]"), format, problems);
        }
    }

    /// Ready to match. What [`Self::validate`] refuses matches nothing here.
    pub fn compile(&self, format: Format) -> CompiledSelection {
        let rules: Vec<CompiledRule> = self.rules.iter().map(|rule| rule.compile(format)).collect();
        let includes = rules.iter().any(|r| r.action == FilterAction::Include);
        CompiledSelection { scheme: scheme(format), rules, includes, newest: self.newest }
    }
}

fn scheme(format: Format) -> Scheme {
    match format {
        Format::Rpm => Scheme::Rpm,
        Format::Deb => Scheme::Deb,
    }
}

impl FilterRule {
    fn is_bare(&self) -> bool {
        self.name.is_none()
            && self.source.is_none()
            && self.arch.is_empty()
            && self.version.is_empty()
            && self.advisory.is_none()
            && self.module.is_none()
    }

    fn validate(&self, field: &str, format: Format, problems: &mut Problems) {
        if self.is_bare() {
            problems.add(field, "has no condition; set name, source, arch, version, advisory or module");
        }
        for (what, pattern) in [("name", &self.name), ("source", &self.source)] {
            if let Some(Err(e)) = pattern.as_ref().map(|p| Pattern(p.clone()).compile()) {
                problems.add(format!("{field}.{what}"), e.to_string());
            }
        }
        entries(&format!("{field}.arch"), &self.arch, problems);
        entries(&format!("{field}.version"), &self.version, problems);
        for (n, range) in self.version.iter().enumerate().take(RULE_ENTRIES_MAX) {
            if let Err(why) = Bound::parse(scheme(format), range) {
                problems.add(format!("{field}.version[{n}]"), why);
            }
        }
        if format == Format::Deb && self.advisory.is_some() {
            problems.add(format!("{field}.advisory"), "is for rpm sources: apt repositories list no advisories");
        }
        if format == Format::Deb && self.module.is_some() {
            problems.add(format!("{field}.module"), "is for rpm sources: apt repositories have no modules");
        }
        if let Some(advisory) = &self.advisory {
            advisory.validate(&format!("{field}.advisory"), problems);
        }
        if let Some(module) = &self.module {
            let parts: Vec<&str> = module.split(':').collect();
            if parts.len() > 2 || parts.iter().any(|p| p.is_empty()) || module.len() > RULE_ENTRY_MAX_BYTES {
                problems.add(format!("{field}.module"), "is a module's name or name:stream, for example nodejs:20");
            }
        }
    }

    fn compile(&self, format: Format) -> CompiledRule {
        let pattern = |pattern: &Option<String>| pattern.as_ref().map(|p| Pattern(p.clone()).compile().ok());
        CompiledRule {
            action: self.action,
            name: pattern(&self.name),
            source: pattern(&self.source),
            arch: self.arch.clone(),
            version: self.version.iter().map(|range| Bound::parse(scheme(format), range).ok()).collect(),
            advisory: self.advisory.clone(),
            module: self.module.as_ref().map(|m| match m.split_once(':') {
                Some((name, stream)) => (name.to_owned(), Some(stream.to_owned())),
                None => (m.clone(), None),
            }),
            bare: self.is_bare(),
        }
    }
}

fn entries(field: &str, list: &[String], problems: &mut Problems) {
    problems.count(field, list.len(), RULE_ENTRIES_MAX);
    for (n, text) in list.iter().enumerate().take(RULE_ENTRIES_MAX) {
        if text.trim().is_empty() {
            problems.add(format!("{field}[{n}]"), "is empty");
        }
        problems.text(&format!("{field}[{n}]"), text, RULE_ENTRY_MAX_BYTES);
    }
}

impl AdvisoryMatch {
    fn validate(&self, field: &str, problems: &mut Problems) {
        if *self == AdvisoryMatch::default() {
            problems.add(field, "has no condition; set ids, types, issuedAfter or issuedBefore");
        }
        entries(&format!("{field}.ids"), &self.ids, problems);
        entries(&format!("{field}.types"), &self.types, problems);
        for (n, kind) in self.types.iter().enumerate() {
            if !ADVISORY_TYPES.contains(&kind.as_str()) {
                problems.add(format!("{field}.types[{n}]"), format!("is one of {}", ADVISORY_TYPES.join(", ")));
            }
        }
        if let (Some(after), Some(before)) = (self.issued_after, self.issued_before)
            && after >= before
        {
            problems.add(format!("{field}.issuedBefore"), "is not after issuedAfter; nothing could match");
        }
    }

    fn matches(&self, advisory: &AdvisoryFacts<'_>) -> bool {
        let id = self.ids.is_empty() || self.ids.iter().any(|id| id == advisory.id);
        let kind = self.types.is_empty() || self.types.iter().any(|kind| kind == advisory.kind);
        let after = self.issued_after.is_none_or(|after| advisory.issued.is_some_and(|at| at >= after));
        let before = self.issued_before.is_none_or(|before| advisory.issued.is_some_and(|at| at < before));
        id && kind && after && before
    }
}

/// What filters look at in an advisory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdvisoryFacts<'a> {
    /// Its id.
    pub id: &'a str,
    /// `security` ….
    pub kind: &'a str,
    /// When it was issued; without it no condition on time holds.
    pub issued: Option<Timestamp>,
}

/// What filters look at in a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitFacts<'a> {
    /// Package name.
    pub name: &'a str,
    /// Architecture.
    pub arch: &'a str,
    /// Full version.
    pub version: &'a str,
    /// Source package name, empty when unknown.
    pub source: &'a str,
    /// Advisories that name this very version.
    pub advisories: Vec<AdvisoryFacts<'a>>,
    /// Modules (name, stream) that hold this very version, sorted.
    pub modules: Vec<(&'a str, &'a str)>,
}

/// Units whose versions follow each other: name, architecture, modules.
type Group<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// A selection ready to match.
#[derive(Debug, Clone)]
pub struct CompiledSelection {
    scheme: Scheme,
    rules: Vec<CompiledRule>,
    includes: bool,
    newest: Option<u32>,
}

#[derive(Debug, Clone)]
struct CompiledRule {
    action: FilterAction,
    /// The inner `None` is a pattern that cannot be used.
    name: Option<Option<Matcher>>,
    source: Option<Option<Matcher>>,
    arch: Vec<String>,
    version: Vec<Option<Bound>>,
    advisory: Option<AdvisoryMatch>,
    module: Option<(String, Option<String>)>,
    bare: bool,
}

impl CompiledRule {
    fn matches(&self, unit: &UnitFacts<'_>) -> bool {
        let pattern = |pattern: &Option<Option<Matcher>>, text: &str| {
            pattern.as_ref().is_none_or(|matcher| matcher.as_ref().is_some_and(|m| m.matches(text)))
        };
        !self.bare
            && pattern(&self.name, unit.name)
            && pattern(&self.source, unit.source)
            && (self.arch.is_empty() || self.arch.iter().any(|arch| arch == unit.arch))
            && self.version.iter().all(|bound| bound.as_ref().is_some_and(|b| b.holds(unit.version)))
            && self.advisory.as_ref().is_none_or(|wanted| unit.advisories.iter().any(|a| wanted.matches(a)))
            && self.module.as_ref().is_none_or(|(name, stream)| {
                unit.modules.iter().any(|(n, s)| n == name && stream.as_ref().is_none_or(|stream| stream == s))
            })
    }
}

impl CompiledSelection {
    /// Do the rules take this unit? Says nothing of the newest N.
    pub fn matches(&self, unit: &UnitFacts<'_>) -> bool {
        let any = |action: FilterAction| self.rules.iter().any(|r| r.action == action && r.matches(unit));
        (!self.includes || any(FilterAction::Include)) && !any(FilterAction::Exclude)
    }

    /// Which of these units are taken, in their order: the rules, then the newest N.
    pub fn select(&self, units: &[UnitFacts<'_>]) -> Vec<bool> {
        let mut taken: Vec<bool> = units.iter().map(|unit| self.matches(unit)).collect();
        if let Some(newest) = self.newest {
            self.keep_newest(newest as usize, units, &mut taken);
        }
        taken
    }

    /// Leaves of each (name, arch, module streams) only the units with one of the `newest` highest versions. Versions
    /// that compare equal count once; one that cannot be read counts as the lowest.
    fn keep_newest(&self, newest: usize, units: &[UnitFacts<'_>], taken: &mut [bool]) {
        let mut groups: HashMap<Group<'_>, Vec<usize>> = HashMap::new();
        for (n, unit) in units.iter().enumerate().filter(|(n, _)| taken.get(*n) == Some(&true)) {
            groups.entry((unit.name, unit.arch, &unit.modules)).or_default().push(n);
        }
        for mut group in groups.into_values() {
            group.sort_by(|a, b| self.order(units[*b].version, units[*a].version));
            let mut distinct = 0;
            let mut last: Option<&str> = None;
            for n in group {
                let version = units[n].version;
                if last.is_none_or(|last| self.order(last, version) != Ordering::Equal) {
                    distinct += 1;
                }
                last = Some(version);
                if distinct > newest {
                    taken[n] = false;
                }
            }
        }
    }

    fn order(&self, a: &str, b: &str) -> Ordering {
        version::compare(self.scheme, a, b).unwrap_or_else(|_| {
            let readable = |v: &str| version::compare(self.scheme, v, v).is_ok();
            readable(a).cmp(&readable(b)).then_with(|| a.cmp(b))
        })
    }
}

/// One part of a version range.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bound {
    scheme: Scheme,
    relation: Relation,
    version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Below,
    AtMost,
    Equal,
    AtLeast,
    Above,
}

impl Bound {
    fn parse(scheme: Scheme, text: &str) -> Result<Self, String> {
        let text = text.trim();
        let relations = [
            (">=", Relation::AtLeast),
            ("<=", Relation::AtMost),
            ("==", Relation::Equal),
            // dpkg's own words for strictly above and below.
            (">>", Relation::Above),
            ("<<", Relation::Below),
            (">", Relation::Above),
            ("<", Relation::Below),
            ("=", Relation::Equal),
        ];
        let Some((relation, rest)) = relations.into_iter().find_map(|(sign, r)| Some((r, text.strip_prefix(sign)?))) else {
            return Err("begins with one of <, <=, =, >=, >, for example `>= 1.2`".to_owned());
        };
        let version = rest.trim().to_owned();
        version::compare(scheme, &version, &version).map_err(|e| e.to_string())?;
        Ok(Bound { scheme, relation, version })
    }

    fn holds(&self, version: &str) -> bool {
        // As in rpm's dependencies: a bound without release says nothing of releases.
        let version = match (self.scheme, self.version.contains('-'), version.rsplit_once('-')) {
            (Scheme::Rpm, false, Some((without, _))) => without,
            _ => version,
        };
        let Ok(order) = version::compare(self.scheme, version, &self.version) else { return false };
        match self.relation {
            Relation::Below => order.is_lt(),
            Relation::AtMost => order.is_le(),
            Relation::Equal => order.is_eq(),
            Relation::AtLeast => order.is_ge(),
            Relation::Above => order.is_gt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(json: &str) -> Selection {
        serde_json::from_str(json).expect("a selection")
    }

    fn problems(json: &str, format: Format) -> String {
        let mut problems = Problems::default();
        selection(json).validate("selection", format, &mut problems);
        problems.finish().map_or_else(|e| e.to_string(), |()| String::new())
    }

    fn unit<'a>(name: &'a str, version: &'a str) -> UnitFacts<'a> {
        UnitFacts { name, arch: "x86_64", version, source: "src", ..UnitFacts::default() }
    }

    fn takes(json: &str, unit: &UnitFacts<'_>) -> bool {
        assert_eq!(problems(json, Format::Rpm), "");
        selection(json).compile(Format::Rpm).matches(unit)
    }

    #[test]
    fn includes_and_excludes() {
        let bash = unit("bash", "5.1-1");
        assert!(takes("{}", &bash));
        let both = r#"{"rules":[{"action":"include","name":"b*"},{"action":"include","name":"zsh"},{"action":"exclude","name":"*-devel"}]}"#;
        assert!(takes(both, &bash));
        assert!(takes(both, &unit("zsh", "1-1")));
        assert!(!takes(both, &unit("bash-devel", "5.1-1")), "an exclude wins");
        assert!(!takes(both, &unit("csh", "1-1")), "with an include nothing else is taken");
        let only_exclude = r#"{"rules":[{"action":"exclude","name":"/^kernel/"}]}"#;
        assert!(takes(only_exclude, &bash));
        assert!(!takes(only_exclude, &unit("kernel-core", "1-1")));
    }

    #[test]
    fn conditions_of_a_rule_are_anded() {
        let rule = r#"{"rules":[{"action":"include","name":"b*","arch":["x86_64","noarch"],"source":"src"}]}"#;
        assert!(takes(rule, &unit("bash", "1-1")));
        assert!(!takes(rule, &UnitFacts { arch: "i686", ..unit("bash", "1-1") }));
        assert!(!takes(rule, &UnitFacts { source: "other", ..unit("bash", "1-1") }));
    }

    #[test]
    fn version_ranges() {
        let cases = [
            (r#"">= 1.2""#, "1.2-1", true),
            (r#"">= 1.2""#, "1.1-9", false),
            (r#""> 1.2""#, "1.2-9", false),
            (r#""> 1.2-3""#, "1.2-9", true),
            (r#""= 1.2""#, "1.2-9", true),
            (r#""= 1.2-9""#, "1.2-9", true),
            (r#""= 1.2-8""#, "1.2-9", false),
            (r#""< 2:0""#, "1:9-1", true),
            (r#""< 2:0""#, "2:0.1-1", false),
            (r#"">= 1.2", "< 1.10""#, "1.9-1", true),
            (r#"">= 1.2", "< 1.10""#, "1.10-1", false),
            (r#""<= 1.2""#, "1.2~rc1-1", true),
            (r#""<= 1.2""#, "not a version", false),
        ];
        for (range, version, want) in cases {
            let json = format!(r#"{{"rules":[{{"action":"include","version":[{range}]}}]}}"#);
            assert_eq!(takes(&json, &unit("a", version)), want, "{range} on {version}");
        }
        let deb = selection(r#"{"rules":[{"action":"include","version":["= 1.2"]}]}"#).compile(Format::Deb);
        assert!(deb.matches(&unit("a", "1.2")) && !deb.matches(&unit("a", "1.2-1")), "dpkg's revision is part of a version");
    }

    #[test]
    fn advisories_and_modules() {
        let at = |text: &str| text.parse::<Timestamp>().expect("time");
        let advisory = AdvisoryFacts { id: "A-1", kind: "security", issued: Some(at("2026-03-01T00:00:00Z")) };
        let fixed = UnitFacts { advisories: vec![advisory], modules: vec![("nodejs", "20")], ..unit("node", "1-1") };
        let cases = [
            (r#""advisory":{"types":["security"]}"#, true),
            (r#""advisory":{"types":["bugfix"]}"#, false),
            (r#""advisory":{"ids":["A-1","A-2"],"types":["security"]}"#, true),
            (r#""advisory":{"ids":["A-2"]}"#, false),
            (r#""advisory":{"issuedAfter":"2026-03-01T00:00:00Z","issuedBefore":"2026-03-02T00:00:00Z"}"#, true),
            (r#""advisory":{"issuedBefore":"2026-03-01T00:00:00Z"}"#, false),
            (r#""module":"nodejs""#, true),
            (r#""module":"nodejs:20""#, true),
            (r#""module":"nodejs:18""#, false),
        ];
        for (condition, want) in cases {
            let json = format!(r#"{{"rules":[{{"action":"include",{condition}}}]}}"#);
            assert_eq!(takes(&json, &fixed), want, "{condition}");
            assert!(!takes(&json, &unit("other", "1-1")), "{condition}");
        }
        let undated = UnitFacts { advisories: vec![AdvisoryFacts { issued: None, ..advisory }], ..unit("node", "1-1") };
        assert!(!takes(r#"{"rules":[{"action":"include","advisory":{"issuedAfter":"2000-01-01T00:00:00Z"}}]}"#, &undated));
    }

    #[test]
    fn the_newest_of_each_name_architecture_and_stream() {
        let units = [
            unit("a", "1.10-1"),
            unit("a", "1.9-1"),
            unit("a", "1.10-1"),
            unit("a", "broken version"),
            UnitFacts { arch: "i686", ..unit("a", "1.8-1") },
            UnitFacts { modules: vec![("m", "1")], ..unit("a", "1.1-1") },
            UnitFacts { modules: vec![("m", "2")], ..unit("a", "2.1-1") },
            unit("b", "1-1"),
        ];
        let one = selection(r#"{"newest":1}"#).compile(Format::Rpm).select(&units);
        assert_eq!(one, [true, false, true, false, true, true, true, true]);
        let two = selection(r#"{"newest":2}"#).compile(Format::Rpm).select(&units);
        assert_eq!(two, [true, true, true, false, true, true, true, true]);
        let rules_first = r#"{"newest":1,"rules":[{"action":"exclude","version":["= 1.10"]}]}"#;
        let kept = selection(rules_first).compile(Format::Rpm).select(&units);
        assert_eq!(kept, [false, true, false, false, true, true, true, true]);
    }

    #[test]
    fn what_is_refused_and_why() {
        let cases = [
            (r#"{"newest":0}"#, "selection.newest: is 0"),
            (r#"{"rules":[{"action":"include"}]}"#, "selection.rules[0]: has no condition"),
            (r#"{"rules":[{"action":"include","name":"/(/"}]}"#, "rules[0].name: is not a valid regular"),
            (r#"{"rules":[{"action":"include","source":""}]}"#, "rules[0].source: is empty"),
            (r#"{"rules":[{"action":"include","version":["1.2"]}]}"#, "rules[0].version[0]: begins with"),
            (r#"{"rules":[{"action":"include","version":[">= a b"]}]}"#, "is not a version"),
            (r#"{"rules":[{"action":"include","arch":[" "]}]}"#, "rules[0].arch[0]: is empty"),
            (r#"{"rules":[{"action":"include","advisory":{}}]}"#, "advisory: has no condition"),
            (r#"{"rules":[{"action":"include","advisory":{"types":["urgent"]}}]}"#, "types[0]: is one of security"),
            (r#"{"rules":[{"action":"include","module":"a:b:c"}]}"#, "module: is a module's name"),
            (
                r#"{"rules":[{"action":"include","advisory":{"issuedAfter":"2026-01-01T00:00:00Z","issuedBefore":"2025-01-01T00:00:00Z"}}]}"#,
                "issuedBefore: is not after",
            ),
        ];
        for (json, want) in cases {
            let got = problems(json, Format::Rpm);
            assert!(got.contains(want), "{json}: {got}");
        }
        assert!(problems(r#"{"rules":[{"action":"include","module":"a"}]}"#, Format::Deb).contains("for rpm sources"));
        assert!(
            problems(r#"{"rules":[{"action":"include","advisory":{"ids":["a"]}}]}"#, Format::Deb).contains("for rpm sources")
        );
        let many = Selection {
            rules: vec![selection(r#"{"rules":[{"action":"include","name":"a"}]}"#).rules[0].clone(); 201],
            newest: None,
        };
        let mut found = Problems::default();
        many.validate("selection", Format::Rpm, &mut found);
        assert!(found.finish().expect_err("too many").to_string().contains("at most 200"));
        // A rule that could not be used takes nothing rather than everything.
        let bad = selection(r#"{"rules":[{"action":"include","name":"/(/"}]}"#).compile(Format::Rpm);
        assert!(!bad.matches(&unit("a", "1-1")));
        let bare = selection(r#"{"rules":[{"action":"include"}]}"#).compile(Format::Rpm);
        assert!(!bare.matches(&unit("a", "1-1")));
    }
}

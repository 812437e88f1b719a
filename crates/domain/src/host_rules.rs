//! Rules of a host that decide which updates its package manager takes: holds, locks, excludes, pins, module streams. The agent reads
//! them from the host's configuration and reports them as an inventory section; room `applicability` obeys them.

use serde::{Deserialize, Serialize};

use crate::limits::{RULE_TEXT_MAX_BYTES, RULES_MAX};
use crate::validate::{Invalid, Problems};

/// What a host's configuration says. Empty = the package manager's defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HostRules {
    /// apt: packages on hold (`apt-mark showhold`), `name` or `name:arch`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
    /// dnf, dnf 5: versionlock; zypper: locks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<PackageLock>,
    /// dnf, dnf 5, yum: `excludepkgs`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<PackageExclude>,
    /// dnf, dnf 5, yum: `includepkgs`: when there are any for a repository (or all), only these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<PackageExclude>,
    /// apt: preferences, apt_preferences(5), in the order read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Pin>,
    /// apt: `APT::Default-Release`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub default_release: String,
    /// dnf: streams that are enabled or disabled in /etc/dnf/modules.d.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<ModuleState>,
    /// dnf: `installonlypkgs`; zypper: `multiversion`: packages (names, globs or `provides(…)`) of which several versions stay installed.
    /// Empty = the tool's default list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub multi_version: Vec<String>,
    /// dnf: `obsoletes=0`: obsoletes do not bring updates.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ignore_obsoletes: bool,
    /// zypper: `solver.allowVendorChange`; dnf: `allow_vendor_change` (default there: yes).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_change: Option<bool>,
    /// dnf: `module_platform_id`, for example `platform:el8`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// apt: dpkg's architectures, the native one first; rpm: empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
}

impl HostRules {
    /// Checks rules from a host (hostile input) and gives them their one form: lists whose order means nothing are sorted.
    ///
    /// # Errors
    /// Which list or text is too large, or holds control characters.
    pub fn checked(mut self) -> Result<Self, Invalid> {
        let mut problems = Problems::default();
        let lists = [
            ("rules.holds", self.holds.len()),
            ("rules.locks", self.locks.len()),
            ("rules.excludes", self.excludes.len()),
            ("rules.includes", self.includes.len()),
            ("rules.pins", self.pins.len()),
            ("rules.pins.packages", self.pins.iter().map(|pin| pin.packages.len()).sum()),
            ("rules.modules", self.modules.len()),
            ("rules.modules.profiles", self.modules.iter().map(|module| module.profiles.len()).sum()),
            ("rules.multiVersion", self.multi_version.len()),
            ("rules.architectures", self.architectures.len()),
        ];
        for (field, len) in lists {
            problems.count(field, len, RULES_MAX);
        }
        for (field, text) in self.texts() {
            problems.text(field, text, RULE_TEXT_MAX_BYTES);
        }
        problems.finish()?;
        sort(&mut self.holds);
        sort(&mut self.locks);
        sort(&mut self.excludes);
        sort(&mut self.includes);
        sort(&mut self.modules);
        sort(&mut self.multi_version);
        self.modules.iter_mut().for_each(|module| sort(&mut module.profiles));
        Ok(self)
    }

    /// Every text, with its field.
    fn texts(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let field = |name: &'static str| move |text| (name, text);
        let excludes = self.excludes.iter().flat_map(|e| [&e.pattern, &e.repository]).map(field("rules.excludes"));
        let includes = self.includes.iter().flat_map(|e| [&e.pattern, &e.repository]).map(field("rules.includes"));
        let pins = self.pins.iter().flat_map(|p| p.packages.iter().chain([&p.pin])).map(field("rules.pins"));
        let modules = self.modules.iter().flat_map(|m| m.profiles.iter().chain([&m.name, &m.stream])).map(field("rules.modules"));
        let locks = self.locks.iter().flat_map(|l| [&l.pattern, &l.repository]).map(field("rules.locks"));
        let plain = self.holds.iter().map(field("rules.holds")).chain(self.multi_version.iter().map(field("rules.multiVersion")));
        let single = [("rules.defaultRelease", &self.default_release), ("rules.platform", &self.platform)];
        let architectures = self.architectures.iter().map(field("rules.architectures"));
        plain.chain(locks).chain(excludes).chain(includes).chain(pins).chain(modules).chain(architectures).chain(single)
    }
}

fn sort<T: Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    list.dedup();
}

/// A lock on a package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct PackageLock {
    /// dnf: a NEVRA with globs (`nginx-0:1.20.1-1.el8.*`); zypper: a name with globs, perhaps ` < 2.0` behind it.
    pub pattern: String,
    /// dnf: `!` entries: these versions are never taken, others are.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exclude: bool,
    /// zypper: only from this repository; empty = all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub repository: String,
}

/// A pattern of packages left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct PackageExclude {
    /// Name, glob or NEVRA glob.
    pub pattern: String,
    /// Only for this repository id; empty = all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub repository: String,
}

/// A stanza of apt_preferences(5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Pin {
    /// `Package:` words: names, globs, `/regex/`, `*`, `src:name`.
    pub packages: Vec<String>,
    /// `Pin:` as written: `version 1.2*`, `release a=stable, n=bookworm`, `origin "host"`.
    pub pin: String,
    /// `Pin-Priority:`.
    pub priority: i32,
}

/// A module as the host has set it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ModuleState {
    /// Module name.
    pub name: String,
    /// Enabled stream; empty when disabled.
    pub stream: String,
    /// `true`: enabled; `false`: disabled.
    pub enabled: bool,
    /// Installed profiles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{SectionKind, check_body};

    #[test]
    fn rules_have_one_form_and_hostile_ones_are_refused() {
        let a = br#"{"holds":["b","a","b"],"pins":[{"packages":["z"],"pin":"version 1*","priority":-1},{"packages":["a"],"pin":"x","priority":1}]}"#;
        let body = check_body(SectionKind::Rules, a).expect("rules");
        let rules: HostRules = serde_json::from_slice(&body).expect("rules");
        assert_eq!(rules.holds, ["a", "b"]);
        assert_eq!(rules.pins[0].packages, ["z"], "the order of pins decides");
        assert_eq!(check_body(SectionKind::Rules, &body).expect("again"), body);
        assert_eq!(check_body(SectionKind::Rules, b"{}").expect("nothing"), b"{}");
        let newer = check_body(SectionKind::Rules, br#"{"fromTheFuture":1}"#).expect("newer agents know more");
        assert_eq!(newer, b"{}");
        for bad in [r#"["a\u0000"]"#.to_owned(), format!("[{:?}]", "x".repeat(1025)), format!("[{}1]", "\"a\",".repeat(20_001))] {
            let body = format!("{{\"holds\":{bad}}}");
            assert!(check_body(SectionKind::Rules, body.as_bytes()).is_err());
        }
    }
}

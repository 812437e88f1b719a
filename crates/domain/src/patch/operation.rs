//! Package operations of a patch job (*ours*): named packages, updates chosen by type, advisory or CVE, downloading only.
//! Absent: what a host makes of them; each package manager plans that with its own tool.

use serde::{Deserialize, Serialize};

use super::spec::PatchConfig;
use crate::limits::PATTERNS_MAX;
use crate::validate::Problems;

/// One package word, bytes.
const WORD_MAX_BYTES: usize = 255;
/// One CVE id, bytes.
const CVE_MAX_BYTES: usize = 32;
/// The architectures of rpm packages: what follows the last dot of a word, when it is one of them.
const RPM_ARCHITECTURES: [&str; 14] = [
    "noarch",
    "x86_64",
    "x86_64_v2",
    "i386",
    "i486",
    "i586",
    "i686",
    "aarch64",
    "armv7hl",
    "ppc64le",
    "ppc64",
    "s390x",
    "riscv64",
    "loongarch64",
];

/// Named packages: exactly this is done, and no general updates. Words are `name`, `name.arch` (rpm) or `name:arch`
/// (deb), each with `=version` where an exact version is meant (rpm: `[epoch:]version-release`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PackageChanges {
    /// To be there; without a version an installed one is left as it is, with one it becomes that version.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub install: Vec<String>,
    /// To be gone, with what depends on it: the plan names all of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// To become the newest, or this newer version, where it is installed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub update: Vec<String>,
}

/// Why an update is there, as advisories say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UpdateType {
    /// A security advisory names it; apt: a security archive has it.
    Security,
    /// A bugfix advisory names it.
    Bugfix,
    /// An enhancement advisory names it.
    Enhancement,
    /// No security, bugfix or enhancement advisory names it.
    Other,
}

/// One package as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageWord {
    /// Name.
    pub name: String,
    /// Architecture, where one is meant.
    pub arch: Option<String>,
    /// Exact version, where one is meant.
    pub version: Option<String>,
}

impl PackageWord {
    /// Reads a word; the refusal is for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text:?} {what}; write name, name.arch (rpm) or name:arch (deb), and =version");
        if text.len() > WORD_MAX_BYTES {
            return Err(format!("is longer than {WORD_MAX_BYTES} bytes"));
        }
        let (package, version) = match text.split_once('=') {
            Some((package, version)) => (package, Some(version)),
            None => (text, None),
        };
        let (name, arch) = match package.split_once(':') {
            Some((name, arch)) => (name, Some(arch)),
            None => match package.rsplit_once('.') {
                Some((name, arch)) if RPM_ARCHITECTURES.contains(&arch) => (name, Some(arch)),
                _ => (package, None),
            },
        };
        // apt takes a sign at the end of a name for an order: `name-` removes.
        let name_ok = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-_".contains(&b))
            && !name.ends_with('-');
        if !name_ok {
            return Err(wrong("is no package name"));
        }
        if arch.is_some_and(|a| a.is_empty() || !a.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')) {
            return Err(wrong("has an unusable architecture"));
        }
        let version_ok = |v: &str| !v.is_empty() && v.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-_:~^".contains(&b));
        if version.is_some_and(|v| !version_ok(v)) {
            return Err(wrong("has an unusable version"));
        }
        // Epoch 0 is what no epoch means; databases do not write it.
        let version = version.map(|v| v.strip_prefix("0:").unwrap_or(v).to_owned());
        Ok(PackageWord { name: name.to_owned(), arch: arch.map(str::to_owned), version })
    }

    /// May both words mean one package?
    fn meets(&self, other: &PackageWord) -> bool {
        let arch = match (&self.arch, &other.arch) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        self.name == other.name && arch
    }
}

impl PackageChanges {
    pub(super) fn check(&self, at: &str, problems: &mut Problems) {
        let lists = [("install", &self.install), ("remove", &self.remove), ("update", &self.update)];
        if lists.iter().all(|(_, list)| list.is_empty()) {
            problems.add(at, "names no package; fill install, remove or update, or leave it out");
        }
        let mut seen: Vec<(String, PackageWord)> = Vec::new();
        for (list, words) in lists {
            problems.count(&format!("{at}.{list}"), words.len(), PATTERNS_MAX);
            for (i, text) in words.iter().enumerate().take(PATTERNS_MAX) {
                let field = format!("{at}.{list}[{i}]");
                match PackageWord::parse(text) {
                    Err(why) => problems.add(field, why),
                    Ok(word) => {
                        if let Some((other, _)) = seen.iter().find(|(_, w)| w.meets(&word)) {
                            problems.add(&field, format!("{} is already named by {other}; keep one", word.name));
                        }
                        seen.push((field, word));
                    }
                }
            }
        }
    }
}

/// The form of an order that an agent from before package operations understands.
const VERSION_PLAIN: u32 = 1;
/// The form of an order with package operations.
const VERSION_OPERATIONS: u32 = 2;
/// The form of an order with module streams and profiles.
const VERSION_MODULES: u32 = 3;
/// The form of an order that takes a task back, bars versions or checks the host's health.
const VERSION_UNDO: u32 = 4;
/// The form of an order with a soak.
const VERSION_SOAK: u32 = 5;

impl PatchConfig {
    /// Updates are chosen by type, advisory, CVE, severity or because they are overdue.
    pub fn chooses(&self) -> bool {
        let by_id = !(self.advisories.is_empty() && self.cves.is_empty());
        by_id || !self.update_types.is_empty() || self.min_severity.is_some() || self.overdue
    }

    /// The lowest [`crate::work::WORK_VERSION`] of agents that read all of this. An older agent would ignore the fields
    /// it does not know, and so do general updates where named packages were meant.
    pub fn work_version(&self) -> u32 {
        if self.soak_days > 0 {
            VERSION_SOAK
        } else if self.undo.is_some() || !self.barred.is_empty() || self.health_checks.is_some() {
            VERSION_UNDO
        } else if !self.modules.is_empty() {
            VERSION_MODULES
        } else if self.packages.is_some() || self.chooses() || self.download_only || self.from_cache {
            VERSION_OPERATIONS
        } else {
            VERSION_PLAIN
        }
    }

    /// Which manager's own settings choose packages, for "keep one".
    pub(super) fn own_choice(&self, excludes_too: bool) -> Option<&'static str> {
        let (apt, yum, zypper) = (&self.apt, &self.yum, &self.zypper);
        let chosen = [
            ("apt.security", apt.security),
            ("apt.exclusivePackages", !apt.exclusive_packages.is_empty()),
            ("yum.security", yum.security),
            ("yum.exclusivePackages", !yum.exclusive_packages.is_empty()),
            ("zypper.categories", !zypper.categories.is_empty()),
            ("zypper.severities", !zypper.severities.is_empty()),
            ("zypper.exclusivePatches", !zypper.exclusive_patches.is_empty()),
            ("zypper.withOptional", zypper.with_optional),
            ("zypper.withUpdate", zypper.with_update),
            ("yum.minimal", excludes_too && yum.minimal),
            ("apt.excludes", excludes_too && !apt.excludes.is_empty()),
            ("yum.excludes", excludes_too && !yum.excludes.is_empty()),
            ("zypper.excludes", excludes_too && !zypper.excludes.is_empty()),
        ];
        chosen.into_iter().find(|(_, is)| *is).map(|(name, _)| name)
    }

    pub(super) fn check_operations(&self, at: &str, problems: &mut Problems) {
        if let Some(packages) = &self.packages {
            let field = format!("{at}.packages");
            packages.check(&field, problems);
            if self.chooses() {
                problems.add(
                    &field,
                    "cannot be combined with updateTypes, advisories, cves, minSeverity or overdue; it already is the whole job",
                );
            } else if let Some(other) = self.own_choice(true) {
                problems.add(&field, format!("cannot be combined with {other}; it already is the whole job"));
            }
        } else if self.chooses()
            && let Some(other) = self.own_choice(false)
        {
            let first = [
                ("updateTypes", self.update_types.is_empty()),
                ("advisories", self.advisories.is_empty()),
                ("cves", self.cves.is_empty()),
                ("minSeverity", self.min_severity.is_none()),
            ];
            let field = first.into_iter().find(|(_, empty)| !empty).map_or("overdue", |(name, _)| name);
            problems.add(format!("{at}.{field}"), format!("cannot be combined with {other}, which chooses as well; keep one"));
        }
        let mut types = self.update_types.clone();
        types.sort_unstable();
        types.dedup();
        if types.len() != self.update_types.len() {
            problems.add(format!("{at}.updateTypes"), "names a type twice");
        }
        let id_ok = |id: &String| super::spec::is_package_name(id);
        check_ids(&format!("{at}.advisories"), &self.advisories, "an advisory id such as ELSA-2026-1234", id_ok, problems);
        check_ids(&format!("{at}.cves"), &self.cves, "a CVE id such as CVE-2026-1234", |id| is_cve(id), problems);
        if self.download_only && self.from_cache {
            problems.add(format!("{at}.downloadOnly"), "cannot be combined with fromCache, which downloads nothing; keep one");
        }
        for (name, step) in [("preStep", &self.pre_step), ("postStep", &self.post_step)] {
            if self.download_only && step.is_some() {
                problems.add(format!("{at}.{name}"), "does not run in a job that only downloads; leave it out");
            }
        }
    }
}

fn is_cve(id: &str) -> bool {
    let digits = |s: &str, least: usize| s.len() >= least && s.bytes().all(|b| b.is_ascii_digit());
    id.len() <= CVE_MAX_BYTES
        && id.strip_prefix("CVE-").and_then(|r| r.split_once('-')).is_some_and(|(year, n)| digits(year, 4) && digits(n, 4))
}

fn check_ids(field: &str, ids: &[String], what: &str, ok: impl Fn(&String) -> bool, problems: &mut Problems) {
    problems.count(field, ids.len(), PATTERNS_MAX);
    for (i, id) in ids.iter().enumerate().take(PATTERNS_MAX) {
        if !ok(id) {
            problems.add(format!("{field}[{i}]"), format!("{id:?} is not {what}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::spec::PatchJobSpec;

    fn problems(config: &str) -> Vec<String> {
        let spec = format!(r#"{{"instanceFilter":{{"all":true}},"patchConfig":{config}}}"#);
        let spec: PatchJobSpec = serde_json::from_str(&spec).expect("a spec");
        spec.validate()
            .map_or_else(|e| e.errors, |()| Vec::new())
            .into_iter()
            .map(|e| format!("{}: {}", e.field, e.message))
            .collect()
    }

    fn fields(config: &str) -> Vec<String> {
        problems(config).into_iter().map(|p| p.split(": ").next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn words_of_both_families_are_read() {
        let word = |text: &str| {
            let w = PackageWord::parse(text).expect("a word");
            (w.name, w.arch.unwrap_or_default(), w.version.unwrap_or_default())
        };
        let owned = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(word("python3.11"), owned("python3.11", "", ""));
        assert_eq!(word("python3.11.x86_64"), owned("python3.11", "x86_64", ""));
        assert_eq!(word("libc6:i386=2.36-9+deb12u4"), owned("libc6", "i386", "2.36-9+deb12u4"));
        assert_eq!(word("vim=2:9.1-1.el9"), owned("vim", "", "2:9.1-1.el9"));
        assert_eq!(word("g++=0:4-1"), owned("g++", "", "4-1"));
        for bad in ["", "-y", "a b", "vim*", "vim-", "@core", "/etc/passwd", "vim=", "vim:", "vim=1;id", "a:b c", "!vim"] {
            assert!(PackageWord::parse(bad).is_err(), "{bad:?}");
        }
        assert!(PackageWord::parse(&"x".repeat(256)).is_err());
    }

    #[test]
    fn what_an_operator_gets_wrong_is_refused_by_its_field() {
        assert!(problems(r#"{"packages":{"install":["vim=1-1"],"remove":["nano.x86_64"],"update":["curl:amd64"]}}"#).is_empty());
        assert_eq!(fields(r#"{"packages":{}}"#), ["patchConfig.packages"]);
        assert_eq!(
            fields(r#"{"packages":{"install":["vim","-y"],"remove":["vim.x86_64","x86"],"update":["x86"]}}"#),
            ["patchConfig.packages.install[1]", "patchConfig.packages.remove[0]", "patchConfig.packages.update[0]"]
        );
        // Two architectures of one name are two packages.
        assert!(problems(r#"{"packages":{"install":["glibc.i686"],"update":["glibc.x86_64"]}}"#).is_empty());
        assert_eq!(fields(r#"{"packages":{"install":["a"]},"updateTypes":["SECURITY"]}"#), ["patchConfig.packages"]);
        assert_eq!(fields(r#"{"packages":{"install":["a"]},"yum":{"excludes":["b"]}}"#), ["patchConfig.packages"]);
        assert_eq!(fields(r#"{"packages":{"install":["a"]},"overdue":true}"#), ["patchConfig.packages"]);
        assert_eq!(fields(r#"{"overdue":true,"apt":{"security":true}}"#), ["patchConfig.overdue"]);
        assert!(problems(r#"{"overdue":true,"cves":["CVE-2026-0001"],"yum":{"excludes":["b"]}}"#).is_empty());
        assert_eq!(fields(r#"{"updateTypes":["BUGFIX","BUGFIX"]}"#), ["patchConfig.updateTypes"]);
        assert_eq!(fields(r#"{"advisories":["-x"],"cves":["CVE-26-1"]}"#), ["patchConfig.advisories[0]", "patchConfig.cves[0]"]);
        assert_eq!(fields(r#"{"cves":["CVE-2026-0001"],"zypper":{"categories":["security"]}}"#), ["patchConfig.cves"]);
        assert!(problems(r#"{"cves":["CVE-2026-0001"],"yum":{"excludes":["b"],"minimal":true}}"#).is_empty());
        assert_eq!(
            fields(r#"{"downloadOnly":true,"fromCache":true,"preStep":{"linuxExecStepConfig":{"localPath":"/x"}}}"#),
            ["patchConfig.downloadOnly", "patchConfig.preStep"]
        );
        let many: Vec<String> = (0..=PATTERNS_MAX).map(|i| format!("p{i}")).collect();
        assert_eq!(fields(&format!(r#"{{"packages":{{"install":{many:?}}}}}"#)), ["patchConfig.packages.install"]);
    }

    #[test]
    fn only_orders_with_package_operations_ask_for_a_newer_agent() {
        let version = |config: &str| serde_json::from_str::<PatchConfig>(config).expect("settings").work_version();
        assert_eq!(version(r#"{"yum":{"security":true},"apt":{"excludes":["x"]}}"#), 1);
        for config in [
            r#"{"packages":{"remove":["a"]}}"#,
            r#"{"updateTypes":["OTHER"]}"#,
            r#"{"advisories":["ELSA-2026-1"]}"#,
            r#"{"cves":["CVE-2026-0001"]}"#,
            r#"{"overdue":true}"#,
            r#"{"downloadOnly":true}"#,
            r#"{"fromCache":true}"#,
        ] {
            assert_eq!(version(config), 2, "{config}");
        }
        // What is not set is not written: an old server's and an old agent's documents stay what they were.
        let text = serde_json::to_string(&PatchConfig::default()).expect("JSON");
        assert!(
            !["packages\"", "updateTypes", "advisories", "cves", "overdue", "downloadOnly", "fromCache"]
                .iter()
                .any(|f| text.contains(f)),
            "{text}"
        );
    }
}

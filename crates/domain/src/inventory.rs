//! Inventory: what a host says of itself, in five sections that travel, are stored and are compared by fingerprint.
//!
//! A section is a plain document; its fingerprint is the SHA-256 of its canonical JSON (serde's field order, lists
//! sorted by [`PackageSet::new`] and friends). Equal hosts therefore share one stored body.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::host_rules::HostRules;
use crate::limits::{PACKAGE_FIELD_MAX_BYTES, PACKAGES_MAX};
use crate::validate::{Invalid, Problems};

/// A package manager of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ManagerKind {
    /// apt and dpkg.
    Apt,
    /// dnf 4 (Python) and rpm.
    Dnf,
    /// dnf 5 (libdnf5) and rpm.
    Dnf5,
    /// yum 3 and rpm.
    Yum,
    /// zypper and rpm.
    Zypper,
}

impl ManagerKind {
    /// The shown name, for example `dnf5`.
    pub fn as_str(self) -> &'static str {
        match self {
            ManagerKind::Apt => "apt",
            ManagerKind::Dnf => "dnf",
            ManagerKind::Dnf5 => "dnf5",
            ManagerKind::Yum => "yum",
            ManagerKind::Zypper => "zypper",
        }
    }
}

/// The sections of an inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum SectionKind {
    /// [`OsFacts`].
    Os,
    /// [`PackageSet`]: everything installed.
    Packages,
    /// [`UpdateSet`]: what the host's own package manager would update.
    Updates,
    /// [`Health`]: reboot and restart needs.
    Health,
    /// [`HostRules`]: holds, locks, excludes, pins, module streams.
    Rules,
}

impl SectionKind {
    /// All of them, in the order they are shown.
    pub const ALL: [SectionKind; 5] =
        [SectionKind::Os, SectionKind::Packages, SectionKind::Updates, SectionKind::Health, SectionKind::Rules];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            SectionKind::Os => "os",
            SectionKind::Packages => "packages",
            SectionKind::Updates => "updates",
            SectionKind::Health => "health",
            SectionKind::Rules => "rules",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        SectionKind::ALL.into_iter().find(|k| k.as_str() == text)
    }
}

/// Operating-system facts of a host. Times that change without news (uptime) are absent, so that an unchanged host
/// keeps its fingerprint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct OsFacts {
    /// Host name as the kernel knows it.
    pub hostname: String,
    /// `PRETTY_NAME` of os-release(5), for example `Oracle Linux Server 8.10`.
    pub long_name: String,
    /// `ID` of os-release(5), for example `ol`.
    pub short_name: String,
    /// `VERSION_ID` of os-release(5), for example `8.10`.
    pub version: String,
    /// `x86_64`, `aarch64`, `x86_32` … (Google's normal forms).
    pub architecture: String,
    /// uname -r.
    pub kernel_release: String,
    /// uname -v.
    pub kernel_version: String,
    /// Identifies one boot of this host: changes with every reboot, also in a container.
    pub boot_id: String,
    /// When this boot began.
    pub booted_at: Option<Timestamp>,
    /// /etc/machine-id.
    pub machine_id: String,
    /// Version of the agent.
    pub agent_version: String,
    /// The package managers found, the one that owns the host first.
    pub managers: Vec<ManagerKind>,
}

/// One installed package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Package {
    /// Package name.
    pub name: String,
    /// Architecture as the package manager writes it (`amd64`, `x86_64`, `noarch`, `all`).
    pub arch: String,
    /// Full version as the package manager writes it: `1:2.3-4` (deb), `2.3-4.el8` or `1:2.3-4.el8` (rpm; epoch 0 is not written).
    pub version: String,
    /// Source package and version (deb: `openssl 3.0.1-1`) or source rpm file name; empty when unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// rpm: who built it (`Oracle America`); zypper keeps to it. Empty when unknown, for deb, and from older agents.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub vendor: String,
}

/// Everything installed: sorted, without repeats.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct PackageSet(Vec<Package>);

impl PackageSet {
    /// Sorts and removes repeats.
    pub fn new(mut packages: Vec<Package>) -> Self {
        packages.sort_unstable();
        packages.dedup();
        PackageSet(packages)
    }

    /// The packages in order.
    pub fn as_slice(&self) -> &[Package] {
        &self.0
    }

    /// The packages in order, taken out.
    pub fn into_vec(self) -> Vec<Package> {
        self.0
    }

    /// The installed versions of `name` (and `arch` unless it is empty): several for kernels.
    pub fn find<'a>(&'a self, name: &'a str, arch: &'a str) -> impl Iterator<Item = &'a Package> {
        self.0.iter().filter(move |p| p.name == name && (arch.is_empty() || p.arch == arch))
    }
}

/// What turns one package set into another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PackageDelta {
    /// In the new set only.
    pub added: Vec<Package>,
    /// In the old set only.
    pub removed: Vec<Package>,
}

impl PackageDelta {
    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }

    /// The set after this delta; `None` when a removed package was not there (the base is another one).
    pub fn apply(&self, base: &PackageSet) -> Option<PackageSet> {
        let gone: std::collections::HashSet<&Package> = self.removed.iter().collect();
        let kept: Vec<Package> = base.0.iter().filter(|p| !gone.contains(p)).cloned().collect();
        if kept.len() + gone.len() != base.0.len() {
            return None;
        }
        Some(PackageSet::new(kept.into_iter().chain(self.added.iter().cloned()).collect()))
    }
}

/// The difference of two package sets: one merge of two sorted lists.
pub fn diff(old: &PackageSet, new: &PackageSet) -> PackageDelta {
    let mut delta = PackageDelta::default();
    let (mut a, mut b) = (old.0.iter().peekable(), new.0.iter().peekable());
    loop {
        match (a.peek(), b.peek()) {
            (None, None) => return delta,
            (Some(x), Some(y)) if x == y => {
                a.next();
                b.next();
            }
            (Some(x), Some(y)) if x < y => delta.removed.extend(a.next().cloned()),
            (Some(_), None) => delta.removed.extend(a.next().cloned()),
            _ => delta.added.extend(b.next().cloned()),
        }
    }
}

/// One change of a package as people read it: `from` → `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PackageChange {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Version before; absent = was not installed.
    pub from: Option<String>,
    /// Version after; absent = removed.
    pub to: Option<String>,
}

/// A [`PackageChange`] that owns nothing; as JSON it is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackageChangeRef<'a> {
    /// Package name.
    pub name: &'a str,
    /// Architecture.
    pub arch: &'a str,
    /// Version before; absent = was not installed.
    pub from: Option<&'a str>,
    /// Version after; absent = removed.
    pub to: Option<&'a str>,
}

/// Pairs a delta's removals and additions of one (name, arch) into changes; sorted by name.
pub fn changes(delta: &PackageDelta) -> Vec<PackageChange> {
    let owned = |c: PackageChangeRef<'_>| PackageChange {
        name: c.name.to_owned(),
        arch: c.arch.to_owned(),
        from: c.from.map(str::to_owned),
        to: c.to.map(str::to_owned),
    };
    changes_between(delta.removed.iter(), delta.added.iter()).into_iter().map(owned).collect()
}

/// [`changes`] without copies, of packages in any order.
pub fn changes_between<'a>(
    removed: impl Iterator<Item = &'a Package>,
    added: impl Iterator<Item = &'a Package>,
) -> Vec<PackageChangeRef<'a>> {
    let key = |p: &'a Package| (p.name.as_str(), p.arch.as_str(), p.version.as_str());
    let (mut from, mut to): (Vec<_>, Vec<_>) = (removed.map(key).collect(), added.map(key).collect());
    from.sort_unstable();
    to.sort_unstable();
    let mut out = Vec::with_capacity(from.len().max(to.len()));
    let (mut from, mut to) = (from.into_iter().peekable(), to.into_iter().peekable());
    loop {
        let of = |entry: Option<&(&'a str, &'a str, &'a str)>| entry.map(|(name, arch, _)| (*name, *arch));
        let (name, arch) = match (of(from.peek()), of(to.peek())) {
            (None, None) => return out,
            (Some(one), None) | (None, Some(one)) => one,
            (Some(a), Some(b)) => a.min(b),
        };
        let version = |entry: Option<(&'a str, &'a str, &'a str)>| entry.map(|(_, _, version)| version);
        let here = |entry: &(&str, &str, &str)| (entry.0, entry.1) == (name, arch);
        out.push(PackageChangeRef { name, arch, from: version(from.next_if(here)), to: version(to.next_if(here)) });
    }
}

/// The kind of an update, as the advisories of the host's repositories say; `Unknown` where there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum UpdateKind {
    /// Closes a vulnerability (for apt: comes from a security archive).
    Security,
    /// Mends a fault.
    Bugfix,
    /// Brings something new.
    Enhancement,
    /// Nobody says.
    #[default]
    #[serde(other)]
    Unknown,
}

/// One available update.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Update {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Installed version; empty when the update brings a new package.
    pub from: String,
    /// Version offered.
    pub to: String,
    /// Repository id (rpm) or archive (`Debian-Security:12/stable-security`).
    pub repository: String,
    /// Security, bugfix …
    pub kind: UpdateKind,
    /// Advisory ids (`ELSA-2026-1234`), where the repository has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub advisories: Vec<String>,
    /// The advisory's severity in the vendor's word (`Important`); empty when unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub severity: String,
    /// Why it is not going to be installed (`held by apt-mark`, `versionlock`); empty = free.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub held: String,
}

/// A repository or tool of the host that does not work as it should; it never hides the rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What it is about, for example the repository id or URL.
    pub subject: String,
    /// What is wrong, in the tool's words, at most 1 KiB.
    pub message: String,
}

/// Available updates: sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateSet {
    /// The updates.
    pub updates: Vec<Update>,
    /// Broken repositories.
    pub findings: Vec<Finding>,
}

/// Why a host wants a reboot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RebootReason {
    /// `reboot-required`, `kernel`, `core-package`, `advisory`, `tool`.
    pub source: String,
    /// For people: `linux-image-6.1.0-30 asked for it`.
    pub detail: String,
}

/// Reboot and restart needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    /// Empty = no reboot needed.
    pub reboot_reasons: Vec<RebootReason>,
    /// Kernel running now (uname -r).
    pub running_kernel: String,
    /// Newest kernel installed; empty when the host has none of its own (a container).
    pub installed_kernel: String,
    /// systemd units with processes that still map files which an upgrade replaced.
    pub stale_services: Vec<String>,
    /// systemd units in state failed.
    pub failed_units: Vec<String>,
}

impl Health {
    /// Does the host ask for a reboot?
    pub fn reboot_required(&self) -> bool {
        !self.reboot_reasons.is_empty()
    }
}

/// SHA-256 of a section body's bytes, in lower-case hexadecimal (64 characters).
pub fn fingerprint(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    let mut out = String::with_capacity(64);
    for byte in digest {
        out.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    out
}

/// One fingerprint for all sections of a host: the SHA-256 of each kind with its section's fingerprint, by kind. It is
/// what a host sends instead of them when it believes the server to have them all.
pub fn combined_fingerprint(sections: &[(SectionKind, &str)]) -> [u8; 32] {
    let mut sections = sections.to_vec();
    sections.sort_unstable_by_key(|(kind, _)| kind.as_str());
    let mut hash = Sha256::new();
    for (kind, fingerprint) in sections {
        hash.update(kind.as_str().as_bytes());
        hash.update(b" ");
        hash.update(fingerprint.as_bytes());
        hash.update(b"\n");
    }
    hash.finalize().into()
}

/// Checks a section body from a host: hostile input. Returns the canonical bytes to store.
///
/// Errors name the section as the field. A body that parses but is not canonical (unsorted) is made canonical, so the
/// caller compares fingerprints of what this returns, never of what came in.
pub fn check_body(kind: SectionKind, body: &[u8]) -> Result<Vec<u8>, Invalid> {
    fn canonical<T: serde::de::DeserializeOwned + Serialize>(
        kind: SectionKind,
        body: &[u8],
        check: impl Fn(T) -> Result<T, Invalid>,
    ) -> Result<Vec<u8>, Invalid> {
        let bad = |e: serde_json::Error| Invalid::one(kind.as_str(), format!("cannot be read: {e}"));
        let parsed: T = serde_json::from_slice(body).map_err(bad)?;
        // The canonical form is about as long.
        let mut out = Vec::with_capacity(body.len() + body.len() / 8);
        serde_json::to_writer(&mut out, &check(parsed)?).map_err(bad)?;
        Ok(out)
    }
    match kind {
        SectionKind::Os => canonical::<OsFacts>(kind, body, check_os),
        SectionKind::Packages => canonical::<PackageSet>(kind, body, check_packages),
        SectionKind::Updates => canonical::<UpdateSet>(kind, body, |mut set| {
            let mut problems = Problems::default();
            problems.count("updates", set.updates.len(), PACKAGES_MAX);
            problems.count("updates.findings", set.findings.len(), 1000);
            for u in &set.updates {
                for text in [&u.name, &u.arch, &u.from, &u.to, &u.repository] {
                    problems.text("updates", text, PACKAGE_FIELD_MAX_BYTES);
                }
            }
            set.updates.sort_unstable();
            problems.finish().map(|()| set)
        }),
        SectionKind::Health => canonical::<Health>(kind, body, |health| {
            let mut problems = Problems::default();
            problems.count("health.rebootReasons", health.reboot_reasons.len(), 1000);
            problems.count("health.staleServices", health.stale_services.len(), 10_000);
            problems.count("health.failedUnits", health.failed_units.len(), 10_000);
            problems.finish().map(|()| health)
        }),
        SectionKind::Rules => canonical::<HostRules>(kind, body, HostRules::checked),
    }
}

fn check_os(facts: OsFacts) -> Result<OsFacts, Invalid> {
    let mut problems = Problems::default();
    let texts = [
        &facts.hostname,
        &facts.long_name,
        &facts.short_name,
        &facts.version,
        &facts.architecture,
        &facts.kernel_release,
        &facts.kernel_version,
        &facts.boot_id,
        &facts.machine_id,
        &facts.agent_version,
    ];
    for text in texts {
        problems.text("os", text, PACKAGE_FIELD_MAX_BYTES);
    }
    problems.finish().map(|()| facts)
}

fn check_packages(set: PackageSet) -> Result<PackageSet, Invalid> {
    let mut problems = Problems::default();
    problems.count("packages", set.0.len(), PACKAGES_MAX);
    for p in &set.0 {
        if p.name.is_empty() || p.version.is_empty() {
            problems.add("packages", format!("has an entry without name or version ({:?} {:?})", p.name, p.version));
        }
        for text in [&p.name, &p.arch, &p.version, &p.source, &p.vendor] {
            problems.text("packages", text, PACKAGE_FIELD_MAX_BYTES);
        }
    }
    problems.finish().map(|()| PackageSet::new(set.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pkg(name: &str, version: &str) -> Package {
        Package { name: name.into(), arch: "amd64".into(), version: version.into(), ..Package::default() }
    }

    #[test]
    fn changes_are_paired_by_name_and_architecture_in_any_order() {
        let other = |version: &str| Package { arch: "i386".into(), ..pkg("a", version) };
        let delta = PackageDelta {
            removed: vec![pkg("k", "1"), pkg("a", "1"), pkg("gone", "1"), other("1")],
            added: vec![pkg("k", "3"), pkg("new", "1"), other("2"), pkg("k", "2"), pkg("a", "2")],
        };
        let told: Vec<String> = changes(&delta)
            .iter()
            .map(|c| format!("{}.{} {} > {}", c.name, c.arch, c.from.as_deref().unwrap_or("-"), c.to.as_deref().unwrap_or("-")))
            .collect();
        let want = ["a.amd64 1 > 2", "a.i386 1 > 2", "gone.amd64 1 > -", "k.amd64 1 > 2", "k.amd64 - > 3", "new.amd64 - > 1"];
        assert_eq!(told, want);
        let as_json = |text: serde_json::Result<String>| text.expect("JSON");
        let borrowed = changes_between(delta.removed.iter(), delta.added.iter());
        assert_eq!(as_json(serde_json::to_string(&borrowed)), as_json(serde_json::to_string(&changes(&delta))));
    }

    #[test]
    fn a_diff_reads_as_changes() {
        let old = PackageSet::new(vec![pkg("a", "1"), pkg("b", "1"), pkg("c", "1")]);
        let new = PackageSet::new(vec![pkg("a", "2"), pkg("c", "1"), pkg("d", "1")]);
        let got: Vec<_> = changes(&diff(&old, &new)).into_iter().map(|c| (c.name, c.from, c.to)).collect();
        let s = |t: &str| Some(t.to_owned());
        assert_eq!(got, [("a".into(), s("1"), s("2")), ("b".into(), s("1"), None), ("d".into(), None, s("1"))]);
    }

    #[test]
    fn a_combined_fingerprint_is_of_kinds_and_fingerprints_in_any_order() {
        let (a, b) = (fingerprint(b"a"), fingerprint(b"b"));
        let both = combined_fingerprint(&[(SectionKind::Os, &a), (SectionKind::Packages, &b)]);
        assert_eq!(both, combined_fingerprint(&[(SectionKind::Packages, &b), (SectionKind::Os, &a)]));
        assert_ne!(both, combined_fingerprint(&[(SectionKind::Packages, &a), (SectionKind::Os, &b)]));
        assert_ne!(both, combined_fingerprint(&[(SectionKind::Os, &a)]));
    }

    #[test]
    fn a_delta_on_another_base_is_refused() {
        let delta = PackageDelta { added: vec![], removed: vec![pkg("a", "1")] };
        assert_eq!(delta.apply(&PackageSet::new(vec![pkg("b", "1")])), None);
    }

    #[test]
    fn a_body_is_made_canonical_and_a_hostile_one_refused() {
        let sorted = check_body(
            SectionKind::Packages,
            br#"[{"name":"a","arch":"x","version":"1"},{"name":"b","arch":"x","version":"1"}]"#,
        );
        let unsorted = check_body(SectionKind::Packages, br#"[{"name":"b","arch":"x","version":"1"},{"name":"a","arch":"x","version":"1"},{"name":"a","arch":"x","version":"1"}]"#);
        assert_eq!(sorted.expect("valid"), unsorted.expect("valid"));
        let long = format!(r#"[{{"name":"{}","arch":"x","version":"1"}}]"#, "n".repeat(300));
        assert!(check_body(SectionKind::Packages, long.as_bytes()).is_err());
        assert!(check_body(SectionKind::Os, b"3").is_err());
    }

    proptest! {
        #[test]
        fn apply_of_diff_gives_the_new_set(old in sets(), new in sets()) {
            prop_assert_eq!(diff(&old, &new).apply(&old), Some(new));
        }
    }

    fn sets() -> impl Strategy<Value = PackageSet> {
        proptest::collection::vec(("[ab]{1,2}", "[12]"), 0..12)
            .prop_map(|v| PackageSet::new(v.into_iter().map(|(n, ver)| pkg(&n, &ver)).collect()))
    }
}

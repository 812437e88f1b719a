//! Advisories and vulnerabilities: one model for what every vendor's feed says. Who is touched by them is decided in
//! room `applicability`; feeds are read in room `content`.
//!
//! An advisory says "this fixes that"; a [`Vulnerability`] is a CVE with what is known of it; a [`Statement`] is a
//! vendor's word on one CVE in one package (VEX).

pub mod exception;
pub mod open;
pub mod product;
pub mod report;
pub mod severity;
pub mod sla;
pub mod vulnerability;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use product::Product;
pub use severity::Severity;
pub use vulnerability::{Cvss, CvssVersion, Epss, Kev, Statement, Status, Vulnerability};

/// A vulnerability's id as feeds write it: people type `cve-2026-1234`, too.
pub fn vulnerability_id(typed: &str) -> String {
    match typed.get(..4) {
        Some(start) if start.eq_ignore_ascii_case("CVE-") => format!("CVE-{}", &typed[4..]),
        _ => typed.to_owned(),
    }
}

use crate::version::Scheme;

/// Longest id of an advisory or vulnerability, bytes.
pub const ID_MAX_BYTES: usize = 128;
/// Longest title kept, bytes; longer ones are cut.
pub const TITLE_MAX_BYTES: usize = 512;
/// Longest description kept, bytes; longer ones are cut.
pub const DESCRIPTION_MAX_BYTES: usize = 16 * 1024;
/// References kept of one advisory, count.
pub const REFERENCES_MAX: usize = 500;
/// CVEs of one advisory, count. The largest published kernel advisories name about 800.
pub const CVES_MAX: usize = 5_000;
/// Fixes of one advisory, count: a rebuild of a whole release with all its architectures.
pub const FIXES_MAX: usize = 100_000;

/// What an advisory is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AdvisoryKind {
    /// Closes vulnerabilities.
    Security,
    /// Mends faults.
    Bugfix,
    /// Brings something new.
    Enhancement,
    /// New packages, optional ones, or a kind we do not know.
    #[default]
    Other,
}

impl AdvisoryKind {
    /// Reads a vendor's word: `security`, `bugfix`, `recommended` (SUSE), `enhancement`, `feature` (SUSE), `newpackage` ….
    pub fn of_word(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "security" => AdvisoryKind::Security,
            "bugfix" | "bug" | "recommended" => AdvisoryKind::Bugfix,
            "enhancement" | "feature" => AdvisoryKind::Enhancement,
            _ => AdvisoryKind::Other,
        }
    }

    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            AdvisoryKind::Security => "SECURITY",
            AdvisoryKind::Bugfix => "BUGFIX",
            AdvisoryKind::Enhancement => "ENHANCEMENT",
            AdvisoryKind::Other => "OTHER",
        }
    }
}

/// Does a name mean binary packages or the source they are built from?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NameKind {
    /// The installed package itself (updateinfo, AlmaLinux OSV, CSAF).
    #[default]
    Binary,
    /// Every installed package built from this source (Debian tracker, DSA, USN, Debian and Ubuntu OSV). Compared with the
    /// version of the source, which may differ from the package's.
    Source,
}

/// A module stream that a fix belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ModuleRef {
    /// Module name.
    pub name: String,
    /// Stream.
    pub stream: String,
    /// Version of the build; empty when not said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Context of the build; empty when not said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub context: String,
}

/// A package version that an advisory brings: older ones are touched by what it fixes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Fix {
    /// Which operating systems it is for.
    pub product: Product,
    /// Package name.
    pub name: String,
    /// What the name means.
    #[serde(default)]
    pub by: NameKind,
    /// Architecture; empty = all of them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// The first version without the fault, in the form of [`crate::inventory::Package`].
    pub version: String,
    /// Whose rules the version follows.
    pub scheme: Scheme,
    /// rpm: only for packages of this module stream. Absent: only for packages of no module; or, where the version carries
    /// the builders' mark of a module (`.module+el8`), of the one that the feed does not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<ModuleRef>,
}

/// Where to read on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// `self`, `bugzilla`, `cve`, `web` … as the feed says.
    pub kind: String,
    /// Its id there; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Address; may be empty. Never fetched by us.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
}

/// An advisory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Advisory {
    /// `RHSA-2026:1234`, `ELSA-2026-1234`, `DSA-5000-1`, `USN-6000-1`, `SUSE-…`.
    pub id: String,
    /// What it is for.
    pub kind: AdvisoryKind,
    /// In our words.
    pub severity: Severity,
    /// In the vendor's word; empty when it said none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vendor_severity: String,
    /// One line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Text, cut to [`DESCRIPTION_MAX_BYTES`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// First published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued: Option<Timestamp>,
    /// Last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<Timestamp>,
    /// Taken back by the vendor: it counts for nothing any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
    /// CVE ids, sorted, each once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cves: Vec<String>,
    /// Where to read on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    /// The vendor says: reboot after it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reboot_suggested: bool,
    /// The vendor says: log in again after it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub relogin_suggested: bool,
    /// The vendor says: restart the package manager or service after it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub restart_suggested: bool,
    /// What it brings, sorted, each once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<Fix>,
}

impl Advisory {
    /// Joins what another feed says of the same id: the one changed last gives the words (this one when neither says), fixes,
    /// CVEs and references are united. The result does not depend on how often it is done.
    pub fn merge(self, other: Advisory) -> Advisory {
        let (mut kept, more) = if other.updated > self.updated { (other, self) } else { (self, other) };
        kept.cves.extend(more.cves);
        kept.cves.sort_unstable();
        kept.cves.dedup();
        kept.fixes.extend(more.fixes);
        kept.fixes.sort_unstable();
        kept.fixes.dedup();
        for reference in more.references {
            if !kept.references.contains(&reference) {
                kept.references.push(reference);
            }
        }
        kept.cves.truncate(CVES_MAX);
        kept.fixes.truncate(FIXES_MAX);
        kept.references.truncate(REFERENCES_MAX);
        if kept.severity == Severity::Unknown {
            kept.severity = more.severity;
            kept.vendor_severity = more.vendor_severity;
        }
        if kept.kind == AdvisoryKind::Other {
            kept.kind = more.kind;
        }
        for (mine, theirs) in [(&mut kept.title, more.title), (&mut kept.description, more.description)] {
            if mine.is_empty() {
                *mine = theirs;
            }
        }
        kept.issued = [kept.issued, more.issued].into_iter().flatten().min();
        kept.reboot_suggested |= more.reboot_suggested;
        kept.relogin_suggested |= more.relogin_suggested;
        kept.restart_suggested |= more.restart_suggested;
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fix(name: &str) -> Fix {
        Fix {
            product: Product::any(),
            name: name.into(),
            by: NameKind::Binary,
            arch: String::new(),
            version: "1-1".into(),
            scheme: Scheme::Rpm,
            module: None,
        }
    }

    #[test]
    fn the_later_gives_the_words_and_both_give_the_fixes() {
        let at = |s: &str| Some(s.parse().expect("a time"));
        let old = Advisory {
            id: "A".into(),
            title: "old".into(),
            updated: at("2026-01-01T00:00:00Z"),
            fixes: vec![fix("a")],
            ..Advisory::default()
        };
        let new = Advisory {
            id: "A".into(),
            updated: at("2026-02-01T00:00:00Z"),
            kind: AdvisoryKind::Security,
            fixes: vec![fix("b"), fix("a")],
            cves: vec!["CVE-2026-1".into()],
            ..Advisory::default()
        };
        let both = old.clone().merge(new.clone());
        assert_eq!(both, new.clone().merge(old.clone()));
        assert_eq!(both.clone().merge(old.clone()), both);
        assert_eq!((both.title.as_str(), both.kind, both.fixes.len(), both.cves.len()), ("old", AdvisoryKind::Security, 2, 1));
    }
}

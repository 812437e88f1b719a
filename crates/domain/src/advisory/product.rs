//! Which operating systems a fix or a statement is for.

use serde::{Deserialize, Serialize};

use crate::inventory::OsFacts;

/// An operating system and its release, in the words of os-release(5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Product {
    /// `ID` of os-release: `debian`, `ubuntu`, `almalinux`, `rhel`, `ol`, `sles`. Empty = every system whose package manager reads the
    /// repository the fix came from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub os: String,
    /// Release: `12`, `22.04`, `8`, `15.5`. A host matches when its `VERSION_ID` is this or continues it after a dot. Empty = all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub release: String,
}

impl Product {
    /// Every system.
    pub fn any() -> Self {
        Product::default()
    }

    /// One release of one system.
    pub fn new(os: impl Into<String>, release: impl Into<String>) -> Self {
        Product { os: os.into(), release: release.into() }
    }

    /// Is a host with these facts of this product? `8` matches `8` and `8.10`, not `80`.
    pub fn matches(&self, host: &OsFacts) -> bool {
        let release = || match host.version.strip_prefix(self.release.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('.') || self.release.is_empty(),
            None => false,
        };
        (self.os.is_empty() || self.os == host.short_name) && release()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_matches_its_minor_releases_only() {
        let host = |os: &str, version: &str| OsFacts { short_name: os.into(), version: version.into(), ..OsFacts::default() };
        for (product, os, version, want) in [
            (Product::any(), "debian", "12", true),
            (Product::new("debian", ""), "debian", "12", true),
            (Product::new("debian", "12"), "debian", "12", true),
            (Product::new("debian", "1"), "debian", "12", false),
            (Product::new("almalinux", "8"), "almalinux", "8.10", true),
            (Product::new("almalinux", "8"), "almalinux", "80", false),
            (Product::new("almalinux", "8"), "ol", "8.10", false),
            (Product::new("debian", "12"), "debian", "", false),
        ] {
            assert_eq!(product.matches(&host(os, version)), want, "{product:?} {os} {version}");
        }
    }
}

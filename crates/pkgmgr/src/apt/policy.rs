//! `apt-cache policy`: which archive offers which version. Without names it lists the archives (apt 2.6):
//!
//! ```text
//! Package files:
//!  100 /var/lib/dpkg/status
//!      release a=now
//!  500 http://mirror/debian-security bookworm-security/main amd64 Packages
//!      release v=12,o=Debian,a=stable-security,n=bookworm-security,l=Debian-Security,c=main,b=amd64
//!      origin mirror
//! Pinned packages:
//! ```
//!
//! With names, the versions of each package; `(phased 10%)` may follow the priority:
//!
//! ```text
//! openssl:
//!   Installed: 3.0.15-1~deb12u1
//!   Candidate: 3.0.16-1~deb12u1
//!   Version table:
//!      3.0.16-1~deb12u1 500
//!         500 http://mirror/debian bookworm/main amd64 Packages
//!  *** 3.0.15-1~deb12u1 100
//!         100 /var/lib/dpkg/status
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::exec::QUERY_TIME_LIMIT;
use crate::run::CommandSpec;

/// Names on one command line: 1000 × ~60 bytes stays far below the system's argument limit.
pub(crate) const NAMES_PER_COMMAND: usize = 1000;

/// The archives whose updates count as security updates, by the words that `apt-cache policy NAME` prints for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SecurityArchives(BTreeSet<String>);

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub version: String,
    /// `10%` when it is being phased in.
    pub phased: Option<String>,
    /// `http://mirror/debian bookworm/main amd64 Packages`.
    pub archives: Vec<String>,
}

/// Versions by package: the key is the printed one, `name` or `name:arch` for a foreign architecture.
pub(crate) type Table = BTreeMap<String, Vec<Version>>;

impl SecurityArchives {
    /// Does one of these archives publish security updates?
    pub(crate) fn any(&self, archives: &[String]) -> bool {
        archives.iter().any(|a| self.0.contains(a))
    }
}

/// Lists the archives.
pub(crate) fn archives_spec() -> CommandSpec {
    CommandSpec::new("apt-cache", "apt-cache policy", QUERY_TIME_LIMIT).args(["policy"])
}

/// Lists the versions of these packages.
pub(crate) fn names_spec(names: &[String]) -> CommandSpec {
    archives_spec().args(["--"]).args(names.iter().cloned())
}

/// Reads the archives.
pub(crate) fn parse_archives(text: &str) -> SecurityArchives {
    let mut security = BTreeSet::new();
    let mut current = "";
    for line in text.lines() {
        let line = line.trim();
        if line == "Pinned packages:" {
            break;
        }
        if let Some(release) = line.strip_prefix("release ") {
            if is_security(release) {
                security.insert(current.to_owned());
            }
        } else if let Some((priority, archive)) = line.split_once(' ')
            && priority.parse::<i32>().is_ok()
        {
            current = archive;
        }
    }
    SecurityArchives(security)
}

/// Origin or label ends in `Security`, suite or codename in `-security` (`jammy-security`, `stable-security`) or is of
/// the older form `buster/updates`.
fn is_security(release: &str) -> bool {
    release.split(',').filter_map(|part| part.split_once('=')).any(|(key, value)| {
        let value = value.to_ascii_lowercase();
        match key {
            "o" | "l" => value.ends_with("security"),
            "a" | "n" => value.ends_with("-security") || value.ends_with("/updates"),
            _ => false,
        }
    })
}

/// Reads the versions.
pub(crate) fn parse_names(text: &str) -> Table {
    let mut table = Table::new();
    let mut key = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start_matches([' ', '*']).len();
        let words = line.trim_start_matches([' ', '*']);
        let versions = table.entry(key.clone()).or_default();
        match indent {
            0 => key = words.trim_end().trim_end_matches(':').to_owned(),
            5 => {
                let Some((version, rest)) = words.split_once(' ') else { continue };
                let phased = rest.split_once("(phased ").map(|(_, p)| p.trim_end_matches(')').to_owned());
                versions.push(Version { version: version.to_owned(), phased, archives: Vec::new() });
            }
            // A priority of four digits moves the line by one.
            6..=9 => {
                if let (Some((_, archive)), Some(version)) = (words.split_once(' '), versions.last_mut()) {
                    version.archives.push(archive.to_owned());
                }
            }
            _ => {}
        }
    }
    table.retain(|_, versions| !versions.is_empty());
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_archives_are_known_by_origin_label_suite_or_codename() {
        for (release, want) in [
            ("v=12,o=Debian,a=stable-security,n=bookworm-security,l=Debian-Security,c=main,b=amd64", true),
            ("v=22.04,o=Ubuntu,a=jammy-security,n=jammy,l=Ubuntu,c=main,b=amd64", true),
            ("o=UbuntuESM,a=jammy-infra-security,n=jammy,l=UbuntuESM", true),
            ("o=Vendor Security,a=stable,n=stable", true),
            ("v=10,o=Debian,a=oldstable,n=buster/updates,l=Debian", true),
            ("v=12.10,o=Debian,a=stable,n=bookworm,l=Debian,c=main,b=amd64", false),
            ("v=22.04,o=Ubuntu,a=jammy-updates,n=jammy,l=Ubuntu,c=main,b=amd64", false),
        ] {
            assert_eq!(is_security(release), want, "{release}");
        }
    }

    #[test]
    fn versions_carry_their_archives_and_phasing() {
        let text = "openssl:\n  Installed: 3.0.15-1\n  Candidate: 3.0.16-1\n  Version table:\n     3.0.16-1 500 (phased 10%)\n\
            \x20       500 http://m/debian bookworm/main amd64 Packages\n\x20       990 http://s/sec bookworm-security/main amd64 Packages\n\
            \x20*** 3.0.15-1 100\n        100 /var/lib/dpkg/status\nlibc6:i386:\n  Installed: (none)\n  Candidate: 2\n  Version table:\n     2 500\n\
            \x20       500 http://m/debian bookworm/main i386 Packages\n";
        let table = parse_names(text);
        assert_eq!(table.keys().collect::<Vec<_>>(), ["libc6:i386", "openssl"]);
        let openssl = &table["openssl"];
        assert_eq!(openssl.len(), 2);
        assert_eq!(openssl[0].phased.as_deref(), Some("10%"));
        assert_eq!(
            openssl[0].archives,
            ["http://m/debian bookworm/main amd64 Packages", "http://s/sec bookworm-security/main amd64 Packages"]
        );
        let archives = parse_archives(
            "Package files:\n 990 http://s/sec bookworm-security/main amd64 Packages\n     release o=Debian,n=bookworm-security\n",
        );
        assert!(archives.any(&openssl[0].archives) && !archives.any(&openssl[1].archives));
    }
}

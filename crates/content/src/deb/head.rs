//! The files that name an apt publication's indexes: Release, signed in place (InRelease) and beside (Release.gpg). Small,
//! and made anew whenever a pointer moves: apt ignores a Release that is older than the one it has, so a roll back needs
//! the date of the move.
//!
//! Absent: `Valid-Until` (a server that is down for a week must not stop its hosts from installing), MD5 and SHA-1 sums.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::publish::{deb_info, dist};
use crate::error::ContentResult;
use crate::head::{Head, Publication};
use crate::openpgp::{self, RepositoryKey};
use crate::snapshot::{DebInfo, SnapshotDoc};

/// The signed head of a publication, dated `at`.
///
/// # Errors
/// When signing fails, for example because there is no key.
pub fn head(publication: &Publication, doc: &SnapshotDoc, at: Timestamp, keys: &[RepositoryKey]) -> ContentResult<Head> {
    let info = deb_info(doc)?;
    let release = release(publication, doc, info, at);
    let inline = openpgp::clearsign(keys, &release, at)?;
    let beside = openpgp::sign_detached(keys, release.as_bytes(), at)?;
    let dist = dist(info);
    let file = |name: &str| format!("dists/{dist}/{name}");
    let files = BTreeMap::from([
        (file("InRelease"), inline.into_bytes()),
        (file("Release"), release.into_bytes()),
        (file("Release.gpg"), beside.into_bytes()),
    ]);
    Ok(Head { files })
}

/// The text of Release.
fn release(publication: &Publication, doc: &SnapshotDoc, info: &DebInfo, at: Timestamp) -> String {
    let dist = dist(info);
    let (components, architectures) = words(doc, info);
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}: {value}");
        }
    };
    let (suite, codename) = names(info, dist);
    field("Origin", &info.origin);
    field("Label", &info.label);
    field("Suite", suite);
    field("Codename", codename);
    field("Date", &date(at));
    for (name, value) in &info.fields {
        field(name, value);
    }
    field("Acquire-By-Hash", "yes");
    if !architectures.contains("all") {
        field("No-Support-for-Architecture-all", "Packages");
    }
    field("Architectures", &joined(&architectures));
    field("Components", &joined(&components));
    text.push_str("SHA256:\n");
    let below = format!("dists/{dist}/");
    for file in &publication.files {
        let path = file.path.strip_prefix(&below).unwrap_or(&file.path);
        let _ = writeln!(text, " {} {} {path}", file.sha256, file.size);
        if let (Some(sha256), Some(size)) = (&file.raw_sha256, file.raw_size) {
            let _ = writeln!(text, " {sha256} {size} {}", path.strip_suffix(".gz").unwrap_or(path));
        }
    }
    text
}

/// `Suite` and `Codename` as hosts read them in what is published.
pub(crate) fn released_names(info: &DebInfo) -> (&str, &str) {
    names(info, dist(info))
}

/// `Suite` and `Codename`. One of them is the directory's name, or apt warns of a conflicting distribution.
fn names<'a>(info: &'a DebInfo, dist: &'a str) -> (&'a str, &'a str) {
    let plain = dist.strip_suffix("/updates").unwrap_or(dist);
    let named = [info.suite.as_str(), &info.codename].iter().any(|name| *name == dist || *name == plain);
    match (named, info.suite.as_str()) {
        (true, suite) => (suite, &info.codename),
        (false, "") => (dist, &info.codename),
        (false, suite) => (suite, dist),
    }
}

/// Components and architectures that there are indexes for, and those the source was made for.
fn words<'a>(doc: &'a SnapshotDoc, info: &'a DebInfo) -> (BTreeSet<&'a str>, BTreeSet<&'a str>) {
    let mut components: BTreeSet<&str> = info.components.iter().map(String::as_str).collect();
    let mut architectures = BTreeSet::new();
    for (component, arch) in doc.packages.keys().filter_map(|index| index.rsplit_once('/')) {
        components.insert(component);
        architectures.insert(arch);
    }
    (components, architectures)
}

fn joined(words: &BTreeSet<&str>) -> String {
    words.iter().copied().collect::<Vec<_>>().join(" ")
}

/// `Sat, 11 Jul 2026 10:16:37 UTC`.
pub(crate) fn date(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deb::release::parse_date;

    #[test]
    fn dates_are_read_back() {
        for text in ["2026-07-01T00:16:37Z", "2026-12-31T23:59:59Z"] {
            let at: Timestamp = text.parse().unwrap();
            assert_eq!(parse_date(&date(at)), Some(at));
        }
        assert_eq!(date("2026-07-01T00:06:07Z".parse().unwrap()), "Wed, 01 Jul 2026 00:06:07 UTC");
    }
}

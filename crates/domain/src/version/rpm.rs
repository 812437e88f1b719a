//! rpm versions: `[epoch:]version[-release]`, compared as rpm 4.18 does (`~` sorts before everything, `^` after the end
//! but before more). Comparison of segments is the `rpm-version` crate's; refusal of bad input is ours.

use std::cmp::Ordering;

use super::{BadVersion, VERSION_MAX_BYTES};

/// A version that was read.
#[derive(Debug, Clone, Copy)]
pub struct RpmVersion<'a> {
    epoch: u32,
    version: &'a str,
    /// Absent = compares equal to every release, as in rpm's dependencies.
    release: Option<&'a str>,
}

/// Reads `[epoch:]version[-release]`.
pub fn parse(text: &str) -> Result<RpmVersion<'_>, BadVersion> {
    if text.len() > VERSION_MAX_BYTES {
        return Err(BadVersion::new(text, "it is longer than 200 bytes"));
    }
    if let Some(bad) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(BadVersion::new(text, if bad.is_control() { "it holds a control character" } else { "it holds a space" }));
    }
    let (epoch, rest) = match text.split_once(':') {
        Some((e, rest)) => (e.parse::<u32>().map_err(|_| BadVersion::new(text, "its epoch is not a number"))?, rest),
        None => (0, text),
    };
    let (version, release) = match rest.rsplit_once('-') {
        Some((v, r)) => (v, Some(r)),
        None => (rest, None),
    };
    if version.is_empty() {
        return Err(BadVersion::new(text, "it has no version part"));
    }
    if release.is_some_and(str::is_empty) {
        return Err(BadVersion::new(text, "its release is empty"));
    }
    Ok(RpmVersion { epoch, version, release })
}

impl<'a> RpmVersion<'a> {
    /// Epoch; 0 when none is written.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The version part.
    pub fn version(&self) -> &'a str {
        self.version
    }

    /// The release part; absent in most dependencies.
    pub fn release(&self) -> Option<&'a str> {
        self.release
    }
}

impl Ord for RpmVersion<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // A missing release sorts first: a total order, unlike rpm's "any release" of dependencies.
        self.epoch.cmp(&other.epoch).then_with(|| segments(self.version, other.version)).then_with(|| {
            match (self.release, other.release) {
                (Some(a), Some(b)) => segments(a, b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            }
        })
    }
}

impl PartialOrd for RpmVersion<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for RpmVersion<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for RpmVersion<'_> {}

/// rpmvercmp(3): one version or release string.
pub fn segments(a: &str, b: &str) -> Ordering {
    rpm_version::Evr::new("", a, "").cmp(&rpm_version::Evr::new("", b, ""))
}

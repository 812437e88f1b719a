//! Entry points of fuzzing: hostile bytes through a format's parsers. They must end, keep within their limits, and say
//! yes or no; what they say is judged by the parsers' own tests.

/// Everything of apt that is parsed: a Release, an index, a control file, a package.
#[doc(hidden)]
pub fn deb(input: &[u8]) {
    crate::deb::fuzz(input);
}

/// Everything of yum that is parsed: repomd.xml, primary, filelists, other, updateinfo, modules, the headers of a package.
#[doc(hidden)]
pub fn rpm(input: &[u8]) {
    crate::rpm::fuzz(input);
}

/// The elements that would be published of a yum metadata file; what was accepted in front of a refusal is there, too.
#[doc(hidden)]
pub fn rpm_accepted(input: &[u8]) -> Vec<String> {
    crate::rpm::fuzz_accepted(input)
}

/// Everything of feeds of advisories: JSON in all its forms, lists, CSV, updateinfo, archives of them.
#[doc(hidden)]
pub fn feeds(input: &[u8]) {
    crate::feeds::fuzz(input);
}

/// What upstreams say before any format is looked at: lists of mirrors, paths, compressed files, keys, signed texts and
/// signatures.
#[doc(hidden)]
pub fn upstream(input: &[u8]) {
    crate::fetch::fuzz(input);
    crate::openpgp::fuzz(input);
    crate::decompress::fuzz(input);
}

//! Entry points of fuzzing: hostile bytes through a format's parsers. They must end, keep within their limits, and say
//! yes or no; what they say is judged by the parsers' own tests.

/// Everything of apt that is parsed: a Release, an index, a control file, a package.
#[doc(hidden)]
pub fn deb(input: &[u8]) {
    crate::deb::fuzz(input);
}

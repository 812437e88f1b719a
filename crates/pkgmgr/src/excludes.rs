//! A job's exclude patterns, ready to match, each with the text the operator wrote.

use drydock_domain::patch::pattern::{Matcher, Pattern};

use crate::error::PkgError;

/// Excludes ready to match.
#[derive(Debug, Default)]
pub(crate) struct Excludes(Vec<(String, Matcher)>);

impl Excludes {
    /// Compiles a job's patterns; they were checked at submission.
    pub(crate) fn new(patterns: &[Pattern]) -> Result<Self, PkgError> {
        let compiled = patterns.iter().map(|p| match p.compile() {
            Ok(matcher) => Ok((p.0.clone(), matcher)),
            Err(e) => Err(PkgError::BadPattern { details: format!("{:?} {e}", p.0) }),
        });
        compiled.collect::<Result<_, _>>().map(Excludes)
    }

    /// The pattern that matches.
    pub(crate) fn matching(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(_, matcher)| matcher.matches(name)).map(|(text, _)| text.as_str())
    }
}

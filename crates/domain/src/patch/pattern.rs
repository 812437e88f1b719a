//! Package patterns of excludes: an exact name, a glob (`kernel*`, `lib?ssl`) or `/regex/` matched unanchored, as
//! Google's agent does. Globs are ours: its users write them and are silently ignored. Validated at submission.

use serde::{Deserialize, Serialize};

use crate::limits::{PATTERN_MAX_BYTES, REGEX_SIZE_MAX_BYTES};

/// A pattern as written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Pattern(pub String);

/// A pattern that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadPattern {
    /// Nothing to match.
    #[error("is empty")]
    Empty,
    /// Longer than any sensible pattern.
    #[error("is longer than {PATTERN_MAX_BYTES} bytes")]
    TooLong,
    /// Not a regular expression.
    #[error("is not a valid regular expression: {0}")]
    Regex(String),
    /// Characters no package name has: probably a typing error.
    #[error("holds {0:?}, which no package name has; use a name, a glob with * and ?, or /regex/")]
    Character(char),
}

/// A pattern ready to match.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// Equal.
    Exact(String),
    /// Glob over the whole name.
    Glob(String),
    /// Found anywhere in the name.
    Regex(regex_lite::Regex),
}

impl Pattern {
    /// Reads the pattern. `/…/` with at least two characters is a regex, `*` or `?` make a glob, anything else is a name.
    pub fn compile(&self) -> Result<Matcher, BadPattern> {
        let text = self.0.as_str();
        if text.is_empty() {
            return Err(BadPattern::Empty);
        }
        if text.len() > PATTERN_MAX_BYTES {
            return Err(BadPattern::TooLong);
        }
        if let Some(body) = text.strip_prefix('/').and_then(|t| t.strip_suffix('/')) {
            return regex_lite::RegexBuilder::new(body)
                .size_limit(REGEX_SIZE_MAX_BYTES)
                .build()
                .map(Matcher::Regex)
                .map_err(|e| BadPattern::Regex(e.to_string()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".+-_:~^@*?".contains(c);
        match text.chars().find(|c| !allowed(*c)) {
            Some(c) => Err(BadPattern::Character(c)),
            None if text.contains(['*', '?']) => Ok(Matcher::Glob(text.to_owned())),
            None => Ok(Matcher::Exact(text.to_owned())),
        }
    }
}

impl Matcher {
    /// Does `name` match?
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Matcher::Exact(own) => own == name,
            Matcher::Glob(glob) => glob_matches(glob.as_bytes(), name.as_bytes()),
            Matcher::Regex(regex) => regex.is_match(name),
        }
    }
}

/// The patterns of one list, ready to match. Patterns that do not compile were refused at submission; here they match
/// nothing, and `compile` reports them.
pub fn compile_all(patterns: &[Pattern]) -> Result<Vec<Matcher>, BadPattern> {
    patterns.iter().map(Pattern::compile).collect()
}

/// Glob match without backtracking beyond the last star: O(n·m) at worst.
fn glob_matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut g, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if g < glob.len() && (glob[g] == b'?' || glob[g] == name[n]) && glob[g] != b'*' {
            g += 1;
            n += 1;
        } else if g < glob.len() && glob[g] == b'*' {
            star = Some((g, n));
            g += 1;
        } else if let Some((star_g, star_n)) = star {
            g = star_g + 1;
            n = star_n + 1;
            star = Some((star_g, n));
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_globs_and_regexes() {
        let cases = [
            ("kernel", "kernel", true),
            ("kernel", "kernel-core", false),
            ("kernel*", "kernel-core", true),
            ("*ssl*", "libssl3", true),
            ("lib?sl", "libssl", true),
            ("lib?sl", "libsl", false),
            ("*", "x", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("/^kernel/", "kernel-core", true),
            ("/ernel/", "kernel", true),
            ("/^ernel/", "kernel", false),
            ("//", "anything", true),
        ];
        for (pattern, name, want) in cases {
            let got = Pattern(pattern.into()).compile().expect("valid").matches(name);
            assert_eq!(got, want, "{pattern} on {name}");
        }
    }

    #[test]
    fn bad_patterns_say_why() {
        for (pattern, want) in
            [("", "is empty"), ("/(/", "regular expression"), ("a b", "no package name has"), ("--all;", "no package name has")]
        {
            let err = Pattern(pattern.into()).compile().expect_err(pattern);
            assert!(err.to_string().contains(want), "{err}");
        }
        assert!(Pattern("/(a{1000}){1000}/".into()).compile().is_err());
    }
}

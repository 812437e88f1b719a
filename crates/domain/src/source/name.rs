//! Names of sources, environments and groups. They become parts of URLs, of file names and of repository ids on hosts,
//! so one narrow form fits all of them: `[a-z0-9][a-z0-9._-]{0,62}`, without `..`.

use crate::validate::Problems;

/// Longest name, bytes: a label of a URL and of a repository id.
pub const NAME_MAX_BYTES: usize = 63;
/// The view that shows the newest snapshot of every source; no environment has this name.
pub const LATEST: &str = "latest";
/// Names that would collide with parts of a content URL or read like one.
const RESERVED: [&str; 3] = [LATEST, "snapshot", "none"];

/// Notes what is wrong with a name.
pub fn check_name(field: &str, name: &str, problems: &mut Problems) {
    let first_ok = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let rest_ok = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
    if !first_ok || !rest_ok || name.len() > NAME_MAX_BYTES || name.contains("..") {
        problems.add(
            field,
            format!("is 1 to {NAME_MAX_BYTES} of a-z, 0-9, `.`, `_` and `-`, beginning with a letter or digit, without `..`"),
        );
    } else if RESERVED.contains(&name) {
        problems.add(field, format!("{name} is reserved; choose another name"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_plain_word() {
        let fine = |name: &str| {
            let mut problems = Problems::default();
            check_name("name", name, &mut problems);
            problems.finish().is_ok()
        };
        for good in ["a", "0", "ol9-base", "ol9_base", "bookworm.main", &"x".repeat(NAME_MAX_BYTES)] {
            assert!(fine(good), "{good}");
        }
        for bad in ["", "A", "-a", ".a", "_a", "a b", "a/b", "a..b", "é", "a\n", "latest", "none", "snapshot", &"x".repeat(64)] {
            assert!(!fine(bad), "{bad}");
        }
    }
}

//! Values of a document that become lines of repository files. The server has checked them; they are checked again
//! here, because one line too many in such a file could name another repository.

use drydock_domain::source::host::HostSource;

/// Longest path of a source below the server, bytes.
const PATH_MAX_BYTES: usize = 300;
/// Longest name for people, characters.
const DISPLAY_MAX_CHARS: usize = 200;
/// Longest suite, component or architecture, bytes: as long as the server takes.
const WORD_MAX_BYTES: usize = 128;
/// Components or architectures of one source, count.
const WORDS_MAX: usize = 100;
/// Keys of one source, count.
pub const KEYS_MAX: usize = 32;
/// One armoured key, bytes.
const KEY_MAX_BYTES: usize = 256 * 1024;
/// Lowest and highest priority that rpm's managers know.
const PRIORITIES: std::ops::RangeInclusive<u32> = 1..=32_767;

/// What of a source cannot be written to a file.
pub fn problem(source: &HostSource) -> Option<String> {
    if !is_name(&source.name) {
        return Some("its name is not of the form [a-z0-9][a-z0-9._-]{0,62}".to_owned());
    }
    if !is_path(&source.path) {
        return Some(format!("its path {:?} is not of the form /content/…/", cut(&source.path)));
    }
    let words = [
        ("suite", std::slice::from_ref(&source.suite)),
        ("component", &source.components),
        ("architecture", &source.architectures),
    ];
    for (what, words) in words {
        if words.len() > WORDS_MAX {
            return Some(format!("it has more than {WORDS_MAX} {what}s"));
        }
        if let Some(bad) = words.iter().find(|w| !w.is_empty() && !is_word(w)) {
            return Some(format!("{:?} is no {what}", cut(bad)));
        }
    }
    if source.priority.is_some_and(|p| !PRIORITIES.contains(&p)) {
        return Some(format!("its priority is not in {}..={}", PRIORITIES.start(), PRIORITIES.end()));
    }
    if source.keys.len() > KEYS_MAX || !source.keys.iter().all(|k| is_key(k)) {
        return Some("its keys are not ASCII-armoured OpenPGP public keys".to_owned());
    }
    None
}

/// The domain's form of a source name.
fn is_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|b| letter(b) || matches!(b, b'.' | b'_' | b'-'))
        && !name.contains("..")
}

fn is_path(path: &str) -> bool {
    path.len() <= PATH_MAX_BYTES
        && path.starts_with("/content/")
        && path.ends_with('/')
        && !path.contains("//")
        && !path.contains("..")
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-'))
}

/// What the server takes as a suite, component or architecture.
fn is_word(word: &str) -> bool {
    word.len() <= WORD_MAX_BYTES
        && word.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !word.ends_with('/')
        && !word.contains("..")
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-' | b'+' | b'~'))
}

/// An ASCII-armoured public key and nothing that a line-based file could take for something else.
pub fn is_key(key: &str) -> bool {
    let text = key.trim();
    text.len() <= KEY_MAX_BYTES
        && text.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----")
        && text.ends_with("-----END PGP PUBLIC KEY BLOCK-----")
        && text.bytes().all(|b| matches!(b, b'\n' | b'\r' | b' '..=b'~'))
}

/// A name for people in one line; what would end the line or look like a variable is left out.
pub fn display(source: &HostSource) -> String {
    let shown: String = source.display_name.chars().filter(|c| !c.is_control() && *c != '$').take(DISPLAY_MAX_CHARS).collect();
    let shown = shown.trim();
    if shown.is_empty() { source.name.clone() } else { shown.to_owned() }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> HostSource {
        serde_json::from_value(serde_json::json!({
            "name": "ol9-base", "displayName": "Oracle", "format": "rpm", "path": "/content/prod/ol9-base/", "gpgcheck": true
        }))
        .expect("a source")
    }

    #[test]
    fn what_could_add_a_line_or_another_place_is_refused() {
        assert_eq!(problem(&source()), None);
        let bad: [fn(&mut HostSource); 10] = [
            |s| s.name = "a\n[evil]".into(),
            |s| s.name = "../x".into(),
            |s| s.path = "/content/x/\nbaseurl=http://evil/".into(),
            |s| s.path = "/content/../api/".into(),
            |s| s.path = "//evil/content/".into(),
            |s| s.suite = "stable\nURIs: http://evil".into(),
            |s| s.suite = "./".into(),
            |s| s.components = vec!["main evil".into()],
            |s| s.priority = Some(0),
            |s| s.keys = vec!["-----BEGIN PGP PRIVATE KEY BLOCK-----".into()],
        ];
        for change in bad {
            let mut source = source();
            change(&mut source);
            assert!(problem(&source).is_some(), "{source:?}");
        }
    }

    #[test]
    fn words_that_the_server_takes_are_written() {
        let mut source = source();
        source.suite = "_rc~1/updates".into();
        source.components = vec!["main+x".into(), "c".repeat(128)];
        assert_eq!(problem(&source), None);
        source.components = vec!["c".repeat(129)];
        assert!(problem(&source).is_some());
    }

    #[test]
    fn a_name_for_people_stays_in_its_line() {
        let mut source = source();
        source.display_name = "a\nenabled=0 $releasever\u{7}".into();
        assert_eq!(display(&source), "aenabled=0 releasever");
        source.display_name = "\n".into();
        assert_eq!(display(&source), "ol9-base");
    }
}

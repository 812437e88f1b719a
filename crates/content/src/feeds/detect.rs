//! Which kind of feed a file is, from its first bytes: keys of the outermost levels for JSON, the root for XML, the first
//! lines for texts. Names of files are not looked at.

use super::FeedKind;
use super::input::Archive;

/// Levels of JSON whose keys are looked at.
const LEVELS: usize = 3;
/// Keys that are collected at most, count.
const KEYS_MAX: usize = 2_000;
/// Longest key that is collected, bytes.
const KEY_MAX_BYTES: usize = 128;

/// The kind of a feed by its first uncompressed bytes (up to [`super::DETECT_BYTES`]); `None` = not known. An archive is of
/// no kind: its members are.
pub fn detect(first: &[u8]) -> Option<FeedKind> {
    if Archive::of_magic(first) != Archive::None {
        return None;
    }
    let first = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first);
    let first = first.trim_ascii_start();
    match first.first()? {
        b'{' => of_keys(&keys(first)),
        b'[' if is_list_of_dates(first) => Some(FeedKind::DebianList),
        b'[' => of_keys(&keys(first)),
        b'<' => first.windows(8).any(|w| w == b"<updates").then_some(FeedKind::Updateinfo),
        b'#' | b'c' | b'C' => is_predictions(first).then_some(FeedKind::Epss),
        _ => None,
    }
}

/// A key with its level: 1 = of the document, or of a document in the array.
type Key = (usize, String);

fn of_keys(keys: &[Key]) -> Option<FeedKind> {
    let has = |level: usize, name: &str| keys.iter().any(|(l, key)| *l == level && key == name);
    if has(1, "document") && (has(2, "csaf_version") || has(1, "product_tree") || has(2, "tracking")) {
        return Some(FeedKind::Csaf);
    }
    if has(2, "cveID") || (has(1, "catalogVersion") && has(1, "vulnerabilities")) {
        return Some(FeedKind::Kev);
    }
    let usn_number = |(level, key): &Key| {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        *level == 1 && key.strip_prefix("USN-").unwrap_or(key).split_once('-').is_some_and(|(a, b)| digits(a) && digits(b))
    };
    if has(1, "notices") || has(1, "release_packages") || keys.iter().any(usn_number) {
        return Some(FeedKind::UbuntuUsn);
    }
    if has(1, "affected") || has(1, "schema_version") || (has(1, "id") && has(1, "modified")) {
        return Some(FeedKind::Osv);
    }
    let about_cve = |(level, key): &Key| *level == 2 && (key.starts_with("CVE-") || key.starts_with("TEMP-"));
    (keys.iter().any(about_cve) && has(3, "releases")).then_some(FeedKind::DebianTracker)
}

/// The keys of the outer levels, as far as the bytes reach. Nothing is refused.
fn keys(text: &[u8]) -> Vec<Key> {
    let mut found = Vec::new();
    // `true` = object. Arrays are no level.
    let mut open: Vec<bool> = Vec::new();
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'{' | b'[' if open.len() < 256 => open.push(*byte == b'{'),
            b'}' | b']' => {
                open.pop();
            }
            b'"' => {
                let end = string_end(rest);
                let (string, after) = rest.split_at(end);
                rest = after.get(1..).unwrap_or_default();
                let level = open.iter().filter(|object| **object).count();
                let key = open.last() == Some(&true) && rest.trim_ascii_start().first() == Some(&b':');
                if key && level <= LEVELS && string.len() <= KEY_MAX_BYTES && found.len() < KEYS_MAX {
                    found.push((level, String::from_utf8_lossy(string).into_owned()));
                }
            }
            _ => {}
        }
    }
    found
}

fn string_end(text: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'\\' if !escaped => escaped = true,
            b'"' if !escaped => return at,
            _ => escaped = false,
        }
    }
    text.len()
}

/// `[21 Nov 2026] DSA-…`
fn is_list_of_dates(text: &[u8]) -> bool {
    let line = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    ["] DSA-", "] DLA-", "] DTSA-", "] ELA-"].iter().any(|mark| line.contains(mark))
}

fn is_predictions(text: &[u8]) -> bool {
    let mut lines = text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let header = lines.find(|line| !line.starts_with(b"#")).unwrap_or_default();
    let names: Vec<&[u8]> = header.split(|b| *b == b',').map(<[u8]>::trim_ascii).collect();
    [&b"cve"[..], b"epss", b"percentile"].iter().all(|name| names.contains(name))
}

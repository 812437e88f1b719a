//! Words of feeds brought into our form: texts cut and cleaned, ids, CVE ids, package names, versions, dates, percent
//! encoding. Nothing here fails loudly; what cannot be used is `None` and its reader reports it.

use drydock_domain::advisory::{CVES_MAX, DESCRIPTION_MAX_BYTES, ID_MAX_BYTES, TITLE_MAX_BYTES};
use drydock_domain::version::{BadVersion, Scheme, deb, rpm};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// Longest package name, bytes. rpm and dpkg name files after them, and those end at 255.
const NAME_MAX_BYTES: usize = 255;
/// Longest name of an architecture, module or stream, bytes.
const WORD_MAX_BYTES: usize = 128;
/// Longest address of a reference, bytes; longer ones are left away.
const URL_MAX_BYTES: usize = 2048;
/// Longest word of a vendor for a severity, bytes.
const VENDOR_WORD_MAX_BYTES: usize = 64;

/// At most `max` bytes of it, without control characters (databases and terminals dislike them); line feeds stay.
fn clean(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.trim().chars().filter(|c| !c.is_control() || *c == '\n') {
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    out
}

/// A title: one line.
pub(super) fn title(text: &str) -> String {
    clean(&text.split_whitespace().take(TITLE_MAX_BYTES).collect::<Vec<_>>().join(" "), TITLE_MAX_BYTES)
}

/// A description.
pub(super) fn description(text: &str) -> String {
    clean(text, DESCRIPTION_MAX_BYTES)
}

/// A vendor's word for a severity.
pub(super) fn vendor_word(text: &str) -> String {
    clean(text, VENDOR_WORD_MAX_BYTES)
}

/// One line of a statement: why.
pub(super) fn justification(text: &str) -> String {
    title(text)
}

fn word(text: &str, max: usize) -> Option<&str> {
    let text = text.trim();
    let good = !text.is_empty() && text.len() <= max && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    good.then_some(text)
}

/// The id of an advisory or vulnerability.
pub(super) fn id(text: &str) -> Option<String> {
    word(text, ID_MAX_BYTES).map(str::to_owned)
}

/// The name of a package.
pub(super) fn name(text: &str) -> Option<String> {
    word(text, NAME_MAX_BYTES).filter(|name| !name.contains(['/', ':'])).map(str::to_owned)
}

/// An architecture, a module, a stream.
pub(super) fn short(text: &str) -> Option<String> {
    word(text, WORD_MAX_BYTES).map(str::to_owned)
}

/// An address, or nothing.
pub(super) fn url(text: &str) -> String {
    word(text, URL_MAX_BYTES).unwrap_or_default().to_owned()
}

/// `CVE-2026-1234` in any case.
pub(super) fn cve(text: &str) -> Option<String> {
    let text = text.trim();
    let (head, rest) = text.split_at_checked(4)?;
    let (year, number) = rest.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let good = head.eq_ignore_ascii_case("CVE-") && year.len() == 4 && digits(year) && digits(number);
    (good && (4..=19).contains(&number.len())).then(|| format!("CVE-{year}-{number}"))
}

/// The CVE ids among these, sorted, each once; [`CVES_MAX`] at most.
pub(super) fn cves<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut found: Vec<String> = texts.filter_map(cve).collect();
    found.sort_unstable();
    found.dedup();
    found.truncate(CVES_MAX);
    found
}

/// A version in the form of [`drydock_domain::inventory::Package`].
pub(super) fn version(scheme: Scheme, text: &str) -> Result<String, BadVersion> {
    let text = text.trim();
    match scheme {
        Scheme::Rpm => {
            let text = ["0:", "(none):"].into_iter().find_map(|zero| text.strip_prefix(zero)).unwrap_or(text);
            rpm::parse(text).map(|_| text.to_owned())
        }
        Scheme::Deb => deb::parse(text).map(|_| text.to_owned()),
    }
}

/// Orders two versions that [`version`] accepted.
pub(super) fn later(scheme: Scheme, a: &str, b: &str) -> bool {
    drydock_domain::version::compare(scheme, a, b).is_ok_and(std::cmp::Ordering::is_gt)
}

/// Is the package built as a part of a module? Builders write it into the release: `….module+el8…`, `….module_el8…`.
pub(super) fn is_modular(version: &str) -> bool {
    version.contains(".module+") || version.contains(".module_")
}

/// Dates as feeds write them: RFC 3339, the same without zone or time (UTC), a space for the `T`, seconds since 1970.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(seconds) = text.split_once('.').map_or(text, |(whole, _)| whole).parse::<i64>() {
        return Timestamp::from_second(seconds).ok();
    }
    // `+0000` without a colon.
    if let Ok(zoned) = jiff::fmt::strtime::parse("%Y-%m-%dT%H:%M:%S%.f%z", text).and_then(|t| t.to_timestamp()) {
        return Some(zoned);
    }
    let text = text.trim_end_matches("UTC").trim_end();
    let civil = text.parse::<DateTime>().ok().or_else(|| text.parse::<Date>().ok().map(|date| date.at(0, 0, 0, 0)));
    civil.and_then(|civil| civil.to_zoned(TimeZone::UTC).ok()).map(|zoned| zoned.timestamp())
}

/// Resolves `%2B` and the like; what is no UTF-8 afterwards stays as it was.
pub(super) fn percent_decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let digits = [ahead.next(), ahead.next()].map(|b| b.and_then(|b| char::from(b).to_digit(16)));
        match (byte, digits) {
            (b'%', [Some(high), Some(low)]) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                bytes = ahead;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names() {
        assert_eq!(cve(" cve-2026-1234 ").as_deref(), Some("CVE-2026-1234"));
        for bad in ["CVE-2026-123", "CVE-26-1234", "CVE-2026-12x4", "XVE-2026-1234", "CVE-", "", "CVE-2026-é234"] {
            assert_eq!(cve(bad), None, "{bad}");
        }
        assert_eq!(
            cves(["CVE-2026-0002", "x", "CVE-2026-0001", "cve-2026-0002"].into_iter()),
            ["CVE-2026-0001", "CVE-2026-0002"]
        );
        assert_eq!((id("a b"), id(""), id("RHSA-2026:1").as_deref()), (None, None, Some("RHSA-2026:1")));
        assert_eq!((name("a/b"), name("libstdc++6").as_deref()), (None, Some("libstdc++6")));
        assert_eq!(title("  a\n\tb\0 "), "a b");
        assert_eq!(description("é".repeat(20_000).as_str()).len(), DESCRIPTION_MAX_BYTES);
    }

    #[test]
    fn versions_and_encodings() {
        assert_eq!(version(Scheme::Rpm, "0:1.2-3").as_deref(), Ok("1.2-3"));
        assert_eq!(version(Scheme::Rpm, "1:1.2-3").as_deref(), Ok("1:1.2-3"));
        assert!(version(Scheme::Rpm, "1 2").is_err() && version(Scheme::Deb, "<unfixed>").is_err());
        assert!(later(Scheme::Deb, "1.0-2", "1.0-1") && !later(Scheme::Deb, "1.0~rc1", "1.0"));
        assert_eq!(percent_decode("a%2Bb%3a%zz%4"), "a+b:%zz%4");
        assert_eq!(percent_decode("%ff"), "%ff");
    }

    #[test]
    fn dates() {
        for (text, want) in [
            ("2026-01-15T12:00:00Z", Some(1_768_478_400)),
            ("2026-01-15T13:00:00+01:00", Some(1_768_478_400)),
            ("2026-01-15T12:00:00+0000", Some(1_768_478_400)),
            ("2026-01-15T12:00:00.000000", Some(1_768_478_400)),
            ("2026-01-15 12:00:00", Some(1_768_478_400)),
            ("2026-01-15 12:00:00 UTC", Some(1_768_478_400)),
            ("2026-01-15", Some(1_768_435_200)),
            ("1768478400.25", Some(1_768_478_400)),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(time(text).map(Timestamp::as_second), want, "{text}");
        }
    }
}

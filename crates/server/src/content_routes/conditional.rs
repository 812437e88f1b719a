//! Conditional requests (RFC 9110, section 13): what the client has already decides whether it gets the file, a part
//! of it, or "not modified". Dates are compared for equality: a pointer that is rolled back, or a clock that steps
//! back, must not make an older file look like the newer one.

use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, Method};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::range::{self, Wanted};

/// What a representation is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    /// In double quotes.
    pub(super) etag: String,
    /// Whole seconds.
    pub(super) modified: Option<Timestamp>,
}

impl Stamp {
    /// The ETag is the SHA-256 of the bytes.
    pub(super) fn new(sha256: &str, modified: Option<Timestamp>) -> Self {
        let whole = modified.and_then(|at| Timestamp::from_second(at.as_second()).ok());
        Stamp { etag: format!("\"{sha256}\""), modified: whole }
    }

    /// For `Last-Modified`.
    pub(super) fn modified_text(&self) -> Option<String> {
        rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&self.modified?).ok()
    }

    fn was_modified_at(&self, header: &str) -> bool {
        let read = rfc2822::DateTimeParser::new().parse_timestamp(header.trim());
        read.is_ok_and(|at| Some(at) == self.modified)
    }
}

/// What to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// 304.
    NotModified,
    /// 200, or (a part) 206, or (nothing of it) 416.
    Send(Wanted),
}

/// Decides from the request's headers.
pub(super) fn verdict(method: &Method, headers: &HeaderMap, stamp: &Stamp, size: u64) -> Verdict {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    let unchanged = match text(IF_NONE_MATCH) {
        Some(tags) => tags.split(',').map(str::trim).any(|t| t == "*" || t.strip_prefix("W/").unwrap_or(t) == stamp.etag),
        None => text(IF_MODIFIED_SINCE).is_some_and(|date| stamp.was_modified_at(date)),
    };
    if unchanged {
        return Verdict::NotModified;
    }
    let range = text(RANGE).filter(|_| method == Method::GET);
    let same = match text(IF_RANGE) {
        None => true,
        Some(tag) if tag.trim().starts_with('"') => tag.trim() == stamp.etag,
        Some(date) => stamp.was_modified_at(date),
    };
    Verdict::Send(range.filter(|_| same).map_or(Wanted::Whole, |header| range::wanted(header, size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(pairs: &[(&'static str, &str)]) -> Verdict {
        let stamp = Stamp::new("abc", Some("1994-11-06T08:49:37.5Z".parse().expect("a time")));
        assert_eq!(stamp.modified_text().as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        let headers = pairs.iter().map(|(n, v)| (http::HeaderName::from_static(n), v.parse().expect("a value"))).collect();
        verdict(&Method::GET, &headers, &stamp, 100)
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
        let whole = Verdict::Send(Wanted::Whole);
        let part = Verdict::Send(Wanted::Part { first: 5, last: 99 });
        for (headers, expected) in [
            (&[][..], whole),
            (&[("if-none-match", "\"abc\"")], Verdict::NotModified),
            (&[("if-none-match", "\"x\", W/\"abc\"")], Verdict::NotModified),
            (&[("if-none-match", "*")], Verdict::NotModified),
            (&[("if-none-match", "abc")], whole),
            // The tag decides, the date is not asked.
            (&[("if-none-match", "\"x\""), ("if-modified-since", DATE)], whole),
            (&[("if-modified-since", DATE)], Verdict::NotModified),
            // Not "older is fine": a roll back makes an older version the present one.
            (&[("if-modified-since", LATER)], whole),
            (&[("if-modified-since", "yesterday")], whole),
            (&[("range", "bytes=5-")], part),
            (&[("range", "bytes=5-"), ("if-range", "\"abc\"")], part),
            (&[("range", "bytes=5-"), ("if-range", DATE)], part),
            (&[("range", "bytes=5-"), ("if-range", "\"x\"")], whole),
            (&[("range", "bytes=5-"), ("if-range", "W/\"abc\"")], whole),
            (&[("range", "bytes=5-"), ("if-range", LATER)], whole),
            (&[("range", "bytes=100-")], Verdict::Send(Wanted::Nothing)),
            (&[("range", "bytes=5-"), ("if-none-match", "\"abc\"")], Verdict::NotModified),
        ] {
            assert_eq!(decide(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_head_request_asks_for_no_part() {
        let stamp = Stamp::new("abc", None);
        let headers = HeaderMap::from_iter([(RANGE, http::HeaderValue::from_static("bytes=5-"))]);
        assert_eq!(verdict(&Method::HEAD, &headers, &stamp, 100), Verdict::Send(Wanted::Whole));
    }
}

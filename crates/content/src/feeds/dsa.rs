//! `data/DSA/list` and `data/DLA/list` of Debian's security tracker, a text:
//! ```text
//! [21 Nov 2026] DSA-6000-1 openssl - security update
//!     {CVE-2026-1234 CVE-2026-1235}
//!     [bookworm] - openssl 3.0.17-1~deb12u3
//!     NOTE: words for the team
//! ```
//! Each becomes an advisory by source.
//!
//! Absent: notes; packages that a release does not fix (`<unfixed>` and the like: the tracker's JSON says so better).

use std::io::{BufRead, Read as _};

use drydock_domain::advisory::{Advisory, AdvisoryKind, Fix, NameKind};
use drydock_domain::version::Scheme;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::collect::{Out, checked};
use super::product::codename;
use super::{FeedError, Hints, SinkError, text};

/// Longest line, bytes: what is beyond it is passed over.
const LINE_MAX_BYTES: u64 = 64 * 1024;
/// Packages of one advisory, count.
const LINES_MAX: usize = 10_000;

struct Entry {
    advisory: Advisory,
    lines: usize,
}

/// Reads the list.
pub(super) fn read(input: &mut dyn BufRead, hints: &Hints, out: &mut Out<'_>) -> Result<(), FeedError> {
    let mut current: Option<Entry> = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut *input).take(LINE_MAX_BYTES).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.last() != Some(&b'\n') && line.len() as u64 >= LINE_MAX_BYTES {
            skip_line(input)?;
            let place = out.place();
            out.finding(&place, &format!("a line is longer than {LINE_MAX_BYTES} bytes"));
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.starts_with('[') {
            finish(current.take(), out).map_err(FeedError::Sink)?;
            current = header(line, out);
        } else if let Some(entry) = &mut current {
            entry.lines += 1;
            if entry.lines <= LINES_MAX {
                detail(entry, line.trim_start(), hints, out);
            } else {
                out.finding(&entry.advisory.id, &format!("it has more than {LINES_MAX} lines"));
            }
        } else if !line.trim().is_empty() {
            let place = out.place();
            out.finding(&place, "a line belongs to no advisory");
        }
    }
    finish(current, out).map_err(FeedError::Sink)
}

fn skip_line(input: &mut dyn BufRead) -> std::io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let found = memchr::memchr(b'\n', buffer);
        let count = found.map_or(buffer.len(), |at| at + 1);
        input.consume(count);
        if found.is_some() {
            return Ok(());
        }
    }
}

fn finish(entry: Option<Entry>, out: &mut Out<'_>) -> Result<(), SinkError> {
    match entry {
        Some(entry) if entry.advisory.fixes.is_empty() => {
            out.finding(&entry.advisory.id, "nothing in it is for a system known here");
            Ok(())
        }
        Some(entry) => out.advisory(entry.advisory),
        None => Ok(()),
    }
}

/// `[21 Nov 2026] DSA-6000-1 openssl - security update`
fn header(line: &str, out: &mut Out<'_>) -> Option<Entry> {
    out.entry();
    let place = out.place();
    let (date, rest) = line.strip_prefix('[')?.split_once(']').unwrap_or_default();
    let (id, title) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
    let known = ["DSA-", "DLA-", "DTSA-", "ELA-"].into_iter().any(|prefix| id.starts_with(prefix));
    let Some(id) = text::id(id).filter(|_| known) else {
        out.finding(&place, "its first line holds no number of an advisory");
        return None;
    };
    let issued = date_of(date);
    if issued.is_none() {
        out.finding(&id, "its date is none");
    }
    let advisory =
        Advisory { id, kind: AdvisoryKind::Security, title: text::title(title), issued, updated: issued, ..Advisory::default() };
    Some(Entry { advisory, lines: 0 })
}

fn date_of(text: &str) -> Option<Timestamp> {
    let date = Date::strptime("%d %b %Y", text.trim()).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn detail(entry: &mut Entry, line: &str, hints: &Hints, out: &mut Out<'_>) {
    if let Some(ids) = line.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let known = std::mem::take(&mut entry.advisory.cves);
        entry.advisory.cves = text::cves(known.iter().map(String::as_str).chain(ids.split_whitespace()));
        return;
    }
    let Some((release, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) else { return };
    let mut words = rest.trim().strip_prefix("- ").unwrap_or_default().split_whitespace();
    let (Some(name), Some(version)) = (words.next(), words.next()) else { return };
    if version.starts_with('<') {
        return;
    }
    let Some(product) = codename(&hints.releases, release) else {
        out.finding(&entry.advisory.id, "the name of a release is not known; give its number as a hint");
        return;
    };
    let fix = Fix {
        product,
        name: name.to_owned(),
        by: NameKind::Source,
        arch: String::new(),
        version: version.to_owned(),
        scheme: Scheme::Deb,
        module: None,
    };
    match checked(fix) {
        Ok(fix) => entry.advisory.fixes.push(fix),
        Err(bad) => out.finding(&entry.advisory.id, &bad.problem()),
    }
}

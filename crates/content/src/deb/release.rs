//! Release files: what a suite is, which index files it has and how they hash, and until when it may be believed.
//!
//! Read as apt reads them: unknown fields are kept out of the way, the first of two entries for one path wins, `Date` may
//! lie at most [`DATE_FUTURE_MAX_SECS`] in the future (none is tolerated), `Valid-Until` must not have passed. Stricter than apt: SHA-256
//! sums must be there, and no path leaves the suite.
//! Absent: signatures (they are checked before a text comes here), writing (see [`super::head`]).

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;

use super::control::{self, BadLine};
use crate::digest::Sha256;

/// Largest Release or InRelease file, bytes: Debian's largest is 0.3 MB.
pub const RELEASE_MAX_BYTES: u64 = 8 * 1024 * 1024;
/// Index files one Release may name, count: Debian's unstable has 2,000.
pub const RELEASE_ENTRIES_MAX: usize = 100_000;
/// How far `Date` may lie in the future, seconds: apt's `Acquire::Max-FutureTime`.
pub const DATE_FUTURE_MAX_SECS: i64 = 10;
/// Components or architectures of one suite, count.
pub const RELEASE_WORDS_MAX: usize = 256;
/// One field of a Release file that is kept, bytes.
pub const RELEASE_FIELD_MAX_BYTES: usize = 1024;
/// Fields that are published again as the upstream had them: without `NotAutomatic` a mirror of backports would upgrade
/// whole hosts.
pub const KEPT_FIELDS: [&str; 5] = ["Version", "Description", "NotAutomatic", "ButAutomaticUpgrades", "Changelogs"];

/// Why a Release file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// Not in the form of a stanza.
    #[error("the Release file cannot be read: {0}")]
    Form(#[from] BadLine),
    /// Nothing in it.
    #[error("the Release file is empty")]
    Empty,
    /// A field with a value that cannot be.
    #[error("the Release file has a bad `{field}`: {value}")]
    Field {
        /// Its name.
        field: &'static str,
        /// The beginning of its value, printable.
        value: String,
    },
    /// More than there may be.
    #[error("the Release file has more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// No SHA-256 sums.
    #[error(
        "the Release file has no SHA256 sums ({has}); MD5 and SHA-1 prove nothing, so it is refused: ask the repository's owner for SHA256"
    )]
    NoSha256 {
        /// Which sums it has.
        has: String,
    },
    /// `Date` lies in the future.
    #[error(
        "the Release file is of {date}, {ahead} s in the future, and not valid yet: check this server's clock and the mirror's"
    )]
    NotYet {
        /// Its date.
        date: Timestamp,
        /// Seconds between now and then.
        ahead: i64,
    },
    /// `Valid-Until` has passed.
    #[error(
        "the Release file expired at {until} ({late} s ago): the mirror is out of date; choose another one, or check this server's clock"
    )]
    Expired {
        /// Its end.
        until: Timestamp,
        /// Seconds since then.
        late: i64,
    },
}

/// One index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    /// Of its bytes.
    pub sha256: Sha256,
    /// Bytes.
    pub size: u64,
}

/// A Release file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// `Origin`, may be empty.
    pub origin: String,
    /// `Label`, may be empty.
    pub label: String,
    /// `Suite`, may be empty.
    pub suite: String,
    /// `Codename`, may be empty.
    pub codename: String,
    /// `Date`, if it has one that can be read: apt only warns otherwise.
    pub date: Option<Timestamp>,
    /// `Valid-Until`.
    pub valid_until: Option<Timestamp>,
    /// `Acquire-By-Hash: yes`.
    pub by_hash: bool,
    /// `Components`.
    pub components: Vec<String>,
    /// `Architectures`; none = not said.
    pub architectures: Vec<String>,
    /// `No-Support-for-Architecture-all: Packages`: packages of architecture `all` are in every other index.
    pub all_in_every_index: bool,
    /// [`KEPT_FIELDS`] that it has.
    pub fields: BTreeMap<String, String>,
    /// Index files by their path below the suite's directory.
    pub entries: BTreeMap<String, IndexEntry>,
    /// Entries left out because their path, size or sum cannot be, count.
    pub bad_entries: usize,
}

impl Release {
    /// Reads a Release file, or the text inside an InRelease.
    ///
    /// # Errors
    /// When it cannot be read or has no SHA-256 sums.
    pub fn parse(text: &[u8]) -> Result<Self, ReleaseError> {
        let cleaned;
        let text = if memchr::memchr(b'\r', text).is_some() {
            cleaned = text.iter().copied().filter(|byte| *byte != b'\r').collect::<Vec<u8>>();
            &cleaned
        } else {
            text
        };
        let text = text.trim_ascii();
        // Only the first stanza is the Release; apt stops there too.
        let stanza = memchr::memmem::find(text, b"\n\n").map_or(text, |end| &text[..=end]);
        if stanza.is_empty() {
            return Err(ReleaseError::Empty);
        }
        Reading::default().stanza(stanza)
    }

    /// Whether it may be believed at `now`.
    ///
    /// # Errors
    /// When its date lies in the future or its time is over.
    pub fn check_dates(&self, now: Timestamp) -> Result<(), ReleaseError> {
        if let Some(date) = self.date {
            let ahead = date.as_second() - now.as_second();
            if ahead > DATE_FUTURE_MAX_SECS {
                return Err(ReleaseError::NotYet { date, ahead });
            }
        }
        check_valid_until(self.valid_until, now)
    }

    /// Whether there may be an index for `architecture`: not saying which there are means all.
    pub fn supports(&self, architecture: &str) -> bool {
        self.architectures.is_empty() || self.architectures.iter().any(|has| has == architecture)
    }

    /// Whether there are indexes of their own for packages of architecture `all`.
    pub fn has_index_of_all(&self) -> bool {
        !self.all_in_every_index && self.architectures.iter().any(|has| has == "all")
    }
}

/// Whether a Release with this end may be believed at `now`.
///
/// # Errors
/// When its time is over.
pub fn check_valid_until(valid_until: Option<Timestamp>, now: Timestamp) -> Result<(), ReleaseError> {
    match valid_until {
        Some(until) if until < now => Err(ReleaseError::Expired { until, late: now.as_second() - until.as_second() }),
        _ => Ok(()),
    }
}

#[derive(Default)]
struct Reading {
    origin: String,
    label: String,
    suite: String,
    codename: String,
    date: Option<Timestamp>,
    valid_until: Option<Timestamp>,
    by_hash: bool,
    components: Vec<String>,
    architectures: Vec<String>,
    all_in_every_index: bool,
    fields: BTreeMap<String, String>,
    entries: BTreeMap<String, IndexEntry>,
    bad_entries: usize,
    sums: Vec<String>,
}

impl Reading {
    fn stanza(mut self, stanza: &[u8]) -> Result<Release, ReleaseError> {
        for field in control::fields(stanza) {
            self.field(&field?)?;
        }
        if self.entries.is_empty() && !self.sums.iter().any(|sum| sum == "SHA256") {
            let has =
                if self.sums.is_empty() { "it has no sums at all".to_owned() } else { format!("only {}", self.sums.join(", ")) };
            return Err(ReleaseError::NoSha256 { has });
        }
        Ok(Release {
            origin: self.origin,
            label: self.label,
            suite: self.suite,
            codename: self.codename,
            date: self.date,
            valid_until: self.valid_until,
            by_hash: self.by_hash,
            components: self.components,
            architectures: self.architectures,
            all_in_every_index: self.all_in_every_index,
            fields: self.fields,
            entries: self.entries,
            bad_entries: self.bad_entries,
        })
    }

    fn field(&mut self, field: &control::Field<'_>) -> Result<(), ReleaseError> {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        match name.as_str() {
            "origin" => self.origin = one_line("Origin", field)?,
            "label" => self.label = one_line("Label", field)?,
            "suite" => self.suite = one_line("Suite", field)?,
            "codename" => self.codename = one_line("Codename", field)?,
            "date" => self.date = field.line().and_then(parse_date),
            "valid-until" => self.valid_until = Some(moment("Valid-Until", field)?),
            "acquire-by-hash" => self.by_hash = is_yes(&one_line("Acquire-By-Hash", field)?),
            "components" => self.components = words("Components", field)?,
            "architectures" => self.architectures = words("Architectures", field)?,
            "no-support-for-architecture-all" => {
                let targets = words("No-Support-for-Architecture-all", field)?;
                self.all_in_every_index = targets.iter().any(|target| target == "Packages");
            }
            "sha256" => {
                self.sums.push("SHA256".to_owned());
                self.sha256(field.value)?;
            }
            "md5sum" | "sha1" | "sha512" => self.sums.push(name.to_ascii_uppercase()),
            _ => {
                if let Some(kept) = KEPT_FIELDS.into_iter().find(|kept| kept.eq_ignore_ascii_case(&name)) {
                    self.fields.insert(kept.to_owned(), one_line(kept, field)?);
                }
            }
        }
        Ok(())
    }

    fn sha256(&mut self, value: &[u8]) -> Result<(), ReleaseError> {
        for line in value.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let Some((path, entry)) = sum_line(line) else {
                self.bad_entries += 1;
                continue;
            };
            self.entries.entry(path).or_insert(entry);
            if self.entries.len() > RELEASE_ENTRIES_MAX {
                return Err(ReleaseError::TooMany { what: "index files", max: RELEASE_ENTRIES_MAX });
            }
        }
        Ok(())
    }
}

/// `<sum> <size> <path>`.
fn sum_line(line: &[u8]) -> Option<(String, IndexEntry)> {
    let mut parts = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let sha256 = parts.next()?.to_ascii_lowercase().parse().ok()?;
    let size = parts.next()?.parse().ok()?;
    let path = parts.next()?;
    let path = path.strip_prefix("./").unwrap_or(path);
    let safe = !path.is_empty()
        && path.len() <= RELEASE_FIELD_MAX_BYTES
        && parts.next().is_none()
        && path.bytes().all(|byte| byte.is_ascii_graphic())
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    safe.then(|| (path.to_owned(), IndexEntry { sha256, size }))
}

fn refused(name: &'static str, value: &[u8]) -> ReleaseError {
    let value = String::from_utf8_lossy(value);
    let shown = value.chars().take(100).map(|c| if c.is_control() { ' ' } else { c }).collect();
    ReleaseError::Field { field: name, value: shown }
}

fn one_line(name: &'static str, field: &control::Field<'_>) -> Result<String, ReleaseError> {
    match field.line() {
        Some(text) if text.len() <= RELEASE_FIELD_MAX_BYTES => Ok(text.to_owned()),
        _ => Err(refused(name, field.value)),
    }
}

/// Words that become parts of paths; a component may hold slashes (`updates/main`).
fn words(name: &'static str, field: &control::Field<'_>) -> Result<Vec<String>, ReleaseError> {
    let text = std::str::from_utf8(field.value).map_err(|_| refused(name, field.value))?;
    let words: Vec<String> = text.split_ascii_whitespace().map(str::to_owned).collect();
    if words.len() > RELEASE_WORDS_MAX {
        return Err(ReleaseError::TooMany { what: name, max: RELEASE_WORDS_MAX });
    }
    match words.iter().find(|word| !is_path_word(word)) {
        Some(bad) => Err(refused(name, bad.as_bytes())),
        None => Ok(words),
    }
}

/// Usable below `dists/`: a component, an architecture or a suite.
pub(crate) fn is_path_word(word: &str) -> bool {
    word.len() <= 128
        && word.split('/').all(|part| {
            part.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'~' | b'-'))
        })
}

fn is_yes(text: &str) -> bool {
    ["yes", "true", "with", "on", "enable", "1"].iter().any(|yes| text.eq_ignore_ascii_case(yes))
}

fn moment(name: &'static str, field: &control::Field<'_>) -> Result<Timestamp, ReleaseError> {
    field.line().and_then(parse_date).ok_or_else(|| refused(name, field.value))
}

/// `Sat, 11 Jul 2026 10:16:37 UTC`: RFC 1123 in universal time, the weekday optional.
pub(crate) fn parse_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let rest = text.split_once(',').map_or(text, |(_, rest)| rest);
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let [day, month, year, time, zone] = words.as_slice() else { return None };
    if !matches!(*zone, "UTC" | "GMT" | "Z" | "+0000" | "-0000") {
        return None;
    }
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month)).and_then(|at| i8::try_from(at + 1).ok())?;
    let mut clock = time.split(':').map(|part| part.parse::<i8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if clock.next().is_some() {
        return None;
    }
    let moment = civil::DateTime::new(year.parse().ok()?, month, day.parse().ok()?, hour, minute, second, 0).ok()?;
    Some(moment.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const OTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn release(more: &str) -> String {
        format!("Suite: stable\nDate: Sat, 11 Jul 2026 10:16:37 UTC\n{more}")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn reads_what_debian_writes() {
        let text = release(&format!(
            "Origin: Debian\nLabel: Debian\nVersion: 12.15\nCodename: bookworm\nAcquire-By-Hash: yes\n\
             No-Support-for-Architecture-all: Packages\nArchitectures: all amd64\nComponents: main updates/contrib\n\
             NotAutomatic: yes\nX-Unknown: kept out\nMD5Sum:\n 0ed6d4c8891eb86358b94bb35d9e4da4  1484322 main/x\n\
             SHA256:\n {SUM}  12 main/binary-amd64/Packages\n {OTHER} 7 ./Packages.gz\n {OTHER} 13 main/binary-amd64/Packages\n"
        ));
        let read = Release::parse(text.replace('\n', "\r\n").as_bytes()).unwrap();
        assert_eq!(read, Release::parse(text.as_bytes()).unwrap(), "CRLF reads the same");
        assert_eq!((read.origin.as_str(), read.suite.as_str(), read.codename.as_str()), ("Debian", "stable", "bookworm"));
        assert!(read.by_hash && read.all_in_every_index && !read.has_index_of_all());
        assert_eq!(read.components, ["main", "updates/contrib"]);
        assert!(read.supports("amd64") && !read.supports("arm64"));
        assert_eq!(read.date, Some(at("2026-07-11T10:16:37Z")));
        let entry = read.entries["main/binary-amd64/Packages"];
        assert_eq!((entry.sha256.to_string().as_str(), entry.size), (SUM, 12), "the first entry wins");
        assert!(read.entries.contains_key("Packages.gz"));
        assert_eq!(read.fields.keys().collect::<Vec<_>>(), ["NotAutomatic", "Version"]);
    }

    #[test]
    fn sums_that_prove_nothing_are_refused_by_name() {
        let text =
            release("MD5Sum:\n 0ed6d4c8891eb86358b94bb35d9e4da4 1 a\nSHA1:\n da39a3ee5e6b4b0d3255bfef95601890afd80709 0 a\n");
        let refusal = Release::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(refusal.contains("only MD5SUM, SHA1"), "{refusal}");
        assert!(matches!(Release::parse(release("").as_bytes()), Err(ReleaseError::NoSha256 { .. })));
        assert_eq!(Release::parse(b" \n\n"), Err(ReleaseError::Empty));
    }

    #[test]
    fn entries_that_leave_the_suite_are_left_out_and_counted() {
        let text = release(&format!(
            "SHA256:\n {SUM} 1 ../../etc/passwd\n {SUM} 1 /etc/passwd\n {SUM} 1 a//b\n {SUM} x b\n zz 1 b\n {SUM} 1 good\n"
        ));
        let read = Release::parse(text.as_bytes()).unwrap();
        assert_eq!(read.entries.keys().collect::<Vec<_>>(), ["good"]);
        assert_eq!(read.bad_entries, 5);
        let hostile = release(&format!("Components: ../x\nSHA256:\n {SUM} 1 good\n"));
        assert!(Release::parse(hostile.as_bytes()).unwrap_err().to_string().contains("Components"));
    }

    #[test]
    fn dates_are_believed_as_apt_does() {
        let sums = format!("SHA256:\n {SUM} 1 good\n");
        let text = release(&format!("Valid-Until: Sat, 18 Jul 2026 10:16:37 UTC\n{sums}"));
        let read = Release::parse(text.as_bytes()).unwrap();
        assert_eq!(read.check_dates(at("2026-07-18T10:16:37Z")), Ok(()));
        assert!(matches!(read.check_dates(at("2026-07-18T10:16:38Z")), Err(ReleaseError::Expired { late: 1, .. })));
        assert_eq!(read.check_dates(at("2026-07-11T10:16:27Z")), Ok(()));
        assert!(matches!(read.check_dates(at("2026-07-11T10:16:26Z")), Err(ReleaseError::NotYet { ahead: 11, .. })));
        let undated = Release::parse(format!("Suite: a\nDate: soon\n{sums}").as_bytes()).unwrap();
        assert_eq!((undated.date, undated.check_dates(at("1980-01-01T00:00:00Z"))), (None, Ok(())), "apt only warns");
        let endless = format!("Suite: a\nValid-Until: soon\n{sums}");
        assert!(Release::parse(endless.as_bytes()).unwrap_err().to_string().contains("Valid-Until"));
        for bad in ["Sat, 11 Jul 2026 10:16:37 CEST", "32 Jul 2026 10:16:37 UTC", "11 Jul 2026 10:16 UTC", "yesterday"] {
            assert_eq!(parse_date(bad), None, "{bad}");
        }
        assert_eq!(parse_date("1 Jan 2026 00:00:00 +0000"), Some(at("2026-01-01T00:00:00Z")));
    }
}

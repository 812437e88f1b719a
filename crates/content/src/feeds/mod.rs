//! Feeds of advisories, vulnerabilities and vendors' statements: hostile bytes read into the one model of
//! `drydock_domain::advisory`, item by item, with memory that does not grow with the file.
//!
//! A malformed entry is a [`Finding`] and the others are read; a file that is cut off, damaged or of no known kind is a
//! [`FeedError`]. What is read of each format, and what is not, stands in its own module and in `docs/advisories.md`.
//!
//! Absent: the network (operators and air gaps bring files), the database, OVAL (everything it says comes in a better
//! format: updateinfo, OSV, CSAF), CVRF, the text forms of Ubuntu's CVE tracker.

mod collect;
mod csaf;
mod csaf_products;
mod cvss;
mod debian;
mod detect;
mod dsa;
mod exploited;
mod fuzz;
mod input;
mod json;
mod lenient;
mod osv;
mod osv_fix;
mod product;
mod text;
mod updateinfo;
mod usn;
mod zip;

use std::io::{self, BufRead, Read};

use drydock_domain::advisory::{Advisory, Product, Statement, Vulnerability};
use serde::Serialize;

use collect::Out;
use input::{Archive, Tee, first_bytes};
use json::{Json, JsonError};

pub use detect::detect;
pub(crate) use fuzz::all as fuzz;
pub use input::DETECT_BYTES;
pub use updateinfo::{UpdateError, read_updateinfo};

/// Largest feed as it is given, bytes. Everything Red Hat ever said in VEX is about 250 MiB as tar.zst.
pub const FEED_MAX_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// Largest feed unpacked, bytes. The same is about 30 GiB.
pub const FEED_MAX_RAW_BYTES: u64 = 256 * 1024 * 1024 * 1024;
/// Largest document (an advisory, a CVE of a package) of most kinds, bytes; larger ones are left out.
pub const DOCUMENT_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Largest CSAF document, bytes: one CVE of a library that everything is built with names tens of thousands of packages.
pub const CSAF_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Different findings that are kept of one feed, count; the others are only counted.
pub const FINDINGS_MAX: usize = 200;

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedKind {
    /// OSV documents: one, an array, JSON lines, a tar or zip of them.
    Osv,
    /// The JSON of Debian's security tracker.
    DebianTracker,
    /// `data/DSA/list` and `data/DLA/list` of Debian's security tracker.
    DebianList,
    /// Ubuntu's security notices: the database by number, or the list of `notices`.
    #[serde(rename = "usn")]
    UbuntuUsn,
    /// CSAF 2.0: advisories and VEX; one document, JSON lines, a tar or zip of them.
    Csaf,
    /// CISA's catalogue of known exploited vulnerabilities, JSON.
    Kev,
    /// FIRST's exploit prediction scores, CSV.
    Epss,
    /// `updateinfo.xml` of a yum repository.
    Updateinfo,
}

impl FeedKind {
    /// All of them.
    pub const ALL: [FeedKind; 8] = [
        FeedKind::Osv,
        FeedKind::DebianTracker,
        FeedKind::DebianList,
        FeedKind::UbuntuUsn,
        FeedKind::Csaf,
        FeedKind::Kev,
        FeedKind::Epss,
        FeedKind::Updateinfo,
    ];

    /// The name in commands and records.
    pub fn as_str(self) -> &'static str {
        match self {
            FeedKind::Osv => "osv",
            FeedKind::DebianTracker => "debian-tracker",
            FeedKind::DebianList => "debian-list",
            FeedKind::UbuntuUsn => "usn",
            FeedKind::Csaf => "csaf",
            FeedKind::Kev => "kev",
            FeedKind::Epss => "epss",
            FeedKind::Updateinfo => "updateinfo",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Option<Self> {
        FeedKind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What the file itself does not say.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    /// Products of names of releases (`forky`), before the built-in ones.
    pub releases: Vec<(String, Product)>,
    /// [`FeedKind::Updateinfo`]: which system it is for. `None` = every system that reads the repository.
    pub product: Option<Product>,
}

/// One thing that was read.
#[derive(Debug, Clone)]
pub enum FeedItem {
    /// An advisory.
    Advisory(Box<Advisory>),
    /// A vulnerability, or what this feed knows of it.
    Vulnerability(Box<Vulnerability>),
    /// A vendor's word.
    Statement(Box<Statement>),
}

/// Something that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The entry it was met in first.
    pub entry: String,
    /// What is wrong with it.
    pub problem: String,
    /// How often it was met.
    pub count: u64,
}

/// What came of a feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedReport {
    /// Of which kind it is.
    pub kind: FeedKind,
    /// SHA-256 of the file as it was given, 64 hexadecimal digits: the same stamp is the same file.
    pub stamp: String,
    /// Size of the file as it was given, bytes.
    pub bytes: u64,
    /// Entries that were met.
    pub documents: u64,
    /// Advisories given out.
    pub advisories: u64,
    /// Vulnerabilities given out.
    pub vulnerabilities: u64,
    /// Statements given out.
    pub statements: u64,
    /// Entries and parts of entries that were left out: the counts of all findings, also of those not kept.
    pub left_out: u64,
    /// Why; at most [`FINDINGS_MAX`] different ones.
    pub findings: Vec<Finding>,
}

/// The receiver of items failed.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Why a feed could not be read. What was given out before stays given out: import in one transaction.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Nothing we know.
    #[error(
        "the file is of no kind that is known here (OSV, Debian tracker JSON, DSA/DLA list, USN JSON, CSAF, KEV JSON, EPSS CSV, \
         updateinfo.xml); see docs/advisories.md, or name its kind"
    )]
    Unknown,
    /// Reading or unpacking failed.
    #[error("cannot read the feed; fetch the file again and compare its checksum")]
    Read(#[source] io::Error),
    /// The file is not what it should be.
    #[error("the feed is broken at byte {offset} (uncompressed): {problem}; fetch the file again")]
    Broken {
        /// Uncompressed bytes before the damage was noticed.
        offset: u64,
        /// What is wrong.
        problem: String,
    },
    /// The receiver of items failed.
    #[error("cannot take what was read of the feed")]
    Sink(#[source] SinkError),
}

impl From<io::Error> for FeedError {
    fn from(error: io::Error) -> Self {
        FeedError::Read(error)
    }
}

/// Reads a feed of the given kind (`None` = by its content), compressed with gzip, xz, zstd, bzip2 or not at all, and gives
/// its items to the sink in the order of the file. Blocks; wrap it in `spawn_blocking`.
///
/// # Errors
/// [`FeedError`] when the file as a whole cannot be read, or the sink fails.
pub fn read_feed(
    kind: Option<FeedKind>,
    reader: impl Read + Send + 'static,
    hints: &Hints,
    sink: &mut dyn FnMut(FeedItem) -> Result<(), SinkError>,
) -> Result<FeedReport, FeedError> {
    let tee = Tee::new(reader, FEED_MAX_BYTES);
    let (first, mut input) = first_bytes(input::unpack(&tee, FEED_MAX_RAW_BYTES)?)?;
    let archive = Archive::of_magic(&first);
    let known = kind.or_else(|| detect(&first));
    let mut out = Out::new(known, sink);
    if archive == Archive::None {
        one(known.ok_or(FeedError::Unknown)?, &mut input, hints, &mut out)?;
    } else {
        let mut kind = known;
        input::members(archive, &mut input, &mut |name, member| -> Result<(), FeedError> {
            let kind = match kind {
                Some(kind) => kind,
                None => {
                    let Some(found) = detect(member.fill_buf()?) else {
                        out.finding(name, "this member of the archive is of no known kind");
                        return Ok(());
                    };
                    *kind.insert(found)
                }
            };
            member_of(kind, name, member, hints, &mut out)
        })?;
        out.report.kind = kind.ok_or(FeedError::Unknown)?;
    }
    // What follows the end of the document is read too: compressed files carry their check value there.
    io::copy(&mut input, &mut io::sink())?;
    drop(input);
    (out.report.stamp, out.report.bytes) = tee.finish()?;
    Ok(out.report)
}

/// A broken member of an archive costs that member.
fn member_of(kind: FeedKind, name: &str, member: &mut dyn BufRead, hints: &Hints, out: &mut Out<'_>) -> Result<(), FeedError> {
    match one(kind, member, hints, out) {
        Err(FeedError::Broken { problem, .. }) => {
            out.finding(name, &format!("this member of the archive is broken: {problem}"));
            Ok(())
        }
        other => other,
    }
}

fn one(kind: FeedKind, input: &mut dyn BufRead, hints: &Hints, out: &mut Out<'_>) -> Result<(), FeedError> {
    match kind {
        FeedKind::Osv => documents(input, DOCUMENT_MAX_BYTES, out, &mut |bytes, out| osv::document(bytes, out)),
        FeedKind::Csaf => documents(input, CSAF_MAX_BYTES, out, &mut |bytes, out| csaf::document(bytes, out)),
        FeedKind::DebianTracker => with_json(input, |json| debian::read(json, hints, out)),
        FeedKind::UbuntuUsn => with_json(input, |json| usn::read(json, hints, out)),
        FeedKind::Kev => with_json(input, |json| exploited::kev(json, out)),
        FeedKind::Epss => exploited::epss(input, out),
        FeedKind::DebianList => dsa::read(input, hints, out),
        FeedKind::Updateinfo => updateinfo::read(input, hints, out),
    }
}

/// Why a reader of JSON stopped.
enum Stop {
    Json(JsonError),
    Sink(SinkError),
}

impl From<JsonError> for Stop {
    fn from(error: JsonError) -> Self {
        Stop::Json(error)
    }
}

impl From<SinkError> for Stop {
    fn from(error: SinkError) -> Self {
        Stop::Sink(error)
    }
}

fn with_json<R: BufRead>(input: R, read: impl FnOnce(&mut Json<R>) -> Result<(), Stop>) -> Result<(), FeedError> {
    let mut json = Json::new(input);
    read(&mut json).map_err(|stop| stopped(stop, json.offset()))
}

fn stopped(stop: Stop, offset: u64) -> FeedError {
    match stop {
        Stop::Json(JsonError::Read(source)) => FeedError::Read(source),
        Stop::Json(JsonError::Syntax(problem)) => FeedError::Broken { offset, problem },
        Stop::Json(JsonError::End) => FeedError::Broken { offset, problem: "it ends in the middle".to_owned() },
        Stop::Sink(error) => FeedError::Sink(error),
    }
}

/// Reads one document.
type Document<'a> = &'a mut dyn FnMut(&[u8], &mut Out<'_>) -> Result<(), SinkError>;

/// Documents one after the other, with or without line feeds between them, or in arrays. In a sequence a damaged document
/// costs itself; in an array there is no telling where the next one begins.
fn documents(input: &mut dyn BufRead, max: usize, out: &mut Out<'_>, each: Document<'_>) -> Result<(), FeedError> {
    with_json(input, |json| {
        let mut good = false;
        while let Some(byte) = json.peek()? {
            if byte == b'[' {
                json.open(b'[')?;
                let mut first = true;
                while json.more(b']', &mut first)? {
                    document(json, max, out, each)?;
                }
                good = true;
                continue;
            }
            match document(json, max, out, each) {
                Ok(()) => {
                    // One document in one line: so are the others.
                    if json.was_one_line() {
                        json.expect_lines();
                    }
                    good = true;
                }
                Err(Stop::Json(JsonError::Syntax(problem))) => {
                    let place = out.place();
                    if !json.next_line()? && !good {
                        return Err(JsonError::Syntax(problem).into());
                    }
                    out.finding(&place, &format!("it is no JSON: {problem}"));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    })
}

fn document<R: BufRead>(json: &mut Json<R>, max: usize, out: &mut Out<'_>, each: Document<'_>) -> Result<(), Stop> {
    out.entry();
    let cut = json.value(max)?;
    let place = out.place();
    if out.usable(cut, &place, max) {
        each(json.taken(), out)?;
    }
    Ok(())
}

//! The lines of an export: JSON, one record or seal a line, always written the same way: fields in one order, no spaces,
//! lower-case hexadecimal. [`parse`] takes a line only when it is byte for byte what [`push_record`] or [`push_seal`] would
//! write, so that there is one way to write a record and every changed byte shows.
//!
//! ```json
//! {"seq":7,"at":"2026-11-02T08:15:00.123456Z","whoKind":"user","whoId":"0198…","who":"ann","address":"10.1.2.3", …,
//!  "parameters":{…},"outcome":"allowed","error":"","durationMs":12,"hash":"9f…"}
//! {"seal":"interval","after":0,"seq":7,"hash":"9f…","at":"…","key":"…","signature":"…"}
//! {"seal":"export","first":1,"seq":7,"hash":"9f…","at":"…","key":"…","signature":"…"}
//! ```

use std::borrow::Cow;
use std::io::Write;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Record;
use super::chain::{Hash, Seal, SealKind, push_hex, unhex};

/// Longest line, bytes: all texts of a record at their limits, each character escaped, is some 60 KiB.
pub const LINE_MAX_BYTES: usize = 128 * 1024;

/// A line of an export.
#[expect(
    clippy::large_enum_variant,
    reason = "one is read at a time, and a seal comes after thousands of records: a box for them costs more"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line<'a> {
    /// A record with its number and its hash.
    Record {
        /// Number.
        seq: u64,
        /// The record.
        record: Record<'a>,
        /// Its hash, as the line says.
        hash: Hash,
    },
    /// A seal.
    Seal(Seal),
}

/// Why a line cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadLine {
    /// Not JSON of this form.
    #[error("it cannot be read: {0}")]
    Form(String),
    /// It can be read, but no export writes it so.
    #[error("it is not written as an export writes it")]
    NotCanonical,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RecordForm<'a> {
    seq: u64,
    #[serde(borrow)]
    at: Cow<'a, str>,
    #[serde(borrow)]
    who_kind: Cow<'a, str>,
    #[serde(borrow)]
    who_id: Cow<'a, str>,
    #[serde(borrow)]
    who: Cow<'a, str>,
    #[serde(borrow)]
    address: Cow<'a, str>,
    #[serde(borrow)]
    request_id: Cow<'a, str>,
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow)]
    compartment: Cow<'a, str>,
    #[serde(borrow)]
    resource: Cow<'a, str>,
    #[serde(borrow)]
    decision: Cow<'a, str>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(borrow)]
    parameters: &'a RawValue,
    #[serde(borrow)]
    outcome: Cow<'a, str>,
    #[serde(borrow)]
    error: Cow<'a, str>,
    duration_ms: Option<u64>,
    hash: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SealForm<'a> {
    seal: &'a str,
    after: Option<u64>,
    first: Option<u64>,
    seq: u64,
    hash: &'a str,
    at: &'a str,
    key: &'a str,
    signature: &'a str,
}

/// Reads a line, without its line feed. `scratch` is overwritten.
pub fn parse<'a>(line: &'a [u8], scratch: &mut Vec<u8>) -> Result<Line<'a>, BadLine> {
    let parsed = if line.starts_with(b"{\"seal\"") { seal(line)? } else { record(line)? };
    scratch.clear();
    match &parsed {
        Line::Record { seq, record, hash } => push_record(scratch, *seq, record, hash),
        Line::Seal(seal) => push_seal(scratch, seal),
    }
    if scratch.strip_suffix(b"\n") == Some(line) { Ok(parsed) } else { Err(BadLine::NotCanonical) }
}

fn form(error: &serde_json::Error) -> BadLine {
    BadLine::Form(error.to_string())
}

fn damaged(what: &str) -> BadLine {
    BadLine::Form(format!("{what} is damaged"))
}

fn time(text: &str) -> Result<Timestamp, BadLine> {
    let at: Timestamp = text.parse().map_err(|_| damaged("the time"))?;
    // Hashes and signatures cover microseconds: digits below would be nobody's.
    if at.as_nanosecond() % 1000 == 0 { Ok(at) } else { Err(BadLine::NotCanonical) }
}

fn record(line: &[u8]) -> Result<Line<'_>, BadLine> {
    let f: RecordForm<'_> = serde_json::from_slice(line).map_err(|e| form(&e))?;
    let record = Record {
        at: time(&f.at)?,
        who_kind: f.who_kind,
        who_id: f.who_id,
        who: f.who,
        address: f.address,
        request_id: f.request_id,
        operation: f.operation,
        compartment: f.compartment,
        resource: f.resource,
        decision: f.decision,
        reason: f.reason,
        parameters: Cow::Borrowed(f.parameters.get()),
        outcome: f.outcome,
        error: f.error,
        duration_ms: f.duration_ms,
    };
    Ok(Line::Record { seq: f.seq, record, hash: unhex(f.hash).ok_or_else(|| damaged("the hash"))? })
}

fn seal(line: &[u8]) -> Result<Line<'_>, BadLine> {
    let f: SealForm<'_> = serde_json::from_slice(line).map_err(|e| form(&e))?;
    let kind = match (f.seal, f.after, f.first) {
        ("interval", Some(after), None) => SealKind::Interval { after },
        ("export", None, Some(first)) => SealKind::Export { first },
        _ => return Err(damaged("the kind of the seal")),
    };
    Ok(Line::Seal(Seal {
        kind,
        seq: f.seq,
        hash: unhex(f.hash).ok_or_else(|| damaged("the hash"))?,
        at: time(f.at)?,
        key: unhex(f.key).ok_or_else(|| damaged("the key"))?,
        signature: unhex(f.signature).ok_or_else(|| damaged("the signature"))?,
    }))
}

/// Adds a record's line, with its line feed.
pub fn push_record(out: &mut Vec<u8>, seq: u64, record: &Record<'_>, hash: &Hash) {
    out.extend_from_slice(b"{\"seq\":");
    number(out, seq);
    out.extend_from_slice(b",\"at\":\"");
    moment(out, record.at);
    out.push(b'"');
    let texts: [(&[u8], &str); 10] = [
        (b",\"whoKind\":", &record.who_kind),
        (b",\"whoId\":", &record.who_id),
        (b",\"who\":", &record.who),
        (b",\"address\":", &record.address),
        (b",\"requestId\":", &record.request_id),
        (b",\"operation\":", &record.operation),
        (b",\"compartment\":", &record.compartment),
        (b",\"resource\":", &record.resource),
        (b",\"decision\":", &record.decision),
        (b",\"reason\":", &record.reason),
    ];
    for (name, value) in texts {
        out.extend_from_slice(name);
        text(out, value);
    }
    out.extend_from_slice(b",\"parameters\":");
    out.extend_from_slice(record.parameters.as_bytes());
    out.extend_from_slice(b",\"outcome\":");
    text(out, &record.outcome);
    out.extend_from_slice(b",\"error\":");
    text(out, &record.error);
    out.extend_from_slice(b",\"durationMs\":");
    match record.duration_ms {
        Some(ms) => number(out, ms),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"hash\":\"");
    push_hex(out, hash);
    out.extend_from_slice(b"\"}\n");
}

/// Adds a seal's line, with its line feed.
pub fn push_seal(out: &mut Vec<u8>, seal: &Seal) {
    let (kind, what, number_of) = match seal.kind {
        SealKind::Interval { after } => ("interval", "after", after),
        SealKind::Export { first } => ("export", "first", first),
    };
    // Writing to a Vec cannot fail.
    let _cannot_fail = write!(out, "{{\"seal\":\"{kind}\",\"{what}\":{number_of},\"seq\":{},\"hash\":\"", seal.seq);
    push_hex(out, &seal.hash);
    out.extend_from_slice(b"\",\"at\":\"");
    moment(out, seal.at);
    out.extend_from_slice(b"\",\"key\":\"");
    push_hex(out, &seal.key);
    out.extend_from_slice(b"\",\"signature\":\"");
    push_hex(out, &seal.signature);
    out.extend_from_slice(b"\"}\n");
}

fn number(out: &mut Vec<u8>, n: u64) {
    let _cannot_fail = write!(out, "{n}");
}

fn moment(out: &mut Vec<u8>, at: Timestamp) {
    let _cannot_fail = write!(out, "{at}");
}

fn text(out: &mut Vec<u8>, value: &str) {
    // Most texts are names and ids; serde_json looks at every byte in the same way, only slower.
    if value.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    } else {
        let _cannot_fail = serde_json::to_writer(out, value);
    }
}

//! The audit: one record per call, in a chain of hashes whose head is signed from time to time, and the check of an export
//! of it. Pure: records are kept elsewhere, signatures are made and checked by who asks.
//!
//! - [`chain`]: what a record's hash covers, byte by byte, and what a seal's signature covers.
//! - [`line`]: the lines of an export (JSON lines), as they are written and read.
//! - [`verify`]: is an export whole and unchanged? Names the first line that is not.
//! - [`family`]: the families of operations whose reads an operator may leave unrecorded.

pub mod chain;
pub mod family;
pub mod line;
pub mod verify;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;

use crate::inventory::fingerprint;

/// Longest name, id, operation, resource, request id or error of a record, bytes.
pub const TEXT_MAX_BYTES: usize = 512;
/// Longest reason of a record, bytes: a statement with its conditions.
pub const REASON_MAX_BYTES: usize = 1024;
/// Longest parameters of a record, bytes of JSON.
pub const PARAMETERS_MAX_BYTES: usize = 4096;
/// What is kept of longer parameters, bytes: escaped once more it stays below [`PARAMETERS_MAX_BYTES`] unless it is made of
/// characters that grow.
const PARAMETERS_KEPT_BYTES: usize = 1536;
/// A record without parameters.
pub const NO_PARAMETERS: &str = "{}";

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Allowed,
    /// The caller may not.
    Denied,
    /// It was allowed and could not be done.
    Failed,
}

impl Outcome {
    /// As records write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Allowed => "allowed",
            Outcome::Denied => "denied",
            Outcome::Failed => "failed",
        }
    }
}

/// One record, without its place in the chain. Texts, not types: a record of ten years ago must still hash the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// When the call came in; microseconds count, nothing below.
    pub at: Timestamp,
    /// What the caller is: `user`, `service-account`, `token`, `instance`, `server`.
    pub who_kind: Cow<'a, str>,
    /// Its id; empty when it has none.
    pub who_id: Cow<'a, str>,
    /// Its name.
    pub who: Cow<'a, str>,
    /// The address it came from; empty when there was none.
    pub address: Cow<'a, str>,
    /// The request it came with.
    pub request_id: Cow<'a, str>,
    /// Operation, for example `patch-job.create`.
    pub operation: Cow<'a, str>,
    /// The compartment it was decided for.
    pub compartment: Cow<'a, str>,
    /// Object, for example `patch-job 0198…`.
    pub resource: Cow<'a, str>,
    /// `allow` or `deny`.
    pub decision: Cow<'a, str>,
    /// The statement that decided, or why there was none.
    pub reason: Cow<'a, str>,
    /// What was asked for: a JSON object, without secrets.
    pub parameters: Cow<'a, str>,
    /// `allowed`, `denied` or `failed`.
    pub outcome: Cow<'a, str>,
    /// Why it failed.
    pub error: Cow<'a, str>,
    /// How long it took, milliseconds; absent where nobody waited for the end.
    pub duration_ms: Option<u64>,
}

impl Record<'_> {
    /// The same with every text cut to its limit, fit to be kept.
    #[must_use]
    pub fn bounded(self) -> Record<'static> {
        let text = |t: Cow<'_, str>| Cow::Owned(kept(&t, TEXT_MAX_BYTES));
        Record {
            at: Timestamp::from_microsecond(self.at.as_microsecond()).unwrap_or(self.at),
            who_kind: text(self.who_kind),
            who_id: text(self.who_id),
            who: text(self.who),
            address: text(self.address),
            request_id: text(self.request_id),
            operation: text(self.operation),
            compartment: text(self.compartment),
            resource: text(self.resource),
            decision: text(self.decision),
            reason: Cow::Owned(kept(&self.reason, REASON_MAX_BYTES)),
            parameters: Cow::Owned(fitting(&self.parameters)),
            outcome: text(self.outcome),
            error: text(self.error),
            duration_ms: self.duration_ms,
        }
    }
}

/// At most `max` bytes of a text, ending at a character, without the NUL that PostgreSQL cannot hold.
fn kept(text: &str, max: usize) -> String {
    let end = text.char_indices().map(|(i, c)| i + c.len_utf8()).take_while(|end| *end <= max).last().unwrap_or(0);
    // U+FFFD has three bytes: a text of NULs is longer afterwards, and still bounded.
    text[..end].replace('\0', "\u{fffd}")
}

/// Parameters of a call as a record keeps them: compact JSON; of a long one the beginning, its length and its SHA-256.
/// What must not be kept (secrets) has to be left out before.
pub fn parameters<T: Serialize + ?Sized>(value: &T) -> String {
    fitting(&serde_json::to_string(value).unwrap_or_default())
}

fn fitting(text: &str) -> String {
    if text.is_empty() {
        return NO_PARAMETERS.to_owned();
    }
    if text.len() <= PARAMETERS_MAX_BYTES && text.starts_with('{') && !text.contains(['\0', '\n']) {
        return text.to_owned();
    }
    let cut = |max| {
        let beginning = kept(text, max);
        serde_json::json!({"beginning": beginning, "bytes": text.len(), "sha256": fingerprint(text.as_bytes())}).to_string()
    };
    let long = cut(PARAMETERS_KEPT_BYTES);
    // Control characters become six bytes each.
    if long.len() <= PARAMETERS_MAX_BYTES { long } else { cut(PARAMETERS_KEPT_BYTES / 4) }
}

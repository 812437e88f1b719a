//! Is an export whole and unchanged? Reads it line by line in constant memory and names the first line that is not as the
//! server wrote it.
//!
//! What it can tell: a record that was changed, is missing, was put in or stands elsewhere; a seal that is missing, forged
//! or does not fit; a file that was cut off (an export ends with a signed line that says where it began). What it cannot:
//! that the server's own database was cut back to an earlier seal *before* the export; a seal that was kept elsewhere
//! ([`Verifier::keeping`]) tells that.

use jiff::Timestamp;

use super::chain::{self, GENESIS, Hash, Seal, SealKind, hex};
use super::line::{self, Line};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// A record is not what was recorded.
    Changed,
    /// A record or seal is not there.
    Missing,
    /// Something is there that was not recorded.
    Inserted,
    /// It stands elsewhere than it was recorded.
    Reordered,
    /// A seal's signature is not good, or is of another key.
    SealBad,
    /// The export does not go to its end.
    CutOff,
}

impl Wrong {
    /// In one word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            Wrong::Changed => "changed",
            Wrong::Missing => "missing",
            Wrong::Inserted => "inserted",
            Wrong::Reordered => "reordered",
            Wrong::SealBad => "bad seal",
            Wrong::CutOff => "cut off",
        }
    }
}

/// The first thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {}: {detail}", .wrong.as_str())]
pub struct Broken {
    /// What.
    pub wrong: Wrong,
    /// Number of the record, where one is meant.
    pub seq: Option<u64>,
    /// Line of the file, from 1.
    pub line: u64,
    /// The whole sentence.
    pub detail: String,
}

/// What a good export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Records.
    pub records: u64,
    /// Seals that were checked, the last line too.
    pub seals: u64,
    /// Number of the first record.
    pub first: u64,
    /// Number of the last record.
    pub last: u64,
    /// Hash of the last record.
    pub hash: Hash,
    /// When the export was signed.
    pub exported_at: Timestamp,
    /// Was the kept seal met?
    pub kept_met: bool,
}

/// Checks an export.
pub struct Verifier<'s> {
    signed: &'s dyn Fn(&Seal) -> bool,
    kept: Option<Seal>,
    kept_met: bool,
    state: State,
    broken: Option<Broken>,
    /// The first break when only later lines tell what it is.
    suspect: Option<Suspect>,
    canonical: Vec<u8>,
    encoded: Vec<u8>,
}

struct State {
    line: u64,
    begun: bool,
    /// Number the next record has to have.
    next: u64,
    previous: Hash,
    /// Number of the last sealed record; 0: none.
    sealed: u64,
    first: u64,
    records: u64,
    seals: u64,
    end: Option<Seal>,
}

impl State {
    fn new() -> State {
        State { line: 0, begun: false, next: 1, previous: GENESIS, sealed: 0, first: 1, records: 0, seals: 0, end: None }
    }
}

enum Suspect {
    /// Number `missing` was expected at `line`.
    Gap { missing: u64, found: String, line: u64 },
    /// Record `seq` at `line` does not have its hash.
    Mismatch { seq: u64, line: u64 },
}

impl<'s> Verifier<'s> {
    /// `signed` says whether a seal is of the expected key and its signature good.
    pub fn new(signed: &'s dyn Fn(&Seal) -> bool) -> Self {
        Verifier {
            signed,
            kept: None,
            kept_met: false,
            state: State::new(),
            broken: None,
            suspect: None,
            canonical: Vec::new(),
            encoded: Vec::new(),
        }
    }

    /// The same; the chain has to lead through this seal, which was kept elsewhere.
    #[must_use]
    pub fn keeping(mut self, kept: Option<Seal>) -> Self {
        self.kept = kept;
        self
    }

    /// The next line, without its line feed. `false`: enough is known, the rest need not be read.
    pub fn line(&mut self, bytes: &[u8]) -> bool {
        self.state.line += 1;
        if self.suspect.is_some() {
            self.diagnose(bytes);
            return self.broken.is_none();
        }
        let mut canonical = std::mem::take(&mut self.canonical);
        match line::parse(bytes, &mut canonical) {
            Err(bad) => {
                let detail = format!("{}: {bad}", self.place());
                let seq = self.state.end.is_none().then_some(self.state.next);
                self.fail(Wrong::Changed, seq, detail);
            }
            Ok(_) if self.state.end.is_some() => {
                self.fail(Wrong::Inserted, None, "something follows the signed end of the export".to_owned());
            }
            Ok(Line::Record { seq, record, hash }) => {
                if self.begins_with(seq) {
                    let own = chain::hash(&mut self.encoded, &self.state.previous, seq, &record);
                    if own == hash {
                        self.take(seq, hash);
                    } else {
                        self.suspect = Some(Suspect::Mismatch { seq, line: self.state.line });
                    }
                }
            }
            Ok(Line::Seal(seal)) => self.seal(&seal),
        }
        self.canonical = canonical;
        self.broken.is_none()
    }

    /// Is this the number that comes next?
    fn begins_with(&mut self, seq: u64) -> bool {
        self.state.begun = true;
        let next = self.state.next;
        if seq > next {
            self.suspect = Some(Suspect::Gap { missing: next, found: format!("record {seq}"), line: self.state.line });
        } else if seq < next {
            self.fail(Wrong::Inserted, Some(seq), format!("record {seq} follows record {}: it was there before", next - 1));
        }
        seq == next
    }

    fn take(&mut self, seq: u64, hash: Hash) {
        self.state.previous = hash;
        self.state.next = seq.saturating_add(1);
        self.state.records += 1;
        self.meet(seq, hash);
    }

    /// Compares with the kept seal.
    fn meet(&mut self, seq: u64, hash: Hash) {
        let Some(kept) = self.kept.filter(|k| k.seq == seq) else { return };
        self.kept_met = true;
        if kept.hash != hash {
            let detail = format!(
                "record {seq} has the hash {} and had {} when the kept seal was made ({}): records up to it were changed",
                hex(&hash),
                hex(&kept.hash),
                kept.at
            );
            self.fail(Wrong::Changed, Some(seq), detail);
        }
    }

    fn seal(&mut self, seal: &Seal) {
        if !(self.signed)(seal) {
            let detail = format!("the seal of record {} is not signed by the expected key, or was changed", seal.seq);
            return self.fail(Wrong::SealBad, Some(seal.seq), detail);
        }
        if !self.state.begun && matches!(seal.kind, SealKind::Interval { .. }) {
            // Older records were dropped, or only the newer ones asked for: the chain goes on from this signed head.
            self.state = State {
                begun: true,
                next: seal.seq.saturating_add(1),
                previous: seal.hash,
                sealed: seal.seq,
                first: seal.seq.saturating_add(1),
                seals: 1,
                line: self.state.line,
                ..State::new()
            };
            return self.meet(seal.seq, seal.hash);
        }
        self.state.begun = true;
        let last = self.state.next - 1;
        if seal.seq > last {
            let found = format!("the seal of record {}", seal.seq);
            self.suspect = Some(Suspect::Gap { missing: self.state.next, found, line: self.state.line });
            return;
        }
        if seal.seq < last {
            let detail = format!("the seal of record {} stands after record {last}", seal.seq);
            return self.fail(Wrong::Reordered, Some(seal.seq), detail);
        }
        if seal.hash != self.state.previous {
            let detail = format!(
                "the seal of record {last} does not fit: among the records {} to {last} some were changed, removed or put in, \
                 and the chain hashed anew",
                self.state.sealed + 1
            );
            return self.fail(Wrong::Changed, Some(self.state.sealed + 1), detail);
        }
        match seal.kind {
            SealKind::Interval { after } => self.interval(seal, after),
            SealKind::Export { first } => self.end(seal, first),
        }
    }

    fn interval(&mut self, seal: &Seal, after: u64) {
        let sealed = self.state.sealed;
        if after > sealed {
            return self.fail(Wrong::Missing, Some(after), format!("the seal of record {after} is not there"));
        }
        if after < sealed || seal.seq == sealed {
            return self.fail(Wrong::Inserted, Some(seal.seq), format!("the seal of record {} is there twice", seal.seq));
        }
        self.state.sealed = seal.seq;
        self.state.seals += 1;
    }

    fn end(&mut self, seal: &Seal, first: u64) {
        if first != self.state.first {
            let detail = format!("the export began with record {first}, this file begins with record {}", self.state.first);
            return self.fail(Wrong::Missing, Some(first), detail);
        }
        if seal.seq != self.state.sealed {
            let detail = format!("the seal of record {}, which the end of the export follows, is not there", seal.seq);
            return self.fail(Wrong::Missing, Some(seal.seq), detail);
        }
        self.state.seals += 1;
        self.state.end = Some(*seal);
    }

    /// After the first break: does a later line tell what it is?
    fn diagnose(&mut self, bytes: &[u8]) {
        let Ok(Line::Record { seq: found, .. }) = line::parse(bytes, &mut self.canonical) else { return };
        match &self.suspect {
            Some(Suspect::Gap { missing, found: first, line }) if found == *missing => {
                let detail = format!("{first} stands before record {missing}, which follows in line {}", self.state.line);
                let (line, missing) = (*line, *missing);
                self.fail_at(Wrong::Reordered, Some(missing), line, detail);
            }
            Some(Suspect::Mismatch { seq, line }) if found == *seq => {
                let detail =
                    format!("there are two records {seq}; the first one does not continue record {}", seq.saturating_sub(1));
                let (line, seq) = (*line, *seq);
                self.fail_at(Wrong::Inserted, Some(seq), line, detail);
            }
            _ => {}
        }
    }

    /// The end of the file.
    pub fn finish(mut self) -> Result<Summary, Broken> {
        match self.suspect.take() {
            Some(_) if self.broken.is_some() => {}
            Some(Suspect::Gap { missing, found, line }) => {
                let detail = format!("record {missing} is not there: {found} stands in its place");
                self.fail_at(Wrong::Missing, Some(missing), line, detail);
            }
            Some(Suspect::Mismatch { seq, line }) => {
                let before = match seq {
                    0 | 1 => String::new(),
                    _ => format!(", or record {} was and got a new hash", seq - 1),
                };
                self.fail_at(Wrong::Changed, Some(seq), line, format!("record {seq} was changed after it was recorded{before}"));
            }
            None => {}
        }
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let cut = |detail| Broken { wrong: Wrong::CutOff, seq: Some(self.state.next), line: self.state.line + 1, detail };
        let Some(end) = self.state.end else {
            return Err(cut(match self.state.records {
                0 => "there is no record and no signed end".to_owned(),
                _ => format!("the file ends after record {} without the signed end of an export", self.state.next - 1),
            }));
        };
        if let Some(kept) = self.kept.filter(|k| k.seq >= self.state.next) {
            return Err(cut(format!("the chain ends with record {}, and the kept seal is of record {}", end.seq, kept.seq)));
        }
        Ok(Summary {
            records: self.state.records,
            seals: self.state.seals,
            first: self.state.first,
            last: end.seq,
            hash: end.hash,
            exported_at: end.at,
            kept_met: self.kept_met,
        })
    }

    fn place(&self) -> String {
        match self.state.next {
            1 => "the first line".to_owned(),
            n => format!("the line after record {}", n - 1),
        }
    }

    fn fail(&mut self, wrong: Wrong, seq: Option<u64>, detail: String) {
        self.fail_at(wrong, seq, self.state.line, detail);
    }

    fn fail_at(&mut self, wrong: Wrong, seq: Option<u64>, line: u64, detail: String) {
        if self.broken.is_none() {
            self.broken = Some(Broken { wrong, seq, line, detail });
        }
    }
}

//! Bounded capture of one output stream: the first bytes and the last ones; what lay between is counted.

use std::collections::VecDeque;

use drydock_domain::limits::OUTPUT_PART_MAX_BYTES;
use drydock_domain::patch::report::Output;
use serde::{Deserialize, Serialize};

/// Standard output kept, bytes. 50,000 packages × ~150 bytes of query output = 7.5 MB, doubled: parsers need all of it.
pub(crate) const STDOUT_MAX_BYTES: usize = 16 * 1024 * 1024;

/// Where bytes of a kept stream are missing, and how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Kept bytes before the gap.
    pub at: usize,
    /// Missing bytes; 0 = the stream is whole.
    pub bytes: u64,
}

/// What a stream carried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
    head_max: usize,
    tail_max: usize,
}

impl Captured {
    /// For standard output: everything up to 16 MiB.
    pub(crate) fn stdout() -> Self {
        Captured { head_max: STDOUT_MAX_BYTES, tail_max: OUTPUT_PART_MAX_BYTES, ..Default::default() }
    }

    /// For standard error: the first and last 32 KiB.
    pub(crate) fn stderr() -> Self {
        Captured { head_max: OUTPUT_PART_MAX_BYTES, tail_max: OUTPUT_PART_MAX_BYTES, ..Default::default() }
    }

    /// A complete stream with these bytes; for fakes and tests.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut captured = Captured::stdout();
        captured.push(bytes);
        captured
    }

    /// At most `part_max` first and last bytes each, and what is missing between them: the form that is kept in a file.
    pub fn cut(&self, part_max: usize) -> (Vec<u8>, Gap) {
        let kept: Vec<u8> = self.head.iter().chain(self.tail.iter()).copied().collect();
        let at = if self.dropped > 0 { self.head.len().min(part_max) } else { kept.len().min(part_max) };
        let after = if self.dropped > 0 { self.head.len() } else { at }.max(kept.len().saturating_sub(part_max));
        let gap = Gap { at, bytes: self.dropped + (after - at) as u64 };
        ([&kept[..at], &kept[after..]].concat(), gap)
    }

    /// What [`Captured::cut`] gave, as a stream again. A file shorter than the gap's place has no gap of its own.
    pub fn from_cut(bytes: &[u8], gap: Gap) -> Self {
        if gap.bytes == 0 {
            return Captured::from_bytes(bytes);
        }
        let (head, tail) = bytes.split_at(gap.at.min(bytes.len()));
        Captured {
            head: head.to_vec(),
            tail: tail.iter().copied().collect(),
            dropped: gap.bytes,
            head_max: head.len(),
            tail_max: tail.len().max(OUTPUT_PART_MAX_BYTES),
        }
    }

    /// Adds what was read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = self.head_max.saturating_sub(self.head.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.head.extend_from_slice(first);
        let keep = rest.len().min(self.tail_max);
        self.dropped += (rest.len() - keep) as u64;
        self.tail.extend(&rest[rest.len() - keep..]);
        while self.tail.len() > self.tail_max {
            self.tail.pop_front();
            self.dropped += 1;
        }
    }

    /// Counts bytes that were printed and never read.
    pub(crate) fn lost(&mut self, bytes: u64) {
        self.dropped += bytes;
    }

    /// Nothing was dropped: parsers refuse anything else.
    pub fn complete(&self) -> bool {
        self.dropped == 0
    }

    /// Nothing was printed.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.tail.is_empty() && self.dropped == 0
    }

    /// Everything kept, lossy UTF-8, with a note where bytes are missing.
    pub fn text(&self) -> String {
        let mut bytes = self.head.clone();
        if self.dropped > 0 {
            bytes.extend_from_slice(format!("\n[{} bytes not kept]\n", self.dropped).as_bytes());
        }
        bytes.extend(self.tail.iter());
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The form reports carry: first and last 32 KiB.
    pub fn to_output(&self) -> Output {
        let kept: Vec<u8> = self.head.iter().chain(self.tail.iter()).copied().collect();
        let part = OUTPUT_PART_MAX_BYTES;
        let (head, tail, more) = if self.dropped == 0 && kept.len() <= part {
            (&kept[..], &[][..], 0)
        } else {
            let head_end = kept.len().min(part).min(self.head.len());
            let tail_start = kept.len().saturating_sub(part).max(head_end);
            (&kept[..head_end], &kept[tail_start..], (tail_start - head_end) as u64)
        };
        Output {
            head: String::from_utf8_lossy(head).into_owned(),
            tail: String::from_utf8_lossy(tail).into_owned(),
            dropped_bytes: self.dropped + more,
        }
    }

    /// This stream and then another, as one.
    pub(crate) fn followed_by(&self, other: &Captured) -> Captured {
        let mut joined = self.clone();
        let ends_line = joined.tail.back().or(joined.head.last()).is_none_or(|b| *b == b'\n');
        if !ends_line {
            joined.push(b"\n");
        }
        joined.push(&other.head);
        joined.lost(other.dropped);
        let (front, back) = other.tail.as_slices();
        joined.push(front);
        joined.push(back);
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_keeps_its_first_and_last_bytes_and_counts_the_rest() {
        let mut captured = Captured { head_max: 4, tail_max: 3, ..Default::default() };
        for chunk in [&b"ab"[..], b"cdef", b"ghij", b"k"] {
            captured.push(chunk);
        }
        assert_eq!(captured.text(), "abcd\n[4 bytes not kept]\nijk");
        assert!(!captured.complete());
        let output = captured.to_output();
        assert_eq!((output.head.as_str(), output.tail.as_str(), output.dropped_bytes), ("abcd", "ijk", 4));
    }

    #[test]
    fn a_report_carries_first_and_last_32_kib_of_a_long_but_complete_output() {
        let bytes: Vec<u8> = (0..100_000u32).map(|i| b'a' + (i % 26) as u8).collect();
        let output = Captured::from_bytes(&bytes).to_output();
        assert_eq!(output.head.as_bytes(), &bytes[..OUTPUT_PART_MAX_BYTES]);
        assert_eq!(output.tail.as_bytes(), &bytes[100_000 - OUTPUT_PART_MAX_BYTES..]);
        assert_eq!(output.dropped_bytes as usize, 100_000 - 2 * OUTPUT_PART_MAX_BYTES);
    }

    /// A stream that goes through a file tells the same as one that does not, whether it was flooded or merely long.
    #[test]
    fn a_cut_stream_still_counts_everything_that_is_missing() {
        for printed in [0usize, 10, 3_000, 90_000, 200_000, 500_000] {
            let bytes: Vec<u8> = (0..printed).map(|i| b'a' + u8::try_from(i % 26).unwrap()).collect();
            let mut captured = Captured { head_max: 150_000, tail_max: OUTPUT_PART_MAX_BYTES, ..Default::default() };
            captured.push(&bytes);
            for part_max in [40_000, 64 * 1024, 512 * 1024] {
                let (file, gap) = captured.cut(part_max);
                assert_eq!(file.len() as u64 + gap.bytes, printed as u64);
                let again = Captured::from_cut(&file, gap);
                assert_eq!(again.to_output(), captured.to_output(), "{printed} bytes cut at {part_max}");
                assert_eq!(again.complete(), gap.bytes == 0);
            }
        }
    }

    #[test]
    fn streams_join_at_a_line() {
        let joined = Captured::from_bytes(b"out").followed_by(&Captured::from_bytes(b"err\n"));
        assert_eq!(joined.text(), "out\nerr\n");
    }
}

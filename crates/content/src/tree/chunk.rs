//! Where nodes end. A node ends after its first entry, counted from [`MIN_ENTRIES`] on, whose key's checksum says so
//! (one in [`SPREAD`]), at the latest after [`MAX_ENTRIES`] entries or [`NODE_MAX_BYTES`]. The decision depends on the
//! entries since the last end only: after an edit, nodes are the same again from the first end that both have.
//!
//! The minimum makes sizes even (a changed entry would otherwise lie in a node of twice the mean) and levels finite,
//! also for keys chosen to end every node.

use sha2::Digest as _;

/// Fewest entries of a node but the last of its level.
pub(super) const MIN_ENTRIES: usize = 16;
/// From the minimum on, one key in this many ends a node: 32 entries on average.
const SPREAD: u32 = 16;
/// Most entries of a node. By chance one node in five million would be longer.
pub(super) const MAX_ENTRIES: usize = 256;
/// A node ends after the entry with which it reaches this, bytes of keys, records and parts.
pub(super) const NODE_MAX_BYTES: u64 = 4 << 20;

/// Cuts one level into nodes.
pub(super) struct Chunker {
    level: u8,
    entries: usize,
    bytes: u64,
}

impl Chunker {
    pub(super) fn new(level: u8) -> Self {
        Chunker { level, entries: 0, bytes: 0 }
    }

    /// No entry since the last end?
    pub(super) fn at_start(&self) -> bool {
        self.entries == 0
    }

    /// Takes the next entry; true when the node ends with it.
    pub(super) fn push(&mut self, key: &[u8], bytes: u64) -> bool {
        self.entries += 1;
        self.bytes += bytes;
        let ends = self.entries >= MAX_ENTRIES
            || self.bytes >= NODE_MAX_BYTES && (self.level == 0 || self.entries >= MIN_ENTRIES)
            || self.entries >= MIN_ENTRIES && key_ends(self.level, key);
        if ends {
            *self = Chunker::new(self.level);
        }
        ends
    }
}

/// Each level asks another question, since keys that end nodes are all the keys there are one level higher.
fn key_ends(level: u8, key: &[u8]) -> bool {
    let mut state = sha2::Sha256::new();
    state.update([level]);
    state.update(key);
    let sum = state.finalize();
    u32::from_be_bytes([sum[0], sum[1], sum[2], sum[3]]) < u32::MAX / SPREAD
}

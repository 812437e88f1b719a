//! A persistent ordered map from keys to records and metadata fragments, kept as objects. The form of a tree depends on
//! its entries alone: equal sets have equal roots, whatever was done to get there, and two sets that differ little
//! share nearly all of their nodes.
//!
//! Where a node ends is decided by its content (see [`chunk`]). Every entry has a record and a fixed number of parts
//! (bytes of published metadata: an rpm package has three, a deb package one); a leaf keeps each part of all its entries
//! as one gzip member, so that publishing an index is copying members one after the other.
//!
//! Absent: deletion of nodes (see [`crate::gc`]) and any knowledge of what records and parts mean.

mod build;
mod chunk;
mod diff;
mod edit;
mod node;
mod parts;
mod read;
#[cfg(test)]
mod tests;

pub use build::TreeBuilder;
pub use diff::{Change, diff};
pub use edit::edit;
pub(crate) use parts::{diff_part, map_part};
pub(crate) use read::check_leaf;
pub use read::{Heads, Member, Members, PartStream, get, heads, iter, iter_full, members, reachable, reachable_heads};

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::error::{ContentError, ContentResult};

/// Longest key, bytes.
pub const KEY_MAX_BYTES: usize = 4096;
/// Longest record, bytes: the largest known advisory (a whole minor release) needs about 300 KiB.
pub const RECORD_MAX_BYTES: usize = 1 << 20;
/// Longest part of one entry, bytes: file lists of the largest known packages have about 20 MiB.
pub const PART_MAX_BYTES: usize = 64 << 20;
/// Most parts of a tree's entries.
pub const PARTS_MAX: usize = crate::objects::SECTIONS_MAX - 1;
/// Most levels of a tree; sixteen children at least in all nodes but the last make 2^64 entries impossible before.
const HEIGHT_MAX: u8 = 16;

/// One entry, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the order.
    pub key: Vec<u8>,
    /// What is known of it; canonical JSON.
    pub record: Vec<u8>,
    /// Bytes of published metadata, one for each part of the tree.
    pub parts: Vec<Vec<u8>>,
}

/// One entry without the bytes of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its place in the order.
    pub key: Vec<u8>,
    /// What is known of it; canonical JSON.
    pub record: Vec<u8>,
    /// Length and checksum of each part.
    pub parts: Vec<PartRef>,
}

/// Length and checksum of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartRef {
    /// Length, bytes.
    pub len: u32,
    /// Checksum.
    pub sha256: Sha256,
}

/// A tree: all there is to know to read it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TreeRef {
    /// Name of the root node. Equal roots, equal entries.
    pub root: Sha256,
    /// Levels above the leaves; 0 = the root is a leaf.
    pub height: u8,
    /// Entries, count.
    pub count: u64,
    /// Bytes of all entries' parts, for each part.
    pub raw_bytes: Vec<u64>,
}

impl TreeRef {
    /// Number of parts of every entry.
    pub fn parts(&self) -> usize {
        self.raw_bytes.len()
    }

    /// A tree from elsewhere, for example out of a document that was read.
    pub(crate) fn check(&self) -> ContentResult<()> {
        if self.height > HEIGHT_MAX || self.parts() > PARTS_MAX {
            return Err(ContentError::damaged("tree", self.root, "its height or number of parts is impossible"));
        }
        Ok(())
    }
}

fn check_entry<'a>(key: &[u8], record: &[u8], parts: impl Iterator<Item = &'a [u8]>, want: usize) -> ContentResult<()> {
    let refuse = |problem: String| {
        let shown: String = String::from_utf8_lossy(&key[..key.len().min(200)]).replace('\0', " ");
        Err(ContentError::Refused { what: format!("entry {shown:?}"), problem })
    };
    if key.len() > KEY_MAX_BYTES {
        return refuse(format!("its key has {} bytes; at most {KEY_MAX_BYTES} are allowed", key.len()));
    }
    if record.len() > RECORD_MAX_BYTES {
        return refuse(format!("its record has {} bytes; at most {RECORD_MAX_BYTES} are allowed", record.len()));
    }
    let mut count = 0;
    for part in parts {
        count += 1;
        if part.len() > PART_MAX_BYTES {
            return refuse(format!("its metadata has {} bytes; at most {PART_MAX_BYTES} are allowed", part.len()));
        }
    }
    if count != want {
        return refuse(format!("it has {count} parts where the tree has {want}"));
    }
    Ok(())
}

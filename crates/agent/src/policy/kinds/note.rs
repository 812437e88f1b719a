//! What was there before a resource's first change, as its memory keeps it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::policy::kind::{Cx, Failure};

/// The note of this resource; what an older agent wrote otherwise counts as none.
pub fn recall<T: DeserializeOwned>(cx: &Cx<'_>) -> Result<Option<T>, Failure> {
    Ok(cx.memory.recall()?.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Replaces the note.
pub fn remember<T: Serialize>(cx: &Cx<'_>, note: &T) -> Result<(), Failure> {
    let text = serde_json::to_string(note).map_err(|e| Failure::of(format!("a note cannot be written: {e}")))?;
    cx.memory.remember(&text)
}

/// Writes the first note; later changes are of what we brought ourselves.
pub fn remember_first<T: Serialize + DeserializeOwned>(
    cx: &Cx<'_>,
    note: impl FnOnce() -> Result<T, Failure>,
) -> Result<(), Failure> {
    match recall::<T>(cx)? {
        Some(_) => Ok(()),
        None => remember(cx, &note()?),
    }
}

/// What was at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "was")]
pub enum Before {
    /// Nothing.
    Absent,
    /// A file.
    File {
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Base64; absent = too large to be kept.
        content: Option<String>,
    },
    /// A symbolic link.
    Link {
        /// Where it led.
        target: String,
    },
    /// A directory.
    Directory,
}

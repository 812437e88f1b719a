//! Reading trees: entries in order, one entry, the members that make up a published index, the names of all nodes.

use std::collections::HashSet;
use std::io::{self, Read};

use super::node::{Child, read_leaf, read_node, unpack};
use super::{Entry, Head, TreeRef};
use crate::digest::Sha256;
use crate::error::{ContentError, ContentResult};
use crate::objects::{Kind, Object, ObjectStore};

/// The nodes of one level of a tree in order, from the one that holds a key or would have to.
pub(super) struct Nodes {
    store: ObjectStore,
    parts: usize,
    /// Nodes of this level are given out.
    level: u8,
    /// What is left to visit, innermost last.
    stack: Vec<Siblings>,
    /// Children that end below this key are passed over, but for the last node of the level.
    from: Vec<u8>,
}

struct Siblings {
    level: u8,
    /// Nothing of this level comes after them.
    rightmost: bool,
    items: std::vec::IntoIter<Child>,
}

impl Nodes {
    pub(super) fn new(store: &ObjectStore, tree: &TreeRef, level: u8, from: &[u8]) -> Self {
        // The root's own last key is not known; it is rightmost, thus never passed over.
        let root = Child { last_key: Vec::new(), id: tree.root, count: tree.count, raw_bytes: tree.raw_bytes.clone() };
        let stack = vec![Siblings { level: tree.height, rightmost: true, items: vec![root].into_iter() }];
        Nodes { store: store.clone(), parts: tree.parts(), level, stack, from: from.to_vec() }
    }

    fn leaves(store: &ObjectStore, tree: &TreeRef, from: &[u8]) -> Self {
        Nodes::new(store, tree, 0, from)
    }

    /// The next node, and whether it is the last one of its level.
    pub(super) fn next_node(&mut self) -> ContentResult<Option<(Child, bool)>> {
        loop {
            let Some(siblings) = self.stack.last_mut() else { return Ok(None) };
            let level = siblings.level;
            let Some(child) = siblings.items.next() else {
                self.stack.pop();
                continue;
            };
            let rightmost = siblings.rightmost && siblings.items.len() == 0;
            if !rightmost && child.last_key.as_slice() < self.from.as_slice() {
                continue;
            }
            if level == self.level {
                return Ok(Some((child, rightmost)));
            }
            match read_node(&self.store, &child.id, level, self.parts) {
                Ok(children) => self.stack.push(Siblings { level: level - 1, rightmost, items: children.into_iter() }),
                Err(e) => {
                    self.stack.clear();
                    return Err(e);
                }
            }
        }
    }
}

impl Iterator for Nodes {
    type Item = ContentResult<Child>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_node().transpose()?.map(|(child, _)| child))
    }
}

fn open_leaf(store: &ObjectStore, id: &Sha256, parts: usize) -> ContentResult<(Object, Vec<Head>)> {
    let object = store.open_object(Kind::Leaf, id)?;
    let heads = read_leaf(&object, id, parts)?;
    Ok((object, heads))
}

/// Entries without their parts, in order; see [`iter`].
pub struct Heads {
    leaves: Nodes,
    open: std::vec::IntoIter<Head>,
}

impl Iterator for Heads {
    type Item = ContentResult<Head>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            for head in self.open.by_ref() {
                if head.key.as_slice() >= self.leaves.from.as_slice() {
                    return Some(Ok(head));
                }
            }
            let leaf = match self.leaves.next()? {
                Ok(leaf) => leaf,
                Err(e) => return Some(Err(e)),
            };
            match open_leaf(&self.leaves.store, &leaf.id, self.leaves.parts) {
                Ok((_, heads)) => self.open = heads.into_iter(),
                Err(e) => {
                    self.leaves.stack.clear();
                    return Some(Err(e));
                }
            }
        }
    }
}

/// Entries with keys from `from` on, without their parts. After an error there is nothing more.
pub fn iter(store: &ObjectStore, tree: &TreeRef, from: Option<&[u8]>) -> Heads {
    Heads { leaves: Nodes::leaves(store, tree, from.unwrap_or_default()), open: Vec::new().into_iter() }
}

/// All entries without their parts, in memory. For trees known to be small (advisories, modules).
pub fn heads(store: &ObjectStore, tree: &TreeRef) -> ContentResult<Vec<Head>> {
    iter(store, tree, None).collect()
}

/// Reads a leaf with all parts, each compared with its checksum.
pub(super) fn read_entries(store: &ObjectStore, id: &Sha256, parts: usize) -> ContentResult<Vec<Entry>> {
    entries_of(&store.open_object(Kind::Leaf, id)?, id, parts)
}

/// Compares everything in a leaf that is not covered by its name with the checksums that are. For leaves from elsewhere.
pub(crate) fn check_leaf(leaf: &Object, id: &Sha256) -> ContentResult<()> {
    entries_of(leaf, id, leaf.others()).map(|_| ())
}

fn entries_of(object: &Object, id: &Sha256, parts: usize) -> ContentResult<Vec<Entry>> {
    let heads = read_leaf(object, id, parts)?;
    let raw = (0..parts).map(|n| unpack(object, id, n + 1)).collect::<ContentResult<Vec<_>>>()?;
    let damaged = || ContentError::damaged(Kind::Leaf.what(), id, "a fragment does not have the checksum its entry names");
    let mut at = vec![0usize; parts];
    let mut entries = Vec::with_capacity(heads.len());
    for head in heads {
        let mut own = Vec::with_capacity(parts);
        for (n, part) in head.parts.iter().enumerate() {
            let end = at[n] + part.len as usize;
            let bytes = raw[n].get(at[n]..end).ok_or_else(damaged)?;
            if Sha256::of(bytes) != part.sha256 {
                return Err(damaged());
            }
            own.push(bytes.to_vec());
            at[n] = end;
        }
        entries.push(Entry { key: head.key, record: head.record, parts: own });
    }
    if at.iter().zip(&raw).any(|(end, raw)| *end != raw.len()) {
        return Err(ContentError::damaged(Kind::Leaf.what(), id, "a member holds more than its entries name"));
    }
    Ok(entries)
}

/// Entries with keys from `from` on, with their parts, unpacked a leaf at a time. After an error there is nothing more.
pub fn iter_full(
    store: &ObjectStore,
    tree: &TreeRef,
    from: Option<&[u8]>,
) -> impl Iterator<Item = ContentResult<Entry>> + Send + use<> {
    let from = from.unwrap_or_default().to_vec();
    let (store, parts) = (store.clone(), tree.parts());
    let mut failed = false;
    Nodes::leaves(&store, tree, &from)
        .flat_map(move |leaf| match leaf.and_then(|leaf| read_entries(&store, &leaf.id, parts)) {
            Ok(entries) => entries.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(e) => vec![Err(e)],
        })
        .skip_while(move |entry| entry.as_ref().is_ok_and(|e| e.key < from))
        .take_while(move |entry| !std::mem::replace(&mut failed, entry.is_err()))
}

/// The entry of this key, with its parts.
pub fn get(store: &ObjectStore, tree: &TreeRef, key: &[u8]) -> ContentResult<Option<Entry>> {
    let Some(leaf) = Nodes::leaves(store, tree, key).next() else { return Ok(None) };
    Ok(read_entries(store, &leaf?.id, tree.parts())?.into_iter().find(|e| e.key == key))
}

/// A stretch of a published index.
pub struct Member {
    /// One gzip member.
    pub gzip: Vec<u8>,
    /// Its unpacked length, bytes.
    pub raw_len: u64,
    /// The leaf it is of.
    pub leaf: Sha256,
}

/// See [`members`].
pub struct Members {
    leaves: Nodes,
    part: usize,
}

impl Iterator for Members {
    type Item = ContentResult<Member>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let read = self.leaves.next()?.and_then(|leaf| {
                let object = self.leaves.store.open_object(Kind::Leaf, &leaf.id)?;
                let raw_len = object.raw_len(self.part + 1)?;
                Ok(Member { gzip: object.stored(self.part + 1)?, raw_len, leaf: leaf.id })
            });
            match read {
                // A member of nothing has no bytes either.
                Ok(member) if member.raw_len == 0 => {}
                Ok(member) => return Some(Ok(member)),
                Err(e) => {
                    self.leaves.stack.clear();
                    return Some(Err(e));
                }
            }
        }
    }
}

/// The gzip members of a part (counted from 0), in order: one after the other they unpack to the part of all entries.
pub fn members(store: &ObjectStore, tree: &TreeRef, part: usize) -> Members {
    Members { leaves: Nodes::leaves(store, tree, &[]), part }
}

/// The raw bytes of a part of all entries, unpacked a leaf at a time.
pub struct PartStream {
    leaves: Nodes,
    part: usize,
    open: io::Cursor<Vec<u8>>,
}

impl PartStream {
    /// Of part `part` (counted from 0).
    pub fn new(store: &ObjectStore, tree: &TreeRef, part: usize) -> Self {
        PartStream { leaves: Nodes::leaves(store, tree, &[]), part, open: io::Cursor::new(Vec::new()) }
    }
}

impl Read for PartStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.open.read(buf)?;
            if n > 0 || buf.is_empty() {
                return Ok(n);
            }
            let Some(leaf) = self.leaves.next() else { return Ok(0) };
            let store = &self.leaves.store;
            let raw = leaf.and_then(|leaf| {
                let object = store.open_object(Kind::Leaf, &leaf.id)?;
                unpack(&object, &leaf.id, self.part + 1)
            });
            self.open = io::Cursor::new(raw.map_err(io::Error::other)?);
        }
    }
}

/// Adds the names of all nodes. A node that is in `found` is not entered again: what is below it is there as well.
pub fn reachable(store: &ObjectStore, tree: &TreeRef, found: &mut HashSet<Sha256>) -> ContentResult<()> {
    visit(store, tree, found, &mut |_| Ok(()))
}

/// [`reachable`] that also gives the entries of every leaf that was not in `found`.
pub fn reachable_heads(
    store: &ObjectStore,
    tree: &TreeRef,
    found: &mut HashSet<Sha256>,
    each: &mut dyn FnMut(Head) -> ContentResult<()>,
) -> ContentResult<()> {
    let parts = tree.parts();
    visit(store, tree, found, &mut |leaf| open_leaf(store, leaf, parts)?.1.into_iter().try_for_each(&mut *each))
}

fn visit(
    store: &ObjectStore,
    tree: &TreeRef,
    found: &mut HashSet<Sha256>,
    leaf: &mut dyn FnMut(&Sha256) -> ContentResult<()>,
) -> ContentResult<()> {
    tree.check()?;
    let mut open = vec![(tree.root, tree.height)];
    while let Some((id, level)) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        if level == 0 {
            leaf(&id)?;
        } else {
            open.extend(read_node(store, &id, level, tree.parts())?.into_iter().map(|child| (child.id, level - 1)));
        }
    }
    Ok(())
}

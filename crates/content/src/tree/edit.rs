//! A tree with some entries put or taken out. Only nodes around the changes are read and written; the result is, node
//! for node, what building it from its entries gives.
//!
//! Level by level: the nodes that hold changed items are cut anew from their first item on, until an end coincides with
//! an end the level had before. What that did to nodes are the changes of the level above.

use std::collections::BTreeMap;

use super::build::{LeafWriter, NodeWriter, WORKERS, finish_levels};
use super::node::{Child, read_node};
use super::read::{Nodes, read_entries};
use super::{Entry, TreeRef, check_entry};
use crate::error::{ContentError, ContentResult};
use crate::objects::ObjectStore;

/// With fewer changed entries leaves are packed by the caller's thread: starting threads would cost more.
const ALONE_CHANGES: usize = 64;

/// Changes of one level: what is to be under a key, or nothing.
type Changes<T> = BTreeMap<Vec<u8>, Option<T>>;

/// One level being written anew.
trait Level {
    type Item;
    fn key(item: &Self::Item) -> &[u8];
    fn read(&self, node: &Child) -> ContentResult<Vec<Self::Item>>;
    fn push(&mut self, item: Self::Item) -> ContentResult<()>;
    fn at_start(&self) -> bool;
    fn finish(self) -> ContentResult<Vec<Child>>;
}

struct LeafLevel<'a> {
    store: &'a ObjectStore,
    parts: usize,
    writer: LeafWriter,
}

impl Level for LeafLevel<'_> {
    type Item = Entry;

    fn key(item: &Entry) -> &[u8] {
        &item.key
    }

    fn read(&self, node: &Child) -> ContentResult<Vec<Entry>> {
        read_entries(self.store, &node.id, self.parts)
    }

    fn push(&mut self, item: Entry) -> ContentResult<()> {
        self.writer.push(&item.key, &item.record, item.parts.iter().map(Vec::as_slice))
    }

    fn at_start(&self) -> bool {
        self.writer.at_start()
    }

    fn finish(self) -> ContentResult<Vec<Child>> {
        self.writer.finish()
    }
}

struct NodeLevel<'a> {
    store: &'a ObjectStore,
    parts: usize,
    level: u8,
    writer: NodeWriter,
}

impl Level for NodeLevel<'_> {
    type Item = Child;

    fn key(item: &Child) -> &[u8] {
        &item.last_key
    }

    fn read(&self, node: &Child) -> ContentResult<Vec<Child>> {
        read_node(self.store, &node.id, self.level, self.parts)
    }

    fn push(&mut self, item: Child) -> ContentResult<()> {
        self.writer.push(item)
    }

    fn at_start(&self) -> bool {
        self.writer.at_start()
    }

    fn finish(self) -> ContentResult<Vec<Child>> {
        self.writer.finish()
    }
}

/// Puts and takes out entries: a key with `None` is taken out (also when it is not there). Its objects are durable after
/// [`ObjectStore::sync`].
pub fn edit(store: &ObjectStore, tree: &TreeRef, changes: BTreeMap<Vec<u8>, Option<Entry>>) -> ContentResult<TreeRef> {
    tree.check()?;
    let parts = tree.parts();
    for (key, entry) in &changes {
        let Some(entry) = entry else { continue };
        check_entry(&entry.key, &entry.record, entry.parts.iter().map(Vec::as_slice), parts)?;
        if entry.key != *key {
            return Err(ContentError::Refused {
                what: "an edit".to_owned(),
                problem: "an entry is under another key".to_owned(),
            });
        }
    }
    let workers = if changes.len() < ALONE_CHANGES { 0 } else { WORKERS };
    let leaves = LeafLevel { store, parts, writer: LeafWriter::new(store, parts, workers) };
    let mut changed = edit_level(store, tree, 0, changes, leaves)?;
    for level in 1..=tree.height {
        if changed.is_empty() {
            break;
        }
        let nodes = NodeLevel { store, parts, level, writer: NodeWriter::new(store, level) };
        changed = edit_level(store, tree, level, changed, nodes)?;
    }
    if changed.is_empty() {
        return Ok(tree.clone());
    }
    // The root was the only node of its level: what replaces it is all there is.
    let tops: Vec<Child> = changed.into_values().flatten().collect();
    match tops.len() {
        0 => finish_levels(store, 0, tops, parts),
        1 => lower(store, tree.height, tops, parts),
        _ => finish_levels(store, tree.height, tops, parts),
    }
}

/// Takes away levels above a node that is alone on its level.
fn lower(store: &ObjectStore, level: u8, top: Vec<Child>, parts: usize) -> ContentResult<TreeRef> {
    let (mut level, mut top) = (level, top);
    while level > 0 {
        let Some(node) = top.first() else { break };
        let children = read_node(store, &node.id, level, parts)?;
        if children.len() > 1 {
            break;
        }
        level -= 1;
        top = children;
    }
    finish_levels(store, level, top, parts)
}

/// Writes the changed part of a level anew and returns what became of its nodes.
fn edit_level<L: Level>(
    store: &ObjectStore,
    tree: &TreeRef,
    level: u8,
    changes: Changes<L::Item>,
    mut writer: L,
) -> ContentResult<Changes<Child>> {
    let mut gone: BTreeMap<Vec<u8>, Child> = BTreeMap::new();
    let mut changes = changes.into_iter().peekable();
    while let Some((first, _)) = changes.peek() {
        let mut nodes = Nodes::new(store, tree, level, first);
        while let Some((node, last)) = nodes.next_node()? {
            // The last node takes whatever is above all keys as well.
            let here = |key: &[u8]| last || key <= node.last_key.as_slice();
            for item in writer.read(&node)? {
                while let Some((_, put)) = changes.next_if(|(key, _)| key.as_slice() < L::key(&item)) {
                    put.map_or(Ok(()), |put| writer.push(put))?;
                }
                match changes.next_if(|(key, _)| key.as_slice() == L::key(&item)) {
                    Some((_, put)) => put.map_or(Ok(()), |put| writer.push(put))?,
                    None => writer.push(item)?,
                }
            }
            while let Some((_, put)) = changes.next_if(|(key, _)| here(key)) {
                put.map_or(Ok(()), |put| writer.push(put))?;
            }
            gone.insert(node.last_key.clone(), node);
            if writer.at_start() {
                break;
            }
        }
    }
    let mut changed: Changes<Child> = BTreeMap::new();
    for node in writer.finish()? {
        if gone.get(&node.last_key).is_some_and(|old| old.id == node.id) {
            gone.remove(&node.last_key);
        } else {
            changed.insert(node.last_key.clone(), Some(node));
        }
    }
    for key in gone.into_keys() {
        changed.entry(key).or_insert(None);
    }
    Ok(changed)
}

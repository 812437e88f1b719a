//! One part of all entries, or of those that differ between two trees, made into something by several threads at once.
//! Of the other parts nothing is unpacked, and of nodes that two trees share nothing is read.

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::thread;

use super::node::{read_leaf, read_node, unpack};
use super::read::Nodes;
use super::{Head, TreeRef};
use crate::digest::Sha256;
use crate::error::{ContentError, ContentResult};
use crate::objects::{Kind, ObjectStore};

/// Threads of one reading: beyond it the disk and the other work of a server count more.
const THREADS_MAX: usize = 4;

/// What differs between two trees, by groups of keys.
pub(crate) struct PartDiff<T> {
    /// Groups of the first tree that have no entry among the second tree's changed leaves.
    pub gone: Vec<Gone>,
    /// What was made of every entry of a group in which something changed.
    pub changed: Vec<T>,
}

/// A group that may be gone.
pub(crate) struct Gone {
    pub group: Vec<u8>,
    /// It lies at the edge of its leaf: further entries of it may be in one that both trees share.
    pub at_edge: bool,
}

/// Makes something of part `part` of every entry, in the order of keys.
pub(crate) fn map_part<T: Send>(
    store: &ObjectStore,
    tree: &TreeRef,
    part: usize,
    make: impl Fn(&Head, &[u8]) -> ContentResult<T> + Sync,
) -> ContentResult<Vec<T>> {
    tree.check()?;
    let leaves = Nodes::new(store, tree, 0, &[]).map(|leaf| Ok(leaf?.id)).collect::<ContentResult<Vec<Sha256>>>()?;
    side_by_side(&leaves, |id| make_leaf(store, id, tree.parts(), part, &|_| true, &make))
}

/// Compares part `part` of two trees, either of which may be absent. Keys with equal `group` belong together: when one of
/// them changed, all of them that lie in changed leaves are given.
pub(crate) fn diff_part<T: Send>(
    store: &ObjectStore,
    (a, b): (Option<&TreeRef>, Option<&TreeRef>),
    part: usize,
    group: fn(&[u8]) -> &[u8],
    make: impl Fn(&Head, &[u8]) -> ContentResult<T> + Sync,
) -> ContentResult<PartDiff<T>> {
    let (only_a, only_b) = differing_leaves(store, a, b)?;
    let parts = a.or(b).map_or(0, TreeRef::parts);
    let heads = |id: &Sha256| Ok(vec![read_leaf(&store.open_object(Kind::Leaf, id)?, id, parts)?]);
    let old: Vec<Vec<Head>> = side_by_side(&only_a, heads)?;
    let new: Vec<Vec<Head>> = side_by_side(&only_b, heads)?;
    let before: HashMap<&[u8], &Head> = old.iter().flatten().map(|head| (head.key.as_slice(), head)).collect();
    let after: HashSet<&[u8]> = new.iter().flatten().map(|head| head.key.as_slice()).collect();
    let groups: HashSet<&[u8]> = after.iter().map(|key| group(key)).collect();
    let same = |head: &Head| before.get(head.key.as_slice()).is_some_and(|old| **old == *head);
    let mut touched: HashSet<&[u8]> = new.iter().flatten().filter(|head| !same(head)).map(|head| group(&head.key)).collect();
    let mut gone: Vec<Gone> = Vec::new();
    for leaf in &old {
        let edges = [leaf.first(), leaf.last()].map(|head| head.map(|head| group(&head.key)));
        for head in leaf.iter().filter(|head| !after.contains(head.key.as_slice())) {
            let own = group(&head.key);
            touched.insert(own);
            if !groups.contains(own) && gone.last().is_none_or(|last| last.group != own) {
                gone.push(Gone { group: own.to_vec(), at_edge: edges.contains(&Some(own)) });
            }
        }
    }
    let wanted = |head: &Head| touched.contains(group(&head.key));
    let leaves: Vec<Sha256> = only_b.iter().zip(&new).filter(|(_, heads)| heads.iter().any(wanted)).map(|(id, _)| *id).collect();
    let changed = side_by_side(&leaves, |id| make_leaf(store, id, parts, part, &wanted, &make))?;
    Ok(PartDiff { gone, changed })
}

/// Makes something of the wanted entries of one leaf.
fn make_leaf<T>(
    store: &ObjectStore,
    id: &Sha256,
    parts: usize,
    part: usize,
    wanted: &(dyn Fn(&Head) -> bool + Sync),
    make: &(impl Fn(&Head, &[u8]) -> ContentResult<T> + Sync),
) -> ContentResult<Vec<T>> {
    let object = store.open_object(Kind::Leaf, id)?;
    let heads = read_leaf(&object, id, parts)?;
    let raw = unpack(&object, id, part + 1)?;
    let mut made = Vec::with_capacity(heads.len());
    let mut at = 0;
    for head in &heads {
        let end = at + head.parts.get(part).map_or(0, |part| part.len as usize);
        let bytes = raw
            .get(at..end)
            .ok_or_else(|| ContentError::damaged(Kind::Leaf.what(), id, "a member is shorter than its entries say"))?;
        at = end;
        if wanted(head) {
            made.push(make(head, bytes)?);
        }
    }
    Ok(made)
}

/// The leaves that only one of two trees has, in order.
fn differing_leaves(store: &ObjectStore, a: Option<&TreeRef>, b: Option<&TreeRef>) -> ContentResult<(Vec<Sha256>, Vec<Sha256>)> {
    let side = |tree: Option<&TreeRef>| -> ContentResult<(Vec<Sha256>, u8, usize)> {
        let Some(tree) = tree else { return Ok((Vec::new(), 0, 0)) };
        tree.check()?;
        Ok((vec![tree.root], tree.height, tree.parts()))
    };
    let ((mut xs, mut x, parts_x), (mut ys, mut y, parts_y)) = (side(a)?, side(b)?);
    loop {
        if x == y {
            // The same node on the same level is the same stretch of both trees.
            let common: HashSet<Sha256> =
                xs.iter().copied().collect::<HashSet<_>>().intersection(&ys.iter().copied().collect()).copied().collect();
            xs.retain(|id| !common.contains(id));
            ys.retain(|id| !common.contains(id));
            if x == 0 {
                return Ok((xs, ys));
            }
        }
        let (enter_x, enter_y) = (x >= y, y >= x);
        if enter_x {
            xs = children(store, &xs, x, parts_x)?;
            x -= 1;
        }
        if enter_y {
            ys = children(store, &ys, y, parts_y)?;
            y -= 1;
        }
    }
}

fn children(store: &ObjectStore, nodes: &[Sha256], level: u8, parts: usize) -> ContentResult<Vec<Sha256>> {
    let mut ids = Vec::new();
    for node in nodes {
        ids.extend(read_node(store, node, level, parts)?.into_iter().map(|child| child.id));
    }
    Ok(ids)
}

/// Does `work` on every item, several at once, and gives the results in order.
fn side_by_side<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> ContentResult<Vec<T>> + Sync) -> ContentResult<Vec<T>> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
    let share = items.len().div_ceil(threads).max(1);
    let run = |items: &[I]| -> ContentResult<Vec<T>> {
        let mut all = Vec::new();
        for item in items {
            all.extend(work(item)?);
        }
        Ok(all)
    };
    if share >= items.len() {
        return run(items);
    }
    thread::scope(|scope| {
        let running: Vec<_> = items.chunks(share).map(|items| scope.spawn(|| run(items))).collect();
        let mut all = Vec::new();
        for thread in running {
            // A panic in the work is a panic here.
            all.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}

//! What differs between two trees. Nodes that both have are never read: the cost is that of the differences.

use super::node::{read_leaf, read_node};
use super::{Head, TreeRef};
use crate::digest::Sha256;
use crate::error::{ContentError, ContentResult};
use crate::objects::{Kind, ObjectStore};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Only in the second tree.
    Added(Head),
    /// Only in the first tree.
    Removed(Head),
    /// In both, with another record or other parts.
    Changed {
        /// In the first tree.
        before: Head,
        /// In the second tree.
        after: Head,
    },
}

/// What comes next on one side.
enum Item {
    /// A node nobody looked into yet. All its keys are above `above` and not above `last` (absent: no bound is known).
    Node {
        id: Sha256,
        level: u8,
        above: Option<Vec<u8>>,
        last: Option<Vec<u8>>,
    },
    Entry(Head),
}

struct Side<'a> {
    store: &'a ObjectStore,
    parts: usize,
    /// In order, the next one last.
    items: Vec<Item>,
}

impl<'a> Side<'a> {
    fn new(store: &'a ObjectStore, tree: &TreeRef) -> Self {
        let root = Item::Node { id: tree.root, level: tree.height, above: None, last: None };
        Side { store, parts: tree.parts(), items: vec![root] }
    }

    /// Replaces the next item, a node, by what is in it.
    fn enter(&mut self) -> ContentResult<()> {
        let Some(Item::Node { id, level, above, .. }) = self.items.pop() else { return Ok(()) };
        let at = self.items.len();
        if level == 0 {
            let object = self.store.open_object(Kind::Leaf, &id)?;
            self.items.extend(read_leaf(&object, &id, self.parts)?.into_iter().map(Item::Entry));
        } else {
            let mut above = above;
            for child in read_node(self.store, &id, level, self.parts)? {
                let last = Some(child.last_key);
                let above = std::mem::replace(&mut above, last.clone());
                self.items.push(Item::Node { id: child.id, level: level - 1, above, last });
            }
        }
        self.items[at..].reverse();
        Ok(())
    }

    fn take_entry(&mut self) -> Option<Head> {
        match self.items.pop() {
            Some(Item::Entry(head)) => Some(head),
            _ => None,
        }
    }
}

/// What to do with the next items of both sides.
enum Step {
    SkipBoth,
    Enter { a: bool, b: bool },
    Take { a: bool, b: bool },
}

/// Is everything up to `last` outside what lies above `above`?
fn ends_before(last: &Option<Vec<u8>>, above: &Option<Vec<u8>>) -> bool {
    matches!((last, above), (Some(last), Some(above)) if last <= above)
}

fn step(a: Option<&Item>, b: Option<&Item>) -> Option<Step> {
    let outside = |head: &Head, above: &Option<Vec<u8>>| above.as_ref().is_some_and(|above| head.key <= *above);
    Some(match (a, b) {
        (None, None) => return None,
        (Some(Item::Node { .. }), None) => Step::Enter { a: true, b: false },
        (None, Some(Item::Node { .. })) => Step::Enter { a: false, b: true },
        (Some(Item::Entry(_)), None) => Step::Take { a: true, b: false },
        (None, Some(Item::Entry(_))) => Step::Take { a: false, b: true },
        (Some(Item::Entry(x)), Some(Item::Entry(y))) => Step::Take { a: x.key <= y.key, b: y.key <= x.key },
        (Some(Item::Entry(x)), Some(Item::Node { above, .. })) if outside(x, above) => Step::Take { a: true, b: false },
        (Some(Item::Node { above, .. }), Some(Item::Entry(y))) if outside(y, above) => Step::Take { a: false, b: true },
        (Some(Item::Entry(_)), Some(Item::Node { .. })) => Step::Enter { a: false, b: true },
        (Some(Item::Node { .. }), Some(Item::Entry(_))) => Step::Enter { a: true, b: false },
        (
            Some(Item::Node { id: x, level: i, above: above_x, last: last_x }),
            Some(Item::Node { id: y, level: j, above: above_y, last: last_y }),
        ) => {
            if x == y && i == j {
                Step::SkipBoth
            } else if ends_before(last_x, above_y) {
                Step::Enter { a: true, b: false }
            } else if ends_before(last_y, above_x) {
                Step::Enter { a: false, b: true }
            } else {
                Step::Enter { a: i >= j, b: j >= i }
            }
        }
    })
}

/// Gives every difference to `found`, in the order of keys; its first error ends the comparison.
pub fn diff(
    store: &ObjectStore,
    a: &TreeRef,
    b: &TreeRef,
    found: &mut dyn FnMut(Change) -> ContentResult<()>,
) -> ContentResult<()> {
    a.check()?;
    b.check()?;
    if a.parts() != b.parts() {
        return Err(ContentError::Refused {
            what: format!("comparing trees {} and {}", a.root, b.root),
            problem: "their entries have different numbers of parts".to_owned(),
        });
    }
    let (mut a, mut b) = (Side::new(store, a), Side::new(store, b));
    while let Some(step) = step(a.items.last(), b.items.last()) {
        match step {
            Step::SkipBoth => {
                a.items.pop();
                b.items.pop();
            }
            Step::Enter { a: enter_a, b: enter_b } => {
                if enter_a {
                    a.enter()?;
                }
                if enter_b {
                    b.enter()?;
                }
            }
            Step::Take { a: take_a, b: take_b } => {
                let before = if take_a { a.take_entry() } else { None };
                let after = if take_b { b.take_entry() } else { None };
                match (before, after) {
                    (Some(before), Some(after)) if before != after => found(Change::Changed { before, after })?,
                    (Some(before), None) => found(Change::Removed(before))?,
                    (None, Some(after)) => found(Change::Added(after))?,
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

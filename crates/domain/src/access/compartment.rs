//! Compartments: a tree under the tenancy. A path `a:b:c` goes down from the compartment a policy is attached to. Absent on
//! purpose: who lives in which compartment, and whether one is empty (the store knows).

use std::collections::HashMap;

use super::fold;
use super::{COMPARTMENT_DEPTH_MAX, COMPARTMENTS_MAX, NAME_MAX_BYTES};
use crate::query::shown;

/// Longest name of a compartment, bytes (the vendor's bound).
const COMPARTMENT_NAME_MAX_BYTES: usize = 100;

/// A compartment as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compartment {
    /// Its id.
    pub id: String,
    /// Its name; siblings have different ones, in any case.
    pub name: String,
    /// Id of the one it lies in; absent: it is the tenancy.
    pub parent: Option<String>,
}

/// Compartments that are no tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTree {
    /// Too many.
    #[error("there are {0} compartments; at most {COMPARTMENTS_MAX}")]
    TooMany(usize),
    /// None or several have no parent.
    #[error("{0} compartments have no parent; exactly one, the tenancy, has none")]
    Roots(usize),
    /// An id is used twice or has no proper length.
    #[error("the compartment id {0} is there twice, empty or longer than {NAME_MAX_BYTES} bytes; ids are unique")]
    Id(String),
    /// A parent does not exist, or compartments lie in each other.
    #[error("compartment {0} hangs under none that leads up to the tenancy; name an existing parent that is not inside it")]
    Detached(String),
    /// Lies too deep.
    #[error("compartment {0} lies deeper than {COMPARTMENT_DEPTH_MAX} levels under the tenancy; move it up")]
    Deep(String),
    /// A name that cannot be written in a path.
    #[error("{0} is no name of a compartment: it has 1 to {COMPARTMENT_NAME_MAX_BYTES} letters, digits and . _ -")]
    Name(String),
    /// Two siblings have one name.
    #[error("compartment {parent} holds two called {name}; rename one")]
    Twin {
        /// Where.
        parent: String,
        /// The name.
        name: String,
    },
}

/// A place in a tree; only good for the tree it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At(u32);

#[derive(Debug, Clone)]
struct Node {
    id: String,
    /// The id in the form in which texts are compared.
    folded_id: String,
    name: String,
    folded_name: String,
    parent: Option<At>,
    /// One past the last of its descendants.
    end: u32,
}

/// The tree, its nodes in the order parents before children, so that what lies below is a range.
#[derive(Debug, Clone)]
pub struct Tree {
    nodes: Vec<Node>,
    by_id: HashMap<String, At>,
}

impl Tree {
    /// Builds the tree.
    pub fn build(compartments: &[Compartment]) -> Result<Tree, BadTree> {
        if compartments.len() > COMPARTMENTS_MAX {
            return Err(BadTree::TooMany(compartments.len()));
        }
        let (root, children) = sorted(compartments)?;
        let mut tree = Tree { nodes: Vec::with_capacity(compartments.len()), by_id: HashMap::new() };
        tree.add(root, &children, None, 0)?;
        let lost = compartments.iter().find(|c| !tree.by_id.contains_key(&fold(&c.id)));
        match lost {
            Some(lost) => Err(BadTree::Detached(shown(&lost.id))),
            None => Ok(tree),
        }
    }

    /// Adds a compartment with all that lies in it; the depth bounds the recursion.
    fn add(&mut self, own: &Compartment, children: &Children<'_>, parent: Option<At>, depth: usize) -> Result<(), BadTree> {
        if depth > COMPARTMENT_DEPTH_MAX {
            return Err(BadTree::Deep(shown(&own.name)));
        }
        // The count is bounded, so the number fits.
        let at = At(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        let (id, name) = (own.id.clone(), own.name.clone());
        let (folded_id, folded_name) = (fold(&id), fold(&name));
        self.by_id.insert(folded_id.clone(), at);
        self.nodes.push(Node { id, folded_id: folded_id.clone(), name, folded_name, parent, end: 0 });
        for child in children.get(&folded_id).into_iter().flatten() {
            self.add(child, children, Some(at), depth + 1)?;
        }
        let end = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        if let Some(node) = self.nodes.get_mut(at.0 as usize) {
            node.end = end;
        }
        Ok(())
    }

    /// The tenancy.
    pub fn root(&self) -> At {
        At(0)
    }

    /// The compartment with this id, in any case.
    pub fn find(&self, id: &str) -> Option<At> {
        match self.by_id.get(id) {
            Some(at) => Some(*at),
            None => self.by_id.get(&fold(id)).copied(),
        }
    }

    /// Its id.
    pub fn id(&self, at: At) -> &str {
        self.node(at).map_or("", |n| &n.id)
    }

    /// Its name.
    pub fn name(&self, at: At) -> &str {
        self.node(at).map_or("", |n| &n.name)
    }

    /// Id and name in the form in which texts are compared.
    pub(super) fn folded(&self, at: At) -> (&str, &str) {
        self.node(at).map_or(("", ""), |n| (&n.folded_id, &n.folded_name))
    }

    /// The one it lies in; `None`: it is the tenancy.
    pub fn parent(&self, at: At) -> Option<At> {
        self.node(at).and_then(|n| n.parent)
    }

    /// `a:b:c` from the tenancy down; `tenancy` for the tenancy itself.
    pub fn path(&self, at: At) -> String {
        let mut names = Vec::new();
        let mut here = at;
        while let Some(parent) = self.parent(here) {
            names.push(self.name(here));
            here = parent;
        }
        if names.is_empty() {
            return "tenancy".to_owned();
        }
        names.reverse();
        names.join(":")
    }

    /// Is `inner` the compartment `outer` or somewhere inside it?
    pub fn covers(&self, outer: At, inner: At) -> bool {
        self.range(outer).contains(&inner.0)
    }

    /// The compartment and everything inside it.
    pub fn within(&self, at: At) -> impl Iterator<Item = At> + use<> {
        self.range(at).map(At)
    }

    /// Those directly inside it.
    pub fn children(&self, at: At) -> impl Iterator<Item = At> {
        self.within(at).filter(move |inner| self.parent(*inner) == Some(at))
    }

    /// What a path means that a policy attached to `from` names. The first name may be that of the compartment itself,
    /// and then means it even where a child is called the same: otherwise whoever can make compartments could change what
    /// a statement means. The tenancy is never meant by its name.
    pub fn resolve(&self, from: At, path: &[String]) -> Option<At> {
        let own_name = |first: &String| from != self.root() && fold(first) == self.folded(from).1;
        let rest = match path.split_first()? {
            (first, rest) if own_name(first) => rest,
            _ => path,
        };
        rest.iter().try_fold(from, |at, name| {
            let name = fold(name);
            self.children(at).find(|child| self.folded(*child).1 == name)
        })
    }

    /// May `moved` be put into `into`, or what is in the way?
    pub fn check_move(&self, moved: At, into: At) -> Result<(), BadTree> {
        if self.covers(moved, into) {
            return Err(BadTree::Detached(shown(self.name(moved))));
        }
        let name = self.folded(moved).1;
        if self.children(into).any(|child| child != moved && self.folded(child).1 == name) {
            return Err(BadTree::Twin { parent: shown(self.name(into)), name: shown(self.name(moved)) });
        }
        let below = self.within(moved).map(|at| self.depth(at)).max().unwrap_or_default();
        if self.depth(into) + 1 + below - self.depth(moved) > COMPARTMENT_DEPTH_MAX {
            return Err(BadTree::Deep(shown(self.name(moved))));
        }
        Ok(())
    }

    fn depth(&self, at: At) -> usize {
        std::iter::successors(self.parent(at), |at| self.parent(*at)).count()
    }

    /// Its number and one past the last number inside it.
    pub(super) fn range(&self, at: At) -> std::ops::Range<u32> {
        at.0..self.node(at).map_or(at.0, |n| n.end)
    }

    pub(super) fn number(at: At) -> u32 {
        at.0
    }

    fn node(&self, at: At) -> Option<&Node> {
        self.nodes.get(at.0 as usize)
    }
}

/// Children by the id of their parent, sorted by name.
type Children<'a> = HashMap<String, Vec<&'a Compartment>>;

/// The tenancy and the others by their parents, each checked by itself.
fn sorted(compartments: &[Compartment]) -> Result<(&Compartment, Children<'_>), BadTree> {
    let mut children: Children<'_> = HashMap::new();
    let mut ids = std::collections::HashSet::new();
    let mut roots = Vec::new();
    for own in compartments {
        if own.id.is_empty() || own.id.len() > NAME_MAX_BYTES || !ids.insert(fold(&own.id)) {
            return Err(BadTree::Id(shown(&own.id)));
        }
        let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if own.name.is_empty() || own.name.len() > COMPARTMENT_NAME_MAX_BYTES || !own.name.chars().all(good) {
            return Err(BadTree::Name(shown(&own.name)));
        }
        match &own.parent {
            None => roots.push(own),
            Some(parent) => children.entry(fold(parent)).or_default().push(own),
        }
    }
    for (parent, siblings) in &mut children {
        siblings.sort_by_key(|c| fold(&c.name));
        let twins = siblings.windows(2).find(|pair| fold(&pair[0].name) == fold(&pair[1].name));
        if let Some([twin, _]) = twins {
            return Err(BadTree::Twin { parent: shown(parent), name: shown(&twin.name) });
        }
    }
    match roots.as_slice() {
        [root] => Ok((root, children)),
        _ => Err(BadTree::Roots(roots.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(id: &str, name: &str, parent: &str) -> Compartment {
        let parent = (!parent.is_empty()).then(|| parent.to_owned());
        Compartment { id: id.into(), name: name.into(), parent }
    }

    fn tree() -> Tree {
        let all = [
            own("c3", "c", "b2"),
            own("a1", "A", "t"),
            own("t", "acme", ""),
            own("b2", "b", "a1"),
            own("x1", "x", "t"),
            own("a2", "a", "a1"),
        ];
        Tree::build(&all).expect("a tree")
    }

    fn resolve(tree: &Tree, from: &str, path: &str) -> Option<String> {
        let path: Vec<String> = path.split(':').map(str::to_owned).collect();
        tree.resolve(tree.find(from).expect("there"), &path).map(|at| tree.id(at).to_owned())
    }

    #[test]
    fn paths_go_down_from_where_the_policy_is() {
        let tree = tree();
        assert_eq!(resolve(&tree, "t", "a:B:c").as_deref(), Some("c3"));
        assert_eq!(resolve(&tree, "a1", "b").as_deref(), Some("b2"));
        assert_eq!(resolve(&tree, "a1", "a").as_deref(), Some("a1"), "its own name is itself, not the child");
        assert_eq!(resolve(&tree, "a1", "a:a").as_deref(), Some("a2"));
        assert_eq!(resolve(&tree, "t", "acme"), None, "the tenancy is written tenancy");
        assert_eq!(resolve(&tree, "a1", "x"), None);
        assert_eq!(resolve(&tree, "x1", "a"), None, "not upwards");
        assert_eq!(tree.path(tree.find("C3").expect("in any case")), "A:b:c");
        assert_eq!(tree.path(tree.root()), "tenancy");
    }

    #[test]
    fn what_lies_in_what() {
        let tree = tree();
        let at = |id: &str| tree.find(id).expect("there");
        assert!(tree.covers(at("a1"), at("c3")) && tree.covers(at("a1"), at("a1")) && tree.covers(tree.root(), at("x1")));
        assert!(!tree.covers(at("c3"), at("a1")) && !tree.covers(at("x1"), at("a1")));
        let mut inner: Vec<&str> = tree.within(at("a1")).map(|i| tree.id(i)).collect();
        inner.sort_unstable();
        assert_eq!(inner, ["a1", "a2", "b2", "c3"]);
    }

    #[test]
    fn a_move_keeps_it_a_tree() {
        let tree = tree();
        let at = |id: &str| tree.find(id).expect("there");
        assert_eq!(tree.check_move(at("b2"), at("x1")), Ok(()));
        assert!(matches!(tree.check_move(at("a1"), at("c3")), Err(BadTree::Detached(_))));
        assert!(matches!(tree.check_move(at("a2"), tree.root()), Err(BadTree::Twin { .. })));
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let build = |all: &[Compartment]| Tree::build(all).map(|_| ()).expect_err("refused");
        assert_eq!(build(&[]), BadTree::Roots(0));
        assert_eq!(build(&[own("t", "t", ""), own("u", "u", "")]), BadTree::Roots(2));
        assert!(matches!(build(&[own("t", "t", ""), own("T", "u", "t")]), BadTree::Id(_)));
        assert!(matches!(build(&[own("t", "t", ""), own("a", "a", "b"), own("b", "b", "a")]), BadTree::Detached(_)));
        assert!(matches!(build(&[own("t", "t", ""), own("a", "a", "nowhere")]), BadTree::Detached(_)));
        assert!(matches!(build(&[own("t", "t", ""), own("a", "n", "t"), own("b", "N", "t")]), BadTree::Twin { .. }));
        assert!(matches!(build(&[own("t", "t", ""), own("a", "n:m", "t")]), BadTree::Name(_)));
        let mut deep = vec![own("0", "t", "")];
        deep.extend((1..=COMPARTMENT_DEPTH_MAX + 1).map(|n| own(&n.to_string(), "n", &(n - 1).to_string())));
        assert!(matches!(build(&deep), BadTree::Deep(_)));
        deep.pop();
        assert!(Tree::build(&deep).is_ok());
        let many: Vec<Compartment> = (0..=COMPARTMENTS_MAX).map(|n| own(&n.to_string(), "n", "")).collect();
        assert_eq!(build(&many), BadTree::TooMany(COMPARTMENTS_MAX + 1));
    }
}

//! The decision: may this principal do this, there, now? And why, and who else may. Absent on purpose: reading policies
//! and facts; filtering of lists.

use std::cell::OnceCell;
use std::fmt;

use super::compartment::Tree;
use super::compile::{Bucket, Check, Compiled, Entry, Placed, keys};
use super::permissions::Right;
use super::request::{Facts, Principal, Resource, Values, View};
use super::statement::{Comparison, Condition, Effect, Value};
use super::variable::{Kind, Variable};

/// A decision and the statement it rests on.
#[derive(Debug, Clone, Copy)]
pub enum Decision<'c> {
    /// Allowed.
    Allow {
        /// By this statement.
        by: &'c Placed,
    },
    /// Refused.
    Deny {
        /// Why.
        why: Why<'c>,
    },
}

/// Why something is refused.
#[derive(Debug, Clone, Copy)]
pub enum Why<'c> {
    /// This statement takes it.
    Denied(&'c Placed),
    /// No statement gives it.
    NotAllowed,
    /// The compartment is not there.
    NoCompartment,
}

impl Decision<'_> {
    /// Is it allowed?
    pub fn is_allowed(&self) -> bool {
        matches!(self, Decision::Allow { .. })
    }
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Allow { by } => write!(f, "allowed by {by}"),
            Decision::Deny { why: Why::Denied(by) } => write!(f, "denied by {by}"),
            Decision::Deny { why: Why::NotAllowed } => f.write_str("denied: no statement allows it"),
            Decision::Deny { why: Why::NoCompartment } => f.write_str("denied: there is no such compartment"),
        }
    }
}

/// Decides one permission. A `deny` that holds wins over every `allow`; without an `allow` that holds it is refused.
pub fn decide<'c>(
    compiled: &'c Compiled,
    principal: &Principal,
    right: Right,
    resource: &Resource,
    facts: &Facts,
) -> Decision<'c> {
    let Some(at) = compiled.tree.find(resource.compartment()) else { return Decision::Deny { why: Why::NoCompartment } };
    let number = Tree::number(at);
    let view = OnceCell::new();
    let see = || View::of(principal, right.folded(), resource, compiled.tree.folded(at), facts, &compiled.tags);
    let holds = |entry: &Entry| -> Option<&'c Placed> {
        if !(entry.from..entry.to).contains(&number) || !entry.rights.has(right) {
            return None;
        }
        let holds = entry.check.as_ref().is_none_or(|check| check.holds(view.get_or_init(see)));
        if holds { compiled.placed.get(entry.placed) } else { None }
    };
    let buckets = || principal.keys().iter().filter_map(|key| compiled.by_subject.get(key));
    let find = |list: fn(&Bucket) -> &Vec<Entry>| buckets().find_map(|bucket| list(bucket).iter().find_map(holds));
    if let Some(by) = find(|b| &b.denies) {
        return Decision::Deny { why: Why::Denied(by) };
    }
    match find(|b| &b.allows) {
        Some(by) => Decision::Allow { by },
        None => Decision::Deny { why: Why::NotAllowed },
    }
}

/// Decides several permissions that an operation needs together: the first that is refused, or the last.
pub fn decide_all<'c>(
    compiled: &'c Compiled,
    principal: &Principal,
    rights: &[Right],
    resource: &Resource,
    facts: &Facts,
) -> Decision<'c> {
    let mut last = Decision::Deny { why: Why::NotAllowed };
    for right in rights {
        last = decide(compiled, principal, *right, resource, facts);
        if !last.is_allowed() {
            break;
        }
    }
    last
}

/// How one statement bears on a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bearing {
    /// It holds.
    Holds,
    /// It would, but for its condition; why that is false.
    ConditionFalse(String),
    /// It holds elsewhere: in the compartment with this path.
    Elsewhere(String),
    /// It is about others.
    Others,
}

/// A decision with everything that bears on it.
#[derive(Debug, Clone)]
pub struct Explanation<'c> {
    /// The decision.
    pub decision: Decision<'c>,
    /// The statements that name the permission, those that hold first, then those that come nearest.
    pub considered: Vec<(&'c Placed, Bearing)>,
}

/// The same decision, with every statement that names the permission and how it bears on the request.
pub fn explain<'c>(
    compiled: &'c Compiled,
    principal: &Principal,
    right: Right,
    resource: &Resource,
    facts: &Facts,
) -> Explanation<'c> {
    let decision = decide(compiled, principal, right, resource, facts);
    let Some(at) = compiled.tree.find(resource.compartment()) else {
        return Explanation { decision, considered: Vec::new() };
    };
    let view = View::of(principal, right.folded(), resource, compiled.tree.folded(at), facts, &compiled.tags);
    let naming = compiled.placed.iter().filter(|p| p.rights.has(right));
    let bearing = |placed: &Placed| {
        if !keys(&placed.statement.subject).iter().any(|key| principal.keys().contains(key)) {
            return Bearing::Others;
        }
        if !compiled.tree.covers(placed.at, at) {
            return Bearing::Elsewhere(compiled.tree.path(placed.at));
        }
        match (&placed.check, &placed.statement.condition) {
            (Some(check), Some(condition)) if !check.holds(&view) => Bearing::ConditionFalse(why_false(condition, check, &view)),
            _ => Bearing::Holds,
        }
    };
    let mut considered: Vec<(&Placed, Bearing)> = naming.map(|placed| (placed, bearing(placed))).collect();
    considered.sort_by_key(|(_, bearing)| match bearing {
        Bearing::Holds => 0,
        Bearing::ConditionFalse(_) => 1,
        Bearing::Elsewhere(_) => 2,
        Bearing::Others => 3,
    });
    Explanation { decision, considered }
}

/// The first comparison that makes a condition false, with what is there instead.
fn why_false(condition: &Condition, check: &Check, view: &View<'_>) -> String {
    match (condition, check) {
        (Condition::All(parts), Check::All(checks)) | (Condition::Any(parts), Check::Any(checks)) => {
            let failing = parts.iter().zip(checks).find(|(_, check)| !check.holds(view));
            failing.map_or_else(String::new, |(part, check)| why_false(part, check, view))
        }
        (Condition::Comparison(comparison), _) => {
            let missing = variables(comparison).find(|variable| !view.applies(variable));
            match missing {
                Some(variable) => format!("{comparison}: {variable} does not apply to this request"),
                None => format!("{comparison}: it is {}", value_of(&comparison.variable, view)),
            }
        }
        _ => String::new(),
    }
}

fn variables(comparison: &Comparison) -> impl Iterator<Item = &Variable> {
    use super::statement::Test;
    let values: &[Value] = match &comparison.test {
        Test::Is(value) | Test::IsNot(value) => std::slice::from_ref(value),
        Test::In(values) | Test::NotIn(values) => values,
        Test::Before(_) | Test::Between(..) => &[],
    };
    let others = values.iter().filter_map(|value| match value {
        Value::Variable(variable) => Some(variable),
        _ => None,
    });
    std::iter::once(&comparison.variable).chain(others)
}

fn value_of(variable: &Variable, view: &View<'_>) -> String {
    if let (Kind::Moment | Kind::TimeOfDay, Some(now)) = (variable.kind(), view.moment()) {
        return now.at.to_string();
    }
    match view.values(variable) {
        Values::Inapplicable => "nothing".to_owned(),
        Values::One(value) => format!("'{value}'"),
        Values::Many([]) => "none".to_owned(),
        Values::Many(values) => values.iter().map(|v| format!("'{v}'")).collect::<Vec<_>>().join(", "),
    }
}

/// A statement that says something about who may do a thing.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'c> {
    /// The statement; its subject is who.
    pub placed: &'c Placed,
    /// Does it give, or take?
    pub effect: Effect,
    /// Only under its condition.
    pub conditional: bool,
}

/// Who may do a thing: every statement that gives or takes the permission there, `deny` first. Whom groups consist of is
/// asked elsewhere; [`who_of`] answers for given principals.
pub fn who_can<'c>(compiled: &'c Compiled, right: Right, resource: &Resource) -> Vec<Holder<'c>> {
    let Some(at) = compiled.tree.find(resource.compartment()) else { return Vec::new() };
    let bears = |placed: &&Placed| placed.rights.has(right) && compiled.tree.covers(placed.at, at);
    let mut holders: Vec<Holder<'c>> = compiled
        .placed
        .iter()
        .filter(bears)
        .map(|placed| Holder { placed, effect: placed.statement.effect, conditional: placed.check.is_some() })
        .collect();
    holders.sort_by_key(|h| (h.effect == Effect::Allow, h.conditional));
    holders
}

/// Which of these principals may do a thing, each with the statement that allows it.
pub fn who_of<'c, 'p>(
    compiled: &'c Compiled,
    principals: impl IntoIterator<Item = &'p Principal>,
    right: Right,
    resource: &Resource,
    facts: &Facts,
) -> Vec<(&'p Principal, &'c Placed)> {
    let allowed = |principal| match decide(compiled, principal, right, resource, facts) {
        Decision::Allow { by } => Some((principal, by)),
        Decision::Deny { .. } => None,
    };
    principals.into_iter().filter_map(allowed).collect()
}

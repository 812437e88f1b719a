//! Policies put together once, so that a decision only looks: every statement with its permissions, its place in the tree
//! and its condition in the form in which values are compared, found by whom it is about. Absent on purpose: the decision
//! itself (`decide`), and groups: who is in which is the principal's, and a group that does not exist has no members.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::compartment::{At, Tree};
use super::error::BadStatement;
use super::fold;
use super::parse::{Written, statements};
use super::permissions::RightSet;
use super::request::{Values, View, key};
use super::statement::{Comparison, Condition, Effect, Location, Pattern, PrincipalName, Statement, Subject, Test, Value};
use super::time;
use super::variable::{Kind, Known, Tag, Variable};
use crate::query::shown;

/// A policy: statements attached to a compartment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Id of the compartment it is attached to.
    pub compartment: String,
    /// Its statements.
    pub statements: Vec<Written>,
}

impl Policy {
    /// Reads a policy's text.
    pub fn parse(name: &str, compartment: &str, text: &str) -> Result<Policy, BadStatement> {
        Ok(Policy { name: name.to_owned(), compartment: compartment.to_owned(), statements: statements(text)? })
    }
}

/// A statement in its place.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Its policy's name.
    pub policy: String,
    /// The line of the policy it begins in.
    pub line: usize,
    /// As it was read.
    pub statement: Statement,
    /// Where it holds.
    pub at: At,
    pub(super) rights: RightSet,
    pub(super) check: Option<Arc<Check>>,
}

impl std::fmt::Display for Placed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "policy {}, line {}: {}", self.policy, self.line, self.statement)
    }
}

/// A statement that holds nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy {policy}, line {line}: {why}; the statement has no effect")]
pub struct Misplaced {
    /// Its policy's name.
    pub policy: String,
    /// The line of the policy it begins in.
    pub line: usize,
    /// What is wrong and what would be right.
    pub why: String,
}

/// A statement in the list of one subject.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Numbers of the compartments it holds in.
    pub(super) from: u32,
    pub(super) to: u32,
    /// Its place in [`Compiled::placed`].
    pub(super) placed: usize,
    pub(super) rights: RightSet,
    pub(super) check: Option<Arc<Check>>,
}

/// The statements about one subject; those without a condition first, since they are answered at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    pub(super) denies: Vec<Entry>,
    pub(super) allows: Vec<Entry>,
}

/// All policies, ready for decisions.
#[derive(Debug, Clone)]
pub struct Compiled {
    pub(super) tree: Tree,
    pub(super) placed: Vec<Placed>,
    pub(super) by_subject: HashMap<String, Bucket>,
    /// Tags and labels that conditions ask about: a decision looks each up once, see [`Slot`].
    pub(super) tags: Vec<Tag>,
    misplaced: Vec<Misplaced>,
}

impl Compiled {
    /// The compartments.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The statements that hold somewhere, in the order of the policies.
    pub fn statements(&self) -> &[Placed] {
        &self.placed
    }

    /// The statements that hold nowhere: their compartment is not there or not inside the policy's. Whoever stores a
    /// policy refuses it when this is not empty; whoever renames, moves or deletes a compartment refuses that when it
    /// becomes longer, because a `deny` without effect opens what it closed.
    pub fn misplaced(&self) -> &[Misplaced] {
        &self.misplaced
    }
}

/// Puts policies together.
pub fn compile(policies: &[Policy], tree: Tree) -> Compiled {
    let mut compiled = Compiled { tree, placed: Vec::new(), by_subject: HashMap::new(), tags: Vec::new(), misplaced: Vec::new() };
    for policy in policies {
        for written in &policy.statements {
            match place(&compiled.tree, policy, &written.statement.location) {
                Ok(at) => compiled.add(policy, written, at),
                Err(why) => compiled.misplaced.push(Misplaced { policy: policy.name.clone(), line: written.line, why }),
            }
        }
    }
    for bucket in compiled.by_subject.values_mut() {
        bucket.denies.sort_by_key(|entry| entry.check.is_some());
        bucket.allows.sort_by_key(|entry| entry.check.is_some());
    }
    compiled
}

impl Compiled {
    fn add(&mut self, policy: &Policy, written: &Written, at: At) {
        let statement = written.statement.clone();
        let rights = statement.rights();
        let placed = self.placed.len();
        let range = self.tree.range(at);
        let check = statement.condition.as_ref().map(|condition| Arc::new(Check::of(condition, &mut self.tags)));
        let entry = Entry { from: range.start, to: range.end, placed, rights, check: check.clone() };
        for key in keys(&statement.subject) {
            let bucket = self.by_subject.entry(key).or_default();
            let entries = if statement.effect == Effect::Deny { &mut bucket.denies } else { &mut bucket.allows };
            entries.push(entry.clone());
        }
        self.placed.push(Placed { policy: policy.name.clone(), line: written.line, statement, at, rights, check });
    }
}

/// Where a statement holds.
fn place(tree: &Tree, policy: &Policy, location: &Location) -> Result<At, String> {
    let attached = tree
        .find(&policy.compartment)
        .ok_or_else(|| format!("the policy is attached to compartment {}, which is not there", shown(&policy.compartment)))?;
    let at = match location {
        Location::Tenancy => Some(tree.root()),
        Location::Path(path) => tree.resolve(attached, path),
        Location::Id(id) => tree.find(id),
    };
    let from = tree.path(attached);
    match at {
        None => Err(format!("there is no {location} under {from}; write its path from there, or compartment id …")),
        Some(at) if !tree.covers(attached, at) => {
            Err(format!("{location} is not inside {from}, where the policy is attached; attach the policy higher up"))
        }
        Some(at) => Ok(at),
    }
}

/// What a subject is looked up by.
pub(super) fn keys(subject: &Subject) -> Vec<String> {
    match subject {
        Subject::AnyUser => vec![key::ANY_USER.to_owned()],
        Subject::AnyGroup => vec![key::ANY_GROUP.to_owned()],
        Subject::Groups(names) => names.iter().map(|name| named(name, key::group, key::group_id)).collect(),
        Subject::DynamicGroups(names) => {
            names.iter().map(|name| named(name, key::dynamic_group, key::dynamic_group_id)).collect()
        }
        Subject::Services(names) => names.iter().map(|name| key::service(name)).collect(),
        Subject::Resource { kind, name } => vec![key::resource(kind, name.as_deref())],
    }
}

fn named(name: &PrincipalName, by_name: fn(Option<&str>, &str) -> String, by_id: fn(&str) -> String) -> String {
    match name {
        PrincipalName::Named { domain, name } => by_name(domain.as_deref(), name),
        PrincipalName::Id(id) => by_id(id),
    }
}

/// A condition in the form in which values are compared.
#[derive(Debug, Clone)]
pub(super) enum Check {
    All(Vec<Check>),
    Any(Vec<Check>),
    /// Some value of the variable equals one of these (or, when negated, none does).
    Equals {
        variable: Slot,
        wanted: Vec<Wanted>,
        negated: bool,
    },
    Before(Timestamp),
    Between(Timestamp, Timestamp),
    /// Seconds since midnight.
    EarlierInTheDay(u32),
    BetweenInTheDay(u32, u32),
    /// A time that cannot be read; the parser lets none through.
    Never,
}

#[derive(Debug, Clone)]
pub(super) enum Wanted {
    Text(String),
    Pattern(Pattern),
    Variable(Slot),
}

/// Where a decision has a variable's values.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slot {
    /// One of the table.
    Known(Known),
    /// A tag or label, by its place in [`Compiled::tags`].
    Tag(usize),
}

impl Slot {
    fn of(variable: &Variable, tags: &mut Vec<Tag>) -> Slot {
        match variable {
            Variable::Known(known) => Slot::Known(*known),
            Variable::Tag(tag) => Slot::Tag(tags.iter().position(|own| own == tag).unwrap_or_else(|| {
                tags.push(tag.clone());
                tags.len() - 1
            })),
        }
    }
}

impl Check {
    fn of(condition: &Condition, tags: &mut Vec<Tag>) -> Check {
        match condition {
            Condition::All(parts) => Check::All(parts.iter().map(|p| Check::of(p, tags)).collect()),
            Condition::Any(parts) => Check::Any(parts.iter().map(|p| Check::of(p, tags)).collect()),
            Condition::Comparison(comparison) => Check::comparison(comparison, tags),
        }
    }

    fn comparison(comparison: &Comparison, tags: &mut Vec<Tag>) -> Check {
        let of_day = comparison.variable.kind() == Kind::TimeOfDay;
        let variable = Slot::of(&comparison.variable, tags);
        let mut equals = |values: &[Value], negated| {
            let wanted = values.iter().map(|value| Wanted::of(value, tags)).collect();
            Check::Equals { variable, wanted, negated }
        };
        let check = match &comparison.test {
            Test::Is(value) => Some(equals(std::slice::from_ref(value), false)),
            Test::IsNot(value) => Some(equals(std::slice::from_ref(value), true)),
            Test::In(values) => Some(equals(values, false)),
            Test::NotIn(values) => Some(equals(values, true)),
            Test::Before(at) if of_day => time::time_of_day(at).map(Check::EarlierInTheDay),
            Test::Before(at) => time::timestamp(at).map(Check::Before),
            Test::Between(from, to) if of_day => {
                time::time_of_day(from).zip(time::time_of_day(to)).map(|(from, to)| Check::BetweenInTheDay(from, to))
            }
            Test::Between(from, to) => time::timestamp(from).zip(time::timestamp(to)).map(|(from, to)| Check::Between(from, to)),
        };
        check.unwrap_or(Check::Never)
    }

    /// Does it hold? A comparison with a variable that does not apply to the request is false, also a negated one.
    pub(super) fn holds(&self, view: &View<'_>) -> bool {
        let moment = || view.moment();
        match self {
            Check::All(parts) => parts.iter().all(|p| p.holds(view)),
            Check::Any(parts) => parts.iter().any(|p| p.holds(view)),
            Check::Equals { variable, wanted, negated } => equals(view, *variable, wanted).is_some_and(|is| is != *negated),
            Check::Before(at) => moment().is_some_and(|now| now.at < *at),
            Check::Between(from, to) => moment().is_some_and(|now| (from..=to).contains(&&now.at)),
            Check::EarlierInTheDay(second) => moment().is_some_and(|now| now.second < *second),
            Check::BetweenInTheDay(from, to) => moment().is_some_and(|now| {
                let (after, until) = (now.second >= *from, now.second <= *to);
                // From the evening to the morning: over midnight.
                if from <= to { after && until } else { after || until }
            }),
            Check::Never => false,
        }
    }
}

impl Wanted {
    fn of(value: &Value, tags: &mut Vec<Tag>) -> Wanted {
        match value {
            Value::Text(text) => Wanted::Text(fold(text)),
            Value::Pattern(pattern) => Wanted::Pattern(pattern.folded()),
            Value::Variable(variable) => Wanted::Variable(Slot::of(variable, tags)),
        }
    }

    fn is(&self, value: &str, view: &View<'_>) -> bool {
        match self {
            Wanted::Text(text) => text == value,
            Wanted::Pattern(pattern) => pattern.matches(value),
            Wanted::Variable(variable) => any(view.at(*variable), |other| other == value),
        }
    }
}

/// `None`: some variable does not apply.
fn equals(view: &View<'_>, variable: Slot, wanted: &[Wanted]) -> Option<bool> {
    let values = view.at(variable);
    if matches!(values, Values::Inapplicable) {
        return None;
    }
    let mut equal = false;
    for wanted in wanted {
        match wanted {
            Wanted::Variable(other) if view.at(*other) == Values::Inapplicable => return None,
            _ => equal = equal || any(values, |value| wanted.is(value, view)),
        }
    }
    Some(equal)
}

fn any(values: Values<'_>, is: impl Fn(&str) -> bool) -> bool {
    match values {
        Values::Inapplicable => false,
        Values::One(value) => is(value),
        Values::Many(values) => values.iter().any(|v| is(v)),
    }
}

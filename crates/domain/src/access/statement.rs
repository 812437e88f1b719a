//! The tree of a statement and how it is printed: printing and reading give the same tree back.

use std::fmt;

use super::fold;
use super::permissions::{Right, RightSet, Target, Verb};
use super::scan::is_bare;
use super::variable::Variable;

/// Words that are put into quotes where they are names, so that nobody takes them for the language's.
const KEYWORDS: [&str; 6] = ["to", "id", "in", "where", "allow", "deny"];

/// One statement of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Does it give or take?
    pub effect: Effect,
    /// Whom it is about.
    pub subject: Subject,
    /// What they may do, or may not.
    pub action: Action,
    /// Where: there and in everything below.
    pub location: Location,
    /// When; absent: always.
    pub condition: Option<Condition>,
}

impl Statement {
    /// What the statement gives or takes.
    pub fn rights(&self) -> RightSet {
        match &self.action {
            Action::Verb(verb, target) => target.rights(*verb),
            Action::Permissions(rights) => rights.iter().copied().collect(),
        }
    }
}

/// Does a statement give or take?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It gives.
    Allow,
    /// It takes, whatever others give: exactly the permissions that the same words would give.
    Deny,
}

/// Whom a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Everybody and everything that has shown who it is, instances and services too.
    AnyUser,
    /// Whoever is in at least one group.
    AnyGroup,
    /// The members of any of these groups. At least one.
    Groups(Vec<PrincipalName>),
    /// The members of any of these dynamic groups. At least one.
    DynamicGroups(Vec<PrincipalName>),
    /// These services. At least one.
    Services(Vec<String>),
    /// Resources of a type that act for themselves, all or one.
    Resource {
        /// Its type.
        kind: String,
        /// Its name or id; absent: all of that type.
        name: Option<String>,
    },
}

/// A group by name or id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrincipalName {
    /// By name.
    Named {
        /// The identity domain; absent: `Default`.
        domain: Option<String>,
        /// The name.
        name: String,
    },
    /// By id.
    Id(String),
}

/// What a statement lets do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A verb with what it is about.
    Verb(Verb, Target),
    /// Exactly these permissions. At least one.
    Permissions(Vec<Right>),
}

/// Where a statement holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Everywhere.
    Tenancy,
    /// In a compartment, by its path from the one the policy is attached to. At least one name.
    Path(Vec<String>),
    /// In a compartment, by its id.
    Id(String),
}

/// When a statement holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// All of these hold. At least one.
    All(Vec<Condition>),
    /// Any of these holds. At least one.
    Any(Vec<Condition>),
    /// One question.
    Comparison(Comparison),
}

/// One question about the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// What is asked about.
    pub variable: Variable,
    /// What is asked.
    pub test: Test,
}

/// What a comparison asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// `= value`: some value of the variable equals it.
    Is(Value),
    /// `!= value`: no value of the variable equals it.
    IsNot(Value),
    /// `in (…)`: some value of the variable equals one of them. At least one.
    In(Vec<Value>),
    /// `not in (…)`: no value of the variable equals any of them. At least one.
    NotIn(Vec<Value>),
    /// `before 'time'`
    Before(String),
    /// `between 'time' and 'time'`, both included; times of day go over midnight when the first is the later one.
    Between(String, String),
}

/// What a variable is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A pattern.
    Pattern(Pattern),
    /// Another variable.
    Variable(Variable),
}

/// `/abc*/`: begins with, `/*abc/`: ends with, `/*abc*/`: holds, `/abc/`: equals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What stands between the stars.
    pub text: String,
    /// Anything may stand before.
    pub open_start: bool,
    /// Anything may stand after.
    pub open_end: bool,
}

impl Pattern {
    /// Reads what stands between the slashes.
    pub(super) fn read(text: &str) -> Result<Pattern, String> {
        let (open_start, rest) = text.strip_prefix('*').map_or((false, text), |rest| (true, rest));
        let (open_end, rest) = rest.strip_suffix('*').map_or((false, rest), |rest| (true, rest));
        if rest.contains('*') {
            return Err(format!("a * stands only at the beginning or end of a pattern, not inside: /{text}/"));
        }
        Ok(Pattern { text: rest.to_owned(), open_start, open_end })
    }

    /// The same in the form in which texts are compared.
    pub(super) fn folded(&self) -> Pattern {
        Pattern { text: fold(&self.text), ..*self }
    }

    /// Does a text match? Both in the form in which texts are compared.
    pub(super) fn matches(&self, text: &str) -> bool {
        match (self.open_start, self.open_end) {
            (false, false) => text == self.text,
            (false, true) => text.starts_with(&self.text),
            (true, false) => text.ends_with(&self.text),
            (true, true) => text.contains(&self.text),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = |open: bool| if open { "*" } else { "" };
        write!(f, "/{}{}{}/", star(self.open_start), self.text, star(self.open_end))
    }
}

/// A name, in quotes where it needs them.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keyword = KEYWORDS.iter().any(|k| k.eq_ignore_ascii_case(self.0));
        if keyword || self.0.is_empty() || !self.0.chars().all(is_bare) { write!(f, "'{}'", self.0) } else { f.write_str(self.0) }
    }
}

/// Prints with `between` in between.
fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: impl IntoIterator<Item = T>, between: &str) -> fmt::Result {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            f.write_str(between)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.effect {
            Effect::Allow => "allow",
            Effect::Deny => "deny",
        };
        write!(f, "{effect} {} to {} in {}", self.subject, self.action, self.location)?;
        match &self.condition {
            Some(condition) => write!(f, " where {condition}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::AnyUser => f.write_str("any-user"),
            Subject::AnyGroup => f.write_str("any-group"),
            Subject::Groups(names) => {
                f.write_str("group ")?;
                list(f, names, ", ")
            }
            Subject::DynamicGroups(names) => {
                f.write_str("dynamic-group ")?;
                list(f, names, ", ")
            }
            Subject::Services(names) => {
                f.write_str("service ")?;
                list(f, names.iter().map(|n| Name(n)), ", ")
            }
            Subject::Resource { kind, name: None } => write!(f, "resource {}", Name(kind)),
            Subject::Resource { kind, name: Some(name) } => write!(f, "resource {} {}", Name(kind), Name(name)),
        }
    }
}

impl fmt::Display for PrincipalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrincipalName::Named { domain: None, name } => Name(name).fmt(f),
            PrincipalName::Named { domain: Some(domain), name } => write!(f, "'{domain}'/'{name}'"),
            PrincipalName::Id(id) => write!(f, "id {}", Name(id)),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Verb(verb, target) => write!(f, "{} {}", verb.as_str(), target.name()),
            Action::Permissions(rights) => {
                f.write_str("{")?;
                list(f, rights.iter().map(|r| r.name()), ", ")?;
                f.write_str("}")
            }
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Tenancy => f.write_str("tenancy"),
            Location::Path(names) => {
                f.write_str("compartment ")?;
                list(f, names.iter().map(|n| Name(n)), ":")
            }
            Location::Id(id) => write!(f, "compartment id {}", Name(id)),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, parts) = match self {
            Condition::Comparison(comparison) => return comparison.fmt(f),
            Condition::All(parts) => ("all", parts),
            Condition::Any(parts) => ("any", parts),
        };
        write!(f, "{word} {{")?;
        list(f, parts, ", ")?;
        f.write_str("}")
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.variable.fmt(f)?;
        let (operator, values) = match &self.test {
            Test::Is(value) => return write!(f, " = {value}"),
            Test::IsNot(value) => return write!(f, " != {value}"),
            Test::Before(time) => return write!(f, " before '{time}'"),
            Test::Between(from, to) => return write!(f, " between '{from}' and '{to}'"),
            Test::In(values) => ("in", values),
            Test::NotIn(values) => ("not in", values),
        };
        write!(f, " {operator} (")?;
        list(f, values, ", ")?;
        f.write_str(")")
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "'{text}'"),
            Value::Pattern(pattern) => pattern.fmt(f),
            Value::Variable(variable) => variable.fmt(f),
        }
    }
}

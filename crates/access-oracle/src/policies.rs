//! Statements become policies of Cedar.

use drydock_domain::access::compartment::Compartment;
use drydock_domain::access::compile::Policy;
use drydock_domain::access::permissions::Verb;
use drydock_domain::access::statement::{
    Action, Comparison, Condition, Effect, Location, Pattern, PrincipalName, Statement, Subject, Test, Value,
};
use drydock_domain::access::variable::Variable;
use jiff::Timestamp;

use crate::requests::{VALUES_MAX, element, is_many};
use crate::{Flaw, entity, lower, quoted};

/// All policies, one text.
pub(crate) fn text(policies: &[Policy], compartments: &[Compartment], flaw: Flaw) -> String {
    let each = policies.iter().flat_map(|policy| policy.statements.iter().map(move |written| (policy, &written.statement)));
    each.filter_map(|(policy, statement)| one(policy, statement, compartments, flaw)).collect()
}

/// One statement; `None`: it holds nowhere.
fn one(policy: &Policy, statement: &Statement, compartments: &[Compartment], flaw: Flaw) -> Option<String> {
    let at = located(policy, &statement.location, compartments)?;
    let effect = match statement.effect {
        Effect::Allow => "permit",
        Effect::Deny if flaw == Flaw::NoDeny => return None,
        Effect::Deny => "forbid",
    };
    let principals: Vec<String> = subjects(&statement.subject, flaw).iter().map(|s| format!("principal in {s}")).collect();
    let actions: Vec<String> = actions(&statement.action, flaw).iter().map(|a| entity("Action", a)).collect();
    let place = entity("Compartment", &at);
    let scope = if flaw == Flaw::NoInheritance { format!("context.compartment == {}", quoted(&at)) } else { "true".to_owned() };
    let condition = statement.condition.as_ref().map_or_else(|| "true".to_owned(), |c| condition(c, flaw));
    Some(format!(
        "{effect}(principal, action in [{}], resource in {place}) when {{ ({}) && {scope} && {condition} }};\n",
        actions.join(", "),
        principals.join(" || ")
    ))
}

fn find<'a>(id: &str, compartments: &'a [Compartment]) -> Option<&'a Compartment> {
    compartments.iter().find(|c| lower(&c.id, Flaw::None) == lower(id, Flaw::None))
}

/// Id of the compartment a statement is about, when that lies inside the policy's.
fn located(policy: &Policy, location: &Location, compartments: &[Compartment]) -> Option<String> {
    let attached = find(&policy.compartment, compartments)?;
    let same = |a: &str, b: &str| lower(a, Flaw::None) == lower(b, Flaw::None);
    let found = match location {
        Location::Tenancy => compartments.iter().find(|c| c.parent.is_none())?,
        Location::Id(id) => find(id, compartments)?,
        Location::Path(path) => {
            let own = attached.parent.is_some() && path.first().is_some_and(|first| same(first, &attached.name));
            let rest = path.iter().skip(usize::from(own));
            let child = |here: &Compartment, name: &String| {
                compartments.iter().find(|c| c.parent.as_deref() == Some(here.id.as_str()) && same(&c.name, name))
            };
            let mut here = attached;
            for name in rest {
                here = child(here, name)?;
            }
            here
        }
    };
    let mut up = Some(found);
    while let Some(here) = up {
        if here.id == attached.id {
            return Some(found.id.clone());
        }
        up = here.parent.as_deref().and_then(|parent| find(parent, compartments));
    }
    None
}

fn named(kind: &str, name: &PrincipalName, flaw: Flaw) -> String {
    match name {
        PrincipalName::Id(id) => entity(&format!("{kind}Id"), &lower(id, flaw)),
        PrincipalName::Named { domain, name } => {
            let domain = domain.as_deref().unwrap_or("Default");
            entity(kind, &format!("{}\n{}", lower(domain, Flaw::None), lower(name, flaw)))
        }
    }
}

fn subjects(subject: &Subject, flaw: Flaw) -> Vec<String> {
    match subject {
        Subject::AnyUser => vec![entity("Any", "user")],
        Subject::AnyGroup => vec![entity("Any", "group")],
        Subject::Groups(names) => names.iter().map(|n| named("Group", n, flaw)).collect(),
        Subject::DynamicGroups(names) => names.iter().map(|n| named("DynamicGroup", n, flaw)).collect(),
        Subject::Services(names) => names.iter().map(|n| entity("Service", &lower(n, flaw))).collect(),
        Subject::Resource { kind, name: None } => vec![entity("Kind", &lower(kind, flaw))],
        Subject::Resource { kind, name: Some(name) } => {
            vec![entity("Named", &format!("{}\n{}", lower(kind, flaw), lower(name, flaw)))]
        }
    }
}

/// Actions, or groups of them.
fn actions(action: &Action, flaw: Flaw) -> Vec<String> {
    match action {
        Action::Permissions(rights) => rights.iter().map(|r| r.name().to_owned()).collect(),
        Action::Verb(Verb::Manage, target) if flaw == Flaw::ManageIsUse => vec![format!("use {}", target.name())],
        Action::Verb(verb, target) => vec![format!("{} {}", verb.as_str(), target.name())],
    }
}

fn condition(of: &Condition, flaw: Flaw) -> String {
    let join = |parts: &[Condition], with: &str| {
        let parts: Vec<String> = parts.iter().map(|p| condition(p, flaw)).collect();
        format!("({})", parts.join(with))
    };
    match of {
        Condition::All(parts) => join(parts, " && "),
        Condition::Any(parts) => join(parts, " || "),
        Condition::Comparison(own) => comparison(own, flaw),
    }
}

fn attribute(name: &str) -> String {
    format!("context[{}]", quoted(name))
}

fn has(name: &str) -> String {
    format!("context has {}", quoted(name))
}

fn comparison(of: &Comparison, flaw: Flaw) -> String {
    let name = lower(&of.variable.to_string(), Flaw::None);
    let of_day = name.ends_with("time-of-day");
    let number = |text: &str| if of_day { seconds(text) } else { millis(text) };
    let clock = if of_day { "second" } else { "now" };
    let (values, negated) = match &of.test {
        Test::Before(at) => return format!("({} && {} < {})", has(clock), attribute(clock), number(at)),
        Test::Between(from, to) => {
            let (from, to, clock_is) = (number(from), number(to), attribute(clock));
            let join = if of_day && from > to { "||" } else { "&&" };
            return format!("({} && ({clock_is} >= {from} {join} {clock_is} <= {to}))", has(clock));
        }
        Test::Is(value) => (std::slice::from_ref(value), false),
        Test::IsNot(value) => (std::slice::from_ref(value), true),
        Test::In(values) => (values.as_slice(), false),
        Test::NotIn(values) => (values.as_slice(), true),
    };
    let others = values.iter().filter_map(|v| if let Value::Variable(other) = v { Some(variable(other)) } else { None });
    let all_there: Vec<String> = std::iter::once(name.clone()).chain(others).map(|n| has(&n)).collect();
    let equal: Vec<String> = values.iter().map(|v| equals(&name, v, flaw)).collect();
    let (there, equal) = (all_there.join(" && "), equal.join(" || "));
    match negated {
        false => format!("({there} && ({equal}))"),
        true if flaw == Flaw::NegatedInapplicable => format!("(!({there}) || !({equal}))"),
        true => format!("({there} && !({equal}))"),
    }
}

fn variable(of: &Variable) -> String {
    lower(&of.to_string(), Flaw::None)
}

/// Does some value of the variable equal this?
fn equals(name: &str, value: &Value, flaw: Flaw) -> String {
    let own = attribute(name);
    match value {
        Value::Text(text) if is_many(name) => format!("{own}.contains({})", quoted(&lower(text, flaw))),
        Value::Text(text) => format!("{own} == {}", quoted(&lower(text, flaw))),
        Value::Pattern(pattern) if is_many(name) => {
            let each = (0..VALUES_MAX).map(|i| element(name, i));
            let each: Vec<String> =
                each.map(|e| format!("({} && {} like {})", has(&e), attribute(&e), like(pattern, flaw))).collect();
            format!("({})", each.join(" || "))
        }
        Value::Pattern(pattern) => format!("{own} like {}", like(pattern, flaw)),
        Value::Variable(other) => {
            let other = variable(other);
            let theirs = attribute(&other);
            match (is_many(name), is_many(&other)) {
                (true, true) => format!("{own}.containsAny({theirs})"),
                (true, false) => format!("{own}.contains({theirs})"),
                (false, true) => format!("{theirs}.contains({own})"),
                (false, false) => format!("{own} == {theirs}"),
            }
        }
    }
}

fn like(pattern: &Pattern, flaw: Flaw) -> String {
    let star = |open: bool| if open { "*" } else { "" };
    // A star of the text itself would be written \*; the language lets none in.
    let inner = quoted(&lower(&pattern.text, flaw));
    let inner = inner.trim_start_matches('"');
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    format!("\"{}{inner}{}\"", star(pattern.open_start), star(pattern.open_end))
}

/// Milliseconds of a moment.
fn millis(text: &str) -> i64 {
    text.parse::<Timestamp>().map_or(i64::MIN, Timestamp::as_millisecond)
}

/// Seconds since midnight of `07:30:00Z`.
fn seconds(text: &str) -> i64 {
    let parts: Vec<i64> = text.trim_end_matches(['Z', 'z']).split(':').filter_map(|p| p.parse().ok()).collect();
    parts.iter().zip([3600, 60, 1]).map(|(n, unit)| n * unit).sum()
}

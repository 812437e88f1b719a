//! The same decision, made slowly and independently: straight from the trees of the statements, with texts, without index,
//! numbers or shared code beyond the parser's trees. (A second opinion, that of Cedar, is
//! asked for by the crate `access-oracle` beside the workspace.)

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::compartment::Compartment;
use super::super::compile::Policy;
use super::super::permissions::{Family, Target, Verb};
use super::super::statement::{Action, Condition, Effect, Location, Pattern, PrincipalName, Statement, Subject, Test, Value};
use super::super::table::ROWS;
use super::super::testing::{Ask, Who};

fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

pub(super) fn allowed(policies: &[Policy], compartments: &[Compartment], ask: &Ask) -> bool {
    let mut any = false;
    for policy in policies {
        for written in &policy.statements {
            let statement = &written.statement;
            if applies(policy, statement, compartments, ask) {
                if statement.effect == Effect::Deny {
                    return false;
                }
                any = true;
            }
        }
    }
    any
}

fn applies(policy: &Policy, statement: &Statement, compartments: &[Compartment], ask: &Ask) -> bool {
    let Some(at) = located(policy, &statement.location, compartments) else { return false };
    about(&statement.subject, &ask.who)
        && permissions(&statement.action).contains(&ask.permission)
        && chain(&ask.compartment, compartments).contains(&at)
        && statement.condition.as_ref().is_none_or(|c| holds(c, &variables(ask, compartments), ask.now))
}

/// The compartment and all it lies in, innermost first.
fn chain(id: &str, compartments: &[Compartment]) -> Vec<String> {
    let mut out = Vec::new();
    let mut next = Some(id.to_owned());
    while let Some(id) = next {
        let Some(own) = compartments.iter().find(|c| same(&c.id, &id)) else { break };
        out.push(own.id.clone());
        next = own.parent.clone();
    }
    out
}

fn located(policy: &Policy, location: &Location, compartments: &[Compartment]) -> Option<String> {
    let found = match location {
        Location::Tenancy => compartments.iter().find(|c| c.parent.is_none())?.id.clone(),
        Location::Id(id) => compartments.iter().find(|c| same(&c.id, id))?.id.clone(),
        Location::Path(path) => {
            let attached = compartments.iter().find(|c| same(&c.id, &policy.compartment))?;
            let mut here = attached.id.clone();
            for (i, name) in path.iter().enumerate() {
                if i == 0 && attached.parent.is_some() && same(&attached.name, name) {
                    continue;
                }
                let child = compartments.iter().find(|c| c.parent.as_deref() == Some(&here) && same(&c.name, name))?;
                here = child.id.clone();
            }
            here
        }
    };
    chain(&found, compartments).contains(&chain(&policy.compartment, compartments).first()?.clone()).then_some(found)
}

fn about(subject: &Subject, who: &Who) -> bool {
    let person = who.kind == "user" || who.kind == "serviceaccount";
    let in_one = |names: &[PrincipalName], groups: &[(String, Option<String>, String)]| {
        names.iter().any(|wanted| {
            groups.iter().any(|(id, domain, name)| match wanted {
                PrincipalName::Id(wanted) => same(wanted, id),
                PrincipalName::Named { domain: in_domain, name: wanted } => {
                    let domain = domain.as_deref().unwrap_or("Default");
                    same(wanted, name) && same(in_domain.as_deref().unwrap_or("Default"), domain)
                }
            })
        })
    };
    match subject {
        Subject::AnyUser => true,
        Subject::AnyGroup => !who.groups.is_empty(),
        Subject::Groups(names) => in_one(names, &who.groups),
        Subject::DynamicGroups(names) => in_one(names, &who.dynamic_groups),
        Subject::Services(names) => who.kind == "service" && names.iter().any(|n| same(n, &who.name)),
        Subject::Resource { kind, name } => {
            let resource = !person && who.kind != "service";
            resource && same(kind, &who.kind) && name.as_ref().is_none_or(|n| same(n, &who.name) || same(n, &who.id))
        }
    }
}

fn permissions(action: &Action) -> Vec<String> {
    let (verb, target) = match action {
        Action::Permissions(rights) => return rights.iter().map(|r| r.name().to_owned()).collect(),
        Action::Verb(verb, target) => (*verb, *target),
    };
    let mut out = Vec::new();
    for row in ROWS {
        let family: Option<&str> = row.family.map(Family::as_str);
        let wanted = match target {
            Target::AllResources => true,
            Target::Family(wanted) => family == Some(wanted.as_str()),
            Target::Type(_) => row.name == target.name(),
        };
        let steps = [(Verb::Inspect, row.inspect), (Verb::Read, row.read), (Verb::Use, row.r#use), (Verb::Manage, row.manage)];
        for (step, suffixes) in steps {
            if wanted && step <= verb {
                out.extend(suffixes.iter().map(|s| format!("{}_{s}", row.stem)));
            }
        }
    }
    out
}

/// Every variable that applies, with its values.
fn variables(ask: &Ask, compartments: &[Compartment]) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &ask.given {
        let values = all.entry(name.to_lowercase()).or_default();
        if !name.contains(".tag.") && !name.contains(".label.") {
            values.clear();
        }
        values.push(value.clone());
    }
    let mut set = |name: &str, value: &str| {
        all.insert(name.to_owned(), vec![value.to_owned()]);
    };
    set("request.permission", &ask.permission);
    set("request.principal.id", &ask.who.id);
    set("request.principal.type", &ask.who.kind);
    if ask.who.kind == "instance" {
        set("request.instance.id", &ask.who.id);
    }
    if ask.who.kind == "user" {
        set("request.user.mfatotpverified", if ask.who.second_factor { "true" } else { "false" });
    }
    if ask.who.kind == "user" || ask.who.kind == "serviceaccount" {
        set("request.user.id", &ask.who.id);
        set("request.user.name", &ask.who.name);
    }
    if let Some(own) = compartments.iter().find(|c| same(&c.id, &ask.compartment)) {
        set("target.compartment.id", &own.id);
        set("target.compartment.name", &own.name);
    }
    if let Some(now) = ask.now {
        let zoned = now.to_zoned(TimeZone::UTC);
        set("request.utc-timestamp.month-of-year", &zoned.month().to_string());
        set("request.utc-timestamp.day-of-month", &zoned.day().to_string());
        set("request.utc-timestamp.day-of-week", &zoned.strftime("%A").to_string());
    }
    if ask.who.kind == "user" || ask.who.kind == "serviceaccount" {
        let ids = ask.who.groups.iter().map(|(id, ..)| id.clone()).collect();
        all.insert("request.groups.id".to_owned(), ids);
    }
    all
}

fn holds(condition: &Condition, all: &BTreeMap<String, Vec<String>>, now: Option<Timestamp>) -> bool {
    let comparison = match condition {
        Condition::All(parts) => return !parts.iter().any(|p| !holds(p, all, now)),
        Condition::Any(parts) => return parts.iter().any(|p| holds(p, all, now)),
        Condition::Comparison(comparison) => comparison,
    };
    let name = comparison.variable.to_string().to_lowercase();
    let clock = |at: Timestamp| at.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string();
    // Times of day of the tests all have seconds: they sort as texts.
    let of_day = name.ends_with("time-of-day");
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let (values, negated) = match &comparison.test {
        Test::Before(at) if of_day => return now.is_some_and(|now| format!("{}Z", clock(now)) < *at),
        Test::Between(from, to) if of_day => {
            let Some(now) = now.map(|now| format!("{}Z", clock(now))) else { return false };
            return if from <= to { *from <= now && now <= *to } else { *from <= now || now <= *to };
        }
        Test::Before(at) => return now.zip(time(at)).is_some_and(|(now, at)| now < at),
        Test::Between(from, to) => {
            return now.is_some_and(|now| time(from).is_some_and(|f| f <= now) && time(to).is_some_and(|t| now <= t));
        }
        Test::Is(value) => (vec![value], false),
        Test::IsNot(value) => (vec![value], true),
        Test::In(values) => (values.iter().collect(), false),
        Test::NotIn(values) => (values.iter().collect(), true),
    };
    let Some(own) = all.get(&name) else { return false };
    let mut equal = false;
    for value in values {
        match value {
            Value::Text(text) => equal |= own.iter().any(|o| same(o, text)),
            Value::Pattern(pattern) => equal |= own.iter().any(|o| matches(pattern, o)),
            Value::Variable(other) => {
                let Some(others) = all.get(&other.to_string().to_lowercase()) else { return false };
                equal |= own.iter().any(|o| others.iter().any(|x| same(o, x)));
            }
        }
    }
    equal != negated
}

fn matches(pattern: &Pattern, text: &str) -> bool {
    let (wanted, text) = (pattern.text.to_lowercase(), text.to_lowercase());
    let places: Vec<usize> = (0..=text.len()).filter(|i| text.is_char_boundary(*i)).collect();
    places.into_iter().filter(|i| text[*i..].starts_with(&wanted)).any(|i| {
        let (at_start, at_end) = (i == 0, i + wanted.len() == text.len());
        (at_start || pattern.open_start) && (at_end || pattern.open_end)
    })
}

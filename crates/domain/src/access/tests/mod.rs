//! Statements, requests and what is expected of them.

mod oracle;
mod parsing;
mod properties;
mod reference;
mod table;

use super::compartment::Tree;
use super::compile::{Compiled, Policy, compile};
use super::decide::{Decision, decide};
use super::request::{Facts, Membership, Principal, Resource};
use super::testing::{compartments, right};

/// Monday, in the morning.
const NOW: &str = "2026-11-23T07:30:00Z";

/// The people and things of the tests.
fn principal(name: &str) -> Principal {
    let group = |id: &str, domain: Option<&str>, name: &str| Membership::new(id, domain, name);
    match name {
        "ann" => {
            Principal::user("u-ann", "ann", true).in_group(&group("g-1", None, "Patchers")).in_group(&group("g-2", None, "Web"))
        }
        "bob" => Principal::user("u-bob", "bob", false).in_group(&group("g-3", Some("Partner"), "Patchers")),
        "eve" => Principal::user("u-eve", "eve", false),
        "robot" => Principal::service_account("sa-1", "robot").in_group(&group("g-1", None, "Patchers")),
        "host" => Principal::instance("i-1", "web1").in_dynamic_group(&group("dg-1", None, "Insts")),
        "other" => Principal::instance("i-2", "db1"),
        "osms" => Principal::service("osms"),
        "set" => Principal::resource("osmh-dynamic-sets", "ds-1", "nightly"),
        other => panic!("nobody is called {other}"),
    }
}

/// Circumstances written `variable=value, variable=value`; `now` moves the clock, and `never` takes it away.
fn facts(text: &str) -> Facts {
    let pairs: Vec<(&str, &str)> =
        text.split(", ").filter(|p| !p.is_empty()).map(|p| p.split_once('=').expect("variable=value")).collect();
    let now = pairs.iter().find(|(name, _)| *name == "now").map_or(NOW, |(_, at)| at);
    let start = if now == "never" { Facts::default() } else { Facts::at(now.parse().expect("a time")) };
    let given = pairs.iter().filter(|(name, _)| *name != "now");
    given.fold(start, |facts, (name, value)| facts.with(name, value).unwrap_or_else(|e| panic!("{e}")))
}

fn compiled(attached: &str, text: &str) -> Compiled {
    let policy = Policy::parse("p", attached, text).unwrap_or_else(|e| panic!("{text}: {e}"));
    compile(&[policy], Tree::build(&compartments()).expect("a tree"))
}

fn ask<'c>(compiled: &'c Compiled, who: &str, permission: &str, place: &str, circumstances: &str) -> Decision<'c> {
    let resource = match place.split_once('/') {
        Some((compartment, name)) => Resource::in_compartment(compartment).one("drydock-instances", &format!("id-{name}"), name),
        None => Resource::in_compartment(place),
    };
    decide(compiled, &principal(who), right(permission), &resource, &facts(circumstances))
}

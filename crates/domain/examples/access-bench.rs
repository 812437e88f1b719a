//! What `cargo xtask bench access` measures of the decision, in a process of its own. Prints one JSON object.
//!
//! `decide_us`: one decision among 1,000 statements that are all about whoever asks, each under a condition of its own (a tag,
//! a region, a time of day), none of which holds: every one is evaluated. `decide_spread_us`: 1,000 statements of 50 groups
//! over 100 compartments, a third under conditions; somebody in ten of the groups asks for what the last one gives.
//! `decide_denied_us`: the same, asked for what none gives. `compile_ms`: putting the 1,000 together, once a change.

use std::hint::black_box;
use std::time::Instant;

use drydock_domain::access::compartment::{Compartment, Tree};
use drydock_domain::access::compile::{Compiled, Policy, compile};
use drydock_domain::access::decide::decide;
use drydock_domain::access::permissions::Right;
use drydock_domain::access::request::{Facts, Membership, Principal, Resource};
use jiff::Timestamp;
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

/// Statements, count.
const STATEMENTS: usize = 1000;
/// Statements of one policy, count.
const POLICY_STATEMENTS: usize = 250;
/// Compartments under the tenancy, count.
const COMPARTMENTS: usize = 100;
/// Groups, count.
const GROUPS: usize = 50;
/// Decisions of one round, count.
const DECISIONS: u32 = 2000;
/// Measured rounds; the median is printed.
const ROUNDS: usize = 15;

fn main() -> Result<(), Failure> {
    let all = put_together(|i| format!("allow any-user to manage drydock-family in tenancy where {}", condition(i)))?;
    let began = Instant::now();
    let spread = put_together(|i| {
        let when = if i % 3 == 0 { format!(" where {}", condition(i)) } else { String::new() };
        format!("allow group G{} to use drydock-instances in compartment C{}{when}", i % GROUPS, i % COMPARTMENTS)
    })?;
    let compile_ms = began.elapsed().as_secs_f64() * 1000.0;
    let right = Right::find("DRYDOCK_INSTANCE_PATCH").ok_or("no such permission")?;
    let now: Timestamp = "2026-11-23T12:00:00Z".parse()?;
    let facts = Facts::at(now).with("request.region", "eu-west-1")?.with("request.operation", "patch-job.create")?;
    let facts = facts.with("target.resource.label.team", "web")?.with("target.resource.tag.ops.tier", "gold")?;
    let ann = (0..10).fold(Principal::user("u-ann", "ann", true), |ann, i| {
        ann.in_group(&Membership::new(&format!("g-{}", i * 5), None, &format!("G{}", i * 5)))
    });
    let tenancy = Resource::in_compartment("t").one("drydock-instance", "i-1", "web-1");
    let own = Resource::in_compartment("c95").one("drydock-instance", "i-1", "web-1");
    let others = Resource::in_compartment("c96").one("drydock-instance", "i-1", "web-1");
    let figures = json!({
        "decide_us": measure(&all, &ann, right, &tenancy, &facts, false)?,
        "decide_spread_us": measure(&spread, &ann, right, &own, &facts, true)?,
        "decide_denied_us": measure(&spread, &ann, right, &others, &facts, false)?,
        "compile_ms": compile_ms,
        "statements": STATEMENTS,
    });
    println!("{figures}");
    Ok(())
}

/// A condition that does not hold, each a different one.
fn condition(i: usize) -> String {
    match i % 5 {
        0 => format!("target.resource.label.team = 'team-{i}'"),
        1 => format!("all {{request.region = 'eu-west-1', target.resource.tag.ops.tier = 'tier-{i}'}}"),
        2 => format!("request.region in ('region-{i}', 'region-{}')", i + 1),
        3 => format!("any {{request.operation = /deploy-{i}*/, target.resource.label.team = /*-{i}/}}"),
        _ => format!("request.utc-timestamp.time-of-day between '0{}:00:00Z' and '0{}:{:02}:00Z'", i % 4, i % 4 + 4, i % 60),
    }
}

fn put_together(statement: impl Fn(usize) -> String) -> Result<Compiled, Failure> {
    let root = Compartment { id: "t".to_owned(), name: "tenancy".to_owned(), parent: None };
    let below = |i| Compartment { id: format!("c{i}"), name: format!("C{i}"), parent: Some("t".to_owned()) };
    let compartments: Vec<Compartment> = std::iter::once(root).chain((0..COMPARTMENTS).map(below)).collect();
    let texts: Vec<String> = (0..STATEMENTS).map(statement).collect();
    let policies = texts.chunks(POLICY_STATEMENTS).enumerate();
    let policies: Result<Vec<Policy>, _> =
        policies.map(|(i, all)| Policy::parse(&format!("p{i}"), "t", &all.join("\n"))).collect();
    Ok(compile(&policies?, Tree::build(&compartments)?))
}

/// Microseconds of one decision; the median of the rounds.
fn measure(
    compiled: &Compiled,
    who: &Principal,
    right: Right,
    resource: &Resource,
    facts: &Facts,
    expected: bool,
) -> Result<f64, Failure> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..DECISIONS {
            let allowed = decide(compiled, black_box(who), right, resource, facts).is_allowed();
            if allowed != expected {
                return Err(format!("the decision is {allowed}").into());
            }
        }
        rounds.push(began.elapsed().as_secs_f64() * 1e6 / f64::from(DECISIONS));
    }
    rounds.sort_by(f64::total_cmp);
    Ok(rounds[ROUNDS / 2])
}

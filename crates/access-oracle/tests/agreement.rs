//! The decision and Cedar agree about everything that is generated, and a translation with a flaw is noticed.

use drydock_access_oracle::{Flaw, Oracle};
use drydock_domain::access::compartment::Tree;
use drydock_domain::access::compile::{Policy, compile};
use drydock_domain::access::decide::decide;
use drydock_domain::access::statement::{Action, Effect, Location, Statement, Subject};
use drydock_domain::access::testing::{
    Ask, PERMISSIONS, ask, asked, compartments, condition, policies, policy, right, statement,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRng, TestRunner};

/// Sets of policies, count.
const CASES: u32 = 500;
/// Requests for each, count.
const ASKS: usize = 24;
/// Sets of policies until a flaw has to be noticed, count.
const FLAW_CASES: u32 = 400;

/// What was compared.
#[derive(Debug, Default)]
struct Counts {
    statements: usize,
    requests: usize,
    allowed: usize,
    disagreements: Vec<String>,
}

impl Counts {
    fn add(&mut self, policies: &[Policy], asks: &[Ask], flaw: Flaw) {
        let compiled = compile(policies, Tree::build(&compartments()).expect("a tree"));
        let oracle = Oracle::new(policies, &compartments(), flaw).expect("what Cedar reads");
        self.statements += policies.iter().map(|p| p.statements.len()).sum::<usize>();
        for ask in asks {
            let own = asked(ask);
            let ours = decide(&compiled, &own.principal, own.right, &own.resource, &own.facts).is_allowed();
            self.requests += 1;
            self.allowed += usize::from(ours);
            let theirs = oracle.allows(ask).expect("policies that Cedar evaluates");
            if theirs != ours {
                let said: Vec<String> = policies.iter().flat_map(|p| &p.statements).map(|w| w.statement.to_string()).collect();
                self.disagreements.push(format!("we say {ours}, Cedar says {theirs}: {ask:?}\n{}", said.join("\n")));
            }
        }
    }
}

/// Always the same cases: what is found can be looked at again.
fn runner() -> TestRunner {
    let config = Config::default();
    TestRunner::new_with_rng(config.clone(), TestRng::deterministic_rng(config.rng_algorithm))
}

/// The counts over generated cases.
fn compare<T: Strategy>(strategy: &T, cases: u32, flaw: Flaw, policies: impl Fn(&T::Value) -> (Vec<Policy>, Vec<Ask>)) -> Counts {
    let (mut runner, mut counts) = (runner(), Counts::default());
    for _ in 0..cases {
        let value = strategy.new_tree(&mut runner).expect("a case").current();
        let (policies, asks) = policies(&value);
        counts.add(&policies, &asks, flaw);
        if flaw != Flaw::None && !counts.disagreements.is_empty() {
            break;
        }
    }
    counts
}

fn all_policies(flaw: Flaw, cases: u32) -> Counts {
    compare(&(policies(), vec(ask(), ASKS)), cases, flaw, Clone::clone)
}

/// One statement for everybody under a condition: what the condition says is all there is.
fn conditions(flaw: Flaw, cases: u32) -> Counts {
    compare(&(condition(), vec(ask(), ASKS)), cases, flaw, |(condition, asks)| {
        let statement = Statement {
            effect: Effect::Allow,
            subject: Subject::AnyUser,
            action: Action::Permissions(PERMISSIONS.map(right).to_vec()),
            location: Location::Tenancy,
            condition: Some(condition.clone()),
        };
        (vec![policy("t", vec![statement])], asks.clone())
    })
}

/// Many statements in one place: more meet than in a few policies.
fn crowds(flaw: Flaw, cases: u32) -> Counts {
    compare(&(vec(statement(), 20), vec(ask(), ASKS)), cases, flaw, |(all, asks)| (vec![policy("t", all.clone())], asks.clone()))
}

fn told(what: &str, counts: &Counts) {
    let Counts { statements, requests, allowed, disagreements } = counts;
    println!("{what}: {statements} statements, {requests} requests, {allowed} allowed, {} disagreements", disagreements.len());
    assert!(disagreements.is_empty(), "{}", disagreements[0]);
    assert!(*allowed > requests / 50 && *allowed < requests * 49 / 50, "almost everything ends alike: nothing is compared");
}

#[test]
fn cedar_agrees_about_policies() {
    told("policies", &all_policies(Flaw::None, CASES));
}

#[test]
fn cedar_agrees_about_conditions() {
    told("conditions", &conditions(Flaw::None, CASES));
}

#[test]
fn cedar_agrees_about_crowds_of_statements() {
    told("crowds", &crowds(Flaw::None, CASES / 4));
}

#[test]
fn a_flaw_is_noticed() {
    for flaw in [Flaw::NoDeny, Flaw::NoInheritance, Flaw::NegatedInapplicable, Flaw::ManageIsUse, Flaw::Case] {
        let compared = if flaw == Flaw::NegatedInapplicable { conditions(flaw, FLAW_CASES) } else { crowds(flaw, FLAW_CASES) };
        let first = compared.disagreements.first();
        let (requests, disagreement) = (compared.requests, first.unwrap_or_else(|| panic!("{flaw:?} is not noticed")));
        println!("{flaw:?} is noticed after {requests} requests: {}", disagreement.lines().next().unwrap_or_default());
    }
}

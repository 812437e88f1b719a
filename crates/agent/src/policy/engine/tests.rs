use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use drydock_domain::policy::{DriftOutcome, StepOutcome};
use drydock_pkgmgr::run::SystemRunner;

use super::fakes::{Fake, Fault, NoUnits, World};
use super::*;
use crate::link::session::lock;
use crate::policy::values::Values;

#[derive(Default)]
struct Allows {
    held: BTreeMap<String, Held>,
    owed: BTreeSet<Key>,
}

impl Leave for Allows {
    fn may_change(&mut self, key: &Key, changes_packages: bool) -> Result<(), Held> {
        match self.held.get(&key.resource) {
            Some(Held::PatchTask) if !changes_packages => Ok(()),
            Some(held) => Err(held.clone()),
            None => Ok(()),
        }
    }
    fn begins(&mut self, _: &Key, _: Option<&Drifted>, notifies: &BTreeSet<Key>) -> Result<(), String> {
        self.owed.extend(notifies.iter().cloned());
        Ok(())
    }
    fn owed(&self) -> BTreeSet<Key> {
        self.owed.clone()
    }
    fn heard(&mut self, key: &Key) {
        self.owed.remove(key);
    }
    fn step(&mut self, _: &Key, _: StepKind) -> Result<(), String> {
        Ok(())
    }
}

struct Host {
    world: Arc<Mutex<World>>,
    engine: Engine,
    allows: Allows,
    dir: tempfile::TempDir,
    lines: Mutex<Vec<(bool, String)>>,
    runs: u32,
}

/// `a needs b tells c` → a resource.
fn resource(text: &str) -> Resource {
    let mut words = text.split(' ');
    let mut out = Resource { id: words.next().expect("an id").to_owned(), ..Resource::default() };
    while let (Some(verb), Some(id)) = (words.next(), words.next()) {
        if verb == "needs" { out.depends_on.push(id.to_owned()) } else { out.notify.push(id.to_owned()) }
    }
    out
}

fn policy(assignment: &str, id: &str, mode: Mode, resources: &[&str]) -> HostPolicy {
    HostPolicy {
        assignment: assignment.into(),
        revision: 1,
        policy: id.into(),
        mode,
        check_interval_secs: 3600,
        unmatched: false,
        resources: resources.iter().map(|r| resource(r)).collect(),
    }
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + secs).expect("in range")
}

impl Host {
    fn new(policies: &[HostPolicy], wanting: &[&str]) -> Self {
        let world = World { wanting: wanting.iter().map(|w| (*w).to_owned()).collect(), ..World::default() };
        let world = Arc::new(Mutex::new(world));
        let build = |r: &Resource| Fake::build(r, &world);
        let engine = Engine::new(policies, &[], &build);
        let dir = tempfile::tempdir().expect("a directory");
        Host { engine, world, allows: Allows::default(), dir, lines: Mutex::default(), runs: 0 }
    }

    fn fault(&self, call: &str, fault: Fault) {
        lock(&self.world).faults.insert(call.to_owned(), fault);
    }

    fn breaks(&self, id: &str) {
        lock(&self.world).wanting.insert(id.to_owned());
    }

    fn run(&mut self, scope: Scope) -> Outcome {
        self.runs += 1;
        let run = Run {
            id: format!("run-{}", self.runs),
            noticed: match &scope {
                Scope::Resources(keys) => keys.iter().map(|k| (k.clone(), Noticed { at: at(1), by: "file event" })).collect(),
                _ => BTreeMap::new(),
            },
            scope,
            only_check: false,
            noticed_by: "periodic check",
            cause: String::new(),
        };
        let (runner, secrets) = (SystemRunner::new(), Values::default());
        lock(&self.world).calls.clear();
        lock(&self.lines).clear();
        let place = Workplace {
            root: self.dir.path(),
            runner: &runner,
            transactions: &runner,
            units: &NoUnits,
            secrets: &secrets,
            scratch: self.dir.path().join("scratch"),
            memory: None,
        };
        let say = |line: &Line<'_>| lock(&self.lines).push((line.quiet, line.text.clone()));
        let tools = Tools { place, meanwhile: None, now: &|| at(2), say: &say };
        self.engine.run(&run, &tools, &mut self.allows)
    }

    fn all(&mut self) -> Outcome {
        self.run(Scope::All)
    }

    fn event(&mut self, ids: &[&str]) -> Outcome {
        let keys = self.engine.slots().filter(|s| ids.contains(&s.key.resource.as_str())).map(|s| s.key.clone());
        let scope = Scope::Resources(keys.collect());
        self.run(scope)
    }

    fn calls(&self) -> String {
        lock(&self.world).calls.join(", ")
    }

    /// `a COMPLIANT`, `b UNKNOWN execution-errors` …
    fn states(&self) -> Vec<String> {
        let shown = |r: &ResourceResult| format!("{} {} {}", r.id, r.state.as_str(), r.reason).trim().to_owned();
        self.engine.results().iter().flat_map(|p| &p.resources).map(shown).collect()
    }

    fn result(&self, id: &str) -> ResourceResult {
        let all = self.engine.results().into_iter().flat_map(|p| p.resources);
        all.into_iter().find(|r| r.id == id).expect("the resource")
    }

    fn policies(&self) -> Vec<(ComplianceState, String)> {
        self.engine.results().into_iter().map(|p| (p.state, p.reason)).collect()
    }
}

use ComplianceState::{Compliant, NonCompliant, Unknown};
use drydock_domain::policy::Evidence;

#[test]
fn the_log_is_googles_word_for_word() {
    let policies =
        [policy("as", "web", Mode::Enforcement, &["pkg", "conf"]), policy("as", "look", Mode::Validation, &["seen", "x"])];
    let mut host = Host::new(&policies, &["conf", "seen"]);
    host.fault("check x", Fault::Error);
    host.all();
    let lines: Vec<String> = lock(&host.lines).iter().map(|(_, text)| text.clone()).collect();
    let expected = [
        "Beginning ApplyConfigTask.",
        "Executing policy \"web\"",
        "Validate: resource \"pkg\" validation successful.",
        "Check state: resource \"pkg\" state is COMPLIANT.",
        "Validate: resource \"conf\" validation successful.",
        "Check state: resource \"conf\" state is NON_COMPLIANT.",
        "Enforce state: resource \"conf\" enforcement successful.",
        "Executing policy \"look\"",
        "Policy running in VALIDATION mode, not running enforcement action for any resources.",
        "Validate: resource \"seen\" validation successful.",
        "Check state: resource \"seen\" state is NON_COMPLIANT.",
        "Validate: resource \"x\" validation successful.",
        "Check state: resource \"x\" error: check x failed",
        "Check state post enforcement: resource \"pkg\" state is COMPLIANT.",
        "Check state post enforcement: resource \"conf\" state is COMPLIANT.",
        "Policy \"web\" resource \"pkg\" state: COMPLIANT",
        "Policy \"web\" resource \"conf\" state: COMPLIANT",
        "Policy \"look\" resource \"seen\" state: NON_COMPLIANT",
        "Policy \"look\" resource \"x\" state: UNKNOWN",
        "Successfully completed ApplyConfigTask",
    ];
    assert_eq!(lines, expected);
    let conf = host.result("conf");
    use StepKind::{DesiredStateCheck, DesiredStateCheckPostEnforcement, DesiredStateEnforcement, Validation};
    let kinds: Vec<StepKind> = conf.steps.iter().map(|s| s.kind).collect();
    assert_eq!(kinds, [Validation, DesiredStateCheck, DesiredStateEnforcement, DesiredStateCheckPostEnforcement]);
    assert_eq!(conf.steps[1].message, "it is bad");
    assert_eq!(conf.steps[1].evidence, Some(Evidence::State { old: "bad".into(), new: "good".into() }));
    assert_eq!(conf.output, "left behind");
    let mut empty = Host::new(&[], &[]);
    empty.all();
    let lines: Vec<String> = lock(&empty.lines).iter().map(|(_, text)| text.clone()).collect();
    assert_eq!(lines, ["Beginning ApplyConfigTask.", "No OSPolicies to apply.", "Successfully completed ApplyConfigTask"]);
}

#[test]
fn an_error_skips_the_rest_of_its_policy_and_no_other() {
    // Two assignments carry the same policy id: neither loses its results.
    let policies = [policy("one", "p", Mode::Enforcement, &["a", "b", "c"]), policy("two", "p", Mode::Enforcement, &["d", "e"])];
    let table: [(&str, Fault, [&str; 5], &str); 5] = [
        (
            "validate b",
            Fault::Error,
            ["a COMPLIANT", "b UNKNOWN execution-errors", "c UNKNOWN execution-skipped-by-agent", "d COMPLIANT", "e COMPLIANT"],
            "check a, check d, check e",
        ),
        (
            "check b",
            Fault::TimedOut,
            ["a COMPLIANT", "b UNKNOWN execution-errors", "c UNKNOWN execution-skipped-by-agent", "d COMPLIANT", "e COMPLIANT"],
            "check a, check d, check e",
        ),
        (
            "check b",
            Fault::Panic,
            ["a COMPLIANT", "b UNKNOWN execution-errors", "c UNKNOWN execution-skipped-by-agent", "d COMPLIANT", "e COMPLIANT"],
            "check a, check d, check e",
        ),
        (
            "enforce b",
            Fault::Error,
            [
                "a COMPLIANT",
                "b NON_COMPLIANT os-policy-execution-attempt-failed",
                "c UNKNOWN execution-skipped-by-agent",
                "d COMPLIANT",
                "e COMPLIANT",
            ],
            "check a, check b, check d, check e",
        ),
        (
            "enforce b",
            Fault::Useless,
            ["a COMPLIANT", "b NON_COMPLIANT os-policy-execution-attempt-failed", "c COMPLIANT", "d COMPLIANT", "e COMPLIANT"],
            "check a, check b, check c, check d, check e",
        ),
    ];
    for (call, fault, states, post) in table {
        let mut host = Host::new(&policies, &["a", "b", "e"]);
        host.fault(call, fault.clone());
        host.all();
        assert_eq!(host.states(), states, "{call}");
        assert!(host.calls().ends_with(post), "{call}: {}", host.calls());
        let errors = states[1].ends_with(reason::EXECUTION_ERRORS);
        assert_eq!(
            host.policies(),
            [
                if errors {
                    (Unknown, reason::RESOURCE_ERRORS.to_owned())
                } else {
                    (NonCompliant, reason::ATTEMPT_FAILED.to_owned())
                },
                (Compliant, String::new())
            ]
        );
        if matches!(fault, Fault::TimedOut) {
            assert_eq!(host.result("b").steps[1].outcome, StepOutcome::TimedOut);
        }
        if matches!(fault, Fault::Panic) {
            assert!(host.result("b").steps[1].message.contains("a mistake in check b"), "{:?}", host.result("b"));
        }
    }
}

#[test]
fn what_came_before_a_change_is_checked_again_in_all_policies_and_what_came_after_is_not() {
    let policies = [
        policy("x", "one", Mode::Validation, &["a"]),
        policy("x", "two", Mode::Enforcement, &["b", "c"]),
        policy("x", "three", Mode::Enforcement, &["d"]),
    ];
    let mut host = Host::new(&policies, &["b"]);
    lock(&host.world).breaks.insert("b".into(), "a".into());
    let outcome = host.all();
    assert!(host.calls().ends_with("check d, check a, check b"), "{}", host.calls());
    assert_eq!(host.states(), ["a NON_COMPLIANT", "b COMPLIANT", "c COMPLIANT", "d COMPLIANT"]);
    assert_eq!(outcome.again.iter().map(|k| k.resource.as_str()).collect::<Vec<_>>(), ["a"], "worth another look at once");
    host.all();
    assert_eq!(host.calls().matches("check").count(), 4, "nothing changed, nothing is checked twice");
}

#[test]
fn what_a_dependency_lacks_is_waited_for() {
    let policies = [policy("x", "p", Mode::Enforcement, &["c needs b", "a", "b needs a"])];
    let mut host = Host::new(&policies, &["a", "b", "c"]);
    host.fault("enforce a", Fault::Useless);
    host.all();
    let waits = ["c UNKNOWN dependency-not-compliant", "a NON_COMPLIANT os-policy-execution-attempt-failed"];
    assert_eq!(host.states(), [waits[0], waits[1], "b UNKNOWN dependency-not-compliant"]);
    assert!(!host.calls().contains("validate b"), "{}", host.calls());
    // An event for what was waited for takes those along that wait.
    lock(&host.world).faults.clear();
    host.event(&["a"]);
    assert_eq!(host.states(), ["c COMPLIANT", "a COMPLIANT", "b COMPLIANT"]);
    assert!(host.calls().contains("enforce a, check a, validate b"), "a dependency is seen to be good first: {}", host.calls());
}

#[test]
fn a_service_hears_once_of_all_changes_and_is_owed_what_it_did_not_hear() {
    let policies = [policy("x", "p", Mode::Enforcement, &["one tells svc", "two tells svc", "svc", "last"])];
    let mut host = Host::new(&policies, &["one", "two"]);
    host.all();
    assert_eq!(host.calls().matches("notified svc").count(), 1);
    assert!(host.calls().contains("check last, notified svc, check one"), "{}", host.calls());
    let steps = host.result("svc").steps;
    assert_eq!(steps.iter().find(|s| s.kind == StepKind::DesiredStateEnforcement).expect("a step").message, "reloaded");
    host.all();
    assert!(!host.calls().contains("notified"));

    // The reload fails: the service is not as it should be until it has heard.
    host.breaks("one");
    host.fault("notified svc", Fault::Error);
    host.event(&["one"]);
    assert_eq!(host.states()[2], "svc NON_COMPLIANT os-policy-execution-attempt-failed");
    host.all();
    assert_eq!(host.states()[2], "svc NON_COMPLIANT os-policy-execution-attempt-failed");
    lock(&host.world).faults.clear();
    host.all();
    assert_eq!((host.states()[2].as_str(), host.allows.owed.len()), ("svc COMPLIANT", 0));

    // A later error breaks the policy off: it is told of in the next run, also by a new process.
    host.breaks("one");
    host.fault("check last", Fault::Error);
    host.all();
    assert!(!host.calls().contains("notified"));
    lock(&host.world).faults.clear();
    host.all();
    assert!(host.calls().contains("notified svc"));
}

#[test]
fn drift_is_told_once_with_what_became_of_it() {
    let policies = [policy("x", "p", Mode::Enforcement, &["a", "b", "pkg"]), policy("x", "look", Mode::Validation, &["v"])];
    let mut host = Host::new(&policies, &["a"]);
    lock(&host.world).packages.insert("pkg".into());
    assert_eq!(host.all().drift, [], "the first time is no drift");
    host.breaks("a");
    let outcome = host.event(&["a"]);
    let [drift] = &outcome.drift[..] else { panic!("{outcome:?}") };
    assert_eq!((drift.outcome, drift.seen_at, drift.repaired_at), (Some(DriftOutcome::Repaired), at(1), Some(at(2))));
    assert_eq!((drift.what.as_str(), drift.noticed_by.as_ref()), ("it is bad", "file event"));
    assert_eq!(host.calls(), "check a, enforce a, check a", "fast: nothing but this one");
    assert!(lock(&host.lines).iter().any(|(quiet, _)| !quiet));

    // The event of our own write: one look, nothing to tell, and the evidence of the repair stays.
    let kept = host.result("a");
    let outcome = host.event(&["a"]);
    assert_eq!((outcome, host.calls().as_str(), host.result("a")), (Outcome::default(), "check a", kept));
    assert!(lock(&host.lines).iter().all(|(quiet, _)| *quiet), "{:?}", lock(&host.lines));

    host.breaks("v");
    assert_eq!(host.event(&["v"]).drift[0].outcome, Some(DriftOutcome::Reported));
    assert_eq!(host.event(&["v"]).drift, [], "known");
    host.breaks("b");
    host.fault("enforce b", Fault::Error);
    assert_eq!(host.event(&["b"]).drift[0].outcome, Some(DriftOutcome::Failed));
    assert_eq!(host.states()[1], "b NON_COMPLIANT os-policy-execution-attempt-failed");

    let flapping = |first| Held::Flapping { told: "repaired 3 times".into(), first };
    host.breaks("a");
    host.allows.held.insert("a".into(), flapping(true));
    assert_eq!(host.event(&["a"]).drift[0].outcome, Some(DriftOutcome::Flapping));
    assert_eq!(host.states()[0], "a NON_COMPLIANT flapping");
    assert!(host.result("a").steps[0].message.contains("repaired 3 times"));

    // Waits for a patch task, then is repaired: told when it is decided.
    host.breaks("pkg");
    host.allows.held.insert("pkg".into(), Held::PatchTask);
    assert_eq!(host.event(&["pkg"]).drift, []);
    assert_eq!(host.states()[2], "pkg NON_COMPLIANT waits-for-patch-task");
    host.allows.held.clear();
    assert_eq!(host.event(&["pkg"]).drift[0].outcome, Some(DriftOutcome::Repaired));
    host.breaks("pkg");
    host.allows.held.insert("pkg".into(), Held::ReadOnly);
    assert_eq!(host.event(&["pkg"]).drift[0].outcome, Some(DriftOutcome::Reported));
    assert_eq!(host.states()[2], "pkg NON_COMPLIANT host-is-read-only");
}

#[test]
fn what_is_not_for_this_host_counts_only_alone() {
    let policies = [policy("x", "p", Mode::Enforcement, &["a", "win"]), policy("x", "only", Mode::Enforcement, &["msi"])];
    let mut host = Host::new(&policies, &["a"]);
    host.fault("check win", Fault::Foreign);
    host.fault("check msi", Fault::Foreign);
    host.all();
    assert_eq!(host.states(), ["a COMPLIANT", "win UNKNOWN not-applicable", "msi UNKNOWN not-applicable"]);
    assert_eq!(host.policies(), [(Compliant, String::new()), (Unknown, reason::NOT_APPLICABLE.to_owned())]);
    let unmatched = HostPolicy { unmatched: true, ..policy("x", "none", Mode::Enforcement, &[]) };
    let mut host = Host::new(&[unmatched], &[]);
    host.all();
    assert_eq!(host.policies(), [(NonCompliant, reason::NO_GROUP.to_owned())]);
}

#[test]
fn a_check_changes_nothing_and_results_outlive_the_process() {
    let ids: Vec<String> = (0..500).map(|n| format!("r{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let policies = [policy("x", "p", Mode::Enforcement, &ids)];
    let mut host = Host::new(&policies, &ids);
    host.all();
    assert!(host.policies()[0].0 == Compliant && host.calls().matches("enforce").count() == 500);
    let before = host.engine.results();
    assert_eq!(before[0].checked_at, Some(at(2)));
    let world = Arc::clone(&host.world);
    let build = |r: &Resource| Fake::build(r, &world);
    host.engine = Engine::new(&policies, &before, &build);
    assert_eq!(host.engine.results(), before);
    assert_eq!(host.engine.watches().len(), 500);
    host.breaks("r7");
    let outcome = host.event(&["r7"]);
    assert_eq!(outcome.drift.len(), 1, "what was good before the restart has drifted");
    assert_eq!(host.calls(), "validate r7, check r7, enforce r7, check r7");
    // Another revision was not looked at as a whole yet.
    let next = HostPolicy { revision: 2, ..policies[0].clone() };
    let engine = Engine::new(&[next], &before, &build);
    assert_eq!((engine.results()[0].checked_at, engine.results()[0].state), (None, Compliant));
}

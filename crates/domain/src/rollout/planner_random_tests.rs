//! The planner and its linter: random jobs whose decisions the linter looks at, and faults that it must find.

use proptest::prelude::*;

use super::*;

/// Facts that do not fit the plan: the linter stops what the planner cannot explain.
#[test]
fn a_host_outside_the_plan_is_found() {
    let mut job = Job::new(WAVES, &[("a", 3)]);
    job.hosts.iter_mut().for_each(|h| h.wave = 7);
    let facts = job.facts();
    assert!(lint(&facts, &decide(&facts))[0].contains("a host of wave 7 is let go; the plan has 3 waves"));
    let mut job = Job::new("{}", &[("a", 3)]);
    job.hosts[1].zone = 4;
    let facts = job.facts();
    assert!(lint(&facts, &decide(&facts))[0].contains("a zone that the plan does not have"));
}

prop_compose! {
    fn a_state()(kind in 0..12, ago in 0i64..2000) -> HostState {
        let ended = |how| HostState::Ended { how, at: at(NOW - ago) };
        match kind {
            0..=3 => HostState::Pending,
            4 => HostState::Running,
            5 => ended(Ended::Failed),
            6 => ended(Ended::Missing),
            7 => ended(Ended::Decayed),
            8 => ended(Ended::Canceled),
            _ => ended(Ended::Succeeded),
        }
    }
}

const ROLLOUTS: [&str; 8] = [
    "{}",
    r#"{"disruptionBudget":{"fixed":3}}"#,
    r#"{"disruptionBudget":{"percent":30},"mode":"ZONE_BY_ZONE"}"#,
    r#"{"mode":"ZONE_BY_ZONE","haltAfter":{"fixed":5},"waves":[{"name":"a","size":{"percent":20}},{"name":"b","size":{"fixed":4}}]}"#,
    r#"{"disruptionBudget":{"percent":50},"haltAfter":{"percent":90},"waves":[{"name":"a","size":{"fixed":2},"bakeSecs":900}]}"#,
    r#"{"haltAfter":{"fixed":6},"waves":[{"name":"a","size":{"percent":40},"gate":{"approval":true}},{"name":"b","bakeSecs":9}]}"#,
    r#"{"requireApproval":true,"haltAfter":{"percent":50}}"#,
    r#"{"disruptionBudget":{"fixed":9},"haltAfter":{"fixed":9},
        "waves":[{"name":"a","size":{"fixed":3},"gate":{"webhook":"https://g/"}},{"name":"b","size":{"percent":50}}]}"#,
];

fn closed(kind: u8) -> Option<&'static Closed> {
    static CLOSED: std::sync::LazyLock<[Closed; 2]> = std::sync::LazyLock::new(|| {
        let window = Closed::Window { name: "nights".into(), opens_at: None };
        [window, Closed::Frozen { name: "xmas".into(), until: at(NOW + 5) }]
    });
    CLOSED.get(usize::from(kind))
}

type Drawn = (HostState, u8, u8, u8, bool);

fn a_job() -> impl Strategy<Value = Job> {
    let host = (a_state(), 0..24u8, 0..12u8, 0..20u8, prop::bool::weighted(0.05));
    let hosts = prop::collection::vec(host, 1..60);
    let calm = prop::bool::weighted(0.6);
    let people = (0..12u8, 0..12u8, prop::option::of(0i64..2000), 0..4u8, 0..4u8);
    (0..ROLLOUTS.len(), 1..5usize, hosts, calm, people, prop::option::of(1u32..30), prop::collection::vec(0..4u32, 0..4))
        .prop_map(|(rollout, zones, drawn, calm, people, at_once, others)| {
            job_of(ROLLOUTS[rollout], zones, &drawn, calm, people, at_once, others)
        })
}

fn job_of(
    rollout: &str,
    zones: usize,
    drawn: &[Drawn],
    calm: bool,
    (paused, halted, forgiven, approved, gate): (u8, u8, Option<i64>, u8, u8),
    at_once: Option<u32>,
    others: Vec<u32>,
) -> Job {
    const ZONES: [(&str, usize); 4] = [("a-1", 2), ("a-2", 1), ("b-1", 4), ("", 3)];
    let mut left = drawn.len();
    let mut sizes: Vec<(&str, usize)> = Vec::new();
    for (zone, weight) in ZONES.into_iter().take(zones) {
        let n = (drawn.len() * weight / 10).min(left);
        sizes.push((zone, n));
        left -= n;
    }
    sizes.push(("c-1", left));
    let mut job = Job::new(rollout, &sizes);
    let first_waves_done = calm;
    for (host, (state, reach, closed_by, other, straggler)) in job.hosts.iter_mut().zip(drawn) {
        host.state = *state;
        // In calm jobs earlier waves are mostly done, so that later ones have their turn.
        if first_waves_done && host.wave == 0 && *reach < 22 {
            host.state = HostState::Ended { how: Ended::Succeeded, at: at(NOW - 950) };
        }
        let is_away = *reach == 0 || *straggler;
        host.reachability = if is_away { Reachability::Offline } else { Reachability::Online };
        host.is_straggler = *straggler;
        host.closed = closed(*closed_by);
        host.other_task = (*other == 0).then(|| TaskId(Uuid::from_u128(999)));
    }
    let yes = || Approval { by: "eve".into(), at: at(5) };
    job.control.paused = (paused == 0).then(|| Paused { by: "bob".into(), since: at(5) });
    let cause = HaltCause::Asked { by: "bob".into(), reason: String::new() };
    job.control.halted = (halted == 0).then_some(Halt { at: at(5), wave: None, cause });
    job.control.forgiven_until = forgiven.map(|ago| at(NOW - ago));
    job.control.approved = (approved > 0).then(yes);
    let webhook = WebhookAnswer { passed: gate > 0, detail: "?".into(), at: at(NOW - 700) };
    job.control.gates.insert(0, GateAnswers { approved: (gate > 0).then(yes), webhook: Some(webhook) });
    (job.at_once, job.others) = (at_once, others);
    job
}

fn admitted(decision: &Decision) -> usize {
    decision.answers.iter().filter(|(_, a)| *a == Admission::Admit).count()
}

/// Every way to let go one host that the decision holds, and the linter's words for it.
fn one_more(job: &Job, decision: &Decision) -> Vec<(WaitingOn, Vec<String>)> {
    let held = decision.answers.iter().enumerate().filter_map(|(i, (_, answer))| match answer {
        Admission::Hold(why) => Some((i, why.clone())),
        Admission::Admit => None,
    });
    let tried = held.map(|(i, why)| {
        let mut altered = decision.clone();
        altered.answers[i].1 = Admission::Admit;
        (why, lint(&job.facts(), &altered))
    });
    tried.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// Whatever the facts: the linter has nothing to say, the same facts give the same answer, and what the planner does
    /// not let go is held rightly: the linter refuses one host more, whichever it is.
    #[test]
    fn every_decision_stands_and_not_one_host_more(job in a_job()) {
        let decision = job.decide();
        prop_assert_eq!(&decision, &decide(&job.facts()));
        prop_assert_eq!(decision.answers.len(), job.hosts.iter().filter(|h| h.state == HostState::Pending).count());
        for (why, found) in one_more(&job, &decision) {
            prop_assert!(!found.is_empty(), "one host more, held for {why:?}, passes the linter");
        }
    }

    /// A job goes to its end whatever becomes of its hosts: everybody is done, or it waits for a person.
    #[test]
    fn a_job_ends_or_waits_for_a_person(job in a_job(), fates in prop::collection::vec(0..20u8, 64)) {
        let mut job = job;
        job.others.clear();
        for host in &mut job.hosts {
            (host.reachability, host.is_straggler, host.other_task, host.closed) = (Reachability::Online, false, None, None);
        }
        for turn in 0..400usize {
            let decision = job.decide();
            if let Some(halt) = decision.halt {
                job.control.halted = Some(halt);
            }
            let waits = job.control.halted.is_some() || job.control.paused.is_some()
                || (job.plan.rollout.require_approval && job.control.approved.is_none())
                || decision.waves.iter().any(|w| w.phase == WavePhase::Gate);
            if decision.answers.is_empty() || waits {
                return Ok(());
            }
            job.go();
            let how = [Ended::Succeeded, Ended::Failed, Ended::Missing][usize::from(fates[turn % 64] == 0) + usize::from(fates[turn % 64] == 1) * 2];
            job.end(1 + turn % 3, how);
            job.pass(100);
        }
        prop_assert!(false, "it stands still: {:?}", job.reasons());
    }
}

#[test]
fn random_jobs_are_of_all_sorts() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut reasons: std::collections::BTreeMap<&str, u32> = std::collections::BTreeMap::new();
    let mut gone = 0;
    for _ in 0..2000 {
        let job = a_job().new_tree(&mut runner).expect("a job").current();
        let decision = job.decide();
        gone += usize::from(admitted(&decision) > 0);
        holds(&decision).iter().for_each(|why| *reasons.entry(why.name()).or_default() += 1);
    }
    assert!(gone > 300, "{gone}");
    let all = [
        "APPROVAL",
        "BAKE",
        "BUDGET",
        "EARLIER_WAVE",
        "EARLIER_ZONE",
        "FROZEN",
        "GATE",
        "HALTED",
        "OTHER_TASK",
        "PAUSED",
        "UNREACHABLE",
        "WINDOW",
    ];
    assert!(all.iter().all(|name| reasons.get(name).is_some_and(|n| *n > 20)), "{reasons:?}");
}

/// Bugs of a planner that the linter must find without knowing it.
#[test]
fn the_linter_finds_planted_bugs() {
    let mut job = Job::new(r#"{"disruptionBudget":{"fixed":2}}"#, &[("a", 5)]);
    let good = job.decide();
    let found = |job: &Job, change: &dyn Fn(&mut Decision)| {
        let mut decision = decide(&job.facts());
        change(&mut decision);
        lint(&job.facts(), &decision)
    };
    assert_eq!(found(&job, &|_| {}), [""; 0]);
    assert!(found(&job, &|d| d.answers[2].1 = Admission::Admit)[0].contains("its budget is 2"));
    assert!(found(&job, &|d| drop(d.answers.pop()))[0].contains("has no answer"));
    assert!(found(&job, &|d| d.answers.push(good.answers[0].clone()))[0].contains("is not pending, or has two"));
    assert!(found(&job, &|d| d.answers.swap(0, 1))[0].contains("belongs to pending task"));
    let empty = WaitingOn::Halted { why: " ".into() };
    assert!(found(&job, &|d| d.answers[4].1 = Admission::Hold(empty.clone()))[0].contains("empty or not true"));
    let untrue = WaitingOn::Unreachable { since: None };
    assert!(found(&job, &|d| d.answers[4].1 = Admission::Hold(untrue.clone()))[0].contains("not true"));
    let halt = Halt { at: job.now, wave: None, cause: HaltCause::Lint { finding: "x".into() } };
    assert!(found(&job, &|d| d.halt = Some(halt.clone()))[0].contains("halts the job"));
    job.hosts[1].task = job.hosts[0].task;
    assert!(found(&job, &|_| {})[0].contains("let go twice"));
}

//! The planner: Google's worked example, and each rule by hand. Random jobs: [`random`].

use uuid::Uuid;

use super::*;
use crate::ids::InstanceId;
use crate::rollout::{Approval, LayoutFacts, LayoutHost, Paused, Rollout, WebhookAnswer, lay_out, lint};

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(secs).expect("in range")
}

/// The time in most tests.
const NOW: i64 = 100_000;

/// A job: its plan, its hosts in order, and what people did.
#[derive(Debug, Clone)]
struct Job {
    plan: RolloutPlan,
    control: Control,
    hosts: Vec<HostFacts<'static>>,
    others: Vec<u32>,
    at_once: Option<u32>,
    now: Timestamp,
}

impl Job {
    /// Hosts are numbered in the order of `zones`: (zone, how many).
    fn new(rollout: &str, zones: &[(&str, usize)]) -> Job {
        let rollout: Rollout = serde_json::from_str(rollout).expect("a rollout");
        rollout.validate("rollout").expect("a good rollout");
        let hosts = zones.iter().flat_map(|(zone, n)| std::iter::repeat_n(*zone, *n)).enumerate();
        let laid: Vec<LayoutHost<'_>> = hosts
            .map(|(i, zone)| {
                let id = Uuid::from_u128(i as u128 + 1);
                LayoutHost {
                    task: TaskId(id),
                    instance: InstanceId(id),
                    zone,
                    kind: format!("os {}", i % 3),
                    selected: 0,
                    begun_in: None,
                }
            })
            .collect();
        let facts = LayoutFacts { rollout: &rollout, drawn_seed: 5, parent: None, why: "", now: at(0) };
        let (plan, waves) = lay_out(&facts, &laid);
        let hosts = laid.iter().zip(waves).map(|(host, wave)| HostFacts {
            task: host.task,
            wave,
            zone: plan.zones.iter().position(|z| z.zone == host.zone).expect("its zone"),
            state: HostState::Pending,
            reachability: Reachability::Online,
            last_seen: Some(at(NOW - 10)),
            other_task: None,
            closed: None,
            is_straggler: false,
        });
        let hosts = hosts.collect();
        Job { plan, control: Control::default(), hosts, others: Vec::new(), at_once: None, now: at(NOW) }
    }

    fn facts(&self) -> Facts<'_> {
        let Job { plan, control, hosts, others, at_once, now } = self;
        Facts { plan, control, hosts, others, at_once: *at_once, now: *now }
    }

    /// Decides, and the linter has nothing to say.
    fn decide(&self) -> Decision {
        let facts = self.facts();
        let decision = decide(&facts);
        assert_eq!(lint(&facts, &decision), Vec::<String>::new(), "{self:?}");
        decision
    }

    /// Lets go who may go; says how many, by zone.
    fn go(&mut self) -> Vec<usize> {
        let decision = self.decide();
        let mut by_zone = vec![0; self.plan.zones.len()];
        for (task, answer) in decision.answers {
            if answer == Admission::Admit {
                let host = self.hosts.iter_mut().find(|h| h.task == task).expect("its host");
                host.state = HostState::Running;
                by_zone[host.zone] += 1;
            }
        }
        by_zone
    }

    /// Ends up to `n` running hosts so.
    fn end(&mut self, n: usize, how: Ended) {
        let at = self.now;
        let running = self.hosts.iter_mut().filter(|h| h.state == HostState::Running);
        running.take(n).for_each(|h| h.state = HostState::Ended { how, at });
    }

    fn pass(&mut self, secs: i64) {
        self.now += SignedDuration::from_secs(secs);
    }

    fn wave(&mut self, wave: u16) -> impl Iterator<Item = &mut HostFacts<'static>> {
        self.hosts.iter_mut().filter(move |h| h.wave == wave)
    }

    /// The names of the reasons, each once, in order.
    fn reasons(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = holds(&self.decide()).iter().map(WaitingOn::name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn phases(&self) -> Vec<WavePhase> {
        self.decide().waves.iter().map(|w| w.phase).collect()
    }

    fn halted(&mut self) -> Option<HaltCause> {
        let halt = self.decide().halt?;
        self.control.halted = Some(halt.clone());
        assert_eq!(self.reasons(), ["HALTED"]);
        Some(halt.cause)
    }

    fn resume(&mut self) {
        self.control.halted = None;
        self.control.forgiven_until = Some(self.now);
        let decayed = self.hosts.iter().filter(|h| matches!(h.state, HostState::Ended { how: Ended::Decayed, .. }));
        self.control.forgiven_decayed.extend(decayed.map(|h| h.task));
        self.pass(1);
    }
}

fn holds(decision: &Decision) -> Vec<WaitingOn> {
    let held = decision.answers.iter().filter_map(|(_, answer)| match answer {
        Admission::Hold(why) => Some(why.clone()),
        Admission::Admit => None,
    });
    held.collect()
}

/// Google's worked example: a budget of 10; 8 failures in the first zone leave 2 at a time there; the next zone begins
/// with all 10; 10 failures there stop the job.
#[test]
fn googles_worked_example() {
    let rollout = r#"{"mode":"ZONE_BY_ZONE","disruptionBudget":{"fixed":10}}"#;
    let mut job = Job::new(rollout, &[("us-central1-a", 20), ("us-central1-b", 30)]);
    assert_eq!(job.go(), [10, 0]);
    assert_eq!(job.reasons(), ["BUDGET", "EARLIER_ZONE"]);
    job.end(8, Ended::Failed);
    assert_eq!(job.go(), [0, 0], "two are at work, eight places are eaten");
    job.end(2, Ended::Succeeded);
    for _ in 0..5 {
        assert_eq!(job.go(), [2, 0]);
        job.end(2, Ended::Succeeded);
    }
    assert_eq!(job.go(), [0, 10], "the next zone has its own budget, whole");
    job.end(9, Ended::Failed);
    assert_eq!(job.halted(), None, "one place is left");
    job.end(1, Ended::Failed);
    let eaten = HaltCause::BudgetEaten { zone: "us-central1-b".into(), failed: 10, budget: 10 };
    assert_eq!(job.halted(), Some(eaten));
    assert_eq!(job.go(), [0, 0]);
    // A person resumes: what failed so far counts no more.
    job.resume();
    assert_eq!(job.go(), [0, 10]);
}

#[test]
fn regions_and_zones_with_the_fewest_hosts_go_first_and_ties_by_name() {
    let rollout = r#"{"mode":"ZONE_BY_ZONE"}"#;
    // Region a: 5, region b: 5, region c: 4.
    let mut job = Job::new(rollout, &[("a-2", 2), ("a-1", 3), ("b-1", 2), ("b-2", 2), ("b-3", 1), ("c-9", 4), ("lone", 9)]);
    let names: Vec<String> = job.plan.zones.iter().map(|z| z.zone.clone()).collect();
    let mut order = Vec::new();
    for _ in 0..names.len() {
        let gone = job.go();
        let zones: Vec<&str> = names.iter().zip(&gone).filter(|(_, n)| **n > 0).map(|(z, _)| z.as_str()).collect();
        assert_eq!(zones.len(), 1, "{gone:?}");
        order.push(zones[0].to_owned());
        assert_eq!(job.go().iter().sum::<usize>(), 0, "its hosts are at work");
        job.end(9, Ended::Succeeded);
    }
    assert_eq!(order, ["c-9", "a-2", "a-1", "b-3", "b-1", "b-2", "lone"]);
}

/// A new plan may change the order of the zones: the one that has begun is done first.
#[test]
fn a_zone_that_has_hosts_at_work_keeps_its_turn() {
    let mut job = Job::new(r#"{"mode":"ZONE_BY_ZONE"}"#, &[("a", 3), ("b", 2)]);
    job.hosts[0].state = HostState::Running;
    assert_eq!(job.go(), [2, 0]);
    assert_eq!(holds(&job.decide()), vec![WaitingOn::EarlierZone { zone: "a".into() }; 2]);
    job.end(3, Ended::Succeeded);
    assert_eq!(job.go(), [0, 2]);
}

#[test]
fn zones_at_once_have_a_budget_each_rounded_up() {
    let mut job = Job::new(r#"{"disruptionBudget":{"percent":10}}"#, &[("a", 1), ("b", 10), ("c", 11)]);
    assert_eq!(job.go(), [1, 1, 2]);
    job.end(9, Ended::Failed);
    // Every budget is eaten where hosts are left: nobody can go on anywhere.
    assert_eq!(job.go(), [0, 0, 0]);
    assert!(matches!(job.halted(), Some(HaltCause::BudgetEaten { .. })));
    // One zone's failures do not stop another.
    let mut job = Job::new(r#"{"disruptionBudget":{"fixed":1}}"#, &[("a", 3), ("b", 3)]);
    assert_eq!(job.go(), [1, 1]);
    job.end(1, Ended::Failed);
    assert_eq!(job.halted(), None);
    job.end(1, Ended::Succeeded);
    assert_eq!(job.go(), [0, 1]);
    job.end(1, Ended::Succeeded);
    assert_eq!(job.go(), [0, 1]);
    job.end(1, Ended::Succeeded);
    assert_eq!(job.halted(), Some(HaltCause::BudgetEaten { zone: "a".into(), failed: 1, budget: 1 }));
}

/// Zone a's budget is eaten in wave one, zone b has hosts only in the wave after it: nobody would ever go on.
#[test]
fn an_eaten_budget_that_blocks_the_present_wave_halts_the_job() {
    let rollout = r#"{"disruptionBudget":{"fixed":1},"haltAfter":{"fixed":9},"waves":[{"name":"first","size":{"fixed":2}}]}"#;
    let mut job = Job::new(rollout, &[("a", 2), ("b", 2)]);
    for (host, wave) in job.hosts.iter_mut().zip([0, 0, 1, 1]) {
        host.wave = wave;
    }
    assert_eq!(job.go(), [1, 0]);
    job.end(1, Ended::Failed);
    assert_eq!(job.halted(), Some(HaltCause::BudgetEaten { zone: "a".into(), failed: 1, budget: 1 }));
}

#[test]
fn budgets_are_shared_by_all_jobs() {
    let mut job = Job::new(r#"{"disruptionBudget":{"fixed":4}}"#, &[("a", 9), ("b", 9)]);
    job.others = vec![3, 7];
    assert_eq!(job.go(), [1, 0]);
    let in_use = holds(&job.decide()).into_iter().filter_map(|why| match why {
        WaitingOn::Budget { in_use, limit: 4, zone: Some(zone) } => Some((zone, in_use)),
        _ => None,
    });
    assert_eq!(in_use.collect::<std::collections::BTreeSet<_>>(), [("a".to_owned(), 4), ("b".to_owned(), 7)].into());
    job.others = vec![3];
    assert_eq!(job.go(), [0, 4], "what is not told of is nothing");
    // The others' hosts are not this job's failures: it waits and does not halt.
    job.others = vec![4, 4];
    job.end(9, Ended::Succeeded);
    assert_eq!((job.go(), job.halted()), (vec![0, 0], None));
}

#[test]
fn the_whole_jobs_limit_holds_over_all_zones() {
    let mut job = Job::new("{}", &[("a", 5), ("b", 5)]);
    job.at_once = Some(3);
    assert_eq!(job.go(), [3, 0]);
    assert_eq!(holds(&job.decide())[0], WaitingOn::Budget { in_use: 3, limit: 3, zone: None });
    job.end(2, Ended::Failed);
    assert_eq!(job.go(), [2, 0], "this limit is of hosts at work, not of failures");
}

const WAVES: &str = r#"{"waves":[{"name":"canary","size":{"fixed":1},"bakeSecs":600},
    {"name":"half","size":{"percent":50},"gate":{"approval":true,"webhook":"https://gate.example.org/"}}],"haltAfter":{"fixed":2}}"#;

#[test]
fn waves_bake_and_pass_gates_in_order() {
    let mut job = Job::new(WAVES, &[("a", 10)]);
    assert_eq!(job.plan.waves.iter().map(|w| w.hosts).collect::<Vec<_>>(), [1, 5, 4]);
    assert_eq!(job.go(), [1]);
    assert_eq!(
        (job.reasons(), job.phases()),
        (vec!["EARLIER_WAVE"], vec![WavePhase::Open, WavePhase::Waiting, WavePhase::Waiting])
    );
    job.end(1, Ended::Succeeded);
    let decision = job.decide();
    let until = at(NOW + 600);
    assert_eq!(holds(&decision), vec![WaitingOn::Bake { wave: "canary".into(), until }; 9]);
    assert_eq!((decision.wake_at, decision.waves[0].bakes_until), (Some(until), Some(until)));
    job.pass(599);
    assert_eq!(job.go(), [0]);
    job.pass(1);
    assert_eq!(job.go(), [5]);
    job.end(5, Ended::Succeeded);
    // Person and webhook, in either order.
    let decision = job.decide();
    assert_eq!(holds(&decision), vec![WaitingOn::Approval { wave: Some("half".into()) }; 4]);
    assert_eq!(decision.webhooks_due, [1]);
    let webhook = |passed: bool, at| WebhookAnswer { passed, detail: "no".into(), at };
    let approved = Some(Approval { by: "eve".into(), at: job.now });
    job.control.gates.insert(1, GateAnswers { approved, webhook: None });
    assert_eq!((job.reasons(), job.decide().webhooks_due), (vec!["GATE"], vec![1]));
    // It says no: the job halts; resumed, the gate is asked anew.
    let now = job.now;
    job.control.gates.entry(1).or_default().webhook = Some(webhook(false, now));
    assert_eq!(job.halted(), Some(HaltCause::GateRefused { wave: "half".into(), detail: "no".into() }));
    assert_eq!(job.decide().webhooks_due, [1]);
    job.resume();
    assert_eq!((job.reasons(), job.decide().webhooks_due), (vec!["GATE"], vec![1]));
    let now = job.now;
    job.control.gates.entry(1).or_default().webhook = Some(webhook(true, now));
    assert_eq!(job.go(), [4]);
    job.end(4, Ended::Failed);
    assert_eq!((job.halted(), job.phases()), (None, vec![WavePhase::Done; 3]), "nobody is left to be held back");
}

#[test]
fn a_gate_of_a_wave_without_hosts_is_not_asked() {
    let rollout = r#"{"waves":[{"name":"nobody","select":{"zones":["x"]},"bakeSecs":600,"gate":{"approval":true}}]}"#;
    let mut job = Job::new(rollout, &[("a", 3)]);
    assert_eq!(job.plan.waves[0].hosts, 0);
    assert_eq!(job.go(), [3]);
}

#[test]
fn failures_of_a_wave_halt_the_job_whatever_their_kind() {
    for how in [Ended::Failed, Ended::Missing, Ended::Decayed] {
        let mut job = Job::new(WAVES, &[("a", 10)]);
        job.go();
        job.end(1, Ended::Succeeded);
        job.pass(600);
        job.go();
        job.end(1, how);
        assert_eq!(job.halted(), None, "one of two");
        job.end(1, how);
        assert_eq!(job.halted(), Some(HaltCause::Failures { wave: "half".into(), failed: 2, limit: 2 }), "{how:?}");
        // Forgiven; the wave goes on, and two more failures halt it again.
        job.resume();
        job.end(1, how);
        assert_eq!(job.halted(), None);
        job.end(1, how);
        assert!(job.halted().is_some());
    }
    // Cancelled hosts are nobody's failure.
    let mut job = Job::new(WAVES, &[("a", 10)]);
    job.go();
    job.end(1, Ended::Canceled);
    assert_eq!(job.phases()[0], WavePhase::Baking);
}

#[test]
fn a_host_that_decays_while_its_wave_bakes_halts_the_job() {
    let mut job = Job::new(&WAVES.replace("haltAfter\":{\"fixed\":2}", "haltAfter\":{\"percent\":1}"), &[("a", 10)]);
    job.go();
    job.end(1, Ended::Succeeded);
    job.pass(300);
    assert_eq!(job.reasons(), ["BAKE"]);
    let now = job.now;
    job.wave(0).for_each(|h| h.state = HostState::Ended { how: Ended::Decayed, at: now });
    assert_eq!(job.halted(), Some(HaltCause::Failures { wave: "canary".into(), failed: 1, limit: 1 }));
}

/// A resume forgives what a person could see: a host that was well then and decays later is a failure.
#[test]
fn a_resume_does_not_forgive_who_decays_after_it() {
    let rollout = r#"{"waves":[{"name":"first","size":{"fixed":3},"bakeSecs":600}]}"#;
    let mut job = Job::new(rollout, &[("a", 10)]);
    job.go();
    job.end(1, Ended::Failed);
    job.end(2, Ended::Succeeded);
    assert!(job.halted().is_some());
    job.resume();
    job.pass(100);
    assert_eq!(job.reasons(), ["BAKE"]);
    let good = job.hosts.iter_mut().find(|h| matches!(h.state, HostState::Ended { how: Ended::Succeeded, .. })).expect("one");
    let HostState::Ended { at, .. } = good.state else { panic!("it has ended") };
    good.state = HostState::Ended { how: Ended::Decayed, at };
    assert_eq!(job.halted(), Some(HaltCause::Failures { wave: "first".into(), failed: 1, limit: 1 }));
    job.resume();
    assert_eq!(job.reasons(), ["BAKE"], "now a person has seen it");
}

#[test]
fn who_is_away_for_long_holds_nobody_up_and_goes_when_back() {
    let mut job = Job::new(WAVES, &[("a", 10)]);
    for host in job.wave(0) {
        (host.reachability, host.is_straggler) = (Reachability::Offline, true);
    }
    assert_eq!(job.go(), [5], "the canary is away: the next wave goes");
    assert!(holds(&job.decide()).contains(&WaitingOn::Unreachable { since: Some(at(NOW - 10)) }));
    for host in job.wave(0) {
        (host.reachability, host.is_straggler) = (Reachability::Online, false);
    }
    assert_eq!((job.go(), job.phases()[0]), (vec![1], WavePhase::Open), "its wave is open again");
    // In the last wave and away: the job stays open for it.
    job.end(6, Ended::Succeeded);
    job.pass(600);
    let answer = Some(WebhookAnswer { passed: true, detail: String::new(), at: job.now });
    let approved = Some(Approval { by: "eve".into(), at: job.now });
    job.control.gates.insert(1, GateAnswers { approved, webhook: answer });
    job.wave(2).take(1).for_each(|h| (h.reachability, h.is_straggler) = (Reachability::Offline, true));
    assert_eq!(job.go(), [3]);
    job.end(3, Ended::Succeeded);
    assert_eq!((job.phases()[2], job.reasons()), (WavePhase::Open, vec!["UNREACHABLE"]));
}

#[test]
fn nobody_goes_while_paused_or_unapproved() {
    let mut job = Job::new(r#"{"requireApproval":true}"#, &[("a", 4)]);
    assert_eq!((job.go(), job.reasons()), (vec![0], vec!["APPROVAL"]));
    job.control.approved = Some(Approval { by: "eve".into(), at: at(1) });
    job.control.paused = Some(Paused { by: "bob".into(), since: at(1) });
    assert_eq!((job.go(), job.reasons()), (vec![0], vec!["PAUSED"]));
    job.control.halted =
        Some(Halt { at: at(1), wave: None, cause: HaltCause::Asked { by: "bob".into(), reason: "lunch".into() } });
    assert_eq!(holds(&job.decide())[0], WaitingOn::Halted { why: "bob halted it: lunch".into() });
    job.control = Control { approved: job.control.approved, ..Control::default() };
    assert_eq!(job.go(), [4]);
}

#[test]
fn calendars_other_tasks_and_silence_hold_a_host() {
    let mut job = Job::new("{}", &[("a", 5)]);
    let window = Closed::Window { name: "nights".into(), opens_at: Some(at(NOW + 50)) };
    let freeze = Closed::Frozen { name: "xmas".into(), until: at(NOW + 20) };
    let other = TaskId(Uuid::from_u128(77));
    job.hosts[0].closed = Some(Box::leak(Box::new(window)));
    job.hosts[1].closed = Some(Box::leak(Box::new(freeze)));
    job.hosts[2].other_task = Some(other);
    job.hosts[3].reachability = Reachability::NeverSeen;
    job.hosts[3].last_seen = None;
    let decision = job.decide();
    assert_eq!(
        holds(&decision),
        [
            WaitingOn::Window { window: "nights".into(), opens_at: Some(at(NOW + 50)) },
            WaitingOn::Frozen { calendar: "xmas".into(), until: at(NOW + 20) },
            WaitingOn::OtherTask { task: other },
            WaitingOn::Unreachable { since: None },
        ]
    );
    assert_eq!(decision.answers[4].1, Admission::Admit);
    assert_eq!(decision.wake_at, Some(at(NOW + 20)));
}

#[path = "planner_random_tests.rs"]
mod random;

//! The worker with resources of paper: what it looks at, when, and what it does about it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use drydock_domain::ids::InstanceId;
use drydock_domain::policy::host::HOST_POLICIES_VERSION;
use drydock_domain::policy::{
    AssignmentChecks, AssignmentHealth, ComplianceState, DriftEvent, DriftOutcome, HealthState, HostPolicies, HostPolicy, Mode,
    OnUnassign, Resource, ResourceResult,
};
use drydock_domain::rollout::health::HealthCheck;
use drydock_pkgmgr::run::SystemRunner;
use uuid::Uuid;

use super::gate::Prober;
use super::*;
use crate::ledger::seal;
use crate::link::session::lock;
use crate::policy::engine::fakes::{Fake, Fault, NoUnits, World};
use crate::policy::outbox::{self, Results};
use crate::policy::site;
use crate::task::host::{Probe, Trouble};

const OWN: InstanceId = InstanceId(Uuid::from_u128(1));
const PATIENCE: Duration = Duration::from_secs(60);

/// Units of paper.
#[derive(Default)]
struct FakeProber {
    active: Mutex<bool>,
    failed: Mutex<Vec<String>>,
    rounds: Mutex<usize>,
}

impl Prober for FakeProber {
    fn probe(&self, _: &Path, _: &AssignmentChecks, _: &HealthCheck, _: Duration) -> Result<Probe, Trouble> {
        *lock(&self.rounds) += 1;
        Ok(if *lock(&self.active) { Probe::well("is active") } else { Probe::ill("is failed") })
    }
    fn failed_units(&self) -> Result<Vec<String>, String> {
        Ok(lock(&self.failed).clone())
    }
    fn starting(&self) -> bool {
        false
    }
    fn pause(&self, _: Duration) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A host with its worker.
struct Bed {
    dir: tempfile::TempDir,
    world: Arc<Mutex<World>>,
    watched: Arc<Mutex<BTreeSet<Watch>>>,
    /// Goes with the documents that are assigned.
    health: Vec<AssignmentChecks>,
    prober: Arc<FakeProber>,
    worker: Option<(Sender<Heard>, JoinHandle<()>)>,
}

fn resource(id: &str) -> Resource {
    Resource { id: id.into(), ..Resource::default() }
}

fn policy(id: &str, resources: &[&str]) -> HostPolicy {
    HostPolicy {
        assignment: "a".into(),
        revision: 1,
        policy: id.into(),
        mode: Mode::Enforcement,
        check_interval_secs: 3600,
        unmatched: false,
        resources: resources.iter().map(|r| resource(r)).collect(),
    }
}

impl Bed {
    fn new(wanting: &[&str]) -> Self {
        let world = World { wanting: wanting.iter().map(|w| (*w).to_owned()).collect(), ..World::default() };
        let dir = tempfile::tempdir().expect("a directory");
        let bed = Bed {
            dir,
            world: Arc::new(Mutex::new(world)),
            watched: Arc::default(),
            health: Vec::new(),
            prober: Arc::default(),
            worker: None,
        };
        bed.files().make().expect("made");
        bed.configure("");
        bed
    }

    fn paths(&self) -> Paths {
        Paths::below(self.dir.path())
    }

    fn files(&self) -> Files {
        Files::of(&self.paths())
    }

    fn configure(&self, text: &str) {
        let path = self.paths().config;
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    /// As the daemon does it.
    fn assign(&self, generation: u64, policies: Vec<HostPolicy>) {
        let document = HostPolicies {
            version: HOST_POLICIES_VERSION,
            instance: OWN,
            generation,
            preview: None,
            policies,
            secrets: BTreeMap::new(),
            health: self.health.clone(),
        };
        let text = serde_json::to_string(&document).expect("json");
        let kept = serde_json::json!({ "document": text, "secrets": {} });
        platform::write_durably(&self.files().document(), &seal(&kept).expect("sealed"), 0o600).expect("written");
        self.daemon();
    }

    fn start(&mut self) {
        let (ring, inbox) = channel();
        let (world, watched) = (Arc::clone(&self.world), Arc::clone(&self.watched));
        let with = Facilities {
            build: Box::new(move |resource, _| Fake::build(resource, &world)),
            units: Box::new(NoUnits),
            runner: Box::new(SystemRunner::new()),
            watch: Box::new(move |watches| lock(&watched).clone_from(watches)),
            prober: Arc::clone(&self.prober) as Arc<dyn Prober>,
            program: "/bin/false".into(),
        };
        let mut worker = Worker::new(&self.paths(), OWN, with, Ear::new(inbox, ring.clone()));
        self.worker = Some((ring, std::thread::spawn(move || worker.serve())));
    }

    fn tell(&self, heard: Heard) {
        if let Some((ring, _)) = &self.worker {
            ring.send(heard).expect("the worker lives");
        }
    }

    fn daemon(&self) {
        self.tell(Heard::Daemon);
    }

    /// Somebody changes a resource, and the kernel says so.
    fn breaks(&self, id: &str) {
        lock(&self.world).wanting.insert(id.to_owned());
        self.event(id);
    }

    fn event(&self, id: &str) {
        self.tell(Heard::Happened(vec![Watch::Path(format!("/{id}").into())], Instant::now(), Timestamp::now()));
    }

    fn is_good(&self, id: &str) -> bool {
        !lock(&self.world).wanting.contains(id)
    }

    fn calls(&self) -> Vec<String> {
        lock(&self.world).calls.clone()
    }

    fn results(&self) -> Option<Results> {
        outbox::results(&self.files(), OWN)
    }

    fn result(&self, id: &str) -> Option<ResourceResult> {
        self.results()?.resources().find(|(_, r)| r.id == id).map(|(_, r)| r.clone())
    }

    fn drift(&self) -> Vec<DriftEvent> {
        self.results().map(|r| r.drift).unwrap_or_default()
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}; {:?}; {:#?}", self.calls(), self.results());
            std::thread::sleep(Duration::from_millis(1));
        }
        began.elapsed()
    }

    fn gate(&mut self, revision: u64, checks: &str) {
        let checks = serde_json::from_str(checks).expect("checks");
        self.health = vec![AssignmentChecks { assignment: "a".into(), revision, checks }];
    }

    fn healthy(&self, what: &str, state: HealthState) -> AssignmentHealth {
        let holds = |b: &Self| b.results().is_some_and(|r| r.health.first().is_some_and(|h| h.state == state));
        self.until(what, holds);
        self.results().expect("told").health.remove(0)
    }

    fn told(&self, generation: u64) {
        let all = |r: &Results| r.policies.iter().all(|p| p.checked_at.is_some());
        self.until("the document is looked at", |b| b.results().is_some_and(|r| r.generation == generation && all(&r)));
    }

    fn stop(&mut self) {
        std::fs::write(self.files().stop(), b"").expect("written");
        self.daemon();
        if let Some((_, thread)) = self.worker.take() {
            thread.join().expect("ended");
        }
        site::remove(&self.files().stop()).expect("removed");
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if self.worker.is_some() && !std::thread::panicking() {
            self.stop();
        }
    }
}

#[test]
fn five_hundred_resources_and_a_script_that_does_not_end_keep_nobody_waiting() {
    let ids: Vec<String> = (0..500).map(|n| format!("r{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut bed = Bed::new(&ids);
    bed.assign(1, vec![policy("many", &ids), policy("slow", &["script"])]);
    bed.start();
    bed.told(1);
    assert!(ids.iter().all(|id| bed.is_good(id)) && lock(&bed.watched).len() == 501);
    let mut took: Vec<Duration> = Vec::new();
    for id in ids.iter().step_by(10) {
        bed.breaks(id);
        took.push(bed.until("repaired", |b| b.is_good(id)));
    }
    took.sort();
    assert!(took[25] < Duration::from_millis(300) && took[49] < Duration::from_secs(1), "{took:?}");

    // A check that hangs: events of others are looked at meanwhile, and told.
    let hangs = Arc::new(Mutex::new(()));
    let held = lock(&hangs);
    lock(&bed.world).faults.insert("check script".into(), Fault::Waits(Arc::clone(&hangs)));
    lock(&bed.world).calls.clear();
    bed.event("script");
    bed.until("it hangs", |b| b.calls().contains(&"check script".to_owned()));
    bed.breaks("r3");
    let took = bed.until("repaired meanwhile", |b| b.is_good("r3"));
    assert!(took < Duration::from_secs(1), "{took:?}");
    bed.until("and told", |b| b.drift().iter().any(|d| d.resource == "r3" && d.outcome == DriftOutcome::Repaired));
    // Its own event waits for it, and so does what needs the package manager.
    lock(&bed.world).packages.insert("r4".into());
    bed.breaks("r4");
    bed.event("script");
    bed.breaks("r5");
    bed.until("r5", |b| b.is_good("r5"));
    assert!(!bed.is_good("r4"));
    drop(held);
    bed.until("r4, once it is over", |b| b.is_good("r4"));
    bed.until("the script again", |b| b.calls().iter().filter(|c| *c == "check script").count() >= 2);
}

#[test]
fn whoever_fights_it_is_answered_at_longer_and_longer_intervals() {
    let mut bed = Bed::new(&["a", "b"]);
    bed.assign(1, vec![policy("p", &["a", "b"])]);
    bed.start();
    bed.told(1);
    for n in 1..=3 {
        bed.breaks("a");
        bed.until("repaired and told", |b| b.is_good("a") && b.drift().len() == n);
        bed.event("a");
    }
    bed.breaks("a");
    bed.until("flapping", |b| b.result("a").is_some_and(|r| r.reason == "flapping"));
    assert!(!bed.is_good("a"));
    bed.breaks("b");
    bed.until("others are repaired", |b| b.is_good("b"));
    bed.until("all is told", |b| b.drift().len() == 5);
    let outcomes: Vec<DriftOutcome> = bed.drift().iter().map(|d| d.outcome).collect();
    use DriftOutcome::{Flapping, Repaired};
    assert_eq!(outcomes, [Repaired, Repaired, Repaired, Flapping, Repaired]);
    // An operator asks: now.
    site::write_number(&bed.files().check(), 7).expect("written");
    bed.daemon();
    bed.until("repaired on demand", |b| b.is_good("a"));
    bed.until("answered", |b| b.results().is_some_and(|r| r.check == 7 && r.count(ComplianceState::Compliant) == 2));
}

#[test]
fn package_changes_wait_for_a_patch_task_and_so_do_events() {
    let mut bed = Bed::new(&["pkg", "file"]);
    lock(&bed.world).packages.insert("pkg".into());
    site::set_patching(&bed.files(), true);
    bed.assign(1, vec![policy("p", &["pkg", "file"])]);
    bed.start();
    bed.told(1);
    assert_eq!(bed.result("pkg").expect("told").reason, "waits-for-patch-task");
    assert!(!bed.is_good("pkg") && bed.is_good("file"));
    bed.breaks("file");
    // What the worker did after this proves that the event was heard before.
    site::write_number(&bed.files().check(), 1).expect("written");
    bed.daemon();
    bed.until("a check is made meanwhile", |b| b.results().is_some_and(|r| r.check == 1));
    site::set_patching(&bed.files(), false);
    bed.daemon();
    bed.until("all is made good", |b| b.is_good("pkg") && b.is_good("file"));
}

#[test]
fn a_keeper_killed_between_check_and_enforce_is_followed_by_one_that_finishes() {
    let mut bed = Bed::new(&["a", "b"]);
    bed.assign(1, vec![policy("p", &["a", "b"])]);
    // The first one never comes out of its enforcement: to the disk that is a kill.
    let never = Arc::new(Mutex::new(()));
    let held = lock(&never);
    lock(&bed.world).faults.insert("enforce b".into(), Fault::Waits(Arc::clone(&never)));
    bed.start();
    bed.until("in the middle", |b| b.calls().contains(&"enforce b".to_owned()));
    let dead = bed.worker.take();
    assert!(bed.results().is_none() && bed.files().doing().exists());
    lock(&bed.world).faults.clear();
    bed.start();
    bed.told(1);
    assert!(bed.is_good("a") && bed.is_good("b"));
    assert_eq!(bed.results().expect("told").count(ComplianceState::Compliant), 2);
    drop(held);
    std::fs::write(bed.files().stop(), b"").expect("written");
    if let Some((ring, thread)) = dead {
        ring.send(Heard::Daemon).expect("it lives");
        thread.join().expect("ended");
    }
}

#[test]
fn leftovers_are_taken_back_also_later_and_with_nothing_left_the_keeper_ends() {
    let mut bed = Bed::new(&["a", "b"]);
    let mut first = policy("p", &["a", "b"]);
    first.resources[0].on_unassign = OnUnassign::Remove;
    bed.assign(1, vec![first]);
    bed.start();
    bed.told(1);
    lock(&bed.world).faults.insert("remove a".into(), Fault::Error);
    bed.assign(2, Vec::new());
    bed.until("it could not be taken back, and says so", |b| {
        b.results().is_some_and(|r| r.generation == 2 && r.problem.contains("a/p/a") && r.problem.contains("remove a failed"))
    });
    bed.stop();
    lock(&bed.world).faults.clear();
    bed.start();
    let (_, thread) = bed.worker.take().expect("a worker");
    thread.join().expect("it ends by itself");
    assert_eq!(bed.calls().iter().filter(|c| c.starts_with("remove")).count(), 2, "a twice, b never: {:?}", bed.calls());
    assert_eq!(bed.results().expect("told").problem, "");
}

#[test]
fn a_host_that_is_read_only_is_only_looked_at_and_a_torn_document_ends_nothing() {
    let mut bed = Bed::new(&["a"]);
    bed.configure("read_only = true\n");
    bed.assign(1, vec![policy("p", &["a"])]);
    bed.start();
    bed.told(1);
    assert_eq!(bed.result("a").expect("told").reason, "host-is-read-only");
    bed.configure("");
    bed.assign(2, vec![policy("p", &["a"])]);
    bed.told(2);
    assert!(bed.is_good("a"));
    std::fs::write(bed.files().document(), "torn").expect("written");
    bed.daemon();
    bed.until("it is told", |b| b.results().is_some_and(|r| r.problem.contains("cannot be believed")));
    bed.breaks("a");
    bed.until("what was kept is kept", |b| b.is_good("a"));
}

#[test]
fn every_policy_has_its_interval() {
    let mut bed = Bed::new(&[]);
    let often = HostPolicy { check_interval_secs: 1, ..policy("often", &["x"]) };
    bed.assign(1, vec![often, policy("seldom", &["y"])]);
    bed.start();
    bed.told(1);
    // No event says that it changed.
    lock(&bed.world).wanting.insert("x".into());
    bed.until("found by the net", |b| b.is_good("x"));
    bed.until("told", |b| b.drift().first().is_some_and(|d| d.noticed_by == "periodic check"));
    assert_eq!(bed.calls().iter().filter(|c| *c == "check y").count(), 1, "the other one was left alone");
}

const UNIT: &str = r#"{"checks":[{"unitActive":{"unit":"app.service"}}],"withinSecs":1}"#;

#[test]
fn a_revision_is_checked_once_it_was_looked_at_and_only_once() {
    let mut bed = Bed::new(&["a"]);
    *lock(&bed.prober.active) = true;
    bed.gate(1, UNIT);
    bed.assign(1, vec![policy("p", &["a"])]);
    bed.start();
    let well = bed.healthy("healthy", HealthState::Healthy);
    assert_eq!(
        (well.revision, well.message.as_str(), well.checks[0].detail.as_str()),
        (1, "the health check holds", "is active")
    );
    assert!(bed.is_good("a"), "not before it was brought about");
    bed.stop();
    *lock(&bed.prober.active) = false;
    let rounds = *lock(&bed.prober.rounds);
    bed.start();
    bed.assign(2, vec![policy("p", &["a", "b"])]);
    bed.told(2);
    bed.breaks("a");
    bed.until("repaired", |b| b.is_good("a"));
    assert_eq!((*lock(&bed.prober.rounds), bed.healthy("still", HealthState::Healthy)), (rounds, well));
    // Another revision asks anew, and what drifts meanwhile is repaired.
    bed.gate(2, UNIT);
    bed.assign(3, vec![HostPolicy { revision: 2, ..policy("p", &["a"]) }]);
    let checking = bed.healthy("begun", HealthState::Checking);
    assert_eq!((checking.revision, checking.message.as_str()), (2, "0 of 1 health checks hold; unit app.service: is failed"));
    bed.breaks("a");
    bed.until("repaired while the checks are made", |b| b.is_good("a"));
    let ill = bed.healthy("unhealthy", HealthState::Unhealthy);
    assert_eq!(ill.message, "unit app.service: is failed (for 1 s)");
    bed.health.clear();
    bed.assign(4, vec![HostPolicy { revision: 3, ..policy("p", &["a"]) }]);
    bed.until("forgotten with its document", |b| b.results().is_some_and(|r| r.generation == 4 && r.health.is_empty()));
}

#[test]
fn checks_wait_for_what_waits_and_know_the_units_of_before() {
    let mut bed = Bed::new(&["pkg"]);
    lock(&bed.world).packages.insert("pkg".into());
    *lock(&bed.prober.failed) = vec!["old.service".into()];
    bed.gate(1, r#"{"checks":[{"noNewFailedUnits":{}}],"withinSecs":1}"#);
    site::set_patching(&bed.files(), true);
    bed.assign(1, vec![policy("p", &["pkg"])]);
    bed.start();
    bed.told(1);
    assert_eq!(bed.result("pkg").expect("told").reason, "waits-for-patch-task");
    assert_eq!(bed.results().expect("told").health, []);
    // Killed here; the next keeper asks about the same units.
    bed.stop();
    lock(&bed.prober.failed).push("new.service".into());
    site::set_patching(&bed.files(), false);
    bed.start();
    let ill = bed.healthy("unhealthy", HealthState::Unhealthy);
    assert_eq!(ill.message, "no new failed units: new.service failed (for 1 s)");
    assert!(bed.is_good("pkg"));
    assert!(!bed.files().gates().exists());
}

#[test]
fn a_repair_that_was_cut_off_is_told_by_the_next_keeper() {
    let mut bed = Bed::new(&["a", "b"]);
    bed.assign(1, vec![policy("p", &["a", "b", "c"])]);
    bed.start();
    bed.told(1);
    // The keeper ends in the middle of a repair, which is done all the same; another one does nothing any more.
    let until = Arc::new(Mutex::new(()));
    let held = lock(&until);
    lock(&bed.world).faults.insert("enforce a".into(), Fault::Waits(Arc::clone(&until)));
    bed.breaks("a");
    bed.until("the repair has begun", |b| b.calls().iter().filter(|c| *c == "enforce a").count() == 2);
    let killed = tempfile::tempdir().expect("a directory");
    copy(&bed.files().keeper(), &killed.path().join("keeper"));
    copy(&bed.files().outbox(), &killed.path().join("outbox"));
    drop(held);
    lock(&bed.world).faults.clear();
    // The report is stored before the note of the repair goes.
    bed.until("repaired, and what was told is not kept", |b| {
        b.is_good("a") && b.drift().len() == 1 && !b.files().repairs().exists()
    });
    bed.stop();
    for still_broken in [false, true] {
        for (dir, name) in [(bed.files().keeper(), "keeper"), (bed.files().outbox(), "outbox")] {
            std::fs::remove_dir_all(&dir).expect("removed");
            copy(&killed.path().join(name), &dir);
        }
        assert_eq!(bed.drift(), [], "as the killed one left it");
        if still_broken {
            lock(&bed.world).wanting.insert("a".into());
            lock(&bed.world).faults.insert("enforce a".into(), Fault::Error);
        }
        bed.start();
        bed.until("told", |b| !b.drift().is_empty());
        let drift = bed.drift();
        assert_eq!((drift.len(), drift[0].resource.as_str(), drift[0].what.as_str()), (1, "a", "it is bad"), "{drift:?}");
        if still_broken {
            assert_eq!((drift[0].outcome, drift[0].repaired_at), (DriftOutcome::Failed, None));
        } else {
            assert_eq!(drift[0].noticed_by, "file event; the agent was restarted during the repair");
            assert!(drift[0].outcome == DriftOutcome::Repaired && drift[0].repaired_at > Some(drift[0].seen_at));
        }
        bed.stop();
        bed.start();
        bed.until("another keeper looked", |b| b.calls().iter().rfind(|c| *c == "check c").is_some());
        assert_eq!(bed.drift().len(), 1, "told once");
        bed.stop();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("listed").flatten() {
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).expect("copied");
        }
    }
}

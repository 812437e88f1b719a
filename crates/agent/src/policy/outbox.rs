//! What the server is told of the policies. The keeper writes how everything stands, and drift that nobody took yet, into one
//! file; the daemon makes numbered reports of it, keeps each until the server has it, and remembers what was taken: every
//! drift is delivered once, also when either of them is killed between two steps.

use std::path::Path;

use drydock_domain::ids::InstanceId;
use drydock_domain::policy::report::{DRIFT_EVENTS_MAX, HOST_POLICIES_REPORT_VERSION, MESSAGE_MAX_BYTES};
use drydock_domain::policy::{
    AssignmentHealth, ComplianceState, DriftEvent, DriftOutcome, HostPoliciesReport, PolicyResult, ResourceResult,
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::engine::{Drifted, fitted};
use super::site::{Files, PREVIEW_PREFIX, remove};
use crate::ledger::{seal, unseal};
use crate::platform::write_durably;

/// Drift that waits for a server that is away, count: a day of one every 40 s.
const DRIFT_KEPT_MAX: usize = 2000;
/// How everything stands is told this often even when nothing changed, seconds.
const REFRESH_SECS: i64 = 3600;

/// How this host stands, as the keeper tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Results {
    /// Grows with every form that is news.
    pub revision: u64,
    /// The instance whose policies they are.
    pub instance: InstanceId,
    /// Of the document.
    pub generation: u64,
    /// The newest check on demand that is answered.
    pub check: u64,
    /// When.
    pub at: Timestamp,
    /// What keeps the policies as a whole from being kept; empty = nothing.
    pub problem: String,
    /// Each policy.
    pub policies: Vec<PolicyResult>,
    /// Not taken yet, oldest first.
    pub drift: Vec<DriftEvent>,
    /// Number of the newest drift ever.
    pub last_drift: u64,
    /// Drift repaired since the agent was enrolled, count.
    pub repaired: u64,
    /// How the health checks of revisions stand.
    #[serde(default)]
    pub health: Vec<AssignmentHealth>,
}

impl Results {
    fn new(instance: InstanceId) -> Self {
        Results {
            revision: 0,
            instance,
            generation: 0,
            check: 0,
            at: Timestamp::UNIX_EPOCH,
            problem: String::new(),
            policies: Vec::new(),
            drift: Vec::new(),
            last_drift: 0,
            repaired: 0,
            health: Vec::new(),
        }
    }

    /// Resources of all policies.
    pub fn resources(&self) -> impl Iterator<Item = (&PolicyResult, &ResourceResult)> {
        self.policies.iter().flat_map(|p| p.resources.iter().map(move |r| (p, r)))
    }

    /// Resources that stand so, count.
    pub fn count(&self, state: ComplianceState) -> usize {
        self.resources().filter(|(_, r)| r.state == state).count()
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    unseal(&std::fs::read(path).ok()?).ok()
}

fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), String> {
    write_durably(path, &seal(value)?, 0o600).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// A number above the last one, and above all that a lost file may have held.
fn next_number(last: u64, now: Timestamp) -> u64 {
    (last + 1).max(u64::try_from(now.as_millisecond()).unwrap_or(0))
}

/// The newest results of this agent, if they are of `instance`.
pub fn results(files: &Files, instance: InstanceId) -> Option<Results> {
    read::<Results>(&files.results()).filter(|r| r.instance == instance)
}

/// The keeper's side.
#[derive(Debug)]
pub struct Outbox {
    files: Files,
    results: Results,
    saved: bool,
    /// Drift with a higher number is kept though the server has it: a keeper that comes after this one must know that it was
    /// told.
    settled: u64,
}

/// What a run found, for [`Outbox::put`].
#[derive(Debug, Clone)]
pub struct News {
    /// Of the document.
    pub generation: u64,
    /// The newest check on demand that is answered.
    pub check: u64,
    /// See [`Results::problem`].
    pub problem: String,
    /// Each policy.
    pub policies: Vec<PolicyResult>,
    /// What drifted.
    pub drift: Vec<Drifted>,
}

impl Outbox {
    /// With what an earlier keeper told.
    pub fn open(files: &Files, instance: InstanceId) -> Self {
        let results = results(files, instance).unwrap_or_else(|| Results::new(instance));
        Outbox { files: files.clone(), results, saved: true, settled: 0 }
    }

    /// How everything stands.
    pub fn results(&self) -> &Results {
        &self.results
    }

    /// Is it on disk?
    pub fn is_saved(&self) -> bool {
        self.saved
    }

    /// Tells what is news; what cannot be written stays in memory for [`Outbox::save`].
    pub fn put(&mut self, news: News, now: Timestamp) {
        let old = &self.results;
        let is_news = !news.drift.is_empty()
            || (old.generation, old.check, &old.problem) != (news.generation, news.check, &news.problem)
            || now.as_second() - old.at.as_second() >= REFRESH_SECS
            || !same(&old.policies, &news.policies);
        if !is_news {
            return;
        }
        let results = &mut self.results;
        for drifted in news.drift {
            let number = next_number(results.last_drift, now);
            if let Some(event) = drifted.event(number) {
                results.repaired += u64::from(event.outcome == DriftOutcome::Repaired);
                results.drift.push(event);
                results.last_drift = number;
            }
        }
        (results.generation, results.check, results.problem) = (news.generation, news.check, news.problem);
        (results.policies, results.at) = (news.policies, now);
        results.revision = next_number(results.revision, now);
        self.save();
    }

    /// Tells how health checks stand.
    pub fn put_health(&mut self, health: Vec<AssignmentHealth>, now: Timestamp) {
        if self.results.health != health {
            self.results.health = health;
            self.results.revision = next_number(self.results.revision, now);
            self.save();
        }
    }

    /// What was told until now need not be known to a later keeper.
    pub fn settle(&mut self) {
        self.settled = self.results.last_drift;
    }

    /// Writes what is not written yet.
    pub fn save(&mut self) {
        let taken = read::<Taken>(&self.files.taken()).map_or(0, |t| t.drift);
        self.results.drift.retain(|event| event.number > taken || event.number > self.settled);
        let too_many = self.results.drift.len().saturating_sub(DRIFT_KEPT_MAX);
        if too_many > 0 {
            tracing::warn!("{too_many} drift events are dropped: the server has not taken them for too long");
            self.results.drift.drain(..too_many);
        }
        let written = write(&self.files.results(), &self.results);
        if let Err(why) = &written {
            tracing::error!("{why}; it is tried again");
        }
        self.saved = written.is_ok();
    }

    /// Tells the result of a preview.
    pub fn put_preview(&self, id: &str, policies: Vec<PolicyResult>, problem: String, now: Timestamp) -> Result<(), String> {
        let report = HostPoliciesReport {
            preview: Some(id.to_owned()),
            problem,
            policies,
            ..report_of(&Results::new(self.results.instance), now)
        };
        write(&self.files.preview_result(id), &fitted(report))
    }
}

/// Do they tell the same, whenever and however fast it was found?
fn same(a: &[PolicyResult], b: &[PolicyResult]) -> bool {
    let bare = |policies: &[PolicyResult]| -> Vec<PolicyResult> {
        let mut policies = policies.to_vec();
        for policy in &mut policies {
            (policy.run, policy.checked_at) = (String::new(), policy.checked_at.map(|_| Timestamp::UNIX_EPOCH));
            policy.resources.iter_mut().flat_map(|r| &mut r.steps).for_each(|s| s.duration_ms = 0);
        }
        policies
    };
    a.len() == b.len() && bare(a) == bare(b)
}

fn report_of(results: &Results, now: Timestamp) -> HostPoliciesReport {
    HostPoliciesReport {
        version: HOST_POLICIES_REPORT_VERSION,
        seq: 0,
        generation: results.generation,
        preview: None,
        check: results.check,
        at: now,
        problem: results.problem.clone(),
        policies: results.policies.clone(),
        drift: Vec::new(),
        health: results.health.clone(),
    }
}

/// What the server has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Taken {
    seq: u64,
    revision: u64,
    drift: u64,
    refused: String,
}

/// What the server is being told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sending {
    report: HostPoliciesReport,
    revision: u64,
    refused: String,
}

/// The daemon's side.
#[derive(Debug)]
pub struct Mail {
    files: Files,
    instance: InstanceId,
}

impl Mail {
    /// Of this instance.
    pub fn new(files: &Files, instance: InstanceId) -> Self {
        Mail { files: files.clone(), instance }
    }

    /// A document was refused, or (empty) none is refused any more.
    pub fn refused(&self, why: &str) {
        let path = self.files.refused();
        let why: String = why.chars().filter(|c| !c.is_control()).collect();
        let why = &why[..why.floor_char_boundary(MESSAGE_MAX_BYTES / 2)];
        let done = match why {
            "" => remove(&path).map_err(|e| format!("cannot remove {}: {e}", path.display())),
            why if self.why_refused() == why => Ok(()),
            why => write(&path, &why),
        };
        if let Err(e) = done {
            tracing::error!("{e}");
        }
    }

    fn why_refused(&self) -> String {
        read(&self.files.refused()).unwrap_or_default()
    }

    /// The report to be sent now; it stays the same until it was delivered.
    pub fn due(&self, now: Timestamp) -> Option<HostPoliciesReport> {
        if let Some(sending) = read::<Sending>(&self.files.sending()) {
            return Some(sending.report);
        }
        let taken: Taken = read(&self.files.taken()).unwrap_or_default();
        let (report, revision, refused) = self.standing(&taken, now).or_else(|| self.preview(&taken))?;
        let report = fitted(HostPoliciesReport { seq: next_number(taken.seq, now), ..report });
        let sending = Sending { report, revision, refused };
        if let Err(why) = write(&self.files.sending(), &sending) {
            // Sent without it, a drift might be told twice.
            tracing::error!("{why}; the report of the policies waits");
            return None;
        }
        Some(sending.report)
    }

    fn standing(&self, taken: &Taken, now: Timestamp) -> Option<(HostPoliciesReport, u64, String)> {
        let results = results(&self.files, self.instance);
        let refused = self.why_refused();
        let revision = results.as_ref().map_or(0, |r| r.revision);
        let drift: Vec<DriftEvent> =
            results.iter().flat_map(|r| &r.drift).filter(|d| d.number > taken.drift).take(DRIFT_EVENTS_MAX).cloned().collect();
        if drift.is_empty() && revision <= taken.revision && refused == taken.refused {
            return None;
        }
        let results = results.unwrap_or_else(|| Results::new(self.instance));
        let mut report = HostPoliciesReport { drift, ..report_of(&results, now) };
        if !refused.is_empty() {
            let both = [refused.as_str(), results.problem.as_str()];
            report.problem = both.into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join("; ");
        }
        Some((report, revision, refused))
    }

    fn preview(&self, taken: &Taken) -> Option<(HostPoliciesReport, u64, String)> {
        for file in std::fs::read_dir(self.files.outbox()).ok()?.flatten() {
            if !file.file_name().to_string_lossy().starts_with(PREVIEW_PREFIX) {
                continue;
            }
            match read::<HostPoliciesReport>(&file.path()) {
                Some(report) => return Some((report, taken.revision, taken.refused.clone())),
                None => {
                    tracing::warn!("{} cannot be believed and is removed", file.path().display());
                    let _ = remove(&file.path());
                }
            }
        }
        None
    }

    /// The server has `report`, or will never take it.
    pub fn delivered(&self, report: &HostPoliciesReport) {
        let Some(sending) = read::<Sending>(&self.files.sending()).filter(|s| s.report.seq == report.seq) else { return };
        let before: Taken = read(&self.files.taken()).unwrap_or_default();
        let taken = Taken {
            seq: report.seq,
            revision: sending.revision,
            drift: report.drift.last().map_or(before.drift, |d| d.number),
            refused: sending.refused,
        };
        let done = write(&self.files.taken(), &taken).and_then(|()| {
            let gone = |path: &Path| remove(path).map_err(|e| format!("cannot remove {}: {e}", path.display()));
            if let Some(id) = &report.preview {
                gone(&self.files.preview_result(id))?;
            }
            gone(&self.files.sending())
        });
        if let Err(e) = done {
            // Costs one repeated report, which the server knows by its number.
            tracing::warn!("{e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;
    use crate::policy::engine::Key;
    use uuid::Uuid;

    const OWN: InstanceId = InstanceId(Uuid::from_u128(1));

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + secs).expect("in range")
    }

    fn news(generation: u64, state: ComplianceState, drifts: usize) -> News {
        let resource = ResourceResult { id: "r".into(), state, ..Default::default() };
        let drifted = Drifted {
            key: Key { assignment: "a".into(), policy: "p".into(), resource: "r".into() },
            seen_at: at(0),
            what: "inactive".into(),
            noticed_by: "unit signal".into(),
            cause: String::new(),
            outcome: Some(DriftOutcome::Repaired),
            repaired_at: Some(at(1)),
        };
        News {
            generation,
            check: 0,
            problem: String::new(),
            policies: vec![PolicyResult { resources: vec![resource], ..Default::default() }],
            drift: vec![drifted; drifts],
        }
    }

    fn place() -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Files::of(&Paths::below(dir.path()));
        files.make().expect("made");
        (dir, files)
    }

    #[test]
    fn every_drift_is_delivered_once_whoever_dies() {
        let (_dir, files) = place();
        let mail = Mail::new(&files, OWN);
        assert_eq!(mail.due(at(0)), None);
        let mut outbox = Outbox::open(&files, OWN);
        outbox.put(news(1, ComplianceState::Compliant, 700), at(1));
        let first = mail.due(at(2)).expect("due");
        assert_eq!((first.generation, first.drift.len()), (1, DRIFT_EVENTS_MAX));
        // The answer was lost, the daemon died, the keeper went on: the same report is sent again.
        outbox.put(news(1, ComplianceState::NonCompliant, 1), at(3));
        let mail = Mail::new(&files, OWN);
        assert_eq!(mail.due(at(4)), Some(first.clone()));
        mail.delivered(&first);
        mail.delivered(&first);
        let mut outbox = Outbox::open(&files, OWN);
        assert_eq!(outbox.results().repaired, 701);
        let second = mail.due(at(5)).expect("the rest");
        assert_eq!((second.drift.len(), second.policies[0].resources[0].state), (201, ComplianceState::NonCompliant));
        assert!(second.seq > first.seq && second.drift[0].number > first.drift[499].number);
        mail.delivered(&second);
        assert_eq!(mail.due(at(6)), None);
        outbox.settle();
        outbox.put(news(1, ComplianceState::NonCompliant, 0), at(7));
        assert_eq!(mail.due(at(8)), None, "nothing is news");
        outbox.put(news(1, ComplianceState::NonCompliant, 0), at(4000));
        assert_eq!(mail.due(at(4000)).expect("now and then").drift, []);
        assert!(outbox.results().drift.is_empty(), "what was taken is not kept");
    }

    #[test]
    fn a_full_disk_loses_nothing_but_time() {
        let (_dir, files) = place();
        let mut outbox = Outbox::open(&files, OWN);
        // A directory in the way: nothing can be written there.
        std::fs::create_dir(files.results()).expect("made");
        outbox.put(news(3, ComplianceState::Compliant, 2), at(1));
        assert!(!outbox.is_saved());
        std::fs::remove_dir(files.results()).expect("removed");
        outbox.save();
        assert!(outbox.is_saved());
        let report = Mail::new(&files, OWN).due(at(2)).expect("due");
        assert_eq!((report.generation, report.drift.len()), (3, 2));
    }

    #[test]
    fn refusals_and_previews_are_told() {
        let (_dir, files) = place();
        let mail = Mail::new(&files, OWN);
        mail.refused("the signature does not fit");
        let report = mail.due(at(1)).expect("due");
        assert_eq!((report.problem.as_str(), report.generation), ("the signature does not fit", 0));
        mail.delivered(&report);
        mail.refused("the signature does not fit");
        assert_eq!(mail.due(at(2)), None, "told once");
        mail.refused("");
        let report = mail.due(at(3)).expect("it is well again");
        assert_eq!(report.problem, "");
        mail.delivered(&report);

        let outbox = Outbox::open(&files, OWN);
        outbox.put_preview("look", news(0, ComplianceState::NonCompliant, 0).policies, String::new(), at(4)).expect("kept");
        let report = mail.due(at(5)).expect("due");
        assert_eq!((report.preview.as_deref(), report.policies.len()), (Some("look"), 1));
        mail.delivered(&report);
        assert_eq!((mail.due(at(6)), files.preview_result("look").exists()), (None, false));
        assert_eq!(Mail::new(&files, InstanceId(Uuid::from_u128(2))).due(at(7)), None, "another enrolment's are not told");
    }
}

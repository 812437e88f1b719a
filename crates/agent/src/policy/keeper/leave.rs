//! What the keeper allows the engine, and what it remembers on disk before a step: which services are owed a word, which drift
//! is being repaired, and which step is under way. A step that ended the keeper twice is not begun again: one resource must not keep all others from being
//! kept.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use drydock_domain::policy::StepKind;
use drydock_domain::policy::{ComplianceState, DriftOutcome, PolicyResult};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ledger::{seal, unseal};
use crate::platform::write_durably;
use crate::policy::engine::{Drifted, Held, Key, Leave};
use crate::policy::flap::Flaps;
use crate::policy::site::{Files, remove};

/// Ends of the keeper in one step after which the step is not begun again, count. One may be an operator's kill.
const ENDS_MAX: u32 = 2;

/// A step that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    key: Key,
    kind: StepKind,
    ends: u32,
}

/// What drift is told to be noticed by, besides, when the keeper ended before it told of it.
const CUT_OFF: &str = "the agent was restarted during the repair";

/// A drift whose repair began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// Of which resource.
    pub key: Key,
    /// When it was noticed.
    pub seen_at: Timestamp,
    what: String,
    noticed_by: String,
    cause: String,
}

impl Repair {
    fn of(drift: &Drifted) -> Self {
        Repair {
            key: drift.key.clone(),
            seen_at: drift.seen_at,
            what: drift.what.clone(),
            noticed_by: drift.noticed_by.clone().into_owned(),
            cause: drift.cause.clone(),
        }
    }

    /// What became of it, as `policies` stand after everything was looked at; `None`: the resource is no more.
    pub fn ended(&self, policies: &[PolicyResult], now: Timestamp) -> Option<Drifted> {
        let own = policies.iter().find(|p| p.assignment == self.key.assignment && p.policy == self.key.policy)?;
        let compliant = own.resources.iter().find(|r| r.id == self.key.resource)?.state == ComplianceState::Compliant;
        Some(Drifted {
            key: self.key.clone(),
            seen_at: self.seen_at,
            what: self.what.clone(),
            noticed_by: format!("{}; {CUT_OFF}", self.noticed_by).into(),
            cause: self.cause.clone(),
            outcome: Some(if compliant { DriftOutcome::Repaired } else { DriftOutcome::Failed }),
            repaired_at: compliant.then_some(now),
        })
    }
}

/// What is allowed now.
#[derive(Debug)]
pub struct Allowed {
    /// Nothing on this host may be changed.
    pub read_only: bool,
    /// A patch task owns the package manager.
    pub patching: bool,
    /// Repairs lately.
    pub flaps: Flaps,
    owed: BTreeSet<Key>,
    owed_path: PathBuf,
    doing_path: PathBuf,
    repairs: Vec<Repair>,
    repairs_path: PathBuf,
    /// Repairs that an earlier keeper began and told nobody of.
    cut_off: Vec<Repair>,
    suspect: Option<Begun>,
    current: Option<Begun>,
    now: fn() -> Timestamp,
}

impl Allowed {
    /// With what an earlier keeper left on disk.
    pub fn open(files: &Files, now: fn() -> Timestamp) -> Self {
        let owed = std::fs::read(files.owed()).ok().and_then(|bytes| unseal::<Vec<Key>>(&bytes).ok()).unwrap_or_default();
        let suspect = std::fs::read(files.doing()).ok().and_then(|bytes| unseal::<Begun>(&bytes).ok());
        if let Some(begun) = &suspect {
            let Key { assignment, policy, resource } = &begun.key;
            let times = begun.ends + 1;
            tracing::warn!("the last keeper ended at {:?} of {assignment}/{policy}/{resource} ({times}×)", begun.kind);
        }
        let cut_off = std::fs::read(files.repairs()).ok().and_then(|bytes| unseal(&bytes).ok()).unwrap_or_default();
        Allowed {
            repairs: Vec::new(),
            repairs_path: files.repairs(),
            cut_off,
            read_only: false,
            patching: false,
            flaps: Flaps::default(),
            owed: owed.into_iter().collect(),
            owed_path: files.owed(),
            doing_path: files.doing(),
            suspect: suspect.map(|b| Begun { ends: b.ends + 1, ..b }),
            current: None,
            now,
        }
    }

    /// An operator asks, or the document is another: everything is tried again.
    pub fn forgive(&mut self) {
        self.suspect = None;
        self.flaps.forget(|_| false);
    }

    /// Repairs that an earlier keeper began and told nobody of.
    pub fn cut_off(&self) -> &[Repair] {
        &self.cut_off
    }

    /// Everything that was begun is told, and `cut_off` ones as well.
    pub fn told(&mut self, cut_off: bool) {
        let before = self.repairs.len() + self.cut_off.len();
        self.repairs.clear();
        if cut_off {
            self.cut_off.clear();
        }
        if before > self.cut_off.len() {
            self.save_repairs();
        }
    }

    /// Against the process's end, not the host's: no fsync, so that a repair does not wait for the disk.
    fn save_repairs(&self) {
        let all: Vec<&Repair> = self.cut_off.iter().chain(&self.repairs).collect();
        if all.is_empty() {
            return forget(&self.repairs_path);
        }
        let new = self.repairs_path.with_extension("new");
        let sealed = seal(&all).map_err(std::io::Error::other);
        let done =
            sealed.and_then(|sealed| std::fs::write(&new, sealed)).and_then(|()| std::fs::rename(&new, &self.repairs_path));
        if let Err(e) = done {
            // Costs the word about this repair, should the keeper end during it.
            tracing::warn!("{}: {e}", self.repairs_path.display());
        }
    }

    /// The run is over: nothing is being done.
    pub fn run_ended(&mut self) {
        self.passed();
        forget(&self.doing_path);
    }

    /// The step under way ended, and the keeper lives.
    fn passed(&mut self) {
        if let (Some(done), Some(suspect)) = (self.current.take(), &self.suspect)
            && (&done.key, done.kind) == (&suspect.key, suspect.kind)
        {
            self.suspect = None;
        }
    }

    fn save_owed(&self) -> Result<(), String> {
        let owed: Vec<&Key> = self.owed.iter().collect();
        let sealed = seal(&owed)?;
        write_durably(&self.owed_path, &sealed, 0o600).map_err(|e| format!("cannot write {}: {e}", self.owed_path.display()))
    }
}

fn forget(path: &Path) {
    if let Err(e) = remove(path) {
        tracing::warn!("cannot remove {}: {e}", path.display());
    }
}

impl Leave for Allowed {
    fn may_change(&mut self, key: &Key, changes_packages: bool) -> Result<(), Held> {
        if self.read_only {
            return Err(Held::ReadOnly);
        }
        if self.patching && changes_packages {
            return Err(Held::PatchTask);
        }
        self.flaps.may_repair(key, (self.now)()).map_err(|waits| Held::Flapping {
            told: format!(
                "it was repaired {} times and did not stay so; something changes it back. The next repair is at {}",
                waits.repairs,
                waits.until.strftime("%Y-%m-%d %H:%M:%SZ")
            ),
            first: waits.first,
        })
    }

    fn begins(&mut self, key: &Key, drift: Option<&Drifted>, notifies: &BTreeSet<Key>) -> Result<(), String> {
        let now = (self.now)();
        match drift {
            Some(drift) => {
                self.flaps.repaired(key, now);
                let repair = Repair::of(drift);
                if !self.repairs.contains(&repair) {
                    self.repairs.push(repair);
                    self.save_repairs();
                }
            }
            None => self.flaps.brought(key, now),
        }
        if notifies.is_subset(&self.owed) {
            return Ok(());
        }
        let before = self.owed.clone();
        self.owed.extend(notifies.iter().cloned());
        self.save_owed().inspect_err(|_| self.owed = before)
    }

    fn owed(&self) -> BTreeSet<Key> {
        self.owed.clone()
    }

    fn heard(&mut self, key: &Key) {
        if self.owed.remove(key)
            && let Err(e) = self.save_owed()
        {
            // Costs one more reload after a restart.
            tracing::warn!("{e}");
        }
    }

    fn step(&mut self, key: &Key, kind: StepKind) -> Result<(), String> {
        self.passed();
        let ends = self.suspect.as_ref().filter(|s| s.key == *key && s.kind == kind).map_or(0, |s| s.ends);
        if ends >= ENDS_MAX {
            return Err(format!(
                "this step ended the agent's keeper {ends} times and is not begun again until the policy changes or a check is asked for; see the agent's log"
            ));
        }
        let begun = Begun { key: key.clone(), kind, ends };
        // Against the process's end, not the host's: no fsync. A full disk only forgets who is to blame.
        if let Ok(sealed) = seal(&begun) {
            let _ = std::fs::write(&self.doing_path, sealed);
        }
        self.current = Some(begun);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;

    fn key(name: &str) -> Key {
        Key { assignment: "a".into(), policy: "p".into(), resource: name.into() }
    }

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    #[test]
    fn a_step_that_ends_the_keeper_is_begun_twice_and_no_more() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Files::of(&Paths::below(dir.path()));
        files.make().expect("made");
        for round in 0..3 {
            let mut allowed = Allowed::open(&files, now);
            assert_eq!(allowed.step(&key("good"), StepKind::Validation), Ok(()), "another step is not concerned");
            assert_eq!(allowed.step(&key("bad"), StepKind::DesiredStateCheck).is_ok(), round < 2, "round {round}");
            if round == 2 {
                allowed.run_ended();
                allowed.forgive();
                assert_eq!(allowed.step(&key("bad"), StepKind::DesiredStateCheck), Ok(()));
                allowed.run_ended();
            }
            // The process is gone here.
        }
        assert!(Allowed::open(&files, now).suspect.is_none());
    }

    #[test]
    fn what_is_owed_and_what_may_be_changed() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Files::of(&Paths::below(dir.path()));
        files.make().expect("made");
        let mut allowed = Allowed::open(&files, now);
        allowed.begins(&key("file"), None, &BTreeSet::from([key("svc")])).expect("kept");
        assert_eq!(Allowed::open(&files, now).owed(), BTreeSet::from([key("svc")]), "it outlives the process");
        allowed.heard(&key("svc"));
        assert!(Allowed::open(&files, now).owed().is_empty());

        assert_eq!(allowed.may_change(&key("x"), true), Ok(()));
        allowed.patching = true;
        assert_eq!(allowed.may_change(&key("x"), true), Err(Held::PatchTask));
        assert_eq!(allowed.may_change(&key("x"), false), Ok(()));
        let drift = Drifted {
            key: key("x"),
            seen_at: now(),
            what: "inactive".into(),
            noticed_by: "unit signal".into(),
            cause: String::new(),
            outcome: None,
            repaired_at: None,
        };
        for _ in 0..3 {
            allowed.begins(&key("x"), Some(&drift), &BTreeSet::new()).expect("begun");
        }
        assert!(matches!(allowed.may_change(&key("x"), false), Err(Held::Flapping { first: true, .. })));
        let left = Allowed::open(&files, now);
        assert_eq!(
            left.cut_off().iter().map(|r| r.key.clone()).collect::<Vec<_>>(),
            [key("x")],
            "the next keeper knows of it once"
        );
        allowed.told(false);
        assert!(Allowed::open(&files, now).cut_off().is_empty(), "what was told is not told again");
        allowed.read_only = true;
        assert_eq!(allowed.may_change(&key("x"), false), Err(Held::ReadOnly));
    }
}

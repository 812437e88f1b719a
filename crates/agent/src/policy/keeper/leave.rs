//! What the keeper allows the engine, and what it remembers on disk before a step: which services are owed a word, and which
//! step is under way. A step that ended the keeper twice is not begun again: one resource must not keep all others from being
//! kept.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use drydock_domain::policy::StepKind;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ledger::{seal, unseal};
use crate::platform::write_durably;
use crate::policy::engine::{Held, Key, Leave};
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
        Allowed {
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

    fn begins(&mut self, key: &Key, again: bool, notifies: &BTreeSet<Key>) -> Result<(), String> {
        let now = (self.now)();
        if again {
            self.flaps.repaired(key, now)
        } else {
            self.flaps.brought(key, now)
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
        allowed.begins(&key("file"), false, &BTreeSet::from([key("svc")])).expect("kept");
        assert_eq!(Allowed::open(&files, now).owed(), BTreeSet::from([key("svc")]), "it outlives the process");
        allowed.heard(&key("svc"));
        assert!(Allowed::open(&files, now).owed().is_empty());

        assert_eq!(allowed.may_change(&key("x"), true), Ok(()));
        allowed.patching = true;
        assert_eq!(allowed.may_change(&key("x"), true), Err(Held::PatchTask));
        assert_eq!(allowed.may_change(&key("x"), false), Ok(()));
        for _ in 0..3 {
            allowed.begins(&key("x"), true, &BTreeSet::new()).expect("begun");
        }
        assert!(matches!(allowed.may_change(&key("x"), false), Err(Held::Flapping { first: true, .. })));
        allowed.read_only = true;
        assert_eq!(allowed.may_change(&key("x"), false), Err(Held::ReadOnly));
    }
}

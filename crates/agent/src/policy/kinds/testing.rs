//! A host in a directory, for tests of kinds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use drydock_domain::policy::host::SECRET_MARKS;
use drydock_domain::policy::{Evidence, Resource};
use drydock_pkgmgr::run::{Runner, SystemRunner};

use super::{FileMemory, HostFacts, build};
use crate::policy::kind::{Cx, Failure, Found, Kind, Secrets, UnitState, Units};

/// The only secret of these tests, `pw`.
pub const SECRET: &str = "hunter2";

/// A root and everything a kind may use.
pub struct Bench {
    /// The host.
    pub root: PathBuf,
    _dir: tempfile::TempDir,
    scratch: tempfile::TempDir,
    memory: FileMemory,
    /// Its systemd.
    pub units: FakeUnits,
    /// Its commands.
    pub runner: Box<dyn Runner>,
}

impl Bench {
    /// An empty host; commands are real.
    pub fn new() -> Self {
        Bench::with(SystemRunner::new())
    }

    /// An empty host with these commands.
    pub fn with(runner: impl Runner + 'static) -> Self {
        let dir = tempfile::tempdir().expect("a root");
        let scratch = tempfile::tempdir().expect("a scratch directory");
        Bench {
            root: dir.path().to_owned(),
            _dir: dir,
            memory: FileMemory::new(scratch.path().join("memory")),
            scratch,
            units: FakeUnits::default(),
            runner: Box::new(runner),
        }
    }

    /// This very machine, for tests on a host that they may change.
    pub fn here() -> Self {
        Bench { root: "/".into(), ..Bench::new() }
    }

    /// What a step gets.
    pub fn cx(&self) -> Cx<'_> {
        Cx {
            root: &self.root,
            runner: &*self.runner,
            transactions: &*self.runner,
            units: &self.units,
            scratch: self.scratch.path(),
            limit: Duration::from_secs(20),
            secrets: &OneSecret,
            memory: &self.memory,
        }
    }

    /// A path of the host.
    pub fn host(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Writes a file of the host with its directories.
    pub fn put(&self, path: &str, text: &str) {
        let path = self.host(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    /// Reads a file of the host.
    pub fn get(&self, path: &str) -> String {
        std::fs::read_to_string(self.host(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// The resource written so.
    pub fn kind(&self, json: &str) -> Box<dyn Kind> {
        let resource: Resource = serde_json::from_str(json).expect("a resource");
        build(&resource, &HostFacts::new(&self.root, ""))
    }

    /// Checks it; it has to be wanting.
    pub fn wanting(&self, kind: &mut dyn Kind) -> (String, Option<Evidence>) {
        kind.validate(&self.cx()).expect("valid");
        match kind.check(&self.cx()).expect("checked") {
            Found::NonCompliant { what, evidence } => (what, evidence),
            other => panic!("{other:?}"),
        }
    }

    /// Checks, enforces, checks again; says what was wanting and what was done.
    pub fn enforce(&self, kind: &mut dyn Kind) -> (String, String) {
        let (what, _) = self.wanting(kind);
        let done = kind.enforce(&self.cx()).expect("enforced");
        assert_eq!(kind.check(&self.cx()), Ok(Found::Compliant), "after {what}: {done:?}");
        (what, done.what)
    }

    /// Checks it; it has to be as it should.
    pub fn compliant(&self, kind: &mut dyn Kind) {
        kind.validate(&self.cx()).expect("valid");
        assert_eq!(kind.check(&self.cx()), Ok(Found::Compliant));
    }
}

struct OneSecret;

impl Secrets for OneSecret {
    fn reveal(&self, text: &str) -> Result<String, Failure> {
        Ok(text.replace(&format!("{}pw{}", SECRET_MARKS.0, SECRET_MARKS.1), SECRET))
    }

    fn redact(&self, text: &str) -> String {
        text.replace(SECRET, "[secret pw]")
    }
}

/// Units by name, and what was asked of them.
#[derive(Debug, Default)]
pub struct FakeUnits {
    /// As they are.
    pub units: Mutex<BTreeMap<String, UnitState>>,
    /// `start web.service` …
    pub asked: Mutex<Vec<String>>,
    /// States that the next looks see instead.
    pub passing: Mutex<Vec<&'static str>>,
}

impl FakeUnits {
    /// A unit that is there.
    pub fn put(&self, unit: &str, active: &str, file: &str) {
        let load = if file == "masked" { "masked" } else { "loaded" };
        let state = UnitState { load: load.into(), active: active.into(), file: file.into(), can_reload: true };
        self.units.lock().expect("lock").insert(unit.to_owned(), state);
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("lock"))
    }

    fn change(&self, verb: &str, unit: &str, change: impl FnOnce(&mut UnitState)) -> Result<(), Failure> {
        self.asked.lock().expect("lock").push(format!("{verb} {unit}"));
        match self.units.lock().expect("lock").get_mut(unit) {
            Some(state) => change(state),
            None => return Err(Failure::of(format!("no unit {unit}"))),
        }
        Ok(())
    }
}

impl Units for FakeUnits {
    fn state(&self, unit: &str) -> Result<UnitState, Failure> {
        let found = self.units.lock().expect("lock").get(unit).cloned();
        let mut state = found.unwrap_or(UnitState { load: "not-found".into(), active: "inactive".into(), ..Default::default() });
        if let Some(passing) = self.passing.lock().expect("lock").pop() {
            state.active = passing.into();
        }
        Ok(state)
    }

    fn start(&self, unit: &str, _limit: Duration) -> Result<(), Failure> {
        self.change("start", unit, |u| u.active = "active".into())
    }

    fn stop(&self, unit: &str, _limit: Duration) -> Result<(), Failure> {
        self.change("stop", unit, |u| u.active = "inactive".into())
    }

    fn reload_or_restart(&self, unit: &str, _limit: Duration) -> Result<(), Failure> {
        self.change("reload", unit, |_| {})
    }

    fn set_enabled(&self, unit: &str, enabled: bool) -> Result<(), Failure> {
        let (verb, file) = if enabled { ("enable", "enabled") } else { ("disable", "disabled") };
        self.change(verb, unit, |u| u.file = file.into())
    }

    fn set_masked(&self, unit: &str, masked: bool) -> Result<(), Failure> {
        let (verb, file, load) = if masked { ("mask", "masked", "masked") } else { ("unmask", "disabled", "loaded") };
        self.change(verb, unit, |u| {
            u.file = file.into();
            u.load = load.into();
        })
    }

    fn daemon_reload(&self) -> Result<(), Failure> {
        self.asked.lock().expect("lock").push("daemon-reload".to_owned());
        Ok(())
    }
}

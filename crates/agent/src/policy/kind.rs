//! What every kind of resource can do, and what it may use. The engine calls `validate` → `check` → `enforce` in this order
//! and `check` again afterwards; it alone knows modes, order, dependencies and time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use drydock_domain::policy::Evidence;
use drydock_pkgmgr::run::Runner;

/// One resource of a policy on this host.
pub trait Kind: Send {
    /// Can it be looked at at all? Reads and downloads what it needs; changes nothing.
    fn validate(&mut self, cx: &Cx<'_>) -> Result<(), Failure>;
    /// Is it as it should be? Changes nothing.
    fn check(&mut self, cx: &Cx<'_>) -> Result<Found, Failure>;
    /// Makes it so. Called only after a `check` that found it wanting; safe to be repeated after a kill in the middle.
    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure>;
    /// Nothing assigns it any more and it says REMOVE: takes back what it brought. Repeatable.
    fn remove(&mut self, cx: &Cx<'_>) -> Result<Done, Failure>;
    /// What on the host it depends on: something happened there → it is checked again. Empty = only the timer checks it.
    fn watches(&self) -> Vec<Watch>;
    /// Another resource that notifies this one has changed something. Only services can (reload, restart where they cannot).
    fn notified(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let _ = cx;
        Err(Failure::of("only a service can be notified"))
    }
    /// Does `enforce` or `remove` change the package database? Such a change waits while a patch task is under way.
    fn changes_packages(&self) -> bool {
        false
    }
}

/// Something on the host that can change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watch {
    /// A file, link or directory: made, written, replaced, removed, renamed, its mode, owner or label changed; also when a
    /// parent is removed or replaced, or something is mounted over it. Not what is below a directory.
    Path(PathBuf),
    /// A file of /proc/sys that user space writes to.
    Sysctl(PathBuf),
    /// A unit of systemd, with suffix: active state, and enabled, disabled, masked.
    Unit(String),
    /// The database of packages (also holds and locks).
    Packages,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// As it should be.
    Compliant,
    /// Not as it should be.
    NonCompliant {
        /// In a few words: `inactive`, `content differs`, `mode 0600 instead of 0644`.
        what: String,
        /// What shows it. Bounded and without secrets.
        evidence: Option<Evidence>,
    },
    /// Nothing a host of this system can have (googet, msi, PowerShell; apt on an rpm host).
    NotApplicable(String),
}

/// What a change did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Done {
    /// In a few words: `started and enabled`.
    pub what: String,
    /// What shows it.
    pub evidence: Option<Evidence>,
    /// exec: what `enforce` left in its outputFilePath.
    pub output: String,
}

/// A step that did not do what it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Operation, object, reason, and what to do.
    pub message: String,
    /// What shows it.
    pub evidence: Option<Evidence>,
    /// It was stopped because it took too long.
    pub timed_out: bool,
}

impl Failure {
    /// With nothing but a message.
    pub fn of(message: impl Into<String>) -> Self {
        Failure { message: message.into(), evidence: None, timed_out: false }
    }
}

/// What a resource may use.
pub struct Cx<'a> {
    /// The host: `/`, or a root in tests. Paths of resources are below it.
    pub root: &'a Path,
    /// Reading commands and scripts; ended at the limit given in each command.
    pub runner: &'a dyn Runner,
    /// Commands that change the package database: they outlive the keeper.
    pub transactions: &'a dyn Runner,
    /// systemd.
    pub units: &'a dyn Units,
    /// A directory of its own for what it downloads, 0700; emptied by the engine.
    pub scratch: &'a Path,
    /// What this step may still take.
    pub limit: Duration,
    /// Values of secrets by name, and texts with their marks.
    pub secrets: &'a dyn Secrets,
    /// What this resource remembers between runs.
    pub memory: &'a dyn Memory,
}

/// A note of one resource that outlives the keeper and the document's changes: what was there before its first change, which
/// files it wrote. Ends with the resource.
pub trait Memory: Sync {
    /// The note; `None` = there is none.
    fn recall(&self) -> Result<Option<String>, Failure>;
    /// Replaces the note; it is on disk when this returns.
    fn remember(&self, note: &str) -> Result<(), Failure>;
}

/// Values of secrets. Nothing prints them.
pub trait Secrets: Sync {
    /// The text with the values in the place of their marks (`host::SECRET_MARKS`); an error names the one that is missing.
    fn reveal(&self, text: &str) -> Result<String, Failure>;
    /// The text with every value it holds replaced by `[secret NAME]`: for evidence and messages.
    fn redact(&self, text: &str) -> String;
}

/// What systemd says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    /// `LoadState`: loaded, not-found, masked …
    pub load: String,
    /// `ActiveState`: active, inactive, failed, activating, deactivating, reloading.
    pub active: String,
    /// `UnitFileState`: enabled, disabled, static, masked, generated …; empty = no file.
    pub file: String,
    /// It can be reloaded.
    pub can_reload: bool,
}

/// systemd, by name of unit with suffix. Every call ends within its own limit and names operation and unit in its error.
pub trait Units: Send + Sync {
    /// Its state now; a unit nobody knows has load state `not-found`.
    fn state(&self, unit: &str) -> Result<UnitState, Failure>;
    /// Starts it and waits for the job's end.
    fn start(&self, unit: &str, limit: Duration) -> Result<(), Failure>;
    /// Stops it and waits for the job's end.
    fn stop(&self, unit: &str, limit: Duration) -> Result<(), Failure>;
    /// Reloads it, or restarts it where it cannot be reloaded, and waits for the job's end. A stopped unit stays so.
    fn reload_or_restart(&self, unit: &str, limit: Duration) -> Result<(), Failure>;
    /// Enables or disables it for the next boot.
    fn set_enabled(&self, unit: &str, enabled: bool) -> Result<(), Failure>;
    /// Masks or unmasks it.
    fn set_masked(&self, unit: &str, masked: bool) -> Result<(), Failure>;
    /// systemd reads its unit files anew.
    fn daemon_reload(&self) -> Result<(), Failure>;
}

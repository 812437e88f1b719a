//! Taking one host's task back: the exact inverse of what the package database said happened ([`inverse`]), the order
//! that asks a host for it ([`UndoOrder`]), and versions that must not come again ([`Barred`]).
//!
//! The inverse is a statement about package sets: what the task added goes, what it took away comes back, and nothing
//! else moves. What cannot be so is refused here or, where only the host's tool can tell, in the host's plan. Absent:
//! which jobs may be undone and by whom, where package files are kept, how a tool goes back.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::report::{PackageOutcome, PackageResult, Plan, PlannedAction, TaskReport};
use super::spec::{PatchConfig, is_package_name};
use crate::inventory::{ManagerKind, Package};
use crate::limits::{PACKAGE_FIELD_MAX_BYTES, PACKAGES_MAX};
use crate::validate::{Invalid, Problems};

/// Package files of one order, count: one for each package that comes back.
pub const UNDO_FILES_MAX: usize = PACKAGES_MAX;
/// One package file, bytes (4 GiB): the largest packages of distributions (debug data, TeX, games) stay below it.
pub const UNDO_FILE_MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// All package files of one order, bytes (32 GiB).
pub const UNDO_FILES_MAX_BYTES: u64 = 32 * 1024 * 1024 * 1024;
/// Where on the server package files are, below its base URL.
pub const UNDO_URL_PREFIX: &str = "/content/";
/// Path of a package file below the server's base URL, bytes.
const URL_PATH_MAX_BYTES: usize = 2 * 1024;
/// Versions barred on one host, count.
pub const BARRED_MAX: usize = 10_000;
/// Why a version is barred, bytes.
const REASON_MAX_BYTES: usize = 1024;
/// The package that carries out an undo.
const AGENT_PACKAGE: &str = "drydock-agent";

/// Why a package is installed, as its manager keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mark {
    /// A person asked for it.
    Person,
    /// Something needs it: goes with the last that does.
    Dependency,
    /// Something recommends it (dnf).
    WeakDependency,
    /// A group or a profile brought it (dnf).
    Group,
}

/// A package and why it is installed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Marked {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Why it is installed.
    pub mark: Mark,
}

/// A package that is gone except for its configuration files (dpkg's `rc`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LeftOver {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
}

/// What a host had beside versions before a plan: needed to go back exactly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Standing {
    /// Marks of the plan's installed packages, where the manager keeps them; sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Marked>,
    /// Packages of which only configuration files were left; sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftOver>,
}

/// One package of an undo. A package of which several versions are installed (a kernel) has a line for each version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UndoAction {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Version that the task brought and that goes; absent = the task took the package away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// Version that comes back; absent = the package was not installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// dpkg: configuration files go as well, because none were there before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub purge: bool,
    /// Why it was installed before, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

/// A package file that the server keeps for a version which repositories may no longer offer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UndoFile {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Version.
    pub version: String,
    /// Name of the file, for example `curl_7.88.1-10_amd64.deb`.
    pub file_name: String,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Where it is, below the server's base URL: `/content/…`.
    pub url_path: String,
    /// On the host: where the agent put it. Empty in an order.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub local: String,
}

/// The exact inverse transaction of one host's finished task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UndoOrder {
    /// What moves; sorted, nothing else may.
    pub actions: Vec<UndoAction>,
    /// Files of versions that come back; those without one must be offered by the host's repositories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<UndoFile>,
}

/// A version that must not be installed on a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Barred {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Exactly this version.
    pub version: String,
    /// Why, for people: `undone by job …`.
    pub reason: String,
}

/// Why a package, or with an empty name the whole task, cannot be taken back exactly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UndoRefusal {
    /// Package (or module) name; empty = the whole task.
    pub name: String,
    /// Architecture; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// For people.
    pub reason: String,
}

impl UndoRefusal {
    fn task(reason: impl Into<String>) -> Self {
        UndoRefusal { name: String::new(), arch: String::new(), reason: reason.into() }
    }
}

impl std::fmt::Display for UndoRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.name.as_str(), self.arch.as_str()) {
            ("", _) => write!(f, "{}", self.reason),
            (name, "") => write!(f, "{name}: {}", self.reason),
            (name, arch) => write!(f, "{name}.{arch}: {}", self.reason),
        }
    }
}

impl Barred {
    /// What a plan says of an update that it skips for this.
    pub fn told(&self) -> String {
        format!("barred: {}", self.reason)
    }
}

/// (name, arch).
type Key<'a> = (&'a str, &'a str);

/// What happened to the versions of one package over all rounds: +1 = there now, −1 = there before.
#[derive(Debug, Default)]
struct Moved<'a> {
    versions: BTreeMap<&'a str, i32>,
    /// dpkg holds it half-way, so that lists of installed packages leave it out.
    half: bool,
    /// The database held something that cannot be told apart afterwards.
    unclear: bool,
}

impl<'a> Moved<'a> {
    fn leaves(&mut self, version: Option<&'a String>) {
        if let Some(v) = version {
            *self.versions.entry(v).or_default() -= 1;
        }
    }

    fn arrives(&mut self, version: Option<&'a String>) {
        if let Some(v) = version {
            *self.versions.entry(v).or_default() += 1;
        }
    }

    fn of(&self, sign: i32) -> Vec<&'a str> {
        self.versions.iter().filter(|(_, n)| n.signum() == sign).map(|(v, _)| *v).collect()
    }

    fn take(&mut self, result: &'a PackageResult, now: &BTreeSet<&'a str>) {
        let planned = &result.planned;
        match result.outcome {
            PackageOutcome::NotApplied => {}
            PackageOutcome::Applied => {
                self.leaves(planned.from.as_ref());
                self.arrives(planned.to.as_ref());
            }
            PackageOutcome::Unplanned => {
                self.leaves(planned.from.as_ref());
                self.arrives(result.found.as_ref());
                self.half |= !result.detail.is_empty();
            }
            // Another version than planned, a half-configured one, or both versions at once (a torn rpm transaction).
            PackageOutcome::Different => {
                self.unclear |= planned.from.is_none() && now.len() > 1;
                self.leaves(planned.from.as_ref());
                if now.is_empty() {
                    self.arrives(result.found.as_ref());
                    self.half = true;
                } else {
                    now.iter().for_each(|v| *self.versions.entry(v).or_default() += 1);
                }
            }
        }
    }
}

/// The exact inverse of what `report` says happened, for a host that has `installed` now. Packages that are as before
/// already are left out.
pub fn inverse(report: &TaskReport, installed: &[Package]) -> Result<UndoOrder, Vec<UndoRefusal>> {
    let mut refused = whole(report);
    let mut now: BTreeMap<Key<'_>, BTreeSet<&str>> = BTreeMap::new();
    for p in installed {
        now.entry((&p.name, &p.arch)).or_default().insert(&p.version);
    }
    let none = BTreeSet::new();
    let mut moved: BTreeMap<Key<'_>, Moved<'_>> = BTreeMap::new();
    for result in &report.packages {
        let key = (result.planned.name.as_str(), result.planned.arch.as_str());
        moved.entry(key).or_default().take(result, now.get(&key).unwrap_or(&none));
    }
    let past = Past::of(report);
    let mut order = UndoOrder::default();
    let mut back = 0usize;
    for (key, moved) in &moved {
        match one(*key, moved, now.get(key).unwrap_or(&none), &past) {
            Ok(actions) if actions.is_empty() => back += usize::from(moved.versions.values().any(|n| *n != 0)),
            Ok(actions) => order.actions.extend(actions),
            Err(reason) => refused.push(UndoRefusal { name: key.0.to_owned(), arch: key.1.to_owned(), reason }),
        }
    }
    if order.actions.is_empty() && refused.is_empty() {
        refused.push(UndoRefusal::task(match back {
            0 => "the task changed no package: there is nothing to undo",
            _ => "every package is already as it was before the task: nothing is left to undo",
        }));
    }
    order.actions.sort();
    if refused.is_empty()
        && let Err(bad) = order.validate()
    {
        refused.push(UndoRefusal::task(format!("its report cannot be used: {bad}")));
    }
    refused.sort();
    if refused.is_empty() { Ok(order) } else { Err(refused) }
}

/// What a host holds after a task, when all that is known of it is from before the task's end: `installed` with what the
/// report found in its place. Example: right after a job the server has the report and not yet the new inventory.
pub fn found_after(report: &TaskReport, installed: &[Package]) -> Vec<Package> {
    let mut now: BTreeMap<(String, String, String), Package> =
        installed.iter().map(|p| ((p.name.clone(), p.arch.clone(), p.version.clone()), p.clone())).collect();
    for result in &report.packages {
        let PlannedAction { name, arch, from, .. } = &result.planned;
        let key = |version: &String| (name.clone(), arch.clone(), version.clone());
        let before = from.as_ref().filter(|from| result.found.as_ref() != Some(*from)).and_then(|from| now.remove(&key(from)));
        if let Some(found) = &result.found {
            let fresh =
                || Package { name: name.clone(), arch: arch.clone(), version: found.clone(), ..before.unwrap_or_default() };
            now.entry(key(found)).or_insert_with(fresh);
        }
    }
    now.into_values().collect()
}

/// What refuses a task before its packages are looked at.
fn whole(report: &TaskReport) -> Vec<UndoRefusal> {
    let mut refused = Vec::new();
    if !report.state.is_final() {
        let reason = format!("the task is {}; wait for its end, or cancel it", report.state.as_str());
        refused.push(UndoRefusal::task(reason));
    }
    for module in report.modules.iter().filter(|m| m.found != m.planned.before) {
        refused.push(UndoRefusal {
            name: module.planned.change.module.clone(),
            arch: String::new(),
            reason: "the task changed this module's stream or profiles, which cannot be taken back exactly; \
                     switch the stream with a job of its own"
                .to_owned(),
        });
    }
    refused.sort();
    refused.dedup();
    refused
}

/// What the plans kept of before.
struct Past<'a> {
    marks: BTreeMap<Key<'a>, Mark>,
    left: BTreeSet<Key<'a>>,
    dpkg: bool,
    kept: bool,
}

impl<'a> Past<'a> {
    fn of(report: &'a TaskReport) -> Self {
        let standing = || report.plans.iter().filter_map(|p| p.before.as_ref());
        let mut marks = BTreeMap::new();
        for m in standing().flat_map(|s| &s.marks) {
            marks.entry((m.name.as_str(), m.arch.as_str())).or_insert(m.mark);
        }
        // Later rounds see what the first one left.
        let left = standing().next().into_iter().flat_map(|s| &s.left).map(|l| (l.name.as_str(), l.arch.as_str())).collect();
        let dpkg = report.plans.iter().any(|p| p.manager == ManagerKind::Apt);
        Past { marks, left, dpkg, kept: report.plans.iter().all(|p| p.before.is_some()) }
    }
}

/// The lines of one package; none when it is as before.
fn one(key: Key<'_>, moved: &Moved<'_>, now: &BTreeSet<&str>, past: &Past<'_>) -> Result<Vec<UndoAction>, String> {
    let (plus, minus) = (moved.of(1), moved.of(-1));
    if plus.is_empty() && minus.is_empty() {
        return Ok(Vec::new());
    }
    if moved.unclear || moved.versions.values().any(|n| n.abs() > 1) {
        return Err("the task left it in a state that cannot be told apart; look at it on the host".to_owned());
    }
    let there = |v: &&str| now.contains(*v) || (moved.half && now.is_empty());
    if !moved.half && *now == minus.iter().copied().collect() {
        return Ok(Vec::new());
    }
    if !plus.iter().all(there) || minus.iter().any(|v| now.contains(*v)) {
        let list = |versions: &[&str]| if versions.is_empty() { "not installed".to_owned() } else { versions.join(", ") };
        let found = list(&now.iter().copied().collect::<Vec<_>>());
        return Err(format!(
            "another change lies between: the task left it at {}, now it is {found}; undo that change first",
            list(&plus)
        ));
    }
    if key.0 == AGENT_PACKAGE {
        return Err("it carries out the undo and cannot replace itself by an older one; do that by hand".to_owned());
    }
    let action = |now: Option<&str>, before: Option<&str>| UndoAction {
        name: key.0.to_owned(),
        arch: key.1.to_owned(),
        now: now.map(str::to_owned),
        before: before.map(str::to_owned),
        purge: past.dpkg && before.is_none() && !past.left.contains(&key),
        mark: before.and(past.marks.get(&key).copied()),
    };
    if past.dpkg && minus.is_empty() && !past.kept {
        return Err("the agent that installed it kept no note of configuration files from before; \
                    remove it with a job of its own"
            .to_owned());
    }
    Ok(match (&plus[..], &minus[..]) {
        ([new], [old]) if now.len() <= 1 => vec![action(Some(new), Some(old))],
        _ => {
            let gone = plus.iter().map(|v| action(Some(v), None));
            gone.chain(minus.iter().map(|v| action(None, Some(v)))).collect()
        }
    })
}

/// Is this a version of deb or rpm that can stand on a command line as one word?
pub(super) fn is_version(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= PACKAGE_FIELD_MAX_BYTES
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-_:~^".contains(&b))
}

pub(super) fn is_arch(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= PACKAGE_FIELD_MAX_BYTES
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && !text.starts_with('-')
}

/// A file name that stays in its directory and is no option and no apt word.
fn is_file_name(text: &str) -> bool {
    text.len() <= PACKAGE_FIELD_MAX_BYTES
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-_:~^%".contains(&b))
        && (text.ends_with(".deb") || text.ends_with(".rpm"))
}

fn is_url_path(text: &str) -> bool {
    text.len() <= URL_PATH_MAX_BYTES
        && text.starts_with(UNDO_URL_PREFIX)
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"?#\\\"<>".contains(&b))
        && !text.split('/').any(|part| part == ".." || part == ".")
}

impl UndoOrder {
    /// Checks what a host is asked for: words that may reach a command line, files that may be written.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        if self.actions.is_empty() {
            problems.add("undo.actions", "names no package");
        }
        problems.count("undo.actions", self.actions.len(), PACKAGES_MAX);
        problems.count("undo.files", self.files.len(), UNDO_FILES_MAX);
        for a in &self.actions {
            let versions = a.now.iter().chain(&a.before);
            if !is_package_name(&a.name) || !is_arch(&a.arch) || !versions.clone().all(|v| is_version(v)) {
                problems.add("undo.actions", format!("{:?} has an unusable name, architecture or version", a.name));
            }
            if versions.count() == 0 || a.now == a.before {
                problems.add("undo.actions", format!("{:?} changes nothing", a.name));
            }
        }
        let total = self.files.iter().fold(0u64, |sum, f| sum.saturating_add(f.size));
        if total > UNDO_FILES_MAX_BYTES {
            problems.add("undo.files", format!("are {total} bytes together; at most {UNDO_FILES_MAX_BYTES} are allowed"));
        }
        let arriving = self.arriving();
        for f in &self.files {
            let digest = f.sha256.len() == 64 && f.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            if !is_file_name(&f.file_name) || !digest || !is_url_path(&f.url_path) || f.size > UNDO_FILE_MAX_BYTES {
                problems.add("undo.files", format!("{:?} has an unusable name, digest, path or size", f.file_name));
            }
            if !arriving.contains(&(f.name.as_str(), f.arch.as_str(), f.version.as_str())) {
                problems.add("undo.files", format!("{:?} belongs to no package that comes back", f.file_name));
            }
        }
        problems.finish()
    }

    /// The versions that it takes away, to be kept away from the host.
    pub fn barred(&self, reason: &str) -> Vec<Barred> {
        let gone = self.actions.iter().filter_map(|a| {
            let (name, arch) = (a.name.clone(), a.arch.clone());
            Some(Barred { name, arch, version: a.now.clone()?, reason: reason.to_owned() })
        });
        gone.collect()
    }

    /// (name, arch, version) of what comes back.
    pub fn arriving(&self) -> BTreeSet<(&str, &str, &str)> {
        self.side(|a| a.before.as_deref())
    }

    /// (name, arch, version) of what goes.
    pub fn leaving(&self) -> BTreeSet<(&str, &str, &str)> {
        self.side(|a| a.now.as_deref())
    }

    fn side(&self, pick: fn(&UndoAction) -> Option<&str>) -> BTreeSet<(&str, &str, &str)> {
        self.actions.iter().filter_map(|a| Some((a.name.as_str(), a.arch.as_str(), pick(a)?))).collect()
    }

    /// What of it is not yet true in `installed`; `half` = packages that the database holds half-way.
    pub fn remaining(&self, installed: &[Package], half: &[Package]) -> UndoOrder {
        let set = |list: &'_ [Package]| -> BTreeSet<(String, String, String)> {
            list.iter().map(|p| (p.name.clone(), p.arch.clone(), p.version.clone())).collect()
        };
        let (installed, half) = (set(installed), set(half));
        let key = |a: &UndoAction, v: &Option<String>| Some((a.name.clone(), a.arch.clone(), v.clone()?));
        let back = |a: &UndoAction| key(a, &a.before).is_none_or(|k| installed.contains(&k));
        let gone = |a: &UndoAction| key(a, &a.now).is_none_or(|k| !installed.contains(&k) && !half.contains(&k));
        let left = self.actions.iter().filter(|a| !(back(a) && gone(a)));
        UndoOrder { actions: left.cloned().collect(), files: self.files.clone() }
    }

    /// The file of a version that comes back, where the agent has put one.
    pub fn local_file(&self, name: &str, arch: &str, version: &str) -> Option<&str> {
        let file = self.files.iter().find(|f| f.name == name && f.arch == arch && f.version == version)?;
        (!file.local.is_empty()).then_some(file.local.as_str())
    }

    /// Packages that are not as before, each with what is there; empty = taken back exactly.
    pub fn shortfall(&self, installed: &[Package]) -> Vec<String> {
        let missing = self.remaining(installed, &[]).actions.into_iter().map(|a| {
            let there: Vec<&str> =
                installed.iter().filter(|p| p.name == a.name && p.arch == a.arch).map(|p| p.version.as_str()).collect();
            let found = if there.is_empty() { "not installed".to_owned() } else { there.join(", ") };
            let want = a.before.as_deref().unwrap_or("not installed");
            format!("{}.{} is {found}, before the task it was {want}", a.name, a.arch)
        });
        missing.collect()
    }
}

impl Plan {
    /// How actions differ from what is to be taken back, version by version; empty = they are exactly that.
    pub fn differences(actions: &[PlannedAction], todo: &UndoOrder) -> Vec<String> {
        let side = |pick: fn(&PlannedAction) -> Option<&String>| -> BTreeSet<(&str, &str, &str)> {
            actions.iter().filter_map(|a| Some((a.name.as_str(), a.arch.as_str(), pick(a)?.as_str()))).collect()
        };
        let (arrive, leave) = (side(|a| a.to.as_ref()), side(|a| a.from.as_ref()));
        // A version that comes again in its own place (a reinstallation) moves nothing, and is still too much.
        let lines = |of: &BTreeSet<(&str, &str, &str)>, than: &BTreeSet<(&str, &str, &str)>, words: &str| -> Vec<String> {
            of.difference(than).map(|(n, a, v)| format!("{n}-{v}.{a} {words}")).collect()
        };
        let mut out = lines(&todo.arriving(), &arrive, "would not come back");
        out.extend(lines(&todo.leaving(), &leave, "would not go"));
        out.extend(lines(&arrive, &todo.arriving(), "would come besides"));
        out.extend(lines(&leave, &todo.leaving(), "would go besides"));
        out
    }
}

impl PatchConfig {
    /// Why an undo cannot be done as these settings ask; `None` when it can, or when there is no undo.
    pub fn undo_problem(&self) -> Option<&'static str> {
        self.undo.as_ref()?;
        if self.packages.is_some() || !self.modules.is_empty() || self.chooses() || self.own_choice(true).is_some() {
            return Some("an undo already is the whole task; no other choice of packages fits beside it");
        }
        self.download_only.then_some("an undo cannot only download")
    }

    /// Settings that only the server gives an order: nobody submits them.
    pub(super) fn check_undo(&self, at: &str, problems: &mut Problems) {
        if self.undo.is_some() {
            problems.add(format!("{at}.undo"), "is made by the server for each host; undo a job instead of submitting it");
        }
        if !self.barred.is_empty() {
            problems.add(format!("{at}.barred"), "is kept by the server for each host; it cannot be submitted");
        }
    }

    /// Checks the barred versions of an order: words that may reach a command line.
    pub fn check_barred(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        problems.count("barred", self.barred.len(), BARRED_MAX);
        for b in &self.barred {
            if !is_package_name(&b.name) || !is_arch(&b.arch) || !is_version(&b.version) || b.reason.len() > REASON_MAX_BYTES {
                problems.add("barred", format!("{:?} has an unusable name, architecture, version or reason", b.name));
            }
        }
        problems.finish()
    }
}

impl TaskReport {
    /// Checks what a host says it had beside versions, and what it says it takes back: hostile input.
    pub(super) fn check_standing(&self, problems: &mut Problems) {
        for order in self.plans.iter().filter_map(|p| p.undo.as_ref()) {
            problems.count("plans.undo.actions", order.actions.len(), PACKAGES_MAX);
            problems.count("plans.undo.files", order.files.len(), UNDO_FILES_MAX);
        }
        for standing in self.plans.iter().filter_map(|p| p.before.as_ref()) {
            problems.count("plans.before.marks", standing.marks.len(), PACKAGES_MAX);
            problems.count("plans.before.left", standing.left.len(), PACKAGES_MAX);
            let names = standing.marks.iter().map(|m| (&m.name, &m.arch)).chain(standing.left.iter().map(|l| (&l.name, &l.arch)));
            if names.clone().any(|(n, a)| n.len() > PACKAGE_FIELD_MAX_BYTES || a.len() > PACKAGE_FIELD_MAX_BYTES) {
                problems.add("plans.before", format!("names a package longer than {PACKAGE_FIELD_MAX_BYTES} bytes"));
            }
        }
    }
}

#[cfg(test)]
#[path = "undo_tests.rs"]
mod tests;

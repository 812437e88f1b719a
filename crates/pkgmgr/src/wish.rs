//! A job's named packages and chosen updates against the host: which words are left to ask the tool for, why the others
//! are not, and what no job may remove. Absent: the tools' own words for packages; each manager's folder has those.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use drydock_domain::inventory::{PackageSet, Update};
use drydock_domain::patch::operation::{PackageChanges, PackageWord, UpdateType};
use drydock_domain::patch::report::{ActionKind, PlannedAction, SkippedUpdate};
use drydock_domain::patch::spec::PatchConfig;

use crate::dnf5::{AdvisoryLine, split_nevra};
use crate::error::PkgError;
use crate::exec::{run_text, uname};
use crate::rpm;
use crate::run::Runner;

/// The package that must not remove itself.
const AGENT_PACKAGE: &str = "drydock-agent";

/// What is left to ask for.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    pub install: Vec<PackageWord>,
    pub remove: Vec<PackageWord>,
    pub update: Vec<PackageWord>,
    /// What there is nothing to do for, and why.
    pub notes: Vec<SkippedUpdate>,
}

/// A plan line for a word that needs nothing.
pub(crate) fn note(word: &PackageWord, reason: impl Into<String>) -> SkippedUpdate {
    SkippedUpdate {
        name: word.name.clone(),
        arch: word.arch.clone().unwrap_or_default(),
        version: word.version.clone().unwrap_or_default(),
        reason: reason.into(),
    }
}

impl Wishes {
    /// Reads the words (they were checked at submission) and leaves out what is true already. `order` compares versions.
    pub(crate) fn new(
        changes: &PackageChanges,
        installed: &PackageSet,
        order: &dyn Fn(&str, &str) -> Ordering,
    ) -> Result<Self, PkgError> {
        let read = |list: &[String]| -> Result<Vec<PackageWord>, PkgError> {
            list.iter().map(|t| PackageWord::parse(t).map_err(|details| PkgError::BadPlan { details })).collect()
        };
        let there = |word: &PackageWord| -> Vec<String> {
            let arch = word.arch.as_deref().unwrap_or_default();
            installed.find(&word.name, arch).map(|p| p.version.clone()).collect()
        };
        let mut wishes = Wishes::default();
        for word in read(&changes.install)? {
            let versions = there(&word);
            let done = word.version.as_ref().map_or(!versions.is_empty(), |v| versions.contains(v));
            if done {
                wishes.notes.push(note(&word, "already installed"));
            } else {
                wishes.install.push(word);
            }
        }
        for word in read(&changes.remove)? {
            let versions = there(&word);
            if word.version.as_ref().map_or(versions.is_empty(), |v| !versions.contains(v)) {
                wishes.notes.push(note(&word, "not installed on this host"));
            } else {
                wishes.remove.push(word);
            }
        }
        for word in read(&changes.update)? {
            let versions = there(&word);
            let newer = |v: &&String| word.version.as_ref().is_some_and(|to| order(v, to).is_ge());
            if versions.is_empty() {
                wishes.notes.push(note(&word, "not installed on this host"));
            } else if let Some(version) = versions.iter().find(newer) {
                wishes.notes.push(note(&word, format!("version {version} is installed, which is not older")));
            } else {
                wishes.update.push(word);
            }
        }
        Ok(wishes)
    }

    /// Takes out what the host's administrator keeps as it is: an update is noted, anything else refuses the plan.
    pub(crate) fn keep(&mut self, tool: &str, kept: &dyn Fn(&PackageWord) -> Option<String>) -> Result<(), PkgError> {
        if let Some((word, why)) = self.install.iter().chain(&self.remove).find_map(|w| Some((w, kept(w)?))) {
            let details = format!("{} is {why}; an administrator of the host has to release it first", word.name);
            return Err(PkgError::Refused { tool: tool.to_owned(), details });
        }
        let (left, held): (Vec<_>, Vec<_>) = std::mem::take(&mut self.update).into_iter().partition(|w| kept(w).is_none());
        self.notes.extend(held.iter().map(|w| note(w, kept(w).unwrap_or_default())));
        self.update = left;
        Ok(())
    }

    /// Nothing is left to ask for.
    pub(crate) fn is_empty(&self) -> bool {
        self.install.is_empty() && self.remove.is_empty() && self.update.is_empty()
    }

    /// May the tool go back to an older version? Only to one that was named.
    pub(crate) fn may_go_back(&self) -> bool {
        self.install.iter().any(|w| w.version.is_some())
    }

    /// Names that a person asked for: they are no dependencies.
    pub(crate) fn requested(&self) -> Vec<String> {
        let names: BTreeSet<String> = self.install.iter().map(|w| w.name.clone()).collect();
        names.into_iter().collect()
    }

    /// Notes for updates that the tool's transaction does not hold, and refuses what it left out in silence.
    pub(crate) fn settle(
        &mut self,
        tool: &str,
        actions: &[PlannedAction],
        why: &dyn Fn(&PackageWord) -> Option<String>,
    ) -> Result<(), PkgError> {
        let arrives = |w: &PackageWord| {
            actions.iter().any(|a| {
                a.name == w.name
                    && a.to.is_some()
                    && w.arch.as_ref().is_none_or(|arch| a.arch == *arch)
                    && (w.version.is_none() || a.to == w.version)
            })
        };
        let leaves = |w: &PackageWord| actions.iter().any(|a| a.name == w.name && a.to.is_none());
        if let Some(lost) = self.install.iter().find(|w| !arrives(w)).or(self.remove.iter().find(|w| !leaves(w))) {
            let details = format!("its transaction leaves out {}, which the job names", lost.name);
            return Err(PkgError::Refused { tool: tool.to_owned(), details });
        }
        for word in self.update.iter().filter(|w| !arrives(w)) {
            let reason = why(word).unwrap_or_else(|| "nothing newer is offered, or its dependencies cannot be met".to_owned());
            self.notes.push(note(word, reason));
        }
        self.notes.sort();
        Ok(())
    }
}

/// Refuses a plan that would take away what keeps the host and its agent going, where the tool itself does not.
pub(crate) fn refuse_protected(runner: &dyn Runner, tool: &str, actions: &[PlannedAction]) -> Result<(), PkgError> {
    let gone: Vec<&PlannedAction> = actions.iter().filter(|a| a.action == ActionKind::Remove).collect();
    let refused = |details: String| Err(PkgError::Refused { tool: tool.to_owned(), details });
    if gone.iter().any(|a| a.name == AGENT_PACKAGE) {
        return refused(format!("it would remove {AGENT_PACKAGE}, which carries out this job; unregister the host instead"));
    }
    let is_kernel = |a: &&&PlannedAction| a.name.starts_with("kernel") || a.name.starts_with("linux-image-");
    if !gone.iter().any(|a| is_kernel(&a)) {
        return Ok(());
    }
    let running = run_text(runner, &uname(), &[0])?;
    match gone.iter().filter(is_kernel).find(|a| is_running(a, running.trim())) {
        Some(kernel) => refused(format!("it would remove {}, the kernel that runs ({})", kernel.name, running.trim())),
        None => Ok(()),
    }
}

/// Does the running kernel come from this package? `linux-image-6.1.0-30-amd64`; kernel-core 5.14.0-70.el9 as
/// `5.14.0-70.el9.x86_64`; kernel-default 5.14.21-150500.55.19.1 as `5.14.21-150500.55.19-default`.
fn is_running(package: &PlannedAction, running: &str) -> bool {
    if let Some(release) = package.name.strip_prefix("linux-image-") {
        return release == running || release.strip_prefix("unsigned-") == Some(running);
    }
    let version = package.from.as_deref().unwrap_or_default();
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    if running == format!("{version}.{}", package.arch) {
        return true;
    }
    let suse = running.rsplit_once('-').filter(|(_, flavour)| package.name == format!("kernel-{flavour}"));
    suse.is_some_and(|(release, _)| version == release || version.starts_with(&format!("{release}.")))
}

/// An update that the job's types, advisories or CVEs choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub name: String,
    pub arch: String,
    /// The newest version.
    pub newest: String,
    /// The lowest version that closes what was chosen; absent when no advisory chose it (OTHER).
    pub closing: Option<String>,
}

/// The chosen ones of rpm `updates`, by the advisory lines on their way. `ids`: the job's advisories and those that
/// close its CVEs.
pub(crate) fn chosen(config: &PatchConfig, updates: &[Update], lines: &[AdvisoryLine], ids: &BTreeSet<String>) -> Vec<Chosen> {
    let mut out: Vec<Chosen> = Vec::new();
    for update in updates.iter().filter(|u| u.held.is_empty()) {
        let mut known = false;
        let mut closing: Option<String> = None;
        for line in lines {
            let Some((name, version, arch)) = split_nevra(&line.nevra) else { continue };
            let on_the_way = rpm::order(&version, &update.from).is_gt() && rpm::order(&version, &update.to).is_le();
            if name != update.name || arch != update.arch || !on_the_way {
                continue;
            }
            let kind = type_of(&line.kind);
            known |= kind != UpdateType::Other;
            let by_type = kind != UpdateType::Other && config.update_types.contains(&kind);
            if (by_type || ids.contains(&line.name)) && closing.as_ref().is_none_or(|c| rpm::order(&version, c).is_gt()) {
                closing = Some(version);
            }
        }
        if closing.is_some() || (!known && config.update_types.contains(&UpdateType::Other)) {
            let (name, arch, newest) = (update.name.clone(), update.arch.clone(), update.to.clone());
            out.push(Chosen { name, arch, newest, closing });
        }
    }
    out
}

/// An advisory's type; SUSE's words for them too.
pub(crate) fn type_of(word: &str) -> UpdateType {
    match word {
        "security" => UpdateType::Security,
        "bugfix" | "recommended" => UpdateType::Bugfix,
        "enhancement" | "feature" | "optional" => UpdateType::Enhancement,
        _ => UpdateType::Other,
    }
}

/// Notes for advisories and CVEs that no update of this host belongs to.
pub(crate) fn unmatched<'a>(wanted: impl Iterator<Item = &'a String>, met: &BTreeSet<String>) -> Vec<SkippedUpdate> {
    let line = |id: &String| SkippedUpdate {
        name: id.clone(),
        arch: String::new(),
        version: String::new(),
        reason: "no available update of this host belongs to it".to_owned(),
    };
    wanted.filter(|id| !met.contains(*id)).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ScriptedRunner;
    use drydock_domain::inventory::{Package, UpdateKind};

    fn set(packages: &[(&str, &str)]) -> PackageSet {
        let one = |(n, v): &(&str, &str)| Package {
            name: (*n).into(),
            arch: "noarch".into(),
            version: (*v).into(),
            ..Package::default()
        };
        PackageSet::new(packages.iter().map(one).collect())
    }

    fn removal(name: &str, version: &str, arch: &str) -> PlannedAction {
        PlannedAction {
            action: ActionKind::Remove,
            name: name.into(),
            arch: arch.into(),
            from: Some(version.into()),
            to: None,
            repository: String::new(),
            kind: UpdateKind::Unknown,
            advisories: Vec::new(),
        }
    }

    #[test]
    fn what_is_true_already_is_noted_and_not_asked_for() {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let changes = PackageChanges {
            install: words(&["a", "b", "c=1-1", "d=2-1"]),
            remove: words(&["e", "a.x86_64"]),
            update: words(&["f", "c=2-1", "d=0.9-1", "e"]),
        };
        let installed = set(&[("a", "1-1"), ("c", "1-1"), ("d", "1-1"), ("e", "1-1")]);
        let wishes = Wishes::new(&changes, &installed, &rpm::order).expect("read");
        let names = |list: &[PackageWord]| list.iter().map(|w| w.name.clone()).collect::<Vec<_>>();
        assert_eq!((names(&wishes.install), names(&wishes.remove)), (words(&["b", "d"]), words(&["e"])));
        assert_eq!(names(&wishes.update), ["c", "e"]);
        let notes: Vec<_> = wishes.notes.iter().map(|n| format!("{} {}", n.name, n.reason)).collect();
        assert_eq!(
            notes,
            [
                "a already installed",
                "c already installed",
                "a not installed on this host",
                "f not installed on this host",
                "d version 1-1 is installed, which is not older"
            ]
        );
    }

    #[test]
    fn neither_the_agent_nor_the_running_kernel_is_removed() {
        let refused = |action: PlannedAction, running: Option<&str>| {
            let runner = ScriptedRunner::new();
            let runner = running.map_or(ScriptedRunner::new(), |r| runner.expect("uname -r", &format!("{r}\n")));
            refuse_protected(&runner, "rpm", &[action]).err().map(|e| e.to_string())
        };
        assert!(refused(removal("vim", "1", "x86_64"), None).is_none());
        assert!(refused(removal("drydock-agent", "1", "x86_64"), None).expect("refused").contains("carries out this job"));
        let kernel = |name: &str, version: &str, running: &str| refused(removal(name, version, "x86_64"), Some(running));
        assert!(
            kernel("kernel-core", "5.14.0-70.el9", "5.14.0-70.el9.x86_64").expect("refused").contains("the kernel that runs")
        );
        assert!(kernel("kernel-core", "5.14.0-69.el9", "5.14.0-70.el9.x86_64").is_none());
        assert!(kernel("kernel-default", "5.14.21-150500.55.19.1", "5.14.21-150500.55.19-default").is_some());
        assert!(kernel("kernel-default", "5.14.21-150500.55.190.1", "5.14.21-150500.55.19-default").is_none());
        assert!(kernel("linux-image-6.1.0-30-amd64", "6.1.124-1", "6.1.0-30-amd64").is_some());
        assert!(kernel("linux-image-6.1.0-9-amd64", "6.1.27-1", "6.1.0-30-amd64").is_none());
    }

    #[test]
    fn updates_are_chosen_by_what_their_advisories_say() {
        let update = |name: &str, held: &str| Update {
            name: name.into(),
            arch: "noarch".into(),
            from: "1-1".into(),
            to: "3-1".into(),
            held: held.into(),
            ..serde_json::from_str(r#"{"name":"","arch":"","from":"","to":"","repository":""}"#).expect("an update")
        };
        let line = |name: &str, kind: &str, nevra: &str| AdvisoryLine {
            name: name.into(),
            kind: kind.into(),
            severity: String::new(),
            nevra: nevra.into(),
        };
        let lines = [
            line("S-1", "security", "a-2-1.noarch"),
            line("E-1", "enhancement", "a-3-1.noarch"),
            line("B-1", "bugfix", "b-3-1.noarch"),
            line("N-1", "newpackage", "c-3-1.noarch"),
            line("S-2", "security", "held-2-1.noarch"),
            line("S-0", "security", "b-1-1.noarch"),
        ];
        let updates = [update("a", ""), update("b", ""), update("c", ""), update("d", ""), update("held", "versionlock")];
        let pick = |config: &str, ids: &[&str]| -> Vec<String> {
            let config: PatchConfig = serde_json::from_str(config).expect("settings");
            let ids = ids.iter().map(|i| (*i).to_owned()).collect();
            let show = |c: Chosen| format!("{} {}", c.name, c.closing.unwrap_or_default());
            chosen(&config, &updates, &lines, &ids).into_iter().map(show).collect()
        };
        assert_eq!(pick(r#"{"updateTypes":["SECURITY"]}"#, &[]), ["a 2-1"]);
        assert_eq!(pick(r#"{"updateTypes":["SECURITY","ENHANCEMENT"]}"#, &[]), ["a 3-1"]);
        assert_eq!(pick(r#"{"updateTypes":["OTHER"]}"#, &[]), ["c ", "d "]);
        assert_eq!(pick("{}", &["B-1", "S-2"]), ["b 3-1"]);
        assert!(pick("{}", &[]).is_empty());
    }
}

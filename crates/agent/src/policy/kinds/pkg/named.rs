//! A package by name: there, gone, of some version, held. Every change is planned first with the package manager's own solver; a
//! plan that takes away what nobody asked to take away is refused with the names.

use std::cmp::Ordering;
use std::sync::Arc;

use drydock_domain::inventory::Package;
use drydock_domain::patch::operation::{PackageChanges, PackageWord};
use drydock_domain::patch::report::{ActionKind, Plan, PlannedAction};
use drydock_domain::patch::spec::PatchConfig;
use drydock_domain::policy::Evidence;
use drydock_domain::policy::spec::{NamedPackage, PackageState, VersionWish};
use drydock_domain::version::{Scheme, compare};
use drydock_pkgmgr::PackageManager;
use serde::{Deserialize, Serialize};

use super::database::{Database, Host, System, refused, serves};
use super::{hold, offers};
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, Watch};
use crate::policy::kinds::{evidence, note};

/// Packages named in a message or evidence, count; the rest is counted.
const NAMED_MAX: usize = 30;

/// The resource.
pub struct NamedKind {
    system: System,
    spec: NamedPackage,
    state: PackageState,
    database: Arc<Database>,
}

/// How it was before the first change.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Before {
    /// Installed then.
    versions: Vec<String>,
    held: bool,
    /// What came with the package when we installed it.
    #[serde(default)]
    brought: Vec<String>,
}

/// What is to be asked of the package manager.
enum Wish {
    Nothing,
    Install(String),
    Update(String),
    Remove(String),
}

impl NamedKind {
    /// From the document.
    pub fn new(system: System, spec: &NamedPackage, state: PackageState, database: Arc<Database>) -> Self {
        NamedKind { system, spec: spec.clone(), state, database }
    }

    fn word(&self) -> Result<PackageWord, Failure> {
        PackageWord::parse(&self.spec.name).map_err(Failure::of)
    }

    fn versions(&self, host: &Host) -> Result<Vec<String>, Failure> {
        let word = self.word()?;
        let arch = word.arch.unwrap_or_default();
        Ok(host.installed.find(&word.name, &arch).map(|p: &Package| p.version.clone()).collect())
    }

    fn order(&self) -> impl Fn(&str, &str) -> Ordering + use<> {
        let scheme = if self.system == System::Apt { Scheme::Deb } else { Scheme::Rpm };
        move |a, b| compare(scheme, a, b).unwrap_or_else(|_| a.cmp(b))
    }

    /// What is wrong with the version that is installed.
    fn wrong_version(&self, cx: &Cx<'_>, host: &Host, versions: &[String]) -> Result<Option<String>, Failure> {
        let order = self.order();
        let newest = versions.iter().max_by(|a, b| order(a, b)).cloned().unwrap_or_default();
        Ok(match &self.spec.version {
            None => None,
            Some(VersionWish::Exact(want)) => {
                let same = versions.iter().any(|v| order(v, want).is_eq());
                (!same).then(|| format!("{newest} is installed, not {want}"))
            }
            Some(VersionWish::AtLeast(want)) => {
                order(&newest, want).is_lt().then(|| format!("{newest} is installed, which is older than {want}"))
            }
            Some(VersionWish::Below(want)) => {
                order(&newest, want).is_ge().then(|| format!("{newest} is installed, which is not below {want}"))
            }
            Some(VersionWish::Latest {}) => {
                let plan = self.plan(cx, host, &Wish::Update(self.spec.name.clone()))?;
                let word = self.word()?;
                let newer = plan.actions.iter().find(|a| a.name == word.name && a.from.is_some());
                newer.and_then(|a| a.to.clone()).map(|to| format!("{newest} is installed, {to} is offered"))
            }
        })
    }

    fn wish(&self, cx: &Cx<'_>, host: &Host, versions: &[String]) -> Result<Wish, Failure> {
        let name = &self.spec.name;
        if self.state == PackageState::Removed {
            return Ok(if versions.is_empty() { Wish::Nothing } else { Wish::Remove(name.clone()) });
        }
        let wrong = if versions.is_empty() { None } else { self.wrong_version(cx, host, versions)? };
        if !versions.is_empty() && wrong.is_none() {
            return Ok(Wish::Nothing);
        }
        Ok(match &self.spec.version {
            Some(VersionWish::Exact(version)) => Wish::Install(format!("{name}={version}")),
            Some(VersionWish::Below(below)) => {
                let order = self.order();
                let offered = offers::versions(cx, host.manager.kind(), &self.word()?)?;
                let best = offered.iter().filter(|v| order(v, below).is_lt()).max_by(|a, b| order(a, b));
                let best = best.ok_or_else(|| {
                    Failure::of(format!("no repository offers {name} below {below}; offered: {}", listed(&offered)))
                })?;
                Wish::Install(format!("{name}={best}"))
            }
            _ if versions.is_empty() => Wish::Install(name.clone()),
            _ => Wish::Update(name.clone()),
        })
    }

    /// The tool's own dry run; where it does not know what is asked for, once more with fresh metadata.
    fn plan(&self, cx: &Cx<'_>, host: &Host, wish: &Wish) -> Result<Plan, Failure> {
        let mut changes = PackageChanges::default();
        match wish {
            Wish::Nothing => {}
            Wish::Install(word) => changes.install.push(word.clone()),
            Wish::Update(word) => changes.update.push(word.clone()),
            Wish::Remove(word) => changes.remove.push(word.clone()),
        }
        let config = PatchConfig { packages: Some(changes), ..PatchConfig::default() };
        let first = match host.manager.plan(cx.runner, &config) {
            Ok(plan) => return Ok(plan),
            Err(e) => e,
        };
        tracing::debug!("{first}; the repositories are read again");
        host.manager.refresh(cx.runner).map_err(|e| refused("the repositories cannot be read", &e))?;
        host.manager.plan(cx.runner, &config).map_err(|e| refused(&format!("{} cannot be changed", self.spec.name), &e))
    }

    /// Refuses what nobody asked for.
    fn guard(&self, plan: &Plan) -> Result<(), Failure> {
        let word = self.word()?;
        let gone: Vec<String> =
            plan.actions.iter().filter(|a| a.action == ActionKind::Remove && a.name != word.name).map(shown).collect();
        if self.state == PackageState::Removed || gone.is_empty() {
            // What depends on a package that has to go goes with it; the evidence names it.
            return Ok(());
        }
        Err(Failure::of(format!(
            "{} would only come by removing {}; nothing was changed. Remove them by a resource of their own if that is meant",
            self.spec.name,
            listed(&gone)
        )))
    }

    fn carry_out(&self, cx: &Cx<'_>, host: &Host, wish: &Wish) -> Result<Option<Evidence>, Failure> {
        let plan = self.plan(cx, host, wish)?;
        self.guard(&plan)?;
        if plan.actions.is_empty() {
            let reasons: Vec<String> = plan.skipped.iter().map(|s| format!("{}: {}", s.name, s.reason)).collect();
            return Err(Failure::of(format!(
                "the package manager has nothing to do for {}; {}",
                self.spec.name,
                listed(&reasons)
            )));
        }
        let arriving = plan.actions.iter().filter(|a| a.action == ActionKind::Install).map(|a| a.name.clone());
        if let Some(mut before) = note::recall::<Before>(cx)? {
            before.brought.extend(arriving);
            before.brought.sort();
            before.brought.dedup();
            note::remember(cx, &before)?;
        }
        self.apply(cx, host, &plan)
    }

    fn apply(&self, cx: &Cx<'_>, host: &Host, plan: &Plan) -> Result<Option<Evidence>, Failure> {
        let applied = host.manager.apply(cx.transactions, plan);
        self.database.forget();
        let outcome = applied.map_err(|e| refused(&format!("{} cannot be changed", self.spec.name), &e))?;
        if outcome.success {
            return Ok(self.told(plan));
        }
        let failed: Vec<String> = outcome.failed_packages.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        let output = [outcome.output.head.as_str(), outcome.output.tail.as_str()].concat();
        Err(Failure {
            message: if failed.is_empty() {
                outcome.message.clone()
            } else {
                format!("{} ({})", outcome.message, listed(&failed))
            },
            evidence: Some(Evidence::Output { end: outcome.message, text: evidence::bounded(&output) }),
            timed_out: outcome.exit.end == drydock_pkgmgr::run::End::TimedOut,
        })
    }

    /// The package itself as before and after; what went with it is named.
    fn told(&self, plan: &Plan) -> Option<Evidence> {
        let name = self.word().ok()?.name;
        let (own, others): (Vec<&PlannedAction>, Vec<&PlannedAction>) = plan.actions.iter().partition(|a| a.name == name);
        let version = |v: Option<&String>| v.cloned().unwrap_or_else(|| "not installed".to_owned());
        let own = own.first();
        let old = version(own.and_then(|a| a.from.as_ref()));
        let mut new = version(own.and_then(|a| a.to.as_ref()));
        if !others.is_empty() {
            let others: Vec<String> = others.into_iter().map(|a| format!("{} {}", verb(a.action), shown(a))).collect();
            new = format!("{new}; with it: {}", listed(&others));
        }
        evidence::state(old, evidence::bounded(&new))
    }
}

fn verb(action: ActionKind) -> &'static str {
    match action {
        ActionKind::Install => "installed",
        ActionKind::Upgrade => "upgraded",
        ActionKind::Downgrade => "downgraded",
        ActionKind::Reinstall => "reinstalled",
        ActionKind::Remove => "removed",
    }
}

fn shown(action: &PlannedAction) -> String {
    let version = action.to.as_ref().or(action.from.as_ref());
    format!("{} {}", action.name, version.map_or("", String::as_str))
}

fn told_wish(version: Option<&VersionWish>) -> String {
    match version {
        None => "installed".to_owned(),
        Some(VersionWish::Latest {}) => "the newest that is offered".to_owned(),
        Some(VersionWish::Exact(version)) => version.clone(),
        Some(VersionWish::AtLeast(version)) => format!("{version} or newer"),
        Some(VersionWish::Below(version)) => format!("older than {version}"),
    }
}

fn listed(names: &[String]) -> String {
    let mut text = names.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > NAMED_MAX {
        text.push_str(&format!(" and {} more", names.len() - NAMED_MAX));
    }
    if text.is_empty() { "nothing".to_owned() } else { text }
}

impl Kind for NamedKind {
    fn validate(&mut self, cx: &Cx<'_>) -> Result<(), Failure> {
        self.word()?;
        match self.database.manager(cx.runner) {
            Some(manager) if serves(self.system, manager.kind()) => self.database.host(cx.runner).map(drop),
            _ => Ok(()),
        }
    }

    fn check(&mut self, cx: &Cx<'_>) -> Result<Found, Failure> {
        let manager = self.database.manager(cx.runner).map(|m| m.kind());
        if manager.is_none_or(|m| !serves(self.system, m)) {
            return Ok(Found::NotApplicable(self.system.foreign(manager)));
        }
        let host = self.database.host(cx.runner)?;
        let versions = self.versions(&host)?;
        let wanting =
            |what: String, old: String, new: &str| Ok(Found::NonCompliant { what, evidence: evidence::state(old, new) });
        match (self.state, versions.is_empty()) {
            (PackageState::Removed, true) => return Ok(Found::Compliant),
            (PackageState::Removed, false) => {
                let old = versions.join(", ");
                return wanting(format!("{old} is installed"), old, "not installed");
            }
            (PackageState::Installed, true) => {
                return wanting("not installed".to_owned(), "not installed".to_owned(), "installed");
            }
            (PackageState::Installed, false) => {}
        }
        if let Some(what) = self.wrong_version(cx, &host, &versions)? {
            return wanting(what, versions.join(", "), &told_wish(self.spec.version.as_ref()));
        }
        if self.spec.hold && !hold::is_held(cx, host.manager.kind(), &self.word()?.name)? {
            return wanting("not held".to_owned(), versions.join(", "), "held");
        }
        Ok(Found::Compliant)
    }

    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        self.database.forget();
        let host = self.database.host(cx.runner)?;
        let versions = self.versions(&host)?;
        let name = self.word()?.name;
        let held = self.spec.hold && hold::is_held(cx, host.manager.kind(), &name)?;
        note::remember_first(cx, || Ok(Before { versions: versions.clone(), held, brought: Vec::new() }))?;
        let mut did = Vec::new();
        // What an earlier transaction left half-way stands in the way of every other.
        let broken = host.manager.broken(cx.runner).map_err(|e| refused("the package database cannot be read", &e))?;
        if !broken.is_empty() {
            host.manager.repair(cx.transactions).map_err(|e| refused("an interrupted transaction cannot be mended", &e))?;
            did.push("interrupted transaction mended");
        }
        let wish = self.wish(cx, &host, &versions)?;
        let mut shown = None;
        if !matches!(wish, Wish::Nothing) {
            if held {
                // Our own hold stands in the way of our own change.
                hold::set(cx, host.manager.kind(), &name, false)?;
            }
            shown = self.carry_out(cx, &host, &wish)?;
            did.push(match wish {
                Wish::Remove(_) => "removed",
                Wish::Update(_) => "updated",
                _ => "installed",
            });
        }
        if self.spec.hold && !hold::is_held(cx, host.manager.kind(), &name)? {
            hold::set(cx, host.manager.kind(), &name, true)?;
            did.push("held");
            shown = shown.or_else(|| evidence::state("not held", "held"));
        }
        self.database.forget();
        Ok(Done { what: did.join(", "), evidence: shown, ..Done::default() })
    }

    fn remove(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let done = |what: String| Ok(Done { what, ..Done::default() });
        let Some(before) = note::recall::<Before>(cx)? else {
            return done("left as it is: the policy never changed it".to_owned());
        };
        let host = self.database.host(cx.runner)?;
        let name = self.word()?.name;
        if self.spec.hold && !before.held && hold::is_held(cx, host.manager.kind(), &name)? {
            hold::set(cx, host.manager.kind(), &name, false)?;
        }
        if self.state == PackageState::Removed {
            return done("left as it is: a removed package is not installed again".to_owned());
        }
        if !before.versions.is_empty() {
            return done(format!("left as it is: it was installed before the policy ({})", before.versions.join(", ")));
        }
        if self.versions(&host)?.is_empty() {
            return done("gone already".to_owned());
        }
        let plan = self.plan(cx, &host, &Wish::Remove(self.spec.name.clone()))?;
        let others = plan.actions.iter().filter(|a| a.name != name && !before.brought.contains(&a.name));
        let others: Vec<String> = others.map(|a| a.name.clone()).collect();
        if !others.is_empty() {
            return done(format!("left as it is: {} would go with it", listed(&others)));
        }
        let evidence = self.apply(cx, &host, &plan)?;
        Ok(Done { what: "removed".to_owned(), evidence, ..Done::default() })
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::Packages]
    }

    fn changes_packages(&self) -> bool {
        true
    }
}

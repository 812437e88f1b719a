//! Planning with apt: which exact words to ask for, so that nothing excluded, held or unwanted comes along.
//!
//! apt has no "exclude": what is left out of the request may still be pulled in by something else. So the exact
//! request is simulated, and when it would touch what it must not, the request that pulls it in is found by bisection,
//! dropped and named.

use std::collections::BTreeSet;

use drydock_domain::inventory::ManagerKind;
use drydock_domain::patch::operation::UpdateType;
use drydock_domain::patch::report::{Plan, SkippedUpdate};
use drydock_domain::patch::spec::{AptSettings, AptType, PatchConfig};

use super::simulate::{Inst, Request, Simulation};
use super::{Apt, Database, HELD, Offers, Reasons, actions_of};
use crate::barred::Bars;
use crate::error::PkgError;
use crate::excludes::Excludes;
use crate::exec::cut;
use crate::run::Runner;
use crate::solve::{Wanted, solve};

/// What the final transaction must not do.
struct Rules<'a> {
    database: &'a Database,
    excludes: &'a Excludes,
    bars: Bars<'a>,
    /// New packages are fine.
    install: bool,
    /// These may go.
    removals: BTreeSet<String>,
}

impl Rules<'_> {
    /// Why this transaction is not acceptable.
    fn objection(&self, simulation: &Simulation) -> Option<String> {
        let inst = simulation.install.iter().find_map(|i| {
            if let Some(pattern) = self.excludes.matching(&i.name) {
                return Some(format!("needs {}, excluded by {pattern}", i.name));
            }
            if self.database.is_held(&i.name, &i.arch) {
                return Some(format!("needs {}, {HELD}", i.name));
            }
            if let Some(why) = self.bars.why(&i.name, &i.arch, &i.to) {
                return Some(format!("needs {} {}, {why}", i.name, i.to));
            }
            (i.from.is_none() && !self.install)
                .then(|| format!("needs the new package {}, which type UPGRADE does not install", i.name))
        });
        inst.or_else(|| {
            let gone =
                simulation.remove.iter().find(|r| !self.removals.contains(&r.name) || self.excludes.matching(&r.name).is_some());
            gone.map(|r| format!("would remove {}", r.name))
        })
    }
}

/// Which updates, by the archives that have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// Every one.
    All,
    /// Those of a security archive.
    Security,
    /// Those that no security archive has.
    Others,
}

impl Choice {
    /// What a job's settings mean to apt. An archive tells security updates from others, and nothing more.
    pub(super) fn of(config: &PatchConfig) -> Result<Self, PkgError> {
        let refused = |details: &str| Err(PkgError::CannotChoose { manager: ManagerKind::Apt, details: details.to_owned() });
        if !config.advisories.is_empty() || !config.cves.is_empty() {
            return refused("apt archives do not say which package belongs to an advisory or CVE; name the packages instead");
        }
        let has = |t| config.update_types.contains(&t);
        let others = [UpdateType::Bugfix, UpdateType::Enhancement, UpdateType::Other];
        let known = others.into_iter().filter(|t| has(*t)).count();
        match (has(UpdateType::Security) || config.apt.security, known) {
            (false, 0) => Ok(Choice::All),
            (true, 0) => Ok(Choice::Security),
            (true, 3) => Ok(Choice::All),
            (false, 3) => Ok(Choice::Others),
            _ => refused(
                "apt archives tell security updates from others, but not BUGFIX, ENHANCEMENT and OTHER from each other; \
                 choose SECURITY, or the other three together",
            ),
        }
    }
}

pub(super) fn plan(
    apt: &Apt,
    runner: &dyn Runner,
    settings: &AptSettings,
    choice: Choice,
    bars: Bars<'_>,
) -> Result<Plan, PkgError> {
    let database = Database::read(runner)?;
    let excludes = Excludes::new(&settings.excludes)?;
    let everything = apt.simulate(runner, &Request::Everything)?;
    let available: Vec<&Inst> = everything.install.iter().filter(|i| i.from.is_some()).collect();
    let words: Vec<String> = available.iter().map(|i| database.native.word(&i.name, &i.arch)).collect();
    let offers = apt.offers(runner, &words)?;
    let mut planner = Planner { apt, runner, choice, bars, database: &database, offers: &offers, reasons: Reasons::new() };
    let simulation = if settings.exclusive_packages.is_empty() {
        planner.by_settings(settings, &excludes, &available)?
    } else {
        planner.exclusive(settings, &available)?
    };
    let actions = actions_of(&simulation, &database, &offers);
    let taken: BTreeSet<(&str, &str)> = actions.iter().map(|a| (a.name.as_str(), a.arch.as_str())).collect();
    let mut skipped = planner.not_found(settings);
    for inst in available {
        let is_barred = bars.why(&inst.name, &inst.arch, &inst.to).is_some();
        if taken.contains(&(inst.name.as_str(), inst.arch.as_str())) && !is_barred {
            continue;
        }
        let reason = planner.reason(inst, settings, &excludes);
        skipped.push(SkippedUpdate { name: inst.name.clone(), arch: inst.arch.clone(), version: inst.to.clone(), reason });
    }
    skipped.sort();
    let before = apt.standing(&database, &actions);
    Ok(Plan {
        manager: ManagerKind::Apt,
        actions,
        skipped,
        patches: Vec::new(),
        requested: Vec::new(),
        modules: Vec::new(),
        findings: Vec::new(),
        before: Some(before),
        undo: None,
    })
}

struct Planner<'a> {
    apt: &'a Apt,
    runner: &'a dyn Runner,
    choice: Choice,
    bars: Bars<'a>,
    database: &'a Database,
    offers: &'a Offers,
    /// Why requests were dropped.
    reasons: Reasons,
}

impl Planner<'_> {
    fn by_settings(&mut self, settings: &AptSettings, excludes: &Excludes, available: &[&Inst]) -> Result<Simulation, PkgError> {
        let dist = settings.upgrade_type == AptType::Dist;
        let base = self.apt.simulate(self.runner, if dist { &Request::DistUpgrade } else { &Request::Upgrade })?;
        let mut rules = Rules { database: self.database, excludes, bars: self.bars, install: dist, removals: BTreeSet::new() };
        let wanted: Vec<Wanted> = if self.choice == Choice::Security {
            available.iter().filter_map(|inst| self.security_version(inst, excludes)).collect()
        } else if self.choice == Choice::Others {
            let free = available.iter().filter(|i| {
                !self.is_security(i) && !self.database.is_held(&i.name, &i.arch) && excludes.matching(&i.name).is_none()
            });
            free.filter_map(|i| self.best(i)).collect()
        } else {
            rules.removals = base.remove.iter().map(|r| r.name.clone()).collect();
            if rules.objection(&base).is_none() {
                return Ok(base);
            }
            // New packages are not asked for: they come by themselves when something still needs them.
            let upgrades = base.install.iter().filter(|i| i.from.is_some() && excludes.matching(&i.name).is_none());
            upgrades.filter_map(|i| self.best(i)).collect()
        };
        self.solve(wanted, &rules)
    }

    fn exclusive(&mut self, settings: &AptSettings, available: &[&Inst]) -> Result<Simulation, PkgError> {
        let none = Excludes::default();
        let named = |i: &&&Inst| settings.exclusive_packages.contains(&i.name) && !self.database.is_held(&i.name, &i.arch);
        let wanted: Vec<Wanted> = if settings.security {
            available.iter().filter(named).filter_map(|i| self.security_version(i, &none)).collect()
        } else {
            available.iter().filter(named).filter_map(|i| self.best(i)).collect()
        };
        let rules = Rules { database: self.database, excludes: &none, bars: self.bars, install: true, removals: BTreeSet::new() };
        self.solve(wanted, &rules)
    }

    fn wanted(&self, inst: &Inst, version: &str) -> Wanted {
        let word = format!("{}={version}", self.database.native.word(&inst.name, &inst.arch));
        let source = self.database.find(&inst.name, Some(&inst.arch)).map(|e| e.package.source.clone()).unwrap_or_default();
        Wanted { word, name: inst.name.clone(), arch: inst.arch.clone(), source }
    }

    /// The newest version on the way that is not barred.
    fn best(&self, inst: &Inst) -> Option<Wanted> {
        let free = |version: &str| self.bars.why(&inst.name, &inst.arch, version).is_none();
        if free(&inst.to) {
            return Some(self.wanted(inst, &inst.to));
        }
        let word = self.database.native.word(&inst.name, &inst.arch);
        let older = self.offers.between(&word, inst.from.as_deref()?, &inst.to).find(|v| free(&v.version))?;
        Some(self.wanted(inst, &older.version))
    }

    fn is_security(&self, inst: &Inst) -> bool {
        let word = self.database.native.word(&inst.name, &inst.arch);
        self.offers.newest_security(&word, inst.from.as_deref().unwrap_or_default(), &inst.to).is_some()
    }

    fn security_version(&self, inst: &Inst, excludes: &Excludes) -> Option<Wanted> {
        if self.database.is_held(&inst.name, &inst.arch) || excludes.matching(&inst.name).is_some() {
            return None;
        }
        let word = self.database.native.word(&inst.name, &inst.arch);
        let free = |v: &str| self.bars.why(&inst.name, &inst.arch, v).is_none();
        let version = self.offers.security(&word, inst.from.as_deref()?, &inst.to).find(|v| free(v))?;
        Some(self.wanted(inst, &version))
    }

    /// The transaction for as much of `wanted` as the rules allow.
    fn solve(&mut self, wanted: Vec<Wanted>, rules: &Rules<'_>) -> Result<Simulation, PkgError> {
        let mut attempt = |wanted: &[Wanted]| {
            let request = Request::Exact { words: wanted.iter().map(|w| w.word.clone()).collect(), downgrade: false };
            match self.apt.simulate(self.runner, &request) {
                Ok(simulation) => Ok(match rules.objection(&simulation) {
                    Some(why) => Err(why),
                    None => Ok(simulation),
                }),
                Err(PkgError::Failed { message, .. }) => Ok(Err(unmet(&message))),
                Err(other) => Err(other),
            }
        };
        let solved = solve(wanted, "apt-get --simulate", &mut attempt)?;
        self.reasons = solved.dropped.into_iter().map(|(w, why)| ((w.name, w.arch), why)).collect();
        Ok(solved.transaction.unwrap_or_default())
    }

    /// Why an available update is not in the plan.
    fn reason(&self, inst: &Inst, settings: &AptSettings, excludes: &Excludes) -> String {
        let word = self.database.native.word(&inst.name, &inst.arch);
        let exclusive = !settings.exclusive_packages.is_empty();
        if exclusive && !settings.exclusive_packages.contains(&inst.name) {
            return "not among the exclusive packages".to_owned();
        }
        if let (false, Some(pattern)) = (exclusive, excludes.matching(&inst.name)) {
            return format!("excluded by {pattern}");
        }
        if self.database.is_held(&inst.name, &inst.arch) {
            return HELD.to_owned();
        }
        if self.choice == Choice::Security && !self.is_security(inst) {
            return "not a security update".to_owned();
        }
        if self.choice == Choice::Others && self.is_security(inst) {
            return "a security update, which the job does not choose".to_owned();
        }
        if let Some(why) = self.bars.why(&inst.name, &inst.arch, &inst.to) {
            return why;
        }
        if let Some(why) = self.reasons.get(&(inst.name.clone(), inst.arch.clone())) {
            return why.clone();
        }
        if let Some(share) = self.offers.phased(&word, &inst.to) {
            return format!("phased update ({share}), not yet for this host");
        }
        match settings.upgrade_type {
            AptType::Upgrade => "kept back by apt: needs new or removed packages, which type DIST allows".to_owned(),
            AptType::Dist => "kept back by apt: its dependencies cannot be met".to_owned(),
        }
    }

    /// Exclusive packages that are not on this host.
    fn not_found(&self, settings: &AptSettings) -> Vec<SkippedUpdate> {
        let missing =
            settings.exclusive_packages.iter().filter(|name| !self.database.entries.iter().any(|e| e.package.name == **name));
        let skip = |name: &String| SkippedUpdate {
            name: name.clone(),
            arch: String::new(),
            version: String::new(),
            reason: "not installed on this host".to_owned(),
        };
        missing.map(skip).collect()
    }
}

/// The telling line of apt's explanation of unmet dependencies:
/// ` dd-app : Depends: dd-lib (>= 3.0) but 2.0-1 is to be installed`.
pub(super) fn unmet(message: &str) -> String {
    let line = message.lines().find(|l| l.contains(" : ")).or_else(|| message.lines().find(|l| l.starts_with("E: ")));
    format!("its dependencies cannot be met: {}", cut(line.unwrap_or("apt gives no reason").trim()))
}

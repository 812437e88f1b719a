//! Worlds of rpm hosts. All of them share one universe of packages, built once; a world picks from it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Dice;
use crate::command::run;
use crate::upstream::{Advisory, AdvisoryKind, RpmPackage, Severity, TOOL_LIMIT, cached, for_each_in_parallel, updateinfo};

/// `(epoch, version, release)` of ordinary packages: epochs, `~` and `^`, releases, and numbers that are longer than others.
const EVRS: [(Option<u32>, &str, &str); 7] = [
    (None, "1.0", "1"),
    (None, "1.0", "2"),
    (None, "1.0", "10"),
    (None, "1.1~rc1", "1"),
    (None, "1.1", "1.el8"),
    (None, "1.1^git1", "1"),
    (Some(1), "0.9", "1"),
];
/// Packages that are installed beside their older versions by dnf's and zypper's own defaults.
const KERNEL: &str = "kernel-core";

/// A build of a module stream.
#[derive(Debug, Clone)]
pub struct ModuleBuild {
    /// Module name.
    pub name: &'static str,
    /// Stream.
    pub stream: &'static str,
    /// Version of the build.
    pub version: u64,
    /// Context of the build.
    pub context: &'static str,
    /// Its packages.
    pub artifacts: Vec<RpmPackage>,
}

/// One repository of a world.
#[derive(Debug, Clone)]
pub struct WorldRepository {
    /// Repository id.
    pub id: String,
    /// As in the repository file; dnf's default is 99, lower goes first.
    pub priority: u32,
    /// What it holds.
    pub packages: Vec<RpmPackage>,
    /// Advisories over its packages, and some that name what it does not hold.
    pub advisories: Vec<Advisory>,
    /// Module builds.
    pub modules: Vec<ModuleBuild>,
    /// Default streams: (module, stream).
    pub defaults: Vec<(&'static str, &'static str)>,
    /// Packages are taken regardless of module streams.
    pub module_hotfixes: bool,
}

/// A host and what it sees.
#[derive(Debug, Clone)]
pub struct RpmWorld {
    /// What it was made from.
    pub seed: u64,
    /// Installed packages.
    pub installed: Vec<RpmPackage>,
    /// Its repositories.
    pub repositories: Vec<WorldRepository>,
    /// `excludepkgs`: pattern, and the repository or nothing for all.
    pub excludes: Vec<(String, String)>,
    /// versionlock: patterns, `!` before those that exclude.
    pub locks: Vec<String>,
    /// zypper's locks: names with globs.
    pub zypper_locks: Vec<String>,
    /// Enabled streams: (module, stream); an empty stream disables.
    pub modules: Vec<(&'static str, &'static str)>,
    /// `obsoletes=0`.
    pub ignore_obsoletes: bool,
}

/// Every package of every world.
#[must_use]
pub fn universe() -> Vec<RpmPackage> {
    let mut all = Vec::new();
    let make = |name: &str, (epoch, version, release): (Option<u32>, &str, &str)| RpmPackage {
        epoch,
        release: release.into(),
        ..RpmPackage::new(name, version)
    };
    for (at, evr) in EVRS.into_iter().enumerate() {
        all.push(RpmPackage { native: true, ..make("alpha", evr) });
        all.push(make("bravo", evr));
        // Changes its architecture with every version.
        all.push(RpmPackage { native: at % 2 == 0, ..make("charlie", evr) });
        if at % 2 == 0 {
            // Two architectures at once.
            all.push(RpmPackage { native: true, ..make("echo", evr) });
            all.push(RpmPackage { target: Some("i686"), ..make("echo", evr) });
        }
        // Two vendors.
        all.push(RpmPackage { vendor: if at < 3 { "Drydock Lab" } else { "Somebody Else" }, ..make("foxtrot", evr) });
    }
    for (version, obsoletes) in [("2.0", "alpha < 1.1"), ("2.1", "alpha")] {
        all.push(RpmPackage { obsoletes: vec![obsoletes.into()], ..RpmPackage::new("golf", version) });
    }
    for version in ["1.0", "1.5"] {
        all.push(RpmPackage {
            obsoletes: vec!["bravo <= 1.0-10".into(), "foxtrot = 1.0-1".into()],
            ..RpmPackage::new("hotel", version)
        });
    }
    // Obsoletes its own older name, as split packages do.
    all.push(RpmPackage {
        provides: vec!["india = 2.0".into()],
        obsoletes: vec!["india < 2.0".into()],
        ..RpmPackage::new("india-ng", "2.0")
    });
    all.extend(["1.0", "1.9", "2.0"].map(|version| RpmPackage::new("india", version)));
    for version in ["4.18.0", "5.14.0", "5.14.1", "6.1.0"] {
        all.push(RpmPackage { native: true, ..make(KERNEL, (None, version, "1.el8")) });
    }
    // A module with two streams, and packages of the same names outside of it.
    for (version, release) in
        [("1.4", "1.module_el8+1"), ("1.5", "1.module_el8+2"), ("2.1", "1.module_el8+3"), ("2.2", "1.module_el8+4")]
    {
        for name in ["mike", "mike-libs"] {
            all.push(RpmPackage { native: true, modularity: module_of(version), ..make(name, (None, version, release)) });
        }
    }
    for version in ["1.4.5", "1.8", "3.0"] {
        all.push(RpmPackage { native: true, ..make("mike", (None, version, "1.el8")) });
    }
    all
}

/// `%{ModularityLabel}` of a modular package.
fn module_of(version: &str) -> &'static str {
    match version {
        "1.4" => "mike:1:80100:aa11",
        "1.5" => "mike:1:80200:aa11",
        "2.1" => "mike:2:80100:bb22",
        _ => "mike:2:80200:bb22",
    }
}

fn module_builds(of: &[RpmPackage]) -> Vec<ModuleBuild> {
    let build = |package: &RpmPackage| -> Option<(&'static str, u64, &'static str)> {
        let mut parts = package.modularity.split(':').skip(1);
        let stream = parts.next()?;
        Some((stream, parts.next()?.parse().ok()?, parts.next()?))
    };
    let mut builds: BTreeMap<(&'static str, u64, &'static str), Vec<RpmPackage>> = BTreeMap::new();
    for package in of {
        if let Some(key) = build(package) {
            builds.entry(key).or_default().push(package.clone());
        }
    }
    let named = |((stream, version, context), artifacts)| ModuleBuild { name: "mike", stream, version, context, artifacts };
    builds.into_iter().map(named).collect()
}

/// The world of a seed.
#[must_use]
pub fn rpm_world(seed: u64) -> RpmWorld {
    let mut dice = Dice::new(seed);
    let universe = universe();
    let count = 1 + dice.below(3);
    let is_modular = dice.chance(35);
    let repositories: Vec<_> = (0..count).map(|at| repository(&mut dice, at, &universe, is_modular)).collect();
    let mut excludes = Vec::new();
    if dice.chance(25) {
        let patterns = ["alpha", "br*", "echo.i686", "golf", "charlie-1.1*", "hotel", "foxtrot-0:1.1*"];
        let of = if dice.chance(50) { String::new() } else { repositories.first().map(|r| r.id.clone()).unwrap_or_default() };
        excludes.extend(dice.pick(&patterns).map(|p| ((*p).to_owned(), of)));
    }
    let mut locks = Vec::new();
    if dice.chance(20) {
        let patterns = ["alpha-0:1.0-2.*", "!bravo-0:1.1-1.el8.*", "charlie-0:1.0-*.*", "echo-0:1.1~rc1-1.*", "!alpha-1:0.9-1.*"];
        locks.extend(dice.pick(&patterns).map(|p| (*p).to_owned()));
    }
    let zypper_locks = if dice.chance(20) {
        dice.some(&["alpha".to_owned(), "br*".into(), "golf".into(), "kernel*".into()], 40)
    } else {
        Vec::new()
    };
    let modules = if is_modular {
        dice.pick(&[vec![], vec![("mike", "1")], vec![("mike", "2")], vec![("mike", "")]]).cloned()
    } else {
        None
    };
    RpmWorld {
        seed,
        installed: installed(&mut dice, &universe),
        repositories,
        excludes,
        locks,
        zypper_locks,
        modules: modules.unwrap_or_default(),
        ignore_obsoletes: dice.chance(10),
    }
}

fn repository(dice: &mut Dice, at: usize, universe: &[RpmPackage], is_modular: bool) -> WorldRepository {
    let usable: Vec<_> = universe.iter().filter(|p| is_modular || p.modularity.is_empty()).cloned().collect();
    let share = 20 + dice.below(60);
    let packages = dice.some(&usable, share);
    let defaults =
        if is_modular && dice.chance(50) { vec![("mike", if dice.chance(50) { "1" } else { "2" })] } else { Vec::new() };
    WorldRepository {
        id: format!("repo{at}"),
        priority: if dice.chance(30) { 10 } else { 99 },
        advisories: advisories(dice, at, &packages, universe),
        modules: module_builds(&packages),
        defaults,
        module_hotfixes: is_modular && dice.chance(10),
        packages,
    }
}

fn advisories(dice: &mut Dice, at: usize, packages: &[RpmPackage], universe: &[RpmPackage]) -> Vec<Advisory> {
    let count = dice.below(8);
    let one = |dice: &mut Dice, number: usize| {
        let kind = [AdvisoryKind::Security, AdvisoryKind::Bugfix, AdvisoryKind::Enhancement][dice.below(3)];
        let severity = [Severity::Low, Severity::Moderate, Severity::Important, Severity::Critical][dice.below(4)];
        let of = if dice.chance(85) { packages } else { universe };
        let mut named: Vec<RpmPackage> = Vec::new();
        for _ in 0..=dice.below(3) {
            named.extend(dice.pick(of).filter(|p| p.modularity.is_empty()).cloned());
        }
        Advisory {
            id: format!("LABSA-2026:{at}{number:03}"),
            kind,
            severity: (kind == AdvisoryKind::Security).then_some(severity),
            title: format!("update {number}"),
            cves: if kind == AdvisoryKind::Security { vec![format!("CVE-2026-{at}{number:03}")] } else { Vec::new() },
            reboot_suggested: dice.chance(10),
            packages: named,
        }
    };
    (0..count).map(|number| one(dice, number)).collect()
}

fn installed(dice: &mut Dice, universe: &[RpmPackage]) -> Vec<RpmPackage> {
    let mut names: Vec<&str> = universe.iter().map(|p| p.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut installed: Vec<RpmPackage> = Vec::new();
    for name in names {
        let of: Vec<&RpmPackage> = universe.iter().filter(|p| p.name == name).collect();
        if name == KERNEL {
            installed.extend(of.iter().filter(|_| dice.chance(50)).map(|p| (*p).clone()));
        } else if dice.chance(75) {
            let Some(one) = dice.pick(&of) else { continue };
            installed.push((*one).clone());
            // The same version for the other architecture beside it.
            let twin = of.iter().find(|p| p.evr() == one.evr() && p.arch() != one.arch());
            installed.extend(twin.filter(|_| dice.chance(40)).map(|p| (*p).clone()));
        }
    }
    // A package and what obsoletes it are never installed together: rpm would not take both.
    for (obsoleter, obsoleted) in [("golf", "alpha"), ("hotel", "bravo"), ("hotel", "foxtrot"), ("india-ng", "india")] {
        let both = [obsoleter, obsoleted].iter().all(|name| installed.iter().any(|p| p.name == **name));
        let gone = if dice.chance(50) { obsoleter } else { obsoleted };
        installed.retain(|p| !both || p.name != gone);
    }
    installed
}

/// The directory with every package file, built on first use (some seconds).
///
/// # Errors
/// When rpmbuild fails.
pub(super) fn universe_dir() -> Result<PathBuf> {
    let all = universe();
    cached("worlds-rpm", &format!("{all:?}"), |dir| {
        fs::create_dir_all(dir)?;
        for_each_in_parallel(&all, |package| package.build(dir))
    })
}

impl RpmWorld {
    /// Writes the world where the driver inside a root finds it: `installed`, `excludes`, `repos/<id>/repodata` and so on.
    ///
    /// # Errors
    /// When files cannot be written or createrepo_c fails.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let packages = universe_dir()?;
        fs::create_dir_all(dir.join("modules.d")).with_context(|| format!("cannot create {}", dir.display()))?;
        let files = |of: &[RpmPackage]| of.iter().map(|p| format!("{}\n", p.file_name())).collect::<String>();
        fs::write(dir.join("installed"), files(&self.installed))?;
        let mut main = String::new();
        let mut of_repo: BTreeMap<&str, String> = BTreeMap::new();
        for (pattern, repo) in &self.excludes {
            let line = format!("excludepkgs={pattern}\n");
            if repo.is_empty() { main.push_str(&line) } else { of_repo.entry(repo).or_default().push_str(&line) }
        }
        if self.ignore_obsoletes {
            main.push_str("obsoletes=0\n");
        }
        fs::write(dir.join("main.conf"), main)?;
        let lock = |name: &String| format!("type: package\nmatch_type: glob\ncase_sensitive: on\nsolvable_name: {name}\n\n");
        fs::write(dir.join("zypp-locks"), self.zypper_locks.iter().map(lock).collect::<String>())?;
        fs::write(dir.join("locks"), self.locks.iter().map(|l| format!("{l}\n")).collect::<String>())?;
        for (module, stream) in &self.modules {
            let state = if stream.is_empty() { "disabled" } else { "enabled" };
            let text = format!("[{module}]\nname={module}\nstream={stream}\nprofiles=\nstate={state}\n");
            fs::write(dir.join(format!("modules.d/{module}.module")), text)?;
        }
        let mut repos = String::new();
        for repository in &self.repositories {
            let at = dir.join("repos").join(&repository.id);
            fs::create_dir_all(&at)?;
            fs::write(dir.join("pkglist"), files(&repository.packages))?;
            let mut command = Command::new("createrepo_c");
            command.args(["--quiet", "--no-database", "--pkglist"]).arg(dir.join("pkglist"));
            run(command.arg("--outputdir").arg(&at).arg(&packages), TOOL_LIMIT)?.success()?;
            repository.write_more(dir, &at.join("repodata"))?;
            let WorldRepository { id, priority, module_hotfixes, .. } = repository;
            let _ = write!(
                repos,
                "[{id}]\nname={id}\nbaseurl=file://@CASE@/repos/{id}\nenabled=1\ngpgcheck=0\npriority={priority}\nmodule_hotfixes={}\n{}",
                u8::from(*module_hotfixes),
                of_repo.get(id.as_str()).map(String::as_str).unwrap_or_default(),
            );
        }
        fs::write(dir.join("lab.repo"), repos)?;
        Ok(())
    }
}

impl WorldRepository {
    /// Adds advisories and modules to a repository's metadata.
    fn write_more(&self, dir: &Path, repodata: &Path) -> Result<()> {
        let add = |name: &str, text: String| -> Result<()> {
            let file = dir.join(name);
            fs::write(&file, text)?;
            run(Command::new("modifyrepo_c").arg(&file).arg(repodata), TOOL_LIMIT)?.success()?;
            Ok(())
        };
        if !self.advisories.is_empty() {
            add("updateinfo.xml", updateinfo(&self.advisories))?;
        }
        if !self.modules.is_empty() || !self.defaults.is_empty() {
            add("modules.yaml", self.modules_yaml())?;
        }
        Ok(())
    }

    // Writing to a string cannot fail.
    fn modules_yaml(&self) -> String {
        let mut yaml = String::new();
        for ModuleBuild { name, stream, version, context, artifacts } in &self.modules {
            let _ = write!(
                yaml,
                "---\ndocument: modulemd\nversion: 2\ndata:\n  name: {name}\n  stream: \"{stream}\"\n  version: {version}\n  context: {context}\n  arch: x86_64\n  summary: lab\n  description: lab\n  license:\n    module: [MIT]\n  artifacts:\n    rpms:\n"
            );
            for package in artifacts {
                let _ = writeln!(yaml, "    - {}-0:{}-{}.{}", package.name, package.version, package.release, package.arch());
            }
            yaml.push_str("...\n");
        }
        for (module, stream) in &self.defaults {
            let _ = write!(
                yaml,
                "---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: {module}\n  stream: \"{stream}\"\n...\n"
            );
        }
        yaml
    }
}

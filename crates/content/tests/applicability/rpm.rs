//! dnf 4, dnf 5 and zypper.

use std::path::Path;

use drydock_content::facts;
use drydock_content::feeds::read_updateinfo;
use drydock_domain::advisory::Product;
use drydock_domain::applicability::facts::View;
use drydock_domain::applicability::{Fleet, HostInput, HostReport, Origin};
use drydock_domain::host_rules::{HostRules, ModuleState, PackageExclude, PackageLock};
use drydock_domain::inventory::{ManagerKind, OsFacts, Package};
use drydock_domain::version::Scheme;
use drydock_testkit::serve::serve_dir;
use drydock_testkit::upstream::RpmPackage;
use drydock_testkit::worlds::{Answers, RpmWorld, Tool, WorldRepository, ask, rpm_world};

use crate::{Compared, Said, Site, instance, said, seeds, settle, skipped};

/// Kernel that "runs" in every world: none of the world's, as in the container that the tools run in.
const RUNNING: &str = "0.0.1-elsewhere";
/// Worlds of an ordinary test run, count.
const USUAL: u64 = 100;

fn package(of: &RpmPackage) -> Package {
    Package {
        name: of.name.clone(),
        arch: of.arch().into(),
        version: of.evr(),
        source: format!("{}-{}-{}.src.rpm", of.name, of.version, of.release),
        vendor: of.vendor.into(),
    }
}

/// What the agent would read of the host's configuration, as far as `manager` looks at it.
fn rules(world: &RpmWorld, manager: ManagerKind) -> HostRules {
    let module = |(name, stream): &(&str, &str)| ModuleState {
        name: (*name).into(),
        stream: (*stream).into(),
        enabled: !stream.is_empty(),
        profiles: Vec::new(),
    };
    let lock = |text: &String| match text.strip_prefix('!') {
        Some(pattern) => PackageLock { pattern: pattern.into(), exclude: true, ..PackageLock::default() },
        None => PackageLock { pattern: text.clone(), ..PackageLock::default() },
    };
    let exclude = |(pattern, repo): &(String, String)| PackageExclude {
        pattern: pattern.clone(),
        repository: if repo.is_empty() { String::new() } else { format!("drydock-{repo}") },
    };
    let mut rules = HostRules { platform: "platform:el8".into(), ..HostRules::default() };
    match manager {
        ManagerKind::Zypper => rules.locks = world.zypper_locks.iter().map(lock).collect(),
        ManagerKind::Dnf => rules.locks = world.locks.iter().map(lock).collect(),
        _ => {}
    }
    if manager != ManagerKind::Zypper {
        rules.excludes = world.excludes.iter().map(exclude).collect();
        rules.modules = world.modules.iter().map(module).collect();
        rules.ignore_obsoletes = world.ignore_obsoletes;
    }
    rules
}

/// What our engine says of a world whose repositories lie in `case`.
async fn ours(world: &RpmWorld, case: &Path, manager: ManagerKind) -> HostReport {
    let server = serve_dir(&case.join("repos")).unwrap();
    let (site, mut fleet, mut views) = (Site::new(), Fleet::new(), Vec::new());
    for (at, repository) in world.repositories.iter().enumerate() {
        let spec = serde_json::json!({
            "name": repository.id,
            "format": "rpm",
            "policy": "metadata-only",
            "origin": { "upstream": { "urls": [format!("{}/{}", server.url(), repository.id)] } },
        });
        let root = site.sync(at, spec).await;
        site.put(&mut fleet, Scheme::Rpm, &root);
        for fragment in facts::snapshot_advisories(site.content.objects(), &root).unwrap() {
            let advisory = read_updateinfo(&fragment.unwrap().xml, &Product::any()).unwrap();
            fleet.put_advisory(&Origin::Snapshot(root.to_string()), &advisory);
        }
        let WorldRepository { id, priority, module_hotfixes, .. } = repository;
        views.push(View { source: id.clone(), root: root.to_string(), priority: *priority, module_hotfixes: *module_hotfixes });
    }
    let os = OsFacts {
        short_name: if manager == ManagerKind::Zypper { "opensuse-leap" } else { "ol" }.into(),
        version: "8.10".into(),
        architecture: "x86_64".into(),
        kernel_release: RUNNING.into(),
        managers: vec![manager],
        ..OsFacts::default()
    };
    let packages: Vec<_> = world.installed.iter().map(|p| fleet.package(Scheme::Rpm, &package(p))).collect();
    let rules = rules(world, manager);
    fleet.put_host(instance(), HostInput { os: &os, scheme: Scheme::Rpm, packages: &packages, rules: &rules, views: &views });
    fleet.settle();
    fleet.host(instance()).unwrap()
}

fn updates(report: &HostReport) -> Said {
    let free = report.updates.iter().filter(|u| u.held.is_empty() && !u.from.is_empty());
    free.map(|u| format!("{}.{} {}", u.name, u.to_arch, u.to)).collect()
}

/// dnf 5 tells what is obsoleted only of packages that are updates themselves.
fn obsoletes(report: &HostReport, only_updates: bool) -> Said {
    let free = report.updates.iter().filter(|u| u.held.is_empty() && !(only_updates && u.from.is_empty()));
    free.flat_map(|u| u.obsoletes.iter().map(move |old| format!("{}.{} {} > {old}", u.name, u.to_arch, u.to))).collect()
}

/// `ID name-evr.arch`, as dnf lists advisories. With `--updates` it lists those of packages that have an update, whether that update
/// is new enough or not; ours says more exactly which fix can be installed.
fn advisories(report: &HostReport, only_updates: bool) -> Said {
    let mut said = Said::new();
    let has_update = |name: &str, arch: &str| {
        let free = report.updates.iter().filter(|u| u.held.is_empty() && !u.from.is_empty());
        free.into_iter().any(|u| u.name == name && (u.arch == arch || u.arch == "noarch" || arch == "noarch"))
    };
    for advisory in &report.advisories {
        for package in advisory.packages.iter().filter(|p| !only_updates || has_update(&p.name, &p.arch)) {
            said.insert(format!("{} {}-{}.{}", advisory.id, package.name, package.fixed, package.arch));
        }
    }
    said
}

/// dnf takes no notice of excluded packages at all, also of installed ones; we go on saying that an advisory touches them.
fn hides_advisories(world: &RpmWorld) -> bool {
    world.excludes.iter().any(|(_, repository)| repository.is_empty())
}

/// The questions that dnf 4 and dnf 5 answer alike.
fn dnf(
    tool: &'static str,
    answer: &Answers,
    report: &HostReport,
    world: &RpmWorld,
    list: impl Fn(&str) -> Said,
) -> Vec<Compared> {
    let (theirs, replaced) = said::check_update(text(answer, "check-update"));
    let one = |question, theirs, ours| Compared { tool, question, seed: world.seed, theirs, ours };
    let mut compared =
        vec![one("updates", theirs, updates(report)), one("obsoletes", replaced, obsoletes(report, tool == "dnf5"))];
    if !hides_advisories(world) {
        compared.push(one("advisories", list(text(answer, "advisories")), advisories(report, false)));
        // It does so whatever the priority of the repository with the update; then we say that the advisory applies and no more.
        let (all, ours) = (advisories(report, false), advisories(report, true));
        let listed = list(text(answer, "advisories-updates"));
        let theirs = listed.into_iter().filter(|entry| ours.contains(entry) || !all.contains(entry)).collect();
        compared.push(one("advisories-updates", theirs, ours));
    }
    compared
}

async fn compare(tool: Tool, manager: ManagerKind, compare: impl Fn(&Answers, &HostReport, &RpmWorld) -> Vec<Compared>) {
    if skipped() {
        return;
    }
    let worlds: Vec<_> = seeds(USUAL).into_iter().map(rpm_world).collect();
    let dir = tempfile::tempdir().unwrap();
    let (asked, at) = (worlds.clone(), dir.path().to_owned());
    let answers = tokio::task::spawn_blocking(move || ask(tool, &asked, &at)).await.unwrap().unwrap();
    let mut compared = Vec::new();
    for (number, (world, answer)) in worlds.iter().zip(&answers).enumerate() {
        let report = ours(world, &dir.path().join(number.to_string()), manager).await;
        compared.extend(compare(answer, &report, world));
    }
    settle(&compared);
}

fn text<'a>(answer: &'a Answers, name: &str) -> &'a str {
    answer.get(name).map(String::as_str).unwrap_or_default()
}

#[tokio::test]
async fn dnf4() {
    compare(Tool::Dnf4, ManagerKind::Dnf, |answer, report, world| dnf("dnf4", answer, report, world, said::updateinfo)).await;
}

#[tokio::test]
async fn dnf5() {
    compare(Tool::Dnf5, ManagerKind::Dnf5, |answer, report, world| dnf("dnf5", answer, report, world, said::advisory_list)).await;
}

/// `foxtrot` changes its vendor, the others are of one.
fn one_vendor(world: &RpmWorld) -> impl Fn(&String) -> bool {
    let advisories = world.repositories.iter().flat_map(|r| &r.advisories);
    let mixed = advisories.filter(|a| a.packages.len() > 1 && a.packages.iter().any(|p| p.name == "foxtrot"));
    let mixed: Said = mixed.map(|a| a.id.clone()).collect();
    move |id| !mixed.contains(id)
}

#[tokio::test]
async fn zypper() {
    compare(Tool::Zypper, ManagerKind::Zypper, |answer, report, world| {
        let theirs = said::zypper(text(answer, "list-updates"), |of| format!("{}.{} {}", of("name"), of("arch"), of("edition")));
        let patches = said::zypper(text(answer, "list-patches"), |of| of("name"));
        // Of a patch over packages of several vendors libsolv judges the whole, we each package.
        let ours = report.advisories.iter().map(|a| a.id.clone());
        let (patches, needed) =
            (patches.into_iter().filter(one_vendor(world)).collect(), ours.filter(one_vendor(world)).collect());
        let one = |question, theirs, ours| Compared { tool: "zypper", question, seed: world.seed, theirs, ours };
        vec![one("updates", theirs, updates(report)), one("patches", patches, needed)]
    })
    .await;
}

//! A generated fleet, the same for each seed: one large snapshot, its advisories, and hosts that lag behind it. Used by the tests and
//! by `cargo xtask bench applicability`.

use drydock_domain::advisory::{Advisory, AdvisoryKind, Fix, NameKind, Product, Severity};
use drydock_domain::applicability::facts::{PackageFacts, SnapshotFacts, View};
use drydock_domain::applicability::{Fleet, HostInput, Origin, PackageKey};
use drydock_domain::host_rules::{HostRules, PackageExclude, PackageLock};
use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::{ManagerKind, OsFacts, Package};
use drydock_domain::version::Scheme;

/// Versions of each package in the snapshot, count.
pub const VERSIONS: usize = 6;
/// Root of the generated snapshot.
pub const ROOT: &str = "r0";

/// splitmix64.
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// How large.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub names: usize,
    pub advisories: usize,
    pub profiles: usize,
    pub packages: usize,
}

/// The shape of the issue: 42,000 packages, 4,000 advisories, 600 packages a host.
#[allow(dead_code, reason = "the tests take a smaller one")]
pub const ISSUE: Size = Size { names: 7_000, advisories: 4_000, profiles: 300, packages: 600 };

/// A profile: packages of a host.
pub type Profile = Vec<Package>;

pub struct World {
    pub facts: SnapshotFacts,
    pub advisories: Vec<Advisory>,
    pub profiles: Vec<Profile>,
}

fn name(n: usize) -> String {
    const STEMS: [&str; 8] = ["lib", "python3-", "perl-", "", "gnome-", "java-", "", "rust-"];
    format!("{}pkg{n}", STEMS[n % STEMS.len()])
}

fn arch(n: usize) -> &'static str {
    if n.is_multiple_of(4) { "noarch" } else { "x86_64" }
}

/// The `step`-th version of a package: steps rise, in every part of a version.
fn version(n: usize, step: usize) -> String {
    let epoch = if n.is_multiple_of(17) { "1:" } else { "" };
    match n % 3 {
        0 => format!("{epoch}{}.{}-{}.el8", n % 9, n % 7, step + 9),
        1 => format!("{epoch}{}.{}.{step}-1.el8", n % 9, n % 13),
        _ => format!("{epoch}20{:02}.{}-3.el8_{step}", n % 20, step / 2),
    }
}

impl World {
    pub fn new(seed: u64, size: Size) -> Self {
        let mut dice = Dice(seed);
        let mut facts = SnapshotFacts::default();
        for n in 0..size.names {
            for step in 0..VERSIONS {
                facts.packages.push(PackageFacts {
                    name: name(n),
                    arch: arch(n).into(),
                    version: version(n, step),
                    source: name(n - n % 5),
                    phased_percent: 100,
                    ..PackageFacts::default()
                });
            }
        }
        let advisories = (0..size.advisories).map(|n| advisory(&mut dice, n, size.names)).collect();
        let profiles = (0..size.profiles).map(|_| profile(&mut dice, size)).collect();
        World { facts, advisories, profiles }
    }

    /// The snapshot with some packages a step further: what a sync brings.
    #[allow(dead_code, reason = "used by the benchmark")]
    pub fn next(&self, dice: &mut Dice, percent: usize) -> SnapshotFacts {
        let mut facts = self.facts.clone();
        let names = facts.packages.len() / VERSIONS;
        for _ in 0..names * percent / 100 {
            let n = dice.below(names);
            facts.packages.push(PackageFacts {
                name: name(n),
                arch: arch(n).into(),
                version: version(n, VERSIONS + 1),
                phased_percent: 100,
                ..PackageFacts::default()
            });
        }
        facts
    }
}

fn advisory(dice: &mut Dice, n: usize, names: usize) -> Advisory {
    let first = dice.below(names);
    let fixes = (0..1 + dice.below(8)).map(|k| {
        let of = (first + k * 5) % names;
        Fix {
            product: Product::any(),
            name: name(of),
            by: NameKind::Binary,
            arch: arch(of).into(),
            version: version(of, 1 + dice.below(VERSIONS - 1)),
            scheme: Scheme::Rpm,
            module: None,
        }
    });
    let fixes = fixes.collect();
    let security = dice.below(3) > 0;
    let cves = if security { 1 + dice.below(6) } else { 0 };
    Advisory {
        id: format!("ELSA-2026-{n:05}"),
        kind: if security { AdvisoryKind::Security } else { AdvisoryKind::Bugfix },
        severity: if security { Severity::ALL[2 + dice.below(4)] } else { Severity::Unknown },
        cves: (0..cves).map(|_| format!("CVE-2026-{:05}", dice.below(names + 2_000))).collect(),
        fixes,
        ..Advisory::default()
    }
}

/// Most hosts share a base; each lags behind by its own amount.
fn profile(dice: &mut Dice, size: Size) -> Profile {
    let lag = dice.below(VERSIONS);
    let mut names: Vec<usize> = (0..size.packages * 3 / 4).collect();
    let mut more = std::collections::BTreeSet::new();
    while names.len() + more.len() < size.packages {
        more.insert(names.len() + dice.below(size.names - names.len()));
    }
    names.extend(more);
    let package = |n: usize, dice: &mut Dice| {
        let step = (VERSIONS - 1).saturating_sub(if dice.below(10) == 0 { dice.below(VERSIONS) } else { lag });
        Package { name: name(n), arch: arch(n).into(), version: version(n, step), ..Package::default() }
    };
    names.into_iter().map(|n| package(n, dice)).collect()
}

/// What rpm hosts of the generated fleet say of themselves.
pub fn el8() -> OsFacts {
    OsFacts {
        short_name: "ol".into(),
        version: "8.10".into(),
        architecture: "x86_64".into(),
        managers: vec![ManagerKind::Dnf],
        ..OsFacts::default()
    }
}

/// A view of a snapshot with dnf's default priority.
pub fn view(source: &str, root: &str, priority: u32) -> View {
    View { source: source.into(), root: root.into(), priority, module_hotfixes: false }
}

/// Three kinds of rules: none, an exclude, a lock.
pub fn rules(kind: usize) -> HostRules {
    let mut rules = HostRules::default();
    match kind % 3 {
        1 => rules.excludes.push(PackageExclude { pattern: "libpkg1*".into(), ..PackageExclude::default() }),
        2 => rules.locks.push(PackageLock { pattern: format!("{}-0:*", name(3)), ..PackageLock::default() }),
        _ => {}
    }
    rules
}

/// The `n`-th host.
pub fn host(n: usize) -> InstanceId {
    InstanceId(uuid::Uuid::from_u128(n as u128 + 1))
}

/// A fleet with the world's snapshot and advisories and no host.
pub fn stocked(world: &World) -> Fleet {
    let mut fleet = Fleet::new();
    fleet.put_snapshot(ROOT, Scheme::Rpm, &world.facts);
    let origin = Origin::Snapshot(ROOT.into());
    world.advisories.iter().for_each(|a| fleet.put_advisory(&origin, a));
    fleet
}

/// Package keys of a profile.
pub fn keys(fleet: &mut Fleet, profile: &[Package]) -> Vec<PackageKey> {
    let mut keys: Vec<PackageKey> = profile.iter().map(|p| fleet.package(Scheme::Rpm, p)).collect();
    keys.sort_unstable();
    keys
}

/// Puts a host of the generated kind.
pub fn put(fleet: &mut Fleet, n: usize, packages: &[PackageKey], rules: &HostRules, root: &str) {
    let os = el8();
    let views = [view("base", root, 99)];
    fleet.put_host(host(n), HostInput { os: &os, scheme: Scheme::Rpm, packages, rules, views: &views });
}

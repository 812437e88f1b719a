//! Random package sets before and after a task whose plan was right, partly right or wrong: what verification says of
//! them is enough to go back.

use std::collections::BTreeSet;

use drydock_domain::ids::TaskId;
use drydock_domain::inventory::{ManagerKind, Package, PackageSet, UpdateKind};
use drydock_domain::patch::report::{ActionKind, Plan, PlannedAction, TaskReport};
use drydock_domain::patch::task::TaskState;
use drydock_domain::patch::undo::{Standing, UndoOrder, inverse};
use drydock_pkgmgr::verify_with;
use drydock_testkit::worlds::Dice;

/// Worlds, count: about a second.
const SEEDS: u64 = 3_000;

fn package(name: &str, version: usize) -> Package {
    Package { name: name.into(), arch: "noarch".into(), version: format!("{version}.0-1"), ..Package::default() }
}

/// Six packages of one version, and a kernel of up to three.
fn world(dice: &mut Dice) -> PackageSet {
    let mut packages: Vec<Package> = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        if dice.chance(70) {
            packages.push(package(name, 1 + dice.below(3)));
        }
    }
    packages.extend((1..6).filter(|_| dice.chance(50)).map(|v| package("kernel", v)));
    PackageSet::new(packages)
}

fn action(name: &str, from: Option<&Package>, to: Option<&Package>) -> PlannedAction {
    let version = |p: Option<&Package>| p.map(|p| p.version.clone());
    let (from, to) = (version(from), version(to));
    let action = match (&from, &to) {
        (None, _) => ActionKind::Install,
        (_, None) => ActionKind::Remove,
        (Some(from), Some(to)) if from < to => ActionKind::Upgrade,
        _ => ActionKind::Downgrade,
    };
    PlannedAction {
        action,
        name: name.into(),
        arch: "noarch".into(),
        from,
        to,
        repository: String::new(),
        kind: UpdateKind::Unknown,
        advisories: Vec::new(),
    }
}

/// What was planned of the way from one set to the other: most of it, some of it in another version, and more.
fn plan(dice: &mut Dice, before: &PackageSet, after: &PackageSet) -> Plan {
    let mut actions = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        let (from, to) = (before.find(name, "").next(), after.find(name, "").next());
        let other = package(name, 7);
        match dice.below(10) {
            0 => {}
            1 => actions.push(action(name, from, Some(&other))),
            _ if from != to => actions.push(action(name, from, to)),
            _ => {}
        }
    }
    for kernel in before.find("kernel", "").filter(|k| !after.as_slice().contains(k) && dice.chance(80)) {
        actions.push(action("kernel", Some(kernel), None));
    }
    for kernel in after.find("kernel", "").filter(|k| !before.as_slice().contains(k) && dice.chance(80)) {
        actions.push(action("kernel", None, Some(kernel)));
    }
    actions.sort();
    Plan {
        manager: ManagerKind::Dnf,
        actions,
        skipped: vec![],
        patches: vec![],
        requested: vec![],
        modules: vec![],
        findings: vec![],
        before: Some(Standing::default()),
        undo: None,
    }
}

fn undone(order: &UndoOrder, set: &PackageSet) -> PackageSet {
    let key = |p: &Package| (p.name.clone(), p.arch.clone(), p.version.clone());
    let gone: BTreeSet<_> = order.leaving().into_iter().map(|(n, a, v)| (n.to_owned(), a.to_owned(), v.to_owned())).collect();
    let kept = set.as_slice().iter().filter(|p| !gone.contains(&key(p))).cloned();
    let back = order.arriving().into_iter().map(|(name, arch, version)| Package {
        name: name.into(),
        arch: arch.into(),
        version: version.into(),
        ..Package::default()
    });
    PackageSet::new(kept.chain(back).collect())
}

#[test]
fn whatever_a_task_did_its_report_leads_back() {
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed);
        let (before, after) = (world(&mut dice), world(&mut dice));
        let plan = plan(&mut dice, &before, &after);
        let report = TaskReport {
            task: TaskId(uuid::Uuid::nil()),
            seq: 1,
            at: jiff::Timestamp::UNIX_EPOCH,
            state: TaskState::Failed,
            message: String::new(),
            steps: vec![],
            packages: verify_with(&plan, &before, &after, &[], &[]),
            plans: vec![plan],
            modules: vec![],
            reboots: 0,
            reboot_reasons: vec![],
            health: vec![],
            differs: vec![],
        };
        match inverse(&report, after.as_slice()) {
            Ok(order) => {
                assert_eq!(undone(&order, &after), before, "seed {seed}: {report:#?}");
                taken += 1;
            }
            // Never because another change lay between: there was none.
            Err(reasons) => {
                assert!(reasons.iter().all(|r| !r.reason.contains("another change")), "seed {seed}: {reasons:?}");
                refused += usize::from(before != after);
            }
        }
    }
    assert!(taken > 2_000 && refused * 20 < taken, "{taken} were taken back, {refused} refused");
}

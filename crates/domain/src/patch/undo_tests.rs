use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::ids::TaskId;
use crate::inventory::{PackageSet, UpdateKind};
use crate::patch::modules::{ModuleResult, ModuleState, ModuleStatus, PlannedModule};
use crate::patch::report::ActionKind;
use crate::patch::spec::PatchJobSpec;
use crate::patch::task::TaskState;

fn package(name: &str, version: &str) -> Package {
    Package { name: name.into(), arch: "x86_64".into(), version: version.into(), ..Package::default() }
}

fn line(name: &str, from: Option<&str>, to: Option<&str>) -> PlannedAction {
    let action = match (from, to) {
        (None, _) => ActionKind::Install,
        (_, None) => ActionKind::Remove,
        (Some(a), Some(b)) if a < b => ActionKind::Upgrade,
        _ => ActionKind::Downgrade,
    };
    PlannedAction {
        action,
        name: name.into(),
        arch: "x86_64".into(),
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
        repository: String::new(),
        kind: UpdateKind::Unknown,
        advisories: Vec::new(),
    }
}

fn result(name: &str, from: Option<&str>, to: Option<&str>, outcome: PackageOutcome, found: Option<&str>) -> PackageResult {
    PackageResult { planned: line(name, from, to), outcome, found: found.map(str::to_owned), detail: String::new() }
}

fn applied(name: &str, from: Option<&str>, to: Option<&str>) -> PackageResult {
    result(name, from, to, PackageOutcome::Applied, to)
}

fn plan(manager: ManagerKind, before: Option<Standing>) -> Plan {
    Plan {
        manager,
        actions: vec![],
        skipped: vec![],
        patches: vec![],
        requested: vec![],
        modules: vec![],
        findings: vec![],
        before,
        undo: None,
    }
}

fn report(packages: Vec<PackageResult>) -> TaskReport {
    TaskReport {
        task: TaskId(Uuid::nil()),
        seq: 9,
        at: Timestamp::UNIX_EPOCH,
        state: TaskState::Succeeded,
        message: String::new(),
        steps: vec![],
        plans: vec![plan(ManagerKind::Dnf, Some(Standing::default()))],
        packages,
        modules: vec![],
        health: vec![],
        differs: vec![],
        reboots: 0,
        reboot_reasons: vec![],
    }
}

fn told(report: &TaskReport, installed: &[Package]) -> Vec<String> {
    inverse(report, installed).expect_err("refused").iter().map(ToString::to_string).collect()
}

fn short(order: &UndoOrder) -> Vec<String> {
    let end = |v: &Option<String>| v.clone().unwrap_or_else(|| "-".to_owned());
    order.actions.iter().map(|a| format!("{} {} → {}", a.name, end(&a.now), end(&a.before))).collect()
}

/// Does to a set what an order says.
fn undone(order: &UndoOrder, set: &[Package]) -> PackageSet {
    let (arrive, leave) = (order.arriving(), order.leaving());
    let key = |p: &Package| (p.name.clone(), p.arch.clone(), p.version.clone());
    let goes = |p: &Package| leave.iter().any(|(n, a, v)| key(p) == ((*n).into(), (*a).into(), (*v).into()));
    let kept = set.iter().filter(|p| !goes(p)).cloned();
    let new = arrive.iter().map(|(n, a, v)| Package { arch: (*a).into(), ..package(n, v) });
    PackageSet::new(kept.chain(new).collect())
}

#[test]
fn what_happened_is_turned_round() {
    let report = report(vec![
        applied("curl", Some("1-1"), Some("2-1")),
        applied("new", None, Some("1-1")),
        applied("old", Some("3-1"), None),
        applied("kernel", None, Some("6-1")),
        applied("kernel", Some("4-1"), None),
        result("failed", Some("1-1"), Some("2-1"), PackageOutcome::NotApplied, Some("1-1")),
        result("surprise", Some("1-1"), None, PackageOutcome::Unplanned, None),
    ]);
    let now = [package("curl", "2-1"), package("new", "1-1"), package("kernel", "5-1"), package("kernel", "6-1")];
    let order = inverse(&report, &now).expect("an order");
    assert_eq!(
        short(&order),
        ["curl 2-1 → 1-1", "kernel - → 4-1", "kernel 6-1 → -", "new 1-1 → -", "old - → 3-1", "surprise - → 1-1"]
    );
    let barred: Vec<_> = order.barred("undone by job x").into_iter().map(|b| format!("{} {}", b.name, b.version)).collect();
    assert_eq!(barred, ["curl 2-1", "kernel 6-1", "new 1-1"]);
}

#[test]
fn rounds_after_reboots_count_from_the_first_to_the_last() {
    let twice = report(vec![
        applied("curl", Some("1-1"), Some("2-1")),
        applied("passing", None, Some("1-1")),
        applied("curl", Some("2-1"), Some("3-1")),
        applied("passing", Some("1-1"), None),
    ]);
    assert_eq!(short(&inverse(&twice, &[package("curl", "3-1")]).expect("an order")), ["curl 3-1 → 1-1"]);
}

#[test]
fn a_change_between_is_refused_by_name() {
    let report = report(vec![applied("curl", Some("1-1"), Some("2-1")), applied("vim", Some("1-1"), Some("2-1"))]);
    let words = told(&report, &[package("curl", "3-1"), package("vim", "2-1")]);
    assert_eq!(
        words,
        ["curl.x86_64: another change lies between: the task left it at 2-1, now it is 3-1; undo that change first"]
    );
    assert!(told(&report, &[package("vim", "2-1")])[0].contains("now it is not installed"));
}

#[test]
fn an_inventory_from_before_the_end_is_read_with_the_report() {
    let done = report(vec![
        applied("app", Some("1-1"), Some("2-1")),
        applied("new", None, Some("1-1")),
        applied("old", Some("1-1"), None),
        result("stays", Some("1-1"), Some("2-1"), PackageOutcome::NotApplied, Some("1-1")),
    ]);
    let before = [package("app", "1-1"), package("lib", "5-1"), package("old", "1-1"), package("stays", "1-1")];
    let after = [package("app", "2-1"), package("lib", "5-1"), package("new", "1-1"), package("stays", "1-1")];
    let named = |all: &[Package]| all.iter().map(|p| format!("{} {}", p.name, p.version)).collect::<Vec<_>>();
    assert_eq!(named(&found_after(&done, &before)), named(&after));
    assert_eq!(named(&found_after(&done, &after)), named(&after));
    assert!(told(&done, &before)[0].contains("already as it was"));
    assert!(inverse(&done, &found_after(&done, &before)).is_ok());
}

#[test]
fn what_is_back_already_is_left_out_so_that_half_an_undo_can_be_finished() {
    let report = report(vec![applied("curl", Some("1-1"), Some("2-1")), applied("vim", Some("1-1"), Some("2-1"))]);
    let order = inverse(&report, &[package("curl", "1-1"), package("vim", "2-1")]).expect("an order");
    assert_eq!(short(&order), ["vim 2-1 → 1-1"]);
    let all = told(&report, &[package("curl", "1-1"), package("vim", "1-1")]);
    assert!(all[0].contains("nothing is left to undo"), "{all:?}");
}

#[test]
fn tasks_that_changed_nothing_or_are_not_over_are_refused() {
    assert!(told(&report(vec![]), &[])[0].contains("changed no package"), "a dry run, for one");
    let mut running = report(vec![applied("curl", Some("1-1"), Some("2-1"))]);
    running.state = TaskState::ApplyingPatches;
    assert!(told(&running, &[package("curl", "2-1")])[0].contains("APPLYING_PATCHES"));
    let agent = report(vec![applied("drydock-agent", Some("1-1"), Some("2-1"))]);
    assert!(told(&agent, &[package("drydock-agent", "2-1")])[0].starts_with("drydock-agent.x86_64: it carries out the undo"));
}

#[test]
fn module_streams_are_no_exact_undo() {
    let state = |stream: &str| ModuleState { status: ModuleStatus::Enabled, stream: stream.into(), profiles: vec![] };
    let planned = PlannedModule {
        change: "switch:nodejs:18".parse().expect("a change"),
        implied: false,
        before: state("16"),
        after: state("18"),
        packages: vec![],
        refused: String::new(),
    };
    let mut report = report(vec![applied("nodejs", Some("16-1"), Some("18-1"))]);
    report.modules = vec![ModuleResult::new(planned.clone(), state("18"))];
    assert!(told(&report, &[package("nodejs", "18-1")])[0].starts_with("nodejs: the task changed this module's stream"));
    report.modules = vec![ModuleResult::new(planned, state("16"))];
    assert!(inverse(&report, &[package("nodejs", "18-1")]).is_ok(), "the stream never moved");
}

#[test]
fn a_half_configured_deb_goes_back_although_no_list_of_installed_packages_has_it() {
    let mut half = result("app", Some("1-1"), Some("2-1"), PackageOutcome::Different, Some("2-1"));
    half.detail = "half-configured".into();
    let mut report = report(vec![half]);
    report.state = TaskState::Failed;
    assert_eq!(short(&inverse(&report, &[]).expect("an order")), ["app 2-1 → 1-1"]);
    // Somebody finished it since; that is no other change.
    assert_eq!(short(&inverse(&report, &[package("app", "2-1")]).expect("an order")), ["app 2-1 → 1-1"]);
}

#[test]
fn both_versions_of_a_torn_transaction_become_one() {
    let torn = result("app", Some("1-1"), Some("2-1"), PackageOutcome::Different, Some("2-1"));
    let order = inverse(&report(vec![torn]), &[package("app", "1-1"), package("app", "2-1")]).expect("an order");
    assert_eq!(short(&order), ["app 2-1 → -"]);
}

#[test]
fn dpkg_takes_configuration_files_along_only_where_none_were_before() {
    let left = vec![LeftOver { name: "was-rc".into(), arch: "x86_64".into() }];
    let marks = vec![Marked { name: "lib".into(), arch: "x86_64".into(), mark: Mark::Dependency }];
    let mut report =
        report(vec![applied("new", None, Some("1")), applied("was-rc", None, Some("1")), applied("lib", Some("1"), Some("2"))]);
    let now = [package("new", "1"), package("was-rc", "1"), package("lib", "2")];
    report.plans = vec![plan(ManagerKind::Apt, Some(Standing { marks, left }))];
    let order = inverse(&report, &now).expect("an order");
    let rows: Vec<_> = order.actions.iter().map(|a| (a.name.as_str(), a.purge, a.mark)).collect();
    assert_eq!(rows, [("lib", false, Some(Mark::Dependency)), ("new", true, None), ("was-rc", false, None)]);
    // An older agent did not look.
    report.plans = vec![plan(ManagerKind::Apt, None)];
    let words = told(&report, &now);
    assert!(words.len() == 2 && words[0].starts_with("new.x86_64: the agent that installed it kept no note"), "{words:?}");
}

#[test]
fn a_plan_is_the_order_or_says_what_is_too_much_and_what_is_missing() {
    let report = report(vec![applied("curl", Some("1-1"), Some("2-1")), applied("new", None, Some("1-1"))]);
    let order = inverse(&report, &[package("curl", "2-1"), package("new", "1-1")]).expect("an order");
    let mut exact = plan(ManagerKind::Dnf, None);
    exact.actions = vec![line("curl", Some("2-1"), Some("1-1")), line("new", Some("1-1"), None)];
    assert!(Plan::differences(&exact.actions, &order).is_empty());
    exact.actions = vec![line("curl", Some("2-1"), Some("1-1")), line("dep", Some("5-1"), None)];
    assert_eq!(Plan::differences(&exact.actions, &order), ["new-1-1.x86_64 would not go", "dep-5-1.x86_64 would go besides"]);
    exact.actions = vec![line("new", Some("1-1"), None), line("curl", Some("2-1"), Some("0-1"))];
    assert_eq!(
        Plan::differences(&exact.actions, &order),
        ["curl-1-1.x86_64 would not come back", "curl-0-1.x86_64 would come besides"]
    );
    let installed = [package("curl", "2-1")];
    assert_eq!(order.shortfall(&installed), ["curl.x86_64 is 2-1, before the task it was 1-1"]);
    assert!(order.shortfall(&[package("curl", "1-1")]).is_empty());
}

#[test]
fn an_order_with_words_that_must_not_reach_a_host_is_refused() {
    let action = |name: &str, version: &str| UndoAction {
        name: name.into(),
        arch: "x86_64".into(),
        now: None,
        before: Some(version.into()),
        purge: false,
        mark: None,
    };
    let file = |file_name: &str, url_path: &str, sha256: &str| UndoFile {
        name: "curl".into(),
        arch: "x86_64".into(),
        version: "1-1".into(),
        file_name: file_name.into(),
        sha256: sha256.into(),
        size: 10,
        url_path: url_path.into(),
        local: String::new(),
    };
    let digest = "ab".repeat(32);
    let order = |a: UndoAction, f: Option<UndoFile>| UndoOrder { actions: vec![a], files: f.into_iter().collect() };
    let good = file("curl-1-1.x86_64.rpm", "/content/undo/ab/curl-1-1.x86_64.rpm", &digest);
    assert_eq!(order(action("curl", "1-1"), Some(good)).validate(), Ok(()));
    for (name, version) in [("-y", "1"), ("", "1"), ("a b", "1"), ("curl", "1;id"), ("curl", ""), ("curl", "-1")] {
        assert!(order(action(name, version), None).validate().is_err(), "{name} {version}");
    }
    for (name, path, sum) in [
        ("../curl.rpm", "/content/x", digest.as_str()),
        ("curl.sh", "/content/x", &digest),
        ("curl.rpm", "/api/v1/x", &digest),
        ("curl.rpm", "/content/../x", &digest),
        ("curl.rpm", "https://elsewhere/content/x", &digest),
        ("curl.rpm", "/content/x", "ab"),
    ] {
        assert!(order(action("curl", "1-1"), Some(file(name, path, sum))).validate().is_err(), "{name} {path}");
    }
    assert!(order(action("vim", "1-1"), Some(file("curl.rpm", "/content/x", &digest))).validate().is_err(), "nobody's file");
    assert!(UndoOrder::default().validate().is_err());
}

#[test]
fn nobody_submits_an_undo_and_older_agents_refuse_it() {
    let problems = |config: &str| {
        let spec = format!(r#"{{"instanceFilter":{{"all":true}},"patchConfig":{config}}}"#);
        let spec: PatchJobSpec = serde_json::from_str(&spec).expect("a spec");
        let errors = spec.validate().map_or_else(|e| e.errors, |()| Vec::new());
        (spec.patch_config, errors.into_iter().map(|e| e.field).collect::<Vec<_>>())
    };
    let undo = r#"{"undo":{"actions":[{"name":"a","arch":"noarch","now":"2","before":"1"}]}}"#;
    let (config, fields) = problems(undo);
    assert_eq!((config.work_version(), fields), (4, vec!["patchConfig.undo".to_owned()]));
    assert_eq!(config.undo_problem(), None);
    let barred = r#"{"barred":[{"name":"a","arch":"noarch","version":"2","reason":"undone by job x"}]}"#;
    let (config, fields) = problems(barred);
    assert_eq!((config.work_version(), fields), (4, vec!["patchConfig.barred".to_owned()]));
    assert_eq!(config.barred[0].told(), "barred: undone by job x");
    assert!(config.check_barred().is_ok());
    let (mut config, _) = problems(undo);
    config.download_only = true;
    assert!(config.undo_problem().is_some());
    assert!(!serde_json::to_string(&PatchConfig::default()).expect("JSON").contains("undo"));
}

/// Versions of each package; a few names may have several at once, as kernels do.
type World = BTreeMap<String, BTreeSet<u8>>;

fn version(n: u8) -> String {
    format!("{n}.0-1")
}

fn packages(world: &World) -> Vec<Package> {
    world.iter().flat_map(|(n, vs)| vs.iter().map(|v| package(n, &version(*v)))).collect()
}

/// Lines of a task that turned `old` into `new`, as verification writes them.
fn lines(old: &World, new: &World, unplanned: bool) -> Vec<PackageResult> {
    let none = BTreeSet::new();
    let mut out = Vec::new();
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let (a, b) = (old.get(name).unwrap_or(&none), new.get(name).unwrap_or(&none));
        let gone: Vec<String> = a.difference(b).map(|v| version(*v)).collect();
        let come: Vec<String> = b.difference(a).map(|v| version(*v)).collect();
        let outcome = if unplanned { PackageOutcome::Unplanned } else { PackageOutcome::Applied };
        let paired = !name.starts_with("kernel") || unplanned;
        if paired {
            for i in 0..gone.len().max(come.len()) {
                let (from, to) = (gone.get(i).map(String::as_str), come.get(i).map(String::as_str));
                out.push(result(name, from, to, outcome, to));
            }
        } else {
            out.extend(come.iter().map(|v| result(name, None, Some(v), outcome, Some(v))));
            // Another version of it stays: that is what the database has afterwards.
            let other = b.iter().last().map(|v| version(*v));
            out.extend(gone.iter().map(|v| result(name, Some(v), None, outcome, other.as_deref())));
        }
    }
    out
}

fn a_world() -> impl Strategy<Value = World> {
    let single = prop::collection::btree_map("[a-f]", (1u8..5).prop_map(|v| BTreeSet::from([v])), 0..6);
    let many = prop::collection::btree_map("kernel[ab]", prop::collection::btree_set(1u8..6, 1..4), 0..3);
    (single, many).prop_map(|(a, b)| a.into_iter().chain(b).collect())
}

proptest! {
    #[test]
    fn a_transaction_and_its_inverse_leave_the_set_as_it_was(worlds in prop::collection::vec((a_world(), any::<bool>()), 2..5)) {
        let mut results = Vec::new();
        for pair in worlds.windows(2) {
            results.extend(lines(&pair[0].0, &pair[1].0, pair[1].1));
        }
        let (first, last) = (packages(&worlds[0].0), packages(&worlds[worlds.len() - 1].0));
        match inverse(&report(results), &last) {
            Ok(order) => {
                prop_assert_eq!(undone(&order, &last), PackageSet::new(first.clone()));
                prop_assert!(order.shortfall(&first).is_empty());
                // Exactly the inverse: nothing goes or comes that did not change.
                let both: Vec<&Package> = first.iter().filter(|p| last.contains(p)).collect();
                for p in both {
                    let key = (p.name.as_str(), p.arch.as_str(), p.version.as_str());
                    prop_assert!(!order.arriving().contains(&key) && !order.leaving().contains(&key));
                }
            }
            Err(refused) => {
                prop_assert_eq!(PackageSet::new(first), PackageSet::new(last), "{:?}", refused);
                prop_assert!(refused[0].name.is_empty());
            }
        }
    }

    #[test]
    fn whatever_changed_again_is_refused_by_its_name(old in a_world(), new in a_world(), at in any::<prop::sample::Index>()) {
        let results = lines(&old, &new, false);
        let arrived: Vec<&PackageResult> = results.iter().filter(|r| r.planned.to.is_some()).collect();
        prop_assume!(!arrived.is_empty());
        let moved = arrived[at.index(arrived.len())].planned.clone();
        let mut later = packages(&new);
        for p in &mut later {
            if p.name == moved.name && Some(&p.version) == moved.to.as_ref() {
                p.version = "9.9-9".into();
            }
        }
        let refused = inverse(&report(results), &later).expect_err("another change lies between");
        prop_assert!(refused.iter().all(|r| r.name == moved.name), "{:?}", refused);
    }
}

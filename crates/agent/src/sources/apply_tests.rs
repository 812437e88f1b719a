//! Whole rounds on temporary hosts: nothing → sources → other sources → nothing, ended before every step.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use drydock_domain::ids::InstanceId;
use drydock_domain::source::host::HostSource;
use drydock_domain::source::unit::Format;
use uuid::Uuid;

use super::*;

/// No round here has as many steps.
const STEPS_MAX: usize = 400;
use crate::link::address::ServerAddress;
use crate::sources::render::{Facts, Input, render};

const PLUGINS: &str = "/usr/lib/python3.6/site-packages/dnf-plugins";

fn host() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for made in ["etc/yum.repos.d", "etc/drydock-agent", &PLUGINS[1..]] {
        fs::create_dir_all(dir.path().join(made)).expect("made");
    }
    fs::write(dir.path().join("etc/yum.repos.d/base.repo"), "[base]\n").expect("written");
    fs::write(dir.path().join("etc/drydock-agent/agent.toml"), "").expect("written");
    dir
}

/// Every path outside the agent's state, with mode, time and bytes of files.
fn picture(root: &Path) -> BTreeMap<String, (u32, i64, Vec<u8>)> {
    let mut dirs = vec![root.join("etc"), root.join("usr")];
    let mut all = BTreeMap::new();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("listed").flatten() {
            let (path, meta) = (entry.path(), entry.metadata().expect("there"));
            let name = path.strip_prefix(root).expect("below").display().to_string();
            if meta.is_dir() {
                // Times of directories change with their files; who may enter the agent's own is ours.
                all.insert(name.clone(), (if name == "etc/drydock-agent" { 0 } else { meta.mode() }, 0, Vec::new()));
                dirs.push(path);
            } else {
                all.insert(name, (meta.mode(), meta.mtime_nsec(), fs::read(&path).expect("read")));
            }
        }
    }
    all
}

fn document(generation: u64, mode: SourcesMode, names: &[&str]) -> HostSources {
    let source = |name: &&str| HostSource {
        name: (*name).into(),
        display_name: String::new(),
        format: Format::Rpm,
        path: format!("/content/latest/{name}/"),
        suite: String::new(),
        components: Vec::new(),
        architectures: Vec::new(),
        keys: Vec::new(),
        gpgcheck: false,
        priority: None,
        module_hotfixes: false,
    };
    HostSources {
        version: 1,
        instance: InstanceId(Uuid::nil()),
        generation,
        mode,
        repository_keys: vec![format!(
            "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nkey{generation}\n-----END PGP PUBLIC KEY BLOCK-----"
        )],
        sources: names.iter().map(source).collect(),
    }
}

fn journal(root: &Path) -> Kept {
    fs::create_dir_all(root.join("var/state")).expect("made");
    Kept::read(&root.join("var/state/journal"))
}

fn round(disk: &Disk, root: &Path, document: &HostSources) -> HostSourcesReport {
    let server = ServerAddress { host: "h".into(), port: 1 };
    let facts = Facts { manager: ManagerKind::Dnf, plugin_dir: Some(PLUGINS.into()), apt_user: None, architectures: Vec::new() };
    let input = Input { document, server: &server, proxy: None, ca_pem: "CA", client_pem: "CLIENT", facts: &facts };
    let site = Site { disk, manager: ManagerKind::Dnf, runner: None };
    apply(&site, &mut journal(root), document, &render(&input))
}

fn give_back(disk: &Disk, root: &Path) -> Result<Vec<Finding>, DiskError> {
    release(&Site { disk, manager: ManagerKind::Dnf, runner: None }, &mut journal(root))
}

#[test]
fn a_host_to_which_no_source_can_be_written_keeps_its_own() {
    let dir = host();
    let before = picture(dir.path());
    let disk = Disk::new(dir.path());
    let mut wrong = document(1, SourcesMode::Exclusive, &["a"]);
    wrong.sources[0].format = Format::Deb;
    let report = round(&disk, dir.path(), &wrong);
    assert_eq!((report.state, report.taken_over.len()), (HostSourcesState::Failed, 0), "{report:?}");
    assert!(report.findings.iter().any(|f| f.message.contains("not set aside")), "{report:?}");
    assert_eq!(picture(dir.path()), before);
    // Nothing attached is another thing: exclusive mode then means no repository.
    let empty = round(&disk, dir.path(), &document(2, SourcesMode::Exclusive, &[]));
    assert_eq!(empty.taken_over, ["/etc/yum.repos.d/base.repo"]);
}

#[test]
fn a_host_whose_journal_is_gone_is_given_back_all_the_same() {
    let dir = host();
    let before = picture(dir.path());
    let disk = Disk::new(dir.path());
    let exclusive = document(1, SourcesMode::Exclusive, &["a"]);
    round(&disk, dir.path(), &exclusive);
    fs::remove_file(dir.path().join("var/state/journal")).expect("removed");
    // The same document again: what was set aside is known again.
    let report = round(&disk, dir.path(), &exclusive);
    assert_eq!(report.taken_over, ["/etc/yum.repos.d/base.repo"]);
    assert!(report.findings.iter().any(|f| f.subject == "journal"), "{report:?}");
    fs::remove_file(dir.path().join("var/state/journal")).expect("removed");
    give_back(&disk, dir.path()).expect("given back");
    let mut after = picture(dir.path());
    // Where the plugin's file lay only the package manager knows, and who made an empty directory nobody; the plugin's
    // settings are gone.
    let plugin = format!("{}/drydock.py", &PLUGINS[1..]);
    assert!(after.remove(&plugin).is_some());
    after.retain(|name, _| !name.starts_with("etc/dnf") || dir.path().join(name).is_file());
    assert_eq!(after, before);
}

#[test]
fn sources_come_change_and_go_without_a_trace() {
    let dir = host();
    let before = picture(dir.path());
    let disk = Disk::new(dir.path());
    let first = round(&disk, dir.path(), &document(1, SourcesMode::Exclusive, &["a", "b"]));
    assert_eq!(first.state, HostSourcesState::Applied, "{first:?}");
    assert_eq!(first.taken_over, ["/etc/yum.repos.d/base.repo"]);
    let repo = dir.path().join("etc/yum.repos.d/drydock.repo");
    let written = fs::metadata(&repo).expect("there");

    // The same again: not one byte is written.
    let again = Disk::new(dir.path());
    assert_eq!(round(&again, dir.path(), &document(1, SourcesMode::Exclusive, &["a", "b"])), first);
    assert_eq!((again.changes(), fs::metadata(&repo).expect("there").ino()), (0, written.ino()));

    // dnf compiles the plugin; somebody puts a file into a directory of ours.
    let cache = dir.path().join(&PLUGINS[1..]).join("__pycache__");
    fs::create_dir_all(&cache).expect("made");
    fs::write(cache.join("drydock.cpython-36.pyc"), "x").expect("written");

    let second = round(&disk, dir.path(), &document(2, SourcesMode::Additive, &["b"]));
    assert_eq!((second.state, second.taken_over.len()), (HostSourcesState::Applied, 0));
    assert!(!fs::read_to_string(&repo).expect("there").contains("[drydock-a]"));
    assert!(dir.path().join("etc/yum.repos.d/base.repo").exists());
    let keys = fs::read_dir(dir.path().join("etc/drydock-agent/content/keys")).expect("there").count();
    assert_eq!(keys, 1, "the first document's key is gone");

    let third = round(&disk, dir.path(), &document(3, SourcesMode::Additive, &[]));
    assert_eq!(third.state, HostSourcesState::Applied, "{third:?}");
    let _ = fs::remove_dir(&cache);
    assert_eq!(picture(dir.path()), before);
}

#[test]
fn a_kill_at_any_point_of_applying_is_undone_by_unregister() {
    for steps in 0..=STEPS_MAX {
        assert!(steps < STEPS_MAX, "it never ends");
        let dir = host();
        let before = picture(dir.path());
        let dying = Disk::dying_after(dir.path(), steps);
        let report = round(&dying, dir.path(), &document(1, SourcesMode::Exclusive, &["a"]));
        give_back(&Disk::new(dir.path()), dir.path()).expect("given back");
        assert_eq!(picture(dir.path()), before, "ended after {steps} steps");
        if report.state == HostSourcesState::Applied {
            assert!(steps > 20, "{steps}");
            break;
        }
    }
}

#[test]
fn a_kill_at_any_point_of_unregister_is_mended_by_its_repetition() {
    for steps in 0..=STEPS_MAX {
        assert!(steps < STEPS_MAX, "it never ends");
        let dir = host();
        let before = picture(dir.path());
        round(&Disk::new(dir.path()), dir.path(), &document(1, SourcesMode::Exclusive, &["a"]));
        let done = give_back(&Disk::dying_after(dir.path(), steps), dir.path()).is_ok();
        give_back(&Disk::new(dir.path()), dir.path()).expect("given back");
        assert_eq!(picture(dir.path()), before, "ended after {steps} steps");
        if done {
            break;
        }
    }
}

#[test]
fn a_kill_between_two_documents_leaves_no_file_of_the_first() {
    for steps in 0..=STEPS_MAX {
        assert!(steps < STEPS_MAX, "it never ends");
        let dir = host();
        round(&Disk::new(dir.path()), dir.path(), &document(1, SourcesMode::Exclusive, &["a"]));
        let dying = Disk::dying_after(dir.path(), steps);
        let next = document(2, SourcesMode::Additive, &["b"]);
        let ended = round(&dying, dir.path(), &next).state == HostSourcesState::Failed;
        let report = round(&Disk::new(dir.path()), dir.path(), &next);
        assert_eq!(report.state, HostSourcesState::Applied, "ended after {steps} steps: {report:?}");
        let fresh = host();
        round(&Disk::new(fresh.path()), fresh.path(), &next);
        let names = |root: &Path| picture(root).into_iter().map(|(n, (m, _, b))| (n, m, b)).collect::<Vec<_>>();
        assert_eq!(names(dir.path()), names(fresh.path()), "ended after {steps} steps");
        if !ended {
            break;
        }
    }
}

/// A host where somebody has a file of our name, in a place of definitions and in one of settings.
fn host_with_namesakes() -> tempfile::TempDir {
    let dir = host();
    fs::create_dir_all(dir.path().join("etc/dnf/plugins")).expect("made");
    fs::write(dir.path().join("etc/yum.repos.d/drydock.repo"), "[mine]\n").expect("written");
    fs::write(dir.path().join("etc/dnf/plugins/drydock.conf"), "# mine\n").expect("written");
    dir
}

#[test]
fn a_file_of_somebody_else_at_our_path_comes_back() {
    for mode in [SourcesMode::Additive, SourcesMode::Exclusive] {
        let dir = host_with_namesakes();
        let before = picture(dir.path());
        let disk = Disk::new(dir.path());
        let report = round(&disk, dir.path(), &document(1, mode, &["a"]));
        assert_eq!(report.state, HostSourcesState::Applied, "{report:?}");
        assert!(report.taken_over.contains(&"/etc/yum.repos.d/drydock.repo".to_owned()), "{report:?}");
        let repo = fs::read_to_string(dir.path().join("etc/yum.repos.d/drydock.repo")).expect("there");
        assert!(repo.contains("[drydock-a]") && !repo.contains("[mine]"));
        let again = Disk::new(dir.path());
        round(&again, dir.path(), &document(1, mode, &["a"]));
        assert_eq!(again.changes(), 0, "{mode:?}: nothing is left to do");
        round(&disk, dir.path(), &document(2, mode, &["a", "b"]));
        give_back(&disk, dir.path()).expect("given back");
        assert_eq!(picture(dir.path()), before, "{mode:?}");

        // Also when the journal is lost on the way.
        round(&disk, dir.path(), &document(3, mode, &["a"]));
        fs::write(dir.path().join("var/state/journal"), "torn").expect("written");
        round(&disk, dir.path(), &document(3, mode, &["a"]));
        give_back(&disk, dir.path()).expect("given back");
        assert_eq!(picture(dir.path()), before, "{mode:?}");
    }
}

#[test]
fn a_kill_at_any_point_brings_somebody_elses_file_back_too() {
    for mode in [SourcesMode::Additive, SourcesMode::Exclusive] {
        for steps in 0..=STEPS_MAX {
            assert!(steps < STEPS_MAX, "it never ends");
            let dir = host_with_namesakes();
            let before = picture(dir.path());
            let dying = Disk::dying_after(dir.path(), steps);
            let applied = round(&dying, dir.path(), &document(1, mode, &["a"])).state == HostSourcesState::Applied;
            // Once more from where it ended, and the same on the way back.
            let report = round(&Disk::new(dir.path()), dir.path(), &document(1, mode, &["a"]));
            assert_eq!(report.state, HostSourcesState::Applied, "ended after {steps} steps: {report:?}");
            let returned = give_back(&Disk::dying_after(dir.path(), steps), dir.path()).is_ok();
            give_back(&Disk::new(dir.path()), dir.path()).expect("given back");
            assert_eq!(picture(dir.path()), before, "{mode:?}, ended after {steps} steps");
            if applied && returned {
                break;
            }
        }
    }
}

#[test]
fn a_lost_journal_does_not_lose_the_hosts_repositories() {
    let dir = host();
    round(&Disk::new(dir.path()), dir.path(), &document(1, SourcesMode::Exclusive, &["a"]));
    fs::write(dir.path().join("var/state/journal"), "torn").expect("written");
    let report = round(&Disk::new(dir.path()), dir.path(), &document(1, SourcesMode::Exclusive, &["a"]));
    assert_eq!(report.taken_over, ["/etc/yum.repos.d/base.repo"]);
    assert!(report.findings.iter().any(|f| f.subject == "journal"), "{report:?}");
    give_back(&Disk::new(dir.path()), dir.path()).expect("given back");
    assert_eq!(fs::read(dir.path().join("etc/yum.repos.d/base.repo")).expect("back"), b"[base]\n");
    assert!(!dir.path().join("etc/yum.repos.d/drydock.repo").exists());
}

#[test]
fn unregister_with_a_lost_journal_leaves_only_what_nobody_can_name() {
    let dir = host();
    let before = picture(dir.path());
    round(&Disk::new(dir.path()), dir.path(), &document(1, SourcesMode::Exclusive, &["a"]));
    fs::write(dir.path().join("var/state/journal"), "torn").expect("written");
    give_back(&Disk::new(dir.path()), dir.path()).expect("given back");
    let mut after = picture(dir.path());
    assert!(after.remove(&format!("{}/drydock.py", &PLUGINS[1..])).is_some(), "its place is dnf's secret");
    after.remove("etc/dnf/plugins");
    after.remove("etc/dnf");
    assert_eq!(after, before);
}

//! Takeover and restore on temporary hosts, ended before every single step.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

/// No round here has as many steps.
const STEPS_MAX: usize = 400;

/// Everything below /etc: path, kind, mode, time in nanoseconds, inode's owner, bytes or link target.
type Picture = BTreeMap<String, (u32, i64, i64, u32, Vec<u8>)>;

fn picture(root: &Path) -> Picture {
    let mut dirs = vec![root.join("etc")];
    let mut all = Picture::new();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("listed").flatten() {
            let (path, meta) = (entry.path(), fs::symlink_metadata(entry.path()).expect("there"));
            if meta.is_dir() {
                dirs.push(path);
                continue;
            }
            let bytes = if meta.is_symlink() {
                fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path).expect("read")
            };
            let name = path.strip_prefix(root).expect("below").display().to_string();
            all.insert(name, (meta.mode(), meta.mtime(), meta.mtime_nsec(), meta.uid(), bytes));
        }
    }
    all
}

fn host() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let repos = dir.path().join("etc/yum.repos.d");
    fs::create_dir_all(&repos).expect("made");
    fs::write(repos.join("base.repo"), "[base]\r\nname=\u{e4}\n").expect("written");
    fs::set_permissions(repos.join("base.repo"), fs::Permissions::from_mode(0o640)).expect("set");
    fs::write(repos.join("epel.repo"), [0xff, 0x00]).expect("written");
    std::os::unix::fs::symlink("nowhere", repos.join("link.repo")).expect("linked");
    fs::write(repos.join("taken.repo"), "[taken]").expect("written");
    // Somebody else's file with our ending.
    fs::write(repos.join("taken.repo.drydock-backup"), "old").expect("written");
    fs::write(repos.join("drydock.repo"), "ours").expect("written");
    fs::write(repos.join("readme.txt"), "not ours, no definition").expect("written");
    fs::create_dir(repos.join("dir.repo")).expect("made");
    dir
}

fn kept(dir: &Path) -> Kept {
    let state = dir.join("state");
    fs::create_dir_all(&state).expect("made");
    let mut kept = Kept::read(&state.join("journal"));
    assert!(kept.problem.is_none(), "a crash never leaves half a journal");
    kept.update(&Disk::new(dir), |j| {
        if j.files.is_empty() {
            j.files.push("/etc/yum.repos.d/drydock.repo".to_owned());
        }
    })
    .expect("saved");
    kept
}

const PLACES: ManagerKind = ManagerKind::Dnf;

fn definitions(dir: &Path) -> Vec<String> {
    Places::of(PLACES).definitions(&Disk::new(dir))
}

#[test]
fn only_ours_stays_and_everything_comes_back() {
    let dir = host();
    let before = picture(dir.path());
    let disk = Disk::new(dir.path());
    let mut kept = kept(dir.path());
    take(&disk, &mut kept, Places::of(PLACES)).expect("taken");
    assert_eq!(definitions(dir.path()), ["/etc/yum.repos.d/drydock.repo"]);
    assert!(dir.path().join("etc/yum.repos.d/base.repo.drydock-backup").exists());
    assert_eq!(fs::read(dir.path().join("etc/yum.repos.d/taken.repo.drydock-backup-2")).expect("numbered"), b"[taken]");
    let dry = Disk::dry(dir.path());
    take(&dry, &mut kept, Places::of(PLACES)).expect("looked");
    assert_eq!(dry.changes(), 0, "a second look has nothing to do");
    assert!(restore(&disk, &mut kept).expect("restored").is_empty());
    assert_eq!(picture(dir.path()), before);
    assert!(kept.journal.taken.is_empty());
}

/// Ends takeover before each of its steps, and the restore after it before each of its steps: in the end the host is
/// what it was.
#[test]
fn a_kill_at_any_point_loses_nothing() {
    let mut ends = 0;
    for take_steps in 0..=STEPS_MAX {
        assert!(take_steps < STEPS_MAX, "it never ends");
        let mut took_all = false;
        for restore_steps in 0..=STEPS_MAX {
            assert!(restore_steps < STEPS_MAX, "it never ends");
            let dir = host();
            let before = picture(dir.path());
            let mut first = kept(dir.path());
            took_all = take(&Disk::dying_after(dir.path(), take_steps), &mut first, Places::of(PLACES)).is_ok();
            // Another process goes on with what the disk holds.
            let mut second = kept(dir.path());
            let ended = restore(&Disk::dying_after(dir.path(), restore_steps), &mut second).is_err();
            let mut third = kept(dir.path());
            restore(&Disk::new(dir.path()), &mut third).expect("restored");
            assert_eq!(picture(dir.path()), before, "ended after {take_steps} and {restore_steps} steps");
            ends += 1;
            if !ended {
                break;
            }
        }
        if took_all {
            break;
        }
    }
    assert!(ends > 100, "{ends} ends were tried");
}

#[test]
fn a_kill_during_takeover_is_mended_by_the_next_look() {
    for steps in 0..=STEPS_MAX {
        assert!(steps < STEPS_MAX, "it never ends");
        let dir = host();
        let disk = Disk::new(dir.path());
        let done = take(&Disk::dying_after(dir.path(), steps), &mut kept(dir.path()), Places::of(PLACES)).is_ok();
        take(&disk, &mut kept(dir.path()), Places::of(PLACES)).expect("taken");
        assert_eq!(definitions(dir.path()), ["/etc/yum.repos.d/drydock.repo"], "ended after {steps} steps");
        if done {
            break;
        }
    }
}

/// A package's update writes its file again and again; the operator's file of before comes back all the same.
#[test]
fn a_definition_that_appears_again_is_kept_beside() {
    for steps in 0..=STEPS_MAX {
        assert!(steps < STEPS_MAX, "it never ends");
        let dir = host();
        let before = picture(dir.path());
        let disk = Disk::new(dir.path());
        let repos = dir.path().join("etc/yum.repos.d");
        take(&disk, &mut kept(dir.path()), Places::of(PLACES)).expect("taken");
        for content in ["second", "third"] {
            fs::write(repos.join("base.repo"), content).expect("written");
            let _ = take(&Disk::dying_after(dir.path(), steps), &mut kept(dir.path()), Places::of(PLACES));
            take(&disk, &mut kept(dir.path()), Places::of(PLACES)).expect("taken");
            assert_eq!(definitions(dir.path()), ["/etc/yum.repos.d/drydock.repo"]);
        }
        // Written as it was before: no news for anybody.
        fs::write(repos.join("epel.repo"), [0xff, 0x00]).expect("written");
        // Appeared, and nobody looked since.
        fs::write(repos.join("base.repo"), "newest").expect("written");
        let died = restore(&Disk::dying_after(dir.path(), steps), &mut kept(dir.path())).is_err();
        restore(&disk, &mut kept(dir.path())).expect("restored");
        let mut after = picture(dir.path());
        let newest = after.remove("etc/yum.repos.d/base.repo.drydock-new").expect("kept");
        assert_eq!(newest.4, b"newest", "ended after {steps} steps");
        assert_eq!(after, before, "ended after {steps} steps");
        if !died {
            break;
        }
    }
}

#[test]
fn a_lost_journal_is_rebuilt_and_a_lost_backup_is_told() {
    let dir = host();
    fs::remove_file(dir.path().join("etc/yum.repos.d/taken.repo.drydock-backup")).expect("removed");
    let before = picture(dir.path());
    let disk = Disk::new(dir.path());
    take(&disk, &mut kept(dir.path()), Places::of(PLACES)).expect("taken");
    fs::write(dir.path().join("state/journal"), "torn").expect("written");
    let mut lost = Kept::read(&dir.path().join("state/journal"));
    assert!(lost.problem.is_some());
    rebuild(&disk, &mut lost, Places::of(PLACES)).expect("rebuilt");
    fs::remove_file(dir.path().join("etc/yum.repos.d/epel.repo.drydock-backup")).expect("removed");
    let findings = restore(&disk, &mut lost).expect("restored");
    assert!(findings.len() == 1 && findings[0].subject == "/etc/yum.repos.d/epel.repo", "{findings:?}");
    let mut expected = before;
    expected.remove("etc/yum.repos.d/epel.repo");
    assert_eq!(picture(dir.path()), expected);
}

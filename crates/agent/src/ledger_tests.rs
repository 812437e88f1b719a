//! Tests of the ledger: corruption, crashes between two writes, a full disk, bounds.

use super::*;
use crate::task::order::new_entry;
use crate::task::order::tests::order;
use drydock_domain::patch::task::TaskState;

fn entry(number: u64) -> Entry {
    new_entry(order(number), "boot", Timestamp::UNIX_EPOCH)
}

fn finished(number: u64) -> Entry {
    let mut e = entry(number);
    e.state = State::Finished { state: TaskState::Succeeded, message: String::new() };
    e.report.seq = 9;
    e
}

fn open(dir: &tempfile::TempDir) -> Ledger {
    Ledger::open(dir.path()).expect("opened")
}

#[test]
fn what_was_saved_is_there_after_a_restart_and_the_number_stays_for_ever() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ledger = open(&dir);
    ledger.take(entry(7)).expect("taken");
    let mut moved = entry(7);
    moved.state = State::Plan;
    ledger.save(moved.clone()).expect("saved");
    let mut again = open(&dir);
    assert_eq!(again.get(moved.id()), Some(&moved));
    assert_eq!(again.unfinished(), [moved.id()]);
    again.forget(moved.id()).expect("forgotten");
    let empty = open(&dir);
    assert_eq!((empty.entries().count(), empty.number()), (0, 7));
}

#[test]
fn every_truncation_and_every_changed_byte_is_set_aside() {
    let dir = tempfile::tempdir().expect("a directory");
    open(&dir).take(entry(7)).expect("taken");
    let path = dir.path().join(format!("{}.task", entry(7).id()));
    let whole = fs::read(&path).expect("read");
    let mut damaged: Vec<Vec<u8>> = (0..whole.len()).step_by(37).map(|n| whole[..n].to_vec()).collect();
    damaged.extend((0..whole.len() - 1).step_by(41).map(|n| {
        let mut bytes = whole.clone();
        bytes[n] ^= 1;
        bytes
    }));
    for bytes in damaged {
        fs::write(&path, &bytes).expect("written");
        let ledger = open(&dir);
        assert_eq!(ledger.entries().count(), 0);
        assert_eq!(ledger.problems().len(), 1);
        assert!(ledger.problems()[0].contains("set aside"));
        assert_eq!(ledger.number(), 7, "the number is its own file");
        assert!(path.with_extension("task.corrupt").exists() && !path.exists());
    }
    // The evidence is bounded too.
    for i in 0..30 {
        fs::write(dir.path().join(format!("{i}.task.corrupt")), "").expect("written");
    }
    open(&dir);
    let left =
        fs::read_dir(dir.path()).expect("listed").flatten().filter(|e| e.path().extension().is_some_and(|x| x == "corrupt"));
    assert!(left.count() <= CORRUPT_KEPT_MAX);
}

#[test]
fn a_damaged_number_file_falls_back_to_the_entries() {
    let dir = tempfile::tempdir().expect("a directory");
    open(&dir).take(entry(7)).expect("taken");
    fs::write(dir.path().join(NUMBER_FILE), "garbage").expect("written");
    let ledger = open(&dir);
    assert_eq!((ledger.number(), ledger.problems().len()), (7, 1));
}

#[test]
fn a_crash_between_write_and_rename_leaves_the_old_entry() {
    let dir = tempfile::tempdir().expect("a directory");
    open(&dir).take(entry(7)).expect("taken");
    let half = dir.path().join(format!("{}.task.tmp", entry(7).id()));
    fs::write(&half, "half").expect("written");
    let ledger = open(&dir);
    assert_eq!(ledger.get(entry(7).id()), Some(&entry(7)));
    assert!(!half.exists());
}

#[test]
fn final_reports_wait_until_stored_and_within_a_bound() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ledger = open(&dir);
    ledger.take(entry(1)).expect("taken");
    ledger.save(finished(1)).expect("saved");
    assert_eq!(ledger.outbox().len(), 1);
    ledger.stored(finished(1).id(), 8).expect("an older one is stored");
    assert_eq!(open(&dir).outbox().len(), 1);
    ledger.stored(finished(1).id(), 9).expect("stored");
    assert_eq!(open(&dir).entries().count(), 0);
    for n in 2..(OUTBOX_MAX as u64 + 12) {
        ledger.take(entry(n)).expect("taken");
        ledger.save(finished(n)).expect("saved");
    }
    assert_eq!(ledger.prune().len(), 10);
    assert_eq!(open(&dir).outbox().first().map(|r| r.task), Some(finished(12).id()), "the oldest went");
}

/// A real full disk: a tmpfs of a few pages. Needs root and mount(2); without them there is nothing to test on.
#[test]
fn a_full_disk_refuses_an_order_and_keeps_the_old_entry() {
    let dir = tempfile::tempdir().expect("a directory");
    let mount =
        |args: &[&str]| std::process::Command::new("mount").args(args).arg(dir.path()).output().is_ok_and(|o| o.status.success());
    if !mount(&["-t", "tmpfs", "-o", "size=64k", "none"]) {
        eprintln!("no tmpfs can be mounted here: not tested");
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        let mut ledger = open(&dir);
        ledger.take(entry(1)).expect("taken");
        // Fill the disk to the last byte.
        let mut filler = Vec::new();
        while fs::write(dir.path().join("filler"), &filler).is_ok() {
            filler.extend([0u8; 1024]);
        }
        assert!(matches!(ledger.take(entry(2)), Err(LedgerError::File { .. })));
        let mut moved = entry(1);
        moved.state = State::Plan;
        moved.report.message = "m".repeat(8192);
        assert!(ledger.save(moved.clone()).is_err());
        assert_eq!(ledger.get(entry(1).id()), Some(&entry(1)));
        assert_eq!(open(&dir).get(entry(1).id()), Some(&entry(1)), "the old form is whole");
        ledger.keep_unsaved(moved.clone());
        fs::remove_file(dir.path().join("filler")).expect("freed");
        ledger.retry_unsaved();
        assert_eq!(open(&dir).get(entry(1).id()), Some(&moved));
        ledger.take(entry(2)).expect("taken now");
    });
    let _ = std::process::Command::new("umount").arg(dir.path()).status();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

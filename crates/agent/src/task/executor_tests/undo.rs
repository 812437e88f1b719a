//! An undo ends well only when the package database shows every package of its order as before.

use drydock_domain::patch::undo::{UndoAction, UndoOrder};

use super::*;

fn back(name: &str, now: &str, before: &str) -> UndoAction {
    UndoAction {
        name: name.into(),
        arch: "x".into(),
        now: Some(now.into()),
        before: Some(before.into()),
        purge: false,
        mark: None,
    }
}

fn case(actions: Vec<UndoAction>) -> Case {
    Case::new(World::new(), |e| e.order.task.config.undo = Some(UndoOrder { actions, files: vec![] }))
}

#[test]
fn what_is_not_as_before_fails_the_undo_by_name() {
    quiet_panics();
    let report = case(vec![back("kernel", "1", "2"), back("libc", "1", "2")]).finish(None);
    assert_eq!((report.state, report.message.as_str()), (TaskState::Succeeded, "taken back and verified"));
    let report = case(vec![back("libc", "1", "2"), back("vim", "2", "1")]).finish(None);
    assert_eq!(report.state, TaskState::Failed);
    assert_eq!(report.message, "not taken back: vim.x is not installed, before the task it was 1");
}

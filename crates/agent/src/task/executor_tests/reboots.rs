//! When a host is rebooted, and when not.

use super::*;

#[test]
fn a_host_that_always_asks_is_rebooted_five_times_and_no_more() {
    quiet_panics();
    let case = Case::new(World { always_asks: true, asks_reboot: true, ..World::new() }, |_| ());
    let report = case.finish(None);
    assert_eq!((report.state, report.reboots, case.world().reboots), (TaskState::Failed, REBOOTS_MAX, REBOOTS_MAX));
    assert!(report.message.contains("5 reboots"), "{}", report.message);
    assert_eq!(report.reboot_reasons, ["kernel 2 is installed"]);
}

#[test]
fn never_means_never_and_says_so() {
    let case = Case::new(World::new(), |e| e.order.task.config.reboot_config = RebootConfig::Never);
    let report = case.finish(None);
    assert_eq!((report.state, case.world().reboots), (TaskState::SucceededRebootRequired, 0));
}

#[test]
fn always_means_once_even_if_the_host_does_not_ask() {
    quiet_panics();
    let case = Case::new(World { available: BTreeMap::new(), ..World::new() }, |e| {
        e.order.task.config.reboot_config = RebootConfig::Always
    });
    let report = case.finish(None);
    assert_eq!((report.state, report.reboots), (TaskState::Succeeded, 1));
}

#[test]
fn a_reboot_that_does_not_come_fails_with_its_reason() {
    let case = Case::new(World { reboot_does_nothing: true, ..World::new() }, |_| ());
    let report = case.finish(None);
    assert_eq!(report.state, TaskState::Failed);
    assert!(report.message.contains("no effect within 1 s"), "{}", report.message);
}

//! Maintenance windows and reboot slots: nothing is begun outside, nothing is rebooted without.

use drydock_domain::work::{Interval, OrderWindows};

use super::*;
use crate::ledger::Entry;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("in range")
}

/// The host's window in seconds; the clock begins at 150.
fn open(entry: &mut Entry, intervals: &[(i64, i64)]) {
    let intervals = intervals.iter().map(|(from, to)| Interval { from: at(*from), to: at(*to) }).collect();
    entry.order.task.windows = Some(OrderWindows { name: "nights".into(), intervals });
}

/// Did everything begin while the window was open?
fn within(world: &World, intervals: &[(i64, i64)]) -> bool {
    world.changed_at.iter().all(|(_, ms)| intervals.iter().any(|(from, to)| (from * 1000..to * 1000).contains(ms)))
}

#[test]
fn nothing_is_begun_before_the_window_opens() {
    quiet_panics();
    let nights = [(1000, 2000)];
    let case = Case::new(World::new(), |e| open(e, &nights));
    let report = case.finish(None);
    assert_eq!((report.state, report.message.as_str()), (TaskState::Succeeded, "patched and verified"));
    let world = case.world();
    assert!(within(&world, &nights), "{:?}", world.changed_at);
    assert_eq!(world.changed_at.first(), Some(&("script", 1_000_000)), "at once when it opens");
    assert_eq!(*case.waited_for.borrow(), ["waits for its maintenance window nights, which opens at 1970-01-01T00:16:40Z"]);
    let looks = report.seq;
    assert!(looks < 30, "a wait is told once: {looks} reports");
}

#[test]
fn an_order_may_wait_longer_than_it_may_lie_about() {
    let case = Case::new(World::new(), |e| {
        assert!(e.order.start_before < at(1000));
        open(e, &[(1000, 2000)]);
    });
    assert_eq!(case.finish(None).state, TaskState::Succeeded);
}

#[test]
fn a_window_that_closes_holds_the_transaction_until_the_next_one_and_the_plan_is_made_anew() {
    quiet_panics();
    let nights = [(100, 200), (1000, 2000)];
    // Repair, refresh and plan take so long that the window closes.
    let case = Case::new(World { act_ms: 20_000, ..World::new() }, |e| {
        open(e, &nights);
        e.order.task.config.pre_step = None;
    });
    let report = case.finish(None);
    assert_eq!(report.state, TaskState::Succeeded, "{}", report.message);
    let world = case.world();
    assert!(within(&world, &nights), "{:?}", world.changed_at);
    assert_eq!(world.refreshes, 3, "before the wait, after it, after the reboot");
    assert_eq!(report.plans.len(), 2, "the plan of before the wait is gone");
    use StepKind::{Apply, Plan, PostStep, Reboot, Refresh, Verify};
    let steps: Vec<StepKind> = report.steps.iter().map(|s| s.step).collect();
    assert_eq!(steps, [Refresh, Plan, Apply, Verify, Reboot, Refresh, Plan, PostStep]);
}

#[test]
fn a_repair_that_would_begin_after_the_close_waits() {
    quiet_panics();
    let nights = [(100, 200), (1000, 2000)];
    // The pre-step takes so long that the window closes.
    let case = Case::new(World { act_ms: 20_000, half: true, ..World::new() }, |e| open(e, &nights));
    let report = case.finish(None);
    let world = case.world();
    assert!(within(&world, &nights) && world.changed_at.iter().any(|(what, _)| *what == "repair"), "{:?}", world.changed_at);
    assert_eq!((report.state, world.refreshes), (TaskState::Succeeded, 2), "{}", report.message);
    assert_eq!(world.scripts, [StepKind::PreStep, StepKind::PostStep]);
}

#[test]
fn a_reboot_that_would_begin_after_the_close_waits() {
    quiet_panics();
    let nights = [(100, 400), (1000, 2000)];
    let case = Case::new(World { act_ms: 25_000, ..World::new() }, |e| open(e, &nights));
    let report = case.finish(None);
    let world = case.world();
    let reboot = world.changed_at.iter().find(|(what, _)| *what == "reboot").expect("rebooted").1;
    let apply = world.changed_at.iter().find(|(what, _)| *what == "apply").expect("applied").1;
    assert!(apply < 400_000 && reboot >= 1_000_000, "{:?}", world.changed_at);
    assert_eq!((report.state, report.reboots), (TaskState::Succeeded, 1), "{}", report.message);
}

#[test]
fn a_transaction_that_was_begun_is_brought_to_its_end_after_the_close() {
    quiet_panics();
    for power_loss in [false, true] {
        // The transaction begins at 190 s and is interrupted at 210.
        let world = World { act_ms: 10_000, die_at: Some(6), power_loss, ..World::new() };
        let case = Case::new(world, |e| {
            open(e, &[(100, 205)]);
            (e.order.task.config.pre_step, e.order.task.config.reboot_config) = (None, RebootConfig::Never);
        });
        let report = case.finish(None);
        assert_eq!(case.world().installed.values().collect::<Vec<_>>(), [&2, &2], "power loss {power_loss}");
        assert!(report.state.is_success(), "power loss {power_loss}: {}", report.message);
    }
}

#[test]
fn when_the_last_window_is_over_the_task_ends_and_says_so() {
    for (intervals, begins) in
        [(&[(10, 20)][..], "before anything was begun"), (&[(10, 155)], "before REPAIR"), (&[(10, 160)], "before APPLY")]
    {
        let case = Case::new(World { act_ms: 3_000, ..World::new() }, |e| open(e, intervals));
        let report = case.finish(None);
        let words = format!("stopped because the host's maintenance window does not open again {begins}");
        assert_eq!((report.state, report.message), (TaskState::Canceled, words));
        assert!(case.world().installs.is_empty());
    }
}

#[test]
fn deadline_and_wish_end_a_wait() {
    let case = Case::new(World::new(), |e| {
        open(e, &[(5000, 6000)]);
        e.order.task.deadline = Some(at(400));
    });
    let report = case.finish(None);
    assert_eq!(report.message, "stopped because the job's duration ended before anything was begun");
    assert!((400_000..=401_000).contains(&case.world().now_ms), "at the deadline: {}", case.world().now_ms);

    let case = Case::new(World::new(), |e| open(e, &[(5000, 6000)]));
    let ledger = Mutex::new(Ledger::open(case.dir.path()).expect("opened"));
    assert!(matches!(case.execute(&ledger), Ok(Ran::Waits { acted: true, .. })));
    assert!(matches!(case.execute(&ledger), Ok(Ran::Waits { acted: false, .. })), "a look does nothing");
    case.control.tell(order(1).task.task, Directive::Stop);
    assert_eq!(case.execute(&ledger).expect("ends"), Ran::Finished);
    assert_eq!(case.world().changed_at, []);
}

#[test]
fn a_clock_that_is_set_is_noticed_within_half_a_minute() {
    let case = Case::new(World::new(), |e| {
        open(e, &[(1_000_000, 1_000_500)]);
        e.order.task.config.reboot_config = RebootConfig::Never;
    });
    let ledger = Mutex::new(Ledger::open(case.dir.path()).expect("opened"));
    let Ok(Ran::Waits { again, .. }) = case.execute(&ledger) else { panic!("it does not wait") };
    assert!(again <= Duration::from_secs(30) && again > Duration::from_secs(1), "{again:?}");
    case.world().now_ms = 1_000_499_700;
    assert_eq!(case.execute_on(&ledger).expect("ends"), Ran::Finished);
    assert_eq!(case.world().changed_at.first(), Some(&("script", 1_000_499_700)));
}

#[test]
fn dry_runs_and_downloads_wait_for_no_window() {
    for download in [true, false] {
        let case = Case::new(World::new(), |e| {
            open(e, &[(5000, 6000)]);
            let config = &mut e.order.task.config;
            (config.download_only, config.pre_step, config.post_step) = (download, None, None);
            e.order.task.dry_run = !download;
        });
        assert_eq!(case.finish(None).state, TaskState::Succeeded);
        let world = case.world();
        assert_eq!((world.now_ms, world.changed_at.len()), (150_000, 0));
    }
}

#[test]
fn no_reboot_without_a_slot() {
    quiet_panics();
    let case = Case::new(World::new(), |e| e.order.task.reboot_slot = true);
    case.refusals.set(3);
    let report = case.finish(None);
    assert_eq!((report.state, report.reboots), (TaskState::Succeeded, 1));
    assert_eq!(
        *case.waited_for.borrow(),
        ["waits for a reboot slot; the server has not answered yet", "waits for a reboot slot of group db: held by db1",]
    );
    assert_eq!((case.refusals.get(), case.slots.next_due()), (0, None));

    let silent = Case::new(World::new(), |e| {
        e.order.task.reboot_slot = true;
        e.order.task.deadline = Some(at(3600));
    });
    silent.refusals.set(u32::MAX);
    let report = silent.finish(None);
    assert_eq!(report.message, "stopped because the job's duration ended before REBOOT; the updates are installed");
    let world = silent.world();
    assert_eq!((world.reboots, world.installs.len()), (0, 2));
}

#[test]
fn a_host_that_somebody_else_rebooted_needs_no_slot() {
    let case = Case::new(World::new(), |e| e.order.task.reboot_slot = true);
    let ledger = Mutex::new(Ledger::open(case.dir.path()).expect("opened"));
    assert!(matches!(case.execute(&ledger), Ok(Ran::Waits { .. })));
    case.world().go_down();
    assert_eq!(case.execute(&ledger).expect("ends"), Ran::Finished);
    assert_eq!(case.world().reboots, 0);
}

#[test]
fn killed_anywhere_windows_and_slots_are_kept_and_the_end_is_the_same() {
    quiet_panics();
    let nights = [(300, 1000), (2000, 9000)];
    let new = |die_at, power_loss| {
        let case = Case::new(World { die_at, power_loss, act_ms: 5_000, ..World::new() }, |e| {
            open(e, &nights);
            e.order.task.reboot_slot = true;
        });
        case.refusals.set(40);
        case
    };
    let quiet = new(None, false);
    let wanted = essence(&quiet.finish(None));
    assert_eq!(wanted.0, TaskState::Succeeded, "{}", wanted.1);
    let acts = quiet.world().acts;
    for die_at in (1..=acts).map(Some) {
        for power_loss in [false, true] {
            let case = new(die_at, power_loss);
            let report = case.finish(None);
            assert!(within(&case.world(), &nights), "killed in action {die_at:?}: {:?}", case.world().changed_at);
            if !report.message.contains("never run twice") {
                assert_eq!(report.state, TaskState::Succeeded, "killed in action {die_at:?}: {}", report.message);
            }
        }
    }
    for saves in 0..40 {
        let case = new(None, false);
        assert_eq!(essence(&case.finish(Some(saves))), wanted, "killed at save {saves}");
        assert!(within(&case.world(), &nights), "killed at save {saves}: {:?}", case.world().changed_at);
        assert_eq!(case.world().scripts, [StepKind::PreStep, StepKind::PostStep], "killed at save {saves}");
    }
}

//! The real runner against real processes that misbehave.

use std::time::{Duration, Instant};

use drydock_pkgmgr::run::{CommandSpec, End, Finished, RunError, Runner, SystemRunner};

fn sh(script: &str, limit: Duration) -> CommandSpec {
    CommandSpec::new("sh", "test", limit).args(["-c", script])
}

fn run(spec: &CommandSpec) -> Finished {
    SystemRunner::new().run(spec).expect("runs")
}

const LONG: Duration = Duration::from_secs(60);

/// Waits until `condition` holds, at most ten seconds.
fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::yield_now();
    }
}

fn alive(pid: &str) -> bool {
    // A zombie has no command line.
    std::fs::read(format!("/proc/{}/cmdline", pid.trim())).is_ok_and(|c| !c.is_empty())
}

#[test]
fn output_exit_code_and_streams_are_told_apart() {
    let finished = run(&sh("echo out; echo err >&2; exit 3", LONG));
    assert_eq!(finished.end, End::Exited(3));
    assert_eq!((finished.stdout.text().as_str(), finished.stderr.text().as_str()), ("out\n", "err\n"));
    assert!(finished.stdout.complete());
}

#[test]
fn merged_streams_keep_their_order_also_through_a_file() {
    for spec in [sh("echo 1; echo 2 >&2; echo 3", LONG).mutating(), {
        let mut spec = sh("echo 1; echo 2 >&2; echo 3", LONG);
        spec.merge_stderr = true;
        spec
    }] {
        assert_eq!(run(&spec).output().head, "1\n2\n3\n");
    }
}

#[test]
fn the_environment_is_clean_and_fixed() {
    let finished = run(&CommandSpec::new("env", "env", LONG).env("GIVEN", "yes"));
    let text = finished.stdout.text();
    let has = |line: &str| text.lines().any(|l| l == line);
    assert!(has("DEBIAN_FRONTEND=noninteractive") && has("HOME=/root") && has("GIVEN=yes"), "{text}");
    assert!(text.lines().any(|l| l == "LC_ALL=C.UTF-8" || l == "LC_ALL=C"));
    assert!(!text.contains("CARGO"), "the environment of the test run leaks: {text}");
}

#[test]
fn standard_input_reaches_the_command_and_may_be_ignored() {
    let big = vec![b'x'; 1_000_000];
    let counted = run(&sh("wc -c", LONG).stdin(big.clone()));
    assert_eq!(counted.stdout.text().trim(), "1000000");
    assert!(run(&sh("exec <&-; exit 0", LONG).stdin(big)).success());
}

#[test]
fn a_command_that_never_ends_is_killed_with_its_children() {
    let began = Instant::now();
    // It ignores TERM, so that the second step is needed.
    let finished = run(&sh("trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000", Duration::from_millis(300)));
    assert_eq!(finished.end, End::TimedOut);
    assert!(began.elapsed() < Duration::from_secs(9), "took {:?}", began.elapsed());
    let child = finished.stdout.text();
    until("the death of the child", || !alive(&child));
}

#[test]
fn a_flood_is_bounded_and_does_not_stop_the_clock() {
    let finished = run(&sh("yes floodfloodfloodflood", Duration::from_secs(1)));
    assert_eq!(finished.end, End::TimedOut);
    assert!(!finished.stdout.complete());
    assert!(finished.stdout.text().len() < 17 * 1024 * 1024);
    let output = finished.output();
    assert_eq!((output.head.len(), output.tail.len()), (32 * 1024, 32 * 1024));
    assert!(output.dropped_bytes > 1024 * 1024);
}

#[test]
fn a_flood_into_a_file_is_bounded_too() {
    let finished = run(&sh("yes floodfloodfloodflood | head -c 60000000; echo the end", LONG).mutating());
    assert!(finished.success());
    assert!(finished.output().tail.ends_with("the end\n"));
}

#[test]
fn a_process_left_in_the_background_with_open_pipes_does_not_hang_us() {
    let began = Instant::now();
    let finished = run(&sh("sleep 1000 & echo $!", LONG));
    assert_eq!(finished.end, End::Exited(0));
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
    let left = finished.stdout.text();
    until("the death of the process that held our pipe", || !alive(&left));
}

#[test]
fn a_background_process_that_left_the_group_is_left_behind_after_a_bounded_wait() {
    let began = Instant::now();
    let finished = run(&sh("setsid sh -c 'echo $$; exec sleep 30' & exit 0", LONG));
    assert_eq!(finished.end, End::Exited(0));
    assert!(began.elapsed() < Duration::from_secs(15), "took {:?}", began.elapsed());
    let pid = finished.stdout.text().trim().parse().expect("a pid");
    let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid).expect("a pid"), rustix::process::Signal::KILL);
}

#[test]
fn a_daemon_that_closed_its_streams_may_live_on() {
    let finished = run(&sh("sleep 30 >/dev/null 2>&1 </dev/null & echo $!", LONG));
    assert!(finished.wall < Duration::from_secs(2), "took {:?}", finished.wall);
    let pid = finished.stdout.text();
    assert!(alive(&pid));
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().expect("a pid")).expect("a pid");
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

#[test]
fn a_command_whose_child_kills_it_is_reported_as_such() {
    let finished = run(&sh("(kill -9 $$); sleep 5", LONG));
    assert_eq!((finished.end, finished.exit_code), (End::Signaled(9), None));
}

#[test]
fn the_kill_switch_ends_the_running_command_from_another_thread() {
    let runner = SystemRunner::new();
    let switch = runner.kill_switch();
    assert!(!switch.kill(), "nothing runs yet");
    let other = switch.clone();
    let thread = std::thread::spawn(move || until("a running command", || other.kill()));
    let finished = runner.run(&sh("sleep 1000", LONG)).expect("runs");
    thread.join().expect("joined");
    assert_eq!(finished.end, End::Killed);
    assert!(finished.wall < Duration::from_secs(10));
    assert!(runner.run(&sh("true", LONG)).expect("runs").success(), "the switch is spent");
}

#[test]
fn a_missing_program_is_named() {
    let error = SystemRunner::new().run(&CommandSpec::new("no-such-program-here", "x", LONG)).expect_err("not there");
    assert!(matches!(error, RunError::NotFound { .. }) && error.to_string().contains("no-such-program-here"));
}

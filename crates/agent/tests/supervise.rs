//! Commands that outlive the agent, with real processes: every way a command, its supervisor or the agent may die.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drydock_agent::detached::{DetachedRunner, Fate};
use drydock_agent::platform;
use drydock_agent::task::control::Control;
use drydock_domain::ids::TaskId;
use drydock_domain::work::Directive;
use drydock_pkgmgr::run::{CommandSpec, End, Finished, Runner};
use uuid::Uuid;

const PROGRAM: &str = env!("CARGO_BIN_EXE_drydock-agent");
const PATIENCE: Duration = Duration::from_secs(30);

fn task() -> TaskId {
    TaskId(Uuid::from_u128(1))
}

fn runner(control: &Control, dir: &Path) -> DetachedRunner {
    DetachedRunner::new(PathBuf::from(PROGRAM), control.clone(), task(), dir.to_owned())
}

fn shell(script: &str) -> CommandSpec {
    CommandSpec::new("sh", "test", Duration::from_secs(60)).args(["-c", script]).mutating()
}

fn ended(fate: Fate) -> Finished {
    match fate {
        Fate::Ended(finished) => finished,
        other => panic!("{other:?}"),
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn lives(pid: i32) -> bool {
    platform::process_start_ticks(pid).is_some_and(|start| !platform::process_is_over(pid, start))
}

fn pid_in(file: &Path) -> i32 {
    let mut pid = None;
    until("a process id is written", || {
        pid = std::fs::read_to_string(file).ok().and_then(|t| t.trim().parse().ok());
        pid.is_some()
    });
    pid.expect("read")
}

#[test]
fn output_and_exit_code_come_through() {
    let dir = tempfile::tempdir().expect("a directory");
    let done = runner(&Control::default(), dir.path()).run(&shell("echo out; echo err >&2; exit 3")).expect("run");
    assert_eq!((done.end, done.exit_code), (End::Exited(3), Some(3)));
    assert_eq!(done.stdout.text(), "out\nerr\n");
}

#[test]
fn a_program_that_is_not_there_is_told_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let spec = CommandSpec::new("no-such-program", "test", Duration::from_secs(5)).mutating();
    let err = runner(&Control::default(), dir.path()).run(&spec).expect_err("refused");
    assert!(err.to_string().contains("not installed"), "{err}");
}

#[test]
fn a_command_that_never_ends_is_ended_at_its_limit_with_what_it_left_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let pid_file = dir.path().join("pid");
    let script = format!("setsid sleep 1000 & echo $! >{}; trap '' TERM; while :; do sleep 1; done", pid_file.display());
    let mut spec = shell(&script);
    spec.time_limit = Duration::from_secs(1);
    let done = runner(&Control::default(), dir.path()).run(&spec).expect("run");
    assert_eq!(done.end, End::TimedOut);
    assert!(!lives(pid_in(&pid_file)), "the background process is gone too");
}

#[test]
fn a_flood_is_cut() {
    let dir = tempfile::tempdir().expect("a directory");
    let done = runner(&Control::default(), dir.path()).run(&shell("echo first; yes | head -c 40000000; echo last")).expect("run");
    let text = done.stdout.text();
    assert!(done.success() && text.len() < 1_200_000, "{}", text.len());
    assert!(text.starts_with("first\n") && text.ends_with("last\n") && text.contains("bytes not kept"));
}

#[test]
fn kill_ends_the_command_and_its_background_children() {
    let dir = tempfile::tempdir().expect("a directory");
    let control = Control::default();
    let pid_file = dir.path().join("pid");
    let (c, d, script) =
        (control.clone(), dir.path().to_owned(), format!("setsid sleep 1000 & echo $! >{}; sleep 1000", pid_file.display()));
    let running = std::thread::spawn(move || {
        let runner = runner(&c, &d);
        runner.arm(true);
        runner.run(&shell(&script))
    });
    let background = pid_in(&pid_file);
    assert!(lives(background));
    control.tell(task(), Directive::Kill);
    let done = running.join().expect("joined").expect("run");
    assert_eq!(done.end, End::Killed);
    until("the background child is gone", || !lives(background));
}

#[test]
fn without_being_armed_kill_waits() {
    let dir = tempfile::tempdir().expect("a directory");
    let control = Control::default();
    control.tell(task(), Directive::Kill);
    let done = runner(&control, dir.path()).run(&shell("echo repaired")).expect("run");
    assert!(done.success(), "repairing runs although the task was killed");
}

#[test]
fn a_command_that_kills_its_supervisor_is_waited_for_and_told_as_vanished() {
    let dir = tempfile::tempdir().expect("a directory");
    let marker = dir.path().join("marker");
    let runner = runner(&Control::default(), dir.path());
    let err = runner.run(&shell(&format!("kill -KILL $PPID; sleep 1; echo done >{}", marker.display()))).expect_err("vanished");
    assert!(runner.vanished(), "{err}");
    assert!(marker.exists(), "the command came to its end first");
}

#[test]
fn a_killed_supervisor_does_not_tear_the_command() {
    let dir = tempfile::tempdir().expect("a directory");
    let control = Control::default();
    let (place, marker) = (dir.path().join("place"), dir.path().join("marker"));
    let (c, p, script) = (control.clone(), place.clone(), format!("sleep 2; echo once >>{}", marker.display()));
    let running = std::thread::spawn(move || runner(&c, &p).run_in(&p, &shell(&script)));
    until("the command runs", || place.join("leader").exists());
    let supervisor = pid_in(&place.join("started"));
    assert!(std::process::Command::new("kill").args(["-KILL", &supervisor.to_string()]).status().expect("run").success());
    let fate = running.join().expect("joined").expect("known");
    assert!(matches!(fate, Fate::Vanished(_)), "{fate:?}");
    assert_eq!(std::fs::read_to_string(&marker).expect("written"), "once\n");
    // Taken up once more, the answer is the same and nothing runs.
    let again = runner(&control, &place).run_in(&place, &shell("exit 0")).expect("known");
    assert!(matches!(again, Fate::Vanished(_)), "{again:?}");
}

#[test]
fn a_new_agent_takes_up_what_the_old_one_started() {
    let dir = tempfile::tempdir().expect("a directory");
    let (place, marker) = (dir.path().join("place"), dir.path().join("marker"));
    let spec = Arc::new(shell(&format!("echo run >>{}; sleep 2; echo result", marker.display())));
    let (p, s) = (place.clone(), Arc::clone(&spec));
    let old = std::thread::spawn(move || runner(&Control::default(), &p).run_in(&p, &s));
    until("the command runs", || marker.exists());
    let new = ended(runner(&Control::default(), &place).run_in(&place, &spec).expect("known"));
    assert_eq!(new.stdout.text(), "result\n");
    assert_eq!(ended(old.join().expect("joined").expect("known")).stdout.text(), "result\n");
    let later = ended(runner(&Control::default(), &place).run_in(&place, &spec).expect("known"));
    assert_eq!(later.stdout.text(), "result\n");
    assert_eq!(std::fs::read_to_string(&marker).expect("written"), "run\n", "it ran once");
    let own = std::process::Command::new(PROGRAM).arg("supervise").arg(&place).output().expect("run");
    assert!(!own.status.success(), "a second supervisor refuses");
}

#[test]
fn settling_waits_for_what_survived() {
    let dir = tempfile::tempdir().expect("a directory");
    let marker = dir.path().join("marker");
    let (base, script) = (dir.path().join("base"), format!("echo begun >{0}; sleep 1; echo done >{0}", marker.display()));
    let b = base.clone();
    let old = std::thread::spawn(move || runner(&Control::default(), &b).run(&shell(&script)));
    until("the command runs", || marker.exists());
    let fate = runner(&Control::default(), &base).settle(&base).expect("settled");
    assert!(matches!(fate, Some(Fate::Ended(_))), "{fate:?}");
    assert_eq!(std::fs::read_to_string(&marker).expect("written"), "done\n");
    assert!(runner(&Control::default(), &base).settle(&dir.path().join("nothing")).expect("settled").is_none());
    drop(old.join());
}

#[test]
fn after_a_reboot_what_had_begun_is_vanished_and_what_had_not_is_run() {
    let dir = tempfile::tempdir().expect("a directory");
    let control = Control::default();
    let spec = shell("echo ran");
    let other_boot = |place: &Path, begun: bool| {
        std::fs::create_dir(place).expect("made");
        let written = drydock_agent::supervise::Spec::of(&spec, "another boot".to_owned());
        std::fs::write(place.join("spec.json"), serde_json::to_vec(&written).expect("json")).expect("written");
        if begun {
            std::fs::write(place.join("started"), "1").expect("written");
        }
    };
    let (begun, fresh) = (dir.path().join("begun"), dir.path().join("fresh"));
    other_boot(&begun, true);
    other_boot(&fresh, false);
    let fate = runner(&control, &begun).run_in(&begun, &spec).expect("known");
    assert!(matches!(&fate, Fate::Vanished(why) if why.contains("host went down")), "{fate:?}");
    assert_eq!(ended(runner(&control, &fresh).run_in(&fresh, &spec).expect("known")).stdout.text(), "ran\n");
}

#[test]
fn the_environment_is_fixed_and_the_working_directory_is_the_root() {
    let dir = tempfile::tempdir().expect("a directory");
    let spec = shell("pwd; env | cut -d= -f1 | sort | tr '\\n' ' '; echo $GIVEN").env("GIVEN", "x");
    let done = runner(&Control::default(), dir.path()).run(&spec).expect("run");
    let text = done.stdout.text();
    assert!(text.starts_with("/\n") && text.ends_with("x\n"), "{text}");
    assert!(text.contains(" PATH ") && !text.contains("CARGO"), "{text}");
}

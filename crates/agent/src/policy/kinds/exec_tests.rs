use std::time::{Duration, Instant};

use drydock_domain::policy::Evidence;
use drydock_domain::policy::host::SECRET_MARKS;

use super::super::testing::{Bench, SECRET};
use super::*;

fn exec(validate: &str, enforce: &str) -> String {
    let script = |text: &str| serde_json::json!({"interpreter": "SHELL", "script": text, "args": ["one", "two words"]});
    serde_json::json!({"id": "x", "exec": {"validate": script(validate), "enforce": script(enforce)}}).to_string()
}

#[test]
fn a_script_checks_and_another_one_repairs() {
    let bench = Bench::new();
    let flag = bench.host("/flag");
    let validate = format!("test -e {} && exit 100; echo \"$1 $2 is missing\"; exit 101", flag.display());
    let mut kind = bench.kind(&exec(&validate, &format!("touch {}; exit 100", flag.display())));
    let (_, evidence) = bench.wanting(&mut *kind);
    let Some(Evidence::Output { end, text }) = evidence else { panic!("an output") };
    assert_eq!((end.as_str(), text.as_str()), ("exit code 101", "one two words is missing\n"));
    bench.enforce(&mut *kind);
}

#[test]
fn any_other_code_is_an_error_in_the_words_operators_know() {
    let bench = Bench::new();
    let mut kind = bench.kind(&exec("echo out; echo err >&2; exit 3", "exit 0"));
    let failure = kind.check(&bench.cx()).expect_err("an error");
    assert_eq!(failure.message, "unexpected return code from validate: 3, stdout: out, stderr: err");
    let failure = kind.enforce(&bench.cx()).expect_err("an error");
    assert!(failure.message.starts_with("unexpected return code from enforce: 0"), "{failure:?}");
}

#[test]
fn the_environment_is_clean_and_the_directory_is_its_own_and_gone_afterwards() {
    let bench = Bench::new();
    let script = "ls -A; pwd; env | grep -c CARGO; echo x > left; exit 101";
    let mut kind = bench.kind(&exec(script, "exit 100"));
    for _ in 0..2 {
        let (_, Some(Evidence::Output { text, .. })) = bench.wanting(&mut *kind) else { panic!("an output") };
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() == 2 && lines[0].ends_with("/validate/work") && lines[1] == "0", "{text}");
        assert!(!Path::new(lines[0]).exists());
    }
}

#[test]
fn one_that_never_ends_is_killed_with_its_children() {
    let bench = Bench::new();
    let pid_file = bench.host("/pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", pid_file.display());
    let mut kind = bench.kind(&exec(&script, "exit 100"));
    let began = Instant::now();
    let failure = kind.check(&Cx { limit: Duration::from_millis(500), ..bench.cx() }).expect_err("too long");
    assert!(failure.timed_out && began.elapsed() < Duration::from_secs(10), "{failure:?}");
    let child: i32 = std::fs::read_to_string(pid_file).expect("a pid").trim().parse().expect("a number");
    // KILL was sent; dying takes the kernel a moment.
    let is_over = || platform::process_start_ticks(child).is_none_or(|start| platform::process_is_over(child, start));
    let latest = Instant::now() + Duration::from_secs(10);
    while !is_over() {
        assert!(Instant::now() < latest, "the child lives");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_output_file_is_reported_and_cut_at_500_kb() {
    let bench = Bench::new();
    let mut resource: serde_json::Value = serde_json::from_str(&exec("exit 101", "exit 100")).expect("json");
    resource["exec"]["enforce"]["outputFilePath"] = "/out".into();
    let mut kind = bench.kind(&resource.to_string());
    bench.put("/out", "it went well");
    assert_eq!(kind.enforce(&bench.cx()).expect("ran").output, "it went well");
    bench.put("/out", &"é".repeat(400_000));
    let output = kind.enforce(&bench.cx()).expect("ran").output;
    assert!(output.len() as u64 <= OUTPUT_MAX_BYTES && output.ends_with(OUTPUT_CUT), "{}", output.len());
}

#[test]
fn an_interpreter_is_taken_from_the_first_line_and_powershell_is_for_others() {
    let bench = Bench::new();
    let script = serde_json::json!({"interpreter": "NONE", "script": "#!/bin/sh -e\nfalse\nexit 100\n"});
    let mut kind = bench.kind(&serde_json::json!({"id": "x", "exec": {"validate": script}}).to_string());
    let failure = kind.check(&bench.cx()).expect_err("sh -e");
    assert!(failure.message.starts_with("unexpected return code from validate: 1"), "{failure:?}");
    let script = serde_json::json!({"interpreter": "POWERSHELL", "script": "exit 100"});
    let mut kind = bench.kind(&serde_json::json!({"id": "x", "exec": {"validate": script}}).to_string());
    assert!(matches!(kind.check(&bench.cx()), Ok(Found::NotApplicable(_))));
}

#[test]
fn a_script_gets_the_secret_and_nobody_else_sees_it_and_32_kib_are_fine() {
    let bench = Bench::new();
    let filler = format!("# {}\n", "x".repeat(98)).repeat(320);
    let text = format!("{filler}echo {}pw{}; exit 101", SECRET_MARKS.0, SECRET_MARKS.1);
    let (_, evidence) = bench.wanting(&mut *bench.kind(&exec(&text, "exit 100")));
    let told = format!("{evidence:?}");
    assert!(told.contains("[secret pw]") && !told.contains(SECRET), "{told}");
}

#[test]
fn what_a_script_depends_on_is_watched() {
    let bench = Bench::new();
    let mut resource: serde_json::Value = serde_json::from_str(&exec("exit 100", "exit 100")).expect("json");
    resource["exec"]["watch"] = serde_json::json!({"paths": ["/etc/x"], "units": ["httpd"], "packages": true});
    let watches = bench.kind(&resource.to_string()).watches();
    let want = [Watch::Path("/etc/x".into()), Watch::Unit("httpd.service".into()), Watch::Packages];
    assert_eq!(watches, want);
}

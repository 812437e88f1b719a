//! `cargo xtask bench drift`: how long a real booted host is other than its policy says, and what keeping it so costs when
//! nothing happens.
//!
//! 200 violations, each kind on resources of its own so that none is repaired more often than the flap limiter lets pass,
//! in an order drawn from a fixed seed. Time runs, inside the host, from before the violating command until the state is
//! right again, so the command itself counts (`systemctl stop`, `dpkg --remove`); the world is looked at every 2 ms.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drydock_testkit::lab::{Host, Root, RootKind};
use drydock_testkit::serve::{LoopbackServer, serve_dir};
use drydock_testkit::upstream::{AptArchive, DebPackage};
use drydock_testkit::wait::wait_until;
use serde_json::{Value, json};

use crate::drydock::{Drydock, Programs};
use crate::release;

/// Files, each violated twice: 120 of the 200.
const FILES: usize = 60;
/// Units, each stopped once and disabled once: 40.
const UNITS: usize = 20;
/// Kernel parameters of the host's own namespaces, each written twice: 12.
const PARAMETERS: [(&str, u64); 6] = [
    ("kernel.msgmax", 16_384),
    ("kernel.msgmnb", 32_768),
    ("kernel.msgmni", 4096),
    ("kernel.shmmni", 2048),
    ("fs.mqueue.msg_max", 20),
    ("fs.mqueue.queues_max", 300),
];
/// Packages, each removed twice: 28.
const PACKAGES: usize = 14;
/// Until the host is as the policy says for the first time, packages included.
const APPLY_LIMIT: Duration = Duration::from_secs(300);
/// Longest wait for one repair, in tenths of a second: what takes longer is not repaired.
const REPAIR_TENTHS: u32 = 300;
/// How long the quiet host is watched, seconds.
const QUIET_SECS: u64 = 60;

/// One violation: what is done, and what holds when it is repaired, both in the host's shell.
struct Violation {
    kind: &'static str,
    break_it: String,
    is_right: String,
}

/// The figures of one host.
///
/// # Errors
/// When a part cannot be built, or the host does not become as the policy says.
pub fn drift() -> Result<Value> {
    let programs = Programs::build(Some(release::agent()?))?;
    let dir = tempfile::tempdir()?;
    let packages = repository(&dir.path().join("deb"))?;
    let host = Host::start(&Root::ensure(RootKind::AptBookworm)?, "bench-drift")?;
    prepare(&host, &packages)?;
    let drydock = Drydock::start(&programs, dir.path())?;
    drydock.install_agent(&host, &drydock.enrolment_token("drift")?)?;
    let file = dir.path().join("policy.json");
    std::fs::write(&file, document().to_string())?;
    drydock.cli(&["policy", "apply", file.to_str().context("a directory whose name is not UTF-8")?])?.success()?;
    wait_until("the host is as the policy says", APPLY_LIMIT, || {
        let rows = drydock.items(&["compliance", "list", "--host", host.hostname(), "--assignment", "drift"])?;
        Ok(!rows.is_empty() && rows.iter().all(|row| row["state"] == "COMPLIANT"))
    })?;
    let mut measured = Vec::new();
    for violation in violations() {
        let taken = repair_ms(&host, &violation)?;
        if taken.is_none() {
            eprintln!("not repaired: {}", violation.break_it);
        }
        measured.push((violation.kind, taken));
    }
    let idle = idle_cpu_ms_per_min(&host)?;
    Ok(figures(&measured, idle))
}

fn figures(measured: &[(&str, Option<f64>)], idle: f64) -> Value {
    let times = |wanted: &dyn Fn(&str) -> bool| {
        let mut times: Vec<f64> = measured.iter().filter(|(kind, _)| wanted(kind)).filter_map(|(_, taken)| *taken).collect();
        times.sort_by(f64::total_cmp);
        times
    };
    let at = |times: &[f64], percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied();
    let quick = times(&|kind| kind != "package");
    let packages = times(&|kind| kind == "package");
    let mut kinds: Vec<&str> = measured.iter().map(|(kind, _)| *kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let by_kind: serde_json::Map<String, Value> =
        kinds.iter().map(|own| ((*own).to_owned(), json!(at(&times(&|kind| kind == *own), 50)))).collect();
    json!({
        "violations": measured.len(),
        "repaired": measured.iter().filter(|(_, taken)| taken.is_some()).count(),
        "p50_ms": at(&quick, 50),
        "p99_ms": at(&quick, 99),
        "package_p99_ms": at(&packages, 99),
        "idle_cpu_ms_per_min": idle,
        "p50_ms_by_kind": by_kind,
    })
}

fn repository(dir: &Path) -> Result<LoopbackServer> {
    let packages = (0..PACKAGES).map(|n| DebPackage::new(format!("dd-drift-{n}"), "1.0-1")).collect();
    let archive = AptArchive {
        origin: "Drydock-Lab".into(),
        label: "Lab".into(),
        suite: "drift".into(),
        codename: "drift".into(),
        packages,
    };
    archive.build(dir, None)?;
    serve_dir(dir)
}

fn prepare(host: &Host, packages: &LoopbackServer) -> Result<()> {
    let list = format!("deb [trusted=yes] {} drift main\n", packages.url());
    host.write("/etc/apt/sources.list.d/drift.list", list.as_bytes())?;
    for n in 0..UNITS {
        let text = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";
        host.write(&format!("/etc/systemd/system/dd-drift-{n}.service"), text.as_bytes())?;
    }
    // Containers get /proc/sys read-only; these parameters belong to the host's own namespaces.
    host.sh("mkdir -p /etc/dd-drift; mount -o remount,rw,bind /proc/sys; systemctl daemon-reload").map(drop)
}

fn content(n: usize) -> String {
    format!("# file {n}\n{}", "key = value\n".repeat(20))
}

fn document() -> Value {
    let files = (0..FILES).map(|n| {
        let file = json!({
            "path": format!("/etc/dd-drift/file{n}"), "content": content(n), "state": "CONTENTS_MATCH", "permissions": "0644",
        });
        json!({ "id": format!("file{n}"), "file": file })
    });
    let units = (0..UNITS).map(
        |n| json!({ "id": format!("unit{n}"), "service": { "name": format!("dd-drift-{n}"), "running": true, "enabled": true } }),
    );
    let parameters = PARAMETERS
        .iter()
        .enumerate()
        .map(|(n, (key, value))| json!({ "id": format!("parameter{n}"), "sysctl": { "key": key, "value": value.to_string() } }));
    let packages = (0..PACKAGES).map(|n| {
        json!({ "id": format!("package{n}"), "pkg": { "desiredState": "INSTALLED", "apt": { "name": format!("dd-drift-{n}") } } })
    });
    let policy = |id: &str, resources: Vec<Value>| json!({ "id": id, "mode": "ENFORCEMENT", "resourceGroups": [{ "resources": resources }] });
    json!({
        "name": "drift",
        "osPolicies": [
            policy("files", files.collect()),
            policy("units", units.collect()),
            policy("parameters", parameters.collect()),
            policy("packages", packages.collect()),
        ],
        "instanceFilter": { "all": true },
        "rollout": { "disruptionBudget": { "percent": 100 }, "minWaitDuration": "0s" },
    })
}

fn violations() -> Vec<Violation> {
    let mut all = Vec::new();
    for n in 0..FILES {
        let path = format!("/etc/dd-drift/file{n}");
        let ways: [(&str, String); 4] = [
            ("edit", format!("echo changed >> {path}")),
            ("delete", format!("rm -f {path}")),
            ("chmod", format!("chmod 0600 {path}")),
            ("replace", format!("echo other > {path}.new; mv {path}.new {path}")),
        ];
        let size = content(n).len();
        for (kind, break_it) in ways.into_iter().cycle().skip(n % 4).take(2) {
            let is_right = format!("[ \"$(stat -c '%s %a' {path} 2>&1)\" = '{size} 644' ]");
            all.push(Violation { kind, break_it, is_right });
        }
    }
    for n in 0..UNITS {
        let unit = format!("dd-drift-{n}");
        let is_active = format!("systemctl is-active -q {unit}");
        all.push(Violation { kind: "stop", break_it: format!("systemctl stop {unit}"), is_right: is_active });
        let link = format!("[ -L /etc/systemd/system/multi-user.target.wants/{unit}.service ]");
        all.push(Violation { kind: "disable", break_it: format!("systemctl disable -q {unit}"), is_right: link });
    }
    for (key, value) in PARAMETERS {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        for other in [value - 1, value - 2] {
            let is_right = format!("[ \"$(cat {path})\" = {value} ]");
            all.push(Violation { kind: "sysctl", break_it: format!("echo {other} > {path}"), is_right });
        }
    }
    for n in 0..PACKAGES {
        for _ in 0..2 {
            let package = format!("dd-drift-{n}");
            let is_right = format!("dpkg-query -W -f '${{db:Status-Status}}' {package} 2>&1 | grep -qx installed");
            all.push(Violation { kind: "package", break_it: format!("dpkg --remove {package} >/dev/null"), is_right });
        }
    }
    shuffle(&mut all);
    all
}

/// Fisher and Yates' with a small generator and a fixed seed: the same order in every run.
fn shuffle<T>(all: &mut [T]) {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    for i in (1..all.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        all.swap(i, (state >> 33) as usize % (i + 1));
    }
}

/// Milliseconds from before the violation until the state is right again; `None`: it never was.
fn repair_ms(host: &Host, violation: &Violation) -> Result<Option<f64>> {
    let Violation { break_it, is_right, .. } = violation;
    let rounds = REPAIR_TENTHS * 50;
    let script = format!(
        "{is_right} || exit 3\nt0=$(date +%s%N)\n{break_it}\nn=0\nuntil {is_right}; do n=$((n+1)); [ $n -lt {rounds} ] || exit 4; sleep 0.002; done\n\
         echo $(( $(date +%s%N) - t0 ))"
    );
    let done = host.run(&["sh", "-c", &script])?;
    if done.code() == Some(4) {
        return Ok(None);
    }
    ensure!(done.ok(), "`{break_it}` on {}: {}{}", host.hostname(), done.stdout, done.stderr);
    let nanos: f64 = done.stdout.trim().parse().with_context(|| format!("not a time: {}", done.stdout))?;
    Ok(Some((nanos / 100_000.0).round() / 10.0))
}

/// Processor time of the agent's threads (daemon and keeper) over a quiet minute, milliseconds. A thread that begins meanwhile
/// counts whole; of one that ends, what it took since the minute began is lost.
fn idle_cpu_ms_per_min(host: &Host) -> Result<f64> {
    let mut last = threads(host)?;
    // What the last repair set off (an inventory, a report) is over when five seconds cost less than 5 ms.
    wait_until("the agent is quiet", Duration::from_secs(120), || {
        std::thread::sleep(Duration::from_secs(5));
        let now = threads(host)?;
        let is_quiet = taken_ms(&last, &now) < 5.0;
        last = now;
        Ok(is_quiet)
    })?;
    let before = threads(host)?;
    std::thread::sleep(Duration::from_secs(QUIET_SECS));
    let taken = taken_ms(&before, &threads(host)?) * 60.0 / QUIET_SECS as f64;
    Ok((taken * 10.0).round() / 10.0)
}

/// Nanoseconds on a processor, the first field of proc(5)'s schedstat, of each thread of the agent.
type Threads = BTreeMap<String, f64>;

fn threads(host: &Host) -> Result<Threads> {
    let script = "for p in $(pgrep -x drydock-agent); do for f in /proc/$p/task/*/schedstat; do \
                  read -r run rest 2>/dev/null < $f && echo $f $run; done; done; true";
    let told = host.sh(script)?;
    let threads = told.lines().filter_map(|line| line.split_once(' '));
    let threads: Threads = threads.filter_map(|(path, run)| Some((path.to_owned(), run.parse().ok()?))).collect();
    ensure!(!threads.is_empty(), "{}: no process of the agent runs: {told}", host.hostname());
    Ok(threads)
}

fn taken_ms(before: &Threads, after: &Threads) -> f64 {
    after.iter().map(|(thread, run)| run - before.get(thread).copied().unwrap_or_default()).sum::<f64>() / 1e6
}

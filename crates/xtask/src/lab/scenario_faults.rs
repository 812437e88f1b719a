//! `cargo xtask lab run faults`: what goes wrong on real hosts, one fault after the other; each must end in a true report.
//!
//! What holds is judged by reading dpkg and rpm, the processes and the files of the hosts, never by Drydock's own
//! report; the report in turn is compared with the hosts. Absent: scripts of packages that fail, a killed agent and a
//! killed server in mid-job (the `patch` scenario has them).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use drydock_testkit::lab::{Host, PackageManager, RootKind};
use drydock_testkit::upstream::{PackageSet, SCRIPTLET_LOG, SLOW_SECONDS_FILE};
use drydock_testkit::wait::wait_until;
use serde_json::{Value, json};

use super::Fleet;
use super::job::{Installed, JOB_LIMIT, Tasks, finish, show, snapshot, submit, truthful};
use crate::drydock::{Drydock, Programs};

/// One host of each family.
const KINDS: [RootKind; 2] = [RootKind::AptBookworm, RootKind::Dnf4];
/// Prefix of the names of this scenario's hosts.
const PREFIX: &str = "faults-";
/// Until an enrolled host's packages are visible, and until a host that was away is online again.
const VISIBLE_LIMIT: Duration = Duration::from_secs(60);
/// Seconds that `dd-slow` would keep its transaction open: longer than any job here, so that only what the case does
/// can have ended it.
const SLOW_FOR_EVER: &str = "900";
/// What `dd-slow` leaves while its script runs.
const SLOW_RUNNING: &str = "/run/dd-slow.running";
/// Bytes that the flooding script prints before its last line.
const FLOOD_BYTES: u64 = 5_000_000;

/// The packages of these cases.
const BETA: &str = "dd-beta";
const BETA_OLD: &str = "1:1.0-1";
const BETA_NEW: &str = "1:1.1-1";
const SLOW: &str = "dd-slow";

struct Lab {
    fleet: Fleet,
    drydock: Drydock,
}

type Case = (&'static str, fn(&mut Lab) -> Result<()>);

const CASES: [Case; 17] = [
    ("a script that never ends", endless_script),
    ("a script that floods its output", flooding_script),
    ("a script that forks into the background", forking_script),
    ("a script that kills its parent", parent_killing_script),
    ("a third-party repository is gone", third_party_gone),
    ("every repository is gone", all_repositories_gone),
    ("the package database is locked for a while", locked_database),
    ("a package is half-configured", half_configured),
    ("the download cache is full", cache_full),
    ("the agent's disk fills up in mid-job", state_full),
    ("the agent's disk is full when the job comes", state_full_before),
    ("the power fails in mid-transaction", power_cut),
    ("somebody reboots the host in mid-transaction", foreign_reboot),
    ("the server is away for the whole task", server_away),
    ("cancelled in mid-transaction", cancel_stop),
    ("cancelled with --kill in mid-transaction", cancel_kill),
    ("two jobs at once", two_jobs),
];

/// Runs the scenario; `agent` is the agent to install, a fresh build when absent.
///
/// # Errors
/// At the first thing that is not as it must be, saying in which case and on which host.
pub fn run(agent: Option<PathBuf>) -> Result<()> {
    let programs = Programs::build(agent)?;
    let fleet = Fleet::start(&KINDS, PREFIX)?;
    fleet.enable(PackageSet::Updates)?;
    let dir = tempfile::tempdir()?;
    let drydock = Drydock::start(&programs, dir.path())?;
    let token = drydock.enrolment_token("lab")?;
    for host in &fleet.hosts {
        drydock.install_agent(host, &token)?;
    }
    let mut lab = Lab { fleet, drydock };
    lab.wait_online()?;
    for (name, case) in CASES {
        let begun = Instant::now();
        eprintln!("== {name}");
        let ended = lab.reset().and_then(|()| case(&mut lab));
        ended.with_context(|| format!("case: {name}\nthe server's log ends with:\n{}", lab.drydock.log_tail()))?;
        eprintln!("== {name}: {:.1} s", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

impl Lab {
    fn wait_online(&self) -> Result<()> {
        wait_until("the packages of every host are visible", VISIBLE_LIMIT, || {
            let visible = |host: &Host| -> Result<bool> {
                Ok(self.drydock.cli(&["instance", "packages", host.hostname(), "-o", "json"])?.stdout.contains(BETA))
            };
            self.fleet.hosts.iter().map(visible).try_fold(true, |all, one| Ok(all && one?))
        })
    }

    /// Every host has the old packages and nothing of the case before.
    fn reset(&self) -> Result<()> {
        for host in &self.fleet.hosts {
            host.sh(&format!("rm -rf {SLOW_SECONDS_FILE} {SLOW_RUNNING} /run/faults-*"))?;
            match host.root().kind.manager() {
                PackageManager::Apt => host.sh(
                    "export DEBIAN_FRONTEND=noninteractive; apt-get -q update >/dev/null; apt-get -q -y --allow-downgrades \
                     install dd-alpha=1.0-1 dd-beta=1:1.0-1 dd-slow=1.0-1",
                )?,
                _ => host.sh("dnf -q -y --disablerepo='*' --enablerepo=lab-base distro-sync dd-alpha dd-beta dd-slow")?,
            };
            expect(host, BETA, BETA_OLD)?;
            expect(host, SLOW, "1.0-1")?;
            host.sh(&format!(": > {SCRIPTLET_LOG}"))?;
        }
        Ok(())
    }

    /// Runs a job to its end and compares every report with its host.
    fn job(&self, name: &str, patch_config: Value, state: &str) -> Result<Tasks> {
        let before = self.snapshots()?;
        let job = self.submit(name, patch_config)?;
        let tasks = finish(&self.drydock, &job, state)?;
        self.truthful(&before, &tasks)?;
        Ok(tasks)
    }

    fn submit(&self, name: &str, mut patch_config: Value) -> Result<String> {
        patch_config["rebootConfig"] = json!("NEVER");
        submit(&self.drydock, name, json!({ "instanceFilter": { "all": true }, "patchConfig": patch_config }))
    }

    fn snapshots(&self) -> Result<Vec<Installed>> {
        self.fleet.hosts.iter().map(snapshot).collect()
    }

    fn truthful(&self, before: &[Installed], tasks: &Tasks) -> Result<()> {
        self.fleet.hosts.iter().zip(before).try_for_each(|(host, before)| truthful(host, before, &tasks[host.hostname()]))
    }

    /// Every host has this version, and its task is in this state.
    fn ended(&self, tasks: &Tasks, state: &str, package: &str, version: &str) -> Result<()> {
        for host in &self.fleet.hosts {
            expect(host, package, version)?;
            let task = &tasks[host.hostname()];
            ensure!(task["state"] == state, "{}: the task is {}, not {state}:\n{task:#}", host.hostname(), task["state"]);
        }
        Ok(())
    }

    fn host(&self, manager: PackageManager) -> Result<&Host> {
        let found = self.fleet.hosts.iter().find(|host| host.root().kind.manager() == manager);
        found.context("no such host in this scenario")
    }

    fn each(&self, script: &str) -> Result<()> {
        self.fleet.hosts.iter().try_for_each(|host| host.sh(script).map(drop))
    }

    /// `dd-slow` is being installed on every host, and would be for ever.
    fn slow_transaction(&self, name: &str, patch_config: Value) -> Result<String> {
        self.each(&format!("echo {SLOW_FOR_EVER} > {SLOW_SECONDS_FILE}"))?;
        let job = self.submit(name, patch_config)?;
        for host in &self.fleet.hosts {
            host.wait_until("dd-slow is being installed", JOB_LIMIT, |host| host.exists(SLOW_RUNNING))?;
        }
        Ok(job)
    }

    fn wait_state(&self, job: &str, state: &str) -> Result<()> {
        wait_until(&format!("every task is {state}"), JOB_LIMIT, || {
            let (_, tasks) = show(&self.drydock, job)?;
            ensure!(tasks.values().all(|t| t["finishedAt"].is_null()), "a task is over:\n{tasks:#?}");
            Ok(tasks.values().all(|t| t["state"] == state))
        })
    }
}

fn endless_script(lab: &mut Lab) -> Result<()> {
    let script = "setsid sh -c 'trap \"\" TERM; exec sleep 77011' >/dev/null 2>&1 &\n\
                  sleep 77012 &\ntrap '' TERM\nwhile :; do sleep 77013; done\n";
    let tasks = lab.job("endless", with_pre(only(&[BETA]), script, 2), "COMPLETED_WITH_ERRORS")?;
    lab.ended(&tasks, "FAILED", BETA, BETA_OLD)?;
    for host in &lab.fleet.hosts {
        let step = step_of(&tasks[host.hostname()], "PRE_STEP")?;
        ensure!(step["outcome"] == "TIMED_OUT", "{}: the pre-step is told as {step:#}", host.hostname());
        no_process(host, "[7]701")?;
    }
    Ok(())
}

fn flooding_script(lab: &mut Lab) -> Result<()> {
    let script = format!("echo BEGIN; yes flood | head -c {FLOOD_BYTES}; echo; echo END\n");
    let tasks = lab.job("flood", with_pre(only(&[BETA]), &script, 60), "SUCCEEDED")?;
    lab.ended(&tasks, "SUCCEEDED", BETA, BETA_NEW)?;
    for host in &lab.fleet.hosts {
        let output = &step_of(&tasks[host.hostname()], "PRE_STEP")?["output"];
        let part = |name: &str| output[name].as_str().unwrap_or_default();
        let (head, tail) = (part("head"), part("tail"));
        let host = host.hostname();
        ensure!(
            head.starts_with("BEGIN\nflood\n") && tail.ends_with("\nEND\n"),
            "{host}: the ends are not what is kept:\n{output:#}"
        );
        let dropped = output["droppedBytes"].as_u64().unwrap_or_default();
        let all = FLOOD_BYTES + "BEGIN\n\nEND\n".len() as u64;
        let told = head.len() as u64 + tail.len() as u64 + dropped;
        ensure!(told == all, "{host}: {} + {} kept, {dropped} dropped, but {all} bytes were printed", head.len(), tail.len());
        ensure!(head.len() + tail.len() < 100_000, "{host}: {} bytes of output were kept", head.len() + tail.len());
    }
    Ok(())
}

/// What a script starts on purpose stays (a daemon it restarts, say); it must not hold the task up.
fn forking_script(lab: &mut Lab) -> Result<()> {
    let script = "echo forked\nsleep 77021 &\nexit 0\n";
    let begun = Instant::now();
    let tasks = lab.job("forks", with_pre(only(&[BETA]), script, 60), "SUCCEEDED")?;
    ensure!(begun.elapsed() < Duration::from_secs(50), "the task waited for a background process");
    lab.ended(&tasks, "SUCCEEDED", BETA, BETA_NEW)?;
    for host in &lab.fleet.hosts {
        let step = step_of(&tasks[host.hostname()], "PRE_STEP")?;
        ensure!(step["output"]["head"] == "forked\n", "{}: the output is {step:#}", host.hostname());
        host.sh(
            "for p in /proc/[0-9]*; do if tr '\\0' ' ' < $p/cmdline | grep -q '^sleep [7]7021'; then kill ${p#/proc/}; fi; \
             done 2>/dev/null; true",
        )?;
    }
    Ok(())
}

fn parent_killing_script(lab: &mut Lab) -> Result<()> {
    let script = "echo once >> /run/faults-parent\nkill -9 $PPID\nsleep 2\necho alive >> /run/faults-parent\n";
    let tasks = lab.job("kills its parent", with_pre(only(&[BETA]), script, 30), "COMPLETED_WITH_ERRORS")?;
    lab.ended(&tasks, "FAILED", BETA, BETA_OLD)?;
    for host in &lab.fleet.hosts {
        let ran = host.read("/run/faults-parent")?;
        ensure!(ran == "once\nalive\n", "{}: the script ran as {ran:?} by the end of the task", host.hostname());
    }
    Ok(())
}

fn third_party_gone(lab: &mut Lab) -> Result<()> {
    lab.fleet.hosts.iter().try_for_each(|host| lab.fleet.standard.add_unreachable(host))?;
    let mut strict = only(&[BETA]);
    strict["strictRepositories"] = json!(true);
    let tasks = lab.job("third party gone, strict", strict, "COMPLETED_WITH_ERRORS")?;
    lab.ended(&tasks, "FAILED", BETA, BETA_OLD)?;
    told_everywhere(&tasks, "message", "third-party")?;
    let tasks = lab.job("third party gone", only(&[BETA]), "SUCCEEDED")?;
    lab.ended(&tasks, "SUCCEEDED", BETA, BETA_NEW)?;
    told_everywhere(&tasks, "report", "third-party")?;
    lab.each("rm -f /etc/apt/sources.list.d/lab-third-party.list /etc/yum.repos.d/lab-third-party.repo")
}

fn all_repositories_gone(lab: &mut Lab) -> Result<()> {
    lab.fleet.server.set_down(true);
    // Old metadata may still name the update, but nobody serves it.
    let ended = lab.job("all repositories gone", only(&[BETA]), "COMPLETED_WITH_ERRORS").and_then(|tasks| {
        lab.ended(&tasks, "FAILED", BETA, BETA_OLD)?;
        told_everywhere(&tasks, "message", "updates")
    });
    lab.fleet.server.set_down(false);
    ended
}

/// Another program holds the database's lock, and lets go two seconds after it is told to.
fn locked_database(lab: &mut Lab) -> Result<()> {
    let mut holders = Vec::new();
    for host in &lab.fleet.hosts {
        let locks = match host.root().kind.manager() {
            PackageManager::Apt => "/var/lib/dpkg/lock-frontend /var/lib/dpkg/lock".to_owned(),
            _ => format!("{}/.rpm.lock", host.sh("rpm -E '%_dbpath'")?.trim()),
        };
        let hold = "use Fcntl; my @held; for (@ARGV) { open(my $f, '+>>', $_) or die; \
                    my $l = pack('s s x4 l! l! i x4', F_WRLCK, 0, 0, 0, 0); fcntl($f, F_SETLK, $l) or die \"$_: $!\"; push @held, $f } \
                    open(my $h, '>', '/run/faults-held'); while (!-e '/run/faults-release') { select(undef, undef, undef, 0.1) }";
        let script = format!("perl -e \"$0\" {locks}; cp {SCRIPTLET_LOG} /run/faults-released");
        let holder = host.command(&["sh", "-c", &script, hold])?.spawn().context("cannot start the holder of the lock")?;
        host.wait_until("the lock is held", VISIBLE_LIMIT, |host| host.exists("/run/faults-held"))?;
        holders.push(holder);
    }
    let before = lab.snapshots()?;
    let job = lab.submit("locked", only(&[BETA]))?;
    // apt waits in its own process; dnf gives up at once and is started again.
    let waits = lab.fleet.hosts.iter().try_for_each(|host| {
        host.wait_until("the package manager waits for its lock", JOB_LIMIT, |host| {
            let again = host.sh("ls -d /var/lib/drydock-agent/run/*/apply*/*/command-2 2>/dev/null; true")?;
            Ok(!again.is_empty() || !processes(host, "Lock::Timeou[t]")?.is_empty())
        })
    });
    lab.each("touch /run/faults-release")?;
    for mut holder in holders {
        holder.wait().context("the holder of the lock")?;
    }
    waits?;
    let tasks = finish(&lab.drydock, &job, "SUCCEEDED")?;
    lab.ended(&tasks, "SUCCEEDED", BETA, BETA_NEW)?;
    for host in &lab.fleet.hosts {
        let then = host.read("/run/faults-released")?;
        ensure!(then.is_empty(), "{}: installed while the lock was held: {then}", host.hostname());
    }
    lab.truthful(&before, &tasks)
}

/// Only dpkg knows this state: rpm has no such thing.
fn half_configured(lab: &mut Lab) -> Result<()> {
    let apt = lab.host(PackageManager::Apt)?;
    let deb = lab.fleet.standard.dir().join("deb/updates/pool");
    let file = std::fs::read_dir(&deb)?.flatten().map(|e| e.path()).find(|p| p.to_string_lossy().contains("/dd-conf_"));
    apt.copy_in(&file.context("no dd-conf is built")?, "/root/dd-conf.deb", 0o644)?;
    apt.sh("dpkg --force-confold --unpack /root/dd-conf.deb")?;
    ensure!(apt.installed("dd-conf")?.is_none(), "dd-conf is not half-configured");
    let tasks = lab.job("half-configured", only(&[BETA]), "SUCCEEDED")?;
    lab.ended(&tasks, "SUCCEEDED", BETA, BETA_NEW)?;
    expect(apt, "dd-conf", "1.1-1")?;
    let conf = apt.read("/etc/dd-conf.conf")?;
    ensure!(conf == "greeting=edited here\n", "the edited configuration file became {conf:?}");
    step_of(&tasks[apt.hostname()], "REPAIR")?;
    once_each(apt, &["dd-conf 1.1", "dd-beta 1.1"])
}

/// The package manager's own place for downloads is full.
fn cache_full(lab: &mut Lab) -> Result<()> {
    lab.each(
        "d=/var/cache/dnf; [ -d $d ] || d=/var/cache/apt/archives; mount -t tmpfs -o size=64k full $d; \
              [ $d = /var/cache/dnf ] || mkdir -p $d/partial; dd if=/dev/zero of=$d/filler bs=4k 2>/dev/null; true",
    )?;
    let ended = lab
        .job("cache full", only(&[BETA]), "COMPLETED_WITH_ERRORS")
        .and_then(|tasks| lab.ended(&tasks, "FAILED", BETA, BETA_OLD));
    lab.each("d=/var/cache/dnf; [ -d $d ] || d=/var/cache/apt/archives; umount -l $d")?;
    ended?;
    let tasks = lab.job("cache free again", only(&[BETA]), "SUCCEEDED")?;
    lab.ended(&tasks, "SUCCEEDED", BETA, BETA_NEW)
}

/// The agent keeps its state on a small disk of its own.
fn small_state_disk(lab: &Lab) -> Result<()> {
    lab.each(
        "systemctl stop drydock-agent; mkdir -p /run/faults-state; mount -t tmpfs -o size=4m state /run/faults-state; \
         cp -a /var/lib/drydock-agent/. /run/faults-state; mount --bind /run/faults-state /var/lib/drydock-agent; \
         systemctl start drydock-agent",
    )
}

fn own_state_disk(lab: &Lab) -> Result<()> {
    lab.each(
        "systemctl stop drydock-agent; umount -l /var/lib/drydock-agent; cp -a /run/faults-state/. /var/lib/drydock-agent; \
         umount -l /run/faults-state; rmdir /run/faults-state; rm -f /var/lib/drydock-agent/filler; systemctl start drydock-agent",
    )
}

/// The script's end cannot be written down: the task waits for space, and goes on without running the script again.
fn state_full(lab: &mut Lab) -> Result<()> {
    small_state_disk(lab)?;
    let script = "echo run >> /run/faults-runs\ndd if=/dev/zero of=/var/lib/drydock-agent/filler bs=4k 2>/dev/null\n\
                  touch /run/faults-full\n";
    let before = lab.snapshots()?;
    let job = lab.submit("state disk fills up", with_pre(only(&[BETA]), script, 30))?;
    for host in &lab.fleet.hosts {
        host.wait_until("the script has ended on a full disk", JOB_LIMIT, |host| {
            let script = processes(host, "drydock-agent/run/.*scrip[t]")?;
            Ok(host.exists("/run/faults-full")? && script.lines().all(|line| line.contains("supervise")))
        })?;
        expect(host, BETA, BETA_OLD)?;
    }
    lab.each("rm -f /var/lib/drydock-agent/filler")?;
    let tasks = finish(&lab.drydock, &job, "SUCCEEDED")?;
    lab.ended(&tasks, "SUCCEEDED", BETA, BETA_NEW)?;
    for host in &lab.fleet.hosts {
        let runs = host.read("/run/faults-runs")?;
        ensure!(runs == "run\n", "{}: the script ran as {runs:?}", host.hostname());
    }
    lab.truthful(&before, &tasks)?;
    own_state_disk(lab)
}

/// The order cannot be kept: it is not begun, and the operator is told why.
fn state_full_before(lab: &mut Lab) -> Result<()> {
    small_state_disk(lab)?;
    lab.each("dd if=/dev/zero of=/var/lib/drydock-agent/filler bs=4k 2>/dev/null; true")?;
    let tasks = lab.job("state disk full", only(&[BETA]), "COMPLETED_WITH_ERRORS")?;
    lab.ended(&tasks, "FAILED", BETA, BETA_OLD)?;
    told_everywhere(&tasks, "message", "No space left on device")?;
    lab.each("rm -f /var/lib/drydock-agent/filler")?;
    let tasks = lab.job("state disk free again", only(&[BETA]), "SUCCEEDED")?;
    lab.ended(&tasks, "SUCCEEDED", BETA, BETA_NEW)?;
    own_state_disk(lab)
}

fn power_cut(lab: &mut Lab) -> Result<()> {
    interrupted_by(lab, "power cut", |host| {
        host.cut_power();
        host.write(SLOW_SECONDS_FILE, b"0")?;
        host.boot()
    })
}

fn foreign_reboot(lab: &mut Lab) -> Result<()> {
    interrupted_by(lab, "foreign reboot", |host| {
        let boots = host.boots();
        host.run(&["systemctl", "reboot", "--force"])?;
        wait_until("the host went down", JOB_LIMIT, || Ok(host.boots() > boots))?;
        host.wait_until("the slow script may end", JOB_LIMIT, |host| host.write(SLOW_SECONDS_FILE, b"0").map(|()| true))?;
        host.wait_booted()
    })
}

/// Both packages are planned; the host goes down while the script of one runs.
fn interrupted_by(lab: &mut Lab, name: &str, accident: fn(&mut Host) -> Result<()>) -> Result<()> {
    let before = lab.snapshots()?;
    let config = with_pre(only(&[BETA, SLOW, "dd-alpha"]), "echo pre >> /var/log/faults-pre\n", 30);
    lab.each(": > /var/log/faults-pre")?;
    let job = lab.slow_transaction(name, config)?;
    lab.fleet.hosts.iter_mut().try_for_each(accident)?;
    let tasks = finish(&lab.drydock, &job, "SUCCEEDED")?;
    lab.ended(&tasks, "SUCCEEDED", BETA, BETA_NEW)?;
    lab.ended(&tasks, "SUCCEEDED", SLOW, "1.1-1")?;
    lab.ended(&tasks, "SUCCEEDED", "dd-alpha", "1.2-1")?;
    for host in &lab.fleet.hosts {
        whole(host)?;
        // dpkg knows whose script did not end and runs it again. rpm does not: what it wrote into its database counts as
        // installed, and which scripts were cut short is in no record; the report says that the step was interrupted.
        let all = ["dd-alpha 1.2", "dd-beta 1.1", "dd-slow 1.1"];
        once_each(host, if host.root().kind.manager() == PackageManager::Apt { &all } else { &[] })?;
        let apply = step_of(&tasks[host.hostname()], "APPLY")?;
        ensure!(apply["outcome"] == "INTERRUPTED", "{}: the first try is told as {apply:#}", host.hostname());
        let pre = host.read("/var/log/faults-pre")?;
        ensure!(pre == "pre\n", "{}: the pre-step ran as {pre:?}", host.hostname());
    }
    lab.truthful(&before, &tasks)
}

fn server_away(lab: &mut Lab) -> Result<()> {
    let before = lab.snapshots()?;
    let mut config = with_pre(only(&[BETA]), "while [ ! -e /run/faults-go ]; do sleep 0.2; done\n", 120);
    config["postStep"] = script_step("echo post > /run/faults-post\n", 30);
    let job = lab.submit("server away", config)?;
    lab.wait_state(&job, "RUNNING_PRE_PATCH_STEP")?;
    lab.drydock.kill()?;
    lab.each("touch /run/faults-go")?;
    for host in &lab.fleet.hosts {
        host.wait_until("the host is done without the server", JOB_LIMIT, |host| {
            Ok(host.exists("/run/faults-post")? && processes(host, "drydock-agent supervis[e]")?.is_empty())
        })?;
        expect(host, BETA, BETA_NEW)?;
    }
    lab.drydock.serve()?;
    let tasks = finish(&lab.drydock, &job, "SUCCEEDED")?;
    lab.ended(&tasks, "SUCCEEDED", BETA, BETA_NEW)?;
    lab.truthful(&before, &tasks)
}

fn cancel_stop(lab: &mut Lab) -> Result<()> {
    let before = lab.snapshots()?;
    let mut config = only(&[BETA, SLOW]);
    config["postStep"] = script_step("touch /run/faults-post\n", 30);
    let job = lab.slow_transaction("cancel", config)?;
    lab.drydock.cli(&["patch", "cancel", &job])?.success()?;
    for host in &lab.fleet.hosts {
        ensure!(host.exists(SLOW_RUNNING)?, "{}: the transaction was torn by a mere stop", host.hostname());
    }
    lab.each(&format!("echo 0 > {SLOW_SECONDS_FILE}"))?;
    let tasks = finish(&lab.drydock, &job, "CANCELED")?;
    lab.ended(&tasks, "CANCELED", SLOW, "1.1-1")?;
    lab.ended(&tasks, "CANCELED", BETA, BETA_NEW)?;
    for host in &lab.fleet.hosts {
        ensure!(!host.exists("/run/faults-post")?, "{}: the post-step ran after the cancel", host.hostname());
        whole(host)?;
    }
    lab.truthful(&before, &tasks)
}

fn cancel_kill(lab: &mut Lab) -> Result<()> {
    let before = lab.snapshots()?;
    let job = lab.slow_transaction("cancel --kill", only(&[BETA, SLOW]))?;
    let mut running = Vec::new();
    for host in &lab.fleet.hosts {
        running.push(slow_script(host)?.with_context(|| format!("{}: no script of dd-slow runs", host.hostname()))?);
    }
    lab.drydock.cli(&["patch", "cancel", &job, "--kill"])?.success()?;
    for (host, pid) in lab.fleet.hosts.iter().zip(running) {
        host.wait_until("the transaction is killed", JOB_LIMIT, |host| Ok(!host.exists(&format!("/proc/{pid}"))?))?;
        // Mending the database may run the script again.
        host.write(SLOW_SECONDS_FILE, b"0")?;
    }
    let tasks = finish(&lab.drydock, &job, "CANCELED")?;
    for host in &lab.fleet.hosts {
        let task = &tasks[host.hostname()];
        ensure!(task["state"] == "CANCELED", "{}: the task is {}", host.hostname(), task["state"]);
        whole(host)?;
    }
    lab.truthful(&before, &tasks)
}

fn two_jobs(lab: &mut Lab) -> Result<()> {
    let first = lab.slow_transaction("first of two", only(&[SLOW]))?;
    let second = lab.submit("second of two", only(&[BETA]))?;
    let (_, holders) = show(&lab.drydock, &first)?;
    wait_until("the second job says what it waits for", JOB_LIMIT, || {
        let (_, tasks) = show(&lab.drydock, &second)?;
        Ok(tasks
            .iter()
            .all(|(host, task)| task["waitingOn"]["reason"] == "OTHER_TASK" && task["waitingOn"]["task"] == holders[host]["id"])
            && !tasks.is_empty())
    })?;
    for host in &lab.fleet.hosts {
        expect(host, BETA, BETA_OLD)?;
    }
    lab.each(&format!("echo 0 > {SLOW_SECONDS_FILE}"))?;
    let tasks = finish(&lab.drydock, &first, "SUCCEEDED")?;
    lab.ended(&tasks, "SUCCEEDED", SLOW, "1.1-1")?;
    let tasks = finish(&lab.drydock, &second, "SUCCEEDED")?;
    lab.ended(&tasks, "SUCCEEDED", BETA, BETA_NEW)?;
    Ok(())
}

/// A job that updates these packages and nothing else.
fn only(packages: &[&str]) -> Value {
    json!({ "apt": { "exclusivePackages": packages }, "yum": { "exclusivePackages": packages } })
}

fn script_step(script: &str, limit_secs: u32) -> Value {
    json!({ "linuxExecStepConfig": { "script": script, "interpreter": "SHELL", "timeLimitSecs": limit_secs } })
}

fn with_pre(mut config: Value, script: &str, limit_secs: u32) -> Value {
    config["preStep"] = script_step(script, limit_secs);
    config
}

/// The package database of the host holds exactly this version of the package.
fn expect(host: &Host, package: &str, version: &str) -> Result<()> {
    let installed = host.installed(package)?;
    ensure!(installed.as_deref() == Some(version), "{}: {package} is {installed:?}, not {version}", host.hostname());
    Ok(())
}

fn step_of<'a>(task: &'a Value, step: &str) -> Result<&'a Value> {
    let steps = task["report"]["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    steps.iter().find(|s| s["step"] == step).with_context(|| format!("the report has no {step}:\n{task:#}"))
}

/// Every task names `word` in `field`.
fn told_everywhere(tasks: &Tasks, field: &str, word: &str) -> Result<()> {
    for (host, task) in tasks {
        ensure!(task[field].to_string().contains(word), "{host}: {field} does not name {word}:\n{task:#}");
    }
    Ok(())
}

/// Command lines in the host that match; `pattern` must not match itself (`[7]7`).
fn processes(host: &Host, pattern: &str) -> Result<String> {
    host.sh(&format!("for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done 2>/dev/null | grep -e '{pattern}'; true"))
}

fn no_process(host: &Host, pattern: &str) -> Result<()> {
    let found = processes(host, pattern)?;
    ensure!(found.is_empty(), "{}: still running: {found}", host.hostname());
    Ok(())
}

/// The process that runs the script of `dd-slow`.
fn slow_script(host: &Host) -> Result<Option<String>> {
    let found = host
        .sh("for p in /proc/[0-9]*; do if tr '\\0' ' ' < $p/cmdline | grep -q -e 'dd-slow.postins[t]' -e 'rpm-tmp[.]'; \
         then echo ${p#/proc/}; fi; done 2>/dev/null; true")?;
    Ok(found.lines().next().map(str::to_owned))
}

/// The database itself finds nothing wrong: no half-configured package, no version twice.
fn whole(host: &Host) -> Result<()> {
    if host.root().kind.manager() == PackageManager::Apt {
        let audit = host.sh("dpkg --audit")?;
        ensure!(audit.is_empty(), "{}: dpkg --audit says\n{audit}", host.hostname());
        return Ok(());
    }
    let twice = host.sh("rpm -qa --qf '%{NAME}\\n' 'dd-*' | sort | uniq -d")?;
    ensure!(twice.is_empty(), "{}: installed twice: {twice}", host.hostname());
    Ok(())
}

/// Every package's script that ran in this case ran once, and these did.
fn once_each(host: &Host, wanted: &[&str]) -> Result<()> {
    let log = host.read(SCRIPTLET_LOG)?;
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    let twice = lines.windows(2).any(|pair| pair[0] == pair[1]);
    if twice || !wanted.iter().all(|line| lines.contains(line)) {
        bail!("{}: the packages' scripts ran as\n{log}", host.hostname());
    }
    Ok(())
}

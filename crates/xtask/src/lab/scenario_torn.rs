//! `cargo xtask lab run torn`: real package managers refresh in loops, with warm and with cold caches, while snapshots
//! are published, promoted and rolled back and the server is killed again and again. Not one refresh may fail.
//!
//! The server's port is held open by this process, as systemd's socket unit does in production: connections that come
//! while the server is away wait instead of being refused.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use drydock_testkit::lab::{Host, PackageManager, RootKind};
use drydock_testkit::upstream::{DebPackage, RpmPackage};

use super::Fleet;
use crate::drydock::{Drydock, Programs};

/// Kinds of clients.
const KINDS: [RootKind; 2] = [RootKind::AptBookworm, RootKind::Dnf4];
/// Prefix of the names of this scenario's hosts.
const PREFIX: &str = "torn-";
/// How long the loops run in CI.
const SHORT: Duration = Duration::from_secs(45);
/// How long they run with `--long`.
const LONG: Duration = Duration::from_secs(600);
/// Versions of the package whose uploads make new snapshots.
const VERSIONS: u32 = 40;
/// Pause between two moves of a pointer.
const MOVE_EVERY: Duration = Duration::from_millis(700);
/// One refresh at the longest, the server's restarts included.
const REFRESH_LIMIT: Duration = Duration::from_secs(120);
/// Until a host has applied its sources.
const APPLIED_LIMIT: Duration = Duration::from_secs(60);

/// Runs the scenario for ten minutes, or shortly.
///
/// # Errors
/// With the output of the first refresh that failed.
pub fn run(agent: Option<PathBuf>, is_long: bool) -> Result<()> {
    let programs = Programs::build(agent)?;
    let fleet = Fleet::start(&KINDS, PREFIX)?;
    let dir = tempfile::tempdir()?;
    let mut drydock = Drydock::start_with_held_port(&programs, dir.path())?;
    let outcome = run_loops(&fleet, &mut drydock, dir.path(), if is_long { LONG } else { SHORT });
    outcome.with_context(|| format!("the server's log ends with:\n{}", drydock.log_tail()))
}

fn told(drydock: &Drydock, args: &[&str]) -> Result<String> {
    drydock.cli(args)?.success().with_context(|| format!("drydock {}", args.join(" ")))
}

/// Local sources, an environment, and hosts that see nothing else.
fn prepare(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    for (name, format) in [("churn-rpm", "rpm"), ("churn-deb", "deb")] {
        told(drydock, &["source", "create", name, "--local", format, "--no-gpgcheck"])?;
    }
    told(drydock, &["environment", "create", "prod", "--rank", "10"])?;
    told(drydock, &["environment", "attach", "prod", "churn-rpm", "churn-deb"])?;
    let token = drydock.enrolment_token("torn")?;
    for host in &fleet.hosts {
        drydock.install_agent(host, &token)?;
        told(drydock, &["instance", "sources", host.hostname(), "--environment", "prod", "--mode", "exclusive"])?;
    }
    Ok(())
}

/// Package files, built before the clock runs.
fn build_packages(dir: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    (1..=VERSIONS)
        .map(|n| {
            let place = dir.join(format!("churn/{n}"));
            let (deb, rpm) = (place.join("deb"), place.join("rpm"));
            for dir in [&deb, &rpm] {
                std::fs::create_dir_all(dir)?;
            }
            DebPackage::new("dd-churn", format!("{n}.0-1")).build(&deb)?;
            RpmPackage::new("dd-churn", format!("{n}.0")).build(&rpm)?;
            Ok((only_file(&deb)?, only_file(&rpm)?))
        })
        .collect()
}

fn only_file(dir: &Path) -> Result<PathBuf> {
    let mut waiting = vec![dir.to_path_buf()];
    while let Some(at) = waiting.pop() {
        for entry in std::fs::read_dir(&at)? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|e| e == "rpm" || e == "deb") {
                return Ok(path);
            }
        }
    }
    Err(anyhow!("no package file below {}", dir.display()))
}

fn upload(drydock: &Drydock, source: &str, file: &Path) -> Result<()> {
    let file = file.to_str().context("the temporary directory's name is not UTF-8")?;
    told(drydock, &["source", "upload", source, file]).map(drop)
}

fn run_loops(fleet: &Fleet, drydock: &mut Drydock, dir: &Path, length: Duration) -> Result<()> {
    let packages = build_packages(dir)?;
    prepare(fleet, drydock)?;
    let (deb, rpm) = &packages[0];
    upload(drydock, "churn-deb", deb)?;
    upload(drydock, "churn-rpm", rpm)?;
    told(drydock, &["environment", "promote", "prod", "--source", "churn-rpm", "--source", "churn-deb"])?;
    for host in &fleet.hosts {
        host.wait_until("our repository is there", APPLIED_LIMIT, |host| {
            Ok(host.exists("/etc/yum.repos.d/drydock.repo")? || host.exists("/etc/apt/sources.list.d/drydock.sources")?)
        })?;
    }
    let (end, stop) = (AtomicBool::new(false), Instant::now() + length);
    let refreshes = AtomicU64::new(0);
    let (moves, kills) = std::thread::scope(|scope| -> Result<(u64, u64)> {
        let clients: Vec<_> = fleet.hosts.iter().map(|host| scope.spawn(|| client_loop(host, &end, &refreshes))).collect();
        let churned = churn(drydock, &packages, stop);
        end.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().map_err(|_| anyhow!("a client's loop panicked"))??;
        }
        churned
    })?;
    for host in &fleet.hosts {
        // What was refreshed is ours.
        let offered = host.sh(match host.root().kind.manager() {
            PackageManager::Apt => "apt-cache -o Dir::State::Lists=/var/cache/torn madison dd-churn | grep -F /content/prod/",
            _ => "dnf -q --setopt=cachedir=/var/cache/torn repoquery --qf '%{name} %{reponame}' dd-churn | grep -F drydock-churn-rpm",
        })?;
        ensure!(offered.contains("dd-churn"), "{}: nothing of ours is offered", host.hostname());
    }
    let refreshes = refreshes.load(Ordering::SeqCst);
    eprintln!("  {refreshes} refreshes, {moves} moves of pointers, {kills} kills of the server: 0 client errors");
    ensure!(refreshes > 10 && moves > 10 && kills > 1, "too little happened to prove anything");
    Ok(())
}

/// New snapshots, promotions, rollbacks and kills until the time is up.
fn churn(drydock: &mut Drydock, packages: &[(PathBuf, PathBuf)], stop: Instant) -> Result<(u64, u64)> {
    let (mut moves, mut kills) = (0, 0);
    for round in 1.. {
        if Instant::now() >= stop {
            break;
        }
        let (deb, rpm) = &packages[round % packages.len()];
        if round < packages.len() {
            upload(drydock, "churn-deb", deb)?;
            upload(drydock, "churn-rpm", rpm)?;
        }
        let promote = ["environment", "promote", "prod", "--source", "churn-rpm", "--source", "churn-deb"];
        if round % 3 == 0 {
            told(drydock, &[&promote[..], &["--rollback"]].concat())?;
        } else {
            told(drydock, &promote)?;
        }
        moves += 1;
        if round % 5 == 4 {
            drydock.kill()?;
            drydock.serve()?;
            kills += 1;
        }
        // Pace, not waiting for anything: without it the loop would only measure this machine.
        std::thread::sleep(MOVE_EVERY);
    }
    Ok((moves, kills))
}

/// Refreshes with a warm and with a cold cache in turn.
fn client_loop(host: &Host, end: &AtomicBool, refreshes: &AtomicU64) -> Result<()> {
    // Lists of its own: the agent refreshes the host's, and emptying those under it would remove its lock and its
    // half-fetched files; the complaint that follows says nothing about the server.
    let (cold, warm) = match host.root().kind.manager() {
        PackageManager::Apt => (
            "rm -rf /var/cache/torn; mkdir /var/cache/torn; apt-get -o Dir::State::Lists=/var/cache/torn update",
            "apt-get -o Dir::State::Lists=/var/cache/torn update",
        ),
        _ => (
            "rm -rf /var/cache/torn; dnf --setopt=cachedir=/var/cache/torn makecache",
            "dnf --setopt=cachedir=/var/cache/torn --refresh makecache",
        ),
    };
    let mut round = 0;
    while !end.load(Ordering::SeqCst) {
        let script = if round % 2 == 0 { cold } else { warm };
        let finished = host.run_within(&["sh", "-c", &format!("{script} 2>&1")], REFRESH_LIMIT)?;
        let printed = &finished.stdout;
        let complaint =
            ["Err:", "W:", "E:", "Error:", "Failed", "Hash Sum", "error:"].iter().find(|word| printed.contains(**word));
        ensure!(finished.ok() && complaint.is_none(), "{}: refresh {round} ({script}) said\n{printed}", host.hostname());
        round += 1;
        refreshes.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

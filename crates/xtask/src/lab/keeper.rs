//! The process between `lab up` and `lab down`: it owns the hosts and serves their repositories.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use drydock_testkit::cache::cache_dir;
use drydock_testkit::lab::{RootKind, remove_cache, remove_leftovers};
use drydock_testkit::process::ProcessMark;
use drydock_testkit::upstream::PackageSet;
use drydock_testkit::wait::wait_until;

use super::{Fleet, UP_PREFIX};

/// Six roots from a slow mirror, then six boots.
const UP_LIMIT: Duration = Duration::from_secs(3_600);
/// Killing and unmounting six hosts.
const DOWN_LIMIT: Duration = Duration::from_secs(120);

/// Holds the keeper's mark once its hosts are up.
fn ready_file() -> Result<PathBuf> {
    Ok(cache_dir()?.join("lab/keeper"))
}

fn log_file() -> Result<PathBuf> {
    Ok(cache_dir()?.join("lab/keeper.log"))
}

/// The keeper whose hosts are up, if there is one.
fn keeper() -> Result<Option<ProcessMark>> {
    let mark = fs::read_to_string(ready_file()?).ok().and_then(|mark| mark.parse::<ProcessMark>().ok());
    Ok(mark.filter(ProcessMark::is_alive))
}

/// Starts a keeper and waits until its hosts are up.
pub(super) fn up() -> Result<()> {
    if keeper()?.is_some() {
        println!("the hosts are up already");
        return Ok(());
    }
    let log_path = log_file()?;
    fs::create_dir_all(cache_dir()?.join("lab"))?;
    let log = File::create(&log_path).with_context(|| format!("cannot create {}", log_path.display()))?;
    println!("starting hosts; progress is in {}", log_path.display());
    // A session of its own, so that closing the terminal leaves the hosts running.
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new("setsid");
    command.arg(program).args(["lab", "keep"]).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut child = command.spawn().context("cannot start the keeper")?;
    wait_until("the hosts are up", UP_LIMIT, || {
        if let Some(status) = child.try_wait()? {
            bail!("the keeper ended with {status}:\n{}", fs::read_to_string(&log_path).unwrap_or_default());
        }
        Ok(keeper()?.is_some())
    })
}

/// Ends the keeper with its hosts, and removes what others left behind.
pub(super) fn down(cache: bool) -> Result<()> {
    if let Some(keeper) = keeper()? {
        // The keeper ends by itself once its file is gone.
        fs::remove_file(ready_file()?)?;
        wait_until("the keeper has removed its hosts", DOWN_LIMIT, || Ok(!keeper.is_alive()))?;
    }
    remove_leftovers()?;
    if cache {
        remove_cache()?;
        println!("no host of `lab up`, no root and no repository is left");
        return Ok(());
    }
    println!("no host of `lab up` is left; roots and packages stay cached");
    Ok(())
}

/// The keeper itself.
pub(super) fn keep() -> Result<()> {
    let fleet = Fleet::start(&RootKind::ALL, UP_PREFIX)?;
    for set in [PackageSet::Updates, PackageSet::Security] {
        fleet.enable(set)?;
    }
    let ready = ready_file()?;
    let mark = ProcessMark::this()?.to_string();
    // Renamed into place: a reader sees the whole mark or none.
    let aside = ready.with_extension("new");
    fs::write(&aside, &mark)?;
    fs::rename(&aside, &ready)?;
    wait_until("`lab down` is run", Duration::MAX, || Ok(fs::read_to_string(&ready).ok().as_ref() != Some(&mark)))
}

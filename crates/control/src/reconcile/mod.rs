//! The loops that move things on without anybody asking: runs of deployments begun, hosts looked up, tasks let go, tasks given up, sources synced,
//! hosts told of their sources, policies rolled out, old keys forgotten. They have no input: each turn reads the store and does what is due, so a lost turn costs a second and a
//! repeated one nothing.

mod audit;
mod content;
mod deployments;
mod fleet;
mod host_sources;
mod job;
mod policies;
mod retention;
mod soak;

use std::time::{Duration, Instant};

use drydock_domain::ids::JobId;
use drydock_store::{access_tokens, api_keys, commit, instances, patch_jobs};
use tokio::sync::watch;

use crate::Control;
use crate::error::{Error, Result};
pub use content::Runner;
pub(crate) use job::{gates::GateAsks, picture, release};

/// A turn comes at least this often.
const PERIOD: Duration = Duration::from_secs(1);
/// A turn comes at most this often: bursts of wake-ups (each report of a large job) are one turn. After a long turn the
/// pause is as long as the turn was, so that jobs over the whole fleet take half a processor at most.
const PAUSE: Duration = Duration::from_millis(50);
/// Contacts are written every so many turns: `last seen` may be that many seconds old, and 50,000 agents cost one
/// transaction instead of 1,700 a second.
const CONTACTS_EVERY: u64 = 10;
/// Old rows are looked for every so many turns (10 minutes when nothing wakes the loop).
const RETENTION_EVERY: u64 = 600;
/// Versions are noted every so many turns (half a minute when nothing wakes the loop): a soak is days.
const SOAK_EVERY: u64 = 30;

/// Runs until `shutdown` turns true or its sender is gone. Contacts not yet written are written at the end.
pub async fn run(control: Control, mut shutdown: watch::Receiver<bool>) {
    let mut number: u64 = 0;
    let mut runner = Runner::default();
    let fleet = tokio::spawn(fleet::run(control.clone(), shutdown.clone()));
    let audit = tokio::spawn(audit::run(control.clone(), shutdown.clone()));
    loop {
        let began = Instant::now();
        let mut failed = turn_number(&control, number).await;
        failed.extend(runner.turn(&control).await);
        for (what, error) in failed {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(what, %error, source, "a reconciler failed; it tries again in a second");
        }
        number = number.wrapping_add(1);
        let pause = PAUSE.max(began.elapsed());
        let rested = async {
            tokio::time::sleep(pause).await;
            tokio::select! {
                () = control.woken() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
        };
        tokio::select! {
            () = rested => {}
            () = ended(&mut shutdown) => break,
        }
    }
    runner.stop(&control).await;
    if let Err(error) = fleet.await {
        tracing::error!(%error, "the picture of the fleet was not kept up to date");
    }
    if let Err(error) = audit.await {
        tracing::error!(%error, "the audit was not chained to its end");
    }
    if let Err(error) = write_contacts(&control).await {
        tracing::error!(%error, "the last contacts of agents are not stored");
    }
}

async fn ended(shutdown: &mut watch::Receiver<bool>) {
    let _gone_is_an_end_too = shutdown.wait_for(|end| *end).await;
}

/// One whole turn, as [`run`] does it, with everything due but content jobs: those are a [`Runner`]'s. Returns what
/// failed; the rest was done.
pub async fn turn(control: &Control) -> Vec<(String, Error)> {
    let mut failed = turn_number(control, 0).await;
    if let Err(e) = fleet::turn(control).await {
        failed.push(("the picture of the fleet".to_owned(), e));
    }
    if let Err(e) = control.chain_audit().await {
        failed.push(("the chain of the audit".to_owned(), e));
    }
    failed
}

async fn turn_number(control: &Control, number: u64) -> Vec<(String, Error)> {
    let mut failed = Vec::new();
    if number.is_multiple_of(CONTACTS_EVERY)
        && let Err(e) = write_contacts(control).await
    {
        failed.push(("storing contacts".to_owned(), e));
    }
    failed.extend(deployments::turn(control).await);
    failed.extend(turn_of_jobs(control).await);
    if number.is_multiple_of(RETENTION_EVERY)
        && let Err(e) = retention::turn(control).await
    {
        failed.push(("forgetting old rows".to_owned(), e));
    }
    if number.is_multiple_of(SOAK_EVERY)
        && let Err(e) = soak::turn(control).await
    {
        failed.push(("noting when versions were seen".to_owned(), e));
    }
    if number.is_multiple_of(RETENTION_EVERY)
        && let Err(e) = soak::forget(control).await
    {
        failed.push(("forgetting versions".to_owned(), e));
    }
    if number.is_multiple_of(RETENTION_EVERY)
        && let Err(e) = deployments::forget(control).await
    {
        failed.push(("forgetting old executions".to_owned(), e));
    }
    if let Err(e) = policies::turn(control, number).await {
        failed.push(("the policies of hosts".to_owned(), e));
    }
    if number.is_multiple_of(RETENTION_EVERY)
        && let Err(e) = policies::forget(control).await
    {
        failed.push(("forgetting old policy rows".to_owned(), e));
    }
    if let Err(e) = host_sources::turn(control, number).await {
        failed.push(("the sources of hosts".to_owned(), e));
    }
    failed
}

/// The part of a turn that concerns patch jobs. Returns what failed; the rest was done.
pub async fn turn_of_jobs(control: &Control) -> Vec<(String, Error)> {
    let mut failed = Vec::new();
    match open_jobs(control).await {
        Ok(jobs) => {
            for id in jobs {
                if let Err(e) = job::turn(control, id).await {
                    failed.push((format!("patch job {id}"), e));
                }
            }
        }
        Err(e) => failed.push(("reading patch jobs".to_owned(), e)),
    }
    failed
}

async fn open_jobs(control: &Control) -> Result<Vec<JobId>> {
    let jobs = patch_jobs::open(&mut *control.read().await?).await?;
    Ok(jobs.into_iter().map(|job| job.id).collect())
}

/// Writes who was heard of. What cannot be written is kept for the next time.
async fn write_contacts(control: &Control) -> Result<()> {
    let contacts = control.contacts().clone();
    if contacts.instances.is_empty() && contacts.tokens.is_empty() && contacts.api_keys.is_empty() {
        return Ok(());
    }
    let mut tx = control.begin().await?;
    // In one order everywhere: two servers on one database must not wait for each other in a circle.
    let mut seen: Vec<_> = contacts.instances.iter().collect();
    seen.sort_unstable();
    for (instance, at) in seen {
        instances::touch(&mut tx, *instance, *at).await?;
    }
    for (token, at) in &contacts.tokens {
        access_tokens::touch(&mut tx, *token, *at).await?;
    }
    for (key, at) in &contacts.api_keys {
        api_keys::touch(&mut tx, *key, *at).await?;
    }
    commit(tx).await?;
    let mut held = control.contacts();
    held.instances.retain(|id, at| contacts.instances.get(id) != Some(at));
    held.tokens.retain(|id, at| contacts.tokens.get(id) != Some(at));
    held.api_keys.retain(|id, at| contacts.api_keys.get(id) != Some(at));
    Ok(())
}

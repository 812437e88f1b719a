//! `drydock-agent keep-policies`: the process that keeps this host as its policies say. One per agent (a lock), apart from the
//! daemon, and repeatable: killed at any moment, the next one reads what is on disk and goes on.
//!
//! Two threads: this one waits for what happens (files, units, packages, the daemon's files) and hands it on; the other, the
//! [`worker`], runs the engine. While nothing happens, neither runs.

mod ear;
mod facilities;
mod gate;
mod leave;
mod process;
mod worker;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use anyhow::Context;
use futures::StreamExt;
use inotify::{Inotify, WatchMask};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::kind::Watch;
use super::site::{Files, PREVIEW_PREFIX, remove};
use super::watch::Watcher;
use crate::config::Config;
use crate::identity::InstanceFile;
use crate::paths::Paths;
use crate::platform;
use ear::{Ear, Heard};
use facilities::Facilities;
pub use process::{Process, log_file};
use worker::Worker;

/// One read of the kernel's queue, bytes.
const BUFFER_BYTES: usize = 4096;

/// These are watched from now on; the sender is told when they are.
type Watching = (BTreeSet<Watch>, oneshot::Sender<()>);

/// Keeps, until nothing is left to keep or the daemon says stop.
pub fn run(paths: &Paths) -> anyhow::Result<()> {
    let config = Config::read(&paths.config)?;
    crate::logging::start(&config.log_level, &log_file(paths));
    let files = Files::of(paths);
    files.make().with_context(|| format!("cannot create {}", files.dir().display()))?;
    let Some(_only) = platform::try_lock(&files.lock())? else {
        tracing::debug!("another keeper is at work");
        return Ok(());
    };
    Process::own().write(&files).context("cannot say which process this is")?;
    remove(&files.stop())?;
    let bytes = std::fs::read(paths.instance()).context("cannot read who this host is")?;
    let instance: InstanceFile = serde_json::from_slice(&bytes).context("cannot read who this host is")?;
    tracing::info!("drydock-agent {} keeps the policies of instance {}", env!("CARGO_PKG_VERSION"), instance.instance_id);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(paths, &files, instance.instance_id));
    tracing::info!("the keeper of policies ends");
    ended
}

async fn serve(paths: &Paths, files: &Files, instance: drydock_domain::ids::InstanceId) -> anyhow::Result<()> {
    let inotify = Inotify::init().context("file events are not available")?;
    let mask = WatchMask::MOVED_TO | WatchMask::CREATE | WatchMask::DELETE | WatchMask::CLOSE_WRITE;
    inotify.watches().add(files.dir(), mask).with_context(|| format!("cannot watch {}", files.dir().display()))?;
    let mut dir = inotify.into_event_stream(vec![0; BUFFER_BYTES])?;
    let mut watcher = Watcher::new(&paths.root).context("the host cannot be watched")?;
    let (happened, inbox) = channel();
    let (watch, mut watching) = mpsc::unbounded_channel::<Watching>();
    let facilities = Facilities::real(move |watches: &BTreeSet<Watch>| {
        let (done, is_done) = oneshot::channel();
        // Gone only when the process ends.
        if watch.send((watches.clone(), done)).is_ok() {
            let _ = is_done.blocking_recv();
        }
    });
    let mut worker = Worker::new(paths, instance, facilities, Ear::new(inbox, happened.clone()));
    std::thread::Builder::new().name("engine".to_owned()).spawn(move || worker.serve())?;
    loop {
        tokio::select! {
            watches = watcher.next() => tell(&happened, Heard::Happened(watches, Instant::now(), Timestamp::now())),
            event = dir.next() => match event {
                Some(Ok(event)) if event.name.as_ref().is_none_or(|n| concerns_us(&n.to_string_lossy())) => {
                    tell(&happened, Heard::Daemon);
                }
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(e).context("the daemon's files cannot be watched any more"),
                None => anyhow::bail!("the daemon's files cannot be watched any more"),
            },
            asked = watching.recv() => match asked {
                Some((watches, done)) => {
                    for problem in watcher.set(&watches) {
                        tracing::warn!("{problem}; it is found by the periodic check");
                    }
                    // Gone only when the worker ended meanwhile.
                    let _ = done.send(());
                }
                // The worker is at its end, and took its half of the channel along.
                None => return Ok(()),
            },
        }
    }
}

/// The worker is gone only when it has ended, which is seen by its other channel.
fn tell(happened: &Sender<Heard>, what: Heard) {
    let _ = happened.send(what);
}

/// Is it a file by which the daemon tells us something?
fn concerns_us(name: &str) -> bool {
    let told = ["document", "check", "patching", "look", "stop"];
    told.contains(&name) || (name.starts_with(PREVIEW_PREFIX) && !name.ends_with(".tmp"))
}

/// Where the keeper's downloads, notes and runs are; all go with the state directory.
fn own_dirs(files: &Files) -> [PathBuf; 3] {
    [files.scratch(), files.memory(), files.run()]
}

#[cfg(test)]
mod tests;

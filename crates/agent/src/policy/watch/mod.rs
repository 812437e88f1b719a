//! What happens on the host, as the [`Watch`]es of resources: files and directories by inotify, mounts by the kernel's mount
//! table, units by systemd's signals and their files, packages by the files of their database. Nothing is asked
//! periodically: while nothing happens, nothing runs.
//!
//! An event says "look again", never what is there now. What cannot be watched is left to the engine's timer, with a warning.
//! Absent: which resource a watch belongs to, and when it is looked at (the engine's).

mod mounts;
mod packages;
mod tree;
mod units;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use futures::StreamExt;
use inotify::{EventMask, EventOwned, EventStream, Inotify};

use super::kind::Watch;
use mounts::Mounts;
use packages::Packages;
pub use packages::{Stamp as PackageStamp, stamp as package_stamp};
use tree::Tree;
use units::Signals;

/// Watches at once, count: 500 resources with a few each. What is more is left to the timer.
const WATCHES_MAX: usize = 8192;
/// One read of the kernel's queue, bytes: some hundred events.
const BUFFER_BYTES: usize = 32 * 1024;
/// Events gathered at once, count: a storm is told in parts.
const BATCH_MAX: usize = 4096;

/// Watches a host.
pub struct Watcher {
    root: PathBuf,
    asked: BTreeSet<Watch>,
    tree: Tree,
    events: EventStream<Vec<u8>>,
    mounts: Option<Mounts>,
    packages: Packages,
    signals: Signals,
    /// Happened and not told yet.
    pending: BTreeSet<Watch>,
}

enum Woken {
    File(Option<io::Result<EventOwned>>),
    Mounts(io::Result<BTreeSet<PathBuf>>),
    Packages,
    Units(units::News),
}

impl Watcher {
    /// Of the host at `root` (`/`). Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// The kernel gives no inotify instance.
    pub fn new(root: &Path) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let tree = Tree::new(inotify.watches(), root);
        let events = inotify.into_event_stream(vec![0; BUFFER_BYTES])?;
        // The mount table is that of the whole system: a root in tests is below it, too.
        let mounts = Mounts::open()
            .inspect_err(|e| tracing::warn!("mounts cannot be watched ({e}); what they hide is found by the periodic check"))
            .ok();
        Ok(Watcher {
            root: root.to_owned(),
            asked: BTreeSet::new(),
            tree,
            events,
            mounts,
            packages: Packages::default(),
            signals: Signals::new(root),
            pending: BTreeSet::new(),
        })
    }

    /// Watches exactly these from now on. Called before the first check of what it watches, so that nothing is missed. What
    /// cannot be watched comes back in words: it is left to the timer.
    pub fn set(&mut self, watches: &BTreeSet<Watch>) -> Vec<String> {
        let mut problems = Vec::new();
        if watches.len() > WATCHES_MAX {
            problems.push(format!("{} watches are asked for, {WATCHES_MAX} are kept", watches.len()));
        }
        let watches: BTreeSet<Watch> = watches.iter().take(WATCHES_MAX).cloned().collect();
        for gone in self.asked.difference(&watches) {
            self.tree.disarm(gone);
            self.pending.remove(gone);
        }
        for new in watches.difference(&self.asked) {
            problems.extend(self.tree.arm(new));
        }
        let had_packages = self.asked.contains(&Watch::Packages);
        if watches.contains(&Watch::Packages) && !had_packages {
            self.packages.begin(&self.root);
        }
        self.signals
            .set(watches.iter().filter_map(|w| if let Watch::Unit(unit) = w { Some(unit.clone()) } else { None }).collect());
        self.asked = watches;
        problems
    }

    /// What happened, at least one; waits for it. May be dropped at any time without losing anything.
    pub async fn next(&mut self) -> Vec<Watch> {
        loop {
            if !self.pending.is_empty() {
                return std::mem::take(&mut self.pending).into_iter().collect();
            }
            let woken = tokio::select! {
                event = self.events.next() => Woken::File(event),
                changed = mounts_changed(&mut self.mounts) => Woken::Mounts(changed),
                () = self.packages.settled() => Woken::Packages,
                news = self.signals.next() => Woken::Units(news),
            };
            match woken {
                Woken::File(Some(Ok(event))) => {
                    self.file_event(&event);
                    self.drain();
                }
                Woken::File(Some(Err(e))) => {
                    tracing::warn!("file events cannot be read ({e}); everything is checked");
                    self.everything();
                }
                Woken::File(None) => {
                    // The kernel ended the instance: only the other sources are left.
                    tracing::warn!("file events have ended; files are found by the periodic check");
                    std::future::pending::<()>().await;
                }
                Woken::Mounts(Ok(changed)) => self.mounted(&changed),
                Woken::Mounts(Err(e)) => {
                    tracing::warn!("the mount table cannot be read ({e}); mounts are not watched any more");
                    self.mounts = None;
                    self.everything();
                }
                Woken::Packages => {
                    if self.packages.changed(&self.root) {
                        self.tell(Watch::Packages);
                    }
                    self.arm(&Watch::Packages);
                }
                Woken::Units(units::News::Unit(unit)) => self.tell(Watch::Unit(unit)),
                Woken::Units(units::News::All) => {
                    let units = self.asked.iter().filter(|w| matches!(w, Watch::Unit(_))).cloned();
                    self.pending.extend(units);
                }
            }
        }
    }

    /// Takes what else is already there: one write makes several events.
    fn drain(&mut self) {
        use futures::FutureExt;
        for _ in 0..BATCH_MAX {
            match self.events.next().now_or_never() {
                Some(Some(Ok(event))) => self.file_event(&event),
                _ => return,
            }
        }
    }

    fn file_event(&mut self, event: &EventOwned) {
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            tracing::warn!("more file events came than the kernel keeps; everything is checked");
            self.everything();
            return;
        }
        for watch in self.tree.concerned(event) {
            if watch == Watch::Packages {
                self.packages.touched();
            } else {
                self.tell(watch);
            }
        }
    }

    fn everything(&mut self) {
        for watch in self.asked.clone() {
            self.arm(&watch);
            self.pending.insert(watch);
        }
    }

    fn mounted(&mut self, changed: &BTreeSet<PathBuf>) {
        for watch in self.tree.below(changed) {
            self.arm(&watch);
            self.tell(watch);
        }
    }

    /// Lays the chain of `watch` anew.
    fn arm(&mut self, watch: &Watch) {
        if let Some(problem) = self.tree.arm(watch) {
            tracing::warn!("{problem}; it is checked periodically");
        }
    }

    fn tell(&mut self, watch: Watch) {
        if self.asked.contains(&watch) {
            self.pending.insert(watch);
        }
    }
}

async fn mounts_changed(mounts: &mut Option<Mounts>) -> io::Result<BTreeSet<PathBuf>> {
    match mounts {
        Some(mounts) => mounts.changed().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;

//! Watching the package databases and the package manager's configuration: a package installed by hand is reported within
//! two seconds, a new lock as well. Events are gathered
//! until it has been quiet for a moment, so that one transaction costs few readings.
//!
//! Reading an rpm database opens it for writing, creates and removes side files and so makes events of its own: only
//! a database whose files really changed (size, time, inode) is news, or the agent would read for ever.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;

use futures::StreamExt;
use inotify::{Inotify, WatchMask, Watches};
use tokio::time::Instant;

use super::worker::Ask;

/// A transaction writes in bursts; this long without an event means it paused or ended.
const QUIET: Duration = Duration::from_millis(300);
/// A long transaction is read in between at the latest after this.
const BUSY_MAX: Duration = Duration::from_secs(1);
/// Directories watched, count: a package database has fewer than five.
const WATCHES_MAX: usize = 32;
/// Files looked at in one directory, count: dpkg and rpm keep some twenty.
const FILES_MAX: usize = 1000;
/// One read of the kernel's queue, bytes.
const BUFFER_BYTES: usize = 4096;

/// Watches `paths` and asks the collecting thread for `ask`; returns only when the kernel takes the watch away.
pub async fn run(paths: Vec<PathBuf>, ask: Ask, asks: Sender<Ask>) -> std::io::Result<()> {
    let is_data = if ask == Ask::Rules { is_setting } else { is_data };
    let inotify = Inotify::init()?;
    // A file that is replaced by rename takes its watch with it; its directory stays.
    let dir_of = |path: &PathBuf| if path.is_dir() { path.clone() } else { path.parent().map_or(path.clone(), PathBuf::from) };
    let dirs: Vec<PathBuf> = paths.iter().take(WATCHES_MAX).map(dir_of).collect();
    let mut watches = inotify.watches();
    watch(&mut watches, &dirs);
    let mut last = None;
    let mut events = inotify.into_event_stream(vec![0; BUFFER_BYTES])?;
    while let Some(event) = events.next().await {
        if !is_news(&event?, is_data) {
            continue;
        }
        let latest = Instant::now() + BUSY_MAX;
        while Instant::now() < latest {
            match tokio::time::timeout(QUIET, events.next()).await {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        // `rpm --rebuilddb` puts a new directory in the old one's place; watching the same one twice costs nothing.
        watch(&mut watches, &dirs);
        let now = stamp(&dirs, is_data);
        if last.as_ref() == Some(&now) {
            continue;
        }
        last = Some(now);
        if asks.send(ask).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn watch(watches: &mut Watches, dirs: &[PathBuf]) {
    let content = WatchMask::CLOSE_WRITE | WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVED_TO | WatchMask::MODIFY;
    let directory = WatchMask::MOVE_SELF | WatchMask::DELETE_SELF;
    for dir in dirs {
        if let Err(e) = watches.add(dir, content | directory) {
            tracing::warn!("{} cannot be watched ({e}); changes there are found by the periodic inventory", dir.display());
        }
    }
}

/// Size, time of change and inode of each file that holds something.
type Stamp = BTreeMap<PathBuf, (u64, i64, i64, u64)>;

fn stamp(dirs: &[PathBuf], is_data: fn(&str) -> bool) -> Stamp {
    let files = dirs.iter().filter_map(|d| std::fs::read_dir(d).ok()).flat_map(|entries| entries.flatten().take(FILES_MAX));
    files
        .filter(|e| is_data(&e.file_name().to_string_lossy()))
        .filter_map(|e| Some((e.path(), e.metadata().ok()?)))
        // An empty write-ahead log comes and goes with each reader.
        .filter(|(_, m)| m.is_file() && m.len() > 0)
        .map(|(path, m)| (path, (m.len(), m.mtime(), m.mtime_nsec(), m.ino())))
        .collect()
}

/// Readers touch lock and shared-memory files; only the rest is data.
fn is_data(name: &str) -> bool {
    !(name.ends_with("-shm") || name.starts_with(".dbenv") || name.starts_with("__db") || name.contains("lock"))
}

/// A file of settings: versionlock.list and zypper's locks are some, what editors leave beside them is not.
fn is_setting(name: &str) -> bool {
    !(name.ends_with(['~', '#']) || [".swp", ".swx", ".tmp"].iter().any(|suffix| name.ends_with(suffix)))
}

fn is_news(event: &inotify::EventOwned, is_data: fn(&str) -> bool) -> bool {
    event.name.as_deref().is_none_or(|n| is_data(&Path::new(n).to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_burst_of_changes_is_one_ask_and_locks_are_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let (sender, asks) = std::sync::mpsc::channel();
        let status = dir.path().join("status");
        std::fs::write(&status, "").expect("written");
        let watching = tokio::spawn(run(vec![status.clone()], Ask::Packages, sender));
        let asks = std::sync::Arc::new(std::sync::Mutex::new(asks));
        // The watch is set when the first change is seen.
        let first = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                std::fs::write(&status, "x").expect("written");
                let got = asks.lock().expect("lock").try_recv().is_ok();
                if got {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        first.await.expect("an ask");
        tokio::time::sleep(BUSY_MAX + QUIET).await;
        while asks.lock().expect("lock").try_recv().is_ok() {}
        std::fs::write(dir.path().join("lock-frontend"), "x").expect("written");
        for i in 0..20 {
            std::fs::write(dir.path().join("status-new"), format!("{i}")).expect("written");
            std::fs::rename(dir.path().join("status-new"), &status).expect("renamed");
        }
        let asks2 = asks.clone();
        let got = tokio::task::spawn_blocking(move || asks2.lock().expect("lock").recv_timeout(Duration::from_secs(2)));
        assert_eq!(got.await.expect("joined"), Ok(Ask::Packages));
        assert!(asks.lock().expect("lock").try_recv().is_err(), "one burst, one ask");

        // What a reader of an rpm database does.
        drop(std::fs::OpenOptions::new().append(true).open(&status).expect("opened"));
        std::fs::write(dir.path().join("rpmdb.sqlite-wal"), "").expect("written");
        std::fs::remove_file(dir.path().join("rpmdb.sqlite-wal")).expect("removed");
        std::fs::write(dir.path().join("rpmdb.sqlite-shm"), "x").expect("written");
        tokio::time::sleep(BUSY_MAX + QUIET).await;
        assert!(asks.lock().expect("lock").try_recv().is_err(), "reading is no news");
        watching.abort();
    }

    #[tokio::test]
    async fn a_new_lock_is_news_and_an_emptied_list_too() {
        let dir = tempfile::tempdir().expect("a directory");
        let (sender, asks) = std::sync::mpsc::channel();
        let list = dir.path().join("versionlock.list");
        let watching = tokio::spawn(run(vec![dir.path().to_owned()], Ask::Rules, sender));
        for text in ["nginx-0:1*", "nginx-0:1*\nbash-0:5*", ""] {
            let asked = tokio::time::timeout(Duration::from_secs(10), async {
                loop {
                    // Written until it is seen: nobody tells when the watch is set.
                    std::fs::write(&list, text).expect("written");
                    match asks.try_recv() {
                        Ok(ask) => return ask,
                        Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                    }
                }
            });
            assert_eq!(asked.await.expect("an ask"), Ask::Rules);
        }
        watching.abort();
    }

    #[tokio::test]
    async fn a_directory_put_in_the_old_ones_place_is_watched() {
        let parent = tempfile::tempdir().expect("a directory");
        let (db, new, old) = (parent.path().join("rpm"), parent.path().join("rpmrebuilddb.1"), parent.path().join("rpmold.1"));
        std::fs::create_dir(&db).expect("made");
        let (sender, asks) = std::sync::mpsc::channel();
        let watching = tokio::spawn(run(vec![db.clone()], Ask::Packages, sender));
        let mut round = 0;
        let mut wait_for_ask = async || {
            let asked = tokio::time::timeout(Duration::from_secs(10), async {
                // Written until it is seen: nobody tells when a watch is set.
                while asks.try_recv().is_err() {
                    round += 1;
                    std::fs::write(db.join("rpmdb.sqlite"), "x".repeat(round)).expect("written");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
            asked.await.expect("an ask");
        };
        wait_for_ask().await;
        std::fs::create_dir(&new).expect("made");
        std::fs::rename(&db, &old).expect("moved");
        std::fs::rename(&new, &db).expect("moved");
        tokio::time::sleep(BUSY_MAX + QUIET).await;
        std::fs::remove_dir_all(&old).expect("removed");
        wait_for_ask().await;
        wait_for_ask().await;
        watching.abort();
    }
}

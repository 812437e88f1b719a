//! Watching the directories of repository definitions: one that appears (a package's update writes its file again) is
//! set aside at once. The periodic look of [`super::worker`] is the net under this.

use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::Duration;

use futures::StreamExt;
use inotify::{Inotify, WatchMask};

/// Package managers write several files in a row; this long without an event means they are done.
const QUIET: Duration = Duration::from_millis(300);
/// Bursts are cut at this many events.
const BURST_MAX: usize = 1000;
/// One read of the kernel's queue, bytes.
const BUFFER_BYTES: usize = 4096;

/// Watches `dirs` below `root`, those that are there, and asks for a look after each burst of changes.
pub async fn run(root: &Path, dirs: &[&str], asks: Sender<super::worker::Ask>) -> std::io::Result<()> {
    let inotify = Inotify::init()?;
    let mut watches = inotify.watches();
    for dir in dirs {
        let path = root.join(dir.trim_start_matches('/'));
        if path.is_dir() {
            watches.add(&path, WatchMask::CLOSE_WRITE | WatchMask::MOVED_TO | WatchMask::CREATE | WatchMask::DELETE)?;
        }
    }
    let mut events = inotify.into_event_stream(vec![0; BUFFER_BYTES])?;
    while let Some(event) = events.next().await {
        event?;
        for _ in 0..BURST_MAX {
            if tokio::time::timeout(QUIET, events.next()).await.is_err() {
                break;
            }
        }
        if asks.send(super::worker::Ask::Look).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

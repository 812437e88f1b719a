//! The real kernel, in temporary directories.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;

/// An event takes less than a millisecond; this is for a busy machine.
const SEEN_LIMIT: Duration = Duration::from_secs(10);
/// Long enough for an event that should not come.
const QUIET: Duration = Duration::from_millis(150);

fn path(text: &str) -> Watch {
    Watch::Path(PathBuf::from(text))
}

fn set(watches: &[Watch]) -> BTreeSet<Watch> {
    watches.iter().cloned().collect()
}

async fn seen(watcher: &mut Watcher, what: &Watch) {
    let found = tokio::time::timeout(SEEN_LIMIT, async { while !watcher.next().await.contains(what) {} });
    found.await.unwrap_or_else(|_| panic!("{what:?} was not seen"));
    quiet(watcher).await;
}

/// Takes what else the same change makes; then nothing may come.
async fn quiet(watcher: &mut Watcher) {
    while tokio::time::timeout(QUIET, watcher.next()).await.is_ok() {}
}

#[tokio::test]
async fn whatever_happens_to_a_file_is_seen_and_nothing_beside_it() {
    let root = tempfile::tempdir().expect("a root");
    let host = |p: &str| root.path().join(p);
    std::fs::create_dir_all(host("etc/app")).expect("made");
    let file = path("/etc/app/conf");
    let mut watcher = Watcher::new(root.path()).expect("a watcher");
    watcher.set(&set(std::slice::from_ref(&file)));
    std::fs::write(host("etc/app/conf"), "one").expect("written");
    seen(&mut watcher, &file).await;
    std::fs::write(host("etc/app/conf"), "two").expect("written");
    seen(&mut watcher, &file).await;
    std::fs::set_permissions(host("etc/app/conf"), std::fs::Permissions::from_mode(0o600)).expect("changed");
    seen(&mut watcher, &file).await;
    std::fs::write(host("etc/app/new"), "three").expect("written");
    assert!(tokio::time::timeout(QUIET, watcher.next()).await.is_err(), "a neighbour is no news");
    std::fs::rename(host("etc/app/new"), host("etc/app/conf")).expect("renamed");
    seen(&mut watcher, &file).await;
    // And what took its place is watched, too.
    std::fs::write(host("etc/app/conf"), "four").expect("written");
    seen(&mut watcher, &file).await;
    std::fs::remove_file(host("etc/app/conf")).expect("removed");
    seen(&mut watcher, &file).await;
}

#[tokio::test]
async fn a_parent_that_goes_comes_and_is_replaced_is_seen() {
    let root = tempfile::tempdir().expect("a root");
    let host = |p: &str| root.path().join(p);
    let file = path("/a/b/c/file");
    let mut watcher = Watcher::new(root.path()).expect("a watcher");
    watcher.set(&set(std::slice::from_ref(&file)));
    std::fs::create_dir_all(host("a/b/c")).expect("made");
    seen(&mut watcher, &file).await;
    std::fs::write(host("a/b/c/file"), "x").expect("written");
    seen(&mut watcher, &file).await;
    std::fs::remove_dir_all(host("a")).expect("removed");
    seen(&mut watcher, &file).await;
    std::fs::create_dir_all(host("other/c")).expect("made");
    std::fs::create_dir_all(host("a")).expect("made");
    seen(&mut watcher, &file).await;
    std::fs::rename(host("other"), host("a/b")).expect("renamed");
    seen(&mut watcher, &file).await;
    std::fs::write(host("a/b/c/file"), "y").expect("written");
    seen(&mut watcher, &file).await;
    std::fs::rename(host("a/b"), host("elsewhere")).expect("renamed");
    seen(&mut watcher, &file).await;
}

#[tokio::test]
async fn through_a_link_both_ways_are_watched() {
    let root = tempfile::tempdir().expect("a root");
    let host = |p: &str| root.path().join(p);
    std::fs::create_dir_all(host("real/dir")).expect("made");
    std::os::unix::fs::symlink("real", host("link")).expect("linked");
    let file = path("/link/dir/file");
    let mut watcher = Watcher::new(root.path()).expect("a watcher");
    watcher.set(&set(std::slice::from_ref(&file)));
    std::fs::write(host("real/dir/file"), "x").expect("written");
    seen(&mut watcher, &file).await;
    std::fs::rename(host("real/dir"), host("real/gone")).expect("renamed");
    seen(&mut watcher, &file).await;
    std::fs::remove_file(host("link")).expect("removed");
    seen(&mut watcher, &file).await;
}

#[tokio::test]
async fn what_is_not_asked_for_any_more_is_not_told() {
    let root = tempfile::tempdir().expect("a root");
    let (one, two) = (path("/one"), path("/two"));
    let mut watcher = Watcher::new(root.path()).expect("a watcher");
    watcher.set(&set(&[one.clone(), two.clone()]));
    std::fs::write(root.path().join("one"), "x").expect("written");
    seen(&mut watcher, &one).await;
    watcher.set(&set(std::slice::from_ref(&two)));
    std::fs::write(root.path().join("one"), "y").expect("written");
    assert!(tokio::time::timeout(QUIET, watcher.next()).await.is_err(), "nobody asked");
    std::fs::write(root.path().join("two"), "y").expect("written");
    seen(&mut watcher, &two).await;
}

/// The kernel's own files tell of writes by user space. This machine's value is written back as it is.
#[tokio::test]
async fn a_write_to_a_kernel_parameter_is_seen() {
    let key = "/proc/sys/kernel/printk_ratelimit";
    let value = std::fs::read_to_string(key).expect("read");
    let watch = Watch::Sysctl(PathBuf::from(key));
    let mut watcher = Watcher::new(Path::new("/")).expect("a watcher");
    watcher.set(&set(std::slice::from_ref(&watch)));
    if std::fs::write(key, &value).is_err() {
        // A container with a read-only /proc/sys: nobody else can write there either.
        eprintln!("a kernel parameter: skipped, {key} cannot be written here");
        return;
    }
    seen(&mut watcher, &watch).await;
    if crate::policy::lab_host::is_one("a forgotten name of a parameter") {
        // The kernel forgets names that nobody holds open.
        std::fs::write("/proc/sys/vm/drop_caches", "2").expect("dropped");
        std::fs::write(key, &value).expect("written");
        seen(&mut watcher, &watch).await;
    }
}

#[tokio::test]
async fn a_transaction_is_told_once_it_pauses_and_a_reader_is_no_news() {
    let root = tempfile::tempdir().expect("a root");
    let database = root.path().join("var/lib/dpkg");
    std::fs::create_dir_all(&database).expect("made");
    std::fs::write(database.join("status"), "a").expect("written");
    let mut watcher = Watcher::new(root.path()).expect("a watcher");
    watcher.set(&set(&[Watch::Packages]));
    for i in 0..20 {
        std::fs::write(database.join("status-new"), format!("{i}")).expect("written");
        std::fs::rename(database.join("status-new"), database.join("status")).expect("renamed");
    }
    let first = tokio::time::timeout(SEEN_LIMIT, watcher.next()).await.expect("seen");
    assert_eq!(first, vec![Watch::Packages]);
    std::fs::write(database.join("lock-frontend"), "x").expect("written");
    drop(std::fs::OpenOptions::new().append(true).open(database.join("status")).expect("opened"));
    assert!(tokio::time::timeout(Duration::from_secs(2), watcher.next()).await.is_err(), "no news");
}

#[tokio::test]
async fn unit_files_and_the_links_that_enable_them_are_watched_without_systemd() {
    let root = tempfile::tempdir().expect("a root");
    let units = root.path().join("etc/systemd/system");
    std::fs::create_dir_all(&units).expect("made");
    let unit = Watch::Unit("web.service".to_owned());
    let mut watcher = Watcher::new(root.path()).expect("a watcher");
    watcher.set(&set(std::slice::from_ref(&unit)));
    std::fs::create_dir(units.join("multi-user.target.wants")).expect("made");
    seen(&mut watcher, &unit).await;
    let link = units.join("multi-user.target.wants/web.service");
    std::os::unix::fs::symlink("/usr/lib/systemd/system/web.service", &link).expect("linked");
    seen(&mut watcher, &unit).await;
    std::fs::remove_file(&link).expect("removed");
    seen(&mut watcher, &unit).await;
    std::fs::write(units.join("other.service"), "x").expect("written");
    assert!(tokio::time::timeout(QUIET, watcher.next()).await.is_err(), "another unit is no news");
}

#[tokio::test]
async fn more_events_than_the_kernel_keeps_means_that_everything_is_looked_at() {
    let root = tempfile::tempdir().expect("a root");
    let (one, two) = (path("/one"), path("/two"));
    let mut watcher = Watcher::new(root.path()).expect("a watcher");
    watcher.set(&set(&[one.clone(), two.clone()]));
    let max: usize = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .ok()
        .and_then(|t| t.trim().parse().ok())
        .expect("a limit");
    if max > 200_000 {
        return;
    }
    for i in 0..max {
        let from = root.path().join(if i % 2 == 0 { "x" } else { "y" });
        std::fs::write(&from, "").expect("written");
    }
    let mut all = BTreeSet::new();
    let both = tokio::time::timeout(SEEN_LIMIT, async {
        while !(all.contains(&one) && all.contains(&two)) {
            all.extend(watcher.next().await);
        }
    });
    both.await.expect("both are told although only neighbours were written");
}

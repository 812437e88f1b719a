//! The real systemd, where these tests run as root on a host that they may change: a lab host.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Instant;

use drydock_pkgmgr::testing::ScriptedRunner;

use super::*;
use crate::policy::kind::Watch;
use crate::policy::lab_host;
use crate::policy::watch::Watcher;

const UNIT: &str = "drydock-selftest.service";
const TEXT: &str = "[Service]\nExecStart=/bin/sleep 1000\nExecReload=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
/// Anything asked for.
const LIMIT: Duration = Duration::from_secs(20);
/// Longer than one change's events are apart.
const PAUSE: Duration = Duration::from_millis(300);

/// A change by us and how the unit is afterwards.
type Change = (fn(&dyn Units) -> Result<(), Failure>, &'static str, &'static str);

/// Everything goes by the socket: no command is expected.
fn by_socket(root: &Path) -> Systemd {
    Systemd::new(root, Box::new(ScriptedRunner::new()))
}

fn sh(program: &str, args: &[&str]) {
    assert!(Command::new(program).args(args).status().expect("ran").success(), "{program} {args:?}");
}

async fn heard(watcher: &mut Watcher, watch: &Watch) {
    let events = tokio::time::timeout(LIMIT, watcher.next()).await.expect("heard");
    assert!(events.contains(watch), "{events:?}");
}

async fn quiet(watcher: &mut Watcher) {
    let began = Instant::now();
    while tokio::time::timeout(PAUSE, watcher.next()).await.is_ok() {
        assert!(began.elapsed() < LIMIT, "looking at a unit makes events for ever");
    }
}

#[tokio::test]
async fn the_real_systemd_is_asked_changed_and_heard() {
    if !lab_host::is_one("the real systemd") {
        return;
    }
    std::fs::write(format!("/etc/systemd/system/{UNIT}"), TEXT).expect("written");
    let watch = Watch::Unit(UNIT.to_owned());
    let mut watcher = Watcher::new(Path::new("/")).expect("a watcher");
    assert!(watcher.set(&BTreeSet::from([watch.clone()])).is_empty());
    heard(&mut watcher, &watch).await;
    let systemd = by_socket(Path::new("/"));
    systemd.daemon_reload().expect("reloaded");
    quiet(&mut watcher).await;
    let before = systemd.state(UNIT).expect("asked");
    assert_eq!((before.load.as_str(), before.active.as_str(), before.file.as_str()), ("loaded", "inactive", "disabled"));
    quiet(&mut watcher).await;
    by_us(&systemd, &mut watcher, &watch).await;
    by_others(&systemd, &mut watcher, &watch).await;
    std::fs::remove_file(format!("/etc/systemd/system/{UNIT}")).expect("removed");
}

async fn by_us(systemd: &Systemd, watcher: &mut Watcher, watch: &Watch) {
    let changes: [Change; 5] = [
        (|s| s.start(UNIT, LIMIT), "active", "disabled"),
        (|s| s.set_enabled(UNIT, true), "active", "enabled"),
        (|s| s.reload_or_restart(UNIT, LIMIT), "active", "enabled"),
        (|s| s.set_enabled(UNIT, false), "active", "disabled"),
        (|s| s.stop(UNIT, LIMIT), "inactive", "disabled"),
    ];
    for (i, (change, active, file)) in changes.into_iter().enumerate() {
        let began = Instant::now();
        change(systemd).expect("changed");
        let after = systemd.state(UNIT).expect("asked");
        eprintln!("change {i}: {:?}", began.elapsed());
        assert_eq!((after.active.as_str(), after.file.as_str()), (active, file), "change {i}");
        heard(watcher, watch).await;
        quiet(watcher).await;
    }
    assert!(systemd.state(UNIT).expect("asked").can_reload);
    assert_eq!(systemd.state("drydock-nobody.service").expect("asked").load, "not-found");
    let failure = systemd.start("drydock-nobody.service", LIMIT).expect_err("not there");
    assert!(failure.message.contains("is its package installed?"), "{failure:?}");
    // The bus, where process 1's own socket is not to be had.
    let other = tempfile::tempdir().expect("a root");
    std::fs::create_dir(other.path().join("run")).expect("made");
    std::os::unix::fs::symlink("/run/dbus", other.path().join("run/dbus")).expect("linked");
    let by_bus = by_socket(other.path());
    by_bus.start(UNIT, LIMIT).expect("started");
    assert_eq!(by_bus.state(UNIT).expect("asked").active, "active");
    by_bus.stop(UNIT, LIMIT).expect("stopped");
    quiet(watcher).await;
}

async fn by_others(systemd: &Systemd, watcher: &mut Watcher, watch: &Watch) {
    for verb in ["start", "enable", "stop", "disable"] {
        let began = Instant::now();
        sh("systemctl", &[verb, UNIT]);
        heard(watcher, watch).await;
        eprintln!("{verb} heard after {:?}", began.elapsed());
        quiet(watcher).await;
    }
    // Process 1 executes itself anew: the connection ends, and another one is made.
    sh("systemctl", &["daemon-reexec"]);
    heard(watcher, watch).await;
    quiet(watcher).await;
    systemd.start(UNIT, LIMIT).expect("started");
    heard(watcher, watch).await;
    systemd.stop(UNIT, LIMIT).expect("stopped");
    quiet(watcher).await;
}

#[tokio::test]
async fn a_real_mount_over_a_watched_file_is_seen() {
    if !lab_host::is_one("the real systemd") {
        return;
    }
    std::fs::create_dir_all("/srv/over").expect("made");
    std::fs::write("/srv/over/file", "x").expect("written");
    let file = Watch::Path("/srv/over/file".into());
    let mut watcher = Watcher::new(Path::new("/")).expect("a watcher");
    watcher.set(&BTreeSet::from([file.clone()]));
    sh("mount", &["-t", "tmpfs", "none", "/srv/over"]);
    heard(&mut watcher, &file).await;
    quiet(&mut watcher).await;
    std::fs::write("/srv/over/file", "y").expect("written");
    heard(&mut watcher, &file).await;
    quiet(&mut watcher).await;
    sh("umount", &["/srv/over"]);
    heard(&mut watcher, &file).await;
}

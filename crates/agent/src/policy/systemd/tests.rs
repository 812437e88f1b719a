use drydock_pkgmgr::run::End;
use drydock_pkgmgr::testing::ScriptedRunner;

use super::*;

const SHOW: &str = "systemctl show --no-pager --property=LoadState,ActiveState,UnitFileState,CanReload -- ssh.service";

fn systemd(runner: ScriptedRunner) -> (tempfile::TempDir, Systemd) {
    let root = tempfile::tempdir().expect("a root");
    let systemd = Systemd::new(root.path(), Box::new(runner));
    (root, systemd)
}

#[test]
fn without_a_socket_systemctl_is_asked_and_the_disk_is_right() {
    let runner = ScriptedRunner::new()
        .expect(SHOW, "CanReload=yes\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n")
        .expect_end("systemctl is-enabled -- ssh.service", End::Exited(1), "disabled\n", "");
    let (_root, systemd) = systemd(runner);
    let state = systemd.state("ssh.service").expect("asked");
    assert_eq!(state, UnitState { load: "loaded".into(), active: "active".into(), file: "disabled".into(), can_reload: true });
}

#[test]
fn a_unit_nobody_knows_is_not_found_and_a_failed_start_tells_why() {
    let runner = ScriptedRunner::new()
        .expect(SHOW, "CanReload=no\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n")
        .expect_end("systemctl is-enabled -- ssh.service", End::Exited(4), "not-found\n", "")
        .expect_end(
            "systemctl start ssh.service",
            End::Exited(5),
            "",
            "Failed to start ssh.service: Unit ssh.service not found.\n",
        );
    let (_root, systemd) = systemd(runner);
    assert_eq!(systemd.state("ssh.service").expect("asked").load, "not-found");
    let failure = systemd.start("ssh.service", Duration::from_secs(5)).expect_err("refused");
    assert!(failure.message.contains("Unit ssh.service not found"), "{failure:?}");
}

#[test]
fn a_name_without_suffix_is_a_service() {
    assert_eq!(unit_name("httpd"), "httpd.service");
    assert_eq!(unit_name("a.b"), "a.b.service");
    assert_eq!(unit_name("x.timer"), "x.timer");
}

/// Set where these tests run as root on a host that they may change: a lab host.
const ON_LAB_HOST: &str = "DRYDOCK_TEST_ON_LAB_HOST";

/// The real systemd: by its own socket, and by the bus where `bus` says so.
#[tokio::test]
async fn the_real_systemd_is_asked_changed_and_heard() {
    if std::env::var_os(ON_LAB_HOST).is_none() {
        return;
    }
    use crate::policy::kind::Watch;
    use crate::policy::watch::Watcher;
    // Says by which way systemd was asked.
    let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_test_writer().try_init();
    let unit = "drydock-selftest.service";
    let text = "[Service]\nExecStart=/bin/sleep 1000\nExecReload=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
    std::fs::write("/etc/systemd/system/drydock-selftest.service", text).expect("written");
    let watch = Watch::Unit(unit.to_owned());
    let mut watcher = Watcher::new(Path::new("/")).expect("a watcher");
    assert!(watcher.set(&std::collections::BTreeSet::from([watch.clone()])).is_empty());
    let limit = Duration::from_secs(20);
    assert!(tokio::time::timeout(limit, watcher.next()).await.expect("connected").contains(&watch));
    // No command is expected: everything goes by the socket.
    let systemd = Systemd::new(Path::new("/"), Box::new(ScriptedRunner::new()));
    systemd.daemon_reload().expect("reloaded");
    let quiet = |watcher: Watcher| async {
        let mut watcher = watcher;
        let began = std::time::Instant::now();
        while tokio::time::timeout(Duration::from_millis(300), watcher.next()).await.is_ok() {
            assert!(began.elapsed() < limit, "looking at a unit makes events for ever");
        }
        watcher
    };
    watcher = quiet(watcher).await;
    let before = systemd.state(unit).expect("asked");
    assert_eq!((before.load.as_str(), before.active.as_str(), before.file.as_str()), ("loaded", "inactive", "disabled"));
    watcher = quiet(watcher).await;
    type Change = fn(&dyn Units, &str) -> Result<(), Failure>;
    let changes: [(Change, &str, &str); 6] = [
        (|s, u| s.start(u, Duration::from_secs(20)), "active", "disabled"),
        (|s, u| s.set_enabled(u, true), "active", "enabled"),
        (|s, u| s.reload_or_restart(u, Duration::from_secs(20)), "active", "enabled"),
        (|s, u| s.set_enabled(u, false), "active", "disabled"),
        (|s, u| s.stop(u, Duration::from_secs(20)), "inactive", "disabled"),
        (|s, u| s.set_masked(u, false), "inactive", "disabled"),
    ];
    for (i, (change, active, file)) in changes.into_iter().enumerate() {
        let began = std::time::Instant::now();
        change(&systemd, unit).expect("changed");
        let after = systemd.state(unit).expect("asked");
        eprintln!("change {i}: {:?}", began.elapsed());
        assert_eq!((after.active.as_str(), after.file.as_str()), (active, file), "change {i}");
        if i < 5 {
            let heard = tokio::time::timeout(limit, watcher.next()).await.expect("heard");
            assert!(heard.contains(&watch), "change {i}");
        }
        watcher = quiet(watcher).await;
    }
    assert!(systemd.state(unit).expect("asked").can_reload);
    // By others, behind our back.
    for args in [["start", unit], ["enable", unit], ["stop", unit], ["disable", unit]] {
        let began = std::time::Instant::now();
        let status = std::process::Command::new("systemctl").args(args).status().expect("ran");
        assert!(status.success(), "{args:?}");
        let heard = tokio::time::timeout(limit, watcher.next()).await.expect("heard");
        assert!(heard.contains(&watch), "{args:?}");
        eprintln!("{args:?} heard after {:?}", began.elapsed());
        watcher = quiet(watcher).await;
    }
    // Process 1 executes itself anew: the connection ends, and another one is made.
    let status = std::process::Command::new("systemctl").arg("daemon-reexec").status().expect("ran");
    assert!(status.success());
    assert!(tokio::time::timeout(limit, watcher.next()).await.expect("heard").contains(&watch));
    watcher = quiet(watcher).await;
    systemd.start(unit, limit).expect("started");
    assert!(tokio::time::timeout(limit, watcher.next()).await.expect("heard").contains(&watch));
    systemd.stop(unit, limit).expect("stopped");
    assert_eq!(systemd.state("drydock-nobody.service").expect("asked").load, "not-found");
    let failure = systemd.start("drydock-nobody.service", limit).expect_err("not there");
    assert!(failure.message.contains("is its package installed?"), "{failure:?}");
    // The bus, where process 1's own socket is not to be had.
    let other = tempfile::tempdir().expect("a root");
    std::fs::create_dir(other.path().join("run")).expect("made");
    std::os::unix::fs::symlink("/run/dbus", other.path().join("run/dbus")).expect("linked");
    let by_bus = Systemd::new(other.path(), Box::new(ScriptedRunner::new()));
    by_bus.start(unit, limit).expect("started");
    assert_eq!(by_bus.state(unit).expect("asked").active, "active");
    by_bus.stop(unit, limit).expect("stopped");
    // And a mount over a watched file.
    std::fs::create_dir_all("/srv/over").expect("made");
    std::fs::write("/srv/over/file", "x").expect("written");
    let file = Watch::Path("/srv/over/file".into());
    watcher.set(&std::collections::BTreeSet::from([file.clone()]));
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "none", "/srv/over"]).status().expect("ran");
    assert!(mounted.success());
    assert!(tokio::time::timeout(limit, watcher.next()).await.expect("heard").contains(&file));
    std::fs::write("/srv/over/file", "y").expect("written");
    assert!(tokio::time::timeout(limit, watcher.next()).await.expect("heard").contains(&file));
    quiet(watcher).await;
}

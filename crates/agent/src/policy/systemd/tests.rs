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

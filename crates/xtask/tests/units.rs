//! The units of systemd that are shipped: least privilege, as systemd itself measures it.

use std::path::PathBuf;
use std::process::Command;

/// Most exposure the server's unit may have, tenths (systemd's scale goes to 100): it listens on the network and writes one
/// directory.
const EXPOSURE_MAX: u32 = 15;

#[test]
fn the_server_s_unit_may_hardly_do_anything() {
    let unit = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../packaging/drydockd.service");
    let measured = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", &format!("--threshold={EXPOSURE_MAX}")])
        .arg(&unit)
        .output();
    match measured {
        Err(e) => eprintln!("skipped: systemd-analyze cannot be started: {e}"),
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
    }
    let text = std::fs::read_to_string(&unit).expect("there");
    for line in [
        "User=drydock",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ReadWritePaths=/var/lib/drydock",
        "CapabilityBoundingSet=",
        "MemoryDenyWriteExecute=yes",
        "SystemCallFilter=~@privileged @resources",
        "UMask=0077",
    ] {
        assert!(text.lines().any(|l| l == line), "the unit lost {line}");
    }
}

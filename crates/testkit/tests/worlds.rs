//! Worlds are the same for the same seed, and the real tools accept them.

use drydock_testkit::lab::skip_reason;
use drydock_testkit::worlds::{Answers, Tool, ask, deb_world, rpm_world};

/// Worlds each tool is asked about, count.
const WORLDS: u64 = 3;

#[test]
fn a_seed_is_a_world() {
    assert_eq!(format!("{:?}", rpm_world(7)), format!("{:?}", rpm_world(7)));
    assert_ne!(format!("{:?}", rpm_world(7)), format!("{:?}", rpm_world(8)));
    assert_ne!(format!("{:?}", deb_world(7)), format!("{:?}", deb_world(8)));
}

#[test]
fn every_tool_accepts_them() {
    if let Some(reason) = skip_reason().unwrap() {
        eprintln!("skipped: {reason}");
        return;
    }
    for tool in [Tool::Dnf4, Tool::Dnf5, Tool::Zypper, Tool::Apt] {
        let dir = tempfile::tempdir().unwrap();
        let answers = match tool {
            Tool::Apt => ask(tool, &(0..WORLDS).map(deb_world).collect::<Vec<_>>(), dir.path()),
            _ => ask(tool, &(0..WORLDS).map(rpm_world).collect::<Vec<_>>(), dir.path()),
        };
        for answer in answers.unwrap() {
            check(tool, &answer);
        }
    }
}

/// Questions were answered: 100 is how dnf says that there are updates.
fn check(tool: Tool, answer: &Answers) {
    let codes: Vec<_> = answer.iter().filter(|(name, _)| name.ends_with(".code")).collect();
    assert!(codes.len() >= 3, "{tool:?} was not asked: {answer:#?}");
    assert!(codes.iter().all(|(_, code)| matches!(code.trim(), "0" | "100")), "{tool:?}: {answer:#?}");
}

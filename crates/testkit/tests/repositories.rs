//! The standard repositories are what the real tools say they are.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use drydock_testkit::command::run;
use drydock_testkit::lab::repositories_skip_reason;
use drydock_testkit::upstream::{PackageSet, Standard, standard};

const TOOL_LIMIT: Duration = Duration::from_secs(60);

/// The repositories, or `None` after printing why there are none.
fn built() -> Option<Standard> {
    if let Some(reason) = repositories_skip_reason().unwrap() {
        eprintln!("skipped: {reason}");
        return None;
    }
    Some(standard().unwrap())
}

fn output(program: &str, arguments: &[&str], path: &Path) -> String {
    run(Command::new(program).args(arguments).arg(path), TOOL_LIMIT).unwrap().success().unwrap()
}

/// rpm reads back epoch, version, obsoletes, scriptlets and configuration files as declared.
#[test]
fn rpm_packages_say_what_was_declared() {
    let Some(standard) = built() else { return };
    let updates = standard.dir().join("rpm/updates");
    let beta = output("rpm", &["-qp", "--queryformat", "%{NAME} %{EVR} %{ARCH}"], &updates.join("dd-beta-1.1-1.noarch.rpm"));
    assert_eq!(beta, "dd-beta 1:1.1-1 noarch");
    let new = updates.join("dd-new-2.0-1.noarch.rpm");
    assert_eq!(output("rpm", &["-qp", "--obsoletes"], &new).trim(), "dd-old < 2.0");
    let conf = updates.join("dd-conf-1.1-1.noarch.rpm");
    assert_eq!(output("rpm", &["-qp", "--configfiles"], &conf).trim(), "/etc/dd-conf.conf");
    let bad = standard.dir().join("rpm/faults/dd-badpre-1.1-1.noarch.rpm");
    let scripts = output("rpm", &["-qp", "--scripts"], &bad);
    assert!(scripts.contains("preinstall") && scripts.contains("exit 1"), "{scripts}");
    let alpha = format!("dd-alpha-1.1-1.{}.rpm", std::env::consts::ARCH);
    assert!(updates.join(alpha).exists(), "dd-alpha is for this architecture");
}

/// The metadata lists every package, and updateinfo every advisory with its CVE and reboot.
#[test]
fn rpm_metadata_has_packages_and_advisories() {
    let Some(standard) = built() else { return };
    for (set, packages) in [("base", 11), ("updates", 9), ("faults", 2)] {
        let repodata = standard.dir().join("rpm").join(set).join("repodata");
        let primary = uncompressed(&repodata, "-primary.xml");
        assert!(primary.contains(&format!("packages=\"{packages}\"")), "{set}: {primary:.300}");
    }
    let updateinfo = uncompressed(&standard.dir().join("rpm/updates/repodata"), "-updateinfo.xml");
    for part in [
        "<id>LABSA-2026:0001</id>",
        "type=\"security\"",
        "type=\"enhancement\"",
        "<severity>Critical</severity>",
        "id=\"CVE-2026-0007\" type=\"cve\"",
        "<reboot_suggested>True</reboot_suggested>",
    ] {
        assert!(updateinfo.contains(part), "{part} is missing from {updateinfo}");
    }
}

fn uncompressed(repodata: &Path, part: &str) -> String {
    let entries = std::fs::read_dir(repodata).unwrap();
    let file = entries.map(|entry| entry.unwrap().path()).find(|path| path.to_str().unwrap().contains(part));
    output("gzip", &["-dc"], &file.unwrap_or_else(|| panic!("no {part} in {}", repodata.display())))
}

/// dpkg reads back versions, relations and conffiles; the archives name themselves.
#[test]
fn deb_packages_and_archives_say_what_was_declared() {
    let Some(standard) = built() else { return };
    let deb = standard.dir().join("deb");
    let field = |file: &str, field: &str| {
        let path = deb.join(file);
        let mut command = Command::new("dpkg-deb");
        run(command.arg("-f").arg(path).arg(field), TOOL_LIMIT).unwrap().success().unwrap().trim().to_owned()
    };
    assert_eq!(field("updates/pool/dd-beta_1.1-1_all.deb", "Version"), "1:1.1-1");
    assert_eq!(field("updates/pool/dd-new_2.0-1_all.deb", "Breaks"), "dd-old (<< 2.0)");
    assert_eq!(field("updates/pool/dd-old_2.0-1_all.deb", "Depends"), "dd-new");
    let conffiles = output("dpkg-deb", &["--ctrl-tarfile"], &deb.join("updates/pool/dd-conf_1.1-1_all.deb"));
    assert!(conffiles.contains("/etc/dd-conf.conf"), "{conffiles}");
    for set in PackageSet::ALL {
        let (suite, label) = set.apt_suite_and_label();
        let dist = deb.join(set.name()).join("dists").join(suite);
        let release = std::fs::read_to_string(dist.join("Release")).unwrap();
        assert!(release.contains(&format!("Label: {label}\n")) && release.contains(&format!("Suite: {suite}\n")), "{release}");
        let signed = std::fs::read_to_string(dist.join("InRelease")).unwrap();
        assert!(signed.starts_with("-----BEGIN PGP SIGNED MESSAGE-----"), "{signed:.200}");
    }
    assert_ne!(PackageSet::Security.apt_suite_and_label(), PackageSet::Updates.apt_suite_and_label());
}

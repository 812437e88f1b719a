//! The repositories: `old` has what hosts begin with, `new` what comes next. `du-lib` 1.0 is in `old` alone; its file is
//! kept in `files`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use drydock_testkit::upstream::{AptArchive, DebPackage, PackageFile, Relation, RpmPackage, RpmRepository, Scripts, cached};

/// Change it with the packages below.
const RECIPE: &str = "undo 1";
/// The suite of the Debian archives.
pub const SUITE: &str = "undo";

/// Builds everything once.
pub fn repositories() -> Result<PathBuf> {
    cached("pkgmgr-undo", RECIPE, |dir| {
        debs(dir)?;
        rpms(dir)
    })
}

fn config(name: &str, content: &str) -> PackageFile {
    PackageFile::new(format!("/etc/{name}.cfg"), content).config()
}

fn deb(name: &str, version: &str, relations: &[(Relation, &str)], files: Vec<PackageFile>) -> DebPackage {
    let relations = relations.iter().map(|(r, what)| (*r, (*what).to_owned())).collect();
    DebPackage { relations, files, ..DebPackage::new(name, version) }
}

fn debs(dir: &Path) -> Result<()> {
    use Relation::{Conflicts, Depends, Provides, Replaces};
    let lib1 = deb("du-lib", "1.0-1", &[], vec![]);
    let first = vec![
        deb("du-app", "1.0-1", &[(Depends, "du-lib (>= 1.0)")], vec![]),
        deb("du-conf", "1.0-1", &[], vec![config("du-conf", "one\n"), config("du-kept", "one\n")]),
        deb("du-gone", "1.0-1", &[], vec![config("du-gone", "one\n")]),
        deb("du-old", "1.0-1", &[], vec![]),
        deb("du-down", "2.0-1", &[], vec![]),
        deb("du-rc", "1.0-1", &[], vec![config("du-rc", "one\n")]),
        deb("du-fails", "1.0-1", &[], vec![]),
    ];
    let scripts = Scripts { after_install: "exit 1".into(), ..Scripts::default() };
    let second = vec![
        deb("du-lib", "2.0-1", &[], vec![]),
        deb("du-app", "1.5-1", &[(Depends, "du-lib (>= 1.0)")], vec![]),
        deb("du-app", "2.0-1", &[(Depends, "du-lib (= 2.0-1), du-dep, du-repl")], vec![]),
        deb("du-dep", "1.0-1", &[], vec![config("du-dep", "one\n")]),
        deb("du-conf", "2.0-1", &[], vec![config("du-conf", "two\n"), config("du-kept", "two\n")]),
        deb("du-repl", "2.0-1", &[(Conflicts, "du-old"), (Replaces, "du-old"), (Provides, "du-old")], vec![]),
        deb("du-down", "1.0-1", &[], vec![]),
        deb("du-needs", "1.0-1", &[(Depends, "du-lib (>= 2.0)")], vec![]),
    ];
    let fails = DebPackage { scripts, ..deb("du-fails", "2.0-1", &[], vec![]) };
    fs::create_dir_all(dir.join("files"))?;
    lib1.build(&dir.join("files"))?;
    archive(&dir.join("deb-old"), first.iter().chain([&lib1]).cloned().collect())?;
    archive(&dir.join("deb-new"), first.into_iter().chain(second).collect())?;
    archive(&dir.join("deb-fails"), vec![fails])
}

fn archive(dir: &Path, packages: Vec<DebPackage>) -> Result<()> {
    let archive =
        AptArchive { origin: "Drydock-Lab".into(), label: "Lab".into(), suite: SUITE.into(), codename: SUITE.into(), packages };
    archive.build(dir, None)
}

fn rpm(name: &str, version: &str, requires: &[&str], files: Vec<PackageFile>) -> RpmPackage {
    let requires = requires.iter().map(|r| (*r).to_owned()).collect();
    RpmPackage { requires, files, ..RpmPackage::new(name, version) }
}

fn kernel(version: &str) -> RpmPackage {
    let provides = vec!["installonlypkg(kernel)".into(), "multiversion(kernel)".into()];
    let files = vec![PackageFile::new(format!("/usr/share/du-kernel/{version}"), "")];
    RpmPackage { provides, files, ..RpmPackage::new("kernel-du", version) }
}

fn rpms(dir: &Path) -> Result<()> {
    let lib1 = rpm("du-lib", "1.0", &[], vec![]);
    let first = vec![
        rpm("du-app", "1.0", &["du-lib >= 1.0"], vec![]),
        rpm("du-conf", "1.0", &[], vec![config("du-conf", "one\n"), config("du-kept", "one\n")]),
        rpm("du-gone", "1.0", &[], vec![config("du-gone", "one\n")]),
        rpm("du-old", "1.0", &[], vec![]),
        rpm("du-down", "2.0", &[], vec![]),
        kernel("5.0"),
    ];
    let second = vec![
        rpm("du-lib", "2.0", &[], vec![]),
        rpm("du-app", "1.5", &["du-lib >= 1.0"], vec![]),
        rpm("du-app", "2.0", &["du-lib = 2.0", "du-dep", "du-repl"], vec![]),
        rpm("du-dep", "1.0", &[], vec![config("du-dep", "one\n")]),
        rpm("du-conf", "2.0", &[], vec![config("du-conf", "two\n"), config("du-kept", "two\n")]),
        RpmPackage { obsoletes: vec!["du-old < 2.0".into()], ..rpm("du-repl", "2.0", &[], vec![]) },
        rpm("du-down", "1.0", &[], vec![]),
        rpm("du-needs", "1.0", &["du-lib >= 2.0"], vec![]),
        kernel("6.0"),
    ];
    lib1.build(&dir.join("files"))?;
    let build = |name: &str, packages: Vec<RpmPackage>| RpmRepository { packages, advisories: Vec::new() }.build(&dir.join(name));
    build("rpm-old", first.iter().chain([&lib1]).cloned().collect())?;
    build("rpm-new", first.into_iter().chain(second).collect())
}

//! All advisories of AlmaLinux 8, real, when they are there: counts and facts that were found with other tools.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use drydock_domain::advisory::{AdvisoryKind, Severity};

use super::*;

/// The file, or the reason why the test is skipped.
pub fn file() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/advisories/almalinux8-osv.jsonl.xz");
    let path = PathBuf::from(beside);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}

#[test]
fn all_of_almalinux_8() {
    let Some(path) = file() else { return };
    let mut advisories: Vec<Advisory> = Vec::new();
    let report = read_feed(None, File::open(path).unwrap(), &Hints::default(), &mut |item| {
        match item {
            FeedItem::Advisory(advisory) => advisories.push(*advisory),
            other => panic!("{other:?}"),
        }
        Ok(())
    })
    .unwrap();
    assert_eq!((report.kind, report.documents, report.advisories, report.left_out), (FeedKind::Osv, 3237, 3237, 0), "{report:?}");
    let ids: std::collections::BTreeSet<&str> = advisories.iter().map(|a| a.id.as_str()).collect();
    assert_eq!(ids.len(), 3237);
    let kinds = |kind| advisories.iter().filter(|a| a.kind == kind).count();
    let counts = [AdvisoryKind::Security, AdvisoryKind::Bugfix, AdvisoryKind::Enhancement, AdvisoryKind::Other].map(kinds);
    assert_eq!(counts, [2040, 975, 222, 0]);
    let mut severities: BTreeMap<Severity, usize> = BTreeMap::new();
    advisories.iter().for_each(|a| *severities.entry(a.severity).or_default() += 1);
    let mut systems: BTreeMap<&str, usize> = BTreeMap::new();
    let fixes = || advisories.iter().flat_map(|a| &a.fixes);
    fixes().for_each(|fix| *systems.entry(&fix.product.release).or_default() += 1);
    let modular = fixes().filter(|fix| fix.version.contains(".module")).count();
    let named = fixes().filter(|fix| fix.module.is_some()).count();
    let cves: usize = advisories.iter().map(|a| a.cves.len()).sum();
    // Counted with Python: `Important:` or `(Important)` in the summary; (ecosystem, name, version) once for each advisory; a
    // release with `.module`, in an advisory whose summary names one stream; CVE ids once for each advisory.
    use Severity::{Critical, Important, Low, Moderate, Unknown};
    let want = [(Unknown, 1196), (Low, 80), (Moderate, 929), (Important, 1017), (Critical, 15)];
    assert_eq!(severities, want.into_iter().collect());
    assert_eq!(systems, [("8", 39984), ("9", 716), ("10", 138)].into_iter().collect());
    assert_eq!((modular, named, cves), (19082, 15252, 8042));
}

#[test]
fn an_advisory_in_full() {
    let Some(path) = file() else { return };
    let mut found = None;
    read_feed(None, File::open(path).unwrap(), &Hints::default(), &mut |item| {
        match item {
            FeedItem::Advisory(advisory) if advisory.id == "ALSA-2021:4903" => found = Some(advisory),
            _ => {}
        }
        Ok(())
    })
    .unwrap();
    let advisory = found.unwrap();
    assert_eq!((advisory.severity, advisory.cves.as_slice()), (Severity::Critical, ["CVE-2021-43527".to_owned()].as_slice()));
    assert_eq!(advisory.title, "Critical: nss security update");
    let names: Vec<&str> = advisory.fixes.iter().map(|fix| fix.name.as_str()).collect();
    let want = [
        "",
        "-devel",
        "-softokn",
        "-softokn-devel",
        "-softokn-freebl",
        "-softokn-freebl-devel",
        "-sysinit",
        "-tools",
        "-util",
        "-util-devel",
    ];
    assert_eq!(names, want.map(|suffix| format!("nss{suffix}")));
    assert!(advisory.fixes.iter().all(|fix| fix.version == "3.67.0-7.el8_5" && fix.module.is_none() && fix.arch.is_empty()));
}

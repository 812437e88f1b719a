//! Facts out of stored fragments; every difference is compared with what both snapshots say whole.

use std::collections::BTreeMap;

use drydock_domain::applicability::facts::{Bound, Dependency};
use drydock_domain::source::unit::Format;

use super::*;
use crate::snapshot::testing::{Package, content, tree};
use crate::snapshot::{ADVISORY_PARTS, DebInfo, MODULE_PARTS, ModuleRecord, module_key};
use crate::snapshot::{DEB_PARTS, RPM_PARTS, UnitRecord, advisory_key, deb_key, rpm_key, save, write_record};
use crate::tree::Entry;

fn element(package: &Package, inner: &str) -> String {
    let name = &package.name;
    format!(
        "<package type=\"rpm\">\n  <name>{name}</name>\n  <description>x</description>\n  <format>{inner}</format>\n</package>\n"
    )
}

fn rpm_entry(package: &Package, inner: &str) -> Entry {
    let parts = vec![element(package, inner).into_bytes(), b"<f/>\n".to_vec(), b"<o/>\n".to_vec()];
    Entry { key: rpm_key(package, package.hex()), record: write_record(package), parts }
}

fn rpm_root(store: &ObjectStore, entries: Vec<Entry>, advisories: &[(&str, &str)], modules: Vec<Entry>) -> SnapshotRoot {
    let mut doc = SnapshotDoc::empty(Format::Rpm);
    doc.packages.insert(String::new(), tree(store, RPM_PARTS, entries));
    let advisory = |(id, text): &(&str, &str)| Entry {
        key: advisory_key(id),
        record: write_record(&AdvisoryRecord { id: (*id).to_owned(), ..AdvisoryRecord::default() }),
        parts: vec![format!("<update><id>{id}</id>{text}</update>\n").into_bytes()],
    };
    if !advisories.is_empty() {
        doc.advisories = Some(tree(store, ADVISORY_PARTS, advisories.iter().map(advisory).collect()));
    }
    if !modules.is_empty() {
        doc.modules = Some(tree(store, MODULE_PARTS, modules));
    }
    save(store, &doc).expect("save")
}

/// One package with this inside of `<format>`.
fn read_one(version: &str, inner: &str) -> PackageFacts {
    let (_dir, content) = content();
    let root = rpm_root(content.objects(), vec![rpm_entry(&Package::new("a", version), inner)], &[], vec![]);
    let mut facts = snapshot_facts(content.objects(), &root).expect("facts");
    assert_eq!(facts.packages.len(), 1);
    facts.packages.remove(0)
}

fn dependency(name: &str, bound: Bound, version: &str) -> Dependency {
    Dependency { name: name.into(), bound, version: version.into() }
}

#[test]
fn facts_of_an_rpm_are_found_in_every_form() {
    let facts = read_one(
        "1:2-3.el8",
        "<rpm:vendor>Ac &amp; me</rpm:vendor><rpm:sourcerpm>a-src-2-3.el8.src.rpm</rpm:sourcerpm>\
         <rpm:provides><rpm:entry name=\"a\"/><rpm:entry name=\"api\" flags=\"EQ\" ver=\"1\"/><rpm:entry name=\"lib.so()(64bit)\"/>\
         <rpm:entry name=\"api\"/></rpm:provides>\n<rpm:obsoletes>\n  <rpm:entry name=\"b\"/>\n\
         <rpm:entry name=\"c\" flags=\"LT\" epoch=\"0\" ver=\"1\" rel=\"2\"/><rpm:entry name=\"d\" flags=\"GE\" epoch=\"4\" ver=\"1\"/>\n\
         </rpm:obsoletes><rpm:conflicts><rpm:entry name=\"no\"/></rpm:conflicts>",
    );
    assert_eq!((facts.name.as_str(), facts.arch.as_str(), facts.version.as_str()), ("a", "x86_64", "1:2-3.el8"));
    assert_eq!((facts.vendor.as_str(), facts.source.as_str(), facts.source_version.as_str()), ("Ac & me", "a-src", ""));
    assert_eq!(
        facts.obsoletes,
        [dependency("b", Bound::Any, ""), dependency("c", Bound::Less, "1-2"), dependency("d", Bound::GreaterEqual, "4:1")]
    );

    assert_eq!(facts.provides, ["api"]);

    let plain = read_one("2-3", "<rpm:vendor/><rpm:sourcerpm>a-9-1.src.rpm</rpm:sourcerpm>");
    assert_eq!((plain.vendor.as_str(), plain.source.as_str(), plain.source_version.as_str()), ("", "a", "9-1"));
    assert_eq!((plain.version.as_str(), plain.phased_percent), ("2-3", 100));

    // What only looks like an element is none, whatever the short way finds first.
    let tricky = read_one(
        "2-3",
        "<!-- <rpm:obsoletes><rpm:entry name=\"no\"/></rpm:obsoletes> --><rpm:vendor><![CDATA[<rpm:vendor>]]></rpm:vendor>\
         <rpm:obsoletes ><rpm:entry name='e' flags='EQ' ver='1'></rpm:entry></rpm:obsoletes>",
    );
    assert_eq!(tricky.vendor, "<rpm:vendor>");
    assert_eq!(tricky.obsoletes, [dependency("e", Bound::Equal, "1")]);
    let in_text = read_one("2-3", "<file>rpm:vendor</file><rpm:vendor>B</rpm:vendor>");
    assert_eq!(in_text.vendor, "B");
}

#[test]
fn facts_of_debs_and_of_their_release() {
    let (_dir, content) = content();
    let store = content.objects();
    let stanza = |name: &str, arch: &str, more: &str| {
        let package = Package { arch: arch.into(), ..Package::new(name, "2-1+b1") };
        let text = format!("Package: {name}\nVersion: 2-1+b1\n{more}Description: Source: no\n Source: no\n\n");
        Entry { key: deb_key(&package, package.hex()), record: write_record(&package), parts: vec![text.into_bytes()] }
    };
    let mut doc = SnapshotDoc::empty(Format::Deb);
    let all = stanza("all", "all", "");
    let amd64 = vec![
        stanza("a", "amd64", "Source: src-a (2-1)\nPhased-Update-Percentage: 30\n"),
        stanza("b", "amd64", "Source: src-b\n"),
        all.clone(),
    ];
    doc.packages.insert("main/amd64".into(), tree(store, DEB_PARTS, amd64));
    doc.packages.insert("main/arm64".into(), tree(store, DEB_PARTS, vec![all.clone()]));
    let fields: BTreeMap<String, String> =
        [("NotAutomatic", "yes"), ("ButAutomaticUpgrades", "Yes"), ("Version", "12")].map(|(k, v)| (k.into(), v.into())).into();
    doc.deb = Some(DebInfo {
        dist: "bookworm".into(),
        origin: "O".into(),
        label: "L".into(),
        suite: "stable".into(),
        codename: "bookworm".into(),
        fields,
        ..DebInfo::default()
    });
    let root = save(store, &doc).expect("save");
    let facts = snapshot_facts(store, &root).expect("facts");
    let shown: Vec<_> = facts
        .packages
        .iter()
        .map(|p| (p.name.as_str(), p.source.as_str(), p.source_version.as_str(), p.phased_percent))
        .collect();
    assert_eq!(shown, [("a", "src-a", "2-1", 30), ("all", "all", "", 100), ("b", "src-b", "", 100)]);
    let release = facts.release;
    assert_eq!((release.suite.as_str(), release.codename.as_str(), release.version.as_str()), ("stable", "bookworm", "12"));
    assert!(release.not_automatic && release.but_automatic_upgrades && release.origin == "O" && release.label == "L");

    // Gone from one index only is not gone.
    doc.packages.insert("main/arm64".into(), tree(store, DEB_PARTS, vec![]));
    doc.deb = Some(DebInfo { label: "M".into(), ..doc.deb.expect("there") });
    let fewer = save(store, &doc).expect("save");
    let diff = facts_diff(store, &root, &fewer).expect("diff");
    assert_eq!((diff.removed, diff.added, diff.release.map(|r| r.label)), (vec![], vec![], Some("M".to_owned())));
    doc.packages.remove("main/amd64");
    let none = save(store, &doc).expect("save");
    let diff = facts_diff(store, &fewer, &none).expect("diff");
    let gone: Vec<_> = diff.removed.iter().map(|k| k.name.as_str()).collect();
    assert_eq!((gone, diff.release), (vec!["a", "all", "b"], None));
}

#[test]
fn modules_and_their_defaults() {
    let (_dir, content) = content();
    let store = content.objects();
    let entry = |record: ModuleRecord, yaml: &str| Entry {
        key: module_key(&record),
        record: write_record(&record),
        parts: vec![format!("---\n{yaml}...\n").into_bytes()],
    };
    let build = ModuleRecord {
        kind: "modulemd".into(),
        name: "nodejs".into(),
        stream: "18".into(),
        version: "8030020210426100849".into(),
        context: "c".into(),
        arch: "x86_64".into(),
        artifacts: vec!["n-1:2-3.x86_64".into()],
    };
    let default =
        ModuleRecord { kind: "modulemd-defaults".into(), name: "nodejs".into(), stream: "18".into(), ..ModuleRecord::default() };
    let other =
        ModuleRecord { kind: "modulemd-obsoletes".into(), name: "x".into(), stream: "1".into(), ..ModuleRecord::default() };
    let yaml = "document: modulemd\ndata:\n  dependencies:\n  - requires:\n      platform: [el8]\n";
    let package = vec![rpm_entry(&Package::new("a", "1-1"), "")];
    let defaults = "document: modulemd-defaults\ndata:\n  module: nodejs\n  modified: 202007071533\n";
    let entries = vec![entry(build, yaml), entry(default, defaults), entry(other, "x: y\n")];
    let root = rpm_root(store, package.clone(), &[], entries.clone());
    let facts = snapshot_facts(store, &root).expect("facts");
    let [module] = facts.modules.as_slice() else { panic!("{:?}", facts.modules) };
    assert_eq!((module.name.as_str(), module.version, module.context.as_str()), ("nodejs", 8_030_020_210_426_100_849, "c"));
    assert_eq!(module.requires, [("platform".to_owned(), vec!["el8".to_owned()])]);
    assert_eq!(module.artifacts, ["n-1:2-3.x86_64"]);
    let default = DefaultStream { module: "nodejs".into(), stream: "18".into(), modified: 202_007_071_533 };
    assert_eq!(facts.default_streams, [default]);
    let without = rpm_root(store, package, &[], vec![]);
    assert_eq!(facts_diff(store, &root, &without).expect("diff").modules, Some((vec![], vec![])));
    assert_eq!(facts_diff(store, &root, &root).expect("diff"), FactsDiff::default());
}

#[test]
fn advisories_are_given_whole_and_by_difference() {
    let (_dir, content) = content();
    let store = content.objects();
    let package = vec![rpm_entry(&Package::new("a", "1-1"), "")];
    let old = rpm_root(store, package.clone(), &[("A-1", "one"), ("A-2", "two"), ("A-3", "three")], vec![]);
    let new = rpm_root(store, package.clone(), &[("A-1", "one"), ("A-3", "other"), ("A-4", "four")], vec![]);
    let all: Vec<AdvisoryFragment> = snapshot_advisories(store, &old).expect("tree").collect::<Result<_, _>>().expect("read");
    assert_eq!(all.iter().map(|a| a.record.id.as_str()).collect::<Vec<_>>(), ["A-1", "A-2", "A-3"]);
    assert_eq!(all[0].xml, "<update><id>A-1</id>one</update>\n");
    assert_eq!(snapshot_advisory(store, &old, "A-1").expect("read").as_ref(), all.first());
    assert_eq!(snapshot_advisory(store, &old, "A-0").expect("read"), None);
    let diff = advisories_diff(store, &old, &new).expect("diff");
    assert_eq!(diff.removed, ["A-2"]);
    assert_eq!(diff.added.iter().map(|a| a.record.id.as_str()).collect::<Vec<_>>(), ["A-3", "A-4"]);
    assert!(diff.added[0].xml.contains("other"));
    let none = rpm_root(store, package, &[], vec![]);
    assert_eq!(advisories_diff(store, &old, &none).expect("diff").removed.len(), 3);
    assert_eq!(snapshot_advisories(store, &none).expect("none").count(), 0);
}

/// What a snapshot says after `diff` was applied to what another said.
fn applied(facts: SnapshotFacts, diff: FactsDiff) -> BTreeMap<PackageKey, PackageFacts> {
    let mut all: BTreeMap<_, _> = facts.packages.into_iter().map(|f| (PackageKey::of(&f), f)).collect();
    for key in diff.removed {
        assert!(all.remove(&key).is_some(), "{key:?} was not there");
    }
    all.extend(diff.added.into_iter().map(|f| (PackageKey::of(&f), f)));
    all
}

#[test]
fn what_differs_makes_one_snapshot_of_the_other_and_no_more_is_read() {
    let (_dir, content) = content();
    let store = content.objects();
    let vendor = |n: u32| format!("<rpm:vendor>v{n}</rpm:vendor>");
    let entry = |n: u32, version: &str, v: u32| rpm_entry(&UnitRecord::new(&format!("p{n:05}"), version), &vendor(v));
    let base: Vec<Entry> = (0..3000).map(|n| entry(n, "1-1", 0)).collect();
    // Two files of one name and version, at many places, also at the ends of leaves.
    let twin = |n: u32| {
        let mut package = UnitRecord::new(&format!("p{n:05}"), "1-1");
        package.digest = UnitRecord::new("twin", &n.to_string()).digest;
        rpm_entry(&package, &vendor(1))
    };
    let mut with_twins = base.clone();
    with_twins.extend((0..3000).step_by(3).map(twin));
    let mut edited: Vec<Entry> = base.iter().enumerate().filter(|(n, _)| n % 97 != 5).map(|(_, e)| e.clone()).collect();
    edited.extend((0..3000).step_by(101).map(|n| entry(n, "2-1", 0)));
    edited.extend((4000..4040).map(|n| entry(n, "1-1", 0)));
    let roots: Vec<SnapshotRoot> =
        [base.clone(), with_twins, edited, base[..1].to_vec(), vec![]].map(|e| rpm_root(store, e, &[], vec![])).to_vec();
    for old in &roots {
        for new in &roots {
            let diff = facts_diff(store, old, new).expect("diff");
            let (whole_old, whole_new) = (snapshot_facts(store, old).expect("facts"), snapshot_facts(store, new).expect("facts"));
            let want: BTreeMap<_, _> = whole_new.packages.into_iter().map(|f| (PackageKey::of(&f), f)).collect();
            let got = applied(whole_old, diff);
            let same_keys = got.keys().eq(want.keys());
            assert!(same_keys, "{} and {} packages", got.len(), want.len());
        }
    }
    let diff = facts_diff(store, &roots[0], &roots[2]).expect("diff");
    assert_eq!((diff.removed.len(), diff.added.len()), (31, 70), "only what changed is told");
    let changed = rpm_root(store, (0..3000).map(|n| entry(n, "1-1", u32::from(n == 7))).collect(), &[], vec![]);
    let diff = facts_diff(store, &roots[0], &changed).expect("diff");
    assert_eq!((diff.removed.len(), diff.added.len(), diff.added[0].vendor.as_str()), (0, 1, "v1"));
}

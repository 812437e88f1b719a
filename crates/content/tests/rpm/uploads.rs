//! Packages built here and taken in: the metadata is what createrepo_c writes of the same files, and damage is refused.

use std::path::{Path, PathBuf};
use std::process::Command;

use drydock_content::{LocalRequest, ProgressSink, SyncError};
use drydock_testkit::upstream::standard;

use crate::tools::have;
use crate::{Bench, found, upstream};

/// Everything that a header can say, in one package.
const SPEC: &str = r#"
Name: dd-rich
Epoch: 3
Version: 1.0~rc1
Release: 2%{?dist}
Summary: Ä <package> & "more"
License: MIT
Group: System/Tests
URL: https://example.invalid/?a=1&b=2
Packager: Somebody <somebody@example.invalid>
Requires: bash >= 4.0, /usr/bin/dd-rich, config(dd-rich) = 3:1.0~rc1-2, dd-other < 2:5-6
Requires(pre): /usr/sbin/useradd
Requires(post): /usr/sbin/useradd
Requires: dd-twice
Requires: dd-twice
Provides: dd-virtual = 7, dd-plain
Provides: config(dd-rich) = 3:1.0~rc1-2
Conflicts: dd-enemy <= 1
Obsoletes: dd-past < 1:1
Recommends: dd-nice
Suggests: dd-maybe = 1
Supplements: dd-supplemented
Enhances: (dd-a and dd-b)
%description
Lines <of> text,
  indented & with "quotes".
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc/dd-rich %{buildroot}/usr/share/dd-rich/empty %{buildroot}/var/log
cp /bin/true %{buildroot}/usr/bin/dd-rich
echo a > %{buildroot}/etc/dd-rich/rich.conf
echo a > "%{buildroot}/usr/share/dd-rich/a & b"
ln -s dd-rich %{buildroot}/usr/bin/dd-link
touch %{buildroot}/var/log/dd-rich.log
%files
/usr/bin/dd-rich
/usr/bin/dd-link
%dir /etc/dd-rich
%config(noreplace) /etc/dd-rich/rich.conf
%doc "/usr/share/dd-rich/a & b"
/usr/share/dd-rich/empty
%ghost /var/log/dd-rich.log
%changelog
* Wed Jan 14 2026 Somebody <somebody@example.invalid> - 1.0
- same day, later
* Wed Jan 14 2026 Somebody <somebody@example.invalid> - 0.9
- same day, <earlier> & "so"
* Tue Jan 13 2026 Nobody - 0.8
- first
"#;

fn rich(into: &Path) {
    let spec = into.join("dd-rich.spec");
    std::fs::write(&spec, SPEC).unwrap();
    let work = tempfile::tempdir().unwrap();
    let mut command = Command::new("rpmbuild");
    command.args(["-ba", "--quiet", "--define", "debug_package %{nil}", "--define", "_build_id_links none"]);
    for (name, value) in [("_topdir", work.path()), ("_rpmdir", into), ("_srcrpmdir", into), ("_dbpath", &work.path().join("db"))]
    {
        command.args(["--define", &format!("{name} {}", value.display())]);
    }
    command.args(["--define", "_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm"]).arg(&spec);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(spec).unwrap();
}

fn rpms(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "rpm"));
    files.sort();
    files
}

/// The elements of packages, sorted, without what depends on the place and time of the file.
fn elements(text: &str) -> Vec<String> {
    let element = |part: &str| {
        let lines = part.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("<location "));
        let plain = lines.map(|line| match line.split_once(" build=") {
            Some((_, built)) if line.starts_with("<time ") => format!("<time build={built}"),
            _ => line.to_owned(),
        });
        plain.collect::<Vec<_>>().join("\n")
    };
    // Quotes need no escape between tags; both forms mean the same.
    let text = text.replace("&quot;", "\"");
    let mut all: Vec<_> = text.split("<package ").skip(1).map(element).collect();
    for last in &mut all {
        *last = last.split("</package>").next().unwrap().to_owned();
    }
    all.sort();
    all
}

fn created(dir: &Path, kind: &str) -> String {
    let files = std::fs::read_dir(dir.join("repodata")).unwrap().map(|entry| entry.unwrap().path());
    let file = files.into_iter().find(|path| path.display().to_string().ends_with(&format!("-{kind}.xml.gz"))).unwrap();
    upstream::gunzip(&std::fs::read(file).unwrap())
}

fn assert_as_createrepo(dir: &Path) {
    let output = Command::new("createrepo_c").arg("--quiet").arg(dir).output().unwrap();
    assert!(output.status.success());
    let bench = Bench::local();
    let files = rpms(dir);
    let outcome = bench.upload(None, &files.iter().map(PathBuf::as_path).collect::<Vec<_>>()).unwrap();
    assert_eq!(outcome.findings, []);
    assert_eq!(outcome.stats.packages, files.len() as u64);
    let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(outcome.stats.package_bytes, bytes);
    for kind in ["primary", "filelists", "other"] {
        let (ours, theirs) = (elements(&bench.published(&outcome.root, kind)), elements(&created(dir, kind)));
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{kind}");
        }
    }
}

#[test]
fn metadata_is_what_createrepo_writes() {
    if !have("createrepo_c") || !have("rpmbuild") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    rich(dir.path());
    let standard = standard().unwrap();
    for file in rpms(&standard.dir().join("rpm/base")).iter().chain(&rpms(&standard.dir().join("rpm/updates"))) {
        std::fs::copy(file, dir.path().join(file.file_name().unwrap())).unwrap();
    }
    assert_as_createrepo(dir.path());
}

#[test]
fn uploads_come_and_go() {
    if !have("createrepo_c") || !have("rpmbuild") {
        return;
    }
    let standard = standard().unwrap();
    let files = rpms(&standard.dir().join("rpm/updates"));
    let paths: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    let bench = Bench::local();
    let all = bench.upload(None, &paths).unwrap();
    // One after the other or all at once: the same snapshot.
    let first = bench.upload(None, &paths[..1]).unwrap();
    let second = bench.upload(Some(first.root), &paths[1..]).unwrap();
    assert_eq!(second.root, all.root);
    assert!(second.changed);
    // Again: nothing changes.
    let again = bench.upload(Some(all.root), &paths[..1]).unwrap();
    assert_eq!((again.root, again.changed), (all.root, false));
    assert!(found(&again, "dd-alpha", "already"), "{:?}", again.findings);
    let remove = bench.records(&all.root)[1..].iter().map(|record| record.digest.parse().unwrap()).collect();
    let request = LocalRequest {
        source: bench.source,
        spec: bench.spec.clone(),
        previous: Some(all.root),
        files: Vec::new(),
        remove,
        now: bench.now,
    };
    let removed = bench.content.add_local(&request, &ProgressSink::none()).unwrap();
    assert_eq!((removed.root, removed.stats), (first.root, first.stats));
    let request = LocalRequest { previous: Some(removed.root), ..request };
    let error = bench.content.add_local(&request, &ProgressSink::none()).unwrap_err();
    assert!(error.to_string().contains("no such package"), "{error}");
    // The files are here, and known to belong to the source.
    for record in bench.records(&all.root) {
        let digest = record.digest.parse().unwrap();
        assert!(bench.content.objects().blob_path(&digest).is_some());
        assert!(bench.content.units().lookup(bench.source, &digest).unwrap().is_some());
    }
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    if !have("rpmbuild") || !have("createrepo_c") {
        return;
    }
    let standard = standard().unwrap();
    let good = rpms(&standard.dir().join("rpm/updates")).remove(0);
    let bytes = std::fs::read(&good).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::local();
    let refused = |name: &str, bytes: &[u8], why: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = bench.upload(None, &[&path]).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, SyncError::Upload { .. }) && text.contains(why) && text.contains(name), "{name}: {text}");
    };
    refused("text.rpm", b"not a package", "header");
    refused("short.rpm", &bytes[..bytes.len() - 1], "cut short");
    refused("longer.rpm", &[&bytes[..], b"x"].concat(), "behind its end");
    refused("no-payload.rpm", &bytes[..2000], "header");
    let mut payload = bytes.clone();
    let last = payload.len() - 20;
    payload[last] ^= 1;
    refused("payload.rpm", &payload, "payload is damaged");
    let mut header = bytes.clone();
    let at = header.windows(15).position(|w| w == b"Lab package dd-").unwrap();
    header[at] = b'X';
    refused("header.rpm", &header, "header is damaged");
    bench.spec.architectures = vec!["aarch64".into()];
    let error = bench.upload(None, &[&good]).unwrap_err().to_string();
    assert!(error.contains("x86_64") && error.contains("aarch64"), "{error}");
    // No byte anywhere may be changed without notice, and none leads to a panic.
    bench.spec.architectures.clear();
    let path = dir.path().join("changed.rpm");
    for at in (96..bytes.len()).step_by(97) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x40;
        std::fs::write(&path, &changed).unwrap();
        // Bytes of the signature header that say nothing of content may differ: the file has another digest then.
        if let Ok(outcome) = bench.upload(None, &[&path]) {
            assert!(at < 4600, "byte {at}: {:?}", outcome.findings);
        }
    }
}

#[test]
fn another_build_of_the_same_version_is_refused() {
    if !have("rpmbuild") || !have("createrepo_c") {
        return;
    }
    use drydock_testkit::upstream::{PackageFile, RpmPackage};
    let bench = Bench::local();
    let builds = ["one", "two"].map(|content| {
        let dir = tempfile::tempdir().unwrap();
        let mut package = RpmPackage::new("dd-built", "1.0");
        package.files.push(PackageFile::new("/usr/share/dd-built", content));
        package.build(dir.path()).unwrap();
        dir
    });
    let files = [0, 1].map(|n| rpms(builds[n].path()).remove(0));
    let first = bench.upload(None, &[&files[0]]).unwrap();
    let error = bench.upload(Some(first.root), &[&files[1]]).unwrap_err().to_string();
    assert!(error.contains("dd-built-0:1.0-1.noarch is there already with other content"), "{error}");
}

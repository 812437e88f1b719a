//! Uploaded packages: what dpkg-scanpackages would say of them, all or none, and never two contents for one version.

use std::collections::BTreeMap;
use std::path::PathBuf;

use drydock_content::digest::Sha256;
use drydock_content::{Content, LocalFile, LocalRequest, ProgressSink, SyncError, SyncOutcome};
use drydock_testkit::command::run;
use drydock_testkit::upstream::{DebPackage, PackageFile, PackageSet, standard};

use crate::{Bench, have};

fn local(bench: &mut Bench, architectures: &[&str]) {
    bench.spec = serde_json::from_value(serde_json::json!({
        "name": "own", "format": "deb", "architectures": architectures, "origin": { "local": { "suite": "house" } },
    }))
    .unwrap();
}

fn add(bench: &Bench, previous: Option<&SyncOutcome>, files: &[PathBuf], remove: &[Sha256]) -> Result<SyncOutcome, SyncError> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let request = LocalRequest {
        source: bench.source,
        spec: bench.spec.clone(),
        previous: previous.map(|outcome| outcome.root),
        files: files.iter().map(|path| LocalFile { path: path.clone(), file_name: name(path) }).collect(),
        remove: remove.iter().map(Sha256::digest).collect(),
        now: bench.now,
    };
    bench.content.add_local(&request, &ProgressSink::none())
}

/// Fields of each stanza, `Filename` without its directory, by name and version; sums of algorithms we do not publish
/// are left out.
pub fn stanzas(text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for stanza in text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        let mut last = String::new();
        for line in stanza.lines() {
            if line.starts_with(' ') {
                fields.get_mut(&last).unwrap().push_str(&format!("\n{line}"));
            } else {
                let (name, value) = line.split_once(':').unwrap();
                last = name.to_owned();
                fields.insert(last.clone(), value.trim().to_owned());
            }
        }
        for weak in ["MD5sum", "SHA1", "SHA512"] {
            fields.remove(weak);
        }
        if let Some(path) = fields.get_mut("Filename") {
            *path = path.rsplit('/').next().unwrap().to_owned();
        }
        all.insert(format!("{} {} {}", fields["Package"], fields["Version"], fields["Architecture"]), fields);
    }
    all
}

/// The standard packages' files, or why not.
fn standard_files() -> Option<Vec<PathBuf>> {
    if !["dpkg-deb", "dpkg-scanpackages", "apt-ftparchive"].into_iter().all(have) {
        return None;
    }
    let standard = standard().expect("the standard packages can be built");
    let mut files = Vec::new();
    for set in PackageSet::ALL {
        let pool = standard.dir().join("deb").join(set.name()).join("pool");
        files.extend(std::fs::read_dir(pool).unwrap().map(|entry| entry.unwrap().path()));
    }
    files.sort();
    Some(files)
}

#[test]
fn stanzas_equal_those_of_dpkg_scanpackages_and_apt_ftparchive() {
    let Some(files) = standard_files() else { return };
    let mut bench = Bench::new("http://unused.invalid/");
    local(&mut bench, &[]);
    let outcome = add(&bench, None, &files, &[]).unwrap();
    let (text, _) = bench.index(&outcome.root, "main/amd64");
    let ours = stanzas(&text);
    assert_eq!(ours.len(), files.len());
    let pool = tempfile::tempdir().unwrap();
    for file in &files {
        std::fs::copy(file, pool.path().join(file.file_name().unwrap())).unwrap();
    }
    let limit = std::time::Duration::from_secs(60);
    for (tool, arguments) in [("dpkg-scanpackages", &["--multiversion", "."][..]), ("apt-ftparchive", &["packages", "."])] {
        let theirs =
            run(std::process::Command::new(tool).args(arguments).current_dir(pool.path()), limit).unwrap().success().unwrap();
        assert_eq!(stanzas(&theirs), ours, "{tool}");
    }
}

fn built(dir: &std::path::Path, packages: &[DebPackage]) -> Vec<PathBuf> {
    packages.iter().for_each(|package| package.build(dir).unwrap());
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn with_file(name: &str, version: &str, text: &str) -> DebPackage {
    DebPackage { files: vec![PackageFile::new("/usr/share/dd/file", text)], ..DebPackage::new(name, version) }
}

#[test]
fn uploads_add_up_and_versions_never_change() {
    if standard_files().is_none() {
        return;
    }
    let mut bench = Bench::new("http://unused.invalid/");
    local(&mut bench, &["amd64", "arm64"]);
    let dir = tempfile::tempdir().unwrap();
    let one = built(&dir.path().join("1").tap_dir(), &[with_file("dd-own", "1", "one")]);
    let native = built(&dir.path().join("2").tap_dir(), &[DebPackage { native: true, ..with_file("dd-bin", "1:1-1", "x") }]);
    let empty = add(&bench, None, &[], &[]).unwrap();
    assert_eq!(empty.stats.packages, 0);
    let first = add(&bench, Some(&empty), &one, &[]).unwrap();
    assert!(first.changed);
    let second = add(&bench, Some(&first), &native, &[]).unwrap();
    assert_eq!(bench.names(&second.root, "main/amd64"), ["dd-bin 1:1-1 amd64", "dd-own 1 all"]);
    assert_eq!(bench.names(&second.root, "main/arm64"), ["dd-own 1 all"]);
    // Both at once: the same snapshot.
    let both = add(&bench, None, &[one[0].clone(), native[0].clone()], &[]).unwrap();
    assert_eq!(both.root, second.root);
    // Again: nothing new.
    let again = add(&bench, Some(&second), &one, &[]).unwrap();
    assert!(!again.changed && crate::findings(&again).contains("there already"));
    // Other content under the same version: refused, and nothing of the request is taken.
    let other = built(&dir.path().join("3").tap_dir(), &[with_file("dd-own", "1", "two"), with_file("dd-new", "1", "n")]);
    let refusal = add(&bench, Some(&second), &other, &[]).unwrap_err().to_string();
    assert!(refusal.contains("dd-own 1 all") && refusal.contains("raise the version"), "{refusal}");
    // Removed in the same request: allowed.
    let sum = Sha256::of(&std::fs::read(&one[0]).unwrap());
    let replaced = add(&bench, Some(&second), &other, &[sum]).unwrap();
    assert_eq!(bench.names(&replaced.root, "main/arm64"), ["dd-new 1 all", "dd-own 1 all"]);
    let blob = Sha256::of(&std::fs::read(&other[1]).unwrap()).digest();
    assert_eq!(std::fs::read(bench.content.objects().blob_path(&blob).unwrap()).unwrap(), std::fs::read(&other[1]).unwrap());
    assert!(other[0].exists(), "uploads are read, not moved");
    // An architecture nobody listed gets an index with what is for all.
    local(&mut bench, &[]);
    let deb = bench.doc(&replaced.root).deb.unwrap();
    assert_eq!((deb.dist.as_str(), deb.architectures), ("house", vec!["amd64".to_owned(), "arm64".to_owned()]));
}

#[test]
fn what_is_no_package_is_refused_with_its_reason() {
    let mut bench = Bench::new("http://unused.invalid/");
    local(&mut bench, &[]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.deb");
    let refusal = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        add(&bench, None, std::slice::from_ref(&file), &[]).unwrap_err().to_string()
    };
    assert!(refusal(b"").contains("x.deb"));
    assert!(refusal(b"PK\x03\x04 zip").contains("ar archive"));
    let header = |name: &str, size: usize| format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100_644);
    let begin = format!("!<arch>\n{}2.0\n", header("debian-binary", 4));
    assert!(refusal(begin.as_bytes()).contains("no data.tar"));
    assert!(refusal(format!("{begin}{}", header("control.tar.gz", 10_000)).as_bytes()).contains("cut short"));
    assert!(refusal(format!("{begin}{}x\n", header("data.tar.gz", 1)).as_bytes()).contains("no control.tar"));
    assert!(refusal(format!("{begin}{}x\n", header("../evil", 1)).as_bytes()).contains("does not know"));
    if let Some(files) = standard_files() {
        let whole = std::fs::read(&files[0]).unwrap();
        assert!(refusal(&whole[..whole.len() - 10]).contains("cut short"));
    }
}

/// A directory that is made where it is named.
trait TapDir {
    fn tap_dir(self) -> PathBuf;
}

impl TapDir for PathBuf {
    fn tap_dir(self) -> PathBuf {
        std::fs::create_dir_all(&self).unwrap();
        self
    }
}

/// Opening the directory again finds what uploads left.
#[test]
fn uploads_survive_a_restart() {
    let Some(files) = standard_files() else { return };
    let mut bench = Bench::new("http://unused.invalid/");
    local(&mut bench, &[]);
    let outcome = add(&bench, None, &files[..1], &[]).unwrap();
    bench.content = Content::open(bench.dir.path()).unwrap();
    assert_eq!(bench.names(&outcome.root, "main/amd64").len(), 1);
}

//! Real apt as the judge: it reads what is published without a word of warning, sees the packages dpkg-scanpackages sees,
//! downloads them, and follows a roll back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use drydock_content::deb;
use drydock_content::openpgp::RepositoryKey;
use drydock_content::snapshot::{SnapshotDoc, SnapshotRoot};
use drydock_content::{ProgressSink, Publication};
use drydock_domain::source::spec::DownloadPolicy;
use drydock_testkit::command::run;
use drydock_testkit::serve::{LoopbackServer, serve_dir};
use drydock_testkit::upstream::{PackageSet, Standard, standard};
use jiff::{SignedDuration, Timestamp};

use crate::local::stanzas;
use crate::{Bench, have};

const LIMIT: Duration = Duration::from_secs(60);

/// The standard archives and apt, or why there are none.
fn tools() -> Option<Standard> {
    ["apt-get", "apt-ftparchive", "dpkg-scanpackages", "gpgv"]
        .into_iter()
        .all(have)
        .then(|| standard().expect("the standard packages can be built"))
}

/// A published repository as clients see it: files below a directory, served.
struct Site {
    dir: tempfile::TempDir,
    server: LoopbackServer,
    keys: Vec<RepositoryKey>,
}

impl Site {
    fn new(keys: usize, at: Timestamp) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = serve_dir(dir.path()).unwrap();
        let make =
            |n| RepositoryKey::generate(&format!("Drydock {n} <d@test.invalid>"), at - SignedDuration::from_hours(1)).unwrap();
        Self { dir, server, keys: (0..keys).map(make).collect() }
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// What the server room does: heads by name, bulk files by hash, packages by digest.
    fn show(&self, bench: &Bench, root: &SnapshotRoot, at: Timestamp) -> Publication {
        let doc = bench.doc(root);
        let objects = bench.content.objects();
        let publication = bench.content.publish(root, &ProgressSink::none()).unwrap();
        for file in &publication.files {
            let dir = file.path.rsplit_once('/').unwrap().0;
            self.write(&format!("{dir}/by-hash/SHA256/{}", file.sha256), &fs::read(objects.meta_path(&file.sha256)).unwrap());
        }
        for (path, bytes) in bench.content.head(&publication, at, &self.keys).unwrap().files {
            self.write(&path, &bytes);
        }
        for index in doc.packages.keys() {
            let (text, records) = bench.index(root, index);
            for record in records.values() {
                let blob = objects.blob_path(&record.digest.parse().unwrap());
                let place =
                    text.lines().filter_map(|line| line.strip_prefix("Filename: ")).find(|path| path.contains(&record.digest));
                if let Some(blob) = blob {
                    self.write(place.unwrap(), &fs::read(blob).unwrap());
                }
            }
        }
        publication
    }

    /// An apt of its own, with its own lists, that knows this site only.
    fn apt(&self, doc: &SnapshotDoc) -> Apt {
        let dir = tempfile::tempdir().unwrap();
        for path in
            ["etc/apt/preferences.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg", "work"]
        {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        fs::write(dir.path().join("var/lib/dpkg/status"), "").unwrap();
        let info = doc.deb.as_ref().unwrap();
        let key: String = self
            .keys
            .last()
            .unwrap()
            .public_armored()
            .unwrap()
            .lines()
            .map(|line| format!(" {}\n", if line.is_empty() { "." } else { line }))
            .collect();
        let sources = format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\nArchitectures: amd64\nSigned-By:\n{key}",
            self.server.url(),
            info.dist,
            info.components.join(" "),
        );
        fs::create_dir_all(dir.path().join("etc/apt/sources.list.d")).unwrap();
        fs::write(dir.path().join("etc/apt/sources.list.d/drydock.sources"), sources).unwrap();
        Apt { dir }
    }
}

/// A private apt.
struct Apt {
    dir: tempfile::TempDir,
}

impl Apt {
    fn options(root: &str) -> Vec<String> {
        let mut options = Vec::new();
        for option in [
            format!("Dir={root}"),
            format!("Dir::State::status={root}/var/lib/dpkg/status"),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures::=amd64".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::http::Proxy=false".to_owned(),
        ] {
            options.extend(["-o".to_owned(), option]);
        }
        options
    }

    fn command(&self, tool: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(tool);
        let root = self.dir.path().to_str().unwrap();
        command.args(Self::options(root)).args(arguments).env("LC_ALL", "C").env("APT_CONFIG", "/dev/null");
        command.current_dir(self.dir.path().join("work"));
        command
    }

    fn run(&self, tool: &str, arguments: &[&str]) -> String {
        let finished = run(&mut self.command(tool, arguments), LIMIT).unwrap();
        finished.success().unwrap_or_else(|error| panic!("{tool} {arguments:?}: {error:#}"))
    }

    /// `apt-get update` that says nothing but what it gets.
    fn update(&self) -> String {
        let script = "apt-get \"$@\" 2>&1";
        let mut command = Command::new("sh");
        command
            .args(["-c", script, "sh"])
            .args(Self::options(self.dir.path().to_str().unwrap()))
            .arg("update")
            .env("LC_ALL", "C");
        let said = run(&mut command, LIMIT).unwrap().success().unwrap();
        let bad = said.lines().find(|line| ["W:", "E:", "N:", "Err:", "Ign:"].iter().any(|mark| line.starts_with(mark)));
        assert_eq!(bad, None, "apt-get update says:\n{said}");
        said
    }

    /// Version of the candidate.
    fn candidate(&self, package: &str) -> String {
        let said = self.run("apt-cache", &["policy", package]);
        let line = said.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        line.unwrap_or("(none)").to_owned()
    }
}

/// Syncs one of the standard archives, files and all.
async fn synced(bench: &mut Bench, standard: &Standard, set: PackageSet, server: &LoopbackServer) -> SnapshotRoot {
    let key = fs::read_to_string(standard.dir().join("deb/key.asc")).unwrap();
    let (suite, _) = set.apt_suite_and_label();
    bench.spec = serde_json::from_value(serde_json::json!({
        "name": "standard", "format": "deb", "keys": [key],
        "origin": { "upstream": {
            "urls": [format!("{}/deb/{}/", server.url(), set.name())], "suite": suite, "components": ["main"],
        } },
    }))
    .unwrap();
    bench.spec.policy = DownloadPolicy::Immediate;
    bench.now = Timestamp::now();
    let outcome = bench.sync(None).await.unwrap();
    assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
    outcome.root
}

fn packages_below(dir: &Path) -> String {
    run(Command::new("dpkg-scanpackages").args(["--multiversion", "pool"]).current_dir(dir), LIMIT).unwrap().success().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn apt_reads_what_is_published_and_sees_what_dpkg_scanpackages_sees() {
    let Some(standard) = tools() else { return };
    let server = serve_dir(standard.dir()).unwrap();
    let mut bench = Bench::new("http://unused.invalid/");
    for set in PackageSet::ALL {
        let root = synced(&mut bench, &standard, set, &server).await;
        let site = Site::new(2, bench.now);
        let publication = site.show(&bench, &root, bench.now);
        let apt = site.apt(&bench.doc(&root));
        let said = apt.update();
        assert!(said.contains("Packages"), "the index was fetched: {said}");
        let scanned = stanzas(&packages_below(&standard.dir().join("deb").join(set.name())));
        let (text, _) = bench.index(&root, "main/amd64");
        assert_eq!(stanzas(&text), scanned, "{}", set.name());
        // As apt shows them: it knows every package and its checksum.
        let dumped = stanzas(&apt.run("apt-cache", &["dumpavail"]));
        assert_eq!(dumped.keys().collect::<Vec<_>>(), scanned.keys().collect::<Vec<_>>());
        for (package, fields) in &scanned {
            assert_eq!(dumped[package]["SHA256"], fields["SHA256"], "{package}");
        }
        assert!(!apt.update().contains("Packages ["), "a second update fetches no index");
        // Nothing but the content decides the bytes.
        let again = deb::publish::publish(&bench.content, &root, &bench.doc(&root), &ProgressSink::none()).unwrap();
        assert_eq!(again, publication);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apt_downloads_and_follows_a_roll_back() {
    let Some(standard) = tools() else { return };
    let server = serve_dir(standard.dir()).unwrap();
    let mut bench = Bench::new("http://unused.invalid/");
    // One suite that had version 1.0, then 1.2, and is rolled back.
    let old = synced(&mut bench, &standard, PackageSet::Base, &server).await;
    let new = synced(&mut bench, &standard, PackageSet::Updates, &server).await;
    let mut doc = bench.doc(&new);
    doc.deb = bench.doc(&old).deb;
    let new = drydock_content::snapshot::save(bench.content.objects(), &doc).unwrap();
    let site = Site::new(1, bench.now);
    let start = bench.now - SignedDuration::from_secs(30);
    site.show(&bench, &old, start);
    let apt = site.apt(&doc);
    apt.update();
    assert_eq!(apt.candidate("dd-alpha"), "1.0-1");
    site.show(&bench, &new, start + SignedDuration::from_secs(10));
    apt.update();
    assert_eq!(apt.candidate("dd-alpha"), "1.2-1");
    apt.run("apt-get", &["download", "dd-alpha"]);
    let fetched = apt.dir.path().join("work/dd-alpha_1.2-1_amd64.deb");
    let original = standard.dir().join("deb/updates/pool/dd-alpha_1.2-1_amd64.deb");
    assert_eq!(fs::read(fetched).unwrap(), fs::read(original).unwrap());
    // The old snapshot with the old date: apt keeps what it has.
    site.show(&bench, &old, start);
    let mut command = apt.command("apt-get", &["update"]);
    run(&mut command, LIMIT).unwrap();
    assert_eq!(apt.candidate("dd-alpha"), "1.2-1", "apt ignores an older Release");
    // With a newer date it follows.
    site.show(&bench, &old, start + SignedDuration::from_secs(20));
    apt.update();
    assert_eq!(apt.candidate("dd-alpha"), "1.0-1");
}

/// A newer apt than this machine's, in a prepared root, as long as there is one.
#[tokio::test(flavor = "multi_thread")]
async fn apt_of_another_release_reads_it_too() {
    let Some(standard) = tools() else { return };
    let roots = drydock_testkit::cache::cache_dir().unwrap().join("lab/roots");
    let roots: Vec<PathBuf> =
        ["apt-trixie", "bullseye"].iter().map(|name| roots.join(name)).filter(|root| root.exists()).collect();
    if roots.is_empty() || Command::new("systemd-nspawn").arg("--version").output().is_err() {
        eprintln!("skipped: no prepared root of another release, or no systemd-nspawn");
        return;
    }
    let server = serve_dir(standard.dir()).unwrap();
    let mut bench = Bench::new("http://unused.invalid/");
    let root = synced(&mut bench, &standard, PackageSet::Base, &server).await;
    let site = Site::new(2, bench.now);
    site.show(&bench, &root, bench.now);
    for system in roots {
        let apt = site.apt(&bench.doc(&root));
        // The oldest has no keys inside a source.
        let key = site.keys.last().unwrap().public_armored().unwrap();
        fs::write(apt.dir.path().join("key.asc"), key).unwrap();
        let list = format!("deb [arch=amd64 signed-by=/private/key.asc] {} lab main\n", site.server.url());
        fs::remove_file(apt.dir.path().join("etc/apt/sources.list.d/drydock.sources")).unwrap();
        fs::write(apt.dir.path().join("etc/apt/sources.list.d/drydock.list"), list).unwrap();
        let mut command = Command::new("systemd-nspawn");
        command.args(["--quiet", "--register=no", "--keep-unit", "--volatile=overlay", "--console=pipe", "-D"]).arg(&system);
        command.arg(format!("--bind={}:/private", apt.dir.path().display()));
        let script = "apt-get --version | head -1; apt-get \"$@\" update 2>&1; apt-cache \"$@\" policy dd-alpha";
        command.args(["/bin/sh", "-c", script, "sh"]).args(Apt::options("/private"));
        let said = run(&mut command, LIMIT).unwrap().success().unwrap();
        let bad = said.lines().find(|line| ["W:", "E:", "N:", "Err:", "Ign:"].iter().any(|mark| line.starts_with(mark)));
        assert_eq!(bad, None, "{}:\n{said}", system.display());
        assert!(said.contains("Candidate: 1.0-1"), "{}:\n{said}", system.display());
        println!("{}", said.lines().next().unwrap_or_default());
    }
}

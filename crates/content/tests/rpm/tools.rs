//! The package managers themselves over what is published: they accept it, check its signature, and answer as they do
//! over the repository it was made of.

use std::path::Path;
use std::process::Command;

use drydock_content::openpgp::RepositoryKey;
use drydock_domain::source::spec::DownloadPolicy;
use drydock_testkit::lab::{Host, Root, RootKind, skip_reason};
use drydock_testkit::serve::{LoopbackServer, serve_dir};
use drydock_testkit::upstream::standard;
use jiff::SignedDuration;

use crate::Bench;

/// Whether a program can be asked; otherwise says that the test is skipped (under CI that is a failure).
pub fn have(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(there || std::env::var("CI").as_deref() != Ok("true"), "{program} is not installed");
    if !there {
        eprintln!("skipped: {program} is not installed");
    }
    there
}

/// A client of a repository, with nothing installed.
struct Dnf {
    root: tempfile::TempDir,
}

impl Dnf {
    fn new(baseurl: &str, more: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("log")).unwrap();
        let config = format!(
            "[main]\nplugins=0\nreposdir=/nonexistent\nmetadata_expire=0\n[ours]\nname=ours\nbaseurl={baseurl}\ngpgcheck=0\n{more}\n"
        );
        std::fs::write(root.path().join("dnf.conf"), config).unwrap();
        Self { root }
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let root = self.root.path().display();
        let mut command = Command::new("dnf");
        command.args(["--quiet", "--assumeyes", "--releasever=8", "--setopt=module_platform_id=platform:el8"]);
        command.args([format!("--config={root}/dnf.conf"), format!("--installroot={root}/root")]);
        command.args([format!("--setopt=cachedir={root}/cache"), format!("--setopt=logdir={root}/log")]);
        let output = command.args(arguments).env("LC_ALL", "C.UTF-8").output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(String::from_utf8(output.stdout).unwrap()) } else { Err(errors) }
    }

    fn sorted(&self, arguments: &[&str]) -> Vec<String> {
        let mut lines: Vec<_> = self.run(arguments).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Everything that does not depend on where packages lie.
    fn answers(&self) -> Vec<(String, Vec<String>)> {
        let format = "%{name} %{evr} %{arch} %{epoch} %{sourcerpm} %{buildtime} %{downloadsize} %{installsize} %{license} %{vendor} %{group} \
                      %{summary} %{description} %{url} %{provides} %{requires} %{requires-pre} %{conflicts} %{obsoletes} \
                      %{recommends} %{suggests} %{supplements} %{enhances}";
        let queries: [&[&str]; 6] = [
            &["repoquery", "--queryformat", format],
            &["repoquery", "--list"],
            &["repoquery", "--changelogs"],
            &["repoquery", "--security"],
            &["repoquery", "--bugfix"],
            &["repoquery", "--advisory=LABSA-2026:0006"],
        ];
        queries.iter().map(|query| (query.join(" "), self.sorted(query))).collect()
    }
}

/// A mirror of the standard updates, laid out and served.
struct Mirror {
    _upstream: LoopbackServer,
    server: LoopbackServer,
    dir: tempfile::TempDir,
    upstream_url: String,
}

async fn mirror(keys: &[RepositoryKey]) -> Mirror {
    let standard = tokio::task::spawn_blocking(standard).await.unwrap().unwrap();
    let upstream = serve_dir(standard.dir()).unwrap();
    let upstream_url = format!("{}/rpm/updates", upstream.url());
    let mut bench = Bench::new(&upstream_url);
    bench.spec.policy = DownloadPolicy::Immediate;
    let outcome = bench.sync(None).await.unwrap();
    assert_eq!(outcome.findings, []);
    let head = bench.content.head(&bench.publish(&outcome.root), bench.now, keys).unwrap();
    let dir = tempfile::tempdir().unwrap();
    bench.lay_out(&outcome.root, &head, dir.path());
    Mirror { _upstream: upstream, server: serve_dir(dir.path()).unwrap(), dir, upstream_url }
}

#[tokio::test]
async fn dnf_answers_as_over_the_upstream() {
    if !have("dnf") || !have("createrepo_c") {
        return;
    }
    let mirror = mirror(&[]).await;
    let ours = Dnf::new(&mirror.server.url(), "");
    ours.run(&["makecache"]).unwrap();
    let theirs = Dnf::new(&mirror.upstream_url, "");
    let answers = theirs.answers();
    assert!(answers.iter().all(|(query, lines)| !lines.is_empty() || query.contains("changelogs")), "{answers:?}");
    assert_eq!(ours.answers(), answers);
    // The files are where the metadata says.
    let location = ours.run(&["repoquery", "--location", "dd-alpha-1.2"]).unwrap();
    let path = location.trim().strip_prefix(&format!("{}/", mirror.server.url())).unwrap();
    assert!(path.starts_with("packages/sha256-"), "{path}");
    let original = standard().unwrap().dir().join("rpm/updates/dd-alpha-1.2-1.x86_64.rpm");
    assert_eq!(std::fs::read(mirror.dir.path().join(path)).unwrap(), std::fs::read(original).unwrap());
}

#[tokio::test]
async fn dnf_checks_the_signature_of_the_head() {
    if !have("dnf") || !have("createrepo_c") {
        return;
    }
    let now: jiff::Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let keys = [1, 2].map(|n| RepositoryKey::generate(&format!("Drydock {n}"), now - SignedDuration::from_hours(n)).unwrap());
    let mirror = mirror(&keys).await;
    let key = mirror.dir.path().join("key.asc");
    for known in &keys {
        std::fs::write(&key, known.public_armored().unwrap()).unwrap();
        let checked = format!("repo_gpgcheck=1\ngpgkey=file://{}", key.display());
        let dnf = Dnf::new(&mirror.server.url(), &checked);
        dnf.run(&["makecache"]).unwrap();
        assert_eq!(dnf.sorted(&["repoquery"]).len(), 9);
    }
    let repomd = mirror.dir.path().join("repodata/repomd.xml");
    let text = std::fs::read_to_string(&repomd).unwrap();
    std::fs::write(&repomd, text.replace("<revision>", "<revision>1")).unwrap();
    let error = Dnf::new(&mirror.server.url(), &format!("repo_gpgcheck=1\ngpgkey=file://{}", key.display())).run(&["makecache"]);
    assert!(error.unwrap_err().contains("GPG"), "a changed repomd.xml is noticed");
}

fn zypper(root: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("zypper");
    command.args(["--root", &root.display().to_string(), "--non-interactive", "--no-color"]);
    let output = command.args(arguments).env("LC_ALL", "C.UTF-8").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stdout) + &text(&output.stderr)) }
}

/// The columns of zypper's tables that name packages or patches.
fn columns(table: &str) -> Vec<String> {
    let row = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>().join(" ");
    let mut rows: Vec<_> = table.lines().filter(|line| line.contains('|')).map(row).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn zypper_answers_as_over_the_upstream_and_checks_the_signature() {
    if !have("zypper") || !have("createrepo_c") {
        return;
    }
    let now: jiff::Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let key = RepositoryKey::generate("Drydock", now - SignedDuration::from_hours(1)).unwrap();
    let mirror = mirror(std::slice::from_ref(&key)).await;
    let answers = |url: &str, arguments: &[&str]| {
        let root = tempfile::tempdir().unwrap();
        let added = zypper(root.path(), &[&["addrepo"][..], arguments, &[url, "ours"]].concat()).unwrap();
        assert!(added.contains("ours"), "{added}");
        zypper(root.path(), &["--gpg-auto-import-keys", "refresh"])?;
        let search = zypper(root.path(), &["--no-refresh", "search", "-s", "--type", "package"])?;
        let patches = zypper(root.path(), &["--no-refresh", "list-patches", "--all"])?;
        let provides =
            zypper(root.path(), &["--no-refresh", "search", "--provides", "--match-exact", "installhint(reboot-needed)"])?;
        Ok::<_, String>([columns(&search), columns(&patches), columns(&provides)])
    };
    let theirs = answers(&mirror.upstream_url, &["--no-gpgcheck"]).unwrap();
    assert!(theirs.iter().all(|rows| rows.len() > 1), "{theirs:?}");
    assert_eq!(answers(&mirror.server.url(), &["--gpgcheck-strict"]).unwrap(), theirs);
    let repomd = mirror.dir.path().join("repodata/repomd.xml");
    let text = std::fs::read_to_string(&repomd).unwrap();
    std::fs::write(&repomd, text.replace("<revision>", "<revision>1")).unwrap();
    assert!(answers(&mirror.server.url(), &["--gpgcheck-strict"]).is_err(), "a changed repomd.xml is noticed");
}

#[tokio::test]
async fn dnf_sees_modules_and_groups() {
    if !have("dnf") || !have("createrepo_c") {
        return;
    }
    use crate::upstream::{Pkg, Repo, Server};
    let package = Pkg::new("modular", "1.0");
    let mut repo = Repo::of(std::slice::from_ref(&package));
    let module = |stream: &str| {
        format!(
            "---\ndocument: modulemd\nversion: 2\ndata:\n  name: dd-module\n  stream: \"{stream}\"\n  version: 1\n  context: abcd1234\n  \
             arch: x86_64\n  summary: A module\n  description: >-\n    It has streams\n  license:\n    module: [MIT]\n  profiles:\n    \
             default:\n      rpms: [modular]\n  artifacts:\n    rpms:\n    - modular-0:1.0-1.x86_64\n...\n"
        )
    };
    let defaults = "---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: dd-module\n  stream: \"1.10\"\n...\n";
    repo.set("modules", "modules.yaml.gz", [&module("1.10"), &module("2.0"), defaults].concat());
    let comps = "<?xml version=\"1.0\"?><comps><group><id>dd-group</id><name>The group</name><description/><default>true</default>\
                 <uservisible>true</uservisible><packagelist><packagereq type=\"mandatory\">modular</packagereq></packagelist></group></comps>";
    repo.set("group", "comps.xml", comps);
    let server = Server::start();
    server.serve(&repo);
    let bench = Bench::new(&server.url);
    let outcome = bench.sync(None).await.unwrap();
    let head = bench.content.head(&bench.publish(&outcome.root), bench.now, &[]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    bench.lay_out(&outcome.root, &head, dir.path());
    let dnf = Dnf::new(&format!("file://{}", dir.path().display()), "");
    let modules = dnf.run(&["module", "list"]).unwrap();
    assert!(modules.contains("1.10 [d]") && modules.contains("2.0"), "{modules}");
    assert!(dnf.run(&["group", "list"]).unwrap().contains("The group"));
}

/// What dnf 5 on a lab host says of a repository.
fn dnf5(host: &Host, url: &str, more: &str) -> Result<String, String> {
    let file = format!("[ours]\nname=ours\nbaseurl={url}\ngpgcheck=0\n{more}\n");
    let dnf = "dnf5 --assumeyes --quiet --setopt=reposdir=/tmp/repos --setopt=cachedir=/tmp/cache --repo=ours";
    let script = format!(
        "set -e; rm -rf /tmp/cache /tmp/repos; mkdir /tmp/repos; printf '%s' '{file}' > /tmp/repos/ours.repo\n\
         {dnf} makecache >&2\n\
         {dnf} repoquery --queryformat '%{{full_nevra}} %{{sourcerpm}} %{{downloadsize}} %{{provides}} %{{requires}} %{{obsoletes}}\\n' | sort\n\
         {dnf} repoquery --list | sort\n\
         {dnf} advisory list --all | sort\n"
    );
    host.sh(&script).map_err(|error| format!("{error:#}"))
}

#[tokio::test]
async fn dnf5_answers_as_over_the_upstream_and_checks_the_signature() {
    if let Some(reason) = skip_reason().unwrap() {
        eprintln!("skipped: {reason}");
        return;
    }
    let now: jiff::Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let key = RepositoryKey::generate("Drydock", now - SignedDuration::from_hours(1)).unwrap();
    let mirror = mirror(std::slice::from_ref(&key)).await;
    tokio::task::spawn_blocking(move || {
        let host = Host::start(&Root::ensure(RootKind::Dnf5).unwrap(), "content-dnf5").unwrap();
        host.copy_in(&mirror.dir.path().join("repodata/repomd.xml.key"), "/root/ours.asc", 0o644).unwrap();
        let checked = "repo_gpgcheck=1\ngpgkey=file:///root/ours.asc";
        let theirs = dnf5(&host, &mirror.upstream_url, "").unwrap();
        assert!(theirs.contains("dd-alpha-0:1.2-1.x86_64"), "{theirs}");
        assert_eq!(dnf5(&host, &mirror.server.url(), checked).unwrap(), theirs);
        let repomd = mirror.dir.path().join("repodata/repomd.xml");
        let text = std::fs::read_to_string(&repomd).unwrap();
        std::fs::write(&repomd, text.replace("<revision>", "<revision>1")).unwrap();
        assert!(dnf5(&host, &mirror.server.url(), checked).is_err(), "a changed repomd.xml is noticed");
    })
    .await
    .unwrap();
}

/// Copies the standard updates and has createrepo_c make zchunk metadata, of which nothing else is left.
fn zchunk_only(dir: &Path) {
    let packages = standard().unwrap().dir().join("rpm/updates");
    for entry in std::fs::read_dir(packages).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "rpm") {
            std::fs::copy(&path, dir.join(path.file_name().unwrap())).unwrap();
        }
    }
    let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
    run(Command::new("createrepo_c").args(["--quiet", "--no-database", "--zck"]).arg(dir));
    for kind in ["primary", "filelists", "other"] {
        run(Command::new("modifyrepo_c").args(["--remove", kind]).arg(dir.join("repodata")));
    }
}

#[tokio::test]
async fn zchunk_alone_gives_the_same_packages() {
    if !have("createrepo_c") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().to_owned();
    tokio::task::spawn_blocking(move || zchunk_only(&into)).await.unwrap();
    let repomd = std::fs::read_to_string(dir.path().join("repodata/repomd.xml")).unwrap();
    assert!(repomd.contains("primary_zck") && !repomd.contains("type=\"primary\""), "{repomd}");
    let server = serve_dir(dir.path()).unwrap();
    let bench = Bench::new(&server.url());
    let outcome = bench.sync(None).await.unwrap();
    let mirror = mirror(&[]).await;
    let theirs = Bench::new(&mirror.upstream_url);
    let want = theirs.sync(None).await.unwrap();
    assert_eq!(bench.names(&outcome.root), theirs.names(&want.root));
    assert_eq!(outcome.findings, []);
}

//! The program and its software sources: a document comes, files appear, others are set aside, everything is given back.
//! On a temporary root that looks like a host with dnf.

#[allow(dead_code)]
mod common;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{INSTANCE, Server};
use drydock_api::agent::v1::PullSourcesResponse;
use drydock_domain::source::host::{HostSource, HostSources, HostSourcesReport, HostSourcesState, SourcesMode, signed_bytes};
use drydock_domain::source::unit::Format;

const PROGRAM: &str = env!("CARGO_BIN_EXE_drydock-agent");
const PATIENCE: Duration = Duration::from_secs(180);
const ORIGINAL: &[u8] = b"[base]\nname=\xe4\n";

fn agent(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("--root-dir").arg(root).args(args).stdin(Stdio::null());
    for key in ["https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "INVOCATION_ID"] {
        command.env_remove(key);
    }
    command
}

fn ok(output: &Output) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    text
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host whose package manager is dnf 4, enrolled.
fn host(server: &Server, more: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for dir in ["etc/yum.repos.d", "usr/bin"] {
        std::fs::create_dir_all(root.path().join(dir)).expect("made");
    }
    std::fs::write(root.path().join("etc/os-release"), "ID=ol\n").expect("written");
    std::fs::write(root.path().join("usr/bin/dnf-3"), "#!/no/such/python\n").expect("written");
    std::fs::write(root.path().join("etc/yum.repos.d/base.repo"), ORIGINAL).expect("written");
    let url = server.url();
    let base = ["enrol", "--no-start", "--server", &url, "--token", "dde_good", "--ca-fingerprint", &server.ca_fingerprint];
    ok(&agent(root.path(), &[&base[..], more].concat()).output().expect("run"));
    // Only the sources are looked at here; the machine's own metadata is nobody's business.
    let config = root.path().join("etc/drydock-agent/agent.toml");
    let text = std::fs::read_to_string(&config).expect("read");
    let text: String = text.lines().filter(|l| !l.starts_with("refresh")).map(|l| format!("{l}\n")).collect();
    std::fs::write(&config, format!("{text}refresh_interval_secs = 0\n")).expect("written");
    root
}

fn start(root: &Path) -> Daemon {
    Daemon(agent(root, &["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started"))
}

fn document(generation: u64, mode: SourcesMode, names: &[&str]) -> HostSources {
    let source = |name: &&str| HostSource {
        name: (*name).into(),
        display_name: format!("The {name}"),
        format: Format::Rpm,
        path: format!("/content/prod/{name}/"),
        suite: String::new(),
        components: Vec::new(),
        architectures: Vec::new(),
        keys: Vec::new(),
        gpgcheck: false,
        priority: None,
        module_hotfixes: false,
    };
    HostSources {
        version: 1,
        instance: INSTANCE.parse().expect("an id"),
        generation,
        mode,
        repository_keys: Vec::new(),
        sources: names.iter().map(source).collect(),
    }
}

/// The host is to see this.
fn send(server: &Server, document: &HostSources) {
    let bytes = serde_json::to_vec(document).expect("json");
    let signature = server.work_key.sign(&signed_bytes(&bytes)).as_ref().to_vec();
    let response = PullSourcesResponse { changed: true, document: bytes, signature };
    let mut seen = server.seen();
    seen.sources = Some((document.generation, response));
    seen.hint();
}

fn reported(server: &Server, what: &str, holds: impl Fn(&HostSourcesReport) -> bool) -> HostSourcesReport {
    let began = Instant::now();
    loop {
        if let Some(report) = server.seen().source_reports.iter().rev().find(|r| holds(r)) {
            return report.clone();
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}; got {:?}", server.seen().source_reports);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn sources_come_stay_without_the_server_and_go_with_unregister() {
    let server = Server::start();
    let root = host(&server, &[]);
    let root = root.path();
    let repos = root.join("etc/yum.repos.d");
    let daemon = start(root);
    send(&server, &document(1, SourcesMode::Exclusive, &["ol9", "extra"]));
    let report = reported(&server, "applied", |r| r.state == HostSourcesState::Applied);
    assert_eq!((report.generation, &report.taken_over[..]), (1, &["/etc/yum.repos.d/base.repo".to_owned()][..]));
    let repo = std::fs::read_to_string(repos.join("drydock.repo")).expect("written");
    assert!(repo.contains(&format!("baseurl={}/content/prod/ol9/\n", server.url())), "{repo}");
    assert!(!repos.join("base.repo").exists() && repos.join("base.repo.drydock-backup").exists());
    let client = std::fs::read_to_string(root.join("etc/drydock-agent/content/client.pem")).expect("written");
    assert!(client.contains("BEGIN CERTIFICATE") && client.contains("BEGIN PRIVATE KEY"));
    assert_eq!(server.seen().content_certificates, 1);

    // A package's update writes its file again: seen without anybody's asking.
    std::fs::write(repos.join("base.repo"), "of a package").expect("written");
    until("the file that appeared is set aside", || !repos.join("base.repo").exists());
    // Somebody edits ours.
    std::fs::write(repos.join("drydock.repo"), "").expect("written");
    until("ours is written again", || std::fs::read_to_string(repos.join("drydock.repo")).is_ok_and(|t| t == repo));

    send(&server, &document(2, SourcesMode::Exclusive, &["ol9"]));
    reported(&server, "the second document", |r| r.generation == 2 && r.state == HostSourcesState::Applied);
    assert!(!std::fs::read_to_string(repos.join("drydock.repo")).expect("there").contains("extra"));
    // An older one is refused, and the host stays as it is.
    send(&server, &document(1, SourcesMode::Additive, &[]));
    let refused = reported(&server, "the older one", |r| r.state == HostSourcesState::Failed);
    assert!(refused.findings.iter().any(|f| f.message.contains("generation")), "{refused:?}");
    assert!(repos.join("drydock.repo").exists());
    drop(daemon);

    drop(server);
    let said = ok(&agent(root, &["unregister", "--force"]).output().expect("run"));
    assert!(said.contains("Repository definitions restored: 1."), "{said}");
    assert_eq!(std::fs::read(repos.join("base.repo")).expect("back"), ORIGINAL);
    assert_eq!(std::fs::read(repos.join("base.repo.drydock-new")).expect("kept"), b"of a package");
    let left: Vec<_> = std::fs::read_dir(&repos).expect("listed").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(!root.join("etc/drydock-agent").exists() && !root.join("var/lib/drydock-agent").exists());
}

/// The process that applies and the one that unregisters are killed at moments of chance.
#[test]
fn unregister_restores_after_kills() {
    let server = Server::start();
    let first = host(&server, &["--read-only"]);
    let daemon = start(first.path());
    send(&server, &document(1, SourcesMode::Exclusive, &["a"]));
    reported(&server, "document and certificate are kept", |r| r.generation == 1);
    until("the certificate is kept", || first.path().join("var/lib/drydock-agent/sources/certificate").exists());
    drop(daemon);
    let config = first.path().join("etc/drydock-agent/agent.toml");
    let text = std::fs::read_to_string(&config).expect("read").replace("read_only = true", "read_only = false");
    std::fs::write(&config, text).expect("written");
    for round in 0..12u64 {
        let copy = tempfile::tempdir().expect("a directory");
        let root = copy.path().join("root");
        assert!(Command::new("cp").arg("-a").arg(first.path()).arg(&root).status().expect("run").success());
        for (command, pause) in [(&["apply-sources"][..], round * 2), (&["unregister", "--force"][..], round)] {
            let mut victim = agent(&root, command).stdout(Stdio::null()).spawn().expect("started");
            // Not a wait for something: the moment of the kill.
            std::thread::sleep(Duration::from_millis(pause));
            let _ = victim.kill();
            let _ = victim.wait();
        }
        ok(&agent(&root, &["unregister", "--force"]).output().expect("run"));
        let repos = root.join("etc/yum.repos.d");
        let left: Vec<_> = std::fs::read_dir(&repos).expect("listed").flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["base.repo"], "round {round}");
        assert_eq!(std::fs::read(repos.join("base.repo")).expect("back"), ORIGINAL);
    }
}

#[test]
fn a_read_only_host_is_left_alone_and_says_so() {
    let server = Server::start();
    let root = host(&server, &["--read-only"]);
    let _daemon = start(root.path());
    send(&server, &document(1, SourcesMode::Exclusive, &["a"]));
    let report = reported(&server, "an answer", |r| r.generation == 1);
    assert!(report.state == HostSourcesState::Failed && report.findings[0].message.contains("read-only"), "{report:?}");
    assert!(root.path().join("etc/yum.repos.d/base.repo").exists());
    assert!(!root.path().join("etc/yum.repos.d/drydock.repo").exists());
}

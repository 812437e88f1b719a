//! Real package managers of this machine as clients of the server, with a host's content certificate. Hosts of other
//! kinds are the lab's.

use std::path::Path;
use std::process::{Command, Output};

use drydock_api::agent::v1::{IssueContentCertificateRequest, ReportInventoryRequest};
use drydock_domain::inventory::ManagerKind;
use drydock_testkit::serve::serve_dir;
use drydock_testkit::upstream::{AptArchive, DebPackage, RpmPackage, RpmRepository, SigningKey, cached};
use serde_json::{Value, json};

use crate::support::{Agent, TestServer, answer, csr};

struct Prepared {
    server: TestServer,
    dir: tempfile::TempDir,
}

/// A server with one synced source attached to one host, whose certificate and keys lie in files.
async fn prepared(manager: ManagerKind, architecture: &str, spec: Value) -> Prepared {
    let server = TestServer::start().await;
    let name = spec["name"].as_str().expect("a name").to_owned();
    let made = server.admin.post("/sources", spec).await;
    assert_eq!(made.status, 201, "{made:?}");
    let job = server.admin.post(&format!("/sources/{name}:sync"), json!({})).await;
    let path = format!("/content-jobs/{}", job.body["id"].as_str().expect("an id"));
    let done = server.admin.wait_for(&path, "synced", |j| j["finishedAt"].is_string()).await;
    assert_eq!(done["state"], "SUCCEEDED", "{done}");
    let mut host = Agent::new(server.running.addr, &server.running.ca_pem, "web-1");
    (host.os.managers, host.os.architecture) = (vec![manager], architecture.to_owned());
    host.enrol(&server.enrolment_token(true).await).await.expect("enrolled");
    let sections = host.sections(&[]);
    host.link().await.report_inventory(ReportInventoryRequest { sections, ..Default::default() }).await.expect("stored");
    let attach = server.admin.request("PUT", "/instances/web-1/sources").json(&json!({"attach": [name]}));
    assert_eq!(answer(attach).await.status, 200);
    let key = rcgen::KeyPair::generate().expect("a key");
    let ask = IssueContentCertificateRequest { csr_der: csr(&key) };
    let issued = host.link().await.issue_content_certificate(ask).await.expect("issued").into_inner();
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
    write("ca.pem", &server.running.ca_pem);
    write("cert.pem", &issued.certificate_pem);
    write("key.pem", &key.serialize_pem());
    let keys = server.admin.get("/repository-keys").await;
    write("repository.asc", keys.body["keys"][0]["publicKey"].as_str().expect("a key"));
    Prepared { server, dir }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.env("LC_ALL", "C").output().expect("started")).await.expect("ended")
}

#[tokio::test(flavor = "multi_thread")]
async fn dnf_reads_a_signed_repository_and_downloads_a_package() {
    let build = |dir: &Path| RpmRepository { packages: vec![RpmPackage::new("dd-dnf", "1.0")], advisories: vec![] }.build(dir);
    let upstream = serve_dir(&cached("server-dnf", "dd-dnf 1.0", build).expect("built")).expect("serves");
    let spec = json!({"name": "app", "format": "rpm", "origin": {"upstream": {"urls": [upstream.url()]}}});
    let at = prepared(ManagerKind::Dnf, "x86_64", spec).await;
    let (dir, base) = (at.dir.path(), &at.server.admin.base);
    let repo = format!(
        "[drydock-app]\nname=app\nbaseurl={base}/content/latest/app/\nenabled=1\ngpgcheck=0\nrepo_gpgcheck=1\n\
         gpgkey=file://{d}/repository.asc\nsslverify=1\nsslcacert={d}/ca.pem\nsslclientcert={d}/cert.pem\n\
         sslclientkey={d}/key.pem\n",
        d = dir.display()
    );
    std::fs::create_dir(dir.join("repos")).expect("made");
    std::fs::write(dir.join("dnf.conf"), "[main]\n").expect("written");
    std::fs::write(dir.join("repos/drydock.repo"), repo).expect("written");
    let dnf = |arguments: &[&str]| {
        let mut command = Command::new("dnf");
        command.args(["-y", "--releasever=1", "--noplugins"]);
        command.arg(format!("--config={}/dnf.conf", dir.display()));
        command.arg(format!("--installroot={}/root", dir.display()));
        command.arg(format!("--setopt=reposdir={}/repos", dir.display()));
        command.arg(format!("--setopt=cachedir={}/cache", dir.display()));
        command.arg(format!("--setopt=logdir={}", dir.display()));
        command.args(arguments).current_dir(dir);
        command
    };
    let made = run(dnf(&["makecache"])).await;
    assert!(made.status.success(), "{}", told(&made));
    let found = run(dnf(&["repoquery", "dd-dnf"])).await;
    assert!(told(&found).contains("dd-dnf-0:1.0-1.noarch"), "{}", told(&found));
    let destination = format!("--destdir={}", dir.display());
    let got = run(dnf(&["install", "--downloadonly", &destination, "dd-dnf"])).await;
    assert!(dir.join("dd-dnf-1.0-1.noarch.rpm").exists(), "{}", told(&got));
    at.server.admin.post("/instances/web-1:revoke", json!({})).await;
    let refused = run(dnf(&["--refresh", "makecache"])).await;
    assert!(!refused.status.success(), "a revoked host reads nothing: {}", told(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn apt_reads_a_signed_repository_and_downloads_a_package() {
    let dir = tempfile::tempdir().expect("a directory");
    let archive = AptArchive {
        origin: "Test".into(),
        label: "Test".into(),
        suite: "stable".into(),
        codename: "stable".into(),
        packages: vec![DebPackage::new("dd-apt", "1.0")],
    };
    let key = SigningKey::generate().expect("a key");
    archive.build(&dir.path().join("up"), Some(&key)).expect("built");
    key.export(&dir.path().join("upstream.asc")).expect("exported");
    let upstream_key = std::fs::read_to_string(dir.path().join("upstream.asc")).expect("there");
    let upstream = serve_dir(&dir.path().join("up")).expect("serves");
    let architecture = Command::new("dpkg").arg("--print-architecture").output().expect("started");
    let architecture = String::from_utf8_lossy(&architecture.stdout).trim().to_owned();
    let spec = json!({
        "name": "app", "format": "deb", "keys": [upstream_key], "signatures": "required",
        "architectures": [architecture],
        "origin": {"upstream": {"urls": [upstream.url()], "suite": "stable", "components": ["main"]}},
    });
    let at = prepared(ManagerKind::Apt, std::env::consts::ARCH, spec).await;
    let (d, base) = (at.dir.path().display().to_string(), &at.server.admin.base);
    let line = format!("deb [signed-by={d}/repository.asc] {base}/content/latest/app stable main\n");
    std::fs::write(at.dir.path().join("sources.list"), line).expect("written");
    for path in ["state/lists/partial", "cache/archives/partial", "etc"] {
        std::fs::create_dir_all(at.dir.path().join(path)).expect("made");
    }
    std::fs::write(at.dir.path().join("status"), "").expect("written");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        for option in [
            format!("Dir::Etc::SourceList={d}/sources.list"),
            format!("Dir::Etc::SourceParts={d}/etc"),
            format!("Dir::Etc::Parts={d}/etc"),
            format!("Dir::State={d}/state"),
            format!("Dir::State::status={d}/status"),
            format!("Dir::Cache={d}/cache"),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Retries=0".to_owned(),
            format!("Acquire::https::CaInfo={d}/ca.pem"),
            format!("Acquire::https::SslCert={d}/cert.pem"),
            format!("Acquire::https::SslKey={d}/key.pem"),
        ] {
            command.args(["-o", &option]);
        }
        command.args(arguments).current_dir(at.dir.path());
        command
    };
    let updated = run(apt(&["update", "-o", "APT::Update::Error-Mode=any"])).await;
    assert!(updated.status.success(), "{}", told(&updated));
    let again = run(apt(&["update", "-o", "APT::Update::Error-Mode=any"])).await;
    assert!(told(&again).contains("Hit:1"), "nothing changed, nothing is sent: {}", told(&again));
    let got = run(apt(&["download", "dd-apt"])).await;
    assert!(at.dir.path().join("dd-apt_1.0_all.deb").exists(), "{}", told(&got));
}

//! The binary as an operator runs it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use drydock_testkit::upstream::DebPackage;
use serde_json::json;

use crate::support::{Agent, LIMIT, Person, answer, wait_until};

fn drydockd(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drydockd"));
    command.arg("--config").arg(dir.join("drydockd.toml")).args(args).env_remove("DRYDOCK_CONFIG");
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    drydockd(dir, args).output().expect("started")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn word(text: &str, good: impl Fn(&str) -> bool) -> String {
    text.split_whitespace().find(|w| good(w)).unwrap_or_else(|| panic!("not in: {text}")).to_owned()
}

pub struct Daemon {
    child: Child,
    pub addr: std::net::SocketAddr,
    log: std::thread::JoinHandle<String>,
}

impl Daemon {
    /// Starts `serve` and reads the port from its log.
    pub fn serve(dir: &Path) -> Self {
        let mut child = drydockd(dir, &["serve"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("started");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut log = String::new();
        let addr = loop {
            let line = lines.next().unwrap_or_else(|| panic!("ended: {log}")).expect("a line");
            log.push_str(&line);
            log.push('\n');
            let text = line.split_once("address=").and_then(|(_, rest)| rest.split_whitespace().next());
            let json = serde_json::from_str::<serde_json::Value>(&line).ok();
            let address = text.or_else(|| json.as_ref().and_then(|j| j["address"].as_str()));
            if line.contains("serving")
                && let Some(address) = address
            {
                break address.parse().expect("an address");
            }
        };
        let log = std::thread::spawn(move || lines.map_while(Result::ok).fold(log, |log, line| log + &line + "\n"));
        Daemon { child, addr, log }
    }

    /// SIGTERM; the whole log, when it ended well and in time.
    pub fn terminate(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signalled");
        let began = Instant::now();
        while self.child.try_wait().expect("waited").is_none() {
            assert!(began.elapsed() < LIMIT, "did not end at SIGTERM");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let status = self.child.wait().expect("waited");
        let log = self.log.join().expect("read");
        assert!(status.success(), "{status}: {log}");
        log
    }
}

/// `init` in an empty directory; (token, CA fingerprint).
pub fn init(dir: &Path) -> (String, String) {
    let data = dir.join("data");
    let made = run(dir, &["init", "--data-dir", data.to_str().expect("text"), "--listen", "127.0.0.1:0"]);
    assert!(made.status.success(), "{}", told(&made));
    let text = String::from_utf8_lossy(&made.stdout).into_owned();
    (word(&text, |w| w.starts_with("ddt_")), word(&text, |w| w.len() == 64))
}

#[tokio::test(flavor = "multi_thread")]
async fn first_run_serve_sigterm_and_the_log_tells_no_secret() {
    let dir = tempfile::tempdir().expect("a directory");
    let (token, fingerprint) = init(dir.path());
    let again = run(dir.path(), &["init"]);
    assert!(!again.status.success() && told(&again).contains("set up already"), "{}", told(&again));
    let checked = run(dir.path(), &["check-config"]);
    assert!(checked.status.success() && told(&checked).contains(&fingerprint), "{}", told(&checked));

    let daemon = Daemon::serve(dir.path());
    let ca_pem = std::fs::read_to_string(dir.path().join("data/ca.pem")).expect("there");
    let admin = Person::new(daemon.addr, &ca_pem, &token);
    wait_until("ready", async || {
        let url = format!("{}/readyz", admin.base);
        admin.client.get(url).send().await.ok().filter(|r| r.status() == 200)
    })
    .await;
    let profile = admin.post("/enrolment-profiles", json!({"displayName": "t", "autoAccept": true})).await;
    let enrol_token = profile.body["token"].as_str().expect("a token").to_owned();
    let mut agent = Agent::new(daemon.addr, &ca_pem, "web-1");
    agent.enrol(&enrol_token).await.expect("in");
    let mut hints = agent.link().await.attach(tonic::Request::new(Default::default())).await.expect("attached").into_inner();
    hints.message().await.expect("a hint");
    let second = run(dir.path(), &["serve"]);
    assert!(told(&second).contains("another drydockd"), "{}", told(&second));
    let log = tokio::task::spawn_blocking(move || daemon.terminate()).await.expect("ended");
    assert_eq!(hints.message().await.expect_err("over").code(), tonic::Code::Unavailable);
    assert!(log.contains("stopped") && log.contains("/api/v1/enrolment-profiles"), "{log}");
    assert!(log.contains("who=\"administrator\"") || log.contains("who=administrator"), "{log}");
    for secret in [&token, &enrol_token] {
        assert!(!log.contains(secret.as_str()), "a secret in the log: {log}");
    }
}

#[test]
fn a_wrong_configuration_is_refused_with_the_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("drydockd.toml");
    let missing = run(dir.path(), &["check-config"]);
    assert!(!missing.status.success() && told(&missing).contains("cannot read the configuration"), "{}", told(&missing));
    for (text, part) in [("lisen = 1\n", "lisen"), ("listen = \"x\"\n", "listen"), ("[log]\nlevel = 3\n", "level")] {
        std::fs::write(&path, text).expect("written");
        for command in [&["check-config"][..], &["serve"], &["init"], &["--print-config"]] {
            let refused = run(dir.path(), command);
            assert!(!refused.status.success() && told(&refused).contains(part), "{text}: {}", told(&refused));
        }
    }
    std::fs::write(&path, "names = [\"drydock.example\"]\n").expect("written");
    let printed = run(dir.path(), &["--print-config"]);
    assert!(told(&printed).contains("drydock.example") && told(&printed).contains("certificate_hours = 168"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_working_server_brings_everything_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let (token, _) = init(dir.path());
    let daemon = Daemon::serve(dir.path());
    let ca_pem = std::fs::read_to_string(dir.path().join("data/ca.pem")).expect("there");
    let admin = Person::new(daemon.addr, &ca_pem, &token);
    let profile = admin.post("/enrolment-profiles", json!({"displayName": "t", "autoAccept": true})).await;
    let mut agent = Agent::new(daemon.addr, &ca_pem, "web-1");
    agent.enrol(profile.body["token"].as_str().expect("a token")).await.expect("in");

    // A package file, and a part of a snapshot.
    let content = dir.path().join("data/content");
    for name in ["blobs/ab/cd", "objects/ab/cd"] {
        std::fs::create_dir_all(content.join(name).parent().expect("a parent")).expect("made");
        std::fs::write(content.join(name), name).expect("written");
    }
    let repository_keys = std::fs::read_to_string(dir.path().join("data/repository-keys/keys.json")).expect("there");
    let file = dir.path().join("backup.tar");
    let file_arg = file.to_str().expect("text");
    let made = run(dir.path(), &["backup", file_arg]);
    assert!(made.status.success(), "{}", told(&made));
    assert!(told(&made).contains("Not in it: package files (1 files"), "{}", told(&made));
    let whole = dir.path().join("whole.tar");
    let whole_arg = whole.to_str().expect("text");
    assert!(run(dir.path(), &["backup", "--packages", whole_arg]).status.success());
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    let twice = run(dir.path(), &["backup", file_arg]);
    assert!(told(&twice).contains("move it away first"), "{}", told(&twice));
    let running = run(dir.path(), &["restore", file_arg]);
    assert!(told(&running).contains("another drydockd works on"), "{}", told(&running));
    let recovered = run(dir.path(), &["admin-token", "--role", "viewer", "--name", "found"]);
    let recovered = word(&told(&recovered), |w| w.starts_with("ddt_"));
    let found = Person { token: recovered, ..admin.clone() }.get("/whoami").await;
    assert_eq!((found.body["name"].as_str(), found.body["role"].as_str()), (Some("found"), Some("viewer")), "{found:?}");
    tokio::task::spawn_blocking(move || daemon.terminate()).await.expect("ended");
    let not_empty = run(dir.path(), &["restore", file_arg]);
    assert!(told(&not_empty).contains("exists; move it away first"), "{}", told(&not_empty));

    // Another machine: nothing but the file.
    std::fs::rename(dir.path().join("data"), dir.path().join("lost")).expect("moved");
    std::fs::remove_file(dir.path().join("drydockd.toml")).expect("removed");
    let data = dir.path().join("data");
    let data_arg = data.to_str().expect("text");
    let mut damaged = std::fs::read(&file).expect("read");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let bad = dir.path().join("bad.tar");
    for bytes in [&damaged[..], &damaged[..middle], b"no archive"] {
        std::fs::write(&bad, bytes).expect("written");
        let refused = run(dir.path(), &["restore", "--data-dir", data_arg, bad.to_str().expect("text")]);
        assert!(told(&refused).contains("not a usable backup"), "{}", told(&refused));
        assert!(!data.join("ca.key").exists() && !data.join("drydock.sqlite").exists());
    }
    let restored = run(dir.path(), &["restore", "--data-dir", data_arg, file_arg]);
    assert!(restored.status.success(), "{}", told(&restored));
    assert_eq!(std::fs::metadata(data.join("ca.key")).expect("there").permissions().mode() & 0o777, 0o600);
    let restored_keys = data.join("repository-keys/keys.json");
    assert_eq!(std::fs::read_to_string(&restored_keys).expect("there"), repository_keys, "hosts trust the same keys");
    assert_eq!(std::fs::metadata(&restored_keys).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(data.join("content/objects/ab/cd").exists() && !data.join("content/blobs/ab/cd").exists());
    let other = dir.path().join("other");
    let other_arg = other.to_str().expect("text");
    std::fs::rename(dir.path().join("drydockd.toml"), dir.path().join("kept.toml")).expect("moved");
    let with_packages = run(dir.path(), &["restore", "--data-dir", other_arg, whole_arg]);
    assert!(with_packages.status.success(), "{}", told(&with_packages));
    assert_eq!(std::fs::read_to_string(other.join("content/blobs/ab/cd")).expect("there"), "blobs/ab/cd");
    std::fs::rename(dir.path().join("kept.toml"), dir.path().join("drydockd.toml")).expect("moved");
    let daemon = Daemon::serve(dir.path());
    agent.addr = daemon.addr;
    agent.link().await.pull_work(tonic::Request::new(Default::default())).await.expect("the agent is known");
    let admin = Person::new(daemon.addr, &ca_pem, &token);
    assert_eq!(admin.get("/instances/web-1").await.body["state"], "ACTIVE");
    tokio::task::spawn_blocking(move || daemon.terminate()).await.expect("ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_logs_are_one_object_a_line_with_the_request_s_id() {
    let dir = tempfile::tempdir().expect("a directory");
    let (token, _) = init(dir.path());
    let path = dir.path().join("drydockd.toml");
    let config = std::fs::read_to_string(&path).expect("there");
    std::fs::write(&path, config.replace("#= format = \"text\"", "format = \"json\"")).expect("written");
    let daemon = Daemon::serve(dir.path());
    let ca_pem = std::fs::read_to_string(dir.path().join("data/ca.pem")).expect("there");
    let admin = Person::new(daemon.addr, &ca_pem, &token);
    crate::support::answer(admin.request("GET", "/whoami").header("x-request-id", "mine-1")).await;
    let log = tokio::task::spawn_blocking(move || daemon.terminate()).await.expect("ended");
    let lines: Vec<serde_json::Value> = log.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let line = lines.iter().find(|l| l["request_id"] == "mine-1").expect("logged");
    assert_eq!((line["status"].as_str(), line["who"].as_str()), (Some("200"), Some("administrator")), "{line}");
    assert!(line["address"].as_str().is_some_and(|a| a.starts_with("127.0.0.1:")), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_carried_from_one_working_server_to_another() {
    let (here, there) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let person = |dir: &Path, daemon: &Daemon, token: &str| {
        Person::new(daemon.addr, &std::fs::read_to_string(dir.join("data/ca.pem")).expect("there"), token)
    };
    let (token, _) = init(here.path());
    let from = Daemon::serve(here.path());
    let admin = person(here.path(), &from, &token);
    let made = admin.post("/sources", json!({"name": "ours", "format": "deb", "origin": {"local": {}}})).await;
    assert_eq!(made.status, 201, "{made:?}");
    std::fs::create_dir(here.path().join("debs")).expect("made");
    DebPackage::new("dd-ours", "1.0").build(&here.path().join("debs")).expect("built");
    let deb = std::fs::read_dir(here.path().join("debs")).expect("read").next().expect("a file").expect("an entry").path();
    let bytes = std::fs::read(deb).expect("read");
    let taken = answer(admin.request("POST", "/sources/ours/packages?fileName=dd-ours.deb").body(bytes.clone())).await;
    assert_eq!(taken.status, 202, "{taken:?}");
    let listed = admin.wait_for("/sources/ours/packages", "the package", |p| p["items"][0].is_object()).await;
    let digest = listed["items"][0]["digest"].as_str().expect("a digest").to_owned();

    let out = here.path().join("carried.tar");
    let out = out.to_str().expect("text");
    let exported = run(here.path(), &["export", "--source", "ours", "--packages", out]);
    assert!(exported.status.success(), "{}", told(&exported));
    let text = told(&exported);
    let key = there.path().join("key.asc");
    std::fs::write(&key, &text[text.find("-----BEGIN PGP PUBLIC").expect("the key")..]).expect("written");
    let again = run(here.path(), &["export", "--source", "ours", out]);
    assert!(!again.status.success() && told(&again).contains("exists already"), "{}", told(&again));
    let nothing = run(here.path(), &["export", "--source", "theirs@7", "x"]);
    assert!(told(&nothing).contains("no software source theirs"), "{}", told(&nothing));
    tokio::task::spawn_blocking(move || from.terminate()).await.expect("ended");

    let (token, _) = init(there.path());
    let to = Daemon::serve(there.path());
    let admin = person(there.path(), &to, &token);
    let own = std::fs::read_to_string(there.path().join("data/ca.pem")).expect("there");
    let wrong = there.path().join("wrong.asc");
    std::fs::write(&wrong, own).expect("written");
    let refused = run(there.path(), &["import", "--create", "--key", wrong.to_str().expect("text"), out]);
    assert!(!refused.status.success() && told(&refused).contains("key"), "{}", told(&refused));
    let key = key.to_str().expect("text");
    let refused = run(there.path(), &["import", "--key", key, out]);
    assert!(told(&refused).contains("no software source ours; import with --create"), "{}", told(&refused));
    let imported = run(there.path(), &["import", "--create", "--key", key, out]);
    assert!(imported.status.success() && told(&imported).contains("ours: made."), "{}", told(&imported));
    // The daemon was there all the time.
    let path = format!("{}/content/latest/ours/pool/{digest}/dd-ours.deb", admin.base);
    let served = admin.client.get(path).bearer_auth(&admin.token).send().await.expect("an answer");
    assert_eq!(served.status(), 200);
    assert_eq!(served.bytes().await.expect("a body"), bytes);
    let head = format!("{}/content/latest/ours/dists/local/InRelease", admin.base);
    assert_eq!(admin.client.get(head).bearer_auth(&admin.token).send().await.expect("an answer").status(), 200);
    let snapshot = admin.get("/sources/ours/snapshots/latest").await;
    assert_eq!(snapshot.body["origin"], "IMPORT", "{snapshot:?}");
    tokio::task::spawn_blocking(move || to.terminate()).await.expect("ended");
}

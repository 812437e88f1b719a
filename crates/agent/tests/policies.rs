//! The program and its policies: a document comes, the host becomes so and stays so, also without the server and after kills;
//! `unregister` leaves no trace of the keeper. On a temporary root.

#[allow(dead_code)]
mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{INSTANCE, Server};
use drydock_api::agent::v1::{PullPoliciesResponse, SignedPolicies};
use drydock_domain::policy::host::{HOST_POLICIES_VERSION, SECRET_MARKS, signed_bytes};
use drydock_domain::policy::{
    ComplianceState, DriftOutcome, FileResource, HostPolicies, HostPoliciesReport, HostPolicy, Mode, OnUnassign, Resource,
    StepKind,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_drydock-agent");
const PATIENCE: Duration = Duration::from_secs(120);

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

/// An enrolled host, and its daemon.
struct Host {
    root: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Host {
    fn new(server: &Server, more: &[&str]) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(root.path().join("etc")).expect("made");
        let url = server.url();
        let base = ["enrol", "--no-start", "--server", &url, "--token", "dde_good", "--ca-fingerprint", &server.ca_fingerprint];
        ok(&agent(root.path(), &[&base[..], more].concat()).output().expect("run"));
        let config = root.path().join("etc/drydock-agent/agent.toml");
        let text = std::fs::read_to_string(&config).expect("read");
        let text: String = text.lines().filter(|l| !l.starts_with("refresh")).map(|l| format!("{l}\n")).collect();
        std::fs::write(&config, format!("{text}refresh_interval_secs = 0\n")).expect("written");
        let mut host = Host { root, daemon: None };
        host.start();
        host
    }

    fn start(&mut self) {
        let child = agent(self.root.path(), &["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.daemon = Some(child.expect("started"));
    }

    fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name.trim_start_matches('/'))
    }

    fn text(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path(name)).ok()
    }

    fn status(&self) -> serde_json::Value {
        let out = agent(self.root.path(), &["status", "--json"]).output().expect("run");
        serde_json::from_slice(&out.stdout).unwrap_or_default()
    }

    /// Processes of this host's keeper.
    fn keepers(&self) -> Vec<i32> {
        let own = self.root.path().to_string_lossy().into_owned();
        let processes = std::fs::read_dir("/proc").expect("listed").flatten();
        let keeps = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains(&own) && line.contains("keep-policies") && !line.contains("--detach")
        };
        processes.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(keeps).collect()
    }

    fn kill_keeper(&self) {
        for pid in self.keepers() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
        self.kill_keeper();
    }
}

fn file(id: &str, path: &str, content: &str) -> Resource {
    let file = FileResource {
        path: path.into(),
        content: Some(content.into()),
        state: drydock_domain::policy::spec::FileState::ContentsMatch,
        permissions: "0640".into(),
        ..FileResource::default()
    };
    Resource { id: id.into(), file: Some(file), ..Resource::default() }
}

fn policy(mode: Mode, resources: Vec<Resource>) -> HostPolicy {
    HostPolicy {
        assignment: "base".into(),
        revision: 1,
        policy: "files".into(),
        mode,
        check_interval_secs: 3600,
        unmatched: false,
        resources,
    }
}

fn document(generation: u64, policies: Vec<HostPolicy>) -> HostPolicies {
    let instance = INSTANCE.parse().expect("an id");
    HostPolicies {
        version: HOST_POLICIES_VERSION,
        instance,
        generation,
        preview: None,
        policies,
        secrets: BTreeMap::new(),
        health: Vec::new(),
    }
}

fn send(server: &Server, document: &HostPolicies, secrets: &[u8]) {
    let bytes = serde_json::to_vec(document).expect("json");
    let signature = server.work_key.sign(&signed_bytes(&bytes)).as_ref().to_vec();
    let mut seen = server.seen();
    if document.preview.is_some() {
        seen.previews.push(SignedPolicies { document: bytes, signature, secrets: secrets.to_vec() });
    } else {
        let response =
            PullPoliciesResponse { changed: true, document: bytes, signature, secrets: secrets.to_vec(), ..Default::default() };
        seen.policies = Some((document.generation, response));
    }
    seen.hint();
}

fn reported(server: &Server, what: &str, holds: impl Fn(&HostPoliciesReport) -> bool) -> HostPoliciesReport {
    let began = Instant::now();
    loop {
        if let Some(report) = server.seen().policy_reports.iter().rev().find(|r| holds(r)) {
            return report.clone();
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}; got {:#?}", server.seen().policy_reports.last());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn until(what: &str, holds: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

fn is_compliant(report: &HostPoliciesReport) -> bool {
    report.policies.iter().all(|p| p.state == ComplianceState::Compliant && p.checked_at.is_some())
}

#[test]
fn a_host_becomes_as_its_policies_say_and_stays_so() {
    let server = Server::start();
    let mut host = Host::new(&server, &[]);
    let mark = format!("password={}db{}\n", SECRET_MARKS.0, SECRET_MARKS.1);
    let mut motd = file("motd", "/etc/motd", "welcome\n");
    motd.on_unassign = OnUnassign::Remove;
    let resources = vec![motd, file("db", "/etc/db.conf", &mark)];
    let mut first = document(1, vec![policy(Mode::Enforcement, resources.clone())]);
    first.secrets.insert("db".into(), 1);
    server.seen().lost_answers = 1;
    send(&server, &first, br#"{"db":"hunter22"}"#);
    let report = reported(&server, "compliant", |r| r.generation == 1 && is_compliant(r));
    assert_eq!(host.text("etc/motd").as_deref(), Some("welcome\n"));
    assert_eq!(host.text("etc/db.conf").as_deref(), Some("password=hunter22\n"));
    assert_eq!(std::fs::metadata(host.path("etc/motd")).expect("there").permissions().mode() & 0o7777, 0o640);
    assert!(report.policies[0].resources[0].steps.iter().any(|s| s.kind == StepKind::DesiredStateEnforcement));
    assert!(!format!("{:?}", server.seen().policy_reports).contains("hunter22"));
    assert!(!host.text("var/log/drydock-agent/policies.log").expect("a log").contains("hunter22"));

    // Drift, of several kinds: repaired at once, told once.
    let pid = host.keepers();
    assert_eq!(pid.len(), 1);
    let root = host.root.path().to_owned();
    let is_good = || {
        std::fs::read_to_string(root.join("etc/motd")).ok().as_deref() == Some("welcome\n")
            && std::fs::metadata(root.join("etc/motd")).is_ok_and(|m| m.permissions().mode() & 0o7777 == 0o640)
    };
    std::fs::write(host.path("etc/motd"), "hacked").expect("written");
    let took = until("written over", is_good);
    assert!(took < Duration::from_secs(5), "{took:?}");
    let drifted = reported(&server, "drift is told", |r| r.drift.iter().any(|d| d.resource == "motd"));
    let event = &drifted.drift[0];
    assert_eq!((event.outcome, event.noticed_by.as_str()), (DriftOutcome::Repaired, "file event"));
    std::fs::remove_file(host.path("etc/motd")).expect("removed");
    until("removed", is_good);
    let status = host.status();
    assert_eq!((&status["policies"]["compliant"], &status["policies"]["kept"]), (&2.into(), &true.into()), "{status}");

    // The server is away, the daemon is killed, and so is the keeper: what drifted meanwhile is repaired by the next one.
    host.stop();
    std::fs::write(host.path("etc/motd"), "hacked").expect("written");
    until("kept without a daemon", is_good);
    let results = || host.text("var/lib/drydock-agent/policies/outbox/results").unwrap_or_default();
    until("and noted", || results().contains("\"repaired\":3,") || results().contains("\"repaired\":3}"));
    host.kill_keeper();
    until("the keeper is gone", || host.keepers().is_empty());
    std::fs::write(host.path("etc/db.conf"), "hacked").expect("written");
    host.start();
    until("kept again", || host.text("etc/db.conf").as_deref() == Some("password=hunter22\n"));
    let numbers = || {
        let seen = server.seen();
        seen.policy_reports.iter().flat_map(|r| &r.drift).map(|d| (d.number, d.resource.clone())).collect::<Vec<_>>()
    };
    until("all drift is told", || numbers().iter().any(|(_, r)| r == "db") && numbers().len() >= 4);
    let told = numbers();
    assert!(told.windows(2).all(|w| w[0].0 < w[1].0), "each once, in order: {told:?}");

    // A keeper that dies is noticed.
    let before = host.keepers();
    host.kill_keeper();
    until("another keeper", || !host.keepers().is_empty() && host.keepers() != before);

    // Not assigned any more: REMOVE is taken back, KEEP stays. With nothing left to keep, the keeper ends.
    send(&server, &document(2, Vec::new()), b"");
    reported(&server, "nothing to keep", |r| r.generation == 2 && r.policies.is_empty());
    until("taken back", || !host.path("etc/motd").exists());
    assert!(host.path("etc/db.conf").exists());
    until("no keeper", || host.keepers().is_empty());

    // An older document is refused and said so.
    send(&server, &document(1, vec![policy(Mode::Enforcement, vec![file("x", "/etc/x", "x")])]), b"");
    reported(&server, "refused", |r| r.problem.contains("generation"));
    assert!(!host.path("etc/x").exists());

    // Leaving while something is kept: no process, no trace.
    send(&server, &document(3, vec![policy(Mode::Enforcement, vec![file("x", "/etc/x", "x")])]), b"");
    until("kept", || host.path("etc/x").exists());
    host.stop();
    drop(server);
    ok(&agent(host.root.path(), &["unregister", "--force"]).output().expect("run"));
    assert_eq!(host.keepers(), Vec::<i32>::new());
    assert!(!host.path("var/lib/drydock-agent").exists() && !host.path("var/log/drydock-agent").exists());
    assert!(host.path("etc/x").exists(), "what was brought stays");
}

#[test]
fn a_preview_and_a_read_only_host_change_nothing_and_a_check_is_answered() {
    let server = Server::start();
    let host = Host::new(&server, &["--read-only"]);
    let wish = vec![policy(Mode::Enforcement, vec![file("motd", "/etc/motd", "welcome\n")])];
    let preview = HostPolicies { preview: Some("p-1".into()), ..document(0, wish.clone()) };
    server.seen().policies = Some((0, PullPoliciesResponse::default()));
    send(&server, &preview, b"");
    let report = reported(&server, "the preview", |r| r.preview.as_deref() == Some("p-1"));
    let resource = &report.policies[0].resources[0];
    assert_eq!((report.generation, resource.state), (0, ComplianceState::NonCompliant));
    assert!(resource.steps.iter().any(|s| s.evidence.is_some()), "{resource:?}");
    until("the preview is forgotten", || host.keepers().is_empty());
    assert!(!host.path("etc/motd").exists());

    send(&server, &document(1, wish), b"");
    let report = reported(&server, "read-only", |r| r.generation == 1 && !r.policies.is_empty());
    assert_eq!(report.policies[0].resources[0].reason, "host-is-read-only");
    assert!(!host.path("etc/motd").exists());
    // By hand it is as it should be; a check on demand says so at once.
    std::fs::write(host.path("etc/motd"), "welcome\n").expect("written");
    std::fs::set_permissions(host.path("etc/motd"), std::fs::Permissions::from_mode(0o640)).expect("set");
    reported(&server, "seen without asking", |r| r.generation == 1 && is_compliant(r));
    server.seen().policy_check = 5;
    server.seen().hint();
    reported(&server, "the check is answered", |r| r.check == 5 && is_compliant(r));
}

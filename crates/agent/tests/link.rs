//! The program against a server of paper over real TLS: enrolment, session, inventory, orders, renewal, leaving.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::{INSTANCE, Seen, Server};
use drydock_agent::inventory::Board;
use drydock_agent::ledger::Ledger;
use drydock_agent::link::address::ServerAddress;
use drydock_agent::link::session::{self, Shared};
use drydock_agent::paths::Paths;
use drydock_agent::policy::ward::Ward;
use drydock_agent::socket::Status;
use drydock_agent::task::control::Control;
use drydock_agent::task::slots::{Slot, Slots};
use drydock_domain::ids::{JobId, TaskId};
use drydock_domain::inventory::{OsFacts, PackageSet};
use drydock_domain::patch::spec::{ExecStep, ExecStepConfig, Interpreter};
use drydock_domain::patch::task::TaskState;
use drydock_domain::work::{Interval, OrderWindows, PatchOrder, WorkOrder};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

const PROGRAM: &str = env!("CARGO_BIN_EXE_drydock-agent");
const PATIENCE: Duration = Duration::from_secs(180);

fn agent(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("--root-dir").arg(root).args(args).stdin(Stdio::null());
    for key in ["https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"] {
        command.env_remove(key);
    }
    command
}

fn enrol(root: &Path, server: &Server, more: &[&str]) -> Output {
    let base = [
        "enrol",
        "--no-start",
        "--read-only",
        "--server",
        &server.url(),
        "--token",
        "dde_good",
        "--ca-fingerprint",
        &server.ca_fingerprint,
    ];
    agent(root, &[&base[..], more].concat()).output().expect("run")
}

fn ok(output: &Output) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    text
}

/// A running daemon, ended with the test.
struct Daemon(Child);

impl Daemon {
    fn start(root: &Path) -> Self {
        Daemon(agent(root, &["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(server: &Server, what: &str, holds: impl Fn(&Seen) -> bool) {
    let began = Instant::now();
    while !holds(&server.seen()) {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn order(number: u64, dry_run: bool) -> WorkOrder {
    let now = Timestamp::now();
    WorkOrder {
        version: 1,
        instance: INSTANCE.parse().expect("an id"),
        number,
        issued_at: now,
        start_before: now.checked_add(SignedDuration::from_secs(600)).expect("in range"),
        task: PatchOrder {
            task: TaskId(Uuid::from_u128(u128::from(number))),
            job: JobId(Uuid::from_u128(9)),
            deadline: None,
            dry_run,
            config: Default::default(),
            windows: None,
            reboot_slot: false,
            frozen: vec![],
            soak: None,
        },
    }
}

#[test]
fn a_host_enrols_reports_works_survives_and_leaves() {
    let (server, root) = (Server::start(), tempfile::tempdir().expect("a directory"));
    let root = root.path();
    server.seen().pending_answers = 2;
    let said = ok(&enrol(root, &server, &[]));
    assert!(said.contains(&format!("drydock instance accept {INSTANCE}")), "{said}");
    assert_eq!(server.seen().enrol_keys.len(), 3);
    assert!(server.seen().enrol_keys.windows(2).all(|k| k[0] == k[1]), "one key through all tries");
    ok(&enrol(root, &server, &[]));
    assert_eq!(server.seen().enrol_keys.len(), 3, "an enrolled host does not ask again");

    let began = Instant::now();
    let daemon = Daemon::start(root);
    until(&server, "os and packages are reported", |s| s.bodies.contains_key("os") && s.bodies.contains_key("packages"));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    {
        let seen = server.seen();
        let os: OsFacts = serde_json::from_slice(&seen.bodies["os"]).expect("facts");
        let packages: PackageSet = serde_json::from_slice(&seen.bodies["packages"]).expect("packages");
        assert!(!os.kernel_release.is_empty() && packages.as_slice().len() > 10);
        assert!(seen.user_agents[0].starts_with("drydock-agent/"), "{:?}", seen.user_agents);
    }
    let status = agent(root, &["status", "--json"]).output().expect("run");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("json");
    assert_eq!((status["instanceId"].as_str(), status["running"].as_bool()), (Some(INSTANCE), Some(true)));
    assert!(agent(root, &["status"]).output().expect("run").status.success());

    // A forged, a forbidden and a good order.
    let mut forged = server.work_key.sign(b"something else").as_ref().to_vec();
    forged.truncate(64);
    server.give(drydock_api::agent::v1::SignedOrder {
        order: serde_json::to_vec(&order(1, true)).expect("json"),
        signature: forged,
    });
    until(&server, "the forged order is refused", |s| s.refused.iter().any(|r| r.contains("signature")));
    server.order(&order(2, false));
    until(&server, "the order to change something is refused", |s| s.refused.iter().any(|r| r.contains("read-only")));
    server.order(&order(3, true));
    until(&server, "a final report", |s| s.reports.last().is_some_and(|r| r.state.is_final()));
    {
        let seen = server.seen();
        let last = seen.reports.last().expect("one");
        assert_eq!((last.task, last.state), (order(3, true).task.task, TaskState::Succeeded), "{}", last.message);
        assert_eq!(last.plans.len(), 1);
        assert!(seen.reports.windows(2).all(|r| r[0].seq < r[1].seq), "each report is newer");
    }
    server.order(&order(3, true));
    until(&server, "the same number again is refused", |s| s.refused.iter().any(|r| r.contains("number 3")));

    drop(daemon);
    assert_eq!(agent(root, &["status"]).output().expect("run").status.code(), Some(3));
    let attached = server.seen().attached;
    let daemon = Daemon::start(root);
    until(&server, "the session is up again after kill -9", |s| s.attached > attached);
    let second = agent(root, &["run"]).output().expect("run");
    assert!(String::from_utf8_lossy(&second.stderr).contains("already uses"), "two agents do not share a state");
    drop(daemon);

    ok(&agent(root, &["unregister"]).output().expect("run"));
    assert!(server.seen().unregistered);
    let left: Vec<_> = walk(root);
    assert!(left.is_empty(), "{left:?}");
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    entries.flat_map(|p| if p.is_dir() { walk(&p) } else { vec![p] }).collect()
}

#[test]
fn a_wrong_fingerprint_and_a_bad_token_are_final_and_say_what_to_do() {
    let (server, root) = (Server::start(), tempfile::tempdir().expect("a directory"));
    let url = server.url();
    let wrong = "0".repeat(64);
    let out = agent(root.path(), &["enrol", "--no-start", "--server", &url, "--token", "dde_good", "--ca-fingerprint", &wrong])
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("check --ca-fingerprint") && said.contains(&server.ca_fingerprint), "{said}");
    assert!(server.seen().enrol_keys.is_empty(), "the token never left the host");
    let bad = agent(
        root.path(),
        &["enrol", "--no-start", "--server", &url, "--token", "dde_bad", "--ca-fingerprint", &server.ca_fingerprint],
    );
    let mut bad = bad;
    let out = bad.output().expect("run");
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("ask for a new one"));
}

#[test]
fn a_silent_server_is_left_and_joined_again() {
    let (server, root) = (Server::start(), tempfile::tempdir().expect("a directory"));
    server.seen().heartbeat_secs = 1;
    ok(&enrol(root.path(), &server, &[]));
    let _daemon = Daemon::start(root.path());
    until(&server, "a second session after three missed heartbeats", |s| s.attached >= 2);
}

#[test]
fn a_certificate_is_renewed_in_time_with_a_new_key() {
    let (server, root) = (Server::start(), tempfile::tempdir().expect("a directory"));
    server.seen().certificate_secs = 6;
    ok(&enrol(root.path(), &server, &[]));
    let state = root.path().join("var/lib/drydock-agent");
    let old = std::fs::read(state.join("key.pem")).expect("a key");
    let _daemon = Daemon::start(root.path());
    until(&server, "a renewal and a new session", |s| s.renewals >= 1 && s.attached >= 2);
    assert_ne!(std::fs::read(state.join("key.pem")).expect("a key"), old);
    assert!(!state.join("next-key.pem").exists() && !state.join("next-cert.pem").exists());
}

/// Enrols, and waits until the certificate is over.
fn enrolled_long_ago(root: &Path, server: &Server) {
    server.seen().certificate_secs = 1;
    ok(&enrol(root, server, &[]));
    let expired = Timestamp::now().checked_add(SignedDuration::from_secs(2)).expect("in range");
    until(server, "the certificate is over", |_| Timestamp::now() > expired);
}

#[test]
fn a_host_that_was_off_too_long_comes_back_by_itself() {
    let (server, root) = (Server::start(), tempfile::tempdir().expect("a directory"));
    enrolled_long_ago(root.path(), &server);
    server.seen().certificate_secs = 3600;
    let _daemon = Daemon::start(root.path());
    until(&server, "a session", |s| s.attached >= 1);
    let keys = server.seen().enrol_keys.clone();
    assert!(keys.len() == 2 && keys[0] == keys[1], "the same key, so the same instance");
}

#[test]
fn a_revoked_host_that_was_off_too_long_is_told_what_to_do_and_can_enrol_again() {
    let (server, root) = (Server::start(), tempfile::tempdir().expect("a directory"));
    enrolled_long_ago(root.path(), &server);
    server.seen().revoked = true;
    let daemon = Daemon::start(root.path());
    until(&server, "the status names the remedy", |_| {
        let shown = agent(root.path(), &["status"]).output().expect("run");
        shown.status.code() == Some(4) && String::from_utf8_lossy(&shown.stdout).contains("run `drydock-agent enrol` again")
    });
    drop(daemon);
    server.seen().certificate_secs = 3600;
    ok(&enrol(root.path(), &server, &[]));
    let keys = server.seen().enrol_keys.clone();
    assert!(keys.len() == 2 && keys[0] == keys[1], "the same key, so the same instance");
    let _daemon = Daemon::start(root.path());
    until(&server, "a session", |s| s.attached >= 1);
}

#[test]
fn a_task_that_waits_lets_others_go_first_and_hears_a_stop() {
    let (server, root) = (Server::start(), tempfile::tempdir().expect("a directory"));
    ok(&enrol(root.path(), &server, &[]));
    let config = walk(root.path()).into_iter().find(|p| p.ends_with("agent.toml")).expect("a configuration");
    let text = std::fs::read_to_string(&config).expect("read");
    std::fs::write(&config, text.replace("read_only = true", "read_only = false")).expect("written");
    let daemon = Daemon::start(root.path());
    until(&server, "a session", |s| s.attached >= 1);

    let day = |n: i64| Timestamp::now().checked_add(SignedDuration::from_secs(n * 86_400)).expect("in range");
    let mut waits = order(2, false);
    let intervals = vec![Interval { from: day(1), to: day(2) }];
    waits.task.windows = Some(OrderWindows { name: "nights".into(), intervals });
    // Were it begun all the same, it would fail here, and nothing of this machine would be changed.
    let guard = ExecStepConfig { script: Some("exit 1".into()), interpreter: Interpreter::Shell, ..Default::default() };
    waits.task.config.pre_step = Some(ExecStep { linux_exec_step_config: Some(guard), ..Default::default() });
    server.order(&waits);
    let task = waits.task.task;
    let held =
        |s: &Seen| s.reports.iter().any(|r| r.task == task && r.message.starts_with("waits for its maintenance window nights"));
    until(&server, "the task waits and says so", held);
    // A refresh would be this machine's own: it waits for whoever holds the package manager's lock, and fails without a network.
    let mut other = order(3, true);
    other.task.config.from_cache = true;
    server.order(&other);
    let done = |s: &Seen| s.reports.iter().any(|r| r.task == other.task.task && r.state == TaskState::Succeeded);
    until(&server, "another task is done meanwhile", done);

    drop(daemon);
    let attached = server.seen().attached;
    let _daemon = Daemon::start(root.path());
    until(&server, "the next agent's session", |s| s.attached > attached);
    server.seen().stop = true;
    server.seen().hint();
    let last = |s: &Seen| s.reports.iter().rfind(|r| r.task == task).cloned().expect("told");
    until(&server, "the task is over", |s| last(s).state.is_final());
    let last = last(&server.seen());
    assert_eq!((last.state, last.message.as_str()), (TaskState::Canceled, "stopped on request before anything was begun"));
    assert!(last.steps.is_empty(), "{:?}", last.steps);
}

#[test]
fn a_reboot_slot_is_asked_for_until_it_is_given() {
    let (server, root) = (Server::start(), tempfile::tempdir().expect("a directory"));
    ok(&enrol(root.path(), &server, &[]));
    server.seen().slot_refusals = 2;
    let paths = Paths::below(root.path());
    let (orders, woken) = std::sync::mpsc::channel();
    let (slots, ledger) = (Slots::default(), Ledger::open(&paths.ledger()).expect("opened"));
    let shared = Shared {
        paths,
        board: Arc::new(Board::default()),
        ledger: Arc::new(std::sync::Mutex::new(ledger)),
        control: Control::default(),
        reports: Arc::default(),
        sources: std::sync::mpsc::channel().0,
        ward: Ward::of(std::sync::mpsc::channel().0),
        standing: Arc::default(),
        slots: slots.clone(),
        orders,
        read_only: true,
        status: Arc::new(std::sync::Mutex::new(Status::default())),
    };
    let address = ServerAddress::parse(&server.url()).expect("an address");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(session::run(shared, address, None));
    });
    let task = TaskId(Uuid::from_u128(7));
    assert!(matches!(slots.look(task, Instant::now()), Slot::Waits(_)));
    for _refusal in 0..2 {
        woken.recv_timeout(PATIENCE).expect("the worker is woken by the answer");
        let refused = Slot::Waits("waits for a reboot slot of group db: held by db1".into());
        assert_eq!(slots.look(task, Instant::now()), refused);
        // It would ask again in five minutes; a hint makes it ask at once.
        server.seen().hint();
    }
    woken.recv_timeout(PATIENCE).expect("the worker is woken by the answer");
    assert_eq!(slots.look(task, Instant::now()), Slot::Granted);
    server.seen().hint();
    assert_eq!(server.seen().slot_asks, vec![task.to_string(); 3]);
}

#[test]
fn a_proxy_is_asked_for_a_tunnel() {
    let (server, root) = (Server::start(), tempfile::tempdir().expect("a directory"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let tunnels = Arc::new(AtomicU32::new(0));
    let (count, to) = (Arc::clone(&tunnels), server.address);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            std::thread::spawn(move || tunnel(stream, to, &count));
        }
    });
    let proxy = format!("http://me:secret@127.0.0.1:{port}");
    ok(&enrol(root.path(), &server, &["--proxy", &proxy]));
    assert_eq!(tunnels.load(Ordering::SeqCst), 1);
    let _daemon = Daemon::start(root.path());
    until(&server, "a session through the proxy of agent.toml", |s| s.attached >= 1);
    assert_eq!(tunnels.load(Ordering::SeqCst), 2);
}

/// Lets only `me:secret` through.
fn tunnel(stream: TcpStream, to: std::net::SocketAddr, count: &AtomicU32) {
    let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
    let (mut line, mut authorised) = (String::new(), false);
    while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
        authorised |= line.trim_end() == "Proxy-Authorization: Basic bWU6c2VjcmV0";
        line.clear();
    }
    let mut stream = stream;
    if !authorised {
        let _ = stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
        return;
    }
    count.fetch_add(1, Ordering::SeqCst);
    let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
    let Ok(server) = TcpStream::connect(to) else { return };
    let (mut up, mut down) = (server.try_clone().expect("cloned"), stream.try_clone().expect("cloned"));
    std::thread::spawn(move || std::io::copy(&mut reader.by_ref(), &mut up));
    let mut server = server;
    let _ = std::io::copy(&mut server, &mut down);
}

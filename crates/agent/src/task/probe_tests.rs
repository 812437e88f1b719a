//! Checks of real things on this machine's loopback.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Instant;

use drydock_domain::ids::{JobId, TaskId};
use drydock_domain::patch::report::StepKind;
use drydock_domain::patch::spec::{ExecStepConfig, Interpreter};
use rcgen::KeyPair;
use uuid::Uuid;

use super::*;
use crate::task::script;

const LIMIT: Duration = Duration::from_secs(5);

/// Answers every connection with these bytes, after having read something.
fn answers(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut asked = [0; 1024];
            let n = stream.read(&mut asked).unwrap_or(0);
            if asked[..n].starts_with(b"GET /ready?x=1 HTTP/1.1\r\nHost: 127.0.0.1:") {
                let _ = stream.write_all(answer);
            }
        }
    });
    port
}

fn ask(port: u16, change: impl FnOnce(&mut HttpCheck)) -> Probe {
    let url = format!("http://127.0.0.1:{port}/ready?x=1");
    let mut check = HttpCheck { url, status_min: 200, status_max: 399, insecure: false };
    change(&mut check);
    http(&check, LIMIT)
}

#[test]
fn a_status_is_judged_by_its_range() {
    let found = answers(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n");
    let probe = ask(found, |_| ());
    assert_eq!((probe.healthy, probe.detail.as_str()), (true, "status 302"));
    assert!(!ask(found, |c| c.status_max = 299).healthy);
    let broken = answers(b"HTTP/1.0 503 Service Unavailable\r\n\r\n");
    assert_eq!(ask(broken, |_| ()), Probe::ill("status 503"));
    assert!(ask(broken, |c| (c.status_min, c.status_max) = (503, 503)).healthy);
}

#[test]
fn what_is_no_http_is_ill() {
    let strange = ask(answers(b"SSH-2.0-OpenSSH_9.2\r\n"), |_| ());
    assert_eq!(strange, Probe::ill("the answer is not HTTP"));
    let closed = ask(answers(b""), |_| ());
    assert!(closed.detail.starts_with("the connection ended before the answer"), "{}", closed.detail);
    static LONG: [u8; 10_000] = [b'x'; 10_000];
    assert_eq!(ask(answers(&LONG), |_| ()), Probe::ill("the answer is not HTTP"));
}

#[test]
fn a_silent_server_is_left_at_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let began = Instant::now();
    let probe = http(&HttpCheck { url, status_min: 200, status_max: 399, insecure: false }, Duration::from_secs(1));
    assert_eq!(probe, Probe::ill("no answer within 1 s"));
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[test]
fn connections_are_opened_or_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let check = TcpCheck { address: listener.local_addr().expect("an address").to_string() };
    assert_eq!(tcp(&check, LIMIT), Probe::well("a connection was opened"));
    let by_name = TcpCheck { address: check.address.replace("127.0.0.1", "localhost") };
    assert!(tcp(&by_name, LIMIT).healthy);
    drop(listener);
    let probe = tcp(&check, LIMIT);
    assert!(!probe.healthy && probe.detail.contains("refused"), "{}", probe.detail);
}

/// A TLS server whose certificate nobody on this machine trusts.
fn tls_server() -> u16 {
    let key = KeyPair::generate().expect("a key");
    let certificate =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("names").self_signed(&key).expect("signed");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(connection) = rustls::ServerConnection::new(Arc::clone(&config)) else { return };
            let mut tls = rustls::StreamOwned::new(connection, stream);
            let mut asked = [0; 1024];
            if tls.read(&mut asked).is_ok() {
                let _ = tls.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
                let _ = tls.flush();
            }
        }
    });
    port
}

#[test]
fn certificates_are_verified_unless_it_is_said_otherwise() {
    let url = format!("https://localhost:{}/", tls_server());
    let check = |insecure| http(&HttpCheck { url: url.clone(), status_min: 200, status_max: 399, insecure }, LIMIT);
    let strict = check(false);
    assert!(!strict.healthy && strict.detail.starts_with("no TLS"), "{}", strict.detail);
    let lax = check(true);
    assert_eq!((lax.healthy, lax.detail.as_str()), (true, "status 204"));
}

fn exec(script: &str, allowed: &[i32], limit: u32) -> Result<Probe, Trouble> {
    let dir = tempfile::tempdir().expect("a directory");
    let config = ExecStepConfig {
        script: Some(script.to_owned()),
        interpreter: Interpreter::Shell,
        allowed_success_codes: allowed.to_vec(),
        time_limit_secs: Some(limit),
        ..Default::default()
    };
    let (job, task) = (JobId(Uuid::nil()), TaskId(Uuid::nil()));
    let spec = script::command(dir.path(), StepKind::Health, &config, job, task).expect("a command");
    command(&SystemRunner::new(), &CommandSpec { mutates: false, ..spec }, |code| config.is_success(code))
}

#[test]
fn commands_are_judged_by_their_exit_code_and_tell_their_last_line() {
    let good = exec("echo all; echo well", &[], 10).expect("ran");
    assert_eq!((good.healthy, good.detail.as_str(), good.exit_code), (true, "exit code 0: well", Some(0)));
    let bad = exec("echo one >&2; exit 3", &[], 10).expect("ran");
    assert_eq!((bad.healthy, bad.detail.as_str()), (false, "exit code 3: one"));
    assert!(bad.output.head.contains("one"));
    assert!(exec("exit 3", &[3], 10).expect("ran").healthy);
    let slow = exec("sleep 60", &[], 1).expect("ran");
    assert_eq!((slow.healthy, slow.detail.as_str()), (false, "did not end within 1 s"));
    let step = exec("test \"$DRYDOCK_STEP\" = health-check", &[], 10).expect("ran");
    assert!(step.healthy, "{}", step.detail);
}

#[test]
fn a_unit_that_is_not_there_is_ill() {
    let check = UnitCheck { unit: "drydock-no-such-unit.service".to_owned() };
    let probe = unit(&SystemRunner::new(), &check, LIMIT).expect("asked");
    assert!(!probe.healthy && !probe.detail.is_empty(), "{probe:?}");
}

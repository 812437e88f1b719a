//! Records reach receivers once each, in order, also when a receiver is away for a while or the server starts again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use drydock_control::store::{Location, Store};
use drydock_control::{Config, Control, SystemClock, WorkKey};
use drydock_domain::access::Role;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket, UnixDatagram};

use super::*;
use crate::shutdown::{ShutdownTrigger, channel};

/// Time for something that takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    dir: tempfile::TempDir,
    key: Vec<u8>,
}

impl World {
    fn new() -> World {
        World { dir: tempfile::tempdir().expect("a directory"), key: WorkKey::generate().expect("a key").1 }
    }

    async fn control(&self) -> Control {
        let store = Store::open(&Location::Sqlite(self.dir.path().join("d.sqlite"))).await.expect("a store");
        let key = WorkKey::from_pkcs8(&self.key).expect("a key");
        Control::new(store, Config::default(), key, Arc::new(SystemClock))
    }
}

async fn changes(control: &Control, n: usize) {
    for i in 0..n {
        control.bootstrap_admin_token(&format!("t{i}"), Role::Viewer).await.expect("a token");
    }
    control.chain_audit().await.expect("chained");
}

fn started(control: &Control, settings: ForwardSettings) -> ShutdownTrigger {
    assert_eq!(settings.problems(), []);
    let (trigger, shutdown) = channel();
    tokio::spawn(run(control.clone(), settings, shutdown));
    trigger
}

/// Numbers of records in what arrived.
fn numbers(text: &str) -> Vec<u64> {
    let after = text.split("{\"seq\":").skip(1);
    after.map(|rest| rest.split(',').next().and_then(|n| n.parse().ok()).expect("a number")).collect()
}

#[derive(Clone, Default)]
struct Siem {
    got: Arc<Mutex<String>>,
    down: Arc<Mutex<bool>>,
}

impl Siem {
    async fn has(&self, n: usize) {
        let had = async {
            while numbers(&self.got.lock().expect("held")).len() < n {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, had).await.expect("it arrives");
    }
}

async fn take(State(siem): State<Siem>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers["authorization"], "Bearer tok-1");
    if *siem.down.lock().expect("held") {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    siem.got.lock().expect("held").push_str(std::str::from_utf8(&body).expect("UTF-8"));
    StatusCode::NO_CONTENT
}

#[tokio::test]
async fn over_http_nothing_is_lost_while_the_receiver_is_away_or_the_server_restarts() {
    let world = World::new();
    let siem = Siem::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/in", listener.local_addr().expect("an address"));
    let app = axum::Router::new().route("/in", axum::routing::post(take)).with_state(siem.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let token = world.dir.path().join("token");
    std::fs::write(&token, "tok-1\n").expect("written");
    let settings = ForwardSettings { http_url: Some(url), http_token_file: Some(token), ..ForwardSettings::default() };

    let control = world.control().await;
    let running = started(&control, settings.clone());
    changes(&control, 3).await;
    siem.has(3).await;
    *siem.down.lock().expect("held") = true;
    changes(&control, 2).await;
    running.begin();
    drop(control);

    let control = world.control().await;
    changes(&control, 2).await;
    *siem.down.lock().expect("held") = false;
    let _running = started(&control, settings);
    siem.has(7).await;
    let got = siem.got.lock().expect("held").clone();
    assert_eq!(numbers(&got), [1, 2, 3, 4, 5, 6, 7]);
    assert!(got.contains("{\"seal\":\"interval\""), "seals go along");
}

#[tokio::test]
async fn syslog_takes_each_record_as_a_message() {
    let world = World::new();
    let control = world.control().await;
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let to = format!("udp://{}", udp.local_addr().expect("an address"));
    let _running = started(&control, ForwardSettings { syslog: Some(to), ..ForwardSettings::default() });
    changes(&control, 1).await;
    let mut buffer = vec![0; 65_536];
    let n = tokio::time::timeout(PATIENCE, udp.recv(&mut buffer)).await.expect("in time").expect("a message");
    let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
    assert!(text.starts_with("<110>1 20") && text.contains(" drydockd ") && text.contains(" record - {\"seq\":1,"), "{text}");
    assert!(text.ends_with("\"}"), "no line feed: {text}");
}

#[tokio::test]
async fn syslog_over_tcp_counts_octets_and_over_a_socket_of_this_machine_sends_datagrams() {
    let world = World::new();
    let control = world.control().await;
    changes(&control, 2).await;
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let to = format!("tcp://{}", tcp.local_addr().expect("an address"));
    let running = started(&control, ForwardSettings { syslog: Some(to), ..ForwardSettings::default() });
    let (mut stream, _) = tokio::time::timeout(PATIENCE, tcp.accept()).await.expect("in time").expect("a connection");
    let mut got = String::new();
    for expected in [1, 2] {
        let mut count = String::new();
        loop {
            let byte = tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("in time").expect("a byte");
            if byte == b' ' {
                break;
            }
            count.push(char::from(byte));
        }
        let mut message = vec![0; count.parse().expect("a count")];
        stream.read_exact(&mut message).await.expect("a message");
        let message = String::from_utf8(message).expect("UTF-8");
        assert!(message.starts_with("<110>1 ") && message.contains(&format!("{{\"seq\":{expected},")), "{message}");
        got.push_str(&message);
    }
    assert_eq!(numbers(&got), [1, 2]);
    running.begin();

    let path = world.dir.path().join("log");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let to = format!("unix:{}", path.display());
    let _running = started(&control, ForwardSettings { syslog: Some(to), ..ForwardSettings::default() });
    let mut buffer = vec![0; 65_536];
    let n = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("in time").expect("a message");
    assert_eq!(numbers(&String::from_utf8_lossy(&buffer[..n])), [1], "a new receiver begins at the beginning");
}

#[test]
fn what_cannot_be_a_receiver_is_refused() {
    let problem = |syslog: Option<&str>, url: Option<&str>| {
        let settings = ForwardSettings {
            syslog: syslog.map(str::to_owned),
            http_url: url.map(str::to_owned),
            http_token_file: Some("token".into()),
            ..ForwardSettings::default()
        };
        settings.problems().into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(problem(Some("udp://h:514"), Some("https://siem.example/in")), ["audit.http_token_file"]);
    for bad in ["/dev/log", "udp:h:514", "udp://h", "tcp://:1", "tcp://h:0", "unix:dev/log"] {
        assert_eq!(problem(Some(bad), None)[0], "audit.syslog", "{bad}");
    }
    for bad in ["http://siem.example/", "ftp://h/", "https://u:p@h/", "x"] {
        assert_eq!(problem(None, Some(bad))[0], "audit.http_url", "{bad}");
    }
}

//! A server that gives prepared answers and remembers what it was asked, and a world for the command.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsString;
use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use drydock_api::rest::{ApiError, ErrorKind};
use drydock_cli::{Pace, World, run};
use drydock_domain::validate::FieldError;
use futures::StreamExt;
use jiff::Timestamp;
use serde::Serialize;
use tempfile::TempDir;

/// The access token the server knows.
pub const TOKEN: &str = "ddt_the-token-of-this-test";

/// Thursday night.
pub fn now() -> Timestamp {
    "2026-11-19T22:00:00Z".parse().expect("a time")
}

/// One prepared answer.
#[derive(Clone)]
pub enum Answer {
    /// A status and a body.
    Plain(u16, &'static str, String),
    /// Server-sent events; then the connection ends, or stays open without a word.
    Events { text: String, stays_open: bool },
    /// Nothing at all, for ever.
    Never,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `GET /api/v1/…?…`
    pub line: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

#[derive(Default)]
pub struct Shared {
    answers: Mutex<HashMap<String, VecDeque<Answer>>>,
    seen: Mutex<Vec<Seen>>,
}

impl Shared {
    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.seen.lock().expect("lock").len()
    }
}

/// The server.
pub struct Fake {
    /// Where it listens.
    pub url: String,
    /// What it knows.
    pub shared: Arc<Shared>,
}

impl Fake {
    /// Starts it without TLS.
    pub async fn start() -> Fake {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared::default());
        tokio::spawn(axum::serve(listener, router(shared.clone())).into_future());
        Fake { url, shared }
    }

    /// Prepares an answer; several for one request are given in turn, the last one again and again.
    pub fn on(&self, line: &str, answer: Answer) -> &Fake {
        let (method, path) = line.split_once(' ').expect("METHOD path");
        let key = format!("{method} /api/v1{path}");
        self.shared.answers.lock().expect("lock").entry(key).or_default().push_back(answer);
        self
    }

    /// Prepares a document.
    pub fn json(&self, line: &str, document: &impl Serialize) -> &Fake {
        self.on(line, Answer::Plain(200, "application/json", serde_json::to_string(document).expect("JSON")))
    }

    /// Prepares an error.
    pub fn error(&self, line: &str, status: u16, kind: ErrorKind, message: &str, fields: &[(&str, &str)]) -> &Fake {
        let fields = fields.iter().map(|(f, m)| FieldError { field: (*f).into(), message: (*m).into() }).collect();
        let error = ApiError { kind, message: message.into(), fields, code: None, request_id: "req-7".into() };
        self.on(line, Answer::Plain(status, "application/json", serde_json::to_string(&error).expect("JSON")))
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("lock").clone()
    }

    /// Runs a command against this server as somebody who is logged in by environment.
    pub async fn run(&self, line: &str) -> Ran {
        self.prepared().run(line).await
    }

    /// A command line to be changed before it runs.
    pub fn prepared(&self) -> Prepared {
        let mut prepared = Prepared::new();
        prepared.world.env.insert("DRYDOCK_SERVER".into(), self.url.clone());
        prepared.world.env.insert("DRYDOCK_TOKEN".into(), TOKEN.into());
        prepared.hide = vec![(self.url.clone(), "http://SERVER".into())];
        prepared
    }
}

/// The routes: one handler for all.
pub fn router(shared: Arc<Shared>) -> axum::Router {
    axum::Router::new().fallback(answer).with_state(shared)
}

async fn answer(State(shared): State<Arc<Shared>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let line = format!("{method} {}", uri.path_and_query().map_or("", |p| p.as_str()));
    let authorised = headers.get("authorization").is_some_and(|v| v.as_bytes() == format!("Bearer {TOKEN}").as_bytes());
    let body = String::from_utf8_lossy(&body).into_owned();
    shared.seen.lock().expect("lock").push(Seen { line: line.clone(), headers, body });
    if !authorised && !line.ends_with("tokens:sign-in") {
        return error(401, ErrorKind::Unauthenticated, "the access token is not known or has expired".into());
    }
    let next = {
        let mut answers = shared.answers.lock().expect("lock");
        match answers.get_mut(&line) {
            Some(queue) if queue.len() > 1 => queue.pop_front(),
            Some(queue) => queue.front().cloned(),
            None => None,
        }
    };
    match next {
        None => error(404, ErrorKind::NotFound, format!("nothing is prepared for {line}")),
        Some(Answer::Plain(status, kind, text)) => {
            Response::builder().status(status).header("content-type", kind).body(Body::from(text)).expect("a response")
        }
        Some(Answer::Never) => std::future::pending().await,
        Some(Answer::Events { text, stays_open }) => {
            let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(text))]);
            let stream = if stays_open { first.chain(futures::stream::pending()).boxed() } else { first.boxed() };
            let builder = Response::builder().header("content-type", "text/event-stream");
            builder.body(Body::from_stream(stream)).expect("a response")
        }
    }
}

fn error(status: u16, kind: ErrorKind, message: String) -> Response {
    let error = ApiError { kind, message, fields: Vec::new(), code: None, request_id: "req-1".into() };
    let text = serde_json::to_string(&error).expect("JSON");
    Response::builder().status(status).header("content-type", "application/json").body(Body::from(text)).expect("a response")
}

/// A buffer that two hold.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Vec<u8>>>);

impl Write for Shelf {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A command that is about to run.
pub struct Prepared {
    /// Its world.
    pub world: World,
    /// Its home folder.
    pub home: TempDir,
    /// What differs from run to run, and its name in the gold file.
    pub hide: Vec<(String, String)>,
    out: Shelf,
    err: Shelf,
}

impl Prepared {
    /// A world with an empty home and nobody logged in.
    pub fn new() -> Prepared {
        let home = tempfile::tempdir().expect("a folder");
        let (out, err) = (Shelf::default(), Shelf::default());
        let world = World {
            env: BTreeMap::from([("HOME".to_owned(), home.path().display().to_string())]),
            input: Box::new(Cursor::new("")),
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            out_is_terminal: false,
            screen: || None,
            hide: |_| false,
            now,
            interrupt: Box::new(|| Box::pin(std::future::pending())),
            pace: Pace { retry: Duration::from_millis(5), look: Duration::from_millis(50), give_up: Duration::from_secs(20) },
        };
        Prepared { world, home, hide: Vec::new(), out, err }
    }

    /// Gives it a standard input.
    pub fn input(mut self, text: &str) -> Prepared {
        self.world.input = Box::new(Cursor::new(text.to_owned()));
        self
    }

    /// Where its configuration lies.
    pub fn config(&self) -> PathBuf {
        self.home.path().join(".config/drydock/config.toml")
    }

    /// Runs it; words are split at spaces, `'…'` keeps them together.
    pub async fn run(&mut self, line: &str) -> Ran {
        let mut words = vec![OsString::from("drydock")];
        for (i, part) in line.split('\'').enumerate() {
            if i % 2 == 1 {
                words.push(part.into());
            } else {
                words.extend(part.split_whitespace().map(OsString::from));
            }
        }
        let code = run(words, &mut self.world).await;
        let hidden = |shelf: &Shelf| {
            let text = std::mem::take(&mut *shelf.0.lock().expect("lock"));
            let text = String::from_utf8(text).expect("UTF-8");
            self.hide.iter().fold(text, |text, (from, to)| text.replace(from, to))
        };
        Ran { code, out: hidden(&self.out), err: hidden(&self.err) }
    }
}

/// How a command ended.
pub struct Ran {
    /// Exit code.
    pub code: u8,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}\n--- out\n{}--- err\n{}", self.code, self.out, self.err)
    }
}

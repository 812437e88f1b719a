//! A static file server on the loopback address, for repositories. It can be told to fail.
//!
//! Runs on its own thread with its own runtime, so blocking and async tests use it alike.
//! Absent: TLS, ranges, directory listings, caching headers.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::oneshot;

/// A running server; stops when dropped.
pub struct LoopbackServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    dir: PathBuf,
    down: AtomicBool,
    requests: AtomicU64,
}

/// Serves the files under `dir` on a free port of 127.0.0.1.
///
/// # Errors
/// When no port can be bound or the thread cannot be started.
pub fn serve_dir(dir: &Path) -> Result<LoopbackServer> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on 127.0.0.1")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let shared = Arc::new(Shared { dir: dir.to_path_buf(), down: AtomicBool::new(false), requests: AtomicU64::new(0) });
    let router = Router::new().fallback(file).with_state(Arc::clone(&shared));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new().name("loopback-server".into()).spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            tokio::select! {
                // Not graceful: package managers keep idle connections open for minutes.
                _ = axum::serve(listener, router) => {}
                _ = stopped => {}
            }
        });
    })?;
    Ok(LoopbackServer { address, shared, stop: Some(stop), thread: Some(thread) })
}

impl LoopbackServer {
    /// `http://127.0.0.1:PORT`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// While down, every request is answered with 503, as a repository behind a dead backend does.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
    }

    /// Requests answered so far, failures included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Stops listening: later connections are refused.
    pub fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for LoopbackServer {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn file(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    if shared.down.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let Some(relative) = relative_path(uri.path()) else { return StatusCode::BAD_REQUEST.into_response() };
    match tokio::fs::read(shared.dir.join(relative)).await {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/octet-stream")], Body::from(bytes)).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The path below the served directory; `None` if it tries to leave it.
fn relative_path(path: &str) -> Option<PathBuf> {
    let decoded = percent_decode(path.trim_start_matches('/'))?;
    let path = PathBuf::from(decoded);
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)).then_some(path)
}

/// Package file names hold `:`, `+` and `~`, which some clients escape.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;

    fn get(server: &LoopbackServer, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(server.address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Files are served, escapes decoded, the directory never left, and it fails when told to.
    #[test]
    fn serves_and_fails_on_demand() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a+b"), "content").unwrap();
        let mut server = serve_dir(dir.path()).unwrap();
        assert!(get(&server, "/a%2Bb").unwrap().ends_with("content"));
        assert!(get(&server, "/missing").unwrap().starts_with("HTTP/1.1 404"));
        assert!(get(&server, "/%2e%2e/etc/passwd").unwrap().starts_with("HTTP/1.1 400"));
        server.set_down(true);
        assert!(get(&server, "/a+b").unwrap().starts_with("HTTP/1.1 503"));
        server.set_down(false);
        assert!(get(&server, "/a+b").unwrap().ends_with("content"));
        assert_eq!(server.requests(), 5);
        server.stop();
        assert!(get(&server, "/a+b").is_err());
    }
}

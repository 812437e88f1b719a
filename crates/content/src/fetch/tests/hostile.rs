//! A server that does what a test tells it, on a thread per connection, one request a connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Longest head of a request that is read, bytes.
const HEAD_MAX: usize = 16 * 1024;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub target: String,
    head: String,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<String> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    /// Where a `Range: bytes=N-` begins.
    pub fn range(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// Both sides of a connection, plain or TLS.
pub trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

type Handler = dyn Fn(usize, &Request, &mut dyn Wire) + Send + Sync;

pub struct Hostile {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    ended: Arc<AtomicBool>,
    scheme: &'static str,
}

impl Hostile {
    /// `handler` gets the number of the request (from 0), the request and the connection.
    pub fn start(handler: impl Fn(usize, &Request, &mut dyn Wire) + Send + Sync + 'static) -> Hostile {
        Hostile::run(None, Arc::new(handler))
    }

    pub fn start_tls(config: ServerConfig, handler: impl Fn(usize, &Request, &mut dyn Wire) + Send + Sync + 'static) -> Hostile {
        Hostile::run(Some(Arc::new(config)), Arc::new(handler))
    }

    fn run(tls: Option<Arc<ServerConfig>>, handler: Arc<Handler>) -> Hostile {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (seen, stop) = (Arc::clone(&requests), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let (handler, seen, tls) = (Arc::clone(&handler), Arc::clone(&seen), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &*handler, &seen),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        serve(StreamOwned::new(connection, stream), &*handler, &seen);
                    }
                });
            }
        });
        Hostile { address, requests, ended, scheme }
    }

    pub fn url(&self) -> String {
        format!("{}://localhost:{}/repo/", self.scheme, self.address.port())
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(self.address);
    }
}

fn serve(mut stream: impl Wire, handler: &Handler, seen: &Mutex<Vec<Request>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_MAX {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let request = Request { target, head };
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    handler(number, &request, &mut stream);
    let _ = stream.flush();
}

/// Sends an answer; failures are the client's doing.
pub fn answer(wire: &mut dyn Wire, status: &str, headers: &[(&str, &str)], body: &[u8]) {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let _ = wire.write_all(text.as_bytes());
    let _ = wire.write_all(body);
}

/// The file, whole or from where the request wants it.
pub fn file(wire: &mut dyn Wire, request: &Request, body: &[u8]) {
    match request.range() {
        Some(start) if start < body.len() => {
            let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
            answer(wire, "206 Partial Content", &[("Content-Range", &range), ("ETag", "\"v1\"")], &body[start..]);
        }
        Some(_) => answer(wire, "416 Range Not Satisfiable", &[], b""),
        None => answer(wire, "200 OK", &[("ETag", "\"v1\"")], body),
    }
}

/// Announces the whole file and stops after `sent` bytes.
pub fn cut(wire: &mut dyn Wire, body: &[u8], sent: usize) {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nETag: \"v1\"\r\n\r\n", body.len());
    let _ = wire.write_all(head.as_bytes());
    let _ = wire.write_all(&body[..sent]);
}

//! Package files that an undo brings back and repositories may no longer offer: fetched from the server's content over
//! HTTP/1.1 with the agent's own certificate, each bounded by the size and checked against the digest that the signed
//! order names, kept in the task's directory, where they end with the task.
//!
//! An interrupted file goes on where it was. Absent: anything but GET of one file, redirects, compression.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drydock_domain::patch::undo::{UndoFile, UndoOrder};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::config::Config;
use crate::identity::Identity;
use crate::link::address::{Proxy, ServerAddress};
use crate::link::channel::{USER_AGENT, chain};
use crate::link::tls;
use crate::paths::Paths;
use crate::platform;

/// To the end of the TCP handshake.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// Silence of a connection. The server may fetch a file from its upstream first.
const SILENCE_LIMIT: Duration = Duration::from_secs(120);
/// All tries of one file: the largest over a slow line.
const FILE_LIMIT: Duration = Duration::from_secs(2 * 3600);
/// Tries in a row that bring no byte, count.
const IDLE_TRIES_MAX: u32 = 5;
/// Pause between two tries.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// How often a wish to stop is looked at while pausing.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// An answer's status line and headers, bytes.
const HEAD_MAX_BYTES: usize = 16 * 1024;
/// Words of a refusal kept, bytes.
const REFUSAL_MAX_BYTES: u64 = 512;
/// Read at once, bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody to ask.
    #[error("the server cannot be asked for package files: {0}")]
    Setup(String),
    /// The disk said no.
    #[error("{name} cannot be kept in {path}: {source}; is the disk full?", path = .path.display())]
    Disk {
        /// Which file.
        name: String,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The server said no, or nothing came of it.
    #[error("{name} cannot be fetched from the server: {why}")]
    NotFetched {
        /// Which file.
        name: String,
        /// In the server's words, or the line's.
        why: String,
    },
    /// Its bytes are not the ordered ones.
    #[error("{name} as the server sends it is not the ordered file ({why}); nothing of it is used")]
    Wrong {
        /// Which file.
        name: String,
        /// How it differs.
        why: String,
    },
    /// Asked to stop.
    #[error("stopped on request while fetching {name}")]
    Stopped {
        /// Which file.
        name: String,
    },
}

/// How one try ended that did not bring the file.
enum Setback {
    /// Another try may bring it.
    Passing(String),
    /// None will.
    Final(FetchError),
}

/// Where files come from.
#[derive(Debug, Clone)]
pub struct Source {
    server: ServerAddress,
    proxy: Option<Proxy>,
    tls: Arc<ClientConfig>,
}

impl Source {
    /// The server this agent belongs to, with the certificate it has now.
    pub fn of(paths: &Paths) -> Result<Self, FetchError> {
        let setup = |why: String| FetchError::Setup(why);
        let config = Config::read(&paths.config).map_err(|e| setup(format!("{e:#}")))?;
        let server = ServerAddress::parse(&config.server).map_err(setup)?;
        let proxy = Proxy::choose(config.proxy.as_deref(), &server, |k| std::env::var(k).ok()).map_err(setup)?;
        let identity = Identity::load(paths).map_err(|e| setup(chain(&e)))?;
        let tls = tls::mutual(&identity).map_err(|e| setup(chain(&e)))?;
        Ok(Source { server, proxy, tls: http1(&tls) })
    }

    /// Brings every file of `order` into `dir`; the order says where they are then. `stop`: somebody asked to.
    pub fn fetch(&self, order: &UndoOrder, dir: &Path, stop: &dyn Fn() -> bool) -> Result<UndoOrder, FetchError> {
        order.validate().map_err(|bad| FetchError::Setup(bad.to_string()))?;
        let mut order = order.clone();
        for (i, file) in order.files.iter_mut().enumerate() {
            let wrong = |why: &str| FetchError::Wrong { name: file.file_name.clone(), why: why.to_owned() };
            // A directory for each: two architectures may have files of one name.
            let place = dir.join(i.to_string());
            let disk = |source| FetchError::Disk { name: file.file_name.clone(), path: place.clone(), source };
            platform::private_dir(dir).and_then(|()| platform::private_dir(&place)).map_err(disk)?;
            let path = place.join(&file.file_name);
            self.one(file, &path, stop)?;
            file.local = path.to_str().ok_or_else(|| wrong("the agent's directory is no text"))?.to_owned();
        }
        Ok(order)
    }

    fn one(&self, file: &UndoFile, path: &Path, stop: &dyn Fn() -> bool) -> Result<(), FetchError> {
        let began = Instant::now();
        let mut idle = 0;
        let name = || file.file_name.clone();
        let disk = |source| FetchError::Disk { name: name(), path: path.to_owned(), source };
        loop {
            let mut kept = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).map_err(disk)?;
            let have = kept.metadata().map_err(disk)?.len();
            if have == file.size {
                return checked(file, &mut kept, path);
            }
            if stop() {
                return Err(FetchError::Stopped { name: name() });
            }
            // What is too long was never part of the file.
            let have = if have > file.size { 0 } else { have };
            kept.set_len(have).and_then(|()| kept.seek(SeekFrom::Start(have))).map_err(disk)?;
            let why = match self.try_once(file, have, &mut kept, stop) {
                Ok(()) => continue,
                Err(Setback::Final(error)) => return Err(error),
                Err(Setback::Passing(why)) => why,
            };
            let more = kept.metadata().map_err(disk)?.len() > have;
            idle = if more { 0 } else { idle + 1 };
            if idle >= IDLE_TRIES_MAX || began.elapsed() >= FILE_LIMIT {
                return Err(FetchError::NotFetched { name: name(), why });
            }
            tracing::warn!("{}: {why}; it is tried again", file.file_name);
            if !more {
                pause(stop);
            }
        }
    }

    /// One request, for the bytes from `have` on.
    fn try_once(&self, file: &UndoFile, have: u64, kept: &mut File, stop: &dyn Fn() -> bool) -> Result<(), Setback> {
        let passing = |why: std::io::Error| Setback::Passing(why.to_string());
        let mut stream = self.connect().map_err(Setback::Passing)?;
        let range = if have > 0 { format!("Range: bytes={have}-\r\n") } else { String::new() };
        let ask = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {USER_AGENT}\r\nAccept-Encoding: identity\r\n{range}Connection: close\r\n\r\n",
            file.url_path,
            self.server.authority()
        );
        stream.write_all(ask.as_bytes()).map_err(passing)?;
        let head = Head::read(&mut stream).map_err(Setback::Passing)?;
        let refused = |why: String| Setback::Final(FetchError::NotFetched { name: file.file_name.clone(), why });
        let wrong = |why: String| Setback::Final(FetchError::Wrong { name: file.file_name.clone(), why });
        let from = match head.status {
            200 => 0,
            206 if have > 0 => have,
            // Another version of the file, or a server that forgot what it sent: from the beginning.
            416 => {
                kept.set_len(0).map_err(passing)?;
                return Err(Setback::Passing("the server has no such part of it".to_owned()));
            }
            status => {
                let mut words = String::new();
                // What cannot be read of a refusal is left out of it.
                let _ = stream.take(REFUSAL_MAX_BYTES).read_to_string(&mut words);
                let why = format!("HTTP {status} {}", words.trim());
                return Err(if status == 429 || status >= 500 { Setback::Passing(why) } else { refused(why) });
            }
        };
        let want = file.size - from;
        if head.length != Some(want) {
            let said = head.length.map_or_else(|| "an unknown number of".to_owned(), |n| n.to_string());
            return Err(wrong(format!("{said} bytes were to come, not {want}")));
        }
        kept.set_len(from).and_then(|()| kept.seek(SeekFrom::Start(from))).map_err(passing)?;
        self.body(file, &mut stream.take(want), kept, stop)
    }

    fn body(&self, file: &UndoFile, body: &mut dyn Read, kept: &mut File, stop: &dyn Fn() -> bool) -> Result<(), Setback> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            if stop() {
                return Err(Setback::Final(FetchError::Stopped { name: file.file_name.clone() }));
            }
            let n = body.read(&mut chunk).map_err(|e| Setback::Passing(e.to_string()))?;
            if n == 0 {
                break;
            }
            let disk = |source| FetchError::Disk { name: file.file_name.clone(), path: PathBuf::from(&file.file_name), source };
            kept.write_all(&chunk[..n]).map_err(|e| Setback::Final(disk(e)))?;
        }
        let there = kept.metadata().map_err(|e| Setback::Passing(e.to_string()))?.len();
        if there == file.size { Ok(()) } else { Err(Setback::Passing("the connection ended in the middle".to_owned())) }
    }

    fn connect(&self) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
        let first = self.proxy.as_ref().map_or(&self.server, |p| &p.address);
        let text = |e: std::io::Error| format!("{}: {e}", first.authority());
        let mut last = std::io::Error::other("the name has no address");
        for address in (first.host.as_str(), first.port).to_socket_addrs().map_err(text)? {
            match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
                Ok(stream) => return self.secured(stream),
                Err(e) => last = e,
            }
        }
        Err(text(last))
    }

    fn secured(&self, mut stream: TcpStream) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
        let text = |e: std::io::Error| e.to_string();
        stream.set_read_timeout(Some(SILENCE_LIMIT)).map_err(text)?;
        stream.set_write_timeout(Some(SILENCE_LIMIT)).map_err(text)?;
        if let Some(proxy) = &self.proxy {
            let to = self.server.authority();
            let authorization = proxy.authorization.as_ref().map(|a| format!("Proxy-Authorization: {a}\r\n")).unwrap_or_default();
            let ask = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: {USER_AGENT}\r\n{authorization}\r\n");
            stream.write_all(ask.as_bytes()).map_err(text)?;
            let answer = Head::read(&mut stream)?;
            if !(200..300).contains(&answer.status) {
                return Err(format!("the proxy {} refuses to connect: {}", proxy.address.authority(), answer.status));
            }
        }
        let name = ServerName::try_from(self.server.host.clone()).map_err(|e| e.to_string())?;
        let session = ClientConnection::new(Arc::clone(&self.tls), name).map_err(|e| e.to_string())?;
        Ok(StreamOwned::new(session, stream))
    }
}

/// The same TLS, speaking HTTP/1.1.
fn http1(tls: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = tls.clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn pause(stop: &dyn Fn() -> bool) {
    let until = Instant::now() + RETRY_INTERVAL;
    while Instant::now() < until && !stop() {
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// The digest of the whole file is the ordered one, or the file goes.
fn checked(file: &UndoFile, kept: &mut File, path: &Path) -> Result<(), FetchError> {
    let disk = |source| FetchError::Disk { name: file.file_name.clone(), path: path.to_owned(), source };
    kept.seek(SeekFrom::Start(0)).map_err(disk)?;
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let n = kept.read(&mut chunk).map_err(disk)?;
        if n == 0 {
            break;
        }
        digest.update(&chunk[..n]);
    }
    let found: String = digest.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect();
    if found == file.sha256 {
        return kept.sync_all().map_err(disk);
    }
    std::fs::remove_file(path).map_err(disk)?;
    Err(FetchError::Wrong { name: file.file_name.clone(), why: format!("its SHA-256 is {found}, ordered was {}", file.sha256) })
}

/// Status and length of an answer.
struct Head {
    status: u16,
    length: Option<u64>,
}

impl Head {
    /// Read byte by byte up to the empty line, so that nothing of what follows is eaten.
    fn read(stream: &mut impl Read) -> Result<Self, String> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            if bytes.len() >= HEAD_MAX_BYTES {
                return Err("the answer's headers are too long".to_owned());
            }
            stream.read_exact(&mut byte).map_err(|e| format!("no answer: {e}"))?;
            bytes.extend(byte);
        }
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines();
        let status = lines.next().and_then(|l| l.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok());
        let headers: Vec<(String, &str)> =
            lines.filter_map(|l| l.split_once(':')).map(|(k, v)| (k.to_ascii_lowercase(), v.trim())).collect();
        let field = |name: &str| headers.iter().find(|(k, _)| k == name).map(|(_, v)| *v);
        // A body in chunks, or a compressed one, has no length that could be held against the file's.
        let plain = field("transfer-encoding").is_none() && field("content-encoding").is_none();
        let length = field("content-length").filter(|_| plain).and_then(|v| v.parse().ok());
        Ok(Head { status: status.ok_or("the answer is no HTTP")?, length })
    }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;

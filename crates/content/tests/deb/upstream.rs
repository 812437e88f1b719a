//! An apt upstream in memory, on the loopback address: files can be swapped between requests, requests are counted, and
//! conditional requests are answered.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use drydock_content::digest::Sha256;
use drydock_content::openpgp::{self, RepositoryKey};
use jiff::Timestamp;

/// Called before a request for a path is answered; may change the files.
type Hook = Box<dyn FnMut(&str, &mut BTreeMap<String, Vec<u8>>) + Send>;

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    log: Vec<String>,
    hook: Option<Hook>,
}

/// A running upstream. Its threads end with the process.
#[derive(Clone)]
pub struct Upstream {
    state: Arc<Mutex<State>>,
    url: String,
}

impl Upstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let served = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&served);
                std::thread::spawn(move || stream.map(|stream| serve(&stream, &state)));
            }
        });
        Self { state, url }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.state().files.insert(path.to_owned(), bytes.into());
    }

    pub fn remove(&self, path: &str) -> Vec<u8> {
        self.state().files.remove(path).unwrap()
    }

    pub fn get(&self, path: &str) -> Vec<u8> {
        self.state().files[path].clone()
    }

    pub fn clear(&self) {
        self.state().files.clear();
    }

    pub fn hook(&self, hook: impl FnMut(&str, &mut BTreeMap<String, Vec<u8>>) + Send + 'static) {
        self.state().hook = Some(Box::new(hook));
    }

    /// Paths asked for since the last call, in order.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }
}

/// One connection; requests one after the other.
fn serve(stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut out = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        let mut wanted_etag = None;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if let Some(etag) = line.to_ascii_lowercase().strip_prefix("if-none-match:") {
                wanted_etag = Some(etag.trim().to_owned());
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let body = {
            let mut guard = state.lock().unwrap();
            let state = &mut *guard;
            if let Some(hook) = &mut state.hook {
                hook(&path, &mut state.files);
            }
            state.log.push(path.clone());
            state.files.get(&path).cloned()
        };
        match body {
            None => out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
            Some(body) => {
                let etag = format!("\"{}\"", &Sha256::of(&body).to_string()[..16]);
                if wanted_etag.as_deref() == Some(&etag) {
                    write!(out, "HTTP/1.1 304 Not Modified\r\nETag: {etag}\r\n\r\n")?;
                } else {
                    write!(out, "HTTP/1.1 200 OK\r\nETag: {etag}\r\nContent-Length: {}\r\n\r\n", body.len())?;
                    out.write_all(&body)?;
                }
            }
        }
    }
}

/// One suite of an upstream.
#[derive(Clone)]
pub struct Suite {
    /// `dists/stable/`, or empty for a flat one.
    pub base: String,
    /// Fields of its Release besides Date and the sums.
    pub fields: Vec<(String, String)>,
    pub date: Timestamp,
    pub valid_until: Option<Timestamp>,
    /// Text of each Packages file by its path below the suite, and the compressions it is offered in.
    pub indexes: BTreeMap<String, (String, Vec<&'static str>)>,
    pub by_hash: bool,
    pub sum: &'static str,
}

impl Suite {
    /// `stable` with the component `main` for amd64.
    pub fn stable(date: Timestamp, packages: &str) -> Self {
        let fields = [
            ("Origin", "Test"),
            ("Label", "Test"),
            ("Suite", "stable"),
            ("Codename", "stable"),
            ("Components", "main"),
            ("Architectures", "amd64"),
        ];
        Self {
            base: "dists/stable/".to_owned(),
            fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            date,
            valid_until: None,
            indexes: BTreeMap::from([("main/binary-amd64/Packages".to_owned(), (packages.to_owned(), vec!["xz", "gz"]))]),
            by_hash: false,
            sum: "SHA256",
        }
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.fields.retain(|(field, _)| field != name);
        self.fields.push((name.to_owned(), value.to_owned()));
    }

    pub fn index(&mut self, path: &str, packages: &str, compressions: &[&'static str]) {
        self.indexes.insert(path.to_owned(), (packages.to_owned(), compressions.to_vec()));
    }

    /// Every file but the signed ones, and the text of Release.
    pub fn files(&self) -> (BTreeMap<String, Vec<u8>>, String) {
        let mut files = BTreeMap::new();
        let mut release = String::new();
        for (name, value) in &self.fields {
            writeln!(release, "{name}: {value}").unwrap();
        }
        let date = |at: Timestamp| at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S UTC").to_string();
        writeln!(release, "Date: {}", date(self.date)).unwrap();
        if let Some(until) = self.valid_until {
            writeln!(release, "Valid-Until: {}", date(until)).unwrap();
        }
        if self.by_hash {
            release.push_str("Acquire-By-Hash: yes\n");
        }
        writeln!(release, "{}:", self.sum).unwrap();
        for (path, (text, compressions)) in &self.indexes {
            let raw = Sha256::of(text.as_bytes());
            writeln!(release, " {raw} {} {path}", text.len()).unwrap();
            for compression in compressions {
                let bytes = compress(compression, text.as_bytes());
                let sum = Sha256::of(&bytes);
                let name = if compression.is_empty() { path.clone() } else { format!("{path}.{compression}") };
                writeln!(release, " {sum} {} {name}", bytes.len()).unwrap();
                if self.by_hash {
                    let dir = name.rsplit_once('/').map(|(dir, _)| format!("{dir}/")).unwrap_or_default();
                    files.insert(format!("{}{dir}by-hash/SHA256/{sum}", self.base), bytes);
                } else {
                    files.insert(format!("{}{name}", self.base), bytes);
                }
            }
        }
        (files, release)
    }

    /// Serves it, signed in place.
    pub fn publish(&self, upstream: &Upstream, key: &RepositoryKey) {
        let (files, release) = self.files();
        for (path, bytes) in files {
            upstream.put(&path, bytes);
        }
        let signed = openpgp::clearsign(std::slice::from_ref(key), &release, self.date).unwrap();
        upstream.put(&format!("{}InRelease", self.base), signed);
    }

    /// Serves it, signed beside.
    pub fn publish_detached(&self, upstream: &Upstream, key: &RepositoryKey) {
        let (files, release) = self.files();
        for (path, bytes) in files {
            upstream.put(&path, bytes);
        }
        let signature = openpgp::sign_detached(std::slice::from_ref(key), release.as_bytes(), self.date).unwrap();
        upstream.put(&format!("{}Release.gpg", self.base), signature);
        upstream.put(&format!("{}Release", self.base), release);
    }
}

pub fn compress(how: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match how {
        "gz" => {
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            out = encoder.finish().unwrap();
        }
        "xz" => {
            liblzma::read::XzEncoder::new(bytes, 1).read_to_end(&mut out).unwrap();
        }
        "bz2" => {
            bzip2::read::BzEncoder::new(bytes, bzip2::Compression::fast()).read_to_end(&mut out).unwrap();
        }
        "zst" => out = zstd::encode_all(bytes, 1).unwrap(),
        _ => out = bytes.to_vec(),
    }
    out
}

/// A stanza; the file's checksum follows from its name and version.
pub fn stanza(name: &str, version: &str, arch: &str) -> String {
    let sum = Sha256::of(format!("{name} {version} {arch}").as_bytes());
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: Nobody <n@test.invalid>\n\
         Filename: pool/{name}_{version}_{arch}.deb\nSize: 12\nSHA256: {sum}\nDescription: {name}\n more of {name}\n\n"
    )
}

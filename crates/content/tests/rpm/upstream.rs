//! A yum repository made of text, and a server that may lie.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use drydock_content::digest::Sha256;
use flate2::Compression;
use flate2::write::GzEncoder;

type Files = BTreeMap<String, Vec<u8>>;
/// Sees a path before it is answered.
type Hook = Box<dyn FnMut(&str, &mut Files) + Send>;

/// What is served, by path, and what was asked for.
#[derive(Default)]
struct Shared {
    files: Mutex<Files>,
    log: Mutex<Vec<String>>,
    /// Runs at each request; may change the files.
    hook: Mutex<Option<Hook>>,
}

/// A server on the loopback address; its threads end with the process.
pub struct Server {
    pub url: String,
    shared: Arc<Shared>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/repo", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let server = Self { url, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream, &shared));
            }
        });
        server
    }

    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.shared.files.lock().unwrap().insert(path.to_owned(), bytes.into());
    }

    pub fn remove(&self, path: &str) {
        self.shared.files.lock().unwrap().remove(path);
    }

    pub fn hook(&self, hook: impl FnMut(&str, &mut Files) + Send + 'static) {
        *self.shared.hook.lock().unwrap() = Some(Box::new(hook));
    }

    /// Paths asked for since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.log.lock().unwrap())
    }

    pub fn serve(&self, repo: &Repo) {
        let mut files = self.shared.files.lock().unwrap();
        files.retain(|path, _| !path.starts_with("repodata/"));
        files.extend(repo.files());
    }
}

/// Connections are kept: clients reuse them.
fn answer(stream: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut request, mut tag) = (String::new(), String::new());
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("if-none-match")
            {
                value.trim().clone_into(&mut tag);
            }
        }
        let path = request.split(' ').nth(1).unwrap_or_default().strip_prefix("/repo/").unwrap_or_default().to_owned();
        shared.log.lock().unwrap().push(path.clone());
        let found = {
            let mut files = shared.files.lock().unwrap();
            if let Some(hook) = &mut *shared.hook.lock().unwrap() {
                hook(&path, &mut files);
            }
            files.get(&path).cloned()
        };
        let (status, bytes) = found.map_or(("404 Not Found", Vec::new()), |bytes| ("200 OK", bytes));
        let etag = format!("\"{}\"", Sha256::of(&bytes));
        let (status, bytes) = if etag == tag { ("304 Not Modified", Vec::new()) } else { (status, bytes) };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: {etag}\r\n\r\n", bytes.len());
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes)).is_err() {
            return;
        }
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

/// A package of a made-up repository.
#[derive(Clone)]
pub struct Pkg {
    pub name: String,
    pub version: String,
    pub arch: String,
    pub href: String,
    pub content: Vec<u8>,
}

impl Pkg {
    pub fn new(name: &str, version: &str) -> Self {
        let href = format!("Packages/{name}-{version}-1.x86_64.rpm");
        let content = format!("the file {name} {version}").into_bytes();
        Self { name: name.into(), version: version.into(), arch: "x86_64".into(), href, content }
    }

    pub fn pkgid(&self) -> String {
        Sha256::of(&self.content).to_string()
    }

    pub fn primary(&self) -> String {
        let Self { name, version, arch, href, content } = self;
        format!(
            "<package type=\"rpm\">\n  <name>{name}</name>\n  <arch>{arch}</arch>\n  <version epoch=\"0\" ver=\"{version}\" rel=\"1\"/>\n  \
             <checksum type=\"sha256\" pkgid=\"YES\">{}</checksum>\n  <summary>The &lt;{name}&gt; package</summary>\n  \
             <description>d</description>\n  <packager/>\n  <url/>\n  <time file=\"1\" build=\"1700000000\"/>\n  \
             <size package=\"{}\" installed=\"1\" archive=\"1\"/>\n  <location href=\"{href}\"/>\n  <format>\n    \
             <rpm:license>x</rpm:license>\n    <rpm:sourcerpm>{name}-{version}-1.src.rpm</rpm:sourcerpm>\n    \
             <rpm:header-range start=\"1\" end=\"2\"/>\n    <rpm:provides>\n      \
             <rpm:entry name=\"{name}\" flags=\"EQ\" epoch=\"0\" ver=\"{version}\" rel=\"1\"/>\n    </rpm:provides>\n    \
             <file>/usr/bin/{name}</file>\n  </format>\n</package>\n",
            self.pkgid(),
            content.len()
        )
    }

    pub fn list(&self, inner: &str) -> String {
        let Self { name, version, arch, .. } = self;
        let pkgid = self.pkgid();
        format!(
            "<package pkgid=\"{pkgid}\" name=\"{name}\" arch=\"{arch}\">\n  \
             <version epoch=\"0\" ver=\"{version}\" rel=\"1\"/>\n  {inner}\n</package>\n"
        )
    }
}

/// A repository's metadata, before compression.
#[derive(Clone, Default)]
pub struct Repo {
    /// Kind, file name, text.
    pub texts: Vec<(String, String, Vec<u8>)>,
    /// In place of the real checksum.
    pub checksums: BTreeMap<String, String>,
    /// In place of gzip.
    pub compressed: BTreeMap<String, Vec<u8>>,
}

impl Repo {
    pub fn of(packages: &[Pkg]) -> Self {
        let mut repo = Self::default();
        repo.set_primary(&packages.iter().map(Pkg::primary).collect::<String>(), packages.len());
        let files = |p: &Pkg| p.list(&format!("<file>/usr/bin/{}</file>", p.name));
        let other = |p: &Pkg| p.list("<changelog author=\"a\" date=\"1\">- c</changelog>");
        repo.set_filelists(&packages.iter().map(files).collect::<String>());
        repo.set_other(&packages.iter().map(other).collect::<String>());
        repo
    }

    pub fn set(&mut self, kind: &str, name: &str, text: impl Into<Vec<u8>>) {
        self.texts.retain(|(k, _, _)| k != kind);
        self.texts.push((kind.into(), name.into(), text.into()));
    }

    pub fn text(&self, kind: &str) -> String {
        let (_, _, text) = self.texts.iter().find(|(k, _, _)| k == kind).unwrap();
        String::from_utf8(text.clone()).unwrap()
    }

    pub fn set_primary(&mut self, packages: &str, count: usize) {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
             xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{count}\">\n{packages}</metadata>\n"
        );
        self.set("primary", "primary.xml.gz", text);
    }

    pub fn set_filelists(&mut self, packages: &str) {
        let text =
            format!("<filelists xmlns=\"http://linux.duke.edu/metadata/filelists\" packages=\"0\">\n{packages}</filelists>");
        self.set("filelists", "filelists.xml.gz", text);
    }

    pub fn set_other(&mut self, packages: &str) {
        let text = format!("<otherdata xmlns=\"http://linux.duke.edu/metadata/other\" packages=\"0\">\n{packages}</otherdata>");
        self.set("other", "other.xml.gz", text);
    }

    /// Everything to serve.
    pub fn files(&self) -> Files {
        let mut repomd = String::from("<?xml version=\"1.0\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\">\n");
        let mut files = Files::new();
        for (kind, name, text) in &self.texts {
            let bytes = match self.compressed.get(kind) {
                Some(bytes) => bytes.clone(),
                None if name.ends_with(".gz") => gzip(text),
                None => text.clone(),
            };
            let sum = Sha256::of(&bytes).to_string();
            let checksum = self.checksums.get(kind).unwrap_or(&sum);
            let path = format!("repodata/{}-{name}", &sum[..12]);
            repomd.push_str(&format!(
                "<data type=\"{kind}\"><checksum type=\"sha256\">{checksum}</checksum><location href=\"{path}\"/>\
                 <size>{}</size><open-size>{}</open-size></data>\n",
                bytes.len(),
                text.len()
            ));
            files.insert(path, bytes);
        }
        repomd.push_str("</repomd>\n");
        files.insert("repodata/repomd.xml".into(), repomd.into_bytes());
        files
    }
}

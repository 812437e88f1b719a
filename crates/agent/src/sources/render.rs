//! From a document to the files a host has because of it: pure. Where they lie, what is in them, who may read them.

use base64::Engine;
use drydock_domain::inventory::{Finding, ManagerKind, fingerprint};
use drydock_domain::source::host::{HostSource, HostSources, SourcesMode};
use drydock_domain::source::unit::Format;

use super::{apt, plugin, rpm, value};
use crate::link::address::{Proxy, ServerAddress};

/// Directory of what package managers need to speak to the server.
pub const CONTENT_DIR: &str = "/etc/drydock-agent/content";
/// The server's CA.
pub const CA_FILE: &str = "/etc/drydock-agent/content/ca.pem";
/// The content certificate and its key in one file: a pair that is replaced at once always fits.
pub const CLIENT_FILE: &str = "/etc/drydock-agent/content/client.pem";
/// OpenPGP keys, by the begin of their SHA-256.
pub const KEYS_DIR: &str = "/etc/drydock-agent/content/keys";
/// Hexadecimal digits of a key's file name.
const KEY_NAME_DIGITS: usize = 16;
/// Sources written for one host, count.
const SOURCES_MAX: usize = 1000;

/// A file of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFile {
    /// `/etc/…`.
    pub path: String,
    /// Content.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner; `None` = root.
    pub owner: Option<u32>,
}

impl HostFile {
    /// One that everybody may read.
    pub fn open(path: impl Into<String>, text: impl Into<Vec<u8>>) -> Self {
        HostFile { path: path.into(), bytes: text.into(), mode: 0o644, owner: None }
    }
}

/// What the host is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its package manager.
    pub manager: ManagerKind,
    /// Where its plugins lie, if it has any.
    pub plugin_dir: Option<String>,
    /// The user apt fetches as.
    pub apt_user: Option<u32>,
    /// dpkg's own and foreign architectures.
    pub architectures: Vec<String>,
}

/// What the files are made of.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// The document.
    pub document: &'a HostSources,
    /// The server.
    pub server: &'a ServerAddress,
    /// `Some(None)`: no proxy, whatever the package manager is set to.
    pub proxy: Option<Option<&'a Proxy>>,
    /// The server's CA, PEM.
    pub ca_pem: &'a str,
    /// Content certificate and key, PEM.
    pub client_pem: &'a str,
    /// The host.
    pub facts: &'a Facts,
}

/// What the host should have.
#[derive(Debug, Clone, Default)]
pub struct Rendered {
    /// Directories to be made, parents first, with the bits others need to pass.
    pub dirs: Vec<(String, u32)>,
    /// Files, in the order of writing: what a repository file names comes before it.
    pub files: Vec<HostFile>,
    /// Key files that the rpm database should know (zypper).
    pub rpm_keys: Vec<String>,
    /// What is wrong with the document on this host.
    pub findings: Vec<Finding>,
    /// Some of the document is not in `files`.
    pub incomplete: bool,
}

impl Rendered {
    /// Something of the document cannot be written.
    pub fn lacks(&mut self, subject: &str, why: &str) {
        self.findings.push(finding(subject, why));
        self.incomplete = true;
    }
}

/// One source with the files of its keys.
#[derive(Debug)]
pub struct Source<'a> {
    /// The document's.
    pub source: &'a HostSource,
    /// Name for people.
    pub display: String,
    /// `https://host:port/content/…/`.
    pub url: String,
    /// Files of the keys that sign its packages.
    pub keys: Vec<String>,
}

/// Makes the files; without sources there are none.
pub fn render(input: &Input<'_>) -> Rendered {
    let mut out = Rendered::default();
    let format = if input.facts.manager == ManagerKind::Apt { Format::Deb } else { Format::Rpm };
    if input.document.sources.is_empty() {
        return out;
    }
    for key in &input.document.repository_keys {
        if !value::is_key(key) {
            out.lacks("repository keys", "one of the server's is not an ASCII-armoured OpenPGP public key");
        }
    }
    let repository_keys: Vec<&str> =
        input.document.repository_keys.iter().map(String::as_str).filter(|k| value::is_key(k)).take(value::KEYS_MAX).collect();
    let mut keys = Vec::new();
    let mut key_files = |texts: &mut dyn Iterator<Item = &str>| -> Vec<String> {
        let file = |text: &str| {
            let file = key_file(text);
            let path = file.path.clone();
            if !keys.contains(&file) {
                keys.push(file);
            }
            path
        };
        texts.map(file).collect()
    };
    let repository_files = if format == Format::Rpm { key_files(&mut repository_keys.iter().copied()) } else { Vec::new() };
    let mut sources = Vec::new();
    for source in input.document.sources.iter().take(SOURCES_MAX) {
        if let Some(problem) = value::problem(source) {
            out.lacks(&source.name, &format!("it is not written to this host: {problem}"));
        } else if source.format != format {
            let why = format!("it is not written to this host: {} cannot read it", input.facts.manager.as_str());
            out.lacks(&source.name, &why);
        } else {
            let wanted = format == Format::Rpm && source.gpgcheck;
            let keys = if wanted { key_files(&mut source.keys.iter().map(String::as_str)) } else { Vec::new() };
            let url = format!("https://{}{}", input.server.authority(), source.path);
            sources.push(Source { source, display: value::display(source), url, keys });
        }
    }
    if sources.is_empty() {
        return out;
    }
    out.dirs.push(("/etc/drydock-agent".to_owned(), 0o711));
    out.dirs.push((CONTENT_DIR.to_owned(), 0o711));
    out.dirs.push((KEYS_DIR.to_owned(), 0o755));
    out.files.push(HostFile::open(CA_FILE, input.ca_pem));
    let (mode, owner) = match (input.facts.manager, input.facts.apt_user) {
        (ManagerKind::Apt, Some(user)) => (0o400, Some(user)),
        _ => (0o600, None),
    };
    out.files.push(HostFile { path: CLIENT_FILE.to_owned(), bytes: input.client_pem.into(), mode, owner });
    out.files.append(&mut keys);
    match input.facts.manager {
        ManagerKind::Apt => apt::render(input, &sources, &repository_keys, &mut out),
        ManagerKind::Zypper => rpm::render_zypper(input, &sources, &repository_files, &mut out),
        ManagerKind::Dnf | ManagerKind::Dnf5 | ManagerKind::Yum => rpm::render_yum(input, &sources, &mut out),
    }
    plugin::render(input.facts, input.document.mode == SourcesMode::Exclusive, &mut out);
    out
}

/// A finding of ours.
pub fn finding(subject: &str, message: &str) -> Finding {
    Finding { subject: subject.chars().take(200).collect(), message: message.chars().take(1000).collect() }
}

fn key_file(text: &str) -> HostFile {
    let bytes = format!("{}\n", text.trim());
    let name: String = fingerprint(bytes.as_bytes()).chars().take(KEY_NAME_DIGITS).collect();
    HostFile::open(format!("{KEYS_DIR}/{name}.asc"), bytes)
}

/// The bytes of an armoured key: the lines between the empty one and the checksum, as base64.
pub fn dearmoured(armoured: &str) -> Option<Vec<u8>> {
    let mut lines = armoured.trim().lines().map(str::trim).skip(1);
    lines.by_ref().find(|l| l.is_empty())?;
    let body: String = lines.take_while(|l| !l.starts_with("-----") && !l.starts_with('=')).collect();
    base64::engine::general_purpose::STANDARD.decode(body).ok().filter(|bytes| !bytes.is_empty())
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;

//! Files that a resource names: at an address, in a bucket, on the host. What has a digest is downloaded once and kept with the
//! resource, so that a repair does not need the network.
//!
//! Absent: signing in to buckets (the configured address gives objects as they are).

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use drydock_domain::policy::FileSource;
use drydock_domain::policy::spec::Generation;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::evidence::sha256;
use super::file::sha256_of;
use crate::link::channel::USER_AGENT;
use crate::policy::kind::{Cx, Failure};

/// A downloaded file, bytes: an image of a whole system is larger than anything a policy should carry.
const FILE_MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// To the end of the TLS handshake.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// Redirects of one file, count.
const REDIRECTS_MAX: u32 = 10;
/// Tries of one file, count: a passing failure of the line or the server.
const TRIES_MAX: u32 = 3;
/// Between two tries.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// A file without digest is not asked for again within this: one event may be many.
const FRESH: Duration = Duration::from_secs(60);
/// Copied at once, bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// Where a file comes from.
#[derive(Debug, Clone)]
pub struct Source {
    spec: FileSource,
    gcs_base_url: String,
}

/// How one try ended that did not bring the file.
enum Setback {
    /// Another try may bring it.
    Passing(String),
    /// None will.
    Final(String),
}

impl Source {
    /// From the document.
    pub fn new(spec: &FileSource, gcs_base_url: &str) -> Self {
        Source { spec: spec.clone(), gcs_base_url: gcs_base_url.trim_end_matches('/').to_owned() }
    }

    /// Its SHA-256 in lower case, where the document says it.
    pub fn digest(&self) -> Option<String> {
        let remote = self.spec.remote.as_ref()?;
        (!remote.sha256_checksum.is_empty()).then(|| remote.sha256_checksum.to_ascii_lowercase())
    }

    /// Can it be had at all? Asks nobody.
    pub fn validate(&self, cx: &Cx<'_>) -> Result<(), Failure> {
        match &self.spec.local_path {
            None => self.address().map(drop),
            Some(path) => {
                let place = cx.root.join(path.trim_start_matches('/'));
                match fs::metadata(&place) {
                    Ok(m) if m.is_file() => Ok(()),
                    Ok(_) => Err(Failure::of(format!("localPath {path} is no file"))),
                    Err(e) => Err(Failure::of(format!("localPath {path} cannot be read: {e}"))),
                }
            }
        }
    }

    fn address(&self) -> Result<String, Failure> {
        if let Some(remote) = &self.spec.remote {
            return Ok(remote.uri.clone());
        }
        let Some(gcs) = &self.spec.gcs else { return Err(Failure::of("its source names no place")) };
        if self.gcs_base_url.is_empty() {
            return Err(Failure::of(format!(
                "bucket {} cannot be read: set gcs_base_url in agent.toml to an address that serves BUCKET/OBJECT",
                gcs.bucket
            )));
        }
        let generation = match &gcs.generation {
            None => String::new(),
            Some(Generation::Number(n)) => format!("?generation={n}"),
            Some(Generation::Text(n)) => format!("?generation={n}"),
        };
        Ok(format!("{}/{}/{}{generation}", self.gcs_base_url, escaped(&gcs.bucket), escaped(&gcs.object)))
    }

    /// Was it brought before, and is it still what is meant?
    fn is_kept(&self, path: &Path, digest: Option<&str>) -> bool {
        let Ok(file) = File::open(path) else { return false };
        if let Some(want) = digest {
            return sha256_of(file).is_ok_and(|(_, found)| found == want);
        }
        // An object's generation never changes; anything else is asked for again, but not with every event.
        let fixed = self.spec.gcs.as_ref().is_some_and(|g| g.generation.is_some());
        let age = file.metadata().and_then(|m| m.modified()).ok().and_then(|at| at.elapsed().ok());
        fixed || age.is_some_and(|age| age < FRESH)
    }

    /// Brings it; where it is then. With a digest it is what the document means, or an error.
    pub fn fetch(&self, cx: &Cx<'_>) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.spec.local_path {
            self.validate(cx)?;
            return Ok(cx.root.join(path.trim_start_matches('/')));
        }
        let address = self.address()?;
        let digest = self.digest();
        let name = digest.clone().unwrap_or_else(|| sha256(address.as_bytes()));
        let path = cx.scratch.join(format!("download-{name}"));
        if self.is_kept(&path, digest.as_deref()) {
            return Ok(path);
        }
        let part = path.with_extension("part");
        let failed = |why: String| Failure::of(format!("{} cannot be fetched: {why}", shown(&address)));
        let began = Instant::now();
        for n in 1.. {
            match download(&address, &part, cx.limit.saturating_sub(began.elapsed())) {
                Ok(()) => break,
                Err(Setback::Passing(_)) if n < TRIES_MAX && began.elapsed() < cx.limit => cx.runner.pause(RETRY_INTERVAL),
                Err(Setback::Passing(why)) if path.exists() => {
                    // A repair must not need a network that is away: the last one that came will do.
                    tracing::warn!("{}", failed(format!("{why}; the one fetched before is used")).message);
                    return Ok(path);
                }
                Err(Setback::Passing(why) | Setback::Final(why)) => {
                    let _ = fs::remove_file(&part);
                    return Err(Failure { timed_out: began.elapsed() >= cx.limit, ..failed(why) });
                }
            }
        }
        if let Some(want) = &digest {
            let (_, found) = File::open(&part).and_then(sha256_of).map_err(|e| failed(e.to_string()))?;
            if found != *want {
                let _ = fs::remove_file(&part);
                return Err(failed(format!("its SHA-256 is {found}, the policy says {want}; nothing of it is used")));
            }
        }
        fs::rename(&part, &path).map_err(|e| failed(e.to_string()))?;
        Ok(path)
    }
}

/// Short content at an address: a repository's key.
pub fn fetch_small(cx: &Cx<'_>, address: &str, max: u64) -> Result<Vec<u8>, Failure> {
    let part = cx.scratch.join("download-small");
    match download(address, &part, cx.limit) {
        Ok(()) => {}
        Err(Setback::Passing(why) | Setback::Final(why)) => {
            return Err(Failure::of(format!("{} cannot be fetched: {why}", shown(address))));
        }
    }
    let mut bytes = Vec::new();
    let read = File::open(&part).and_then(|f| f.take(max + 1).read_to_end(&mut bytes));
    let _ = fs::remove_file(&part);
    read.map_err(|e| Failure::of(format!("{} cannot be kept: {e}", shown(address))))?;
    if bytes.len() as u64 > max {
        return Err(Failure::of(format!("{} is larger than {max} bytes", shown(address))));
    }
    Ok(bytes)
}

fn download(address: &str, to: &PathBuf, limit: Duration) -> Result<(), Setback> {
    let agent = agent().map_err(Setback::Final)?;
    let asked = agent.get(address).config().timeout_global(Some(limit.max(Duration::from_secs(1)))).build().call();
    let answer = asked.map_err(|e| match e {
        ureq::Error::StatusCode(status) if status == 429 || status >= 500 => Setback::Passing(format!("HTTP {status}")),
        ureq::Error::StatusCode(status) => Setback::Final(format!("HTTP {status}")),
        ureq::Error::BadUri(why) => Setback::Final(why),
        other => Setback::Passing(other.to_string()),
    })?;
    let disk = |e: io::Error| Setback::Final(format!("{}: {e}; is the disk full?", to.display()));
    let mut file = File::create(to).map_err(disk)?;
    let mut body = answer.into_body().into_with_config().limit(FILE_MAX_BYTES).reader();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let n = body.read(&mut chunk).map_err(|e| Setback::Passing(e.to_string()))?;
        if n == 0 {
            return file.sync_all().map_err(disk);
        }
        file.write_all(&chunk[..n]).map_err(disk)?;
    }
}

/// One client for the process: reading the system's certificates takes some milliseconds.
fn agent() -> Result<Agent, String> {
    static AGENT: OnceLock<Agent> = OnceLock::new();
    if let Some(agent) = AGENT.get() {
        return Ok(agent.clone());
    }
    let found = rustls_native_certs::load_native_certs();
    let roots: Vec<Certificate<'static>> = found.certs.iter().map(|c| Certificate::from_der(c).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .user_agent(USER_AGENT)
        .max_redirects(REDIRECTS_MAX)
        .timeout_connect(Some(CONNECT_LIMIT))
        .accept_encoding("identity")
        .build();
    Ok(AGENT.get_or_init(|| config.new_agent()).clone())
}

/// Without user and password.
fn shown(address: &str) -> String {
    match address.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?))) {
        Some((scheme, (user, rest))) if !user.contains('/') => format!("{scheme}://{rest}"),
        _ => address.to_owned(),
    }
}

/// Everything but letters, digits and `-._~/` as `%XX`.
fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;

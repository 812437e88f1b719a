//! `[audit]` of the configuration: where to forward to.

use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::Url;
use serde::{Deserialize, Serialize};

/// Where the audit is forwarded to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardSettings {
    /// `unix:/dev/log`, `udp://host:514` or `tcp://host:601`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog: Option<String>,
    /// Address that takes JSON lines with POST.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_url: Option<String>,
    /// File with a token, sent as `Authorization: Bearer …`; read anew for each batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_token_file: Option<PathBuf>,
    /// File with certificate authorities (PEM) for the receiver, besides the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_ca_file: Option<PathBuf>,
}

/// Where syslog listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A datagram socket of this machine.
    Unix(PathBuf),
    /// Datagrams to host and port.
    Udp(String),
    /// A stream to host and port.
    Tcp(String),
}

/// One receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receiver {
    /// Syslog (RFC 5424).
    Syslog(Place),
    /// An HTTP server.
    Http {
        /// Where.
        url: Url,
        /// See [`ForwardSettings::http_token_file`].
        token_file: Option<PathBuf>,
        /// See [`ForwardSettings::http_ca_file`].
        ca_file: Option<PathBuf>,
    },
}

impl Receiver {
    /// What its position is stored under, and what people see.
    pub fn name(&self) -> String {
        match self {
            Receiver::Syslog(Place::Unix(path)) => format!("syslog unix:{}", path.display()),
            Receiver::Syslog(Place::Udp(host)) => format!("syslog udp://{host}"),
            Receiver::Syslog(Place::Tcp(host)) => format!("syslog tcp://{host}"),
            Receiver::Http { url, .. } => format!("http {url}"),
        }
    }
}

impl ForwardSettings {
    /// What is wrong, by key.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        if let Some(Err(problem)) = self.syslog.as_deref().map(place) {
            wrong.push(("audit.syslog", problem));
        }
        if let Some(Err(problem)) = self.http_url.as_deref().map(usable) {
            wrong.push(("audit.http_url", problem));
        }
        for (key, path) in [("audit.http_token_file", &self.http_token_file), ("audit.http_ca_file", &self.http_ca_file)] {
            if let Some(path) = path.as_ref().filter(|path| !path.is_absolute()) {
                wrong.push((key, format!("{} is not an absolute path", path.display())));
            }
        }
        wrong
    }

    /// The receivers; what is wrong was refused before.
    pub fn receivers(&self) -> Vec<Receiver> {
        let syslog = self.syslog.as_deref().and_then(|text| place(text).ok()).map(Receiver::Syslog);
        let http = self.http_url.as_deref().and_then(|text| usable(text).ok()).map(|url| Receiver::Http {
            url,
            token_file: self.http_token_file.clone(),
            ca_file: self.http_ca_file.clone(),
        });
        syslog.into_iter().chain(http).collect()
    }
}

fn place(text: &str) -> Result<Place, String> {
    let host = |rest: &str| {
        let (name, port) = rest.rsplit_once(':')?;
        (!name.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0)).then(|| rest.to_owned())
    };
    let found = match text.split_once(':') {
        Some(("unix", path)) if path.starts_with('/') => Some(Place::Unix(path.into())),
        Some(("udp", rest)) => rest.strip_prefix("//").and_then(host).map(Place::Udp),
        Some(("tcp", rest)) => rest.strip_prefix("//").and_then(host).map(Place::Tcp),
        _ => None,
    };
    found.ok_or_else(|| format!("{text:?} is none of unix:/dev/log, udp://host:514, tcp://host:601"))
}

/// An address that may be used: TLS, unless it is this machine.
fn usable(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("{text:?} is no address: {e}"))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a name or password; put a token into http_token_file".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_local => Ok(url),
        _ => Err(format!("{text:?} is not https:// (http:// is for this machine only): records tell who may do what")),
    }
}

//! The complete, checked configuration.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Inputs;
use crate::audit_forward::ForwardSettings;
use crate::identity::oidc::OidcSettings;

/// Shortest and longest life of an agent's certificate, hours (1 hour to 90 days).
const CERTIFICATE_HOURS_RANGE: std::ops::RangeInclusive<u32> = 1..=24 * 90;
/// Shortest and longest patience with a silent host, seconds (the first is the reachability limit).
const NO_AGENT_AFTER_RANGE: std::ops::RangeInclusive<u32> = 90..=24 * 3600;
/// Shortest and longest time between heartbeats, seconds: three missed ones of 30 s mean unreachable.
const HEARTBEAT_SECS_RANGE: std::ops::RangeInclusive<u32> = 1..=30;
/// Fewest and most files sent at once.
const CONTENT_STREAMS_RANGE: std::ops::RangeInclusive<u32> = 1..=10_000;
/// Smallest and largest limit of an upload, MiB (64 GiB).
const UPLOAD_MIB_RANGE: std::ops::RangeInclusive<u32> = 1..=65_536;
/// Fewest and most connections.
const CONNECTIONS_RANGE: std::ops::RangeInclusive<u32> = 16..=1_000_000;
/// Longest drain, seconds.
const DRAIN_SECS_RANGE: std::ops::RangeInclusive<u32> = 1..=600;
/// Fewest and most requests a second of one address or principal.
const RATE_RANGE: std::ops::RangeInclusive<u32> = 1..=1_000_000;
/// Names in the server's certificate, count.
const NAMES_MAX: usize = 64;

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people and the journal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The daemon's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where keys, certificates and the database are.
    pub data_dir: PathBuf,
    /// Address and port of the one TLS port.
    pub listen: SocketAddr,
    /// Names and addresses by which agents and people reach this server, besides the host name and localhost; the first
    /// one is what commands for hosts are shown with.
    pub names: Vec<String>,
    /// Life of an agent's certificate, hours; it renews at two thirds.
    pub certificate_hours: u32,
    /// A patch job gives up on a host that is silent for this long, seconds.
    pub no_agent_after_secs: u32,
    /// Time between two signs of life on an agent's open stream, seconds.
    pub heartbeat_secs: u32,
    /// Where package files, snapshots and published metadata are; may be on another disk than the data directory.
    pub content_dir: PathBuf,
    /// Package and metadata files sent at once, count.
    pub content_streams_max: u32,
    /// Largest uploaded package file, MiB.
    pub upload_max_mib: u32,
    /// Connections at once, count.
    pub connections_max: u32,
    /// Time for running requests to end at SIGTERM, seconds.
    pub drain_secs: u32,
    /// Requests of one address a second, in the long run.
    pub address_requests_per_s: u32,
    /// Requests of one principal a second, in the long run.
    pub principal_requests_per_s: u32,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines, in the words of `tracing` filters (`info`, `info,drydock_control=debug`).
    pub log_level: String,
    /// The OpenID Connect provider that people may sign in with.
    pub oidc: Option<OidcSettings>,
    /// Where the audit is forwarded to.
    pub audit: ForwardSettings,
}

/// A setting with a value that cannot be right.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(|(key, message)| format!("{key}: {message}")).collect::<Vec<_>>().join("\n"))]
pub struct SettingsError(pub Vec<(&'static str, String)>);

impl Settings {
    /// The defaults, on a free port of the loopback: for servers inside another process.
    pub fn on_loopback(data_dir: PathBuf) -> Result<Self, SettingsError> {
        let inputs = Inputs::from_fragment(super::fragment::Fragment::default());
        Self::from_inputs(inputs.override_with(Some(data_dir), Some("127.0.0.1:0".to_owned())))
    }

    /// Checks everything at once, so that an operator mends everything at once.
    pub fn from_inputs(i: Inputs) -> Result<Self, SettingsError> {
        let mut wrong: Vec<(&'static str, String)> = Vec::new();
        let listen = i.listen.parse::<SocketAddr>().map_err(|_| {
            wrong.push(("listen", format!("{:?} is not an address with a port, for example \"0.0.0.0:8443\"", i.listen)));
        });
        if !i.data_dir.is_absolute() {
            wrong.push(("data_dir", format!("{} is not an absolute path", i.data_dir.display())));
        }
        let content_dir = i.content_dir.unwrap_or_else(|| i.data_dir.join("content"));
        if !content_dir.is_absolute() {
            wrong.push(("content.dir", format!("{} is not an absolute path", content_dir.display())));
        }
        if content_dir == i.data_dir {
            wrong.push(("content.dir", "is the data directory itself; name a directory of its own".to_owned()));
        }
        if i.names.len() > NAMES_MAX {
            wrong.push(("names", format!("has {} entries; at most {NAMES_MAX} are allowed", i.names.len())));
        }
        for name in i.names.iter().filter(|n| !is_name(n)) {
            wrong.push(("names", format!("{name:?} is neither a DNS name nor an IP address")));
        }
        let mut range = |key, value: u32, allowed: &std::ops::RangeInclusive<u32>| {
            if !allowed.contains(&value) {
                wrong.push((key, format!("{value} is not between {} and {}", allowed.start(), allowed.end())));
            }
        };
        range("agents.certificate_hours", i.certificate_hours, &CERTIFICATE_HOURS_RANGE);
        range("agents.no_agent_after_secs", i.no_agent_after_secs, &NO_AGENT_AFTER_RANGE);
        range("agents.heartbeat_secs", i.heartbeat_secs, &HEARTBEAT_SECS_RANGE);
        range("content.streams", i.content_streams_max, &CONTENT_STREAMS_RANGE);
        range("content.upload_mib", i.upload_max_mib, &UPLOAD_MIB_RANGE);
        range("limits.connections", i.connections_max, &CONNECTIONS_RANGE);
        range("limits.drain_secs", i.drain_secs, &DRAIN_SECS_RANGE);
        range("limits.address_requests_per_s", i.address_requests_per_s, &RATE_RANGE);
        range("limits.principal_requests_per_s", i.principal_requests_per_s, &RATE_RANGE);
        if !is_log_filter(&i.log_level) {
            let text =
                format!("{:?} is not a level (error … trace) or a list such as \"info,drydock_control=debug\"", i.log_level);
            wrong.push(("log.level", text));
        }
        wrong.extend(i.oidc.iter().flat_map(OidcSettings::problems));
        wrong.extend(i.audit.problems());
        match listen {
            Ok(listen) if wrong.is_empty() => Ok(Settings {
                data_dir: i.data_dir,
                listen,
                names: i.names,
                certificate_hours: i.certificate_hours,
                no_agent_after_secs: i.no_agent_after_secs,
                heartbeat_secs: i.heartbeat_secs,
                content_dir,
                content_streams_max: i.content_streams_max,
                upload_max_mib: i.upload_max_mib,
                connections_max: i.connections_max,
                drain_secs: i.drain_secs,
                address_requests_per_s: i.address_requests_per_s,
                principal_requests_per_s: i.principal_requests_per_s,
                log_format: i.log_format,
                log_level: i.log_level,
                oidc: i.oidc,
                audit: i.audit,
            }),
            _ => Err(SettingsError(wrong)),
        }
    }

    /// The settings as a complete configuration file.
    pub fn to_toml(&self) -> String {
        let mut agents = toml::Table::new();
        agents.insert("certificate_hours".into(), i64::from(self.certificate_hours).into());
        agents.insert("no_agent_after_secs".into(), i64::from(self.no_agent_after_secs).into());
        agents.insert("heartbeat_secs".into(), i64::from(self.heartbeat_secs).into());
        let mut content = toml::Table::new();
        content.insert("dir".into(), self.content_dir.to_string_lossy().into_owned().into());
        content.insert("streams".into(), i64::from(self.content_streams_max).into());
        content.insert("upload_mib".into(), i64::from(self.upload_max_mib).into());
        let mut limits = toml::Table::new();
        limits.insert("connections".into(), i64::from(self.connections_max).into());
        limits.insert("drain_secs".into(), i64::from(self.drain_secs).into());
        limits.insert("address_requests_per_s".into(), i64::from(self.address_requests_per_s).into());
        limits.insert("principal_requests_per_s".into(), i64::from(self.principal_requests_per_s).into());
        let mut log = toml::Table::new();
        let format = match self.log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        log.insert("format".into(), format.into());
        log.insert("level".into(), self.log_level.clone().into());
        let mut all = toml::Table::new();
        all.insert("data_dir".into(), self.data_dir.to_string_lossy().into_owned().into());
        all.insert("listen".into(), self.listen.to_string().into());
        all.insert("names".into(), self.names.clone().into());
        all.insert("agents".into(), agents.into());
        all.insert("content".into(), content.into());
        all.insert("limits".into(), limits.into());
        all.insert("log".into(), log.into());
        // Texts, switches and lists: there is nothing in it that TOML has no form for.
        if let Some(oidc) = self.oidc.as_ref().and_then(|oidc| toml::Value::try_from(oidc).ok()) {
            all.insert("oidc".into(), oidc);
        }
        if let Some(audit) = toml::Value::try_from(&self.audit).ok().filter(|_| self.audit != ForwardSettings::default()) {
            all.insert("audit".into(), audit);
        }
        all.to_string()
    }
}

/// The filter library takes any word for the name of a crate: a misspelt level would silence the log.
fn is_log_filter(text: &str) -> bool {
    let is_level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let part_is_good = |part: &str| is_level(part.rsplit('=').next().unwrap_or_default().trim());
    !text.is_empty() && text.split(',').all(part_is_good) && tracing_subscriber::EnvFilter::try_new(text).is_ok()
}

/// A DNS name (letters, digits, `-`, `.`, a leading `*.`) or an IP address.
pub(crate) fn is_name(name: &str) -> bool {
    if name.parse::<IpAddr>().is_ok() {
        return true;
    }
    let rest = name.strip_prefix("*.").unwrap_or(name);
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    rest.len() <= 253 && rest.split('.').all(label)
}

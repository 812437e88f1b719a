//! What the file and the command line say together; nothing is checked yet.

use std::path::PathBuf;

use super::LogFormat;
use super::fragment::Fragment;
use crate::audit_forward::ForwardSettings;
use crate::identity::oidc::OidcSettings;
use crate::limits::{RATE_ADDRESS_PER_S, RATE_PRINCIPAL_PER_S};

/// Life of an agent's certificate when nobody says otherwise, hours (7 days).
const CERTIFICATE_HOURS: u32 = 168;
/// Silence after which a job gives up on a host when nobody says otherwise, seconds.
const NO_AGENT_AFTER_SECS: u32 = 300;
/// Time between heartbeats when nobody says otherwise, seconds.
const HEARTBEAT_SECS: u32 = 30;
/// Files sent at once when nobody says otherwise: 256 × 256 KiB of file and as much in flight = 128 MiB.
const CONTENT_STREAMS: u32 = 256;
/// Largest upload when nobody says otherwise, MiB.
const UPLOAD_MIB: u32 = 4096;
/// Connections at once when nobody says otherwise: 50,000 agents and people, at ~41 kB each = 2 GB.
const CONNECTIONS: u32 = 52_000;
/// Time to finish requests at the end when nobody says otherwise, seconds (systemd kills after 90).
const DRAIN_SECS: u32 = 20;

/// Merged settings, not yet checked.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// See `Settings::data_dir`.
    pub data_dir: PathBuf,
    /// See `Settings::listen`.
    pub listen: String,
    /// See `Settings::names`.
    pub names: Vec<String>,
    /// See `Settings::certificate_hours`.
    pub certificate_hours: u32,
    /// See `Settings::no_agent_after_secs`.
    pub no_agent_after_secs: u32,
    /// See `Settings::heartbeat_secs`.
    pub heartbeat_secs: u32,
    /// See `Settings::content_dir`; absent = `content` in the data directory.
    pub content_dir: Option<PathBuf>,
    /// See `Settings::content_streams_max`.
    pub content_streams_max: u32,
    /// See `Settings::upload_max_mib`.
    pub upload_max_mib: u32,
    /// See `Settings::connections_max`.
    pub connections_max: u32,
    /// See `Settings::drain_secs`.
    pub drain_secs: u32,
    /// See `Settings::address_requests_per_s`.
    pub address_requests_per_s: u32,
    /// See `Settings::principal_requests_per_s`.
    pub principal_requests_per_s: u32,
    /// See `Settings::log_format`.
    pub log_format: LogFormat,
    /// See `Settings::log_level`.
    pub log_level: String,
    /// See `Settings::oidc`.
    pub oidc: Option<OidcSettings>,
    /// See `Settings::audit`.
    pub audit: ForwardSettings,
}

impl Inputs {
    /// A file's keys over the defaults.
    pub fn from_fragment(f: Fragment) -> Self {
        Inputs {
            data_dir: f.data_dir.unwrap_or_else(|| "/var/lib/drydock".into()),
            listen: f.listen.unwrap_or_else(|| "0.0.0.0:8443".to_owned()),
            names: f.names.unwrap_or_default(),
            certificate_hours: f.agents.certificate_hours.unwrap_or(CERTIFICATE_HOURS),
            no_agent_after_secs: f.agents.no_agent_after_secs.unwrap_or(NO_AGENT_AFTER_SECS),
            heartbeat_secs: f.agents.heartbeat_secs.unwrap_or(HEARTBEAT_SECS),
            content_dir: f.content.dir,
            content_streams_max: f.content.streams.unwrap_or(CONTENT_STREAMS),
            upload_max_mib: f.content.upload_mib.unwrap_or(UPLOAD_MIB),
            connections_max: f.limits.connections.unwrap_or(CONNECTIONS),
            drain_secs: f.limits.drain_secs.unwrap_or(DRAIN_SECS),
            address_requests_per_s: f.limits.address_requests_per_s.unwrap_or(RATE_ADDRESS_PER_S),
            principal_requests_per_s: f.limits.principal_requests_per_s.unwrap_or(RATE_PRINCIPAL_PER_S),
            log_format: f.log.format.unwrap_or_default(),
            log_level: f.log.level.unwrap_or_else(|| "info".to_owned()),
            oidc: f.oidc,
            audit: f.audit,
        }
    }

    /// What the command line says goes over the file.
    pub fn override_with(mut self, data_dir: Option<PathBuf>, listen: Option<String>) -> Self {
        self.data_dir = data_dir.unwrap_or(self.data_dir);
        self.listen = listen.unwrap_or(self.listen);
        self
    }
}

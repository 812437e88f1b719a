//! The shape of the configuration file. Every key is optional; a key that is not here is refused, because a
//! misspelt key that is silently ignored is a setting somebody believes in.

use std::path::PathBuf;

use serde::Deserialize;

use crate::audit_forward::ForwardSettings;
use crate::identity::oidc::OidcSettings;

/// A configuration file as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fragment {
    /// See `Settings::data_dir`.
    pub data_dir: Option<PathBuf>,
    /// See `Settings::listen`.
    pub listen: Option<String>,
    /// See `Settings::names`.
    pub names: Option<Vec<String>>,
    /// `[agents]`.
    #[serde(default)]
    pub agents: Agents,
    /// `[content]`.
    #[serde(default)]
    pub content: Content,
    /// `[limits]`.
    #[serde(default)]
    pub limits: Limits,
    /// `[log]`.
    #[serde(default)]
    pub log: Log,
    /// `[oidc]`.
    pub oidc: Option<OidcSettings>,
    /// `[audit]`.
    #[serde(default)]
    pub audit: ForwardSettings,
}

/// `[agents]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agents {
    /// See `Settings::certificate_hours`.
    pub certificate_hours: Option<u32>,
    /// See `Settings::no_agent_after_secs`.
    pub no_agent_after_secs: Option<u32>,
    /// See `Settings::heartbeat_secs`.
    pub heartbeat_secs: Option<u32>,
}

/// `[content]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// See `Settings::content_dir`.
    pub dir: Option<PathBuf>,
    /// See `Settings::content_streams_max`.
    pub streams: Option<u32>,
    /// See `Settings::upload_max_mib`.
    pub upload_mib: Option<u32>,
}

/// `[limits]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// See `Settings::connections_max`.
    pub connections: Option<u32>,
    /// See `Settings::drain_secs`.
    pub drain_secs: Option<u32>,
    /// See `Settings::address_requests_per_s`.
    pub address_requests_per_s: Option<u32>,
    /// See `Settings::principal_requests_per_s`.
    pub principal_requests_per_s: Option<u32>,
}

/// `[log]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// See `Settings::log_format`.
    pub format: Option<super::LogFormat>,
    /// See `Settings::log_level`.
    pub level: Option<String>,
}

impl Fragment {
    /// Reads TOML; the error has line, column and the keys that would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }
}

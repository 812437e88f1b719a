//! agent.toml: written by `enrol`, read by `run`. An unknown key is refused by name; every value has a default.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::platform;

/// Shortest allowed time between two full inventories, seconds.
const INVENTORY_MIN_SECS: u64 = 30;
/// Shortest allowed time between two metadata refreshes, seconds.
const REFRESH_MIN_SECS: u64 = 300;

/// The agent's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `https://drydock.example:8443`.
    pub server: String,
    /// `http://[user:password@]host:port`; absent = `https_proxy` of the environment; empty = none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Nothing on this host may be changed: only dry runs are taken, and metadata is never refreshed.
    pub read_only: bool,
    /// Seconds between two full inventories, whatever happened.
    pub inventory_interval_secs: u64,
    /// Seconds between two refreshes of the repositories' metadata; 0 = never by itself.
    pub refresh_interval_secs: u64,
    /// Policies' files in buckets are read from here, as `<this>/BUCKET/OBJECT`: any S3- or GCS-compatible address that gives
    /// them without signing in. Empty = none is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gcs_base_url: String,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            server: String::new(),
            proxy: None,
            read_only: false,
            inventory_interval_secs: 600,
            refresh_interval_secs: 6 * 3600,
            gcs_base_url: String::new(),
            log_level: "info".to_owned(),
        }
    }
}

impl Config {
    /// Reads and checks the file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}; run `drydock-agent enrol` first", path.display()))?;
        let config: Config = toml::from_str(&text).with_context(|| format!("{} is not valid", path.display()))?;
        anyhow::ensure!(
            config.inventory_interval_secs >= INVENTORY_MIN_SECS,
            "{}: inventory_interval_secs must be at least {INVENTORY_MIN_SECS}",
            path.display()
        );
        anyhow::ensure!(
            config.refresh_interval_secs == 0 || config.refresh_interval_secs >= REFRESH_MIN_SECS,
            "{}: refresh_interval_secs must be 0 or at least {REFRESH_MIN_SECS}",
            path.display()
        );
        Ok(config)
    }

    /// Writes the file; only root may read it (the proxy's password may be in it).
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = format!("# Settings of drydock-agent; restart it after a change.\n{}", toml::to_string(self)?);
        if let Some(dir) = path.parent() {
            platform::private_dir(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        platform::write_durably(path, text.as_bytes(), 0o600).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Between two full inventories.
    pub fn inventory_interval(&self) -> Duration {
        Duration::from_secs(self.inventory_interval_secs)
    }

    /// Between two metadata refreshes.
    pub fn refresh_interval(&self) -> Option<Duration> {
        (self.refresh_interval_secs > 0 && !self.read_only).then(|| Duration::from_secs(self.refresh_interval_secs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_typo_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("etc/agent.toml");
        let config = Config { server: "https://h:1".into(), proxy: Some("http://p:3128".into()), ..Default::default() };
        config.write(&path).expect("written");
        assert_eq!(Config::read(&path).expect("read"), config);
        std::fs::write(&path, "servr = \"x\"").expect("written");
        assert!(format!("{:#}", Config::read(&path).expect_err("refused")).contains("servr"));
        std::fs::write(&path, "inventory_interval_secs = 1").expect("written");
        assert!(Config::read(&path).is_err());
    }
}

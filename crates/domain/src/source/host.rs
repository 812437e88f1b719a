//! What one host is to see: a signed, numbered document that the agent turns into repository files, and what the agent
//! answers. DESIGN decision 17.

use serde::{Deserialize, Serialize};

use super::unit::Format;
use crate::ids::InstanceId;
use crate::inventory::Finding;

/// What becomes of repository definitions that were on the host before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum SourcesMode {
    /// They stay; ours are added.
    #[default]
    Additive,
    /// They are renamed to `*.drydock-backup` and come back, byte for byte, at `drydock-agent unregister` or when the
    /// mode changes back.
    Exclusive,
}

impl SourcesMode {
    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            SourcesMode::Additive => "additive",
            SourcesMode::Exclusive => "exclusive",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [SourcesMode::Additive, SourcesMode::Exclusive].into_iter().find(|m| m.as_str() == text)
    }
}

/// Version of [`HostSources`]' form.
pub const HOST_SOURCES_VERSION: u32 = 1;

/// What the signature of a [`HostSources`] document covers in front of its bytes.
pub const HOST_SOURCES_SIGNATURE_CONTEXT: &[u8] = b"drydock-host-sources-v1\n";

/// The bytes the signature of a sources document covers.
pub fn signed_bytes(document: &[u8]) -> Vec<u8> {
    [HOST_SOURCES_SIGNATURE_CONTEXT, document].concat()
}

/// The sources of one host. An agent that never had one (or has one with neither sources nor exclusive mode) leaves the
/// host's repository files alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostSources {
    /// [`HOST_SOURCES_VERSION`] of the sender.
    pub version: u32,
    /// The only instance that may act on it.
    pub instance: InstanceId,
    /// Grows with every change for this instance; the agent refuses a lower one than it has applied.
    pub generation: u64,
    /// See [`SourcesMode`].
    pub mode: SourcesMode,
    /// OpenPGP public keys of this server's repositories, ASCII-armoured: all that may sign metadata now.
    pub repository_keys: Vec<String>,
    /// Sorted by name.
    pub sources: Vec<HostSource>,
}

/// One source of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HostSource {
    /// Source name; the repository id on the host is `drydock-<name>`.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// rpm or deb.
    pub format: Format,
    /// Path below the server's URL, with slashes at both ends: `/content/prod/ol9-base/`.
    pub path: String,
    /// deb: suite below `dists/`.
    #[serde(default)]
    pub suite: String,
    /// deb: components.
    #[serde(default)]
    pub components: Vec<String>,
    /// deb: architectures (without `all`).
    #[serde(default)]
    pub architectures: Vec<String>,
    /// OpenPGP public keys that sign packages.
    #[serde(default)]
    pub keys: Vec<String>,
    /// rpm: check package signatures.
    pub gpgcheck: bool,
    /// See `SourceSpec::priority`.
    #[serde(default)]
    pub priority: Option<u32>,
    /// rpm.
    #[serde(default)]
    pub module_hotfixes: bool,
}

/// How far a host is with its sources document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HostSourcesState {
    /// The host's files say what the document says.
    Applied,
    /// Something could not be written, renamed or restored; the findings say what.
    Failed,
}

/// What the agent tells after applying (or failing to).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HostSourcesReport {
    /// Generation of the document; 0 = none was ever received.
    pub generation: u64,
    /// Applied or failed.
    pub state: HostSourcesState,
    /// Which repository definitions were set aside, by their path before.
    #[serde(default)]
    pub taken_over: Vec<String>,
    /// Files that could not be written, sources that fail on the host.
    #[serde(default)]
    pub findings: Vec<Finding>,
}

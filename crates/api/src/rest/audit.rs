//! The audit: records, settings, seals.

use drydock_domain::audit::family::AuditSettings;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One audit record with its place in the chain of hashes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// Its number, from 1.
    pub seq: u64,
    /// When the call came in.
    pub at: Timestamp,
    /// What the caller is: `user`, `service-account`, `token`, `instance`, `server`, `unknown`.
    pub who_kind: String,
    /// Its id; empty when it has none.
    pub who_id: String,
    /// Its name.
    pub who: String,
    /// The address it came from; empty when there was none.
    pub address: String,
    /// The request it came with.
    pub request_id: String,
    /// Operation, for example `patch-job.create`.
    pub operation: String,
    /// Path of the compartment it was decided for.
    pub compartment: String,
    /// Object, for example `patch-job 0198…`.
    pub resource: String,
    /// `allow` or `deny`.
    pub decision: String,
    /// The statement that decided, or why there was none.
    pub reason: String,
    /// What was asked for, without secrets.
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub parameters: Value,
    /// `allowed`, `denied` or `failed`.
    pub outcome: String,
    /// Why it failed.
    pub error: String,
    /// How long it took, milliseconds; absent where nobody waited for the end.
    pub duration_ms: Option<u64>,
    /// SHA-256 over it and the hash of the record before, hex.
    pub hash: String,
}

/// A signed end of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditSeal {
    /// The last record it covers.
    pub seq: u64,
    /// That record's hash, hex.
    pub hash: String,
    /// When it was signed.
    pub at: Timestamp,
    /// The seal as a line of an export; kept elsewhere, `drydock audit verify --seal` holds an export against it.
    pub line: String,
}

/// How far a receiver outside has got all records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditForward {
    /// The receiver.
    pub target: String,
    /// Number of the last record it has got.
    pub seq: u64,
}

/// How the audit stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditStatus {
    /// What is recorded, and for how long it is kept.
    pub settings: AuditSettings,
    /// Number of the oldest record that is kept; 0: there is none.
    pub first: u64,
    /// Number of the newest record.
    pub last: u64,
    /// The newest seal.
    pub seal: Option<AuditSeal>,
    /// Ed25519 public key that seals are signed with, hex.
    pub key: String,
    /// SHA-256 of the key, hex.
    pub key_fingerprint: String,
    /// Receivers outside.
    pub forwards: Vec<AuditForward>,
}

/// Which records to drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DropAudit {
    /// Whole sealed segments recorded before this moment go.
    pub before: Timestamp,
}

/// What was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DroppedAudit {
    /// Records.
    pub records: u64,
}

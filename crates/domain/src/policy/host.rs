//! What one host is to be like: a signed, numbered document that the agent keeps and brings about, also while the server
//! is away. Templates are filled in; what an operator may not see (secrets) is named, not held.
//!
//! Absent: who gets which revision (the rollout decides), what the host answers ([`super::report`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check::RESOURCES_MAX;
use super::spec::{Mode, OsPolicy, Resource};
use crate::ids::InstanceId;
use crate::inventory::fingerprint;
use crate::rollout::health::HealthChecks;
use crate::validate::{Invalid, Problems};

/// Newest version of [`HostPolicies`]' form.
pub const HOST_POLICIES_VERSION: u32 = 2;
/// The form of documents without health checks; agents of before read no other.
const PLAIN_VERSION: u32 = 1;
/// A document, bytes: 500 resources with 32 KiB each.
pub const HOST_POLICIES_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Policies of one host, count.
pub const HOST_POLICIES_MAX: usize = 256;
/// Seconds between two checks of a policy that does not say.
pub const CHECK_INTERVAL_DEFAULT_SECS: u64 = 3600;
/// Seconds one step of a resource may take that does not say.
pub const STEP_TIMEOUT_DEFAULT_SECS: u64 = 600;
/// What the signature covers in front of the document's bytes.
pub const HOST_POLICIES_SIGNATURE_CONTEXT: &[u8] = b"drydock-host-policies-v1\n";
/// Around the name of a secret in a text of the document: private-use characters, which no text people write or reports hold may
/// contain. Only the agent puts the value there.
pub const SECRET_MARKS: (char, char) = ('\u{F5EC}', '\u{F5ED}');

/// The bytes the signature of a policies document covers.
pub fn signed_bytes(document: &[u8]) -> Vec<u8> {
    [HOST_POLICIES_SIGNATURE_CONTEXT, document].concat()
}

/// The policies of one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPolicies {
    /// See [`form`].
    pub version: u32,
    /// The only instance that may act on it.
    pub instance: InstanceId,
    /// Grows with every change for this instance. Of a preview: 0.
    pub generation: u64,
    /// A preview: nothing is enforced or kept, every policy is only checked; the report names this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
    /// In the order in which they run.
    pub policies: Vec<HostPolicy>,
    /// Names of secrets that the texts refer to, each with the version of its value: a new value is a new document.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, u64>,
    /// What the host checks once it has a revision, at most once for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<AssignmentChecks>,
}

/// What a host checks once every policy of an assignment's revision was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentChecks {
    /// Id of the assignment.
    pub assignment: String,
    /// Revision of the assignment.
    pub revision: u64,
    /// The checks.
    pub checks: HealthChecks,
}

/// The form of a document with these checks: what an agent must know to act on it.
pub fn form(health: &[AssignmentChecks]) -> u32 {
    if health.is_empty() { PLAIN_VERSION } else { HOST_POLICIES_VERSION }
}

/// One policy of a host: the resources of the group that matched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPolicy {
    /// Id of its assignment.
    pub assignment: String,
    /// Revision of the assignment, from 1.
    pub revision: u64,
    /// Id of the policy, unique in its assignment.
    pub policy: String,
    /// Repair, or report only.
    pub mode: Mode,
    /// Seconds between two checks without an event.
    pub check_interval_secs: u64,
    /// No resource group is for this host and the policy does not allow that: it is not compliant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unmatched: bool,
    /// In the order in which they are brought about.
    pub resources: Vec<Resource>,
}

/// Why an agent refuses a policies document. It is reported, never ignored in silence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoliciesRefused {
    /// The form is newer than this agent.
    #[error("the policies document has form version {given}, this agent reads up to {HOST_POLICIES_VERSION}; upgrade the agent")]
    Version {
        /// Version in the document.
        given: u32,
    },
    /// Addressed to another instance.
    #[error("the policies document is addressed to instance {to}, this is {own}")]
    Address {
        /// Addressee.
        to: InstanceId,
        /// This agent.
        own: InstanceId,
    },
    /// Older than what was applied.
    #[error("the policies document has generation {given}, but {applied} was applied before; it is old or replayed")]
    Generation {
        /// Generation in the document.
        given: u64,
        /// Highest generation applied.
        applied: u64,
    },
    /// Two documents of one number.
    #[error(
        "the policies document has generation {given} like the one applied before, but other content; the server made a mistake"
    )]
    Content {
        /// The generation.
        given: u64,
    },
    /// Something in it can never be right.
    #[error("the policies document cannot be used: {0}")]
    Malformed(#[from] Invalid),
}

impl HostPolicies {
    /// SHA-256, lower-case hex, of everything but the generation.
    pub fn fingerprint(&self) -> String {
        let content = HostPolicies { generation: 0, ..self.clone() };
        // Plain structs of text and numbers always have a JSON form.
        fingerprint(&serde_json::to_vec(&content).unwrap_or_default())
    }

    /// May this agent act on the document? `applied`: generation and fingerprint of the newest one it ever applied; a preview
    /// has none.
    pub fn accept(&self, own: InstanceId, applied: Option<(u64, &str)>) -> Result<(), PoliciesRefused> {
        if self.version > HOST_POLICIES_VERSION {
            return Err(PoliciesRefused::Version { given: self.version });
        }
        if self.instance != own {
            return Err(PoliciesRefused::Address { to: self.instance, own });
        }
        if let (None, Some((applied, content))) = (&self.preview, applied) {
            if self.generation < applied {
                return Err(PoliciesRefused::Generation { given: self.generation, applied });
            }
            if self.generation == applied && self.fingerprint() != content {
                return Err(PoliciesRefused::Content { given: self.generation });
            }
        }
        Ok(self.check()?)
    }

    /// Every resource is one that an operator could have written, also when the server is wrong.
    fn check(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        problems.count("policies", self.policies.len(), HOST_POLICIES_MAX);
        for (i, own) in self.policies.iter().enumerate().take(HOST_POLICIES_MAX) {
            let at = format!("policies[{i}]");
            problems.count(&format!("{at}.resources"), own.resources.len(), RESOURCES_MAX);
            if own.check_interval_secs == 0 {
                problems.add(format!("{at}.checkIntervalSecs"), "must be at least 1");
            }
            let as_written = OsPolicy {
                id: own.policy.clone(),
                mode: own.mode,
                resource_groups: vec![super::spec::ResourceGroup {
                    inventory_filters: Vec::new(),
                    resources: own.resources.clone(),
                }],
                ..OsPolicy::default()
            };
            // Unmatched policies have no resources, which is nothing an operator would write.
            if !own.resources.is_empty()
                && let Err(Invalid { errors }) = as_written.validate_filled()
            {
                for error in errors {
                    problems.add(format!("{at}: {}", error.field), error.message);
                }
            }
        }
        problems.count("health", self.health.len(), HOST_POLICIES_MAX);
        for (i, own) in self.health.iter().enumerate().take(HOST_POLICIES_MAX) {
            own.checks.check(&format!("health[{i}].checks"), &mut problems);
        }
        problems.finish()
    }
}

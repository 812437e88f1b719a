//! Typed identifiers. Every one is a UUID (version 7 where we mint it, so lists sort by creation), and none can be
//! passed where another is meant. Minting is elsewhere: this room has no randomness.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An identifier that could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{kind} id {given:?} is not a UUID; copy it from a list, for example 0198c0de-0000-7000-8000-000000000000")]
pub struct BadId {
    /// What the identifier should have named, for example `instance`.
    pub kind: &'static str,
    /// What was given, cut to 64 characters.
    pub given: String,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                Uuid::try_parse(text)
                    .map($name)
                    .map_err(|_| BadId { kind: $kind, given: text.chars().take(64).collect() })
            }
        }

        impl From<Uuid> for $name {
            fn from(value: Uuid) -> Self {
                $name(value)
            }
        }
    )+};
}

ids! {
    /// A managed instance: a host with an enrolled agent.
    InstanceId = "instance";
    /// An enrolment profile.
    ProfileId = "enrolment profile";
    /// A patch job: one run over hosts.
    JobId = "patch job";
    /// A patch task: one host's part of a patch job.
    TaskId = "patch task";
    /// A patch deployment: patch jobs on a schedule.
    DeploymentId = "patch deployment";
    /// An execution of a patch deployment: a run that was due or asked for.
    ExecutionId = "execution";
    /// An access token of a person or a program.
    AccessTokenId = "access token";
    /// A software source.
    SourceId = "software source";
    /// A snapshot of a software source.
    SnapshotId = "snapshot";
    /// A lifecycle environment.
    EnvironmentId = "lifecycle environment";
    /// A managed instance group.
    GroupId = "group";
    /// Background work: a sync, a publication, a collection.
    ContentJobId = "content job";
    /// A feed of advisories or vulnerabilities.
    FeedId = "advisory feed";
    /// An exception: a vulnerability that is accepted for a while.
    ExceptionId = "exception";
    /// An assignment of OS policies.
    AssignmentId = "policy assignment";
    /// A preview of OS policies.
    PreviewId = "policy preview";
    /// A compartment.
    CompartmentId = "compartment";
    /// A policy of access statements.
    AccessPolicyId = "access policy";
    /// A dynamic group.
    DynamicGroupId = "dynamic group";
    /// A user or a service account.
    UserId = "user";
    /// A group of users.
    UserGroupId = "user group";
    /// A public key that requests are signed with.
    ApiKeyId = "API key";
    /// A session of the console.
    SessionId = "session";
    /// A rule that operations need approval by.
    ApprovalRuleId = "approval rule";
    /// A request for approval.
    ApprovalId = "approval request";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_round_trips_and_a_bad_one_names_its_kind() {
        let id: JobId = "0198c0de-0000-7000-8000-000000000001".parse().expect("valid");
        assert_eq!(id.to_string(), "0198c0de-0000-7000-8000-000000000001");
        let err = "job-1".parse::<JobId>().expect_err("refused");
        assert!(err.to_string().starts_with("patch job id \"job-1\""), "{err}");
    }
}

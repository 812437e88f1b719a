//! Enrolment: when a profile's token lets a host in, and whether it enters at once or waits for a person.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::instance::{InstanceState, Labels, PendingReason, check_labels};
use crate::limits::{DESCRIPTION_MAX_BYTES, DISPLAY_NAME_MAX_BYTES};
use crate::source::host::SourcesMode;
use crate::source::name::check_name;
use crate::validate::{Invalid, Problems};

/// Most hosts one profile may let in, count.
pub const MAX_USES_MAX: u32 = 100_000;

/// What an operator says when making a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileSpec {
    /// A name for people, for example `web servers`.
    pub display_name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// The token stops working at this moment; absent = never.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// How many hosts may enrol with it; absent = no bound below 100,000.
    #[serde(default)]
    pub max_uses: Option<u32>,
    /// Labels every host gets at enrolment.
    #[serde(default)]
    pub labels: Labels,
    /// Compartment every host lands in, a path such as `/` or `/prod/web`.
    #[serde(default = "root_compartment")]
    pub compartment: String,
    /// Zone every host lands in (what Google calls a zone; any word), used by filters and rollouts.
    #[serde(default)]
    pub zone: String,
    /// `true`: hosts are active at once. `false`: they wait for a person.
    #[serde(default)]
    pub auto_accept: bool,
    /// What becomes of the repository definitions that hosts bring along.
    #[serde(default)]
    pub sources_mode: SourcesMode,
    /// Lifecycle environment every host lands in, by name; absent = none, hosts see the newest snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}

fn root_compartment() -> String {
    "/".to_owned()
}

impl ProfileSpec {
    /// Checks the spec; `now` refuses an expiry in the past.
    pub fn validate(&self, now: Timestamp) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        if self.display_name.trim().is_empty() {
            problems.add("displayName", "is empty; give the profile a name");
        }
        problems.text("displayName", &self.display_name, DISPLAY_NAME_MAX_BYTES);
        problems.text("description", &self.description, DESCRIPTION_MAX_BYTES);
        problems.text("zone", &self.zone, 63);
        if self.expires_at.is_some_and(|at| at <= now) {
            problems.add("expiresAt", "lies in the past");
        }
        if self.max_uses.is_some_and(|n| n == 0 || n > MAX_USES_MAX) {
            problems.add("maxUses", format!("must be between 1 and {MAX_USES_MAX}"));
        }
        if !self.compartment.starts_with('/') || self.compartment.len() > 255 {
            problems.add("compartment", "is a path that starts with / and has at most 255 bytes");
        }
        check_labels("labels", &self.labels, &mut problems);
        if let Some(environment) = &self.environment {
            check_name("environment", environment, &mut problems);
        }
        problems.finish()
    }
}

/// What the store knows of a profile when a host shows its token.
#[derive(Debug, Clone)]
pub struct ProfileFacts {
    /// See [`ProfileSpec::expires_at`].
    pub expires_at: Option<Timestamp>,
    /// See [`ProfileSpec::max_uses`].
    pub max_uses: Option<u32>,
    /// Hosts let in so far.
    pub uses: u32,
    /// Revoked by a person.
    pub revoked: bool,
    /// See [`ProfileSpec::auto_accept`].
    pub auto_accept: bool,
}

/// Why a token does not let a host in. The host's operator reads this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Revoked by a person.
    #[error("the enrolment profile was revoked; ask for a new token (drydock enrolment create)")]
    Revoked,
    /// Past its time.
    #[error("the enrolment token has expired; ask for a new one (drydock enrolment create)")]
    Expired,
    /// Every use is taken.
    #[error("the enrolment token has no uses left; ask for a new one (drydock enrolment create)")]
    UsedUp,
}

/// How a host that shows a good token enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Active at once.
    Active,
    /// Waits for a person, and why.
    Pending(PendingReason),
}

impl Entry {
    /// The instance state this entry leads to.
    pub fn state(self) -> InstanceState {
        match self {
            Entry::Active => InstanceState::Active,
            Entry::Pending(_) => InstanceState::Pending,
        }
    }
}

/// Decides an enrolment. A clone always waits, whatever the profile says: two hosts are never merged in silence.
///
/// `machine_id_taken`: an instance that is not revoked or rejected has the same machine-id with another key.
pub fn decide(profile: &ProfileFacts, machine_id_taken: bool, now: Timestamp) -> Result<Entry, TokenRefused> {
    if profile.revoked {
        return Err(TokenRefused::Revoked);
    }
    if profile.expires_at.is_some_and(|at| at <= now) {
        return Err(TokenRefused::Expired);
    }
    if profile.uses >= profile.max_uses.unwrap_or(MAX_USES_MAX) {
        return Err(TokenRefused::UsedUp);
    }
    Ok(if machine_id_taken {
        Entry::Pending(PendingReason::DuplicateMachineId)
    } else if profile.auto_accept {
        Entry::Active
    } else {
        Entry::Pending(PendingReason::ProfileAsks)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> ProfileFacts {
        ProfileFacts { expires_at: None, max_uses: Some(2), uses: 0, revoked: false, auto_accept: true }
    }

    #[test]
    fn a_token_lets_in_until_revoked_expired_or_used_up() {
        let now = Timestamp::from_second(1000).expect("in range");
        assert_eq!(decide(&profile(), false, now), Ok(Entry::Active));
        assert_eq!(decide(&ProfileFacts { uses: 2, ..profile() }, false, now), Err(TokenRefused::UsedUp));
        assert_eq!(decide(&ProfileFacts { revoked: true, ..profile() }, false, now), Err(TokenRefused::Revoked));
        let expired = ProfileFacts { expires_at: Some(now), ..profile() };
        assert_eq!(decide(&expired, false, now), Err(TokenRefused::Expired));
    }

    #[test]
    fn a_clone_waits_even_when_the_profile_accepts_by_itself() {
        let now = Timestamp::from_second(1000).expect("in range");
        assert_eq!(decide(&profile(), true, now), Ok(Entry::Pending(PendingReason::DuplicateMachineId)));
        let asks = ProfileFacts { auto_accept: false, ..profile() };
        assert_eq!(decide(&asks, false, now), Ok(Entry::Pending(PendingReason::ProfileAsks)));
    }
}

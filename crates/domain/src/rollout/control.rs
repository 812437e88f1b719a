//! What people and the planner did to a job, kept with it: pauses, halts and their causes, approvals, answers of gates.
//! Absent: what follows from it ([`super::planner`]), and who may do it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::TaskId;

/// What people and the planner did to a job: kept with it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Control {
    /// Somebody paused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// It halted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halted: Option<Halt>,
    /// Failures that ended up to this moment count no more: somebody resumed the job after them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forgiven_until: Option<Timestamp>,
    /// Hosts that had decayed when somebody resumed the job: when they did is not known, so each is named.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub forgiven_decayed: BTreeSet<TaskId>,
    /// Who approved the job's start, where that is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approval>,
    /// What gates said, by wave.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub gates: BTreeMap<u16, GateAnswers>,
}

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Paused {
    /// Who.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
}

/// A yes of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What the gate after a wave said so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct GateAnswers {
    /// A person's yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approval>,
    /// The webhook's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookAnswer>,
}

/// A webhook's last word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct WebhookAnswer {
    /// It lets the next wave begin.
    pub passed: bool,
    /// Its words, for people.
    pub detail: String,
    /// When.
    pub at: Timestamp,
}

/// A halt: nothing more begins until a person resumes or aborts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Halt {
    /// When.
    pub at: Timestamp,
    /// The wave that failed; absent = no single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<u16>,
    /// Why.
    pub cause: HaltCause,
}

/// Why a job halted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase", tag = "cause")]
pub enum HaltCause {
    /// Too many hosts of a wave failed, timed out or are unreachable.
    Failures {
        /// The wave.
        wave: String,
        /// How many.
        failed: u32,
        /// As many halt.
        limit: u32,
    },
    /// *Policies*: too many hosts that were let go are not as they should be.
    Unhealthy {
        /// How many.
        failed: u32,
        /// As many halt.
        limit: u32,
        /// Some of them, each with what is wrong with it.
        hosts: String,
    },
    /// Failures have eaten a zone's disruption budget.
    BudgetEaten {
        /// The zone; empty = hosts without one.
        zone: String,
        /// How many failed.
        failed: u32,
        /// The budget.
        budget: u32,
    },
    /// The gate after a wave said no.
    GateRefused {
        /// The wave.
        wave: String,
        /// The gate's words.
        detail: String,
    },
    /// Somebody halted it.
    Asked {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The plan linter refused what was about to be done.
    Lint {
        /// What is wrong.
        finding: String,
    },
}

impl HaltCause {
    /// For people.
    pub fn describe(&self) -> String {
        let zone_name = |zone: &str| if zone.is_empty() { "hosts without a zone".to_owned() } else { format!("zone {zone}") };
        match self {
            HaltCause::Failures { wave, failed, limit } => {
                let (hosts, verb) = if *failed == 1 { ("host", "is") } else { ("hosts", "are") };
                format!("{failed} {hosts} of wave {wave} failed, timed out or {verb} unreachable; the job halts at {limit}")
            }
            HaltCause::Unhealthy { failed, limit, hosts } => {
                let words = if *failed == 1 { "host that was let go" } else { "hosts that were let go" };
                format!("{failed} {words} failed ({hosts}); the rollout halts at {limit}")
            }
            HaltCause::BudgetEaten { zone, failed, budget } => {
                format!("{failed} failures have eaten the disruption budget of {budget} ({})", zone_name(zone))
            }
            HaltCause::GateRefused { wave, detail } => format!("the gate after wave {wave} said no: {detail}"),
            HaltCause::Asked { by, reason } if reason.is_empty() => format!("{by} halted it"),
            HaltCause::Asked { by, reason } => format!("{by} halted it: {reason}"),
            HaltCause::Lint { finding } => format!("a check of the plan failed, nothing was let go: {finding}"),
        }
    }
}

//! What things are in Drydock and what follows from them.
//!
//! Pure and synchronous: functions of facts and `now`. Absent on purpose: async, clocks, randomness, files,
//! environment, logging, SQL, HTTP. Identifiers are minted and time is read elsewhere and passed in.
//!
//! The serde form of the documents here (a patch job's settings, an inventory section, a task report) *is* their
//! form on the wire and in the store; unknown fields are refused where an operator writes and ignored where a
//! newer agent or server speaks to an older one.

pub mod access;
pub mod advisory;
pub mod applicability;
pub mod audit;
pub mod bom;
pub mod enrolment;
pub mod group;
pub mod host_rules;
pub mod ids;
pub mod instance;
pub mod inventory;
pub mod inventory_history;
pub mod limits;
pub mod patch;
pub mod policy;
pub mod query;
pub mod rollout;
pub mod schedule;
pub mod source;
pub mod validate;
pub mod version;
pub mod work;

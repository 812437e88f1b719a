//! The operations, one file per noun. Each authorises, decides with `domain`, stores, and leaves an audit record when
//! it changes something, is denied, or is a read of a family whose reads are recorded.

mod access;
mod access_policies;
mod access_tests;
mod accounts;
mod act;
pub(crate) mod advisories;
pub(crate) mod advisory_feeds;
mod agents;
pub(crate) mod airgap;
mod api_keys;
mod approvals;
mod attachments;
mod audit;
mod bom;
mod calendars;
mod choice;
mod compartments;
mod compliance;
mod content_access;
mod content_jobs;
mod deployment_runs;
mod deployments;
mod describe;
mod dynamic_groups;
mod enrolment;
mod environments;
mod exceptions;
mod groups;
mod host_rules;
mod host_sources;
mod instance_access;
mod instance_modules;
mod instances;
pub(crate) mod intake;
mod inventory;
mod inventory_history;
mod job_report;
mod moves;
mod oidc;
mod passwords;
mod patch_jobs;
mod patch_reruns;
mod policies;
mod policy_approvals;
mod policy_documents;
mod policy_health;
mod policy_previews;
mod policy_reports;
mod policy_rollouts;
mod policy_secrets;
mod preview;
mod promotion;
mod reach;
mod reboot_slots;
mod rollouts;
mod search;
mod second_factor;
mod secrets;
mod selector;
mod sessions;
mod sign_in;
mod snapshots;
mod soak;
mod sources;
mod undo;
mod undo_files;
mod updates;
mod user_groups;
mod users;
pub(crate) mod vulnerabilities;
mod work;
mod work_sent;

pub use access::TokenAsk;
pub use access_policies::AccessPolicyView;
pub use access_tests::{DecisionView, HoldersView};
pub(crate) use act::cut;
pub use api_keys::{API_KEYS_MAX, ApiKeyView, HeldApiKey, TENANCY};
pub use audit::{AuditBatch, AuditExport, AuditStatus};
pub use calendars::CalendarSpec;
pub use compartments::CompartmentEdit;
pub(crate) use content_access::AccessCache;
pub(crate) use content_jobs::CollectInput;
pub(crate) use describe::due_at;
pub use dynamic_groups::DynamicGroupSpec;
pub(crate) use host_sources::DocumentInputs;
pub use instance_modules::ModulesView;
pub use inventory_history::{HoldingQuery, HoldingView, InstalledView, PackagesDiffView};
pub use moves::Movable;
pub use oidc::Vouched;
pub(crate) use policies::halted_because;
pub use policies::{ApplyAsk, PolicyUse};
pub(crate) use policy_documents::{PolicyWorld, facts_of};
pub use policy_documents::{PulledPolicies, SignedPolicies};
pub use policy_rollouts::{CheckAsk, CheckedHost};
pub(crate) use promotion::{head_json, head_time, rollback_leads_to, served};
pub use search::{AddedView, LeftOut, MatchView, NamedHost};
pub use second_factor::OfferedFactor;
pub use sessions::{OpenSession, SESSION_ABSOLUTE_SECS, SESSION_IDLE_SECS, WhoseSessions};
pub use sign_in::{REFUSAL_TAKES, SignInAsk, SignInFrom, SignedIn};
pub(crate) use snapshots::{parse_root, root_of};
pub(crate) use sources::{UPLOADS, UploadInput};
pub use user_groups::UserGroupView;
pub use users::{UserEdit, UserView};
pub(crate) use work::moved;
pub(crate) use work_sent::SentDocuments;

/// How often a decision is made anew when somebody changed the row between reading and writing, count. Two writers of
/// one row are rare; five losses in a row mean something else is wrong.
const RACE_RETRIES: usize = 5;

/// A secret's stored form: SHA-256, hex. Secrets here are 256 random bits, which no slow hash protects better.
fn digest(text: &str) -> String {
    drydock_domain::inventory::fingerprint(text.as_bytes())
}

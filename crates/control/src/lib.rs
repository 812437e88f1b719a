//! Operations, reconcilers and authorisation: what a person or an agent may ask, decided by `domain`, kept by `store`.
//!
//! An operation authorises, decides, stores and leaves an audit record; it takes an [`OpCtx`].
//! Reconcilers have no input: they read the store each turn and may run twice.
//! Absent on purpose: HTTP and gRPC types, SQL, processes, certificates (the server signs those and calls
//! [`Control::record_certificate`]).

mod access_part;
mod api_key;
mod audit_part;
mod calendar_part;
mod content_part;
mod content_views;
mod context;
mod control;
mod error;
mod fleet;
mod hub;
mod instance_token;
mod key;
mod ops;
mod password;
mod policy_part;
pub mod reconcile;
mod seal;
mod selection;
mod totp;
mod views;

pub use api_key::{ApiPublicKey, BadApiKey, KEY_MAX_BITS, KEY_MIN_BITS};
pub use audit_part::{CallFrom, CallNotes, SignInTry};
pub use content_views::*;
pub use context::{Account, AccountKind, Clock, OpCtx, Principal, Secret, SystemClock};
pub use control::{Config, Control};
pub use drydock_content as content;
pub use drydock_store as store;
pub use drydock_store::records;
pub use error::{Error, ErrorKind, Result};
pub use fleet::{FleetWork, PictureFile};
pub use hub::{Attachment, HintHub, JobWatch};
pub use key::{KeyError, WorkKey};
pub use ops::CalendarSpec;
pub use ops::advisories::AdvisoryQuery;
pub use ops::advisory_feeds::ImportAsk;
pub use ops::airgap::{ExportSources, ExportView, Fate, ImportSources, ImportView, ImportedSource, Place, SnapshotName};
pub use ops::vulnerabilities::VulnerabilityQuery;
pub use ops::{API_KEYS_MAX, ApiKeyView, HeldApiKey, TENANCY, Vouched};
pub use ops::{AccessPolicyView, CompartmentEdit, DecisionView, DynamicGroupSpec, HoldersView};
pub use ops::{AddedView, LeftOut, MatchView, ModulesView, NamedHost};
pub use ops::{ApplyAsk, CheckAsk, CheckedHost, PolicyUse, PulledPolicies, SignedPolicies};
pub use ops::{AuditBatch, AuditExport, AuditStatus};
pub use ops::{HoldingQuery, HoldingView, InstalledView, Movable, PackagesDiffView};
pub use ops::{
    OfferedFactor, OpenSession, REFUSAL_TAKES, SESSION_ABSOLUTE_SECS, SESSION_IDLE_SECS, SignInAsk, SignInFrom, SignedIn,
    WhoseSessions,
};
pub use ops::{TokenAsk, UserEdit, UserGroupView, UserView};
pub use seal::{SECRET_KEY_BYTES, SealError, SecretKey};
pub use views::{
    CalendarView, DeploymentView, EnrolAsk, Enrolled, HeldAnswer, HostOutcome, InstanceEdit, InstanceView, JobOutcome, JobView,
    PackagesView, Pulled, Reported, RolloutView, RulesView, SectionBodyIn, SectionIn, SignedOrder, SlotAnswer, SlotGroupView,
    TaskDetail, UndoAsk, UndoHost, UpdatesView, WhoAmI, ZoneView,
};

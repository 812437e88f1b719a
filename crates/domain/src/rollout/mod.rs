//! Rollouts: the right hosts at the right time, and a bad update that stops by itself. [`spec`] is what an operator
//! writes, [`layout`] makes the immutable plan (waves, zones), [`planner`] says for every host *go* or *hold, because*,
//! [`lint`](mod@lint) looks at each answer again, [`window`] knows when hosts may be worked at, [`slots`] how many may
//! reboot at a time, [`health`] is what a host checks after its part.
//!
//! Shared by everything that disrupts hosts, so that all of it counts against one budget per failure domain (zone).
//! Absent: clocks, storage, who may do what.

pub mod control;
pub mod health;
pub mod layout;
pub mod lint;
pub mod planner;
pub mod slots;
pub mod spec;
pub mod window;
pub mod written;

pub use control::{Approval, Control, GateAnswers, Halt, HaltCause, Paused, WebhookAnswer};
pub use layout::{LayoutFacts, LayoutHost, PlannedWave, PlannedZone, RolloutPlan, lay_out, region_of};
pub use lint::lint;
pub use planner::{Closed, Decision, Ended, Facts, HostFacts, HostState, WavePhase, WaveStatus, decide};
pub use slots::RebootSlots;
pub use spec::{Detect, Gate, Rollout, RolloutMode, Wave, WaveSize};
pub use window::{Freeze, FreezeCalendar, FreezePeriod, MaintenanceWindow, Window};

//! Package managers of a host: what is installed, what could be updated, an exact plan, applying exactly that plan.
//!
//! One folder per manager, one file per external command: sample output above a pure parser, the argument builder
//! beside it. [`run`] is the only door to processes. Everything is synchronous; callers use a worker thread.
//!
//! Absent on purpose: the network to the server, policy (what *should* be installed), clocks, async.

mod apt;
mod barred;
mod detect;
mod dnf;
mod dnf5;
mod error;
mod excludes;
mod exec;
mod kernel;
mod manager;
mod rpm;
pub mod rules;
pub mod run;
mod solve;
pub mod testing;
mod undo;
mod verify;
mod wish;
mod yum;
mod zypper;

pub use apt::Apt;
pub use detect::{OsRelease, detect};
pub use dnf::{Dnf, interpreter as dnf_interpreter};
pub use dnf5::Dnf5;
pub use error::PkgError;
pub use kernel::{KernelState, kernel_installed};
pub use manager::{ApplyOutcome, Backend, BrokenPackage, ExitSummary, PackageManager, RepairReport};
pub use verify::{remaining, verify, verify_with};
pub use yum::Yum;
pub use zypper::Zypper;

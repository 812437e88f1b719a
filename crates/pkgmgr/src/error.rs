//! What can go wrong with a package manager: one variant per operation that failed, with what to do about it.

use std::time::Duration;

use drydock_domain::inventory::ManagerKind;

use crate::run::RunError;

/// A failed package-manager operation.
#[derive(Debug, thiserror::Error)]
pub enum PkgError {
    /// The command could not be run at all.
    #[error("{label} could not be run")]
    Run {
        /// Which command.
        label: String,
        /// Why.
        #[source]
        source: RunError,
    },
    /// It ran and said no.
    #[error("{label} failed ({end}): {message}")]
    Failed {
        /// Which command.
        label: String,
        /// `exit code 100`.
        end: String,
        /// The tool's own last words.
        message: String,
    },
    /// Ended at its time limit.
    #[error("{label} did not end within {} s and was killed; look for a hung repository, scriptlet or file system", limit.as_secs())]
    TimedOut {
        /// Which command.
        label: String,
        /// The limit.
        limit: Duration,
    },
    /// Ended through the kill switch.
    #[error("{label} was killed on request")]
    Killed {
        /// Which command.
        label: String,
    },
    /// It printed more than we keep; parsing a part would lie.
    #[error("{label} printed more than can be kept; its output is not used")]
    Incomplete {
        /// Which command.
        label: String,
    },
    /// Its output is not what we know.
    #[error("the output of {label} cannot be understood: {what}")]
    Parse {
        /// Which command.
        label: String,
        /// The place and the problem.
        what: String,
    },
    /// Another package manager holds the lock.
    #[error("{label}: the package database was still locked after {} s{}; wait for it or end it, then try again",
        waited.as_secs(), holder.as_ref().map(|h| format!(" by {h}")).unwrap_or_default())]
    Locked {
        /// Which command.
        label: String,
        /// `process 1234 (apt-get)`, where known.
        holder: Option<String>,
        /// How long we waited.
        waited: Duration,
    },
    /// No repository could be read.
    #[error("no repository of this host could be read: {details}")]
    NothingWorks {
        /// The findings, joined.
        details: String,
    },
    /// A repository is broken and the job asked for strictness.
    #[error("a repository is broken and the job asks for strict repositories: {details}")]
    BrokenRepository {
        /// The findings, joined.
        details: String,
    },
    /// What would happen now is not what was planned.
    #[error("the host or its repositories changed since the plan was made: {details}; plan again")]
    WorldMoved {
        /// Package by package.
        details: String,
    },
    /// The plan is for another package manager.
    #[error("the plan is for {plan}, this host's manager is {own}", plan = plan.as_str(), own = own.as_str())]
    WrongManager {
        /// The plan's.
        plan: ManagerKind,
        /// Ours.
        own: ManagerKind,
    },
    /// The plan holds words that must not reach a command line.
    #[error("the plan cannot be used: {details}")]
    BadPlan {
        /// Which entry.
        details: String,
    },
    /// The tool, or what protects the host, says no to what a job asks for. Nothing was changed.
    #[error("{tool} refuses: {details}")]
    Refused {
        /// Which tool.
        tool: String,
        /// Its own words, where it has any.
        details: String,
    },
    /// This host's package manager cannot choose updates in the way the job asks for.
    #[error("{} cannot choose updates so: {details}", manager.as_str())]
    CannotChoose {
        /// Whose.
        manager: ManagerKind,
        /// What it cannot know.
        details: String,
    },
    /// This host's package manager has no module streams.
    #[error("{} has no module streams and profiles: {details}", manager.as_str())]
    NoModules {
        /// Whose.
        manager: ManagerKind,
        /// Who has them.
        details: String,
    },
    /// An exclude pattern cannot be used.
    #[error("exclude pattern {details}")]
    BadPattern {
        /// Which, and why.
        details: String,
    },
}

//! The one trait of all package managers and the closed set of them, matched exhaustively here and nowhere else.

use std::path::PathBuf;
use std::time::Duration;

use drydock_domain::inventory::{Finding, ManagerKind, Package, RebootReason, UpdateSet};
use drydock_domain::patch::module_rules::HostModules;
use drydock_domain::patch::modules::ModuleResult;
use drydock_domain::patch::report::{Output, Plan};
use drydock_domain::patch::spec::PatchConfig;
use jiff::Timestamp;

use crate::apt::Apt;
use crate::dnf::Dnf;
use crate::dnf5::Dnf5;
use crate::error::PkgError;
use crate::run::{End, Finished, Runner};
use crate::yum::Yum;
use crate::zypper::Zypper;

/// How the applying command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitSummary {
    /// The exit code, when it ended by itself.
    pub exit_code: Option<i32>,
    /// How it ended.
    pub end: End,
    /// How long it took.
    pub wall: Duration,
}

impl From<&Finished> for ExitSummary {
    fn from(finished: &Finished) -> Self {
        ExitSummary { exit_code: finished.exit_code, end: finished.end, wall: finished.wall }
    }
}

/// What became of applying a plan. The truth about each package is in the package database: see [`crate::verify()`].
#[derive(Debug, Clone)]
pub struct ApplyOutcome {
    /// How the command ended (exit code 0 when there was nothing to do).
    pub exit: ExitSummary,
    /// What it printed.
    pub output: Output,
    /// The tool says it worked.
    pub success: bool,
    /// One line for people.
    pub message: String,
    /// Packages the tool named as failed, with its words.
    pub failed_packages: Vec<(String, String)>,
    /// The tool itself suggests a reboot.
    pub reboot_suggested: bool,
}

impl ApplyOutcome {
    /// How a download ended; `count` packages were to come.
    pub(crate) fn downloaded(finished: &Finished, tool: &str, count: usize) -> Self {
        let success = finished.success();
        let packages = if count == 1 { "1 package".to_owned() } else { format!("{count} packages") };
        let message = if success {
            format!("{tool} downloaded {packages}; nothing was installed")
        } else {
            format!("{tool} could not download ({}): {}", finished.describe_end(), crate::exec::last_words(finished))
        };
        ApplyOutcome {
            exit: ExitSummary::from(finished),
            output: finished.output(),
            success,
            message: crate::exec::cut(&message),
            failed_packages: Vec::new(),
            reboot_suggested: false,
        }
    }

    /// Everything was already there.
    pub(crate) fn nothing_to_do() -> Self {
        ApplyOutcome {
            exit: ExitSummary { exit_code: Some(0), end: End::Exited(0), wall: Duration::ZERO },
            output: Output::default(),
            success: true,
            message: "nothing to do: every planned change is already there".to_owned(),
            failed_packages: Vec::new(),
            reboot_suggested: false,
        }
    }
}

/// What mending an interrupted transaction did.
#[derive(Debug, Clone, Default)]
pub struct RepairReport {
    /// Something was broken.
    pub needed: bool,
    /// What the mending commands printed.
    pub output: Output,
    /// One line for people.
    pub message: String,
}

/// A package the database knows but that is not properly installed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokenPackage {
    /// Name, architecture, version.
    pub package: Package,
    /// `half-configured`, `unpacked`, `installed twice` …
    pub state: String,
}

/// A package manager of a host.
pub trait PackageManager {
    /// Which.
    fn kind(&self) -> ManagerKind;
    /// Everything installed, as the database has it.
    fn installed(&self, runner: &dyn Runner) -> Result<Vec<Package>, PkgError>;
    /// Packages in a state between: feeds [`crate::verify_with`].
    fn broken(&self, runner: &dyn Runner) -> Result<Vec<BrokenPackage>, PkgError>;
    /// Reads the repositories' metadata. A broken repository is a finding; only "nothing works at all" is an error.
    fn refresh(&self, runner: &dyn Runner) -> Result<Vec<Finding>, PkgError>;
    /// What could be updated, from the metadata that is there.
    fn updates(&self, runner: &dyn Runner) -> Result<UpdateSet, PkgError>;
    /// The tool's own dry run under these settings, frozen to exact versions. Changes nothing, refreshes nothing.
    fn plan(&self, runner: &dyn Runner, config: &PatchConfig) -> Result<Plan, PkgError>;
    /// Downloads what `plan` installs into the tool's own cache, where [`PackageManager::apply`] finds it; installs
    /// nothing. Refuses as `apply` does.
    fn download(&self, runner: &dyn Runner, plan: &Plan) -> Result<ApplyOutcome, PkgError>;
    /// Does exactly `plan` or refuses with [`PkgError::WorldMoved`]. What is already done of it is not done again.
    fn apply(&self, runner: &dyn Runner, plan: &Plan) -> Result<ApplyOutcome, PkgError>;
    /// Module streams that are offered, from the metadata that is there, and module states. Only dnf 4 has them.
    fn modules(&self, _runner: &dyn Runner) -> Result<HostModules, PkgError> {
        Err(no_modules(self.kind()))
    }
    /// What became of the plan's module changes, by reading the host's module states again.
    fn verify_modules(&self, _plan: &Plan) -> Result<Vec<ModuleResult>, PkgError> {
        Ok(Vec::new())
    }
    /// Mends what an interrupted transaction left behind.
    fn repair(&self, runner: &dyn Runner) -> Result<RepairReport, PkgError>;
    /// Why the host should be rebooted; `booted_at` = when the running system began (start of process 1).
    fn reboot_hint(&self, runner: &dyn Runner, booted_at: Timestamp) -> Result<Vec<RebootReason>, PkgError>;
    /// Directories and files whose change means that the package database changed.
    fn watch_paths(&self) -> Vec<PathBuf>;
}

/// Why a manager has no module streams.
fn no_modules(manager: ManagerKind) -> PkgError {
    let details = match manager {
        ManagerKind::Apt => "they are for dnf 4 hosts such as Oracle Linux 8 and 9",
        ManagerKind::Dnf5 => "dnf 5 hosts are not changed so; Fedora has no modules since 39",
        ManagerKind::Yum => "they came with Oracle Linux 8 and dnf; here, software collections are packages of their own",
        ManagerKind::Zypper => "they are for dnf 4 hosts; modules of SUSE are products, which repositories bring",
        ManagerKind::Dnf => "this build of the agent cannot read them",
    };
    PkgError::NoModules { manager, details: details.to_owned() }
}

/// A package manager found on this host.
#[derive(Debug, Clone)]
pub enum Backend {
    /// apt and dpkg.
    Apt(Apt),
    /// dnf 4 and rpm.
    Dnf(Dnf),
    /// dnf 5 and rpm.
    Dnf5(Dnf5),
    /// yum 3 and rpm.
    Yum(Yum),
    /// zypper and rpm.
    Zypper(Zypper),
}

impl Backend {
    fn inner(&self) -> &dyn PackageManager {
        match self {
            Backend::Apt(apt) => apt,
            Backend::Dnf(dnf) => dnf,
            Backend::Dnf5(dnf5) => dnf5,
            Backend::Yum(yum) => yum,
            Backend::Zypper(zypper) => zypper,
        }
    }
}

impl PackageManager for Backend {
    fn kind(&self) -> ManagerKind {
        self.inner().kind()
    }

    fn installed(&self, runner: &dyn Runner) -> Result<Vec<Package>, PkgError> {
        self.inner().installed(runner)
    }

    fn broken(&self, runner: &dyn Runner) -> Result<Vec<BrokenPackage>, PkgError> {
        self.inner().broken(runner)
    }

    fn refresh(&self, runner: &dyn Runner) -> Result<Vec<Finding>, PkgError> {
        self.inner().refresh(runner)
    }

    fn updates(&self, runner: &dyn Runner) -> Result<UpdateSet, PkgError> {
        self.inner().updates(runner)
    }

    fn plan(&self, runner: &dyn Runner, config: &PatchConfig) -> Result<Plan, PkgError> {
        if !config.modules.is_empty() && self.kind() != ManagerKind::Dnf {
            return Err(no_modules(self.kind()));
        }
        self.inner().plan(runner, config)
    }

    fn apply(&self, runner: &dyn Runner, plan: &Plan) -> Result<ApplyOutcome, PkgError> {
        self.inner().apply(runner, plan)
    }

    fn download(&self, runner: &dyn Runner, plan: &Plan) -> Result<ApplyOutcome, PkgError> {
        self.inner().download(runner, plan)
    }

    fn modules(&self, runner: &dyn Runner) -> Result<HostModules, PkgError> {
        self.inner().modules(runner)
    }

    fn verify_modules(&self, plan: &Plan) -> Result<Vec<ModuleResult>, PkgError> {
        self.inner().verify_modules(plan)
    }

    fn repair(&self, runner: &dyn Runner) -> Result<RepairReport, PkgError> {
        self.inner().repair(runner)
    }

    fn reboot_hint(&self, runner: &dyn Runner, booted_at: Timestamp) -> Result<Vec<RebootReason>, PkgError> {
        self.inner().reboot_hint(runner, booted_at)
    }

    fn watch_paths(&self) -> Vec<PathBuf> {
        self.inner().watch_paths()
    }
}

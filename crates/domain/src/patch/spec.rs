//! What an operator asks for. Field names and meanings are Google's (OS Config v1 `PatchJob`, `PatchConfig`) in their
//! JSON form; the additions are marked *ours*.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::filter::InstanceFilter;
use super::modules::ModuleChange;
use super::operation::{PackageChanges, UpdateType};
use super::pattern::Pattern;
use super::undo::{Barred, UndoOrder};
use crate::advisory::Severity;
use crate::limits::{
    DESCRIPTION_MAX_BYTES, DISPLAY_NAME_MAX_BYTES, JOB_DURATION_MAX_SECS, JOB_DURATION_MIN_SECS, PATTERNS_MAX, SCRIPT_MAX_BYTES,
    STEP_ARG_MAX_BYTES, STEP_ARGS_MAX, STEP_ENV_MAX, STEP_TIME_LIMIT_MAX_SECS,
};
use crate::rollout::Rollout;
use crate::rollout::health::HealthChecks;
use crate::validate::{Invalid, Problems};

/// A patch job as submitted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PatchJobSpec {
    /// Name for people.
    #[serde(default)]
    pub display_name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Which hosts.
    pub instance_filter: InstanceFilter,
    /// Plan only, and return the plan.
    #[serde(default)]
    pub dry_run: bool,
    /// Seconds after which hosts start no further step and the job ends as TIMED_OUT; absent = until every host is done.
    #[serde(default)]
    pub duration_secs: Option<u64>,
    /// What to do on each host.
    #[serde(default)]
    pub patch_config: PatchConfig,
    /// How many hosts at once; absent = all (*ours*: a first, simple form of Google's disruption budget over the whole job).
    #[serde(default)]
    pub concurrency: Option<Concurrency>,
    /// In which order, in what waves, within which budget (Google's `rollout`, with additions); absent = every host at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// *Ours*: path of the compartment in which it is made, for example `/A`: it reaches hosts there and below. Absent: the
    /// tenancy, or the one topmost compartment in which the caller may. Said only when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<String>,
}

/// A number of hosts: fixed, or a percentage of the job's hosts rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Concurrency {
    /// This many hosts.
    Fixed(u32),
    /// This share of the job's hosts, 1 to 100.
    Percent(u32),
}

/// What to do on each host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PatchConfig {
    /// When to reboot.
    pub reboot_config: RebootConfig,
    /// Settings for apt hosts.
    pub apt: AptSettings,
    /// Settings for yum, dnf 4 and dnf 5 hosts.
    pub yum: YumSettings,
    /// Settings for zypper hosts.
    pub zypper: ZypperSettings,
    /// Settings for Windows hosts: kept, no agent reads them yet.
    pub windows_update: WindowsUpdateSettings,
    /// Run before anything else; a failure ends the task before patching.
    pub pre_step: Option<ExecStep>,
    /// Run last, after the reboot; a failure fails the task.
    pub post_step: Option<ExecStep>,
    /// *Ours*: a repository that cannot be refreshed fails the task instead of being reported (default `false`).
    pub strict_repositories: bool,
    /// *Ours*: named packages to install, remove or update, instead of general updates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<PackageChanges>,
    /// *Ours*: only updates of these types; together with `advisories`, `cves`, `minSeverity` and `overdue`: those that
    /// any of them choose.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub update_types: Vec<UpdateType>,
    /// *Ours*: only updates that these advisories name. For apt, which cannot tell, the server names the packages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub advisories: Vec<String>,
    /// *Ours*: only updates whose advisories close these CVEs. For apt, which cannot tell, the server names the packages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cves: Vec<String>,
    /// *Ours*: only updates that close something at least so bad, as advisories and vendors say. What an exception accepts
    /// on a host does not count there. The server names the packages of each host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<Severity>,
    /// *Ours*: only updates that close a vulnerability that is overdue on the host when it gets its order. What an
    /// exception accepts there does not count. The server names the packages of each host.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub overdue: bool,
    /// *Ours*: what must hold on the host after patching, reboot and post-step; else the task fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_checks: Option<HealthChecks>,
    /// *Ours*: module streams and profiles to change (dnf 4), instead of general updates; others refuse.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<ModuleChange>,
    /// *Ours*: plan, then download the packages into the package manager's cache; nothing is installed, no step runs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub download_only: bool,
    /// *Ours*: the repositories are not read again: the metadata and downloaded packages on the host are used.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub from_cache: bool,
    /// *Ours*: only versions that the server first saw at least so many days ago (0 = no soak, at most 180). A younger one
    /// is left out, and an older one that has soaked is taken in its place where the host's repositories still have it.
    #[serde(skip_serializing_if = "is_zero")]
    pub soak_days: u32,
    /// *Ours*: what the host's repositories call a security update need not soak; for `soakDays`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub soak_except_security: bool,
    /// *Ours*: take back exactly this and do nothing else; set by the server for each host, never submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<UndoOrder>,
    /// *Ours*: versions that this task must not install; set by the server for each host, never submitted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub barred: Vec<Barred>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(days: &u32) -> bool {
    *days == 0
}

/// When a host reboots. At most five times a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RebootConfig {
    /// When the host asks for it, before and after patching, until it no longer asks.
    #[default]
    #[serde(alias = "REBOOT_CONFIG_UNSPECIFIED")]
    Default,
    /// As DEFAULT, and once after patching in any case.
    Always,
    /// Never; the task ends SUCCEEDED_REBOOT_REQUIRED when the host asks.
    Never,
}

/// apt-get upgrade or dist-upgrade.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AptType {
    /// `apt-get upgrade`: never installs or removes other packages.
    #[default]
    #[serde(alias = "TYPE_UNSPECIFIED")]
    Upgrade,
    /// `apt-get dist-upgrade`.
    Dist,
}

/// Settings for apt hosts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AptSettings {
    /// UPGRADE or DIST.
    #[serde(rename = "type")]
    pub upgrade_type: AptType,
    /// Packages left alone: names, globs (`linux-*`) or `/regex/`.
    pub excludes: Vec<Pattern>,
    /// The only packages updated; excludes and type do not apply. Exact names.
    pub exclusive_packages: Vec<String>,
    /// *Ours*: only updates from a security archive (origin or label `…Security`, archive `…-security`).
    pub security: bool,
}

/// Settings for yum and dnf hosts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct YumSettings {
    /// Only updates that an advisory calls security.
    pub security: bool,
    /// The lowest version that closes the advisory, not the newest.
    pub minimal: bool,
    /// Packages left alone: names, globs or `/regex/`.
    pub excludes: Vec<Pattern>,
    /// The only packages updated. Exact names.
    pub exclusive_packages: Vec<String>,
}

/// Settings for zypper hosts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ZypperSettings {
    /// Also optional patches.
    pub with_optional: bool,
    /// Also package updates that no patch names.
    pub with_update: bool,
    /// Only patches of these categories (`security`, `recommended` …).
    pub categories: Vec<String>,
    /// Only patches of these severities (`critical`, `important` …).
    pub severities: Vec<String>,
    /// Patches (and, *ours*, packages of with-update) left alone: names, globs or `/regex/`.
    pub excludes: Vec<Pattern>,
    /// The only patches installed. Exact names.
    pub exclusive_patches: Vec<String>,
}

/// Settings for Windows hosts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WindowsUpdateSettings {
    /// CRITICAL, SECURITY …
    pub classifications: Vec<String>,
    /// KB numbers left alone.
    pub excludes: Vec<String>,
    /// The only KB numbers installed.
    pub exclusive_patches: Vec<String>,
}

/// A pre- or post-step, per operating system.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExecStep {
    /// For Linux hosts; absent counts as done.
    pub linux_exec_step_config: Option<ExecStepConfig>,
    /// For Windows hosts: kept, no agent reads it yet.
    pub windows_exec_step_config: Option<ExecStepConfig>,
}

/// What interprets a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Interpreter {
    /// The file itself (`#!` line or binary). Google's INTERPRETER_UNSPECIFIED on Linux.
    #[default]
    #[serde(alias = "INTERPRETER_UNSPECIFIED")]
    None,
    /// /bin/sh.
    Shell,
    /// Windows only.
    Powershell,
}

/// One step. Exactly one of `localPath` and `script`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExecStepConfig {
    /// An absolute path on the host.
    pub local_path: Option<String>,
    /// *Ours*: the script itself, at most 64 KiB.
    pub script: Option<String>,
    /// What interprets it.
    pub interpreter: Interpreter,
    /// Exit codes that mean success; empty = 0 only.
    pub allowed_success_codes: Vec<i32>,
    /// *Ours*: arguments.
    pub args: Vec<String>,
    /// *Ours*: environment variables added to a small fixed environment.
    pub env: BTreeMap<String, String>,
    /// *Ours*: seconds until the step's process group is killed; absent = 600.
    pub time_limit_secs: Option<u32>,
}

impl PatchJobSpec {
    /// Checks everything an operator can get wrong; every problem is returned, each with its field.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        problems.text("displayName", &self.display_name, DISPLAY_NAME_MAX_BYTES);
        problems.text("description", &self.description, DESCRIPTION_MAX_BYTES);
        self.instance_filter.check("instanceFilter", &mut problems);
        if self.duration_secs.is_some_and(|d| !(JOB_DURATION_MIN_SECS..=JOB_DURATION_MAX_SECS).contains(&d)) {
            problems.add("durationSecs", format!("must be between {JOB_DURATION_MIN_SECS} and {JOB_DURATION_MAX_SECS} seconds"));
        }
        match self.concurrency {
            Some(Concurrency::Fixed(0)) => problems.add("concurrency.fixed", "must be at least 1"),
            Some(Concurrency::Percent(p)) if !(1..=100).contains(&p) => {
                problems.add("concurrency.percent", "must be between 1 and 100");
            }
            _ => {}
        }
        if let Some(rollout) = &self.rollout {
            rollout.check("rollout", &mut problems);
        }
        self.patch_config.check("patchConfig", &mut problems);
        problems.finish()
    }

    /// When the job ends as TIMED_OUT if it starts at `start`.
    pub fn deadline(&self, start: Timestamp) -> Option<Timestamp> {
        let secs = i64::try_from(self.duration_secs?).ok()?;
        start.checked_add(jiff::SignedDuration::from_secs(secs)).ok()
    }
}

impl PatchConfig {
    fn check(&self, at: &str, problems: &mut Problems) {
        self.check_operations(at, problems);
        self.check_modules(at, problems);
        self.check_undo(at, problems);
        self.check_soak(at, problems);
        if let Some(health) = &self.health_checks {
            health.check(&format!("{at}.healthChecks"), problems);
            if self.download_only {
                problems.add(format!("{at}.healthChecks"), "are not made in a job that only downloads; leave them out");
            }
        }
        check_patterns(&format!("{at}.apt.excludes"), &self.apt.excludes, problems);
        check_patterns(&format!("{at}.yum.excludes"), &self.yum.excludes, problems);
        check_patterns(&format!("{at}.zypper.excludes"), &self.zypper.excludes, problems);
        check_exclusive(
            &format!("{at}.apt.exclusivePackages"),
            &self.apt.exclusive_packages,
            !self.apt.excludes.is_empty(),
            problems,
        );
        let yum_more = !self.yum.excludes.is_empty() || self.yum.security || self.yum.minimal;
        check_exclusive(&format!("{at}.yum.exclusivePackages"), &self.yum.exclusive_packages, yum_more, problems);
        let z = &self.zypper;
        let zypper_more =
            !z.excludes.is_empty() || !z.categories.is_empty() || !z.severities.is_empty() || z.with_optional || z.with_update;
        check_exclusive(&format!("{at}.zypper.exclusivePatches"), &z.exclusive_patches, zypper_more, problems);
        for (name, list) in [("categories", &z.categories), ("severities", &z.severities)] {
            let field = format!("{at}.zypper.{name}");
            problems.count(&field, list.len(), 16);
            for word in list {
                if word.is_empty() || !word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
                    problems.add(&field, format!("{word:?} is not a single word of letters, digits, - and _"));
                }
            }
        }
        for (name, step) in [("preStep", &self.pre_step), ("postStep", &self.post_step)] {
            let Some(step) = step else { continue };
            if step.linux_exec_step_config.is_none() && step.windows_exec_step_config.is_none() {
                problems.add(format!("{at}.{name}"), "names neither linuxExecStepConfig nor windowsExecStepConfig");
            }
            if let Some(config) = &step.linux_exec_step_config {
                let field = format!("{at}.{name}.linuxExecStepConfig");
                config.check(&field, problems);
                if config.interpreter == Interpreter::Powershell {
                    problems.add(format!("{field}.interpreter"), "POWERSHELL is for Windows hosts; use SHELL or NONE");
                }
            }
            if let Some(config) = &step.windows_exec_step_config {
                config.check(&format!("{at}.{name}.windowsExecStepConfig"), problems);
            }
        }
    }
}

fn check_patterns(field: &str, patterns: &[Pattern], problems: &mut Problems) {
    problems.count(field, patterns.len(), PATTERNS_MAX);
    for (i, pattern) in patterns.iter().enumerate().take(PATTERNS_MAX) {
        if let Err(e) = pattern.compile() {
            problems.add(format!("{field}[{i}]"), e.to_string());
        }
    }
}

fn check_exclusive(field: &str, names: &[String], other_settings: bool, problems: &mut Problems) {
    problems.count(field, names.len(), PATTERNS_MAX);
    if !names.is_empty() && other_settings {
        problems.add(field, "cannot be combined with excludes or other selections; it already is the whole selection");
    }
    for (i, name) in names.iter().enumerate().take(PATTERNS_MAX) {
        if !is_package_name(name) {
            problems.add(
                format!("{field}[{i}]"),
                format!("{name:?} is not an exact package or patch name (letters, digits and . + - _ : ~ ^ @)"),
            );
        }
    }
}

/// A name that can stand on a package manager's command line as one word: never empty, never an option, never a glob.
pub fn is_package_name(name: &str) -> bool {
    name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-_:~^@".contains(&b))
}

impl ExecStepConfig {
    pub(crate) fn check(&self, at: &str, problems: &mut Problems) {
        match (&self.local_path, &self.script) {
            (None, None) => problems.add(at, "needs localPath or script"),
            (Some(_), Some(_)) => problems.add(at, "has both localPath and script; keep one"),
            (Some(path), None) => {
                problems.text(&format!("{at}.localPath"), path, STEP_ARG_MAX_BYTES);
                let windows = at.contains("windows");
                if !windows && !path.starts_with('/') {
                    problems.add(format!("{at}.localPath"), "must be an absolute path on the host");
                }
            }
            (None, Some(script)) => {
                let field = format!("{at}.script");
                if script.trim().is_empty() {
                    problems.add(&field, "is empty");
                }
                if script.len() > SCRIPT_MAX_BYTES {
                    problems.add(&field, format!("is {} bytes long; at most {SCRIPT_MAX_BYTES} are allowed; put it on the hosts and name it by localPath", script.len()));
                }
                if script.contains('\0') {
                    problems.add(&field, "holds a NUL byte");
                }
                if self.interpreter == Interpreter::None && !script.starts_with("#!") && !at.contains("windows") {
                    problems
                        .add(format!("{at}.interpreter"), "NONE needs a script that starts with #!; set SHELL or add the line");
                }
            }
        }
        problems.count(&format!("{at}.allowedSuccessCodes"), self.allowed_success_codes.len(), 64);
        problems.count(&format!("{at}.args"), self.args.len(), STEP_ARGS_MAX);
        for (i, arg) in self.args.iter().enumerate().take(STEP_ARGS_MAX) {
            if arg.len() > STEP_ARG_MAX_BYTES || arg.contains('\0') {
                problems.add(format!("{at}.args[{i}]"), format!("must have at most {STEP_ARG_MAX_BYTES} bytes and no NUL"));
            }
        }
        problems.count(&format!("{at}.env"), self.env.len(), STEP_ENV_MAX);
        for (key, value) in self.env.iter().take(STEP_ENV_MAX) {
            let name_ok = !key.is_empty()
                && !key.starts_with(|c: char| c.is_ascii_digit())
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !name_ok || value.len() > STEP_ARG_MAX_BYTES || value.contains('\0') {
                problems.add(
                    format!("{at}.env.{key}"),
                    "needs a name of letters, digits and _ and a value of at most 4096 bytes without NUL",
                );
            }
        }
        if self.time_limit_secs.is_some_and(|t| t == 0 || t > STEP_TIME_LIMIT_MAX_SECS) {
            problems.add(format!("{at}.timeLimitSecs"), format!("must be between 1 and {STEP_TIME_LIMIT_MAX_SECS} seconds"));
        }
    }

    /// Does this exit code mean success?
    pub fn is_success(&self, code: i32) -> bool {
        if self.allowed_success_codes.is_empty() { code == 0 } else { self.allowed_success_codes.contains(&code) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> PatchJobSpec {
        serde_json::from_str(json).expect("a spec")
    }

    fn fields(json: &str) -> Vec<String> {
        spec(json).validate().expect_err("refused").errors.into_iter().map(|e| e.field).collect()
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let err = serde_json::from_str::<PatchJobSpec>(r#"{"instanceFilter":{"all":true},"patchConfig":{"apt":{"exclude":[]}}}"#);
        assert!(err.expect_err("refused").to_string().contains("unknown field `exclude`"));
    }

    #[test]
    fn bad_input_names_its_fields_all_at_once() {
        assert_eq!(
            fields(
                r#"{"instanceFilter":{},"durationSecs":1,"concurrency":{"percent":0},"patchConfig":{
                "apt":{"excludes":["ok","/(/"]},"yum":{"exclusivePackages":["-y"]},"zypper":{"severities":["a b"]},
                "preStep":{"linuxExecStepConfig":{}},"postStep":{}}}"#
            ),
            [
                "instanceFilter",
                "durationSecs",
                "concurrency.percent",
                "patchConfig.apt.excludes[1]",
                "patchConfig.yum.exclusivePackages[0]",
                "patchConfig.zypper.severities",
                "patchConfig.preStep.linuxExecStepConfig",
                "patchConfig.postStep"
            ]
        );
    }

    #[test]
    fn an_oversized_script_is_refused() {
        let mut s = spec(r#"{"instanceFilter":{"all":true}}"#);
        let config = ExecStepConfig {
            script: Some("x".repeat(SCRIPT_MAX_BYTES + 1)),
            interpreter: Interpreter::Shell,
            ..Default::default()
        };
        s.patch_config.pre_step = Some(ExecStep { linux_exec_step_config: Some(config), ..Default::default() });
        let err = s.validate().expect_err("refused");
        assert_eq!(err.errors.len(), 1);
        assert_eq!(err.errors[0].field, "patchConfig.preStep.linuxExecStepConfig.script");
    }

    #[test]
    fn success_codes_default_to_zero() {
        let mut step = ExecStepConfig::default();
        assert!(step.is_success(0) && !step.is_success(3));
        step.allowed_success_codes = vec![3];
        assert!(step.is_success(3) && !step.is_success(0));
    }
}

//! The form that starts a patch job: what was typed, the job it means, and where each refusal belongs. Everything
//! typed survives a refusal. A job made elsewhere may say more than the form can; then the form names what it drops.

use drydock_domain::instance::Labels;
use drydock_domain::limits::{JOB_DURATION_MAX_SECS, JOB_DURATION_MIN_SECS};
use drydock_domain::patch::filter::{GroupLabel, InstanceFilter};
use drydock_domain::patch::operation::PackageChanges;
use drydock_domain::patch::pattern::Pattern;
use drydock_domain::patch::spec::{
    AptSettings, AptType, Concurrency, ExecStep, ExecStepConfig, Interpreter, PatchConfig, PatchJobSpec, RebootConfig,
    YumSettings, ZypperSettings,
};
use drydock_domain::validate::FieldError;

use drydock_domain::rollout::{Rollout, written};

use super::fields::{Fields, entries};

/// A refusal at one field of the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormError {
    /// Name of the form's field; empty = the whole form.
    pub field: &'static str,
    /// What is wrong.
    pub message: String,
}

/// Everything typed, as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobForm {
    /// Name for people.
    pub display_name: String,
    /// Free text.
    pub description: String,
    /// `instances`, `filter` or `all`.
    pub target: String,
    /// Names, one per line.
    pub instances: String,
    /// `env=prod, role=web`: one group per line.
    pub labels: String,
    /// One per line.
    pub zones: String,
    /// One per line.
    pub prefixes: String,
    /// Managed instance groups, one per line.
    pub groups: String,
    /// A filter over instances and their inventory; empty = none.
    pub query: String,
    /// `security`, `all`, `advisories` or `packages`.
    pub what: String,
    /// Advisory and CVE ids, one per line.
    pub advisories: String,
    /// Packages to install, one per line.
    pub install: String,
    /// Packages to remove, one per line.
    pub remove: String,
    /// Packages to update, one per line.
    pub update: String,
    /// apt may install and remove other packages.
    pub dist: bool,
    /// The only packages, one per line.
    pub only: String,
    /// Patterns, one per line.
    pub excludes: String,
    /// A broken repository fails the task.
    pub strict: bool,
    /// Days for which versions must have been known; empty = none.
    pub soak: String,
    /// Security updates need not soak.
    pub soak_except_security: bool,
    /// Waves as the command takes them, one per line.
    pub waves: String,
    /// `DEFAULT`, `ALWAYS` or `NEVER`.
    pub reboot: String,
    /// How many at once; empty = all.
    pub concurrency: String,
    /// `hosts` or `percent`.
    pub concurrency_unit: String,
    /// Path of the compartment it is made in; empty: the usual one.
    pub compartment: String,
    /// Minutes; empty = no end.
    pub duration: String,
    /// Script text; empty = none.
    pub pre_script: String,
    /// Seconds; empty = the default.
    pub pre_limit: String,
    /// Script text; empty = none.
    pub post_script: String,
    /// Seconds; empty = the default.
    pub post_limit: String,
    /// One submission starts one job, however often the button is pressed.
    pub key: String,
    /// What is wrong; empty before the first refusal.
    pub errors: Vec<FormError>,
}

impl JobForm {
    /// The first form: all quick choices at their safe values.
    pub fn new(key: String) -> Self {
        JobForm {
            target: "instances".into(),
            what: "security".into(),
            reboot: "DEFAULT".into(),
            concurrency_unit: "hosts".into(),
            key,
            ..JobForm::default()
        }
    }

    /// Reads what was submitted; nothing is judged yet.
    pub fn read(f: &Fields) -> Self {
        JobForm {
            display_name: f.text("displayName"),
            description: f.area("description"),
            target: f.text("target"),
            instances: f.area("instances"),
            labels: f.area("labels"),
            zones: f.area("zones"),
            prefixes: f.area("prefixes"),
            groups: f.area("groups"),
            query: f.text("query"),
            what: f.text("what"),
            advisories: f.area("advisories"),
            install: f.area("install"),
            remove: f.area("remove"),
            update: f.area("update"),
            dist: f.ticked("dist"),
            only: f.area("only"),
            excludes: f.area("excludes"),
            strict: f.ticked("strict"),
            soak: f.text("soak"),
            soak_except_security: f.ticked("soakExceptSecurity"),
            waves: f.area("waves"),
            reboot: f.text("reboot"),
            concurrency: f.text("concurrency"),
            concurrency_unit: f.text("concurrencyUnit"),
            compartment: f.text("compartment"),
            duration: f.text("duration"),
            pre_script: f.area("preScript"),
            pre_limit: f.text("preLimit"),
            post_script: f.area("postScript"),
            post_limit: f.text("postLimit"),
            key: f.text("key"),
            errors: Vec::new(),
        }
    }

    /// The job this form means. Only what cannot be written down at all is refused here; the rest is the domain's.
    pub fn to_spec(&self, dry_run: bool) -> Result<PatchJobSpec, Vec<FormError>> {
        let mut errors = Vec::new();
        let spec = PatchJobSpec {
            display_name: self.display_name.clone(),
            description: self.description.trim().to_owned(),
            instance_filter: self.filter(&mut errors),
            dry_run,
            duration_secs: number(&self.duration, "duration", "minutes", &mut errors).map(|m: u64| m.saturating_mul(60)),
            patch_config: self.config(&mut errors),
            concurrency: self.concurrency(&mut errors),
            rollout: self.rollout(&mut errors),
            compartment: Some(self.compartment.clone()).filter(|path| !path.is_empty()),
        };
        if errors.is_empty() { Ok(spec) } else { Err(errors) }
    }

    fn filter(&self, errors: &mut Vec<FormError>) -> InstanceFilter {
        match self.target.as_str() {
            "all" => InstanceFilter { all: true, ..InstanceFilter::default() },
            "instances" => InstanceFilter { instances: entries(&self.instances), ..InstanceFilter::default() },
            "filter" => InstanceFilter {
                group_labels: read_groups(&self.labels, errors),
                zones: entries(&self.zones),
                instance_name_prefixes: entries(&self.prefixes),
                groups: entries(&self.groups),
                query: Some(self.query.clone()).filter(|q| !q.is_empty()),
                ..InstanceFilter::default()
            },
            _ => {
                errors.push(FormError { field: "target", message: "choose which instances".into() });
                InstanceFilter::default()
            }
        }
    }

    fn config(&self, errors: &mut Vec<FormError>) -> PatchConfig {
        let security = match self.what.as_str() {
            "security" => true,
            "all" | "advisories" | "packages" => false,
            _ => {
                errors.push(FormError { field: "what", message: "choose which updates".into() });
                false
            }
        };
        let reboot_config = match self.reboot.as_str() {
            "DEFAULT" => RebootConfig::Default,
            "ALWAYS" => RebootConfig::Always,
            "NEVER" => RebootConfig::Never,
            _ => {
                errors.push(FormError { field: "reboot", message: "choose when to reboot".into() });
                RebootConfig::Default
            }
        };
        let excludes: Vec<Pattern> = entries(&self.excludes).into_iter().map(Pattern).collect();
        let only = entries(&self.only);
        // "Only these packages" is the whole selection: security and kinds of update no longer say anything.
        let exact = !only.is_empty();
        if exact && !excludes.is_empty() {
            let message = "cannot be combined with excluded packages; it already is the whole selection".into();
            errors.push(FormError { field: "only", message });
        }
        let (cves, advisories) = self.named_advisories(errors);
        let upgrade_type = if self.dist { AptType::Dist } else { AptType::Upgrade };
        PatchConfig {
            reboot_config,
            apt: AptSettings {
                upgrade_type,
                excludes: excludes.clone(),
                exclusive_packages: only.clone(),
                security: security && !exact,
            },
            yum: YumSettings {
                security: security && !exact,
                excludes: excludes.clone(),
                exclusive_packages: only.clone(),
                ..YumSettings::default()
            },
            zypper: ZypperSettings {
                with_update: self.what == "all" && !exact,
                categories: if security && !exact { vec!["security".into()] } else { Vec::new() },
                excludes,
                exclusive_patches: only,
                ..ZypperSettings::default()
            },
            pre_step: step(&self.pre_script, &self.pre_limit, "preLimit", errors),
            post_step: step(&self.post_script, &self.post_limit, "postLimit", errors),
            strict_repositories: self.strict,
            soak_days: days(&self.soak, errors),
            soak_except_security: self.soak_except_security,
            packages: self.named_packages(errors),
            advisories,
            cves,
            ..PatchConfig::default()
        }
    }

    /// CVEs, and advisories.
    fn named_advisories(&self, errors: &mut Vec<FormError>) -> (Vec<String>, Vec<String>) {
        if self.what != "advisories" {
            return Default::default();
        }
        let all = entries(&self.advisories);
        if all.is_empty() {
            errors.push(FormError { field: "advisories", message: "name at least one advisory or CVE".into() });
        }
        all.into_iter().partition(|id| id.starts_with("CVE-"))
    }

    fn named_packages(&self, errors: &mut Vec<FormError>) -> Option<PackageChanges> {
        if self.what != "packages" {
            return None;
        }
        let changes =
            PackageChanges { install: entries(&self.install), remove: entries(&self.remove), update: entries(&self.update) };
        if changes == PackageChanges::default() {
            errors.push(FormError { field: "install", message: "name at least one package".into() });
        }
        Some(changes)
    }

    fn concurrency(&self, errors: &mut Vec<FormError>) -> Option<Concurrency> {
        let n = number(&self.concurrency, "concurrency", "hosts or percent", errors)?;
        Some(if self.concurrency_unit == "percent" { Concurrency::Percent(n) } else { Concurrency::Fixed(n) })
    }

    /// Waves alone: their budgets and what halts is as without a rollout.
    fn rollout(&self, errors: &mut Vec<FormError>) -> Option<Rollout> {
        let mut waves = Vec::new();
        for line in self.waves.lines().map(str::trim).filter(|l| !l.is_empty()) {
            match written::wave(line) {
                Ok(wave) => waves.push(wave),
                Err(message) => errors.push(FormError { field: "waves", message }),
            }
        }
        (!waves.is_empty()).then(|| Rollout { waves, ..Rollout::default() })
    }

    /// Notes the domain's refusals at the fields they come from. The same pattern is refused once, not per package
    /// manager.
    pub fn refuse(&mut self, refused: &[FieldError]) {
        for error in refused {
            let field = self.field_of(&error.field);
            let entry = match (list_index(&error.field), field) {
                (Some(i), "excludes") => entries(&self.excludes).get(i).cloned(),
                (Some(i), "only") => entries(&self.only).get(i).cloned(),
                _ => None,
            };
            // What the form asks in its own words is refused in them, too.
            let message = match (entry, field) {
                (Some(entry), "excludes") => format!("“{entry}” {}", error.message),
                (None, "") => format!("{}: {}", error.field, error.message),
                (_, "duration") => {
                    format!("must be between {} and {} minutes", JOB_DURATION_MIN_SECS.div_ceil(60), JOB_DURATION_MAX_SECS / 60)
                }
                (_, "instances") if self.instances.trim().is_empty() => "name at least one instance".to_owned(),
                (_, "target") if error.message.starts_with("is empty") => {
                    "give at least one label, zone, name prefix or group".to_owned()
                }
                _ => error.message.clone(),
            };
            let noted = FormError { field, message };
            if !self.errors.contains(&noted) {
                self.errors.push(noted);
            }
        }
    }

    fn field_of(&self, path: &str) -> &'static str {
        let config = path.strip_prefix("patchConfig.").unwrap_or(path);
        let starts = |prefix: &str| config.starts_with(prefix);
        let manager_list = |name: &str| ["apt", "yum", "zypper"].iter().any(|m| config.starts_with(&format!("{m}.{name}")));
        if starts("displayName") {
            "displayName"
        } else if starts("description") {
            "description"
        } else if starts("compartment") {
            "compartment"
        } else if starts("soak") {
            "soak"
        } else if starts("rollout") {
            "waves"
        } else if starts("durationSecs") {
            "duration"
        } else if starts("concurrency") {
            "concurrency"
        } else if starts("instanceFilter.groupLabels") {
            "labels"
        } else if starts("instanceFilter.zones") {
            "zones"
        } else if starts("instanceFilter.instanceNamePrefixes") {
            "prefixes"
        } else if starts("instanceFilter.groups") {
            "groups"
        } else if starts("instanceFilter.query") {
            "query"
        } else if starts("advisories") || starts("cves") {
            "advisories"
        } else if starts("packages.install") {
            "install"
        } else if starts("packages.remove") {
            "remove"
        } else if starts("packages.update") {
            "update"
        } else if starts("packages") {
            "install"
        } else if starts("instanceFilter") {
            match self.target.as_str() {
                "instances" => "instances",
                _ => "target",
            }
        } else if manager_list("excludes") {
            "excludes"
        } else if manager_list("exclusive") {
            "only"
        } else if starts("preStep.linuxExecStepConfig.timeLimitSecs") {
            "preLimit"
        } else if starts("preStep") {
            "preScript"
        } else if starts("postStep.linuxExecStepConfig.timeLimitSecs") {
            "postLimit"
        } else if starts("postStep") {
            "postScript"
        } else {
            ""
        }
    }

    /// What is wrong with `field`, for the templates.
    pub fn error(&self, field: &str) -> Option<String> {
        let messages: Vec<&str> = self.errors.iter().filter(|e| e.field == field).map(|e| e.message.as_str()).collect();
        if messages.is_empty() { None } else { Some(messages.join("; ")) }
    }

    /// Does a part that is folded away hold something, so that it must be shown open?
    pub fn more_open(&self) -> bool {
        let fields = [
            "description",
            "only",
            "excludes",
            "soak",
            "waves",
            "concurrency",
            "compartment",
            "duration",
            "preScript",
            "preLimit",
            "postScript",
            "postLimit",
        ];
        let typed = [
            &self.description,
            &self.compartment,
            &self.only,
            &self.excludes,
            &self.soak,
            &self.waves,
            &self.concurrency,
            &self.duration,
            &self.pre_script,
            &self.post_script,
        ];
        self.dist
            || self.strict
            || self.soak_except_security
            || typed.iter().any(|t| !t.is_empty())
            || self.errors.iter().any(|e| fields.contains(&e.field))
    }

    /// The form of an existing job, and what the form cannot carry over, in words.
    pub fn from_spec(spec: &PatchJobSpec, key: String) -> (Self, Vec<&'static str>) {
        let f = &spec.instance_filter;
        let c = &spec.patch_config;
        let target = match (f.all, f.instances.is_empty()) {
            (true, _) => "all",
            (_, false) => "instances",
            _ => "filter",
        };
        let groups: Vec<String> = f.group_labels.iter().map(|g| super::view::labels(&g.labels).join(", ")).collect();
        let (concurrency, unit) = match spec.concurrency {
            Some(Concurrency::Fixed(n)) => (n.to_string(), "hosts"),
            Some(Concurrency::Percent(n)) => (n.to_string(), "percent"),
            None => (String::new(), "hosts"),
        };
        let reboot = match c.reboot_config {
            RebootConfig::Default => "DEFAULT",
            RebootConfig::Always => "ALWAYS",
            RebootConfig::Never => "NEVER",
        };
        let patterns = |list: &[Pattern]| list.iter().map(|p| p.0.clone()).collect::<Vec<_>>().join("\n");
        let (pre_script, pre_limit) = script_of(c.pre_step.as_ref());
        let (post_script, post_limit) = script_of(c.post_step.as_ref());
        let form = JobForm {
            display_name: spec.display_name.clone(),
            description: spec.description.clone(),
            target: target.into(),
            instances: f.instances.join("\n"),
            labels: groups.join("\n"),
            zones: f.zones.join("\n"),
            prefixes: f.instance_name_prefixes.join("\n"),
            groups: f.groups.join("\n"),
            query: f.query.clone().unwrap_or_default(),
            what: what_of(c).into(),
            advisories: c.cves.iter().chain(&c.advisories).cloned().collect::<Vec<_>>().join("\n"),
            install: c.packages.as_ref().map(|p| p.install.join("\n")).unwrap_or_default(),
            remove: c.packages.as_ref().map(|p| p.remove.join("\n")).unwrap_or_default(),
            update: c.packages.as_ref().map(|p| p.update.join("\n")).unwrap_or_default(),
            dist: c.apt.upgrade_type == AptType::Dist,
            only: c.apt.exclusive_packages.join("\n"),
            excludes: patterns(&c.apt.excludes),
            strict: c.strict_repositories,
            soak: if c.soak_days > 0 { c.soak_days.to_string() } else { String::new() },
            soak_except_security: c.soak_except_security,
            waves: spec.rollout.iter().flat_map(|r| &r.waves).filter_map(written::written).collect::<Vec<_>>().join("\n"),
            reboot: reboot.into(),
            concurrency,
            concurrency_unit: unit.into(),
            compartment: spec.compartment.clone().unwrap_or_default(),
            duration: spec.duration_secs.map(|s| s.div_ceil(60).to_string()).unwrap_or_default(),
            pre_script,
            pre_limit,
            post_script,
            post_limit,
            key,
            errors: Vec::new(),
        };
        let lost = form.lost(spec);
        (form, lost)
    }

    /// What of `spec` this form does not say: found by writing the form down again and comparing.
    fn lost(&self, spec: &PatchJobSpec) -> Vec<&'static str> {
        let Ok(again) = self.to_spec(spec.dry_run) else { return vec!["some of its settings"] };
        let (a, b) = (&again.patch_config, &spec.patch_config);
        let checks = [
            (again.instance_filter != spec.instance_filter, "part of its instance filter"),
            (again.duration_secs != spec.duration_secs, "the seconds of its duration"),
            (a.apt != b.apt, "its own apt settings"),
            (a.yum != b.yum, "its own yum and dnf settings"),
            (a.zypper != b.zypper, "its own zypper settings"),
            (a.pre_step != b.pre_step, "details of its pre-step (path, arguments, environment, success codes)"),
            (a.post_step != b.post_step, "details of its post-step (path, arguments, environment, success codes)"),
            (a.windows_update != b.windows_update, "its Windows settings"),
            (a.packages != b.packages || a.cves != b.cves || a.advisories != b.advisories, "its packages and advisories"),
            (a.update_types != b.update_types, "its types of update"),
            ((a.min_severity, a.overdue) != (b.min_severity, b.overdue), "that it goes by severity or by what is overdue"),
            (a.modules != b.modules, "its module changes"),
            (a.health_checks != b.health_checks, "its health checks"),
            (again.rollout.clone().unwrap_or_default() != spec.rollout.clone().unwrap_or_default(), "part of its rollout"),
            (
                (a.download_only, a.from_cache) != (b.download_only, b.from_cache),
                "that it downloads only or takes from the cache",
            ),
        ];
        checks.into_iter().filter(|(differs, _)| *differs).map(|(_, words)| words).collect()
    }
}

/// Which of the form's choices a job made.
fn what_of(c: &PatchConfig) -> &'static str {
    match (&c.packages, c.advisories.is_empty() && c.cves.is_empty()) {
        (Some(_), _) => "packages",
        (None, false) => "advisories",
        (None, true) if c.apt.security || c.yum.security => "security",
        (None, true) => "all",
    }
}

fn number<N: std::str::FromStr>(text: &str, field: &'static str, unit: &str, errors: &mut Vec<FormError>) -> Option<N> {
    if text.is_empty() {
        return None;
    }
    let read = text.parse().ok();
    if read.is_none() {
        errors.push(FormError { field, message: format!("“{text}” is not a whole number of {unit}") });
    }
    read
}

/// Days, with or without the unit of the command's `--soak 7d`; empty = 0.
fn days(text: &str, errors: &mut Vec<FormError>) -> u32 {
    number(text.trim_end_matches('d'), "soak", "days", errors).unwrap_or_default()
}

/// Reads label groups: one per line, labels of a group separated by commas.
fn read_groups(text: &str, errors: &mut Vec<FormError>) -> Vec<GroupLabel> {
    let mut groups = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        match read_labels(line) {
            Ok(labels) => groups.push(GroupLabel { labels }),
            Err(message) => errors.push(FormError { field: "labels", message }),
        }
    }
    groups
}

/// Reads `env=prod, role=web`.
pub fn read_labels(text: &str) -> Result<Labels, String> {
    let mut labels = Labels::new();
    for entry in entries(text) {
        match entry.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                labels.insert(key.trim().to_owned(), value.trim().to_owned());
            }
            _ => return Err(format!("“{entry}” is not written as key=value")),
        }
    }
    Ok(labels)
}

fn step(script: &str, limit: &str, limit_field: &'static str, errors: &mut Vec<FormError>) -> Option<ExecStep> {
    let time_limit_secs = number(limit, limit_field, "seconds", errors);
    if script.trim().is_empty() {
        return None;
    }
    let interpreter = if script.starts_with("#!") { Interpreter::None } else { Interpreter::Shell };
    let config = ExecStepConfig { script: Some(script.to_owned()), interpreter, time_limit_secs, ..ExecStepConfig::default() };
    Some(ExecStep { linux_exec_step_config: Some(config), windows_exec_step_config: None })
}

fn script_of(step: Option<&ExecStep>) -> (String, String) {
    let Some(config) = step.and_then(|s| s.linux_exec_step_config.as_ref()) else { return Default::default() };
    (config.script.clone().unwrap_or_default(), config.time_limit_secs.map(|s| s.to_string()).unwrap_or_default())
}

/// The number in the first `[…]` of a field path.
fn list_index(path: &str) -> Option<usize> {
    let (_, rest) = path.split_once('[')?;
    rest.split_once(']')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> JobForm {
        JobForm { instances: "web-1\nweb-2".into(), ..JobForm::new("k".into()) }
    }

    #[test]
    fn security_updates_mean_security_for_every_package_manager() {
        let spec = form().to_spec(true).expect("a job");
        assert!(spec.dry_run && spec.patch_config.apt.security && spec.patch_config.yum.security);
        assert_eq!(spec.patch_config.zypper.categories, ["security"]);
        assert_eq!(spec.instance_filter.instances, ["web-1", "web-2"]);
        assert!(super::super::view::is_security_only(&spec));
        spec.validate().expect("valid");
    }

    #[test]
    fn all_updates_take_what_no_advisory_names() {
        let all = JobForm { what: "all".into(), ..form() }.to_spec(false).expect("a job");
        assert!(!all.patch_config.apt.security && !all.patch_config.yum.security && all.patch_config.zypper.with_update);
        all.validate().expect("valid");
    }

    #[test]
    fn only_these_packages_is_the_whole_selection() {
        let spec = JobForm { only: "openssl, zlib".into(), ..form() }.to_spec(false).expect("a job");
        assert_eq!(spec.patch_config.apt.exclusive_packages, ["openssl", "zlib"]);
        assert!(!spec.patch_config.yum.security && spec.patch_config.zypper.categories.is_empty());
        spec.validate().expect("valid");
        let both = JobForm { only: "openssl".into(), excludes: "zlib".into(), ..form() }.to_spec(false);
        assert_eq!(both.expect_err("refused")[0].field, "only");
    }

    #[test]
    fn a_script_without_a_first_line_goes_to_the_shell() {
        let spec = JobForm { pre_script: "echo hi\n".into(), post_script: "#!/usr/bin/python3\n".into(), ..form() }
            .to_spec(false)
            .expect("a job");
        let interpreter = |s: Option<ExecStep>| s.and_then(|s| s.linux_exec_step_config).map(|c| c.interpreter);
        assert_eq!(interpreter(spec.patch_config.pre_step), Some(Interpreter::Shell));
        assert_eq!(interpreter(spec.patch_config.post_step), Some(Interpreter::None));
    }

    #[test]
    fn refusals_stand_at_their_fields_once() {
        let mut form = JobForm {
            instances: String::new(),
            excludes: "ok*\n/(/".into(),
            duration: "0".into(),
            concurrency: "0".into(),
            pre_limit: "999999".into(),
            pre_script: "true".into(),
            ..form()
        };
        let refused = form.to_spec(false).expect("can be written down").validate().expect_err("refused");
        form.refuse(&refused.errors);
        let fields: Vec<_> = form.errors.iter().map(|e| e.field).collect();
        assert_eq!(fields, ["instances", "duration", "concurrency", "excludes", "preLimit"]);
        assert!(form.error("excludes").expect("refused").starts_with("“/(/” is not a valid regular expression"));
        assert_eq!(form.error("duration").as_deref(), Some("must be between 1 and 10080 minutes"));
        assert_eq!(form.error("instances").as_deref(), Some("name at least one instance"));
        assert!(form.more_open());
    }

    #[test]
    fn soak_and_waves_are_those_of_the_command() {
        let typed = JobForm { soak: "14d".into(), waves: "canary=1,bake=10m\n\n others=zone=a ".into(), ..form() };
        let spec = typed.to_spec(false).expect("a job");
        assert_eq!((spec.patch_config.soak_days, spec.patch_config.soak_except_security), (14, false));
        let names: Vec<String> = spec.rollout.iter().flat_map(|r| &r.waves).map(|w| w.name.clone()).collect();
        assert_eq!(names, ["canary", "others"]);
        spec.validate().expect("valid");
        let errors = JobForm { soak: "soon".into(), waves: "canary=many".into(), ..form() }.to_spec(false).expect_err("refused");
        let mut fields: Vec<_> = errors.iter().map(|e| e.field).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["soak", "waves"]);
        let mut odd = JobForm { soak: "999".into(), waves: "a\nb".into(), ..form() };
        let refused = odd.to_spec(false).expect("can be written down").validate().expect_err("refused");
        odd.refuse(&refused.errors);
        assert!(odd.error("soak").is_some() && odd.error("waves").is_some() && odd.more_open(), "{:?}", odd.errors);
    }

    #[test]
    fn what_is_not_a_number_is_refused_before_the_domain_sees_it() {
        let errors = JobForm { duration: "1 h".into(), concurrency: "-1".into(), ..form() }.to_spec(false).expect_err("refused");
        let fields: Vec<_> = errors.iter().map(|e| e.field).collect();
        assert_eq!(fields, ["duration", "concurrency"]);
        let labels = JobForm { target: "filter".into(), labels: "env".into(), ..form() }.to_spec(false).expect_err("refused");
        assert_eq!(labels[0].field, "labels");
    }

    #[test]
    fn a_job_comes_back_as_it_was_typed() {
        let typed = JobForm {
            display_name: "Thursday".into(),
            target: "filter".into(),
            instances: String::new(),
            labels: "env=prod, role=web\nenv=dev".into(),
            zones: "z1".into(),
            prefixes: "web-".into(),
            query: "package openssl < 3".into(),
            excludes: "kernel*\n/^lib/".into(),
            concurrency: "10".into(),
            concurrency_unit: "percent".into(),
            duration: "90".into(),
            pre_script: "true\n".into(),
            pre_limit: "30".into(),
            reboot: "NEVER".into(),
            strict: true,
            dist: true,
            soak: "7".into(),
            soak_except_security: true,
            waves: "canary=1,bake=600s\nrest".into(),
            ..form()
        };
        let (again, lost) = JobForm::from_spec(&typed.to_spec(false).expect("a job"), "k".into());
        assert_eq!(again, typed);
        assert!(lost.is_empty(), "{lost:?}");
    }

    #[test]
    fn what_the_form_cannot_say_is_named() {
        let json = r#"{"instanceFilter":{"instances":["a"],"zones":["z"]},"patchConfig":{"yum":{"minimal":true},
            "preStep":{"linuxExecStepConfig":{"localPath":"/bin/true"}}}}"#;
        let (_, lost) = JobForm::from_spec(&serde_json::from_str(json).expect("a spec"), "k".into());
        assert_eq!(lost.len(), 4, "{lost:?}");
        assert!(lost.iter().any(|w| w.contains("pre-step")));
    }
}

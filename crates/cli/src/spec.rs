//! A patch job's spec from flags and a file. A flag may add to the file; a flag that says something else than the file
//! is refused, because either of the two could be the mistake. Absent on purpose: judging the spec (the server does,
//! field by field).

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use drydock_domain::limits::SCRIPT_MAX_BYTES;
use drydock_domain::patch::filter::InstanceFilter;
use drydock_domain::patch::operation::UpdateType;
use drydock_domain::patch::spec::{Concurrency, PatchConfig, PatchJobSpec, RebootConfig};
use drydock_domain::rollout::Rollout;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::args::rollout::RolloutArgs;
use crate::args::spec::{HostArgs, JobArgs, PackageArgs, SpecArgs, StepArgs, UpdateArgs};
use crate::failure::Failure;
use crate::world::World;

/// Largest spec file, bytes: two inline scripts and the longest lists fit several times.
const FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Which flags make which field: for "said twice" and for naming the flag beside a field the server refuses. Longer
/// paths before their beginnings.
const FLAGS: &[(&str, &str)] = &[
    ("displayName", "--name"),
    ("description", "--description"),
    ("oneTimeSchedule", "--once"),
    ("recurringSchedule.timeZone", "--time-zone"),
    ("recurringSchedule.startTime", "--start"),
    ("recurringSchedule.endTime", "--end"),
    ("recurringSchedule.timeOfDay", "--at"),
    ("recurringSchedule.weekly", "--weekly"),
    ("recurringSchedule.monthly.weekDayOfMonth.dayOffset", "--offset"),
    ("recurringSchedule.monthly", "--monthly"),
    ("recurringSchedule", "--daily, --weekly, --monthly"),
    ("overlap", "--overlap"),
    ("catchUpSecs", "--catch-up"),
    ("instanceFilter.all", "--all"),
    ("instanceFilter.groupLabels", "--label, --group"),
    ("instanceFilter.zones", "--zone"),
    ("instanceFilter.instances", "--instance"),
    ("instanceFilter.instanceNamePrefixes", "--name-prefix"),
    ("instanceFilter.groups", "--in-group"),
    ("instanceFilter.query", "--filter"),
    ("instanceFilter", "--all, --label, --group, --zone, --instance, --name-prefix, --in-group, --filter"),
    ("compartment", "--compartment"),
    ("dryRun", "--dry-run"),
    ("schedule.timeZone", "--time-zone"),
    ("schedule.startTime", "--start"),
    ("schedule.endTime", "--end"),
    ("schedule.timeOfDay", "--at"),
    ("schedule.weekly", "--weekly"),
    ("schedule.monthly.weekDayOfMonth.dayOffset", "--offset"),
    ("schedule.monthly", "--monthly"),
    ("schedule", "--daily, --weekly, --monthly"),
    ("periods", "--period"),
    ("slots", "--slots"),
    ("expirySecs", "--expiry"),
    ("durationSecs", "--duration"),
    ("concurrency", "--concurrency"),
    ("rollout.waves", "--wave"),
    ("rollout.mode", "--zone-by-zone"),
    ("rollout.disruptionBudget", "--budget"),
    ("rollout.haltAfter", "--halt-after"),
    ("rollout.undoFailedWave", "--undo-failed-wave"),
    ("rollout.requireApproval", "--require-approval"),
    ("rollout.ignoreWindows", "--ignore-windows"),
    ("rollout.catchUpSecs", "--late-hosts"),
    ("rollout.newestContent", "--newest-content"),
    ("rollout.seed", "--seed"),
    ("rollout", "--rollout"),
    ("patchConfig.rebootConfig", "--reboot"),
    ("patchConfig.strictRepositories", "--strict-repositories"),
    ("patchConfig.soakDays", "--soak"),
    ("patchConfig.soakExceptSecurity", "--soak-except-security"),
    ("patchConfig.packages.install", "--install"),
    ("patchConfig.packages.remove", "--remove"),
    ("patchConfig.packages.update", "--update"),
    ("patchConfig.packages", "--install, --remove, --update"),
    ("patchConfig.modules", "--module"),
    ("patchConfig.updateTypes", "--type"),
    ("patchConfig.advisories", "--advisory"),
    ("patchConfig.cves", "--cve"),
    ("patchConfig.minSeverity", "--min-severity"),
    ("patchConfig.overdue", "--overdue"),
    ("patchConfig.downloadOnly", "--download-only"),
    ("patchConfig.fromCache", "--from-cache"),
    ("patchConfig.healthChecks.withinSecs", "--health-within"),
    ("patchConfig.healthChecks.settleSecs", "--health-settle"),
    ("patchConfig.healthChecks", "--health-check"),
    ("patchConfig.apt.type", "--apt-dist"),
    ("patchConfig.apt.security", "--security, --apt-security"),
    ("patchConfig.apt.excludes", "--exclude, --apt-exclude"),
    ("patchConfig.apt.exclusivePackages", "--apt-exclusive"),
    ("patchConfig.yum.security", "--security, --yum-security"),
    ("patchConfig.yum.minimal", "--yum-minimal"),
    ("patchConfig.yum.excludes", "--exclude, --yum-exclude"),
    ("patchConfig.yum.exclusivePackages", "--yum-exclusive"),
    ("patchConfig.zypper.withOptional", "--zypper-optional"),
    ("patchConfig.zypper.withUpdate", "--zypper-update"),
    ("patchConfig.zypper.categories", "--security, --zypper-category"),
    ("patchConfig.zypper.severities", "--zypper-severity"),
    ("patchConfig.zypper.excludes", "--exclude, --zypper-exclude"),
    ("patchConfig.zypper.exclusivePatches", "--zypper-exclusive"),
    ("patchConfig.preStep.linuxExecStepConfig.script", "--pre-script"),
    ("patchConfig.preStep.linuxExecStepConfig.localPath", "--pre-path"),
    ("patchConfig.preStep.linuxExecStepConfig.interpreter", "--pre-shell"),
    ("patchConfig.preStep.linuxExecStepConfig.args", "--pre-arg"),
    ("patchConfig.preStep.linuxExecStepConfig.env", "--pre-env"),
    ("patchConfig.preStep.linuxExecStepConfig.timeLimitSecs", "--pre-time-limit"),
    ("patchConfig.preStep.linuxExecStepConfig.allowedSuccessCodes", "--pre-success-code"),
    ("patchConfig.preStep", "--pre-script, --pre-path"),
    ("patchConfig.postStep.linuxExecStepConfig.script", "--post-script"),
    ("patchConfig.postStep.linuxExecStepConfig.localPath", "--post-path"),
    ("patchConfig.postStep.linuxExecStepConfig.interpreter", "--post-shell"),
    ("patchConfig.postStep.linuxExecStepConfig.args", "--post-arg"),
    ("patchConfig.postStep.linuxExecStepConfig.env", "--post-env"),
    ("patchConfig.postStep.linuxExecStepConfig.timeLimitSecs", "--post-time-limit"),
    ("patchConfig.postStep.linuxExecStepConfig.allowedSuccessCodes", "--post-success-code"),
    ("patchConfig.postStep", "--post-script, --post-path"),
];

/// The flags that make a field of the spec, for example `--duration` for `durationSecs`.
pub fn flag_of(field: &str) -> Option<&'static str> {
    let within = |path: &str| field.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    FLAGS.iter().find(|(path, _)| within(path)).map(|(_, flag)| *flag)
}

/// What flags say: field paths and values.
pub(crate) type Settings = BTreeMap<String, Value>;

/// Makes the spec. `dry_run` is what the verb or `--dry-run` says; `false` leaves it to the file.
pub fn build(args: &SpecArgs, dry_run: bool, world: &mut World) -> Result<PatchJobSpec, Failure> {
    let mut settings = job_settings(&args.job, args.file.as_deref(), dry_run, world)?;
    settings.extend(args.name.as_ref().map(|v| ("displayName".to_owned(), json!(v))));
    let document = merged::<SpecFile>(args.file.as_deref(), "patch job", settings, world)?;
    serde_json::from_value(document).map_err(|e| Failure::Usage(format!("the patch job cannot be put together: {e}")))
}

/// What the flags of a job say. `file` is the one of `--file`.
pub(crate) fn job_settings(args: &JobArgs, file: Option<&Path>, dry_run: bool, world: &mut World) -> Result<Settings, Failure> {
    check_standard_input(args, file)?;
    let mut settings = Settings::new();
    let mut set = |path: &str, value: Option<Value>| {
        if let Some(value) = value {
            settings.insert(path.to_owned(), value);
        }
    };
    set("description", args.description.as_ref().map(|v| json!(v)));
    set("durationSecs", args.duration.map(|v| json!(v)));
    set("concurrency", args.concurrency.map(|v| json!(v)));
    set("dryRun", dry_run.then_some(Value::Bool(true)));
    set("patchConfig.rebootConfig", args.reboot.map(|v| json!(RebootConfig::from(v))));
    set("patchConfig.strictRepositories", args.strict_repositories.then_some(Value::Bool(true)));
    rollout(&args.rollout, &mut set);
    hosts(&args.hosts, &mut set);
    updates(&args.updates, &mut set);
    packages(&args.packages, &mut set);
    let health = &args.health;
    set("patchConfig.healthChecks.checks", (!health.checks.is_empty()).then(|| json!(health.checks)));
    set("patchConfig.healthChecks.withinSecs", health.within.map(|v| json!(v)));
    set("patchConfig.healthChecks.settleSecs", health.settle.map(|v| json!(v)));
    step(&args.pre.step(), "patchConfig.preStep.linuxExecStepConfig", &mut set, world)?;
    step(&args.post.step(), "patchConfig.postStep.linuxExecStepConfig", &mut set, world)?;
    if let Some(file) = &args.rollout.rollout {
        add_rollout_file(file, &mut settings, world)?;
    }
    Ok(settings)
}

/// The file, if there is one, with what flags say added. `F` is what such a file may say, `what` its name.
pub(crate) fn merged<F: DeserializeOwned>(
    file: Option<&Path>,
    what: &str,
    settings: Settings,
    world: &mut World,
) -> Result<Value, Failure> {
    let mut document = match file {
        Some(file) => read_file::<F>(file, what, "--file", world)?,
        None => json!({}),
    };
    let named = file.map_or_else(String::new, |f| f.display().to_string());
    for (path, value) in settings {
        add(&mut document, &path, value, &named)?;
    }
    if document.get("instanceFilter").is_none() {
        return Err(Failure::Usage(
            "no hosts are chosen: give --all, or --label, --group, --zone, --instance, --name-prefix, --in-group, --filter"
                .to_owned(),
        ));
    }
    Ok(document)
}

fn check_standard_input(args: &JobArgs, file: Option<&Path>) -> Result<(), Failure> {
    let files = [
        file,
        args.rollout.rollout.as_deref(),
        args.pre.step().script.map(PathBuf::as_path),
        args.post.step().script.map(PathBuf::as_path),
    ];
    if files.into_iter().flatten().filter(|f| f.as_os_str() == "-").count() > 1 {
        return Err(Failure::Usage(
            "only one of --file, --rollout, --pre-script and --post-script can be - (standard input)".to_owned(),
        ));
    }
    Ok(())
}

fn list(values: &[String]) -> Option<Value> {
    (!values.is_empty()).then(|| json!(values))
}

fn flag(value: bool) -> Option<Value> {
    value.then_some(Value::Bool(true))
}

/// What the flags of hosts say.
pub(crate) fn host_settings(args: &HostArgs) -> Settings {
    let mut settings = Settings::new();
    hosts(args, &mut |path: &str, value: Option<Value>| {
        if let Some(value) = value {
            settings.insert(path.to_owned(), value);
        }
    });
    settings
}

fn hosts(args: &HostArgs, set: &mut impl FnMut(&str, Option<Value>)) {
    let group = |pairs: &[(String, String)]| {
        let labels: Map<String, Value> = pairs.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        json!({ "labels": labels })
    };
    let groups =
        if args.labels.is_empty() { args.groups.iter().map(|g| group(&g.0)).collect() } else { vec![group(&args.labels)] };
    set("instanceFilter.all", flag(args.all));
    set("instanceFilter.groupLabels", (!groups.is_empty()).then_some(Value::Array(groups)));
    set("instanceFilter.zones", list(&args.zones));
    set("instanceFilter.instances", list(&args.instances));
    set("instanceFilter.instanceNamePrefixes", list(&args.name_prefixes));
    set("instanceFilter.groups", list(&args.in_groups));
    set("instanceFilter.query", args.filter.as_ref().map(|v| json!(v)));
    set("compartment", args.compartment.as_ref().map(|v| json!(v)));
}

fn rollout(args: &RolloutArgs, set: &mut impl FnMut(&str, Option<Value>)) {
    set("rollout.waves", (!args.waves.is_empty()).then(|| json!(args.waves)));
    set("rollout.mode", args.zone_by_zone.then(|| json!("ZONE_BY_ZONE")));
    set("rollout.disruptionBudget", args.budget.map(|v| json!(v)));
    set("rollout.haltAfter", args.halt_after.map(|v| json!(v)));
    set("rollout.undoFailedWave", flag(args.undo_failed_wave));
    set("rollout.requireApproval", flag(args.require_approval));
    set("rollout.ignoreWindows", args.ignore_windows.as_ref().map(|v| json!(v)));
    set("rollout.catchUpSecs", args.late_hosts.map(|v| json!(v)));
    set("rollout.newestContent", flag(args.newest_content));
    set("rollout.seed", args.seed.map(|v| json!(v)));
}

/// What the file of `--rollout` says, beside what the flags say.
fn add_rollout_file(file: &Path, settings: &mut Settings, world: &mut World) -> Result<(), Failure> {
    let said = read_file::<Rollout>(file, "rollout", "--rollout", world)?;
    for (field, value) in said.as_object().into_iter().flatten() {
        let path = format!("rollout.{field}");
        if settings.get(&path).is_some_and(|flag| flag != value) {
            let flag = flag_of(&path).unwrap_or("a flag");
            return Err(Failure::Usage(format!("{path} is said twice: by {} and by {flag}; keep one", file.display())));
        }
        settings.insert(path, value.clone());
    }
    Ok(())
}

/// A rollout that stands alone: what the flags say; `None`: they say nothing.
pub fn rollout_alone(args: &RolloutArgs, world: &mut World) -> Result<Option<Rollout>, Failure> {
    let mut settings = Settings::new();
    rollout(args, &mut |path: &str, value: Option<Value>| {
        if let Some(value) = value {
            settings.insert(path.to_owned(), value);
        }
    });
    if let Some(file) = &args.rollout {
        add_rollout_file(file, &mut settings, world)?;
    }
    if settings.is_empty() {
        return Ok(None);
    }
    let fields: Map<String, Value> =
        settings.into_iter().map(|(path, value)| (path.trim_start_matches("rollout.").to_owned(), value)).collect();
    serde_json::from_value(Value::Object(fields))
        .map(Some)
        .map_err(|e| Failure::Usage(format!("the rollout cannot be put together: {e}")))
}

fn updates(args: &UpdateArgs, set: &mut impl FnMut(&str, Option<Value>)) {
    let with_all = |own: &[String]| list(&[args.excludes.as_slice(), own].concat());
    set("patchConfig.soakDays", args.soak.map(|v| json!(v)));
    set("patchConfig.soakExceptSecurity", flag(args.soak_except_security));
    set("patchConfig.apt.type", args.apt_dist.then(|| json!("DIST")));
    set("patchConfig.apt.security", flag(args.security || args.apt_security));
    set("patchConfig.apt.excludes", with_all(&args.apt_excludes));
    set("patchConfig.apt.exclusivePackages", list(&args.apt_exclusive));
    set("patchConfig.yum.security", flag(args.security || args.yum_security));
    set("patchConfig.yum.minimal", flag(args.yum_minimal));
    set("patchConfig.yum.excludes", with_all(&args.yum_excludes));
    set("patchConfig.yum.exclusivePackages", list(&args.yum_exclusive));
    let mut categories = args.zypper_categories.clone();
    if args.security && !categories.iter().any(|c| c == "security") {
        categories.push("security".to_owned());
    }
    set("patchConfig.zypper.withOptional", flag(args.zypper_optional));
    set("patchConfig.zypper.withUpdate", flag(args.zypper_update));
    set("patchConfig.zypper.categories", list(&categories));
    set("patchConfig.zypper.severities", list(&args.zypper_severities));
    set("patchConfig.zypper.excludes", with_all(&args.zypper_excludes));
    set("patchConfig.zypper.exclusivePatches", list(&args.zypper_exclusive));
}

fn packages(args: &PackageArgs, set: &mut impl FnMut(&str, Option<Value>)) {
    set("patchConfig.packages.install", list(&args.install));
    set("patchConfig.packages.remove", list(&args.remove));
    set("patchConfig.packages.update", list(&args.update));
    set("patchConfig.modules", (!args.modules.is_empty()).then(|| json!(args.modules)));
    let types: Vec<UpdateType> = args.types.iter().map(|t| UpdateType::from(*t)).collect();
    set("patchConfig.updateTypes", (!types.is_empty()).then(|| json!(types)));
    set("patchConfig.advisories", list(&args.advisories));
    set("patchConfig.cves", list(&args.cves));
    set("patchConfig.minSeverity", args.min_severity.map(|s| json!(s.as_str())));
    set("patchConfig.overdue", flag(args.overdue));
    set("patchConfig.downloadOnly", flag(args.download_only));
    set("patchConfig.fromCache", flag(args.from_cache));
}

fn step(args: &StepArgs<'_>, at: &str, set: &mut impl FnMut(&str, Option<Value>), world: &mut World) -> Result<(), Failure> {
    if let Some(file) = args.script {
        // One byte more than allowed, so that the server says "too long" and not we "cut".
        let text = read_text(file, SCRIPT_MAX_BYTES as u64 + 1, &format!("the script of --{}-script", args.prefix), world)?;
        set(&format!("{at}.script"), Some(json!(text)));
    }
    let env: Map<String, Value> = args.env.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    set(&format!("{at}.localPath"), args.path.map(|v| json!(v)));
    set(&format!("{at}.interpreter"), args.shell.then(|| json!("SHELL")));
    set(&format!("{at}.args"), list(args.args));
    set(&format!("{at}.env"), (!env.is_empty()).then_some(Value::Object(env)));
    set(&format!("{at}.timeLimitSecs"), args.time_limit.map(|v| json!(v)));
    set(&format!("{at}.allowedSuccessCodes"), (!args.success_codes.is_empty()).then(|| json!(args.success_codes)));
    Ok(())
}

fn read_text(file: &Path, max: u64, what: &str, world: &mut World) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        world.input.by_ref().take(max).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(max).read_to_string(&mut text))
    };
    read.map_err(|e| Failure::Usage(format!("cannot read {what}, {}: {e}", file.display())))?;
    Ok(text)
}

/// The fields a spec file may have: [`PatchJobSpec`] with an optional filter, because flags may give it. Read first, for
/// errors with line and column.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct SpecFile {
    display_name: String,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_filter: Option<InstanceFilter>,
    dry_run: bool,
    duration_secs: Option<u64>,
    patch_config: PatchConfig,
    concurrency: Option<Concurrency>,
    rollout: Option<Rollout>,
    compartment: Option<String>,
}

impl Default for SpecFile {
    fn default() -> Self {
        // No `..`: a new field of the spec stops the build here until the file knows it too.
        let PatchJobSpec {
            display_name,
            description,
            instance_filter: _,
            dry_run,
            duration_secs,
            patch_config,
            concurrency,
            rollout,
            compartment,
        } = PatchJobSpec::default();
        SpecFile {
            display_name,
            description,
            instance_filter: None,
            dry_run,
            duration_secs,
            patch_config,
            concurrency,
            rollout,
            compartment,
        }
    }
}

/// Reads a file; the answer holds only what it says.
fn read_file<F: DeserializeOwned>(file: &Path, what: &str, flag: &str, world: &mut World) -> Result<Value, Failure> {
    let text = read_text(file, FILE_MAX_BYTES, &format!("the {what} of {flag}"), world)?;
    parse_file::<F>(&text, file.extension().is_some_and(|e| e == "json"))
        .map_err(|e| Failure::Usage(format!("{} is not a {what}: {}", file.display(), e.trim_start_matches("error: "))))
}

fn parse_file<F: DeserializeOwned>(text: &str, is_json: bool) -> Result<Value, String> {
    let value: Value = if is_json {
        serde_json::from_str::<F>(text).map_err(|e| e.to_string())?;
        serde_json::from_str(text).map_err(|e| e.to_string())?
    } else {
        serde_saphyr::from_str::<F>(text).map_err(|e| e.to_string())?;
        serde_saphyr::from_str(text).map_err(|e| e.to_string())?
    };
    match value {
        Value::Object(mut map) => {
            map.retain(|_, v| !v.is_null());
            Ok(Value::Object(map))
        }
        Value::Null => Ok(json!({})),
        _ => Err("it is not a mapping of fields".to_owned()),
    }
}

/// Puts a flag's value at its path, unless the file says something else there.
fn add(document: &mut Value, path: &str, value: Value, file: &str) -> Result<(), Failure> {
    let (folder, leaf) = path.rsplit_once('.').unwrap_or(("", path));
    let mut at = document;
    for part in folder.split('.').filter(|p| !p.is_empty()) {
        let Value::Object(map) = at else {
            return Err(Failure::Usage(format!("{file}: {folder} is not a mapping of fields")));
        };
        let next = map.entry(part).or_insert_with(|| json!({}));
        if next.is_null() {
            *next = json!({});
        }
        at = next;
    }
    let Value::Object(map) = at else {
        return Err(Failure::Usage(format!("{file}: {folder} is not a mapping of fields")));
    };
    match map.get(leaf) {
        Some(said) if !said.is_null() && *said != value => Err(Failure::Usage(format!(
            "{path} is said twice: {file} says {said}, {} says {value}; keep one",
            flag_of(path).unwrap_or("a flag")
        ))),
        _ => {
            map.insert(leaf.to_owned(), value);
            Ok(())
        }
    }
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;

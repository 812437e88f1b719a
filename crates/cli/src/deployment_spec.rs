//! A patch deployment's spec from flags and a file; the part that is a job is [`crate::spec`]'s. Absent on purpose: judging
//! it (the server does).

use drydock_domain::patch::deployment::{Overlap, PatchDeploymentSpec};
use drydock_domain::patch::filter::InstanceFilter;
use drydock_domain::patch::spec::{Concurrency, PatchConfig};
use drydock_domain::rollout::Rollout;
use drydock_domain::schedule::{MonthlySchedule, OneTimeSchedule, RecurringSchedule, WeekDayOfMonth, WeeklySchedule};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::deployment::{DeploymentArgs, MonthDay, ScheduleArgs};
use crate::failure::Failure;
use crate::spec::{Settings, job_settings, merged};
use crate::world::World;

/// The zone of times that name none.
pub(crate) const ZONE_DEFAULT: &str = "UTC";

/// Makes the spec.
pub fn build(args: &DeploymentArgs, world: &mut World) -> Result<PatchDeploymentSpec, Failure> {
    let mut settings = job_settings(&args.job, args.file.as_deref(), args.dry_run, world)?;
    settings.insert("name".to_owned(), json!(args.deployment));
    schedule(&args.schedule, &mut settings)?;
    let document = merged::<DeploymentFile>(args.file.as_deref(), "patch deployment", settings, world)?;
    if document.get("oneTimeSchedule").is_none() && document.get("recurringSchedule").is_none() {
        return Err(Failure::Usage(
            "it is not said when: give --once TIME, or --daily, --weekly DAYS or --monthly DAY with --at HH:MM".to_owned(),
        ));
    }
    serde_json::from_value(document).map_err(|e| Failure::Usage(format!("the patch deployment cannot be put together: {e}")))
}

pub(crate) fn schedule(args: &ScheduleArgs, settings: &mut Settings) -> Result<(), Failure> {
    let mut set = |path: &str, value| settings.insert(path.to_owned(), value);
    let zone = args.time_zone.as_deref().unwrap_or(ZONE_DEFAULT);
    if let Some(rule) = args.overlap {
        set("overlap", json!(Overlap::from(rule)));
    }
    if let Some(secs) = args.catch_up {
        set("catchUpSecs", json!(secs));
    }
    if let Some(once) = &args.once {
        set("oneTimeSchedule", json!(OneTimeSchedule { execute_time: time("--once", once, zone)? }));
        return Ok(());
    }
    let frequency = match (args.daily, &args.weekly, &args.monthly) {
        (true, ..) => Some("DAILY"),
        (_, Some(_), _) => Some("WEEKLY"),
        (.., Some(_)) => Some("MONTHLY"),
        _ => None,
    };
    if let Some(frequency) = frequency {
        set("recurringSchedule.frequency", json!(frequency));
    }
    if frequency.is_some() || args.time_zone.is_some() {
        set("recurringSchedule.timeZone.id", json!(zone));
    }
    if let Some(at) = args.at {
        set("recurringSchedule.timeOfDay", json!(at));
    }
    for (flag, field, text) in
        [("--start", "recurringSchedule.startTime", &args.start), ("--end", "recurringSchedule.endTime", &args.end)]
    {
        if let Some(text) = text {
            set(field, json!(time(flag, text, zone)?));
        }
    }
    if let Some(days) = &args.weekly {
        let weekly = match days.0.as_slice() {
            [one] => WeeklySchedule { day_of_week: Some(*one), days_of_week: Vec::new() },
            several => WeeklySchedule { day_of_week: None, days_of_week: several.to_vec() },
        };
        set("recurringSchedule.weekly", json!(weekly));
    }
    if let Some(day) = args.monthly {
        set("recurringSchedule.monthly", json!(monthly(day, args.offset)?));
    }
    Ok(())
}

fn monthly(day: MonthDay, offset: Option<i32>) -> Result<MonthlySchedule, Failure> {
    match (day, offset) {
        (MonthDay::Day(_), Some(_)) => {
            Err(Failure::Usage("--offset counts from a weekday of the month, such as --monthly '2nd tue'".to_owned()))
        }
        (MonthDay::Day(day), None) => Ok(MonthlySchedule { month_day: Some(day), week_day_of_month: None }),
        (MonthDay::Nth(nth), offset) => {
            let nth = WeekDayOfMonth { day_offset: offset.unwrap_or(0), ..nth };
            Ok(MonthlySchedule { month_day: None, week_day_of_month: Some(nth) })
        }
    }
}

/// A time with an offset, or one of the zone: `2026-12-01 03:00`, `2026-12-01` (its midnight).
pub(crate) fn time(flag: &str, text: &str, zone: &str) -> Result<Timestamp, Failure> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let local = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(|day| day.at(0, 0, 0, 0)));
    let local = local.map_err(|_| {
        Failure::Usage(format!(
            "{flag} {text:?} is no time; write 2026-12-01T03:00:00Z, or 2026-12-01 03:00 for one in --time-zone"
        ))
    })?;
    let zone = TimeZone::get(zone).map_err(|_| {
        Failure::Usage(format!("--time-zone {zone:?} is no time zone this machine knows; give one such as Europe/Berlin"))
    })?;
    zone.to_timestamp(local).map_err(|e| Failure::Usage(format!("{flag} {text:?} cannot be: {e}")))
}

/// The fields a file may have: [`PatchDeploymentSpec`] with everything optional that flags may give.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct DeploymentFile {
    name: String,
    description: String,
    instance_filter: Option<InstanceFilter>,
    dry_run: bool,
    duration_secs: Option<u64>,
    patch_config: PatchConfig,
    concurrency: Option<Concurrency>,
    rollout: Option<Rollout>,
    one_time_schedule: Option<OneTimeSchedule>,
    recurring_schedule: Option<RecurringSchedule>,
    overlap: Overlap,
    catch_up_secs: Option<u64>,
    compartment: Option<String>,
}

impl Default for DeploymentFile {
    fn default() -> Self {
        // No `..`: a new field of the spec stops the build here until the file knows it, too.
        let PatchDeploymentSpec {
            name,
            description,
            instance_filter: _,
            dry_run,
            duration_secs,
            patch_config,
            concurrency,
            rollout,
            one_time_schedule,
            recurring_schedule,
            overlap,
            catch_up_secs,
            compartment,
        } = PatchDeploymentSpec::default();
        DeploymentFile {
            name,
            description,
            instance_filter: None,
            dry_run,
            duration_secs,
            patch_config,
            concurrency,
            rollout,
            one_time_schedule,
            recurring_schedule,
            overlap,
            catch_up_secs,
            compartment,
        }
    }
}

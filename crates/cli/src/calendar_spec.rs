//! Windows, freezes and groups of reboot slots from flags and a file. Absent on purpose: judging them (the server does).

use drydock_domain::patch::filter::InstanceFilter;
use drydock_domain::rollout::window::FreezePeriod;
use drydock_domain::rollout::{FreezeCalendar, MaintenanceWindow, RebootSlots};
use drydock_domain::schedule::RecurringSchedule;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::calendar::{FreezeArgs, RebootSlotArgs, WindowArgs};
use crate::args::deployment::ScheduleArgs;
use crate::deployment_spec::{ZONE_DEFAULT, schedule, time};
use crate::failure::Failure;
use crate::spec::{Settings, host_settings, merged};
use crate::world::World;

/// Makes a window.
pub fn window(args: &WindowArgs, world: &mut World) -> Result<MaintenanceWindow, Failure> {
    let mut settings = host_settings(&args.hosts);
    let when = ScheduleArgs {
        daily: args.daily,
        weekly: args.weekly.clone(),
        monthly: args.monthly,
        offset: args.offset,
        at: args.at,
        time_zone: args.time_zone.clone(),
        start: args.start.clone(),
        end: args.end.clone(),
        ..ScheduleArgs::default()
    };
    let mut timed = Settings::new();
    schedule(&when, &mut timed)?;
    settings.extend(timed.into_iter().map(|(path, value)| (path.replacen("recurringSchedule", "schedule", 1), value)));
    settings.insert("name".to_owned(), json!(args.name));
    settings.extend(args.description.as_ref().map(|v| ("description".to_owned(), json!(v))));
    settings.extend(args.length.map(|v| ("durationSecs".to_owned(), json!(v))));
    let document = merged::<WindowFile>(args.file.as_deref(), "maintenance window", settings, world)?;
    for (field, flags) in
        [("schedule", "--daily, --weekly DAYS or --monthly DAY with --at HH:MM"), ("durationSecs", "--for DURATION")]
    {
        if document.get(field).is_none() {
            return Err(Failure::Usage(format!("it is not said when the window is open: give {flags}")));
        }
    }
    read(document, "maintenance window")
}

/// Makes a freeze calendar.
pub fn freeze(args: &FreezeArgs, world: &mut World) -> Result<FreezeCalendar, Failure> {
    let zone = args.time_zone.as_deref().unwrap_or(ZONE_DEFAULT);
    let mut periods = Vec::new();
    for text in &args.periods {
        let (range, reason) = text.split_once('=').unwrap_or((text, ""));
        let (from, to) = range.split_once('/').ok_or_else(|| {
            Failure::Usage(format!("--period {text:?} is not FROM/TO, such as 2026-12-20/2027-01-04=closing of the books"))
        })?;
        let (from, to) = (time("--period", from.trim(), zone)?, time("--period", to.trim(), zone)?);
        periods.push(FreezePeriod { from, to, reason: reason.trim().to_owned() });
    }
    let mut settings = host_settings(&args.hosts);
    settings.insert("name".to_owned(), json!(args.name));
    settings.extend(args.description.as_ref().map(|v| ("description".to_owned(), json!(v))));
    if !periods.is_empty() {
        settings.insert("periods".to_owned(), json!(periods));
    }
    let document = merged::<FreezeFile>(args.file.as_deref(), "freeze calendar", settings, world)?;
    if document.get("periods").is_none() {
        return Err(Failure::Usage("it is not said when: give --period FROM/TO".to_owned()));
    }
    read(document, "freeze calendar")
}

/// Makes a group of reboot slots.
pub fn reboot_slots(args: &RebootSlotArgs, world: &mut World) -> Result<RebootSlots, Failure> {
    let mut settings = host_settings(&args.hosts);
    settings.insert("name".to_owned(), json!(args.name));
    settings.extend(args.description.as_ref().map(|v| ("description".to_owned(), json!(v))));
    settings.extend(args.slots.map(|v| ("slots".to_owned(), json!(v))));
    settings.extend(args.expiry.map(|v| ("expirySecs".to_owned(), json!(v))));
    let document = merged::<SlotsFile>(args.file.as_deref(), "group of reboot slots", settings, world)?;
    if document.get("slots").is_none() {
        return Err(Failure::Usage("it is not said how many hosts may reboot at a time: give --slots N".to_owned()));
    }
    read(document, "group of reboot slots")
}

fn read<T: DeserializeOwned>(document: serde_json::Value, what: &str) -> Result<T, Failure> {
    serde_json::from_value(document).map_err(|e| Failure::Usage(format!("the {what} cannot be put together: {e}")))
}

/// The fields a file may have: [`MaintenanceWindow`] with everything optional.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct WindowFile {
    name: String,
    description: String,
    instance_filter: Option<InstanceFilter>,
    schedule: Option<RecurringSchedule>,
    duration_secs: Option<u64>,
    compartment: Option<String>,
}

/// The fields a file may have: [`FreezeCalendar`] with everything optional.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct FreezeFile {
    name: String,
    description: String,
    instance_filter: Option<InstanceFilter>,
    periods: Option<Vec<FreezePeriod>>,
    compartment: Option<String>,
}

/// The fields a file may have: [`RebootSlots`] with everything optional.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct SlotsFile {
    name: String,
    description: String,
    instance_filter: Option<InstanceFilter>,
    slots: Option<u32>,
    expiry_secs: Option<u64>,
    compartment: Option<String>,
}

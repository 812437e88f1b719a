//! Maintenance windows, freeze calendars and groups of reboot slots.

use comfy_table::Table;
use drydock_api::rest::{FreezeCalendarView, MaintenanceWindowView, Opening, RebootSlotGroup};
use drydock_domain::patch::filter::InstanceFilter;
use drydock_domain::rollout::MaintenanceWindow;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{facts, some};
use crate::text::{ago, clean, or_dash, plural, render, table, took};

fn opening(opening: Option<&Opening>, of: &MaintenanceWindow, now: Timestamp) -> String {
    match opening {
        None => "never again".to_owned(),
        Some(o) if o.from <= now => format!("open, closes {}", ago(o.to, now)),
        Some(o) => format!("{} ({})", local(o.from, of), ago(o.from, now)),
    }
}

/// A moment in the window's zone; in UTC, and said so, when this machine does not know it.
fn local(moment: Timestamp, of: &MaintenanceWindow) -> String {
    let id = &of.schedule.time_zone.id;
    match TimeZone::get(id) {
        Ok(zone) => format!("{} {}", moment.to_zoned(zone).strftime("%a %Y-%m-%d %H:%M"), clean(id)),
        Err(_) => at(moment),
    }
}

fn at(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn secs(n: u64) -> String {
    took(i64::try_from(n).unwrap_or(i64::MAX))
}

/// The filter in one line, as its JSON says it.
fn hosts(filter: &InstanceFilter) -> String {
    if filter.all {
        return "all".to_owned();
    }
    let mut parts = Vec::new();
    for group in &filter.group_labels {
        parts.push(group.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" and "));
    }
    for (what, list) in [
        ("zone", &filter.zones),
        ("host", &filter.instances),
        ("name prefix", &filter.instance_name_prefixes),
        ("group", &filter.groups),
    ] {
        if !list.is_empty() {
            parts.push(format!("{what} {}", list.join(", ")));
        }
    }
    parts.extend(filter.query.clone());
    clean(&parts.join("; "))
}

/// The list of windows.
pub fn windows(items: &[MaintenanceWindowView], now: Timestamp) -> Table {
    let mut rows = table(&["NAME", "HOSTS", "TIME ZONE", "FOR", "NEXT OPENING"]);
    for item in items {
        rows.add_row([
            clean(&item.spec.name),
            hosts(&item.spec.instance_filter),
            clean(&item.spec.schedule.time_zone.id),
            secs(item.spec.duration_secs),
            opening(item.openings.first(), &item.spec, now),
        ]);
    }
    rows
}

/// One window.
pub fn window(item: &MaintenanceWindowView, now: Timestamp) -> String {
    let mut text = format!("Maintenance window {}\n", clean(&item.spec.name))
        + &facts(&[
            ("description", some(&item.spec.description)),
            ("hosts", Some(hosts(&item.spec.instance_filter))),
            ("opens", Some(clean(&item.spec.schedule.to_string()))),
            ("open for", Some(secs(item.spec.duration_secs))),
            ("compartment", super::patch::compartment(&item.compartment)),
            ("made", Some(format!("{} by {}", ago(item.created_at, now), clean(&item.created_by)))),
        ]);
    text += "  openings\n";
    for one in &item.openings {
        text += &format!("    {} to {}\n", local(one.from, &item.spec), local(one.to, &item.spec));
    }
    text
}

/// The list of freezes.
pub fn freezes(items: &[FreezeCalendarView], now: Timestamp) -> Table {
    let mut rows = table(&["NAME", "HOSTS", "NOW", "NEXT PERIOD"]);
    for item in items {
        let next = item.spec.periods.iter().filter(|p| p.from > now).min_by_key(|p| p.from);
        rows.add_row([
            clean(&item.spec.name),
            hosts(&item.spec.instance_filter),
            if item.frozen { "FROZEN" } else { "-" }.to_owned(),
            next.map_or_else(|| "-".to_owned(), |p| format!("{} ({})", at(p.from), ago(p.from, now))),
        ]);
    }
    rows
}

/// One freeze.
pub fn freeze(item: &FreezeCalendarView, now: Timestamp) -> String {
    let mut text = format!("Freeze calendar {}\n", clean(&item.spec.name))
        + &facts(&[
            ("description", some(&item.spec.description)),
            ("hosts", Some(hosts(&item.spec.instance_filter))),
            ("now", Some(if item.frozen { "frozen" } else { "not frozen" }.to_owned())),
            ("compartment", super::patch::compartment(&item.compartment)),
            ("made", Some(format!("{} by {}", ago(item.created_at, now), clean(&item.created_by)))),
        ]);
    text += "  periods\n";
    for one in &item.spec.periods {
        text += format!("    {} to {}  {}", at(one.from), at(one.to), clean(&one.reason)).trim_end();
        text.push('\n');
    }
    text
}

/// The list of groups of reboot slots.
pub fn slot_groups(items: &[RebootSlotGroup]) -> Table {
    let mut rows = table(&["NAME", "HOSTS", "SLOTS", "TAKEN", "EXPIRY", "HELD BY"]);
    for item in items {
        let held: Vec<&str> = item.holders.iter().map(|h| h.instance_name.as_str()).collect();
        rows.add_row([
            clean(&item.spec.name),
            hosts(&item.spec.instance_filter),
            item.spec.slots.to_string(),
            item.holders.len().to_string(),
            secs(item.spec.expiry_secs),
            or_dash(&held.join(", ")),
        ]);
    }
    rows
}

/// One group of reboot slots.
pub fn slot_group(item: &RebootSlotGroup, now: Timestamp) -> String {
    let taken = format!("{} of {} taken", item.holders.len(), plural(item.spec.slots as usize, "slot"));
    let mut text = format!("Group of reboot slots {}\n", clean(&item.spec.name))
        + &facts(&[
            ("description", some(&item.spec.description)),
            ("hosts", Some(hosts(&item.spec.instance_filter))),
            ("slots", Some(taken)),
            ("expiry", Some(secs(item.spec.expiry_secs))),
            ("compartment", super::patch::compartment(&item.compartment)),
            ("made", Some(format!("{} by {}", ago(item.created_at, now), clean(&item.created_by)))),
        ]);
    if !item.holders.is_empty() {
        let mut rows = table(&["HOST", "SINCE", "FREE AGAIN", "WHY"]);
        for holder in &item.holders {
            rows.add_row([clean(&holder.instance_name), ago(holder.since, now), ago(holder.expires_at, now), clean(&holder.why)]);
        }
        text += &render(rows, 2, false);
    }
    text
}

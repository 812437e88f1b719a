//! Enrolment profiles.

use comfy_table::Table;
use drydock_api::rest::EnrolmentProfile;
use jiff::Timestamp;

use super::{facts, some};
use crate::text::{ago, ago_or, clean, labels, or_dash, state_cell, table};

fn state(profile: &EnrolmentProfile, now: Timestamp) -> &'static str {
    let spec = &profile.spec;
    if profile.revoked {
        "REVOKED"
    } else if spec.expires_at.is_some_and(|end| end <= now) {
        "EXPIRED"
    } else if spec.max_uses.is_some_and(|max| profile.uses >= max) {
        "USED_UP"
    } else {
        "ACTIVE"
    }
}

fn uses(profile: &EnrolmentProfile) -> String {
    match profile.spec.max_uses {
        Some(max) => format!("{} of {max}", profile.uses),
        None => profile.uses.to_string(),
    }
}

/// The list.
pub fn profiles(items: &[EnrolmentProfile], now: Timestamp) -> Table {
    let mut rows = table(&["ID", "NAME", "STATE", "USES", "EXPIRES", "ACCEPT", "LABELS", "ZONE"]);
    for profile in items {
        let spec = &profile.spec;
        rows.add_row([
            profile.id.to_string().into(),
            clean(&spec.display_name).into(),
            state_cell(state(profile, now)),
            uses(profile).into(),
            ago_or(spec.expires_at, now, "never").into(),
            if spec.auto_accept { "auto" } else { "by hand" }.into(),
            labels(&spec.labels).into(),
            or_dash(&spec.zone).into(),
        ]);
    }
    rows
}

/// One profile.
pub fn profile(profile: &EnrolmentProfile, now: Timestamp) -> String {
    let spec = &profile.spec;
    let head = format!("Enrolment profile {}\n", clean(&spec.display_name));
    head + &facts(&[
        ("id", Some(profile.id.to_string())),
        ("state", Some(state(profile, now).to_owned())),
        ("description", some(&spec.description)),
        ("uses", Some(uses(profile))),
        ("expires", Some(ago_or(spec.expires_at, now, "never"))),
        ("hosts are", Some(if spec.auto_accept { "active at once" } else { "accepted by hand" }.to_owned())),
        ("labels", Some(labels(&spec.labels))),
        ("zone", some(&spec.zone)),
        ("compartment", Some(clean(&spec.compartment))),
        ("made", Some(format!("{} by {}", ago(profile.created_at, now), clean(&profile.created_by)))),
    ])
}

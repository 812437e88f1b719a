//! Managed instance groups.

use comfy_table::Table;
use drydock_api::rest::{Group, GroupMember};
use jiff::Timestamp;

use super::{facts, some};
use crate::text::{ago, clean, or_dash, state_cell, table};

/// The list.
pub fn groups(items: &[Group]) -> Table {
    let mut rows = table(&["NAME", "HOSTS", "SYSTEM", "ENVIRONMENT", "ATTACHED", "DESCRIPTION"]);
    for group in items {
        rows.add_row([
            clean(&group.spec.name),
            group.instances.to_string(),
            or_dash(&group.family.as_ref().map(ToString::to_string).unwrap_or_default()),
            or_dash(group.spec.environment.as_deref().unwrap_or_default()),
            or_dash(&group.sources.join(" ")),
            or_dash(&group.spec.description),
        ]);
    }
    rows
}

/// One group, without its members.
pub fn group(found: &Group, now: Timestamp) -> String {
    let mut text = format!("Group {}\n", clean(&found.spec.name));
    let family = found.family.as_ref().map(|f| clean(&f.to_string()));
    text += &facts(&[
        ("description", some(&found.spec.description)),
        ("system", Some(family.unwrap_or_else(|| "that of its first host".to_owned()))),
        ("environment", Some(found.spec.environment.as_deref().map_or_else(|| "none: newest snapshots".to_owned(), clean))),
        ("hosts", Some(found.instances.to_string())),
        ("attached", some(&found.sources.join(", "))),
        ("made", Some(format!("{} by {}", ago(found.created_at, now), clean(&found.created_by)))),
    ]);
    text
}

/// Its members.
pub fn members(items: &[GroupMember]) -> Table {
    let mut rows = table(&["HOST", "STATE", "SYSTEM", "DIFFERS"]);
    for member in items {
        let differs = or_dash(member.differs.as_deref().unwrap_or_default());
        rows.add_row([clean(&member.name).into(), state_cell(member.state.as_str()), or_dash(&member.os).into(), differs.into()]);
    }
    rows
}

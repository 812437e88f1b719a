//! Managed instance groups.

use comfy_table::Table;
use drydock_api::rest::{AddedMembers, Group, GroupMember, LeftOutInstance};
use jiff::Timestamp;

use super::{facts, some};
use crate::text::{ago, clean, or_dash, plural, state_cell, table};

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
        ("compartment", found.spec.compartment.as_deref().and_then(some)),
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

/// How many hosts a group has, and of which kind.
pub fn filled(group: &Group) -> String {
    let hosts = plural(usize::try_from(group.instances).unwrap_or(usize::MAX), "host");
    let family = group.family.as_ref().map(|f| format!(", all {}", clean(&f.to_string()))).unwrap_or_default();
    format!("{}: {hosts}{family}", clean(&group.spec.name))
}

/// What became of the hosts that match a filter, without those that are left out.
pub fn added(done: &AddedMembers, dry_run: bool) -> String {
    let verb = if dry_run { "would be put in" } else { "put in" };
    let there = format!("{} in it before", done.already_members);
    let mut text = format!("{}; {} {verb}, {there}, {} left out\n", filled(&done.group), done.added_total, done.left_out_total);
    if dry_run && !done.added.is_empty() {
        let names: Vec<String> = done.added.iter().map(|host| clean(&host.name)).collect();
        text += &format!("would be put in: {}\n", names.join(" "));
    }
    text
}

/// Hosts that match and do not fit.
pub fn left_out(items: &[LeftOutInstance]) -> Table {
    let mut rows = table(&["LEFT OUT", "WHY"]);
    for host in items {
        rows.add_row([clean(&host.name), clean(&host.why)]);
    }
    rows
}

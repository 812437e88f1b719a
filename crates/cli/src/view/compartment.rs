//! Compartments, policies of access statements, dynamic groups, decisions.

use comfy_table::Table;
use drydock_api::rest::{AccessPolicy, Compartment, DynamicGroup, HoldingAccount, HoldingStatement};
use jiff::Timestamp;

use super::{facts, some};
use crate::text::{ago, clean, or_dash, plural, table};

/// The list of compartments.
pub fn compartments(items: &[Compartment]) -> Table {
    let mut rows = table(&["PATH", "ID", "DESCRIPTION"]);
    for own in items {
        rows.add_row([clean(&own.path), clean(&own.id), or_dash(&own.description)]);
    }
    rows
}

/// One compartment.
pub fn compartment(own: &Compartment, now: Timestamp) -> String {
    let mut text = format!("Compartment {}\n", clean(&own.path));
    text += &facts(&[
        ("id", some(&own.id)),
        ("description", some(&own.description)),
        ("made", Some(format!("{} by {}", ago(own.created_at, now), clean(&own.created_by)))),
    ]);
    text
}

/// The list of policies.
pub fn policies(items: &[AccessPolicy]) -> Table {
    let mut rows = table(&["NAME", "COMPARTMENT", "STATEMENTS", "MADE BY", "DESCRIPTION"]);
    for own in items {
        let lines = own.statements.lines().filter(|line| !line.trim().is_empty()).count();
        rows.add_row([
            clean(&own.name),
            clean(&own.compartment),
            plural(lines, "line"),
            clean(&own.created_by),
            or_dash(&own.description),
        ]);
    }
    rows
}

/// One policy.
pub fn policy(own: &AccessPolicy, now: Timestamp) -> String {
    let mut text = format!("Access policy {}\n", clean(&own.name));
    let made = if own.builtin {
        "comes with the program and does not change".to_owned()
    } else {
        format!("{} by {}, last edited {}", ago(own.created_at, now), clean(&own.created_by), ago(own.updated_at, now))
    };
    text += &facts(&[("compartment", some(&own.compartment)), ("description", some(&own.description)), ("made", Some(made))]);
    text.push('\n');
    for line in own.statements.lines() {
        text += &format!("  {}\n", clean(line));
    }
    text
}

/// The list of dynamic groups.
pub fn dynamic_groups(items: &[DynamicGroup]) -> Table {
    let mut rows = table(&["NAME", "RULES", "DESCRIPTION"]);
    for own in items {
        rows.add_row([clean(&own.name), clean(&own.rules), or_dash(&own.description)]);
    }
    rows
}

/// One dynamic group.
pub fn dynamic_group(own: &DynamicGroup, now: Timestamp) -> String {
    let mut text = format!("Dynamic group {}\n", clean(&own.name));
    let which = if own.match_all { "all of them" } else { "any of them" };
    text += &facts(&[
        ("id", some(&own.id)),
        ("description", some(&own.description)),
        ("rules", some(&own.rules)),
        ("match", Some(which.to_owned())),
        ("made", Some(format!("{} by {}", ago(own.created_at, now), clean(&own.created_by)))),
    ]);
    text
}

/// Accounts that hold a permission.
pub fn accounts(items: &[HoldingAccount]) -> Table {
    let mut rows = table(&["WHO", "KIND", "BY"]);
    for own in items {
        rows.add_row([clean(&own.name), clean(&own.kind), clean(&own.by)]);
    }
    rows
}

/// Statements that give or take a permission.
pub fn holding(items: &[HoldingStatement]) -> Table {
    let mut rows = table(&["EFFECT", "POLICY", "STATEMENT"]);
    for own in items {
        let effect = match (own.denies, own.conditional) {
            (true, true) => "denies, under its condition",
            (true, false) => "denies",
            (false, true) => "allows, under its condition",
            (false, false) => "allows",
        };
        rows.add_row([effect.to_owned(), format!("{}:{}", clean(&own.policy), own.line), clean(&own.statement)]);
    }
    rows
}

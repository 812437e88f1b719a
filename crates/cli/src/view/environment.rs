//! Lifecycle environments and promotions.

use comfy_table::Table;
use drydock_api::rest::{Environment, OfferedUpgrade, PointerMove, PromotionMove, SnapshotRef};
use jiff::Timestamp;

use super::{facts, some};
use crate::text::{ago, clean, or_dash, plural, table};

/// Host names shown of one move; the JSON has up to 100.
const HOSTS_SHOWN: usize = 10;

/// The list, lowest rank first.
pub fn environments(items: &[Environment]) -> Table {
    let mut rows = table(&["RANK", "NAME", "HOSTS", "SOURCES", "ATTACHED", "DESCRIPTION"]);
    let mut sorted: Vec<&Environment> = items.iter().collect();
    sorted.sort_by_key(|e| e.spec.rank);
    for environment in sorted {
        let behind = |newer: bool| if newer { " (newer exists)" } else { "" };
        let pointers: Vec<String> = environment
            .pointers
            .iter()
            .map(|p| format!("{}@{}{}", clean(&p.source), p.snapshot.number, behind(p.behind)))
            .collect();
        rows.add_row([
            environment.spec.rank.to_string(),
            clean(&environment.spec.name),
            environment.instances.to_string(),
            or_dash(&pointers.join(" ")),
            or_dash(&environment.sources.join(" ")),
            or_dash(&environment.spec.description),
        ]);
    }
    rows
}

/// One environment.
pub fn environment(found: &Environment, now: Timestamp) -> String {
    let mut text = format!("Environment {}\n", clean(&found.spec.name));
    text += &facts(&[
        ("rank", Some(found.spec.rank.to_string())),
        ("description", some(&found.spec.description)),
        ("hosts", Some(found.instances.to_string())),
        ("attached", some(&found.sources.join(", "))),
        ("made", Some(ago(found.created_at, now))),
    ]);
    if found.pointers.is_empty() {
        text += "\nnothing was promoted yet: drydock environment promote ";
        text += &clean(&found.spec.name);
        text.push_str(" --source SOURCE\n");
    }
    for pointer in &found.pointers {
        text += &format!(
            "  {:<24} snapshot {:<6} {} by {}\n",
            clean(&pointer.source),
            pointer.snapshot.number,
            ago(pointer.moved_at, now),
            clean(&pointer.moved_by)
        );
    }
    text
}

fn number(snapshot: Option<&SnapshotRef>) -> String {
    snapshot.map_or_else(|| "-".to_owned(), |s| s.number.to_string())
}

/// Moves of an environment's pointers.
pub fn moves(items: &[PointerMove], now: Timestamp) -> Table {
    let mut rows = table(&["WHEN", "SOURCE", "FROM", "TO", "BY"]);
    for one in items {
        rows.add_row([ago(one.at, now), clean(&one.source), number(one.from.as_ref()), number(one.to.as_ref()), clean(&one.who)]);
    }
    rows
}

/// New versions that hosts would be offered.
pub fn upgrades(items: &[OfferedUpgrade]) -> Table {
    let mut rows = table(&["  NEW VERSION OF", "ARCH", "TO", "HOSTS"]);
    for one in items {
        rows.add_row([format!("  {}", clean(&one.name)), clean(&one.arch), clean(&one.to), one.instances.to_string()]);
    }
    rows
}

/// One source's move in one line, and the hosts that see it.
pub fn promotion(one: &PromotionMove, dry_run: bool) -> String {
    let from = one.from.as_ref().map_or_else(|| "nothing".to_owned(), |s| s.number.to_string());
    let counts = one.counts;
    let mut names: Vec<String> =
        one.affected.iter().take(HOSTS_SHOWN).map(|host| format!("{} ({})", clean(&host.name), host.updates)).collect();
    if one.instances_affected as usize > names.len() {
        names.push("…".to_owned());
    }
    let sees = if dry_run { "would see it" } else { "see it" };
    let hosts = match (one.instances, one.instances_affected) {
        (0, _) => "no host sees it".to_owned(),
        // Their packages are looked at in a preview only.
        (n, 0) if !dry_run => format!("{} {sees}", plural(n as usize, "host")),
        (n, 0) if one.truncated => format!("{} {sees}; not all of it was looked at for updates", plural(n as usize, "host")),
        (n, 0) => format!("{} {sees}, none gets an update by it", plural(n as usize, "host")),
        (n, affected) => {
            let least = if one.truncated { "at least " } else { "" };
            format!("{} {sees}, {least}{affected} with updates: {}", plural(n as usize, "host"), names.join(", "))
        }
    };
    format!(
        "{}: snapshot {from} → {}; {} added, {} removed, {} with other metadata; {hosts}",
        clean(&one.source),
        one.to.number,
        counts.added,
        counts.removed,
        counts.changed
    )
}

#[cfg(test)]
mod tests {
    use super::promotion;

    #[test]
    fn only_a_preview_says_that_no_host_gets_an_update() {
        let one = |truncated: bool| {
            serde_json::from_value(serde_json::json!({
                "source": "s", "to": {"id": "0198c0de-0000-7000-8000-000000000001", "number": 2, "createdAt": "2026-11-01T00:00:00Z"},
                "counts": {"added": 1, "removed": 0, "changed": 0, "advisories": 0}, "instances": 3, "instancesAffected": 0,
                "affected": [], "upgrades": [], "truncated": truncated
            }))
            .expect("a move")
        };
        assert!(promotion(&one(false), true).ends_with("3 hosts would see it, none gets an update by it"));
        assert!(promotion(&one(false), false).ends_with("; 3 hosts see it"));
        assert!(!promotion(&one(true), true).contains("none gets"));
    }
}

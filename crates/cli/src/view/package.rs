//! Packages across the fleet and over time. Times are absolute: they are compared with each other, not with now.

use comfy_table::Table;
use drydock_api::rest::{InstalledPackage, PackageHolding};
use drydock_domain::inventory::PackageChange;

use crate::text::{clean, or_dash, table};

/// Packages with their hosts.
pub fn installed(items: &[InstalledPackage]) -> Table {
    let mut rows = table(&["NAME", "VERSION", "ARCH", "HOSTS"]);
    for item in items {
        rows.add_row([clean(&item.name), clean(&item.version), or_dash(&item.arch), item.hosts.to_string()]);
    }
    rows
}

/// Who had it when.
pub fn holdings(items: &[PackageHolding]) -> Table {
    let mut rows = table(&["HOST", "VERSION", "ARCH", "FROM", "UNTIL"]);
    for item in items {
        let from = if item.from_begin { format!("<= {}", item.from) } else { item.from.to_string() };
        let until = item.until.map_or_else(|| "still".to_owned(), |at| at.to_string());
        rows.add_row([clean(&item.host), clean(&item.version), or_dash(&item.arch), from, until]);
    }
    rows
}

/// What changed.
pub fn changes(items: &[PackageChange]) -> Table {
    let mut rows = table(&["NAME", "ARCH", "FROM", "TO"]);
    for item in items {
        let version = |v: &Option<String>| v.as_deref().map_or_else(|| "-".to_owned(), clean);
        rows.add_row([clean(&item.name), or_dash(&item.arch), version(&item.from), version(&item.to)]);
    }
    rows
}

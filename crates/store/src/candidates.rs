//! Instances as filters see them: the row, the names of group and environment, and which inventory bodies hold the rest.
//! Absent on purpose: the bodies (many hosts share one; `inventory` reads each once) and what matches.

use drydock_domain::access::Scope;
use drydock_domain::ids::InstanceId;
use drydock_domain::instance::{InstanceState, Labels};
use drydock_domain::inventory::OsFacts;
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::error::StoreResult;
use crate::row::{count, flag, id, json, opt_json, opt_text, opt_time, parsed, storable, text};
use crate::sql::{Sql, like_escaped};

/// An instance that may match.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: InstanceState,
    /// Its zone.
    pub zone: String,
    /// Its labels.
    pub labels: Labels,
    /// Path of its compartment.
    pub compartment: String,
    /// Name of the group it is in.
    pub group: Option<String>,
    /// Name of the environment it looks through, its own or its group's.
    pub environment: Option<String>,
    /// Its operating system.
    pub os: Option<OsFacts>,
    /// When its agent last spoke, as stored.
    pub last_seen: Option<Timestamp>,
    /// It has sent an inventory.
    pub inventory: bool,
    /// Installed packages.
    pub packages: u32,
    /// Updates that are not held.
    pub updates: u32,
    /// Of these, security updates.
    pub security_updates: u32,
    /// Held updates.
    pub held_updates: u32,
    /// It asks for a reboot.
    pub reboot_required: bool,
    /// SHA-256 of the body of its section of packages.
    pub packages_fingerprint: Option<String>,
    /// SHA-256 of the body of its section of updates.
    pub updates_fingerprint: Option<String>,
}

/// Which instances are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CandidateQuery {
    /// In this state.
    pub state: Option<InstanceState>,
    /// In this zone.
    pub zone: Option<String>,
    /// With all these labels.
    pub labels: Vec<(String, String)>,
    /// In the compartments of this scope; `None`: in any.
    pub within: Option<Scope>,
    /// With this text in the name, whatever the case.
    pub name_contains: String,
    /// With a name after this one.
    pub after: Option<String>,
    /// So many at most, rows.
    pub limit: u32,
}

/// Instances by name: some 600 bytes each.
pub async fn list(c: &mut AnyConnection, query: &CandidateQuery) -> StoreResult<Vec<Candidate>> {
    let mut sql = Sql::new(
        "SELECT i.id, i.name, i.state, i.zone, i.labels, i.compartment, i.os, i.last_seen, i.packages, i.updates, i.security_updates, \
         i.held_updates, i.reboot_required, i.inventory_changed_at, g.name AS group_name, e.name AS environment_name, \
         p.fingerprint AS packages_fingerprint, u.fingerprint AS updates_fingerprint FROM instances i \
         LEFT JOIN instance_groups g ON g.id = i.group_id \
         LEFT JOIN environments e ON e.id = COALESCE(i.environment_id, g.environment_id) \
         LEFT JOIN instance_sections p ON p.instance_id = i.id AND p.kind = 'packages' \
         LEFT JOIN instance_sections u ON u.instance_id = i.id AND u.kind = 'updates' WHERE 1 = 1",
    );
    if let Some(scope) = &query.within {
        sql.within("i.compartment", scope);
    }
    if let Some(after) = &query.after {
        sql.push(" AND i.name > ").bind(after.clone());
    }
    if let Some(state) = query.state {
        sql.push(" AND i.state = ").bind(state.as_str());
    }
    if let Some(zone) = &query.zone {
        sql.push(" AND i.zone = ").bind(storable(zone));
    }
    if !query.name_contains.is_empty() {
        let pattern = format!("%{}%", like_escaped(&storable(&query.name_contains).to_lowercase()));
        sql.push(" AND lower(i.name) LIKE ").bind(pattern).push(" ESCAPE '\\'");
    }
    for (key, value) in &query.labels {
        sql.push(" AND i.id IN (SELECT instance_id FROM instance_labels WHERE label_key = ").bind(storable(key));
        sql.push(" AND label_value = ").bind(storable(value)).push(")");
    }
    sql.push(" ORDER BY i.name LIMIT ").bind(i64::from(query.limit));
    sql.fetch(c, "read instances for a filter").await?.iter().map(read).collect()
}

fn read(row: &AnyRow) -> StoreResult<Candidate> {
    Ok(Candidate {
        id: id(row, "id")?,
        name: text(row, "name")?,
        state: parsed(row, "state", InstanceState::parse)?,
        zone: text(row, "zone")?,
        labels: json(row, "labels")?,
        compartment: text(row, "compartment")?,
        group: opt_text(row, "group_name")?,
        environment: opt_text(row, "environment_name")?,
        os: opt_json(row, "os")?,
        last_seen: opt_time(row, "last_seen")?,
        inventory: opt_time(row, "inventory_changed_at")?.is_some(),
        packages: count(row, "packages")?,
        updates: count(row, "updates")?,
        security_updates: count(row, "security_updates")?,
        held_updates: count(row, "held_updates")?,
        reboot_required: flag(row, "reboot_required")?,
        packages_fingerprint: opt_text(row, "packages_fingerprint")?,
        updates_fingerprint: opt_text(row, "updates_fingerprint")?,
    })
}

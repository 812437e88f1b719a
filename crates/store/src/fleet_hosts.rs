//! What decides about the updates of hosts, of many hosts at once: without the bodies of their inventories.

use drydock_domain::ids::InstanceId;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::error::StoreResult;
use crate::host_sources::read_inputs;
use crate::row::opt_text;
use crate::source_records::HostInputs;
use crate::sql::Sql;

/// An ACTIVE host, and which bodies its inventory points at.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetHost {
    /// What decides about its sources.
    pub inputs: HostInputs,
    /// Fingerprint of its packages; absent before its first inventory.
    pub packages: Option<String>,
    /// Fingerprint of its rules; absent while its agent reports none.
    pub rules: Option<String>,
}

const COLUMNS: &str = "SELECT i.id, i.name, i.os, i.sources_mode, i.environment_id, i.group_id, \
                       g.environment_id AS group_environment_id, h.generation, h.fingerprint, p.fingerprint AS packages, \
                       r.fingerprint AS rules FROM instances i \
                       LEFT JOIN instance_groups g ON g.id = i.group_id LEFT JOIN host_sources h ON h.instance_id = i.id \
                       LEFT JOIN instance_sections p ON p.instance_id = i.id AND p.kind = 'packages' \
                       LEFT JOIN instance_sections r ON r.instance_id = i.id AND r.kind = 'rules' WHERE i.state = 'ACTIVE'";

/// ACTIVE hosts after one, by id.
pub async fn after(c: &mut AnyConnection, last: Option<InstanceId>, limit: u32) -> StoreResult<Vec<FleetHost>> {
    let mut sql = Sql::new(COLUMNS);
    if let Some(last) = last {
        sql.push(" AND i.id > ").bind(last.to_string());
    }
    sql.push(" ORDER BY i.id LIMIT ").bind(i64::from(limit));
    sql.fetch(c, "read what decides about the updates of hosts").await?.iter().map(read).collect()
}

/// The same of one host; absent unless it is ACTIVE.
pub async fn find(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<Option<FleetHost>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" AND i.id = ").bind(instance.to_string());
    sql.fetch(c, "read what decides about the updates of a host").await?.first().map(read).transpose()
}

fn read(row: &AnyRow) -> StoreResult<FleetHost> {
    Ok(FleetHost { inputs: read_inputs(row)?, packages: opt_text(row, "packages")?, rules: opt_text(row, "rules")? })
}

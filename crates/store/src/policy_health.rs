//! How the health checks of an assignment's revision stand on its hosts, as the hosts told.

use std::collections::BTreeMap;

use drydock_domain::ids::{AssignmentId, InstanceId};
use drydock_domain::policy::{AssignmentHealth, HealthState};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::error::{StoreError, StoreResult};
use crate::policies::number;
use crate::row::{id, json, micros, parsed, time, to_json};
use crate::sql::Sql;

/// How the checks stand on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthRecord {
    /// How.
    pub state: HealthState,
    /// In a sentence.
    pub message: String,
    /// Since when, by the server's clock.
    pub since: Timestamp,
}

/// Stores how the checks stand on a host; `true`: that is news. What was told of an older revision gives way.
pub async fn put(
    c: &mut AnyConnection,
    assignment: AssignmentId,
    instance: InstanceId,
    health: &AssignmentHealth,
    now: Timestamp,
) -> StoreResult<bool> {
    let before = one(c, assignment, instance).await?;
    if before.as_ref() == Some(health) {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO policy_health (assignment_id, instance_id, revision, state, since, body) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (assignment_id, instance_id) DO UPDATE SET since = CASE WHEN policy_health.revision = excluded.revision \
         AND policy_health.state = excluded.state THEN policy_health.since ELSE excluded.since END, \
         revision = excluded.revision, state = excluded.state, body = excluded.body",
    )
    .bind(assignment.to_string())
    .bind(instance.to_string())
    .bind(number(health.revision))
    .bind(health.state.as_str())
    .bind(micros(now))
    .bind(to_json("how health checks stand", health)?)
    .execute(c)
    .await
    .map_err(StoreError::query("store how health checks stand"))?;
    Ok(true)
}

async fn one(c: &mut AnyConnection, assignment: AssignmentId, instance: InstanceId) -> StoreResult<Option<AssignmentHealth>> {
    let mut sql = Sql::new("SELECT body FROM policy_health WHERE assignment_id = ");
    sql.bind(assignment.to_string()).push(" AND instance_id = ").bind(instance.to_string());
    sql.fetch(c, "read how health checks stand").await?.first().map(|row| json(row, "body")).transpose()
}

/// How those of a revision stand on the hosts that told of them.
pub async fn of_revision(
    c: &mut AnyConnection,
    assignment: AssignmentId,
    revision: u64,
) -> StoreResult<BTreeMap<InstanceId, HealthRecord>> {
    let mut sql = Sql::new("SELECT instance_id, state, since, body FROM policy_health WHERE assignment_id = ");
    sql.bind(assignment.to_string()).push(" AND revision = ").bind(number(revision));
    let read = |row: &AnyRow| {
        let body: AssignmentHealth = json(row, "body")?;
        let state = parsed(row, "state", HealthState::parse)?;
        Ok((id(row, "instance_id")?, HealthRecord { state, message: body.message, since: time(row, "since")? }))
    };
    sql.fetch(c, "read how health checks stand").await?.iter().map(read).collect()
}

/// As told by these hosts, whatever the revision.
pub async fn of_hosts(
    c: &mut AnyConnection,
    assignment: AssignmentId,
    instances: &[InstanceId],
) -> StoreResult<BTreeMap<InstanceId, AssignmentHealth>> {
    let mut sql = Sql::new("SELECT instance_id, body FROM policy_health WHERE assignment_id = ");
    sql.bind(assignment.to_string()).push(" AND instance_id IN ").bind_list(instances.iter().map(ToString::to_string));
    let rows = sql.fetch(c, "read how health checks stand").await?;
    rows.iter().map(|row| Ok((id(row, "instance_id")?, json(row, "body")?))).collect()
}

/// Forgets how those of a host's assignment stand.
pub async fn delete(c: &mut AnyConnection, assignment: AssignmentId, instance: InstanceId) -> StoreResult<()> {
    sqlx::query("DELETE FROM policy_health WHERE assignment_id = $1 AND instance_id = $2")
        .bind(assignment.to_string())
        .bind(instance.to_string())
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("delete how health checks stand"))
}

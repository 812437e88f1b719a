//! Drift events of hosts. Each is told once; one that is told again (its acknowledgement was lost) is stored once.

use drydock_domain::access::Scope;
use drydock_domain::ids::InstanceId;
use drydock_domain::policy::standing::HostDriftEvent;
use drydock_domain::policy::{DriftEvent, DriftOutcome};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::policies::number;
use crate::records::{PageQuery, Paged};
use crate::row::{count, id, json, micros, opt_micros, storable, text, to_json};
use crate::sql::Sql;

/// Which events to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriftQuery {
    /// Only this host.
    pub instance: Option<InstanceId>,
    /// Only this assignment.
    pub assignment: Option<String>,
    /// Only this policy.
    pub policy: Option<String>,
    /// Only this outcome.
    pub outcome: Option<DriftOutcome>,
    /// Only those noticed since.
    pub since: Option<Timestamp>,
    /// Which page.
    pub page: PageQuery,
}

/// Stores an event.
pub async fn put(c: &mut AnyConnection, instance: InstanceId, event: &DriftEvent) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO drift_events (instance_id, number, seen_at, repaired_at, assignment, policy, outcome, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (instance_id, number, seen_at) DO UPDATE SET \
         repaired_at = excluded.repaired_at, outcome = excluded.outcome, body = excluded.body",
    )
    .bind(instance.to_string())
    .bind(number(event.number))
    .bind(micros(event.seen_at))
    .bind(opt_micros(event.repaired_at))
    .bind(storable(&event.assignment))
    .bind(storable(&event.policy))
    .bind(event.outcome.as_str())
    .bind(to_json("a drift event", event)?)
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a drift event"))
}

/// Events, newest first.
pub async fn list(c: &mut AnyConnection, query: &DriftQuery, scope: &Scope) -> StoreResult<Paged<HostDriftEvent>> {
    let mut sql =
        Sql::new("SELECT d.instance_id, i.name, d.body FROM drift_events d JOIN instances i ON i.id = d.instance_id WHERE 1 = 1");
    sql.within("i.compartment", scope);
    if let Some(instance) = query.instance {
        sql.push(" AND d.instance_id = ").bind(instance.to_string());
    }
    if let Some(assignment) = &query.assignment {
        sql.push(" AND d.assignment = ").bind(storable(assignment));
    }
    if let Some(policy) = &query.policy {
        sql.push(" AND d.policy = ").bind(storable(policy));
    }
    if let Some(outcome) = query.outcome {
        sql.push(" AND d.outcome = ").bind(outcome.as_str());
    }
    if let Some(since) = query.since {
        sql.push(" AND d.seen_at >= ").bind(micros(since));
    }
    if let Some([seen, instance, event]) = cursor::keys::<3>(&query.page)? {
        sql.push(" AND (d.seen_at, d.instance_id, d.number) < (").bind(cursor::number(&seen)?).push(", ").bind(instance);
        sql.push(", ").bind(cursor::number(&event)?).push(")");
    }
    sql.push(" ORDER BY d.seen_at DESC, d.instance_id DESC, d.number DESC LIMIT ").bind(cursor::fetch_limit(&query.page));
    let read = |row: &AnyRow| {
        let event: DriftEvent = json(row, "body")?;
        let took = event.repaired_at.map(|at| at.as_millisecond() - event.seen_at.as_millisecond());
        Ok(HostDriftEvent {
            instance: id(row, "instance_id")?,
            instance_name: text(row, "name")?,
            time_to_repair_ms: took.and_then(|ms| u64::try_from(ms).ok()),
            event,
        })
    };
    let rows = sql.fetch(c, "list drift events").await?;
    let found = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    let keys = |e: &HostDriftEvent| {
        vec![micros(e.event.seen_at).to_string(), e.instance.to_string(), number(e.event.number).to_string()]
    };
    Ok(cursor::page(&query.page, found, keys))
}

/// Events noticed from a moment to before another: all, and the repaired ones.
pub async fn counts(
    c: &mut AnyConnection,
    assignment: Option<&str>,
    from: Timestamp,
    to: Timestamp,
    scope: &Scope,
) -> StoreResult<(u32, u32)> {
    let mut sql = Sql::new("SELECT count(*) AS n, count(repaired_at) AS repaired FROM drift_events WHERE seen_at >= ");
    sql.bind(micros(from)).push(" AND seen_at < ").bind(micros(to));
    if *scope != Scope::Everywhere {
        sql.push(" AND instance_id IN (SELECT id FROM instances WHERE 1 = 1").within("compartment", scope).push(")");
    }
    if let Some(assignment) = assignment {
        sql.push(" AND assignment = ").bind(storable(assignment));
    }
    let rows = sql.fetch(c, "count drift events").await?;
    rows.first().map(|r| Ok((count(r, "n")?, count(r, "repaired")?))).transpose().map(Option::unwrap_or_default)
}

/// Forgets events noticed before.
pub async fn forget(c: &mut AnyConnection, before: Timestamp) -> StoreResult<u64> {
    sqlx::query("DELETE FROM drift_events WHERE seen_at < $1")
        .bind(micros(before))
        .execute(c)
        .await
        .map(|r| r.rows_affected())
        .map_err(StoreError::query("forget old drift events"))
}

/// Forgets the oldest events of a host beyond the newest `keep`.
pub async fn cut(c: &mut AnyConnection, instance: InstanceId, keep: u32) -> StoreResult<u64> {
    sqlx::query(
        "DELETE FROM drift_events WHERE instance_id = $1 AND seen_at < (SELECT min(t.seen_at) FROM (SELECT seen_at FROM \
         drift_events WHERE instance_id = $1 ORDER BY seen_at DESC LIMIT $2) t)",
    )
    .bind(instance.to_string())
    .bind(i64::from(keep))
    .execute(c)
    .await
    .map(|r| r.rows_affected())
    .map_err(StoreError::query("forget the oldest drift events of a host"))
}

/// Hosts with more events than `keep`.
pub async fn crowded(c: &mut AnyConnection, keep: u32) -> StoreResult<Vec<InstanceId>> {
    let mut sql = Sql::new("SELECT instance_id FROM drift_events GROUP BY instance_id HAVING count(*) > ");
    sql.bind(i64::from(keep));
    sql.fetch(c, "look for hosts with many drift events").await?.iter().map(|r| id(r, "instance_id")).collect()
}

//! Which sources are attached to which instances, groups and environments.

use std::collections::BTreeMap;

use drydock_domain::access::Scope;
use drydock_domain::ids::{EnvironmentId, SourceId};
use drydock_domain::source::resolve::AttachedTo;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::error::{StoreError, StoreResult};
use crate::row::{big_count, id, micros, storable, text, time};
use crate::source_records::{AttachmentRecord, HostsSeeing};
use crate::sql::Sql;

const COLUMNS: &str = "SELECT target_kind, target_id, source_id, attached_at, attached_by FROM attachments";

/// Attaches a source. `false`: it is attached there already, or the target is gone. A source that is gone is an error:
/// see [`StoreError::is_referenced`].
pub async fn attach(c: &mut AnyConnection, attachment: &AttachmentRecord) -> StoreResult<bool> {
    if !hold(c, attachment.target).await? {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO attachments (target_kind, target_id, source_id, attached_at, attached_by) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (target_kind, target_id, source_id) DO NOTHING",
    )
    .bind(attachment.target.kind())
    .bind(target_id(attachment.target))
    .bind(attachment.source.to_string())
    .bind(micros(attachment.attached_at))
    .bind(storable(&attachment.attached_by))
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("attach a software source"))
}

/// Holds the target's row until the transaction ends, so that it is not deleted meanwhile: an attachment without target
/// would keep its source for ever. `false`: the target is gone.
async fn hold(c: &mut AnyConnection, target: AttachedTo) -> StoreResult<bool> {
    let statement = match target {
        AttachedTo::Instance(_) => "UPDATE instances SET version = version WHERE id = $1",
        AttachedTo::Environment(_) => "UPDATE environments SET version = version WHERE id = $1",
        AttachedTo::Group(_) => "UPDATE instance_groups SET version = version WHERE id = $1",
    };
    sqlx::query(statement)
        .bind(target_id(target))
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("hold what a software source is attached to"))
}

/// Detaches a source. `false`: it was not attached there.
pub async fn detach(c: &mut AnyConnection, target: AttachedTo, source: SourceId) -> StoreResult<bool> {
    sqlx::query("DELETE FROM attachments WHERE target_kind = $1 AND target_id = $2 AND source_id = $3")
        .bind(target.kind())
        .bind(target_id(target))
        .bind(source.to_string())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("detach a software source"))
}

/// What is attached to these targets.
pub async fn of_targets(c: &mut AnyConnection, targets: &[AttachedTo]) -> StoreResult<Vec<AttachmentRecord>> {
    let mut found = Vec::new();
    for kind in ["INSTANCE", "GROUP", "ENVIRONMENT"] {
        let ids: Vec<String> = targets.iter().filter(|t| t.kind() == kind).map(|t| target_id(*t)).collect();
        if ids.is_empty() {
            continue;
        }
        let mut sql = Sql::new(COLUMNS);
        sql.push(" WHERE target_kind = ").bind(kind).push(" AND target_id IN ").bind_list(ids);
        sql.push(" ORDER BY target_id, source_id");
        let rows = sql.fetch(c, "read what is attached").await?;
        found.extend(rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?);
    }
    Ok(found)
}

/// What a source is attached to.
pub async fn of_source(c: &mut AnyConnection, source: SourceId) -> StoreResult<Vec<AttachmentRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE source_id = ").bind(source.to_string()).push(" ORDER BY target_kind, target_id");
    sql.fetch(c, "read what a software source is attached to").await?.iter().map(read).collect()
}

/// How many targets each of these sources is attached to, as far as there are some.
pub async fn counts(c: &mut AnyConnection, sources: &[SourceId]) -> StoreResult<BTreeMap<SourceId, u64>> {
    let mut sql = Sql::new("SELECT source_id, count(*) AS n FROM attachments WHERE source_id IN ");
    sql.bind_list(sources.iter().map(ToString::to_string)).push(" GROUP BY source_id");
    let rows = sql.fetch(c, "count attachments").await?;
    rows.iter().map(|r| Ok((id(r, "source_id")?, big_count(r, "n")?))).collect()
}

/// Every attachment: what the documents of all hosts are made from. Some 200 bytes each.
pub async fn all(c: &mut AnyConnection) -> StoreResult<Vec<AttachmentRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" ORDER BY target_kind, target_id, source_id");
    sql.fetch(c, "read all attachments").await?.iter().map(read).collect()
}

/// ACTIVE instances that look through an environment and to which a source is attached, directly, by their group or by
/// the environment; the first `limit` by name. Formats and architectures are not looked at.
pub async fn hosts_seeing(
    c: &mut AnyConnection,
    environment: EnvironmentId,
    source: SourceId,
    limit: u32,
    scope: &Scope,
) -> StoreResult<HostsSeeing> {
    let mut sql = Sql::new("SELECT count(*) AS n");
    hosts(&mut sql, environment, source, scope);
    let total = sql.fetch(c, "count the hosts of a promotion").await?.first().map(|r| big_count(r, "n")).transpose()?;
    let mut sql = Sql::new("SELECT i.id, i.name");
    hosts(&mut sql, environment, source, scope);
    sql.push(" ORDER BY i.name LIMIT ").bind(i64::from(limit));
    let rows = sql.fetch(c, "read the hosts of a promotion").await?;
    let first = rows.iter().map(|r| Ok((id(r, "id")?, text(r, "name")?))).collect::<StoreResult<_>>()?;
    Ok(HostsSeeing { total: total.unwrap_or_default(), first })
}

fn hosts(sql: &mut Sql, environment: EnvironmentId, source: SourceId, scope: &Scope) {
    sql.push(" FROM instances i LEFT JOIN instance_groups g ON g.id = i.group_id WHERE i.state = 'ACTIVE'");
    sql.within("i.compartment", scope);
    sql.push(" AND COALESCE(i.environment_id, g.environment_id) = ").bind(environment.to_string());
    sql.push(" AND EXISTS (SELECT 1 FROM attachments a WHERE a.source_id = ").bind(source.to_string());
    sql.push(
        " AND ((a.target_kind = 'INSTANCE' AND a.target_id = i.id) OR (a.target_kind = 'GROUP' AND a.target_id = i.group_id) \
         OR (a.target_kind = 'ENVIRONMENT' AND a.target_id = COALESCE(i.environment_id, g.environment_id))))",
    );
}

pub(crate) fn target_id(target: AttachedTo) -> String {
    match target {
        AttachedTo::Instance(id) => id.to_string(),
        AttachedTo::Group(id) => id.to_string(),
        AttachedTo::Environment(id) => id.to_string(),
    }
}

fn read(row: &AnyRow) -> StoreResult<AttachmentRecord> {
    let target = match text(row, "target_kind")?.as_str() {
        "INSTANCE" => AttachedTo::Instance(id(row, "target_id")?),
        "GROUP" => AttachedTo::Group(id(row, "target_id")?),
        "ENVIRONMENT" => AttachedTo::Environment(id(row, "target_id")?),
        other => {
            let problem = format!("{other:?} is not known to this version");
            return Err(StoreError::Row { column: "target_kind", problem });
        }
    };
    Ok(AttachmentRecord {
        target,
        source: id(row, "source_id")?,
        attached_at: time(row, "attached_at")?,
        attached_by: text(row, "attached_by")?,
    })
}

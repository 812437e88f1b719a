//! Previews of policies: what was asked, and what each host answered.

use drydock_domain::access::Scope;
use drydock_domain::ids::{InstanceId, PreviewId};
use drydock_domain::policy::standing::{PreviewHost, PreviewSource};
use drydock_domain::policy::{OsPolicyAssignment, PolicyResult};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{PageQuery, Paged};
use crate::row::{big_count, count, id, json, micros, opt_micros, opt_time, parsed, storable, text, time, to_json};
use crate::sql::Sql;

/// A preview.
#[derive(Debug, Clone, PartialEq)]
pub struct PreviewRecord {
    /// Its id.
    pub id: PreviewId,
    /// The assignment's name, if it has one.
    pub name: String,
    /// What is previewed; in lists empty.
    pub document: OsPolicyAssignment,
    /// Path of its compartment.
    pub compartment: String,
    /// Who asked.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it is forgotten.
    pub expires_at: Timestamp,
}

/// What one host answered.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerRecord {
    /// The host.
    pub instance: InstanceId,
    /// Who answered.
    pub source: PreviewSource,
    /// When.
    pub at: Option<Timestamp>,
    /// Resources that would change.
    pub would_change: u32,
    /// Why it could not be looked at.
    pub problem: String,
    /// Each policy.
    pub policies: Vec<PolicyResult>,
}

/// How far a preview is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PreviewCounts {
    /// Hosts nobody answered for.
    pub waiting: u32,
    /// Hosts whose inventory answered.
    pub from_inventory: u32,
    /// Hosts that answered.
    pub answered: u32,
    /// Hosts on which something would change.
    pub would_change: u32,
}

/// Adds a preview with its hosts.
pub async fn insert(c: &mut AnyConnection, preview: &PreviewRecord, hosts: &[AnswerRecord]) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO policy_previews (id, name, document, created_by, created_at, expires_at, compartment) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(preview.id.to_string())
    .bind(storable(&preview.name))
    .bind(to_json("a preview", &preview.document)?)
    .bind(storable(&preview.created_by))
    .bind(micros(preview.created_at))
    .bind(micros(preview.expires_at))
    .bind(preview.compartment.clone())
    .execute(&mut *c)
    .await
    .map_err(StoreError::query("store a preview"))?;
    for host in hosts {
        sqlx::query(
            "INSERT INTO policy_preview_hosts (preview_id, instance_id, source, at, would_change, problem, body) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(preview.id.to_string())
        .bind(host.instance.to_string())
        .bind(host.source.as_str())
        .bind(opt_micros(host.at))
        .bind(i64::from(host.would_change))
        .bind(storable(&host.problem))
        .bind(to_json("an answer to a preview", &host.policies)?)
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("store a host of a preview"))?;
    }
    Ok(())
}

/// A preview with its document.
pub async fn find(c: &mut AnyConnection, preview: PreviewId) -> StoreResult<Option<PreviewRecord>> {
    let mut sql =
        Sql::new("SELECT id, name, document, compartment, created_by, created_at, expires_at FROM policy_previews WHERE id = ");
    sql.bind(preview.to_string());
    let rows = sql.fetch(c, "read a preview").await?;
    rows.first().map(|r| Ok(PreviewRecord { document: json(r, "document")?, ..read(r)? })).transpose()
}

/// Previews, newest first.
pub async fn list(c: &mut AnyConnection, page: &PageQuery, scope: &Scope) -> StoreResult<Paged<PreviewRecord>> {
    let mut sql = Sql::new("SELECT id, name, compartment, created_by, created_at, expires_at FROM policy_previews");
    sql.push(" WHERE 1 = 1").within("compartment", scope);
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" AND id < ").bind(last);
    }
    sql.push(" ORDER BY id DESC LIMIT ").bind(cursor::fetch_limit(page));
    let rows = sql.fetch(c, "list previews").await?;
    let found = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, found, |p| vec![p.id.to_string()]))
}

/// How many there are.
pub async fn count_all(c: &mut AnyConnection) -> StoreResult<u64> {
    let rows = Sql::new("SELECT count(*) AS n FROM policy_previews").fetch(c, "count previews").await?;
    Ok(rows.first().map(|r| big_count(r, "n")).transpose()?.unwrap_or_default())
}

/// Deletes a preview. `false`: there is none.
pub async fn delete(c: &mut AnyConnection, preview: PreviewId) -> StoreResult<bool> {
    sqlx::query("DELETE FROM policy_previews WHERE id = $1")
        .bind(preview.to_string())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("delete a preview"))
}

/// Forgets previews that expired.
pub async fn forget(c: &mut AnyConnection, now: Timestamp) -> StoreResult<u64> {
    sqlx::query("DELETE FROM policy_previews WHERE expires_at <= $1")
        .bind(micros(now))
        .execute(c)
        .await
        .map(|r| r.rows_affected())
        .map_err(StoreError::query("forget old previews"))
}

/// Previews that a host has not answered, oldest first.
pub async fn open_of(c: &mut AnyConnection, instance: InstanceId, now: Timestamp, limit: u32) -> StoreResult<Vec<PreviewId>> {
    let mut sql = Sql::new(
        "SELECT p.id FROM policy_preview_hosts h JOIN policy_previews p ON p.id = h.preview_id WHERE h.source <> 'HOST' \
         AND h.instance_id = ",
    );
    sql.bind(instance.to_string()).push(" AND p.expires_at > ").bind(micros(now));
    sql.push(" ORDER BY p.id LIMIT ").bind(i64::from(limit));
    sql.fetch(c, "read the previews of a host").await?.iter().map(|r| id(r, "id")).collect()
}

/// Stores a host's answer. `false`: it was not asked.
pub async fn answer(c: &mut AnyConnection, preview: PreviewId, answer: &AnswerRecord) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE policy_preview_hosts SET source = $3, at = $4, would_change = $5, problem = $6, body = $7 \
         WHERE preview_id = $1 AND instance_id = $2",
    )
    .bind(preview.to_string())
    .bind(answer.instance.to_string())
    .bind(answer.source.as_str())
    .bind(opt_micros(answer.at))
    .bind(i64::from(answer.would_change))
    .bind(storable(&answer.problem))
    .bind(to_json("an answer to a preview", &answer.policies)?)
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("store an answer to a preview"))
}

/// How far a preview is.
pub async fn counts(c: &mut AnyConnection, preview: PreviewId) -> StoreResult<PreviewCounts> {
    let mut sql = Sql::new(
        "SELECT source, count(*) AS n, count(CASE WHEN would_change > 0 THEN 1 END) AS changing FROM policy_preview_hosts \
         WHERE preview_id = ",
    );
    sql.bind(preview.to_string()).push(" GROUP BY source");
    let mut counts = PreviewCounts::default();
    for row in &sql.fetch(c, "count the answers to a preview").await? {
        let n = count(row, "n")?;
        counts.would_change += count(row, "changing")?;
        match parsed(row, "source", PreviewSource::parse)? {
            PreviewSource::Waiting => counts.waiting += n,
            PreviewSource::Inventory => counts.from_inventory += n,
            PreviewSource::Host => counts.answered += n,
        }
    }
    Ok(counts)
}

/// What hosts answered, by name.
pub async fn answers(
    c: &mut AnyConnection,
    preview: PreviewId,
    source: Option<PreviewSource>,
    page: &PageQuery,
) -> StoreResult<Paged<PreviewHost>> {
    let mut sql = Sql::new(
        "SELECT h.instance_id, i.name, h.source, h.at, h.would_change, h.problem, h.body FROM policy_preview_hosts h \
         JOIN instances i ON i.id = h.instance_id WHERE h.preview_id = ",
    );
    sql.bind(preview.to_string());
    if let Some(source) = source {
        sql.push(" AND h.source = ").bind(source.as_str());
    }
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" AND i.name > ").bind(last);
    }
    sql.push(" ORDER BY i.name LIMIT ").bind(cursor::fetch_limit(page));
    let read = |row: &AnyRow| {
        Ok(PreviewHost {
            instance: id(row, "instance_id")?,
            instance_name: text(row, "name")?,
            source: parsed(row, "source", PreviewSource::parse)?,
            at: opt_time(row, "at")?,
            problem: text(row, "problem")?,
            would_change: count(row, "would_change")?,
            policies: json(row, "body")?,
        })
    };
    let rows = sql.fetch(c, "list the answers to a preview").await?;
    let found = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, found, |h| vec![h.instance_name.clone()]))
}

fn read(row: &AnyRow) -> StoreResult<PreviewRecord> {
    Ok(PreviewRecord {
        id: id(row, "id")?,
        name: text(row, "name")?,
        document: OsPolicyAssignment::default(),
        compartment: text(row, "compartment")?,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
    })
}

//! The sources document of each host, and what the host answered.

use drydock_domain::ids::InstanceId;
use drydock_domain::source::host::{HostSourcesReport, SourcesMode};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::error::{StoreError, StoreResult};
use crate::row::{big_count, id, json, micros, opt_id, opt_int, opt_json, opt_text, opt_time, parsed, text, to_json};
use crate::source_records::{HostInputs, HostSourcesRecord};
use crate::sql::Sql;

/// A document as made.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// Its generation: higher than the one before.
    pub generation: u64,
    /// Of everything in it but its generation.
    pub fingerprint: &'a str,
    /// JSON, exactly as it is signed.
    pub document: &'a str,
    /// Why attached sources are not in it, for people.
    pub problems: &'a [String],
    /// When it was made.
    pub at: Timestamp,
}

/// The document and the last answer of a host.
pub async fn find(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<Option<HostSourcesRecord>> {
    let mut sql = Sql::new(
        "SELECT instance_id, generation, fingerprint, document, problems, made_at, report, reported_at FROM host_sources \
         WHERE instance_id = ",
    );
    sql.bind(instance.to_string());
    sql.fetch(c, "read the sources document of a host").await?.first().map(read).transpose()
}

/// Generation of a host's document; 0 without one. What an agent's pull is answered by when nothing changed.
pub async fn generation(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<u64> {
    let mut sql = Sql::new("SELECT generation FROM host_sources WHERE instance_id = ");
    sql.bind(instance.to_string());
    let rows = sql.fetch(c, "read the generation of a host's sources").await?;
    Ok(rows.first().map(|r| big_count(r, "generation")).transpose()?.unwrap_or_default())
}

/// Stores a document, if the one there still has generation `expected` (0: none). `false`: somebody else was faster.
pub async fn put(c: &mut AnyConnection, instance: InstanceId, document: &Document<'_>, expected: u64) -> StoreResult<bool> {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO host_sources (instance_id, generation, fingerprint, document, problems, made_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (instance_id) DO UPDATE SET generation = excluded.generation, \
         fingerprint = excluded.fingerprint, document = excluded.document, problems = excluded.problems, \
         made_at = excluded.made_at WHERE host_sources.generation = $7 AND host_sources.generation < excluded.generation",
    )
    .bind(instance.to_string())
    .bind(number(document.generation))
    .bind(document.fingerprint.to_owned())
    .bind(document.document.to_owned())
    .bind(to_json("problems of a host's sources", document.problems)?)
    .bind(micros(document.at))
    .bind(number(expected))
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("store the sources document of a host"))
}

/// Replaces the problems of a document that stays what it is. They are not part of its fingerprint.
pub async fn set_problems(c: &mut AnyConnection, instance: InstanceId, problems: &[String]) -> StoreResult<()> {
    sqlx::query("UPDATE host_sources SET problems = $2 WHERE instance_id = $1")
        .bind(instance.to_string())
        .bind(to_json("problems of a host's sources", problems)?)
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("store the problems of a host's sources"))
}

/// Stores a host's answer: the last one counts.
pub async fn put_report(
    c: &mut AnyConnection,
    instance: InstanceId,
    report: &HostSourcesReport,
    at: Timestamp,
) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO host_sources (instance_id, generation, fingerprint, document, problems, report, reported_at) \
         VALUES ($1, 0, '', '', '[]', $2, $3) ON CONFLICT (instance_id) DO UPDATE SET report = excluded.report, \
         reported_at = excluded.reported_at",
    )
    .bind(instance.to_string())
    .bind(to_json("a report on a host's sources", report)?)
    .bind(micros(at))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a report on a host's sources"))
}

/// ACTIVE hosts that have a document, or may need one (anything attached, an environment, a group, exclusive mode), after `last`
/// by id: what decides about their documents. Hosts that nobody ever gave sources to are not among them.
pub async fn inputs(c: &mut AnyConnection, last: Option<InstanceId>, limit: u32) -> StoreResult<Vec<HostInputs>> {
    let mut sql = Sql::new(INPUTS);
    sql.push(
        " WHERE i.state = 'ACTIVE' AND (h.generation > 0 OR i.environment_id IS NOT NULL OR i.group_id IS NOT NULL \
         OR i.sources_mode <> 'additive' \
         OR EXISTS (SELECT 1 FROM attachments a WHERE a.target_kind = 'INSTANCE' AND a.target_id = i.id))",
    );
    if let Some(last) = last {
        sql.push(" AND i.id > ").bind(last.to_string());
    }
    sql.push(" ORDER BY i.id LIMIT ").bind(i64::from(limit));
    sql.fetch(c, "read what decides about the sources of hosts").await?.iter().map(read_inputs).collect()
}

/// The same of one host; absent unless it is ACTIVE.
pub async fn inputs_of(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<Option<HostInputs>> {
    let mut sql = Sql::new(INPUTS);
    sql.push(" WHERE i.state = 'ACTIVE' AND i.id = ").bind(instance.to_string());
    sql.fetch(c, "read what decides about the sources of a host").await?.first().map(read_inputs).transpose()
}

const INPUTS: &str = "SELECT i.id, i.name, i.os, i.sources_mode, i.environment_id, i.group_id, \
                      g.environment_id AS group_environment_id, h.generation, h.fingerprint FROM instances i \
                      LEFT JOIN instance_groups g ON g.id = i.group_id LEFT JOIN host_sources h ON h.instance_id = i.id";

pub(crate) fn read_inputs(row: &AnyRow) -> StoreResult<HostInputs> {
    Ok(HostInputs {
        instance: id(row, "id")?,
        name: text(row, "name")?,
        os: opt_json(row, "os")?,
        mode: parsed(row, "sources_mode", SourcesMode::parse)?,
        environment: opt_id(row, "environment_id")?,
        group: opt_id(row, "group_id")?,
        group_environment: opt_id(row, "group_environment_id")?,
        generation: opt_int(row, "generation")?.and_then(|n| u64::try_from(n).ok()).unwrap_or_default(),
        fingerprint: opt_text(row, "fingerprint")?.unwrap_or_default(),
    })
}

fn read(row: &AnyRow) -> StoreResult<HostSourcesRecord> {
    Ok(HostSourcesRecord {
        instance: id(row, "instance_id")?,
        generation: big_count(row, "generation")?,
        fingerprint: text(row, "fingerprint")?,
        document: text(row, "document")?,
        problems: json(row, "problems")?,
        made_at: opt_time(row, "made_at")?,
        report: opt_json(row, "report")?,
        reported_at: opt_time(row, "reported_at")?,
    })
}

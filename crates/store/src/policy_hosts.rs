//! Which revision of which assignment each host is to have, and what decides about it.

use std::collections::{BTreeMap, HashMap};

use drydock_domain::ids::{AssignmentId, InstanceId, TaskId};
use drydock_domain::instance::Labels;
use drydock_domain::inventory::OsFacts;
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::policy::standing::HostPhase;
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::policies::number;
use crate::records::{PageQuery, Paged};
use crate::row::{big_count, count, id, json, micros, opt_json, opt_micros, opt_text, opt_time, parsed, storable, text, to_json};
use crate::sql::Sql;

/// One host of one assignment.
#[derive(Debug, Clone, PartialEq)]
pub struct AssignedRecord {
    /// The assignment.
    pub assignment: AssignmentId,
    /// The host.
    pub instance: InstanceId,
    /// Its zone when it was let go.
    pub zone: String,
    /// The revision it is to have; 0: none yet.
    pub revision: u64,
    /// How far it is with the newest one.
    pub phase: HostPhase,
    /// The host's document that first carried the revision; 0: it is not made.
    pub generation: u64,
    /// When it was let go.
    pub let_go_at: Option<Timestamp>,
    /// When it said that it has it.
    pub has_at: Option<Timestamp>,
    /// Why it is held.
    pub waiting_on: Option<WaitingOn>,
}

/// What decides about the policies of an ACTIVE host.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyInputs {
    /// The host.
    pub instance: InstanceId,
    /// Its name.
    pub name: String,
    /// Path of its compartment.
    pub compartment: String,
    /// Its zone.
    pub zone: String,
    /// Its labels.
    pub labels: Labels,
    /// Its operating system.
    pub os: Option<OsFacts>,
    /// Name of the group it is in.
    pub group: Option<String>,
    /// Name of the environment it looks through, its own or its group's.
    pub environment: Option<String>,
    /// When its agent last spoke, as stored.
    pub last_seen: Option<Timestamp>,
    /// Generation of its document; 0: none.
    pub generation: u64,
    /// Fingerprint of its document; empty: none.
    pub fingerprint: String,
    /// When that was made.
    pub made_at: Option<Timestamp>,
    /// When its agent first asked for policies.
    pub pulled_at: Option<Timestamp>,
    /// Why nothing newer is known of it.
    pub absent: String,
}

/// A host of an assignment, with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedAssigned {
    /// The row.
    pub assigned: AssignedRecord,
    /// The host's name.
    pub instance_name: String,
    /// Its zone now.
    pub zone: String,
}

const COLUMNS: &str = "SELECT p.assignment_id, p.instance_id, p.zone, p.revision, p.phase, p.generation, p.let_go_at, p.has_at, \
                       p.waiting_on FROM policy_hosts p";

const INPUTS: &str = "SELECT i.id, i.name, i.compartment, i.zone, i.labels, i.os, i.last_seen, g.name AS group_name, e.name AS environment_name, \
                      h.generation, h.fingerprint, h.made_at, h.pulled_at, h.absent FROM instances i \
                      LEFT JOIN instance_groups g ON g.id = i.group_id \
                      LEFT JOIN environments e ON e.id = COALESCE(i.environment_id, g.environment_id) \
                      LEFT JOIN host_policies h ON h.instance_id = i.id WHERE i.state = 'ACTIVE'";

/// What decides about ACTIVE hosts after one, by id.
pub async fn inputs(c: &mut AnyConnection, last: Option<InstanceId>, limit: u32) -> StoreResult<Vec<PolicyInputs>> {
    let mut sql = Sql::new(INPUTS);
    if let Some(last) = last {
        sql.push(" AND i.id > ").bind(last.to_string());
    }
    sql.push(" ORDER BY i.id LIMIT ").bind(i64::from(limit));
    sql.fetch(c, "read what decides about the policies of hosts").await?.iter().map(read_inputs).collect()
}

/// The same of one host; absent unless it is ACTIVE.
pub async fn inputs_of(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<Option<PolicyInputs>> {
    let mut sql = Sql::new(INPUTS);
    sql.push(" AND i.id = ").bind(instance.to_string());
    sql.fetch(c, "read what decides about the policies of a host").await?.first().map(read_inputs).transpose()
}

/// Every row.
pub async fn all(c: &mut AnyConnection) -> StoreResult<Vec<AssignedRecord>> {
    Sql::new(COLUMNS).fetch(c, "read which hosts have which policies").await?.iter().map(read).collect()
}

/// The rows of a host.
pub async fn of_instance(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<Vec<AssignedRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE p.instance_id = ").bind(instance.to_string());
    sql.fetch(c, "read which policies a host has").await?.iter().map(read).collect()
}

/// Hosts of an assignment by name.
pub async fn list(
    c: &mut AnyConnection,
    assignment: AssignmentId,
    phase: Option<HostPhase>,
    page: &PageQuery,
) -> StoreResult<Paged<NamedAssigned>> {
    let mut sql = Sql::new(
        "SELECT p.assignment_id, p.instance_id, p.zone, p.revision, p.phase, p.generation, p.let_go_at, p.has_at, p.waiting_on, \
         i.name, i.zone AS zone_now FROM policy_hosts p JOIN instances i ON i.id = p.instance_id WHERE p.assignment_id = ",
    );
    sql.bind(assignment.to_string());
    if let Some(phase) = phase {
        sql.push(" AND p.phase = ").bind(phase.as_str());
    }
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" AND i.name > ").bind(last);
    }
    sql.push(" ORDER BY i.name LIMIT ").bind(cursor::fetch_limit(page));
    let rows = sql.fetch(c, "list the hosts of a policy assignment").await?;
    let named = |row: &AnyRow| {
        Ok(NamedAssigned { assigned: read(row)?, instance_name: text(row, "name")?, zone: text(row, "zone_now")? })
    };
    let found = rows.iter().map(named).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, found, |h| vec![h.instance_name.clone()]))
}

/// Stores rows.
pub async fn put(c: &mut AnyConnection, rows: &[AssignedRecord]) -> StoreResult<()> {
    for row in rows {
        let waiting_on = row.waiting_on.as_ref().map(|on| to_json("why a host waits", on)).transpose()?;
        sqlx::query(
            "INSERT INTO policy_hosts (assignment_id, instance_id, zone, revision, phase, generation, let_go_at, has_at, waiting_on) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (assignment_id, instance_id) DO UPDATE SET \
             zone = excluded.zone, revision = excluded.revision, phase = excluded.phase, generation = excluded.generation, \
             let_go_at = excluded.let_go_at, has_at = excluded.has_at, waiting_on = excluded.waiting_on",
        )
        .bind(row.assignment.to_string())
        .bind(row.instance.to_string())
        .bind(storable(&row.zone))
        .bind(number(row.revision))
        .bind(row.phase.as_str())
        .bind(number(row.generation))
        .bind(opt_micros(row.let_go_at))
        .bind(opt_micros(row.has_at))
        .bind(waiting_on)
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("store which policies a host has"))?;
    }
    Ok(())
}

/// Names the document that carries the revision of rows that have none yet.
pub async fn set_generation(c: &mut AnyConnection, instance: InstanceId, generation: u64) -> StoreResult<()> {
    sqlx::query("UPDATE policy_hosts SET generation = $2 WHERE instance_id = $1 AND generation = 0 AND revision > 0")
        .bind(instance.to_string())
        .bind(number(generation))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("store which document carries a revision"))
}

/// Notes that a host has what it is to have.
pub async fn set_has(c: &mut AnyConnection, row: &AssignedRecord, at: Timestamp) -> StoreResult<()> {
    sqlx::query(
        "UPDATE policy_hosts SET has_at = $4 WHERE assignment_id = $1 AND instance_id = $2 AND revision = $3 AND has_at IS NULL",
    )
    .bind(row.assignment.to_string())
    .bind(row.instance.to_string())
    .bind(number(row.revision))
    .bind(micros(at))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store that a host has its policies"))
}

/// Deletes a row, and how the assignment's health checks stand there.
pub async fn delete(c: &mut AnyConnection, assignment: AssignmentId, instance: InstanceId) -> StoreResult<()> {
    crate::policy_health::delete(&mut *c, assignment, instance).await?;
    sqlx::query("DELETE FROM policy_hosts WHERE assignment_id = $1 AND instance_id = $2")
        .bind(assignment.to_string())
        .bind(instance.to_string())
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("delete which policies a host has"))
}

/// Hosts that policies are at work on now, by zone; not those of `except`.
pub async fn changing(c: &mut AnyConnection, except: Option<AssignmentId>) -> StoreResult<BTreeMap<String, u32>> {
    let mut sql = Sql::new("SELECT zone, count(DISTINCT instance_id) AS n FROM policy_hosts WHERE phase = 'CHANGING'");
    if let Some(except) = except {
        sql.push(" AND assignment_id <> ").bind(except.to_string());
    }
    sql.push(" GROUP BY zone");
    let rows = sql.fetch(c, "count the hosts that policies are at work on").await?;
    rows.iter().map(|r| Ok((text(r, "zone")?, count(r, "n")?))).collect()
}

/// Hosts that other assignments are at work on now, with their zones.
pub async fn changing_hosts(c: &mut AnyConnection, except: AssignmentId) -> StoreResult<HashMap<InstanceId, String>> {
    let mut sql = Sql::new("SELECT DISTINCT instance_id, zone FROM policy_hosts WHERE phase = 'CHANGING' AND assignment_id <> ");
    sql.bind(except.to_string());
    let rows = sql.fetch(c, "read which hosts policies are at work on").await?;
    rows.iter().map(|r| Ok((id(r, "instance_id")?, text(r, "zone")?))).collect()
}

/// Hosts that patch jobs are at work on now, by zone.
pub async fn at_work_by_zone(c: &mut AnyConnection) -> StoreResult<BTreeMap<String, u32>> {
    let sql = Sql::new(
        "SELECT t.zone, count(*) AS n FROM patch_tasks t JOIN patch_jobs j ON j.id = t.job_id WHERE t.done = 0 \
         AND t.state <> 'PENDING' AND j.dry_run = 0 GROUP BY t.zone",
    );
    let rows = sql.fetch(c, "count the hosts that patch jobs are at work on").await?;
    rows.iter().map(|r| Ok((text(r, "zone")?, count(r, "n")?))).collect()
}

/// Hosts with a patch task under way, and that task.
pub async fn tasks_at_work(c: &mut AnyConnection) -> StoreResult<HashMap<InstanceId, TaskId>> {
    let sql = Sql::new(
        "SELECT t.instance_id, min(t.id) AS task FROM patch_tasks t JOIN patch_jobs j ON j.id = t.job_id WHERE t.done = 0 \
         AND t.state <> 'PENDING' AND j.dry_run = 0 GROUP BY t.instance_id",
    );
    let rows = sql.fetch(c, "read which hosts patch jobs are at work on").await?;
    rows.iter().map(|r| Ok((id(r, "instance_id")?, id(r, "task")?))).collect()
}

/// How many hosts of an assignment are in which phase with which reason.
pub async fn phases(c: &mut AnyConnection, assignment: AssignmentId) -> StoreResult<Vec<(HostPhase, Option<WaitingOn>, u32)>> {
    let mut sql = Sql::new("SELECT phase, waiting_on, count(*) AS n FROM policy_hosts WHERE assignment_id = ");
    sql.bind(assignment.to_string()).push(" GROUP BY phase, waiting_on");
    let rows = sql.fetch(c, "count the hosts of a policy assignment").await?;
    rows.iter().map(|r| Ok((parsed(r, "phase", HostPhase::parse)?, opt_json(r, "waiting_on")?, count(r, "n")?))).collect()
}

/// How many hosts are to have which revision of an assignment.
pub async fn by_revision(c: &mut AnyConnection, assignment: AssignmentId) -> StoreResult<BTreeMap<u64, u32>> {
    let mut sql = Sql::new("SELECT revision, count(*) AS n FROM policy_hosts WHERE assignment_id = ");
    sql.bind(assignment.to_string()).push(" GROUP BY revision");
    let rows = sql.fetch(c, "count the hosts of revisions").await?;
    rows.iter().map(|r| Ok((big_count(r, "revision")?, count(r, "n")?))).collect()
}

fn read(row: &AnyRow) -> StoreResult<AssignedRecord> {
    Ok(AssignedRecord {
        assignment: id(row, "assignment_id")?,
        instance: id(row, "instance_id")?,
        zone: text(row, "zone")?,
        revision: big_count(row, "revision")?,
        phase: parsed(row, "phase", HostPhase::parse)?,
        generation: big_count(row, "generation")?,
        let_go_at: opt_time(row, "let_go_at")?,
        has_at: opt_time(row, "has_at")?,
        waiting_on: opt_json(row, "waiting_on")?,
    })
}

fn read_inputs(row: &AnyRow) -> StoreResult<PolicyInputs> {
    let generation = crate::row::opt_int(row, "generation")?;
    Ok(PolicyInputs {
        instance: id(row, "id")?,
        name: text(row, "name")?,
        compartment: text(row, "compartment")?,
        zone: text(row, "zone")?,
        labels: json(row, "labels")?,
        os: opt_json(row, "os")?,
        group: opt_text(row, "group_name")?,
        environment: opt_text(row, "environment_name")?,
        last_seen: opt_time(row, "last_seen")?,
        generation: generation.and_then(|n| u64::try_from(n).ok()).unwrap_or_default(),
        fingerprint: opt_text(row, "fingerprint")?.unwrap_or_default(),
        made_at: opt_time(row, "made_at")?,
        pulled_at: opt_time(row, "pulled_at")?,
        absent: opt_text(row, "absent")?.unwrap_or_default(),
    })
}

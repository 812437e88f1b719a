//! Assignments of OS policies and their revisions.

use drydock_domain::access::Scope;
use drydock_domain::ids::AssignmentId;
use drydock_domain::policy::standing::RolloutState;
use drydock_domain::policy::{OsPolicyAssignment, PolicyRollout};
use drydock_domain::rollout;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{PageQuery, Paged};
use crate::row::{big_count, flag, id, int, json, micros, opt_micros, opt_time, parsed, storable, text, time, to_json};
use crate::sql::Sql;

/// What is not part of a revision.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Free text.
    pub description: String,
    /// How fast revisions reach their hosts.
    pub rollout: PolicyRollout,
}

/// An assignment.
#[derive(Debug, Clone, PartialEq)]
pub struct AssignmentRecord {
    /// Its id.
    pub id: AssignmentId,
    /// Unique.
    pub name: String,
    /// What is not part of a revision.
    pub settings: Settings,
    /// Ids of the newest revision's policies.
    pub policies: Vec<String>,
    /// The newest revision.
    pub target: u64,
    /// The last revision that was rolled out to the end; 0: none was.
    pub baseline: u64,
    /// The newest revision takes the assignment away.
    pub deleted: bool,
    /// Where the newest revision's rollout stands.
    pub state: RolloutState,
    /// What people and the planner did to it.
    pub control: rollout::Control,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// Path of its compartment: it reaches hosts there and below.
    pub compartment: String,
    /// Who made the assignment.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it last got a revision or other settings.
    pub updated_at: Timestamp,
    /// Grows with every change of the row.
    pub version: i64,
}

/// A revision.
#[derive(Debug, Clone, PartialEq)]
pub struct RevisionRecord {
    /// Whose.
    pub assignment: AssignmentId,
    /// From 1.
    pub number: u64,
    /// As written; in lists empty.
    pub document: OsPolicyAssignment,
    /// It takes the assignment away.
    pub deleted: bool,
    /// Why, in its maker's words.
    pub reason: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// What became of its rollout.
    pub state: RolloutState,
}

const COLUMNS: &str = "SELECT id, name, settings, policies, target, baseline, deleted, state, control, started_at, ended_at, \
                       compartment, created_by, created_at, updated_at, version FROM policy_assignments";

/// Adds an assignment.
pub async fn insert(c: &mut AnyConnection, record: &AssignmentRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO policy_assignments (id, name, settings, policies, target, baseline, deleted, state, control, started_at, \
         ended_at, created_by, created_at, updated_at, version, compartment) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(record.id.to_string())
    .bind(record.name.clone())
    .bind(to_json("settings of a policy assignment", &record.settings)?)
    .bind(to_json("policies of a policy assignment", &record.policies)?)
    .bind(number(record.target))
    .bind(number(record.baseline))
    .bind(i64::from(record.deleted))
    .bind(record.state.as_str())
    .bind(to_json("control of a policy assignment", &record.control)?)
    .bind(micros(record.started_at))
    .bind(opt_micros(record.ended_at))
    .bind(storable(&record.created_by))
    .bind(micros(record.created_at))
    .bind(micros(record.updated_at))
    .bind(record.version)
    .bind(record.compartment.clone())
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a policy assignment"))
}

/// Stores what changes of an assignment, if the row still has the record's version. `false`: somebody else was faster.
pub async fn update(c: &mut AnyConnection, record: &AssignmentRecord) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE policy_assignments SET settings = $3, policies = $4, target = $5, baseline = $6, deleted = $7, state = $8, \
         control = $9, started_at = $10, ended_at = $11, updated_at = $12, version = version + 1 WHERE id = $1 AND version = $2",
    )
    .bind(record.id.to_string())
    .bind(record.version)
    .bind(to_json("settings of a policy assignment", &record.settings)?)
    .bind(to_json("policies of a policy assignment", &record.policies)?)
    .bind(number(record.target))
    .bind(number(record.baseline))
    .bind(i64::from(record.deleted))
    .bind(record.state.as_str())
    .bind(to_json("control of a policy assignment", &record.control)?)
    .bind(micros(record.started_at))
    .bind(opt_micros(record.ended_at))
    .bind(micros(record.updated_at))
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("change a policy assignment"))
}

/// The assignment of this name.
pub async fn find_by_name(c: &mut AnyConnection, name: &str) -> StoreResult<Option<AssignmentRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE name = ").bind(storable(name));
    sql.fetch(c, "read a policy assignment").await?.first().map(read).transpose()
}

/// Every assignment by name.
pub async fn all(c: &mut AnyConnection) -> StoreResult<Vec<AssignmentRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" ORDER BY name");
    sql.fetch(c, "read the policy assignments").await?.iter().map(read).collect()
}

/// Assignments by name, page by page.
pub async fn list(c: &mut AnyConnection, page: &PageQuery, scope: &Scope) -> StoreResult<Paged<AssignmentRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE 1 = 1").within("compartment", scope);
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" AND name > ").bind(last);
    }
    sql.push(" ORDER BY name LIMIT ").bind(cursor::fetch_limit(page));
    let rows = sql.fetch(c, "list policy assignments").await?;
    let found = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, found, |a| vec![a.name.clone()]))
}

/// How many there are.
pub async fn count(c: &mut AnyConnection) -> StoreResult<u64> {
    let rows = Sql::new("SELECT count(*) AS n FROM policy_assignments").fetch(c, "count policy assignments").await?;
    Ok(rows.first().map(|r| big_count(r, "n")).transpose()?.unwrap_or_default())
}

/// Deletes an assignment with its revisions and what hosts said of it, if the row still has this version.
pub async fn delete(c: &mut AnyConnection, record: &AssignmentRecord) -> StoreResult<bool> {
    let gone = sqlx::query("DELETE FROM policy_assignments WHERE id = $1 AND version = $2")
        .bind(record.id.to_string())
        .bind(record.version)
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("delete a policy assignment"))?;
    if gone.rows_affected() == 0 {
        return Ok(false);
    }
    for (statement, doing) in [
        ("DELETE FROM policy_results WHERE assignment = $1", "delete the results of a policy assignment"),
        ("DELETE FROM policy_resources WHERE assignment = $1", "delete the resources of a policy assignment"),
    ] {
        sqlx::query(statement).bind(record.name.clone()).execute(&mut *c).await.map_err(StoreError::query(doing))?;
    }
    Ok(true)
}

/// Adds a revision.
pub async fn insert_revision(c: &mut AnyConnection, revision: &RevisionRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO policy_revisions (assignment_id, number, document, deleted, reason, created_by, created_at, state) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(revision.assignment.to_string())
    .bind(number(revision.number))
    .bind(to_json("a revision of a policy assignment", &revision.document)?)
    .bind(i64::from(revision.deleted))
    .bind(storable(&revision.reason))
    .bind(storable(&revision.created_by))
    .bind(micros(revision.created_at))
    .bind(revision.state.as_str())
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a revision of a policy assignment"))
}

/// Says what became of a revision's rollout.
pub async fn set_revision_state(
    c: &mut AnyConnection,
    assignment: AssignmentId,
    revision: u64,
    state: RolloutState,
) -> StoreResult<()> {
    sqlx::query("UPDATE policy_revisions SET state = $3 WHERE assignment_id = $1 AND number = $2")
        .bind(assignment.to_string())
        .bind(number(revision))
        .bind(state.as_str())
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("store the state of a revision"))
}

/// A revision with its document.
pub async fn revision(c: &mut AnyConnection, assignment: AssignmentId, revision: u64) -> StoreResult<Option<RevisionRecord>> {
    let mut sql = Sql::new(
        "SELECT assignment_id, number, document, deleted, reason, created_by, created_at, state FROM policy_revisions \
         WHERE assignment_id = ",
    );
    sql.bind(assignment.to_string()).push(" AND number = ").bind(number(revision));
    let rows = sql.fetch(c, "read a revision of a policy assignment").await?;
    rows.first().map(|row| Ok(RevisionRecord { document: json(row, "document")?, ..read_revision(row)? })).transpose()
}

/// Revisions of an assignment, newest first, without their documents.
pub async fn revisions(c: &mut AnyConnection, assignment: AssignmentId, page: &PageQuery) -> StoreResult<Paged<RevisionRecord>> {
    let mut sql = Sql::new(
        "SELECT assignment_id, number, deleted, reason, created_by, created_at, state FROM policy_revisions WHERE assignment_id = ",
    );
    sql.bind(assignment.to_string());
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" AND number < ").bind(cursor::number(&last)?);
    }
    sql.push(" ORDER BY number DESC LIMIT ").bind(cursor::fetch_limit(page));
    let rows = sql.fetch(c, "list the revisions of a policy assignment").await?;
    let found = rows.iter().map(read_revision).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, found, |r| vec![r.number.to_string()]))
}

pub(crate) fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn read(row: &AnyRow) -> StoreResult<AssignmentRecord> {
    Ok(AssignmentRecord {
        id: id(row, "id")?,
        name: text(row, "name")?,
        settings: json(row, "settings")?,
        policies: json(row, "policies")?,
        target: big_count(row, "target")?,
        baseline: big_count(row, "baseline")?,
        deleted: flag(row, "deleted")?,
        state: parsed(row, "state", RolloutState::parse)?,
        control: json(row, "control")?,
        started_at: time(row, "started_at")?,
        ended_at: opt_time(row, "ended_at")?,
        compartment: text(row, "compartment")?,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: int(row, "version")?,
    })
}

fn read_revision(row: &AnyRow) -> StoreResult<RevisionRecord> {
    Ok(RevisionRecord {
        assignment: id(row, "assignment_id")?,
        number: big_count(row, "number")?,
        document: OsPolicyAssignment::default(),
        deleted: flag(row, "deleted")?,
        reason: text(row, "reason")?,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        state: parsed(row, "state", RolloutState::parse)?,
    })
}

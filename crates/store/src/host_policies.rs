//! The policies document of each host, what is known of its last report, and checks that people asked for.

use drydock_domain::ids::InstanceId;
use drydock_domain::policy::standing::PolicyProblem;
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::error::{StoreError, StoreResult};
use crate::policies::number;
use crate::row::{big_count, flag, json, micros, opt_time, storable, text, to_json};
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
    /// What is not in it as written.
    pub problems: &'a [PolicyProblem],
    /// When it was made.
    pub at: Timestamp,
}

/// What a host is to have and what it last told.
#[derive(Debug, Clone, PartialEq)]
pub struct HostPoliciesRecord {
    /// Generation of its document; 0: none.
    pub generation: u64,
    /// JSON, exactly as it is signed; empty: none.
    pub document: String,
    /// What is not in it as written.
    pub problems: Vec<PolicyProblem>,
    /// Why nothing newer is known of the host.
    pub absent: String,
    /// Number of the newest check asked for.
    pub check_asked: u64,
    /// Number of the newest check done.
    pub check_done: u64,
    /// Highest report stored; 0: none.
    pub report_seq: u64,
    /// Generation it was about.
    pub report_generation: u64,
    /// Why the host could not take it.
    pub report_problem: String,
    /// When it came.
    pub reported_at: Option<Timestamp>,
}

/// What an agent's question is answered by when nothing changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PullState {
    /// Generation of its document; 0: none.
    pub generation: u64,
    /// Number of the newest check asked for.
    pub check: u64,
    /// The agent has asked before.
    pub pulled: bool,
}

/// What is noted of a report.
#[derive(Debug, Clone, Copy)]
pub struct ReportNote<'a> {
    /// Its number.
    pub seq: u64,
    /// The generation it is about.
    pub generation: u64,
    /// The newest check it answers.
    pub check: u64,
    /// Why the host could not take the document.
    pub problem: &'a str,
    /// When it came.
    pub at: Timestamp,
}

const EMPTY: &str = "INSERT INTO host_policies (instance_id, generation, fingerprint, document, problems, absent, check_asked, \
                     check_done, report_seq, report_generation, report_problem) \
                     VALUES ($1, 0, '', '', '[]', '', 0, 0, 0, 0, '') ON CONFLICT (instance_id) DO NOTHING";

/// Makes the row of a host where there is none.
pub async fn ensure(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<()> {
    let query = sqlx::query(EMPTY).bind(instance.to_string());
    query.execute(c).await.map(drop).map_err(StoreError::query("begin the policies of a host"))
}

/// What an agent is answered by when nothing changed.
pub async fn pull_state(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<PullState> {
    let mut sql = Sql::new(
        "SELECT generation, check_asked, CASE WHEN pulled_at IS NULL THEN 0 ELSE 1 END AS pulled FROM host_policies \
         WHERE instance_id = ",
    );
    sql.bind(instance.to_string());
    let rows = sql.fetch(c, "read the generation of a host's policies").await?;
    let read = |r: &AnyRow| {
        Ok(PullState { generation: big_count(r, "generation")?, check: big_count(r, "check_asked")?, pulled: flag(r, "pulled")? })
    };
    rows.first().map(read).transpose().map(Option::unwrap_or_default)
}

/// Notes that an agent asks for policies.
pub async fn note_pulled(c: &mut AnyConnection, instance: InstanceId, at: Timestamp) -> StoreResult<()> {
    ensure(c, instance).await?;
    sqlx::query("UPDATE host_policies SET pulled_at = $2 WHERE instance_id = $1 AND pulled_at IS NULL")
        .bind(instance.to_string())
        .bind(micros(at))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("note that an agent asks for policies"))
}

/// What a host is to have and what it last told.
pub async fn find(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<Option<HostPoliciesRecord>> {
    let mut sql = Sql::new(
        "SELECT generation, document, problems, absent, check_asked, check_done, report_seq, report_generation, report_problem, \
         reported_at FROM host_policies WHERE instance_id = ",
    );
    sql.bind(instance.to_string());
    sql.fetch(c, "read the policies document of a host").await?.first().map(read).transpose()
}

/// Stores a document, if the one there still has generation `expected` (0: none). `false`: somebody else was faster.
pub async fn put(c: &mut AnyConnection, instance: InstanceId, document: &Document<'_>, expected: u64) -> StoreResult<bool> {
    ensure(c, instance).await?;
    sqlx::query(
        "UPDATE host_policies SET generation = $2, fingerprint = $3, document = $4, problems = $5, made_at = $6 \
         WHERE instance_id = $1 AND generation = $7 AND generation < $2",
    )
    .bind(instance.to_string())
    .bind(number(document.generation))
    .bind(document.fingerprint.to_owned())
    .bind(document.document.to_owned())
    .bind(to_json("problems of a host's policies", document.problems)?)
    .bind(micros(document.at))
    .bind(number(expected))
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("store the policies document of a host"))
}

/// Replaces the problems of a document that stays what it is.
pub async fn set_problems(c: &mut AnyConnection, instance: InstanceId, problems: &[PolicyProblem]) -> StoreResult<()> {
    ensure(c, instance).await?;
    sqlx::query("UPDATE host_policies SET problems = $2 WHERE instance_id = $1")
        .bind(instance.to_string())
        .bind(to_json("problems of a host's policies", problems)?)
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("store the problems of a host's policies"))
}

/// Says why nothing newer is known of a host; empty: it speaks.
pub async fn set_absent(c: &mut AnyConnection, instance: InstanceId, absent: &str) -> StoreResult<()> {
    sqlx::query("UPDATE host_policies SET absent = $2 WHERE instance_id = $1")
        .bind(instance.to_string())
        .bind(absent.to_owned())
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("store that a host is silent"))
}

/// Asks a host to check its policies, if it has any. The number of the check.
pub async fn ask_check(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<Option<u64>> {
    let mut sql = Sql::new("UPDATE host_policies SET check_asked = check_asked + 1 WHERE generation > 0 AND instance_id = ");
    sql.bind(instance.to_string()).push(" RETURNING check_asked");
    let rows = sql.fetch(c, "ask a host for a check").await?;
    rows.first().map(|r| big_count(r, "check_asked")).transpose()
}

/// The next check gets a number beyond this one.
pub async fn raise_check(c: &mut AnyConnection, instance: InstanceId, check: u64) -> StoreResult<()> {
    sqlx::query("UPDATE host_policies SET check_asked = $2, check_done = $2 WHERE instance_id = $1 AND check_asked < $2")
        .bind(instance.to_string())
        .bind(number(check))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("number the checks of a host"))
}

/// Has any host a document?
pub async fn any(c: &mut AnyConnection) -> StoreResult<bool> {
    let sql = Sql::new("SELECT generation FROM host_policies WHERE generation > 0 LIMIT 1");
    Ok(!sql.fetch(c, "look for a host with policies").await?.is_empty())
}

/// Takes a report's number, if it is higher than the one before: the host speaks. `false`: it is not.
pub async fn take_report(c: &mut AnyConnection, instance: InstanceId, note: &ReportNote<'_>) -> StoreResult<bool> {
    ensure(c, instance).await?;
    sqlx::query(
        "UPDATE host_policies SET report_seq = $2, report_generation = $3, report_problem = $4, reported_at = $5, absent = '', \
         check_done = CASE WHEN $6 > check_done AND $6 <= check_asked THEN $6 ELSE check_done END \
         WHERE instance_id = $1 AND report_seq < $2",
    )
    .bind(instance.to_string())
    .bind(number(note.seq))
    .bind(number(note.generation))
    .bind(storable(note.problem))
    .bind(micros(note.at))
    .bind(number(note.check))
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("store a report on a host's policies"))
}

fn read(row: &AnyRow) -> StoreResult<HostPoliciesRecord> {
    Ok(HostPoliciesRecord {
        generation: big_count(row, "generation")?,
        document: text(row, "document")?,
        problems: json(row, "problems")?,
        absent: text(row, "absent")?,
        check_asked: big_count(row, "check_asked")?,
        check_done: big_count(row, "check_done")?,
        report_seq: big_count(row, "report_seq")?,
        report_generation: big_count(row, "report_generation")?,
        report_problem: text(row, "report_problem")?,
        reported_at: opt_time(row, "reported_at")?,
    })
}

//! The two-person rule: rules, and requests for approval. An approval is for exactly what was asked (its fingerprint), by
//! whoever asked, once.

use drydock_domain::access::approval::ApprovalRuleSpec;
use drydock_domain::ids::{ApprovalId, ApprovalRuleId};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{PageQuery, Paged};
use crate::row::{id, int, json, micros, opt_text, opt_time, parsed, storable, text, time, to_json};
use crate::sql::Sql;

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRuleRecord {
    /// Its id.
    pub id: ApprovalRuleId,
    /// As written.
    pub spec: ApprovalRuleSpec,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalState {
    /// Nobody has decided.
    Pending,
    /// Another person said yes; whoever asked may do it once.
    Approved,
    /// Another person said no.
    Refused,
    /// It was done.
    Used,
}

impl ApprovalState {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            ApprovalState::Pending => "PENDING",
            ApprovalState::Approved => "APPROVED",
            ApprovalState::Refused => "REFUSED",
            ApprovalState::Used => "USED",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [ApprovalState::Pending, ApprovalState::Approved, ApprovalState::Refused, ApprovalState::Used];
        all.into_iter().find(|own| own.as_str() == text)
    }
}

/// A request for approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRecord {
    /// Its id.
    pub id: ApprovalId,
    /// Name of the rule that asked for it.
    pub rule: String,
    /// The operation.
    pub operation: String,
    /// What it is about, as audit records name it.
    pub resource: String,
    /// Path of the compartment.
    pub compartment: String,
    /// SHA-256 of everything that was asked for, hex.
    pub fingerprint: String,
    /// Who asked, by name.
    pub requester: String,
    /// Who asked: the principal's key.
    pub requester_key: String,
    /// Who decided.
    pub approver: Option<String>,
    /// How it stands.
    pub state: ApprovalState,
    /// What the approver said.
    pub reason: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it is good for nothing.
    pub expires_at: Timestamp,
    /// When it was decided.
    pub decided_at: Option<Timestamp>,
}

const RULES: &str = "SELECT id, spec, created_by, created_at, updated_at, version FROM approval_rules";
const REQUESTS: &str = "SELECT id, rule, operation, resource, compartment, fingerprint, requester, requester_key, approver, state, \
                        reason, created_at, expires_at, decided_at FROM approval_requests";

/// All rules by name.
pub async fn rules(c: &mut AnyConnection) -> StoreResult<Vec<ApprovalRuleRecord>> {
    let mut sql = Sql::new(RULES);
    sql.push(" ORDER BY name");
    sql.fetch(c, "list approval rules").await?.iter().map(read_rule).collect()
}

/// Adds a rule, or replaces the one of its name.
pub async fn put_rule(c: &mut AnyConnection, rule: &ApprovalRuleRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO approval_rules (id, name, spec, created_by, created_at, updated_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6, 1) ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, \
         updated_at = excluded.updated_at, version = approval_rules.version + 1",
    )
    .bind(rule.id.to_string())
    .bind(storable(&rule.spec.name))
    .bind(to_json("an approval rule", &rule.spec)?)
    .bind(storable(&rule.created_by))
    .bind(micros(rule.created_at))
    .bind(micros(rule.updated_at))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store an approval rule"))
}

/// Deletes a rule. `false`: there is none.
pub async fn delete_rule(c: &mut AnyConnection, name: &str) -> StoreResult<bool> {
    sqlx::query("DELETE FROM approval_rules WHERE name = $1")
        .bind(storable(name))
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("delete an approval rule"))
}

/// Adds a request.
pub async fn insert(c: &mut AnyConnection, own: &ApprovalRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO approval_requests (id, rule, operation, resource, compartment, fingerprint, requester, requester_key, \
         state, reason, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '', $10, $11)",
    )
    .bind(own.id.to_string())
    .bind(storable(&own.rule))
    .bind(storable(&own.operation))
    .bind(storable(&own.resource))
    .bind(storable(&own.compartment))
    .bind(own.fingerprint.clone())
    .bind(storable(&own.requester))
    .bind(own.requester_key.clone())
    .bind(own.state.as_str())
    .bind(micros(own.created_at))
    .bind(micros(own.expires_at))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a request for approval"))
}

/// The newest request for exactly this by this principal that is not over.
pub async fn standing(
    c: &mut AnyConnection,
    fingerprint: &str,
    requester_key: &str,
    now: Timestamp,
) -> StoreResult<Option<ApprovalRecord>> {
    let mut sql = Sql::new(REQUESTS);
    sql.push(" WHERE fingerprint = ").bind(fingerprint.to_owned());
    sql.push(" AND requester_key = ").bind(requester_key.to_owned());
    sql.push(" AND expires_at > ").bind(micros(now)).push(" AND state <> 'USED' ORDER BY id DESC LIMIT 1");
    sql.fetch(c, "look up a request for approval").await?.first().map(read).transpose()
}

/// The request with this id.
pub async fn find(c: &mut AnyConnection, own: ApprovalId) -> StoreResult<Option<ApprovalRecord>> {
    let mut sql = Sql::new(REQUESTS);
    sql.push(" WHERE id = ").bind(own.to_string());
    sql.fetch(c, "read a request for approval").await?.first().map(read).transpose()
}

/// Requests, newest first.
pub async fn list(c: &mut AnyConnection, page: &PageQuery) -> StoreResult<Paged<ApprovalRecord>> {
    let mut sql = Sql::new(REQUESTS);
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" WHERE id < ").bind(last);
    }
    sql.push(" ORDER BY id DESC LIMIT ").bind(cursor::fetch_limit(page));
    let rows = sql.fetch(c, "list requests for approval").await?;
    let found = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, found, |own| vec![own.id.to_string()]))
}

/// How many requests of a principal wait for a decision.
pub async fn waiting(c: &mut AnyConnection, requester_key: &str, now: Timestamp) -> StoreResult<i64> {
    let mut sql = Sql::new("SELECT count(*) AS n FROM approval_requests WHERE state = 'PENDING' AND requester_key = ");
    sql.bind(requester_key.to_owned()).push(" AND expires_at > ").bind(micros(now));
    sql.fetch(c, "count requests for approval").await?.first().map_or(Ok(0), |row| int(row, "n"))
}

/// Requests that wait for a decision, newest first.
pub async fn open(c: &mut AnyConnection, now: Timestamp, limit: u32) -> StoreResult<Vec<ApprovalRecord>> {
    let mut sql = Sql::new(REQUESTS);
    sql.push(" WHERE state = 'PENDING' AND expires_at > ").bind(micros(now));
    sql.push(" ORDER BY id DESC LIMIT ").bind(i64::from(limit));
    sql.fetch(c, "list requests that wait for approval").await?.iter().map(read).collect()
}

/// Decides a request that nobody has decided yet. `false`: somebody has, or it is over.
pub async fn decide(
    c: &mut AnyConnection,
    own: ApprovalId,
    state: ApprovalState,
    approver: (&str, &str),
    reason: &str,
    now: Timestamp,
) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE approval_requests SET state = $2, approver = $3, approver_key = $4, reason = $5, decided_at = $6 \
         WHERE id = $1 AND state = 'PENDING' AND expires_at > $6",
    )
    .bind(own.to_string())
    .bind(state.as_str())
    .bind(storable(approver.0))
    .bind(approver.1.to_owned())
    .bind(storable(reason))
    .bind(micros(now))
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("decide a request for approval"))
}

/// Uses up an approval, in the transaction of what was approved. `false`: it was used already.
pub async fn take(c: &mut AnyConnection, own: ApprovalId) -> StoreResult<bool> {
    sqlx::query("UPDATE approval_requests SET state = 'USED' WHERE id = $1 AND state = 'APPROVED'")
        .bind(own.to_string())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("use an approval"))
}

/// Deletes requests that were over before then.
pub async fn forget(c: &mut AnyConnection, before: Timestamp) -> StoreResult<u64> {
    sqlx::query("DELETE FROM approval_requests WHERE expires_at < $1")
        .bind(micros(before))
        .execute(c)
        .await
        .map(|r| r.rows_affected())
        .map_err(StoreError::query("forget old requests for approval"))
}

fn read_rule(row: &AnyRow) -> StoreResult<ApprovalRuleRecord> {
    Ok(ApprovalRuleRecord {
        id: id(row, "id")?,
        spec: json(row, "spec")?,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: int(row, "version")?,
    })
}

fn read(row: &AnyRow) -> StoreResult<ApprovalRecord> {
    Ok(ApprovalRecord {
        id: id(row, "id")?,
        rule: text(row, "rule")?,
        operation: text(row, "operation")?,
        resource: text(row, "resource")?,
        compartment: text(row, "compartment")?,
        fingerprint: text(row, "fingerprint")?,
        requester: text(row, "requester")?,
        requester_key: text(row, "requester_key")?,
        approver: opt_text(row, "approver")?,
        state: parsed(row, "state", ApprovalState::parse)?,
        reason: text(row, "reason")?,
        created_at: time(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
        decided_at: opt_time(row, "decided_at")?,
    })
}

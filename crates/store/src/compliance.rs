//! How policies and their resources stand on hosts, now and before.
//!
//! What a host last told counts only while the host speaks: where `host_policies.absent` names a reason, everything of the
//! host is UNKNOWN for it. Every list and count here sees it so; the history keeps what was told.

use std::collections::BTreeMap;

use drydock_domain::access::Scope;
use drydock_domain::ids::InstanceId;
use drydock_domain::policy::standing::{
    ComplianceCounts, ComplianceInterval, ComplianceResult, PolicyCompliance, ResourceCompliance,
};
use drydock_domain::policy::{ComplianceState, ResourceResult};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::policies::number;
use crate::records::{PageQuery, Paged};
use crate::row::{big_count, count, id, int, json, micros, opt_micros, opt_time, parsed, storable, text, time, to_json};
use crate::sql::Sql;

/// How a policy stands on a host, as told.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultRecord {
    /// Name of the assignment.
    pub assignment: String,
    /// Id of the policy.
    pub policy: String,
    /// Revision it is about; 0: the host told nothing yet.
    pub revision: u64,
    /// How it stands.
    pub state: ComplianceState,
    /// Why.
    pub reason: String,
    /// Id of the run.
    pub run: String,
    /// When all of it was last looked at.
    pub checked_at: Option<Timestamp>,
    /// In this state since.
    pub since: Timestamp,
}

/// How a resource stands on a host, as told.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceRecord {
    /// Name of the assignment.
    pub assignment: String,
    /// Id of the policy.
    pub policy: String,
    /// Its place in the policy.
    pub position: u32,
    /// As told, with steps and evidence.
    pub result: ResourceResult,
}

/// Which results to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultQuery {
    /// Only this host.
    pub instance: Option<InstanceId>,
    /// Only this assignment.
    pub assignment: Option<String>,
    /// Only this policy.
    pub policy: Option<String>,
    /// Only this state.
    pub state: Option<ComplianceState>,
    /// Only this reason.
    pub reason: Option<String>,
    /// Which page.
    pub page: PageQuery,
}

/// Results of a host as told.
pub async fn of_instance(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<Vec<ResultRecord>> {
    let mut sql = Sql::new(
        "SELECT assignment, policy, revision, state, reason, run, checked_at, since FROM policy_results WHERE instance_id = ",
    );
    sql.bind(instance.to_string()).push(" ORDER BY assignment, policy");
    sql.fetch(c, "read how the policies of a host stand").await?.iter().map(read_result).collect()
}

/// Resources of a host as told, each policy's in its order.
pub async fn resources_of(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<Vec<ResourceRecord>> {
    let mut sql = Sql::new("SELECT assignment, policy, position, body FROM policy_resources WHERE instance_id = ");
    sql.bind(instance.to_string()).push(" ORDER BY assignment, policy, position");
    let read = |row: &AnyRow| {
        Ok(ResourceRecord {
            assignment: text(row, "assignment")?,
            policy: text(row, "policy")?,
            position: count(row, "position")?,
            result: json(row, "body")?,
        })
    };
    sql.fetch(c, "read how the resources of a host stand").await?.iter().map(read).collect()
}

/// Stores a result.
pub async fn put_result(c: &mut AnyConnection, instance: InstanceId, result: &ResultRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO policy_results (instance_id, assignment, policy, revision, state, reason, run, checked_at, since) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (instance_id, assignment, policy) DO UPDATE SET \
         revision = excluded.revision, state = excluded.state, reason = excluded.reason, run = excluded.run, \
         checked_at = excluded.checked_at, since = excluded.since",
    )
    .bind(instance.to_string())
    .bind(storable(&result.assignment))
    .bind(storable(&result.policy))
    .bind(number(result.revision))
    .bind(result.state.as_str())
    .bind(storable(&result.reason))
    .bind(storable(&result.run))
    .bind(opt_micros(result.checked_at))
    .bind(micros(result.since))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store how a policy stands"))
}

/// Deletes a result with its resources.
pub async fn delete_result(c: &mut AnyConnection, instance: InstanceId, assignment: &str, policy: &str) -> StoreResult<()> {
    for (statement, doing) in [
        ("DELETE FROM policy_results WHERE instance_id = $1 AND assignment = $2 AND policy = $3", "delete how a policy stands"),
        ("DELETE FROM policy_resources WHERE instance_id = $1 AND assignment = $2 AND policy = $3", "delete how resources stand"),
    ] {
        let query = sqlx::query(statement).bind(instance.to_string()).bind(assignment.to_owned()).bind(policy.to_owned());
        query.execute(&mut *c).await.map_err(StoreError::query(doing))?;
    }
    Ok(())
}

/// Stores how a resource stands.
pub async fn put_resource(c: &mut AnyConnection, instance: InstanceId, resource: &ResourceRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO policy_resources (instance_id, assignment, policy, resource, position, state, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (instance_id, assignment, policy, resource) DO UPDATE SET \
         position = excluded.position, state = excluded.state, body = excluded.body",
    )
    .bind(instance.to_string())
    .bind(storable(&resource.assignment))
    .bind(storable(&resource.policy))
    .bind(storable(&resource.result.id))
    .bind(i64::from(resource.position))
    .bind(resource.result.state.as_str())
    .bind(to_json("how a resource stands", &resource.result)?)
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store how a resource stands"))
}

/// Deletes how a resource stands.
pub async fn delete_resource(
    c: &mut AnyConnection,
    instance: InstanceId,
    assignment: &str,
    policy: &str,
    resource: &str,
) -> StoreResult<()> {
    sqlx::query("DELETE FROM policy_resources WHERE instance_id = $1 AND assignment = $2 AND policy = $3 AND resource = $4")
        .bind(instance.to_string())
        .bind(assignment.to_owned())
        .bind(policy.to_owned())
        .bind(resource.to_owned())
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("delete how a resource stands"))
}

/// Ends the open interval of a policy on a host.
pub async fn end_interval(
    c: &mut AnyConnection,
    instance: InstanceId,
    assignment: &str,
    policy: &str,
    at: Timestamp,
) -> StoreResult<()> {
    sqlx::query(
        "UPDATE policy_intervals SET until_at = $4 WHERE instance_id = $1 AND assignment = $2 AND policy = $3 AND until_at IS NULL",
    )
    .bind(instance.to_string())
    .bind(assignment.to_owned())
    .bind(policy.to_owned())
    .bind(micros(at))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("end how long a policy stood so"))
}

/// Ends the open intervals of an assignment.
pub async fn end_intervals_of(c: &mut AnyConnection, assignment: &str, at: Timestamp) -> StoreResult<()> {
    sqlx::query("UPDATE policy_intervals SET until_at = $2 WHERE assignment = $1 AND until_at IS NULL")
        .bind(assignment.to_owned())
        .bind(micros(at))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("end how long the policies of an assignment stood so"))
}

/// Ends the open interval of a policy on a host and begins another.
pub async fn begin_interval(c: &mut AnyConnection, instance: InstanceId, result: &ResultRecord) -> StoreResult<()> {
    end_interval(c, instance, &result.assignment, &result.policy, result.since).await?;
    sqlx::query(
        "INSERT INTO policy_intervals (instance_id, assignment, policy, state, reason, since) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (instance_id, assignment, policy, since) DO UPDATE SET state = excluded.state, reason = excluded.reason, \
         until_at = NULL",
    )
    .bind(instance.to_string())
    .bind(storable(&result.assignment))
    .bind(storable(&result.policy))
    .bind(result.state.as_str())
    .bind(storable(&result.reason))
    .bind(micros(result.since))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store how long a policy stands so"))
}

/// Forgets intervals that ended before. How many.
pub async fn forget_intervals(c: &mut AnyConnection, before: Timestamp) -> StoreResult<u64> {
    sqlx::query("DELETE FROM policy_intervals WHERE until_at < $1")
        .bind(micros(before))
        .execute(c)
        .await
        .map(|r| r.rows_affected())
        .map_err(StoreError::query("forget how policies stood long ago"))
}

const STATE: &str = "CASE WHEN h.absent <> '' THEN 'UNKNOWN' ELSE r.state END";
const REASON: &str = "CASE WHEN h.absent <> '' THEN h.absent ELSE r.reason END";
/// The worse the state, the higher.
const RANK: &str =
    "CASE WHEN h.absent <> '' THEN 1 WHEN r.state = 'NON_COMPLIANT' THEN 2 WHEN r.state = 'UNKNOWN' THEN 1 ELSE 0 END";
const FROM: &str = " FROM policy_results r JOIN host_policies h ON h.instance_id = r.instance_id \
                    JOIN instances i ON i.id = r.instance_id WHERE i.state = 'ACTIVE'";

/// Results of hosts in the compartments of `scope`, by host, assignment and policy.
pub async fn list(c: &mut AnyConnection, query: &ResultQuery, scope: &Scope) -> StoreResult<Paged<ComplianceResult>> {
    let mut sql =
        Sql::new("SELECT r.instance_id, i.name, i.zone, r.assignment, r.policy, r.revision, r.run, r.checked_at, r.since, ");
    sql.push(STATE).push(" AS state, ").push(REASON).push(" AS reason").push(FROM).within("i.compartment", scope);
    if let Some(instance) = query.instance {
        sql.push(" AND r.instance_id = ").bind(instance.to_string());
    }
    if let Some(assignment) = &query.assignment {
        sql.push(" AND r.assignment = ").bind(storable(assignment));
    }
    if let Some(policy) = &query.policy {
        sql.push(" AND r.policy = ").bind(storable(policy));
    }
    if let Some(state) = query.state {
        sql.push(" AND ").push(STATE).push(" = ").bind(state.as_str());
    }
    if let Some(reason) = &query.reason {
        sql.push(" AND ").push(REASON).push(" = ").bind(storable(reason));
    }
    if let Some([name, assignment, policy]) = cursor::keys::<3>(&query.page)? {
        sql.push(" AND (i.name, r.assignment, r.policy) > (").bind(name).push(", ").bind(assignment).push(", ").bind(policy);
        sql.push(")");
    }
    sql.push(" ORDER BY i.name, r.assignment, r.policy LIMIT ").bind(cursor::fetch_limit(&query.page));
    let read = |row: &AnyRow| {
        let told = read_result(row)?;
        Ok(ComplianceResult {
            instance: id(row, "instance_id")?,
            instance_name: text(row, "name")?,
            zone: text(row, "zone")?,
            assignment: told.assignment,
            revision: told.revision,
            policy: told.policy,
            state: told.state,
            reason: told.reason,
            since: told.since,
            checked_at: told.checked_at,
            run: told.run,
        })
    };
    let rows = sql.fetch(c, "list how policies stand").await?;
    let found = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(&query.page, found, |r| vec![r.instance_name.clone(), r.assignment.clone(), r.policy.clone()]))
}

/// Hosts by their worst state over all policies, or those of one assignment.
pub async fn hosts(c: &mut AnyConnection, assignment: Option<&str>, scope: &Scope) -> StoreResult<ComplianceCounts> {
    let mut sql = Sql::new("SELECT t.worst, count(*) AS n FROM (SELECT r.instance_id, max(");
    sql.push(RANK).push(") AS worst").push(FROM).within("i.compartment", scope);
    if let Some(assignment) = assignment {
        sql.push(" AND r.assignment = ").bind(storable(assignment));
    }
    sql.push(" GROUP BY r.instance_id) t GROUP BY t.worst");
    let mut counts = ComplianceCounts::default();
    for row in &sql.fetch(c, "count how hosts stand").await? {
        counts.add(of_rank(int(row, "worst")?), count(row, "n")?);
    }
    Ok(counts)
}

/// Hosts of each assignment by their worst state.
pub async fn by_assignment(c: &mut AnyConnection, scope: &Scope) -> StoreResult<BTreeMap<String, ComplianceCounts>> {
    let mut sql = Sql::new("SELECT t.assignment, t.worst, count(*) AS n FROM (SELECT r.instance_id, r.assignment, max(");
    sql.push(RANK).push(") AS worst").push(FROM).within("i.compartment", scope);
    sql.push(" GROUP BY r.instance_id, r.assignment) t GROUP BY t.assignment, t.worst");
    let mut counts: BTreeMap<String, ComplianceCounts> = BTreeMap::new();
    for row in &sql.fetch(c, "count how the hosts of assignments stand").await? {
        counts.entry(text(row, "assignment")?).or_default().add(of_rank(int(row, "worst")?), count(row, "n")?);
    }
    Ok(counts)
}

/// How each host of an assignment stands: the worst of its policies, and that one's reason.
pub async fn of_hosts(
    c: &mut AnyConnection,
    assignment: &str,
    instances: &[InstanceId],
) -> StoreResult<BTreeMap<InstanceId, (ComplianceState, String)>> {
    let mut sql = Sql::new("SELECT r.instance_id, ");
    sql.push(STATE).push(" AS state, ").push(REASON).push(" AS reason").push(FROM);
    sql.push(" AND r.assignment = ").bind(storable(assignment)).push(" AND r.instance_id IN ");
    sql.bind_list(instances.iter().map(ToString::to_string)).push(" ORDER BY r.instance_id, r.policy");
    let mut found: BTreeMap<InstanceId, (ComplianceState, String)> = BTreeMap::new();
    for row in &sql.fetch(c, "read how the hosts of an assignment stand").await? {
        let told = (parsed(row, "state", ComplianceState::parse)?, text(row, "reason")?);
        match found.entry(id(row, "instance_id")?) {
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(told);
            }
            std::collections::btree_map::Entry::Occupied(mut had) => {
                let worst = ComplianceState::of_all([had.get().0, told.0]);
                if worst != had.get().0 {
                    had.insert(told);
                }
            }
        }
    }
    Ok(found)
}

/// Hosts of an assignment that are not compliant, or unknown because of errors, as told, and since when.
pub async fn bad_hosts(c: &mut AnyConnection, assignment: &str) -> StoreResult<BTreeMap<InstanceId, Timestamp>> {
    let mut sql = Sql::new("SELECT instance_id, max(since) AS since FROM policy_results WHERE assignment = ");
    sql.bind(storable(assignment));
    sql.push(
        " AND (state = 'NON_COMPLIANT' OR (state = 'UNKNOWN' AND reason IN ('execution-errors', 'resource-execution-errors', 'template-error')))",
    );
    sql.push(" GROUP BY instance_id");
    let rows = sql.fetch(c, "read which hosts are not compliant").await?;
    rows.iter().map(|r| Ok((id(r, "instance_id")?, time(r, "since")?))).collect()
}

/// Hosts of each policy, of one assignment or all.
pub async fn by_policy(c: &mut AnyConnection, assignment: Option<&str>, scope: &Scope) -> StoreResult<Vec<PolicyCompliance>> {
    let mut sql = Sql::new("SELECT r.assignment, r.policy, ");
    sql.push(STATE).push(" AS state, count(*) AS n").push(FROM).within("i.compartment", scope);
    if let Some(assignment) = assignment {
        sql.push(" AND r.assignment = ").bind(storable(assignment));
    }
    sql.push(" GROUP BY 1, 2, 3 ORDER BY 1, 2");
    let mut found: Vec<PolicyCompliance> = Vec::new();
    for row in &sql.fetch(c, "count how policies stand").await? {
        let (assignment, policy) = (text(row, "assignment")?, text(row, "policy")?);
        if found.last().is_none_or(|p| p.assignment != assignment || p.policy != policy) {
            found.push(PolicyCompliance { assignment, policy, hosts: ComplianceCounts::default() });
        }
        let (state, n) = (parsed(row, "state", ComplianceState::parse)?, count(row, "n")?);
        found.iter_mut().last().into_iter().for_each(|p| p.hosts.add(state, n));
    }
    Ok(found)
}

/// Hosts of each resource.
pub async fn by_resource(
    c: &mut AnyConnection,
    assignment: Option<&str>,
    policy: Option<&str>,
    scope: &Scope,
) -> StoreResult<Vec<ResourceCompliance>> {
    let mut sql = Sql::new("SELECT r.assignment, r.policy, r.resource, ");
    sql.push(STATE).push(
        " AS state, count(*) AS n FROM policy_resources r JOIN host_policies h ON h.instance_id = r.instance_id \
         JOIN instances i ON i.id = r.instance_id WHERE i.state = 'ACTIVE'",
    );
    sql.within("i.compartment", scope);
    if let Some(assignment) = assignment {
        sql.push(" AND r.assignment = ").bind(storable(assignment));
    }
    if let Some(policy) = policy {
        sql.push(" AND r.policy = ").bind(storable(policy));
    }
    sql.push(" GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3");
    let mut found: Vec<ResourceCompliance> = Vec::new();
    for row in &sql.fetch(c, "count how resources stand").await? {
        let (assignment, policy, resource) = (text(row, "assignment")?, text(row, "policy")?, text(row, "resource")?);
        if found.last().is_none_or(|p| p.assignment != assignment || p.policy != policy || p.resource != resource) {
            found.push(ResourceCompliance { assignment, policy, resource, hosts: ComplianceCounts::default() });
        }
        let (state, n) = (parsed(row, "state", ComplianceState::parse)?, count(row, "n")?);
        found.iter_mut().last().into_iter().for_each(|p| p.hosts.add(state, n));
    }
    Ok(found)
}

/// Policies of hosts that are not compliant, by reason.
pub async fn reasons(c: &mut AnyConnection, scope: &Scope) -> StoreResult<BTreeMap<String, u32>> {
    let mut sql = Sql::new("SELECT ");
    sql.push(REASON)
        .push(" AS reason, count(*) AS n")
        .push(FROM)
        .within("i.compartment", scope)
        .push(" AND ")
        .push(STATE)
        .push(" <> 'COMPLIANT' GROUP BY 1");
    let rows = sql.fetch(c, "count why policies are not compliant").await?;
    rows.iter().map(|r| Ok((text(r, "reason")?, count(r, "n")?))).collect()
}

/// Which intervals to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntervalQuery {
    /// Only this host.
    pub instance: Option<InstanceId>,
    /// Only this assignment.
    pub assignment: Option<String>,
    /// Only this policy.
    pub policy: Option<String>,
    /// Which page.
    pub page: PageQuery,
}

/// Intervals, newest first.
pub async fn intervals(c: &mut AnyConnection, query: &IntervalQuery, scope: &Scope) -> StoreResult<Paged<ComplianceInterval>> {
    let mut sql = Sql::new(
        "SELECT v.instance_id, i.name, v.assignment, v.policy, v.state, v.reason, v.since, v.until_at FROM policy_intervals v \
         JOIN instances i ON i.id = v.instance_id WHERE 1 = 1",
    );
    sql.within("i.compartment", scope);
    if let Some(instance) = query.instance {
        sql.push(" AND v.instance_id = ").bind(instance.to_string());
    }
    if let Some(assignment) = &query.assignment {
        sql.push(" AND v.assignment = ").bind(storable(assignment));
    }
    if let Some(policy) = &query.policy {
        sql.push(" AND v.policy = ").bind(storable(policy));
    }
    if let Some([since, instance, assignment, policy]) = cursor::keys::<4>(&query.page)? {
        sql.push(" AND (v.since, v.instance_id, v.assignment, v.policy) < (").bind(cursor::number(&since)?);
        sql.push(", ").bind(instance).push(", ").bind(assignment).push(", ").bind(policy).push(")");
    }
    sql.push(" ORDER BY v.since DESC, v.instance_id DESC, v.assignment DESC, v.policy DESC LIMIT ");
    sql.bind(cursor::fetch_limit(&query.page));
    let read = |row: &AnyRow| {
        Ok(ComplianceInterval {
            instance: id(row, "instance_id")?,
            instance_name: text(row, "name")?,
            assignment: text(row, "assignment")?,
            policy: text(row, "policy")?,
            state: parsed(row, "state", ComplianceState::parse)?,
            reason: text(row, "reason")?,
            since: time(row, "since")?,
            until: opt_time(row, "until_at")?,
        })
    };
    let rows = sql.fetch(c, "list how policies stood").await?;
    let found = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    let keys = |v: &ComplianceInterval| {
        vec![micros(v.since).to_string(), v.instance.to_string(), v.assignment.clone(), v.policy.clone()]
    };
    Ok(cursor::page(&query.page, found, keys))
}

/// Policies of hosts by how they stood at a moment.
pub async fn at(c: &mut AnyConnection, assignment: Option<&str>, at: Timestamp, scope: &Scope) -> StoreResult<ComplianceCounts> {
    let mut sql = Sql::new("SELECT state, count(*) AS n FROM policy_intervals WHERE since <= ");
    sql.bind(micros(at)).push(" AND (until_at IS NULL OR until_at > ").bind(micros(at)).push(")");
    if *scope != Scope::Everywhere {
        sql.push(" AND instance_id IN (SELECT id FROM instances WHERE 1 = 1").within("compartment", scope).push(")");
    }
    if let Some(assignment) = assignment {
        sql.push(" AND assignment = ").bind(storable(assignment));
    }
    sql.push(" GROUP BY state");
    let mut counts = ComplianceCounts::default();
    for row in &sql.fetch(c, "count how policies stood").await? {
        counts.add(parsed(row, "state", ComplianceState::parse)?, count(row, "n")?);
    }
    Ok(counts)
}

fn of_rank(rank: i64) -> ComplianceState {
    match rank {
        2 => ComplianceState::NonCompliant,
        1 => ComplianceState::Unknown,
        _ => ComplianceState::Compliant,
    }
}

fn read_result(row: &AnyRow) -> StoreResult<ResultRecord> {
    Ok(ResultRecord {
        assignment: text(row, "assignment")?,
        policy: text(row, "policy")?,
        revision: big_count(row, "revision")?,
        state: parsed(row, "state", ComplianceState::parse)?,
        reason: text(row, "reason")?,
        run: text(row, "run")?,
        checked_at: opt_time(row, "checked_at")?,
        since: time(row, "since")?,
    })
}

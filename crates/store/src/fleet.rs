//! Counts over the whole fleet. Absent on purpose: counters kept in rows; everything is counted when asked.

use drydock_domain::access::Scope;
use drydock_domain::instance::InstanceState;
use drydock_domain::patch::task::TaskState;
use jiff::Timestamp;
use sqlx::AnyConnection;

use crate::error::StoreResult;
use crate::records::FleetCounts;
use crate::row::{big_count, micros, parsed};
use crate::sql::Sql;

/// Counts the instances in `hosts` and the patch jobs in `jobs`; an ACTIVE instance heard of at or after `online_since` is
/// online.
pub async fn counts(c: &mut AnyConnection, online_since: Timestamp, hosts: &Scope, jobs: &Scope) -> StoreResult<FleetCounts> {
    let mut counts = FleetCounts::default();
    let mut sql = Sql::new("SELECT state, count(*) AS n FROM instances WHERE 1 = 1");
    sql.within("compartment", hosts).push(" GROUP BY state");
    for row in &sql.fetch(c, "count instances").await? {
        counts.instances.insert(parsed(row, "state", InstanceState::parse)?.as_str(), big_count(row, "n")?);
    }
    count_active(c, online_since, hosts, &mut counts).await?;
    let mut sql = Sql::new("SELECT count(*) AS n FROM patch_jobs WHERE done = 0");
    sql.within("compartment", jobs);
    let rows = sql.fetch(c, "count patch jobs").await?;
    counts.jobs_running = rows.first().map_or(Ok(0), |row| big_count(row, "n"))?;
    let mut sql =
        Sql::new("SELECT t.state, count(*) AS n FROM patch_tasks t JOIN patch_jobs j ON j.id = t.job_id WHERE j.done = 0");
    sql.within("j.compartment", jobs).push(" GROUP BY t.state");
    for row in &sql.fetch(c, "count patch tasks").await? {
        counts.tasks.insert(parsed(row, "state", TaskState::parse)?.as_str(), big_count(row, "n")?);
    }
    Ok(counts)
}

async fn count_active(c: &mut AnyConnection, since: Timestamp, hosts: &Scope, counts: &mut FleetCounts) -> StoreResult<()> {
    let mut sql = Sql::new("SELECT CAST(COALESCE(SUM(CASE WHEN last_seen >= ");
    sql.bind(micros(since)).push(" THEN 1 ELSE 0 END), 0) AS BIGINT) AS online, CAST(COALESCE(SUM(CASE WHEN last_seen < ");
    sql.bind(micros(since)).push(
        " THEN 1 ELSE 0 END), 0) AS BIGINT) AS offline, \
         CAST(COALESCE(SUM(CASE WHEN last_seen IS NULL THEN 1 ELSE 0 END), 0) AS BIGINT) AS never_seen, \
         CAST(COALESCE(SUM(CASE WHEN updates > 0 THEN 1 ELSE 0 END), 0) AS BIGINT) AS with_updates, \
         CAST(COALESCE(SUM(CASE WHEN security_updates > 0 THEN 1 ELSE 0 END), 0) AS BIGINT) AS with_security, \
         CAST(COALESCE(SUM(CASE WHEN held_updates > 0 THEN 1 ELSE 0 END), 0) AS BIGINT) AS with_held, \
         CAST(COALESCE(SUM(updates), 0) AS BIGINT) AS updates, \
         CAST(COALESCE(SUM(security_updates), 0) AS BIGINT) AS security_updates, \
         CAST(COALESCE(SUM(reboot_required), 0) AS BIGINT) AS reboot_required, \
         CAST(COALESCE(SUM(CASE WHEN findings > 0 THEN 1 ELSE 0 END), 0) AS BIGINT) AS with_findings \
         FROM instances WHERE state = 'ACTIVE'",
    );
    sql.within("compartment", hosts);
    let rows = sql.fetch(c, "count the fleet").await?;
    let Some(row) = rows.first() else { return Ok(()) };
    counts.online = big_count(row, "online")?;
    counts.offline = big_count(row, "offline")?;
    counts.never_seen = big_count(row, "never_seen")?;
    counts.with_updates = big_count(row, "with_updates")?;
    counts.with_security_updates = big_count(row, "with_security")?;
    counts.with_held_updates = big_count(row, "with_held")?;
    counts.updates = big_count(row, "updates")?;
    counts.security_updates = big_count(row, "security_updates")?;
    counts.reboot_required = big_count(row, "reboot_required")?;
    counts.with_findings = big_count(row, "with_findings")?;
    Ok(())
}

//! Since when which CVE is open on which host. Hosts of which the same is true share one row.

use std::collections::{BTreeMap, BTreeSet};

use drydock_domain::ids::InstanceId;
use jiff::Timestamp;
use sqlx::AnyConnection;

use crate::advisory_records::OpenCves;
use crate::error::{StoreError, StoreResult};
use crate::packed;
use crate::row::{id, micros, text};
use crate::sql::Sql;

/// Digests named in one statement, count.
const DIGESTS_AT_ONCE: usize = 500;

/// Everything that is kept: what each host points at, and every set once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Which set is true of a host.
    pub hosts: BTreeMap<InstanceId, String>,
    /// The sets by digest.
    pub sets: BTreeMap<String, OpenCves>,
}

/// Stores what is open on a host in place of what was there before; returns the digest of the set.
pub async fn put(c: &mut AnyConnection, instance: InstanceId, open: &OpenCves, now: Timestamp) -> StoreResult<String> {
    let (digest, body) = packed::pack("open CVEs", open)?;
    sqlx::query("INSERT INTO open_cve_sets (digest, body, created_at) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING")
        .bind(digest.clone())
        .bind(body)
        .bind(micros(now))
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("store open CVEs"))?;
    sqlx::query(
        "INSERT INTO instance_open_cves (instance_id, digest, changed_at) VALUES ($1, $2, $3) \
         ON CONFLICT (instance_id) DO UPDATE SET digest = excluded.digest, changed_at = excluded.changed_at",
    )
    .bind(instance.to_string())
    .bind(digest.clone())
    .bind(micros(now))
    .execute(c)
    .await
    .map_err(StoreError::query("store which CVEs are open on a host"))?;
    Ok(digest)
}

/// Reads everything.
pub async fn all(c: &mut AnyConnection) -> StoreResult<Seen> {
    let mut seen = Seen::default();
    for row in &Sql::new("SELECT instance_id, digest FROM instance_open_cves").fetch(c, "read which CVEs are open").await? {
        seen.hosts.insert(id(row, "instance_id")?, text(row, "digest")?);
    }
    let wanted: Vec<String> = seen.hosts.values().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    for some in wanted.chunks(DIGESTS_AT_ONCE) {
        let mut sql = Sql::new("SELECT digest, body FROM open_cve_sets WHERE digest IN ");
        sql.bind_list(some.iter().cloned());
        for row in &sql.fetch(c, "read sets of open CVEs").await? {
            seen.sets.insert(text(row, "digest")?, packed::unpacked(row, "body")?);
        }
    }
    Ok(seen)
}

/// What is open on one host.
pub async fn of_host(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<Option<OpenCves>> {
    let mut sql =
        Sql::new("SELECT s.body FROM instance_open_cves i JOIN open_cve_sets s ON s.digest = i.digest WHERE i.instance_id = ");
    sql.bind(instance.to_string());
    let rows = sql.fetch(c, "read which CVEs are open on a host").await?;
    rows.first().map(|r| packed::unpacked(r, "body")).transpose()
}

/// Forgets sets that are true of no host any more and were stored before `before`.
pub async fn forget_unused(c: &mut AnyConnection, before: Timestamp) -> StoreResult<u64> {
    sqlx::query(
        "DELETE FROM open_cve_sets WHERE created_at < $1 AND NOT EXISTS \
         (SELECT 1 FROM instance_open_cves i WHERE i.digest = open_cve_sets.digest)",
    )
    .bind(micros(before))
    .execute(c)
    .await
    .map(|r| r.rows_affected())
    .map_err(StoreError::query("forget unused sets of open CVEs"))
}

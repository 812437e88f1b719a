//! The versions that the first wave of a job planned, by operating system: later waves are held to them.

use drydock_domain::ids::JobId;
use drydock_domain::work::FrozenVersion;
use sqlx::AnyConnection;

use crate::error::StoreResult;
use crate::row::{int, storable, text};
use crate::sql::Sql;

/// Rows stored by one statement, count: 6 parameters each.
const INSERT_ROWS: usize = 500;

/// Adds what a host of this wave planned.
pub async fn add(c: &mut AnyConnection, job: JobId, os: &str, wave: u16, versions: &[FrozenVersion]) -> StoreResult<()> {
    for chunk in versions.chunks(INSERT_ROWS) {
        let mut sql = Sql::new("INSERT INTO frozen_versions (job_id, os, wave, name, arch, version) VALUES ");
        for (i, one) in chunk.iter().enumerate() {
            sql.push(if i == 0 { "(" } else { ", (" }).bind(job.to_string());
            sql.push(", ").bind(storable(os)).push(", ").bind(i64::from(wave));
            sql.push(", ").bind(storable(&one.name)).push(", ").bind(storable(&one.arch));
            sql.push(", ").bind(storable(&one.version)).push(")");
        }
        sql.push(" ON CONFLICT (job_id, os, name, arch, version) DO NOTHING");
        sql.execute(c, "store what a wave planned").await?;
    }
    Ok(())
}

/// The lowest wave of this job in which hosts of this operating system planned something.
pub async fn first_wave(c: &mut AnyConnection, job: JobId, os: &str) -> StoreResult<Option<u16>> {
    let mut sql = Sql::new("SELECT wave FROM frozen_versions WHERE job_id = ");
    sql.bind(job.to_string()).push(" AND os = ").bind(storable(os)).push(" ORDER BY wave LIMIT 1");
    let rows = sql.fetch(c, "read which wave planned first").await?;
    Ok(rows.first().map(|r| int(r, "wave")).transpose()?.and_then(|n| u16::try_from(n).ok()))
}

/// What hosts of this operating system planned in that wave.
pub async fn of_wave(c: &mut AnyConnection, job: JobId, os: &str, wave: u16) -> StoreResult<Vec<FrozenVersion>> {
    let mut sql = Sql::new("SELECT name, arch, version FROM frozen_versions WHERE job_id = ");
    sql.bind(job.to_string()).push(" AND os = ").bind(storable(os)).push(" AND wave = ").bind(i64::from(wave));
    sql.push(" ORDER BY name, arch, version");
    let rows = sql.fetch(c, "read what a wave planned").await?;
    let read = |r: &sqlx::any::AnyRow| {
        Ok(FrozenVersion { name: text(r, "name")?, arch: text(r, "arch")?, version: text(r, "version")? })
    };
    rows.iter().map(read).collect()
}

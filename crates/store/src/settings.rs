//! Settings that operators change while the server runs: JSON by name.

use jiff::Timestamp;
use sqlx::AnyConnection;

use crate::advisory_records::SettingRecord;
use crate::error::{StoreError, StoreResult};
use crate::row::{int, micros, storable, text, time};
use crate::sql::Sql;

/// A setting; absent while nobody changed it.
pub async fn find(c: &mut AnyConnection, name: &str) -> StoreResult<Option<SettingRecord>> {
    let mut sql = Sql::new("SELECT body, changed_by, changed_at, version FROM settings WHERE name = ");
    sql.bind(name.to_owned());
    let rows = sql.fetch(c, "read a setting").await?;
    let read = |row: &sqlx::any::AnyRow| {
        Ok(SettingRecord {
            body: text(row, "body")?,
            changed_by: text(row, "changed_by")?,
            changed_at: time(row, "changed_at")?,
            version: int(row, "version")?,
        })
    };
    rows.first().map(read).transpose()
}

/// Stores a setting in place of what it was.
pub async fn put(c: &mut AnyConnection, name: &str, body: &str, who: &str, now: Timestamp) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO settings (name, body, changed_by, changed_at, version) VALUES ($1, $2, $3, $4, 1) \
         ON CONFLICT (name) DO UPDATE SET body = excluded.body, changed_by = excluded.changed_by, \
         changed_at = excluded.changed_at, version = settings.version + 1",
    )
    .bind(name.to_owned())
    .bind(storable(body))
    .bind(storable(who))
    .bind(micros(now))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a setting"))
}

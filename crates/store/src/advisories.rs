//! Advisories as feeds say them: one row per feed and id, the body packed.

use std::collections::HashMap;

use drydock_domain::advisory::Advisory;
use drydock_domain::ids::FeedId;
use sqlx::AnyConnection;

use crate::error::{StoreError, StoreResult};
use crate::packed;
use crate::row::{id, storable, text};
use crate::sql::Sql;

/// Ids named in one statement, count: PostgreSQL and SQLite take at least 32,766 parameters.
const IDS_AT_ONCE: usize = 1000;

/// The digest under which [`put`] stores an advisory: equal advisories have equal ones.
pub fn digest(advisory: &Advisory) -> StoreResult<String> {
    packed::digest("an advisory", advisory)
}

/// Digests of a feed's advisories by id.
pub async fn digests(c: &mut AnyConnection, feed: FeedId) -> StoreResult<HashMap<String, String>> {
    let mut sql = Sql::new("SELECT id, digest FROM advisories WHERE feed_id = ");
    sql.bind(feed.to_string());
    let rows = sql.fetch(c, "read the digests of a feed's advisories").await?;
    rows.iter().map(|r| Ok((text(r, "id")?, text(r, "digest")?))).collect()
}

/// Stores an advisory of a feed, in place of what the feed said of this id before.
pub async fn put(c: &mut AnyConnection, feed: FeedId, advisory: &Advisory) -> StoreResult<()> {
    let (digest, body) = packed::pack("an advisory", advisory)?;
    sqlx::query(
        "INSERT INTO advisories (feed_id, id, digest, body) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (feed_id, id) DO UPDATE SET digest = excluded.digest, body = excluded.body",
    )
    .bind(feed.to_string())
    .bind(storable(&advisory.id))
    .bind(digest)
    .bind(body)
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store an advisory"))
}

/// Advisories of one feed after an id, ascending.
pub async fn after(c: &mut AnyConnection, feed: FeedId, after: &str, limit: u32) -> StoreResult<Vec<Advisory>> {
    let mut sql = Sql::new("SELECT body FROM advisories WHERE feed_id = ");
    sql.bind(feed.to_string()).push(" AND id > ").bind(storable(after)).push(" ORDER BY id LIMIT ").bind(i64::from(limit));
    let rows = sql.fetch(c, "read advisories").await?;
    rows.iter().map(|r| packed::unpacked(r, "body")).collect()
}

/// Advisories of one feed by id.
pub async fn of_feed(c: &mut AnyConnection, feed: FeedId, ids: &[String]) -> StoreResult<Vec<Advisory>> {
    let mut found = Vec::with_capacity(ids.len());
    for some in ids.chunks(IDS_AT_ONCE) {
        let mut sql = Sql::new("SELECT body FROM advisories WHERE feed_id = ");
        sql.bind(feed.to_string()).push(" AND id IN ").bind_list(some.iter().map(|i| storable(i)));
        for row in sql.fetch(c, "read some advisories of a feed").await? {
            found.push(packed::unpacked(&row, "body")?);
        }
    }
    Ok(found)
}

/// What every feed says of one advisory.
pub async fn find(c: &mut AnyConnection, advisory: &str) -> StoreResult<Vec<(FeedId, Advisory)>> {
    let mut sql = Sql::new("SELECT feed_id, body FROM advisories WHERE id = ");
    sql.bind(storable(advisory)).push(" ORDER BY feed_id");
    let rows = sql.fetch(c, "read an advisory").await?;
    rows.iter().map(|r| Ok((id(r, "feed_id")?, packed::unpacked(r, "body")?))).collect()
}

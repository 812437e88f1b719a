//! What feeds say of CVEs and state of packages, in chunks: some hundred entries a row, all of one [`bucket`].

use std::collections::{BTreeMap, HashMap};

use drydock_domain::ids::FeedId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::AnyConnection;

use crate::advisory_records::FeedPart;
use crate::error::{StoreError, StoreResult};
use crate::packed;
use crate::row::{big_count, id, storable, text};
use crate::sql::Sql;

/// Which chunk the entries about a CVE are in: `CVE-2026-12345` → `CVE-2026-12`. Neighbours share one; what is no CVE is
/// in a chunk by its first characters.
pub fn bucket(vulnerability: &str) -> String {
    let keep = match vulnerability.rsplit_once('-') {
        Some((stem, number)) if stem.starts_with("CVE-") && number.len() >= 4 && number.bytes().all(|b| b.is_ascii_digit()) => {
            vulnerability.len() - 3
        }
        _ => vulnerability.char_indices().nth(12).map_or(vulnerability.len(), |(at, _)| at),
    };
    vulnerability.get(..keep).unwrap_or(vulnerability).to_owned()
}

/// Digests of a feed's chunks by bucket.
pub async fn digests(c: &mut AnyConnection, feed: FeedId, part: FeedPart) -> StoreResult<HashMap<String, String>> {
    let mut sql = Sql::new("SELECT bucket, digest FROM feed_chunks WHERE feed_id = ");
    sql.bind(feed.to_string()).push(" AND part = ").bind(part.as_str().to_owned());
    let rows = sql.fetch(c, "read the digests of a feed's chunks").await?;
    rows.iter().map(|r| Ok((text(r, "bucket")?, text(r, "digest")?))).collect()
}

/// The digest under which [`put`] stores these entries.
pub fn digest<T: Serialize>(entries: &[T]) -> StoreResult<String> {
    packed::digest("a chunk of a feed", entries)
}

/// Stores a chunk in place of what was there.
pub async fn put<T: Serialize>(
    c: &mut AnyConnection,
    feed: FeedId,
    part: FeedPart,
    bucket: &str,
    entries: &[T],
) -> StoreResult<()> {
    let (digest, body) = packed::pack("a chunk of a feed", entries)?;
    sqlx::query(
        "INSERT INTO feed_chunks (feed_id, part, bucket, digest, entries, body) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (feed_id, part, bucket) DO UPDATE SET digest = excluded.digest, entries = excluded.entries, \
         body = excluded.body",
    )
    .bind(feed.to_string())
    .bind(part.as_str())
    .bind(storable(bucket))
    .bind(digest)
    .bind(i64::try_from(entries.len()).unwrap_or(i64::MAX))
    .bind(body)
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a chunk of a feed"))
}

/// Removes a chunk.
pub async fn remove(c: &mut AnyConnection, feed: FeedId, part: FeedPart, bucket: &str) -> StoreResult<()> {
    sqlx::query("DELETE FROM feed_chunks WHERE feed_id = $1 AND part = $2 AND bucket = $3")
        .bind(feed.to_string())
        .bind(part.as_str())
        .bind(storable(bucket))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("remove a chunk of a feed"))
}

/// One chunk of a feed; empty when it has none.
pub async fn of_bucket<T: DeserializeOwned>(
    c: &mut AnyConnection,
    feed: FeedId,
    part: FeedPart,
    bucket: &str,
) -> StoreResult<Vec<T>> {
    let mut sql = Sql::new("SELECT body FROM feed_chunks WHERE feed_id = ");
    sql.bind(feed.to_string()).push(" AND part = ").bind(part.as_str().to_owned()).push(" AND bucket = ").bind(storable(bucket));
    let rows = sql.fetch(c, "read a chunk of a feed").await?;
    Ok(rows.first().map(|r| packed::unpacked(r, "body")).transpose()?.unwrap_or_default())
}

/// What every feed has in one bucket.
pub async fn everywhere<T: DeserializeOwned>(
    c: &mut AnyConnection,
    part: FeedPart,
    bucket: &str,
) -> StoreResult<BTreeMap<FeedId, Vec<T>>> {
    let mut sql = Sql::new("SELECT feed_id, body FROM feed_chunks WHERE part = ");
    sql.bind(part.as_str().to_owned()).push(" AND bucket = ").bind(storable(bucket));
    let rows = sql.fetch(c, "read the chunks of a bucket").await?;
    rows.iter().map(|r| Ok((id(r, "feed_id")?, packed::unpacked(r, "body")?))).collect()
}

/// Entries of a feed's part, count.
pub async fn entries(c: &mut AnyConnection, feed: FeedId, part: FeedPart) -> StoreResult<u64> {
    let mut sql = Sql::new("SELECT CAST(COALESCE(SUM(entries), 0) AS BIGINT) AS n FROM feed_chunks WHERE feed_id = ");
    sql.bind(feed.to_string()).push(" AND part = ").bind(part.as_str().to_owned());
    sql.fetch(c, "count the entries of a feed").await?.first().map_or(Ok(0), |row| big_count(row, "n"))
}

/// Buckets of a feed's part, ascending: to read one chunk after the other.
pub async fn buckets(c: &mut AnyConnection, feed: FeedId, part: FeedPart) -> StoreResult<Vec<String>> {
    let mut sql = Sql::new("SELECT bucket FROM feed_chunks WHERE feed_id = ");
    sql.bind(feed.to_string()).push(" AND part = ").bind(part.as_str().to_owned()).push(" ORDER BY bucket");
    let rows = sql.fetch(c, "list the chunks of a feed").await?;
    rows.iter().map(|r| text(r, "bucket")).collect()
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn neighbours_share_a_bucket() {
        assert_eq!(bucket("CVE-2026-12345"), "CVE-2026-12");
        assert_eq!(bucket("CVE-2026-12999"), "CVE-2026-12");
        assert_eq!(bucket("CVE-2026-1234"), "CVE-2026-1");
        assert_eq!(bucket("CVE-2026-123"), "CVE-2026-123", "no CVE has fewer than four digits");
        assert_eq!(bucket("GHSA-abcd-efgh-ijkl"), "GHSA-abcd-ef");
        assert_eq!(bucket("ä"), "ä");
    }
}

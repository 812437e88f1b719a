//! Where each view (an environment, or `latest`) points for each source, and how it came to. A move and its history
//! entry are written together: the caller's transaction makes both or neither visible.

use drydock_domain::access::Scope;
use drydock_domain::ids::{EnvironmentId, SnapshotId, SourceId};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{PageQuery, Paged};
use crate::row::{count, id, int, micros, opt_id, opt_int, storable, text, time};
use crate::source_records::{PointerMoveRecord, PointerRecord, SeenSnapshots};
use crate::sql::Sql;

/// Moves kept of one pointer, count: what a roll back and the rank rule can look back on.
pub const MOVES_KEPT: i64 = 100;

const COLUMNS: &str = "SELECT p.environment_id, p.source_id, p.snapshot_id, s.number, s.root, p.moved_at, p.moved_by, p.version";
const FROM: &str = " FROM pointers p JOIN snapshots s ON s.id = p.snapshot_id";

/// A move to be made.
#[derive(Debug, Clone, Copy)]
pub struct Move<'a> {
    /// Id of the history entry.
    pub id: Uuid,
    /// The environment; `None` is the view `latest`.
    pub environment: Option<EnvironmentId>,
    /// The source.
    pub source: SourceId,
    /// Where it points now; `None`: nowhere yet.
    pub from: Option<&'a PointerRecord>,
    /// Where it is to point: a snapshot of the source.
    pub to: SnapshotId,
    /// Its number.
    pub to_number: u32,
    /// JSON of the few small files that name the rest.
    pub head: &'a str,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: &'a str,
}

/// Moves a pointer and notes it, if it still is where it was read (`from`). `false`: somebody else moved it. A target
/// that is gone or of another source is an error: see [`StoreError::is_referenced`].
pub async fn move_to(c: &mut AnyConnection, step: &Move<'_>) -> StoreResult<bool> {
    let moved = match step.from {
        None => {
            sqlx::query(
                "INSERT INTO pointers (environment_id, source_id, snapshot_id, head, moved_at, moved_by, version) \
                 VALUES ($1, $2, $3, $4, $5, $6, 1) ON CONFLICT (environment_id, source_id) DO NOTHING",
            )
            .bind(view(step.environment))
            .bind(step.source.to_string())
            .bind(step.to.to_string())
            .bind(step.head.to_owned())
            .bind(micros(step.at))
            .bind(storable(step.who))
            .execute(&mut *c)
            .await
        }
        Some(from) => {
            sqlx::query(
                "UPDATE pointers SET snapshot_id = $3, head = $4, moved_at = $5, moved_by = $6, version = version + 1 \
                 WHERE environment_id = $1 AND source_id = $2 AND version = $7",
            )
            .bind(view(step.environment))
            .bind(step.source.to_string())
            .bind(step.to.to_string())
            .bind(step.head.to_owned())
            .bind(micros(step.at))
            .bind(storable(step.who))
            .bind(from.version)
            .execute(&mut *c)
            .await
        }
    };
    if moved.map_err(StoreError::query("move a pointer"))?.rows_affected() == 0 {
        return Ok(false);
    }
    note(c, step).await?;
    Ok(true)
}

/// Writes the history entry of a move and forgets the oldest ones.
async fn note(c: &mut AnyConnection, step: &Move<'_>) -> StoreResult<()> {
    let version = step.from.map_or(1, |from| from.version + 1);
    sqlx::query(
        "INSERT INTO pointer_moves (id, environment_id, source_id, from_snapshot, from_number, to_snapshot, to_number, \
         pointer_version, at, who) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(step.id.to_string())
    .bind(view(step.environment))
    .bind(step.source.to_string())
    .bind(step.from.map(|from| from.snapshot.to_string()))
    .bind(step.from.map(|from| i64::from(from.number)))
    .bind(step.to.to_string())
    .bind(i64::from(step.to_number))
    .bind(version)
    .bind(micros(step.at))
    .bind(storable(step.who))
    .execute(&mut *c)
    .await
    .map_err(StoreError::query("note the move of a pointer"))?;
    // Versions have gaps (a renewed head takes one): the hundredth newest is looked up.
    sqlx::query(
        "DELETE FROM pointer_moves WHERE environment_id = $1 AND source_id = $2 AND pointer_version < (SELECT min(k.v) FROM \
         (SELECT pointer_version AS v FROM pointer_moves WHERE environment_id = $1 AND source_id = $2 \
         ORDER BY pointer_version DESC LIMIT $3) k)",
    )
    .bind(view(step.environment))
    .bind(step.source.to_string())
    .bind(MOVES_KEPT)
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("forget old moves of a pointer"))
}

/// Replaces the head of a pointer that stays where it is (a new signing key), if its version is still the one read. The
/// version grows and the pointer has the time of its new head; no history entry is made.
pub async fn renew_head(c: &mut AnyConnection, pointer: &PointerRecord, head: &str, at: Timestamp) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE pointers SET head = $3, moved_at = $5, version = version + 1 \
         WHERE environment_id = $1 AND source_id = $2 AND version = $4",
    )
    .bind(view(pointer.environment))
    .bind(pointer.source.to_string())
    .bind(head.to_owned())
    .bind(pointer.version)
    .bind(micros(at))
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("renew the head of a pointer"))
}

/// The pointer of a view for a source.
pub async fn find(
    c: &mut AnyConnection,
    environment: Option<EnvironmentId>,
    source: SourceId,
) -> StoreResult<Option<PointerRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" WHERE p.environment_id = ").bind(view(environment));
    sql.push(" AND p.source_id = ").bind(source.to_string());
    sql.fetch(c, "read a pointer").await?.first().map(read).transpose()
}

/// The pointer of a view for a source with its head: what one request is served from.
pub async fn with_head(
    c: &mut AnyConnection,
    environment: Option<EnvironmentId>,
    source: SourceId,
) -> StoreResult<Option<(PointerRecord, String)>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(", p.head").push(FROM).push(" WHERE p.environment_id = ").bind(view(environment));
    sql.push(" AND p.source_id = ").bind(source.to_string());
    let rows = sql.fetch(c, "read a pointer and its head").await?;
    rows.first().map(|r| Ok((read(r)?, text(r, "head")?))).transpose()
}

/// Every pointer of a view.
pub async fn of_view(c: &mut AnyConnection, environment: Option<EnvironmentId>) -> StoreResult<Vec<PointerRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" WHERE p.environment_id = ").bind(view(environment)).push(" ORDER BY p.source_id");
    sql.fetch(c, "read the pointers of a view").await?.iter().map(read).collect()
}

/// Every pointer on a source, `latest` first.
pub async fn of_source(c: &mut AnyConnection, source: SourceId) -> StoreResult<Vec<PointerRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" WHERE p.source_id = ").bind(source.to_string()).push(" ORDER BY p.environment_id");
    sql.fetch(c, "read the pointers on a source").await?.iter().map(read).collect()
}

/// Every pointer: environments × sources.
pub async fn all(c: &mut AnyConnection) -> StoreResult<Vec<PointerRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" ORDER BY p.environment_id, p.source_id");
    sql.fetch(c, "read all pointers").await?.iter().map(read).collect()
}

/// Moves of a view's pointers (of one source, when named), newest first.
pub async fn history(
    c: &mut AnyConnection,
    environment: Option<EnvironmentId>,
    source: Option<SourceId>,
    page: &PageQuery,
    scope: &Scope,
) -> StoreResult<Paged<PointerMoveRecord>> {
    let mut sql = Sql::new(MOVE_COLUMNS);
    sql.push(" WHERE environment_id = ").bind(view(environment));
    if *scope != Scope::Everywhere {
        sql.push(" AND source_id IN (SELECT id FROM sources WHERE 1 = 1").within("compartment", scope).push(")");
    }
    if let Some(source) = source {
        sql.push(" AND source_id = ").bind(source.to_string());
    }
    if let Some([at, id]) = cursor::keys::<2>(page)? {
        sql.push(" AND (at, id) < (").bind(cursor::number(&at)?).push(", ").bind(id).push(")");
    }
    sql.push(" ORDER BY at DESC, id DESC LIMIT ").bind(cursor::fetch_limit(page));
    let rows = sql.fetch(c, "list the moves of pointers").await?;
    let moves = rows.iter().map(|r| Ok((text(r, "id")?, read_move(r)?))).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, moves, |(id, m)| vec![micros(m.at).to_string(), id.clone()]).map(|(_, m)| m))
}

/// The kept moves of one pointer, oldest first, in the order they were made.
pub async fn moves(
    c: &mut AnyConnection,
    environment: Option<EnvironmentId>,
    source: SourceId,
) -> StoreResult<Vec<PointerMoveRecord>> {
    let mut sql = Sql::new(MOVE_COLUMNS);
    sql.push(" WHERE environment_id = ").bind(view(environment)).push(" AND source_id = ").bind(source.to_string());
    sql.push(" ORDER BY pointer_version");
    sql.fetch(c, "read the moves of a pointer").await?.iter().map(read_move).collect()
}

/// Snapshots an environment has or had for a source, as far as its history goes.
pub async fn seen(c: &mut AnyConnection, environment: Option<EnvironmentId>, source: SourceId) -> StoreResult<SeenSnapshots> {
    let mut seen = SeenSnapshots::new();
    for step in moves(c, environment, source).await? {
        seen.extend(step.from.map(|(id, _)| id));
        seen.insert(step.to.0);
    }
    Ok(seen)
}

const MOVE_COLUMNS: &str = "SELECT id, environment_id, source_id, from_snapshot, from_number, to_snapshot, to_number, at, \
                            who FROM pointer_moves";

fn view(environment: Option<EnvironmentId>) -> String {
    environment.map(|e| e.to_string()).unwrap_or_default()
}

fn read_view(row: &AnyRow) -> StoreResult<Option<EnvironmentId>> {
    if text(row, "environment_id")?.is_empty() { Ok(None) } else { id(row, "environment_id").map(Some) }
}

fn read(row: &AnyRow) -> StoreResult<PointerRecord> {
    Ok(PointerRecord {
        environment: read_view(row)?,
        source: id(row, "source_id")?,
        snapshot: id(row, "snapshot_id")?,
        number: count(row, "number")?,
        root: text(row, "root")?,
        moved_at: time(row, "moved_at")?,
        moved_by: text(row, "moved_by")?,
        version: int(row, "version")?,
    })
}

fn read_move(row: &AnyRow) -> StoreResult<PointerMoveRecord> {
    let from_number = opt_int(row, "from_number")?.and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
    Ok(PointerMoveRecord {
        environment: read_view(row)?,
        source: id(row, "source_id")?,
        from: opt_id(row, "from_snapshot")?.map(|id| (id, from_number)),
        to: (id(row, "to_snapshot")?, count(row, "to_number")?),
        at: time(row, "at")?,
        who: text(row, "who")?,
    })
}

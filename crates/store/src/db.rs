//! Opening a database and its transactions.
//!
//! SQLite: one connection writes (a pool of one, so writers queue in memory and never meet a lock of this process),
//! a few read. WAL with `synchronous = FULL`: an agent forgets a final report once it is told `stored`, so a commit
//! must outlive a power cut; NORMAL would lose the last commits. The price, one fsync per commit, is paid per
//! transaction, which is why contacts (`last_seen`) are written in batches.
//! PostgreSQL: one pool for both.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyConnection, AnyPool, Connection as _, Executor};

use crate::error::{StoreError, StoreResult};

/// Connections that read from SQLite at once.
const SQLITE_READERS: u32 = 4;
/// Connections to PostgreSQL from one server.
const POSTGRES_CONNECTIONS: u32 = 16;
/// Longest wait for a connection, seconds: longer means the database is away or far too slow.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(20);
/// What every SQLite connection is set to. `busy_timeout` (milliseconds) is for other processes: a second command of
/// the operator, or a backup tool.
const SQLITE_PRAGMAS: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                              PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -32768; \
                              PRAGMA wal_autocheckpoint = 4000";

/// Where the rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file, made when it is missing.
    Sqlite(PathBuf),
    /// `postgres://user:password@host/database`.
    Postgres(String),
}

/// A transaction that may write.
pub type Tx = sqlx::Transaction<'static, Any>;

/// What every function of the store takes: readers and transactions are used as one.
pub type Connection = sqlx::AnyConnection;

/// A connection for reading.
pub type Reader = sqlx::pool::PoolConnection<Any>;

/// Makes a transaction's changes durable.
pub async fn commit(tx: Tx) -> StoreResult<()> {
    tx.commit().await.map_err(StoreError::query("commit a transaction"))
}

/// An open database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    writer: AnyPool,
    reader: AnyPool,
    location: Location,
}

impl Store {
    /// Opens the database and brings its schema up to date.
    pub async fn open(location: &Location) -> StoreResult<Store> {
        sqlx::any::install_default_drivers();
        let failed = |source| StoreError::Open { location: shown(location), source };
        let (writer, reader) = match location {
            Location::Sqlite(path) => {
                let options = sqlite_options(path).map_err(failed)?;
                let writer = sqlite_pool(1).connect_with(options.clone()).await.map_err(failed)?;
                let reader = sqlite_pool(SQLITE_READERS).connect_with(options).await.map_err(failed)?;
                (writer, reader)
            }
            Location::Postgres(url) => {
                let options: AnyConnectOptions = url.parse().map_err(failed)?;
                let pool = AnyPoolOptions::new()
                    .max_connections(POSTGRES_CONNECTIONS)
                    .acquire_timeout(ACQUIRE_TIMEOUT)
                    .connect_with(options)
                    .await
                    .map_err(failed)?;
                (pool.clone(), pool)
            }
        };
        sqlx::migrate!().run(&writer).await.map_err(|source| StoreError::Migrate { source })?;
        Ok(Store(Arc::new(Inner { writer, reader, location: location.clone() })))
    }

    /// Begins a transaction that may write. Dropping it without `commit` undoes it.
    pub async fn begin(&self) -> StoreResult<Tx> {
        // IMMEDIATE takes SQLite's write lock at once: a transaction that reads first and writes later could otherwise
        // fail half-way when another process wrote in between.
        let begin = if self.is_sqlite() { "BEGIN IMMEDIATE" } else { "BEGIN" };
        self.0.writer.begin_with(begin).await.map_err(StoreError::query("begin a transaction"))
    }

    /// A connection for reading.
    pub async fn read(&self) -> StoreResult<Reader> {
        self.0.reader.acquire().await.map_err(StoreError::query("get a connection for reading"))
    }

    /// Can the database be read and written now? Opens a write transaction and drops it.
    pub async fn ping(&self) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        sqlx::query("SELECT 1").execute(&mut *tx).await.map_err(StoreError::query("ask the database for a sign of life"))?;
        tx.rollback().await.map_err(StoreError::query("ask the database for a sign of life"))
    }

    /// Copies a SQLite database, while it is used, to a new file: one consistent moment, compacted.
    pub async fn backup_to(&self, path: &Path) -> StoreResult<()> {
        let Location::Sqlite(own) = &self.0.location else { return Err(StoreError::BackupNotHere) };
        let failed = |source| StoreError::Backup { path: path.to_owned(), source };
        // Its own connection: neither writers nor readers wait for the copy.
        let options = sqlite_options(own).map_err(failed)?;
        let mut connection = AnyConnection::connect_with(&options).await.map_err(failed)?;
        let target = path.to_string_lossy().into_owned();
        let copied = sqlx::query("VACUUM INTO $1").bind(target).execute(&mut connection).await.map_err(failed);
        connection.close().await.map_err(failed)?;
        copied.map(|_| ())
    }

    /// Closes every connection; what was committed is on disk.
    pub async fn close(&self) {
        self.0.reader.close().await;
        self.0.writer.close().await;
    }

    /// SQLite, not PostgreSQL.
    pub fn is_sqlite(&self) -> bool {
        matches!(self.0.location, Location::Sqlite(_))
    }
}

fn sqlite_pool(connections: u32) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(SQLITE_PRAGMAS).await?;
                Ok(())
            })
        })
        // SQLite undoes a transaction by itself when the disk is full; sqlx then believes for ever that one is open and
        // begins no other. Such a connection is replaced: the store works again as soon as there is room.
        .before_acquire(|connection, _| {
            let fresh = !connection.is_in_transaction();
            Box::pin(async move { Ok(fresh) })
        })
}

fn sqlite_options(path: &Path) -> Result<AnyConnectOptions, sqlx::Error> {
    // The path travels inside a URL; these four characters have a meaning there.
    let mut escaped = String::new();
    for c in path.to_string_lossy().chars() {
        match c {
            '%' => escaped.push_str("%25"),
            '?' => escaped.push_str("%3F"),
            '#' => escaped.push_str("%23"),
            ' ' => escaped.push_str("%20"),
            other => escaped.push(other),
        }
    }
    format!("sqlite://{escaped}?mode=rwc").parse()
}

/// The location as messages show it: a PostgreSQL URL holds a password.
fn shown(location: &Location) -> String {
    match location {
        Location::Sqlite(path) => path.display().to_string(),
        Location::Postgres(url) => match url.rsplit_once('@') {
            Some((_, rest)) => format!("postgres://…@{rest}"),
            None => "PostgreSQL".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_transaction_that_sqlite_undid_by_itself_does_not_block_the_next_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&Location::Sqlite(dir.path().join("d.sqlite"))).await.expect("opened");
        let mut tx = store.begin().await.expect("begun");
        // What a full disk does behind sqlx's back.
        sqlx::query("ROLLBACK").execute(&mut *tx).await.expect("undone");
        assert!(commit(tx).await.is_err(), "nothing is left to commit");
        store.ping().await.expect("writes again");
        let tx = store.begin().await.expect("begun");
        commit(tx).await.expect("committed");
    }

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(shown(&Location::Postgres("postgres://u:p@h/db".into())), "postgres://…@h/db");
    }
}

//! The store's failures: the operation that failed, with its object, and the database's own words as the source.

use std::path::PathBuf;

/// A result of the store.
pub type StoreResult<T> = Result<T, StoreError>;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be opened.
    #[error("cannot open the database {location}; check that it exists, is reachable and may be written by this user")]
    Open {
        /// Where, without a password.
        location: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The schema cannot be brought up to date.
    #[error("cannot bring the database schema up to date; a newer version of the server may have written it")]
    Migrate {
        /// Why.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// A statement failed.
    #[error("cannot {doing}")]
    Query {
        /// What was being done, for example `store a patch task`.
        doing: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A stored value cannot be read: written by a newer version, or damaged.
    #[error("cannot read column {column} of a stored row: {problem}")]
    Row {
        /// Which column.
        column: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A value cannot be stored.
    #[error("cannot write {what} as JSON")]
    Encode {
        /// Which value.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The cursor of a list is not one of ours.
    #[error("the cursor is not one this server gave out; start the list again without it")]
    Cursor,
    /// The copy cannot be made.
    #[error("cannot write a copy of the database to {path}; the file must not exist yet")]
    Backup {
        /// Where to.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// Only SQLite can be copied from inside.
    #[error("a PostgreSQL database is backed up with its own tools (pg_dump), not by this server")]
    BackupNotHere,
}

impl StoreError {
    /// A statement failed while doing this.
    pub(crate) fn query(doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
        move |source| StoreError::Query { doing, source }
    }

    /// Trying again later may help: the database is away, busy or full, and nothing is wrong with the request.
    pub fn is_temporary(&self) -> bool {
        let source = match self {
            StoreError::Open { source, .. } | StoreError::Query { source, .. } => source,
            _ => return false,
        };
        match source {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
            // SQLite: 5 = busy, 6 = locked, 10 = I/O, 13 = full (low byte); PostgreSQL: class 08 connection,
            // 40 serialisation and deadlock, 53 resources, 57 shutdown.
            sqlx::Error::Database(e) => e.code().is_some_and(|code| match code.parse::<u32>() {
                Ok(n) if code.len() <= 4 => matches!(n & 0xff, 5 | 6 | 10 | 13),
                _ => ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class)),
            }),
            _ => false,
        }
    }

    /// There is no room for what was to be stored.
    pub fn is_full(&self) -> bool {
        // SQLite: 13; PostgreSQL: 53100.
        let code = |e: &dyn sqlx::error::DatabaseError| e.code().is_some_and(|code| code == "13" || code == "53100");
        matches!(self, StoreError::Query { source: sqlx::Error::Database(e), .. } if code(e.as_ref()))
    }

    /// A foreign key refused the change: what it names is gone, or something still names what was to go.
    pub fn is_referenced(&self) -> bool {
        matches!(self, StoreError::Query { source: sqlx::Error::Database(e), .. } if e.is_foreign_key_violation())
    }

    /// A unique constraint refused the row: somebody was faster.
    pub fn is_duplicate(&self) -> bool {
        matches!(self, StoreError::Query { source: sqlx::Error::Database(e), .. } if e.is_unique_violation())
    }
}

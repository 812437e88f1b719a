//! A statement grown piece by piece, for lists with filters. Pieces are `&'static str`; values only ever become
//! parameters, so no input can change the statement.
//!
//! Parameters are `$1`, `$2` … for PostgreSQL and `?` for SQLite, which looks through the names of all parameters for each
//! one that has a name: a statement of a thousand costs a million looks.

use drydock_domain::access::Scope;
use sqlx::any::AnyArguments;
use sqlx::{Any, AnyConnection, Arguments, AssertSqlSafe, Encode, Type};

use crate::error::{StoreError, StoreResult};

/// What the driver calls SQLite.
pub(crate) const SQLITE: &str = "SQLite";

/// LIKE's own characters lose their meaning.
pub(crate) fn like_escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// Where a parameter stands while a statement is grown; no piece holds this character.
const PLACE: char = '\0';

/// A statement under construction.
pub(crate) struct Sql {
    text: String,
    arguments: AnyArguments,
    broken: Option<sqlx::Error>,
    once: bool,
}

impl Sql {
    /// Starts a statement.
    pub(crate) fn new(start: &'static str) -> Self {
        Sql { text: start.to_owned(), arguments: AnyArguments::default(), broken: None, once: false }
    }

    /// Adds text.
    pub(crate) fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a parameter.
    pub(crate) fn bind<'q, T: Encode<'q, Any> + Type<Any>>(&mut self, value: T) -> &mut Self {
        if let Err(e) = self.arguments.add(value) {
            self.broken = Some(sqlx::Error::Encode(e));
        }
        self.text.push(PLACE);
        self
    }

    /// Adds `(…, …)`, a list of parameters. An empty list becomes `(NULL)`, which nothing is in.
    pub(crate) fn bind_list(&mut self, values: impl IntoIterator<Item = String>) -> &mut Self {
        self.push("(");
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            self.push("NULL");
        }
        while let Some(value) = values.next() {
            self.bind(value).push(if values.peek().is_some() { ", " } else { "" });
        }
        self.push(")")
    }

    /// Adds ` AND COLUMN IN (…)` for the compartments that somebody may see; nothing when that is all of them.
    pub(crate) fn within(&mut self, column: &'static str, scope: &Scope) -> &mut Self {
        match scope {
            Scope::Everywhere => self,
            Scope::In(paths) => self.push(" AND ").push(column).push(" IN ").bind_list(paths.iter().cloned()),
        }
    }

    /// Adds `(…, …)`, a list of numbers as they are; an empty list is in nothing. Such a statement is not kept for another
    /// time.
    pub(crate) fn numbers(&mut self, values: impl IntoIterator<Item = i64>) -> &mut Self {
        let list: Vec<String> = values.into_iter().map(|n| n.to_string()).collect();
        self.text.push('(');
        self.text.push_str(if list.is_empty() { "NULL" } else { "" });
        self.text.push_str(&list.join(","));
        self.text.push(')');
        self.once = true;
        self
    }

    /// Such a statement is not kept for another time.
    pub(crate) fn once(&mut self) -> &mut Self {
        self.once = true;
        self
    }

    /// The statement as a database reads it.
    fn written(&self, sqlite: bool) -> String {
        let mut out = String::with_capacity(self.text.len() + 64);
        for (n, piece) in self.text.split(PLACE).enumerate() {
            match n {
                0 => {}
                _ if sqlite => out.push('?'),
                n => {
                    out.push('$');
                    out.push_str(&n.to_string());
                }
            }
            out.push_str(piece);
        }
        out
    }

    /// Reads every row.
    pub(crate) async fn fetch(self, c: &mut AnyConnection, doing: &'static str) -> StoreResult<Vec<sqlx::any::AnyRow>> {
        if let Some(source) = self.broken {
            return Err(StoreError::Query { doing, source });
        }
        let text = self.written(c.backend_name() == SQLITE);
        let query = sqlx::query_with(AssertSqlSafe(text), self.arguments).persistent(!self.once);
        query.fetch_all(c).await.map_err(StoreError::query(doing))
    }

    /// Runs it and says how many rows it changed.
    pub(crate) async fn execute(self, c: &mut AnyConnection, doing: &'static str) -> StoreResult<u64> {
        if let Some(source) = self.broken {
            return Err(StoreError::Query { doing, source });
        }
        let text = self.written(c.backend_name() == SQLITE);
        let query = sqlx::query_with(AssertSqlSafe(text), self.arguments).persistent(!self.once);
        query.execute(c).await.map(|r| r.rows_affected()).map_err(StoreError::query(doing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_for_one_database_and_nameless_for_the_other() {
        let mut sql = Sql::new("SELECT a FROM t WHERE b = ");
        sql.bind(1_i64).push(" AND c IN ").bind_list(["x".to_owned(), "y".to_owned()]).push(" AND d IN ");
        sql.bind_list([]).push(" AND e = ").bind("z");
        assert_eq!(sql.written(false), "SELECT a FROM t WHERE b = $1 AND c IN ($2, $3) AND d IN (NULL) AND e = $4");
        assert_eq!(sql.written(true), "SELECT a FROM t WHERE b = ? AND c IN (?, ?) AND d IN (NULL) AND e = ?");
    }
}

//! A statement grown piece by piece, for lists with filters. Pieces are `&'static str`; values only ever become
//! numbered parameters, so no input can change the statement.

use sqlx::any::AnyArguments;
use sqlx::{Any, AnyConnection, Arguments, AssertSqlSafe, Encode, Type};

use crate::error::{StoreError, StoreResult};

/// LIKE's own characters lose their meaning.
pub(crate) fn like_escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// A statement under construction.
pub(crate) struct Sql {
    text: String,
    arguments: AnyArguments,
    count: usize,
    broken: Option<sqlx::Error>,
    once: bool,
}

impl Sql {
    /// Starts a statement.
    pub(crate) fn new(start: &'static str) -> Self {
        Sql { text: start.to_owned(), arguments: AnyArguments::default(), count: 0, broken: None, once: false }
    }

    /// Adds text.
    pub(crate) fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a parameter: `$n`.
    pub(crate) fn bind<'q, T: Encode<'q, Any> + Type<Any>>(&mut self, value: T) -> &mut Self {
        if let Err(e) = self.arguments.add(value) {
            self.broken = Some(sqlx::Error::Encode(e));
        }
        self.count += 1;
        self.text.push('$');
        self.text.push_str(&self.count.to_string());
        self
    }

    /// Adds `(…, …)`, a list of parameters. An empty list becomes `(NULL)`, which nothing is in.
    pub(crate) fn bind_list(&mut self, values: impl IntoIterator<Item = String>) -> &mut Self {
        self.push("(");
        let before = self.count;
        for value in values {
            if self.count > before {
                self.push(", ");
            }
            self.bind(value);
        }
        if self.count == before {
            self.push("NULL");
        }
        self.push(")")
    }

    /// Adds `(…, …)`, a list of numbers as they are; an empty list is in nothing. No parameters: for each one the driver of
    /// SQLite looks through all of them. Such a statement is not kept for another time.
    pub(crate) fn numbers(&mut self, values: impl IntoIterator<Item = i64>) -> &mut Self {
        let list: Vec<String> = values.into_iter().map(|n| n.to_string()).collect();
        self.text.push('(');
        self.text.push_str(if list.is_empty() { "NULL" } else { "" });
        self.text.push_str(&list.join(","));
        self.text.push(')');
        self.once = true;
        self
    }

    /// Reads every row.
    pub(crate) async fn fetch(self, c: &mut AnyConnection, doing: &'static str) -> StoreResult<Vec<sqlx::any::AnyRow>> {
        if let Some(source) = self.broken {
            return Err(StoreError::Query { doing, source });
        }
        let query = sqlx::query_with(AssertSqlSafe(self.text), self.arguments).persistent(!self.once);
        query.fetch_all(c).await.map_err(StoreError::query(doing))
    }

    /// Runs it and says how many rows it changed.
    pub(crate) async fn execute(self, c: &mut AnyConnection, doing: &'static str) -> StoreResult<u64> {
        if let Some(source) = self.broken {
            return Err(StoreError::Query { doing, source });
        }
        let query = sqlx::query_with(AssertSqlSafe(self.text), self.arguments).persistent(!self.once);
        query.execute(c).await.map(|r| r.rows_affected()).map_err(StoreError::query(doing))
    }
}

//! Columns to domain values and back. Every reader names its column, so that a damaged row says where.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::error::{StoreError, StoreResult};

fn bad(column: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |e| StoreError::Row { column, problem: e.to_string() }
}

pub(crate) fn text(row: &AnyRow, column: &'static str) -> StoreResult<String> {
    row.try_get(column).map_err(bad(column))
}

pub(crate) fn opt_text(row: &AnyRow, column: &'static str) -> StoreResult<Option<String>> {
    row.try_get(column).map_err(bad(column))
}

pub(crate) fn int(row: &AnyRow, column: &'static str) -> StoreResult<i64> {
    row.try_get(column).map_err(bad(column))
}

pub(crate) fn opt_int(row: &AnyRow, column: &'static str) -> StoreResult<Option<i64>> {
    row.try_get(column).map_err(bad(column))
}

pub(crate) fn bytes(row: &AnyRow, column: &'static str) -> StoreResult<Vec<u8>> {
    row.try_get(column).map_err(bad(column))
}

pub(crate) fn opt_bytes(row: &AnyRow, column: &'static str) -> StoreResult<Option<Vec<u8>>> {
    row.try_get(column).map_err(bad(column))
}

pub(crate) fn flag(row: &AnyRow, column: &'static str) -> StoreResult<bool> {
    Ok(int(row, column)? != 0)
}

pub(crate) fn count(row: &AnyRow, column: &'static str) -> StoreResult<u32> {
    let n = int(row, column)?;
    u32::try_from(n).map_err(|_| StoreError::Row { column, problem: format!("{n} is no count") })
}

pub(crate) fn big_count(row: &AnyRow, column: &'static str) -> StoreResult<u64> {
    let n = int(row, column)?;
    u64::try_from(n).map_err(|_| StoreError::Row { column, problem: format!("{n} is no count") })
}

pub(crate) fn time(row: &AnyRow, column: &'static str) -> StoreResult<Timestamp> {
    from_micros(int(row, column)?, column)
}

pub(crate) fn opt_time(row: &AnyRow, column: &'static str) -> StoreResult<Option<Timestamp>> {
    opt_int(row, column)?.map(|n| from_micros(n, column)).transpose()
}

fn from_micros(micros: i64, column: &'static str) -> StoreResult<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(|e| StoreError::Row { column, problem: e.to_string() })
}

/// A value kept as text that a function reads back: ids, state names.
pub(crate) fn parsed<T>(row: &AnyRow, column: &'static str, parse: impl Fn(&str) -> Option<T>) -> StoreResult<T> {
    let text = text(row, column)?;
    parse(&text).ok_or_else(|| StoreError::Row { column, problem: format!("{text:?} is not known to this version") })
}

pub(crate) fn opt_parsed<T>(row: &AnyRow, column: &'static str, parse: impl Fn(&str) -> Option<T>) -> StoreResult<Option<T>> {
    match opt_text(row, column)? {
        None => Ok(None),
        Some(text) => match parse(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(StoreError::Row { column, problem: format!("{text:?} is not known to this version") }),
        },
    }
}

pub(crate) fn id<T: std::str::FromStr>(row: &AnyRow, column: &'static str) -> StoreResult<T> {
    parsed(row, column, |t| t.parse().ok())
}

pub(crate) fn opt_id<T: std::str::FromStr>(row: &AnyRow, column: &'static str) -> StoreResult<Option<T>> {
    opt_parsed(row, column, |t| t.parse().ok())
}

pub(crate) fn json<T: DeserializeOwned>(row: &AnyRow, column: &'static str) -> StoreResult<T> {
    let text = text(row, column)?;
    serde_json::from_str(&text).map_err(|e| StoreError::Row { column, problem: e.to_string() })
}

pub(crate) fn opt_json<T: DeserializeOwned>(row: &AnyRow, column: &'static str) -> StoreResult<Option<T>> {
    let Some(text) = opt_text(row, column)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|e| StoreError::Row { column, problem: e.to_string() })
}

/// A value as JSON text.
pub(crate) fn to_json<T: Serialize + ?Sized>(what: &'static str, value: &T) -> StoreResult<String> {
    serde_json::to_string(value).map_err(|source| StoreError::Encode { what, source })
}

/// A time as stored.
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// An optional time as stored.
pub(crate) fn opt_micros(at: Option<Timestamp>) -> Option<i64> {
    at.map(micros)
}

/// Text that PostgreSQL can hold: it refuses NUL, and what a host says may hold one.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

//! Many rows as one text. The driver of SQLite hands each row from its thread to ours, which costs more than reading it:
//! ten thousand small rows are read several times faster as one value. The two databases have different words for it;
//! this is the only place that knows them.

use sqlx::AnyConnection;

use crate::error::{StoreError, StoreResult};
use crate::row::opt_text;
use crate::sql::{SQLITE, Sql};

/// What is read: the start of the statement for each database, up to and with FROM and its table.
pub(crate) struct Packed {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

impl Packed {
    /// Starts the statement.
    pub(crate) fn sql(&self, c: &AnyConnection) -> Sql {
        Sql::new(if c.backend_name() == SQLITE { self.sqlite } else { self.postgres })
    }
}

/// Reads the one value: entries separated by commas. No rows are no value.
pub(crate) async fn fetch(sql: Sql, c: &mut AnyConnection, doing: &'static str) -> StoreResult<String> {
    let rows = sql.fetch(c, doing).await?;
    let text = rows.first().map(|row| opt_text(row, "packed")).transpose()?;
    Ok(text.flatten().unwrap_or_default())
}

/// The entries of such a value.
pub(crate) fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|entry| !entry.is_empty())
}

/// The fields of an entry.
pub(crate) fn fields<const N: usize>(entry: &str) -> StoreResult<[&str; N]> {
    let mut fields = entry.splitn(N, ':');
    let mut out = [""; N];
    for field in &mut out {
        *field = fields.next().ok_or_else(|| bad("a field is missing"))?;
    }
    Ok(out)
}

/// An id.
pub(crate) fn id<T: std::str::FromStr>(text: &str) -> StoreResult<T> {
    text.parse().map_err(|_| bad("an id cannot be read"))
}

/// A number.
pub(crate) fn number(text: &str) -> StoreResult<u32> {
    text.parse().map_err(|_| bad("a number cannot be read"))
}

/// Bytes in hexadecimal of either case.
pub(crate) fn bytes(hex: &str) -> StoreResult<Vec<u8>> {
    const BAD: u8 = 0xff;
    const DIGITS: [u8; 256] = {
        let mut digits = [BAD; 256];
        let mut n = 0;
        while n < 10 {
            digits[b'0' as usize + n] = n as u8;
            n += 1;
        }
        let mut n = 0;
        while n < 6 {
            digits[b'a' as usize + n] = 10 + n as u8;
            digits[b'A' as usize + n] = 10 + n as u8;
            n += 1;
        }
        digits
    };
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let mut wrong = !rest.is_empty();
    let byte = |pair: &[u8; 2]| {
        let (high, low) = (DIGITS[usize::from(pair[0])], DIGITS[usize::from(pair[1])]);
        wrong |= high == BAD || low == BAD;
        (high << 4) | (low & 15)
    };
    let out: Vec<u8> = pairs.iter().map(byte).collect();
    if wrong { Err(bad("bytes are not hexadecimal")) } else { Ok(out) }
}

fn bad(problem: &'static str) -> StoreError {
    StoreError::Row { column: "packed", problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_and_damage_is_told() {
        assert_eq!(entries("1:2,3:4").map(|e| fields::<2>(e).expect("two")).collect::<Vec<_>>(), [["1", "2"], ["3", "4"]]);
        assert_eq!(entries("").count(), 0);
        assert_eq!(bytes("00fFa9").expect("hex"), [0, 0xff, 0xa9]);
        assert!(bytes("0").is_err() && bytes("0g").is_err() && fields::<3>("1:2").is_err() && number("x").is_err());
    }
}

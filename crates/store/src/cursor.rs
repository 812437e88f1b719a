//! Cursors of lists: the key of the last row given out, in hexadecimal so that nobody is tempted to build one.
//! Absent on purpose: a signature. A forged cursor shows nothing that the list without it would not show.

use crate::error::{StoreError, StoreResult};
use crate::records::{PageQuery, Paged};
use drydock_domain::limits::{PAGE_DEFAULT, PAGE_MAX};

/// Longest cursor read, bytes: two keys of at most 255 bytes, in hexadecimal, doubled.
const CURSOR_MAX_BYTES: usize = 2048;
/// Stands between the keys of one cursor; no key holds it.
const SEPARATOR: char = '\u{1f}';

/// Rows to read for a page: one more than asked, to know whether there is another page.
pub(crate) fn fetch_limit(page: &PageQuery) -> i64 {
    i64::from(limit(page)) + 1
}

fn limit(page: &PageQuery) -> u32 {
    page.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
}

/// The keys inside a cursor; `None` when the list starts at the beginning.
pub(crate) fn keys<const N: usize>(page: &PageQuery) -> StoreResult<Option<[String; N]>> {
    let Some(cursor) = &page.cursor else { return Ok(None) };
    if cursor.len() > CURSOR_MAX_BYTES || cursor.len() % 2 != 0 || !cursor.is_ascii() {
        return Err(StoreError::Cursor);
    }
    let mut bytes = Vec::with_capacity(cursor.len() / 2);
    for pair in cursor.as_bytes().chunks(2) {
        let digit = |b: u8| char::from(b).to_digit(16);
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return Err(StoreError::Cursor) };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| StoreError::Cursor)?);
    }
    let text = String::from_utf8(bytes).map_err(|_| StoreError::Cursor)?;
    if text.contains('\0') {
        return Err(StoreError::Cursor);
    }
    let parts: Vec<String> = text.split(SEPARATOR).map(str::to_owned).collect();
    parts.try_into().map(Some).map_err(|_| StoreError::Cursor)
}

/// Reads a key that is a number.
pub(crate) fn number(key: &str) -> StoreResult<i64> {
    key.parse().map_err(|_| StoreError::Cursor)
}

/// Cuts the rows read with [`fetch_limit`] to the page and makes the next cursor from the last row.
pub(crate) fn page<T>(query: &PageQuery, mut rows: Vec<T>, keys: impl Fn(&T) -> Vec<String>) -> Paged<T> {
    let limit = usize::try_from(limit(query)).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let last = if more { rows.last() } else { None };
    let next_cursor = last.map(|row| {
        let text = keys(row).join(&SEPARATOR.to_string());
        text.bytes().map(|b| format!("{b:02x}")).collect()
    });
    Paged { items: rows, next_cursor }
}

/// One page of rows that are in memory, sorted by keys of the same order.
pub fn in_memory_page<T, const N: usize>(
    query: &PageQuery,
    rows: impl Iterator<Item = T>,
    keys_of: impl Fn(&T) -> [String; N],
) -> StoreResult<Paged<T>> {
    let last = keys::<N>(query)?;
    let after = rows.filter(|row| last.as_ref().is_none_or(|last| keys_of(row) > *last));
    let taken = after.take(usize::try_from(fetch_limit(query)).unwrap_or(usize::MAX)).collect();
    Ok(page(query, taken, |row| keys_of(row).to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_in_memory_are_read_page_by_page() {
        let mut query = PageQuery { cursor: None, limit: Some(2) };
        let mut seen = Vec::new();
        loop {
            let got = in_memory_page(&query, ["a", "b", "b!", "c", "d"].into_iter(), |r| [(*r).to_owned()]).expect("a page");
            seen.push(got.items);
            query.cursor = got.next_cursor;
            if query.cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, [vec!["a", "b"], vec!["b!", "c"], vec!["d"]]);
    }

    #[test]
    fn a_cursor_holds_the_last_key_and_a_foreign_one_is_refused() {
        let query = PageQuery { cursor: None, limit: Some(2) };
        let got = page(&query, vec!["a", "b", "c"], |r| vec![(*r).to_owned(), "7".to_owned()]);
        assert_eq!(got.items, ["a", "b"]);
        let next = PageQuery { cursor: got.next_cursor, limit: Some(2) };
        assert_eq!(keys::<2>(&next).expect("ours"), Some(["b".to_owned(), "7".to_owned()]));
        for foreign in ["x", "zz", "ff", "6", "é"] {
            let query = PageQuery { cursor: Some(foreign.into()), limit: None };
            assert!(keys::<2>(&query).is_err(), "{foreign}");
        }
    }
}

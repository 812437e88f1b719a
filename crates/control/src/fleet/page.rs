//! Pages of lists that are made in memory. A cursor names the last row by place and key: a list that changed in between
//! goes on behind that row, or at that place when the row is gone.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drydock_domain::limits::{PAGE_DEFAULT, PAGE_MAX};
use drydock_store::StoreError;
use drydock_store::records::{PageQuery, Paged};

use crate::error::Result;

/// Longest cursor looked at, bytes: an id of 128 bytes and a number.
const CURSOR_MAX_BYTES: usize = 512;

/// Cuts a sorted list to the page that is asked for. `key` is different for every row.
pub(crate) fn page<T>(mut rows: Vec<T>, query: &PageQuery, key: impl Fn(&T) -> String) -> Result<Paged<T>> {
    let limit = usize::try_from(query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)).unwrap_or(usize::MAX);
    let start = match &query.cursor {
        None => 0,
        Some(cursor) => {
            let (place, last) = read(cursor).ok_or(StoreError::Cursor)?;
            let near = rows.get(place).is_some_and(|row| key(row) == last).then_some(place);
            let found = near.or_else(|| rows.iter().position(|row| key(row) == last));
            found.map_or(place, |at| at + 1)
        }
    };
    let mut items: Vec<T> = rows.drain(start.min(rows.len())..).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|row| format!("{} {}", start + items.len() - 1, key(row)));
    Ok(Paged { next_cursor: next.map(|text| URL_SAFE_NO_PAD.encode(text)), items })
}

fn read(cursor: &str) -> Option<(usize, String)> {
    if cursor.len() > CURSOR_MAX_BYTES {
        return None;
    }
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (place, key) = text.split_once(' ')?;
    Some((place.parse().ok()?, key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(rows: &[&str], cursor: Option<String>) -> (Vec<String>, Option<String>) {
        let rows = rows.iter().map(|r| (*r).to_owned()).collect();
        let paged = page(rows, &PageQuery { cursor, limit: Some(2) }, Clone::clone).expect("a page");
        (paged.items, paged.next_cursor)
    }

    #[test]
    fn a_list_that_changes_goes_on_behind_the_last_row() {
        let (first, next) = cut(&["a", "b", "c", "d"], None);
        assert_eq!(first, ["a", "b"]);
        assert_eq!(cut(&["a", "b", "c", "d"], next.clone()), (vec!["c".into(), "d".into()], None));
        assert_eq!(cut(&["new", "a", "b", "c"], next.clone()).0, ["c"]);
        assert_eq!(cut(&["a", "c", "d"], next.clone()).0, ["c", "d"], "the row is gone");
        assert_eq!(cut(&["a"], next).0, Vec::<String>::new());
        for foreign in ["", "x", "ff!", &"a".repeat(600)] {
            let query = PageQuery { cursor: Some(foreign.into()), limit: None };
            assert!(page(vec!["a".to_owned()], &query, Clone::clone).is_err(), "{foreign}");
        }
    }
}

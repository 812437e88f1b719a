//! Lists as CSV (RFC 4180), for spreadsheets. What a feed or a host wrote may begin like a formula; such a cell gets an
//! apostrophe in front, which spreadsheets do not show.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};

use super::error::{Failure, Result};
use super::extract::Params;

/// Takes `format`: is CSV asked for?
pub(super) fn wanted(params: &mut Params) -> Result<bool> {
    match params.one("format")?.as_deref() {
        None | Some("json") => Ok(false),
        Some("csv") => Ok(true),
        Some(other) => Err(Failure::field("format", format!("{other:?} is not json or csv"))),
    }
}

/// A whole list as a file.
pub(super) fn file(name: &str, header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Response {
    let mut text = line(header.iter().map(|h| (*h).to_owned()));
    for row in rows {
        text.push_str(&line(row.into_iter()));
    }
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.csv\"")),
    ];
    (headers, text).into_response()
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let mut text = cells.map(|c| cell(&c)).collect::<Vec<_>>().join(",");
    text.push_str("\r\n");
    text
}

fn cell(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        let shown = line(["a", "b,c", "say \"x\"", "=1+1", "two\nlines", ""].into_iter().map(str::to_owned));
        assert_eq!(shown, "a,\"b,c\",\"say \"\"x\"\"\",'=1+1,\"two\nlines\",\r\n");
    }
}

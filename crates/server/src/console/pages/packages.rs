//! Packages of the fleet, now and at a time in the past, and who had which version of one when.

use askama::Template;
use axum::extract::{Path, Query};
use drydock_control::{ErrorKind, HoldingQuery, HoldingView, InstalledView};
use jiff::Timestamp;
use serde::Deserialize;

use super::{CursorQuery, list_url};
use crate::console::auth::{Chrome, Signed, form_encode};
use crate::console::error::{Fail, Html, sentence};
use crate::console::moment;
use crate::console::rows::Pager;
use crate::console::view::{self, When};

/// The list's filter, as typed.
#[derive(Debug, Default, Deserialize)]
pub struct Filter {
    #[serde(default)]
    q: String,
    #[serde(default)]
    at: String,
    #[serde(default)]
    cursor: Option<String>,
}

struct Row {
    name: String,
    arch: String,
    version: String,
    hosts: String,
    who_had: String,
}

impl Row {
    fn new(p: InstalledView) -> Self {
        let path = format!("/packages/{}", form_encode(&p.name));
        Row {
            hosts: view::plural(u64::from(p.hosts), "host", "hosts"),
            who_had: list_url(&path, &[("version", &p.version), ("arch", &p.arch)]),
            name: p.name,
            arch: p.arch,
            version: p.version,
        }
    }
}

#[derive(Template)]
#[template(path = "packages.html")]
struct ListPage {
    c: Chrome,
    f: Filter,
    at: Option<When>,
    error: Option<String>,
    rows: Vec<Row>,
    pager: Pager,
}

/// `GET /packages`
pub async fn list(who: Signed, Query(f): Query<Filter>) -> Result<Html<impl Template>, Fail> {
    let (at, error) = match moment::read(&f.at, who.ctx.now) {
        Ok(at) => (at, None),
        Err(message) => (None, Some(message)),
    };
    let page = CursorQuery { cursor: f.cursor.clone() }.page();
    // Nothing is listed beside a time that means nothing: it would be another time's.
    let found = match &error {
        None => Some(who.control().list_packages(&who.ctx, f.q.trim(), at, &page).await.map_err(|e| who.fail(e))?),
        Some(_) => None,
    };
    let (items, next) = found.map_or_else(Default::default, |found| (found.items, found.next_cursor));
    let url = list_url("/packages", &[("q", &f.q), ("at", &f.at)]);
    Ok(Html(ListPage {
        c: who.chrome("Packages", "/packages"),
        at: view::when_opt(at, who.ctx.now),
        error,
        rows: items.into_iter().map(Row::new).collect(),
        pager: Pager::new(&url, f.cursor.as_deref(), next.as_deref()),
        f,
    }))
}

/// Which stretches of time are asked for, as typed.
#[derive(Debug, Default, Deserialize)]
pub struct HoldingFilter {
    #[serde(default)]
    version: String,
    #[serde(default)]
    arch: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
    #[serde(default)]
    cursor: Option<String>,
}

impl HoldingFilter {
    fn query(&self, now: Timestamp) -> Result<HoldingQuery, String> {
        Ok(HoldingQuery {
            version: self.version.trim().to_owned(),
            arch: self.arch.trim().to_owned(),
            from: moment::read(&self.from, now)?,
            to: moment::read(&self.to, now)?,
            page: CursorQuery { cursor: self.cursor.clone() }.page(),
        })
    }
}

/// A stretch of time in which a host had a version.
struct HoldingRow {
    host: String,
    version: String,
    arch: String,
    from: When,
    from_begin: bool,
    until: Option<When>,
}

impl HoldingRow {
    fn new(h: HoldingView, now: Timestamp) -> Self {
        HoldingRow {
            from: view::when(h.from, now),
            until: view::when_opt(h.until, now),
            host: h.host,
            version: h.version,
            arch: h.arch,
            from_begin: h.from_begin,
        }
    }
}

#[derive(Template)]
#[template(path = "package.html")]
struct ShowPage {
    c: Chrome,
    name: String,
    f: HoldingFilter,
    error: Option<String>,
    rows: Vec<HoldingRow>,
    pager: Pager,
}

/// `GET /packages/{name}`
pub async fn show(who: Signed, Path(name): Path<String>, Query(f): Query<HoldingFilter>) -> Result<Html<impl Template>, Fail> {
    let found = match f.query(who.ctx.now) {
        Ok(query) => match who.control().who_had(&who.ctx, &name, &query).await {
            Ok(found) => Ok(found),
            Err(e) if e.kind() == ErrorKind::Invalid => Err(sentence(&e.to_string())),
            Err(e) => return Err(who.fail(e)),
        },
        Err(message) => Err(message),
    };
    let (items, next, error) = match found {
        Ok(found) => (found.items, found.next_cursor, None),
        Err(message) => (Vec::new(), None, Some(message)),
    };
    let pairs = [("version", f.version.as_str()), ("arch", &f.arch), ("from", &f.from), ("to", &f.to)];
    let url = list_url(&format!("/packages/{}", form_encode(&name)), &pairs);
    Ok(Html(ShowPage {
        c: who.chrome(format!("Who had {name}"), "/packages"),
        rows: items.into_iter().map(|h| HoldingRow::new(h, who.ctx.now)).collect(),
        pager: Pager::new(&url, f.cursor.as_deref(), next.as_deref()),
        name,
        f,
        error,
    }))
}

//! What an instance had and has: its packages now and at a time, what changed between two times, and its module streams.

use askama::Template;
use axum::extract::{Path, Query};
use drydock_control::{ErrorKind, PackagesView};
use drydock_domain::inventory::{Package, PackageChange};
use drydock_domain::patch::modules::{HostModule, ModuleStatus};
use jiff::Timestamp;
use serde::Deserialize;

use super::instances::{or_none, read};
use crate::console::auth::{Chrome, Signed};
use crate::console::error::{Fail, Html, sentence};
use crate::console::moment;
use crate::console::rows::InstanceRow;
use crate::console::view::{self, When};

/// Packages on one page, rows; a search narrows them.
const PACKAGE_ROWS: usize = 2000;
/// Changes on one page, rows.
const CHANGE_ROWS: usize = 2000;
/// Without two times the changes of so many hours are shown: a week.
const CHANGES_HOURS: i64 = 7 * 24;

struct PackagesBlock {
    words: String,
    changed: When,
    rows: Vec<Package>,
    cut: bool,
}

#[derive(Template)]
#[template(path = "instance_packages.html")]
struct PackagesPage {
    c: Chrome,
    i: InstanceRow,
    tab: &'static str,
    q: String,
    at: String,
    then: Option<When>,
    error: Option<String>,
    packages: Option<PackagesBlock>,
}

/// A search for packages.
#[derive(Debug, Default, Deserialize)]
pub struct Search {
    #[serde(default)]
    q: String,
    #[serde(default)]
    at: String,
}

fn block(found: PackagesView, q: &str, past: bool, now: Timestamp) -> PackagesBlock {
    let count = view::plural(found.packages.len() as u64, "package", "packages");
    let cut = found.packages.len() > PACKAGE_ROWS;
    PackagesBlock {
        words: match (q.is_empty(), past) {
            (true, false) => format!("{count} installed"),
            (true, true) => format!("{count} were installed"),
            (false, _) => format!("{count} with “{q}” in the name"),
        },
        changed: view::when(found.changed_at, now),
        rows: found.packages.into_iter().take(PACKAGE_ROWS).collect(),
        cut,
    }
}

/// `GET /instances/{id}/packages`
pub async fn packages(who: Signed, Path(id): Path<String>, Query(s): Query<Search>) -> Result<Html<impl Template>, Fail> {
    let q = s.q.trim().to_owned();
    let instance = read(&who, &id).await?;
    let (then, mut error) = match moment::read(&s.at, who.ctx.now) {
        Ok(then) => (then, None),
        Err(message) => (None, Some(message)),
    };
    let found = match (&error, then) {
        (Some(_), _) => None,
        (None, None) => or_none(&who, who.control().instance_packages(&who.ctx, &id, &q).await)?,
        (None, Some(at)) => match who.control().instance_packages_at(&who.ctx, &id, &q, at).await {
            Ok(found) => Some(found),
            // Its history begins later: the page says so, and when.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => {
                error = Some(sentence(&e.to_string()));
                None
            }
            Err(e) => return Err(who.fail(e)),
        },
    };
    let title = format!("Packages of {}", instance.record.name);
    Ok(Html(PackagesPage {
        c: who.chrome(title, "/instances"),
        i: InstanceRow::new(&instance, who.ctx.now),
        tab: "/packages",
        packages: found.map(|p| block(p, &q, then.is_some(), who.ctx.now)),
        then: view::when_opt(then, who.ctx.now),
        q,
        at: s.at,
        error,
    }))
}

/// Two times, as typed.
#[derive(Debug, Default, Deserialize)]
pub struct Between {
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
}

struct ChangesBlock {
    from: When,
    to: When,
    words: String,
    rows: Vec<ChangeRow>,
    cut: bool,
}

struct ChangeRow {
    name: String,
    arch: String,
    words: String,
}

fn change_row(c: &PackageChange) -> ChangeRow {
    let words = match (&c.from, &c.to) {
        (Some(from), Some(to)) => format!("{from} → {to}"),
        (None, Some(to)) => format!("{to} installed"),
        (Some(from), None) => format!("{from} removed"),
        (None, None) => String::new(),
    };
    ChangeRow { name: c.name.clone(), arch: c.arch.clone(), words }
}

#[derive(Template)]
#[template(path = "instance_changes.html")]
struct ChangesPage {
    c: Chrome,
    i: InstanceRow,
    tab: &'static str,
    f: Between,
    error: Option<String>,
    changes: Option<ChangesBlock>,
}

/// Both times; a week ago and now where they are not said.
fn times(f: &Between, now: Timestamp) -> Result<(Timestamp, Timestamp), String> {
    let to = moment::read(&f.to, now)?.unwrap_or(now);
    let week = jiff::SignedDuration::from_hours(CHANGES_HOURS);
    let from = moment::read(&f.from, now)?.or_else(|| to.checked_sub(week).ok()).unwrap_or(to);
    Ok((from, to))
}

/// `GET /instances/{id}/changes`
pub async fn changes(who: Signed, Path(id): Path<String>, Query(f): Query<Between>) -> Result<Html<impl Template>, Fail> {
    let instance = read(&who, &id).await?;
    let found = match times(&f, who.ctx.now) {
        Ok((from, to)) => match who.control().instance_packages_diff(&who.ctx, &id, from, to).await {
            Ok(found) => Ok(found),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => Err(sentence(&e.to_string())),
            Err(e) => return Err(who.fail(e)),
        },
        Err(message) => Err(message),
    };
    let block = |d: &drydock_control::PackagesDiffView| ChangesBlock {
        from: view::when(d.from, who.ctx.now),
        to: view::when(d.to, who.ctx.now),
        words: view::plural(d.changes.len() as u64, "change", "changes"),
        rows: d.changes.iter().take(CHANGE_ROWS).map(change_row).collect(),
        cut: d.changes.len() > CHANGE_ROWS,
    };
    Ok(Html(ChangesPage {
        c: who.chrome(format!("Changes of {}", instance.record.name), "/instances"),
        i: InstanceRow::new(&instance, who.ctx.now),
        tab: "/changes",
        changes: found.as_ref().ok().map(block),
        error: found.err(),
        f,
    }))
}

/// A stream of a module.
struct StreamRow {
    stream: String,
    version: String,
    source: String,
    is_default: bool,
    profiles: String,
}

struct ModuleBlock {
    module: String,
    state: String,
    /// In force on the host.
    enabled: bool,
    summary: String,
    streams: Vec<StreamRow>,
}

fn module_block(m: HostModule) -> ModuleBlock {
    let with_profiles = |words: String, profiles: &[String]| match profiles {
        [] => words,
        list => format!("{words}, profiles {}", list.join(", ")),
    };
    let state = match m.state.status {
        ModuleStatus::Enabled => with_profiles(format!("stream {} is enabled", m.state.stream), &m.state.profiles),
        ModuleStatus::Disabled => "disabled".to_owned(),
        ModuleStatus::Unset => "not set: the default stream counts, if there is one".to_owned(),
    };
    let stream = |s: &drydock_domain::patch::modules::ModuleStream| StreamRow {
        stream: s.stream.clone(),
        version: s.version.clone(),
        source: s.repository.clone(),
        is_default: s.is_default,
        profiles: s.profiles.join(", "),
    };
    ModuleBlock {
        enabled: m.state.status == ModuleStatus::Enabled,
        state,
        summary: m.streams.iter().map(|s| s.summary.clone()).find(|s| !s.is_empty()).unwrap_or_default(),
        streams: m.streams.iter().map(stream).collect(),
        module: m.module,
    }
}

#[derive(Template)]
#[template(path = "instance_modules.html")]
struct ModulesPage {
    c: Chrome,
    i: InstanceRow,
    tab: &'static str,
    changed: Option<When>,
    modules: Vec<ModuleBlock>,
}

/// `GET /instances/{id}/modules`
pub async fn modules(who: Signed, Path(id): Path<String>) -> Result<Html<impl Template>, Fail> {
    let instance = read(&who, &id).await?;
    let found = who.control().instance_modules(&who.ctx, &id).await.map_err(|e| who.fail(e))?;
    Ok(Html(ModulesPage {
        c: who.chrome(format!("Module streams of {}", instance.record.name), "/instances"),
        i: InstanceRow::new(&instance, who.ctx.now),
        tab: "/modules",
        changed: view::when_opt(found.changed_at, who.ctx.now),
        modules: found.modules.into_iter().map(module_block).collect(),
    }))
}

//! Software sources: the list, and the pages of one: its snapshots, what was odd about its upstream, what a snapshot holds and how two
//! differ. Making and editing a source is the command's (a specification may hold keys and filters).

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use drydock_control::records::PageQuery;
use drydock_control::{ContentJobView, SnapshotView, SourceQuery, SourceView, UnitQuery};
use drydock_domain::inventory::Finding;
use drydock_domain::source::job::ContentJobState;
use drydock_domain::source::spec::Origin;
use drydock_domain::source::unit::{Format, Unit, UnitChange};
use jiff::Timestamp;
use serde::Deserialize;

use super::{CursorQuery, PAGE_ROWS};
use crate::console::auth::{Chrome, Signed, SignedForm, form_encode};
use crate::console::error::{Fail, Html};
use crate::console::rows::Pager;
use crate::console::view::{self, Badge, When};

/// Changes shown between two snapshots, rows.
const DIFF_ROWS: u32 = 500;

/// How a content job stands.
pub fn content_job_badge(state: ContentJobState) -> Badge {
    let tone = match state {
        ContentJobState::Pending => "idle",
        ContentJobState::Running => "run",
        ContentJobState::Succeeded => "ok",
        ContentJobState::Failed => "bad",
        ContentJobState::Canceled => "idle",
    };
    Badge { tone, label: state.as_str() }
}

/// A content job, as a line.
struct JobLine {
    badge: Badge,
    kind: &'static str,
    words: String,
    when: When,
    by: String,
}

impl JobLine {
    fn new(job: &ContentJobView, now: Timestamp) -> Self {
        let words = match (&job.progress.total, job.state) {
            (Some(total), ContentJobState::Running) => format!("{}: {} of {total}", job.progress.stage, job.progress.done),
            (None, ContentJobState::Running) => job.progress.stage.clone(),
            _ => job.message.clone(),
        };
        JobLine {
            badge: content_job_badge(job.state),
            kind: job.kind.as_str(),
            words,
            when: view::when(job.finished_at.or(job.started_at).unwrap_or(job.created_at), now),
            by: job.requested_by.clone(),
        }
    }
}

/// `63,000 packages` and the like.
fn packages(n: u64) -> String {
    view::plural(n, "package", "packages")
}

/// `1.4 GiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut tenths, mut unit) = (u128::from(bytes) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS.get(unit).unwrap_or(&"TiB"))
}

fn origin_words(view: &SourceView) -> String {
    match &view.spec.origin {
        Origin::Upstream(upstream) => {
            let place = upstream.urls.first().or(upstream.mirrorlist.as_ref()).or(upstream.metalink.as_ref());
            match (&upstream.suite, place) {
                (Some(suite), Some(url)) => format!("{url} {suite}"),
                (None, Some(url)) => url.clone(),
                _ => "an upstream".to_owned(),
            }
        }
        Origin::Sources { from } => format!("takes from {}", from.join(", ")),
        Origin::Local { .. } => "uploaded packages".to_owned(),
    }
}

/// A source in the list and at the head of its page.
struct SourceRow {
    name: String,
    title: String,
    format: &'static str,
    origin: String,
    packages: String,
    newest: Option<(u64, When)>,
    job: Option<JobLine>,
    failures: u32,
    findings: u32,
    attachments: u64,
    synced: Option<When>,
    next_sync: Option<When>,
    /// There is an upstream, or sources, to take from.
    can_sync: bool,
}

impl SourceRow {
    fn new(s: &SourceView, now: Timestamp) -> Self {
        let current = s.current.as_ref();
        SourceRow {
            name: s.spec.name.clone(),
            title: if s.spec.display_name.is_empty() { s.spec.name.clone() } else { s.spec.display_name.clone() },
            format: match s.spec.format {
                Format::Rpm => "rpm",
                Format::Deb => "deb",
            },
            origin: origin_words(s),
            packages: current.map_or_else(|| "–".to_owned(), |c| packages(c.stats.packages)),
            newest: current.map(|c| (c.number, view::when(c.created_at, now))),
            job: s.last_job.as_ref().map(|j| JobLine::new(j, now)),
            failures: s.failures,
            findings: current.map_or(0, |c| c.findings_total),
            attachments: s.attachments,
            synced: view::when_opt(s.last_synced_at, now),
            next_sync: view::when_opt(s.next_sync_at, now),
            can_sync: !matches!(s.spec.origin, Origin::Local { .. }),
        }
    }
}

#[derive(Template)]
#[template(path = "sources.html")]
struct ListPage {
    c: Chrome,
    rows: Vec<SourceRow>,
    pager: Pager,
}

/// `GET /sources`
pub async fn list(who: Signed, Query(cursor): Query<CursorQuery>) -> Result<Html<impl Template>, Fail> {
    let query = SourceQuery { page: cursor.page(), ..SourceQuery::default() };
    let found = who.control().list_sources(&who.ctx, &query).await.map_err(|e| who.fail(e))?;
    Ok(Html(ListPage {
        c: who.chrome("Software sources", "/sources"),
        rows: found.items.iter().map(|s| SourceRow::new(s, who.ctx.now)).collect(),
        pager: Pager::new("/sources", cursor.cursor.as_deref(), found.next_cursor.as_deref()),
    }))
}

/// A snapshot in a list.
struct SnapshotRow {
    number: u64,
    packages: u64,
    size: String,
    advisories: u64,
    origin: &'static str,
    made: When,
    findings: u32,
    environments: Vec<String>,
    latest: bool,
    /// The one before it, to compare with.
    before: Option<u64>,
}

impl SnapshotRow {
    fn new(s: &SnapshotView, before: Option<u64>, now: Timestamp) -> Self {
        SnapshotRow {
            number: s.number,
            packages: s.stats.packages,
            size: size(s.stats.package_bytes),
            advisories: s.stats.advisories,
            origin: s.origin.as_str(),
            made: view::when(s.created_at, now),
            findings: s.findings_total,
            environments: s.environments.clone(),
            latest: s.latest,
            before,
        }
    }
}

#[derive(Template)]
#[template(path = "source.html")]
struct ShowPage {
    c: Chrome,
    s: SourceRow,
    facts: Vec<(&'static str, String)>,
    findings: Vec<Finding>,
    snapshots: Vec<SnapshotRow>,
    pager: Pager,
}

fn facts(s: &SourceView) -> Vec<(&'static str, String)> {
    let spec = &s.spec;
    let all = [
        ("Name", spec.name.clone()),
        ("Description", spec.description.clone()),
        ("From", origin_words(s)),
        ("Architectures", spec.architectures.join(", ")),
        ("Parent", spec.parent.clone().unwrap_or_default()),
        ("Used by", s.used_by.join(", ")),
        ("Packages are kept", format!("{:?}", spec.policy).to_lowercase()),
        ("Synchronised every", spec.sync_interval_secs.map(view::duration).unwrap_or_default()),
        ("Priority on hosts", spec.priority.map(|p| p.to_string()).unwrap_or_default()),
        ("Made by", s.created_by.clone()),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// `GET /sources/{name}`
pub async fn show(who: Signed, Path(name): Path<String>, Query(cursor): Query<CursorQuery>) -> Result<Html<impl Template>, Fail> {
    let (control, now) = (who.control(), who.ctx.now);
    let source = control.get_source(&who.ctx, &name).await.map_err(|e| who.fail(e))?;
    // One more than a page shows: what the last row is compared with.
    let page = PageQuery { limit: Some(PAGE_ROWS), ..cursor.page() };
    let found = control.list_snapshots(&who.ctx, &name, &page).await.map_err(|e| who.fail(e))?;
    let befores = found.items.iter().skip(1).map(|s| Some(s.number)).chain([None]);
    let snapshots = found.items.iter().zip(befores).map(|(s, before)| SnapshotRow::new(s, before, now)).collect();
    let findings = match &source.current {
        Some(current) if current.findings_total > 0 => {
            let number = current.number.to_string();
            control.get_snapshot(&who.ctx, &name, &number).await.map_err(|e| who.fail(e))?.findings
        }
        _ => Vec::new(),
    };
    let path = path_of(&name);
    Ok(Html(ShowPage {
        c: who.chrome(source.spec.name.clone(), "/sources"),
        s: SourceRow::new(&source, now),
        facts: facts(&source),
        findings,
        snapshots,
        pager: Pager::new(&path, cursor.cursor.as_deref(), found.next_cursor.as_deref()),
    }))
}

fn path_of(name: &str) -> String {
    format!("/sources/{}", form_encode(name))
}

/// What to look for in a snapshot.
#[derive(Debug, Default, Deserialize)]
pub struct Search {
    #[serde(default)]
    q: String,
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "snapshot.html")]
struct SnapshotPage {
    c: Chrome,
    source: String,
    number: u64,
    made: When,
    q: String,
    units: Vec<(Unit, String)>,
    pager: Pager,
}

/// `GET /sources/{name}/snapshots/{number}`
pub async fn snapshot(
    who: Signed,
    Path((name, number)): Path<(String, String)>,
    Query(s): Query<Search>,
) -> Result<Html<impl Template>, Fail> {
    let cursor = s.cursor.filter(|c| !c.is_empty());
    let query = UnitQuery { name_contains: s.q.trim().to_owned(), index: None, cursor: cursor.clone(), limit: Some(PAGE_ROWS) };
    let page = who.control().snapshot_units(&who.ctx, &name, &number, &query).await.map_err(|e| who.fail(e))?;
    let path = format!("{}/snapshots/{}?q={}", path_of(&name), page.snapshot.number, form_encode(s.q.trim()));
    Ok(Html(SnapshotPage {
        c: who.chrome(format!("{name} snapshot {}", page.snapshot.number), "/sources"),
        number: page.snapshot.number,
        made: view::when(page.snapshot.created_at, who.ctx.now),
        q: query.name_contains,
        units: page.units.into_iter().map(|u| (u.clone(), size(u.size))).collect(),
        pager: Pager::new(&path, cursor.as_deref(), page.next_cursor.as_deref()),
        source: name,
    }))
}

/// Which snapshots to compare.
#[derive(Debug, Deserialize)]
pub struct Between {
    from: String,
    to: String,
}

#[derive(Template)]
#[template(path = "snapshot_diff.html")]
struct DiffPage {
    c: Chrome,
    source: String,
    from: u64,
    to: u64,
    words: String,
    changes: Vec<(Badge, Unit)>,
    truncated: bool,
}

/// A change of a unit.
pub fn change_row(change: UnitChange) -> (Badge, Unit) {
    match change {
        UnitChange::Added { unit } => (Badge { tone: "ok", label: "added" }, unit),
        UnitChange::Removed { unit } => (Badge { tone: "bad", label: "removed" }, unit),
        UnitChange::Changed { unit } => (Badge { tone: "idle", label: "metadata" }, unit),
    }
}

/// `GET /sources/{name}/diff?from=1&to=2`
pub async fn diff(who: Signed, Path(name): Path<String>, Query(b): Query<Between>) -> Result<Html<impl Template>, Fail> {
    let found = who.control().snapshot_diff(&who.ctx, &name, &b.from, &b.to, Some(DIFF_ROWS)).await.map_err(|e| who.fail(e))?;
    let n = found.counts;
    Ok(Html(DiffPage {
        c: who.chrome(format!("{name} {} to {}", found.from.number, found.to.number), "/sources"),
        source: name,
        from: found.from.number,
        to: found.to.number,
        words: format!(
            "{} added, {} removed, {} with other metadata, {} of other text",
            packages(n.added),
            n.removed,
            n.changed,
            view::plural(n.advisories, "advisory", "advisories"),
        ),
        changes: found.changes.into_iter().map(change_row).collect(),
        truncated: found.truncated,
    }))
}

/// `POST /sources/{name}/sync`
pub async fn sync(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().sync_source(&who.ctx, &name).await {
        Ok(job) => Ok(who.done(&path_of(&name), format!("{} {} is {}.", job.kind.as_str(), job.id, job.state.as_str()))),
        Err(e) => who.refused(&path_of(&name), e),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_read_as_people_say_them() {
        for (bytes, want) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_572_864, "1.5 MiB"), (u64::MAX, "16777215.9 TiB")]
        {
            assert_eq!(size(bytes), want);
        }
    }
}

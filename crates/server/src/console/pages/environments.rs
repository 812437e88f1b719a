//! Lifecycle environments: where each points, promotion with a look at what it means first, rolling back.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use drydock_control::{EnvironmentView, MoveView, PointerMoveView, PromotionView};
use drydock_domain::source::environment::{EnvironmentSpec, Promotion};
use drydock_domain::source::unit::Unit;
use drydock_domain::validate::Invalid;
use jiff::Timestamp;

use super::CursorQuery;
use super::sources::change_row;
use crate::console::auth::{Chrome, Signed, SignedForm, form_encode};
use crate::console::error::{Fail, Html};
use crate::console::fields::Fields;
use crate::console::rows::Pager;
use crate::console::view::{self, Badge, When};

/// Where an environment points for one source.
struct PointerRow {
    source: String,
    number: u64,
    made: When,
    moved: When,
    by: String,
    behind: bool,
}

struct EnvironmentRow {
    name: String,
    rank: String,
    description: String,
    pointers: Vec<PointerRow>,
    attached: Vec<String>,
    instances: u64,
}

impl EnvironmentRow {
    fn new(e: &EnvironmentView, now: Timestamp) -> Self {
        let pointer = |p: &drydock_control::PointerView| PointerRow {
            source: p.source.clone(),
            number: p.snapshot.number,
            made: view::when(p.snapshot.created_at, now),
            moved: view::when(p.moved_at, now),
            by: p.moved_by.clone(),
            behind: p.behind,
        };
        EnvironmentRow {
            name: e.spec.name.clone(),
            rank: e.spec.rank.to_string(),
            description: e.spec.description.clone(),
            pointers: e.pointers.iter().map(pointer).collect(),
            attached: e.attached.clone(),
            instances: e.instances,
        }
    }
}

#[derive(Template)]
#[template(path = "environments.html")]
struct ListPage {
    c: Chrome,
    rows: Vec<EnvironmentRow>,
}

/// `GET /environments`
pub async fn list(who: Signed) -> Result<Html<impl Template>, Fail> {
    let found = who.control().list_environments(&who.ctx).await.map_err(|e| who.fail(e))?;
    let rows = found.iter().map(|e| EnvironmentRow::new(e, who.ctx.now)).collect();
    Ok(Html(ListPage { c: who.chrome("Environments", "/environments"), rows }))
}

/// `POST /environments`
pub async fn create(form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    let Ok(rank) = f.text("rank").parse() else {
        let error = drydock_control::Error::Invalid(Invalid::one("rank", "must be a whole number, 1 for the first environment"));
        return who.refused_name("/environments", error);
    };
    let spec = EnvironmentSpec { name: f.text("name"), rank, description: f.text("description"), compartment: None };
    match who.control().create_environment(&who.ctx, spec).await {
        Ok(made) => Ok(who.done(&path_of(&made.spec.name), "The environment is made; promote sources into it.")),
        Err(e) => who.refused_name("/environments", e),
    }
}

/// One move in the history.
struct MoveRow {
    source: String,
    from: String,
    to: String,
    at: When,
    who: String,
}

fn move_row(m: &PointerMoveView, now: Timestamp) -> MoveRow {
    let number = |of: &Option<drydock_control::SnapshotRef>| of.as_ref().map_or_else(|| "–".to_owned(), |s| s.number.to_string());
    MoveRow { source: m.source.clone(), from: number(&m.from), to: number(&m.to), at: view::when(m.at, now), who: m.who.clone() }
}

#[derive(Template)]
#[template(path = "environment.html")]
struct ShowPage {
    c: Chrome,
    e: EnvironmentRow,
    moves: Vec<MoveRow>,
    pager: Pager,
}

/// `GET /environments/{name}`
pub async fn show(who: Signed, Path(name): Path<String>, Query(cursor): Query<CursorQuery>) -> Result<Html<impl Template>, Fail> {
    let control = who.control();
    let environment = control.get_environment(&who.ctx, &name).await.map_err(|e| who.fail(e))?;
    let moves = control.environment_history(&who.ctx, &name, &cursor.page()).await.map_err(|e| who.fail(e))?;
    Ok(Html(ShowPage {
        c: who.chrome(format!("Environment {name}"), "/environments"),
        e: EnvironmentRow::new(&environment, who.ctx.now),
        moves: moves.items.iter().map(|m| move_row(m, who.ctx.now)).collect(),
        pager: Pager::new(&path_of(&name), cursor.cursor.as_deref(), moves.next_cursor.as_deref()),
    }))
}

fn path_of(name: &str) -> String {
    format!("/environments/{}", form_encode(name))
}

/// One source's part of a promotion, for people.
struct MovePart {
    source: String,
    from: String,
    to: u64,
    counts: String,
    hosts: String,
    upgrades: Vec<(String, String, u64)>,
    changes: Vec<(Badge, Unit)>,
    truncated: bool,
}

impl MovePart {
    fn new(m: MoveView) -> Self {
        MovePart {
            source: m.source,
            from: m.from.map_or_else(|| "nothing".to_owned(), |s| format!("snapshot {}", s.number)),
            to: m.to.number,
            counts: format!("{} added, {} removed, {} with other metadata", m.counts.added, m.counts.removed, m.counts.changed),
            hosts: format!("{} of {} would be offered updates", m.hosts_affected, view::plural(m.hosts, "host", "hosts")),
            upgrades: m.upgrades.into_iter().map(|u| (format!("{}.{}", u.name, u.arch), u.to, u.hosts)).collect(),
            changes: m.changes.into_iter().map(change_row).collect(),
            truncated: m.truncated,
        }
    }
}

#[derive(Template)]
#[template(path = "promotion.html")]
struct PreviewPage {
    c: Chrome,
    name: String,
    rollback: bool,
    /// What the confirmation sends again.
    sources: Vec<String>,
    moves: Vec<MovePart>,
    unchanged: Vec<String>,
}

fn promotion(f: &Fields, dry_run: bool) -> Promotion {
    let sources = f.text("sources").split([',', ' ']).filter(|s| !s.is_empty()).map(str::to_owned).collect();
    Promotion { sources, snapshot: None, as_of: None, rollback: f.ticked("rollback"), skip_rank: false, dry_run }
}

/// `POST /environments/{name}/preview`: what a promotion would do; nothing changes.
pub async fn preview(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    let asked = promotion(&f, true);
    let (rollback, sources) = (asked.rollback, asked.sources.clone());
    match who.control().promote(&who.ctx, &name, asked).await {
        Ok(PromotionView { moves, unchanged, .. }) => Ok(Html(PreviewPage {
            c: who.chrome(format!("Promote into {name}"), "/environments"),
            name,
            rollback,
            sources,
            moves: moves.into_iter().map(MovePart::new).collect(),
            unchanged,
        })
        .into_response()),
        Err(e) => who.refused_name(&path_of(&name), e),
    }
}

/// `POST /environments/{name}/promote`
pub async fn promote(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    match who.control().promote(&who.ctx, &name, promotion(&f, false)).await {
        Ok(done) => {
            let moved: Vec<String> = done.moves.iter().map(|m| format!("{} is at snapshot {}", m.source, m.to.number)).collect();
            let words = if moved.is_empty() { "Nothing had to move.".to_owned() } else { format!("{}.", moved.join("; ")) };
            Ok(who.done(&path_of(&name), words))
        }
        Err(e) => who.refused_name(&path_of(&name), e),
    }
}

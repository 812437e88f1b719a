//! Managed instances: the list, and the pages of one; those about packages and modules are in [`super::instance_past`].

use std::future::Future;

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use drydock_control::records::{InstanceQuery, PageQuery};
use drydock_control::{Error, ErrorKind, InstanceEdit, InstanceView};
use drydock_domain::access::Permission;
use drydock_domain::instance::{InstanceState, Reachability};
use drydock_domain::inventory::Finding;
use serde::Deserialize;

use super::{CursorQuery, PAGE_ROWS};
use crate::console::auth::{Chrome, Signed, SignedForm, form_encode};
use crate::console::error::{Fail, Html, sentence};
use crate::console::job_form::read_labels;
use crate::console::rows::{HealthBlock, HistoryRow, InstanceRow, Pager, TaskRow, UpdateRow};
use crate::console::view::{self, When};

/// Rows read at a time when the list is narrowed by what instances need.
const SCAN_ROWS: u32 = 1000;
/// Reads at most for one such page: 50 × 1,000 instances is the largest fleet.
const SCAN_READS_MAX: usize = 50;
/// Patch tasks on the summary, rows.
const LATEST_TASKS: u32 = 5;

/// What instances may be narrowed to: the value in the address and the words on the page.
const NEEDS: [(&str, &str); 7] = [
    ("security", "needs security updates"),
    ("updates", "needs any updates"),
    ("reboot", "needs a reboot"),
    ("held", "has held updates"),
    ("findings", "has broken repositories"),
    ("online", "online"),
    ("offline", "not online"),
];

/// The list's filter, as typed.
#[derive(Debug, Default, Deserialize)]
pub struct Filter {
    #[serde(default)]
    q: String,
    #[serde(default)]
    label: String,
    #[serde(default)]
    zone: String,
    #[serde(default)]
    compartment: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    need: String,
    #[serde(default)]
    filter: String,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(skip)]
    label_error: Option<String>,
    #[serde(skip)]
    filter_error: Option<String>,
    #[serde(skip)]
    compartment_error: Option<String>,
}

impl Filter {
    fn states(&self) -> Vec<(&'static str, bool)> {
        [InstanceState::Active, InstanceState::Pending, InstanceState::Rejected, InstanceState::Revoked]
            .map(|s| (s.as_str(), s.as_str() == self.state))
            .to_vec()
    }

    fn needs(&self) -> Vec<(&'static str, &'static str, bool)> {
        NEEDS.map(|(value, words)| (value, words, value == self.need)).to_vec()
    }

    fn active(&self) -> bool {
        [&self.q, &self.label, &self.zone, &self.compartment, &self.state, &self.need, &self.filter].iter().any(|t| !t.is_empty())
    }

    fn page_url(&self, cursor: &str) -> String {
        let pairs = [
            ("q", self.q.as_str()),
            ("label", &self.label),
            ("zone", &self.zone),
            ("compartment", &self.compartment),
            ("state", &self.state),
            ("need", &self.need),
            ("filter", &self.filter),
            ("cursor", cursor),
        ];
        let query: Vec<String> =
            pairs.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| format!("{k}={}", form_encode(v))).collect();
        format!("/instances?{}", query.join("&"))
    }

    /// A patch job on the same instances, where a job's filter can say the same: labels, zone and filter.
    fn job_url(&self) -> Option<String> {
        let narrow = self.label.is_empty() && self.zone.is_empty() && self.filter.is_empty();
        let wrong = self.label_error.is_some() || self.filter_error.is_some();
        if narrow
            || wrong
            || !self.q.is_empty()
            || !self.need.is_empty()
            || !self.state.is_empty()
            || !self.compartment.is_empty()
        {
            return None;
        }
        let pairs = [("labels", &self.label), ("zone", &self.zone), ("query", &self.filter)];
        let said = pairs.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| format!("&{k}={}", form_encode(v)));
        Some(format!("/patch-jobs/new?what=security{}", said.collect::<String>()))
    }

    fn query(&mut self) -> InstanceQuery {
        let labels = match read_labels(&self.label) {
            Ok(labels) => labels.into_iter().collect(),
            Err(message) => {
                self.label_error = Some(message);
                Vec::new()
            }
        };
        let need_active = NEEDS.iter().any(|(value, _)| *value == self.need);
        let limit = Some(if need_active { SCAN_ROWS } else { PAGE_ROWS });
        InstanceQuery {
            state: if need_active { Some(InstanceState::Active) } else { InstanceState::parse(&self.state) },
            name_contains: self.q.trim().to_owned(),
            labels,
            zone: Some(self.zone.trim().to_owned()).filter(|z| !z.is_empty()),
            compartment: Some(self.compartment.trim().to_owned()).filter(|path| !path.is_empty()),
            page: PageQuery { cursor: self.cursor.clone().filter(|c| !c.is_empty()), limit },
        }
    }
}

/// Is the instance one of those that `need` asks for? An unknown word asks for nothing.
fn has_need(instance: &InstanceView, need: &str) -> bool {
    let i = instance.record.inventory.unwrap_or_default();
    match need {
        "security" => i.security_updates > 0,
        "updates" => i.updates > 0,
        "reboot" => i.reboot_required,
        "held" => i.held_updates > 0,
        "findings" => i.findings > 0,
        "online" => instance.reachability == Reachability::Online,
        "offline" => instance.reachability != Reachability::Online,
        _ => true,
    }
}

#[derive(Template)]
#[template(path = "instances.html")]
struct ListPage {
    c: Chrome,
    f: Filter,
    rows: Vec<InstanceRow>,
    first_page: bool,
    next: Option<String>,
    whole_filter: Option<String>,
}

/// `GET /instances`
pub async fn list(who: Signed, Query(mut f): Query<Filter>) -> Result<Html<impl Template>, Fail> {
    let mut query = f.query();
    let mut rows = Vec::new();
    for _ in 0..SCAN_READS_MAX {
        let found = match f.filter.trim() {
            "" => who.control().list_instances(&who.ctx, &query).await,
            filter => who.control().search_instances(&who.ctx, &query, filter).await,
        };
        let page = match found {
            Err(e) if e.kind() == ErrorKind::NotFound && query.compartment.is_some() => {
                f.compartment_error = Some(sentence(&e.to_string()));
                query.page.cursor = None;
                break;
            }
            // Nothing is listed beside a filter that means nothing: those would be the wrong instances.
            Err(e) if e.fields().iter().any(|f| f.field == "filter") => {
                f.filter_error = Some(sentence(&e.fields()[0].message));
                query.page.cursor = None;
                break;
            }
            other => other.map_err(|e| who.fail(e))?,
        };
        rows.extend(page.items.iter().filter(|i| has_need(i, &f.need)).map(|i| InstanceRow::new(i, who.ctx.now)));
        query.page.cursor = page.next_cursor;
        if query.page.cursor.is_none() || rows.len() >= PAGE_ROWS as usize {
            break;
        }
    }
    let first_page = f.cursor.as_deref().unwrap_or_default().is_empty();
    let whole_filter = f.job_url();
    Ok(Html(ListPage { c: who.chrome("Instances", "/instances"), f, rows, first_page, next: query.page.cursor, whole_filter }))
}

/// Labels and zone as typed into the edit form.
struct EditForm {
    zone: String,
    labels: String,
    etag: String,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "instance.html")]
struct SummaryPage {
    c: Chrome,
    i: InstanceRow,
    tab: &'static str,
    health: Option<HealthBlock>,
    facts: Vec<(&'static str, String)>,
    moments: Vec<(&'static str, When)>,
    tasks: Vec<TaskRow>,
    edit: EditForm,
}

fn facts(instance: &InstanceView) -> Vec<(&'static str, String)> {
    let r = &instance.record;
    let os = r.os.clone().unwrap_or_default();
    let managers: Vec<&str> = os.managers.iter().map(|m| m.as_str()).collect();
    let kernel = format!("{} {}", os.kernel_release, os.kernel_version);
    [
        ("Operating system", if os.long_name.is_empty() { format!("{} {}", os.short_name, os.version) } else { os.long_name }),
        ("Host name", os.hostname),
        ("Architecture", os.architecture),
        ("Kernel", kernel),
        ("Package managers", managers.join(", ")),
        ("Agent", os.agent_version),
        ("Compartment", r.compartment.clone()),
        ("machine-id", r.machine_id.clone()),
        ("Instance id", r.id.to_string()),
        ("Boot id", os.boot_id),
    ]
    .into_iter()
    .filter(|(_, v)| !v.trim().is_empty())
    .collect()
}

fn moments(who: &Signed, instance: &InstanceView) -> Vec<(&'static str, When)> {
    let r = &instance.record;
    let all = [
        ("Last seen", instance.last_seen),
        ("Booted", r.os.as_ref().and_then(|o| o.booted_at)),
        ("Inventory changed", r.inventory.and_then(|i| i.changed_at)),
        ("Certificate ends", r.certificate_expires_at),
        ("Enrolled", Some(r.created_at)),
    ];
    all.into_iter().filter_map(|(k, at)| at.map(|at| (k, view::when(at, who.ctx.now)))).collect()
}

/// Before its first inventory an instance has no updates and packages; that is not a failure.
pub(super) fn or_none<T>(who: &Signed, result: Result<T, Error>) -> Result<Option<T>, Fail> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(who.fail(e)),
    }
}

/// What the caller may see, or nothing: a page shows the rest of what it has.
pub(super) async fn when_allowed<T>(
    who: &Signed,
    permission: Permission,
    asked: impl Future<Output = Result<T, Error>>,
) -> Result<Option<T>, Fail> {
    // Asked first, so that a page that refreshes itself leaves no denial in the audit each time.
    if !who.control().might(&who.ctx.who, permission).await.map_err(|e| who.fail(e))? {
        return Ok(None);
    }
    match asked.await {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == ErrorKind::Forbidden => Ok(None),
        Err(e) => Err(who.fail(e)),
    }
}

pub(super) async fn read(who: &Signed, id: &str) -> Result<InstanceView, Fail> {
    who.control().get_instance(&who.ctx, id).await.map_err(|e| who.fail(e))
}

async fn summary(who: &Signed, id: &str, typed: Option<EditForm>) -> Result<SummaryPage, Fail> {
    let instance = read(who, id).await?;
    let updates = or_none(who, who.control().instance_updates(&who.ctx, id).await)?;
    let latest = PageQuery { limit: Some(LATEST_TASKS), ..PageQuery::default() };
    let tasks = who.control().instance_tasks(&who.ctx, id, &latest);
    let tasks = when_allowed(who, Permission::PatchRead, tasks).await?.map_or_else(Vec::new, |found| found.items);
    let r = &instance.record;
    let edit = typed.unwrap_or_else(|| EditForm {
        zone: r.zone.clone(),
        labels: view::labels(&r.labels).join("\n"),
        etag: instance.etag(),
        error: None,
    });
    Ok(SummaryPage {
        c: who.chrome(r.name.clone(), "/instances"),
        i: InstanceRow::new(&instance, who.ctx.now),
        tab: "",
        health: updates.map(|u| HealthBlock::new(&u.health, &u.findings)),
        facts: facts(&instance),
        moments: moments(who, &instance),
        tasks: tasks.iter().map(|t| TaskRow::new(t, who.ctx.now)).collect(),
        edit,
    })
}

/// `GET /instances/{id}`
pub async fn show(who: Signed, Path(id): Path<String>) -> Result<Html<impl Template>, Fail> {
    summary(&who, &id, None).await.map(Html)
}

struct UpdatesBlock {
    managers: String,
    changed: When,
    rows: Vec<UpdateRow>,
    findings: Vec<Finding>,
}

#[derive(Template)]
#[template(path = "instance_updates.html")]
struct UpdatesPage {
    c: Chrome,
    i: InstanceRow,
    tab: &'static str,
    updates: Option<UpdatesBlock>,
}

/// `GET /instances/{id}/updates`
pub async fn updates(who: Signed, Path(id): Path<String>) -> Result<Html<impl Template>, Fail> {
    let instance = read(&who, &id).await?;
    let updates = or_none(&who, who.control().instance_updates(&who.ctx, &id).await)?.map(|u| UpdatesBlock {
        managers: u.managers.iter().map(|m| m.as_str()).collect::<Vec<_>>().join(", "),
        changed: view::when(u.changed_at, who.ctx.now),
        rows: u.updates.iter().map(UpdateRow::new).collect(),
        findings: u.findings,
    });
    let title = format!("Updates of {}", instance.record.name);
    Ok(Html(UpdatesPage {
        c: who.chrome(title, "/instances"),
        i: InstanceRow::new(&instance, who.ctx.now),
        tab: "/updates",
        updates,
    }))
}

#[derive(Template)]
#[template(path = "instance_history.html")]
struct HistoryPage {
    c: Chrome,
    i: InstanceRow,
    tab: &'static str,
    entries: Vec<HistoryRow>,
    pager: Pager,
}

/// `GET /instances/{id}/history`
pub async fn history(
    who: Signed,
    Path(id): Path<String>,
    Query(cursor): Query<CursorQuery>,
) -> Result<Html<impl Template>, Fail> {
    let instance = read(&who, &id).await?;
    let page = who.control().instance_history(&who.ctx, &id, &cursor.page()).await.map_err(|e| who.fail(e))?;
    let path = format!("/instances/{}/history", instance.record.id);
    Ok(Html(HistoryPage {
        c: who.chrome(format!("History of {}", instance.record.name), "/instances"),
        i: InstanceRow::new(&instance, who.ctx.now),
        tab: "/history",
        entries: page.items.iter().map(|e| HistoryRow::new(e, who.ctx.now)).collect(),
        pager: Pager::new(&path, cursor.cursor.as_deref(), page.next_cursor.as_deref()),
    }))
}

#[derive(Template)]
#[template(path = "instance_tasks.html")]
struct TasksPage {
    c: Chrome,
    i: InstanceRow,
    tab: &'static str,
    tasks: Vec<TaskRow>,
    pager: Pager,
}

/// `GET /instances/{id}/tasks`
pub async fn tasks(who: Signed, Path(id): Path<String>, Query(cursor): Query<CursorQuery>) -> Result<Html<impl Template>, Fail> {
    let instance = read(&who, &id).await?;
    let page = who.control().instance_tasks(&who.ctx, &id, &cursor.page()).await.map_err(|e| who.fail(e))?;
    let path = format!("/instances/{}/tasks", instance.record.id);
    Ok(Html(TasksPage {
        c: who.chrome(format!("Patch tasks of {}", instance.record.name), "/instances"),
        i: InstanceRow::new(&instance, who.ctx.now),
        tab: "/tasks",
        tasks: page.items.iter().map(|t| TaskRow::new(t, who.ctx.now)).collect(),
        pager: Pager::new(&path, cursor.cursor.as_deref(), page.next_cursor.as_deref()),
    }))
}

/// `POST /instances/{id}/edit`
pub async fn edit(Path(id): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    let typed = |error: String| EditForm {
        zone: f.text("zone"),
        labels: f.area("labels"),
        etag: f.text("etag"),
        error: Some(sentence(&error)),
    };
    let refused = |page| (axum::http::StatusCode::UNPROCESSABLE_ENTITY, Html(page)).into_response();
    let labels = match read_labels(&f.area("labels")) {
        Ok(labels) => labels,
        Err(message) => return Ok(refused(summary(&who, &id, Some(typed(message))).await?)),
    };
    let change = InstanceEdit { labels: Some(labels), zone: Some(f.text("zone")) };
    match who.control().edit_instance(&who.ctx, &id, change, Some(f.get("etag"))).await {
        Ok(instance) => Ok(who.done(&path_of(&instance), "Zone and labels are saved.")),
        Err(e) if matches!(e.kind(), ErrorKind::Invalid | ErrorKind::Conflict) => {
            Ok(refused(summary(&who, &id, Some(typed(e.to_string()))).await?))
        }
        Err(e) => Err(who.fail(e)),
    }
}

fn path_of(instance: &InstanceView) -> String {
    format!("/instances/{}", instance.record.id)
}

/// `POST /instances/{id}/accept`
pub async fn accept(Path(id): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().accept_instance(&who.ctx, &id).await {
        Ok(instance) => {
            Ok(who.done("/", format!("{} is accepted; its agent gets a certificate when it asks next.", instance.record.name)))
        }
        Err(e) => who.refused("/", e),
    }
}

/// `POST /instances/{id}/reject`
pub async fn reject(Path(id): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().reject_instance(&who.ctx, &id, &form.fields.text("reason")).await {
        Ok(instance) => Ok(who.done("/", format!("{} is rejected.", instance.record.name))),
        Err(e) => who.refused("/", e),
    }
}

/// `POST /instances/{id}/revoke`
pub async fn revoke(Path(id): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().revoke_instance(&who.ctx, &id).await {
        Ok(instance) => Ok(who.done(&path_of(&instance), format!("{} is revoked.", instance.record.name))),
        Err(e) => who.refused(&format!("/instances/{}", form_encode(&id)), e),
    }
}

/// `POST /instances/{id}/delete`
pub async fn delete(Path(id): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().delete_instance(&who.ctx, &id).await {
        Ok(()) => Ok(who.done("/instances", "The instance is deleted.")),
        Err(e) => who.refused(&format!("/instances/{}", form_encode(&id)), e),
    }
}

//! Starting a patch job: the form, prefilled from a selection, a filter or an earlier job, and its submission.

use askama::Template;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use drydock_control::records::{PageQuery, TaskQuery};
use drydock_control::{Error, ErrorKind};
use drydock_domain::access::Permission;
use drydock_domain::ids::JobId;
use drydock_domain::limits::FILTER_ENTRIES_MAX;
use drydock_domain::patch::task::TaskState;

use super::jobs::read_id;
use crate::console::auth::{Chrome, Signed, SignedForm};
use crate::console::error::{self, Fail, Html};
use crate::console::fields::Fields;
use crate::console::job_form::{FormError, JobForm};
use crate::console::session::secret;

#[derive(Template)]
#[template(path = "job_form.html")]
struct FormPage {
    c: Chrome,
    f: JobForm,
    from: Option<JobId>,
    lost: String,
    /// A job may have a name; a deployment's jobs have the deployment's.
    shows_name: bool,
}

impl FormPage {
    fn new(who: &Signed, f: JobForm) -> Self {
        FormPage { c: who.chrome("Start a patch job", "/patch-jobs"), f, from: None, lost: String::new(), shows_name: true }
    }
}

/// A viewer has nothing to fill in.
pub(super) fn refuse_viewer(who: &Signed) -> Result<(), Fail> {
    if who.may.patch {
        return Ok(());
    }
    let message = format!("{} ({}) may not start patch jobs; that needs {:?}", who.name, who.role, Permission::PatchManage);
    Err(who.fail(Error::Forbidden(message)))
}

/// `GET /patch-jobs/new`
pub async fn form(who: Signed, RawQuery(query): RawQuery) -> Result<Response, Fail> {
    refuse_viewer(&who)?;
    let Ok(key) = secret() else {
        return Ok(error::page(
            StatusCode::SERVICE_UNAVAILABLE,
            "Not available now",
            "The random generator failed.",
            &who.ctx.request_id,
        ));
    };
    let q = Fields(form_pairs(query.as_deref().unwrap_or_default()));
    if !q.text("from").is_empty() {
        return again(&who, &q, key).await;
    }
    let mut f = JobForm::new(key);
    if let what @ ("all" | "advisories" | "packages") = q.get("what") {
        f.what = what.into();
    }
    f.advisories = [q.all("advisory"), q.all("cve")].concat().join("\n");
    f.instances = q.all("instance").join("\n");
    let (labels, zone, groups) = (q.text("labels"), q.text("zone"), q.all("group").join("\n"));
    let query = q.text("query");
    if ![&labels, &zone, &groups, &query].iter().all(|t| t.is_empty()) {
        f.target = "filter".into();
        (f.labels, f.zones, f.groups, f.query) = (labels, zone, groups, query);
    }
    Ok(Html(FormPage::new(&who, f)).into_response())
}

/// The pairs of a query string; what cannot be decoded is left out.
fn form_pairs(query: &str) -> Vec<(String, String)> {
    let uri: axum::http::Uri = match format!("/?{query}").parse() {
        Ok(uri) => uri,
        Err(_) => return Vec::new(),
    };
    axum::extract::Query::try_from_uri(&uri).map(|axum::extract::Query(pairs)| pairs).unwrap_or_default()
}

/// The form of an earlier job; `failed` narrows it to the hosts that failed or were not reached.
async fn again(who: &Signed, q: &Fields, key: String) -> Result<Response, Fail> {
    let id: JobId = match read_id(who, &q.text("from")) {
        Ok(id) => id,
        Err(page) => return Ok(*page),
    };
    let job = who.control().get_patch_job(&who.ctx, id).await.map_err(|e| who.fail(e))?;
    let (mut f, lost) = JobForm::from_spec(&job.record.spec, key);
    if q.ticked("failed") {
        f.target = "instances".into();
        f.instances = failed_hosts(who, id).await?.join("\n");
    }
    let page = FormPage { from: Some(id), lost: lost.join(", "), ..FormPage::new(who, f) };
    Ok(Html(page).into_response())
}

/// Names of the hosts that failed, as many as one filter may name.
async fn failed_hosts(who: &Signed, job: JobId) -> Result<Vec<String>, Fail> {
    let mut names = Vec::new();
    for state in [TaskState::Failed, TaskState::TimedOut] {
        let page = PageQuery { cursor: None, limit: u32::try_from(FILTER_ENTRIES_MAX).ok() };
        let query = TaskQuery { state: Some(state), page, ..TaskQuery::default() };
        let tasks = who.control().list_tasks(&who.ctx, job, &query).await.map_err(|e| who.fail(e))?;
        names.extend(tasks.items.into_iter().map(|t| t.instance_name));
    }
    names.sort_unstable();
    names.truncate(FILTER_ENTRIES_MAX);
    Ok(names)
}

/// `POST /patch-jobs`
pub async fn submit(form: SignedForm) -> Result<Response, Fail> {
    let (who, fields) = (form.who, form.fields);
    refuse_viewer(&who)?;
    let mut f = JobForm::read(&fields);
    // Anything but an explicit start is the harmless choice.
    let dry_run = fields.get("action") != "start";
    let spec = match f.to_spec(dry_run) {
        Ok(spec) => spec,
        Err(errors) => {
            f.errors = errors;
            return Ok(refused(&who, f));
        }
    };
    // The same form previewed and then started makes two jobs; pressed twice it makes one.
    let key = format!("console-{}-{}", if dry_run { "preview" } else { "start" }, f.key);
    let key = Some(key.as_str()).filter(|_| is_key(&f.key));
    match who.control().create_patch_job(&who.ctx, spec, key).await {
        Ok(job) => Ok(Redirect::to(&format!("/patch-jobs/{}", job.record.id)).into_response()),
        Err(e) if e.kind() == ErrorKind::Invalid => {
            f.refuse(e.fields());
            if f.errors.is_empty() {
                f.errors.push(FormError { field: "", message: e.to_string() });
            }
            Ok(refused(&who, f))
        }
        Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::Unavailable) => {
            f.errors.push(FormError { field: "", message: error::sentence(&e.to_string()) });
            Ok(refused(&who, f))
        }
        Err(e) => Err(who.fail(e)),
    }
}

/// The key came from our own form; anything else would be refused as a header too.
pub(super) fn is_key(key: &str) -> bool {
    (1..=64).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
}

/// The form again with everything typed. A new key: what is mended is another submission.
fn refused(who: &Signed, mut f: JobForm) -> Response {
    if let Ok(key) = secret() {
        f.key = key;
    }
    (StatusCode::UNPROCESSABLE_ENTITY, Html(FormPage::new(who, f))).into_response()
}

//! Patch jobs: the list, one job, one host's task, cancelling.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use drydock_control::JobView;
use drydock_control::records::{JobQuery, TaskQuery};
use drydock_domain::ids::{BadId, JobId, TaskId};
use drydock_domain::limits::STEP_TIME_LIMIT_DEFAULT_SECS;
use drydock_domain::patch::job::JobState;
use drydock_domain::patch::pattern::Pattern;
use drydock_domain::patch::spec::{ExecStep, PatchJobSpec};
use drydock_domain::patch::task::TaskState;
use serde::Deserialize;

use super::CursorQuery;
use crate::console::auth::{Chrome, Signed, SignedForm};
use crate::console::error::{self, Fail, Html};
use crate::console::report::TaskDetailBlock;
use crate::console::rows::{JobRow, JobSummary, Pager, TaskRow};
use crate::console::view::{self, Badge};

/// An id in the address, or the page that says it is none.
pub fn read_id<I: std::str::FromStr<Err = BadId>>(who: &Signed, text: &str) -> Result<I, Box<Response>> {
    text.parse().map_err(|e: BadId| {
        Box::new(error::page(StatusCode::NOT_FOUND, "Not found", &error::sentence(&e.to_string()), &who.ctx.request_id))
    })
}

/// Which jobs.
#[derive(Debug, Default, Deserialize)]
pub struct ListQuery {
    #[serde(default)]
    state: String,
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct ListPage {
    c: Chrome,
    states: Vec<(&'static str, bool)>,
    rows: Vec<JobRow>,
    pager: Pager,
}

/// `GET /patch-jobs`
pub async fn list(who: Signed, Query(q): Query<ListQuery>) -> Result<Html<impl Template>, Fail> {
    let page = CursorQuery { cursor: q.cursor.clone() }.page();
    let query = JobQuery { state: JobState::parse(&q.state), page, ..JobQuery::default() };
    let jobs = who.control().list_patch_jobs(&who.ctx, &query).await.map_err(|e| who.fail(e))?;
    let path = match query.state {
        Some(state) => format!("/patch-jobs?state={}", state.as_str()),
        None => "/patch-jobs".to_owned(),
    };
    Ok(Html(ListPage {
        c: who.chrome("Patch jobs", "/patch-jobs"),
        states: JobState::ALL.map(|s| (s.as_str(), Some(s) == query.state)).to_vec(),
        rows: jobs.items.iter().map(|j| JobRow::new(j, who.ctx.now)).collect(),
        pager: Pager::new(&path, q.cursor.as_deref(), jobs.next_cursor.as_deref()),
    }))
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage {
    c: Chrome,
    id: JobId,
    title: String,
    dry_run: bool,
    is_final: bool,
    failed: u32,
    summary: JobSummary,
    facts: Vec<(&'static str, String)>,
    scripts: Vec<(&'static str, String)>,
    state_filter: Option<&'static str>,
    tasks: Vec<TaskRow>,
    pager: Pager,
    /// The live stream begins with what changed since then.
    since: i64,
    /// New hosts may be added to this page of the list.
    can_append: bool,
}

/// `GET /patch-jobs/{id}`
pub async fn show(who: Signed, Path(id): Path<String>, Query(q): Query<ListQuery>) -> Result<Response, Fail> {
    let id: JobId = match read_id(&who, &id) {
        Ok(id) => id,
        Err(page) => return Ok(*page),
    };
    let job = who.control().get_patch_job(&who.ctx, id).await.map_err(|e| who.fail(e))?;
    let state = TaskState::parse(&q.state);
    let page = CursorQuery { cursor: q.cursor.clone() }.page();
    let query = TaskQuery { state, page, ..TaskQuery::default() };
    let tasks = who.control().list_tasks(&who.ctx, id, &query).await.map_err(|e| who.fail(e))?;
    let path = match state {
        Some(state) => format!("/patch-jobs/{id}?state={}", state.as_str()),
        None => format!("/patch-jobs/{id}"),
    };
    let title = view::job_title(&job.record.spec);
    Ok(Html(JobPage {
        c: who.chrome(title.clone(), "/patch-jobs"),
        id,
        title,
        dry_run: job.record.spec.dry_run,
        is_final: job.record.state.is_final(),
        failed: view::progress(&job.counts).failed,
        summary: JobSummary::new(&job, who.ctx.now),
        facts: facts(&job),
        scripts: scripts(&job.record.spec),
        state_filter: state.map(TaskState::as_str),
        tasks: tasks.items.iter().map(|t| TaskRow::new(t, who.ctx.now)).collect(),
        pager: Pager::new(&path, q.cursor.as_deref(), tasks.next_cursor.as_deref()),
        since: who.ctx.now.as_second(),
        can_append: state.is_none() && q.cursor.is_none() && tasks.next_cursor.is_none(),
    })
    .into_response())
}

/// What was asked, in words; settings at their defaults are left out.
fn facts(job: &JobView) -> Vec<(&'static str, String)> {
    let (r, spec) = (&job.record, &job.record.spec);
    let c = &spec.patch_config;
    let patterns = |lists: [&[Pattern]; 3]| {
        let mut all: Vec<&str> = lists.into_iter().flatten().map(|p| p.0.as_str()).collect();
        all.sort_unstable();
        all.dedup();
        all.join(", ")
    };
    let mut only: Vec<&str> = [&c.apt.exclusive_packages, &c.yum.exclusive_packages, &c.zypper.exclusive_patches]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    only.sort_unstable();
    only.dedup();
    let what = match choice(spec) {
        chosen if !chosen.is_empty() => chosen,
        _ if view::is_security_only(spec) => "security updates".to_owned(),
        _ => "as the settings of each package manager say".to_owned(),
    };
    let c_chooses = c.chooses() || c.packages.is_some();
    let all = !c_chooses && only.is_empty() && !(c.apt.security || c.yum.security) && c.zypper.categories.is_empty();
    [
        ("Hosts", view::filter_words(spec)),
        ("Updates", if all { "all".to_owned() } else { what }),
        ("Only these", only.join(", ")),
        ("Left alone", patterns([&c.apt.excludes, &c.yum.excludes, &c.zypper.excludes])),
        ("Soak", view::soak_words(c)),
        ("Reboot", view::reboot_words(c.reboot_config).to_owned()),
        ("At once", view::concurrency_words(spec.concurrency)),
        ("Duration", spec.duration_secs.map(view::duration).unwrap_or_default()),
        ("Broken repositories", if c.strict_repositories { "fail the host".to_owned() } else { String::new() }),
        ("Description", spec.description.clone()),
        ("Started by", format!("{} at {}", r.created_by, r.created_at.strftime("%Y-%m-%d %H:%M:%S UTC"))),
        ("Compartment", r.compartment.clone()),
        ("Job id", r.id.to_string()),
    ]
    .into_iter()
    .filter(|(_, v)| !v.is_empty())
    .collect()
}

/// What chooses a job's updates, or its packages by name; empty when neither does.
fn choice(spec: &PatchJobSpec) -> String {
    let c = &spec.patch_config;
    let named = |verb: &str, list: &[String]| (!list.is_empty()).then(|| format!("{verb} {}", list.join(", ")));
    let types: Vec<String> = c.update_types.iter().map(|t| format!("{t:?}").to_lowercase()).collect();
    let mut parts: Vec<String> = [
        named("of the types", &types),
        named("of the advisories", &c.advisories),
        named("closing", &c.cves),
        c.min_severity.map(|least| format!("closing what is {} or worse", least.as_str())),
        c.overdue.then(|| "closing what is overdue".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let Some(p) = &c.packages {
        parts
            .extend([named("install", &p.install), named("remove", &p.remove), named("update", &p.update)].into_iter().flatten());
    }
    parts.join("; ")
}

fn scripts(spec: &PatchJobSpec) -> Vec<(&'static str, String)> {
    let text = |step: &Option<ExecStep>| {
        let config = step.as_ref()?.linux_exec_step_config.as_ref()?;
        let what =
            config.script.clone().or_else(|| config.local_path.as_ref().map(|p| format!("{p} {}", config.args.join(" "))))?;
        let limit = u64::from(config.time_limit_secs.unwrap_or(STEP_TIME_LIMIT_DEFAULT_SECS));
        Some(format!("{}\n\n(time limit {})", what.trim_end(), view::duration(limit)))
    };
    let c = &spec.patch_config;
    [("Pre-step", text(&c.pre_step)), ("Post-step", text(&c.post_step))]
        .into_iter()
        .filter_map(|(k, v)| v.map(|v| (k, v)))
        .collect()
}

/// What to show of a task.
#[derive(Debug, Default, Deserialize)]
pub struct TaskShow {
    /// Set: only the report, for the row it is unfolded under.
    #[serde(default)]
    fragment: Option<String>,
}

struct TaskHead {
    job: JobId,
    job_title: String,
    name: String,
    badge: Badge,
    dry_run: bool,
    instance: drydock_domain::ids::InstanceId,
}

#[derive(Template)]
#[template(path = "task.html")]
struct TaskPage {
    c: Chrome,
    t: TaskHead,
    detail: TaskDetailBlock,
}

/// `GET /patch-jobs/{id}/tasks/{task}`
pub async fn task(who: Signed, Path((id, task)): Path<(String, String)>, Query(q): Query<TaskShow>) -> Result<Response, Fail> {
    let ids = read_id::<JobId>(&who, &id).and_then(|job| Ok((job, read_id::<TaskId>(&who, &task)?)));
    let (job, task) = match ids {
        Ok(ids) => ids,
        Err(page) => return Ok(*page),
    };
    let found = who.control().get_task(&who.ctx, job, task).await.map_err(|e| who.fail(e))?;
    let detail = TaskDetailBlock::new(&found, who.ctx.now);
    if q.fragment.is_some() {
        return Ok(Html(detail).into_response());
    }
    let row = TaskRow::new(&found.task, who.ctx.now);
    let c = who.chrome(format!("{} in {}", row.name, row.job_title), "/patch-jobs");
    let t = TaskHead {
        job,
        job_title: row.job_title,
        name: row.name,
        badge: row.badge,
        dry_run: row.dry_run,
        instance: row.instance,
    };
    Ok(Html(TaskPage { c, t, detail }).into_response())
}

/// `POST /patch-jobs/{id}/cancel`
pub async fn cancel(Path(id): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    let id: JobId = match read_id(&who, &id) {
        Ok(id) => id,
        Err(page) => return Ok(*page),
    };
    let kill = form.fields.ticked("kill");
    let path = format!("/patch-jobs/{id}");
    match who.control().cancel_patch_job(&who.ctx, id, kill).await {
        Ok(_) if kill => Ok(who.done(&path, "Running commands are being killed.")),
        Ok(_) => Ok(who.done(&path, "The job is being stopped; hosts at work stop before their next step.")),
        Err(e) => who.refused(&path, e),
    }
}

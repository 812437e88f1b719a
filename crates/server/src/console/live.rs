//! One patch job live: server-sent events with the same markup the page was made of. A wake-up carries no data; each
//! turn reads the job and the tasks that changed. Events: `job` (the summary), `task` (one row), `end` (the job is
//! final), `signed-out`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use drydock_control::JobWatch;
use drydock_control::records::{PageQuery, TaskQuery};
use drydock_domain::ids::{JobId, TaskId};
use drydock_domain::limits::PAGE_MAX;
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::auth::Signed;
use super::error::Fail;
use super::pages::jobs::read_id;
use super::rows::{JobSummary, TaskRow};
use super::view;
use crate::limits::{EVENT_KEEP_ALIVE, EVENT_POLL, EVENT_STREAM_MAX};
use crate::shutdown::Shutdown;

/// Wake-ups within this time are one turn: a thousand hosts that report at once are not a thousand reads.
const GATHER: Duration = Duration::from_millis(150);
/// A live page asks again after this whether its session and access token are still good.
const SESSION_RECHECK: Duration = Duration::from_secs(5);
/// Changes are read from this long before the last read: two writers' clocks and transactions may overlap.
const OVERLAP_SECS: i64 = 30;

/// Where the page's own picture ends.
#[derive(Debug, Default, Deserialize)]
pub struct Since {
    #[serde(default)]
    since: i64,
}

/// The summary as an event.
#[derive(Serialize)]
struct JobEvent {
    html: String,
    state: &'static str,
    words: String,
    #[serde(rename = "final")]
    is_final: bool,
}

/// A row as an event.
#[derive(Serialize)]
struct TaskEvent {
    id: TaskId,
    name: String,
    version: i64,
    state: &'static str,
    html: String,
}

struct Feed {
    who: Signed,
    job: JobId,
    watch: JobWatch,
    shutdown: Shutdown,
    since: Timestamp,
    sent: HashMap<TaskId, i64>,
    opened: tokio::time::Instant,
    checked: tokio::time::Instant,
    first: bool,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

/// `GET /patch-jobs/{id}/live`
pub async fn stream(who: Signed, Path(id): Path<String>, Query(since): Query<Since>) -> Result<Response, Fail> {
    let job: JobId = match read_id(&who, &id) {
        Ok(id) => id,
        Err(page) => return Ok(*page),
    };
    let Ok(permit) = who.app().event_streams.clone().try_acquire_owned() else {
        return Ok((StatusCode::SERVICE_UNAVAILABLE, "too many live pages are open; reload to see changes").into_response());
    };
    // The watch first: what changes between it and the first read is then seen.
    let watch = who.control().watch_job(job);
    who.control().get_patch_job(&who.ctx, job).await.map_err(|e| who.fail(e))?;
    let now = tokio::time::Instant::now();
    let since = Timestamp::from_second(since.since).unwrap_or(Timestamp::UNIX_EPOCH);
    let feed = Feed {
        shutdown: who.app().shutdown.clone(),
        who,
        job,
        watch,
        since,
        sent: HashMap::new(),
        opened: now,
        checked: now,
        first: true,
        ended: false,
        _permit: permit,
    };
    let events = stream::unfold(feed, |mut feed| async move { feed.turn().await.map(|events| (stream::iter(events), feed)) })
        .flatten()
        .map(Ok::<_, Infallible>);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(EVENT_KEEP_ALIVE)).into_response())
}

impl Feed {
    /// Waits for a change (not before the first turn), reads, and says what is new; `None` ends the stream.
    async fn turn(&mut self) -> Option<Vec<Event>> {
        if self.ended || self.opened.elapsed() > EVENT_STREAM_MAX {
            return None;
        }
        if !self.first {
            tokio::select! {
                () = self.shutdown.begun() => return None,
                changed = tokio::time::timeout(EVENT_POLL, self.watch.changed()) => {
                    if changed.is_ok() {
                        tokio::time::sleep(GATHER).await;
                    }
                }
            }
            if self.checked.elapsed() > SESSION_RECHECK {
                self.checked = tokio::time::Instant::now();
                if !self.who.still_good().await {
                    self.ended = true;
                    return Some(vec![Event::default().event("signed-out").data("1")]);
                }
            }
        }
        self.first = false;
        match self.read().await {
            Ok(events) => Some(events),
            Err(e) => {
                tracing::warn!(error = &e as &dyn std::error::Error, job = %self.job, "a live page ends");
                None
            }
        }
    }

    /// The job is read before its tasks: when it is final, no task can change after it.
    async fn read(&mut self) -> Result<Vec<Event>, drydock_control::Error> {
        let control = self.who.console.control();
        let now = control.now();
        let mut ctx = self.who.ctx.clone();
        ctx.now = now;
        let job = control.get_patch_job(&ctx, self.job).await?;
        let from = self.since.checked_sub(SignedDuration::from_secs(OVERLAP_SECS)).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut events = Vec::new();
        let mut page = PageQuery { cursor: None, limit: Some(PAGE_MAX) };
        loop {
            let query = TaskQuery { state: None, updated_since: Some(from), page: page.clone() };
            let tasks = control.list_tasks(&ctx, self.job, &query).await?;
            for task in &tasks.items {
                if self.sent.insert(task.id, task.version) != Some(task.version) {
                    let html = render(&TaskRow::new(task, now));
                    let name = task.instance_name.clone();
                    let state = task.state.as_str();
                    events.extend(event("task", &TaskEvent { id: task.id, name, version: task.version, state, html }));
                }
            }
            page.cursor = tasks.next_cursor;
            if page.cursor.is_none() {
                break;
            }
        }
        self.since = now;
        let is_final = job.record.state.is_final();
        let p = view::progress(&job.counts);
        let words =
            format!("{}: {} of {} done", job.record.state.as_str(), p.done(), view::plural(u64::from(p.total), "host", "hosts"));
        let state = job.record.state.as_str();
        events.extend(event("job", &JobEvent { html: render(&JobSummary::new(&job, now)), state, words, is_final }));
        if is_final {
            self.ended = true;
            events.push(Event::default().event("end").data("1"));
        }
        Ok(events)
    }
}

fn render(template: &impl Template) -> String {
    template.render().unwrap_or_default()
}

fn event(name: &'static str, data: &impl Serialize) -> Option<Event> {
    Event::default().event(name).json_data(data).ok()
}

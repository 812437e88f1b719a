//! A patch job live, as server-sent events: first everything as it is, then what changes. The stream is fed by
//! reading the store after each wake-up, so nothing is lost that a poll would have seen.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use drydock_api::rest::ApiError;
use drydock_control::records::{PageQuery, TaskQuery, TaskRecord};
use drydock_control::{JobView, JobWatch, OpCtx};
use drydock_domain::ids::{JobId, TaskId};
use futures::{Stream, StreamExt};
use http::StatusCode;
use jiff::{Timestamp, ToSpan};
use tokio::sync::OwnedSemaphorePermit;

use super::encode;
use super::error::{Failure, Result};
use super::extract::{Caller, Params, Shown};
use crate::limits::{EVENT_KEEP_ALIVE, EVENT_POLL, EVENT_STREAM_MAX};
use crate::state::AppState;

/// A task's change may be committed this long after its time stamp: it is read again, and told once by its version.
const LATE_COMMIT_SECS: i64 = 30;
/// The token is asked for again after this time, however much there is to tell: a revoked one reads no longer.
const TOKEN_RECHECK: Duration = Duration::from_secs(5);

/// Follows a patch job: event `job` (a PatchJob) and event `task` (a PatchTask), first as they are, then at each
/// change. The stream ends after the event with the job's final state.
#[utoipa::path(get, path = "/api/v1/patch-jobs/{id}/events", tag = "patch", operation_id = "followPatchJob",
    params(("id" = JobId, Path)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = "default", body = ApiError)))]
pub async fn follow(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Sse<impl Stream<Item = std::result::Result<Event, Infallible>>>> {
    params.finish()?;
    let id = id.parse::<JobId>()?;
    // The watch comes before the first read: a change in between is not missed.
    let watch = state.control.watch_job(id);
    state.control.get_patch_job(&caller.ctx, id).await?;
    let permit = state.event_streams.clone().try_acquire_owned().map_err(|_| {
        let text = "too many event streams are open; close some, or read the job every few seconds";
        Failure::unavailable(StatusCode::SERVICE_UNAVAILABLE, text)
    })?;
    let follower = Follower {
        state,
        ctx: caller.ctx,
        shown: caller.shown,
        id,
        watch,
        began: Instant::now(),
        checked: Instant::now(),
        since: None,
        told_job: None,
        told_tasks: HashMap::new(),
        _permit: permit,
    };
    let batches = futures::stream::unfold(Some(follower), |follower| async {
        let mut follower = follower?;
        let (events, more) = follower.turn().await?;
        Some((futures::stream::iter(events.into_iter().map(Ok)), more.then_some(follower)))
    });
    Ok(Sse::new(batches.flatten()).keep_alive(KeepAlive::new().interval(EVENT_KEEP_ALIVE)))
}

struct Follower {
    state: AppState,
    ctx: OpCtx,
    shown: Shown,
    id: JobId,
    watch: JobWatch,
    began: Instant,
    checked: Instant,
    since: Option<Timestamp>,
    told_job: Option<JobView>,
    told_tasks: HashMap<TaskId, i64>,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// The next events, and whether more may come. `None` ends the stream: the job or the right to see it is gone.
    async fn turn(&mut self) -> Option<(Vec<Event>, bool)> {
        loop {
            if self.told_job.is_some() && !self.wait().await {
                return None;
            }
            let (events, job_is_final) = self.look().await.ok()?;
            if !events.is_empty() || job_is_final {
                return Some((events, !job_is_final));
            }
        }
    }

    /// Until something may have changed. `false`: the stream is over.
    async fn wait(&mut self) -> bool {
        let mut shutdown = self.state.shutdown.clone();
        tokio::select! {
            () = self.watch.changed() => {}
            () = tokio::time::sleep(EVENT_POLL) => {}
            () = shutdown.begun() => return false,
        }
        if self.began.elapsed() > EVENT_STREAM_MAX {
            return false;
        }
        if self.checked.elapsed() >= TOKEN_RECHECK {
            self.checked = Instant::now();
            let Some(who) = self.shown.who(&self.state.control).await else { return false };
            self.ctx.who = who;
        }
        true
    }

    /// What is new since the last look. Tasks come before the job, so that its final event is the last.
    async fn look(&mut self) -> drydock_control::Result<(Vec<Event>, bool)> {
        let control = &self.state.control;
        let job = control.get_patch_job(&self.ctx, self.id).await?;
        let mut query = TaskQuery { updated_since: self.since, ..TaskQuery::default() };
        let mut events = Vec::new();
        if self.told_job.is_none() {
            events.extend(event("job", &encode::job(job.clone())));
        }
        let looked_at = control.now();
        loop {
            let page = control.list_tasks(&self.ctx, self.id, &query).await?;
            for task in page.items {
                if is_news(&mut self.told_tasks, &task) {
                    events.extend(event("task", &encode::task(task)));
                }
            }
            match page.next_cursor {
                None => break,
                cursor => query.page = PageQuery { cursor, ..PageQuery::default() },
            }
        }
        self.since = looked_at.checked_sub(LATE_COMMIT_SECS.seconds()).ok();
        if self.told_job.as_ref().is_some_and(|told| *told != job) {
            events.extend(event("job", &encode::job(job.clone())));
        }
        let is_final = job.record.state.is_final();
        self.told_job = Some(job);
        Ok((events, is_final))
    }
}

fn is_news(told: &mut HashMap<TaskId, i64>, task: &TaskRecord) -> bool {
    told.insert(task.id, task.version) != Some(task.version)
}

/// Documents of our own types always encode; one that does not is left out.
fn event<T: serde::Serialize>(name: &str, value: &T) -> Option<Event> {
    Event::default().event(name).json_data(value).ok()
}

//! One content job from its claim to its end: the lease is renewed while it works, its progress is written with it, and
//! a cancellation or a lost lease ends it where it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drydock_content::ProgressSink;
use drydock_domain::ids::ContentJobId;
use drydock_domain::inventory::Finding;
use drydock_domain::source::job::{ContentJobState, JobProgress};
use drydock_store::content_jobs::{End, Renewal};
use drydock_store::source_records::ContentJobRecord;
use drydock_store::{commit, content_jobs, sources};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::work::{self, Failure};
use crate::Control;
use crate::error::Result;

/// A server that does not renew a lease for this long has lost the job, seconds.
const LEASE_SECS: i64 = 30;
/// Progress is written, and a cancellation noticed, at most and at least so often.
const BEAT: Duration = Duration::from_secs(1);
/// Without news the lease is renewed every so many beats.
const RENEW_EVERY_BEATS: u32 = 5;
/// A job whose server ended this often is given up: it may be what kills it.
const ATTEMPTS_MAX: u32 = 8;
/// Longest message of a job kept, bytes.
const MESSAGE_MAX_BYTES: usize = 4096;

/// Claims the next job. The owner names this claim alone.
pub(super) async fn claim(control: &Control, runner: Uuid) -> Result<Option<(ContentJobRecord, String)>> {
    let now = control.now();
    let owner = format!("{runner}/{}", control.mint(now));
    let job = content_jobs::claim(control.store(), &owner, now, lease_until(now)).await?;
    Ok(job.map(|job| (job, owner)))
}

/// Gives back what this runner still holds.
pub(super) async fn give_back_all(control: &Control, runner: Uuid) -> Result<()> {
    let ours = format!("{runner}/");
    let open = content_jobs::open(&mut *control.read().await?, None).await?;
    for job in open {
        let Some(owner) = job.lease_owner.filter(|o| o.starts_with(&ours)) else { continue };
        let mut tx = control.begin().await?;
        content_jobs::give_back(&mut tx, job.id, &owner).await?;
        commit(tx).await?;
    }
    Ok(())
}

fn lease_until(now: Timestamp) -> Timestamp {
    now.saturating_add(SignedDuration::from_secs(LEASE_SECS)).unwrap_or(Timestamp::MAX)
}

/// Why a job at work stops before its end.
enum Stop {
    Cancelled,
    Lost,
}

/// Works at a claimed job until its end.
pub(super) async fn run(control: &Control, job: ContentJobRecord, owner: &str) {
    let id = job.id;
    control.content_job_changed(id);
    let ended = if job.cancel_requested {
        end(control, &job, owner, ContentJobState::Canceled, "cancelled", &[]).await
    } else if job.attempts > ATTEMPTS_MAX {
        let message =
            format!("given up: the server ended {} times while it was at work on this; its log may say why", job.attempts - 1);
        end(control, &job, owner, ContentJobState::Failed, &message, &[]).await
    } else {
        attempt(control, &job, owner).await
    };
    if let Err(error) = ended {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(job = %id, %error, source, "the end of a content job is not stored; it runs again when its lease has ended");
    }
    control.content_job_changed(id);
}

async fn attempt(control: &Control, job: &ContentJobRecord, owner: &str) -> Result<()> {
    let progress = Arc::new(Mutex::new(JobProgress::default()));
    let sink = {
        let progress = Arc::clone(&progress);
        ProgressSink::new(move |p| {
            let mut held = progress.lock().unwrap_or_else(PoisonError::into_inner);
            if held.stage != p.stage {
                p.stage.clone_into(&mut held.stage);
            }
            (held.done, held.total) = (p.done, p.total);
        })
    };
    let stopped = tokio::select! {
        done = work::work(control, job, owner, &sink) => Err(done),
        why = keep(control, job.id, owner, &progress) => Ok(why),
    };
    sink.cancel();
    match stopped {
        Err(Ok(())) => Ok(()),
        Err(Err(Failure::Lost)) | Ok(Stop::Lost) => {
            tracing::warn!(job = %job.id, "another server took a content job over; this one's work on it is dropped");
            Ok(())
        }
        Err(Err(Failure::Told { message, findings })) => {
            end(control, job, owner, ContentJobState::Failed, &message, &findings).await
        }
        Err(Err(Failure::Server(error))) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(job = %job.id, %error, source, "a content job failed");
            end(control, job, owner, ContentJobState::Failed, &error.to_string(), &[]).await
        }
        Ok(Stop::Cancelled) => end(control, job, owner, ContentJobState::Canceled, "cancelled", &[]).await,
    }
}

/// Renews the lease and writes progress until somebody wants the job to stop.
async fn keep(control: &Control, job: ContentJobId, owner: &str, progress: &Mutex<JobProgress>) -> Stop {
    let mut written = JobProgress::default();
    let mut beats: u32 = 0;
    loop {
        tokio::time::sleep(BEAT).await;
        beats = beats.wrapping_add(1);
        let now = progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let renewed = if now != written || beats.is_multiple_of(RENEW_EVERY_BEATS) {
            renew(control, job, owner, &now).await
        } else {
            look(control, job, owner).await
        };
        match renewed {
            Ok(Renewal::Held) if now != written => {
                written = now;
                control.content_job_changed(job);
            }
            Ok(Renewal::Held) => {}
            Ok(Renewal::CancelRequested) => return Stop::Cancelled,
            Ok(Renewal::Lost) => return Stop::Lost,
            // The database is away: the lease decides, and what the job makes is stored only while it is held.
            Err(error) => tracing::warn!(%job, %error, "the lease of a content job is not renewed; trying again"),
        }
    }
}

async fn renew(control: &Control, job: ContentJobId, owner: &str, progress: &JobProgress) -> Result<Renewal> {
    let mut tx = control.begin().await?;
    let renewed = content_jobs::renew(&mut tx, job, owner, lease_until(control.now()), progress).await?;
    commit(tx).await?;
    Ok(renewed)
}

/// Looks whether the job is still ours and wanted, without a write.
async fn look(control: &Control, job: ContentJobId, owner: &str) -> Result<Renewal> {
    let found = content_jobs::find(&mut *control.read().await?, job).await?;
    Ok(match found {
        Some(job) if job.lease_owner.as_deref() != Some(owner) => Renewal::Lost,
        Some(job) if job.cancel_requested => Renewal::CancelRequested,
        Some(_) => Renewal::Held,
        None => Renewal::Lost,
    })
}

/// Ends a job otherwise than with success.
async fn end(
    control: &Control,
    job: &ContentJobRecord,
    owner: &str,
    state: ContentJobState,
    message: &str,
    findings: &[Finding],
) -> Result<()> {
    let now = control.now();
    let message = crate::ops::cut(message, MESSAGE_MAX_BYTES);
    let mut tx = control.begin().await?;
    if content_jobs::finish(&mut tx, job.id, owner, &End { state, message, findings, at: now }).await? {
        if let Some(source) = job.source {
            sources::set_job_ended(&mut tx, source, job.id, state == ContentJobState::Failed).await?;
        }
        commit(tx).await?;
        work::clean_up(control, job).await;
        tracing::info!(job = %job.id, kind = job.kind.as_str(), state = state.as_str(), message, "a content job ended");
    }
    Ok(())
}

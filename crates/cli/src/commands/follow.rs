//! Follows a job until it ends: server-sent events for speed, whole reads for truth. Every (re)connection starts with a
//! whole read, so that no event needs to be remembered; without a stream the reads alone go on.

use std::time::Duration;

use drydock_api::rest::{PatchJob, PatchTask};
use drydock_domain::ids::JobId;
use tokio::time::Instant;

use super::screen::ScreenWriter;
use crate::client::{Client, Query};
use crate::failure::Failure;
use crate::progress::Picture;
use crate::world::{Pace, World};

/// Shortest time between two drawings; a fleet's events come faster than anybody reads.
const FRAME: Duration = Duration::from_millis(100);

/// Time between two drawings of a job in which nothing happens: its clock goes on.
const TICK: Duration = Duration::from_secs(1);

/// A server that takes the connection must begin its event stream within this; without one the job is only read.
const STREAM_BEGINS: Duration = Duration::from_secs(30);

/// How following ended.
#[derive(Debug)]
pub enum Followed {
    /// The job is over.
    Final(Box<Picture>),
    /// Ctrl-C: the job goes on.
    Left,
}

/// How one connection ended.
enum Round {
    Final(Box<Picture>),
    /// It brought the picture up to date, then ended.
    Ended,
}

/// Follows `job` and draws its progress.
pub async fn follow(client: &Client, job: JobId, world: &mut World) -> Result<Followed, Failure> {
    let interrupt = (world.interrupt)();
    let pace = world.pace;
    let mut screen = ScreenWriter::new(world);
    let ended = tokio::select! {
        ended = watch(client, job, &mut screen, pace) => Some(ended?),
        () = interrupt => None,
    };
    match ended {
        Some(picture) => {
            screen.erase()?;
            Ok(Followed::Final(picture))
        }
        None => Ok(Followed::Left),
    }
}

async fn watch(client: &Client, job: JobId, screen: &mut ScreenWriter<'_>, pace: Pace) -> Result<Box<Picture>, Failure> {
    let mut last_answer = Instant::now();
    loop {
        match round(client, job, screen, pace).await {
            Ok(Round::Final(picture)) => return Ok(picture),
            Ok(Round::Ended) => {
                screen.note(None)?;
                last_answer = Instant::now();
            }
            Err(failure) if failure.is_transient() && last_answer.elapsed() < pace.give_up => {
                screen.note(Some(format!("{} does not answer; trying again, the job goes on", client.server())))?;
            }
            Err(failure) => return Err(given_up(failure, job)),
        }
        tokio::time::sleep(pace.retry).await;
    }
}

fn given_up(failure: Failure, job: JobId) -> Failure {
    match failure {
        Failure::Unreachable(text) => {
            Failure::Unreachable(format!("{text}\n  the job goes on; look again: drydock patch show {job} --follow"))
        }
        other => other,
    }
}

/// One connection: open the stream first, then read everything, so that nothing falls between the two.
async fn round(client: &Client, job: JobId, screen: &mut ScreenWriter<'_>, pace: Pace) -> Result<Round, Failure> {
    let id = job.to_string();
    let opening = STREAM_BEGINS.min(pace.give_up);
    let stream = tokio::time::timeout(opening, client.events(&["patch-jobs", &id, "events"])).await;
    let mut picture = read(client, job).await?;
    screen.note(None)?;
    screen.draw(&picture)?;
    if picture.job.state.is_final() {
        return Ok(Round::Final(Box::new(picture)));
    }
    // No stream (a proxy may refuse it): this read was one look; the caller comes back after a pause.
    let Ok(Ok(mut stream)) = stream else { return Ok(Round::Ended) };
    let (mut drawn, mut heard) = (Instant::now(), Instant::now());
    let mut dirty = false;
    loop {
        let wait = if dirty { FRAME } else { TICK.min(pace.look) };
        match tokio::time::timeout(wait, stream.next()).await {
            Ok(Some(event)) => {
                heard = Instant::now();
                dirty |= apply(&mut picture, &event.name, &event.data);
                if picture.job.state.is_final() {
                    break;
                }
                if dirty && drawn.elapsed() < FRAME {
                    continue;
                }
            }
            Ok(None) => {
                screen.draw(&picture)?;
                return Ok(Round::Ended);
            }
            // Silence: an event may have been lost on the way.
            Err(_) if heard.elapsed() >= pace.look => {
                look(client, job, &mut picture).await?;
                heard = Instant::now();
            }
            Err(_) => {}
        }
        if picture.job.state.is_final() {
            break;
        }
        screen.draw(&picture)?;
        drawn = Instant::now();
        dirty = false;
    }
    let last = read(client, job).await?;
    screen.draw(&last)?;
    Ok(Round::Final(Box::new(last)))
}

/// Reads the job, and its tasks when the job's counts are no longer those of the picture.
async fn look(client: &Client, job: JobId, picture: &mut Picture) -> Result<(), Failure> {
    let fresh: PatchJob = client.get(&["patch-jobs", &job.to_string()], &Query::new()).await?;
    if fresh == picture.job {
        return Ok(());
    }
    *picture = Picture::new(fresh, tasks(client, job).await?);
    Ok(())
}

/// Takes one event; `false` when it is none of ours (a newer server may send more kinds).
fn apply(picture: &mut Picture, name: &str, data: &str) -> bool {
    match name {
        "job" => serde_json::from_str::<PatchJob>(data).is_ok_and(|job| {
            let ours = job.id == picture.job.id;
            if ours {
                picture.job = job;
            }
            ours
        }),
        "task" => serde_json::from_str::<PatchTask>(data).is_ok_and(|task| {
            let ours = task.job == picture.job.id;
            if ours {
                picture.take_task(task);
            }
            ours
        }),
        _ => false,
    }
}

/// Reads a job and its tasks.
pub async fn read(client: &Client, job: JobId) -> Result<Picture, Failure> {
    let found: PatchJob = client.get(&["patch-jobs", &job.to_string()], &Query::new()).await?;
    Ok(Picture::new(found, tasks(client, job).await?))
}

/// Reads all tasks of a job.
async fn tasks(client: &Client, job: JobId) -> Result<Vec<PatchTask>, Failure> {
    Ok(client.list(&["patch-jobs", &job.to_string(), "tasks"], &Query::new(), 0).await?.items)
}

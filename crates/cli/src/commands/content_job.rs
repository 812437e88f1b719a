//! `drydock job` and `drydock content`, and waiting for a content job's end.

use std::io::Write;
use std::time::Duration;

use drydock_api::rest::{CollectReport, ContentJob, ContentJobDetail, RepositoryKeys};
use drydock_domain::ids::ContentJobId;
use serde_json::json;

use super::{document, list};
use crate::args::source::{ContentCommand, JobCommand, JobShowArgs};
use crate::client::{Client, Query};
use crate::failure::{Ending, Failure};
use crate::text::{clean, cut};
use crate::view;
use crate::world::World;

/// Pause between two looks: a sync takes seconds to minutes.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// How waiting ended.
pub enum Wait {
    /// The job is final.
    Final(Box<ContentJobDetail>),
    /// Ctrl-C; the job goes on.
    Left,
}

/// Runs `drydock job`.
pub async fn run(command: JobCommand, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    let now = (world.now)();
    match command {
        JobCommand::List(args) => {
            let query = args.source.map(|v| ("source", v)).into_iter().collect();
            let rows = client.list::<ContentJob>(&["content-jobs"], &query, args.list.limit).await?;
            list(&rows, "content jobs", args.list.output, world, |items| view::content_job::jobs(items, now))?;
            Ok(Ending::Done)
        }
        JobCommand::Show(args) => show(args, client, world).await,
        JobCommand::Cancel(args) => {
            client.act("content-jobs", &args.job.to_string(), "cancel", &json!({})).await?;
            writeln!(world.out, "Cancelling {}.", args.job)?;
            Ok(Ending::Done)
        }
    }
}

async fn show(args: JobShowArgs, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    let job = if args.follow {
        match wait(args.job, client, world).await? {
            Wait::Final(job) => *job,
            Wait::Left => return Ok(Ending::Left),
        }
    } else {
        read(args.job, client).await?
    };
    if !document(&job, args.output, world)? {
        world.out.write_all(view::content_job::job(&job, (world.now)()).as_bytes())?;
    }
    Ok(if args.follow { view::content_job::ending(&job.job) } else { Ending::Done })
}

async fn read(job: ContentJobId, client: &Client) -> Result<ContentJobDetail, Failure> {
    client.get(&["content-jobs", &job.to_string()], &Query::new()).await
}

/// Follows a job to its end. Progress goes to standard error: one line that is redrawn on a terminal, a line a stage
/// elsewhere. A server that is away meanwhile is waited for as long as the pace says.
pub async fn wait(job: ContentJobId, client: &Client, world: &mut World) -> Result<Wait, Failure> {
    let interrupted = (world.interrupt)();
    tokio::pin!(interrupted);
    let mut shown = String::new();
    let mut lost: Option<std::time::Instant> = None;
    loop {
        match read(job, client).await {
            Ok(detail) => {
                lost = None;
                let is_final = detail.job.state.is_final();
                draw(&detail, is_final, &mut shown, world)?;
                if is_final {
                    return Ok(Wait::Final(Box::new(detail)));
                }
            }
            Err(Failure::Unreachable(why)) => {
                let since = *lost.get_or_insert_with(std::time::Instant::now);
                if since.elapsed() > world.pace.give_up {
                    return Err(Failure::Unreachable(why));
                }
                if shown != why {
                    writeln!(world.err, "the server is away; still trying (Ctrl-C leaves, the job goes on)")?;
                    shown = why;
                }
            }
            Err(other) => return Err(other),
        }
        let pause = if lost.is_some() { world.pace.retry } else { LOOK_EVERY };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut interrupted => {
                writeln!(world.err, "\nLeft; the job goes on.\n  look again   drydock job show {job} --follow\n  stop it      drydock job cancel {job}")?;
                return Ok(Wait::Left);
            }
        }
    }
}

/// `shown` is what stands there: the whole line on a terminal, the stage elsewhere.
fn draw(detail: &ContentJobDetail, is_final: bool, shown: &mut String, world: &mut World) -> Result<(), Failure> {
    match (world.screen)() {
        Some(screen) => {
            if is_final {
                write!(world.err, "\r\x1b[K")?;
            } else {
                write!(world.err, "\r\x1b[K{}", cut(&view::content_job::progress(&detail.job), screen.width.saturating_sub(1)))?;
            }
            world.err.flush()?;
        }
        None => {
            let stage = clean(&detail.job.progress.stage);
            if !stage.is_empty() && stage != *shown {
                writeln!(world.err, "{stage}")?;
                *shown = stage;
            }
        }
    }
    Ok(())
}

/// Runs `drydock content`.
pub async fn content(command: ContentCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        ContentCommand::Collect(args) => {
            let query = vec![("dryRun", args.dry_run.to_string())];
            let report: CollectReport = client.post(&["content:collect"], &query).await?;
            if !document(&report, args.output, world)? {
                world.out.write_all(view::content_job::collected(&report).as_bytes())?;
            }
        }
        ContentCommand::Keys(args) => {
            let keys: RepositoryKeys = match args.step {
                None => client.get(&["repository-keys"], &Query::new()).await?,
                Some(step) => client.post(&[step.path()], &Query::new()).await?,
            };
            if !document(&keys, args.output, world)? {
                world.out.write_all(view::content_job::keys(&keys).as_bytes())?;
            }
        }
    }
    Ok(())
}

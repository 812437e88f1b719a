//! `drydock patch undo` and `drydock patch bars`.

use std::io::Write;

use drydock_api::rest::{ApiError, BarredVersion, ErrorKind, LiftBars, LiftedBars, PatchJob, UndoPatchJob, UndoPreview};
use reqwest::Method;
use uuid::Uuid;

use super::patch::{follow_started, unknown_start};
use super::{agreed, list};
use crate::args::Format;
use crate::args::patch::{BarsCommand, UndoArgs};
use crate::client::{Client, Query};
use crate::failure::{Ending, Failure};
use crate::text::{clean, plural};
use crate::view;
use crate::world::World;

/// Takes a job back.
pub async fn undo(args: UndoArgs, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    let id = args.job.to_string();
    let preview = preview(&id, &args.hosts, client).await?;
    let (ready, refused): (Vec<&UndoPreview>, Vec<&UndoPreview>) = preview.iter().partition(|h| h.refused.is_empty());
    for host in &refused {
        for refusal in &host.refused {
            writeln!(world.err, "{}: {}", clean(&host.instance_name), clean(&refusal.to_string()))?;
        }
    }
    if !refused.is_empty() && !args.skip_refused {
        return Err(refused_with(format!(
            "{} cannot be taken back exactly; nothing was begun (--skip-refused leaves them out)",
            plural(refused.len(), "host")
        )));
    }
    if ready.is_empty() {
        return Err(refused_with(format!("patch job {id} changed nothing that could be taken back")));
    }
    if args.start.output.output == Format::Table {
        let colour = world.colour_out();
        world.err.write_all(view::undo::preview(&ready, colour).as_bytes())?;
        world.err.flush()?;
    }
    if !args.yes && !args.dry_run && !agreed(&format!("Take this back on {}?", plural(ready.len(), "host")), world)? {
        writeln!(world.err, "nothing was begun")?;
        return Ok(Ending::Left);
    }
    let key = args.start.idempotency_key.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
    let headers = [("Idempotency-Key", key.clone())];
    let ask = UndoPatchJob { instances: args.hosts, dry_run: args.dry_run, skip_refused: args.skip_refused };
    let sent: Result<PatchJob, Failure> = client.send(Method::POST, &["patch-jobs", &format!("{id}:undo")], &ask, &headers).await;
    follow_started(&sent.map_err(|failure| unknown_start(failure, &key))?, args.start, client, world).await
}

/// As the server would say it.
fn refused_with(message: String) -> Failure {
    let error = ApiError { kind: ErrorKind::Conflict, message, fields: Vec::new(), code: None, request_id: String::new() };
    Failure::Refused { error: Box::new(error), role: None }
}

/// Each host that is named is asked about alone; none: all that the job changed.
async fn preview(id: &str, hosts: &[String], client: &Client) -> Result<Vec<UndoPreview>, Failure> {
    let path = ["patch-jobs", id, "undo"];
    if hosts.is_empty() {
        return client.get(&path, &Query::new()).await;
    }
    let mut all = Vec::new();
    for host in hosts {
        let query = vec![("instance", host.clone())];
        all.extend(client.get::<Vec<UndoPreview>>(&path, &query).await?);
    }
    Ok(all)
}

/// Runs `drydock patch bars`.
pub async fn bars(command: BarsCommand, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    match command {
        BarsCommand::List(args) => {
            let now = (world.now)();
            let mut query = Query::new();
            query.extend(args.instance.map(|v| ("instance", v)));
            query.extend(args.job.map(|v| ("job", v.to_string())));
            query.extend(args.package.map(|v| ("name", v)));
            let rows = client.list::<BarredVersion>(&["barred-versions"], &query, args.list.limit).await?;
            list(&rows, "barred versions", args.list.output, world, |items| view::undo::bars(items, now))?;
        }
        BarsCommand::Lift(args) => {
            let ask = LiftBars { instance: args.instance, job: args.job, name: args.package };
            let done: LiftedBars = client.send(Method::POST, &["barred-versions:lift"], &ask, &[]).await?;
            let lifted = usize::try_from(done.lifted).unwrap_or(usize::MAX);
            writeln!(world.out, "{} may come back.", plural(lifted, "version"))?;
        }
    }
    Ok(Ending::Done)
}

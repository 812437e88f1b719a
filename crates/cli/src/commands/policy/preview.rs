//! `drydock policy preview`: hosts say what documents would change; nothing is changed.

use std::io::Write;

use drydock_api::rest::{PolicyPreview, PreviewHost};
use reqwest::Method;
use tokio::time::{Duration, Instant};

use super::documents::assignments_to_apply;
use crate::args::Connection;
use crate::args::policy::PreviewArgs;
use crate::client::{Client, Query};
use crate::commands::{connect, document};
use crate::failure::{Ending, Failure};
use crate::text::plural;
use crate::view::policy as view;
use crate::world::World;

/// The noun of the API.
const PREVIEWS: &str = "policy-previews";

/// Asks for a preview, waits for its hosts, prints what they said.
pub async fn run(args: &PreviewArgs, connection: &Connection, world: &mut World) -> Result<Ending, Failure> {
    let (client, id) = match (&args.id, &args.path) {
        (Some(id), _) => (connect(connection, world)?, *id),
        (None, path) => {
            let paths: Vec<_> = path.iter().cloned().collect();
            let given = previewed(&paths, args, world)?;
            let client = connect(connection, world)?;
            let made: PolicyPreview = client.send(Method::POST, &[PREVIEWS], &given, &[]).await?;
            (client, made.id)
        }
    };
    let text = id.to_string();
    let interrupt = (world.interrupt)();
    let pause = world.pace.retry;
    let limit = Duration::from_secs(args.wait_secs);
    let found = tokio::select! {
        found = answered(&client, &text, limit, pause) => found?,
        () = interrupt => {
            writeln!(world.err, "left; hosts go on answering, look again: drydock policy preview --id {id}")?;
            return Ok(Ending::Left);
        }
    };
    let hosts = client.list::<PreviewHost>(&[PREVIEWS, &text, "instances"], &Query::new(), 0).await?.items;
    let shown: Vec<PreviewHost> = hosts.into_iter().filter(|h| !args.changes || h.would_change > 0).collect();
    if !document(&shown, args.output, world)? {
        let colour = world.colour_out();
        world.out.write_all(view::preview(&found, &shown, args.changes, (world.now)(), colour).as_bytes())?;
    }
    if found.waiting > 0 {
        world.out.flush()?;
        let silent = plural(found.waiting as usize, "host");
        writeln!(world.err, "{silent} did not answer; they are asked until then, look again: drydock policy preview --id {id}")?;
    }
    Ok(Ending::Done)
}

/// The one document that is previewed.
fn previewed(
    paths: &[std::path::PathBuf],
    args: &PreviewArgs,
    world: &mut World,
) -> Result<drydock_domain::policy::OsPolicyAssignment, Failure> {
    let mut given = assignments_to_apply(paths, args.name.as_deref(), &args.bare, world)?;
    match (given.pop(), given.len()) {
        (Some((_, own)), 0) => Ok(own),
        (_, others) => Err(Failure::Usage(format!("a preview is of one document, and there are {}", others + 1))),
    }
}

/// Waits until every host answered, or the time is over.
async fn answered(client: &Client, id: &str, limit: Duration, pause: Duration) -> Result<PolicyPreview, Failure> {
    let begun = Instant::now();
    loop {
        let now: PolicyPreview = client.get(&[PREVIEWS, id], &Query::new()).await?;
        if now.waiting == 0 || begun.elapsed() >= limit {
            return Ok(now);
        }
        tokio::time::sleep(pause.min(limit)).await;
    }
}

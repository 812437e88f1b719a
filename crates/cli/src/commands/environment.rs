//! `drydock environment`.

use std::io::Write;

use drydock_api::rest::{EditAttachments, Environment, Page, PointerMove, PromotionResult, SnapshotDetail};
use drydock_domain::ids::SnapshotId;
use drydock_domain::source::environment::{EnvironmentSpec, Promotion};
use reqwest::Method;

use super::{document, list, print_table};
use crate::args::source::{EnvironmentCommand, EnvironmentSourcesArgs, PromoteArgs};
use crate::client::{Client, Query, Rows};
use crate::failure::Failure;
use crate::text::{clean, plural};
use crate::view;
use crate::world::World;

/// Runs `drydock environment`.
pub async fn run(command: EnvironmentCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    match command {
        EnvironmentCommand::Create(args) => {
            let spec = EnvironmentSpec {
                name: args.name,
                description: args.description,
                rank: args.rank,
                compartment: args.compartment,
            };
            let made: Environment = client.send(Method::POST, &["environments"], &spec, &[]).await?;
            Ok(writeln!(world.out, "Environment {} is made, rank {}.", clean(&made.spec.name), made.spec.rank)?)
        }
        EnvironmentCommand::List(args) => {
            let all: Page<Environment> = client.get(&["environments"], &Query::new()).await?;
            let limit = if args.limit == 0 { usize::MAX } else { args.limit };
            let more = all.items.len() > limit;
            let rows = Rows { items: all.items.into_iter().take(limit).collect(), more };
            list(&rows, "environments", args.output, world, view::environment::environments)
        }
        EnvironmentCommand::Show(args) => {
            let found: Environment = client.get(&["environments", &args.environment], &Query::new()).await?;
            if !document(&found, args.output, world)? {
                world.out.write_all(view::environment::environment(&found, now).as_bytes())?;
            }
            Ok(())
        }
        EnvironmentCommand::Promote(args) => promote(args, client, world).await,
        EnvironmentCommand::History(args) => {
            let path = ["environments", args.environment.as_str(), "history"];
            let rows = client.list::<PointerMove>(&path, &Query::new(), args.list.limit).await?;
            list(&rows, "moves", args.list.output, world, |items| view::environment::moves(items, now))
        }
        EnvironmentCommand::Attach(args) => attachments(args, true, client, world).await,
        EnvironmentCommand::Detach(args) => attachments(args, false, client, world).await,
        EnvironmentCommand::Move(args) => super::calendar::moved("environments", "Environment", &args, client, world).await,
        EnvironmentCommand::Delete(args) => {
            client.delete(&["environments", &args.environment], &[]).await?;
            Ok(writeln!(world.out, "Environment {} is deleted.", clean(&args.environment))?)
        }
    }
}

async fn attachments(args: EnvironmentSourcesArgs, attach: bool, client: &Client, world: &mut World) -> Result<(), Failure> {
    let mut edit = EditAttachments::default();
    if attach {
        edit.attach = args.sources;
    } else {
        edit.detach = args.sources;
    }
    let path = ["environments", args.environment.as_str(), "sources"];
    let now: Environment = client.send(Method::PUT, &path, &edit, &[]).await?;
    let sources: Vec<String> = now.sources.iter().map(|s| clean(s)).collect();
    let sources = if sources.is_empty() { "-".to_owned() } else { sources.join(", ") };
    Ok(writeln!(world.out, "{}: sources {sources}", clean(&now.spec.name))?)
}

/// A snapshot by number is looked up: the promotion names it by id.
async fn snapshot_id(args: &PromoteArgs, client: &Client) -> Result<Option<SnapshotId>, Failure> {
    let Some(given) = &args.snapshot else { return Ok(None) };
    if let Ok(id) = given.parse() {
        return Ok(Some(id));
    }
    let [source] = args.sources.as_slice() else {
        return Err(Failure::Usage("--snapshot needs exactly one --source".to_owned()));
    };
    let found: SnapshotDetail = client.get(&["sources", source, "snapshots", given], &Query::new()).await?;
    Ok(Some(found.snapshot.id))
}

async fn promote(args: PromoteArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let promotion = Promotion {
        snapshot: snapshot_id(&args, client).await?,
        sources: args.sources,
        as_of: args.as_of,
        rollback: args.rollback,
        skip_rank: args.skip_rank,
        dry_run: args.dry_run,
    };
    let verb = format!("{}:promote", args.environment);
    let result: PromotionResult = client.send(Method::POST, &["environments", &verb], &promotion, &[]).await?;
    if document(&result, args.output, world)? {
        return Ok(());
    }
    if result.moves.is_empty() {
        return Ok(writeln!(world.out, "{}: nothing to move, everything is there already", clean(&result.environment))?);
    }
    for one in &result.moves {
        writeln!(world.out, "{}", view::environment::promotion(one, result.dry_run))?;
        if !one.upgrades.is_empty() {
            print_table(view::environment::upgrades(&one.upgrades), world)?;
        }
    }
    let moves = plural(result.moves.len(), "source");
    let said = if result.dry_run { "would move" } else { "moved" };
    Ok(writeln!(world.out, "{}: {moves} {said}", clean(&result.environment))?)
}

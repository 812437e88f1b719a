//! `drydock group`.

use std::io::Write;

use drydock_api::rest::{AddMatching, AddedMembers, EditAttachments, EditGroup, EditMembers, Group, GroupMember, MoveTo, Page};
use drydock_domain::group::GroupSpec;
use reqwest::Method;

use super::{document, list, print_table};
use crate::args::Output;
use crate::args::group::{AddMembersArgs, GroupCommand, GroupSourcesArgs, ShowGroupArgs};
use crate::client::{Client, Query, Rows};
use crate::failure::Failure;
use crate::text::clean;
use crate::view;
use crate::world::World;

/// Runs `drydock group`.
pub async fn run(command: GroupCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        GroupCommand::Create(args) => {
            let spec = GroupSpec {
                name: args.name,
                description: args.description,
                environment: args.environment,
                compartment: args.compartment,
            };
            let made: Group = client.send(Method::POST, &["groups"], &spec, &[]).await?;
            let name = clean(&made.spec.name);
            Ok(writeln!(world.out, "Group {name} is made. Put hosts into it: drydock group add {name} HOST")?)
        }
        GroupCommand::List(args) => {
            let all: Page<Group> = client.get(&["groups"], &Query::new()).await?;
            let limit = if args.limit == 0 { usize::MAX } else { args.limit };
            let more = all.items.len() > limit;
            let rows = Rows { items: all.items.into_iter().take(limit).collect(), more };
            list(&rows, "groups", args.output, world, view::group::groups)
        }
        GroupCommand::Show(args) => show(args, client, world).await,
        GroupCommand::Edit(args) => {
            let environment = if args.no_environment { Some(String::new()) } else { args.environment };
            let edit = EditGroup { description: args.description, environment };
            let now: Group = client.send(Method::PATCH, &["groups", &args.group], &edit, &[]).await?;
            Ok(world.out.write_all(view::group::group(&now, (world.now)()).as_bytes())?)
        }
        GroupCommand::Add(AddMembersArgs { group, filter: Some(filter), dry_run, output, .. }) => {
            let ask = AddMatching { filter, dry_run };
            add_matching(&group, &ask, output, client, world).await
        }
        GroupCommand::Add(args) => {
            members(&args.group, &EditMembers { add: args.hosts, remove: Vec::new() }, client, world).await
        }
        GroupCommand::Remove(args) => {
            members(&args.group, &EditMembers { add: Vec::new(), remove: args.hosts }, client, world).await
        }
        GroupCommand::Attach(args) => attachments(args, true, client, world).await,
        GroupCommand::Detach(args) => attachments(args, false, client, world).await,
        GroupCommand::Move(args) => {
            client.act("groups", &args.group, "move", &MoveTo { compartment: args.to.clone() }).await?;
            Ok(writeln!(world.out, "Group {} lies in {} now.", clean(&args.group), clean(&args.to))?)
        }
        GroupCommand::Delete(args) => {
            client.delete(&["groups", &args.group], &[]).await?;
            Ok(writeln!(world.out, "Group {} is deleted.", clean(&args.group))?)
        }
    }
}

async fn show(args: ShowGroupArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let found: Group = client.get(&["groups", &args.group], &Query::new()).await?;
    if document(&found, args.output, world)? {
        return Ok(());
    }
    let members = client.list::<GroupMember>(&["groups", &args.group, "members"], &Query::new(), args.limit).await?;
    world.out.write_all(view::group::group(&found, (world.now)()).as_bytes())?;
    if !members.items.is_empty() {
        writeln!(world.out)?;
        print_table(view::group::members(&members.items), world)?;
    }
    if members.more {
        world.out.flush()?;
        writeln!(world.err, "more members exist; --limit 0 shows all")?;
    }
    Ok(())
}

async fn members(group: &str, edit: &EditMembers, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now: Group = client.send(Method::PUT, &["groups", group, "members"], edit, &[]).await?;
    Ok(writeln!(world.out, "{}", view::group::filled(&now))?)
}

async fn add_matching(group: &str, ask: &AddMatching, output: Output, client: &Client, world: &mut World) -> Result<(), Failure> {
    let target = format!("{group}:add");
    let done: AddedMembers = client.send(Method::POST, &["groups", &target], ask, &[]).await?;
    if document(&done, output, world)? {
        return Ok(());
    }
    world.out.write_all(view::group::added(&done, ask.dry_run).as_bytes())?;
    if !done.left_out.is_empty() {
        writeln!(world.out)?;
        print_table(view::group::left_out(&done.left_out), world)?;
    }
    Ok(())
}

async fn attachments(args: GroupSourcesArgs, attach: bool, client: &Client, world: &mut World) -> Result<(), Failure> {
    let mut edit = EditAttachments::default();
    if attach {
        edit.attach = args.sources;
    } else {
        edit.detach = args.sources;
    }
    let now: Group = client.send(Method::PUT, &["groups", &args.group, "sources"], &edit, &[]).await?;
    let sources: Vec<String> = now.sources.iter().map(|s| clean(s)).collect();
    let sources = if sources.is_empty() { "-".to_owned() } else { sources.join(", ") };
    Ok(writeln!(world.out, "{}: sources {sources}", clean(&now.spec.name))?)
}

//! `drydock instance`.

use std::io::Write;

use drydock_api::rest::{
    EditInstance, EditInstanceSources, HistoryEntry, Instance, InstanceRules, InstanceSources, ModuleList, MoveTo, PackageList,
    RejectInstance, UpdateList,
};
use drydock_domain::host_rules::HostRules;
use drydock_domain::source::host::SourcesMode;
use reqwest::Method;
use serde_json::json;

use super::{document, list, print_table};
use crate::args::instance::{
    EditArgs, HistoryArgs, HostOutput, InstanceCommand, InstanceListArgs, InstanceSourcesArgs, ModulesArgs, PackagesArgs,
    RejectArgs,
};
use crate::args::{Format, Output};
use crate::client::{Client, Query};
use crate::failure::Failure;
use crate::text::{clean, labels};
use crate::view;
use crate::world::World;

/// Runs `drydock instance`.
pub async fn run(command: InstanceCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        InstanceCommand::List(args) => list_all(args, client, world).await,
        InstanceCommand::Show(args) => show(args, client, world).await,
        InstanceCommand::Packages(args) => packages(args, client, world).await,
        InstanceCommand::Diff(args) => super::package::diff(args, client, world).await,
        InstanceCommand::Updates(args) => updates(args, client, world).await,
        InstanceCommand::Advisories(args) => super::advisory::of_instance(args, client, world).await,
        InstanceCommand::Vulnerabilities(args) => super::advisory::vulnerabilities_of_instance(args, client, world).await,
        InstanceCommand::Sbom(args) => bom(args, "sbom", client, world).await,
        InstanceCommand::Vex(args) => bom(args, "vex", client, world).await,
        InstanceCommand::Modules(args) => modules(args, client, world).await,
        InstanceCommand::Rules(args) => rules(args, client, world).await,
        InstanceCommand::History(args) => history(args, client, world).await,
        InstanceCommand::Sources(args) => sources(args, client, world).await,
        InstanceCommand::Edit(args) => edit(args, client, world).await,
        InstanceCommand::Accept(args) => each(&args.hosts, "accept", "active", client, world).await,
        InstanceCommand::Reject(args) => reject(args, client, world).await,
        InstanceCommand::Revoke(args) => each(&args.hosts, "revoke", "revoked", client, world).await,
        InstanceCommand::Move(args) => {
            for host in &args.hosts {
                let found = find(host, client).await?;
                let to = MoveTo { compartment: args.to.clone() };
                client.act("instances", &found.id.to_string(), "move", &to).await?;
                writeln!(world.out, "{} lies in {} now.", clean(&found.name), clean(&args.to))?;
            }
            Ok(())
        }
        InstanceCommand::Delete(args) => {
            for host in &args.hosts {
                let found = find(host, client).await?;
                client.delete(&["instances", &found.id.to_string()], &[]).await?;
                writeln!(world.out, "{} is deleted.", clean(&found.name))?;
            }
            Ok(())
        }
    }
}

/// A document for other programs: there is no table of it.
async fn bom(args: HostOutput, kind: &str, client: &Client, world: &mut World) -> Result<(), Failure> {
    let found: serde_json::Value = client.get(&["instances", &args.host, kind], &Query::new()).await?;
    let output = match args.output.output {
        Format::Table => Output { output: Format::Json },
        _ => args.output,
    };
    document(&found, output, world).map(drop)
}

/// Reads an instance by name or id.
pub async fn find(host: &str, client: &Client) -> Result<Instance, Failure> {
    client.get(&["instances", host], &Query::new()).await
}

async fn list_all(args: InstanceListArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    let mut query = Query::new();
    query.extend(args.state.map(|v| ("state", v)));
    query.extend(args.name.map(|v| ("q", v)));
    query.extend(args.labels.into_iter().map(|(k, v)| ("label", format!("{k}={v}"))));
    query.extend(args.zone.map(|v| ("zone", v)));
    query.extend(args.compartment.map(|v| ("compartment", v)));
    query.extend(args.filter.map(|v| ("filter", v)));
    let rows = client.list::<Instance>(&["instances"], &query, args.list.limit).await?;
    list(&rows, "instances", args.list.output, world, |items| view::instance::instances(items, now))
}

async fn show(args: HostOutput, client: &Client, world: &mut World) -> Result<(), Failure> {
    let found = find(&args.host, client).await?;
    if !document(&found, args.output, world)? {
        let now = (world.now)();
        let colour = world.colour_out();
        world.out.write_all(view::instance::instance(&found, now, colour).as_bytes())?;
    }
    Ok(())
}

async fn packages(args: PackagesArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let id = find(&args.host, client).await?.id.to_string();
    let mut query = Query::new();
    query.extend(args.name.map(|v| ("q", v)));
    query.extend(args.as_of.map(|v| ("asOf", v.at((world.now)()).to_string())));
    let found: PackageList = client.get(&["instances", &id, "packages"], &query).await?;
    let printed = match args.output.output {
        Format::Csv => document(&found.packages, args.output, world)?,
        _ => document(&found, args.output, world)?,
    };
    if printed {
        return Ok(());
    }
    if found.packages.is_empty() {
        return Ok(writeln!(world.err, "no packages")?);
    }
    print_table(view::instance::packages(&found.packages), world)
}

async fn modules(args: ModulesArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let id = find(&args.host, client).await?.id.to_string();
    let query = args.name.map(|v| ("q", v)).into_iter().collect();
    let found: ModuleList = client.get(&["instances", &id, "modules"], &query).await?;
    if document(&found, args.output, world)? {
        return Ok(());
    }
    if found.modules.is_empty() {
        return Ok(writeln!(world.err, "no modules: none is set, and no managed source of this instance offers any")?);
    }
    print_table(view::module::modules(&found.modules), world)
}

async fn updates(args: HostOutput, client: &Client, world: &mut World) -> Result<(), Failure> {
    let id = find(&args.host, client).await?.id.to_string();
    let found: UpdateList = client.get(&["instances", &id, "updates"], &Query::new()).await?;
    if document(&found, args.output, world)? {
        return Ok(());
    }
    if found.updates.is_empty() {
        writeln!(world.err, "no updates")?;
    } else {
        print_table(view::instance::updates(&found.updates), world)?;
    }
    Ok(world.out.write_all(view::instance::health(&found).as_bytes())?)
}

async fn rules(args: HostOutput, client: &Client, world: &mut World) -> Result<(), Failure> {
    let id = find(&args.host, client).await?.id.to_string();
    let found: InstanceRules = client.get(&["instances", &id, "rules"], &Query::new()).await?;
    if document(&found, args.output, world)? {
        return Ok(());
    }
    if found.rules == HostRules::default() {
        return Ok(writeln!(world.err, "no rules: its package manager's defaults")?);
    }
    print_table(view::rules::rules(&found.rules), world)
}

async fn history(args: HistoryArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    let id = find(&args.host, client).await?.id.to_string();
    let rows = client.list::<HistoryEntry>(&["instances", &id, "history"], &Query::new(), args.list.limit).await?;
    list(&rows, "history entries", args.list.output, world, |items| view::instance::history(items, now))
}

async fn edit(args: EditArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let found = find(&args.host, client).await?;
    let mut edit = EditInstance { labels: None, zone: args.zone };
    if !args.labels.is_empty() || !args.remove_labels.is_empty() {
        let mut all = found.labels;
        for key in &args.remove_labels {
            if all.remove(key).is_none() {
                return Err(Failure::Usage(format!(
                    "{} has no label {key:?}; its labels are {}",
                    clean(&found.name),
                    labels(&all)
                )));
            }
        }
        all.extend(args.labels);
        edit.labels = Some(all);
    }
    // Labels are replaced as a whole: somebody's edit in between must not be lost.
    let headers = [("If-Match", format!("\"{}\"", found.etag.trim_matches('"')))];
    let now: Instance = client.send(Method::PATCH, &["instances", &found.id.to_string()], &edit, &headers).await?;
    let zone = if now.zone.is_empty() { "-".to_owned() } else { clean(&now.zone) };
    Ok(writeln!(world.out, "{}: labels {}, zone {zone}", clean(&now.name), labels(&now.labels))?)
}

/// Shows an instance's sources, after changing them when something is to change.
async fn sources(args: InstanceSourcesArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let found = find(&args.host, client).await?;
    let id = found.id.to_string();
    let edit = EditInstanceSources {
        attach: args.attach,
        detach: args.detach,
        mode: args.mode.map(SourcesMode::from),
        environment: if args.no_environment { Some(String::new()) } else { args.environment },
    };
    let path = ["instances", id.as_str(), "sources"];
    let now: InstanceSources = if edit == EditInstanceSources::default() {
        client.get(&path, &Query::new()).await?
    } else {
        client.send(Method::PUT, &path, &edit, &[]).await?
    };
    if !document(&now, args.output, world)? {
        world.out.write_all(view::source::of_instance(&found.name, &now, (world.now)()).as_bytes())?;
    }
    Ok(())
}

async fn reject(args: RejectArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let found = find(&args.host, client).await?;
    client.act("instances", &found.id.to_string(), "reject", &RejectInstance { reason: args.reason }).await?;
    Ok(writeln!(world.out, "{} is rejected.", clean(&found.name))?)
}

/// Does `verb` to every host in turn; the first refusal ends it, what was done before is printed.
async fn each(hosts: &[String], verb: &str, done: &str, client: &Client, world: &mut World) -> Result<(), Failure> {
    for host in hosts {
        let found = find(host, client).await?;
        client.act("instances", &found.id.to_string(), verb, &json!({})).await?;
        writeln!(world.out, "{} is {done}.", clean(&found.name))?;
    }
    Ok(())
}

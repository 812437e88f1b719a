//! `drydock package`, and the history of one instance's packages.

use std::io::Write;

use drydock_api::rest::{InstalledPackage, PackageChanges, PackageHolding};

use super::{document, instance, list, print_table};
use crate::args::Format;
use crate::args::instance::PackageDiffArgs;
use crate::args::package::{PackageCommand, PackageListArgs, WhoHadArgs};
use crate::client::{Client, Query};
use crate::failure::Failure;
use crate::view;
use crate::world::World;

/// Runs `drydock package`.
pub async fn run(command: PackageCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        PackageCommand::List(args) => list_all(args, client, world).await,
        PackageCommand::WhoHad(args) => who_had(args, client, world).await,
    }
}

async fn list_all(args: PackageListArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let mut query = Query::new();
    query.extend(args.name.map(|v| ("q", v)));
    query.extend(args.as_of.map(|v| ("asOf", v.at((world.now)()).to_string())));
    let rows = client.list::<InstalledPackage>(&["packages"], &query, args.list.limit).await?;
    list(&rows, "packages", args.list.output, world, view::package::installed)
}

async fn who_had(args: WhoHadArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    let mut query = Query::new();
    query.extend(args.version.map(|v| ("version", v)));
    query.extend(args.arch.map(|v| ("arch", v)));
    query.extend(args.from.map(|v| ("from", v.at(now).to_string())));
    query.extend(args.to.map(|v| ("to", v.at(now).to_string())));
    let rows = client.list::<PackageHolding>(&["packages", &args.name, "holdings"], &query, args.list.limit).await?;
    list(&rows, "hosts", args.list.output, world, view::package::holdings)
}

/// `drydock instance diff`.
pub async fn diff(args: PackageDiffArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    let id = instance::find(&args.host, client).await?.id.to_string();
    let mut query: Query = vec![("from", args.from.at(now).to_string())];
    query.extend(args.to.map(|v| ("to", v.at(now).to_string())));
    let found: PackageChanges = client.get(&["instances", &id, "package-changes"], &query).await?;
    let printed = match args.output.output {
        Format::Csv => document(&found.changes, args.output, world)?,
        _ => document(&found, args.output, world)?,
    };
    if printed {
        return Ok(());
    }
    if found.changes.is_empty() {
        return Ok(writeln!(world.err, "no packages changed from {} to {}", found.from, found.to)?);
    }
    print_table(view::package::changes(&found.changes), world)
}

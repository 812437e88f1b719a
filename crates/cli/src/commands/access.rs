//! `drydock access` and `drydock audit`.

use std::io::Write;

use drydock_api::rest::{AccessToken, AuditRecord, CreateAccessToken, CreatedAccessToken};
use reqwest::Method;
use serde_json::json;

use super::enrolment::after;
use super::{connect, document, list, statement};
use crate::args::Connection;
use crate::args::access::{AccessCommand, AuditCommand, CreateTokenArgs};
use crate::client::{Client, Query};
use crate::failure::Failure;
use crate::text::{ago_or, clean};
use crate::view;
use crate::world::World;

/// Runs `drydock access`.
pub async fn run(command: AccessCommand, connection: &Connection, world: &mut World) -> Result<(), Failure> {
    match command {
        AccessCommand::Check(args) => statement::check(&args, world),
        AccessCommand::Test(args) => statement::test(&args, world),
        AccessCommand::Create(args) => create(args, &connect(connection, world)?, world).await,
        AccessCommand::List(args) => {
            let client = connect(connection, world)?;
            let now = (world.now)();
            let rows = client.list::<AccessToken>(&["access-tokens"], &Query::new(), args.limit).await?;
            list(&rows, "access tokens", args.output, world, |items| view::access::tokens(items, now))
        }
        AccessCommand::Revoke(args) => {
            connect(connection, world)?.act("access-tokens", &args.id.to_string(), "revoke", &json!({})).await?;
            Ok(writeln!(world.out, "Access token {} is revoked.", args.id)?)
        }
    }
}

async fn create(args: CreateTokenArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    let body = CreateAccessToken { name: args.name, role: args.role.into(), expires_at: after(args.expires_in, now)? };
    let made: CreatedAccessToken = client.send(Method::POST, &["access-tokens"], &body, &[]).await?;
    if document(&made, args.output, world)? {
        return Ok(());
    }
    let expires = ago_or(made.token.expires_at, now, "never");
    writeln!(
        world.out,
        "Access token {} for {} ({}), expires {expires}.",
        made.token.id,
        clean(&made.token.name),
        made.token.role.as_str()
    )?;
    writeln!(
        world.out,
        "\n  {}\n\nIt is shown this once. Use it with: drydock login --server {} --token -",
        clean(&made.secret),
        client.server()
    )?;
    Ok(())
}

/// Runs `drydock audit`.
pub async fn audit(command: AuditCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    let AuditCommand::List(args) = command;
    let now = (world.now)();
    let rows = client.list::<AuditRecord>(&["audit"], &Query::new(), args.limit).await?;
    list(&rows, "audit records", args.output, world, |items| view::access::audit(items, now))
}

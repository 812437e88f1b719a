//! `drydock access`.

use std::io::Write;

use drydock_api::rest::{AccessToken, CreateAccessToken, CreatedAccessToken};
use reqwest::Method;
use serde_json::json;

use super::enrolment::after;
use super::{api_key, compartment, connect, document, list, statement};
use crate::args::Connection;
use crate::args::access::{AccessCommand, CreateTokenArgs};
use crate::client::{Client, Query};
use crate::failure::Failure;
use crate::text::{ago_or, clean};
use crate::view;
use crate::world::World;

/// Runs `drydock access`.
pub async fn run(command: AccessCommand, connection: &Connection, world: &mut World) -> Result<(), Failure> {
    match command {
        AccessCommand::Check(args) => statement::check(&args, world),
        AccessCommand::Test(args) => match args.facts.clone() {
            Some(facts) => statement::test(&args, &facts, world),
            None => compartment::test(args, &connect(connection, world)?, world).await,
        },
        AccessCommand::ApiKey(command) => api_key::run(command, &connect(connection, world)?, world).await,
        AccessCommand::Oidc(command) => api_key::oidc(command, &connect(connection, world)?, world).await,
        AccessCommand::Policy(command) => compartment::policy(command, &connect(connection, world)?, world).await,
        AccessCommand::WhoCan(args) => compartment::who_can(args, &connect(connection, world)?, world).await,
        AccessCommand::Create(args) => create(args, &connect(connection, world)?, world).await,
        AccessCommand::List(args) => {
            let client = connect(connection, world)?;
            let now = (world.now)();
            let query: Query<'_> = args.user.map(|user| ("user", user)).into_iter().collect();
            let rows = client.list::<AccessToken>(&["access-tokens"], &query, args.list.limit).await?;
            list(&rows, "access tokens", args.list.output, world, |items| view::access::tokens(items, now))
        }
        AccessCommand::Revoke(args) => {
            connect(connection, world)?.act("access-tokens", &args.id.to_string(), "revoke", &json!({})).await?;
            Ok(writeln!(world.out, "Access token {} is revoked.", args.id)?)
        }
    }
}

async fn create(args: CreateTokenArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    let body = CreateAccessToken {
        name: args.name,
        role: args.role.map(Into::into),
        user: args.user,
        scope: args.scope,
        expires_at: after(args.expires_in, now)?,
    };
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
        view::access::whose(&made.token)
    )?;
    writeln!(
        world.out,
        "\n  {}\n\nIt is shown this once. Use it with: drydock login --server {} --token -",
        clean(&made.secret),
        client.server()
    )?;
    Ok(())
}

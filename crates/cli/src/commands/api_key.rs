//! `drydock access api-key` and `drydock access oidc`. Private keys are never read here: a file that holds one is refused before anything is sent.

use std::io::{Read, Write};

use comfy_table::Table;
use drydock_api::rest::{AddApiKey, ApiKey, OidcIdentity};
use jiff::Timestamp;
use reqwest::Method;

use super::{document, list};
use crate::args::api_key::{AddApiKeyArgs, ApiKeyCommand, OidcCommand};
use crate::client::{Client, Query};
use crate::failure::Failure;
use crate::text::{ago, ago_or, clean, table};
use crate::world::World;

/// Longest file with a public key, bytes; the server's limit.
const PUBLIC_KEY_MAX_BYTES: u64 = 8 * 1024;

/// Runs `drydock access api-key`.
pub async fn run(command: ApiKeyCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        ApiKeyCommand::Add(args) => add(args, client, world).await,
        ApiKeyCommand::List(args) => {
            let now = (world.now)();
            let path = ["users", &args.user, "api-keys"];
            let rows = client.whole::<ApiKey>(&path, &Query::new(), args.list.limit).await?;
            list(&rows, "API keys", args.list.output, world, |items| keys(items, now))
        }
        ApiKeyCommand::Delete(args) => {
            client.delete(&["users", &args.user, "api-keys", &args.fingerprint], &[]).await?;
            Ok(writeln!(world.out, "API key {} of {} is deleted.", clean(&args.fingerprint), clean(&args.user))?)
        }
    }
}

/// Runs `drydock access oidc`.
pub async fn oidc(command: OidcCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        OidcCommand::Link(args) => {
            let ask = OidcIdentity { issuer: args.issuer, subject: args.subject };
            client.put(&["users", &args.user, "oidc-identity"], &ask).await?;
            Ok(writeln!(world.out, "{} signs in as subject {}.", clean(&args.user), clean(&ask.subject))?)
        }
        OidcCommand::Unlink(args) => {
            client.delete(&["users", &args.user, "oidc-identity"], &[]).await?;
            Ok(writeln!(world.out, "No provider vouches for {} any more.", clean(&args.user))?)
        }
    }
}

async fn add(args: AddApiKeyArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let file = args.public_key.display();
    let unreadable = |e: std::io::Error| Failure::Usage(format!("cannot read {file}: {e}"));
    let mut pem = String::new();
    let opened = std::fs::File::open(&args.public_key).map_err(unreadable)?;
    opened.take(PUBLIC_KEY_MAX_BYTES + 1).read_to_string(&mut pem).map_err(unreadable)?;
    if pem.contains("PRIVATE KEY-----") {
        return Err(Failure::Usage(format!(
            "{file} holds a private key, which stays with you; send its public half: openssl rsa -in {file} -pubout"
        )));
    }
    if pem.len() as u64 > PUBLIC_KEY_MAX_BYTES {
        return Err(Failure::Usage(format!("{file} has more than {PUBLIC_KEY_MAX_BYTES} bytes; is it the right file?")));
    }
    let ask = AddApiKey { public_key: pem };
    let key: ApiKey = client.send(Method::POST, &["users", &args.user, "api-keys"], &ask, &[]).await?;
    if document(&key, args.output, world)? {
        return Ok(());
    }
    writeln!(world.out, "API key {} ({} bits) is a key of {}.", clean(&key.fingerprint), key.bits, clean(&args.user))?;
    writeln!(world.out, "\nSign with it: drydock --api-key-file PRIVATE_KEY_FILE --api-key-id {} whoami", clean(&key.key_id))?;
    Ok(())
}

fn keys(items: &[ApiKey], now: Timestamp) -> Table {
    let mut rows = table(&["FINGERPRINT", "BITS", "KEY ID", "ADDED", "LAST USED"]);
    for key in items {
        rows.add_row([
            clean(&key.fingerprint),
            key.bits.to_string(),
            clean(&key.key_id),
            ago(key.created_at, now),
            ago_or(key.last_used_at, now, "never"),
        ]);
    }
    rows
}

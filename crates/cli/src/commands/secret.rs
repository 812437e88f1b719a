//! `drydock secret`. Values are sent, never printed; nothing of this file puts one into a message.

use std::io::{Read, Write};

use drydock_api::rest::{PolicySecret, SetPolicySecret};
use reqwest::Method;

use super::list;
use crate::args::secret::{SecretCommand, SetSecretArgs};
use crate::client::{Client, Query};
use crate::failure::Failure;
use crate::text::clean;
use crate::view;
use crate::world::World;

/// Longest value, bytes; the server's limit.
const VALUE_MAX_BYTES: u64 = 32 * 1024;

/// Runs `drydock secret`.
pub async fn run(command: SecretCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        SecretCommand::Set(args) => {
            let ask = SetPolicySecret { value: value(&args, world)?, compartment: args.compartment.clone() };
            let now: PolicySecret = client.send(Method::PUT, &["secrets", &args.name], &ask, &[]).await?;
            Ok(writeln!(world.out, "Secret {} is set, version {}.", clean(&now.name), now.version)?)
        }
        SecretCommand::List(args) => {
            let now = (world.now)();
            let rows = client.whole::<PolicySecret>(&["secrets"], &Query::new(), args.limit).await?;
            list(&rows, "secrets", args.output, world, |items| view::compliance::secrets(items, now))
        }
        SecretCommand::Move(args) => super::calendar::moved("secrets", "Secret", &args, client, world).await,
        SecretCommand::Delete(args) => {
            client.delete(&["secrets", &args.name], &[]).await?;
            Ok(writeln!(world.out, "Secret {} is forgotten.", clean(&args.name))?)
        }
    }
}

fn value(args: &SetSecretArgs, world: &mut World) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let name = args.from_file.as_ref().map_or_else(|| "standard input".to_owned(), |p| p.display().to_string());
    let unreadable = |e: std::io::Error| Failure::Usage(format!("cannot read the value from {name}: {e}"));
    match &args.from_file {
        Some(path) => {
            std::fs::File::open(path).and_then(|f| f.take(VALUE_MAX_BYTES + 2).read_to_end(&mut bytes)).map_err(unreadable)?
        }
        None => world.input.by_ref().take(VALUE_MAX_BYTES + 2).read_to_end(&mut bytes).map_err(unreadable)?,
    };
    let mut value = String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("the value in {name} is not UTF-8 text")))?;
    if !args.keep_line_break && value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    if value.is_empty() {
        return Err(Failure::Usage(format!("the value in {name} is empty")));
    }
    if value.len() as u64 > VALUE_MAX_BYTES {
        return Err(Failure::Usage(format!("the value in {name} is longer than {VALUE_MAX_BYTES} bytes")));
    }
    Ok(value)
}

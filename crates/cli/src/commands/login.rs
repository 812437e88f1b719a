//! `drydock login`, `logout`, `whoami`.

use std::io::Write;

use drydock_api::rest::WhoAmI;

use super::document;
use crate::args::{Connection, Output};
use crate::client::{Client, Query};
use crate::config::{self, Config};
use crate::failure::Failure;
use crate::text::clean;
use crate::tls::Trust;
use crate::world::World;

/// Tries server and token, then keeps them.
pub async fn login(connection: &Connection, world: &mut World) -> Result<(), Failure> {
    let path = config::path(connection, world)?;
    let mut target = config::target(connection, world)?;
    if target.token.is_none() && target.key.is_none() {
        return Err(Failure::Usage(
            "login needs an access token: --token - reads it from standard input and keeps it out of the shell's history"
                .to_owned(),
        ));
    }
    let client = Client::new(target.clone())?;
    let who: WhoAmI = client.get(&["whoami"], &Query::new()).await?;
    let (ca_fingerprint, ca_pem) = match target.trust {
        Trust::Fingerprint(hex) => (Some(hex), None),
        Trust::Pem(pem) => (None, Some(pem)),
        Trust::System => (None, None),
    };
    let (key_id, key_file) = target.key.map(|key| key.id_and_file()).unzip();
    let server = Some(client.server().to_owned());
    let kept = Config { server, token: target.token.take(), key_id, key_file, ca_fingerprint, ca_pem };
    config::save(&path, &kept)?;
    writeln!(world.out, "Logged in to {} as {} ({}).", client.server(), clean(&who.name), who.role.as_str())?;
    Ok(())
}

/// Forgets the token; server and CA stay, so that the next login needs only a token.
pub fn logout(connection: &Connection, world: &mut World) -> Result<(), Failure> {
    let path = config::path(connection, world)?;
    let mut kept = config::load(&path, world)?;
    let had_key = kept.key_id.take().is_some() | kept.key_file.take().is_some();
    if kept.token.take().is_none() && !had_key {
        writeln!(world.out, "Not logged in.")?;
        return Ok(());
    }
    config::save(&path, &kept)?;
    writeln!(world.out, "Logged out. The token itself stays valid; drydock access revoke ends it.")?;
    Ok(())
}

/// Shows who the server takes the caller for.
pub async fn whoami(client: &Client, output: Output, world: &mut World) -> Result<(), Failure> {
    let who: WhoAmI = client.get(&["whoami"], &Query::new()).await?;
    if !document(&who, output, world)? {
        writeln!(
            world.out,
            "{} ({}) on {}, drydockd {}",
            clean(&who.name),
            who.role.as_str(),
            client.server(),
            clean(&who.server_version)
        )?;
    }
    Ok(())
}

//! `drydock login`, `logout`, `whoami`.

use std::io::Write;

use drydock_api::rest::{SignIn, WhoAmI};

use super::document;
use super::password::{ask, ask_new, ask_open};
use crate::args::{Connection, LoginArgs, Output};
use crate::client::{Client, Query};
use crate::config::{self, Config};
use crate::failure::Failure;
use crate::text::clean;
use crate::tls::Trust;
use crate::world::World;

/// Tries server and token, then keeps them.
pub async fn login(args: LoginArgs, connection: &Connection, world: &mut World) -> Result<(), Failure> {
    let path = config::path(connection, world)?;
    let mut target = config::target(connection, world)?;
    if let Some(user) = args.user {
        (target.token, target.key) = (None, None);
        target.token = Some(sign_in(user, &Client::new(target.clone())?, world).await?);
    }
    if target.token.is_none() && target.key.is_none() {
        return Err(Failure::Usage(
            "login needs --user NAME, or an access token: --token - reads it from standard input and keeps it out of the shell's history"
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
    writeln!(world.out, "Logged in to {} as {} ({}).", client.server(), clean(&who.name), groups(&who))?;
    Ok(())
}

/// Gets a token with a password. Whoever has to choose another one is asked for it.
async fn sign_in(user: String, client: &Client, world: &mut World) -> Result<String, Failure> {
    let password = ask(&format!("Password of {user}: "), world)?;
    let code = Some(ask_open("Code, if there is a second factor: ", world)?).filter(|code| !code.is_empty());
    let host = world.var("HOSTNAME").unwrap_or("drydock login").to_owned();
    let mut body = SignIn { user, password, code, new_password: None, name: Some(host) };
    match client.sign_in(&body).await {
        Err(Failure::Refused { error, .. }) if error.fields.iter().any(|f| f.field == "newPassword") => {
            writeln!(world.err, "This password is good for one sign-in only: choose another one.")?;
            body.new_password = Some(ask_new(world)?);
            Ok(client.sign_in(&body).await?.secret)
        }
        other => Ok(other?.secret),
    }
}

/// What somebody is in, for people: the role of a token that stands for itself, or the groups.
fn groups(who: &WhoAmI) -> String {
    match who.role.filter(|_| who.groups.len() <= 1) {
        Some(role) => role.as_str().to_owned(),
        None if who.groups.is_empty() => "in no group".to_owned(),
        None => clean(&who.groups.join(", ")),
    }
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
            groups(&who),
            client.server(),
            clean(&who.server_version)
        )?;
    }
    Ok(())
}

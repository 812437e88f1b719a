//! `drydock enrolment`.

use std::io::Write;

use drydock_api::rest::{CreatedProfile, EnrolmentProfile, MoveTo};
use drydock_domain::enrolment::ProfileSpec;
use drydock_domain::source::host::SourcesMode;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::json;

use super::{document, list};
use crate::args::enrolment::{CreateProfileArgs, EnrolmentCommand};
use crate::client::{Client, Query};
use crate::failure::Failure;
use crate::text::clean;
use crate::view;
use crate::world::World;

/// Runs `drydock enrolment`.
pub async fn run(command: EnrolmentCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    match command {
        EnrolmentCommand::Create(args) => create(args, client, world).await,
        EnrolmentCommand::List(args) => {
            let rows = client.list::<EnrolmentProfile>(&["enrolment-profiles"], &Query::new(), args.limit).await?;
            list(&rows, "enrolment profiles", args.output, world, |items| view::enrolment::profiles(items, now))
        }
        EnrolmentCommand::Show(args) => {
            let id = args.profile.to_string();
            let profile: EnrolmentProfile = client.get(&["enrolment-profiles", &id], &Query::new()).await?;
            if !document(&profile, args.output, world)? {
                world.out.write_all(view::enrolment::profile(&profile, now).as_bytes())?;
            }
            Ok(())
        }
        EnrolmentCommand::Move(args) => {
            let to = MoveTo { compartment: args.to.clone() };
            client.act("enrolment-profiles", &args.profile.to_string(), "move", &to).await?;
            Ok(writeln!(world.out, "Hosts that enrol with profile {} land in {} now.", args.profile, clean(&args.to))?)
        }
        EnrolmentCommand::Revoke(args) => {
            client.act("enrolment-profiles", &args.profile.to_string(), "revoke", &json!({})).await?;
            Ok(writeln!(world.out, "Enrolment profile {} is revoked; hosts that it let in stay.", args.profile)?)
        }
    }
}

/// The moment `seconds` from now.
pub fn after(seconds: Option<u64>, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    let Some(seconds) = seconds else { return Ok(None) };
    let end = i64::try_from(seconds).ok().and_then(|s| now.checked_add(SignedDuration::from_secs(s)).ok());
    end.map(Some).ok_or_else(|| Failure::Usage("--expires-in is longer than the calendar".to_owned()))
}

async fn create(args: CreateProfileArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    let body = ProfileSpec {
        display_name: args.name,
        description: args.description,
        expires_at: after(args.expires_in, now)?,
        max_uses: args.max_uses,
        labels: args.labels.into_iter().collect(),
        compartment: args.compartment,
        zone: args.zone,
        auto_accept: args.auto_accept,
        sources_mode: args.sources_mode.map_or_else(SourcesMode::default, SourcesMode::from),
        environment: args.environment,
    };
    let made: CreatedProfile = client.send(Method::POST, &["enrolment-profiles"], &body, &[]).await?;
    if document(&made, args.output, world)? {
        return Ok(());
    }
    world.out.write_all(view::enrolment::profile(&made.profile, now).as_bytes())?;
    writeln!(world.out, "  token        {}", clean(&made.token))?;
    writeln!(world.out, "\nThe token is shown this once. Run on each host, as root:\n\n  {}", clean(&made.command))?;
    if !made.profile.spec.auto_accept {
        writeln!(world.out, "\nHosts wait then for: drydock instance accept HOST")?;
    }
    Ok(())
}

//! `drydock vulnerability except`, `exceptions`, `edit-exception`, `unexcept` and `sla`.

use std::io::Write;

use drydock_api::rest::Page;
use drydock_domain::advisory::exception::{Exception, ExceptionEdit, ExceptionSpec, ScopeSpec};
use drydock_domain::advisory::sla::Sla;
use reqwest::Method;

use super::{document, list};
use crate::args::advisory::{ExceptArgs, ExceptionEditArgs, SlaCommand, UnexceptArgs};
use crate::args::{Format, ListArgs};
use crate::client::{Client, Query, Rows};
use crate::failure::Failure;
use crate::text::clean;
use crate::view::exception as view;
use crate::world::World;

const PATH: &str = "vulnerability-exceptions";

/// Runs `drydock vulnerability except`.
pub async fn except(args: ExceptArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    // clap lets exactly one of them through.
    let scope = match (args.instance, args.group, args.label) {
        (Some(name), _, _) => ScopeSpec::Instance(name),
        (_, Some(name), _) => ScopeSpec::Group(name),
        (_, _, Some((key, value))) => ScopeSpec::Label { key, value },
        _ => ScopeSpec::All {},
    };
    let (owner, compartment) = (args.owner.unwrap_or_default(), args.compartment);
    let spec = ExceptionSpec { cve: args.cve, scope, owner, reason: args.reason, until: args.until, compartment };
    let made: Exception = client.send(Method::POST, &[PATH], &spec, &[]).await?;
    if !document(&made, args.output, world)? {
        world.out.write_all(view::exception(&made).as_bytes())?;
    }
    Ok(())
}

/// Runs `drydock vulnerability exceptions`.
pub async fn list_all(args: ListArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    if args.output.output == Format::Csv {
        return super::advisory::csv(&[PATH], Query::new(), client, world).await;
    }
    let all: Page<Exception> = client.get(&[PATH], &Query::new()).await?;
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    let more = all.items.len() > limit;
    let rows = Rows { items: all.items.into_iter().take(limit).collect(), more };
    list(&rows, "exceptions", args.output, world, view::exceptions)
}

/// Runs `drydock vulnerability edit-exception`.
pub async fn edit(args: ExceptionEditArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let edit = ExceptionEdit { owner: args.owner, reason: args.reason, until: args.until };
    let now: Exception = client.send(Method::PATCH, &[PATH, &args.id], &edit, &[]).await?;
    if !document(&now, args.output, world)? {
        world.out.write_all(view::exception(&now).as_bytes())?;
    }
    Ok(())
}

/// Runs `drydock vulnerability unexcept`.
pub async fn unexcept(args: UnexceptArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    client.delete(&[PATH, &args.id], &[]).await?;
    Ok(writeln!(world.out, "Exception {} is deleted; what it covered counts again.", clean(&args.id))?)
}

/// Runs `drydock vulnerability sla`.
pub async fn sla(command: SlaCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    let (days, output): (Sla, _) = match command {
        SlaCommand::Show(output) => (client.get(&["vulnerability-sla"], &Query::new()).await?, output),
        SlaCommand::Set(args) => {
            let mut days: Sla = client.get(&["vulnerability-sla"], &Query::new()).await?;
            for (field, wanted) in [
                (&mut days.critical, args.critical),
                (&mut days.important, args.important),
                (&mut days.moderate, args.moderate),
                (&mut days.low, args.low),
            ] {
                if let Some(wanted) = wanted {
                    *field = wanted.0;
                }
            }
            days.kev_dates = args.kev_dates.unwrap_or(days.kev_dates);
            (client.send(Method::PUT, &["vulnerability-sla"], &days, &[]).await?, args.output)
        }
    };
    if !document(&days, output, world)? {
        world.out.write_all(view::sla(&days).as_bytes())?;
    }
    Ok(())
}

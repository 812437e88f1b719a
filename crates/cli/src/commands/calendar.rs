//! `drydock window`, `drydock freeze` and `drydock reboot-slot`.

use std::io::Write;

use comfy_table::Table;
use drydock_api::rest::{FreezeCalendarView, MaintenanceWindowView, MoveTo, RebootSlotGroup, ReleaseSlot};
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{document, print_table};
use crate::args::Output;
use crate::args::calendar::{FreezeCommand, MoveNamedArgs, RebootSlotCommand, WindowCommand};
use crate::calendar_spec;
use crate::client::{Client, Query};
use crate::failure::Failure;
use crate::text::clean;
use crate::view::calendar as view;
use crate::world::World;

const WINDOWS: &str = "maintenance-windows";
const FREEZES: &str = "freeze-calendars";
const SLOTS: &str = "reboot-slot-groups";

/// Runs `drydock window`.
pub async fn window(command: WindowCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    match command {
        WindowCommand::Create(args) => {
            let spec = calendar_spec::window(&args, world)?;
            let made: MaintenanceWindowView = client.send(Method::POST, &[WINDOWS], &spec, &[]).await.map_err(of_window)?;
            show(&made, args.output, world, |w| view::window(w, now))
        }
        WindowCommand::Edit(args) => {
            let spec = calendar_spec::window(&args, world)?;
            let now_is: MaintenanceWindowView =
                client.send(Method::PUT, &[WINDOWS, &args.name], &spec, &[]).await.map_err(of_window)?;
            show(&now_is, args.output, world, |w| view::window(w, now))
        }
        WindowCommand::List(output) => {
            list::<MaintenanceWindowView>(WINDOWS, output, client, world, |all| view::windows(all, now)).await
        }
        WindowCommand::Show(args) => {
            let found: MaintenanceWindowView = client.get(&[WINDOWS, &args.name], &Query::new()).await?;
            show(&found, args.output, world, |w| view::window(w, now))
        }
        WindowCommand::Delete(args) => delete(WINDOWS, "Window", &args.name, client, world).await,
        WindowCommand::Move(args) => moved(WINDOWS, "Window", &args, client, world).await,
    }
}

/// A window's duration has a flag of its own: `--duration` is a job's.
fn of_window(failure: Failure) -> Failure {
    match failure {
        Failure::Refused { mut error, role } => {
            error.fields.iter_mut().filter(|f| f.field == "durationSecs").for_each(|f| f.field += " (--for)");
            // The message repeats its fields for programs.
            error.message = error.message.replacen("durationSecs: ", "durationSecs (--for): ", 1);
            Failure::Refused { error, role }
        }
        other => other,
    }
}

/// Runs `drydock freeze`.
pub async fn freeze(command: FreezeCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    match command {
        FreezeCommand::Create(args) => {
            let spec = calendar_spec::freeze(&args, world)?;
            let made: FreezeCalendarView = client.send(Method::POST, &[FREEZES], &spec, &[]).await?;
            show(&made, args.output, world, |f| view::freeze(f, now))
        }
        FreezeCommand::Edit(args) => {
            let spec = calendar_spec::freeze(&args, world)?;
            let now_is: FreezeCalendarView = client.send(Method::PUT, &[FREEZES, &args.name], &spec, &[]).await?;
            show(&now_is, args.output, world, |f| view::freeze(f, now))
        }
        FreezeCommand::List(output) => {
            list::<FreezeCalendarView>(FREEZES, output, client, world, |all| view::freezes(all, now)).await
        }
        FreezeCommand::Show(args) => {
            let found: FreezeCalendarView = client.get(&[FREEZES, &args.name], &Query::new()).await?;
            show(&found, args.output, world, |f| view::freeze(f, now))
        }
        FreezeCommand::Delete(args) => delete(FREEZES, "Freeze calendar", &args.name, client, world).await,
        FreezeCommand::Move(args) => moved(FREEZES, "Freeze calendar", &args, client, world).await,
    }
}

/// Runs `drydock reboot-slot`.
pub async fn reboot_slot(command: RebootSlotCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    match command {
        RebootSlotCommand::Create(args) => {
            let spec = calendar_spec::reboot_slots(&args, world)?;
            let made: RebootSlotGroup = client.send(Method::POST, &[SLOTS], &spec, &[]).await?;
            show(&made, args.output, world, |g| view::slot_group(g, now))
        }
        RebootSlotCommand::Edit(args) => {
            let spec = calendar_spec::reboot_slots(&args, world)?;
            let now_is: RebootSlotGroup = client.send(Method::PUT, &[SLOTS, &args.name], &spec, &[]).await?;
            show(&now_is, args.output, world, |g| view::slot_group(g, now))
        }
        RebootSlotCommand::List(output) => list::<RebootSlotGroup>(SLOTS, output, client, world, view::slot_groups).await,
        RebootSlotCommand::Show(args) => {
            let found: RebootSlotGroup = client.get(&[SLOTS, &args.name], &Query::new()).await?;
            show(&found, args.output, world, |g| view::slot_group(g, now))
        }
        RebootSlotCommand::Release(args) => {
            let ask = ReleaseSlot { instance: args.host.clone() };
            client.act(SLOTS, &args.name, "release", &ask).await?;
            writeln!(world.out, "{} holds no slot of group {} any more.", clean(&args.host), clean(&args.name))?;
            Ok(())
        }
        RebootSlotCommand::Delete(args) => delete(SLOTS, "Group of reboot slots", &args.name, client, world).await,
        RebootSlotCommand::Move(args) => moved(SLOTS, "Group of reboot slots", &args, client, world).await,
    }
}

/// Puts a thing into another compartment.
pub(super) async fn moved(
    collection: &str,
    what: &str,
    args: &MoveNamedArgs,
    client: &Client,
    world: &mut World,
) -> Result<(), Failure> {
    client.act(collection, &args.name, "move", &MoveTo { compartment: args.to.clone() }).await?;
    Ok(writeln!(world.out, "{what} {} lies in {} now.", clean(&args.name), clean(&args.to))?)
}

fn show<T: Serialize>(one: &T, output: Output, world: &mut World, page: impl Fn(&T) -> String) -> Result<(), Failure> {
    if document(one, output, world)? {
        return Ok(());
    }
    Ok(world.out.write_all(page(one).as_bytes())?)
}

async fn list<T: Serialize + DeserializeOwned>(
    noun: &str,
    output: Output,
    client: &Client,
    world: &mut World,
    rows: impl Fn(&[T]) -> Table,
) -> Result<(), Failure> {
    let all: Vec<T> = client.get(&[noun], &Query::new()).await?;
    if document(&all, output, world)? {
        return Ok(());
    }
    print_table(rows(&all), world)
}

async fn delete(noun: &str, what: &str, name: &str, client: &Client, world: &mut World) -> Result<(), Failure> {
    client.delete(&[noun, name], &[]).await?;
    writeln!(world.out, "{what} {} is deleted.", clean(name))?;
    Ok(())
}

//! One file per noun: read what is needed, call the server, print. Absent on purpose: HTTP (`client`), tables (`view`).

mod access;
mod advisory;
mod api_key;
mod approval;
mod audit;
mod calendar;
mod compartment;
mod compliance;
mod content_job;
mod deployment;
mod enrolment;
mod environment;
mod exception;
mod follow;
mod group;
mod instance;
mod login;
mod package;
mod password;
mod patch;
mod policy;
mod screen;
mod secret;
mod source;
mod statement;
mod tools;
mod undo;
mod user;

use std::io::{BufRead, BufReader, Read, Write};

use comfy_table::Table;
use serde::Serialize;

use crate::args::{Cli, Command, Connection, Format, Output};
use crate::client::{Client, Rows};
use crate::config;
use crate::failure::{Ending, Failure};
use crate::text::{csv, render};
use crate::world::World;

/// Longest answer to a question, bytes.
const ANSWER_MAX_BYTES: usize = 64;

/// Does what the command line says.
pub async fn dispatch(cli: Cli, world: &mut World) -> Result<Ending, Failure> {
    let connection = cli.connection;
    match cli.command {
        Command::Login(args) => login::login(args, &connection, world).await?,
        Command::Logout => login::logout(&connection, world)?,
        Command::Whoami(output) => login::whoami(&connect(&connection, world)?, output, world).await?,
        Command::Instance(command) => instance::run(command, &connect(&connection, world)?, world).await?,
        Command::Package(command) => package::run(command, &connect(&connection, world)?, world).await?,
        Command::Group(command) => group::run(command, &connect(&connection, world)?, world).await?,
        Command::Enrolment(command) => enrolment::run(command, &connect(&connection, world)?, world).await?,
        Command::Patch(command) => return patch::run(*command, &connection, world).await,
        Command::Deployment(command) => return deployment::run(command, &connect(&connection, world)?, world).await,
        Command::Window(command) => calendar::window(command, &connect(&connection, world)?, world).await?,
        Command::Freeze(command) => calendar::freeze(command, &connect(&connection, world)?, world).await?,
        Command::RebootSlot(command) => calendar::reboot_slot(command, &connect(&connection, world)?, world).await?,
        Command::Source(command) => return source::run(command, &connect(&connection, world)?, world).await,
        Command::Snapshot(command) => source::snapshot(command, &connect(&connection, world)?, world).await?,
        Command::Environment(command) => environment::run(command, &connect(&connection, world)?, world).await?,
        Command::Job(command) => return content_job::run(command, &connect(&connection, world)?, world).await,
        Command::Content(command) => content_job::content(command, &connect(&connection, world)?, world).await?,
        Command::Advisory(command) => advisory::run(command, &connect(&connection, world)?, world).await?,
        Command::Vulnerability(command) => advisory::vulnerability(command, &connect(&connection, world)?, world).await?,
        Command::Policy(command) => return policy::run(*command, &connection, world).await,
        Command::Compliance(command) => compliance::run(command, &connect(&connection, world)?, world).await?,
        Command::Secret(command) => secret::run(command, &connect(&connection, world)?, world).await?,
        Command::Compartment(command) => compartment::run(command, &connect(&connection, world)?, world).await?,
        Command::Approval(command) => approval::run(command, &connect(&connection, world)?, world).await?,
        Command::DynamicGroup(command) => compartment::dynamic_group(command, &connect(&connection, world)?, world).await?,
        Command::User(command) => user::run(command, &connect(&connection, world)?, world).await?,
        Command::UserGroup(command) => user::group(command, &connect(&connection, world)?, world).await?,
        Command::Session(command) => user::session(command, &connect(&connection, world)?, world).await?,
        Command::Access(command) => access::run(command, &connection, world).await?,
        Command::Audit(command) => return audit::run(command, &connection, world).await,
        Command::Tools(command) => tools::run(command, world)?,
        Command::Completions(args) => tools::completions(args.shell, world)?,
        Command::Version => writeln!(world.out, "drydock {}", env!("CARGO_PKG_VERSION"))?,
    }
    Ok(Ending::Done)
}

fn connect(connection: &Connection, world: &mut World) -> Result<Client, Failure> {
    Client::new(config::target(connection, world)?)
}

/// Prints a document for programs; `false` when a table is wanted.
fn document<T: Serialize>(value: &T, output: Output, world: &mut World) -> Result<bool, Failure> {
    let unprintable = |e: &dyn std::fmt::Display| Failure::Usage(format!("the answer cannot be printed: {e}"));
    let text = match output.output {
        Format::Table => return Ok(false),
        Format::Json => serde_json::to_string_pretty(value).map_err(|e| unprintable(&e))?,
        Format::Yaml => serde_saphyr::to_string(value).map_err(|e| unprintable(&e))?,
        Format::Csv => match serde_json::to_value(value).map_err(|e| unprintable(&e))? {
            serde_json::Value::Array(rows) => csv(&rows),
            _ => return Err(Failure::Usage("csv is for lists; this is one document, ask for json or yaml".to_owned())),
        },
    };
    writeln!(world.out, "{}", text.trim_end())?;
    Ok(true)
}

/// Prints a list: a document, or a table with a note when there is nothing or more.
fn list<T: Serialize>(
    rows: &Rows<T>,
    what: &str,
    output: Output,
    world: &mut World,
    table: impl FnOnce(&[T]) -> Table,
) -> Result<(), Failure> {
    if !document(&rows.items, output, world)? {
        if rows.items.is_empty() {
            writeln!(world.err, "no {what}")?;
        } else {
            print_table(table(&rows.items), world)?;
        }
    }
    if rows.more {
        world.out.flush()?;
        writeln!(world.err, "more {what} exist; --limit 0 shows all")?;
    }
    Ok(())
}

fn print_table(table: Table, world: &mut World) -> Result<(), Failure> {
    let colour = world.colour_out();
    Ok(world.out.write_all(render(table, 0, colour).as_bytes())?)
}

/// Asks; anything but yes is no.
fn agreed(question: &str, world: &mut World) -> Result<bool, Failure> {
    write!(world.err, "{question} [y/N] ")?;
    world.err.flush()?;
    let mut answer = String::new();
    let mut input = BufReader::with_capacity(ANSWER_MAX_BYTES, world.input.by_ref()).take(ANSWER_MAX_BYTES as u64);
    input.read_line(&mut answer).map_err(|e| Failure::Usage(format!("cannot read the answer: {e}; --yes does not ask")))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

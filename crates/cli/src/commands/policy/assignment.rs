//! Assignments on the server: applied, listed, shown, taken away.

use std::io::Write;

use drydock_api::rest::{AppliedAssignment, PolicyAssignment, PolicyHost, PolicyRevision, PolicyRevisionDiff};
use drydock_domain::policy::OsPolicyAssignment;
use reqwest::Method;
use serde::Serialize;

use super::follow::{Followed, follow};
use crate::args::policy::{ApplyArgs, DeleteAssignmentArgs, DiffArgs, RevisionsArgs, ShowAssignmentArgs};
use crate::args::{Format, ListArgs, Output};
use crate::client::{Client, Query};
use crate::commands::{agreed, document, list, print_table};
use crate::failure::{Ending, Failure};
use crate::text::{clean, clean_lines, plural};
use crate::view::policy as view;
use crate::world::World;

/// The noun of the API.
pub const ASSIGNMENTS: &str = "policy-assignments";

/// What `-o json` and `-o yaml` print of an assignment.
#[derive(Serialize)]
struct AssignmentDocument<'a> {
    #[serde(flatten)]
    assignment: &'a PolicyAssignment,
    instances: &'a [PolicyHost],
}

/// `policy apply`.
pub async fn apply(
    given: Vec<(String, OsPolicyAssignment)>,
    args: &ApplyArgs,
    client: &Client,
    world: &mut World,
) -> Result<Ending, Failure> {
    let mut query = Query::new();
    query.extend(args.dry_run.then(|| ("dryRun", "true".to_owned())));
    query.extend((!args.reason.is_empty()).then(|| ("reason", args.reason.clone())));
    query.extend(args.compartment.clone().map(|path| ("compartment", path)));
    let mut done: Vec<AppliedAssignment> = Vec::new();
    for (name, assignment) in &given {
        // Makes it where there is none.
        match client.submit::<_, AppliedAssignment>(Method::PUT, &[ASSIGNMENTS, name], &query, assignment).await {
            Ok(applied) => {
                if args.output.output == Format::Table {
                    world.out.write_all(view::applied(name, &applied).as_bytes())?;
                    world.out.flush()?;
                }
                done.push(applied);
            }
            Err(failure) => {
                if !done.is_empty() && !args.dry_run {
                    writeln!(world.err, "{} of {} were applied before this:", done.len(), plural(given.len(), "assignment"))?;
                }
                writeln!(world.err, "assignment {}:", clean(name))?;
                return Err(failure);
            }
        }
    }
    let mut ending = Ending::Done;
    if args.wait {
        for (i, (name, _)) in given.iter().enumerate() {
            match wait(name, client, world).await? {
                (Ending::Left, _) => return Ok(Ending::Left),
                (own, now) => {
                    ending = if own == Ending::Done { ending } else { own };
                    if let Some(applied) = done.get_mut(i) {
                        applied.assignment = now.or(applied.assignment.take());
                    }
                }
            }
        }
    }
    document(&done, args.output, world)?;
    Ok(ending)
}

/// Follows a rollout and says how it ended.
async fn wait(name: &str, client: &Client, world: &mut World) -> Result<(Ending, Option<PolicyAssignment>), Failure> {
    match follow(client, name, world).await? {
        Followed::Left => {
            writeln!(world.err, "left; the rollout goes on, look again: drydock policy show {} --watch", clean(name))?;
            Ok((Ending::Left, None))
        }
        Followed::Gone => {
            writeln!(world.err, "Assignment {} is gone from every host.", clean(name))?;
            Ok((Ending::Done, None))
        }
        Followed::Over(now) => {
            writeln!(world.err, "{}", view::ended(&now))?;
            let good = now.rollout.state == drydock_api::rest::RolloutState::Succeeded;
            Ok((if good { Ending::Done } else { Ending::JobFailed }, Some(*now)))
        }
    }
}

/// `policy list`.
pub async fn list_all(args: ListArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    let rows = client.list::<PolicyAssignment>(&[ASSIGNMENTS], &Query::new(), args.limit).await?;
    list(&rows, "assignments", args.output, world, |items| view::assignments(items, now))
}

/// `policy show`.
pub async fn show(args: ShowAssignmentArgs, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    let mut ending = Ending::Done;
    if args.watch {
        ending = wait(&args.name, client, world).await?.0;
        if ending == Ending::Left {
            return Ok(ending);
        }
    }
    let found: PolicyAssignment = client.get(&[ASSIGNMENTS, &args.name], &Query::new()).await?;
    if args.document {
        let written = found.document.as_ref().ok_or_else(|| Failure::Usage("the server gave no document".to_owned()))?;
        let output = if args.output.output == Format::Table { Format::Yaml } else { args.output.output };
        document(written, Output { output }, world)?;
        return Ok(ending);
    }
    let hosts = client.list::<PolicyHost>(&[ASSIGNMENTS, &args.name, "instances"], &Query::new(), args.limit).await?;
    if !document(&AssignmentDocument { assignment: &found, instances: &hosts.items }, args.output, world)? {
        let now = (world.now)();
        let colour = world.colour_out();
        world.out.write_all(view::assignment(&found, now, colour).as_bytes())?;
        if !hosts.items.is_empty() {
            writeln!(world.out)?;
            print_table(view::hosts(&hosts.items, now), world)?;
        }
    }
    if hosts.more {
        world.out.flush()?;
        writeln!(world.err, "more hosts exist; --limit 0 shows all")?;
    }
    Ok(ending)
}

/// `policy revisions`.
pub async fn revisions(args: RevisionsArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    let path = [ASSIGNMENTS, &args.name, "revisions"];
    let rows = client.list::<PolicyRevision>(&path, &Query::new(), args.list.limit).await?;
    list(&rows, "revisions", args.list.output, world, |items| view::revisions(items, now))
}

/// `policy diff`.
pub async fn diff(args: DiffArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let newest = async || -> Result<u64, Failure> {
        Ok(client.get::<PolicyAssignment>(&[ASSIGNMENTS, &args.name], &Query::new()).await?.revision)
    };
    let (from, to) = match (args.from, args.to) {
        (from, Some(to)) => (from, to),
        (from, None) => (from, newest().await?),
    };
    if from.is_none() && to < 2 {
        return Err(Failure::Usage(format!("{} has one revision; there is nothing to compare it with", clean(&args.name))));
    }
    let query: Query<'_> = from.map(|from| ("with", from.to_string())).into_iter().collect();
    let path = [ASSIGNMENTS, &args.name, "revisions", &to.to_string(), "diff"];
    let found: PolicyRevisionDiff = client.get(&path, &query).await?;
    if document(&found, args.output, world)? {
        return Ok(());
    }
    if found.text.is_empty() {
        return Ok(writeln!(world.out, "revisions {} and {} are equal", found.from, found.to)?);
    }
    for line in clean_lines(&found.text) {
        writeln!(world.out, "{line}")?;
    }
    Ok(())
}

/// `policy delete`.
pub async fn delete(args: DeleteAssignmentArgs, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    let found: PolicyAssignment = client.get(&[ASSIGNMENTS, &args.name], &Query::new()).await?;
    let progress = &found.rollout;
    let hosts = plural((progress.pending + progress.changing + progress.done) as usize, "host");
    if !args.yes && !agreed(&format!("Take assignment {} away from {hosts}?", clean(&args.name)), world)? {
        writeln!(world.err, "nothing was done")?;
        return Ok(Ending::Left);
    }
    client.delete(&[ASSIGNMENTS, &args.name], &[]).await?;
    writeln!(world.out, "Assignment {} is taken away from {hosts}; then it is gone.", clean(&args.name))?;
    if args.wait { Ok(wait(&args.name, client, world).await?.0) } else { Ok(Ending::Done) }
}

/// `policy cancel` and `policy resume`.
pub async fn steer(name: &str, verb: &str, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now: PolicyAssignment =
        client.send(Method::POST, &[ASSIGNMENTS, &format!("{name}:{verb}")], &serde_json::json!({}), &[]).await?;
    Ok(writeln!(world.out, "{}", view::headline(&now))?)
}

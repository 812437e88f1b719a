//! `drydock patch`.

use std::io::Write;

use drydock_api::rest::{
    ApprovePatchJob, CancelPatchJob, HaltPatchJob, MatchInstances, MatchedInstances, PatchJob, PatchTask, PatchTaskDetail,
    RerunPatchJob, ResumePatchJob,
};
use drydock_domain::ids::JobId;
use drydock_domain::patch::job::JobState;
use drydock_domain::patch::spec::PatchJobSpec;
use drydock_domain::rollout::RolloutPlan;
use futures::{StreamExt, TryStreamExt};
use reqwest::Method;
use serde::Serialize;
use uuid::Uuid;

use super::follow::{Followed, follow, read};
use super::{connect, document, list};
use crate::args::patch::{CancelArgs, PatchCommand, PatchListArgs, PlansArgs, RerunArgs, ShowArgs, StartArgs};
use crate::args::{Connection, Output};
use crate::client::{Client, Query};
use crate::failure::{Ending, Failure};
use crate::progress::Picture;
use crate::spec;
use crate::text::{clean, plural};
use crate::view;
use crate::world::World;

/// Hosts whose packages `patch show` prints unasked.
const HOSTS_WITH_PACKAGES: usize = 20;
/// Task reports read at the same time.
const READS_AT_ONCE: usize = 8;

/// What `-o json` and `-o yaml` print of a job.
#[derive(Serialize)]
struct JobDocument<'a, T> {
    job: &'a PatchJob,
    tasks: &'a [T],
}

/// Runs `drydock patch`.
pub async fn run(command: PatchCommand, connection: &Connection, world: &mut World) -> Result<Ending, Failure> {
    match command {
        PatchCommand::Plan(args) => {
            let spec = spec::build(&args.spec, true, world)?;
            if args.list_hosts {
                return list_hosts(spec, args.start.output, &connect(connection, world)?, world).await;
            }
            start(spec, args.start, &connect(connection, world)?, world).await
        }
        PatchCommand::Run(args) => {
            let spec = spec::build(&args.spec, args.dry_run, world)?;
            if args.list_hosts {
                return list_hosts(spec, args.start.output, &connect(connection, world)?, world).await;
            }
            start(spec, args.start, &connect(connection, world)?, world).await
        }
        PatchCommand::List(args) => list_all(args, &connect(connection, world)?, world).await,
        PatchCommand::Show(args) => show(args, &connect(connection, world)?, world).await,
        PatchCommand::Cancel(args) => cancel(args, &connect(connection, world)?, world).await,
        PatchCommand::Rerun(args) => rerun(args, &connect(connection, world)?, world).await,
        PatchCommand::Pause(args) => steer(args.job, "pause", &Nothing {}, "Paused", &connect(connection, world)?, world).await,
        PatchCommand::Resume(args) => {
            let ask = ResumePatchJob { rollout: spec::rollout_alone(&args.rollout, world)? };
            steer(args.job, "resume", &ask, "Resumed", &connect(connection, world)?, world).await
        }
        PatchCommand::Halt(args) => {
            let ask = HaltPatchJob { reason: args.reason };
            steer(args.job, "halt", &ask, "Halted", &connect(connection, world)?, world).await
        }
        PatchCommand::Abort(args) => steer(args.job, "abort", &Nothing {}, "Aborting", &connect(connection, world)?, world).await,
        PatchCommand::Approve(args) => {
            let ask = ApprovePatchJob { wave: args.wave };
            steer(args.job, "approve", &ask, "Approved", &connect(connection, world)?, world).await
        }
        PatchCommand::Undo(args) => super::undo::undo(args, &connect(connection, world)?, world).await,
        PatchCommand::Bars(command) => super::undo::bars(command, &connect(connection, world)?, world).await,
        PatchCommand::Report(args) => {
            let client = connect(connection, world)?;
            let query = vec![("format", args.format.as_str().to_owned())];
            let text = client.text(&["patch-jobs", &args.job.to_string(), "report"], &query).await?;
            Ok(world.out.write_all(text.as_bytes()).map(|()| Ending::Done)?)
        }
        PatchCommand::Plans(args) => plans(args, &connect(connection, world)?, world).await,
    }
}

/// Prints whom a job would reach; nothing is started.
async fn list_hosts(spec: PatchJobSpec, output: Output, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    let ask = MatchInstances { instance_filter: spec.instance_filter, compartment: spec.compartment };
    let found: MatchedInstances = client.send(Method::POST, &["instances:match"], &ask, &[]).await?;
    if !document(&found, output, world)? {
        for host in &found.instances {
            writeln!(world.out, "{}", clean(&host.name))?;
        }
        world.out.flush()?;
        let total = usize::try_from(found.total).unwrap_or(usize::MAX);
        let first =
            if total > found.instances.len() { format!(", the first {} by name", found.instances.len()) } else { String::new() };
        writeln!(world.err, "{}{first}", plural(total, "host"))?;
        not_patchable(found.not_patchable, world)?;
    }
    Ok(Ending::Done)
}

/// Says what a filter chooses besides, and the caller may not patch.
fn not_patchable(hosts: u64, world: &mut World) -> Result<(), Failure> {
    if hosts > 0 {
        let hosts = plural(usize::try_from(hosts).unwrap_or(usize::MAX), "more host");
        writeln!(world.err, "{hosts} match that you may see and not patch; left out")?;
    }
    Ok(())
}

/// An ended job once more, for the hosts that need it. The server makes it, however many they are.
async fn rerun(args: RerunArgs, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    let key = args.start.idempotency_key.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
    let headers = [("Idempotency-Key", key.clone())];
    let path = ["patch-jobs", &format!("{}:rerun", args.job)];
    let ask = RerunPatchJob { all_hosts: args.all_hosts };
    let sent: Result<PatchJob, Failure> = client.send(Method::POST, &path, &ask, &headers).await;
    follow_started(&sent.map_err(|failure| unknown_start(failure, &key))?, args.start, client, world).await
}

async fn start(spec: PatchJobSpec, args: StartArgs, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    // With a key of our own a person who was cut off can start again without starting twice.
    let key = args.idempotency_key.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
    let headers = [("Idempotency-Key", key.clone())];
    let sent: Result<PatchJob, Failure> = client.send(Method::POST, &["patch-jobs"], &spec, &headers).await;
    follow_started(&sent.map_err(|failure| unknown_start(failure, &key))?, args, client, world).await
}

/// A start that may have happened says how to find out.
pub(super) fn unknown_start(failure: Failure, key: &str) -> Failure {
    match failure {
        Failure::Unreachable(text) => Failure::Unreachable(format!(
            "{text}\n  whether the job was started is not known; the same command with --idempotency-key {key} starts it at most once"
        )),
        other => other,
    }
}

/// Follows a job that was started just now, or prints its id.
pub(super) async fn follow_started(
    job: &PatchJob,
    args: StartArgs,
    client: &Client,
    world: &mut World,
) -> Result<Ending, Failure> {
    not_patchable(job.not_patchable.unwrap_or(0), world)?;
    if args.no_wait {
        if !document(job, args.output, world)? {
            writeln!(world.out, "{}", job.id)?;
            writeln!(world.err, "started; look: drydock patch show {}", job.id)?;
        }
        return Ok(Ending::Done);
    }
    let picture = match follow(client, job.id, world).await? {
        Followed::Final(picture) => picture,
        Followed::Left => return left(job.id, world),
    };
    if job.spec.dry_run {
        let details = details(client, picture.by_name()).await?;
        print_packages(&picture, &details, false, args.output, world)?;
    } else {
        print_summary(&picture, args.output, world)?;
        if args.output.output == crate::args::Format::Table {
            world.out.flush()?;
            writeln!(world.err, "packages and outputs: drydock patch show {}", job.id)?;
        }
    }
    Ok(ending(picture.job.state))
}

fn ending(state: JobState) -> Ending {
    if state == JobState::Succeeded { Ending::Done } else { Ending::JobFailed }
}

fn left(job: JobId, world: &mut World) -> Result<Ending, Failure> {
    writeln!(
        world.err,
        "\nLeft; the job goes on.\n  look again   drydock patch show {job} --follow\n  stop it      drydock patch cancel {job}"
    )?;
    Ok(Ending::Left)
}

async fn list_all(args: PatchListArgs, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    let now = (world.now)();
    let mut query = Query::new();
    query.extend(args.state.map(|v| ("state", v)));
    if let Some(host) = &args.instance {
        query.push(("instance", super::instance::find(host, client).await?.id.to_string()));
    }
    query.extend(args.deployment.map(|v| ("patchDeployment", v)));
    let rows = client.list::<PatchJob>(&["patch-jobs"], &query, args.list.limit).await?;
    list(&rows, "patch jobs", args.list.output, world, |items| view::patch::jobs(items, now))?;
    Ok(Ending::Done)
}

async fn show(args: ShowArgs, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    let picture = if args.follow {
        match follow(client, args.job, world).await? {
            Followed::Final(picture) => *picture,
            Followed::Left => return left(args.job, world),
        }
    } else {
        read(client, args.job).await?
    };
    let mut tasks = picture.by_name();
    if !args.hosts.is_empty() {
        tasks = of_hosts(tasks, &args.hosts, args.job)?;
    }
    let few = tasks.len() <= HOSTS_WITH_PACKAGES;
    if args.summary || !(few || args.packages || !args.hosts.is_empty()) {
        print_summary(&picture, args.output, world)?;
        if !args.summary {
            world.out.flush()?;
            writeln!(world.err, "{} hosts: --host NAME shows the packages of one, --packages of all", tasks.len())?;
        }
    } else {
        let details = details(client, tasks).await?;
        print_packages(&picture, &details, args.step_output, args.output, world)?;
    }
    Ok(if args.follow { ending(picture.job.state) } else { Ending::Done })
}

/// The tasks of the named hosts; a name that is not in the job is a mistake to tell.
fn of_hosts<'a>(tasks: Vec<&'a PatchTask>, hosts: &[String], job: JobId) -> Result<Vec<&'a PatchTask>, Failure> {
    let is = |t: &PatchTask, host: &str| t.instance_name == host || t.instance.to_string() == host;
    if let Some(missing) = hosts.iter().find(|h| !tasks.iter().any(|t| is(t, h))) {
        return Err(Failure::Usage(format!(
            "patch job {job} has no host {missing:?}; drydock patch show {job} --summary lists them"
        )));
    }
    Ok(tasks.into_iter().filter(|t| hosts.iter().any(|h| is(t, h))).collect())
}

/// Reads the tasks with their reports, in the same order.
async fn details(client: &Client, tasks: Vec<&PatchTask>) -> Result<Vec<PatchTaskDetail>, Failure> {
    let reads = tasks.into_iter().map(|task| {
        let (job, id) = (task.job.to_string(), task.id.to_string());
        async move { client.get::<PatchTaskDetail>(&["patch-jobs", &job, "tasks", &id], &Query::new()).await }
    });
    futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await
}

fn print_summary(picture: &Picture, output: Output, world: &mut World) -> Result<(), Failure> {
    let tasks: Vec<PatchTask> = picture.by_name().into_iter().cloned().collect();
    if document(&JobDocument { job: &picture.job, tasks: &tasks }, output, world)? {
        return Ok(());
    }
    let (now, colour) = ((world.now)(), world.colour_out());
    Ok(world.out.write_all(view::patch::summary(picture, now, colour).as_bytes())?)
}

fn print_packages(
    picture: &Picture,
    details: &[PatchTaskDetail],
    step_output: bool,
    output: Output,
    world: &mut World,
) -> Result<(), Failure> {
    if document(&JobDocument { job: &picture.job, tasks: details }, output, world)? {
        return Ok(());
    }
    let (now, colour) = ((world.now)(), world.colour_out());
    let mut text = view::patch::job(&picture.job, now, colour);
    for detail in details {
        text.push('\n');
        text += &view::patch::host(detail, now, step_output, colour);
    }
    Ok(world.out.write_all(text.as_bytes())?)
}

async fn cancel(args: CancelArgs, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    let id = args.job.to_string();
    client.act("patch-jobs", &id, "cancel", &CancelPatchJob { kill: args.kill }).await?;
    let how = if args.kill { "hosts end what runs, repair and report" } else { "hosts stop before their next step" };
    writeln!(world.out, "Cancelling {}: {how}.", clean(&id))?;
    writeln!(world.err, "follow it: drydock patch show {id} --follow")?;
    Ok(Ending::Done)
}

/// The body of a verb that takes none.
#[derive(Serialize)]
struct Nothing {}

/// Does something to a job under way and says how it stands after that.
async fn steer<B: Serialize>(
    job: JobId,
    verb: &str,
    body: &B,
    done: &str,
    client: &Client,
    world: &mut World,
) -> Result<Ending, Failure> {
    let after: PatchJob = client.send(Method::POST, &["patch-jobs", &format!("{job}:{verb}")], body, &[]).await?;
    writeln!(world.out, "{done} {job}.")?;
    world.out.flush()?;
    if let Some(rollout) = &after.rollout {
        world.err.write_all(view::rollout::lines(rollout, (world.now)()).as_bytes())?;
    }
    writeln!(world.err, "look: drydock patch show {job} --summary")?;
    Ok(Ending::Done)
}

async fn plans(args: PlansArgs, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    let plans: Vec<RolloutPlan> = client.get(&["patch-jobs", &args.job.to_string(), "plans"], &Query::new()).await?;
    if document(&plans, args.output, world)? {
        return Ok(Ending::Done);
    }
    let (now, colour) = ((world.now)(), world.colour_out());
    let pages: Vec<String> = plans.iter().map(|plan| view::rollout::plan(plan, now, colour)).collect();
    Ok(world.out.write_all(pages.join("\n").as_bytes()).map(|()| Ending::Done)?)
}

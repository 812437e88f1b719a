//! `drydock deployment`.

use std::io::Write;

use drydock_api::rest::{PatchDeployment, PatchExecution, PatchJob, SkipNextRun};
use reqwest::Method;
use serde::Serialize;
use uuid::Uuid;

use super::patch::{follow_started, unknown_start};
use super::{document, list, print_table};
use crate::args::Output;
use crate::args::deployment::{DeploymentArgs, DeploymentCommand, RunDeploymentArgs, ShowDeploymentArgs};
use crate::client::{Client, Query};
use crate::deployment_spec;
use crate::failure::{Ending, Failure};
use crate::text::{ago, clean};
use crate::view;
use crate::world::World;

/// What `-o json` and `-o yaml` print of a deployment.
#[derive(Serialize)]
struct DeploymentDocument<'a> {
    #[serde(flatten)]
    deployment: &'a PatchDeployment,
    executions: &'a [PatchExecution],
}

/// Runs `drydock deployment`.
pub async fn run(command: DeploymentCommand, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    match command {
        DeploymentCommand::Create(args) => create(&args, client, world).await?,
        DeploymentCommand::Edit(args) => edit(&args, client, world).await?,
        DeploymentCommand::List(args) => {
            let now = (world.now)();
            let rows = client.list::<PatchDeployment>(&["deployments"], &Query::new(), args.limit).await?;
            list(&rows, "patch deployments", args.output, world, |items| view::deployment::deployments(items, now))?;
        }
        DeploymentCommand::Show(args) => show(&args, client, world).await?,
        DeploymentCommand::Pause(args) => {
            client.act("deployments", &args.name, "pause", &serde_json::json!({})).await?;
            writeln!(world.out, "{} is paused: runs that are due are left out.", clean(&args.name))?;
            writeln!(world.err, "jobs that were started go on; let it run again: drydock deployment resume {}", args.name)?;
        }
        DeploymentCommand::Resume(args) => {
            let now: PatchDeployment = act(client, &args.name, "resume", &serde_json::json!({})).await?;
            writeln!(world.out, "{} runs again: {}.", clean(&args.name), next(&now, world))?;
        }
        DeploymentCommand::Run(args) => return start(args, client, world).await,
        DeploymentCommand::SkipNext(args) => skip_next(&args.name, client, world).await?,
        DeploymentCommand::Move(args) => super::calendar::moved("deployments", "Deployment", &args, client, world).await?,
        DeploymentCommand::Delete(args) => {
            client.delete(&["deployments", &args.name], &[]).await?;
            writeln!(world.out, "Deployment {} is deleted; its jobs stay.", clean(&args.name))?;
        }
    }
    Ok(Ending::Done)
}

async fn act(client: &Client, name: &str, verb: &str, body: &impl Serialize) -> Result<PatchDeployment, Failure> {
    client.send(Method::POST, &["deployments", &format!("{name}:{verb}")], body, &[]).await
}

fn next(deployment: &PatchDeployment, world: &World) -> String {
    match deployment.next_execute_time {
        Some(at) => {
            let when = view::deployment::local(at, deployment);
            format!("the next run is {when} ({})", ago(at, (world.now)()))
        }
        None => "no run is due any more".to_owned(),
    }
}

async fn create(args: &DeploymentArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let spec = deployment_spec::build(args, world)?;
    let made: PatchDeployment = client.send(Method::POST, &["deployments"], &spec, &[]).await?;
    told(&made, "is made", args.output, world)
}

async fn edit(args: &DeploymentArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let spec = deployment_spec::build(args, world)?;
    let edited: PatchDeployment = client.send(Method::PUT, &["deployments", &args.deployment], &spec, &[]).await?;
    told(&edited, "is changed", args.output, world)
}

fn told(deployment: &PatchDeployment, what: &str, output: Output, world: &mut World) -> Result<(), Failure> {
    if !document(deployment, output, world)? {
        let name = clean(&deployment.spec.name);
        writeln!(
            world.out,
            "Deployment {name} {what}: {}; {}.",
            view::deployment::schedule(deployment),
            next(deployment, world)
        )?;
    }
    Ok(())
}

async fn show(args: &ShowDeploymentArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let found: PatchDeployment = client.get(&["deployments", &args.name], &Query::new()).await?;
    let rows = client.list::<PatchExecution>(&["deployments", &args.name, "executions"], &Query::new(), args.limit).await?;
    if !document(&DeploymentDocument { deployment: &found, executions: &rows.items }, args.output, world)? {
        world.out.write_all(view::deployment::deployment(&found, (world.now)(), world.colour_out()).as_bytes())?;
        if !rows.items.is_empty() {
            writeln!(world.out)?;
            print_table(view::deployment::executions(&rows.items, &found), world)?;
        }
    }
    if rows.more {
        world.out.flush()?;
        writeln!(world.err, "more runs are known; --limit 0 shows all")?;
    }
    Ok(())
}

async fn skip_next(name: &str, client: &Client, world: &mut World) -> Result<(), Failure> {
    let before: PatchDeployment = client.get(&["deployments", name], &Query::new()).await?;
    // Named, so that a command that is given twice, or a run that begins meanwhile, skips no other one.
    let ask = SkipNextRun { execute_time: before.next_execute_time };
    let after = act(client, name, "skip-next", &ask).await?;
    let skipped = before.next_execute_time.map(|at| view::deployment::local(at, &before)).unwrap_or_default();
    Ok(writeln!(world.out, "The run of {skipped} is skipped; {}.", next(&after, world))?)
}

async fn start(args: RunDeploymentArgs, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    let key = args.start.idempotency_key.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
    let headers = [("Idempotency-Key", key.clone())];
    let path = ["deployments", &format!("{}:run", args.name)];
    let sent: Result<PatchExecution, Failure> = client.send(Method::POST, &path, &serde_json::json!({}), &headers).await;
    let execution = sent.map_err(|failure| unknown_start(failure, &key))?;
    let Some(job) = execution.job else {
        if !document(&execution, args.start.output, world)? {
            writeln!(world.out, "{}: {}", execution.outcome.as_str(), clean(&execution.reason))?;
            writeln!(world.err, "it begins by itself; look: drydock deployment show {}", args.name)?;
        }
        return Ok(Ending::Done);
    };
    let job: PatchJob = client.get(&["patch-jobs", &job.to_string()], &Query::new()).await?;
    follow_started(&job, args.start, client, world).await
}

//! `drydock policy check-now`: hosts check all their policies on demand.

use std::io::Write;

use drydock_api::rest::{CheckedInstance, HostCompliance, PolicyCheckRun, RunPolicyCheck};
use drydock_domain::policy::ComplianceState;
use reqwest::Method;
use tokio::time::Instant;

use crate::args::policy::CheckNowArgs;
use crate::client::{Client, Query};
use crate::commands::{document, print_table};
use crate::failure::{Ending, Failure};
use crate::text::{clean, or_dash, plural, state_cell, table};
use crate::world::{Pace, World};

/// Asks hosts to check now.
pub async fn run(args: CheckNowArgs, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    let ask = RunPolicyCheck { instances: args.hosts, groups: args.groups, assignment: args.assignment };
    let asked: PolicyCheckRun = client.send(Method::POST, &["policy-checks"], &ask, &[]).await?;
    if !args.wait {
        if !document(&asked.instances, args.output, world)? {
            writeln!(world.out, "{} asked to check now.", plural(asked.instances.len(), "host"))?;
        }
        return Ok(Ending::Done);
    }
    let interrupt = (world.interrupt)();
    let pace = world.pace;
    let done = tokio::select! {
        done = wait(&asked.instances, client, pace) => done?,
        () = interrupt => {
            writeln!(world.err, "left; the hosts go on: drydock compliance list")?;
            return Ok(Ending::Left);
        }
    };
    if !document(&done, args.output, world)? {
        let mut rows = table(&["HOST", "STATE", "REASON"]);
        for own in &done {
            rows.add_row([clean(&own.instance_name).into(), state_cell(own.state.as_str()), or_dash(&own.reason).into()]);
        }
        print_table(rows, world)?;
    }
    let good = done.iter().all(|own| own.state == ComplianceState::Compliant);
    Ok(if good { Ending::Done } else { Ending::JobFailed })
}

/// Waits until every host has done its check.
async fn wait(asked: &[CheckedInstance], client: &Client, pace: Pace) -> Result<Vec<HostCompliance>, Failure> {
    let begun = Instant::now();
    let mut done = Vec::with_capacity(asked.len());
    for host in asked {
        loop {
            let now: HostCompliance = client.get(&["instances", &host.instance.to_string(), "compliance"], &Query::new()).await?;
            if now.check_done >= host.check {
                done.push(now);
                break;
            }
            if begun.elapsed() >= pace.give_up {
                let name = clean(&host.name);
                return Err(Failure::Unreachable(format!(
                    "{name} has not done the check for {} seconds; is it on?",
                    pace.give_up.as_secs()
                )));
            }
            tokio::time::sleep(pace.retry).await;
        }
    }
    Ok(done)
}

//! `drydock compliance`.

use std::io::Write;

use drydock_api::rest::{
    ComplianceDay, ComplianceInterval, ComplianceResult, FleetCompliance, HostCompliance, HostDriftEvent, PolicyCompliance,
    ResourceCompliance,
};
use drydock_domain::policy::{ComplianceState, DriftOutcome};

use super::{document, list};
use crate::args::compliance::{ComplianceCommand, ComplianceShowArgs};
use crate::args::{Format, Output};
use crate::client::{Client, Query};
use crate::failure::Failure;
use crate::view::compliance as view;
use crate::world::World;

/// Runs `drydock compliance`. Lists as CSV are the server's own exports: all rows, and columns without nested values.
pub async fn run(command: ComplianceCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    match command {
        ComplianceCommand::Summary(output) => {
            let found: FleetCompliance = client.get(&["compliance"], &Query::new()).await?;
            if !document(&found, output, world)? {
                let colour = world.colour_out();
                world.out.write_all(view::summary(&found, colour).as_bytes())?;
            }
            Ok(())
        }
        ComplianceCommand::List(args) => {
            let state = args.state.map(|s| ComplianceState::from(s).as_str().to_owned());
            let query = query([
                ("instance", args.host),
                ("assignment", args.assignment),
                ("policy", args.policy),
                ("state", state),
                ("reason", args.reason),
            ]);
            if export(&["compliance", "results"], &query, args.list.output, client, world).await? {
                return Ok(());
            }
            let rows = client.list::<ComplianceResult>(&["compliance", "results"], &query, args.list.limit).await?;
            list(&rows, "policies of hosts", args.list.output, world, |items| view::results(items, now))
        }
        ComplianceCommand::Show(args) => show(args, client, world).await,
        ComplianceCommand::Policies(args) => {
            let query = query([("assignment", args.assignment)]);
            if export(&["compliance", "policies"], &query, args.list.output, client, world).await? {
                return Ok(());
            }
            let rows = client.whole::<PolicyCompliance>(&["compliance", "policies"], &query, args.list.limit).await?;
            list(&rows, "policies", args.list.output, world, view::policies)
        }
        ComplianceCommand::Resources(args) => {
            let query = query([("assignment", args.assignment), ("policy", args.policy)]);
            if export(&["compliance", "resources"], &query, args.list.output, client, world).await? {
                return Ok(());
            }
            let rows = client.whole::<ResourceCompliance>(&["compliance", "resources"], &query, args.list.limit).await?;
            list(&rows, "resources", args.list.output, world, view::resources)
        }
        ComplianceCommand::History(args) => {
            let query = query([("instance", args.host), ("assignment", args.assignment), ("policy", args.policy)]);
            if export(&["compliance", "history"], &query, args.list.output, client, world).await? {
                return Ok(());
            }
            let rows = client.list::<ComplianceInterval>(&["compliance", "history"], &query, args.list.limit).await?;
            list(&rows, "known states", args.list.output, world, |items| view::history(items, now))
        }
        ComplianceCommand::Trend(args) => {
            let query = query([("assignment", args.assignment), ("days", Some(args.days.to_string()))]);
            if export(&["compliance", "trend"], &query, args.output, client, world).await? {
                return Ok(());
            }
            let rows = client.whole::<ComplianceDay>(&["compliance", "trend"], &query, 0).await?;
            list(&rows, "known days", args.output, world, view::trend)
        }
        ComplianceCommand::Drift(args) => {
            let query = query([
                ("instance", args.host),
                ("assignment", args.assignment),
                ("policy", args.policy),
                ("outcome", args.outcome.map(|o| DriftOutcome::from(o).as_str().to_owned())),
                ("since", args.since.map(|since| since.at(now).to_string())),
            ]);
            if export(&["drift-events"], &query, args.list.output, client, world).await? {
                return Ok(());
            }
            let rows = client.list::<HostDriftEvent>(&["drift-events"], &query, args.list.limit).await?;
            list(&rows, "drift events", args.list.output, world, |items| view::drift(items, now))
        }
    }
}

/// Prints the server's export; `false` when something else is wanted.
async fn export(path: &[&str], query: &Query<'_>, output: Output, client: &Client, world: &mut World) -> Result<bool, Failure> {
    if output.output != Format::Csv {
        return Ok(false);
    }
    let mut query = query.clone();
    query.push(("format", "csv".to_owned()));
    let text = client.text(path, &query).await?;
    world.out.write_all(text.as_bytes())?;
    Ok(true)
}

fn query<const N: usize>(pairs: [(&'static str, Option<String>); N]) -> Query<'static> {
    pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

async fn show(args: ComplianceShowArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let mut found: HostCompliance = client.get(&["instances", &args.host, "compliance"], &Query::new()).await?;
    if let Some(name) = &args.assignment {
        found.policies.retain(|p| p.result.assignment == *name);
        found.problems.retain(|p| p.assignment == *name);
    }
    if !document(&found, args.output, world)? {
        let colour = world.colour_out();
        world.out.write_all(view::host(&found, args.all, (world.now)(), colour).as_bytes())?;
    }
    Ok(())
}

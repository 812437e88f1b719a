//! `drydock compliance`.

use std::io::Write;

use comfy_table::Table;
use drydock_api::rest::{
    ComplianceDay, ComplianceInterval, ComplianceResult, FleetCompliance, HostCompliance, HostDriftEvent, PolicyCompliance,
    ResourceCompliance,
};
use drydock_domain::policy::{ComplianceState, DriftOutcome};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{document, list};
use crate::args::compliance::{ComplianceCommand, ComplianceShowArgs, DriftArgs};
use crate::args::{Format, Output};
use crate::client::{Client, Query};
use crate::failure::Failure;
use crate::view::compliance as view;
use crate::world::World;

/// A list of the server.
struct Listed<'a> {
    path: &'a [&'a str],
    query: Query<'a>,
    /// It comes in pages.
    paged: bool,
    limit: usize,
    /// What its rows are, for "no …".
    what: &'a str,
    output: Output,
}

impl Listed<'_> {
    /// Prints it. As CSV it is the server's own export: all rows, and columns without nested values.
    async fn print<T: DeserializeOwned + Serialize>(
        self,
        client: &Client,
        world: &mut World,
        table: impl FnOnce(&[T]) -> Table,
    ) -> Result<(), Failure> {
        let Listed { path, mut query, paged, limit, what, output } = self;
        if output.output == Format::Csv {
            query.push(("format", "csv".to_owned()));
            let text = client.text(path, &query).await?;
            return Ok(world.out.write_all(text.as_bytes())?);
        }
        let rows =
            if paged { client.list::<T>(path, &query, limit).await? } else { client.whole::<T>(path, &query, limit).await? };
        list(&rows, what, output, world, table)
    }
}

/// Runs `drydock compliance`.
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
            let pairs = [("instance", args.host), ("assignment", args.assignment), ("policy", args.policy)];
            let query = [query(pairs), query([("state", state), ("reason", args.reason)])].concat();
            let (limit, output) = (args.list.limit, args.list.output);
            let path = &["compliance", "results"];
            let listed = Listed { path, query, paged: true, limit, what: "policies of hosts", output };
            listed.print::<ComplianceResult>(client, world, |items| view::results(items, now)).await
        }
        ComplianceCommand::Show(args) => show(args, client, world).await,
        ComplianceCommand::Policies(args) => {
            let query = query([("assignment", args.assignment)]);
            let (limit, output) = (args.list.limit, args.list.output);
            let path = &["compliance", "policies"];
            let listed = Listed { path, query, paged: false, limit, what: "policies", output };
            listed.print::<PolicyCompliance>(client, world, view::policies).await
        }
        ComplianceCommand::Resources(args) => {
            let query = query([("assignment", args.assignment), ("policy", args.policy)]);
            let (limit, output) = (args.list.limit, args.list.output);
            let path = &["compliance", "resources"];
            let listed = Listed { path, query, paged: false, limit, what: "resources", output };
            listed.print::<ResourceCompliance>(client, world, view::resources).await
        }
        ComplianceCommand::History(args) => {
            let query = query([("instance", args.host), ("assignment", args.assignment), ("policy", args.policy)]);
            let (limit, output) = (args.list.limit, args.list.output);
            let path = &["compliance", "history"];
            let listed = Listed { path, query, paged: true, limit, what: "known states", output };
            listed.print::<ComplianceInterval>(client, world, |items| view::history(items, now)).await
        }
        ComplianceCommand::Trend(args) => {
            let query = query([("assignment", args.assignment), ("days", Some(args.days.to_string()))]);
            let path = &["compliance", "trend"];
            let listed = Listed { path, query, paged: false, limit: 0, what: "known days", output: args.output };
            listed.print::<ComplianceDay>(client, world, view::trend).await
        }
        ComplianceCommand::Drift(args) => drift(args, client, world).await,
    }
}

async fn drift(args: DriftArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    let query = query([
        ("instance", args.host),
        ("assignment", args.assignment),
        ("policy", args.policy),
        ("outcome", args.outcome.map(|o| DriftOutcome::from(o).as_str().to_owned())),
        ("since", args.since.map(|since| since.at(now).to_string())),
    ]);
    let (limit, output) = (args.list.limit, args.list.output);
    let listed = Listed { path: &["drift-events"], query, paged: true, limit, what: "drift events", output };
    listed.print::<HostDriftEvent>(client, world, |items| view::drift(items, now)).await
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

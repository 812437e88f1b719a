//! `drydock approval`.

use std::collections::BTreeMap;
use std::io::Write;

use drydock_api::rest::{Approval, ApprovalRule, DecideApproval, Page};
use drydock_domain::access::approval::ApprovalRuleSpec;
use reqwest::Method;

use super::list;
use crate::args::approval::{ApprovalCommand, ApprovalRuleCommand, DecideArgs, SetApprovalRuleArgs};
use crate::client::{Client, Query, Rows};
use crate::failure::Failure;
use crate::text::clean;
use crate::view;
use crate::world::World;

/// Runs `drydock approval`.
pub(super) async fn run(command: ApprovalCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        ApprovalCommand::List(args) => {
            let now = (world.now)();
            let rows = client.list::<Approval>(&["approvals"], &Query::new(), args.limit).await?;
            list(&rows, "requests for approval", args.output, world, |items| view::approval::requests(items, now))
        }
        ApprovalCommand::Approve(args) => {
            let own = decide(&args, "approve", client).await?;
            let (who, operation, resource) = (clean(&own.requester), clean(&own.operation), clean(&own.resource));
            Ok(writeln!(world.out, "Approved: {who} may do {operation} on {resource}, once, before {:.0}.", own.expires_at)?)
        }
        ApprovalCommand::Refuse(args) => {
            let own = decide(&args, "refuse", client).await?;
            Ok(writeln!(
                world.out,
                "Refused: {} on {} for {}.",
                clean(&own.operation),
                clean(&own.resource),
                clean(&own.requester)
            )?)
        }
        ApprovalCommand::Rule(command) => rule(command, client, world).await,
    }
}

async fn decide(args: &DecideArgs, verb: &str, client: &Client) -> Result<Approval, Failure> {
    let target = format!("{}:{verb}", args.id);
    client.send(Method::POST, &["approvals", &target], &DecideApproval { reason: args.reason.clone() }, &[]).await
}

async fn rule(command: ApprovalRuleCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        ApprovalRuleCommand::Set(args) => {
            let spec = spec(args)?;
            let path = ["approval-rules", spec.name.as_str()];
            let now: ApprovalRule = client.send(Method::PUT, &path, &spec, &[]).await?;
            Ok(writeln!(world.out, "Approval rule {} holds from the next request on.", clean(&now.spec.name))?)
        }
        ApprovalRuleCommand::List(output) => {
            let all: Page<ApprovalRule> = client.get(&["approval-rules"], &Query::new()).await?;
            list(&Rows { items: all.items, more: false }, "approval rules", output, world, view::approval::rules)
        }
        ApprovalRuleCommand::Delete(args) => {
            client.delete(&["approval-rules", &args.rule], &[]).await?;
            Ok(writeln!(world.out, "Approval rule {} is deleted.", clean(&args.rule))?)
        }
    }
}

fn spec(args: SetApprovalRuleArgs) -> Result<ApprovalRuleSpec, Failure> {
    let mut labels = BTreeMap::new();
    for label in &args.labels {
        let Some((key, value)) = label.split_once('=') else {
            return Err(Failure::Usage(format!("--label {label}: is not KEY=VALUE")));
        };
        labels.insert(key.to_owned(), value.to_owned());
    }
    let expires_after_secs = u32::try_from(args.expires_after).unwrap_or(u32::MAX);
    let SetApprovalRuleArgs { rule: name, operations, compartment, description, .. } = args;
    Ok(ApprovalRuleSpec { name, description, operations, compartment, labels, expires_after_secs })
}

//! `drydock compartment`, `drydock access policy|who-can`, `drydock access test --as`, `drydock dynamic-group`.

use std::io::Write;

use drydock_api::rest::{
    AccessDecision, AccessHolders, AccessPolicy, Compartment, CreateAccessPolicy, CreateCompartment, DynamicGroup,
    EditAccessPolicy, EditCompartment, Page, SetDynamicGroup, TestAccess,
};
use reqwest::Method;

use super::{document, list, print_table, statement};
use crate::args::compartment::{
    AccessPolicyCommand, CompartmentCommand, CreateAccessPolicyArgs, CreateCompartmentArgs, DynamicGroupCommand, StatementsArgs,
    WhoCanArgs,
};
use crate::args::statement::TestAccessArgs;
use crate::client::{Client, Query, Rows};
use crate::failure::Failure;
use crate::text::clean;
use crate::view;
use crate::world::World;

/// Runs `drydock compartment`.
pub(super) async fn run(command: CompartmentCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        CompartmentCommand::Create(args) => create(args, client, world).await,
        CompartmentCommand::List(output) => {
            let all: Page<Compartment> = client.get(&["compartments"], &Query::new()).await?;
            list(&Rows { items: all.items, more: false }, "compartments", output, world, view::compartment::compartments)
        }
        CompartmentCommand::Show(args) => {
            let found: Compartment = client.get(&["compartments", &args.compartment], &Query::new()).await?;
            if document(&found, args.output, world)? {
                return Ok(());
            }
            Ok(world.out.write_all(view::compartment::compartment(&found, (world.now)()).as_bytes())?)
        }
        CompartmentCommand::Edit(args) => {
            let edit = EditCompartment { description: args.description, name: args.name, parent: None };
            changed(&args.compartment, &edit, client, world).await
        }
        CompartmentCommand::Move(args) => {
            let edit = EditCompartment { parent: Some(args.to), ..EditCompartment::default() };
            changed(&args.compartment, &edit, client, world).await
        }
        CompartmentCommand::Delete(args) => {
            client.delete(&["compartments", &args.compartment], &[]).await?;
            Ok(writeln!(world.out, "Compartment {} is deleted.", clean(&args.compartment))?)
        }
    }
}

async fn create(args: CreateCompartmentArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let path = args.path.trim_end_matches('/');
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = if parent.is_empty() { "/".to_owned() } else { parent.to_owned() };
    let ask = CreateCompartment { parent, name: name.to_owned(), description: args.description };
    let made: Compartment = client.send(Method::POST, &["compartments"], &ask, &[]).await?;
    Ok(writeln!(world.out, "Compartment {} is made.", clean(&made.path))?)
}

async fn changed(compartment: &str, edit: &EditCompartment, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now: Compartment = client.send(Method::PATCH, &["compartments", compartment], edit, &[]).await?;
    Ok(writeln!(world.out, "Compartment {} is now {}.", clean(compartment), clean(&now.path))?)
}

/// Runs `drydock access policy`.
pub(super) async fn policy(command: AccessPolicyCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        AccessPolicyCommand::Create(args) => create_policy(args, client, world).await,
        AccessPolicyCommand::List(output) => {
            let all: Page<AccessPolicy> = client.get(&["access-policies"], &Query::new()).await?;
            list(&Rows { items: all.items, more: false }, "access policies", output, world, view::compartment::policies)
        }
        AccessPolicyCommand::Show(args) => {
            let found: AccessPolicy = client.get(&["access-policies", &args.policy], &Query::new()).await?;
            if document(&found, args.output, world)? {
                return Ok(());
            }
            Ok(world.out.write_all(view::compartment::policy(&found, (world.now)()).as_bytes())?)
        }
        AccessPolicyCommand::Edit(args) => {
            let statements = statements(&args.statements, world)?;
            if statements.is_none() && args.description.is_none() {
                return Err(Failure::Usage("nothing to change; give --statement, --file or --description".to_owned()));
            }
            let edit = EditAccessPolicy { description: args.description, statements };
            let now: AccessPolicy = client.send(Method::PATCH, &["access-policies", &args.policy], &edit, &[]).await?;
            Ok(writeln!(world.out, "Access policy {} is changed; it holds from the next request on.", clean(&now.name))?)
        }
        AccessPolicyCommand::Delete(args) => {
            client.delete(&["access-policies", &args.policy], &[]).await?;
            Ok(writeln!(world.out, "Access policy {} is deleted.", clean(&args.policy))?)
        }
    }
}

async fn create_policy(args: CreateAccessPolicyArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let Some(statements) = statements(&args.statements, world)? else {
        return Err(Failure::Usage("a policy has statements; give --statement TEXT or --file FILE".to_owned()));
    };
    let CreateAccessPolicyArgs { name, compartment, description, .. } = args;
    let ask = CreateAccessPolicy { name, compartment, description, statements };
    let made: AccessPolicy = client.send(Method::POST, &["access-policies"], &ask, &[]).await?;
    let (name, place) = (clean(&made.name), clean(&made.compartment));
    Ok(writeln!(world.out, "Access policy {name} is made in {place}; it holds from the next request on.")?)
}

fn statements(args: &StatementsArgs, world: &mut World) -> Result<Option<String>, Failure> {
    match &args.file {
        Some(file) => Ok(Some(statement::read(file, world)?.1)),
        None if args.statements.is_empty() => Ok(None),
        None => Ok(Some(args.statements.join("\n"))),
    }
}

/// Runs `drydock access test` against a server.
pub(super) async fn test(args: TestAccessArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    // No permission has a slash, every resource has one.
    let (mut places, permissions): (Vec<_>, Vec<_>) = args.permissions.into_iter().partition(|word| word.contains('/'));
    places.extend(args.resource);
    if let [_, another, ..] = places.as_slice() {
        return Err(Failure::Usage(format!("{another} is a second resource; one is asked about at once")));
    }
    let resource = places.pop().unwrap_or_else(|| "/".to_owned());
    let ask = TestAccess { as_user: args.as_user, permissions, resource };
    let decisions: Page<AccessDecision> = client.send(Method::POST, &["access:test"], &ask, &[]).await?;
    if document(&decisions.items, args.output, world)? {
        return Ok(());
    }
    for decision in &decisions.items {
        writeln!(world.out, "{}: {}", clean(&decision.permission), clean(&decision.decision))?;
        for one in &decision.considered {
            let (policy, statement) = (clean(&one.policy), clean(&one.statement));
            writeln!(world.out, "  {policy}:{}: {statement}\n    {}", one.line, clean(&one.bearing))?;
        }
    }
    Ok(())
}

/// Runs `drydock access who-can`.
pub(super) async fn who_can(args: WhoCanArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let query: Query = vec![("permission", args.permission.as_str().into()), ("resource", args.resource.as_str().into())];
    let found: AccessHolders = client.get(&["access:who-can"], &query).await?;
    if document(&found, args.output, world)? {
        return Ok(());
    }
    if found.accounts.is_empty() {
        writeln!(world.out, "Nobody holds {} in {}.", clean(&args.permission), clean(&args.resource))?;
    } else {
        print_table(view::compartment::accounts(&found.accounts), world)?;
    }
    if !found.statements.is_empty() {
        writeln!(world.out)?;
        print_table(view::compartment::holding(&found.statements), world)?;
    }
    Ok(())
}

/// Runs `drydock dynamic-group`.
pub(super) async fn dynamic_group(command: DynamicGroupCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        DynamicGroupCommand::Create(args) => {
            let ask =
                SetDynamicGroup { name: args.name, description: args.description, rules: args.rules, match_all: args.match_all };
            let made: DynamicGroup = client.send(Method::POST, &["dynamic-groups"], &ask, &[]).await?;
            Ok(writeln!(world.out, "Dynamic group {} is made.", clean(&made.name))?)
        }
        DynamicGroupCommand::List(output) => {
            let all: Page<DynamicGroup> = client.get(&["dynamic-groups"], &Query::new()).await?;
            list(&Rows { items: all.items, more: false }, "dynamic groups", output, world, view::compartment::dynamic_groups)
        }
        DynamicGroupCommand::Show(args) => {
            let found: DynamicGroup = client.get(&["dynamic-groups", &args.group], &Query::new()).await?;
            if document(&found, args.output, world)? {
                return Ok(());
            }
            Ok(world.out.write_all(view::compartment::dynamic_group(&found, (world.now)()).as_bytes())?)
        }
        DynamicGroupCommand::Edit(args) => {
            let path = ["dynamic-groups", args.name.as_str()];
            let ask = SetDynamicGroup {
                name: args.name.clone(),
                description: args.description,
                rules: args.rules,
                match_all: args.match_all,
            };
            let now: DynamicGroup = client.send(Method::PUT, &path, &ask, &[]).await?;
            Ok(writeln!(world.out, "Dynamic group {} is changed.", clean(&now.name))?)
        }
        DynamicGroupCommand::Delete(args) => {
            client.delete(&["dynamic-groups", &args.group], &[]).await?;
            Ok(writeln!(world.out, "Dynamic group {} is deleted.", clean(&args.group))?)
        }
    }
}

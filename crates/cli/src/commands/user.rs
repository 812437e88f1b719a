//! `drydock user`, `user-group`, `session`.

use std::io::Write;

use drydock_api::rest::{
    EditMembers, EditUser, EditUserGroup, PasswordSet, Session, SetPassword, User, UserGroup, UserGroupMember,
};
use drydock_domain::access::user::{UserGroupSpec, UserKind, UserSpec};
use reqwest::Method;
use serde_json::json;

use super::password::ask_new;
use super::{document, list, print_table};
use crate::args::user::{CreateUserArgs, SessionCommand, SetPasswordArgs, ShowUserGroupArgs, UserCommand, UserGroupCommand};
use crate::args::{Format, Output};
use crate::client::{Client, Query};
use crate::failure::Failure;
use crate::text::clean;
use crate::view;
use crate::world::World;

/// Runs `drydock user`.
pub async fn run(command: UserCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        UserCommand::Create(args) => create(args, client, world).await,
        UserCommand::List(args) => {
            let now = (world.now)();
            let rows = client.list::<User>(&["users"], &Query::new(), args.limit).await?;
            list(&rows, "users", args.output, world, |items| view::user::users(items, now))
        }
        UserCommand::Show(args) => {
            let found: User = client.get(&["users", &args.user], &Query::new()).await?;
            if document(&found, args.output, world)? {
                return Ok(());
            }
            Ok(world.out.write_all(view::user::user(&found, (world.now)()).as_bytes())?)
        }
        UserCommand::Edit(args) => {
            let edit = EditUser { description: args.description, email: args.email, disabled: None };
            let now: User = client.send(Method::PATCH, &["users", &args.user], &edit, &[]).await?;
            Ok(world.out.write_all(view::user::user(&now, (world.now)()).as_bytes())?)
        }
        UserCommand::Disable(args) => disable(&args.user, true, client, world).await,
        UserCommand::Enable(args) => disable(&args.user, false, client, world).await,
        UserCommand::SetPassword(args) => set_password(args, client, world).await,
        UserCommand::ResetSecondFactor(args) => {
            client.act("users", &args.user, "reset-second-factor", &json!({})).await?;
            Ok(writeln!(world.out, "{} has no second factor any more.", clean(&args.user))?)
        }
        UserCommand::Delete(args) => {
            client.delete(&["users", &args.user], &[]).await?;
            Ok(writeln!(world.out, "User {} is deleted.", clean(&args.user))?)
        }
    }
}

async fn create(args: CreateUserArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let kind = if args.service_account { UserKind::ServiceAccount } else { UserKind::User };
    let spec = UserSpec { name: args.name, kind, description: args.description, email: args.email };
    let made: User = client.send(Method::POST, &["users"], &spec, &[]).await?;
    let name = clean(&made.name);
    for group in &args.groups {
        let edit = EditMembers { add: vec![made.name.clone()], remove: Vec::new() };
        let _group: UserGroup = client.send(Method::PUT, &["user-groups", group, "members"], &edit, &[]).await?;
    }
    let mut next = Vec::new();
    if args.groups.is_empty() {
        next.push(format!("drydock user-group add GROUP {name}"));
    }
    match made.kind {
        UserKind::ServiceAccount => next.push(format!("drydock access create --user {name} --name …")),
        UserKind::User if !args.one_time_password => next.push(format!("drydock user set-password {name}")),
        UserKind::User => {}
    }
    let what = if made.kind == UserKind::User { "User" } else { "Service account" };
    let next = if next.is_empty() { String::new() } else { format!(" Let them in: {}", next.join(", ")) };
    writeln!(world.out, "{what} {name} is made.{next}")?;
    if args.one_time_password {
        let output = Output { output: Format::Table };
        return set_password(SetPasswordArgs { user: made.name, ask: false, lasting: false, output }, client, world).await;
    }
    Ok(())
}

async fn disable(user: &str, disabled: bool, client: &Client, world: &mut World) -> Result<(), Failure> {
    let edit = EditUser { disabled: Some(disabled), ..EditUser::default() };
    let now: User = client.send(Method::PATCH, &["users", user], &edit, &[]).await?;
    let how = if now.disabled { "disabled: nothing of theirs lets anybody in" } else { "enabled" };
    Ok(writeln!(world.out, "{} is {how}.", clean(&now.name))?)
}

async fn set_password(args: SetPasswordArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let password = if args.ask { Some(ask_new(world)?) } else { None };
    let target = format!("{}:set-password", args.user);
    let body = SetPassword { password, lasting: args.lasting };
    let done: PasswordSet = client.send(Method::POST, &["users", &target], &body, &[]).await?;
    if document(&done, args.output, world)? {
        return Ok(());
    }
    let name = clean(&done.user.name);
    match done.password {
        Some(password) => writeln!(
            world.out,
            "Password of {name}, shown this once:\n\n  {}\n\nThe next sign-in has to choose another one: drydock login --user {name}",
            clean(&password)
        )?,
        None if done.user.password_expired => {
            writeln!(world.out, "{name} has a new password; the next sign-in has to choose another one.")?;
        }
        None => writeln!(world.out, "{name} has a new password.")?,
    }
    Ok(())
}

/// Runs `drydock user-group`.
pub async fn group(command: UserGroupCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        UserGroupCommand::Create(args) => {
            let spec = UserGroupSpec { name: args.name, description: args.description };
            let made: UserGroup = client.send(Method::POST, &["user-groups"], &spec, &[]).await?;
            let name = clean(&made.name);
            Ok(writeln!(world.out, "Group {name} is made. Put users into it: drydock user-group add {name} USER")?)
        }
        UserGroupCommand::List(args) => {
            let rows = client.whole::<UserGroup>(&["user-groups"], &Query::new(), args.limit).await?;
            list(&rows, "user groups", args.output, world, view::user::groups)
        }
        UserGroupCommand::Show(args) => show_group(args, client, world).await,
        UserGroupCommand::Edit(args) => {
            let edit = EditUserGroup { description: args.description };
            let now: UserGroup = client.send(Method::PATCH, &["user-groups", &args.group], &edit, &[]).await?;
            Ok(world.out.write_all(view::user::group(&now).as_bytes())?)
        }
        UserGroupCommand::Add(args) => {
            members(&args.group, &EditMembers { add: args.users, remove: Vec::new() }, client, world).await
        }
        UserGroupCommand::Remove(args) => {
            members(&args.group, &EditMembers { add: Vec::new(), remove: args.users }, client, world).await
        }
        UserGroupCommand::Delete(args) => {
            client.delete(&["user-groups", &args.group], &[]).await?;
            Ok(writeln!(world.out, "User group {} is deleted.", clean(&args.group))?)
        }
    }
}

async fn show_group(args: ShowUserGroupArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let found: UserGroup = client.get(&["user-groups", &args.group], &Query::new()).await?;
    if document(&found, args.output, world)? {
        return Ok(());
    }
    let path = ["user-groups", &args.group, "members"];
    let members = client.list::<UserGroupMember>(&path, &Query::new(), args.limit).await?;
    world.out.write_all(view::user::group(&found).as_bytes())?;
    if !members.items.is_empty() {
        writeln!(world.out)?;
        print_table(view::user::members(&members.items, (world.now)()), world)?;
    }
    if members.more {
        world.out.flush()?;
        writeln!(world.err, "more members exist; --limit 0 shows all")?;
    }
    Ok(())
}

async fn members(group: &str, edit: &EditMembers, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now: UserGroup = client.send(Method::PUT, &["user-groups", group, "members"], edit, &[]).await?;
    let members = if now.members == 1 { "1 member".to_owned() } else { format!("{} members", now.members) };
    Ok(writeln!(world.out, "{} has {members}.", clean(&now.name))?)
}

/// Runs `drydock session`.
pub async fn session(command: SessionCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        SessionCommand::List(args) => {
            let now = (world.now)();
            let mut query = Query::new();
            if args.all {
                query.push(("all", "true".to_owned()));
            }
            query.extend(args.user.map(|user| ("user", user)));
            let rows = client.list::<Session>(&["sessions"], &query, args.list.limit).await?;
            list(&rows, "sessions", args.list.output, world, |items| view::user::sessions(items, now))
        }
        SessionCommand::Revoke(args) => {
            client.act("sessions", &args.id.to_string(), "revoke", &json!({})).await?;
            Ok(writeln!(world.out, "Session {} has ended.", args.id)?)
        }
    }
}

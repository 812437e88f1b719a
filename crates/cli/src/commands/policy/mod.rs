//! `drydock policy`: documents ([`documents`], no server), assignments and their rollouts ([`assignment`], [`follow`]),
//! previews ([`preview`]), checks on demand ([`check_now`]).

mod assignment;
mod check_now;
mod documents;
mod follow;
mod preview;

use super::connect;
use crate::args::Connection;
use crate::args::policy::PolicyCommand;
use crate::failure::{Ending, Failure};
use crate::world::World;

/// Runs `drydock policy`.
pub async fn run(command: PolicyCommand, connection: &Connection, world: &mut World) -> Result<Ending, Failure> {
    match command {
        PolicyCommand::Check(args) => documents::check(&args, world)?,
        PolicyCommand::Resolve(args) => documents::resolve_for(&args, world)?,
        // What is wrong with a document is told before anybody needs a server.
        PolicyCommand::Apply(args) => {
            let given = documents::assignments_to_apply(&args.paths, args.name.as_deref(), &args.bare, world)?;
            return assignment::apply(given, &args, &connect(connection, world)?, world).await;
        }
        PolicyCommand::Preview(args) => return preview::run(&args, connection, world).await,
        PolicyCommand::List(args) => assignment::list_all(args, &connect(connection, world)?, world).await?,
        PolicyCommand::Show(args) => return assignment::show(args, &connect(connection, world)?, world).await,
        PolicyCommand::Revisions(args) => assignment::revisions(args, &connect(connection, world)?, world).await?,
        PolicyCommand::Diff(args) => assignment::diff(args, &connect(connection, world)?, world).await?,
        PolicyCommand::Delete(args) => return assignment::delete(args, &connect(connection, world)?, world).await,
        PolicyCommand::Move(args) => {
            let client = connect(connection, world)?;
            super::calendar::moved("policy-assignments", "Policy assignment", &args, &client, world).await?
        }
        PolicyCommand::Cancel(args) => assignment::steer(&args.name, "cancel", &connect(connection, world)?, world).await?,
        PolicyCommand::Resume(args) => assignment::steer(&args.name, "resume", &connect(connection, world)?, world).await?,
        PolicyCommand::CheckNow(args) => return check_now::run(args, &connect(connection, world)?, world).await,
    }
    Ok(Ending::Done)
}

//! Moving things between compartments: the same for everything that has a name of its own. Who moves a thing needs the
//! permission where it lies and where it goes. Instances and groups have theirs (`instances`, `groups`): their members and
//! tasks look at where they lie.

use drydock_store::commit;
use drydock_store::compartments::{self, Kind};

use super::act::Act;
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// What is moved by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movable {
    /// A software source. Its snapshots go along.
    Source,
    /// A lifecycle environment.
    Environment,
    /// A patch deployment. Its next runs reach hosts of the new place, in the name of whoever moved it.
    Deployment,
    /// A maintenance window.
    Window,
    /// A freeze calendar.
    Freeze,
    /// A group of reboot slots.
    RebootSlots,
    /// A policy assignment. Hosts of the old place leave it.
    Assignment,
    /// A secret.
    Secret,
}

impl Movable {
    fn kind(self) -> Kind {
        match self {
            Movable::Source => Kind::Source,
            Movable::Environment => Kind::Environment,
            Movable::Deployment => Kind::Deployment,
            Movable::Window => Kind::Window,
            Movable::Freeze => Kind::Freeze,
            Movable::RebootSlots => Kind::RebootSlots,
            Movable::Assignment => Kind::Assignment,
            Movable::Secret => Kind::Secret,
        }
    }

    fn operation(self) -> &'static str {
        match self {
            Movable::Source => "source.move",
            Movable::Environment => "environment.move",
            Movable::Deployment => "patch-deployment.move",
            Movable::Window => "window.move",
            Movable::Freeze => "freeze.move",
            Movable::RebootSlots => "reboot-slot.move",
            Movable::Assignment => "policy-assignment.move",
            Movable::Secret => "secret.move",
        }
    }
}

impl Control {
    /// Moves a thing into another compartment; says its path.
    pub async fn move_thing(&self, ctx: &OpCtx, what: Movable, name: &str, compartment: &str) -> Result<String> {
        let about = self.about(what.kind(), name).await?;
        let from = about.compartment.clone();
        let act = match what {
            Movable::Assignment => {
                let to = self.compartment_path(compartment).await.ok();
                self.act_on_policy(ctx, what.operation(), name, to.as_deref()).await?
            }
            _ => self.act_on(ctx, what.operation(), about).await?,
        };
        let moved = self.try_move(ctx, what, name, (&from, compartment), &act).await;
        let to = act.settle(moved).await?;
        if from != to {
            self.wake();
        }
        Ok(to)
    }

    async fn try_move(
        &self,
        ctx: &OpCtx,
        what: Movable,
        name: &str,
        (from, compartment): (&str, &str),
        act: &Act<'_>,
    ) -> Result<String> {
        let to = self.destination(ctx, what.operation(), compartment).await?;
        if from != to {
            // What acts on hosts acts on others there: whoever moves it has to be able to make it do that.
            match what {
                Movable::Assignment => self.judge_move(ctx, name, &to).await?,
                Movable::Deployment => self.check_deployment_move(ctx, name, &to).await?,
                _ => {}
            }
        }
        let mut tx = self.begin().await?;
        let gone = || Error::conflict(format!("{name} was deleted or moved meanwhile"));
        let lying = compartments::find(&mut tx, what.kind(), name).await?.filter(|now| now.compartment == from);
        let lying = lying.ok_or_else(gone)?;
        if from != to {
            if what == Movable::Deployment {
                self.take_over_deployment(&mut tx, ctx, name).await?;
            }
            compartments::put(&mut tx, what.kind(), &lying.id, &to).await?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
        }
        Ok(to)
    }
}

//! Follows a rollout until it is over: whole reads with a pause between them. Absent: events, of which the server has none for
//! rollouts; a rollout takes minutes to days, and a read is small.

use drydock_api::rest::{ErrorKind, PolicyAssignment, PolicyHost, RolloutState};
use tokio::time::Instant;

use super::assignment::ASSIGNMENTS;
use crate::client::{Client, Query};
use crate::commands::screen::ScreenWriter;
use crate::failure::Failure;
use crate::view::policy as view;
use crate::world::{Pace, World};

/// Hosts read for a drawing, count; a screen has fewer lines.
const HOSTS_DRAWN: usize = 100;

/// How following ended.
#[derive(Debug)]
pub enum Followed {
    /// The rollout is over, or has halted and waits for a person.
    Over(Box<PolicyAssignment>),
    /// The assignment is gone: its deletion was rolled out.
    Gone,
    /// Ctrl-C: the rollout goes on.
    Left,
}

/// Follows the rollout of an assignment's newest revision.
pub async fn follow(client: &Client, name: &str, world: &mut World) -> Result<Followed, Failure> {
    let interrupt = (world.interrupt)();
    let pace = world.pace;
    let mut screen = ScreenWriter::new(world);
    let ended = tokio::select! {
        ended = watch(client, name, &mut screen, pace) => Some(ended?),
        () = interrupt => None,
    };
    match ended {
        Some(ended) => {
            screen.erase()?;
            Ok(ended)
        }
        None => Ok(Followed::Left),
    }
}

async fn watch(client: &Client, name: &str, screen: &mut ScreenWriter<'_>, pace: Pace) -> Result<Followed, Failure> {
    let mut last_answer = Instant::now();
    let mut said = String::new();
    loop {
        match look(client, name, screen, &mut said).await {
            Ok(Some(over)) => return Ok(over),
            Ok(None) => last_answer = Instant::now(),
            Err(failure) if failure.is_transient() && last_answer.elapsed() < pace.give_up => {
                let note = format!("{} does not answer; trying again, the rollout goes on", client.server());
                if said != note {
                    screen.say(&note)?;
                    said = note;
                }
            }
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(pace.retry).await;
    }
}

/// One look; `Some` when there is nothing more to see.
async fn look(
    client: &Client,
    name: &str,
    screen: &mut ScreenWriter<'_>,
    said: &mut String,
) -> Result<Option<Followed>, Failure> {
    let own: PolicyAssignment = match client.get(&[ASSIGNMENTS, name], &Query::new()).await {
        // Only what was seen can be gone; a wrong name is an error.
        Err(Failure::Refused { error, .. }) if error.kind == ErrorKind::NotFound && !said.is_empty() => {
            return Ok(Some(Followed::Gone));
        }
        other => other?,
    };
    if !own.rollout.state.is_active() || own.rollout.state == RolloutState::Halted {
        return Ok(Some(Followed::Over(Box::new(own))));
    }
    let line = view::headline(&own);
    let (terminal, colour) = screen.terminal();
    if let Some(size) = terminal {
        let mut hosts = Vec::new();
        for phase in ["CHANGING", "PENDING"] {
            let query = vec![("phase", phase.to_owned())];
            hosts.extend(client.list::<PolicyHost>(&[ASSIGNMENTS, name, "instances"], &query, HOSTS_DRAWN).await?.items);
        }
        let now = screen.now();
        screen.redraw(&view::frame(&own, &hosts, now, size, colour))?;
    } else if *said != line {
        screen.say(&line)?;
    }
    *said = line;
    Ok(None)
}

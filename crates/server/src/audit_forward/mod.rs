//! Forwards the audit to receivers outside: syslog and HTTP. How far each has got is stored, so a restart loses nothing; a
//! batch that was not confirmed is sent again, so a receiver may see a record twice (its number and hash tell).
//! Absent: which records there are (`control`), and configuration over the API (tokens are in files).

mod http;
mod settings;
mod syslog;

#[cfg(test)]
mod tests;

use std::time::Duration;

use drydock_control::Control;

use crate::shutdown::Shutdown;
pub use settings::{ForwardSettings, Receiver};

/// New records are looked for this often.
const PERIOD: Duration = Duration::from_secs(1);
/// First pause after a failure; it doubles with each further one …
const PAUSE: Duration = Duration::from_secs(1);
/// … up to this.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A connection to a receiver.
enum Link {
    Syslog(syslog::Syslog),
    Http(http::Http),
}

impl Link {
    fn to(receiver: &Receiver) -> Result<Link, String> {
        match receiver {
            Receiver::Syslog(place) => Ok(Link::Syslog(syslog::Syslog::new(place.clone()))),
            Receiver::Http { url, token_file, ca_file } => {
                http::Http::new(url.clone(), token_file.clone(), ca_file.as_deref()).map(Link::Http)
            }
        }
    }

    async fn send(&mut self, lines: &[Vec<u8>]) -> Result<(), String> {
        match self {
            Link::Syslog(link) => link.send(lines).await.map_err(|e| e.to_string()),
            Link::Http(link) => link.send(lines).await,
        }
    }
}

/// Forwards to every receiver until the daemon goes down.
pub async fn run(control: Control, settings: ForwardSettings, shutdown: Shutdown) {
    let receivers = settings.receivers();
    let names: Vec<String> = receivers.iter().map(Receiver::name).collect();
    if let Err(error) = control.keep_audit_targets(&names).await {
        tracing::error!(%error, "receivers of the audit that are configured no more could not be forgotten");
    }
    let mut loops = tokio::task::JoinSet::new();
    for receiver in receivers {
        loops.spawn(forward(control.clone(), receiver, shutdown.clone()));
    }
    while loops.join_next().await.is_some() {}
}

async fn forward(control: Control, receiver: Receiver, mut shutdown: Shutdown) {
    let target = receiver.name();
    let mut pause = PAUSE;
    let mut link = None;
    loop {
        let wait = match turn(&control, &receiver, &target, &mut link).await {
            Ok(true) => Duration::ZERO,
            Ok(false) => PERIOD,
            Err(problem) => {
                tracing::warn!(target, problem, again_in_secs = pause.as_secs(), "the audit is not forwarded");
                link = None;
                let wait = pause;
                pause = PAUSE_MAX.min(pause * 2);
                wait
            }
        };
        if wait <= PERIOD && link.is_some() {
            pause = PAUSE;
        }
        tokio::select! {
            () = shutdown.begun() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Sends the next batch; was there one?
async fn turn(control: &Control, receiver: &Receiver, target: &str, link: &mut Option<Link>) -> Result<bool, String> {
    let chain = |e: drydock_control::Error| crate::rest::error::chain(&e);
    let Some(batch) = control.audit_batch(target).await.map_err(chain)? else { return Ok(false) };
    if link.is_none() {
        *link = Some(Link::to(receiver)?);
    }
    if let Some(open) = link {
        open.send(&batch.lines).await?;
    }
    control.audit_batch_done(target, &batch).await.map_err(chain)?;
    Ok(true)
}

//! The chainer of the audit, a loop of its own: it must not wait behind jobs of a large fleet. Also drops what is too old.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::ended;
use crate::Control;
use crate::error::Result;

/// A turn comes at least this often: what another server, or one that was killed, left in the inbox is chained then.
const PERIOD: Duration = Duration::from_secs(1);
/// A turn comes at most this often: records of a burst are chained together.
const PAUSE: Duration = Duration::from_millis(100);
/// Old segments are looked for this often.
const DROP_EVERY: Duration = Duration::from_secs(600);

/// Runs until `shutdown` turns true or its sender is gone; what was recorded by then is chained.
pub(super) async fn run(control: Control, mut shutdown: watch::Receiver<bool>) {
    let mut dropped: Option<Instant> = None;
    loop {
        told(control.chain_audit().await.map(drop), "the audit is not chained");
        if dropped.is_none_or(|at| at.elapsed() >= DROP_EVERY) {
            told(control.drop_old_audit().await, "old records of the audit are not dropped");
            dropped = Some(Instant::now());
        }
        let rested = async {
            tokio::time::sleep(PAUSE).await;
            tokio::select! {
                () = control.audit_woken() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
        };
        tokio::select! {
            () = rested => {}
            () = ended(&mut shutdown) => break,
        }
    }
    told(control.chain_audit().await.map(drop), "the last records of the audit are not chained");
}

fn told(result: Result<()>, what: &str) {
    if let Err(error) = result {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(what, %error, source, "the audit needs a look; the server tries again in a second");
    }
}

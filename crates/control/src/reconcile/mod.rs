//! The loops that move things on without anybody asking.

use tokio::sync::watch;

use crate::Control;

/// Runs the reconcilers until `shutdown` turns true or its sender is gone.
pub async fn run(control: Control, mut shutdown: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = control.woken() => {}
            changed = shutdown.changed() => if changed.is_err() || *shutdown.borrow() { return },
        }
    }
}

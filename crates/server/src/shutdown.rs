//! One switch for "the daemon is going down": every long-lived stream and loop watches it.

use tokio::sync::watch;

/// Turns the switch.
#[derive(Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

/// Watches the switch.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// A switch that is off.
pub fn channel() -> (ShutdownTrigger, Shutdown) {
    let (tx, rx) = watch::channel(false);
    (ShutdownTrigger(tx), Shutdown(rx))
}

impl ShutdownTrigger {
    /// Turns it on, for good.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// The bare switch, for crates that know only the channel.
    pub fn into_inner(self) -> watch::Receiver<bool> {
        self.0
    }

    /// Is it on?
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is on; also when the daemon that held the trigger is gone.
    pub async fn begun(&mut self) {
        let _ = self.0.wait_for(|on| *on).await;
    }
}

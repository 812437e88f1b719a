//! `serve`: the daemon.

use std::path::Path;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::{Overrides, config, load, runtime};
use crate::running::Server;

pub(super) fn serve(config_path: &Path, overrides: &Overrides) -> anyhow::Result<()> {
    let settings =
        if config_path.exists() { load(config_path, overrides)? } else { config::write_default(config_path, overrides, &[])? };
    crate::logging::start(&settings);
    runtime()?.block_on(async {
        // Before anything is open: a signal during the start is not lost.
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let mut running = Server::start(settings).await?;
        if let Some(token) = running.admin_token.take() {
            print!("{}", config::welcome(&running.public_url, &running.ca_fingerprint, token.expose()));
        }
        tell_systemd(sd_notify::NotifyState::Ready);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: requests under way may end");
        tell_systemd(sd_notify::NotifyState::Stopping);
        running.stop().await;
        Ok(())
    })
}

/// Nobody listens unless systemd started us.
fn tell_systemd(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "cannot notify the service manager");
    }
}

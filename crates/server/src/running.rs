//! One daemon, in this process: opens the data directory and the port, runs the reconcilers, and goes down in order.
//! The binary uses it, and so do tests that want a whole server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use drydock_control::Secret;
use jiff::Timestamp;
use tokio::task::JoinHandle;

use crate::config::Settings;
use crate::files::{DataDir, DataDirLock};
use crate::first_run::{self, OpenError};
use crate::identity::oidc::{OidcError, Provider};
use crate::listener::tls::{ShownCertificate, TlsError, server_config};
use crate::listener::{PortLimits, connections_that_fit, serve};
use crate::pki::ensure_server_cert;
use crate::shutdown::{Shutdown, ShutdownTrigger};
use crate::state::AppState;

/// How often the port's certificate is looked at for its end.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(12 * 3600);
/// Time for the reconcilers to end their turn.
const RECONCILERS_END_MAX: Duration = Duration::from_secs(10);

/// A daemon that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The sign-in provider's settings.
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// The port.
    #[error("cannot listen on {address}; is another server there?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Starts daemons.
#[derive(Debug)]
pub struct Server;

/// A running daemon. Dropping it without [`Running::stop`] aborts it, as a power cut would.
#[derive(Debug)]
pub struct Running {
    /// Where it listens; the real port when 0 was asked for.
    pub addr: SocketAddr,
    /// The CA's certificate.
    pub ca_pem: String,
    /// SHA-256 of the CA's certificate (DER), lower-case hex.
    pub ca_fingerprint: String,
    /// Where hosts and people reach it.
    pub public_url: String,
    /// The administrator's token; only at the first run.
    pub admin_token: Option<Secret>,
    /// Shared state, for tests that look behind the port.
    pub state: AppState,
    shutdown: ShutdownTrigger,
    port: JoinHandle<usize>,
    background: Vec<JoinHandle<()>>,
    _lock: DataDirLock,
}

impl Server {
    /// Opens the data directory (making it at the first run) and the port, and serves until [`Running::stop`].
    pub async fn start(settings: Settings) -> Result<Running, StartError> {
        let opened = first_run::open(&settings).await?;
        let address = settings.listen;
        let failed = |source| StartError::Listen { address, source };
        let listener = crate::listener::inherit::listen(address).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let public_url = first_run::public_url(&settings, addr.port());
        let (trigger, shutdown) = crate::shutdown::channel();
        let names = opened.identity.names.clone();
        let shown = Arc::new(ShownCertificate::new(opened.identity)?);
        let tls = server_config(&opened.ca, Arc::clone(&shown))?;
        let port = PortLimits {
            connections_max: connections_that_fit(settings.connections_max),
            drain: Duration::from_secs(u64::from(settings.drain_secs)),
        };
        let provider = settings.oidc.clone().map(|oidc| Provider::new(oidc, &public_url)).transpose()?;
        let mut state = AppState::new(opened.control, settings, opened.ca, &public_url, shutdown.clone());
        state.oidc = provider.map(Arc::new);
        let reconcilers = tokio::spawn(drydock_control::reconcile::run(state.control.clone(), shutdown.clone().into_inner()));
        let audit = state.settings.audit.clone();
        let forwarding = tokio::spawn(crate::audit_forward::run(state.control.clone(), audit, shutdown.clone()));
        let renewal = tokio::spawn(keep_certificate(state.clone(), names, shown, shutdown.clone()));
        let router = crate::web::router(state.clone());
        let port = tokio::spawn(serve(listener, tls, router, port, shutdown));
        tracing::info!(address = %addr, url = public_url, version = crate::VERSION, "serving");
        Ok(Running {
            addr,
            ca_pem: state.ca.cert_pem().to_owned(),
            ca_fingerprint: state.ca_fingerprint(),
            public_url,
            admin_token: opened.admin_token,
            state,
            shutdown: trigger,
            port,
            background: vec![reconcilers, renewal, forwarding],
            _lock: opened.lock,
        })
    }
}

impl Running {
    /// Stops accepting, lets requests end, ends streams with a status that says "connect again", stops the
    /// reconcilers. Returns how many connections had to be cut.
    pub async fn stop(mut self) -> usize {
        self.shutdown.begin();
        let cut = (&mut self.port).await.unwrap_or_default();
        for task in &mut self.background {
            if tokio::time::timeout(RECONCILERS_END_MAX, &mut *task).await.is_err() {
                tracing::warn!("a background loop did not end in time");
                task.abort();
            }
        }
        tracing::info!(cut, "stopped");
        cut
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.port.abort();
        for task in &self.background {
            task.abort();
        }
    }
}

/// Makes the port's certificate anew before its end and shows it to new connections.
async fn keep_certificate(state: AppState, names: Vec<String>, shown: Arc<ShownCertificate>, mut shutdown: Shutdown) {
    let dir = DataDir::new(&state.settings.data_dir);
    loop {
        tokio::select! {
            () = shutdown.begun() => return,
            () = tokio::time::sleep(CERTIFICATE_CHECK) => {}
        }
        match ensure_server_cert(&dir, &state.ca, &names, Timestamp::now()) {
            Ok(identity) => {
                if let Err(error) = shown.replace(identity) {
                    tracing::error!(%error, "cannot show the new server certificate");
                }
            }
            Err(error) => tracing::error!(error = %crate::rest::error::chain(&error), "cannot renew the server certificate"),
        }
    }
}

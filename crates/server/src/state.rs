//! What every handler of REST, agent protocol and console shares. Cheap to clone.

use std::sync::Arc;

use drydock_control::Control;
use tokio::sync::Semaphore;

use crate::config::Settings;
use crate::content_routes::HeadLeases;
use crate::failures::FailureLimit;
use crate::identity::oidc::Provider;
use crate::limits;
use crate::metrics::Metrics;
use crate::pki::Authority;
use crate::rates::Rates;
use crate::shutdown::Shutdown;

/// Shared state.
#[derive(Clone)]
pub struct AppState {
    /// The operations.
    pub control: Control,
    /// The configuration.
    pub settings: Arc<Settings>,
    /// The CA.
    pub ca: Arc<Authority>,
    /// Where hosts and people reach this server, for example `https://drydock.example:8443`; no slash at the end.
    pub public_url: Arc<str>,
    /// Names and addresses by which clients reach this server; signed requests must be for one of them.
    pub names: Arc<[String]>,
    /// The OpenID Connect provider that people may sign in with.
    pub oidc: Option<Arc<Provider>>,
    /// "The daemon is going down": long-lived streams end.
    pub shutdown: Shutdown,
    /// Counters for /metrics.
    pub metrics: Arc<Metrics>,
    /// Refused tokens, signatures and enrolments by address.
    pub failures: Arc<FailureLimit>,
    /// Failed sign-ins by address.
    pub sign_in_failures: Arc<FailureLimit>,
    /// Requests by address and principal.
    pub rates: Arc<Rates>,
    /// Places for event streams; the console's live pages take theirs here too.
    pub event_streams: Arc<Semaphore>,
    /// Places for files on their way to a host.
    pub content_streams: Arc<Semaphore>,
    /// Which signature belongs to the index a host has just got.
    pub head_leases: Arc<HeadLeases>,
}

impl AppState {
    /// State of one daemon.
    pub fn new(control: Control, settings: Settings, ca: Authority, public_url: &str, shutdown: Shutdown) -> Self {
        let rates = Arc::new(Rates::new(settings.address_requests_per_s, settings.principal_requests_per_s));
        let content_streams = usize::try_from(settings.content_streams_max).unwrap_or(Semaphore::MAX_PERMITS);
        AppState {
            control,
            names: crate::first_run::certificate_names(&settings).into(),
            settings: Arc::new(settings),
            ca: Arc::new(ca),
            public_url: public_url.into(),
            oidc: None,
            shutdown,
            metrics: Arc::new(Metrics::new()),
            failures: Arc::default(),
            sign_in_failures: Arc::default(),
            rates,
            event_streams: Arc::new(Semaphore::new(limits::EVENT_STREAMS_MAX)),
            content_streams: Arc::new(Semaphore::new(content_streams)),
            head_leases: Arc::default(),
        }
    }

    /// SHA-256 of the CA certificate, lower-case hex: what `--ca-fingerprint` takes.
    pub fn ca_fingerprint(&self) -> String {
        self.ca.fingerprint()
    }

    /// The command that enrols a host with `token`.
    pub fn enrol_command(&self, token: &str) -> String {
        format!("drydock-agent enrol --server {} --token {token} --ca-fingerprint {}", self.public_url, self.ca.fingerprint())
    }
}

impl std::fmt::Debug for AppState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppState").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

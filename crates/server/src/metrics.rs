//! Counters and gauges for Prometheus. Counters are kept here; gauges are read from the store at each scrape, so they
//! are never out of step with it.

use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use drydock_control::Control;
use drydock_control::records::FleetCounts;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Bounds of the duration histogram, seconds.
const DURATION_BUCKETS: [f64; 9] = [0.002, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0];

/// One request's labels. Routes are templates, never paths: their number is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// `GET` …
    pub method: String,
    /// Route template, for example `/api/v1/instances/{id}`.
    pub route: String,
    /// HTTP status, or for agent calls `grpc-N`.
    pub status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// How a request for a package that was not here yet ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDemand {
    /// Fetched from the upstream in time.
    Fetched,
    /// The upstream did not give it.
    Failed,
    /// Still being fetched when the host was told to come again.
    Late,
}

/// What content is like at the moment of a scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentGauges {
    /// Files on their way to hosts, count.
    pub streams: u64,
    /// Room on the disk of the content directory, bytes; `None` when the system does not say.
    pub free_bytes: Option<u64>,
}

/// Bytes of content sent to hosts.
#[derive(Debug, Clone, Default)]
pub struct ContentBytes(Counter);

impl ContentBytes {
    /// Counts a piece.
    pub fn add(&self, bytes: u64) {
        self.0.inc_by(bytes);
    }

    /// All so far.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

type Durations = Family<RouteLabel, Histogram, fn() -> Histogram>;

/// The daemon's counters.
#[derive(Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    durations: Durations,
    in_flight: Gauge,
    content: Family<StatusLabel, Counter>,
    content_bytes: ContentBytes,
    on_demand: Family<OutcomeLabel, Counter>,
}

/// One request under way; counted until it is dropped, answered or not.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counters at zero.
    pub fn new() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(DURATION_BUCKETS);
        Metrics {
            requests: Family::default(),
            durations: Family::new_with_constructor(histogram),
            in_flight: Gauge::default(),
            content: Family::default(),
            content_bytes: ContentBytes::default(),
            on_demand: Family::default(),
        }
    }

    /// Counts a request as under way.
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Requests under way: not yet answered. Open streams are answered.
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    /// Notes one answered request.
    pub fn answered(&self, labels: RequestLabels, took: Duration) {
        self.durations.get_or_create(&RouteLabel { route: labels.route.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&labels).inc();
    }

    /// Notes one answer of a repository.
    pub fn content_answered(&self, status: u16) {
        self.content.get_or_create(&StatusLabel { status }).inc();
    }

    /// Where bytes of content are counted.
    pub fn content_bytes(&self) -> ContentBytes {
        self.content_bytes.clone()
    }

    /// Notes how a package that was not here yet was got.
    pub fn on_demand(&self, ended: OnDemand) {
        let outcome = match ended {
            OnDemand::Fetched => "fetched",
            OnDemand::Failed => "failed",
            OnDemand::Late => "late",
        };
        self.on_demand.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Everything in OpenMetrics text. Fails when the store does not answer.
    pub async fn render(&self, control: &Control, content: &ContentGauges) -> drydock_control::Result<String> {
        let ctx = control.ctx(drydock_control::Principal::Server, "metrics");
        let counts = control.overview(&ctx).await?;
        let mut registry = Registry::with_prefix("drydock");
        registry.register("requests", "Answered requests", self.requests.clone());
        registry.register("request_duration_seconds", "Time to the head of the answer", self.durations.clone());
        registry.register("requests_in_flight", "Requests not yet answered", self.in_flight.clone());
        registry.register("build", "This build", Info::new(vec![("version", crate::VERSION)]));
        registry.register("content_requests", "Answers of repositories by status", self.content.clone());
        registry.register("content_bytes", "Bytes of repositories sent to hosts", self.content_bytes.0.clone());
        registry.register("content_on_demand", "Packages asked for before they were here", self.on_demand.clone());
        gauge(&mut registry, "content_streams", "Files on their way to hosts", content.streams);
        if let Some(free) = content.free_bytes {
            gauge(&mut registry, "content_free_bytes", "Room on the disk of the content directory", free);
        }
        let attached = u64::try_from(control.hub().attached()).unwrap_or(u64::MAX);
        gauge(&mut registry, "agents_attached", "Agents that hold a stream open", attached);
        fleet(&mut registry, &counts);
        let mut out = String::new();
        if prometheus_client::encoding::text::encode(&mut out, &registry).is_err() {
            let _ = writeln!(out, "# encoding failed");
        }
        Ok(out)
    }
}

fn fleet(registry: &mut Registry, counts: &FleetCounts) {
    states(registry, "instances", "Instances by state", &counts.instances);
    states(registry, "patch_tasks", "Tasks of running patch jobs by state", &counts.tasks);
    gauge(registry, "patch_jobs_running", "Patch jobs that are not final", counts.jobs_running);
    gauge(registry, "instances_online", "Active instances heard of within 90 s", counts.online);
    gauge(registry, "instances_offline", "Active instances silent for longer", counts.offline);
    gauge(registry, "instances_with_updates", "Active instances with updates", counts.with_updates);
    gauge(registry, "instances_with_security_updates", "… with security updates", counts.with_security_updates);
    gauge(registry, "instances_reboot_required", "… that ask for a reboot", counts.reboot_required);
    gauge(registry, "instances_with_findings", "… with broken repositories", counts.with_findings);
}

type U64Gauge = Gauge<u64, AtomicU64>;

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let metric = U64Gauge::default();
    metric.set(value);
    registry.register(name, help, metric);
}

fn states(registry: &mut Registry, name: &str, help: &str, values: &std::collections::BTreeMap<&'static str, u64>) {
    let family: Family<StateLabel, U64Gauge> = Family::default();
    for (state, value) in values {
        family.get_or_create(&StateLabel { state: (*state).to_owned() }).set(*value);
    }
    registry.register(name, help, family);
}

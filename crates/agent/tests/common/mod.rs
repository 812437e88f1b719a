//! A server of paper that speaks the agent protocol over real TLS: what it is asked is kept, what it answers is set by
//! the test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use drydock_api::agent::signed_bytes;
use drydock_api::agent::v1::agent_link_server::{AgentLink, AgentLinkServer};
use drydock_api::agent::v1::section_report::Body;
use drydock_api::agent::v1::*;
use drydock_domain::inventory::fingerprint;
use drydock_domain::patch::report::TaskReport;
use drydock_domain::policy::{HostPolicies, HostPoliciesReport};
use drydock_domain::source::host::HostSourcesReport;
use drydock_domain::work::WorkOrder;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

pub const INSTANCE: &str = "0198c0de-0000-7000-8000-000000000001";

/// What the server saw and what it will answer.
#[derive(Default)]
pub struct Seen {
    pub pending_answers: u32,
    pub enrol_keys: Vec<Vec<u8>>,
    pub attached: u32,
    pub user_agents: Vec<String>,
    pub hints: Option<mpsc::Sender<Result<Hint, Status>>>,
    pub heartbeat_secs: u32,
    pub bodies: BTreeMap<String, Vec<u8>>,
    pub deltas: u32,
    pub orders: Vec<SignedOrder>,
    pub refused: Vec<String>,
    pub reports: Vec<TaskReport>,
    pub renewals: u32,
    pub unregistered: bool,
    pub certificate_secs: u64,
    /// Document and signature of the host's sources, with their generation.
    pub sources: Option<(u64, PullSourcesResponse)>,
    pub source_reports: Vec<HostSourcesReport>,
    pub content_certificates: u32,
    /// Document, signature and secrets of the host's policies, with their generation; `None` = a server of before.
    pub policies: Option<(u64, PullPoliciesResponse)>,
    /// Newest check on demand.
    pub policy_check: u64,
    pub previews: Vec<SignedPolicies>,
    pub policy_reports: Vec<HostPoliciesReport>,
    /// Reports are stored, but the answer is lost so often.
    pub lost_answers: u32,
    /// Reboot slots are refused so often, then given.
    pub slot_refusals: u32,
    pub slot_asks: Vec<String>,
    /// Every task that an agent holds is told to stop.
    pub stop: bool,
    /// A person has revoked the instance.
    pub revoked: bool,
}

pub struct Server {
    pub address: SocketAddr,
    pub ca_fingerprint: String,
    pub seen: Arc<Mutex<Seen>>,
    pub work_key: Arc<Ed25519KeyPair>,
    _runtime: tokio::runtime::Runtime,
}

struct Service {
    seen: Arc<Mutex<Seen>>,
    ca_pem: String,
    issuer: Arc<Issuer<'static, KeyPair>>,
    work_key: Vec<u8>,
}

fn key_usage(params: &mut CertificateParams, purpose: ExtendedKeyUsagePurpose) {
    params.extended_key_usages = vec![purpose];
}

impl Server {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let ca_key = KeyPair::generate().expect("a key");
        let mut ca_params = CertificateParams::new(Vec::new()).expect("params");
        ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = ca_params.self_signed(&ca_key).expect("signed");
        let issuer = Arc::new(Issuer::new(ca_params, ca_key));
        let leaf_key = KeyPair::generate().expect("a key");
        let mut leaf = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("params");
        key_usage(&mut leaf, ExtendedKeyUsagePurpose::ServerAuth);
        let leaf = leaf.signed_by(&leaf_key, &issuer).expect("signed");

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.der().clone()).expect("a root");
        let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .expect("a verifier");
        let chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone(), ca.der().clone()];
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, PrivateKeyDer::try_from(leaf_key.serialize_der()).expect("a key"))
            .expect("a certificate");
        tls.alpn_protocols = vec![b"h2".to_vec()];

        let seen = Arc::new(Mutex::new(Seen { heartbeat_secs: 30, certificate_secs: 3600, ..Default::default() }));
        let work_key = Arc::new(Ed25519KeyPair::from_seed_unchecked(&[5; 32]).expect("a key"));
        let service = Arc::new(Service {
            seen: Arc::clone(&seen),
            ca_pem: ca.pem(),
            issuer,
            work_key: work_key.public_key().as_ref().to_vec(),
        });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(accept(listener, tokio_rustls::TlsAcceptor::from(Arc::new(tls)), service));
        Server { address, ca_fingerprint: fingerprint(ca.der()), seen, work_key, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("lock")
    }

    pub fn order(&self, order: &WorkOrder) {
        let bytes = serde_json::to_vec(order).expect("json");
        let signature = self.work_key.sign(&signed_bytes(&bytes)).as_ref().to_vec();
        self.give(SignedOrder { order: bytes, signature });
    }

    pub fn give(&self, signed: SignedOrder) {
        let mut seen = self.seen();
        seen.orders.push(signed);
        seen.hint();
    }
}

impl Seen {
    /// Makes the agent look.
    pub fn hint(&self) {
        if let Some(hints) = &self.hints {
            let _ = hints.try_send(Ok(Hint { heartbeat_secs: self.heartbeat_secs, look: true }));
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, tls: tokio_rustls::TlsAcceptor, service: Arc<Service>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, service) = (tls.clone(), Arc::clone(&service));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let routes = tonic::service::Routes::new(AgentLinkServer::from_arc(service)).prepare();
            let http = Builder::new(TokioExecutor::new());
            let _ = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes)).await;
        });
    }
}

impl Service {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("lock")
    }

    fn certify(&self, csr_der: &[u8]) -> (Vec<u8>, String) {
        let mut csr = CertificateSigningRequestParams::from_der(&csr_der.to_vec().into()).expect("a request");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
        csr.params.not_before = rcgen::date_time_ymd(1970, 1, 1) + (now - Duration::from_secs(2));
        csr.params.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + Duration::from_secs(self.lock().certificate_secs);
        key_usage(&mut csr.params, ExtendedKeyUsagePurpose::ClientAuth);
        let pem = csr.signed_by(&self.issuer).expect("signed").pem();
        use rcgen::PublicKeyData;
        (csr.public_key.der_bytes().to_vec(), pem)
    }
}

type Hints = Pin<Box<dyn Stream<Item = Result<Hint, Status>> + Send>>;

#[tonic::async_trait]
impl AgentLink for Service {
    type AttachStream = Hints;

    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        let request = request.into_inner();
        let (key, certificate_pem) = self.certify(&request.csr_der);
        let mut seen = self.lock();
        let comes_back = request.token.is_empty() && !seen.revoked && seen.enrol_keys.contains(&key);
        if request.token != "dde_good" && !comes_back {
            return Err(Status::permission_denied("the token is not valid; ask for a new one"));
        }
        seen.enrol_keys.push(key);
        let mut response = EnrolResponse { instance_id: INSTANCE.to_owned(), retry_after_secs: 1, ..Default::default() };
        if seen.pending_answers > 0 {
            seen.pending_answers -= 1;
            response.set_state(enrol_response::State::Pending);
            response.message = "the profile asks for acceptance".to_owned();
        } else {
            response.set_state(enrol_response::State::Active);
            response.certificate_pem = certificate_pem;
            response.ca_pem.clone_from(&self.ca_pem);
            response.work_key.clone_from(&self.work_key);
        }
        Ok(Response::new(response))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        self.lock().certificate_secs = 3600;
        let (_, certificate_pem) = self.certify(&request.into_inner().csr_der);
        self.lock().renewals += 1;
        Ok(Response::new(RenewResponse { certificate_pem, ca_pem: self.ca_pem.clone(), work_key: self.work_key.clone() }))
    }

    async fn attach(&self, request: Request<AttachRequest>) -> Result<Response<Hints>, Status> {
        let (sender, receiver) = mpsc::channel(16);
        let mut seen = self.lock();
        seen.attached += 1;
        let agent = request.metadata().get("user-agent").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        seen.user_agents.push(agent);
        let _ = sender.try_send(Ok(Hint { heartbeat_secs: seen.heartbeat_secs, look: false }));
        seen.hints = Some(sender);
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn report_inventory(
        &self,
        request: Request<ReportInventoryRequest>,
    ) -> Result<Response<ReportInventoryResponse>, Status> {
        let mut seen = self.lock();
        let mut wanted = Vec::new();
        for section in request.into_inner().sections {
            match section.body {
                Some(Body::Full(body)) => {
                    assert_eq!(fingerprint(&body), section.fingerprint, "the fingerprint is the body's");
                    seen.bodies.insert(section.kind, body);
                }
                Some(Body::Delta(_)) => {
                    seen.deltas += 1;
                    wanted.push(section.kind);
                }
                None if seen.bodies.get(&section.kind).is_some_and(|b| fingerprint(b) == section.fingerprint) => {}
                None => wanted.push(section.kind),
            }
        }
        Ok(Response::new(ReportInventoryResponse { wanted, confirmed: false }))
    }

    async fn pull_work(&self, request: Request<PullWorkRequest>) -> Result<Response<PullWorkResponse>, Status> {
        let held = request.into_inner().held;
        let directive = if self.lock().stop { "STOP" } else { "CONTINUE" };
        let directives =
            held.into_iter().map(|h| TaskDirective { task_id: h.task_id, directive: directive.to_owned() }).collect();
        let orders = self.lock().orders.clone();
        Ok(Response::new(PullWorkResponse { orders, directives }))
    }

    async fn report_task(&self, request: Request<ReportTaskRequest>) -> Result<Response<ReportTaskResponse>, Status> {
        let report: TaskReport = serde_json::from_slice(&request.into_inner().report).expect("a report");
        report.validate().expect("valid");
        let mut seen = self.lock();
        seen.orders.clear();
        seen.reports.push(report);
        Ok(Response::new(ReportTaskResponse { directive: "CONTINUE".to_owned(), stored: true }))
    }

    async fn refuse_order(&self, request: Request<RefuseOrderRequest>) -> Result<Response<RefuseOrderResponse>, Status> {
        let mut seen = self.lock();
        seen.orders.clear();
        seen.refused.push(request.into_inner().reason);
        Ok(Response::new(RefuseOrderResponse {}))
    }

    async fn acquire_reboot_slot(
        &self,
        request: Request<AcquireRebootSlotRequest>,
    ) -> Result<Response<AcquireRebootSlotResponse>, Status> {
        let mut seen = self.lock();
        seen.slot_asks.push(request.into_inner().task_id);
        let granted = seen.slot_refusals == 0;
        seen.slot_refusals = seen.slot_refusals.saturating_sub(1);
        let message = if granted { "" } else { "waits for a reboot slot of group db: held by db1" };
        Ok(Response::new(AcquireRebootSlotResponse { granted, message: message.to_owned(), retry_after_secs: 300 }))
    }

    async fn pull_sources(&self, request: Request<PullSourcesRequest>) -> Result<Response<PullSourcesResponse>, Status> {
        let held = request.into_inner().generation;
        let changed = self.lock().sources.as_ref().filter(|(generation, _)| *generation != held).map(|(_, r)| r.clone());
        Ok(Response::new(changed.unwrap_or_default()))
    }

    async fn report_sources(&self, request: Request<ReportSourcesRequest>) -> Result<Response<ReportSourcesResponse>, Status> {
        let report = serde_json::from_slice(&request.into_inner().report).expect("a report");
        self.lock().source_reports.push(report);
        Ok(Response::new(ReportSourcesResponse {}))
    }

    async fn pull_policies(&self, request: Request<PullPoliciesRequest>) -> Result<Response<PullPoliciesResponse>, Status> {
        let held = request.into_inner().generation;
        let seen = self.lock();
        let Some((generation, response)) = &seen.policies else { return Err(Status::unimplemented("a server of before")) };
        let new = if *generation == held { PullPoliciesResponse::default() } else { response.clone() };
        Ok(Response::new(PullPoliciesResponse { check: seen.policy_check, previews: seen.previews.clone(), ..new }))
    }

    async fn report_policies(&self, request: Request<ReportPoliciesRequest>) -> Result<Response<ReportPoliciesResponse>, Status> {
        let report: HostPoliciesReport = serde_json::from_slice(&request.into_inner().report).expect("a report");
        report.validate().expect("one that a server takes");
        let mut seen = self.lock();
        if seen.policy_reports.last().is_none_or(|last| last.seq < report.seq) {
            if let Some(id) = &report.preview {
                let other = |p: &SignedPolicies| {
                    serde_json::from_slice::<HostPolicies>(&p.document).is_ok_and(|d| d.preview.as_ref() != Some(id))
                };
                seen.previews.retain(other);
            }
            seen.policy_reports.push(report);
        }
        if seen.lost_answers > 0 {
            seen.lost_answers -= 1;
            return Err(Status::unavailable("the answer is lost"));
        }
        Ok(Response::new(ReportPoliciesResponse { stored: true }))
    }

    async fn issue_content_certificate(
        &self,
        request: Request<IssueContentCertificateRequest>,
    ) -> Result<Response<IssueContentCertificateResponse>, Status> {
        let (_, certificate_pem) = self.certify(&request.into_inner().csr_der);
        self.lock().content_certificates += 1;
        Ok(Response::new(IssueContentCertificateResponse { certificate_pem, ca_pem: self.ca_pem.clone() }))
    }

    async fn issue_access_token(
        &self,
        _: Request<IssueAccessTokenRequest>,
    ) -> Result<Response<IssueAccessTokenResponse>, Status> {
        Err(Status::unimplemented("a server of before"))
    }

    async fn unregister(&self, _: Request<UnregisterRequest>) -> Result<Response<UnregisterResponse>, Status> {
        self.lock().unregistered = true;
        Ok(Response::new(UnregisterResponse {}))
    }
}

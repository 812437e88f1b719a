//! The agent protocol as a thin adapter: decode, one operation of `control`, encode. Certificates are signed here,
//! because keys are the server's; who gets one is decided by `control`.

mod attach;
mod gate;
mod policies;
mod session;
mod sources;

pub use gate::gate;

use std::time::{Duration, Instant};

use drydock_api::agent::MESSAGE_MAX_BYTES;
use drydock_api::agent::v1::agent_link_server::{AgentLink, AgentLinkServer};
use drydock_api::agent::v1::enrol_response::State as EnrolState;
use drydock_api::agent::v1::section_report::Body;
use drydock_api::agent::v1::{
    AcquireRebootSlotRequest, AcquireRebootSlotResponse, AttachRequest, EnrolRequest, EnrolResponse, IssueAccessTokenRequest,
    IssueAccessTokenResponse, IssueContentCertificateRequest, IssueContentCertificateResponse, PullPoliciesRequest,
    PullPoliciesResponse, PullSourcesRequest, PullSourcesResponse, PullWorkRequest, PullWorkResponse, RefuseOrderRequest,
    RefuseOrderResponse, RenewRequest, RenewResponse, ReportInventoryRequest, ReportInventoryResponse, ReportPoliciesRequest,
    ReportPoliciesResponse, ReportSourcesRequest, ReportSourcesResponse, ReportTaskRequest, ReportTaskResponse, SectionReport,
    SignedOrder, TaskDirective, UnregisterRequest, UnregisterResponse,
};
use drydock_control::{CallFrom, EnrolAsk, ErrorKind, Secret, SectionBodyIn, SectionIn};
use drydock_domain::ids::{InstanceId, TaskId};
use drydock_domain::instance::InstanceState;
use drydock_domain::inventory::OsFacts;
use jiff::Timestamp;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Response, Status};

use crate::pki::{CertificateUse, CsrKey, IssuedCertificate, check_csr};
use crate::request::RequestInfo;
use crate::rest::error::chain;
use crate::rest::extract::address_of;
use crate::state::AppState;

/// Machine-id, host name, token, reason: longest accepted, bytes. `control` checks their form.
const TEXT_MAX_BYTES: usize = 1024;
/// Operating-system facts at enrolment, bytes.
const OS_FACTS_MAX_BYTES: usize = 64 * 1024;
/// Tasks an agent may say it holds, count: one is usual, some wait for their acknowledgement.
const HELD_MAX: usize = 1000;
/// Sections of one report, count.
const SECTIONS_MAX: usize = 16;

/// The service, ready to be mounted.
pub fn service(state: AppState) -> AgentLinkServer<Link> {
    AgentLinkServer::new(Link { state })
        .max_decoding_message_size(MESSAGE_MAX_BYTES)
        .max_encoding_message_size(MESSAGE_MAX_BYTES)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip)
}

/// The agent protocol over `control`.
#[derive(Debug, Clone)]
pub struct Link {
    state: AppState,
}

/// The one mapping of errors to gRPC codes. Agents take PERMISSION_DENIED, UNAUTHENTICATED and FAILED_PRECONDITION as
/// final and repeat UNAVAILABLE.
fn status_of(error: &drydock_control::Error, request_id: &str) -> Status {
    let message = error.to_string();
    match error.kind() {
        ErrorKind::NotFound => Status::not_found(message),
        ErrorKind::Invalid => Status::invalid_argument(message),
        ErrorKind::Unauthenticated => Status::unauthenticated(message),
        ErrorKind::Forbidden => Status::permission_denied(message),
        ErrorKind::Conflict => Status::failed_precondition(message),
        ErrorKind::Unavailable | ErrorKind::Internal => {
            tracing::error!(request_id, error = %chain(error), "an agent's call failed");
            // An agent repeats what failed by our fault: nothing of its work is lost.
            Status::unavailable(message)
        }
    }
}

fn info_of<T>(request: &Request<T>) -> RequestInfo {
    request.extensions().get::<RequestInfo>().cloned().unwrap_or_else(RequestInfo::unknown)
}

fn bounded(name: &str, text: &str) -> Result<(), Status> {
    if text.len() > TEXT_MAX_BYTES {
        return Err(Status::invalid_argument(format!("{name} has more than {TEXT_MAX_BYTES} bytes")));
    }
    Ok(())
}

impl Link {
    fn life(&self) -> Duration {
        Duration::from_secs(u64::from(self.state.settings.certificate_hours) * 3600)
    }

    fn sign(
        &self,
        good_for: CertificateUse,
        instance: InstanceId,
        key: &CsrKey,
        request_id: &str,
    ) -> Result<IssuedCertificate, Status> {
        self.state.ca.issue(good_for, key, instance, self.life(), self.state.control.now()).map_err(|error| {
            tracing::error!(request_id, %error, "cannot sign a certificate");
            Status::unavailable("the server cannot sign certificates now; its log has the reason")
        })
    }

    /// Signs an agent's certificate and notes it in the store before anybody sees it.
    async fn issue(&self, instance: InstanceId, key: &CsrKey, from: &CallFrom) -> Result<IssuedCertificate, Status> {
        let cert = self.sign(CertificateUse::Agent, instance, key, &from.request_id)?;
        let (control, fingerprint) = (&self.state.control, key.fingerprint());
        let stored = control.record_certificate(instance, from.clone(), &fingerprint, &cert.serial, cert.expires_at).await;
        stored.map_err(|e| status_of(&e, &from.request_id))?;
        Ok(cert)
    }

    /// Records that whoever shows a certificate gets no newer one.
    fn renewal_refused(&self, request: &Request<RenewRequest>, status: &Status) {
        if !matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated) {
            return;
        }
        let from = CallFrom { request_id: info_of(request).id, address: Some(address_of(request.extensions())) };
        let who = session::certificate(request).map_or_else(|_| "unknown".to_owned(), |own| format!("instance {}", own.instance));
        self.state.control.audit_host_refused(&from, &who, "certificate.issue", "", status.message());
    }

    async fn enrol_inner(&self, ask: EnrolRequest, from: CallFrom) -> Result<EnrolResponse, Status> {
        for (name, text) in [("token", &ask.token), ("machine_id", &ask.machine_id), ("hostname", &ask.hostname)] {
            bounded(name, text)?;
        }
        let key = check_csr(&ask.csr_der).map_err(|e| Status::failed_precondition(e.to_string()))?;
        if ask.os_facts.len() > OS_FACTS_MAX_BYTES {
            return Err(Status::invalid_argument(format!("os_facts has more than {OS_FACTS_MAX_BYTES} bytes")));
        }
        let os: OsFacts = serde_json::from_slice(&ask.os_facts)
            .map_err(|e| Status::invalid_argument(format!("os_facts is not the JSON of OsFacts: {e}")))?;
        let asked = EnrolAsk {
            token: Secret::new(ask.token),
            spki_sha256: key.fingerprint(),
            machine_id: ask.machine_id,
            hostname: ask.hostname,
            os,
        };
        let enrolled = self.state.control.enrol(from.clone(), asked).await.map_err(|e| status_of(&e, &from.request_id))?;
        let mut answer = EnrolResponse {
            state: EnrolState::Pending.into(),
            instance_id: enrolled.instance.to_string(),
            certificate_pem: String::new(),
            ca_pem: self.state.ca.cert_pem().to_owned(),
            work_key: self.state.control.work_public_key().to_vec(),
            retry_after_secs: enrolled.retry_after_secs,
            message: enrolled.message,
        };
        if enrolled.state == InstanceState::Active {
            answer.state = EnrolState::Active.into();
            answer.certificate_pem = self.issue(enrolled.instance, &key, &from).await?.chain_pem;
        }
        Ok(answer)
    }
}

#[tonic::async_trait]
impl AgentLink for Link {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        let info = info_of(&request);
        let address = address_of(request.extensions());
        if let Err(wait) = self.state.failures.check(address, Instant::now()) {
            let secs = wait.as_secs().max(1);
            return Err(Status::unavailable(format!("too many refused enrolments from {address}; wait {secs} s")));
        }
        let from = CallFrom { request_id: info.id.clone(), address: Some(address) };
        let result = self.enrol_inner(request.into_inner(), from).await;
        match result {
            Ok(answer) => {
                info.set_who(&format!("instance {}", answer.instance_id));
                Ok(Response::new(answer))
            }
            Err(status) => {
                if status.code() != Code::Unavailable {
                    self.state.failures.failed(address, Instant::now());
                }
                Err(status)
            }
        }
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let session = self.session(&request).await.inspect_err(|status| self.renewal_refused(&request, status))?;
        let key = check_csr(&request.into_inner().csr_der).map_err(|e| Status::failed_precondition(e.to_string()))?;
        let cert = self.issue(session.instance, &key, &CallFrom::from(&session.ctx)).await?;
        Ok(Response::new(RenewResponse {
            certificate_pem: cert.chain_pem,
            ca_pem: self.state.ca.cert_pem().to_owned(),
            work_key: self.state.control.work_public_key().to_vec(),
        }))
    }

    type AttachStream = attach::HintStream;

    async fn attach(&self, request: Request<AttachRequest>) -> Result<Response<Self::AttachStream>, Status> {
        attach::open(self, &request).await.map(Response::new)
    }

    async fn report_inventory(
        &self,
        request: Request<ReportInventoryRequest>,
    ) -> Result<Response<ReportInventoryResponse>, Status> {
        let session = self.session(&request).await?;
        let ReportInventoryRequest { sections, combined } = request.into_inner();
        if sections.len() > SECTIONS_MAX {
            return Err(Status::invalid_argument(format!("more than {SECTIONS_MAX} sections in one report")));
        }
        if sections.is_empty() && !combined.is_empty() {
            let confirmed = self.state.control.confirm_inventory(&session.ctx, &combined).await;
            let confirmed = confirmed.map_err(|e| status_of(&e, &session.ctx.request_id))?;
            return Ok(Response::new(ReportInventoryResponse { wanted: Vec::new(), confirmed }));
        }
        let sections = sections.into_iter().map(section).collect();
        let wanted = self.state.control.report_inventory(&session.ctx, sections).await;
        let wanted = wanted.map_err(|e| status_of(&e, &session.ctx.request_id))?;
        let wanted = wanted.into_iter().map(|kind| kind.as_str().to_owned()).collect();
        Ok(Response::new(ReportInventoryResponse { wanted, confirmed: false }))
    }

    async fn pull_work(&self, request: Request<PullWorkRequest>) -> Result<Response<PullWorkResponse>, Status> {
        let session = self.session(&request).await?;
        let held = request.into_inner().held;
        if held.len() > HELD_MAX {
            return Err(Status::invalid_argument(format!("more than {HELD_MAX} held tasks")));
        }
        let held = held
            .iter()
            .map(|h| h.task_id.parse::<TaskId>().map_err(|e| Status::invalid_argument(e.to_string())))
            .collect::<Result<Vec<_>, _>>()?;
        let pulled = self.state.control.pull_work(&session.ctx, &held).await;
        let pulled = pulled.map_err(|e| status_of(&e, &session.ctx.request_id))?;
        let orders = pulled.orders.into_iter().map(|o| SignedOrder { order: o.order, signature: o.signature }).collect();
        let directives = pulled
            .directives
            .into_iter()
            .map(|(task, answer)| TaskDirective { task_id: task.to_string(), directive: answer.as_str().to_owned() })
            .collect();
        Ok(Response::new(PullWorkResponse { orders, directives }))
    }

    async fn report_task(&self, request: Request<ReportTaskRequest>) -> Result<Response<ReportTaskResponse>, Status> {
        let session = self.session(&request).await?;
        let reported = self.state.control.report_task(&session.ctx, &request.into_inner().report).await;
        let reported = reported.map_err(|e| status_of(&e, &session.ctx.request_id))?;
        let directive = reported.directive.as_str().to_owned();
        Ok(Response::new(ReportTaskResponse { directive, stored: reported.stored }))
    }

    async fn refuse_order(&self, request: Request<RefuseOrderRequest>) -> Result<Response<RefuseOrderResponse>, Status> {
        let session = self.session(&request).await?;
        let refused = request.into_inner();
        bounded("reason", &refused.reason)?;
        // An order that could not be read names no task; the refusal is still noted.
        let task = refused.task_id.parse::<TaskId>().ok();
        let noted = self.state.control.refuse_order(&session.ctx, task, &refused.reason).await;
        noted.map_err(|e| status_of(&e, &session.ctx.request_id))?;
        Ok(Response::new(RefuseOrderResponse {}))
    }

    async fn acquire_reboot_slot(
        &self,
        request: Request<AcquireRebootSlotRequest>,
    ) -> Result<Response<AcquireRebootSlotResponse>, Status> {
        let session = self.session(&request).await?;
        let task = request.into_inner().task_id.parse::<TaskId>().map_err(|e| Status::invalid_argument(e.to_string()))?;
        let answer = self.state.control.acquire_reboot_slot(&session.ctx, task).await;
        let answer = answer.map_err(|e| status_of(&e, &session.ctx.request_id))?;
        Ok(Response::new(AcquireRebootSlotResponse {
            granted: answer.granted,
            message: answer.message,
            retry_after_secs: answer.retry_after_secs,
        }))
    }

    async fn pull_sources(&self, request: Request<PullSourcesRequest>) -> Result<Response<PullSourcesResponse>, Status> {
        sources::pull(self, request).await.map(Response::new)
    }

    async fn report_sources(&self, request: Request<ReportSourcesRequest>) -> Result<Response<ReportSourcesResponse>, Status> {
        sources::report(self, request).await.map(Response::new)
    }

    async fn pull_policies(&self, request: Request<PullPoliciesRequest>) -> Result<Response<PullPoliciesResponse>, Status> {
        policies::pull(self, request).await.map(Response::new)
    }

    async fn report_policies(&self, request: Request<ReportPoliciesRequest>) -> Result<Response<ReportPoliciesResponse>, Status> {
        policies::report(self, request).await.map(Response::new)
    }

    async fn issue_content_certificate(
        &self,
        request: Request<IssueContentCertificateRequest>,
    ) -> Result<Response<IssueContentCertificateResponse>, Status> {
        sources::issue_certificate(self, request).await.map(Response::new)
    }

    async fn issue_access_token(
        &self,
        request: Request<IssueAccessTokenRequest>,
    ) -> Result<Response<IssueAccessTokenResponse>, Status> {
        let session = self.session(&request).await?;
        let own = session::certificate(&request)?.key_fingerprint;
        let secs = Some(request.into_inner().lifetime_secs).filter(|secs| *secs != 0);
        let issued = self.state.control.issue_instance_token(&session.ctx, &own, secs).await;
        let (token, expires_at) = issued.map_err(|e| status_of(&e, &session.ctx.request_id))?;
        let token = token.expose().to_owned();
        Ok(Response::new(IssueAccessTokenResponse { token, expires_at: expires_at.as_second() }))
    }

    async fn unregister(&self, request: Request<UnregisterRequest>) -> Result<Response<UnregisterResponse>, Status> {
        let session = self.session(&request).await?;
        self.state.control.unregister(&session.ctx).await.map_err(|e| status_of(&e, &session.ctx.request_id))?;
        Ok(Response::new(UnregisterResponse {}))
    }
}

fn section(report: SectionReport) -> SectionIn {
    let body = match report.body {
        None => SectionBodyIn::None,
        Some(Body::Full(bytes)) => SectionBodyIn::Full(bytes),
        Some(Body::Delta(d)) => SectionBodyIn::Delta { base_fingerprint: d.base_fingerprint, delta: d.package_delta },
    };
    SectionIn { kind: report.kind, fingerprint: report.fingerprint, body }
}

/// A certificate that ended does not speak any more, also not on a connection that was made before its end.
fn is_over(expires_at: Timestamp, now: Timestamp) -> bool {
    expires_at <= now
}

//! The sources of a host: its document, its answer, and the certificate its package managers show.

use drydock_api::agent::v1::{
    IssueContentCertificateRequest, IssueContentCertificateResponse, PullSourcesRequest, PullSourcesResponse,
    ReportSourcesRequest, ReportSourcesResponse,
};
use tonic::{Request, Status};

use super::session::{self, Session};
use super::{Link, status_of};
use crate::pki::{CertificateUse, check_csr};

/// Report of a host about its sources, bytes: a thousand findings of 1 KiB.
const REPORT_MAX_BYTES: usize = 1024 * 1024;

pub(super) async fn pull(link: &Link, request: Request<PullSourcesRequest>) -> Result<PullSourcesResponse, Status> {
    let session = link.session(&request).await?;
    let found = link.state.control.host_sources_for(&session.ctx, request.into_inner().generation).await;
    let found = found.map_err(|e| status_of(&e, &session.ctx.request_id))?;
    Ok(match found {
        None => PullSourcesResponse { changed: false, document: Vec::new(), signature: Vec::new() },
        Some(signed) => PullSourcesResponse { changed: true, document: signed.document, signature: signed.signature },
    })
}

pub(super) async fn report(link: &Link, request: Request<ReportSourcesRequest>) -> Result<ReportSourcesResponse, Status> {
    let session = link.session(&request).await?;
    let report = request.into_inner().report;
    if report.len() > REPORT_MAX_BYTES {
        return Err(Status::invalid_argument(format!("a report about sources has at most {REPORT_MAX_BYTES} bytes")));
    }
    let noted = link.state.control.report_host_sources(&session.ctx, &report).await;
    noted.map_err(|e| status_of(&e, &session.ctx.request_id))?;
    Ok(ReportSourcesResponse {})
}

pub(super) async fn issue_certificate(
    link: &Link,
    request: Request<IssueContentCertificateRequest>,
) -> Result<IssueContentCertificateResponse, Status> {
    let Session { instance, ctx } = link.session(&request).await?;
    let own = session::certificate(&request)?.key_fingerprint;
    let key = check_csr(&request.into_inner().csr_der).map_err(|e| Status::failed_precondition(e.to_string()))?;
    let fingerprint = key.fingerprint();
    if fingerprint == own {
        // Other users of the host read that key: it must not be the one that speaks for the agent.
        return Err(Status::failed_precondition("a content certificate needs a key of its own, not the agent's"));
    }
    let cert = link.sign(CertificateUse::Content, instance, &key, &ctx.request_id)?;
    let stored = link.state.control.record_content_certificate(instance, &ctx, &fingerprint, &cert.serial, cert.expires_at).await;
    stored.map_err(|e| status_of(&e, &ctx.request_id))?;
    Ok(IssueContentCertificateResponse { certificate_pem: cert.chain_pem, ca_pem: link.state.ca.cert_pem().to_owned() })
}

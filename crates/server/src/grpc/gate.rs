//! In front of the agent protocol: whoever shows no certificate may only ask to enrol, and only with a small message.
//! Without this gate a stranger could make the server read 8 MiB a call before it says no.

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use tonic::Status;

use crate::listener::Peer;
use crate::pki::CertificateUse;
use crate::request::AGENT_PATH;

/// The Enrol message as sent, bytes: a request, operating-system facts of at most 64 KiB, and their frame.
const ENROL_MAX_BYTES: usize = 128 * 1024;

/// Lets a call through, or answers it.
pub async fn gate(request: Request, next: Next) -> Response {
    let certificate = request.extensions().get::<Peer>().and_then(|p| p.certificate.clone());
    if matches!(certificate.as_deref(), Some(Ok(shown)) if shown.good_for != CertificateUse::Agent) {
        return refuse(Status::permission_denied("a content certificate reads /content and nothing else"));
    }
    if request.uri().path().strip_prefix(AGENT_PATH) == Some("Enrol") {
        let (parts, body) = request.into_parts();
        return match axum::body::to_bytes(body, ENROL_MAX_BYTES).await {
            Ok(bytes) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
            Err(_) => refuse(Status::resource_exhausted(format!("an enrolment has at most {ENROL_MAX_BYTES} bytes"))),
        };
    }
    if certificate.is_some() { next.run(request).await } else { refuse(no_certificate()) }
}

/// What a peer without a certificate is told.
pub(super) fn no_certificate() -> Status {
    Status::unauthenticated("this call needs the agent's certificate; enrol first (drydock-agent enrol)")
}

fn refuse(status: Status) -> Response {
    status.into_http()
}

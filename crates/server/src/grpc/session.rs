//! Who calls: the certificate of the connection, checked in the store at every call.

use std::time::Instant;

use drydock_control::OpCtx;
use drydock_domain::ids::InstanceId;
use tonic::{Request, Status};

use super::{Link, info_of, is_over, status_of};
use crate::listener::Peer;
use crate::pki::{CertificateUse, PeerCertificate};
use crate::rest::extract::address_of;

/// An agent that may speak.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) instance: InstanceId,
    pub(super) ctx: OpCtx,
}

/// The certificate of the connection the request came on.
pub(super) fn certificate<T>(request: &Request<T>) -> Result<PeerCertificate, Status> {
    let shown = request.extensions().get::<Peer>().and_then(|p| p.certificate.as_deref());
    match shown {
        // The gate has refused content certificates already; a call that came round it is refused here.
        Some(Ok(certificate)) if certificate.good_for == CertificateUse::Agent => Ok(certificate.clone()),
        Some(Ok(_)) => Err(Status::permission_denied("a content certificate reads /content and nothing else")),
        Some(Err(error)) => Err(Status::unauthenticated(error.to_string())),
        None => Err(super::gate::no_certificate()),
    }
}

impl Link {
    pub(super) async fn session<T>(&self, request: &Request<T>) -> Result<Session, Status> {
        let certificate = certificate(request)?;
        let info = info_of(request);
        info.set_who(&format!("instance {}", certificate.instance));
        if let Err(wait) = self.state.rates.instance(&certificate.instance.to_string(), Instant::now()) {
            // Agents come again after what is unavailable.
            return Err(Status::unavailable(format!("too many calls of this agent; wait {} s", crate::rates::secs(wait))));
        }
        let session = self.check(&certificate, &info.id).await?;
        Ok(Session { ctx: session.ctx.from_address(address_of(request.extensions())), ..session })
    }

    pub(super) async fn check(&self, certificate: &PeerCertificate, request_id: &str) -> Result<Session, Status> {
        if is_over(certificate.expires_at, self.state.control.now()) {
            return Err(Status::unauthenticated("the agent's certificate has ended; connect with the renewed one"));
        }
        let instance = certificate.instance;
        let ctx = self.state.control.agent_session(instance, &certificate.key_fingerprint, request_id).await;
        Ok(Session { instance, ctx: ctx.map_err(|e| status_of(&e, request_id))? })
    }
}

//! Who asks for content: the certificate of the connection, or an access token. Whether that one may have a source is
//! the operation's answer.

use std::net::SocketAddr;

use axum::extract::FromRequestParts;
use drydock_control::ContentPeer;
use http::StatusCode;
use http::request::Parts;

use super::refusal::Refusal;
use crate::listener::Peer;
use crate::pki::CertificateUse;
use crate::request::RequestInfo;
use crate::rest::extract::Caller;
use crate::state::AppState;

/// One asker.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) peer: ContentPeer,
    /// The same text for the same instance or token, for head leases.
    pub(super) who: String,
    pub(super) connection: Option<SocketAddr>,
}

impl FromRequestParts<AppState> for Asker {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Refusal> {
        let unauthenticated = |text: &str| Refusal::new(StatusCode::UNAUTHORIZED, text);
        let connection = parts.extensions.get::<Peer>().cloned();
        let address = connection.as_ref().map(|p| p.address);
        let certificate = match connection.as_ref().and_then(|p| p.certificate.as_deref()) {
            Some(Ok(certificate)) => certificate,
            Some(Err(error)) => return Err(unauthenticated(&error.to_string())),
            None if parts.headers.contains_key(http::header::AUTHORIZATION) => {
                let caller = Caller::from_request_parts(parts, state).await.map_err(|f| Refusal::of_failure(&f))?;
                let who = format!("token {}", caller.ctx.who.name());
                return Ok(Asker { peer: ContentPeer::Person(caller.ctx), who, connection: address });
            }
            None => {
                return Err(unauthenticated(
                    "content is for enrolled hosts: show the host's content certificate (drydock-agent enrol) or an access token",
                ));
            }
        };
        if certificate.expires_at <= state.control.now() {
            return Err(unauthenticated("the host's certificate has ended; is drydock-agent running?"));
        }
        let who = format!("instance {}", certificate.instance);
        if let Some(info) = parts.extensions.get::<RequestInfo>() {
            info.set_who(&who);
        }
        let (instance, spki_sha256) = (certificate.instance, certificate.key_fingerprint.clone());
        let peer = match certificate.good_for {
            CertificateUse::Agent => ContentPeer::Agent { instance, spki_sha256 },
            CertificateUse::Content => ContentPeer::Host { instance, spki_sha256 },
        };
        Ok(Asker { peer, who, connection: address })
    }
}

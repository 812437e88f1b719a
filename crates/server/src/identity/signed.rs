//! The layer that knows callers by their signature. It looks at requests with `Authorization: Signature …` only, refuses
//! those that are not good with 401, and leaves the principal of the others for the extractor of handlers. The body of a
//! signed request is held against its digest before a handler sees it; one too large to hold is checked while it is read,
//! and a handler that stores it sees it break off when it was changed.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use drydock_control::{ErrorKind, HeldApiKey, Principal, SignInTry};
use futures::StreamExt;
use ring::digest::{Context, SHA256};

use super::signature::Refused;
use super::signature::check::{Asked, BodyRule, Head, head};
use super::signature::header::{self, SignatureHeader};
use crate::limits::REST_BODY_MAX_BYTES;
use crate::request::RequestInfo;
use crate::rest::error::{Failure, Result};
use crate::rest::extract::{address_of, too_many_refused};
use crate::state::AppState;

/// Whoever signed the request; an extension of it.
#[derive(Debug, Clone)]
pub struct SignedBy {
    /// For the operation.
    pub who: Principal,
    /// With which key, for streams that outlive it.
    pub key: HeldApiKey,
}

/// The layer.
pub async fn authenticate(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if !header::is_signed(request.headers()) {
        return next.run(request).await;
    }
    let address = address_of(request.extensions());
    let name = header::read(request.headers()).map(|signed| signed.key_id.user).unwrap_or_default();
    let request_id = request.extensions().get::<RequestInfo>().map_or_else(String::new, |info| info.id.clone());
    match verified(&state, request).await {
        Ok(request) => next.run(request).await,
        Err(failure) => {
            if failure.status() == http::StatusCode::UNAUTHORIZED {
                if let Err(wait) = state.failures.note(address, Instant::now()) {
                    return too_many_refused(wait, address).into_response();
                }
                let refused = SignInTry {
                    operation: "request.sign",
                    who: None,
                    name: &name,
                    address: Some(address),
                    request_id: &request_id,
                    way: "signature",
                    refused: Some(failure.message()),
                };
                state.control.audit_sign_in(refused).await;
            }
            failure.into_response()
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Failure::not_authenticated(refused.to_string())
    }
}

async fn verified(state: &AppState, request: Request) -> Result<Request> {
    let (mut parts, body) = request.into_parts();
    let signed = header::read(&parts.headers)?;
    let asked = Asked { method: &parts.method, uri: &parts.uri, version: parts.version, headers: &parts.headers };
    let head = head(&signed, &asked, &state.names, state.control.now())?;
    let held = key_of(state, &signed, &head).await?;
    let body = held_against(head.body, body).await?;
    // Last, so that nobody uses a signature up by sending it with something else.
    if head.is_changing && !state.control.take_signature(&head.seen_key(&held.key), head.good_until).await? {
        return Err(Refused::Replayed.into());
    }
    let who = state.control.authenticate_key(&held).await.map_err(|error| match error.kind() {
        ErrorKind::Unauthenticated => Failure::not_authenticated(error.to_string()),
        _ => error.into(),
    })?;
    parts.extensions.insert(SignedBy { who, key: held });
    Ok(Request::from_parts(parts, body))
}

/// The key that made the signature.
async fn key_of(state: &AppState, signed: &SignatureHeader, head: &Head) -> Result<HeldApiKey> {
    let id = &signed.key_id;
    let held = state.control.held_api_key(&id.tenancy, &id.user, &id.fingerprint).await?;
    Ok(held.filter(|held| head.made_by(&held.key, &signed.signature)).ok_or(Refused::NoMatch)?)
}

/// The body, if it is the one that was signed.
async fn held_against(rule: BodyRule, body: Body) -> Result<Body> {
    let held_whole = match rule {
        BodyRule::Empty => 0,
        BodyRule::Exactly { length: Some(length), .. } if length > REST_BODY_MAX_BYTES as u64 => return Ok(watched(rule, body)),
        BodyRule::Exactly { .. } => REST_BODY_MAX_BYTES,
    };
    // One byte more than was signed is another body.
    let bytes = axum::body::to_bytes(body, held_whole).await.map_err(|_| Refused::Body)?;
    if rule.holds(&bytes) { Ok(Body::from(bytes)) } else { Err(Refused::Body.into()) }
}

/// The body as it comes; it ends in an error when it was not the one that was signed.
fn watched(rule: BodyRule, body: Body) -> Body {
    let begun = (body.into_data_stream(), Context::new(&SHA256), 0u64);
    Body::from_stream(futures::stream::try_unfold(begun, move |(mut pieces, mut seen, bytes)| async move {
        match pieces.next().await {
            Some(piece) => {
                let piece = piece.map_err(std::io::Error::other)?;
                seen.update(&piece);
                let bytes = bytes.saturating_add(piece.len() as u64);
                Ok(Some((piece, (pieces, seen, bytes))))
            }
            None if rule.holds_for(bytes, seen) => Ok(None),
            None => Err(std::io::Error::other(Refused::Body.to_string())),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::digest::digest;

    fn rule(body: &[u8]) -> BodyRule {
        let sha256 = digest(&SHA256, body).as_ref().try_into().expect("32 bytes");
        BodyRule::Exactly { sha256, length: Some(body.len() as u64) }
    }

    #[tokio::test]
    async fn a_body_is_held_against_its_digest_also_when_it_is_large() {
        let small = b"{}".to_vec();
        let large = vec![7; REST_BODY_MAX_BYTES + 1];
        for good in [&small, &large] {
            let body = held_against(rule(good), Body::from(good.clone())).await.expect("good");
            assert_eq!(axum::body::to_bytes(body, usize::MAX).await.expect("read"), good.as_slice());
        }
        let changed = held_against(rule(&small), Body::from("{ }")).await;
        assert_eq!(changed.expect_err("refused").status(), http::StatusCode::UNAUTHORIZED);
        let mut bad = large.clone();
        bad[5] = 8;
        for bad in [bad, large[1..].to_vec(), [large.as_slice(), b"x"].concat()] {
            let body = held_against(rule(&large), Body::from(bad)).await.expect("only the end tells");
            assert!(axum::body::to_bytes(body, usize::MAX).await.is_err());
        }
        assert!(held_against(BodyRule::Empty, Body::empty()).await.is_ok());
        assert!(held_against(BodyRule::Empty, Body::from("x")).await.is_err());
    }
}

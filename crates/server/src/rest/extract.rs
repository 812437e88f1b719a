//! What handlers take from a request: the caller, a strict JSON body, strict query parameters, If-Match and
//! Idempotency-Key. What is misspelt is refused with its name, never ignored.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use drydock_control::records::PageQuery;
use drydock_control::{Control, ErrorKind, HeldApiKey, OpCtx, Principal, Secret};
use http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::error::{Failure, Result};
use super::recorded::recorded;
use crate::identity::signed::SignedBy;
use crate::limits;
use crate::listener::Peer;
use crate::rates::too_many;
use crate::request::RequestInfo;
use crate::state::AppState;

/// Parameters of a query that an audit record keeps, count.
const RECORDED_PARAMS_MAX: usize = 32;

/// The authenticated caller.
#[derive(Debug)]
pub struct Caller {
    /// For the operation.
    pub ctx: OpCtx,
    /// What the caller showed, for streams that outlive a revocation.
    pub shown: Shown,
}

impl Caller {
    /// Parses a JSON body, and keeps for the caller's audit record what of it belongs there.
    pub fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T> {
        let value = parse_json(body)?;
        self.record::<T>(body);
        Ok(value)
    }

    /// Keeps for the audit record what of a body of this type belongs there.
    pub fn record<T>(&self, body: &[u8]) {
        if let Some(kept) = recorded::<T>(body) {
            self.ctx.notes.set_parameters("body", kept);
        }
    }
}

/// What a caller showed.
#[derive(Debug)]
pub enum Shown {
    /// An access token.
    Token(Secret),
    /// A signature by this key.
    Key(HeldApiKey),
}

impl Shown {
    /// Who shows it now, in the groups of now; `None`: it would not be taken any more.
    pub async fn who(&self, control: &Control) -> Option<Principal> {
        match self {
            Shown::Token(secret) => control.authenticate(secret.expose()).await.ok(),
            Shown::Key(key) => control.authenticate_key(key).await.ok(),
        }
    }
}

/// The peer's address; unspecified when the request came without a connection (in-process).
pub fn address_of(extensions: &http::Extensions) -> IpAddr {
    extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |p| p.address.ip())
}

fn bearer(headers: &HeaderMap) -> Result<&str> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Err(Failure::unauthenticated("send an access token: `Authorization: Bearer ddt_…` (drydock login)"));
    };
    let text = value.to_str().ok().and_then(|v| v.split_once(' '));
    match text {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(Failure::unauthenticated("the Authorization header is not `Bearer ddt_…`")),
    }
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self> {
        // Its signature was verified by the layer around all handlers.
        let (who, shown) = match parts.extensions.get::<SignedBy>() {
            Some(signed) => (signed.who.clone(), Shown::Key(signed.key.clone())),
            None => by_token(parts, state).await?,
        };
        let info = parts.extensions.get::<RequestInfo>();
        if let Some(info) = info {
            info.set_who(&who.name());
        }
        let info = info.cloned().unwrap_or_else(RequestInfo::unknown);
        let limited = state.rates.principal(&who.id(), Instant::now());
        limited.map_err(|wait| too_many(wait, &format!("requests of {}", who.name())))?;
        info.notes.asked(format!("{} {}", parts.method, parts.uri).as_bytes());
        Ok(Caller { ctx: info.ctx(&state.control, who, &parts.extensions), shown })
    }
}

/// Whoever shows an access token.
async fn by_token(parts: &Parts, state: &AppState) -> Result<(Principal, Shown)> {
    let token = bearer(&parts.headers)?;
    match state.control.authenticate(token).await {
        Ok(who) => Ok((who, Shown::Token(Secret::new(token.to_owned())))),
        Err(error) => {
            if error.kind() == ErrorKind::Unauthenticated {
                let address = address_of(&parts.extensions);
                state.failures.note(address, Instant::now()).map_err(|wait| too_many_refused(wait, address))?;
            }
            Err(error.into())
        }
    }
}

/// What a caller is told whose tokens or signatures were refused too often.
pub fn too_many_refused(wait: Duration, address: IpAddr) -> Failure {
    too_many(wait, &format!("refused tokens and signatures from {address}"))
}

/// A JSON body in which every field is known.
#[derive(Debug)]
pub struct StrictJson<T>(pub T);

/// Reads a body within the limit.
pub async fn read_body(request: Request) -> Result<bytes::Bytes> {
    let notes = request.extensions().get::<RequestInfo>().map(|info| info.notes.clone());
    let read = axum::body::to_bytes(request.into_body(), limits::REST_BODY_MAX_BYTES).await;
    if let (Some(notes), Ok(body)) = (notes, &read) {
        notes.asked(body);
    }
    read.map_err(|error| {
        let message = format!("the body cannot be read or has more than {} bytes", limits::REST_BODY_MAX_BYTES);
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(e) = source {
            if e.to_string().contains("length limit exceeded") {
                return Failure::unavailable(StatusCode::PAYLOAD_TOO_LARGE, message);
            }
            source = e.source();
        }
        Failure::invalid(message)
    })
}

/// Parses a JSON body; the error names the field by its path.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|e| {
        let path = e.path().to_string();
        let field = if path == "." || path.is_empty() { "body".to_owned() } else { path };
        Failure::field(field, e.inner().to_string())
    })?;
    json.end().map_err(|e| Failure::field("body", e.to_string()))?;
    Ok(value)
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for StrictJson<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let is_json = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .is_some_and(|v| v.split(';').next().is_some_and(|mime| mime.trim().eq_ignore_ascii_case("application/json")));
        if !is_json {
            return Err(Failure::invalid("the body must be JSON: send `Content-Type: application/json`"));
        }
        let info = request.extensions().get::<RequestInfo>().cloned();
        let body = read_body(request).await?;
        let value = parse_json(&body)?;
        if let (Some(info), Some(kept)) = (info, recorded::<T>(&body)) {
            info.notes.set_parameters("body", kept);
        }
        Ok(StrictJson(value))
    }
}

/// Query parameters; each has to be taken before [`Params::finish`].
#[derive(Debug)]
pub struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|e| Failure::invalid(format!("the query cannot be read: {e}")))?;
        // No secret travels in a query: it would be in the logs of every proxy.
        if let Some(info) = parts.extensions.get::<RequestInfo>().filter(|_| !pairs.is_empty()) {
            let kept = pairs.iter().take(RECORDED_PARAMS_MAX).map(|(name, value)| (name.clone(), value.clone().into()));
            info.notes.set_parameters("query", serde_json::Value::Object(kept.collect()));
        }
        Ok(Params(pairs))
    }
}

impl Params {
    /// Every value of `name`.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        let (taken, rest) = std::mem::take(&mut self.0).into_iter().partition(|(key, _)| key == name);
        self.0 = rest;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// The value of `name`; refused when given twice.
    pub fn one(&mut self, name: &str) -> Result<Option<String>> {
        let mut values = self.all(name);
        if values.len() > 1 {
            return Err(Failure::field(name, "is given more than once"));
        }
        Ok(values.pop())
    }

    /// The value of `name`, read by `read`; `expected` tells what would be right.
    pub fn parsed<T>(&mut self, name: &str, expected: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        self.one(name)?
            .map(|text| read(&text).ok_or_else(|| Failure::field(name, format!("{text:?} is not {expected}"))))
            .transpose()
    }

    /// `limit`.
    pub fn limit(&mut self) -> Result<Option<u32>> {
        let max = drydock_domain::limits::PAGE_MAX;
        let expected = format!("a number between 1 and {max}");
        self.parsed("limit", &expected, |t| t.parse().ok().filter(|n| (1..=max).contains(n)))
    }

    /// `cursor` and `limit`.
    pub fn page(&mut self) -> Result<PageQuery> {
        let limit = self.limit()?;
        Ok(PageQuery { cursor: self.one("cursor")?, limit })
    }

    /// Refuses what nobody took.
    pub fn finish(self) -> Result<()> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(Failure::field(name, "is not a parameter of this operation; see /api/v1/openapi.json")),
        }
    }
}

/// The etag in If-Match, without quotes; `*` stays.
pub fn if_match(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let text = value.to_str().map(str::trim).unwrap_or_default();
    if text == "*" {
        return Ok(Some(text.to_owned()));
    }
    match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(tag) if !tag.is_empty() && !tag.contains('"') => Ok(Some(tag.to_owned())),
        _ => Err(Failure::field("If-Match", "is one etag in double quotes, or *")),
    }
}

/// The Idempotency-Key header.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=limits::IDEMPOTENCY_KEY_MAX_BYTES).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Some(key.to_owned()))
        }
        _ => Err(Failure::field("Idempotency-Key", "is 1 to 128 visible ASCII characters")),
    }
}

/// Refuses an Idempotency-Key where the answer holds a secret: it is not kept, so it could not be given again.
pub fn no_idempotency_key(headers: &HeaderMap) -> Result<()> {
    match headers.get("idempotency-key") {
        None => Ok(()),
        Some(_) => Err(Failure::field(
            "Idempotency-Key",
            "is not taken here: the answer shows a secret once and cannot be repeated; leave the header out",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drydock_domain::patch::spec::PatchJobSpec;

    fn refusal(body: &str) -> String {
        let failure = parse_json::<PatchJobSpec>(body.as_bytes()).expect_err(body);
        let error: drydock_api::rest::ApiError = serde_json::from_slice(&failure.body("r")).expect("the shape");
        format!("{} | {}", error.fields[0].field, error.fields[0].message)
    }

    #[test]
    fn a_wrong_field_is_named_by_its_path() {
        let unknown = refusal(r#"{"instanceFilter":{"all":true},"patchConfig":{"apt":{"typ":"DIST"}}}"#);
        assert!(unknown.starts_with("patchConfig.apt.typ | unknown field `typ`"), "{unknown}");
        let wrong = refusal(r#"{"instanceFilter":{"all":"yes"}}"#);
        assert!(wrong.starts_with("instanceFilter.all | invalid type"), "{wrong}");
        assert!(refusal("{}").contains("missing field `instanceFilter`"));
        assert!(refusal(r#"{"instanceFilter":{"all":true}} x"#).starts_with("body | trailing"));
        assert!(refusal("").starts_with("body | EOF"));
    }

    #[test]
    fn parameters_are_strict() {
        let params = |pairs: &[(&str, &str)]| Params(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        let mut p = params(&[("label", "a=b"), ("limit", "5"), ("label", "c=d")]);
        assert_eq!(p.all("label"), ["a=b", "c=d"]);
        assert_eq!(p.page().expect("a page").limit, Some(5));
        p.finish().expect("all taken");
        assert!(params(&[("limt", "5")]).finish().is_err());
        assert!(params(&[("limit", "0")]).page().is_err());
        assert!(params(&[("limit", "1001")]).page().is_err());
        assert!(params(&[("cursor", "a"), ("cursor", "b")]).page().is_err());
    }

    #[test]
    fn headers_are_strict() {
        let headers = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(http::HeaderName::from_static(name), http::HeaderValue::from_static(value))])
        };
        assert_eq!(if_match(&headers("if-match", "\"3\"")).expect("read").as_deref(), Some("3"));
        assert_eq!(if_match(&headers("if-match", "*")).expect("read").as_deref(), Some("*"));
        assert!(if_match(&headers("if-match", "3")).is_err());
        assert!(if_match(&headers("if-match", "\"1\", \"2\"")).is_err());
        assert!(idempotency_key(&headers("idempotency-key", "a b")).is_err());
        assert!(idempotency_key(&headers("idempotency-key", "")).is_err());
        assert!(bearer(&headers("authorization", "Basic eA==")).is_err());
        assert_eq!(bearer(&headers("authorization", "bearer ddt_x")).expect("read"), "ddt_x");
    }
}

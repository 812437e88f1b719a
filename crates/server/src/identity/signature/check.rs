//! What a signature covers: the text that was signed, made from the request as it came, and whether that is enough. What
//! is not covered could have been changed or added by whoever passed the request on.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drydock_control::ApiPublicKey;
use http::{HeaderMap, Method, Uri, Version};
use jiff::Timestamp;
use ring::digest::{Context, SHA256, digest};

use super::header::SignatureHeader;
use super::{Refused, date};

/// A request's date may be this far from the server's clock, in either direction (the vendor's bound).
pub const SKEW_MAX: Duration = Duration::from_secs(300);

/// A request as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target.
    pub uri: &'a Uri,
    /// Which HTTP.
    pub version: Version,
    /// Its headers.
    pub headers: &'a HeaderMap,
}

/// What the body has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyRule {
    /// Nothing: the signature covers no body.
    Empty,
    /// Exactly what has this digest and, if it was signed, this length.
    Exactly {
        /// SHA-256.
        sha256: [u8; 32],
        /// Bytes.
        length: Option<u64>,
    },
}

impl BodyRule {
    /// Is this the whole body that was signed?
    pub fn holds(&self, body: &[u8]) -> bool {
        let mut seen = Context::new(&SHA256);
        seen.update(body);
        self.holds_for(body.len() as u64, seen)
    }

    /// As [`BodyRule::holds`], for a body that was read in pieces.
    pub fn holds_for(&self, bytes: u64, seen: Context) -> bool {
        match self {
            BodyRule::Empty => bytes == 0,
            BodyRule::Exactly { sha256, length } => {
                length.is_none_or(|length| length == bytes) && seen.finish().as_ref() == sha256
            }
        }
    }
}

/// A request's head, ready to be held against a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The text that was signed.
    signed: String,
    /// What the body has to be.
    pub body: BodyRule,
    /// The request may change something: its signature is good once.
    pub is_changing: bool,
    /// From this moment on the date alone is reason enough to refuse it.
    pub good_until: Timestamp,
}

impl Head {
    /// Did this key sign it?
    pub fn made_by(&self, key: &ApiPublicKey, signature: &[u8]) -> bool {
        key.made(self.signed.as_bytes(), signature)
    }

    /// A name for this request of this key, SHA-256 in lower-case hex, to remember it by. It is made from what was signed
    /// and not from the signature's bytes or the header's form.
    pub fn seen_key(&self, key: &ApiPublicKey) -> String {
        let mut text = key.fingerprint().as_bytes().to_vec();
        text.push(b'\n');
        text.extend_from_slice(self.signed.as_bytes());
        digest(&SHA256, &text).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Reads what was signed and checks everything that needs no key: what is covered, the date, the host.
/// `our_names` are the names by which clients reach this server, without ports (`*.` for one label).
pub fn head(header: &SignatureHeader, asked: &Asked<'_>, our_names: &[String], now: Timestamp) -> Result<Head, Refused> {
    let covers = |name: &str| header.headers.iter().any(|h| h == name);
    let has_body = match *asked.method {
        Method::GET | Method::HEAD | Method::DELETE => false,
        Method::POST | Method::PUT | Method::PATCH => true,
        _ => return Err(Refused::Method),
    };
    let needed: &[&str] = match has_body {
        true => &["(request-target)", "host", "content-length", "content-type", "x-content-sha256"],
        false => &["(request-target)", "host"],
    };
    if let Some(missing) = needed.iter().find(|name| !covers(name)) {
        return Err(Refused::NotCovered(missing));
    }
    let dates = ["date", "x-date"].into_iter().filter(|name| covers(name));
    let date = dates.map(|name| date_of(asked, name, now)).reduce(|a, b| Ok(a?.min(b?)));
    let date = date.ok_or(Refused::NotCovered("date"))??;
    let host = host_of(asked)?;
    if !is_ours(host, our_names) {
        return Err(Refused::Host);
    }
    let good_until = date.saturating_add(SKEW_MAX).map_err(|_| Refused::Date)?;
    let is_changing = !matches!(*asked.method, Method::GET | Method::HEAD);
    Ok(Head { signed: signed_text(header, asked, host)?, body: body_rule(asked, covers)?, is_changing, good_until })
}

fn date_of(asked: &Asked<'_>, name: &str, now: Timestamp) -> Result<Timestamp, Refused> {
    let date = date::read(only(asked.headers, name)?).ok_or(Refused::Date)?;
    let away = now.duration_since(date).unsigned_abs();
    if away > SKEW_MAX { Err(Refused::Skew) } else { Ok(date) }
}

fn body_rule(asked: &Asked<'_>, covers: impl Fn(&str) -> bool) -> Result<BodyRule, Refused> {
    if !covers("x-content-sha256") {
        return Ok(BodyRule::Empty);
    }
    let text = only(asked.headers, "x-content-sha256")?;
    let bytes = STANDARD.decode(text).map_err(|_| Refused::Digest)?;
    let sha256 = <[u8; 32]>::try_from(bytes).map_err(|_| Refused::Digest)?;
    let length = match covers("content-length") {
        true => Some(only(asked.headers, "content-length")?.parse().map_err(|_| Refused::Length)?),
        false => None,
    };
    Ok(BodyRule::Exactly { sha256, length })
}

/// `name: value` for each signed header, in the client's order.
fn signed_text(header: &SignatureHeader, asked: &Asked<'_>, host: &str) -> Result<String, Refused> {
    let mut lines = Vec::with_capacity(header.headers.len());
    for name in &header.headers {
        let line = match name.as_str() {
            "(request-target)" => format!("(request-target): {} {}", asked.method.as_str().to_ascii_lowercase(), target(asked)?),
            "host" => format!("host: {host}"),
            name => format!("{name}: {}", only(asked.headers, name)?),
        };
        lines.push(line);
    }
    Ok(lines.join("\n"))
}

/// The path with its query, byte for byte as it came.
fn target<'a>(asked: &Asked<'a>) -> Result<&'a str, Refused> {
    asked.uri.path_and_query().map(http::uri::PathAndQuery::as_str).filter(|t| t.starts_with('/')).ok_or(Refused::Target)
}

/// HTTP/1.1 names the host in a header, HTTP/2 in a part of its own; a request that does both must not contradict itself.
fn host_of<'a>(asked: &Asked<'a>) -> Result<&'a str, Refused> {
    let in_header = match asked.headers.contains_key(http::header::HOST) {
        true => Some(only(asked.headers, "host")?),
        false => None,
    };
    let in_target = asked.uri.authority().map(http::uri::Authority::as_str);
    match (in_header, in_target) {
        (Some(host), None) => Ok(host),
        (None, Some(host)) if asked.version == Version::HTTP_2 => Ok(host),
        (Some(host), Some(other)) if asked.version == Version::HTTP_2 && host == other => Ok(host),
        (None, None) => Err(Refused::Absent("host".to_owned())),
        _ => Err(Refused::Target),
    }
}

/// A header's only value, trimmed. (Names in the list are in lower case, as header names in memory are.)
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Refused> {
    let mut all = headers.get_all(name).iter();
    let Some(value) = all.next() else { return Err(Refused::Absent(name.to_owned())) };
    match (value.to_str(), all.next()) {
        (Ok(text), None) => Ok(text.trim_matches([' ', '\t'])),
        _ => Err(Refused::Ambiguous(name.to_owned())),
    }
}

/// Is this (`name`, `name:port`, `[::1]:port`) one of our names? Whoever is signed for another server with the same key may
/// not bring that request here. Ports are not compared: a server behind a forwarder does not know its outer port.
fn is_ours(host: &str, our_names: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    our_names.iter().any(|ours| match ours.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent)),
        None => ours.eq_ignore_ascii_case(name),
    })
}

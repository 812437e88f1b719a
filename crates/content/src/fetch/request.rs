//! One request to one mirror: redirects followed by our rules, and a body that must keep coming.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Client, Response, Url};
use tokio::time::{Instant, timeout};

use super::error::{Problem, public};

/// Redirects followed.
pub(super) const REDIRECTS_MAX: usize = 5;

/// Times and rates. The numbers are constants for every source; tests take shorter ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// Between two reads, and for the head of the answer.
    pub idle: Duration,
    /// Window of the rate test.
    pub window: Duration,
    /// Bytes a second over a window.
    pub rate_min: u64,
    /// For a metadata file that is held in memory.
    pub get_total: Duration,
    /// For a file.
    pub download_total: Duration,
    /// Between two rounds over the mirrors.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            window: Duration::from_secs(30),
            rate_min: 1024,
            get_total: Duration::from_secs(300),
            download_total: Duration::from_secs(6 * 3600),
            pause: Duration::from_secs(2),
        }
    }
}

/// Sends a GET and follows redirects: http and https only, never from https to http, never to a link-local address.
pub(super) async fn send(client: &Client, url: &Url, headers: &HeaderMap, limits: &Limits) -> Result<Response, Problem> {
    let mut url = url.clone();
    for _ in 0..=REDIRECTS_MAX {
        let request = client.get(url.clone()).headers(headers.clone()).send();
        // The client's own limit covers the connection; this one covers servers that accept and say nothing.
        let response = timeout(limits.connect + limits.idle, request)
            .await
            .map_err(|_| Problem::Idle((limits.connect + limits.idle).as_secs()))?
            .map_err(Problem::of)?;
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(response);
        }
        let location = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
        let next = location.and_then(|text| url.join(text).ok());
        let Some(next) = next else {
            return Err(Problem::Protocol("a redirect without a usable Location".to_owned()));
        };
        let refused = |problem| Err(Problem::Redirect { to: public(&next), problem });
        match (url.scheme(), next.scheme()) {
            (_, "https") | ("http", "http") => {}
            ("https", "http") => return refused("from https to http is never followed"),
            _ => return refused("only http and https are followed"),
        }
        if is_link_local(&next) && !is_link_local(&url) {
            return refused("an upstream elsewhere never leads to a link-local address");
        }
        url = next;
    }
    Err(Problem::Redirect { to: public(&url), problem: "more than 5 redirects (a loop?)" })
}

/// Does the URL name a link-local address? Clouds answer there with credentials of this machine; an upstream that sends
/// us there is not a mirror. Names that resolve to such an address are not looked at.
pub(super) fn is_link_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            address.is_unicast_link_local() || address.to_ipv4_mapped().is_some_and(|mapped| mapped.is_link_local())
        }
        Err(_) => false,
    }
}

/// A body that is watched.
pub(super) struct Body {
    response: Response,
    limits: Limits,
    ends: Instant,
    total: Duration,
    window_began: Instant,
    window_bytes: u64,
}

impl Body {
    /// Begins to read; `total` counts from now.
    pub fn new(response: Response, limits: Limits, total: Duration) -> Body {
        let now = Instant::now();
        Body { response, limits, ends: now + total, total, window_began: now, window_bytes: 0 }
    }

    /// The next piece; none at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Problem> {
        let wait = self.limits.idle.min(self.ends.saturating_duration_since(Instant::now()));
        let chunk = match timeout(wait, self.response.chunk()).await {
            Ok(chunk) => chunk.map_err(Problem::of)?,
            Err(_) if Instant::now() >= self.ends => return Err(Problem::Long(self.total.as_secs())),
            Err(_) => return Err(Problem::Idle(self.limits.idle.as_secs())),
        };
        self.window_bytes += chunk.as_ref().map_or(0, |c| c.len() as u64);
        let elapsed = self.window_began.elapsed();
        if elapsed >= self.limits.window {
            let wanted = self.limits.rate_min * elapsed.as_millis() as u64 / 1000;
            if chunk.is_some() && self.window_bytes < wanted {
                return Err(Problem::Slow(self.limits.rate_min));
            }
            self.window_began = Instant::now();
            self.window_bytes = 0;
        }
        Ok(chunk)
    }
}

//! How many requests one address and one principal may send: buckets of tokens that fill up evenly, in bounded maps. Who
//! finds none is told how long to wait (429, `Retry-After`). It keeps one client from taking the server from all others; it
//! is no accounting. Absent on purpose: content (its files have places of their own), probes, and the
//! agents' addresses (a thousand hosts may share one): agents are limited one by one, by their certificates.
//!
//! Sign-ins with a password have buckets of their own, by address and by name, and each takes its token before it is known
//! how it ends: hashing is what costs, and many at once are so many.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use drydock_domain::access::user::{ACCOUNT_NAME_MAX_BYTES, folded_name};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

use crate::content_routes::CONTENT_PATH;
use crate::failures::network_of;
use crate::limits::{
    RATE_BURST_SECS, RATE_CALLS_PER_S, RATE_KEYS_MAX, SIGN_INS_PER_ADDRESS_BURST, SIGN_INS_PER_ADDRESS_EVERY,
    SIGN_INS_PER_NAME_BURST, SIGN_INS_PER_NAME_EVERY,
};
use crate::listener::Peer;
use crate::request::AGENT_PATH;
use crate::rest::error::Failure;
use crate::state::AppState;

/// Tokens of one key.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// Buckets that fill up with so many tokens a second and hold so many.
#[derive(Debug)]
struct Buckets<K> {
    per_s: f64,
    full: f64,
    all: Mutex<HashMap<K, Bucket>>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// So many a second; they hold those of [`RATE_BURST_SECS`].
    fn new(per_s: u32) -> Self {
        let per_s = f64::from(per_s);
        Buckets { per_s, full: per_s * f64::from(RATE_BURST_SECS), all: Mutex::default() }
    }

    /// So many at once, and one more each time.
    fn slow(burst: u32, every: Duration) -> Self {
        Buckets { per_s: every.as_secs_f64().recip(), full: f64::from(burst), all: Mutex::default() }
    }

    /// Takes a token, or says how long it is until there is one.
    fn take(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let full = self.full;
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(key) && all.len() >= RATE_KEYS_MAX {
            make_room(&mut all, Duration::from_secs_f64(full / self.per_s), now);
        }
        let bucket = all.entry(key.clone()).or_insert(Bucket { tokens: full, at: now });
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + since * self.per_s).min(full);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - bucket.tokens) / self.per_s))
    }
}

/// Forgets those that are full again, and when all are in use the one that was used longest ago.
fn make_room<K: Hash + Eq + Clone>(all: &mut HashMap<K, Bucket>, full_after: Duration, now: Instant) {
    all.retain(|_, bucket| now.saturating_duration_since(bucket.at) < full_after);
    if all.len() >= RATE_KEYS_MAX
        && let Some(oldest) = all.iter().min_by_key(|(_, bucket)| bucket.at).map(|(key, _)| key.clone())
    {
        all.remove(&oldest);
    }
}

/// The limits of one daemon.
#[derive(Debug)]
pub struct Rates {
    addresses: Buckets<IpAddr>,
    principals: Buckets<String>,
    instances: Buckets<String>,
    sign_ins_from: Buckets<IpAddr>,
    sign_ins_as: Buckets<String>,
}

/// Why somebody may not try to sign in now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInWait {
    /// What there were too many of.
    pub of: String,
    /// How long.
    pub wait: Duration,
}

impl Rates {
    /// With so many requests a second of one address and of one principal.
    pub fn new(address_per_s: u32, principal_per_s: u32) -> Self {
        Rates {
            addresses: Buckets::new(address_per_s),
            principals: Buckets::new(principal_per_s),
            instances: Buckets::new(RATE_CALLS_PER_S),
            sign_ins_from: Buckets::slow(SIGN_INS_PER_ADDRESS_BURST, SIGN_INS_PER_ADDRESS_EVERY),
            sign_ins_as: Buckets::slow(SIGN_INS_PER_NAME_BURST, SIGN_INS_PER_NAME_EVERY),
        }
    }

    /// May this address send a request now?
    fn address(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        self.addresses.take(&network_of(address), now)
    }

    /// May this principal (by a text that no two share)?
    pub fn principal(&self, key: &str, now: Instant) -> Result<(), Duration> {
        self.principals.take(&key.to_owned(), now)
    }

    /// May somebody at this address try to sign in as this user, there be one or not?
    pub fn sign_in(&self, address: IpAddr, name: &str, now: Instant) -> Result<(), SignInWait> {
        let of = |what: String| move |wait| SignInWait { of: format!("sign-ins {what}"), wait };
        self.sign_ins_from.take(&network_of(address), now).map_err(of(format!("from {address}")))?;
        // A longer one is nobody's name, and costs no more than its address may.
        if name.len() > ACCOUNT_NAME_MAX_BYTES {
            return Ok(());
        }
        self.sign_ins_as.take(&folded_name(name), now).map_err(of(format!("of {name}")))
    }

    /// May this agent call?
    pub fn instance(&self, id: &str, now: Instant) -> Result<(), Duration> {
        self.instances.take(&id.to_owned(), now)
    }
}

/// Whole seconds until there is a token again, at least one.
pub fn secs(wait: Duration) -> u64 {
    (wait.as_secs_f64().ceil() as u64).max(1)
}

/// Is this path limited by address?
fn is_limited(path: &str) -> bool {
    let probe = matches!(path, "/healthz" | "/readyz");
    !(probe || path.starts_with(CONTENT_PATH) || path.starts_with(AGENT_PATH))
}

/// In front of REST and console: what an address sends too much of is answered before anything is looked up.
pub async fn by_address(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let address = request.extensions().get::<Peer>().map(|peer| peer.address.ip());
    let path = request.uri().path();
    let Some(address) = address.filter(|_| is_limited(path)) else { return next.run(request).await };
    match state.rates.address(address, Instant::now()) {
        Ok(()) => next.run(request).await,
        Err(wait) if path.starts_with("/api/") => too_many(wait, &format!("requests from {address}")).into_response(),
        Err(wait) => plain(wait, &format!("Too many requests from {address}.")),
    }
}

/// What a client of REST is told.
pub fn too_many(wait: Duration, what: &str) -> Failure {
    let secs = secs(wait);
    Failure::wait(Duration::from_secs(secs), format!("too many {what}; wait {secs} s"))
}

/// What a browser is told.
pub fn plain(wait: Duration, why: &str) -> Response {
    let secs = secs(wait);
    let mut response = (StatusCode::TOO_MANY_REQUESTS, format!("{why} Try again in {secs} s.\n")).into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(secs));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_burst_is_let_through_and_then_as_many_as_the_bucket_fills() {
        let buckets = Buckets::new(10);
        let now = Instant::now();
        let burst = (0..).take_while(|_| buckets.take(&"ann", now).is_ok()).count();
        assert_eq!(burst, 10 * RATE_BURST_SECS as usize);
        let wait = buckets.take(&"ann", now).expect_err("empty");
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        buckets.take(&"bob", now).expect("another one's bucket");
        let later = now + Duration::from_secs(1);
        assert_eq!((0..).take_while(|_| buckets.take(&"ann", later).is_ok()).count(), 10, "a second's worth");
        let rested = now + Duration::from_secs(3600);
        assert_eq!((0..).take_while(|_| buckets.take(&"ann", rested).is_ok()).count(), burst, "never more than full");
    }

    #[test]
    fn sign_ins_are_counted_by_network_and_by_name_in_any_case() {
        let rates = Rates::new(1, 1);
        let now = Instant::now();
        let from = |n: u32| IpAddr::V4(Ipv4Addr::from(n));
        for n in 0..SIGN_INS_PER_NAME_BURST {
            rates.sign_in(from(n), if n % 2 == 0 { "ann" } else { "ANN" }, now).expect("not yet");
        }
        let waits = rates.sign_in(from(99), "Ann", now).expect_err("too many of hers");
        assert_eq!(waits.of, "sign-ins of Ann");
        assert!(waits.wait <= SIGN_INS_PER_NAME_EVERY, "{waits:?}");
        rates.sign_in(from(99), "bob", now).expect("another one's");
        rates.sign_in(from(98), "ann", now + SIGN_INS_PER_NAME_EVERY).expect("one more after a while");
        let nobody = "x".repeat(ACCOUNT_NAME_MAX_BYTES + 1);
        for _ in 0..SIGN_INS_PER_ADDRESS_BURST {
            rates.sign_in(from(7777), &nobody, now).expect("not yet");
        }
        let waits = rates.sign_in(from(7777), &nobody, now).expect_err("too many from there");
        assert_eq!(waits.of, "sign-ins from 0.0.30.97");
    }

    #[test]
    fn the_map_stays_bounded_and_who_is_busy_is_not_forgotten() {
        let buckets = Buckets::new(1);
        let now = Instant::now();
        for i in 0..(RATE_KEYS_MAX as u32 + 100) {
            let _ = buckets.take(&IpAddr::V4(Ipv4Addr::from(i)), now + Duration::from_micros(u64::from(i)));
        }
        assert!(buckets.all.lock().expect("not poisoned").len() <= RATE_KEYS_MAX);
        let last = IpAddr::V4(Ipv4Addr::from(RATE_KEYS_MAX as u32 + 99));
        assert!(buckets.all.lock().expect("not poisoned").contains_key(&last));
    }

    #[test]
    fn neighbours_share_and_files_probes_and_agents_are_left_out() {
        let rates = Rates::new(1, 1);
        let now = Instant::now();
        for i in 0..RATE_BURST_SECS {
            let neighbour = format!("2001:db8::{i:x}").parse().expect("an address");
            rates.address(neighbour, now).expect("not yet");
        }
        assert!(rates.address("2001:db8::ffff".parse().expect("an address"), now).is_err());
        for path in ["/healthz", "/readyz", "/content/prod/a/b"] {
            assert!(!is_limited(path), "{path}");
        }
        // Opening a stream costs what another request costs, and things may be named as they like.
        for path in ["/api/v1/patch-jobs/1/events", "/patch-jobs/1/live", "/api/v1/sources/events", "/users/live", "/x/live"] {
            assert!(is_limited(path), "{path}");
        }
        assert!(!is_limited(&format!("{AGENT_PATH}PullWork")));
        for path in ["/sign-in", "/", "/api/v1/instances", "/metrics"] {
            assert!(is_limited(path), "{path}");
        }
    }
}

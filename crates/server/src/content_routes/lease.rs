//! Head leases. A yum client fetches `repomd.xml`, then `repomd.xml.asc`; apt may fetch `Release`, then `Release.gpg`.
//! When the environment's pointer moves in between, the signature would be of another version. So whoever got an index
//! gets the signature that belonged to it, for a minute. Kept in memory only: a lease lost by a restart is a client
//! that asks again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use crate::limits::{HEAD_LEASE, HEAD_LEASE_MAX_BYTES, HEAD_LEASES_MAX};

/// Who holds a lease, and on which file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    who: String,
    /// `None`: any connection of this client.
    connection: Option<SocketAddr>,
    /// View, source and path.
    file: String,
}

#[derive(Debug, Clone)]
struct Lease {
    signature: Bytes,
    until: Instant,
}

/// The leases of one daemon.
#[derive(Debug, Default)]
pub struct HeadLeases(Mutex<HashMap<Key, Lease>>);

/// The file whose signature stands in a file of its own; `None` for every other path.
pub(super) fn signature_of(path: &str) -> Option<String> {
    match path.rsplit('/').next() {
        Some("repomd.xml") => Some(format!("{path}.asc")),
        Some("Release") => Some(format!("{path}.gpg")),
        _ => None,
    }
}

/// May the path be a signature that belongs to an index?
pub(super) fn is_signature(path: &str) -> bool {
    path.ends_with("/repomd.xml.asc") || path.ends_with("/Release.gpg")
}

impl HeadLeases {
    /// Notes that `who` has got the index whose `signature` is at `file`.
    pub(super) fn grant(&self, who: &str, connection: Option<SocketAddr>, file: &str, signature: &[u8], now: Instant) {
        if signature.len() > HEAD_LEASE_MAX_BYTES {
            return;
        }
        let lease = Lease { signature: Bytes::copy_from_slice(signature), until: now + HEAD_LEASE };
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Two clients on one host keep apart by their connections; a client that opens another one still finds its own.
        for connection in [connection, None] {
            let key = Key { who: who.to_owned(), connection, file: file.to_owned() };
            if leases.len() >= HEAD_LEASES_MAX && !leases.contains_key(&key) {
                leases.retain(|_, l| l.until > now);
                if leases.len() >= HEAD_LEASES_MAX
                    && let Some(oldest) = leases.iter().min_by_key(|(_, l)| l.until).map(|(k, _)| k.clone())
                {
                    leases.remove(&oldest);
                }
            }
            leases.insert(key, lease.clone());
        }
    }

    /// The signature that belongs to the index `who` got last.
    pub(super) fn take(&self, who: &str, connection: Option<SocketAddr>, file: &str, now: Instant) -> Option<Bytes> {
        let leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        [connection, None].into_iter().find_map(|connection| {
            let key = Key { who: who.to_owned(), connection, file: file.to_owned() };
            leases.get(&key).filter(|l| l.until > now).map(|l| l.signature.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_have_a_signature_beside_them() {
        assert_eq!(signature_of("repodata/repomd.xml").as_deref(), Some("repodata/repomd.xml.asc"));
        assert_eq!(signature_of("dists/bookworm/Release").as_deref(), Some("dists/bookworm/Release.gpg"));
        assert_eq!(signature_of("dists/bookworm/InRelease"), None);
        assert_eq!(signature_of("repodata/repomd.xml.asc"), None);
        assert!(is_signature("repodata/repomd.xml.asc") && is_signature("dists/bookworm/Release.gpg"));
        assert!(!is_signature("repodata/repomd.xml") && !is_signature("dists/bookworm/InRelease"));
    }

    #[test]
    fn each_connection_gets_the_signature_of_its_own_index_for_a_minute() {
        let leases = HeadLeases::default();
        let now = Instant::now();
        let (one, two): (SocketAddr, SocketAddr) =
            ("10.0.0.1:1".parse().expect("an address"), "10.0.0.1:2".parse().expect("an address"));
        leases.grant("instance a", Some(one), "prod/s/repomd.xml.asc", b"old", now);
        leases.grant("instance a", Some(two), "prod/s/repomd.xml.asc", b"new", now);
        let take = |who, connection, at| leases.take(who, connection, "prod/s/repomd.xml.asc", at);
        assert_eq!(take("instance a", Some(one), now).as_deref(), Some(&b"old"[..]));
        assert_eq!(take("instance a", Some(two), now).as_deref(), Some(&b"new"[..]));
        let third = "10.0.0.1:3".parse().ok();
        assert_eq!(take("instance a", third, now).as_deref(), Some(&b"new"[..]), "another connection of the same host");
        assert_eq!(take("instance b", Some(one), now), None);
        assert_eq!(take("instance a", Some(one), now + HEAD_LEASE), None);
    }

    #[test]
    fn the_number_of_leases_is_bounded() {
        let leases = HeadLeases::default();
        let now = Instant::now();
        for i in 0..HEAD_LEASES_MAX + 10 {
            leases.grant(&format!("instance {i}"), None, "f", b"s", now);
        }
        assert!(leases.0.lock().expect("not poisoned").len() <= HEAD_LEASES_MAX);
        leases.grant("instance x", None, "f", &vec![0; HEAD_LEASE_MAX_BYTES + 1], now);
        assert_eq!(leases.take("instance x", None, "f", now), None);
    }
}

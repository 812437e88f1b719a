//! Short digests that find a package or a set among the stored ones; who finds one still compares the whole.

use std::ops::RangeInclusive;

use sha2::{Digest, Sha256};

use super::PackageId;

/// The digest of a package: 31 bits of its name in front, 32 bits of the rest behind.
pub fn package(name: &str, rest: &[&str]) -> i64 {
    let mut hash = Sha256::new();
    for text in rest {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    (front(name) << 32) | i64::from(first_four(&hash.finalize()))
}

/// Where the digests of all packages of a name are.
pub fn of_name(name: &str) -> RangeInclusive<i64> {
    let front = front(name) << 32;
    front..=front | i64::from(u32::MAX)
}

/// The digest of a package set: 64 bits.
pub fn class(ids: &[PackageId]) -> i64 {
    let mut bytes = Vec::with_capacity(4 * ids.len());
    for id in ids {
        bytes.extend_from_slice(&id.0.to_be_bytes());
    }
    let digest = Sha256::digest(&bytes);
    (i64::from(first_four(&digest)) << 32) | i64::from(first_four(digest.get(4..).unwrap_or_default()))
}

fn front(name: &str) -> i64 {
    i64::from(first_four(&Sha256::digest(name.as_bytes())) >> 1)
}

fn first_four(digest: &[u8]) -> u32 {
    digest.iter().take(4).fold(0, |n, byte| (n << 8) | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_found_among_those_of_its_name() {
        let digest = package("bash", &["amd64", "5.2", ""]);
        assert!(of_name("bash").contains(&digest) && !of_name("dash").contains(&digest));
        assert_ne!(digest, package("bash", &["amd64", "5.", "2"]), "where a text ends counts");
        assert_ne!(class(&[PackageId(1), PackageId(2)]), class(&[PackageId(1)]));
    }
}

//! A package set as bytes: its ascending ids as gaps, or what it lacks and has beside another class where that is
//! shorter. 600 packages are about 900 bytes in full and 5 bytes for each changed package otherwise.

use super::{Damaged, PackageId, diff, varint};
use crate::limits::PACKAGES_MAX;

/// First byte: every id follows.
const FULL: u8 = 0;
/// First byte: what the base has and this set has not, then the other way round.
const DELTA: u8 = 1;

/// A set as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coded {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Are they the difference to the base that was offered?
    pub on_base: bool,
}

/// Writes an ascending set, as the difference to `base` where that is shorter.
pub fn encode(ids: &[PackageId], base: Option<&[PackageId]>) -> Coded {
    let mut full = vec![FULL];
    put_ids(&mut full, ids);
    if let Some(base) = base {
        let delta = diff(base, ids);
        let mut bytes = vec![DELTA];
        put_ids(&mut bytes, &delta.removed);
        put_ids(&mut bytes, &delta.added);
        if bytes.len() < full.len() {
            return Coded { bytes, on_base: true };
        }
    }
    Coded { bytes: full, on_base: false }
}

/// Reads a set; `base` is the decoded class it was written against.
pub fn decode(bytes: &[u8], base: Option<&[PackageId]>) -> Result<Vec<PackageId>, Damaged> {
    match (parts(bytes)?, base) {
        (Parts::Full(ids), _) => Ok(ids),
        (Parts::Delta { .. }, None) => Err(damaged("it needs a base and has none")),
        (Parts::Delta { removed, added }, Some(base)) => apply(base, &removed, &added),
    }
}

/// The base without what is removed and with what is added, all ascending: what lies between two changes is copied whole.
fn apply(base: &[PackageId], removed: &[PackageId], added: &[PackageId]) -> Result<Vec<PackageId>, Damaged> {
    let mut out = Vec::with_capacity((base.len() + added.len()).saturating_sub(removed.len()));
    let (mut rest, mut removed, mut added) = (base, removed, added);
    loop {
        let (change, is_new) = match (removed.first(), added.first()) {
            (None, None) => break,
            (Some(gone), Some(new)) => (*gone.min(new), new < gone),
            (gone, new) => match gone.or(new) {
                Some(one) => (*one, gone.is_none()),
                None => break,
            },
        };
        let (before, after) = rest.split_at(rest.partition_point(|id| *id < change));
        out.extend_from_slice(before);
        let is_there = after.first() == Some(&change);
        rest = match (is_new, is_there) {
            (true, true) => return Err(damaged("it adds what its base has")),
            (false, false) => return Err(damaged("it removes what its base has not")),
            (true, false) => after,
            (false, true) => &after[1..],
        };
        if is_new {
            out.push(change);
            added = &added[1..];
        } else {
            removed = &removed[1..];
            if added.first() == Some(&change) {
                return Err(damaged("it adds what its base has"));
            }
        }
    }
    out.extend_from_slice(rest);
    if out.len() > PACKAGES_MAX {
        return Err(damaged("it has more packages than a host may"));
    }
    Ok(out)
}

/// Which of `wanted` (ascending) are in the set, without decoding it: `base` is the same answer for its base.
pub fn holds(bytes: &[u8], base: Option<&[PackageId]>, wanted: &[PackageId]) -> Result<Vec<PackageId>, Damaged> {
    let is_wanted = |id: &PackageId| wanted.binary_search(id).is_ok();
    match (parts(bytes)?, base) {
        (Parts::Full(mut ids), _) => {
            ids.retain(is_wanted);
            Ok(ids)
        }
        (Parts::Delta { .. }, None) => Err(damaged("it needs a base and has none")),
        (Parts::Delta { removed, added }, Some(base)) => {
            let mut out: Vec<PackageId> = base.iter().copied().filter(|id| removed.binary_search(id).is_err()).collect();
            out.extend(added.into_iter().filter(is_wanted));
            out.sort_unstable();
            Ok(out)
        }
    }
}

/// Every id that the bytes name: of a chain of classes together, all that are in any of them.
pub fn named(bytes: &[u8]) -> Result<Vec<PackageId>, Damaged> {
    Ok(match parts(bytes)? {
        Parts::Full(ids) => ids,
        Parts::Delta { removed, added } => removed.into_iter().chain(added).collect(),
    })
}

enum Parts {
    Full(Vec<PackageId>),
    Delta { removed: Vec<PackageId>, added: Vec<PackageId> },
}

fn parts(bytes: &[u8]) -> Result<Parts, Damaged> {
    let (kind, mut rest) = bytes.split_first().ok_or(damaged("it is empty"))?;
    let parts = match *kind {
        FULL => Parts::Full(take_ids(&mut rest)?),
        DELTA => Parts::Delta { removed: take_ids(&mut rest)?, added: take_ids(&mut rest)? },
        _ => return Err(damaged("it is of a kind this version does not know")),
    };
    if rest.is_empty() { Ok(parts) } else { Err(damaged("something follows its end")) }
}

fn put_ids(out: &mut Vec<u8>, ids: &[PackageId]) {
    varint::put(out, ids.len() as u64);
    let mut next = 0u64;
    for id in ids {
        let id = u64::from(id.0);
        varint::put(out, id.saturating_sub(next));
        next = id + 1;
    }
}

fn take_ids(bytes: &mut &[u8]) -> Result<Vec<PackageId>, Damaged> {
    let short = damaged("it ends too early");
    let count = varint::take(bytes).and_then(|n| usize::try_from(n).ok()).ok_or(short.clone())?;
    // One byte an id at least: a count cannot ask for more memory than there are bytes.
    if count > PACKAGES_MAX || count > bytes.len() {
        return Err(damaged("its count is too large"));
    }
    let mut ids = Vec::with_capacity(count);
    let mut next = 0u64;
    for _ in 0..count {
        let gap = varint::take(bytes).ok_or(short.clone())?;
        let id = next.checked_add(gap).and_then(|id| u32::try_from(id).ok()).ok_or(damaged("an id is too large"))?;
        ids.push(PackageId(id));
        next = u64::from(id) + 1;
    }
    Ok(ids)
}

fn damaged(why: &'static str) -> Damaged {
    Damaged { what: "class", why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set() -> impl Strategy<Value = Vec<PackageId>> {
        proptest::collection::btree_set(0u32..400, 0..60).prop_map(|s| s.into_iter().map(PackageId).collect())
    }

    proptest! {
        #[test]
        fn sets_come_back_alone_and_on_a_base(ids in set(), base in set()) {
            let alone = encode(&ids, None);
            prop_assert!(!alone.on_base);
            prop_assert_eq!(decode(&alone.bytes, None), Ok(ids.clone()));
            let coded = encode(&ids, Some(&base));
            prop_assert!(coded.bytes.len() <= alone.bytes.len());
            prop_assert_eq!(decode(&coded.bytes, coded.on_base.then_some(&base[..])), Ok(ids));
        }

        #[test]
        fn a_question_about_few_packages_needs_no_decoding(ids in set(), base in set(), wanted in set()) {
            let both = |set: &[PackageId]| set.iter().copied().filter(|id| wanted.contains(id)).collect::<Vec<_>>();
            let coded = encode(&ids, Some(&base));
            let of_base = both(&base);
            let base = coded.on_base.then_some(&of_base[..]);
            prop_assert_eq!(holds(&coded.bytes, base, &wanted), Ok(both(&ids)));
        }

        #[test]
        fn damaged_bytes_are_refused_or_read_as_a_set(bytes in proptest::collection::vec(any::<u8>(), 0..40), base in set()) {
            if let Ok(ids) = decode(&bytes, Some(&base)) {
                prop_assert!(ids.is_sorted_by(|a, b| a < b));
            }
            let _ = named(&bytes);
        }
    }

    #[test]
    fn a_change_of_few_packages_costs_few_bytes() {
        let old: Vec<PackageId> = (0..600).map(|n| PackageId(n * 97)).collect();
        let mut new = old.clone();
        for n in [7, 300, 500] {
            new[n] = PackageId(new[n].0 + 50);
        }
        let coded = encode(&new, Some(&old));
        assert!(coded.on_base && coded.bytes.len() <= 20, "{}", coded.bytes.len());
        assert!(decode(&coded.bytes, None).is_err(), "not without its base");
        assert!(decode(&coded.bytes, Some(&new)).is_err(), "nor on another");
    }
}

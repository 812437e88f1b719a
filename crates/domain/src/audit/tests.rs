//! An export is tampered with in every way that can be thought of, and each is found and named.

use std::borrow::Cow;

use jiff::Timestamp;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::chain::{self, GENESIS, Hash, Seal, SealKind, unhex};
use super::line::{self, Line};
use super::verify::{Broken, Summary, Verifier, Wrong};
use super::*;

/// Records between two seals.
const SEALED_EVERY: u64 = 5;
const KEY: [u8; 32] = [7; 32];

/// Stands for Ed25519, which this room does not have: nobody without the "key" makes it, which is all the chain asks for.
fn sign(seal: &Seal) -> [u8; 64] {
    let half: [u8; 32] = Sha256::digest([b"secret".as_slice(), &seal.signed_bytes()].concat()).into();
    let mut out = [0; 64];
    out[..32].copy_from_slice(&half);
    out[32..].copy_from_slice(&half);
    out
}

fn signed(seal: &Seal) -> bool {
    seal.key == KEY && seal.signature == sign(seal)
}

fn seal(kind: SealKind, seq: u64, hash: Hash) -> Seal {
    let at = Timestamp::from_second(1_800_000_000 + i64::try_from(seq).expect("small")).expect("in range");
    let mut seal = Seal { kind, seq, hash, at, key: KEY, signature: [0; 64] };
    seal.signature = sign(&seal);
    seal
}

fn record(n: u64) -> Record<'static> {
    let at = Timestamp::from_microsecond(1_800_000_000_000_000 + i64::try_from(n).expect("small") * 1_000_001).expect("in range");
    let failed = n.is_multiple_of(3);
    Record {
        at,
        who_kind: "user".into(),
        who_id: format!("id-{n}").into(),
        who: if n.is_multiple_of(2) { "ann".into() } else { "Zoë \"z\"\n\u{1}".into() },
        address: "10.0.0.1".into(),
        request_id: "r-1".into(),
        operation: "patch-job.create".into(),
        compartment: "tenancy".into(),
        resource: format!("patch-job {n}").into(),
        decision: "allow".into(),
        reason: "allow group A to manage all-resources in tenancy".into(),
        parameters: Cow::Owned(format!(r#"{{"name":"é{n}","list":[1,2.50,"\u001f"]}}"#)),
        outcome: if failed { Outcome::Failed } else { Outcome::Allowed }.as_str().into(),
        error: if failed { "no".into() } else { "".into() },
        duration_ms: (!failed).then_some(n),
    }
}

/// The whole chain of `n` records, sealed to its end.
fn chain_of(records: impl Iterator<Item = Record<'static>>) -> (Vec<Vec<u8>>, Vec<Seal>) {
    let (mut lines, mut seals, mut previous, mut sealed, mut seq) = (Vec::new(), Vec::new(), GENESIS, 0, 0);
    for record in records {
        seq += 1;
        previous = chain::hash(&mut Vec::new(), &previous, seq, &record);
        let mut out = Vec::new();
        line::push_record(&mut out, seq, &record, &previous);
        lines.push(out);
        if seq.is_multiple_of(SEALED_EVERY) {
            let seal = seal(SealKind::Interval { after: sealed }, seq, previous);
            push(&mut lines, &seal);
            seals.push(seal);
            sealed = seq;
        }
    }
    if sealed != seq {
        let seal = seal(SealKind::Interval { after: sealed }, seq, previous);
        push(&mut lines, &seal);
        seals.push(seal);
    }
    push(&mut lines, &self::seal(SealKind::Export { first: 1 }, seq, previous));
    (lines, seals)
}

fn push(lines: &mut Vec<Vec<u8>>, seal: &Seal) {
    let mut out = Vec::new();
    line::push_seal(&mut out, seal);
    lines.push(out);
}

fn export(n: u64) -> Vec<Vec<u8>> {
    chain_of((1..=n).map(record)).0
}

fn check(lines: &[Vec<u8>]) -> Result<Summary, Broken> {
    check_keeping(&lines.concat(), None)
}

fn check_keeping(file: &[u8], kept: Option<Seal>) -> Result<Summary, Broken> {
    let mut verifier = Verifier::new(&signed).keeping(kept);
    for line in file.strip_suffix(b"\n").unwrap_or(file).split(|b| *b == b'\n') {
        if !verifier.line(line) {
            break;
        }
    }
    verifier.finish()
}

fn broken(lines: &[Vec<u8>]) -> (Wrong, Option<u64>, u64) {
    let broken = check(lines).expect_err("has to be found");
    (broken.wrong, broken.seq, broken.line)
}

#[test]
fn a_whole_export_is_good() {
    let good = check(&export(12)).expect("good");
    assert_eq!((good.records, good.seals, good.first, good.last), (12, 4, 1, 12));
    assert!(check(&[]).is_err(), "nothing is no export");
}

#[test]
fn a_chain_whose_beginning_was_dropped_goes_on_from_the_kept_seal() {
    let lines = export(12);
    // Records 1 to 5 are gone, their seal is the new beginning.
    let mut rest: Vec<Vec<u8>> = lines[5..lines.len() - 1].to_vec();
    let Ok(Line::Seal(end)) = line::parse(lines.last().expect("an end").trim_ascii(), &mut Vec::new()) else { panic!("a seal") };
    push(&mut rest, &seal(SealKind::Export { first: 6 }, 12, end.hash));
    let good = check(&rest).expect("good");
    assert_eq!((good.records, good.first, good.last), (7, 6, 12));
    // The same file without its own signed end, or with records before its beginning.
    assert_eq!(broken(&rest[..rest.len() - 1]).0, Wrong::CutOff);
    assert_eq!(broken(&lines[5..]).0, Wrong::Missing, "this end belongs to a file that began with record 1");
    assert_eq!(broken(&rest[1..]), (Wrong::Missing, Some(1), 1));
}

#[test]
fn each_way_of_tampering_has_its_name() {
    let good = export(12);
    let with = |edit: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut lines = good.clone();
        edit(&mut lines);
        broken(&lines)
    };
    let replaced = |from: &str, to: &str, at: usize| {
        with(&|lines| {
            let text = String::from_utf8(lines[at].clone()).expect("UTF-8");
            assert!(text.contains(from));
            lines[at] = text.replacen(from, to, 1).into_bytes();
        })
    };
    assert_eq!(replaced("\"ann\"", "\"bob\"", 1), (Wrong::Changed, Some(2), 2));
    assert_eq!(replaced("allowed", "denied", 3), (Wrong::Changed, Some(4), 4));
    assert_eq!(replaced("2.50", "2.5", 3), (Wrong::Changed, Some(4), 4));
    assert_eq!(replaced("{\"seq\"", "{ \"seq\"", 0), (Wrong::Changed, Some(1), 1));
    // Lines 6 and 12 are seals.
    assert_eq!(replaced("\"signature\":\"", "\"signature\":\"00", 5).0, Wrong::Changed);
    assert_eq!(replaced("\"after\":0", "\"after\":1", 5), (Wrong::SealBad, Some(5), 6));
    assert_eq!(with(&|lines| drop(lines.remove(2))), (Wrong::Missing, Some(3), 3));
    assert_eq!(with(&|lines| drop(lines.remove(4))), (Wrong::Missing, Some(5), 5), "the last one before a seal");
    assert_eq!(with(&|lines| drop(lines.remove(5))), (Wrong::Missing, Some(5), 11), "the seal of record 5");
    assert_eq!(with(&|lines| lines.swap(1, 2)), (Wrong::Reordered, Some(2), 2));
    assert_eq!(with(&|lines| lines.swap(0, 9)), (Wrong::Reordered, Some(1), 1));
    assert_eq!(with(&|lines| lines.insert(3, lines[1].clone())), (Wrong::Inserted, Some(2), 4));
    assert_eq!(with(&|lines| lines.insert(5, lines[5].clone())), (Wrong::Inserted, Some(5), 7));
    assert_eq!(with(&|lines| lines.insert(0, b"{}\n".to_vec())), (Wrong::Changed, Some(1), 1));
    assert_eq!(with(&|lines| lines.push(lines[0].clone())), (Wrong::Inserted, None, 17));
    assert_eq!(with(&|lines| lines.truncate(8)), (Wrong::CutOff, Some(8), 9));
    assert_eq!(with(&|lines| lines.truncate(6)), (Wrong::CutOff, Some(6), 7), "at a seal");
    // A record of one's own with the number of another, put in before it.
    let forged = with(&|lines| {
        let mut out = Vec::new();
        let own = Record { who: "mallory".into(), ..record(4) };
        line::push_record(&mut out, 4, &own, &[1; 32]);
        lines.insert(3, out);
    });
    assert_eq!(forged, (Wrong::Inserted, Some(4), 4));
}

/// Whoever may write but not sign: changes a record and hashes all that follow anew.
#[test]
fn a_chain_that_was_hashed_anew_does_not_fit_its_seals() {
    let forged = chain_of((1..=12).map(|n| if n == 7 { Record { who: "mallory".into(), ..record(7) } } else { record(n) })).0;
    let good = export(12);
    let mixed: Vec<Vec<u8>> =
        forged.into_iter().zip(&good).map(|(f, g)| if g.starts_with(b"{\"seal\"") { g.clone() } else { f }).collect();
    assert_eq!(broken(&mixed), (Wrong::Changed, Some(6), 12), "the seal of record 10 covers 6 to 10");
}

#[test]
fn a_seal_of_another_key_is_refused() {
    let mut lines = export(3);
    let Ok(Line::Seal(mut own)) = line::parse(lines[3].trim_ascii(), &mut Vec::new()) else { panic!("a seal") };
    own.key = [8; 32];
    own.signature = sign(&own);
    lines[3].clear();
    line::push_seal(&mut lines[3], &own);
    assert_eq!(broken(&lines), (Wrong::SealBad, Some(3), 4));
}

/// A database that was cut back to an earlier seal exports well; a seal that was kept elsewhere tells.
#[test]
fn a_kept_seal_tells_that_the_chain_was_cut_back() {
    let (long, seals) = chain_of((1..=12).map(record));
    let kept = *seals.last().expect("seals");
    assert!(check_keeping(&long.concat(), Some(kept)).expect("good").kept_met);
    assert!(check_keeping(&long.concat(), Some(seals[0])).expect("good").kept_met);
    let short = export(8);
    let cut = check_keeping(&short.concat(), Some(kept)).expect_err("found");
    assert_eq!((cut.wrong, cut.seq), (Wrong::CutOff, Some(9)));
    let rewritten = chain_of((1..=12).map(|n| record(if n == 2 { 200 } else { n }))).0;
    assert!(check(&rewritten).is_ok(), "signed by the key itself: only the kept seal knows better");
    assert_eq!(check_keeping(&rewritten.concat(), Some(kept)).expect_err("found").wrong, Wrong::Changed);
}

#[test]
fn what_a_record_holds_is_bounded_and_every_line_comes_back() {
    let long = "x\0\u{1}".repeat(10_000);
    let record = Record { who: long.clone().into(), reason: long.clone().into(), parameters: long.into(), ..record(1) }.bounded();
    assert!(record.who.len() <= 3 * TEXT_MAX_BYTES && !record.who.contains('\0'));
    assert!(record.parameters.len() <= PARAMETERS_MAX_BYTES, "{}", record.parameters.len());
    serde_json::from_str::<serde_json::Value>(&record.parameters).expect("JSON");
    let mut out = Vec::new();
    line::push_record(&mut out, 9, &record, &[3; 32]);
    assert!(out.len() < line::LINE_MAX_BYTES);
    let parsed = line::parse(out.trim_ascii_end(), &mut Vec::new()).expect("reads");
    assert_eq!(parsed, Line::Record { seq: 9, record, hash: [3; 32] });
    assert_eq!(parameters(&serde_json::json!({"a": 1})), r#"{"a":1}"#);
    assert_eq!(
        parameters(&serde_json::json!([1])),
        r#"{"beginning":"[1]","bytes":3,"sha256":"#.to_owned() + &format!("\"{}\"}}", crate::inventory::fingerprint(b"[1]"))
    );
}

/// The encoding is for ever: a server of today has to find the hashes of one of ten years ago good.
#[test]
fn the_hash_of_a_record_never_changes() {
    let hash = chain::hash(&mut Vec::new(), &GENESIS, 1, &record(1));
    assert_eq!(chain::hex(&hash), KNOWN_HASH);
    assert_eq!(unhex::<32>(KNOWN_HASH), Some(hash));
    assert_eq!(unhex::<32>(&KNOWN_HASH.to_uppercase()), None);
}

const KNOWN_HASH: &str = "b08d497618030dd275eef24d90e61babbdf5f0cbe312b1781bfe29ca4759ded7";

#[test]
fn operations_have_families_and_reads_are_recorded_unless_switched_off() {
    use super::family::{AuditSettings, Family, family};
    assert_eq!(family("patch-job.list"), Family::Patching);
    assert_eq!(family("whoami"), Family::Other);
    // Whoever adds an operation with a new noun says which family it is of.
    let strays = crate::access::operations::OPERATIONS.iter().filter(|o| family(o.name) == Family::Other);
    assert_eq!(strays.map(|o| o.name).collect::<Vec<_>>(), [""; 0], "name their family in audit/family.rs");
    let settings: AuditSettings = serde_json::from_str(r#"{"reads":{"instances":false}}"#).expect("settings");
    assert!(!settings.records_read("instance.list") && settings.records_read("secret.show"));
    assert!(AuditSettings { keep_days: Some(1), ..settings }.problem().is_some());
}

proptest! {
    #[test]
    fn any_changed_byte_is_found(n in 1u64..14, place in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut file = export(n).concat();
        let end = file.len() - 1;
        let at = place.index(end);
        prop_assume!(file[at] != to);
        file[at] = to;
        prop_assert!(check_keeping(&file, None).is_err());
    }

    #[test]
    fn any_missing_or_added_byte_is_found(n in 1u64..14, place in any::<prop::sample::Index>(), add in any::<Option<u8>>()) {
        let mut file = export(n).concat();
        let at = place.index(file.len() - 1);
        match add {
            None => { file.remove(at); }
            Some(byte) => file.insert(at, byte),
        }
        prop_assert!(check_keeping(&file, None).is_err());
    }

    #[test]
    fn any_line_removed_repeated_or_moved_is_found(n in 1u64..30, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(), what in 0..4) {
        let mut lines = export(n);
        let (a, b) = (a.index(lines.len()), b.index(lines.len()));
        match what {
            0 => { lines.remove(a); }
            1 => { let line = lines[a].clone(); lines.insert(b, line); }
            2 => { prop_assume!(a != b); lines.swap(a, b); }
            _ => { lines.truncate(a); }
        }
        prop_assert!(check(&lines).is_err());
    }

    /// Somebody who may write the database but not sign: any record changed, all hashes made anew.
    #[test]
    fn any_record_changed_under_new_hashes_is_found(n in 1u64..30, place in any::<prop::sample::Index>()) {
        let changed = u64::try_from(place.index(usize::try_from(n).expect("small"))).expect("small") + 1;
        let forged = chain_of((1..=n).map(|i| if i == changed { Record { who: "mallory".into(), ..record(i) } } else { record(i) })).0;
        let lines: Vec<Vec<u8>> = forged.into_iter().zip(export(n)).map(|(f, g)| if g.starts_with(b"{\"seal\"") { g } else { f }).collect();
        let broken = check(&lines).expect_err("found");
        prop_assert!(broken.seq.is_some_and(|s| s <= changed), "{broken}");
    }
}

//! How many audit records a second this machine keeps (queue, chain, SQLite with an fsync per commit), and how long the check
//! of an export of a million records takes. Prints one line of JSON:
//! `{"audit_records_per_s":…,"verify_1m_s":…}`. `--records N` sets the number of records of the first part.
#![allow(missing_docs)]

use std::sync::Arc;
use std::time::Instant;

use drydock_control::store::{Location, Store};
use drydock_control::{Clock, Config, Control, SignInTry, SystemClock, WorkKey};
use drydock_domain::audit::chain::{GENESIS, Seal, SealKind, hash};
use drydock_domain::audit::line::{push_record, push_seal};
use drydock_domain::audit::verify::Verifier;
use drydock_domain::audit::{Outcome, Record};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// Records of the second part.
const VERIFIED: u64 = 1_000_000;
/// Records between two seals.
const SEALED_EVERY: u64 = 1000;
/// Records put into the queue before it is emptied, count.
const BURST: u64 = 5000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip_while(|a| a != "--records").skip(1);
    let records = args.next().map_or(Ok(50_000), |n| n.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let per_second = runtime.block_on(keep(records))?;
    let seconds = check()?;
    println!(
        "{}",
        serde_json::json!({"audit_records_per_s": per_second.round(), "verify_1m_s": (seconds * 1000.0).round() / 1000.0})
    );
    Ok(())
}

/// Records a second through the queue into the chain.
async fn keep(records: u64) -> Result<f64, Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let store = Store::open(&Location::Sqlite(dir.path().join("drydock.sqlite"))).await?;
    let (key, _) = WorkKey::generate()?;
    let control = Control::new(store, Config::default(), key, Arc::new(SystemClock));
    let told = SignInTry {
        operation: "session.sign-in",
        who: None,
        name: "ann",
        address: Some("192.0.2.7".parse()?),
        request_id: "0198c0de-0000-7000-8000-000000000002",
        way: "password and code",
        refused: Some("allow group Administrators to manage all-resources in tenancy"),
    };
    let began = Instant::now();
    let mut kept = 0;
    while kept < records {
        for _ in 0..BURST.min(records - kept) {
            control.audit_sign_in(told.clone()).await;
        }
        kept += u64::try_from(control.chain_audit().await?)?;
    }
    Ok(kept as f64 / began.elapsed().as_secs_f64())
}

/// Seconds for the check of an export of a million records, line by line, signatures too.
fn check() -> Result<f64, Box<dyn std::error::Error>> {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| "no random bytes")?;
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).map_err(|_| "no key")?;
    let key: [u8; 32] = pair.public_key().as_ref().try_into()?;
    let export = made(&pair, key)?;
    let signed = |seal: &Seal| {
        seal.key == key && UnparsedPublicKey::new(&ED25519, seal.key).verify(&seal.signed_bytes(), &seal.signature).is_ok()
    };
    let began = Instant::now();
    let mut verifier = Verifier::new(&signed);
    for line in export.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        verifier.line(line);
    }
    let summary = verifier.finish()?;
    let took = began.elapsed().as_secs_f64();
    if summary.records == VERIFIED { Ok(took) } else { Err("records are missing".into()) }
}

fn made(pair: &Ed25519KeyPair, key: [u8; 32]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut out = Vec::new();
    let (mut previous, mut scratch, mut sealed) = (GENESIS, Vec::new(), 0);
    let at = SystemClock.now();
    let sign = |kind, seq, hash| {
        let mut seal = Seal { kind, seq, hash, at: jiff::Timestamp::UNIX_EPOCH, key, signature: [0; 64] };
        seal.signature = pair.sign(&seal.signed_bytes()).as_ref().try_into().unwrap_or([0; 64]);
        seal
    };
    for seq in 1..=VERIFIED {
        let at = jiff::Timestamp::from_microsecond(at.as_microsecond() + i64::try_from(seq)? * 1709)?;
        let record = Record {
            at,
            who_kind: "user".into(),
            who_id: "0198c0de-0000-7000-8000-000000000001".into(),
            who: "ann".into(),
            address: "192.0.2.7".into(),
            request_id: "0198c0de-0000-7000-8000-000000000002".into(),
            operation: "patch-job.create".into(),
            compartment: "/A/web".into(),
            resource: format!("patch-job {seq}").into(),
            decision: "allow".into(),
            reason: "allow group team-a to manage drydock-family in compartment A".into(),
            parameters: r#"{"body":{"displayName":"night","instanceFilter":{"all":true}}}"#.into(),
            outcome: Outcome::Allowed.as_str().into(),
            error: "".into(),
            duration_ms: Some(seq % 100),
        };
        previous = hash(&mut scratch, &previous, seq, &record);
        push_record(&mut out, seq, &record, &previous);
        if seq.is_multiple_of(SEALED_EVERY) {
            push_seal(&mut out, &sign(SealKind::Interval { after: sealed }, seq, previous));
            sealed = seq;
        }
    }
    push_seal(&mut out, &sign(SealKind::Export { first: 1 }, VERIFIED, previous));
    Ok(out)
}

//! The audit: what is recorded, that it cannot be changed unseen, and that it goes on when old parts go.
#![allow(missing_docs)]

mod common;

use std::path::PathBuf;

use common::*;
use drydock_control::store::audit::AuditQuery;
use drydock_control::{CallNotes, Control, ErrorKind, Principal, SignInTry, reconcile};
use drydock_domain::access::Role;
use drydock_domain::audit::chain::Seal;
use drydock_domain::audit::family::{AuditSettings, Family};
use drydock_domain::audit::verify::{Broken, Summary, Verifier, Wrong};
use drydock_domain::patch::task::TaskState;
use ring::signature::{ED25519, UnparsedPublicKey};
use sqlx::any::AnyPoolOptions;

/// Checks an export as whoever has the key does, without the server.
fn verified(lines: &[u8], key: [u8; 32]) -> Result<Summary, Broken> {
    let signed = |seal: &Seal| {
        seal.key == key && UnparsedPublicKey::new(&ED25519, seal.key).verify(&seal.signed_bytes(), &seal.signature).is_ok()
    };
    let mut verifier = Verifier::new(&signed);
    for line in lines.strip_suffix(b"\n").unwrap_or(lines).split(|b| *b == b'\n') {
        if !verifier.line(line) {
            break;
        }
    }
    verifier.finish()
}

async fn exported(control: &Control, w: &World) -> Vec<u8> {
    let mut export = control.export_audit(&w.server(), None, None).await.expect("an export");
    let mut out = Vec::new();
    while let Some(lines) = export.next().await.expect("lines") {
        out.extend(lines);
    }
    out
}

async fn check(w: &World) -> Result<Summary, Broken> {
    verified(&exported(&w.control, w).await, w.control.work_public_key())
}

/// `n` changes by an administrator, each its record.
async fn changes(w: &World, n: usize) {
    for i in 0..n {
        w.control.bootstrap_admin_token(&format!("t{i}"), Role::Viewer).await.expect("a token");
    }
}

/// What somebody with the database file, and without the server's key, may do to it.
async fn meddle(w: &World, sql: &'static str) {
    sqlx::any::install_default_drivers();
    let file: PathBuf = w.dir.path().join("drydock.sqlite");
    let pool = AnyPoolOptions::new().max_connections(1).connect(&format!("sqlite://{}", file.display())).await.expect("opened");
    let done = sqlx::query(sql).execute(&pool).await.expect("meddled");
    assert!(done.rows_affected() > 0, "{sql} changed nothing");
    pool.close().await;
}

#[tokio::test]
async fn a_record_says_who_what_why_and_how_it_ended() {
    let w = World::new().await;
    let operator = w.person(Role::Operator).await.from_address("192.0.2.7".parse().expect("an address"));
    operator.notes.set_parameters("body", serde_json::json!({"name": "web"}));
    w.control.create_group(&operator, serde_json::from_str(r#"{"name":"web"}"#).expect("a group")).await.expect("made");
    let denied = w.control.revoke_profile(&operator, drydock_domain::ids::ProfileId(uuid::Uuid::from_u128(7))).await;
    assert!(denied.is_err());
    let audit = w.audit().await;
    let made = audit.iter().find(|r| r.operation == "group.create").expect("recorded");
    assert_eq!((&*made.who, &*made.who_kind, &*made.address, &*made.request_id), ("operator", "token", "192.0.2.7", "req-1"));
    assert_eq!((&*made.decision, &*made.outcome, &*made.compartment), ("allow", "allowed", "/"));
    assert!(made.reason.contains("Operators"), "the statement that decided: {}", made.reason);
    assert_eq!(made.parameters, r#"{"body":{"name":"web"}}"#);
    assert!(made.duration_ms.is_some());
    let refused = audit.iter().find(|r| r.operation == "enrolment-profile.revoke").expect("recorded");
    assert_eq!((&*refused.decision, &*refused.outcome), ("deny", "denied"));
    assert!(!refused.reason.is_empty());
}

#[tokio::test]
async fn work_sent_and_its_result_are_recorded() {
    let w = World::new().await;
    let hosts = w.hosts(1).await;
    let job = w.job(r#"{"instanceFilter":{"all":true},"dryRun":true}"#).await;
    w.settle().await;
    let order = hosts[0].take(&w).await;
    hosts[0].report(&w, order.task.task, 1, TaskState::Succeeded).await;
    let audit = w.audit().await;
    let enrolled = audit.iter().find(|r| r.operation == "instance.enrol").expect("the enrolment");
    assert_eq!(enrolled.who_kind, "instance");
    let sent = audit.iter().find(|r| r.operation == "patch-task.send").expect("the order");
    assert!(sent.resource.contains(&job.to_string()) && sent.resource.contains("order "), "{}", sent.resource);
    let result = audit.iter().find(|r| r.operation == "patch-task.result").expect("the result");
    assert_eq!((&*result.who_kind, &*result.outcome), ("instance", "allowed"));
}

#[tokio::test]
async fn reads_are_recorded_at_the_end_of_the_request_unless_their_family_is_off() {
    let w = World::new().await;
    let reads = |audit: Vec<drydock_domain::audit::Record<'static>>, operation: &str| {
        audit.into_iter().filter(|r| r.operation == operation).collect::<Vec<_>>()
    };
    let notes = CallNotes::of_request();
    let viewer = w.person(Role::Viewer).await.with_notes(notes.clone());
    w.control.get_instance(&viewer, "none").await.expect_err("not there");
    w.control.list_groups(&viewer).await.expect("groups");
    assert!(reads(w.audit().await, "group.list").is_empty(), "the request has not ended");
    w.pass(2);
    w.control.audit_call_ended(&notes, Some("404 Not Found"));
    let [read] = &reads(w.audit().await, "group.list")[..] else { panic!("one record of one call") };
    assert_eq!((&*read.who, &*read.outcome, &*read.error), ("viewer", "failed", "404 Not Found"));
    assert!(read.duration_ms.is_some_and(|ms| ms >= 2000), "{read:?}");

    let off = AuditSettings { reads: [(Family::Instances, false)].into(), keep_days: None };
    w.control.set_audit_settings(&w.server(), off).await.expect("set");
    let viewer = w.person(Role::Viewer).await;
    w.control.list_groups(&viewer).await.expect("groups");
    w.control.list_patch_jobs(&viewer, &Default::default()).await.expect("jobs");
    let audit = w.audit().await;
    assert_eq!(reads(audit.clone(), "group.list").len(), 1, "switched off");
    assert_eq!(reads(audit, "patch-job.list").len(), 1, "another family");
}

#[tokio::test]
async fn reads_that_do_not_fit_are_counted() {
    let w = World::new().await;
    let bad = SignInTry {
        operation: "session.sign-in",
        who: None,
        name: "mallory",
        address: None,
        request_id: "r",
        way: "password",
        refused: Some("the password is wrong"),
    };
    for _ in 0..17_000 {
        w.control.audit_sign_in(bad.clone()).await;
    }
    let chained = w.control.chain_audit().await.expect("chained");
    let query = AuditQuery { operation: Some("audit.overflow".into()), ..AuditQuery::default() };
    let lost = w.control.list_audit(&w.server(), &query).await.expect("a list").items.pop().expect("said so");
    assert!(lost.resource.starts_with("616 reads were not recorded"), "{}", lost.resource);
    // Those before are the world's own.
    assert!((16_385..16_400).contains(&chained), "{chained}");
    let summary = check(&w).await.expect("whole");
    assert!(summary.seals > 16, "sealed as it grew: {}", summary.seals);
}

#[tokio::test]
async fn killing_the_server_before_the_chainer_runs_loses_nothing() {
    let mut w = World::new().await;
    changes(&w, 5).await;
    // Nothing was chained yet; the server goes away without a word, twice.
    w.restart().await;
    changes(&w, 5).await;
    w.restart().await;
    reconcile::turn(&w.control).await;
    let made = w.audit().await.into_iter().filter(|r| r.operation == "access-token.create").count();
    assert_eq!(made, 10);
    check(&w).await.expect("whole");
}

#[tokio::test]
async fn two_servers_on_one_database_chain_each_record_once() {
    let w = World::new().await;
    let other = w.second().await;
    for i in 0..30 {
        let one = w.control.bootstrap_admin_token("a", Role::Viewer);
        let two = other.bootstrap_admin_token("b", Role::Viewer);
        let (one, two) = tokio::join!(one, two);
        one.and(two).expect("made");
        if i % 7 == 0 {
            let (one, two) = tokio::join!(w.control.chain_audit(), other.chain_audit());
            one.and(two).expect("chained");
        }
    }
    let made = w.audit().await.into_iter().filter(|r| r.operation == "access-token.create").count();
    assert_eq!(made, 60);
    check(&w).await.expect("whole");
}

#[tokio::test]
async fn tampering_with_the_database_is_found_and_named() {
    for (sql, wrong, seq) in [
        ("UPDATE audit_chain SET who = 'somebody else' WHERE seq = 4", Wrong::Changed, 4),
        ("UPDATE audit_chain SET outcome = 'failed', error = 'no' WHERE seq = 7", Wrong::Changed, 7),
        ("UPDATE audit_chain SET at = at + 1 WHERE seq = 2", Wrong::Changed, 2),
        ("DELETE FROM audit_chain WHERE seq = 5", Wrong::Missing, 5),
        ("DELETE FROM audit_chain WHERE seq > 6 AND seq <= 10", Wrong::Missing, 7),
        ("UPDATE audit_chain SET seq = -seq WHERE seq IN (3, 4)", Wrong::Missing, 3),
        ("UPDATE audit_chain SET hash = 'none' WHERE seq = 9", Wrong::Changed, 9),
        ("UPDATE audit_chain SET parameters = '{' WHERE seq = 8", Wrong::Changed, 8),
        ("UPDATE audit_seals SET signature = replace(signature, 'a', 'b')", Wrong::SealBad, 10),
        ("UPDATE audit_seals SET at = at + 1", Wrong::SealBad, 10),
        ("DELETE FROM audit_seals WHERE seq = 10", Wrong::Missing, 10),
    ] {
        let w = World::new().await;
        changes(&w, 10).await;
        w.control.chain_audit().await.expect("chained");
        check(&w).await.expect("whole before");
        meddle(&w, sql).await;
        let broken = check(&w).await.expect_err(sql);
        assert_eq!((broken.wrong, broken.seq), (wrong, Some(seq)), "{sql}: {broken}");
    }
}

/// Cut back together with the end of the chain: a running server notices, and a seal that was kept elsewhere tells.
#[tokio::test]
async fn a_chain_that_was_cut_back_is_noticed() {
    let w = World::new().await;
    changes(&w, 6).await;
    let kept = w.control.make_audit_seal(&w.server()).await.expect("a seal");
    assert_eq!(kept.seq, 7, "six tokens and the order to seal");
    changes(&w, 4).await;
    w.control.chain_audit().await.expect("chained");
    meddle(&w, "DELETE FROM audit_chain WHERE seq > 3").await;
    meddle(&w, "DELETE FROM audit_seals WHERE seq > 3").await;
    meddle(&w, "UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit_chain WHERE seq = 3)").await;
    let lines = exported(&w.control, &w).await;
    let summary = verified(&lines, w.control.work_public_key()).expect("the rest is well signed");
    assert!(summary.last < kept.seq);
    let noticed = w.audit().await.into_iter().find(|r| r.operation == "audit.tampering").expect("the server noticed");
    assert!(noticed.resource.contains("ended with record 11"), "{}", noticed.resource);
    let signed = |_: &Seal| true;
    let mut verifier = Verifier::new(&signed).keeping(Some(kept));
    for line in lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        verifier.line(line);
    }
    assert_eq!(verifier.finish().expect_err("the kept seal is not in it").wrong, Wrong::CutOff);
}

#[tokio::test]
async fn old_segments_are_dropped_and_the_rest_stays_provable() {
    let w = World::new().await;
    let settings = AuditSettings { keep_days: Some(30), ..AuditSettings::default() };
    w.control.set_audit_settings(&w.server(), settings).await.expect("set");
    changes(&w, 5).await;
    w.control.make_audit_seal(&w.server()).await.expect("a seal");
    w.pass(40 * 24 * 3600);
    let middle = w.control.now();
    changes(&w, 5).await;
    let dropped = w.control.drop_audit(&w.server(), middle).await.expect("dropped");
    assert_eq!(dropped, 7, "five tokens, the settings and the seal's own record");
    let good = check(&w).await.expect("whole");
    assert_eq!(good.first, 8);
    let status = w.control.audit_status(&w.server()).await.expect("a status");
    assert_eq!((status.first, status.settings.keep_days), (8, Some(30)));
    let operator = w.person(Role::Operator).await;
    assert_eq!(w.control.drop_audit(&operator, middle).await.expect_err("denied").kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn a_receiver_gets_every_record_once_in_order_also_over_a_restart() {
    let mut w = World::new().await;
    changes(&w, 3).await;
    w.control.chain_audit().await.expect("chained");
    let first = w.control.audit_batch("siem").await.expect("asked").expect("some");
    assert_eq!(w.control.audit_batch("siem").await.expect("asked"), Some(first.clone()), "not confirmed: given again");
    w.control.audit_batch_done("siem", &first).await.expect("noted");
    w.restart().await;
    changes(&w, 2).await;
    w.pass(120);
    w.control.chain_audit().await.expect("chained");
    let second = w.control.audit_batch("siem").await.expect("asked").expect("some");
    w.control.audit_batch_done("siem", &second).await.expect("noted");
    assert_eq!(w.control.audit_batch("siem").await.expect("asked"), None);
    let text = String::from_utf8([first.lines, second.lines].concat().concat()).expect("UTF-8");
    let records = text.lines().filter(|l| l.starts_with("{\"seq\":")).count();
    assert_eq!((records, text.lines().filter(|l| l.starts_with("{\"seal\"")).count()), (5, 2));
    // What nobody has got yet is not dropped by age.
    w.control.keep_audit_targets(&["siem".to_owned()]).await.expect("kept");
    assert_eq!(w.control.audit_status(&w.server()).await.expect("a status").forwards, [("siem".to_owned(), 5)]);
    w.control.keep_audit_targets(&[]).await.expect("forgotten");
    assert!(w.control.audit_status(&w.server()).await.expect("a status").forwards.is_empty());
}

#[tokio::test]
async fn whoever_reads_the_audit_of_one_compartment_sees_no_other() {
    let w = World::new().await;
    changes(&w, 2).await;
    let viewer = w.person(Role::Viewer).await;
    let refused = w.control.list_audit(&viewer, &AuditQuery::default()).await.expect_err("denied");
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    let of_nobody = AuditQuery { who: Some("nobody".into()), ..AuditQuery::default() };
    assert!(w.control.list_audit(&w.server(), &of_nobody).await.expect("a list").items.is_empty());
    assert_eq!(Principal::Server.kind(), "server");
}

//! The audit's tables on SQLite always and on PostgreSQL where there is one.
#![allow(missing_docs)]

mod common;

use common::rows::{at, id, page};
use common::suite::Case;
use drydock_domain::access::Scope;
use drydock_domain::audit::chain::{GENESIS, Seal, SealKind, hash};
use drydock_domain::audit::{Outcome, Record};
use drydock_store::audit::{AuditQuery, Head};
use drydock_store::records::AuditRecord;
use drydock_store::{Store, audit, commit};
use jiff::Timestamp;

const CASES: [Case; 5] = crate::cases![
    records_come_out_of_the_inbox_as_they_went_in,
    the_chain_is_read_as_it_was_hashed,
    of_two_servers_one_moves_the_end,
    lists_are_filtered_and_read_by_page,
    old_segments_go_and_their_last_seal_stays,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite() {
    common::suite::on_sqlite(&CASES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres() {
    common::suite::on_postgres(&CASES).await;
}

fn record(n: u64) -> Record<'static> {
    Record {
        at: at(i64::try_from(n).expect("small")),
        who_kind: "user".into(),
        who_id: format!("id-{}", n % 3).into(),
        who: ["ann", "bob", "Zoë"][usize::try_from(n % 3).expect("small")].into(),
        address: "10.0.0.1".into(),
        request_id: format!("r{n}").into(),
        operation: if n.is_multiple_of(2) { "patch-job.create" } else { "patch-job_x.list" }.into(),
        compartment: if n < 5 { "/" } else { "/A" }.into(),
        resource: format!("patch-job 100% {n}").into(),
        decision: "allow".into(),
        reason: "a statement".into(),
        parameters: r#"{"a":[1,"é\u0000"]}"#.into(),
        outcome: if n == 4 { Outcome::Failed } else { Outcome::Allowed }.as_str().into(),
        error: "".into(),
        duration_ms: n.is_multiple_of(2).then_some(n),
    }
}

/// `n` records in a chain, stored.
async fn chain(store: &Store, n: u64) -> Vec<AuditRecord> {
    let mut records: Vec<AuditRecord> = Vec::new();
    for seq in 1..=n {
        let previous = records.last().map_or(GENESIS, |r| r.hash);
        let hash = hash(&mut Vec::new(), &previous, seq, &record(seq));
        records.push(AuditRecord { seq, record: record(seq), hash });
    }
    let mut tx = store.begin().await.expect("begins");
    let from = audit::head(&mut tx).await.expect("a head");
    let to = Head { seq: n, hash: records.last().expect("some").hash };
    assert!(audit::move_head(&mut tx, &from, &to).await.expect("moved"));
    audit::append(&mut tx, &records).await.expect("stored");
    commit(tx).await.expect("committed");
    records
}

fn seal(after: u64, seq: u64, hash: [u8; 32], at: Timestamp) -> Seal {
    Seal { kind: SealKind::Interval { after }, seq, hash, at, key: [7; 32], signature: [9; 64] }
}

async fn records_come_out_of_the_inbox_as_they_went_in(a: Store, b: Store) {
    let mut tx = a.begin().await.expect("begins");
    for n in [2, 1, 3] {
        audit::insert(&mut tx, id(u128::from(n)), &record(n)).await.expect("stored");
    }
    commit(tx).await.expect("committed");
    let mut tx = b.begin().await.expect("begins");
    let found = audit::inbox(&mut tx, 2).await.expect("read");
    assert_eq!(found.iter().map(|(_, r)| r.clone()).collect::<Vec<_>>(), [record(1), record(2)]);
    let ids = found.into_iter().map(|(id, _)| id).collect();
    assert_eq!(audit::take(&mut tx, ids).await.expect("taken"), 2);
    assert_eq!(audit::take(&mut tx, vec!["none".into()]).await.expect("taken"), 0);
    commit(tx).await.expect("committed");
    assert_eq!(audit::inbox(&mut a.read().await.expect("reads"), 9).await.expect("read").len(), 1);
}

async fn the_chain_is_read_as_it_was_hashed(a: Store, b: Store) {
    assert_eq!(audit::head(&mut a.read().await.expect("reads")).await.expect("read"), Head { seq: 0, hash: GENESIS });
    // More than one statement's worth.
    let records = chain(&a, 250).await;
    let mut c = b.read().await.expect("reads");
    let first = audit::after(&mut c, 0, 180).await.expect("read");
    let rest = audit::after(&mut c, 180, 180).await.expect("read");
    assert_eq!([first, rest].concat(), records);
    let mut previous = GENESIS;
    for own in &records {
        assert_eq!(hash(&mut Vec::new(), &previous, own.seq, &own.record), own.hash);
        previous = own.hash;
    }
    assert_eq!(audit::head(&mut c).await.expect("read"), Head { seq: 250, hash: previous });
}

async fn of_two_servers_one_moves_the_end(a: Store, b: Store) {
    let from = Head { seq: 0, hash: GENESIS };
    let to = Head { seq: 1, hash: [1; 32] };
    let moving = |store: Store| async move {
        let mut tx = store.begin().await.expect("begins");
        let moved = audit::move_head(&mut tx, &from, &to).await.expect("asked");
        commit(tx).await.expect("committed");
        moved
    };
    let (one, other) = tokio::join!(tokio::spawn(moving(a)), tokio::spawn(moving(b)));
    assert!(one.expect("ran") ^ other.expect("ran"), "one of them");
}

async fn lists_are_filtered_and_read_by_page(a: Store, _b: Store) {
    chain(&a, 9).await;
    let mut c = a.read().await.expect("reads");
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let query = AuditQuery { page: page(4, cursor), ..AuditQuery::default() };
        let got = audit::list(&mut c, &Scope::Everywhere, &query).await.expect("read");
        seen.extend(got.items.iter().map(|r| r.seq));
        cursor = got.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    let some = |text: &str| Some(text.to_owned());
    let all = AuditQuery::default;
    for (query, scope, want) in [
        (AuditQuery { who: some("ann"), ..all() }, Scope::Everywhere, vec![9, 6, 3]),
        (AuditQuery { who: some("id-1"), ..all() }, Scope::Everywhere, vec![7, 4, 1]),
        (AuditQuery { operation: some("patch-job.*"), ..all() }, Scope::Everywhere, vec![8, 6, 4, 2]),
        (AuditQuery { operation: some("patch-job_x.list"), ..all() }, Scope::Everywhere, vec![9, 7, 5, 3, 1]),
        (AuditQuery { operation: some("patch_job.*"), ..all() }, Scope::Everywhere, vec![]),
        (AuditQuery { resource: some("100% 7"), ..all() }, Scope::Everywhere, vec![7]),
        (AuditQuery { resource: some("' OR '1'='1"), ..all() }, Scope::Everywhere, vec![]),
        (AuditQuery { outcome: some("failed"), ..all() }, Scope::Everywhere, vec![4]),
        (AuditQuery { request_id: some("r5"), ..all() }, Scope::Everywhere, vec![5]),
        (AuditQuery { since: Some(at(3)), until: Some(at(5)), ..all() }, Scope::Everywhere, vec![4, 3]),
        (all(), Scope::In(vec!["/A".into()]), vec![9, 8, 7, 6, 5]),
        (all(), Scope::In(vec![]), vec![]),
    ] {
        let got = audit::list(&mut c, &scope, &query).await.expect("read");
        assert_eq!(got.items.iter().map(|r| r.seq).collect::<Vec<_>>(), want, "{query:?}");
    }
}

async fn old_segments_go_and_their_last_seal_stays(a: Store, b: Store) {
    let records = chain(&a, 9).await;
    let mut tx = a.begin().await.expect("begins");
    for (after, seq) in [(0, 3), (3, 6), (6, 9)] {
        let hash = records[usize::try_from(seq - 1).expect("small")].hash;
        let made = seal(after, seq, hash, at(100 * i64::try_from(seq).expect("small")));
        audit::insert_seal(&mut tx, &made, after).await.expect("stored");
        assert_eq!(audit::last_seal(&mut tx).await.expect("read"), Some(made));
    }
    let seqs = |seals: Vec<Seal>| seals.iter().map(|s| s.seq).collect::<Vec<_>>();
    assert_eq!(seqs(audit::seals(&mut tx, 3, 9).await.expect("read")), [6, 9]);
    assert_eq!(audit::last_seal_before(&mut tx, at(600)).await.expect("read").map(|s| s.seq), Some(3));
    assert_eq!(audit::first_seal_from(&mut tx, at(600)).await.expect("read").map(|s| s.seq), Some(6));
    assert_eq!(audit::drop_through(&mut tx, 6).await.expect("dropped"), 6);
    audit::set_forwarded(&mut tx, "siem", 8, at(1)).await.expect("stored");
    audit::set_forwarded(&mut tx, "siem", 7, at(2)).await.expect("stored");
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    assert_eq!(audit::first(&mut c).await.expect("read"), Some(7));
    assert_eq!(audit::first_seal(&mut c).await.expect("read").map(|s| s.seq), Some(6));
    assert_eq!(audit::forwards(&mut c).await.expect("read"), [("siem".to_owned(), 8)], "it never goes back");
    assert_eq!(audit::forwarded(&mut c, "none").await.expect("read"), None);
}

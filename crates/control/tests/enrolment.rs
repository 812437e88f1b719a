//! Hosts coming in, staying and leaving; people with tokens; what is written down about both.
#![allow(missing_docs)]

mod common;

use common::*;
use drydock_control::records::{InstanceQuery, PageQuery};
use drydock_control::{EnrolAsk, ErrorKind, InstanceEdit, Secret, TokenAsk};
use drydock_domain::access::Role;
use drydock_domain::enrolment::ProfileSpec;
use drydock_domain::instance::{InstanceState, Labels, PendingReason, Reachability};
use drydock_domain::inventory::fingerprint;
use jiff::Timestamp;

fn token(name: &str, role: Role, expires_at: Option<Timestamp>) -> TokenAsk {
    TokenAsk { name: name.to_owned(), role: Some(role), expires_at, ..TokenAsk::default() }
}

fn profile(json: &str) -> ProfileSpec {
    serde_json::from_str(json).expect("a profile")
}

#[tokio::test]
async fn a_host_waits_until_a_person_lets_it_in() {
    let w = World::new().await;
    let token = w.profile(profile(r#"{"displayName":"asks"}"#)).await;
    let first = w.control.enrol("r", ask(&token, "Web-1", "m1")).await.expect("pending");
    assert_eq!((first.state, first.name.as_str()), (InstanceState::Pending, "web-1"));
    assert!(first.message.contains("drydock instance accept web-1"), "{}", first.message);
    let session = w.control.agent_session(first.instance, &ask(&token, "Web-1", "m1").spki_sha256, "r").await;
    assert_eq!(session.expect_err("not yet").kind(), ErrorKind::Forbidden);

    let operator = w.person(Role::Operator).await;
    w.control.accept_instance(&operator, "web-1").await.expect("accepted");
    let again = w.control.enrol("r", ask(&token, "Web-1", "m1")).await.expect("active");
    assert_eq!((again.instance, again.state), (first.instance, InstanceState::Active));
    let uses = w.control.list_profiles(&operator, &PageQuery::default()).await.expect("profiles").items[0].uses;
    assert_eq!(uses, 1, "the same key takes one use");
    let twice = w.control.accept_instance(&operator, "web-1").await.expect_err("active already");
    assert_eq!(twice.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_rejected_host_is_told_why() {
    let w = World::new().await;
    let token = w.profile(profile(r#"{"displayName":"asks"}"#)).await;
    w.control.enrol("r", ask(&token, "h", "m")).await.expect("pending");
    w.control.reject_instance(&w.server(), "h", "not ours").await.expect("rejected");
    let told = w.control.enrol("r", ask(&token, "h", "m")).await.expect_err("rejected");
    assert_eq!(told.kind(), ErrorKind::Forbidden);
    assert!(told.to_string().contains("not ours"), "{told}");
}

#[tokio::test]
async fn a_clone_waits_beside_the_first_host() {
    let w = World::new().await;
    let token = w.profile(auto_accept()).await;
    let first = w.control.enrol("r", ask(&token, "web", "same")).await.expect("active");
    let mut clone = ask(&token, "web", "same");
    clone.spki_sha256 = fingerprint(b"another key");
    let second = w.control.enrol("r", clone.clone()).await.expect("pending");
    assert_eq!((first.state, second.state), (InstanceState::Active, InstanceState::Pending));
    assert_eq!(second.name, "web-2");
    let view = w.control.get_instance(&w.server(), "web-2").await.expect("there").record;
    assert_eq!(view.pending_reason, Some(PendingReason::DuplicateMachineId));
    assert_eq!(view.duplicate_of, Some(first.instance));
    w.control.accept_instance(&w.server(), "web-2").await.expect("accepted");
    assert_eq!(w.control.enrol("r", clone).await.expect("active").state, InstanceState::Active);
    let all = w.control.list_instances(&w.server(), &InstanceQuery::default()).await.expect("list").items;
    assert_eq!(all.len(), 2, "never merged");
}

#[tokio::test]
async fn of_two_hosts_racing_for_the_last_use_one_gets_in() {
    let w = World::new().await;
    let token = w.profile(profile(r#"{"displayName":"one","autoAccept":true,"maxUses":1}"#)).await;
    let (a, b) = tokio::join!(w.control.enrol("r", ask(&token, "a", "ma")), w.control.enrol("r", ask(&token, "b", "mb")));
    let refused = match (a, b) {
        (Ok(_), Err(e)) | (Err(e), Ok(_)) => e,
        other => panic!("one gets in: {other:?}"),
    };
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    assert!(refused.to_string().contains("no uses left"), "{refused}");
    let denied = w.audit().await.into_iter().filter(|a| a.operation == "instance.enrol" && a.outcome == "denied");
    assert_eq!(denied.count(), 1);
}

#[tokio::test]
async fn one_host_asking_twice_at_once_becomes_one_instance() {
    let w = World::new().await;
    let token = w.profile(auto_accept()).await;
    let (a, b) = tokio::join!(w.control.enrol("r", ask(&token, "a", "m")), w.control.enrol("r", ask(&token, "a", "m")));
    assert_eq!(a.expect("in").instance, b.expect("in").instance);
}

#[tokio::test]
async fn a_revoked_expired_or_unknown_token_lets_nobody_in() {
    let w = World::new().await;
    let admin = w.person(Role::Administrator).await;
    let (record, token) = w.control.create_profile(&admin, auto_accept()).await.expect("a profile");
    assert!(token.expose().starts_with("dde_") && token.expose().len() == 47);
    w.control.revoke_profile(&admin, record.id).await.expect("revoked");
    let soon = Timestamp::from_second(START + 60).expect("in range");
    let expiring = w.profile(ProfileSpec { expires_at: Some(soon), ..auto_accept() }).await;
    w.control.enrol("r", ask(&expiring, "early", "m0")).await.expect("in time");
    w.pass(61);
    for (token, part) in [(token, "revoked"), (expiring, "expired"), (Secret::new("dde_nonsense"), "not known")] {
        let error = w.control.enrol("r", ask(&token, "h", "m")).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Forbidden);
        assert!(error.to_string().contains(part), "{error}");
    }
    let operator = w.person(Role::Operator).await;
    let error = w.control.create_profile(&operator, auto_accept()).await.expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn a_hostile_enrolment_is_refused_by_field() {
    let w = World::new().await;
    let token = w.profile(auto_accept()).await;
    let mut bad = ask(&token, "h\u{0}", "../../etc");
    bad.spki_sha256 = "zz".into();
    bad.os.kernel_release = "k".repeat(300);
    let error = w.control.enrol("r", bad).await.expect_err("refused");
    let fields: Vec<_> = error.fields().iter().map(|f| f.field.as_str()).collect();
    assert_eq!(fields, ["csr", "machineId", "hostname", "os", "os"], "the host name in the facts is looked at, too");
}

#[tokio::test]
async fn the_old_key_counts_until_the_new_one_is_used() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let until = Timestamp::from_second(START + 86_400).expect("in range");
    let keys = [fingerprint(b"k1"), fingerprint(b"k2")];
    // Two renewals whose answers were lost, then one that arrived.
    w.control.record_certificate(host.id, "r", &keys[0], "0a", until).await.expect("recorded");
    host.ctx(&w).await;
    w.control.record_certificate(host.id, "r", &keys[1], "0b", until).await.expect("recorded");
    host.ctx(&w).await;
    let lost = w.control.agent_session(host.id, &keys[0], "r").await.expect_err("never came into use");
    assert_eq!(lost.kind(), ErrorKind::Unauthenticated);
    w.control.agent_session(host.id, &keys[1], "r").await.expect("the newest");
    let old = w.control.agent_session(host.id, &host.key, "r").await.expect_err("replaced");
    assert_eq!(old.kind(), ErrorKind::Unauthenticated);
    let record = w.control.get_instance(&w.server(), &host.name).await.expect("there").record;
    assert_eq!(record.certificate_serial.as_deref(), Some("0b"));
    assert_eq!(record.certificate_expires_at, Some(until));

    let other = w.control.enrol("r", ask(&w.profile(auto_accept()).await, "x", "mx")).await.expect("in");
    let stolen = w.control.record_certificate(other.instance, "r", &keys[1], "0c", until).await.expect_err("not its key");
    assert_eq!(stolen.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_known_key_comes_back_without_a_token_and_nobody_else_does() {
    let w = World::new().await;
    let nothing = Secret::new("");
    let stranger = w.control.enrol("r", ask(&nothing, "h", "m")).await.expect_err("a stranger");
    assert_eq!(stranger.kind(), ErrorKind::Forbidden);
    assert!(stranger.to_string().contains("token"), "{stranger}");

    let host = w.hosts(1).await.remove(0);
    let back = EnrolAsk { spki_sha256: host.key.clone(), ..ask(&nothing, "h1", "m1") };
    let answer = w.control.enrol("r", back.clone()).await.expect("known");
    assert_eq!((answer.instance, answer.state), (host.id, InstanceState::Active));
    // Its last renewal's answer was lost: it comes back with the key before.
    let until = Timestamp::from_second(START + 86_400).expect("in range");
    w.control.record_certificate(host.id, "r", &fingerprint(b"next"), "0a", until).await.expect("recorded");
    assert_eq!(w.control.enrol("r", back.clone()).await.expect("known").instance, host.id);

    w.control.revoke_instance(&w.server(), "h1").await.expect("revoked");
    let out = w.control.enrol("r", back).await.expect_err("revoked");
    assert_eq!(out.kind(), ErrorKind::Forbidden);
    let all = w.control.list_instances(&w.server(), &InstanceQuery::default()).await.expect("list").items;
    assert_eq!(all.len(), 1, "no instance was made");
}

#[tokio::test]
async fn a_revoked_instance_is_out_at_once_and_a_deleted_one_unknown() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    w.control.revoke_instance(&w.server(), "h1").await.expect("revoked");
    let out = w.control.agent_session(hosts[0].id, &hosts[0].key, "r").await.expect_err("revoked");
    assert_eq!(out.kind(), ErrorKind::Forbidden);
    let until = Timestamp::from_second(START + 86_400).expect("in range");
    let renewed = w.control.record_certificate(hosts[0].id, "r", &hosts[0].key, "0a", until).await.expect_err("revoked");
    assert_eq!(renewed.kind(), ErrorKind::Forbidden);
    w.control.delete_instance(&w.server(), &hosts[1].id.to_string()).await.expect("deleted");
    let gone = w.control.agent_session(hosts[1].id, &hosts[1].key, "r").await.expect_err("deleted");
    assert_eq!(gone.kind(), ErrorKind::Unauthenticated);
    assert_eq!(w.control.get_instance(&w.server(), "h2").await.expect_err("gone").kind(), ErrorKind::NotFound);
    // The name and machine-id of a deleted host are free again.
    let token = w.profile(auto_accept()).await;
    let mut anew = ask(&token, "h2", "m2");
    anew.spki_sha256 = fingerprint(b"installed anew");
    let back = w.control.enrol("r", anew).await.expect("in");
    assert_eq!((back.name.as_str(), back.state), ("h2", InstanceState::Active));
}

#[tokio::test]
async fn labels_are_edited_with_the_version_read() {
    let w = World::new().await;
    w.hosts(2).await;
    let operator = w.person(Role::Operator).await;
    let before = w.control.get_instance(&operator, "h1").await.expect("there");
    let labels = Labels::from([("role".to_owned(), "db".to_owned())]);
    let edit = InstanceEdit { labels: Some(labels), zone: None };
    let after = w.control.edit_instance(&operator, "h1", edit.clone(), Some(&before.etag())).await.expect("edited");
    assert_ne!(before.etag(), after.etag());
    assert_eq!(after.record.zone, "z1", "an absent field stays");
    let stale = w.control.edit_instance(&operator, "h1", edit, Some(&before.etag())).await.expect_err("changed");
    assert!(stale.is_stale());
    let bad = InstanceEdit { labels: Some(Labels::from([("Bad".to_owned(), String::new())])), zone: None };
    let refused = w.control.edit_instance(&operator, "h1", bad, None).await.expect_err("refused");
    assert_eq!(refused.fields()[0].field, "labels.Bad");

    let find = |labels: &[(&str, &str)], name: &str| InstanceQuery {
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        name_contains: name.to_owned(),
        ..InstanceQuery::default()
    };
    for (query, want) in [
        (find(&[("role", "db")], ""), vec!["h1"]),
        (find(&[("env", "test")], ""), vec!["h2"]),
        (find(&[], "H"), vec!["h1", "h2"]),
        (find(&[], "%"), vec![]),
        (find(&[("role", "db")], "2"), vec![]),
    ] {
        let got = w.control.list_instances(&operator, &query).await.expect("list").items;
        assert_eq!(got.iter().map(|i| i.record.name.as_str()).collect::<Vec<_>>(), want, "{query:?}");
    }
    for hostile in [find(&[("a", "b"); 65], ""), find(&[], &"x".repeat(60_000))] {
        assert_eq!(w.control.list_instances(&operator, &hostile).await.expect_err("refused").kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn last_seen_is_written_in_batches_and_shown_at_once() {
    let mut w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let seen = w.control.get_instance(&w.server(), "h1").await.expect("there");
    assert_eq!(seen.reachability, Reachability::Online);
    assert_eq!(seen.record.last_seen, None, "not written yet");
    w.settle().await;
    w.restart().await;
    let seen = w.control.get_instance(&w.server(), "h1").await.expect("there");
    assert!(seen.record.last_seen.is_some());
    w.pass(91);
    assert_eq!(w.control.get_instance(&w.server(), "h1").await.expect("there").reachability, Reachability::Offline);
    let fleet = w.control.overview(&w.server()).await.expect("counts");
    assert_eq!((fleet.online, fleet.offline, fleet.instances["ACTIVE"]), (0, 1, 1));
    let _stream = w.control.hub().attach(host.id);
    assert_eq!(w.control.get_instance(&w.server(), "h1").await.expect("there").reachability, Reachability::Online);
}

#[tokio::test]
async fn an_access_token_counts_until_it_is_revoked_or_expires() {
    let w = World::new().await;
    let admin = w.person(Role::Administrator).await;
    let (record, secret) = w.control.create_access_token(&admin, token("ci", Role::Operator, None)).await.expect("made");
    assert!(secret.expose().starts_with("ddt_") && secret.expose().len() == 47);
    let known = w.control.authenticate(secret.expose()).await.expect("known");
    let own = known.account().expect("an account");
    assert_eq!((own.name.as_str(), own.role, own.groups.join(" ")), ("ci", Some(Role::Operator), "Operators".to_owned()));
    w.settle().await;
    let listed = w.control.list_access_tokens(&admin, None, &PageQuery::default()).await.expect("list").items;
    assert!(listed.iter().any(|t| t.id == record.id && t.last_used_at.is_some()));
    w.control.revoke_access_token(&admin, record.id).await.expect("revoked");
    let error = w.control.authenticate(secret.expose()).await.expect_err("revoked");
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    let soon = w.control.now() + jiff::SignedDuration::from_secs(60);
    let (_, short) = w.control.create_access_token(&admin, token("short", Role::Viewer, Some(soon))).await.expect("made");
    w.control.authenticate(short.expose()).await.expect("in time");
    w.pass(60);
    assert!(w.control.authenticate(short.expose()).await.is_err());
    for nobody in ["", "ddt_x", &"x".repeat(10_000)] {
        assert_eq!(w.control.authenticate(nobody).await.expect_err("unknown").kind(), ErrorKind::Unauthenticated);
    }
    let operator = w.person(Role::Operator).await;
    let denied = w.control.create_access_token(&operator, token("x", Role::Administrator, None)).await.expect_err("denied");
    assert_eq!(denied.kind(), ErrorKind::Forbidden);
    let audit = w.audit().await;
    assert!(audit.iter().any(|a| a.operation == "access-token.revoke" && a.outcome == "allowed" && a.who == "administrator"));
    assert!(audit.iter().all(|a| !a.resource.contains("ddt_")), "no secret is written down");
}

#[tokio::test]
async fn the_database_is_copied_while_it_is_used() {
    let w = World::new().await;
    w.hosts(2).await;
    let copy = w.dir.path().join("copy.sqlite");
    w.control.backup_to(&copy).await.expect("copied");
    w.control.delete_instance(&w.server(), "h1").await.expect("deleted");
    let store =
        drydock_control::store::Store::open(&drydock_control::store::Location::Sqlite(copy.clone())).await.expect("opens");
    let mut c = store.read().await.expect("a connection");
    let page =
        drydock_control::store::instances::list(&mut c, &InstanceQuery::default(), &drydock_domain::access::Scope::Everywhere)
            .await
            .expect("list");
    assert_eq!(page.items.len(), 2);
    assert!(w.control.backup_to(&copy).await.is_err(), "a copy overwrites nothing");
    w.control.ready().await.expect("ready");
}

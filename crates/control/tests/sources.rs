//! The life of software sources: synced, promoted, seen by hosts, rolled back, deleted; with a real upstream on
//! loopback.
#![allow(missing_docs)]

mod common;

use common::sources::{Yum, attach, detach, into, promotion, spec};
use common::*;
use drydock_control::content::serve::Served;
use drydock_control::records::PageQuery;
use drydock_control::store::{self, Location, Store};
use drydock_control::{
    AttachTarget, ContentJobQuery, ContentPeer, ContentView, ErrorKind, KeyRotation, Principal, SectionBodyIn, SectionIn,
    SourcesChange, UnitQuery,
};
use drydock_domain::access::Role;
use drydock_domain::inventory::{ManagerKind, OsFacts, Package, PackageSet, fingerprint};
use drydock_domain::source::host::{HostSources, HostSourcesReport, HostSourcesState, SourcesMode, signed_bytes};
use drydock_domain::source::job::{ContentJobKind, ContentJobState, SnapshotOrigin};
use drydock_testkit::upstream::RpmPackage;

const LAST: PageQuery = PageQuery { cursor: None, limit: Some(100) };

/// The host's document, its signature checked.
async fn document(w: &World, host: &Host, has: u64) -> Option<HostSources> {
    let signed = w.control.host_sources_for(&host.ctx(w).await, has).await.expect("an answer")?;
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, w.control.work_public_key());
    key.verify(&signed_bytes(&signed.document), &signed.signature).expect("signed by the server");
    let document: HostSources = serde_json::from_slice(&signed.document).expect("a document");
    assert_eq!(document.generation, signed.generation);
    document.accept(host.id, None).expect("acceptable");
    Some(document)
}

fn paths(document: &HostSources) -> Vec<&str> {
    document.sources.iter().map(|s| s.path.as_str()).collect()
}

/// Reads a file of a repository as served.
fn read(w: &World, view: &ContentView, path: &str) -> Vec<u8> {
    match w.control.content().expect("content").resolve(&view.view, path).expect("served") {
        Served::Bytes { bytes, .. } => bytes,
        Served::File { path, .. } => std::fs::read(path).expect("a file"),
        Served::Upstream { digest, .. } => panic!("{digest} is not here"),
    }
}

/// repomd.xml, with everything it names served.
fn repomd(w: &World, view: &ContentView) -> String {
    let text = String::from_utf8(read(w, view, "repodata/repomd.xml")).expect("text");
    let hrefs: Vec<&str> = text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(hrefs.iter().any(|h| h.contains("primary")), "{text}");
    for href in hrefs {
        assert!(!read(w, view, href).is_empty());
    }
    text
}

#[tokio::test]
async fn from_a_source_to_a_host_and_back() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let yum = Yum::new(5);
    let made = w.synced(&yum, "base").await;
    let first = made.current.clone().expect("a snapshot");
    assert_eq!((first.number, first.stats.packages, first.origin), (1, 5, SnapshotOrigin::Sync));
    assert!(first.latest && made.last_synced_at.is_some());
    let again = w.sync("base").await;
    assert_eq!(again.message, "nothing new; snapshot 1 stays");

    // The host sees it as soon as it is attached.
    assert_eq!(document(&w, &host, 0).await, None, "nobody gave it sources");
    let mut stream = w.control.hub().attach(host.id);
    let view = w.change(&host, attach(&["base"])).await;
    assert_eq!(stream.next().await, Some(()), "the host is hinted");
    assert!(view.sources[0].problems.is_empty(), "{view:?}");
    let seen = document(&w, &host, 0).await.expect("a document");
    assert_eq!(paths(&seen), ["/content/latest/base/"]);
    assert_eq!(seen.repository_keys.len(), 1);
    assert_eq!(document(&w, &host, seen.generation).await, None, "it has that one");
    let latest = w.control.authorize_content(&host.peer(), "latest", "base").await.expect("may read");
    repomd(&w, &latest);

    // In an environment it sees what was promoted there, and only that.
    w.environment("test", 10).await;
    w.environment("prod", 20).await;
    let view = w.change(&host, into("prod")).await;
    assert!(view.sources[0].problems[0].contains("never promoted to prod"), "{view:?}");
    let empty = document(&w, &host, seen.generation).await.expect("a newer one");
    assert!(empty.sources.is_empty() && empty.generation > seen.generation);
    assert_eq!(w.control.authorize_content(&host.peer(), "latest", "base").await.expect_err("no").kind(), ErrorKind::Forbidden);
    assert!(w.refused("prod", "{}").await.to_string().contains("nothing was ever promoted to test"));
    let refused = w.refused("prod", r#"{"sources":["base"],"asOf":"2100-01-01T00:00:00Z"}"#).await;
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    w.promote("test", r#"{"sources":["base"]}"#).await;
    assert_eq!(w.promote("prod", "{}").await.moves[0].to.number, 1);
    let seen = document(&w, &host, empty.generation).await.expect("a newer one");
    assert_eq!(paths(&seen), ["/content/prod/base/"]);

    // A new snapshot moves nobody; a promotion moves the view, not the host's document.
    yum.publish(5, 2, 1);
    w.pass(10);
    assert!(w.sync("base").await.message.starts_with("snapshot 2: 11 packages"));
    assert_eq!((w.at("test", "base").await, w.at("prod", "base").await), (Some(1), Some(1)));
    let id = w.control.get_snapshot(&w.server(), "base", "2").await.expect("snapshot 2").id;
    let skipping = format!(r#"{{"sources":["base"],"snapshot":"{id}"}}"#);
    assert!(w.refused("prod", &skipping).await.to_string().contains("never in test"));
    let before = w.control.authorize_content(&host.peer(), "prod", "base").await.expect("may read");
    w.promote("test", "{}").await;
    let moved = w.promote("prod", "{}").await;
    assert_eq!((moved.moves[0].from.as_ref().expect("from").number, moved.moves[0].to.number), (1, 2));
    assert_eq!((moved.moves[0].counts.added, moved.moves[0].counts.removed), (6, 0));
    assert_eq!(w.promote("prod", "{}").await.unchanged, ["base"]);
    assert_eq!(document(&w, &host, seen.generation).await, None, "the URL stays");
    let after = w.control.authorize_content(&host.peer(), "prod", "base").await.expect("may read");
    assert!(after.version > before.version && after.moved_at.as_second() > before.moved_at.as_second());
    let (old, new) = (repomd(&w, &before), repomd(&w, &after));
    assert_ne!(old, new);
    // A client that read the older head finds all it names.
    let primary =
        old.split("href=\"").skip(1).find(|h| h.contains("primary")).and_then(|h| h.split('"').next()).expect("primary");
    assert!(!read(&w, &after, primary).is_empty());

    // Nothing is deleted under a host.
    let refused = w.control.delete_source(&w.server(), "base").await.expect_err("attached");
    assert!(refused.to_string().contains("instance h1"), "{refused}");
    assert_eq!(w.control.delete_environment(&w.server(), "prod").await.expect_err("used").kind(), ErrorKind::Conflict);
    w.change(&host, detach(&["base"])).await;
    let gone = document(&w, &host, seen.generation).await.expect("a newer one");
    assert!(gone.sources.is_empty() && gone.mode == SourcesMode::Additive);
    w.control.delete_source(&w.server(), "base").await.expect("deleted");
    assert_eq!(w.control.get_source(&w.server(), "base").await.expect_err("gone").kind(), ErrorKind::NotFound);
    let operations: Vec<String> =
        w.audit().await.into_iter().filter(|a| a.outcome == "allowed").map(|a| a.operation.into_owned()).collect();
    for operation in ["source.create", "source.sync", "environment.promote", "instance.sources", "source.delete"] {
        assert!(operations.iter().any(|o| o == operation), "{operation} is not audited");
    }
}

#[tokio::test]
async fn an_environment_goes_back_and_its_dates_go_on() {
    let w = World::new().await;
    let yum = Yum::new(2);
    w.synced(&yum, "base").await;
    w.environment("prod", 20).await;
    let viewer = ContentPeer::Person(w.person(Role::Viewer).await);
    w.promote("prod", r#"{"sources":["base"]}"#).await;
    yum.publish(2, 2, 0);
    w.sync("base").await;
    w.promote("prod", r#"{"sources":["base"]}"#).await;
    let after = w.control.authorize_content(&viewer, "prod", "base").await.expect("may read");
    // The clock of the server goes back, too.
    w.pass(-3600);
    let back = w.promote("prod", r#"{"rollback":true}"#).await;
    assert_eq!(back.moves[0].to.number, 1);
    let rolled = w.control.authorize_content(&viewer, "prod", "base").await.expect("may read");
    assert!(rolled.moved_at.as_second() > after.moved_at.as_second(), "apt refuses an older date");
    repomd(&w, &rolled);
    assert!(w.refused("prod", r#"{"rollback":true}"#).await.to_string().contains("nothing to go back to"));
    let history = w.control.environment_history(&w.server(), "prod", &LAST).await.expect("history").items;
    let numbers: Vec<_> = history.iter().map(|m| m.to.as_ref().map(|s| s.number)).collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(1)]);
}

#[tokio::test]
async fn a_host_of_the_other_family_sees_its_own_sources() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let local = r#"{"name":"debs","format":"deb","architectures":["amd64"],"origin":{"local":{"suite":"stable"}}}"#;
    w.control.create_source(&w.server(), spec(local)).await.expect("a source");
    w.run_jobs().await;
    let empty = w.control.get_source(&w.server(), "debs").await.expect("the source").current.expect("a snapshot");
    assert_eq!((empty.number, empty.stats.packages), (1, 0), "hosts can have it before the first upload");
    let view = w.change(&host, attach(&["debs"])).await;
    assert_eq!(view.sources[0].problems, ["source debs holds deb packages, the host takes rpm"]);
    assert_eq!(document(&w, &host, 0).await.map(|d| d.sources.len()), Some(0));
    // Its inventory says that it is another host than it was taken for.
    let facts = OsFacts { managers: vec![ManagerKind::Apt], architecture: "x86_64".into(), ..OsFacts::default() };
    let body = serde_json::to_vec(&facts).expect("JSON");
    let section = SectionIn { kind: "os".into(), fingerprint: fingerprint(&body), body: SectionBodyIn::Full(body) };
    w.control.report_inventory(&host.ctx(&w).await, vec![section]).await.expect("stored");
    let seen = document(&w, &host, 1).await.expect("a newer one").sources.remove(0);
    assert_eq!((seen.suite.as_str(), seen.path.as_str()), ("stable", "/content/latest/debs/"));
    assert_eq!((seen.components, seen.architectures), (vec!["main".to_owned()], vec!["amd64".to_owned()]));
    let latest = w.control.authorize_content(&host.peer(), "latest", "debs").await.expect("may read");
    let release = String::from_utf8(read(&w, &latest, "dists/stable/InRelease")).expect("text");
    assert!(release.contains("BEGIN PGP SIGNATURE") && release.contains("Acquire-By-Hash: yes"), "{release}");
}

#[tokio::test]
async fn a_preview_says_which_hosts_get_what_and_changes_nothing() {
    let w = World::new().await;
    let hosts = w.hosts(3).await;
    let yum = Yum::new(4);
    w.synced(&yum, "base").await;
    w.environment("prod", 1).await;
    w.promote("prod", r#"{"sources":["base"]}"#).await;
    for host in &hosts {
        w.change(host, SourcesChange { environment: Some("prod".into()), ..attach(&["base"]) }).await;
    }
    // Two hosts have everything in the old version, the third has nothing of it.
    let units = w.control.snapshot_units(&w.server(), "base", "1", &UnitQuery::default()).await.expect("units").units;
    let installed = |units: &[drydock_domain::source::unit::Unit]| {
        PackageSet::new(
            units
                .iter()
                .map(|u| Package { name: u.name.clone(), arch: u.arch.clone(), version: u.version.clone(), ..Package::default() })
                .collect(),
        )
    };
    for (host, set) in hosts.iter().zip([installed(&units), installed(&units), installed(&[])]) {
        let body = serde_json::to_vec(&set).expect("JSON");
        let section = SectionIn { kind: "packages".into(), fingerprint: fingerprint(&body), body: SectionBodyIn::Full(body) };
        w.control.report_inventory(&host.ctx(&w).await, vec![section]).await.expect("stored");
    }
    yum.publish(4, 2, 0);
    w.sync("base").await;
    let viewer = w.person(Role::Viewer).await;
    let dry = w.control.promote(&viewer, "prod", promotion(r#"{"sources":["base"],"dryRun":true}"#)).await.expect("a preview");
    let step = &dry.moves[0];
    assert_eq!((step.counts.added, step.hosts, step.hosts_affected), (4, 3, 2));
    assert_eq!(step.affected.iter().map(|h| (h.name.as_str(), h.updates)).collect::<Vec<_>>(), [("h1", 4), ("h2", 4)]);
    assert!(step.upgrades.len() == 4 && step.upgrades.iter().all(|u| u.hosts == 2));
    assert!(!step.truncated);
    assert_eq!(w.at("prod", "base").await, Some(1), "nothing moved");
    let denied = w.control.promote(&viewer, "prod", promotion(r#"{"sources":["base"]}"#)).await.expect_err("denied");
    assert_eq!(denied.kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn a_promotion_of_several_sources_is_all_or_nothing() {
    let w = World::new().await;
    let (a, b) = (Yum::new(2), Yum::new(3));
    w.synced(&a, "a").await;
    w.control.create_source(&w.server(), b.spec("b", "")).await.expect("a source");
    w.environment("prod", 1).await;
    let refused = w.refused("prod", r#"{"sources":["a","b"]}"#).await;
    assert!(refused.to_string().contains("b yet; sync it first"), "{refused}");
    assert_eq!(w.at("prod", "a").await, None);
    w.sync("b").await;
    assert_eq!(w.promote("prod", r#"{"sources":["a","b"]}"#).await.moves.len(), 2);
    a.publish(2, 2, 0);
    b.publish(3, 2, 0);
    let then = w.control.now();
    w.pass(100);
    w.sync("a").await;
    w.sync("b").await;
    assert_eq!(w.promote("prod", r#"{"sources":["a","b"],"skipRank":true}"#).await.moves.len(), 2);
    let as_of = format!(r#"{{"asOf":"{then}"}}"#);
    assert_eq!(w.promote("prod", &as_of).await.moves.iter().map(|m| m.to.number).collect::<Vec<_>>(), [1, 1]);
}

#[tokio::test]
async fn a_custom_source_follows_the_sources_it_takes_from() {
    let w = World::new().await;
    let (a, b) = (Yum::new(3), Yum::new(5));
    w.synced(&a, "a").await;
    w.synced(&b, "b").await;
    let custom = r#"{"name":"mine","format":"rpm","origin":{"sources":{"from":["a","b"]}}}"#;
    w.control.create_source(&w.server(), spec(custom)).await.expect("a source");
    w.run_jobs().await;
    let mine = w.control.get_source(&w.server(), "mine").await.expect("the source").current.expect("a snapshot");
    assert_eq!((mine.stats.packages, mine.origin), (5, SnapshotOrigin::Derived), "equal packages count once");
    b.publish(5, 1, 2);
    w.sync("b").await;
    let mine = w.control.get_source(&w.server(), "mine").await.expect("the source");
    assert_eq!(mine.current.expect("a snapshot").stats.packages, 7);
    assert_eq!(mine.last_job.expect("a job").requested_by, "server");
    assert!(w.control.delete_source(&w.server(), "a").await.expect_err("used").to_string().contains("mine"));
    let around = spec(r#"{"name":"mine","format":"rpm","origin":{"sources":{"from":["more"]}}}"#);
    let more = r#"{"name":"more","format":"rpm","origin":{"sources":{"from":["mine"]}}}"#;
    w.control.create_source(&w.server(), spec(more)).await.expect("a source");
    let circle = w.control.edit_source(&w.server(), "mine", around, None).await.expect_err("a circle");
    assert!(circle.to_string().contains("take from itself"), "{circle}");
    // Its packages are those of the sources that have them.
    let viewer = w.person(Role::Viewer).await;
    let view = w.control.authorize_content(&ContentPeer::Person(viewer), "latest", "mine").await.expect("may read");
    assert_eq!(view.view.origins.len(), 2);
    repomd(&w, &view);
}

#[tokio::test]
async fn uploads_become_snapshots_and_a_broken_one_is_refused() {
    let w = World::new().await;
    let local = r#"{"name":"ours","format":"rpm","origin":{"local":{}}}"#;
    w.control.create_source(&w.server(), spec(local)).await.expect("a source");
    let dir = tempfile::tempdir().expect("a directory");
    let upload = |package: RpmPackage| {
        package.build(dir.path()).expect("built");
        (dir.path().join(package.file_name()), package.file_name())
    };
    w.control.may_upload(&w.server(), "ours").await.expect("may");
    let viewer = w.person(Role::Viewer).await;
    assert_eq!(w.control.may_upload(&viewer, "ours").await.expect_err("may not").kind(), ErrorKind::Forbidden);
    for (name, version) in [("tool", "1"), ("other", "1"), ("tool", "2")] {
        let (file, file_name) = upload(RpmPackage::new(name, version));
        w.control.upload_unit(&w.server(), "ours", &file, &file_name).await.expect("taken");
        assert!(!file.exists(), "it was moved");
    }
    let broken = dir.path().join("broken-1-1.noarch.rpm");
    std::fs::write(&broken, [&[0xed, 0xab, 0xee, 0xdb][..], &[0; 200]].concat()).expect("written");
    let broken = w.control.upload_unit(&w.server(), "ours", &broken, "broken-1-1.noarch.rpm").await.expect("taken").id;
    let no_rpm = dir.path().join("x.rpm");
    std::fs::write(&no_rpm, "<html>").expect("written");
    let refused = w.control.upload_unit(&w.server(), "ours", &no_rpm, "x.rpm").await.expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    w.run_jobs().await;
    let job = w.content_job(broken).await;
    assert_eq!(job.state, ContentJobState::Failed);
    assert!(job.message.contains("broken-1-1.noarch.rpm"), "{}", job.message);
    let ours = w.control.get_source(&w.server(), "ours").await.expect("the source").current.expect("a snapshot");
    assert_eq!((ours.stats.packages, ours.origin), (3, SnapshotOrigin::Upload));
    let query = UnitQuery { name_contains: "tool".into(), ..UnitQuery::default() };
    let units = w.control.snapshot_units(&w.server(), "ours", "latest", &query).await.expect("units").units;
    assert_eq!(units.iter().map(|u| u.version.as_str()).collect::<Vec<_>>(), ["1-1", "2-1"]);
    let staged = std::fs::read_dir(w.dir.path().join("content/uploads")).expect("a directory").count();
    assert_eq!(staged, 0, "nothing is left behind");
    // The file itself is served.
    let view = w.control.authorize_content(&ContentPeer::Person(viewer), "latest", "ours").await.expect("may read");
    let path = format!("packages/{}/tool-1-1.noarch.rpm", units[0].digest);
    assert_eq!(u64::try_from(read(&w, &view, &path).len()).expect("a size"), units[0].size);
    let synced = w.control.sync_source(&w.server(), "ours").await.expect_err("not synced");
    assert_eq!(synced.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_failing_upstream_leaves_what_was_there_and_is_not_flooded() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let yum = Yum::new(3);
    let spec = yum.spec("base", r#","syncIntervalSecs":600"#);
    w.control.create_source(&w.server(), spec).await.expect("a source");
    w.run_jobs().await;
    let first = w.control.get_source(&w.server(), "base").await.expect("the source");
    assert_eq!(first.last_job.as_ref().map(|j| j.requested_by.as_str()), Some("server"), "due at once");
    w.change(&host, attach(&["base"])).await;
    yum.server.set_down(true);
    let jobs = || async {
        w.control
            .list_content_jobs(&w.server(), &ContentJobQuery { kind: Some(ContentJobKind::Sync), ..Default::default() })
            .await
            .expect("jobs")
            .items
    };
    assert_eq!(jobs().await.len(), 1);
    let mut waits = Vec::new();
    for _ in 0..2 {
        let next = w.control.get_source(&w.server(), "base").await.expect("the source").next_sync_at.expect("planned");
        let wait = next.as_second() - w.control.now().as_second();
        waits.push(wait / 600);
        w.pass(wait - 5);
        let before = jobs().await.len();
        w.run_jobs().await;
        assert_eq!(jobs().await.len(), before, "not before its time");
        w.pass(10);
        w.run_jobs().await;
        assert_eq!(jobs().await.len(), before + 1);
    }
    assert_eq!(waits, [1, 2], "intervals between attempts");
    let source = w.control.get_source(&w.server(), "base").await.expect("the source");
    let last = source.last_job.expect("a job");
    assert_eq!((last.state, source.failures), (ContentJobState::Failed, 2));
    assert!(!last.message.is_empty());
    assert_eq!(source.current, first.current);
    let view = w.control.authorize_content(&host.peer(), "latest", "base").await.expect("may read");
    repomd(&w, &view);
    yum.server.set_down(false);
    w.sync("base").await;
    assert_eq!(w.control.get_source(&w.server(), "base").await.expect("the source").failures, 0);
}

#[tokio::test]
async fn only_hosts_that_may_read_a_repository() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    let yum = Yum::new(2);
    w.synced(&yum, "base").await;
    w.change(&hosts[0], attach(&["base"])).await;
    let ask = |peer: ContentPeer, view: &'static str, source: &'static str| {
        let w = &w;
        async move { w.control.authorize_content(&peer, view, source).await.map(drop).map_err(|e| e.kind()) }
    };
    assert_eq!(ask(hosts[0].peer(), "latest", "base").await, Ok(()));
    assert_eq!(ask(hosts[1].peer(), "latest", "base").await, Err(ErrorKind::Forbidden), "not attached");
    assert_eq!(ask(hosts[0].peer(), "latest", "nothing").await, Err(ErrorKind::Forbidden), "no names leak");
    assert_eq!(ask(hosts[0].peer(), "prod", "base").await, Err(ErrorKind::Forbidden));
    let stranger = ContentPeer::Agent { instance: hosts[0].id, spki_sha256: hosts[1].key.clone() };
    assert_eq!(ask(stranger, "latest", "base").await, Err(ErrorKind::Unauthenticated));
    let agent = w.control.ctx(Principal::Instance(hosts[0].id), "x");
    assert_eq!(ask(ContentPeer::Person(agent), "latest", "base").await, Err(ErrorKind::NotFound), "agents are no people");
    let viewer = ContentPeer::Person(w.person(Role::Viewer).await);
    assert_eq!(ask(viewer.clone(), "latest", "base").await, Ok(()));
    assert_eq!(ask(viewer, "latest", "nothing").await, Err(ErrorKind::NotFound));

    // The second key pair, for package managers, and the one before it.
    let content = |n: u8| ContentPeer::Host { instance: hosts[0].id, spki_sha256: fingerprint(&[n]) };
    assert_eq!(ask(content(1), "latest", "base").await, Err(ErrorKind::Unauthenticated));
    for n in [1, 2] {
        let end = w.control.now();
        w.control.record_content_certificate(hosts[0].id, "r", &fingerprint(&[n]), "0a", end).await.expect("recorded");
    }
    assert_eq!(ask(content(1), "latest", "base").await, Ok(()));
    assert_eq!(ask(content(2), "latest", "base").await, Ok(()));
    assert!(w.control.authorize_content_keys(&content(2)).await.expect("keys").contains("BEGIN PGP PUBLIC KEY BLOCK"));

    w.control.revoke_instance(&w.server(), "h1").await.expect("revoked");
    assert_eq!(ask(hosts[0].peer(), "latest", "base").await, Err(ErrorKind::Forbidden), "at once");
    assert_eq!(ask(content(2), "latest", "base").await, Err(ErrorKind::Forbidden), "at once");
    assert_eq!(w.control.authorize_content_keys(&content(2)).await.expect_err("no").kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn a_host_answers_and_a_restored_server_goes_on() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let yum = Yum::new(2);
    w.synced(&yum, "base").await;
    let exclusive = SourcesChange { mode: Some(SourcesMode::Exclusive), ..attach(&["base"]) };
    assert_eq!(w.change(&host, exclusive).await.mode, SourcesMode::Exclusive);
    let seen = document(&w, &host, 0).await.expect("a document");
    assert_eq!(seen.mode, SourcesMode::Exclusive);
    let report = HostSourcesReport {
        generation: seen.generation,
        state: HostSourcesState::Applied,
        taken_over: vec!["/etc/yum.repos.d/old.repo".into()],
        findings: Vec::new(),
    };
    let bytes = serde_json::to_vec(&report).expect("JSON");
    w.control.report_host_sources(&host.ctx(&w).await, &bytes).await.expect("stored");
    let view = w.sources_of(&host).await;
    assert!(view.applied && view.report == Some(report));
    let hostile = w.control.report_host_sources(&host.ctx(&w).await, b"{}").await.expect_err("refused");
    assert_eq!(hostile.kind(), ErrorKind::Invalid);

    // The agent has a number this server does not know: it is given a higher one.
    let newer = seen.generation + 1000;
    let next = document(&w, &host, newer).await.expect("a document");
    assert!(next.generation > newer);
    assert_eq!(paths(&next), ["/content/latest/base/"]);

    // What decides about the document and is not the host's own: keys, priority, a child without its parent.
    let step = w.control.rotate_repository_key(&w.server(), KeyRotation::Prepare).await.expect("a new key");
    assert_eq!(step.iter().map(|k| k.signs).collect::<Vec<_>>(), [true, false]);
    w.settle().await;
    let with_key = document(&w, &host, next.generation).await.expect("a newer one");
    assert_eq!(with_key.repository_keys.len(), 2);
    let spec = yum.spec("base", r#","priority":7"#);
    w.control.edit_source(&w.server(), "base", spec, None).await.expect("edited");
    w.settle().await;
    let edited = document(&w, &host, with_key.generation).await.expect("a newer one");
    assert_eq!(edited.sources[0].priority, Some(7));
    let child = yum.spec("child", r#","parent":"base""#);
    w.control.create_source(&w.server(), child).await.expect("a source");
    w.environment("prod", 1).await;
    let prod = AttachTarget::Environment("prod".into());
    let refused = w.control.attach_source(&w.server(), &prod, "child").await.expect_err("no parent");
    assert!(refused.to_string().contains("attach that one first"), "{refused}");
    w.change(&host, attach(&["child"])).await;
    let refused = w.control.detach_source(&w.server(), &AttachTarget::Instance("h1".into()), "base").await.expect_err("a child");
    assert!(refused.to_string().contains("belongs to base"), "{refused}");
}

#[tokio::test]
async fn keys_change_step_by_step_and_heads_follow() {
    let w = World::new().await;
    let yum = Yum::new(2);
    w.synced(&yum, "base").await;
    let viewer = ContentPeer::Person(w.person(Role::Viewer).await);
    let signature = || async {
        let view = w.control.authorize_content(&viewer, "latest", "base").await.expect("may read");
        let at = view.moved_at.as_second();
        (read(&w, &view, "repodata/repomd.xml"), read(&w, &view, "repodata/repomd.xml.asc"), at)
    };
    let before = signature().await;
    let operator = w.person(Role::Operator).await;
    let denied = w.control.rotate_repository_key(&operator, KeyRotation::Prepare).await.expect_err("denied");
    assert_eq!(denied.kind(), ErrorKind::Forbidden);
    assert_eq!(
        w.control.rotate_repository_key(&w.server(), KeyRotation::Switch).await.expect_err("early").kind(),
        ErrorKind::Conflict
    );
    w.control.rotate_repository_key(&w.server(), KeyRotation::Prepare).await.expect("prepared");
    w.run_jobs().await;
    assert_eq!(signature().await, before, "the new key signs nothing yet");
    w.control.rotate_repository_key(&w.server(), KeyRotation::Switch).await.expect("switched");
    w.run_jobs().await;
    let after = signature().await;
    assert_ne!(after.1, before.1, "signed anew");
    for key in w.control.repository_keys(&w.server()).await.expect("keys") {
        let parsed = drydock_control::content::openpgp::Keyring::parse(&[key.public_key]).expect("a key");
        assert_eq!(parsed.fingerprints(), [key.fingerprint], "shown with its own fingerprint");
    }
    assert!(after.2 > before.2, "a client that asks for what is newer gets it");
    let view = w.control.authorize_content(&viewer, "latest", "base").await.expect("may read");
    repomd(&w, &view);
    let mut restarted = drydock_control::reconcile::Runner::default();
    assert!(restarted.turn(&w.second().await).await.is_empty());
    restarted.idle().await;
    assert_eq!(signature().await, after, "a server that begins renews nothing");
    w.control.rotate_repository_key(&w.server(), KeyRotation::Retire).await.expect("retired");
    assert_eq!(w.control.repository_keys(&operator).await.expect("keys").len(), 1);
}

#[tokio::test]
async fn secrets_stay_inside_and_edits_keep_them() {
    let w = World::new().await;
    let json = r#"{"name":"s","format":"rpm","origin":{"upstream":{"urls":["https://127.0.0.1:1/"],
        "clientCertificatePem":"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
        "clientKeyPem":"-----BEGIN PRIVATE KEY-----\nhidden==\n-----END PRIVATE KEY-----\n",
        "proxy":"http://u:hidden@127.0.0.1:1"}}}"#;
    let shown = w.control.create_source(&w.server(), spec(json)).await.expect("a source");
    assert!(!format!("{shown:?}").contains("hidden"), "{shown:?}");
    let mut edit = shown.spec.clone();
    edit.description = "new".into();
    let edited = w.control.edit_source(&w.server(), "s", edit.clone(), Some(&shown.etag())).await.expect("edited");
    assert_eq!(edited.spec.description, "new");
    let stale = w.control.edit_source(&w.server(), "s", edit, Some(&shown.etag())).await.expect_err("stale");
    assert!(stale.is_stale());
    // The stored one still has them.
    let location = Location::Sqlite(w.dir.path().join("drydock.sqlite"));
    let mut c = Store::open(&location).await.expect("a store").read().await.expect("a reader");
    let stored = store::sources::find_by_name(&mut c, "s").await.expect("read").expect("there");
    assert_eq!(serde_json::to_string(&stored.spec).expect("JSON").matches("hidden").count(), 2);
    assert!(!format!("{stored:?}").contains("hidden"), "nobody logs them by mistake");
}

#[tokio::test]
async fn old_snapshots_go_and_what_is_needed_stays() {
    let w = World::new().await;
    let yum = Yum::new(1);
    w.control.create_source(&w.server(), yum.spec("base", r#","keepSnapshots":1"#)).await.expect("a source");
    w.environment("prod", 1).await;
    for n in 1..=9u64 {
        yum.publish(1, u32::try_from(n).expect("small"), 0);
        w.pass(60);
        w.sync("base").await;
        if n == 2 {
            w.promote("prod", r#"{"sources":["base"]}"#).await;
        }
    }
    w.run_jobs().await;
    let left: Vec<u64> =
        w.control.list_snapshots(&w.server(), "base", &LAST).await.expect("snapshots").items.iter().map(|s| s.number).collect();
    assert_eq!(left, [9, 8, 7, 6, 5, 2], "the newest, three moves before it, one free one, prod's");
}

#[tokio::test]
async fn what_the_next_roll_back_leads_to_is_kept() {
    let w = World::new().await;
    let yum = Yum::new(1);
    w.control.create_source(&w.server(), yum.spec("base", r#","keepSnapshots":1"#)).await.expect("a source");
    w.environment("prod", 1).await;
    for n in 1..=9u32 {
        yum.publish(1, n, 0);
        w.pass(60);
        w.sync("base").await;
        if n <= 4 {
            w.promote("prod", r#"{"sources":["base"]}"#).await;
        }
        if n == 4 {
            w.promote("prod", r#"{"rollback":true}"#).await;
            assert_eq!(w.promote("prod", r#"{"rollback":true}"#).await.moves[0].to.number, 2);
        }
    }
    w.run_jobs().await;
    assert_eq!(w.promote("prod", r#"{"rollback":true}"#).await.moves[0].to.number, 1);
}

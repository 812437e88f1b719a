//! A server that dies in the middle of a job and comes back on the same data directory.

use drydock_control::{EnrolAsk, Principal, SectionBodyIn, SectionIn};
use drydock_domain::inventory::{OsFacts, PackageSet, SectionKind, fingerprint};
use drydock_domain::patch::task::TaskState;
use drydock_server::Server;
use serde_json::json;

use crate::support::{Agent, Person, settings};

#[test]
fn a_job_survives_the_server_s_death() {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");

    let first = runtime();
    let (token, ca_pem, mut agent, job, number, task) = first.block_on(async {
        let mut running = Server::start(settings(dir.path())).await.expect("started");
        let token = running.admin_token.take().expect("a first run").expose().to_owned();
        let admin = Person::new(running.addr, &running.ca_pem, &token);
        let profile = admin.post("/enrolment-profiles", json!({"displayName": "t", "autoAccept": true})).await;
        let mut agent = Agent::new(running.addr, &running.ca_pem, "web-1");
        agent.enrol(profile.body["token"].as_str().expect("a token")).await.expect("in");
        agent.link().await.pull_work(tonic::Request::new(Default::default())).await.expect("seen");
        let job = admin.patch_job(json!({"instanceFilter": {"all": true}})).await;
        let order = agent.pull_one().await;
        let ca_pem = running.ca_pem.clone();
        // As a power cut: nothing is told, nothing is closed.
        drop(running);
        (token, ca_pem, agent, job["id"].as_str().expect("an id").to_owned(), order.number, order.task.task)
    });
    first.shutdown_background();

    runtime().block_on(async {
        let running =
            crate::support::wait_until("the data directory is free", async || Server::start(settings(dir.path())).await.ok())
                .await;
        assert!(running.admin_token.is_none(), "this is no first run");
        assert_eq!(running.ca_pem, ca_pem);
        agent.addr = running.addr;
        let admin = Person::new(running.addr, &running.ca_pem, &token);
        // The agent's answer got lost with the server: it gets the same order, with the same number.
        let again = agent.pull_one().await;
        assert_eq!((again.number, again.task.task), (number, task));
        agent.report(task, 1, TaskState::Succeeded).await.expect("taken");
        admin.wait_for(&format!("/patch-jobs/{job}"), "the job is done", |j| j["state"] == "SUCCEEDED").await;
        running.stop().await;
    });
}

/// What was known of the fleet is taken up, not read and computed again.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_knows_its_fleet() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    let running = Server::start(settings(dir.path())).await.expect("started");
    let control = running.state.control.clone();
    let ctx = control.ctx(Principal::Server, "test");
    let spec = serde_json::from_value(json!({"displayName": "t", "autoAccept": true})).expect("a profile");
    let (_, token) = control.create_profile(&ctx, spec).await.expect("a profile");
    let os = OsFacts { hostname: "web-1".into(), short_name: "ol".into(), version: "9".into(), ..OsFacts::default() };
    let spki = fingerprint(b"a key");
    let ask = EnrolAsk { token, spki_sha256: spki.clone(), machine_id: "m".into(), hostname: "web-1".into(), os: os.clone() };
    let host = control.enrol("test", ask).await.expect("enrolled").instance;
    let section = |kind: SectionKind, body: Vec<u8>| SectionIn {
        kind: kind.as_str().to_owned(),
        fingerprint: fingerprint(&body),
        body: SectionBodyIn::Full(body),
    };
    let sections = vec![
        section(SectionKind::Os, serde_json::to_vec(&os).expect("JSON")),
        section(SectionKind::Packages, serde_json::to_vec(&PackageSet::new(vec![])).expect("JSON")),
    ];
    let agent = control.agent_session(host, &spki, "test").await.expect("a session");
    control.report_inventory(&agent, sections).await.expect("taken");
    crate::support::wait_until("the host is known", async || (control.fleet_work().hosts_read == 1).then_some(())).await;
    crate::support::wait_until("it is decided about", async || (control.fleet_work().classes_computed == 1).then_some(())).await;
    drop((control, agent));
    running.stop().await;
    let mode = std::fs::metadata(dir.path().join("fleet-picture")).expect("kept at the end").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let again = Server::start(settings(dir.path())).await.expect("started");
    let control = &again.state.control;
    let ctx = control.ctx(Principal::Server, "test");
    let numbers = crate::support::wait_until("the fleet is known", async || control.fleet_security(&ctx).await.ok()).await;
    assert_eq!(numbers.hosts, 1);
    let work = control.fleet_work();
    assert_eq!((work.hosts_read, work.classes_computed), (0, 0));
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_never_share_a_data_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Server::start(settings(dir.path())).await.expect("started");
    let error = Server::start(settings(dir.path())).await.expect_err("refused");
    assert!(error.to_string().contains("another drydockd works on"), "{error}");
    first.stop().await;
    Server::start(settings(dir.path())).await.expect("free again").stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_keys_are_never_replaced_in_silence() {
    for lost in ["ca.key", "ca.pem", "work.key"] {
        let dir = tempfile::tempdir().expect("a directory");
        Server::start(settings(dir.path())).await.expect("started").stop().await;
        std::fs::remove_file(dir.path().join(lost)).expect("removed");
        let error = Server::start(settings(dir.path())).await.expect_err("refused");
        assert!(error.to_string().contains(lost), "{lost}: {error}");
        assert!(!dir.path().join(lost).exists());
    }
    let dir = tempfile::tempdir().expect("a directory");
    Server::start(settings(dir.path())).await.expect("started").stop().await;
    let keys = dir.path().join("repository-keys");
    std::fs::remove_dir_all(&keys).expect("removed");
    let published = dir.path().join("content/publications/one.json");
    std::fs::create_dir_all(published.parent().expect("a parent")).expect("made");
    std::fs::write(&published, "{}").expect("written");
    let error = Server::start(settings(dir.path())).await.expect_err("refused");
    assert!(error.to_string().contains("repository-keys"), "{error}");
    assert!(!keys.exists(), "hosts would refuse whatever a new key signs");
}

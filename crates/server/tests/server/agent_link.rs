//! The agent protocol, call by call.

use drydock_api::agent::v1::agent_link_client::AgentLinkClient;
use drydock_api::agent::v1::enrol_response::State;
use drydock_api::agent::v1::{
    AcquireRebootSlotRequest, AttachRequest, HeldTask, PullWorkRequest, RenewRequest, ReportInventoryRequest,
};
use drydock_domain::patch::task::TaskState;
use serde_json::json;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request};

use crate::support::{Agent, LIMIT, TestServer, channel, csr};

async fn attach(agent: &Agent) -> tonic::Streaming<drydock_api::agent::v1::Hint> {
    let request = AttachRequest { agent_version: "0".into(), boot_id: "b".into() };
    agent.link().await.attach(request).await.expect("attached").into_inner()
}

async fn next_hint(stream: &mut tonic::Streaming<drydock_api::agent::v1::Hint>) -> Result<bool, tonic::Status> {
    let hint = tokio::time::timeout(LIMIT, stream.message()).await.expect("in time")?;
    Ok(hint.expect("not the end").look)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_enrols_reports_takes_a_job_and_the_operator_reads_it() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    let mut link = agent.link().await.send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip);

    let sections = agent.sections(&[("openssl", "3.0.1"), ("bash", "5.2")]);
    let answer =
        link.report_inventory(ReportInventoryRequest { sections: sections.clone(), ..Default::default() }).await.expect("stored");
    assert_eq!(answer.into_inner().wanted, Vec::<String>::new());
    let bare = sections.iter().cloned().map(|mut s| {
        s.body = None;
        s
    });
    let mut again = ReportInventoryRequest { sections: bare.collect(), ..Default::default() };
    assert!(link.report_inventory(again.clone()).await.expect("known").into_inner().wanted.is_empty());
    again.sections[1].fingerprint = "0".repeat(64);
    assert_eq!(link.report_inventory(again).await.expect("asks").into_inner().wanted, ["packages"]);
    let packages = server.admin.get("/instances/web-1/packages?q=ssl").await;
    assert_eq!(packages.body["packages"][0]["version"], "3.0.1", "{packages:?}");

    let mut hints = attach(&agent).await;
    assert!(next_hint(&mut hints).await.expect("a hint"), "the first hint says look");
    let online = server.admin.get("/instances/web-1").await;
    assert_eq!((online.body["state"].as_str(), online.body["reachability"].as_str()), (Some("ACTIVE"), Some("ONLINE")));

    let job = server.admin.patch_job(json!({"displayName": "t", "instanceFilter": {"all": true}})).await;
    while !next_hint(&mut hints).await.expect("a hint") {}
    let order = agent.pull_one().await;
    let task = order.task.task;
    let answer = agent.report(task, 1, TaskState::ApplyingPatches).await.expect("taken");
    assert!(answer.stored && answer.directive == "CONTINUE", "{answer:?}");
    let held = PullWorkRequest { held: vec![HeldTask { task_id: task.to_string() }] };
    let pulled = link.pull_work(held).await.expect("pulled").into_inner();
    assert!(pulled.orders.is_empty(), "a held task is not ordered again");
    assert_eq!(pulled.directives[0].directive, "CONTINUE");
    let slot = |task_id: String| AcquireRebootSlotRequest { task_id };
    link.acquire_reboot_slot(slot(task.to_string())).await.expect("answered");
    let unknown = link.acquire_reboot_slot(slot(agent.instance.clone())).await.expect_err("no task of this host");
    let strange = link.acquire_reboot_slot(slot("x".into())).await.expect_err("no id");
    assert_eq!((unknown.code(), strange.code()), (Code::NotFound, Code::InvalidArgument));
    agent.report(task, 2, TaskState::Succeeded).await.expect("taken");
    let path = format!("/patch-jobs/{}", job["id"].as_str().expect("an id"));
    let done = server.admin.wait_for(&path, "the job is done", |j| j["state"] == "SUCCEEDED").await;
    assert_eq!(done["instanceDetailsSummary"], json!({"SUCCEEDED": 1}));
    let detail = server.admin.get(&format!("{path}/tasks/{task}")).await;
    assert_eq!(detail.body["report"]["message"], "report 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_key_gets_a_new_certificate_without_a_token() {
    let server = TestServer::start().await;
    let mut agent = server.agent("web-1").await;
    let (instance, first) = (agent.instance.clone(), agent.certificate_pem.clone());
    let again = agent.enrol("").await.expect("known");
    assert_eq!((again.state(), again.instance_id), (State::Active, instance));
    assert_ne!(again.certificate_pem, first);
    agent.link().await.pull_work(PullWorkRequest::default()).await.expect("the new certificate speaks");
    agent.key = rcgen::KeyPair::generate().expect("a key");
    let refused = agent.enrol("").await.expect_err("another key");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_certificate_nothing_but_enrol_is_answered() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    let bare = channel(agent.addr, &agent.ca_pem, "", &agent.key).await.expect("connected");
    let mut bare = AgentLinkClient::new(bare);
    let refused = bare.pull_work(PullWorkRequest::default()).await.expect_err("refused");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    assert!(refused.message().contains("enrol"), "{refused:?}");
    let refused = bare.attach(AttachRequest::default()).await.expect_err("refused");
    assert_eq!(refused.code(), Code::Unauthenticated);
    // A certificate of another CA for the same instance does not pass the handshake.
    let other = TestServer::start().await;
    let foreign = other.agent("web-1").await;
    let link = channel(agent.addr, &agent.ca_pem, &foreign.certificate_pem, &foreign.key).await;
    if let Ok(link) = link {
        AgentLinkClient::new(link).pull_work(PullWorkRequest::default()).await.expect_err("refused");
    }
    // The server's own certificate is no agent's.
    let refused =
        AgentLinkClient::new(channel(agent.addr, &agent.ca_pem, &agent.certificate_pem, &agent.key).await.expect("connected"))
            .report_task(drydock_api::agent::v1::ReportTaskRequest { report: b"{".to_vec() })
            .await
            .expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_refused_for_good_and_an_address_that_keeps_trying_waits() {
    let server = TestServer::start().await;
    let mut agent = Agent::new(server.running.addr, &server.running.ca_pem, "web-1");
    let refused = agent.enrol("dde_wrong").await.expect_err("refused");
    assert!(matches!(refused.code(), Code::PermissionDenied | Code::Unauthenticated), "{refused:?}");
    let mut last = refused;
    for _ in 0..drydock_server::limits::FAILURES_PER_ADDRESS_MAX {
        last = agent.enrol("dde_wrong").await.expect_err("refused");
    }
    assert_eq!(last.code(), Code::Unavailable, "{last:?}");
    assert!(last.message().contains("wait"), "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_enrols_once_and_another_key_of_the_same_machine_waits_for_a_person() {
    let server = TestServer::start().await;
    let token = server.enrolment_token(true).await;
    let mut first = Agent::new(server.running.addr, &server.running.ca_pem, "web-1");
    let one = first.enrol(&token).await.expect("in");
    let two = first.enrol(&token).await.expect("in");
    assert_eq!(one.instance_id, two.instance_id);
    let profiles = server.admin.get("/enrolment-profiles").await;
    assert_eq!(profiles.body["items"][0]["uses"], 1, "{profiles:?}");

    let mut clone = Agent::new(server.running.addr, &server.running.ca_pem, "web-1");
    let waits = clone.enrol(&token).await.expect("waits");
    assert_eq!((waits.state(), waits.certificate_pem.as_str()), (State::Pending, ""));
    assert!(waits.retry_after_secs > 0 && !waits.message.is_empty(), "{waits:?}");
    let shown = server.admin.get(&format!("/instances/{}", waits.instance_id)).await;
    assert_eq!(shown.body["state"], "PENDING");
    assert_eq!(shown.body["pendingReason"], "DUPLICATE_MACHINE_ID");
    assert_eq!(shown.body["duplicateOf"], one.instance_id.as_str());
    let accepted = server.admin.post(&format!("/instances/{}:accept", waits.instance_id), json!({})).await;
    assert_eq!((accepted.status, accepted.body["state"].as_str()), (200, Some("ACTIVE")), "{accepted:?}");
    let now_in = clone.enrol(&token).await.expect("in");
    assert_eq!(now_in.state(), State::Active);
    assert_eq!(now_in.instance_id, waits.instance_id);
    let names = server.admin.get("/instances").await;
    let names: Vec<_> = names.body["items"].as_array().expect("rows").iter().map(|i| i["name"].clone()).collect();
    assert_eq!(names, ["web-1", "web-1-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_host_is_told_why() {
    let server = TestServer::start().await;
    let token = server.enrolment_token(false).await;
    let mut agent = Agent::new(server.running.addr, &server.running.ca_pem, "web-1");
    let waits = agent.enrol(&token).await.expect("waits");
    let body = json!({"reason": "not ours"});
    let answer = server.admin.post(&format!("/instances/{}:reject", waits.instance_id), body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let refused = agent.enrol(&token).await.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("not ours"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_takes_over_when_it_is_first_used() {
    let server = TestServer::start().await;
    let old = server.agent("web-1").await;
    let new_key = rcgen::KeyPair::generate().expect("a key");
    let renewed = old.link().await.renew(RenewRequest { csr_der: csr(&new_key) }).await.expect("renewed").into_inner();
    old.link().await.pull_work(PullWorkRequest::default()).await.expect("the old one works until the new one is used");
    let new = Agent { key: new_key, certificate_pem: renewed.certificate_pem, ca_pem: renewed.ca_pem, ..old_copy(&old) };
    new.link().await.pull_work(PullWorkRequest::default()).await.expect("the new one works");
    let refused = old.link().await.pull_work(PullWorkRequest::default()).await.expect_err("the old one is over");
    assert!(matches!(refused.code(), Code::Unauthenticated | Code::PermissionDenied), "{refused:?}");
}

fn old_copy(agent: &Agent) -> Agent {
    Agent { instance: agent.instance.clone(), work_key: agent.work_key.clone(), ..Agent::new(agent.addr, &agent.ca_pem, "web-1") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_cuts_the_open_stream_and_every_later_call() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    let mut hints = attach(&agent).await;
    next_hint(&mut hints).await.expect("a hint");
    let mut link = agent.link().await;
    link.pull_work(PullWorkRequest::default()).await.expect("still in");
    let revoked = server.admin.post("/instances/web-1:revoke", json!({})).await;
    assert_eq!((revoked.status, revoked.body["state"].as_str()), (200, Some("REVOKED")), "{revoked:?}");
    let end = next_hint(&mut hints).await.expect_err("cut");
    assert!(matches!(end.code(), Code::PermissionDenied | Code::Unauthenticated), "{end:?}");
    let refused = link.pull_work(PullWorkRequest::default()).await.expect_err("on the same connection");
    assert!(matches!(refused.code(), Code::PermissionDenied | Code::Unauthenticated), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_stream_of_the_same_agent_replaces_the_older() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    let mut old = attach(&agent).await;
    next_hint(&mut old).await.expect("a hint");
    let mut new = attach(&agent).await;
    next_hint(&mut new).await.expect("a hint");
    assert_eq!(next_hint(&mut old).await.expect_err("over").code(), Code::Aborted);
    assert_eq!(server.running.state.control.hub().attached(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unregistering_removes_the_record() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    agent.link().await.unregister(Request::new(Default::default())).await.expect("gone");
    assert_eq!(server.admin.get("/instances/web-1").await.status, 404);
    agent.link().await.pull_work(PullWorkRequest::default()).await.expect_err("gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_sizes_are_refused() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    let held = (0..2000).map(|i| HeldTask { task_id: uuid::Uuid::from_u128(i).to_string() }).collect();
    let refused = agent.link().await.pull_work(PullWorkRequest { held }).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut sections = agent.sections(&[]);
    sections[1].body = Some(drydock_api::agent::v1::section_report::Body::Full(vec![b' '; 9 * 1024 * 1024]));
    let large = ReportInventoryRequest { sections, ..Default::default() };
    let refused = agent.link().await.report_inventory(large.clone()).await.expect_err("refused");
    assert!(matches!(refused.code(), Code::OutOfRange | Code::ResourceExhausted), "{refused:?}");
    // 9 MiB of blanks are 9 KiB of gzip.
    let mut packed = agent.link().await.send_compressed(CompressionEncoding::Gzip);
    let refused = packed.report_inventory(large).await.expect_err("refused");
    assert!(matches!(refused.code(), Code::OutOfRange | Code::ResourceExhausted | Code::Internal), "{refused:?}");
    let mut stranger = Agent::new(server.running.addr, &server.running.ca_pem, "web-2");
    stranger.os.long_name = "x".repeat(200 * 1024);
    let refused = stranger.enrol("dde_x").await.expect_err("refused");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    let refused = agent.report(drydock_domain::ids::TaskId(uuid::Uuid::from_u128(1)), 1, TaskState::Succeeded).await;
    assert!(refused.is_err() || refused.is_ok_and(|r| r.stored), "a task nobody knows ends one way or the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn going_down_ends_streams_with_connect_again_and_lets_requests_end() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    let mut hints = attach(&agent).await;
    next_hint(&mut hints).await.expect("a hint");
    let job = server.admin.patch_job(json!({"instanceFilter": {"all": true}})).await;
    let path = format!("/patch-jobs/{}/events", job["id"].as_str().expect("an id"));
    let events = server.admin.request("GET", &path).send().await.expect("a stream");
    let addr = server.running.addr;
    let cut = tokio::time::timeout(LIMIT, server.running.stop()).await.expect("in time");
    assert_eq!(cut, 0, "no connection had to be cut");
    let mut last = Ok(true);
    while last.is_ok() {
        last = next_hint(&mut hints).await;
    }
    assert_eq!(last.expect_err("over").code(), Code::Unavailable);
    events.bytes().await.expect("the event stream ended in order");
    tokio::net::TcpStream::connect(addr).await.expect_err("nobody listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_stream_beats_keeps_the_host_online_and_notices_what_the_hub_did_not_say() {
    let server = TestServer::start_with(|s| s.heartbeat_secs = 1).await;
    let agent = server.agent("web-1").await;
    let mut hints = attach(&agent).await;
    assert!(next_hint(&mut hints).await.expect("a hint"));
    let before = server.admin.get("/instances/web-1").await.body["lastSeen"].clone();
    assert!(!next_hint(&mut hints).await.expect("a heartbeat"), "a heartbeat does not say look");
    assert_ne!(server.admin.get("/instances/web-1").await.body["lastSeen"], before);
    // Its key is replaced by a newer one that was used: nobody cuts the old stream, but it may not go on.
    let new_key = rcgen::KeyPair::generate().expect("a key");
    let renewed = agent.link().await.renew(RenewRequest { csr_der: csr(&new_key) }).await.expect("renewed").into_inner();
    let new = Agent { key: new_key, certificate_pem: renewed.certificate_pem, ..old_copy(&agent) };
    new.link().await.pull_work(PullWorkRequest::default()).await.expect("the new one works");
    let mut last = Ok(false);
    while last.is_ok() {
        last = next_hint(&mut hints).await;
    }
    assert_eq!(last.expect_err("over").code(), Code::Unauthenticated);
}

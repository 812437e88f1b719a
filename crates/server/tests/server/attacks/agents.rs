//! A certificate that was stolen from a host: it speaks for that host and for nothing else, and what it said once is not
//! said again.

use drydock_api::agent::v1::{
    AcquireRebootSlotRequest, HeldTask, PullWorkRequest, RefuseOrderRequest, ReportTaskRequest, ReportTaskResponse,
};
use drydock_domain::patch::task::TaskState;
use serde_json::{Value, json};
use tonic::{Code, Request};

use crate::support::{Agent, TestServer, answer, wait_until};

/// Two hosts with a task each; the one task is ours, the other is not.
struct Two {
    server: TestServer,
    thief: Agent,
    victim: Agent,
    job: String,
}

impl Two {
    async fn start() -> Self {
        let server = TestServer::start().await;
        let (thief, victim) = (server.agent("thief").await, server.agent("victim").await);
        let job = server.admin.patch_job(json!({"instanceFilter": {"all": true}})).await;
        let job = job["id"].as_str().expect("an id").to_owned();
        Two { server, thief, victim, job }
    }

    /// The victim's task as an administrator sees it.
    async fn task(&self) -> Value {
        let tasks = self.server.admin.get(&format!("/patch-jobs/{}/tasks", self.job)).await;
        let items = tasks.body["items"].as_array().expect("tasks");
        items.iter().find(|t| t["instanceName"] == "victim").expect("the victim's").clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_certificate_neither_reads_nor_changes_the_work_of_others() {
    let two = Two::start().await;
    let theirs = two.victim.pull_one().await.task.task;
    let own = two.thief.pull_one().await;
    assert_eq!(own.instance.to_string(), two.thief.instance, "orders are one's own");
    let before = two.task().await;
    for state in [TaskState::Started, TaskState::ApplyingPatches, TaskState::Succeeded, TaskState::Failed] {
        let said = two.thief.report(theirs, 1_000, state).await;
        match said {
            Err(status) => assert!(matches!(status.code(), Code::NotFound | Code::PermissionDenied), "{status:?}"),
            Ok(ReportTaskResponse { stored, .. }) => assert!(!stored, "a report about another's task is stored"),
        }
    }
    let link = two.thief.link().await;
    let slot = link.clone().acquire_reboot_slot(AcquireRebootSlotRequest { task_id: theirs.to_string() }).await;
    assert!(!slot.is_ok_and(|s| s.into_inner().granted), "another's reboot slot");
    let refusal = RefuseOrderRequest { task_id: theirs.to_string(), reason: "because".to_owned() };
    let _ = link.clone().refuse_order(refusal).await;
    // Saying that one holds another's task tells nothing of it but that there is nothing to do.
    let held = PullWorkRequest { held: vec![HeldTask { task_id: theirs.to_string() }] };
    let pulled = link.clone().pull_work(Request::new(held)).await.expect("an answer").into_inner();
    for order in &pulled.orders {
        two.thief.verify(order);
    }
    let unknown = PullWorkRequest { held: vec![HeldTask { task_id: uuid::Uuid::from_u128(7).to_string() }] };
    let of_unknown = link.clone().pull_work(Request::new(unknown)).await.expect("an answer").into_inner();
    let directive = |p: &drydock_api::agent::v1::PullWorkResponse| p.directives.first().map(|d| d.directive.clone());
    assert_eq!(directive(&pulled), directive(&of_unknown), "another's task looks as one that does not exist");
    assert_eq!(two.task().await, before, "the victim's task is as it was");
    let seen = two.victim.report(theirs, 1, TaskState::Started).await.expect("taken");
    assert!(seen.stored, "the victim goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_reported_once_is_not_taken_again_and_what_is_finished_stays() {
    let two = Two::start().await;
    let task = two.victim.pull_one().await.task.task;
    for (seq, state) in [(1, TaskState::Started), (2, TaskState::Started), (5, TaskState::ApplyingPatches)] {
        assert!(two.victim.report(task, seq, state).await.expect("taken").stored);
    }
    let before = two.task().await;
    for (seq, state) in [(1, TaskState::Started), (4, TaskState::Succeeded), (5, TaskState::Failed), (0, TaskState::Failed)] {
        // An old report is answered as one that is known, so that an agent lets go of it; nothing changes.
        let _ = two.victim.report(task, seq, state).await;
        assert_eq!(two.task().await["state"], before["state"], "an old report ({seq}) changes nothing");
    }
    assert!(two.victim.report(task, 6, TaskState::Succeeded).await.expect("taken").stored);
    let done = two.task().await;
    for (seq, state) in [(7, TaskState::Failed), (8, TaskState::ApplyingPatches), (u64::MAX, TaskState::Failed)] {
        let _ = two.victim.report(task, seq, state).await;
        assert_eq!(two.task().await["state"], done["state"], "what is finished stays so ({seq})");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_are_none_are_refused_and_the_server_goes_on() {
    let two = Two::start().await;
    let link = two.thief.link().await;
    let deep = [b"[".repeat(200_000), br#"{"task":"#.repeat(50_000)].into_iter();
    let others = ["", "null", "{}", "\"x\"", r#"{"task":"' OR 1=1 --","seq":1}"#].map(|t| t.as_bytes().to_vec());
    for report in deep.chain(others) {
        let said = link.clone().report_task(ReportTaskRequest { report }).await;
        let code = said.expect_err("refused").code();
        assert!(matches!(code, Code::InvalidArgument | Code::FailedPrecondition), "{code:?}");
    }
    assert!(two.thief.link().await.pull_work(Request::new(Default::default())).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_s_certificate_opens_neither_the_api_nor_the_console() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    let identity = format!("{}{}", agent.certificate_pem, agent.key.serialize_pem());
    let ca = reqwest::Certificate::from_pem(agent.ca_pem.as_bytes()).expect("a certificate");
    let identity = reqwest::Identity::from_pem(identity.as_bytes()).expect("an identity");
    let client = reqwest::Client::builder().tls_certs_only([ca]).identity(identity).no_proxy();
    let client = client.redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    for path in ["/api/v1/instances", "/api/v1/whoami", "/api/v1/secrets", "/metrics"] {
        let said = answer(client.get(format!("{}{path}", server.admin.base))).await;
        assert_eq!(said.status, 401, "{path}: {said:?}");
    }
    let page = answer(client.get(format!("{}/instances", server.admin.base)).header("accept", "text/html")).await;
    assert_eq!(page.status, 303, "{page:?}");
    let said = wait_until("a refusal", async || {
        Some(answer(client.get(format!("{}/content/latest/ours/Release", server.admin.base))).await)
    })
    .await;
    assert!(matches!(said.status, 403 | 404), "{said:?}");
}

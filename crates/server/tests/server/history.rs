//! The history of packages over REST, and the one fingerprint by which an agent confirms everything.

use drydock_api::agent::v1::ReportInventoryRequest;
use drydock_domain::inventory::{SectionKind, combined_fingerprint};

use crate::support::{Agent, TestServer};

async fn report(agent: &Agent, packages: &[(&str, &str)]) -> Vec<u8> {
    let sections = agent.sections(packages);
    let prints: Vec<_> = sections.iter().map(|s| (SectionKind::parse(&s.kind).expect("known"), s.fingerprint.clone())).collect();
    let prints: Vec<_> = prints.iter().map(|(kind, print)| (*kind, print.as_str())).collect();
    let combined = combined_fingerprint(&prints).to_vec();
    let request = ReportInventoryRequest { sections, ..Default::default() };
    agent.link().await.report_inventory(request).await.expect("stored");
    combined
}

async fn confirmed(agent: &Agent, combined: &[u8]) -> bool {
    let request = ReportInventoryRequest { sections: vec![], combined: combined.to_vec() };
    agent.link().await.report_inventory(request).await.expect("answered").into_inner().confirmed
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_asks_what_hosts_had_when() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    let first = report(&agent, &[("bash", "5.1"), ("openssl", "3.0.1")]).await;
    assert!(confirmed(&agent, &first).await, "everything is there");
    let before = jiff::Timestamp::now();
    // Histories count whole seconds.
    let later = before.saturating_add(jiff::SignedDuration::from_millis(1500)).expect("in range");
    drydock_testkit::wait::wait_until("a second passes", std::time::Duration::from_secs(10), || {
        Ok(jiff::Timestamp::now() > later)
    })
    .expect("it does");
    let second = report(&agent, &[("bash", "5.1"), ("openssl", "3.0.2"), ("tmux", "3")]).await;
    assert!(!confirmed(&agent, &first).await && confirmed(&agent, &second).await, "the newest counts");

    let then = server.admin.get(&format!("/instances/web-1/packages?asOf={before}")).await;
    assert_eq!((then.status, then.body["packages"][1]["version"].as_str()), (200, Some("3.0.1")), "{then:?}");
    let early = server.admin.get("/instances/web-1/packages?asOf=2001-01-01T00:00:00Z").await;
    assert_eq!(early.status, 404, "{early:?}");
    let wrong = server.admin.get("/instances/web-1/packages?asOf=yesterday").await;
    assert_eq!((wrong.status, wrong.body["fields"][0]["field"].as_str()), (400, Some("asOf")), "{wrong:?}");
    let changes = server.admin.get(&format!("/instances/web-1/package-changes?from={before}")).await;
    let names: Vec<_> = changes.body["changes"].as_array().expect("a list").iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["openssl", "tmux"], "{changes:?}");
    assert_eq!(server.admin.get("/instances/web-1/package-changes").await.status, 400, "from when?");

    let fleet = server.admin.get("/packages?q=openssl").await;
    assert_eq!((&fleet.body["items"][0]["version"], &fleet.body["items"][0]["hosts"]), (&"3.0.2".into(), &1.into()), "{fleet:?}");
    let then = server.admin.get(&format!("/packages?asOf={before}&limit=1")).await;
    assert_eq!((then.body["items"][0]["name"].as_str(), then.body["nextCursor"].is_string()), (Some("bash"), true), "{then:?}");
    let had = server.admin.get("/packages/openssl/holdings?version=%3C3.0.2").await;
    let item = &had.body["items"][0];
    assert_eq!(
        (item["host"].as_str(), item["version"].as_str(), item["fromBegin"].as_bool()),
        (Some("web-1"), Some("3.0.1"), Some(true))
    );
    assert!(item["until"].is_string(), "it was replaced: {had:?}");
    assert_eq!(server.admin.get("/packages/openssl/holdings?version=%3C").await.status, 400);
}

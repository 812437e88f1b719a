//! Module streams of a host over REST: from a real repository with modules, and from what the host told.

use std::path::Path;

use drydock_api::agent::v1::ReportInventoryRequest;
use drydock_api::agent::v1::section_report::Body;
use drydock_domain::host_rules::{HostRules, ModuleState};
use drydock_domain::inventory::{ManagerKind, SectionKind, fingerprint};
use drydock_testkit::serve::serve_dir;
use drydock_testkit::upstream::{ModuleStream, RpmPackage, RpmRepository, add_modules, cached};
use serde_json::{Value, json};

use crate::support::{Agent, TestServer, answer};

fn build(dir: &Path) -> anyhow::Result<()> {
    let package = |version| RpmPackage::new("dd-mod-app", version);
    let stream = |stream, version| ModuleStream::new("ddmod", stream, "dd-mod-app", &[package(version)]);
    let mut first = ModuleStream { is_default: true, ..stream("1", "1.0") };
    first.profiles.push(("devel".into(), vec!["dd-mod-app".into()]));
    RpmRepository { packages: vec![package("1.0"), package("2.0"), package("2.1")], advisories: vec![] }.build(dir)?;
    // The later one of equal streams is the newer build.
    add_modules(dir, &[first, stream("2", "2.0"), stream("2", "2.1")])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_shown_what_it_may_choose_and_what_it_has_set() {
    let upstream = serve_dir(&cached("server-modules", "ddmod 1 and 2", build).expect("built")).expect("serves");
    let server = TestServer::start().await;
    let spec = json!({"name": "app", "format": "rpm", "origin": {"upstream": {"urls": [upstream.url()]}}});
    assert_eq!(server.admin.post("/sources", spec).await.status, 201);
    let job = server.admin.post("/sources/app:sync", json!({})).await;
    let path = format!("/content-jobs/{}", job.body["id"].as_str().expect("an id"));
    let done = server.admin.wait_for(&path, "synced", |j| j["finishedAt"].is_string()).await;
    assert_eq!(done["state"], "SUCCEEDED", "{done}");

    let mut host = Agent::new(server.running.addr, &server.running.ca_pem, "web-1");
    (host.os.managers, host.os.architecture) = (vec![ManagerKind::Dnf], std::env::consts::ARCH.to_owned());
    host.enrol(&server.enrolment_token(true).await).await.expect("enrolled");
    let mut sections = host.sections(&[]);
    host.link()
        .await
        .report_inventory(ReportInventoryRequest { sections: sections.clone(), ..Default::default() })
        .await
        .expect("stored");
    let of_host = async || server.admin.get("/instances/web-1/modules").await;
    let empty = of_host().await;
    assert_eq!((empty.status, &empty.body["modules"]), (200, &json!([])), "no source, no settings");

    let attach = server.admin.request("PUT", "/instances/web-1/sources").json(&json!({"attach": ["app"]}));
    assert_eq!(answer(attach).await.status, 200);
    let set = |name: &str, stream: &str, enabled| ModuleState {
        name: name.into(),
        stream: stream.into(),
        enabled,
        profiles: if enabled { vec!["common".into()] } else { vec![] },
    };
    let rules = HostRules { modules: vec![set("ddmod", "2", true), set("perl", "", false)], ..HostRules::default() };
    let body = serde_json::to_vec(&rules).expect("JSON");
    let told = sections.iter_mut().find(|s| s.kind == SectionKind::Rules.as_str()).expect("rules");
    (told.fingerprint, told.body) = (fingerprint(&body), Some(Body::Full(body)));
    host.link().await.report_inventory(ReportInventoryRequest { sections, ..Default::default() }).await.expect("stored");
    let found = of_host().await;
    assert!(found.body["changedAt"].is_string(), "{found:?}");
    let modules = found.body["modules"].as_array().expect("modules");
    assert_eq!(modules.len(), 2, "{found:?}");
    assert_eq!(modules[0]["state"], json!({"status": "ENABLED", "stream": "2", "profiles": ["common"]}));
    assert_eq!(modules[1], json!({"module": "perl", "state": {"status": "DISABLED"}, "streams": []}));
    let streams = modules[0]["streams"].as_array().expect("streams");
    let shown: Vec<Value> = streams
        .iter()
        .map(|s| {
            json!([s["stream"], s["version"], s["isDefault"], s["profiles"], s["defaultProfiles"], s["repository"], s["summary"]])
        })
        .collect();
    let wanted = [
        json!(["1", "20260101", true, ["common", "devel"], ["common"], "app", "Lab module ddmod"]),
        json!(["2", "20260103", false, ["common"], [], "app", "Lab module ddmod"]),
    ];
    assert_eq!(shown, wanted);
    let some = server.admin.get("/instances/web-1/modules?q=per").await;
    assert_eq!(some.body["modules"].as_array().map(Vec::len), Some(1), "{some:?}");
    assert_eq!(server.admin.get("/instances/nobody/modules").await.status, 404);
}

//! Feeds of advisories over REST: imported from files as they are published, listed, taken back.

use std::path::{Path, PathBuf};

use drydock_api::agent::v1::ReportInventoryRequest;
use drydock_api::agent::v1::section_report::Body;
use drydock_domain::inventory::{ManagerKind, Package, PackageSet, SectionKind, fingerprint};
use drydock_testkit::serve::serve_dir;
use drydock_testkit::upstream::{Advisory, AdvisoryKind, RpmPackage, RpmRepository, Severity, cached};
use serde_json::{Value, json};

use crate::support::{Agent, Answer, Person, TestServer, answer, wait_until};

/// An advisory in the form of OSV.
pub fn osv(id: &str, package: &str, fixed: &str, cve: &str) -> Value {
    json!({
        "id": id, "summary": format!("Important: {package} security update"), "details": "text",
        "published": "2026-11-01T00:00:00Z", "modified": "2026-11-02T00:00:00Z", "related": [cve],
        "affected": [{
            "package": {"ecosystem": "AlmaLinux:8", "name": package},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
        }],
    })
}

/// One document a line, as databases are exported.
pub fn lines(documents: &[Value]) -> String {
    documents.iter().map(|d| format!("{d}\n")).collect()
}

pub async fn import(person: &Person, feed: &str, query: &str, body: impl Into<reqwest::Body>) -> Answer {
    let path = format!("/advisory-feeds/{feed}:import{query}");
    answer(person.request("POST", &path).header("content-type", "application/octet-stream").body(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_is_imported_changed_and_deleted() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    let first = lines(&[
        osv("ALSA-2026:0001", "bash", "0:4.4.20-5.el8", "CVE-2026-0001"),
        osv("ALSA-2026:0002", "zlib", "0:1.2.11-26.el8", "CVE-2026-0002"),
        json!({"id": "ALSA-2026:0003", "affected": "not a list"}),
    ]);
    let made = import(admin, "alma8", "", first.clone()).await;
    assert_eq!(made.status, 200, "{made:?}");
    let report = &made.body;
    assert_eq!((&report["added"], &report["unchanged"], &report["feed"]["kind"]), (&json!(2), &json!(false), &json!("osv")));
    assert!(report["leftOut"].as_u64() >= Some(1), "the malformed entry is a finding, not a failure: {report}");
    let again = import(admin, "alma8", "", first).await;
    assert_eq!((&again.body["unchanged"], &again.body["added"]), (&json!(true), &json!(0)), "{again:?}");

    // One changed, one is gone, one is new.
    let mut changed = osv("ALSA-2026:0001", "bash", "0:4.4.20-6.el8", "CVE-2026-0001");
    changed["modified"] = json!("2026-11-03T00:00:00Z");
    let next = import(admin, "alma8", "", lines(&[changed, osv("ALSA-2026:0009", "xz", "0:5.2.4-5.el8", "CVE-2026-0009")])).await;
    let report = &next.body;
    assert_eq!((&report["added"], &report["changed"], &report["withdrawn"]), (&json!(1), &json!(1), &json!(1)), "{next:?}");
    assert_eq!(report["feed"]["advisories"], 3);

    // A part says nothing of what is not in it.
    let part =
        import(admin, "alma8", "?partial=true", lines(&[osv("ALSA-2026:0010", "jq", "0:1.6-9.el8", "CVE-2026-0010")])).await;
    assert_eq!((&part.body["added"], &part.body["withdrawn"]), (&json!(1), &json!(0)), "{part:?}");

    let listed = admin.get("/advisory-feeds").await;
    assert_eq!(listed.body["items"][0]["name"], "alma8", "{listed:?}");
    assert_eq!(listed.body["items"][0]["advisories"], 4);
    assert_eq!(admin.get("/advisory-feeds/alma8").await.body["feed"]["complete"], false);
    assert_eq!(answer(admin.request("DELETE", "/advisory-feeds/alma8")).await.status, 204);
    assert_eq!(admin.get("/advisory-feeds/alma8").await.status, 404);
    assert_eq!(admin.get("/advisory-feeds").await.body["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_feed_is_refused_and_changes_nothing() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    for (body, query) in [("<html>", ""), ("", ""), ("{}", "?kind=nonsense"), ("x", "?product=:8"), ("x", "?colour=red")] {
        let refused = import(admin, "bad", query, body).await;
        assert_eq!(refused.status, 400, "{body:?} {query}: {refused:?}");
    }
    assert_eq!(admin.get("/advisory-feeds").await.body["items"], json!([]), "nothing was made");
    let good = lines(&[osv("A-1", "bash", "0:5-1", "CVE-2026-1"), osv("A-2", "bash", "0:5-2", "CVE-2026-2")]);
    assert_eq!(import(admin, "feed", "", good).await.status, 200);
    let kev = json!({"title": "CISA Catalog of Known Exploited Vulnerabilities", "catalogVersion": "2026.11.20", "count": 1,
        "vulnerabilities": [{"cveID": "CVE-2026-0001", "dateAdded": "2026-11-01", "dueDate": "2026-11-20",
            "knownRansomwareCampaignUse": "Known", "vulnerabilityName": "x", "shortDescription": "y"}]});
    let refused = import(admin, "feed", "", kev.to_string()).await;
    assert_eq!(refused.status, 409, "another kind: {refused:?}");
    assert_eq!(import(admin, "kev", "", kev.to_string()).await.body["feed"]["vulnerabilities"], 1);
    let viewer = server.person("viewer").await;
    assert_eq!(import(&viewer, "feed", "", "x").await.status, 403);
    assert_eq!(viewer.get("/advisory-feeds").await.status, 200);
}

/// A host of AlmaLinux 8 without any source of this server.
async fn alma_host(server: &TestServer, name: &str, packages: &[(&str, &str)]) -> Agent {
    let token = server.enrolment_token(true).await;
    let mut agent = Agent::new(server.running.addr, &server.running.ca_pem, name);
    agent.os.managers = vec![ManagerKind::Dnf];
    agent.os.architecture = "x86_64".to_owned();
    (agent.os.short_name, agent.os.version) = ("almalinux".to_owned(), "8.10".to_owned());
    agent.enrol(&token).await.expect("enrolled");
    report(&agent, packages).await;
    agent
}

async fn report(agent: &Agent, packages: &[(&str, &str)]) {
    let mut sections = agent.sections(packages);
    let set: Vec<Package> = packages
        .iter()
        .map(|(name, version)| Package {
            name: (*name).to_owned(),
            // The upstream of these tests builds for every machine.
            arch: if name.starts_with("dd-") { "noarch" } else { "x86_64" }.to_owned(),
            version: (*version).to_owned(),
            ..Package::default()
        })
        .collect();
    let body = serde_json::to_vec(&PackageSet::new(set)).expect("JSON");
    for section in &mut sections {
        if section.kind == SectionKind::Packages.as_str() {
            section.fingerprint = fingerprint(&body);
            section.body = Some(Body::Full(body.clone()));
        }
    }
    let request = ReportInventoryRequest { sections, ..Default::default() };
    agent.link().await.report_inventory(request).await.expect("stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_need_an_advisory_are_known_and_what_is_closed_goes_at_once() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    let old = alma_host(&server, "web-1", &[("bash", "4.4.20-4.el8"), ("zlib", "1.2.11-26.el8")]).await;
    alma_host(&server, "web-2", &[("bash", "4.4.20-5.el8")]).await;
    let osv = lines(&[
        osv("ALSA-2026:0001", "bash", "0:4.4.20-5.el8", "CVE-2026-0001"),
        osv("ALSA-2026:0002", "zlib", "0:1.2.11-26.el8", "CVE-2026-0002"),
    ]);
    assert_eq!(import(admin, "alma8", "", osv).await.status, 200);
    let needed = |v: &Value| v["items"].as_array().is_some_and(|i| i.len() == 1);
    let listed = admin.wait_for("/advisories?applicable=true", "web-1 needs bash", needed).await;
    let only = &listed["items"][0];
    assert_eq!(
        (&only["id"], &only["applicable"], &only["installable"]),
        (&json!("ALSA-2026:0001"), &json!(1), &json!(0)),
        "{only}"
    );
    assert_eq!(only["origins"], json!(["feed alma8"]));
    let all = admin.get("/advisories?package=zlib").await;
    assert_eq!(all.body["items"][0]["id"], "ALSA-2026:0002", "{all:?}");
    for (query, found) in [
        ("?cve=CVE-2026-0001", 1),
        ("?q=bash", 1),
        ("?kind=BUGFIX", 0),
        ("?severity=IMPORTANT", 2),
        ("?severity=CRITICAL", 0),
        ("?since=2026-11-02T00:00:00Z", 2),
        ("?since=2026-11-20T00:00:00Z", 0),
    ] {
        let rows = admin.get(&format!("/advisories{query}")).await;
        assert_eq!(rows.body["items"].as_array().map(Vec::len), Some(found), "{query}: {rows:?}");
    }
    let shown = admin.get("/advisories/ALSA-2026:0001").await;
    assert_eq!((&shown.body["applicable"], &shown.body["advisory"]["description"]), (&json!(1), &json!("text")), "{shown:?}");
    let hosts = admin.get("/advisories/ALSA-2026:0001/instances").await;
    assert_eq!(hosts.body["items"][0]["name"], "web-1", "{hosts:?}");
    assert_eq!(hosts.body["items"][0]["packages"][0]["installed"], "4.4.20-4.el8");
    assert_eq!(admin.get("/advisories/none-such").await.status, 404);

    let open = admin.get("/vulnerabilities").await;
    assert_eq!((&open.body["items"][0]["id"], &open.body["items"][0]["hosts"]), (&json!("CVE-2026-0001"), &json!(1)), "{open:?}");
    let since = open.body["items"][0]["since"].as_str().expect("since when").to_owned();
    let own = admin.get("/instances/web-1/vulnerabilities").await;
    assert_eq!(own.body["items"][0]["state"], "APPLICABLE", "{own:?}");
    assert_eq!(own.body["items"][0]["since"], since.as_str());
    assert_eq!(admin.get("/instances/web-2/vulnerabilities").await.body["items"], json!([]));
    assert_eq!(admin.get("/instances/web-1/advisories").await.body["items"][0]["id"], "ALSA-2026:0001");

    // Known to be exploited: ranked by it, and said in numbers.
    let kev = json!({"title": "CISA Catalog of Known Exploited Vulnerabilities", "catalogVersion": "2026.11.20", "count": 1,
        "vulnerabilities": [{"cveID": "CVE-2026-0001", "dateAdded": "2026-11-01", "dueDate": "2026-11-20",
            "knownRansomwareCampaignUse": "Known", "vulnerabilityName": "x", "shortDescription": "y"}]});
    assert_eq!(import(admin, "kev", "", kev.to_string()).await.status, 200);
    let exploited = |v: &Value| v["items"].as_array().is_some_and(|i| i.len() == 1);
    admin.wait_for("/vulnerabilities?exploited=true", "the catalogue counts", exploited).await;
    let numbers = admin.get("/vulnerabilities:summary").await;
    assert_eq!((&numbers.body["hosts"], &numbers.body["exploited"]), (&json!(2), &json!(1)), "{numbers:?}");
    let detail = admin.get("/vulnerabilities/CVE-2026-0001").await;
    assert_eq!(detail.body["vulnerability"]["kev"]["ransomware"], true, "{detail:?}");
    assert_eq!(detail.body["advisories"], json!(["ALSA-2026:0001"]));

    let csv = admin.request("GET", "/vulnerabilities?format=csv").send().await.expect("an answer");
    assert!(csv.headers()["content-type"].to_str().is_ok_and(|t| t.starts_with("text/csv")), "{csv:?}");
    let csv = csv.text().await.expect("a text");
    assert!(csv.contains("CVE-2026-0001,") && csv.lines().count() == 2, "{csv}");

    report(&old, &[("bash", "4.4.20-5.el8"), ("zlib", "1.2.11-26.el8")]).await;
    let none = |v: &Value| v["items"] == json!([]);
    admin.wait_for("/vulnerabilities", "what is closed is gone", none).await;
    assert_eq!(admin.get("/advisories?applicable=true").await.body["items"], json!([]));
    assert_eq!(answer(admin.request("DELETE", "/advisory-feeds/alma8")).await.status, 204);
    admin.wait_for("/advisories", "a feed takes its advisories with it", none).await;
}

/// `dd-app` in two versions, the newer one with an advisory.
fn upstream(version: &'static str) -> PathBuf {
    let build = |dir: &Path| {
        let app = RpmPackage::new("dd-app", version);
        let advisory = Advisory {
            id: "LABSA-2026:0001".into(),
            kind: AdvisoryKind::Security,
            severity: Some(Severity::Important),
            title: "dd-app security update".into(),
            cves: vec!["CVE-2026-7777".into()],
            reboot_suggested: false,
            packages: vec![app.clone()],
        };
        let advisories = if version == "1.0" { vec![] } else { vec![advisory] };
        RpmRepository { packages: vec![app], advisories }.build(dir)
    };
    cached("server-advisories", &format!("dd-app {version} with an advisory"), build).expect("built")
}

async fn sync(admin: &Person, name: &str) {
    let job = admin.post(&format!("/sources/{name}:sync"), json!({})).await;
    let path = format!("/content-jobs/{}", job.body["id"].as_str().expect("an id"));
    let done = admin.wait_for(&path, "the job is done", |j| j["finishedAt"].is_string()).await;
    assert_eq!(done["state"], "SUCCEEDED", "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_answers_what_a_host_would_update_and_promotion_changes_it() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    let (first, second) = (serve_dir(&upstream("1.0")).expect("serves"), serve_dir(&upstream("2.0")).expect("serves"));
    let spec = |url: &str| json!({"name": "app", "format": "rpm", "origin": {"upstream": {"urls": [url]}}});
    assert_eq!(admin.post("/sources", spec(&first.url())).await.status, 201);
    sync(admin, "app").await;
    assert_eq!(admin.post("/environments", json!({"name": "prod", "rank": 1})).await.status, 201);
    let promote = json!({"sources": ["app"]});
    let promoted = admin.post("/environments/prod:promote", promote.clone()).await;
    assert_eq!(promoted.status, 200, "{promoted:?}");
    alma_host(&server, "web-1", &[("dd-app", "1.0-1")]).await;
    let before = admin.get("/instances/web-1/updates").await;
    assert_eq!(before.body["answeredBy"], "host", "no source of this server: {before:?}");
    let attach = json!({"attach": ["app"], "environment": "prod"});
    let attached = answer(admin.request("PUT", "/instances/web-1/sources").json(&attach)).await;
    assert_eq!(attached.status, 200, "{attached:?}");
    let by_server = |v: &Value| v["answeredBy"] == "server";
    let now = admin.wait_for("/instances/web-1/updates", "the server answers", by_server).await;
    assert_eq!((&now["updates"], &now["snapshots"]), (&json!([]), &json!({"app": 1})), "{now}");

    // The upstream moves on; the environment does not yet.
    let edited = answer(admin.request("PUT", "/sources/app").json(&spec(&second.url()))).await;
    assert_eq!(edited.status, 200, "{edited:?}");
    sync(admin, "app").await;
    let applicable = |v: &Value| v["items"].as_array().is_some_and(|i| i.len() == 1);
    let known = admin.wait_for("/advisories?q=LABSA", "the newest snapshot is read", applicable).await;
    assert_eq!(known["items"][0]["origins"], json!(["source app"]), "{known}");
    assert_eq!(admin.get("/instances/web-1/updates").await.body["updates"], json!([]), "prod has not got it");

    let promoted = admin.post("/environments/prod:promote", promote).await;
    assert_eq!(promoted.status, 200, "{promoted:?}");
    let one = |v: &Value| v["updates"].as_array().is_some_and(|u| u.len() == 1);
    let now = admin.wait_for("/instances/web-1/updates", "the promoted snapshot counts", one).await;
    let update = &now["updates"][0];
    assert_eq!(
        (&update["from"], &update["to"], &update["kind"]),
        (&json!("1.0-1"), &json!("2.0-1"), &json!("security")),
        "{update}"
    );
    assert_eq!((&update["advisories"], &update["severity"]), (&json!(["LABSA-2026:0001"]), &json!("Important")), "{update}");
    assert_eq!((&update["repository"], &now["snapshots"]), (&json!("drydock-app"), &json!({"app": 2})));
    let shown = admin.get("/advisories/LABSA-2026:0001").await;
    assert_eq!((&shown.body["applicable"], &shown.body["installable"]), (&json!(1), &json!(1)), "{shown:?}");
    let place = &shown.body["places"][0];
    assert_eq!(
        (&place["source"], &place["snapshot"], &place["version"]),
        (&json!("app"), &json!(2), &json!("2.0-1")),
        "{shown:?}"
    );
    assert_eq!(place["environments"], json!(["latest", "prod"]));
    let open = admin.get("/vulnerabilities/CVE-2026-7777").await;
    assert_eq!(open.body["summary"]["installable"], 1, "{open:?}");
    assert_eq!(open.body["places"][0]["package"], "dd-app", "{open:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_job_by_severity_names_the_packages_of_each_host() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    let host = alma_host(&server, "web-1", &[("bash", "4.4.20-4.el8"), ("zlib", "1.2.11-25.el8")]).await;
    let fine = alma_host(&server, "web-2", &[("bash", "4.4.20-5.el8")]).await;
    let mut low = osv("ALSA-2026:0002", "zlib", "0:1.2.11-26.el8", "CVE-2026-0002");
    low["summary"] = json!("Low: zlib security update");
    let feed = lines(&[osv("ALSA-2026:0001", "bash", "0:4.4.20-5.el8", "CVE-2026-0001"), low]);
    assert_eq!(import(admin, "alma8", "", feed).await.status, 200);
    admin
        .wait_for("/advisories?applicable=true", "both are known", |v| v["items"].as_array().is_some_and(|i| i.len() == 2))
        .await;
    let job = admin.patch_job(json!({"instanceFilter": {"all": true}, "patchConfig": {"minSeverity": "IMPORTANT"}})).await;
    let order = host.pull_one().await;
    let packages = order.task.config.packages.expect("named packages");
    assert_eq!(packages.update, ["bash.x86_64"], "its own repositories decide which version");
    assert_eq!(order.task.config.min_severity, None);
    // The other host has nothing to do: its task ends when it asks for work.
    let link = fine.link().await;
    let path = format!("/patch-jobs/{}/tasks", job["id"].as_str().expect("an id"));
    let ended = wait_until("web-2 is done", async || {
        link.clone().pull_work(tonic::Request::new(Default::default())).await.expect("pulled");
        let tasks = admin.get(&path).await.body;
        let own = tasks["items"].as_array()?.iter().find(|t| t["instanceName"] == "web-2")?.clone();
        (own["state"] == "SUCCEEDED").then_some(own)
    })
    .await;
    assert!(ended["message"].as_str().is_some_and(|m| m.contains("nothing to do")), "{ended}");
}

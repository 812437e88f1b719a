//! Exceptions, days to close vulnerabilities in, bills of materials and VEX over REST.

use drydock_api::agent::v1::ReportInventoryRequest;
use drydock_api::agent::v1::section_report::Body;
use drydock_domain::inventory::{ManagerKind, Package, PackageSet, SectionKind, fingerprint};
use serde_json::{Value, json};

use crate::advisories::{import, lines, osv};
use crate::support::{Agent, Person, TestServer, answer};

/// A host of AlmaLinux 8 with one package.
async fn alma_host(server: &TestServer, name: &str, package: &str, version: &str) {
    let token = server.enrolment_token(true).await;
    let mut agent = Agent::new(server.running.addr, &server.running.ca_pem, name);
    agent.os.managers = vec![ManagerKind::Dnf];
    agent.os.architecture = "x86_64".to_owned();
    (agent.os.short_name, agent.os.version) = ("almalinux".to_owned(), "8.10".to_owned());
    agent.enrol(&token).await.expect("enrolled");
    let mut sections = agent.sections(&[(package, version)]);
    let own = Package { name: package.into(), arch: "x86_64".into(), version: version.into(), ..Package::default() };
    let body = serde_json::to_vec(&PackageSet::new(vec![own])).expect("JSON");
    for section in sections.iter_mut().filter(|s| s.kind == SectionKind::Packages.as_str()) {
        section.fingerprint = fingerprint(&body);
        section.body = Some(Body::Full(body.clone()));
    }
    let request = ReportInventoryRequest { sections, ..Default::default() };
    agent.link().await.report_inventory(request).await.expect("stored");
}

/// Two hosts on which CVE-2026-0001 is open.
async fn world() -> TestServer {
    let server = TestServer::start().await;
    alma_host(&server, "web-1", "bash", "4.4.20-4.el8").await;
    alma_host(&server, "web-2", "bash", "4.4.20-4.el8").await;
    let feed = lines(&[osv("ALSA-2026:0001", "bash", "0:4.4.20-5.el8", "CVE-2026-0001"), osv("A-2", "xz", "0:5-2", "CVE-2")]);
    assert_eq!(import(&server.admin, "alma8", "", feed).await.status, 200);
    let both = |v: &Value| v["items"][0]["hosts"] == 2;
    server.admin.wait_for("/vulnerabilities", "both hosts are looked at", both).await;
    server
}

async fn text(person: &Person, path: &str) -> (String, String) {
    let response = person.request("GET", path).send().await.expect("an answer");
    let kind = response.headers()["content-type"].to_str().expect("a type").to_owned();
    (kind, response.text().await.expect("a text"))
}

fn until() -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(48)).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vulnerability_is_accepted_on_a_host_and_taken_back() {
    let server = world().await;
    let admin = &server.admin;
    let exception = json!({"cve": "CVE-2026-0001", "scope": {"instance": "web-1"}, "reason": "=1+1, no shell", "until": until()});
    let made = admin.post("/vulnerability-exceptions", exception.clone()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.body["id"].as_str().expect("an id").to_owned();
    assert_eq!(made.headers["location"], format!("/api/v1/vulnerability-exceptions/{id}").as_str());
    assert_eq!((&made.body["hosts"], &made.body["owner"]), (&json!(1), &made.body["createdBy"]));

    let row = admin.get("/vulnerabilities").await.body["items"][0].clone();
    assert_eq!((&row["hosts"], &row["excepted"], &row["severity"]), (&json!(1), &json!(1), &json!("IMPORTANT")), "{row}");
    assert!(row["due"].is_string(), "{row}");
    assert_eq!(admin.get("/instances/web-1/vulnerabilities").await.body["items"], json!([]));
    let marked = admin.get("/instances/web-1/vulnerabilities?excepted=true").await;
    assert_eq!(marked.body["items"][0]["exception"]["id"], id.as_str(), "{marked:?}");
    let hosts = admin.get("/vulnerabilities/CVE-2026-0001/instances").await;
    assert_eq!((&hosts.body["items"][0]["name"], &hosts.body["items"][1]), (&json!("web-2"), &Value::Null), "{hosts:?}");
    let detail = admin.get("/vulnerabilities/CVE-2026-0001").await;
    assert_eq!((&detail.body["summary"]["hosts"], &detail.body["summary"]["excepted"]), (&json!(1), &json!(1)), "{detail:?}");

    let viewer = server.person("viewer").await;
    assert_eq!(viewer.get(&format!("/vulnerability-exceptions/{id}")).await.body["cve"], "CVE-2026-0001");
    let (kind, csv) = text(&viewer, "/vulnerability-exceptions?format=csv").await;
    assert!(kind.starts_with("text/csv"), "{kind}");
    assert!(csv.contains("CVE-2026-0001,instance web-1,1,") && csv.contains("\"'=1+1, no shell\""), "{csv}");
    let (_, csv) = text(&viewer, "/instances/web-1/vulnerabilities?format=csv&excepted=true").await;
    assert!(csv.starts_with("id,severity,") && csv.lines().count() == 2, "{csv}");

    for (field, value) in [
        ("until", json!("2020-01-01T00:00:00Z")),
        ("reason", json!("")),
        ("cve", json!("")),
        ("scope", json!({"nobody": "x"})),
        ("colour", json!("red")),
    ] {
        let mut wrong = exception.clone();
        wrong[field] = value;
        let refused = admin.post("/vulnerability-exceptions", wrong).await;
        assert_eq!(refused.status, 400, "{field}: {refused:?}");
    }
    let path = format!("/vulnerability-exceptions/{id}");
    let edited = answer(admin.request("PATCH", &path).json(&json!({"owner": "pat", "reason": "longer"}))).await;
    assert_eq!((edited.status, &edited.body["owner"], &edited.body["reason"]), (200, &json!("pat"), &json!("longer")));
    assert_eq!(admin.get(&path).await.body["owner"], "pat");
    for wrong in [json!({}), json!({"until": "2020-01-01T00:00:00Z"}), json!({"cve": "CVE-2026-9"})] {
        let refused = answer(admin.request("PATCH", &path).json(&wrong)).await;
        assert_eq!(refused.status, 400, "{wrong}: {refused:?}");
    }
    assert_eq!(answer(admin.request("DELETE", &format!("/vulnerability-exceptions/{id}"))).await.status, 204);
    assert_eq!(admin.get("/vulnerabilities").await.body["items"][0]["hosts"], 2, "at once");
    assert_eq!(admin.get(&format!("/vulnerability-exceptions/{id}")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_set_by_severity() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    let shipped = json!({"critical": 7, "important": 30, "moderate": 90, "low": 180});
    assert_eq!(admin.get("/vulnerability-sla").await.body, shipped);
    let wanted = json!({"critical": 1, "important": 14});
    let set = answer(admin.request("PUT", "/vulnerability-sla").json(&wanted)).await;
    assert_eq!((set.status, &set.body), (200, &wanted));
    assert_eq!(admin.get("/vulnerability-sla").await.body, wanted);
    for wrong in [json!({"critical": 0}), json!({"critical": 4000}), json!({"worst": 1})] {
        assert_eq!(answer(admin.request("PUT", "/vulnerability-sla").json(&wrong)).await.status, 400, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_has_a_bill_of_materials_and_vex_that_refers_to_it() {
    let server = world().await;
    let admin = &server.admin;
    let (kind, first) = text(admin, "/instances/web-1/sbom").await;
    assert_eq!(kind, "application/vnd.cyclonedx+json; version=1.6");
    assert_eq!(text(admin, "/instances/web-1/sbom").await.1, first, "the same until something else is installed");
    let bill: Value = serde_json::from_str(&first).expect("JSON");
    let url = "pkg:rpm/almalinux/bash@4.4.20-4.el8?arch=x86_64&distro=almalinux-8.10";
    let named = |c: &Value| c["purl"] == url;
    assert!(bill["components"].as_array().is_some_and(|c| c.iter().any(named)), "{bill}");

    let exception = json!({"cve": "CVE-2026-0001", "scope": {"all": {}}, "reason": "no shell", "until": until()});
    assert_eq!(admin.post("/vulnerability-exceptions", exception).await.status, 201);
    let (_, vex) = text(admin, "/instances/web-1/vex").await;
    let vex: Value = serde_json::from_str(&vex).expect("JSON");
    let only = &vex["vulnerabilities"][0];
    assert_eq!((&only["id"], &only["analysis"]["response"]), (&json!("CVE-2026-0001"), &json!(["will_not_fix"])), "{vex}");
    let number = bill["serialNumber"].as_str().and_then(|s| s.strip_prefix("urn:uuid:")).expect("a number");
    let link = only["affects"][0]["ref"].as_str().expect("a link");
    assert!(link.starts_with(&format!("urn:cdx:{number}/1#pkg:rpm%2Falmalinux%2Fbash%40")), "{link}");
    for path in ["/instances/none-such/sbom", "/instances/none-such/vex"] {
        assert_eq!(admin.get(path).await.status, 404, "{path}");
    }
}

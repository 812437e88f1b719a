//! Exceptions, days to close vulnerabilities in, bills of materials: what is sent, what is printed.

use serde_json::{Value, json};

use crate::documents::{before, uuid};
use crate::fake::{Answer, Fake};

fn exception() -> Value {
    json!({"id": uuid(7), "cve": "CVE-2026-0001", "scope": {"label": {"key": "env", "value": "lab"}}, "owner": "ops",
        "reason": "no route \u{1b}[2Jto it", "until": "2027-01-01T00:00:00Z", "expired": false, "hosts": 2,
        "createdBy": "admin", "createdAt": before(60)})
}

#[tokio::test]
async fn a_vulnerability_is_accepted_on_one_scope() {
    for (flag, scope) in [
        ("--label env=lab", json!({"label": {"key": "env", "value": "lab"}})),
        ("--instance web-1", json!({"instance": "web-1"})),
        ("--group lab", json!({"group": "lab"})),
        ("--all", json!({"all": {}})),
    ] {
        let fake = Fake::start().await;
        fake.json("POST /vulnerability-exceptions", &exception());
        let ran = fake.run(&format!("vulnerability except CVE-2026-0001 {flag} --until 2027-01-01 --reason lab")).await;
        assert_eq!(ran.code, 0, "{ran}");
        let sent: Value = serde_json::from_str(&fake.seen()[0].body).expect("JSON");
        assert_eq!(sent, json!({"cve": "CVE-2026-0001", "scope": scope, "reason": "lab", "until": "2027-01-01T00:00:00Z"}));
        assert!(ran.out.contains("accepted on label env=lab until 2027-01-01") && !ran.out.contains('\u{1b}'), "{ran}");
    }
    let fake = Fake::start().await;
    for line in [
        "vulnerability except CVE-1 --until 2027-01-01 --reason x",
        "vulnerability except CVE-1 --all --group g --until 2027-01-01 --reason x",
        "vulnerability except CVE-1 --all --reason x",
        "vulnerability except CVE-1 --all --until 2027-01-01",
        "vulnerability except CVE-1 --all --until soon --reason x",
    ] {
        assert_eq!(fake.run(line).await.code, 2, "{line}");
    }
}

#[tokio::test]
async fn exceptions_are_listed_and_taken_back() {
    let fake = Fake::start().await;
    let ended = json!({"scope": {"all": {}}, "expired": true, "id": uuid(8), "cve": "CVE-2026-0002", "owner": "ops", "reason": "x",
        "until": "2026-01-01T00:00:00Z", "hosts": 0, "createdBy": "admin", "createdAt": before(60)});
    fake.json("GET /vulnerability-exceptions", &json!({"items": [exception(), ended]}));
    let ran = fake.run("vulnerability exceptions").await;
    for part in ["CVE-2026-0001", "label env=lab", "2027-01-01", "all hosts", "2026-01-01 (ended)"] {
        assert!(ran.out.contains(part), "{part}: {ran}");
    }
    fake.on("GET /vulnerability-exceptions?format=csv", Answer::Plain(200, "text/csv", "id,cve\r\n".into()));
    assert_eq!(fake.run("vulnerability exceptions -o csv").await.out, "id,cve\r\n");
    let path = format!("DELETE /vulnerability-exceptions/{}", uuid(7));
    fake.on(&path, Answer::Plain(204, "text/plain", String::new()));
    let ran = fake.run(&format!("vulnerability unexcept {}", uuid(7))).await;
    assert!(ran.code == 0 && ran.out.contains("counts again"), "{ran}");
}

#[tokio::test]
async fn days_that_are_not_named_stay() {
    let fake = Fake::start().await;
    let before = json!({"critical": 7, "important": 30, "moderate": 90, "low": 180});
    let after = json!({"critical": 3, "important": 30, "moderate": 90});
    fake.json("GET /vulnerability-sla", &before).json("PUT /vulnerability-sla", &after);
    let ran = fake.run("vulnerability sla set --critical 3 --low none").await;
    assert_eq!(ran.code, 0, "{ran}");
    let sent: Value = serde_json::from_str(&fake.seen()[1].body).expect("JSON");
    assert_eq!(sent, after);
    assert!(ran.out.contains("3 days") && ran.out.contains("no clock"), "{ran}");
    for line in ["vulnerability sla set", "vulnerability sla set --critical soon"] {
        assert_eq!(fake.run(line).await.code, 2, "{line}");
    }
}

#[tokio::test]
async fn what_is_overdue_or_accepted_is_said() {
    let fake = Fake::start().await;
    let row = json!({"id": "CVE-2026-0001", "severity": "CRITICAL", "hosts": 3, "installable": 3, "since": before(30 * 86_400),
        "due": "2020-01-01T00:00:00Z", "overdue": 2, "excepted": 4});
    fake.json("GET /vulnerabilities?overdue=true&excepted=true&limit=100", &json!({"items": [row]}));
    let ran = fake.run("vulnerability list --overdue --excepted").await;
    for part in ["3 (all now), 4 accepted", "2020-01-01 (passed)"] {
        assert!(ran.out.contains(part), "{part}: {ran}");
    }
    let package = json!([{"name": "bash", "arch": "x86_64", "installed": "5-1", "state": "NO_FIX"}]);
    let mark = json!({"id": uuid(7), "owner": "ops", "reason": "x", "until": "2027-01-01T00:00:00Z"});
    let rows = json!([
        {"id": "CVE-1", "severity": "LOW", "state": "NO_FIX", "due": "2020-01-01T00:00:00Z", "overdue": true, "packages": package},
        {"id": "CVE-2", "severity": "LOW", "state": "NO_FIX", "overdue": false, "exception": mark, "packages": package},
    ]);
    fake.json("GET /instances/web-1/vulnerabilities?excepted=true", &json!({"items": rows}));
    let ran = fake.run("instance vulnerabilities web-1 --excepted").await;
    assert!(ran.out.contains("overdue since 2020-01-01") && ran.out.contains("accepted until 2027-01-01"), "{ran}");
}

#[tokio::test]
async fn bills_of_materials_are_printed_as_they_are() {
    let fake = Fake::start().await;
    let document = json!({"bomFormat": "CycloneDX", "components": []});
    fake.json("GET /instances/web-1/sbom", &document).json("GET /instances/web-1/vex", &document);
    for line in ["instance sbom web-1", "instance vex web-1"] {
        let ran = fake.run(line).await;
        assert_eq!(serde_json::from_str::<Value>(&ran.out).ok(), Some(document.clone()), "{ran}");
    }
}

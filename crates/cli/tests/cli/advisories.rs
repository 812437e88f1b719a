//! Advisories and vulnerabilities: what is asked, what is sent, what is printed.

use serde_json::{Value, json};

use crate::documents::{before, uuid};
use crate::fake::{Answer, Fake};

fn feed() -> Value {
    json!({"name": "alma8", "kind": "osv", "complete": true, "advisories": 3237, "vulnerabilities": 0, "statements": 0,
        "findingsTotal": 2, "importedBy": "admin", "importedAt": before(60), "createdAt": before(86_400)})
}

fn report(unchanged: bool) -> Value {
    json!({"feed": feed(), "unchanged": unchanged, "documents": 3237, "added": 12, "changed": 3, "withdrawn": 1, "leftOut": 2,
        "findings": [{"entry": "ALSA-1", "problem": "has \u{1b}[2Jno id", "count": 2}]})
}

fn advisory() -> Value {
    json!({"id": "ALSA-2026:0001", "kind": "SECURITY", "severity": "IMPORTANT", "title": "bash \u{1b}[2Jupdate",
        "issued": before(86_400), "withdrawn": false, "cves": ["CVE-1", "CVE-2", "CVE-3", "CVE-4"],
        "origins": ["feed alma8"], "applicable": 12, "installable": 8})
}

#[tokio::test]
async fn files_are_imported_into_feeds_named_after_them() {
    let fake = Fake::start().await;
    fake.json("POST /advisory-feeds/alma8-osv:import", &report(false))
        .json("POST /advisory-feeds/alma8-osv:import", &report(true))
        .json("POST /advisory-feeds/vex:import?kind=csaf&partial=true", &report(false));
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("alma8-osv.jsonl");
    std::fs::write(&file, "{}").expect("written");
    let file = file.display();
    let ran = fake.run(&format!("advisory import {file}")).await;
    assert_eq!(ran.code, 0, "{ran}");
    assert!(ran.out.contains("12 new, 3 changed, 1 withdrawn") && ran.out.contains("has ·[2Jno id"), "{ran}");
    assert_eq!(fake.seen()[0].body, "{}");
    let ran = fake.run(&format!("advisory import {file}")).await;
    assert!(ran.out.contains("nothing changed"), "{ran}");
    let ran = fake.run(&format!("advisory import --feed vex --partial --kind csaf {file}")).await;
    assert_eq!(ran.code, 0, "{ran}");
    for line in [format!("advisory import --feed vex {file} {file}"), format!("advisory import --partial {file}")] {
        assert_eq!(fake.run(&line).await.code, 2, "{line}");
    }
}

#[tokio::test]
async fn advisories_are_listed_by_what_is_asked() {
    let fake = Fake::start().await;
    fake.json(
        "GET /advisories?kind=SECURITY&severity=IMPORTANT&package=bash&applicable=true&limit=100",
        &json!({"items": [advisory()]}),
    );
    let ran = fake.run("advisory list --kind security --severity important --package bash --applicable").await;
    assert_eq!(ran.code, 0, "{ran}");
    assert!(ran.out.contains("ALSA-2026:0001") && ran.out.contains("12 (8 now)") && ran.out.contains("CVE-3 +1"), "{ran}");
    assert!(!ran.out.contains('\u{1b}'), "what an upstream wrote reaches no terminal: {ran}");
    fake.on("GET /advisories?format=csv", Answer::Plain(200, "text/csv", "id\r\nALSA-2026:0001\r\n".into()));
    let ran = fake.run("advisory list -o csv").await;
    assert_eq!(ran.out, "id\r\nALSA-2026:0001\r\n", "{ran}");
}

#[tokio::test]
async fn an_advisory_tells_where_it_is_needed_and_to_be_had() {
    let fake = Fake::start().await;
    let detail = json!({"advisory": {"id": "ALSA-2026:0001", "kind": "SECURITY", "severity": "IMPORTANT", "cves": ["CVE-1"],
            "rebootSuggested": true, "description": "text"},
        "origins": ["feed alma8"], "applicable": 2, "installable": 1,
        "places": [{"package": "bash", "version": "5-2", "source": "base", "snapshot": 7, "environments": ["latest", "prod"]}]});
    let host = json!({"id": uuid(1), "name": "web-1", "installable": true, "packages": [
        {"name": "bash", "arch": "x86_64", "installed": "5-1", "fixed": "5-2", "installable": true}]});
    fake.json("GET /advisories/ALSA-2026:0001", &detail)
        .json("GET /advisories/ALSA-2026:0001/instances?limit=100", &json!({"items": [host]}));
    let ran = fake.run("advisory show ALSA-2026:0001").await;
    assert_eq!(ran.code, 0, "{ran}");
    for part in ["bash 5-2: snapshot 7 of base, seen in latest, prod", "reboot", "web-1", "bash 5-1 → 5-2", "2 (1 now)"] {
        assert!(ran.out.contains(part), "{part}: {ran}");
    }
}

#[tokio::test]
async fn vulnerabilities_are_listed_and_a_hosts_too() {
    let fake = Fake::start().await;
    let open = json!({"id": "CVE-2026-0001", "severity": "CRITICAL", "cvss": {"version": "3.1", "tenths": 98},
        "kev": {"added": "2026-11-01", "ransomware": true}, "epss": {"millionths": 940_000, "percentileMillionths": 990_000},
        "hosts": 3, "installable": 3, "since": before(172_800)});
    fake.json("GET /vulnerabilities?exploited=true&limit=100", &json!({"items": [open]}));
    let ran = fake.run("vulnerability list --exploited").await;
    assert_eq!(ran.code, 0, "{ran}");
    for part in ["CVE-2026-0001", "critical", "9.8", "ransomware", "94%", "3 (all now)", "2d ago"] {
        assert!(ran.out.contains(part), "{part}: {ran}");
    }
    let own = json!({"id": "CVE-2026-0001", "severity": "CRITICAL", "state": "NO_FIX", "since": before(60), "packages": [
        {"name": "bash", "arch": "x86_64", "installed": "5-1", "state": "NO_FIX"}]});
    fake.json("GET /instances/web-1/vulnerabilities", &json!({"items": [own]}));
    let ran = fake.run("instance vulnerabilities web-1").await;
    assert!(ran.code == 0 && ran.out.contains("NO_FIX") && ran.out.contains("bash 5-1"), "{ran}");
    fake.json("GET /vulnerabilities:summary", &json!({"hosts": 10, "served": 8, "withSecurityUpdates": 2,
        "advisories": {"CRITICAL": 1, "LOW": 2}, "installableAdvisories": {}, "vulnerabilities": {"IMPORTANT": 4}, "exploited": 1}));
    let ran = fake.run("vulnerability summary").await;
    assert!(ran.out.contains("10 hosts, 8 see") && ran.out.contains("3 (1 critical, 2 low) needed"), "{ran}");
}

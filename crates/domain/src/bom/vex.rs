//! How vulnerabilities stand on a host, as CycloneDX VEX. The packages are named in the host's bill of materials; this document
//! refers to them there (BOM-Link).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::purl::{encoded, purl};
use super::{Host, head, serial};
use crate::advisory::open::{AffectedPackage, InstanceVulnerability};
use crate::advisory::{Cvss, CvssVersion, Severity};
use crate::applicability::{OpenState, SettledVulnerability};
use crate::inventory::Package;

/// What is open on a host (accepted ones too, and they say so), and what concerns it and is settled there.
pub fn vex(
    host: &Host<'_>,
    open: &[InstanceVulnerability],
    settled: &[SettledVulnerability],
    now: Timestamp,
    tool_version: &str,
) -> Value {
    let installed: Installed<'_> =
        host.packages.as_slice().iter().map(|p| ((p.name.as_str(), p.arch.as_str(), p.version.as_str()), p)).collect();
    let mut sorted: BTreeMap<&str, Value> = settled.iter().map(|v| (v.id.as_str(), over(host, &installed, v))).collect();
    // What is open in one package is open, whatever is said of others.
    sorted.extend(open.iter().map(|v| (v.id.as_str(), entry(host, &installed, v))));
    let entries: Vec<Value> = sorted.into_values().collect();
    let digest = serde_json::to_string(&entries).unwrap_or_default();
    let number = serial(&format!("vex {} {now} {digest}", host.serial));
    let mut document = head(number, now, tool_version, host);
    document["vulnerabilities"] = json!(entries);
    document
}

type Installed<'a> = BTreeMap<(&'a str, &'a str, &'a str), &'a Package>;

/// Links to packages (name, architecture, version) in the bill of materials. A report may be newer than the inventory that is
/// read here; what is in both is named.
fn links<'a>(
    host: &Host<'_>,
    installed: &Installed<'_>,
    packages: impl Iterator<Item = (&'a str, &'a str, &'a str)>,
    status: &str,
) -> Vec<Value> {
    let serial = host.serial;
    let mut links: BTreeMap<String, Value> = BTreeMap::new();
    for own in packages.filter_map(|package| installed.get(&package)) {
        let reference = purl(host.os, host.scheme(), own);
        let link = format!("urn:cdx:{serial}/1#{}", encoded(&reference));
        links.insert(link.clone(), json!({"ref": link, "versions": [{"version": own.version, "status": status}]}));
    }
    links.into_values().collect()
}

/// One that is settled.
fn over(host: &Host<'_>, installed: &Installed<'_>, v: &SettledVulnerability) -> Value {
    let packages = v.packages.iter().map(|p| (p.name.as_str(), p.arch.as_str(), p.installed.as_str()));
    let (state, detail) = match v.affected {
        true => ("resolved", "the fix is installed"),
        false => ("not_affected", "the vendor says so"),
    };
    let detail = match v.justification.is_empty() {
        true => detail.to_owned(),
        false => format!("{detail}: {}", v.justification),
    };
    json!({
        "bom-ref": v.id,
        "id": v.id,
        "analysis": {"state": state, "detail": detail},
        "affects": links(host, installed, packages, "unaffected"),
    })
}

fn entry(host: &Host<'_>, installed: &Installed<'_>, v: &InstanceVulnerability) -> Value {
    let packages = v.packages.iter().map(|p| (p.name.as_str(), p.arch.as_str(), p.installed.as_str()));
    let mut entry = json!({
        "bom-ref": v.id,
        "id": v.id,
        "ratings": ratings(v),
        "analysis": analysis(v),
        "affects": links(host, installed, packages, "affected"),
    });
    if v.id.starts_with("CVE-") {
        entry["source"] = json!({"name": "NVD", "url": format!("https://nvd.nist.gov/vuln/detail/{}", encoded(&v.id))});
    }
    let mut advisories: Vec<&str> = v.packages.iter().filter_map(|p| p.advisory.as_deref()).collect();
    advisories.sort_unstable();
    advisories.dedup();
    let fixes: Vec<String> = v.packages.iter().filter_map(fix).collect();
    if !fixes.is_empty() {
        entry["recommendation"] = json!(fixes.join("; "));
    }
    let mut properties = vec![json!({"name": "drydock:state", "value": v.state.as_str()})];
    properties.extend(advisories.iter().map(|id| json!({"name": "drydock:advisory", "value": id})));
    let times = [("since", v.since), ("due", v.due), ("exceptedUntil", v.exception.as_ref().map(|e| e.until))];
    for (name, at) in times {
        if let Some(at) = at {
            properties.push(json!({"name": format!("drydock:{name}"), "value": super::seconds(at)}));
        }
    }
    if let Some(kev) = &v.kev {
        properties.push(json!({"name": "drydock:knownExploitedSince", "value": kev.added.to_string()}));
    }
    entry["properties"] = json!(properties);
    entry
}

fn fix(package: &AffectedPackage) -> Option<String> {
    package.fixed.as_ref().map(|fixed| format!("update {} to {fixed} or later", package.name))
}

fn ratings(v: &InstanceVulnerability) -> Vec<Value> {
    let mut out = vec![json!({"severity": severity(v.severity)})];
    if let Some(cvss) = &v.cvss {
        out.push(rating(cvss));
    }
    out
}

fn rating(cvss: &Cvss) -> Value {
    let mut rating = Map::new();
    let method = match cvss.version {
        CvssVersion::V2 => "CVSSv2",
        CvssVersion::V3 if cvss.vector.starts_with("CVSS:3.0/") => "CVSSv3",
        CvssVersion::V3 => "CVSSv31",
        CvssVersion::V4 => "CVSSv4",
    };
    rating.insert("method".into(), json!(method));
    rating.insert("score".into(), json!(f64::from(cvss.tenths) / 10.0));
    rating.insert("severity".into(), json!(severity(Severity::of_score(cvss.tenths))));
    if !cvss.vector.is_empty() {
        rating.insert("vector".into(), json!(cvss.vector));
    }
    if !cvss.by.is_empty() {
        rating.insert("source".into(), json!({"name": cvss.by}));
    }
    Value::Object(rating)
}

/// CycloneDX's words, which are CVSS's.
fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Unknown => "unknown",
        Severity::Negligible => "none",
        Severity::Low => "low",
        Severity::Moderate => "medium",
        Severity::Important => "high",
        Severity::Critical => "critical",
    }
}

fn analysis(v: &InstanceVulnerability) -> Value {
    let (state, mut response, detail) = match v.state {
        OpenState::AwaitsReboot => ("exploitable", vec!["update"], "the fix is installed; the running kernel is older: reboot"),
        OpenState::Installable => ("exploitable", vec!["update"], "a fix can be installed from what the host sees"),
        OpenState::Applicable => {
            ("exploitable", vec!["update"], "a fix exists; what the host sees does not have it, or it is held")
        }
        OpenState::UnderInvestigation => ("in_triage", vec![], "the vendor still looks whether the package is touched"),
        OpenState::NoFix => ("exploitable", vec![], "the vendor has no fix yet"),
        OpenState::WontFix => ("exploitable", vec!["will_not_fix"], "the vendor will not fix it here"),
    };
    let mut details = vec![detail.to_owned()];
    let mut said: Vec<&str> = v.packages.iter().map(|p| p.justification.as_str()).filter(|j| !j.is_empty()).collect();
    said.sort_unstable();
    said.dedup();
    if !said.is_empty() {
        details.push(format!("vendor: {}", said.join("; ")));
    }
    if let Some(mark) = &v.exception {
        if !response.contains(&"will_not_fix") {
            response = vec!["will_not_fix"];
        }
        details.push(format!("accepted by {} until {}: {}", mark.owner, super::seconds(mark.until), mark.reason));
    }
    let mut analysis = json!({"state": state, "detail": details.join(". ")});
    if !response.is_empty() {
        analysis["response"] = json!(response);
    }
    analysis
}

#[cfg(test)]
mod tests {
    use super::super::tests::{host, leave, os, packages};
    use super::*;
    use crate::advisory::exception::ExceptionMark;
    use crate::applicability::SettledPackage;
    use crate::ids::ExceptionId;

    fn open(id: &str, state: OpenState) -> InstanceVulnerability {
        let since = "2026-11-01T00:00:00Z".parse().ok();
        let package = AffectedPackage {
            name: "bash".into(),
            arch: "x86_64".into(),
            installed: "4.4.20-4.el8".into(),
            fixed: (state <= OpenState::Applicable).then(|| "4.4.20-5.el8".into()),
            advisory: (state <= OpenState::Applicable).then(|| "ALSA-2026:0001".into()),
            state,
            justification: if state == OpenState::WontFix { "Out of support scope".into() } else { String::new() },
        };
        let cvss = Cvss {
            version: CvssVersion::V3,
            tenths: 98,
            vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H".into(),
            by: "redhat".into(),
        };
        InstanceVulnerability {
            id: id.into(),
            severity: Severity::Important,
            cvss: Some(cvss),
            kev: None,
            epss: None,
            state,
            since,
            due: "2026-12-01T00:00:00Z".parse().ok(),
            overdue: false,
            exception: None,
            packages: vec![package],
        }
    }

    #[test]
    fn each_state_has_its_word() {
        let mark = ExceptionMark {
            id: ExceptionId(uuid::Uuid::from_u128(9)),
            owner: "ops".into(),
            reason: "no route to it".into(),
            until: "2027-01-01T00:00:00Z".parse().expect("a time"),
        };
        let mut all: Vec<InstanceVulnerability> =
            OpenState::ALL.into_iter().enumerate().map(|(n, state)| open(&format!("CVE-2026-000{n}"), state)).collect();
        all.push(InstanceVulnerability { exception: Some(mark), ..open("CVE-2026-0009", OpenState::Installable) });
        all.reverse();
        let (os, packages) = (os(), packages());
        let host = host(&os, &packages);
        let now = "2026-11-23T01:00:00Z".parse().expect("a time");
        let settled = |id: &str, affected, justification: &str| SettledVulnerability {
            id: id.into(),
            affected,
            justification: justification.into(),
            packages: vec![SettledPackage { name: "zlib".into(), arch: "x86_64".into(), installed: "1.2.11-25.el8".into() }],
        };
        let settled = [
            settled("CVE-2025-0002", false, "vulnerable_code_not_present"),
            settled("CVE-2025-0001", true, ""),
            settled("CVE-2026-0001", true, ""),
        ];
        let document = vex(&host, &all, &settled, now, "0.1.0");
        leave("vex.json", &document);
        let told: Vec<(&str, &Value)> = document["vulnerabilities"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|v| (v["analysis"]["state"].as_str().expect("a state"), &v["analysis"]["response"]))
            .collect();
        let (update, wont, none) = (json!(["update"]), json!(["will_not_fix"]), Value::Null);
        assert_eq!(
            told,
            [
                ("resolved", &none),
                ("not_affected", &none),
                ("exploitable", &update),
                ("exploitable", &update),
                ("exploitable", &update),
                ("in_triage", &none),
                ("exploitable", &none),
                ("exploitable", &wont),
                ("exploitable", &wont),
            ]
        );
        // What it refers to is in the bill of materials.
        let bill = super::super::sbom(&host, "0.1.0");
        let number = bill["serialNumber"].as_str().and_then(|s| s.strip_prefix("urn:uuid:")).expect("a number");
        let link = document["vulnerabilities"][2]["affects"][0]["ref"].as_str().expect("a link");
        let name = link.strip_prefix(&format!("urn:cdx:{number}/1#")).expect("a link to the bill");
        let named = |c: &Value| c["bom-ref"].as_str().is_some_and(|r| encoded(r) == name);
        assert!(bill["components"].as_array().expect("a list").iter().any(named), "{link}");
        let accepted = &document["vulnerabilities"][8];
        assert_eq!((&accepted["id"], &accepted["bom-ref"]), (&json!("CVE-2026-0009"), &json!("CVE-2026-0009")));
        let detail = accepted["analysis"]["detail"].as_str().expect("a text");
        assert!(detail.ends_with("accepted by ops until 2027-01-01T00:00:00Z: no route to it"), "{detail}");
        assert_eq!(accepted["recommendation"], "update bash to 4.4.20-5.el8 or later");
        assert_eq!(accepted["ratings"][0], json!({"severity": "high"}));
        let rating = &accepted["ratings"][1];
        assert_eq!(
            (&rating["method"], &rating["score"], &rating["severity"]),
            (&json!("CVSSv31"), &json!(9.8), &json!("critical"))
        );
        let free = &document["vulnerabilities"][1];
        assert_eq!(free["analysis"]["detail"], "the vendor says so: vulnerable_code_not_present");
        assert_eq!(free["affects"][0]["versions"][0], json!({"version": "1.2.11-25.el8", "status": "unaffected"}));
        assert_eq!(vex(&host, &all, &settled, now, "0.1.0").to_string(), document.to_string(), "the same bytes");
    }
}

//! Compliance, drift and secrets: what is asked, what is printed, what is never printed.

use drydock_api::rest::{
    AssignmentCompliance, ComplianceCounts, ComplianceDay, ComplianceInterval, ComplianceResult, FleetCompliance, HostCompliance,
    HostDriftEvent, HostPolicyStanding, Page, PolicyCompliance, PolicyProblem, PolicySecret, ResourceCompliance,
};
use drydock_domain::ids::InstanceId;
use drydock_domain::policy::ComplianceState;
use drydock_domain::policy::report::{DriftEvent, DriftOutcome, Evidence, ResourceResult, StepKind, StepOutcome, StepResult};
use insta::assert_snapshot;
use serde_json::Value;

use crate::documents::*;
use crate::fake::{Answer, Fake};

fn result(policy: &str, state: ComplianceState, reason: &str) -> ComplianceResult {
    ComplianceResult {
        instance: InstanceId(uuid(1)),
        instance_name: "web-1".into(),
        zone: "a".into(),
        assignment: "web".into(),
        revision: 3,
        policy: policy.into(),
        state,
        reason: reason.into(),
        since: before(7200),
        checked_at: Some(before(60)),
        run: "r1".into(),
    }
}

fn step(kind: StepKind, outcome: StepOutcome, message: &str, evidence: Option<Evidence>) -> StepResult {
    StepResult { kind, outcome, duration_ms: 1234, message: message.into(), evidence }
}

/// A host with one policy that is fine and one that is not, after its `done`th check on demand.
pub fn host(done: u64) -> HostCompliance {
    let fine = ResourceResult {
        id: "pkg".into(),
        state: ComplianceState::Compliant,
        steps: vec![step(StepKind::DesiredStateCheck, StepOutcome::Succeeded, "", None)],
        ..ResourceResult::default()
    };
    let repaired = ResourceResult {
        id: "motd".into(),
        state: ComplianceState::Compliant,
        steps: vec![
            step(
                StepKind::DesiredStateCheck,
                StepOutcome::Succeeded,
                "content differs",
                Some(Evidence::Diff { text: "-a\u{1b}[2J\n+b\n".into() }),
            ),
            step(StepKind::DesiredStateEnforcement, StepOutcome::Succeeded, "written", None),
        ],
        ..ResourceResult::default()
    };
    let broken = ResourceResult {
        id: "run".into(),
        state: ComplianceState::NonCompliant,
        reason: "execution-errors".into(),
        steps: vec![
            step(
                StepKind::DesiredStateCheck,
                StepOutcome::Succeeded,
                "",
                Some(Evidence::State { old: "inactive".into(), new: "active".into() }),
            ),
            step(
                StepKind::DesiredStateEnforcement,
                StepOutcome::TimedOut,
                "it did not end in 600 s",
                Some(Evidence::Output { end: "killed".into(), text: "starting\n".into() }),
            ),
        ],
        output: "line 1\nline 2".into(),
    };
    HostCompliance {
        instance: InstanceId(uuid(1)),
        instance_name: "web-1".into(),
        state: ComplianceState::NonCompliant,
        reason: String::new(),
        generation: 9,
        reported_generation: 8,
        reported_at: Some(before(60)),
        problem: String::new(),
        problems: vec![PolicyProblem {
            assignment: "web".into(),
            policy: "tls".into(),
            resource: "conf".into(),
            message: "file.content: {{ labels.tier }}: the host has no label tier".into(),
            whole: true,
        }],
        check_asked: 4,
        check_done: done,
        policies: vec![
            HostPolicyStanding { result: result("motd", ComplianceState::Compliant, ""), resources: vec![fine, repaired] },
            HostPolicyStanding {
                result: result("run", ComplianceState::NonCompliant, "resource-execution-errors"),
                resources: vec![broken],
            },
        ],
    }
}

fn drift(outcome: DriftOutcome, ms: Option<u64>) -> HostDriftEvent {
    let event = DriftEvent {
        number: 1,
        assignment: "web".into(),
        policy: "run".into(),
        resource: "run".into(),
        seen_at: before(300),
        repaired_at: ms.map(|_| before(299)),
        what: "inactive\u{1b}[2J".into(),
        noticed_by: "unit signal".into(),
        cause: if ms.is_none() { "apt-get remove".into() } else { String::new() },
        outcome,
    };
    HostDriftEvent { instance: InstanceId(uuid(1)), instance_name: "web-1".into(), event, time_to_repair_ms: ms }
}

fn page<T>(items: Vec<T>) -> Page<T> {
    Page { items, next_cursor: None }
}

#[tokio::test]
async fn the_fleet_and_one_host_are_shown() {
    let fake = Fake::start().await;
    let counts = ComplianceCounts { compliant: 8, non_compliant: 1, unknown: 0 };
    let fleet = FleetCompliance {
        hosts: counts,
        without_policies: 2,
        assignments: vec![AssignmentCompliance { assignment: "web".into(), hosts: counts }],
        reasons: [("flapping".to_owned(), 1)].into(),
        drift_events: 7,
        drift_repaired: 6,
    };
    fake.json("GET /compliance", &fleet).json("GET /instances/web-1/compliance", &host(3));
    assert_snapshot!("compliance_summary", fake.run("compliance summary").await);
    let ran = fake.run("compliance show web-1").await;
    assert_snapshot!("compliance_show", ran);
    assert!(!ran.out.contains('\u{1b}'), "what a host says does not reach the terminal as it is");
    let ran = fake.run("compliance show web-1 --assignment other -o json").await;
    let told: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((told["policies"].as_array().map(Vec::len), &told["state"]), (Some(0), &Value::from("NON_COMPLIANT")));
}

#[tokio::test]
async fn lists_are_filtered_by_the_server_and_exported() {
    let fake = Fake::start().await;
    let results = page(vec![result("run", ComplianceState::NonCompliant, "flapping")]);
    fake.json(
        "GET /compliance/results?instance=web-1&assignment=web&policy=run&state=NON_COMPLIANT&reason=flapping&limit=1000",
        &results,
    );
    let line = "compliance list --host web-1 --assignment web --policy run --state non-compliant --reason flapping";
    assert_snapshot!("compliance_list", fake.run(line).await);
    // The export is the server's own.
    let export =
        "GET /compliance/results?instance=web-1&assignment=web&policy=run&state=NON_COMPLIANT&reason=flapping&format=csv";
    fake.on(export, Answer::Plain(200, "text/csv", "host,state\r\nweb-1,NON_COMPLIANT\r\n".into()));
    let ran = fake.run(&format!("{line} -o csv")).await;
    assert_eq!(ran.out, "host,state\r\nweb-1,NON_COMPLIANT\r\n", "{ran}");
    let ran = fake.run(&format!("{line} -o json")).await;
    let told: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((&told[0]["state"], &told[0]["policy"]), (&Value::from("NON_COMPLIANT"), &Value::from("run")));

    let counts = ComplianceCounts { compliant: 199, non_compliant: 1, unknown: 0 };
    let policy = PolicyCompliance { assignment: "web".into(), policy: "run".into(), hosts: counts };
    fake.json("GET /compliance/policies?assignment=web", &page(vec![policy]));
    let resource = ResourceCompliance { assignment: "web".into(), policy: "run".into(), resource: "httpd".into(), hosts: counts };
    fake.json("GET /compliance/resources?assignment=web&policy=run", &page(vec![resource]));
    let interval = |until: Option<i64>| ComplianceInterval {
        instance: InstanceId(uuid(1)),
        instance_name: "web-1".into(),
        assignment: "web".into(),
        policy: "run".into(),
        state: if until.is_some() { ComplianceState::Compliant } else { ComplianceState::NonCompliant },
        reason: String::new(),
        since: before(until.map_or(60, |u| u + 3600)),
        until: until.map(before),
    };
    fake.json("GET /compliance/history?instance=web-1&limit=100", &page(vec![interval(None), interval(Some(60))]));
    let day = |day: &str, counts| ComplianceDay { day: day.into(), counts, drift_events: 2 };
    let days = vec![day("2026-11-18", counts), day("2026-11-19", ComplianceCounts::default())];
    fake.json("GET /compliance/trend?assignment=web&days=2", &page(days));
    let mut text = String::new();
    for line in [
        "compliance policies --assignment web",
        "compliance resources --assignment web --policy run",
        "compliance history --host web-1",
        "compliance trend --assignment web --days 2",
    ] {
        text += &format!("$ {line}\n{}", fake.run(line).await);
    }
    assert_snapshot!("compliance_lists", text);
}

#[tokio::test]
async fn drift_is_listed_with_the_time_to_repair() {
    let fake = Fake::start().await;
    let events = page(vec![drift(DriftOutcome::Repaired, Some(140)), drift(DriftOutcome::Flapping, None)]);
    fake.json(
        "GET /drift-events?instance=web-1&outcome=REPAIRED&since=2026-11-18T22%3A00%3A00Z&limit=100",
        &page(vec![drift(DriftOutcome::Repaired, Some(61_000))]),
    );
    fake.json("GET /drift-events?instance=web-1&limit=100", &events);
    assert_snapshot!("compliance_drift", fake.run("compliance drift --host web-1").await);
    let ran = fake.run("compliance drift --host web-1 --outcome repaired --since 24h").await;
    assert!(ran.out.contains("1m 01s"), "{ran}");
    let ran = fake.run("compliance drift --host web-1 -o json").await;
    let told: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(
        (&told[0]["resource"], &told[0]["outcome"], told[0]["repairedAt"].is_string()),
        (&"run".into(), &"REPAIRED".into(), true)
    );
}

#[tokio::test]
async fn secrets_come_from_standard_input_or_a_file_and_are_never_printed() {
    let fake = Fake::start().await;
    let secret = PolicySecret {
        name: "db".into(),
        compartment: "/".into(),
        version: 2,
        updated_by: "alice".into(),
        created_at: before(86_400),
        updated_at: before(60),
    };
    fake.json("PUT /secrets/db", &secret).json("GET /secrets", &page(vec![secret]));
    fake.on("DELETE /secrets/db", Answer::Plain(204, "application/json", String::new()));
    let ran = fake.prepared().input("hunter2\n").run("secret set db").await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "Secret db is set, version 2.\n", ""));
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "-----KEY-----\nabc\n").expect("written");
    let ran = fake.run(&format!("secret set db --keep-line-break --from-file {}", file.path().display())).await;
    assert_eq!(ran.code, 0, "{ran}");
    let sent: Vec<Value> = fake.seen().iter().map(|s| serde_json::from_str(&s.body).expect("JSON")).collect();
    assert_eq!((&sent[0]["value"], &sent[1]["value"]), (&"hunter2".into(), &"-----KEY-----\nabc\n".into()));
    for (input, words) in [("", "is empty"), ("\n", "is empty"), (&"x".repeat(32_769) as &str, "longer than 32768 bytes")] {
        let ran = fake.prepared().input(input).run("secret set db").await;
        assert!(ran.code == 2 && ran.err.contains(words) && !ran.err.contains("xxx"), "{ran}");
    }
    assert_eq!(fake.run("secret set db hunter2").await.code, 2, "a value is no argument");
    assert_snapshot!("secret_list", fake.run("secret list").await);
    assert_eq!(fake.run("secret delete db").await.out, "Secret db is forgotten.\n");
}

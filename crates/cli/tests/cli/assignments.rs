//! Assignments of OS policies: what is sent, what is printed, how it ends.

use drydock_api::rest::{
    AppliedAssignment, ApplyOutcome, CheckedInstance, ComplianceCounts, ErrorKind, HostPhase, Page, PolicyAssignment,
    PolicyCheckRun, PolicyHost, PolicyPreview, PolicyRevision, PolicyRevisionDiff, PreviewHost, PreviewSource, RolloutProgress,
    RolloutState,
};
use drydock_domain::ids::{InstanceId, PreviewId};
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::policy::report::{Evidence, PolicyResult, ResourceResult, StepKind, StepOutcome, StepResult};
use drydock_domain::policy::{AssignmentHealth, ComplianceState, HealthState};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::documents::*;
use crate::fake::{Answer, Fake};

const WEB: &str = "\
name: projects/p/locations/z/osPolicyAssignments/web
osPolicies:
- id: motd
  mode: ENFORCEMENT
  resourceGroups:
  - resources:
    - {id: motd, file: {path: /etc/motd, state: CONTENTS_MATCH, content: web}}
instanceFilter: {inclusionLabels: [{labels: {role: web}}]}
rollout: {disruptionBudget: {percent: 10}, minWaitDuration: 300s}
";
const BARE: &str = "\
id: base
mode: VALIDATION
resourceGroups:
- resources:
  - {id: ssh, service: {name: ssh, running: true}}
";

fn progress(state: RolloutState, pending: u32, changing: u32, done: u32) -> RolloutProgress {
    let waiting_on = (pending > 0).then(|| ("BUDGET".to_owned(), pending)).into_iter().collect();
    RolloutProgress { state, started_at: before(600), ended_at: None, halted_because: None, pending, changing, done, waiting_on }
}

fn assignment(state: RolloutState, pending: u32, changing: u32, done: u32) -> PolicyAssignment {
    let document = serde_json::from_value(json!({
        "osPolicies": [{"id": "motd", "mode": "ENFORCEMENT", "resourceGroups": [{"resources": [
            {"id": "motd", "file": {"path": "/etc/motd", "state": "CONTENTS_MATCH", "content": "web"}}]}]}],
        "instanceFilter": {"inclusionLabels": [{"labels": {"role": "web"}}], "inventories": [{"osShortName": "debian", "osVersion": "12*"}]},
        "rollout": {"disruptionBudget": {"percent": 10}, "minWaitDuration": "300s", "haltOnNonCompliant": {"fixed": 2}},
        "variables": {"port": "80"},
    }));
    PolicyAssignment {
        name: "web".into(),
        description: "front \u{1b}[2J ends".into(),
        policies: vec!["motd".into()],
        revision: 3,
        baseline: Some(2),
        deleted: false,
        rollout: progress(state, pending, changing, done),
        compliance: ComplianceCounts { compliant: 8, non_compliant: 1, unknown: 0 },
        compartment: "/".into(),
        created_by: "alice".into(),
        created_at: before(86_400 * 3),
        updated_at: before(600),
        etag: "7".into(),
        document: Some(document.expect("a document")),
    }
}

fn host(n: u128, name: &str, phase: HostPhase, state: ComplianceState, waiting_on: Option<WaitingOn>) -> PolicyHost {
    PolicyHost {
        instance: InstanceId(uuid(n)),
        instance_name: name.into(),
        zone: "a".into(),
        revision: Some(if phase == HostPhase::Pending { 2 } else { 3 }),
        phase,
        waiting_on,
        has_since: (phase == HostPhase::Done).then(|| before(120)),
        state,
        reason: if state == ComplianceState::NonCompliant { "flapping".into() } else { String::new() },
        health: (state == ComplianceState::NonCompliant).then(|| AssignmentHealth {
            assignment: "web".into(),
            revision: 3,
            state: HealthState::Unhealthy,
            message: "unit web.service: is failed (for 30 s)".into(),
            checks: Vec::new(),
            at: before(60),
        }),
    }
}

fn hosts() -> Page<PolicyHost> {
    let budget = WaitingOn::Budget { in_use: 1, limit: 1, zone: Some("a".into()) };
    let items = vec![
        host(1, "web-1", HostPhase::Done, ComplianceState::Compliant, None),
        host(2, "web-2", HostPhase::Changing, ComplianceState::NonCompliant, None),
        host(3, "web-3", HostPhase::Pending, ComplianceState::Compliant, Some(budget)),
        host(
            4,
            "web-4",
            HostPhase::Pending,
            ComplianceState::Unknown,
            Some(WaitingOn::Unreachable { since: Some(before(9000)) }),
        ),
    ];
    Page { items, next_cursor: None }
}

fn applied(outcome: ApplyOutcome, dry_run: bool) -> AppliedAssignment {
    let assignment = (!dry_run).then(|| assignment(RolloutState::InProgress, 9, 1, 0));
    AppliedAssignment { outcome, dry_run, hosts: 10, overridden: Vec::new(), assignment }
}

fn body(fake: &Fake, n: usize) -> Value {
    serde_json::from_str(&fake.seen()[n].body).expect("JSON")
}

#[tokio::test]
async fn documents_are_applied_and_new_ones_are_made() {
    let fake = Fake::start().await;
    fake.json("PUT /policy-assignments/web?dryRun=true&reason=ticket+7", &applied(ApplyOutcome::NewRevision, true));
    let mut prepared = fake.prepared().input(WEB);
    let ran = prepared.run("policy apply - --dry-run --reason 'ticket 7'").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "Assignment web would get a new revision: 10 hosts.\n"), "{ran}");
    assert_eq!((&body(&fake, 0)["name"], &body(&fake, 0)["rollout"]["minWaitDuration"]), (&json!("web"), &json!("300s")));

    // Under another name.
    let fake = Fake::start().await;
    fake.json("PUT /policy-assignments/www", &applied(ApplyOutcome::Created, false));
    let ran = fake.prepared().input(WEB).run("policy apply - --name www").await;
    assert_eq!(ran.out, "Assignment www is made: 10 hosts, revision 3, rollout IN_PROGRESS.\n", "{ran}");
    assert_eq!(body(&fake, 0)["name"], json!("www"));

    // Programs get what the server said.
    let fake = Fake::start().await;
    fake.json("PUT /policy-assignments/web", &applied(ApplyOutcome::Unchanged, false));
    let ran = fake.prepared().input(WEB).run("policy apply - -o json").await;
    let told: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(told[0]["outcome"], "UNCHANGED");
}

#[tokio::test]
async fn a_bare_policy_says_for_which_hosts_it_is() {
    let fake = Fake::start().await;
    fake.json("PUT /policy-assignments/base", &applied(ApplyOutcome::Created, false));
    let ran = fake.prepared().input(BARE).run("policy apply -").await;
    assert!(ran.code == 2 && ran.err.contains("the bare policy base") && ran.err.contains("--in-group"), "{ran}");
    assert_eq!(fake.seen().len(), 0, "nothing is sent");
    let ran = fake
        .prepared()
        .input(BARE)
        .run(
            "policy apply - --with-label env=prod --in-group web --disruption-budget 5 --min-wait 5m --health-check \
             unit:web.service --health-check tcp:127.0.0.1:80 --health-settle 30s",
        )
        .await;
    assert_eq!(ran.code, 0, "{ran}");
    let sent = body(&fake, 0);
    assert_eq!(
        sent["instanceFilter"],
        json!({"all": false, "inclusionLabels": [{"labels": {"env": "prod"}}], "groups": ["web"]})
    );
    let health = json!({"checks": [{"unitActive": {"unit": "web.service"}}, {"tcp": {"address": "127.0.0.1:80"}}],
        "settleSecs": 30, "withinSecs": 120});
    assert_eq!(sent["rollout"], json!({"disruptionBudget": {"fixed": 5}, "minWaitDuration": "300s", "healthChecks": health}));
    let refused = fake.prepared().input(BARE).run("policy apply - --all --health-within 5m").await;
    assert!(refused.code == 2 && refused.err.contains("rollout.healthChecks.checks"), "{refused}");
}

#[tokio::test]
async fn what_is_wrong_is_told_before_a_server_is_needed() {
    let mut nobody = crate::fake::Prepared::new().input(&WEB.replace("mode: ENFORCEMENT", "mode: ENFORCE"));
    let ran = nobody.run("policy apply -").await;
    assert!(ran.code == 2 && ran.err.contains("-:4:9: osPolicies[0].mode: unknown variant"), "{ran}");
    let both = format!("{WEB}---\n{WEB}");
    let ran = crate::fake::Prepared::new().input(&both).run("policy apply -").await;
    assert!(ran.code == 2 && ran.err.contains("two documents are called web"), "{ran}");
    let ran = crate::fake::Prepared::new().input(&both).run("policy apply - --name web").await;
    assert!(ran.code == 2 && ran.err.contains("--name web is for one document"), "{ran}");
    let fake = Fake::start().await;
    let fields = [("osPolicies[0]", "file /etc/motd: web/motd/motd wants one, base/motd/motd wants another")];
    fake.error("PUT /policy-assignments/web", 409, ErrorKind::Conflict, "the assignment contradicts others", &fields);
    let ran = fake.prepared().input(WEB).run("policy apply -").await;
    assert!(ran.code == 4 && ran.err.contains("assignment web:") && ran.err.contains("file /etc/motd"), "{ran}");
}

#[tokio::test]
async fn rollouts_are_followed_to_their_end() {
    let fake = Fake::start().await;
    fake.json("PUT /policy-assignments/web", &applied(ApplyOutcome::NewRevision, false));
    for own in [
        assignment(RolloutState::InProgress, 9, 1, 0),
        assignment(RolloutState::InProgress, 9, 1, 0),
        assignment(RolloutState::InProgress, 5, 1, 4),
        assignment(RolloutState::Succeeded, 0, 0, 10),
    ] {
        fake.json("GET /policy-assignments/web", &own);
    }
    let ran = fake.prepared().input(WEB).run("policy apply - --wait").await;
    assert_snapshot!("policy_apply_wait", ran);
    // A rollout that halts ends the wait, and the exit code says so.
    let fake = Fake::start().await;
    let mut halted = assignment(RolloutState::Halted, 9, 0, 1);
    halted.rollout.halted_because = Some("2 of 2 hosts are not compliant".into());
    fake.json("GET /policy-assignments/web", &halted).json("GET /policy-assignments/web/instances?limit=100", &hosts());
    let ran = fake.run("policy show web --watch").await;
    assert!(ran.code == 1 && ran.err.contains("drydock policy resume web goes on"), "{ran}");
    // Ctrl-C leaves.
    let fake = Fake::start().await;
    fake.json("GET /policy-assignments/web", &assignment(RolloutState::InProgress, 9, 1, 0));
    let mut prepared = fake.prepared();
    let requests = fake.shared.clone();
    prepared.world.interrupt = Box::new(move || {
        let requests = requests.clone();
        Box::pin(async move {
            while requests.requests() < 3 {
                tokio::task::yield_now().await;
            }
        })
    });
    let ran = prepared.run("policy show web --watch").await;
    assert!(ran.code == 130 && ran.err.contains("the rollout goes on"), "{ran}");
}

#[tokio::test]
async fn assignments_are_listed_and_shown() {
    let fake = Fake::start().await;
    let mut deleted = assignment(RolloutState::InProgress, 1, 0, 3);
    (deleted.name, deleted.deleted, deleted.document) = ("old".into(), true, None);
    let all = Page { items: vec![assignment(RolloutState::InProgress, 2, 1, 1), deleted], next_cursor: None };
    fake.json("GET /policy-assignments?limit=1000", &all);
    fake.json("GET /policy-assignments/web", &assignment(RolloutState::InProgress, 2, 1, 1));
    fake.json("GET /policy-assignments/web/instances?limit=100", &hosts());
    assert_snapshot!("policy_list", fake.run("policy list").await);
    assert_snapshot!("policy_show", fake.run("policy show web").await);
    let ran = fake.run("policy show web -o json").await;
    let told: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(
        (&told["rollout"]["state"], &told["instances"][2]["waitingOn"]["reason"]),
        (&json!("IN_PROGRESS"), &json!("BUDGET"))
    );
    // What is printed can be applied again.
    let ran = fake.run("policy show web --document").await;
    let read = drydock_api::documents::read_policies("shown", &ran.out);
    assert_eq!((read.problems, read.documents.len()), (Vec::new(), 1), "{ran}");
    assert!(fake.run("policy list -o csv").await.out.starts_with("baseline,compartment,compliance,"));
}

#[tokio::test]
async fn revisions_are_listed_and_compared() {
    let fake = Fake::start().await;
    let revision = |number: u64, reason: &str| PolicyRevision {
        number,
        created_by: "alice".into(),
        created_at: before(600),
        reason: reason.into(),
        deleted: false,
        rollout_state: if number == 3 { RolloutState::InProgress } else { RolloutState::Succeeded },
        baseline: number == 2,
        hosts: 4,
        document: None,
    };
    let items = vec![revision(3, "ticket 7"), revision(2, "")];
    fake.json("GET /policy-assignments/web/revisions?limit=100", &Page { items, next_cursor: None });
    assert_snapshot!("policy_revisions", fake.run("policy revisions web").await);
    let diff =
        |from, to| PolicyRevisionDiff { from, to, text: "-  \"content\": \"web\"\n+  \"content\": \"www\u{1b}[2J\"\n".into() };
    fake.json("GET /policy-assignments/web", &assignment(RolloutState::Succeeded, 0, 0, 4));
    fake.json("GET /policy-assignments/web/revisions/3/diff", &diff(2, 3));
    fake.json("GET /policy-assignments/web/revisions/3/diff?with=1", &diff(1, 3));
    fake.json("GET /policy-assignments/web/revisions/2/diff?with=1", &PolicyRevisionDiff { from: 1, to: 2, text: String::new() });
    let ran = fake.run("policy diff web").await;
    assert_eq!(ran.out, "-  \"content\": \"web\"\n+  \"content\": \"www·[2J\"\n", "{ran}");
    assert_eq!(fake.run("policy diff web 1").await.code, 0);
    assert_eq!(fake.run("policy diff web 1 2").await.out, "revisions 1 and 2 are equal\n");
}

#[tokio::test]
async fn assignments_are_taken_away_and_steered() {
    let fake = Fake::start().await;
    fake.json("GET /policy-assignments/web", &assignment(RolloutState::Succeeded, 0, 0, 4));
    fake.on("DELETE /policy-assignments/web", Answer::Plain(202, "application/json", "{}".into()));
    let ran = fake.prepared().input("n\n").run("policy delete web").await;
    assert!(ran.code == 130 && ran.err.contains("Take assignment web away from 4 hosts? [y/N]"), "{ran}");
    assert!(fake.seen().iter().all(|s| !s.line.starts_with("DELETE")));
    let ran = fake.run("policy delete web --yes").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "Assignment web is taken away from 4 hosts; then it is gone.\n"), "{ran}");
    fake.json("POST /policy-assignments/web:cancel", &assignment(RolloutState::Cancelling, 2, 1, 1));
    fake.json("POST /policy-assignments/web:resume", &assignment(RolloutState::InProgress, 2, 1, 1));
    let ran = fake.run("policy cancel web").await;
    assert_eq!(ran.out, "CANCELLING  1 done, 1 changing, 2 pending (BUDGET 2)  revision 3 of web\n", "{ran}");
    assert_eq!(fake.run("policy resume web").await.code, 0);
}

#[tokio::test]
async fn a_preview_says_what_would_change_where() {
    let fake = Fake::start().await;
    let id = PreviewId(uuid(9));
    let at = |waiting, answered| PolicyPreview {
        id,
        name: "web".into(),
        compartment: "/".into(),
        created_by: "alice".into(),
        created_at: before(5),
        expires_at: before(-3600),
        hosts: 3,
        waiting,
        answered,
        from_inventory: 1,
        would_change: 2,
    };
    let diff = Evidence::Diff { text: "--- /etc/motd\n+++ /etc/motd\n-old\n+web\u{1b}[2J\n".into() };
    let step =
        |kind, evidence| StepResult { kind, outcome: StepOutcome::Succeeded, duration_ms: 3, message: String::new(), evidence };
    let changes = ResourceResult {
        id: "motd".into(),
        state: ComplianceState::NonCompliant,
        steps: vec![step(StepKind::Validation, None), step(StepKind::DesiredStateCheck, Some(diff))],
        ..ResourceResult::default()
    };
    let result = |resources: Vec<ResourceResult>| PolicyResult {
        policy: "motd".into(),
        state: ComplianceState::of_all(resources.iter().map(|r| r.state)),
        resources,
        ..PolicyResult::default()
    };
    let one = |n: u128, name: &str, source, policies: Vec<PolicyResult>, would_change| PreviewHost {
        instance: InstanceId(uuid(n)),
        instance_name: name.into(),
        source,
        at: Some(before(2)),
        problem: String::new(),
        would_change,
        policies,
    };
    let good = ResourceResult { id: "motd".into(), state: ComplianceState::Compliant, ..ResourceResult::default() };
    let items = vec![
        one(1, "web-1", PreviewSource::Host, vec![result(vec![changes.clone()])], 1),
        one(2, "web-2", PreviewSource::Host, vec![result(vec![good])], 0),
        one(3, "web-3", PreviewSource::Inventory, vec![result(vec![changes])], 1),
    ];
    fake.json("POST /policy-previews", &at(3, 0));
    fake.json(&format!("GET /policy-previews/{id}"), &at(1, 2)).json(&format!("GET /policy-previews/{id}"), &at(0, 2));
    fake.json(&format!("GET /policy-previews/{id}/instances?limit=1000"), &Page { items, next_cursor: None });
    let ran = fake.prepared().input(WEB).run("policy preview -").await;
    assert_snapshot!("policy_preview", ran);
    assert_eq!(body(&fake, 0)["name"], json!("web"));
    let ran = fake.run(&format!("policy preview --id {id} --changes -o json")).await;
    let told: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(told.as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn hosts_check_on_demand() {
    let fake = Fake::start().await;
    let instance = InstanceId(uuid(1));
    let run = PolicyCheckRun { instances: vec![CheckedInstance { instance, name: "web-1".into(), check: 4 }] };
    fake.json("POST /policy-checks", &run);
    let ran = fake.run("policy check-now --host web-1 --group web --assignment base").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "1 host asked to check now.\n"), "{ran}");
    assert_eq!(body(&fake, 0), json!({"instances": ["web-1"], "groups": ["web"], "assignment": "base"}));
    for done in [3, 4] {
        fake.json(&format!("GET /instances/{instance}/compliance"), &crate::compliance::host(done));
    }
    let ran = fake.run("policy check-now --host web-1 --wait").await;
    assert!(ran.code == 1 && ran.out.contains("NON_COMPLIANT"), "{ran}");
    assert_eq!(fake.run("policy check-now").await.code, 2);
}

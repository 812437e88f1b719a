//! `drydock access check` and `access test`: statements read and tried without a server.

use drydock_api::rest::AccessDecision;

use crate::documents::page;
use crate::fake::{Fake, Prepared};

const TEAM: &str = "\
// Team A looks after compartment A.
allow group TeamA to manage drydock-patch-jobs in compartment A
allow group TeamA to {DRYDOCK_INSTANCE_PATCH} in compartment A
  where request.utc-timestamp.day-of-week not in ('Saturday', 'Sunday')
";
const ANN: &str = "\
compartments:
- {id: acme, name: acme}
- {id: a, name: A, parent: acme}
- {id: a-web, name: web, parent: a}
principal: {type: user, name: ann, groups: [{name: TeamA}]}
resource: {compartment: a-web}
now: 2026-11-22T10:00:00Z
";
const HOST: &str = "\
principal: {type: instance, id: i-1, name: web1, labels: {role: web}}
dynamicGroups: [{name: web, rules: \"all {label.role = 'web', resource.type = 'instance'}\"}]
variables: {target.managed-instance.id: i-1}
";

#[tokio::test]
async fn statements_are_checked_with_their_places() {
    let ran = Prepared::new().input(TEAM).run("access check -").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "2 statements: no problem found\n"), "{}", ran.err);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("bad.policy");
    std::fs::write(&file, TEAM.replace("to manage", "to mange")).expect("a file");
    let ran = Prepared::new().run(&format!("access check {}", file.display())).await;
    let at = format!("{}:2:22: expected inspect, read, use, manage", file.display());
    assert!(ran.code == 2 && ran.err.contains(&at) && ran.err.contains("did you mean manage?"), "{}", ran.err);
    let ran = Prepared::new().run("access check /nowhere.policy").await;
    assert!(ran.code == 2 && ran.err.contains("cannot read /nowhere.policy"), "{}", ran.err);
}

#[tokio::test]
async fn a_request_is_tried_and_explained() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
    write("team.policy", TEAM);
    write("ann.yaml", ANN);
    let path = dir.path().display();
    let files = format!("--policies {path}/team.policy --facts {path}/ann.yaml");
    let ran = Prepared::new().run(&format!("access test DRYDOCK_PATCH_JOB_CREATE DRYDOCK_INSTANCE_PATCH {files}")).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains(&format!("DRYDOCK_PATCH_JOB_CREATE: allowed by policy {path}/team.policy, line 2")), "{}", ran.out);
    assert!(ran.out.contains("DRYDOCK_INSTANCE_PATCH: denied: no statement allows it"), "{}", ran.out);
    assert!(ran.out.contains("its condition is false") && ran.out.contains("it is 'sunday'"), "{}", ran.out);
    let ran = Prepared::new().run(&format!("access test DRYDOCK_INSTANCE_PATCH {files} -o json")).await;
    let answers: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(answers[0]["allowed"], false, "{}", ran.out);
    let ran = Prepared::new().run(&format!("access test DRYDOCK_INSTANCE_PATHC {files}")).await;
    assert!(ran.code == 2 && ran.err.contains("did you mean DRYDOCK_INSTANCE_PATCH?"), "{}", ran.err);
    write("ann.yaml", &ANN.replace("resource:", "resuorce:"));
    let ran = Prepared::new().run(&format!("access test DRYDOCK_INSTANCE_PATCH {files}")).await;
    assert!(ran.code == 2 && ran.err.contains("resuorce"), "{}", ran.err);
}

#[tokio::test]
async fn a_host_is_in_its_dynamic_groups() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
    let path = dir.path().display();
    let same = "where request.principal.id = target.managed-instance.id";
    write("agent.policy", &format!("allow dynamic-group web to {{OSMH_MANAGED_INSTANCE_ACCESS}} in tenancy {same}"));
    let run = async |facts: String| {
        write("host.yaml", &facts);
        let line =
            format!("access test OSMH_MANAGED_INSTANCE_ACCESS --policies {path}/agent.policy --facts {path}/host.yaml -o json");
        let ran = Prepared::new().run(&line).await;
        let answers: serde_json::Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}", ran.err));
        answers[0]["allowed"] == true
    };
    assert!(run(HOST.to_owned()).await);
    assert!(!run(HOST.replace("role: web", "role: db")).await, "not in the group");
    assert!(!run(HOST.replace("managed-instance.id: i-1", "managed-instance.id: i-2")).await, "another host");
}

#[tokio::test]
async fn a_server_is_asked_with_the_resource_behind_the_permissions_or_as_a_flag() {
    let fake = Fake::start().await;
    let decision = AccessDecision {
        permission: "DRYDOCK_INSTANCE_PATCH".into(),
        allowed: false,
        decision: "denied: no statement allows it".into(),
        considered: Vec::new(),
    };
    fake.json("POST /access:test", &page(vec![decision]));
    let asked = r#"{"as":"ann","permissions":["DRYDOCK_INSTANCE_PATCH"],"resource":"instance/web-1"}"#;
    for words in ["DRYDOCK_INSTANCE_PATCH instance/web-1", "DRYDOCK_INSTANCE_PATCH --resource instance/web-1"] {
        let ran = fake.run(&format!("access test --as ann {words}")).await;
        assert_eq!(fake.seen().last().expect("asked").body, asked, "{words}");
        assert!(ran.out.contains("no statement allows it"), "{}", ran.out);
    }
    let seen = fake.seen().len();
    let ran = fake.run("access test DRYDOCK_INSTANCE_PATCH /A /B").await;
    assert!(ran.err.contains("/B is a second resource") && fake.seen().len() == seen, "{}", ran.err);
}

//! Lists and pages, in all formats.

use drydock_api::rest::*;
use drydock_domain::access::Role;
use drydock_domain::enrolment::ProfileSpec;
use drydock_domain::host_rules::HostRules;
use drydock_domain::ids::{AccessTokenId, InstanceId, ProfileId};
use drydock_domain::instance::{InstanceState, PendingReason, Reachability};
use drydock_domain::inventory::*;
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::patch::job::JobState;
use drydock_domain::patch::spec::Concurrency;
use drydock_domain::patch::task::TaskState;
use insta::assert_snapshot;

use crate::documents::*;
use crate::fake::{Fake, now};

fn three() -> Vec<Instance> {
    let mut db = instance(12, "db-1");
    db.reachability = Reachability::Offline;
    db.last_seen = Some(before(3 * 3600));
    db.inventory = Some(InventorySummary { updates: 4, ..InventorySummary::default() });
    let mut fresh = instance(13, "new\u{1b}[31m-1");
    fresh.state = InstanceState::Pending;
    fresh.pending_reason = Some(PendingReason::DuplicateMachineId);
    fresh.duplicate_of = Some(InstanceId(uuid(11)));
    fresh.reachability = Reachability::NeverSeen;
    (fresh.last_seen, fresh.os, fresh.inventory, fresh.certificate_expires_at) = (None, None, None, None);
    fresh.labels.clear();
    vec![instance(11, "web-1"), db, fresh]
}

#[tokio::test]
async fn instances_as_table_json_and_yaml() {
    let fake = Fake::start().await;
    fake.json("GET /instances?limit=1000", &page(three()));
    assert_snapshot!("instance_list", fake.run("instance list").await);
    let json = fake.run("instance list -o json").await.out;
    assert_eq!(serde_json::from_str::<Vec<Instance>>(&json).expect("JSON"), three());
    let yaml = fake.run("instance list -o yaml").await.out;
    let same = |yaml: &str| serde_saphyr::from_str::<serde_json::Value>(yaml).expect("YAML");
    assert_eq!(same(&yaml), serde_json::from_str::<serde_json::Value>(&json).expect("JSON"));
    assert!(yaml.starts_with("- id: 0198c0de-0000-7000-8000-00000000000b\n"), "{yaml}");
}

#[tokio::test]
async fn filters_reach_the_server() {
    let fake = Fake::start().await;
    fake.json("GET /instances?state=PENDING&q=a%2Fb&label=env%3Dprod&label=r%3Dx+y&zone=dc1&limit=5", &page(three()));
    let ran = fake.run("instance list --state pending --name a/b --label env=prod --label 'r=x y' --zone dc1 --limit 5").await;
    assert_eq!((ran.code, ran.out.lines().count()), (0, 4), "{ran}");
}

#[tokio::test]
async fn a_filter_reaches_the_server_and_its_refusal_the_operator() {
    let fake = Fake::start().await;
    fake.json("GET /instances?filter=package+openssl+%3C+3.0.14+and+os.version+%3D+%228*%22&limit=1000", &page(three()));
    let ran = fake.run("instance list --filter 'package openssl < 3.0.14 and os.version = \"8*\"'").await;
    assert_eq!((ran.code, ran.out.lines().count()), (0, 4), "{ran}");
    let message = "column 1: there is no field \"os.verison\"; did you mean os.version?";
    let whole = format!("the request is refused: filter: {message}");
    fake.error("GET /instances?filter=os.verison+%3D+8&limit=1000", 400, ErrorKind::Invalid, &whole, &[("filter", message)]);
    let ran = fake.run("instance list --filter 'os.verison = 8'").await;
    assert!(ran.code != 0 && ran.err.contains("did you mean os.version?"), "{ran}");
}

#[tokio::test]
async fn a_job_can_be_asked_for_its_hosts() {
    let fake = Fake::start().await;
    let found = MatchedInstances {
        total: 2000,
        instances: vec![NamedInstance { id: InstanceId(uuid(5)), name: "web-1".into() }],
        not_patchable: 0,
    };
    fake.json("POST /instances:match", &found);
    let ran = fake.run("patch run --filter 'package openssl < 3' --zone z1 --list-hosts").await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "web-1\n", "2000 hosts, the first 1 by name\n"), "{ran}");
    let sent: serde_json::Value = serde_json::from_str(&fake.seen()[0].body).expect("JSON");
    assert_eq!(sent["instanceFilter"]["query"], "package openssl < 3");
    assert_eq!(sent["instanceFilter"]["zones"][0], "z1");
}

#[tokio::test]
async fn cursors_are_followed_to_the_end_or_the_limit() {
    let fake = Fake::start().await;
    let part = |name: &str, next: Option<&str>| Page { items: vec![instance(1, name)], next_cursor: next.map(Into::into) };
    fake.json("GET /instances?limit=1000", &part("a", Some("c+1")))
        .json("GET /instances?limit=1000&cursor=c%2B1", &part("b", Some("c2")))
        .json("GET /instances?limit=1000&cursor=c2", &part("c", None))
        .json("GET /instances?limit=2", &part("a", Some("c1")))
        .json("GET /instances?limit=1&cursor=c1", &part("b", Some("c2")));
    let all = fake.run("instance list").await;
    assert_eq!((all.out.lines().count(), all.err.as_str()), (4, ""), "{all}");
    let some = fake.run("instance list --limit 2").await;
    assert_eq!((some.out.lines().count(), some.err.as_str()), (3, "more instances exist; --limit 0 shows all\n"), "{some}");
}

#[tokio::test]
async fn an_empty_list_says_so_and_stays_a_document() {
    let fake = Fake::start().await;
    fake.json("GET /instances?limit=1000", &page::<Instance>(vec![]));
    let table = fake.run("instance list").await;
    assert_eq!((table.code, table.out.as_str(), table.err.as_str()), (0, "", "no instances\n"));
    assert_eq!(fake.run("instance list -o json").await.out, "[]\n");
}

#[tokio::test]
async fn colours_only_on_a_terminal_without_no_color() {
    let fake = Fake::start().await;
    fake.json("GET /instances?limit=1000", &page(three()));
    for (terminal, no_color, want) in [(true, "", true), (true, "1", false), (false, "", false)] {
        let mut prepared = fake.prepared();
        prepared.world.out_is_terminal = terminal;
        prepared.world.env.insert("NO_COLOR".into(), no_color.into());
        assert_eq!(prepared.run("instance list").await.out.contains("\u{1b}["), want, "{terminal} {no_color:?}");
    }
}

#[tokio::test]
async fn one_instance() {
    let fake = Fake::start().await;
    let all = three();
    fake.json("GET /instances/web-1", &all[0]).json("GET /instances/new", &all[2]);
    assert_snapshot!("instance_show", fake.run("instance show web-1").await);
    assert_snapshot!("instance_show_pending", fake.run("instance show new").await);
}

#[tokio::test]
async fn packages_updates_and_history() {
    let fake = Fake::start().await;
    let package = |name: &str, version: &str| Package {
        name: name.into(),
        arch: "amd64".into(),
        version: version.into(),
        ..Package::default()
    };
    let id = uuid(11);
    let packages = vec![package("libssl3", "3.0.14-1"), package("openssl", "3.0.14-1")];
    let packages = PackageList { fingerprint: "f".into(), changed_at: before(60), packages };
    let update = Update {
        name: "openssl".into(),
        arch: "amd64".into(),
        from: "3.0.14-1".into(),
        to: "3.0.15-1".into(),
        repository: "Debian-Security:12".into(),
        kind: UpdateKind::Security,
        advisories: vec!["DSA-1".into(), "DSA-2".into()],
        severity: "Important".into(),
        held: "held by apt-mark".into(),
    };
    let updates = UpdateList {
        changed_at: before(60),
        updates: vec![update],
        findings: vec![Finding { subject: "repo".into(), message: "404".into() }],
        health: Health {
            reboot_reasons: vec![RebootReason { source: "kernel".into(), detail: "6.1.31 is newer".into() }],
            stale_services: vec!["nginx.service".into()],
            ..Health::default()
        },
        managers: vec![ManagerKind::Apt],
        answered_by: Default::default(),
        snapshots: Default::default(),
    };
    let change = |name: &str, from: Option<&str>, to: Option<&str>| PackageChange {
        name: name.into(),
        arch: "amd64".into(),
        from: from.map(Into::into),
        to: to.map(Into::into),
    };
    let changed = HistoryEntry {
        at: before(7200),
        kind: "packages-changed".into(),
        message: String::new(),
        changes: vec![change("openssl", Some("1"), Some("2")), change("nano", None, Some("3")), change("vim", Some("4"), None)],
        changes_total: 7,
        task: None,
    };
    let enrolled = HistoryEntry {
        at: before(86_400 * 9),
        kind: "enrolled".into(),
        message: "by profile web".into(),
        changes: vec![],
        changes_total: 0,
        task: None,
    };
    fake.json("GET /instances/web-1", &instance(11, "web-1"))
        .json(&format!("GET /instances/{id}/packages?q=ssl"), &packages)
        .json(&format!("GET /instances/{id}/updates"), &updates)
        .json(&format!("GET /instances/{id}/history?limit=100"), &page(vec![changed, enrolled]));
    assert_snapshot!("instance_packages", fake.run("instance packages web-1 --name ssl").await);
    assert_snapshot!("instance_updates", fake.run("instance updates web-1").await);
    assert_snapshot!("instance_history", fake.run("instance history web-1").await);
}

#[tokio::test]
async fn an_edit_keeps_other_labels_and_says_what_it_was_based_on() {
    let fake = Fake::start().await;
    let mut after = instance(11, "web-1");
    after.zone = "dc2".into();
    fake.json("GET /instances/web-1", &instance(11, "web-1")).json(&format!("PATCH /instances/{}", uuid(11)), &after);
    let ran = fake.run("instance edit web-1 --label tier=1 --remove-label role --zone dc2").await;
    assert_eq!(ran.out, "web-1: labels env=prod,role=web, zone dc2\n");
    let sent = fake.seen().pop().expect("a request");
    assert_eq!(sent.body, r#"{"labels":{"env":"prod","tier":"1"},"zone":"dc2"}"#);
    assert_eq!(sent.headers["if-match"], "\"e7\"");
    assert_eq!(fake.run("instance edit web-1 --remove-label nope").await.code, 2);
    assert_eq!(fake.run("instance edit web-1").await.code, 2);
}

#[tokio::test]
async fn verbs_on_instances_reach_the_server_in_turn() {
    let fake = Fake::start().await;
    for (n, host) in [(11, "web-1"), (12, "db-1")] {
        fake.json(&format!("GET /instances/{host}"), &instance(n, host));
        for verb in ["accept", "revoke", "reject"] {
            fake.json(&format!("POST /instances/{}:{verb}", uuid(n)), &instance(n, host));
        }
    }
    fake.on(&format!("DELETE /instances/{}", uuid(11)), crate::fake::Answer::Plain(204, "", String::new()));
    assert_eq!(fake.run("instance accept web-1 db-1").await.out, "web-1 is active.\ndb-1 is active.\n");
    assert_eq!(fake.run("instance revoke web-1").await.out, "web-1 is revoked.\n");
    assert_eq!(fake.run("instance reject web-1 --reason 'a clone'").await.out, "web-1 is rejected.\n");
    assert_eq!(fake.seen().pop().expect("a request").body, r#"{"reason":"a clone"}"#);
    assert_eq!(fake.run("instance delete web-1").await.out, "web-1 is deleted.\n");
    assert_eq!(fake.run("instance accept").await.code, 2);
}

fn profile() -> EnrolmentProfile {
    EnrolmentProfile {
        id: ProfileId(uuid(5)),
        spec: ProfileSpec {
            display_name: "web servers".into(),
            description: String::new(),
            expires_at: Some(now() + jiff::SignedDuration::from_hours(24)),
            max_uses: Some(10),
            labels: [("env".to_owned(), "prod".to_owned())].into(),
            compartment: "/".into(),
            zone: "dc1".into(),
            auto_accept: false,
            sources_mode: drydock_domain::source::host::SourcesMode::default(),
            environment: None,
        },
        uses: 2,
        revoked: false,
        created_by: "alice".into(),
        created_at: before(1),
    }
}

#[tokio::test]
async fn enrolment_profiles() {
    let fake = Fake::start().await;
    let made = CreatedProfile {
        profile: profile(),
        token: "dde_once".into(),
        ca_fingerprint: "ab".repeat(32),
        command: "drydock-agent enrol --server https://d:8443 --token dde_once --ca-fingerprint abab".into(),
    };
    let mut old = profile();
    (old.spec.display_name, old.uses, old.spec.auto_accept) = ("old".into(), 10, true);
    fake.json("POST /enrolment-profiles", &made)
        .json("GET /enrolment-profiles?limit=1000", &page(vec![profile(), old]))
        .json(&format!("GET /enrolment-profiles/{}", uuid(5)), &profile())
        .json(&format!("POST /enrolment-profiles/{}:revoke", uuid(5)), &profile());
    let create = "enrolment create --name 'web servers' --expires-in 24h --max-uses 10 --label env=prod --zone dc1";
    assert_snapshot!("enrolment_create", fake.run(create).await);
    let sent: ProfileSpec = serde_json::from_str(&fake.seen()[0].body).expect("a spec");
    assert_eq!(sent, profile().spec);
    assert_snapshot!("enrolment_list", fake.run("enrolment list").await);
    assert_snapshot!("enrolment_show", fake.run(&format!("enrolment show {}", uuid(5))).await);
    assert_snapshot!("enrolment_revoke", fake.run(&format!("enrolment revoke {}", uuid(5))).await);
}

#[tokio::test]
async fn access_tokens_and_audit_records() {
    let fake = Fake::start().await;
    let token = AccessToken {
        id: AccessTokenId(uuid(6)),
        name: "bob".into(),
        role: Some(Role::Viewer),
        user: None,
        scope: vec![],
        expires_at: Some(now() + jiff::SignedDuration::from_hours(24 * 90)),
        created_at: now(),
        last_used_at: None,
        revoked: false,
    };
    let expired = AccessToken { expires_at: Some(before(60)), last_used_at: Some(before(90)), ..token.clone() };
    let record = AuditRecord {
        seq: 7,
        at: before(300),
        who_kind: "user".into(),
        who_id: "u1".into(),
        who: "bob".into(),
        address: "192.0.2.7".into(),
        request_id: "r".into(),
        operation: "patch-job.create".into(),
        compartment: "/".into(),
        resource: "patch job".into(),
        decision: "deny".into(),
        reason: "no statement gives DRYDOCK_PATCH_JOB_CREATE in /".into(),
        parameters: serde_json::json!({}),
        outcome: "denied".into(),
        error: String::new(),
        duration_ms: Some(1),
        hash: "ab".into(),
    };
    fake.json("POST /access-tokens", &CreatedAccessToken { token: token.clone(), secret: "ddt_secret".into() })
        .json("GET /access-tokens?limit=1000", &page(vec![token, expired]))
        .json(&format!("POST /access-tokens/{}:revoke", uuid(6)), &serde_json::json!({}))
        .json("GET /audit?limit=100", &page(vec![record]));
    assert_snapshot!("access_create", fake.run("access create --name bob --role viewer --expires-in 90d").await);
    assert_eq!(fake.seen()[0].body, r#"{"name":"bob","role":"viewer","expiresAt":"2027-02-17T22:00:00Z"}"#);
    assert_snapshot!("access_list", fake.run("access list").await);
    assert_snapshot!("access_revoke", fake.run(&format!("access revoke {}", uuid(6))).await);
    assert_snapshot!("audit_list", fake.run("audit list").await);
}

#[tokio::test]
async fn patch_jobs_and_one_job() {
    let fake = Fake::start().await;
    let mut failed = task(1, "web-1", TaskState::Failed);
    (failed.planned, failed.applied, failed.skipped, failed.reboots) = (4, 1, 1, 1);
    failed.message = "2 of 4 packages are not what was planned".into();
    let mut held = task(2, "web-2", TaskState::Pending);
    held.waiting_on = Some(WaitingOn::Unreachable { since: Some(before(900)) });
    let tasks = vec![failed.clone(), held.clone()];
    let mut shown = job(JobState::Patching, &tasks);
    shown.spec.concurrency = Some(Concurrency::Percent(20));
    fake.json("GET /patch-jobs?limit=100", &page(vec![shown.clone()]))
        .json("GET /instances/web-1", &instance(11, "web-1"))
        .json(&format!("GET /patch-jobs?state=PATCHING&instance={}&limit=5", uuid(11)), &page::<PatchJob>(vec![]))
        .json(&format!("GET /patch-jobs/{JOB}"), &shown)
        .json(&format!("GET /patch-jobs/{JOB}/tasks?limit=1000"), &page(tasks))
        .json(&format!("GET /patch-jobs/{JOB}/tasks/{}", failed.id), &detail(failed.clone()))
        .json(&format!("GET /patch-jobs/{JOB}/tasks/{}", held.id), &PatchTaskDetail { task: held, report: None });
    assert_snapshot!("patch_list", fake.run("patch list").await);
    assert_eq!(fake.run("patch list --state patching --instance web-1 --limit 5").await.err, "no patch jobs\n");
    assert_snapshot!("patch_show", fake.run(&format!("patch show {JOB}")).await);
    assert_snapshot!("patch_show_summary", fake.run(&format!("patch show {JOB} --summary")).await);
    assert_snapshot!("patch_show_output", fake.run(&format!("patch show {JOB} --host web-1 --output")).await);
    assert_snapshot!("patch_show_no_host", fake.run(&format!("patch show {JOB} --host web-9")).await);
    let json = fake.run(&format!("patch show {JOB} --host web-1 -o json")).await.out;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["tasks"][0]["report"]["packages"][1]["outcome"], "APPLIED");
    assert_eq!(json["tasks"][0]["report"]["steps"][2]["output"]["droppedBytes"], 70_000);
    // Enums with a value inside (the concurrency) look the same in both formats.
    let yaml = fake.run(&format!("patch show {JOB} --host web-1 -o yaml")).await.out;
    assert_eq!(serde_saphyr::from_str::<serde_json::Value>(&yaml).expect("YAML"), json);
}

#[tokio::test]
async fn a_job_over_many_hosts_shows_packages_only_when_asked() {
    let fake = Fake::start().await;
    let tasks: Vec<PatchTask> = (0..21).map(|n| task(n, &format!("h{n:02}"), TaskState::Succeeded)).collect();
    fake.json(&format!("GET /patch-jobs/{JOB}"), &job(JobState::Succeeded, &tasks))
        .json(&format!("GET /patch-jobs/{JOB}/tasks?limit=1000"), &page(tasks.clone()));
    for t in &tasks {
        fake.json(&format!("GET /patch-jobs/{JOB}/tasks/{}", t.id), &detail(t.clone()));
    }
    let ran = fake.run(&format!("patch show {JOB}")).await;
    assert!(!ran.out.contains("openssl") && ran.err.starts_with("21 hosts: --host NAME"), "{ran}");
    let ran = fake.run(&format!("patch show {JOB} --packages")).await;
    assert_eq!(ran.out.matches("openssl").count(), 21, "{ran}");
}

#[tokio::test]
async fn rules_of_a_host() {
    let fake = Fake::start().await;
    let rules = HostRules { holds: vec!["tar".into()], default_release: "bookworm".into(), ..HostRules::default() };
    let found = InstanceRules { changed_at: before(60), managers: vec![ManagerKind::Apt], rules };
    fake.json("GET /instances/web-1", &instance(11, "web-1")).json(&format!("GET /instances/{}/rules", uuid(11)), &found);
    let shown = fake.run("instance rules web-1").await;
    assert!(shown.out.contains("hold") && shown.out.contains("tar") && shown.out.contains("bookworm"), "{}", shown.out);
    assert!(fake.run("instance rules web-1 -o json").await.out.contains("\"holds\""));
    let none = InstanceRules { rules: HostRules::default(), ..found };
    fake.json("GET /instances/db-1", &instance(12, "db-1")).json(&format!("GET /instances/{}/rules", uuid(12)), &none);
    assert!(fake.run("instance rules db-1").await.err.contains("defaults"));
}

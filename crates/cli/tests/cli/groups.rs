//! Groups: what is sent, what is printed.

use drydock_domain::ids::{GroupId, InstanceId};
use serde_json::{Value, json};

use crate::documents::{before, uuid};
use crate::fake::Fake;

fn group(instances: u64) -> Value {
    let mut group = json!({
        "id": GroupId(uuid(1)), "spec": { "name": "web", "description": "front \u{1b}[2J ends", "environment": "prod" },
        "sources": ["ol9-base", "web"], "instances": instances, "createdBy": "admin", "createdAt": before(86_400)
    });
    if instances > 0 {
        group["family"] = json!({ "os": "ol", "release": "8", "architecture": "x86_64" });
    }
    group
}

fn sent(fake: &Fake, n: usize) -> Value {
    serde_json::from_str(&fake.seen()[n].body).expect("JSON")
}

#[tokio::test]
async fn a_group_is_made_filled_and_given_sources() {
    let fake = Fake::start().await;
    fake.json("POST /groups", &group(0))
        .json("PUT /groups/web/members", &group(2))
        .json("PUT /groups/web/members", &group(1))
        .json("PUT /groups/web/sources", &group(1))
        .json("PATCH /groups/web", &group(1));
    let ran = fake.run("group create web --environment prod").await;
    assert_eq!(ran.code, 0, "{ran}");
    assert_eq!(sent(&fake, 0), json!({ "name": "web", "description": "", "environment": "prod" }));
    let ran = fake.run("group add web web-1 web-2").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "web: 2 hosts, all ol 8 x86_64\n"), "{ran}");
    assert_eq!(sent(&fake, 1), json!({ "add": ["web-1", "web-2"], "remove": [] }));
    let ran = fake.run("group remove web web-2").await;
    assert_eq!((ran.code, sent(&fake, 2)), (0, json!({ "add": [], "remove": ["web-2"] })), "{ran}");
    let ran = fake.run("group attach web ol9-base").await;
    assert_eq!((ran.code, sent(&fake, 3)), (0, json!({ "attach": ["ol9-base"], "detach": [] })), "{ran}");
    assert!(ran.out.contains("sources ol9-base, web"), "{ran}");
    let ran = fake.run("group edit web --no-environment").await;
    assert_eq!((ran.code, sent(&fake, 4)), (0, json!({ "environment": "" })), "{ran}");
    for line in ["group edit web", "group edit web --environment x --no-environment", "group add web"] {
        assert_eq!(fake.run(line).await.code, 2, "{line}");
    }
}

#[tokio::test]
async fn a_group_is_filled_by_a_filter() {
    let fake = Fake::start().await;
    let answer = json!({
        "group": group(12), "addedTotal": 2, "added": [{ "id": InstanceId(uuid(5)), "name": "web-1" },
        { "id": InstanceId(uuid(6)), "name": "web-2" }], "alreadyMembers": 10, "leftOutTotal": 1,
        "leftOut": [{ "id": InstanceId(uuid(7)), "name": "db-\u{1b}1", "why": "it is in the group db" }]
    });
    fake.json("POST /groups/web:add", &answer).json("POST /groups/web:add", &answer).json("POST /groups/web:add", &answer);
    let ran = fake.run("group add web --filter 'os.id = ol and label env=prod'").await;
    assert_eq!(ran.code, 0, "{ran}");
    assert_eq!(sent(&fake, 0), json!({ "filter": "os.id = ol and label env=prod", "dryRun": false }));
    assert!(ran.out.starts_with("web: 12 hosts, all ol 8 x86_64; 2 put in, 10 in it before, 1 left out\n"), "{ran}");
    assert!(ran.out.contains("it is in the group db") && !ran.out.contains('\u{1b}'), "{ran}");
    let ran = fake.run("group add web --filter reboot --dry-run").await;
    assert_eq!(sent(&fake, 1), json!({ "filter": "reboot", "dryRun": true }));
    assert!(ran.out.contains("2 would be put in") && ran.out.contains("would be put in: web-1 web-2\n"), "{ran}");
    let ran = fake.run("group add web --filter reboot -o json").await;
    assert_eq!(serde_json::from_str::<Value>(&ran.out).expect("JSON")["leftOutTotal"], 1, "{ran}");
    for line in ["group add web h1 --filter reboot", "group add web h1 --dry-run"] {
        assert_eq!(fake.run(line).await.code, 2, "{line}");
    }
}

#[tokio::test]
async fn a_group_is_shown_with_members_that_drifted() {
    let fake = Fake::start().await;
    let members = json!({ "items": [
        { "id": InstanceId(uuid(5)), "name": "web-1", "state": "ACTIVE", "os": "Oracle Linux Server 8.10" },
        { "id": InstanceId(uuid(6)), "name": "web-2", "state": "ACTIVE", "os": "Oracle Linux Server 9.4",
          "differs": "it runs release 9 of ol, not 8" }] });
    fake.json("GET /groups/web", &group(2))
        .json("GET /groups/web/members?limit=100", &members)
        .json("GET /groups", &json!({ "items": [group(2)] }));
    let ran = fake.run("group show web").await;
    assert_eq!(ran.code, 0, "{ran}");
    for part in ["ol 8 x86_64", "prod", "web-1", "Oracle Linux Server 9.4", "it runs release 9 of ol, not 8"] {
        assert!(ran.out.contains(part), "{part}: {ran}");
    }
    assert!(!ran.out.contains('\u{1b}'), "{ran}");
    let ran = fake.run("group list").await;
    assert!(ran.code == 0 && ran.out.contains("ol9-base web"), "{ran}");
}

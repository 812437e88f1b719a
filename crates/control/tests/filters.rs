//! The filter language against a whole control: lists, patch jobs and groups ask the same question.
#![allow(missing_docs)]

mod common;

use common::teams::Teams;
use common::*;
use drydock_control::records::{InstanceQuery, PageQuery};
use drydock_control::{AddedView, Error, ErrorKind, ImportAsk, OpCtx, SectionBodyIn, SectionIn};
use drydock_domain::access::Role;
use drydock_domain::group::GroupSpec;
use drydock_domain::inventory::{ManagerKind, OsFacts, fingerprint};
use drydock_domain::patch::filter::InstanceFilter;
use serde_json::{Value, json};

async fn report(w: &World, host: &Host, kind: &str, body: &Value) {
    let body = serde_json::to_vec(body).expect("JSON");
    let section = SectionIn { kind: kind.into(), fingerprint: fingerprint(&body), body: SectionBodyIn::Full(body) };
    let wanted = w.control.report_inventory(&host.ctx(w).await, vec![section]).await.expect("stored");
    assert!(wanted.is_empty());
}

/// The host says what it is, what it has, and what it could update.
async fn says(w: &World, host: &Host, os: (&str, &str), packages: &[(&str, &str)], updates: &Value) {
    let managers = if os.0 == "debian" { ManagerKind::Apt } else { ManagerKind::Dnf };
    let facts = OsFacts {
        short_name: os.0.into(),
        version: os.1.into(),
        architecture: "x86_64".into(),
        kernel_release: "5.14.0-427".into(),
        managers: vec![managers],
        ..OsFacts::default()
    };
    report(w, host, "os", &serde_json::to_value(facts).expect("JSON")).await;
    // dpkg names the source package, by which Debian's advisories speak.
    let source = |name: &str, version: &str| if os.0 == "debian" { format!("{name} {version}") } else { String::new() };
    let arch = if os.0 == "debian" { "amd64" } else { "x86_64" };
    let package =
        |(name, version): &(&str, &str)| json!({"name": name, "arch": arch, "version": version, "source": source(name, version)});
    let set: Vec<Value> = packages.iter().map(package).collect();
    report(w, host, "packages", &json!(set)).await;
    report(w, host, "updates", &json!({ "updates": updates })).await;
}

/// h1 and h2 are equal but for a label; h3 is newer, h4 is a Debian, h5 has said nothing.
async fn fleet(w: &World) -> Vec<Host> {
    let hosts = w.hosts(5).await;
    let old = [("openssl", "1:3.0.7-27.el8"), ("kernel", "5.14.0-1"), ("kernel", "5.14.0-2")];
    let open = json!([
        {"name": "openssl", "arch": "x86_64", "from": "1:3.0.7-27.el8", "to": "1:3.0.14-1.el8", "kind": "security",
         "advisories": ["ELSA-2026-7"]},
        {"name": "vim", "arch": "x86_64", "to": "9", "held": "versionlock", "advisories": ["ELBA-2026-8"]},
    ]);
    says(w, &hosts[0], ("ol", "8.10"), &old, &open).await;
    says(w, &hosts[1], ("ol", "8.10"), &old, &open).await;
    says(w, &hosts[2], ("ol", "9.4"), &[("openssl", "1:3.2.2-6.el9"), ("nginx", "1.20-1")], &json!([])).await;
    says(w, &hosts[3], ("debian", "12"), &[("openssl", "3.0.14-1~deb12u2"), ("nginx", "1.22.1-9")], &json!([])).await;
    let edit = |labels: &[(&str, &str)]| drydock_control::InstanceEdit {
        labels: Some(labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()),
        zone: None,
    };
    w.control.edit_instance(&w.server(), "h1", edit(&[("env", "prod")]), None).await.expect("edited");
    w.settle().await;
    hosts
}

async fn try_search(w: &World, filter: &str, query: InstanceQuery) -> Result<(Vec<String>, Option<String>), Error> {
    let viewer = w.person(Role::Viewer).await;
    let page = w.control.search_instances(&viewer, &query, filter).await?;
    Ok((page.items.into_iter().map(|i| i.record.name).collect(), page.next_cursor))
}

async fn search(w: &World, filter: &str) -> Vec<String> {
    try_search(w, filter, InstanceQuery::default()).await.unwrap_or_else(|e| panic!("{filter}: {e}")).0
}

#[tokio::test]
async fn filters_find_instances_by_row_and_inventory() {
    let w = World::new().await;
    fleet(&w).await;
    let table: &[(&str, &[&str])] = &[
        ("package openssl < 3.0.14 and os.version = \"8*\" and label env=prod", &["h1"]),
        ("package openssl < 3.0.14", &["h1", "h2"]),
        ("package openssl >= 3.0.14", &["h3", "h4"]),
        ("package openssl = 3.0.14", &["h4"]),
        ("package nginx or label env=prod", &["h1", "h3", "h4"]),
        ("package kernel = 5.14.0-1 and package kernel = 5.14.0-2", &["h1", "h2"]),
        ("package ngin*", &["h3", "h4"]),
        ("inventory and not package nginx", &["h1", "h2"]),
        ("update openssl", &["h1", "h2"]),
        ("update vim", &[]),
        ("advisory ELBA-2026-8 or advisory ELSA-2026-7", &["h1", "h2"]),
        ("updates.security > 0 and updates.held = 1", &["h1", "h2"]),
        ("os.id = debian or os.version >= 9 and os.id = ol", &["h3", "h4"]),
        ("manager = apt", &["h4"]),
        ("not inventory", &["h5"]),
        ("kernel < 5.14.0-500 and zone = z1", &["h1", "h2", "h3", "h4"]),
        ("label env != prod and state = active", &["h2", "h3", "h4", "h5"]),
        ("name = h? and lastSeen < 1h", &["h1", "h2", "h3", "h4", "h5"]),
        ("package none-such", &[]),
    ];
    for (filter, want) in table {
        assert_eq!(search(&w, filter).await, *want, "{filter}");
        assert_eq!(search(&w, filter).await, *want, "{filter}, from memory");
    }
}

#[tokio::test]
async fn answers_follow_the_inventory() {
    let w = World::new().await;
    let hosts = fleet(&w).await;
    assert_eq!(search(&w, "package openssl < 3.0.14").await, ["h1", "h2"]);
    says(&w, &hosts[0], ("ol", "8.10"), &[("openssl", "1:3.0.14-1.el8")], &json!([])).await;
    assert_eq!(search(&w, "package openssl < 3.0.14").await, ["h2"]);
    assert_eq!(search(&w, "advisory ELSA-2026-7").await, ["h2"]);
    w.pass(3 * 86_400);
    hosts[1].ctx(&w).await;
    let seen = "lastSeen < 2d";
    w.control.touch(hosts[1].id);
    assert_eq!(search(&w, seen).await, ["h2"], "also what is noted and not stored yet");
}

#[tokio::test]
async fn pages_and_other_criteria_go_with_a_filter() {
    let w = World::new().await;
    fleet(&w).await;
    let page = |limit, cursor| InstanceQuery { page: PageQuery { cursor, limit: Some(limit) }, ..InstanceQuery::default() };
    let (first, next) = try_search(&w, "inventory", page(3, None)).await.expect("found");
    assert_eq!(first, ["h1", "h2", "h3"]);
    let (rest, end) = try_search(&w, "inventory", page(3, next)).await.expect("found");
    assert_eq!((rest, end), (vec!["h4".to_owned()], None));
    let (all, end) = try_search(&w, "inventory", page(4, None)).await.expect("found");
    assert_eq!((all.len(), end), (4, None), "a full last page has no next one");
    let narrow = InstanceQuery { labels: vec![("env".into(), "prod".into())], ..InstanceQuery::default() };
    assert_eq!(try_search(&w, "inventory", narrow).await.expect("found").0, ["h1"]);
    let narrow = InstanceQuery { name_contains: "H3".into(), ..InstanceQuery::default() };
    assert_eq!(try_search(&w, "inventory", narrow).await.expect("found").0, ["h3"]);

    let refused = try_search(&w, "package openssl <", InstanceQuery::default()).await.expect_err("no version");
    assert_eq!((refused.kind(), refused.fields()[0].field.as_str()), (ErrorKind::Invalid, "filter"));
    assert!(refused.to_string().contains("column 18: expected a version, found the end"), "{refused}");
    let forged = page(3, Some("zz".into()));
    assert_eq!(try_search(&w, "inventory", forged).await.expect_err("forged").kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn patch_jobs_look_their_hosts_up_by_a_filter() {
    let w = World::new().await;
    let hosts = fleet(&w).await;
    let spec = |query: &str| json!({ "instanceFilter": { "query": query } }).to_string();
    let job = w.job(&spec("package openssl < 3.0.14")).await;
    // Judged when the job begins, not when it is asked for.
    says(&w, &hosts[0], ("ol", "8.10"), &[("openssl", "1:3.0.14-1.el8")], &json!([])).await;
    w.settle().await;
    let names: Vec<String> = w.tasks(job).await.into_iter().map(|t| t.instance_name).collect();
    assert_eq!(names, ["h2"]);
    let both = json!({ "instanceFilter": { "query": "package nginx", "instances": ["h3", "h1"] } }).to_string();
    let job = w.job(&both).await;
    w.settle().await;
    let names: Vec<String> = w.tasks(job).await.into_iter().map(|t| t.instance_name).collect();
    assert_eq!(names, ["h3"], "the query narrows the other fields");

    for (query, why) in [
        ("os.verison = 8", "instanceFilter.query: column 1: there is no field \"os.verison\"; did you mean os.version?"),
        ("package none-such", "matches no active instance"),
    ] {
        let spec = serde_json::from_str(&spec(query)).expect("a spec");
        let refused = w.control.create_patch_job(&w.server(), spec, None).await.expect_err(query);
        assert!(refused.kind() == ErrorKind::Invalid && refused.to_string().contains(why), "{refused}");
    }

    let operator = w.person(Role::Operator).await;
    let filter = |json: Value| serde_json::from_value::<InstanceFilter>(json).expect("a filter");
    let would = w.control.match_instances(&operator, &filter(json!({ "query": "package nginx" })), None).await.expect("matched");
    assert_eq!((would.total, would.hosts[0].name.as_str()), (2, "h3"));
    let none =
        w.control.match_instances(&operator, &filter(json!({ "query": "package none-such" })), None).await.expect("matched");
    assert_eq!(none.total, 0, "an answer, not a refusal");
    let refused = w.control.match_instances(&operator, &filter(json!({})), None).await.expect_err("empty");
    assert_eq!(refused.fields()[0].field, "instanceFilter");
}

async fn add(w: &World, group: &str, filter: &str, dry_run: bool) -> Result<AddedView, Error> {
    w.control.add_matching(&w.server(), group, filter, dry_run).await
}

#[tokio::test]
async fn a_group_is_filled_with_what_matches_and_fits() {
    let w = World::new().await;
    fleet(&w).await;
    for name in ["web", "db"] {
        let spec = GroupSpec { name: name.into(), description: String::new(), environment: None, compartment: None };
        w.control.create_group(&w.server(), spec).await.expect("a group");
    }
    let mixed = add(&w, "web", "inventory", false).await.expect_err("three kinds").to_string();
    assert!(mixed.contains("3 kinds: debian 12 x86_64 (1), ol 8 x86_64 (2), ol 9 x86_64 (1)"), "{mixed}");
    let none = add(&w, "web", "package none-such", false).await.expect_err("nobody").to_string();
    assert!(none.contains("matches no active instance"), "{none}");

    let would = add(&w, "web", "os.id = ol and os.version = 8*", true).await.expect("of one kind");
    assert_eq!((would.added_total, would.group.instances), (2, 0), "a dry run changes nothing");
    let done = add(&w, "web", "os.id = ol and os.version = 8*", false).await.expect("of one kind");
    assert_eq!((done.added_total, done.there, done.group.instances), (2, 0, 2));
    assert_eq!(done.group.family.map(|f| f.to_string()).as_deref(), Some("ol 8 x86_64"));
    w.control.add_members(&w.server(), "db", &["h3".to_owned()]).await.expect("added");

    let again = add(&w, "web", "name = h*", false).await.expect("some fit");
    assert_eq!((again.added_total, again.there, again.left_out_total), (0, 2, 3));
    let why: Vec<_> = again.left_out.iter().map(|l| (l.host.name.as_str(), l.why.as_str())).collect();
    assert_eq!(
        why,
        [("h3", "it is in the group db"), ("h4", "it runs debian 12, not ol 8"), ("h5", "it has not sent an inventory yet")]
    );
    assert_eq!(search(&w, "group = web").await, ["h1", "h2"]);
    assert_eq!(search(&w, "group = \"\" and inventory").await, ["h4"]);

    let viewer = w.person(Role::Viewer).await;
    let denied = w.control.add_matching(&viewer, "web", "inventory", false).await.expect_err("may not");
    assert_eq!(denied.kind(), ErrorKind::Forbidden);
    assert_eq!(add(&w, "none", "inventory", false).await.expect_err("no group").kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn vulnerabilities_and_advisories_are_answered_by_the_server() {
    let w = World::new().await;
    fleet(&w).await;
    assert!(search(&w, "cve CVE-2026-0009 or advisory DSA-9001-1").await.is_empty());
    let feed = json!({
        "id": "DSA-9001-1", "summary": "openssl - security update", "modified": "2026-02-01T00:00:00Z",
        "published": "2026-02-01T00:00:00Z", "upstream": ["DEBIAN-CVE-2026-0009"],
        "affected": [{ "package": { "ecosystem": "Debian:12", "name": "openssl" },
            "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": "3.0.15-1~deb12u1" }] }] }]
    });
    let file = w.dir.path().join("osv.json");
    std::fs::write(&file, feed.to_string()).expect("written");
    w.control.import_feed(&w.server(), "debian", &ImportAsk::default(), &file).await.expect("imported");
    w.settle().await;
    for filter in ["cve CVE-2026-0009", "cve CVE-2026-*", "advisory DSA-9001-1", "advisory DSA-* and os.id = debian"] {
        assert_eq!(search(&w, filter).await, ["h4"], "{filter}");
    }
    assert_eq!(search(&w, "inventory and not cve CVE-*").await, ["h1", "h2", "h3"]);
    assert_eq!(search(&w, "advisory DSA-9001-1 or advisory ELSA-2026-7").await, ["h1", "h2", "h4"], "hosts say, too");
}

#[tokio::test]
async fn a_server_that_does_not_know_yet_says_so() {
    let mut w = World::new().await;
    fleet(&w).await;
    w.restart().await;
    let early = try_search(&w, "cve CVE-2026-0009", InstanceQuery::default()).await.expect_err("no picture yet");
    assert_eq!(early.kind(), ErrorKind::Unavailable);
    assert_eq!(search(&w, "package openssl < 3.0.14").await, ["h1", "h2"], "that is in the store");
    w.settle().await;
    assert!(search(&w, "cve CVE-2026-0009").await.is_empty());
}

#[tokio::test]
async fn a_filter_answers_only_of_hosts_of_which_that_may_be_read() {
    let t = Teams::new().await;
    says(&t.w, &t.hosts[0], ("ol", "8.10"), &[("openssl", "1:3.0.7-27.el8")], &json!([])).await;
    t.w.settle().await;
    t.user("pat", "Patchers").await;
    let text = "allow group Patchers to {DRYDOCK_INSTANCE_INSPECT, DRYDOCK_INSTANCE_PATCH} in compartment A";
    t.statements("patchers", text).await;
    let (c, eve, ann, pat) = (&t.w.control, t.as_user("eve").await, t.as_user("ann").await, t.as_user("pat").await);
    let found = async |who: &OpCtx, filter: &str| {
        let page = c.search_instances(who, &InstanceQuery::default(), filter).await.expect("searched");
        page.items.into_iter().map(|i| i.record.name).collect::<Vec<_>>()
    };
    assert_eq!(found(&ann, "package openssl").await, ["h1"]);
    assert_eq!(found(&eve, "name = h1").await, ["h1"], "she may know that it is there");
    // Neither does a filter tell what it has, to who only may know that.
    assert_eq!(found(&eve, "package openssl < 3.1").await, Vec::<String>::new());
    assert_eq!(found(&eve, "name = h1 and not package openssl").await, Vec::<String>::new());
    let matches = async |who: &OpCtx, query: &str| {
        let filter = InstanceFilter { query: Some(query.to_owned()), ..InstanceFilter::default() };
        c.match_instances(who, &filter, Some("/A")).await.expect("matched").total
    };
    assert_eq!((matches(&ann, "package openssl").await, matches(&pat, "package openssl").await), (1, 0));
    assert_eq!(matches(&pat, "name = h1").await, 1);
    let cves = "allow group Patchers to read drydock-instances in compartment A";
    t.statements("patchers-read", cves).await;
    assert_eq!(matches(&pat, "package openssl").await, 1);
    assert_eq!(matches(&pat, "name = h1 and not cve CVE-2026-1").await, 0, "vulnerabilities have a permission of their own");
}

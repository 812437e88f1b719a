//! Vulnerabilities that are accepted for a while, and those that are open for too long, as time goes by.
#![allow(missing_docs)]

mod common;

use common::alma::{osv, report};
use common::*;
use drydock_control::records::PageQuery;
use drydock_control::{ErrorKind, ImportAsk, InstanceEdit, OpCtx, VulnerabilityQuery};
use drydock_domain::access::Role;
use drydock_domain::advisory::Severity;
use drydock_domain::advisory::exception::{ExceptionEdit, ExceptionSpec, ScopeSpec};
use drydock_domain::advisory::open::VulnerabilitySummary;
use drydock_domain::advisory::sla::Sla;
use drydock_domain::group::GroupSpec;
use drydock_domain::patch::task::TaskState;
use jiff::SignedDuration;
use serde_json::json;

const DAY: i64 = 86_400;

/// Three hosts with two open CVEs each: CVE-2026-0001 is critical, CVE-2026-0002 important.
async fn world() -> (World, Vec<Host>) {
    let w = World::new().await;
    let hosts = w.hosts(3).await;
    for host in &hosts {
        report(&w, host, &[("bash", "4.4.20-4.el8"), ("zlib", "1.2.11-25.el8")]).await;
    }
    let feed = osv("ALSA-2026:0001", "Critical", "bash", "0:4.4.20-5.el8", "CVE-2026-0001")
        + &osv("ALSA-2026:0002", "Important", "zlib", "0:1.2.11-26.el8", "CVE-2026-0002");
    w.import("alma8", &feed).await;
    (w, hosts)
}

async fn listed(w: &World, query: VulnerabilityQuery) -> Vec<VulnerabilitySummary> {
    w.control.list_vulnerabilities(&w.server(), &query, &PageQuery::default()).await.expect("listed").items
}

/// (CVE, hosts, overdue, excepted) in the list's order.
async fn numbers(w: &World) -> Vec<(String, u32, u32, u32)> {
    let rows = listed(w, VulnerabilityQuery { excepted: true, ..VulnerabilityQuery::default() }).await;
    rows.into_iter().map(|v| (v.id, v.hosts, v.overdue, v.excepted)).collect()
}

fn row(cve: &str, hosts: u32, overdue: u32, excepted: u32) -> (String, u32, u32, u32) {
    (cve.to_owned(), hosts, overdue, excepted)
}

fn spec(w: &World, scope: ScopeSpec, days: i64) -> ExceptionSpec {
    ExceptionSpec {
        cve: "CVE-2026-0001".into(),
        scope,
        owner: String::new(),
        reason: "no shell for anybody".into(),
        compartment: None,
        until: w.control.now() + SignedDuration::from_secs(days * DAY),
    }
}

#[tokio::test]
async fn the_clock_of_each_severity_begins_when_it_was_first_seen() {
    let (w, hosts) = world().await;
    let fresh = listed(&w, VulnerabilityQuery::default()).await;
    assert_eq!(fresh.iter().map(|v| v.severity).collect::<Vec<_>>(), [Severity::Critical, Severity::Important]);
    let since = fresh[0].since.expect("since when");
    assert_eq!(fresh[0].due, Some(since + SignedDuration::from_secs(7 * DAY)));
    assert_eq!(fresh[1].due, Some(since + SignedDuration::from_secs(30 * DAY)));
    assert_eq!(numbers(&w).await, [row("CVE-2026-0001", 3, 0, 0), row("CVE-2026-0002", 3, 0, 0)]);

    w.pass(7 * DAY + 10);
    assert_eq!(numbers(&w).await, [row("CVE-2026-0001", 3, 3, 0), row("CVE-2026-0002", 3, 0, 0)]);
    let late = listed(&w, VulnerabilityQuery { overdue: true, ..VulnerabilityQuery::default() }).await;
    assert_eq!(late.len(), 1);
    let own = w.control.instance_vulnerabilities(&w.server(), &hosts[0].name, false).await.expect("listed");
    assert_eq!(
        own.iter().map(|v| (v.id.as_str(), v.overdue)).collect::<Vec<_>>(),
        [("CVE-2026-0001", true), ("CVE-2026-0002", false)]
    );
    let fleet = w.control.fleet_security(&w.server()).await.expect("numbers");
    assert_eq!(fleet.overdue.into_iter().collect::<Vec<_>>(), [(Severity::Critical, 1)]);

    // Operators give critical ones more time, and important ones less: those come first now.
    let sla = Sla { critical: None, important: Some(1), ..Sla::default() };
    let operator = w.person(Role::Operator).await;
    w.control.set_vulnerability_sla(&operator, sla).await.expect("set");
    assert_eq!(w.control.vulnerability_sla(&w.server()).await.expect("read"), sla);
    assert_eq!(numbers(&w).await, [row("CVE-2026-0002", 3, 3, 0), row("CVE-2026-0001", 3, 0, 0)], "overdue before worse");
    let refused = w.control.set_vulnerability_sla(&w.server(), Sla { low: Some(0), ..sla }).await.expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let viewer = w.person(Role::Viewer).await;
    assert_eq!(w.control.set_vulnerability_sla(&viewer, sla).await.expect_err("denied").kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn what_is_accepted_counts_again_when_its_time_is_over() {
    let (w, hosts) = world().await;
    let admin: OpCtx = w.server();
    let made = w.control.create_exception(&admin, spec(&w, ScopeSpec::Instance(hosts[0].name.clone()), 20)).await.expect("made");
    assert_eq!((made.hosts, made.expired), (1, false));
    assert_eq!(numbers(&w).await[0], row("CVE-2026-0001", 2, 0, 1));
    let own = w.control.instance_vulnerabilities(&w.server(), &hosts[0].name, false).await.expect("listed");
    assert_eq!(own.iter().map(|v| v.id.as_str()).collect::<Vec<_>>(), ["CVE-2026-0002"]);
    let all = w.control.instance_vulnerabilities(&w.server(), &hosts[0].name, true).await.expect("listed");
    let mark = all.iter().find(|v| v.id == "CVE-2026-0001").and_then(|v| v.exception.clone()).expect("marked");
    assert_eq!((mark.id, mark.reason.as_str()), (made.id, "no shell for anybody"));
    let page = PageQuery::default();
    let named = async |excepted| {
        let found = w.control.vulnerability_instances(&w.server(), "CVE-2026-0001", excepted, &page).await.expect("listed");
        found.items.into_iter().map(|h| (h.name, h.exception.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(named(false).await, [("h2".to_owned(), false), ("h3".to_owned(), false)]);
    assert_eq!(named(true).await[0], ("h1".to_owned(), true));

    w.pass(10 * DAY);
    assert_eq!(numbers(&w).await[0], row("CVE-2026-0001", 2, 2, 1), "accepted is not overdue");
    w.pass(11 * DAY);
    assert_eq!(numbers(&w).await[0], row("CVE-2026-0001", 3, 3, 0), "nobody did anything");
    assert!(w.control.list_exceptions(&w.server()).await.expect("listed")[0].expired);
}

/// The packages that a job names to a host, or why there is nothing to do.
async fn ordered(w: &World, host: &Host, config: &str) -> Result<Vec<String>, String> {
    host.ctx(w).await;
    let job = w.job(&format!(r#"{{"instanceFilter":{{"instances":["{}"]}},"patchConfig":{config}}}"#, host.name)).await;
    w.settle().await;
    let Some(order) = host.pull(w, &[]).await.orders.pop() else { return Err(w.tasks(job).await.remove(0).message) };
    let order: drydock_domain::work::WorkOrder = serde_json::from_slice(&order.order).expect("an order");
    assert!(!order.task.config.chooses(), "the host is told packages alone");
    assert_eq!(order.version, 2, "agents that read named packages can do it");
    host.report(w, order.task.task, 1, TaskState::Succeeded).await;
    w.settle().await;
    Ok(order.task.config.packages.expect("packages").update)
}

#[tokio::test]
async fn ids_are_found_in_the_case_in_which_people_type_them() {
    let (w, _) = world().await;
    let shown = w.control.get_vulnerability(&w.server(), "cve-2026-0001").await.expect("found");
    assert_eq!((shown.summary.id.as_str(), shown.summary.hosts), ("CVE-2026-0001", 3));
    let open = w.control.vulnerability_instances(&w.server(), "Cve-2026-0001", false, &PageQuery::default()).await;
    assert_eq!(open.expect("listed").items.len(), 3);
    let typed = ExceptionSpec { cve: "cve-2026-0001".into(), ..spec(&w, ScopeSpec::All {}, 20) };
    let made = w.control.create_exception(&w.server(), typed).await.expect("made");
    assert_eq!((made.cve.as_str(), made.hosts), ("CVE-2026-0001", 3), "it would accept nothing otherwise");
}

#[tokio::test]
async fn a_job_takes_what_is_overdue_there_and_not_accepted() {
    let (w, hosts) = world().await;
    let overdue = r#"{"overdue":true}"#;
    let nothing = ordered(&w, &hosts[0], overdue).await.expect_err("nothing is late yet");
    assert!(nothing.contains("nothing to do") && nothing.contains("choose"), "{nothing}");
    // What nobody here speaks of is told by its name: it may be misspelt.
    let wrong = r#"{"overdue":true,"cves":["CVE-2026-0001","CVE-2030-0007"],"advisories":["NOPE-1"]}"#;
    let unknown = ordered(&w, &hosts[2], &wrong.replace(r#""CVE-2026-0001","#, "")).await.expect_err("nothing");
    assert!(unknown.ends_with("says anything of NOPE-1, CVE-2030-0007"), "{unknown}");
    assert_eq!(ordered(&w, &hosts[2], wrong).await.expect("an order"), ["bash.x86_64"]);
    w.control.create_exception(&w.server(), spec(&w, ScopeSpec::Instance(hosts[1].name.clone()), 20)).await.expect("made");
    w.pass(8 * DAY);
    assert_eq!(ordered(&w, &hosts[0], overdue).await.expect("an order"), ["bash.x86_64"], "critical: 7 days");
    ordered(&w, &hosts[1], overdue).await.expect_err("accepted there");
    // By severity it is accepted as well; named it is meant.
    assert_eq!(ordered(&w, &hosts[1], r#"{"minSeverity":"LOW"}"#).await.expect("an order"), ["zlib.x86_64"]);
    assert_eq!(ordered(&w, &hosts[0], r#"{"minSeverity":"LOW"}"#).await.expect("an order").len(), 2);
    let named = ordered(&w, &hosts[1], r#"{"overdue":true,"cves":["CVE-2026-0001"]}"#).await;
    assert_eq!(named.expect("an order"), ["bash.x86_64"]);
    w.pass(13 * DAY);
    assert_eq!(ordered(&w, &hosts[1], overdue).await.expect("an order"), ["bash.x86_64"], "the exception is over");
    w.pass(10 * DAY);
    assert_eq!(ordered(&w, &hosts[1], overdue).await.expect("an order").len(), 2, "important: 30 days");
}

/// One order names a bounded number of packages; what is left for another one is said, also after the host reported.
#[tokio::test]
async fn packages_that_an_order_has_no_room_for_are_told() {
    const MANY: usize = 5030;
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let names: Vec<String> = (0..MANY).map(|n| format!("p{n}")).collect();
    report(&w, &host, &names.iter().map(|name| (name.as_str(), "1-1")).collect::<Vec<_>>()).await;
    let mut document: serde_json::Value =
        serde_json::from_str(&osv("ALSA-2026:0009", "Critical", "p", "0:2-1", "CVE-2026-0009")).expect("JSON");
    let affected = document["affected"][0].clone();
    let of = |name: &String| {
        let mut one = affected.clone();
        one["package"]["name"] = json!(name);
        one
    };
    document["affected"] = names.iter().map(of).collect();
    w.import("alma8", &document.to_string()).await;

    host.ctx(&w).await;
    let job = w.job(r#"{"instanceFilter":{"all":true},"patchConfig":{"minSeverity":"LOW"}}"#).await;
    w.settle().await;
    let order = host.take(&w).await;
    assert_eq!(order.task.config.packages.expect("packages").update.len(), 5000);
    let told = "30 packages that the job chooses were left out";
    assert!(w.tasks(job).await[0].message.starts_with(told), "{}", w.tasks(job).await[0].message);
    host.report(&w, order.task.task, 1, TaskState::ApplyingPatches).await;
    host.report(&w, order.task.task, 2, TaskState::Succeeded).await;
    let task = w.tasks(job).await.remove(0);
    assert_eq!(
        (task.state, task.message.starts_with(told), task.message.ends_with("report 2")),
        (TaskState::Succeeded, true, true)
    );
}

#[tokio::test]
async fn the_date_of_the_catalogue_of_exploited_ones_shortens_the_clock() {
    let (w, _) = world().await;
    let today = w.control.now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let due = today.saturating_add(jiff::Span::new().days(3));
    let catalogue = json!({
        "title": "CISA Catalog of Known Exploited Vulnerabilities", "catalogVersion": "2026.11.20",
        "dateReleased": "2026-11-20T00:00:00.000Z", "count": 1,
        "vulnerabilities": [{"cveID": "CVE-2026-0002", "vendorProject": "x", "product": "y", "vulnerabilityName": "z",
            "dateAdded": today.to_string(), "shortDescription": "d", "requiredAction": "a", "dueDate": due.to_string(),
            "knownRansomwareCampaignUse": "Unknown", "notes": "", "cwes": []}],
    });
    let file = w.dir.path().join("kev.json");
    std::fs::write(&file, catalogue.to_string()).expect("written");
    w.control.import_feed(&w.server(), "kev", &ImportAsk::default(), &file).await.expect("imported");
    w.settle().await;
    let first = listed(&w, VulnerabilityQuery::default()).await.remove(0);
    assert_eq!((first.id.as_str(), first.overdue), ("CVE-2026-0002", 0));
    assert!(first.due.expect("due") < w.control.now() + SignedDuration::from_secs(4 * DAY), "{first:?}");
    w.pass(4 * DAY);
    let numbers = numbers(&w).await;
    assert_eq!(numbers, [row("CVE-2026-0002", 3, 3, 0), row("CVE-2026-0001", 3, 0, 0)]);
    let by_severity = Sla { kev_dates: false, ..Sla::default() };
    w.control.set_vulnerability_sla(&w.server(), by_severity).await.expect("set");
    assert!(listed(&w, VulnerabilityQuery { overdue: true, ..VulnerabilityQuery::default() }).await.is_empty());
}

#[tokio::test]
async fn an_exception_is_edited_and_the_audit_has_what_it_was() {
    let (w, hosts) = world().await;
    let made = w.control.create_exception(&w.server(), spec(&w, ScopeSpec::All {}, 5)).await.expect("made");
    let id = made.id.to_string();
    let longer = ExceptionEdit {
        until: Some(w.control.now() + SignedDuration::from_secs(30 * DAY)),
        reason: Some("the vendor needs longer".into()),
        ..ExceptionEdit::default()
    };
    let operator = w.person(Role::Operator).await;
    let edited = w.control.edit_exception(&operator, &id, longer.clone()).await.expect("edited");
    assert_eq!((edited.owner.as_str(), edited.reason.as_str()), (made.owner.as_str(), "the vendor needs longer"));
    w.pass(20 * DAY);
    assert_eq!(numbers(&w).await.iter().find(|r| r.0 == "CVE-2026-0001").map(|r| (r.1, r.3)), Some((0, 3)), "it still counts");
    let audit = w.audit().await.into_iter().find(|a| a.operation == "exception.edit").expect("audited");
    assert!(audit.resource.contains(r#"reason "no shell for anybody" became "the vendor needs longer""#), "{}", audit.resource);
    let viewer = w.person(Role::Viewer).await;
    let denied = w.control.edit_exception(&viewer, &id, longer.clone()).await.expect_err("denied");
    assert_eq!(denied.kind(), ErrorKind::Forbidden);
    let nothing = w.control.edit_exception(&operator, &id, ExceptionEdit::default()).await.expect_err("refused");
    assert_eq!(nothing.kind(), ErrorKind::Invalid);
    let none = w.control.edit_exception(&operator, &hosts[0].id.to_string(), longer).await.expect_err("none such");
    assert_eq!(none.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn scopes_follow_who_is_in_them() {
    let (w, hosts) = world().await;
    w.control
        .create_group(
            &w.server(),
            GroupSpec { name: "lab".into(), description: String::new(), environment: None, compartment: None },
        )
        .await
        .expect("made");
    w.control.add_members(&w.server(), "lab", &[hosts[0].name.clone()]).await.expect("joined");
    let group = w.control.create_exception(&w.server(), spec(&w, ScopeSpec::Group("lab".into()), 30)).await.expect("made");
    assert_eq!(numbers(&w).await[0].3, 1);
    w.control.add_members(&w.server(), "lab", &[hosts[1].name.clone()]).await.expect("joined");
    assert_eq!(numbers(&w).await[0].3, 2, "who joins later is covered too");

    let label = ScopeSpec::Label { key: "env".into(), value: "test".into() };
    let by_label = w.control.create_exception(&w.server(), spec(&w, label, 40)).await.expect("made");
    assert_eq!(by_label.hosts, 3, "the profile gave all of them this label");
    assert_eq!(listed(&w, VulnerabilityQuery::default()).await.len(), 1, "accepted everywhere: not listed");
    let fleet = w.control.fleet_security(&w.server()).await.expect("numbers");
    assert_eq!((fleet.excepted, fleet.vulnerabilities.values().sum::<u32>()), (1, 1));
    let edit = InstanceEdit { labels: Some([("env".to_owned(), "prod".to_owned())].into()), ..InstanceEdit::default() };
    w.control.edit_instance(&w.server(), &hosts[2].name, edit, None).await.expect("edited");
    assert_eq!(numbers(&w).await.iter().find(|r| r.0 == "CVE-2026-0001"), Some(&row("CVE-2026-0001", 1, 0, 2)));
    let all = w.control.instance_vulnerabilities(&w.server(), &hosts[0].name, true).await.expect("listed");
    let mark = all.iter().find_map(|v| v.exception.clone()).expect("marked");
    assert_eq!(mark.id, by_label.id, "the one that lasts longest");

    w.control.delete_exception(&w.server(), &by_label.id.to_string()).await.expect("deleted");
    w.control.delete_exception(&w.server(), &group.id.to_string()).await.expect("deleted");
    assert_eq!(numbers(&w).await[0], row("CVE-2026-0001", 3, 0, 0));
    let done: Vec<String> =
        w.audit().await.into_iter().map(|a| a.operation.to_string()).filter(|o| o.starts_with("exception.")).collect();
    assert_eq!(done, ["exception.delete", "exception.delete", "exception.create", "exception.create"]);
}

#[tokio::test]
async fn what_cannot_be_accepted_is_refused() {
    let (w, _) = world().await;
    for (refused, kind) in [
        (spec(&w, ScopeSpec::All {}, 0), ErrorKind::Invalid),
        (spec(&w, ScopeSpec::All {}, 400), ErrorKind::Invalid),
        (ExceptionSpec { reason: String::new(), ..spec(&w, ScopeSpec::All {}, 1) }, ErrorKind::Invalid),
        (spec(&w, ScopeSpec::Instance("none-such".into()), 1), ErrorKind::NotFound),
        (spec(&w, ScopeSpec::Group("none-such".into()), 1), ErrorKind::NotFound),
    ] {
        let error = w.control.create_exception(&w.server(), refused.clone()).await.expect_err("refused");
        assert_eq!(error.kind(), kind, "{refused:?}: {error}");
    }
    let viewer = w.person(Role::Viewer).await;
    let denied = w.control.create_exception(&viewer, spec(&w, ScopeSpec::All {}, 1)).await.expect_err("denied");
    assert_eq!(denied.kind(), ErrorKind::Forbidden);
    assert!(w.control.list_exceptions(&viewer).await.expect("a viewer reads").is_empty());
    for id in ["x", "0198c0de-0000-7000-8000-000000000000"] {
        assert_eq!(w.control.delete_exception(&w.server(), id).await.expect_err("none").kind(), ErrorKind::NotFound);
    }
}

//! The inventory history: what a host and the fleet had when, who had a package, and that it survives restarts, retention
//! and databases from before it.
#![allow(missing_docs)]

mod common;

use common::*;
use drydock_control::records::PageQuery;
use drydock_control::{ErrorKind, HoldingQuery, HoldingView, SectionBodyIn, SectionIn};
use drydock_domain::inventory::{Package, PackageSet, SectionKind, combined_fingerprint, diff, fingerprint};
use jiff::Timestamp;

const DAY: i64 = 86_400;

fn set(packages: &[(&str, &str)]) -> PackageSet {
    let package = |(name, version): &(&str, &str)| Package {
        name: (*name).into(),
        arch: "x86_64".into(),
        version: (*version).into(),
        source: format!("{name}-{version}.src.rpm"),
        vendor: "V".into(),
    };
    PackageSet::new(packages.iter().map(package).collect())
}

fn body(set: &PackageSet) -> Vec<u8> {
    serde_json::to_vec(set).expect("JSON")
}

fn full(set: &PackageSet) -> SectionIn {
    let body = body(set);
    SectionIn { kind: "packages".into(), fingerprint: fingerprint(&body), body: SectionBodyIn::Full(body) }
}

async fn send(w: &World, host: &Host, packages: &[(&str, &str)]) -> Timestamp {
    let ctx = host.ctx(w).await;
    assert_eq!(w.control.report_inventory(&ctx, vec![full(&set(packages))]).await.expect("taken"), []);
    Timestamp::from_second(ctx.now.as_second()).expect("in range")
}

async fn had(w: &World, host: &str, at: Timestamp) -> Vec<String> {
    let view = w.control.instance_packages_at(&w.server(), host, "", at).await.expect("known");
    assert_eq!(view.fingerprint, fingerprint(&body(&PackageSet::new(view.packages.clone()))), "the whole set, as it was sent");
    view.packages.into_iter().map(|p| format!("{} {}", p.name, p.version)).collect()
}

async fn who_had(w: &World, name: &str, query: HoldingQuery) -> Vec<String> {
    let found = w.control.who_had(&w.server(), name, &query).await.expect("asked").items;
    let line = |h: HoldingView| {
        let day = |at: Timestamp| at.as_second().saturating_sub(START).div_euclid(DAY);
        let until = h.until.map_or("still".to_owned(), |at| day(at).to_string());
        format!("{} {} {}..{until}{}", h.host, h.version, day(h.from), if h.from_begin { " begin" } else { "" })
    };
    found.into_iter().map(line).collect()
}

/// Two hosts, three days: h1 is patched on day 1 and loses a package on day 2; h2 comes on day 1 and stays.
async fn three_days(w: &World) -> Vec<Host> {
    let hosts = w.hosts(2).await;
    send(w, &hosts[0], &[("bash", "5.1-1"), ("openssl", "3.0.7-1"), ("telnet", "1-1")]).await;
    w.pass(DAY);
    send(w, &hosts[0], &[("bash", "5.1-1"), ("openssl", "3.0.8-1"), ("telnet", "1-1")]).await;
    send(w, &hosts[1], &[("bash", "5.1-1"), ("openssl", "3.0.7-1"), ("telnet", "1-1")]).await;
    w.pass(DAY);
    send(w, &hosts[0], &[("bash", "5.1-1"), ("openssl", "3.0.8-1")]).await;
    w.pass(3600);
    hosts
}

fn day(n: i64) -> Timestamp {
    Timestamp::from_second(START + n * DAY + 1800).expect("in range")
}

#[tokio::test]
async fn any_host_and_the_fleet_at_any_time_also_after_a_restart() {
    let mut w = World::new().await;
    three_days(&w).await;
    for restarted in [false, true] {
        if restarted {
            w.restart().await;
        }
        assert_eq!(had(&w, "h1", day(0)).await, ["bash 5.1-1", "openssl 3.0.7-1", "telnet 1-1"]);
        assert_eq!(had(&w, "h1", day(1)).await, ["bash 5.1-1", "openssl 3.0.8-1", "telnet 1-1"]);
        assert_eq!(had(&w, "h1", day(2)).await, ["bash 5.1-1", "openssl 3.0.8-1"]);
        let early = w.control.instance_packages_at(&w.server(), "h2", "", day(0)).await.expect_err("nothing is known");
        assert!(early.kind() == ErrorKind::NotFound && early.to_string().contains("begins at"), "{early}");
        let view = w.control.instance_packages_at(&w.server(), "h1", "ssl", day(2)).await.expect("known");
        assert_eq!((view.packages.len(), view.changed_at.as_second().div_euclid(DAY)), (1, day(2).as_second().div_euclid(DAY)));

        let changed = w.control.instance_packages_diff(&w.server(), "h1", day(0), day(2)).await.expect("known").changes;
        let changed: Vec<_> = changed.into_iter().map(|c| (c.name, c.from, c.to)).collect();
        let s = |t: &str| Some(t.to_owned());
        assert_eq!(changed, [("openssl".into(), s("3.0.7-1"), s("3.0.8-1")), ("telnet".into(), s("1-1"), None)]);
        assert!(w.control.instance_packages_diff(&w.server(), "h1", day(2), day(0)).await.is_err(), "backwards");

        let fleet = async |at, name: &str| {
            let rows = w.control.list_packages(&w.server(), name, at, &PageQuery::default()).await.expect("listed").items;
            rows.into_iter().map(|r| format!("{} {} {}", r.name, r.version, r.hosts)).collect::<Vec<_>>()
        };
        assert_eq!(fleet(None, "").await, ["bash 5.1-1 2", "openssl 3.0.7-1 1", "openssl 3.0.8-1 1", "telnet 1-1 1"]);
        assert_eq!(fleet(Some(day(0)), "s").await, ["bash 5.1-1 1", "openssl 3.0.7-1 1"]);
        assert_eq!(fleet(Some(day(1)), "openssl").await, ["openssl 3.0.7-1 1", "openssl 3.0.8-1 1"]);
        let first = PageQuery { cursor: None, limit: Some(3) };
        let page = w.control.list_packages(&w.server(), "", None, &first).await.expect("listed");
        let next = PageQuery { cursor: page.next_cursor, limit: Some(3) };
        let rest = w.control.list_packages(&w.server(), "", None, &next).await.expect("listed");
        assert_eq!((page.items.len(), rest.items.len(), rest.next_cursor), (3, 1, None));
    }
}

#[tokio::test]
async fn who_had_which_version_when() {
    let w = World::new().await;
    three_days(&w).await;
    let query = |version: &str| HoldingQuery { version: version.into(), ..HoldingQuery::default() };
    assert_eq!(
        who_had(&w, "openssl", query("")).await,
        ["h1 3.0.7-1 0..1 begin", "h1 3.0.8-1 1..still", "h2 3.0.7-1 1..still begin"]
    );
    assert_eq!(who_had(&w, "openssl", query("3.0.8-1")).await, ["h1 3.0.8-1 1..still"]);
    assert_eq!(who_had(&w, "openssl", query(">=3, <3.0.8-1")).await.len(), 2);
    assert_eq!(who_had(&w, "bash", query("")).await, ["h1 5.1-1 0..still begin", "h2 5.1-1 1..still begin"], "one stay each");
    assert_eq!(who_had(&w, "telnet", query("")).await[0], "h1 1-1 0..2 begin");
    let window = HoldingQuery { from: Some(day(2)), to: Some(day(2)), ..query("<3.0.8") };
    assert_eq!(who_had(&w, "openssl", window).await, ["h2 3.0.7-1 1..still begin"]);
    assert!(who_had(&w, "none-such", query("")).await.is_empty());
    assert!(who_had(&w, "bash", HoldingQuery { arch: "s390x".into(), ..query("") }).await.is_empty());
    assert!(w.control.who_had(&w.server(), "openssl", &query("<")).await.is_err());
    let mut page = PageQuery { cursor: None, limit: Some(1) };
    let mut seen = Vec::new();
    loop {
        let query = HoldingQuery { page: page.clone(), ..query("") };
        let got = w.control.who_had(&w.server(), "openssl", &query).await.expect("asked");
        seen.extend(got.items.into_iter().map(|h| (h.host, h.version)));
        page.cursor = got.next_cursor;
        if page.cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[tokio::test]
async fn many_hosts_at_once_are_stored_each_as_it_reported() {
    let w = World::new().await;
    let hosts = w.hosts(40).await;
    for round in ["1", "2"] {
        let mut reports = Vec::new();
        for (n, host) in hosts.iter().enumerate() {
            let own = format!("{round}.{n}");
            let packages = set(&[("bash", "5.1-1"), ("own", &own), ("shared", round)]);
            let (control, ctx) = (w.control.clone(), host.ctx(&w).await);
            reports.push(tokio::spawn(async move { control.report_inventory(&ctx, vec![full(&packages)]).await }));
        }
        for report in reports {
            assert_eq!(report.await.expect("ends").expect("taken"), []);
        }
        w.pass(10);
        for (n, host) in hosts.iter().enumerate() {
            let shown = w.control.instance_packages(&w.server(), &host.name, "").await.expect("packages");
            assert_eq!(
                PackageSet::new(shown.packages),
                set(&[("bash", "5.1-1"), ("own", &format!("{round}.{n}")), ("shared", round)])
            );
        }
    }
    let entries = w.control.instance_history(&w.server(), "h7", &PageQuery::default()).await.expect("history").items;
    assert_eq!((entries[0].kind.as_str(), entries[0].changes_total), ("packages-changed", 2));
    let gone = hosts[3].ctx(&w).await;
    w.control.delete_instance(&w.server(), "h4").await.expect("deleted");
    let there = hosts[4].ctx(&w).await;
    let (left, right) = tokio::join!(
        w.control.report_inventory(&gone, vec![full(&set(&[("x", "1")]))]),
        w.control.report_inventory(&there, vec![full(&set(&[("y", "1")]))]),
    );
    assert!(left.is_err(), "there is no such host");
    assert_eq!(right.expect("another's fault"), []);
}

#[tokio::test]
async fn one_fingerprint_confirms_everything_and_a_delta_still_fits() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let (old, new) = (set(&[("a", "1")]), set(&[("a", "2"), ("b", "1")]));
    let none = combined_fingerprint(&[]);
    assert!(!w.control.confirm_inventory(&host.ctx(&w).await, &none).await.expect("asked"), "there is nothing to confirm");
    w.control.report_inventory(&host.ctx(&w).await, vec![full(&old)]).await.expect("taken");
    let print = fingerprint(&body(&old));
    let combined = combined_fingerprint(&[(SectionKind::Packages, &print)]);
    let ctx = host.ctx(&w).await;
    assert!(w.control.confirm_inventory(&ctx, &combined).await.expect("asked"));
    assert!(!w.control.confirm_inventory(&ctx, b"short").await.expect("asked"));
    let delta = serde_json::to_vec(&diff(&old, &new)).expect("JSON");
    let section = SectionIn {
        kind: "packages".into(),
        fingerprint: fingerprint(&body(&new)),
        body: SectionBodyIn::Delta { base_fingerprint: print, delta },
    };
    w.pass(5);
    assert_eq!(w.control.report_inventory(&host.ctx(&w).await, vec![section]).await.expect("taken"), []);
    assert!(!w.control.confirm_inventory(&host.ctx(&w).await, &combined).await.expect("asked"), "that is over");
    assert_eq!(had(&w, "h1", w.control.now()).await, ["a 2", "b 1"]);
}

#[tokio::test]
async fn history_is_kept_for_400_days_and_what_it_named_is_forgotten() {
    let w = World::new().await;
    let hosts = three_days(&w).await;
    w.pass(399 * DAY);
    w.settle().await;
    assert_eq!(had(&w, "h1", day(1)).await.len(), 3, "not old yet");
    w.pass(2 * DAY);
    send(&w, &hosts[1], &[("bash", "5.1-1")]).await;
    w.settle().await;
    w.pass(2 * DAY);
    w.settle().await;
    let gone = w.control.instance_packages_at(&w.server(), "h1", "", day(1)).await.expect_err("forgotten");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert_eq!(had(&w, "h1", day(3)).await, ["bash 5.1-1", "openssl 3.0.8-1"], "what it has since then");
    assert_eq!(had(&w, "h2", day(3)).await.len(), 3, "the span that ended lately stays whole");
    send(&w, &hosts[0], &[("bash", "5.1-1"), ("openssl", "3.0.7-1"), ("telnet", "1-1")]).await;
    assert_eq!(had(&w, "h1", w.control.now()).await.len(), 3, "a set that was swept comes back");
}

#[tokio::test]
async fn hosts_from_before_there_was_a_history_begin_it_with_what_they_have() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    let since = send(&w, &hosts[0], &[("a", "1")]).await;
    send(&w, &hosts[1], &[("a", "1")]).await;
    w.pass(DAY);
    // As a server without histories left it: the body is JSON, and nothing else is there.
    {
        use drydock_control::store::{Location, Store, commit, inventory};
        let store = Store::open(&Location::Sqlite(w.dir.path().join("drydock.sqlite"))).await.expect("a store");
        let mut tx = store.begin().await.expect("begun");
        let body = body(&set(&[("a", "1")]));
        inventory::replace_body(&mut tx, SectionKind::Packages, &fingerprint(&body), &body).await.expect("stored");
        for host in &hosts {
            drydock_control::store::history_timelines::forget(&mut tx, host.id).await.expect("forgotten");
        }
        commit(tx).await.expect("committed");
        store.close().await;
    }
    assert!(w.control.instance_packages_at(&w.server(), "h1", "", w.control.now()).await.is_err());
    // One reports before the reconciler came to it, the other does not.
    send(&w, &hosts[1], &[("a", "2")]).await;
    assert_eq!(had(&w, "h2", since.saturating_add(jiff::SignedDuration::from_secs(60)).expect("in range")).await, ["a 1"]);
    assert_eq!(had(&w, "h2", w.control.now()).await, ["a 2"]);
    w.settle().await;
    assert_eq!(had(&w, "h1", since).await, ["a 1"], "since it has it");
    assert_eq!(w.control.instance_packages(&w.server(), "h1", "").await.expect("packages").packages.len(), 1);
}

//! `drydock package` and the history of an instance's packages.

use drydock_api::rest::{InstalledPackage, PackageChanges, PackageHolding, PackageList, Page};
use drydock_domain::inventory::{Package, PackageChange};
use jiff::Timestamp;

use crate::documents::{instance, uuid};
use crate::fake::Fake;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn page<T>(items: Vec<T>) -> Page<T> {
    Page { items, next_cursor: None }
}

#[tokio::test]
async fn packages_of_the_fleet_are_listed_now_and_as_of_a_time() {
    let fake = Fake::start().await;
    let row =
        |version: &str, hosts| InstalledPackage { name: "openssl".into(), arch: "x86_64".into(), version: version.into(), hosts };
    fake.json("GET /packages?q=ssl&limit=1000", &page(vec![row("3.0.7-1.el9", 12), row("3.0.8-1.el9", 4988)]))
        .json("GET /packages?asOf=2026-11-12T22%3A00%3A00Z&limit=1000", &page(vec![row("3.0.7-1.el9", 5000)]));
    let now = fake.run("package list ssl").await;
    assert_eq!(
        now.out.lines().nth(2).map(|l| l.split_whitespace().collect::<Vec<_>>()),
        Some(vec!["openssl", "3.0.8-1.el9", "x86_64", "4988"]),
        "{now}"
    );
    let then = fake.run("package list --as-of 7d -o csv").await;
    assert_eq!(then.out, "arch,hosts,name,version\r\nx86_64,5000,openssl,3.0.7-1.el9\n", "{then}");
    assert_eq!(fake.run("package list --as-of yesterday").await.code, 2);
}

#[tokio::test]
async fn who_had_a_package_is_asked_with_bounds_and_times() {
    let fake = Fake::start().await;
    let row = |host: &str, from_begin, until: Option<&str>| PackageHolding {
        host: host.into(),
        arch: "x86_64".into(),
        version: "3.0.7-1.el9".into(),
        from: at("2026-01-02T03:04:05Z"),
        from_begin,
        until: until.map(at),
    };
    let rows = page(vec![row("db-1", true, None), row("web-1", false, Some("2026-02-02T00:00:00Z"))]);
    let line =
        "GET /packages/openssl/holdings?version=%3C3.0.14&from=2026-01-01T00%3A00%3A00Z&to=2026-11-18T10%3A00%3A00Z&limit=1000";
    fake.json(line, &rows).json("GET /packages/openssl/holdings?limit=1000", &rows);
    let ran = fake.run("package who-had openssl --version <3.0.14 --from 2026-01-01 --to 36h").await;
    let lines: Vec<Vec<&str>> = ran.out.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines[1], ["db-1", "3.0.7-1.el9", "x86_64", "<=", "2026-01-02T03:04:05Z", "still"], "{ran}");
    assert_eq!(lines[2], ["web-1", "3.0.7-1.el9", "x86_64", "2026-01-02T03:04:05Z", "2026-02-02T00:00:00Z"], "{ran}");
    let csv = fake.run("package who-had openssl -o csv").await;
    assert!(
        csv.out.starts_with("arch,from,fromBegin,host,until,version\r\nx86_64,2026-01-02T03:04:05Z,true,db-1,,3.0.7"),
        "{csv}"
    );
}

#[tokio::test]
async fn an_instance_is_shown_as_of_a_time_and_compared() {
    let fake = Fake::start().await;
    let id = uuid(11);
    let package = Package { name: "bash".into(), arch: "x86_64".into(), version: "5.1-1".into(), ..Package::default() };
    let list = PackageList { fingerprint: "f".into(), changed_at: at("2026-01-01T00:00:00Z"), packages: vec![package] };
    let change =
        PackageChange { name: "bash".into(), arch: "x86_64".into(), from: Some("5.1-1".into()), to: Some("5.2-1".into()) };
    let from = at("2026-11-01T00:00:00Z");
    let changes = PackageChanges { from, to: at("2026-11-19T22:00:00Z"), changes: vec![change] };
    fake.json("GET /instances/web-1", &instance(11, "web-1"))
        .json(&format!("GET /instances/{id}/packages?asOf=2026-11-01T00%3A00%3A00Z"), &list)
        .json(&format!("GET /instances/{id}/package-changes?from=2026-11-01T00%3A00%3A00Z"), &changes);
    let then = fake.run("instance packages web-1 --as-of 2026-11-01").await;
    assert!(then.out.contains("5.1-1"), "{then}");
    let diff = fake.run("instance diff web-1 --from 2026-11-01").await;
    assert_eq!(
        diff.out.lines().nth(1).map(|l| l.split_whitespace().collect::<Vec<_>>()),
        Some(vec!["bash", "x86_64", "5.1-1", "5.2-1"]),
        "{diff}"
    );
    let csv = fake.run("instance diff web-1 --from 2026-11-01 -o csv").await;
    assert_eq!(csv.out, "arch,from,name,to\r\nx86_64,5.1-1,bash,5.2-1\n", "{csv}");
    let refused = fake.run("instance show web-1 -o csv").await;
    assert!(refused.code == 2 && refused.err.contains("csv is for lists"), "{refused}");
}

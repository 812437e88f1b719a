//! The picture of the fleet over restarts and promotions: the same answers, without computing anew what did not change.
#![allow(missing_docs)]

mod common;

use common::alma::{osv, report};
use common::sources::{Yum, attach, into};
use common::*;
use drydock_control::records::PageQuery;
use drydock_control::{FleetWork, SourcesChange, VulnerabilityQuery};

const OLD: [(&str, &str); 2] = [("bash", "4.4.20-4.el8"), ("zlib", "1.2.11-25.el8")];
const MENDED: [(&str, &str); 2] = [("bash", "4.4.20-5.el8"), ("zlib", "1.2.11-25.el8")];

/// Three hosts that are alike and one of another kind, with two open CVEs.
async fn world() -> (World, Vec<Host>) {
    let w = World::new().await;
    let hosts = w.hosts(4).await;
    for host in &hosts[..3] {
        report(&w, host, &OLD).await;
    }
    report(&w, &hosts[3], &[("bash", "4.4.20-4.el8")]).await;
    let feed = osv("ALSA-2026:0001", "Critical", "bash", "0:4.4.20-5.el8", "CVE-2026-0001")
        + &osv("ALSA-2026:0002", "Important", "zlib", "0:1.2.11-26.el8", "CVE-2026-0002");
    w.import("alma8", &feed).await;
    (w, hosts)
}

/// (CVE, hosts, since) in the list's order.
async fn open(w: &World) -> Vec<(String, u32, Option<jiff::Timestamp>)> {
    let page = PageQuery::default();
    let all = w.control.list_vulnerabilities(&w.server(), &VulnerabilityQuery::default(), &page).await.expect("listed");
    all.items.into_iter().map(|v| (v.id, v.hosts, v.since)).collect()
}

#[tokio::test]
async fn a_killed_server_goes_on_without_computing_what_did_not_change() {
    let (mut w, hosts) = world().await;
    assert_eq!(w.control.fleet_work().hosts_read, 4);
    w.pass(700);
    w.settle().await;
    let before = open(&w).await;
    assert_eq!(before.iter().map(|(_, hosts, _)| *hosts).collect::<Vec<_>>(), [4, 3]);

    w.restart().await;
    w.settle().await;
    assert_eq!(w.control.fleet_work(), FleetWork::default(), "nothing is read, nothing is computed");
    assert_eq!(open(&w).await, before);
    let own = w.control.instance_vulnerabilities(&w.server(), &hosts[0].name, false).await.expect("listed");
    assert_eq!(own.len(), 2, "what is asked of one host is made when it is asked");

    // What changed since the picture was kept, and what changed while the server was away.
    report(&w, &hosts[0], &MENDED).await;
    w.settle().await;
    report(&w, &hosts[1], &MENDED).await;
    w.control.delete_instance(&w.server(), &hosts[3].name).await.expect("deleted");
    w.restart().await;
    w.settle().await;
    let work = w.control.fleet_work();
    assert_eq!((work.hosts_read, work.classes_computed, work.feeds_read), (2, 1, 0), "both have the same packages now");
    let after: Vec<_> = open(&w).await.into_iter().map(|(cve, hosts, since)| (cve, hosts, since.is_some())).collect();
    assert_eq!(after, [("CVE-2026-0001".to_owned(), 1, true), ("CVE-2026-0002".to_owned(), 3, true)]);

    // A feed that changed is read; of the hosts only answers that hang on it are computed.
    w.import("alma8", &osv("ALSA-2026:0003", "Low", "bash", "0:4.4.20-5.el8", "CVE-2026-0003")).await;
    let later = w.control.fleet_work();
    assert_eq!((later.hosts_read, later.classes_computed, later.feeds_read), (2, 3, 1));
    assert_eq!(open(&w).await.len(), 3);
}

#[tokio::test]
async fn a_picture_that_is_of_no_use_is_made_anew() {
    let (mut w, _) = world().await;
    w.pass(700);
    w.settle().await;
    let before = open(&w).await;
    let file = w.dir.path().join(PICTURE);
    let kept = std::fs::read(&file).expect("a picture");
    let (other, _) = world().await;
    other.pass(700);
    other.settle().await;
    let foreign = std::fs::read(other.dir.path().join(PICTURE)).expect("a picture");
    for (what, bytes) in [("cut", kept[..kept.len() / 2].to_vec()), ("foreign", foreign), ("empty", Vec::new())] {
        std::fs::write(&file, bytes).expect("written");
        w.restart().await;
        w.settle().await;
        let work = w.control.fleet_work();
        assert_eq!((work.hosts_read, work.feeds_read), (4, 1), "{what}");
        assert_eq!(work.classes_computed, 2, "{what}: two kinds of hosts");
        assert_eq!(open(&w).await, before, "{what}");
    }
    std::fs::remove_file(&file).expect("removed");
    w.restart().await;
    w.settle().await;
    assert_eq!((w.control.fleet_work().hosts_read, open(&w).await), (4, before));
    assert!(file.exists(), "it is kept at once");
}

#[tokio::test]
async fn a_promotion_reads_and_computes_what_differs() {
    let w = World::new().await;
    let hosts = w.hosts(3).await;
    let yum = Yum::new(5);
    w.synced(&yum, "base").await;
    w.environment("prod", 20).await;
    w.promote("prod", r#"{"sources":["base"]}"#).await;
    let name =
        w.control.snapshot_units(&w.server(), "base", "latest", &Default::default()).await.expect("units").units[0].clone();
    let (name, version) = (name.name, name.version);
    for (n, host) in hosts.iter().enumerate() {
        w.change(host, SourcesChange { environment: into("prod").environment, ..attach(&["base"]) }).await;
        let others: Vec<String> = (0..n).map(|i| format!("other{i}")).collect();
        let mut packages: Vec<(&str, &str)> = others.iter().map(|o| (o.as_str(), "1-1")).collect();
        if n > 0 {
            packages.push((&name, &version));
        }
        report(&w, host, &packages).await;
    }
    w.settle().await;
    let updates = async |host: &Host| {
        let view = w.control.instance_updates(&w.server(), &host.name).await.expect("updates");
        serde_json::to_value(&view.updates).expect("JSON").as_array().map_or(0, Vec::len)
    };
    assert_eq!(updates(&hosts[1]).await, 0);

    // New packages that nobody has.
    let before = w.control.fleet_work();
    yum.publish(5, 1, 1);
    w.sync("base").await;
    w.promote("prod", r#"{"sources":["base"]}"#).await;
    let work = w.control.fleet_work();
    assert_eq!((work.snapshots_read, work.snapshots_compared), (before.snapshots_read, before.snapshots_compared + 1));
    assert_eq!(work.classes_computed, before.classes_computed, "no host has what is new");
    assert_eq!(work.hosts_read, before.hosts_read + 3, "they see another snapshot");

    // Newer versions: of those who have the packages.
    yum.publish(5, 2, 1);
    w.sync("base").await;
    w.promote("prod", r#"{"sources":["base"]}"#).await;
    let later = w.control.fleet_work();
    assert_eq!(later.classes_computed, work.classes_computed + 2, "two of three hosts have one of them");
    assert_eq!([updates(&hosts[0]).await, updates(&hosts[1]).await, updates(&hosts[2]).await], [0, 1, 1]);
    // And back.
    w.promote("prod", r#"{"rollback":true}"#).await;
    assert_eq!(updates(&hosts[1]).await, 0);
}

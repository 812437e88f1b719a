//! Inventory reports: what travels, what is stored, what hosts cannot do to the server.
#![allow(missing_docs)]

mod common;

use common::*;
use drydock_control::records::{HistoryRecord, PageQuery};
use drydock_control::{ErrorKind, SectionBodyIn, SectionIn};
use drydock_domain::host_rules::HostRules;
use drydock_domain::inventory::{
    Health, OsFacts, Package, PackageDelta, PackageSet, RebootReason, SectionKind, Update, UpdateKind, UpdateSet, diff,
    fingerprint,
};
use serde::Serialize;

fn set(packages: &[(&str, &str)]) -> PackageSet {
    let package = |(name, version): &(&str, &str)| Package {
        name: (*name).into(),
        arch: "amd64".into(),
        version: (*version).into(),
        ..Package::default()
    };
    PackageSet::new(packages.iter().map(package).collect())
}

fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON")
}

fn full<T: Serialize>(kind: SectionKind, value: &T) -> SectionIn {
    let body = bytes(value);
    SectionIn { kind: kind.as_str().into(), fingerprint: fingerprint(&body), body: SectionBodyIn::Full(body) }
}

fn bare<T: Serialize>(kind: SectionKind, value: &T) -> SectionIn {
    SectionIn { body: SectionBodyIn::None, ..full(kind, value) }
}

fn delta(from: &PackageSet, to: &PackageSet, delta: &PackageDelta) -> SectionIn {
    let body = SectionBodyIn::Delta { base_fingerprint: fingerprint(&bytes(from)), delta: bytes(delta) };
    SectionIn { body, ..full(SectionKind::Packages, to) }
}

async fn send(w: &World, host: &Host, sections: Vec<SectionIn>) -> Vec<SectionKind> {
    w.control.report_inventory(&host.ctx(w).await, sections).await.expect("taken")
}

async fn history(w: &World, host: &Host) -> Vec<HistoryRecord> {
    w.control.instance_history(&w.server(), &host.name, &PageQuery::default()).await.expect("history").items
}

#[tokio::test]
async fn a_body_travels_once_for_all_hosts_that_have_it() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    let packages = set(&[("bash", "5.1"), ("openssl", "3.0.1")]);
    assert_eq!(send(&w, &hosts[0], vec![bare(SectionKind::Packages, &packages)]).await, [SectionKind::Packages]);
    assert!(send(&w, &hosts[0], vec![full(SectionKind::Packages, &packages)]).await.is_empty());
    assert!(send(&w, &hosts[0], vec![bare(SectionKind::Packages, &packages)]).await.is_empty());
    assert!(send(&w, &hosts[1], vec![bare(SectionKind::Packages, &packages)]).await.is_empty(), "the other's body is known");
    let view = w.control.instance_packages(&w.server(), "h2", "ssl").await.expect("packages");
    assert_eq!(view.packages.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["openssl"]);
    let record = w.control.get_instance(&w.server(), "h2").await.expect("there").record;
    assert_eq!(record.inventory.expect("summed").packages, 2);
    let none = w.control.instance_updates(&w.server(), "h2").await.expect_err("never sent");
    assert_eq!(none.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn rules_of_a_host_are_shown_and_kinds_from_the_future_passed_over() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let none = w.control.instance_rules(&w.server(), "h1").await.expect_err("an agent that is older");
    assert_eq!(none.kind(), ErrorKind::NotFound);
    let rules = HostRules { holds: vec!["tar".into(), "bash".into()], ..HostRules::default() };
    let future = SectionIn { kind: "from-the-future".into(), ..full(SectionKind::Rules, &rules) };
    assert!(send(&w, &host, vec![future, full(SectionKind::Rules, &rules)]).await.is_empty());
    assert_eq!(w.control.instance_rules(&w.server(), "h1").await.expect("rules").rules.holds, ["bash", "tar"]);
    assert!(send(&w, &host, vec![bare(SectionKind::Rules, &rules)]).await.is_empty(), "known by the name the agent has for it");
    assert!(send(&w, &host, vec![full(SectionKind::Rules, &HostRules::default())]).await.is_empty());
    assert_eq!(w.control.instance_rules(&w.server(), "h1").await.expect("rules").rules, HostRules::default());
}

/// What an agent sends that knows a field more than this server (or this one's `vendor`, to the server before it).
fn with_more(packages: &[(&str, &str)]) -> (String, Vec<u8>) {
    let text = String::from_utf8(bytes(&set(packages))).expect("text").replace("}", ",\"more\":\"x\"}");
    (fingerprint(text.as_bytes()), text.into_bytes())
}

#[tokio::test]
async fn an_agent_that_knows_more_of_packages_than_the_server_is_understood() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let ((old, old_body), (new, new_body)) = (with_more(&[("a", "1"), ("b", "1")]), with_more(&[("a", "2"), ("b", "1")]));
    let kind = || "packages".to_owned();
    let whole = |fingerprint: &str, body: &[u8]| SectionIn {
        kind: kind(),
        fingerprint: fingerprint.to_owned(),
        body: SectionBodyIn::Full(body.to_vec()),
    };
    assert!(send(&w, &host, vec![whole(&old, &old_body)]).await.is_empty());
    let again = SectionIn { kind: kind(), fingerprint: old.clone(), body: SectionBodyIn::None };
    assert!(send(&w, &host, vec![again]).await.is_empty(), "its name for the body is remembered");
    // The delta's result has another fingerprint here than there: the whole set settles it.
    let delta = br#"{"added":[{"name":"a","arch":"amd64","version":"2","more":"x"}],"removed":[{"name":"a","arch":"amd64","version":"1","more":"x"}]}"#;
    let body = SectionBodyIn::Delta { base_fingerprint: old, delta: delta.to_vec() };
    let part = SectionIn { kind: kind(), fingerprint: new.clone(), body };
    assert_eq!(send(&w, &host, vec![part]).await, [SectionKind::Packages]);
    assert!(send(&w, &host, vec![whole(&new, &new_body)]).await.is_empty());
    let shown = w.control.instance_packages(&w.server(), "h1", "a").await.expect("packages").packages;
    assert_eq!(shown[0].version, "2");
}

#[tokio::test]
async fn a_vendor_is_kept_and_learnt_when_an_agent_is_updated() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let old = set(&[("a", "1"), ("b", "1")]);
    let vendor = |set: &PackageSet| {
        let known = |p: &Package| Package { vendor: "ACME".into(), ..p.clone() };
        PackageSet::new(set.as_slice().iter().map(known).collect())
    };
    send(&w, &host, vec![full(SectionKind::Packages, &old)]).await;
    let new = vendor(&old);
    assert!(send(&w, &host, vec![delta(&old, &new, &diff(&old, &new))]).await.is_empty());
    let shown = || async { w.control.instance_packages(&w.server(), "h1", "").await.expect("packages").packages };
    assert_eq!(shown().await, new.as_slice());
    let next = vendor(&set(&[("a", "2"), ("b", "1")]));
    assert!(send(&w, &host, vec![delta(&new, &next, &diff(&new, &next))]).await.is_empty());
    assert_eq!(shown().await, next.as_slice());
}

#[tokio::test]
async fn a_delta_is_applied_to_its_own_base_only() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let (old, new) = (set(&[("a", "1"), ("b", "1")]), set(&[("a", "2"), ("c", "1")]));
    send(&w, &host, vec![full(SectionKind::Packages, &old)]).await;
    assert!(send(&w, &host, vec![delta(&old, &new, &diff(&old, &new))]).await.is_empty());
    let shown = w.control.instance_packages(&w.server(), "h1", "").await.expect("packages").packages;
    assert_eq!(PackageSet::new(shown), new);
    let changed = history(&w, &host).await.remove(0);
    assert_eq!((changed.kind.as_str(), changed.changes_total), ("packages-changed", 3));

    // A base the server does not have, a delta that does not fit, and one whose result is another set.
    let (third, fourth) = (set(&[("z", "9")]), set(&[("y", "8")]));
    assert_eq!(send(&w, &host, vec![delta(&third, &fourth, &diff(&third, &fourth))]).await, [SectionKind::Packages]);
    let misfit = PackageDelta { added: vec![], removed: third.as_slice().to_vec() };
    assert_eq!(send(&w, &host, vec![delta(&new, &third, &misfit)]).await, [SectionKind::Packages]);
    let lie = PackageDelta { added: third.as_slice().to_vec(), removed: vec![] };
    assert_eq!(send(&w, &host, vec![delta(&new, &third, &lie)]).await, [SectionKind::Packages]);
    let shown = w.control.instance_packages(&w.server(), "h1", "").await.expect("packages").packages;
    assert_eq!(PackageSet::new(shown), new, "nothing of it is stored");
}

#[tokio::test]
async fn updates_and_health_are_summed_up() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let update = |name: &str, kind, held: &str| Update { name: name.into(), kind, held: held.into(), ..Update::default() };
    let updates = UpdateSet {
        updates: vec![
            update("a", UpdateKind::Security, ""),
            update("b", UpdateKind::Bugfix, ""),
            update("c", UpdateKind::Security, "held by apt-mark"),
        ],
        findings: vec![],
    };
    let reason = RebootReason { source: "kernel".into(), detail: "newer kernel".into() };
    let health = Health { reboot_reasons: vec![reason], ..Health::default() };
    let os = |boot: &str| OsFacts { hostname: "h1".into(), boot_id: boot.into(), ..OsFacts::default() };
    let sections =
        vec![full(SectionKind::Updates, &updates), full(SectionKind::Health, &health), full(SectionKind::Os, &os("boot-2"))];
    assert!(send(&w, &host, sections).await.is_empty());
    let record = w.control.get_instance(&w.server(), "h1").await.expect("there").record;
    let sum = record.inventory.expect("summed");
    assert_eq!((sum.updates, sum.security_updates, sum.held_updates, sum.reboot_required), (2, 1, 1, true));
    assert_eq!(record.os.expect("facts").boot_id, "boot-2");
    assert_eq!(history(&w, &host).await[0].kind, "rebooted");
    let view = w.control.instance_updates(&w.server(), "h1").await.expect("updates");
    assert_eq!((view.updates.len(), view.health.reboot_reasons.len()), (3, 1));
    let fleet = w.control.overview(&w.server()).await.expect("counts");
    assert_eq!((fleet.updates, fleet.with_security_updates, fleet.reboot_required), (2, 1, 1));

    send(&w, &host, vec![full(SectionKind::Health, &Health::default())]).await;
    let sum = w.control.get_instance(&w.server(), "h1").await.expect("there").record.inventory.expect("summed");
    assert!(!sum.reboot_required && sum.updates == 2, "one section changes, the others stay");
}

#[tokio::test]
async fn a_body_of_another_version_is_kept_under_its_own_fingerprint() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let newer = br#"[{"name":"a","arch":"x","version":"1","colour":"blue"}]"#.to_vec();
    let claimed = fingerprint(&newer);
    let section = |body| SectionIn { kind: "packages".into(), fingerprint: claimed.clone(), body };
    assert!(send(&w, &host, vec![section(SectionBodyIn::Full(newer.clone()))]).await.is_empty());
    assert!(send(&w, &host, vec![section(SectionBodyIn::None)]).await.is_empty(), "not asked for again");
    let view = w.control.instance_packages(&w.server(), "h1", "").await.expect("packages");
    assert_ne!(view.fingerprint, claimed);
    assert_eq!(view.fingerprint, fingerprint(&bytes(&view.packages)), "what is stored is what was checked");
}

#[tokio::test]
async fn hostile_sections_are_refused_and_the_rest_is_stored() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let good = full(SectionKind::Health, &Health { running_kernel: "6.1".into(), ..Health::default() });
    let fp = fingerprint(b"x");
    let raw = |kind: &str, fingerprint: &str, body: &[u8]| SectionIn {
        kind: kind.into(),
        fingerprint: fingerprint.into(),
        body: SectionBodyIn::Full(body.to_vec()),
    };
    let huge = vec![b'['; 9 * 1024 * 1024];
    let sections = vec![
        raw("packages", &fp, b"[{]"),
        raw("updates", "../../x", b"{}"),
        raw("os", &fp, &huge),
        raw("colours", &fp, b"{}"),
        good,
    ];
    let error = w.control.report_inventory(&host.ctx(&w).await, sections).await.expect_err("refused");
    let fields: Vec<_> = error.fields().iter().map(|f| f.field.as_str()).collect();
    assert_eq!(fields, ["packages", "updates", "os"]);
    let delta = SectionBodyIn::Delta { base_fingerprint: fp.clone(), delta: b"{}".to_vec() };
    let wrong = SectionIn { kind: "health".into(), fingerprint: fp.clone(), body: delta };
    let error = w.control.report_inventory(&host.ctx(&w).await, vec![wrong]).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        send(&w, &host, vec![bare(SectionKind::Health, &Health { running_kernel: "6.1".into(), ..Health::default() })])
            .await
            .is_empty()
    );
    let many = vec![raw("os", &fp, b"{}"); 9];
    assert!(w.control.report_inventory(&host.ctx(&w).await, many).await.is_err());
}

#[tokio::test]
async fn a_body_that_is_not_what_it_is_called_deceives_nobody_but_its_sender() {
    let w = World::new().await;
    let hosts = w.hosts(3).await;
    let (old, new, other) = (set(&[("a", "1")]), set(&[("a", "2")]), set(&[("evil", "1")]));
    let lie = || SectionIn { body: SectionBodyIn::Full(bytes(&other)), ..full(SectionKind::Packages, &old) };
    let names = async |host: &str| {
        let view = w.control.instance_packages(&w.server(), host, "").await.expect("packages");
        view.packages.into_iter().map(|p| format!("{} {}", p.name, p.version)).collect::<Vec<_>>()
    };
    send(&w, &hosts[0], vec![full(SectionKind::Packages, &old)]).await;
    // As if it had sent the name alone.
    send(&w, &hosts[1], vec![lie()]).await;
    assert_eq!(names("h2").await, ["a 1"]);
    // The stored body is forgotten; that it was stored once is still remembered.
    for host in &hosts {
        send(&w, host, vec![full(SectionKind::Packages, &new)]).await;
    }
    w.pass(25 * 3600);
    w.settle().await;
    send(&w, &hosts[1], vec![lie()]).await;
    assert_eq!(names("h2").await, ["a 2"], "not stored under another's name");
    assert_eq!(send(&w, &hosts[2], vec![bare(SectionKind::Packages, &old)]).await, [SectionKind::Packages]);
    send(&w, &hosts[2], vec![full(SectionKind::Packages, &old)]).await;
    assert_eq!(names("h3").await, ["a 1"]);
    send(&w, &hosts[1], vec![full(SectionKind::Packages, &other)]).await;
    assert_eq!(names("h2").await, ["evil 1"]);
}

#[tokio::test]
async fn bodies_that_nobody_has_are_forgotten_after_a_day() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let (old, new) = (set(&[("a", "1")]), set(&[("a", "2")]));
    send(&w, &host, vec![full(SectionKind::Packages, &old)]).await;
    send(&w, &host, vec![full(SectionKind::Packages, &new)]).await;
    w.settle().await;
    assert!(send(&w, &host, vec![bare(SectionKind::Packages, &old)]).await.is_empty(), "kept for a day");
    send(&w, &host, vec![bare(SectionKind::Packages, &new)]).await;
    w.pass(25 * 3600);
    w.settle().await;
    assert_eq!(send(&w, &host, vec![bare(SectionKind::Packages, &old)]).await, [SectionKind::Packages]);
    assert!(send(&w, &host, vec![bare(SectionKind::Packages, &new)]).await.is_empty(), "what a host has stays");
}

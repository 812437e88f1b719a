//! Hosts with AlmaLinux 8, and its feed.

use drydock_control::{ImportAsk, SectionBodyIn, SectionIn};
use drydock_domain::inventory::{ManagerKind, OsFacts, Package, PackageSet, SectionKind, UpdateSet, fingerprint};
use serde::Serialize;
use serde_json::json;

use super::{Host, World};

impl World {
    /// Imports a feed, and what follows from it is done.
    pub async fn import(&self, name: &str, feed: &str) {
        let file = self.dir.path().join("feed.jsonl");
        std::fs::write(&file, feed).expect("written");
        self.control.import_feed(&self.server(), name, &ImportAsk::default(), &file).await.expect("imported");
        self.settle().await;
    }
}

fn full<T: Serialize>(kind: SectionKind, value: &T) -> SectionIn {
    let body = serde_json::to_vec(value).expect("JSON");
    SectionIn { kind: kind.as_str().into(), fingerprint: fingerprint(&body), body: SectionBodyIn::Full(body) }
}

/// The host is AlmaLinux 8 with these packages.
pub async fn report(w: &World, host: &Host, packages: &[(&str, &str)]) {
    let os = OsFacts {
        hostname: host.name.clone(),
        short_name: "almalinux".into(),
        version: "8.10".into(),
        long_name: "AlmaLinux 8.10".into(),
        architecture: "x86_64".into(),
        managers: vec![ManagerKind::Dnf],
        ..OsFacts::default()
    };
    let package = |(name, version): (&str, &str)| Package {
        name: name.into(),
        arch: "x86_64".into(),
        version: version.into(),
        ..Package::default()
    };
    let set = PackageSet::new(packages.iter().copied().map(package).collect());
    let sections =
        vec![full(SectionKind::Os, &os), full(SectionKind::Packages, &set), full(SectionKind::Updates, &UpdateSet::default())];
    w.control.report_inventory(&host.ctx(w).await, sections).await.expect("taken");
}

/// A document of AlmaLinux's feed.
pub fn osv(id: &str, severity: &str, package: &str, fixed: &str, cve: &str) -> String {
    let document = json!({
        "id": id, "summary": format!("{severity}: {package} security update"), "details": "text",
        "published": "2026-11-01T00:00:00Z", "modified": "2026-11-02T00:00:00Z", "related": [cve],
        "affected": [{
            "package": {"ecosystem": "AlmaLinux:8", "name": package},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
        }],
    });
    format!("{document}\n")
}

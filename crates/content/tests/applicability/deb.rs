//! apt.

use std::path::Path;

use drydock_content::openpgp::{self, RepositoryKey};
use drydock_domain::applicability::facts::View;
use drydock_domain::applicability::{Fleet, HostInput, HostReport};
use drydock_domain::host_rules::{HostRules, Pin};
use drydock_domain::inventory::{ManagerKind, OsFacts, Package};
use drydock_domain::version::Scheme;
use drydock_testkit::serve::serve_dir;
use drydock_testkit::worlds::{DebStanza, DebWorld, Tool, ask, deb_world};

use crate::{Compared, Said, Site, instance, said, seeds, settle, skipped};

/// Worlds of an ordinary test run, count.
const USUAL: u64 = 200;

fn package(of: &DebStanza) -> Package {
    let source = of.source.map_or_else(|| format!("{} {}", of.name, of.version), |(name, version)| format!("{name} {version}"));
    Package { name: of.name.into(), arch: of.arch.into(), version: of.version.into(), source, ..Package::default() }
}

fn rules(world: &DebWorld) -> HostRules {
    let pin = |(packages, pin, priority): &(&str, &str, i32)| Pin {
        packages: packages.split(' ').map(str::to_owned).collect(),
        pin: (*pin).to_owned(),
        priority: *priority,
    };
    HostRules {
        holds: world.installed.iter().filter(|p| p.held).map(|p| format!("{}:{}", p.name, p.arch)).collect(),
        pins: world.pins.iter().map(pin).collect(),
        default_release: world.default_release.into(),
        architectures: vec!["amd64".into(), "i386".into()],
        ..HostRules::default()
    }
}

async fn ours(world: &DebWorld, case: &Path, key: &RepositoryKey) -> HostReport {
    let repo = case.join("repo");
    let server = serve_dir(&repo).unwrap();
    let (site, mut fleet, mut views) = (Site::new(), Fleet::new(), Vec::new());
    for (at, suite) in world.suites.iter().enumerate() {
        let base = repo.join("dists").join(suite.suite);
        let release = std::fs::read_to_string(base.join("Release")).unwrap();
        let when = "2026-11-01T12:00:00Z".parse().unwrap();
        std::fs::write(base.join("InRelease"), openpgp::clearsign(std::slice::from_ref(key), &release, when).unwrap()).unwrap();
        let spec = serde_json::json!({
            "name": suite.suite,
            "format": "deb",
            "policy": "on-demand",
            "architectures": ["amd64", "i386"],
            "keys": [key.public_armored().unwrap()],
            "origin": { "upstream": { "urls": [server.url()], "suite": suite.suite, "components": ["main"] } },
        });
        let root = site.sync(at, spec).await;
        site.put(&mut fleet, Scheme::Deb, &root);
        views.push(View { source: suite.suite.into(), root: root.to_string(), priority: 0, module_hotfixes: false });
    }
    let os = OsFacts {
        short_name: "debian".into(),
        version: "12".into(),
        architecture: "x86_64".into(),
        managers: vec![ManagerKind::Apt],
        ..OsFacts::default()
    };
    let packages: Vec<_> = world.installed.iter().map(|p| fleet.package(Scheme::Deb, &package(p))).collect();
    let rules = rules(world);
    fleet.put_host(instance(), HostInput { os: &os, scheme: Scheme::Deb, packages: &packages, rules: &rules, views: &views });
    fleet.settle();
    fleet.host(instance()).unwrap()
}

/// `apt list --upgradable` shows what is on hold as well, and the architecture that is installed.
fn updates(report: &HostReport) -> Said {
    report.updates.iter().map(|u| format!("{}:{} {}", u.name, u.arch, u.to)).collect()
}

#[tokio::test]
async fn apt() {
    if skipped() {
        return;
    }
    let worlds: Vec<_> = seeds(USUAL).into_iter().map(deb_world).collect();
    let dir = tempfile::tempdir().unwrap();
    let (asked, at) = (worlds.clone(), dir.path().to_owned());
    let answers = tokio::task::spawn_blocking(move || ask(Tool::Apt, &asked, &at)).await.unwrap().unwrap();
    let key = RepositoryKey::generate("Upstream <upstream@test.invalid>", "2026-01-01T00:00:00Z".parse().unwrap()).unwrap();
    let mut compared = Vec::new();
    for (number, (world, answer)) in worlds.iter().zip(&answers).enumerate() {
        // apt refuses to say anything when `APT::Default-Release` names a release that it does not see.
        if answer.get("upgradable.code").map(|code| code.trim()) != Some("0") {
            continue;
        }
        let report = ours(world, &dir.path().join(number.to_string()), &key).await;
        let theirs = said::upgradable(answer.get("upgradable").map(String::as_str).unwrap_or_default());
        compared.push(Compared { tool: "apt", question: "updates", seed: world.seed, theirs, ours: updates(&report) });
    }
    settle(&compared);
}

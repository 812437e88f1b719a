//! What happens in the container: tasks as an agent carries them out, their inverse from their reports, and what the
//! host's own tools show before and after.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use drydock_domain::ids::TaskId;
use drydock_domain::inventory::{ManagerKind, PackageSet};
use drydock_domain::patch::report::{PackageOutcome, TaskReport};
use drydock_domain::patch::spec::PatchConfig;
use drydock_domain::patch::task::TaskState;
use drydock_domain::patch::undo::{UndoFile, UndoOrder, inverse};
use drydock_pkgmgr::run::SystemRunner;
use drydock_pkgmgr::{Backend, PackageManager, detect, verify_with};
use serde_json::json;

use super::worlds::SUITE;

/// Printed at the very end.
pub const DONE: &str = "everything was taken back";

const PREPARE_APT: &str = "
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/cases/deb-old SUITE main' >/etc/apt/sources.list
apt-get update -q
apt-get install -y -q du-app du-conf du-gone du-old du-down du-rc du-fails
apt-get remove -y -q du-rc
echo mine >/etc/du-kept.cfg";
const NEW_APT: &str = "echo 'deb [trusted=yes] file:/cases/deb-new SUITE main' >/etc/apt/sources.list";
const SHOW_APT: &str = "
dpkg -l | tail -n +6
apt-mark showauto | sort
for f in /etc/du-*.cfg; do echo $f; cat $f; done";

const PREPARE_RPM: &str = "
mkdir -p REPOS && rm -f REPOS/*
printf '[lab]\\nname=lab\\nbaseurl=file:///cases/rpm-old\\nenabled=1\\ngpgcheck=0\\n' >REPOS/lab.repo
if [ -d /etc/zypp ]; then printf '[main]\\nmultiversion = provides:multiversion(kernel)\\n' >/etc/zypp/zypp.conf; fi
INSTALL du-app du-conf du-gone du-old du-down kernel-du
echo mine >/etc/du-kept.cfg";
const NEW_RPM: &str = "sed -i s/rpm-old/rpm-new/ REPOS/lab.repo";
const SHOW_RPM: &str = "
rpm -qa | sort
REASONS
for f in /etc/du-*.cfg; do echo $f; cat $f; done";

/// The host inside the container.
struct Host {
    backend: Backend,
    runner: SystemRunner,
    prepare: String,
    renew: String,
    show: String,
}

impl Host {
    fn new(root: &str) -> Result<Self> {
        let runner = SystemRunner::new();
        let backend = detect(Path::new("/"), &runner).into_iter().next().context("a package manager")?;
        let rpm = |text: &str| {
            let (repos, install, reasons) = match root {
                "zypper" => {
                    ("/etc/zypp/repos.d", "zypper -n --no-gpg-checks install", "grep -v '^#' /var/lib/zypp/AutoInstalled | sort")
                }
                "dnf5" => (
                    "/etc/yum.repos.d",
                    "dnf5 -y install",
                    "dnf5 -q repoquery --installed --queryformat '%{name} %{reason}\\n' | sort",
                ),
                _ => ("/etc/yum.repos.d", "dnf -y install", "dnf -q repoquery --userinstalled | sort"),
            };
            text.replace("REPOS", repos).replace("INSTALL", install).replace("REASONS", reasons)
        };
        let apt = |text: &str| text.replace("SUITE", SUITE);
        let (prepare, renew, show) = match backend.kind() {
            ManagerKind::Apt => (apt(PREPARE_APT), apt(NEW_APT), SHOW_APT.to_owned()),
            _ => (rpm(PREPARE_RPM), rpm(NEW_RPM), rpm(SHOW_RPM)),
        };
        Ok(Host { backend, runner, prepare, renew, show })
    }

    fn is_apt(&self) -> bool {
        self.backend.kind() == ManagerKind::Apt
    }

    fn show(&self) -> Result<String> {
        sh(&self.show)
    }

    fn refresh(&self) -> Result<()> {
        let findings = self.backend.refresh(&self.runner)?;
        ensure!(findings.is_empty(), "{findings:?}");
        Ok(())
    }

    fn installed(&self) -> Result<PackageSet> {
        Ok(PackageSet::new(self.backend.installed(&self.runner)?))
    }

    /// Plans, applies and verifies, as an agent does.
    fn task(&self, config: &PatchConfig) -> Result<TaskReport> {
        let plan = self.backend.plan(&self.runner, config)?;
        let before = self.installed()?;
        let outcome = self.backend.apply(&self.runner, &plan)?;
        let (after, broken) = (self.installed()?, self.backend.broken(&self.runner)?);
        let packages = verify_with(&plan, &before, &after, &broken, &outcome.failed_packages);
        Ok(TaskReport {
            task: TaskId(uuid::Uuid::nil()),
            seq: 1,
            at: jiff::Timestamp::UNIX_EPOCH,
            state: if outcome.success { TaskState::Succeeded } else { TaskState::Failed },
            message: format!("{}\n{}{}", outcome.message, outcome.output.head, outcome.output.tail),
            steps: vec![],
            plans: vec![plan],
            packages,
            modules: vec![],
            reboots: 0,
            reboot_reasons: vec![],
            health: vec![],
            differs: vec![],
        })
    }

    fn change(&self, config: serde_json::Value) -> Result<TaskReport> {
        let report = self.task(&serde_json::from_value(config)?)?;
        ensure!(report.state == TaskState::Succeeded, "{}", report.message);
        ensure!(report.packages.iter().all(|r| r.outcome == PackageOutcome::Applied), "{:#?}", report.packages);
        Ok(report)
    }

    /// The order that takes a report back, with the kept files of what no repository has.
    fn order(&self, report: &TaskReport) -> Result<UndoOrder> {
        let installed = self.backend.installed(&self.runner)?;
        let mut order = inverse(report, &installed).map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
        for a in order.actions.iter().filter(|a| a.name == "du-lib" && a.before.as_deref() == Some("1.0-1")) {
            let (name, arch) =
                if self.is_apt() { ("du-lib_1.0-1_all.deb", "all") } else { ("du-lib-1.0-1.noarch.rpm", "noarch") };
            order.files.push(UndoFile {
                name: a.name.clone(),
                arch: arch.into(),
                version: "1.0-1".into(),
                file_name: name.into(),
                sha256: "ab".repeat(32),
                size: 1,
                url_path: format!("/content/undo/{name}"),
                local: format!("/cases/files/{name}"),
            });
        }
        Ok(order)
    }

    fn plan_refused(&self, order: UndoOrder) -> Result<String> {
        let config = PatchConfig { undo: Some(order), ..PatchConfig::default() };
        match self.backend.plan(&self.runner, &config) {
            Ok(plan) => bail!("it must be refused, and would do {:#?}", plan.actions),
            Err(e) => Ok(e.to_string()),
        }
    }

    /// Takes a report back; the host shows `before` again.
    fn take_back(&self, report: &TaskReport, before: &str) -> Result<(UndoOrder, TaskReport)> {
        let order = self.order(report)?;
        let config = PatchConfig { undo: Some(order.clone()), ..PatchConfig::default() };
        let undone = self.task(&config)?;
        ensure!(undone.state == TaskState::Succeeded, "{}", undone.message);
        ensure!(undone.packages.iter().all(|r| r.outcome == PackageOutcome::Applied), "{:#?}", undone.packages);
        same(before, &self.show()?)?;
        ensure!(order.shortfall(&self.backend.installed(&self.runner)?).is_empty());
        Ok((order, undone))
    }
}

fn sh(script: &str) -> Result<String> {
    let out = Command::new("sh").args(["-ec", script]).env("DEBIAN_FRONTEND", "noninteractive").output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(out.status.success(), "{script}\n{}\n{}", text(&out.stdout), text(&out.stderr));
    Ok(text(&out.stdout))
}

fn same(before: &str, after: &str) -> Result<()> {
    let lost: Vec<&str> = before.lines().filter(|l| !after.lines().any(|m| m == *l)).collect();
    let more: Vec<&str> = after.lines().filter(|l| !before.lines().any(|m| m == *l)).collect();
    ensure!(before == after, "not as before: lost {lost:#?}, more {more:#?}");
    Ok(())
}

/// Everything, over this root.
pub fn run(root: &str) -> Result<()> {
    let host = Host::new(root)?;
    sh(&host.prepare)?;
    let first = host.show()?;
    sh(&host.renew)?;
    host.refresh()?;

    let named = named(&host)?;
    let second = host.show()?;
    ensure!(first != second);
    let all = json!({"apt": {"type": "DIST"}, "zypper": {"withUpdate": true}});
    let general = host.change(all.clone()).context("the general update")?;
    let third = host.show()?;
    ensure!(third.contains("du-repl") && third.contains("two\n"), "the update came:\n{third}");
    let kernels = ["kernel-du-5.0", "kernel-du-6.0"].iter().all(|k| third.contains(k));
    ensure!(host.is_apt() || kernels, "kernels live side by side:\n{third}");

    inexact(&host, &general).context("what is not exact")?;
    let (order, undone) = host.take_back(&general, &second).context("taking back the general update")?;
    barred(&host, &order, all).context("barred versions")?;
    host.take_back(&undone, &third).context("taking back the undo")?;
    host.take_back(&general, &second).context("and once more")?;
    let both = host.change(json!({"packages": {"remove": ["du-app", "du-lib"]}})).context("removing a dependency")?;
    host.take_back(&both, &second).context("a dependency that was removed is one again")?;
    host.take_back(&named, &first).context("taking back the named packages")?;
    if host.is_apt() {
        half_configured(&host).context("a package that failed")?;
    }
    println!("{DONE}");
    Ok(())
}

/// Named packages: a new one, one that was gone except for its configuration, an older one, a removal.
fn named(host: &Host) -> Result<TaskReport> {
    let mut install = vec!["du-dep", "du-down=1.0-1"];
    if host.is_apt() {
        install.push("du-rc");
    }
    host.change(json!({"packages": {"install": install, "remove": ["du-gone"]}})).context("the named packages")
}

/// An undo that would do more, less or something else is refused, and names what.
fn inexact(host: &Host, report: &TaskReport) -> Result<()> {
    let before = host.show()?;
    let mut gone = host.order(report)?;
    gone.files.clear();
    let words = host.plan_refused(gone)?;
    ensure!(words.contains("du-lib") && words.contains("1.0-1"), "nobody offers du-lib 1.0-1: {words}");
    let more = host.change(json!({"packages": {"install": ["du-needs"]}}))?;
    let words = host.plan_refused(host.order(report)?)?;
    ensure!(words.contains("du-needs"), "du-needs cannot stay: {words}");
    host.take_back(&more, &before)?;
    Ok(())
}

/// What was undone does not come again; another version may.
fn barred(host: &Host, order: &UndoOrder, all: serde_json::Value) -> Result<()> {
    let barred = order.barred("undone by job 7");
    let config: PatchConfig = serde_json::from_value(all)?;
    let config = PatchConfig { barred: barred.clone(), ..config };
    let plan = host.backend.plan(&host.runner, &config)?;
    for action in &plan.actions {
        let bad = barred.iter().any(|b| b.name == action.name && Some(&b.version) == action.to.as_ref());
        ensure!(!bad, "{action:?} is barred");
    }
    for name in ["du-app", "du-conf", "du-lib"] {
        let told = plan.skipped.iter().any(|s| s.name == name && s.version == "2.0-1" && s.reason == "barred: undone by job 7");
        ensure!(told, "{name} is told as barred: {:#?}", plan.skipped);
    }
    let app = plan.actions.iter().find(|a| a.name == "du-app").and_then(|a| a.to.as_deref());
    ensure!(app == Some("1.5-1"), "du-app becomes {app:?}, not the version between");
    let named = PatchConfig { barred: barred.clone(), ..serde_json::from_value(json!({"packages": {"update": ["du-app"]}}))? };
    let plan = host.backend.plan(&host.runner, &named)?;
    let app = plan.actions.iter().find(|a| a.name == "du-app").and_then(|a| a.to.as_deref());
    ensure!(app == Some("1.5-1"), "by name, du-app becomes {app:?}, not the version between: {:#?}", plan.skipped);
    let config = PatchConfig { barred, ..serde_json::from_value(json!({"packages": {"install": ["du-app=2.0-1"]}}))? };
    let words = host.backend.plan(&host.runner, &config).map(|p| format!("{:#?}", p.actions)).expect_err("refused").to_string();
    ensure!(words.contains("du-app") && words.contains("barred: undone by job 7"), "{words}");
    Ok(())
}

/// dpkg keeps a package whose script fails half-configured: it goes back all the same.
fn half_configured(host: &Host) -> Result<()> {
    let before = host.show()?;
    sh(&format!("echo 'deb [trusted=yes] file:/cases/deb-fails {SUITE} main' >>/etc/apt/sources.list"))?;
    host.refresh()?;
    let config = serde_json::from_value(json!({"packages": {"update": ["du-fails"]}}))?;
    let failed = host.task(&config)?;
    ensure!(failed.state == TaskState::Failed && !host.backend.broken(&host.runner)?.is_empty());
    host.backend.repair(&host.runner)?;
    host.take_back(&failed, &before)?;
    ensure!(host.backend.broken(&host.runner)?.is_empty());
    Ok(())
}

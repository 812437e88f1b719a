//! The packages every lab host starts with and the updates it is offered, the same for RPM and
//! Debian. Names say what a package is for:
//!
//! | package | updates | for |
//! |---|---|---|
//! | `dd-alpha` | 1.1 security, 1.2 enhancement | security-only against all |
//! | `dd-beta` | 1.1 bugfix; epoch 1 | not in a security-only job |
//! | `dd-held` | 1.1 security | held, versionlocked or locked on the host |
//! | `dd-conf` | 1.1 changes its configuration file, which the host changed too | prompts |
//! | `dd-old` | replaced by `dd-new` 2.0 | obsoletes, new packages |
//! | `dd-reboot` | 1.1 security, asks for a reboot | reboots |
//! | `dd-service` | 1.1 replaces the program of its running service | services on replaced files |
//! | `dd-slow` | 1.1 installs for as long as [`SLOW_SECONDS_FILE`] says | cancel, kill, time limits |
//! | `dd-badpost`, `dd-badpre` | 1.1, in the faults set only: a script fails | failures |
//! | `dd-release` | none; RPM only | gives the distribution's release and `/bin/sh` |
//!
//! Every package appends `NAME VERSION` to [`SCRIPTLET_LOG`] once it is configured.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::deb::Relation::{self, Breaks, Depends, Replaces};
use super::{
    Advisory, AdvisoryKind, AptArchive, DebPackage, PackageFile, RpmPackage, RpmRepository, Scripts, Severity, SigningKey, cached,
};
use crate::lab::{Host, PackageManager};

/// In hosts: one line `NAME VERSION` per finished installation script.
pub const SCRIPTLET_LOG: &str = "/var/log/dd-scriptlets.log";
/// In hosts: seconds that `dd-slow`'s script takes, read again each second; no file means none.
/// While it runs, `/run/dd-slow.running` exists.
pub const SLOW_SECONDS_FILE: &str = "/etc/dd-slow-seconds";
/// The package that [`Standard::prepare`] holds back.
pub const HELD_PACKAGE: &str = "dd-held";
/// A repository nobody serves: port 1 refuses connections on any machine without tcpmux. Not at the address of the other
/// repositories: apt gives up a whole address when one port of it refuses.
pub const UNREACHABLE_REPOSITORY: &str = "http://127.0.0.2:1/third-party";

/// In hosts: the key that Debian archives of the lab are signed with.
const APT_KEY_PATH: &str = "/etc/apt/keyrings/drydock-lab.asc";
/// The same key below the served directory.
const APT_KEY_FILE: &str = "deb/key.asc";

/// A part of the standard packages, in a repository of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PackageSet {
    /// What hosts have installed before anything happens.
    Base,
    /// The updates. With RPM this holds the security updates too, told apart by advisories.
    Updates,
    /// The security updates of Debian hosts: an archive of its own, as distributions have it.
    Security,
    /// Updates that fail.
    Faults,
}

impl PackageSet {
    /// All sets.
    pub const ALL: [Self; 4] = [Self::Base, Self::Updates, Self::Security, Self::Faults];

    /// The name in paths and repository identifiers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Updates => "updates",
            Self::Security => "security",
            Self::Faults => "faults",
        }
    }

    /// `Suite` and `Label` of the Debian archive.
    #[must_use]
    pub fn apt_suite_and_label(self) -> (&'static str, &'static str) {
        match self {
            Self::Base => ("lab", "Lab"),
            Self::Updates => ("lab-updates", "Lab"),
            Self::Security => ("lab-security", "Lab-Security"),
            Self::Faults => ("lab-proposed", "Lab"),
        }
    }
}

/// The built repositories.
#[derive(Debug, Clone)]
pub struct Standard {
    dir: PathBuf,
}

/// The standard repositories, built now (about ten seconds) unless cached.
///
/// # Errors
/// When a package tool is missing or fails; see [`crate::lab::repositories_skip_reason`].
pub fn standard() -> Result<Standard> {
    let (rpm, deb) = (rpm_repositories(), deb_archives());
    let dir = cached("standard", &format!("{rpm:?}{deb:?}"), |dir| {
        for (set, repository) in &rpm {
            repository.build(&dir.join("rpm").join(set.name()))?;
        }
        let key = SigningKey::generate()?;
        for (set, archive) in &deb {
            archive.build(&dir.join("deb").join(set.name()), Some(&key))?;
        }
        key.export(&dir.join(APT_KEY_FILE))
    })?;
    Ok(Standard { dir })
}

impl Standard {
    /// The directory to serve: `rpm/SET` and `deb/SET` below it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Brings a running host to its first state: base packages installed, [`HELD_PACKAGE`] held,
    /// `dd-conf`'s configuration edited. `url` is where [`Standard::dir`] is served.
    ///
    /// # Errors
    /// When the host's package manager fails.
    pub fn prepare(&self, host: &Host, url: &str) -> Result<()> {
        self.enable(host, PackageSet::Base, url)?;
        let names: Vec<_> = base_names(host.root().kind.manager());
        let names = names.join(" ");
        host.sh(&match host.root().kind.manager() {
            PackageManager::Apt => format!(
                "export DEBIAN_FRONTEND=noninteractive; apt-get -q update && apt-get -q -y install {names} && apt-mark hold {HELD_PACKAGE}"
            ),
            PackageManager::Dnf4 => format!("dnf -q -y install {names} && dnf -q versionlock add {HELD_PACKAGE}"),
            PackageManager::Dnf5 => format!("dnf5 -q -y install {names} && dnf5 -q versionlock add {HELD_PACKAGE}"),
            PackageManager::Zypper => {
                format!("zypper --non-interactive install {names} && zypper --non-interactive addlock {HELD_PACKAGE}")
            }
        })
        .with_context(|| format!("cannot install the base packages on {}", host.hostname()))?;
        host.write("/etc/dd-conf.conf", b"greeting=edited here\n")
    }

    /// Makes a set visible to a host. Its package manager has not read it yet.
    ///
    /// # Errors
    /// When the host refuses the file.
    pub fn enable(&self, host: &Host, set: PackageSet, url: &str) -> Result<()> {
        let manager = host.root().kind.manager();
        if manager == PackageManager::Apt {
            host.write(APT_KEY_PATH, &fs::read(self.dir.join(APT_KEY_FILE))?)?;
        }
        let Some(content) = definition(manager, set, url) else { return Ok(()) };
        host.write(&definition_path(manager, set.name()), content.as_bytes())
    }

    /// Takes a set away from a host again.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn disable(&self, host: &Host, set: PackageSet) -> Result<()> {
        let path = definition_path(host.root().kind.manager(), set.name());
        host.run(&["rm", "-f", &path])?.success()?;
        Ok(())
    }

    /// Gives a host a third-party repository whose server refuses connections.
    ///
    /// # Errors
    /// When the host refuses the file.
    pub fn add_unreachable(&self, host: &Host) -> Result<()> {
        let manager = host.root().kind.manager();
        let content = match manager {
            PackageManager::Apt => format!("deb [trusted=yes] {UNREACHABLE_REPOSITORY} stable main\n"),
            _ => repo_file(manager, "third-party", UNREACHABLE_REPOSITORY),
        };
        host.write(&definition_path(manager, "third-party"), content.as_bytes())
    }
}

fn definition_path(manager: PackageManager, name: &str) -> String {
    match manager {
        PackageManager::Apt => format!("/etc/apt/sources.list.d/lab-{name}.list"),
        PackageManager::Dnf4 | PackageManager::Dnf5 => format!("/etc/yum.repos.d/lab-{name}.repo"),
        PackageManager::Zypper => format!("/etc/zypp/repos.d/lab-{name}.repo"),
    }
}

/// What makes the set visible; `None` when this family has no such set.
fn definition(manager: PackageManager, set: PackageSet, url: &str) -> Option<String> {
    let name = set.name();
    match (manager, set) {
        (PackageManager::Apt, _) => {
            let (suite, _) = set.apt_suite_and_label();
            Some(format!("deb [signed-by={APT_KEY_PATH}] {url}/deb/{name} {suite} main\n"))
        }
        (_, PackageSet::Security) => None,
        _ => Some(repo_file(manager, name, &format!("{url}/rpm/{name}"))),
    }
}

fn repo_file(manager: PackageManager, name: &str, url: &str) -> String {
    let extra = if manager == PackageManager::Zypper { "autorefresh=1\ntype=rpm-md\n" } else { "" };
    format!("[lab-{name}]\nname=Lab {name}\nbaseurl={url}\nenabled=1\ngpgcheck=0\n{extra}")
}

/// One version of one package, before it becomes an RPM or a Debian package.
#[derive(Default)]
struct Item {
    name: &'static str,
    version: &'static str,
    epoch: Option<u32>,
    native: bool,
    files: Vec<PackageFile>,
    /// Run before the installation.
    before: String,
    /// Run after it, before the log line.
    after: String,
    /// Run after it on Debian only.
    after_deb: String,
    provides: Vec<String>,
    obsoletes: Vec<String>,
    relations: Vec<(Relation, String)>,
}

impl Item {
    fn new(name: &'static str, version: &'static str) -> Self {
        let files = vec![PackageFile::new(format!("/usr/share/{name}/version"), format!("{version}\n"))];
        Self { name, version, files, ..Self::default() }
    }

    fn log(&self) -> String {
        format!("echo '{} {}' >> {SCRIPTLET_LOG}\n", self.name, self.version)
    }

    fn rpm(&self) -> RpmPackage {
        RpmPackage {
            epoch: self.epoch,
            native: self.native,
            provides: self.provides.clone(),
            obsoletes: self.obsoletes.clone(),
            files: self.files.clone(),
            scripts: Scripts { before_install: self.before.clone(), after_install: format!("{}{}", self.after, self.log()) },
            ..RpmPackage::new(self.name, self.version)
        }
    }

    fn deb(&self) -> DebPackage {
        let epoch = self.epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
        DebPackage {
            native: self.native,
            relations: self.relations.clone(),
            files: self.files.clone(),
            scripts: Scripts {
                before_install: self.before.clone(),
                after_install: format!("{}{}{}", self.after, self.after_deb, self.log()),
            },
            ..DebPackage::new(self.name, format!("{epoch}{}-1", self.version))
        }
    }
}

fn alpha(version: &'static str) -> Item {
    Item { native: true, ..Item::new("dd-alpha", version) }
}

fn beta(version: &'static str) -> Item {
    Item { epoch: Some(1), ..Item::new("dd-beta", version) }
}

fn conf(version: &'static str, content: &str) -> Item {
    let mut item = Item::new("dd-conf", version);
    item.files.push(PackageFile::new("/etc/dd-conf.conf", content).config());
    item
}

fn slow(version: &'static str) -> Item {
    let after = format!(
        "touch /run/dd-slow.running\ni=0\n\
         while [ \"$i\" -lt \"$(cat {SLOW_SECONDS_FILE} 2>/dev/null || echo 0)\" ]; do sleep 1; i=$((i + 1)); done\n\
         rm -f /run/dd-slow.running\n"
    );
    Item { after, ..Item::new("dd-slow", version) }
}

/// Its program is the host's own `sleep`: one binary of ours would not run on every root.
fn service(version: &'static str) -> Item {
    let unit = "[Unit]\nDescription=Lab service\n[Service]\nExecStart=/usr/lib/dd-service/program infinity\n";
    let after = "cp \"$(command -v sleep)\" /usr/lib/dd-service/program.new\n\
                 mv -f /usr/lib/dd-service/program.new /usr/lib/dd-service/program\n\
                 if [ -d /run/systemd/system ]; then systemctl daemon-reload; systemctl start dd-service.service; fi || true\n";
    let mut item = Item { after: after.into(), ..Item::new("dd-service", version) };
    item.files.push(PackageFile::new("/usr/lib/dd-service/README", "The program beside this file is made on installation.\n"));
    item.files.push(PackageFile::new("/usr/lib/systemd/system/dd-service.service", unit));
    item
}

fn reboot_update() -> Item {
    let mut item = Item::new("dd-reboot", "1.1");
    item.after_deb = "touch /run/reboot-required\necho dd-reboot >> /run/reboot-required.pkgs\n".into();
    // Each rpm front end has its own sign: zypper this hint, dnf 4 this file, dnf 5 the advisory.
    item.provides.push("installhint(reboot-needed)".into());
    item
}

fn replacement() -> Item {
    Item {
        provides: vec!["dd-old = 2.0-1".into()],
        obsoletes: vec!["dd-old < 2.0".into()],
        relations: vec![(Breaks, "dd-old (<< 2.0)".into()), (Replaces, "dd-old (<< 2.0)".into())],
        ..Item::new("dd-new", "2.0")
    }
}

fn bad_post() -> Item {
    Item { after: "echo 'dd-badpost: cannot be configured' >&2\nexit 1\n".into(), ..Item::new("dd-badpost", "1.1") }
}

fn bad_pre() -> Item {
    Item { before: "echo 'dd-badpre: cannot be installed' >&2\nexit 1\n".into(), ..Item::new("dd-badpre", "1.1") }
}

fn base_items() -> Vec<Item> {
    let mut items: Vec<_> =
        ["dd-held", "dd-old", "dd-reboot", "dd-badpost", "dd-badpre"].map(|name| Item::new(name, "1.0")).into();
    items.extend([alpha("1.0"), beta("1.0"), conf("1.0", "greeting=hello\n"), slow("1.0"), service("1.0")]);
    items
}

/// Names of the base packages, for an install command.
fn base_names(manager: PackageManager) -> Vec<&'static str> {
    let release = (manager != PackageManager::Apt).then_some("dd-release");
    base_items().iter().map(|item| item.name).chain(release).collect()
}

/// What lab RPMs need and Debian's file tree cannot give: dependencies are looked up among RPMs.
fn release_rpm() -> RpmPackage {
    let provides = ["system-release = 8.10", "system-release(releasever) = 8", "/bin/sh"].map(str::to_owned).into();
    let needs_reboot = PackageFile::new("/etc/dnf/plugins/needs-restarting.d/dd-reboot.conf", "dd-reboot\n");
    RpmPackage { provides, files: vec![needs_reboot], ..RpmPackage::new("dd-release", "8.10") }
}

fn rpm_repositories() -> Vec<(PackageSet, RpmRepository)> {
    let mut base: Vec<_> = base_items().iter().map(Item::rpm).collect();
    base.push(release_rpm());
    let advisories = advisories();
    let faults = vec![Advisory {
        id: "LABBA-2026:0009".into(),
        kind: AdvisoryKind::Bugfix,
        severity: None,
        title: "Updates that fail".into(),
        cves: Vec::new(),
        reboot_suggested: false,
        packages: vec![bad_post().rpm(), bad_pre().rpm()],
    }];
    let packages = |advisories: &[Advisory]| advisories.iter().flat_map(|advisory| advisory.packages.clone()).collect();
    vec![
        (PackageSet::Base, RpmRepository { packages: base, advisories: Vec::new() }),
        (PackageSet::Updates, RpmRepository { packages: packages(&advisories), advisories }),
        (PackageSet::Faults, RpmRepository { packages: packages(&faults), advisories: faults }),
    ]
}

fn advisories() -> Vec<Advisory> {
    let security = |id: &str, severity, cves: &[&str], title: &str, item: &Item| Advisory {
        id: id.into(),
        kind: AdvisoryKind::Security,
        severity: Some(severity),
        title: title.into(),
        cves: cves.iter().map(|cve| (*cve).to_owned()).collect(),
        reboot_suggested: item.name == "dd-reboot",
        packages: vec![item.rpm()],
    };
    let plain = |id: &str, kind, title: &str, items: &[Item]| Advisory {
        id: id.into(),
        kind,
        severity: None,
        title: title.into(),
        cves: Vec::new(),
        reboot_suggested: false,
        packages: items.iter().map(Item::rpm).collect(),
    };
    vec![
        security("LABSA-2026:0001", Severity::Important, &["CVE-2026-0001"], "dd-alpha reads past its buffer", &alpha("1.1")),
        plain("LABEA-2026:0002", AdvisoryKind::Enhancement, "dd-alpha learns to count", &[alpha("1.2")]),
        plain("LABBA-2026:0003", AdvisoryKind::Bugfix, "dd-beta no longer stumbles", &[beta("1.1")]),
        security("LABSA-2026:0004", Severity::Moderate, &["CVE-2026-0004"], "dd-held leaks a name", &Item::new("dd-held", "1.1")),
        plain("LABBA-2026:0005", AdvisoryKind::Bugfix, "dd-conf has a volume", &[conf("1.1", NEW_CONF)]),
        security(
            "LABSA-2026:0006",
            Severity::Critical,
            &["CVE-2026-0006", "CVE-2026-0007"],
            "dd-reboot runs foreign code",
            &reboot_update(),
        ),
        plain("LABBA-2026:0007", AdvisoryKind::Bugfix, "dd-slow and dd-service", &[slow("1.1"), service("1.1")]),
        plain("LABEA-2026:0008", AdvisoryKind::Enhancement, "dd-new replaces dd-old", &[replacement()]),
    ]
}

const NEW_CONF: &str = "greeting=hello\nvolume=3\n";

fn deb_archives() -> Vec<(PackageSet, AptArchive)> {
    let transitional = Item { relations: vec![(Depends, "dd-new".into())], ..Item::new("dd-old", "2.0") };
    let updates = [alpha("1.2"), beta("1.1"), conf("1.1", NEW_CONF), slow("1.1"), service("1.1"), replacement(), transitional];
    let security = [alpha("1.1"), Item::new("dd-held", "1.1"), reboot_update()];
    let faults = [bad_post(), bad_pre()];
    let archive = |set: PackageSet, items: &[Item]| {
        let (suite, label) = set.apt_suite_and_label();
        let archive = AptArchive {
            origin: "Drydock-Lab".into(),
            label: label.into(),
            suite: suite.into(),
            codename: suite.into(),
            packages: items.iter().map(Item::deb).collect(),
        };
        (set, archive)
    };
    vec![
        archive(PackageSet::Base, &base_items()),
        archive(PackageSet::Updates, &updates),
        archive(PackageSet::Security, &security),
        archive(PackageSet::Faults, &faults),
    ]
}

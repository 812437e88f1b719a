//! The roots hosts are made from, and how each is made.
//!
//! A root is a function of its [`Recipe`]: the recipe's hash names its directory, a changed recipe
//! makes a new root. Roots are only ever read after that. No root has a package source: a host sees
//! the repositories a test gives it and nothing else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::archive::Archive;
use super::roots_dir;
use crate::cache::{build_once, recipe_key};
use crate::command::{run, run_with_input};

/// mmdebstrap takes about a minute; a slow mirror may need many.
const BUILD_LIMIT: Duration = Duration::from_secs(1_200);
/// Commands inside a fresh root are instantaneous.
const CHROOT_LIMIT: Duration = Duration::from_secs(120);
/// Roots made at the same time: the archive's answers, then two processors, are the bottleneck.
const BUILDERS: usize = 2;
/// Change it when the code below makes another root from the same recipe.
const RECIPE_EDITION: u32 = 1;

/// A package manager as hosts have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PackageManager {
    /// apt over dpkg.
    Apt,
    /// dnf 4 over rpm.
    Dnf4,
    /// dnf 5 over rpm.
    Dnf5,
    /// zypper over rpm.
    Zypper,
}

/// The kinds of host the lab has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RootKind {
    /// Debian 12, apt.
    AptBookworm,
    /// Debian 13, apt.
    AptTrixie,
    /// Says it is Oracle Linux 8; dnf 4 with the versionlock and needs-restarting plugins.
    Dnf4,
    /// Says it is Fedora; dnf 5.
    Dnf5,
    /// Says it is openSUSE Leap; zypper.
    Zypper,
    /// Debian 11, apt: the oldest C library here, for running the shipped agent.
    Bullseye,
    /// Debian 12 with the packages of a developer's machine, over 600: for measuring.
    Large,
}

struct Recipe {
    suite: &'static str,
    has_security: bool,
    packages: &'static [&'static str],
    /// `None` leaves Debian's own.
    os_release: Option<&'static str>,
    /// Path in the root and content.
    files: &'static [(&'static str, &'static str)],
    /// Path in the root and what the symbolic link says.
    links: &'static [(&'static str, &'static str)],
}

/// What every host has besides its package manager.
const COMMON_PACKAGES: &[&str] = &["systemd", "systemd-sysv", "dbus", "procps", "util-linux", "iproute2", "ca-certificates"];

/// Units that would touch the machine's network or clock, pull from the network, or wait for
/// hardware. Masked in every root.
const MASKED_UNITS: &[&str] = &[
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dnf-makecache.timer",
    "dnf5-makecache.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "getty.target",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-networkd-wait-online.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udevd.service",
];

/// Debian's rpm keeps a user's database in the home directory; a host's is here.
const RPM_MACROS: (&str, &str) = ("/etc/rpm/macros", "%_dbpath /var/lib/rpm\n");

impl RootKind {
    /// The kinds people meet, in their order; [`Self::Large`] is for measuring only.
    pub const ALL: [Self; 6] = [Self::AptBookworm, Self::AptTrixie, Self::Dnf4, Self::Dnf5, Self::Zypper, Self::Bullseye];

    /// The name on the command line and in directories.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AptBookworm => "apt-bookworm",
            Self::AptTrixie => "apt-trixie",
            Self::Dnf4 => "dnf4",
            Self::Dnf5 => "dnf5",
            Self::Zypper => "zypper",
            Self::Bullseye => "bullseye",
            Self::Large => "large",
        }
    }

    /// What installs packages on hosts of this kind.
    #[must_use]
    pub fn manager(self) -> PackageManager {
        match self {
            Self::AptBookworm | Self::AptTrixie | Self::Bullseye | Self::Large => PackageManager::Apt,
            Self::Dnf4 => PackageManager::Dnf4,
            Self::Dnf5 => PackageManager::Dnf5,
            Self::Zypper => PackageManager::Zypper,
        }
    }

    fn recipe(self) -> Recipe {
        match self {
            Self::AptBookworm => debian("bookworm"),
            Self::AptTrixie => debian("trixie"),
            Self::Bullseye => debian("bullseye"),
            // No package here may run a service: hosts share the machine's ports.
            Self::Large => {
                Recipe { packages: &["apt", "build-essential", "git", "npm", "libcatalyst-perl"], ..debian("bookworm") }
            }
            Self::Dnf4 => Recipe {
                suite: "bookworm",
                has_security: true,
                packages: &["dnf", "python3-dnf", "dnf-plugins-core", "rpm"],
                os_release: Some(ORACLE_LINUX_8),
                files: &[
                    RPM_MACROS,
                    ("/etc/dnf/dnf.conf", ORACLE_LINUX_DNF_CONF),
                    ("/etc/dnf/vars/releasever", "8\n"),
                    // As Debian ships it, this plugin adds a repository of its own.
                    ("/etc/dnf/plugins/local.conf", "[main]\nenabled = false\n"),
                ],
                links: &[],
            },
            Self::Dnf5 => Recipe {
                // The oldest suite with dnf 5. It has no security archive while it is not released.
                suite: "forky",
                has_security: false,
                packages: &["dnf5", "python3-libdnf5", "rpm"],
                os_release: Some(FEDORA_42),
                files: &[
                    RPM_MACROS,
                    // Fedora's is empty; Debian's would hide broken repositories.
                    ("/etc/dnf/dnf.conf", "[main]\n"),
                    ("/etc/dnf/vars/releasever", "42\n"),
                    ("/etc/dnf/libdnf5-plugins/local.conf", "[main]\nname = local\nenabled = 0\n"),
                ],
                // Fedora's dnf is dnf 5 under the old name; Debian installs only the new one.
                links: &[("/usr/bin/dnf", "dnf5")],
            },
            Self::Zypper => Recipe {
                suite: "trixie",
                has_security: true,
                packages: &["zypper", "rpm"],
                os_release: Some(LEAP_15_6),
                files: &[RPM_MACROS],
                links: &[],
            },
        }
    }
}

fn debian(suite: &'static str) -> Recipe {
    Recipe { suite, has_security: true, packages: &["apt"], os_release: None, files: &[], links: &[] }
}

const ORACLE_LINUX_8: &str = r#"NAME="Oracle Linux Server"
VERSION="8.10"
ID="ol"
ID_LIKE="fedora"
VARIANT="Server"
VARIANT_ID="server"
VERSION_ID="8.10"
PLATFORM_ID="platform:el8"
PRETTY_NAME="Oracle Linux Server 8.10"
CPE_NAME="cpe:/o:oracle:linux:8:10:server"
"#;

/// As that distribution ships it: a repository that cannot be read fails the whole command.
const ORACLE_LINUX_DNF_CONF: &str = "[main]
gpgcheck=1
installonly_limit=3
clean_requirements_on_remove=True
best=True
skip_if_unavailable=False
";

const FEDORA_42: &str = r#"NAME="Fedora Linux"
VERSION="42 (Server Edition)"
ID=fedora
VERSION_ID=42
PLATFORM_ID="platform:f42"
PRETTY_NAME="Fedora Linux 42 (Server Edition)"
CPE_NAME="cpe:/o:fedoraproject:fedora:42"
VARIANT_ID=server
"#;

const LEAP_15_6: &str = r#"NAME="openSUSE Leap"
VERSION="15.6"
ID="opensuse-leap"
ID_LIKE="suse opensuse"
VERSION_ID="15.6"
PRETTY_NAME="openSUSE Leap 15.6"
CPE_NAME="cpe:/o:opensuse:leap:15.6"
"#;

impl Recipe {
    /// Everything that decides the result, as text for the key.
    fn text(&self) -> String {
        format!(
            "{RECIPE_EDITION}\n{}\n{}\n{:?}\n{COMMON_PACKAGES:?}\n{:?}\n{:?}\n{:?}\n{MASKED_UNITS:?}",
            self.suite, self.has_security, self.packages, self.os_release, self.files, self.links
        )
    }
}

/// A finished root.
#[derive(Debug, Clone)]
pub struct Root {
    /// Which one it is.
    pub kind: RootKind,
    /// Where it is; never to be written to.
    pub path: PathBuf,
}

impl Root {
    /// The root of this kind, made now (about a minute, root needed) if no equal one is cached.
    ///
    /// # Errors
    /// When the machine has no usable Debian archive, or mmdebstrap fails.
    pub fn ensure(kind: RootKind) -> Result<Self> {
        let recipe = kind.recipe();
        let name = format!("{}-{}", kind.name(), recipe_key(&recipe.text()));
        let path = build_once(&roots_dir()?, &name, |aside| {
            let archive = Archive::of_this_machine()?;
            bootstrap(&recipe, &archive, aside)?;
            customise(&recipe, aside)
        })?;
        Ok(Self { kind, path })
    }
}

/// Makes several roots, some at a time.
///
/// # Errors
/// The first that failed.
pub fn ensure_all(kinds: &[RootKind]) -> Result<Vec<Root>> {
    let waiting = Mutex::new(kinds.to_vec());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..BUILDERS {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().ok().and_then(|mut waiting| waiting.pop());
                    let Some(kind) = next else { return };
                    let made = Root::ensure(kind);
                    if let Ok(mut done) = done.lock() {
                        done.push((kind, made));
                    }
                }
            });
        }
    });
    let done = done.into_inner().map_err(|_| anyhow!("a root builder panicked"))?;
    let mut roots = done.into_iter().map(|(_, made)| made).collect::<Result<Vec<_>>>()?;
    roots.sort_by_key(|root| kinds.iter().position(|kind| *kind == root.kind));
    Ok(roots)
}

fn bootstrap(recipe: &Recipe, archive: &Archive, into: &Path) -> Result<()> {
    let packages = [COMMON_PACKAGES, recipe.packages].concat().join(",");
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--mode=root", "--variant=minbase", "--format=directory"]);
    command.arg(format!("--include={packages}"));
    // A mirror may lag behind, which ages its unreleased suites past their valid-until date.
    // Signatures are still checked, and nothing of a lab root is kept or shipped.
    command.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    command.arg("--aptopt=Acquire::Languages \"none\"");
    for setting in &archive.transport {
        command.arg(format!("--aptopt={}", setting.trim_end_matches(';')));
    }
    command.arg(recipe.suite).arg(into).arg("-");
    let sources = archive.sources(recipe.suite, recipe.has_security);
    run_with_input(&mut command, sources.as_bytes(), BUILD_LIMIT)?.success()?;
    Ok(())
}

fn customise(recipe: &Recipe, root: &Path) -> Result<()> {
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    // Hosts get their own; an empty file tells systemd that there is none yet.
    fs::write(at("/etc/machine-id"), "")?;
    remove_if_there(&at("/var/lib/dbus/machine-id"))?;
    remove_if_there(&at("/etc/resolv.conf"))?;
    fs::write(at("/etc/resolv.conf"), "")?;
    remove_if_there(&at("/etc/localtime"))?;
    symlink("/usr/share/zoneinfo/UTC", at("/etc/localtime"))?;
    for unit in MASKED_UNITS {
        let link = at("/etc/systemd/system").join(unit);
        remove_if_there(&link)?;
        symlink("/dev/null", &link).with_context(|| format!("cannot mask {unit}"))?;
    }
    remove_if_there(&at("/etc/apt/sources.list"))?;
    remove_if_there(&at("/etc/apt/apt.conf.d/99mmdebstrap"))?;
    for dir in ["/etc/apt/sources.list.d", "/var/lib/apt/lists"] {
        for entry in fs::read_dir(at(dir))? {
            let path = entry?.path();
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
    }
    if let Some(os_release) = recipe.os_release {
        remove_if_there(&at("/etc/os-release"))?;
        fs::write(at("/etc/os-release"), os_release)?;
    }
    for (path, content) in recipe.files {
        let path = at(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for (path, target) in recipe.links {
        symlink(target, at(path)).with_context(|| format!("cannot link {path} to {target}"))?;
    }
    if recipe.packages.contains(&"rpm") {
        run(Command::new("chroot").arg(root).args(["rpm", "--initdb"]), CHROOT_LIMIT)?.success()?;
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

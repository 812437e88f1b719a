//! Which package manager owns this host: decided by os-release first, by the programs present second. A foreign
//! manager (dnf installed on Debian) would fight the host's own database and is never used.

use std::path::Path;

use crate::apt::Apt;
use crate::dnf::Dnf;
use crate::dnf5::Dnf5;
use crate::manager::Backend;
use crate::run::Runner;
use crate::yum::Yum;
use crate::zypper::Zypper;

/// What os-release(5) says that matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OsRelease {
    /// `ID`.
    pub id: String,
    /// `ID_LIKE`, nearest relative first.
    pub id_like: Vec<String>,
}

impl OsRelease {
    /// Reads `/etc/os-release` or `/usr/lib/os-release` below `root`; empty when there is none.
    pub fn read(root: &Path) -> Self {
        ["etc/os-release", "usr/lib/os-release"]
            .iter()
            .find_map(|p| std::fs::read_to_string(root.join(p)).ok())
            .map(|text| Self::parse(&text))
            .unwrap_or_default()
    }

    fn parse(text: &str) -> Self {
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))
                .map(|v| v.trim().trim_matches(['"', '\'']).to_ascii_lowercase())
                .next_back()
                .unwrap_or_default()
        };
        OsRelease { id: value("ID"), id_like: value("ID_LIKE").split_whitespace().map(str::to_owned).collect() }
    }

    /// The family of the host, by its own id and then its relatives.
    fn family(&self) -> Option<Family> {
        std::iter::once(&self.id).chain(&self.id_like).find_map(|id| Family::of(id))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Debian,
    RedHat,
    Suse,
}

impl Family {
    fn of(id: &str) -> Option<Self> {
        match id {
            "debian" | "ubuntu" | "raspbian" | "linuxmint" | "pop" | "kali" | "devuan" => Some(Family::Debian),
            "ol" | "rhel" | "fedora" | "centos" | "rocky" | "almalinux" | "amzn" | "scientific" | "cloudlinux" | "eurolinux"
            | "virtuozzo" | "miraclelinux" | "openeuler" | "anolis" | "azurelinux" | "mariner" => Some(Family::RedHat),
            "suse"
            | "sles"
            | "sled"
            | "sle_hpc"
            | "sles_sap"
            | "sle-micro"
            | "opensuse"
            | "opensuse-leap"
            | "opensuse-tumbleweed"
            | "opensuse-microos" => Some(Family::Suse),
            _ => None,
        }
    }
}

/// Finds the managers of the host at `root` (`/`), the owner first. Empty when there is none we know.
pub fn detect(root: &Path, runner: &dyn Runner) -> Vec<Backend> {
    let has = |program: &str| ["usr/bin", "bin", "usr/sbin", "usr/local/bin"].iter().any(|d| root.join(d).join(program).exists());
    let apt = || (has("apt-get") && has("dpkg-query")).then(|| Backend::Apt(Apt::new(root)));
    let red_hat = || match () {
        () if has("dnf5") => Some(Backend::Dnf5(Dnf5::new(root, runner))),
        // `dnf` may be a link to dnf5; dnf 4 is always also there as dnf-3.
        () if has("dnf-3") => Some(Backend::Dnf(Dnf::new(root, runner))),
        () if has("yum") => Some(Backend::Yum(Yum::new(root, runner))),
        () => None,
    };
    let suse = || has("zypper").then(|| Backend::Zypper(Zypper::new(root, runner)));
    let found = match OsRelease::read(root).family() {
        Some(Family::Debian) => apt(),
        Some(Family::RedHat) => red_hat(),
        Some(Family::Suse) => suse(),
        None => apt().or_else(red_hat).or_else(suse),
    };
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_come_from_the_id_and_then_its_relatives() {
        let family = |text| OsRelease::parse(text).family();
        assert_eq!(family("NAME=x\nID=\"ol\"\nID_LIKE=\"fedora\"\n"), Some(Family::RedHat));
        assert_eq!(family("ID=opensuse-leap\nID_LIKE='suse opensuse'"), Some(Family::Suse));
        assert_eq!(family("ID=neon\nID_LIKE=\"ubuntu debian\""), Some(Family::Debian));
        assert_eq!(family("ID=slackware"), None);
        assert_eq!(family("VERSION_ID=12\nBUILD_ID=debian"), None);
    }
}

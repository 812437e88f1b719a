//! Worlds of apt hosts: text only, since apt decides from dpkg's status file and the archives' indexes.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Dice;

/// Versions of ordinary packages: epochs, `~`, revisions, and numbers that are longer than others.
const VERSIONS: [&str; 7] = ["1.0-1", "1.0-2", "1.0-10", "1.1~rc1-1", "1.1-1+deb12u1", "1.1+git1-1", "1:0.9-1"];

/// A package, installed or available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebStanza {
    /// Name.
    pub name: &'static str,
    /// Full version.
    pub version: &'static str,
    /// `amd64`, `i386` or `all`.
    pub arch: &'static str,
    /// Source name and version, when it is not the package's.
    pub source: Option<(&'static str, &'static str)>,
    /// `Phased-Update-Percentage`.
    pub phased: Option<u8>,
    /// Installed and on hold.
    pub held: bool,
}

/// One suite of one archive.
#[derive(Debug, Clone)]
pub struct Suite {
    /// `Origin`.
    pub origin: &'static str,
    /// `Label`.
    pub label: &'static str,
    /// `Suite`, and the name in the sources list.
    pub suite: &'static str,
    /// `Codename`.
    pub codename: &'static str,
    /// `NotAutomatic: yes`.
    pub not_automatic: bool,
    /// `ButAutomaticUpgrades: yes`.
    pub but_automatic_upgrades: bool,
    /// What it holds.
    pub packages: Vec<DebStanza>,
}

/// A host and what it sees.
#[derive(Debug, Clone)]
pub struct DebWorld {
    /// What it was made from.
    pub seed: u64,
    /// Installed packages.
    pub installed: Vec<DebStanza>,
    /// Its archives.
    pub suites: Vec<Suite>,
    /// Stanzas of apt_preferences(5): packages, pin, priority.
    pub pins: Vec<(&'static str, &'static str, i32)>,
    /// `APT::Default-Release`; empty = none.
    pub default_release: &'static str,
}

const SUITES: [(&str, &str, &str, &str); 4] = [
    ("Lab", "Lab", "stable", "bookworm"),
    ("Lab", "Lab-Security", "stable-security", "bookworm-security"),
    ("Lab Backports", "Backports", "stable-backports", "bookworm-backports"),
    ("Other", "Other", "testing", "trixie"),
];

const PINS: [(&str, &str, i32); 11] = [
    ("alpha", "version 1.0*", 1001),
    ("*", "release a=testing", 50),
    ("*", "release n=bookworm-backports", 500),
    ("b*", "release o=Other", -1),
    ("charlie", "release l=Lab-Security", 990),
    ("delta echo", "version 1.1*", 600),
    ("*", "release o=Lab", 700),
    ("/^fox/", "release a=stable", 100),
    ("bravo", "release *", -10),
    ("src:srcpkg", "release a=testing", 900),
    ("alpha", "version 1.1~rc1-1", 100),
];

fn stanza(dice: &mut Dice, name: &'static str) -> DebStanza {
    let at = dice.below(VERSIONS.len());
    let version = VERSIONS[at];
    // One that is always for every architecture, one that changes with its versions, the others native.
    let arch = match name {
        "bravo" => "all",
        "charlie" if at.is_multiple_of(2) => "all",
        _ => "amd64",
    };
    let source = if matches!(name, "delta" | "echo") { Some(("srcpkg", version)) } else { None };
    DebStanza { name, version, arch, source, phased: None, held: false }
}

/// The world of a seed.
#[must_use]
pub fn deb_world(seed: u64) -> DebWorld {
    let mut dice = Dice::new(seed ^ 0x6465_6273);
    let names = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot"];
    let mut installed = Vec::new();
    for name in names {
        if dice.chance(80) {
            let one = DebStanza { held: dice.chance(15), ..stanza(&mut dice, name) };
            // The foreign architecture beside it.
            if name == "foxtrot" && dice.chance(50) {
                installed.push(DebStanza { arch: "i386", ..one.clone() });
            }
            installed.push(one);
        }
    }
    let mut suites = Vec::new();
    for (at, (origin, label, suite, codename)) in SUITES.into_iter().enumerate() {
        if at > 0 && dice.chance(45) {
            continue;
        }
        let mut packages: Vec<DebStanza> = Vec::new();
        for name in names {
            for _ in 0..dice.below(3) {
                let one = DebStanza {
                    phased: dice.chance(8).then(|| if dice.chance(50) { 0 } else { 100 }),
                    ..stanza(&mut dice, name)
                };
                if packages.iter().any(|p| p.name == one.name && p.version == one.version) {
                    continue;
                }
                if name == "foxtrot" {
                    packages.push(DebStanza { arch: "i386", ..one.clone() });
                }
                packages.push(one);
            }
        }
        let not_automatic = suite == "stable-backports" || dice.chance(10);
        suites.push(Suite {
            origin,
            label,
            suite,
            codename,
            not_automatic,
            but_automatic_upgrades: not_automatic && dice.chance(60),
            packages,
        });
    }
    let pins = if dice.chance(50) { dice.some(&PINS, 20) } else { Vec::new() };
    let default_release = if dice.chance(15) { ["stable", "testing", "bookworm-backports"][dice.below(3)] } else { "" };
    DebWorld { seed, installed, suites, pins, default_release }
}

impl DebStanza {
    fn common(&self) -> String {
        let mut text =
            format!("Package: {}\nVersion: {}\nArchitecture: {}\nMulti-Arch: same\n", self.name, self.version, self.arch);
        if let Some((name, version)) = self.source {
            let _ = writeln!(text, "Source: {name} ({version})");
        }
        text.push_str("Maintainer: Drydock Lab <lab@drydock.invalid>\nPriority: optional\nSection: misc\n");
        text
    }

    /// As in dpkg's status file.
    #[must_use]
    pub fn status(&self) -> String {
        let wanted = if self.held { "hold" } else { "install" };
        format!(
            "{}Status: {wanted} ok installed\nDescription: lab\n\n",
            self.common().replace("Multi-Arch: same\n", self.multi_arch())
        )
    }

    /// As in an archive's index.
    #[must_use]
    pub fn index(&self) -> String {
        let mut text = self.common().replace("Multi-Arch: same\n", self.multi_arch());
        if let Some(percent) = self.phased {
            let _ = writeln!(text, "Phased-Update-Percentage: {percent}");
        }
        // Nobody fetches it; digests must differ between packages.
        let digest = self.digest();
        let _ = write!(
            text,
            "Filename: pool/{}_{}_{}.deb\nSize: 1000\nSHA256: {digest}\nDescription: lab\n\n",
            self.name,
            self.version.replace(':', "%3a"),
            self.arch
        );
        text
    }

    fn multi_arch(&self) -> &'static str {
        if self.arch == "all" { "Multi-Arch: foreign\n" } else { "Multi-Arch: same\n" }
    }

    fn digest(&self) -> String {
        use sha2::Digest as _;
        let sum = sha2::Sha256::digest(format!("{} {} {}", self.name, self.version, self.arch));
        sum.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl Suite {
    /// `Packages` of an architecture (with `all`).
    #[must_use]
    pub fn packages_of(&self, arch: &str) -> String {
        self.packages.iter().filter(|p| p.arch == arch || p.arch == "all").map(DebStanza::index).collect()
    }

    /// Fields of `Release` before the sums.
    #[must_use]
    pub fn release(&self) -> String {
        let mut text = format!(
            "Date: Thu, 01 Jan 2026 00:00:00 UTC\nOrigin: {}\nLabel: {}\nSuite: {}\nCodename: {}\nArchitectures: amd64 i386\nComponents: main\n",
            self.origin, self.label, self.suite, self.codename
        );
        if self.not_automatic {
            text.push_str("NotAutomatic: yes\n");
        }
        if self.but_automatic_upgrades {
            text.push_str("ButAutomaticUpgrades: yes\n");
        }
        text
    }
}

impl DebWorld {
    /// Writes the world where the driver inside a root finds it.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        fs::write(dir.join("status"), self.installed.iter().map(DebStanza::status).collect::<String>())?;
        let mut list = String::new();
        for suite in &self.suites {
            let base = dir.join("repo").join("dists").join(suite.suite);
            let mut sums = String::new();
            for arch in ["amd64", "i386"] {
                let at = base.join(format!("main/binary-{arch}"));
                fs::create_dir_all(&at)?;
                let text = suite.packages_of(arch);
                fs::write(at.join("Packages"), &text)?;
                let _ = writeln!(sums, " {} {} main/binary-{arch}/Packages", sha256(text.as_bytes()), text.len());
            }
            fs::write(base.join("Release"), format!("{}SHA256:\n{sums}", suite.release()))?;
            let _ = writeln!(list, "deb [trusted=yes] file:@CASE@/repo {} main", suite.suite);
        }
        fs::write(dir.join("sources.list"), list)?;
        let pins: String = self
            .pins
            .iter()
            .map(|(packages, pin, priority)| format!("Package: {packages}\nPin: {pin}\nPin-Priority: {priority}\n\n"))
            .collect();
        fs::write(dir.join("preferences"), pins)?;
        let release = if self.default_release.is_empty() {
            String::new()
        } else {
            format!("APT::Default-Release \"{}\";\n", self.default_release)
        };
        fs::write(dir.join("apt.conf"), release)?;
        Ok(())
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

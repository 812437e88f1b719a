//! `apt-get --simulate`: what apt would do, one line per package. Printed by apt 2.6 (3.0 prints the same lines):
//!
//! ```text
//! Inst libssl3 [3.0.15-1~deb12u1] (3.0.16-1~deb12u1 Debian:12.10/stable, Debian-Security:12/stable-security [amd64]) []
//! Inst libc6:i386 [2.36-9] (2.36-10 Debian:12.10/stable [i386])
//! Inst new-dependency (1.0-1 Lab:1.0/stable [all])
//! Remv old-package [1.0-1]
//! Conf libssl3 (3.0.16-1~deb12u1 Debian:12.10/stable, Debian-Security:12/stable-security [amd64])
//! ```
//!
//! Between the parentheses stand the version, the archives that have it (`Label:Version/Suite`) and the architecture.
//! An `Inst` line without `[old]` is a new package; the list after the parentheses is of no interest.

use crate::exec::SOLVE_TIME_LIMIT;
use crate::run::CommandSpec;

/// What to simulate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// `dist-upgrade` with holds and phasing ignored: everything that is available.
    Everything,
    /// `upgrade`.
    Upgrade,
    /// `dist-upgrade`.
    DistUpgrade,
    /// Exactly these words of `apt-get install`, downgrades allowed when asked for.
    Exact {
        /// `name:arch=version` and `name:arch-`.
        words: Vec<String>,
        /// The plan goes back to an older version somewhere.
        downgrade: bool,
    },
    /// As `Exact`, with apt's own refusals: essential and held packages.
    Named {
        /// `name:arch=version`, `name`, `name-`.
        words: Vec<String>,
        /// Older versions were named.
        downgrade: bool,
    },
}

/// A package that would be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inst {
    pub name: String,
    pub arch: String,
    pub from: Option<String>,
    pub to: String,
    /// `Debian-Security:12/stable-security`, as printed.
    pub archives: Vec<String>,
}

/// A package that would be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remv {
    pub name: String,
    /// Only printed for a foreign architecture.
    pub arch: Option<String>,
    pub version: String,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Simulation {
    pub install: Vec<Inst>,
    pub remove: Vec<Remv>,
}

/// The command.
pub(crate) fn spec(request: &Request) -> CommandSpec {
    let spec = CommandSpec::new("apt-get", "apt-get --simulate", SOLVE_TIME_LIMIT).args([
        "--simulate",
        "-q",
        "-o",
        "Debug::NoLocking=1",
        "-o",
        "APT::Get::Show-User-Simulation-Note=0",
    ]);
    match request {
        Request::Everything => spec.args(["-o", "APT::Get::Always-Include-Phased-Updates=1", "--ignore-hold", "dist-upgrade"]),
        Request::Upgrade => spec.args(["upgrade"]),
        Request::DistUpgrade => spec.args(["dist-upgrade"]),
        Request::Exact { words, downgrade } | Request::Named { words, downgrade } => {
            let spec = if matches!(request, Request::Named { .. }) { spec.args(["-y"]) } else { spec };
            let spec = if *downgrade { spec.args(["--allow-downgrades"]) } else { spec };
            // Recommends stay out: a plan names everything it wants.
            spec.args(["--no-install-recommends", "install", "--"]).args(words.iter().cloned())
        }
    }
}

/// Reads what it printed.
pub(crate) fn parse(text: &str) -> Result<Simulation, String> {
    let mut simulation = Simulation::default();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("Inst ") {
            simulation.install.push(parse_inst(rest).ok_or_else(|| format!("{line:?}"))?);
        } else if let Some(rest) = line.strip_prefix("Remv ") {
            simulation.remove.push(parse_remv(rest).ok_or_else(|| format!("{line:?}"))?);
        }
    }
    Ok(simulation)
}

fn parse_inst(rest: &str) -> Option<Inst> {
    let (name, rest) = rest.split_once(' ')?;
    let (from, rest) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (from, rest) = rest.split_once("] ")?;
            (Some(from.to_owned()), rest)
        }
        None => (None, rest),
    };
    let (inside, _) = rest.strip_prefix('(')?.split_once(')')?;
    let (inside, arch) = inside.strip_suffix(']')?.rsplit_once('[')?;
    let (to, archives) = inside.split_once(' ')?;
    let archives = archives.split(", ").map(str::trim).filter(|a| !a.is_empty()).map(str::to_owned).collect();
    let name = name.split(':').next()?.to_owned();
    Some(Inst { name, arch: arch.to_owned(), from, to: to.to_owned(), archives })
}

fn parse_remv(rest: &str) -> Option<Remv> {
    let (name, rest) = rest.split_once(" [")?;
    let (version, _) = rest.split_once(']')?;
    let (name, arch) = match name.split_once(':') {
        Some((name, arch)) => (name, Some(arch.to_owned())),
        None => (name, None),
    };
    Some(Remv { name: name.to_owned(), arch, version: version.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgrades_new_packages_foreign_ones_and_removals_are_read() {
        let text = "Reading package lists...\nThe following packages will be upgraded:\n  libssl3\n\
            Inst libssl3 [3.0.15-1~deb12u1] (3.0.16-1 Debian:12.10/stable, Debian-Security:12/stable-security [amd64]) []\n\
            Inst libc6:i386 [2.36-9] (2.36-10 Debian:12.10/stable [i386])\n\
            Inst new-dep (1:1.0-1 localhost [all]) [a:amd64 b:amd64 ]\n\
            Remv old-package [1.0-1] [x:amd64 ]\nRemv old:i386 [2]\nConf libssl3 (3.0.16-1 Debian:12.10/stable [amd64])\n";
        let got = parse(text).expect("parses");
        let short: Vec<_> =
            got.install.iter().map(|i| (i.name.as_str(), i.arch.as_str(), i.from.as_deref(), i.to.as_str())).collect();
        assert_eq!(
            short,
            [
                ("libssl3", "amd64", Some("3.0.15-1~deb12u1"), "3.0.16-1"),
                ("libc6", "i386", Some("2.36-9"), "2.36-10"),
                ("new-dep", "all", None, "1:1.0-1")
            ]
        );
        assert_eq!(got.install[0].archives, ["Debian:12.10/stable", "Debian-Security:12/stable-security"]);
        assert_eq!(got.remove[0], Remv { name: "old-package".into(), arch: None, version: "1.0-1".into() });
        assert_eq!(got.remove[1].arch.as_deref(), Some("i386"));
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error() {
        assert!(parse("Inst libssl3 [1] 3.0.16\n").is_err());
    }
}

//! Which Debian archive this machine uses, read from its own apt configuration.
//!
//! Lab roots of other suites come from the same archive, so a machine behind a mirror or a proxy
//! needs no second configuration. Absent: any archive host name.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::command::run;

/// Asking apt about its configuration reads local files only.
const APT_LIMIT: Duration = Duration::from_secs(60);
/// Settings of this machine that decide how the archive is reached.
const TRANSPORT_SETTINGS: &[&str] = &["Acquire::http", "Acquire::https", "Acquire::Retries"];

/// How this machine reaches Debian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Archive {
    main: String,
    security: Option<String>,
    /// `key "value";` lines of apt configuration: proxies and certificates.
    pub transport: Vec<String>,
}

impl Archive {
    /// The archive of this machine.
    pub fn of_this_machine() -> Result<Self> {
        let format = "$(RELEASE) $(SITE)";
        let targets = run(Command::new("apt-get").args(["indextargets", "--format", format, "Identifier: Packages"]), APT_LIMIT)?
            .success()
            .context("cannot ask apt for this machine's package sources: lab roots need a Debian machine")?;
        let os_release = std::fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
        let codename = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        let codename = codename.context("/etc/os-release has no VERSION_CODENAME: lab roots need a Debian machine")?;
        let (main, security) = sites(&targets, codename.trim_matches('"')).with_context(|| {
            format!("apt has no package source for {codename}: lab roots are made from this machine's Debian archive")
        })?;
        let settings = run(Command::new("apt-config").arg("dump"), APT_LIMIT)?.success()?;
        Ok(Self { main, security, transport: transport(&settings) })
    }

    /// The lines of a sources.list for another suite of the same archive.
    pub fn sources(&self, suite: &str, has_security: bool) -> String {
        let mut lines = format!("deb {} {suite} main\n", self.main);
        if let (true, Some(security)) = (has_security, &self.security) {
            let _ = writeln!(lines, "deb {security} {suite}-security main");
        }
        lines
    }
}

/// The main and the security site among `RELEASE SITE` lines.
fn sites(targets: &str, codename: &str) -> Option<(String, Option<String>)> {
    let site = |wanted: &str| {
        let mut pairs = targets.lines().filter_map(|line| line.split_once(' '));
        pairs.find(|(release, _)| *release == wanted).map(|(_, site)| site.to_owned())
    };
    // A sources.list may name a suite by its role instead of its codename.
    let main = [codename, "stable"].iter().find_map(|name| site(name))?;
    let security = [codename, "stable"].iter().find_map(|name| site(&format!("{name}-security")));
    Some((main, security))
}

fn transport(settings: &str) -> Vec<String> {
    let wanted = |line: &&str| TRANSPORT_SETTINGS.iter().any(|setting| line.starts_with(setting)) && !line.ends_with(" \"\";");
    settings.lines().filter(wanted).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Third-party sources are not taken for the archive; the security site is found.
    #[test]
    fn archive_among_other_sources() {
        let targets = "nodistro https://packages.example\nbookworm http://a.example/debian\nbookworm-updates http://a.example/debian\n\
                       bookworm-security http://s.example/sec\n";
        let found = sites(targets, "bookworm");
        assert_eq!(found, Some(("http://a.example/debian".into(), Some("http://s.example/sec".into()))));
        assert_eq!(sites(targets, "trixie"), None);
    }

    /// A proxy reaches the lab; unrelated and empty settings do not.
    #[test]
    fn proxies_are_kept() {
        let settings = "APT::Sandbox \"1\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://proxy:3128\";\n";
        assert_eq!(transport(settings), ["Acquire::http::Proxy \"http://proxy:3128\";"]);
    }
}

//! Which versions of a package the repositories offer, by the tools' own lists.
//!
//! ```text
//! $ apt-cache madison nginx
//!      nginx | 1.22.1-9+deb12u3 | file:/srv/repo bookworm/main amd64 Packages
//! $ dnf -q repoquery --showduplicates --qf '%{epoch}:%{version}-%{release}\n' nginx
//! 1:1.20.1-14.el9
//! $ dnf5 -q repoquery --available --qf '%{epoch}:%{version}-%{release}\n' nginx     (every version; it does not know --showduplicates)
//! $ zypper -x --non-interactive search --details --match-exact --type package nginx
//! <solvable status="not-installed" name="nginx" kind="package" edition="1.21.5-1.1" arch="x86_64" repository="repo"/>
//! ```

use drydock_domain::inventory::ManagerKind;
use drydock_domain::patch::operation::PackageWord;

use crate::policy::kind::{Cx, Failure};
use crate::policy::kinds::command;

/// Versions kept, count.
const VERSIONS_MAX: usize = 1000;

/// Each offered version, in no order.
pub fn versions(cx: &Cx<'_>, manager: ManagerKind, word: &PackageWord) -> Result<Vec<String>, Failure> {
    let name = word.name.as_str();
    let evr = "%{epoch}:%{version}-%{release}\n";
    let (program, args): (&str, Vec<&str>) = match manager {
        ManagerKind::Apt => ("apt-cache", vec!["madison", "--", name]),
        ManagerKind::Dnf => ("dnf", vec!["-q", "repoquery", "--showduplicates", "--qf", "%{epoch}:%{version}-%{release}", name]),
        ManagerKind::Dnf5 => ("dnf5", vec!["-q", "repoquery", "--available", "--qf", evr, name]),
        ManagerKind::Yum => ("repoquery", vec!["--show-duplicates", "--qf", "%{epoch}:%{version}-%{release}", name]),
        ManagerKind::Zypper => {
            ("zypper", vec!["-x", "--non-interactive", "search", "--details", "--match-exact", "--type", "package", name])
        }
    };
    let text = command::run(cx, program, &args)?.stdout.text();
    let found = match manager {
        ManagerKind::Apt => madison(&text),
        ManagerKind::Zypper => editions(&text),
        _ => text.lines().map(|l| l.trim().strip_prefix("0:").unwrap_or(l.trim()).to_owned()).collect(),
    };
    Ok(found.into_iter().filter(|v| v.starts_with(|c: char| c.is_ascii_alphanumeric())).take(VERSIONS_MAX).collect())
}

fn madison(text: &str) -> Vec<String> {
    let binary = |l: &&str| !l.trim_end().ends_with("Sources");
    text.lines().filter(binary).filter_map(|l| l.split('|').nth(1)).map(|v| v.trim().to_owned()).collect()
}

/// The attributes of zypper's flat list; nothing in them is escaped, versions have no such characters.
fn editions(text: &str) -> Vec<String> {
    let edition = |part: &str| part.split('"').next().map(str::to_owned);
    text.split(" edition=\"").skip(1).filter_map(edition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_lists_are_read() {
        let text = "     nginx | 1.22.1-9+deb12u3 | file:/srv/repo bookworm/main amd64 Packages\n     nginx | 1.22.1-9 | file:/srv bookworm/main Sources\n";
        assert_eq!(madison(text), ["1.22.1-9+deb12u3"]);
        let text =
            "<solvable name=\"nginx\" edition=\"1.21.5-1.1\" arch=\"x86_64\"/>\n<solvable name=\"nginx\" edition=\"1.19-1\"/>";
        assert_eq!(editions(text), ["1.21.5-1.1", "1.19-1"]);
    }
}

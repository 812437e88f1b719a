//! Advisories of an RPM repository, written as the `updateinfo.xml` that dnf and zypper read.
//! zypper makes its patches from the same file.

use std::fmt::Write as _;

use super::RpmPackage;

/// What an advisory is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdvisoryKind {
    /// Closes vulnerabilities.
    Security,
    /// Repairs something.
    Bugfix,
    /// Adds something.
    Enhancement,
}

/// How urgent a security advisory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// `Low`.
    Low,
    /// `Moderate`.
    Moderate,
    /// `Important`.
    Important,
    /// `Critical`.
    Critical,
}

/// One advisory.
#[derive(Debug, Clone)]
pub struct Advisory {
    /// Identifier, such as `LABSA-2026:0001`.
    pub id: String,
    /// What it is about.
    pub kind: AdvisoryKind,
    /// Urgency; `None` for anything but security.
    pub severity: Option<Severity>,
    /// One line for people.
    pub title: String,
    /// CVE identifiers it closes.
    pub cves: Vec<String>,
    /// The host should reboot once it is installed.
    pub reboot_suggested: bool,
    /// The updates, as built.
    pub packages: Vec<RpmPackage>,
}

/// Date of every advisory: fixed, so that equal recipes make equal files.
const ISSUED: &str = "2026-01-15 12:00:00";

/// The whole `updateinfo.xml`.
pub(crate) fn updateinfo(advisories: &[Advisory]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<updates>\n");
    for advisory in advisories {
        write_advisory(&mut xml, advisory);
    }
    xml.push_str("</updates>\n");
    xml
}

// Writing to a string cannot fail.
fn write_advisory(xml: &mut String, advisory: &Advisory) {
    let kind = match advisory.kind {
        AdvisoryKind::Security => "security",
        AdvisoryKind::Bugfix => "bugfix",
        AdvisoryKind::Enhancement => "enhancement",
    };
    let id = escape(&advisory.id);
    let title = escape(&advisory.title);
    let _ = writeln!(xml, "  <update from=\"lab@drydock.invalid\" status=\"final\" type=\"{kind}\" version=\"1\">");
    let _ = writeln!(xml, "    <id>{id}</id>\n    <title>{title}</title>");
    let _ = writeln!(xml, "    <issued date=\"{ISSUED}\"/>\n    <updated date=\"{ISSUED}\"/>");
    if let Some(severity) = advisory.severity {
        let _ = writeln!(xml, "    <severity>{severity:?}</severity>");
    }
    let _ = writeln!(xml, "    <summary>{title}</summary>\n    <description>{title}</description>\n    <references>");
    let _ = writeln!(xml, "      <reference href=\"https://advisories.invalid/{id}\" id=\"{id}\" type=\"self\" title=\"{id}\"/>");
    for cve in &advisory.cves {
        let cve = escape(cve);
        let _ = writeln!(xml, "      <reference href=\"https://cve.invalid/{cve}\" id=\"{cve}\" type=\"cve\" title=\"{cve}\"/>");
    }
    xml.push_str("    </references>\n    <pkglist>\n      <collection short=\"lab\">\n        <name>Lab updates</name>\n");
    for package in &advisory.packages {
        let RpmPackage { name, version, release, .. } = package;
        let (arch, epoch) = (package.arch(), package.epoch.unwrap_or(0));
        let _ = writeln!(
            xml,
            "        <package name=\"{name}\" version=\"{version}\" release=\"{release}\" epoch=\"{epoch}\" arch=\"{arch}\" src=\"{name}-{version}-{release}.src.rpm\">"
        );
        let _ = writeln!(xml, "          <filename>{}</filename>", package.file_name());
        if advisory.reboot_suggested {
            xml.push_str("          <reboot_suggested>True</reboot_suggested>\n");
        }
        xml.push_str("        </package>\n");
    }
    xml.push_str("      </collection>\n    </pkglist>\n  </update>\n");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

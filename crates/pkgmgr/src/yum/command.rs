//! yum 3's commands and what they print (yum 3.4.3 of Enterprise Linux 7). Held against captured and documented
//! output only: no host with yum 3 is in the lab.
//!
//! `yum -q check-update` (exit code 100 when there are updates); long fields are wrapped onto a next line:
//!
//! ```text
//!
//! openssl-libs.x86_64              1:1.0.2k-21.el7_9              ol7_latest
//! a-package-with-a-very-long-name-indeed.noarch
//!                                  2.0-1.el7                      ol7_latest
//! Obsoleting Packages
//! new-name.noarch                  2.0-1                          ol7_latest
//!     old-name.noarch              1.0-1                          @ol7_latest
//! ```
//!
//! `yum -q updateinfo list updates`:
//!
//! ```text
//! ELSA-2020-5566 Important/Sec. openssl-libs-1:1.0.2k-21.el7_9.x86_64
//! ELBA-2020-5000 bugfix         tzdata-2020d-2.el7.noarch
//! ```

use std::time::Duration;

use drydock_domain::inventory::Finding;

use crate::dnf5::{AdvisoryLine, Offered};
use crate::exec::{APPLY_TIME_LIMIT, REFRESH_TIME_LIMIT, SOLVE_TIME_LIMIT, cut};
use crate::run::{CommandSpec, End, Finished};

/// Exit code of `check-update` when there is something.
pub(crate) const EXIT_UPDATES: i32 = 100;
/// Exit code when another yum runs and `exit_on_lock` is set.
const EXIT_LOCKED: i32 = 200;

fn yum(label: &str, limit: Duration) -> CommandSpec {
    CommandSpec::new("yum", label, limit).args(["--color=never", "--setopt=exit_on_lock=1", "--setopt=*.skip_if_unavailable=1"])
}

/// Reads the repositories' metadata.
pub(crate) fn refresh() -> CommandSpec {
    let mut spec = yum("yum makecache", REFRESH_TIME_LIMIT).args(["makecache", "fast"]);
    spec.merge_stderr = true;
    spec
}

/// Newer versions; `all` = also those that version locks and excludes hide.
pub(crate) fn check_update(all: bool) -> CommandSpec {
    let spec = yum("yum check-update", SOLVE_TIME_LIMIT).args(["-q", "-C"]);
    let spec = if all { spec.args(["--disableplugin=versionlock", "--disableexcludes=all"]) } else { spec };
    spec.args(["check-update"])
}

/// Advisories of the updates.
pub(crate) fn advisories() -> CommandSpec {
    yum("yum updateinfo list", SOLVE_TIME_LIMIT).args(["-q", "-C", "updateinfo", "list", "updates"])
}

/// Advisories of the updates that close this CVE.
pub(crate) fn closing_cve(cve: &str) -> CommandSpec {
    advisories().args(["--cve", cve])
}

/// What removing exactly these would do.
pub(crate) fn remove_dry_run(words: &[String]) -> CommandSpec {
    yum("yum remove --assumeno", SOLVE_TIME_LIMIT)
        .args(["-C", "--assumeno", "--setopt=clean_requirements_on_remove=0", "remove"])
        .args(words.iter().cloned())
}

/// Removes exactly these.
pub(crate) fn remove(words: &[String]) -> CommandSpec {
    yum("yum remove", APPLY_TIME_LIMIT)
        .args(["-y", "--setopt=clean_requirements_on_remove=0", "remove"])
        .args(words.iter().cloned())
        .mutating()
}

/// Only downloads these (built in since Enterprise Linux 7).
pub(crate) fn download(words: &[String]) -> CommandSpec {
    yum("yum install --downloadonly", APPLY_TIME_LIMIT).args(["-y", "--downloadonly", "install"]).args(words.iter().cloned())
}

/// What an update would do.
pub(crate) fn dry_run(security: bool, minimal: bool, excluded: &[String], names: &[String]) -> CommandSpec {
    let mut spec = yum("yum update --assumeno", SOLVE_TIME_LIMIT).args(["-C", "--assumeno", "--skip-broken"]);
    spec = spec.args(excluded.iter().map(|n| format!("--exclude={n}")));
    if security {
        spec = spec.args(["--security"]);
    }
    spec.args([if minimal { "update-minimal" } else { "update" }]).args(names.iter().cloned())
}

/// What installing exactly these would do.
pub(crate) fn install_dry_run(words: &[String]) -> CommandSpec {
    yum("yum install --assumeno", SOLVE_TIME_LIMIT).args(["-C", "--assumeno", "install"]).args(words.iter().cloned())
}

/// Installs exactly these; for an installed package `install` means going to that version.
pub(crate) fn install(words: &[String]) -> CommandSpec {
    yum("yum install", APPLY_TIME_LIMIT).args(["-y", "install"]).args(words.iter().cloned()).mutating()
}

/// Reads [`check_update`]: (updates, obsoleting packages are left to the dry run).
pub(crate) fn parse_check_update(text: &str) -> Result<Vec<Offered>, String> {
    let mut out = Vec::new();
    let mut words: Vec<&str> = Vec::new();
    for line in text.lines() {
        if line.starts_with("Obsoleting Packages") {
            break;
        }
        // A wrapped line goes on with a space; anything else starts a new entry.
        if !line.starts_with(' ') {
            words.clear();
        }
        words.extend(line.split_whitespace());
        if let [package, version, repository] = words[..] {
            let Some((name, arch)) = package.rsplit_once('.') else { return Err(format!("no architecture in {line:?}")) };
            out.push(Offered {
                name: name.to_owned(),
                arch: arch.to_owned(),
                version: version.strip_prefix("0:").unwrap_or(version).to_owned(),
                repository: repository.to_owned(),
            });
            words.clear();
        }
    }
    Ok(out)
}

/// Reads [`advisories`].
pub(crate) fn parse_advisories(text: &str) -> Vec<AdvisoryLine> {
    let line = |l: &str| {
        let mut words = l.split_whitespace();
        let (name, kind, nevra) = (words.next()?, words.next()?, words.next()?);
        let (severity, kind) = match kind.split_once("/Sec.") {
            Some((severity, _)) => (severity, "security"),
            None => ("", kind),
        };
        name.contains('-').then(|| AdvisoryLine {
            name: name.to_owned(),
            kind: kind.to_owned(),
            severity: severity.to_owned(),
            nevra: nevra.to_owned(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// Broken repositories: `failure: repodata/repomd.xml from ol7_gone: [Errno 256] No more mirrors to try.` and, with
/// skip_if_unavailable, `Could not retrieve mirrorlist …` lines without an id.
pub(crate) fn parse_refresh(text: &str) -> Vec<Finding> {
    let mut out: Vec<Finding> = Vec::new();
    for line in text.lines() {
        let named = line.strip_prefix("failure: ").and_then(|r| r.split_once(" from ")).and_then(|(_, r)| r.split_once(':'));
        let subject = match named {
            Some((id, _)) => id.to_owned(),
            None if line.contains("[Errno 14]") => line.split(": [Errno").next().unwrap_or("yum").to_owned(),
            None => continue,
        };
        if !out.iter().any(|f| f.subject == subject) {
            out.push(Finding { subject, message: cut(line) });
        }
    }
    out
}

/// `Existing lock /var/run/yum.pid: another copy is running as pid 4242.`
pub(crate) fn locked(finished: &Finished) -> Option<Option<String>> {
    let text = format!("{}\n{}", finished.stdout.text(), finished.stderr.text());
    if finished.end != End::Exited(EXIT_LOCKED) && !text.contains("another copy is running as pid") {
        return None;
    }
    let pid = text.split_once("running as pid ").map(|(_, r)| r.chars().take_while(char::is_ascii_digit).collect::<String>());
    Some(pid.map(|p| format!("process {p}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_lines_are_joined_and_obsoletes_left_out() {
        let text = "\nopenssl-libs.x86_64     1:1.0.2k-21.el7_9     ol7_latest\na-package-with-a-very-long-name.noarch\n\
            \x20                        2.0-1.el7             ol7_latest\nObsoleting Packages\nnew.noarch  2.0-1  ol7_latest\n    old.noarch 1.0-1 @ol7\n";
        let got = parse_check_update(text).expect("parses");
        let rows: Vec<_> = got.iter().map(|o| (o.name.as_str(), o.arch.as_str(), o.version.as_str())).collect();
        assert_eq!(
            rows,
            [("openssl-libs", "x86_64", "1:1.0.2k-21.el7_9"), ("a-package-with-a-very-long-name", "noarch", "2.0-1.el7")]
        );
    }

    #[test]
    fn advisories_findings_and_locks() {
        let got = parse_advisories(
            "ELSA-2020-5566 Important/Sec. openssl-libs-1:1.0.2k-21.el7_9.x86_64\nELBA-2020-5000 bugfix tzdata-2020d-2.el7.noarch\n",
        );
        assert_eq!((got[0].kind.as_str(), got[0].severity.as_str(), got[1].kind.as_str()), ("security", "Important", "bugfix"));
        let findings = parse_refresh(
            "failure: repodata/repomd.xml from ol7_gone: [Errno 256] No more mirrors to try.\nhttp://m/x: [Errno 14] HTTP Error 404\n",
        );
        assert_eq!(findings.iter().map(|f| f.subject.as_str()).collect::<Vec<_>>(), ["ol7_gone", "http://m/x"]);
    }
}

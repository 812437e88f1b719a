//! `apt-get update`: reads the repositories' metadata, goes on past broken ones. Printed by apt 2.6:
//!
//! ```text
//! Hit:1 http://good/debian bookworm InRelease
//! Ign:2 http://gone/debian bookworm InRelease
//! Err:3 http://gone/debian bookworm Release
//!   404  Not Found [IP: 127.0.0.1 8080]
//! E: The repository 'http://gone/debian bookworm Release' does not have a Release file.
//! W: GPG error: http://unsigned/debian bookworm InRelease: The following signatures couldn't be verified …
//! W: Failed to fetch http://down/debian/dists/bookworm/InRelease  Could not connect to 127.0.0.1:1 …
//! W: Some index files failed to download. They have been ignored, or old ones used instead.
//! ```

use drydock_domain::inventory::Finding;

use crate::exec::{REFRESH_TIME_LIMIT, cut};
use crate::run::{CommandSpec, Finished};

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Updated {
    /// Repositories that answered.
    pub working: usize,
    /// Repositories that did not.
    pub findings: Vec<Finding>,
}

/// The command.
pub(crate) fn spec() -> CommandSpec {
    let mut spec = CommandSpec::new("apt-get", "apt-get update", REFRESH_TIME_LIMIT).args(["update", "-q", "-o", "APT::Color=0"]);
    // It changes apt's lists only, but a pipe closed under it would end it in the middle all the same.
    spec.merge_stderr = true;
    spec
}

/// Reads what it printed.
pub(crate) fn parse(text: &str) -> Updated {
    let mut updated = Updated::default();
    for line in text.lines() {
        if line.starts_with("Hit:") || line.starts_with("Get:") {
            updated.working += 1;
            continue;
        }
        let Some(message) = line.strip_prefix("E: ").or_else(|| warning_about_a_repository(line)) else { continue };
        if message.starts_with("Some index files failed") {
            continue;
        }
        let finding = Finding { subject: subject(message), message: cut(message) };
        if !updated.findings.contains(&finding) {
            updated.findings.push(finding);
        }
    }
    updated
}

/// Warnings also tell of repeated sources.list lines and old keyrings, which break nothing: only these are findings.
fn warning_about_a_repository(line: &str) -> Option<&str> {
    let message = line.strip_prefix("W: ")?;
    ["Failed to fetch", "GPG error", "An error occurred during the signature", "The repository '"]
        .iter()
        .any(|start| message.starts_with(start))
        .then_some(message)
}

/// The repository a message is about: the first URL in it, without what belongs to one file.
fn subject(message: &str) -> String {
    let Some(url) = message.split([' ', '\'', '"']).find(|w| w.contains("://") || w.starts_with("file:/")) else {
        return "apt".to_owned();
    };
    let url = url.trim_end_matches([':', ',', '.']);
    url.split("/dists/").next().unwrap_or(url).trim_end_matches('/').to_owned()
}

/// Is another apt reading the lists? The holder, where apt names it:
/// `E: Could not get lock /var/lib/apt/lists/lock. It is held by process 4242 (apt-get)`.
pub(crate) fn locked(finished: &Finished) -> Option<Option<String>> {
    if finished.success() {
        return None;
    }
    let text = format!("{}\n{}", finished.stdout.text(), finished.stderr.text());
    lock_holder(&text)
}

/// The lock messages of apt-get and of dpkg (`dpkg: error: dpkg frontend lock was locked by another process with pid 7`).
/// `Waiting for cache lock: Could not get lock …` is no such message: apt may well have got it afterwards.
pub(crate) fn lock_holder(text: &str) -> Option<Option<String>> {
    let line = text.lines().find(|l| {
        l.starts_with("E: Could not get lock")
            || l.starts_with("E: Unable to acquire the dpkg frontend lock")
            || (l.starts_with("dpkg: error: ") && l.contains("locked by another process"))
    })?;
    let after = |mark: &str| line.split_once(mark).map(|(_, rest)| rest.trim_end_matches([',', '.']).to_owned());
    let holder = after("held by process ")
        .map(|h| format!("process {}", h.split(". ").next().unwrap_or(&h)))
        .or_else(|| after("another process with pid ").map(|h| format!("process {h}")));
    Some(holder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_repositories_are_findings_beside_working_ones() {
        let text = "Hit:1 http://good/debian bookworm InRelease\nIgn:2 http://gone/debian bookworm InRelease\n\
            Err:3 http://gone/debian bookworm Release\n  404  Not Found\nReading package lists...\n\
            E: The repository 'http://gone/debian bookworm Release' does not have a Release file.\n\
            W: GPG error: http://unsigned/x bookworm InRelease: no public key\n\
            W: Failed to fetch http://down/debian/dists/bookworm/InRelease  Could not connect to 127.0.0.1:1\n\
            W: Some index files failed to download. They have been ignored, or old ones used instead.\n\
            W: Target Packages is configured multiple times in /etc/apt/sources.list:1\n";
        let updated = parse(text);
        assert_eq!(updated.working, 1);
        let subjects: Vec<_> = updated.findings.iter().map(|f| f.subject.as_str()).collect();
        assert_eq!(subjects, ["http://gone/debian", "http://unsigned/x", "http://down/debian"]);
    }

    #[test]
    fn the_holder_of_a_lock_is_named() {
        let text = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4242 (apt-get)\nE: Unable to lock";
        assert_eq!(lock_holder(text), Some(Some("process 4242 (apt-get)".to_owned())));
        let dpkg = "dpkg: error: dpkg frontend lock was locked by another process with pid 7\nNote: removing the lock file";
        assert_eq!(lock_holder(dpkg), Some(Some("process 7".to_owned())));
        assert_eq!(lock_holder("E: Unable to fetch some archives"), None);
        let waited =
            "Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 2 (x)...\nE: failed";
        assert_eq!(lock_holder(waited), None);
    }
}

//! dnf5's commands (dnf5 5.4). Queries answer in a format we choose or in JSON; a dry run only prints its table, see
//! `table.rs`; a plan is applied as a stored transaction, see `stored.rs`.
//!
//! `dnf5 makecache --refresh` prints one line per repository (its name, not its id) and `>>>` lines below broken ones:
//!
//! ```text
//!  lab                                    100% | 614.8 KiB/s |   3.1 KiB |  00m00s
//!  broken                                 100% | 654.3 KiB/s |   1.3 KiB |  00m00s
//! >>> Status code: 404 for http://mirror/repodata/repomd.xml (IP: 192.0.2.1) - http://mirror/repodata/repomd.xml
//! >>> Usable URL not found
//! ```

use std::path::Path;
use std::time::Duration;

use drydock_domain::inventory::Finding;
use serde::Deserialize;

use crate::exec::{APPLY_TIME_LIMIT, REFRESH_TIME_LIMIT, SOLVE_TIME_LIMIT, cut};
use crate::rpm::query::evr;
use crate::run::{CommandSpec, Finished};

const SEPARATOR: char = '\u{1f}';
/// The repository of libdnf5's "local" plugin, which keeps downloaded packages: absent until the first download.
const LOCAL_PLUGIN_REPOSITORY: &str = "Local libdnf5 plugin repo";

/// A package of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offered {
    pub name: String,
    pub arch: String,
    pub version: String,
    pub repository: String,
}

/// An advisory's package.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct AdvisoryLine {
    /// The advisory.
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub severity: String,
    pub nevra: String,
}

/// dnf5 with the options of every call: one broken repository does not hide the others.
fn dnf5(label: &str, limit: Duration) -> CommandSpec {
    CommandSpec::new("dnf5", label, limit).args(["--setopt=*.skip_if_unavailable=1"])
}

/// As [`dnf5`], from the metadata that is there: nothing is refreshed.
fn cached(label: &str, limit: Duration) -> CommandSpec {
    dnf5(label, limit).args(["--setopt=cacheonly=metadata"])
}

/// Reads the repositories' metadata.
pub(crate) fn refresh() -> CommandSpec {
    let mut spec = dnf5("dnf5 makecache", REFRESH_TIME_LIMIT).args(["-y", "makecache", "--refresh"]);
    spec.merge_stderr = true;
    spec
}

/// Lists the repositories in force. Not as JSON: older versions have none.
pub(crate) fn enabled() -> CommandSpec {
    cached("dnf5 repo list", SOLVE_TIME_LIMIT).args(["repo", "list", "--enabled"])
}

/// Every offered version newer than the installed one; `all` = also those that version locks and excludes hide, and
/// `barred` ones.
pub(crate) fn upgrades(all: bool, barred: &[String]) -> CommandSpec {
    let fields = ["name", "arch", "epoch", "version", "release", "repoid"].map(|f| format!("%{{{f}}}"));
    let format = format!("{}\\n", fields.join(&SEPARATOR.to_string()));
    let spec = cached("dnf5 repoquery --upgrades", SOLVE_TIME_LIMIT).args(["-q"]);
    let spec = if all { spec.args(["--setopt=disable_excludes=*"]) } else { excluding(spec, barred) };
    spec.args(["repoquery".to_owned(), "--upgrades".to_owned(), "--queryformat".to_owned(), format])
}

/// Hides packages from a command.
fn excluding(spec: CommandSpec, words: &[String]) -> CommandSpec {
    spec.args(words.iter().map(|word| format!("--exclude={word}")))
}

/// Why installed packages are there: `name␟arch␟User` or `…␟Dependency`.
pub(crate) fn reasons() -> CommandSpec {
    let format = format!("%{{name}}{SEPARATOR}%{{arch}}{SEPARATOR}%{{reason}}\\n");
    cached("dnf5 repoquery --installed", SOLVE_TIME_LIMIT).args([
        "-q".to_owned(),
        "repoquery".to_owned(),
        "--installed".to_owned(),
        "--queryformat".to_owned(),
        format,
    ])
}

/// Advisories with newer versions of installed packages.
pub(crate) fn advisories() -> CommandSpec {
    cached("dnf5 advisory list", SOLVE_TIME_LIMIT).args(["-q", "advisory", "list", "--available", "--json"])
}

/// Does an advisory or a core package ask for a reboot since this boot? Printed by dnf5 5.4 (exit code 1 when it does):
///
/// ```text
/// [ { "type":"reboot", "reboot_required":true, "packages":[ "kernel" ], "documentation":"https://…" } ]
/// ```
///
/// It reads the repositories' file lists, which nothing else here needs: `from_cache` answers once they are there.
/// Nothing may be skipped then: a repository without cached file lists would be left out with its advisories, and the
/// answer would be a false "no".
pub(crate) fn needs_restarting(from_cache: bool) -> CommandSpec {
    let label = "dnf5 needs-restarting";
    let spec = if from_cache {
        CommandSpec::new("dnf5", label, SOLVE_TIME_LIMIT).args(["--setopt=cacheonly=metadata"])
    } else {
        dnf5(label, SOLVE_TIME_LIMIT)
    };
    spec.args(["needs-restarting", "--json"])
}

#[derive(Deserialize)]
struct RestartNeed {
    #[serde(default)]
    reboot_required: bool,
    #[serde(default)]
    packages: Vec<serde_json::Value>,
}

/// Reads [`needs_restarting`]: an error when it did not answer (file lists missing, or a dnf5 that does not know the
/// command: a plugin of some distributions, without JSON before 5.4); `None` when no reboot is asked for; otherwise the
/// packages it names.
pub(crate) fn parse_needs_restarting(text: &str) -> Result<Option<Vec<String>>, serde_json::Error> {
    let needs: Vec<RestartNeed> = serde_json::from_str(text)?;
    let asking: Vec<RestartNeed> = needs.into_iter().filter(|need| need.reboot_required).collect();
    if asking.is_empty() {
        return Ok(None);
    }
    let name = |package: serde_json::Value| match package {
        serde_json::Value::String(name) => Some(cut(&name)),
        other => ["name", "nevra"].iter().find_map(|key| other[*key].as_str().map(cut)),
    };
    Ok(Some(asking.into_iter().flat_map(|need| need.packages).filter_map(name).collect()))
}

/// What an upgrade would do.
pub(crate) struct DryRun<'a> {
    pub security: bool,
    pub minimal: bool,
    pub excluded: &'a [String],
    /// Exact packages.
    pub barred: &'a [String],
    /// Empty = everything.
    pub names: &'a [String],
}

impl DryRun<'_> {
    pub(crate) fn spec(&self) -> CommandSpec {
        let mut spec = cached("dnf5 upgrade --assumeno", SOLVE_TIME_LIMIT).args(["--assumeno"]);
        spec = excluding(excluding(spec, self.excluded), self.barred);
        spec = spec.args(["upgrade"]);
        if self.minimal {
            spec = spec.args(["--minimal"]);
        }
        if self.security {
            spec = spec.args(["--security"]);
        }
        // The solver's explanations go to standard error.
        spec.merge_stderr = true;
        spec.args(self.names.iter().cloned())
    }
}

/// Advisories with newer versions that close one of these CVEs.
pub(crate) fn closing_cves(cves: &[String]) -> CommandSpec {
    advisories().args([format!("--cves={}", cves.join(","))])
}

/// Packages that stay although nothing needs them any more: a plan removes what it names and what depends on it.
const KEEP_UNUSED: &str = "--setopt=clean_requirements_on_remove=0";

/// What installing, removing and updating these words would do, in one transaction. Several verbs at once need `do`,
/// which older dnf5 does not have; one verb is asked for by its own command.
pub(crate) fn named(install: &[String], remove: &[String], update: &[String], downgrade: bool, barred: &[String]) -> CommandSpec {
    let mut spec = excluding(cached("dnf5 --assumeno", SOLVE_TIME_LIMIT).args(["--assumeno", KEEP_UNUSED]), barred);
    spec.merge_stderr = true;
    let lists = [("install", install), ("remove", remove), ("upgrade", update)];
    let used: Vec<_> = lists.into_iter().filter(|(_, words)| !words.is_empty()).collect();
    let back = if downgrade { vec!["--allow-downgrade"] } else { Vec::new() };
    if let [(verb, words)] = used[..] {
        let back = if verb == "install" { back } else { Vec::new() };
        return spec.args([verb]).args(back).args(words.iter().cloned());
    }
    spec = spec.args(["do"]).args(back);
    for (verb, words) in used {
        spec = spec.args([format!("--action={verb}")]).args(words.iter().cloned());
    }
    spec
}

/// Only downloads these exact packages into dnf5's cache, where a replay finds them.
pub(crate) fn download(packages: &[String]) -> CommandSpec {
    cached("dnf5 install --downloadonly", APPLY_TIME_LIMIT)
        .args(["-y", "install", "--allow-downgrade", "--downloadonly"])
        .args(packages.iter().cloned())
}

/// What replaying a stored transaction would do. It changes nothing, but dnf5 asks first whether it may write to /usr:
/// it has to run where the replay itself will.
pub(crate) fn replay_dry_run(directory: &Path, removes: bool) -> CommandSpec {
    let mut spec = cached("dnf5 replay --assumeno", SOLVE_TIME_LIMIT);
    spec.merge_stderr = true;
    let spec = if removes { spec.args([KEEP_UNUSED]) } else { spec };
    spec.args(["--assumeno", "replay"]).args([directory.to_string_lossy()]).mutating()
}

/// Replays a stored transaction; dnf5 itself refuses when anything else would be pulled in.
pub(crate) fn replay(directory: &Path, removes: bool) -> CommandSpec {
    let spec = cached("dnf5 replay", APPLY_TIME_LIMIT);
    let spec = if removes { spec.args([KEEP_UNUSED]) } else { spec };
    spec.args(["-y", "replay"]).args([directory.to_string_lossy()]).mutating()
}

/// Reads [`upgrades`]: the newest version of each (name, arch), sorted.
pub(crate) fn parse_upgrades(text: &str) -> Result<Vec<Offered>, String> {
    let mut newest: std::collections::BTreeMap<(String, String), Offered> = std::collections::BTreeMap::new();
    for line in text.lines().filter(|l| l.contains(SEPARATOR)) {
        let fields: Vec<&str> = line.split(SEPARATOR).collect();
        let [name, arch, epoch, version, release, repository] = fields[..] else {
            return Err(format!("{} fields instead of 6 in {line:?}", fields.len()));
        };
        let offered = Offered {
            name: name.to_owned(),
            arch: arch.to_owned(),
            version: evr(epoch, version, release),
            repository: repository.to_owned(),
        };
        match newest.entry((offered.name.clone(), offered.arch.clone())) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(offered);
            }
            std::collections::btree_map::Entry::Occupied(mut place) => {
                if crate::rpm::order(&offered.version, &place.get().version).is_gt() {
                    place.insert(offered);
                }
            }
        }
    }
    Ok(newest.into_values().collect())
}

/// Reads [`reasons`].
pub(crate) fn parse_reasons(text: &str) -> std::collections::BTreeMap<(String, String), String> {
    let line = |l: &str| {
        let mut fields = l.split(SEPARATOR).map(str::to_owned);
        Some(((fields.next()?, fields.next()?), fields.next()?))
    };
    text.lines().filter_map(line).collect()
}

/// Reads [`advisories`]; no output at all means none.
pub(crate) fn parse_advisories(text: &str) -> Result<Vec<AdvisoryLine>, String> {
    match text.find('[') {
        None => Ok(Vec::new()),
        Some(start) => serde_json::from_str(&text[start..]).map_err(|e| e.to_string()),
    }
}

/// Reads [`enabled`]: how many repositories there are.
pub(crate) fn parse_enabled(text: &str) -> usize {
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.contains(LOCAL_PLUGIN_REPOSITORY));
    lines.skip_while(|line| line.starts_with("repo id")).count()
}

/// Reads [`refresh`]: how many repositories answered, and the broken ones. A repository that another dnf5 has read a moment
/// before is not mentioned.
pub(crate) fn parse_refresh(text: &str) -> (usize, Vec<Finding>) {
    let mut repositories: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        if let Some(problem) = line.strip_prefix(">>> ") {
            if let Some((_, problems)) = repositories.last_mut()
                && !problems.iter().any(|p| p == problem)
            {
                problems.push(problem.to_owned());
            }
        } else if let Some((name, _)) = line.strip_prefix(' ').and_then(|l| l.split_once("% |")) {
            let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '?').trim();
            repositories.push((name.to_owned(), Vec::new()));
        }
    }
    repositories.retain(|(name, _)| !name.starts_with(LOCAL_PLUGIN_REPOSITORY));
    let working = repositories.iter().filter(|(_, problems)| problems.is_empty()).count();
    let broken = repositories.into_iter().filter(|(_, problems)| !problems.is_empty());
    (working, broken.map(|(subject, problems)| Finding { subject, message: cut(&problems.join("; ")) }).collect())
}

/// Another dnf5 or rpm transaction is running:
/// `Failed to obtain rpm transaction lock. Another transaction is in progress.`
pub(crate) fn locked(finished: &Finished) -> Option<Option<String>> {
    if finished.success() {
        return None;
    }
    let text = format!("{}\n{}", finished.stdout.text(), finished.stderr.text());
    let line = text.lines().find(|l| l.contains("transaction lock") || l.contains("Another transaction is in progress"))?;
    let pid = line.split(|c: char| !c.is_ascii_digit()).find(|w| w.len() > 1);
    Some(pid.map(|p| format!("process {p}")))
}

/// Packages whose scriptlets failed:
/// `>>> Error in %pre scriptlet: dr-fails-0:2.0-1.noarch`, `>>> Non-critical error in %post scriptlet: dr-postfails-0:2.0-1.noarch`.
pub(crate) fn parse_failures(text: &str) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let Some(said) = line.strip_prefix(">>> ") else { continue };
        let Some((what, nevra)) = said.split_once(" scriptlet: ") else { continue };
        if !what.to_ascii_lowercase().contains("error in") {
            continue;
        }
        let Some((name, _, _)) = split_nevra(nevra.trim()) else { continue };
        if !out.iter().any(|(n, _)| *n == name) {
            out.push((name, cut(said)));
        }
    }
    out
}

/// `name-[epoch:]version-release.arch` → (name, version without epoch 0, arch).
pub(crate) fn split_nevra(nevra: &str) -> Option<(String, String, String)> {
    let (rest, arch) = nevra.rsplit_once('.')?;
    let (rest, release) = rest.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    let (epoch, version) = version.split_once(':').unwrap_or(("", version));
    Some((name.to_owned(), evr(epoch, version, release), arch.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reboot_is_asked_for_by_name_or_not_at_all() {
        let asked = r#"[{"type":"reboot","reboot_required":true,"packages":["dd-reboot",{"name":"kernel"}],"documentation":""}]"#;
        let names = parse_needs_restarting(asked).expect("an answer");
        assert_eq!(names, Some(vec!["dd-reboot".to_owned(), "kernel".to_owned()]));
        let calm = parse_needs_restarting(r#"[{"type":"reboot","reboot_required":false,"packages":[]}]"#);
        assert_eq!(calm.expect("an answer"), None);
        assert!(parse_needs_restarting("Unknown argument \"needs-restarting\"").is_err());
    }

    #[test]
    fn the_newest_offer_of_each_package_counts() {
        let text = "dr-sec|noarch|0|1.5|1|lab\ndr-sec|noarch|0|2.0|1|lab\nvim|x86_64|2|9.1|1|lab\n".replace('|', "\u{1f}");
        let got: Vec<_> = parse_upgrades(&text).expect("parses").into_iter().map(|o| (o.name, o.version)).collect();
        assert_eq!(got, [("dr-sec".to_owned(), "2.0-1".to_owned()), ("vim".to_owned(), "2:9.1-1".to_owned())]);
    }

    #[test]
    fn repositories_in_force_are_counted() {
        let text = "repo id repo name\nlab-1   Lab number 1\nthird   Lab third-party\n_dnf_local Local libdnf5 plugin repo (nogpgcheck)\n";
        assert_eq!(parse_enabled(text), 2);
        assert_eq!(parse_enabled(""), 0);
    }

    #[test]
    fn broken_repositories_are_told_from_working_ones() {
        let text = "Updating and loading repositories:\n lab          100% | 614.8 KiB/s |   3.1 KiB |  00m00s\n \
            My broken repo  100% | 654.3 KiB/s |   1.3 KiB |  00m00s\n>>> Status code: 404 for http://m/x\n>>> Status code: 404 for http://m/x\n\
            >>> Usable URL not found\n Local libdnf5 plugin repo (nogpgcheck) ???% |   0.0   B/s |  -1.0   B |  ?\n>>> Curl error (37)\n";
        let (working, findings) = parse_refresh(text);
        assert_eq!(working, 1);
        assert_eq!(findings.len(), 1);
        assert_eq!(
            (findings[0].subject.as_str(), findings[0].message.as_str()),
            ("My broken repo", "Status code: 404 for http://m/x; Usable URL not found")
        );
    }

    #[test]
    fn failed_scriptlets_and_nevras() {
        let text = ">>> Running %pre scriptlet: a-0:1-1.noarch\n>>> Error in %pre scriptlet: dr-fails-0:2.0-1.noarch\n\
            >>> Non-critical error in %post scriptlet: dr-postfails-0:2.0-1.noarch\n";
        let names: Vec<_> = parse_failures(text).into_iter().map(|(n, _)| n).collect();
        assert_eq!(names, ["dr-fails", "dr-postfails"]);
        assert_eq!(split_nevra("vim-x-2:9.1-1.fc42.x86_64"), Some(("vim-x".into(), "2:9.1-1.fc42".into(), "x86_64".into())));
        assert_eq!(split_nevra("nonsense"), None);
    }
}

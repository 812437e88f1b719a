//! What a patch job that chooses by advisory, CVE, severity or because it is overdue means to one host, where the host cannot tell: its package
//! manager knows no advisories (apt), or no severity that all vendors share. The server names the packages instead.

use std::collections::{BTreeSet, HashSet};

use drydock_domain::advisory::{AdvisoryKind, Severity};
use drydock_domain::applicability::{HostAdvisory, HostReport, HostUpdate, HostVulnerability, OpenState};
use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::ManagerKind;
use drydock_domain::limits::ORDER_PACKAGES_MAX;
use drydock_domain::patch::operation::{PackageChanges, UpdateType};
use drydock_domain::patch::pattern::{Pattern, compile_all};
use drydock_domain::patch::spec::PatchConfig;
use drydock_store::instances;
use jiff::Timestamp;

use crate::Control;
use crate::error::Result;
use crate::fleet::Model;
use crate::fleet::standing::Standing;

/// Ids that a task's message names, count.
const UNKNOWN_TOLD_MAX: usize = 5;

/// What a host gets.
pub(super) enum Chosen {
    /// The job's settings, with named packages where the server chose them; otherwise the host chooses itself.
    Settings {
        config: Box<PatchConfig>,
        /// Packages that the job chooses and the order has no room for.
        left_out: usize,
    },
    /// Nothing is to be done there, and why.
    Nothing(String),
}

impl Control {
    /// Resolves the choice of a job for one host, as the fleet is known at `now`.
    pub(super) async fn choose_for(&self, host: InstanceId, config: &PatchConfig, now: Timestamp) -> Result<Chosen> {
        let as_it_is = || Ok(Chosen::Settings { config: Box::new(config.clone()), left_out: 0 });
        let by_id = !(config.advisories.is_empty() && config.cves.is_empty());
        let by_server = config.min_severity.is_some() || config.overdue;
        if !by_server && !by_id {
            return as_it_is();
        }
        let record = instances::find(&mut *self.read().await?, host).await?;
        let manager = record.and_then(|r| r.os).and_then(|os| os.managers.first().copied());
        let is_apt = manager == Some(ManagerKind::Apt);
        if !by_server && !is_apt {
            return as_it_is();
        }
        let standing = match by_server {
            true => self.fleet_standing(now).await?,
            false => Standing::default(),
        };
        let model = self.fleet_model().await?;
        let Some(report) = model.engine.host(host) else {
            return Ok(Chosen::Nothing("the host has sent no inventory that could be compared with advisories".to_owned()));
        };
        let marks = Marks::of(&model, &standing, host, &report, config.overdue);
        let mut words = words(config, manager, &report, &marks, model.sees_sources(host));
        if words.is_empty() {
            let unknown = self.unknown_ids(&model, config).await?;
            return Ok(Chosen::Nothing(match unknown.as_slice() {
                [] => "nothing to do: the server knows no update of this host that the job's advisories choose".to_owned(),
                ids => format!("nothing to do: no feed or source of this server says anything of {}", ids.join(", ")),
            }));
        }
        if config.soak_days > 0 {
            // The newest version that the server knows may not have soaked; the host takes an older one in its place.
            words.iter_mut().for_each(|word| word.truncate(word.find('=').unwrap_or(word.len())));
        }
        let left_out = words.len().saturating_sub(ORDER_PACKAGES_MAX);
        words.truncate(ORDER_PACKAGES_MAX);
        Ok(Chosen::Settings { config: Box::new(named(config, words)), left_out })
    }
}

impl Control {
    /// Advisories and CVEs that a job names and nobody here speaks of, the first ones: misspelt, or of a feed that is not imported.
    async fn unknown_ids(&self, model: &Model, config: &PatchConfig) -> Result<Vec<String>> {
        let mut unknown: Vec<String> =
            config.advisories.iter().filter(|id| model.catalogue.get(id).is_none()).take(UNKNOWN_TOLD_MAX).cloned().collect();
        for cve in &config.cves {
            if unknown.len() >= UNKNOWN_TOLD_MAX {
                break;
            }
            if !model.catalogue.iter().any(|(_, entry)| entry.cves().contains(cve.as_str())) && !self.is_stated(cve).await? {
                unknown.push(cve.clone());
            }
        }
        Ok(unknown)
    }
}

/// What the message of a task says of packages that its order had no room for.
const LEFT_OUT: &str = " packages that the job chooses were left out, as one order names no more; run it again for them. ";

/// That packages were left out, for the task's message; empty when there are none.
pub(super) fn left_out_note(left_out: usize) -> String {
    if left_out == 0 { String::new() } else { format!("{left_out}{LEFT_OUT}") }
}

/// The note that a task's message begins with: reports do not replace it.
pub(super) fn note_of(message: &str) -> &str {
    let digits = message.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0 && message[digits..].starts_with(LEFT_OUT) { &message[..digits + LEFT_OUT.len()] } else { "" }
}

/// The job's settings with named packages in the place of a choice.
fn named(config: &PatchConfig, update: Vec<String>) -> PatchConfig {
    let mut named = config.clone();
    named.packages = Some(PackageChanges { update, ..PackageChanges::default() });
    (named.advisories, named.cves, named.update_types, named.min_severity) = (Vec::new(), Vec::new(), Vec::new(), None);
    (named.apt.excludes, named.yum.excludes, named.zypper.excludes) = (Vec::new(), Vec::new(), Vec::new());
    named.overdue = false;
    named
}

/// How the vulnerabilities of one host stand.
#[derive(Debug, Default)]
struct Marks<'a> {
    /// Open ones.
    open: HashSet<&'a str>,
    /// Accepted by an exception, open or not.
    accepted: HashSet<&'a str>,
    /// Open for too long; looked at only when a job asks.
    overdue: HashSet<&'a str>,
}

impl<'a> Marks<'a> {
    fn of(model: &Model, standing: &Standing, host: InstanceId, report: &'a HostReport, overdue: bool) -> Self {
        let open: HashSet<&str> = report.vulnerabilities.iter().map(|v| v.id.as_str()).collect();
        let named = report.advisories.iter().flat_map(|a| a.cves.iter().map(String::as_str));
        let accepted = named.chain(open.iter().copied()).filter(|cve| standing.accepts(host, cve)).collect();
        let late = |cve: &&str| overdue && standing.is_overdue_on(model, host, cve);
        Marks { overdue: open.iter().copied().filter(late).collect(), open, accepted }
    }

    /// Everything that the advisory closes here is accepted: its severity chooses nothing.
    fn accepts(&self, advisory: &HostAdvisory) -> bool {
        let mut accepted = false;
        for cve in advisory.cves.iter().map(String::as_str) {
            if self.accepted.contains(cve) {
                accepted = true;
            } else if self.open.contains(cve) {
                return false;
            }
        }
        accepted
    }
}

/// Packages to update, each as a word: with the exact version where the server knows what the host would get. Sorted.
fn words(
    config: &PatchConfig,
    manager: Option<ManagerKind>,
    report: &HostReport,
    marks: &Marks<'_>,
    sees_sources: bool,
) -> Vec<String> {
    let severe = |severity: Severity| config.min_severity.is_some_and(|least| severity >= least);
    // What is named is meant, accepted or not.
    let meant = |cve: &str| config.cves.iter().any(|c| c == cve) || marks.overdue.contains(cve);
    let by_advisory = |a: &HostAdvisory| {
        config.advisories.contains(&a.id)
            || a.cves.iter().any(|cve| meant(cve))
            || (a.kind == AdvisoryKind::Security && severe(a.severity) && !marks.accepts(a))
    };
    let by_cve = |v: &HostVulnerability| meant(&v.id) || (severe(v.severity) && !marks.accepted.contains(v.id.as_str()));
    let mut advisories: BTreeSet<&str> = BTreeSet::new();
    // (name, architecture) of what is to be mended.
    let mut touched: BTreeSet<(&str, &str)> = BTreeSet::new();
    for advisory in report.advisories.iter().filter(|a| by_advisory(a)) {
        advisories.insert(&advisory.id);
        touched.extend(advisory.packages.iter().map(|p| (p.name.as_str(), p.arch.as_str())));
    }
    // What vendors state without an advisory (Debian's tracker) counts as well.
    for open in report.vulnerabilities.iter().filter(|v| by_cve(v)) {
        let fixed = open.packages.iter().filter(|p| p.fixed.is_some() && p.state != OpenState::AwaitsReboot);
        touched.extend(fixed.map(|p| (p.name.as_str(), p.arch.as_str())));
    }
    let (separator, excludes) = match manager {
        Some(ManagerKind::Apt) => (':', &config.apt.excludes),
        Some(ManagerKind::Zypper) => ('.', &config.zypper.excludes),
        _ => ('.', &config.yum.excludes),
    };
    let excluded = excluding(excludes);
    let mut words: BTreeSet<String> = BTreeSet::new();
    if sees_sources {
        let chosen = |u: &&HostUpdate| {
            let by_type = config.update_types.iter().any(|t| type_of(u.kind) == *t);
            by_type
                || touched.contains(&(u.name.as_str(), u.arch.as_str()))
                || u.advisories.iter().any(|a| advisories.contains(a.as_str()))
        };
        let free = report.updates.iter().filter(|u| u.held.is_empty() && u.obsoletes.is_empty());
        for update in free.filter(chosen).filter(|u| !excluded(&u.name)) {
            words.insert(format!("{}{separator}{}={}", update.name, update.arch, update.to));
        }
    } else {
        // The host's own repositories decide: the newest they have.
        words.extend(touched.iter().filter(|(name, _)| !excluded(name)).map(|(name, arch)| format!("{name}{separator}{arch}")));
    }
    words.into_iter().collect()
}

fn excluding(patterns: &[Pattern]) -> impl Fn(&str) -> bool {
    // Patterns that do not compile were refused with the job.
    let matchers = compile_all(patterns).unwrap_or_default();
    move |name: &str| matchers.iter().any(|m| m.matches(name))
}

fn type_of(kind: AdvisoryKind) -> UpdateType {
    match kind {
        AdvisoryKind::Security => UpdateType::Security,
        AdvisoryKind::Bugfix => UpdateType::Bugfix,
        AdvisoryKind::Enhancement => UpdateType::Enhancement,
        AdvisoryKind::Other => UpdateType::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drydock_domain::applicability::{AdvisoryPackage, HostAdvisory};

    fn report() -> HostReport {
        let update = |name: &str, kind, advisories: &[&str], held: &str| HostUpdate {
            name: name.into(),
            arch: "amd64".into(),
            from: "1".into(),
            to: "2".into(),
            to_arch: "amd64".into(),
            source: "s".into(),
            root: "r".into(),
            kind,
            severity: Severity::Unknown,
            advisories: advisories.iter().map(|a| (*a).to_owned()).collect(),
            obsoletes: Vec::new(),
            held: held.into(),
            phased_percent: 100,
        };
        let advisory = |id: &str, severity, cve: &str, package: &str| HostAdvisory {
            id: id.into(),
            kind: AdvisoryKind::Security,
            severity,
            cves: vec![cve.into()],
            installable: true,
            packages: vec![AdvisoryPackage {
                name: package.into(),
                arch: "amd64".into(),
                installed: "1".into(),
                fixed: "2".into(),
                installable: true,
            }],
        };
        HostReport {
            updates: vec![
                update("curl", AdvisoryKind::Security, &["DSA-1-1"], ""),
                update("nginx", AdvisoryKind::Security, &["DSA-2-1"], "held by apt-mark"),
                update("vim", AdvisoryKind::Security, &["DSA-3-1"], ""),
                update("zsh", AdvisoryKind::Other, &[], ""),
            ],
            advisories: vec![
                advisory("DSA-1-1", Severity::Critical, "CVE-2026-0001", "curl"),
                advisory("DSA-2-1", Severity::Critical, "CVE-2026-0002", "nginx"),
                advisory("DSA-3-1", Severity::Low, "CVE-2026-0003", "vim"),
            ],
            vulnerabilities: Vec::new(),
        }
    }

    fn chosen(config: &str, sees_sources: bool) -> Vec<String> {
        let config: PatchConfig = serde_json::from_str(config).expect("settings");
        words(&config, Some(ManagerKind::Apt), &report(), &Marks::default(), sees_sources)
    }

    #[test]
    fn a_choice_becomes_packages_of_the_host() {
        assert_eq!(chosen(r#"{"advisories":["DSA-1-1"]}"#, true), ["curl:amd64=2"]);
        assert_eq!(chosen(r#"{"cves":["CVE-2026-0003"]}"#, true), ["vim:amd64=2"]);
        assert_eq!(chosen(r#"{"minSeverity":"IMPORTANT"}"#, true), ["curl:amd64=2"], "nginx is held");
        assert_eq!(chosen(r#"{"minSeverity":"LOW","apt":{"excludes":["cur*"]}}"#, true), ["vim:amd64=2"]);
        assert_eq!(chosen(r#"{"minSeverity":"CRITICAL","updateTypes":["OTHER"]}"#, true), ["curl:amd64=2", "zsh:amd64=2"]);
        assert_eq!(chosen(r#"{"minSeverity":"CRITICAL"}"#, false), ["curl:amd64", "nginx:amd64"], "its own archives decide");
        assert_eq!(chosen(r#"{"advisories":["DSA-9-1"]}"#, true), Vec::<String>::new());
    }

    #[test]
    fn what_is_accepted_is_chosen_by_name_only() {
        let chosen = |config: &str, open: &[&'static str], accepted: &[&'static str], overdue: &[&'static str]| {
            let config: PatchConfig = serde_json::from_str(config).expect("settings");
            let set = |ids: &[&'static str]| ids.iter().copied().collect();
            let marks = Marks { open: set(open), accepted: set(accepted), overdue: set(overdue) };
            words(&config, Some(ManagerKind::Apt), &report(), &marks, true)
        };
        let (curl, vim) = ("CVE-2026-0001", "CVE-2026-0003");
        assert_eq!(chosen(r#"{"minSeverity":"LOW"}"#, &[curl, vim], &[curl], &[]), ["vim:amd64=2"]);
        assert_eq!(chosen(r#"{"minSeverity":"LOW","cves":["CVE-2026-0001"]}"#, &[curl], &[curl, vim], &[]), ["curl:amd64=2"]);
        assert_eq!(chosen(r#"{"advisories":["DSA-1-1"]}"#, &[curl], &[curl], &[]), ["curl:amd64=2"]);
        assert_eq!(chosen(r#"{"overdue":true}"#, &[curl, vim], &[], &[vim]), ["vim:amd64=2"]);
        assert_eq!(
            chosen(r#"{"overdue":true,"minSeverity":"CRITICAL"}"#, &[curl, vim], &[], &[vim]),
            ["curl:amd64=2", "vim:amd64=2"]
        );
        assert_eq!(chosen(r#"{"overdue":true}"#, &[curl, vim], &[], &[]), Vec::<String>::new());
    }

    #[test]
    fn the_note_of_what_was_left_out_is_found_again() {
        let note = left_out_note(12);
        assert!(note.starts_with("12 packages"), "{note}");
        assert_eq!(note_of(&format!("{note}2 of 3 are updated")), note);
        assert_eq!((note_of("12 of 13"), note_of(LEFT_OUT), note_of(""), left_out_note(0).as_str()), ("", "", "", ""));
    }

    #[test]
    fn named_packages_stand_alone_in_an_order() {
        let config: PatchConfig =
            serde_json::from_str(r#"{"minSeverity":"LOW","overdue":true,"cves":["CVE-2026-0001"],"apt":{"excludes":["x"]}}"#)
                .expect("settings");
        let named = named(&config, vec!["curl:amd64=2".into()]);
        assert_eq!(named.packages.as_ref().map(|p| p.update.clone()), Some(vec!["curl:amd64=2".to_owned()]));
        assert!(!named.chooses() && named.apt.excludes.is_empty());
    }
}

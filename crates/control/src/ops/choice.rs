//! What a patch job that chooses by advisory, CVE or severity means to one host, where the host cannot tell: its package
//! manager knows no advisories (apt), or no severity that all vendors share. The server names the packages instead.

use std::collections::BTreeSet;

use drydock_domain::advisory::{AdvisoryKind, Severity};
use drydock_domain::applicability::{HostReport, HostUpdate, OpenState};
use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::ManagerKind;
use drydock_domain::limits::PATTERNS_MAX;
use drydock_domain::patch::operation::{PackageChanges, UpdateType};
use drydock_domain::patch::pattern::{Pattern, compile_all};
use drydock_domain::patch::spec::PatchConfig;
use drydock_store::instances;

use crate::Control;
use crate::error::Result;

/// What a host gets.
pub(super) enum Chosen {
    /// The job's settings as they are: the host chooses itself.
    Settings(Box<PatchConfig>),
    /// Nothing is to be done there, and why.
    Nothing(String),
}

impl Control {
    /// Resolves the choice of a job for one host, as the fleet is known now.
    pub(super) async fn choose_for(&self, host: InstanceId, config: &PatchConfig) -> Result<Chosen> {
        let by_id = !(config.advisories.is_empty() && config.cves.is_empty());
        if config.min_severity.is_none() && !by_id {
            return Ok(Chosen::Settings(Box::new(config.clone())));
        }
        let record = instances::find(&mut *self.read().await?, host).await?;
        let manager = record.and_then(|r| r.os).and_then(|os| os.managers.first().copied());
        let is_apt = manager == Some(ManagerKind::Apt);
        if config.min_severity.is_none() && !is_apt {
            return Ok(Chosen::Settings(Box::new(config.clone())));
        }
        let model = self.fleet_model().await?;
        let Some(report) = model.engine.host(host) else {
            return Ok(Chosen::Nothing("the host has sent no inventory that could be compared with advisories".to_owned()));
        };
        let words = words(config, manager, &report, model.hosts.get(&host).is_some_and(|seen| !seen.views.is_empty()));
        if words.is_empty() {
            return Ok(Chosen::Nothing(
                "nothing to do: the server knows no update of this host that the job's advisories choose".to_owned(),
            ));
        }
        Ok(Chosen::Settings(Box::new(named(config, words))))
    }
}

/// The job's settings with named packages in the place of a choice.
fn named(config: &PatchConfig, update: Vec<String>) -> PatchConfig {
    let mut named = config.clone();
    named.packages = Some(PackageChanges { update, ..PackageChanges::default() });
    (named.advisories, named.cves, named.update_types, named.min_severity) = (Vec::new(), Vec::new(), Vec::new(), None);
    (named.apt.excludes, named.yum.excludes, named.zypper.excludes) = (Vec::new(), Vec::new(), Vec::new());
    named
}

/// Packages to update, each as a word: with the exact version where the server knows what the host would get.
fn words(config: &PatchConfig, manager: Option<ManagerKind>, report: &HostReport, sees_sources: bool) -> Vec<String> {
    let severe = |severity: Severity| config.min_severity.is_some_and(|least| severity >= least);
    let mut advisories: BTreeSet<&str> = BTreeSet::new();
    // (name, architecture) of what is to be mended.
    let mut touched: BTreeSet<(&str, &str)> = BTreeSet::new();
    for advisory in &report.advisories {
        let wanted = config.advisories.contains(&advisory.id)
            || advisory.cves.iter().any(|cve| config.cves.contains(cve))
            || (advisory.kind == AdvisoryKind::Security && severe(advisory.severity));
        if wanted {
            advisories.insert(&advisory.id);
            touched.extend(advisory.packages.iter().map(|p| (p.name.as_str(), p.arch.as_str())));
        }
    }
    // What vendors state without an advisory (Debian's tracker) counts as well.
    for open in &report.vulnerabilities {
        if config.cves.contains(&open.id) || severe(open.severity) {
            let fixed = open.packages.iter().filter(|p| p.fixed.is_some() && p.state != OpenState::AwaitsReboot);
            touched.extend(fixed.map(|p| (p.name.as_str(), p.arch.as_str())));
        }
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
    words.into_iter().take(PATTERNS_MAX).collect()
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
        words(&config, Some(ManagerKind::Apt), &report(), sees_sources)
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
    fn named_packages_stand_alone_in_an_order() {
        let config: PatchConfig =
            serde_json::from_str(r#"{"minSeverity":"LOW","cves":["CVE-2026-0001"],"apt":{"excludes":["x"]}}"#).expect("settings");
        let named = named(&config, vec!["curl:amd64=2".into()]);
        assert_eq!(named.packages.as_ref().map(|p| p.update.clone()), Some(vec!["curl:amd64=2".to_owned()]));
        assert!(!named.chooses() && named.apt.excludes.is_empty());
    }
}

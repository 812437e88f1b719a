//! How bad each open CVE is for the fleet: what lists show and clocks go by. Made once a picture, when somebody asks.

use std::collections::HashMap;

use drydock_domain::advisory::Severity;
use drydock_domain::advisory::sla::Clock;

use super::Model;

/// The worst severity of the advisories that name each CVE: for those of which nobody says more.
fn named(model: &Model) -> HashMap<&str, Severity> {
    let mut worst: HashMap<&str, Severity> = HashMap::new();
    for (_, entry) in model.catalogue.iter() {
        let Some(words) = entry.words().filter(|w| !w.withdrawn) else { continue };
        for cve in entry.cves() {
            let known = worst.entry(cve).or_default();
            *known = (*known).max(words.severity);
        }
    }
    worst
}

impl Model {
    /// The severity of every CVE that is open somewhere: the vendors' word on it, else by its score, else the worst of the
    /// advisories that close it.
    pub(crate) fn severities(&self) -> &HashMap<String, Severity> {
        self.severities.get_or_init(|| {
            let named = named(self);
            let totals = self.engine.vulnerability_totals().into_iter();
            let one = |id: String, engines| {
                let severity = self.said(&id, engines, || named.get(id.as_str()).copied().unwrap_or_default());
                (id, severity)
            };
            totals.map(|total| one(total.id, total.severity)).collect()
        })
    }

    /// The severity of any CVE.
    pub(crate) fn severity(&self, cve: &str) -> Severity {
        if let Some(known) = self.severities().get(cve) {
            return *known;
        }
        let naming = self.catalogue.iter().filter(|(_, entry)| entry.cves().contains(cve));
        let worst = || naming.filter_map(|(_, entry)| entry.words().filter(|w| !w.withdrawn).map(|w| w.severity)).max();
        self.said(cve, Severity::Unknown, || worst().unwrap_or_default())
    }

    fn said(&self, cve: &str, engines: Severity, named: impl FnOnce() -> Severity) -> Severity {
        let known = || self.vulnerabilities.get(cve).severity;
        let first = if engines == Severity::Unknown { known() } else { engines };
        if first == Severity::Unknown { named() } else { first }
    }

    /// What the clock of a CVE goes by.
    pub(crate) fn clock(&self, cve: &str) -> Clock {
        let kev = self.vulnerabilities.get(cve).kev;
        Clock { severity: self.severity(cve), kev_due: kev.and_then(|kev| kev.due) }
    }
}

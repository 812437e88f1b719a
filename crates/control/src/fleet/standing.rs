//! How vulnerabilities stand at a moment: which are accepted where, and which have been open for too long. Made for one
//! request from exceptions and settings, so that an exception that ends needs nobody to notice.

use std::collections::{HashMap, HashSet};

use drydock_domain::access::scope::is_below;
use drydock_domain::advisory::exception::{ExceptionMark, Scope, in_force};
use drydock_domain::advisory::sla::{Clock, Sla, overdue};
use drydock_domain::applicability::OpenState;
use drydock_domain::ids::InstanceId;
use drydock_store::advisory_records::ExceptionRecord;
use drydock_store::exceptions::ScopedHost;
use drydock_store::{exceptions, settings};
use jiff::Timestamp;

use super::Model;
use super::sight::Sight;
use super::since::{Late, Oldest};
use crate::Control;
use crate::access_part::ROOT;
use crate::error::{Error, Result};

/// Name of the setting: days per severity.
pub(crate) const SLA_SETTING: &str = "vulnerability-sla";

/// On which hosts an exception counts now.
#[derive(Debug)]
enum Covered {
    All,
    Hosts(HashSet<InstanceId>),
}

impl Covered {
    fn holds(&self, host: InstanceId) -> bool {
        match self {
            Covered::All => true,
            Covered::Hosts(hosts) => hosts.contains(&host),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub(crate) sla: Sla,
    now: Timestamp,
    /// Exceptions in force by CVE, the one that lasts longest first.
    exceptions: HashMap<String, Vec<(ExceptionRecord, usize)>>,
    covered: Vec<Covered>,
}

/// How one vulnerability stands over the fleet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stand {
    /// Hosts it is open on and not accepted.
    pub(crate) hosts: u32,
    /// Hosts among them that can close it now.
    pub(crate) installable: u32,
    /// Hosts among them on which it is overdue.
    pub(crate) overdue: u32,
    /// Hosts on which it is accepted.
    pub(crate) excepted: u32,
    /// Since when it is open on the host among `hosts` that had it first.
    pub(crate) since: Option<Timestamp>,
    /// Until when it has to be closed there.
    pub(crate) due: Option<Timestamp>,
}

/// A stored scope.
pub(crate) fn scope_of(record: &ExceptionRecord) -> Result<Scope> {
    let read = serde_json::from_str(&record.scope);
    read.map_err(|e| Error::Internal { doing: "read the scope of an exception", source: Box::new(e) })
}

impl Control {
    /// How vulnerabilities stand at `now`.
    pub(crate) async fn fleet_standing(&self, now: Timestamp) -> Result<Standing> {
        let mut c = self.read().await?;
        let mut standing = Standing { sla: stored_sla(&mut c).await?, now, ..Standing::default() };
        let mut all = exceptions::list(&mut c).await?;
        all.retain(|e| e.expires_at.is_some_and(|until| in_force(until, now)));
        all.sort_by_key(|e| std::cmp::Reverse((e.expires_at, e.id)));
        // By what it says and where it lies: it reaches no further.
        let mut scopes: HashMap<(Scope, String), usize> = HashMap::new();
        for record in all {
            let next = scopes.len();
            let n = *scopes.entry((scope_of(&record)?, record.compartment.clone())).or_insert(next);
            standing.exceptions.entry(record.cve.clone()).or_default().push((record, n));
        }
        // The hosts are read only when a scope asks for what they are.
        let hosts = match scopes.keys().any(|(scope, compartment)| scope.needs_facts() || compartment != ROOT) {
            true => exceptions::hosts(&mut c).await?,
            false => Vec::new(),
        };
        let mut covered: Vec<(usize, Covered)> = Vec::with_capacity(scopes.len());
        for ((scope, compartment), n) in scopes {
            let found = match &scope {
                Scope::All {} if compartment == ROOT => Covered::All,
                Scope::Instance(id) if compartment == ROOT => Covered::Hosts(HashSet::from([*id])),
                _ => {
                    let covers = |h: &&ScopedHost| is_below(&h.compartment, &compartment) && scope.covers(h.facts());
                    Covered::Hosts(hosts.iter().filter(covers).map(|h| h.instance).collect())
                }
            };
            covered.push((n, found));
        }
        covered.sort_by_key(|(n, _)| *n);
        standing.covered = covered.into_iter().map(|(_, found)| found).collect();
        Ok(standing)
    }
}

/// The days that operators set, else the ones we ship.
pub(crate) async fn stored_sla(c: &mut drydock_store::Connection) -> Result<Sla> {
    let Some(setting) = settings::find(c, SLA_SETTING).await? else { return Ok(Sla::default()) };
    let read = serde_json::from_str(&setting.body);
    read.map_err(|e| Error::Internal { doing: "read the setting of days to close vulnerabilities", source: Box::new(e) })
}

impl Standing {
    /// The exception that accepts a CVE on a host; of several the one that lasts longest.
    pub(crate) fn exception(&self, host: InstanceId, cve: &str) -> Option<ExceptionMark> {
        let (record, _) = self.accepting(host, cve)?;
        Some(ExceptionMark {
            id: record.id,
            owner: record.owner.clone(),
            reason: record.reason.clone(),
            until: record.expires_at?,
        })
    }

    /// Is a CVE accepted on a host?
    pub(crate) fn accepts(&self, host: InstanceId, cve: &str) -> bool {
        self.accepting(host, cve).is_some()
    }

    fn accepting(&self, host: InstanceId, cve: &str) -> Option<&(ExceptionRecord, usize)> {
        self.exceptions.get(cve)?.iter().find(|(_, scope)| self.covered.get(*scope).is_some_and(|c| c.holds(host)))
    }

    /// Until when a CVE with this clock has to be closed where it is open since then.
    pub(crate) fn due(&self, clock: Clock, since: Option<Timestamp>) -> Option<Timestamp> {
        self.sla.due(clock, since?)
    }

    /// Has that time passed?
    pub(crate) fn is_overdue(&self, due: Option<Timestamp>) -> bool {
        overdue(due, self.now)
    }

    /// What was first seen at that second or before is overdue.
    pub(crate) fn cut(&self, clock: Clock) -> Option<i64> {
        self.sla.overdue_since(clock, self.now)
    }

    /// Is it overdue on a host on which it is open, and not accepted there?
    pub(crate) fn is_overdue_on(&self, model: &Model, host: InstanceId, cve: &str) -> bool {
        let late = self.is_overdue(self.due(model.clock(cve), model.since.of_host(host, cve)));
        late && self.accepting(host, cve).is_none()
    }

    /// Over the hosts of `sight`. `oldest` and `late` count all of those, so only CVEs that somebody accepted are looked at
    /// host by host.
    pub(crate) fn over_fleet(&self, model: &Model, cve: &Row<'_>, oldest: &Oldest<'_>, late: &Late<'_>, sight: &Sight) -> Stand {
        if !self.exceptions.contains_key(cve.id) {
            let since = oldest.of(cve.id);
            let due = self.due(cve.clock, since);
            let overdue = late.of(cve.id);
            return Stand { hosts: cve.open, installable: cve.installable, overdue, excepted: 0, since, due };
        }
        let mut stand = Stand::default();
        for (host, state) in model.engine.hosts_of_vulnerability(cve.id).into_iter().filter(|(host, _)| sight.sees(*host)) {
            if self.accepting(host, cve.id).is_some() {
                stand.excepted += 1;
                continue;
            }
            stand.hosts += 1;
            stand.installable += u32::from(state <= OpenState::Installable);
            let since = model.since.of_host(host, cve.id);
            stand.since = [stand.since, since].into_iter().flatten().min();
            stand.overdue += u32::from(self.is_overdue(self.due(cve.clock, since)));
        }
        stand.due = self.due(cve.clock, stand.since);
        stand
    }
}

/// A CVE as the engine counts it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) id: &'a str,
    /// What its clock goes by.
    pub(crate) clock: Clock,
    pub(crate) open: u32,
    pub(crate) installable: u32,
}

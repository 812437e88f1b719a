//! Vulnerabilities as people look for them: which are open, where, since when, and what closes them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use drydock_domain::access::Permission;
use drydock_domain::advisory::open::{
    AffectedInstance, AffectedPackage, FleetSecurity, InstanceVulnerability, VulnerabilityDetail, VulnerabilitySummary,
};
use drydock_domain::advisory::report::FixPlace;
use drydock_domain::advisory::{Severity, Statement, Vulnerability};
use drydock_domain::applicability::{HostVulnerability, OpenPackage};
use drydock_domain::ids::InstanceId;
use drydock_domain::version::Scheme;
use drydock_store::advisory_records::FeedPart;
use drydock_store::feed_chunks;
use drydock_store::records::{PageQuery, Paged};

use super::advisories::{count, place};
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::fleet::Model;
use crate::fleet::page::page;
use crate::fleet::since::Oldest;

/// Statements shown of one CVE, count.
const STATEMENTS_MAX: usize = 1000;
/// Longest text looked for, bytes.
const TEXT_MAX_BYTES: usize = 255;

/// Which open vulnerabilities are asked for; what is absent does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VulnerabilityQuery {
    /// At least so bad.
    pub severity: Option<Severity>,
    /// The id holds this, in any case.
    pub text: Option<String>,
    /// Known to be exploited.
    pub exploited: bool,
    /// Some host can close it now.
    pub installable: bool,
}

impl Control {
    /// Vulnerabilities that are open somewhere: known exploited ones first, then the likeliest, then the worst.
    pub async fn list_vulnerabilities(
        &self,
        ctx: &OpCtx,
        query: &VulnerabilityQuery,
        at: &PageQuery,
    ) -> Result<Paged<VulnerabilitySummary>> {
        self.may_read(ctx, "vulnerability.list", Permission::AdvisoryRead).await?;
        check(query)?;
        let model = self.fleet_model().await?;
        page(listed(&model, query), at, |v| v.id.clone())
    }

    /// The same, all of them: for exports.
    pub async fn export_vulnerabilities(&self, ctx: &OpCtx, query: &VulnerabilityQuery) -> Result<Vec<VulnerabilitySummary>> {
        self.may_read(ctx, "vulnerability.export", Permission::AdvisoryRead).await?;
        check(query)?;
        let model = self.fleet_model().await?;
        Ok(listed(&model, query))
    }

    /// One vulnerability with everything that is said of it, open somewhere or not.
    pub async fn get_vulnerability(&self, ctx: &OpCtx, id: &str) -> Result<VulnerabilityDetail> {
        self.may_read(ctx, "vulnerability.show", Permission::AdvisoryRead).await?;
        let bucket = feed_chunks::bucket(id);
        let mut c = self.read().await?;
        let said = feed_chunks::everywhere::<Vulnerability>(&mut c, FeedPart::Vulnerabilities, &bucket).await?;
        let stated = feed_chunks::everywhere::<Statement>(&mut c, FeedPart::Statements, &bucket).await?;
        drop(c);
        let said = said.into_values().flatten().filter(|v| v.id == id).reduce(Vulnerability::merge);
        let mut statements: Vec<Statement> = stated.into_values().flatten().filter(|s| s.vulnerability == id).collect();
        statements.sort_unstable();
        statements.truncate(STATEMENTS_MAX);
        let model = self.fleet_model().await?;
        let advisories: Vec<String> = model
            .catalogue
            .iter()
            .filter(|(_, entry)| entry.words().is_some_and(|w| !w.withdrawn) && entry.cves().contains(id))
            .map(|(id, _)| id.to_owned())
            .collect();
        if said.is_none() && statements.is_empty() && advisories.is_empty() {
            return Err(no_vulnerability(id));
        }
        let totals = model.engine.vulnerability_totals().into_iter().find(|t| t.id == id);
        let (severity, hosts, installable) = totals.map(|t| (t.severity, t.open, t.installable)).unwrap_or_default();
        let summary = summary(&model, &model.since.oldest(), id, severity, hosts, installable);
        let places = fixes(&model, id);
        let vulnerability = said.unwrap_or_else(|| Vulnerability { id: id.to_owned(), ..Vulnerability::default() });
        Ok(VulnerabilityDetail { summary, vulnerability, advisories, statements, places })
    }

    /// Hosts on which a vulnerability is open, by name.
    pub async fn vulnerability_instances(&self, ctx: &OpCtx, id: &str, at: &PageQuery) -> Result<Paged<AffectedInstance>> {
        self.may_read(ctx, "vulnerability.instances", Permission::AdvisoryRead).await?;
        let model = self.fleet_model().await?;
        let mut hosts: Vec<(String, InstanceId)> =
            model.engine.hosts_of_vulnerability(id).into_iter().map(|(host, _)| (model.host_name(host), host)).collect();
        hosts.sort_unstable();
        let mut found = Vec::new();
        let hosts = page(hosts, at, |(name, _)| name.clone())?;
        for (name, host) in hosts.items {
            let own = model.engine.host(host).and_then(|r| r.vulnerabilities.into_iter().find(|v| v.id == id));
            let Some(own) = own else { continue };
            let since = model.since.of_host(host, id);
            found.push(AffectedInstance { id: host, name, state: own.state, since, packages: packages(own) });
        }
        Ok(Paged { items: found, next_cursor: hosts.next_cursor })
    }

    /// Vulnerabilities that are open on a host, ranked as in lists.
    pub async fn instance_vulnerabilities(&self, ctx: &OpCtx, id_or_name: &str) -> Result<Vec<InstanceVulnerability>> {
        self.may_read(ctx, "instance.vulnerabilities", Permission::AdvisoryRead).await?;
        let record = self.resolve(id_or_name).await?;
        let model = self.fleet_model().await?;
        let report = model.engine.host(record.id);
        let report = report.ok_or_else(|| Error::NotFound(format!("inventory of {} yet", record.name)))?;
        let mut found: Vec<InstanceVulnerability> = report
            .vulnerabilities
            .into_iter()
            .map(|v| {
                let known = model.vulnerabilities.get(&v.id);
                InstanceVulnerability {
                    id: v.id.clone(),
                    severity: if v.severity == Severity::Unknown { known.severity } else { v.severity },
                    cvss: known.cvss,
                    kev: known.kev,
                    epss: known.epss,
                    state: v.state,
                    since: model.since.of_host(record.id, &v.id),
                    packages: packages(v),
                }
            })
            .collect();
        found.sort_by_cached_key(|v| {
            let epss = v.epss.map_or(0, |e| e.millionths);
            (Reverse(v.kev.is_some()), Reverse(epss), Reverse(v.severity), v.id.clone())
        });
        Ok(found)
    }

    /// The fleet in numbers.
    pub async fn fleet_security(&self, ctx: &OpCtx) -> Result<FleetSecurity> {
        self.may_read(ctx, "fleet.security", Permission::AdvisoryRead).await?;
        let model = self.fleet_model().await?;
        let mut numbers = FleetSecurity { hosts: count(model.hosts.len()), ..FleetSecurity::default() };
        for (id, host) in &model.hosts {
            numbers.served += u32::from(!host.views.is_empty());
            let counts = model.engine.counts(*id);
            numbers.with_security_updates += u32::from(counts.is_some_and(|c| c.security_updates > 0));
        }
        for total in model.engine.advisory_totals() {
            *numbers.advisories.entry(total.severity).or_default() += 1;
            if total.installable == total.applicable {
                *numbers.installable_advisories.entry(total.severity).or_default() += 1;
            }
        }
        for total in model.engine.vulnerability_totals() {
            let known = model.vulnerabilities.get(&total.id);
            let severity = if total.severity == Severity::Unknown { known.severity } else { total.severity };
            *numbers.vulnerabilities.entry(severity).or_default() += 1;
            numbers.exploited += u32::from(known.kev.is_some());
        }
        Ok(numbers)
    }
}

fn check(query: &VulnerabilityQuery) -> Result<()> {
    if query.text.as_ref().is_some_and(|t| t.len() > TEXT_MAX_BYTES) {
        return Err(Error::invalid("q", format!("has more than {TEXT_MAX_BYTES} bytes")));
    }
    Ok(())
}

fn packages(vulnerability: HostVulnerability) -> Vec<AffectedPackage> {
    let one = |p: OpenPackage| AffectedPackage {
        name: p.name,
        arch: p.arch,
        installed: p.installed,
        fixed: p.fixed,
        advisory: p.advisory,
        state: p.state,
        justification: p.justification,
    };
    vulnerability.packages.into_iter().map(one).collect()
}

fn summary(
    model: &Model,
    oldest: &Oldest<'_>,
    id: &str,
    severity: Severity,
    hosts: u32,
    installable: u32,
) -> VulnerabilitySummary {
    let known = model.vulnerabilities.get(id);
    VulnerabilitySummary {
        id: id.to_owned(),
        severity: if severity == Severity::Unknown { known.severity } else { severity },
        cvss: known.cvss,
        kev: known.kev,
        epss: known.epss,
        published: known.published,
        hosts,
        installable,
        since: oldest.of(id),
    }
}

fn listed(model: &Model, query: &VulnerabilityQuery) -> Vec<VulnerabilitySummary> {
    let text = query.text.as_ref().map(|t| t.to_ascii_lowercase());
    let oldest = model.since.oldest();
    let mut rows: Vec<VulnerabilitySummary> = Vec::new();
    for total in model.engine.vulnerability_totals() {
        if text.as_ref().is_some_and(|t| !total.id.to_ascii_lowercase().contains(t)) {
            continue;
        }
        let row = summary(model, &oldest, &total.id, total.severity, total.open, total.installable);
        let left_out = query.severity.is_some_and(|least| row.severity < least)
            || (query.exploited && row.kev.is_none())
            || (query.installable && row.installable == 0);
        if !left_out {
            rows.push(row);
        }
    }
    rows.sort_by_cached_key(|v| {
        let epss = v.epss.map_or(0, |e| e.millionths);
        (Reverse(v.kev.is_some()), Reverse(epss), Reverse(v.severity), v.id.clone())
    });
    rows
}

/// Which snapshots in use hold a version that closes a CVE, for the packages it is open in somewhere.
fn fixes(model: &Model, id: &str) -> Vec<FixPlace> {
    let mut names: BTreeMap<(String, bool), ()> = BTreeMap::new();
    for (host, _) in model.engine.hosts_of_vulnerability(id).into_iter().take(HOSTS_FOR_NAMES_MAX) {
        let Some(report) = model.engine.host(host) else { continue };
        let own = report.vulnerabilities.into_iter().find(|v| v.id == id);
        for package in own.into_iter().flat_map(|v| v.packages) {
            let deb = package.arch == "all" || DEB_ARCHITECTURES.contains(&package.arch.as_str());
            names.insert((package.name, deb), ());
        }
    }
    let mut places: BTreeSet<FixPlace> = BTreeSet::new();
    for (name, deb) in names.into_keys() {
        let scheme = if deb { Scheme::Deb } else { Scheme::Rpm };
        for (root, version) in model.engine.closing(id, &name, scheme) {
            places.extend(place(model, &root, name.clone(), version));
        }
    }
    places.into_iter().collect()
}

/// Hosts looked at for the packages a CVE is open in, count: the others have the same ones.
const HOSTS_FOR_NAMES_MAX: usize = 200;
/// How dpkg names architectures; rpm names them otherwise.
const DEB_ARCHITECTURES: [&str; 9] = ["amd64", "arm64", "armhf", "armel", "i386", "ppc64el", "s390x", "riscv64", "mips64el"];

fn no_vulnerability(id: &str) -> Error {
    let id = super::act::cut(id, 128);
    Error::NotFound(format!("vulnerability {id} that any feed or source here says something of"))
}

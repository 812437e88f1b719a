//! Vulnerabilities as people look for them: which are open, where, since when, and what closes them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use drydock_domain::access::Permission;
use drydock_domain::advisory::open::{
    AffectedInstance, AffectedPackage, FleetSecurity, InstanceVulnerability, VulnerabilityDetail, VulnerabilitySummary,
};
use drydock_domain::advisory::report::FixPlace;
use drydock_domain::advisory::{Severity, Statement, Vulnerability, vulnerability_id};
use drydock_domain::applicability::{HostVulnerability, OpenPackage, VulnerabilityTotal};
use drydock_domain::ids::InstanceId;
use drydock_domain::version::Scheme;
use drydock_store::advisory_records::FeedPart;
use drydock_store::feed_chunks;
use drydock_store::records::{PageQuery, Paged};

use super::advisories::place;
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::fleet::Model;
use crate::fleet::page::page;
use crate::fleet::sight::Sight;
use crate::fleet::since::{Late, Oldest};
use crate::fleet::standing::{Row, Standing};

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
    /// On some host it is open for longer than its severity allows.
    pub overdue: bool,
    /// Also those that are accepted wherever they are open.
    pub excepted: bool,
}

impl Control {
    /// Vulnerabilities that are open somewhere: known exploited ones first, then overdue ones, then the worst.
    pub async fn list_vulnerabilities(
        &self,
        ctx: &OpCtx,
        query: &VulnerabilityQuery,
        at: &PageQuery,
    ) -> Result<Paged<VulnerabilitySummary>> {
        let sight = self.fleet_sight(ctx, "vulnerability.list", Permission::AdvisoryRead).await?;
        check(query)?;
        let standing = self.fleet_standing(ctx.now).await?;
        let model = self.fleet_model().await?;
        page(listed(&model, &standing, query, &sight), at, |v| v.id.clone())
    }

    /// The same, all of them: for exports.
    pub async fn export_vulnerabilities(&self, ctx: &OpCtx, query: &VulnerabilityQuery) -> Result<Vec<VulnerabilitySummary>> {
        let sight = self.fleet_sight(ctx, "vulnerability.export", Permission::AdvisoryRead).await?;
        check(query)?;
        let standing = self.fleet_standing(ctx.now).await?;
        let model = self.fleet_model().await?;
        Ok(listed(&model, &standing, query, &sight))
    }

    /// Does a feed speak of this vulnerability, beside advisories?
    pub(super) async fn is_stated(&self, id: &str) -> Result<bool> {
        let bucket = feed_chunks::bucket(id);
        let mut c = self.read().await?;
        let said = feed_chunks::everywhere::<Vulnerability>(&mut c, FeedPart::Vulnerabilities, &bucket).await?;
        if said.into_values().flatten().any(|v| v.id == id) {
            return Ok(true);
        }
        let stated = feed_chunks::everywhere::<Statement>(&mut c, FeedPart::Statements, &bucket).await?;
        Ok(stated.into_values().flatten().any(|s| s.vulnerability == id))
    }

    /// One vulnerability with everything that is said of it, open somewhere or not.
    pub async fn get_vulnerability(&self, ctx: &OpCtx, id: &str) -> Result<VulnerabilityDetail> {
        let sight = self.fleet_sight(ctx, "vulnerability.show", Permission::AdvisoryRead).await?;
        let id = vulnerability_id(id);
        let id = id.as_str();
        let bucket = feed_chunks::bucket(id);
        let mut c = self.read().await?;
        let said = feed_chunks::everywhere::<Vulnerability>(&mut c, FeedPart::Vulnerabilities, &bucket).await?;
        let stated = feed_chunks::everywhere::<Statement>(&mut c, FeedPart::Statements, &bucket).await?;
        drop(c);
        let said = said.into_values().flatten().filter(|v| v.id == id).reduce(Vulnerability::merge);
        let mut statements: Vec<Statement> = stated.into_values().flatten().filter(|s| s.vulnerability == id).collect();
        statements.sort_unstable();
        statements.truncate(STATEMENTS_MAX);
        let standing = self.fleet_standing(ctx.now).await?;
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
        let totals = model.engine.vulnerability_totals_among(sight.hosts.as_ref()).into_iter().find(|t| t.id == id);
        let none = VulnerabilityTotal { id: id.to_owned(), severity: Severity::Unknown, open: 0, installable: 0 };
        let total = totals.unwrap_or(none);
        let clock = model.clock(id);
        let late = model.since.late(&sight, |cve| standing.cut(clock).filter(|_| cve == id));
        let oldest = model.since.oldest(&sight);
        let summary = summary(&model, &standing, &Over { oldest: &oldest, late: &late, sight: &sight }, &total);
        let places = fixes(&model, id, &sight);
        let vulnerability = said.unwrap_or_else(|| Vulnerability { id: id.to_owned(), ..Vulnerability::default() });
        Ok(VulnerabilityDetail { summary, vulnerability, advisories, statements, places })
    }

    /// Hosts on which a vulnerability is open, by name; those on which it is accepted only if `excepted`.
    pub async fn vulnerability_instances(
        &self,
        ctx: &OpCtx,
        id: &str,
        excepted: bool,
        at: &PageQuery,
    ) -> Result<Paged<AffectedInstance>> {
        let sight = self.fleet_sight(ctx, "vulnerability.instances", Permission::AdvisoryRead).await?;
        let id = vulnerability_id(id);
        let id = id.as_str();
        let standing = self.fleet_standing(ctx.now).await?;
        let model = self.fleet_model().await?;
        let clock = model.clock(id);
        let open = model.engine.hosts_of_vulnerability(id).into_iter().filter(|(host, _)| sight.sees(*host));
        let wanted = open.filter(|(host, _)| excepted || standing.exception(*host, id).is_none());
        let mut hosts: Vec<(String, InstanceId)> = wanted.map(|(host, _)| (model.host_name(host), host)).collect();
        hosts.sort_unstable();
        let mut found = Vec::new();
        let hosts = page(hosts, at, |(name, _)| name.clone())?;
        for (name, host) in hosts.items {
            let own = model.engine.host(host).and_then(|r| r.vulnerabilities.into_iter().find(|v| v.id == id));
            let Some(own) = own else { continue };
            let since = model.since.of_host(host, id);
            let exception = standing.exception(host, id);
            let due = standing.due(clock, since);
            let overdue = exception.is_none() && standing.is_overdue(due);
            let state = own.state;
            found.push(AffectedInstance { id: host, name, state, since, due, overdue, exception, packages: packages(own) });
        }
        Ok(Paged { items: found, next_cursor: hosts.next_cursor })
    }

    /// Vulnerabilities that are open on a host, ranked as in lists; those that are accepted only if `excepted`.
    pub async fn instance_vulnerabilities(
        &self,
        ctx: &OpCtx,
        id_or_name: &str,
        excepted: bool,
    ) -> Result<Vec<InstanceVulnerability>> {
        let record = self.seen_instance(ctx, "instance.vulnerabilities", id_or_name).await?;
        let standing = self.fleet_standing(ctx.now).await?;
        let model = self.fleet_model().await?;
        let found = open_on(&model, &standing, record.id);
        let mut found = found.ok_or_else(|| Error::NotFound(format!("inventory of {} yet", record.name)))?;
        found.retain(|v| excepted || v.exception.is_none());
        Ok(found)
    }

    /// The fleet in numbers.
    pub async fn fleet_security(&self, ctx: &OpCtx) -> Result<FleetSecurity> {
        let sight = self.fleet_sight(ctx, "fleet.security", Permission::AdvisoryRead).await?;
        let standing = self.fleet_standing(ctx.now).await?;
        let model = self.fleet_model().await?;
        let mut numbers = FleetSecurity::default();
        for (id, host) in model.hosts.iter().filter(|(id, _)| sight.sees(**id)) {
            numbers.hosts += 1;
            numbers.served += u32::from(!host.views.is_empty());
            let counts = model.engine.counts(*id);
            numbers.with_security_updates += u32::from(counts.is_some_and(|c| c.security_updates > 0));
        }
        for total in model.engine.advisory_totals_among(sight.hosts.as_ref()) {
            *numbers.advisories.entry(total.severity).or_default() += 1;
            if total.installable == total.applicable {
                *numbers.installable_advisories.entry(total.severity).or_default() += 1;
            }
        }
        let every = VulnerabilityQuery { excepted: true, ..VulnerabilityQuery::default() };
        for row in listed(&model, &standing, &every, &sight) {
            if row.hosts == 0 {
                numbers.excepted += 1;
                continue;
            }
            *numbers.vulnerabilities.entry(row.severity).or_default() += 1;
            if row.overdue > 0 {
                *numbers.overdue.entry(row.severity).or_default() += 1;
            }
            numbers.exploited += u32::from(row.kev.is_some());
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

/// The hosts that a summary is over, with what one pass over them told.
struct Over<'a> {
    oldest: &'a Oldest<'a>,
    late: &'a Late<'a>,
    sight: &'a Sight,
}

fn summary(model: &Model, standing: &Standing, over: &Over<'_>, total: &VulnerabilityTotal) -> VulnerabilitySummary {
    let known = model.vulnerabilities.get(&total.id);
    let clock = model.clock(&total.id);
    let row = Row { id: &total.id, clock, open: total.open, installable: total.installable };
    let stand = standing.over_fleet(model, &row, over.oldest, over.late, over.sight);
    VulnerabilitySummary {
        id: total.id.clone(),
        severity: clock.severity,
        cvss: known.cvss,
        kev: known.kev,
        epss: known.epss,
        published: known.published,
        hosts: stand.hosts,
        installable: stand.installable,
        since: stand.since,
        due: stand.due,
        overdue: stand.overdue,
        excepted: stand.excepted,
    }
}

fn listed(model: &Model, standing: &Standing, query: &VulnerabilityQuery, sight: &Sight) -> Vec<VulnerabilitySummary> {
    let text = query.text.as_ref().map(|t| t.to_ascii_lowercase());
    let severities = model.severities();
    let late = model.since.late(sight, |cve| severities.contains_key(cve).then(|| standing.cut(model.clock(cve)))?);
    let oldest = model.since.oldest(sight);
    let over = Over { oldest: &oldest, late: &late, sight };
    let mut rows: Vec<VulnerabilitySummary> = Vec::new();
    for total in &model.engine.vulnerability_totals_among(sight.hosts.as_ref()) {
        if text.as_ref().is_some_and(|t| !total.id.to_ascii_lowercase().contains(t)) {
            continue;
        }
        let row = summary(model, standing, &over, total);
        let left_out = query.severity.is_some_and(|least| row.severity < least)
            || (query.exploited && row.kev.is_none())
            || (query.installable && row.installable == 0)
            || (query.overdue && row.overdue == 0)
            || (row.hosts == 0 && !query.excepted);
        if !left_out {
            rows.push(row);
        }
    }
    rows.sort_by_cached_key(|v| {
        let epss = v.epss.map_or(0, |e| e.millionths);
        let urgent = (Reverse(v.kev.is_some()), Reverse(v.overdue > 0), Reverse(v.severity), Reverse(epss));
        (urgent, Reverse(v.hosts), v.id.clone())
    });
    rows
}

/// What is open on a host, ranked as in lists; accepted ones are marked. `None`: it has no inventory yet.
pub(super) fn open_on(model: &Model, standing: &Standing, host: InstanceId) -> Option<Vec<InstanceVulnerability>> {
    let report = model.engine.host(host)?;
    let one = |v: HostVulnerability| {
        let known = model.vulnerabilities.get(&v.id);
        let clock = model.clock(&v.id);
        let since = model.since.of_host(host, &v.id);
        let exception = standing.exception(host, &v.id);
        let due = standing.due(clock, since);
        InstanceVulnerability {
            id: v.id.clone(),
            severity: if v.severity == Severity::Unknown { clock.severity } else { v.severity },
            cvss: known.cvss,
            kev: known.kev,
            epss: known.epss,
            state: v.state,
            since,
            due,
            overdue: exception.is_none() && standing.is_overdue(due),
            exception,
            packages: packages(v),
        }
    };
    let mut found: Vec<InstanceVulnerability> = report.vulnerabilities.into_iter().map(one).collect();
    found.sort_by_cached_key(|v| {
        let epss = v.epss.map_or(0, |e| e.millionths);
        (Reverse(v.kev.is_some()), Reverse(v.overdue), Reverse(v.severity), Reverse(epss), v.id.clone())
    });
    Some(found)
}

/// Which snapshots in use hold a version that closes a CVE, for the packages it is open in somewhere.
fn fixes(model: &Model, id: &str, sight: &Sight) -> Vec<FixPlace> {
    let mut names: BTreeMap<(String, bool), ()> = BTreeMap::new();
    let hosts = model.engine.hosts_of_vulnerability(id).into_iter().filter(|(host, _)| sight.sees(*host));
    for (host, _) in hosts.take(HOSTS_FOR_NAMES_MAX) {
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
            places.extend(place(model, sight, &root, name.clone(), version));
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

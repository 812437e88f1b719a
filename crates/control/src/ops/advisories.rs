//! Advisories as people look for them: which there are, which hosts need them, where their packages are to be had.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use drydock_content::facts::snapshot_advisory;
use drydock_content::feeds::read_updateinfo;
use drydock_domain::access::{Permission, Scope};
use drydock_domain::advisory::report::{
    AdvisedInstance, AdvisedPackage, AdvisoryDetail, AdvisorySummary, FixPlace, InstanceAdvisory,
};
use drydock_domain::advisory::{Advisory, AdvisoryKind, Product, Severity};
use drydock_domain::applicability::HostAdvisory;
use drydock_domain::ids::InstanceId;
use drydock_store::records::{PageQuery, Paged};
use drydock_store::{advisories, compartments};
use jiff::Timestamp;

use super::snapshots::parse_root;
use crate::Control;
use crate::content_part::blocking;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::fleet::Model;
use crate::fleet::catalogue::{Entry, Voice, Words};
use crate::fleet::page::page;
use crate::fleet::sight::Sight;

/// Hosts looked at to say where an advisory's packages are, count: they tell by what they could install.
const PLACES_FROM_HOSTS_MAX: usize = 200;
/// Longest text looked for, bytes.
const TEXT_MAX_BYTES: usize = 255;

/// Which advisories are asked for; what is absent does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdvisoryQuery {
    /// Of these kinds.
    pub kinds: Vec<AdvisoryKind>,
    /// At least so bad.
    pub severity: Option<Severity>,
    /// Id, title or a CVE holds this, in any case.
    pub text: Option<String>,
    /// Closes this CVE.
    pub cve: Option<String>,
    /// Mends this package.
    pub package: Option<String>,
    /// Issued or changed since.
    pub since: Option<Timestamp>,
    /// Some host needs it.
    pub applicable: bool,
}

impl Control {
    /// What the caller may see of the picture in answer to an operation about hosts; whoever may do that nowhere is refused.
    /// The words of advisories and of feeds are public knowledge: for them it is enough to be allowed somewhere.
    pub(super) async fn fleet_sight(&self, ctx: &OpCtx, operation: &'static str, permission: Permission) -> Result<Sight> {
        let hosts = self.scope_of_hosts(ctx, operation, permission).await?;
        let hosts = self.host_mask(&hosts).await?;
        let sources = self.scope_of(&ctx.who, "source.list", Some(Permission::SourceRead), ctx.now).await?;
        let environments = self.scope_of(&ctx.who, "environment.list", Some(Permission::SourceRead), ctx.now).await?;
        let mut sight = Sight { hosts, ..Sight::default() };
        if sources != Scope::Everywhere {
            let names = compartments::sources_within(&mut *self.read().await?, &sources).await?;
            sight.sources = Some(names.into_iter().collect());
        }
        if environments != Scope::Everywhere {
            let mut names = compartments::environments_within(&mut *self.read().await?, &environments).await?;
            // Not an environment, and nobody's secret: what those see who look through none.
            names.push(drydock_domain::source::name::LATEST.to_owned());
            sight.environments = Some(names.into_iter().collect());
        }
        Ok(sight)
    }

    /// Advisories, newest first.
    pub async fn list_advisories(&self, ctx: &OpCtx, query: &AdvisoryQuery, at: &PageQuery) -> Result<Paged<AdvisorySummary>> {
        let sight = self.fleet_sight(ctx, "advisory.list", Permission::AdvisoryRead).await?;
        if query.text.as_ref().is_some_and(|t| t.len() > TEXT_MAX_BYTES) {
            return Err(Error::invalid("q", format!("has more than {TEXT_MAX_BYTES} bytes")));
        }
        let model = self.fleet_model().await?;
        page(listed(&model, query, &sight), at, |a| a.id.clone())
    }

    /// The same, all of them: for exports.
    pub async fn export_advisories(&self, ctx: &OpCtx, query: &AdvisoryQuery) -> Result<Vec<AdvisorySummary>> {
        let sight = self.fleet_sight(ctx, "advisory.export", Permission::AdvisoryRead).await?;
        let model = self.fleet_model().await?;
        Ok(listed(&model, query, &sight))
    }

    /// One advisory with everything that is said of it.
    pub async fn get_advisory(&self, ctx: &OpCtx, id: &str) -> Result<AdvisoryDetail> {
        let sight = self.fleet_sight(ctx, "advisory.show", Permission::AdvisoryRead).await?;
        let (roots, origins, applicable, installable, places) = {
            let model = self.fleet_model().await?;
            let entry = model.catalogue.get(id).ok_or_else(|| no_advisory(id))?;
            let roots: Vec<String> = entry
                .voices()
                .filter_map(|v| match v {
                    Voice::Root(root) => Some(root.clone()),
                    Voice::Feed(_) => None,
                })
                .collect();
            let mut hosts = model.engine.hosts_of_advisory(id);
            hosts.retain(|(host, _)| sight.sees(*host));
            let installable = hosts.iter().filter(|(_, installable)| *installable).count();
            let places = places(&model, id, &roots, &hosts, &sight);
            (roots, origins(&model, entry, &sight), count(hosts.len()), count(installable), places)
        };
        let mut said: Vec<Advisory> =
            advisories::find(&mut *self.read().await?, id).await?.into_iter().map(|(_, advisory)| advisory).collect();
        said.extend(self.advisory_of_roots(id, roots).await?);
        // What one voice took back does not speak for the others.
        said.sort_by_key(|a| a.withdrawn);
        let some_stand = said.first().is_some_and(|a| !a.withdrawn);
        let merged = said.into_iter().filter(|a| !(some_stand && a.withdrawn)).reduce(Advisory::merge);
        let advisory = merged.ok_or_else(|| no_advisory(id))?;
        Ok(AdvisoryDetail { advisory, origins, applicable, installable, places })
    }

    /// What snapshots say of an advisory.
    async fn advisory_of_roots(&self, id: &str, roots: Vec<String>) -> Result<Vec<Advisory>> {
        let Ok(part) = self.content_part() else { return Ok(Vec::new()) };
        let (content, id) = (part.content().clone(), id.to_owned());
        blocking("read an advisory of a snapshot", move || {
            let mut said = Vec::new();
            for root in roots {
                let found = snapshot_advisory(content.objects(), &parse_root(&root)?, &id);
                let found =
                    found.map_err(|e| Error::Internal { doing: "read an advisory of a snapshot", source: Box::new(e) })?;
                said.extend(found.and_then(|fragment| read_updateinfo(&fragment.xml, &Product::any()).ok()));
            }
            Ok(said)
        })
        .await?
    }

    /// Hosts that need an advisory, by name.
    pub async fn advisory_instances(&self, ctx: &OpCtx, id: &str, at: &PageQuery) -> Result<Paged<AdvisedInstance>> {
        let sight = self.fleet_sight(ctx, "advisory.instances", Permission::AdvisoryRead).await?;
        let model = self.fleet_model().await?;
        model.catalogue.get(id).ok_or_else(|| no_advisory(id))?;
        let seen = model.engine.hosts_of_advisory(id).into_iter().filter(|(host, _)| sight.sees(*host));
        let mut hosts: Vec<(String, InstanceId)> = seen.map(|(host, _)| (model.host_name(host), host)).collect();
        hosts.sort_unstable();
        let hosts = page(hosts, at, |(name, _)| name.clone())?;
        Ok(hosts.map(|(name, host)| {
            let report = model.engine.host(host);
            let own = report.and_then(|r| r.advisories.into_iter().find(|a| a.id == id));
            let (installable, packages) = own.map(|a| (a.installable, packages(a))).unwrap_or_default();
            AdvisedInstance { id: host, name, installable, packages }
        }))
    }

    /// Advisories that a host needs, worst first.
    pub async fn instance_advisories(&self, ctx: &OpCtx, id_or_name: &str) -> Result<Vec<InstanceAdvisory>> {
        let record = self.seen_instance(ctx, "instance.advisories", id_or_name).await?;
        let model = self.fleet_model().await?;
        let report = model.engine.host(record.id);
        let report = report.ok_or_else(|| Error::NotFound(format!("inventory of {} yet", record.name)))?;
        let mut found: Vec<InstanceAdvisory> = report
            .advisories
            .into_iter()
            .map(|a| {
                let words = model.catalogue.get(&a.id).and_then(Entry::words);
                InstanceAdvisory {
                    id: a.id.clone(),
                    kind: a.kind,
                    severity: a.severity,
                    title: words.map(|w| w.title.clone()).unwrap_or_default(),
                    cves: a.cves.clone(),
                    installable: a.installable,
                    packages: packages(a),
                }
            })
            .collect();
        found.sort_by(|a, b| (Reverse(a.severity), &a.id).cmp(&(Reverse(b.severity), &b.id)));
        Ok(found)
    }
}

fn packages(advisory: HostAdvisory) -> Vec<AdvisedPackage> {
    let one = |p: drydock_domain::applicability::AdvisoryPackage| AdvisedPackage {
        name: p.name,
        arch: p.arch,
        installed: p.installed,
        fixed: p.fixed,
        installable: p.installable,
    };
    advisory.packages.into_iter().map(one).collect()
}

fn listed(model: &Model, query: &AdvisoryQuery, sight: &Sight) -> Vec<AdvisorySummary> {
    let totals = model.engine.advisory_totals_among(sight.hosts.as_ref()).into_iter();
    let totals: HashMap<String, (u32, u32)> = totals.map(|t| (t.id, (t.applicable, t.installable))).collect();
    let text = query.text.as_ref().map(|t| t.to_ascii_lowercase());
    let mut rows: Vec<AdvisorySummary> = Vec::new();
    for (id, entry) in model.catalogue.iter() {
        let Some(words) = entry.words() else { continue };
        let (applicable, installable) = totals.get(id).copied().unwrap_or_default();
        if (query.applicable && applicable == 0) || !wanted(query, text.as_deref(), id, words, entry) {
            continue;
        }
        rows.push(AdvisorySummary {
            id: id.to_owned(),
            kind: words.kind,
            severity: words.severity,
            title: words.title.clone(),
            issued: words.issued,
            updated: words.updated,
            withdrawn: words.withdrawn,
            cves: entry.cves().into_iter().map(str::to_owned).collect(),
            origins: origins(model, entry, sight),
            applicable,
            installable,
        });
    }
    rows.sort_by(|a, b| (Reverse(a.issued), &a.id).cmp(&(Reverse(b.issued), &b.id)));
    rows
}

fn wanted(query: &AdvisoryQuery, text: Option<&str>, id: &str, words: &Words, entry: &Entry) -> bool {
    let holds = |hay: &str, needle: &str| hay.to_ascii_lowercase().contains(needle);
    let text_ok = || text.is_none_or(|t| holds(id, t) || holds(&words.title, t) || words.cves.iter().any(|c| holds(c, t)));
    (query.kinds.is_empty() || query.kinds.contains(&words.kind))
        && query.severity.is_none_or(|least| words.severity >= least)
        && query.since.is_none_or(|since| words.issued.max(words.updated).is_some_and(|at| at >= since))
        && query.cve.as_deref().is_none_or(|cve| entry.cves().contains(cve))
        && query.package.as_deref().is_none_or(|package| entry.mends(package))
        && text_ok()
}

/// Who says it: feeds, and sources that may be seen.
fn origins(model: &Model, entry: &Entry, sight: &Sight) -> Vec<String> {
    let seen = |voice: &&Voice| match voice {
        Voice::Feed(_) => true,
        Voice::Root(root) => model.roots.get(root).is_some_and(|root| sight.sees_source(&root.source)) || sight.sources.is_none(),
    };
    let names: BTreeSet<String> = entry.voices().filter(seen).map(|voice| model.voice(voice)).collect();
    names.into_iter().collect()
}

/// Where an advisory's packages are: the snapshots that bring it, and those from which its hosts could install.
fn places(model: &Model, id: &str, roots: &[String], hosts: &[(InstanceId, bool)], sight: &Sight) -> Vec<FixPlace> {
    let mut found: BTreeMap<(String, String), String> = BTreeMap::new();
    for (host, _) in hosts.iter().filter(|(_, installable)| *installable).take(PLACES_FROM_HOSTS_MAX) {
        let Some(report) = model.engine.host(*host) else { continue };
        for update in report.updates.into_iter().filter(|u| u.advisories.iter().any(|a| a == id)) {
            found.insert((update.root, update.name), update.to);
        }
    }
    let mut places: Vec<FixPlace> =
        found.into_iter().filter_map(|((root, package), version)| place(model, sight, &root, package, version)).collect();
    for root in roots {
        if places.iter().all(|p| model.roots.get(root).is_some_and(|r| (&r.source, r.number) != (&p.source, p.snapshot))) {
            places.extend(place(model, sight, root, String::new(), String::new()));
        }
    }
    places.sort_unstable();
    places
}

/// A snapshot in the words of people; `None`: its source may not be seen.
pub(super) fn place(model: &Model, sight: &Sight, root: &str, package: String, version: String) -> Option<FixPlace> {
    let seen = model.roots.get(root).filter(|seen| sight.sees_source(&seen.source))?;
    Some(FixPlace {
        package,
        version,
        source: seen.source.clone(),
        snapshot: seen.number,
        environments: sight.environments_of(&seen.environments),
    })
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn no_advisory(id: &str) -> Error {
    Error::NotFound(format!("advisory {}; see `drydock advisory list`", super::act::cut(id, 128)))
}

//! Instances found by a filter: listed, counted for a patch job, put into a group.

use std::collections::BTreeMap;

use drydock_domain::access::{Permission, Scope};
use drydock_domain::group::OsFamily;
use drydock_domain::ids::InstanceId;
use drydock_domain::instance::InstanceState;
use drydock_domain::limits::{LABELS_MAX, PAGE_DEFAULT, PAGE_MAX};
use drydock_domain::patch::filter::InstanceFilter;
use drydock_domain::query::{Query, SectionTerm};
use drydock_domain::validate::Problems;
use drydock_store::candidates::{Candidate, CandidateQuery};
use drydock_store::compartments::Kind;
use drydock_store::instances;
use drydock_store::records::{InstanceQuery, Paged};
use jiff::Timestamp;

use super::act::cut;
use super::describe::group_named;
use super::groups::MEMBERS_AT_ONCE_MAX;
use super::instances::NAME_PART_MAX_BYTES;
use crate::Control;
use crate::access_part::ROOT;
use crate::content_views::GroupView;
use crate::context::{OpCtx, Principal};
use crate::error::{Error, Result};
use crate::views::InstanceView;

/// Hosts named in one answer, count; the totals count all.
const NAMED_MAX: usize = 1000;
/// Kinds of hosts named in a refusal, count.
const KINDS_NAMED_MAX: usize = 5;

/// A host by id and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedHost {
    /// Its id.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
}

/// The hosts that a patch filter reaches now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchView {
    /// All of them, count.
    pub total: u64,
    /// The first of them by name.
    pub hosts: Vec<NamedHost>,
    /// Hosts that match besides, and that the caller may see and not patch, count.
    pub not_patchable: u64,
}

/// A host that matches and does not fit into the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Which.
    pub host: NamedHost,
    /// Why.
    pub why: String,
}

/// What became of the hosts that match.
#[derive(Debug, Clone, PartialEq)]
pub struct AddedView {
    /// The group afterwards.
    pub group: GroupView,
    /// Hosts put in (with a dry run: that would be), count.
    pub added_total: u64,
    /// The first of them by name.
    pub added: Vec<NamedHost>,
    /// Hosts that were in it before, count.
    pub there: u64,
    /// Hosts that do not fit, count.
    pub left_out_total: u64,
    /// The first of them by name.
    pub left_out: Vec<LeftOut>,
}

impl Control {
    /// Instances by name that match a filter as well.
    pub async fn search_instances(&self, ctx: &OpCtx, query: &InstanceQuery, filter: &str) -> Result<Paged<InstanceView>> {
        let scope = self.scope(ctx, "instance.list", Permission::InstanceRead).await?;
        let mut problems = Problems::default();
        problems.count("label", query.labels.len(), LABELS_MAX);
        problems.text("q", &query.name_contains, NAME_PART_MAX_BYTES);
        problems.finish()?;
        let parsed = self.read_query("filter", filter)?;
        let answered = self.scope_of_terms(&ctx.who, &parsed, ctx.now).await?;
        let scope = self.narrowed(scope, query.compartment.as_deref()).await?.and(answered);
        let within = CandidateQuery {
            within: Some(scope),
            state: query.state,
            zone: query.zone.clone(),
            labels: query.labels.clone(),
            name_contains: query.name_contains.clone(),
            after: instances::page_begins(&query.page)?,
            limit: 0,
        };
        let page = query.page.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
        // One more says that there is another page.
        let wanted = usize::try_from(page).unwrap_or(usize::MAX).saturating_add(1);
        let found = self.find_matching(&parsed, within, wanted, ctx.now).await?;
        let ids: Vec<_> = found.iter().map(|row| row.id).collect();
        let records = instances::by_ids(&mut *self.read().await?, &ids).await?;
        let places = self.places().await?;
        Ok(instances::page_of(&query.page, records).map(|record| self.view(record, &places, ctx.now)))
    }

    /// The active instances that a patch job of the caller's with this filter would reach if it began now, in `compartment`
    /// and below (absent: anywhere); for those who may start one.
    pub async fn match_instances(&self, ctx: &OpCtx, filter: &InstanceFilter, compartment: Option<&str>) -> Result<MatchView> {
        filter.validate("instanceFilter")?;
        let asked = compartment.unwrap_or(ROOT);
        let compartment = self.compartment_path(asked).await?;
        let reach = self.reach(&ctx.who, "instance.match", &compartment, ctx.now).await?;
        if !reach.is_conditional() {
            let scope = self.scope(ctx, "instance.match", Permission::PatchManage).await?;
            if scope.below(&compartment, self.access().await?.paths()).is_nowhere() {
                return Err(Error::NotFound(format!("compartment {}", cut(asked, 255))));
            }
        }
        self.check_filter(ctx, "instanceFilter", filter).await?;
        let found = self.reached(&reach, filter, ctx.now).await?;
        self.check_named("instanceFilter", filter, &reach, &found.targets).await?;
        let total = count(found.targets.len());
        let hosts = found.targets.into_iter().take(NAMED_MAX).map(|t| NamedHost { id: t.id, name: t.name }).collect();
        Ok(MatchView { total, hosts, not_patchable: found.seen_only })
    }

    /// Puts every active instance that matches and fits into a group; says which do not fit and why. With `dry_run`
    /// nothing changes.
    pub async fn add_matching(&self, ctx: &OpCtx, name: &str, filter: &str, dry_run: bool) -> Result<AddedView> {
        let about = self.about(Kind::Group, name).await?;
        let compartment = about.compartment.clone();
        self.begin_act(ctx, "group.members", Some(Permission::InstanceManage), about).await?;
        let query = self.read_query("filter", filter)?;
        let group = group_named(&mut *self.read().await?, name).await?;
        let group = self.group_view(ctx, group).await?;
        // Hosts that the caller may edit, where the group reaches.
        let editable = self.scope_of(&ctx.who, "instance.edit", Some(Permission::InstanceManage), ctx.now).await?;
        let editable = editable.and(self.scope_of_terms(&ctx.who, &query, ctx.now).await?);
        let scope = editable.and(self.host_scope(ctx).await?).below(&compartment, self.access().await?.paths());
        let state = Some(InstanceState::Active);
        let within = CandidateQuery { state, within: Some(scope), ..CandidateQuery::default() };
        let found = self.find_matching(&query, within, usize::MAX, ctx.now).await?;
        if found.is_empty() {
            return Err(Error::invalid("filter", "matches no active instance; look with `drydock instance list --filter`"));
        }
        let sorted = sort(found, name, group.family)?;
        if !dry_run {
            let ids: Vec<String> = sorted.fitting.iter().map(|host| host.id.to_string()).collect();
            for part in ids.chunks(MEMBERS_AT_ONCE_MAX) {
                self.change_members(ctx, name, part, &[]).await?;
            }
        }
        let group = group_named(&mut *self.read().await?, name).await?;
        Ok(AddedView {
            group: self.group_view(ctx, group).await?,
            added_total: count(sorted.fitting.len()),
            added: sorted.fitting.into_iter().take(NAMED_MAX).collect(),
            there: sorted.there,
            left_out_total: count(sorted.left_out.len()),
            left_out: sorted.left_out.into_iter().take(NAMED_MAX).collect(),
        })
    }
}

/// What a term of a filter asks of a host, as the permission to read that.
pub(super) fn read_by(term: &SectionTerm) -> &'static str {
    match term {
        SectionTerm::Package(_) | SectionTerm::Update(_) => "DRYDOCK_INSTANCE_READ",
        SectionTerm::Advisory(_) => "DRYDOCK_ADVISORY_READ",
        SectionTerm::Cve(_) => "DRYDOCK_VULNERABILITY_READ",
    }
}

impl Control {
    /// Where somebody may read what a filter asks of hosts: a filter answers nobody what he may not read himself.
    async fn scope_of_terms(&self, who: &Principal, query: &Query, now: Timestamp) -> Result<Scope> {
        let mut scope = Scope::Everywhere;
        for term in query.section_terms() {
            let operation = match term {
                SectionTerm::Package(_) => "instance.packages",
                SectionTerm::Update(_) => "instance.updates",
                SectionTerm::Advisory(_) => "instance.advisories",
                SectionTerm::Cve(_) => "instance.vulnerabilities",
            };
            scope = scope.and(self.scope_of(who, operation, None, now).await?);
        }
        Ok(scope)
    }
}

/// Hosts that match, by what becomes of them.
#[derive(Debug, Default)]
struct Sorted {
    fitting: Vec<NamedHost>,
    there: u64,
    left_out: Vec<LeftOut>,
}

/// Who fits into the group of this family. An empty group takes hosts of one kind; of several it takes none, because
/// which of them was meant is not known.
fn sort(found: Vec<Candidate>, group: &str, family: Option<OsFamily>) -> Result<Sorted> {
    let mut sorted = Sorted::default();
    let mut free = Vec::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for row in found {
        let host = NamedHost { id: row.id, name: row.name };
        let own = row.os.as_ref().filter(|_| row.inventory).and_then(OsFamily::of);
        let why = match (row.group.as_deref(), own) {
            (Some(other), _) if other == group => {
                sorted.there += 1;
                continue;
            }
            (Some(other), _) => format!("it is in the group {other}"),
            (None, None) => "it has not sent an inventory yet".to_owned(),
            (None, Some(own)) => {
                *kinds.entry(own.to_string()).or_default() += 1;
                free.push((host, own));
                continue;
            }
        };
        sorted.left_out.push(LeftOut { host, why });
    }
    if family.is_none() && kinds.len() > 1 {
        let mut named: Vec<String> = kinds.iter().take(KINDS_NAMED_MAX).map(|(kind, n)| format!("{kind} ({n})")).collect();
        if kinds.len() > KINDS_NAMED_MAX {
            named.push("…".to_owned());
        }
        let message = format!(
            "matches hosts of {} kinds: {}; a group has one operating system, major version and architecture, and this one is \
             empty: add a condition such as `os.id = ol and os.version = 8*`",
            kinds.len(),
            named.join(", ")
        );
        return Err(Error::invalid("filter", message));
    }
    for (host, own) in free {
        match family.as_ref().and_then(|family| own.difference(family)) {
            Some(why) => sorted.left_out.push(LeftOut { host, why }),
            None => sorted.fitting.push(host),
        }
    }
    sorted.left_out.sort_by(|a, b| a.host.name.cmp(&b.host.name));
    Ok(sorted)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

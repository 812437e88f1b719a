//! How hosts stand with their policies, now and before, and what drifted.

use std::collections::BTreeMap;

use drydock_domain::access::{Permission, Scope};
use drydock_domain::instance::InstanceState;
use drydock_domain::policy::standing::{
    AssignmentCompliance, ComplianceDay, ComplianceInterval, ComplianceResult, FleetCompliance, HostCompliance, HostDriftEvent,
    HostPolicyStanding, PolicyCompliance, ResourceCompliance,
};
use drydock_domain::policy::{ComplianceState, HostPolicies, ResourceResult};
use drydock_store::compliance::{self, IntervalQuery, ResultQuery};
use drydock_store::drift::{self, DriftQuery};
use drydock_store::records::{PageQuery, Paged};
use drydock_store::{host_policies, instances};
use jiff::{SignedDuration, Timestamp};

use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Days of a trend, count.
const TREND_DAYS_MAX: u32 = 400;
/// Rows of one export, count: some 20 MB.
const EXPORT_ROWS_MAX: usize = 100_000;
/// Rows read at once for an export.
const EXPORT_PAGE: u32 = 1000;
/// Drift events of the summary are those of so many hours.
const SUMMARY_DRIFT_HOURS: i64 = 24;

/// A list that is read page by page, up to a limit.
struct Whole<T> {
    rows: Vec<T>,
    next: Option<PageQuery>,
}

impl<T> Whole<T> {
    fn begin() -> Self {
        Whole { rows: Vec::new(), next: Some(PageQuery { cursor: None, limit: Some(EXPORT_PAGE) }) }
    }

    fn take(&mut self, found: Paged<T>) -> Result<()> {
        self.rows.extend(found.items);
        self.next = found.next_cursor.map(|cursor| PageQuery { cursor: Some(cursor), limit: Some(EXPORT_PAGE) });
        if self.next.is_some() && self.rows.len() >= EXPORT_ROWS_MAX {
            let message = format!("has more than {EXPORT_ROWS_MAX} rows; narrow it down, or read it page by page as JSON");
            return Err(Error::invalid("format", message));
        }
        Ok(())
    }
}

impl Control {
    /// How the whole fleet stands.
    pub async fn fleet_compliance(&self, ctx: &OpCtx) -> Result<FleetCompliance> {
        let scope = self.scope_of_hosts(ctx, "compliance.summary", Permission::PolicyRead).await?;
        let mut c = self.read().await?;
        let hosts = compliance::hosts(&mut c, None, &scope).await?;
        let assignments = compliance::by_assignment(&mut c, &scope).await?;
        let active = instances::targets(&mut c, InstanceState::Active).await?;
        let active = active.iter().filter(|host| scope.holds_in(&host.compartment)).count();
        let since = ctx.now.saturating_sub(SignedDuration::from_hours(SUMMARY_DRIFT_HOURS)).unwrap_or(ctx.now);
        let (drift_events, drift_repaired) = drift::counts(&mut c, None, since, Timestamp::MAX, &scope).await?;
        let named = |(assignment, hosts)| AssignmentCompliance { assignment, hosts };
        Ok(FleetCompliance {
            without_policies: u32::try_from(active).unwrap_or(u32::MAX).saturating_sub(hosts.total()),
            hosts,
            assignments: assignments.into_iter().map(named).collect(),
            reasons: compliance::reasons(&mut c, &scope).await?,
            drift_events,
            drift_repaired,
        })
    }

    /// How each policy stands, of one assignment or all.
    pub async fn compliance_by_policy(&self, ctx: &OpCtx, assignment: Option<&str>) -> Result<Vec<PolicyCompliance>> {
        let scope = self.scope_of_hosts(ctx, "compliance.policies", Permission::PolicyRead).await?;
        Ok(compliance::by_policy(&mut *self.read().await?, assignment, &scope).await?)
    }

    /// How each resource stands.
    pub async fn compliance_by_resource(
        &self,
        ctx: &OpCtx,
        assignment: Option<&str>,
        policy: Option<&str>,
    ) -> Result<Vec<ResourceCompliance>> {
        let scope = self.scope_of_hosts(ctx, "compliance.resources", Permission::PolicyRead).await?;
        Ok(compliance::by_resource(&mut *self.read().await?, assignment, policy, &scope).await?)
    }

    /// How policies stand on hosts. `instance`: a host by name or id.
    pub async fn compliance_results(
        &self,
        ctx: &OpCtx,
        instance: Option<&str>,
        mut query: ResultQuery,
    ) -> Result<Paged<ComplianceResult>> {
        let scope = self.scope_of_hosts(ctx, "compliance.results", Permission::PolicyRead).await?;
        if let Some(name) = instance {
            query.instance = Some(self.seen_instance(ctx, "compliance.results", name).await?.id);
        }
        Ok(compliance::list(&mut *self.read().await?, &query, &scope).await?)
    }

    /// All of them.
    pub async fn export_compliance_results(
        &self,
        ctx: &OpCtx,
        instance: Option<&str>,
        query: ResultQuery,
    ) -> Result<Vec<ComplianceResult>> {
        let mut all = Whole::begin();
        while let Some(page) = all.next.take() {
            all.take(self.compliance_results(ctx, instance, ResultQuery { page, ..query.clone() }).await?)?;
        }
        Ok(all.rows)
    }

    /// How policies stood, newest first.
    pub async fn compliance_history(
        &self,
        ctx: &OpCtx,
        instance: Option<&str>,
        mut query: IntervalQuery,
    ) -> Result<Paged<ComplianceInterval>> {
        let scope = self.scope_of_hosts(ctx, "compliance.history", Permission::PolicyRead).await?;
        if let Some(name) = instance {
            query.instance = Some(self.seen_instance(ctx, "compliance.history", name).await?.id);
        }
        Ok(compliance::intervals(&mut *self.read().await?, &query, &scope).await?)
    }

    /// All of them.
    pub async fn export_compliance_history(
        &self,
        ctx: &OpCtx,
        instance: Option<&str>,
        query: IntervalQuery,
    ) -> Result<Vec<ComplianceInterval>> {
        let mut all = Whole::begin();
        while let Some(page) = all.next.take() {
            all.take(self.compliance_history(ctx, instance, IntervalQuery { page, ..query.clone() }).await?)?;
        }
        Ok(all.rows)
    }

    /// How policies stood at the end of each of the last days, oldest first.
    pub async fn compliance_trend(&self, ctx: &OpCtx, assignment: Option<&str>, days: u32) -> Result<Vec<ComplianceDay>> {
        let scope = self.scope_of_hosts(ctx, "compliance.trend", Permission::PolicyRead).await?;
        if !(1..=TREND_DAYS_MAX).contains(&days) {
            return Err(Error::invalid("days", format!("must be between 1 and {TREND_DAYS_MAX}")));
        }
        const DAY_SECS: i64 = 24 * 3600;
        let today = ctx.now.as_second().div_euclid(DAY_SECS);
        let mut c = self.read().await?;
        let mut trend = Vec::new();
        for day in (today - i64::from(days) + 1)..=today {
            let at = |day: i64| Timestamp::from_second(day.saturating_mul(DAY_SECS)).unwrap_or(ctx.now);
            let (from, to) = (at(day), at(day + 1));
            let last = to.saturating_sub(SignedDuration::from_micros(1)).unwrap_or(to).min(ctx.now);
            trend.push(ComplianceDay {
                day: from.strftime("%Y-%m-%d").to_string(),
                counts: compliance::at(&mut c, assignment, last, &scope).await?,
                drift_events: drift::counts(&mut c, assignment, from, to, &scope).await?.0,
            });
        }
        Ok(trend)
    }

    /// How one host stands, with steps and evidence.
    pub async fn host_compliance(&self, ctx: &OpCtx, id_or_name: &str) -> Result<HostCompliance> {
        let record = self.seen_instance(ctx, "compliance.host", id_or_name).await?;
        let mut c = self.read().await?;
        let stored = host_policies::find(&mut c, record.id).await?;
        let query = ResultQuery {
            instance: Some(record.id),
            page: PageQuery { cursor: None, limit: Some(EXPORT_PAGE) },
            ..ResultQuery::default()
        };
        let results = compliance::list(&mut c, &query, &Scope::Everywhere).await?.items;
        let mut resources: BTreeMap<(String, String), Vec<ResourceResult>> = BTreeMap::new();
        for one in compliance::resources_of(&mut c, record.id).await? {
            resources.entry((one.assignment, one.policy)).or_default().push(one.result);
        }
        let policies: Vec<HostPolicyStanding> = results
            .into_iter()
            .map(|result| {
                let key = (result.assignment.clone(), result.policy.clone());
                HostPolicyStanding { resources: resources.remove(&key).unwrap_or_default(), result }
            })
            .collect();
        Ok(HostCompliance {
            instance: record.id,
            instance_name: record.name,
            state: ComplianceState::of_all(policies.iter().map(|p| p.result.state)),
            reason: stored.as_ref().map(|s| s.absent.clone()).unwrap_or_default(),
            generation: stored.as_ref().map_or(0, |s| s.generation),
            reported_generation: stored.as_ref().map_or(0, |s| s.report_generation),
            reported_at: stored.as_ref().and_then(|s| s.reported_at),
            problem: stored.as_ref().map(|s| s.report_problem.clone()).unwrap_or_default(),
            check_asked: stored.as_ref().map_or(0, |s| s.check_asked),
            check_done: stored.as_ref().map_or(0, |s| s.check_done),
            problems: stored.map(|s| s.problems).unwrap_or_default(),
            policies,
        })
    }

    /// The document a host is to have.
    pub async fn host_policies(&self, ctx: &OpCtx, id_or_name: &str) -> Result<HostPolicies> {
        let record = self.seen_instance(ctx, "compliance.document", id_or_name).await?;
        let stored = host_policies::find(&mut *self.read().await?, record.id).await?.filter(|s| s.generation > 0);
        let stored =
            stored.ok_or_else(|| Error::NotFound(format!("policies document of {}: no policy is for it", record.name)))?;
        serde_json::from_str(&stored.document)
            .map_err(|e| Error::Internal { doing: "read a stored policies document", source: Box::new(e) })
    }

    /// Drift events, newest first.
    pub async fn drift_events(
        &self,
        ctx: &OpCtx,
        instance: Option<&str>,
        mut query: DriftQuery,
    ) -> Result<Paged<HostDriftEvent>> {
        let scope = self.scope_of_hosts(ctx, "drift.list", Permission::PolicyRead).await?;
        if let Some(name) = instance {
            query.instance = Some(self.seen_instance(ctx, "drift.list", name).await?.id);
        }
        Ok(drift::list(&mut *self.read().await?, &query, &scope).await?)
    }

    /// All of them.
    pub async fn export_drift_events(
        &self,
        ctx: &OpCtx,
        instance: Option<&str>,
        query: DriftQuery,
    ) -> Result<Vec<HostDriftEvent>> {
        let mut all = Whole::begin();
        while let Some(page) = all.next.take() {
            all.take(self.drift_events(ctx, instance, DriftQuery { page, ..query.clone() }).await?)?;
        }
        Ok(all.rows)
    }
}

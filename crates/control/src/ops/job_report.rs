//! Everything that a patch job did, for a report: the job, and of each host what became of its packages.

use drydock_domain::ids::JobId;
use drydock_domain::patch::report::{PackageOutcome, PackageResult, SkippedUpdate, TaskReport};
use drydock_domain::rollout::health::HealthResult;

use crate::Control;
use crate::context::OpCtx;
use crate::error::Result;
use crate::views::{HostOutcome, JobOutcome};

impl Control {
    /// The report of a job; that of one under way tells how far it is.
    pub async fn job_report(&self, ctx: &OpCtx, id: JobId) -> Result<JobOutcome> {
        self.may_see(ctx, "patch-job.report", self.about_job(id).await?).await?;
        let job = self.job_view(id).await?;
        let mut hosts = Vec::new();
        // One report at a time: together they may be gigabytes.
        for task in self.tasks_of(id).await? {
            let report = drydock_store::patch_tasks::report(&mut *self.read().await?, task.id).await?;
            let Short { packages, skipped, health } = report.map(shortened).unwrap_or_default();
            hosts.push(HostOutcome { task, packages, skipped, health });
        }
        Ok(JobOutcome { job, made_at: ctx.now, hosts })
    }
}

/// What a report keeps of what a host told.
#[derive(Default)]
struct Short {
    /// Each once, with its result or, while there is none, its plan.
    packages: Vec<PackageResult>,
    /// Each once.
    skipped: Vec<SkippedUpdate>,
    health: Vec<HealthResult>,
}

fn shortened(report: TaskReport) -> Short {
    let mut packages = report.packages;
    let mut skipped: Vec<SkippedUpdate> = report.plans.iter().flat_map(|p| p.skipped.iter().cloned()).collect();
    skipped.sort_by(|a, b| (&a.name, &a.arch, &a.version, &a.reason).cmp(&(&b.name, &b.arch, &b.version, &b.reason)));
    skipped.dedup();
    if packages.is_empty() {
        let planned = report.plans.into_iter().flat_map(|p| p.actions);
        packages.extend(planned.map(|planned| PackageResult {
            planned,
            outcome: PackageOutcome::NotApplied,
            found: None,
            detail: "planned".to_owned(),
        }));
    }
    Short { packages, skipped, health: report.health }
}

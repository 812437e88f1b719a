//! Reading the audit records, and the counts that need no more than a look.

use drydock_domain::access::Permission;
use drydock_domain::limits::UNREACHABLE_AFTER_SECS;
use drydock_store::records::{AuditRecord, FleetCounts, PageQuery, Paged};
use drydock_store::{audit, fleet};
use jiff::SignedDuration;

use crate::Control;
use crate::context::OpCtx;
use crate::error::Result;

impl Control {
    /// Audit records, newest first.
    pub async fn list_audit(&self, ctx: &OpCtx, page: &PageQuery) -> Result<Paged<AuditRecord>> {
        self.may_read(ctx, "audit.list", Permission::AuditRead).await?;
        Ok(audit::list(&mut *self.read().await?, page).await?)
    }

    /// Counts over the fleet.
    pub async fn overview(&self, ctx: &OpCtx) -> Result<FleetCounts> {
        self.may_read(ctx, "overview.show", Permission::InstanceRead).await?;
        let since = ctx.now.saturating_sub(SignedDuration::from_secs(UNREACHABLE_AFTER_SECS)).unwrap_or(ctx.now);
        Ok(fleet::counts(&mut *self.read().await?, since).await?)
    }
}

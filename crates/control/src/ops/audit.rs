//! Reading, exporting and sealing the audit, its settings, and the counts that need no more than a look.

use drydock_domain::access::Permission;
use drydock_domain::audit::Record;
use drydock_domain::audit::chain::{Seal, SealKind};
use drydock_domain::audit::family::AuditSettings;
use drydock_domain::audit::line::{push_record, push_seal};
use drydock_domain::limits::UNREACHABLE_AFTER_SECS;
use drydock_store::audit::{self, AuditQuery};
use drydock_store::records::{AuditRecord, FleetCounts, Paged};
use drydock_store::{commit, fleet, settings};
use jiff::{SignedDuration, Timestamp};

use crate::Control;
use crate::audit_part::SETTING;
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Records of an export read at a time, count: some 600 kB.
const EXPORT_RECORDS: u32 = 1000;
/// Records of one batch to a receiver outside, count.
const FORWARD_RECORDS: u32 = 500;
/// Behind a receiver's name: how far it has got the seals.
const SEALS_SUFFIX: &str = "#seals";

/// How the audit stands.
#[derive(Debug, Clone)]
pub struct AuditStatus {
    /// What is recorded and kept.
    pub settings: AuditSettings,
    /// Number of the oldest record that is kept; 0: there is none.
    pub first: u64,
    /// Number of the newest record.
    pub last: u64,
    /// The newest seal.
    pub seal: Option<Seal>,
    /// Ed25519 public key of the seals.
    pub key: [u8; 32],
    /// Receivers outside, and the number of the last record each has got.
    pub forwards: Vec<(String, u64)>,
}

/// An export on its way: lines of a stretch of the chain that begins and ends with a seal.
pub struct AuditExport {
    control: Control,
    /// Number of the last record given out.
    at: u64,
    anchor: Option<Seal>,
    /// The signed end; gone when it was given out.
    end: Option<Seal>,
}

/// Records and seals for a receiver outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditBatch {
    /// JSON lines, each with its line feed.
    pub lines: Vec<Vec<u8>>,
    records: u64,
    seals: u64,
}

impl Control {
    /// Audit records about what lies where the caller may read them, newest first. Everything recorded until now is in it.
    pub async fn list_audit(&self, ctx: &OpCtx, query: &AuditQuery) -> Result<Paged<AuditRecord>> {
        let scope = self.scope(ctx, "audit.list", Permission::AuditRead).await?;
        if query.page.cursor.is_none() {
            self.chain_audit().await?;
        }
        Ok(audit::list(&mut *self.read().await?, &scope, query).await?)
    }

    /// The audit's settings, its ends, and the key of its seals.
    pub async fn audit_status(&self, ctx: &OpCtx) -> Result<AuditStatus> {
        self.may_read(ctx, "audit.settings-show", Permission::AuditRead).await?;
        self.audit_standing().await
    }

    async fn audit_standing(&self) -> Result<AuditStatus> {
        let settings = self.audit_settings().await?;
        let mut c = self.read().await?;
        let forwards = audit::forwards(&mut c).await?;
        Ok(AuditStatus {
            settings,
            first: audit::first(&mut c).await?.unwrap_or(0),
            last: audit::head(&mut c).await?.seq,
            seal: audit::last_seal(&mut c).await?,
            key: self.work_public_key(),
            forwards: forwards.into_iter().filter(|(target, _)| !target.ends_with(SEALS_SUFFIX)).collect(),
        })
    }

    /// Changes what is recorded and how long it is kept.
    pub async fn set_audit_settings(&self, ctx: &OpCtx, new: AuditSettings) -> Result<AuditStatus> {
        let act = self.act(ctx, "audit.settings-set", "audit-settings".to_owned(), Permission::AuditRead).await?;
        let act = act.asking(&new);
        let stored = async {
            if let Some(problem) = new.problem() {
                return Err(Error::invalid("keepDays", problem));
            }
            let body = serde_json::to_string(&new)
                .map_err(|e| Error::Internal { doing: "write the settings of the audit", source: e.into() })?;
            let mut tx = self.begin().await?;
            settings::put(&mut tx, SETTING, &body, &ctx.who.name(), ctx.now).await?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            self.keep_audit_settings(&new);
            self.audit_standing().await
        };
        let stored = stored.await;
        act.settle(stored).await
    }

    /// Signs the end of the chain now. Kept elsewhere, the seal proves later that nothing before it was changed or cut off.
    pub async fn make_audit_seal(&self, ctx: &OpCtx) -> Result<Seal> {
        let act = self.act(ctx, "audit.seal", "audit".to_owned(), Permission::AuditRead).await?;
        let made = async {
            let mut tx = self.begin().await?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            self.end_seal().await
        };
        let made = made.await;
        act.settle(made).await
    }

    async fn end_seal(&self) -> Result<Seal> {
        const MESSAGE: &str = "the audit is being written by another server; try again";
        self.seal_audit().await?.ok_or(Error::Unavailable { message: MESSAGE, source: None })
    }

    /// Begins an export of whole sealed segments that hold everything recorded from `since` to `until`; the export's own
    /// record is in it unless `until` is earlier.
    pub async fn export_audit(&self, ctx: &OpCtx, since: Option<Timestamp>, until: Option<Timestamp>) -> Result<AuditExport> {
        let shown = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        let resource = format!("audit, {} to {}", shown(since), shown(until));
        let act = self.act(ctx, "audit.export", resource, Permission::AuditRead).await?;
        let begun = async {
            let mut tx = self.begin().await?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            let newest = self.end_seal().await?;
            let mut c = self.read().await?;
            let end = match until {
                Some(until) => audit::first_seal_from(&mut c, until).await?.unwrap_or(newest),
                None => newest,
            };
            let anchor = match since {
                Some(since) => audit::last_seal_before(&mut c, since).await?.filter(|s| s.seq < end.seq),
                None => None,
            };
            // Where older records were dropped, the chain begins with the seal that was kept.
            let anchor = match (anchor, audit::first_seal(&mut c).await?) {
                (None, Some(oldest)) if audit::first(&mut c).await?.is_none_or(|first| first > oldest.seq) => Some(oldest),
                (anchor, _) => anchor,
            };
            let at = anchor.map_or(0, |s| s.seq);
            let end = self.sign_seal(SealKind::Export { first: at.saturating_add(1) }, end.seq, end.hash, self.now());
            Ok(AuditExport { control: self.clone(), at, anchor, end: Some(end) })
        };
        let begun = begun.await;
        act.settle(begun).await
    }

    /// Drops whole sealed segments whose records are all older; the chain goes on from the last dropped one's seal.
    pub async fn drop_audit(&self, ctx: &OpCtx, before: Timestamp) -> Result<u64> {
        let act = self.act(ctx, "audit.drop-segment", format!("audit before {before}"), Permission::AuditRead).await?;
        let dropped = async {
            let mut tx = self.begin().await?;
            let seal = audit::last_seal_before(&mut tx, before).await?;
            let dropped = match seal {
                Some(seal) => audit::drop_through(&mut tx, seal.seq).await?,
                None => 0,
            };
            let through = seal.map_or(0, |s| s.seq);
            act.allowed_on(&mut tx, &format!("audit before {before}: {dropped} records up to {through}")).await?;
            commit(tx).await?;
            Ok(dropped)
        };
        let dropped = dropped.await;
        act.settle(dropped).await
    }

    /// Drops what is older than the settings say, once every receiver outside has got it.
    pub(crate) async fn drop_old_audit(&self) -> Result<()> {
        let Some(days) = self.audit_settings().await?.keep_days else { return Ok(()) };
        let now = self.now();
        let before = now.saturating_sub(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(now);
        let mut tx = self.begin().await?;
        let first = audit::first(&mut tx).await?.unwrap_or(0);
        let Some(seal) = audit::last_seal_before(&mut tx, before).await?.filter(|s| s.seq >= first && first > 0) else {
            return Ok(());
        };
        if let Some((target, seq)) = audit::forwards(&mut tx).await?.into_iter().find(|(_, seq)| *seq < seal.seq) {
            tracing::warn!(target, seq, "old records of the audit are kept: a receiver has not got them yet");
            return Ok(());
        }
        let dropped = audit::drop_through(&mut tx, seal.seq).await?;
        let resource = format!("audit older than {days} days: {dropped} records up to {}", seal.seq);
        self.audit_in(&mut tx, Record { resource: resource.into(), ..self.audit_draft("audit.drop-segment", now) }).await?;
        Ok(commit(tx).await?)
    }

    /// What a receiver outside has not got yet, oldest first; nothing: it has got all. A new receiver begins with the oldest
    /// record that is kept.
    pub async fn audit_batch(&self, target: &str) -> Result<Option<AuditBatch>> {
        let mut c = self.read().await?;
        let records = audit::forwarded(&mut c, target).await?.unwrap_or(0);
        let seals = audit::forwarded(&mut c, &format!("{target}{SEALS_SUFFIX}")).await?.unwrap_or(0);
        let found = audit::after(&mut c, records, FORWARD_RECORDS).await?;
        let to = found.last().map_or(records, |r| r.seq);
        let sealed = audit::seals(&mut c, seals, to).await?;
        if found.is_empty() && sealed.is_empty() {
            return Ok(None);
        }
        let lines = merged(&found, &sealed);
        Ok(Some(AuditBatch { lines, records: to, seals: sealed.last().map_or(seals, |s| s.seq) }))
    }

    /// The receiver has got the batch.
    pub async fn audit_batch_done(&self, target: &str, batch: &AuditBatch) -> Result<()> {
        let now = self.now();
        let mut tx = self.begin().await?;
        audit::set_forwarded(&mut tx, target, batch.records, now).await?;
        audit::set_forwarded(&mut tx, &format!("{target}{SEALS_SUFFIX}"), batch.seals, now).await?;
        Ok(commit(tx).await?)
    }

    /// Forgets receivers that are configured no more: old records need not wait for them.
    pub async fn keep_audit_targets(&self, targets: &[String]) -> Result<()> {
        let mut tx = self.begin().await?;
        for (target, _) in audit::forwards(&mut tx).await? {
            let own = target.strip_suffix(SEALS_SUFFIX).unwrap_or(&target);
            if !targets.iter().any(|t| t == own) {
                audit::forget_forward(&mut tx, &target).await?;
            }
        }
        Ok(commit(tx).await?)
    }

    /// Lets somebody see the metrics: they are about all hosts, so who may read some compartment's only may not.
    pub async fn may_see_metrics(&self, ctx: &OpCtx) -> Result<()> {
        self.may_read(ctx, "metrics.show", Permission::InstanceRead).await
    }

    /// Counts over the fleet.
    pub async fn overview(&self, ctx: &OpCtx) -> Result<FleetCounts> {
        let hosts = self.scope(ctx, "overview.show", Permission::InstanceRead).await?;
        let jobs = self.scope_of(&ctx.who, "patch-job.list", Some(Permission::PatchRead), ctx.now).await?;
        let since = ctx.now.saturating_sub(SignedDuration::from_secs(UNREACHABLE_AFTER_SECS)).unwrap_or(ctx.now);
        Ok(fleet::counts(&mut *self.read().await?, since, &hosts, &jobs).await?)
    }
}

impl AuditExport {
    /// The next lines; nothing: that was all.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(end) = self.end else { return Ok(None) };
        let mut out = Vec::new();
        if let Some(anchor) = self.anchor.take() {
            push_seal(&mut out, &anchor);
        }
        let mut c = self.control.read().await?;
        let mut records = audit::after(&mut c, self.at, EXPORT_RECORDS).await?;
        records.retain(|r| r.seq <= end.seq);
        let last = records.len() < usize::try_from(EXPORT_RECORDS).unwrap_or(usize::MAX);
        let to = if last { end.seq } else { records.last().map_or(end.seq, |r| r.seq) };
        let seals = audit::seals(&mut c, self.at, to).await?;
        out.extend(merged(&records, &seals).concat());
        self.at = to;
        if last {
            push_seal(&mut out, &end);
            self.end = None;
        }
        Ok(Some(out))
    }
}

impl std::fmt::Debug for AuditExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditExport").field("at", &self.at).finish_non_exhaustive()
    }
}

/// Lines of records, each seal behind the last record it covers.
fn merged(records: &[AuditRecord], seals: &[Seal]) -> Vec<Vec<u8>> {
    let mut lines = Vec::with_capacity(records.len() + seals.len());
    let mut seals = seals.iter().peekable();
    let mut sealed_before = |lines: &mut Vec<Vec<u8>>, seq: u64| {
        while let Some(seal) = seals.next_if(|s| s.seq < seq) {
            let mut line = Vec::new();
            push_seal(&mut line, seal);
            lines.push(line);
        }
    };
    for own in records {
        sealed_before(&mut lines, own.seq);
        let mut line = Vec::new();
        push_record(&mut line, own.seq, &own.record, &own.hash);
        lines.push(line);
    }
    sealed_before(&mut lines, u64::MAX);
    lines
}

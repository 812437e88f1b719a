//! Content jobs as people watch and cancel them, and the collection of what nothing refers to.

use drydock_content::gc::{GcReport, Keep};
use drydock_domain::access::Permission;
use drydock_domain::ids::ContentJobId;
use drydock_store::records::Paged;
use drydock_store::{Connection, commit, content_jobs, pointers, snapshots, sources};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::act::About;
use super::describe::{Names, no_source};
use super::promotion::served_roots;
use crate::Control;
use crate::access_part::ROOT;
use crate::content_part::{ContentPart, blocking};
use crate::content_views::{CollectView, ContentJobQuery, ContentJobView, Freed};
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Things younger than this are never collected, hours: they may belong to something that is being made.
const COLLECT_GRACE_HOURS: u64 = 24;

/// What a COLLECT job works on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct CollectInput {
    /// Frees nothing.
    pub(crate) dry_run: bool,
}

impl Control {
    /// Content jobs, newest first.
    pub async fn list_content_jobs(&self, ctx: &OpCtx, query: &ContentJobQuery) -> Result<Paged<ContentJobView>> {
        let scope = self.scope(ctx, "content-job.list", Permission::SourceRead).await?;
        let sight = self.sight(ctx).await?;
        let mut c = self.read().await?;
        let names = Names::read(&mut c).await?;
        let known = |name: &String| names.outline_of(name).filter(|own| sight.sources.holds_in(&own.compartment));
        let source = match &query.source {
            None => None,
            Some(name) => Some(known(name).ok_or_else(|| no_source(name))?.id),
        };
        let query = drydock_store::source_records::ContentJobQuery {
            state: query.state,
            kind: query.kind,
            source,
            page: query.page.clone(),
        };
        let page = content_jobs::list(&mut c, &query, &scope).await?;
        Ok(page.map(|job| names.job(job)))
    }

    /// One content job, with its findings.
    pub async fn get_content_job(&self, ctx: &OpCtx, id: ContentJobId) -> Result<ContentJobView> {
        self.may_see(ctx, "content-job.show", self.about_content_job(id).await?).await?;
        self.content_job_view(id).await
    }

    /// Cancels a content job: one that waits ends at once, one that runs within a second or two. What it made so far is
    /// not visible and is used by the next one.
    pub async fn cancel_content_job(&self, ctx: &OpCtx, id: ContentJobId) -> Result<ContentJobView> {
        let act = self.act_on(ctx, "content-job.cancel", self.about_content_job(id).await?).await?;
        let cancelled = async {
            let mut tx = self.begin().await?;
            if content_jobs::cancel(&mut tx, id, ctx.now).await?.is_none() {
                let job = content_jobs::find(&mut tx, id).await?.ok_or_else(|| no_job(id))?;
                return Err(Error::conflict(format!("content job {id} is {} already", job.state.as_str())));
            }
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            self.content_job_changed(id);
            self.wake();
            self.content_job_view(id).await
        }
        .await;
        act.settle(cancelled).await
    }

    /// A content job lies where its source does; one without a source is the tenancy's.
    async fn about_content_job(&self, id: ContentJobId) -> Result<About> {
        let mut c = self.read().await?;
        let text = id.to_string();
        let Some(job) = content_jobs::find(&mut c, id).await? else {
            return Ok(About::named("content job", "drydock-content-job", ROOT, &text, &text).gone());
        };
        let source = match job.source {
            Some(source) => sources::find(&mut c, source).await?,
            None => None,
        };
        let lies = source.map_or_else(|| ROOT.to_owned(), |own| own.compartment);
        Ok(About::named("content job", "drydock-content-job", &lies, &text, &text).called(format!("content-job {id}")))
    }

    /// Frees what nothing refers to, or says what would be freed and why some things are kept.
    pub async fn collect_garbage(&self, ctx: &OpCtx, dry_run: bool) -> Result<CollectView> {
        let operation = if dry_run { "content.collect-preview" } else { "content.collect" };
        let act = self.act(ctx, operation, "content".to_owned(), Permission::SourceManage).await?;
        let collected = async {
            let part = self.content_part()?;
            let report = self.collect(part, dry_run, ctx.now).await?;
            let mut tx = self.begin().await?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            Ok(report)
        }
        .await;
        act.settle(collected).await
    }

    /// One collection. Refused while something is made: that may have no row yet.
    pub(crate) async fn collect(&self, part: &ContentPart, dry_run: bool, now: Timestamp) -> Result<CollectView> {
        let busy = || Error::conflict("a content job or a promotion is at work; collect when it has ended");
        // Both may wait: a collection that frees nothing disturbs nobody.
        let alone = if dry_run {
            None
        } else {
            let here = part.collecting.try_write().map_err(|_| busy())?;
            Some((here, part.lock_content(true).await?.ok_or_else(busy)?))
        };
        let keep = keep(&mut *self.read().await?).await?;
        let grace = std::time::Duration::from_secs(COLLECT_GRACE_HOURS * 3600);
        let content = part.content().clone();
        let done =
            blocking("collect garbage", move || drydock_content::gc::collect(&content, &keep, grace, now, dry_run)).await?;
        drop(alone);
        let report = done.map_err(|e| Error::Internal { doing: "collect garbage", source: Box::new(e) })?;
        Ok(view(report, dry_run))
    }

    pub(crate) async fn content_job_view(&self, id: ContentJobId) -> Result<ContentJobView> {
        let mut c = self.read().await?;
        let job = content_jobs::find(&mut c, id).await?.ok_or_else(|| no_job(id))?;
        let names = Names::read(&mut c).await?;
        Ok(ContentJobView { findings: content_jobs::findings(&mut c, id).await?, ..names.job(job) })
    }
}

/// Everything rows refer to: all snapshots, and the publications that are or may be served.
async fn keep(c: &mut Connection) -> Result<Keep> {
    let parse =
        |root: &String| root.parse().map_err(|e| Error::Internal { doing: "read a snapshot's root", source: Box::new(e) });
    let mut roots = Vec::new();
    for (_, root) in snapshots::roots(c).await? {
        roots.push(parse(&root)?);
    }
    let mut publications = Vec::new();
    for pointer in pointers::all(c).await? {
        for root in served_roots(c, &pointer).await? {
            publications.push(parse(&root)?);
        }
    }
    let sources = sources::outlines(c).await?.into_iter().map(|s| s.id).collect();
    Ok(Keep { roots, publications, sources })
}

fn view(report: GcReport, dry_run: bool) -> CollectView {
    let freed = |f: drydock_content::gc::Freed| Freed { count: f.count, bytes: f.bytes };
    CollectView {
        dry_run,
        objects: freed(report.objects),
        blobs: freed(report.blobs),
        metadata: freed(report.meta),
        others: freed(report.others),
        kept: report.kept,
    }
}

fn no_job(id: ContentJobId) -> Error {
    Error::NotFound(format!("content job {id}"))
}

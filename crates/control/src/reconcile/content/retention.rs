//! Snapshots beyond what their source keeps, uploads whose job is gone, jobs nobody looks at any more, and the daily
//! collection of files that no row refers to.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use drydock_domain::access::Scope;
use drydock_domain::ids::SourceId;
use drydock_domain::source::environment::{Retained, surplus};
use drydock_domain::source::job::ContentJobKind;
use drydock_store::source_records::{ContentJobQuery, SnapshotUse};
use drydock_store::{commit, content_jobs, pointers, snapshots, sources};
use jiff::SignedDuration;

use super::collection_due;
use crate::Control;
use crate::content_part::blocking;
use crate::error::{Error, Result};
use crate::ops::{UPLOADS, rollback_leads_to, served};

/// Jobs that ended are shown this long, days.
const JOBS_KEPT_DAYS: i64 = 30;
/// A staged upload that no job refers to is removed after this, hours.
const UPLOADS_KEPT_HOURS: u64 = 24;

/// Forgets what is old.
pub(super) async fn turn(control: &Control) -> Result<()> {
    let now = control.now();
    for source in sources::outlines(&mut *control.read().await?).await? {
        retire(control, source.id).await?;
    }
    let mut tx = control.begin().await?;
    let before = now.saturating_sub(SignedDuration::from_hours(JOBS_KEPT_DAYS * 24)).unwrap_or(now);
    content_jobs::forget(&mut tx, before).await?;
    commit(tx).await?;
    remove_orphans(control).await?;
    collect_when_due(control).await
}

/// Retires the oldest snapshots of a source beyond those it keeps.
async fn retire(control: &Control, source: SourceId) -> Result<()> {
    let mut c = control.read().await?;
    let uses = snapshots::uses(&mut c, source).await?;
    let keep = match sources::find(&mut c, source).await? {
        Some(record) => record.spec.keep_snapshots,
        None => return Ok(()),
    };
    let mut needed = HashSet::new();
    for pointer in pointers::of_source(&mut c, source).await? {
        needed.extend(served(&mut c, &pointer).await?.into_iter().map(|s| s.id));
        // After roll backs the next one leads further than the last moves.
        if let Some(environment) = pointer.environment {
            needed.extend(rollback_leads_to(&mut c, environment, source).await?);
        }
    }
    drop(c);
    let seen = |u: &SnapshotUse| Retained {
        number: u.snapshot.number,
        in_use: u.pointers > 0 || u.snapshot.kept || needed.contains(&u.snapshot.id),
    };
    let going = surplus(&uses.iter().map(seen).collect::<Vec<_>>(), keep);
    for snapshot in uses.into_iter().map(|u| u.snapshot).filter(|s| going.contains(&s.number)) {
        let mut tx = control.begin().await?;
        match snapshots::delete_unused(&mut tx, snapshot.id).await {
            // A promotion was faster: it is needed after all.
            Err(e) if e.is_referenced() => continue,
            other => other?,
        };
        commit(tx).await?;
    }
    Ok(())
}

/// Removes staged uploads that no open job refers to: the server died between staging and storing the job.
async fn remove_orphans(control: &Control) -> Result<()> {
    let open = content_jobs::open(&mut *control.read().await?, None).await?;
    let wanted: Vec<String> = open.into_iter().filter_map(|j| j.input).collect();
    let dir = control.content_part()?.content().dir().join(UPLOADS);
    let now = SystemTime::from(control.now());
    let removed = blocking("remove old uploads", move || {
        let files = match std::fs::read_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let old = Duration::from_secs(UPLOADS_KEPT_HOURS * 3600);
        for file in files {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            let age = now.duration_since(file.metadata()?.modified()?).unwrap_or_default();
            if age > old && !wanted.iter().any(|input| input.contains(&name)) {
                std::fs::remove_file(file.path())?;
            }
        }
        Ok::<_, std::io::Error>(())
    });
    removed.await?.map_err(|e| Error::Internal { doing: "remove old uploads", source: Box::new(e) })
}

/// Asks for the daily collection.
async fn collect_when_due(control: &Control) -> Result<()> {
    let now = control.now();
    let query = ContentJobQuery { kind: Some(ContentJobKind::Collect), ..ContentJobQuery::default() };
    let last = content_jobs::list(&mut *control.read().await?, &query, &Scope::Everywhere).await?.items.into_iter().next();
    if !collection_due(last.as_ref(), now) {
        return Ok(());
    }
    let job = control.new_content_job(ContentJobKind::Collect, None, None, "server", now);
    let mut tx = control.begin().await?;
    content_jobs::insert(&mut tx, &job).await?;
    Ok(commit(tx).await?)
}

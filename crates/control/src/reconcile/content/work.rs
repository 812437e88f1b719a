//! What each kind of content job does, and how its result becomes visible: the end of the job, the snapshot and the
//! pointer `latest` are one transaction that only the holder of the lease can make.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use drydock_content::derive::{DeriveRequest, derive};
use drydock_content::snapshot::{self, SnapshotRoot};
use drydock_content::{LocalFile, LocalRequest, ProgressSink, SyncError, SyncRequest, SyncState};
use drydock_domain::ids::{SnapshotId, SourceId};
use drydock_domain::inventory::Finding;
use drydock_domain::source::job::{ContentJobKind, ContentJobState, SnapshotOrigin};
use drydock_domain::source::spec::Origin;
use drydock_domain::source::unit::SnapshotStats;
use drydock_store::content_jobs::End;
use drydock_store::pointers::Move;
use drydock_store::source_records::{ContentJobRecord, PointerRecord, SnapshotRecord, SourceRecord};
use drydock_store::{commit, content_jobs, pointers, snapshots, sources};
use serde::{Deserialize, Serialize};

use crate::Control;
use crate::content_part::{ContentPart, blocking};
use crate::error::Error;
use crate::ops::{CollectInput, UPLOADS, UploadInput, head_json, head_time, root_of};

/// How often a result is stored anew when somebody moved the pointer between reading and writing, count.
const RACE_RETRIES: usize = 5;
/// Uploads taken in by one job, count: those that wait behind it find their file there already.
const UPLOADS_AT_ONCE: usize = 200;
/// A collection waits this long for a moment when nothing else is at work, and looks so often.
const COLLECT_PATIENCE: Duration = Duration::from_secs(600);
const COLLECT_LOOKS_EVERY: Duration = Duration::from_millis(200);
/// Longest chain of reasons told, count.
const REASONS_MAX: usize = 6;

/// Why a job did not succeed.
pub(super) enum Failure {
    /// Something an operator can read and act on.
    Told { message: String, findings: Vec<Finding> },
    /// The server's own trouble.
    Server(Error),
    /// The lease was lost, or the source deleted: nothing is to be written.
    Lost,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Server(error)
    }
}

impl From<drydock_store::StoreError> for Failure {
    fn from(error: drydock_store::StoreError) -> Self {
        Failure::Server(error.into())
    }
}

impl From<SyncError> for Failure {
    fn from(error: SyncError) -> Self {
        Failure::told(&error)
    }
}

impl Failure {
    fn told(error: &dyn std::error::Error) -> Failure {
        let mut message = error.to_string();
        let mut next = error.source();
        for _ in 0..REASONS_MAX {
            let Some(source) = next else { break };
            let reason = source.to_string();
            if !message.contains(&reason) {
                message = format!("{message}: {reason}");
            }
            next = source.source();
        }
        Failure::Told { message, findings: Vec::new() }
    }

    fn because(message: impl Into<String>) -> Failure {
        Failure::Told { message: message.into(), findings: Vec::new() }
    }
}

type Done<T> = std::result::Result<T, Failure>;

/// What a custom source was last made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DerivedState {
    /// The snapshot of each source.
    pub(super) inputs: BTreeMap<SourceId, SnapshotId>,
    /// Version of the specification.
    pub(super) version: i64,
}

/// What a job made.
struct Made {
    root: SnapshotRoot,
    stats: SnapshotStats,
    origin: SnapshotOrigin,
    findings: Vec<Finding>,
    /// What the source's next job is to know.
    state: Option<String>,
}

/// Does a job's work up to the end of the job. Whatever was made before a failure is found again by the next attempt.
pub(super) async fn work(control: &Control, job: &ContentJobRecord, owner: &str, sink: &ProgressSink) -> Done<()> {
    let part = control.content_part()?;
    if job.kind == ContentJobKind::Collect {
        return collect(control, part, job, owner).await;
    }
    let _not_while_collecting = part.collecting.read().await;
    let Some(id) = job.source else { return Err(Failure::because("the job names no software source")) };
    let Some(source) = sources::find(&mut *control.read().await?, id).await? else { return Err(Failure::Lost) };
    let made = match (job.kind, &source.spec.origin) {
        (ContentJobKind::Sync, Origin::Upstream(_)) => sync(control, part, &source, sink).await?,
        (ContentJobKind::Derive, Origin::Sources { from }) => derived(control, part, &source, from, sink).await?,
        (ContentJobKind::Upload, Origin::Local { .. }) => upload(control, part, &source, job, sink).await?,
        _ => return Err(Failure::because("the software source is of another kind than the job")),
    };
    store(control, part, job, owner, &source, made, sink).await
}

async fn sync(control: &Control, part: &ContentPart, source: &SourceRecord, sink: &ProgressSink) -> Done<Made> {
    let previous = sources::sync_state(&mut *control.read().await?, source.id).await?;
    // A state of an older version is as good as none: the sync reads everything.
    let previous: Option<SyncState> = previous.and_then(|text| serde_json::from_str(&text).ok());
    let request = SyncRequest { source: source.id, spec: source.spec.clone(), previous, now: control.now() };
    let outcome = part.content().sync(&request, sink).await?;
    let state = write(&outcome.state)?;
    let (root, stats, findings) = (outcome.root, outcome.stats, outcome.findings);
    Ok(Made { root, stats, origin: SnapshotOrigin::Sync, findings, state: Some(state) })
}

async fn derived(
    control: &Control,
    part: &ContentPart,
    source: &SourceRecord,
    from: &[String],
    sink: &ProgressSink,
) -> Done<Made> {
    let mut c = control.read().await?;
    let (mut inputs, mut roots) = (BTreeMap::new(), Vec::new());
    for name in from {
        let input = sources::find_by_name(&mut c, name).await?;
        let input = input.ok_or_else(|| Failure::because(format!("there is no software source {name} any more")))?;
        let newest = snapshots::newest(&mut c, input.id).await?;
        let newest =
            newest.ok_or_else(|| Failure::because(format!("software source {name} has no snapshot yet; sync it first")))?;
        roots.push(root_of(&newest)?);
        inputs.insert(input.id, newest.id);
    }
    drop(c);
    sink.report("derive", 0, None);
    let request = DeriveRequest {
        from: roots,
        selection: source.spec.selection.clone(),
        format: source.spec.format,
        name: source.spec.name.clone(),
    };
    let content = part.content().clone();
    let made = blocking("derive a snapshot", move || {
        let root = derive(content.objects(), &request)?;
        let stats = snapshot::load(content.objects(), &root)?.stats;
        Ok::<_, drydock_content::ContentError>((root, stats))
    });
    let (root, stats) = made.await?.map_err(|e| Failure::told(&e))?;
    let state = write(&DerivedState { inputs, version: source.version })?;
    Ok(Made { root, stats, origin: SnapshotOrigin::Derived, findings: Vec::new(), state: Some(state) })
}

async fn upload(
    control: &Control,
    part: &ContentPart,
    source: &SourceRecord,
    job: &ContentJobRecord,
    sink: &ProgressSink,
) -> Done<Made> {
    let mut c = control.read().await?;
    let previous = snapshots::newest(&mut c, source.id).await?.map(|s| root_of(&s)).transpose()?;
    let waiting = content_jobs::open(&mut c, Some(source.id)).await?;
    drop(c);
    let own: Vec<LocalFile> = match &job.input {
        Some(_) => vec![staged(part, job).ok_or_else(|| Failure::because("the uploaded file is gone; upload it again"))?],
        // The first snapshot of a new source.
        None => Vec::new(),
    };
    // Those that wait are taken along: a hundred uploads make a handful of snapshots, and each of their jobs then
    // finds its file there. One of them that is refused does not keep this job's own file out.
    let others = waiting.iter().filter(|j| j.kind == ContentJobKind::Upload && j.id != job.id && !j.cancel_requested);
    let mut files = own.clone();
    files.extend(others.filter_map(|j| staged(part, j)).take(UPLOADS_AT_ONCE));
    let request = |files: Vec<LocalFile>| LocalRequest {
        source: source.id,
        spec: source.spec.clone(),
        previous,
        files,
        remove: Vec::new(),
        now: control.now(),
    };
    let alone = files.len() == own.len();
    let outcome = match add_local(part, request(files), sink).await {
        Err(SyncError::Upload { .. }) if !alone => add_local(part, request(own), sink).await?,
        other => other?,
    };
    let (root, stats, findings) = (outcome.root, outcome.stats, outcome.findings);
    Ok(Made { root, stats, origin: SnapshotOrigin::Upload, findings, state: None })
}

async fn add_local(
    part: &ContentPart,
    request: LocalRequest,
    sink: &ProgressSink,
) -> std::result::Result<drydock_content::SyncOutcome, SyncError> {
    let content = part.content().clone();
    drydock_content::sync::blocking("taking uploaded files in", sink, move |sink| content.add_local(&request, sink)).await
}

/// The file of an UPLOAD job, as far as it is there.
fn staged(part: &ContentPart, job: &ContentJobRecord) -> Option<LocalFile> {
    let input: UploadInput = serde_json::from_str(job.input.as_deref()?).ok()?;
    let path = upload_path(part, &input);
    path.is_file().then_some(LocalFile { path, file_name: input.file_name })
}

fn upload_path(part: &ContentPart, input: &UploadInput) -> PathBuf {
    part.content().dir().join(UPLOADS).join(&input.staged)
}

/// Removes what a job that is over leaves behind.
pub(super) async fn clean_up(control: &Control, job: &ContentJobRecord) {
    let Ok(part) = control.content_part() else { return };
    let input = job.input.as_deref().and_then(|text| serde_json::from_str::<UploadInput>(text).ok());
    if let (ContentJobKind::Upload, Some(input)) = (job.kind, input) {
        let path = upload_path(part, &input);
        // What stays is removed with other old uploads.
        let _gone_or_later = blocking("remove an uploaded file", move || std::fs::remove_file(path)).await;
    }
}

/// Makes a result visible, or notes that nothing is new.
async fn store(
    control: &Control,
    part: &ContentPart,
    job: &ContentJobRecord,
    owner: &str,
    source: &SourceRecord,
    made: Made,
    sink: &ProgressSink,
) -> Done<()> {
    let root = made.root.to_string();
    let mut publication = None;
    for _ in 0..RACE_RETRIES {
        let mut c = control.read().await?;
        let newest = snapshots::newest(&mut c, source.id).await?;
        let pointer = pointers::find(&mut c, None, source.id).await?;
        drop(c);
        let head = if newest.as_ref().is_some_and(|n| n.root == root) {
            None
        } else {
            if publication.is_none() {
                publication = Some(part.publish(made.root, sink).await?);
            }
            let at = head_time(pointer.as_ref(), control.now());
            match &publication {
                Some(publication) => Some((at, head_json(part, publication, at).await?)),
                None => None,
            }
        };
        let message = match (&head, &newest) {
            (None, Some(newest)) => format!("nothing new; snapshot {} stays", newest.number),
            (_, newest) => summary(next_number(newest.as_ref()), &made.stats),
        };
        let attempt = Attempt { newest: newest.as_ref(), pointer: pointer.as_ref(), head, message: &message };
        if commit_result(control, (job, owner), source, &made, attempt).await? {
            clean_up(control, job).await;
            tracing::info!(job = %job.id, source = source.spec.name, message, "a content job succeeded");
            return Ok(());
        }
    }
    Err(Failure::because("the source's pointer was moved by others at the same time; sync it again"))
}

/// What a result is stored upon.
struct Attempt<'a> {
    /// The source's newest snapshot.
    newest: Option<&'a SnapshotRecord>,
    /// Its pointer `latest`.
    pointer: Option<&'a PointerRecord>,
    /// Date and content of the new head; `None`: nothing is new.
    head: Option<(jiff::Timestamp, String)>,
    message: &'a str,
}

/// One attempt to store a result. `false`: somebody else moved the pointer or took the number.
async fn commit_result(
    control: &Control,
    (job, owner): (&ContentJobRecord, &str),
    source: &SourceRecord,
    made: &Made,
    attempt: Attempt<'_>,
) -> Done<bool> {
    let Attempt { newest, pointer, head, message } = attempt;
    let now = control.now();
    let mut tx = control.begin().await?;
    let end = End { state: ContentJobState::Succeeded, message, findings: &made.findings, at: now };
    if !content_jobs::finish(&mut tx, job.id, owner, &end).await? {
        return Err(Failure::Lost);
    }
    if let Some((at, head)) = head {
        let snapshot = SnapshotRecord {
            id: SnapshotId(control.mint(now)),
            source: source.id,
            number: next_number(newest),
            root: made.root.to_string(),
            stats: made.stats,
            origin: made.origin,
            findings_total: u32::try_from(made.findings.len()).unwrap_or(u32::MAX),
            kept: false,
            created_at: now,
        };
        match snapshots::insert(&mut tx, &snapshot, &made.findings).await {
            Err(e) if e.is_duplicate() => return Ok(false),
            other => other?,
        }
        let step = Move {
            id: control.mint(now),
            environment: None,
            source: source.id,
            from: pointer,
            to: snapshot.id,
            to_number: snapshot.number,
            head: &head,
            at,
            who: &job.requested_by,
        };
        match pointers::move_to(&mut tx, &step).await {
            Err(e) if e.is_duplicate() => return Ok(false),
            other => {
                if !other? {
                    return Ok(false);
                }
            }
        }
    }
    // A specification that was edited meanwhile wants to be read anew.
    let same = sources::find(&mut tx, source.id).await?.is_some_and(|now| now.version == source.version);
    let state = made.state.as_deref().filter(|_| same);
    sources::set_synced(&mut tx, source.id, job.id, state, now).await?;
    commit(tx).await?;
    control.sources_moved();
    Ok(true)
}

fn next_number(newest: Option<&SnapshotRecord>) -> u32 {
    newest.map_or(1, |n| n.number.saturating_add(1))
}

fn summary(number: u32, stats: &SnapshotStats) -> String {
    let mut text = format!("snapshot {number}: {} packages", stats.packages);
    if stats.advisories > 0 {
        text = format!("{text}, {} advisories", stats.advisories);
    }
    if stats.modules > 0 {
        text = format!("{text}, {} module documents", stats.modules);
    }
    text
}

async fn collect(control: &Control, part: &ContentPart, job: &ContentJobRecord, owner: &str) -> Done<()> {
    let input: CollectInput = job.input.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut waited = Duration::ZERO;
    let report = loop {
        match control.collect(part, input.dry_run, control.now()).await {
            Err(Error::Conflict { message, .. }) if waited >= COLLECT_PATIENCE => return Err(Failure::because(message)),
            Err(Error::Conflict { .. }) => {
                tokio::time::sleep(COLLECT_LOOKS_EVERY).await;
                waited += COLLECT_LOOKS_EVERY;
            }
            other => break other?,
        }
    };
    let parts = [report.objects, report.blobs, report.metadata, report.others];
    let (files, bytes) = parts.iter().fold((0u64, 0u64), |(n, b), f| (n.saturating_add(f.count), b.saturating_add(f.bytes)));
    let message = format!("freed {files} files, {bytes} bytes");
    let mut tx = control.begin().await?;
    let end = End { state: ContentJobState::Succeeded, message: &message, findings: &[], at: control.now() };
    if !content_jobs::finish(&mut tx, job.id, owner, &end).await? {
        return Err(Failure::Lost);
    }
    Ok(commit(tx).await?)
}

fn write<T: Serialize>(value: &T) -> Done<String> {
    serde_json::to_string(value)
        .map_err(|e| Failure::Server(Error::Internal { doing: "write the state of a software source", source: Box::new(e) }))
}

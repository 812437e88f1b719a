//! Snapshots carried to a server without a network: written to a directory or tar, and taken in there. Both run on the
//! server's own machine, in a process of their own while the server serves.
//!
//! What is imported is whole and verified before a row refers to it; then one transaction for each source makes its
//! snapshots visible. Absent: a way to import into sources that have their packages from elsewhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use drydock_content::airgap::{self, Announced, ExportRequest, ExportedSnapshot};
use drydock_content::openpgp::{Keyring, OpenPgpError};
use drydock_content::snapshot;
use drydock_content::{ContentError, ProgressSink};
use drydock_domain::access::{Permission, Scope};
use drydock_domain::ids::{SnapshotId, SourceId};
use drydock_domain::source::filter::Selection;
use drydock_domain::source::job::SnapshotOrigin;
use drydock_domain::source::spec::{DownloadPolicy, Origin, SignatureCheck, SourceSpec};
use drydock_domain::source::unit::SnapshotStats;
use drydock_store::pointers::Move;
use drydock_store::source_records::{SnapshotRecord, SourceRecord};
use drydock_store::{Connection, commit, content_jobs, pointers, snapshots, sources};
use jiff::Timestamp;

use super::RACE_RETRIES;
use super::act::Act;
use super::describe::source_named;
use super::promotion::{head_json, head_time};
use super::secrets::redacted;
use super::snapshots::{root_of, select};
use super::sources::check_relations;
use crate::Control;
use crate::access_part::ROOT;
use crate::content_part::{ContentPart, blocking};
use crate::context::OpCtx;
use crate::error::{Error, Result};

pub use drydock_content::airgap::Place;

/// A snapshot as people name it: `NAME`, or `NAME@SELECTOR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotName {
    /// Name of the source.
    pub source: String,
    /// Number, id, `latest`, `as-of:TIME` or an environment.
    pub selector: String,
}

impl FromStr for SnapshotName {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (source, selector) = text.split_once('@').unwrap_or((text, "latest"));
        if source.is_empty() || selector.is_empty() {
            return Err("is SOURCE or SOURCE@SNAPSHOT, for example ol9-base@prod".to_owned());
        }
        Ok(SnapshotName { source: source.to_owned(), selector: selector.to_owned() })
    }
}

/// What to export.
#[derive(Debug, Clone)]
pub struct ExportSources {
    /// These snapshots.
    pub sources: Vec<SnapshotName>,
    /// Without what these have: they were exported before.
    pub since: Vec<SnapshotName>,
    /// With package files.
    pub packages: bool,
    /// Where to; nothing may be there.
    pub to: Place,
}

/// What was exported.
#[derive(Debug, Clone)]
pub struct ExportView {
    /// The snapshots.
    pub snapshots: Vec<ExportedSnapshot>,
    /// Files, count.
    pub files: u64,
    /// Their sizes, bytes.
    pub bytes: u64,
    /// Package files that are not in it, count.
    pub missing_packages: u64,
    /// The public keys of its signatures, armoured: what the other server is to be given.
    pub public_keys: Vec<String>,
}

/// What to import.
#[derive(Debug, Clone)]
pub struct ImportSources {
    /// Where from.
    pub from: Place,
    /// Public keys of servers whose exports are accepted, armoured.
    pub keys: Vec<String>,
    /// Make sources that are not there.
    pub create: bool,
}

/// What was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportView {
    /// Fingerprint of the key that signed the export.
    pub signed_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Files that were new here, count.
    pub new_files: u64,
    /// The sources.
    pub sources: Vec<ImportedSource>,
}

/// One source of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedSource {
    /// Its name.
    pub name: String,
    /// It was made now.
    pub created: bool,
    /// Its parent there, which is not here: the new source has none.
    pub parent_left_out: Option<String>,
    /// What became of its snapshots: their number there, and that.
    pub snapshots: Vec<(u32, Fate)>,
    /// Packages of these snapshots whose file is not here, count.
    pub missing_packages: u64,
}

/// What becomes of a snapshot of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is new, under this number here.
    New(u32),
    /// It was here already, under this number.
    Known(u32),
    /// It is older than the newest one imported before, and is left out.
    Older,
}

/// One source of an export.
struct Wanted {
    spec: SourceSpec,
    /// Oldest first.
    snapshots: Vec<ExportedSnapshot>,
}

/// The source that a part of an import goes to.
struct Target {
    record: SourceRecord,
    created: bool,
    parent_left_out: Option<String>,
    /// Its snapshots, oldest first.
    have: Vec<SnapshotRecord>,
}

impl Control {
    /// Writes snapshots into a directory or tar that another server can import, signed with the repository keys.
    pub async fn export_sources(&self, ctx: &OpCtx, request: &ExportSources) -> Result<ExportView> {
        let resource = shown(&request.to, &request.sources);
        let act = self.act(ctx, "content.export", resource, Permission::SourceManage).await?;
        let exported = async {
            let part = self.content_part()?;
            if request.sources.is_empty() {
                return Err(Error::invalid("source", "is missing; name at least one source to export"));
            }
            let _not_while_collecting = (part.collecting.read().await, part.hold_content().await?);
            let (snapshots, specs) = self.exported(&request.sources).await?;
            let since = self.exported(&request.since).await?.0.into_iter().map(|s| s.root).collect();
            let keys = part.keys().signing();
            let public_keys = keys.iter().map(|key| key.public_armored()).collect::<std::result::Result<_, _>>();
            let public_keys =
                public_keys.map_err(|e| Error::Internal { doing: "read the repository keys", source: Box::new(e) })?;
            let wanted = ExportRequest {
                snapshots: snapshots.clone(),
                sources: specs,
                packages: request.packages,
                since,
                to: request.to.clone(),
                now: ctx.now,
            };
            let content = part.content().clone();
            let written = move || airgap::export(content.objects(), &wanted, &keys, &ProgressSink::none()).map_err(|e| told(&e));
            let done = blocking("write an export", written).await??;
            let mut tx = self.begin().await?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            let airgap::Exported { files, bytes, missing_packages } = done;
            Ok(ExportView { snapshots, files, bytes, missing_packages, public_keys })
        }
        .await;
        act.settle(exported).await
    }

    /// Snapshots by source and number, each once, and the specifications of their sources without secrets.
    async fn exported(&self, names: &[SnapshotName]) -> Result<(Vec<ExportedSnapshot>, Vec<SourceSpec>)> {
        let mut c = self.read().await?;
        let (mut found, mut specs) = (BTreeMap::new(), BTreeMap::new());
        for name in names {
            let source = source_named(&mut c, &name.source).await?;
            let record = select(&mut c, &source, &name.selector).await?;
            let snapshot = ExportedSnapshot {
                root: root_of(&record)?,
                source: source.spec.name.clone(),
                number: record.number,
                format: source.spec.format,
                created_at: record.created_at,
            };
            found.insert((snapshot.source.clone(), snapshot.number), snapshot);
            specs.insert(source.spec.name.clone(), redacted(source.spec));
        }
        Ok((found.into_values().collect(), specs.into_values().collect()))
    }

    /// Takes an export in, which must be signed with one of the given keys: all of a source's snapshots at once, or
    /// none. Importing it twice changes nothing.
    pub async fn import_sources(&self, ctx: &OpCtx, request: &ImportSources) -> Result<ImportView> {
        let act = self.act(ctx, "content.import", shown(&request.from, &[]), Permission::SourceManage).await?;
        let imported = async {
            let part = self.content_part()?;
            let trusted = Keyring::parse(&request.keys).map_err(|e| Error::invalid("key", e.to_string()))?;
            if trusted.is_empty() {
                return Err(Error::invalid("key", "is missing; give the repository key of the server that made the export"));
            }
            let _not_while_collecting = (part.collecting.read().await, part.hold_content().await?);
            // Before gigabytes are read.
            let trusted = Arc::new(trusted);
            let (content, from, keys, now) = (part.content().clone(), request.from.clone(), trusted.clone(), ctx.now);
            let look = move || airgap::announced(content.objects(), &from, &keys, now).map_err(|e| told(&e));
            let announced = blocking("look into an export", look).await??;
            self.check_import(ctx, &by_source(&announced)?, request.create).await?;

            let (content, from) = (part.content().clone(), request.from.clone());
            let read =
                move || airgap::import(content.objects(), &from, &trusted, now, &ProgressSink::none()).map_err(|e| told(&e));
            let read = blocking("read an export", read).await??;
            // Somebody may have put another export there meanwhile: what was verified counts.
            let wanted = by_source(&read.announced)?;
            self.check_import(ctx, &wanted, request.create).await?;
            let mut view = ImportView {
                signed_by: read.announced.signed_by,
                created_at: read.announced.created_at,
                new_files: read.files,
                sources: Vec::new(),
            };
            for wanted in &wanted {
                view.sources.push(self.take_in(ctx, part, wanted, request.create, &act).await?);
            }
            Ok(view)
        }
        .await;
        act.settle(imported).await
    }

    async fn check_import(&self, ctx: &OpCtx, wanted: &[Wanted], create: bool) -> Result<()> {
        let missing = self.missing(wanted).await?;
        if !create && !missing.is_empty() {
            return Err(Error::conflict(format!(
                "there is no software source {}; import with --create to make it as a local source",
                missing.join(", ")
            )));
        }
        let mut c = self.read().await?;
        for wanted in wanted {
            target(self, &mut c, ctx, wanted, None).await?;
        }
        Ok(())
    }

    async fn missing(&self, wanted: &[Wanted]) -> Result<Vec<String>> {
        let mut c = self.read().await?;
        let mut missing = Vec::new();
        for wanted in wanted {
            if sources::find_by_name(&mut c, &wanted.spec.name).await?.is_none() {
                missing.push(wanted.spec.name.clone());
            }
        }
        Ok(missing)
    }

    /// Makes the snapshots of one source visible.
    async fn take_in(
        &self,
        ctx: &OpCtx,
        part: &ContentPart,
        wanted: &Wanted,
        create: bool,
        act: &Act<'_>,
    ) -> Result<ImportedSource> {
        let name = &wanted.spec.name;
        let (stats, suite) = facts(part, wanted).await?;
        for _ in 0..RACE_RETRIES {
            let target = target(self, &mut *self.read().await?, ctx, wanted, suite.as_deref()).await?;
            if target.created && !create {
                return Err(Error::conflict(format!("software source {name} was deleted meanwhile; import again")));
            }
            let fates = fates(&target.have, &wanted.snapshots);
            // Before a row refers to them: what is visible is served.
            let missing_packages = index(part, wanted, target.record.id).await?;
            if fates.iter().any(|fate| matches!(fate, Fate::New(_)))
                && !self.commit_import(ctx, part, wanted, &target, (&fates, &stats), act).await?
            {
                continue;
            }
            return Ok(ImportedSource {
                name: name.clone(),
                created: target.created,
                parent_left_out: target.parent_left_out,
                snapshots: wanted.snapshots.iter().map(|s| s.number).zip(fates).collect(),
                missing_packages,
            });
        }
        Err(Error::conflict(format!("software source {name} is changed by others at the same time; import again")))
    }

    /// One attempt. `false`: somebody else made the source, took a number or moved the pointer.
    async fn commit_import(
        &self,
        ctx: &OpCtx,
        part: &ContentPart,
        wanted: &Wanted,
        target: &Target,
        (fates, stats): (&[Fate], &[SnapshotStats]),
        act: &Act<'_>,
    ) -> Result<bool> {
        let name = &wanted.spec.name;
        let source = target.record.id;
        let mut rows = Vec::new();
        for ((theirs, fate), stats) in wanted.snapshots.iter().zip(fates).zip(stats) {
            let Fate::New(number) = fate else { continue };
            rows.push(SnapshotRecord {
                id: SnapshotId(self.mint(ctx.now)),
                source,
                number: *number,
                root: theirs.root.to_string(),
                stats: *stats,
                origin: SnapshotOrigin::Import,
                findings_total: 0,
                kept: false,
                created_at: theirs.created_at,
            });
        }
        let Some(last) = rows.last() else { return Ok(true) };
        let pointer = pointers::find(&mut *self.read().await?, None, source).await?;
        let published = part.publish(root_of(last)?, &ProgressSink::none()).await;
        let publication = published.map_err(|e| Error::Internal { doing: "publish a snapshot", source: Box::new(e) })?;
        let at = head_time(pointer.as_ref(), ctx.now);
        let head = head_json(part, &publication, at).await?;

        let mut tx = self.begin().await?;
        if target.created {
            check_relations(&mut tx, &target.record.spec, None, &Scope::Everywhere).await?;
            match sources::insert(&mut tx, &target.record).await {
                Err(e) if e.is_duplicate() => return Ok(false),
                other => other?,
            }
        }
        refuse_busy(&mut tx, &target.record).await?;
        for row in &rows {
            match snapshots::insert(&mut tx, row, &[]).await {
                Err(e) if e.is_duplicate() || e.is_referenced() => return Ok(false),
                other => other?,
            }
        }
        let who = ctx.who.name();
        let step = Move {
            id: self.mint(ctx.now),
            environment: None,
            source,
            from: pointer.as_ref(),
            to: last.id,
            to_number: last.number,
            head: &head,
            at,
            who: &who,
        };
        match pointers::move_to(&mut tx, &step).await {
            Err(e) if e.is_duplicate() || e.is_referenced() => return Ok(false),
            Ok(false) => return Ok(false),
            other => other?,
        };
        let numbers = rows.iter().map(|row| row.number.to_string()).collect::<Vec<_>>().join(", ");
        act.allowed_on(&mut tx, &format!("software-source {name}, snapshot {numbers}")).await?;
        commit(tx).await?;
        self.sources_moved();
        tracing::info!(source = name, snapshots = numbers, "snapshots were imported");
        Ok(true)
    }
}

/// What an export holds, source by source; sources that belong to none come first.
fn by_source(announced: &Announced) -> Result<Vec<Wanted>> {
    let mut snapshots: BTreeMap<&str, Vec<ExportedSnapshot>> = BTreeMap::new();
    for snapshot in &announced.snapshots {
        snapshots.entry(&snapshot.source).or_default().push(snapshot.clone());
    }
    let mut all = Vec::new();
    for (name, mut snapshots) in snapshots {
        snapshots.sort_by_key(|s| s.number);
        let spec = announced.sources.iter().find(|spec| spec.name == name).cloned();
        let spec = spec.filter(|spec| snapshots.iter().all(|s| s.format == spec.format));
        let spec = spec.ok_or_else(|| Error::conflict(format!("the export does not say what the source {name} is")))?;
        all.push(Wanted { spec, snapshots });
    }
    all.sort_by_key(|wanted| wanted.spec.parent.is_some());
    Ok(all)
}

/// The source an import goes to: the one of that name, or a new one. `suite`: the name a deb snapshot was published under.
async fn target(control: &Control, c: &mut Connection, ctx: &OpCtx, wanted: &Wanted, suite: Option<&str>) -> Result<Target> {
    let name = &wanted.spec.name;
    let Some(record) = sources::find_by_name(c, name).await? else {
        let mut spec = local(&wanted.spec, suite);
        let parent_left_out = match &spec.parent {
            Some(parent) if sources::find_by_name(c, parent).await?.is_none() => spec.parent.take(),
            _ => None,
        };
        spec.validate()?;
        let record = SourceRecord {
            id: SourceId(control.mint(ctx.now)),
            spec,
            compartment: ROOT.to_owned(),
            last_sync_at: None,
            last_job: None,
            failures: 0,
            created_by: ctx.who.name(),
            created_at: ctx.now,
            version: 1,
        };
        return Ok(Target { record, created: true, parent_left_out, have: Vec::new() });
    };
    if !matches!(record.spec.origin, Origin::Local { .. }) {
        let message = format!("software source {name} takes its packages from elsewhere; only a local one takes imports");
        return Err(Error::conflict(message));
    }
    if record.spec.format != wanted.spec.format {
        let (here, there) = (record.spec.format.as_str(), wanted.spec.format.as_str());
        return Err(Error::conflict(format!("software source {name} is {here} here and {there} in the export")));
    }
    refuse_busy(c, &record).await?;
    let have = snapshots::uses(c, record.id).await?.into_iter().map(|used| used.snapshot).collect();
    Ok(Target { record, created: false, parent_left_out: None, have })
}

/// An upload that began before an import would put what the source had then on top of it.
async fn refuse_busy(c: &mut Connection, record: &SourceRecord) -> Result<()> {
    if content_jobs::open(c, Some(record.id)).await?.is_empty() {
        return Ok(());
    }
    let name = &record.spec.name;
    Err(Error::conflict(format!("a content job of software source {name} waits or is at work; import when it has ended")))
}

/// The specification of the source that holds what another server had from `there`.
fn local(there: &SourceSpec, suite: Option<&str>) -> SourceSpec {
    SourceSpec {
        origin: Origin::Local { suite: suite.unwrap_or("local").to_owned() },
        signatures: SignatureCheck::default(),
        compartment: None,
        policy: DownloadPolicy::default(),
        selection: Selection::default(),
        sync_interval_secs: None,
        ..there.clone()
    }
}

/// What becomes of each snapshot, oldest first. A snapshot is the same when its content is, and the time it was made: a
/// source may come back to what it had before.
fn fates(have: &[SnapshotRecord], theirs: &[ExportedSnapshot]) -> Vec<Fate> {
    let imported = |s: &&SnapshotRecord| s.origin == SnapshotOrigin::Import;
    let newest_import = have.iter().filter(imported).map(|s| s.created_at).max();
    let mut last = have.last().map(|s| (s.number, s.root.clone()));
    let mut fates = Vec::new();
    for snapshot in theirs {
        let root = snapshot.root.to_string();
        let same = |s: &&SnapshotRecord| s.root == root && s.created_at == snapshot.created_at;
        fates.push(match (have.iter().filter(imported).find(same), &last) {
            (Some(known), _) => Fate::Known(known.number),
            (None, _) if newest_import.is_some_and(|newest| snapshot.created_at < newest) => Fate::Older,
            (None, Some((number, newest))) if *newest == root => Fate::Known(*number),
            (None, newest) => {
                let number = newest.as_ref().map_or(1, |(number, _)| number.saturating_add(1));
                last = Some((number, root));
                Fate::New(number)
            }
        });
    }
    fates
}

/// The sizes of each snapshot, and the name the last one was published under (deb).
async fn facts(part: &ContentPart, wanted: &Wanted) -> Result<(Vec<SnapshotStats>, Option<String>)> {
    let (content, roots) = (part.content().clone(), roots(wanted));
    let read = move || {
        let (mut stats, mut suite) = (Vec::new(), None);
        for root in roots {
            let doc = snapshot::load(content.objects(), &root).map_err(|e| told(&e))?;
            suite = doc.deb.map(|deb| deb.dist);
            stats.push(doc.stats);
        }
        Ok((stats, suite))
    };
    blocking("read an imported snapshot", read).await?
}

/// Notes the packages as the source's; how many of them have no file here.
async fn index(part: &ContentPart, wanted: &Wanted, source: SourceId) -> Result<u64> {
    let (content, roots) = (part.content().clone(), roots(wanted));
    let index = move || {
        let mut missing = 0u64;
        for root in roots {
            missing = missing.max(airgap::index_units(&content, &root, source).map_err(|e| told(&e))?);
        }
        Ok(missing)
    };
    blocking("note the packages of an imported snapshot", index).await?
}

fn roots(wanted: &Wanted) -> Vec<snapshot::SnapshotRoot> {
    wanted.snapshots.iter().map(|s| s.root).collect()
}

/// How audit records name an export.
fn shown(place: &Place, sources: &[SnapshotName]) -> String {
    let (Place::Directory(path) | Place::Tar(path)) = place;
    let path: &Path = path;
    let names = sources.iter().map(|s| format!("{}@{}", s.source, s.selector)).collect::<Vec<_>>().join(", ");
    if names.is_empty() { format!("export {}", path.display()) } else { format!("export {} ({names})", path.display()) }
}

/// A failure in the words of the machine's own operator, who alone calls this: paths and reasons are theirs to know.
fn told(error: &ContentError) -> Error {
    Error::conflict(match error {
        ContentError::OpenPgp(OpenPgpError::UnknownKey { signers, known }) => format!(
            "the export is signed by {}, and the given keys are {}; give the repository key of the server that made it \
             (there: drydock content keys -o json)",
            signers.join(", "),
            known.join(", ")
        ),
        ContentError::OpenPgp(other) => format!("the export's manifest is not accepted: {other}"),
        ContentError::Io { source, .. } => format!("{error}: {source}"),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use drydock_domain::source::unit::Format;
    use uuid::Uuid;

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).expect("in range")
    }

    fn root(n: u8) -> snapshot::SnapshotRoot {
        format!("{n:02x}").repeat(32).parse().expect("a root")
    }

    fn theirs(number: u32, of: u8, made: i64) -> ExportedSnapshot {
        ExportedSnapshot { root: root(of), source: "a".into(), number, format: Format::Rpm, created_at: at(made) }
    }

    fn ours(number: u32, of: u8, made: i64, origin: SnapshotOrigin) -> SnapshotRecord {
        SnapshotRecord {
            id: SnapshotId(Uuid::from_u128(u128::from(number))),
            source: SourceId(Uuid::from_u128(1)),
            number,
            root: root(of).to_string(),
            stats: SnapshotStats::default(),
            origin,
            findings_total: 0,
            kept: false,
            created_at: at(made),
        }
    }

    #[test]
    fn snapshots_are_known_again_and_older_ones_never_come_on_top() {
        use SnapshotOrigin::{Import, Upload};
        // There: A, B, and A again.
        let three = [theirs(4, 0xa, 10), theirs(5, 0xb, 20), theirs(6, 0xa, 30)];
        assert_eq!(fates(&[], &three), [Fate::New(1), Fate::New(2), Fate::New(3)]);
        let here = [ours(1, 0xa, 10, Import), ours(2, 0xb, 20, Import)];
        assert_eq!(fates(&here, &three), [Fate::Known(1), Fate::Known(2), Fate::New(3)]);
        assert_eq!(fates(&here[1..], &three[..1]), [Fate::Older], "its row was retired");
        assert_eq!(fates(&[ours(1, 0xc, 99, Upload)], &three[..1]), [Fate::New(2)], "an upload's time says nothing");
        assert_eq!(fates(&[ours(3, 0xa, 99, Upload)], &three[..1]), [Fate::Known(3)], "the same content is no news");
    }

    #[test]
    fn snapshots_are_named_with_and_without_a_selector() {
        let name = |text: &str| text.parse::<SnapshotName>().map(|n| (n.source, n.selector));
        assert_eq!(name("base"), Ok(("base".into(), "latest".into())));
        assert_eq!(name("base@as-of:2026-11-01T00:00:00Z"), Ok(("base".into(), "as-of:2026-11-01T00:00:00Z".into())));
        assert!(name("@prod").is_err() && name("base@").is_err());
    }
}

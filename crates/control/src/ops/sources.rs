//! Software sources: made, edited, synced on request, filled by uploads, deleted when nothing needs them.

use std::io::Read;
use std::path::{Path, PathBuf};

use drydock_domain::access::{Permission, Scope};
use drydock_domain::ids::{ContentJobId, SourceId};
use drydock_domain::source::job::{ContentJobKind, ContentJobState, JobProgress};
use drydock_domain::source::spec::{Origin, SourceSpec};
use drydock_domain::source::unit::Format;
use drydock_domain::validate::Problems;
use drydock_store::compartments::Kind;
use drydock_store::records::Paged;
use drydock_store::source_records::{ContentJobRecord, SourceQuery, SourceRecord};
use drydock_store::{Connection, Tx, attachments, commit, content_jobs, instances, sources};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::RACE_RETRIES;
use super::describe::{Names, Sight, no_source, source_named, source_views};
use super::secrets::merged;
use crate::Control;
use crate::content_part::blocking;
use crate::content_views::{ContentJobView, SourceView};
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Software sources one server holds, count: reconcilers look at all of them each turn.
const SOURCES_MAX: usize = 2000;
/// How deep custom sources take from custom sources, count.
const DERIVATION_DEPTH_MAX: usize = 8;
/// Longest name of an uploaded file, bytes.
const FILE_NAME_MAX_BYTES: usize = 255;
/// Uploads that wait for one source, count: each holds a staged file.
const UPLOADS_WAITING_MAX: usize = 1000;
/// Names shown in a refusal, count.
const NAMES_SHOWN: usize = 5;
/// Directory of staged uploads below the content's own.
pub(crate) const UPLOADS: &str = "uploads";

/// What an UPLOAD job works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UploadInput {
    /// Name of the staged file below [`UPLOADS`].
    pub(crate) staged: String,
    /// Its name as uploaded.
    pub(crate) file_name: String,
}

impl Control {
    /// Makes a software source. One with an upstream is first synced when asked, or at once when it has
    /// an interval.
    pub async fn create_source(&self, ctx: &OpCtx, mut spec: SourceSpec) -> Result<SourceView> {
        let asked = spec.compartment.take();
        let resource = format!("software-source {}", spec.name);
        let (act, compartment) = self.act_in(ctx, "source.create", asked.as_deref(), resource).await?;
        let made = async {
            self.content_part()?;
            spec.validate()?;
            let readable = self.readable_sources(ctx).await?;
            let record = SourceRecord {
                id: SourceId(self.mint(ctx.now)),
                spec,
                compartment,
                last_sync_at: None,
                last_job: None,
                failures: 0,
                created_by: ctx.who.name(),
                created_at: ctx.now,
                version: 1,
            };
            let mut tx = self.begin().await?;
            check_relations(&mut tx, &record.spec, None, &readable).await?;
            match sources::insert(&mut tx, &record).await {
                Err(e) if e.is_duplicate() => {
                    return Err(Error::conflict(format!("a software source {} exists already", record.spec.name)));
                }
                other => other?,
            }
            if let Origin::Local { .. } = record.spec.origin {
                // Its first snapshot has nothing in it: hosts can have the source before the first upload.
                let job = self.new_content_job(ContentJobKind::Upload, Some(record.id), None, &record.created_by, ctx.now);
                content_jobs::insert(&mut tx, &job).await?;
            }
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            self.wake();
            self.one_view(ctx, record).await
        }
        .await;
        act.settle(made).await
    }

    /// Software sources by name.
    pub async fn list_sources(&self, ctx: &OpCtx, query: &SourceQuery) -> Result<Paged<SourceView>> {
        let scope = self.scope(ctx, "source.list", Permission::SourceRead).await?;
        let mut problems = Problems::default();
        problems.text("q", &query.name_contains, FILE_NAME_MAX_BYTES);
        problems.finish()?;
        let mut c = self.read().await?;
        let page = sources::list(&mut c, query, &scope).await?;
        let names = Names::read(&mut c).await?.seen_by(self.sight(ctx).await?);
        let items = source_views(&mut c, page.items, &names).await?;
        Ok(Paged { items, next_cursor: page.next_cursor })
    }

    /// One software source.
    pub async fn get_source(&self, ctx: &OpCtx, name: &str) -> Result<SourceView> {
        self.known(ctx, "source.show", Kind::Source, name).await?;
        let record = source_named(&mut *self.read().await?, name).await?;
        self.one_view(ctx, record).await
    }

    /// Replaces a source's specification. Name, format and kind of origin stay; secrets that are left out stay, too.
    /// `if_match`: the etag the caller read, or `*`.
    pub async fn edit_source(&self, ctx: &OpCtx, name: &str, mut spec: SourceSpec, if_match: Option<&str>) -> Result<SourceView> {
        let act = self.act_on(ctx, "source.edit", self.about(Kind::Source, name).await?).await?;
        let edited = async {
            self.content_part()?;
            let asked = spec.compartment.take();
            let readable = self.readable_sources(ctx).await?;
            for _ in 0..RACE_RETRIES {
                let record = source_named(&mut *self.read().await?, name).await?;
                if if_match.filter(|tag| *tag != "*").is_some_and(|tag| tag != record.version.to_string()) {
                    let message = format!("software source {name} was changed meanwhile; read it again, then edit");
                    return Err(Error::Conflict { message, stale: true });
                }
                self.stays(asked.as_deref(), &record.compartment).await?;
                let spec = merged(&record.spec, spec.clone());
                spec.check_edit(&record.spec)?;
                spec.validate()?;
                let mut tx = self.begin().await?;
                check_relations(&mut tx, &spec, Some(&record.spec), &readable).await?;
                if sources::edit(&mut tx, record.id, &spec, record.version).await? {
                    if shapes_content(&record.spec) != shapes_content(&spec) {
                        sources::forget_sync_state(&mut tx, record.id).await?;
                    }
                    act.allowed(&mut tx).await?;
                    commit(tx).await?;
                    self.sources_moved();
                    let after = sources::find(&mut *self.read().await?, record.id).await?;
                    return self.one_view(ctx, after.ok_or_else(|| no_source(name))?).await;
                }
            }
            Err(Error::conflict(format!("software source {name} is changed by others at the same time; try again")))
        }
        .await;
        act.settle(edited).await
    }

    /// Deletes a source with its snapshots, when nothing is attached to it, takes from it or belongs to it.
    pub async fn delete_source(&self, ctx: &OpCtx, name: &str) -> Result<()> {
        let act = self.act_on(ctx, "source.delete", self.about(Kind::Source, name).await?).await?;
        let deleted = async {
            let part = self.content_part()?;
            let sight = self.sight(ctx).await?;
            let record = source_named(&mut *self.read().await?, name).await?;
            let mut tx = self.begin().await?;
            refuse_used(&mut tx, &record, &sight).await?;
            match sources::delete(&mut tx, record.id, record.version).await {
                Ok(true) => {}
                Ok(false) => return Err(changed_meanwhile(name)),
                Err(e) if e.is_referenced() => return Err(changed_meanwhile(name)),
                Err(e) => return Err(e.into()),
            }
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            self.sources_moved();
            let content = part.content().clone();
            let forgotten = blocking("forget the units of a source", move || content.units().remove_source(record.id)).await?;
            if let Err(error) = forgotten {
                // Rows are gone; what is left are files that nobody reads.
                tracing::warn!(%error, source = name, "the index of a deleted software source is left behind");
            }
            Ok(())
        }
        .await;
        act.settle(deleted).await
    }

    /// Asks for a sync (or, for a custom source, for a derivation). One that waits already is returned.
    pub async fn sync_source(&self, ctx: &OpCtx, name: &str) -> Result<ContentJobView> {
        let act = self.act_on(ctx, "source.sync", self.about(Kind::Source, name).await?).await?;
        let asked = async {
            self.content_part()?;
            let record = source_named(&mut *self.read().await?, name).await?;
            let kind = match record.spec.origin {
                Origin::Upstream(_) => ContentJobKind::Sync,
                Origin::Sources { .. } => ContentJobKind::Derive,
                Origin::Local { .. } => {
                    let message = format!("software source {name} is filled by uploads (drydock source upload), not synced");
                    return Err(Error::conflict(message));
                }
            };
            let mut tx = self.begin().await?;
            let job = self.new_content_job(kind, Some(record.id), None, &ctx.who.name(), ctx.now);
            let job = if content_jobs::insert(&mut tx, &job).await? {
                job
            } else {
                let waiting = content_jobs::waiting(&mut tx, record.id, kind).await?;
                waiting.ok_or_else(|| Error::conflict("the source's jobs change at the same time; try again"))?
            };
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            self.wake();
            Ok(Names::read(&mut *self.read().await?).await?.job(job))
        }
        .await;
        act.settle(asked).await
    }

    /// May the caller upload to this source? Asked before the body of an upload is read.
    pub async fn may_upload(&self, ctx: &OpCtx, name: &str) -> Result<()> {
        let act = self.act_on(ctx, "source.upload", self.about(Kind::Source, name).await?).await?;
        let may = async {
            self.content_part()?;
            self.local_source(name).await.map(drop)
        };
        act.settle(may.await).await
    }

    /// Takes an uploaded package file into a local source: a job adds it and makes a snapshot. The file is moved away,
    /// or copied when that cannot be done; the caller removes what is left.
    pub async fn upload_unit(&self, ctx: &OpCtx, name: &str, file: &Path, file_name: &str) -> Result<ContentJobView> {
        let about = self.about(Kind::Source, name).await?.called(format!("software-source {name}, file {file_name}"));
        let act = self.act_on(ctx, "source.upload", about).await?;
        let taken = async {
            let part = self.content_part()?;
            let record = self.local_source(name).await?;
            check_file_name(record.spec.format, file_name)?;
            let waiting = content_jobs::open(&mut *self.read().await?, Some(record.id)).await?;
            if waiting.len() >= UPLOADS_WAITING_MAX {
                return Err(Error::conflict(format!("{UPLOADS_WAITING_MAX} uploads wait for {name}; try again later")));
            }
            let staged = self.mint(ctx.now).to_string();
            let (from, dir, to) = (file.to_owned(), part.content().dir().join(UPLOADS), staged.clone());
            let format = record.spec.format;
            blocking("stage an upload", move || stage(format, &from, &dir, &to)).await??;
            let input = UploadInput { staged: staged.clone(), file_name: file_name.to_owned() };
            let input =
                serde_json::to_string(&input).map_err(|e| Error::Internal { doing: "write a job", source: Box::new(e) })?;
            let job = self.new_content_job(ContentJobKind::Upload, Some(record.id), Some(input), &ctx.who.name(), ctx.now);
            let mut tx = self.begin().await?;
            content_jobs::insert(&mut tx, &job).await?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            self.wake();
            Ok(Names::read(&mut *self.read().await?).await?.job(job))
        }
        .await;
        act.settle(taken).await
    }

    async fn local_source(&self, name: &str) -> Result<SourceRecord> {
        let record = source_named(&mut *self.read().await?, name).await?;
        match record.spec.origin {
            Origin::Local { .. } => Ok(record),
            _ => Err(Error::conflict(format!(
                "software source {name} takes its packages from elsewhere; only a local one takes uploads"
            ))),
        }
    }

    /// Which sources and environments the caller may know of.
    pub(super) async fn sight(&self, ctx: &OpCtx) -> Result<Sight> {
        Ok(Sight {
            sources: self.scope_of(&ctx.who, "source.list", None, ctx.now).await?,
            environments: self.scope_of(&ctx.who, "environment.list", None, ctx.now).await?,
            groups: self.scope_of(&ctx.who, "group.list", None, ctx.now).await?,
            instances: self.host_scope(ctx).await?,
        })
    }

    /// Where the caller may read sources: others can be taken from as little as what is not there.
    pub(super) async fn readable_sources(&self, ctx: &OpCtx) -> Result<Scope> {
        self.scope_of(&ctx.who, "source.show", None, ctx.now).await
    }

    async fn one_view(&self, ctx: &OpCtx, record: SourceRecord) -> Result<SourceView> {
        let name = record.spec.name.clone();
        let sight = self.sight(ctx).await?;
        let mut c = self.read().await?;
        let names = Names::read(&mut c).await?.seen_by(sight);
        let views = source_views(&mut c, vec![record], &names).await?;
        views.into_iter().next().ok_or_else(|| no_source(&name))
    }

    /// A job that waits, not stored yet.
    pub(crate) fn new_content_job(
        &self,
        kind: ContentJobKind,
        source: Option<SourceId>,
        input: Option<String>,
        requested_by: &str,
        now: Timestamp,
    ) -> ContentJobRecord {
        ContentJobRecord {
            id: ContentJobId(self.mint(now)),
            kind,
            source,
            state: ContentJobState::Pending,
            input,
            progress: JobProgress::default(),
            message: String::new(),
            findings_total: 0,
            requested_by: requested_by.to_owned(),
            created_at: now,
            started_at: None,
            finished_at: None,
            attempts: 0,
            lease_owner: None,
            lease_until: None,
            cancel_requested: false,
            version: 1,
        }
    }
}

/// Parent and origins exist, may be read by whoever names them anew (they lie in `readable`, or are in `before`), are of the
/// same format, and nothing takes from itself.
pub(super) async fn check_relations(
    c: &mut Connection,
    spec: &SourceSpec,
    before: Option<&SourceSpec>,
    readable: &Scope,
) -> Result<()> {
    let names = Names::read(c).await?;
    let said_before = |name: &str| {
        before.is_some_and(|old| {
            let takes = matches!(&old.origin, Origin::Sources { from } if from.iter().any(|own| own == name));
            takes || old.parent.as_deref() == Some(name)
        })
    };
    let known = |name: &str| names.outline_of(name).filter(|own| readable.holds_in(&own.compartment) || said_before(name));
    let mut problems = Problems::default();
    if names.sources.len() >= SOURCES_MAX && names.outline_of(&spec.name).is_none() {
        problems.add("name", format!("there are {SOURCES_MAX} software sources already; delete some"));
    }
    if let Some(parent) = &spec.parent {
        match known(parent) {
            _ if *parent == spec.name => problems.add("parent", "is the source itself"),
            None => problems.add("parent", format!("there is no software source {parent}")),
            Some(p) if p.format != spec.format => problems.add("parent", format!("{parent} is of another format")),
            Some(p) if p.parent.is_some() => problems.add("parent", format!("{parent} has a parent itself; name that one")),
            Some(_) if names.sources.iter().any(|s| s.parent.as_deref() == Some(&spec.name)) => {
                problems.add("parent", format!("{} is a parent itself", spec.name));
            }
            Some(_) => {}
        }
    }
    if let Origin::Sources { from } = &spec.origin {
        for name in from {
            match known(name) {
                _ if *name == spec.name => problems.add("origin.sources.from", "holds the source itself"),
                None => problems.add("origin.sources.from", format!("there is no software source {name}")),
                Some(s) if s.format != spec.format => {
                    problems.add("origin.sources.from", format!("{name} is of another format"));
                }
                Some(_) => {}
            }
        }
        if let Some(why) = derivation_problem(&names, &spec.name, from) {
            problems.add("origin.sources.from", why);
        }
    }
    Ok(problems.finish()?)
}

/// Does `name`, taking from `from`, take from itself on some way, or from too far?
fn derivation_problem(names: &Names, name: &str, from: &[String]) -> Option<String> {
    let mut level: Vec<&str> = from.iter().map(String::as_str).collect();
    for _ in 0..DERIVATION_DEPTH_MAX {
        if level.is_empty() {
            return None;
        }
        if level.contains(&name) {
            return Some(format!("{name} would take from itself"));
        }
        let mut next: Vec<&str> =
            level.iter().filter_map(|n| names.outline_of(n)).flat_map(|s| s.from.iter().map(String::as_str)).collect();
        next.sort_unstable();
        next.dedup();
        level = next;
    }
    Some(format!("custom sources take from each other more than {DERIVATION_DEPTH_MAX} levels deep"))
}

/// The parts of a specification that decide what a snapshot holds.
fn shapes_content(spec: &SourceSpec) -> impl PartialEq + '_ {
    (&spec.origin, &spec.architectures, &spec.keys, &spec.signatures, &spec.policy, &spec.selection)
}

async fn refuse_used(tx: &mut Tx, record: &SourceRecord, sight: &Sight) -> Result<()> {
    /// In the place of what the caller may not know of.
    const UNSEEN: &str = "something that you may not see";
    let name = &record.spec.name;
    let uses = |s: &drydock_store::source_records::SourceOutline| {
        s.parent.as_deref() == Some(name.as_str()) || s.from.iter().any(|f| f == name)
    };
    let shown = |s: drydock_store::source_records::SourceOutline| {
        if sight.sources.holds_in(&s.compartment) { s.name } else { UNSEEN.to_owned() }
    };
    let mut users: Vec<String> = sources::outlines(tx).await?.into_iter().filter(uses).map(shown).collect();
    users.dedup();
    if !users.is_empty() {
        return Err(Error::conflict(format!("software source {name} is needed by {}", first(&users))));
    }
    let mut targets = Vec::new();
    for attachment in attachments::of_source(tx, record.id).await? {
        use drydock_domain::source::resolve::AttachedTo;
        let (what, lies, seen) = match attachment.target {
            AttachedTo::Instance(id) => {
                let found = instances::find(tx, id).await?.map(|i| (i.name, i.compartment));
                ("instance", found, &sight.instances)
            }
            AttachedTo::Group(id) => {
                let found = drydock_store::groups::find(tx, id).await?.map(|g| (g.name, g.compartment));
                ("group", found, &sight.groups)
            }
            AttachedTo::Environment(id) => {
                let found = drydock_store::environments::find(tx, id).await?.map(|e| (e.spec.name, e.compartment));
                ("environment", found, &sight.environments)
            }
        };
        targets.push(match lies {
            Some((name, compartment)) if seen.holds_in(&compartment) => format!("{what} {name}"),
            _ => UNSEEN.to_owned(),
        });
        targets.dedup();
        if targets.len() > NAMES_SHOWN {
            break;
        }
    }
    if targets.is_empty() {
        return Ok(());
    }
    Err(Error::conflict(format!("software source {name} is attached to {}; detach it first", first(&targets))))
}

fn first(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_SHOWN { format!("{shown} and others") } else { shown }
}

fn changed_meanwhile(name: &str) -> Error {
    Error::conflict(format!("software source {name} was changed or attached meanwhile; try again"))
}

fn check_file_name(format: Format, name: &str) -> Result<()> {
    let ending = format!(".{}", format.as_str());
    let plain = !name.contains(['/', '\\', '\0']) && !name.chars().any(char::is_control);
    if !plain || name.len() > FILE_NAME_MAX_BYTES || !name.ends_with(&ending) || name.starts_with('.') {
        return Err(Error::invalid(
            "fileName",
            format!("is the name of a package file, ending in {ending}, without directories"),
        ));
    }
    Ok(())
}

/// Moves an uploaded file to where its job finds it, whenever that runs. What it holds is checked by the job; only a
/// file that cannot be a package is refused here.
fn stage(format: Format, from: &Path, dir: &Path, name: &str) -> Result<()> {
    let failed = |doing: &'static str| {
        move |e: std::io::Error| {
            if e.kind() == std::io::ErrorKind::StorageFull {
                Error::Unavailable { message: "the disk of the server's content is full: make room there", source: None }
            } else {
                Error::Internal { doing, source: Box::new(e) }
            }
        }
    };
    let magic: &[u8] = match format {
        Format::Rpm => &[0xed, 0xab, 0xee, 0xdb],
        Format::Deb => b"!<arch>\n",
    };
    let mut begin = Vec::new();
    let mut file = std::fs::File::open(from).map_err(failed("read an uploaded file"))?;
    file.by_ref().take(8).read_to_end(&mut begin).map_err(failed("read an uploaded file"))?;
    if !begin.starts_with(magic) {
        return Err(Error::invalid("file", format!("is no {} package", format.as_str())));
    }
    std::fs::create_dir_all(dir).map_err(failed("make the directory of uploads"))?;
    let to: PathBuf = dir.join(name);
    if std::fs::rename(from, &to).is_err() {
        let part = dir.join(format!("{name}.part"));
        std::fs::copy(from, &part).map_err(failed("store an uploaded file"))?;
        std::fs::rename(&part, &to).map_err(failed("store an uploaded file"))?;
    }
    // The job's row must not outlive a power cut that its file does not.
    let synced = std::fs::File::open(&to).and_then(|f| f.sync_all());
    synced.and_then(|()| std::fs::File::open(dir)?.sync_all()).map_err(failed("store an uploaded file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uploaded_file_has_a_plain_name_of_its_format() {
        assert!(check_file_name(Format::Rpm, "bash-5.1-2.el9.x86_64.rpm").is_ok());
        for wrong in ["../bash.rpm", "bash.deb", ".rpm", "a\nb.rpm", "a/b.rpm", ""] {
            assert!(check_file_name(Format::Rpm, wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_package_is_refused_before_it_is_staged() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("x");
        std::fs::write(&file, b"<html>").expect("written");
        let uploads = dir.path().join("uploads");
        assert!(stage(Format::Deb, &file, &uploads, "a").is_err());
        std::fs::write(&file, b"!<arch>\nrest").expect("written");
        stage(Format::Deb, &file, &uploads, "a").expect("staged");
        assert!(!file.exists());
        assert_eq!(std::fs::read(uploads.join("a")).expect("there"), b"!<arch>\nrest");
    }
}

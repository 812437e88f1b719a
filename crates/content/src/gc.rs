//! Garbage collection: marks what the kept snapshots and publications need, then removes files that are not marked and
//! older than the grace period. No counters: what is needed is found anew every time, so a kill in the middle costs
//! nothing but the rest of the work.
//!
//! Callers keep collections and jobs apart: a job that is making a snapshot may count on parts of one that is no longer
//! kept. Files that somebody merely found present are touched then, and so are young again.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use drydock_domain::ids::SourceId;
use jiff::Timestamp;

use crate::content::Content;
use crate::digest::{Digest, Sha256};
use crate::error::{ContentError, ContentResult};
use crate::head::Publication;
use crate::objects::{BLOBS, BLOBS_BY, META, OBJECTS, ObjectStore, remove_if_there};
use crate::snapshot::{self, SnapshotRoot, UnitRecord, read_record};
use crate::tree;

/// Most reasons in a report.
pub const REASONS_MAX: usize = 100;

/// What is to stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep {
    /// Snapshots: their documents, trees, files and packages.
    pub roots: Vec<SnapshotRoot>,
    /// Snapshots whose published metadata is or may be served; they count as kept snapshots as well.
    pub publications: Vec<SnapshotRoot>,
    /// Sources whose index of units stays.
    pub sources: Vec<SourceId>,
}

/// What was (or would be) freed of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Files.
    pub count: u64,
    /// Their sizes, bytes.
    pub bytes: u64,
}

/// What a collection did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Tree nodes and snapshot documents.
    pub objects: Freed,
    /// Package files and verbatim documents.
    pub blobs: Freed,
    /// Published metadata files.
    pub meta: Freed,
    /// Lists of publications, indexes of deleted sources, further names of freed blobs.
    pub others: Freed,
    /// Things that nothing refers to and that stay all the same, and why; a sample.
    pub kept: Vec<String>,
}

impl GcReport {
    fn keep(&mut self, reason: impl FnOnce() -> String) {
        if self.kept.len() < REASONS_MAX {
            self.kept.push(reason());
        }
    }
}

/// Frees what nothing refers to; with `dry_run` only says what it would free.
pub fn collect(content: &Content, keep: &Keep, grace: Duration, now: Timestamp, dry_run: bool) -> ContentResult<GcReport> {
    let store = content.objects();
    let marked = Marked::of(store, keep)?;
    let mut sweep = Sweep { store, grace, now: SystemTime::from(now), dry_run, report: GcReport::default() };
    let meta = sweep.publications(keep)?;
    sweep.fanned(OBJECTS, |id| marked.objects.contains(id), |report| &mut report.objects)?;
    sweep.fanned(BLOBS, |id| marked.blobs.contains(id), |report| &mut report.blobs)?;
    sweep.directory(&store.dir().join(META), "metadata file", "", |id| meta.contains(id), |report| &mut report.meta)?;
    sweep.aliases()?;
    sweep.unit_indexes(content, keep)?;
    if !dry_run {
        store.clear_staging()?;
    }
    Ok(sweep.report)
}

/// What kept snapshots need.
struct Marked {
    objects: HashSet<Sha256>,
    blobs: HashSet<Sha256>,
}

impl Marked {
    fn of(store: &ObjectStore, keep: &Keep) -> ContentResult<Self> {
        let mut marked = Marked { objects: HashSet::new(), blobs: HashSet::new() };
        for root in keep.roots.iter().chain(&keep.publications) {
            match marked.snapshot(store, root) {
                // It is not here at all (a database that was restored without its content): nothing can be kept for it.
                Err(ContentError::Missing { .. }) if !store.has_object(&root.0) => {}
                // One that is here and cannot be read ends the collection: what it needs is not known.
                other => other?,
            }
        }
        Ok(marked)
    }

    fn snapshot(&mut self, store: &ObjectStore, root: &SnapshotRoot) -> ContentResult<()> {
        if self.objects.contains(&root.0) {
            return Ok(());
        }
        let doc = snapshot::load(store, root)?;
        let Marked { objects, blobs } = self;
        for tree in doc.packages.values() {
            tree::reachable_heads(store, tree, objects, &mut |head| {
                let digest: Result<Digest, _> = read_record::<UnitRecord>(&head.record)?.digest.parse();
                // A record without a usable digest never had a blob.
                blobs.extend(digest.ok().and_then(|digest| store.blob_id(&digest)));
                Ok(())
            })?;
        }
        for tree in doc.advisories.iter().chain(&doc.modules) {
            tree::reachable(store, tree, objects)?;
        }
        blobs.extend(doc.extras.iter().map(|extra| extra.sha256));
        objects.insert(root.0);
        Ok(())
    }
}

struct Sweep<'a> {
    store: &'a ObjectStore,
    grace: Duration,
    now: SystemTime,
    dry_run: bool,
    report: GcReport,
}

impl Sweep<'_> {
    /// Size of a file that is old enough to go.
    fn removable(&mut self, path: &Path, what: &str) -> Option<u64> {
        let Ok(meta) = fs::metadata(path) else { return None };
        let age = meta.modified().ok().and_then(|at| self.now.duration_since(at).ok()).unwrap_or_default();
        if age < self.grace {
            let (left, grace) = (self.grace - age, self.grace);
            self.report.keep(|| format!("{what}: younger than {}, {} to go", shown(grace), shown(left)));
            return None;
        }
        Some(meta.len())
    }

    fn remove(&mut self, path: &Path, what: &str, freed: fn(&mut GcReport) -> &mut Freed) -> ContentResult<()> {
        if self.removable(path, what).is_none() {
            return Ok(());
        }
        // Somebody may just have found it present, and touched it: the look that counts excludes that.
        let store = self.store;
        let _alone = store.removing();
        let Some(bytes) = self.removable(path, what) else { return Ok(()) };
        if !self.dry_run {
            remove_if_there(path)?;
        }
        let freed = freed(&mut self.report);
        freed.count += 1;
        freed.bytes += bytes;
        Ok(())
    }

    /// `objects/` and `blobs/`: 256 directories.
    fn fanned(
        &mut self,
        name: &str,
        live: impl Fn(&Sha256) -> bool,
        freed: fn(&mut GcReport) -> &mut Freed,
    ) -> ContentResult<()> {
        let what = if name == BLOBS { "blob" } else { "object" };
        for byte in 0..=255u8 {
            let prefix = format!("{byte:02x}");
            self.directory(&self.store.dir().join(name).join(&prefix), what, &prefix, &live, freed)?;
        }
        Ok(())
    }

    fn directory(
        &mut self,
        dir: &Path,
        what: &str,
        prefix: &str,
        live: impl Fn(&Sha256) -> bool,
        freed: fn(&mut GcReport) -> &mut Freed,
    ) -> ContentResult<()> {
        for (name, path) in list(dir)? {
            match format!("{prefix}{name}").parse::<Sha256>() {
                Ok(id) if live(&id) => {}
                Ok(id) => self.remove(&path, &format!("{what} {id}"), freed)?,
                Err(_) => self.report.keep(|| format!("{}: not a file of this directory's kind", path.display())),
            }
        }
        Ok(())
    }

    /// Removes lists of publications and gives the metadata files that those that stay name.
    fn publications(&mut self, keep: &Keep) -> ContentResult<HashSet<Sha256>> {
        let served: HashSet<&SnapshotRoot> = keep.publications.iter().collect();
        let mut files = HashSet::new();
        for (name, path) in list(&self.store.dir().join("publications"))? {
            let Some(root) = name.strip_suffix(".json").and_then(|root| root.parse::<SnapshotRoot>().ok()) else {
                self.report.keep(|| format!("{}: not a list of a publication", path.display()));
                continue;
            };
            if !served.contains(&root) {
                // The list goes first: a publication without its list is none, whatever files are left of it.
                self.remove(&path, &format!("publication of snapshot {root}"), |report| &mut report.others)?;
                let gone = !path.exists() || self.dry_run && self.is_old(&path);
                if gone {
                    continue;
                }
            }
            files.extend(Publication::load(self.store, &root)?.files.into_iter().map(|file| file.sha256));
        }
        Ok(files)
    }

    fn is_old(&self, path: &Path) -> bool {
        let modified = fs::metadata(path).and_then(|meta| meta.modified());
        modified.ok().and_then(|at| self.now.duration_since(at).ok()).is_some_and(|age| age >= self.grace)
    }

    /// Further names of blobs that are gone.
    fn aliases(&mut self) -> ContentResult<()> {
        for (name, dir) in list(&self.store.dir().join(BLOBS_BY))? {
            for (hex, path) in list(&dir)? {
                let digest = format!("{name}-{hex}").parse::<Digest>().ok();
                let blob = digest.and_then(|digest| self.store.blob_id(&digest)).map(|id| self.store.blob_file(&id));
                if !blob.is_some_and(|blob| blob.exists()) {
                    self.remove(&path, &format!("name {name}-{hex} of a blob that is gone"), |report| &mut report.others)?;
                }
            }
        }
        Ok(())
    }

    /// Indexes of sources that are no more.
    fn unit_indexes(&mut self, content: &Content, keep: &Keep) -> ContentResult<()> {
        for (name, path) in list(&self.store.dir().join("units"))? {
            let Some(source) = name.parse::<SourceId>().ok() else { continue };
            if keep.sources.contains(&source) {
                continue;
            }
            if !self.is_old(&path) {
                self.report.keep(|| format!("index of units of source {source}: younger than the grace period"));
                continue;
            }
            for (_, file) in list(&path)? {
                self.report.others.count += 1;
                self.report.others.bytes += fs::metadata(file).map_or(0, |meta| meta.len());
            }
            if !self.dry_run {
                content.units().remove_source(source)?;
            }
        }
        Ok(())
    }
}

/// Names and paths in a directory, sorted; nothing when it is not there.
fn list(dir: &Path) -> ContentResult<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(ContentError::io("list", dir))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(ContentError::io("list", dir))?;
        found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    found.sort();
    Ok(found)
}

fn shown(time: Duration) -> String {
    match time.as_secs() {
        secs if secs >= 2 * 3600 => format!("{} hours", secs / 3600),
        secs if secs >= 120 => format!("{} minutes", secs / 60),
        secs => format!("{secs} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use drydock_domain::source::unit::Format;
    use jiff::ToSpan;

    use super::*;
    use crate::digest::Alg;
    use crate::head::PublishedFile;
    use crate::snapshot::testing::{Package, content, rpm};
    use crate::snapshot::{SnapshotDoc, load, save};
    use crate::tree::iter_full;
    use crate::units::UnitLocation;

    const GRACE: Duration = Duration::from_secs(24 * 3600);

    /// Two days from now: everything a test writes is old then.
    fn later() -> Timestamp {
        Timestamp::now() + 48.hours()
    }

    fn blob(store: &ObjectStore, bytes: &[u8], aliases: &[Digest]) -> Sha256 {
        let mut file = store.staging_file("test-").expect("file");
        file.write_all(bytes).expect("write");
        store.put_blob_from(file.path(), Sha256::of(bytes), aliases).expect("put");
        Sha256::of(bytes)
    }

    fn publish(store: &ObjectStore, root: SnapshotRoot, bytes: &[u8]) -> Sha256 {
        let mut file = store.staging_file("test-").expect("file");
        file.write_all(bytes).expect("write");
        let sha256 = Sha256::of(bytes);
        store.put_meta_from(file.path(), sha256).expect("put");
        let file = PublishedFile { path: "x".into(), kind: "x".into(), sha256, size: 1, raw_sha256: None, raw_size: None };
        Publication { root, format: Format::Rpm, files: vec![file] }.save(store).expect("save");
        sha256
    }

    fn readable(store: &ObjectStore, root: &SnapshotRoot) -> bool {
        load(store, root).is_ok_and(|doc| doc.trees().all(|tree| iter_full(store, tree, None).all(|entry| entry.is_ok())))
    }

    fn packages(range: std::ops::Range<u32>) -> Vec<Package> {
        range.map(|n| Package::new(&format!("p{n:04}"), "1-1")).collect()
    }

    #[test]
    fn what_is_kept_stays_whole_and_the_rest_goes() {
        let (_dir, content) = content();
        let store = content.objects();
        let kept = rpm(store, &packages(0..500), &[("A-1", "bugfix", 1, &[])], &[("m", "1", &[])]);
        let dropped = rpm(store, &packages(1..501), &[("A-2", "bugfix", 1, &[])], &[]);
        let keep = Keep { roots: vec![kept], ..Keep::default() };
        let dry = collect(&content, &keep, GRACE, later(), true).expect("dry run");
        assert!(readable(store, &dropped), "a dry run removes nothing");
        let done = collect(&content, &keep, GRACE, later(), false).expect("collect");
        assert_eq!(done, dry);
        // Most nodes are of both snapshots: only the edges, the other advisory and the document go.
        assert!(done.objects.count >= 4 && done.objects.count < 12, "{done:?}");
        assert!(readable(store, &kept) && load(store, &dropped).is_err());
        assert_eq!(collect(&content, &keep, GRACE, later(), false).expect("again"), GcReport::default());
        // The set can be made again on what is left.
        assert_eq!(rpm(store, &packages(1..501), &[("A-2", "bugfix", 1, &[])], &[]), dropped);
        assert!(readable(store, &dropped));
    }

    #[test]
    fn a_collection_cut_short_anywhere_leaves_a_store_to_build_on() {
        let (_dir, content) = content();
        let store = content.objects();
        let all = packages(0..200);
        let kept = rpm(store, &all[..100], &[], &[]);
        let dropped = rpm(store, &all, &[], &[]);
        let mut dead = Marked { objects: HashSet::new(), blobs: HashSet::new() };
        dead.snapshot(store, &dropped).expect("mark");
        let live = Marked::of(store, &Keep { roots: vec![kept], ..Keep::default() }).expect("mark");
        let mut dead: Vec<Sha256> = dead.objects.difference(&live.objects).copied().collect();
        dead.sort();
        for cut in 0..=dead.len() {
            dead[..cut].iter().for_each(|id| fs::remove_file(store.object_path(id)).expect("remove"));
            assert!(readable(store, &kept));
            assert_eq!(rpm(store, &all, &[], &[]), dropped);
            assert!(readable(store, &dropped), "after {cut} removals");
        }
    }

    #[test]
    fn young_files_stay_and_the_report_says_so() {
        let (_dir, content) = content();
        let root = rpm(content.objects(), &packages(0..3), &[], &[]);
        let report = collect(&content, &Keep::default(), GRACE, Timestamp::now(), false).expect("collect");
        assert_eq!((report.objects, report.kept.len()), (Freed::default(), 2));
        assert!(
            report.kept.iter().any(|r| r.contains(&root.to_string()) && r.contains("younger than 24 hours")),
            "{:?}",
            report.kept
        );
        assert!(readable(content.objects(), &root));
    }

    #[test]
    fn finding_an_old_object_present_protects_it() {
        let (_dir, content) = content();
        let store = content.objects();
        let root = rpm(store, &packages(0..3), &[], &[]);
        let old = SystemTime::now() - 2 * GRACE;
        let age = |id: &Sha256| {
            let file = fs::File::options().append(true).open(store.object_path(id)).expect("open");
            file.set_modified(old).expect("age it");
        };
        let tree = load(store, &root).expect("doc").packages[""].clone();
        age(&root.0);
        age(&tree.root);
        // A sync builds the same tree again; its snapshot is not stored yet.
        let again = crate::snapshot::testing::tree(store, 3, iter_full(store, &tree, None).map(|e| e.expect("entry")).collect());
        assert_eq!(again, tree);
        let report = collect(&content, &Keep::default(), GRACE, Timestamp::now(), false).expect("collect");
        assert_eq!(report.objects.count, 1, "only the document went");
        let doc = SnapshotDoc { packages: [(String::new(), tree)].into(), ..SnapshotDoc::empty(Format::Rpm) };
        assert!(readable(store, &save(store, &doc).expect("save")));
    }

    #[test]
    fn blobs_go_with_the_last_snapshot_that_names_them() {
        let (_dir, content) = content();
        let store = content.objects();
        let sha1 = |c: &str| Digest::new(Alg::Sha1, &c.repeat(40)).expect("sha1");
        let (used, by_alias, unused) =
            (blob(store, b"used", &[]), blob(store, b"old", &[sha1("a")]), blob(store, b"unused", &[sha1("b")]));
        let mut list = packages(0..2);
        list[0].digest = used.digest().to_string();
        list[1].digest = sha1("a").to_string();
        let root = rpm(store, &list, &[], &[]);
        let keep = Keep { roots: vec![root], ..Keep::default() };
        let report = collect(&content, &keep, GRACE, later(), false).expect("collect");
        assert_eq!(report.blobs, Freed { count: 1, bytes: 6 });
        assert!(store.blob_path(&used.digest()).is_some() && store.blob_path(&sha1("a")) == store.blob_path(&by_alias.digest()));
        assert!(store.blob_path(&unused.digest()).is_none());
        assert_eq!((report.others.count, store.blob_id(&sha1("b"))), (1, None));
        let report = collect(&content, &Keep::default(), GRACE, later(), false).expect("collect");
        assert_eq!((report.blobs.count, report.others.count), (2, 1));
    }

    #[test]
    fn metadata_lives_as_long_as_a_publication_names_it() {
        let (_dir, content) = content();
        let store = content.objects();
        let (a, b) = (rpm(store, &packages(0..1), &[], &[]), rpm(store, &packages(0..2), &[], &[]));
        let (meta_a, meta_b) = (publish(store, a, b"a"), publish(store, b, b"b"));
        let keep = Keep { roots: vec![a], publications: vec![b], ..Keep::default() };
        let dry = collect(&content, &keep, GRACE, later(), true).expect("dry run");
        let report = collect(&content, &keep, GRACE, later(), false).expect("collect");
        assert_eq!((dry.meta, dry.others), (report.meta, report.others));
        assert_eq!((report.meta.count, report.others.count, report.objects.count), (1, 1, 0));
        assert!(!store.has_meta(&meta_a) && store.has_meta(&meta_b));
        assert!(readable(store, &b), "what is published is kept with its snapshot");
    }

    #[test]
    fn nothing_is_removed_when_a_kept_snapshot_cannot_be_read() {
        let (_dir, content) = content();
        let store = content.objects();
        let other = rpm(store, &packages(0..1), &[], &[]);
        let root = rpm(store, &packages(0..100), &[], &[]);
        let tree = load(store, &root).expect("doc").packages[""].root;
        fs::remove_file(store.object_path(&tree)).expect("damage");
        let keep = Keep { roots: vec![root], ..Keep::default() };
        let err = collect(&content, &keep, GRACE, later(), false).expect_err("refused");
        assert!(err.to_string().contains(&tree.to_string()), "{err}");
        assert!(readable(store, &other));
    }

    #[test]
    fn a_snapshot_that_is_not_here_at_all_stops_nothing() {
        let (_dir, content) = content();
        let store = content.objects();
        let (kept, dropped) = (rpm(store, &packages(0..10), &[], &[]), rpm(store, &packages(20..30), &[], &[]));
        let gone = rpm(store, &packages(0..100), &[], &[]);
        fs::remove_file(store.object_path(&gone.0)).expect("a restore without content");
        let keep = Keep { roots: vec![gone, kept], ..Keep::default() };
        collect(&content, &keep, GRACE, later(), false).expect("collected");
        assert!(readable(store, &kept) && !readable(store, &dropped));
    }

    #[test]
    fn indexes_of_deleted_sources_go() {
        let (_dir, content) = content();
        let ids: [SourceId; 2] =
            ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"].map(|id| id.parse().expect("id"));
        let unit = UnitLocation { digest: Sha256::of(b"x").digest(), location: "x".into(), size: 1 };
        for id in ids {
            content.units().add(id, [unit.clone()]).expect("add");
        }
        let keep = Keep { sources: vec![ids[0]], ..Keep::default() };
        let report = collect(&content, &keep, GRACE, later(), false).expect("collect");
        assert!(report.others.count > 0);
        assert_eq!(content.units().lookup(ids[0], &unit.digest).expect("lookup"), Some(unit.clone()));
        assert_eq!(content.units().lookup(ids[1], &unit.digest).expect("lookup"), None);
        assert!(!content.dir().join("units").join(ids[1].to_string()).exists());
    }
}

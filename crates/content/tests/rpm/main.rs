//! yum sources from upstream to client: broken upstreams, real package managers, uploads, sizes.

mod broken;
mod mutations;
mod syncs;
mod tools;
mod uploads;
mod upstream;

use std::path::Path;

use drydock_content::snapshot::{self, SnapshotDoc, SnapshotRoot, UnitRecord};
use drydock_content::{
    Content, Head, LocalFile, LocalRequest, ProgressSink, Publication, SyncError, SyncOutcome, SyncRequest, SyncState, tree,
};
use drydock_domain::ids::SourceId;
use drydock_domain::source::spec::SourceSpec;
use jiff::Timestamp;

/// Any source.
const SOURCE: &str = "0198c0de-0000-7000-8000-000000000001";

/// A content directory and a source.
struct Bench {
    content: Content,
    spec: SourceSpec,
    now: Timestamp,
    /// Removed with this.
    _dir: tempfile::TempDir,
    source: SourceId,
}

impl Bench {
    /// A source of the repository at `url`.
    fn new(url: &str) -> Self {
        Self::of(serde_json::json!({ "upstream": { "urls": [url] } }))
    }

    /// A source for uploads.
    fn local() -> Self {
        Self::of(serde_json::json!({ "local": {} }))
    }

    fn of(origin: serde_json::Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::open(dir.path()).unwrap();
        let spec = serde_json::from_value(serde_json::json!({ "name": "test", "format": "rpm", "origin": origin })).unwrap();
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        Self { content, spec, now, _dir: dir, source: SOURCE.parse().unwrap() }
    }

    async fn sync(&self, previous: Option<&SyncState>) -> Result<SyncOutcome, SyncError> {
        let request = SyncRequest { source: self.source, spec: self.spec.clone(), previous: previous.cloned(), now: self.now };
        self.content.sync(&request, &ProgressSink::none()).await
    }

    fn upload(&self, previous: Option<SnapshotRoot>, files: &[&Path]) -> Result<SyncOutcome, SyncError> {
        let file =
            |path: &&Path| LocalFile { path: path.to_path_buf(), file_name: path.file_name().unwrap().to_string_lossy().into() };
        let request = LocalRequest {
            source: self.source,
            spec: self.spec.clone(),
            previous,
            files: files.iter().map(file).collect(),
            remove: Vec::new(),
            now: self.now,
        };
        self.content.add_local(&request, &ProgressSink::none())
    }

    fn doc(&self, root: &SnapshotRoot) -> SnapshotDoc {
        snapshot::load(self.content.objects(), root).unwrap()
    }

    fn records(&self, root: &SnapshotRoot) -> Vec<UnitRecord> {
        let doc = self.doc(root);
        let heads = tree::heads(self.content.objects(), &doc.packages[""]).unwrap();
        heads.iter().map(|head| snapshot::unit_record(head).unwrap()).collect()
    }

    fn names(&self, root: &SnapshotRoot) -> Vec<String> {
        self.records(root).into_iter().map(|record| format!("{}-{}.{}", record.name, record.version, record.arch)).collect()
    }

    fn publish(&self, root: &SnapshotRoot) -> Publication {
        self.content.publish(root, &ProgressSink::none()).unwrap()
    }

    /// The uncompressed text of a published file.
    fn published(&self, root: &SnapshotRoot, kind: &str) -> String {
        let publication = self.publish(root);
        let file = publication.files.iter().find(|file| file.kind == kind).unwrap();
        upstream::gunzip(&std::fs::read(self.content.objects().meta_path(&file.sha256)).unwrap())
    }

    /// Lays a publication out as clients see it: metadata, head and the packages that are here.
    fn lay_out(&self, root: &SnapshotRoot, head: &Head, into: &Path) {
        let publication = self.publish(root);
        let write = |path: &str, bytes: &[u8]| {
            let to = into.join(path);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::write(to, bytes).unwrap();
        };
        for file in &publication.files {
            write(&file.path, &std::fs::read(self.content.objects().meta_path(&file.sha256)).unwrap());
        }
        for (path, bytes) in &head.files {
            write(path, bytes);
        }
        for record in self.records(root) {
            let digest = record.digest.parse().unwrap();
            if let Some(blob) = self.content.objects().blob_path(&digest) {
                let name = record.location.rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned);
                let version = record.version.rsplit(':').next().unwrap_or_default();
                let name = name.unwrap_or_else(|| format!("{}-{version}.{}.rpm", record.name, record.arch));
                write(&format!("packages/{digest}/{name}"), &std::fs::read(blob).unwrap());
            }
        }
    }

    /// Files that a sync must not leave behind. Downloads that were given up when another one failed stay, to be gone on
    /// with.
    fn staged(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.content.staging()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| !name.starts_with("partial-")).collect()
    }
}

/// Whether one of the findings says this.
fn found(outcome: &SyncOutcome, subject: &str, text: &str) -> bool {
    outcome.findings.iter().any(|finding| finding.subject.contains(subject) && finding.message.contains(text))
}

//! apt sources from upstream to client: broken upstreams, real apt, sizes.

mod apt;
mod broken;
mod local;
mod mutations;
mod syncs;
mod upstream;

use std::collections::BTreeMap;

use drydock_content::openpgp::RepositoryKey;
use drydock_content::snapshot::{self, SnapshotDoc, SnapshotRoot, UnitRecord};
use drydock_content::tree;
use drydock_content::{Content, ProgressSink, SyncError, SyncOutcome, SyncRequest, SyncState};
use drydock_domain::ids::SourceId;
use drydock_domain::source::spec::SourceSpec;
use jiff::{SignedDuration, Timestamp};

/// Any source.
const SOURCE: &str = "0198c0de-0000-7000-8000-000000000001";

/// A content directory, an upstream key and a source.
struct Bench {
    content: Content,
    key: RepositoryKey,
    spec: SourceSpec,
    now: Timestamp,
    dir: tempfile::TempDir,
    source: SourceId,
}

impl Bench {
    /// A source of the suite `stable` at `url`.
    fn new(url: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let content = Content::open(dir.path()).unwrap();
        let key = RepositoryKey::generate("Upstream <upstream@test.invalid>", now - SignedDuration::from_hours(240)).unwrap();
        let spec = serde_json::from_value(serde_json::json!({
            "name": "test",
            "format": "deb",
            "keys": [key.public_armored().unwrap()],
            "origin": { "upstream": { "urls": [url], "suite": "stable", "components": ["main"] } },
        }));
        Self { content, key, spec: spec.unwrap(), now, dir, source: SOURCE.parse().unwrap() }
    }

    /// The upstream part of the source.
    fn upstream(&mut self) -> &mut drydock_domain::source::spec::Upstream {
        match &mut self.spec.origin {
            drydock_domain::source::spec::Origin::Upstream(upstream) => upstream,
            _ => unreachable!("the source has an upstream"),
        }
    }

    async fn sync(&self, previous: Option<&SyncState>) -> Result<SyncOutcome, SyncError> {
        let request = SyncRequest { source: self.source, spec: self.spec.clone(), previous: previous.cloned(), now: self.now };
        self.content.sync(&request, &ProgressSink::none()).await
    }

    /// The refusal of a first sync.
    async fn refusal(&self) -> String {
        match self.sync(None).await {
            Ok(outcome) => panic!("synced in spite of everything: {outcome:?}"),
            Err(error) => error.to_string(),
        }
    }

    fn doc(&self, root: &SnapshotRoot) -> SnapshotDoc {
        snapshot::load(self.content.objects(), root).unwrap()
    }

    /// The published text of an index, and its records by `name version arch`.
    fn index(&self, root: &SnapshotRoot, index: &str) -> (String, BTreeMap<String, UnitRecord>) {
        let doc = self.doc(root);
        let (mut text, mut records) = (String::new(), BTreeMap::new());
        for entry in tree::iter_full(self.content.objects(), &doc.packages[index], None) {
            let entry = entry.unwrap();
            let record: UnitRecord = snapshot::read_record(&entry.record).unwrap();
            text.push_str(std::str::from_utf8(&entry.parts[0]).unwrap());
            records.insert(format!("{} {} {}", record.name, record.version, record.arch), record);
        }
        (text, records)
    }

    /// What an index holds, `name version arch` each.
    fn names(&self, root: &SnapshotRoot, index: &str) -> Vec<String> {
        self.index(root, index).1.into_keys().collect()
    }
}

/// Whether a program can be asked; otherwise says that the test is skipped (under CI that is a failure).
fn have(program: &str) -> bool {
    let there = std::process::Command::new(program).arg("--version").output().is_ok();
    assert!(there || std::env::var("CI").as_deref() != Ok("true"), "{program} is not installed");
    if !there {
        eprintln!("skipped: {program} is not installed");
    }
    there
}

/// Messages of findings, one a line.
fn findings(outcome: &SyncOutcome) -> String {
    outcome.findings.iter().map(|finding| format!("{}: {}\n", finding.subject, finding.message)).collect()
}

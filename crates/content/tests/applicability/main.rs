//! Our engine against the real package managers: the same random worlds are given to both, through the real metadata (createrepo_c,
//! Release files) and our own synchronisation, and every answer must be the same.
//!
//! `DRYDOCK_WORLDS=1000` asks about more of them, `DRYDOCK_FIRST_WORLD=N` begins elsewhere, `DRYDOCK_THESE_WORLDS=107,235` asks about
//! some; a disagreement prints the seed, and `cargo run -p drydock-testkit --example ask-worlds` shows what a tool says. Known differences are in docs/applicability.md.

mod deb;
mod rpm;
mod said;

use std::collections::BTreeSet;

use drydock_content::snapshot::SnapshotRoot;
use drydock_content::{Content, ProgressSink, SyncRequest, facts};
use drydock_domain::ids::{InstanceId, SourceId};
use drydock_domain::source::spec::SourceSpec;
use drydock_domain::version::Scheme;
use drydock_testkit::lab::skip_reason;

/// Something a tool says: for example `alpha.x86_64 1.1-1.el8`.
pub type Said = BTreeSet<String>;

/// The one host of a world.
fn instance() -> InstanceId {
    "0198c0de-0000-7000-8000-0000000000aa".parse().expect("an id")
}

/// Seeds to ask about: `usual` of them unless the environment says how many.
fn seeds(usual: u64) -> Vec<u64> {
    if let Ok(these) = std::env::var("DRYDOCK_THESE_WORLDS") {
        return these.split(',').map(|text| text.trim().parse().expect("DRYDOCK_THESE_WORLDS is a list of numbers")).collect();
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("DRYDOCK_FIRST_WORLD").unwrap_or(0);
    (first..first + number("DRYDOCK_WORLDS").unwrap_or(usual)).collect()
}

/// Whether lab roots cannot be used here; says so.
fn skipped() -> bool {
    let reason = skip_reason().expect("the machine can be looked at");
    if let Some(reason) = &reason {
        eprintln!("skipped: {reason}");
    }
    reason.is_some()
}

/// A content directory for one world.
struct Site {
    content: Content,
    _dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { content: Content::open(dir.path()).expect("a content directory"), _dir: dir }
    }

    /// Synchronises a repository as the server would.
    async fn sync(&self, number: usize, spec: serde_json::Value) -> SnapshotRoot {
        let spec: SourceSpec = serde_json::from_value(spec).expect("a specification");
        let source: SourceId = format!("0198c0de-0000-7000-8000-{number:012}").parse().expect("an id");
        let now = "2026-11-22T12:00:00Z".parse().expect("a time");
        let request = SyncRequest { source, spec, previous: None, now };
        self.content.sync(&request, &ProgressSink::none()).await.expect("the repository can be synchronised").root
    }

    fn put(&self, fleet: &mut drydock_domain::applicability::Fleet, scheme: Scheme, root: &SnapshotRoot) {
        let facts = facts::snapshot_facts(self.content.objects(), root).expect("facts of a snapshot");
        fleet.put_snapshot(&root.to_string(), scheme, &facts);
    }
}

/// Both sides of one question.
struct Compared {
    tool: &'static str,
    question: &'static str,
    seed: u64,
    theirs: Said,
    ours: Said,
}

/// Fails with every disagreement, the first ones in full.
fn settle(compared: &[Compared]) {
    let wrong: Vec<_> = compared.iter().filter(|c| c.theirs != c.ours).collect();
    let mut text = String::new();
    for c in wrong.iter().take(12) {
        let only = |a: &Said, b: &Said| a.difference(b).cloned().collect::<Vec<_>>().join(", ");
        text.push_str(&format!(
            "\nseed {} {} {}:\n  only theirs: {}\n  only ours: {}",
            c.seed,
            c.tool,
            c.question,
            only(&c.theirs, &c.ours),
            only(&c.ours, &c.theirs),
        ));
    }
    let seeds: Vec<_> = wrong.iter().map(|c| format!("{}/{}/{}", c.tool, c.question, c.seed)).collect();
    assert!(wrong.is_empty(), "{} of {} answers differ: {}{text}", wrong.len(), compared.len(), seeds.join(" "));
    let said: usize = compared.iter().map(|c| c.theirs.len()).sum();
    assert!(said > compared.len() / 4, "the tools hardly said anything: {said} in {} answers", compared.len());
    println!("{} answers with {said} entries are the same", compared.len());
}

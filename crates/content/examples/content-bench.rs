//! What `cargo xtask bench sync` and `bench snapshot` measure, each in a process of its own so that its peak memory is
//! its own. Prints one JSON object.
//!
//! `content-bench sync-rpm URL DIR`, `sync-deb URL SUITE KEY DIR`: a first sync, then one that finds nothing new.
//! `content-bench snapshot URL DIR`: what snapshots and publications of a large repository cost, and the facts of one.
//! `content-bench facts ROOT DIR`: the facts of a snapshot that is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use drydock_content::facts::{facts_diff, snapshot_facts};
use drydock_content::openpgp::RepositoryKey;
use drydock_content::snapshot::{self, SnapshotRoot};
use drydock_content::tree::{self, Entry, TreeRef};
use drydock_content::{Content, ProgressSink, SyncOutcome, SyncRequest};
use drydock_domain::ids::SourceId;
use drydock_domain::source::spec::SourceSpec;
use jiff::Timestamp;
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

/// Versions of the long series.
const VERSIONS: usize = 1000;
/// Measured rounds; the median is printed.
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "a TLS provider is installed already")?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let figures = match words.as_slice() {
        ["sync-rpm", url, dir] => syncs(rpm(url)?, Path::new(dir)).await?,
        ["sync-deb", url, suite, key, dir] => syncs(deb(url, suite, Path::new(key))?, Path::new(dir)).await?,
        ["snapshot", url, dir] => snapshots(rpm(url)?, Path::new(dir)).await?,
        ["facts", root, dir] => facts(&root.parse()?, Path::new(dir))?,
        _ => {
            let usage = "usage: content-bench sync-rpm URL DIR | sync-deb URL SUITE KEY DIR | snapshot URL DIR | facts ROOT DIR";
            return Err(usage.into());
        }
    };
    println!("{figures}");
    Ok(())
}

fn rpm(url: &str) -> Result<SourceSpec, Failure> {
    Ok(serde_json::from_value(json!({ "name": "large", "format": "rpm", "origin": { "upstream": { "urls": [url] } } }))?)
}

fn deb(url: &str, suite: &str, key: &Path) -> Result<SourceSpec, Failure> {
    Ok(serde_json::from_value(json!({
        "name": "large", "format": "deb", "keys": [std::fs::read_to_string(key)?], "signatures": "required",
        "origin": { "upstream": { "urls": [url], "suite": suite, "components": ["main"] } },
    }))?)
}

async fn sync(content: &Content, spec: &SourceSpec, previous: Option<&SyncOutcome>) -> Result<SyncOutcome, Failure> {
    let request = SyncRequest {
        source: SourceId("0198c0de-0000-7000-8000-000000000001".parse()?),
        spec: spec.clone(),
        previous: previous.map(|p| p.state.clone()),
        now: Timestamp::now(),
    };
    Ok(content.sync(&request, &ProgressSink::none()).await?)
}

async fn syncs(spec: SourceSpec, dir: &Path) -> Result<Value, Failure> {
    let content = Content::open(dir)?;
    let began = Instant::now();
    let first = sync(&content, &spec, None).await?;
    let first_took = began.elapsed();
    let peak = peak_mib()?;
    let began = Instant::now();
    let second = sync(&content, &spec, Some(&first)).await?;
    let second_took = began.elapsed();
    if second.changed {
        return Err("the second sync found something new".into());
    }
    Ok(json!({
        "first_s": round(first_took.as_secs_f64()), "nochange_ms": millis(second_took), "peak_mib": peak,
        "packages": first.stats.packages, "findings": first.findings.len(), "root": first.root.to_string(),
    }))
}

/// The facts of a snapshot, read three times.
fn facts(root: &SnapshotRoot, dir: &Path) -> Result<Value, Failure> {
    let content = Content::open(dir)?;
    let mut times = Vec::new();
    let mut packages = 0;
    for _ in 0..3 {
        let (facts, took) = timed(|| Ok(snapshot_facts(content.objects(), root)?))?;
        packages = facts.packages.len();
        times.push(took);
    }
    Ok(json!({ "packages": packages, "facts_ms": median(times), "peak_mib": peak_mib()? }))
}

async fn snapshots(spec: SourceSpec, dir: &Path) -> Result<Value, Failure> {
    let content = Content::open(dir)?;
    let first = sync(&content, &spec, None).await?;
    let (made, publish_first) = timed(|| Ok(content.publish(&first.root, &ProgressSink::none())?))?;
    let key = RepositoryKey::generate("Bench <bench@drydock.invalid>", Timestamp::now())?;
    content.head(&made, Timestamp::now(), std::slice::from_ref(&key))?;

    let objects = dir.join("objects");
    let mut root = first.root;
    let (mut snapshot_ms, mut publish_ms, mut promote_ms, mut diff_ms, mut grown) = (vec![], vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let before = size_below(&objects)?;
        let (next, took) = timed(|| one_more(&content, &root, round))?;
        snapshot_ms.push(took);
        grown.push(size_below(&objects)? - before);
        // The whole way to what hosts read: bulk metadata, then the signed head.
        let (publication, took) = timed(|| {
            let publication = content.publish(&next, &ProgressSink::none())?;
            content.head(&publication, Timestamp::now(), std::slice::from_ref(&key))?;
            Ok(publication)
        })?;
        publish_ms.push(took);
        // A promotion of what is published: read the publication, make and sign the head. The row is control's.
        let (_, took) = timed(|| {
            let found = content.publish(&publication.root, &ProgressSink::none())?;
            Ok(content.head(&found, Timestamp::now(), std::slice::from_ref(&key))?)
        })?;
        promote_ms.push(took);
        let (_, took) = timed(|| count_changes(&content, &root, &next))?;
        diff_ms.push(took);
        root = next;
    }
    let before = size_below(&objects)?;
    let began = Instant::now();
    for round in ROUNDS..ROUNDS + VERSIONS {
        root = one_more(&content, &root, round)?;
    }
    let series = began.elapsed();
    let thousand = size_below(&objects)? - before;
    let (facts, facts_took) = timed(|| Ok(snapshot_facts(content.objects(), &root)?))?;
    let (changes, changes_took) = timed(|| Ok(facts_diff(content.objects(), &first.root, &root)?))?;
    Ok(json!({
        "snapshot_ms": median(snapshot_ms), "promote_ms": median(promote_ms), "publish_plus1_ms": median(publish_ms),
        "publish_first_ms": millis(publish_first), "bytes_per_version": middle(grown),
        "thousand_versions_mib": mib(thousand), "thousand_versions_s": round(series.as_secs_f64()),
        "diff_ms": median(diff_ms), "peak_mib": peak_mib()?,
        "facts_ms": millis(facts_took), "facts_packages": facts.packages.len(),
        "facts_diff_ms": millis(changes_took), "facts_diff_packages": changes.added.len() + changes.removed.len(),
    }))
}

/// A snapshot that differs from `root` by one package.
fn one_more(content: &Content, root: &SnapshotRoot, round: usize) -> Result<SnapshotRoot, Failure> {
    let store = content.objects();
    let mut doc = snapshot::load(store, root)?;
    let tree = doc.packages.get("").ok_or("no packages")?.clone();
    let (key, entry) = changed_entry(content, &tree, round)?;
    let edited = tree::edit(store, &tree, BTreeMap::from([(key, Some(entry))]))?;
    doc.stats.packages = edited.count;
    doc.packages.insert(String::new(), edited);
    Ok(snapshot::save(store, &doc)?)
}

/// A new package, made of one that is there: somewhere else in the tree each round, as updates are.
fn changed_entry(content: &Content, tree: &TreeRef, round: usize) -> Result<(Vec<u8>, Entry), Failure> {
    let letter = [b'a' + u8::try_from(round % 26)?];
    let start = [&letter[..], format!("{:03}", round % 997).as_bytes()].concat();
    let mut found = tree::iter_full(content.objects(), tree, Some(&start));
    let entry = match found.next() {
        Some(entry) => entry?,
        None => tree::iter_full(content.objects(), tree, None).next().ok_or("the tree is empty")??,
    };
    let mut key = entry.key.clone();
    key.extend_from_slice(format!("+{round}").as_bytes());
    Ok((key.clone(), Entry { key, record: entry.record, parts: entry.parts }))
}

fn count_changes(content: &Content, old: &SnapshotRoot, new: &SnapshotRoot) -> Result<usize, Failure> {
    let store = content.objects();
    let (old, new) = (snapshot::load(store, old)?, snapshot::load(store, new)?);
    let (old, new) = (old.packages.get("").ok_or("no packages")?, new.packages.get("").ok_or("no packages")?);
    let mut changes = 0;
    tree::diff(store, old, new, &mut |_| {
        changes += 1;
        Ok(())
    })?;
    if changes == 1 { Ok(changes) } else { Err(format!("{changes} changes instead of one").into()) }
}

fn timed<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, Duration), Failure> {
    let began = Instant::now();
    let made = work()?;
    Ok((made, began.elapsed()))
}

fn median(mut rounds: Vec<Duration>) -> f64 {
    rounds.sort_unstable();
    millis(rounds[rounds.len() / 2])
}

fn middle(mut rounds: Vec<u64>) -> u64 {
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}

fn millis(took: Duration) -> f64 {
    (took.as_secs_f64() * 10_000.0).round() / 10.0
}

fn round(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}

fn mib(bytes: u64) -> f64 {
    round(bytes as f64 / (1024.0 * 1024.0))
}

/// Bytes of all files below, as a file system without blocks would count them.
fn size_below(dir: &Path) -> Result<u64, Failure> {
    let mut waiting: Vec<PathBuf> = vec![dir.to_path_buf()];
    let mut sum = 0;
    while let Some(at) = waiting.pop() {
        for entry in std::fs::read_dir(&at)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.is_dir() { waiting.push(entry.path()) } else { sum += meta.len() }
        }
    }
    Ok(sum)
}

/// The most memory this process ever had, MiB.
fn peak_mib() -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(round(kib / 1024.0))
}

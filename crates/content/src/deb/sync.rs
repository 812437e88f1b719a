//! Syncs an apt upstream: Release → indexes that changed → trees → a snapshot, complete or not there at all.
//!
//! Cheap where nothing changed: an unchanged InRelease ends the sync, an index with the checksum it had keeps its tree.
//! An index that does not fit its Release means a mirror in the middle of its update: everything is fetched again, at
//! most [`TORN_TRIES_MAX`] times. A Release older than the last one is ignored, as apt does (a mirror that lags, or an
//! attacker who would roll hosts back).
//! Absent: what files mean (see [`super::release`], [`super::index`]), which are wanted (see [`super::plan`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drydock_domain::source::spec::DownloadPolicy;
use drydock_domain::source::unit::Format;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::index::{self, Built, INDEX_RAW_MAX_BYTES, IndexFile, Location};
use super::plan::{INDEX_FILE_MAX_BYTES, Plan, WantedIndex};
use super::release::{self, IndexEntry, Release};
use super::signed::{self, Failed, Got, Known};
use crate::content::{Content, WantedUnit};
use crate::digest::{Digest, Sha256};
use crate::error::ContentError;
use crate::fetch::{Expect, FetchError, Fetcher, UpstreamAccess};
use crate::openpgp::Keyring;
use crate::snapshot::{self, SnapshotDoc, SnapshotRoot};
use crate::sync::{Findings, ProgressSink, SYNC_STATE_VERSION, SyncError, SyncOutcome, SyncRequest, SyncState, blocking};
use crate::tree::{self, TreeRef};
use crate::units::UnitLocation;

/// Tries to get a Release and indexes that fit each other, count.
pub const TORN_TRIES_MAX: u32 = 3;
/// Pause before the second try, longer before each further one.
const TORN_PAUSE: Duration = Duration::from_millis(500);
/// Index files fetched at once, count.
const FETCHES_AT_ONCE: usize = 4;

/// Facts of a [`SyncState`].
const FACT_SETTINGS: &str = "settings";
const FACT_FILE: &str = "releaseFile";
const FACT_RELEASE: &str = "release";
const FACT_DATE: &str = "date";
const FACT_VALID_UNTIL: &str = "validUntil";
/// In front of the name of an index.
const FACT_INDEX: &str = "index ";

/// What is remembered of an index, as JSON in a fact.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct KnownIndex {
    identity: String,
    tree: TreeRef,
    package_bytes: u64,
}

/// Everything of one sync that does not change while it runs.
struct Sync<'a> {
    content: &'a Content,
    request: &'a SyncRequest,
    progress: &'a ProgressSink,
    plan: Plan<'a>,
    fetcher: Fetcher,
    keyring: Option<Keyring>,
    /// The last sync's, when it was made with the same settings and its snapshot is still there.
    previous: Option<Previous>,
}

struct Previous {
    root: SnapshotRoot,
    state: SyncState,
}

impl Previous {
    fn fact(&self, name: &str) -> &str {
        self.state.facts.get(name).map(String::as_str).unwrap_or_default()
    }

    fn moment(&self, name: &str) -> Option<Timestamp> {
        self.fact(name).parse().ok()
    }
}

/// Brings a source up to date.
///
/// # Errors
/// What the operator has to do something about; nothing of the sync is visible then.
pub async fn sync(content: &Content, request: &SyncRequest, progress: &ProgressSink) -> Result<SyncOutcome, SyncError> {
    let mut findings = Findings::new();
    let plan = Plan::of(&request.spec)?;
    let keyring = signed::keyring(&request.spec, &mut findings)?;
    let fetcher = content.fetcher(&UpstreamAccess::from(plan.upstream))?;
    let previous = previous(content, request, &plan);
    let sync = Sync { content, request, progress, plan, fetcher, keyring, previous };
    let mut tries = 1;
    let mut outcome = loop {
        let mut seen = findings.clone();
        match sync.once(tries == 1, &mut seen).await {
            Ok(outcome) => break SyncOutcome { findings: finished(seen, &sync.fetcher), ..outcome },
            Err(Failed::Final(error)) => return Err(error),
            Err(Failed::Torn(error)) if tries >= TORN_TRIES_MAX => return Err(still_torn(error)),
            Err(Failed::Torn(_)) => {
                tokio::time::sleep(TORN_PAUSE * tries).await;
                tries += 1;
            }
        }
    };
    outcome.state.version = SYNC_STATE_VERSION;
    Ok(outcome)
}

fn finished(mut findings: Findings, fetcher: &Fetcher) -> Vec<drydock_domain::inventory::Finding> {
    findings.extend(fetcher.findings());
    findings.into_vec()
}

fn still_torn(error: SyncError) -> SyncError {
    match error {
        SyncError::Metadata { file, problem } => {
            let advice = "the mirror is in the middle of an update or broken; sync again later or add another mirror";
            SyncError::metadata(file, format!("{problem} (tried {TORN_TRIES_MAX} times: {advice})"))
        }
        other => other,
    }
}

/// The last sync's state, if what it made can be built upon.
fn previous(content: &Content, request: &SyncRequest, plan: &Plan<'_>) -> Option<Previous> {
    let state = request.previous.clone().filter(|state| state.version == SYNC_STATE_VERSION)?;
    let root = state.root.filter(|root| content.objects().has_object(&root.0))?;
    let previous = Previous { root, state };
    (previous.fact(FACT_SETTINGS) == plan.settings).then_some(previous)
}

impl Sync<'_> {
    async fn once(&self, may_be_unchanged: bool, findings: &mut Findings) -> Result<SyncOutcome, Failed> {
        self.progress.report("release", 0, None);
        let known = match &self.previous {
            Some(previous) if may_be_unchanged => {
                Known { validators: previous.state.validators.as_ref(), file: previous.fact(FACT_FILE) }
            }
            _ => Known::default(),
        };
        let got = signed::release(&self.fetcher, &self.plan, self.keyring.as_ref(), known, self.request.now, findings).await?;
        let (text, validators, file) = match (got, &self.previous) {
            (Got::Text { text, validators, file }, _) => (text, validators, file),
            (Got::Unchanged, Some(previous)) => return Ok(self.unchanged(previous, previous.state.clone())?),
            (Got::Unchanged, None) => return Err(self.bad_release("the mirror answered a question nobody asked").into()),
        };
        let release = Release::parse(&text).map_err(|error| self.bad_release(error.to_string()))?;
        release.check_dates(self.request.now).map_err(|error| self.bad_release(error.to_string()))?;
        let release_id = Sha256::of(&text).to_string();
        if let Some(previous) = &self.previous {
            if previous.fact(FACT_RELEASE) == release_id {
                let state = SyncState { validators: Some(validators), ..previous.state.clone() };
                return Ok(self.unchanged(previous, state)?);
            }
            if let (Some(had), Some(date)) = (previous.moment(FACT_DATE), release.date)
                && date < had
            {
                let what = format!(
                    "the mirror offers a Release of {date}, older than the one of {had} this source has; ignored, as apt does"
                );
                findings.note(self.release_name(), what);
                return Ok(self.unchanged(previous, previous.state.clone())?);
            }
        }
        self.note_oddities(&release, findings);
        let facts = [
            (FACT_SETTINGS, self.plan.settings.clone()),
            (FACT_FILE, file.to_owned()),
            (FACT_RELEASE, release_id),
            (FACT_DATE, release.date.map(|date| date.to_string()).unwrap_or_default()),
            (FACT_VALID_UNTIL, release.valid_until.map(|until| until.to_string()).unwrap_or_default()),
        ];
        let facts: BTreeMap<String, String> = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let state = SyncState { version: SYNC_STATE_VERSION, root: None, validators: Some(validators), facts };
        self.changed(&release, state, findings).await
    }

    fn release_name(&self) -> String {
        format!("{}{}", self.plan.base, signed::RELEASE)
    }

    fn bad_release(&self, problem: impl Into<String>) -> SyncError {
        SyncError::metadata(self.release_name(), problem)
    }

    fn unchanged(&self, previous: &Previous, state: SyncState) -> Result<SyncOutcome, SyncError> {
        let valid_until = previous.moment(FACT_VALID_UNTIL);
        release::check_valid_until(valid_until, self.request.now).map_err(|error| self.bad_release(error.to_string()))?;
        let stats = snapshot::load(self.content.objects(), &previous.root)?.stats;
        Ok(SyncOutcome { root: previous.root, changed: false, stats, state, findings: Vec::new() })
    }

    fn note_oddities(&self, release: &Release, findings: &mut Findings) {
        let name = self.release_name();
        if release.date.is_none() {
            findings
                .note(&name, "it has no Date that can be read; apt warns of that, and an older one cannot be told from a newer");
        }
        if release.bad_entries > 0 {
            findings.note(&name, format!("{} of its entries cannot be read or leave the suite; ignored", release.bad_entries));
        }
    }

    async fn changed(&self, release: &Release, mut state: SyncState, findings: &mut Findings) -> Result<SyncOutcome, Failed> {
        let wanted = self.plan.indexes(release, findings)?;
        let known: Vec<Option<KnownIndex>> = wanted.iter().map(|wanted| self.known_index(wanted)).collect();
        let dir = tempfile::Builder::new()
            .prefix("deb-sync-")
            .tempdir_in(self.content.staging())
            .map_err(|error| ContentError::io("create a directory in", self.content.staging())(error))?;
        let fetched = self.fetch_all(release, &wanted, &known, dir.path()).await?;
        let (built, seen) = self.build_all(&wanted, fetched).await?;
        findings.extend(seen.into_vec());
        // Gigabytes may wait for downloads below; the indexes are not needed any more.
        drop(dir);

        let mut doc = SnapshotDoc { deb: Some(self.plan.info(release, &wanted)), ..SnapshotDoc::empty(Format::Deb) };
        let mut locations = Vec::new();
        for ((wanted, known), built) in wanted.iter().zip(known).zip(built) {
            let index = match (known, built) {
                (_, Some(Built { tree, package_bytes, locations: found })) => {
                    locations.extend(found);
                    KnownIndex { identity: wanted.identity(), tree, package_bytes }
                }
                (Some(known), None) => known,
                (None, None) => return Err(SyncError::Worker("reading indexes".to_owned()).into()),
            };
            doc.stats.packages += index.tree.count;
            doc.stats.package_bytes = doc.stats.package_bytes.saturating_add(index.package_bytes);
            // Plain structures of text and numbers always have a JSON form.
            let fact = serde_json::to_string(&index).unwrap_or_default();
            state.facts.insert(format!("{FACT_INDEX}{}", wanted.index), fact);
            doc.packages.insert(wanted.index.clone(), index.tree);
        }
        let stats = doc.stats;
        let root = self.save(doc, locations).await?;
        state.root = Some(root);
        let changed = self.request.previous.as_ref().and_then(|state| state.root) != Some(root);
        Ok(SyncOutcome { root, changed, stats, state, findings: Vec::new() })
    }

    /// The tree of an index that has not changed.
    fn known_index(&self, wanted: &WantedIndex) -> Option<KnownIndex> {
        let fact = self.previous.as_ref()?.state.facts.get(&format!("{FACT_INDEX}{}", wanted.index))?;
        let known: KnownIndex = serde_json::from_str(fact).ok()?;
        (known.identity == wanted.identity() && self.content.objects().has_object(&known.tree.root)).then_some(known)
    }

    /// Fetches the index files that are not known, each once, in the order of `wanted`.
    async fn fetch_all(
        &self,
        release: &Release,
        wanted: &[WantedIndex],
        known: &[Option<KnownIndex>],
        dir: &Path,
    ) -> Result<Vec<Option<PathBuf>>, Failed> {
        let mut fetches = Vec::with_capacity(wanted.len());
        for (number, (index, known_tree)) in wanted.iter().zip(known).enumerate() {
            // The architectures of a flat repository share one file.
            let same = |at: &usize| known[*at].is_none() && wanted[*at].candidates == index.candidates;
            let first = (0..number).find(same).unwrap_or(number);
            let to = dir.join(first.to_string());
            fetches.push(async move {
                if known_tree.is_some() {
                    return Ok(None);
                }
                if first == number {
                    self.fetch(release, index, &to).await?;
                }
                Ok(Some(to))
            });
        }
        stream::iter(fetches).buffered(FETCHES_AT_ONCE).try_collect().await
    }

    async fn fetch(&self, release: &Release, wanted: &WantedIndex, to: &Path) -> Result<(), Failed> {
        let mut missing = None;
        for (path, entry) in &wanted.candidates {
            if entry.size > INDEX_FILE_MAX_BYTES {
                let problem = format!("it has {} bytes; at most {INDEX_FILE_MAX_BYTES} are read", entry.size);
                return Err(SyncError::metadata(path, problem).into());
            }
            let by_hash = release.by_hash.then(|| by_hash(path, entry));
            for path in by_hash.iter().chain([path]) {
                match self.download(path, entry, to).await {
                    Ok(()) => return Ok(()),
                    Err(error) if error.is_not_found() => missing = Some(error),
                    Err(error) if does_not_fit(&error) => return Err(self.torn(path, &error)),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        match missing {
            Some(error) => Err(self.torn(&wanted.index, &error)),
            None => Err(SyncError::metadata(&wanted.index, "the Release names no file for it").into()),
        }
    }

    fn torn(&self, what: &str, error: &FetchError) -> Failed {
        Failed::Torn(SyncError::metadata(format!("{}{what}", self.plan.base), format!("it does not fit its Release: {error}")))
    }

    async fn download(&self, path: &str, entry: &IndexEntry, to: &Path) -> Result<(), FetchError> {
        let expect = Expect { size: Some(entry.size), max_size: entry.size, digests: vec![entry.sha256.digest()] };
        self.fetcher.download(&format!("{}{path}", self.plan.base), &expect, to).await.map(|_| ())
    }

    /// Reads the fetched files into trees, in the order of `wanted`.
    async fn build_all(
        &self,
        wanted: &[WantedIndex],
        fetched: Vec<Option<PathBuf>>,
    ) -> Result<(Vec<Option<Built>>, Findings), SyncError> {
        let store = self.content.objects().clone();
        let selection = self.request.spec.selection.clone();
        let wanted: Vec<WantedIndex> = wanted.to_vec();
        blocking("reading indexes", self.progress, move |progress| {
            let mut findings = Findings::new();
            let mut built = Vec::with_capacity(wanted.len());
            for (wanted, path) in wanted.iter().zip(fetched) {
                let Some(path) = path else {
                    built.push(None);
                    continue;
                };
                // A Release that lies about the size is found out by the decompressor.
                let max_raw = wanted.raw_size.unwrap_or(INDEX_RAW_MAX_BYTES).min(INDEX_RAW_MAX_BYTES);
                let file = IndexFile { name: &wanted.candidates[0].0, path: &path, max_raw, only: wanted.only.as_deref() };
                built.push(Some(index::build(&store, &file, &selection, &mut findings, progress)?));
            }
            Ok((built, findings))
        })
        .await
    }

    /// Makes the snapshot and all it needs durable; its name comes last.
    async fn save(&self, doc: SnapshotDoc, locations: Vec<Location>) -> Result<SnapshotRoot, SyncError> {
        let content = self.content.clone();
        let source = self.request.source;
        let immediate = self.request.spec.policy == DownloadPolicy::Immediate;
        let (doc, wanted) = blocking("noting where packages are", self.progress, move |_| {
            let units = locations.into_iter().map(|found| UnitLocation {
                digest: found.sha256.digest(),
                location: found.path.into(),
                size: found.size,
            });
            content.units().add(source, units)?;
            let wanted = if immediate { units_of(&content, &doc)? } else { Vec::new() };
            Ok((doc, wanted))
        })
        .await?;
        if !wanted.is_empty() {
            self.content.download_missing(&self.fetcher, wanted, self.progress).await?;
        }
        let content = self.content.clone();
        blocking("saving the snapshot", self.progress, move |_| Ok(snapshot::save(content.objects(), &doc)?)).await
    }
}

/// `main/binary-amd64/Packages.xz` → `main/binary-amd64/by-hash/SHA256/<sum>`.
fn by_hash(path: &str, entry: &IndexEntry) -> String {
    let dir = path.rsplit_once('/').map(|(dir, _)| format!("{dir}/")).unwrap_or_default();
    format!("{dir}by-hash/SHA256/{}", entry.sha256)
}

/// Another file than the Release names.
fn does_not_fit(error: &FetchError) -> bool {
    let too_large = |attempt: &crate::fetch::Attempt| matches!(attempt.problem, crate::fetch::Problem::TooLarge(_));
    error.is_mismatch() || matches!(error, FetchError::Upstream { attempts, .. } if attempts.iter().any(too_large))
}

/// Every package file of a snapshot.
fn units_of(content: &Content, doc: &SnapshotDoc) -> Result<Vec<WantedUnit>, SyncError> {
    let mut units = Vec::new();
    for tree in doc.packages.values() {
        for head in tree::iter(content.objects(), tree, None) {
            let record = snapshot::unit_record(&head?)?;
            let digest: Digest =
                record.digest.parse().map_err(|_| ContentError::damaged("record", &record.name, "its digest cannot be read"))?;
            units.push(WantedUnit { location: record.location, size: record.size, digest });
        }
    }
    Ok(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hash_stands_beside_the_file() {
        let entry = IndexEntry { sha256: Sha256::of(b""), size: 0 };
        let sum = entry.sha256.to_string();
        assert_eq!(by_hash("main/binary-amd64/Packages.xz", &entry), format!("main/binary-amd64/by-hash/SHA256/{sum}"));
        assert_eq!(by_hash("Packages", &entry), format!("by-hash/SHA256/{sum}"));
    }
}

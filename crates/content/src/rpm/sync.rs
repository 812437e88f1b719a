//! Mirroring a yum repository: `repomd.xml`, its signature, the files it names, a snapshot. Until the snapshot's root is
//! returned nothing of it is visible; whatever fails leaves the previous one as it is.

use std::collections::BTreeMap;
use std::path::Path;

use drydock_domain::source::spec::{DownloadPolicy, Origin, SignatureCheck};
use futures::stream::{StreamExt as _, TryStreamExt as _};
use tempfile::TempPath;

use super::build::{Built, Inputs, build};
use super::notes::Notes;
use super::repomd::{REPOMD_MAX_BYTES, Repomd};
use super::select::{EXTRA_MAX_BYTES, METADATA_MAX_BYTES, Wanted, Wants, select};
use crate::content::Content;
use crate::digest::Sha256;
use crate::error::ContentError;
use crate::fetch::{Expect, FetchError, Fetched, Fetcher, UpstreamAccess, Validators};
use crate::openpgp::{Keyring, OpenPgpError};
use crate::snapshot::{self, Extra, SnapshotDoc, SnapshotRoot};
use crate::sync::{Findings, ProgressSink, SYNC_STATE_VERSION, SyncError, SyncOutcome, SyncRequest, SyncState, blocking};

/// Path of the file that names the others.
const REPOMD: &str = "repodata/repomd.xml";
/// Path of its signature.
const SIGNATURE: &str = "repodata/repomd.xml.asc";
/// Largest signature, bytes.
const SIGNATURE_MAX_BYTES: u64 = 256 * 1024;
/// Metadata files fetched at the same time.
const PARALLEL_FILES: usize = 3;
/// Times that `repomd.xml` and its signature are fetched until they belong together.
const ATTEMPTS: u32 = 2;
/// Grows when the same upstream makes another snapshot.
const EDITION: u32 = 1;

/// Names in [`SyncState::facts`].
const SHAPE: &str = "shape";
const REPOMD_SUM: &str = "repomd";
const TREES: [&str; 3] = ["packages", "advisories", "modules"];

/// The snapshot before.
struct Previous {
    state: SyncState,
    root: SnapshotRoot,
    doc: SnapshotDoc,
}

struct Mirroring<'a> {
    content: &'a Content,
    request: &'a SyncRequest,
    progress: &'a ProgressSink,
    fetcher: Fetcher,
    /// Of the settings that decide what a snapshot holds.
    shape: String,
    previous: Option<Previous>,
}

/// `repomd.xml` as it is now.
struct Index {
    bytes: Vec<u8>,
    validators: Validators,
    notes: Notes,
}

/// Mirrors the source once.
///
/// # Errors
/// Says which file of the upstream, which setting or which part of the content directory is the reason, and what to do.
pub async fn sync(content: &Content, request: &SyncRequest, progress: &ProgressSink) -> Result<SyncOutcome, SyncError> {
    let Origin::Upstream(upstream) = &request.spec.origin else {
        return Err(SyncError::Spec { field: "origin", problem: "names no upstream; there is nothing to sync".to_owned() });
    };
    let fetcher = content.fetcher(&UpstreamAccess::from(upstream))?;
    let shape = shape(request)?;
    let previous = previous(content, request, &shape, progress).await?;
    let mirroring = Mirroring { content, request, progress, fetcher, shape, previous };
    // With which repomd.xml a file was not there or another one than announced.
    let mut failed: Option<(Sha256, FetchError)> = None;
    loop {
        let again = failed.is_some();
        let conditions = if again { None } else { mirroring.conditions() };
        let Some(index) = mirroring.index(conditions).await? else { return mirroring.unchanged(None) };
        let sum = Sha256::of(&index.bytes);
        if let Some((_, error)) = failed.take_if(|(before, _)| *before == sum) {
            return Err(error.into());
        }
        if !again && mirroring.has_seen(&sum) {
            return mirroring.unchanged(Some(index.validators));
        }
        match mirroring.run(index, sum).await {
            // The upstream may have been updated between two requests: its new repomd.xml names the new files.
            Err(SyncError::Fetch(error)) if !again && (error.is_mismatch() || error.is_not_found()) => {
                tracing::info!(source = %mirroring.request.spec.name, %error, "a file is not what repomd.xml says; looking again");
                failed = Some((sum, error));
            }
            other => return other,
        }
    }
}

/// Everything that decides what is made of an upstream's bytes, in one sum.
fn shape(request: &SyncRequest) -> Result<String, SyncError> {
    let spec = &request.spec;
    // Of a metadata-only source every location holds the upstream's URL.
    let place = matches!(spec.policy, DownloadPolicy::MetadataOnly).then_some(&spec.origin);
    let shaping = (EDITION, &spec.architectures, &spec.selection, spec.policy, spec.signatures, &spec.keys, place);
    let json = serde_json::to_vec(&shaping).map_err(|error| SyncError::Worker(format!("writing settings ({error})")))?;
    Ok(Sha256::of(&json).to_string())
}

async fn previous(
    content: &Content,
    request: &SyncRequest,
    shape: &str,
    progress: &ProgressSink,
) -> Result<Option<Previous>, SyncError> {
    let Some(state) = request.previous.clone() else { return Ok(None) };
    let usable = state.version == SYNC_STATE_VERSION && state.facts.get(SHAPE).is_some_and(|s| s == shape);
    let Some(root) = state.root.filter(|_| usable) else { return Ok(None) };
    let content = content.clone();
    blocking("reading the last snapshot", progress, move |_| {
        match snapshot::load(content.objects(), &root) {
            Ok(doc) => Ok(Some(Previous { state, root, doc })),
            // Restored from an older backup, for example: everything is read anew.
            Err(ContentError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

impl Mirroring<'_> {
    fn conditions(&self) -> Option<&Validators> {
        self.previous.as_ref().and_then(|previous| previous.state.validators.as_ref())
    }

    fn has_seen(&self, sum: &Sha256) -> bool {
        let fact = self.previous.as_ref().and_then(|previous| previous.state.facts.get(REPOMD_SUM));
        fact.is_some_and(|fact| *fact == sum.to_string())
    }

    /// The outcome when `repomd.xml` is the one of the last sync.
    fn unchanged(&self, validators: Option<Validators>) -> Result<SyncOutcome, SyncError> {
        let Some(Previous { state, root, doc }) = &self.previous else {
            return Err(SyncError::metadata(REPOMD, "the upstream says that it has not changed, but it was never read"));
        };
        let mut state = state.clone();
        state.validators = validators.or(state.validators);
        Ok(SyncOutcome { root: *root, changed: false, stats: doc.stats, state, findings: self.fetcher.findings() })
    }

    /// `repomd.xml`, its signature checked; `None` when the upstream says that it has not changed.
    async fn index(&self, conditions: Option<&Validators>) -> Result<Option<Index>, SyncError> {
        self.progress.report("reading repomd.xml", 0, None);
        let mut attempt = 1;
        loop {
            let fetched = self.fetcher.get(REPOMD, REPOMD_MAX_BYTES, conditions.filter(|_| attempt == 1)).await?;
            let Fetched::Body { bytes, validators, .. } = fetched else { return Ok(None) };
            let mut notes = Notes::default();
            if self.has_seen(&Sha256::of(&bytes)) && attempt == 1 {
                return Ok(Some(Index { bytes, validators, notes }));
            }
            match self.verify(&bytes, &mut notes).await {
                Ok(()) => return Ok(Some(Index { bytes, validators, notes })),
                // Both files may have been replaced between the two requests.
                Err(SyncError::Signature { .. }) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn verify(&self, repomd: &[u8], notes: &mut Notes) -> Result<(), SyncError> {
        let spec = &self.request.spec;
        let required = match spec.signatures {
            SignatureCheck::None => {
                notes.single(REPOMD, "its signature is not checked: the source says so");
                return Ok(());
            }
            SignatureCheck::Optional if spec.keys.is_empty() => return Ok(()),
            SignatureCheck::Optional => false,
            SignatureCheck::Required => true,
        };
        let refused = |source| SyncError::Signature { file: REPOMD.to_owned(), source };
        let keyring = Keyring::parse(&spec.keys).map_err(refused)?;
        if keyring.is_empty() {
            return Err(refused(OpenPgpError::NoKeys));
        }
        let signature = match self.fetcher.get(SIGNATURE, SIGNATURE_MAX_BYTES, None).await {
            Ok(Fetched::Body { bytes, .. }) => bytes,
            Ok(Fetched::NotModified) => Vec::new(),
            Err(error) if error.is_not_found() && !required => {
                notes.single(REPOMD, format!("the upstream has no {SIGNATURE}: only checksums are checked"));
                return Ok(());
            }
            Err(error) if error.is_not_found() => {
                let problem = format!("the upstream has no {SIGNATURE}; set `signatures` to optional if it never has one");
                return Err(refused(OpenPgpError::Malformed { problem }));
            }
            Err(error) => return Err(error.into()),
        };
        let (data, now) = (repomd.to_vec(), self.request.now);
        let verified =
            blocking("checking a signature", self.progress, move |_| Ok(keyring.verify_detached(&data, &signature, now)));
        match verified.await? {
            Ok(verified) => {
                if let Some(weak) = verified.weak {
                    notes.single(REPOMD, format!("its signature is weak: {weak}"));
                }
                Ok(())
            }
            // The keys of a source may be those of its packages only.
            Err(error @ OpenPgpError::UnknownKey { .. }) if !required => {
                notes.single(REPOMD, format!("its signature is not checked: {error}"));
                Ok(())
            }
            Err(error) => Err(refused(error)),
        }
    }

    async fn run(&self, index: Index, sum: Sha256) -> Result<SyncOutcome, SyncError> {
        let Index { bytes, validators, mut notes } = index;
        let repomd = Repomd::parse(&bytes).map_err(|error| SyncError::metadata(REPOMD, error.to_string()))?;
        let wants = select(&repomd, &mut notes)?;
        let spec = &self.request.spec;
        let everything = spec.selection.is_everything() && spec.architectures.is_empty();
        let sums = wants.sums(&self.shape, everything);
        let keep = self.unchanged_trees(&sums);
        let files = self.fetch(&wants, keep).await?;
        let extras = self.extras(&wants, &mut notes).await?;
        let upstream_base = match spec.policy {
            DownloadPolicy::MetadataOnly => Some(self.fetcher.base_url().await?),
            _ => None,
        };
        let inputs = Inputs {
            content: self.content.clone(),
            source: self.request.source,
            architectures: spec.architectures.clone(),
            selection: spec.selection.clone(),
            policy: spec.policy,
            upstream_base,
            own_urls: match &spec.origin {
                Origin::Upstream(upstream) => upstream.urls.clone(),
                _ => Vec::new(),
            },
            files,
            keep,
            previous: self.previous.as_ref().map(|previous| previous.doc.clone()),
            extras,
        };
        let built = blocking("building a snapshot", self.progress, move |progress| build(inputs, progress)).await?;
        let Built { doc, wanted, notes: more } = built;
        notes.extend(more);
        if matches!(spec.policy, DownloadPolicy::Immediate) {
            self.content.download_missing(&self.fetcher, wanted, self.progress).await?;
        }
        let (content, stats) = (self.content.clone(), doc.stats);
        let root = blocking("saving a snapshot", self.progress, move |progress| {
            progress.check()?;
            Ok(snapshot::save(content.objects(), &doc)?)
        })
        .await?;
        let mut facts = BTreeMap::from([(SHAPE.to_owned(), self.shape.clone()), (REPOMD_SUM.to_owned(), sum.to_string())]);
        facts.extend(TREES.iter().map(|name| (*name).to_owned()).zip(sums));
        let state = SyncState { version: SYNC_STATE_VERSION, root: Some(root), validators: Some(validators), facts };
        let mut findings: Findings = notes.into_findings();
        findings.extend(self.fetcher.findings());
        let changed = self.previous.as_ref().is_none_or(|previous| previous.root != root)
            && self.request.previous.as_ref().is_none_or(|state| state.root != Some(root));
        Ok(SyncOutcome { root, changed, stats, state, findings: findings.into_vec() })
    }

    /// Which of the last snapshot's trees are made of the same files.
    fn unchanged_trees(&self, sums: &[String; 3]) -> [bool; 3] {
        let Some(previous) = &self.previous else { return [false; 3] };
        std::array::from_fn(|n| previous.state.facts.get(TREES[n]) == Some(&sums[n]))
    }

    /// Fetches the files of the trees that are not kept.
    async fn fetch(&self, wants: &Wants, keep: [bool; 3]) -> Result<[Option<Fresh>; 5], SyncError> {
        const TREE_OF_FILE: [usize; 5] = [0, 0, 0, 1, 2];
        let wanted: Vec<(usize, Wanted)> =
            wants.read().into_iter().enumerate().filter_map(|(n, file)| Some((n, file?.clone()))).collect();
        let needed: Vec<_> = wanted.into_iter().filter(|(n, _)| !keep[TREE_OF_FILE[*n]]).collect();
        let total = needed.len() as u64;
        let mut fetched = futures::stream::iter(needed)
            .map(|(n, file)| async move { Ok::<_, SyncError>((n, self.download(file, METADATA_MAX_BYTES).await?.0)) })
            .buffer_unordered(PARALLEL_FILES);
        let mut files: [Option<Fresh>; 5] = Default::default();
        let mut done = 0;
        while let Some((n, file)) = fetched.try_next().await? {
            done += 1;
            self.progress.report("fetching metadata", done, Some(total));
            files[n] = Some(file);
        }
        Ok(files)
    }

    async fn download(&self, file: Wanted, max_size: u64) -> Result<(Fresh, Sha256, u64), SyncError> {
        let expect = Expect { size: file.size, max_size, digests: vec![file.digest] };
        let path = self.content.objects().staging_file("rpm-")?.into_temp_path();
        let downloaded = self.fetcher.download(&file.location, &expect, &path).await?;
        Ok((Fresh { name: file.location, path, open_size: file.open_size }, downloaded.sha256, downloaded.size))
    }

    /// Files that are taken over as they are. One that is announced and not there is a finding: hosts do without, too.
    async fn extras(&self, wants: &Wants, notes: &mut Notes) -> Result<Vec<Extra>, SyncError> {
        let mut extras = Vec::new();
        for file in &wants.extras {
            let file_name = extra_file_name(file);
            match self.extra(file, file_name).await {
                Ok(extra) => extras.push(extra),
                Err(SyncError::Fetch(error @ FetchError::Path(_))) => notes.single(REPOMD, error.to_string()),
                Err(SyncError::Fetch(error)) if error.is_not_found() => {
                    notes.single(&file.location, "repomd.xml names it and it is not there; it is left out");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(extras)
    }

    async fn extra(&self, file: &Wanted, file_name: String) -> Result<Extra, SyncError> {
        let store = self.content.objects();
        let kind = file.kind.clone();
        if let Some(path) = store.blob_path(&file.digest)
            && let (Some(sha256), Some(size)) = (store.blob_id(&file.digest), size_of(&path))
        {
            return Ok(Extra { kind, sha256, size, file_name });
        }
        let (fresh, sha256, size) = self.download(file.clone(), EXTRA_MAX_BYTES).await?;
        let (store, digest) = (store.clone(), file.digest.clone());
        blocking("storing a file", self.progress, move |_| {
            store.put_blob_from(&fresh.path, sha256, &[digest])?;
            Ok(Extra { kind, sha256, size, file_name })
        })
        .await
    }
}

fn size_of(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.len())
}

/// Its name without the checksum that many upstreams put in front, and without characters that need care.
fn extra_file_name(file: &Wanted) -> String {
    let name = super::primary::file_name(&file.location);
    let bare = name.strip_prefix(file.digest.hex()).and_then(|rest| rest.strip_prefix('-')).unwrap_or(name);
    super::primary::sanitised(bare)
}

/// A file that was fetched and has the announced checksum.
#[derive(Debug)]
pub(crate) struct Fresh {
    /// Path in the upstream.
    pub name: String,
    /// Removed with this.
    pub path: TempPath,
    /// Announced.
    pub open_size: Option<u64>,
}

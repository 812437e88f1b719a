//! The content directory as one thing: stores, indexes, caches and fetches under way, and what one does with them,
//! whatever the format.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::{self, TryStreamExt as _};

use crate::digest::{Digest, Sha256};
use crate::error::ContentResult;
use crate::fetch::{Expect, FetchError, Fetcher, UpstreamAccess};
use crate::flight::Flights;
use crate::head::{self, Publication};
use crate::objects::ObjectStore;
use crate::serve::UNIT_MAX_BYTES;
use crate::snapshot::SnapshotRoot;
use crate::sync::{ProgressSink, SyncError, blocking};
use crate::units::UnitIndex;

/// Package files downloaded at once by one sync.
pub const DOWNLOADS_AT_ONCE: usize = 8;
/// HTTP clients kept for on-demand fetches.
const FETCHERS_MAX: usize = 32;
/// How long one is kept: its list of mirrors gets old.
const FETCHER_KEPT: Duration = Duration::from_secs(600);
/// Publications kept in memory; one is some kilobytes.
const PUBLICATIONS_MAX: usize = 256;

/// The content directory. Cheap to clone; one for a process.
#[derive(Clone)]
pub struct Content {
    inner: Arc<Inner>,
}

struct Inner {
    objects: ObjectStore,
    units: UnitIndex,
    staging: PathBuf,
    flights: Flights<PathBuf>,
    /// Newest last.
    fetchers: Mutex<Vec<(Instant, UpstreamAccess, Fetcher)>>,
    /// Newest last.
    publications: Mutex<Vec<Arc<Publication>>>,
}

/// A package file that a snapshot needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedUnit {
    /// Path below the upstream's base.
    pub location: String,
    /// Size, bytes.
    pub size: u64,
    /// Digest its metadata names.
    pub digest: Digest,
}

impl Content {
    /// Opens the directory, makes what is missing, and removes leftovers of staging that are older than a day; younger
    /// ones are downloads that may be gone on with.
    ///
    /// # Errors
    /// When the directory cannot be made or listed.
    pub fn open(dir: &Path) -> ContentResult<Content> {
        let objects = ObjectStore::open(dir)?;
        head::prepare(dir)?;
        let units = UnitIndex::open(&objects)?;
        let staging = objects.staging_dir();
        let inner = Inner {
            objects,
            units,
            staging,
            flights: Flights::new(),
            fetchers: Mutex::default(),
            publications: Mutex::default(),
        };
        Ok(Content { inner: Arc::new(inner) })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        self.inner.objects.dir()
    }

    /// Where files are written before they get their name.
    pub fn staging(&self) -> &Path {
        &self.inner.staging
    }

    /// Objects, blobs and published metadata.
    pub fn objects(&self) -> &ObjectStore {
        &self.inner.objects
    }

    /// Where upstreams have units.
    pub fn units(&self) -> &UnitIndex {
        &self.inner.units
    }

    pub(crate) fn flights(&self) -> &Flights<PathBuf> {
        &self.inner.flights
    }

    /// A reader of an upstream, for one sync: with findings of its own.
    ///
    /// # Errors
    /// When a setting of the upstream cannot be used.
    pub fn fetcher(&self, access: &UpstreamAccess) -> Result<Fetcher, FetchError> {
        Fetcher::new(access, &self.inner.staging)
    }

    /// A reader for on-demand fetches: a recent one for the same access is taken again, with its connections and mirrors.
    pub(crate) fn fetcher_kept(&self, access: &UpstreamAccess) -> Result<Fetcher, FetchError> {
        let mut kept = self.inner.fetchers.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(made, _, _)| made.elapsed() < FETCHER_KEPT);
        if let Some((_, _, fetcher)) = kept.iter().find(|(_, of, _)| of == access) {
            return Ok(fetcher.clone());
        }
        let fetcher = self.fetcher(access)?;
        if kept.len() == FETCHERS_MAX {
            kept.remove(0);
        }
        kept.push((Instant::now(), access.clone(), fetcher.clone()));
        Ok(fetcher)
    }

    /// Downloads a file into the blobs.
    pub(crate) async fn download_blob(&self, fetcher: &Fetcher, location: &str, expect: &Expect) -> Result<Sha256, FetchError> {
        let objects = self.inner.objects.clone();
        // Only its name is wanted: the download replaces the empty file.
        let staged = objects.staging_file("blob-")?.into_temp_path();
        let done = fetcher.download(location, expect, &staged).await?;
        let aliases = expect.digests.clone();
        let put = tokio::task::spawn_blocking(move || {
            objects.put_blob_from(&staged, done.sha256, &aliases)?;
            // It has its place; there is nothing left to remove.
            let _ = staged.keep();
            Ok::<_, FetchError>(done.sha256)
        });
        put.await.unwrap_or_else(|_| {
            Err(FetchError::Local(crate::ContentError::io("write", &self.inner.staging)(std::io::Error::other(
                "a worker thread failed",
            ))))
        })
    }

    /// Downloads every package file that is not here yet (policy *immediate*).
    ///
    /// # Errors
    /// The first failure; what was downloaded until then is kept for the next try.
    pub async fn download_missing(
        &self,
        fetcher: &Fetcher,
        units: Vec<WantedUnit>,
        progress: &ProgressSink,
    ) -> Result<(), SyncError> {
        let objects = self.inner.objects.clone();
        let missing = blocking("looking for missing package files", progress, move |progress| {
            let mut missing = Vec::new();
            for (at, unit) in units.into_iter().enumerate() {
                if at % 1000 == 0 {
                    progress.check()?;
                }
                if objects.blob_path(&unit.digest).is_none() {
                    missing.push(unit);
                }
            }
            // Listed twice (two indexes), fetched once.
            missing.sort_by(|a, b| a.digest.cmp(&b.digest));
            missing.dedup_by(|a, b| a.digest == b.digest);
            Ok(missing)
        })
        .await?;
        let total = missing.iter().map(|unit| unit.size).sum();
        let done = AtomicU64::new(0);
        progress.report("package files", 0, Some(total));
        stream::iter(missing.into_iter().map(Ok::<_, SyncError>))
            .try_for_each_concurrent(DOWNLOADS_AT_ONCE, |unit| {
                let done = &done;
                async move {
                    progress.check()?;
                    let expect = Expect { size: Some(unit.size), max_size: UNIT_MAX_BYTES, digests: vec![unit.digest] };
                    self.download_blob(fetcher, &unit.location, &expect).await?;
                    let now = done.fetch_add(unit.size, Ordering::Relaxed) + unit.size;
                    progress.report("package files", now, Some(total));
                    Ok(())
                }
            })
            .await
    }

    /// The publication of a snapshot.
    ///
    /// # Errors
    /// When it was not made, or cannot be read.
    pub fn publication(&self, root: &SnapshotRoot) -> ContentResult<Publication> {
        self.publication_cached(root).map(|publication| (*publication).clone())
    }

    pub(crate) fn publication_cached(&self, root: &SnapshotRoot) -> ContentResult<Arc<Publication>> {
        let kept = || self.inner.publications.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept().iter().find(|publication| publication.root == *root) {
            return Ok(Arc::clone(found));
        }
        let publication = Arc::new(Publication::load(&self.inner.objects, root)?);
        let mut kept = kept();
        if kept.len() == PUBLICATIONS_MAX {
            kept.remove(0);
        }
        kept.push(Arc::clone(&publication));
        Ok(publication)
    }
}

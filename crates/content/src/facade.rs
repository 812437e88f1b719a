//! The operations on a source's content, one entry for every format.

use drydock_domain::source::unit::Format;
use jiff::Timestamp;

use crate::content::Content;
use crate::error::{ContentError, ContentResult};
use crate::head::{Head, Publication};
use crate::openpgp::RepositoryKey;
use crate::snapshot::{self, SnapshotRoot};
use crate::sync::{LocalRequest, ProgressSink, SyncError, SyncOutcome, SyncRequest};
use crate::{deb, rpm};

impl Content {
    /// Reads the upstream of a source into a new snapshot, complete or not at all. Dropping the future gives it up:
    /// nothing of it becomes visible, and blocking parts end at their next check.
    ///
    /// # Errors
    /// What the upstream, its signature or its metadata is missing, and what to do about it.
    pub async fn sync(&self, request: &SyncRequest, progress: &ProgressSink) -> Result<SyncOutcome, SyncError> {
        // A sink of its own: giving this sync up does not cancel what else the caller's sink is used for.
        let progress = progress.child();
        let _given_up = progress.cancel_on_drop();
        match request.spec.format {
            Format::Rpm => rpm::sync::sync(self, request, &progress).await,
            Format::Deb => deb::sync::sync(self, request, &progress).await,
        }
    }

    /// Takes uploaded packages into a local source, and others out of it. Blocking.
    ///
    /// # Errors
    /// Which file is refused, and why.
    pub fn add_local(&self, request: &LocalRequest, progress: &ProgressSink) -> Result<SyncOutcome, SyncError> {
        match request.spec.format {
            Format::Rpm => rpm::local::add(self, request, progress),
            Format::Deb => deb::local::add(self, request, progress),
        }
    }

    /// Makes the bulk metadata of a snapshot; one that is there, whole, is returned as it is. Blocking.
    ///
    /// # Errors
    /// When the snapshot cannot be read, or files cannot be written.
    pub fn publish(&self, root: &SnapshotRoot, progress: &ProgressSink) -> Result<Publication, SyncError> {
        match Publication::load(self.objects(), root) {
            Ok(publication) if publication.is_whole(self.objects()) => return Ok(publication),
            // One that is not whole (a file was lost) or damaged is made anew: the same bytes again.
            Ok(_) | Err(ContentError::Missing { .. } | ContentError::Damaged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let doc = snapshot::load(self.objects(), root)?;
        let publication = match doc.format {
            Format::Rpm => rpm::publish::publish(self, root, &doc, progress)?,
            Format::Deb => deb::publish::publish(self, root, &doc, progress)?,
        };
        publication.save(self.objects())?;
        Ok(publication)
    }

    /// Makes the signed, dated files that name a publication's: anew at every move of a pointer. Blocking, small.
    ///
    /// # Errors
    /// When the snapshot cannot be read, signing fails, or the result is too large.
    pub fn head(&self, publication: &Publication, at: Timestamp, keys: &[RepositoryKey]) -> ContentResult<Head> {
        let doc = snapshot::load(self.objects(), &publication.root)?;
        let head = match doc.format {
            Format::Rpm => rpm::publish::head(publication, &doc, at, keys)?,
            Format::Deb => deb::publish::head(publication, &doc, at, keys)?,
        };
        head.bounded()
    }
}

//! What apt reads of a snapshot, in files: one `Packages.gz` an index, made by putting its pre-compressed members one
//! behind the other. The few small files that name them are made at every pointer move; see [`super::head`].
//!
//! A Release must also name the index as it is without compression: apt (2.6, 3.0) takes no notice of a `Packages.gz`
//! whose plain form is not named, and checks that form's checksum. So every member is inflated once here, on another
//! thread, only to be hashed.
//! Absent: other compressions, Contents, Translation and Sources files; apt does without.

use std::io::{BufWriter, Read, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use drydock_domain::source::unit::Format;
use flate2::bufread::MultiGzDecoder;

use crate::content::Content;
use crate::digest::{Hasher, Sha256};
use crate::error::{ContentError, ContentResult};
use crate::head::{Publication, PublishedFile};
use crate::snapshot::{DebInfo, SnapshotDoc, SnapshotRoot};
use crate::sync::{ProgressSink, SyncError};
use crate::tree::{self, TreeRef};

pub use super::head::head;

/// Kind of a published package index.
pub const PACKAGES_KIND: &str = "Packages";
/// Directory below `dists/` of what was a flat repository.
pub const FLAT_DIST: &str = "flat";
/// Members on their way to the hashing thread, count; a member holds about 64 stanzas, 50 kB.
const QUEUE_MEMBERS: usize = 16;

/// Writes the bulk metadata of a snapshot; nothing but the content decides its bytes.
///
/// # Errors
/// When stored content is missing or damaged, or cannot be written.
pub fn publish(
    content: &Content,
    root: &SnapshotRoot,
    doc: &SnapshotDoc,
    progress: &ProgressSink,
) -> Result<Publication, SyncError> {
    let info = deb_info(doc)?;
    let mut files = Vec::with_capacity(doc.packages.len());
    for (done, (index, tree)) in doc.packages.iter().enumerate() {
        progress.check()?;
        progress.report("publish", done as u64, Some(doc.packages.len() as u64));
        files.push(packages_gz(content, path_of(info, index)?, tree)?);
    }
    Ok(Publication { root: *root, format: Format::Deb, files })
}

/// What an apt snapshot says of itself.
pub(crate) fn deb_info(doc: &SnapshotDoc) -> ContentResult<&DebInfo> {
    doc.deb.as_ref().ok_or_else(|| ContentError::Refused {
        what: "publishing a snapshot for apt".to_owned(),
        problem: "it is not one of an apt repository".to_owned(),
    })
}

/// The directory below `dists/`.
pub(crate) fn dist(info: &DebInfo) -> &str {
    match info.dist.as_str() {
        "" if info.flat => FLAT_DIST,
        "" if !info.suite.is_empty() => &info.suite,
        "" => &info.codename,
        dist => dist,
    }
}

/// `main/amd64` → `dists/<dist>/main/binary-amd64/Packages.gz`.
fn path_of(info: &DebInfo, index: &str) -> ContentResult<String> {
    let (component, arch) =
        index.rsplit_once('/').ok_or_else(|| ContentError::damaged("snapshot index", index, "it is not component/arch"))?;
    Ok(format!("dists/{}/{component}/binary-{arch}/Packages.gz", dist(info)))
}

fn packages_gz(content: &Content, path: String, tree: &TreeRef) -> ContentResult<PublishedFile> {
    let objects = content.objects();
    let staged = objects.staging_file("packages")?;
    let io_error = |error| ContentError::io("write", staged.path())(error);
    let (raw, members) = sync_channel::<Vec<u8>>(QUEUE_MEMBERS);
    let (written, hashed) = thread::scope(|scope| {
        let hashing = scope.spawn(move || hash_raw(&members));
        let write = || -> ContentResult<(Sha256, u64, u64)> {
            let mut out = Hasher::new(BufWriter::with_capacity(1 << 18, staged.as_file()));
            let mut raw_size = 0;
            for member in tree::members(objects, tree, 0) {
                let member = member?;
                out.write_all(&member.gzip).map_err(io_error)?;
                raw_size += member.raw_len;
                // A closed channel means that hashing failed; its own error is the one to report.
                if raw.send(member.gzip).is_err() {
                    break;
                }
            }
            if raw_size == 0 {
                out.write_all(&EMPTY_GZIP).map_err(io_error)?;
            }
            let (mut file, sha256, size) = out.finish();
            file.flush().map_err(io_error)?;
            Ok((sha256, size, raw_size))
        };
        let written = write();
        drop(raw);
        (written, hashing.join())
    });
    let (sha256, size, raw_size) = written?;
    let hashed = hashed.map_err(|_| ContentError::damaged("tree", tree.root, "its members cannot be hashed"))?;
    let (raw_sha256, hashed_size) = hashed.map_err(|error| ContentError::damaged("tree", tree.root, error.to_string()))?;
    if hashed_size != raw_size {
        return Err(ContentError::damaged("tree", tree.root, "the members are not as long as they say"));
    }
    objects.put_meta_from(staged.path(), sha256)?;
    Ok(PublishedFile {
        path,
        kind: PACKAGES_KIND.to_owned(),
        sha256,
        size,
        raw_sha256: Some(raw_sha256),
        raw_size: Some(raw_size),
    })
}

/// A gzip file of nothing: what an index without packages is.
const EMPTY_GZIP: [u8; 20] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The checksum and length of everything inside the members.
fn hash_raw(members: &Receiver<Vec<u8>>) -> std::io::Result<(Sha256, u64)> {
    let mut hasher = Hasher::new(std::io::sink());
    let mut buffer = vec![0; 1 << 17];
    for member in members {
        let mut raw = MultiGzDecoder::new(member.as_slice());
        loop {
            match raw.read(&mut buffer)? {
                0 => break,
                n => hasher.write_all(&buffer[..n])?,
            }
        }
    }
    let (_, sha256, size) = hasher.finish();
    Ok((sha256, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_gzip_file_is_one() {
        let mut text = Vec::new();
        MultiGzDecoder::new(&EMPTY_GZIP[..]).read_to_end(&mut text).unwrap();
        assert!(text.is_empty());
    }
}

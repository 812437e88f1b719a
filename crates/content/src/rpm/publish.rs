//! Publications: the metadata files of a snapshot, put together from pieces that are compressed already, and the head
//! that names them at one moment.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter, Write};

use drydock_domain::source::unit::Format;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

use super::repomd;
use crate::content::Content;
use crate::digest::{Hasher, Sha256};
use crate::error::{ContentError, ContentResult};
use crate::head::{Head, Publication, PublishedFile};
use crate::objects::ObjectStore;
use crate::openpgp::{RepositoryKey, sign_detached};
use crate::snapshot::{Extra, SnapshotDoc, SnapshotRoot};
use crate::sync::{ProgressSink, SyncError};
use crate::tree::{TreeRef, members};

const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
/// Path of the head.
pub const REPOMD: &str = "repodata/repomd.xml";
/// Path of its signature.
pub const SIGNATURE: &str = "repodata/repomd.xml.asc";
/// Path of the keys that made it: zypper asks for them by this name.
pub const KEY: &str = "repodata/repomd.xml.key";

/// One file to put together.
struct Piece<'a> {
    kind: &'static str,
    file_name: &'static str,
    tree: &'a TreeRef,
    part: usize,
    header: String,
    trailer: &'static str,
}

/// Makes the metadata files of a snapshot. Equal snapshots make equal files.
///
/// # Errors
/// When the content directory fails.
pub fn publish(
    content: &Content,
    root: &SnapshotRoot,
    doc: &SnapshotDoc,
    progress: &ProgressSink,
) -> Result<Publication, SyncError> {
    let store = content.objects();
    let empty;
    let packages = match doc.packages.get("") {
        Some(tree) => tree,
        None => {
            empty = crate::tree::TreeBuilder::new(store, crate::snapshot::RPM_PARTS).finish()?;
            &empty
        }
    };
    let pieces = pieces(packages, doc);
    // Reading and hashing are what takes time; a thread for each file uses both.
    let files = std::thread::scope(|scope| {
        let threads: Vec<_> = pieces.iter().map(|piece| scope.spawn(|| put_together(store, piece, progress))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(SyncError::Worker("publishing".to_owned())))
        };
        threads.into_iter().map(join).collect::<Result<Vec<_>, _>>()
    })?;
    let extras = doc.extras.iter().map(|extra| put_extra(store, extra)).collect::<ContentResult<Vec<_>>>()?;
    Ok(Publication { root: *root, format: Format::Rpm, files: files.into_iter().chain(extras).collect() })
}

fn pieces<'a>(packages: &'a TreeRef, doc: &'a SnapshotDoc) -> Vec<Piece<'a>> {
    let count = packages.count;
    let package_file = |kind, file_name, part, root: &str, rpm: &str, trailer| {
        let header = format!(
            "{XML}<{root} xmlns=\"http://linux.duke.edu/metadata/{kind_ns}\"{rpm} packages=\"{count}\">\n",
            kind_ns = if part == 0 { "common" } else { kind }
        );
        Piece { kind, file_name, tree: packages, part, header, trailer }
    };
    let rpm = " xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\"";
    let mut pieces = vec![
        package_file("primary", "primary.xml.gz", 0, "metadata", rpm, "</metadata>\n"),
        package_file("filelists", "filelists.xml.gz", 1, "filelists", "", "</filelists>\n"),
        package_file("other", "other.xml.gz", 2, "otherdata", "", "</otherdata>\n"),
    ];
    if let Some(tree) = doc.advisories.as_ref().filter(|tree| tree.count > 0) {
        let header = format!("{XML}<updates>\n");
        pieces.push(Piece { kind: "updateinfo", file_name: "updateinfo.xml.gz", tree, part: 0, header, trailer: "</updates>\n" });
    }
    if let Some(tree) = doc.modules.as_ref().filter(|tree| tree.count > 0) {
        let header = String::new();
        pieces.push(Piece { kind: "modules", file_name: "modules.yaml.gz", tree, part: 0, header, trailer: "" });
    }
    pieces
}

fn put_together(store: &ObjectStore, piece: &Piece<'_>, progress: &ProgressSink) -> Result<PublishedFile, SyncError> {
    let staged = store.staging_file("publish-")?;
    let write = |doing: io::Result<()>| doing.map_err(ContentError::io("write", staged.path()));
    let mut out = Hasher::new(BufWriter::with_capacity(256 * 1024, staged.as_file()));
    let mut raw_size = (piece.header.len() + piece.trailer.len()) as u64;
    write(member(&mut out, &piece.header))?;
    for part in members(store, piece.tree, piece.part) {
        progress.check()?;
        let part = part?;
        raw_size += part.raw_len;
        write(out.write_all(&part.gzip))?;
    }
    write(member(&mut out, piece.trailer))?;
    let (mut file, sha256, size) = out.finish();
    write(file.flush())?;
    drop(file);
    store.put_meta_from(staged.path(), sha256)?;
    let path = format!("repodata/{sha256}-{}", piece.file_name);
    Ok(PublishedFile { path, kind: piece.kind.to_owned(), sha256, size, raw_sha256: None, raw_size: Some(raw_size) })
}

/// A gzip member without name and time; none for no text.
fn member(out: &mut impl Write, text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes())?;
    out.write_all(&encoder.finish()?)
}

fn put_extra(store: &ObjectStore, extra: &Extra) -> ContentResult<PublishedFile> {
    let Extra { kind, sha256, size, file_name } = extra.clone();
    if !store.has_meta(&sha256) {
        let blob = store.blob_path(&sha256.digest());
        let blob = blob.ok_or_else(|| ContentError::Missing { what: "file of a snapshot", id: sha256.to_string() })?;
        let staged = store.staging_file("publish-")?;
        fs::copy(&blob, staged.path()).map_err(ContentError::io("copy a file to", staged.path()))?;
        let bytes = fs::read(staged.path()).map_err(ContentError::io("read", staged.path()))?;
        if Sha256::of(&bytes) != sha256 {
            return Err(ContentError::damaged("file of a snapshot", sha256, "its content has another checksum"));
        }
        store.put_meta_from(staged.path(), sha256)?;
    }
    let path = format!("repodata/{sha256}-{file_name}");
    Ok(PublishedFile { path, kind, sha256, size, raw_sha256: None, raw_size: None })
}

/// `repomd.xml` and its signature, as of `at`.
///
/// # Errors
/// When signing fails.
pub fn head(publication: &Publication, _doc: &SnapshotDoc, at: Timestamp, keys: &[RepositoryKey]) -> ContentResult<Head> {
    let files: Vec<_> = publication.files.iter().map(published).collect();
    let xml = repomd::write(&files, at.as_second());
    let mut files = BTreeMap::new();
    if !keys.is_empty() {
        files.insert(SIGNATURE.to_owned(), sign_detached(keys, xml.as_bytes(), at)?.into_bytes());
        let public = keys.iter().map(RepositoryKey::public_armored).collect::<Result<Vec<_>, _>>()?;
        files.insert(KEY.to_owned(), public.concat().into_bytes());
    }
    files.insert(REPOMD.to_owned(), xml.into_bytes());
    Ok(Head { files })
}

fn published(file: &PublishedFile) -> repomd::Published<'_> {
    repomd::Published { kind: &file.kind, path: &file.path, sha256: file.sha256, size: file.size, raw_size: file.raw_size }
}

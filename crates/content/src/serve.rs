//! What a path below a repository's URL is: one of the head's files, published metadata by its name or by its hash, or a
//! package. Who may ask is decided before; nothing here opens a file by a name that came from a client.
//!
//! Metadata is found in any of the publications the caller allows, so a client that read an older head finds all it
//! names. A package is served when an origin of the source lists it; one that is not here yet is fetched from that
//! origin's upstream, once however many ask.

use std::path::PathBuf;
use std::sync::Arc;

use drydock_domain::ids::SourceId;
use drydock_domain::source::spec::DownloadPolicy;
use drydock_domain::source::unit::Format;

use crate::content::Content;
use crate::digest::{Digest, Sha256};
use crate::error::ContentError;
use crate::fetch::{Expect, UpstreamAccess};
use crate::head::{Head, PublishedFile};
use crate::path::safe_relative;
use crate::snapshot::SnapshotRoot;
use crate::units::UnitLocation;

/// Largest package file, bytes. The largest in the wild (firmware, CUDA) are under 4 GiB.
pub const UNIT_MAX_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// Places a derived source may have its packages from.
pub const ORIGINS_MAX: usize = 64;

/// A source as one view (an environment, or `latest`) shows it.
#[derive(Debug, Clone)]
pub struct ServeView {
    /// rpm or deb.
    pub format: Format,
    /// Where its pointer stands.
    pub head: Arc<Head>,
    /// Sources whose units may be in it: itself, or for a derived one those it takes from.
    pub origins: Vec<UnitOrigin>,
    /// Snapshots whose metadata may be asked for; the one the head is of comes first.
    pub publications: Vec<SnapshotRoot>,
}

/// A source that lists units, and where it has them from.
#[derive(Debug, Clone)]
pub struct UnitOrigin {
    /// The source.
    pub source: SourceId,
    /// Its upstream; none for local sources.
    pub upstream: Option<UpstreamAccess>,
    /// Whether files may come through this server.
    pub policy: DownloadPolicy,
}

/// What is behind a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// Small content.
    Bytes {
        /// All of it.
        bytes: Vec<u8>,
        /// Media type.
        content_type: &'static str,
    },
    /// A file of the content directory.
    File {
        /// Where it lies.
        path: PathBuf,
        /// Its size, bytes.
        size: u64,
        /// Its content: a strong validator.
        sha256: Sha256,
        /// Media type.
        content_type: &'static str,
        /// The name contains the hash: it never means another content.
        immutable: bool,
    },
    /// A package that is not here yet; [`Content::unit_file`] gets it.
    Upstream {
        /// Which.
        digest: Digest,
        /// Its size as listed, bytes.
        size: u64,
        /// Media type.
        content_type: &'static str,
    },
}

/// Why there is nothing to serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Nothing has this name here.
    #[error("{path} is not part of this repository")]
    NotFound {
        /// The path, cut.
        path: String,
    },
    /// The upstream did not give it.
    #[error("{digest} cannot be fetched from the upstream: {problem}")]
    Upstream {
        /// Which unit.
        digest: Digest,
        /// Why, and what to do.
        problem: Arc<str>,
    },
    /// The content directory failed.
    #[error(transparent)]
    Content(#[from] ContentError),
}

impl ServeError {
    fn not_found(path: &str) -> ServeError {
        ServeError::NotFound { path: path.chars().take(200).collect() }
    }
}

/// A path, read.
#[derive(Debug, PartialEq, Eq)]
enum Asked<'a> {
    /// A package by its digest.
    Unit(Digest),
    /// Metadata by its hash; the directory it is asked in.
    ByHash(Sha256, &'a str),
    /// Anything else: a head's file or metadata by name.
    Name,
}

fn ask(format: Format, path: &str) -> Option<Asked<'_>> {
    // Exactly as written in our metadata: what needs to be made plain, or has upper-case digits, is not ours.
    if safe_relative(path).as_deref() != Ok(path) {
        return None;
    }
    let parts: Vec<&str> = path.split('/').collect();
    match (format, parts.as_slice()) {
        (Format::Rpm, ["packages", digest, _]) | (Format::Deb, ["pool", digest, _]) => {
            digest.parse().ok().filter(|parsed: &Digest| parsed.to_string() == **digest).map(Asked::Unit)
        }
        (Format::Rpm, ["packages", ..]) | (Format::Deb, ["pool", ..]) => None,
        (Format::Deb, ["dists", .., "by-hash", "SHA256", hash]) => {
            let directory = path.len() - "by-hash/SHA256/".len() - hash.len();
            hash.parse().ok().filter(|parsed: &Sha256| parsed.to_string() == **hash).map(|h| Asked::ByHash(h, &path[..directory]))
        }
        _ => Some(Asked::Name),
    }
}

impl Content {
    /// What is behind `path`. Blocking, and small: no transfer happens here.
    ///
    /// # Errors
    /// When nothing is there, or files cannot be read.
    pub fn resolve(&self, view: &ServeView, path: &str) -> Result<Served, ServeError> {
        let not_found = || ServeError::not_found(path);
        if let Some(bytes) = view.head.files.get(path) {
            return Ok(Served::Bytes { bytes: bytes.clone(), content_type: content_type(path) });
        }
        match ask(view.format, path).ok_or_else(not_found)? {
            Asked::Unit(digest) => {
                let (unit, origin) = self.find_unit(view, &digest)?.ok_or_else(not_found)?;
                if let Some(file) = self.objects().blob_path(&digest) {
                    let sha256 = self.objects().blob_id(&digest).ok_or_else(not_found)?;
                    return serve_file(file, sha256, content_type(path), true);
                }
                if origin.upstream.is_none() || origin.policy == DownloadPolicy::MetadataOnly {
                    return Err(not_found());
                }
                Ok(Served::Upstream { digest, size: unit.size, content_type: content_type(path) })
            }
            Asked::ByHash(hash, directory) => {
                let in_directory = |file: &PublishedFile| {
                    file.sha256 == hash && file.path.rsplit_once('/').is_some_and(|(d, _)| d == directory.trim_end_matches('/'))
                };
                let file = self.published(view, in_directory)?.ok_or_else(not_found)?;
                self.serve_meta(&file, content_type(&file.path), true)
            }
            Asked::Name => {
                let file = self.published(view, |file| file.path == path)?.ok_or_else(not_found)?;
                let immutable = path.rsplit('/').next().is_some_and(|name| name.starts_with(&file.sha256.to_string()));
                self.serve_meta(&file, content_type(path), immutable)
            }
        }
    }

    /// The file of a package: from here, or fetched from its upstream now, checked and kept. Many may ask at once; the
    /// transfer goes on when they stop waiting.
    ///
    /// # Errors
    /// When the view does not list it, or the upstream does not give it.
    pub async fn unit_file(&self, view: &ServeView, digest: &Digest) -> Result<PathBuf, ServeError> {
        let (content, of, wanted) = (self.clone(), view.clone(), digest.clone());
        let found = tokio::task::spawn_blocking(move || {
            let found = content.find_unit(&of, &wanted)?.map(|(unit, origin)| (unit, origin.clone()));
            Ok::<_, ServeError>((found, content.objects().blob_path(&wanted)))
        });
        let failed = |problem: &str| ServeError::Upstream { digest: digest.clone(), problem: Arc::from(problem) };
        let (found, present) = found.await.map_err(|_| failed("a worker thread failed"))??;
        let (unit, origin) = found.ok_or_else(|| ServeError::not_found(&digest.to_string()))?;
        if let Some(path) = present {
            return Ok(path);
        }
        let Some(upstream) = origin.upstream.filter(|_| origin.policy != DownloadPolicy::MetadataOnly) else {
            return Err(ServeError::not_found(&digest.to_string()));
        };
        let content = self.clone();
        // Not the digest alone: another source's upstream may fail where this one's does not.
        let key = format!("{} {digest}", origin.source);
        let flight = self.flights().run(&key, || async move { content.fetch_unit(&upstream, &unit).await });
        flight.await.map_err(|problem| ServeError::Upstream { digest: digest.clone(), problem })
    }

    /// Downloads one package into the blobs.
    async fn fetch_unit(&self, upstream: &UpstreamAccess, unit: &UnitLocation) -> Result<PathBuf, String> {
        // Asked before another flight for it landed: it may be here by now.
        if let Some(path) = self.objects().blob_path(&unit.digest) {
            return Ok(path);
        }
        let fetcher = self.fetcher_kept(upstream).map_err(|e| e.to_string())?;
        let expect = Expect { size: Some(unit.size), max_size: UNIT_MAX_BYTES, digests: vec![unit.digest.clone()] };
        let sha256 = self.download_blob(&fetcher, &unit.location, &expect).await.map_err(|e| e.to_string())?;
        Ok(self.objects().blob_file(&sha256))
    }

    fn find_unit<'a>(&self, view: &'a ServeView, digest: &Digest) -> Result<Option<(UnitLocation, &'a UnitOrigin)>, ServeError> {
        let mut listed = None;
        for origin in view.origins.iter().take(ORIGINS_MAX) {
            if let Some(unit) = self.units().lookup(origin.source, digest)? {
                // One that can be fetched is better than one that was uploaded elsewhere.
                if origin.upstream.is_some() && origin.policy != DownloadPolicy::MetadataOnly {
                    return Ok(Some((unit, origin)));
                }
                listed = listed.or(Some((unit, origin)));
            }
        }
        Ok(listed)
    }

    /// The first publication's file that fits: the current one comes first, so a plain name means its file.
    fn published(&self, view: &ServeView, fits: impl Fn(&PublishedFile) -> bool) -> Result<Option<PublishedFile>, ServeError> {
        for root in &view.publications {
            let publication = match self.publication_cached(root) {
                Ok(publication) => publication,
                // Collected: its files are gone for everybody.
                Err(ContentError::Missing { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            if let Some(file) = publication.files.iter().find(|file| fits(file)) {
                return Ok(Some(file.clone()));
            }
        }
        Ok(None)
    }

    fn serve_meta(&self, file: &PublishedFile, kind: &'static str, immutable: bool) -> Result<Served, ServeError> {
        serve_file(self.objects().meta_path(&file.sha256), file.sha256, kind, immutable)
    }
}

fn serve_file(path: PathBuf, sha256: Sha256, kind: &'static str, immutable: bool) -> Result<Served, ServeError> {
    let size = match std::fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(ContentError::Missing { what: "file", id: sha256.to_string() }.into());
        }
        Err(e) => return Err(ContentError::io("read", &path)(e).into()),
    };
    Ok(Served::File { path, size, sha256, content_type: kind, immutable })
}

/// Media type by name. Package managers do not look at it; people's tools do.
fn content_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    match name.rsplit('.').next().unwrap_or_default() {
        "rpm" => "application/x-rpm",
        "deb" | "udeb" => "application/vnd.debian.binary-package",
        "xml" => "application/xml",
        "gz" => "application/gzip",
        "xz" => "application/x-xz",
        "zst" => "application/zstd",
        "asc" | "gpg" => "application/pgp-signature",
        _ if matches!(name, "Release" | "InRelease" | "Packages") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;

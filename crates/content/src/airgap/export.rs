//! Writing an export: under another name until it is whole.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use drydock_domain::source::spec::SourceSpec;
use jiff::Timestamp;

use super::{
    ExportedSnapshot, FILES_MAX, FileEntry, KIND, MANIFEST, MANIFEST_VERSION, Manifest, Place, SIGNATURE, SNAPSHOTS_MAX, What,
    go_on, refused,
};
use crate::digest::{Alg, Digest, Hasher, Sha256};
use crate::error::{ContentError, ContentResult};
use crate::objects::ObjectStore;
use crate::openpgp::{RepositoryKey, sign_detached};
use crate::snapshot::{self, SnapshotRoot, UnitRecord, read_record};
use crate::sync::ProgressSink;
use crate::tree;

/// What to export.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// These snapshots.
    pub snapshots: Vec<ExportedSnapshot>,
    /// What their sources are, without secrets: a hint for whoever makes them anew.
    pub sources: Vec<SourceSpec>,
    /// With package files, as far as they are here.
    pub packages: bool,
    /// Without what these have: whoever imports it must have them.
    pub since: Vec<SnapshotRoot>,
    /// A directory or file that does not exist yet.
    pub to: Place,
    /// Now.
    pub now: Timestamp,
}

/// What was exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// Files besides the manifest and its signature.
    pub files: u64,
    /// Their sizes, bytes.
    pub bytes: u64,
    /// Package files that are not in it, count: those that are not on this server (a sync with the policy `immediate`
    /// gets them), or all when they were not asked for.
    pub missing_packages: u64,
}

/// Writes an export signed with `keys`.
pub fn export(
    store: &ObjectStore,
    request: &ExportRequest,
    keys: &[RepositoryKey],
    progress: &ProgressSink,
) -> ContentResult<Exported> {
    if request.snapshots.is_empty() || request.snapshots.len() > SNAPSHOTS_MAX || request.since.len() > SNAPSHOTS_MAX {
        return Err(refused("an export", format!("has 1 to {SNAPSHOTS_MAX} snapshots")));
    }
    if keys.is_empty() {
        return Err(refused("an export", "needs a repository key to be signed with"));
    }
    let (Place::Directory(to) | Place::Tar(to)) = &request.to;
    if fs::symlink_metadata(to).is_ok() {
        return Err(refused(format!("exporting to {}", to.display()), "it exists already; choose another name or remove it"));
    }
    let manifest = manifest(store, request, progress)?;
    let json = serde_json::to_vec(&manifest).map_err(|e| refused("the manifest", e.to_string()))?;
    let signature = sign_detached(keys, &json, request.now)?;
    let partial = partial_name(to)?;
    remove_partial(&partial)?;
    let written = match &request.to {
        Place::Directory(_) => {
            Directory::new(&partial).and_then(|mut to| write(store, &manifest, &json, &signature, &mut to, progress))
        }
        Place::Tar(_) => Tar::new(&partial, request.now).and_then(|mut to| {
            write(store, &manifest, &json, &signature, &mut to, progress)?;
            to.finish()
        }),
    };
    let named = written.and_then(|()| fs::rename(&partial, to).map_err(ContentError::io("rename a file to", to)));
    if let Err(e) = named {
        // What is left lies under a name nobody imports from; the first failure is what counts.
        let _ = remove_partial(&partial);
        return Err(e);
    }
    Ok(Exported {
        files: manifest.files.len() as u64,
        bytes: manifest.files.iter().map(|file| file.size).sum(),
        missing_packages: manifest.missing_packages,
    })
}

fn partial_name(to: &Path) -> ContentResult<PathBuf> {
    let name = to.file_name().ok_or_else(|| refused(format!("exporting to {}", to.display()), "it has no file name"))?;
    let mut partial = name.to_owned();
    partial.push(".partial");
    Ok(to.with_file_name(partial))
}

fn remove_partial(path: &Path) -> ContentResult<()> {
    let removed = match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.map_err(ContentError::io("remove", path))
}

/// The packages and other blobs of snapshots: by SHA-256, with the further digests they are known by.
#[derive(Default)]
struct Parts {
    objects: HashSet<Sha256>,
    blobs: BTreeMap<Sha256, BTreeSet<Digest>>,
    /// Packages whose file is not here, or not wanted.
    missing: HashSet<Digest>,
}

impl Parts {
    fn add(&mut self, store: &ObjectStore, root: &SnapshotRoot, packages: bool) -> ContentResult<()> {
        let doc = snapshot::load(store, root)?;
        let Parts { objects, blobs, missing } = self;
        objects.insert(root.0);
        for tree in doc.packages.values() {
            tree::reachable_heads(store, tree, objects, &mut |head| {
                let record: UnitRecord = read_record(&head.record)?;
                let Ok(digest) = record.digest.parse::<Digest>() else { return Ok(()) };
                match store.blob_id(&digest).filter(|id| packages && store.blob_file(id).exists()) {
                    Some(id) => {
                        let names = blobs.entry(id).or_default();
                        if digest.alg() != Alg::Sha256 {
                            names.insert(digest);
                        }
                    }
                    None => _ = missing.insert(digest),
                }
                Ok(())
            })?;
        }
        for tree in doc.advisories.iter().chain(&doc.modules) {
            tree::reachable(store, tree, objects)?;
        }
        for extra in &doc.extras {
            blobs.entry(extra.sha256).or_default();
        }
        Ok(())
    }
}

fn manifest(store: &ObjectStore, request: &ExportRequest, progress: &ProgressSink) -> ContentResult<Manifest> {
    let mut had = Parts::default();
    for root in &request.since {
        had.add(store, root, request.packages)?;
        go_on(progress)?;
    }
    let mut parts = Parts { objects: had.objects.clone(), ..Parts::default() };
    for snapshot in &request.snapshots {
        parts.add(store, &snapshot.root, request.packages)?;
        go_on(progress)?;
    }
    let mut objects: Vec<Sha256> = parts.objects.difference(&had.objects).copied().collect();
    objects.sort_unstable();
    parts.blobs.retain(|id, _| !had.blobs.contains_key(id));
    if objects.len() + parts.blobs.len() > FILES_MAX {
        return Err(ContentError::TooLarge { what: "an export".to_owned(), limit: format!("{FILES_MAX} files") });
    }
    let mut files = Vec::with_capacity(objects.len() + parts.blobs.len());
    for id in objects {
        go_on(progress)?;
        let (mut file, _) = store.object_file(&id)?;
        let mut hasher = Hasher::new(io::sink());
        io::copy(&mut file, &mut hasher).map_err(ContentError::io("read", &store.object_path(&id)))?;
        let (_, sha256, size) = hasher.finish();
        files.push(FileEntry { what: What::Object, id, sha256: Some(sha256), size, names: Vec::new() });
    }
    for (id, names) in parts.blobs {
        let path = store.blob_file(&id);
        let missing = |_| ContentError::Missing { what: "blob", id: id.to_string() };
        let size = fs::metadata(&path).map_err(missing)?.len();
        files.push(FileEntry { what: What::Blob, id, sha256: None, size, names: names.into_iter().collect() });
    }
    Ok(Manifest {
        kind: KIND.to_owned(),
        version: MANIFEST_VERSION,
        created_at: request.now,
        snapshots: request.snapshots.clone(),
        sources: request.sources.clone(),
        packages: request.packages,
        since: request.since.clone(),
        missing_packages: parts.missing.difference(&had.missing).count() as u64,
        files,
    })
}

/// Where files go.
trait Sink {
    fn add(&mut self, name: &str, size: u64, from: &mut dyn Read) -> ContentResult<()>;
}

fn write(
    store: &ObjectStore,
    manifest: &Manifest,
    json: &[u8],
    signature: &str,
    to: &mut dyn Sink,
    progress: &ProgressSink,
) -> ContentResult<()> {
    to.add(MANIFEST, json.len() as u64, &mut &json[..])?;
    to.add(SIGNATURE, signature.len() as u64, &mut signature.as_bytes())?;
    let total = manifest.files.len() as u64;
    for (done, entry) in manifest.files.iter().enumerate() {
        go_on(progress)?;
        progress.report("export", done as u64, Some(total));
        let file = match entry.what {
            What::Object => store.object_file(&entry.id)?.0,
            What::Blob => {
                let path = store.blob_file(&entry.id);
                File::open(&path).map_err(ContentError::io("open", &path))?
            }
        };
        let mut hashed = HashedRead { inner: file, hasher: Hasher::new(io::sink()) };
        to.add(&entry.path(), entry.size, &mut hashed)?;
        let (_, sha256, size) = hashed.hasher.finish();
        if (sha256, size) != (entry.sha256(), entry.size) {
            return Err(ContentError::damaged("blob", entry.id, format!("its bytes have the checksum {sha256}")));
        }
    }
    Ok(())
}

struct HashedRead {
    inner: File,
    hasher: Hasher<io::Sink>,
}

impl Read for HashedRead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.write_all(&buf[..n])?;
        Ok(n)
    }
}

struct Directory(PathBuf);

impl Directory {
    fn new(path: &Path) -> ContentResult<Self> {
        for dir in ["objects", "blobs"] {
            let dir = path.join(dir);
            fs::create_dir_all(&dir).map_err(ContentError::io("make", &dir))?;
        }
        Ok(Directory(path.to_owned()))
    }
}

impl Sink for Directory {
    fn add(&mut self, name: &str, _: u64, from: &mut dyn Read) -> ContentResult<()> {
        let path = self.0.join(name);
        let failed = || ContentError::io("write", &path);
        let mut file = File::create_new(&path).map_err(failed())?;
        io::copy(from, &mut file).map_err(failed())?;
        // A medium is often pulled out soon after: the file must be on it.
        file.sync_all().map_err(failed())
    }
}

struct Tar {
    path: PathBuf,
    builder: tar::Builder<io::BufWriter<File>>,
    at: Timestamp,
}

impl Tar {
    fn new(path: &Path, at: Timestamp) -> ContentResult<Self> {
        let file = File::create_new(path).map_err(ContentError::io("make", path))?;
        Ok(Tar { path: path.to_owned(), builder: tar::Builder::new(io::BufWriter::new(file)), at })
    }

    fn finish(self) -> ContentResult<()> {
        let end = || self.builder.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all();
        end().map_err(ContentError::io("write", &self.path))
    }
}

impl Sink for Tar {
    fn add(&mut self, name: &str, size: u64, from: &mut dyn Read) -> ContentResult<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(u64::try_from(self.at.as_second()).unwrap_or(0));
        self.builder.append_data(&mut header, name, from).map_err(ContentError::io("write", &self.path))
    }
}

//! Reading an export.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use drydock_domain::ids::SourceId;
use drydock_domain::source::spec::SourceSpec;
use jiff::Timestamp;

use super::{
    ExportedSnapshot, FILES_MAX, FileEntry, KIND, MANIFEST, MANIFEST_MAX_BYTES, MANIFEST_VERSION, Manifest, Place, SIGNATURE,
    SIGNATURE_MAX_BYTES, SNAPSHOTS_MAX, What, go_on, refused,
};
use crate::content::Content;
use crate::digest::{Digest, Verifier};
use crate::error::{ContentError, ContentResult};
use crate::objects::ObjectStore;
use crate::openpgp::Keyring;
use crate::snapshot::{self, SnapshotRoot, UnitRecord, read_record};
use crate::sync::ProgressSink;
use crate::tree;
use crate::units::UnitLocation;

/// What was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// What the manifest says; its snapshots are whole and durable now.
    pub announced: Announced,
    /// Files that were new here.
    pub files: u64,
}

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// The snapshots.
    pub snapshots: Vec<ExportedSnapshot>,
    /// What their sources are where they come from.
    pub sources: Vec<SourceSpec>,
    /// Fingerprint of the key that signed the manifest.
    pub signed_by: String,
    /// When the export was made.
    pub created_at: Timestamp,
    /// Package files that are not in the export, count.
    pub missing_packages: u64,
}

/// What an export says it holds: signed by a key of `trusted`, and importable here as far as the manifest tells. None of
/// its files is read.
pub fn announced(store: &ObjectStore, from: &Place, trusted: &Keyring, now: Timestamp) -> ContentResult<Announced> {
    let (manifest, signature) = match from {
        Place::Directory(dir) => front_of_directory(dir)?,
        Place::Tar(path) => front_of_tar(path, &mut open_tar(path)?.entries().map_err(ContentError::io("read", path))?)?,
    };
    Ok(Import::begin(store, &manifest, &signature, trusted, now, &ProgressSink::none())?.announced())
}

/// Reads an export into the store. `trusted` are the public keys of servers whose exports are accepted.
pub fn import(
    store: &ObjectStore,
    from: &Place,
    trusted: &Keyring,
    now: Timestamp,
    progress: &ProgressSink,
) -> ContentResult<Imported> {
    match from {
        Place::Directory(dir) => {
            let (manifest, signature) = front_of_directory(dir)?;
            let mut import = Import::begin(store, &manifest, &signature, trusted, now, progress)?;
            let entries = import.manifest.files.clone();
            for entry in &entries {
                import.take(entry, &mut open_regular(dir, &entry.path())?)?;
            }
            import.finish()
        }
        Place::Tar(path) => from_tar(store, path, trusted, now, progress),
    }
}

/// The manifest and its signature.
type Front = (Vec<u8>, Vec<u8>);

fn front_of_directory(dir: &Path) -> ContentResult<Front> {
    let manifest = read_bounded(open_regular(dir, MANIFEST)?, MANIFEST, MANIFEST_MAX_BYTES)?;
    let signature = read_bounded(open_regular(dir, SIGNATURE)?, SIGNATURE, SIGNATURE_MAX_BYTES)?;
    Ok((manifest, signature))
}

/// A regular file of the export; links are not followed.
fn open_regular(dir: &Path, name: &str) -> ContentResult<File> {
    let path = dir.join(name);
    let missing = || refused(format!("importing {name}"), "the export does not have this file; copy the export again");
    let meta = fs::symlink_metadata(&path).map_err(|_| missing())?;
    if !meta.is_file() {
        return Err(refused(format!("importing {name}"), "it is not a regular file"));
    }
    File::open(&path).map_err(ContentError::io("open", &path))
}

fn read_bounded(from: impl Read, name: &str, max: u64) -> ContentResult<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(max + 1).read_to_end(&mut bytes).map_err(ContentError::io("read", Path::new(name)))?;
    if bytes.len() as u64 > max {
        return Err(ContentError::TooLarge { what: format!("{name} of the export"), limit: format!("{max} bytes") });
    }
    Ok(bytes)
}

type TarReader = io::BufReader<File>;

fn open_tar(path: &Path) -> ContentResult<tar::Archive<TarReader>> {
    let file = File::open(path).map_err(ContentError::io("open", path))?;
    Ok(tar::Archive::new(io::BufReader::new(file)))
}

/// The first two files of a tar.
fn front_of_tar(path: &Path, entries: &mut tar::Entries<'_, TarReader>) -> ContentResult<Front> {
    let mut front = |name: &str, max: u64| {
        let not_there = || refused(format!("importing {}", path.display()), format!("{name} is not where an export has it"));
        let entry = entries.next().ok_or_else(not_there)?.map_err(ContentError::io("read", path))?;
        if entry.path_bytes().as_ref() != name.as_bytes() || entry.header().entry_type() != tar::EntryType::Regular {
            return Err(not_there());
        }
        read_bounded(entry, name, max)
    };
    Ok((front(MANIFEST, MANIFEST_MAX_BYTES)?, front(SIGNATURE, SIGNATURE_MAX_BYTES)?))
}

fn from_tar(
    store: &ObjectStore,
    path: &Path,
    trusted: &Keyring,
    now: Timestamp,
    progress: &ProgressSink,
) -> ContentResult<Imported> {
    let unreadable = || ContentError::io("read", path);
    let mut archive = open_tar(path)?;
    let mut entries = archive.entries().map_err(unreadable())?;
    let (manifest, signature) = front_of_tar(path, &mut entries)?;
    let mut import = Import::begin(store, &manifest, &signature, trusted, now, progress)?;
    let mut wanted: HashMap<String, FileEntry> =
        import.manifest.files.iter().map(|entry| (entry.path(), entry.clone())).collect();
    for file in entries {
        let mut file = file.map_err(unreadable())?;
        let name = String::from_utf8_lossy(&file.path_bytes()).into_owned();
        if file.header().entry_type() != tar::EntryType::Regular {
            return Err(refused(format!("importing {name}"), "it is not a regular file"));
        }
        let entry = wanted
            .remove(&name)
            .ok_or_else(|| refused(format!("importing {name}"), "the manifest does not name it, or it comes twice"))?;
        import.take(&entry, &mut file)?;
    }
    if let Some(name) = wanted.keys().min() {
        return Err(refused(format!("importing {name}"), "the export does not have this file; copy the export again"));
    }
    import.finish()
}

struct Import<'a> {
    store: &'a ObjectStore,
    progress: &'a ProgressSink,
    manifest: Manifest,
    signed_by: String,
    done: u64,
    new: u64,
}

impl<'a> Import<'a> {
    fn begin(
        store: &'a ObjectStore,
        json: &[u8],
        signature: &[u8],
        trusted: &Keyring,
        now: Timestamp,
        progress: &'a ProgressSink,
    ) -> ContentResult<Self> {
        let signed_by = trusted.verify_detached(json, signature, now)?.fingerprint;
        let manifest: Manifest = serde_json::from_slice(json)
            .map_err(|e| refused(format!("importing {MANIFEST}"), format!("it cannot be read: {e}")))?;
        if manifest.kind != KIND || manifest.version != MANIFEST_VERSION {
            return Err(refused(
                format!("importing {MANIFEST}"),
                format!(
                    "it is a {} of version {}; this server reads {KIND} of version {MANIFEST_VERSION}",
                    manifest.kind, manifest.version
                ),
            ));
        }
        let many = [manifest.snapshots.len(), manifest.since.len(), manifest.sources.len()];
        if manifest.files.len() > FILES_MAX || many.iter().any(|n| *n > SNAPSHOTS_MAX) {
            return Err(ContentError::TooLarge { what: "the export".to_owned(), limit: format!("{FILES_MAX} files") });
        }
        for root in &manifest.since {
            if !store.has_object(&root.0) {
                return Err(refused(
                    "importing an export since another snapshot",
                    format!("this server does not have snapshot {root}; import the export that holds it first"),
                ));
            }
        }
        Ok(Import { store, progress, manifest, signed_by, done: 0, new: 0 })
    }

    /// Checks one file while it is copied, and puts it where it belongs.
    fn take(&mut self, entry: &FileEntry, from: &mut dyn Read) -> ContentResult<()> {
        go_on(self.progress)?;
        self.progress.report("import", self.done, Some(self.manifest.files.len() as u64));
        self.done += 1;
        let name = entry.path();
        let mut staged = self.store.staging_file("import-")?;
        let mut digests = vec![entry.sha256().digest()];
        digests.extend_from_slice(&entry.names);
        let mut verifier = Verifier::new(&digests, Some(entry.size));
        let mut buffer = vec![0u8; 64 * 1024];
        // One byte more than announced is enough to know that it is too long.
        let mut from = from.take(entry.size.saturating_add(1));
        loop {
            let n = from.read(&mut buffer).map_err(ContentError::io("read", Path::new(&name)))?;
            if n == 0 {
                break;
            }
            verifier.update(&buffer[..n]);
            staged.write_all(&buffer[..n]).map_err(ContentError::io("write", staged.path()))?;
        }
        verifier.finish().map_err(|e| refused(format!("importing {name}"), format!("{e}; copy the export again")))?;
        match entry.what {
            What::Object => {
                self.new += u64::from(!self.store.has_object(&entry.id));
                self.store.adopt_object(staged, &entry.id)?;
            }
            What::Blob if self.store.blob_path(&entry.id.digest()).is_none() => {
                self.new += 1;
                self.store.put_blob_from(staged.path(), entry.id, &entry.names)?;
            }
            What::Blob => {}
        }
        Ok(())
    }

    /// Every snapshot must be whole now, with what was here before.
    fn finish(self) -> ContentResult<Imported> {
        let mut visited = HashSet::new();
        for snapshot in &self.manifest.snapshots {
            go_on(self.progress)?;
            let doc = snapshot::load(self.store, &snapshot.root)?;
            if doc.format != snapshot.format {
                return Err(refused(
                    format!("importing snapshot {}", snapshot.root),
                    "it is of another format than the manifest says",
                ));
            }
            for tree in doc.trees() {
                // Entering leaves reads them: one that is missing or damaged is noticed here.
                tree::reachable_heads(self.store, tree, &mut visited, &mut |_| Ok(()))?;
            }
            for extra in &doc.extras {
                if self.store.blob_path(&extra.sha256.digest()).is_none() {
                    return Err(ContentError::Missing { what: "blob", id: extra.sha256.to_string() });
                }
            }
        }
        self.store.sync()?;
        Ok(Imported { files: self.new, announced: self.announced() })
    }

    fn announced(self) -> Announced {
        Announced {
            snapshots: self.manifest.snapshots,
            sources: self.manifest.sources,
            signed_by: self.signed_by,
            created_at: self.manifest.created_at,
            missing_packages: self.manifest.missing_packages,
        }
    }
}

/// Notes the packages of an imported snapshot as units of a source, so that they are served for it. Returns how many of
/// them have no file here.
pub fn index_units(content: &Content, root: &SnapshotRoot, source: SourceId) -> ContentResult<u64> {
    let doc = snapshot::load(content.objects(), root)?;
    let (mut units, mut missing) = (Vec::new(), 0);
    for tree in doc.packages.values() {
        for head in tree::iter(content.objects(), tree, None) {
            let record: UnitRecord = read_record(&head?.record)?;
            let Ok(digest) = record.digest.parse::<Digest>() else { continue };
            missing += u64::from(content.objects().blob_path(&digest).is_none());
            // Where the other server's upstream had it means nothing here.
            units.push(UnitLocation { digest, location: String::new(), size: record.size });
        }
    }
    content.units().add(source, units)?;
    Ok(missing)
}

//! What clients read of a snapshot: the bulk metadata (a *publication*, named by content, made once) and the few small
//! files that name the rest (a *head*, signed and dated anew at every move of a pointer).
//!
//! Absent: making them; that is each format's (`rpm::publish`, `deb::publish`).

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use drydock_domain::source::unit::Format;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::error::{ContentError, ContentResult};
use crate::objects::ObjectStore;
use crate::snapshot::SnapshotRoot;

/// Largest head, bytes: it is stored in a row and held in memory for every view in use.
pub const HEAD_MAX_BYTES: usize = 1024 * 1024;
/// Files of one publication.
pub const PUBLISHED_FILES_MAX: usize = 4096;
/// Largest list of a publication's files, bytes.
const LIST_MAX_BYTES: u64 = 8 * 1024 * 1024;

/// One metadata file of a publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedFile {
    /// Path below the repository's URL.
    pub path: String,
    /// What it is, as the format names it (`primary`, `updateinfo`, `Packages`).
    pub kind: String,
    /// Its content; also its name in `meta/`.
    pub sha256: Sha256,
    /// Its size, bytes.
    pub size: u64,
    /// The same of its uncompressed content, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_sha256: Option<Sha256>,
    /// See [`Self::raw_sha256`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_size: Option<u64>,
}

/// The bulk metadata of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Publication {
    /// Of which snapshot.
    pub root: SnapshotRoot,
    /// rpm or deb.
    pub format: Format,
    /// Its files.
    pub files: Vec<PublishedFile>,
}

fn list_path(objects: &ObjectStore, root: &SnapshotRoot) -> PathBuf {
    objects.dir().join("publications").join(format!("{root}.json"))
}

fn flush_names(dir: &Path) -> ContentResult<()> {
    fs::File::open(dir).and_then(|d| d.sync_all()).map_err(ContentError::io("flush", dir))
}

/// Makes the directory of the lists.
pub(crate) fn prepare(dir: &Path) -> ContentResult<()> {
    let path = dir.join("publications");
    fs::create_dir_all(&path).map_err(ContentError::io("make", &path))
}

impl Publication {
    /// Writes the list of its files: after that the publication is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, objects: &ObjectStore) -> ContentResult<()> {
        if self.files.len() > PUBLISHED_FILES_MAX {
            return Err(ContentError::TooLarge {
                what: format!("the publication of snapshot {}", self.root),
                limit: format!("{PUBLISHED_FILES_MAX} files"),
            });
        }
        let path = list_path(objects, &self.root);
        let text = serde_json::to_vec(self)
            .map_err(|e| ContentError::damaged("publication", self.root, format!("it has no JSON form: {e}")))?;
        // The names of its files reach the disk before the list that says they are there.
        flush_names(&objects.dir().join("meta"))?;
        let mut file = objects.staging_file("publication-")?;
        file.write_all(&text).and_then(|()| file.as_file().sync_all()).map_err(ContentError::io("write", file.path()))?;
        file.persist(&path).map_err(|e| ContentError::io("rename a file to", &path)(e.error))?;
        flush_names(&objects.dir().join("publications"))
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it was never made, or is damaged.
    pub fn load(objects: &ObjectStore, root: &SnapshotRoot) -> ContentResult<Publication> {
        let path = list_path(objects, root);
        let missing = || ContentError::Missing { what: "publication", id: root.to_string() };
        let size = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
            Err(e) => return Err(ContentError::io("read", &path)(e)),
        };
        if size > LIST_MAX_BYTES {
            return Err(ContentError::damaged("publication", root, format!("{size} bytes are more than one has")));
        }
        let text = fs::read(&path).map_err(ContentError::io("read", &path))?;
        let publication: Publication =
            serde_json::from_slice(&text).map_err(|e| ContentError::damaged("publication", root, e.to_string()))?;
        if publication.root == *root {
            Ok(publication)
        } else {
            Err(ContentError::damaged("publication", root, "it is of another snapshot"))
        }
    }

    /// Are all its files there?
    pub fn is_whole(&self, objects: &ObjectStore) -> bool {
        self.files.iter().all(|file| objects.has_meta(&file.sha256))
    }
}

/// The few small files whose content names the rest, ready to be served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Content by path below the repository's URL.
    #[serde(with = "base64_map")]
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Head {
    /// Bytes of all its files.
    pub fn bytes(&self) -> usize {
        self.files.iter().map(|(path, content)| path.len() + content.len()).sum()
    }

    /// Refuses one beyond [`HEAD_MAX_BYTES`].
    pub(crate) fn bounded(self) -> ContentResult<Head> {
        if self.bytes() <= HEAD_MAX_BYTES {
            return Ok(self);
        }
        Err(ContentError::TooLarge {
            what: "the signed index of the repository".to_owned(),
            limit: format!("{HEAD_MAX_BYTES} bytes; take fewer components or architectures"),
        })
    }
}

mod base64_map {
    use std::collections::BTreeMap;

    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::*;

    pub fn serialize<S: Serializer>(files: &BTreeMap<String, Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(files.iter().map(|(path, content)| (path, STANDARD.encode(content))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Vec<u8>>, D::Error> {
        BTreeMap::<String, String>::deserialize(deserializer)?
            .into_iter()
            .map(|(path, text)| Ok((path, STANDARD.decode(text).map_err(serde::de::Error::custom)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(content: &[u8]) -> Publication {
        Publication {
            root: SnapshotRoot(Sha256::of(b"root")),
            format: Format::Rpm,
            files: vec![PublishedFile {
                path: "repodata/x-primary.xml.gz".to_owned(),
                kind: "primary".to_owned(),
                sha256: Sha256::of(content),
                size: content.len() as u64,
                raw_sha256: None,
                raw_size: None,
            }],
        }
    }

    #[test]
    fn a_publication_is_kept_and_a_damaged_one_named() {
        let dir = tempfile::tempdir().unwrap();
        let objects = ObjectStore::open(dir.path()).unwrap();
        prepare(dir.path()).unwrap();
        let made = publication(b"x");
        assert!(matches!(Publication::load(&objects, &made.root), Err(ContentError::Missing { .. })));
        made.save(&objects).unwrap();
        assert_eq!(Publication::load(&objects, &made.root).unwrap(), made);
        assert!(!made.is_whole(&objects));
        let mut file = objects.staging_file("meta-").unwrap();
        file.write_all(b"x").unwrap();
        objects.put_meta_from(file.path(), Sha256::of(b"x")).unwrap();
        assert!(made.is_whole(&objects));
        fs::write(list_path(&objects, &made.root), b"{").unwrap();
        assert!(matches!(Publication::load(&objects, &made.root), Err(ContentError::Damaged { .. })));
    }

    #[test]
    fn a_head_survives_json_and_is_bounded() {
        let head = Head { files: BTreeMap::from([("repodata/repomd.xml".to_owned(), b"<\xff>".to_vec())]) };
        let text = serde_json::to_string(&head).unwrap();
        assert_eq!(serde_json::from_str::<Head>(&text).unwrap(), head);
        let large = Head { files: BTreeMap::from([("a".to_owned(), vec![0; HEAD_MAX_BYTES])]) };
        assert!(large.bounded().is_err() && head.bounded().is_ok());
    }
}

//! A package of a snapshot by name, architecture and exact version: what an undo gives back. Absent: which snapshots are
//! looked into, and for whom.

use crate::error::ContentResult;
use crate::objects::ObjectStore;
use crate::snapshot::{self, SnapshotRoot, UnitRecord};
use crate::tree;

/// A package as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WantedVersion {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Version as units show it: epoch 0 is not written.
    pub version: String,
}

/// The units of a snapshot that are these versions; those that it does not have are left out. Blocking; reads a few nodes
/// for each.
///
/// # Errors
/// When the snapshot cannot be read.
pub fn versions(store: &ObjectStore, root: &SnapshotRoot, wanted: &[WantedVersion]) -> ContentResult<Vec<UnitRecord>> {
    let doc = snapshot::load(store, root)?;
    let mut found = Vec::new();
    for one in wanted {
        let prefix = format!("{}\0{}\0", one.name, one.arch).into_bytes();
        'trees: for tree in doc.packages.values() {
            for head in tree::iter(store, tree, Some(&prefix)) {
                let head = head?;
                if !head.key.starts_with(&prefix) {
                    break;
                }
                let record = snapshot::unit_record(&head)?;
                if record.version == one.version {
                    found.push(record);
                    break 'trees;
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::testing;

    #[test]
    fn exactly_that_version_is_found() {
        let dir = tempfile::tempdir().expect("dir");
        let store = ObjectStore::open(dir.path()).expect("store");
        let package = |name: &str, version: &str| UnitRecord { arch: "amd64".into(), ..UnitRecord::new(name, version) };
        let packages = [package("a", "1"), package("a", "2"), package("ab", "1"), package("b", "1:3")];
        let root = testing::deb(&store, &[("main/amd64", &packages)]);
        let wanted =
            |name: &str, version: &str| WantedVersion { name: name.into(), arch: "amd64".into(), version: version.into() };
        let names = |wanted: &[WantedVersion]| -> Vec<String> {
            versions(&store, &root, wanted).expect("read").into_iter().map(|u| format!("{} {}", u.name, u.version)).collect()
        };
        assert_eq!(names(&[wanted("a", "2"), wanted("b", "1:3"), wanted("a", "9")]), ["a 2", "b 1:3"]);
        assert!(names(&[WantedVersion { arch: "i386".into(), ..wanted("a", "1") }]).is_empty());
    }
}

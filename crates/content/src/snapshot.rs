//! Snapshots: one document that names the trees and files of a repository at one moment. Its checksum is its name, so a
//! snapshot cannot change, and two syncs that find the same things find the same snapshot.
//!
//! Also here: what records say of packages, advisories and modules, and how their keys are made. Absent: how upstream
//! metadata is read (rooms `rpm`, `deb`) and who points at a snapshot.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use drydock_domain::source::unit::{Format, SnapshotStats, Unit};
use serde::{Deserialize, Serialize};

pub use crate::diff::{SnapshotDiff, UnitPage, UnitQuery, diff, units};
use crate::digest::{BadDigest, Sha256};
use crate::error::{ContentError, ContentResult};
use crate::objects::{Kind, ObjectStore};
use crate::tree::{Head, TreeRef};

/// Version of [`SnapshotDoc`]'s form.
pub const SNAPSHOT_VERSION: u32 = 1;
/// Parts of an rpm package: primary, filelists, other.
pub const RPM_PARTS: usize = 3;
/// Parts of a deb package: its stanza.
pub const DEB_PARTS: usize = 1;
/// Parts of an advisory: its `<update>` element.
pub const ADVISORY_PARTS: usize = 1;
/// Parts of a module document: the YAML document.
pub const MODULE_PARTS: usize = 1;
/// Most indexes of a snapshot; Debian has three components and ten architectures.
pub const INDEXES_MAX: usize = 1000;
/// Most verbatim files of a snapshot.
pub const EXTRAS_MAX: usize = 100;

/// Name of a snapshot: the checksum of its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotRoot(pub Sha256);

impl fmt::Display for SnapshotRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SnapshotRoot {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        text.parse().map(SnapshotRoot)
    }
}

/// The record of a package: what filters, listings and downloads need. Short names, since there are many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitRecord {
    /// Package name.
    #[serde(rename = "n")]
    pub name: String,
    /// Architecture.
    #[serde(rename = "a")]
    pub arch: String,
    /// Full version as in [`Unit`]: epoch 0 is not written (rpm).
    #[serde(rename = "v")]
    pub version: String,
    /// Source package name, empty when unknown.
    #[serde(rename = "s", default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Digest of the file as the metadata names it, `sha256-<hex>`.
    #[serde(rename = "d")]
    pub digest: String,
    /// Size of the file, bytes.
    #[serde(rename = "z")]
    pub size: u64,
    /// Where the upstream has the file, relative to its base, as given and checked; empty for uploads.
    #[serde(rename = "l", default, skip_serializing_if = "String::is_empty")]
    pub location: String,
    /// Build time, seconds since 1970 (rpm).
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub build_time: Option<i64>,
}

impl UnitRecord {
    /// As other rooms name it.
    pub fn unit(&self, index: &str) -> Unit {
        Unit {
            name: self.name.clone(),
            arch: self.arch.clone(),
            version: self.version.clone(),
            source: self.source.clone(),
            digest: self.digest.clone(),
            size: self.size,
            index: index.to_owned(),
        }
    }
}

/// The record of an advisory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdvisoryRecord {
    /// `RHSA-2024:1234`.
    pub id: String,
    /// `security`, `bugfix`, `enhancement`, `newpackage` or what else the upstream says.
    #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// `Important`; empty when not said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub severity: String,
    /// When it was issued, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<i64>,
    /// CVE ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cves: Vec<String>,
    /// Packages it is about, each [`nevra`], sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
}

/// The record of a document of modules.yaml.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleRecord {
    /// Document type: `modulemd`, `modulemd-defaults`, `modulemd-obsoletes` ….
    pub kind: String,
    /// Module name.
    pub name: String,
    /// Stream; empty for documents about all of them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stream: String,
    /// Version of the build.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Context of the build.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub context: String,
    /// Architecture.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// Packages of the build, each [`nevra`], sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<String>,
}

/// `name-epoch:version-release.arch` as advisories and modules of our records name an rpm package. `version` is the
/// full version of a [`UnitRecord`]; epoch 0 is written here.
pub fn nevra(name: &str, version: &str, arch: &str) -> String {
    if version.contains(':') { format!("{name}-{version}.{arch}") } else { format!("{name}-0:{version}.{arch}") }
}

/// Full version of an rpm as units show it: epoch 0 (or none) is not written.
pub fn rpm_version(epoch: &str, version: &str, release: &str) -> String {
    match epoch.trim_start_matches('0') {
        "" => format!("{version}-{release}"),
        epoch => format!("{epoch}:{version}-{release}"),
    }
}

fn key(fields: &[&str]) -> Vec<u8> {
    fields.join("\0").into_bytes()
}

/// Key of an rpm package; `pkgid` is the checksum in hexadecimal digits.
pub fn rpm_key(record: &UnitRecord, pkgid: &str) -> Vec<u8> {
    if record.version.contains(':') {
        key(&[&record.name, &record.arch, &record.version, pkgid])
    } else {
        key(&[&record.name, &record.arch, &format!("0:{}", record.version), pkgid])
    }
}

/// Key of a deb package.
pub fn deb_key(record: &UnitRecord, sha256: &str) -> Vec<u8> {
    key(&[&record.name, &record.arch, &record.version, sha256])
}

/// Key of an advisory.
pub fn advisory_key(id: &str) -> Vec<u8> {
    key(&[id])
}

/// Key of a document of modules.yaml: a build by all its coordinates, other documents by name and type.
pub fn module_key(record: &ModuleRecord) -> Vec<u8> {
    if record.kind == "modulemd" {
        key(&[&record.name, &record.stream, &record.version, &record.context, &record.arch])
    } else {
        key(&[&record.name, "", &record.kind, &record.stream, &record.context])
    }
}

/// Writes a record in its canonical form.
pub fn write_record<T: Serialize>(record: &T) -> Vec<u8> {
    // Records are plain structures of strings and numbers, which always have a JSON form.
    serde_json::to_vec(record).unwrap_or_default()
}

/// Reads the record of an entry.
pub fn read_record<'a, T: Deserialize<'a>>(record: &'a [u8]) -> ContentResult<T> {
    serde_json::from_slice(record).map_err(|e| {
        let shown = String::from_utf8_lossy(&record[..record.len().min(200)]).into_owned();
        ContentError::damaged("record", shown, format!("it cannot be read: {e}"))
    })
}

/// Reads the package record of an entry.
pub fn unit_record(head: &Head) -> ContentResult<UnitRecord> {
    read_record(&head.record)
}

/// A verbatim file of a snapshot; its bytes are a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Extra {
    /// Type in repomd.xml: `group`, `group_gz`, `productid` ….
    pub kind: String,
    /// Which bytes.
    pub sha256: Sha256,
    /// Bytes, count.
    pub size: u64,
    /// Last part of its published name.
    pub file_name: String,
}

/// What a deb snapshot's Release says besides its indexes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DebInfo {
    /// Path below `dists/`: `bookworm-security`, `flat`. May differ from the suite.
    pub dist: String,
    /// `Origin`.
    pub origin: String,
    /// `Label`.
    pub label: String,
    /// `Suite`.
    pub suite: String,
    /// `Codename`.
    pub codename: String,
    /// Components, in order.
    pub components: Vec<String>,
    /// Architectures, in order.
    pub architectures: Vec<String>,
    /// The upstream is a flat repository.
    pub flat: bool,
    /// Other fields taken over as given, for example `NotAutomatic`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotDoc {
    /// [`SNAPSHOT_VERSION`] of the writer.
    pub version: u32,
    /// rpm or deb.
    pub format: Format,
    /// Packages by index: `""` for rpm, `main/amd64` … for deb.
    pub packages: BTreeMap<String, TreeRef>,
    /// Advisories (rpm).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advisories: Option<TreeRef>,
    /// Documents of modules.yaml (rpm).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<TreeRef>,
    /// Verbatim files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extras: Vec<Extra>,
    /// deb only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deb: Option<DebInfo>,
    /// Sizes.
    pub stats: SnapshotStats,
}

impl SnapshotDoc {
    /// Without anything in it.
    pub fn empty(format: Format) -> Self {
        SnapshotDoc {
            version: SNAPSHOT_VERSION,
            format,
            packages: BTreeMap::new(),
            advisories: None,
            modules: None,
            extras: Vec::new(),
            deb: None,
            stats: SnapshotStats::default(),
        }
    }

    /// Every tree of it.
    pub fn trees(&self) -> impl Iterator<Item = &TreeRef> {
        self.packages.values().chain(&self.advisories).chain(&self.modules)
    }

    fn check(&self, root: &SnapshotRoot) -> ContentResult<()> {
        let damaged = |problem: String| Err(ContentError::damaged(Kind::Snapshot.what(), root, problem));
        if self.version != SNAPSHOT_VERSION {
            return damaged(format!("it has version {}; this server reads version {SNAPSHOT_VERSION}", self.version));
        }
        if self.packages.len() > INDEXES_MAX || self.extras.len() > EXTRAS_MAX {
            return damaged(format!("it has more than {INDEXES_MAX} indexes or {EXTRAS_MAX} files"));
        }
        let package_parts = match self.format {
            Format::Rpm => RPM_PARTS,
            Format::Deb => DEB_PARTS,
        };
        for tree in self.trees() {
            tree.check()?;
        }
        if self.packages.values().any(|t| t.parts() != package_parts)
            || self.advisories.iter().any(|t| t.parts() != ADVISORY_PARTS)
            || self.modules.iter().any(|t| t.parts() != MODULE_PARTS)
        {
            return damaged("a tree has a wrong number of parts".to_owned());
        }
        Ok(())
    }
}

/// Saves a snapshot. When this returns, it and everything put into the store before is durable.
pub fn save(store: &ObjectStore, doc: &SnapshotDoc) -> ContentResult<SnapshotRoot> {
    let json = write_record(doc);
    doc.check(&SnapshotRoot(Sha256::of(&json)))?;
    let root = SnapshotRoot(store.put_object(Kind::Snapshot, &json, &[])?);
    store.sync()?;
    Ok(root)
}

/// Reads a snapshot.
pub fn load(store: &ObjectStore, root: &SnapshotRoot) -> ContentResult<SnapshotDoc> {
    let json = store.get_object(Kind::Snapshot, &root.0)?;
    let doc: SnapshotDoc = serde_json::from_slice(&json)
        .map_err(|e| ContentError::damaged(Kind::Snapshot.what(), root, format!("it cannot be read: {e}")))?;
    doc.check(root)?;
    Ok(doc)
}

/// Snapshots for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::content::Content;
    use crate::tree::{Entry, TreeBuilder};

    pub(crate) type Package = UnitRecord;
    /// Id, type, issued, packages.
    pub(crate) type Advisory<'a> = (&'a str, &'a str, i64, &'a [&'a str]);
    /// Name, stream, artifacts.
    pub(crate) type Module<'a> = (&'a str, &'a str, &'a [&'a str]);

    impl UnitRecord {
        pub(crate) fn new(name: &str, version: &str) -> Self {
            let digest = Sha256::of(format!("{name} {version}").as_bytes()).digest().to_string();
            UnitRecord {
                name: name.into(),
                arch: "x86_64".into(),
                version: version.into(),
                digest,
                size: 10,
                location: format!("Packages/{name}"),
                ..UnitRecord::default()
            }
        }

        pub(crate) fn hex(&self) -> &str {
            self.digest.split_once('-').map_or("", |(_, hex)| hex)
        }
    }

    pub(crate) fn content() -> (tempfile::TempDir, Content) {
        let dir = tempfile::tempdir().expect("dir");
        let content = Content::open(dir.path()).expect("content");
        (dir, content)
    }

    pub(crate) fn tree(store: &ObjectStore, parts: usize, mut entries: Vec<Entry>) -> TreeRef {
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        let mut builder = TreeBuilder::new(store, parts);
        entries.iter().for_each(|entry| builder.push(entry).expect("push"));
        builder.finish().expect("finish")
    }

    pub(crate) fn rpm(
        store: &ObjectStore,
        packages: &[Package],
        advisories: &[Advisory<'_>],
        modules: &[Module<'_>],
    ) -> SnapshotRoot {
        let mut doc = SnapshotDoc::empty(Format::Rpm);
        let entry = |p: &Package| {
            let part = |kind: &str| format!("<{kind} {} {} {}/>\n", p.name, p.version, p.source).into_bytes();
            Entry { key: rpm_key(p, p.hex()), record: write_record(p), parts: ["p", "f", "o"].map(part).to_vec() }
        };
        doc.packages.insert(String::new(), tree(store, RPM_PARTS, packages.iter().map(entry).collect()));
        let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        if !advisories.is_empty() {
            let entry = |(id, kind, issued, packages): &Advisory<'_>| {
                let record = AdvisoryRecord {
                    id: (*id).into(),
                    kind: (*kind).into(),
                    issued: Some(*issued),
                    packages: strings(packages),
                    ..AdvisoryRecord::default()
                };
                Entry {
                    key: advisory_key(id),
                    record: write_record(&record),
                    parts: vec![format!("<update {id}/>\n").into_bytes()],
                }
            };
            doc.advisories = Some(tree(store, ADVISORY_PARTS, advisories.iter().map(entry).collect()));
        }
        if !modules.is_empty() {
            let entry = |(name, stream, artifacts): &Module<'_>| {
                let record = ModuleRecord {
                    kind: "modulemd".into(),
                    name: (*name).into(),
                    stream: (*stream).into(),
                    artifacts: strings(artifacts),
                    ..ModuleRecord::default()
                };
                Entry {
                    key: module_key(&record),
                    record: write_record(&record),
                    parts: vec![format!("--- {name}:{stream}\n").into_bytes()],
                }
            };
            doc.modules = Some(tree(store, MODULE_PARTS, modules.iter().map(entry).collect()));
        }
        save(store, &doc).expect("save")
    }

    pub(crate) fn deb(store: &ObjectStore, indexes: &[(&str, &[Package])]) -> SnapshotRoot {
        let mut doc = SnapshotDoc::empty(Format::Deb);
        let entry = |p: &Package| {
            let stanza = format!("Package: {}\nVersion: {}\n\n", p.name, p.version).into_bytes();
            Entry { key: deb_key(p, p.hex()), record: write_record(p), parts: vec![stanza] }
        };
        for (index, packages) in indexes {
            doc.packages.insert((*index).to_owned(), tree(store, DEB_PARTS, packages.iter().map(entry).collect()));
        }
        let components = indexes.iter().filter_map(|(index, _)| Some(index.split_once('/')?.0.to_owned())).collect();
        doc.deb = Some(DebInfo { dist: "stable".into(), suite: "stable".into(), components, ..DebInfo::default() });
        save(store, &doc).expect("save")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Entry, TreeBuilder};

    #[test]
    fn a_snapshot_is_what_was_saved_and_named_by_its_bytes() {
        let dir = tempfile::tempdir().expect("dir");
        let store = ObjectStore::open(dir.path()).expect("store");
        let record = UnitRecord { name: "bash".into(), arch: "x86_64".into(), version: "5.1-2".into(), ..UnitRecord::default() };
        let mut builder = TreeBuilder::new(&store, RPM_PARTS);
        let entry = Entry { key: rpm_key(&record, "ab"), record: write_record(&record), parts: vec![b"<p/>".to_vec(); 3] };
        assert_eq!(entry.key, b"bash\0x86_64\x000:5.1-2\0ab");
        builder.push(&entry).expect("push");
        let mut doc = SnapshotDoc::empty(Format::Rpm);
        doc.packages.insert(String::new(), builder.finish().expect("tree"));
        doc.stats.packages = 1;
        let root = save(&store, &doc).expect("save");
        assert_eq!(root.0, Sha256::of(&serde_json::to_vec(&doc).expect("json")));

        let again = ObjectStore::open(dir.path()).expect("store");
        assert_eq!(load(&again, &root.to_string().parse().expect("root")).expect("load"), doc);
        assert_eq!(save(&again, &doc).expect("save again"), root);

        doc.format = Format::Deb;
        assert!(save(&store, &doc).expect_err("rpm tree in deb snapshot").to_string().contains("number of parts"));
    }

    #[test]
    fn versions_and_names_of_rpms() {
        assert_eq!(rpm_version("0", "1.2", "3"), "1.2-3");
        assert_eq!(rpm_version("", "1.2", "3"), "1.2-3");
        assert_eq!(rpm_version("10", "1.2", "3"), "10:1.2-3");
        assert_eq!(nevra("a", "1-2", "noarch"), "a-0:1-2.noarch");
        assert_eq!(nevra("a", "3:1-2", "noarch"), "a-3:1-2.noarch");
    }
}

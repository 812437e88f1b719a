//! Exports that arrive, and exports that were tampered with on the way.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use drydock_domain::source::unit::Format;
use jiff::{Timestamp, ToSpan};

use super::*;
use crate::content::Content;
use crate::digest::Alg;
use crate::objects::ObjectStore;
use crate::openpgp::{Keyring, RepositoryKey};
use crate::snapshot::testing::{Package, content, deb, rpm};
use crate::snapshot::{Extra, load, save};
use crate::tree;

struct Trip {
    dirs: Vec<tempfile::TempDir>,
    from: Content,
    key: RepositoryKey,
    now: Timestamp,
}

impl Trip {
    fn new() -> Self {
        let (dir, from) = content();
        let now = Timestamp::now();
        let key = RepositoryKey::generate("Drydock test", now - 1.hour()).expect("key");
        Trip { dirs: vec![dir, tempfile::tempdir().expect("dir")], from, key, now }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dirs[1].path().join(name)
    }

    fn keyring(&self) -> Keyring {
        Keyring::parse(&[self.key.public_armored().expect("armored")]).expect("keyring")
    }

    fn export(&self, roots: &[SnapshotRoot], since: &[SnapshotRoot], to: Place) -> ContentResult<Exported> {
        let snapshots = roots
            .iter()
            .zip(1..)
            .map(|(root, number)| ExportedSnapshot {
                root: *root,
                source: "base".into(),
                number,
                format: load(self.from.objects(), root).expect("doc").format,
                created_at: self.now,
            })
            .collect();
        let request = ExportRequest { snapshots, sources: Vec::new(), packages: true, since: since.to_vec(), to, now: self.now };
        export(self.from.objects(), &request, std::slice::from_ref(&self.key), &ProgressSink::none())
    }

    fn import(&self, store: &ObjectStore, from: &Place) -> ContentResult<Imported> {
        import(store, from, &self.keyring(), self.now, &ProgressSink::none())
    }
}

fn blob(store: &ObjectStore, bytes: &[u8], aliases: &[Digest]) -> Sha256 {
    let mut file = store.staging_file("test-").expect("file");
    file.write_all(bytes).expect("write");
    store.put_blob_from(file.path(), Sha256::of(bytes), aliases).expect("put");
    Sha256::of(bytes)
}

fn sha1_of_abc() -> Digest {
    Digest::new(Alg::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d").expect("sha1")
}

/// Packages of which the first has its file and is known by SHA-1.
fn packages(store: &ObjectStore, count: u32) -> Vec<Package> {
    blob(store, b"abc", &[sha1_of_abc()]);
    let mut list: Vec<Package> = (0..count).map(|n| Package::new(&format!("p{n:04}"), "1-1")).collect();
    list[0].digest = sha1_of_abc().to_string();
    list
}

fn whole(store: &ObjectStore, root: &SnapshotRoot) -> bool {
    let doc = load(store, root).expect("load");
    doc.trees().all(|tree| tree::iter_full(store, tree, None).all(|entry| entry.is_ok()))
}

#[test]
fn an_empty_server_gets_the_same_snapshots_by_directory_and_by_tar() {
    let trip = Trip::new();
    let store = trip.from.objects();
    let root = rpm(store, &packages(store, 300), &[("A-1", "security", 1, &[])], &[("m", "1", &[])]);
    let mut doc = load(store, &root).expect("doc");
    let sha256 = blob(store, b"<comps/>", &[]);
    doc.extras.push(Extra { kind: "group".into(), sha256, size: 8, file_name: "comps.xml".into() });
    let root = save(store, &doc).expect("save");
    let other = deb(store, &[("main/amd64", &packages(store, 5))]);
    for to in [Place::Directory(trip.path("out")), Place::Tar(trip.path("out.tar"))] {
        let exported = trip.export(&[root, other], &[], to.clone()).expect("export");
        assert_eq!(exported.missing_packages, 299);
        let (_dir, there) = content();
        let imported = trip.import(there.objects(), &to).expect("import");
        assert_eq!(imported.announced.snapshots.iter().map(|s| s.root).collect::<Vec<_>>(), [root, other]);
        assert_eq!((imported.files, imported.announced.missing_packages), (exported.files, 299));
        assert_eq!(imported.announced.signed_by, trip.key.fingerprint());
        // Durable: a server opened anew on the directory has it all.
        let again = ObjectStore::open(there.dir()).expect("open");
        assert!(whole(&again, &root) && whole(&again, &other));
        assert_eq!(load(&again, &root).expect("doc"), doc);
        assert_eq!(fs::read(again.blob_path(&sha1_of_abc()).expect("package")).expect("read"), b"abc");
        assert_eq!(fs::read(again.blob_path(&sha256.digest()).expect("comps")).expect("read"), b"<comps/>");
        // A second time there is nothing new.
        assert_eq!(trip.import(there.objects(), &to).expect("again").files, 0);
        assert!(matches!(trip.export(&[root], &[], to), Err(ContentError::Refused { .. })), "never over something");
    }
}

#[test]
fn an_export_since_a_snapshot_is_small_and_needs_it() {
    let trip = Trip::new();
    let store = trip.from.objects();
    let list = packages(store, 1000);
    let first = rpm(store, &list[..999], &[], &[]);
    let second = rpm(store, &list, &[], &[]);
    let (full, delta) = (Place::Tar(trip.path("full.tar")), Place::Tar(trip.path("delta.tar")));
    let all = trip.export(&[first], &[], full.clone()).expect("export");
    let part = trip.export(&[second], &[first], delta.clone()).expect("export");
    assert!(part.files <= 4 && part.files < all.files, "{part:?} {all:?}");
    assert_eq!(part.missing_packages, 1);
    let (_dir, there) = content();
    let err = trip.import(there.objects(), &delta).expect_err("its base is missing").to_string();
    assert!(err.contains(&first.to_string()) && err.contains("first"), "{err}");
    trip.import(there.objects(), &full).expect("base");
    trip.import(there.objects(), &delta).expect("delta");
    assert!(whole(there.objects(), &second));
}

fn all_files(dir: &Path) -> Vec<PathBuf> {
    let list = |dir: PathBuf| fs::read_dir(dir).expect("dir").map(|e| e.expect("entry").path()).collect::<Vec<_>>();
    let mut files = [list(dir.join("objects")), list(dir.join("blobs"))].concat();
    files.sort();
    files
}

#[test]
fn a_flipped_cut_or_missing_file_is_refused_by_name() {
    let trip = Trip::new();
    let store = trip.from.objects();
    let root = rpm(store, &packages(store, 40), &[], &[]);
    let out = trip.path("out");
    trip.export(&[root], &[], Place::Directory(out.clone())).expect("export");
    let (_dir, there) = content();
    let attempt = || trip.import(there.objects(), &Place::Directory(out.clone()));
    for path in all_files(&out) {
        let good = fs::read(&path).expect("read");
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        for bad in [flipped, good[..good.len() - 1].to_vec(), [&good[..], b"x"].concat()] {
            fs::write(&path, bad).expect("write");
            let err = attempt().expect_err("refused").to_string();
            assert!(err.contains(path.file_name().and_then(|n| n.to_str()).expect("name")), "{err}");
        }
        fs::remove_file(&path).expect("remove");
        assert!(attempt().expect_err("missing").to_string().contains("does not have this file"));
        std::os::unix::fs::symlink("/etc/passwd", &path).expect("link");
        assert!(attempt().expect_err("link").to_string().contains("not a regular file"));
        fs::remove_file(&path).expect("remove");
        fs::write(&path, good).expect("mend");
    }
    attempt().expect("whole again");
}

#[test]
fn the_manifest_must_be_signed_by_a_trusted_key() {
    let trip = Trip::new();
    let store = trip.from.objects();
    let root = rpm(store, &packages(store, 3), &[], &[]);
    let out = trip.path("out");
    trip.export(&[root], &[], Place::Directory(out.clone())).expect("export");
    let place = Place::Directory(out.clone());
    let (_dir, there) = content();
    let stranger = RepositoryKey::generate("Somebody", trip.now - 1.hour()).expect("key").public_armored().expect("armored");
    let strangers = Keyring::parse(&[stranger]).expect("keyring");
    let refused = import(there.objects(), &place, &strangers, trip.now, &ProgressSink::none());
    assert!(matches!(refused, Err(ContentError::OpenPgp(_))), "{refused:?}");
    let manifest = out.join(MANIFEST);
    let good = fs::read_to_string(&manifest).expect("read");
    fs::write(&manifest, good.replace("\"number\":1", "\"number\":2")).expect("write");
    assert!(matches!(trip.import(there.objects(), &place), Err(ContentError::OpenPgp(_))));
    // Something else the same key signed is no manifest.
    let signed = crate::openpgp::sign_detached(std::slice::from_ref(&trip.key), b"{}", trip.now).expect("sign");
    fs::write(&manifest, "{}").expect("write");
    fs::write(out.join(SIGNATURE), signed).expect("write");
    assert!(trip.import(there.objects(), &place).expect_err("no manifest").to_string().contains(MANIFEST));
    assert!(all_objects(there.objects()).is_empty());
}

fn all_objects(store: &ObjectStore) -> HashSet<PathBuf> {
    let dirs = fs::read_dir(store.dir().join("objects")).expect("dir").map(|e| e.expect("entry").path());
    dirs.flat_map(|dir| fs::read_dir(dir).expect("dir").map(|e| e.expect("entry").path())).collect()
}

#[test]
fn a_signed_leaf_whose_members_are_not_its_entries_is_refused() {
    let trip = Trip::new();
    let store = trip.from.objects();
    let root = rpm(store, &packages(store, 3), &[], &[]);
    let tree = load(store, &root).expect("doc").packages[""].clone();
    // The same entries, other bytes to publish: right name, right header, and a lie.
    let leaf = store.open_object(crate::objects::Kind::Leaf, &tree.root).expect("leaf");
    let logical = leaf.logical().expect("logical");
    let members: Vec<crate::objects::Section> = (1..=3)
        .map(|n| crate::objects::Section {
            stored: leaf.stored(n % 3 + 1).expect("member"),
            raw_len: leaf.raw_len(n % 3 + 1).expect("len"),
        })
        .collect();
    fs::remove_file(store.object_path(&tree.root)).expect("remove");
    store.write_object(tree.root, crate::objects::Kind::Leaf, &logical, &members).expect("write");
    store.sync().expect("sync");
    let place = Place::Directory(trip.path("out"));
    trip.export(&[root], &[], place.clone()).expect("export");
    let (_dir, there) = content();
    let err = trip.import(there.objects(), &place).expect_err("refused").to_string();
    assert!(err.contains(&tree.root.to_string()), "{err}");
    assert!(!there.objects().has_object(&tree.root));
}

#[test]
fn tar_files_that_are_no_exports_are_refused() {
    let trip = Trip::new();
    let store = trip.from.objects();
    let root = rpm(store, &packages(store, 3), &[], &[]);
    let good = trip.path("good.tar");
    trip.export(&[root], &[], Place::Tar(good.clone())).expect("export");
    let (_dir, there) = content();
    let bytes = fs::read(&good).expect("read");
    let attempt = |bytes: &[u8]| {
        let bad = trip.path("bad.tar");
        fs::write(&bad, bytes).expect("write");
        trip.import(there.objects(), &Place::Tar(bad)).expect_err("refused").to_string()
    };
    assert!(attempt(b"").contains("manifest.json is not where"), "empty");
    assert!(attempt(&bytes[1024..]).contains("manifest.json is not where") || attempt(&bytes[1024..]).contains("cannot read"));
    for cut in [600, bytes.len() / 2, bytes.len() - 2000] {
        attempt(&bytes[..cut]);
    }
    // One file more, after a good export.
    let mut builder = tar::Builder::new(bytes[..bytes.len() - 1024].to_vec());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_entry_type(tar::EntryType::Regular);
    builder.append_data(&mut header, "extra", &b"x"[..]).expect("append");
    assert!(attempt(&builder.into_inner().expect("tar")).contains("importing extra"));
    trip.import(there.objects(), &Place::Tar(good)).expect("the good one");
}

#[test]
fn an_export_without_packages_says_how_many_are_left_out_and_can_be_looked_into_first() {
    let trip = Trip::new();
    let store = trip.from.objects();
    let root = rpm(store, &packages(store, 5), &[], &[]);
    for place in [Place::Directory(trip.path("out")), Place::Tar(trip.path("out.tar"))] {
        let snapshot = ExportedSnapshot { root, source: "base".into(), number: 1, format: Format::Rpm, created_at: trip.now };
        let request = ExportRequest {
            snapshots: vec![snapshot.clone()],
            sources: Vec::new(),
            packages: false,
            since: Vec::new(),
            to: place.clone(),
            now: trip.now,
        };
        let keys = std::slice::from_ref(&trip.key);
        assert_eq!(export(store, &request, keys, &ProgressSink::none()).expect("export").missing_packages, 5);
        let (_dir, there) = content();
        let said = announced(there.objects(), &place, &trip.keyring(), trip.now).expect("announced");
        assert_eq!((said.snapshots.as_slice(), said.missing_packages), (&[snapshot][..], 5));
        assert!(all_objects(there.objects()).is_empty(), "nothing was taken");
        assert_eq!(trip.import(there.objects(), &place).expect("import").announced, said);
        assert!(there.objects().blob_path(&sha1_of_abc()).is_none());
    }
}

#[test]
fn imported_units_are_served_for_their_source() {
    let (_dir, content) = content();
    let package = Package::new("a", "1-1");
    let root = rpm(content.objects(), std::slice::from_ref(&package), &[], &[]);
    let source = "11111111-1111-4111-8111-111111111111".parse().expect("id");
    assert_eq!(index_units(&content, &root, source).expect("index"), 1, "its file is not here");
    let found = content.units().lookup(source, &package.digest.parse().expect("digest")).expect("lookup").expect("there");
    assert_eq!((found.size, found.location.as_str()), (10, ""));
    assert_eq!(load(content.objects(), &root).expect("doc").format, Format::Rpm);
}

//! Snapshots on their way to a server without a network: whole, since another snapshot, tampered with, and signed by
//! somebody else.
#![allow(missing_docs)]

mod common;

use std::path::{Path, PathBuf};

use common::World;
use common::sources::spec;
use drydock_control::content::openpgp::RepositoryKey;
use drydock_control::content::serve::Served;
use drydock_control::*;
use drydock_domain::source::job::SnapshotOrigin;
use drydock_testkit::serve::{LoopbackServer, serve_dir};
use drydock_testkit::upstream::{RpmPackage, RpmRepository, cached};

/// A connected server with the mirror `base`, what it takes from it (`tools`), and a place for what is carried.
struct Trip {
    from: World,
    upstream: LoopbackServer,
    dir: tempfile::TempDir,
}

/// A yum repository with `dd-tool` in these versions, and `dd-lib`. What an older one has, this one has to the byte.
fn repository(versions: &[&str]) -> PathBuf {
    let build = |dir: &Path| {
        let Some((newest, older)) = versions.split_last() else { return Ok(()) };
        let mut packages = vec![RpmPackage::new("dd-tool", *newest)];
        if older.is_empty() {
            packages.push(RpmPackage::new("dd-lib", "1"));
        } else {
            std::fs::create_dir_all(dir)?;
            for file in std::fs::read_dir(repository(older))?.map(|e| e.expect("an entry").path()) {
                if file.extension().is_some_and(|e| e == "rpm") {
                    std::fs::copy(&file, dir.join(file.file_name().expect("a name")))?;
                }
            }
        }
        RpmRepository { packages, advisories: vec![] }.build(dir)
    };
    cached("control-airgap", &format!("dd-lib 1, dd-tool {versions:?}, one build of each"), build).expect("built")
}

fn copy_over(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("read").map(|e| e.expect("an entry").path()) {
        let target = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() { copy_over(&entry, &target) } else { _ = std::fs::copy(&entry, target).expect("copied") }
    }
}

impl Trip {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        copy_over(&repository(&["1"]), &dir.path().join("up"));
        let upstream = serve_dir(&dir.path().join("up")).expect("a server");
        let from = World::new().await;
        let base = format!(
            r#"{{"name":"base","displayName":"The base","format":"rpm","origin":{{"upstream":{{"urls":["{}/"]}}}},
                "policy":"immediate","priority":7}}"#,
            upstream.url()
        );
        from.control.create_source(&from.server(), spec(&base)).await.expect("a source");
        from.sync("base").await;
        let tools = r#"{"name":"tools","format":"rpm","origin":{"sources":{"from":["base"]}},"parent":"base",
            "selection":{"rules":[{"action":"include","name":"dd-tool"}]}}"#;
        from.control.create_source(&from.server(), spec(tools)).await.expect("a source");
        from.run_jobs().await;
        Trip { from, upstream, dir }
    }

    /// The upstream has these versions from now on, and the mirror, too.
    async fn move_on(&self, versions: &[&str]) {
        copy_over(&repository(versions), &self.dir.path().join("up"));
        self.from.pass(60);
        self.from.sync("base").await;
        assert!(self.upstream.url().starts_with("http://"));
    }

    fn place(&self, name: &str) -> Place {
        let path = self.dir.path().join(name);
        if name.ends_with(".tar") { Place::Tar(path) } else { Place::Directory(path) }
    }

    async fn export(&self, sources: &[&str], since: &[&str], to: &str) -> ExportView {
        let names = |names: &[&str]| names.iter().map(|n| n.parse().expect("a name")).collect();
        let request = ExportSources { sources: names(sources), since: names(since), packages: true, to: self.place(to) };
        self.from.control.export_sources(&self.from.server(), &request).await.expect("exported")
    }

    fn keys(&self) -> Vec<String> {
        let keys = drydock_control::content::openpgp::RepositoryKeys::load_or_create(
            &self.from.dir.path().join("repository-keys"),
            self.from.control.now(),
        );
        keys.expect("keys").public().expect("armoured")
    }

    async fn import(&self, to: &World, from: &str, keys: Vec<String>, create: bool) -> Result<ImportView> {
        to.control.import_sources(&to.server(), &ImportSources { from: self.place(from), keys, create }).await
    }
}

/// Number, root and time of each snapshot, newest first.
async fn snapshots(w: &World, source: &str) -> Vec<(u64, String, jiff::Timestamp)> {
    let listed = w.control.list_snapshots(&w.server(), source, &Default::default()).await.expect("snapshots");
    listed.items.into_iter().map(|s| (s.number, s.root, s.created_at)).collect()
}

/// The repository as it is served.
async fn latest(control: &Control, source: &str) -> ContentView {
    let peer = ContentPeer::Person(control.ctx(Principal::Server, "test"));
    control.authorize_content(&peer, "latest", source).await.expect("may read")
}

/// The packages of the newest snapshot with their bytes, as they are served.
async fn packages(control: &Control, source: &str) -> Vec<(String, String, Vec<u8>)> {
    let view = latest(control, source).await;
    let ctx = control.ctx(Principal::Server, "test");
    let units = control.snapshot_units(&ctx, source, "latest", &UnitQuery::default()).await.expect("units").units;
    let content = control.content().expect("content");
    let served = units.into_iter().map(|unit| {
        let path = format!("packages/{}/{}.rpm", unit.digest, unit.name);
        match content.resolve(&view.view, &path).expect("served") {
            Served::File { path, .. } => (unit.name, unit.version, std::fs::read(path).expect("read")),
            other => panic!("{path}: {other:?}"),
        }
    });
    served.collect()
}

/// Nothing came of it: no sources, nothing served.
async fn untouched(w: &World) -> bool {
    w.control.list_sources(&w.server(), &Default::default()).await.expect("sources").items.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_server_gets_the_same_snapshots_and_serves_their_packages() {
    let trip = Trip::new().await;
    let exported = trip.export(&["base", "tools@latest"], &[], "out").await;
    assert_eq!(exported.missing_packages, 0);
    assert_eq!(exported.public_keys, trip.keys());
    let there = World::new().await;
    // The server that runs meanwhile is another one on the same files.
    let running = there.second().await;
    let refused = trip.import(&there, "out", trip.keys(), false).await.expect_err("nothing of that name");
    assert!(refused.to_string().contains("base, tools; import with --create"), "{refused}");
    assert!(untouched(&there).await);

    let done = trip.import(&there, "out", trip.keys(), true).await.expect("imported");
    let fates = done.sources.iter().map(|s| (s.name.as_str(), s.created, s.snapshots.clone())).collect::<Vec<_>>();
    assert_eq!(fates, [("base", true, vec![(1, Fate::New(1))]), ("tools", true, vec![(1, Fate::New(1))])]);
    assert!(done.sources.iter().all(|s| s.missing_packages == 0 && s.parent_left_out.is_none()), "{done:?}");
    for source in ["base", "tools"] {
        assert_eq!(snapshots(&there, source).await, snapshots(&trip.from, source).await);
        let served = packages(&running, source).await;
        assert_eq!(served, packages(&trip.from.control, source).await);
        assert_eq!(served.len(), if source == "base" { 2 } else { 1 });
    }
    let base = there.control.get_source(&there.server(), "base").await.expect("the source");
    assert_eq!((base.spec.display_name.as_str(), base.spec.priority), ("The base", Some(7)));
    assert_eq!(base.current.expect("a snapshot").origin, SnapshotOrigin::Import);
    let audit = there.audit().await;
    let done: Vec<_> = audit.iter().filter(|a| a.operation == "content.import").map(|a| (&*a.who, &*a.outcome)).collect();
    assert_eq!(done, [("server", "allowed"), ("server", "allowed"), ("server", "failed")], "{audit:?}");

    // Its metadata is signed with this server's key, not with the other one's.
    let view = latest(&there.control, "base").await;
    let head = &view.view.head.files;
    let keys = there.control.repository_keys(&there.server()).await.expect("keys").into_iter().map(|k| k.public_key);
    let keys = drydock_control::content::openpgp::Keyring::parse(&keys.collect::<Vec<_>>()).expect("keys");
    let now = there.control.now();
    keys.verify_detached(&head["repodata/repomd.xml"], &head["repodata/repomd.xml.asc"], now).expect("ours");

    // Again: nothing changes.
    let version = view.version;
    let again = trip.import(&there, "out", trip.keys(), false).await.expect("imported");
    assert_eq!((again.new_files, &again.sources[0].snapshots[..]), (0, &[(1, Fate::Known(1))][..]));
    let view = latest(&there.control, "base").await;
    assert_eq!((view.version, snapshots(&there, "base").await.len()), (version, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_since_is_carried_alone_and_goes_on_top() {
    let trip = Trip::new().await;
    trip.export(&["base"], &[], "full.tar").await;
    trip.move_on(&["1", "2"]).await;
    let full = trip.export(&["base"], &[], "all.tar").await;
    let delta = trip.export(&["base"], &["base@1"], "delta.tar").await;
    assert!(delta.files < full.files && delta.missing_packages == 0, "{delta:?} {full:?}");

    let there = World::new().await;
    let refused = trip.import(&there, "delta.tar", trip.keys(), true).await.expect_err("its base is missing");
    assert!(refused.to_string().contains("import the export that holds it first"), "{refused}");
    assert!(untouched(&there).await);
    trip.import(&there, "full.tar", trip.keys(), true).await.expect("imported");
    // A server that has served from the source before.
    assert_eq!(packages(&there.control, "base").await.len(), 2);
    let running = there.second().await;
    assert_eq!(packages(&running, "base").await.len(), 2);
    let done = trip.import(&there, "delta.tar", trip.keys(), false).await.expect("imported");
    assert_eq!(done.sources[0].snapshots, [(2, Fate::New(2))]);
    assert_eq!(snapshots(&there, "base").await, snapshots(&trip.from, "base").await);
    assert_eq!(packages(&running, "base").await, packages(&trip.from.control, "base").await);
    assert_eq!(packages(&running, "base").await.len(), 3);
    // The first one again does not take the source back.
    let again = trip.import(&there, "full.tar", trip.keys(), false).await.expect("imported");
    assert_eq!(again.sources[0].snapshots, [(1, Fate::Known(1))]);
    assert_eq!(packages(&running, "base").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_and_a_strangers_signature_are_refused_and_nothing_changes() {
    let trip = Trip::new().await;
    trip.export(&["base"], &[], "out").await;
    let there = World::new().await;
    let out = trip.dir.path().join("out");
    for dir in ["objects", "blobs"] {
        let file = std::fs::read_dir(out.join(dir)).expect("read").next().expect("a file").expect("an entry").path();
        let good = std::fs::read(&file).expect("read");
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        std::fs::write(&file, bad).expect("written");
        let refused = trip.import(&there, "out", trip.keys(), true).await.expect_err("tampered").to_string();
        let name = file.file_name().and_then(|n| n.to_str()).expect("a name");
        assert!(refused.contains(&format!("{dir}/{name}")), "{refused}");
        assert!(untouched(&there).await);
        std::fs::write(&file, good).expect("written");
    }
    let stranger = RepositoryKey::generate("Somebody", there.control.now()).expect("a key");
    let keys = vec![stranger.public_armored().expect("armoured")];
    let refused = trip.import(&there, "out", keys, true).await.expect_err("a stranger's").to_string();
    assert!(refused.contains(stranger.fingerprint()) && refused.contains("drydock content keys"), "{refused}");
    assert_eq!(trip.import(&there, "out", Vec::new(), true).await.expect_err("no key").kind(), ErrorKind::Invalid);
    let manifest = out.join("manifest.json");
    let good = std::fs::read_to_string(&manifest).expect("read");
    std::fs::write(&manifest, good.replace("\"number\":1", "\"number\":9")).expect("written");
    let refused = trip.import(&there, "out", trip.keys(), true).await.expect_err("another manifest").to_string();
    assert!(refused.contains("manifest is not accepted"), "{refused}");
    assert!(untouched(&there).await);
    std::fs::write(&manifest, good).expect("written");

    // Only what was made for it takes an import.
    let mirror = format!(r#"{{"name":"base","format":"rpm","origin":{{"upstream":{{"urls":["{}/"]}}}}}}"#, trip.upstream.url());
    there.control.create_source(&there.server(), spec(&mirror)).await.expect("a source");
    let refused = trip.import(&there, "out", trip.keys(), true).await.expect_err("a mirror").to_string();
    assert!(refused.contains("only a local one takes imports"), "{refused}");
    there.control.delete_source(&there.server(), "base").await.expect("deleted");
    let made = r#"{"name":"base","format":"rpm","origin":{"local":{}}}"#;
    there.control.create_source(&there.server(), spec(made)).await.expect("a source");
    let refused = trip.import(&there, "out", trip.keys(), false).await.expect_err("its first job waits").to_string();
    assert!(refused.contains("waits or is at work"), "{refused}");
    there.run_jobs().await;
    let done = trip.import(&there, "out", trip.keys(), false).await.expect("imported");
    assert_eq!((done.sources[0].created, &done.sources[0].snapshots[..]), (false, &[(1, Fate::New(2))][..]));
    assert_eq!(packages(&there.control, "base").await, packages(&trip.from.control, "base").await);
}

//! The picture as a file, so that a server that begins again computes nothing anew: what decided with its results, the words of
//! advisories, and of every input the digest it was put in from. It is a cache: a file that is damaged, of another build or of
//! another server counts for nothing, and everything is read and computed.
//!
//! Absent: since when what is open. The store has it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use drydock_domain::applicability::{BadState, Fleet};
use drydock_domain::ids::{FeedId, InstanceId};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::catalogue::{Catalogue, SavedEntry};
use super::vulnerabilities::{SavedFeed, Vulnerabilities};
use super::{FeedSeen, HostSeen, Model, RootSeen};

/// What the file begins with; the number is the form's version.
const MAGIC: &[u8; 8] = b"ddpict\0\x01";
/// SHA-256 of what follows it, behind the magic.
const DIGEST_BYTES: usize = 32;
/// Length of the JSON part behind that, bytes; the engine's own form follows it.
const LENGTH_BYTES: usize = 8;
/// Largest file that is read, bytes: 10,000 hosts that are all different make some 60 MB.
const FILE_MAX_BYTES: u64 = 2 << 30;

/// Where the picture is kept, and what it is valid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PictureFile {
    /// The file, in a directory that only the server writes to.
    pub path: PathBuf,
    /// Which program: another one may decide by other rules.
    pub build: String,
}

/// Why a kept picture is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadPicture {
    #[error("cannot read it")]
    Read(#[source] io::Error),
    #[error("it is larger than {FILE_MAX_BYTES} bytes")]
    Size,
    #[error("it has another form, or is something else")]
    Form,
    #[error("it is damaged (its checksum differs)")]
    Damaged,
    #[error("another build of the server wrote it")]
    Build,
    #[error("another server wrote it")]
    Server,
    #[error("its descriptions cannot be read")]
    Json(#[source] serde_json::Error),
    #[error("its engine cannot be restored")]
    Engine(#[source] BadState),
    #[error("its parts do not fit together: {0}")]
    Parts(&'static str),
}

/// Everything but the engine.
#[derive(Serialize, Deserialize)]
struct Saved<H, F, R> {
    build: String,
    /// Public key of the server's orders.
    server: [u8; 32],
    hosts: H,
    feeds: F,
    roots: R,
    catalogue: Vec<SavedEntry>,
    vulnerabilities: BTreeMap<FeedId, SavedFeed>,
}

type Kept = Saved<BTreeMap<InstanceId, HostSeen>, BTreeMap<FeedId, FeedSeen>, BTreeMap<String, RootSeen>>;

/// The picture as bytes.
pub(crate) fn write(model: &Model, build: &str, server: [u8; 32]) -> Result<Vec<u8>, serde_json::Error> {
    let saved = Saved {
        build: build.to_owned(),
        server,
        hosts: &model.hosts,
        feeds: &model.feeds,
        roots: &model.roots,
        catalogue: model.catalogue.save(),
        vulnerabilities: model.vulnerabilities.save(),
    };
    let json = serde_json::to_vec(&saved)?;
    let engine = model.engine.save();
    let mut body = Vec::with_capacity(LENGTH_BYTES + json.len() + engine.len());
    body.extend_from_slice(&(json.len() as u64).to_be_bytes());
    body.extend_from_slice(&json);
    body.extend_from_slice(&engine);
    let mut all = Vec::with_capacity(MAGIC.len() + DIGEST_BYTES + body.len());
    all.extend_from_slice(MAGIC);
    all.extend_from_slice(digest(&SHA256, &body).as_ref());
    all.append(&mut body);
    Ok(all)
}

/// The picture from bytes, not yet complete: inputs may have changed since.
pub(crate) fn read(bytes: &[u8], build: &str, server: [u8; 32]) -> Result<Model, BadPicture> {
    let body = bytes.strip_prefix(MAGIC).ok_or(BadPicture::Form)?;
    let (sum, body) = body.split_at_checked(DIGEST_BYTES).ok_or(BadPicture::Damaged)?;
    if digest(&SHA256, body).as_ref() != sum {
        return Err(BadPicture::Damaged);
    }
    let (length, rest) = body.split_first_chunk::<LENGTH_BYTES>().ok_or(BadPicture::Damaged)?;
    let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| BadPicture::Damaged)?;
    let (json, engine) = rest.split_at_checked(length).ok_or(BadPicture::Damaged)?;
    let saved: Kept = serde_json::from_slice(json).map_err(BadPicture::Json)?;
    if saved.build != build {
        return Err(BadPicture::Build);
    }
    if saved.server != server {
        return Err(BadPicture::Server);
    }
    let engine = Fleet::restore(engine).map_err(BadPicture::Engine)?;
    let mut hosts: Vec<InstanceId> = engine.hosts().collect();
    hosts.sort_unstable();
    if !hosts.iter().eq(saved.hosts.keys()) {
        return Err(BadPicture::Parts("the hosts it decides about are not those it names"));
    }
    if !saved.roots.keys().all(|root| engine.has_snapshot(root)) {
        return Err(BadPicture::Parts("a snapshot is missing"));
    }
    Ok(Model {
        engine,
        catalogue: Catalogue::restore(saved.catalogue),
        vulnerabilities: Vulnerabilities::restore(saved.vulnerabilities),
        hosts: saved.hosts,
        feeds: saved.feeds,
        roots: saved.roots,
        ..Model::default()
    })
}

/// The kept picture; `None`: there is no file. Blocking.
pub(crate) fn load(place: &PictureFile, server: [u8; 32]) -> Result<Option<Model>, BadPicture> {
    let file = match File::open(&place.path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(BadPicture::Read(e)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(BadPicture::Read)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(BadPicture::Size);
    }
    read(&bytes, &place.build, server).map(Some)
}

/// Puts the file in place of the one before; a kill leaves one of them. Blocking.
pub(crate) fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use drydock_domain::advisory::{Advisory, Epss, Fix, Kev, NameKind, Vulnerability};
    use drydock_domain::applicability::facts::{SnapshotFacts, View};
    use drydock_domain::applicability::{HostInput, Origin};
    use drydock_domain::host_rules::HostRules;
    use drydock_domain::inventory::{ManagerKind, OsFacts, Package};
    use drydock_domain::version::Scheme;

    use crate::fleet::catalogue::Voice;

    const SERVER: [u8; 32] = [7; 32];

    fn model() -> Model {
        let mut model = Model::default();
        let host = InstanceId(uuid::Uuid::from_u128(1));
        let feed = FeedId(uuid::Uuid::from_u128(2));
        let os = OsFacts { short_name: "ol".into(), version: "8".into(), managers: vec![ManagerKind::Dnf], ..OsFacts::default() };
        let package = Package { name: "bash".into(), arch: "x86_64".into(), version: "1-1".into(), ..Package::default() };
        let views = vec![View { source: "s".into(), root: "r".into(), priority: 99, module_hotfixes: false }];
        model.engine.put_snapshot("r", Scheme::Rpm, &SnapshotFacts::default());
        let packages = [model.engine.package(Scheme::Rpm, &package)];
        let rules = HostRules::default();
        model
            .engine
            .put_host(host, HostInput { os: &os, scheme: Scheme::Rpm, packages: &packages, rules: &rules, views: &views });
        let fix = Fix {
            product: Default::default(),
            name: "bash".into(),
            by: NameKind::Binary,
            arch: String::new(),
            version: "2-1".into(),
            scheme: Scheme::Rpm,
            module: None,
        };
        let advisory = Advisory { id: "A-1".into(), cves: vec!["CVE-2026-1".into()], fixes: vec![fix], ..Advisory::default() };
        model.engine.put_advisory(&Origin::Feed(feed.to_string()), &advisory);
        for voice in [Voice::Feed(feed), Voice::Root("r".into())] {
            model.catalogue.put(&voice, &advisory);
        }
        let vulnerability = Vulnerability {
            id: "CVE-2026-1".into(),
            kev: Some(Kev { added: "2026-01-01".parse().expect("a day"), due: None, ransomware: true }),
            epss: Some(Epss { millionths: 5, percentile_millionths: 6 }),
            ..Vulnerability::default()
        };
        model.vulnerabilities.put(feed, &drydock_store::feed_chunks::bucket("CVE-2026-1"), &[vulnerability]);
        model.hosts.insert(host, HostSeen { name: "web-1".into(), stamp: "x".into(), views, place: None });
        model.feeds.insert(feed, FeedSeen { name: "f".into(), version: 3, ..FeedSeen::default() });
        model.roots.insert("r".into(), RootSeen { source: "s".into(), number: 1, environments: vec!["latest".into()] });
        model.engine.settle();
        model
    }

    #[test]
    fn a_picture_comes_back_as_it_was() {
        let before = model();
        let bytes = write(&before, "build", SERVER).expect("bytes");
        let after = read(&bytes, "build", SERVER).expect("read");
        let host = InstanceId(uuid::Uuid::from_u128(1));
        assert_eq!(after.engine.host(host), before.engine.host(host));
        assert_eq!((&after.hosts, &after.feeds, &after.roots), (&before.hosts, &before.feeds, &before.roots));
        assert_eq!(after.catalogue.get("A-1").map(|e| e.voices().count()), Some(2));
        assert_eq!(after.vulnerabilities.get("CVE-2026-1"), before.vulnerabilities.get("CVE-2026-1"));
        assert!(after.vulnerabilities.get("CVE-2026-1").epss.is_some() && !after.complete);
        let open: Vec<&str> = after.engine.open_on(host).expect("a host").collect();
        assert_eq!(open, ["CVE-2026-1"]);
    }

    #[test]
    fn what_is_not_exactly_what_this_server_kept_counts_for_nothing() {
        let bytes = write(&model(), "build", SERVER).expect("bytes");
        assert!(matches!(read(&bytes, "other", SERVER), Err(BadPicture::Build)));
        assert!(matches!(read(&bytes, "build", [8; 32]), Err(BadPicture::Server)));
        assert!(matches!(read(b"something else", "build", SERVER), Err(BadPicture::Form)));
        for cut in [0, 7, 8, 39, 40, 47, 60, bytes.len() / 2, bytes.len() - 1] {
            assert!(read(&bytes[..cut], "build", SERVER).is_err(), "{cut}");
        }
        for at in (0..bytes.len()).step_by(37) {
            let mut broken = bytes.clone();
            broken[at] ^= 0x10;
            assert!(read(&broken, "build", SERVER).is_err(), "{at}");
        }
        let mut torn = model();
        torn.hosts.clear();
        let bytes = write(&torn, "build", SERVER).expect("bytes");
        assert!(matches!(read(&bytes, "build", SERVER), Err(BadPicture::Parts(_))));
    }

    #[test]
    fn the_file_is_replaced_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = PictureFile { path: dir.path().join("picture"), build: "build".into() };
        assert!(load(&place, SERVER).expect("no file").is_none());
        for _ in 0..2 {
            keep(&place.path, &write(&model(), "build", SERVER).expect("bytes")).expect("kept");
        }
        assert!(load(&place, SERVER).expect("read").is_some());
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1, "nothing is left beside it");
        fs::write(&place.path, b"x").expect("written");
        assert!(load(&place, SERVER).is_err());
    }
}

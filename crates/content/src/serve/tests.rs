//! What paths mean, and packages that come from an upstream when somebody asks.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::fetch::tests::hostile::{Hostile, answer, cut, file};
use crate::head::Publication;

struct Bench {
    dir: tempfile::TempDir,
    content: Content,
}

fn source(n: u128) -> SourceId {
    format!("{n:032x}").parse().unwrap()
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        Bench { content: Content::open(dir.path()).unwrap(), dir }
    }

    fn list(&self, of: SourceId, digest: &Digest, size: usize) {
        let unit = UnitLocation { digest: digest.clone(), location: "Packages/a.rpm".to_owned(), size: size as u64 };
        self.content.units().add(of, [unit]).unwrap();
    }

    fn put_blob(&self, bytes: &[u8]) -> Digest {
        let mut staged = self.content.objects().staging_file("test-").unwrap();
        staged.write_all(bytes).unwrap();
        self.content.objects().put_blob_from(staged.path(), Sha256::of(bytes), &[]).unwrap();
        Sha256::of(bytes).digest()
    }

    fn blobs(&self) -> usize {
        fn files(dir: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
            entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
        }
        files(&self.dir.path().join("blobs"))
    }

    fn publish(&self, name: &str, files: &[(&str, &[u8])]) -> SnapshotRoot {
        let root = SnapshotRoot(Sha256::of(name.as_bytes()));
        let files = files.iter().map(|(path, bytes)| {
            let mut staged = self.content.objects().staging_file("test-").unwrap();
            staged.write_all(bytes).unwrap();
            let sha256 = Sha256::of(bytes);
            self.content.objects().put_meta_from(staged.path(), sha256).unwrap();
            PublishedFile {
                path: (*path).to_owned(),
                kind: "x".to_owned(),
                sha256,
                size: bytes.len() as u64,
                raw_sha256: None,
                raw_size: None,
            }
        });
        let publication = Publication { root, format: Format::Deb, files: files.collect() };
        publication.save(self.content.objects()).unwrap();
        root
    }
}

fn view(format: Format, upstream: Option<String>) -> ServeView {
    let upstream = upstream.map(|url| UpstreamAccess { urls: vec![url], ..UpstreamAccess::default() });
    ServeView {
        format,
        head: Arc::default(),
        origins: vec![UnitOrigin { source: source(1), upstream, policy: DownloadPolicy::OnDemand }],
        publications: Vec::new(),
    }
}

fn package() -> Vec<u8> {
    (0..1_500_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Fifty hosts ask for one package at once: one request goes to the upstream, and everybody gets the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stampede_makes_one_request() {
    let (bench, body) = (Bench::new(), package());
    let server = Hostile::start({
        let body = body.clone();
        move |_, request, wire| {
            std::thread::sleep(Duration::from_millis(200));
            file(wire, request, &body);
        }
    });
    let digest = Sha256::of(&body).digest();
    bench.list(source(1), &digest, body.len());
    let view = view(Format::Rpm, Some(server.url()));
    let path = format!("packages/{digest}/a.rpm");
    let size = body.len() as u64;
    let wanted = Served::Upstream { digest: digest.clone(), size, content_type: "application/x-rpm" };
    assert_eq!(bench.content.resolve(&view, &path).unwrap(), wanted);
    let asks = (0..50).map(|_| {
        let (content, view, digest) = (bench.content.clone(), view.clone(), digest.clone());
        tokio::spawn(async move { content.unit_file(&view, &digest).await })
    });
    for answered in futures::future::join_all(asks.collect::<Vec<_>>()).await {
        assert_eq!(std::fs::read(answered.unwrap().unwrap()).unwrap(), body);
    }
    assert_eq!(server.requests().len(), 1);
    bench.content.unit_file(&view, &digest).await.unwrap();
    assert_eq!(server.requests().len(), 1, "it is kept");
    let Served::File { path, size, sha256, immutable, .. } = bench.content.resolve(&view, &path).unwrap() else {
        panic!("a file")
    };
    assert_eq!((size, sha256, immutable), (body.len() as u64, Sha256::of(&body), true));
    assert_eq!(std::fs::read(path).unwrap(), body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_told_to_all_and_not_kept() {
    let (bench, body) = (Bench::new(), package());
    let healed = Arc::new(AtomicBool::new(false));
    let server = Hostile::start({
        let (body, healed) = (body.clone(), Arc::clone(&healed));
        move |_, request, wire| {
            std::thread::sleep(Duration::from_millis(200));
            if healed.load(Ordering::SeqCst) { file(wire, request, &body) } else { file(wire, request, &vec![0; body.len()]) }
        }
    });
    let digest = Digest::from_xml_type("sha", "da39a3ee5e6b4b0d3255bfef95601890afd80709").unwrap();
    bench.list(source(1), &digest, body.len());
    let view = view(Format::Rpm, Some(server.url()));
    let asks: Vec<_> = (0..50)
        .map(|_| {
            let (content, view, digest) = (bench.content.clone(), view.clone(), digest.clone());
            tokio::spawn(async move { content.unit_file(&view, &digest).await })
        })
        .collect();
    for answered in futures::future::join_all(asks).await {
        let error = answered.unwrap().unwrap_err();
        assert!(error.to_string().contains("not the announced file: its checksum is"), "{error}");
    }
    assert_eq!(server.requests().len(), 1);
    assert_eq!(bench.blobs(), 0);
    // The package under its real digest, once the upstream has it right.
    healed.store(true, Ordering::SeqCst);
    let digest = Sha256::of(&body).digest();
    bench.list(source(1), &digest, body.len());
    bench.content.unit_file(&view, &digest).await.unwrap();
    assert_eq!(bench.blobs(), 1);
}

/// SHA-1 is what old repositories name packages by; the file is kept under its SHA-256 and found by both.
#[tokio::test]
async fn a_package_named_by_another_digest_is_found_by_both() {
    let (bench, body) = (Bench::new(), b"hello".to_vec());
    let sha1 = Digest::from_xml_type("sha", "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d").unwrap();
    bench.list(source(1), &sha1, body.len());
    let server = Hostile::start({
        let body = body.clone();
        move |_, request, wire| file(wire, request, &body)
    });
    let view = view(Format::Rpm, Some(server.url()));
    let path = bench.content.unit_file(&view, &sha1).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), body);
    assert_eq!(bench.content.objects().blob_id(&sha1), Some(Sha256::of(&body)));
    bench.content.unit_file(&view, &sha1).await.unwrap();
    assert_eq!(server.requests().len(), 1);
}

/// The process is killed in the middle of a transfer: nothing half is visible, and the next one goes on where it was.
#[test]
fn a_kill_in_the_middle_leaves_nothing_half_visible() {
    let (bench, body) = (Bench::new(), package());
    let digest = Sha256::of(&body).digest();
    bench.list(source(1), &digest, body.len());
    let healed = Arc::new(AtomicBool::new(false));
    let server = Hostile::start({
        let (body, healed) = (body.clone(), Arc::clone(&healed));
        move |_, request, wire| {
            if healed.load(Ordering::SeqCst) {
                file(wire, request, &body);
            } else {
                cut(wire, &body, 1_200_000);
                let _ = wire.flush();
                std::thread::sleep(Duration::from_secs(3));
            }
        }
    });
    let view = view(Format::Rpm, Some(server.url()));
    let partial = bench.content.staging().join(format!("partial-{digest}"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (content, of, wanted) = (bench.content.clone(), view.clone(), digest.clone());
    runtime.spawn(async move { content.unit_file(&of, &wanted).await });
    runtime.block_on(until("some of it is on the disk", || std::fs::metadata(&partial).is_ok_and(|m| m.len() > 500_000)));
    runtime.shutdown_background();
    assert_eq!(bench.blobs(), 0);
    assert!(matches!(bench.content.resolve(&view, &format!("packages/{digest}/a.rpm")), Ok(Served::Upstream { .. })));
    healed.store(true, Ordering::SeqCst);
    let content = Content::open(bench.dir.path()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let path = runtime.block_on(content.unit_file(&view, &digest)).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), body);
    assert!(server.requests().last().unwrap().range().is_some_and(|from| from > 500_000), "it went on where it was");
    assert!(!partial.exists());
}

#[tokio::test]
async fn the_fetch_goes_on_when_the_client_gives_up() {
    let (bench, body) = (Bench::new(), package());
    let digest = Sha256::of(&body).digest();
    bench.list(source(1), &digest, body.len());
    let go = Arc::new(AtomicBool::new(false));
    let server = Hostile::start({
        let (body, go) = (body.clone(), Arc::clone(&go));
        move |_, request, wire| {
            while !go.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(2));
            }
            file(wire, request, &body);
        }
    });
    let view = view(Format::Rpm, Some(server.url()));
    let impatient = tokio::time::timeout(Duration::from_millis(300), bench.content.unit_file(&view, &digest)).await;
    assert!(impatient.is_err());
    go.store(true, Ordering::SeqCst);
    until("the package is here", || bench.content.objects().blob_path(&digest).is_some()).await;
    assert_eq!(server.requests().len(), 1);
}

/// Being in the content directory is not enough: the source must list it.
#[tokio::test]
async fn only_listed_packages_are_served() {
    let bench = Bench::new();
    let server = Hostile::start(|_, _, wire| answer(wire, "200 OK", &[], b"other"));
    let (mine, foreign) = (bench.put_blob(b"mine"), bench.put_blob(b"foreign"));
    let absent = Sha256::of(b"other").digest();
    bench.list(source(1), &mine, 4);
    bench.list(source(2), &foreign, 7);
    bench.list(source(2), &absent, 5);
    let mut view = view(Format::Rpm, Some(server.url()));
    assert!(bench.content.resolve(&view, &format!("packages/{mine}/a.rpm")).is_ok());
    for digest in [&foreign, &absent] {
        let error = bench.content.resolve(&view, &format!("packages/{digest}/a.rpm")).unwrap_err();
        assert!(matches!(error, ServeError::NotFound { .. }), "{error}");
        assert!(matches!(bench.content.unit_file(&view, digest).await, Err(ServeError::NotFound { .. })));
    }
    // A derived source has the packages of all it takes from, each from its own upstream.
    let upstream = view.origins[0].upstream.take();
    view.origins.push(UnitOrigin { source: source(2), upstream, policy: DownloadPolicy::OnDemand });
    for digest in [&mine, &foreign] {
        assert!(matches!(bench.content.resolve(&view, &format!("packages/{digest}/a.rpm")), Ok(Served::File { .. })));
    }
    assert_eq!(std::fs::read(bench.content.unit_file(&view, &absent).await.unwrap()).unwrap(), b"other");
    // Metadata only: never through this server.
    let gone = Sha256::of(b"never").digest();
    bench.list(source(2), &gone, 5);
    view.origins[1].policy = DownloadPolicy::MetadataOnly;
    assert!(matches!(bench.content.resolve(&view, &format!("packages/{gone}/a.rpm")), Err(ServeError::NotFound { .. })));
    assert!(matches!(bench.content.unit_file(&view, &gone).await, Err(ServeError::NotFound { .. })));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn strange_paths_are_not_found() {
    let bench = Bench::new();
    let digest = bench.put_blob(b"mine");
    bench.list(source(1), &digest, 4);
    let view = view(Format::Rpm, None);
    let hex = digest.hex();
    for path in [
        format!("packages/{digest}"),
        format!("packages/{digest}/"),
        format!("packages/{digest}/x/a.rpm"),
        format!("packages/{digest}/../a.rpm"),
        format!("/packages/{digest}/a.rpm"),
        format!("packages//{digest}/a.rpm"),
        format!("./packages/{digest}/a.rpm"),
        format!("packages/{digest}/a.rpm\0"),
        format!("packages/{hex}/a.rpm"),
        format!("packages/md5-{}/a.rpm", &hex[..32]),
        format!("packages/sha256-{}/a.rpm", hex.to_uppercase()),
        format!("packages/sha256-{}/a.rpm", &hex[1..]),
        format!("pool/{digest}/a.deb"),
        format!("blobs/{}/{}", &hex[..2], &hex[2..]),
        "../secret.key".to_owned(),
        "repodata/../../secret.key".to_owned(),
        String::new(),
        "a".repeat(5000),
    ] {
        let result = bench.content.resolve(&view, &path);
        assert!(matches!(result, Err(ServeError::NotFound { .. })), "{path}: {result:?}");
    }
    assert!(bench.content.resolve(&view, &format!("packages/{digest}/any name.rpm")).is_ok());
}

/// A client that read an older head finds everything it names, and a plain name means the current file.
#[test]
fn metadata_is_found_by_hash_in_every_allowed_publication() {
    let bench = Bench::new();
    let path = "dists/stable/main/binary-amd64/Packages.gz";
    let (old, new) = (bench.publish("old", &[(path, b"old")]), bench.publish("new", &[(path, b"new")]));
    let head = BTreeMap::from([("dists/stable/InRelease".to_owned(), b"signed".to_vec())]);
    let mut view = view(Format::Deb, None);
    view.head = Arc::new(Head { files: head });
    view.publications = vec![new, old, SnapshotRoot(Sha256::of(b"collected"))];
    let by_hash = |bytes: &[u8]| format!("dists/stable/main/binary-amd64/by-hash/SHA256/{}", Sha256::of(bytes));
    let read = |view: &ServeView, path: &str| match bench.content.resolve(view, path) {
        Ok(Served::File { path, immutable, .. }) => Some((std::fs::read(path).unwrap(), immutable)),
        Ok(Served::Bytes { bytes, .. }) => Some((bytes, false)),
        Ok(Served::Upstream { .. }) => panic!("metadata is here"),
        Err(ServeError::NotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(read(&view, "dists/stable/InRelease"), Some((b"signed".to_vec(), false)));
    assert_eq!(read(&view, path), Some((b"new".to_vec(), false)));
    assert_eq!(read(&view, &by_hash(b"new")), Some((b"new".to_vec(), true)));
    assert_eq!(read(&view, &by_hash(b"old")), Some((b"old".to_vec(), true)));
    assert_eq!(read(&view, &by_hash(b"none")), None);
    assert_eq!(read(&view, &by_hash(b"old").replace("binary-amd64", "binary-i386")), None, "in its own directory only");
    assert_eq!(read(&view, "dists/stable/Release"), None);
    view.publications = vec![new];
    assert_eq!(read(&view, &by_hash(b"old")), None, "no longer kept for this source");
    let rpm = format!("repodata/{}-primary.xml.gz", Sha256::of(b"p"));
    let root = bench.publish("rpm", &[(&rpm, b"p")]);
    view.format = Format::Rpm;
    view.publications = vec![root];
    assert_eq!(read(&view, &rpm), Some((b"p".to_vec(), true)));
}

#[test]
fn opening_removes_old_leftovers_and_keeps_young_ones() {
    let bench = Bench::new();
    let (old, young) = (bench.content.staging().join("partial-old"), bench.content.staging().join("partial-young"));
    for path in [&old, &young] {
        std::fs::write(path, b"x").unwrap();
    }
    let before = std::time::SystemTime::now() - Duration::from_secs(25 * 3600);
    std::fs::File::options().write(true).open(&old).unwrap().set_modified(before).unwrap();
    Content::open(bench.dir.path()).unwrap();
    assert!(!old.exists() && young.exists());
}

/// A file system of one mebibyte, gone with the guard. Needs root, as the lab does.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(dir.path())
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|s| s.success()).then_some(SmallDisk(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_nothing_half_visible() {
    let Some(disk) = SmallDisk::new() else {
        eprintln!("mounting needs root; not looked at");
        return;
    };
    let content = Content::open(disk.0.path()).unwrap();
    let body = package();
    let server = Hostile::start({
        let body = body.clone();
        move |_, request, wire| file(wire, request, &body)
    });
    let digest = Sha256::of(&body).digest();
    let unit = UnitLocation { digest: digest.clone(), location: "a.rpm".to_owned(), size: body.len() as u64 };
    content.units().add(source(1), [unit]).unwrap();
    let error = content.unit_file(&view(Format::Rpm, Some(server.url())), &digest).await.unwrap_err().to_string();
    assert!(error.contains("no space left") && error.contains("Free space there"), "{error}");
    assert!(content.objects().blob_path(&digest).is_none());
    let many =
        (0..20_000u32).map(|n| UnitLocation { digest: Sha256::of(&n.to_le_bytes()).digest(), location: "x".repeat(60), size: 1 });
    let error = content.units().add(source(2), many).unwrap_err();
    assert!(error.is_full(), "{error}");
    let first = Sha256::of(&0u32.to_le_bytes()).digest();
    assert_eq!(content.units().lookup(source(2), &first).unwrap(), None);
    assert!(content.units().lookup(source(1), &digest).unwrap().is_some(), "what was there before still is");
}

//! Upstreams that are broken or hostile: refused, or tolerated as apt does, and nothing half-visible.

use std::time::{Duration, Instant};

use drydock_content::openpgp::RepositoryKey;
use drydock_domain::source::spec::SignatureCheck;
use jiff::SignedDuration;

use crate::upstream::{Suite, Upstream, compress, stanza};
use crate::{Bench, findings};

const PACKAGES_XZ: &str = "dists/stable/main/binary-amd64/Packages.xz";

fn start() -> (Upstream, Bench, Suite) {
    let upstream = Upstream::start();
    let bench = Bench::new(upstream.url());
    let suite = Suite::stable(bench.now, &(stanza("a", "1", "amd64") + &stanza("b", "1", "all")));
    (upstream, bench, suite)
}

/// No snapshot, no index of units, nothing staged is left of a refused sync.
fn assert_nothing_visible(bench: &Bench) {
    let staged: Vec<_> = std::fs::read_dir(bench.content.staging()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let deb: Vec<_> = staged.iter().filter(|path| path.to_string_lossy().contains("deb-sync")).collect();
    assert!(deb.is_empty(), "left behind: {deb:?}");
    let mut objects = Vec::new();
    let mut dirs = vec![bench.dir.path().join("objects")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.path().is_dir() { dirs.push(entry.path()) } else { objects.push(entry.path()) }
        }
    }
    assert!(objects.is_empty(), "refused before anything is stored: {objects:?}");
}

#[tokio::test]
async fn an_index_cut_short_or_with_other_bytes_is_refused_after_three_tries() {
    let (upstream, bench, suite) = start();
    suite.publish(&upstream, &bench.key);
    let whole = upstream.get(PACKAGES_XZ);
    let mut flipped = whole.clone();
    flipped[20] ^= 1;
    for (broken, what) in
        [(whole[..whole.len() / 2].to_vec(), "cut"), (flipped, "flipped"), ([whole.clone(), whole].concat(), "longer")]
    {
        upstream.put(PACKAGES_XZ, broken);
        upstream.asked();
        let refusal = bench.refusal().await;
        assert!(refusal.contains("Packages.xz") && refusal.contains("does not fit its Release"), "{what}: {refusal}");
        assert!(refusal.contains("in the middle of an update"), "{what}: {refusal}");
        let asked = upstream.asked();
        assert_eq!(asked.iter().filter(|path| path.ends_with("InRelease")).count(), 3, "{what}: {asked:?}");
        assert_nothing_visible(&bench);
    }
}

#[tokio::test]
async fn a_mirror_in_the_middle_of_its_update_is_tried_again() {
    let (upstream, bench, mut suite) = start();
    suite.publish(&upstream, &bench.key);
    // The Release is the old one, the index already the new one; the new Release comes with the second question.
    let old_release = upstream.get("dists/stable/InRelease");
    suite.date = bench.now - SignedDuration::from_secs(60);
    suite.index("main/binary-amd64/Packages", &stanza("new", "2", "amd64"), &["xz"]);
    suite.publish(&upstream, &bench.key);
    let new_release = upstream.get("dists/stable/InRelease");
    upstream.put("dists/stable/InRelease", old_release);
    let mut asked = 0;
    upstream.hook(move |path, files| {
        if path.ends_with("InRelease") {
            asked += 1;
            if asked == 2 {
                files.insert(path.to_owned(), new_release.clone());
            }
        }
    });
    let outcome = bench.sync(None).await.unwrap();
    assert_eq!(bench.names(&outcome.root, "main/amd64"), ["new 2 amd64"]);
}

#[tokio::test]
async fn expired_and_future_releases_are_refused_as_apt_does() {
    let (upstream, mut bench, mut suite) = start();
    suite.date = bench.now - SignedDuration::from_hours(48);
    suite.valid_until = Some(bench.now - SignedDuration::from_hours(1));
    suite.publish(&upstream, &bench.key);
    let refusal = bench.refusal().await;
    assert!(refusal.contains("expired") && refusal.contains("3600 s"), "{refusal}");
    assert_nothing_visible(&bench);
    suite.valid_until = None;
    suite.date = bench.now + SignedDuration::from_hours(2);
    let key = RepositoryKey::generate("Early <early@test.invalid>", bench.now - SignedDuration::from_hours(1)).unwrap();
    bench.spec.keys = vec![key.public_armored().unwrap()];
    let (files, release) = suite.files();
    files.into_iter().for_each(|(path, bytes)| upstream.put(&path, bytes));
    upstream.put("dists/stable/InRelease", drydock_content::openpgp::clearsign(&[key], &release, bench.now).unwrap());
    let refusal = bench.refusal().await;
    assert!(refusal.contains("not valid yet") && refusal.contains("clock"), "{refusal}");
}

#[tokio::test]
async fn a_release_that_expires_while_nothing_changes_is_refused() {
    let (upstream, mut bench, mut suite) = start();
    suite.valid_until = Some(bench.now + SignedDuration::from_hours(24));
    suite.publish(&upstream, &bench.key);
    let first = bench.sync(None).await.unwrap();
    bench.now += SignedDuration::from_hours(25);
    let refusal = bench.sync(Some(&first.state)).await.unwrap_err().to_string();
    assert!(refusal.contains("expired"), "{refusal}");
}

#[tokio::test]
async fn signatures_are_wanted_and_right() {
    let (upstream, mut bench, suite) = start();
    // Signed by somebody else.
    let other = RepositoryKey::generate("Other <other@test.invalid>", bench.now - SignedDuration::from_hours(1)).unwrap();
    suite.publish(&upstream, &other);
    let refusal = bench.refusal().await;
    assert!(refusal.contains("InRelease") && refusal.contains("add the new one"), "{refusal}");
    assert_nothing_visible(&bench);
    // Signed and then changed.
    suite.publish(&upstream, &bench.key);
    let text = String::from_utf8(upstream.get("dists/stable/InRelease")).unwrap();
    upstream.put("dists/stable/InRelease", text.replace("Origin: Test", "Origin: Evil"));
    assert!(bench.refusal().await.contains("InRelease"), "tampered");
    // Text in front of what was signed.
    upstream.put("dists/stable/InRelease", format!("Origin: Evil\n{text}"));
    bench.refusal().await;
    // Not signed at all.
    upstream.clear();
    suite.publish_detached(&upstream, &bench.key);
    upstream.remove("dists/stable/Release.gpg");
    let refusal = bench.refusal().await;
    assert!(refusal.contains("Release.gpg") && refusal.contains("`none`"), "{refusal}");
    assert_nothing_visible(&bench);
    // A signature beside another Release, for good.
    suite.publish_detached(&upstream, &bench.key);
    let release = String::from_utf8(upstream.get("dists/stable/Release")).unwrap();
    upstream.put("dists/stable/Release", release.replace("Origin: Test", "Origin: Evil"));
    let refusal = bench.refusal().await;
    assert!(refusal.contains("signature"), "{refusal}");
    // No keys: a refusal that says what to do, before anything is fetched.
    bench.spec.keys.clear();
    upstream.asked();
    let refusal = bench.refusal().await;
    assert!(refusal.contains("keys") && refusal.contains("`none`"), "{refusal}");
    assert!(upstream.asked().is_empty());
    // Explicitly unverified: taken, and said.
    bench.spec.signatures = SignatureCheck::None;
    let outcome = bench.sync(None).await.unwrap();
    assert!(findings(&outcome).contains("not checked"));
}

#[tokio::test]
async fn weak_sums_are_refused() {
    let (upstream, bench, mut suite) = start();
    suite.sum = "MD5Sum";
    suite.publish(&upstream, &bench.key);
    let refusal = bench.refusal().await;
    assert!(refusal.contains("no SHA256") && refusal.contains("MD5SUM"), "{refusal}");
    suite.sum = "SHA256";
    let weak = stanza("weak", "1", "amd64").replace("SHA256:", "MD5sum:");
    suite.index("main/binary-amd64/Packages", &(weak.clone() + &stanza("a", "1", "amd64")), &["gz"]);
    suite.publish(&upstream, &bench.key);
    let outcome = bench.sync(None).await.unwrap();
    assert_eq!(bench.names(&outcome.root, "main/amd64"), ["a 1 amd64"]);
    assert!(findings(&outcome).contains("package weak 1 is left out: it has no SHA256"));
    suite.index("main/binary-amd64/Packages", &weak, &["gz"]);
    suite.publish(&upstream, &bench.key);
    assert!(bench.refusal().await.contains("none of its 1 stanzas"), "an archive of weak sums only is refused");
}

#[tokio::test]
async fn oddities_are_tolerated_and_told() {
    let (upstream, bench, mut suite) = start();
    let first = stanza("twice", "1", "amd64");
    let second = first
        .replace("SHA256: ", "X-Old: ")
        .replace("Size: 12", "Size: 13\nSHA256: 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
    let huge = format!("Package: huge\nX: {}\n\n", "x".repeat(2 << 20));
    let text = [
        second.as_str(),
        &first,
        &first,
        &stanza("a", "1", "amd64").replace("pool/", "../../etc/"),
        &stanza("b", "1", "amd64").replace("pool/", "/etc/"),
        &stanza("c", "1", "amd64").replace("Size: 12\n", ""),
        &huge,
        "no field here\n\n",
        &stanza("good", "1", "amd64").replace("Description", "X-Unknown: kept\nDescription"),
        stanza("last", "1", "all").trim_end(),
    ]
    .concat()
    .replace('\n', "\r\n");
    suite.index("main/binary-amd64/Packages", &text, &["xz"]);
    suite.publish(&upstream, &bench.key);
    let outcome = bench.sync(None).await.unwrap();
    let (published, records) = bench.index(&outcome.root, "main/amd64");
    assert_eq!(records.keys().collect::<Vec<_>>(), ["good 1 amd64", "last 1 all", "twice 1 amd64"]);
    assert_eq!(records["twice 1 amd64"].size, 13, "the first of two counts, as for apt");
    assert!(published.contains("\nX-Unknown: kept\n") && !published.contains('\r'));
    let told = findings(&outcome);
    for message in [
        "twice amd64 1 is listed twice with different files",
        "package a 1 is left out: its Filename leaves the repository",
        "package b 1 is left out: its Filename leaves the repository",
        "package c 1 is left out: `Size` is missing",
        "a stanza larger than 1 MiB is left out; it begins with Package: huge",
        "line 1 is neither",
        "carriage returns",
    ] {
        assert!(told.contains(message), "{message} in:\n{told}");
    }
    assert_eq!(outcome.findings.len(), 7, "{told}");
}

#[tokio::test]
async fn bombs_are_refused_in_bounded_time() {
    let (upstream, bench, mut suite) = start();
    // 400 MB of zeros behind 60 kB, under a Release that says nothing of its plain size.
    let zeros = vec![0; 400 << 20];
    for compression in ["xz", "gz", "bz2", "zst"] {
        let bomb = compress(compression, &zeros);
        suite.index("main/binary-amd64/Packages", "", &[compression]);
        let (_, release) = suite.files();
        let good = compress(compression, b"");
        let sum = drydock_content::digest::Sha256::of;
        let named = format!(" {} {} main", sum(&good), good.len());
        assert!(release.contains(&named), "{release}");
        let release = release.replace(&named, &format!(" {} {} main", sum(&bomb), bomb.len()));
        let release: String =
            release.lines().filter(|line| !line.ends_with("/Packages")).map(|line| format!("{line}\n")).collect();
        let signed = drydock_content::openpgp::clearsign(std::slice::from_ref(&bench.key), &release, bench.now).unwrap();
        upstream.put("dists/stable/InRelease", signed);
        upstream.put(&format!("dists/stable/main/binary-amd64/Packages.{compression}"), bomb);
        let began = Instant::now();
        let refusal = bench.refusal().await;
        assert!(refusal.contains("Packages"), "{compression}: {refusal}");
        assert!(began.elapsed() < Duration::from_secs(20), "{compression}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn an_index_longer_than_its_release_says_is_refused() {
    let (upstream, bench, mut suite) = start();
    suite.index("main/binary-amd64/Packages", &stanza("a", "1", "amd64"), &["gz"]);
    let (files, release) = suite.files();
    files.into_iter().for_each(|(path, bytes)| upstream.put(&path, bytes));
    let size = stanza("a", "1", "amd64").len();
    let lie = release.replace(&format!(" {size} main/binary-amd64/Packages\n"), " 10 main/binary-amd64/Packages\n");
    assert_ne!(lie, release);
    let signed = drydock_content::openpgp::clearsign(std::slice::from_ref(&bench.key), &lie, bench.now).unwrap();
    upstream.put("dists/stable/InRelease", signed);
    let refusal = bench.refusal().await;
    assert!(refusal.contains("Packages.gz"), "{refusal}");
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let (upstream, mut bench, suite) = start();
    let refusal = bench.refusal().await;
    assert!(refusal.contains("neither an InRelease nor a Release") && refusal.contains("suite"), "{refusal}");
    suite.publish(&upstream, &bench.key);
    bench.upstream().components = vec!["main".to_owned(), "nonfree".to_owned()];
    let refusal = bench.refusal().await;
    assert!(refusal.contains("nonfree") && refusal.contains("it has: main"), "{refusal}");
    bench.upstream().components = vec!["main".to_owned()];
    upstream.remove(PACKAGES_XZ);
    bench.sync(None).await.expect("the next compression is taken");
    upstream.remove(&PACKAGES_XZ.replace(".xz", ".gz"));
    let refusal = bench.refusal().await;
    assert!(refusal.contains("main/amd64") && refusal.contains("404"), "{refusal}");
}

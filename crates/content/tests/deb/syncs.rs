//! Syncs that go well: formats, layouts, what is fetched again and what is not.

use std::time::Instant;

use drydock_domain::source::filter::{FilterAction, FilterRule, Selection};
use drydock_domain::source::spec::DownloadPolicy;
use jiff::SignedDuration;

use crate::upstream::{Suite, Upstream, stanza};
use crate::{Bench, findings};

fn start() -> (Upstream, Bench, Suite) {
    let upstream = Upstream::start();
    let bench = Bench::new(upstream.url());
    let suite = Suite::stable(bench.now - SignedDuration::from_hours(1), &(stanza("b", "1", "amd64") + &stanza("a", "1", "all")));
    (upstream, bench, suite)
}

#[tokio::test]
async fn stanzas_come_through_untouched_but_for_their_place() {
    let (upstream, bench, suite) = start();
    suite.publish(&upstream, &bench.key);
    let outcome = bench.sync(None).await.unwrap();
    assert!(outcome.changed && outcome.findings.is_empty(), "{}", findings(&outcome));
    assert_eq!((outcome.stats.packages, outcome.stats.package_bytes), (2, 24));
    let (text, records) = bench.index(&outcome.root, "main/amd64");
    let ours = |name: &str, arch: &str| {
        let theirs = stanza(name, "1", arch);
        let sum = theirs.lines().find_map(|line| line.strip_prefix("SHA256: ")).unwrap().to_owned();
        theirs.replace("Filename: pool/", &format!("Filename: pool/sha256-{sum}/"))
    };
    assert_eq!(text, ours("a", "all") + &ours("b", "amd64"), "sorted by name");
    assert_eq!(records["a 1 all"].location, "pool/a_1_all.deb");
    let deb = bench.doc(&outcome.root).deb.unwrap();
    assert_eq!((deb.dist.as_str(), deb.origin.as_str(), deb.flat), ("stable", "Test", false));
    assert_eq!((deb.components, deb.architectures), (vec!["main".to_owned()], vec!["amd64".to_owned()]));
}

#[tokio::test]
async fn every_compression_and_signature_form_gives_the_same_snapshot() {
    let (upstream, bench, mut suite) = start();
    let mut roots = Vec::new();
    let text = suite.indexes["main/binary-amd64/Packages"].0.clone();
    for compression in ["xz", "gz", "bz2", "zst", ""] {
        upstream.clear();
        suite.index("main/binary-amd64/Packages", &text, &[compression]);
        suite.by_hash = !suite.by_hash;
        match compression {
            "gz" | "" => suite.publish_detached(&upstream, &bench.key),
            _ => suite.publish(&upstream, &bench.key),
        }
        let outcome = bench.sync(None).await.unwrap_or_else(|error| panic!("{compression:?}: {error}"));
        roots.push(outcome.root);
    }
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]), "{roots:?}");
}

#[tokio::test]
async fn an_unchanged_release_costs_one_question() {
    let (upstream, mut bench, mut suite) = start();
    suite.publish(&upstream, &bench.key);
    let first = bench.sync(None).await.unwrap();
    upstream.asked();
    let began = Instant::now();
    let second = bench.sync(Some(&first.state)).await.unwrap();
    assert!(!second.changed && second.root == first.root && second.stats == first.stats);
    assert_eq!(upstream.asked(), ["dists/stable/InRelease"]);
    assert!(began.elapsed().as_millis() < 1000, "{:?}", began.elapsed());
    // Signed anew, nothing else: the index keeps its tree, and no snapshot is made.
    suite.date = bench.now;
    suite.publish(&upstream, &bench.key);
    let third = bench.sync(Some(&second.state)).await.unwrap();
    assert!(!third.changed && third.root == first.root);
    assert_eq!(upstream.asked(), ["dists/stable/InRelease"]);
    // Another component: only its index is fetched.
    suite.set("Components", "main contrib");
    suite.index("contrib/binary-amd64/Packages", &stanza("c", "1", "amd64"), &["gz"]);
    suite.publish(&upstream, &bench.key);
    bench.upstream().components.push("contrib".to_owned());
    let fourth = bench.sync(Some(&third.state)).await.unwrap();
    assert!(fourth.changed);
    assert_eq!(bench.names(&fourth.root, "contrib/amd64"), ["c 1 amd64"]);
    upstream.asked();
    suite.date = bench.now + SignedDuration::from_secs(5);
    suite.index("contrib/binary-amd64/Packages", &stanza("c", "2", "amd64"), &["gz"]);
    suite.publish(&upstream, &bench.key);
    let fifth = bench.sync(Some(&fourth.state)).await.unwrap();
    assert_eq!(upstream.asked(), ["dists/stable/InRelease", "dists/stable/contrib/binary-amd64/Packages.gz"]);
    assert_eq!((fifth.stats.packages, fifth.stats.package_bytes), (3, 36));
    assert_eq!(bench.names(&fifth.root, "contrib/amd64"), ["c 2 amd64"]);
}

#[tokio::test]
async fn an_older_release_than_the_last_one_is_ignored() {
    let (upstream, bench, mut suite) = start();
    suite.publish(&upstream, &bench.key);
    let old = upstream.get("dists/stable/InRelease");
    suite.date = bench.now;
    suite.index("main/binary-amd64/Packages", &stanza("new", "1", "amd64"), &["gz"]);
    suite.publish(&upstream, &bench.key);
    let newer = bench.sync(None).await.unwrap();
    upstream.put("dists/stable/InRelease", old);
    let after = bench.sync(Some(&newer.state)).await.unwrap();
    assert!(!after.changed && after.root == newer.root);
    assert!(findings(&after).contains("older than the one"), "{}", findings(&after));
}

#[tokio::test]
async fn flat_repositories_and_several_architectures() {
    let (upstream, mut bench, mut suite) = start();
    suite.base = String::new();
    suite.indexes.clear();
    let all = [stanza("x", "1", "amd64"), stanza("x", "1", "arm64"), stanza("x", "1", "i386"), stanza("doc", "1", "all")];
    suite.index("Packages", &all.concat().replace("pool/", "./"), &["gz"]);
    suite.fields.retain(|(name, _)| name != "Components");
    suite.publish(&upstream, &bench.key);
    bench.upstream().suite = Some("./".to_owned());
    bench.upstream().components.clear();
    bench.spec.architectures = vec!["amd64".to_owned(), "arm64".to_owned()];
    let outcome = bench.sync(None).await.unwrap();
    assert_eq!(upstream.asked(), ["InRelease", "Packages.gz"], "one file for both");
    assert_eq!(bench.names(&outcome.root, "main/amd64"), ["doc 1 all", "x 1 amd64"]);
    assert_eq!(bench.names(&outcome.root, "main/arm64"), ["doc 1 all", "x 1 arm64"]);
    let (_, records) = bench.index(&outcome.root, "main/amd64");
    assert_eq!(records["doc 1 all"].location, "doc_1_all.deb");
    let deb = bench.doc(&outcome.root).deb.unwrap();
    assert_eq!((deb.dist.as_str(), deb.flat), ("flat", true));
}

#[tokio::test]
async fn an_index_of_all_is_taken_when_the_release_offers_it() {
    let (upstream, bench, mut suite) = start();
    suite.set("Architectures", "all amd64");
    suite.index("main/binary-all/Packages", &stanza("doc", "1", "all"), &["xz"]);
    suite.publish(&upstream, &bench.key);
    let outcome = bench.sync(None).await.unwrap();
    assert_eq!(bench.names(&outcome.root, "main/all"), ["doc 1 all"]);
    assert_eq!(bench.doc(&outcome.root).deb.unwrap().architectures, ["amd64"]);
    suite.set("No-Support-for-Architecture-all", "Packages");
    suite.publish(&upstream, &bench.key);
    let outcome = bench.sync(None).await.unwrap();
    assert_eq!(bench.doc(&outcome.root).packages.keys().collect::<Vec<_>>(), ["main/amd64"]);
}

#[tokio::test]
async fn a_selection_takes_what_it_says() {
    let (upstream, mut bench, mut suite) = start();
    let text: String = ["1.9", "1.10", "1.10~rc1", "1:0.1"].iter().map(|version| stanza("lib", version, "amd64")).collect();
    suite.index("main/binary-amd64/Packages", &(text + &stanza("other", "1", "amd64")), &["gz"]);
    suite.publish(&upstream, &bench.key);
    let rule = FilterRule {
        action: FilterAction::Include,
        name: Some("lib*".to_owned()),
        source: None,
        arch: Vec::new(),
        version: vec!["< 1:0".to_owned()],
        advisory: None,
        module: None,
    };
    bench.spec.selection = Selection { rules: vec![rule], newest: Some(2) };
    let outcome = bench.sync(None).await.unwrap();
    assert_eq!(bench.names(&outcome.root, "main/amd64"), ["lib 1.10 amd64", "lib 1.10~rc1 amd64"]);
    assert_eq!(outcome.stats.packages, 2);
}

#[tokio::test]
async fn the_immediate_policy_has_every_file_before_there_is_a_snapshot() {
    let (upstream, mut bench, mut suite) = start();
    let files: Vec<(String, Vec<u8>)> = (0..20).map(|n| (format!("p{n}"), format!("file {n}").into_bytes())).collect();
    let mut text = String::new();
    for (name, bytes) in &files {
        let sum = drydock_content::digest::Sha256::of(bytes);
        let stanza = stanza(name, "1", "amd64").replace("Size: 12", &format!("Size: {}", bytes.len()));
        for line in stanza.lines() {
            text += &if line.starts_with("SHA256") { format!("SHA256: {sum}\n") } else { format!("{line}\n") };
        }
        upstream.put(&format!("pool/{name}_1_amd64.deb"), bytes.clone());
    }
    suite.index("main/binary-amd64/Packages", &text, &["gz"]);
    suite.publish(&upstream, &bench.key);
    bench.spec.policy = DownloadPolicy::Immediate;
    let outcome = bench.sync(None).await.unwrap();
    for (_, bytes) in &files {
        let digest = drydock_content::digest::Sha256::of(bytes).digest();
        let path = bench.content.objects().blob_path(&digest).expect("fetched");
        assert_eq!(&std::fs::read(path).unwrap(), bytes);
    }
    assert_eq!(outcome.stats.packages, 20);
    let fetched = upstream.asked().iter().filter(|path| path.starts_with("pool/")).count();
    assert_eq!(fetched, 20);
    // A file that is not what the index says: no snapshot.
    upstream.put("pool/bad_1_amd64.deb", "something else");
    suite.index("main/binary-amd64/Packages", &stanza("bad", "1", "amd64"), &["gz"]);
    suite.publish(&upstream, &bench.key);
    let refusal = bench.refusal().await;
    assert!(refusal.contains("pool/bad_1_amd64.deb"), "{refusal}");
}

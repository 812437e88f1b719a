//! Syncs of repositories that are in order.

use std::time::Instant;

use drydock_content::openpgp::RepositoryKey;
use drydock_content::{SyncError, tree};
use drydock_domain::source::spec::{DownloadPolicy, SignatureCheck};
use jiff::SignedDuration;

use crate::upstream::{Pkg, Repo, Server};
use crate::{Bench, found};

fn packages() -> Vec<Pkg> {
    vec![Pkg::new("bash", "5.1"), Pkg::new("bash", "5.2"), Pkg::new("zsh", "5.9")]
}

#[tokio::test]
async fn what_is_published_is_what_was_synced() {
    let server = Server::start();
    let mut repo = Repo::of(&packages());
    repo.set("group", "comps.xml", "<comps/>");
    repo.set("productid", "productid.gz", "a certificate");
    repo.set("primary_db", "primary.sqlite.gz", "never asked for");
    repo.set("updateinfo", "updateinfo.xml.gz", "<updates><update type=\"security\"><id>A-1</id><severity>Low</severity><pkglist>\
        <collection><package name=\"zsh\" version=\"5.9\" release=\"1\" arch=\"x86_64\"/></collection></pkglist></update></updates>");
    repo.set("modules", "modules.yaml.gz", "---\ndocument: modulemd\nversion: 2\ndata:\n  name: m\n  stream: 1.0\n...\n");
    server.serve(&repo);
    let bench = Bench::new(&server.url);
    let outcome = bench.sync(None).await.unwrap();
    assert!(outcome.changed);
    assert_eq!((outcome.stats.packages, outcome.stats.advisories, outcome.stats.modules), (3, 1, 1));
    assert_eq!(outcome.stats.package_bytes, packages().iter().map(|p| p.content.len() as u64).sum::<u64>());
    assert_eq!(outcome.findings, []);
    assert_eq!(bench.names(&outcome.root), ["bash-5.1-1.x86_64", "bash-5.2-1.x86_64", "zsh-5.9-1.x86_64"]);
    let ours = |text: String| {
        packages().iter().fold(text, |text, p| {
            let file = p.href.rsplit('/').next().unwrap();
            text.replace(&p.href, &format!("packages/sha256-{}/{file}", p.pkgid()))
        })
    };
    assert_eq!(bench.published(&outcome.root, "primary"), ours(repo.text("primary")));
    let published = bench.published(&outcome.root, "filelists");
    let lists = repo.text("filelists");
    for element in lists.split_inclusive("</package>\n").filter(|element| element.contains("pkgid")) {
        let element = element.get(element.find("<package ").unwrap()..).unwrap();
        assert!(published.contains(element), "{element}");
    }
    assert!(bench.published(&outcome.root, "updateinfo").contains("<id>A-1</id>"));
    assert_eq!(bench.published(&outcome.root, "modules"), repo.text("modules"));
    let publication = bench.publish(&outcome.root);
    let kinds: Vec<_> = publication.files.iter().map(|file| file.kind.as_str()).collect();
    assert_eq!(kinds, ["primary", "filelists", "other", "updateinfo", "modules", "group", "productid"]);
    assert!(publication.files[5].path.ends_with("-comps.xml"));
    for file in &publication.files {
        let bytes = std::fs::read(bench.content.objects().meta_path(&file.sha256)).unwrap();
        assert_eq!((drydock_content::digest::Sha256::of(&bytes), bytes.len() as u64), (file.sha256, file.size));
    }
    assert!(!server.asked().iter().any(|path| path.contains("sqlite")));
    assert!(bench.staged().is_empty(), "{:?}", bench.staged());
}

#[tokio::test]
async fn nothing_changed_means_one_request() {
    let server = Server::start();
    server.serve(&Repo::of(&packages()));
    let bench = Bench::new(&server.url);
    let first = bench.sync(None).await.unwrap();
    server.asked();
    let started = Instant::now();
    let second = bench.sync(Some(&first.state)).await.unwrap();
    assert!(started.elapsed().as_millis() < 1000);
    assert_eq!(server.asked(), ["repodata/repomd.xml"]);
    assert_eq!((second.root, second.changed, second.stats), (first.root, false, first.stats));
    assert_eq!(second.state, first.state);
    // An upstream without validators: equal bytes.
    let mut state = first.state.clone();
    state.validators = None;
    let third = bench.sync(Some(&state)).await.unwrap();
    assert_eq!(server.asked(), ["repodata/repomd.xml"]);
    assert_eq!((third.root, third.changed), (first.root, false));
}

#[tokio::test]
async fn what_changed_is_read_and_nothing_else() {
    let server = Server::start();
    let mut repo = Repo::of(&packages());
    server.serve(&repo);
    let bench = Bench::new(&server.url);
    let first = bench.sync(None).await.unwrap();
    server.asked();
    repo.set("updateinfo", "updateinfo.xml.gz", "<updates><update><id>A-1</id></update></updates>");
    server.serve(&repo);
    let second = bench.sync(Some(&first.state)).await.unwrap();
    let asked = server.asked();
    assert!(asked.len() == 2 && asked[1].ends_with("updateinfo.xml.gz"), "{asked:?}");
    assert!(second.changed);
    assert_eq!((second.stats.packages, second.stats.advisories), (3, 1));
    assert_eq!(bench.doc(&second.root).packages, bench.doc(&first.root).packages);
    let mut more = packages();
    more.push(Pkg::new("vim", "9"));
    let updates = repo.text("updateinfo");
    let mut repo = Repo::of(&more);
    repo.set("updateinfo", "updateinfo.xml.gz", updates);
    server.serve(&repo);
    let third = bench.sync(Some(&second.state)).await.unwrap();
    assert_eq!((third.stats.packages, third.stats.advisories), (4, 1));
    assert!(!server.asked().iter().any(|path| path.contains("updateinfo")));
    // The way does not matter.
    let anew = Bench::new(&server.url).sync(None).await.unwrap();
    assert_eq!(anew.root, third.root);
    // Settings that shape a snapshot make everything be read.
    let mut other = Bench::new(&server.url);
    other.spec.architectures = vec!["aarch64".into()];
    let none = other.sync(Some(&third.state)).await.unwrap();
    assert_eq!(none.stats.packages, 0);
    assert!(!none.state.facts.is_empty());
}

#[tokio::test]
async fn immediate_has_every_file_and_on_demand_knows_where_they_are() {
    let server = Server::start();
    for package in packages() {
        server.put(&package.href, package.content.clone());
    }
    server.serve(&Repo::of(&packages()));
    let mut bench = Bench::new(&server.url);
    let outcome = bench.sync(None).await.unwrap();
    for record in bench.records(&outcome.root) {
        let digest = record.digest.parse().unwrap();
        assert!(bench.content.objects().blob_path(&digest).is_none());
        let location = bench.content.units().lookup(bench.source, &digest).unwrap().unwrap();
        assert_eq!((location.location, location.size), (record.location, record.size));
    }
    bench.spec.policy = DownloadPolicy::Immediate;
    let outcome = bench.sync(Some(&outcome.state)).await.unwrap();
    for (record, package) in bench.records(&outcome.root).iter().zip(packages()) {
        let blob = bench.content.objects().blob_path(&record.digest.parse().unwrap()).unwrap();
        assert_eq!(std::fs::read(blob).unwrap(), package.content);
    }
    // A file that is not what was announced: no snapshot.
    let mut more = packages();
    more.push(Pkg::new("vim", "9"));
    server.put(&more[3].href, "something else");
    server.serve(&Repo::of(&more));
    let error = bench.sync(Some(&outcome.state)).await.unwrap_err();
    assert!(matches!(error, SyncError::Fetch(_)) && error.to_string().contains("vim-9-1"), "{error}");
}

#[tokio::test]
async fn metadata_only_names_the_upstream() {
    let server = Server::start();
    server.serve(&Repo::of(&packages()));
    let mut bench = Bench::new(&server.url);
    bench.spec.policy = DownloadPolicy::MetadataOnly;
    let outcome = bench.sync(None).await.unwrap();
    let primary = bench.published(&outcome.root, "primary");
    let want = format!("<location xml:base=\"{}/\" href=\"Packages/zsh-5.9-1.x86_64.rpm\"/>", server.url);
    assert!(primary.contains(&want), "{primary}");
}

#[tokio::test]
async fn selections_and_architectures_leave_out_what_belongs_to_nothing() {
    let server = Server::start();
    let mut all = packages();
    let mut arm = Pkg::new("arm", "1");
    arm.arch = "aarch64".into();
    all.push(arm);
    let mut repo = Repo::of(&all);
    let update = |id: &str, name: &str, version: &str| {
        format!(
            "<update type=\"security\"><id>{id}</id><pkglist><collection><package name=\"{name}\" version=\"{version}\" \
             release=\"1\" arch=\"x86_64\"/></collection></pkglist></update>"
        )
    };
    let updates = [update("A-bash", "bash", "5.2"), update("A-zsh", "zsh", "5.9")].concat();
    repo.set("updateinfo", "updateinfo.xml.gz", format!("<updates>{updates}</updates>"));
    server.serve(&repo);
    let mut bench = Bench::new(&server.url);
    bench.spec.architectures = vec!["x86_64".into()];
    let outcome = bench.sync(None).await.unwrap();
    assert_eq!((outcome.stats.packages, outcome.stats.advisories), (3, 2));
    bench.spec.selection = serde_json::from_value(serde_json::json!({
        "rules": [{ "action": "include", "name": "bash" }], "newest": 1
    }))
    .unwrap();
    let outcome = bench.sync(Some(&outcome.state)).await.unwrap();
    assert_eq!(bench.names(&outcome.root), ["bash-5.2-1.x86_64"]);
    let doc = bench.doc(&outcome.root);
    let heads = tree::heads(bench.content.objects(), doc.advisories.as_ref().unwrap()).unwrap();
    let ids: Vec<_> = heads.iter().map(|head| String::from_utf8_lossy(&head.key).into_owned()).collect();
    assert_eq!(ids, ["A-bash"]);
    // Equal repomd.xml, equal settings: nothing to do.
    assert!(!bench.sync(Some(&outcome.state)).await.unwrap().changed);
}

#[tokio::test]
async fn signatures_are_checked_as_the_source_says() {
    let server = Server::start();
    let repo = Repo::of(&packages());
    server.serve(&repo);
    let mut bench = Bench::new(&server.url);
    let made = bench.now - SignedDuration::from_hours(24);
    let [key, other] = [0, 1].map(|_| RepositoryKey::generate("Upstream <up@test.invalid>", made).unwrap());
    let repomd = repo.files()["repodata/repomd.xml"].clone();
    let sign = |key: &RepositoryKey, data: &[u8]| {
        drydock_content::openpgp::sign_detached(std::slice::from_ref(key), data, made).unwrap()
    };
    bench.spec.keys = vec![key.public_armored().unwrap()];

    // Optional: absent is a finding, wrong is an error, unknown is a finding.
    assert!(found(&bench.sync(None).await.unwrap(), "repomd.xml", "no repodata/repomd.xml.asc"));
    server.put("repodata/repomd.xml.asc", sign(&key, b"something else"));
    let error = bench.sync(None).await.unwrap_err();
    assert!(matches!(error, SyncError::Signature { .. }), "{error}");
    server.put("repodata/repomd.xml.asc", sign(&other, &repomd));
    assert!(found(&bench.sync(None).await.unwrap(), "repomd.xml", "not checked"));
    server.put("repodata/repomd.xml.asc", sign(&key, &repomd));
    assert_eq!(bench.sync(None).await.unwrap().findings, []);

    bench.spec.signatures = SignatureCheck::Required;
    assert_eq!(bench.sync(None).await.unwrap().findings, []);
    server.put("repodata/repomd.xml.asc", sign(&other, &repomd));
    assert!(matches!(bench.sync(None).await.unwrap_err(), SyncError::Signature { .. }));
    server.remove("repodata/repomd.xml.asc");
    let error = bench.sync(None).await.unwrap_err();
    assert!(matches!(error, SyncError::Signature { .. }) && error.to_string().contains("repomd.xml.asc"), "{error}");
    bench.spec.keys.clear();
    let error = bench.sync(None).await.unwrap_err();
    assert!(error.to_string().contains("no keys"), "{error}");

    bench.spec.signatures = SignatureCheck::None;
    assert!(found(&bench.sync(None).await.unwrap(), "repomd.xml", "not checked"));
}

#[tokio::test]
async fn an_upstream_that_changes_meanwhile_is_read_once_more() {
    let server = Server::start();
    let old = Repo::of(&packages());
    let mut more = packages();
    more.push(Pkg::new("vim", "9"));
    let new = Repo::of(&more).files();
    server.serve(&old);
    let mut done = false;
    server.hook(move |path, files| {
        if path.contains("primary") && !done {
            done = true;
            files.retain(|path, _| !path.starts_with("repodata/"));
            files.extend(new.clone());
        }
    });
    let bench = Bench::new(&server.url);
    let outcome = bench.sync(None).await.unwrap();
    assert_eq!(outcome.stats.packages, 4);
}

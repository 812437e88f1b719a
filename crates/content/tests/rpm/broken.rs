//! Upstreams that are broken or lie: refused or tolerated as dnf does, and nothing half-visible.

use drydock_content::digest::Sha256;
use drydock_content::{SyncError, SyncOutcome};

use crate::upstream::{Pkg, Repo, Server, gzip};
use crate::{Bench, found};

fn packages() -> Vec<Pkg> {
    vec![Pkg::new("bash", "5.1"), Pkg::new("vim", "9.0"), Pkg::new("zsh", "5.9")]
}

/// Syncs a good repository, then this one: it must be refused, and the first snapshot stay what it is.
async fn refused(change: impl FnOnce(&mut Repo)) -> SyncError {
    let server = Server::start();
    server.serve(&Repo::of(&packages()));
    let bench = Bench::new(&server.url);
    let good = bench.sync(None).await.unwrap();
    let mut repo = Repo::of(&packages());
    change(&mut repo);
    server.serve(&repo);
    let error = bench.sync(Some(&good.state)).await.unwrap_err();
    assert_eq!(bench.names(&good.root).len(), 3);
    bench.publish(&good.root);
    assert!(bench.staged().is_empty(), "{:?}", bench.staged());
    // The upstream is mended: the next sync is as if nothing had been.
    server.serve(&Repo::of(&packages()));
    let mended = bench.sync(Some(&good.state)).await.unwrap();
    assert_eq!((mended.root, mended.changed), (good.root, false));
    error
}

async fn tolerated(repo: &Repo) -> (Bench, SyncOutcome) {
    let server = Server::start();
    server.serve(repo);
    let bench = Bench::new(&server.url);
    let outcome = bench.sync(None).await.unwrap();
    (bench, outcome)
}

fn names_file(error: &SyncError, file: &str, why: &str) {
    let text = error.to_string();
    assert!(matches!(error, SyncError::Metadata { .. }) && text.contains(file) && text.contains(why), "{text}");
    assert!(text.len() < 1000, "{text}");
}

#[tokio::test]
async fn truncated_files_are_refused() {
    for kind in ["primary", "filelists", "other"] {
        let error = refused(|repo| {
            let text = repo.text(kind);
            repo.set(kind, &format!("{kind}.xml.gz"), text.get(..text.len() / 2).unwrap());
        })
        .await;
        names_file(&error, kind, "ends too early");
        let error = refused(|repo| {
            let whole = gzip(repo.text(kind).as_bytes());
            repo.compressed.insert(kind.into(), whole[..whole.len() / 2].to_vec());
        })
        .await;
        names_file(&error, kind, "byte");
    }
    let error = refused(|repo| repo.set("updateinfo", "updateinfo.xml.gz", "<updates><update><id>A</id>")).await;
    names_file(&error, "updateinfo", "ends too early");
}

#[tokio::test]
async fn wrong_checksums_are_refused() {
    for kind in ["primary", "filelists", "other"] {
        let error = refused(|repo| {
            repo.checksums.insert(kind.into(), Sha256::of(b"other").to_string());
        })
        .await;
        assert!(matches!(error, SyncError::Fetch(_)), "{error}");
        assert!(error.to_string().contains(kind) && error.to_string().contains("checksum"), "{error}");
    }
    let error = refused(|repo| {
        let whole = gzip(repo.text("primary").as_bytes());
        let mut damaged = whole.clone();
        let last = damaged.len() - 6;
        damaged[last] ^= 1;
        repo.compressed.insert("primary".into(), damaged);
    })
    .await;
    names_file(&error, "primary", "");
}

#[tokio::test]
async fn missing_files_are_refused_and_missing_extras_are_not() {
    let server = Server::start();
    let mut repo = Repo::of(&packages());
    repo.set("group", "comps.xml", "<comps/>");
    server.serve(&repo);
    let comps = repo.files().into_keys().find(|path| path.ends_with("comps.xml")).unwrap();
    server.remove(&comps);
    let bench = Bench::new(&server.url);
    let outcome = bench.sync(None).await.unwrap();
    assert!(found(&outcome, "comps.xml", "not there"), "{:?}", outcome.findings);
    let filelists = repo.files().into_keys().find(|path| path.ends_with("filelists.xml.gz")).unwrap();
    server.remove(&filelists);
    let error = bench.sync(None).await.unwrap_err();
    assert!(matches!(&error, SyncError::Fetch(e) if e.is_not_found()), "{error}");
    server.remove("repodata/repomd.xml");
    assert!(bench.sync(Some(&outcome.state)).await.is_err());
}

#[tokio::test]
async fn malformed_and_hostile_xml_is_refused() {
    for (from, to, why) in [
        ("<summary>", "<sumary>", "closed by"),
        ("&lt;", "&bomb;", "reference"),
        ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "<!DOCTYPE metadata [<!ENTITY a 'b'>]>", "document type"),
        ("encoding=\"UTF-8\"", "encoding=\"ISO-8859-1\"", "UTF-8"),
        ("<metadata", "<other", "root element"),
        ("</description>", "\u{1}</description>", "control"),
    ] {
        let error = refused(|repo| {
            let text = repo.text("primary").replacen(from, to, 1);
            repo.set("primary", "primary.xml.gz", text);
        })
        .await;
        names_file(&error, "primary", why);
    }
    let error = refused(|repo| {
        let mut bytes = repo.text("primary").into_bytes();
        let at = bytes.windows(4).position(|w| w == b"bash").unwrap();
        bytes[at] = 0xff;
        repo.set("primary", "primary.xml.gz", bytes);
    })
    .await;
    names_file(&error, "primary", "UTF-8");
}

#[tokio::test]
async fn md5_is_refused() {
    let error = refused(|repo| {
        let text = repo.text("primary").replace("type=\"sha256\"", "type=\"md5\"");
        repo.set("primary", "primary.xml.gz", text);
    })
    .await;
    assert!(matches!(error, SyncError::Unsupported { .. }) && error.to_string().contains("SHA-256"), "{error}");
}

#[tokio::test]
async fn bombs_are_refused() {
    // 300 MiB of spaces in 300 KiB.
    let error = refused(|repo| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let mebibyte = vec![b' '; 1 << 20];
        std::io::Write::write_all(&mut encoder, b"<metadata packages=\"0\">").unwrap();
        for _ in 0..300 {
            std::io::Write::write_all(&mut encoder, &mebibyte).unwrap();
        }
        repo.compressed.insert("primary".into(), encoder.finish().unwrap());
    })
    .await;
    names_file(&error, "primary", "");
    // One element that does not end.
    let error = refused(|repo| repo.set_primary(&format!("<package><name>{}</name></package>", "xy".repeat(9 << 20)), 1)).await;
    names_file(&error, "primary", "larger than");
}

#[tokio::test]
async fn duplicates_are_kept_once_or_found() {
    let mut rebuilt = Pkg::new("bash", "5.1");
    rebuilt.content = b"built again".to_vec();
    let all = [packages(), vec![rebuilt], vec![packages()[2].clone()]].concat();
    let (bench, outcome) = tolerated(&Repo::of(&all)).await;
    assert_eq!(bench.names(&outcome.root), ["bash-5.1-1.x86_64", "bash-5.1-1.x86_64", "vim-9.0-1.x86_64", "zsh-5.9-1.x86_64"]);
    assert!(found(&outcome, "bash-0:5.1-1.x86_64", "different checksums"), "{:?}", outcome.findings);
    assert!(found(&outcome, "zsh-5.9-1.x86_64.rpm", "same checksum"), "{:?}", outcome.findings);
    assert!(found(&outcome, "filelists", "listed twice"), "{:?}", outcome.findings);
    assert_eq!(bench.published(&outcome.root, "filelists").matches("<package ").count(), 4);
}

#[tokio::test]
async fn lists_out_of_order_or_incomplete_are_put_right() {
    let all = packages();
    let files = |p: &Pkg| p.list(&format!("<file>/usr/bin/{}</file>", p.name));
    let mut repo = Repo::of(&all);
    let stray = Pkg::new("stray", "1");
    let lists = [files(&stray), files(&all[2]), files(&all[0])].concat();
    repo.set_filelists(&lists);
    repo.texts.retain(|(kind, _, _)| kind != "other");
    let (bench, outcome) = tolerated(&repo).await;
    assert!(found(&outcome, "filelists", "lacks 1 of 3"), "{:?}", outcome.findings);
    assert!(found(&outcome, "repomd.xml", "no other"), "{:?}", outcome.findings);
    let published = bench.published(&outcome.root, "filelists");
    let places: Vec<_> = all.iter().map(|p| published.find(&p.pkgid()).unwrap()).collect();
    assert!(places.is_sorted(), "{published}");
    assert!(published.contains("<file>/usr/bin/zsh</file>") && !published.contains("stray"));
    assert!(published.contains("name=\"vim\" arch=\"x86_64\""), "{published}");
    assert_eq!(bench.published(&outcome.root, "other").matches("<package ").count(), 3);
}

#[tokio::test]
async fn odd_names_are_found() {
    let mut all = packages();
    all[0].href = "x/renamed file.rpm".into();
    let (bench, outcome) = tolerated(&Repo::of(&all)).await;
    assert!(found(&outcome, "bash-5.1-1.x86_64.rpm", "renamed file.rpm"), "{:?}", outcome.findings);
    assert!(bench.published(&outcome.root, "primary").contains("/renamed_file.rpm\"/>"));
    assert_eq!(bench.records(&outcome.root)[0].location, "x/renamed file.rpm");
}

#[tokio::test]
async fn paths_that_leave_the_repository_are_never_asked_for() {
    let mut all = packages();
    all[0].href = "../../../etc/passwd".into();
    all[1].href = "/etc/passwd".into();
    let server = Server::start();
    server.put(&all[2].href, all[2].content.clone());
    server.serve(&Repo::of(&all));
    let mut bench = Bench::new(&server.url);
    bench.spec.policy = drydock_domain::source::spec::DownloadPolicy::Immediate;
    let outcome = bench.sync(None).await.unwrap();
    assert_eq!(bench.names(&outcome.root), ["zsh-5.9-1.x86_64"]);
    assert!(found(&outcome, "bash", "leaves") && found(&outcome, "vim", "absolute"), "{:?}", outcome.findings);
    assert!(!server.asked().iter().any(|path| path.contains("passwd")));
    assert!(!bench.published(&outcome.root, "primary").contains("passwd"));

    let mut repo = Repo::of(&packages());
    repo.set("group", "comps.xml", "<comps/>");
    let mut files = repo.files();
    let repomd = String::from_utf8(files.remove("repodata/repomd.xml").unwrap()).unwrap();
    let at = repomd.find("repodata/").unwrap();
    let evil = format!("{}../../{}", &repomd[..at], &repomd[at..]);
    server.put("repodata/repomd.xml", evil);
    let error = bench.sync(None).await.unwrap_err();
    assert!(error.to_string().contains("leaves"), "{error}");
}

#[tokio::test]
async fn unknown_elements_and_types_are_passed_over() {
    let mut repo = Repo::of(&packages());
    let text = repo.text("primary").replacen("<package ", "<strange><package/></strange>text<package ", 1);
    let text = text.replace("<packager/>", "<packager/><suse:freshens/><x y='z'>w</x>");
    let text = text.replace("<metadata ", "<metadata xmlns:suse=\"http://suse.invalid\" ");
    repo.set("primary", "primary.xml.gz", text);
    repo.set("susedata", "susedata.xml.gz", "<susedata/>");
    let (bench, outcome) = tolerated(&repo).await;
    assert_eq!(outcome.stats.packages, 3);
    let primary = bench.published(&outcome.root, "primary");
    assert!(primary.contains("<package xmlns:suse=\"http://suse.invalid\" type=\"rpm\">"), "{primary}");
    assert!(primary.contains("<x y='z'>w</x>") && !primary.contains("strange"));
    assert!(bench.publish(&outcome.root).files.iter().any(|file| file.kind == "susedata"));
}

#[tokio::test]
async fn huge_fields_leave_only_their_package_out() {
    let all = packages();
    let mut repo = Repo::of(&all);
    let text = repo.text("primary").replace("<name>bash</name>", &format!("<name>{}</name>", "x".repeat(1 << 20)));
    let text = text.replace("ver=\"9.0\"", &format!("ver=\"{}\"", "9".repeat(1000)));
    repo.set("primary", "primary.xml.gz", text);
    let (bench, outcome) = tolerated(&repo).await;
    assert_eq!(bench.names(&outcome.root), ["zsh-5.9-1.x86_64"]);
    assert!(found(&outcome, "xxx", "longer than 255") && found(&outcome, "vim", "longer than 200"), "{:?}", outcome.findings);
    assert!(outcome.findings.iter().all(|f| f.subject.len() + f.message.len() < 2100));
}

#[tokio::test]
async fn checksums_of_other_kinds_are_taken() {
    let mut all = packages();
    all.truncate(1);
    let mut repo = Repo::of(&all);
    let sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d";
    for kind in ["primary", "filelists", "other"] {
        let text = repo.text(kind).replace(&all[0].pkgid(), sha1).replace("type=\"sha256\"", "type=\"sha\"");
        repo.set(kind, &format!("{kind}.xml.gz"), text);
    }
    let (bench, outcome) = tolerated(&repo).await;
    assert_eq!(bench.records(&outcome.root)[0].digest, format!("sha1-{sha1}"));
    assert!(found(&outcome, "bash", "SHA-1"), "{:?}", outcome.findings);
    assert!(bench.published(&outcome.root, "filelists").contains("<file>/usr/bin/bash</file>"));
}

#[tokio::test]
async fn every_compression_is_read_whatever_its_name() {
    let plain = Repo::of(&packages());
    let want = tolerated(&plain).await.1.root;
    let xz = |text: &[u8]| {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
        std::io::Write::write_all(&mut encoder, text).unwrap();
        encoder.finish().unwrap()
    };
    let bz2 = |text: &[u8]| {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        std::io::Write::write_all(&mut encoder, text).unwrap();
        encoder.finish().unwrap()
    };
    let mut repo = plain.clone();
    repo.compressed.insert("primary".into(), zstd::bulk::compress(plain.text("primary").as_bytes(), 3).unwrap());
    repo.compressed.insert("filelists".into(), xz(plain.text("filelists").as_bytes()));
    repo.compressed.insert("other".into(), bz2(plain.text("other").as_bytes()));
    let (_, outcome) = tolerated(&repo).await;
    assert_eq!(outcome.root, want);
    assert_eq!(outcome.findings, []);
    let mut repo = plain.clone();
    repo.compressed.insert("primary".into(), plain.text("primary").into_bytes());
    assert_eq!(tolerated(&repo).await.1.root, want);
}

#[tokio::test]
async fn advisories_with_one_id_become_one() {
    let mut repo = Repo::of(&packages());
    let update = |name: &str, date: &str| {
        format!(
            "<update><id>A-1</id><updated date=\"{date}\"/><title>{name}</title><pkglist><collection><package name=\"{name}\" \
             version=\"1\" release=\"1\" arch=\"noarch\"/></collection></pkglist></update>"
        )
    };
    let texts = [update("a", "2026-01-01"), update("b", "2026-02-01"), update("b", "2026-02-01"), "<update/>".into()].concat();
    repo.set("updateinfo", "updateinfo.xml.gz", format!("<updates>{texts}</updates>"));
    let (bench, outcome) = tolerated(&repo).await;
    assert_eq!(outcome.stats.advisories, 1);
    assert!(found(&outcome, "A-1", "several times") && found(&outcome, "updateinfo", "no id"), "{:?}", outcome.findings);
    let published = bench.published(&outcome.root, "updateinfo");
    assert!(
        published.contains("<title>b</title>") && published.contains("name=\"a\"") && !published.contains("<title>a</title>")
    );
}

#[tokio::test]
async fn modules_that_cannot_be_read_are_left_out() {
    let mut repo = Repo::of(&packages());
    let good = "---\ndocument: modulemd\nversion: 2\ndata:\n  name: m\n  stream: 1.0\n...\n";
    repo.set("modules", "modules.yaml.gz", format!("---\n- not: [a module\n...\n{good}"));
    let (bench, outcome) = tolerated(&repo).await;
    assert_eq!(outcome.stats.modules, 1);
    assert!(found(&outcome, "modules", "line 1"), "{:?}", outcome.findings);
    assert_eq!(bench.published(&outcome.root, "modules"), good);
}

#[tokio::test]
async fn packages_that_lie_elsewhere_are_left_to_hosts_or_out() {
    let server = Server::start();
    let mut repo = Repo::of(&packages());
    let text = repo.text("primary");
    let text =
        text.replace("<location href=\"Packages/bash", &format!("<location xml:base=\"{}/more/\" href=\"bash", server.url));
    let text = text.replace("<location href=\"Packages/vim", "<location xml:base=\"http://elsewhere.invalid/\" href=\"vim");
    repo.set("primary", "primary.xml.gz", text);
    server.serve(&repo);
    let mut bench = Bench::new(&server.url);
    let outcome = bench.sync(None).await.unwrap();
    assert_eq!(bench.names(&outcome.root), ["bash-5.1-1.x86_64", "zsh-5.9-1.x86_64"]);
    assert_eq!(bench.records(&outcome.root)[0].location, "more/bash-5.1-1.x86_64.rpm");
    assert!(found(&outcome, "vim", "elsewhere"), "{:?}", outcome.findings);
    bench.spec.policy = drydock_domain::source::spec::DownloadPolicy::MetadataOnly;
    let outcome = bench.sync(None).await.unwrap();
    assert_eq!(outcome.stats.packages, 3);
    assert!(bench.published(&outcome.root, "primary").contains("xml:base=\"http://elsewhere.invalid/\" href=\"vim-9.0"));
}

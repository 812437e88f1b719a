use std::io::{Read, Write};
use std::net::TcpListener;

use drydock_pkgmgr::testing::ScriptedRunner;

use super::super::testing::Bench;
use super::*;

const ARMOURED: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxxxx\n-----END PGP PUBLIC KEY BLOCK-----\n";

/// Gives `key` once.
fn key_server(key: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}/key", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let _ = stream.read(&mut [0; 4096]);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", key.len());
        stream.write_all(&[head.as_bytes(), key].concat()).expect("sent");
    });
    address
}

fn debian(runner: ScriptedRunner) -> Bench {
    let bench = Bench::with(runner);
    bench.put("/etc/os-release", "ID=debian\n");
    bench.put("/usr/bin/apt-get", "");
    bench.put("/usr/bin/dpkg-query", "");
    bench
}

fn apt(uri: &str, key: &str) -> String {
    let apt = serde_json::json!({"archiveType": "DEB", "uri": uri, "distribution": "stable", "components": ["main", "extra"], "gpgKey": key});
    serde_json::json!({"id": "r", "repository": {"apt": apt}}).to_string()
}

fn names(bench: &Bench, dir: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(bench.host(dir))
        .map(|entries| entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

#[test]
fn apt_gets_a_line_and_a_key_for_it_alone_that_is_fetched_once() {
    let bench = debian(ScriptedRunner::new());
    let key = key_server(ARMOURED.as_bytes());
    let mut kind = bench.kind(&apt("http://repo.example/deb", &key));
    bench.enforce(&mut *kind);
    let lists = names(&bench, "/etc/apt/sources.list.d");
    assert!(lists.len() == 1 && lists[0].starts_with("drydock_managed_") && lists[0].ends_with(".list"), "{lists:?}");
    let keys = names(&bench, "/etc/apt/keyrings");
    assert!(keys.len() == 1 && keys[0].ends_with(".asc"), "{keys:?}");
    let want = format!(
        "# Managed by Drydock\ndeb [signed-by=/etc/apt/keyrings/{}] http://repo.example/deb stable main extra\n",
        keys[0]
    );
    let list = format!("/etc/apt/sources.list.d/{}", lists[0]);
    assert_eq!(bench.get(&list), want);
    assert!(kind.watches().contains(&Watch::Path(list.clone().into())));
    // The key server is gone.
    std::fs::remove_file(bench.host("/etc/apt/keyrings").join(&keys[0])).expect("removed");
    bench.put(&list, "deb http://evil.example/ stable main\n");
    bench.enforce(&mut *kind);
    bench.enforce(&mut *bench.kind(&apt("http://other.example/deb", &key)));
    assert_eq!(names(&bench, "/etc/apt/sources.list.d").len(), 1, "the earlier form's file is gone");
    bench.kind(&apt("http://other.example/deb", &key)).remove(&bench.cx()).expect("removed");
    assert!(names(&bench, "/etc/apt/sources.list.d").is_empty() && names(&bench, "/etc/apt/keyrings").is_empty());
}

#[test]
fn what_is_no_key_is_refused_and_a_binary_one_is_named_so() {
    let bench = debian(ScriptedRunner::new());
    let failure = bench.kind(&apt("http://r/", &key_server(b"<html>"))).validate(&bench.cx()).expect_err("no key");
    assert!(failure.message.contains("no OpenPGP key"), "{failure:?}");
    bench.enforce(&mut *bench.kind(&apt("http://r/", &key_server(b"\x99\x01\x0d"))));
    assert!(names(&bench, "/etc/apt/keyrings")[0].ends_with(".gpg"));
}

#[test]
fn a_yum_repository_checks_signatures_where_it_has_keys() {
    let bench = Bench::with(ScriptedRunner::new());
    bench.put("/etc/os-release", "ID=fedora\n");
    bench.put("/usr/bin/dnf5", "");
    let json = r#"{"id":"r","repository":{"yum":{"id":"tools","displayName":"Tools","baseUrl":"http://r/$releasever","gpgKeys":["http://r/a","http://r/b"]}}}"#;
    let mut kind = bench.kind(json);
    bench.enforce(&mut *kind);
    let want = "# Managed by Drydock\n[tools]\nname=Tools\nbaseurl=http://r/$releasever\nenabled=1\ngpgcheck=1\ngpgkey=http://r/a\n       http://r/b\n";
    assert_eq!(bench.get("/etc/yum.repos.d/drydock_managed_tools.repo"), want);
    let unsigned = r#"{"id":"r","repository":{"yum":{"id":"tools","baseUrl":"http://r/"}}}"#;
    bench.enforce(&mut *bench.kind(unsigned));
    assert!(bench.get("/etc/yum.repos.d/drydock_managed_tools.repo").contains("name=tools\n"));
    assert!(bench.get("/etc/yum.repos.d/drydock_managed_tools.repo").ends_with("gpgcheck=0\n"));
    let mut kind = bench.kind(&apt("http://r/", ""));
    let Ok(Found::NotApplicable(why)) = kind.check(&bench.cx()) else { panic!("not for this host") };
    assert!(why.contains("not apt"), "{why}");
}

#[test]
fn zypper_is_told_to_take_the_repositorys_key() {
    let bench =
        Bench::with(ScriptedRunner::new().expect("zypper --non-interactive --gpg-auto-import-keys refresh --repo tools", ""));
    bench.put("/etc/os-release", "ID=sles\n");
    bench.put("/usr/bin/zypper", "");
    bench.enforce(
        &mut *bench.kind(r#"{"id":"r","repository":{"zypper":{"id":"tools","baseUrl":"http://r/","gpgKeys":["http://r/a"]}}}"#),
    );
    assert!(bench.get("/etc/zypp/repos.d/drydock_managed_tools.repo").contains("type=rpm-md\ngpgcheck=1\n"));
}

#[test]
fn what_exclusive_sources_set_aside_is_not_fought_over() {
    let bench = debian(ScriptedRunner::new());
    let mut kind = bench.kind(&apt("http://r/", ""));
    bench.enforce(&mut *kind);
    let list = format!("/etc/apt/sources.list.d/{}", names(&bench, "/etc/apt/sources.list.d")[0]);
    std::fs::rename(bench.host(&list), bench.host(&format!("{list}.drydock-backup"))).expect("set aside");
    let failure = kind.check(&bench.cx()).expect_err("a fight");
    assert!(failure.message.contains("managed exclusively"), "{failure:?}");
}

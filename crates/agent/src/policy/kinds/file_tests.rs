use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use drydock_domain::policy::host::SECRET_MARKS;

use super::super::testing::{Bench, SECRET};
use super::*;

const CONF: &str =
    r#"{"id":"c","file":{"path":"/etc/app/conf","state":"CONTENTS_MATCH","content":"port=80\n","permissions":"640"}}"#;

fn bench() -> Bench {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.host("/etc/app")).expect("made");
    bench
}

fn chmod(bench: &Bench, path: &str, mode: u32) {
    std::fs::set_permissions(bench.host(path), std::fs::Permissions::from_mode(mode)).expect("changed");
}

#[test]
fn content_and_mode_are_brought_about_kept_and_shown() {
    let bench = bench();
    let mut kind = bench.kind(CONF);
    assert_eq!(kind.watches(), [Watch::Path("/etc/app/conf".into())]);
    assert_eq!(bench.enforce(&mut *kind), ("absent".to_owned(), "made".to_owned()));
    bench.put("/etc/app/conf", "port=81\n");
    let (what, evidence) = bench.wanting(&mut *kind);
    assert_eq!(what, "content differs");
    let Some(Evidence::Diff { text }) = evidence else { panic!("a diff") };
    assert!(text.contains("-port=81\n+port=80\n"), "{text}");
    bench.enforce(&mut *kind);
    assert_eq!(bench.get("/etc/app/conf"), "port=80\n");
    chmod(&bench, "/etc/app/conf", 0o666);
    let inode = std::fs::metadata(bench.host("/etc/app/conf")).expect("there").ino();
    assert_eq!(bench.enforce(&mut *kind), ("mode 0666 instead of 0640".to_owned(), "attributes set".to_owned()));
    assert_eq!(std::fs::metadata(bench.host("/etc/app/conf")).expect("there").ino(), inode, "not written for that");
}

#[test]
fn un_assignment_removes_what_was_made_and_brings_back_what_was_replaced() {
    let bench = bench();
    let mut kind = bench.kind(CONF);
    bench.enforce(&mut *kind);
    assert_eq!(kind.remove(&bench.cx()).expect("taken back").what, "removed");
    assert!(!bench.host("/etc/app/conf").exists());
    assert_eq!(kind.remove(&bench.cx()).expect("again").what, "removed");

    let bench = self::bench();
    bench.put("/etc/app/conf", "mine");
    chmod(&bench, "/etc/app/conf", 0o604);
    let mut kind = bench.kind(CONF);
    bench.enforce(&mut *kind);
    bench.put("/etc/app/conf", "drift");
    bench.enforce(&mut *kind);
    assert_eq!(kind.remove(&bench.cx()).expect("taken back").what, "the former file is back");
    assert_eq!(bench.get("/etc/app/conf"), "mine");
    assert_eq!(std::fs::metadata(bench.host("/etc/app/conf")).expect("there").mode() & 0o7777, 0o604);

    let bench = self::bench();
    bench.put("/etc/app/conf", "port=80\n");
    chmod(&bench, "/etc/app/conf", 0o640);
    let mut kind = bench.kind(CONF);
    bench.compliant(&mut *kind);
    assert!(kind.remove(&bench.cx()).expect("left").what.starts_with("left as it is"));
    assert_eq!(bench.get("/etc/app/conf"), "port=80\n");
}

#[test]
fn a_missing_directory_is_named_and_not_made() {
    let bench = Bench::new();
    let mut kind = bench.kind(CONF);
    assert_eq!(bench.wanting(&mut *kind).0, "absent, and so is its directory");
    let failure = kind.enforce(&bench.cx()).expect_err("no directory");
    assert!(failure.message.contains("/etc/app does not exist; put a directory resource before"), "{failure:?}");
}

#[test]
fn present_does_not_mind_the_content_and_absent_removes() {
    let bench = bench();
    bench.put("/etc/app/source", "from here");
    let present = r#"{"id":"c","file":{"path":"/etc/app/conf","state":"PRESENT","file":{"localPath":"/etc/app/source"}}}"#;
    let mut kind = bench.kind(present);
    bench.enforce(&mut *kind);
    assert_eq!(bench.get("/etc/app/conf"), "from here");
    assert_eq!(std::fs::metadata(bench.host("/etc/app/conf")).expect("there").mode() & 0o7777, DEFAULT_MODE);
    bench.put("/etc/app/conf", "other");
    bench.compliant(&mut *kind);
    let mut kind = bench.kind(r#"{"id":"c","file":{"path":"/etc/app/conf","state":"ABSENT"}}"#);
    bench.enforce(&mut *kind);
    assert!(!bench.host("/etc/app/conf").exists());
}

#[test]
fn a_local_source_that_changes_is_followed() {
    let bench = bench();
    bench.put("/srv/source", "one");
    let mut kind =
        bench.kind(r#"{"id":"c","file":{"path":"/etc/app/conf","state":"CONTENTS_MATCH","file":{"localPath":"/srv/source"}}}"#);
    bench.enforce(&mut *kind);
    assert!(kind.watches().contains(&Watch::Path("/srv/source".into())));
    bench.put("/srv/source", "two");
    bench.enforce(&mut *kind);
    assert_eq!(bench.get("/etc/app/conf"), "two");
    std::fs::remove_file(bench.host("/srv/source")).expect("removed");
    assert!(kind.validate(&bench.cx()).expect_err("gone").message.contains("localPath /srv/source"));
}

#[test]
fn a_link_in_its_place_is_replaced_and_rights_are_not_set_through_one() {
    let bench = bench();
    bench.put("/etc/shadow", "root:x");
    symlink("/etc/shadow", bench.host("/etc/app/conf")).expect("linked");
    let mut kind = bench.kind(CONF);
    assert_eq!(bench.enforce(&mut *kind).0, "a symbolic link is in its place");
    assert_eq!((bench.get("/etc/shadow").as_str(), bench.get("/etc/app/conf").as_str()), ("root:x", "port=80\n"));
    symlink("../shadow", bench.host("/etc/app/link")).expect("linked");
    let present = |more: &str| {
        bench.kind(&format!(r#"{{"id":"c","file":{{"path":"/etc/app/link","state":"PRESENT","content":"x"{more}}}}}"#))
    };
    bench.compliant(&mut *present(""));
    let failure = present(r#","permissions":"600""#).check(&bench.cx()).expect_err("not through links");
    assert!(failure.message.contains("name the file itself"), "{failure:?}");
}

#[test]
fn a_secret_is_written_with_closed_rights_and_shown_nowhere() {
    let bench = bench();
    let content = format!("password={}pw{}\n", SECRET_MARKS.0, SECRET_MARKS.1);
    let json = serde_json::json!({"id": "c", "file": {"path": "/etc/app/key", "state": "CONTENTS_MATCH", "content": content}});
    let mut kind = bench.kind(&json.to_string());
    bench.put("/etc/app/key", "password=yesterday\n");
    let (_, evidence) = bench.wanting(&mut *kind);
    let done = kind.enforce(&bench.cx()).expect("written");
    assert_eq!(bench.get("/etc/app/key"), format!("password={SECRET}\n"));
    let told = format!("{evidence:?} {done:?}");
    assert!(!told.contains(SECRET) && !told.contains("yesterday"), "{told}");
    std::fs::remove_file(bench.host("/etc/app/key")).expect("removed");
    bench.enforce(&mut *kind);
    assert_eq!(std::fs::metadata(bench.host("/etc/app/key")).expect("there").mode() & 0o7777, SECRET_MODE);
}

#[test]
fn a_file_with_another_name_is_copied_before_its_rights_change() {
    let bench = bench();
    bench.put("/etc/app/conf", "port=80\n");
    chmod(&bench, "/etc/app/conf", 0o600);
    std::fs::hard_link(bench.host("/etc/app/conf"), bench.host("/etc/app/other")).expect("linked");
    bench.enforce(&mut *bench.kind(CONF));
    assert_eq!(std::fs::metadata(bench.host("/etc/app/other")).expect("there").mode() & 0o7777, 0o600);
}

#[test]
fn directories_links_and_lines_are_kept_too() {
    let bench = bench();
    let mut kind = bench.kind(r#"{"id":"d","directory":{"path":"/srv/a/b","permissions":"2750"}}"#);
    assert_eq!(bench.enforce(&mut *kind), ("absent".to_owned(), "made".to_owned()));
    assert_eq!(std::fs::metadata(bench.host("/srv/a")).expect("there").mode() & 0o7777, 0o755);
    chmod(&bench, "/srv/a/b", 0o700);
    assert_eq!(bench.enforce(&mut *kind).0, "mode 0700 instead of 2750");
    bench.put("/srv/a/b/x", "");
    assert_eq!(kind.remove(&bench.cx()).expect("left").what, "left as it is: it is not empty");
    std::fs::remove_file(bench.host("/srv/a/b/x")).expect("removed");
    assert_eq!(kind.remove(&bench.cx()).expect("removed").what, "removed");
    assert!(!bench.host("/srv/a/b").exists());
}

#[test]
fn a_link_leads_where_it_should_and_never_replaces_a_file() {
    let bench = bench();
    let mut kind = bench.kind(r#"{"id":"l","symlink":{"path":"/etc/app/current","target":"v2"}}"#);
    symlink("v1", bench.host("/etc/app/current")).expect("linked");
    assert_eq!(bench.enforce(&mut *kind), ("leads to v1".to_owned(), "linked".to_owned()));
    assert_eq!(kind.remove(&bench.cx()).expect("taken back").what, "the former link is back");
    assert_eq!(std::fs::read_link(bench.host("/etc/app/current")).expect("a link"), PathBuf::from("v1"));
    std::fs::remove_file(bench.host("/etc/app/current")).expect("removed");
    bench.put("/etc/app/current", "precious");
    assert!(kind.check(&bench.cx()).is_err());
    assert!(kind.enforce(&bench.cx()).is_err());
    assert_eq!(bench.get("/etc/app/current"), "precious");
}

fn line(more: &str) -> String {
    format!(r#"{{"id":"l","line":{{"path":"/etc/app/conf",{more}}}}}"#)
}

#[test]
fn a_line_is_put_in_replaced_taken_out_and_the_rest_stays() {
    let bench = bench();
    bench.put("/etc/app/conf", "a=1\nport=1\nport=2\nb=2");
    chmod(&bench, "/etc/app/conf", 0o601);
    let mut kind = bench.kind(&line(r#""line":"port=80","startsWith":"port=""#));
    bench.enforce(&mut *kind);
    assert_eq!(bench.get("/etc/app/conf"), "a=1\nport=80\nb=2");
    assert_eq!(std::fs::metadata(bench.host("/etc/app/conf")).expect("there").mode() & 0o7777, 0o601);
    assert_eq!(kind.remove(&bench.cx()).expect("taken back").what, "the former lines are back");
    assert_eq!(bench.get("/etc/app/conf"), "a=1\nport=1\nport=2\nb=2");

    let bench = self::bench();
    bench.put("/etc/app/conf", "a=1");
    let mut kind = bench.kind(&line(r#""line":"c=3""#));
    bench.enforce(&mut *kind);
    assert_eq!(bench.get("/etc/app/conf"), "a=1\nc=3\n");
    kind.remove(&bench.cx()).expect("taken back");
    assert_eq!(bench.get("/etc/app/conf"), "a=1\n");
    bench.enforce(&mut *bench.kind(&line(r#""line":"a=1","state":"ABSENT""#)));
    assert_eq!(bench.get("/etc/app/conf"), "");
}

#[test]
fn a_line_makes_its_file_only_when_told_and_goes_through_roots_own_link() {
    let bench = bench();
    let mut kind = bench.kind(&line(r#""line":"x""#));
    assert_eq!(bench.wanting(&mut *kind).0, "its file is absent");
    assert!(kind.enforce(&bench.cx()).expect_err("not told").message.contains("create"));
    let mut kind = bench.kind(&line(r#""line":"x","create":true"#));
    bench.enforce(&mut *kind);
    kind.remove(&bench.cx()).expect("taken back");
    assert!(!bench.host("/etc/app/conf").exists());
    bench.put("/etc/app/real", "y\n");
    symlink("real", bench.host("/etc/app/conf")).expect("linked");
    bench.enforce(&mut *bench.kind(&line(r#""line":"x""#)));
    assert_eq!(bench.get("/etc/app/real"), "y\nx\n");
    assert!(std::fs::symlink_metadata(bench.host("/etc/app/conf")).expect("there").is_symlink());
}

/// A real full disk, where a file system may be mounted.
#[test]
fn a_full_disk_leaves_the_old_content_whole() {
    if !crate::policy::lab_host::is_one("a full disk") {
        return;
    }
    let bench = bench();
    let dir = bench.host("/etc/app");
    let mount = |args: &[&str]| std::process::Command::new("mount").args(args).arg(&dir).status().expect("ran").success();
    assert!(mount(&["-t", "tmpfs", "-o", "size=48k", "none"]));
    let file = |fill: &str| {
        let content = fill.repeat(30_000);
        let json =
            serde_json::json!({"id": "c", "file": {"path": "/etc/app/conf", "state": "CONTENTS_MATCH", "content": content}});
        bench.kind(&json.to_string())
    };
    bench.enforce(&mut *file("a"));
    let mut kind = file("b");
    kind.validate(&bench.cx()).expect("valid");
    let failure = kind.enforce(&bench.cx()).expect_err("full");
    assert!(failure.message.contains("the old one is whole, make room"), "{failure:?}");
    assert_eq!(bench.get("/etc/app/conf"), "a".repeat(30_000));
    assert_eq!(std::fs::read_dir(&dir).expect("listed").count(), 1, "nothing is left beside it");
    assert!(mount(&["-o", "remount,size=200k", "none"]));
    bench.enforce(&mut *kind);
    assert!(std::process::Command::new("umount").arg(&dir).status().expect("ran").success());
}

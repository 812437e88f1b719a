//! `drydock audit`: an export is checked without a server, settings and seals with one.

use std::path::Path;

use drydock_domain::audit::Record;
use drydock_domain::audit::chain::{GENESIS, Hash, Seal, SealKind, hash, hex, key_fingerprint};
use drydock_domain::audit::line::{push_record, push_seal};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use crate::fake::{Answer, Fake, Prepared};

struct Key(Ed25519KeyPair);

impl Key {
    fn new() -> Key {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        Key(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key"))
    }

    fn public(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().expect("32 bytes")
    }

    fn seal(&self, kind: SealKind, seq: u64, hash: Hash) -> Seal {
        let at = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut seal = Seal { kind, seq, hash, at, key: self.public(), signature: [0; 64] };
        seal.signature = self.0.sign(&seal.signed_bytes()).as_ref().try_into().expect("64 bytes");
        seal
    }
}

/// An export of `n` records, and the seal before its end.
fn export(key: &Key, n: u64) -> (String, String) {
    let (mut out, mut previous) = (Vec::new(), GENESIS);
    for seq in 1..=n {
        let record = Record {
            at: Timestamp::from_second(1_800_000_000 + i64::try_from(seq).expect("small")).expect("a time"),
            who_kind: "user".into(),
            who_id: "u1".into(),
            who: "ann".into(),
            address: "192.0.2.7".into(),
            request_id: "r".into(),
            operation: "group.edit".into(),
            compartment: "/".into(),
            resource: format!("group g{seq}").into(),
            decision: "allow".into(),
            reason: "a statement".into(),
            parameters: "{}".into(),
            outcome: "allowed".into(),
            error: "".into(),
            duration_ms: None,
        };
        previous = hash(&mut Vec::new(), &previous, seq, &record);
        push_record(&mut out, seq, &record, &previous);
    }
    let mut seal = Vec::new();
    push_seal(&mut seal, &key.seal(SealKind::Interval { after: 0 }, n, previous));
    out.extend_from_slice(&seal);
    push_seal(&mut out, &key.seal(SealKind::Export { first: 1 }, n, previous));
    (String::from_utf8(out).expect("UTF-8"), String::from_utf8(seal).expect("UTF-8"))
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

#[tokio::test]
async fn an_export_is_checked_without_a_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = Key::new();
    let (text, _) = export(&key, 4);
    let file = write(dir.path(), "audit.jsonl", &text);
    let pinned = write(dir.path(), "key", &format!("{}\n", hex(&key.public())));
    let ran = Prepared::new().run(&format!("audit verify {file} --key {pinned}")).await;
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    assert!(ran.out.starts_with("Whole and unchanged: records 1 to 4 (4), 2 seals"), "{}", ran.out);
    let by_fingerprint = format!("audit verify - --fingerprint {}", key_fingerprint(&key.public()));
    assert_eq!(Prepared::new().input(&text).run(&by_fingerprint).await.code, 0);

    let other = write(dir.path(), "other-key", &hex(&Key::new().public()));
    let ran = Prepared::new().run(&format!("audit verify {file} --key {other}")).await;
    assert!(ran.code == 1 && ran.out.contains("line 5: bad seal"), "{}", ran.out);
    for (from, to, said) in [
        ("group g3", "group g9", "line 3: changed: record 3 was changed"),
        ("\"who\":\"ann\"", "\"who\":\"bob\"", "line 1: changed: record 1 was changed"),
        ("{\"seq\":2,", "{\"seq\":5,", "line 2: missing: record 2 is not there"),
    ] {
        let ran = Prepared::new().input(&text.replacen(from, to, 1)).run(&format!("audit verify - --key {pinned}")).await;
        assert!(ran.code == 1 && ran.out.contains(said), "{from}: {}", ran.out);
    }
    let cut: Vec<&str> = text.lines().take(3).collect();
    let ran = Prepared::new().input(&cut.join("\n")).run(&format!("audit verify - --key {pinned} -o json")).await;
    let verdict: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((ran.code, &verdict["ok"], &verdict["wrong"], &verdict["line"]), (1, &json!(false), &json!("cut off"), &json!(4)));

    let ran = Prepared::new().run(&format!("audit verify {file}")).await;
    assert!(ran.code == 2 && ran.err.contains("--key"), "a key has to be pinned: {}", ran.err);
    let endless = "x".repeat(300_000);
    assert_eq!(Prepared::new().input(&endless).run(&format!("audit verify - --key {pinned}")).await.code, 1);
}

#[tokio::test]
async fn a_kept_seal_tells_that_an_export_was_cut_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = Key::new();
    let pinned = write(dir.path(), "key", &hex(&key.public()));
    let (long, seal) = export(&key, 6);
    let kept = write(dir.path(), "kept", &seal);
    let (short, _) = export(&key, 3);
    let args = format!("audit verify - --key {pinned} --seal {kept}");
    assert_eq!(Prepared::new().input(&long).run(&args).await.code, 0);
    let ran = Prepared::new().input(&short).run(&args).await;
    assert!(ran.code == 1 && ran.out.contains("the kept seal is of record 6"), "{}", ran.out);
}

#[tokio::test]
async fn exports_are_written_and_settings_changed() {
    let fake = Fake::start().await;
    let key = Key::new();
    let (text, seal) = export(&key, 2);
    let status = json!({"settings": {"reads": {"secrets": false}, "keepDays": null}, "first": 1, "last": 2,
        "seal": {"seq": 2, "hash": "00", "at": "2026-11-19T21:59:00Z", "line": seal.trim()},
        "key": hex(&key.public()), "keyFingerprint": key_fingerprint(&key.public()),
        "forwards": [{"target": "http https://siem.example/", "seq": 2}]});
    let lines = Answer::Plain(200, "application/jsonl", text.clone());
    fake.on("GET /audit:export?since=2026-11-12T22%3A00%3A00Z", lines)
        .json("GET /audit-settings", &status)
        .json("PUT /audit-settings", &status)
        .json("POST /audit:seal", &status["seal"])
        .json("POST /audit:drop", &json!({"records": 7}));
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("out.jsonl");
    let ran = fake.run(&format!("audit export {} --since 7d", file.display())).await;
    assert_eq!((ran.code, std::fs::read_to_string(&file).expect("written")), (0, text), "{}", ran.err);

    let ran = fake.run("audit settings --reads instances=off --keep-days 400").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.contains("all but secrets") && ran.out.contains("Forwarded       2 to http https://siem.example/"),
        "{}",
        ran.out
    );
    let seen = fake.seen();
    let put = seen.iter().find(|s| s.line.starts_with("PUT")).expect("sent");
    let sent: Value = serde_json::from_str(&put.body).expect("JSON");
    assert_eq!(sent, json!({"reads": {"instances": false, "secrets": false}, "keepDays": 400}));
    assert!(fake.run("audit settings --reads cats=off").await.err.contains("is no family"));

    assert_eq!(fake.run("audit seal").await.out, seal);
    assert_eq!(fake.run("audit key").await.out.trim(), hex(&key.public()));
    let ran = fake.run("audit drop --before 2026-01-01 --yes").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "7 records dropped.\n"), "{}", ran.err);
}

//! Judged by and against the real gpg, and against what Debian's own archive signs.

mod gnupg;

use gnupg::Gnupg;
use jiff::Timestamp;

use super::*;

const TEXT: &str = "Origin: test\n- dashed\n-\nLines with blanks  \n\nSHA256:\n a b c\t\n";
const DETACHED: [&str; 1] = ["--detach-sign"];
const ARMORED: [&str; 2] = ["--armor", "--detach-sign"];
const CLEAR: [&str; 1] = ["--clear-sign"];

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn ring(keys: &[String]) -> Keyring {
    Keyring::parse(keys).unwrap()
}

fn now() -> Timestamp {
    Timestamp::now()
}

/// Why it was refused.
fn refused<T: std::fmt::Debug>(result: Result<T, OpenPgpError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn gpg_accepts_what_we_sign_with_every_key() {
    let when = at("2024-05-01T12:00:00Z");
    let keys = [RepositoryKey::generate("One <1>", when).unwrap(), RepositoryKey::generate("Two", when).unwrap()];
    let signed_at = at("2024-06-01T00:00:00Z");
    let inline = clearsign(&keys, TEXT, signed_at).unwrap();
    let beside = sign_detached(&keys, TEXT.as_bytes(), signed_at).unwrap();
    for known in [&keys[..], &keys[..1], &keys[1..]] {
        let gpg = Gnupg::new();
        for key in known {
            gpg.run(&["--import"], key.public_armored().unwrap().as_bytes());
        }
        let (text, signature) = (gpg.file("text", TEXT.as_bytes()), gpg.file("text.asc", beside.as_bytes()));
        let (_, _, status) = gpg.try_run(&["--verify", &signature, &text], b"");
        let (_, payload, clear_status) = gpg.try_run(&["--decrypt"], inline.as_bytes());
        for key in known {
            for status in [&status, &clear_status] {
                let valid = format!("VALIDSIG {} 2024-06-01", key.fingerprint());
                assert!(status.contains(&valid), "{valid}: {status}");
            }
        }
        assert_eq!(status.matches("GOODSIG").count(), known.len(), "{status}");
        // gpg gives the text back with its blanks; the signature does not cover them.
        assert_eq!(
            String::from_utf8(payload).unwrap().replace("  \n", "\n").replace("\t\n", "\n"),
            TEXT.replace("  \n", "\n").replace("\t\n", "\n")
        );
    }
    // Ourselves, with either key.
    for key in &keys {
        let ring = ring(&[key.public_armored().unwrap()]);
        let verified = ring.verify_detached(TEXT.as_bytes(), beside.as_bytes(), now()).unwrap();
        assert_eq!((verified.fingerprint.as_str(), verified.signed_at), (key.fingerprint(), signed_at));
        let (payload, verified) = ring.verify_clearsigned(inline.as_bytes(), now()).unwrap();
        assert_eq!((verified.signed_at, verified.weak), (signed_at, None));
        assert_eq!(payload, "Origin: test\n- dashed\n-\nLines with blanks\n\nSHA256:\n a b c\n");
    }
}

#[test]
fn what_gpg_signs_is_accepted_and_nothing_else() {
    let gpg = Gnupg::new();
    for (name, kind) in [("ed", "ed25519"), ("rsa", "rsa2048"), ("nist", "nistp256")] {
        let key = gpg.key(name, kind, &[], "never");
        let ring = ring(&[gpg.export(&key)]);
        for how in [&DETACHED[..], &ARMORED[..], &["--textmode", "--armor", "--detach-sign"]] {
            let signature = gpg.sign(&key, how, TEXT.as_bytes());
            let verified = ring.verify_detached(TEXT.as_bytes(), &signature, now()).unwrap();
            assert_eq!((verified.fingerprint.as_str(), verified.weak), (key.as_str(), None), "{name}");
            let error = refused(ring.verify_detached(TEXT.replace("a b", "a c").as_bytes(), &signature, now()));
            assert!(error.contains("does not fit the file"), "{error}");
        }
        for digest in ["SHA256", "SHA384", "SHA512"] {
            let signed = gpg.sign(&key, &["--digest-algo", digest, "--clear-sign"], TEXT.as_bytes());
            let (payload, _) = ring.verify_clearsigned(&signed, now()).unwrap();
            assert!(payload.starts_with("Origin: test\n- dashed\n-\n"), "{payload}");
            let tampered = String::from_utf8(signed).unwrap().replace(" a b c", " a b d");
            let error = refused(ring.verify_clearsigned(tampered.as_bytes(), now()));
            assert!(error.contains("does not fit the file"), "{error}");
        }
    }
}

#[test]
fn weak_hashes_are_refused() {
    let gpg = Gnupg::new();
    let key = gpg.key("k", "rsa2048", &[], "never");
    let ring = ring(&[gpg.export(&key)]);
    let how = ["--digest-algo", "SHA1", "--detach-sign"];
    let signature = gpg.sign(&key, &how, TEXT.as_bytes());
    let error = refused(ring.verify_detached(TEXT.as_bytes(), &signature, now()));
    assert!(error.contains("uses SHA-1, which can be forged"), "{error}");
    let how = ["--digest-algo", "SHA224", "--clear-sign"];
    let error = refused(ring.verify_clearsigned(&gpg.sign(&key, &how, TEXT.as_bytes()), now()));
    assert!(error.contains("SHA-256, SHA-384 and SHA-512 are accepted"), "{error}");
}

#[test]
fn another_key_is_named_with_the_known_ones() {
    let gpg = Gnupg::new();
    let (known, stranger) = (gpg.key("known", "ed25519", &[], "never"), gpg.key("stranger", "ed25519", &[], "never"));
    let ring = ring(&[gpg.export(&known)]);
    let signature = gpg.sign(&stranger, &ARMORED, TEXT.as_bytes());
    let error = ring.verify_detached(TEXT.as_bytes(), &signature, now()).unwrap_err();
    assert_eq!(error, OpenPgpError::UnknownKey { signers: vec![stranger.clone()], known: vec![known.clone()] });
    assert!(error.to_string().contains("add the new one to `keys` of the source"), "{error}");
    // Signed by both: the known one is enough.
    let both = gpg.run(&["--clear-sign", "--local-user", &stranger, "--local-user", &known], TEXT.as_bytes());
    assert_eq!(ring.verify_clearsigned(&both, now()).unwrap().1.fingerprint, known);
    let error = Keyring::default().verify_detached(TEXT.as_bytes(), &signature, now()).unwrap_err();
    assert_eq!(error, OpenPgpError::NoKeys);
}

#[test]
fn expired_keys_and_signatures_are_refused() {
    let gpg = Gnupg::new();
    let then = ["--faked-system-time", "20200101T000000"];
    let key = gpg.key("old", "ed25519", &then, "30d");
    let ring = ring(&[gpg.export(&key)]);
    let signature = gpg.sign(&key, &[&then[..], &ARMORED].concat(), TEXT.as_bytes());
    let in_time = ring.verify_detached(TEXT.as_bytes(), &signature, at("2020-01-15T00:00:00Z"));
    assert_eq!(in_time.unwrap().fingerprint, key);
    let error = refused(ring.verify_detached(TEXT.as_bytes(), &signature, now()));
    assert!(error.contains("expired at 2020-01-31T"), "{error}");
    let lasting = gpg.key("lasting", "ed25519", &then, "never");
    let ring = self::ring(&[gpg.export(&lasting)]);
    let how = [&then[..], &["--default-sig-expire", "5d"], &ARMORED].concat();
    let signature = gpg.sign(&lasting, &how, TEXT.as_bytes());
    assert!(ring.verify_detached(TEXT.as_bytes(), &signature, at("2020-01-03T00:00:00Z")).is_ok());
    let error = refused(ring.verify_detached(TEXT.as_bytes(), &signature, now()));
    assert!(error.contains("it has expired"), "{error}");
}

#[test]
fn signatures_of_the_future_are_refused() {
    let gpg = Gnupg::new();
    let key = gpg.key("k", "ed25519", &["--faked-system-time", "20230101T000000"], "never");
    let ring = ring(&[gpg.export(&key)]);
    let how = [&["--faked-system-time", "20240110T000000"][..], &ARMORED].concat();
    let signature = gpg.sign(&key, &how, TEXT.as_bytes());
    let error = refused(ring.verify_detached(TEXT.as_bytes(), &signature, at("2024-01-08T00:00:00Z")));
    assert!(error.contains("in the future; check the clock"), "{error}");
    assert!(ring.verify_detached(TEXT.as_bytes(), &signature, at("2024-01-09T12:00:00Z")).is_ok(), "clocks differ");
    // Older than the key itself: somebody set a clock back.
    let young = gpg.key("young", "ed25519", &["--faked-system-time", "20240101T000000"], "never");
    let ring = self::ring(&[gpg.export(&young)]);
    let how =
        [&["--faked-system-time", "20230601T000000", "--ignore-time-conflict", "--ignore-valid-from"][..], &ARMORED].concat();
    let (made, signature, _) = gpg.try_run(&[&how[..], &["--local-user", &young]].concat(), TEXT.as_bytes());
    if made {
        let error = refused(ring.verify_detached(TEXT.as_bytes(), &signature, now()));
        assert!(error.contains("older than its key"), "{error}");
    }
}

#[test]
fn a_revoked_key_is_refused_for_everything() {
    let gpg = Gnupg::new();
    let key = gpg.key("k", "ed25519", &[], "never");
    let signature = gpg.sign(&key, &ARMORED, TEXT.as_bytes());
    let before = ring(&[gpg.export(&key)]);
    assert!(before.verify_detached(TEXT.as_bytes(), &signature, now()).is_ok());
    gpg.revoke(&key);
    let error = refused(ring(&[gpg.export(&key)]).verify_detached(TEXT.as_bytes(), &signature, now()));
    assert!(error.contains("is revoked; remove it from the source"), "{error}");
}

/// The way Debian's and most vendors' keys are: the primary key certifies, subkeys sign.
#[test]
fn subkeys_sign_when_they_are_bound_for_it() {
    let gpg = Gnupg::new();
    gpg.run(&["--quick-generate-key", "k <k@example.org>", "ed25519", "cert", "never"], b"");
    let key = gpg.fingerprint("k");
    gpg.run(&["--quick-add-key", &key, "ed25519", "sign", "never"], b"");
    let text = gpg.sign(&key, &CLEAR, TEXT.as_bytes());
    let public = gpg.export(&key);
    let verified = ring(std::slice::from_ref(&public)).verify_clearsigned(&text, now()).unwrap().1;
    assert_eq!(verified.fingerprint, key, "the primary key is named, as `gpg --list-keys` does");
    // The same subkey made unfit: without its binding, and revoked.
    let stripped = gpg.without_subkey_signatures(&public);
    assert!(ring(&[stripped]).verify_clearsigned(&text, now()).is_err());
    let subkey_revoked = gpg.revoke_subkey(&key);
    let error = refused(ring(&[subkey_revoked]).verify_clearsigned(&text, now()));
    assert!(error.contains("(subkey of") && error.contains("is revoked"), "{error}");
}

/// What the archive of the machine's own distribution signs, with three keys at once, is accepted; a changed byte is not.
#[test]
fn debians_own_release_is_accepted() {
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let lists = std::fs::read_dir("/var/lib/apt/lists").into_iter().flatten().filter_map(Result::ok);
    let releases: Vec<_> = lists.map(|e| e.path()).filter(|p| p.to_string_lossy().ends_with("_InRelease")).collect();
    if releases.is_empty() || !std::path::Path::new(keyring).exists() {
        eprintln!("no Debian release on this machine to look at");
        return;
    }
    let gpg = Gnupg::new();
    let keys = gpg.run(&["--no-default-keyring", "--keyring", keyring, "--armor", "--export"], b"");
    let ring = ring(&[String::from_utf8(keys).unwrap()]);
    assert!(ring.fingerprints().len() > 3);
    let mut accepted = 0;
    for path in releases {
        let text = std::fs::read(&path).unwrap();
        if !String::from_utf8_lossy(&text).contains("Origin: Debian\n") {
            continue;
        }
        let (payload, verified) = ring.verify_clearsigned(&text, now()).unwrap();
        assert!(payload.starts_with("Origin: Debian\n"), "{verified:?}");
        let middle = text.len() / 3;
        let mut tampered = text.clone();
        tampered[middle] = if tampered[middle] == b'0' { b'1' } else { b'0' };
        assert!(ring.verify_clearsigned(&tampered, now()).is_err());
        accepted += 1;
    }
    assert!(accepted > 0, "no release of Debian among them");
}

#[test]
fn what_is_no_armoured_public_key_is_refused_with_advice() {
    let gpg = Gnupg::new();
    let key = gpg.key("k", "ed25519", &[], "never");
    let binary = String::from_utf8_lossy(&gpg.run(&["--export", &key], b"")).into_owned();
    let secret = String::from_utf8(gpg.run(&["--armor", "--export-secret-keys", &key], b"")).unwrap();
    let good = gpg.export(&key);
    let cut: String = good.lines().take(4).collect::<Vec<_>>().join("\n");
    let garbage = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\naGVsbG8gd29ybGQ=\n-----END PGP PUBLIC KEY BLOCK-----\n";
    for (text, why) in [
        (binary, "not ASCII-armoured"),
        (String::new(), "not ASCII-armoured"),
        (secret, "it is a private key"),
        (cut, "no end line"),
        (garbage.to_owned(), ""),
    ] {
        let error = refused(Keyring::parse(&[good.clone(), text]));
        assert!(error.starts_with("key 2 of the source cannot be read:") && error.contains(why), "{error}");
    }
    let ring = Keyring::parse(&[format!("{good}\n{good}"), good]).unwrap();
    assert_eq!(ring.fingerprints(), vec![key; 3]);
    for bad in [&b""[..], b"nonsense", b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n", &[0xff; 5000]] {
        let error = ring.verify_detached(b"x", bad, now()).unwrap_err();
        assert!(matches!(error, OpenPgpError::Malformed { .. }), "{error}");
    }
}

/// A certification or a time stamp of the right key over the same bytes is no signature on data.
#[test]
fn only_signatures_on_data_count() {
    let gpg = Gnupg::new();
    let key = gpg.key("k", "ed25519", &[], "never");
    let public = gpg.export(&key);
    let block = armor::blocks(&public, "PUBLIC KEY BLOCK").unwrap().remove(0);
    let certification = pgp::packet::PacketParser::new(block.as_slice())
        .filter_map(Result::ok)
        .find_map(|packet| match packet {
            pgp::packet::Packet::Signature(signature) => {
                let mut bytes = Vec::new();
                pgp::packet::PacketTrait::to_writer_with_header(&signature, &mut bytes).unwrap();
                Some(bytes)
            }
            _ => None,
        })
        .unwrap();
    let error = refused(ring(&[public]).verify_detached(TEXT.as_bytes(), &certification, now()));
    assert!(error.contains("not a signature on data"), "{error}");
}

#[test]
fn keys_are_kept_in_files_and_rotated_in_three_steps() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let keys_dir = dir.path().join("repository-keys");
    let (one, two) = (at("2024-01-01T00:00:00Z"), at("2025-01-01T00:00:00Z"));
    let mut keys = RepositoryKeys::load_or_create(&keys_dir, one).unwrap();
    let first = keys.states()[0].fingerprint.clone();
    for entry in std::fs::read_dir(&keys_dir).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(keys_dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let prints = |keys: Vec<RepositoryKey>| keys.iter().map(|k| k.fingerprint().to_owned()).collect::<Vec<_>>();
    assert!(keys.activate(two).is_err() && keys.retire(two).is_err(), "the steps have an order");

    let second = keys.prepare(two).unwrap().fingerprint;
    assert!(keys.prepare(two).is_err());
    assert_eq!(prints(keys.signing()), [first.as_str()], "the next key signs nothing");
    assert_eq!(keys.public().unwrap().len(), 2, "and hosts have it");
    let mut keys = RepositoryKeys::load_or_create(&keys_dir, two).unwrap();
    keys.activate(two).unwrap();
    assert_eq!(prints(keys.signing()), [second.as_str(), first.as_str()], "both sign");
    let text = clearsign(&keys.signing(), TEXT, two).unwrap();
    for public in keys.public().unwrap() {
        assert!(ring(&[public]).verify_clearsigned(text.as_bytes(), now()).is_ok(), "a host with either key accepts it");
    }
    keys.prepare(two).unwrap();
    assert!(keys.activate(two).is_err(), "a third key waits for the first to end");
    let mut keys = RepositoryKeys::load_or_create(&keys_dir, two).unwrap();
    assert_eq!(keys.retire(two).unwrap().fingerprint, first);
    assert_eq!(prints(keys.signing()), [second.as_str()]);
    assert!(!keys_dir.join(format!("{first}.asc")).exists());
    assert!(!format!("{keys:?}").contains("PRIVATE"));
}

#[test]
fn lost_and_damaged_key_files_are_named_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let when = at("2024-01-01T00:00:00Z");
    let mut keys = RepositoryKeys::load_or_create(dir.path(), when).unwrap();
    let first = keys.states()[0].fingerprint.clone();
    let index = dir.path().join("keys.json");
    let kept = std::fs::read(&index).unwrap();
    // Killed between the first key's file and `keys.json`: the key is taken, not another one made.
    std::fs::remove_file(&index).unwrap();
    let again = RepositoryKeys::load_or_create(dir.path(), when).unwrap();
    assert_eq!(again.states()[0].fingerprint, first);
    keys.prepare(when).unwrap();
    std::fs::remove_file(&index).unwrap();
    let error = RepositoryKeys::load_or_create(dir.path(), when).unwrap_err().to_string();
    assert!(error.contains("keys.json: it is missing although several keys are there"), "{error}");
    std::fs::write(&index, b"[").unwrap();
    assert!(RepositoryKeys::load_or_create(dir.path(), when).unwrap_err().to_string().contains("damaged"));
    std::fs::write(&index, kept).unwrap();
    let file = dir.path().join(format!("{first}.asc"));
    std::fs::write(&file, "nonsense").unwrap();
    assert!(RepositoryKeys::load_or_create(dir.path(), when).unwrap_err().to_string().contains("restore it from a backup"));
    std::fs::remove_file(&file).unwrap();
    let error = RepositoryKeys::load_or_create(dir.path(), when).unwrap_err().to_string();
    assert!(error.contains(&first) && error.contains("cannot be read"), "{error}");
}

/// A signature that names nobody could be of any key; every try reads the whole file, so tries are bounded.
#[test]
fn a_flood_of_signatures_and_keys_is_bounded() {
    let when = at("2024-01-01T00:00:00Z");
    let keys: Vec<_> = (0..20).map(|n| RepositoryKey::generate(&format!("k{n}"), when).unwrap()).collect();
    let many = sign_detached(&keys, TEXT.as_bytes(), when).unwrap();
    let ring = ring(&[keys[19].public_armored().unwrap()]);
    let error = refused(ring.verify_detached(TEXT.as_bytes(), many.as_bytes(), now()));
    assert!(error.contains("more than 16 signatures"), "{error}");
    let few = sign_detached(&keys[10..], TEXT.as_bytes(), when).unwrap();
    assert_eq!(ring.verify_detached(TEXT.as_bytes(), few.as_bytes(), now()).unwrap().fingerprint, keys[19].fingerprint());
    let crowd: Vec<String> = (0..300).map(|_| keys[0].public_armored().unwrap()).collect();
    assert!(refused(Keyring::parse(&crowd)).contains("at most 256 keys"));
}

//! The real gpg in a home of its own.

use std::io::Write as _;
use std::process::{Command, Stdio};

pub struct Gnupg {
    home: tempfile::TempDir,
}

impl Gnupg {
    pub fn new() -> Gnupg {
        // The agent's socket lies in the home, and socket paths are short.
        let home = tempfile::Builder::new().prefix("gpg-").tempdir_in("/tmp").unwrap();
        std::os::unix::fs::PermissionsExt::set_mode(&mut home.path().metadata().unwrap().permissions(), 0o700);
        Gnupg { home }
    }

    /// Runs gpg; `input` is what it reads. Status and both outputs.
    pub fn try_run(&self, args: &[&str], input: &[u8]) -> (bool, Vec<u8>, String) {
        let mut child = Command::new("gpg")
            .arg("--homedir")
            .arg(self.home.path())
            .args(["--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "", "--status-fd", "2"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("these tests need gpg");
        child.stdin.take().unwrap().write_all(input).unwrap();
        let done = child.wait_with_output().unwrap();
        (done.status.success(), done.stdout, String::from_utf8_lossy(&done.stderr).into_owned())
    }

    pub fn run(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let (good, out, err) = self.try_run(args, input);
        assert!(good, "gpg {args:?}: {err}");
        out
    }

    /// Makes a key that can sign and certify; its fingerprint.
    pub fn key(&self, name: &str, kind: &str, more: &[&str], expires: &str) -> String {
        let user = format!("{name} <{name}@example.org>");
        let args = [more, &["--quick-generate-key", &user, kind, "sign,cert", expires]].concat();
        self.run(&args, b"");
        self.fingerprint(name)
    }

    pub fn fingerprint(&self, name: &str) -> String {
        let listed = self.run(&["--with-colons", "--list-keys", &format!("{name}@example.org")], b"");
        let listed = String::from_utf8(listed).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    pub fn export(&self, key: &str) -> String {
        String::from_utf8(self.run(&["--armor", "--export", key], b"")).unwrap()
    }

    pub fn sign(&self, key: &str, how: &[&str], data: &[u8]) -> Vec<u8> {
        self.run(&[how, &["--local-user", key]].concat(), data)
    }

    pub fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).status();
    }
}

impl Gnupg {
    /// Revokes a key with the certificate gpg made at its birth.
    pub fn revoke(&self, key: &str) {
        let path = self.home.path().join("openpgp-revocs.d").join(format!("{key}.rev"));
        // gpg puts a colon in front, so that nobody imports it by mistake.
        let text = std::fs::read_to_string(path).unwrap().replace(":-----BEGIN", "-----BEGIN");
        self.run(&["--import"], text.as_bytes());
    }

    /// Revokes the first subkey; the exported key.
    pub fn revoke_subkey(&self, key: &str) -> String {
        let commands = b"key 1\nrevkey\ny\n0\n\ny\nsave\n";
        let args = ["--homedir", self.home.path().to_str().unwrap(), "--no-tty", "--pinentry-mode", "loopback"];
        let mut child = Command::new("gpg")
            .args(args)
            .args(["--passphrase", "", "--command-fd", "0", "--edit-key", key])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(commands).unwrap();
        assert!(child.wait().unwrap().success());
        self.export(key)
    }

    /// The key with the signatures behind its subkeys taken off.
    pub fn without_subkey_signatures(&self, public: &str) -> String {
        use pgp::packet::{Packet, PacketParser};
        use pgp::ser::Serialize as _;
        let block = super::armor::blocks(public, "PUBLIC KEY BLOCK").unwrap().remove(0);
        let (mut out, mut behind) = (Vec::new(), false);
        for packet in PacketParser::new(block.as_slice()) {
            let packet = packet.unwrap();
            behind |= matches!(packet, Packet::PublicSubkey(_));
            if !(behind && matches!(packet, Packet::Signature(_))) {
                packet.to_writer(&mut out).unwrap();
            }
        }
        let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, out);
        format!("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{body}\n-----END PGP PUBLIC KEY BLOCK-----\n")
    }
}

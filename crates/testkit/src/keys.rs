//! Throw-away keys for tests, made when asked for by the machine's `openssl`: nothing secret lies in the repository.
//! Absent on purpose: keys that are good for anything but a test.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// A fresh RSA key of `bits` bits, PKCS#8 in PEM form.
///
/// # Errors
/// When there is no `openssl`, or it refuses.
pub fn rsa_pem(bits: u32) -> Result<String> {
    openssl(&["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")], "")
}

/// The public half of a private key, `PUBLIC KEY` in PEM form.
///
/// # Errors
/// When `private_pem` is no key.
pub fn public_pem(private_pem: &str) -> Result<String> {
    openssl(&["pkey", "-pubout"], private_pem)
}

fn openssl(arguments: &[&str], input: &str) -> Result<String> {
    use std::io::Write as _;
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("openssl cannot be run; install it")?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that needs no input may have closed it.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fresh_each_time() {
        let (one, two) = (rsa_pem(2048).unwrap(), rsa_pem(2048).unwrap());
        assert!(one.starts_with("-----BEGIN PRIVATE KEY-----") && one != two);
        assert!(public_pem(&one).unwrap().starts_with("-----BEGIN PUBLIC KEY-----"));
        assert!(public_pem("no key").is_err());
    }
}

//! The key under which secrets of policies are kept: a file with its bytes in hexadecimal, made when it is not there.

use drydock_control::{SECRET_KEY_BYTES, SecretKey};

use super::{PkiError, hex, read_text, write};
use crate::files::{DataDir, SECRET_MODE};

/// Reads the key, or makes it.
pub fn ensure(dir: &DataDir) -> Result<SecretKey, PkiError> {
    let path = dir.secret_key();
    if !path.exists() {
        let (key, bytes) =
            SecretKey::generate().map_err(|e| PkiError::Make { what: "key of secrets", message: e.to_string() })?;
        write(&path, &format!("{}\n", hex(&bytes)), SECRET_MODE)?;
        return Ok(key);
    }
    let text = read_text(&path)?;
    let damaged = |message: String| PkiError::Damaged { path: path.clone(), message };
    let bytes = unhex(text.trim()).ok_or_else(|| damaged(format!("it is not {SECRET_KEY_BYTES} bytes in hexadecimal")))?;
    SecretKey::from_bytes(&bytes).map_err(|e| damaged(e.to_string()))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != SECRET_KEY_BYTES * 2 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..SECRET_KEY_BYTES).map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_is_private_stays_and_is_never_replaced_in_silence() {
        let temporary = tempfile::tempdir().expect("a directory");
        let dir = DataDir::new(temporary.path());
        ensure(&dir).expect("made");
        let kept = std::fs::read_to_string(dir.secret_key()).expect("written");
        assert_eq!(std::fs::metadata(dir.secret_key()).expect("there").permissions().mode() & 0o777, 0o600);
        ensure(&dir).expect("read");
        assert_eq!(std::fs::read_to_string(dir.secret_key()).expect("there"), kept);
        std::fs::write(dir.secret_key(), "é".repeat(32)).expect("written");
        assert!(matches!(ensure(&dir), Err(PkiError::Damaged { .. })));
    }
}

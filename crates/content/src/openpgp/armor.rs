//! ASCII armour, read by ourselves: hostile and bounded, several blocks in one text, and a clear word for binary input.
//! The checksum at the end of a block is optional and not looked at, as RFC 9580 asks.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Largest armoured text, bytes: Debian's whole archive keyring is 120 KiB.
pub(super) const ARMOR_MAX_BYTES: usize = 1024 * 1024;
/// Blocks in one text.
const BLOCKS_MAX: usize = 64;

/// Base64 with or without padding; mail programs lose it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The binary content of every `-----BEGIN PGP <kind>-----` block. Text around the blocks is skipped.
pub(super) fn blocks(text: &str, kind: &str) -> Result<Vec<Vec<u8>>, String> {
    if text.len() > ARMOR_MAX_BYTES {
        return Err(format!("it is larger than {ARMOR_MAX_BYTES} bytes"));
    }
    let begin = format!("-----BEGIN PGP {kind}-----");
    let end = format!("-----END PGP {kind}-----");
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_end() != begin {
            continue;
        }
        if found.len() == BLOCKS_MAX {
            return Err(format!("it holds more than {BLOCKS_MAX} blocks"));
        }
        found.push(block(&mut lines, &end)?);
    }
    Ok(found)
}

fn block<'a>(lines: &mut impl Iterator<Item = &'a str>, end: &str) -> Result<Vec<u8>, String> {
    let mut body = String::new();
    let mut in_headers = true;
    for line in lines {
        let line = line.trim();
        if line == end {
            return BASE64.decode(&body).map_err(|e| format!("its armour is broken: {e}"));
        }
        if in_headers {
            // Headers (`Version: …`) end with an empty line; armour without headers and without that line exists.
            if line.is_empty() {
                in_headers = false;
                continue;
            }
            if line.contains(": ") || line.ends_with(':') {
                continue;
            }
            in_headers = false;
        }
        // `=abcd` alone is the old checksum; padding never stands at the beginning of a line.
        if line.starts_with('=') && line.len() == 5 {
            continue;
        }
        body.push_str(line);
    }
    Err("its armour has no end line".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_and_bounded() {
        let text = "noise\n-----BEGIN PGP SIGNATURE-----\nVersion: x\n\naGVs\r\nbG8=\n=abcd\n-----END PGP SIGNATURE-----\n\
                    -----BEGIN PGP SIGNATURE-----\naGk\n-----END PGP SIGNATURE-----\n";
        assert_eq!(blocks(text, "SIGNATURE").unwrap(), vec![b"hello".to_vec(), b"hi".to_vec()]);
        assert_eq!(blocks("nothing", "SIGNATURE").unwrap(), Vec::<Vec<u8>>::new());
        assert!(blocks("-----BEGIN PGP SIGNATURE-----\naGk", "SIGNATURE").unwrap_err().contains("no end"));
        assert!(blocks("-----BEGIN PGP SIGNATURE-----\n\na*k\n-----END PGP SIGNATURE-----", "SIGNATURE").is_err());
        assert!(blocks(&"-----BEGIN PGP SIGNATURE-----\n-----END PGP SIGNATURE-----\n".repeat(70), "SIGNATURE").is_err());
    }
}

//! Clear-signed text (`InRelease`): which lines are signed, byte for byte as they were hashed.
//!
//! Stricter than RFC 9580, as apt is: the message must be the whole file. Lines before or after it would be read by
//! tools that look for them and are covered by no signature.

use super::OpenPgpError;

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const BEGIN_SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END_SIGNATURE: &str = "-----END PGP SIGNATURE-----";
/// Largest clear-signed file, bytes; Debian's largest is 300 KiB.
pub(super) const CLEAR_MAX_BYTES: usize = 16 * 1024 * 1024;

/// A clear-signed text, split.
pub(super) struct Clear {
    /// What is signed: lines joined by CR LF, none at the end.
    pub signed: Vec<u8>,
    /// The same for readers: lines ended by LF.
    pub payload: String,
    /// The armoured signatures.
    pub signature: String,
}

/// Splits it.
pub(super) fn split(text: &[u8]) -> Result<Clear, OpenPgpError> {
    let malformed = |problem: &str| OpenPgpError::Malformed { problem: problem.to_owned() };
    if text.len() > CLEAR_MAX_BYTES {
        return Err(malformed("the clear-signed text is larger than 16 MiB"));
    }
    let text = std::str::from_utf8(text).map_err(|_| malformed("the clear-signed text is not UTF-8"))?;
    // `lines` ends lines at LF and takes one CR before it away; a CR inside a line stays and is hashed as it is.
    let mut lines = text.lines();
    if lines.next().map(str::trim_end) != Some(BEGIN) {
        return Err(malformed("it does not begin with a clear-signed message"));
    }
    for header in lines.by_ref() {
        let header = header.trim_end();
        if header.is_empty() {
            break;
        }
        // Any other header would be text that looks signed and is not.
        if !header.starts_with("Hash:") {
            return Err(malformed("a header other than `Hash` stands in front of the signed text"));
        }
    }
    let (mut signed, mut payload) = (Vec::with_capacity(text.len()), String::with_capacity(text.len()));
    let mut found = false;
    for line in lines.by_ref() {
        if line.trim_end() == BEGIN_SIGNATURE {
            found = true;
            break;
        }
        let plain = match line.strip_prefix("- ") {
            Some(rest) => rest,
            None if line.starts_with('-') => return Err(malformed("a line of the signed text is not dash-escaped")),
            None => line,
        };
        let plain = plain.trim_end_matches([' ', '\t', '\r']);
        if !payload.is_empty() {
            signed.extend_from_slice(b"\r\n");
        }
        signed.extend_from_slice(plain.as_bytes());
        payload.push_str(plain);
        payload.push('\n');
    }
    if !found {
        return Err(malformed("the clear-signed text is cut off: it has no signature"));
    }
    let mut signature = format!("{BEGIN_SIGNATURE}\n");
    let mut ended = false;
    for line in lines {
        if ended && !line.trim().is_empty() {
            return Err(malformed("text follows the signature"));
        }
        if !ended {
            signature.push_str(line);
            signature.push('\n');
            ended = line.trim_end() == END_SIGNATURE;
        }
    }
    if ended { Ok(Clear { signed, payload, signature }) } else { Err(malformed("the signature is cut off")) }
}

/// The text of a clear-signed message without looking at its signatures, for sources that do not want them checked.
///
/// # Errors
/// When it is no clear-signed message.
pub fn clearsigned_payload(text: &[u8]) -> Result<String, OpenPgpError> {
    split(text).map(|clear| clear.payload)
}

/// Dash-escapes text, line by line, as it stands in a clear-signed message.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for line in text.lines() {
        if line.starts_with('-') {
            out.push_str("- ");
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// The bytes that are hashed for `text`: trailing blanks away, CR LF between lines.
pub(super) fn canonical(text: &str) -> Vec<u8> {
    let lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches([' ', '\t', '\r'])).collect();
    lines.join("\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str) -> String {
        format!("{BEGIN}\nHash: SHA256\n\n{body}\n{BEGIN_SIGNATURE}\n\nAAAA\n{END_SIGNATURE}\n")
    }

    #[test]
    fn splits_and_unescapes() {
        let clear = split(message("Origin: x  \n- -dash\n\nlast").as_bytes()).unwrap();
        assert_eq!(clear.signed, b"Origin: x\r\n-dash\r\n\r\nlast");
        assert_eq!(clear.payload, "Origin: x\n-dash\n\nlast\n");
        assert!(clear.signature.starts_with(BEGIN_SIGNATURE) && clear.signature.trim_end().ends_with(END_SIGNATURE));
        assert_eq!(canonical(&clear.payload), clear.signed);
        assert_eq!(escape("-a\nb"), "- -a\nb\n");
    }

    /// Text outside the signed part must never be taken for signed.
    #[test]
    fn unsigned_text_around_it_is_refused() {
        let good = message("a");
        for bad in [
            format!("Origin: evil\n{good}"),
            format!("\n{good}"),
            format!("{good}Origin: evil\n"),
            format!("{good}{good}"),
            good.replace("Hash: SHA256", "Origin: evil"),
            good.replace("\na\n", "\n-----BEGIN\n"),
            good.replace(END_SIGNATURE, ""),
            format!("{BEGIN}\n\na\n"),
            String::new(),
        ] {
            assert!(split(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(split(b"-----BEGIN PGP SIGNED MESSAGE-----\n\n\xff\n").is_err());
    }
}

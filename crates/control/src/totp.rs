//! Codes of a second factor: TOTP (RFC 6238) as authenticator apps have it: SHA-1, six digits, thirty seconds. Absent: where the
//! secret is kept, and that a code is good once.

use jiff::Timestamp;
use ring::hmac;

/// A step, seconds.
const STEP_SECS: i64 = 30;
/// Digits of a code, count.
const DIGITS: u32 = 6;
/// Steps before and after now whose code is taken, count: clocks differ, and typing takes a while.
const STEPS_AROUND: i64 = 1;
/// Length of a new secret, bytes: that of SHA-1, as RFC 4226 recommends.
pub(crate) const SECRET_BYTES: usize = 20;

/// The step whose code this is, if it is one around now.
pub(crate) fn matching_step(secret: &[u8], code: &str, now: Timestamp) -> Option<i64> {
    let digits = usize::try_from(DIGITS).unwrap_or(0);
    if code.len() != digits || !code.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let typed: u32 = code.parse().ok()?;
    let current = now.as_second().div_euclid(STEP_SECS);
    let mut found = None;
    // All of them, whichever matches: the time taken tells nothing.
    for step in current - STEPS_AROUND..=current + STEPS_AROUND {
        if step >= 0 && value(secret, step, DIGITS) == typed {
            found = Some(step);
        }
    }
    found
}

/// The value of a step (RFC 4226, 5.3).
fn value(secret: &[u8], step: i64, digits: u32) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let offset = usize::from(bytes.last().copied().unwrap_or(0) & 0x0F);
    let word = bytes.get(offset..offset + 4).and_then(|four| four.try_into().ok()).unwrap_or([0; 4]);
    (u32::from_be_bytes(word) & 0x7FFF_FFFF) % 10_u32.pow(digits)
}

/// Base32 (RFC 4648) without padding, as apps and people read a secret.
pub(crate) fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for chunk in bytes.chunks(5) {
        let mut five = [0_u8; 8];
        five[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(five);
        for place in 0..(chunk.len() * 8).div_ceil(5) {
            let letter = (bits >> (35 - 5 * place)) & 31;
            out.push(char::from(ALPHABET[usize::try_from(letter).unwrap_or(0)]));
        }
    }
    out
}

/// What an authenticator app reads from a picture.
pub(crate) fn uri(account: &str, secret: &[u8]) -> String {
    let account: String = account.bytes().map(escaped).collect();
    format!(
        "otpauth://totp/Drydock:{account}?secret={}&issuer=Drydock&algorithm=SHA1&digits={DIGITS}&period={STEP_SECS}",
        base32(secret)
    )
}

fn escaped(byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B.
    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn the_vectors_of_the_standard() {
        let rows = [
            (59, 94_287_082),
            (1_111_111_109, 7_081_804),
            (1_111_111_111, 14_050_471),
            (1_234_567_890, 89_005_924),
            (2_000_000_000, 69_279_037),
            (20_000_000_000, 65_353_130),
        ];
        for (time, code) in rows {
            assert_eq!(value(SECRET, time / STEP_SECS, 8), code, "{time}");
            let now = Timestamp::from_second(time).expect("in range");
            let six = format!("{:06}", code % 1_000_000);
            assert_eq!(matching_step(SECRET, &six, now), Some(time / STEP_SECS), "{time}");
        }
    }

    #[test]
    fn a_code_is_good_one_step_before_and_after_and_no_longer() {
        let at = |secs: i64| Timestamp::from_second(1_234_567_890 + secs).expect("in range");
        let code = "005924";
        let step = 1_234_567_890 / 30;
        assert_eq!(matching_step(SECRET, code, at(30)), Some(step));
        assert_eq!(matching_step(SECRET, code, at(-30)), Some(step));
        assert_eq!(matching_step(SECRET, code, at(60)), None);
        assert_eq!(matching_step(SECRET, code, at(-31)), None);
        for bad in ["", "5924", "0005924", "00592a", " 05924", "005925"] {
            assert_eq!(matching_step(SECRET, bad, at(0)), None, "{bad}");
        }
    }

    #[test]
    fn secrets_are_written_as_apps_read_them() {
        // RFC 4648, section 10.
        for (bytes, text) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foob", "MZXW6YQ"), ("fooba", "MZXW6YTB")]
        {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
        let uri = uri("ann@example.com", SECRET);
        assert!(uri.starts_with("otpauth://totp/Drydock:ann%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&"), "{uri}");
    }
}

//! The `Range` header (RFC 9110, section 14): one range of bytes. Several ranges in one header, other units and
//! nonsense are answered with the whole file, as the standard allows.

/// Which part of a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// From `first` to `last`, both included, both within the file.
    Part {
        /// First byte.
        first: u64,
        /// Last byte.
        last: u64,
    },
    /// Nothing of the file lies in the range.
    Nothing,
}

/// Reads the header for a file of `size` bytes.
pub(super) fn wanted(header: &str, size: u64) -> Wanted {
    let Some((unit, set)) = header.split_once('=') else { return Wanted::Whole };
    let Some((first, last)) = set.trim().split_once('-') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    match (number(first), number(last)) {
        // The last `n` bytes.
        (Ok(None), Ok(Some(n))) => part(size.saturating_sub(n), size.saturating_sub(1), size, n > 0),
        (Ok(Some(first)), Ok(None)) => part(first, size.saturating_sub(1), size, true),
        (Ok(Some(first)), Ok(Some(last))) if first <= last => part(first, last.min(size.saturating_sub(1)), size, true),
        _ => Wanted::Whole,
    }
}

fn part(first: u64, last: u64, size: u64, some: bool) -> Wanted {
    if some && first < size { Wanted::Part { first, last } } else { Wanted::Nothing }
}

/// Digits, or nothing; a number that is too large for a file is the largest one.
fn number(text: &str) -> Result<Option<u64>, ()> {
    let text = text.trim();
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(());
    }
    Ok((!text.is_empty()).then(|| text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_a_part_and_everything_odd_is_the_whole() {
        let part = |first, last| Wanted::Part { first, last };
        for (header, expected) in [
            ("bytes=0-99", part(0, 99)),
            ("bytes=10-", part(10, 999)),
            ("bytes=-1", part(999, 999)),
            ("bytes=-5000", part(0, 999)),
            ("bytes=990-5000", part(990, 999)),
            ("Bytes = 0-0", part(0, 0)),
            ("bytes=0-99999999999999999999999", part(0, 999)),
            ("bytes=1000-", Wanted::Nothing),
            ("bytes=1000-1001", Wanted::Nothing),
            ("bytes=99999999999999999999999-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=9-3", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(wanted(header, 1000), expected, "{header}");
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Nothing);
    }
}

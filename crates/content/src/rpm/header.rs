//! Headers of an rpm file, read from hostile bytes: every offset and count is checked before it is used.
//!
//! Absent: the payload, signatures, and rpm versions before 3.

use std::borrow::Cow;
use std::io::{self, Read};

/// In front of everything.
pub(crate) const LEAD_BYTES: u64 = 96;
/// Tags of one header, count: rpm's own limit.
const MAX_TAGS: u32 = 0xFFFF;
/// Data of one header, bytes. rpm takes 256 MiB; the largest published ones have some 20 MiB.
const MAX_DATA_BYTES: u32 = 64 * 1024 * 1024;
/// Bytes in front of the index, and of each of its entries.
const ENTRY_BYTES: usize = 16;
/// Strings or numbers of one tag, count: files of one package.
const MAX_VALUES: usize = 4_000_000;

/// Why bytes are no rpm header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    /// Reading failed, or the file ends inside.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// Not the format.
    #[error("{0}")]
    Format(&'static str),
}

/// One header.
#[derive(Debug)]
pub(crate) struct Header {
    /// Tag, type, offset, count.
    entries: Vec<[u32; 4]>,
    data: Vec<u8>,
    /// All of it as in the file: what its checksums cover.
    pub raw: Vec<u8>,
}

/// The lead: only that it is one.
pub(crate) fn read_lead(input: &mut impl Read) -> Result<(), HeaderError> {
    let mut lead = [0; LEAD_BYTES as usize];
    input.read_exact(&mut lead)?;
    if lead.starts_with(&[0xED, 0xAB, 0xEE, 0xDB]) && matches!(lead[4], 3 | 4) {
        Ok(())
    } else {
        Err(HeaderError::Format("it is no rpm file"))
    }
}

impl Header {
    /// Reads one. The signature header is followed by `padding` to a multiple of eight bytes.
    ///
    /// # Errors
    /// When the file ends, or the bytes are no header or beyond the limits.
    pub fn read(input: &mut impl Read, padded: bool) -> Result<Header, HeaderError> {
        let mut intro = [0; ENTRY_BYTES];
        input.read_exact(&mut intro)?;
        if !intro.starts_with(&[0x8E, 0xAD, 0xE8, 1]) {
            return Err(HeaderError::Format("a header does not begin as headers do"));
        }
        let (tags, data) = (number(&intro[8..12]), number(&intro[12..16]));
        if tags > MAX_TAGS || data > MAX_DATA_BYTES {
            return Err(HeaderError::Format("a header is larger than 65535 tags or 64 MiB"));
        }
        let index = tags as usize * ENTRY_BYTES;
        let length = (index + data as usize) as u64;
        let mut raw = intro.to_vec();
        // Not reserved up front: a short file must not cost 64 MiB.
        let read = input.by_ref().take(length).read_to_end(&mut raw)?;
        if read as u64 != length {
            return Err(HeaderError::Format("the file ends inside a header"));
        }
        if padded {
            let mut padding = [0; 8];
            let wanted = (8 - raw.len() % 8) % 8;
            input.read_exact(&mut padding[..wanted])?;
        }
        let body = raw.get(ENTRY_BYTES..).unwrap_or_default();
        let (index, data) = body.split_at(index);
        let entry = |bytes: &[u8]| [0, 4, 8, 12].map(|at| number(&bytes[at..at + 4]));
        let entries = index.chunks_exact(ENTRY_BYTES).map(entry).collect();
        let data = data.to_vec();
        Ok(Header { entries, data, raw })
    }

    fn find(&self, tag: u32) -> Option<(u32, &[u8], usize)> {
        let [_, kind, offset, count] = *self.entries.iter().find(|entry| entry[0] == tag)?;
        let bytes = self.data.get(offset as usize..)?;
        Some((kind, bytes, (count as usize).min(MAX_VALUES)))
    }

    /// Whether there is such a tag.
    pub fn has(&self, tag: u32) -> bool {
        self.entries.iter().any(|entry| entry[0] == tag)
    }

    /// The strings of a tag; fewer than announced when the data ends.
    pub fn strings(&self, tag: u32) -> Vec<Cow<'_, str>> {
        let Some((6 | 8 | 9, mut bytes, count)) = self.find(tag) else { return Vec::new() };
        let mut strings = Vec::new();
        for _ in 0..count {
            let Some(end) = memchr::memchr(0, bytes) else { break };
            let (string, rest) = bytes.split_at(end);
            strings.push(text(string));
            bytes = rest.get(1..).unwrap_or_default();
        }
        strings
    }

    /// The first string of a tag; empty when there is none.
    pub fn string(&self, tag: u32) -> Cow<'_, str> {
        let Some((6 | 8 | 9, bytes, 1..)) = self.find(tag) else { return Cow::Borrowed("") };
        memchr::memchr(0, bytes).and_then(|end| bytes.get(..end)).map(text).unwrap_or_default()
    }

    /// The numbers of a tag; fewer than announced when the data ends.
    pub fn numbers(&self, tag: u32) -> Vec<u64> {
        let Some((kind, bytes, count)) = self.find(tag) else { return Vec::new() };
        let width = match kind {
            1 | 2 => 1,
            3 => 2,
            4 => 4,
            5 => 8,
            _ => return Vec::new(),
        };
        let value = |bytes: &[u8]| bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        bytes.chunks_exact(width).take(count).map(value).collect()
    }

    /// The first number of a tag.
    pub fn number(&self, tag: u32) -> Option<u64> {
        self.numbers(tag).first().copied()
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

/// Old packages hold Latin-1.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(entries: &[[u32; 4]], data: &[u8]) -> Vec<u8> {
        let mut raw = vec![0x8E, 0xAD, 0xE8, 1, 0, 0, 0, 0];
        raw.extend((entries.len() as u32).to_be_bytes());
        raw.extend((data.len() as u32).to_be_bytes());
        raw.extend(entries.iter().flatten().flat_map(|n| n.to_be_bytes()));
        raw.extend(data);
        raw
    }

    fn read(raw: &[u8]) -> Result<Header, HeaderError> {
        Header::read(&mut &raw[..], false)
    }

    #[test]
    fn values_of_every_type() {
        let data = b"one\0two\0\xfcber\0\0\0\x01\x02\0\0\0\x03\x01\xff";
        let entries = [[1, 8, 0, 2], [2, 6, 8, 1], [3, 4, 13, 2], [4, 3, 21, 1], [5, 9, 0, 1]];
        let header = read(&header(&entries, data)).unwrap();
        assert_eq!(header.strings(1), ["one", "two"]);
        assert_eq!(header.string(2), "über");
        assert_eq!(header.numbers(3), [0x102, 3]);
        assert_eq!(header.number(4), Some(0x1ff));
        assert_eq!(header.string(5), "one");
        assert_eq!((header.string(9), header.number(9), header.has(9)), ("".into(), None, false));
    }

    #[test]
    fn lies_about_places_and_counts_are_harmless() {
        let entries = [[1, 8, 900, 2], [2, 8, 0, u32::MAX], [3, 4, 1, u32::MAX], [4, 6, u32::MAX, 1], [5, 99, 0, 1]];
        let lies = read(&header(&entries, b"ab\0cd")).unwrap();
        assert_eq!(lies.strings(1).len(), 0);
        assert_eq!(lies.strings(2), ["ab"]);
        assert_eq!(lies.numbers(3).len(), 1);
        assert_eq!((lies.string(4), lies.number(5)), ("".into(), None));
        for bad in [&header(&[], b"")[..8], b"nonsense........", &header(&[[0; 4]; 3], b"xx")[..40]] {
            assert!(read(bad).is_err());
        }
        let mut huge = header(&[], b"");
        huge[8..16].copy_from_slice(&[0xff; 8]);
        assert!(read(&huge).unwrap_err().to_string().contains("larger"));
    }
}

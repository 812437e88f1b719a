//! zchunk files, read from the first byte to the last: the header is skipped with its parts checked for sense, the chunks are zstd
//! frames one after the other, perhaps with a dictionary in front. Follows zchunk's own description of the format, version 1.
//!
//! Absent: what zchunk is made for (fetching only chunks that changed), and its inner checksums: the whole file was compared with
//! the one in repomd.xml before.

use std::io::{self, BufRead, Read};

/// Header of one file, bytes. A chunk costs some 40 bytes of it; the largest published ones stay below 2 MiB.
const HEADER_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// A dictionary, compressed or not, bytes. Distributions use 100 KiB.
const DICTIONARY_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Chunks of one file, count.
const CHUNKS_MAX: u64 = 4_000_000;
/// Bytes of a number: 64 bits, seven a byte.
const NUMBER_MAX_BYTES: usize = 10;
/// Largest zstd window, as a power of two.
const WINDOW_LOG_MAX: u32 = 27;

/// The first bytes of a file.
pub(crate) const MAGIC: &[u8; 5] = b"\0ZCK1";

/// Flag: chunks belong to streams.
const HAS_STREAMS: u64 = 1;
/// Flag: optional elements follow.
const HAS_ELEMENTS: u64 = 2;
/// Flag: chunks also have the checksum of their unpacked form.
const HAS_RAW_SUMS: u64 = 4;
/// Compression types.
const NOT_COMPRESSED: u64 = 0;
const ZSTD: u64 = 2;

fn bad(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("as zchunk file: {}", problem.into()))
}

/// Reads from bytes in memory.
struct Header<'a>(&'a [u8]);

impl Header<'_> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).ok().filter(|n| *n <= self.0.len()).ok_or_else(|| bad("the header is cut off"))?;
        self.0 = &self.0[bytes..];
        Ok(())
    }

    fn number(&mut self) -> io::Result<u64> {
        let (value, used) = number(self.0.iter().copied())?;
        self.skip(used as u64)?;
        Ok(value)
    }
}

/// Seven bits a byte, the lowest first; the last byte has its top bit set. Gives the number and its bytes.
fn number(bytes: impl Iterator<Item = u8>) -> io::Result<(u64, usize)> {
    let mut value = 0u64;
    for (at, byte) in bytes.take(NUMBER_MAX_BYTES).enumerate() {
        let part = u64::from(byte & 0x7f);
        let shifted = part.checked_shl(7 * u32::try_from(at).unwrap_or(u32::MAX)).filter(|v| v >> (7 * at) == part);
        value |= shifted.ok_or_else(|| bad("a number is too large"))?;
        if byte & 0x80 != 0 {
            return Ok((value, at + 1));
        }
    }
    Err(bad("a number does not end"))
}

fn sum_bytes(kind: u64) -> io::Result<u64> {
    match kind {
        0 => Ok(20),
        1 => Ok(32),
        2 => Ok(64),
        3 => Ok(16),
        other => Err(bad(format!("checksums of the unknown type {other}"))),
    }
}

/// What the header says of the body.
struct Body {
    compression: u64,
    /// Compressed and unpacked size of the dictionary, bytes; zero when there is none.
    dictionary: (u64, u64),
}

fn read_header(bytes: &[u8], sum: u64) -> io::Result<Body> {
    let mut header = Header(bytes);
    header.skip(sum)?;
    let flags = header.number()?;
    if flags & !(HAS_STREAMS | HAS_ELEMENTS | HAS_RAW_SUMS) != 0 {
        return Err(bad(format!("it has unknown flags ({flags:#x})")));
    }
    let compression = header.number()?;
    if !matches!(compression, NOT_COMPRESSED | ZSTD) {
        return Err(bad(format!("it has the unknown compression {compression}")));
    }
    if flags & HAS_ELEMENTS != 0 {
        for _ in 0..header.number()? {
            header.number()?;
            let size = header.number()?;
            header.skip(size)?;
        }
    }
    // Size of the index.
    header.number()?;
    let chunk_sum = sum_bytes(header.number()?)?;
    let chunks = header.number()?;
    if chunks == 0 || chunks > CHUNKS_MAX {
        return Err(bad(format!("it has {chunks} chunks; 1 to {CHUNKS_MAX} can be read")));
    }
    // The first one is the dictionary, perhaps of no size. The others need no look: they follow each other.
    if flags & HAS_STREAMS != 0 {
        header.number()?;
    }
    header.skip(chunk_sum * if flags & HAS_RAW_SUMS != 0 { 2 } else { 1 })?;
    let dictionary = (header.number()?, header.number()?);
    if dictionary.0 > DICTIONARY_MAX_BYTES || dictionary.1 > DICTIONARY_MAX_BYTES {
        return Err(bad(format!("its dictionary is larger than {DICTIONARY_MAX_BYTES} bytes")));
    }
    Ok(Body { compression, dictionary })
}

/// The unpacked bytes of a file whose first bytes are [`MAGIC`].
///
/// # Errors
/// When the header or the dictionary cannot be read.
pub(crate) fn open<R: BufRead + Send + 'static>(mut input: R) -> io::Result<Box<dyn Read + Send>> {
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic)?;
    let sum = sum_bytes(read_number(&mut input)?)?;
    let size = read_number(&mut input)?;
    if size > HEADER_MAX_BYTES {
        return Err(bad(format!("its header has {size} bytes; at most {HEADER_MAX_BYTES} can be read")));
    }
    // The checksum of the header itself.
    take(&mut input, sum)?;
    let header = take(&mut input, size)?;
    let body = read_header(&header, sum)?;
    let packed = take(&mut input, body.dictionary.0)?;
    // The decoder takes no frame at all for a cut one.
    if body.compression == NOT_COMPRESSED || input.fill_buf()?.is_empty() {
        return Ok(Box::new(input));
    }
    let dictionary = if packed.is_empty() {
        Vec::new()
    } else {
        let capacity = usize::try_from(body.dictionary.1).map_err(|_| bad("its dictionary is too large"))?;
        zstd::bulk::decompress(&packed, capacity)?
    };
    let mut decoder = zstd::stream::read::Decoder::with_dictionary(input, &dictionary)?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(Box::new(decoder))
}

fn take(input: &mut impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    input.take(bytes).read_to_end(&mut out)?;
    if out.len() as u64 == bytes { Ok(out) } else { Err(bad("it is cut off")) }
}

fn read_number(input: &mut impl Read) -> io::Result<u64> {
    let mut bytes = Vec::new();
    while bytes.len() < NUMBER_MAX_BYTES && bytes.last().is_none_or(|b| b & 0x80 == 0) {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        bytes.extend(byte);
    }
    number(bytes.into_iter()).map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_bounded() {
        for (bytes, want) in
            [(&[0x80][..], Some(0)), (&[0x81], Some(1)), (&[0x7f, 0x81], Some(255)), (&[0, 0, 0x81], Some(1 << 14))]
        {
            assert_eq!(number(bytes.iter().copied()).ok().map(|(v, _)| v), want, "{bytes:?}");
        }
        for bytes in [&[][..], &[1, 2], &[0x7f; 10], &[0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0xff]] {
            assert!(number(bytes.iter().copied()).is_err(), "{bytes:?}");
        }
    }

    /// A file by hand: no dictionary, two chunks.
    fn file(chunks: &[&[u8]], dictionary: &[u8]) -> Vec<u8> {
        fn ci(mut n: u64) -> Vec<u8> {
            let mut out = Vec::new();
            while n > 0x7f {
                out.push((n & 0x7f) as u8);
                n >>= 7;
            }
            out.push(n as u8 | 0x80);
            out
        }
        let plain = if dictionary.is_empty() { Vec::new() } else { zstd::bulk::compress(dictionary, 3).unwrap() };
        let mut compressor = zstd::bulk::Compressor::with_dictionary(3, dictionary).unwrap();
        let packed: Vec<Vec<u8>> = chunks.iter().map(|c| compressor.compress(c).unwrap()).collect();
        let mut index =
            [ci(1), ci(chunks.len() as u64 + 1), vec![0; 32], ci(plain.len() as u64), ci(dictionary.len() as u64)].concat();
        for (chunk, packed) in chunks.iter().zip(&packed) {
            index.extend([vec![0; 32], ci(packed.len() as u64), ci(chunk.len() as u64)].concat());
        }
        let header = [vec![0; 32], ci(0), ci(2), ci(index.len() as u64), index, ci(0)].concat();
        [MAGIC.to_vec(), ci(1), ci(header.len() as u64), vec![0; 32], header, plain, packed.concat()].concat()
    }

    fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        open(io::Cursor::new(bytes.to_vec()))?.take(1 << 20).read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn chunks_with_and_without_a_dictionary() {
        let text = b"<package type=\"rpm\"><name>a</name></package>".repeat(20);
        for dictionary in [&b""[..], &text[..500]] {
            assert_eq!(unpack(&file(&[&text, b"second"], dictionary)).unwrap(), [&text[..], b"second"].concat());
        }
        assert_eq!(unpack(&file(&[], b"")).unwrap(), b"");
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_survived() {
        let whole = file(&[b"first first first", b"second"], b"first second third, a dictionary");
        for at in 0..whole.len() {
            // The end may be missing without a trace only between two chunks.
            let _ = unpack(&whole[..at]);
            let mut changed = whole.clone();
            changed[at] ^= 0xff;
            let _ = unpack(&changed);
        }
        assert!(unpack(&whole[..60]).is_err());
    }
}

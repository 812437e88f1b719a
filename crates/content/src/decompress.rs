//! Reading compressed upstream files: gzip, xz, zstd, bzip2, zchunk and plain, recognised by their first bytes and not by their
//! name. Every reader is bounded: by bytes that come out, and by the ratio of bytes out to bytes in (a *bomb* is refused
//! long before it fills anything). Files of several members or frames are read to their end; every check value the
//! format has is verified (zchunk: none; see [`crate::zchunk`]).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes out per byte in beyond which a file is a bomb, after [`RATIO_FREE_BYTES`]. Real metadata stays below 100.
pub const RATIO_MAX: u64 = 1000;
/// Bytes out that are free of the ratio test: small files of zeros are harmless.
pub const RATIO_FREE_BYTES: u64 = 10 * 1024 * 1024;
/// Memory an xz decoder may use, bytes: `xz -9` needs 65 MiB.
const XZ_MEMORY_MAX_BYTES: u64 = 128 * 1024 * 1024;
/// Largest zstd window, as a power of two: 128 MiB, what `zstd` itself accepts without `--long`.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Buffer on both sides, bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// zstd.
    Zstd,
    /// bzip2.
    Bzip2,
    /// zchunk.
    Zchunk,
}

impl Compression {
    /// By the first bytes of a file.
    pub fn of_magic(first: &[u8]) -> Compression {
        match first {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            // A zstd file may begin with a skippable frame (0x184D2A50 to 0x184D2A5F, little endian).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Bzip2,
            [0, b'Z', b'C', b'K', b'1', ..] => Compression::Zchunk,
            _ => Compression::None,
        }
    }
}

/// Counts what is read through it.
struct Counting<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Fails beyond the bounds.
struct Bounded {
    inner: Box<dyn Read + Send>,
    taken: Arc<AtomicU64>,
    given: u64,
    max_raw: u64,
    compression: Compression,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer).map_err(|e| self.explain(e))?;
        self.given += read as u64;
        if self.given > self.max_raw {
            return Err(refused(format!("it unpacks to more than {} bytes", self.max_raw)));
        }
        let taken = self.taken.load(Ordering::Relaxed).max(1);
        if self.compression != Compression::None && self.given > RATIO_FREE_BYTES && self.given / taken > RATIO_MAX {
            return Err(refused(format!(
                "{taken} bytes unpack to {} and more, beyond {RATIO_MAX}:1 (a decompression bomb?)",
                self.given
            )));
        }
        Ok(read)
    }
}

impl Bounded {
    /// Decoders report broken input in many ways; readers of this module see one.
    fn explain(&self, error: io::Error) -> io::Error {
        if self.compression == Compression::None || error.raw_os_error().is_some() {
            return error;
        }
        refused(format!("its {:?} data is broken or cut off: {error}", self.compression))
    }
}

fn refused(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// The uncompressed bytes of a file.
pub struct Reader {
    bounded: BufReader<Bounded>,
}

impl Reader {
    /// How the file is compressed.
    pub fn compression(&self) -> Compression {
        self.bounded.get_ref().compression
    }

    /// Uncompressed bytes read from the decoder until now (buffered ones included); after the end: their number.
    pub fn raw_bytes(&self) -> u64 {
        self.bounded.get_ref().given
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bounded.read(buffer)
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.bounded.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.bounded.consume(amount);
    }
}

/// Opens a file, at most `max_raw` uncompressed bytes.
///
/// # Errors
/// When the file cannot be opened or its decoder not be made. Reading fails with `InvalidData` and the reason.
pub fn reader(path: &Path, max_raw: u64) -> io::Result<Reader> {
    reader_from(File::open(path)?, max_raw)
}

/// The same over any stream.
///
/// # Errors
/// When the first bytes cannot be read or the decoder not be made.
pub fn reader_from(input: impl Read + Send + 'static, max_raw: u64) -> io::Result<Reader> {
    let taken = Arc::new(AtomicU64::new(0));
    let mut input = BufReader::with_capacity(BUFFER_BYTES, Counting { inner: input, count: Arc::clone(&taken) });
    let compression = Compression::of_magic(input.fill_buf()?);
    let inner: Box<dyn Read + Send> = match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(GzipMembers { decoder: None, rest: Some(input) }),
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_MAX_BYTES, liblzma::stream::CONCATENATED)
                .map_err(|e| refused(format!("no xz decoder: {e}")))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Compression::Zchunk => crate::zchunk::open(input)?,
    };
    let bounded = Bounded { inner, taken, given: 0, max_raw, compression };
    Ok(Reader { bounded: BufReader::with_capacity(BUFFER_BYTES, bounded) })
}

/// gzip member after member. Zero bytes after the last member are padding (tapes, `gzip` itself accepts them); anything
/// else after it is refused.
struct GzipMembers<R: BufRead> {
    decoder: Option<flate2::bufread::GzDecoder<R>>,
    rest: Option<R>,
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(decoder) = &mut self.decoder {
                let read = decoder.read(buffer)?;
                if read > 0 {
                    return Ok(read);
                }
                self.rest = self.decoder.take().map(flate2::bufread::GzDecoder::into_inner);
            }
            let Some(mut rest) = self.rest.take() else { return Ok(0) };
            match next_member(&mut rest)? {
                true => self.decoder = Some(flate2::bufread::GzDecoder::new(rest)),
                false => return Ok(0),
            }
        }
    }
}

/// Is there another member? Skips padding.
fn next_member(rest: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let available = rest.fill_buf()?;
        match available {
            [] => return Ok(false),
            [0x1f, ..] => return Ok(true),
            [0, ..] => {
                let zeros = available.iter().take_while(|b| **b == 0).count();
                rest.consume(zeros);
            }
            _ => return Err(refused("bytes that are no gzip member follow the last one".to_owned())),
        }
    }
}

/// Compressed bytes, for [`crate::fuzz`].
pub(crate) fn fuzz(input: &[u8]) {
    const MAX_RAW: u64 = 1024 * 1024;
    let Ok(reader) = reader_from(io::Cursor::new(input.to_vec()), MAX_RAW) else { return };
    // The end or a refusal; how much came out in front of it does not matter.
    let _ = io::copy(&mut reader.take(MAX_RAW + 1), &mut io::sink());
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn gz(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(data: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn bz2(data: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zst(data: &[u8]) -> Vec<u8> {
        zstd::encode_all(data, 3).unwrap()
    }

    fn unpack(packed: Vec<u8>, max: u64) -> io::Result<(Vec<u8>, Compression)> {
        let mut reader = reader_from(Cursor::new(packed), max)?;
        let mut out = Vec::new();
        reader.read_to_end(&mut out)?;
        assert_eq!(reader.raw_bytes(), out.len() as u64);
        Ok((out, reader.compression()))
    }

    /// Every format, one member and several.
    #[test]
    fn unpacks_every_format_by_its_first_bytes() {
        let one = b"Package: a\n".repeat(1000);
        for (pack, compression) in [
            (gz as fn(&[u8]) -> Vec<u8>, Compression::Gzip),
            (xz, Compression::Xz),
            (bz2, Compression::Bzip2),
            (zst, Compression::Zstd),
            (|d| d.to_vec(), Compression::None),
        ] {
            let (out, found) = unpack(pack(&one), 1 << 20).unwrap();
            assert_eq!((out == one, found), (true, compression));
            let (out, _) = unpack([pack(&one), pack(b"second")].concat(), 1 << 20).unwrap();
            assert!(out.ends_with(b"second") && out.len() == one.len() + 6, "{compression:?}");
        }
        assert_eq!(unpack(Vec::new(), 10).unwrap().0, b"");
    }

    #[test]
    fn stops_at_the_size_and_at_bombs() {
        let data = vec![7u8; 3 * MIB];
        for packed in [gz(&data), xz(&data), bz2(&data), zst(&data), data.clone()] {
            let error = unpack(packed.clone(), MIB as u64).unwrap_err();
            assert!(error.to_string().contains("more than 1048576 bytes"), "{error}");
            assert_eq!(unpack(packed, 4 * MIB as u64).unwrap().0.len(), data.len());
        }
        let zeros = vec![0u8; 12 * MIB];
        for packed in [gz(&zeros), xz(&zeros), bz2(&zeros), zst(&zeros)] {
            let ratio = zeros.len() / packed.len();
            let result = unpack(packed, u64::MAX);
            if ratio > RATIO_MAX as usize {
                let error = result.unwrap_err();
                assert!(error.to_string().contains("beyond 1000:1"), "{error}");
            }
        }
        assert!(unpack(xz(&zeros), u64::MAX).is_err(), "xz of zeros is beyond the ratio");
    }

    #[test]
    fn broken_and_cut_files_are_refused() {
        let data: Vec<u8> = (0..200_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for packed in [gz(&data), xz(&data), bz2(&data), zst(&data)] {
            let cut = packed[..packed.len() - 5].to_vec();
            let error = unpack(cut, u64::MAX).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            let mut broken = packed.clone();
            let middle = broken.len() / 2;
            broken[middle] ^= 0x55;
            assert!(unpack(broken, u64::MAX).map(|(out, _)| out != data).unwrap_or(true));
        }
        assert!(unpack([gz(b"a"), vec![0; 512]].concat(), 10).is_ok());
        let error = unpack([gz(b"a"), b"junk".to_vec()].concat(), 10).unwrap_err();
        assert!(error.to_string().contains("no gzip member"), "{error}");
    }
}

//! The bytes of a feed: hashed as they are given, unpacked as they are needed, member by member where the file is an
//! archive of documents (tar, as Red Hat packs its VEX files; zip, as OSV packs an ecosystem).

use std::io::{self, BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::Digest as _;

use crate::decompress;
use crate::digest::Sha256;

/// Bytes looked at to recognise a file.
pub const DETECT_BYTES: usize = 64 * 1024;

/// Where the `ustar` of a tar header is, bytes.
const TAR_MAGIC_AT: usize = 257;

struct Given<R> {
    reader: R,
    hash: sha2::Sha256,
    bytes: u64,
    max: u64,
}

/// The file as it was given. Clones read the same stream.
pub(super) struct Tee<R>(Arc<Mutex<Given<R>>>);

impl<R> Clone for Tee<R> {
    fn clone(&self) -> Self {
        Tee(Arc::clone(&self.0))
    }
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let read = given.reader.read(buffer)?;
        given.hash.update(buffer.get(..read).unwrap_or_default());
        given.bytes += read as u64;
        if given.bytes > given.max {
            let problem = format!("the file is larger than {} bytes", given.max);
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        Ok(read)
    }
}

impl<R: Read> Tee<R> {
    /// At most `max` bytes are read.
    pub(super) fn new(reader: R, max: u64) -> Self {
        Tee(Arc::new(Mutex::new(Given { reader, hash: sha2::Sha256::new(), bytes: 0, max })))
    }

    /// Reads what is left (the hash is of the whole file, whatever a format ignores at its end); hash and size.
    pub(super) fn finish(mut self) -> io::Result<(String, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        let given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((Sha256(given.hash.clone().finalize().into()).to_string(), given.bytes))
    }
}

/// A stream with its first bytes put back.
type Whole = BufReader<Box<dyn Read + Send>>;

/// The first bytes of a stream, and the stream with them.
pub(super) fn first_bytes(mut input: impl Read + Send + 'static) -> io::Result<(Vec<u8>, Whole)> {
    let mut first = Vec::with_capacity(DETECT_BYTES);
    input.by_ref().take(DETECT_BYTES as u64).read_to_end(&mut first)?;
    let whole: Box<dyn Read + Send> = Box::new(io::Cursor::new(first.clone()).chain(input));
    Ok((first, BufReader::with_capacity(DETECT_BYTES, whole)))
}

/// How documents are packed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Archive {
    None,
    Tar,
    Zip,
}

impl Archive {
    /// By the first bytes of the uncompressed file.
    pub(super) fn of_magic(first: &[u8]) -> Self {
        if first.get(TAR_MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"ustar")) {
            Archive::Tar
        } else if first.starts_with(b"PK\x03\x04") {
            Archive::Zip
        } else {
            Archive::None
        }
    }
}

/// Unpacks the file; at most `max` bytes come out.
pub(super) fn unpack<R: Read + Send + 'static>(tee: &Tee<R>, max: u64) -> io::Result<decompress::Reader> {
    decompress::reader_from(tee.clone(), max)
}

/// Gives every member that is a file to `each` with its name (as far as it is UTF-8, for messages only). Long names are
/// not resolved: nothing is ever written by them.
pub(super) fn members<E: From<io::Error>>(
    archive: Archive,
    input: impl BufRead,
    each: &mut dyn FnMut(&str, &mut dyn BufRead) -> Result<(), E>,
) -> Result<(), E> {
    match archive {
        Archive::Zip => super::zip::members(input, super::FEED_MAX_RAW_BYTES, each),
        Archive::Tar | Archive::None => {
            let mut archive = tar::Archive::new(input);
            for entry in archive.entries()?.raw(true) {
                let entry = entry?;
                if !entry.header().entry_type().is_file() {
                    continue;
                }
                let name = crate::rpm::cut(&String::from_utf8_lossy(&entry.path_bytes()));
                each(&name, &mut BufReader::with_capacity(DETECT_BYTES, entry))?;
            }
            Ok(())
        }
    }
}

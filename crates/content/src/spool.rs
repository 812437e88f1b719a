//! Metadata fragments on their way from an index to a tree: an unlinked temporary file, so that a large repository is
//! sorted by its keys in memory while its bytes stay on disk. Gone with the process.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes collected before a write.
const BUFFER_BYTES: usize = 256 * 1024;

/// Where a fragment lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// First byte.
    pub offset: u64,
    /// Length, bytes.
    pub len: u32,
}

/// Fragments of one kind. Appended first, then read in any order.
pub struct Spool {
    file: File,
    buffer: Vec<u8>,
    written: u64,
}

impl Spool {
    /// An empty one in `dir` (the store's staging directory).
    pub fn new(dir: &Path) -> io::Result<Self> {
        Ok(Spool { file: tempfile::tempfile_in(dir)?, buffer: Vec::with_capacity(BUFFER_BYTES), written: 0 })
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Adds a fragment.
    pub fn append(&mut self, fragment: &[u8]) -> io::Result<Slot> {
        let len = u32::try_from(fragment.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a fragment of 4 GiB or more"))?;
        let slot = Slot { offset: self.bytes(), len };
        if self.buffer.len() + fragment.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if fragment.len() >= BUFFER_BYTES {
            self.file.write_all_at(fragment, self.written)?;
            self.written += fragment.len() as u64;
        } else {
            self.buffer.extend_from_slice(fragment);
        }
        Ok(slot)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Ends appending; from now on fragments are read, also from several threads.
    pub fn finish(mut self) -> io::Result<SpoolReader> {
        self.flush()?;
        Ok(SpoolReader { file: self.file, bytes: self.written })
    }
}

/// Fragments that were appended.
pub struct SpoolReader {
    file: File,
    bytes: u64,
}

impl SpoolReader {
    /// Bytes of all fragments.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Puts a fragment into `buffer` (which keeps its capacity) and returns it.
    pub fn read<'a>(&self, slot: Slot, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        buffer.resize(slot.len as usize, 0);
        self.file.read_exact_at(buffer, slot.offset)?;
        Ok(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_come_back_in_any_order() {
        let dir = tempfile::tempdir().expect("dir");
        let mut spool = Spool::new(dir.path()).expect("spool");
        let fragments: Vec<Vec<u8>> = [3, 0, BUFFER_BYTES - 1, 2, BUFFER_BYTES, BUFFER_BYTES * 2 + 7, 5]
            .into_iter()
            .enumerate()
            .map(|(i, len)| vec![i as u8 + 1; len])
            .collect();
        let slots: Vec<Slot> = fragments.iter().map(|f| spool.append(f).expect("append")).collect();
        assert_eq!(spool.bytes(), fragments.iter().map(|f| f.len() as u64).sum::<u64>());
        let reader = spool.finish().expect("finish");
        let mut buffer = Vec::new();
        for (slot, fragment) in slots.iter().zip(&fragments).rev() {
            assert_eq!(reader.read(*slot, &mut buffer).expect("read"), &fragment[..]);
        }
        assert!(std::fs::read_dir(dir.path()).expect("dir").next().is_none(), "the file has no name");
    }
}

//! Mounts and unmounts, as the kernel tells whoever polls its mount table. Absent: what they hide or show.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The kernel's mount table.
const TABLE: &str = "/proc/self/mountinfo";
/// Mount points kept, count: a host full of containers has some thousand.
const MOUNTS_MAX: usize = 65_536;

/// The mount table and what it said last.
#[derive(Debug)]
pub struct Mounts {
    table: AsyncFd<File>,
    last: BTreeSet<Mount>,
}

/// Id and place: what is mounted anew at the same place has another id.
type Mount = (String, PathBuf);

impl Mounts {
    /// Opens the table of this process's mount namespace.
    pub fn open() -> io::Result<Self> {
        let mut file = File::open(TABLE)?;
        let last = read(&mut file)?;
        #[expect(deprecated, reason = "the file owns its descriptor and goes with it; the other function is unsafe")]
        let table = AsyncFd::with_interest(file, Interest::PRIORITY | Interest::ERROR)?;
        Ok(Mounts { table, last })
    }

    /// Waits until something was mounted or unmounted; says where.
    pub async fn changed(&mut self) -> io::Result<BTreeSet<PathBuf>> {
        loop {
            let mut guard = self.table.ready_mut(Interest::PRIORITY | Interest::ERROR).await?;
            // Cleared before the table is read: what changes meanwhile wakes us again.
            guard.clear_ready();
            let now = read(guard.get_inner_mut())?;
            let changed: BTreeSet<PathBuf> = now.symmetric_difference(&self.last).map(|(_, place)| place.clone()).collect();
            self.last = now;
            if !changed.is_empty() {
                return Ok(changed);
            }
        }
    }
}

fn read(file: &mut File) -> io::Result<BTreeSet<Mount>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes.split(|b| *b == b'\n').filter_map(mount).take(MOUNTS_MAX).collect())
}

/// `36 35 98:0 /mnt1 /mnt/parent rw,noatime …`
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ');
    let id = String::from_utf8_lossy(fields.next()?).into_owned();
    let place = unescaped(fields.nth(3)?);
    Some((id, PathBuf::from(std::ffi::OsString::from_vec(place))))
}

/// Blanks, tabs, line ends and backslashes are three octal digits after a backslash.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = (*first == b'\\').then(|| after.get(..3)).flatten();
        match digits.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[3..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_place() {
        let line = b"36 35 98:0 / /mnt/with\\040blank rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount(line), Some(("36".to_owned(), PathBuf::from("/mnt/with blank"))));
        assert_eq!(mount(b""), None);
        assert_eq!(unescaped(b"a\\\\b\\9"), b"a\\\\b\\9");
    }
}

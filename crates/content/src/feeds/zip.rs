//! Reads a zip file from its beginning to its end, without seeking: what OSV's `all.zip` needs and no more.
//!
//! The directory at the end is not looked at: members are taken as their own headers describe them. Absent: encryption,
//! methods other than *stored* and *deflate*, stored members of unknown length, zip64 lengths, file times and names.

use std::io::{self, BufRead, BufReader, Read};

/// Signature of a member's header.
const MEMBER: u32 = 0x0403_4b50;
/// Signatures of what follows the last member: the directory, or its end in an empty file.
const DIRECTORY: [u32; 3] = [0x0201_4b50, 0x0605_4b50, 0x0807_4b50];
/// Signature of the lengths behind a member.
const DESCRIPTOR: u32 = 0x0807_4b50;
/// Flags of a member: encrypted; lengths follow its data.
const ENCRYPTED: u16 = 1;
const LENGTHS_FOLLOW: u16 = 8;
/// A length that stands in a zip64 field instead.
const ZIP64: u32 = u32::MAX;

fn bad(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.into())
}

fn number<const N: usize>(input: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    input.read_exact(bytes.get_mut(..N).unwrap_or_default())?;
    Ok(u64::from_le_bytes(bytes))
}

struct Header {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    name: String,
}

fn header(input: &mut impl BufRead) -> io::Result<Header> {
    let _version = number::<2>(input)?;
    let flags = u16::try_from(number::<2>(input)?).unwrap_or_default();
    let method = u16::try_from(number::<2>(input)?).unwrap_or_default();
    let _time = number::<4>(input)?;
    let crc = u32::try_from(number::<4>(input)?).unwrap_or_default();
    let packed = u32::try_from(number::<4>(input)?).unwrap_or_default();
    let _raw = number::<4>(input)?;
    let (name_length, extra_length) = (number::<2>(input)?, number::<2>(input)?);
    let mut name = Vec::new();
    input.by_ref().take(name_length).read_to_end(&mut name)?;
    io::copy(&mut input.by_ref().take(extra_length), &mut io::sink())?;
    Ok(Header { flags, method, crc, packed, name: crate::rpm::cut(&String::from_utf8_lossy(&name)) })
}

/// Counts the check value of what is read through it, and what may still come out of the whole file.
struct Checked<'a, R> {
    inner: R,
    crc: flate2::Crc,
    left: &'a mut u64,
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        *self.left = self.left.checked_sub(read as u64).ok_or_else(|| bad("the zip file unpacks to more than is allowed"))?;
        self.crc.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// See [`super::input::members`]. At most `max` bytes come out of all members together.
pub(super) fn members<E: From<io::Error>>(
    mut input: impl BufRead,
    max: u64,
    each: &mut dyn FnMut(&str, &mut dyn BufRead) -> Result<(), E>,
) -> Result<(), E> {
    let mut left = max;
    loop {
        let signature = u32::try_from(number::<4>(&mut input)?).unwrap_or_default();
        if DIRECTORY.contains(&signature) {
            return Ok(());
        }
        if signature != MEMBER {
            return Err(bad("it is no zip file, or its lengths are wrong").into());
        }
        let header = header(&mut input)?;
        let unknown = header.flags & LENGTHS_FOLLOW != 0;
        if header.flags & ENCRYPTED != 0 {
            return Err(bad(format!("{} in the zip file is encrypted", header.name)).into());
        }
        let crc = match header.method {
            8 => {
                let inflate = flate2::bufread::DeflateDecoder::new(&mut input);
                let mut checked = BufReader::new(Checked { inner: inflate, crc: flate2::Crc::new(), left: &mut left });
                member(&header, &mut checked, each)?;
                checked.get_ref().crc.sum()
            }
            0 if !unknown && header.packed != ZIP64 => {
                let stored = input.by_ref().take(u64::from(header.packed));
                let mut checked = BufReader::new(Checked { inner: stored, crc: flate2::Crc::new(), left: &mut left });
                member(&header, &mut checked, each)?;
                checked.get_ref().crc.sum()
            }
            method => return Err(bad(format!("{} in the zip file is packed by method {method}", header.name)).into()),
        };
        let mut want = header.crc;
        if unknown {
            let first = u32::try_from(number::<4>(&mut input)?).unwrap_or_default();
            // The signature of the descriptor is optional.
            want = if first == DESCRIPTOR { u32::try_from(number::<4>(&mut input)?).unwrap_or_default() } else { first };
            let _lengths = number::<8>(&mut input)?;
        }
        if crc != want {
            return Err(bad(format!("{} in the zip file is damaged", header.name)).into());
        }
    }
}

fn member<E: From<io::Error>>(
    header: &Header,
    input: &mut dyn BufRead,
    each: &mut dyn FnMut(&str, &mut dyn BufRead) -> Result<(), E>,
) -> Result<(), E> {
    if !header.name.ends_with('/') {
        each(&header.name, input)?;
    }
    io::copy(input, &mut io::sink())?;
    Ok(())
}

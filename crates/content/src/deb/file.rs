//! A `.deb` file: the `ar` archive around it and the control file inside. Read as dpkg-deb reads it, in order and bounded;
//! the packaged files themselves are only measured.
//!
//! Absent: signatures of single packages (apt has none), the old format 0.9.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::decompress;
use crate::digest::Sha256;

use super::control;
use super::packages::{Package, STANZA_MAX_BYTES};

/// Control member of a package as it lies in the file, bytes: kernels with long lists of checksums have 2 MB.
pub const CONTROL_MEMBER_MAX_BYTES: u64 = 32 * 1024 * 1024;
/// The same, decompressed, bytes.
pub const CONTROL_RAW_MAX_BYTES: u64 = 128 * 1024 * 1024;
/// Members before the packaged files, count: dpkg-deb writes two, `_`-members may stand between.
const MEMBERS_MAX: usize = 16;
const AR_MAGIC: &[u8; 8] = b"!<arch>\n";
const AR_HEADER_BYTES: usize = 60;

/// Fields that the archive says of a package, never the package of itself.
const ARCHIVE_FIELDS: [&str; 7] = ["Filename", "Size", "MD5sum", "SHA1", "SHA256", "SHA512", "Status"];

/// Why a file is no package.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Not in the form of a package.
    #[error("it is not a Debian package: {0}")]
    Form(&'static str),
    /// Its control file says something that cannot be.
    #[error("its control file is not right: {0}")]
    Control(String),
}

/// One member of an `ar` archive.
struct Member {
    name: String,
    size: u64,
}

/// The control file of a package, as it lies in there.
///
/// # Errors
/// When the file is not a whole Debian package.
pub fn control_file(path: &Path) -> Result<Vec<u8>, FileError> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    control_in(file, length)
}

/// The same of `length` bytes from anywhere.
pub(crate) fn control_in(mut file: impl Read + Seek, length: u64) -> Result<Vec<u8>, FileError> {
    let mut magic = [0; AR_MAGIC.len()];
    read_exact(&mut file, &mut magic)?;
    if &magic != AR_MAGIC {
        return Err(FileError::Form("it does not begin as an ar archive"));
    }
    let first = member(&mut file)?.ok_or(FileError::Form("it is empty"))?;
    if first.name != "debian-binary" || first.size > 64 {
        return Err(FileError::Form("its first member is not debian-binary"));
    }
    let mut version = vec![0; usize::try_from(first.size).unwrap_or_default()];
    read_exact(&mut file, &mut version)?;
    if !version.starts_with(b"2.") {
        return Err(FileError::Form("its format is not 2.x"));
    }
    skip(&mut file, first.size % 2)?;
    let mut control = None;
    for _ in 0..MEMBERS_MAX {
        let Some(member) = member(&mut file)? else { break };
        let at = file.stream_position()?;
        if at.checked_add(member.size).is_none_or(|end| end > length) {
            return Err(FileError::Form("it is cut short"));
        }
        if member.name.starts_with("control.tar") && control.is_none() {
            control = Some(control_of(&mut file, member.size)?);
        } else if member.name.starts_with("data.tar") {
            return control.ok_or(FileError::Form("it has no control.tar in front of data.tar"));
        } else if !member.name.starts_with('_') {
            return Err(FileError::Form("it has a member that dpkg does not know"));
        }
        file.seek(SeekFrom::Start(at))?;
        skip(&mut file, member.size + member.size % 2)?;
    }
    Err(FileError::Form("it has no data.tar"))
}

fn read_exact(file: &mut impl Read, into: &mut [u8]) -> Result<(), FileError> {
    file.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => FileError::Form("it is cut short"),
        _ => FileError::Read(error),
    })
}

fn skip(file: &mut impl Seek, bytes: u64) -> Result<(), FileError> {
    let bytes = i64::try_from(bytes).map_err(|_| FileError::Form("it is cut short"))?;
    file.seek(SeekFrom::Current(bytes))?;
    Ok(())
}

/// The header of the next member, if there is one.
fn member(file: &mut impl Read) -> Result<Option<Member>, FileError> {
    let mut header = [0; AR_HEADER_BYTES];
    if file.read(&mut header[..1])? == 0 {
        return Ok(None);
    }
    read_exact(file, &mut header[1..])?;
    let text = |range: std::ops::Range<usize>| std::str::from_utf8(&header[range]).ok().map(str::trim_end);
    let (name, size) = (text(0..16), text(48..58).and_then(|size| size.parse().ok()));
    match (name, size, &header[58..60]) {
        // GNU ar ends names with a slash.
        (Some(name), Some(size), b"`\n") => Ok(Some(Member { name: name.trim_end_matches('/').to_owned(), size })),
        _ => Err(FileError::Form("a member's header cannot be read")),
    }
}

fn control_of(file: &mut impl Read, size: u64) -> Result<Vec<u8>, FileError> {
    if size > CONTROL_MEMBER_MAX_BYTES {
        return Err(FileError::Form("its control.tar is larger than 32 MiB"));
    }
    let mut member = Vec::new();
    file.take(size).read_to_end(&mut member)?;
    let reader = decompress::reader_from(io::Cursor::new(member), CONTROL_RAW_MAX_BYTES)?;
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path_bytes();
        if path.strip_prefix(b"./").unwrap_or(&path) != b"control" {
            continue;
        }
        if !entry.header().entry_type().is_file() {
            return Err(FileError::Form("its control is not a file"));
        }
        let mut control = Vec::new();
        entry.take(STANZA_MAX_BYTES as u64 + 1).read_to_end(&mut control)?;
        if control.len() > STANZA_MAX_BYTES {
            return Err(FileError::Form("its control file is larger than 1 MiB"));
        }
        return Ok(control);
    }
    Err(FileError::Form("its control.tar has no control file"))
}

/// The unit that a package file is: its control file and what the archive adds (`Filename`, `Size`, `SHA256`).
///
/// # Errors
/// When the control file lacks what a unit needs.
pub fn package(control: &[u8], size: u64, sha256: &Sha256) -> Result<Package, FileError> {
    let cleaned: Vec<u8> = control.iter().copied().filter(|byte| *byte != b'\r').collect();
    let text = cleaned.trim_ascii();
    if memchr::memmem::find(text, b"\n\n").is_some() {
        return Err(FileError::Control("it has more than one stanza".to_owned()));
    }
    let mut stanza = Vec::with_capacity(text.len() + 256);
    let (mut name, mut version, mut arch) = (String::new(), String::new(), String::new());
    for field in control::fields(text) {
        let field = field.map_err(|error| FileError::Control(error.to_string()))?;
        let line = || field.line().unwrap_or_default().to_owned();
        match () {
            () if field.is("Package") => name = line(),
            () if field.is("Version") => version = line(),
            () if field.is("Architecture") => arch = line(),
            () => {}
        }
        // dpkg leaves out fields without a value.
        if !ARCHIVE_FIELDS.iter().any(|taken| field.is(taken)) && !field.value.is_empty() {
            stanza.extend_from_slice(text[field.span.clone()].trim_ascii_end());
            stanza.push(b'\n');
        }
    }
    check_names(&name, &version, &arch)?;
    let plain = version.split_once(':').map_or(version.as_str(), |(_, plain)| plain);
    stanza.extend_from_slice(format!("Filename: {name}_{plain}_{arch}.deb\nSize: {size}\nSHA256: {sha256}\n").as_bytes());
    Package::parse(&stanza).map_err(|refused| FileError::Control(refused.why.to_string()))
}

/// As strict as dpkg: what is published here must install.
fn check_names(name: &str, version: &str, arch: &str) -> Result<(), FileError> {
    let plain = |text: &str, more: &str| {
        text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.as_bytes().contains(&byte))
    };
    let bad = [("Package", plain(name, "-+._")), ("Architecture", plain(arch, "-"))].into_iter().find(|(_, good)| !good);
    if let Some((field, _)) = bad {
        return Err(FileError::Control(format!("`{field}` is missing or not one")));
    }
    drydock_domain::version::deb::parse(version).map(|_| ()).map_err(|error| FileError::Control(error.to_string()))
}

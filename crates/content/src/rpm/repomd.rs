//! `repomd.xml`: the small file that names all others of a yum repository, read from upstreams and written for ours.

use std::fmt::Write as _;

use super::fragments::check_declaration;
use super::xml::{Event, Tag, Walker, XmlError, cut, decode, escape};
use crate::digest::{BadDigest, Digest, Sha256};

/// Largest `repomd.xml`, bytes. Real ones have a few KiB.
pub const REPOMD_MAX_BYTES: u64 = 1024 * 1024;
/// Entries, count. Real ones have at most some twenty.
const MAX_ENTRIES: usize = 256;
/// Longest text that is kept of an element, bytes.
const MAX_TEXT_BYTES: usize = 4096;

/// What `repomd.xml` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repomd {
    /// Free text, usually seconds since 1970.
    pub revision: String,
    /// The files, in order.
    pub data: Vec<RepomdData>,
}

/// One file of the metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepomdData {
    /// `primary`, `filelists`, `updateinfo`, …
    pub kind: String,
    /// Path below the repository.
    pub location: String,
    /// `xml:base`: another place that the path is below.
    pub base: Option<String>,
    /// Of the file.
    pub checksum: Result<Digest, BadDigest>,
    /// Of the file, bytes.
    pub size: Option<u64>,
    /// Of the uncompressed content, bytes.
    pub open_size: Option<u64>,
}

impl Repomd {
    /// The first entry of a kind, as package managers choose.
    pub fn get(&self, kind: &str) -> Option<&RepomdData> {
        self.data.iter().find(|data| data.kind == kind)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it is not UTF-8, malformed, of another kind, or an entry lacks its location or checksum.
    pub fn parse(bytes: &[u8]) -> Result<Repomd, XmlError> {
        let text = std::str::from_utf8(bytes).map_err(|error| XmlError::new(error.valid_up_to() as u64, "not UTF-8"))?;
        let body = without_declaration(text)?;
        let offset = (text.len() - body.len()) as u64;
        Self::read(body).map_err(|error| XmlError::new(offset + error.offset, error.problem))
    }

    fn read(text: &str) -> Result<Repomd, XmlError> {
        let mut walker = Walker::new(text);
        let mut repomd = Repomd::default();
        let mut entry: Option<Entry> = None;
        let mut content = String::new();
        let mut path: Vec<&str> = Vec::new();
        while let Some(event) = walker.next()? {
            match event {
                Event::Start(tag) => {
                    content.clear();
                    if path.is_empty() && tag.name != "repomd" {
                        return Err(XmlError::new(0, format!("the root element is <{}>, not <repomd>", cut(tag.name))));
                    }
                    if path.len() == 1 && tag.name == "data" {
                        let kind = tag.get("type").unwrap_or_default().into_owned();
                        entry = Some(Entry { kind, at: tag.start as u64, ..Entry::default() });
                    } else if path.len() == 2
                        && let Some(entry) = &mut entry
                    {
                        entry.tag(&tag);
                    }
                    if tag.empty {
                        finish(&mut repomd, &mut entry, path.len(), tag.name)?;
                    } else {
                        path.push(tag.name);
                    }
                }
                Event::Text(text) if content.len() + text.len() <= MAX_TEXT_BYTES => content.push_str(&decode(text)),
                Event::CData(text) if content.len() + text.len() <= MAX_TEXT_BYTES => content.push_str(text),
                Event::Text(_) | Event::CData(_) => {}
                Event::End { .. } => {
                    let name = path.pop().unwrap_or_default();
                    match &mut entry {
                        Some(entry) if path.len() == 2 => entry.text(name, content.trim()),
                        None if path.len() == 1 && name == "revision" => content.trim().clone_into(&mut repomd.revision),
                        _ => {}
                    }
                    finish(&mut repomd, &mut entry, path.len(), name)?;
                }
            }
        }
        Ok(repomd)
    }
}

/// Adds an entry when its element ended.
fn finish(repomd: &mut Repomd, entry: &mut Option<Entry>, depth: usize, name: &str) -> Result<(), XmlError> {
    if depth != 1 || name != "data" {
        return Ok(());
    }
    let Some(entry) = entry.take() else { return Ok(()) };
    if repomd.data.len() >= MAX_ENTRIES {
        return Err(XmlError::new(entry.at, format!("more than {MAX_ENTRIES} files")));
    }
    repomd.data.push(entry.done()?);
    Ok(())
}

#[derive(Default)]
struct Entry {
    at: u64,
    kind: String,
    location: Option<String>,
    base: Option<String>,
    checksum_type: String,
    checksum: Option<String>,
    size: Option<u64>,
    open_size: Option<u64>,
}

impl Entry {
    fn tag(&mut self, tag: &Tag<'_>) {
        match tag.name {
            "location" => {
                self.location = tag.get("href").map(|href| href.into_owned());
                self.base = tag.get("xml:base").map(|base| base.into_owned());
            }
            "checksum" => self.checksum_type = tag.get("type").unwrap_or_default().into_owned(),
            _ => {}
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        match name {
            "checksum" => self.checksum = Some(text.to_owned()),
            "size" => self.size = text.parse().ok(),
            "open-size" => self.open_size = text.parse().ok(),
            _ => {}
        }
    }

    fn done(self) -> Result<RepomdData, XmlError> {
        let lacks = |what: &str| XmlError::new(self.at, format!("the entry `{}` has no {what}", cut(&self.kind)));
        let location = self.location.clone().filter(|l| !l.is_empty()).ok_or_else(|| lacks("location"))?;
        let digits = self.checksum.as_deref().ok_or_else(|| lacks("checksum"))?;
        let checksum = Digest::from_xml_type(&self.checksum_type, digits);
        let Entry { kind, base, size, open_size, .. } = self;
        Ok(RepomdData { kind, location, base, checksum, size, open_size })
    }
}

/// The text behind byte order mark and XML declaration.
fn without_declaration(text: &str) -> Result<&str, XmlError> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let Some(rest) = text.strip_prefix("<?xml") else { return Ok(text) };
    let (declaration, body) = rest.split_once("?>").ok_or_else(|| XmlError::new(0, "the XML declaration is not closed"))?;
    check_declaration(declaration.as_bytes()).map_err(|problem| XmlError::new(0, problem))?;
    Ok(body)
}

/// One file of a `repomd.xml` of ours.
#[derive(Debug, Clone)]
pub(crate) struct Published<'a> {
    /// `primary`, …
    pub kind: &'a str,
    /// Path below the repository.
    pub path: &'a str,
    /// Of the file.
    pub sha256: Sha256,
    /// Of the file, bytes.
    pub size: u64,
    /// Of the uncompressed content, bytes.
    pub raw_size: Option<u64>,
}

/// Writes a `repomd.xml` whose revision and timestamps are `seconds` since 1970.
///
/// The timestamps grow with every move of a pointer, also back to an older snapshot: yum 3 keeps what it has when the
/// newest timestamp is older than its own. `open-checksum` is absent: dnf, zypper and yum check the compressed file (yum
/// looks at it only for sqlite files), and making it would mean to inflate everything for each publication.
pub(crate) fn write(files: &[Published<'_>], seconds: i64) -> String {
    let mut xml = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n",
    );
    // Writing to a string cannot fail.
    let _ = writeln!(xml, "  <revision>{seconds}</revision>");
    for file in files {
        let _ = writeln!(xml, "  <data type=\"{}\">", escape(file.kind));
        let _ = writeln!(xml, "    <checksum type=\"sha256\">{}</checksum>", file.sha256);
        let _ = writeln!(xml, "    <location href=\"{}\"/>", escape(file.path));
        let _ = writeln!(xml, "    <timestamp>{seconds}</timestamp>");
        let _ = writeln!(xml, "    <size>{}</size>", file.size);
        if let Some(raw) = file.raw_size {
            let _ = writeln!(xml, "    <open-size>{raw}</open-size>");
        }
        xml.push_str("  </data>\n");
    }
    xml.push_str("</repomd>\n");
    xml
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>1700000000</revision>
  <tags><content>binary</content></tags>
  <data type="primary">
    <checksum type="sha256">e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855</checksum>
    <open-checksum type="sha256">00</open-checksum>
    <location href="repodata/a&amp;b.xml.gz"/>
    <size>12</size><open-size>34</open-size>
    <unknown><size>99</size></unknown>
  </data>
  <data type="productid"><location href="repodata/productid" xml:base="http://x/"/><checksum type="md5">00</checksum></data>
</repomd>"#;

    #[test]
    fn reads_what_matters_and_passes_over_the_rest() {
        let repomd = Repomd::parse(SMALL.as_bytes()).unwrap();
        assert_eq!(repomd.revision, "1700000000");
        let primary = repomd.get("primary").unwrap();
        assert_eq!(primary.location, "repodata/a&b.xml.gz");
        assert_eq!((primary.size, primary.open_size), (Some(12), Some(34)));
        assert_eq!(primary.checksum.as_ref().unwrap().sha256(), Some(Sha256::of(b"")));
        let product = repomd.get("productid").unwrap();
        assert_eq!(product.base.as_deref(), Some("http://x/"));
        assert!(product.checksum.is_err());
    }

    #[test]
    fn broken_ones_are_refused() {
        for (bad, why) in [
            ("", "no element"),
            ("<repomd><data type='primary'></data></repomd>", "no location"),
            ("<repomd><data type='p'><location href='x'/></data></repomd>", "no checksum"),
            ("<metadata/>", "root element"),
            ("<repomd><data>", "not closed"),
            ("<!DOCTYPE repomd [<!ENTITY a 'b'>]><repomd/>", "document type"),
            ("<repomd>&a;</repomd>", "reference"),
            ("<?xml version='1.0' encoding='latin1'?><repomd/>", "UTF-8"),
        ] {
            let error = Repomd::parse(bad.as_bytes()).unwrap_err();
            assert!(error.problem.contains(why), "{bad}: {error}");
        }
        assert!(Repomd::parse(b"<repomd>\xff</repomd>").unwrap_err().problem.contains("UTF-8"));
        let many = format!("<repomd>{}</repomd>", "<data type='x'><location href='x'/><checksum>0</checksum></data>".repeat(257));
        assert!(Repomd::parse(many.as_bytes()).unwrap_err().problem.contains("256"));
    }

    #[test]
    fn what_is_written_is_read() {
        let path = "repodata/x-primary.xml.gz";
        let files = [Published { kind: "primary", path, sha256: Sha256::of(b"x"), size: 7, raw_size: Some(70) }];
        let read = Repomd::parse(write(&files, 1_800_000_000).as_bytes()).unwrap();
        assert_eq!(read.revision, "1800000000");
        assert_eq!(read.data.len(), 1);
        let data = &read.data[0];
        assert_eq!((data.location.as_str(), data.size, data.open_size), (path, Some(7), Some(70)));
        assert_eq!(data.checksum.as_ref().unwrap().sha256(), Some(Sha256::of(b"x")));
    }
}

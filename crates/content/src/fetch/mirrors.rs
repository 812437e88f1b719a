//! Lists of mirrors: plain (one URL a line) and metalink (XML, with the checksums of `repomd.xml`). Both come from
//! strangers: bounded, and only http and https URLs count.

use quick_xml::Reader;
use quick_xml::events::Event;
use reqwest::Url;

use super::request::is_link_local;
use crate::digest::Digest;

/// Largest list, bytes; Fedora's longest is 80 KiB.
pub(super) const LIST_MAX_BYTES: u64 = 2 * 1024 * 1024;
/// Mirrors kept, the first ones.
pub(super) const MIRRORS_MAX: usize = 16;
/// XML elements looked at.
const EVENTS_MAX: usize = 100_000;
/// Depth of elements.
const DEPTH_MAX: usize = 32;
/// Versions of a file that a metalink may announce: the current one and those before.
const ANNOUNCED_MAX: usize = 16;

/// What a list says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mirrors {
    /// Directories that hold the repository.
    pub urls: Vec<Url>,
    /// For `repodata/repomd.xml`: the acceptable files, strongest digest each. Empty = anything.
    pub announced: Vec<Vec<Digest>>,
}

/// Reads either kind; which one, the content says (yum lets a mirror list answer with a metalink).
pub(super) fn parse(text: &str) -> Result<Mirrors, String> {
    let mirrors = if text.contains("<metalink") { metalink(text)? } else { plain(text) };
    if mirrors.urls.is_empty() { Err("it names no http or https mirror".to_owned()) } else { Ok(mirrors) }
}

/// A base URL, ending with a slash.
pub(super) fn base(text: &str) -> Option<Url> {
    let mut url: Url = text.trim().parse().ok()?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return None;
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Some(url)
}

fn plain(text: &str) -> Mirrors {
    let mut mirrors = Mirrors::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        // `$basearch` and the like stand for values of a host, which a mirror does not have.
        if line.contains('$') {
            continue;
        }
        add(&mut mirrors.urls, base(line));
    }
    mirrors
}

fn add(urls: &mut Vec<Url>, url: Option<Url>) {
    // A list is a stranger's: see [`is_link_local`].
    if let Some(url) = url
        && urls.len() < MIRRORS_MAX
        && !is_link_local(&url)
        && !urls.contains(&url)
    {
        urls.push(url);
    }
}

/// The URLs of a metalink with their preference, and the checksums of each announced version of `repomd.xml`.
fn metalink(text: &str) -> Result<Mirrors, String> {
    let broken = |e: &dyn std::fmt::Display| format!("it is broken XML: {e}");
    let mut reader = Reader::from_str(text);
    let mut path: Vec<String> = Vec::new();
    let mut found = Found::default();
    for _ in 0..EVENTS_MAX {
        match reader.read_event().map_err(|e| broken(&e))? {
            Event::Start(element) => {
                if path.len() == DEPTH_MAX {
                    return Err(format!("its elements nest deeper than {DEPTH_MAX}"));
                }
                path.push(element.local_name().as_ref().to_owned());
                let attribute = |name: &str| element.try_get_attribute(name).ok().flatten().map(|found| found.value.into_owned());
                found.start(&path, &attribute);
            }
            Event::Text(text) => found.text(&text),
            Event::GeneralRef(entity) => found.text(match &*entity {
                "amp" => "&",
                _ => return Err("it holds an entity that is not expanded".to_owned()),
            }),
            Event::End(_) => {
                found.end(&path);
                path.pop();
            }
            Event::DocType(_) => return Err("it holds a document type definition".to_owned()),
            Event::Eof if path.is_empty() => return Ok(found.finish()),
            Event::Eof => return Err("it is cut off".to_owned()),
            _ => {}
        }
    }
    Err(format!("it holds more than {EVENTS_MAX} elements"))
}

#[derive(Default)]
struct Found {
    /// Inside `<file name="repomd.xml">`.
    in_file: bool,
    text: String,
    hash_type: String,
    preference: u32,
    urls: Vec<(u32, Url)>,
    digests: Vec<Digest>,
    announced: Vec<Vec<Digest>>,
}

/// Longest text of an element that is kept, bytes.
const TEXT_MAX_BYTES: usize = 4096;

impl Found {
    fn start(&mut self, path: &[String], attribute: &dyn Fn(&str) -> Option<String>) {
        self.text.clear();
        match path.last().map(String::as_str) {
            Some("file") => self.in_file = attribute("name").as_deref() == Some("repomd.xml"),
            Some("hash") => self.hash_type = attribute("type").unwrap_or_default(),
            Some("url") => self.preference = attribute("preference").and_then(|p| p.parse().ok()).unwrap_or(0),
            Some("verification") => self.digests.clear(),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.text.len() + text.len() <= TEXT_MAX_BYTES {
            self.text.push_str(text);
        }
    }

    fn end(&mut self, path: &[String]) {
        if !self.in_file {
            return;
        }
        match path.last().map(String::as_str) {
            Some("file") => self.in_file = false,
            Some("url") => {
                let url = self.text.trim().strip_suffix("repodata/repomd.xml").and_then(base);
                if let Some(url) = url
                    && self.urls.len() < MIRRORS_MAX * 64
                {
                    self.urls.push((self.preference, url));
                }
            }
            Some("hash") => {
                // MD5 proves nothing; a type that is not known neither.
                if let Ok(digest) = Digest::from_xml_type(&self.hash_type, self.text.trim()) {
                    self.digests.push(digest);
                }
            }
            Some("verification") if self.announced.len() < ANNOUNCED_MAX && !self.digests.is_empty() => {
                self.announced.push(std::mem::take(&mut self.digests));
            }
            _ => {}
        }
    }

    fn finish(mut self) -> Mirrors {
        self.urls.sort_by_key(|(preference, _)| std::cmp::Reverse(*preference));
        let mut mirrors = Mirrors { urls: Vec::new(), announced: self.announced };
        for (_, url) in self.urls {
            add(&mut mirrors.urls, Some(url));
        }
        mirrors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METALINK: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/" xmlns:mm0="http://fedorahosted.org/mirrormanager">
 <files>
  <file name="other.xml"><resources><url preference="100">http://wrong/repodata/repomd.xml</url></resources></file>
  <file name="repomd.xml">
   <mm0:timestamp>1600000000</mm0:timestamp><size>10</size>
   <verification><hash type="md5">0123456789abcdef0123456789abcdef</hash>
    <hash type="sha256">2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824</hash></verification>
   <mm0:alternates><mm0:alternate><verification>
    <hash type="sha256">2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9825</hash></verification>
   </mm0:alternate></mm0:alternates>
   <resources maxconnections="1">
    <url protocol="rsync" preference="100">rsync://a/repodata/repomd.xml</url>
    <url protocol="http" preference="90">http://b/x?a=1&amp;b=2/repodata/repomd.xml</url>
    <url protocol="http" preference="95">http://c/fedora/repodata/repomd.xml</url>
   </resources>
  </file>
 </files>
</metalink>"#;

    #[test]
    fn a_metalink_gives_mirrors_by_preference_and_checksums() {
        let mirrors = parse(METALINK).unwrap();
        assert_eq!(mirrors.urls[0].as_str(), "http://c/fedora/");
        assert_eq!(mirrors.urls.len(), 2);
        assert_eq!(mirrors.announced.len(), 2);
        assert_eq!(mirrors.announced[0].len(), 1, "MD5 does not count");
        assert!(mirrors.announced[0][0].hex().starts_with("2cf24dba"));
    }

    #[test]
    fn hostile_metalinks_are_refused() {
        for (text, why) in [
            (METALINK.replace("</metalink>", ""), "cut off"),
            (METALINK.replace("<metalink ", "<!DOCTYPE a [<!ENTITY b \"c\">]><metalink "), "document type"),
            (METALINK.replace("&amp;", "&b;"), "entity"),
            (format!("<metalink>{}", "<a>".repeat(100)), "deeper"),
            (format!("<metalink>{}</metalink>", "<a/>".repeat(200_000)), "more than"),
            ("<metalink></metalink>".to_owned(), "no http"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_plain_list_keeps_usable_lines() {
        let text = "# comment\nhttp://a/x\n\nhttps://user:pw@b/y/\nftp://c/\nhttp://d/$basearch/\nhttp://a/x/\nnonsense\n\
                    http://169.254.169.254/opc/\nhttp://[fe80::1]/\n";
        let urls: Vec<String> = parse(text).unwrap().urls.iter().map(Url::to_string).collect();
        assert_eq!(urls, ["http://a/x/", "https://user:pw@b/y/"]);
        let many: String = (0..100).map(|i| format!("http://m{i}/\n")).collect();
        assert_eq!(parse(&many).unwrap().urls.len(), MIRRORS_MAX);
        assert!(parse("<html>404</html>").is_err());
    }
}

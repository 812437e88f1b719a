//! One `<package>` of `primary.xml`: the facts we need of it, and its own bytes with our location instead of the
//! upstream's.

use std::borrow::Cow;
use std::ops::Range;

use super::fragments::Shape;
use super::xml::{Event, Tag, Walker, XmlError, cut, decode, escape};
use crate::digest::{Alg, BadDigest, Digest};
use crate::path::safe_relative;

/// `primary.xml` as documents go. One package: a kernel or texlive has some hundred KiB.
pub(crate) const PRIMARY: Shape = Shape { root: "metadata", element: "package", max_bytes: 16 * 1024 * 1024 };

/// Longest name of a package, bytes.
const NAME_MAX_BYTES: usize = 255;
/// Longest version and release, bytes: beyond it versions cannot be compared as rpm does.
const VERSION_MAX_BYTES: usize = 200;
/// Longest architecture, bytes.
const ARCH_MAX_BYTES: usize = 32;
/// Longest text that is taken from an element, bytes; the fields above are shorter.
const TEXT_MAX_BYTES: usize = 1024;

/// Why a package is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrimaryError {
    /// Not XML: package managers refuse the whole document.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Something that leaves only this package out.
    #[error("{name}: {problem}")]
    Unusable {
        /// Name, or location where there is none.
        name: String,
        /// Why.
        problem: String,
    },
    /// The repository names its packages by a checksum that proves nothing.
    #[error("{name}: {source}")]
    Checksum {
        /// Name of the package.
        name: String,
        /// Which.
        #[source]
        source: BadDigest,
    },
}

/// What is known of a package.
#[derive(Debug, Default)]
pub(crate) struct Primary<'a> {
    pub name: Cow<'a, str>,
    pub arch: Cow<'a, str>,
    pub epoch: Cow<'a, str>,
    pub version: Cow<'a, str>,
    pub release: Cow<'a, str>,
    /// File name of the source rpm; empty for a source package.
    pub source_rpm: Cow<'a, str>,
    /// As given.
    pub href: Cow<'a, str>,
    /// `xml:base` as given.
    pub base: Option<Cow<'a, str>>,
    /// Of the package file, bytes.
    pub size: Option<u64>,
    /// Seconds since 1970.
    pub build_time: Option<i64>,
    kind: Option<Cow<'a, str>>,
    checksum_type: Cow<'a, str>,
    pkgid: Cow<'a, str>,
    locations: Vec<Range<usize>>,
    foreign_prefix: bool,
}

impl<'a> Primary<'a> {
    /// Reads a fragment.
    ///
    /// # Errors
    /// [`XmlError`] when the fragment is malformed; its offset is within the fragment.
    pub fn parse(text: &'a str) -> Result<Self, XmlError> {
        let mut walker = Walker::new(text);
        let mut package = Primary::default();
        let mut open: &str = "";
        let mut location_open = None;
        while let Some(event) = walker.next()? {
            match event {
                Event::Start(tag) => {
                    let depth = walker.depth() - usize::from(!tag.empty);
                    package.foreign_prefix |= foreign(&tag);
                    match depth {
                        0 => package.kind = tag.get("type"),
                        1 => {
                            open = if tag.empty { "" } else { tag.name };
                            package.tag(&tag);
                            if tag.name == "location" {
                                package.locations.push(tag.start..tag.end);
                                location_open = (!tag.empty).then_some(());
                            }
                        }
                        2 if !tag.empty => open = if tag.name == "rpm:sourcerpm" { tag.name } else { "" },
                        _ => {}
                    }
                }
                Event::End { end } => {
                    open = "";
                    if walker.depth() == 1
                        && location_open.take().is_some()
                        && let Some(span) = package.locations.last_mut()
                    {
                        span.end = end;
                    }
                }
                Event::Text(text) if !open.is_empty() => package.text(open, decode(text)),
                Event::CData(text) if !open.is_empty() => package.text(open, Cow::Borrowed(text)),
                Event::Text(_) | Event::CData(_) => {}
            }
        }
        Ok(package)
    }

    fn tag(&mut self, tag: &Tag<'a>) {
        match tag.name {
            "version" => {
                self.epoch = tag.get("epoch").filter(|epoch| !epoch.is_empty()).unwrap_or(Cow::Borrowed("0"));
                self.version = tag.get("ver").unwrap_or_default();
                self.release = tag.get("rel").unwrap_or_default();
            }
            "checksum" => self.checksum_type = tag.get("type").unwrap_or_default(),
            "size" => self.size = tag.get("package").and_then(|size| size.trim().parse().ok()),
            "time" => self.build_time = tag.get("build").and_then(|time| time.trim().parse().ok()),
            "location" => {
                self.href = tag.get("href").unwrap_or_default();
                self.base = tag.get("xml:base").filter(|base| !base.is_empty());
            }
            _ => {}
        }
    }

    fn text(&mut self, element: &str, text: Cow<'a, str>) {
        let field = match element {
            "name" => &mut self.name,
            "arch" => &mut self.arch,
            "checksum" => &mut self.pkgid,
            "rpm:sourcerpm" => &mut self.source_rpm,
            _ => return,
        };
        // A comment in the middle of a text is the only way to get here twice.
        if field.is_empty() {
            *field = text;
        } else if field.len() + text.len() <= TEXT_MAX_BYTES {
            field.to_mut().push_str(&text);
        }
    }

    /// Checks everything that a host, a tree or a URL is later made of.
    ///
    /// # Errors
    /// Says why the package, or the repository, cannot be used.
    pub fn checked(&self) -> Result<Checked, PrimaryError> {
        let shown = if self.name.is_empty() { &self.href } else { &self.name };
        let unusable = |problem: String| PrimaryError::Unusable { name: cut(shown), problem };
        if self.version.contains(':') || self.release.contains(':') {
            return Err(unusable("its version holds a colon".to_owned()));
        }
        if self.kind.as_deref().is_some_and(|kind| kind != "rpm") {
            return Err(unusable(format!("is of type {}, not rpm", cut(self.kind.as_deref().unwrap_or_default()))));
        }
        for (what, text, limit) in [
            ("name", &self.name, NAME_MAX_BYTES),
            ("architecture", &self.arch, ARCH_MAX_BYTES),
            ("version", &self.version, VERSION_MAX_BYTES),
            ("release", &self.release, VERSION_MAX_BYTES),
        ] {
            check_word(text.trim(), limit).map_err(|problem| unusable(format!("its {what} {problem}")))?;
        }
        let epoch: u32 = self.epoch.trim().parse().map_err(|_| unusable("its epoch is not a number".to_owned()))?;
        let digest = Digest::from_xml_type(self.checksum_type.trim(), &self.pkgid).map_err(|source| match source {
            BadDigest::Algorithm(_) => PrimaryError::Checksum { name: cut(shown), source },
            other => unusable(other.to_string()),
        })?;
        let size = self.size.ok_or_else(|| unusable("its size is not given".to_owned()))?;
        let href = safe_relative(&self.href).map_err(|error| unusable(error.to_string()))?;
        if let Some(base) = &self.base
            && !(base.starts_with("http://") || base.starts_with("https://"))
        {
            return Err(unusable(format!("its xml:base {} is neither an http nor an https URL", cut(base))));
        }
        Ok(Checked { epoch, digest, size, href })
    }

    /// The fragment with `location` (a whole element) instead of its own, and a line feed.
    pub fn rewritten(&self, text: &str, location: &str, declarations: &str) -> String {
        let mut out = String::with_capacity(text.len() + location.len() + declarations.len() + 1);
        let mut from = 0;
        if self.foreign_prefix && !declarations.is_empty() {
            from = "<package".len();
            out.push_str("<package");
            out.push_str(declarations);
        }
        let last = self.locations.len().saturating_sub(1);
        for (number, span) in self.locations.iter().enumerate() {
            out.push_str(text.get(from..span.start).unwrap_or_default());
            // Package managers take the last one.
            if number == last {
                out.push_str(location);
            }
            from = span.end;
        }
        out.push_str(text.get(from..).unwrap_or_default());
        out.push('\n');
        out
    }

    /// `name-version-release.arch.rpm`.
    pub fn canonical_file_name(&self) -> String {
        format!("{}-{}-{}.{}.rpm", self.name.trim(), self.version.trim(), self.release.trim(), self.arch.trim())
    }

    /// Whether the file's name is the one the package would have.
    pub fn is_named_as_usual(&self, href: &str) -> bool {
        let file = file_name(href);
        // A package with parts that may not be given away calls itself src and its file nosrc.
        file == self.canonical_file_name()
            || (self.arch.trim() == "src"
                && file
                    .strip_suffix(".nosrc.rpm")
                    .is_some_and(|stem| self.canonical_file_name().strip_suffix(".src.rpm") == Some(stem)))
    }
}

/// What [`Primary::checked`] makes of the texts.
#[derive(Debug)]
pub(crate) struct Checked {
    pub epoch: u32,
    /// Of the package file.
    pub digest: Digest,
    /// Of the package file, bytes.
    pub size: u64,
    /// Relative path without tricks.
    pub href: String,
}

fn check_word(text: &str, limit: usize) -> Result<(), String> {
    if text.is_empty() {
        return Err("is not given".to_owned());
    }
    if text.len() > limit {
        return Err(format!("is longer than {limit} bytes"));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/') {
        return Err(format!("{} holds a space, a slash or a control character", cut(text)));
    }
    Ok(())
}

fn foreign(tag: &Tag<'_>) -> bool {
    let prefixed = |name: &str| name.split_once(':').is_some_and(|(prefix, _)| !matches!(prefix, "rpm" | "xml" | "xmlns"));
    prefixed(tag.name) || tag.attributes().any(|(name, _)| prefixed(name))
}

/// Whether any name of this fragment has a prefix that we do not declare for all.
pub(crate) fn has_foreign_prefix(tag: &Tag<'_>) -> bool {
    foreign(tag)
}

/// The last part of a path.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A name that needs no escaping in URLs, XML or file systems.
pub(crate) fn sanitised(name: &str) -> String {
    /// Longest name kept, bytes: what file systems take.
    const FILE_NAME_MAX_BYTES: usize = 255;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '~' | '^');
    let name: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let name = name.trim_start_matches(['.', '-']);
    match name.get(name.len().saturating_sub(FILE_NAME_MAX_BYTES)..) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => "package.rpm".to_owned(),
    }
}

/// The location of a package that this server serves.
pub(crate) fn served_location(digest: &Digest, href: &str) -> String {
    format!("<location href=\"packages/{digest}/{}\"/>", sanitised(file_name(href)))
}

/// The location of a package that hosts take from the upstream itself.
pub(crate) fn upstream_location(base: &str, href: &str) -> String {
    format!("<location xml:base=\"{}\" href=\"{}\"/>", escape(base), escape(href))
}

/// The name part of `name-version-release.src.rpm`; empty when it is none.
pub(crate) fn source_name(source_rpm: &str) -> &str {
    let stem = source_rpm.strip_suffix(".rpm").and_then(|stem| stem.rsplit_once('.')).map(|(stem, _)| stem);
    let name = stem.and_then(|stem| stem.rsplit_once('-')).and_then(|(rest, _)| rest.rsplit_once('-'));
    name.map_or("", |(name, _)| name)
}

/// Whether hosts of the listed architectures (none = all) may use packages of this one. `noarch` fits everywhere, source
/// packages only when asked for.
pub(crate) fn wanted_arch(arch: &str, wanted: &[String]) -> bool {
    if wanted.is_empty() {
        return true;
    }
    if arch == "noarch" || wanted.iter().any(|w| w == arch) {
        return true;
    }
    arch == "nosrc" && wanted.iter().any(|w| w == "src")
}

/// Weak algorithms that a finding is worth.
pub(crate) fn is_weak(digest: &Digest) -> bool {
    digest.alg() == Alg::Sha1
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn package(inner: &str) -> String {
        format!(
            "<package type=\"rpm\">\n  <name>dd</name><arch>x86_64</arch><version epoch=\"1\" ver=\"1.0\" rel=\"2\"/>\
             <checksum type=\"sha256\" pkgid=\"YES\">{DIGEST}</checksum><summary>a &amp; b</summary><description/>\
             <time file=\"1\" build=\"17\"/><size package=\"12\" installed=\"3\" archive=\"4\"/>{inner}\
             <format><rpm:sourcerpm>dd-src-1.0-2.src.rpm</rpm:sourcerpm><rpm:requires><rpm:entry name=\"x\"/></rpm:requires>\
             <file>/bin/x</file></format></package>"
        )
    }

    #[test]
    fn facts_and_bytes() {
        let text = package("<location href=\"Packages/dd-1.0-2.x86_64.rpm\"/>");
        let primary = Primary::parse(&text).unwrap();
        let checked = primary.checked().unwrap();
        assert_eq!((&*primary.name, &*primary.arch, checked.epoch), ("dd", "x86_64", 1));
        assert_eq!((checked.size, primary.build_time), (12, Some(17)));
        assert_eq!(checked.href, "Packages/dd-1.0-2.x86_64.rpm");
        assert!(primary.is_named_as_usual(&checked.href));
        assert_eq!(source_name(&primary.source_rpm), "dd-src");
        let rewritten = primary.rewritten(&text, &served_location(&checked.digest, &checked.href), " xmlns:q='x'");
        let want = format!("<location href=\"packages/sha256-{DIGEST}/dd-1.0-2.x86_64.rpm\"/>");
        assert_eq!(rewritten, text.replace("<location href=\"Packages/dd-1.0-2.x86_64.rpm\"/>", &want) + "\n");
    }

    #[test]
    fn locations_of_every_form_are_replaced() {
        for form in [
            "<location href='a/dd.rpm'></location>",
            "<location href='first.rpm'/><location xml:base='http://x/y/' href='a/dd.rpm' />",
            "<location href='a/dd.rpm'>\n<!-- c --></location>",
        ] {
            let text = package(form);
            let primary = Primary::parse(&text).unwrap();
            assert_eq!(primary.checked().unwrap().href, "a/dd.rpm", "{form}");
            let rewritten = primary.rewritten(&text, "<location href=\"ours\"/>", "");
            assert_eq!(rewritten, package("<location href=\"ours\"/>") + "\n", "{form}");
        }
    }

    #[test]
    fn foreign_prefixes_take_their_declaration_along() {
        let text = package("<location href='dd.rpm'/><suse:x/>");
        let rewritten = Primary::parse(&text).unwrap().rewritten(&text, "<location href='o'/>", " xmlns:suse=\"c\"");
        assert!(rewritten.starts_with("<package xmlns:suse=\"c\" type=\"rpm\">"), "{rewritten}");
    }

    #[test]
    fn unusable_packages_are_named() {
        let good = package("<location href='dd.rpm'/>");
        for (from, to, why) in [
            ("<name>dd</name>", "", "name is not given"),
            ("<name>dd</name>", "<name>d d</name>", "holds a space"),
            ("<name>dd</name>", "<name>../dd</name>", "slash"),
            ("<arch>x86_64</arch>", "", "architecture is not given"),
            ("ver=\"1.0\"", "", "version is not given"),
            ("epoch=\"1\"", "epoch=\"-1\"", "epoch"),
            ("package=\"12\"", "package=\"many\"", "size"),
            ("dd.rpm", "../../../etc/passwd", "leaves"),
            ("dd.rpm", "/etc/passwd", "absolute"),
            ("dd.rpm", "http://other/dd.rpm", "scheme"),
            ("dd.rpm", "", "names nothing"),
            ("href='dd.rpm'", "href='dd.rpm' xml:base='file:///'", "neither an http"),
            (DIGEST, "abc", "checksum"),
            ("type=\"rpm\"", "type=\"deb\"", "type deb"),
        ] {
            let text = good.replace(from, to);
            let error = Primary::parse(&text).unwrap().checked().unwrap_err();
            assert!(matches!(error, PrimaryError::Unusable { .. }) && error.to_string().contains(why), "{to}: {error}");
        }
        let long = good.replace("<name>dd</name>", &format!("<name>{}</name>", "x".repeat(1 << 20)));
        let error = Primary::parse(&long).unwrap().checked().unwrap_err();
        assert!(error.to_string().contains("longer than 255") && error.to_string().len() < 500, "{error}");
        let md5 = good.replace("sha256", "md5");
        assert!(matches!(Primary::parse(&md5).unwrap().checked().unwrap_err(), PrimaryError::Checksum { .. }));
        let sha1 = good.replace("type=\"sha256\"", "type=\"sha\"").replace(DIGEST, &DIGEST[..40]);
        assert!(is_weak(&Primary::parse(&sha1).unwrap().checked().unwrap().digest));
    }

    #[test]
    fn names_of_files() {
        assert_eq!(sanitised("a b%2f?x.rpm"), "a_b_2f_x.rpm");
        assert_eq!(sanitised("..."), "package.rpm");
        assert_eq!(sanitised(&"ä".repeat(500)).len(), 255);
        assert_eq!(sanitised("gcc-c++-1^2~3.rpm"), "gcc-c++-1^2~3.rpm");
        assert_eq!(source_name("a-b-1-2.src.rpm"), "a-b");
        assert_eq!(source_name("nonsense"), "");
    }

    #[test]
    fn architectures() {
        let wanted = ["x86_64".to_owned(), "i686".to_owned()];
        for (arch, taken) in [("x86_64", true), ("noarch", true), ("i686", true), ("aarch64", false), ("src", false)] {
            assert_eq!(wanted_arch(arch, &wanted), taken, "{arch}");
            assert!(wanted_arch(arch, &[]));
        }
        assert!(wanted_arch("nosrc", &["src".to_owned()]));
    }
}

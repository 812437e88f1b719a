//! The three fragments of a package made from its header: the facts createrepo_c would write, so that hosts see no
//! difference between an upstream's package and an uploaded one.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::header::Header;
use super::primary::{served_location, source_name};
use super::xml::{escape, escape_into};
use crate::digest::Sha256;
use crate::snapshot::{UnitRecord, rpm_version};

/// Changelog entries written, as other repositories have them.
const CHANGELOGS: usize = 10;

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const SUMMARY: u32 = 1004;
const DESCRIPTION: u32 = 1005;
const BUILD_TIME: u32 = 1006;
const BUILD_HOST: u32 = 1007;
const SIZE: u32 = 1009;
const VENDOR: u32 = 1011;
const LICENSE: u32 = 1014;
const PACKAGER: u32 = 1015;
const GROUP: u32 = 1016;
const URL: u32 = 1020;
const ARCH: u32 = 1022;
const FILE_MODES: u32 = 1030;
const FILE_FLAGS: u32 = 1037;
const SOURCE_RPM: u32 = 1044;
const ARCHIVE_SIZE: u32 = 1046;
const CHANGELOG_TIME: u32 = 1080;
const CHANGELOG_NAME: u32 = 1081;
const CHANGELOG_TEXT: u32 = 1082;
const SOURCE_PACKAGE: u32 = 1106;
const DIR_INDEXES: u32 = 1116;
const BASE_NAMES: u32 = 1117;
const DIR_NAMES: u32 = 1118;
const LONG_SIZE: u32 = 5009;
/// Of the signature header.
const SIGNATURE_PAYLOAD_SIZE: u32 = 1007;
const SIGNATURE_LONG_ARCHIVE_SIZE: u32 = 271;

/// Element, tag of names, of flags, of versions.
const RELATIONS: [(&str, u32, u32, u32); 8] = [
    ("provides", 1047, 1112, 1113),
    ("requires", 1049, 1048, 1050),
    ("conflicts", 1054, 1053, 1055),
    ("obsoletes", 1090, 1114, 1115),
    ("suggests", 5049, 5051, 5050),
    ("enhances", 5055, 5057, 5056),
    ("recommends", 5046, 5048, 5047),
    ("supplements", 5052, 5054, 5053),
];

/// Dependencies needed while scripts run: prerequisites, `%pre`, `%post`.
const FLAGS_PRE: u64 = 1 << 6 | 1 << 9 | 1 << 10;
const FILE_IS_GHOST: u64 = 1 << 6;
const MODE_TYPE: u64 = 0o170_000;
const MODE_DIRECTORY: u64 = 0o040_000;

/// A package file and its headers.
pub(crate) struct PackageFacts<'a> {
    pub signature: &'a Header,
    pub header: &'a Header,
    /// First byte of the main header and first behind it.
    pub header_range: (u64, u64),
    pub sha256: Sha256,
    /// Of the file, bytes.
    pub size: u64,
}

struct File<'a> {
    path: String,
    kind: &'a str,
}

struct Relation<'a> {
    name: Cow<'a, str>,
    flags: &'static str,
    version: Cow<'a, str>,
    pre: bool,
}

impl PackageFacts<'_> {
    /// Name, version and the like.
    pub fn record(&self) -> UnitRecord {
        let header = self.header;
        let epoch = header.number(EPOCH).unwrap_or(0).to_string();
        UnitRecord {
            name: header.string(NAME).into_owned(),
            arch: self.arch().into_owned(),
            version: rpm_version(&epoch, &header.string(VERSION), &header.string(RELEASE)),
            source: source_name(&header.string(SOURCE_RPM)).to_owned(),
            digest: self.sha256.digest().to_string(),
            size: self.size,
            location: String::new(),
            build_time: header.number(BUILD_TIME).and_then(|time| i64::try_from(time).ok()),
        }
    }

    fn arch(&self) -> Cow<'_, str> {
        let header = self.header;
        let source = header.has(SOURCE_PACKAGE) || (!header.has(SOURCE_RPM) && header.number(SOURCE_PACKAGE).is_some());
        if source { Cow::Borrowed("src") } else { header.string(ARCH) }
    }

    /// `name-version-release.arch.rpm`.
    pub fn file_name(&self) -> String {
        let header = self.header;
        format!("{}-{}-{}.{}.rpm", header.string(NAME), header.string(VERSION), header.string(RELEASE), self.arch())
    }

    /// Primary, filelists, other; each with a line feed.
    pub fn fragments(&self) -> [String; 3] {
        let files = self.files();
        [self.primary(&files), self.filelists(&files), self.other()]
    }

    fn files(&self) -> Vec<File<'static>> {
        let header = self.header;
        let directories = header.strings(DIR_NAMES);
        let (indexes, modes, flags) = (header.numbers(DIR_INDEXES), header.numbers(FILE_MODES), header.numbers(FILE_FLAGS));
        let names = header.strings(BASE_NAMES);
        let value = |list: &[u64], n: usize| list.get(n).copied().unwrap_or(0);
        let file = |(n, name): (usize, &Cow<'_, str>)| {
            let directory = usize::try_from(value(&indexes, n)).ok().and_then(|n| directories.get(n));
            let kind = match (value(&modes, n) & MODE_TYPE == MODE_DIRECTORY, value(&flags, n) & FILE_IS_GHOST) {
                (true, _) => "dir",
                (false, 0) => "",
                (false, _) => "ghost",
            };
            File { path: format!("{}{name}", directory.map_or("", |d| d)), kind }
        };
        names.iter().enumerate().map(file).collect()
    }

    fn primary(&self, files: &[File<'_>]) -> String {
        let header = self.header;
        let mut xml = String::from("<package type=\"rpm\">\n");
        // Writing to a string cannot fail.
        for (element, text) in [("name", header.string(NAME)), ("arch", self.arch())] {
            let _ = writeln!(xml, "  <{element}>{}</{element}>", escape(&text));
        }
        let _ = writeln!(xml, "  {}", self.version());
        let _ = writeln!(xml, "  <checksum type=\"sha256\" pkgid=\"YES\">{}</checksum>", self.sha256);
        let texts = [("summary", SUMMARY), ("description", DESCRIPTION), ("packager", PACKAGER), ("url", URL)];
        for (element, tag) in texts {
            let _ = writeln!(xml, "  <{element}>{}</{element}>", escape(&header.string(tag)));
        }
        let built = header.number(BUILD_TIME).unwrap_or(0);
        let _ = writeln!(xml, "  <time file=\"{built}\" build=\"{built}\"/>");
        let installed = header.number(LONG_SIZE).or_else(|| header.number(SIZE)).unwrap_or(0);
        let archive = header.number(ARCHIVE_SIZE).or_else(|| self.signature.number(SIGNATURE_LONG_ARCHIVE_SIZE));
        let archive = archive.or_else(|| self.signature.number(SIGNATURE_PAYLOAD_SIZE)).unwrap_or(0);
        let _ = writeln!(xml, "  <size package=\"{}\" installed=\"{installed}\" archive=\"{archive}\"/>", self.size);
        let _ = writeln!(xml, "  {}", served_location(&self.sha256.digest(), &self.file_name()));
        xml.push_str("  <format>\n");
        let rpm =
            [("license", LICENSE), ("vendor", VENDOR), ("group", GROUP), ("buildhost", BUILD_HOST), ("sourcerpm", SOURCE_RPM)];
        for (element, tag) in rpm {
            let _ = writeln!(xml, "    <rpm:{element}>{}</rpm:{element}>", escape(&header.string(tag)));
        }
        let (start, end) = self.header_range;
        let _ = writeln!(xml, "    <rpm:header-range start=\"{start}\" end=\"{end}\"/>");
        self.relations(&mut xml, files);
        for file in files.iter().filter(|file| is_primary(&file.path)) {
            xml.push_str("    ");
            write_file(&mut xml, file);
        }
        xml.push_str("  </format>\n</package>\n");
        xml
    }

    fn version(&self) -> String {
        let header = self.header;
        let [version, release] = [VERSION, RELEASE].map(|tag| escape(&header.string(tag)));
        format!("<version epoch=\"{}\" ver=\"{version}\" rel=\"{release}\"/>", header.number(EPOCH).unwrap_or(0))
    }

    fn relations(&self, xml: &mut String, files: &[File<'_>]) {
        for (element, names, flags, versions) in RELATIONS {
            let mut relations = self.relation(names, flags, versions);
            if element == "requires" {
                relations = self.needed(relations, files);
            }
            if relations.is_empty() {
                continue;
            }
            let _ = writeln!(xml, "    <rpm:{element}>");
            for relation in &relations {
                write_relation(xml, relation);
            }
            let _ = writeln!(xml, "    </rpm:{element}>");
        }
    }

    fn relation(&self, names: u32, flags: u32, versions: u32) -> Vec<Relation<'_>> {
        let (flags, mut versions) = (self.header.numbers(flags), self.header.strings(versions).into_iter());
        let relation = |(n, name)| {
            let flags = flags.get(n).copied().unwrap_or(0);
            let flags_text = match flags >> 1 & 0b111 {
                0b001 => "LT",
                0b010 => "GT",
                0b100 => "EQ",
                0b101 => "LE",
                0b110 => "GE",
                _ => "",
            };
            let version = versions.next().unwrap_or_default();
            Relation { name, flags: flags_text, version, pre: flags & FLAGS_PRE != 0 }
        };
        self.header.strings(names).into_iter().enumerate().map(relation).collect()
    }

    /// Requirements that say something to a resolver: none on rpm itself, none that the package fulfils, none twice; of
    /// the C library's symbol versions the highest, which includes the others.
    fn needed<'a>(&self, relations: Vec<Relation<'a>>, files: &[File<'_>]) -> Vec<Relation<'a>> {
        let provided: HashSet<String> = self.header.strings(RELATIONS[0].1).into_iter().map(Cow::into_owned).collect();
        let own: HashSet<&str> = files.iter().map(|file| file.path.as_str()).filter(|path| is_primary(path)).collect();
        let mut seen: HashMap<String, (&'static str, String, bool)> = HashMap::new();
        let mut libc: Option<Relation<'a>> = None;
        let mut needed = Vec::new();
        for relation in relations {
            let name = relation.name.as_ref();
            if name.starts_with("rpmlib(") || own.contains(name) || provided.contains(name) {
                continue;
            }
            let same = (relation.flags, relation.version.to_string(), relation.pre);
            if seen.insert(name.to_owned(), same.clone()) == Some(same) {
                continue;
            }
            if name.starts_with("libc.so.6") {
                if libc.as_ref().is_none_or(|libc| symbol_version(&libc.name) < symbol_version(name)) {
                    libc = Some(relation);
                }
                continue;
            }
            needed.push(relation);
        }
        needed.extend(libc);
        needed
    }

    fn filelists(&self, files: &[File<'_>]) -> String {
        let mut xml = self.list_start();
        for file in files {
            xml.push_str("  ");
            write_file(&mut xml, file);
        }
        xml.push_str("</package>\n");
        xml
    }

    fn list_start(&self) -> String {
        let name = escape(&self.header.string(NAME));
        let arch = escape(&self.arch());
        format!("<package pkgid=\"{}\" name=\"{name}\" arch=\"{arch}\">\n  {}\n", self.sha256, self.version())
    }

    fn other(&self) -> String {
        let header = self.header;
        let mut xml = self.list_start();
        let (times, names) = (header.numbers(CHANGELOG_TIME), header.strings(CHANGELOG_NAME));
        let texts = header.strings(CHANGELOG_TEXT);
        // The header has the newest first; entries of one moment are told apart by a second.
        let mut entries: Vec<_> = times.into_iter().zip(names).zip(texts).take(CHANGELOGS).collect();
        entries.reverse();
        let mut last = 0;
        for ((time, name), text) in entries {
            let date = if time <= last { last + 1 } else { time };
            last = date;
            let author = escape(name.trim_end());
            let _ = writeln!(xml, "  <changelog author=\"{author}\" date=\"{date}\">{}</changelog>", escape(&text));
        }
        xml.push_str("</package>\n");
        xml
    }
}

/// Paths that `primary.xml` lists: those that packages commonly require.
fn is_primary(path: &str) -> bool {
    path.starts_with("/etc/") || path.contains("bin/") || path == "/usr/lib/sendmail"
}

fn write_file(xml: &mut String, file: &File<'_>) {
    xml.push_str("<file");
    if !file.kind.is_empty() {
        xml.extend([" type=\"", file.kind, "\""]);
    }
    xml.push('>');
    escape_into(xml, &file.path);
    xml.push_str("</file>\n");
}

fn write_relation(xml: &mut String, relation: &Relation<'_>) {
    let _ = write!(xml, "      <rpm:entry name=\"{}\"", escape(&relation.name));
    if !relation.flags.is_empty() {
        let _ = write!(xml, " flags=\"{}\"", relation.flags);
        let (epoch, rest) = relation.version.split_once(':').unwrap_or(("0", &relation.version));
        let (version, release) = rest.split_once('-').map_or((rest, None), |(version, release)| (version, Some(release)));
        let _ = write!(xml, " epoch=\"{}\" ver=\"{}\"", escape(epoch), escape(version));
        if let Some(release) = release {
            let _ = write!(xml, " rel=\"{}\"", escape(release));
        }
    }
    if relation.pre {
        xml.push_str(" pre=\"1\"");
    }
    xml.push_str("/>\n");
}

/// The number in `libc.so.6(GLIBC_2.3.4)(64bit)`; none of `libc.so.6()(64bit)`.
fn symbol_version(name: &str) -> Vec<u64> {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inner, _)| inner);
    let digits = inner.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split('.').map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_symbol_version_wins() {
        let mut names = ["libc.so.6(GLIBC_2.34)(64bit)", "libc.so.6()(64bit)", "libc.so.6(GLIBC_2.4)(64bit)", "libc.so.6"];
        names.sort_by_key(|name| symbol_version(name));
        assert_eq!(names[3], "libc.so.6(GLIBC_2.34)(64bit)");
        assert_eq!(names[2], "libc.so.6(GLIBC_2.4)(64bit)");
    }
}

//! Metadata of repositories as large as a distribution's, without the packages: what synchronisation is measured on.
//!
//! Seeded and streamed: the same arguments make the same bytes, and memory does not grow with the repository. The shape
//! follows real ones: a yum repository of 7,000 names with six versions each (primary about 60 MiB, as many bytes of
//! file lists), a Debian suite of 63,000 packages (Packages about 47 MB). Absent: package files; asking for one is 404.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use super::{SigningKey, TOOL_LIMIT, cached};
use crate::command::run;

/// Names of the large yum repository.
pub const LARGE_NAMES: u32 = 7_000;
/// Versions of each name.
pub const LARGE_VERSIONS: u32 = 6;
/// Advisories of the large yum repository; each names three packages.
const LARGE_ADVISORIES: u32 = 4_000;
/// Packages of the large Debian suite.
pub const LARGE_DEBS: u32 = 63_000;
/// Suite of the large Debian repository.
pub const LARGE_SUITE: &str = "large";
/// Change it when the generator writes other bytes.
const EDITION: u32 = 1;

/// What "bytes of text" are made of.
const WORDS: [&str; 24] = [
    "library",
    "support",
    "system",
    "kernel",
    "network",
    "module",
    "configuration",
    "for",
    "the",
    "and",
    "with",
    "tools",
    "daemon",
    "client",
    "server",
    "python",
    "development",
    "headers",
    "runtime",
    "graphics",
    "driver",
    "protocol",
    "parser",
    "common",
];

/// Deterministic numbers (splitmix64, public domain).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn words(&mut self, count: u64) -> String {
        let mut text = String::new();
        for _ in 0..count {
            let word = WORDS[self.below(WORDS.len() as u64) as usize];
            text.push_str(if text.is_empty() { "" } else { " " });
            text.push_str(word);
        }
        text
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A name such as `libkernel-tools-0042`: names share prefixes, as real ones do.
fn name_of(index: u32) -> String {
    let mut numbers = Numbers(u64::from(index) ^ 0x6e61_6d65);
    let first = WORDS[numbers.below(24) as usize];
    let second = WORDS[numbers.below(24) as usize];
    format!("{}{first}-{second}-{index:05}", if numbers.below(3) == 0 { "lib" } else { "" })
}

/// A file that is hashed twice while it is written: as it is, and before compression.
struct Metadata {
    path: PathBuf,
    encoder: GzEncoder<BufWriter<File>>,
    raw: Sha256,
    raw_size: u64,
}

impl Metadata {
    fn create(path: PathBuf) -> Result<Self> {
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        // createrepo_c's own level is the default one; the lowest makes the generator three times as fast and the
        // synchronisation's work a little larger, not smaller.
        let encoder = GzEncoder::new(BufWriter::new(file), Compression::new(4));
        Ok(Self { path, encoder, raw: Sha256::new(), raw_size: 0 })
    }

    fn text(&mut self, text: &str) -> Result<()> {
        self.raw.update(text.as_bytes());
        self.raw_size += text.len() as u64;
        self.encoder.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Closes the file and gives its `<data>` element.
    fn finish(self, kind: &str) -> Result<String> {
        self.encoder.finish()?.into_inner().map_err(|e| e.into_error())?.sync_all()?;
        let bytes = fs::read(&self.path)?;
        let sum = hex(&Sha256::digest(&bytes));
        let file = self.path.file_name().and_then(|n| n.to_str()).context("a metadata file has a name")?;
        Ok(format!(
            "  <data type=\"{kind}\">\n    <checksum type=\"sha256\">{sum}</checksum>\n    <open-checksum type=\"sha256\">{}</open-checksum>\n    <location href=\"repodata/{file}\"/>\n    <timestamp>1700000000</timestamp>\n    <size>{}</size>\n    <open-size>{}</open-size>\n  </data>\n",
            hex(&self.raw.finalize()),
            bytes.len(),
            self.raw_size
        ))
    }
}

/// One package of the large yum repository.
struct Rpm {
    name: String,
    version: String,
    release: String,
    arch: &'static str,
    pkgid: String,
    numbers: Numbers,
}

impl Rpm {
    fn new(index: u32, version: u32) -> Self {
        let mut numbers = Numbers((u64::from(index) << 8) | u64::from(version));
        let name = name_of(index);
        let arch = if index.is_multiple_of(9) { "noarch" } else { "x86_64" };
        let version = format!("{}.{}", 1 + index % 7, version);
        let release = format!("{}.el9", 1 + numbers.below(40));
        let pkgid = hex(&Sha256::digest(format!("{name} {version} {release}").as_bytes()));
        Self { name, version, release, arch, pkgid, numbers }
    }

    fn primary(&mut self) -> String {
        let Self { name, version, release, arch, pkgid, numbers } = self;
        let size = 10_000 + numbers.below(4_000_000);
        let summary = numbers.words(7);
        let length = 30 + numbers.below(30);
        let description = numbers.words(length);
        let mut text = format!(
            "<package type=\"rpm\">\n  <name>{name}</name>\n  <arch>{arch}</arch>\n  <version epoch=\"0\" ver=\"{version}\" rel=\"{release}\"/>\n  <checksum type=\"sha256\" pkgid=\"YES\">{pkgid}</checksum>\n  <summary>{summary}</summary>\n  <description>{description}</description>\n  <packager>Large Repository &lt;builds@large.invalid&gt;</packager>\n  <url>https://{name}.invalid/</url>\n  <time file=\"1700000100\" build=\"{}\"/>\n  <size package=\"{size}\" installed=\"{}\" archive=\"{}\"/>\n  <location href=\"Packages/{}/{name}-{version}-{release}.{arch}.rpm\"/>\n  <format>\n    <rpm:license>GPL-2.0-or-later</rpm:license>\n    <rpm:vendor>Large</rpm:vendor>\n    <rpm:group>System Environment/Libraries</rpm:group>\n    <rpm:buildhost>build.large.invalid</rpm:buildhost>\n    <rpm:sourcerpm>{name}-{version}-{release}.src.rpm</rpm:sourcerpm>\n    <rpm:header-range start=\"4504\" end=\"{}\"/>\n    <rpm:provides>\n      <rpm:entry name=\"{name}\" flags=\"EQ\" epoch=\"0\" ver=\"{version}\" rel=\"{release}\"/>\n      <rpm:entry name=\"{name}(x86-64)\" flags=\"EQ\" epoch=\"0\" ver=\"{version}\" rel=\"{release}\"/>\n    </rpm:provides>\n    <rpm:requires>\n",
            1_690_000_000 + numbers.below(9_000_000),
            size * 3,
            size * 3 + 400,
            &name[..1],
            size / 7,
        );
        for _ in 0..numbers.below(5) {
            let _ = writeln!(text, "      <rpm:entry name=\"{}\"/>", name_of(numbers.below(u64::from(LARGE_NAMES)) as u32));
        }
        let _ = write!(
            text,
            "      <rpm:entry name=\"libc.so.6(GLIBC_2.34)(64bit)\"/>\n      <rpm:entry name=\"rtld(GNU_HASH)\"/>\n    </rpm:requires>\n    <file>/usr/bin/{name}</file>\n    <file>/etc/{name}.conf</file>\n  </format>\n</package>\n"
        );
        text
    }

    /// The element of filelists and of other begins alike.
    fn begin(&self) -> String {
        let Self { name, version, release, arch, pkgid, .. } = self;
        format!(
            "<package pkgid=\"{pkgid}\" name=\"{name}\" arch=\"{arch}\">\n  <version epoch=\"0\" ver=\"{version}\" rel=\"{release}\"/>\n"
        )
    }

    fn file_list(&mut self) -> String {
        let mut text = self.begin();
        let name = self.name.clone();
        let _ = write!(
            text,
            "  <file>/usr/bin/{name}</file>\n  <file>/etc/{name}.conf</file>\n  <file type=\"dir\">/usr/share/{name}</file>\n"
        );
        for number in 0..4 + self.numbers.below(22) {
            let _ = writeln!(text, "  <file>/usr/share/{name}/{}/{number:03}.dat</file>", WORDS[self.numbers.below(24) as usize]);
        }
        text.push_str("</package>\n");
        text
    }

    fn changes(&mut self) -> String {
        let mut text = self.begin();
        for number in 0..3 {
            let what = self.numbers.words(9);
            let _ = writeln!(
                text,
                "  <changelog author=\"Builder &lt;builds@large.invalid&gt; - {}-{number}\" date=\"{}\">- {what}</changelog>",
                self.version,
                1_600_000_000 + number * 86_400
            );
        }
        text.push_str("</package>\n");
        text
    }
}

/// Writes the yum metadata of `names` × `versions` packages and, after them, `extra` further packages of new names.
///
/// # Errors
/// When the directory cannot be written.
pub fn write_yum(dir: &Path, names: u32, versions: u32, extra: u32) -> Result<()> {
    let repodata = dir.join("repodata");
    fs::create_dir_all(&repodata).with_context(|| format!("cannot create {}", repodata.display()))?;
    let count = names * versions + extra;
    let mut primary = Metadata::create(repodata.join("primary.xml.gz"))?;
    let mut filelists = Metadata::create(repodata.join("filelists.xml.gz"))?;
    let mut other = Metadata::create(repodata.join("other.xml.gz"))?;
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    primary.text(&format!("{head}<metadata xmlns=\"http://linux.duke.edu/metadata/common\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{count}\">\n"))?;
    filelists.text(&format!("{head}<filelists xmlns=\"http://linux.duke.edu/metadata/filelists\" packages=\"{count}\">\n"))?;
    other.text(&format!("{head}<otherdata xmlns=\"http://linux.duke.edu/metadata/other\" packages=\"{count}\">\n"))?;
    let all = (0..names).flat_map(|name| (0..versions).map(move |version| (name, version)));
    for (name, version) in all.chain((names..names + extra).map(|name| (name, 0))) {
        let mut package = Rpm::new(name, version);
        primary.text(&package.primary())?;
        filelists.text(&package.file_list())?;
        other.text(&package.changes())?;
    }
    primary.text("</metadata>\n")?;
    filelists.text("</filelists>\n")?;
    other.text("</otherdata>\n")?;
    let mut updateinfo = Metadata::create(repodata.join("updateinfo.xml.gz"))?;
    updateinfo.text(&format!("{head}<updates>\n"))?;
    for number in 0..LARGE_ADVISORIES.min(names) {
        updateinfo.text(&advisory(number, names, versions))?;
    }
    updateinfo.text("</updates>\n")?;
    let mut repomd = format!(
        "{head}<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n  <revision>1700000000</revision>\n"
    );
    for (file, kind) in [(primary, "primary"), (filelists, "filelists"), (other, "other"), (updateinfo, "updateinfo")] {
        repomd.push_str(&file.finish(kind)?);
    }
    repomd.push_str("</repomd>\n");
    fs::write(repodata.join("repomd.xml"), repomd).context("cannot write repomd.xml")
}

fn advisory(number: u32, names: u32, versions: u32) -> String {
    let kind = ["security", "bugfix", "enhancement"][(number % 3) as usize];
    let mut text = format!(
        "<update from=\"errata@large.invalid\" status=\"final\" type=\"{kind}\" version=\"1\">\n  <id>LARGE-{}:{number:05}</id>\n  <title>{kind} update {number}</title>\n  <issued date=\"2026-0{}-{:02} 00:00:00\"/>\n  <severity>Important</severity>\n  <description>An update.</description>\n  <pkglist>\n    <collection short=\"large\">\n      <name>Large</name>\n",
        ["LSA", "LBA", "LEA"][(number % 3) as usize],
        1 + number % 9,
        1 + number % 28
    );
    for offset in 0..3 {
        let Rpm { name, version, release, arch, .. } = Rpm::new((number + offset * 11) % names, versions.saturating_sub(1));
        let _ = write!(
            text,
            "      <package name=\"{name}\" version=\"{version}\" release=\"{release}\" epoch=\"0\" arch=\"{arch}\" src=\"{name}-{version}-{release}.src.rpm\">\n        <filename>{name}-{version}-{release}.{arch}.rpm</filename>\n      </package>\n"
        );
    }
    text.push_str("    </collection>\n  </pkglist>\n</update>\n");
    text
}

/// The cached large yum repository: 42,000 packages, and `extra` more.
///
/// # Errors
/// When it cannot be written.
pub fn large_yum(extra: u32) -> Result<PathBuf> {
    cached("large-yum", &format!("{EDITION} {LARGE_NAMES} {LARGE_VERSIONS} {extra}"), |dir| {
        write_yum(dir, LARGE_NAMES, LARGE_VERSIONS, extra)
    })
}

/// One stanza of the large Debian suite.
fn stanza(index: u32) -> String {
    let mut numbers = Numbers(u64::from(index) ^ 0x0064_6562);
    let name = name_of(index);
    let version = format!("{}.{}-{}", 1 + index % 9, numbers.below(30), 1 + numbers.below(5));
    let arch = if index.is_multiple_of(3) { "all" } else { "amd64" };
    let sum = hex(&Sha256::digest(format!("{name} {version}").as_bytes()));
    let mut depends = String::from("libc6 (>= 2.34)");
    for _ in 0..1 + numbers.below(6) {
        let _ = write!(depends, ", {} (>= {})", name_of(numbers.below(u64::from(LARGE_DEBS)) as u32), numbers.below(9));
    }
    format!(
        "Package: {name}\nVersion: {version}\nInstalled-Size: {}\nMaintainer: Large Maintainers <maintainers@large.invalid>\nArchitecture: {arch}\nDepends: {depends}\nDescription: {}\nDescription-md5: {}\nHomepage: https://{name}.invalid/\nTag: implemented-in::c, role::program, scope::utility\nSection: libs\nPriority: optional\nFilename: pool/main/{}/{name}/{name}_{version}_{arch}.deb\nSize: {}\nMD5sum: {}\nSHA256: {sum}\n\n",
        100 + numbers.below(90_000),
        numbers.words(8),
        &sum[..32],
        &name[..1],
        10_000 + numbers.below(9_000_000),
        &sum[32..],
    )
}

/// Writes and signs a Debian suite of `packages` packages; `key.asc` beside `dists` holds the key.
fn write_apt(dir: &Path, packages: u32) -> Result<()> {
    let suite = dir.join("dists").join(LARGE_SUITE);
    let index = suite.join("main/binary-amd64");
    fs::create_dir_all(&index).with_context(|| format!("cannot create {}", index.display()))?;
    let plain = index.join("Packages");
    let mut file = BufWriter::new(File::create(&plain).context("cannot create Packages")?);
    for number in 0..packages {
        file.write_all(stanza(number).as_bytes()).context("cannot write Packages")?;
    }
    file.into_inner().map_err(|e| e.into_error())?.sync_all()?;
    // Debian's own archive offers xz; level 6 is what it uses.
    run(Command::new("xz").args(["--keep", "--threads=1", "-6"]).arg(&plain), TOOL_LIMIT)?.success()?;
    let mut release = Command::new("apt-ftparchive");
    for (field, value) in [
        ("Origin", "Large"),
        ("Label", "Large"),
        ("Suite", LARGE_SUITE),
        ("Codename", LARGE_SUITE),
        ("Architectures", "amd64"),
        ("Components", "main"),
    ] {
        release.arg("-o").arg(format!("APT::FTPArchive::Release::{field}={value}"));
    }
    let text = run(release.arg("release").arg(&suite), TOOL_LIMIT)?.success()?;
    fs::write(suite.join("Release"), text).context("cannot write Release")?;
    // As in Debian's archive the plain file is named by Release and not kept.
    fs::remove_file(&plain).context("cannot remove Packages")?;
    let key = SigningKey::generate()?;
    key.sign_release(&suite)?;
    key.export(&dir.join("key.asc"))
}

/// The cached large Debian repository: 63,000 packages in one suite, xz as Debian's archive has it, signed.
///
/// # Errors
/// When it cannot be written, or xz, apt-ftparchive or gpg fail.
pub fn large_apt() -> Result<PathBuf> {
    cached("large-apt", &format!("{EDITION} {LARGE_DEBS}"), |dir| write_apt(dir, LARGE_DEBS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_arguments_make_the_same_bytes() {
        let (one, two) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        for dir in [&one, &two] {
            write_yum(dir.path(), 20, 3, 1).expect("written");
        }
        for file in ["repomd.xml", "primary.xml.gz", "filelists.xml.gz", "other.xml.gz", "updateinfo.xml.gz"] {
            let read = |dir: &tempfile::TempDir| fs::read(dir.path().join("repodata").join(file)).expect("read");
            assert_eq!(read(&one), read(&two), "{file}");
        }
        assert_ne!(stanza(1), stanza(2));
    }
}

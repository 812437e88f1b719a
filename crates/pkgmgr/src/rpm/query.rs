//! `rpm -qa` and `rpm -q`: fields separated by the byte 0x1f, which no field can hold (␟ below). rpm 4.14 to 6.1:
//!
//! ```text
//! openssl-libs␟x86_64␟1␟3.0.7␟27.el9␟openssl-3.0.7-27.el9.src.rpm␟1718000000␟Oracle America
//! gpg-pubkey␟(none)␟␟8d8b756f␟629e59ec␟(none)␟1717999999␟(none)
//! package kernel-rt is not installed
//! ```
//!
//! gpg-pubkey entries are imported keys, not packages, and are left out.

use std::path::Path;

use drydock_domain::inventory::Package;
use drydock_domain::limits::PACKAGE_FIELD_MAX_BYTES;

use crate::exec::QUERY_TIME_LIMIT;
use crate::run::CommandSpec;

const SEPARATOR: char = '\u{1f}';
const LABEL: &str = "rpm -qa";

/// One installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub package: Package,
    /// Seconds since 1970.
    pub installed_at: i64,
}

fn format() -> String {
    let fields =
        ["%{NAME}", "%{ARCH}", "%|EPOCH?{%{EPOCH}}|", "%{VERSION}", "%{RELEASE}", "%{SOURCERPM}", "%{INSTALLTIME}", "%{VENDOR}"];
    format!("{}\\n", fields.join(&SEPARATOR.to_string()))
}

/// Everything.
pub(crate) fn all() -> CommandSpec {
    CommandSpec::new("rpm", LABEL, QUERY_TIME_LIMIT).args(["-qa".to_owned(), "--queryformat".to_owned(), format()])
}

/// These packages; names that are not installed are said in words.
pub(crate) fn named(names: &[&str]) -> CommandSpec {
    CommandSpec::new("rpm", "rpm -q", QUERY_TIME_LIMIT)
        .args(["-q".to_owned(), "--queryformat".to_owned(), format()])
        .args(names.iter().copied())
}

/// Names and provides of which several versions live side by side: the defaults of yum 3, dnf and libzypp together.
const SIDE_BY_SIDE: [&str; 17] = [
    "kernel",
    "kernel-modules",
    "kernel-PAE",
    "kernel-PAE-debug",
    "kernel-bigmem",
    "kernel-enterprise",
    "kernel-smp",
    "kernel-debug",
    "kernel-unsupported",
    "kernel-source",
    "kernel-devel",
    "kernel-uek",
    "kernel-uek-devel",
    "installonlypkg(kernel)",
    "installonlypkg(kernel-module)",
    "installonlypkg(vm)",
    "multiversion(kernel)",
];
/// Where an administrator adds to them, and by which key.
const SIDE_BY_SIDE_FILES: [(&str, &str); 3] =
    [("etc/dnf/dnf.conf", "installonlypkgs"), ("etc/yum.conf", "installonlypkgs"), ("etc/zypp/zypp.conf", "multiversion")];
/// Words taken from one of these files, count.
const CONFIGURED_MAX: usize = 200;

/// All names and provides of packages that may be installed in several versions on the host at `root`.
pub(crate) fn side_by_side(root: &Path) -> Vec<String> {
    let mut words: Vec<String> = SIDE_BY_SIDE.map(str::to_owned).to_vec();
    for (file, key) in SIDE_BY_SIDE_FILES {
        // Most hosts have only one of them.
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        words.extend(configured(&text, key).into_iter().take(CONFIGURED_MAX));
    }
    words.sort_unstable();
    words.dedup();
    words
}

/// The words of `key = a, b c` in an INI file; further lines of the value begin with a space.
fn configured(text: &str, key: &str) -> Vec<String> {
    let mut inside = false;
    let mut words = Vec::new();
    for line in text.lines() {
        let value = if line.starts_with([' ', '\t']) {
            inside.then_some(line)
        } else {
            let pair = line.split_once('=').filter(|(name, _)| name.trim() == key);
            inside = pair.is_some();
            pair.map(|(_, value)| value)
        };
        let all = value.into_iter().flat_map(|v| v.split([' ', '\t', ',']));
        let named = all.map(|w| w.strip_prefix("provides:").unwrap_or(w));
        let safe = |w: &&str| !w.is_empty() && !w.starts_with('-') && w.bytes().all(|b| b.is_ascii_graphic());
        words.extend(named.filter(safe).map(str::to_owned));
    }
    words
}

/// Names of installed packages that are or provide one of `words`.
pub(crate) fn install_only(words: &[String]) -> CommandSpec {
    CommandSpec::new("rpm", "rpm -q --whatprovides", QUERY_TIME_LIMIT)
        .args(["-q", "--queryformat", "%{NAME}\\n", "--whatprovides"])
        .args(words.iter().cloned())
}

/// Reads the names of [`install_only`]; `no package provides …` lines are left out.
pub(crate) fn parse_names(text: &str) -> Vec<String> {
    text.lines().filter(|l| !l.contains(' ')).map(str::to_owned).collect()
}

/// Reads the output of [`all`].
pub(crate) fn parse(text: &str) -> Result<Vec<Entry>, String> {
    // A vendor of several lines: the first one is enough.
    let mut lines = text.lines().filter(|l| !l.is_empty()).enumerate();
    let entries = std::iter::from_fn(|| lines.find(|(n, line)| *n == 0 || line.contains(SEPARATOR))).map(|(_, l)| parse_line(l));
    entries.filter(|e| !matches!(e, Ok(entry) if entry.package.name == "gpg-pubkey")).collect()
}

/// Reads the output of [`named`].
pub(crate) fn parse_known(text: &str) -> Result<Vec<Entry>, String> {
    parse(&text.lines().filter(|l| l.contains(SEPARATOR)).collect::<Vec<_>>().join("\n"))
}

fn parse_line(line: &str) -> Result<Entry, String> {
    let fields: Vec<&str> = line.split(SEPARATOR).collect();
    let [name, arch, epoch, version, release, source, installed, vendor] = fields[..] else {
        return Err(format!("{} fields instead of 8 in {line:?}", fields.len()));
    };
    let installed_at = installed.parse().map_err(|_| format!("install time {installed:?} of {name}"))?;
    let known = |text: &str| if text == "(none)" { String::new() } else { text.to_owned() };
    let package = Package {
        name: name.to_owned(),
        arch: known(arch),
        version: evr(epoch, version, release),
        source: known(source),
        vendor: printable(&known(vendor)),
    };
    Ok(Entry { package, installed_at })
}

/// What the server takes of a text that anybody may write into a package.
fn printable(text: &str) -> String {
    let mut text: String = text.chars().filter(|c| !c.is_control()).collect();
    text.truncate(text.floor_char_boundary(PACKAGE_FIELD_MAX_BYTES));
    text
}

/// `epoch:version-release`; epoch 0 is not written.
pub(crate) fn evr(epoch: &str, version: &str, release: &str) -> String {
    match epoch {
        "" | "0" | "(none)" => format!("{version}-{release}"),
        _ => format!("{epoch}:{version}-{release}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_administrator_lets_live_side_by_side_does() {
        let dnf = "[main]\ngpgcheck=1\ninstallonlypkgs = kernel, our-module\n  our-other(x)\nclean=1\n more\n-bad=1\n";
        assert_eq!(configured(dnf, "installonlypkgs"), ["kernel", "our-module", "our-other(x)"]);
        assert_eq!(
            configured("multiversion = provides:multiversion(kernel),jdk\n", "multiversion"),
            ["multiversion(kernel)", "jdk"]
        );
        assert_eq!(configured("# installonlypkgs=a\ninstallonlypkgs=--eval\n", "installonlypkgs"), [""; 0]);
        let root = tempfile::tempdir().expect("a root");
        std::fs::create_dir_all(root.path().join("etc")).expect("etc");
        std::fs::write(root.path().join("etc/yum.conf"), "[main]\ninstallonlypkgs=our-module\n").expect("written");
        let words = side_by_side(root.path());
        assert!(["our-module", "kernel-devel", "installonlypkg(vm)"].iter().all(|w| words.iter().any(|have| have == w)));
    }

    #[test]
    fn keys_are_left_out_and_epochs_written_only_when_they_matter() {
        let text = "openssl-libs|x86_64|1|3.0.7|27.el9|openssl-3.0.7-27.el9.src.rpm|1718000000|Oracle America\n\
            bash|x86_64||5.1|2|bash-5.1-2.src.rpm|5|A\nsecond line\nz|noarch|0|1|1|(none)|6|(none)\n\
            gpg-pubkey|(none)||8d8b|629e|(none)|1|(none)\n";
        let got = parse(&text.replace('|', "\u{1f}")).expect("parses");
        let short: Vec<_> = got.iter().map(|e| (e.package.name.as_str(), e.package.version.as_str(), e.installed_at)).collect();
        assert_eq!(short, [("openssl-libs", "1:3.0.7-27.el9", 1_718_000_000), ("bash", "5.1-2", 5), ("z", "1-1", 6)]);
        let vendors: Vec<_> = got.iter().map(|e| e.package.vendor.as_str()).collect();
        assert_eq!(vendors, ["Oracle America", "A", ""]);
        assert!(parse("error: rpmdb open failed\n").is_err());
        assert_eq!(parse_known("package kernel-rt is not installed\n").expect("parses"), []);
    }
}

//! Package URLs (<https://github.com/package-url/purl-spec>): how bills of materials and scanners name packages.

use std::fmt::Write;

use crate::inventory::{OsFacts, Package};
use crate::version::Scheme;

/// What stands for the architecture of an rpm package that has none (`gpg-pubkey`).
const NO_ARCH: &str = "(none)";

/// `pkg:deb/debian/openssl@3.0.11-1?arch=amd64&distro=debian-12`,
/// `pkg:rpm/almalinux/bash@4.4.20-5.el8?arch=x86_64&distro=almalinux-8.10&epoch=1`.
pub fn purl(os: &OsFacts, scheme: Scheme, package: &Package) -> String {
    let (kind, name, version, epoch) = match scheme {
        Scheme::Deb => ("deb", package.name.to_lowercase(), package.version.as_str(), None),
        Scheme::Rpm => {
            let (epoch, version) = match package.version.split_once(':') {
                Some((epoch, version)) => (Some(epoch), version),
                None => (None, package.version.as_str()),
            };
            ("rpm", package.name.clone(), version, epoch)
        }
    };
    let mut text = format!("pkg:{kind}/");
    let os_name = os.short_name.to_lowercase();
    if !os_name.is_empty() {
        let _ = write!(text, "{}/", encoded(&os_name));
    }
    let _ = write!(text, "{}", encoded(&name));
    if !version.is_empty() {
        let _ = write!(text, "@{}", encoded(version));
    }
    let distro = match (os_name.as_str(), os.version.as_str()) {
        ("", _) => String::new(),
        (name, "") => name.to_owned(),
        (name, version) => format!("{name}-{version}"),
    };
    let arch = if package.arch == NO_ARCH { "" } else { package.arch.as_str() };
    // Qualifiers are sorted by their names, and an empty one is the same as none.
    let qualifiers =
        [("arch", arch), ("distro", distro.as_str()), ("epoch", epoch.unwrap_or_default()), ("upstream", &upstream(package))];
    let mut before = '?';
    for (key, value) in qualifiers.into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = write!(text, "{before}{key}={}", encoded(value));
        before = '&';
    }
    text
}

/// The source package, as scanners look for it: `openssl@3.0.11-1` (deb), a file name (rpm).
fn upstream(package: &Package) -> String {
    match package.source.split_once(' ') {
        Some((name, version)) => format!("{name}@{version}"),
        None => package.source.clone(),
    }
}

/// Percent-encoded, but for letters, digits, `.`, `-`, `_`, `~` and `:`.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => out.push(char::from(byte)),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn package(name: &str, version: &str, arch: &str, source: &str) -> Package {
        Package { name: name.into(), version: version.into(), arch: arch.into(), source: source.into(), ..Package::default() }
    }

    fn os(name: &str, version: &str) -> OsFacts {
        OsFacts { short_name: name.into(), version: version.into(), ..OsFacts::default() }
    }

    #[test]
    fn packages_of_both_kinds() {
        let (debian, alma) = (os("debian", "12"), os("almalinux", "8.10"));
        for (given, scheme, package, wanted) in [
            (
                &debian,
                Scheme::Deb,
                package("libssl3", "1:3.0.11-1~deb12u2+b1", "amd64", "openssl 3.0.11-1~deb12u2"),
                "pkg:deb/debian/libssl3@1:3.0.11-1~deb12u2%2Bb1?arch=amd64&distro=debian-12&upstream=openssl%403.0.11-1~deb12u2",
            ),
            (
                &alma,
                Scheme::Rpm,
                package("bind-libs", "32:9.11.36-14.el8", "x86_64", "bind-9.11.36-14.el8.src.rpm"),
                "pkg:rpm/almalinux/bind-libs@9.11.36-14.el8?arch=x86_64&distro=almalinux-8.10&epoch=32\
                 &upstream=bind-9.11.36-14.el8.src.rpm",
            ),
            (
                &alma,
                Scheme::Rpm,
                package("gpg-pubkey", "3abb34f8-5ffd890e", "(none)", ""),
                "pkg:rpm/almalinux/gpg-pubkey@3abb34f8-5ffd890e?distro=almalinux-8.10",
            ),
            (&os("", ""), Scheme::Rpm, package("libstdc++", "1^x-1", "noarch", ""), "pkg:rpm/libstdc%2B%2B@1%5Ex-1?arch=noarch"),
        ] {
            assert_eq!(purl(given, scheme, &package), wanted);
        }
    }

    proptest! {
        #[test]
        fn what_hosts_say_breaks_no_url(name in "\\PC{1,20}", version in "\\PC{0,20}", arch in "\\PC{0,8}", rpm in any::<bool>()) {
            let scheme = if rpm { Scheme::Rpm } else { Scheme::Deb };
            let text = purl(&os("debian", "12"), scheme, &package(&name, &version, &arch, ""));
            let allowed = |c: char| c.is_ascii_alphanumeric() || ":/@?&=%.-_~".contains(c);
            prop_assert!(text.chars().all(allowed), "{}", text);
            prop_assert!(text.matches('?').count() <= 1 && text.matches('@').count() <= 1);
        }
    }
}

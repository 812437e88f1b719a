//! Which systems a feed speaks of: names of releases, OSV's ecosystems, CPEs of platforms, SUSE's product names, each
//! brought to the `ID` and `VERSION_ID` of os-release(5).

use drydock_domain::advisory::{NameKind, Product};
use drydock_domain::version::Scheme;

/// Names of Debian's and Ubuntu's releases that are or may still be patched. New ones come as hints.
const CODENAMES: [(&str, &str, &str); 32] = [
    ("wheezy", "debian", "7"),
    ("jessie", "debian", "8"),
    ("stretch", "debian", "9"),
    ("buster", "debian", "10"),
    ("bullseye", "debian", "11"),
    ("bookworm", "debian", "12"),
    ("trixie", "debian", "13"),
    ("forky", "debian", "14"),
    ("duke", "debian", "15"),
    ("precise", "ubuntu", "12.04"),
    ("trusty", "ubuntu", "14.04"),
    ("xenial", "ubuntu", "16.04"),
    ("yakkety", "ubuntu", "16.10"),
    ("zesty", "ubuntu", "17.04"),
    ("artful", "ubuntu", "17.10"),
    ("bionic", "ubuntu", "18.04"),
    ("cosmic", "ubuntu", "18.10"),
    ("disco", "ubuntu", "19.04"),
    ("eoan", "ubuntu", "19.10"),
    ("focal", "ubuntu", "20.04"),
    ("groovy", "ubuntu", "20.10"),
    ("hirsute", "ubuntu", "21.04"),
    ("impish", "ubuntu", "21.10"),
    ("jammy", "ubuntu", "22.04"),
    ("kinetic", "ubuntu", "22.10"),
    ("lunar", "ubuntu", "23.04"),
    ("mantic", "ubuntu", "23.10"),
    ("noble", "ubuntu", "24.04"),
    ("oracular", "ubuntu", "24.10"),
    ("plucky", "ubuntu", "25.04"),
    ("questing", "ubuntu", "25.10"),
    ("resolute", "ubuntu", "26.04"),
];

/// Systems of SUSE's enterprise family that modules and extensions are for.
const SLE: [&str; 4] = ["sles", "sled", "sles_sap", "sle_hpc"];

/// The product of a release's name; `hints` go before what is built in.
pub(super) fn codename(hints: &[(String, Product)], name: &str) -> Option<Product> {
    let name = name.trim();
    let hint = hints.iter().find(|(key, _)| key == name).map(|(_, product)| product.clone());
    hint.or_else(|| {
        let (_, os, release) = CODENAMES.iter().find(|(key, ..)| *key == name)?;
        Some(Product::new(*os, *release))
    })
}

/// What the packages of an ecosystem are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ecosystem {
    pub products: Vec<Product>,
    pub scheme: Scheme,
    pub by: NameKind,
}

/// Reads OSV's name of an ecosystem; `None` when its systems are not ours.
pub(super) fn ecosystem(text: &str) -> Option<Ecosystem> {
    let (family, rest) = text.split_once(':')?;
    let (scheme, by) = match family {
        "Debian" | "Ubuntu" => (Scheme::Deb, NameKind::Source),
        // Rocky names the packages that were built, not what came out of it.
        "Rocky Linux" => (Scheme::Rpm, NameKind::Source),
        "AlmaLinux" | "Red Hat" | "SUSE" | "openSUSE" | "Oracle Linux" => (Scheme::Rpm, NameKind::Binary),
        _ => return None,
    };
    let numbered = |os: &str| is_release(rest).then(|| vec![Product::new(os, rest)]);
    let products = match family {
        "Debian" => numbered("debian"),
        "AlmaLinux" => numbered("almalinux"),
        "Rocky Linux" => numbered("rocky"),
        "Oracle Linux" => numbered("ol"),
        "Ubuntu" => ubuntu(rest).map(|product| vec![product]),
        "Red Hat" => red_hat(&rest.split(':').collect::<Vec<_>>()),
        _ => suse_name(text.split_once(':').map_or(text, |(family, rest)| if family == "SUSE" { rest } else { text })),
    };
    products.map(|products| Ecosystem { products, scheme, by })
}

fn is_release(text: &str) -> bool {
    text.len() <= 16 && text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// `22.04:LTS`, `25.10`, `Pro:16.04:LTS`. FIPS and real-time packages have versions of their own that must not be
/// compared with others: `Pro:FIPS:…` is none of ours.
fn ubuntu(rest: &str) -> Option<Product> {
    let rest = rest.strip_prefix("Pro:").unwrap_or(rest);
    let release = rest.strip_suffix(":LTS").unwrap_or(rest);
    is_release(release).then(|| Product::new("ubuntu", release))
}

/// The parts of a CPE behind the vendor: `enterprise_linux`, `8`, …
fn red_hat(parts: &[&str]) -> Option<Vec<Product>> {
    let (name, release) = (*parts.first()?, *parts.get(1)?);
    if !is_release(release) {
        return None;
    }
    let release = match name {
        // `10.0` here means the first minor release's repositories of the main stream.
        "enterprise_linux" => release.split('.').next().unwrap_or(release),
        "rhel_eus" | "rhel_aus" | "rhel_tus" | "rhel_e4s" | "rhel_els" | "rhel_eus_long_life" | "rhel_mission_critical" => {
            release
        }
        _ => return None,
    };
    Some(vec![Product::new("rhel", release)])
}

/// Reads a CPE of a platform, `cpe:/o:…` or `cpe:2.3:o:…`.
pub(super) fn cpe(text: &str) -> Option<Vec<Product>> {
    let rest = text.strip_prefix("cpe:/").or_else(|| text.strip_prefix("cpe:2.3:"))?;
    let parts: Vec<&str> = rest.split(':').map(|part| if matches!(part, "*" | "-") { "" } else { part }).collect();
    let vendor = *parts.get(1)?;
    let rest = parts.get(2..)?;
    match vendor {
        "redhat" => red_hat(rest),
        "suse" | "opensuse" => suse_cpe(rest),
        "almalinux" | "rocky" | "oracle" => {
            let os = match vendor {
                "oracle" => "ol",
                other => other,
            };
            let release = rest.get(1).filter(|release| is_release(release))?;
            Some(vec![Product::new(os, *release)])
        }
        _ => None,
    }
}

/// `sles`, `15`, `sp5`; `sle-module-basesystem`, `15`, `sp5`; `leap`, `15.5`; `tumbleweed`.
fn suse_cpe(parts: &[&str]) -> Option<Vec<Product>> {
    let name = parts.first()?.replace("%7e", "");
    let major = parts.get(1).copied().unwrap_or_default();
    let patch = parts.get(2).copied().unwrap_or_default();
    let base = name.split('-').next().unwrap_or_default();
    if matches!(name.as_str(), "tumbleweed" | "opensuse_tumbleweed") {
        return Some(vec![Product::new("opensuse-tumbleweed", "")]);
    }
    if !is_release(major) {
        return None;
    }
    let release = match patch.strip_prefix("sp") {
        Some(number) if is_release(number) => format!("{major}.{number}"),
        // `sles:16:16.0`
        _ if is_release(patch) => patch.to_owned(),
        _ => major.to_owned(),
    };
    suse_system(&name, base, release)
}

fn suse_system(name: &str, base: &str, release: String) -> Option<Vec<Product>> {
    let systems: &[&str] = match (name, base) {
        ("leap", _) => &["opensuse-leap"],
        ("sle-micro" | "suse-microos" | "sl-micro", _) => &["sle-micro", "suse-microos", "sl-micro"],
        (_, "sles") => &["sles"],
        (_, "sled") => &["sled"],
        (_, "sles_sap" | "sles_sap_applications") => &["sles_sap", "sles"],
        (_, "sle_hpc") => &["sle_hpc"],
        ("packagehub", _) => &SLE,
        _ if name.starts_with("sle-") || name.starts_with("sle_") => &SLE,
        _ => return None,
    };
    // The first edition of SLE has no service pack and writes its release `15` without a dot.
    Some(systems.iter().map(|os| Product::new(*os, release.clone())).collect())
}

/// Reads a product as SUSE writes it: `Linux Enterprise Server 15 SP5`, `SUSE Linux Enterprise Module for Basesystem 15
/// SP5`, `openSUSE:Leap 15.5`, `openSUSE Tumbleweed`.
pub(super) fn suse_name(text: &str) -> Option<Vec<Product>> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("openSUSE").map(|rest| rest.trim_start_matches([' ', ':'])) {
        if rest == "Tumbleweed" {
            return Some(vec![Product::new("opensuse-tumbleweed", "")]);
        }
        let release = rest.strip_prefix("Leap ").filter(|release| is_release(release))?;
        return Some(vec![Product::new("opensuse-leap", release)]);
    }
    let text = text.strip_prefix("SUSE ").unwrap_or(text);
    if let Some(release) = text.strip_prefix("Linux Enterprise Micro ").or_else(|| text.strip_prefix("Linux Micro ")) {
        return is_release(release).then(|| suse_system("sle-micro", "sle", release.to_owned())).flatten();
    }
    let rest = text.strip_prefix("Linux Enterprise ")?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let at = words.iter().position(|word| is_release(word))?;
    let major = *words.get(at)?;
    let patch = words.get(at + 1).and_then(|word| word.strip_prefix("SP")).unwrap_or_default();
    let patch: String = patch.chars().take_while(char::is_ascii_digit).collect();
    let release = if patch.is_empty() { major.to_owned() } else { format!("{major}.{patch}") };
    let name = words.get(..at).unwrap_or_default().join(" ");
    let (cpe, base) = match name.as_str() {
        "Server for SAP Applications" | "Server for SAP applications" => ("sles_sap", "sles_sap"),
        "High Performance Computing" | "High Performance Computing LTSS" | "High Performance Computing ESPOS" => {
            ("sle_hpc", "sle_hpc")
        }
        _ if name.starts_with("Desktop") => ("sled", "sled"),
        _ if name.starts_with("Server") => ("sles", "sles"),
        _ => ("sle-module", "sle"),
    };
    suse_system(cpe, base, release)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(products: Option<Vec<Product>>) -> String {
        let one = |p: &Product| format!("{} {}", p.os, p.release).trim().to_owned();
        products.map_or("-".into(), |list| list.iter().map(one).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn ecosystems() {
        for (text, want) in [
            ("AlmaLinux:8", "almalinux 8"),
            ("Rocky Linux:9", "rocky 9"),
            ("Debian:12", "debian 12"),
            ("Debian", "-"),
            ("Ubuntu:22.04:LTS", "ubuntu 22.04"),
            ("Ubuntu:25.10", "ubuntu 25.10"),
            ("Ubuntu:Pro:16.04:LTS", "ubuntu 16.04"),
            ("Ubuntu:Pro:FIPS-updates:20.04:LTS", "-"),
            ("Ubuntu:Pro:22.04:LTS:Realtime:Kernel", "-"),
            ("Red Hat:enterprise_linux:8::appstream", "rhel 8"),
            ("Red Hat:enterprise_linux:10.0", "rhel 10"),
            ("Red Hat:rhel_eus:9.2::baseos", "rhel 9.2"),
            ("Red Hat:openshift:4.12::el8", "-"),
            ("SUSE:Linux Enterprise Server 15 SP5", "sles 15.5"),
            ("SUSE:Linux Enterprise Server 12 SP5-LTSS", "sles 12.5"),
            ("SUSE:Linux Enterprise Module for Basesystem 15 SP6", "sles 15.6, sled 15.6, sles_sap 15.6, sle_hpc 15.6"),
            ("openSUSE:Leap 15.6", "opensuse-leap 15.6"),
            ("openSUSE:Tumbleweed", "opensuse-tumbleweed"),
            ("SUSE:Manager Server 4.3", "-"),
            ("Alpine:v3.20", "-"),
            ("npm", "-"),
        ] {
            assert_eq!(shown(ecosystem(text).map(|e| e.products)), want, "{text}");
        }
    }

    #[test]
    fn platforms() {
        for (text, want) in [
            ("cpe:/a:redhat:enterprise_linux:8::appstream", "rhel 8"),
            ("cpe:/o:redhat:rhel_aus:8.2::baseos", "rhel 8.2"),
            ("cpe:2.3:o:redhat:enterprise_linux:9:*:*:*:*:*:*:*", "rhel 9"),
            ("cpe:/a:redhat:openshift:4.12::el8", "-"),
            ("cpe:/o:suse:sles:15:sp5", "sles 15.5"),
            ("cpe:/o:suse:sles-ltss:12:sp5", "sles 12.5"),
            ("cpe:/o:suse:sle-module-basesystem:15:sp5", "sles 15.5, sled 15.5, sles_sap 15.5, sle_hpc 15.5"),
            ("cpe:/o:suse:sles:16:16.0", "sles 16.0"),
            ("cpe:/o:opensuse:leap:15.6", "opensuse-leap 15.6"),
            ("cpe:/o:opensuse:tumbleweed", "opensuse-tumbleweed"),
            ("cpe:/o:redhat", "-"),
            ("nonsense", "-"),
        ] {
            assert_eq!(shown(cpe(text)), want, "{text}");
        }
        assert_eq!(shown(suse_name("SUSE Linux Enterprise Server for SAP Applications 15 SP4")), "sles_sap 15.4, sles 15.4");
        assert_eq!(shown(suse_name("SUSE Linux Enterprise Micro 5.5")), "sle-micro 5.5, suse-microos 5.5, sl-micro 5.5");
        let hints = [("sid".to_owned(), Product::new("debian", "14"))];
        assert_eq!(codename(&hints, "sid"), Some(Product::new("debian", "14")));
        assert_eq!(codename(&[], "bookworm"), Some(Product::new("debian", "12")));
        assert_eq!(codename(&[], "sid"), None);
    }
}

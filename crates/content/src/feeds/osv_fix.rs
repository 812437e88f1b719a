//! The packages of an OSV document: which versions end the fault, for which product, in which module.

use std::collections::HashMap;

use drydock_domain::advisory::{Fix, ModuleRef, NameKind, Severity, Status};
use drydock_domain::version::Scheme;

use super::collect::{Bad, Out, checked};
use super::osv::{Affected, Document, Open, Range};
use super::product::{Ecosystem, ecosystem};
use super::text;

/// Longest name of an ecosystem that is looked at, bytes.
const ECOSYSTEM_MAX_BYTES: usize = 128;
/// Names of ecosystems that a finding distinguishes: the family only, there are hundreds of editions.
const FAMILY_MAX_CHARS: usize = 40;

/// What a document says of packages.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub fixes: Vec<Fix>,
    /// Packages without a fix.
    pub open: Vec<Open>,
}

/// Reads all packages.
pub(super) fn fixes(document: &Document<'_>, id: &str, out: &mut Out<'_>) -> Found {
    let mut found = Found::default();
    let mut ecosystems: HashMap<&str, Option<Ecosystem>> = HashMap::new();
    let stream = stream_of_title(document.summary.as_str(), document.id.as_str());
    for affected in document.affected.iter() {
        let name = affected.package.ecosystem.as_str();
        let short = name.len() <= ECOSYSTEM_MAX_BYTES;
        let known = ecosystems.entry(name).or_insert_with(|| short.then(|| ecosystem(name)).flatten());
        match known {
            Some(ecosystem) => package(affected, ecosystem, stream.as_ref(), id, &mut found, out),
            None => out.finding(id, &not_ours(name)),
        }
    }
    found
}

fn not_ours(ecosystem: &str) -> String {
    // The edition matters where some editions are ours.
    let shown = match ecosystem.split_once(':') {
        Some(("Ubuntu", rest)) => format!("Ubuntu:{}", rest.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default()),
        Some((family @ ("Red Hat" | "SUSE"), rest)) => {
            format!("{family}:{}", rest.split([':', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']).next().unwrap_or_default())
        }
        Some((family, _)) => family.to_owned(),
        None => ecosystem.to_owned(),
    };
    let shown: String = shown.trim_end_matches([':', ' ']).chars().take(FAMILY_MAX_CHARS).collect();
    format!("packages of ecosystem {shown:?} are not read")
}

fn package(
    affected: &Affected<'_>,
    ecosystem: &Ecosystem,
    stream: Option<&ModuleRef>,
    id: &str,
    found: &mut Found,
    out: &mut Out<'_>,
) {
    let name = affected.package.name.as_str();
    let mut ranges = 0;
    for range in affected.ranges.iter() {
        if range.kind.as_str() != "ECOSYSTEM" {
            out.finding(id, "ranges other than ECOSYSTEM are not read");
            continue;
        }
        ranges += 1;
        match end(range, ecosystem.scheme, id, out) {
            End::Fixed(version) => {
                for (name, by, version) in brought(affected, ecosystem.by, name, version) {
                    add(found, ecosystem, &name, by, &version, stream_of(affected, stream), id, out);
                }
            }
            End::Open => open(affected, ecosystem, name, id, found, out),
            End::Unusable => {}
        }
    }
    if ranges == 0 {
        let problem = if affected.versions.items.is_empty() {
            "a package has no range of versions"
        } else {
            "a package has a list of versions and no range"
        };
        out.finding(id, problem);
    }
}

enum End {
    Fixed(String),
    Open,
    Unusable,
}

/// Where a range ends. Of several fixed versions (after a relapse) the last one counts.
fn end(range: &Range<'_>, scheme: Scheme, id: &str, out: &mut Out<'_>) -> End {
    let mut fixed: Option<String> = None;
    let (mut bad, mut last) = (false, false);
    for event in range.events.iter() {
        if !matches!(event.introduced.as_str(), "" | "0") {
            out.finding(id, "a fault is taken to be in all versions before its fix, although it was introduced later");
        }
        last |= !event.last_affected.is_empty();
        if event.fixed.is_empty() {
            continue;
        }
        match text::version(scheme, event.fixed.as_str()) {
            Ok(version) if fixed.as_ref().is_none_or(|before| text::later(scheme, &version, before)) => fixed = Some(version),
            Ok(_) => {}
            Err(error) => {
                bad = true;
                out.finding(id, &Bad::Version(error.why.to_owned()).problem());
            }
        }
    }
    out.findings(id, "a range has more events than are read", range.events.dropped);
    match fixed {
        Some(version) => End::Fixed(version),
        None if bad => End::Unusable,
        None if last => {
            out.finding(id, "a range says which version is the last with the fault, and not which is the first without");
            End::Unusable
        }
        None => End::Open,
    }
}

/// SUSE names the source and lists what was built of it; then that is what is compared.
fn brought(affected: &Affected<'_>, by: NameKind, name: &str, version: String) -> Vec<(String, NameKind, String)> {
    let family = affected.package.ecosystem.as_str();
    let built: Vec<_> = affected
        .ecosystem_specific
        .binaries
        .iter()
        .flat_map(|pairs| &pairs.items)
        .filter(|(name, version)| !name.is_empty() && !version.is_empty())
        .map(|(name, version)| (name.as_str().to_owned(), NameKind::Binary, version.as_str().to_owned()))
        .collect();
    if built.is_empty() || family.starts_with("Ubuntu") {
        return vec![(name.to_owned(), by, version)];
    }
    built
}

fn stream_of(affected: &Affected<'_>, of_title: Option<&ModuleRef>) -> Option<ModuleRef> {
    let given = affected.ecosystem_specific.module.as_str();
    let given = if given.is_empty() { affected.database_specific.module.as_str() } else { given };
    module(given).or_else(|| of_title.cloned())
}

/// `name:stream[:version[:context]]`.
pub(super) fn module(text: &str) -> Option<ModuleRef> {
    let mut parts = text.splitn(4, ':');
    let name = parts.next().and_then(text::short)?;
    let stream = parts.next().and_then(text::short)?;
    let mut more = || parts.next().and_then(text::short).unwrap_or_default();
    Some(ModuleRef { name, stream, version: more(), context: more() })
}

#[allow(clippy::too_many_arguments)]
fn add(
    found: &mut Found,
    ecosystem: &Ecosystem,
    name: &str,
    by: NameKind,
    version: &str,
    stream: Option<ModuleRef>,
    id: &str,
    out: &mut Out<'_>,
) {
    // Nothing says which packages of an advisory are in a module, but the builders' mark in the release.
    let modular = ecosystem.scheme == Scheme::Rpm && text::is_modular(version);
    let module = stream.filter(|_| modular);
    let Some(first) = ecosystem.products.first() else { return };
    let fix = Fix {
        product: first.clone(),
        name: name.to_owned(),
        by,
        arch: String::new(),
        version: version.to_owned(),
        scheme: ecosystem.scheme,
        module,
    };
    match checked(fix) {
        Ok(fix) => {
            for product in &ecosystem.products {
                found.fixes.push(Fix { product: product.clone(), ..fix.clone() });
            }
        }
        Err(bad) => out.finding(id, &bad.problem()),
    }
}

fn open(affected: &Affected<'_>, ecosystem: &Ecosystem, name: &str, id: &str, found: &mut Found, out: &mut Out<'_>) {
    let Some(name) = text::name(name) else {
        out.finding(id, &Bad::Name.problem());
        return;
    };
    let (specific, database) = (&affected.ecosystem_specific, &affected.database_specific);
    let words = [&specific.urgency, &database.urgency, &specific.ubuntu_priority, &database.ubuntu_priority];
    let word = words.into_iter().map(|w| w.as_str()).find(|word| !word.is_empty()).unwrap_or_default();
    let over = word == "end-of-life";
    for product in &ecosystem.products {
        found.open.push(Open {
            product: product.clone(),
            name: name.clone(),
            by: ecosystem.by,
            scheme: ecosystem.scheme,
            status: if over { Status::WontFix } else { Status::Affected },
            severity: Severity::of_word(word),
            justification: if over { word.to_owned() } else { String::new() },
        });
    }
}

/// The one module stream that a title names: `nodejs:12 security update`, `new module: php:7.4`,
/// `httpd:2.4/mod_http2 security update`. `None` when it names none or several.
fn stream_of_title(title: &str, id: &str) -> Option<ModuleRef> {
    let mut streams: Vec<ModuleRef> = Vec::new();
    for word in title.split_whitespace() {
        let word = word.trim_end_matches([':', ',', ']', ')']).trim_start_matches(['[', '(']);
        let word = word.split('/').next().unwrap_or_default();
        let usable = word.bytes().all(|b| b.is_ascii_alphanumeric() || b":._+-".contains(&b));
        if word == id || !usable || word.bytes().filter(|b| *b == b':').count() != 1 {
            continue;
        }
        streams.extend(module(word));
    }
    streams.dedup();
    match streams.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_titles() {
        for (title, want) in [
            ("nodejs:12 security update", "nodejs:12"),
            ("Important: ruby:3.3 security update", "ruby:3.3"),
            ("new module: php:7.4", "php:7.4"),
            ("Important: httpd:2.4/mod_http2 security update", "httpd:2.4"),
            ("ALSA-2022:5468: php:8.0 security update (Important)", "php:8.0"),
            ("virt:rhel and virt-devel:rhel security update", ""),
            ("container-tools bug fix update", ""),
            ("", ""),
        ] {
            let found = stream_of_title(title, "ALSA-2022:5468");
            assert_eq!(found.map_or(String::new(), |m| format!("{}:{}", m.name, m.stream)), want, "{title}");
        }
        assert_eq!(not_ours("Alpine:v3.20"), "packages of ecosystem \"Alpine\" are not read");
        assert_eq!(not_ours("Ubuntu:Pro:FIPS:20.04:LTS"), "packages of ecosystem \"Ubuntu:Pro:FIPS\" are not read");
        assert_eq!(not_ours("Red Hat:openshift:4.12::el8"), "packages of ecosystem \"Red Hat:openshift\" are not read");
    }
}

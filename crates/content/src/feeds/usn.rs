//! Ubuntu's security notices in JSON, in both forms: the database (`{"7234-1": {…}, …}`, with `releases` → `sources`) and
//! the list of the web site (`{"notices": [{…}], …}`, with `release_packages`). Each becomes an advisory by source.
//!
//! Absent: binary packages where sources are named, actions, addresses of files, livepatches (LSN: they change no package).

use std::io::BufRead;

use drydock_domain::advisory::{Advisory, AdvisoryKind, Fix, NameKind, Product, Reference};
use drydock_domain::version::Scheme;
use serde::Deserialize;

use super::collect::{Out, checked};
use super::json::Json;
use super::lenient::{List, Object, Pairs, Text, shape_problem};
use super::product::codename;
use super::{DOCUMENT_MAX_BYTES, Hints, SinkError, Stop, text};

/// Packages of a notice in one release, count. Kernels have some hundred.
const PACKAGES_MAX: usize = 10_000;
/// Releases of a notice, count.
const RELEASES_MAX: usize = 64;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Notice<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    title: Text<'a>,
    #[serde(borrow)]
    summary: Text<'a>,
    #[serde(borrow)]
    description: Text<'a>,
    #[serde(borrow)]
    published: Text<'a>,
    #[serde(borrow)]
    timestamp: Text<'a>,
    #[serde(borrow)]
    cves: List<Cve<'a>, 5_000>,
    #[serde(borrow)]
    cves_ids: List<Text<'a>, 5_000>,
    #[serde(borrow)]
    references: List<Text<'a>, 500>,
    /// The database's. The list's `releases` is an array of names, which says nothing more.
    #[serde(borrow)]
    releases: Pairs<'a, Object<Release<'a>>, RELEASES_MAX>,
    #[serde(borrow)]
    release_packages: Pairs<'a, List<Package<'a>, PACKAGES_MAX>, RELEASES_MAX>,
}

/// A CVE: its id, or an object that has one.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Cve<'a> {
    Object {
        #[serde(borrow)]
        id: Text<'a>,
    },
    Id(#[serde(borrow)] Text<'a>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Release<'a> {
    #[serde(borrow)]
    sources: Pairs<'a, Object<Version<'a>>, PACKAGES_MAX>,
    #[serde(borrow)]
    binaries: Pairs<'a, Object<Version<'a>>, PACKAGES_MAX>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Version<'a> {
    #[serde(borrow)]
    version: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Package<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    version: Text<'a>,
    #[serde(borrow)]
    is_source: Text<'a>,
}

/// Reads the document.
pub(super) fn read<R: BufRead>(json: &mut Json<R>, hints: &Hints, out: &mut Out<'_>) -> Result<(), Stop> {
    // Several documents (JSON lines, members of an archive) may follow each other.
    while let Some(byte) = json.peek()? {
        if byte == b'[' {
            list(json, hints, out)?;
        } else {
            object(json, hints, out)?;
        }
    }
    Ok(())
}

fn object<R: BufRead>(json: &mut Json<R>, hints: &Hints, out: &mut Out<'_>) -> Result<(), Stop> {
    json.open(b'{')?;
    let mut first = true;
    while json.more(b'}', &mut first)? {
        let key = json.key()?;
        match (key.as_str(), json.peek()?) {
            ("notices", Some(b'[')) => list(json, hints, out)?,
            // Entries of the database have a number for their key; what else is there describes the list.
            (_, Some(b'{')) => {
                out.entry();
                let cut = json.value(DOCUMENT_MAX_BYTES)?;
                if out.usable(cut, &key, DOCUMENT_MAX_BYTES) {
                    notice(&key, json.taken(), hints, out)?;
                }
            }
            _ => json.skip()?,
        }
    }
    Ok(())
}

fn list<R: BufRead>(json: &mut Json<R>, hints: &Hints, out: &mut Out<'_>) -> Result<(), Stop> {
    json.open(b'[')?;
    let mut first = true;
    while json.more(b']', &mut first)? {
        out.entry();
        let place = out.place();
        let cut = json.value(DOCUMENT_MAX_BYTES)?;
        if out.usable(cut, &place, DOCUMENT_MAX_BYTES) {
            notice("", json.taken(), hints, out)?;
        }
    }
    Ok(())
}

fn notice(key: &str, bytes: &[u8], hints: &Hints, out: &mut Out<'_>) -> Result<(), SinkError> {
    let place = if key.is_empty() { out.place() } else { key.to_owned() };
    let notice: Notice<'_> = match serde_json::from_slice(bytes) {
        Ok(notice) => notice,
        Err(error) => {
            out.finding(&place, &shape_problem(&error));
            return Ok(());
        }
    };
    let id = if notice.id.is_empty() { key } else { notice.id.as_str() };
    let id = if id.starts_with(|c: char| c.is_ascii_digit()) { format!("USN-{id}") } else { id.to_owned() };
    let Some(id) = text::id(&id).filter(|id| id.starts_with("USN-") || id.starts_with("LSN-")) else {
        out.finding(&place, "it has no number of a notice");
        return Ok(());
    };
    if id.starts_with("LSN-") {
        out.finding(&id, "livepatches change no package");
        return Ok(());
    }
    let fixes = fixes(&notice, &id, hints, out);
    if fixes.is_empty() {
        out.finding(&id, "it names no package of a release known here");
        return Ok(());
    }
    let ids = notice.cves.iter().map(|cve| match cve {
        Cve::Object { id } | Cve::Id(id) => id.as_str(),
    });
    let cves = text::cves(ids.chain(notice.cves_ids.iter().map(Text::as_str)));
    let description = if notice.description.is_empty() { &notice.summary } else { &notice.description };
    let when = if notice.published.is_empty() { &notice.timestamp } else { &notice.published };
    let issued = text::time(when.as_str());
    let references =
        notice.references.iter().map(|url| Reference { kind: "web".to_owned(), id: String::new(), url: text::url(url.as_str()) });
    out.advisory(Advisory {
        kind: AdvisoryKind::Security,
        title: text::title(notice.title.as_str()),
        description: text::description(description.as_str()),
        issued,
        updated: issued,
        cves,
        references: references.filter(|reference| !reference.url.is_empty()).collect(),
        fixes,
        id,
        ..Advisory::default()
    })
}

/// A package with its version and what its name means.
type Named<'a> = (&'a str, &'a str, NameKind);

fn fixes(notice: &Notice<'_>, id: &str, hints: &Hints, out: &mut Out<'_>) -> Vec<Fix> {
    let mut found: Vec<(&str, Vec<Named<'_>>)> = Vec::new();
    for (name, release) in &notice.releases.items {
        let of = |pairs: &'_ Pairs<'_, Object<Version<'_>>, PACKAGES_MAX>| pairs.dropped;
        out.findings(id, "a release of it has more packages than are read", of(&release.sources));
        let (pairs, by) = if release.sources.items.is_empty() {
            (&release.binaries, NameKind::Binary)
        } else {
            (&release.sources, NameKind::Source)
        };
        found.push((name.as_str(), pairs.items.iter().map(|(name, v)| (name.as_str(), v.version.as_str(), by)).collect()));
    }
    for (name, packages) in &notice.release_packages.items {
        out.findings(id, "a release of it has more packages than are read", packages.dropped);
        // Without the flag they are sources; with it, binaries count only where no source is named.
        let source = |p: &&Package<'_>| p.is_source.as_str() != "false";
        let sources: Vec<_> =
            packages.iter().filter(source).map(|p| (p.name.as_str(), p.version.as_str(), NameKind::Source)).collect();
        let binaries = packages.iter().map(|p| (p.name.as_str(), p.version.as_str(), NameKind::Binary));
        found.push((name.as_str(), if sources.is_empty() { binaries.collect() } else { sources }));
    }
    let mut fixes = Vec::new();
    for (release, packages) in found {
        match codename(&hints.releases, release) {
            Some(product) => of_release(&product, packages, id, &mut fixes, out),
            None => out.finding(id, "the name of a release is not known; give its number as a hint"),
        }
    }
    fixes
}

fn of_release(product: &Product, packages: Vec<Named<'_>>, id: &str, fixes: &mut Vec<Fix>, out: &mut Out<'_>) {
    for (name, version, by) in packages {
        let fix = Fix {
            product: product.clone(),
            name: name.to_owned(),
            by,
            arch: String::new(),
            version: version.to_owned(),
            scheme: Scheme::Deb,
            module: None,
        };
        match checked(fix) {
            Ok(fix) => fixes.push(fix),
            Err(bad) => out.finding(id, &bad.problem()),
        }
    }
}

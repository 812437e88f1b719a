//! Vendor, source package, obsoletes and provides out of a stored `<package>` element. Most of an element is of no use here and is
//! not looked at: the four elements are searched for and only they are read.

use drydock_domain::applicability::facts::{Bound, Dependency, PackageFacts};
use memchr::memmem;

use crate::error::{ContentError, ContentResult};
use crate::rpm::source_name;
use crate::rpm::xml::{Event, Tag, Walker, XmlError, decode};

/// Obsoletes of one package, count: the largest known package replaces some thousand.
const OBSOLETES_MAX: usize = 20_000;
/// Names of packages that one package provides, count.
const PROVIDES_MAX: usize = 1000;

const VENDOR: &str = "rpm:vendor";
const SOURCE: &str = "rpm:sourcerpm";
const OBSOLETES: &str = "rpm:obsoletes";
const PROVIDES: &str = "rpm:provides";
const ENTRY: &str = "rpm:entry";

/// Fills in what the element says.
pub(super) fn complete(mut facts: PackageFacts, element: &[u8]) -> ContentResult<PackageFacts> {
    let damaged = |problem: String| ContentError::damaged("metadata of package", &facts.name, problem);
    let text = std::str::from_utf8(element).map_err(|_| damaged("it is not UTF-8".to_owned()))?;
    let mut found = Found::default();
    // A comment or CDATA section may hold what looks like an element.
    let slices = if memmem::find(element, b"<!").is_some() { None } else { slices(text) };
    let read = match slices {
        Some(slices) => slices.into_iter().flatten().try_for_each(|slice| found.read(slice)),
        None => found.read(text),
    };
    read.map_err(|e| damaged(e.to_string()))?;
    let source = found.source.trim();
    source_name(source).clone_into(&mut facts.source);
    facts.source_version = source_version(source, &facts).to_owned();
    found.vendor.trim().clone_into(&mut facts.vendor);
    facts.obsoletes = found.obsoletes;
    found.provides.retain(|name| *name != facts.name);
    found.provides.sort_unstable();
    found.provides.dedup();
    facts.provides = found.provides;
    Ok(facts)
}

/// `version-release` of the source package; empty when it is the package's own, whose epoch file names do not tell.
fn source_version<'a>(source: &'a str, facts: &PackageFacts) -> &'a str {
    let stem = source.strip_suffix(".rpm").and_then(|stem| stem.rsplit_once('.')).map_or("", |(stem, _)| stem);
    let version = stem.strip_prefix(facts.source.as_str()).and_then(|rest| rest.strip_prefix('-')).unwrap_or_default();
    let own = facts.version.split_once(':').map_or(facts.version.as_str(), |(_, version)| version);
    if version == own { "" } else { version }
}

/// The four elements, where they can be told without reading everything. `None`: one has a form that has to be read.
fn slices(text: &str) -> Option<[Option<&str>; 4]> {
    Some([slice(text, VENDOR)?, slice(text, SOURCE)?, slice(text, OBSOLETES)?, slice(text, PROVIDES)?])
}

/// The element of this name; `Some(None)` when there is none.
fn slice<'a>(text: &'a str, name: &str) -> Option<Option<&'a str>> {
    let Some(at) = memmem::find(text.as_bytes(), name.as_bytes()) else { return Some(None) };
    // Found elsewhere (in a description, in an attribute) it has to be looked for as XML says.
    let start = at.checked_sub(1).filter(|start| text.as_bytes().get(*start) == Some(&b'<'))?;
    let after = text.get(at + name.len()..)?;
    if after.starts_with("/>") {
        return Some(None);
    }
    let inner = after.strip_prefix('>')?;
    let close = memmem::find(inner.as_bytes(), format!("</{name}>").as_bytes())?;
    text.get(start..at + name.len() + 1 + close + name.len() + 3).map(Some)
}

#[derive(Default)]
struct Found {
    vendor: String,
    source: String,
    obsoletes: Vec<Dependency>,
    /// Names without brackets and slashes: libraries, files and the like are no packages.
    provides: Vec<String>,
}

impl Found {
    /// Reads an element: the whole package, or one of the four.
    fn read(&mut self, text: &str) -> Result<(), XmlError> {
        let mut walker = Walker::new(text);
        let mut open: Vec<&str> = Vec::new();
        while let Some(event) = walker.next()? {
            match event {
                Event::Start(tag) => {
                    if tag.name == ENTRY && open.last() == Some(&OBSOLETES) && self.obsoletes.len() < OBSOLETES_MAX {
                        self.obsoletes.extend(dependency(&tag));
                    }
                    if tag.name == ENTRY && open.last() == Some(&PROVIDES) && self.provides.len() < PROVIDES_MAX {
                        let name = tag.get("name").unwrap_or_default();
                        if !name.is_empty() && !name.contains(['(', '/']) {
                            self.provides.push(name.into_owned());
                        }
                    }
                    if !tag.empty {
                        open.push(tag.name);
                    }
                }
                Event::End { .. } => {
                    open.pop();
                }
                Event::Text(text) => self.text(open.last(), &decode(text)),
                Event::CData(text) => self.text(open.last(), text),
            }
        }
        Ok(())
    }

    fn text(&mut self, element: Option<&&str>, text: &str) {
        match element {
            Some(&VENDOR) => self.vendor.push_str(text),
            Some(&SOURCE) => self.source.push_str(text),
            _ => {}
        }
    }
}

fn dependency(tag: &Tag<'_>) -> Option<Dependency> {
    let get = |name: &str| tag.get(name).unwrap_or_default();
    let name = get("name").into_owned();
    let (epoch, version, release) = (get("epoch"), get("ver"), get("rel"));
    let bound = match &*get("flags") {
        "LT" => Bound::Less,
        "LE" => Bound::LessEqual,
        "EQ" => Bound::Equal,
        "GE" => Bound::GreaterEqual,
        "GT" => Bound::Greater,
        _ => Bound::Any,
    };
    let bound = if version.is_empty() { Bound::Any } else { bound };
    let version = match bound {
        Bound::Any => String::new(),
        _ => {
            let epoch = epoch.trim_start_matches('0');
            let epoch = if epoch.is_empty() { String::new() } else { format!("{epoch}:") };
            let release = if release.is_empty() { String::new() } else { format!("-{release}") };
            format!("{epoch}{version}{release}")
        }
    };
    (!name.is_empty()).then_some(Dependency { name, bound, version })
}

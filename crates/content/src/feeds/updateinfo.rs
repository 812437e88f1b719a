//! `updateinfo.xml` in full: one `<update>` as an [`Advisory`], for the fragments that snapshots keep and for files.
//! Understood are the forms of Red Hat, Oracle, AlmaLinux, Rocky Linux, SUSE and Fedora: several collections, module
//! contexts, suggestions per update and per package, retracted updates.
//!
//! Absent: rights, solutions, release names, push counts, checksums of packages, sources among the packages.

use std::io::BufRead;

use drydock_domain::advisory::{
    Advisory, AdvisoryKind, FIXES_MAX, Fix, ModuleRef, NameKind, Product, REFERENCES_MAX, Reference, Severity,
};
use drydock_domain::version::Scheme;

use super::collect::{Bad, Out, checked, reference, tidy};
use super::{FeedError, Hints, text};
use crate::rpm::{Event, Fragments, ScanError, Tag, UPDATEINFO, Walker, XmlError, decode};
use crate::snapshot::rpm_version;

/// Text kept of one element while it is read, bytes.
const ELEMENT_MAX_BYTES: usize = 32 * 1024;

/// Why a fragment is no advisory.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// Not XML.
    #[error("the advisory is malformed; sync the source again")]
    Xml(#[source] XmlError),
    /// Nothing to call it by.
    #[error("the advisory has no usable id; tell the upstream")]
    NoId,
}

/// What was read, and what was left out of it.
struct Read {
    advisory: Advisory,
    problems: Vec<String>,
}

/// Reads one `<update>` element. Packages whose version is none are left out.
///
/// # Errors
/// When it is no XML or has no id.
pub fn read_updateinfo(fragment: &str, product: &Product) -> Result<Advisory, UpdateError> {
    Reader::new(product).read(fragment).map(|read| read.advisory)
}

/// Reads a whole file.
pub(super) fn read(input: &mut dyn BufRead, hints: &Hints, out: &mut Out<'_>) -> Result<(), FeedError> {
    let product = hints.product.clone().unwrap_or_default();
    let mut document = Fragments::open(input, UPDATEINFO).map_err(broken)?;
    while let Some(fragment) = document.next().map_err(broken)? {
        out.entry();
        let place = out.place();
        match Reader::new(&product).read(fragment.text) {
            Ok(read) => {
                for problem in &read.problems {
                    out.finding(&read.advisory.id, problem);
                }
                out.advisory(read.advisory).map_err(FeedError::Sink)?;
            }
            Err(UpdateError::Xml(error)) => {
                return Err(FeedError::Broken { offset: fragment.offset + error.offset, problem: error.problem });
            }
            Err(error @ UpdateError::NoId) => out.finding(&place, &error.to_string()),
        }
    }
    Ok(())
}

fn broken(error: ScanError) -> FeedError {
    match error {
        ScanError::Xml(error) => FeedError::Broken { offset: error.offset, problem: error.problem },
        ScanError::Read { source, .. } => FeedError::Read(source),
    }
}

struct Reader<'p> {
    product: &'p Product,
    advisory: Advisory,
    summary: String,
    /// Text of the element that is open now.
    element: String,
    module: Option<ModuleRef>,
    problems: Vec<String>,
}

impl<'p> Reader<'p> {
    fn new(product: &'p Product) -> Self {
        Self {
            product,
            advisory: Advisory::default(),
            summary: String::new(),
            element: String::new(),
            module: None,
            problems: Vec::new(),
        }
    }

    fn read(mut self, fragment: &str) -> Result<Read, UpdateError> {
        let mut walker = Walker::new(fragment);
        let mut path: Vec<&str> = Vec::new();
        while let Some(event) = walker.next().map_err(UpdateError::Xml)? {
            match event {
                Event::Start(tag) => {
                    self.element.clear();
                    self.start(&path, &tag);
                    path.push(tag.name);
                    if tag.empty {
                        self.end(&path);
                        path.pop();
                    }
                }
                Event::Text(text) => self.text(&decode(text)),
                Event::CData(text) => self.text(text),
                Event::End { .. } => {
                    self.end(&path);
                    self.element.clear();
                    path.pop();
                }
            }
        }
        self.finish()
    }

    fn finish(mut self) -> Result<Read, UpdateError> {
        let advisory = &mut self.advisory;
        if advisory.id.is_empty() {
            return Err(UpdateError::NoId);
        }
        if advisory.description.is_empty() {
            advisory.description = std::mem::take(&mut self.summary);
        }
        advisory.updated = advisory.updated.or(advisory.issued);
        let cves = advisory.references.iter().filter(|r| r.kind == "cve");
        advisory.cves = text::cves(cves.map(|r| r.id.as_str()));
        if advisory.kind == AdvisoryKind::Other && !advisory.cves.is_empty() {
            advisory.kind = AdvisoryKind::Security;
        }
        tidy(advisory);
        Ok(Read { advisory: self.advisory, problems: self.problems })
    }

    fn problem(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn text(&mut self, text: &str) {
        if self.element.len() + text.len() <= ELEMENT_MAX_BYTES {
            self.element.push_str(text);
        } else if self.element.len() < ELEMENT_MAX_BYTES {
            let room = ELEMENT_MAX_BYTES - self.element.len();
            self.element.push_str(text.get(..text.floor_char_boundary(room)).unwrap_or_default());
        }
    }

    fn start(&mut self, path: &[&str], tag: &Tag<'_>) {
        let get = |name: &str| tag.get(name).unwrap_or_default();
        match (path, tag.name) {
            ([], _) => {
                self.advisory.kind = AdvisoryKind::of_word(&get("type"));
                self.advisory.withdrawn = matches!(get("status").trim(), "retracted" | "withdrawn" | "obsolete");
            }
            (["update"], "issued") => self.advisory.issued = text::time(&get("date")),
            (["update"], "updated") => self.advisory.updated = text::time(&get("date")),
            (["update", "references"], "reference") => self.reference(tag),
            (["update", "pkglist"], "collection") => self.module = None,
            (["update", "pkglist", "collection"], "module") => {
                let word = |name: &str| text::short(&get(name));
                let module = |name, stream| ModuleRef {
                    name,
                    stream,
                    version: word("version").unwrap_or_default(),
                    context: word("context").unwrap_or_default(),
                };
                self.module = word("name").zip(word("stream")).map(|(name, stream)| module(name, stream));
            }
            (["update", "pkglist", "collection"], "package") => self.package(tag),
            _ => {}
        }
    }

    fn reference(&mut self, tag: &Tag<'_>) {
        let get = |name: &str| tag.get(name).unwrap_or_default();
        let found: Option<Reference> = reference(&get("type"), &get("id"), &get("href"));
        match found {
            Some(found) if self.advisory.references.len() < REFERENCES_MAX => self.advisory.references.push(found),
            // CVEs count even where nobody would read that many links.
            Some(found) if found.kind == "cve" && self.advisory.references.len() < FIXES_MAX => {
                self.advisory.references.push(found)
            }
            _ => {}
        }
    }

    fn package(&mut self, tag: &Tag<'_>) {
        let get = |name: &str| tag.get(name).unwrap_or_default().trim().to_owned();
        let arch = get("arch");
        if matches!(arch.as_str(), "src" | "nosrc") {
            return;
        }
        if self.advisory.fixes.len() >= FIXES_MAX {
            self.problem(format!("it has more than {FIXES_MAX} packages"));
            return;
        }
        let (version, release) = (get("version"), get("release"));
        if version.is_empty() || release.is_empty() {
            self.problem(Bad::Version("it has no version or no release".to_owned()).problem());
            return;
        }
        let version = rpm_version(&get("epoch"), &version, &release);
        let fix = Fix {
            product: self.product.clone(),
            name: get("name"),
            by: NameKind::Binary,
            arch: text::short(&arch).unwrap_or_default(),
            version,
            scheme: Scheme::Rpm,
            module: self.module.clone(),
        };
        match checked(fix) {
            Ok(fix) => self.advisory.fixes.push(fix),
            Err(bad) => self.problem(bad.problem()),
        }
    }

    fn end(&mut self, path: &[&str]) {
        let value = self.element.as_str();
        match path {
            ["update", "id"] => self.advisory.id = text::id(value).unwrap_or_default(),
            ["update", "title"] => self.advisory.title = text::title(value),
            ["update", "summary"] => self.summary = text::description(value),
            ["update", "description"] => self.advisory.description = text::description(value),
            ["update", "severity"] => {
                self.advisory.vendor_severity = text::vendor_word(value);
                self.advisory.severity = Severity::of_word(value);
            }
            ["update", rest @ ..] => {
                let [.., name] = rest else { return };
                // Of the update, or of one of its packages.
                if rest.len() != 1 && !matches!(rest, ["pkglist", "collection", "package", _]) {
                    return;
                }
                let flag = match *name {
                    "reboot_suggested" => &mut self.advisory.reboot_suggested,
                    "relogin_suggested" => &mut self.advisory.relogin_suggested,
                    "restart_suggested" => &mut self.advisory.restart_suggested,
                    _ => return,
                };
                *flag |= !matches!(value.trim().to_ascii_lowercase().as_str(), "0" | "false" | "no");
            }
            _ => {}
        }
    }
}

//! A file: there, not there, or there with this content; its mode, owner, group and label.
//!
//! New content is downloaded only when it is needed: what has the right digest already is left alone. What was there before
//! the first change is kept (up to 32 KiB), so that un-assignment can bring it back.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use drydock_domain::policy::Evidence;
use drydock_domain::policy::spec::{FileResource, FileState};

use super::attributes::{self, Attributes};
use super::evidence::{self, DIFF_SIDE_MAX_BYTES, has_secret};
use super::note::{self, Before};
use super::place::{Look, Place, What, no_parent};
use super::source::Source;
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, Watch};

/// Of a new file that says nothing: as Google's agent does.
const DEFAULT_MODE: u32 = 0o644;
/// Of a new file that holds a secret and says nothing.
const SECRET_MODE: u32 = 0o600;
/// A former content that is kept, bytes.
const BEFORE_MAX_BYTES: u64 = 32 * 1024;

/// The resource.
pub struct FileKind {
    spec: FileResource,
    attributes: Attributes,
    source: Option<Source>,
    /// The content, where it is known without asking anybody.
    inline: Option<Vec<u8>>,
    /// What a source without digest gave last.
    fetched: Option<PathBuf>,
}

/// What a file should hold.
enum Content<'a> {
    Bytes(&'a [u8]),
    Path(PathBuf),
    /// Not here yet.
    Digest(String),
}

impl FileKind {
    /// From the document.
    pub fn new(spec: &FileResource, gcs_base_url: &str) -> Self {
        let secret = spec.content.as_deref().is_some_and(has_secret);
        FileKind {
            attributes: Attributes {
                permissions: spec.permissions.clone(),
                owner: spec.owner.clone(),
                group: spec.group.clone(),
                label: spec.selinux_label.clone(),
                default_mode: if secret { SECRET_MODE } else { DEFAULT_MODE },
            },
            source: spec.file.as_ref().map(|f| Source::new(f, gcs_base_url)),
            spec: spec.clone(),
            inline: None,
            fetched: None,
        }
    }

    fn is_secret(&self) -> bool {
        self.spec.content.as_deref().is_some_and(has_secret)
    }

    fn content(&self) -> Result<Content<'_>, Failure> {
        if let Some(bytes) = &self.inline {
            return Ok(Content::Bytes(bytes));
        }
        match (&self.source, &self.fetched) {
            (_, Some(path)) if path.exists() => Ok(Content::Path(path.clone())),
            (Some(source), _) => match source.digest() {
                Some(digest) => Ok(Content::Digest(digest)),
                None => Err(Failure::of("its source was not read yet")),
            },
            (None, _) => Err(Failure::of("it says neither file nor content")),
        }
    }

    fn present(&self, cx: &Cx<'_>) -> Result<Found, Failure> {
        let path = &self.spec.path;
        let absent = |what: &str| Found::NonCompliant { what: what.to_owned(), evidence: evidence::state("absent", "present") };
        let Some(place) = Place::find(cx.root, path)? else { return Ok(absent("absent, and so is its directory")) };
        let Some(look) = place.look()? else { return Ok(absent("absent")) };
        let by_content = self.spec.state == FileState::ContentsMatch;
        match look.what {
            What::File => {}
            What::Directory | What::Other => {
                return Err(Failure::of(format!("{path} is no file; remove what is there, nothing is put in its place")));
            }
            What::Link if by_content => {
                let old = format!("symbolic link to {}", place.target()?);
                return Ok(Found::NonCompliant {
                    what: "a symbolic link is in its place".to_owned(),
                    evidence: evidence::state(old, "file"),
                });
            }
            What::Link => return self.present_by_link(cx, &place),
        }
        let differs = if by_content { self.compare(cx, &place, &look)? } else { None };
        let others = self.attributes.differences(cx, path, &place, &look)?;
        let mut whats: Vec<String> = differs.iter().map(|_| "content differs".to_owned()).collect();
        whats.extend(others);
        if whats.is_empty() {
            return Ok(Found::Compliant);
        }
        let rights = self.attributes.rights(cx, Some(&look))?;
        let states = || evidence::state(attributes::told(cx.root, &look), attributes::told_rights(cx.root, &rights));
        Ok(Found::NonCompliant { what: whats.join(", "), evidence: differs.or_else(states) })
    }

    /// Existence alone may be by a link; anything more is not done through it.
    fn present_by_link(&self, cx: &Cx<'_>, place: &Place) -> Result<Found, Failure> {
        let path = &self.spec.path;
        let target = place.target()?;
        let there = Place::follow(cx.root, path)?.map(|p| p.look()).transpose()?.flatten();
        if there.is_none_or(|l| l.what != What::File) {
            return Ok(Found::NonCompliant {
                what: "a symbolic link that leads to no file is in its place".to_owned(),
                evidence: evidence::state(format!("symbolic link to {target}"), "file"),
            });
        }
        let says_more = [&self.spec.permissions, &self.spec.owner, &self.spec.group].iter().any(|t| !t.is_empty());
        if says_more {
            return Err(Failure::of(format!(
                "{path} is a symbolic link to {target}; rights are not set through links, name the file itself"
            )));
        }
        Ok(Found::Compliant)
    }

    /// Evidence of a difference in content; `None` = the same.
    fn compare(&self, cx: &Cx<'_>, place: &Place, look: &Look) -> Result<Option<Evidence>, Failure> {
        let digest = |file: File| sha256_of(file).map_err(|e| Failure::of(format!("{} cannot be read: {e}", self.spec.path)));
        match self.content()? {
            Content::Bytes(bytes) => {
                if look.size == bytes.len() as u64 && place.read(look.size)?.as_deref() == Some(bytes) {
                    return Ok(None);
                }
                Ok(Some(self.shown(cx, place, look, Some(bytes))?))
            }
            Content::Path(path) => {
                let open = |p: &PathBuf| File::open(p).map_err(|e| Failure::of(format!("{} cannot be read: {e}", p.display())));
                let (size, want) = digest(open(&path)?)?;
                if look.size == size && digest(place.open()?)?.1 == want {
                    return Ok(None);
                }
                let bytes = if size <= DIFF_SIDE_MAX_BYTES { std::fs::read(&path).ok() } else { None };
                match bytes {
                    Some(bytes) => Ok(Some(self.shown(cx, place, look, Some(&bytes))?)),
                    None => Ok(evidence::state(format!("{} bytes", look.size), format!("{size} bytes, sha256 {want}"))),
                }
            }
            Content::Digest(want) => {
                let (size, found) = digest(place.open()?)?;
                let differs = found != want;
                Ok(differs.then(|| evidence::state(format!("{size} bytes, sha256 {found}"), format!("sha256 {want}"))).flatten())
            }
        }
    }

    /// What is there against what should be, fit to be seen.
    fn shown(&self, cx: &Cx<'_>, place: &Place, look: &Look, new: Option<&[u8]>) -> Result<Evidence, Failure> {
        if self.is_secret() {
            let new = new.map_or(0, <[u8]>::len);
            let old = format!("{} bytes", look.size);
            return Ok(Evidence::State { old, new: format!("{new} bytes; it holds a secret, so no difference is shown") });
        }
        match place.read(DIFF_SIDE_MAX_BYTES)? {
            Some(old) => Ok(evidence::diff(cx, &self.spec.path, Some(&old), new)),
            None => Ok(Evidence::State { old: format!("{} bytes", look.size), new: evidence::sizes(new) }),
        }
    }

    fn write(&mut self, cx: &Cx<'_>, place: &Place, look: Option<&Look>) -> Result<Option<Evidence>, Failure> {
        if let Some(source) = &self.source
            && self.fetched.as_ref().is_none_or(|path| !path.exists())
        {
            self.fetched = Some(source.fetch(cx)?);
        }
        let old_file = look.filter(|l| l.what == What::File);
        let rights = self.attributes.rights(cx, old_file)?;
        let label = self.attributes.exact_label(cx);
        let bytes = match self.content()? {
            Content::Bytes(bytes) => Some(bytes.to_vec()),
            Content::Path(path) => {
                let small = std::fs::metadata(&path).is_ok_and(|m| m.len() <= DIFF_SIDE_MAX_BYTES);
                if small { std::fs::read(&path).ok() } else { None }
            }
            Content::Digest(_) => None,
        };
        let shown = match old_file {
            Some(look) => Some(self.shown(cx, place, look, bytes.as_deref())?),
            None if self.is_secret() => evidence::state("absent", "present; it holds a secret, so its content is not shown"),
            None => bytes.as_deref().map(|new| evidence::diff(cx, &self.spec.path, None, Some(new))),
        };
        match self.content()? {
            Content::Bytes(mut bytes) => place.replace(&mut bytes, rights, label)?,
            Content::Path(path) => {
                let mut file = File::open(&path).map_err(|e| Failure::of(format!("{} cannot be read: {e}", path.display())))?;
                place.replace(&mut file, rights, label)?;
            }
            Content::Digest(_) => return Err(Failure::of("its source was not read yet")),
        }
        self.attributes.label_by_rules(cx, &self.spec.path)?;
        Ok(shown)
    }

    fn keep_before(&self, cx: &Cx<'_>, place: &Place, look: Option<&Look>) -> Result<(), Failure> {
        note::remember_first(cx, || match look {
            None => Ok(Before::Absent),
            Some(look) if look.what == What::Link => Ok(Before::Link { target: place.target()? }),
            Some(look) if look.what == What::File => Ok(Before::File {
                mode: look.mode,
                uid: look.uid,
                gid: look.gid,
                content: place.read(BEFORE_MAX_BYTES)?.map(|bytes| BASE64.encode(bytes)),
            }),
            Some(_) => Ok(Before::Directory),
        })
    }
}

impl Kind for FileKind {
    fn validate(&mut self, cx: &Cx<'_>) -> Result<(), Failure> {
        if let Some(text) = &self.spec.content {
            self.inline = Some(cx.secrets.reveal(text)?.into_bytes());
        }
        let needed = match self.spec.state {
            FileState::Absent => false,
            FileState::ContentsMatch => true,
            FileState::Present => Place::find(cx.root, &self.spec.path)?.map(|p| p.look()).transpose()?.flatten().is_none(),
        };
        if let (true, Some(source)) = (needed, &self.source) {
            if source.digest().is_none() {
                self.fetched = Some(source.fetch(cx)?);
            }
            source.validate(cx)?;
        }
        Ok(())
    }

    fn check(&mut self, cx: &Cx<'_>) -> Result<Found, Failure> {
        if self.spec.state != FileState::Absent {
            return self.present(cx);
        }
        match Place::find(cx.root, &self.spec.path)?.map(|p| p.look()).transpose()?.flatten() {
            None => Ok(Found::Compliant),
            Some(_) => Ok(Found::NonCompliant { what: "present".to_owned(), evidence: evidence::state("present", "absent") }),
        }
    }

    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let path = self.spec.path.clone();
        if self.spec.state == FileState::Absent {
            let Some(place) = Place::find(cx.root, &path)? else { return Ok(Done::default()) };
            self.keep_before(cx, &place, place.look()?.as_ref())?;
            place.remove()?;
            return Ok(Done { what: "removed".to_owned(), evidence: evidence::state("present", "absent"), ..Done::default() });
        }
        let place = Place::find(cx.root, &path)?.ok_or_else(|| no_parent(&path))?;
        let look = place.look()?;
        self.keep_before(cx, &place, look.as_ref())?;
        let same = match &look {
            Some(l) if l.what == What::File => self.spec.state == FileState::Present || self.compare(cx, &place, l)?.is_none(),
            _ => false,
        };
        let (Some(now), true) = (&look, same) else {
            let shown = self.write(cx, &place, look.as_ref())?;
            let what = if look.is_some() { "content replaced" } else { "made" };
            return Ok(Done { what: what.to_owned(), evidence: shown, ..Done::default() });
        };
        let rights = self.attributes.rights(cx, Some(now))?;
        if now.links > 1 {
            // Another name of the same file is not ours to change.
            place.replace(&mut place.open()?, rights, self.attributes.exact_label(cx))?;
        } else {
            place.set_rights(rights, self.attributes.exact_label(cx))?;
        }
        self.attributes.label_by_rules(cx, &path)?;
        let (old, new) = (attributes::told(cx.root, now), attributes::told_rights(cx.root, &rights));
        Ok(Done { what: "attributes set".to_owned(), evidence: evidence::state(old, new), ..Done::default() })
    }

    fn remove(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let path = &self.spec.path;
        let done = |what: &str| Ok(Done { what: what.to_owned(), ..Done::default() });
        let Some(before) = note::recall::<Before>(cx)? else {
            return done("left as it is: the policy never changed it");
        };
        let Some(place) = Place::find(cx.root, path)? else { return done("gone already") };
        match before {
            Before::Absent if place.look()?.is_some_and(|l| l.what == What::Directory) => {
                done("left as it is: a directory is there now")
            }
            Before::Absent => {
                place.remove()?;
                done("removed")
            }
            Before::Link { target } => {
                place.link(&target)?;
                done("the former symbolic link is back")
            }
            Before::File { content: Some(content), mode, uid, gid } => {
                let bytes = BASE64.decode(content).map_err(|e| Failure::of(format!("the former content cannot be read: {e}")))?;
                place.replace(&mut bytes.as_slice(), super::place::Rights { mode, uid, gid }, None)?;
                self.attributes.label_by_rules(cx, path)?;
                done("the former file is back")
            }
            Before::File { content: None, .. } => done("left as it is: there was a file before, too large to be kept"),
            Before::Directory => done("left as it is"),
        }
    }

    fn watches(&self) -> Vec<Watch> {
        let local = self.spec.file.iter().filter_map(|f| f.local_path.clone());
        std::iter::once(self.spec.path.clone()).chain(local).map(|p| Watch::Path(PathBuf::from(p))).collect()
    }
}

/// Size and digest of what is left to read.
pub fn sha256_of(mut file: File) -> std::io::Result<(u64, String)> {
    file.rewind()?;
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut chunk = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        let n = file.read(&mut chunk)?;
        if n == 0 {
            return Ok((size, evidence::hex(context.finish().as_ref())));
        }
        size += n as u64;
        context.update(&chunk[..n]);
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;

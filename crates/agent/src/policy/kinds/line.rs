//! A line in a file that others write, too. Everything else in the file, its rights and its label stay as they are.

use std::path::PathBuf;

use drydock_domain::policy::additive::{Existence, LineResource};
use serde::{Deserialize, Serialize};

use super::attributes::Attributes;
use super::evidence::{self, has_secret};
use super::note;
use super::place::{Place, Rights, What, no_parent};
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, Watch};

/// A file whose lines are looked at, bytes: settings, not data.
const FILE_MAX_BYTES: u64 = 8 * 1024 * 1024;
/// Of a file that is made.
const DEFAULT_MODE: u32 = 0o644;
/// Former lines that are kept, count.
const BEFORE_MAX: usize = 100;

/// The resource.
pub struct LineKind {
    spec: LineResource,
    line: Vec<u8>,
    starts_with: Option<Vec<u8>>,
}

/// What was there before the first change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Before {
    /// The file was not there.
    made_file: bool,
    /// Lines that ours took the place of.
    replaced: Vec<String>,
}

impl LineKind {
    /// From the document.
    pub fn new(spec: &LineResource) -> Self {
        LineKind {
            line: spec.line.clone().into_bytes(),
            starts_with: spec.starts_with.clone().map(String::into_bytes),
            spec: spec.clone(),
        }
    }

    /// The file behind root's own links, and its bytes.
    fn read(&self, cx: &Cx<'_>) -> Result<(Option<Place>, Option<Vec<u8>>), Failure> {
        let Some(place) = Place::follow(cx.root, &self.spec.path)? else { return Ok((None, None)) };
        match place.look()? {
            None => Ok((Some(place), None)),
            Some(look) if look.what != What::File => Err(Failure::of(format!("{} is no file", self.spec.path))),
            Some(_) => match place.read(FILE_MAX_BYTES)? {
                Some(bytes) => Ok((Some(place), Some(bytes))),
                None => Err(Failure::of(format!(
                    "{} is larger than {FILE_MAX_BYTES} bytes; its lines are not looked at",
                    self.spec.path
                ))),
            },
        }
    }

    /// Is this line ours to replace or take away?
    fn is_meant(&self, line: &[u8]) -> bool {
        line == self.line || self.starts_with.as_ref().is_some_and(|start| line.starts_with(start))
    }

    /// The bytes as they should be.
    fn wanted(&self, bytes: &[u8]) -> Vec<u8> {
        let mut wanted = Vec::with_capacity(bytes.len() + self.line.len() + 1);
        let mut put = self.spec.state == Existence::Absent;
        for with_end in bytes.split_inclusive(|b| *b == b'\n') {
            let line = with_end.strip_suffix(b"\n").unwrap_or(with_end);
            if !self.is_meant(line) {
                wanted.extend_from_slice(with_end);
            } else if self.starts_with.is_none() && self.spec.state == Existence::Present {
                // The whole line is there; how often is its owner's business.
                put = true;
                wanted.extend_from_slice(with_end);
            } else if !std::mem::replace(&mut put, true) {
                wanted.extend_from_slice(&self.line);
                wanted.extend_from_slice(&with_end[line.len()..]);
            }
        }
        if !put {
            if wanted.last().is_some_and(|b| *b != b'\n') {
                wanted.push(b'\n');
            }
            wanted.extend_from_slice(&self.line);
            wanted.push(b'\n');
        }
        wanted
    }

    fn shown(&self, cx: &Cx<'_>, old: Option<&[u8]>, new: &[u8]) -> Option<drydock_domain::policy::Evidence> {
        if has_secret(&self.spec.line) {
            return evidence::state("another line or none", "the line; it holds a secret, so it is not shown");
        }
        Some(evidence::diff(cx, &self.spec.path, old, Some(new)))
    }

    fn put(&self, cx: &Cx<'_>, place: &Place, bytes: &[u8]) -> Result<(), Failure> {
        let rights = match place.look()? {
            Some(look) => Rights { mode: look.mode, uid: look.uid, gid: look.gid },
            None => Attributes { default_mode: DEFAULT_MODE, ..Attributes::default() }.rights(cx, None)?,
        };
        let mut content = bytes;
        place.replace(&mut content, rights, None)?;
        Attributes::default().label_by_rules(cx, &self.spec.path)
    }
}

impl Kind for LineKind {
    fn validate(&mut self, cx: &Cx<'_>) -> Result<(), Failure> {
        self.line = cx.secrets.reveal(&self.spec.line)?.into_bytes();
        if let Some(start) = &self.spec.starts_with {
            self.starts_with = Some(cx.secrets.reveal(start)?.into_bytes());
        }
        Ok(())
    }

    fn check(&mut self, cx: &Cx<'_>) -> Result<Found, Failure> {
        let (_, bytes) = self.read(cx)?;
        let present = self.spec.state == Existence::Present;
        let Some(bytes) = bytes else {
            if !present {
                return Ok(Found::Compliant);
            }
            return Ok(Found::NonCompliant {
                what: "its file is absent".to_owned(),
                evidence: self.shown(cx, None, &self.wanted(b"")),
            });
        };
        let wanted = self.wanted(&bytes);
        if wanted == bytes {
            return Ok(Found::Compliant);
        }
        let what = if present { "the line is missing or differs" } else { "the line is there" };
        Ok(Found::NonCompliant { what: what.to_owned(), evidence: self.shown(cx, Some(&bytes), &wanted) })
    }

    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let (place, bytes) = self.read(cx)?;
        let path = &self.spec.path;
        let place = place.ok_or_else(|| no_parent(path))?;
        if bytes.is_none() && !self.spec.create {
            return Err(Failure::of(format!("{path} does not exist; say `create: true`, or install what brings it")));
        }
        let old = bytes.as_deref().unwrap_or_default();
        note::remember_first(cx, || {
            let meant = old.split(|b| *b == b'\n').filter(|l| self.is_meant(l));
            let replaced = meant.take(BEFORE_MAX).map(|l| String::from_utf8_lossy(l).into_owned()).collect();
            Ok(Before { made_file: bytes.is_none(), replaced })
        })?;
        let wanted = self.wanted(old);
        self.put(cx, &place, &wanted)?;
        let what = if self.spec.state == Existence::Present { "line put in" } else { "line taken out" };
        Ok(Done { what: what.to_owned(), evidence: self.shown(cx, bytes.as_deref(), &wanted), ..Done::default() })
    }

    fn remove(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let done = |what: &str| Ok(Done { what: what.to_owned(), ..Done::default() });
        let Some(before) = note::recall::<Before>(cx)? else {
            return done("left as it is: the policy never changed it");
        };
        let (Some(place), Some(bytes)) = self.read(cx)? else { return done("gone already") };
        let mut former = before.replaced.join("\n").into_bytes();
        if !former.is_empty() {
            former.push(b'\n');
        }
        let mut left = Vec::with_capacity(bytes.len());
        for with_end in bytes.split_inclusive(|b| *b == b'\n') {
            let line = with_end.strip_suffix(b"\n").unwrap_or(with_end);
            if line == self.line && self.spec.state == Existence::Present {
                left.append(&mut former);
            } else {
                left.extend_from_slice(with_end);
            }
        }
        if self.spec.state == Existence::Absent {
            left.append(&mut former);
        }
        if left.is_empty() && before.made_file {
            place.remove()?;
            return done("removed with its file");
        }
        self.put(cx, &place, &left)?;
        done(if before.replaced.is_empty() { "line taken out" } else { "the former lines are back" })
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::Path(PathBuf::from(&self.spec.path))]
    }
}

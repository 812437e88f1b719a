//! A directory with mode and owners; its missing parents are made with it. One that is not empty is never removed.

use std::path::{Path, PathBuf};

use drydock_domain::policy::additive::{DirectoryResource, Existence};

use super::attributes::{self, Attributes};
use super::evidence;
use super::note::{self, Before};
use super::place::{Look, Place, Rights, What};
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, Watch};

/// Of a new directory that says nothing, and of missing parents.
const DEFAULT_MODE: u32 = 0o755;

/// The resource.
pub struct DirectoryKind {
    spec: DirectoryResource,
    attributes: Attributes,
}

impl DirectoryKind {
    /// From the document.
    pub fn new(spec: &DirectoryResource) -> Self {
        let attributes = Attributes {
            permissions: spec.permissions.clone(),
            owner: spec.owner.clone(),
            group: spec.group.clone(),
            label: String::new(),
            default_mode: DEFAULT_MODE,
        };
        DirectoryKind { spec: spec.clone(), attributes }
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Option<(Place, Look)>, Failure> {
        let Some(place) = Place::find(cx.root, &self.spec.path)? else { return Ok(None) };
        match place.look()? {
            None => Ok(None),
            Some(look) if look.what == What::Directory => Ok(Some((place, look))),
            Some(_) if self.spec.state == Existence::Absent => Ok(None),
            Some(_) => Err(Failure::of(format!(
                "{} is not a directory; remove what is there, nothing is put in its place",
                self.spec.path
            ))),
        }
    }
}

impl Kind for DirectoryKind {
    fn validate(&mut self, _cx: &Cx<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn check(&mut self, cx: &Cx<'_>) -> Result<Found, Failure> {
        let wanted = self.spec.state == Existence::Present;
        match self.look(cx)? {
            None if wanted => {
                Ok(Found::NonCompliant { what: "absent".to_owned(), evidence: evidence::state("absent", "directory") })
            }
            Some(_) if !wanted => {
                Ok(Found::NonCompliant { what: "present".to_owned(), evidence: evidence::state("directory", "absent") })
            }
            None => Ok(Found::Compliant),
            Some((place, look)) => {
                let found = self.attributes.differences(cx, &self.spec.path, &place, &look)?;
                if found.is_empty() {
                    return Ok(Found::Compliant);
                }
                let rights = self.attributes.rights(cx, Some(&look))?;
                let evidence = evidence::state(attributes::told(cx.root, &look), attributes::told_rights(cx.root, &rights));
                Ok(Found::NonCompliant { what: found.join(", "), evidence })
            }
        }
    }

    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let found = self.look(cx)?;
        let before = if found.is_some() { Before::Directory } else { Before::Absent };
        note::remember_first(cx, || Ok(before))?;
        if self.spec.state == Existence::Absent {
            if let Some((place, _)) = found {
                place.remove()?;
            }
            return Ok(Done { what: "removed".to_owned(), evidence: evidence::state("directory", "absent"), ..Done::default() });
        }
        let (what, place, look) = match found {
            Some((place, look)) => ("attributes set", place, Some(look)),
            None => ("made", make_all(cx, &self.spec.path)?, None),
        };
        let rights = self.attributes.rights(cx, look.as_ref())?;
        place.set_rights(rights, None)?;
        self.attributes.label_by_rules(cx, &self.spec.path)?;
        let old = look.map_or_else(|| "absent".to_owned(), |l| attributes::told(cx.root, &l));
        let evidence = evidence::state(old, attributes::told_rights(cx.root, &rights));
        Ok(Done { what: what.to_owned(), evidence, ..Done::default() })
    }

    fn remove(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let made = note::recall::<Before>(cx)? == Some(Before::Absent);
        let what = match (made, self.look(cx)?) {
            (false, _) => "left as it is: it was there before the policy",
            (true, None) => "gone already",
            (true, Some((place, _))) => match place.remove() {
                Ok(()) => "removed",
                Err(_) if place.look()?.is_some() => "left as it is: it is not empty",
                Err(failure) => return Err(failure),
            },
        };
        Ok(Done { what: what.to_owned(), ..Done::default() })
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::Path(PathBuf::from(&self.spec.path))]
    }
}

/// Makes the directory and what is missing above it.
pub fn make_all(cx: &Cx<'_>, path: &str) -> Result<Place, Failure> {
    let place = match Place::find(cx.root, path)? {
        Some(place) => place,
        None => {
            let parent = Path::new(path).parent().and_then(Path::to_str).unwrap_or("/");
            let above = make_all(cx, parent)?;
            above.set_rights(Rights { mode: DEFAULT_MODE, ..own_rights() }, None)?;
            Place::reach(cx.root, path)?
        }
    };
    if place.look()?.is_none() {
        place.make_dir()?;
        place.set_rights(own_rights(), None)?;
    }
    Ok(place)
}

fn own_rights() -> Rights {
    Rights { mode: DEFAULT_MODE, uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}

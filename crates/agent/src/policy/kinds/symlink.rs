//! A symbolic link. What is not a link is never replaced by one.

use std::path::PathBuf;

use drydock_domain::policy::additive::{Existence, SymlinkResource};

use super::evidence;
use super::note::{self, Before};
use super::place::{Place, What, no_parent};
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, Watch};

/// The resource.
pub struct SymlinkKind {
    spec: SymlinkResource,
}

impl SymlinkKind {
    /// From the document.
    pub fn new(spec: &SymlinkResource) -> Self {
        SymlinkKind { spec: spec.clone() }
    }

    /// Where the link that is there leads; `None` = nothing is there.
    fn target(&self, cx: &Cx<'_>) -> Result<Option<String>, Failure> {
        let Some(place) = Place::find(cx.root, &self.spec.path)? else { return Ok(None) };
        match place.look()? {
            None => Ok(None),
            Some(look) if look.what == What::Link => place.target().map(Some),
            Some(_) => Err(Failure::of(format!(
                "{} is there and no symbolic link; move it away, nothing is put in its place",
                self.spec.path
            ))),
        }
    }
}

fn told(target: Option<&str>) -> String {
    target.map_or_else(|| "absent".to_owned(), |t| format!("link to {t}"))
}

impl Kind for SymlinkKind {
    fn validate(&mut self, _cx: &Cx<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn check(&mut self, cx: &Cx<'_>) -> Result<Found, Failure> {
        let want = (self.spec.state == Existence::Present).then_some(self.spec.target.as_str());
        let now = self.target(cx)?;
        if now.as_deref() == want {
            return Ok(Found::Compliant);
        }
        let what = match (&now, want) {
            (None, _) => "absent".to_owned(),
            (Some(_), None) => "present".to_owned(),
            (Some(now), Some(_)) => format!("leads to {now}"),
        };
        Ok(Found::NonCompliant { what, evidence: evidence::state(told(now.as_deref()), told(want)) })
    }

    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let now = self.target(cx)?;
        note::remember_first(cx, || Ok(now.clone().map_or(Before::Absent, |target| Before::Link { target })))?;
        let place = Place::find(cx.root, &self.spec.path)?;
        let want = (self.spec.state == Existence::Present).then_some(self.spec.target.as_str());
        match (place, want) {
            (Some(place), Some(target)) => place.link(target)?,
            (Some(place), None) => place.remove()?,
            (None, Some(_)) => return Err(no_parent(&self.spec.path)),
            (None, None) => {}
        }
        let what = if want.is_some() { "linked" } else { "removed" };
        Ok(Done { what: what.to_owned(), evidence: evidence::state(told(now.as_deref()), told(want)), ..Done::default() })
    }

    fn remove(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let done = |what: &str| Ok(Done { what: what.to_owned(), ..Done::default() });
        let Some(before) = note::recall::<Before>(cx)? else {
            return done("left as it is: the policy never changed it");
        };
        // Somebody put something else there: not ours to take.
        let ours = matches!(self.target(cx), Ok(None)) || self.target(cx).is_ok_and(|t| t.as_deref() == Some(&self.spec.target));
        let Some(place) = Place::find(cx.root, &self.spec.path)?.filter(|_| ours) else {
            return done("left as it is: it is not what the policy brought");
        };
        match before {
            Before::Link { target } => {
                place.link(&target)?;
                done("the former link is back")
            }
            _ => {
                place.remove()?;
                done("removed")
            }
        }
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::Path(PathBuf::from(&self.spec.path))]
    }
}

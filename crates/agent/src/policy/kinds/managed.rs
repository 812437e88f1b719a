//! A settings file that is wholly ours, under a name that nobody else uses: of root, with one mode, replaced as a whole.

use std::path::PathBuf;

use drydock_domain::policy::Evidence;

use super::attributes::{self, Attributes};
use super::directory::make_all;
use super::evidence;
use super::place::{Look, Place, Rights, What};
use crate::policy::kind::{Cx, Failure, Watch};

/// Readable by everybody.
pub const OPEN_MODE: u32 = 0o644;
/// A file that holds a secret.
pub const SECRET_MODE: u32 = 0o600;
/// What is compared, bytes: more than any of ours.
const READ_MAX_BYTES: u64 = 1024 * 1024;

/// A file as it should be.
#[derive(Debug, Clone)]
pub struct Managed {
    /// Absolute.
    pub path: String,
    /// All of it.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Nothing of it is shown.
    pub secret: bool,
}

impl Managed {
    /// An open text.
    pub fn text(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Managed { path: path.into(), content: content.into(), mode: OPEN_MODE, secret: false }
    }

    /// The same, which nobody else may read or see.
    #[must_use]
    pub fn secret(self, secret: bool) -> Self {
        let mode = if secret { SECRET_MODE } else { self.mode };
        Managed { secret, mode, ..self }
    }

    fn rights(&self) -> Rights {
        Rights { mode: self.mode, uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }

    /// What it is instead and what shows it; `None` = it is as it should be.
    pub fn differs(&self, cx: &Cx<'_>) -> Result<Option<(String, Option<Evidence>)>, Failure> {
        let Some(look) = self.look(cx)? else {
            return Ok(Some((format!("{} is absent", self.path), self.shown(cx, None))));
        };
        let old = self.read(cx, &look)?;
        if old.as_deref() != Some(&self.content) {
            return Ok(Some((format!("{} differs", self.path), self.shown(cx, old.as_deref()))));
        }
        let want = self.rights();
        if (look.mode, look.uid, look.gid) != (want.mode, want.uid, want.gid) {
            let (old, new) = (attributes::told(cx.root, &look), attributes::told_rights(cx.root, &want));
            return Ok(Some((format!("{} is {old} instead of {new}", self.path), evidence::state(old, new))));
        }
        Ok(None)
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Option<Look>, Failure> {
        Ok(Place::find(cx.root, &self.path)?.map(|p| p.look()).transpose()?.flatten())
    }

    /// What is there, if it is a file of a size that is worth comparing.
    fn read(&self, cx: &Cx<'_>, look: &Look) -> Result<Option<Vec<u8>>, Failure> {
        if look.what != What::File {
            return Ok(None);
        }
        Place::reach(cx.root, &self.path)?.read(READ_MAX_BYTES)
    }

    fn shown(&self, cx: &Cx<'_>, old: Option<&[u8]>) -> Option<Evidence> {
        if self.secret {
            return evidence::state("another content", "its content; it holds a secret, so it is not shown");
        }
        Some(evidence::diff(cx, &self.path, old, Some(&self.content)))
    }

    /// Writes it, with its directory.
    pub fn write(&self, cx: &Cx<'_>) -> Result<Option<Evidence>, Failure> {
        let old = match self.look(cx)? {
            Some(look) => self.read(cx, &look)?,
            None => None,
        };
        let parent = std::path::Path::new(&self.path).parent().and_then(std::path::Path::to_str);
        if let Some(parent) = parent
            && Place::find(cx.root, &self.path)?.is_none()
        {
            make_all(cx, parent)?;
        }
        Place::reach(cx.root, &self.path)?.replace(&mut self.content.as_slice(), self.rights(), None)?;
        Attributes::default().label_by_rules(cx, &self.path)?;
        Ok(self.shown(cx, old.as_deref()))
    }

    /// Where changes are seen.
    pub fn watch(&self) -> Watch {
        Watch::Path(PathBuf::from(&self.path))
    }
}

/// Removes a file of ours; false = it was gone already.
pub fn remove(cx: &Cx<'_>, path: &str) -> Result<bool, Failure> {
    match Place::find(cx.root, path)? {
        Some(place) if place.look()?.is_some() => place.remove().map(|()| true),
        _ => Ok(false),
    }
}

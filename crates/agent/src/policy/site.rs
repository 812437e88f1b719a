//! Files of the policies in the state directory, by who writes them:
//!
//! | place | written by | what |
//! |---|---|---|
//! | `document` | daemon | the signed document and the values of its secrets |
//! | `check` | daemon | number of the newest check on demand |
//! | `preview-*` | daemon; the keeper removes it | a document that is only checked |
//! | `patching` | daemon | there while a patch task owns the package manager |
//! | `refused`, `taken`, `sending` | daemon | why a document was refused; what the server has; what it is being told |
//! | `look`, `stop` | daemon | the keeper reads everything anew, or ends |
//! | `outbox/` | keeper; the daemon removes previews it delivered | results and drift, results of previews |
//! | `keeper/` | keeper | its lock, what it has to take back, notes of resources, downloads, running commands |

use std::path::{Path, PathBuf};

use drydock_domain::inventory::fingerprint;

use crate::ledger::{seal, unseal};
use crate::paths::Paths;
use crate::platform;

/// In front of the names of kept previews, and of their results.
pub const PREVIEW_PREFIX: &str = "preview-";

/// The places.
#[derive(Debug, Clone)]
pub struct Files {
    dir: PathBuf,
}

impl Files {
    /// Of this agent.
    pub fn of(paths: &Paths) -> Self {
        Files { dir: paths.policies() }
    }

    /// Made if missing.
    pub fn make(&self) -> std::io::Result<()> {
        for dir in [self.dir.clone(), self.outbox(), self.keeper()] {
            platform::private_dir(&dir)?;
        }
        Ok(())
    }

    /// What the daemon writes.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The document with its secrets.
    pub fn document(&self) -> PathBuf {
        self.dir.join("document")
    }

    /// The newest check on demand.
    pub fn check(&self) -> PathBuf {
        self.dir.join("check")
    }

    /// Of one preview: an id is the server's word and no file name.
    pub fn preview(&self, id: &str) -> PathBuf {
        self.dir.join(preview_name(id))
    }

    /// Its result.
    pub fn preview_result(&self, id: &str) -> PathBuf {
        self.outbox().join(preview_name(id))
    }

    /// There while a patch task owns the package manager.
    pub fn patching(&self) -> PathBuf {
        self.dir.join("patching")
    }

    /// Why a document was refused.
    pub fn refused(&self) -> PathBuf {
        self.dir.join("refused")
    }

    /// What the server has.
    pub fn taken(&self) -> PathBuf {
        self.dir.join("taken")
    }

    /// What the server is being told.
    pub fn sending(&self) -> PathBuf {
        self.dir.join("sending")
    }

    /// The keeper reads everything anew when it is written.
    pub fn look(&self) -> PathBuf {
        self.dir.join("look")
    }

    /// The keeper ends when it is there.
    pub fn stop(&self) -> PathBuf {
        self.dir.join("stop")
    }

    /// What the keeper tells.
    pub fn outbox(&self) -> PathBuf {
        self.dir.join("outbox")
    }

    /// Results and drift.
    pub fn results(&self) -> PathBuf {
        self.outbox().join("results")
    }

    /// The keeper's own.
    pub fn keeper(&self) -> PathBuf {
        self.dir.join("keeper")
    }

    /// Held (flock) while a keeper lives.
    pub fn lock(&self) -> PathBuf {
        self.keeper().join("lock")
    }

    /// Which process it is.
    pub fn process(&self) -> PathBuf {
        self.keeper().join("process")
    }

    /// What is to be taken back when nothing assigns it any more.
    pub fn leftovers(&self) -> PathBuf {
        self.keeper().join("leftovers")
    }

    /// Services that are still to hear of a change.
    pub fn owed(&self) -> PathBuf {
        self.keeper().join("owed")
    }

    /// Repairs of drift that nobody was told of yet.
    pub fn repairs(&self) -> PathBuf {
        self.keeper().join("repairs")
    }

    /// The step under way.
    pub fn doing(&self) -> PathBuf {
        self.keeper().join("doing")
    }

    /// Units that were failed before a revision whose health is not known yet.
    pub fn gates(&self) -> PathBuf {
        self.keeper().join("gates")
    }

    /// Scripts of health checks.
    pub fn checks(&self) -> PathBuf {
        self.keeper().join("checks")
    }

    /// Downloads of resources.
    pub fn scratch(&self) -> PathBuf {
        self.keeper().join("scratch")
    }

    /// Notes of resources.
    pub fn memory(&self) -> PathBuf {
        self.keeper().join("memory")
    }

    /// Package changes under way.
    pub fn run(&self) -> PathBuf {
        self.keeper().join("run")
    }
}

fn preview_name(id: &str) -> String {
    format!("{PREVIEW_PREFIX}{}", &fingerprint(id.as_bytes())[..32])
}

/// Removes a file; one that is not there is what we want.
pub fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// The number in a file; 0 when there is none, or none that can be believed.
pub fn read_number(path: &Path) -> u64 {
    std::fs::read(path).ok().and_then(|bytes| unseal(&bytes).ok()).unwrap_or(0)
}

/// Keeps a number durably.
pub fn write_number(path: &Path, number: u64) -> std::io::Result<()> {
    platform::write_durably(path, &seal(&number).map_err(std::io::Error::other)?, 0o600)
}

/// Says to the keeper that a patch task owns the package manager, or none does. Best effort: the package manager's own lock
/// is under it.
pub fn set_patching(files: &Files, patching: bool) {
    let path = files.patching();
    let done = match (patching, path.exists()) {
        (true, false) => files.make().and_then(|()| std::fs::write(&path, b"")),
        (false, true) => remove(&path),
        _ => Ok(()),
    };
    if let Err(e) = done {
        tracing::warn!("{}: {e}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_preview_is_no_path() {
        let files = Files::of(&Paths::below(Path::new("/r")));
        let place = files.preview("../../../etc/passwd");
        assert_eq!(place.parent(), Some(files.dir()));
        assert_ne!(place, files.preview("other"));
    }
}

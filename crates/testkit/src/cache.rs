//! Things that are slow to make and equal for equal recipes: lab roots, built packages.
//!
//! A thing lives in a directory named after its recipe's hash. It is made aside and renamed, under
//! a lock, so a directory that exists is complete, whoever was killed. Absent: eviction by age.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

/// Environment variable that moves the cache.
pub const CACHE_VARIABLE: &str = "DRYDOCK_CACHE";
/// Hexadecimal digits of a recipe's hash in a directory name: 64 bits, ample for a few recipes.
const KEY_DIGITS: usize = 16;

/// Where everything is kept: `$DRYDOCK_CACHE`, or `.cache/drydock` in the home directory.
///
/// # Errors
/// When neither variable is set.
pub fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os(CACHE_VARIABLE).filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home = home.with_context(|| format!("neither {CACHE_VARIABLE} nor HOME is set: set {CACHE_VARIABLE} to a directory"))?;
    Ok(Path::new(&home).join(".cache/drydock"))
}

/// The short name of a recipe: equal recipes have equal keys.
#[must_use]
pub fn recipe_key(recipe: &str) -> String {
    let digest = Sha256::digest(recipe.as_bytes());
    let mut key: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    key.truncate(KEY_DIGITS);
    key
}

/// Gives `parent/name`, calling `build` on an empty directory beside it when it does not exist yet.
/// Other processes asking for the same thing wait.
///
/// # Errors
/// When `build` fails (nothing stays behind under the final name) or the file system refuses.
pub fn build_once(parent: &Path, name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let done = parent.join(name);
    if done.exists() {
        return Ok(done);
    }
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let lock_path = parent.join(format!(".{name}.lock"));
    let lock = File::create(&lock_path).with_context(|| format!("cannot create {}", lock_path.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;
    if done.exists() {
        return Ok(done);
    }
    let aside = parent.join(format!(".{name}.building"));
    remove_tree(&aside)?;
    fs::create_dir(&aside).with_context(|| format!("cannot create {}", aside.display()))?;
    build(&aside).with_context(|| format!("cannot build {}", done.display()))?;
    fs::rename(&aside, &done).with_context(|| format!("cannot name {}", done.display()))?;
    Ok(done)
}

/// Removes a directory tree if it is there. Refuses while something is mounted at or under it:
/// removing through a mount would destroy what is mounted.
///
/// # Errors
/// When something is mounted there, or the file system refuses.
pub fn remove_tree(path: &Path) -> Result<()> {
    let mounted = mounts_under(path)?;
    if let Some(mount) = mounted.first() {
        bail!("{} is still mounted: unmount it before {} can be removed", mount.display(), path.display());
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Mount points at or under `path`, as this process sees them.
///
/// # Errors
/// When the kernel's mount table cannot be read.
pub fn mounts_under(path: &Path) -> Result<Vec<PathBuf>> {
    const MOUNT_TABLE: &str = "/proc/self/mountinfo";
    // The table shows paths without symbolic links.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let table = fs::read_to_string(MOUNT_TABLE).with_context(|| format!("cannot read {MOUNT_TABLE}"))?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(points.map(|point| PathBuf::from(unescape(point))).filter(|point| point.starts_with(&path)).collect())
}

/// The mount table writes blank, tab, newline and backslash as octal.
fn unescape(point: &str) -> String {
    point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A failed build leaves no thing, a second one succeeds, a third is not run.
    #[test]
    fn built_once_and_never_half() {
        let dir = tempfile::tempdir().unwrap();
        let failed = build_once(dir.path(), "thing", |at| {
            fs::write(at.join("half"), "x")?;
            bail!("power cut")
        });
        assert!(failed.is_err());
        assert!(!dir.path().join("thing").exists());
        let made = build_once(dir.path(), "thing", |at| Ok(fs::write(at.join("whole"), "y")?)).unwrap();
        assert!(made.join("whole").exists() && !made.join("half").exists());
        build_once(dir.path(), "thing", |_| bail!("asked twice")).unwrap();
    }

    /// The root directory has mounts under it everywhere, so it can never be removed.
    #[test]
    fn mounted_trees_are_refused() {
        let error = remove_tree(Path::new("/proc")).unwrap_err();
        assert!(error.to_string().contains("still mounted"), "{error}");
    }
}

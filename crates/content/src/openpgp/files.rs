//! The server's repository keys as files of its data directory: one armoured secret key a file, mode 0600, and
//! `keys.json`, which says what each is for.
//!
//! Rotation takes three steps, so that hosts know the new key before anything depends on it: *prepare* makes the next
//! key (hosts get it, it signs nothing), *activate* makes it sign besides the old one (which is retiring), *retire* ends
//! the old one. Every step may be repeated after a crash: the file of a new key is written before `keys.json` names it.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{OpenPgpError, RepositoryKey};

/// Name of the file that says what each key is for.
const INDEX: &str = "keys.json";
/// Largest file read here, bytes: a key is under 1 KiB.
const FILE_MAX_BYTES: u64 = 64 * 1024;
/// User id of the keys.
const USER_ID: &str = "Drydock repository key";

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KeyState {
    /// Hosts know it; it signs nothing yet.
    Next,
    /// It signs.
    Active,
    /// It still signs, besides the active one, and is about to end.
    Retiring,
}

/// A key as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyView {
    /// Fingerprint, upper-case hexadecimal.
    pub fingerprint: String,
    /// What it is for.
    pub state: KeyState,
    /// Since when.
    pub since: Timestamp,
}

/// All keys of the server. Not shared: one owner changes them, others get [`Self::signing`] and [`Self::public`].
#[derive(Debug, Clone)]
pub struct RepositoryKeys {
    dir: PathBuf,
    entries: Vec<(KeyView, RepositoryKey)>,
}

impl RepositoryKeys {
    /// Reads the keys, or makes the first one in a directory without any.
    ///
    /// # Errors
    /// When files are missing, damaged, or cannot be written. A missing file is never replaced by a new key: hosts
    /// would refuse everything signed with it.
    pub fn load_or_create(dir: &Path, now: Timestamp) -> Result<RepositoryKeys, OpenPgpError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .create(dir)
            .and_then(|()| std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)))
            .map_err(|e| failed(dir, format!("the directory cannot be made: {e}")))?;
        let index = dir.join(INDEX);
        let mut keys = RepositoryKeys { dir: dir.to_owned(), entries: Vec::new() };
        if !index.try_exists().map_err(|e| failed(&index, e.to_string()))? {
            let key = match keys.leftover_key()? {
                Some(key) => key,
                None => RepositoryKey::generate(USER_ID, now)?,
            };
            keys.store(vec![(view(&key, KeyState::Active, now), key)])?;
            return Ok(keys);
        }
        let views: Vec<KeyView> = serde_json::from_str(&read(&index)?)
            .map_err(|e| failed(&index, format!("it is damaged ({e}); restore it from a backup")))?;
        for view in views {
            let path = keys.key_path(&view.fingerprint);
            let key = RepositoryKey::from_secret_armored(&read(&path)?)
                .map_err(|e| failed(&path, format!("it is damaged ({e}); restore it from a backup")))?;
            if key.fingerprint() != view.fingerprint {
                return Err(failed(&path, "it holds another key than its name says; restore it from a backup".to_owned()));
            }
            keys.entries.push((view, key));
        }
        if !keys.entries.iter().any(|(view, _)| view.state == KeyState::Active) {
            return Err(failed(&index, "no key is active; restore it from a backup".to_owned()));
        }
        Ok(keys)
    }

    /// Keys that sign now: the active one first, then the retiring one.
    pub fn signing(&self) -> Vec<RepositoryKey> {
        [KeyState::Active, KeyState::Retiring].into_iter().flat_map(|state| self.in_state(state)).cloned().collect()
    }

    /// Public keys that hosts are to trust, armoured: active, retiring, next.
    ///
    /// # Errors
    /// When the library fails.
    pub fn public(&self) -> Result<Vec<String>, OpenPgpError> {
        [KeyState::Active, KeyState::Retiring, KeyState::Next]
            .into_iter()
            .flat_map(|state| self.in_state(state))
            .map(RepositoryKey::public_armored)
            .collect()
    }

    /// The keys as shown, in the order of [`Self::public`].
    pub fn states(&self) -> Vec<KeyView> {
        let mut views: Vec<KeyView> = self.entries.iter().map(|(view, _)| view.clone()).collect();
        views.sort_by_key(|view| match view.state {
            KeyState::Active => 0,
            KeyState::Retiring => 1,
            KeyState::Next => 2,
        });
        views
    }

    /// First step of a rotation: makes the next key. Hosts get it; it signs nothing.
    ///
    /// # Errors
    /// When there is one already, or it cannot be written.
    pub fn prepare(&mut self, now: Timestamp) -> Result<KeyView, OpenPgpError> {
        if self.in_state(KeyState::Next).next().is_some() {
            return Err(self.out_of_order("the next key is already prepared; activate it when every host has it"));
        }
        let key = RepositoryKey::generate(USER_ID, now)?;
        let made = view(&key, KeyState::Next, now);
        let mut entries = self.entries.clone();
        entries.push((made.clone(), key));
        self.store(entries)?;
        Ok(made)
    }

    /// Second step: the next key signs, besides the present one, which is retiring.
    ///
    /// # Errors
    /// When no key was prepared, or another one is still retiring.
    pub fn activate(&mut self, now: Timestamp) -> Result<KeyView, OpenPgpError> {
        if self.in_state(KeyState::Next).next().is_none() {
            return Err(self.out_of_order("no next key is prepared; prepare one first, so that hosts know it before it signs"));
        }
        if self.in_state(KeyState::Retiring).next().is_some() {
            return Err(self.out_of_order("a key is still retiring; retire it first"));
        }
        let mut entries = self.entries.clone();
        for (view, _) in &mut entries {
            view.state = if view.state == KeyState::Next { KeyState::Active } else { KeyState::Retiring };
            view.since = now;
        }
        self.store(entries)?;
        self.entries
            .iter()
            .find(|(view, _)| view.state == KeyState::Active)
            .map(|(view, _)| view.clone())
            .ok_or_else(|| self.out_of_order("no key is active"))
    }

    /// Last step: the retiring key ends. Its secret file is removed.
    ///
    /// # Errors
    /// When no key is retiring.
    pub fn retire(&mut self, _now: Timestamp) -> Result<KeyView, OpenPgpError> {
        let Some((gone, _)) = self.entries.iter().find(|(view, _)| view.state == KeyState::Retiring).cloned() else {
            return Err(self.out_of_order("no key is retiring; activate a prepared key first"));
        };
        let rest = self.entries.iter().filter(|(view, _)| view.state != KeyState::Retiring).cloned().collect();
        self.store(rest)?;
        let path = self.key_path(&gone.fingerprint);
        std::fs::remove_file(&path).map_err(|e| failed(&path, format!("the retired key cannot be removed: {e}")))?;
        Ok(gone)
    }

    fn in_state(&self, state: KeyState) -> impl Iterator<Item = &RepositoryKey> {
        self.entries.iter().filter(move |(view, _)| view.state == state).map(|(_, key)| key)
    }

    fn key_path(&self, fingerprint: &str) -> PathBuf {
        // A fingerprint from `keys.json` must not name another directory.
        let plain: String = fingerprint.chars().filter(char::is_ascii_alphanumeric).collect();
        self.dir.join(format!("{plain}.asc"))
    }

    /// A key without `keys.json`: the very first start was killed between the two, or the file was lost. One key alone
    /// is the active one in both cases; of several nobody knows which.
    fn leftover_key(&self) -> Result<Option<RepositoryKey>, OpenPgpError> {
        let entries = std::fs::read_dir(&self.dir).map_err(|e| failed(&self.dir, e.to_string()))?;
        let mut found = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|x| x == "asc"));
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(path), None) => RepositoryKey::from_secret_armored(&read(&path)?)
                .map(Some)
                .map_err(|e| failed(&path, format!("it is damaged ({e}); restore it from a backup"))),
            _ => {
                let problem = "it is missing although several keys are there; restore it from a backup";
                Err(failed(&self.dir.join(INDEX), problem.to_owned()))
            }
        }
    }

    /// Writes new keys' files, then `keys.json`; only then the change holds.
    fn store(&mut self, entries: Vec<(KeyView, RepositoryKey)>) -> Result<(), OpenPgpError> {
        for (view, key) in &entries {
            let path = self.key_path(&view.fingerprint);
            if !path.exists() {
                write(&path, key.secret_armored()?.expose())?;
            }
        }
        let views: Vec<&KeyView> = entries.iter().map(|(view, _)| view).collect();
        let index = self.dir.join(INDEX);
        let text = serde_json::to_string_pretty(&views).map_err(|e| failed(&index, e.to_string()))?;
        write(&index, &text)?;
        self.entries = entries;
        Ok(())
    }

    fn out_of_order(&self, problem: &str) -> OpenPgpError {
        failed(&self.dir, problem.to_owned())
    }
}

fn view(key: &RepositoryKey, state: KeyState, since: Timestamp) -> KeyView {
    KeyView { fingerprint: key.fingerprint().to_owned(), state, since }
}

fn failed(path: &Path, problem: String) -> OpenPgpError {
    OpenPgpError::Files { path: path.display().to_string(), problem }
}

fn read(path: &Path) -> Result<String, OpenPgpError> {
    let size = std::fs::metadata(path).map_err(|e| failed(path, format!("it cannot be read: {e}")))?.len();
    if size > FILE_MAX_BYTES {
        return Err(failed(path, format!("it is larger than {FILE_MAX_BYTES} bytes, so not one of ours")));
    }
    std::fs::read_to_string(path).map_err(|e| failed(path, format!("it cannot be read: {e}")))
}

/// Whole or not at all, on disk when it returns, never readable for others.
fn write(path: &Path, text: &str) -> Result<(), OpenPgpError> {
    let partial = path.with_extension("partial");
    let written = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&partial, path)?;
        path.parent().map_or(Ok(()), |dir| std::fs::File::open(dir)?.sync_all())
    })();
    written.map_err(|e| failed(path, format!("it cannot be written: {e}")))
}

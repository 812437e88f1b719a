//! A name in a directory that is held open. Whoever swaps a parent for a link meanwhile redirects nothing, and links are
//! followed only where nobody but root could have made them.
//!
//! Everything changes by whole steps: new content comes as a temporary file beside the old one, is on disk, and takes its
//! name; a full disk or a kill leaves the old one whole. Absent: what content and attributes should be.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use crate::policy::kind::Failure;

/// Links on the way to one place, count: the kernel's own limit.
const LINKS_MAX: usize = 40;
/// One extended attribute kept over a replacement, bytes.
const XATTR_MAX_BYTES: usize = 64 * 1024;
/// Extended attributes that a new content inherits from the old one.
const KEPT_XATTRS: [&str; 3] = ["security.selinux", "system.posix_acl_access", "security.capability"];
/// Copied at once, bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// A name in a directory that is held open.
#[derive(Debug)]
pub struct Place {
    dir: OwnedFd,
    name: OsString,
    /// As the resource has it, for messages.
    shown: String,
}

/// What is at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, pipe or socket.
    Other,
}

/// What is at a place, without following a link.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Its kind.
    pub what: What,
    /// Permission bits, with set-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Names of this file.
    pub links: u64,
}

impl Look {
    fn of(stat: &Stat) -> Self {
        let what = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => What::File,
            FileType::Directory => What::Directory,
            FileType::Symlink => What::Link,
            _ => What::Other,
        };
        Look {
            what,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            #[expect(clippy::unnecessary_cast, reason = "its width differs between architectures")]
            links: stat.st_nlink as u64,
        }
    }
}

/// Mode and owners of something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Place {
    /// The place at `path` of the host at `root`; `None` when its directory is not there.
    pub fn find(root: &Path, path: &str) -> Result<Option<Self>, Failure> {
        Walk::begin(root, path)?.walk(false)
    }

    /// As [`Place::find`]; where `path` is itself a link of root's, the place it leads to.
    pub fn follow(root: &Path, path: &str) -> Result<Option<Self>, Failure> {
        Walk::begin(root, path)?.walk(true)
    }

    /// As [`Place::find`], where the directory has to be there.
    pub fn reach(root: &Path, path: &str) -> Result<Self, Failure> {
        Place::find(root, path)?.ok_or_else(|| no_parent(path))
    }

    /// What is there, if anything.
    pub fn look(&self) -> Result<Option<Look>, Failure> {
        match rustix::fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Look::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.failed("looked at", e)),
        }
    }

    /// Opens the file that is there; a link is not followed, a pipe does not block.
    pub fn open(&self) -> Result<File, Failure> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, &self.name, flags, Mode::empty()).map_err(|e| self.failed("opened", e))?;
        Ok(File::from(file))
    }

    /// Its bytes, at most `max`; `None` when there are more.
    pub fn read(&self, max: u64) -> Result<Option<Vec<u8>>, Failure> {
        let mut bytes = Vec::new();
        let read = self.open()?.take(max + 1).read_to_end(&mut bytes);
        read.map_err(|e| self.failed("read", e))?;
        Ok((bytes.len() as u64 <= max).then_some(bytes))
    }

    /// Where a link that is there leads.
    pub fn target(&self) -> Result<String, Failure> {
        let target = rustix::fs::readlinkat(&self.dir, &self.name, Vec::new()).map_err(|e| self.failed("read", e))?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// Puts `content` in the place of whatever file or link is there.
    pub fn replace(&self, content: &mut dyn Read, rights: Rights, label: Option<&str>) -> Result<(), Failure> {
        let old = self.look()?.filter(|l| l.what == What::File).map(|_| self.open()).transpose()?;
        self.fresh(&mut |temporary| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::openat(&self.dir, temporary, flags, Mode::from_raw_mode(0o600))?);
            let mut chunk = vec![0; CHUNK_BYTES];
            loop {
                let n = content.read(&mut chunk)?;
                if n == 0 {
                    break;
                }
                file.write_all(&chunk[..n])?;
            }
            if let Some(old) = &old {
                inherit(old, &file);
            }
            // Owners first: a change of owner clears set-id bits.
            rustix::fs::fchown(&file, Some(Uid::from_raw(rights.uid)), Some(Gid::from_raw(rights.gid)))?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(rights.mode))?;
            if let Some(label) = label {
                set_label(&file, label)?;
            }
            file.sync_all()
        })
    }

    /// Puts a link to `target` in the place of whatever file or link is there.
    pub fn link(&self, target: &str) -> Result<(), Failure> {
        self.fresh(&mut |temporary| Ok(rustix::fs::symlinkat(target, &self.dir, temporary)?))
    }

    /// Makes something under another name and gives it this one.
    fn fresh(&self, make: &mut dyn FnMut(&str) -> io::Result<()>) -> Result<(), Failure> {
        let temporary = self.temporary();
        // Left by a kill in the middle.
        let _ = rustix::fs::unlinkat(&self.dir, &temporary, AtFlags::empty());
        let made = make(&temporary)
            .and_then(|()| Ok(rustix::fs::renameat(&self.dir, &temporary, &self.dir, &self.name)?))
            .and_then(|()| self.sync());
        made.map_err(|e| {
            // Half a file must not take the space that the next try needs.
            let _ = rustix::fs::unlinkat(&self.dir, &temporary, AtFlags::empty());
            let hint = match e.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::NOSPC | Errno::DQUOT) => "; the old one is whole, make room on the disk",
                Some(Errno::ROFS) => "; the file system is read-only",
                Some(Errno::BUSY) => "; something is mounted on it",
                Some(Errno::PERM) => "; is it immutable (see lsattr)?",
                _ => "",
            };
            Failure::of(format!("{} cannot be written: {e}{hint}", self.shown))
        })
    }

    /// Always the same for one name, so that nothing is left behind for ever.
    fn temporary(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.name.as_bytes());
        let short: String = digest.as_ref().iter().take(8).map(|b| format!("{b:02x}")).collect();
        format!(".drydock-{short}")
    }

    fn sync(&self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::fsync(rustix::fs::openat(&self.dir, ".", flags, Mode::empty())?)?)
    }

    /// Makes a directory with no rights for others; [`Place::set_rights`] follows.
    pub fn make_dir(&self) -> Result<(), Failure> {
        rustix::fs::mkdirat(&self.dir, &self.name, Mode::from_raw_mode(0o700)).map_err(|e| self.failed("made", e))
    }

    /// Sets mode and owners of the file or directory that is there; what is right already is not touched.
    pub fn set_rights(&self, rights: Rights, label: Option<&str>) -> Result<(), Failure> {
        let file = self.open()?;
        let now = rustix::fs::fstat(&file).map_err(|e| self.failed("looked at", e))?;
        if (now.st_uid, now.st_gid) != (rights.uid, rights.gid) {
            rustix::fs::fchown(&file, Some(Uid::from_raw(rights.uid)), Some(Gid::from_raw(rights.gid)))
                .map_err(|e| self.failed("given to its owner", e))?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(rights.mode)).map_err(|e| self.failed("given its mode", e))?;
        if let Some(label) = label {
            set_label(&file, label).map_err(|e| self.failed("labelled", e))?;
        }
        Ok(())
    }

    /// Its SELinux label, if it has one.
    pub fn label(&self) -> Option<String> {
        let file = self.open().ok()?;
        let mut bytes = vec![0; XATTR_MAX_BYTES];
        let n = rustix::fs::fgetxattr(&file, "security.selinux", bytes.as_mut_slice()).ok()?;
        bytes.truncate(n);
        Some(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned())
    }

    /// Removes the file or link, or the directory if it is empty. What is gone already is fine.
    pub fn remove(&self) -> Result<(), Failure> {
        let flags = match self.look()? {
            None => return Ok(()),
            Some(look) if look.what == What::Directory => AtFlags::REMOVEDIR,
            Some(_) => AtFlags::empty(),
        };
        match rustix::fs::unlinkat(&self.dir, &self.name, flags) {
            Ok(()) | Err(Errno::NOENT) => self.sync().map_err(|e| self.failed("removed", e)),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                Err(Failure::of(format!("the directory {} is not empty; nothing of it is removed", self.shown)))
            }
            Err(e) => Err(self.failed("removed", e)),
        }
    }

    fn failed(&self, what: &str, e: impl std::fmt::Display) -> Failure {
        Failure::of(format!("{} cannot be {what}: {e}", self.shown))
    }
}

/// What a new content takes over from the old one. Where the file system has no such thing there is nothing to take.
fn inherit(old: &File, new: &File) {
    for name in KEPT_XATTRS {
        let mut bytes = vec![0; XATTR_MAX_BYTES];
        if let Ok(n) = rustix::fs::fgetxattr(old, name, bytes.as_mut_slice()) {
            let _ = rustix::fs::fsetxattr(new, name, &bytes[..n], XattrFlags::empty());
        }
    }
}

fn set_label(file: &impl AsFd, label: &str) -> io::Result<()> {
    let with_end = format!("{label}\0");
    Ok(rustix::fs::fsetxattr(file, "security.selinux", with_end.as_bytes(), XattrFlags::empty())?)
}

/// The names of `path`, the first one last.
fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    });
    let mut names: Vec<OsString> = names.collect();
    names.reverse();
    names
}

/// Says which directory is missing.
pub fn no_parent(path: &str) -> Failure {
    let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
    Failure::of(format!(
        "the directory {} does not exist; put a directory resource before this one, or install what brings it",
        parent.display()
    ))
}

/// A way down from the root.
struct Walk<'a> {
    path: &'a str,
    /// Components left, the next one last.
    left: Vec<OsString>,
    /// Open directories on the way, for `..`.
    stack: Vec<(OwnedFd, PathBuf)>,
    links: usize,
}

impl<'a> Walk<'a> {
    fn begin(root: &Path, path: &'a str) -> Result<Self, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(root, flags, Mode::empty()).map_err(|e| unreachable_at(root, e))?;
        Ok(Walk { path, left: components(Path::new(path)), stack: vec![(top, PathBuf::from("/"))], links: 0 })
    }

    fn walk(mut self, follow_last: bool) -> Result<Option<Place>, Failure> {
        let path = self.path;
        let nowhere = || Failure::of(format!("{path} names no entry of a directory"));
        loop {
            let next = self.left.pop().ok_or_else(nowhere)?;
            if next == ".." {
                if self.stack.len() > 1 {
                    self.stack.pop();
                }
                continue;
            }
            let is_last = self.left.is_empty();
            let (dir, at) = self.stack.last().ok_or_else(nowhere)?;
            let place = at.join(&next);
            let found = match rustix::fs::statat(dir, &next, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(stat),
                Err(Errno::NOENT) => None,
                Err(e) => return Err(unreachable_at(&place, e)),
            };
            let what = found.as_ref().map(|stat| Look::of(stat).what);
            match (found, what) {
                (Some(stat), Some(What::Link)) if !is_last || follow_last => self.turn(&stat, &next, &place)?,
                _ if is_last => {
                    let (dir, _) = self.stack.pop().ok_or_else(nowhere)?;
                    return Ok(Some(Place { dir, name: next, shown: self.path.to_owned() }));
                }
                (None, _) => return Ok(None),
                (_, Some(What::Directory)) => {
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let opened = rustix::fs::openat(dir, &next, flags, Mode::empty()).map_err(|e| unreachable_at(&place, e))?;
                    self.stack.push((opened, place));
                }
                _ => return Err(Failure::of(format!("{} is not a directory", place.display()))),
            }
        }
    }

    /// Goes where a link leads.
    fn turn(&mut self, stat: &Stat, name: &OsString, place: &Path) -> Result<(), Failure> {
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Failure::of(format!("{} goes through more than {LINKS_MAX} symbolic links", self.path)));
        }
        let Some((dir, at)) = self.stack.last() else { return Ok(()) };
        trusted(dir, at, stat, place)?;
        let target = rustix::fs::readlinkat(dir, name, Vec::new()).map_err(|e| unreachable_at(place, e))?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            self.stack.truncate(1);
        }
        self.left.extend(components(&target));
        Ok(())
    }
}

fn unreachable_at(place: &Path, e: Errno) -> Failure {
    Failure::of(format!("{} cannot be reached: {e}", place.display()))
}

/// Could nobody but root (or we) have put this link here?
fn trusted(dir: &OwnedFd, at: &Path, link: &Stat, place: &Path) -> Result<(), Failure> {
    let ours = |uid: u32| uid == 0 || uid == rustix::process::geteuid().as_raw();
    let holder = rustix::fs::fstat(dir).map_err(|e| Failure::of(format!("{} cannot be looked at: {e}", at.display())))?;
    let open_to_others = holder.st_mode & 0o022 != 0 && holder.st_mode & 0o1000 == 0;
    if ours(link.st_uid) && ours(holder.st_uid) && !open_to_others {
        return Ok(());
    }
    Err(Failure::of(format!(
        "{} is a symbolic link that others than root can change; it is not followed. Name the path it leads to",
        place.display()
    )))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn rights() -> Rights {
        let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Rights { mode: 0o640, uid: me.0, gid: me.1 }
    }

    #[test]
    fn content_takes_the_name_and_nothing_is_left_beside_it() {
        let root = tempfile::tempdir().expect("a root");
        std::fs::create_dir(root.path().join("etc")).expect("made");
        let place = Place::reach(root.path(), "/etc/conf").expect("reached");
        for text in ["one", "two"] {
            place.replace(&mut text.as_bytes(), rights(), None).expect("written");
            assert_eq!(place.read(10).expect("read").as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(std::fs::read_dir(root.path().join("etc")).expect("listed").count(), 1);
        let look = place.look().expect("looked").expect("there");
        assert_eq!((look.what, look.mode, look.size), (What::File, 0o640, 3));
        place.remove().expect("removed");
        place.remove().expect("gone already");
        assert!(place.look().expect("looked").is_none());
    }

    /// A reader that fails in the middle, as a disk does.
    struct Broken(usize);

    impl Read for Broken {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0 > 2 {
                return Err(Errno::NOSPC.into());
            }
            out.fill(b'x');
            Ok(out.len())
        }
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_content_and_no_rest() {
        let root = tempfile::tempdir().expect("a root");
        let place = Place::reach(root.path(), "/conf").expect("reached");
        place.replace(&mut "old".as_bytes(), rights(), None).expect("written");
        let failure = place.replace(&mut Broken(0), rights(), None).expect_err("full");
        assert!(failure.message.contains("make room"), "{failure:?}");
        assert_eq!(std::fs::read_to_string(root.path().join("conf")).expect("read"), "old");
        assert_eq!(std::fs::read_dir(root.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_link_of_root_is_followed_within_the_root_and_one_of_a_user_is_not() {
        let root = tempfile::tempdir().expect("a root");
        let host = |p: &str| root.path().join(p);
        std::fs::create_dir_all(host("run/app")).expect("made");
        std::fs::create_dir(host("var")).expect("made");
        symlink("/run", host("var/run")).expect("linked");
        symlink("../run/../run/app", host("var/app")).expect("linked");
        for path in ["/var/run/app/pid", "/var/app/pid"] {
            let place = Place::reach(root.path(), path).expect("reached");
            place.replace(&mut path.as_bytes(), rights(), None).expect("written");
            assert_eq!(std::fs::read_to_string(host("run/app/pid")).expect("read"), path);
        }
        assert!(Place::find(root.path(), "/var/none/x").expect("looked").is_none());
        assert!(Place::reach(root.path(), "/var/none/x").expect_err("nothing").message.contains("/var/none does not exist"));
        symlink("loop", host("loop")).expect("linked");
        assert!(Place::find(root.path(), "/loop/x").is_err());
        if rustix::process::geteuid().is_root() {
            std::fs::create_dir(host("home")).expect("made");
            std::fs::create_dir(host("secret")).expect("made");
            chown(host("home"), Some(4711), Some(4711)).expect("given away");
            symlink("/secret", host("home/dir")).expect("linked");
            let failure = Place::find(root.path(), "/home/dir/x").expect_err("a trap");
            assert!(failure.message.contains("others than root"), "{failure:?}");
        }
        std::fs::create_dir(host("open")).expect("made");
        std::fs::set_permissions(host("open"), std::fs::Permissions::from_mode(0o777)).expect("opened");
        symlink("/run", host("open/dir")).expect("linked");
        assert!(Place::find(root.path(), "/open/dir/x").is_err());
    }

    #[test]
    fn a_link_at_the_place_itself_is_replaced_not_followed() {
        let root = tempfile::tempdir().expect("a root");
        std::fs::write(root.path().join("shadow"), "secret").expect("written");
        symlink("shadow", root.path().join("conf")).expect("linked");
        let place = Place::reach(root.path(), "/conf").expect("reached");
        assert!(place.open().is_err());
        assert_eq!(place.target().expect("read"), "shadow");
        place.replace(&mut "mine".as_bytes(), rights(), None).expect("written");
        assert_eq!(std::fs::read_to_string(root.path().join("shadow")).expect("read"), "secret");
        assert_eq!(place.look().expect("looked").expect("there").what, What::File);
        place.link("elsewhere").expect("linked");
        assert_eq!(place.target().expect("read"), "elsewhere");
    }
}

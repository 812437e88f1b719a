//! Paths by inotify. Directories are watched, not files: what is replaced by rename takes its own watch with it. For each path
//! the directory that holds it tells of everything, and every directory above tells when the next one down is made,
//! removed or replaced; then the chain is laid anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use inotify::{EventMask, EventOwned, WatchDescriptor, WatchMask, Watches};
use rustix::fs::{Mode, OFlags};

use super::packages;
use crate::policy::kind::Watch;

/// Where systemd looks for units and the links that enable them, highest first.
const UNIT_DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Directories in one of them that hold links to enabled units, count.
const WANTS_MAX: usize = 256;
/// Components of a path, count; longer ones are beyond the kernel's own limit.
const DEPTH_MAX: usize = 256;

/// What is watched.
pub struct Tree {
    watches: Watches,
    root: PathBuf,
    /// By the kernel's number of the watch.
    dirs: HashMap<i32, Dir>,
    armed: HashMap<Watch, BTreeSet<(i32, Name)>>,
    /// Files of /proc/sys, held open: when the kernel forgets the name of one it makes another inode for the next user, and
    /// a watch of the first one hears nothing more.
    pins: HashMap<PathBuf, OwnedFd>,
}

/// A watched directory, or a file of /proc/sys.
struct Dir {
    descriptor: WatchDescriptor,
    names: BTreeMap<Name, BTreeSet<Watch>>,
}

/// Which entry of a directory matters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Name {
    /// This one.
    One(OsString),
    /// Every one.
    Any,
    /// The directories of links that enable units.
    Wants,
    /// The watched thing itself.
    Itself,
}

impl Name {
    fn is(&self, name: Option<&OsStr>) -> bool {
        match (self, name) {
            (Name::Itself, _) => true,
            (Name::One(own), Some(name)) => own == name,
            (Name::Any, Some(name)) => packages::is_data(&name.to_string_lossy()),
            (Name::Wants, Some(name)) => is_wants(name),
            (_, None) => false,
        }
    }
}

fn is_wants(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.ends_with(".wants") || name.ends_with(".requires")
}

/// One link of a chain.
struct Link {
    dir: PathBuf,
    name: Name,
    mask: WatchMask,
}

/// Everything that can happen to an entry.
fn leaf_mask() -> WatchMask {
    chain_mask() | WatchMask::CLOSE_WRITE | WatchMask::MODIFY | WatchMask::ATTRIB
}

/// What makes a path lead elsewhere.
fn chain_mask() -> WatchMask {
    WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR
        | WatchMask::MASK_ADD
}

impl Tree {
    /// Nothing is watched yet.
    pub fn new(watches: Watches, root: &Path) -> Self {
        Tree { watches, root: root.to_owned(), dirs: HashMap::new(), armed: HashMap::new(), pins: HashMap::new() }
    }

    /// Lays the chain of `watch`, anew where it is laid already; what of it the kernel refuses comes back in words.
    pub fn arm(&mut self, watch: &Watch) -> Option<String> {
        let mut refused = None;
        if let Watch::Sysctl(path) = watch {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            // Where it cannot be opened, it cannot be watched either, which is told below.
            if let Ok(pin) = rustix::fs::open(below(&self.root, path), flags, Mode::empty()) {
                self.pins.insert(path.clone(), pin);
            }
        }
        let mut now = BTreeSet::new();
        // From the top: what appears further down meanwhile is told by what is already watched.
        for link in self.links(watch) {
            match self.watches.add(&link.dir, link.mask) {
                Ok(descriptor) => {
                    // Another path of the same directory has the same descriptor.
                    let id = descriptor.get_watch_descriptor_id();
                    now.insert((id, link.name.clone()));
                    let dir = self.dirs.entry(id).or_insert_with(|| Dir { descriptor, names: BTreeMap::new() });
                    dir.names.entry(link.name).or_default().insert(watch.clone());
                }
                // The directory above tells when it comes.
                Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {}
                Err(e) => {
                    refused = Some(format!("{} cannot be watched ({e}; fs.inotify.max_user_watches?)", link.dir.display()));
                }
            }
        }
        let before = self.armed.insert(watch.clone(), now.clone()).unwrap_or_default();
        let stale: Vec<_> = before.difference(&now).cloned().collect();
        self.drop_links(watch, &stale);
        refused
    }

    /// Ends it.
    pub fn disarm(&mut self, watch: &Watch) {
        if let Watch::Sysctl(path) = watch {
            self.pins.remove(path);
        }
        let links: Vec<_> = self.armed.remove(watch).unwrap_or_default().into_iter().collect();
        self.drop_links(watch, &links);
    }

    fn drop_links(&mut self, watch: &Watch, links: &[(i32, Name)]) {
        for (id, name) in links {
            let Some(dir) = self.dirs.get_mut(id) else { continue };
            if let Some(watches) = dir.names.get_mut(name) {
                watches.remove(watch);
                if watches.is_empty() {
                    dir.names.remove(name);
                }
            }
            if dir.names.is_empty()
                && let Some(dir) = self.dirs.remove(id)
            {
                // It may have gone with its directory.
                let _ = self.watches.remove(dir.descriptor);
            }
        }
    }

    /// Whom an event concerns; chains that it broke are laid anew before this returns.
    pub fn concerned(&mut self, event: &EventOwned) -> BTreeSet<Watch> {
        let lost = EventMask::IGNORED | EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::UNMOUNT;
        let moved = EventMask::CREATE | EventMask::DELETE | EventMask::MOVED_FROM | EventMask::MOVED_TO;
        let Some(dir) = self.dirs.get(&event.wd.get_watch_descriptor_id()) else { return BTreeSet::new() };
        let whole = event.mask.intersects(lost);
        let name = event.name.as_deref();
        let concerned: BTreeSet<Watch> =
            dir.names.iter().filter(|(own, _)| whole || own.is(name)).flat_map(|(_, watches)| watches.iter().cloned()).collect();
        if event.mask.contains(EventMask::IGNORED) {
            self.dirs.remove(&event.wd.get_watch_descriptor_id());
        }
        if whole || event.mask.intersects(moved) {
            for watch in &concerned {
                if let Some(problem) = self.arm(watch) {
                    tracing::warn!("{problem}; it is checked periodically");
                }
            }
        }
        concerned
    }

    /// Those that something mounted or unmounted at one of these places hides or shows.
    pub fn below(&self, places: &BTreeSet<PathBuf>) -> BTreeSet<Watch> {
        let hidden = |path: &Path| {
            let path = below(&self.root, path);
            // As the mount table has it: without links.
            let parent = path.parent().and_then(|p| p.canonicalize().ok());
            let real = parent.map(|p| p.join(path.file_name().unwrap_or_default()));
            places.iter().any(|p| path.starts_with(p) || real.as_ref().is_some_and(|r| r.starts_with(p)))
        };
        let concerned = |watch: &&Watch| match watch {
            Watch::Path(path) | Watch::Sysctl(path) => hidden(path),
            Watch::Unit(_) => UNIT_DIRECTORIES.iter().any(|d| hidden(Path::new(d))),
            Watch::Packages => packages::DIRECTORIES.iter().any(|d| hidden(Path::new(d))),
        };
        self.armed.keys().filter(concerned).cloned().collect()
    }

    fn links(&self, watch: &Watch) -> Vec<Link> {
        match watch {
            Watch::Path(path) => self.chain(path, &path_name(path)),
            Watch::Sysctl(path) => vec![Link {
                dir: below(&self.root, path),
                name: Name::Itself,
                mask: WatchMask::MODIFY | WatchMask::CLOSE_WRITE | WatchMask::MASK_ADD,
            }],
            Watch::Packages => {
                packages::DIRECTORIES.iter().flat_map(|dir| self.chain(&Path::new(dir).join("*"), &Name::Any)).collect()
            }
            Watch::Unit(unit) => UNIT_DIRECTORIES.iter().flat_map(|dir| self.unit(Path::new(dir), unit)).collect(),
        }
    }

    /// The unit's file in `dir` and the links to it in the directories that enable units.
    fn unit(&self, dir: &Path, unit: &str) -> Vec<Link> {
        let mut links = self.chain(&dir.join(unit), &Name::One(OsString::from(unit)));
        let place = below(&self.root, dir);
        links.push(Link { dir: place.clone(), name: Name::Wants, mask: chain_mask() });
        let entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
        let wants = entries.filter(|e| is_wants(&e.file_name())).take(WANTS_MAX);
        links.extend(wants.map(|e| Link { dir: e.path(), name: Name::One(OsString::from(unit)), mask: chain_mask() }));
        links
    }

    /// From the root down to the directory that holds the last component; through links, also where they lead.
    fn chain(&self, path: &Path, last: &Name) -> Vec<Link> {
        let path = below(&self.root, path);
        let mut links = self.straight(&path, last);
        let parent = path.parent().unwrap_or(&path);
        // The deepest directory that is there, as it is without links.
        let there = parent.ancestors().take(DEPTH_MAX).find_map(|p| Some((p, p.canonicalize().ok()?)));
        if let Some((lexical, real)) = there
            && lexical != real
            && let Ok(rest) = path.strip_prefix(lexical)
        {
            links.extend(self.straight(&real.join(rest), last));
        }
        // A link itself: also what it leads to.
        if let Ok(real) = path.canonicalize()
            && real != path
        {
            links.extend(self.straight(&real, &path_name(&real)));
        }
        links
    }

    fn straight(&self, path: &Path, last: &Name) -> Vec<Link> {
        let Ok(rest) = path.strip_prefix(&self.root) else { return Vec::new() };
        let mut dir = self.root.clone();
        let mut links = Vec::new();
        let names: Vec<OsString> = rest
            .components()
            .filter_map(|c| if let Component::Normal(name) = c { Some(name.to_owned()) } else { None })
            .collect();
        for (i, name) in names.iter().take(DEPTH_MAX).enumerate() {
            let is_last = i + 1 == names.len();
            links.push(Link {
                dir: dir.clone(),
                name: if is_last { last.clone() } else { Name::One(name.clone()) },
                mask: if is_last { leaf_mask() } else { chain_mask() },
            });
            dir.push(name);
        }
        links
    }
}

fn path_name(path: &Path) -> Name {
    path.file_name().map_or(Name::Itself, |name| Name::One(name.to_owned()))
}

/// The path on the host, in a root.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

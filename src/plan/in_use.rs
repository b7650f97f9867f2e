//! What is in use now: every inode of the managed file systems that some process maps, runs or has open, or that is the root
//! of a mount.
//!
//! Most of it is replaced by nobody. But a maintainer script or a trigger may rebuild a cache, remove the archive of
//! locales, rename a database: no list says so, and a process may use the old one under a name that is gone, in a chroot
//! or in another mount namespace. So each is remembered by its handle, which leads to it from anywhere.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use nix::errno::Errno;
use smallvec::smallvec;

use super::places::{Places, Reach};
use crate::core::inode::{Born, Device, Inode};
use crate::core::looks::Looks;
use crate::core::mountinfo::Mount;
use crate::core::paths::ListedPath;
use crate::core::plan::{FoundFile, Reason};
use crate::core::proc_maps::{DELETED, Mapping};
use crate::sys::files::Root;
use crate::sys::handle::FileHandle;
use crate::sys::kernel::Stat;
use crate::sys::processes;
use crate::sys::scan::{self, Question, Seen, Unreadable, What};
use crate::sys::shown::ShownNames;
use crate::sys::store;

/// What was found.
#[derive(Debug, Default)]
pub struct InUse {
    files: HashMap<Inode, UsedFile>,
    /// Those that somebody is in or has open, and those of the files: the kernel keeps the directory that a file was
    /// opened through as long as the file.
    directories: HashSet<Inode>,
    /// Processes that could not be read: whatever they use is not known.
    pub unreadable: Unreadable,
    /// Who need not be asked again, once what was found is protected. Nobody is known where somebody could not be read.
    pub looks: Looks,
}

#[derive(Debug)]
struct UsedFile {
    site: Arc<Path>,
    born: Option<Born>,
    bytes: u64,
    /// A name that leads to it from here.
    name: Option<ListedPath>,
    handle: Option<FileHandle>,
}

/// As a process showed it.
struct Shown {
    born: Option<Born>,
    bytes: u64,
    /// The name it was opened by, in whatever namespace.
    name: Option<PathBuf>,
    handle: Option<FileHandle>,
}

/// Asks every process that has run since it was asked `before`.
///
/// # Errors
/// Where /proc or a directory cannot be read. A process that cannot be is no error, see [`InUse::unreadable`].
pub fn in_use(root: &Root, places: &Places, before: &Looks) -> Result<InUse> {
    let mut shown: HashMap<Inode, Shown> = HashMap::new();
    let mut mapped: HashMap<PathBuf, u64> = HashMap::new();
    let mut called = BTreeSet::new();
    let mut directories = HashSet::new();
    let mut opened_in = BTreeSet::new();
    let mounts = places.mounts();
    let devices = mounts.iter().map(|mount| mount.device).collect();
    let question = WhatIsUsed { here: places.reach(), devices, mounts: mounts.clone(), shown: Mutex::default() };
    let mut looks = Looks::at(mounts.iter().map(|mount| mount.id));
    let is_due = |pid| {
        looks.note(pid, processes::ran(pid));
        !before.cover(&looks, pid)
    };
    let unreadable = scan::scan_some(root, question, is_due, |used| match used {
        Used::File(inode, file) => {
            shown.entry(inode).or_insert(file);
        }
        Used::FileIn(dir) => {
            opened_in.insert(dir);
        }
        Used::Directory(inode) => {
            directories.insert(inode);
        }
        Used::Mapping(name, ino) => {
            mapped.insert(name, ino);
        }
        Used::Called(name) => {
            called.insert(name);
        }
    })?;
    if !unreadable.is_empty() {
        looks = Looks::default();
    }
    let mut in_use = InUse { files: HashMap::new(), directories, unreadable, looks };
    let mut names = ShownNames::new(root, &mounts);
    // By name, so that a directory is seldom opened twice.
    let mut shown: Vec<(Inode, Shown)> = shown.into_iter().collect();
    shown.sort_unstable_by(|(_, a), (_, b)| {
        a.name.as_deref().map(Path::as_os_str).cmp(&b.name.as_deref().map(Path::as_os_str))
    });
    for (inode, file) in shown {
        in_use.add(&mut names, places, inode, file);
    }
    for (name, ino) in mapped {
        in_use.add_by_name(&mut names, places, &name, |stat| stat.inode.ino == ino);
    }
    for name in called {
        in_use.add_by_name(&mut names, places, &name, |stat| !stat.is_directory());
        in_use.directories.extend(names.directory(&name).and_then(|dir| dir.stat().ok()).map(|stat| stat.inode));
    }
    for dir in opened_in {
        in_use.add_directory(&mut names, places, &dir);
    }
    Ok(in_use)
}

struct WhatIsUsed {
    here: Reach,
    devices: HashSet<Device>,
    mounts: Vec<Mount>,
    /// Those that were shown: their name and handle are known.
    shown: Mutex<HashSet<Inode>>,
}

enum Used {
    File(Inode, Shown),
    /// A file that was shown by another name, perhaps.
    FileIn(Arc<Path>),
    Directory(Inode),
    Mapping(PathBuf, u64),
    /// Whatever has this name now.
    Called(PathBuf),
}

impl Question for WhatIsUsed {
    type Answer = Used;

    fn devices(&self) -> &HashSet<Device> {
        &self.devices
    }

    fn mapping(&self, mapping: &Mapping) -> bool {
        self.here.may_have_device(mapping.device)
    }

    fn inode(&self, stat: &Stat) -> bool {
        self.here.may_have(stat)
    }

    fn superblocks(&self) -> &HashSet<Device> {
        self.here.superblocks()
    }

    fn tell(&self, seen: &Seen) -> Option<Used> {
        match seen.what {
            What::Stat(stat) if stat.is_directory() => Some(Used::Directory(stat.inode)),
            // Deleted already: nothing can give it a name again.
            What::Stat(stat) if stat.links == 0 => None,
            // Another of its names may be in another directory.
            What::Stat(stat) if self.was_shown(&stat) && stat.links > 1 => {
                Some(Used::FileIn(path_of(&self.name(seen)?)?.dir().into()))
            }
            What::Stat(stat) if self.was_shown(&stat) => None,
            What::Stat(stat) => {
                let file = show(seen, self.name(seen), &stat)?;
                self.shown().insert(stat.inode);
                Some(Used::File(stat.inode, file))
            }
            What::Mapping(_, ino) => Some(Used::Mapping(seen.opened_as()?, ino)),
            What::Name => self.name(seen).map(Used::Called),
        }
    }
}

impl WhatIsUsed {
    /// The root of a mount has a name on the mounts that matter, or none: the mount point is no name of it.
    fn name(&self, seen: &Seen) -> Option<PathBuf> {
        let Some(mount) = seen.mount() else { return seen.opened_as() };
        let mut here = self.mounts.iter().filter(|here| here.device == mount.device);
        here.find_map(|here| here.path_outside(&mount.root))
    }

    fn was_shown(&self, stat: &Stat) -> bool {
        self.shown().contains(&stat.inode)
    }

    fn shown(&self) -> MutexGuard<'_, HashSet<Inode>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `None` where the process has let go of it: another one may still have it.
fn show(seen: &Seen, name: Option<PathBuf>, stat: &Stat) -> Option<Shown> {
    let handle = match seen.handle() {
        Ok(handle) => handle,
        Err(Errno::ENOENT | Errno::ESRCH) => return None,
        Err(_) => None,
    };
    Some(Shown { born: stat.born, bytes: stat.bytes, name, handle })
}

impl InUse {
    /// The files, as reasons for a plan, with their names: from then on they are known by their handles alone.
    pub fn take_found(&mut self) -> Vec<FoundFile> {
        let found = |(inode, file): (&Inode, &mut UsedFile)| FoundFile {
            path: file.name.take(),
            site: file.site.clone(),
            inode: *inode,
            born: file.born,
            bytes: file.bytes,
            reasons: smallvec![(Reason::InUse, None)],
        };
        let mut files: Vec<_> = self.files.iter_mut().map(found).collect();
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        files
    }

    /// Whether somebody is in this directory, has it open, or uses a file in it.
    pub fn has_directory(&self, inode: Inode) -> bool {
        self.directories.contains(&inode)
    }

    /// What leads to an inode without a name.
    pub fn handle(&self, inode: Inode) -> Option<&FileHandle> {
        self.files.get(&inode)?.handle.as_ref()
    }

    fn add(&mut self, names: &mut ShownNames, places: &Places, inode: Inode, file: Shown) {
        let Shown { born, bytes, name, handle } = file;
        let path = name.and_then(|name| path_of(&name));
        let mut named = self.add_directory_and_find(names, places, path, inode);
        if named.is_none() {
            let path =
                handle.as_ref().and_then(|handle| name_here(places, inode, handle)).and_then(|name| path_of(&name));
            named = self.add_directory_and_find(names, places, path, inode);
        }
        let used = match named {
            Some(Named { site, path, .. }) => Some(UsedFile { site, born, bytes, name: Some(path), handle }),
            None => {
                let site = places.of_dev(inode.dev).filter(|site| places.knows_inodes(site));
                site.map(|site| UsedFile { site, born, bytes, name: None, handle })
            }
        };
        self.files.extend(used.map(|used| (inode, used)));
    }

    /// Also where the name is gone from the directory: the file was opened through it all the same.
    fn add_directory_and_find(
        &mut self,
        names: &mut ShownNames,
        places: &Places,
        path: Option<ListedPath>,
        inode: Inode,
    ) -> Option<Named> {
        // A name that we gave it would go with the guard.
        let path = path.filter(|path| !store::is_alias(path, inode))?;
        self.add_directory(names, places, path.dir());
        find(names, places, path, |stat| stat.inode == inode)
    }

    fn add_directory(&mut self, names: &mut ShownNames, places: &Places, path: &Path) {
        let Some(dir) = names.directory(path) else { return };
        if places.of(&dir).is_ok_and(|place| place.is_some()) {
            self.directories.extend(dir.stat().ok().map(|stat| stat.inode));
        }
    }

    /// For what is known by its number only, or not even by that: the name has to be the one.
    fn add_by_name(&mut self, names: &mut ShownNames, places: &Places, name: &Path, is_it: impl Fn(&Stat) -> bool) {
        let Some(path) = path_of(name) else { return };
        self.add_directory(names, places, path.dir());
        if let Some(Named { site, path, stat }) = find(names, places, path, is_it) {
            let used = UsedFile { site, born: stat.born, bytes: stat.bytes, name: Some(path), handle: None };
            self.files.entry(stat.inode).or_insert(used);
        }
    }
}

struct Named {
    site: Arc<Path>,
    path: ListedPath,
    stat: Stat,
}

/// Where a name leads from here, if it leads to the right inode and that can be linked. What cannot be looked at by this
/// name is one process's oddity, and no reason to stop anybody.
fn find(names: &mut ShownNames, places: &Places, path: ListedPath, is_it: impl Fn(&Stat) -> bool) -> Option<Named> {
    let dir = names.directory(path.dir())?;
    let place = places.of(&dir).ok()??;
    let stat = dir.entry(path.name()).ok()?.filter(|stat| stat.mount_id == place.mount_id && is_it(stat))?;
    let linkable = places.can_link(&place, &dir, path.name()).ok()?;
    linkable.then_some(Named { site: place.site, path, stat })
}

/// What the kernel calls an inode on our own mount, whatever it is called where it was opened.
fn name_here(places: &Places, inode: Inode, handle: &FileHandle) -> Option<PathBuf> {
    let site = places.of_dev(inode.dev).filter(|site| places.knows_inodes(site))?;
    let file = handle.open(&*places.site(&site)?).ok()?;
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

/// What a link in /proc reads, as a path, without what the kernel says behind one that is gone.
pub(crate) fn path_of(name: &Path) -> Option<ListedPath> {
    let name = name.as_os_str().as_bytes();
    ListedPath::parse(name.strip_suffix(DELETED).unwrap_or(name))
}

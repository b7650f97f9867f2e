//! What is looked for in /proc and in the mount tables, and what to tell of it.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use smallvec::SmallVec;

use super::{Alias, KeptDirectory};
use crate::core::holder::How;
use crate::core::inode::{Device, Inode};
use crate::core::kernel_holders::without_deleted;
use crate::core::mountinfo::Mount;
use crate::core::proc_maps::Mapping;
use crate::plan::in_use::path_of;
use crate::sys::files::Root;
use crate::sys::kernel::Stat;
use crate::sys::mounts;
use crate::sys::scan::{Question, Seen, What};

/// One of the things that are kept, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// An alias.
    Alias(usize),
    /// A directory with a marker.
    Directory(usize),
}

/// What is kept of one inode, and nearly always that is one thing.
pub type AllKept = SmallVec<[Kept; 1]>;

/// Who has any of these.
#[derive(Debug)]
pub struct WhoHolds {
    // One inode may have several aliases (a directory that is managed at two mount points), and on btrfs several inodes
    // have one number.
    by_inode: HashMap<Inode, AllKept>,
    by_mapping: HashMap<(Device, u64), AllKept>,
    devices: HashSet<Device>,
    near: NearDirectories,
}

/// Something of ours that is used, or may be.
#[derive(Debug)]
pub struct Held {
    /// By whom.
    pub by: User,
    /// What is used.
    pub what: Used,
    /// Where a file is, by its name, that may have been opened through one of the directories.
    pub opened_in: Option<Arc<Path>>,
}

/// Who uses it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum User {
    /// A process, in this way.
    Process(i32, How),
    /// A mount, by its number and its mount point, as a process sees it, if one does.
    Mount(u64, PathBuf, Option<i32>),
}

/// What is used, as exactly as it could be told.
#[derive(Debug)]
pub enum Used {
    /// These.
    Exactly(AllKept),
    /// Something on this file system, if it is known, whose name ended in this.
    Called(Option<Device>, OsString),
}

impl WhoHolds {
    /// These aliases and directories.
    ///
    /// # Errors
    /// Where the mount table cannot be read.
    pub fn new<'a>(
        root: &Root,
        aliases: impl Iterator<Item = (usize, &'a Alias)>,
        directories: &[KeptDirectory],
    ) -> Result<WhoHolds> {
        let mut by_inode: HashMap<Inode, AllKept> = HashMap::new();
        let mut by_mapping: HashMap<(Device, u64), AllKept> = HashMap::new();
        let mut devices: HashSet<Device> = directories.iter().map(|directory| directory.device).collect();
        for (at, alias) in aliases {
            by_inode.entry(alias.inode).or_default().push(Kept::Alias(at));
            by_mapping.entry((alias.device, alias.inode.ino)).or_default().push(Kept::Alias(at));
            devices.insert(alias.device);
        }
        for (at, directory) in directories.iter().enumerate() {
            for inode in &directory.with_above {
                by_inode.entry(*inode).or_default().push(Kept::Directory(at));
            }
        }
        let near = NearDirectories::new(root, directories)?;
        Ok(WhoHolds { by_inode, by_mapping, devices, near })
    }

    /// The mounts that files may be on which were opened through one of the directories.
    pub fn near_mounts(&self) -> &[Mount] {
        &self.near.mounts
    }

    /// A mount of a deleted file that cannot be looked at, a file that an io_uring has: nothing is sure but what it was
    /// called.
    fn called(&self, seen: &Seen) -> Option<Used> {
        match seen.mount() {
            Some(mount) => Some(Used::Called(Some(mount.device), mount.deleted_root()?.file_name()?.to_owned())),
            None => Some(Used::Called(None, without_deleted(&seen.opened_as()?).file_name()?.to_owned())),
        }
    }

    /// By the name that it has here.
    fn opened_in(&self, seen: &Seen) -> Option<Arc<Path>> {
        let name = match seen.mount() {
            Some(mount) => {
                let root = mount.deleted_root().unwrap_or(&mount.root);
                self.near.mounts.iter().find_map(|near| near.path_outside(root))?
            }
            None => seen.opened_as()?,
        };
        Some(path_of(&name)?.dir().into())
    }
}

impl Question for WhoHolds {
    type Answer = Held;

    fn devices(&self) -> &HashSet<Device> {
        &self.devices
    }

    fn mapping(&self, mapping: &Mapping) -> bool {
        self.by_mapping.contains_key(&(mapping.device, mapping.ino)) || self.near.devices.contains(&mapping.device)
    }

    fn inode(&self, stat: &Stat) -> bool {
        self.by_inode.contains_key(&stat.inode) || self.near.may_be_in_one(stat)
    }

    fn superblocks(&self) -> &HashSet<Device> {
        &self.near.superblocks
    }

    fn tell(&self, seen: &Seen) -> Option<Held> {
        let (kept, may_be_near) = match seen.what {
            What::Stat(stat) => {
                let kept = self.by_inode.get(&stat.inode);
                // What is no alias was asked for because it is near, be it by a mount elsewhere.
                (kept, !stat.is_directory() && (kept.is_none() || self.near.may_be_in_one(&stat)))
            }
            What::Mapping(device, ino) => (self.by_mapping.get(&(device, ino)), self.near.devices.contains(&device)),
            What::Name => (None, false),
        };
        let what = match seen.what {
            What::Name => self.called(seen)?,
            What::Stat(_) | What::Mapping(..) => Used::Exactly(kept.cloned().unwrap_or_default()),
        };
        let opened_in = may_be_near.then(|| self.opened_in(seen)).flatten();
        let says_something = !matches!(&what, Used::Exactly(kept) if kept.is_empty()) || opened_in.is_some();
        let by = match (seen.mount(), seen.pid) {
            (Some(mount), pid) => User::Mount(mount.id, mount.point.clone(), pid),
            (None, Some(pid)) => User::Process(pid, seen.how),
            (None, None) => return None,
        };
        says_something.then_some(Held { by, what, opened_in })
    }
}

/// Where files may be that were opened through one of the directories.
#[derive(Debug)]
struct NearDirectories {
    devices: HashSet<Device>,
    /// Those of them that are known by their mounts alone.
    superblocks: HashSet<Device>,
    devs: HashSet<u64>,
    mounts: Vec<Mount>,
}

impl NearDirectories {
    fn new(root: &Root, directories: &[KeptDirectory]) -> Result<NearDirectories> {
        let devices: HashSet<Device> = directories.iter().map(|directory| directory.device).collect();
        let devs = directories.iter().map(|directory| directory.inode.dev).collect();
        let table = if directories.is_empty() { Vec::new() } else { mounts::table(root)? };
        let mounts: Vec<Mount> = table.into_iter().filter(|mount| devices.contains(&mount.device)).collect();
        let superblocks = mounts.iter().filter(|mount| mount.has_several_devs()).map(|mount| mount.device).collect();
        Ok(NearDirectories { devices, superblocks, devs, mounts })
    }

    /// On overlayfs files have other device numbers than directories.
    fn may_be_in_one(&self, stat: &Stat) -> bool {
        !stat.is_directory()
            && (self.devs.contains(&stat.inode.dev) || self.mounts.iter().any(|mount| mount.id == stat.mount_id))
    }
}

/// Whether something may have been called so; what never had a name may have had any.
pub fn may_be_called<'a>(mut names: impl Iterator<Item = &'a Path>, last: &OsStr) -> bool {
    match names.next() {
        None => true,
        Some(first) => first.file_name() == Some(last) || names.any(|name| name.file_name() == Some(last)),
    }
}

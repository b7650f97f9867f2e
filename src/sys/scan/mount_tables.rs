//! Mounts, in every mount namespace: nearly every daemon of systemd has one (systemd.exec(5), `PrivateTmp=`).
//!
//! A mount keeps its root in use, and that may be a file, or a directory that was removed. No process has to have it open,
//! and no lease knows of it. And on btrfs and overlayfs the `st_dev` of a file does not tell its file system, but the mount
//! that it was opened through does. The id of a mount is its own on the whole machine.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::{Directory, directory};
use crate::core::inode::{Device, Inode};
use crate::core::mountinfo::{self, Mount};
use crate::sys::kernel::{self, LastLink, Stat};
use crate::sys::mounts;
use crate::sys::namespaces::{self, Stop};

/// What is known of them.
#[derive(Debug)]
pub struct MountTables {
    devices: HashSet<Device>,
    superblocks: HashSet<Device>,
    own: Option<u64>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Mount namespaces, and from where: mountinfo has only what is below a process's root directory.
    views: HashSet<(u64, Inode, u64)>,
    /// Those of the superblocks, elsewhere.
    mounts: HashSet<u64>,
    /// Whose roots were looked at.
    told: HashSet<u64>,
}

/// The root of a mount.
#[derive(Debug)]
pub struct MountRoot<'a> {
    /// The mount, as the table that it is in has it.
    pub mount: &'a Mount,
    /// Which inode it is; `None` where it cannot be looked at, as something else is mounted over it.
    pub seen: Option<SeenRoot<'a>>,
}

/// It was looked at.
#[derive(Debug)]
pub struct SeenRoot<'a> {
    /// What it is.
    pub stat: Stat,
    /// /proc, in which this link leads to it.
    pub proc: &'a Directory,
    /// `self/fd/NUMBER`.
    pub link: OsString,
}

impl MountTables {
    /// For the mounts of these devices. Some of them are superblocks whose files are known by their mounts alone.
    pub fn new(proc: &Directory, devices: HashSet<Device>, superblocks: HashSet<Device>) -> MountTables {
        let own = namespace(proc, "self").ok();
        MountTables { devices, superblocks, own, known: Mutex::default() }
    }

    /// Whether a file was opened through a mount elsewhere of one of the superblocks.
    pub fn has(&self, stat: &Stat) -> bool {
        !self.superblocks.is_empty() && self.known().mounts.contains(&stat.mount_id)
    }

    /// Looks at the mounts that this process itself sees.
    ///
    /// # Errors
    /// Where its mount table cannot be read.
    pub fn look_here(&self, proc: &Directory, tell: impl FnMut(&MountRoot)) -> nix::Result<()> {
        if self.devices.is_empty() {
            return Ok(());
        }
        let task = directory(proc, "self")?;
        let root = kernel::stat(&task, OsStr::new("root"), LastLink::Target)?;
        self.look(proc, &task, Some(&root), tell)
    }

    /// Looks at the mounts that a task sees, if nobody with the same root directory has shown them before.
    ///
    /// # Errors
    /// Where its mount table cannot be read.
    pub fn look_from(
        &self,
        proc: &Directory,
        task: &Directory,
        root: Option<&Stat>,
        tell: impl FnMut(&MountRoot),
    ) -> nix::Result<()> {
        if self.devices.is_empty() {
            return Ok(());
        }
        match self.look(proc, task, root, tell) {
            // It ends just now, or has no mounts any more.
            Err(Errno::ENOENT | Errno::ESRCH | Errno::EINVAL) | Ok(()) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// Looks at the mounts of each namespace whose topmost directory is nobody's root. To be called on a thread that has
    /// nothing else to do: it is somewhere else afterwards.
    ///
    /// # Errors
    /// Where one of them could not be listed, entered or read.
    pub fn look_where_nobody_is(&self, proc: &Directory, mut tell: impl FnMut(&MountRoot)) -> nix::Result<()> {
        if self.devices.is_empty() {
            return Ok(());
        }
        let here = open(proc, "self/ns/mnt")?;
        namespaces::walk(namespaces::others(&here), |stop| {
            match stop {
                Stop::In(_) => {}
                Stop::NotEntered(errno) | Stop::NotListed(errno) => return Err(errno),
            }
            let task = directory(proc, "thread-self")?;
            let root = kernel::stat(&task, OsStr::new("root"), LastLink::Target)?;
            self.look(proc, &task, Some(&root), &mut tell)
        })
    }

    fn look(
        &self,
        proc: &Directory,
        task: &Directory,
        root: Option<&Stat>,
        mut tell: impl FnMut(&MountRoot),
    ) -> nix::Result<()> {
        let namespace = namespace(task, ".")?;
        let view = root.map(|root| (namespace, root.inode, root.mount_id));
        if view.is_some_and(|view| self.known().views.contains(&view)) {
            return Ok(());
        }
        let mut text = Vec::new();
        let read = File::from(open(task, "mountinfo")?).read_to_end(&mut text);
        read.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        let mounts = mountinfo::parse_some(&text, &self.devices);
        if self.own != Some(namespace) {
            let several = mounts.iter().filter(|mount| self.superblocks.contains(&mount.device)).map(|mount| mount.id);
            self.known().mounts.extend(several);
        }
        // Nobody can remove the topmost directory of a file system.
        let others: Vec<&Mount> = mounts.iter().filter(|mount| mount.root != Path::new("/")).collect();
        if !others.is_empty() {
            self.look_at_roots(proc, &directory(task, "root")?, &others, &mut tell);
        }
        // Only now: another worker relies on it.
        self.known().views.extend(view);
        Ok(())
    }

    fn look_at_roots(&self, proc: &Directory, root: &Directory, mounts: &[&Mount], tell: &mut impl FnMut(&MountRoot)) {
        for mount in mounts {
            if self.known().told.contains(&mount.id) {
                continue;
            }
            let Some((file, stat)) = mounts::open_root(root, mount) else {
                tell(&MountRoot { mount, seen: None });
                continue;
            };
            let link = format!("self/fd/{}", file.as_raw_fd()).into();
            tell(&MountRoot { mount, seen: Some(SeenRoot { stat, proc, link }) });
            self.known().told.insert(mount.id);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn namespace(dir: &Directory, task: &str) -> nix::Result<u64> {
    let link = format!("{task}/ns/mnt");
    kernel::stat(dir, OsStr::new(&link), LastLink::Target).map(|stat| stat.inode.ino)
}

fn open(dir: &Directory, name: &str) -> nix::Result<OwnedFd> {
    openat(dir, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
}

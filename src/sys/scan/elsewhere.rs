//! Mounts in other mount namespaces, as nearly every daemon of systemd has one (systemd.exec(5), `PrivateTmp=`).
//!
//! On btrfs and overlayfs the `st_dev` of a file does not tell its file system, but the mount that it was opened through
//! does. The id of a mount is its own on the whole machine.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::Directory;
use crate::core::inode::{Device, Inode};
use crate::core::mountinfo;
use crate::sys::kernel::{self, LastLink, Stat};

/// What is known of them.
pub struct Elsewhere {
    superblocks: HashSet<Device>,
    own: Option<u64>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Mount namespaces, and from where: mountinfo has only what is below a process's root directory.
    views: HashSet<(u64, Inode, u64)>,
    mounts: HashSet<u64>,
}

impl Elsewhere {
    /// Nothing is known yet of these file systems.
    pub fn new(proc: &Directory, superblocks: HashSet<Device>) -> Elsewhere {
        let own = kernel::stat(proc, OsStr::new("self/ns/mnt"), LastLink::Target).map(|stat| stat.inode.ino).ok();
        Elsewhere { superblocks, own, known: Mutex::default() }
    }

    /// Learns which mounts this task sees.
    pub fn learn_from(&self, task: &Directory) -> nix::Result<()> {
        if self.superblocks.is_empty() {
            return Ok(());
        }
        match self.read(task) {
            // It ends just now, or has no mounts any more.
            Err(Errno::ENOENT | Errno::ESRCH | Errno::EINVAL) | Ok(()) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// Whether a file was opened through one of them.
    pub fn has(&self, stat: &Stat) -> bool {
        !self.superblocks.is_empty() && self.known().mounts.contains(&stat.mount_id)
    }

    fn read(&self, task: &Directory) -> nix::Result<()> {
        let namespace = kernel::stat(task, OsStr::new("ns/mnt"), LastLink::Target)?.inode.ino;
        if self.own == Some(namespace) {
            return Ok(());
        }
        let root = kernel::stat(task, OsStr::new("root"), LastLink::Target)?;
        let view = (namespace, root.inode, root.mount_id);
        if self.known().views.contains(&view) {
            return Ok(());
        }
        let file = openat(task, "mountinfo", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut text = Vec::new();
        let read = File::from(file).read_to_end(&mut text);
        read.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        let table = mountinfo::parse(&text).into_iter();
        let mounts = table.filter(|mount| self.superblocks.contains(&mount.device)).map(|mount| mount.id);
        let mut known = self.known();
        known.mounts.extend(mounts);
        // Only now: another worker relies on it.
        known.views.insert(view);
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

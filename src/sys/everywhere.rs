//! The mounts of a file system, in every mount namespace: to look at them, and to change them there.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;

use super::files::{Directory, Root};
use super::kernel::{self, LastLink};
use super::namespaces::{self, Stop};
use super::{mounts, remounting};
use crate::core::inode::Device;
use crate::core::mount_state::Access;
use crate::core::mountinfo::{self, Mount};
use crate::core::session::MountId;

/// A mount, while this thread is in its mount namespace.
#[derive(Debug)]
pub struct Place<'a> {
    /// Which one.
    pub id: MountId,
    /// What the mount table of its namespace says.
    pub mount: &'a Mount,
    root: &'a Directory,
}

/// Where nobody could look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Unseen {
    /// So many mount namespaces this process may not go into.
    pub unentered: usize,
    /// Why there may be others that are not known at all.
    pub unlisted: Option<Errno>,
}

/// Does something with each mount of these file systems, in this mount namespace and in all others. It is done on a thread
/// of its own, which is in that namespace then: no path means there what it means here.
///
/// # Errors
/// Where /proc cannot be read.
pub fn visit(root: &Root, devices: &HashSet<Device>, each: impl FnMut(&Place) + Send) -> Result<Unseen> {
    let proc = root.open_dir(Path::new("/proc"))?.context("there is no /proc")?;
    let visited = thread::scope(|scope| {
        let visitor = thread::Builder::new().spawn_scoped(scope, || everywhere(root, &proc, devices, each))?;
        visitor.join().map_err(|_| anyhow!("the look at other mount namespaces was cut short"))?
    });
    visited.context("cannot look at the mounts of other mount namespaces")
}

/// Some process in a mount namespace, for people to know it by.
pub fn somebody_in(root: &Root, namespace: u64) -> Option<i32> {
    processes(root).find(|pid| {
        let link = root.path(&format!("/proc/{pid}/ns/mnt"));
        fs::metadata(link).is_ok_and(|found| found.ino() == namespace)
    })
}

impl Place<'_> {
    /// Makes this one mount read-only or writable.
    ///
    /// # Errors
    /// `ENOENT` where no path leads to it, as something else is mounted over it; `EBUSY` where somebody writes through it;
    /// `ENOSYS` before Linux 5.12.
    pub fn set(&self, access: Access) -> nix::Result<()> {
        let (root, _) = mounts::open_root(self.root, self.mount).ok_or(Errno::ENOENT)?;
        remounting::set_attribute(root, access)
    }
}

fn everywhere(
    root: &Root,
    proc: &Directory,
    devices: &HashSet<Device>,
    mut each: impl FnMut(&Place),
) -> Result<Unseen> {
    let here = open(proc, "self/ns/mnt")?;
    let mut others = namespaces::others(&here).peekable();
    let of_processes = match others.peek() {
        None => Some(of_processes(root, proc, number(&here)?)),
        Some(_) => None,
    };
    let last = open(proc, "self/ns/mnt")?;
    let mut unseen = Unseen::default();
    namespaces::walk(others.chain(of_processes.into_iter().flatten()).chain([Ok(last)]), |stop| {
        match stop {
            Stop::In(namespace) => look_around(proc, number(namespace)?, devices, &mut each)?,
            Stop::NotEntered(_) => unseen.unentered += 1,
            Stop::NotListed(errno) => unseen.unlisted = Some(errno),
        }
        anyhow::Ok(())
    })?;
    Ok(unseen)
}

fn look_around(
    proc: &Directory,
    namespace: u64,
    devices: &HashSet<Device>,
    each: &mut impl FnMut(&Place),
) -> Result<()> {
    let mut text = Vec::new();
    File::from(open(proc, "thread-self/mountinfo")?).read_to_end(&mut text)?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = Directory::from(openat(AT_FDCWD, "/", flags, Mode::empty())?);
    for mount in &mountinfo::parse_some(&text, devices) {
        let id = MountId { point: mount.point.clone(), device: mount.device, id: mount.id, namespace };
        each(&Place { id, mount, root: &root });
    }
    Ok(())
}

/// Those that a process is in, for a kernel that cannot list them all (before Linux 6.12).
fn of_processes(root: &Root, proc: &Directory, here: u64) -> impl Iterator<Item = nix::Result<OwnedFd>> {
    let mut seen = HashSet::from([here]);
    processes(root).filter_map(move |pid| {
        // It may have ended.
        let namespace = open(proc, &format!("{pid}/ns/mnt")).ok()?;
        match number(&namespace) {
            Ok(number) => seen.insert(number).then_some(Ok(namespace)),
            Err(errno) => Some(Err(errno)),
        }
    })
}

fn processes(root: &Root) -> impl Iterator<Item = i32> + use<> {
    let entries = fs::read_dir(root.path("/proc")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn number(namespace: &OwnedFd) -> nix::Result<u64> {
    Ok(kernel::stat(namespace, OsStr::new(""), LastLink::Itself)?.inode.ino)
}

fn open(proc: &Directory, name: &str) -> nix::Result<OwnedFd> {
    openat(proc, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
}

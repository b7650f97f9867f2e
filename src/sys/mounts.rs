//! The mounts of this process's mount namespace.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::libc;
use nix::sys::stat::Mode;
use nix::sys::statvfs::fstatvfs;
use nix::unistd::syncfs;

use super::files::{Directory, Root};
use super::kernel::{self, LastLink, Stat};
use super::remounting::{self, Subject};
use crate::core::check::mounts::Room;
use crate::core::message;
use crate::core::mount_state::{Flags, Step};
use crate::core::mountinfo::{self, Mount};
use crate::core::refusal;
use crate::core::session::MountId;

/// A mounted file system, held by a descriptor of its root directory.
#[derive(Debug)]
pub struct Mounted {
    /// What mountinfo said of it when it was looked up.
    pub mount: Mount,
    dir: Directory,
    namespace: u64,
}

impl AsFd for Mounted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// The mount that a path leads to, if the path is a mount point. Of several on top of each other it is the visible one.
///
/// # Errors
/// Where the path or mountinfo cannot be read.
pub fn at(root: &Root, point: &Path) -> Result<Option<Mounted>> {
    let Some(dir) = root.open_dir(point).with_context(|| format!("cannot open {}", message::path(point)))? else {
        return Ok(None);
    };
    let id = dir.stat()?.mount_id;
    let mount = table(root)?.into_iter().find(|mount| mount.id == id && mount.point == point);
    let namespace = namespace()?;
    Ok(mount.map(|mount| Mounted { mount, dir, namespace }))
}

/// The mount that a path is on, mount point or not.
///
/// # Errors
/// Where the path or mountinfo cannot be read.
pub fn holding(root: &Root, path: &Path) -> Result<Option<Mount>> {
    let Some(dir) = root.open_dir(path)? else { return Ok(None) };
    let id = dir.stat()?.mount_id;
    Ok(table(root)?.into_iter().find(|mount| mount.id == id))
}

/// This process's mount namespace.
///
/// # Errors
/// Where /proc cannot be read.
pub fn namespace() -> Result<u64> {
    let path = "/proc/self/ns/mnt";
    Ok(std::fs::metadata(path).with_context(|| format!("cannot look at {path}"))?.ino())
}

/// Every mount that this process can see.
///
/// # Errors
/// Where mountinfo cannot be read.
pub fn table(root: &Root) -> Result<Vec<Mount>> {
    let path = root.path("/proc/self/mountinfo");
    let text = read_without_asking_how_long(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(mountinfo::parse(&text))
}

/// /proc does not say how long its files are: whoever asks starts with very little.
fn read_without_asking_how_long(path: &Path) -> io::Result<Vec<u8>> {
    const USUALLY_ENOUGH: usize = 32 << 10;
    let mut text = Vec::with_capacity(USUALLY_ENOUGH);
    File::open(path)?.read_to_end(&mut text)?;
    Ok(text)
}

impl Mounted {
    /// Which mount it is.
    pub fn id(&self) -> MountId {
        let Mount { point, device, id, .. } = &self.mount;
        MountId { point: point.clone(), device: *device, id: *id, namespace: self.namespace }
    }

    /// What mountinfo says of it now.
    ///
    /// # Errors
    /// Where mountinfo cannot be read, or the mount is gone.
    pub fn now(&self, root: &Root) -> Result<Mount> {
        let now = table(root)?.into_iter().find(|mount| mount.id == self.mount.id);
        now.with_context(|| format!("{} is not mounted any more", message::path(&self.mount.point)))
    }

    /// How it is now, read again.
    ///
    /// # Errors
    /// Those of [`Mounted::now`].
    pub fn flags(&self, root: &Root) -> Result<Flags> {
        Ok(self.now(root)?.flags)
    }

    /// Performs one change of what it is now.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn perform(&self, step: Step, now: &Mount) -> nix::Result<()> {
        let subject = Subject { root: self, flags: now.flags, options: &now.options };
        match step {
            Step::Superblock(access) => remounting::set_superblock(subject, access),
            Step::Mount(access) => remounting::set_mount(subject, access),
        }
    }

    /// Has all that was changed on its file system reach the disk, as becoming read-only does.
    ///
    /// # Errors
    /// Those of syncfs(2); from Linux 5.8 on also what could not be written.
    pub fn flush(&self) -> nix::Result<()> {
        // Not by the descriptor that there is: it may be one that only names (O_PATH).
        syncfs(openat(self, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
    }

    /// How much room there is, and is left, for root.
    ///
    /// # Errors
    /// Those of fstatvfs(3).
    #[allow(clippy::useless_conversion, reason = "the numbers are narrower on 32 bits")]
    pub fn room(&self) -> nix::Result<Room> {
        let stat = fstatvfs(self)?;
        let unit = u64::from(stat.fragment_size());
        Ok(Room {
            bytes: u64::from(stat.blocks()) * unit,
            free_bytes: u64::from(stat.blocks_free()) * unit,
            inodes: u64::from(stat.files()),
            free_inodes: u64::from(stat.files_free()),
        })
    }

    /// Whether this process may make it writable. Changes nothing.
    pub fn may_be_opened(&self) -> bool {
        remounting::is_permitted(self, self.mount.flags)
    }
}

/// Whether the block device that a file system is on takes writes: what was mounted, if it is one, otherwise the one that
/// the superblock has its number from.
pub fn protection(mount: &Mount) -> refusal::Device {
    let source = std::fs::metadata(&mount.source).ok().filter(|found| found.file_type().is_block_device());
    let number = match source {
        Some(found) => (libc::major(found.rdev()), libc::minor(found.rdev())),
        None => (mount.device.major, mount.device.minor),
    };
    // sysfs-block: also of a partition, and then of its disk too.
    match std::fs::read(format!("/sys/dev/block/{}:{}/ro", number.0, number.1)).unwrap_or_default().trim_ascii() {
        b"1" => refusal::Device::WriteProtected,
        b"0" => refusal::Device::Writable,
        _ => refusal::Device::Unknown,
    }
}

/// The root of a mount, if its mount point leads there from the root directory of its namespace, or of whoever showed it.
///
/// The kernel has every directory on the way in memory, as long as there is the mount, so no file system has to be asked
/// (`RESOLVE_CACHED`, Linux 5.12): one that does not answer would never let go of us.
pub fn open_root(root: &Directory, mount: &Mount) -> Option<(OwnedFd, Stat)> {
    const MOST_ATTEMPTS: u32 = 3;
    let cached = ResolveFlag::from_bits_retain(nix::libc::RESOLVE_CACHED);
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS | cached;
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).resolve(resolve);
    // While anybody mounts or renames anything it may be refused.
    let mut attempts = (0..MOST_ATTEMPTS).map(|_| openat2(root, &mount.point, how));
    let file = attempts.find(|opened| !matches!(opened, Err(Errno::EAGAIN)))?.ok()?;
    let stat = kernel::stat(&file, OsStr::new(""), LastLink::Itself).ok()?;
    (stat.mount_id == mount.id).then_some((file, stat))
}

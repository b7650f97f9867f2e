//! A site: a directory that has a store of aliases or may get one, because link(2) reaches from everywhere below it.
//!
//! That is the root of a mount. A mount inside it, of the same file system or not, is another site; so is a btrfs
//! subvolume, whose files have a device number of their own.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::statvfs::fstatvfs;

use super::files::{Directory, Root};
use super::kernel::{self, LastLink, Stat};
use super::mounts::Mounted;
use crate::core::inode::Inode;

/// An open site.
#[derive(Debug)]
pub struct Site {
    path: PathBuf,
    dir: Directory,
    inode: Inode,
    mount_id: u64,
    uid: u32,
    mode: u32,
}

/// What a file system has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// Bytes, for root.
    pub bytes: u64,
    /// Inodes; none where the file system makes them as it needs them.
    pub inodes: Option<u64>,
}

impl AsFd for Site {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

impl Site {
    /// The root of a managed mount.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn of(mounted: &Mounted) -> nix::Result<Site> {
        Site::at(mounted, mounted.mount.point.clone())
    }

    /// The site that a directory belongs to: the highest one above it that is on the same mount and has the same device.
    ///
    /// # Errors
    /// Where one of them cannot be opened.
    pub fn above(dir: &Directory) -> nix::Result<Site> {
        let mut top = readable(dir)?;
        let mut stat = top.stat()?;
        loop {
            let Some((parent, above)) = parent_on_same_site(&top, &stat)? else { break };
            (top, stat) = (parent, above);
        }
        let path = std::fs::read_link(format!("/proc/self/fd/{}", top.as_fd().as_raw_fd()));
        let path = path.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        Site::at(&top, path)
    }

    /// The site at a path that was written down; `None` where there is no such directory any more.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(root: &Root, path: &Path) -> nix::Result<Option<Site>> {
        root.open_dir(path)?.map(|dir| Site::at(&dir, path.to_owned())).transpose()
    }

    /// Whether it is the topmost directory of its site: not any more where a mount or a subvolume is gone that was here.
    ///
    /// # Errors
    /// Where the directory above it cannot be opened.
    pub fn is_topmost(&self) -> nix::Result<bool> {
        Ok(parent_on_same_site(&self.dir, &self.dir.stat()?)?.is_none())
    }

    fn at(dir: impl AsFd, path: PathBuf) -> nix::Result<Site> {
        // Not O_PATH: a file handle needs a mount that was really opened.
        let dir = readable(dir)?;
        let stat = kernel::stat(&dir, OsStr::new(""), LastLink::Itself)?;
        Ok(Site { path, dir, inode: stat.inode, mount_id: stat.mount_id, uid: stat.uid, mode: stat.mode })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `st_dev` of everything that can be linked here.
    pub fn dev(&self) -> u64 {
        self.inode.dev
    }

    /// Whether nobody else can put anything into it: a subvolume may be any user's.
    pub fn is_roots(&self) -> bool {
        self.uid == 0 && self.mode & 0o002 == 0
    }

    /// The mount that it is on, as in mountinfo.
    pub fn mount_id(&self) -> u64 {
        self.mount_id
    }

    /// What is left of the space.
    ///
    /// # Errors
    /// Those of fstatvfs(3).
    #[allow(clippy::useless_conversion, reason = "the numbers are narrower on 32 bits")]
    pub fn free(&self) -> nix::Result<Free> {
        let stat = fstatvfs(&self.dir)?;
        let bytes = u64::from(stat.blocks_free()) * u64::from(stat.fragment_size());
        Ok(Free { bytes, inodes: (stat.files() > 0).then(|| u64::from(stat.files_free())) })
    }
}

fn parent_on_same_site(dir: &Directory, stat: &Stat) -> nix::Result<Option<(Directory, Stat)>> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let parent = Directory::from(openat(dir, "..", flags, Mode::empty())?);
    let above = parent.stat()?;
    let same_site = (above.mount_id, above.inode.dev) == (stat.mount_id, stat.inode.dev);
    Ok((same_site && above.inode != stat.inode).then_some((parent, above)))
}

fn readable(dir: impl AsFd) -> nix::Result<Directory> {
    openat(dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map(Directory::from)
}

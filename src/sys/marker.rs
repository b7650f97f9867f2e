//! Markers: an empty file in a directory that somebody is in, so that rmdir(2) leaves it.
//!
//! A directory cannot be hard-linked. Removed while it is somebody's working directory, it keeps its file system from
//! going read-only as any deleted inode does.

use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::files::{Directory, Root};
use super::link::unlink;
use crate::core::inode::{AliasName, Inode};
use crate::core::paths::ListedPath;

/// An open directory that has a marker, or may get one.
#[derive(Debug)]
pub struct Marked {
    dir: Directory,
    name: AliasName,
}

impl Marked {
    /// The directory that a path leads to, if it is this one still.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(root: &Root, path: &Path, is_it: impl Fn(Inode) -> bool) -> nix::Result<Option<Marked>> {
        let Some(dir) = root.open_dir(path)? else { return Ok(None) };
        let inode = dir.stat()?.inode;
        Ok(is_it(inode).then_some(Marked { dir, name: AliasName(inode.ino) }))
    }

    /// Which directory it is.
    ///
    /// # Errors
    /// Those of statx(2).
    pub fn inode(&self) -> nix::Result<Inode> {
        Ok(self.dir.stat()?.inode)
    }

    /// The mount that it is on.
    ///
    /// # Errors
    /// Those of statx(2).
    pub fn mount_id(&self) -> nix::Result<u64> {
        Ok(self.dir.stat()?.mount_id)
    }

    /// Puts the marker in; that it is there already is no failure.
    ///
    /// # Errors
    /// Those of openat(2).
    pub fn mark(&self) -> nix::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&self.dir, self.name.entry_inside().as_os_str(), flags, Mode::empty()) {
            Ok(_) | Err(Errno::EEXIST) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// Whether the marker is there.
    ///
    /// # Errors
    /// Those of statx(2).
    pub fn is_marked(&self) -> nix::Result<bool> {
        Ok(self
            .dir
            .entry(&self.name.entry_inside())?
            .is_some_and(|stat| stat.is_file() && stat.bytes == 0 && stat.uid == 0))
    }

    /// Takes the marker out.
    ///
    /// # Errors
    /// Those of unlinkat(2).
    pub fn unmark(&self) -> nix::Result<()> {
        unlink(&self.dir, &self.name.entry_inside())
    }
}

/// Removes a directory if it is empty, and answers whether it is gone.
///
/// # Errors
/// Those of unlinkat(2), other than that it is not empty or in use.
pub fn remove_if_empty(root: &Root, path: &ListedPath) -> nix::Result<bool> {
    let Some(parent) = root.open_dir(&path.dir)? else { return Ok(true) };
    match unlinkat(&parent, path.name.as_os_str(), UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::EBUSY | Errno::ENOTDIR) => Ok(false),
        Err(other) => Err(other),
    }
}

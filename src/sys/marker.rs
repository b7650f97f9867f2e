//! Markers: an empty file in a directory that somebody is in, so that rmdir(2) leaves it.
//!
//! A directory cannot be hard-linked. Removed while it is somebody's working directory, it keeps its file system from
//! going read-only as any deleted inode does.

use std::ffi::OsStr;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::files::{Directory, Root};
use super::kernel::Stat;
use super::link::unlink;
use crate::core::inode::{AliasName, Inode};

/// An open directory with a marker: whatever its name leads to later.
#[derive(Debug)]
pub struct Marked {
    dir: Directory,
    name: AliasName,
}

impl Marked {
    /// Puts a marker into the directory that a path leads to, if it is this one still. That there is one already is no
    /// failure.
    ///
    /// # Errors
    /// Where it cannot be opened, and those of openat(2): `EEXIST` where something else has its name.
    pub fn make(root: &Root, path: &Path, inode: Inode) -> nix::Result<Option<Marked>> {
        let Some(dir) = root.open_dir(path)? else { return Ok(None) };
        if dir.stat()?.inode != inode {
            return Ok(None);
        }
        let marked = Marked { dir, name: AliasName(inode.ino) };
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&marked.dir, marked.name.entry_inside().as_os_str(), flags, Mode::empty()) {
            Ok(_) => Ok(Some(marked)),
            Err(Errno::EEXIST) if marked.is_there()? => Ok(Some(marked)),
            Err(other) => Err(other),
        }
    }

    /// The directory that a path leads to, if it is the one that was meant and its marker is in it.
    ///
    /// # Errors
    /// Where it cannot be opened or looked at.
    pub fn find(
        root: &Root,
        path: &Path,
        name: AliasName,
        is_it: impl Fn(&Stat) -> bool,
    ) -> nix::Result<Option<Marked>> {
        let Some(dir) = root.open_dir(path)? else { return Ok(None) };
        let marked = Marked { dir, name };
        let found = is_it(&marked.dir.stat()?) && marked.is_there()?;
        Ok(found.then_some(marked))
    }

    /// Whether its marker is in it, and not something of somebody else's that has the name.
    fn is_there(&self) -> nix::Result<bool> {
        let is_marker = |stat: Stat| stat.is_file() && stat.bytes == 0 && stat.uid == 0 && stat.mode & 0o7777 == 0;
        Ok(self.dir.entry(&self.name.entry_inside())?.is_some_and(is_marker))
    }

    /// Which directory it is.
    ///
    /// # Errors
    /// Those of statx(2).
    pub fn inode(&self) -> nix::Result<Inode> {
        Ok(self.dir.stat()?.inode)
    }

    /// The directory itself.
    pub fn into_directory(self) -> Directory {
        self.dir
    }

    /// Takes the marker out, and nothing else.
    ///
    /// # Errors
    /// Those of statx(2) and unlinkat(2).
    pub fn unmark(&self) -> nix::Result<()> {
        if self.is_there()? { unlink(&self.dir, &self.name.entry_inside()) } else { Ok(()) }
    }
}

/// Removes a directory if it is empty and still called this, and answers the one that it was in.
///
/// # Errors
/// Those of unlinkat(2), other than that it is not empty or in use.
pub fn remove_if_empty(dir: &Directory, name: &OsStr) -> nix::Result<Option<Directory>> {
    let above =
        Directory::from(openat(dir, "..", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?);
    let inode = dir.stat()?.inode;
    if above.entry(name)?.is_none_or(|entry| entry.inode != inode) {
        return Ok(None);
    }
    match unlinkat(&above, name, UnlinkatFlags::RemoveDir) {
        Ok(()) => Ok(Some(above)),
        Err(Errno::ENOENT | Errno::ENOTEMPTY | Errno::EEXIST | Errno::EBUSY | Errno::ENOTDIR) => Ok(None),
        Err(other) => Err(other),
    }
}

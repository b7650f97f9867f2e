//! Making one more hard link, believed only after it was looked at.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::files::Directory;
use super::kernel::{self, LastLink};
use crate::core::inode::Inode;

/// From where an inode is linked.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// An entry of a directory; a symbolic link stands for itself.
    Entry(&'a Directory, &'a OsStr),
    /// An open descriptor of the inode itself.
    Open(BorrowedFd<'a>),
}

/// What became of an attempt to link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked {
    /// The link was made, and it is the inode that was asked for.
    Made,
    /// It was there already.
    AlreadyThere,
    /// The source does not lead to that inode any more; no link was left.
    NameChanged,
    /// The name is taken by another inode, which was left alone.
    Taken(Inode),
    /// Whoever reached the link could run the file with rights that it gives; no link was left.
    GivesRights,
    /// This file, or this file system, cannot have one more link.
    Refused(Errno),
}

/// Gives an inode the name `entry` in `dir`.
///
/// # Errors
/// Those of [`attempt`] and of [`prove`].
pub fn link(source: Source, inode: Inode, dir: &Directory, entry: &OsStr) -> nix::Result<Linked> {
    prove(attempt(source, dir, entry)?, inode, dir, entry)
}

/// The same for the inode that is called `name` in the same directory, which others may enter. Once `name` leads to another
/// version, whoever enters reaches the old one by its link: so one that gives rights to whoever runs it gets none.
///
/// # Errors
/// As [`link`], and those of openat(2).
pub fn link_beside(dir: &Directory, name: &OsStr, inode: Inode, entry: &OsStr) -> nix::Result<Linked> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = match openat(dir, name, flags, Mode::empty()) {
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG) => return Ok(Linked::NameChanged),
        file => file?,
    };
    if kernel::stat(&file, OsStr::new(""), LastLink::Itself)?.inode != inode {
        return Ok(Linked::NameChanged);
    }
    if !kernel::may_give_rights(&file) {
        return link(Source::Entry(dir, name), inode, dir, entry);
    }
    // One from before it gave any.
    if dir.entry(entry)?.is_some_and(|stat| stat.inode == inode) {
        unlink(dir, entry)?;
    }
    Ok(Linked::GivesRights)
}

/// Gives whatever inode the source leads to the name `entry` in `dir`. Which one that was, or who has the name already,
/// has still to be proven.
///
/// # Errors
/// Those of linkat(2) that say nothing about this file or the space left.
pub fn attempt(source: Source, dir: &Directory, entry: &OsStr) -> nix::Result<Linked> {
    let linked = match source {
        Source::Entry(from, name) => linkat(from, name, dir, entry, AtFlags::empty()),
        Source::Open(descriptor) => linkat(descriptor, "", dir, entry, AtFlags::AT_EMPTY_PATH),
    };
    match linked {
        Ok(()) => Ok(Linked::Made),
        Err(Errno::EEXIST) => Ok(Linked::AlreadyThere),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(Linked::NameChanged),
        Err(
            refused @ (Errno::EPERM
            | Errno::EMLINK
            | Errno::EXDEV
            | Errno::EOPNOTSUPP
            | Errno::EROFS
            | Errno::ENOSPC
            | Errno::EDQUOT),
        ) => Ok(Linked::Refused(refused)),
        Err(other) => Err(other),
    }
}

/// Looks at what an attempt has led to, and takes back what was not asked for.
///
/// # Errors
/// Those of statx(2) and unlinkat(2).
pub fn prove(attempt: Linked, inode: Inode, dir: &Directory, entry: &OsStr) -> nix::Result<Linked> {
    if !matches!(attempt, Linked::Made | Linked::AlreadyThere) {
        return Ok(attempt);
    }
    match (dir.entry(entry)?, attempt) {
        (Some(stat), _) if stat.inode == inode => Ok(attempt),
        (Some(stat), Linked::AlreadyThere) => Ok(Linked::Taken(stat.inode)),
        (Some(_), _) => {
            unlink(dir, entry)?;
            Ok(Linked::NameChanged)
        }
        (None, _) => Ok(Linked::NameChanged),
    }
}

/// Removes an entry that is no directory; that it is gone already is no failure.
///
/// # Errors
/// Those of unlinkat(2).
pub fn unlink(dir: impl AsFd, entry: &OsStr) -> nix::Result<()> {
    match unlinkat(dir, entry, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(other) => Err(other),
    }
}

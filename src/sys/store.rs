//! A store: `.rokeep` at the root of a managed mount, 0700, root's, with one entry an alias.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::files::Directory;
use super::kernel::Stat;
use super::mounts::Mounted;
use crate::core::inode::{AliasName, Inode};
use crate::core::message;

/// The store's name in the mount's root directory.
pub const NAME: &str = ".rokeep";

/// The name of the file whose creation proves that the mount is writable. No alias can have it.
const PROOF: &str = "proof";

/// What became of an attempt to link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked {
    /// The alias was made, and it is the inode that was asked for.
    Made,
    /// It was there already.
    AlreadyThere,
    /// The name does not lead to that inode any more; no alias was left.
    NameChanged,
    /// This file, or this file system, cannot have one more link.
    Refused(Errno),
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    /// Where it is, for messages.
    path: PathBuf,
    dir: Directory,
}

impl Store {
    /// Opens the store of a mount; `None` where there is none.
    ///
    /// # Errors
    /// Where what stands there is not ours: not a directory, not root's, open to others, or another mount.
    pub fn open(mounted: &Mounted) -> Result<Option<Store>> {
        let path = mounted.mount.point.join(NAME);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = match openat(mounted, NAME, flags, Mode::empty()) {
            Ok(fd) => Directory::from(fd),
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                bail!("{} is not a directory; rokeep keeps its aliases there: move it away", message::path(&path))
            }
            Err(other) => return Err(other).with_context(|| format!("cannot open {}", message::path(&path))),
        };
        let stat = dir.stat()?;
        ensure!(
            stat.uid == 0 && stat.mode & 0o077 == 0 && stat.mount_id == mounted.mount.id,
            "{} is not a store of rokeep (a directory of root's, closed to others, not a mount): move it away",
            message::path(&path)
        );
        Ok(Some(Store { path, dir }))
    }

    /// Opens the store, made if need be.
    ///
    /// # Errors
    /// As [`Store::open`], and those of mkdirat(2).
    pub fn open_or_make(mounted: &Mounted) -> Result<Store> {
        if let Some(store) = Store::open(mounted)? {
            return Ok(store);
        }
        let path = mounted.mount.point.join(NAME);
        let failed = || format!("cannot make {}", message::path(&path));
        match mkdirat(mounted, NAME, Mode::S_IRWXU) {
            // A set-group-id parent, a default ACL: whatever the directory inherited, it is ours alone.
            Ok(()) => close_to_others(mounted).with_context(failed)?,
            Err(Errno::EEXIST) => {}
            Err(error) => return Err(error).with_context(failed),
        }
        Store::open(mounted)?.with_context(|| format!("{} is gone again", message::path(&path)))
    }

    /// Proves by a real write, as far as the device, that the mount takes writes.
    ///
    /// # Errors
    /// Whatever the file system answered.
    pub fn prove_writable(&self) -> Result<()> {
        prove_writable(&self.dir, PROOF).with_context(|| format!("cannot write to {}", message::path(&self.path)))
    }

    /// Gives an inode its alias: a hard link from `name` in `dir`, believed only after it was looked at.
    ///
    /// # Errors
    /// Those of linkat(2) that concern the file system as a whole, as "no space left"; and an alias name that is
    /// taken by another inode.
    pub fn link(&self, dir: &Directory, name: &OsStr, inode: Inode) -> Result<Linked> {
        let alias = AliasName(inode.ino).entry();
        let made = match linkat(dir, name, &self.dir, alias.as_os_str(), AtFlags::empty()) {
            Ok(()) => Linked::Made,
            Err(Errno::EEXIST) => Linked::AlreadyThere,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Linked::NameChanged),
            Err(refused @ (Errno::EPERM | Errno::EMLINK | Errno::EXDEV | Errno::EOPNOTSUPP)) => {
                return Ok(Linked::Refused(refused));
            }
            Err(other) => {
                return Err(other).with_context(|| format!("cannot link into {}", message::path(&self.path)));
            }
        };
        match (self.dir.entry(&alias)?, made) {
            (Some(stat), _) if stat.inode == inode => Ok(made),
            // A btrfs subvolume inside the mount numbers its inodes anew, and cannot be linked from.
            (Some(stat), Linked::AlreadyThere) if stat.inode.dev != inode.dev => Ok(Linked::Refused(Errno::EXDEV)),
            (_, Linked::Made) => {
                self.remove(&alias)?;
                Ok(Linked::NameChanged)
            }
            _ => bail!(
                "{} is not the alias of inode {}: it is not rokeep's; move it away",
                message::path(&self.path.join(&alias)),
                inode.ino
            ),
        }
    }

    /// The aliases, in no order. Entries that are none of ours are left out: other names, other numbers, no files.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn aliases(&self) -> Result<Vec<(AliasName, Stat)>> {
        let mut aliases = Vec::new();
        for entry in self.entries()? {
            let Some(alias) = AliasName::parse(entry.as_bytes()) else { continue };
            if let Some(stat) = self.alias(alias)? {
                aliases.push((alias, stat));
            }
        }
        Ok(aliases)
    }

    /// The entries that are no aliases, for a person to look at.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn foreign_entries(&self) -> Result<Vec<OsString>> {
        let mut foreign = Vec::new();
        for entry in self.entries()? {
            let alias = AliasName::parse(entry.as_bytes());
            let is_ours = match alias {
                Some(alias) => self.alias(alias)?.is_some(),
                None => entry == PROOF,
            };
            if !is_ours {
                foreign.push(entry);
            }
        }
        Ok(foreign)
    }

    /// One alias as it is now; `None` where that name does not lead to the regular file of that number.
    ///
    /// # Errors
    /// Those of statx(2).
    pub fn alias(&self, alias: AliasName) -> nix::Result<Option<Stat>> {
        let stat = self.dir.entry(&alias.entry())?;
        Ok(stat.filter(|stat| stat.is_file() && stat.inode.ino == alias.0))
    }

    /// Takes an alias away; that it is gone already is no failure.
    ///
    /// # Errors
    /// Those of unlinkat(2).
    pub fn drop_alias(&self, alias: AliasName) -> nix::Result<()> {
        self.remove(&alias.entry())
    }

    /// Removes the store itself, if nothing is in it.
    ///
    /// # Errors
    /// Those of unlinkat(2), other than that it is not empty.
    pub fn remove_if_empty(self, mounted: &Mounted) -> nix::Result<()> {
        match unlinkat(mounted, NAME, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT | Errno::ENOTEMPTY | Errno::EEXIST) => Ok(()),
            Err(other) => Err(other),
        }
    }

    fn remove(&self, entry: &OsStr) -> nix::Result<()> {
        remove(&self.dir, entry)
    }

    /// By descriptor, so that it is this directory and no other.
    fn entries(&self) -> Result<Vec<OsString>> {
        let dir = format!("/proc/self/fd/{}", self.dir.as_fd().as_raw_fd());
        let walk = walkdir::WalkDir::new(dir).min_depth(1).max_depth(1);
        let names = walk.into_iter().map(|entry| entry.map(|entry| entry.file_name().to_owned()));
        names.collect::<Result<_, _>>().with_context(|| format!("cannot read {}", message::path(&self.path)))
    }
}

/// The same for a file system that knows no hard links and no modes, and so has no store.
///
/// # Errors
/// As [`Store::prove_writable`].
pub fn prove_writable_without_store(mounted: &Mounted) -> Result<()> {
    prove_writable(mounted, ".rokeep-proof")
        .with_context(|| format!("cannot write to {}", message::path(&mounted.mount.point)))
}

fn close_to_others(mounted: &Mounted) -> nix::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    fchmod(openat(mounted, NAME, flags, Mode::empty())?, Mode::S_IRWXU)
}

fn prove_writable(dir: impl AsFd + Copy, name: &str) -> Result<()> {
    remove(dir, OsStr::new(name))?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(dir, name, flags, Mode::S_IRUSR)?);
    let written = file.write_all(b"yes\n").and_then(|()| file.sync_data());
    remove(dir, OsStr::new(name))?;
    Ok(written?)
}

fn remove(dir: impl AsFd, entry: &OsStr) -> nix::Result<()> {
    match unlinkat(dir, entry, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(other) => Err(other),
    }
}

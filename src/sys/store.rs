//! A store: `.rokeep` in the directory of a [`Site`], 0700, root's, with one entry an alias.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::files::Directory;
use super::halves;
use super::kernel::Stat;
use super::lease::Leases;
use super::link::{self, Linked, Source, unlink};
use super::listing::Listing;
use super::mounts::Mounted;
use super::site::Site;
use crate::core::inode::{AliasName, Inode};
use crate::core::message;
use crate::core::paths::ListedPath;
use crate::core::verdict::Lease;

/// The store's name in its site.
pub const NAME: &str = ".rokeep";

/// The name of the file whose creation proves that the mount is writable. No alias can have it.
const PROOF: &str = "proof";

/// The same, beside where the store would be.
const PROOF_WITHOUT_STORE: &str = ".rokeep-proof";

/// So many entries are looked at by both threads before what they saw is put together: all at once would take much memory.
const AT_A_TIME: usize = 16_384;

/// Whether a path is what an alias of this inode is called, in whatever store or beside whatever file.
pub fn is_alias(path: &ListedPath, inode: Inode) -> bool {
    let name = AliasName(inode.ino);
    let in_store = path.dir().ends_with(NAME) && *path.name() == *name.entry();
    let beside = path.name().as_bytes().ends_with(name.entry_inside().as_bytes());
    in_store || beside
}

/// What is in a store.
#[derive(Debug)]
pub struct Contents {
    /// The aliases, in no order.
    pub aliases: Vec<(AliasName, Stat)>,
    /// Entries that are none of ours: other names, other numbers, directories.
    pub others: Vec<OsString>,
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    /// Where it is, for messages.
    path: PathBuf,
    dir: Directory,
}

impl Store {
    /// Opens the store of a site; `None` where there is none.
    ///
    /// # Errors
    /// Where what stands there is not ours: not a directory, not root's, open to others, or another mount.
    pub fn open(site: &Site) -> Result<Option<Store>> {
        let path = site.path().join(NAME);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = match openat(site, NAME, flags, Mode::empty()) {
            Ok(fd) => Directory::from(fd),
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                bail!("{} is not a directory; rokeep keeps its aliases there: move it away", message::path(&path))
            }
            Err(other) => return Err(other).with_context(|| format!("cannot open {}", message::path(&path))),
        };
        let stat = dir.stat()?;
        ensure!(
            is_private(&stat) && stat.mount_id == site.mount_id() && stat.inode.dev == site.dev(),
            "{} is not a store of rokeep (a directory of root's, closed to others, not a mount): move it away",
            message::path(&path)
        );
        Ok(Some(Store { path, dir }))
    }

    /// Opens the store, made if need be.
    ///
    /// # Errors
    /// As [`Store::open`], and those of mkdirat(2). [`refused`] tells which of them are no fault.
    pub fn open_or_make(site: &Site) -> Result<Store> {
        if let Some(store) = Store::open(site)? {
            return Ok(store);
        }
        let path = site.path().join(NAME);
        let failed = || format!("cannot make {}", message::path(&path));
        match mkdirat(site, NAME, Mode::S_IRWXU) {
            // A set-group-id parent, a default ACL: whatever the directory inherited, it is ours alone.
            Ok(()) => close_to_others(site).or_else(|error| {
                let _ = unlinkat(site, NAME, UnlinkatFlags::RemoveDir);
                Err(error).with_context(failed)
            })?,
            Err(Errno::EEXIST) => {}
            Err(error) => return Err(error).with_context(failed),
        }
        Store::open(site)?.with_context(|| format!("{} is gone again", message::path(&path)))
    }

    /// Proves by a real write, as far as the device, that the mount takes writes.
    ///
    /// # Errors
    /// Whatever the file system answered.
    pub fn prove_writable(&self) -> Result<()> {
        prove_writable(&self.dir, PROOF).with_context(|| format!("cannot write to {}", message::path(&self.path)))
    }

    /// Gives an inode its alias.
    ///
    /// # Errors
    /// Those of [`Store::attempt`] and of [`Store::prove`].
    pub fn link(&self, source: Source, inode: Inode) -> Result<Linked> {
        self.prove(self.attempt(source, inode)?, inode)
    }

    /// Gives an inode its alias, if the source still leads to that inode.
    ///
    /// # Errors
    /// Those of [`link::attempt`].
    pub fn attempt(&self, source: Source, inode: Inode) -> Result<Linked> {
        link::attempt(source, &self.dir, &AliasName(inode.ino).entry()).with_context(|| self.cannot_link())
    }

    /// Looks at what an attempt has led to, and takes back what was not asked for.
    ///
    /// # Errors
    /// Those of [`link::prove`], and an alias name that is taken by what is no alias.
    pub fn prove(&self, attempt: Linked, inode: Inode) -> Result<Linked> {
        let alias = AliasName(inode.ino).entry();
        link::prove(attempt, inode, &self.dir, &alias).with_context(|| self.cannot_link())
    }

    /// The aliases that are not what they are called, as the store itself has it, without a look at each of them.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn misnamed(&self) -> Result<HashSet<AliasName>> {
        let failed = || format!("cannot read {}", message::path(&self.path));
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = Dir::openat(&self.dir, ".", flags, Mode::empty()).with_context(failed)?;
        let mut misnamed = HashSet::new();
        for entry in dir {
            let entry = entry.with_context(failed)?;
            misnamed.extend(AliasName::parse(entry.file_name().to_bytes()).filter(|alias| alias.0 != entry.ino()));
        }
        Ok(misnamed)
    }

    /// Which directory it is: two paths may lead to one store.
    ///
    /// # Errors
    /// Those of statx(2).
    pub fn inode(&self) -> nix::Result<Inode> {
        Ok(self.dir.stat()?.inode)
    }

    /// All that is in it.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn contents(&self) -> Result<Contents> {
        let Entries { aliases: names, others } = self.entries()?;
        let mut contents = Contents { aliases: Vec::with_capacity(names.len()), others: Vec::new() };
        // What is no alias, and what is gone or never was one of that name.
        let mut doubtful = others;
        for some in names.chunks(AT_A_TIME) {
            for (name, stat) in some.iter().zip(halves::map(some, |name| self.alias(*name))) {
                match stat? {
                    Some(stat) => contents.aliases.push((*name, stat)),
                    None => doubtful.push(name.entry()),
                }
            }
        }
        for entry in doubtful.into_iter().filter(|entry| entry != PROOF) {
            // Who only looks has no lock: an alias may be dropped between two looks.
            if self.dir.entry(&entry)?.is_some() {
                contents.others.push(entry);
            }
        }
        Ok(contents)
    }

    /// One alias as it is now; `None` where that name does not lead to the inode of that number.
    ///
    /// # Errors
    /// Those of statx(2).
    pub fn alias(&self, alias: AliasName) -> nix::Result<Option<Stat>> {
        let stat = self.dir.entry(&alias.entry())?;
        Ok(stat.filter(|stat| !stat.is_directory() && stat.inode.ino == alias.0))
    }

    /// Asks the kernel whether somebody has the regular file of this alias.
    pub fn lease(&self, leases: &Leases, alias: AliasName, inode: Inode) -> Lease {
        leases.ask(&self.dir, &alias.entry(), inode)
    }

    /// Takes these aliases away, as [`Store::drop_alias`] does each, and tells when it is the `turn` of another. Where there
    /// are many, two threads do: the kernel does not free one inode after the other.
    ///
    /// # Errors
    /// The first of those of unlinkat(2); the next aliases may still be there.
    pub fn drop_aliases(&self, aliases: &[AliasName], turn: impl Fn() + Sync) -> nix::Result<()> {
        let drop = |alias: &AliasName| {
            turn();
            self.drop_alias(*alias)
        };
        let mut some = aliases.chunks(AT_A_TIME);
        some.try_for_each(|some| halves::map(some, drop).into_iter().collect())
    }

    /// Takes an alias away; that it is gone already is no failure.
    ///
    /// # Errors
    /// Those of unlinkat(2).
    pub fn drop_alias(&self, alias: AliasName) -> nix::Result<()> {
        unlink(&self.dir, &alias.entry())
    }

    /// Removes the store itself, if nothing is in it but a proof that somebody was killed over.
    ///
    /// # Errors
    /// Those of unlinkat(2), other than that it is not empty.
    pub fn remove_if_empty(self, site: &Site) -> nix::Result<()> {
        unlink(&self.dir, OsStr::new(PROOF))?;
        match unlinkat(site, NAME, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT | Errno::ENOTEMPTY | Errno::EEXIST) => Ok(()),
            Err(other) => Err(other),
        }
    }

    fn cannot_link(&self) -> String {
        format!("cannot link into {}", message::path(&self.path))
    }

    fn entries(&self) -> Result<Entries> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut entries = Entries::default();
        // Opened anew, to be read from its beginning.
        let listed = openat(&self.dir, ".", flags, Mode::empty()).and_then(|dir| {
            Listing::default().for_each(dir, |name| {
                match AliasName::parse(name.as_bytes()) {
                    Some(alias) => entries.aliases.push(alias),
                    None => entries.others.push(name.to_owned()),
                }
                Ok(())
            })
        });
        match listed {
            // Removed by another rokeep, who had found it empty.
            Err(Errno::ENOENT) => Ok(Entries::default()),
            listed => {
                listed.with_context(|| format!("cannot read {}", message::path(&self.path)))?;
                Ok(entries)
            }
        }
    }
}

/// The names in a store.
#[derive(Default)]
struct Entries {
    /// Those of aliases, as far as a name can tell.
    aliases: Vec<AliasName>,
    others: Vec<OsString>,
}

/// What the file system answered, if something failed only because it has no space or no inodes left (`ENOSPC`, `EDQUOT`),
/// or because there can be no store on it: it does not know who owns a directory and who may enter it (`EOPNOTSUPP`).
pub fn refused(error: &anyhow::Error) -> Option<Errno> {
    answer(error).filter(|errno| matches!(errno, Errno::ENOSPC | Errno::EDQUOT | Errno::EOPNOTSUPP))
}

/// What the kernel answered where something failed, if it was asked.
pub fn answer(error: &anyhow::Error) -> Option<Errno> {
    error.chain().find_map(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error).map(Errno::from_raw);
        cause.downcast_ref::<Errno>().copied().or(io)
    })
}

/// As [`Store::prove_writable`], for a file system that knows no hard links and no modes, and so has no store.
///
/// # Errors
/// As [`Store::prove_writable`].
pub fn prove_writable_without_store(mounted: &Mounted) -> Result<()> {
    prove_writable(mounted, PROOF_WITHOUT_STORE)
        .with_context(|| format!("cannot write to {}", message::path(&mounted.mount.point)))
}

/// Removes the proof that somebody was killed over where there is no store. A site that is read-only by itself, below a mount
/// that is not, never had one; unlinkat(2) refuses there before it looks for the name.
///
/// # Errors
/// Those of unlinkat(2).
pub fn remove_proof_without_store(site: &Site) -> nix::Result<()> {
    match unlink(site, OsStr::new(PROOF_WITHOUT_STORE)) {
        Err(Errno::EROFS) => Ok(()),
        removed => removed,
    }
}

fn close_to_others(site: &Site) -> nix::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let dir = Directory::from(openat(site, NAME, flags, Mode::empty())?);
    let stat = dir.stat()?;
    // Where others can write it may not be what was made just now: then one that is open to them is left so.
    let closed = match stat.mode & 0o7777 {
        0o700 => Ok(()),
        _ if site.is_roots() || is_private(&stat) => fchmod(&dir, Mode::S_IRWXU),
        _ => Err(Errno::EOPNOTSUPP),
    };
    // FAT by way of FUSE takes the call and does nothing; vfat refuses it.
    if is_private(&dir.stat()?) { closed } else { Err(Errno::EOPNOTSUPP) }
}

fn is_private(dir: &Stat) -> bool {
    dir.uid == 0 && dir.mode & 0o077 == 0
}

fn prove_writable(dir: impl AsFd + Copy, name: &str) -> Result<()> {
    unlink(dir, OsStr::new(name))?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(dir, name, flags, Mode::S_IRUSR)?);
    let written = file.write_all(b"yes\n").and_then(|()| file.sync_data());
    unlink(dir, OsStr::new(name))?;
    Ok(written?)
}

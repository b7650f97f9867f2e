//! The tree that is worked on, and its directories by descriptor.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::kernel::{self, LastLink, Stat};

/// The root directory that every path is meant in: `/`, or a small tree in a test.
#[derive(Debug)]
pub struct Root {
    dir: PathBuf,
    fd: OwnedFd,
}

impl Root {
    /// The running system.
    ///
    /// # Errors
    /// Where `/` cannot be opened.
    pub fn system() -> io::Result<Root> {
        Root::at(Path::new("/"))
    }

    /// Another tree.
    ///
    /// # Errors
    /// Where it is not a directory that can be opened.
    pub fn at(dir: &Path) -> io::Result<Root> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(dir, flags, nix::sys::stat::Mode::empty())?;
        Ok(Root { dir: dir.to_owned(), fd })
    }

    /// Where an absolute path of the tree is for this process. For rokeep's own files; it resolves nothing.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.dir.join(absolute.trim_start_matches('/'))
    }

    /// Opens a directory the way the kernel resolves it inside the tree, through any symlinks, never leaving it.
    ///
    /// `None` where there is none: missing, not a directory, a loop, a name too long.
    ///
    /// # Errors
    /// Every other failure of openat2(2) (Linux 5.6).
    pub fn open_dir(&self, absolute: &Path) -> nix::Result<Option<Directory>> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        match until_nobody_renames(|| openat2(&self.fd, absolute, how)) {
            Ok(fd) => Ok(Some(Directory(fd))),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

/// A path with `..` in one of its symbolic links is refused (EAGAIN) while anybody renames anything anywhere: the kernel
/// could not tell whether it stays inside (openat2(2)).
fn until_nobody_renames<T>(mut open: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    const MOST_ATTEMPTS: u32 = 1000;
    for _ in 0..MOST_ATTEMPTS {
        match open() {
            Err(Errno::EAGAIN) => std::thread::yield_now(),
            answer => return answer,
        }
    }
    open()
}

/// A directory by descriptor: whatever its name leads to later, this stays the same directory.
#[derive(Debug)]
pub struct Directory(OwnedFd);

impl Directory {
    /// An entry, itself and not what it may point to. `None` where there is none.
    ///
    /// # Errors
    /// Those of statx(2) other than "not there".
    pub fn entry(&self, name: &OsStr) -> nix::Result<Option<Stat>> {
        match kernel::stat(self, name, LastLink::Itself) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// A directory below it, without crossing into another mount or following a symbolic link.
    ///
    /// # Errors
    /// Those of openat2(2) (Linux 5.6).
    pub fn open_on_same_mount(&self, below: &Path) -> nix::Result<Directory> {
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let stay = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        until_nobody_renames(|| openat2(self, below, OpenHow::new().flags(flags).resolve(stay))).map(Directory)
    }

    /// The directory itself.
    ///
    /// # Errors
    /// Those of statx(2).
    pub fn stat(&self) -> nix::Result<Stat> {
        kernel::stat(self, OsStr::new(""), LastLink::Itself)
    }
}

impl From<OwnedFd> for Directory {
    fn from(fd: OwnedFd) -> Directory {
        Directory(fd)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Looks up many paths, with the directory of the last one kept open: sorted paths open each directory once.
#[derive(Debug)]
pub struct Lookup<'a> {
    root: &'a Root,
    last: Option<(PathBuf, Option<Directory>)>,
}

impl<'a> Lookup<'a> {
    /// A look-up in a tree.
    pub fn new(root: &'a Root) -> Lookup<'a> {
        Lookup { root, last: None }
    }

    /// The directory; `None` where there is none.
    ///
    /// # Errors
    /// Those of [`Root::open_dir`].
    pub fn directory(&mut self, dir: &Path) -> nix::Result<Option<&Directory>> {
        // As bytes: comparing paths takes them apart.
        if self.last.as_ref().is_none_or(|(path, _)| path.as_os_str() != dir.as_os_str()) {
            self.last = Some((dir.to_owned(), self.root.open_dir(dir)?));
        }
        Ok(self.last.as_ref().and_then(|(_, directory)| directory.as_ref()))
    }
}

//! Whether the kernel can forget an inode. It cannot as long as anything uses it, also what no list of anybody shows.
//!
//! An evictable mark of fanotify (fanotify_mark(2), `FAN_MARK_EVICTABLE`, Linux 5.19) does not keep its inode in memory,
//! and goes when the inode goes. So each inode is marked, the kernel is told to forget what it can, and whichever mark is
//! still listed then (proc_pid_fdinfo(5)) is on an inode that somebody keeps.
//!
//! The marks say only what is to be ignored: no event is asked for, so none can be queued that would keep an inode itself.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, PosixFadviseAdvice, openat, posix_fadvise};
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use nix::sys::stat::Mode;

use super::files::{Directory, Root};
use crate::core::inode::Inode;

/// The kernel may be short of memory, and forget an inode before its mark could be read.
const ATTEMPTS: u32 = 4;

/// Inodes of which the kernel is asked whether it has forgotten them.
#[derive(Debug)]
pub struct Eviction {
    all: Fanotify,
    /// Where one mark at a time is made, to learn how the kernel calls its inode.
    one: Fanotify,
    fdinfo: PathBuf,
}

/// What the kernel remembers of all file systems of the machine.
#[derive(Debug)]
pub struct Caches(File);

impl Caches {
    /// Nothing is forgotten yet.
    ///
    /// # Errors
    /// Where this process may not have them forgotten.
    pub fn open(root: &Root) -> Result<Caches> {
        let path = root.path("/proc/sys/vm/drop_caches");
        let file = File::options().write(true).open(&path);
        file.map(Caches).with_context(|| format!("cannot write to {} (a container?)", path.display()))
    }

    /// Has the kernel forget every dentry and inode that nobody uses (`vm.drop_caches`, proc_sys_vm(5)). What was used
    /// lately it only takes note of: that goes the next time.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn forget(&self) -> Result<()> {
        // From the beginning: what is written behind it is ignored (`sysctl_writes_strict`, proc_sys_kernel(5)).
        self.0.write_all_at(b"2\n", 0).context("the kernel cannot be told to forget what nobody uses")
    }
}

/// An inode as the kernel lists a mark on it. On btrfs, where several inodes have one number, its file handle is part of
/// that; should two be called the same all the same, both are kept as long as one is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listed(Vec<u8>);

impl Eviction {
    /// Nothing is marked yet.
    ///
    /// # Errors
    /// Where this cannot be done here: an older kernel, one without fanotify, a container. What to do instead is said.
    pub fn begin(root: &Root) -> Result<Eviction> {
        let eviction = Eviction { all: group()?, one: group()?, fdinfo: root.path("/proc/self/fdinfo") };
        // Any inode will do to see whether there are such marks.
        let any = root.open_dir(Path::new("/"))?.context("there is no root directory")?;
        match add(&eviction.one, &any, OsStr::new(".")).and_then(|()| clear(&eviction.one)) {
            Ok(()) => Ok(eviction),
            Err(Errno::EINVAL) => bail!("this kernel is older than Linux 5.19 and has no evictable marks"),
            Err(other) => Err(other).context("fanotify takes no mark here"),
        }
    }

    /// Marks the inode that an entry of a directory leads to, if it is this one, and answers how the kernel calls it.
    /// `None` where it is another one, or could not be found in the list.
    ///
    /// # Errors
    /// Those of statx(2), fanotify_mark(2), and where the list cannot be read.
    pub fn mark(&self, dir: &Directory, entry: &OsStr, inode: Inode) -> Result<Option<Listed>> {
        let is_it = || Ok::<_, Errno>(dir.entry(entry)?.is_some_and(|stat| stat.inode == inode));
        if !is_it()? {
            return Ok(None);
        }
        let mut called = None;
        for _ in 0..ATTEMPTS {
            add(&self.one, dir, entry)?;
            called = self.list(&self.one)?.into_iter().next();
            clear(&self.one)?;
            if called.is_some() {
                break;
            }
        }
        add(&self.all, dir, entry)?;
        Ok(if is_it()? { called } else { None })
    }

    /// The marks whose inodes are still in memory.
    ///
    /// # Errors
    /// Where the list cannot be read.
    pub fn left(&self) -> Result<HashSet<Listed>> {
        self.list(&self.all)
    }

    fn list(&self, group: &Fanotify) -> Result<HashSet<Listed>> {
        let path = self.fdinfo.join(group.as_raw_fd().to_string());
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"fanotify ino:"));
        Ok(lines.map(|line| Listed(line.to_vec())).collect())
    }
}

/// Lets go of a file's contents in memory: the kernel forgets no inode that still has some. What was written and is not on
/// the disk yet stays (syncfs(2) comes first), and so does what somebody has mapped.
///
/// # Errors
/// Those of openat(2) and posix_fadvise(2); that it is no regular file is none, for it has no contents.
pub fn let_go_of_contents(dir: &Directory, entry: &OsStr, inode: Inode) -> nix::Result<()> {
    let is_it = dir.entry(entry)?.is_some_and(|stat| stat.inode == inode && stat.is_file());
    if !is_it {
        return Ok(());
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOATIME | OFlag::O_CLOEXEC;
    let file = openat(dir, entry, flags, Mode::empty())?;
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
}

/// Whether there are such marks, for this process. One is made, on the root directory, and taken away again.
///
/// # Errors
/// The kernel's answer, if not: `EINVAL` before Linux 5.19, `ENOSYS` where it was built without fanotify, `EPERM`.
pub fn are_known(root: &Root) -> nix::Result<()> {
    let any = root.open_dir(Path::new("/"))?.ok_or(Errno::ENOENT)?;
    let group = Fanotify::init(INIT, EVENTS)?;
    add(&group, &any, OsStr::new(".")).and_then(|()| clear(&group))
}

const INIT: InitFlags = InitFlags::FAN_CLASS_NOTIF.union(InitFlags::FAN_CLOEXEC).union(InitFlags::FAN_UNLIMITED_MARKS);

const EVENTS: EventFFlags = EventFFlags::O_RDONLY.union(EventFFlags::O_CLOEXEC);

fn group() -> Result<Fanotify> {
    match Fanotify::init(INIT, EVENTS) {
        Ok(group) => Ok(group),
        Err(Errno::ENOSYS) => bail!("this kernel was built without fanotify"),
        Err(Errno::EPERM) => bail!("this process may not use fanotify here (a container?)"),
        Err(other) => Err(other).context("cannot use fanotify"),
    }
}

fn add(group: &Fanotify, dir: impl AsFd, entry: &OsStr) -> nix::Result<()> {
    let ignored = MarkFlags::FAN_MARK_IGNORED_MASK | MarkFlags::FAN_MARK_IGNORED_SURV_MODIFY;
    let how = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_EVICTABLE | MarkFlags::FAN_MARK_DONT_FOLLOW | ignored;
    group.mark(how, MaskFlags::FAN_MODIFY, dir, Some(entry))
}

fn clear(group: &Fanotify) -> nix::Result<()> {
    group.mark(MarkFlags::FAN_MARK_FLUSH, MaskFlags::empty(), nix::fcntl::AT_FDCWD, None::<&OsStr>)
}

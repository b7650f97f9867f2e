//! System calls that nix does not wrap, each as a safe function.
#![allow(unsafe_code, reason = "raw system calls; each block says why it is sound")]

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::{NixPath, libc};

use crate::core::inode::{Born, Inode};

/// What statx(2) says, as far as rokeep asks.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Device and number.
    pub inode: Inode,
    /// Hard links.
    pub links: u64,
    /// File type and permissions, as `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Bytes on disk.
    pub bytes: u64,
    /// When anything of it was last changed: seconds and nanoseconds (`st_ctime`).
    pub changed: (i64, u32),
    /// When it was made; none where the file system does not note it.
    pub born: Option<Born>,
    /// The mount's id, as in mountinfo (Linux 5.8).
    pub mount_id: u64,
}

impl Stat {
    /// A regular file.
    pub fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }

    /// Whether nobody but root can put anything into it, if it is a directory.
    pub fn only_root_writes(&self) -> bool {
        self.uid == 0 && self.mode & 0o022 == 0
    }

    /// A directory, which alone cannot have another hard link.
    pub fn is_directory(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }
}

/// What a symbolic link as the last name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLink {
    /// Itself.
    Itself,
    /// What it points to.
    Target,
}

/// statx(2) of `name` in `dir`, or of `dir` itself where `name` is empty.
///
/// Never waits for a server that does not answer (`AT_STATX_DONT_SYNC`), never mounts anything.
///
/// # Errors
/// Those of statx(2).
pub fn stat(dir: impl AsFd, name: &OsStr, last: LastLink) -> nix::Result<Stat> {
    let follow = match last {
        LastLink::Itself => libc::AT_SYMLINK_NOFOLLOW,
        LastLink::Target => 0,
    };
    let flags = follow | libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC | libc::AT_NO_AUTOMOUNT;
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME | libc::STATX_MNT_ID;
    let mut answer = std::mem::MaybeUninit::<libc::statx>::zeroed();
    let result = name.with_nix_path(|name| {
        // SAFETY: `name` is NUL-terminated and `answer` is writable for the whole struct; both outlive the call.
        unsafe { libc::statx(dir.as_fd().as_raw_fd(), name.as_ptr(), flags, mask, answer.as_mut_ptr()) }
    })?;
    Errno::result(result)?;
    // SAFETY: the struct is plain numbers, zeroed before the call and filled by it.
    let answer = unsafe { answer.assume_init() };
    Ok(Stat {
        inode: Inode { dev: libc::makedev(answer.stx_dev_major, answer.stx_dev_minor), ino: answer.stx_ino },
        links: answer.stx_nlink.into(),
        mode: answer.stx_mode.into(),
        uid: answer.stx_uid,
        bytes: answer.stx_blocks * 512,
        changed: (answer.stx_ctime.tv_sec, answer.stx_ctime.tv_nsec),
        born: born(&answer),
        mount_id: answer.stx_mnt_id,
    })
}

fn born(answer: &libc::statx) -> Option<Born> {
    let seconds = u64::try_from(answer.stx_btime.tv_sec).ok().filter(|_| answer.stx_mask & libc::STATX_BTIME != 0)?;
    seconds.checked_mul(1_000_000_000)?.checked_add(answer.stx_btime.tv_nsec.into()).map(Born)
}

/// Whether a file that is run gives rights that whoever runs it need not have: set-id bits (execve(2)), capabilities
/// (capabilities(7)). `file` is a descriptor of it, for naming it at least (`O_PATH`). What cannot be told may.
pub fn may_give_rights(file: impl AsFd) -> bool {
    let Ok(stat) = stat(&file, OsStr::new(""), LastLink::Itself) else { return true };
    if !stat.is_file() || stat.mode & (libc::S_ISUID | libc::S_ISGID) != 0 {
        return stat.is_file();
    }
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let answer = path.as_str().with_nix_path(|path| {
        // SAFETY: both names are NUL-terminated and outlive the call; with no room given, nothing is written.
        unsafe { libc::getxattr(path.as_ptr(), c"security.capability".as_ptr(), std::ptr::null_mut(), 0) }
    });
    !matches!(answer.and_then(Errno::result), Err(Errno::ENODATA | Errno::EOPNOTSUPP))
}

/// From here on the process outlives Ctrl-C, a lost terminal and a closed pipe.
pub fn ignore_terminal_signals() {
    set_terminal_signals(SigHandler::SigIgn);
}

/// Undoes [`ignore_terminal_signals`] of a parent: what is ignored stays so in the programs that are started.
pub fn heed_signals_again() {
    set_terminal_signals(SigHandler::SigDfl);
}

fn set_terminal_signals(to: SigHandler) {
    for which in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGTERM, Signal::SIGPIPE, Signal::SIGQUIT] {
        // SAFETY: neither installs a handler, so there is no code that could run at a bad moment.
        let _ = unsafe { signal(which, to) };
    }
}

/// From here on no program that this process starts inherits a descriptor, other than 0 to 2: also those that its own
/// caller left open, which it would otherwise keep alive.
pub fn keep_descriptors_to_ourselves() {
    // SAFETY: sets a flag on descriptors; nothing is closed here.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// A descriptor that becomes readable when the process ends; `ESRCH` where it is gone already.
///
/// pidfd_open(2): Linux 5.3.
///
/// # Errors
/// Those of pidfd_open(2).
pub fn pidfd(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: two plain numbers.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) as libc::c_int };
    // SAFETY: a non-negative answer is a new descriptor that nobody else owns.
    Errno::result(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Another descriptor for what a caller of this program opened for it under this number.
///
/// # Errors
/// `EBADF` where it is not open.
pub fn inherited(fd: i32) -> nix::Result<OwnedFd> {
    // SAFETY: a plain number; the descriptor itself stays with whoever owns it.
    let own = Errno::result(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: a non-negative answer is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(own) })
}

/// What two tasks may have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// The table of descriptors (`KCMP_FILES`).
    Descriptors = 2,
    /// Working directory and root (`KCMP_FS`).
    Directories = 3,
}

/// Whether two tasks are known to share this. kcmp(2).
pub fn share(task: i32, other: i32, what: Shared) -> bool {
    // SAFETY: plain numbers.
    unsafe { libc::syscall(libc::SYS_kcmp, task, other, what as libc::c_int, 0, 0) == 0 }
}

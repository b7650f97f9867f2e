//! Making a superblock or a single mount read-only or writable, with everything else left as it is.
//!
//! fspick(2), fsconfig(2) and mount_setattr(2) change what they are told. Where the kernel does not have them (`ENOSYS`),
//! mount(2) is told all options anew, as mountinfo has them. Only then: any other answer is the kernel's word.
#![allow(unsafe_code, reason = "raw system calls; each block says why it is sound")]

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::mount::MsFlags;

use crate::core::mount_options::{Flag, Options};
use crate::core::mount_state::{Access, Flags};

/// `MS_NOSYMFOLLOW`: Linux 5.10.
const NO_SYMBOLIC_LINKS: MsFlags = MsFlags::from_bits_retain(256);

/// A mount to be changed, by its root directory, and what mountinfo says of it now.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a, F> {
    /// A descriptor of its root.
    pub root: F,
    /// Whether it and its superblock are read-only.
    pub flags: Flags,
    /// What else there is to keep.
    pub options: &'a Options,
}

/// Makes the superblock under a mount read-only or writable.
///
/// fspick(2), fsconfig(2): Linux 5.2. Its other options stay; shown on ext4, xfs, btrfs, tmpfs and overlayfs.
///
/// # Errors
/// `EBUSY` where an unlinked inode is in use or somebody writes; `EROFS` or `EACCES` where the device is
/// write-protected; others of fsconfig(2).
pub fn set_superblock(subject: Subject<impl AsFd>, access: Access) -> nix::Result<()> {
    match reconfigure(&subject.root, access) {
        Err(Errno::ENOSYS) => remount_superblock(&subject, access),
        answer => answer,
    }
}

/// Makes the one mount read-only or writable; its other flags and other mounts stay.
///
/// mount_setattr(2): Linux 5.12.
///
/// # Errors
/// `EBUSY` where somebody writes through it; others of mount_setattr(2).
pub fn set_mount(subject: Subject<impl AsFd>, access: Access) -> nix::Result<()> {
    match set_attribute(&subject.root, access) {
        Err(Errno::ENOSYS) => remount_mount(&subject, access),
        answer => answer,
    }
}

/// Whether this process may do to a mount what makes it writable. Changes nothing: a superblock that is read-only is made
/// read-only, and the flag is taken from a copy of the mount that nobody sees.
pub fn is_permitted(root: impl AsFd, flags: Flags) -> bool {
    // To ask for nothing is to ask for a writable one: ext4 goes by the flag that is not there.
    let superblock = || reconfigure(&root, Access::ReadOnly);
    let mount = || set_attribute(copy(&root)?, Access::Writable);
    let asked = |access, ask: &dyn Fn() -> nix::Result<()>| match access {
        Access::ReadOnly => !matches!(ask(), Err(Errno::EPERM)),
        Access::Writable => true,
    };
    asked(flags.superblock, &superblock) && asked(flags.mount, &mount)
}

fn reconfigure(mount: impl AsFd, access: Access) -> nix::Result<()> {
    const FSPICK_CLOEXEC: libc::c_uint = 1;
    const FSPICK_EMPTY_PATH: libc::c_uint = 8;
    const FSCONFIG_SET_FLAG: libc::c_uint = 0;
    const FSCONFIG_CMD_RECONFIGURE: libc::c_uint = 7;
    let null = std::ptr::null::<libc::c_char>();
    let fspick_flags = FSPICK_CLOEXEC | FSPICK_EMPTY_PATH;
    // SAFETY: the descriptor is open and the path is a NUL-terminated literal.
    let picked = unsafe { libc::syscall(libc::SYS_fspick, mount.as_fd().as_raw_fd(), c"".as_ptr(), fspick_flags) };
    let context = new_descriptor(picked)?;
    let configure = |command: libc::c_uint, key: Option<&CStr>| {
        let key = key.map_or(null, CStr::as_ptr);
        // SAFETY: the context is open; the key is NULL or a NUL-terminated literal; neither command takes a value.
        let result = unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, null, 0) };
        Errno::result(result).map(drop)
    };
    let flag = match access {
        Access::ReadOnly => c"ro",
        Access::Writable => c"rw",
    };
    configure(FSCONFIG_SET_FLAG, Some(flag))?;
    configure(FSCONFIG_CMD_RECONFIGURE, None)
}

/// As [`set_mount`], and never by mount(2), which needs a path: in another mount namespace there is none for a descriptor.
///
/// # Errors
/// As there; `ENOSYS` before Linux 5.12.
pub fn set_attribute(mount: impl AsFd, access: Access) -> nix::Result<()> {
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let (set, clear) = match access {
        Access::ReadOnly => (MOUNT_ATTR_RDONLY, 0),
        Access::Writable => (0, MOUNT_ATTR_RDONLY),
    };
    mount_setattr(mount, &MountAttr { set, clear, propagation: 0, userns_fd: 0 })
}

/// Has nothing that is mounted over it, or over its peers, appear at the other (mount_namespaces(7), `MS_PRIVATE`).
///
/// # Errors
/// As [`set_attribute`].
pub fn set_private(mount: impl AsFd) -> nix::Result<()> {
    const MS_PRIVATE: u64 = 1 << 18;
    mount_setattr(mount, &MountAttr { set: 0, clear: 0, propagation: MS_PRIVATE, userns_fd: 0 })
}

/// Has those of a mount's flags that say what files may do be these.
///
/// # Errors
/// As [`set_attribute`].
pub fn set_permitted(mount: impl AsFd, flags: &[Flag]) -> nix::Result<()> {
    const ALL: u64 = 2 | 4 | 8;
    let set = flags.iter().map(|flag| u64::from(attribute(flag))).sum();
    mount_setattr(mount, &MountAttr { set, clear: ALL & !set, propagation: 0, userns_fd: 0 })
}

/// `MOUNT_ATTR_…`, include/uapi/linux/mount.h.
pub(super) fn attribute(flag: &Flag) -> libc::c_uint {
    match flag {
        Flag::NoSetUserId => 2,
        Flag::NoDevices => 4,
        Flag::NoPrograms => 8,
        // Linux 5.14.
        Flag::NoSymbolicLinks => 0x20_0000,
        Flag::NoAccessTimes
        | Flag::NoDirectoryAccessTimes
        | Flag::RelativeAccessTimes
        | Flag::StrictAccessTimes
        | Flag::Synchronous
        | Flag::SynchronousDirectories
        | Flag::MandatoryLocks
        | Flag::LazyTimes => 0,
    }
}

/// mount_setattr(2), `struct mount_attr`.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

fn mount_setattr(mount: impl AsFd, attr: &MountAttr) -> nix::Result<()> {
    // SAFETY: the descriptor is open, the path is a NUL-terminated literal, and `attr` is of the size that is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    Errno::result(result).map(drop)
}

/// Whether the kernel has mount_setattr(2), Linux 5.12. Changes nothing: it is asked with nothing to change.
///
/// # Errors
/// What it says to this process, other than that it has it.
pub fn can_change_one_mount() -> nix::Result<()> {
    // SAFETY: plain numbers and a NUL-terminated literal; of no bytes, none are read.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, -1, c"".as_ptr(), libc::AT_EMPTY_PATH, std::ptr::null::<u8>(), 0)
    };
    match Errno::result(result) {
        // The size is looked at first of all.
        Ok(_) | Err(Errno::EINVAL | Errno::EBADF) => Ok(()),
        Err(other) => Err(other),
    }
}

/// A copy of a mount that is nowhere, and gone with its descriptor. open_tree(2): Linux 5.2.
///
/// # Errors
/// Those of open_tree(2).
pub fn copy(mount: impl AsFd) -> nix::Result<OwnedFd> {
    const OPEN_TREE_CLONE: libc::c_uint = 1;
    let flags = OPEN_TREE_CLONE | libc::AT_EMPTY_PATH as libc::c_uint | libc::O_CLOEXEC as libc::c_uint;
    // SAFETY: the descriptor is open and the path is a NUL-terminated literal.
    let copy = unsafe { libc::syscall(libc::SYS_open_tree, mount.as_fd().as_raw_fd(), c"".as_ptr(), flags) };
    new_descriptor(copy)
}

pub(super) fn new_descriptor(answer: libc::c_long) -> nix::Result<OwnedFd> {
    let fd = Errno::result(answer)?;
    // SAFETY: a non-negative answer is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// mount(2) changes the mount's own flag along with the superblock's, so that is put back afterwards.
fn remount_superblock(subject: &Subject<impl AsFd>, access: Access) -> nix::Result<()> {
    let flags = MsFlags::MS_REMOUNT | of(subject.options.of_mount()) | of(subject.options.of_superblock());
    let flags = flags | read_only(access);
    match mount(&subject.root, flags, &subject.options.data()) {
        // An option that the file system shows and does not take: what it is not told, most leave as it is. Whoever asked
        // looks at all of them afterwards.
        Err(Errno::EINVAL) => mount(&subject.root, flags, b"")?,
        answer => answer?,
    }
    if subject.flags.mount == access { Ok(()) } else { remount_mount(subject, subject.flags.mount) }
}

fn remount_mount(subject: &Subject<impl AsFd>, access: Access) -> nix::Result<()> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | of(subject.options.of_mount());
    mount(&subject.root, flags | read_only(access), b"")
}

/// By descriptor, so that it is this mount and no other that is there by now.
fn mount(root: impl AsFd, flags: MsFlags, data: &[u8]) -> nix::Result<()> {
    let path = format!("/proc/self/fd/{}", root.as_fd().as_raw_fd());
    nix::mount::mount(None::<&str>, path.as_str(), None::<&str>, flags, Some(data))
}

fn read_only(access: Access) -> MsFlags {
    match access {
        Access::ReadOnly => MsFlags::MS_RDONLY,
        Access::Writable => MsFlags::empty(),
    }
}

fn of(flags: Vec<Flag>) -> MsFlags {
    let one = |flag| match flag {
        Flag::NoSetUserId => MsFlags::MS_NOSUID,
        Flag::NoDevices => MsFlags::MS_NODEV,
        Flag::NoPrograms => MsFlags::MS_NOEXEC,
        Flag::NoSymbolicLinks => NO_SYMBOLIC_LINKS,
        Flag::NoAccessTimes => MsFlags::MS_NOATIME,
        Flag::NoDirectoryAccessTimes => MsFlags::MS_NODIRATIME,
        Flag::RelativeAccessTimes => MsFlags::MS_RELATIME,
        Flag::StrictAccessTimes => MsFlags::MS_STRICTATIME,
        Flag::Synchronous => MsFlags::MS_SYNCHRONOUS,
        Flag::SynchronousDirectories => MsFlags::MS_DIRSYNC,
        Flag::MandatoryLocks => MsFlags::MS_MANDLOCK,
        Flag::LazyTimes => MsFlags::MS_LAZYTIME,
    };
    flags.into_iter().map(one).collect()
}

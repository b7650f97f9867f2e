//! Every mount namespace of the machine that may be looked into, also one that no process is in: a bind mount of its file
//! in /proc, or a descriptor, keeps one alive with all its mounts.
//!
//! ioctl_nsfs(2), `NS_MNT_GET_NEXT` and `NS_MNT_GET_PREV`: Linux 6.12. Before, nobody can list them; nor can, since 6.18 at
//! the latest, who is in a pid namespace of its own (EPERM).
#![allow(unsafe_code, reason = "raw system calls; each block says why it is sound")]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

/// include/uapi/linux/nsfs.h
#[repr(C)]
struct MountNamespaceInfo {
    size: u32,
    mounts: u32,
    id: u64,
}

const NS_MNT_GET_NEXT: libc::Ioctl = libc::_IOR::<MountNamespaceInfo>(0xb7, 11);
const NS_MNT_GET_PREV: libc::Ioctl = libc::_IOR::<MountNamespaceInfo>(0xb7, 12);

/// All but this one, as far as this process may enter them. None where the kernel cannot say.
pub fn others(this: &OwnedFd) -> Vec<OwnedFd> {
    let mut all = Vec::new();
    for direction in [NS_MNT_GET_NEXT, NS_MNT_GET_PREV] {
        let mut next = step(this, direction);
        while let Ok(namespace) = next {
            next = step(&namespace, direction);
            all.push(namespace);
        }
    }
    all
}

fn step(from: &OwnedFd, direction: libc::Ioctl) -> nix::Result<OwnedFd> {
    let mut info = MountNamespaceInfo { size: 0, mounts: 0, id: 0 };
    // SAFETY: the descriptor is open, and `info` writable for the size that is part of the request.
    let fd = Errno::result(unsafe { libc::ioctl(from.as_raw_fd(), direction, &raw mut info) })?;
    // SAFETY: a non-negative answer is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// From now on this thread alone can go into other mount namespaces.
///
/// # Errors
/// Those of unshare(2).
pub fn leave_the_other_threads() -> nix::Result<()> {
    // SAFETY: it changes what directories of other threads mean to this one, no memory.
    Errno::result(unsafe { libc::unshare(libc::CLONE_FS) }).map(drop)
}

/// This thread's root directory and mounts are those of another mount namespace.
///
/// # Errors
/// Those of setns(2).
pub fn enter(namespace: &OwnedFd) -> nix::Result<()> {
    // SAFETY: the descriptor is open.
    Errno::result(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS) }).map(drop)
}

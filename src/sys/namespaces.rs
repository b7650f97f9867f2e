//! Every mount namespace of the machine that may be looked into, also one that no process is in: a bind mount of its file
//! in /proc, or a descriptor, keeps one alive with all its mounts.
//!
//! ioctl_nsfs(2), `NS_MNT_GET_NEXT` and `NS_MNT_GET_PREV`: Linux 6.12. Before, nobody can list them; nor can, since 6.18 at
//! the latest, who is in a pid namespace of its own (EPERM).
#![allow(unsafe_code, reason = "raw system calls; each block says why it is sound")]

use std::iter;
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

/// All but this one, as far as this process may enter them; none where the kernel cannot say. No more than two are kept
/// open at a time, as there may be more of them than this process may have descriptors.
///
/// An error ends the list early, and is the last that is heard from that side of it.
pub fn others(this: &OwnedFd) -> impl Iterator<Item = nix::Result<OwnedFd>> {
    [NS_MNT_GET_NEXT, NS_MNT_GET_PREV].into_iter().flat_map(move |direction| {
        let first = match step(this, direction) {
            // It does not know the question, or does not answer it to this process.
            Err(Errno::ENOTTY | Errno::EINVAL | Errno::EPERM) => None,
            first => Some(first),
        };
        let all = iter::successors(first, move |last| Some(step(last.as_ref().ok()?, direction)));
        all.filter(|next| !matches!(next, Err(Errno::ENOENT)))
    })
}

/// Whether the kernel would list others to this process.
///
/// # Errors
/// Its answer, if it would not: `ENOTTY` or `EINVAL` before Linux 6.12, `EPERM` in a pid namespace of its own.
pub fn can_be_listed(this: &OwnedFd) -> nix::Result<()> {
    match step(this, NS_MNT_GET_NEXT) {
        Ok(_) | Err(Errno::ENOENT) => Ok(()),
        Err(other) => Err(other),
    }
}

/// A mount namespace on the way through several.
#[derive(Debug)]
pub enum Stop<'a> {
    /// This thread is in it: its root directory and mounts are those of that namespace.
    In(&'a OwnedFd),
    /// It could not be entered: setns(2).
    NotEntered(Errno),
    /// It, and perhaps others, could not even be listed.
    NotListed(Errno),
}

/// Goes from one of these to the next, leaving out those without mounts. To be called on a thread that has nothing else to
/// do: it is somewhere else afterwards.
///
/// # Errors
/// Those of `each`, and of unshare(2) where there is somewhere to go.
pub fn walk<E: From<Errno>>(
    namespaces: impl Iterator<Item = nix::Result<OwnedFd>>,
    mut each: impl FnMut(Stop) -> Result<(), E>,
) -> Result<(), E> {
    let mut namespaces = namespaces.peekable();
    if namespaces.peek().is_some() {
        leave_the_other_threads()?;
    }
    for namespace in namespaces {
        let stop = match &namespace {
            Ok(namespace) => match enter(namespace) {
                Ok(()) => Stop::In(namespace),
                // It has no mounts.
                Err(Errno::EINVAL) => continue,
                Err(errno) => Stop::NotEntered(errno),
            },
            Err(errno) => Stop::NotListed(*errno),
        };
        each(stop)?;
    }
    Ok(())
}

fn step(from: &OwnedFd, direction: libc::Ioctl) -> nix::Result<OwnedFd> {
    let mut info = MountNamespaceInfo { size: 0, mounts: 0, id: 0 };
    // SAFETY: the descriptor is open, and `info` writable for the size that is part of the request.
    let fd = Errno::result(unsafe { libc::ioctl(from.as_raw_fd(), direction, &raw mut info) })?;
    // SAFETY: a non-negative answer is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Only a thread that shares no root directory with others may go elsewhere: setns(2).
fn leave_the_other_threads() -> nix::Result<()> {
    // SAFETY: it changes what directories of other threads mean to this one, no memory.
    Errno::result(unsafe { libc::unshare(libc::CLONE_FS) }).map(drop)
}

fn enter(namespace: &OwnedFd) -> nix::Result<()> {
    // SAFETY: the descriptor is open.
    Errno::result(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS) }).map(drop)
}

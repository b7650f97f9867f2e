//! A file by its handle: reached again without a name, whatever it is called by now and from wherever it was seen.
//!
//! name_to_handle_at(2), open_by_handle_at(2). A process may use a file under a name that is gone, that only its chroot
//! or its mount namespace has, or through another mount, where link(2) gives EXDEV. Its handle leads to the same inode
//! through a mount of our own. ext4, xfs, btrfs and tmpfs have handles; overlayfs has them with `nfs_export` only.
#![allow(unsafe_code, reason = "raw system calls; each block says why it is sound")]

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::libc;

/// The longest handle of any file system (`MAX_HANDLE_SZ`).
const MOST_BYTES: usize = 128;

/// What leads to one inode of one file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHandle {
    kind: libc::c_int,
    bytes: Vec<u8>,
}

/// `struct file_handle`, as long as one can be.
#[repr(C)]
struct Raw {
    length: libc::c_uint,
    kind: libc::c_int,
    bytes: [u8; MOST_BYTES],
}

/// Whether the kernel opens files by their handles to this process. It is asked with no handle at all.
///
/// # Errors
/// Its answer, if it does not: `ENOSYS` where it was built without, `EPERM` without `CAP_DAC_READ_SEARCH`.
pub fn can_be_opened() -> nix::Result<()> {
    // SAFETY: a plain number, and no address that could be read.
    let result = unsafe { libc::syscall(libc::SYS_open_by_handle_at, -1, std::ptr::null::<Raw>(), libc::O_PATH) };
    match Errno::result(result) {
        Ok(_) | Err(Errno::EFAULT | Errno::EBADF | Errno::EINVAL) => Ok(()),
        Err(other) => Err(other),
    }
}

impl FileHandle {
    /// The handle of what a link in /proc leads to.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the file system has none; others of name_to_handle_at(2).
    pub fn of_link(dir: impl AsFd, link: &OsStr) -> nix::Result<FileHandle> {
        let link = CString::new(link.as_bytes()).map_err(|_| Errno::EINVAL)?;
        let mut raw = Raw { length: MOST_BYTES as libc::c_uint, kind: 0, bytes: [0; MOST_BYTES] };
        let mut mount_id: libc::c_int = 0;
        // SAFETY: the descriptor is open, the path is NUL-terminated, `raw` has room for as many bytes as it says, and `mount_id` is an int; all
        // outlive the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_name_to_handle_at,
                dir.as_fd().as_raw_fd(),
                link.as_ptr(),
                &raw mut raw,
                &raw mut mount_id,
                libc::AT_SYMLINK_FOLLOW,
            )
        };
        Errno::result(result)?;
        let bytes = raw.bytes.get(..raw.length as usize).ok_or(Errno::EOVERFLOW)?;
        Ok(FileHandle { kind: raw.kind, bytes: bytes.to_vec() })
    }

    /// The inode itself, as an `O_PATH` descriptor through the mount that `mount` is on: link(2) takes it from there.
    ///
    /// # Errors
    /// `ESTALE` where the inode is gone; others of open_by_handle_at(2).
    pub fn open(&self, mount: impl AsFd) -> nix::Result<OwnedFd> {
        let mut raw = Raw { length: self.bytes.len() as libc::c_uint, kind: self.kind, bytes: [0; MOST_BYTES] };
        raw.bytes.get_mut(..self.bytes.len()).ok_or(Errno::EOVERFLOW)?.copy_from_slice(&self.bytes);
        let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        // SAFETY: the descriptor is open, and `raw` holds as many bytes as it says and outlives the call.
        let result = unsafe {
            libc::syscall(libc::SYS_open_by_handle_at, mount.as_fd().as_raw_fd(), &raw const raw, flags) as libc::c_int
        };
        // SAFETY: a non-negative answer is a new descriptor that nobody else owns.
        Errno::result(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

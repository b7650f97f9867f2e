//! Files on their way from one process to another.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Result;
use nix::libc;

use super::states::{Kept, kept};

/// unix(7): the kernel keeps what was sent until it is received, or nobody is left who could.
pub fn in_flight(path: &Path) -> Result<Kept> {
    let file = File::open(path)?;
    let (from, to) = UnixStream::pair()?;
    send(&from, file.as_raw_fd())?;
    kept(Ok::<_, anyhow::Error>((from, to)))
}

/// `struct cmsghdr` with one descriptor behind it, as `CMSG_DATA` has it.
#[repr(C)]
struct Rights {
    head: libc::cmsghdr,
    file: RawFd,
}

#[allow(unsafe_code, reason = "std cannot send descriptors")]
fn send(from: &UnixStream, file: RawFd) -> io::Result<()> {
    let (mut byte, length) = ([0_u8], size_of::<libc::cmsghdr>() + size_of::<RawFd>());
    let mut rights = Rights {
        head: libc::cmsghdr { cmsg_len: length, cmsg_level: libc::SOL_SOCKET, cmsg_type: libc::SCM_RIGHTS },
        file,
    };
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: byte.len() };
    // SAFETY: zeroes are an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    (message.msg_control, message.msg_controllen) = ((&raw mut rights).cast(), length);
    // SAFETY: all that the message points to lives until the call is over.
    let sent = unsafe { libc::sendmsg(from.as_raw_fd(), &raw const message, 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

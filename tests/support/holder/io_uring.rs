//! Files registered with an io_uring (io_uring_register(2)): as good as open, and without a descriptor.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::libc::{self, c_long};

use super::states::{Kept, kept};

const ENTRIES: c_long = 1;
const REGISTER_FILES: c_long = 2;

/// `struct io_uring_params` of <linux/io_uring.h>, of which nothing is asked and nothing read.
type Params = [u8; 120];

pub fn registered(path: &Path) -> Result<Kept> {
    let file = File::open(path)?;
    let ring = ring().context("no io_uring")?;
    register(&ring, file.as_raw_fd())?;
    kept(Ok::<_, anyhow::Error>(ring))
}

#[allow(unsafe_code, reason = "neither std nor nix knows io_uring")]
fn ring() -> io::Result<OwnedFd> {
    let mut params: Params = [0; 120];
    // SAFETY: the kernel reads and writes the 120 bytes of the structure.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, params.as_mut_ptr()) };
    // SAFETY: a new descriptor that nobody else knows.
    done(ring).map(|ring| unsafe { OwnedFd::from_raw_fd(ring as RawFd) })
}

#[allow(unsafe_code, reason = "neither std nor nix knows io_uring")]
fn register(ring: &OwnedFd, file: RawFd) -> io::Result<()> {
    let (ring, one) = (c_long::from(ring.as_raw_fd()), 1 as c_long);
    // SAFETY: the kernel reads one descriptor number.
    done(unsafe { libc::syscall(libc::SYS_io_uring_register, ring, REGISTER_FILES, &raw const file, one) }).map(drop)
}

fn done(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

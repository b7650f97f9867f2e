//! Files that the kernel itself uses: behind a loop device (loop(4)), as swap (swapon(2)).

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc::{self, c_long, c_ulong};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::states::{Kept, kept};

// <linux/loop.h>
const LOOP_CTL_GET_FREE: c_ulong = 0x4C82;
const LOOP_CONFIGURE: c_ulong = 0x4C0A;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    before_flags: [u8; 52],
    flags: u32,
    after_flags: [u8; 176],
    reserved: [u64; 8],
}

/// The same as `losetup --read-only`, but the device is free again when this process ends, however it does.
pub fn looped(path: &Path) -> Result<Kept> {
    let file = File::open(path)?;
    node("/dev/loop-control", SFlag::S_IFCHR, 10, 237)?;
    let control = File::open("/dev/loop-control")?;
    loop {
        let number = ioctl(&control, LOOP_CTL_GET_FREE, 0).context("no loop device is free")?;
        let name = format!("/dev/loop{number}");
        node(&name, SFlag::S_IFBLK, 7, number as u64)?;
        let device = File::open(name)?;
        match attach(&device, &file) {
            // Somebody else got it first.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => continue,
            attached => attached?,
        }
        return kept(Ok::<_, anyhow::Error>(device));
    }
}

fn attach(device: &File, file: &File) -> io::Result<()> {
    let config = LoopConfig {
        fd: file.as_raw_fd() as u32,
        block_size: 0,
        before_flags: [0; 52],
        flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
        after_flags: [0; 176],
        reserved: [0; 8],
    };
    ioctl(device, LOOP_CONFIGURE, &raw const config as usize).map(drop)
}

fn node(path: &str, kind: SFlag, major: u64, minor: u64) -> Result<()> {
    match mknod(path, kind, Mode::S_IRUSR | Mode::S_IWUSR, makedev(major, minor)) {
        Err(Errno::EEXIST) | Ok(()) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

#[allow(unsafe_code, reason = "nix has no call for loop devices")]
fn ioctl(file: &File, request: c_ulong, argument: usize) -> io::Result<i32> {
    // SAFETY: the argument is unused, or points to the structure that belongs to the request.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), request as _, argument) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done) }
}

// ── swap ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const PAGE: usize = 4096;
const PAGES: usize = 16;
/// chattr(1): `+C`. btrfs swaps only to files that it does not copy on write.
const FS_NOCOW_FL: libc::c_int = 0x0080_0000;

/// mkswap(8): so small that next to nothing can be in it.
pub fn make_swap_file(path: &Path) -> Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    // Where there is no such thing it is not needed either.
    let flags: libc::c_int = FS_NOCOW_FL;
    let _ = ioctl(&file, libc::FS_IOC_SETFLAGS as c_ulong, &raw const flags as usize);
    let mut bytes = vec![0; PAGES * PAGE];
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    put(1024, &1_u32.to_ne_bytes());
    put(1028, &(PAGES as u32 - 1).to_ne_bytes());
    put(PAGE - 10, b"SWAPSPACE2");
    file.write_all(&bytes)?;
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file.sync_all()?)
}

/// Swapped to until it is dropped.
struct Swap(PathBuf);

pub fn swapped_to(path: &Path) -> Result<Kept> {
    swap_call(libc::SYS_swapon, path)?;
    kept(Ok::<_, anyhow::Error>(Swap(path.to_owned())))
}

impl Drop for Swap {
    fn drop(&mut self) {
        let _ = swap_call(libc::SYS_swapoff, &self.0);
    }
}

#[allow(unsafe_code, reason = "neither std nor nix knows swapon(2)")]
fn swap_call(call: c_long, path: &Path) -> Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a path that ends in a zero, and no flags.
    let done = unsafe { libc::syscall(call, path.as_ptr(), 0) };
    if done < 0 { Err(io::Error::last_os_error().into()) } else { Ok(()) }
}

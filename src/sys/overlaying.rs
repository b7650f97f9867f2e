//! Making an overlayfs that is mounted nowhere, and mounting what is nowhere: fsopen(2), fsmount(2), move_mount(2), Linux
//! 5.2. So it can be tried before anybody sees it.
#![allow(unsafe_code, reason = "raw system calls; each block says why it is sound")]

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;

use super::files::Root;
use super::remounting::{attribute, new_descriptor};
use crate::core::mount_options::Flag;
use crate::core::mountinfo::{self, Mount};

/// What the kernel said when it refused to make one.
#[derive(Debug)]
pub struct Refused {
    /// In short.
    pub errno: Errno,
    /// In words, where it has some (fs/fsopen.c, fscontext_read); else they are in its log.
    pub said: Option<String>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.said {
            Some(said) => write!(f, "{} ({said})", self.errno.desc()),
            None => write!(f, "{}; see \"dmesg\"", self.errno.desc()),
        }
    }
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Refused {
        Refused { errno, said: None }
    }
}

/// Makes a writable overlayfs, mounted nowhere, and gone with its descriptor. `parameters` are its options by name, with the
/// layers among them; of the mount's `flags` those count that say what files may do.
///
/// # Errors
/// `ENODEV` where the kernel has no overlayfs; others of fsconfig(2) and fsmount(2).
pub fn make<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a Path)>, flags: &[Flag]) -> Result<OwnedFd, Refused> {
    const FSOPEN_CLOEXEC: libc::c_uint = 1;
    const FSCONFIG_SET_STRING: libc::c_uint = 1;
    const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
    // SAFETY: the name is a NUL-terminated literal.
    let opened = unsafe { libc::syscall(libc::SYS_fsopen, c"overlay".as_ptr(), FSOPEN_CLOEXEC) };
    let context = new_descriptor(opened)?;
    let configure = |command: libc::c_uint, key: Option<&CStr>, value: Option<&CStr>| {
        let [key, value] = [key, value].map(|text| text.map_or(std::ptr::null(), CStr::as_ptr));
        // SAFETY: the context is open; key and value are NULL or NUL-terminated, and outlive the call.
        let result = unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, value, 0) };
        Errno::result(result).map(drop)
    };
    let source = [("source", Path::new("rokeep"))];
    let configured = source.into_iter().chain(parameters).try_for_each(|(key, value)| {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::EINVAL);
        configure(FSCONFIG_SET_STRING, Some(&text(key.as_bytes())?), Some(&text(value.as_os_str().as_bytes())?))
    });
    let created = configured.and_then(|()| configure(FSCONFIG_CMD_CREATE, None, None));
    created.map_err(|errno| Refused { errno, said: said(&context) })?;
    mount(&context, flags).map_err(Refused::from)
}

fn mount(context: impl AsFd, flags: &[Flag]) -> nix::Result<OwnedFd> {
    const FSMOUNT_CLOEXEC: libc::c_uint = 1;
    let attributes: libc::c_uint = flags.iter().map(attribute).sum();
    // SAFETY: the descriptor is open, and the rest are plain numbers.
    let mounted = unsafe { libc::syscall(libc::SYS_fsmount, context.as_fd().as_raw_fd(), FSMOUNT_CLOEXEC, attributes) };
    new_descriptor(mounted)
}

/// The last of what it has to say, without the letter before it.
fn said(context: &OwnedFd) -> Option<String> {
    const LONGEST: usize = 1024;
    let mut context = File::from(context.try_clone().ok()?);
    let mut last = None;
    let mut line = [0; LONGEST];
    while let Ok(bytes @ 1..) = context.read(&mut line) {
        last = line.get(2..bytes).map(|said| String::from_utf8_lossy(said).trim().to_owned());
    }
    last
}

/// Mounts what is mounted nowhere, over a directory.
///
/// # Errors
/// Those of move_mount(2).
pub fn attach(mount: impl AsFd, over: impl AsFd) -> nix::Result<()> {
    const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;
    const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
    // SAFETY: both descriptors are open, and both paths are NUL-terminated literals.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            over.as_fd().as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    };
    Errno::result(result).map(drop)
}

/// Some process in whose mount namespace an overlay is mounted that this says yes to; this process's own namespace too.
///
/// # Errors
/// Where /proc cannot be read.
pub fn somebody_with(root: &Root, is_it: impl Fn(&Mount) -> bool) -> io::Result<Option<i32>> {
    let mut namespaces = HashSet::new();
    for entry in fs::read_dir(root.path("/proc"))? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that ends meanwhile has let go.
        let Ok(namespace) = fs::metadata(entry.path().join("ns/mnt")) else { continue };
        if namespaces.insert(namespace.ino()) {
            let table = fs::read(entry.path().join("mountinfo")).unwrap_or_default();
            if mountinfo::parse(&table).iter().any(&is_it) {
                return Ok(Some(pid));
            }
        }
    }
    Ok(None)
}

/// Whether a file system keeps what overlayfs writes beside a file: extended attributes that only root sees. Changes nothing
/// that lasts.
///
/// # Errors
/// `EOPNOTSUPP` where it does not; others of setxattr(2).
pub fn keeps_attributes(directory: impl AsFd) -> nix::Result<()> {
    const NAME: &CStr = c"trusted.rokeep";
    let fd = directory.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open, the name is NUL-terminated, and the one byte outlives the call.
    Errno::result(unsafe { libc::fsetxattr(fd, NAME.as_ptr(), b"y".as_ptr().cast(), 1, 0) })?;
    // SAFETY: as above.
    Errno::result(unsafe { libc::fremovexattr(fd, NAME.as_ptr()) }).map(drop)
}

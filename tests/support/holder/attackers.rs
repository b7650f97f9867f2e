//! Who means harm, or does not think of it.
#![allow(unsafe_code, reason = "a raw system call; the block says why it is sound")]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::libc;
use nix::sys::stat::{Mode, umask};

pub fn set_umask(octal: &str) -> Result<()> {
    umask(Mode::from_bits_truncate(libc::mode_t::from_str_radix(octal, 8)?));
    Ok(())
}

/// As fast as it can, until standard input ends. What cannot be done at some moment is tried again.
pub fn exchange(first: &Path, second: &Path) -> Result<()> {
    let ended = Arc::new(AtomicBool::new(false));
    let until = ended.clone();
    super::say(&format!("{} ready", std::process::id()))?;
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        until.store(true, Ordering::Relaxed);
    });
    let mut done = 0_u64;
    while !ended.load(Ordering::Relaxed) {
        done += u64::from(renameat2(AT_FDCWD, first, AT_FDCWD, second, RenameFlags::RENAME_EXCHANGE).is_ok());
    }
    anyhow::ensure!(done > 0, "nothing was ever exchanged");
    Ok(())
}

/// setxattr(2).
pub fn set_attribute(name: &str, hex: &str, path: &Path) -> Result<()> {
    let digits = |at: usize| hex.get(at..at + 2).and_then(|byte| u8::from_str_radix(byte, 16).ok());
    let value: Vec<u8> = (0..hex.len()).step_by(2).map_while(digits).collect();
    let (path, name) = (CString::new(path.as_os_str().as_bytes())?, CString::new(name)?);
    // SAFETY: both names are NUL-terminated, the value is as long as is said, and all outlive the call.
    let set = unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(set)?;
    Ok(())
}

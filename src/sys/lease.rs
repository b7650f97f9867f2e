//! Write leases: the kernel's own answer to whether somebody has a file.
//!
//! fcntl(2), `F_SETLEASE`: a lease for writing is refused (EAGAIN) while any other open file of the inode can read or
//! write (fs/locks.c, check_conflicting_open): of any process, seen or not, mapped, executed, in flight in a socket, or of
//! the kernel itself. It takes no writable file system. [`Lease`] says what it does not see.
//!
//! Whoever opens the file during the lease makes the kernel send SIGIO, which ends a process that did not ask for it. So
//! the signal is ignored meanwhile, and the lease given back at once.
#![allow(unsafe_code, reason = "raw system calls; each block says why it is sound")]

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::Mode;

use super::files::Directory;
use super::halves;
use super::kernel::{self, LastLink};
use crate::core::inode::Inode;
use crate::core::verdict::Lease;

/// Who asks for leases. As long as it lives, SIGIO is ignored.
#[derive(Debug)]
pub struct Leases {
    before: Option<SigHandler>,
}

impl Leases {
    /// From now on nothing that happens to a lease is a danger.
    #[allow(clippy::new_without_default, reason = "it changes what this process does")]
    pub fn new() -> Leases {
        // SAFETY: it installs no handler, so there is no code that could run at a bad moment.
        let before = unsafe { signal(Signal::SIGIO, SigHandler::SigIgn) }.ok();
        Leases { before }
    }

    /// Asks for a lease on the regular file that a name in a directory leads to, which must be this inode, and gives it
    /// back.
    pub fn ask(&self, dir: &Directory, name: &OsStr, inode: Inode) -> Lease {
        let file = match open(dir, name) {
            Ok(file) => file,
            // Somebody else has a lease on it just now.
            Err(Errno::EWOULDBLOCK) => return Lease::Held,
            Err(_) => return Lease::Unknown,
        };
        match kernel::stat(&file, OsStr::new(""), LastLink::Itself) {
            Ok(stat) if stat.inode == inode => ask(file),
            Ok(_) | Err(_) => Lease::Unknown,
        }
    }

    /// Asks for each of them, on two threads where there are many, and answers in the same order.
    pub fn ask_all<T: Sync>(&self, files: &[T], ask: impl Fn(&T) -> Lease + Sync) -> Vec<Lease> {
        halves::map(files, ask)
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            // SAFETY: what was there before is what this puts back, and nothing else has changed it since.
            let _ = unsafe { signal(Signal::SIGIO, before) };
        }
    }
}

/// Never waits for whoever has a lease on it already; leaves its times alone where that is permitted (`O_NOATIME`).
fn open(dir: &Directory, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(dir, name, flags | OFlag::O_NOATIME, Mode::empty()) {
        Err(Errno::EPERM) => openat(dir, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// Closing the file gives the lease back, as soon as it was given.
fn ask(file: OwnedFd) -> Lease {
    // SAFETY: the descriptor is open, and the argument of F_SETLEASE is a plain number.
    match Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) }) {
        Ok(_) => Lease::Granted,
        Err(Errno::EAGAIN | Errno::EBUSY) => Lease::Held,
        // Also where the administrator has switched leases off (fs.leases-enable).
        Err(Errno::EINVAL) => Lease::NotApplicable,
        Err(_) => Lease::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    #[test]
    fn a_lease_is_refused_while_somebody_has_the_file_and_only_this_inode_counts() {
        let path = std::env::temp_dir().join(format!("rokeep-lease-{}", std::process::id()));
        fs::create_dir(&path).expect("a directory of our own");
        let file = path.join("file");
        fs::write(&file, "a file\n").expect("a file");
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = Directory::from(nix::fcntl::open(&path, flags, Mode::empty()).expect("the directory"));
        let name = OsStr::new("file");
        let inode = dir.entry(name).expect("a look").expect("a file").inode;
        let leases = Leases::new();
        let open = File::open(&file).expect("somebody");
        let held = leases.ask(&dir, name, inode);
        drop(open);
        let free = leases.ask(&dir, name, inode);
        let other = leases.ask(&dir, name, Inode { ino: inode.ino + 1, ..inode });
        let gone = leases.ask(&dir, OsStr::new("gone"), inode);
        fs::remove_dir_all(&path).expect("the directory goes");
        assert_eq!([held, free, other, gone], [Lease::Held, Lease::Granted, Lease::Unknown, Lease::Unknown]);
    }
}

//! Processes that are gone before anybody has had a look at them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use anyhow::Result;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::wait::wait;
use nix::unistd::{ForkResult, fork, pipe};

use super::say;

/// A child that has the file open forks and ends; its child does the same, and so on, until standard input ends. This
/// process has nothing but an eye on them.
pub fn pass_on(path: &Path) -> Result<()> {
    set_child_subreaper(true)?;
    let file = File::open(path)?;
    let (until, goes_on) = pipe()?;
    if in_a_child()? {
        drop(goes_on);
        while !has_ended(until.as_fd(), 1)? {
            if !in_a_child()? {
                break;
            }
        }
        std::process::exit(0);
    }
    drop((file, until));
    super::wait()?;
    drop(goes_on);
    while !matches!(wait(), Err(Errno::ECHILD)) {}
    Ok(())
}

/// This process has the file open; its children have it too, and only for as long as it takes to end.
pub fn fork_on(path: &Path) -> Result<()> {
    let _file = File::open(path)?;
    say(&format!("{} ready", std::process::id()))?;
    while !has_ended(io::stdin().as_fd(), 0)? {
        if in_a_child()? {
            std::process::exit(0);
        }
        wait()?;
    }
    Ok(())
}

/// Whether this is the child now.
#[allow(unsafe_code, reason = "std cannot fork without running something else")]
fn in_a_child() -> nix::Result<bool> {
    // SAFETY: there is no other thread that could have left something half done.
    Ok(matches!(unsafe { fork() }?, ForkResult::Child))
}

/// Whether nobody is left at the other end. Milliseconds.
fn has_ended(end: BorrowedFd, patience: u8) -> nix::Result<bool> {
    let mut polled = [PollFd::new(end, PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::from(patience)).map(|ready| ready > 0)
}

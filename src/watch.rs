//! Watching: a small process that outlives apt and ends the session in its place.
//!
//! apt skips Post-Invoke when another Pre-Install-Pkgs hook fails, and runs nothing at all when it is killed. And apt
//! itself holds old files until it exits, which nobody else would notice.
//!
//! A mount that is held by hand for a time is waited for by the same process, and put back when that has come.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::core::message::{self, Outcome};
use crate::core::session::{Frontend, Session};
use crate::pins::Look;
use crate::recover;
use crate::sys::alarm::{Alarm, Woken};
use crate::sys::clock;
use crate::sys::files::Root;
use crate::sys::lock::StillHeld;
use crate::sys::log::{Priority, log};
use crate::sys::{children, kernel, processes, program, state};

/// Starts the watcher of a frontend: as a systemd unit, or as a process of its own where there is no systemd.
///
/// A watcher that cannot be started is said in the log, and fails nothing: it is the second line of defence.
pub fn start(root: &Root, frontend: &Frontend) {
    kernel::keep_descriptors_to_ourselves();
    if !start_unit(root, frontend.pid) {
        start_process(root, frontend, program::successor(root));
    }
}

/// Starts one as a process of its own, of this program unless another one is to do it. Where there is one already it ends at
/// once.
pub(crate) fn start_process(root: &Root, frontend: &Frontend, program: Option<PathBuf>) {
    if let Err(error) = detached(frontend.pid, program) {
        let whose = message::text(&frontend.command);
        log(root, Priority::Error, &format!("cannot start the watcher of {whose}: {error:#}"));
    }
}

fn start_unit(root: &Root, pid: i32) -> bool {
    if !program::has_systemd(root) {
        return false;
    }
    let unit = format!("rokeep-watch@{pid}.service");
    let mut systemctl = Command::new("/usr/bin/systemctl");
    systemctl.args(["--quiet", "--no-block", "start", &unit]);
    children::ends_soon(&mut systemctl).is_ok_and(|status| status.success())
}

fn detached(pid: i32, program: Option<PathBuf>) -> Result<()> {
    let program = program.map_or_else(std::env::current_exe, Ok).context("cannot tell which program this is")?;
    // It answers once it has left apt's terminal, so that no Ctrl-C can reach it any more.
    let mut watcher = Command::new(program);
    watcher.args(["watch", "--detach", &pid.to_string()]);
    let detached = children::ends_soon(&mut watcher).context("cannot start a process")?;
    ensure!(detached.success(), "it could not leave the terminal");
    Ok(())
}

/// Leaves the terminal and the process group of whoever started this process, which goes on without waiting for it.
///
/// # Errors
/// Those of daemon(3).
pub fn detach() -> Result<()> {
    kernel::heed_signals_again();
    nix::unistd::daemon(false, true).context("cannot leave the terminal")
}

/// Waits until a frontend has ended, then ends its part of the session if it did not, and drops what only it held. Then
/// waits for mounts that are held by hand until some time, if nobody else does. `tell` is called for each.
///
/// # Errors
/// Where /proc or rokeep's own state cannot be read.
pub fn watch(root: &Root, pid: i32, mut tell: impl FnMut(Outcome)) -> Result<()> {
    // Another one does it.
    let Some(outcome) = stand_in_for(root, pid)? else { return Ok(()) };
    tell(outcome);
    // Whoever is left may have nobody to watch it: a program that "rokeep run" started and did not outlive.
    for frontend in state::session(root)?.frontends.iter().filter(|frontend| processes::is_alive(frontend)) {
        start(root, frontend);
    }
    // Before the deadlines, which may be far, and after them.
    go_on_as_successor(root, pid);
    keep_deadlines(root, tell)?;
    go_on_as_successor(root, pid);
    Ok(())
}

/// Goes on as whoever has taken this program's place: the rokeep that is installed now, or the copy of one that is being
/// removed ([`crate::leaving`]). Once, whatever comes of it; not where it is this program still.
///
/// It may be able to read what this one cannot, where that was upgraded while it waited. And this one's own file cannot be
/// let go while it runs.
pub fn go_on_as_successor(root: &Root, pid: i32) {
    const DONE: &str = "ROKEEP_HANDED_OVER";
    let Some(successor) = program::successor(root).filter(|_| std::env::var_os(DONE).is_none()) else { return };
    let error = Command::new(&successor).args(["watch", &pid.to_string()]).env_clear().env(DONE, "yes").exec();
    log(root, Priority::Error, &format!("cannot start {}: {error}", successor.display()));
}

fn stand_in_for(root: &Root, pid: i32) -> Result<Option<Outcome>> {
    loop {
        let Some(lock) = state::watcher_lock(root, pid)? else { return Ok(None) };
        if let Some(frontend) = whom_to_wait_for(&state::session(root)?, pid) {
            wait_for_end(&frontend)?;
        }
        let outcome = patiently(root, || recover::clean_up(root, Look::Usual));
        drop(lock);
        // A run that began meanwhile found this watcher in place, and relies on it.
        if whom_to_wait_for(&state::session(root)?, pid).is_none() {
            return outcome.map(Some);
        }
    }
}

fn keep_deadlines(root: &Root, mut tell: impl FnMut(Outcome)) -> Result<()> {
    loop {
        // One that came while everybody looked elsewhere. A mount that is needed all the same goes back with whoever needs
        // it.
        if state::session(root)?.is_overdue(clock::seconds_since_boot()) {
            tell(patiently(root, || recover::recover(root))?);
        }
        if next_deadline(root)?.is_none() {
            return Ok(());
        }
        let Some(lock) = state::deadlines_lock(root)? else { return Ok(()) };
        let kept = keep_deadlines_of_now(root, &mut tell);
        drop(lock);
        // One that was set meanwhile by somebody who found this watcher in place.
        kept?;
    }
}

fn keep_deadlines_of_now(root: &Root, tell: &mut impl FnMut(Outcome)) -> Result<()> {
    let alarm = Alarm::new(root)?;
    while let Some(deadline) = next_deadline(root)? {
        match alarm.wait(deadline)? {
            Woken::InTime => tell(patiently(root, || recover::recover(root))?),
            Woken::ByAChange => {}
        }
    }
    Ok(())
}

/// Another rokeep may have the lock for long, as somebody has stopped it. Nobody waits for this process, and it may be that
/// nobody else comes after that one.
fn patiently(root: &Root, act: impl Fn() -> Result<Outcome>) -> Result<Outcome> {
    loop {
        match act() {
            Err(why) if why.is::<StillHeld>() => log(root, Priority::Error, &format!("{why:#}; trying again")),
            done => return done,
        }
    }
}

fn next_deadline(root: &Root) -> Result<Option<u64>> {
    Ok(state::session(root)?.next_deadline(clock::seconds_since_boot()))
}

/// The frontend, if it lives: also one whose run is over already, as it may hold old files until it ends. But where a
/// session is left without its frontend, there is no time to wait for whoever has its number now.
fn whom_to_wait_for(session: &Session, pid: i32) -> Option<Frontend> {
    let named = session.frontends.iter().find(|frontend| frontend.pid == pid && processes::is_alive(frontend));
    let over = || session.is_over().then(|| processes::by_pid(pid).ok()).flatten();
    named.cloned().or_else(over).filter(processes::is_alive)
}

fn wait_for_end(frontend: &Frontend) -> Result<()> {
    let process = match kernel::pidfd(frontend.pid) {
        Ok(process) => process,
        Err(Errno::ESRCH) => return Ok(()),
        Err(error) => return Err(error).context("cannot watch the package manager"),
    };
    // Only now is it sure that the descriptor is of that process and not of a later one with its number.
    while processes::is_alive(frontend) {
        match poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for the package manager"),
        }
    }
    Ok(())
}

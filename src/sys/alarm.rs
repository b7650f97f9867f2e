//! Waiting for a time to come, unless the session changes before.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::files::Root;
use super::state;

/// Sees every change of the session from when it was made.
#[derive(Debug)]
pub struct Alarm {
    timer: TimerFd,
    changes: Inotify,
}

/// Why the waiting is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The time has come.
    InTime,
    /// The session has changed, perhaps.
    ByAChange,
}

impl Alarm {
    /// # Errors
    /// Where the kernel refuses a timer, or to tell of changes in /run/rokeep.
    pub fn new(root: &Root) -> Result<Alarm> {
        // Goes on counting while the machine sleeps, but does not wake it.
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        let changes = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        // It is replaced by a rename, and removed when it is over.
        let moved = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE;
        let dir = state::run_dir(root);
        changes.add_watch(&dir, moved).with_context(|| format!("cannot watch {}", dir.display()))?;
        Ok(Alarm { timer, changes })
    }

    /// Waits until so many seconds have gone by since the machine was started.
    ///
    /// # Errors
    /// Those of timerfd_settime(2) and poll(2).
    pub fn wait(&self, until: u64) -> Result<Woken> {
        let at = TimeSpec::from(Duration::from_secs(until));
        self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        let (timer, changes) = (self.timer.as_fd(), self.changes.as_fd());
        let mut both = [PollFd::new(timer, PollFlags::POLLIN), PollFd::new(changes, PollFlags::POLLIN)];
        match poll(&mut both, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait"),
        }
        match self.changes.read_events() {
            Ok(_) => Ok(Woken::ByAChange),
            Err(Errno::EAGAIN) => Ok(Woken::InTime),
            Err(error) => Err(error).context("cannot tell what has changed"),
        }
    }
}

//! How far long work has come, for a person at a terminal, and for nobody else: not for a log.

use std::env;
use std::io::{self, IsTerminal, Stderr, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getpgrp, tcgetpgrp};

/// What takes no longer needs no line that comes and goes.
const SILENCE: Duration = Duration::from_secs(1);

/// How often the line changes.
const PACE: Duration = Duration::from_millis(200);

/// A piece of work that consists of many alike. The line that tells of it goes with it.
pub struct Progress {
    doing: &'static str,
    all: usize,
    done: usize,
    next: Instant,
    is_shown: bool,
    terminal: Option<Stderr>,
}

impl Progress {
    /// Doing this to so many files.
    pub fn of(doing: &'static str, all: usize) -> Progress {
        let can_go_back = env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        let terminal = Some(io::stderr()).filter(|stderr| can_go_back && stderr.is_terminal());
        Progress { doing, all, done: 0, next: Instant::now() + SILENCE, is_shown: false, terminal }
    }

    /// One more is done.
    pub fn step(&mut self) {
        self.done += 1;
        let Some(terminal) = &mut self.terminal else { return };
        let now = Instant::now();
        if now >= self.next {
            self.next = now + PACE;
            if !takes_a_line(terminal) {
                return;
            }
            self.is_shown = true;
            // A broken terminal must not end us.
            let _ = write!(terminal, "\r\x1b[Krokeep: {} {} of {} files", self.doing, self.done, self.all);
        }
    }
}

/// Whoever has stopped it, with Ctrl-S or by a connection that hangs, or runs us in the background, must not stop us.
fn takes_a_line(terminal: &Stderr) -> bool {
    let in_background = tcgetpgrp(terminal).is_ok_and(|group| group != getpgrp());
    let ready = poll(&mut [PollFd::new(terminal.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO);
    !in_background && ready == Ok(1)
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(terminal) = self.terminal.as_mut().filter(|terminal| self.is_shown && takes_a_line(terminal)) {
            let _ = write!(terminal, "\r\x1b[K");
        }
    }
}

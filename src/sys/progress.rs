//! How far long work has come, for a person at a terminal, and for nobody else: not for a log.

use std::env;
use std::io::{self, IsTerminal, Stderr, Write};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getpgrp, tcgetpgrp};

/// What takes no longer needs no line that comes and goes.
const SILENCE: Duration = Duration::from_secs(1);

/// How often the line changes.
const PACE: Duration = Duration::from_millis(200);

/// A piece of work that consists of many alike, which several threads may do. The line that tells of it goes with it.
pub struct Progress {
    doing: &'static str,
    all: usize,
    done: AtomicUsize,
    line: Option<Mutex<Line>>,
}

struct Line {
    terminal: Stderr,
    next: Instant,
    is_shown: bool,
}

impl Progress {
    /// Doing this to so many files.
    pub fn of(doing: &'static str, all: usize) -> Progress {
        let can_go_back = env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        let terminal = Some(io::stderr()).filter(|stderr| can_go_back && stderr.is_terminal());
        let line = |terminal| Mutex::new(Line { terminal, next: Instant::now() + SILENCE, is_shown: false });
        Progress { doing, all, done: AtomicUsize::new(0), line: terminal.map(line) }
    }

    /// One more is done.
    pub fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        // Somebody else who is about to write it says nearly the same.
        let Some(mut line) = self.line.as_ref().and_then(|line| line.try_lock().ok()) else { return };
        let now = Instant::now();
        if now >= line.next {
            line.next = now + PACE;
            if !takes_a_line(&line.terminal) {
                return;
            }
            line.is_shown = true;
            // A broken terminal must not end us.
            let _ = write!(line.terminal, "\r\x1b[Krokeep: {} {done} of {} files", self.doing, self.all);
        }
    }
}

/// Whoever has stopped it, with Ctrl-S or by a connection that hangs, or runs us in the background, must not stop us.
fn takes_a_line(terminal: &Stderr) -> bool {
    let in_background = tcgetpgrp(terminal).is_ok_and(|group| group != getpgrp());
    let ready = poll(&mut [PollFd::new(terminal.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO);
    !in_background && ready == Ok(1)
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_shown && takes_a_line(&self.terminal) {
            let _ = write!(self.terminal, "\r\x1b[K");
        }
    }
}

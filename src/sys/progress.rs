//! How far long work has come, for a person at a terminal, and for nobody else: not for a log.

use std::env;
use std::io::{self, IsTerminal, Stderr, Write};
use std::time::{Duration, Instant};

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
            self.is_shown = true;
            // A broken terminal must not end us.
            let _ = write!(terminal, "\r\x1b[Krokeep: {} {} of {} files", self.doing, self.done, self.all);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(terminal) = self.terminal.as_mut().filter(|_| self.is_shown) {
            let _ = write!(terminal, "\r\x1b[K");
        }
    }
}

//! Saying what goes on, so that a person who waits sees that something does.

use std::time::Instant;

/// When it all began.
pub struct Progress(Instant);

impl Progress {
    /// It begins now.
    pub fn start() -> Progress {
        Progress(Instant::now())
    }

    /// Says it, with the minutes and seconds since the beginning.
    pub fn say(&self, what: &str) {
        let seconds = self.seconds();
        eprintln!("{:3}:{:02}  {what}", seconds / 60, seconds % 60);
    }

    /// How long it has taken so far.
    pub fn seconds(&self) -> u64 {
        self.0.elapsed().as_secs()
    }
}

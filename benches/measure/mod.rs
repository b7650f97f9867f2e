//! What everything is measured with: a place of one's own, a process from its start to its end, and what many such came to.

mod aim;
mod place;
mod progress;
mod row;
mod timed;

pub use self::aim::Aim;
pub use self::place::{compile_into, sandbox};
pub use self::progress::Progress;
pub use self::row::{Contestant, Row, Sample, Spread, Who};
pub use self::timed::{Cost, assert_silent, run, timed, timed_outcome};

/// How often everything is done, as somebody asked for it.
#[derive(Clone, Copy, Debug)]
pub struct Rounds(pub usize);

impl Rounds {
    /// For what takes minutes.
    pub fn of_an_upgrade(self) -> usize {
        self.0.div_ceil(4).max(1)
    }

    /// For what takes seconds.
    pub fn of_large(self) -> usize {
        (self.0 / 2).max(1)
    }

    /// For what takes less than a second.
    pub fn of_usual(self) -> usize {
        self.0.max(1)
    }

    /// For what takes a few milliseconds.
    pub fn of_small(self) -> usize {
        3 * self.0.max(1)
    }
}

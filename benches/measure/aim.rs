//! What rokeep is meant to stay below, and whether it does.

use super::{Row, Who};

/// How much at most.
#[derive(Clone, Copy, Debug)]
pub enum Aim {
    /// So many times what that one took, on the clock.
    Times(f64, Who),
    /// So many seconds, on the clock.
    Seconds(f64),
    /// So much memory, in KiB.
    Kib(u64),
}

impl Aim {
    /// What is aimed at, in words.
    pub fn words(self) -> String {
        match self {
            Aim::Times(times, who) => format!("≤ {times} × {}", who.name()),
            Aim::Seconds(seconds) => format!("≤ {:.0} ms", 1000.0 * seconds),
            Aim::Kib(kib) => format!("≤ {} MiB", kib / 1024),
        }
    }

    /// `met`, or `missed: ` and by what; of a row in which rokeep did something.
    pub fn verdict(self, row: &Row) -> String {
        let Some(rokeep) = row.of(Who::Rokeep) else { return "not measured".to_owned() };
        let (is_met, instead) = match self {
            Aim::Times(times, who) => match row.ratio(Who::Rokeep, who) {
                // As it is shown: two digits.
                Some(ratio) => ((100.0 * ratio).round() <= 100.0 * times, format!("{ratio:.2}")),
                None => return "not measured".to_owned(),
            },
            Aim::Seconds(seconds) => {
                let median = rokeep.seconds().median;
                (median <= seconds, format!("{:.1} ms", 1000.0 * median))
            }
            Aim::Kib(kib) => (rokeep.peak_kib() <= kib, format!("{} MiB", rokeep.peak_kib().div_ceil(1024))),
        };
        if is_met { "met".to_owned() } else { format!("missed: {instead}") }
    }
}

//! A whole real upgrade: all the packages that wait for a Debian 12 (about 40), while the daemons of a server run from
//! a read-only /usr, each round from the same root. How long it takes, and how much of that the hooks do: with the pair
//! of remounts that every guide gives, with scripts (`benches/shell`), and with rokeep.
//!
//! How long it takes is never a reason to fail. It fails if a package was not upgraded; if the scripts protected nothing;
//! and if rokeep or its apt failed, or left /usr other than read-only.

use anyhow::Result;

use crate::support::sandbox::Access;

/// What an upgrade came to with one of the contestants: of each number the median of all rounds.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// Who opened and closed /usr.
    pub name: &'static str,
    /// apt-get from start to end, in seconds on the clock.
    pub seconds: f64,
    /// All hooks together, in seconds on the clock.
    pub seconds_in_hooks: f64,
    /// The same by hook, in the order in which they were called first.
    pub hooks: Vec<Hook>,
    /// How many packages were upgraded.
    pub packages: usize,
    /// How many files had an alias when dpkg started.
    pub protected: usize,
    /// The most memory that a process of a hook had, in KiB.
    pub peak_kib: u64,
    /// What /usr permitted when apt had ended: the most that it did in any round.
    pub usr: Access,
}

/// A command that apt or dpkg called.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Its command line.
    pub command: String,
    /// How often.
    pub calls: usize,
    /// All calls together, in seconds on the clock.
    pub seconds: f64,
}

impl Upgrade {
    /// How much of apt's time the hooks had: between 0 and 1.
    pub fn share_of_hooks(&self) -> f64 {
        self.seconds_in_hooks / self.seconds
    }
}

/// Nothing yet.
pub fn measure(_rounds: usize) -> Result<Vec<Upgrade>> {
    Ok(Vec::new())
}

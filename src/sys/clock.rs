//! The time since the machine was started: a clock that nobody sets, and that goes on while the machine sleeps.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// That. `CLOCK_BOOTTIME` is there since Linux 2.6.39, and reading a clock that is there never fails.
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// The same in whole seconds, as the session has it.
pub fn seconds_since_boot() -> u64 {
    since_boot().as_secs()
}

//! The time since the machine was started: a clock that nobody sets, and that goes on while the machine sleeps.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};

use super::files::Root;
use crate::core::overlay::seen::Start;

/// That. `CLOCK_BOOTTIME` is there since Linux 2.6.39, and reading a clock that is there never fails.
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// The same in whole seconds, as the session has it.
pub fn seconds_since_boot() -> u64 {
    since_boot().as_secs()
}

/// This start of the machine: random(4), `boot_id`.
///
/// # Errors
/// Where /proc does not say which.
pub fn boot(root: &Root) -> Result<String> {
    let boot = std::fs::read_to_string(root.path("/proc/sys/kernel/random/boot_id"));
    Ok(boot.context("cannot tell this start of the machine from others")?.trim_end().to_owned())
}

/// The same, and when that was, by what the clock says now.
///
/// # Errors
/// Those of [`boot`], or where the clock says nothing that could be.
pub fn start(root: &Root) -> Result<Start> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let at = now.saturating_sub(since_boot());
    Ok(Start { boot: boot(root)?, at: [i64::try_from(at.as_secs())?, at.subsec_nanos().into()] })
}

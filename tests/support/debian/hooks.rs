//! What hooks cost: every hook of apt and dpkg runs under `holder timed`, which writes down how it went.
//!
//! rokeep looks for apt among its ancestors and passes over shells on the way, so the timer goes by the name of one.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Debian;
use crate::support::sandbox::TOOLS;

/// Where the timer writes, inside.
const LOG: &str = "/var/log/hooks.jsonl";

/// What a run of hooks cost.
#[derive(Debug, Default)]
pub struct Hooks(pub Vec<HookRun>);

/// One hook, run once, with everything that it started and waited for.
#[derive(Debug, Deserialize)]
pub struct HookRun {
    /// The command line.
    pub command: String,
    /// From start to end, on the clock.
    pub seconds: f64,
    /// The most memory that any one process of it had at a time, in KiB.
    pub peak_kib: u64,
    /// Its exit code.
    pub code: i32,
}

impl Hooks {
    /// The time of all of them together, in seconds.
    pub fn seconds(&self) -> f64 {
        self.0.iter().map(|run| run.seconds).sum()
    }

    /// The most memory that any of them had, in MiB.
    pub fn peak_mib(&self) -> f64 {
        self.0.iter().map(|run| run.peak_kib).max().unwrap_or(0) as f64 / 1024.0
    }
}

impl Debian {
    /// The hooks that ran so far.
    pub fn hooks(&self) -> Result<Hooks> {
        let log = self.outside(LOG);
        let text = if log.exists() { std::fs::read_to_string(log)? } else { String::new() };
        let runs = text.lines().map(|line| serde_json::from_str(line).context("not a line of the timer"));
        Ok(Hooks(runs.collect::<Result<_>>()?))
    }

    /// Configures apt the way that every guide to a read-only /usr has it, with a timer around each command.
    pub(super) fn configure_remount_pair(&self) -> Result<()> {
        let timer = self.timer()?;
        let pair = format!(
            "DPkg::Pre-Invoke {{\"{timer} mount -o remount,rw /usr\";}};\n\
             DPkg::Post-Invoke {{\"{timer} mount -o remount,ro /usr\";}};\n"
        );
        self.write("/etc/apt/apt.conf.d/zz-remount", &pair)
    }

    /// The words that go before a command to have it timed.
    pub(super) fn timer(&self) -> Result<String> {
        let program = format!("{TOOLS}/sh");
        self.must("cp", &[&format!("{TOOLS}/holder"), &program])?;
        Ok(format!("{program} timed {LOG}"))
    }
}

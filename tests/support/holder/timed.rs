//! `holder timed LOG COMMAND …` runs a command to its end, with whatever is open, and adds a JSON line about it to LOG:
//! what it was, seconds on the clock, seconds of processor time, peak memory, exit code.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

pub fn run(log: &str, command: &[&str]) -> Result<ExitCode> {
    let (program, arguments) = command.split_first().context("no command to time")?;
    let start = Instant::now();
    let status = Command::new(program).args(arguments).status()?;
    let seconds = start.elapsed().as_secs_f64();
    // A shell's way to say that a signal ended it.
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).context("neither ended nor killed")?;
    // Of all the children this process waited for, and of theirs: there is just the one.
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let line = serde_json::json!({
        "command": command.join(" "),
        "seconds": seconds,
        "user_seconds": usage.user_time().num_microseconds() as f64 / 1e6,
        "system_seconds": usage.system_time().num_microseconds() as f64 / 1e6,
        "peak_kib": usage.max_rss(),
        "code": code,
    });
    writeln!(File::options().append(true).create(true).open(log)?, "{line}")?;
    Ok(ExitCode::from(u8::try_from(code)?))
}

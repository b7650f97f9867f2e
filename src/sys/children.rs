//! Programs that end by themselves in a moment, and are not waited for longer.

use std::io;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// Usually it takes a hundredth of a second. Others wait meanwhile for what this process has locked, a minute at most.
const PATIENCE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(1);

/// Runs a program to its end. One that does not come to it, as it is stopped or waits for somebody, is left alone.
///
/// # Errors
/// Where it cannot be started, and that it was left.
pub fn ends_soon(command: &mut Command) -> io::Result<ExitStatus> {
    let (began, mut child) = (Instant::now(), command.spawn()?);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if began.elapsed() > PATIENCE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not end"));
        }
        std::thread::sleep(PAUSE);
    }
}

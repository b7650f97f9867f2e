//! A process in a sandbox, from its start to its end.

use std::fs;
use std::ops::Add;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::support::order::{Answer, Order};
use crate::support::sandbox::Sandbox;
use crate::support::small::Frontend;

/// What one process took, with those that it started and waited for.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Cost {
    /// From start to end, on the clock.
    pub seconds: f64,
    /// Of a processor, in the program.
    pub user_seconds: f64,
    /// Of a processor, in the kernel.
    pub system_seconds: f64,
    /// The most memory that any one process had at a time, in KiB.
    pub peak_kib: u64,
}

impl Cost {
    /// Of so many times as much, one after the other.
    pub fn times(self, factor: f64) -> Cost {
        Cost {
            seconds: self.seconds * factor,
            user_seconds: self.user_seconds * factor,
            system_seconds: self.system_seconds * factor,
            peak_kib: self.peak_kib,
        }
    }
}

/// Of two processes, one after the other.
impl Add for Cost {
    type Output = Cost;

    fn add(self, other: Cost) -> Cost {
        Cost {
            seconds: self.seconds + other.seconds,
            user_seconds: self.user_seconds + other.user_seconds,
            system_seconds: self.system_seconds + other.system_seconds,
            peak_kib: self.peak_kib.max(other.peak_kib),
        }
    }
}

/// Has the frontend run it, as apt runs a hook.
pub fn run(frontend: &mut Frontend, words: &[&str], stream: Option<&[u8]>) -> Answer {
    let argv = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    frontend.carry_out(&Order { argv, stream: stream.map(<[u8]>::to_vec) })
}

/// The same, by a timer: what it took. It must succeed and have nothing to say against anything.
///
/// # Errors
/// Where it did not.
pub fn timed(sandbox: &Sandbox, frontend: &mut Frontend, words: &[&str], stream: Option<&[u8]>) -> Result<Cost> {
    let (answer, cost) = timed_outcome(sandbox, frontend, words, stream)?;
    assert_silent(words, &answer)?;
    Ok(cost)
}

/// The same, however it ends: what it said, and what it took.
///
/// # Errors
/// Where the timer could not run it.
pub fn timed_outcome(
    sandbox: &Sandbox,
    frontend: &mut Frontend,
    words: &[&str],
    stream: Option<&[u8]>,
) -> Result<(Answer, Cost)> {
    let log = sandbox.outside("/tmp/cost");
    fs::write(&log, "")?;
    let words: Vec<&str> = ["/tool/sh", "timed", "/tmp/cost"].iter().chain(words).copied().collect();
    let answer = run(frontend, &words, stream);
    let cost = serde_json::from_str(&fs::read_to_string(&log)?);
    Ok((answer, cost.context("not one line of the timer")?))
}

/// It succeeded, and had nothing to say against anything.
///
/// # Errors
/// Where it did not.
pub fn assert_silent(words: &[&str], answer: &Answer) -> Result<()> {
    let said = String::from_utf8_lossy(&answer.stderr);
    ensure!(answer.code == 0 && said.is_empty(), "{words:?} ended with {}: {said}", answer.code);
    Ok(())
}

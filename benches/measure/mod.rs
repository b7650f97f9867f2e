//! What all benchmarks measure with: a process from its start to its end, in a sandbox, and what many such came to.
#![allow(dead_code, reason = "each benchmark uses its own part")]

use std::fs;
use std::ops::Add;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::support::order::{Answer, Order};
use crate::support::sandbox::Sandbox;
use crate::support::small::Frontend;

/// What one process took.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Cost {
    /// From start to end, on the clock.
    pub seconds: f64,
    /// Of a processor, in the program.
    pub user_seconds: f64,
    /// Of a processor, in the kernel.
    pub system_seconds: f64,
    /// The most memory it had at a time, in KiB.
    pub peak_kib: u64,
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

/// The program that a C source beside a benchmark makes, in a sandbox, as `/tool/NAME`.
pub fn compile_into(sandbox: &Sandbox, source: &str, name: &str) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(source);
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let compiled = Command::new("cc").args(["-O2", "-static", "-Wall", "-o"]).arg(&program).arg(&source).status()?;
    ensure!(compiled.success(), "cc {}: {compiled}", source.display());
    fs::copy(&program, sandbox.outside("/tool").join(name))?;
    Ok(fs::remove_file(program)?)
}

/// So that the helper is called what it stands for: a frontend, and the shell that runs its hooks.
pub fn name_stand_ins(sandbox: &Sandbox) -> Result<()> {
    for name in ["apt-get", "sh"] {
        fs::copy(sandbox.outside("/tool/holder"), sandbox.outside("/tool").join(name))?;
    }
    Ok(())
}

/// Has the frontend run it, as apt runs a hook.
pub fn run(frontend: &mut Frontend, words: &[&str], stream: Option<&[u8]>) -> Answer {
    let argv = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    frontend.carry_out(&Order { argv, stream: stream.map(<[u8]>::to_vec) })
}

/// The same, by a timer: what it said, and what it took.
pub fn timed(
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
pub fn assert_silent(words: &[&str], answer: &Answer) -> Result<()> {
    let said = String::from_utf8_lossy(&answer.stderr);
    ensure!(answer.code == 0 && said.is_empty(), "{words:?} ended with {}: {said}", answer.code);
    Ok(())
}

/// The least, the median and the most of some values.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// As many are less as are more.
    pub median: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of one thing of each cost.
    pub fn of(costs: &[Cost], what: impl Fn(&Cost) -> f64) -> Spread {
        let mut values: Vec<f64> = costs.iter().map(what).collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Spread { least: at(0), median: at(values.len() / 2), most: at(values.len().saturating_sub(1)) }
    }

    /// `12 ms (11 – 15)`, or `1.2 ms (1.1 – 1.5)`.
    pub fn shown(&self, unit: &str) -> String {
        let Spread { least, median, most } = self;
        let digits = usize::from(*median < 10.0);
        format!("{median:.digits$} {unit} ({least:.digits$} – {most:.digits$})")
    }
}

/// A line across a table.
pub fn rule() -> String {
    format!("{}\n", "─".repeat(79))
}

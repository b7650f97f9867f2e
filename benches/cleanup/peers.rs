//! What people ask today who holds a file. These are programs of the machine, so they look from outside of the sandbox:
//! at the same processes, and at the few dozen of the machine itself.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

/// How many of the files fuser is asked about; the rest is multiplied.
const SAMPLE: usize = 5;

/// What one of them took, in seconds.
pub struct Peer {
    /// What was run.
    pub name: &'static str,
    /// How long that took for all files.
    pub seconds: f64,
}

/// Each once: they take long enough to be told apart.
pub fn all(aliases: &[PathBuf]) -> Result<Vec<Peer>> {
    let sample: Vec<_> = aliases.iter().take(SAMPLE).collect();
    let start = Instant::now();
    for alias in &sample {
        run(Command::new("fuser").arg(alias))?;
    }
    let each = start.elapsed().as_secs_f64() / sample.len().max(1) as f64;
    let fuser = Peer { name: "fuser FILE, for each of them (5 were tried)", seconds: each * aliases.len() as f64 };
    let lsof = Peer { name: "lsof +L1, once", seconds: time(Command::new("lsof").args(["-n", "+L1"]))? };
    let needrestart = time(Command::new("needrestart").args(["-b", "-r", "l", "-l"]))?;
    Ok(vec![fuser, lsof, Peer { name: "needrestart -b, once", seconds: needrestart }])
}

fn time(command: &mut Command) -> Result<f64> {
    let start = Instant::now();
    run(command)?;
    Ok(start.elapsed().as_secs_f64())
}

/// Whatever it finds, and so whatever it exits with: that it looks takes the time.
fn run(command: &mut Command) -> Result<()> {
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    done.map(drop).with_context(|| format!("cannot run {:?}", command.get_program()))
}

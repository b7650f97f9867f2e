//! On what it was measured, and with which versions.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What a reader has to know of the machine.
pub struct Machine {
    /// The day, in UTC.
    pub date: String,
    /// How many processors, which, and how much memory.
    pub hardware: String,
    /// The kernel's version.
    pub kernel: String,
    /// What the file systems of the worlds are in.
    pub file_system: String,
    /// Which rokeep, and what it was compared and built with.
    pub versions: String,
}

impl Machine {
    /// This one.
    ///
    /// # Errors
    /// Where something of it cannot be found out.
    pub fn this_one() -> Result<Machine> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let images = env!("CARGO_TARGET_TMPDIR");
        let below = output(Command::new("findmnt").args(["--noheadings", "--output", "FSTYPE", "--target", images]))?;
        let compiler = output(Command::new("cc").arg("--version"))?;
        Ok(Machine {
            date: output(Command::new("date").args(["--utc", "+%Y-%m-%d"]))?,
            hardware: hardware()?,
            // What follows is whoever built it.
            kernel: kernel.trim().split('-').next().unwrap_or_default().to_owned(),
            file_system: format!("ext4 in files on {below}"),
            versions: format!(
                "rokeep {}, {}, {}",
                env!("CARGO_PKG_VERSION"),
                compiler.lines().next().unwrap_or_default(),
                output(Command::new("rustc").arg("--version"))?,
            ),
        })
    }
}

fn hardware() -> Result<String> {
    let processors = std::thread::available_parallelism()?;
    let value = |text: &str, name: &str| {
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.split_once(':')?.1.trim().to_owned()))
    };
    let model =
        value(&fs::read_to_string("/proc/cpuinfo")?, "model name").unwrap_or_else(|| "of no known name".to_owned());
    let memory = value(&fs::read_to_string("/proc/meminfo")?, "MemTotal").context("no MemTotal")?;
    let memory: u64 = memory.trim_end_matches(" kB").parse()?;
    Ok(format!("{processors} processors ({model}), {} GiB of memory", memory.div_ceil(1024 * 1024)))
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?} ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

//! System calls, counted by strace(1) outside the sandbox.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How many names are told.
const NAMED: usize = 5;

/// How often which system call was made. The few calls of whoever starts the process are among them.
#[derive(Clone, Debug)]
pub struct Calls {
    /// All of them.
    pub total: u64,
    /// Those that were made most often.
    pub most: Vec<(u64, String)>,
}

/// Whoever counts.
pub struct Counting {
    strace: Child,
    said: Lines<BufReader<ChildStderr>>,
}

impl Counting {
    /// Counts the calls of a process, by its id out here, and of those that it starts from now on.
    pub fn of(pid: i32) -> Result<Counting> {
        let mut strace = Command::new("strace")
            .args(["--follow-forks", "--summary-only", "--summary-sort-by=calls", "--attach", &pid.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start strace")?;
        let mut said = BufReader::new(strace.stderr.take().context("strace says nothing")?).lines();
        let attached = said.next().context("strace ended")??;
        ensure!(attached.contains("attached"), "{attached}");
        Ok(Counting { strace, said })
    }

    /// What there was since then.
    pub fn counted(mut self) -> Result<Calls> {
        kill(Pid::from_raw(i32::try_from(self.strace.id())?), Signal::SIGINT)?;
        let lines: Vec<String> = self.said.collect::<Result<_, _>>()?;
        self.strace.wait()?;
        // Share of time, seconds, time a call, calls, errors if there were any, name.
        let row = |line: &String| {
            let words: Vec<&str> = line.split_whitespace().collect();
            Some((words.get(3)?.parse().ok()?, (*words.last()?).to_owned()))
        };
        let (total, most): (Vec<(u64, String)>, _) =
            lines.iter().filter_map(row).partition(|(_, name)| name == "total");
        let total = total.first().context("strace counted nothing")?.0;
        Ok(Calls { total, most: most.into_iter().take(NAMED).collect() })
    }
}

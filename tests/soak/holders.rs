//! Who uses files of /usr: processes in named kernel states, which come and go.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::acts;
use crate::model::Came;
use crate::packages::{DIRECTORIES, FILES, PROGRAMS};
use crate::support::debian::Debian;
use crate::support::dice::Dice;

/// What a holder does with which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    pub state: &'static str,
    pub path: &'static str,
}

/// One that there is. Dropping it ends it, unless a maintainer script started it.
#[derive(Debug)]
pub struct Holder {
    pub state: String,
    pub path: String,
    /// Its process id inside.
    pub pid: u32,
    pub came: Came,
    /// What to wait for; one that a script started has none.
    child: Option<Child>,
}

/// States of files that can be had without writing.
const STATES: [&str; 9] =
    ["mapped", "open", "open-path", "library", "of-a-thread", "in-flight", "io-uring", "without-leader", "mounted"];

/// One that may come.
pub fn any(dice: &mut Dice) -> Use {
    match dice.below(10) {
        0..=1 => Use { state: "executed", path: one_of(dice, &PROGRAMS) },
        2..=3 => Use { state: "cwd", path: one_of(dice, &DIRECTORIES) },
        4 => Use { state: "own-mounts", path: one_of(dice, &FILES) },
        _ => Use { state: one_of(dice, &STATES), path: one_of(dice, &FILES) },
    }
}

pub fn one_of<T: Copy>(dice: &mut Dice, all: &[T]) -> T {
    all[dice.below(all.len() as u64) as usize]
}

impl Use {
    /// Starts it. `None` where the file is not there, or is not what it was.
    pub fn begin(self, debian: &Debian, came: Came) -> Result<Option<Holder>> {
        let Use { state, path } = self;
        let mut command = match state {
            // Says its number as the others do.
            "executed" => debian.command("sh"),
            _ => debian.command("/tool/holder"),
        };
        match state {
            "executed" => command.args(["-c", r#"[ -x "$0" ] && echo "$$ ready" && exec "$0" 1000000"#, path]),
            "own-mounts" => command.args(["own-mounts", "mapped", path]),
            _ => command.args([state, path]),
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("it has one")?).read_line(&mut line)?;
        let Some(pid) = line.strip_suffix(" ready\n") else {
            child.wait()?;
            return Ok(None);
        };
        let pid = pid.parse().with_context(|| format!("not a process id: {pid}"))?;
        Ok(Some(Holder { state: state.to_owned(), path: path.to_owned(), pid, came, child: Some(child) }))
    }
}

impl Holder {
    /// Those that maintainer scripts have started since somebody last asked.
    pub fn of_scripts(debian: &Debian) -> Result<Vec<Holder>> {
        let mut holders = Vec::new();
        for entry in fs::read_dir(debian.outside(acts::HOLDERS))? {
            let path = entry?.path();
            let text = fs::read_to_string(&path)?;
            fs::remove_file(&path)?;
            let mut lines = text.lines();
            let ready = lines.next().and_then(|line| line.strip_suffix(" ready")?.parse().ok());
            let what = lines.next_back().and_then(|line| line.split_once(' '));
            if let (Some(pid), Some((state, path))) = (ready, what) {
                let came = Came::ByAScript;
                holders.push(Holder { state: state.to_owned(), path: path.to_owned(), pid, came, child: None });
            }
        }
        Ok(holders)
    }

    /// Whether it writes.
    pub fn writes(&self) -> bool {
        self.state == "writing"
    }

    /// Whether /proc shows the file where this world looks: with the first thread of a process.
    pub fn shows(&self) -> bool {
        !["in-flight", "io-uring", "mounted", "of-a-thread", "without-leader"].contains(&self.state.as_str())
    }

    /// Ends it, and waits until it is gone.
    pub fn end(mut self, debian: &Debian) -> Result<()> {
        match (self.child.take(), self.state.as_str()) {
            (Some(mut child), "executed") => {
                debian.kill(self.pid)?;
                child.wait()?;
            }
            (Some(mut child), _) => {
                drop(child.stdin.take());
                child.wait()?;
                // The kernel lets go of these a moment after the process has ended.
                if ["in-flight", "io-uring"].contains(&self.state.as_str()) {
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
            (None, _) => debian.kill(self.pid)?,
        }
        Ok(())
    }
}

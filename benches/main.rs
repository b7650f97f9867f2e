//! How fast rokeep is, next to loops in C that do the least that has to be done and to what people use today: `make bench`.
//!
//! `cargo bench --bench bench -- [ROUNDS] [NAME …]` does each thing so often, and only the parts that are named: `protect`,
//! `cleanup`, `drop`, `hooks`, `size`, `upgrade`. Only a whole run writes docs/performance.md and its picture.
//!
//! It all happens in throw-away worlds. How long something takes is never a reason to fail; a wrong result is.

mod cleanup;
mod drop;
mod hooks;
mod measure;
mod protect;
mod report;
mod size;
#[path = "../tests/support/mod.rs"]
mod support;
mod upgrade;

use anyhow::{Result, bail};

use measure::{Progress, Rounds};
use report::{Machine, Results};

/// How often each is done, unless somebody says how often.
const ROUNDS: usize = 5;

/// What can be measured by itself, in the order of a whole run.
const PARTS: [&str; 6] = ["size", "hooks", "cleanup", "drop", "protect", "upgrade"];

fn main() -> Result<()> {
    let Asked { rounds, parts } = Asked::read(std::env::args().skip(1))?;
    let progress = Progress::start();
    let mut results = Results::of(rounds);
    for part in &parts {
        match *part {
            "protect" => results.protect = protect::measure(rounds, &progress)?,
            "cleanup" => results.cleanup = cleanup::measure(rounds, &progress)?,
            "drop" => results.drop = drop::measure(rounds, &progress)?,
            "hooks" => results.hooks = hooks::measure(rounds, &progress)?,
            "size" => results.size = Some(size::measure(rounds, &progress)?),
            _ => {
                let rounds = rounds.of_an_upgrade();
                progress.say(&format!("upgrade: {}", report::count(rounds, "round")));
                results.upgrade = upgrade::measure(rounds)?;
            }
        }
    }
    print!("{}", report::table(&results));
    if parts == PARTS {
        report::write_page(&results, &Machine::this_one()?)?;
        progress.say("done; it is in docs/performance.md and docs/performance.svg");
    } else {
        progress.say("done; docs/performance.md is as it was, since this was not a whole run");
    }
    Ok(())
}

/// What somebody wants to have measured.
struct Asked {
    rounds: Rounds,
    parts: Vec<&'static str>,
}

impl Asked {
    /// A number is one of rounds, anything else the name of a part. cargo adds `--bench`.
    fn read(words: impl Iterator<Item = String>) -> Result<Asked> {
        let (mut rounds, mut named) = (Rounds(ROUNDS), Vec::new());
        for word in words.filter(|word| word != "--bench") {
            match (word.parse(), PARTS.iter().position(|part| *part == word)) {
                (Ok(number), _) => rounds = Rounds(std::cmp::max(number, 1)),
                (Err(_), Some(part)) => named.push(part),
                (Err(_), None) => bail!("not a number of rounds, and not one of {}: {word}", PARTS.join(", ")),
            }
        }
        let is_asked = |at: &usize| named.is_empty() || named.contains(at);
        let parts = (0..PARTS.len()).filter(is_asked).map(|at| PARTS[at]).collect();
        Ok(Asked { rounds, parts })
    }
}

//! Instructions of something that is always the same.

use anyhow::Result;

use super::callgrind::{Callgrind, WORDS};
use crate::cleanup;
use crate::measure::Spread;
use crate::protect;

/// How many packages are protected, 250 files each.
const PACKAGES: usize = 40;

/// How many processes there are, where aliases are dropped.
const PROCESSES: usize = 100;

/// How many aliases, and how many of them are held.
const ALIASES: (usize, usize) = (7_000, 50);

/// What each round counted.
#[derive(Clone, Debug)]
pub struct Counts {
    /// What was done.
    pub what: String,
    /// Instructions in the program.
    pub instructions: Spread,
    /// How many files or aliases it was done to.
    pub files: usize,
}

/// The same files each time.
pub fn of_protect(callgrind: &Callgrind, rounds: usize) -> Result<Counts> {
    let mut world = protect::World::start(PACKAGES)?;
    callgrind.visit(world.sandbox())?;
    let mut counts = Vec::new();
    for _ in 0..rounds {
        world.rokeep_under(&WORDS)?;
        counts.push(callgrind.counted(world.sandbox())?);
    }
    let files = world.files();
    let what = format!("protect {files} files of {PACKAGES} packages");
    Ok(Counts { what, instructions: Spread::of_values(counts), files })
}

/// A new world each time, since the aliases are gone then.
pub fn of_cleanup(callgrind: &Callgrind, rounds: usize) -> Result<Counts> {
    let (aliases, held) = ALIASES;
    let mut counts = Vec::new();
    for _ in 0..rounds {
        let mut world = cleanup::World::start(aliases, held)?;
        world.add_processes(PROCESSES)?;
        callgrind.visit(world.sandbox())?;
        world.end_under(&WORDS)?;
        world.assert_aliases(held)?;
        counts.push(callgrind.counted(world.sandbox())?);
    }
    let what = format!("decide about {aliases} aliases among {PROCESSES} processes, drop all but {held}, close /usr");
    Ok(Counts { what, instructions: Spread::of_values(counts), files: aliases })
}

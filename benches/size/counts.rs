//! What it takes to do something that is always the same: instructions and system calls.

use anyhow::Result;

use super::callgrind::{Callgrind, WORDS};
use super::calls::{Calls, Counting};
use crate::cleanup;
use crate::measure::Spread;
use crate::protect;
use crate::report::count;

/// How many packages are protected, 250 files each.
const PACKAGES: usize = 40;

/// How many processes there are, where aliases are dropped.
const PROCESSES: usize = 100;

/// How many aliases, and how many of them are held.
const ALIASES: (usize, usize) = (7_000, 50);

/// What was counted.
#[derive(Clone, Debug)]
pub struct Counts {
    /// What was done.
    pub what: String,
    /// Instructions in the program, in each round.
    pub instructions: Spread,
    /// System calls, once.
    pub calls: Calls,
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
    let counting = Counting::of(world.frontend_pid()?)?;
    world.rokeep_under(&[])?;
    let (calls, files) = (counting.counted()?, world.files());
    let what = format!("protect {} of {}", count(files, "file"), count(PACKAGES, "package"));
    Ok(Counts { what, instructions: Spread::of_values(counts), calls, files })
}

/// A new world each time, since the aliases are gone then.
pub fn of_cleanup(callgrind: &Callgrind, rounds: usize) -> Result<Counts> {
    let (aliases, held) = ALIASES;
    let new_world = || {
        let mut world = cleanup::World::start(aliases, held)?;
        world.add_processes(PROCESSES)?;
        anyhow::Ok(world)
    };
    let mut counts = Vec::new();
    for _ in 0..rounds {
        let mut world = new_world()?;
        callgrind.visit(world.sandbox())?;
        world.end_under(&WORDS)?;
        world.assert_aliases(held)?;
        counts.push(callgrind.counted(world.sandbox())?);
    }
    let mut world = new_world()?;
    let counting = Counting::of(world.frontend_pid()?)?;
    world.end_under(&[])?;
    let calls = counting.counted()?;
    let (among, of) = (count(PROCESSES, "process"), count(aliases, "alias"));
    let what = format!("decide about {of} among {among}, drop all but {held}, close /usr");
    Ok(Counts { what, instructions: Spread::of_values(counts), calls, files: aliases })
}

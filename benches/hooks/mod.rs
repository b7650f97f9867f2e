//! How long apt and dpkg wait for hooks that have nothing to do, next to a process that does nothing but start.
//!
//! unattended-upgrades has an empty run hundreds of times, and apt starts dpkg many times in each. All are called in turns, in
//! the middle of a run that has protected 7,000 files, among few processes and among many. A complaint fails.

use anyhow::Result;

use crate::cleanup::World;
use crate::measure::{Aim, Contestant, Cost, Progress, Rounds, Row, Who};
use crate::report::count;

/// A small machine, one as large as most, and a large one.
pub const PROCESSES: [usize; 3] = [40, 140, 1_000];

/// How many files the run has protected.
const ALIASES: usize = 7_000;

/// How long at most what dpkg calls may take, in seconds.
const NOTHING_TO_DO: f64 = 0.005;

/// How long at most an empty run may take, in seconds.
const EMPTY_RUN: f64 = 0.03;

/// The same hooks among so many processes.
#[derive(Clone, Debug)]
pub struct Hooks {
    /// Processes.
    pub processes: usize,
    /// A row for each thing that is called.
    pub rows: Vec<Row>,
}

/// What is called, by which words, and how long it may take.
const CALLED: [(&str, &[&str], Option<f64>); 3] = [
    ("rokeep --version", &["/tool/rokeep", "--version"], None),
    ("before a dpkg that apt starts", &["/tool/rokeep", "hook", "dpkg-pre-invoke"], Some(NOTHING_TO_DO)),
    ("after it", &["/tool/rokeep", "hook", "dpkg-post-invoke"], Some(NOTHING_TO_DO)),
];

/// For each number of processes.
///
/// # Errors
/// Where a hook fails, or has something to complain of.
pub fn measure(rounds: Rounds, progress: &Progress) -> Result<Vec<Hooks>> {
    PROCESSES.into_iter().map(|processes| among(processes, rounds.of_small(), progress)).collect()
}

fn among(processes: usize, rounds: usize, progress: &Progress) -> Result<Hooks> {
    progress.say(&format!("hooks: among {}, {}", count(processes, "process"), count(rounds, "round")));
    let mut world = World::start(ALIASES, 0)?;
    world.add_processes(processes)?;
    let mut costs = CALLED.map(|_| Vec::new());
    for _ in 0..rounds {
        for ((_, words, _), costs) in CALLED.iter().zip(&mut costs) {
            costs.push(world.time(words)?);
        }
    }
    let mut rows: Vec<Row> = CALLED.iter().zip(costs).map(|((what, _, most), costs)| row(what, costs, *most)).collect();
    world.hook("post-invoke")?;
    let empty = (0..rounds).map(|_| empty_run(&mut world)).collect::<Result<_>>()?;
    rows.push(row("begin and end of an empty run", empty, Some(EMPTY_RUN)));
    Ok(Hooks { processes, rows })
}

/// A package run in which nothing is done.
fn empty_run(world: &mut World) -> Result<Cost> {
    Ok(world.time(&["/tool/rokeep", "hook", "pre-invoke"])? + world.time(&["/tool/rokeep", "hook", "post-invoke"])?)
}

fn row(what: &str, costs: Vec<Cost>, most: Option<f64>) -> Row {
    let aims = most.into_iter().map(Aim::Seconds).collect();
    Row { what: what.to_owned(), contestants: vec![Contestant::new(Who::Rokeep, costs)], aims }
}

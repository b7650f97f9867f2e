//! How long rokeep takes to find out which aliases may go, next to the least that this can take, and next to what people
//! ask today who has a file.
//!
//! There are two floors, loops in C (`floor.c`). One reads every memory map and asks about every descriptor once; of aliases
//! it knows nothing. The other also does what nobody can leave out who has to decide about each alias: one look at it, one
//! lease asked for.
//!
//! All do it in turns, with the same processes and aliases. A wrong answer fails.

mod peers;
mod world;

use anyhow::Result;

pub use self::world::{STORE, World};
use crate::measure::{Aim, Contestant, Cost, Progress, Rounds, Row, Who};
use crate::report::count;
use crate::support::peers::Peers;

/// How many processes there are.
pub const PROCESSES: [usize; 3] = [100, 1_000, 10_000];

/// How many aliases.
pub const ALIASES: [usize; 3] = [100, 7_000, 100_000];

/// So many of them are in use, where some are.
pub const HELD: usize = 50;

/// With so many aliases the other tools are asked, too.
const ASKED_OF_PEERS: usize = 7_000;

/// Above this a round takes about a second, and more.
const LARGE: usize = 50_000;

/// The same question among so many processes about so many aliases.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Processes.
    pub processes: usize,
    /// Aliases.
    pub aliases: usize,
    /// Who took how long.
    pub row: Row,
}

impl Decision {
    /// `100 processes, 7,000 aliases`.
    pub fn size(&self) -> String {
        size(self.processes, self.aliases)
    }
}

/// All that was asked.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    /// Some are held: /proc has to be read for the others.
    pub some_held: Vec<Decision>,
    /// All are held: the kernel says so, and nobody has to be asked by whom.
    pub all_held: Vec<Decision>,
    /// Whom else was asked, and their versions; empty if nobody was.
    pub peers: String,
}

impl Decisions {
    /// Every row there is.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.some_held.iter().chain(&self.all_held).map(|decision| &decision.row)
    }
}

/// Each number of processes with each number of aliases.
///
/// # Errors
/// Where somebody fails, or is wrong.
pub fn measure(rounds: Rounds, progress: &Progress) -> Result<Decisions> {
    let mut decisions = Decisions::default();
    for aliases in ALIASES {
        progress.say(&format!("cleanup: {} are protected and replaced", count(aliases, "file")));
        let mut world = World::start(aliases, HELD)?;
        let peers = (aliases == ASKED_OF_PEERS).then(Peers::get).transpose()?;
        if let Some(peers) = &peers {
            world.visited_by(peers)?;
            decisions.peers = peers.versions()?;
        }
        let mut there = 0;
        for processes in PROCESSES {
            world.add_processes(processes - there)?;
            there = processes;
            world.assert_right()?;
            let mut decision = compare(
                &mut world,
                (processes, aliases),
                &format!("{HELD} held"),
                1.2,
                (rounds, progress),
                |world, _| world.decide(),
            )?;
            if let Some(peers) = &peers {
                progress.say("cleanup: the same asked of fuser, lsof and needrestart");
                decision.row.contestants.extend(peers::ask_all(peers, &mut world)?);
            }
            decisions.some_held.push(decision);
        }
        world.hold_the_rest()?;
        world.hook("post-invoke")?;
        for processes in PROCESSES.into_iter().rev() {
            decisions.all_held.push(compare(
                &mut world,
                (processes, aliases),
                "all held",
                0.5,
                (rounds, progress),
                clean_up,
            )?);
            world.end_processes();
        }
    }
    decisions.all_held.sort_by_key(|decision| (decision.aliases, decision.processes));
    Ok(decisions)
}

/// `rokeep cleanup`, which has nothing to do.
fn clean_up(world: &mut World, aliases: usize) -> Result<Cost> {
    let cost = world.time(&["/tool/rokeep", "cleanup"])?;
    world.assert_aliases(aliases)?;
    Ok(cost)
}

/// What rokeep does is meant to take so many times as long as either floor at most.
fn compare(
    world: &mut World,
    (processes, aliases): (usize, usize),
    held: &str,
    times: f64,
    (rounds, progress): (Rounds, &Progress),
    rokeep: impl Fn(&mut World, usize) -> Result<Cost>,
) -> Result<Decision> {
    let what = format!("{}, {held}", size(processes, aliases));
    let rounds = if 10 * processes + aliases > LARGE { rounds.of_large() } else { rounds.of_usual() };
    progress.say(&format!("cleanup: {what}, {}", count(rounds, "round")));
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..rounds {
        costs[0].push(world.time(&["/tool/floor"])?);
        costs[1].push(world.time(&["/tool/floor", STORE])?);
        costs[2].push(rokeep(world, aliases)?);
    }
    let contestants = [Who::Floor, Who::FloorOfAliases, Who::Rokeep]
        .into_iter()
        .zip(costs)
        .map(|(who, costs)| Contestant::new(who, costs));
    let aims = [Who::Floor, Who::FloorOfAliases].map(|floor| Aim::Times(times, floor)).into();
    Ok(Decision { processes, aliases, row: Row { what, contestants: contestants.collect(), aims } })
}

fn size(processes: usize, aliases: usize) -> String {
    format!("{}, {}", count(processes, "process"), count(aliases, "alias"))
}

//! How long it takes to drop 100,000 aliases that nobody holds any more: `rokeep cleanup`, next to a loop in C that unlinks
//! them and does nothing else (`floor.c`).
//!
//! Two things are measured in the same rounds: each process as a whole; and the dropping alone, from the first inode that
//! becomes free to when the store is gone, as somebody sees it who looks every millisecond ([`watcher`]).

mod watcher;

use anyhow::{Context, Result};

use self::watcher::Watcher;
use crate::cleanup::{STORE, World};
use crate::measure::{self, Aim, Contestant, Cost, Progress, Rounds, Row, Who};
use crate::report::count;

/// How many aliases.
pub const ALIASES: usize = 100_000;

/// The dropping alone, and each process as a whole.
///
/// # Errors
/// Where somebody fails, or leaves aliases.
pub fn measure(rounds: Rounds, progress: &Progress) -> Result<Vec<Row>> {
    progress.say(&format!("drop: {} are protected and replaced", count(ALIASES, "file")));
    let mut world = World::start(ALIASES, 0)?;
    measure::compile_into(world.sandbox(), "drop/floor.c", "drop")?;
    let rounds = rounds.of_large();
    progress.say(&format!("drop: {}, {}", count(ALIASES, "alias"), count(rounds, "round")));
    let (mut alone, mut whole) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..rounds {
        for (at, drop) in [floor, rokeep].into_iter().enumerate() {
            close_the_run(&mut world)?;
            let Dropped { cost, seconds } = drop(&mut world)?;
            alone[at].push(Cost { seconds, ..cost });
            whole[at].push(cost);
            world.assert_aliases(0)?;
            world.protect_and_replace()?;
        }
    }
    let row = |what: &str, [floor, rokeep]: [Vec<Cost>; 2], aims| Row {
        what: format!("{}, {what}", count(ALIASES, "alias")),
        contestants: vec![Contestant::new(Who::Floor, floor), Contestant::new(Who::Rokeep, rokeep)],
        aims,
    };
    Ok(vec![
        row("the dropping alone", alone, vec![Aim::Times(1.3, Who::Floor)]),
        row("the whole cleanup", whole, Vec::new()),
    ])
}

/// What it took.
struct Dropped {
    /// The process.
    cost: Cost,
    /// The dropping alone.
    seconds: f64,
}

/// The package run ends while all is in use, so that nothing is dropped and /usr is read-only again. Then it is let go.
fn close_the_run(world: &mut World) -> Result<()> {
    world.hold_the_rest()?;
    world.hook("post-invoke")?;
    world.assert_aliases(ALIASES)?;
    world.let_go();
    nix::unistd::sync();
    Ok(())
}

fn rokeep(world: &mut World) -> Result<Dropped> {
    watched(world, &["/tool/rokeep", "cleanup"])
}

/// It needs the mount writable, and leaves a journal behind that is of nothing.
fn floor(world: &mut World) -> Result<Dropped> {
    world.remount("rw")?;
    let dropped = watched(world, &["/tool/drop", STORE])?;
    world.remount("ro")?;
    world.forget_the_journal()?;
    Ok(dropped)
}

fn watched(world: &mut World, words: &[&str]) -> Result<Dropped> {
    let store = world.sandbox().outside(STORE);
    let watcher = Watcher::start(&world.sandbox().outside("/usr"), &store)?;
    let cost = world.time(words)?;
    let seconds = watcher.seconds().context("nobody saw the aliases go")?;
    Ok(Dropped { cost, seconds })
}

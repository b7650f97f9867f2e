//! How long it takes to give each file that will be replaced its alias: `rokeep hook pre-install-pkgs`, next to the least
//! that it could take and to the shell way.
//!
//! The floor (`floor.c`) asks about each file once, links it once, and does nothing else. The shell way
//! (`benches/shell/protect`) is given some of the files, since all of them would take minutes; not where nothing is in memory,
//! since a few that lie far apart would then say nothing of all. All do it in turns, to the same files in the same state: in
//! memory already (*warm*), or not (*cold*). Who has not given every file its link fails.

mod packages;
mod round;
mod shell;

use anyhow::Result;

use self::round::Cache;
pub use self::round::World;
use crate::measure::{Aim, Contestant, Progress, Rounds, Row, Sample, Who};
use crate::report::count;

/// How many packages, 250 files each.
const PACKAGES: [usize; 4] = [4, 40, 400, 1_200];

/// So many are looked at cold, too.
const COLD: usize = 400;

/// From so many on it takes seconds.
const LARGE: usize = 1_200;

/// How many files the shell way is given.
pub const SAMPLE: usize = 500;

/// A row for each number of files, and one with nothing in memory.
///
/// # Errors
/// Where somebody fails, or has not given every file its link.
pub fn measure(rounds: Rounds, progress: &Progress) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for packages in PACKAGES {
        progress.say(&format!("protect: {} are made", count(packages, "package")));
        let mut world = World::start(packages)?;
        let rounds = if packages < LARGE { rounds } else { Rounds(rounds.of_large()) };
        rows.push(compare(&mut world, rounds.of_usual(), Cache::Warm, progress)?);
        if packages == COLD {
            rows.push(compare(&mut world, rounds.of_large(), Cache::Cold, progress)?);
        }
    }
    Ok(rows)
}

fn compare(world: &mut World, rounds: usize, cache: Cache, progress: &Progress) -> Result<Row> {
    let files = world.files();
    let what = format!("{}, {}", count(files, "file"), cache.name());
    progress.say(&format!("protect: {what}, {}", count(rounds, "round")));
    let (mut floor, mut rokeep, mut shell) = (Vec::new(), Vec::new(), Vec::new());
    let sample = Sample { tried: SAMPLE.min(files), of: files };
    for _ in 0..rounds {
        floor.push(world.floor(cache)?);
        rokeep.push(world.rokeep(cache)?);
        if cache == Cache::Warm {
            shell.push(world.shell(sample.tried)?);
        }
    }
    let mut aims = Vec::new();
    aims.extend((files >= 10_000).then_some(Aim::Times(1.3, Who::Floor)));
    aims.extend((files >= 300_000).then_some(Aim::Kib(100 * 1024)));
    let mut contestants = vec![Contestant::new(Who::Floor, floor), Contestant::new(Who::Rokeep, rokeep)];
    contestants.extend((!shell.is_empty()).then(|| Contestant::sampled(Who::Shell, &shell, sample)));
    Ok(Row { what, contestants, aims })
}

//! How long rokeep takes to find out which aliases may go, next to the least that looking at every process can take: a
//! loop in C (`benches/cleanup/floor.c`) that reads every memory map and asks about every descriptor once; and next to
//! what people ask today.
//!
//! Both do it alternately, over and over, with the same processes. How many seconds it took is never a reason to fail; a
//! wrong answer is. `cargo bench --bench cleanup -- ROUNDS` does it more or less often.

#[path = "../measure/mod.rs"]
mod measure;
mod peers;
#[path = "../../tests/support/mod.rs"]
mod support;
mod world;

use anyhow::Result;
use measure::{Cost, Spread};
use world::{Size, World};

/// How often each does it.
const ROUNDS: usize = 11;

/// Some are held: /proc has to be read for the others.
const SOME: Size = Size { processes: 1_000, aliases: 7_000, held: 50 };
/// Ten times the processes.
const MANY: Size = Size { processes: 10_000, ..SOME };
/// Ten times the aliases.
const MANY_ALIASES: Size = Size { aliases: 70_000, ..SOME };
/// All are held: the kernel says so, and nobody has to be asked by whom.
const ALL: Size = Size { held: 7_000, ..SOME };

fn main() -> Result<()> {
    let rounds = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(ROUNDS);
    println!("{rounds} rounds; {ROUNDS} take about four minutes.\n");
    println!("{:34}{:18}{:18}ratio", "", "C loop", "rokeep");
    print!("{}", measure::rule());
    for size in [SOME, MANY, MANY_ALIASES] {
        let mut world = World::start(size)?;
        let (floor, rokeep) = alternately(rounds, &mut world, World::status)?;
        print!("{}", row(size, &floor, &rokeep));
    }
    let mut world = World::start(ALL)?;
    world.hook("post-invoke")?;
    let (floor, rokeep) = alternately(rounds, &mut world, World::cleanup)?;
    print!("{}", row(ALL, &floor, &rokeep));
    let floor = Spread::of(&floor, |cost| cost.seconds).median;
    println!("{}With the same 1,000 processes and 7,000 aliases:", measure::rule());
    for peers::Peer { name, seconds } in peers::all(&mut world)? {
        println!("{name:54}{:9.0} ms {:9.1}", 1000.0 * seconds, seconds / floor);
    }
    Ok(())
}

fn alternately(
    rounds: usize,
    world: &mut World,
    ask: impl Fn(&mut World) -> Result<Cost>,
) -> Result<(Vec<Cost>, Vec<Cost>)> {
    let (mut floor, mut rokeep) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        floor.push(world.floor()?);
        rokeep.push(ask(world)?);
    }
    Ok((floor, rokeep))
}

fn row(size: Size, floor: &[Cost], rokeep: &[Cost]) -> String {
    let both = |what: fn(&Cost) -> f64| [floor, rokeep].map(|costs| Spread::of(costs, what));
    let line = |name: &str, [floor, rokeep]: [Spread; 2], unit: &str| {
        let ratio = rokeep.median / floor.median;
        format!("{name:34}{:18}{:18}{ratio:5.2}\n", floor.shown(unit), rokeep.shown(unit))
    };
    let Size { processes, aliases, held } = size;
    [
        line(&format!("{processes} processes, {aliases}/{held} held"), both(|cost| 1000.0 * cost.seconds), "ms"),
        line("  of a processor", both(|cost| 1000.0 * (cost.user_seconds + cost.system_seconds)), "ms"),
        line("  peak memory", both(|cost| cost.peak_kib as f64 / 1024.0), "MiB"),
    ]
    .concat()
}

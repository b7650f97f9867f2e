//! How long apt and dpkg wait for hooks that have nothing to do, next to a process that does nothing but start.
//!
//! unattended-upgrades has an empty run hundreds of times, and apt starts dpkg many times in each. All are called
//! alternately, over and over, in the middle of a run that has protected 7,000 files, among few processes and among many.
//! How long it took is never a reason to fail; a complaint is. `cargo bench --bench hooks -- ROUNDS` does it more or less
//! often.

#[path = "../measure/mod.rs"]
mod measure;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../cleanup/world.rs"]
mod world;

use anyhow::Result;
use measure::{Cost, Spread};
use world::{Size, World};

/// How often each is called.
const ROUNDS: usize = 51;

/// A small machine, one as large as most, and a large one.
const PROCESSES: [usize; 3] = [40, 140, 1_000];

/// What is called, and by which words.
const CALLED: [(&str, &[&str]); 3] = [
    ("rokeep --version", &["/tool/rokeep", "--version"]),
    ("before a dpkg that apt starts", &["/tool/rokeep", "hook", "dpkg-pre-invoke"]),
    ("after it", &["/tool/rokeep", "hook", "dpkg-post-invoke"]),
];

fn main() -> Result<()> {
    let rounds = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(ROUNDS);
    println!("{rounds} rounds; {ROUNDS} take about a minute.\n");
    println!("{:37}{:24}of a processor", "", "on the clock");
    for processes in PROCESSES {
        let mut world = World::start(Size { processes, aliases: 7_000, held: 0 })?;
        let mut costs = CALLED.map(|_| Vec::new());
        for _ in 0..rounds {
            for ((_, words), costs) in CALLED.iter().zip(&mut costs) {
                costs.push(world.time(words)?);
            }
        }
        println!("{}{processes} processes", measure::rule());
        for ((name, _), costs) in CALLED.iter().zip(&costs) {
            print!("{}", row(name, costs));
        }
        world.hook("post-invoke")?;
        let empty: Vec<Cost> = (0..rounds).map(|_| world.empty_run()).collect::<Result<_>>()?;
        print!("{}", row("begin and end of an empty run", &empty));
    }
    Ok(())
}

fn row(name: &str, costs: &[Cost]) -> String {
    let clock = Spread::of(costs, |cost| 1000.0 * cost.seconds);
    let processor = Spread::of(costs, |cost| 1000.0 * (cost.user_seconds + cost.system_seconds));
    format!("  {name:35}{:24}{}\n", clock.shown("ms"), processor.shown("ms"))
}

//! How long rokeep takes to protect 100,000 files, next to the least that it could take: a loop in C (`benches/protect/floor.c`)
//! that asks about each file once, links it once, and does nothing else.
//!
//! Both do it alternately, over and over, to the same files in the same state: in memory already (*warm*), or not
//! (*cold*). What is measured is a whole process, from its start to its end. How many seconds it took is never a reason to
//! fail; not having given every file its link is. `cargo bench --bench protect -- ROUNDS` does it more or less often.

#[path = "../measure/mod.rs"]
mod measure;
mod round;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod world;

use anyhow::Result;
use round::{Cache, Contestant, World};

/// How often each does it with everything in memory; with nothing in memory it is half as often.
const ROUNDS: usize = 11;

fn main() -> Result<()> {
    let rounds = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(ROUNDS);
    println!("{rounds} rounds; {ROUNDS} take about two minutes.");
    let mut world = World::start()?;
    println!("{}", world.describe()?);
    let warm = world.alternately(rounds, Cache::Warm)?;
    let cold = world.alternately(rounds.div_ceil(2), Cache::Cold)?;
    print!("\n{}", table::comparison(&warm, &cold));
    for contestant in Contestant::BOTH {
        print!("{}", table::calls(contestant, &world.system_calls(contestant)?));
    }
    Ok(())
}

//! What people ask today who holds a file: fuser, lsof, needrestart, in the sandbox, with the same processes.

use anyhow::Result;

use crate::measure::Cost;
use crate::support::peers::Peers;
use crate::world::World;

/// How many of the files fuser is asked about; the rest is multiplied.
const SAMPLE: usize = 5;

/// What one of them took, in seconds.
pub struct Peer {
    /// What was run.
    pub name: &'static str,
    /// How long that took for all files.
    pub seconds: f64,
}

/// Each once: they take long enough to be told apart.
pub fn all(world: &mut World) -> Result<Vec<Peer>> {
    let peers = Peers::get()?;
    println!("{}", peers.versions()?);
    world.visited_by(&peers)?;
    let aliases = world.aliases()?;
    let mut seconds = |words: &[&str]| -> Result<f64> {
        let Cost { seconds, .. } = world.ask(&peers.command(words)?)?;
        Ok(seconds)
    };
    let mut sampled = 0.0;
    for alias in aliases.iter().take(SAMPLE) {
        sampled += seconds(&["fuser", alias])?;
    }
    let each = sampled / SAMPLE.min(aliases.len()) as f64;
    let needrestart = ["/tool/peers/usr/sbin/needrestart", "-c", "/tool/peers/etc/needrestart/needrestart.conf"];
    let needrestart: Vec<&str> = ["perl"].into_iter().chain(needrestart).chain(["-b", "-l", "-r", "l"]).collect();
    Ok(vec![
        Peer { name: "fuser FILE, for each of them (5 were tried)", seconds: each * aliases.len() as f64 },
        Peer { name: "lsof +L1, once", seconds: seconds(&["lsof", "-n", "+L1"])? },
        Peer { name: "needrestart -b, once", seconds: seconds(&needrestart)? },
    ])
}

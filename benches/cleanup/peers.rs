//! What people ask today who holds a file: fuser, lsof, needrestart, in the sandbox, with the same processes.

use anyhow::Result;

use super::World;
use crate::measure::{Contestant, Cost, Sample, Who};
use crate::support::peers::Peers;

/// How many of the files fuser is asked about; the rest is multiplied.
const SAMPLE: usize = 5;

/// Each once: they take long enough to be told apart.
///
/// # Errors
/// Where one of them cannot be run.
pub fn ask_all(peers: &Peers, world: &mut World) -> Result<Vec<Contestant>> {
    let aliases = world.aliases()?;
    let mut ask = |words: &[&str]| world.ask(&peers.command(words)?);
    let fuser: Vec<Cost> = aliases.iter().take(SAMPLE).map(|alias| ask(&["fuser", alias])).collect::<Result<_>>()?;
    let sample = Sample { tried: 1, of: aliases.len() };
    let needrestart = ["/tool/peers/usr/sbin/needrestart", "-c", "/tool/peers/etc/needrestart/needrestart.conf"];
    let needrestart: Vec<&str> = ["perl"].into_iter().chain(needrestart).chain(["-b", "-l", "-r", "l"]).collect();
    Ok(vec![
        Contestant::sampled(Who::Fuser, &fuser, sample),
        Contestant::new(Who::Lsof, vec![ask(&["lsof", "-n", "+L1"])?]),
        Contestant::new(Who::Needrestart, vec![ask(&needrestart)?]),
    ])
}

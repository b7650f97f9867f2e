//! What rokeep is meant to stay below in a whole upgrade.

use super::words::{percent, ratio};
use crate::upgrade::Upgrade;

/// How much of the run the hooks are meant to have at most.
pub const SHARE_OF_HOOKS: f64 = 0.01;

/// How many times as long as rokeep's hooks those of the shell way are meant to take at least.
const TIMES_FASTER: f64 = 100.0;

/// Each aim, and whether it is met; nothing where not all of the three were measured.
pub fn of_upgrade(upgrades: &[Upgrade]) -> Vec<String> {
    let [_, shell, rokeep] = upgrades else { return Vec::new() };
    let share = rokeep.share_of_hooks();
    let times = shell.seconds_in_hooks / rokeep.seconds_in_hooks;
    vec![
        format!("hooks < {} of the run: {}", percent(SHARE_OF_HOOKS), verdict(share < SHARE_OF_HOOKS, percent(share))),
        format!(
            "hooks ≥ {TIMES_FASTER} times faster than the shell way's: {}",
            verdict(times >= TIMES_FASTER, format!("{} times", ratio(times)))
        ),
    ]
}

fn verdict(is_met: bool, instead: String) -> String {
    if is_met { format!("met ({instead})") } else { format!("missed: {instead}") }
}

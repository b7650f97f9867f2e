//! What it all came to, as a person reads it.

use crate::measure::{self, Cost, Spread};
use crate::round::{Contestant, Costs, SystemCalls};

/// Both next to each other, with medians and, in brackets, the least and the most.
pub fn comparison(warm: &Costs, cold: &Costs) -> String {
    let rule = measure::rule();
    [
        format!("{:22}{:24}{:24}{}\n", "", "C loop", "rokeep", "ratio"),
        rule.clone(),
        row("warm: on the clock", warm, |cost| 1000.0 * cost.seconds, "ms"),
        row("  in the program", warm, |cost| 1000.0 * cost.user_seconds, "ms"),
        row("  in the kernel", warm, |cost| 1000.0 * cost.system_seconds, "ms"),
        row("cold: on the clock", cold, |cost| 1000.0 * cost.seconds, "ms"),
        row("  in the program", cold, |cost| 1000.0 * cost.user_seconds, "ms"),
        row("  in the kernel", cold, |cost| 1000.0 * cost.system_seconds, "ms"),
        row("peak memory", warm, |cost| cost.peak_kib as f64 / 1024.0, "MiB"),
        rule,
    ]
    .concat()
}

/// What one of them asked of the kernel.
pub fn calls(contestant: Contestant, calls: &SystemCalls) -> String {
    let name = match contestant {
        Contestant::Floor => "system calls, C loop",
        Contestant::Rokeep => "system calls, rokeep",
    };
    let calls: Vec<String> = calls.0.iter().map(|(count, call)| format!("{call} {count}")).collect();
    format!("{name:22}{}\n", calls.join(", "))
}

fn row(name: &str, costs: &Costs, of: fn(&Cost) -> f64, unit: &str) -> String {
    let [floor, rokeep] = [&costs.floor, &costs.rokeep].map(|costs| Spread::of(costs, of));
    let ratio = rokeep.median / floor.median;
    format!("{name:22}{:24}{:24}{ratio:.2}\n", floor.shown(unit), rokeep.shown(unit))
}

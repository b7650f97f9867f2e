//! What it all came to, as a person reads it.

use crate::round::{Contestant, Cost, Costs, SystemCalls};

/// Both next to each other, with medians and, in brackets, the least and the most.
pub fn comparison(warm: &Costs, cold: &Costs) -> String {
    let rule = format!("{}\n", "─".repeat(79));
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
    let [floor, rokeep] = [&costs.floor, &costs.rokeep].map(|costs| Spread::of(costs.iter().map(of).collect()));
    let ratio = rokeep.median / floor.median;
    format!("{name:22}{:24}{:24}{ratio:.2}\n", floor.shown(unit), rokeep.shown(unit))
}

struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Spread { least: at(0), median: at(values.len() / 2), most: at(values.len().saturating_sub(1)) }
    }

    fn shown(&self, unit: &str) -> String {
        let Spread { least, median, most } = self;
        format!("{median:.0} {unit} ({least:.0} – {most:.0})")
    }
}

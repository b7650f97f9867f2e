//! Numbers as a person reads them.

use crate::measure::{Contestant, Row, Spread, Who};
use crate::size::Calls;

/// `1 file`, `100,000 files`.
pub fn count(number: usize, what: &str) -> String {
    let plural = match (number, what.ends_with('s')) {
        (1, _) => what.to_owned(),
        (_, true) => format!("{what}es"),
        (_, false) => format!("{what}s"),
    };
    format!("{} {plural}", thousands(number as u64))
}

/// `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

/// `0.8 ms`, `12 ms`, `1.28 s`, `12.3 s`, `1,406 s`.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        small if small < 0.01 => format!("{:.1} ms", 1000.0 * small),
        less if less < 1.0 => format!("{:.0} ms", 1000.0 * less),
        few if few < 10.0 => format!("{few:.2} s"),
        some if some < 100.0 => format!("{some:.1} s"),
        many => format!("{} s", thousands(many.round() as u64)),
    }
}

/// `12 ms (11 – 15)`: the median, the least and the most, all in the unit of the first. What was measured once has no spread.
pub fn spread(contestant: &Contestant) -> String {
    let Spread { least, median, most } = contestant.seconds();
    let shown = seconds(median);
    if contestant.costs.len() < 2 {
        return shown;
    }
    let of = |value: f64| match shown.rsplit_once(' ') {
        Some((number, unit)) => {
            let digits = number.split_once('.').map_or(0, |(_, digits)| digits.len());
            let value = if unit == "ms" { 1000.0 * value } else { value };
            if digits == 0 { thousands(value.round() as u64) } else { format!("{value:.digits$}") }
        }
        None => String::new(),
    };
    format!("{shown} ({} – {})", of(least), of(most))
}

/// By the medians of what the kernel did alone, how many times the floor rokeep took.
pub fn kernel_ratio(row: &Row) -> String {
    let of = |who: Who| row.of(who).map(|contestant| contestant.kernel_seconds().median);
    of(Who::Rokeep).zip(of(Who::Floor)).map(|(rokeep, floor)| ratio(rokeep / floor)).unwrap_or_default()
}

/// `0.002`, `1.24`, `11.4`, `11,449`.
pub fn ratio(ratio: f64) -> String {
    match ratio {
        tiny if tiny < 0.1 => format!("{tiny:.3}"),
        small if small < 10.0 => format!("{small:.2}"),
        some if some < 100.0 => format!("{some:.1}"),
        many => thousands(many.round() as u64),
    }
}

/// `linkat 10,000, statx 10,042`.
pub fn calls(calls: &Calls) -> String {
    let calls: Vec<String> = calls.most.iter().map(|(count, name)| format!("{name} {}", thousands(*count))).collect();
    calls.join(", ")
}

/// `10 MiB`, at least 1.
pub fn mib(kib: u64) -> String {
    format!("{} MiB", kib.div_ceil(1024))
}

/// `1 %`, `2.4 %`, `0.31 %`.
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        whole if whole.fract() == 0.0 => format!("{whole:.0} %"),
        small if small < 1.0 => format!("{small:.2} %"),
        _ => format!("{percent:.1} %"),
    }
}

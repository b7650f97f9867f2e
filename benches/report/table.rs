//! The table on the terminal, for 80 columns.

use super::words::{calls, count, mib, percent, ratio, seconds, spread, thousands};
use super::{Results, aims};
use crate::measure::{Contestant, Row, Spread};
use crate::size::Counts;

/// All that was measured. Of times: the median, the least and the most, how often the first of the row goes into it, and
/// the most memory.
pub fn table(results: &Results) -> String {
    let mut table = "The floor is a loop in C that does the least that has to be done; ratios are to it.\n".to_owned();
    table += &format!("{:30}{:27}{:>10}{:>12}\n", "", "median (least – most)", "ratio", "memory");
    let mut section = |title: &str, lines: String| {
        if !lines.is_empty() {
            table += &format!("{}\n{title}\n{lines}", "─".repeat(79));
        }
    };
    section("PROTECT: each file gets its alias", rows(&results.protect));
    section("CLEANUP: which aliases may go?", rows(results.cleanup.rows()));
    section("DROP: aliases that nobody holds", rows(&results.drop));
    for hooks in &results.hooks {
        section(&format!("HOOKS with nothing to do, {}", count(hooks.processes, "process")), rows(&hooks.rows));
    }
    section("SIZE", size(results));
    section("UPGRADE: a whole run of apt", upgrade(results));
    table + &"─".repeat(79) + "\n"
}

fn rows<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    rows.into_iter().map(row).collect()
}

fn row(row: &Row) -> String {
    let first = row.contestants.first().map(|first| first.who);
    let line = |contestant: &Contestant| {
        let name = match contestant.sample {
            Some(_) => format!("{}, sampled", contestant.who.name()),
            None => contestant.who.name().to_owned(),
        };
        let times = first.filter(|first| *first != contestant.who).and_then(|first| row.ratio(contestant.who, first));
        let times = times.map(ratio).unwrap_or_default();
        format!("    {name:26}{:27}{times:>10}{:>12}\n", spread(contestant), mib(contestant.peak_kib()))
    };
    let aims = row.aims.iter().map(|aim| format!("    aim: {}: {}\n", aim.words(), aim.verdict(row)));
    let what = format!("  {}\n", row.what);
    std::iter::once(what).chain(row.contestants.iter().map(line)).chain(aims).collect()
}

fn size(results: &Results) -> String {
    let Some(size) = &results.size else { return String::new() };
    let counts = |counts: &Counts| {
        let Spread { least, median, most } = counts.instructions;
        let million = |instructions: f64| thousands((instructions / 1e6).round() as u64);
        let each = thousands((median / counts.files as f64).round() as u64);
        format!(
            "  {}\n    {} million instructions ({} – {}), {each} each\n    {} system calls: {}\n",
            counts.what,
            million(median),
            million(least),
            million(most),
            thousands(counts.calls.total),
            calls(&counts.calls)
        )
    };
    let binary = format!("  the program: {} KiB\n", thousands(size.bytes / 1024));
    [binary, counts(&size.protect), counts(&size.cleanup)].concat()
}

fn upgrade(results: &Results) -> String {
    let line = |upgrade: &crate::upgrade::Upgrade| {
        format!(
            "  {:28}{:27}{:>10}{:>12}\n",
            upgrade.name,
            format!("{} of {} in hooks", seconds(upgrade.seconds_in_hooks), seconds(upgrade.seconds)),
            percent(upgrade.share_of_hooks()),
            mib(upgrade.peak_kib)
        )
    };
    let aims = aims::of_upgrade(&results.upgrade).into_iter().map(|aim| format!("    aim: {aim}\n"));
    results.upgrade.iter().map(line).chain(aims).collect()
}

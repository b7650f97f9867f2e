//! Protecting, dropping, hooks, a whole upgrade, and what was counted.

use super::cells::{aims, markdown, memory, time, times};
use crate::measure::{Contestant, Row, Spread, Who};
use crate::report::Results;
use crate::report::aims::of_upgrade;
use crate::report::words::{calls, count, kernel_ratio, mib, percent, ratio, seconds, thousands};
use crate::size::Counts;
use crate::support::sandbox::Access;
use crate::upgrade::{Hook, Upgrade};

/// A line for each number of files.
pub fn protect(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let shell = row.of(Who::Shell).zip(row.ratio(Who::Shell, Who::Floor));
        let shell = shell.map(|(shell, times)| format!("{} ({})", seconds(shell.seconds().median), ratio(times)));
        vec![
            row.what.clone(),
            time(row, Who::Floor),
            time(row, Who::Rokeep),
            times(row, Who::Floor),
            kernel_ratio(row),
            memory(row, Who::Rokeep),
            aims(row),
            shell.unwrap_or_default(),
        ]
    };
    let head = ["", "floor", "rokeep", "ratio", "in the kernel", "memory", "aim", "the shell way (times the floor)"];
    markdown(&head, rows.iter().map(line))
}

/// The dropping alone, and all of it.
pub fn drop(rows: &[Row]) -> String {
    let line = |row: &Row| {
        vec![
            row.what.clone(),
            time(row, Who::Floor),
            time(row, Who::Rokeep),
            times(row, Who::Floor),
            memory(row, Who::Rokeep),
            aims(row),
        ]
    };
    markdown(&["", "floor", "rokeep", "ratio", "memory", "aim"], rows.iter().map(line))
}

/// A line for each hook, a column for each number of processes.
pub fn hooks(results: &Results) -> String {
    let Some(first) = results.hooks.first() else { return String::new() };
    let line = |(at, row): (usize, &Row)| {
        let rows: Vec<&Row> = results.hooks.iter().filter_map(|hooks| hooks.rows.get(at)).collect();
        let verdicts: Vec<String> = rows.iter().map(|row| aims(row)).collect();
        let worst = verdicts.iter().find(|verdict| verdict.contains("missed")).or(verdicts.first());
        let cells = rows.iter().map(|row| time(row, Who::Rokeep));
        let most = rows.iter().filter_map(|row| row.of(Who::Rokeep)).map(Contestant::peak_kib).max().unwrap_or(0);
        let end = [mib(most), worst.cloned().unwrap_or_default()];
        std::iter::once(row.what.clone()).chain(cells).chain(end).collect()
    };
    let head: Vec<String> = results.hooks.iter().map(|hooks| count(hooks.processes, "process")).collect();
    let head: Vec<&str> = std::iter::once("").chain(head.iter().map(String::as_str)).chain(["memory", "aim"]).collect();
    markdown(&head, first.rows.iter().enumerate().map(line))
}

/// Who took how long, and each hook of rokeep's.
pub fn upgrade(upgrades: &[Upgrade]) -> String {
    let state = |usr: Access| match usr {
        Access::ReadOnly | Access::WriteProtected => "read-only",
        Access::ReadOnlyMount => "degraded",
        Access::Writable => "WRITABLE",
    };
    let line = |upgrade: &Upgrade| {
        vec![
            upgrade.name.to_owned(),
            seconds(upgrade.seconds),
            seconds(upgrade.seconds_in_hooks),
            percent(upgrade.share_of_hooks()),
            thousands(upgrade.protected as u64),
            state(upgrade.usr).to_owned(),
            mib(upgrade.peak_kib),
        ]
    };
    let head = ["", "apt-get", "in hooks", "share", "files protected", "/usr at the end", "memory of a hook"];
    let table = markdown(&head, upgrades.iter().map(line));
    let packages = upgrades.first().map(|upgrade| count(upgrade.packages, "package")).unwrap_or_default();
    let aims = of_upgrade(upgrades).join("; ");
    let Some(rokeep) = upgrades.last() else { return String::new() };
    let hook = |hook: &Hook| {
        let name = hook.command.rsplit('/').next().unwrap_or_default();
        let each = hook.seconds / hook.calls as f64;
        vec![
            format!("`{name}`"),
            hook.calls.to_string(),
            seconds(hook.seconds),
            seconds(each),
            percent(hook.seconds / rokeep.seconds),
        ]
    };
    let hooks = markdown(&["rokeep's hook", "calls", "together", "each", "share"], rokeep.hooks.iter().map(hook));
    format!("{packages}. Aims: {aims}.\n\n{table}\n{hooks}")
}

/// How large the program is, and what it takes to do what is always the same.
pub fn counted(results: &Results) -> String {
    let Some(size) = &results.size else { return String::new() };
    let line = |counts: &Counts| {
        let Spread { least, median, most } = counts.instructions;
        let million = |instructions: f64| format!("{:.1}", instructions / 1e6);
        vec![
            counts.what.clone(),
            format!("{} million ({} – {})", million(median), million(least), million(most)),
            thousands((median / counts.files as f64).round() as u64),
            format!("{}: {}", thousands(counts.calls.total), calls(&counts.calls)),
        ]
    };
    let head = ["", "instructions", "each", "system calls, most of all"];
    let table = markdown(&head, [&size.protect, &size.cleanup].map(line));
    format!("The program has {} KiB, without symbols.\n\n{table}", thousands(size.bytes / 1024))
}

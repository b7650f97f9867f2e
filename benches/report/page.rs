//! docs/performance.md: `performance.md` beside this file, with what was measured in it.

use anyhow::{Result, ensure};

use super::words::{calls, count, kernel_ratio, mib, percent, ratio, seconds, spread, thousands};
use super::{Machine, Results};
use crate::cleanup::{self, Decision};
use crate::measure::{Aim, Contestant, Row, Spread, Who};
use crate::size::Counts;
use crate::support::sandbox::Access;
use crate::upgrade::{Hook, Upgrade};

/// What does not depend on the numbers.
const TEMPLATE: &str = include_str!("performance.md");

/// The page.
///
/// # Errors
/// Where there is a place in it that nothing belongs to.
pub fn page(results: &Results, machine: &Machine) -> Result<String> {
    let places = [
        ("date", machine.date.clone()),
        ("hardware", machine.hardware.clone()),
        ("kernel", machine.kernel.clone()),
        ("file-system", machine.file_system.clone()),
        ("versions", machine.versions.clone()),
        ("peers", results.cleanup.peers.clone()),
        ("rounds", results.rounds.to_string()),
        ("sample", crate::protect::SAMPLE.to_string()),
        ("protect", protect(&results.protect)),
        ("held", cleanup::HELD.to_string()),
        ("some-held", decisions(&results.cleanup.some_held)),
        ("all-held", decisions(&results.cleanup.all_held)),
        ("growth", growth(&results.cleanup.some_held)),
        ("asked-others", asked_others(&results.cleanup.some_held)),
        ("aliases-dropped", count(crate::drop::ALIASES, "alias")),
        ("drop", drop(&results.drop)),
        ("hooks", hooks(results)),
        ("upgrade", upgrade(&results.upgrade)),
        ("counted", counted(results)),
    ];
    let page = places
        .iter()
        .fold(TEMPLATE.to_owned(), |page, (name, text)| page.replace(&format!("{{{{{name}}}}}"), text.trim_end()));
    ensure!(
        !page.contains("{{"),
        "nothing belongs to a place in the page: {}",
        page.split("{{").nth(1).unwrap_or_default()
    );
    Ok(page)
}

fn markdown(head: &[&str], lines: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    [line(&head), rule].into_iter().chain(lines.into_iter().map(|cells| line(&cells))).collect()
}

/// What one of them took; nothing where it did not take part.
fn time(row: &Row, who: Who) -> String {
    row.of(who).map(spread).unwrap_or_default()
}

fn times(row: &Row, to: Who) -> String {
    row.ratio(Who::Rokeep, to).map(ratio).unwrap_or_default()
}

fn memory(row: &Row, who: Who) -> String {
    row.of(who).map(|contestant| mib(contestant.peak_kib())).unwrap_or_default()
}

/// Each aim of the row, and whether it is met.
fn aims(row: &Row) -> String {
    let one = |aim: &Aim| format!("{}: {}", aim.words(), aim.verdict(row));
    row.aims.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn protect(rows: &[Row]) -> String {
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

fn decisions(decisions: &[Decision]) -> String {
    let verdict = |row: &Row, to: Who| {
        let aim = row.aims.iter().find(|aim| matches!(aim, Aim::Times(_, who) if *who == to));
        aim.map(|aim| aim.verdict(row)).unwrap_or_default()
    };
    let line = |Decision { processes, aliases, row }: &Decision| {
        vec![
            thousands(*processes as u64),
            thousands(*aliases as u64),
            time(row, Who::Floor),
            time(row, Who::FloorOfAliases),
            time(row, Who::Rokeep),
            memory(row, Who::Rokeep),
            times(row, Who::Floor),
            verdict(row, Who::Floor),
            times(row, Who::FloorOfAliases),
            verdict(row, Who::FloorOfAliases),
        ]
    };
    let aim = decisions.iter().flat_map(|decision| &decision.row.aims).find_map(|aim| match aim {
        Aim::Times(times, _) => Some(format!("aim: {times}")),
        Aim::Seconds(_) | Aim::Kib(_) => None,
    });
    let aim = aim.unwrap_or_default();
    let head = ["processes", "aliases", "first floor", "second floor", "rokeep", "memory"];
    let head = [&head[..], &["to the first", &aim, "to the second", &aim]].concat();
    markdown(&head, decisions.iter().map(line))
}

/// Each against the other; and whether both together take what they take one by one.
fn growth(decisions: &[Decision]) -> String {
    let took = |processes: usize, aliases: usize| {
        let is_it = |decision: &&Decision| (decision.processes, decision.aliases) == (processes, aliases);
        decisions.iter().find(is_it)?.row.of(Who::Rokeep).map(|rokeep| rokeep.seconds().median)
    };
    let shown = |time: Option<f64>| time.map(seconds).unwrap_or_default();
    let line = |aliases: &usize| {
        let cells = cleanup::PROCESSES.iter().map(|processes| shown(took(*processes, *aliases)));
        std::iter::once(count(*aliases, "alias")).chain(cells).collect()
    };
    let head: Vec<String> = cleanup::PROCESSES.iter().map(|processes| count(*processes, "process")).collect();
    let head: Vec<&str> = std::iter::once("").chain(head.iter().map(String::as_str)).collect();
    let table = markdown(&head, cleanup::ALIASES.iter().map(line));
    let [few_processes, .., many_processes] = cleanup::PROCESSES;
    let [few_aliases, .., many_aliases] = cleanup::ALIASES;
    let both = took(many_processes, many_aliases);
    let sum = took(many_processes, few_aliases).zip(took(few_processes, many_aliases)).map(|(one, other)| one + other);
    let of_product =
        (many_processes * many_aliases) as f64 / (many_processes * few_aliases + few_processes * many_aliases) as f64;
    format!(
        "{table}\n{} and {} take {}; {} with {}, and {} with {}, one after the other, {}. That is {} times as much: if the \
         time grows with the sum of processes and aliases it is about 1, and with their product it would be {:.0}.\n",
        count(many_processes, "process"),
        count(many_aliases, "alias"),
        shown(both),
        count(many_processes, "process"),
        count(few_aliases, "alias"),
        count(few_processes, "process"),
        count(many_aliases, "alias"),
        shown(sum),
        both.zip(sum).map(|(both, sum)| ratio(both / sum)).unwrap_or_default(),
        of_product,
    )
}

fn asked_others(decisions: &[Decision]) -> String {
    let asked = |decision: &&Decision| decision.row.of(Who::Lsof).is_some();
    let line = |decision: &Decision| {
        let cell = |who: Who| {
            let times = decision.row.ratio(who, Who::Floor).map(ratio).unwrap_or_default();
            let time = decision.row.of(who).map(|other| seconds(other.seconds().median)).unwrap_or_default();
            format!("{time} ({times})")
        };
        vec![
            count(decision.processes, "process"),
            cell(Who::Fuser),
            cell(Who::Lsof),
            cell(Who::Needrestart),
            cell(Who::Rokeep),
        ]
    };
    let names = [Who::Fuser, Who::Lsof, Who::Needrestart, Who::Rokeep].map(Who::name);
    markdown(&[&[""], &names[..]].concat(), decisions.iter().filter(asked).map(line))
}

fn drop(rows: &[Row]) -> String {
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

fn hooks(results: &Results) -> String {
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

fn counted(results: &Results) -> String {
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

fn upgrade(upgrades: &[Upgrade]) -> String {
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
    let aims = super::aims::of_upgrade(upgrades).join("; ");
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

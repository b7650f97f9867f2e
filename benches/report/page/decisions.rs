//! Which aliases may go: among how many processes, compared with whom, and how it grows.

use super::cells::{markdown, memory, time, times};
use crate::cleanup::{self, Decision};
use crate::measure::{Aim, Row, Who};
use crate::report::words::{count, ratio, seconds, thousands};

/// Each number of processes with each number of aliases, and both floors.
pub fn decisions(decisions: &[Decision]) -> String {
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
pub fn growth(decisions: &[Decision]) -> String {
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
    let names = [
        format!("{} with {}", count(many_processes, "process"), count(many_aliases, "alias")),
        format!(
            "{} with {}, then {} with {}",
            count(many_processes, "process"),
            count(few_aliases, "alias"),
            count(few_processes, "process"),
            count(many_aliases, "alias")
        ),
        "ratio".to_owned(),
        "of a product".to_owned(),
    ];
    let ratio = both.zip(sum).map(|(both, sum)| ratio(both / sum)).unwrap_or_default();
    let compared = vec![shown(both), shown(sum), ratio, format!("{of_product:.0}")];
    format!("{table}\n{}", markdown(&names.each_ref().map(String::as_str), [compared]))
}

/// Whom people ask today, where somebody did.
pub fn asked_others(decisions: &[Decision]) -> String {
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

//! Tables, and what is in their cells.

use crate::measure::{Aim, Row, Who};
use crate::report::words::{mib, ratio, spread};

/// A table: a head, and lines with as many cells.
pub fn markdown(head: &[&str], lines: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    [line(&head), rule].into_iter().chain(lines.into_iter().map(|cells| line(&cells))).collect()
}

/// What one of them took; nothing where it did not take part.
pub fn time(row: &Row, who: Who) -> String {
    row.of(who).map(spread).unwrap_or_default()
}

/// How many times as long as that one rokeep took.
pub fn times(row: &Row, to: Who) -> String {
    row.ratio(Who::Rokeep, to).map(ratio).unwrap_or_default()
}

/// The most memory that one had.
pub fn memory(row: &Row, who: Who) -> String {
    row.of(who).map(|contestant| mib(contestant.peak_kib())).unwrap_or_default()
}

/// Each aim of the row, and whether it is met.
pub fn aims(row: &Row) -> String {
    let one = |aim: &Aim| format!("{}: {}", aim.words(), aim.verdict(row));
    row.aims.iter().map(one).collect::<Vec<_>>().join("; ")
}

//! What is shown in the end: scenario, release, expected, seen, time.

use std::time::Duration;

use crate::support::booted::Release;

/// One scenario on one release.
pub struct Row {
    /// Its name.
    pub scenario: &'static str,
    /// Where it was played.
    pub release: Release,
    /// What was to be seen.
    pub expected: &'static str,
    /// What was, or why that is not enough.
    pub seen: Result<String, String>,
    /// How long it took, with the boot.
    pub took: Duration,
}

impl Row {
    /// In a word.
    pub fn verdict(&self) -> &'static str {
        if self.seen.is_ok() { "ok" } else { "FAILED" }
    }

    /// Scenario, release, expected, seen, time.
    pub fn cells(&self) -> [String; 5] {
        let seen = match &self.seen {
            Ok(seen) => seen.clone(),
            Err(why) => format!("FAILED: {why}"),
        };
        let took = format!("{} s", self.took.as_secs());
        [self.scenario.to_owned(), self.release.to_string(), self.expected.to_owned(), seen, took]
    }
}

/// A table, the releases of a scenario one under the other.
pub fn show(rows: &[Row]) -> String {
    let mut lines: Vec<[String; 5]> = rows.iter().map(Row::cells).collect();
    let order = |name: &str| rows.iter().position(|row| row.scenario == name);
    lines.sort_by_key(|[scenario, release, ..]| (order(scenario), release.clone()));
    lines.insert(0, ["scenario", "release", "expected", "seen", "time"].map(str::to_owned));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |cells: &[String; 5]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

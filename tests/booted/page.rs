//! docs/booted.md: what was seen, on what, and when.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::support::booted::Release;
use crate::table::Row;

/// The page, with gaps for what is seen.
const PAGE: &str = include_str!("page.md");

/// Writes a row into the page. Of all others it keeps what it said, in the order in which the scenarios are given.
pub fn write(path: &Path, row: &Row, scenarios: &[&str]) -> Result<()> {
    let mut lines = said_before(&std::fs::read_to_string(path).unwrap_or_default());
    let versions = row.release.versions()?;
    let [debian, kernel, tools @ ..] = &versions[..] else { bail!("{}: {versions:?}", row.release) };
    let date = today()?;
    let release = row.release.to_string();
    let file_systems = format!("{}, ext4, ext4", row.release.file_system());
    let machine = [&release, debian, kernel, &tools.join(", "), &file_systems, &date];
    lines.insert((release.clone(), String::new()), line(machine.into_iter()));
    let [scenario, release, expected, seen, took] = &row.cells();
    let seen = [scenario, release, kernel, expected, seen, took, &date];
    lines.insert((scenario.clone(), release.clone()), line(seen.into_iter()));

    let releases = Release::ALL.map(|release| release.to_string());
    let take = |(name, release): (&str, &str)| lines.get(&(name.to_owned(), release.to_owned())).cloned();
    let machines: Vec<String> = releases.iter().filter_map(|release| take((release, ""))).collect();
    let of_all = scenarios.iter().flat_map(|name| releases.iter().map(move |release| (*name, release.as_str())));
    let scenarios: Vec<String> = of_all.filter_map(take).collect();
    let page = PAGE.replace("{machines}", &machines.join("\n")).replace("{scenarios}", &scenarios.join("\n"));
    std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

/// The lines of its tables, by what they are of.
fn said_before(page: &str) -> BTreeMap<(String, String), String> {
    let mut lines = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (first, second) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        let second = if first.starts_with("Debian") { "" } else { second };
        lines.insert((first.to_owned(), second.to_owned()), line.to_owned());
    }
    lines
}

fn line<'a>(cells: impl Iterator<Item = &'a String>) -> String {
    format!("| {} |", cells.map(|cell| cell.replace('|', r"\|")).collect::<Vec<_>>().join(" | "))
}

fn today() -> Result<String> {
    let date = Command::new("date").arg("--iso-8601").output()?.stdout;
    Ok(String::from_utf8(date)?.trim().to_owned())
}

//! Every exit code that --help names is in rokeep(8), and so is every one of the README.

use std::collections::BTreeSet;

use crate::all_commands;
use crate::page::{Page, ROKEEP};

#[test]
fn each_exit_code_is_explained() {
    let section = Page::read(ROKEEP).section("EXIT STATUS");
    let explained: BTreeSet<String> =
        section.lines().filter_map(|line| line.strip_prefix("       ")).filter_map(code).collect();
    let mut named = codes_of(&rokeep::arguments::definition());
    assert_eq!(named.iter().map(String::as_str).collect::<Vec<_>>(), ["0", "1", "2", "3"], "rokeep --help");
    for (_, command) in all_commands() {
        named.extend(codes_of(&command));
    }
    assert!(named.contains("127"), "{named:?}");
    assert_eq!(explained, named, "{section}");
}

#[test]
fn the_readme_names_the_same_as_help() {
    let readme = include_str!("../../README.md");
    let rows =
        readme.lines().skip_while(|line| !line.starts_with("| exit code")).take_while(|line| line.starts_with('|'));
    let codes: BTreeSet<String> = rows.filter_map(|row| code(row.strip_prefix("| ")?)).collect();
    assert_eq!(codes, codes_of(&rokeep::arguments::definition()));
}

fn codes_of(command: &clap::Command) -> BTreeSet<String> {
    let help = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string).unwrap_or_default();
    let listed = help.lines().skip_while(|line| *line != "Exit codes:").take_while(|line| !line.is_empty());
    listed.filter_map(|line| code(line.strip_prefix("  ")?)).collect()
}

/// What a line begins with: `127`, or `128+n`.
fn code(line: &str) -> Option<String> {
    let word = line.split(' ').next().filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(word.to_owned())
}

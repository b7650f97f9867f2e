//! What a person reads about rokeep, and what the shells complete: is everything said, and is it true?
//!
//! The pages and completions are those that `make install` installs. What has to be in them is asked of whoever knows it: the
//! definition of the command line, the settings, the sources, the files that are installed.

mod commands;
mod completions;
mod exit_codes;
mod files;
mod help;
mod installed;
mod names;
mod page;
mod settings;

use clap::Command;

/// Every command that is defined, and how it is typed: `remount rw`. Those that lead to others, and hidden ones, too.
fn all_commands() -> Vec<(String, Command)> {
    fn below(before: &str, command: &Command, found: &mut Vec<(String, Command)>) {
        for command in command.get_subcommands() {
            let name = format!("{before}{}", command.get_name());
            below(&format!("{name} "), command, found);
            found.push((name, command.clone()));
        }
    }
    let mut found = Vec::new();
    below("", &rokeep::arguments::definition(), &mut found);
    assert!(found.len() > 8, "{found:?}");
    found
}

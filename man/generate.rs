//! Writes the manual pages and the shells' completions, `man/` and `completions/` below the directory named.
//!
//! What they say of commands and options comes from the definition by which the program reads its own command line. The
//! program carries none of this: it runs as root.

mod commands;

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use clap::Command;
use clap_complete::{Shell, generate_to};
use rokeep::arguments;

const PAGES: [(&str, &str); 2] =
    [("rokeep.8", include_str!("rokeep.8")), ("rokeep.toml.5", include_str!("rokeep.toml.5"))];

fn main() -> Result<(), Box<dyn Error>> {
    let target = PathBuf::from(env::args_os().nth(1).ok_or("below which directory?")?);
    let (pages, completions) = (target.join("man"), target.join("completions"));
    fs::create_dir_all(&pages)?;
    fs::create_dir_all(&completions)?;

    let definition = arguments::definition();
    for (name, text) in PAGES {
        let page = text
            .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
            .replace("@SYNOPSIS@\n", &commands::synopsis(&definition))
            .replace("@COMMANDS@\n", &commands::sections(&definition));
        fs::write(pages.join(name), page)?;
    }
    let mut offered = what_people_call(&definition);
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut offered, "rokeep", &completions)?;
    }
    Ok(())
}

/// Without the commands that are hidden: zsh and fish would offer them.
fn what_people_call(definition: &Command) -> Command {
    let visible = definition.get_subcommands().filter(|command| !command.is_hide_set());
    Command::new("rokeep").version(env!("CARGO_PKG_VERSION")).subcommands(visible.cloned())
}

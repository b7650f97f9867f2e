//! rokeep: see the library for the story of one apt run.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(&cli::read())
}

//! rokeep: see the library for the story of one apt run.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::run(&cli::Cli::parse())
}

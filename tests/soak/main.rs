//! Thousands of package runs, one after the other, while who uses the files comes and goes.
//!
//! There are two Debian systems: one with rokeep, a read-only /usr and processes that use files of it ([`holders`]), and one
//! without all three. Both are told the same, operation by operation ([`operations`]): real apt-get and dpkg, on packages of
//! shapes that real ones have ([`packages`]), with maintainer scripts that fail or kill their callers ([`acts`]), and what
//! people do with rokeep. What comes out has to be the same ([`systems`]), and what the kernel says of /usr has to be
//! what the [`model`] knows a reason for ([`rules`]).
//!
//! `make test` does a few, `make soak` thousands (`ROKEEP_SOAK_OPERATIONS`, `ROKEEP_SOAK_SEED`, `ROKEEP_SOAK_ONLY`); see
//! docs/reliability.md.

#[path = "../support/mod.rs"]
mod support;

mod acts;
mod holders;
mod model;
mod operations;
mod packages;
mod rules;
mod soak;
mod systems;

use std::env;

use crate::soak::{Soak, numbers};

/// Few enough for `make test`.
const FEW: u64 = 30;

#[test]
fn whatever_is_done_comes_out_as_without_rokeep_and_usr_is_read_only() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = number("ROKEEP_SOAK_SEED").unwrap_or(1);
    let operations = match env::var("ROKEEP_SOAK_ONLY") {
        Ok(only) => numbers(&only).expect("numbers, as in 1,4,7-9"),
        Err(_) => (0..number("ROKEEP_SOAK_OPERATIONS").unwrap_or(FEW)).collect(),
    };
    if let Err(why) = Soak::start(seed).and_then(|soak| soak.through(&operations)) {
        panic!("{why:?}");
    }
}

//! Laws of what rokeep decides, tried on thousands of inputs that nobody thought of.
//!
//! [`decisions`] are what follows from what was seen, [`reading`] is how bytes become what was seen. A failure is shrunk,
//! shown, and its seed kept in `tests/properties/regressions`, which is tried first from then on.
//!
//! [`laws`] are so of any bytes at all; [`any_bytes`] tries them here, and `make fuzz` for longer.

mod any_bytes;
mod decisions;
mod given;
mod laws;
mod reading;
mod status;

use proptest::test_runner::{Config, FileFailurePersistence};

/// Quick enough for every build; `PROPTEST_CASES=100000` searches longer.
pub fn config() -> Config {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/properties/regressions");
    Config { failure_persistence: Some(Box::new(FileFailurePersistence::Direct(seeds))), ..Config::default() }
}

//! Real package runs in a real Debian system: apt, dpkg, their maintainer scripts, and daemons that run meanwhile.
//!
//! [`control`] shows what happens without rokeep; [`upgrade`] is the same upgrade with it; [`mishaps`] and [`packages`]
//! are the runs that go differently.

#[path = "../support/mod.rs"]
mod support;

mod control;

//! Real package runs in a real Debian system: apt, dpkg, their maintainer scripts, and daemons that run meanwhile.
//!
//! [`control`] is what happens without rokeep, [`upgrade`] the same upgrade with it. [`mishaps`] are runs that cannot
//! go well, [`packages`] small ones of other kinds, [`configuration`] what apt sees of us.
//!
//! The others are scenes ([`scene`]), each played without rokeep too: [`verbs`] are what apt can be told to do, [`shapes`]
//! what becomes of a file.

#[path = "../support/mod.rs"]
mod support;

mod configuration;
mod control;
mod mishaps;
mod packages;
mod scene;
mod shapes;
mod upgrade;
mod verbs;

//! Real package runs in a real Debian system: apt, dpkg, their maintainer scripts, and daemons that run meanwhile.
//!
//! [`control`] is what happens without rokeep, [`upgrade`] the same upgrade with it. [`mishaps`] are runs that cannot
//! go well, [`interrupted`] runs that end too soon, [`package_kit`] those of a daemon that lives on, [`packages`] small ones
//! of other kinds, [`configuration`] what apt sees of us, and [`check`] what
//! rokeep says of that.
//!
//! The others are scenes ([`scene`]), each played without rokeep too: [`verbs`] are what apt can be told to do, [`shapes`]
//! what becomes of a file, [`taken_over`] and [`diversions`] files that are not where their package lists them,
//! [`generated`] files that no package lists, [`directories`] what is removed around a process. [`dry_runs`] change
//! nothing. [`bare_dpkg`] is dpkg without apt, [`by_hand`] what a person does around both, [`ourselves`]
//! what becomes of rokeep's own package. [`overlays`] are packages on what can never be written. [`systemd`] is what the
//! units do.

#[path = "../support/mod.rs"]
mod support;

mod bare_dpkg;
mod by_hand;
mod check;
mod configuration;
mod control;
mod directories;
mod diversions;
mod dry_runs;
mod generated;
mod interrupted;
mod mishaps;
mod ourselves;
mod overlays;
mod package_kit;
mod packages;
mod scene;
mod shapes;
mod systemd;
mod taken_over;
mod upgrade;
mod verbs;

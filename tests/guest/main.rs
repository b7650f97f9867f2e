//! Scenarios on other kernels than the one at hand, and on file systems that it may not have: machines of their own, with
//! the kernels of Debian 12 and 13. Each is played on both.
//!
//! [`kernels`] says what these do without us, and that one package run comes to the same end there as it does here. The
//! others are file systems that are unlike the usual ones, [`discs`], [`servers`] and [`fat`], what is installed on those that can
//! never be writable, [`overlays`], and what only shows outside of every container: [`namespaces`].

#[path = "../support/mod.rs"]
mod support;

mod clock;
mod discs;
mod fat;
mod kernels;
mod namespaces;
mod overlays;
mod servers;

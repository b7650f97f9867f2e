//! Killed at any instruction, run again: same end. And refused at any, too.
//!
//! Each command of rokeep is run to its end once, followed by ptrace(2); then again and again, each time with a blow at one
//! of the system calls that it made: SIGKILL before the call, or an error in the place of it. After each comes what would
//! really come, and [`rules`] says what has to be so then. The mounts are real, so are the processes that use the files: the
//! kernel is the judge.
//!
//! `make test` strikes at every call that leaves something behind or is refused by a file system that is full or broken, and
//! at a few of the others; `make crash` at every call of everything, in every way. `ROKEEP_CRASH` names one point to be played
//! again, as a failure says it, and `ROKEEP_CRASH_SEED` which few others, and which way; see docs/reliability.md.

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod next;
mod overlay;
mod points;
mod rules;
mod stage;

use crate::points::strike_at_each_point_of;
use crate::stage::Ground::{Divided, Inhabited, Sealed, Whole};

#[test]
fn begin() {
    strike_at_each_point_of("begin", Whole, commands::begin);
}

#[test]
fn protect() {
    strike_at_each_point_of("protect", Whole, commands::protect);
}

#[test]
fn end() {
    strike_at_each_point_of("end", Whole, commands::end);
}

#[test]
fn dpkg_within_a_run() {
    strike_at_each_point_of("dpkg_within_a_run", Whole, commands::dpkg_within_a_run);
}

#[test]
fn bare_dpkg_begins() {
    strike_at_each_point_of("bare_dpkg_begins", Whole, commands::bare_dpkg_begins);
}

#[test]
fn bare_dpkg_is_done() {
    strike_at_each_point_of("bare_dpkg_is_done", Whole, commands::bare_dpkg_is_done);
}

#[test]
fn cleanup() {
    strike_at_each_point_of("cleanup", Whole, commands::cleanup);
}

#[test]
fn release() {
    strike_at_each_point_of("release", Whole, commands::release);
}

#[test]
fn recover() {
    strike_at_each_point_of("recover", Whole, commands::recover);
}

#[test]
fn watch() {
    strike_at_each_point_of("watch", Whole, commands::watch);
}

#[test]
fn run() {
    strike_at_each_point_of("run", Whole, commands::run);
}

#[test]
fn remount_rw() {
    strike_at_each_point_of("remount_rw", Whole, commands::remount_rw);
}

#[test]
fn remount_rw_for_a_time() {
    strike_at_each_point_of("remount_rw_for_a_time", Whole, commands::remount_rw_for_a_time);
}

#[test]
fn remount_ro() {
    strike_at_each_point_of("remount_ro", Whole, commands::remount_ro);
}

#[test]
fn protect_where_links_do_not_reach() {
    strike_at_each_point_of("protect_where_links_do_not_reach", Divided, commands::protect);
}

#[test]
fn end_where_links_do_not_reach() {
    strike_at_each_point_of("end_where_links_do_not_reach", Divided, commands::end);
}

#[test]
fn cleanup_where_links_do_not_reach() {
    strike_at_each_point_of("cleanup_where_links_do_not_reach", Divided, commands::cleanup);
}

#[test]
fn recover_where_links_do_not_reach() {
    strike_at_each_point_of("recover_where_links_do_not_reach", Divided, commands::recover);
}

#[test]
fn overlay_enable() {
    strike_at_each_point_of("overlay_enable", Sealed, commands::overlay::enable);
}

#[test]
fn overlay_enable_what_was_kept() {
    strike_at_each_point_of("overlay_enable_what_was_kept", Sealed, commands::overlay::enable_what_was_kept);
}

#[test]
fn overlay_disable() {
    strike_at_each_point_of("overlay_disable", Sealed, commands::overlay::disable);
}

#[test]
fn overlay_disable_and_discard() {
    strike_at_each_point_of("overlay_disable_and_discard", Sealed, commands::overlay::disable_and_discard);
}

#[test]
fn overlay_retire() {
    strike_at_each_point_of("overlay_retire", Sealed, commands::overlay::retire);
}

#[test]
fn overlay_reset() {
    strike_at_each_point_of("overlay_reset", Sealed, commands::overlay::reset);
}

#[test]
fn overlay_bind() {
    strike_at_each_point_of("overlay_bind", Sealed, commands::overlay::bind);
}

#[test]
fn overlay_bind_copies() {
    strike_at_each_point_of("overlay_bind_copies", Inhabited, commands::overlay::bind_copies);
}

#[test]
fn overlay_enable_in_place_of_directories() {
    let enable = commands::overlay::enable_in_place_of_directories;
    strike_at_each_point_of("overlay_enable_in_place_of_directories", Sealed, enable);
}

#[test]
fn begin_where_an_overlay_is_wanted() {
    strike_at_each_point_of("begin_where_an_overlay_is_wanted", Sealed, commands::overlay::begin_where_it_is_wanted);
}

#[test]
fn begin_where_an_overlay_is_missing() {
    strike_at_each_point_of("begin_where_an_overlay_is_missing", Sealed, commands::overlay::begin_where_it_is_missing);
}

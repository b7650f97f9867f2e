//! Scenarios on real mounts, with real holders, in namespaces of their own: the kernel is the judge.
//!
//! [`controls`] says what the kernel does without us, on every file system. The others, in the order of one apt run, say
//! what rokeep promises beyond that.

#[path = "../support/mod.rs"]
mod support;

mod controls;

mod after_a_power_cut;
mod apt_dies;
mod at_once;
mod bad_input;
mod bare_dpkg;
mod becoming_writable;
mod between_dpkg_runs;
mod by_hand;
mod check;
mod clock;
mod closed_to_others;
mod containers;
mod deep;
mod directories;
mod dry_run;
mod environment;
mod exchanged;
mod going_back;
mod guards;
mod holders;
mod hostile_text;
mod in_the_way;
mod journal;
mod left_behind;
mod log;
mod many_files;
mod names;
mod old_programs;
mod older_kernel;
mod other_mounts;
mod overlay;
mod overlay_binds;
mod overlay_copies;
mod overlay_layers;
mod overlay_mode;
mod plan;
mod recovery;
mod refusals;
mod release;
mod run;
mod space;
mod status;
mod stores;
mod unreadable;
mod what_is_in_use_stays;
mod which_files_get_an_alias;
mod who_is_out_of_sight;

//! What rokeep decides, as pure functions: no file system, process, clock or environment in here.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod apt_stream;
pub mod by_hand;
pub mod candidates;
pub mod cgroup;
pub mod change;
pub mod columns;
pub mod container;
pub mod copies;
pub mod deb;
pub mod dpkg_command;
pub mod dpkg_db;
pub mod duration;
pub mod frontend;
pub mod holder;
pub mod holding;
pub mod inode;
pub mod journal;
pub mod kernel_holders;
pub mod log_entry;
pub mod maintainer_script;
pub mod message;
pub mod mount_options;
pub mod mount_state;
pub mod mountinfo;
pub mod paths;
pub mod plan;
pub mod proc_maps;
pub mod refusal;
pub mod remedy;
pub mod session;
pub mod shell;
pub mod status;
pub mod text;
pub mod user;
pub mod verdict;

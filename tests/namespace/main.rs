//! Scenarios on real mounts, with real holders, in namespaces of their own: the kernel is the judge.
//!
//! [`controls`] says what the kernel does without us, on every file system; the other files, one for each subject, say
//! what rokeep promises beyond that.

#[path = "../support/mod.rs"]
mod support;

mod controls;

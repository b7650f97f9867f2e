//! Scenarios on real mounts, with real holders, in namespaces of their own.

#[path = "../support/mod.rs"]
mod support;

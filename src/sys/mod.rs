//! The edge: where the kernel is asked and told. It gathers and performs; it decides nothing.

pub mod files;
pub mod kernel;
pub mod log;
pub mod mounts;
pub mod processes;
pub mod scan;
pub mod state;
pub mod store;

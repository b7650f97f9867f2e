//! The edge: where the kernel is asked and told. It gathers and performs; it decides nothing.

pub mod alarm;
pub mod clock;
pub mod deb;
pub mod devices;
pub mod evictable;
pub mod files;
pub mod foreground;
pub mod halves;
pub mod handle;
pub mod kernel;
pub mod lease;
pub mod link;
pub mod listing;
pub mod log;
pub mod marker;
pub mod mounts;
pub mod namespaces;
pub mod processes;
pub mod scan;
pub mod shown;
pub mod site;
pub mod state;
pub mod store;
pub mod terminal;
pub mod users;

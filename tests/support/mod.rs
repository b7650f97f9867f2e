//! The worlds that the tests run in.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part")]

pub mod booted;
pub mod calls;
pub mod check;
pub mod debian;
pub mod dice;
pub mod disk_log;
pub mod emulator;
pub mod guest;
pub mod kept;
pub mod kinds;
pub mod order;
pub mod peers;
pub mod sandbox;
pub mod schema;
pub mod small;
pub mod status;

//! What is so of any bytes that rokeep may be given to read: a law for each thing that it reads.
//!
//! A law takes bytes and panics where it is broken. Whoever finds bytes for it makes no difference: the test beside this
//! directory tries the committed seeds and what comes of them by chance, `make fuzz` tries millions that lead to code which
//! none before them led to.
//!
//! The seeds of a law are the files in `tests/properties/seeds/NAME`, and the recordings of `tests/decisions` that are called
//! `NAME`, `*.NAME` or `NAME.json`.

#[path = "../../support/tar_entry.rs"]
mod tar_entry;

mod bounds;
mod cgroup;
mod command;
mod deb;
mod diversions;
mod dump;
mod journal;
mod list;
mod maps;
pub mod md5sums;
mod members;
pub mod mountinfo;
mod session;
mod settings;
mod status;
mod stream;
pub mod words;

pub use cgroup::cgroup;
pub use command::command;
pub use deb::deb;
pub use diversions::diversions;
pub use dump::dump;
pub use journal::journal;
pub use list::list;
pub use maps::maps;
pub use md5sums::md5sums;
pub use members::members;
pub use mountinfo::mountinfo;
pub use session::session;
pub use settings::settings;
pub use status::status;
pub use stream::stream;

//! All that was measured, for a person: a table on the terminal, and for a whole run a page and a picture.

mod aims;
mod machine;
mod page;
mod plot;
mod table;
mod words;

use std::fs;
use std::path::Path;

use anyhow::Result;

pub use self::machine::Machine;
pub use self::table::table;
pub use self::words::count;
use crate::cleanup::Decisions;
use crate::hooks::Hooks;
use crate::measure::{Rounds, Row};
use crate::size::Size;
use crate::upgrade::Upgrade;

/// What was measured; what was not is empty.
pub struct Results {
    /// How often.
    pub rounds: Rounds,
    /// Giving files their aliases.
    pub protect: Vec<Row>,
    /// Finding out which aliases may go.
    pub cleanup: Decisions,
    /// Dropping them.
    pub drop: Vec<Row>,
    /// Hooks that have nothing to do.
    pub hooks: Vec<Hooks>,
    /// What can be counted.
    pub size: Option<Size>,
    /// A whole upgrade.
    pub upgrade: Vec<Upgrade>,
}

impl Results {
    /// Nothing yet.
    pub fn of(rounds: Rounds) -> Results {
        Results {
            rounds,
            protect: Vec::new(),
            cleanup: Decisions::default(),
            drop: Vec::new(),
            hooks: Vec::new(),
            size: None,
            upgrade: Vec::new(),
        }
    }
}

/// Writes docs/performance.md and docs/performance.svg anew.
///
/// # Errors
/// Where they cannot be written, or the page has a place that nothing belongs to.
pub fn write_page(results: &Results, machine: &Machine) -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    fs::write(docs.join("performance.svg"), plot::plot(results))?;
    Ok(fs::write(docs.join("performance.md"), page::page(results, machine)?)?)
}

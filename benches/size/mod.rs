//! What can be counted, and so is much the same on every machine: how large the program is, and how many instructions it
//! takes to do something that is always the same, as valgrind's callgrind counts them in the program (nothing of the kernel),
//! and which system calls.
//!
//! Hash tables are seeded by chance, and /proc is not always the same: each is counted several times, and how far the counts
//! lie apart is told.

mod callgrind;
mod calls;
mod counts;

use std::fs;

use anyhow::Result;

use self::callgrind::Callgrind;
pub use self::calls::Calls;
pub use self::counts::Counts;
use crate::measure::{Progress, Rounds};
use crate::report::count;
use crate::support::sandbox;

/// How often each is counted, at most.
const MOST: usize = 3;

/// What was counted.
#[derive(Clone, Debug)]
pub struct Size {
    /// What counted the instructions.
    pub counted_by: String,
    /// Of the program's file, as it is installed, in bytes.
    pub bytes: u64,
    /// Of `rokeep hook pre-install-pkgs`.
    pub protect: Counts,
    /// Of `rokeep hook post-invoke`, which decides, drops and closes.
    pub cleanup: Counts,
}

/// Counts.
///
/// # Errors
/// Where valgrind cannot follow the program.
pub fn measure(rounds: Rounds, progress: &Progress) -> Result<Size> {
    let rounds = rounds.of_usual().min(MOST);
    let callgrind = Callgrind::get()?;
    progress.say(&format!("size: instructions and system calls of protect and cleanup, {}", count(rounds, "round")));
    Ok(Size {
        counted_by: callgrind.version()?,
        bytes: fs::metadata(sandbox::rokeep())?.len(),
        protect: counts::of_protect(&callgrind, rounds)?,
        cleanup: counts::of_cleanup(&callgrind, rounds)?,
    })
}

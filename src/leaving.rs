//! Leaving: the package run that removes rokeep itself ends like any other.
//!
//! dpkg takes the program away in the middle of a run for which it has made the mounts writable. So before that, the
//! package's maintainer script calls [`prepare`], and a copy of the program stands in: the hooks that are left call it, and
//! the watcher goes on as it. From then on nothing is kept for another package run. When there is nothing left to do,
//! the copy goes too ([`finish`]); what somebody still uses stays where it is, and so does the copy, for whoever wants to
//! let it go later.

use std::fs;

use anyhow::{Context, Result};

use crate::core::verdict::Run;
use crate::sys::files::Root;
use crate::sys::state::{self, Locked};
use crate::sys::{private, program};

/// Says that dpkg is going to remove the package.
///
/// # Errors
/// Where no copy can be made: the mounts then go back when the package manager has ended, and not before.
pub fn prepare(root: &Root) -> Result<()> {
    private::make(&state::state_dir(root))?;
    program::put_stand_in(root).with_context(|| format!("cannot write {}", program::stand_in(root).display()))
}

/// What package run is over when one is.
pub fn run_that_is_over(root: &Root) -> Run {
    if program::stands_in(root) { Run::Released } else { Run::Over }
}

/// What a person has to know where something is kept and the package is gone.
pub fn what_becomes_of(root: &Root, kept: &[String]) -> Option<String> {
    let copy = program::name(root);
    let is_left = program::stands_in(root) && !kept.is_empty();
    is_left.then(|| format!("rokeep was removed; \"{copy} cleanup\" drops what is kept once that is let go"))
}

/// Where the package was removed and nothing is left to do, the copy goes too, and if it was purged, all that rokeep
/// remembers.
///
/// # Errors
/// Where it cannot be told whether something is left, or the copy not be removed.
pub fn finish(root: &Root) -> Result<()> {
    if !program::stands_in(root) {
        return Ok(());
    }
    // Nobody begins anything meanwhile.
    let locked = Locked::wait(root)?;
    if !is_done(root, &locked)? {
        return Ok(());
    }
    let gone = match program::is_purged(root) {
        true => state::forget_everything(root),
        false => fs::remove_file(program::stand_in(root)).and_then(|()| state::forget_run(root)),
    };
    gone.context("cannot remove what rokeep remembers, which nobody needs any more")
}

/// No watcher will go on, no mount has to go back, and nothing is kept.
fn is_done(root: &Root, locked: &Locked) -> Result<bool> {
    Ok(state::nobody_watches(root)? && locked.session()?.is_over() && locked.journal()?.records.is_empty())
}

//! Leaving: the package run that removes rokeep itself ends like any other.
//!
//! dpkg takes the program away in the middle of a run for which it has made the mounts writable. So before that, the
//! package's maintainer script calls [`prepare`], and a copy of the program stands in: the hooks that are left call it, and
//! the watcher goes on as it. From then on nothing is kept for another package run. When there is nothing left to do,
//! the copy goes too ([`finish`]); what somebody still uses stays where it is, and so does the copy, for whoever wants to
//! let it go later.

use std::fs;

use anyhow::{Context, Result};

use crate::core::holder::Holder;
use crate::core::message::Outcome;
use crate::core::verdict::Run;
use crate::release;
use crate::survey::Alias;
use crate::sys::files::Root;
use crate::sys::state::{self, Locked};
use crate::sys::{private, processes, program};
use crate::watch;

/// dpkg is going to remove the package. While a package run is on, a watcher of it is there that does not need what is
/// removed; otherwise all is done that there is to do.
///
/// # Errors
/// Where no copy can be made: the mounts then go back when the package manager has ended, and not before. Where something
/// could not be released.
pub fn prepare(root: &Root) -> Result<Outcome> {
    let prepared = put_stand_in(root);
    let session = state::session(root)?;
    if session.is_over() {
        return release::release(root).and_then(|released| prepared.map(|()| released));
    }
    prepared?;
    for frontend in session.frontends.iter().filter(|frontend| processes::is_alive(frontend)) {
        watch::start_process(root, frontend, Some(program::stand_in(root)));
    }
    Ok(Outcome::default())
}

fn put_stand_in(root: &Root) -> Result<()> {
    private::make(&state::state_dir(root))?;
    program::put_stand_in(root).with_context(|| format!("cannot write {}", program::stand_in(root).display()))
}

/// That a watcher runs an old rokeep is not worth a word: it lets go of that when its package manager has ended.
pub fn only_we_have(root: &Root, alias: &Alias) -> bool {
    let is_rokeep = |holder: &Holder| holder.process().is_some_and(|process| processes::is_rokeep(process.pid));
    // Of most aliases nobody is known, and there may be very many.
    let is_it = || {
        let installed = program::installed(root);
        alias.names.iter().any(|name| **name == *installed)
    };
    !alias.holders.is_empty() && is_it() && alias.holders.iter().all(is_rokeep)
}

/// What package run is over when one is.
pub fn run_that_is_over(root: &Root) -> Run {
    if program::stands_in(root) { Run::Released } else { Run::Over }
}

/// What a person has to know where the package is gone and something is left to do, as messages speak of a program that is
/// not there.
pub fn who_stands_in(root: &Root) -> Option<String> {
    let copy = program::name(root);
    program::stands_in(root)
        .then(|| format!("rokeep was removed, and something is left to do: then \"{copy} cleanup\""))
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
    // Nobody begins anything meanwhile, nor is it installed again unseen.
    let locked = Locked::wait(root)?;
    if !program::stands_in(root) || !is_done(root, &locked)? {
        return Ok(());
    }
    let gone = match program::is_purged(root) {
        true => state::forget_everything(root),
        false => fs::remove_file(program::stand_in(root)),
    };
    gone.context("cannot remove what rokeep remembers, which nobody needs any more")
}

/// No watcher will go on, no mount has to go back, and nothing is kept.
fn is_done(root: &Root, locked: &Locked) -> Result<bool> {
    Ok(locked.session()?.is_over() && locked.journal()?.records.is_empty() && state::nobody_watches(root)?)
}

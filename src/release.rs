//! Releasing: nothing is to be kept for another package run, as rokeep is about to be removed.

use std::slice;

use anyhow::{Result, bail};

use crate::adopt;
use crate::cleanup;
use crate::core::message::{self, Outcome};
use crate::core::session::Frontend;
use crate::core::verdict::Run;
use crate::managed;
use crate::pins::Look;
use crate::recover::{in_a_short_session, somebody_in};
use crate::settings::Settings;
use crate::survey::{Ask, survey};
use crate::sys::clock;
use crate::sys::files::Root;
use crate::sys::lock::StillHeld;
use crate::sys::mounts::Mounted;
use crate::sys::processes;
use crate::sys::program;
use crate::sys::state::Locked;

/// Drops every alias but those of replaced files that somebody uses; which these are is a problem in the outcome. What the
/// journal does not know is looked for first.
///
/// # Errors
/// Where a package manager is at work or a mount is held by hand, and then nothing was done; where settings, session, journal,
/// mounts or stores cannot be read, or the journal not be written.
pub fn release(root: &Root) -> Result<Outcome> {
    let searched = adopt::search(root);
    if searched.as_ref().is_err_and(|why| why.is::<StillHeld>()) {
        // Another minute would be no better.
        return searched.map(|_| Outcome::default());
    }
    let locked = Locked::wait(root)?;
    let session = locked.session()?;
    // The one that removes rokeep waits for us.
    let another = |dpkg: &Frontend| !processes::i_descend_from(slice::from_ref(dpkg));
    if let Some(at_work) = somebody_in(&session).or_else(|| processes::dpkg_at_work(root).filter(another)) {
        bail!("{} is at work; nothing was released", message::process(&at_work.command, at_work.pid));
    }
    if let Some((held, _)) = session.held(clock::seconds_since_boot()).next() {
        let point = message::path(&held.mount.point);
        bail!("{point} is held by hand; nothing was released. First \"rokeep remount ro {point}\"");
    }
    let mounts = managed::all(root, &Settings::load(root)?, &session, &locked.journal()?)?.mounts;
    let all: Vec<&Mounted> = mounts.iter().collect();
    let found = survey(root, &all, &locked.journal()?, Run::Released, Ask::Verdicts)?;
    let has_something = |mounted: &Mounted| found.has_something_to_drop(&mounted.mount.point);
    let (droppable, others): (Vec<Mounted>, Vec<Mounted>) = mounts.into_iter().partition(has_something);
    let mut outcome = Outcome::default();
    if !(droppable.is_empty() && session.is_over()) {
        let opened: Vec<&Mounted> = droppable.iter().collect();
        let clean = || cleanup::clean(root, &locked, &opened, Run::Released, Ask::Verdicts, Look::Usual).map(drop);
        outcome = in_a_short_session(root, &locked, session, &droppable, Look::Usual, clean)?;
    }
    let all: Vec<&Mounted> = droppable.iter().chain(&others).collect();
    if let Err(error) = searched {
        outcome.problems.push(format!("{error:#}"));
    }
    let left = survey(root, &all, &locked.journal()?, Run::Released, Ask::Holders)?;
    let kept = cleanup::summary(root, &left);
    for point in &left.with_empty_store {
        let point = message::path(point);
        outcome.problems.push(format!("an empty store of {point} could not be removed: \"rokeep release\" again"));
    }
    if !kept.is_empty() {
        outcome.notes.clear();
        outcome.problems.extend(kept);
        let again = program::name(root);
        outcome.problems.push(format!("not everything was released: once that is let go, \"{again} release\" again"));
    }
    Ok(outcome)
}

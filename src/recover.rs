//! Finishing what nobody else will: a session whose frontend is gone, a mount that could not go back, aliases that may
//! go by now.

use anyhow::Result;

use crate::core::journal::Journal;
use crate::core::message::{self, Outcome};
use crate::core::session::Session;
use crate::core::verdict::Verdict;
use crate::managed;
use crate::remount;
use crate::session;
use crate::settings::Settings;
use crate::survey::survey;
use crate::sys::files::Root;
use crate::sys::mounts::Mounted;
use crate::sys::processes;
use crate::sys::state::Locked;

/// Ends a session whose frontends are all gone, and tries again what could not be put back. Nothing to do costs nothing.
///
/// # Errors
/// Where the session cannot be read or written.
pub fn recover(root: &Root) -> Result<Outcome> {
    let locked = Locked::wait(root)?;
    let session = locked.session()?;
    if session.is_over() { Ok(Outcome::default()) } else { session::close_if_unused(root, &locked, session) }
}

/// The cleanup pass outside a package run: recovers, and opens a short session of its own if something can be dropped.
///
/// # Errors
/// Where the session, the journal or a store cannot be read, or a mount not made writable for it.
pub fn clean_up(root: &Root) -> Result<Outcome> {
    let locked = Locked::wait(root)?;
    let mut session = locked.session()?;
    let at_work = session.frontends.iter().find(|frontend| processes::is_alive(frontend)).cloned();
    if let Some(frontend) = at_work.or_else(|| processes::dpkg_at_work(root)) {
        let process = message::process(&frontend.command, frontend.pid);
        let note = format!("{process} is at work; the cleanup comes when it is done");
        let nothing_open = session.is_over();
        let mut outcome =
            if nothing_open { Outcome::default() } else { session::close_if_unused(root, &locked, session)? };
        outcome.notes.push(note);
        return Ok(outcome);
    }
    let droppable = match locked.journal().and_then(|journal| with_something_to_drop(root, &session, &journal)) {
        Ok(droppable) => droppable,
        Err(error) if session.is_over() => return Err(error),
        // The mounts come first; closing says what is wrong with the aliases.
        Err(_) => Vec::new(),
    };
    if droppable.is_empty() && session.is_over() {
        return Ok(Outcome::default());
    }
    let myself = processes::myself()?;
    for mounted in &droppable {
        session.note(&mounted.id(), mounted.mount.flags);
    }
    session.join(myself.clone());
    locked.save_session(&session)?;
    let writable = droppable.iter().try_for_each(|mounted| remount::make_writable(root, mounted));
    session.leave(&myself);
    let mut outcome = session::close_if_unused(root, &locked, session)?;
    if let Err(error) = writable {
        outcome.problems.insert(0, format!("nothing could be dropped: {error:#}"));
    }
    Ok(outcome)
}

fn with_something_to_drop(root: &Root, session: &Session, journal: &Journal) -> Result<Vec<Mounted>> {
    let mounts = managed::all(root, &Settings::load(root)?, session, journal)?.mounts;
    let survey = survey(root, &mounts.iter().collect::<Vec<_>>(), journal)?;
    let droppable = |mounted: &Mounted| survey.with(Verdict::Drop).any(|alias| alias.mount == mounted.mount.point);
    Ok(mounts.into_iter().filter(droppable).collect())
}

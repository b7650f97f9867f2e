//! Finishing what nobody else will: a session whose frontend is gone, a mount that could not go back, aliases that may
//! go by now.

use anyhow::Result;

use crate::adopt;
use crate::cleanup;
use crate::copies;
use crate::core::message::{self, Outcome};
use crate::core::session::{Frontend, Session};
use crate::leaving;
use crate::managed;
use crate::pins::{self, Look};
use crate::session;
use crate::settings::Settings;
use crate::survey::{Ask, survey};
use crate::sys::clock;
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
    if session.is_over() {
        Ok(Outcome::default())
    } else {
        session::close_if_unused(root, &locked, session, Ask::Holders, Look::Usual)
    }
}

/// The same, as a person asks for it: then every name on the managed mounts is looked at, for aliases and markers that the
/// journal does not know. That this failed is a problem in the outcome.
///
/// # Errors
/// As [`recover`].
pub fn recover_and_search(root: &Root) -> Result<Outcome> {
    let mut outcome = recover(root)?;
    match adopt::search(root) {
        Ok(0) => {}
        Ok(found) => {
            outcome
                .notes
                .push(format!("{} that the journal did not know written down", message::count(found, "alias")));
        }
        Err(error) => outcome.problems.push(format!("{error:#}")),
    }
    Ok(outcome)
}

/// The cleanup pass outside a package run: recovers, and opens a short session of its own if something can be dropped.
/// `look` is how closely to look before.
///
/// # Errors
/// Where the session, the journal or a store cannot be read, or a mount not made writable for it; or where a deeper look
/// is not possible, and then nothing was done.
pub fn clean_up(root: &Root, look: Look) -> Result<Outcome> {
    if look == Look::Deep {
        pins::require(root)?;
    }
    let locked = Locked::wait(root)?;
    let session = locked.session()?;
    if let Some(at_work) = somebody_at_work(root, &session) {
        return leave_it_to(&at_work, root, &locked, session);
    }
    let droppable = match with_something_to_drop(root, &locked, &session, look) {
        Ok(droppable) => droppable,
        Err(error) if session.is_over() => return Err(error),
        // The mounts come first; closing the session says what is wrong with the aliases.
        Err(_) => Vec::new(),
    };
    if droppable.is_empty() && session.is_over() {
        return Ok(Outcome::default());
    }
    in_a_short_session(root, &locked, session, &droppable, look, || Ok(()))
}

/// A frontend of the session, or a dpkg that nobody told us of.
pub(crate) fn somebody_at_work(root: &Root, session: &Session) -> Option<Frontend> {
    somebody_in(session).or_else(|| processes::dpkg_at_work(root))
}

/// A frontend of the session.
pub(crate) fn somebody_in(session: &Session) -> Option<Frontend> {
    session.frontends.iter().find(|frontend| processes::is_alive(frontend)).cloned()
}

fn leave_it_to(at_work: &Frontend, root: &Root, locked: &Locked, session: Session) -> Result<Outcome> {
    let mut outcome = if session.is_over() {
        Outcome::default()
    } else {
        session::close_if_unused(root, locked, session, Ask::Verdicts, Look::Usual)?
    };
    let process = message::process(&at_work.command, at_work.pid);
    outcome.notes.push(format!("{process} is at work; the cleanup comes when it is done"));
    Ok(outcome)
}

/// Opens the mounts with something to drop, for as long as it takes to `act` and to close them: there the usual cleanup is
/// done.
pub(crate) fn in_a_short_session(
    root: &Root,
    locked: &Locked,
    mut session: Session,
    droppable: &[Mounted],
    look: Look,
    act: impl FnOnce() -> Result<()>,
) -> Result<Outcome> {
    let myself = processes::myself()?;
    for mounted in droppable {
        session.note(&mounted.id(), mounted.mount.flags);
    }
    session.join(myself.clone());
    let unseen = copies::note(root, &mut session, droppable);
    locked.save_session(&session)?;
    let done = session::make_writable(root, &session, droppable).and_then(|_| act());
    session.leave(&myself);
    let mut outcome = session::close_if_unused(root, locked, session, Ask::Verdicts, look)?;
    outcome.notes.extend(unseen);
    if let Err(error) = done {
        outcome.problems.insert(0, format!("not everything could be dropped: {error:#}"));
    }
    Ok(outcome)
}

/// What nobody wrote down is written down again, and what an earlier cleanup dropped, and could not write down, is forgotten.
fn with_something_to_drop(root: &Root, locked: &Locked, session: &Session, look: Look) -> Result<Vec<Mounted>> {
    let journal = locked.journal()?;
    let settings = Settings::load(root)?;
    let mut mounts = managed::all(root, &settings, session, &journal)?.mounts;
    let all: Vec<&Mounted> = mounts.iter().collect();
    let survey = survey(root, &all, &journal, leaving::run_that_is_over(root), Ask::Verdicts)?;
    // What nobody could be asked about, a deeper look may know to be free.
    let worth_a_look = |mounted: &Mounted| match look.max(settings.cleanup) {
        Look::Usual => false,
        Look::Deep => pins::candidates(&survey).any(|alias| *alias.mount == *mounted.mount.point),
    };
    let droppable = |mounted: &Mounted| survey.has_something_to_drop(&mounted.mount.point) || worth_a_look(mounted);
    // What is held by hand is left alone until it goes back: whatever is in use there may still be replaced.
    let now = clock::seconds_since_boot();
    let held = |mounted: &Mounted| session.held(now).any(|(noted, _)| noted.mount == mounted.id());
    if session.is_over() {
        cleanup::forget_what_is_gone(root, locked, &journal, &all, &survey)?;
    }
    if survey.has_strangers() {
        // What may go does not depend on it.
        let _ = adopt::strangers(locked, &mounts, &survey);
    }
    mounts.retain(|mounted| droppable(mounted) && !held(mounted));
    Ok(mounts)
}

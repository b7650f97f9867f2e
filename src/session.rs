//! A session: the time during which the managed mounts are writable, from Pre-Invoke to Post-Invoke.
//!
//! [`begin`] either makes every managed mount writable or puts everything back and fails: dpkg must never start on a
//! mount that is not writable, because it breaks the package there. [`end`] always puts back what it can, and says
//! what it could not.

use anyhow::{Result, anyhow, bail};

use crate::blockers;
use crate::cleanup;
use crate::core::message::{self, Outcome};
use crate::core::mount_state::MountState;
use crate::core::mountinfo::Mount;
use crate::core::session::{FoundMount, Session};
use crate::managed::{self, Managed};
use crate::remount;
use crate::settings::Settings;
use crate::sys::files::Root;
use crate::sys::mounts::{self, Mounted};
use crate::sys::processes::{self, CalledBy};
use crate::sys::state::{self, Locked};
use crate::watch;

/// Opens a session, or joins the open one: every managed mount that is read-only becomes writable, proven by a write.
///
/// # Errors
/// Where one of them cannot. Everything is then as it was found, and dpkg must not start.
pub fn begin(root: &Root) -> Result<Outcome> {
    let (locked, session, managed) = match open(root) {
        Ok(Some(opened)) => opened,
        Ok(None) => return Ok(Outcome::default()),
        Err(why) => bail!("{why:#}. dpkg was not started, and nothing was changed"),
    };
    let writable = managed.mounts.iter().try_for_each(|mounted| remount::make_writable(root, mounted));
    match writable {
        Ok(()) => Ok(Outcome { notes: managed.notes, problems: Vec::new() }),
        Err(why) => Err(give_up(root, &locked, session, CalledBy::ForkedCopy, why)),
    }
}

/// Ends the calling frontend's part of the session. If it was the last: cleanup, then every mount back to what was
/// found.
///
/// # Errors
/// Where the session cannot be read or written. A mount that could not go back is a problem in the outcome.
pub fn end(root: &Root) -> Result<Outcome> {
    let locked = Locked::wait(root)?;
    let mut session = locked.session()?;
    if session.is_over() {
        return Ok(Outcome::default());
    }
    session.leave(&processes::frontend(CalledBy::ForkedCopy)?);
    close_if_unused(root, &locked, session)
}

/// Writes down who needs what writable, before anything is remounted. `None` where nothing is read-only.
fn open(root: &Root) -> Result<Option<(Locked<'_>, Session, Managed)>> {
    let settings = Settings::load(root)?;
    // Where there is nothing to do there is nothing to ask for either: not even root.
    if note_read_only(managed::named(root, &settings)?, &mut state::session(root)?).mounts.is_empty() {
        return Ok(None);
    }
    let locked = Locked::wait(root)?;
    let mut session = locked.session()?;
    let managed = note_read_only(managed::named(root, &settings)?, &mut session);
    // An unusable journal must stop the run before dpkg starts, not surprise it afterwards.
    locked.journal()?;
    let frontend = processes::frontend(CalledBy::ForkedCopy)?;
    session.forget_dead(processes::is_alive);
    session.join(frontend.clone());
    locked.save_session(&session)?;
    watch::start(root, &frontend);
    Ok(Some((locked, session, managed)))
}

/// Closes the session unless somebody living still needs it.
///
/// # Errors
/// Where the session cannot be written.
pub(crate) fn close_if_unused(root: &Root, locked: &Locked, mut session: Session) -> Result<Outcome> {
    if is_needed(root, locked, &mut session)? {
        return Ok(Outcome::default());
    }
    let Closed { mut outcome, cleanup } = close(root, locked, session)?;
    if let Err(error) = cleanup {
        outcome.problems.insert(0, format!("the cleanup was not finished: {error:#}"));
    }
    Ok(outcome)
}

/// Whether somebody living needs the session; then it is saved as it is now.
///
/// A dpkg that outlived its frontend inherits the session: it must not find its mounts read-only half way.
fn is_needed(root: &Root, locked: &Locked, session: &mut Session) -> Result<bool> {
    session.forget_dead(processes::is_alive);
    if session.in_use() {
        locked.save_session(session)?;
        return Ok(true);
    }
    let Some(dpkg) = processes::dpkg_at_work(root) else { return Ok(false) };
    session.join(dpkg.clone());
    locked.save_session(session)?;
    watch::start(root, &dpkg);
    Ok(true)
}

/// Fails where dpkg would meet a managed mount that is read-only, because nobody has begun a session.
///
/// # Errors
/// That, and where the settings or the mounts cannot be read.
pub(crate) fn require_nothing_read_only(root: &Root) -> Result<()> {
    let managed = managed::named(root, &Settings::load(root)?)?;
    let read_only = note_read_only(managed, &mut Session::default()).mounts;
    let Some(mounted) = read_only.first() else { return Ok(()) };
    bail!(
        "{} is read-only, and the Pre-Invoke hook was not run to make it writable. dpkg was not started, and nothing \
         was changed; see \"apt-config dump DPkg::Pre-Invoke\"",
        message::path(&mounted.mount.point)
    )
}

/// Leaves the mounts to make writable: read-only now, or made writable by us before. Each is noted as it was found.
fn note_read_only(mut managed: Managed, session: &mut Session) -> Managed {
    managed.mounts.retain(|mounted| {
        let Mount { point, id, flags, .. } = &mounted.mount;
        if flags.refuse_writes() {
            session.note(point, *id, *flags);
        }
        session.found(point, *id).is_some()
    });
    managed
}

/// Undoes a session that could not begin, or whose run must not go on, and turns `why` into what a person reads.
pub(crate) fn give_up(
    root: &Root,
    locked: &Locked,
    mut session: Session,
    called_by: CalledBy,
    why: anyhow::Error,
) -> anyhow::Error {
    let undone = processes::frontend(called_by).and_then(|frontend| {
        session.leave(&frontend);
        if is_needed(root, locked, &mut session)? {
            let others = session.frontends.iter().map(|other| message::process(&other.command, other.pid));
            return Ok(format!("the mounts stay writable for {}", message::few(&others.collect::<Vec<_>>(), 3)));
        }
        // The cleanup can wait: what stopped the run may well be in its way too, and is said once.
        let Closed { outcome, cleanup: _ } = close(root, locked, session)?;
        let as_found = outcome.problems.is_empty();
        Ok(if as_found { "every mount is as it was found".to_owned() } else { outcome.problems.join("; ") })
    });
    let after = undone.unwrap_or_else(|error| format!("putting the mounts back failed too: {error:#}"));
    anyhow!("{why:#}. dpkg was not started, and {after}")
}

/// What closing a session came to.
pub(crate) struct Closed {
    /// What to say of the mounts.
    pub outcome: Outcome,
    /// How the cleanup went.
    pub cleanup: Result<()>,
}

/// Cleanup, then every mount back, for a session that no living frontend needs. What could not go back stays in it, for
/// the next try.
pub(crate) fn close(root: &Root, locked: &Locked, mut session: Session) -> Result<Closed> {
    session.frontends.clear();
    let mut outcome = Outcome::default();
    let mounted = still_there(root, &mut session, &mut outcome)?;
    let cleanup = cleanup::clean(root, locked, &mounted).map(|survey| outcome.notes.extend(cleanup::summary(&survey)));
    for mount in mounted.iter().rev() {
        put_back(root, &mut session, mount, &mut outcome);
    }
    locked.save_session(&session)?;
    Ok(Closed { outcome, cleanup })
}

/// The mounts of the session that can be seen. One that is unmounted is forgotten; one that cannot be looked at, or that
/// somebody mounted over, is kept in mind.
fn still_there(root: &Root, session: &mut Session, outcome: &mut Outcome) -> Result<Vec<Mounted>> {
    let table = mounts::table(root)?;
    let mut mounted = Vec::new();
    for FoundMount { point, id, .. } in session.mounts.clone() {
        let shown = message::path(&point);
        if !table.iter().any(|mount| mount.id == id && mount.point == point) {
            outcome.notes.push(format!("{shown} is not mounted any more"));
            session.forget(&point, id);
            continue;
        }
        match mounts::at(root, &point) {
            Ok(Some(visible)) if visible.mount.id == id => mounted.push(visible),
            Ok(_) => outcome.problems.push(format!(
                "{shown} is still WRITABLE under another mount on top of it; unmount that, then \"rokeep cleanup\""
            )),
            Err(error) => outcome.problems.push(format!(
                "{shown} may still be WRITABLE, as it cannot be looked at ({error:#}); then \"rokeep cleanup\""
            )),
        }
    }
    Ok(mounted)
}

fn put_back(root: &Root, session: &mut Session, mount: &Mounted, outcome: &mut Outcome) {
    let Mount { point, id, .. } = &mount.mount;
    let Some(found) = session.found(point, *id) else { return };
    if !found.refuse_writes() {
        session.forget(point, *id);
        return;
    }
    if mounts::at(root, point).is_ok_and(|now| now.is_some_and(|now| now.mount.failed)) {
        outcome.problems.push(format!("{}: {}", message::path(point), remount::failure(mount)));
    }
    match remount::put_back(root, mount, found) {
        Ok((MountState::ReadOnly, _)) => session.forget(point, *id),
        Ok((bad @ (MountState::Degraded | MountState::Writable), refused)) => {
            let why = blockers::why_refused(root, mount, refused);
            let sentence = remount::describe(point, bad);
            outcome.problems.push(format!("{sentence}, because {why}"));
        }
        Err(error) => outcome.problems.push(format!("{}: {error:#}", message::path(point))),
    }
}

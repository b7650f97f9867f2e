//! By hand: what a person does on a managed mount without apt.
//!
//! [`run`] is a whole session around any program. [`open`] makes a mount writable until [`close`], or for a time: it is
//! then *held by hand*, which is in the session, so that no cleanup, timer or end of a package run closes it silently.
//!
//! Nobody knows what will be replaced meanwhile. So what is in use at the beginning gets an alias, and nothing else does.

pub(crate) mod held;
mod run;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub use self::run::run;
use crate::copies;
use crate::core::by_hand::ByHand;
use crate::core::message::{self, Outcome};
use crate::core::mount_state::{self, Access, Flags, MountState};
use crate::core::mountinfo::Mount;
use crate::core::session::Session;
use crate::managed::{self, Managed};
use crate::pins::Look;
use crate::protect;
use crate::recover;
use crate::remount;
use crate::session;
use crate::settings::Settings;
use crate::survey::Ask;
use crate::sys::files::Root;
use crate::sys::mounts::{self, Mounted};
use crate::sys::state::Locked;
use crate::sys::{clock, processes, users};
use crate::watch;

/// How long a mount is to be held by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// Until somebody closes it, or the machine is started again.
    UntilClosed,
    /// So long, if nobody closes it before.
    For(Duration),
}

/// Makes these mounts writable, proven by a write, and has them held by hand. Without names: every managed mount that is
/// read-only, or writable because of rokeep. A second time changes how long it lasts.
///
/// # Errors
/// Where one cannot become writable. Everything is then as it was found.
pub fn open(root: &Root, points: &[PathBuf], lasting: Lasting) -> Result<Outcome> {
    let locked = Locked::wait(root)?;
    let before = locked.session()?;
    let mut session = before.clone();
    session.forget_dead(processes::is_alive);
    let chosen = chosen(root, points)?;
    let mut outcome = Outcome { notes: chosen.notes.clone(), ..Outcome::default() };
    let managed = session::note_read_only(chosen, &mut session);
    if managed.mounts.is_empty() {
        outcome.notes.push("nothing is read-only there: nothing was changed".to_owned());
        return Ok(outcome);
    }
    let by_hand = by_hand(root, lasting);
    managed.mounts.iter().for_each(|mounted| session.hold(&mounted.id(), by_hand.clone()));
    outcome.notes.extend(copies::note(root, &mut session, &managed.mounts));
    locked.save_session(&session)?;
    let opened = managed.mounts.iter().try_for_each(|mounted| session::open_mount(root, &session, mounted));
    if let Err(why) = opened {
        for mounted in &managed.mounts {
            hold_as_before(&mut session, &before, mounted);
        }
        bail!("{why:#}. Now {}", session::undo(root, &locked, session, &processes::myself()?));
    }
    for mounted in &managed.mounts {
        outcome.notes.extend(remount::changed_options(root, mounted));
        held::hold(root, &mut session, &mounted.id(), by_hand.clone());
        held::say(&mut outcome, by_hand.describe(&mounted.mount.point, by_hand.since));
    }
    if let Lasting::For(_) = lasting {
        watch::start(root, &processes::myself()?);
    }
    match guard(root, &locked, &session) {
        Ok(guarded) => outcome.join(guarded),
        // A full file system must not keep anybody from making room on it.
        Err(why) => outcome.problems.push(format!(
            "what is in use is not protected, so that it may not be possible to go all the way back: {why:#}"
        )),
    }
    Ok(outcome)
}

/// Puts these mounts back, held by hand or not. Without names: all that rokeep made writable. One that rokeep knows
/// nothing of becomes read-only: with its superblock, unless another mount of that is writable.
///
/// # Errors
/// Where somebody is at work; nothing is changed then. A mount that could not go back is a problem in the outcome.
pub fn close(root: &Root, points: &[PathBuf]) -> Result<Outcome> {
    let locked = Locked::wait(root)?;
    let mut session = locked.session()?;
    if let Some(at_work) = recover::somebody_at_work(root, &session) {
        let process = message::process(&at_work.command, at_work.pid);
        bail!("{process} is at work, and needs the mounts writable: nothing was changed; try again when it is done");
    }
    let mut outcome = Outcome::default();
    let mounts = if points.is_empty() {
        of_session(root, &session)?
    } else {
        let chosen = chosen(root, points)?;
        outcome.notes.extend(chosen.notes);
        chosen.mounts
    };
    if mounts.is_empty() && session.is_over() {
        outcome.notes.push("no mount is writable because of rokeep: nothing was changed".to_owned());
        return Ok(outcome);
    }
    let mut closing = Vec::new();
    for mounted in mounts {
        if session.found(&mounted.id()).is_none() && !mounted.mount.flags.refuse_writes() {
            session.note(&mounted.id(), read_only(root, &mounted)?);
        }
        session.release(&mounted.id());
        let wanted = session.found(&mounted.id()).unwrap_or(mounted.mount.flags);
        closing.push((mounted, wanted));
    }
    locked.save_session(&session)?;
    outcome.join(session::close_if_unused(root, &locked, session, Ask::Holders, Look::Usual)?);
    for (mounted, wanted) in closing {
        match mount_state::state(mounted.flags(root)?, wanted) {
            MountState::ReadOnly => {
                held::say(&mut outcome, remount::describe(&mounted.mount.point, MountState::ReadOnly));
            }
            // A dpkg that has started since needs it.
            state @ (MountState::Degraded | MountState::Writable) if outcome.problems.is_empty() => {
                outcome.problems.push(remount::describe(&mounted.mount.point, state));
            }
            // Said already, with what is in the way.
            MountState::Degraded | MountState::Writable => {}
        }
    }
    Ok(outcome)
}

/// Those that a person names, or else the managed ones.
fn chosen(root: &Root, points: &[PathBuf]) -> Result<Managed> {
    if points.is_empty() {
        return managed::named(root, &Settings::load(root)?);
    }
    let mut chosen = Managed::default();
    for point in points {
        let mounted = mounts::at(root, point)?.with_context(|| no_mount_point(root, point))?;
        if !chosen.mounts.iter().any(|known| known.id() == mounted.id()) {
            chosen.mounts.push(mounted);
        }
    }
    Ok(chosen)
}

fn no_mount_point(root: &Root, point: &Path) -> String {
    let shown = message::path(point);
    match mounts::holding(root, point) {
        Ok(Some(mount)) => format!("{shown} is no mount point: it is on {}", message::path(&mount.point)),
        Ok(None) | Err(_) => format!("{shown} is no mount point"),
    }
}

fn of_session(root: &Root, session: &Session) -> Result<Vec<Mounted>> {
    let mut mounted = Vec::new();
    for noted in &session.mounts {
        mounted.extend(mounts::at(root, &noted.mount.point)?);
    }
    Ok(mounted)
}

/// What is in use on every mount of the session that is writable.
fn guard(root: &Root, locked: &Locked, session: &Session) -> Result<Outcome> {
    let mut mounts = of_session(root, session)?;
    mounts.retain(|mounted| !mounted.mount.flags.refuse_writes());
    protect::guard(root, locked, &mounts)
}

fn by_hand(root: &Root, lasting: Lasting) -> ByHand {
    let now = clock::since_boot();
    let until = match lasting {
        Lasting::UntilClosed => None,
        // Never shorter than was asked for.
        Lasting::For(time) => Some((now + time).as_secs() + 1),
    };
    ByHand { since: now.as_secs(), until, why: format!("{} asked for it", message::text(&users::caller(root))) }
}

fn hold_as_before(session: &mut Session, before: &Session, mounted: &Mounted) {
    let id = mounted.id();
    session.release(&id);
    let held = before.mounts.iter().find(|noted| noted.mount == id).and_then(|noted| noted.by_hand.clone());
    held.into_iter().for_each(|by_hand| session.hold(&id, by_hand));
}

/// How a mount should be that nobody saw read-only. Another mount of its superblock that is writable (a btrfs subvolume
/// beside this one) is meant to be.
fn read_only(root: &Root, mounted: &Mounted) -> Result<Flags> {
    let beside = |mount: &Mount| {
        mount.device == mounted.mount.device && mount.id != mounted.mount.id && !mount.flags.refuse_writes()
    };
    let superblock = if mounts::table(root)?.iter().any(beside) { Access::Writable } else { Access::ReadOnly };
    Ok(Flags { mount: Access::ReadOnly, superblock })
}

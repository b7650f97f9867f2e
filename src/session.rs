//! A session: the time during which the managed mounts are writable, from Pre-Invoke to Post-Invoke.
//!
//! [`begin`] either makes every managed mount writable or puts everything back and fails: dpkg must never start on a
//! mount that is not writable, because it breaks the package there. [`end`] always puts back what it can, and says
//! what it could not.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;

use crate::blockers;
use crate::cleanup;
use crate::core::message;
use crate::core::mount_state::MountState;
use crate::core::session::{Frontend, Session};
use crate::core::verdict::{Because, Verdict};
use crate::remount;
use crate::settings::Settings;
use crate::survey::Survey;
use crate::sys::files::Root;
use crate::sys::mounts::{self, Mounted};
use crate::sys::processes;
use crate::sys::state::{self, Locked};
use crate::sys::store::Store;
use crate::watch;

/// What a stage has to say when it did not fail.
#[derive(Debug, Default)]
#[must_use]
pub struct Outcome {
    /// Worth knowing.
    pub notes: Vec<String>,
    /// In need of a person.
    pub problems: Vec<String>,
}

/// Opens a session, or joins the open one: every managed mount that is read-only becomes writable, proven by a write.
///
/// # Errors
/// Where one of them cannot. Everything is then as it was found, and dpkg must not start.
pub fn begin(root: &Root) -> Result<Outcome> {
    let settings = Settings::load(root)?;
    // Where nothing is read-only there is nothing to do, and nothing to ask for either: not even root.
    if note_read_only(root, &settings, &mut state::session(root)?)?.is_empty() {
        return Ok(Outcome::default());
    }
    let locked = Locked::wait(root)?;
    let mut session = locked.session()?;
    let managed = note_read_only(root, &settings, &mut session)?;
    // An unusable journal must stop the run before dpkg starts, not surprise it afterwards.
    locked.journal()?;
    let frontend = processes::frontend()?;
    session.join(frontend.clone());
    locked.save_session(&session)?;
    watch::start(root, &frontend);
    let writable = managed.iter().try_for_each(|mounted| remount::make_writable(root, mounted));
    match writable {
        Ok(()) => Ok(Outcome::default()),
        Err(why) => Err(give_up(root, &locked, session, &frontend, why)),
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
    session.leave(&processes::frontend()?);
    close_if_unused(root, &locked, session)
}

/// Closes the session unless somebody living still needs it.
///
/// A dpkg that outlived its frontend inherits the session: it must not find its mounts read-only half way.
///
/// # Errors
/// Where the session cannot be written.
pub(crate) fn close_if_unused(root: &Root, locked: &Locked, mut session: Session) -> Result<Outcome> {
    session.forget_dead(processes::is_alive);
    if !session.in_use() {
        if let Some(dpkg) = processes::dpkg_at_work(root) {
            session.join(dpkg.clone());
            locked.save_session(&session)?;
            watch::start(root, &dpkg);
        }
    }
    if session.in_use() {
        locked.save_session(&session)?;
        return Ok(Outcome::default());
    }
    close(root, locked, session)
}

/// Fails where dpkg would meet a managed mount that is read-only, because nobody has begun a session.
///
/// # Errors
/// That, and where the settings or the mounts cannot be read.
pub(crate) fn require_nothing_read_only(root: &Root) -> Result<()> {
    let read_only = note_read_only(root, &Settings::load(root)?, &mut Session::default())?;
    let Some(mounted) = read_only.first() else { return Ok(()) };
    bail!(
        "{} is read-only, and the Pre-Invoke hook was not run to make it writable. dpkg was not started, and nothing \
         was changed; see \"apt-config dump DPkg::Pre-Invoke\"",
        message::path(&mounted.mount.point)
    )
}

/// The mounts to make writable: read-only now, or made writable by us before. Each is noted as it was found.
fn note_read_only(root: &Root, settings: &Settings, session: &mut Session) -> Result<Vec<Mounted>> {
    let mut managed = Vec::new();
    for point in settings.mounts() {
        let Some(mounted) = mounts::at(root, &point)? else { continue };
        if mounted.mount.flags.refuse_writes() {
            session.note(&point, mounted.mount.flags);
        }
        if session.found(&point).is_some() {
            managed.push(mounted);
        }
    }
    Ok(managed)
}

/// Undoes a session that could not begin, or whose run must not go on, and turns `why` into what a person reads.
pub(crate) fn give_up(
    root: &Root,
    locked: &Locked,
    mut session: Session,
    frontend: &Frontend,
    why: anyhow::Error,
) -> anyhow::Error {
    session.leave(frontend);
    session.forget_dead(processes::is_alive);
    let why = format!("{why:#}");
    let after = if session.in_use() {
        let others = session.frontends.iter().map(|other| format!("{} ({})", message::text(&other.command), other.pid));
        let others: Vec<String> = others.collect();
        let saved = locked.save_session(&session).err().map(|error| format!(" ({error:#})"));
        format!("the mounts stay writable for {}{}", message::few(&others, 3), saved.unwrap_or_default())
    } else {
        match close(root, locked, session) {
            Ok(mut outcome) => {
                // What stopped the run may well be in the way of the cleanup too; once is enough.
                outcome.problems.retain(|problem| !problem.contains(&why));
                let as_found = outcome.problems.is_empty();
                if as_found { "every mount is as it was found".to_owned() } else { outcome.problems.join("; ") }
            }
            Err(error) => format!("putting the mounts back failed too: {error:#}"),
        }
    };
    anyhow!("{why}. dpkg was not started, and {after}")
}

/// Cleanup, then every mount back, for a session that no living frontend needs. What could not go back stays in it, for
/// the next try.
pub(crate) fn close(root: &Root, locked: &Locked, mut session: Session) -> Result<Outcome> {
    session.frontends.clear();
    let mut outcome = Outcome::default();
    let mut mounted = Vec::new();
    for found in &session.mounts {
        match mounts::at(root, &found.point) {
            Ok(Some(mount)) => mounted.push(mount),
            Ok(None) => outcome.notes.push(format!("{} is not mounted any more", message::path(&found.point))),
            Err(error) => outcome.problems.push(format!("{error:#}")),
        }
    }
    session.mounts.retain(|found| mounted.iter().any(|mount| mount.mount.point == found.point));
    match clean(root, locked, &mounted) {
        Ok(survey) => outcome.notes.extend(say_what_is_kept(&survey)),
        Err(error) => outcome.problems.push(format!("the aliases were left as they are: {error:#}")),
    }
    for mount in mounted.iter().rev() {
        put_back(root, &mut session, mount, &mut outcome);
    }
    locked.save_session(&session)?;
    Ok(outcome)
}

/// The cleanup pass over those of the mounts that really are writable.
fn clean(root: &Root, locked: &Locked, mounted: &[Mounted]) -> Result<Survey> {
    let journal = locked.journal()?;
    let (mut writable, mut rest) = (Vec::new(), Vec::new());
    for mount in mounted {
        let again = mounts::at(root, &mount.mount.point)?.context("it was unmounted in between")?;
        if again.mount.flags.refuse_writes() { rest.push(again) } else { writable.push(again) }
    }
    let survey = cleanup::drop_what_may_go(root, locked, &writable, &journal)?;
    for mount in &writable {
        if let Some(store) = Store::open(mount)? {
            store.remove_if_empty(mount)?;
        }
    }
    Ok(survey)
}

fn put_back(root: &Root, session: &mut Session, mount: &Mounted, outcome: &mut Outcome) {
    let point: &Path = &mount.mount.point;
    let Some(found) = session.found(point) else { return };
    if !found.refuse_writes() {
        session.mounts.retain(|other| other.point != point);
        return;
    }
    if mounts::at(root, point).is_ok_and(|now| now.is_some_and(|now| now.mount.failed)) {
        outcome.problems.push(format!("{}: {}", message::path(point), remount::failure(mount)));
    }
    match remount::put_back(root, mount, found) {
        Ok((MountState::ReadOnly, _)) => session.mounts.retain(|other| other.point != point),
        Ok((bad @ (MountState::Degraded | MountState::Writable), refused)) => {
            let why = why_refused(root, mount, refused);
            let sentence = remount::describe(point, bad);
            outcome.problems.push(format!("{sentence}, because {why}"));
        }
        Err(error) => outcome.problems.push(format!("{}: {error:#}", message::path(point))),
    }
}

/// The reason, and the next step.
fn why_refused(root: &Root, mount: &Mounted, refused: Option<Errno>) -> String {
    match refused {
        Some(Errno::EBUSY) | None => match blockers::blockers(root, mount) {
            Ok(blockers) => format!("{}. Once that has ended: \"rokeep cleanup\"", blockers::explain(&blockers)),
            Err(error) => format!("it is busy. \"rokeep cleanup\" tries again ({error:#})"),
        },
        Some(other) => format!("the kernel refused: {}. See \"dmesg\", then \"rokeep cleanup\"", other.desc()),
    }
}

/// One line for each thing that a person may wonder about at the end of a run.
fn say_what_is_kept(survey: &Survey) -> Vec<String> {
    let mut lines = Vec::new();
    let held: Vec<_> = survey.with(Verdict::Keep(Because::Held)).collect();
    if !held.is_empty() {
        let bytes = held.iter().map(|alias| alias.bytes).sum();
        let mut holders: Vec<(i32, String)> = held
            .iter()
            .flat_map(|alias| &alias.holders)
            .map(|holder| (holder.pid, format!("{} ({})", message::text(&holder.command), holder.pid)))
            .collect();
        holders.sort();
        holders.dedup();
        let holders: Vec<String> = holders.into_iter().map(|(_, name)| name).collect();
        lines.push(format!(
            "kept while in use: {} ({}), by {}; \"rokeep status\" says what frees each",
            message::count(held.len(), "replaced file"),
            message::bytes(bytes),
            message::few(&holders, 4)
        ));
    }
    if !survey.unreadable.0.is_empty() {
        let count = message::count(survey.unreadable.0.len(), "process");
        lines.push(format!("what {count} may hold could not be read, so every replaced file is kept"));
    }
    lines
}

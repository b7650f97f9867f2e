//! `rokeep run`: a session around a program in the foreground.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use anyhow::{Context, Error, Result, anyhow, bail};

use super::{chosen, guard};
use crate::core::message::{self, Outcome};
use crate::core::session::Frontend;
use crate::pins::Look;
use crate::session;
use crate::settings::Settings;
use crate::survey::Ask;
use crate::sys::files::Root;
use crate::sys::foreground::{self, LeftOpen};
use crate::sys::processes;
use crate::sys::state::Locked;

/// As the shells have it (POSIX, "Exit Status for Commands").
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// Opens a session, runs the program in it, ends the session, and answers the exit status: the program's, as a shell would
/// say it. Without names of mounts: every managed one that is read-only. `tell` is called with what there is to say before
/// and after the program.
///
/// If a mount could not go back that is said; the status is still the program's, but for 1 where that was 0 and the
/// settings ask for it (`strict_exit`).
///
/// Killed itself, it leaves the session to the program: when that has ended, the watcher puts the mounts back. Killed before
/// the program is known there, it never runs.
///
/// # Errors
/// Where the session cannot begin. Everything is then as it was found, and the program was not started.
pub fn run(root: &Root, points: &[PathBuf], command: &[OsString], mut tell: impl FnMut(Outcome)) -> Result<u8> {
    let left_open = LeftOpen::now().context("cannot read /proc/self/fd; the command was not started")?;
    let mut users = Vec::new();
    if let Some((myself, outcome)) = begin(root, points)? {
        users.push(myself);
        tell(outcome);
    }
    left_open.pass_on();
    foreground::leave_signals_to_programs();
    let has_session = !users.is_empty();
    let inherit_if_open = |pid| {
        let heir = processes::by_pid(pid).ok().filter(|_| has_session)?;
        Some((inherit(root, &heir), heir))
    };
    let ended = foreground::start(command, inherit_if_open).and_then(|(child, announced)| {
        if let Some((outcome, heir)) = announced.flatten() {
            tell(outcome);
            users.push(heir);
        }
        child?.wait()
    });
    let mut outcome = end(root, &users);
    let could_not_go_back = !outcome.problems.is_empty();
    let status = ended.map(foreground::status).unwrap_or_else(|error| {
        let name = command.first().map(|name| message::path(name.as_ref())).unwrap_or_default();
        outcome.problems.insert(0, format!("cannot run {name}: {error}"));
        if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }
    });
    tell(outcome);
    let strict = could_not_go_back && Settings::load(root).is_ok_and(|settings| settings.strict_exit);
    Ok(if status == 0 && strict { 1 } else { status })
}

/// Opens the session for this process. `None` where nothing is read-only: then there is nothing to ask for, not even root.
fn begin(root: &Root, points: &[PathBuf]) -> Result<Option<(Frontend, Outcome)>> {
    const NOT_STARTED: &str = "The command was not started";
    let opened = (|| {
        if session::nothing_to_open(root, || chosen(root, points))? {
            return Ok(None);
        }
        let myself = processes::myself()?;
        session::open_for(root, &myself, |_| chosen(root, points)).map(|opened| Some((myself, opened)))
    })();
    let opened = opened.map_err(|why: Error| anyhow!("{why:#}. {NOT_STARTED}, and nothing was changed"))?;
    let Some((myself, (locked, mut session, managed))) = opened else { return Ok(None) };
    let opened = session::make_writable(root, &session, &managed.mounts);
    match opened.and_then(|notes| Ok((notes, guard(root, &locked, &session)?))) {
        Ok((notes, guarded)) => {
            let mut outcome = Outcome { notes: [managed.notes, notes].concat(), ..Outcome::default() };
            outcome.join(guarded);
            Ok(Some((myself, outcome)))
        }
        Err(why) => {
            session.leave(&myself);
            bail!("{why:#}. {NOT_STARTED}, and {}", session::undo(root, &locked, session, &myself))
        }
    }
}

/// Has the program in the session as well: if this process is killed, it must not find its mounts read-only half way.
fn inherit(root: &Root, heir: &Frontend) -> Outcome {
    let joined = Locked::wait(root).and_then(|locked| {
        let mut session = locked.session()?;
        session.join(heir.clone());
        locked.save_session(&session)
    });
    let problem = |error| format!("if rokeep is killed, the mounts go back under the command: {error:#}");
    Outcome { problems: joined.err().map(problem).into_iter().collect(), ..Outcome::default() }
}

fn end(root: &Root, users: &[Frontend]) -> Outcome {
    if users.is_empty() {
        return Outcome::default();
    }
    let ended = Locked::wait(root).and_then(|locked| {
        let mut session = locked.session()?;
        users.iter().for_each(|user| session.leave(user));
        session::close_if_unused(root, &locked, session, Ask::Holders, Look::Usual)
    });
    ended
        .unwrap_or_else(|error| Outcome { problems: vec![session::say_what_may_be_open(&error)], ..Outcome::default() })
}

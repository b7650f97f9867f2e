//! dpkg's own hooks: a run of dpkg that apt asked for, and one that nobody announced.
//!
//! Within somebody's session dpkg is one of several, and [`begin`] has it join and looks at what has come into use since. Otherwise
//! dpkg is its own package manager – a person called it, or a program that goes round apt – and gets what apt gets: a
//! session in which the mounts are writable, and aliases for what its command line says it will replace. [`end`] ends that;
//! the watcher does where dpkg calls no hook at its end, as after a signal, or a database that somebody else has locked.

use anyhow::Result;

use crate::announce::{self, Announced};
use crate::core::dpkg_command::{self, Command, NotUnderstood};
use crate::core::message::Outcome;
use crate::core::session::Frontend;
use crate::overlay;
use crate::protect;
use crate::session::{self, AtTheEnd, Begun};
use crate::sys::files::Root;
use crate::sys::processes::{self, CalledBy};
use crate::sys::state;

/// Before dpkg does what it was asked to do, which it calls `action`.
///
/// # Errors
/// Where it would meet a managed mount that is read-only. Everything is then as it was found, and dpkg must not go on.
/// Within somebody's session nothing is an error: that run may go well without.
pub fn begin(root: &Root, action: &[u8]) -> Result<Outcome> {
    match state::session(root) {
        Ok(session) if processes::i_descend_from(&session.frontends) => {
            // apt has laid them; "rokeep run" lays none.
            overlay::require_none_missing(root)?;
            // Whoever's it was may be gone by the time that it is our turn, and the mounts closed.
            if let Some(refreshed) = refresh(root) {
                return Ok(refreshed);
            }
        }
        Ok(_) => {}
        // Whose it is cannot be told. Whoever made everything writable has dealt with it.
        Err(why) if session::require_nothing_read_only(root).is_ok() => return Ok(not_refreshed(&why)),
        Err(_) => {}
    }
    let called = processes::frontend(CalledBy::Dpkg).map(|dpkg| (read_command(&dpkg, action), dpkg));
    if matches!(called, Ok((Ok(Command::Pretend), _))) {
        return Ok(Outcome::default());
    }
    let mut begun = match session::begin_called_by(root, CalledBy::Dpkg)? {
        Begun::Open(outcome) => outcome,
        Begun::NothingToOpen(outcome) => return Ok(outcome),
    };
    let announced = called.and_then(|(command, dpkg)| announced(root, command, &dpkg));
    let (stream, notes) = match announced {
        Ok(Announced { stream, notes }) => (Ok(stream), notes),
        Err(why) => (Err(why.context("cannot tell what dpkg will replace")), Vec::new()),
    };
    let protected = protect::protect_from_dpkg(root, stream)?;
    begun.notes.extend(notes);
    begun.join(protected);
    Ok(begun)
}

fn announced(root: &Root, command: Result<Command, NotUnderstood>, dpkg: &Frontend) -> Result<Announced> {
    match command {
        // It will not get the lock either, and has nothing to replace then.
        Ok(_) if processes::packages_are_locked(root) => Ok(Announced::default()),
        Ok(command) => announce::of_dpkg(root, &command, &processes::directory(dpkg)?),
        Err(why) => {
            let note = format!("only what is in use is protected, as dpkg's command line is not understood: {why}");
            Ok(Announced { notes: vec![note], ..Announced::default() })
        }
    }
}

/// After dpkg has done it: ends the session if this dpkg is what it was opened for, or a part of it.
///
/// # Errors
/// Where the session cannot be read or written. dpkg must not hear of it.
pub fn end(root: &Root) -> Result<Outcome> {
    let session = state::session(root)?;
    if session.frontends.is_empty() {
        return Ok(Outcome::default());
    }
    let dpkg = processes::frontend(CalledBy::Dpkg);
    let is_ours = dpkg.is_ok_and(|dpkg| session.frontends.iter().any(|frontend| frontend.is(&dpkg)));
    if is_ours { session::end_called_by(root, CalledBy::Dpkg, AtTheEnd::PutBack) } else { Ok(Outcome::default()) }
}

fn read_command(dpkg: &Frontend, action: &[u8]) -> Result<Command, NotUnderstood> {
    let line = processes::command_line(dpkg);
    let words: Vec<&[u8]> = line.strip_suffix(b"\0").unwrap_or_default().split(|byte| *byte == 0).skip(1).collect();
    dpkg_command::parse(&words, action)
}

fn refresh(root: &Root) -> Option<Outcome> {
    let dpkg = processes::frontend(CalledBy::Dpkg).ok();
    protect::refresh(root, dpkg).unwrap_or_else(|why| Some(not_refreshed(&why)))
}

fn not_refreshed(why: &anyhow::Error) -> Outcome {
    let problem = format!("what came into use since apt started is not protected: {why:#}");
    Outcome { problems: vec![problem], ..Outcome::default() }
}

//! A session: the time during which the managed mounts are writable, from Pre-Invoke to Post-Invoke.
//!
//! [`begin`] either makes every managed mount writable or puts everything back and fails: dpkg must never start on a
//! mount that is not writable, because it breaks the package there. [`end`] always puts back what it can, and says
//! what it could not.

mod closing;

use anyhow::{Error, Result, anyhow, bail, ensure};

use self::closing::close;
use crate::by_hand::held;
use crate::cleanup;
use crate::copies;
use crate::core::change::Change;
use crate::core::message::{self, Outcome};
use crate::core::session::{Frontend, Session};
use crate::leaving;
use crate::managed::{self, Managed};
use crate::overlay::{self, ToDo};
use crate::pins::Look;
use crate::remount;
use crate::settings::Settings;
use crate::survey::Ask;
use crate::sys::files::Root;
use crate::sys::lock::StillHeld;
use crate::sys::log;
use crate::sys::mounts::Mounted;
use crate::sys::processes::{self, CalledBy};
use crate::sys::state::{self, Locked};
use crate::watch;

/// Opens a session, or joins the open one: every managed mount that is read-only becomes writable, proven by a write.
///
/// # Errors
/// Where one of them cannot. Everything is then as it was found, and dpkg must not start.
pub fn begin(root: &Root) -> Result<Outcome> {
    match begin_called_by(root, CalledBy::ForkedCopy)? {
        Begun::Open(outcome) | Begun::NothingToOpen(outcome) => Ok(outcome),
    }
}

/// What came of beginning.
pub(crate) enum Begun {
    /// There is a session.
    Open(Outcome),
    /// Nothing was to be made writable, or nothing will be written.
    NothingToOpen(Outcome),
}

/// As [`begin`].
pub(crate) fn begin_called_by(root: &Root, called_by: CalledBy) -> Result<Begun> {
    let mut before = None;
    let opened = open(root, called_by, &mut before);
    let changed = || before.as_ref().and_then(|before: &overlay::Before| before.changed(root));
    let (locked, session, managed) = match opened {
        Ok(Opened::Session(opened)) => *opened,
        Ok(Opened::Nothing(outcome)) => return Ok(Begun::NothingToOpen(outcome)),
        Err(why) => {
            let but = changed().map_or_else(String::new, |changed| format!(" but this: {changed}"));
            bail!("{why:#}. {}, and nothing was changed{but}", stopped(called_by))
        }
    };
    match make_writable(root, &session, &managed.mounts) {
        Ok(notes) => Ok(Begun::Open(Outcome { notes: [managed.notes, notes].concat(), ..Outcome::default() })),
        Err(why) => {
            let why = give_up(root, &locked, session, called_by, why);
            let but = changed().map_or_else(String::new, |changed| format!("; but {changed}"));
            Err(anyhow!("{why:#}{but}"))
        }
    }
}

/// What becomes of the run, as a person knows it.
fn stopped(called_by: CalledBy) -> &'static str {
    match called_by {
        CalledBy::ForkedCopy | CalledBy::Itself => "dpkg was not started",
        CalledBy::Dpkg => "dpkg was stopped before it did anything",
    }
}

/// What the end of a package run does with mounts that nobody needs writable any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtTheEnd {
    /// Puts them back.
    PutBack,
    /// Leaves them to a person, who asked for it with `NO_APT_REMOUNT=yes`.
    LeaveWritable,
}

/// Ends the calling frontend's part of the session. If it was the last: cleanup, then every mount back to what was
/// found, but for those that are held by hand.
///
/// # Errors
/// Where the session cannot be read or written. A mount that could not go back is a problem in the outcome.
pub fn end(root: &Root, mounts: AtTheEnd) -> Result<Outcome> {
    end_called_by(root, CalledBy::ForkedCopy, mounts)
}

/// As [`end`].
pub(crate) fn end_called_by(root: &Root, called_by: CalledBy, mounts: AtTheEnd) -> Result<Outcome> {
    let locked = Locked::wait(root)?;
    let mut session = locked.session()?;
    if session.is_over() {
        return Ok(Outcome::default());
    }
    match (mounts, processes::frontend(called_by)) {
        (AtTheEnd::LeaveWritable, Ok(frontend)) => held::leave_to_a_person(root, &mut session, &frontend),
        (AtTheEnd::LeaveWritable | AtTheEnd::PutBack, _) => {}
    }
    leave(root, &locked, session, called_by)
}

/// Makes mounts writable, one after the other, for whoever is in the session. Answers what is worth saying even so.
///
/// # Errors
/// Where one cannot become so. Those before it are writable.
pub(crate) fn make_writable(root: &Root, session: &Session, mounts: &[Mounted]) -> Result<Vec<String>> {
    for mounted in mounts {
        open_mount(root, session, mounted)?;
        if mounted.mount.flags.refuse_writes() {
            log::change(root, &Change::opened(&mounted.mount.point, &people(session)));
        }
    }
    Ok(mounts.iter().filter_map(|mounted| remount::changed_options(root, mounted)).collect())
}

/// Makes one mount writable, and with it what rokeep closed below it.
///
/// # Errors
/// Where it, or one below it, cannot become so.
pub(crate) fn open_mount(root: &Root, session: &Session, mounted: &Mounted) -> Result<()> {
    remount::make_writable(root, mounted)?;
    copies::open_here(root, session, mounted)
}

/// For whom the mounts are writable.
pub(crate) fn people(session: &Session) -> String {
    let people = session.frontends.iter().map(|other| message::process(&other.command, other.pid));
    message::few(&people.collect::<Vec<_>>(), 3)
}

/// As [`end`], of a session that was read already.
pub(crate) fn leave(root: &Root, locked: &Locked, mut session: Session, called_by: CalledBy) -> Result<Outcome> {
    // One that is gone already has left.
    let frontend = processes::frontend(called_by).ok();
    if let Some(frontend) = &frontend {
        session.leave(frontend);
    }
    match is_needed(root, locked, &mut session, frontend.as_ref())? {
        true => Ok(Outcome::default()),
        false => close_and_say(root, locked, session, Ask::Holders, Look::Usual),
    }
}

enum Opened<'a> {
    Session(Box<(Locked<'a>, Session, Managed)>),
    Nothing(Outcome),
}

/// Writes down who needs what writable, before anything is remounted. There is no session where nothing is read-only, or
/// nothing will be written. `before` is how overlays were then.
fn open<'a>(root: &'a Root, called_by: CalledBy, before: &mut Option<overlay::Before>) -> Result<Opened<'a>> {
    let named = || managed::named(root, &Settings::load(root)?);
    // Where there is nothing to do there is nothing to ask for either: not even root.
    let to_do = if nothing_to_open(root, named)? { overlay::to_do(root, &Settings::load(root)?)? } else { ToDo::Lay };
    if to_do == ToDo::Nothing {
        return Ok(Opened::Nothing(Outcome::default()));
    }
    let frontend = processes::frontend(called_by)?;
    if processes::only_pretends(&frontend) {
        return Ok(Opened::Nothing(Outcome::default()));
    }
    if to_do == ToDo::Forget {
        let _locked = Locked::wait(root)?;
        *before = Some(overlay::Before::look(root));
        return overlay::finish_all(root).map(Opened::Nothing);
    }
    let with_overlays = |session: &Session| {
        let settings = Settings::load(root)?;
        *before = Some(overlay::Before::look(root));
        let laid = overlay::lay(root, session, &settings)?;
        let mut managed = managed::named(root, &settings)?;
        managed.notes.extend(laid);
        Ok(managed)
    };
    Ok(Opened::Session(Box::new(open_for(root, &frontend, with_overlays)?)))
}

/// Whether none of these mounts would have to be made writable, or is writable because of us.
///
/// # Errors
/// Where the session or the mounts cannot be read.
pub(crate) fn nothing_to_open(root: &Root, mounts: impl Fn() -> Result<Managed>) -> Result<bool> {
    let is_nothing = || Ok(note_read_only(mounts()?, &mut state::session(root)?).mounts.is_empty());
    if !is_nothing()? {
        return Ok(false);
    }
    // Without a lock that is two looks, and between them somebody may have closed what he had opened. Where nobody ever had
    // the lock since the machine was started, or it cannot be had here, nobody has.
    if !state::was_ever_locked(root) {
        return Ok(true);
    }
    let _locked = Locked::wait(root).ok();
    is_nothing()
}

/// Opens a session for a frontend, or has it join: the mounts that are read-only are noted, and a watcher is there.
/// Nothing is remounted.
///
/// # Errors
/// Where that cannot be written down, or the frontend is gone.
pub(crate) fn open_for<'a>(
    root: &'a Root,
    frontend: &Frontend,
    mounts: impl FnOnce(&Session) -> Result<Managed>,
) -> Result<(Locked<'a>, Session, Managed)> {
    let locked = Locked::wait(root)?;
    ensure!(processes::is_alive(frontend), "the package manager is gone");
    let mut session = locked.session()?;
    let mut managed = note_read_only(mounts(&session)?, &mut session);
    // An unusable journal must stop the run before dpkg starts, not surprise it afterwards.
    locked.journal()?;
    locked.forget_looks()?;
    session.forget_dead(processes::is_alive);
    session.join(frontend.clone());
    managed.notes.extend(copies::note(root, &mut session, &managed.mounts));
    locked.save_session(&session)?;
    watch::start(root, frontend);
    Ok((locked, session, managed))
}

/// Closes the session unless somebody living still needs it. Whoever `ask`s for the holders has them in what is said;
/// `look` is how closely the cleanup looks.
///
/// # Errors
/// Where the session cannot be written.
pub(crate) fn close_if_unused(
    root: &Root,
    locked: &Locked,
    mut session: Session,
    ask: Ask,
    look: Look,
) -> Result<Outcome> {
    match is_needed(root, locked, &mut session, None)? {
        true => Ok(Outcome::default()),
        false => close_and_say(root, locked, session, ask, look),
    }
}

fn close_and_say(root: &Root, locked: &Locked, session: Session, ask: Ask, look: Look) -> Result<Outcome> {
    let (mut outcome, cleaned) = close(root, locked, session, ask, look)?;
    match cleaned {
        Ok(mut survey) => {
            survey.aliases.retain(|alias| !leaving::only_we_have(root, alias));
            outcome.notes.extend(cleanup::summary(root, &survey));
        }
        Err(error) => outcome.problems.insert(0, format!("the cleanup was not finished: {error:#}")),
    }
    if !(outcome.notes.is_empty() && outcome.problems.is_empty()) {
        outcome.notes.extend(leaving::who_stands_in(root));
    }
    Ok(outcome)
}

/// Why mounts could not even be looked at that were to be closed, and the next step.
pub fn say_what_may_be_open(why: &Error) -> String {
    match why.is::<StillHeld>() {
        true => format!("{why:#}"),
        false => format!("the managed mounts may still be WRITABLE: {why:#}; then \"rokeep recover\""),
    }
}

/// Adds to why a command broke off that was to close the mounts what is still to be closed.
pub fn say_what_is_open(root: &Root, why: anyhow::Error) -> anyhow::Error {
    // That says it itself.
    if why.is::<StillHeld>() {
        return why;
    }
    let Ok(open) = state::still_open(root) else { return anyhow!("the managed mounts may still be WRITABLE: {why:#}") };
    match open.is_empty() {
        true => why,
        false => anyhow!("{why:#}. Still WRITABLE: {}; then \"rokeep recover\"", message::few(&open, 5)),
    }
}

/// Whether somebody living needs the session; then it is saved as it is now.
///
/// A dpkg that outlived its frontend inherits the session: it must not find its mounts read-only half way. But not the one
/// that has just left it: dpkg has its database locked until it exits.
fn is_needed(root: &Root, locked: &Locked, session: &mut Session, left: Option<&Frontend>) -> Result<bool> {
    session.forget_dead(processes::is_alive);
    if session.in_use() {
        locked.save_session(session)?;
        return Ok(true);
    }
    let at_work = processes::dpkg_at_work(root).filter(|dpkg| !left.is_some_and(|left| left.is(dpkg)));
    let Some(dpkg) = at_work else { return Ok(false) };
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
    overlay::require_none_missing(root)?;
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
pub(crate) fn note_read_only(mut managed: Managed, session: &mut Session) -> Managed {
    managed.mounts.retain(|mounted| {
        if mounted.mount.flags.refuse_writes() {
            session.note(&mounted.id(), mounted.mount.flags);
        }
        session.found(&mounted.id()).is_some()
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
    let after = match processes::frontend(called_by) {
        Ok(frontend) => {
            session.leave(&frontend);
            undo(root, locked, session, &frontend)
        }
        Err(error) => format!("putting the mounts back failed too: {error:#}"),
    };
    anyhow!("{why:#}. {}, and {after}", stopped(called_by))
}

/// Puts the mounts back, unless somebody needs them other than who has `left`, and answers what has become of them.
pub(crate) fn undo(root: &Root, locked: &Locked, mut session: Session, left: &Frontend) -> String {
    let undone = is_needed(root, locked, &mut session, Some(left)).and_then(|is_needed| {
        if is_needed {
            return Ok(format!("the mounts stay writable for {}", people(&session)));
        }
        // What stopped the run may well be in the way of the cleanup too, and is said once.
        let (outcome, _) = close(root, locked, session, Ask::Verdicts, Look::Usual)?;
        let as_found = outcome.problems.is_empty();
        Ok(if as_found { "every mount is as it was found".to_owned() } else { outcome.problems.join("; ") })
    });
    undone.unwrap_or_else(|error| format!("putting the mounts back failed too: {error:#}"))
}

//! Closing a session that nobody needs any more: what may go goes, and every mount goes back.

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;

use crate::blockers;
use crate::by_hand::held;
use crate::cleanup;
use crate::copies::{self, Left};
use crate::core::change::Change;
use crate::core::message::{self, Outcome};
use crate::core::mount_state::{self, Access, Flags, MountState};
use crate::core::mountinfo::Mount;
use crate::core::session::{FoundMount, MountId, Session};
use crate::leaving;
use crate::overlay;
use crate::pins::{self, Look};
use crate::remount;
use crate::settings::Settings;
use crate::survey::{Ask, Survey};
use crate::sys::clock;
use crate::sys::files::Root;
use crate::sys::log;
use crate::sys::mounts::{self, Mounted};
use crate::sys::state::Locked;

/// Cleanup, then every mount back, for a session that no living frontend needs. Answers what there is to say of the
/// mounts, and how the cleanup went.
pub(super) fn close(
    root: &Root,
    locked: &Locked,
    mut session: Session,
    ask: Ask,
    look: Look,
) -> Result<(Outcome, Result<Survey>)> {
    let mut outcome = Outcome::default();
    let mut mounts = still_there(root, &mut session, &mut outcome)?;
    held::leave_alone(&mut mounts, &mut outcome);
    let mounted: Vec<&Mounted> = mounts.iter().map(|(_, mounted)| mounted).collect();
    let look = look.max(Settings::load(root).unwrap_or_default().cleanup);
    let cleaned = cleanup::clean(root, locked, &mounted, leaving::run_that_is_over(root), ask, look);
    let of_the_run = session.clone();
    put_all_back(root, locked, session, &mounts, look, &mut outcome)?;
    if let Err(why) = overlay::note_after_a_run(root, &of_the_run) {
        outcome.notes.push(format!("a change of what is below an overlay may not be noticed: {why:#}"));
    }
    Ok((outcome, cleaned))
}

/// The mounts of the session that can be worked on, each with its note. One that is unmounted is forgotten; one that
/// cannot be looked at, or that somebody mounted over, is kept in mind.
fn still_there(root: &Root, session: &mut Session, outcome: &mut Outcome) -> Result<Vec<(FoundMount, Mounted)>> {
    let table = mounts::table(root)?;
    let here = mounts::namespace()?;
    let mut mounted = Vec::new();
    for noted in session.mounts.clone() {
        let MountId { point, device, id, namespace } = &noted.mount;
        let shown = message::path(point);
        // A session that was begun in another mount namespace, which may be gone: the superblock is the same.
        let elsewhere = *namespace != here;
        let is_it =
            |mount: &Mount| mount.point == *point && if elsewhere { mount.device == *device } else { mount.id == *id };
        match mounts::at(root, point) {
            Ok(Some(visible)) if is_it(&visible.mount) => mounted.push((noted, visible)),
            Ok(_) if !table.iter().any(|mount| is_it(mount) || (elsewhere && mount.device == *device)) => {
                outcome.notes.push(format!("{shown} is not mounted any more"));
                session.forget(&noted.mount);
            }
            Ok(_) => outcome.problems.push(format!(
                "{shown} is still WRITABLE, and cannot be reached under what is mounted there now; unmount that, then \
                 \"rokeep cleanup\""
            )),
            Err(error) => outcome.problems.push(format!(
                "{shown} may still be WRITABLE, as it cannot be looked at ({error:#}); then \"rokeep cleanup\""
            )),
        }
    }
    Ok(mounted)
}

/// Puts the mounts of a session back that no living frontend needs. What could not go back stays in it, for the next try.
fn put_all_back(
    root: &Root,
    locked: &Locked,
    mut session: Session,
    mounts: &[(FoundMount, Mounted)],
    look: Look,
    outcome: &mut Outcome,
) -> Result<()> {
    session.frontends.clear();
    for (noted, mounted) in mounts.iter().rev() {
        session.release(&noted.mount);
        match put_back(root, locked, &mut session, noted, mounted, look, &mut outcome.logged) {
            Ok(notes) => {
                session.forget(&noted.mount);
                outcome.problems.extend(notes);
            }
            Err(problem) => outcome.problems.push(format!("{problem:#}")),
        }
    }
    locked.save_session(&session)
}

/// Puts one mount back, and what other mounts of it have to go with it. Answers what is worth saying even so.
///
/// A change of its state is logged here, and what is said of it goes to `logged`.
fn put_back(
    root: &Root,
    locked: &Locked,
    session: &mut Session,
    noted: &FoundMount,
    mounted: &Mounted,
    look: Look,
    logged: &mut Vec<String>,
) -> Result<Vec<String>> {
    let found = noted.found;
    if !found.refuse_writes() {
        return Ok(Vec::new());
    }
    let point = &mounted.mount.point;
    let before = mount_state::state(mounted.mount.flags, found);
    let shown = message::path(point);
    let beside =
        || session.held(clock::seconds_since_boot()).find(|(other, _)| other.mount.device == noted.mount.device);
    if let (Access::ReadOnly, Some((other, _))) = (found.superblock, beside()) {
        let other = message::path(&other.mount.point);
        bail!("{}: its file system stays writable for {other}, which is held by hand", alone(root, mounted)?)
    }
    let attempt = || remount::put_back(root, mounted, found).with_context(|| shown.clone());
    let (state, refused) = match (attempt()?, look) {
        ((_, Some(Errno::EBUSY)), Look::Deep) if pins::forget_the_unused(root).is_ok() => attempt()?,
        (answer, Look::Usual | Look::Deep) => answer,
    };
    match state {
        MountState::ReadOnly => {
            if let (Access::Writable, Access::ReadOnly, Some(errno)) =
                (mounted.flags(root)?.mount, found.mount, refused)
            {
                bail!(
                    "{shown} is read-only with its file system, but not by itself, as it was found ({}). Then \"rokeep \
                     cleanup\"",
                    errno.desc()
                )
            }
            if state != before {
                log::change(root, &Change::put_back(point));
            }
            let mut notes: Vec<String> = remount::changed_options(root, mounted).into_iter().collect();
            if found.superblock == Access::ReadOnly {
                let closed = copies::reopen(root, session, mounted)?;
                notes.extend(
                    closed.iter().map(|closed| format!("{closed} was closed by rokeep and could not be opened")),
                );
            } else {
                let Left { open, unseen } = copies::close(root, locked, session, noted, mounted)?;
                notes.extend(unseen);
                ensure!(
                    open.is_empty(),
                    "{shown} is read-only, but {} can still be WRITTEN through: {}. Then \"rokeep cleanup\"",
                    message::count(open.len(), "copy"),
                    message::few(&open, 5)
                );
            }
            let failed = mounts::at(root, point)?.is_some_and(|now| now.mount.failed);
            notes.extend(failed.then(|| format!("{shown}: {}", remount::failure(mounted))));
            Ok(notes)
        }
        MountState::Degraded | MountState::Writable => {
            let open = match copies::close(root, locked, session, noted, mounted) {
                Ok(Left { open, unseen }) => open.into_iter().chain(unseen).collect(),
                Err(error) => vec![format!("mounts that could not be looked at ({error:#})")],
            };
            let open = if open.is_empty() {
                String::new()
            } else {
                format!("; it may still be written through {}", message::few(&open, 5))
            };
            let why = blockers::why_refused(root, mounted, refused);
            let sentence = format!("{}{open}, because {why}", remount::describe(point, state));
            // That it is writable still is worth an entry for each try.
            if state != before || state == MountState::Writable {
                log::change(root, &Change::refused(point, state, &sentence, &why));
            }
            logged.push(sentence.clone());
            bail!(sentence)
        }
    }
}

/// Makes a mount read-only by itself, whatever it was before, and says what has become of it.
fn alone(root: &Root, mounted: &Mounted) -> Result<String> {
    let by_itself = Flags { mount: Access::ReadOnly, superblock: Access::Writable };
    let point = &mounted.mount.point;
    Ok(match remount::put_back(root, mounted, by_itself)?.0 {
        MountState::ReadOnly => format!("{} is read-only by itself", message::path(point)),
        state @ (MountState::Degraded | MountState::Writable) => remount::describe(point, state),
    })
}

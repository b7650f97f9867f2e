//! The other mounts of a managed mount's file system: closed along with it, in every mount namespace, as far as
//! [`crate::core::copies`] says so, and opened again when that is not needed any more.
//!
//! Nobody is ended for it: a mount that somebody writes through stays writable, and that is said.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;

use crate::core::copies;
use crate::core::message;
use crate::core::mount_state::{Access, Step};
use crate::core::session::{FoundMount, MountId, Session};
use crate::sys::everywhere::{self, Place, Unseen};
use crate::sys::files::Root;
use crate::sys::mounts::{self, Mounted};
use crate::sys::processes;
use crate::sys::state::Locked;

/// How often to look whether all are closed: a copy may be made of one that is not closed yet.
const MOST_ROUNDS: usize = 3;

/// Notes which copies of these mounts can be written now, where that will have to be known to put them back. To be called
/// when they are in the session, and none is opened yet. Answers in words where nobody could look: copies are left alone
/// then.
pub fn note(root: &Root, session: &mut Session, mounts: &[Mounted]) -> Vec<String> {
    let mut unseen = Vec::new();
    for mounted in mounts {
        let id = mounted.id();
        let noted = session.mounts.iter().find(|noted| noted.mount == id);
        if !noted.is_some_and(|noted| copies::matter(noted.found) && noted.open_before.is_none()) {
            continue;
        }
        let is_open = |place: &Place| {
            let is_copy = copies::is_copy(&mounted.mount, place.mount);
            place.id != id && is_copy && place.mount.flags.mount == Access::Writable
        };
        let found = find(root, mounted, is_open).and_then(|(open, Unseen { unlisted, .. })| match unlisted {
            // One that is not noted would be closed for good, once it is listed again.
            Some(errno) => Err(errno).context("cannot list all mount namespaces"),
            None => Ok(open),
        });
        match found {
            Ok(open) => session.note_open_before(&id, open),
            Err(error) => unseen.push(format!(
                "copies of {} that are made during this package run may stay writable: {error:#}",
                message::path(&id.point)
            )),
        }
    }
    unseen
}

/// What may still be writable, in words.
#[derive(Debug, Default)]
pub struct Left {
    /// Mounts that could not be closed.
    pub open: Vec<String>,
    /// Where nobody could look.
    pub unseen: Option<String>,
}

/// Closes what has to be closed of the other mounts, and believes it when the mount tables say so. What is to be opened again
/// is in the session before.
///
/// # Errors
/// Where /proc cannot be read, or the session not be written.
pub fn close(
    root: &Root,
    locked: &Locked,
    session: &mut Session,
    noted: &FoundMount,
    mounted: &Mounted,
) -> Result<Left> {
    if noted.found.superblock == Access::Writable && noted.open_before.is_none() {
        return Ok(Left::default());
    }
    let here = mounts::namespace()?;
    let managed: Vec<MountId> = session.mounts.iter().map(|noted| noted.mount.clone()).collect();
    let is_another = |id: &MountId| *id != mounted.id() && !(id.namespace == here && managed.contains(id));
    let is_open = |place: &Place| {
        let before = noted.open_before.as_deref();
        is_another(&place.id) && copies::is_to_be_closed(noted.found, &mounted.mount, place.mount, &place.id, before)
    };
    let mut refused = Vec::new();
    for _ in 0..MOST_ROUNDS {
        let (open, unseen) = find(root, mounted, is_open)?;
        if open.iter().all(|id| refused.iter().any(|(other, _)| other == id)) {
            refused.retain(|(id, _)| open.contains(id));
            return Ok(Left { open: refusals(root, &refused), unseen: say(mounted, unseen) });
        }
        if noted.found.superblock == Access::ReadOnly {
            open.iter().for_each(|id| session.note_closed(id.clone()));
            locked.save_session(session)?;
        }
        refused = set_all(root, mounted, &open, Access::ReadOnly)?;
    }
    let (open, unseen) = find(root, mounted, is_open)?;
    let open: Vec<(MountId, Errno)> = open.into_iter().map(|id| (id, Errno::EAGAIN)).collect();
    Ok(Left { open: refusals(root, &open), unseen: say(mounted, unseen) })
}

/// Opens again, for who is at work in this mount namespace, what was closed in place of a superblock that is writable now.
/// It stays noted: that may be refused once more.
///
/// # Errors
/// Where one below the mount stays read-only, or the mounts cannot be read. dpkg would meet it half way.
pub fn open_here(root: &Root, session: &Session, mounted: &Mounted) -> Result<()> {
    for id in session.closed.iter().filter(|id| id.device == mounted.mount.device) {
        // One that is covered, or a file that is mounted, is written to by no package.
        let Some(closed) = mounts::at(root, &id.point)?.filter(|closed| closed.mount.device == id.device) else {
            continue;
        };
        let refused = match closed.id() == *id && closed.mount.flags.mount == Access::ReadOnly {
            true => closed.perform(Step::Mount(Access::Writable), &closed.mount).err(),
            false => None,
        };
        // Also one of a mount namespace that was made since, which has it closed and under another number.
        let is_below = id.point != mounted.mount.point && id.point.starts_with(&mounted.mount.point);
        if is_below && closed.flags(root)?.mount == Access::ReadOnly {
            let why = refused.map(|errno| format!(" ({})", errno.desc())).unwrap_or_default();
            bail!(
                "{0} is still read-only{why}: rokeep closed it when the file system of {1} could not become read-only. \
                 \"mount -o remount,bind,rw {0}\" opens it",
                message::path(&id.point),
                message::path(&mounted.mount.point)
            )
        }
    }
    Ok(())
}

/// Opens again what was closed in place of the superblock, which is read-only now; answers in words what could not be.
///
/// # Errors
/// Where /proc cannot be read.
pub fn reopen(root: &Root, session: &mut Session, mounted: &Mounted) -> Result<Vec<String>> {
    let is_of_it = |id: &MountId| id.device == mounted.mount.device;
    let closed: Vec<MountId> = session.closed.iter().filter(|id| is_of_it(id)).cloned().collect();
    let refused = set_all(root, mounted, &closed, Access::Writable)?;
    session.closed.retain(|id| !is_of_it(id));
    Ok(refusals(root, &refused))
}

fn find(root: &Root, mounted: &Mounted, is_it: impl Fn(&Place) -> bool + Sync) -> Result<(Vec<MountId>, Unseen)> {
    let mut found = Vec::new();
    let unseen = everywhere::visit(root, &HashSet::from([mounted.mount.device]), |place| {
        found.extend(is_it(place).then(|| place.id.clone()));
    })?;
    Ok((found, unseen))
}

/// Answers what was refused, and how.
fn set_all(root: &Root, mounted: &Mounted, which: &[MountId], access: Access) -> Result<Vec<(MountId, Errno)>> {
    let mut refused = Vec::new();
    if which.is_empty() {
        return Ok(refused);
    }
    let Unseen { .. } = everywhere::visit(root, &HashSet::from([mounted.mount.device]), |place| {
        if which.contains(&place.id) && place.mount.flags.mount != access {
            refused.extend(place.set(access).err().map(|errno| (place.id.clone(), errno)));
        }
    })?;
    Ok(refused)
}

fn say(mounted: &Mounted, Unseen { unentered, unlisted }: Unseen) -> Option<String> {
    let unentered = (unentered > 0).then(|| message::count(unentered, "mount namespace"));
    let unlisted = unlisted.map(|errno| format!("some mount namespaces that cannot be listed ({})", errno.desc()));
    let which = unentered.into_iter().chain(unlisted).reduce(|one, other| format!("{one} and {other}"))?;
    Some(format!("{which} could not be looked into for mounts of {}", message::path(&mounted.mount.point)))
}

fn refusals(root: &Root, refused: &[(MountId, Errno)]) -> Vec<String> {
    refused.iter().map(|(id, errno)| refusal(root, id, *errno)).collect()
}

fn refusal(root: &Root, id: &MountId, errno: Errno) -> String {
    let whose = everywhere::somebody_in(root, id.namespace);
    let whose = whose.map(|pid| format!(" of {}", message::process(&processes::command(root, pid), pid)));
    let why = match errno {
        Errno::EBUSY => "somebody writes through it",
        Errno::ENOENT => "no path leads to it: something is mounted over it, or the kernel is older than Linux 5.12",
        Errno::EAGAIN => "it does not stay closed",
        Errno::ENOSYS => "this kernel cannot change it from outside",
        other => other.desc(),
    };
    format!("the mount {}{} ({why})", message::path(&id.point), whose.unwrap_or_default())
}
